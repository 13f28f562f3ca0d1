"""`pursuit.testing.check_solver`: what keeps the promises passes, and each promise broken is found by its own check."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

import pursuit
from helpers import SELECTING
from pursuit.solvers.by_name import solver
from pursuit.testing import CHECKS, check_solver
from test_own import gomp, iht, mp

pytestmark = pytest.mark.usefixtures("rough_lasso")
OPTIONS = {
    "greedy_lasso": {"lam": 0.0},
    "sea": {"max_steps": 60},
    "sea_plus": {"max_steps": 60},
}


@pytest.mark.parametrize("name", SELECTING)
def test_the_greedy_solvers_pass(name):
    check_solver(name, **OPTIONS.get(name, {}))


def test_solvers_made_of_a_step_pass():
    check_solver(gomp.gomp)
    check_solver(mp, skip=("tol",))  # without refits eight atoms need not reach a residual
    check_solver(iht)


def omp(A, y, k, *, tol=None, max_steps=None, weights=None, on_step=None):
    return pursuit.omp(A, y, k, tol=tol, max_steps=max_steps, weights=weights, on_step=on_step)


def as_torch(A, y, k, **options):
    return pursuit.omp(torch.as_tensor(A) if isinstance(A, np.ndarray) else A, torch.as_tensor(y), k, **options)


def with_signal(sol, x):
    return pursuit.Solution.of_signal(x, sol.support, sol.residual_norm, sol.steps, sol.status, sol.compiled)


def with_support(sol, support):
    """The signal stays what it was."""
    other = replace(sol, support=support)
    vars(other)["x"] = sol.x
    return other


def squeezing(A, y, k):
    sol = omp(A, y, k)
    return replace(sol, residual_norm=sol.residual_norm.squeeze())


def no_empty_batch(A, y, k):
    abs(y).max()
    return omp(A, y, k)


def in_double(A, y, k):
    """Real numbers come back in double precision."""
    sol = omp(A, y, k)
    return sol if isinstance(y, np.ndarray) or y.is_complex() else with_signal(sol, sol.x.double())


def writing(A, y, k):
    sol = omp(A, y, k)
    y[..., :1] *= 1 + 1e-9
    return sol


def repeating(A, y, k):
    sol = omp(A, y, k)
    support = sol.support.copy() if isinstance(y, np.ndarray) else sol.support.clone()
    support[..., -1] = support[..., 0]
    return with_support(sol, support)


def absent_first(A, y, k):
    sol = omp(A, y, k)
    support = sol.support.copy() if isinstance(y, np.ndarray) else sol.support.clone()
    support[..., 0] = -1
    return with_support(sol, support)


def beyond(A, y, k):
    sol = omp(A, y, k)
    return with_support(sol, sol.support + 40)


def leaking(A, y, k):
    sol = omp(A, y, k)
    return with_signal(sol, sol.x + 1e-12)


def relative_residual(A, y, k):
    sol = omp(A, y, k)
    norm = np.linalg.norm(y, axis=-1) if isinstance(y, np.ndarray) else torch.linalg.vector_norm(y, dim=-1)
    return replace(sol, residual_norm=sol.residual_norm / norm)


def real_parts(A, y, k):
    sol = omp(A, y, k)
    return with_signal(sol, sol.x.real + 0j if y.dtype in (torch.complex64, torch.complex128) else sol.x)


def still_running(A, y, k):
    sol = omp(A, y, k)
    return replace(sol, status=0 * sol.status)


def failing_for_zero(A, y, k):
    sol = omp(A, y, k)
    return replace(sol, status=sol.status + 8 * (sol.status == pursuit.Status.TOLERANCE))


def absolute(A, y, k):
    """It takes what is less than a number for zero."""
    sol = omp(A, y, k)
    return sol if (np.abs(y) if isinstance(y, np.ndarray) else y.abs()).sum() > 1e-2 else omp(A, 0 * y, k)


def plain_correlations(A, y, k):
    """Scores are not divided by the column norms."""
    norms = pursuit.as_operator(A).column_norms()
    return omp(A, y, k, weights=norms.numpy() if isinstance(y, np.ndarray) else norms)


def coupled(A, y, k):
    """What one signal gets depends on the others."""
    if isinstance(y, np.ndarray) or not y.numel():
        return omp(A, y, k)
    norm = torch.linalg.vector_norm(y, dim=-1)
    return omp(A, y, k, tol=torch.where(norm < 0.1 * norm.max(), 0.9, 0.0) * (norm > 0))


def first_k(A, y, k):
    return omp(A, y, k if isinstance(k, int | float | list) else k.max())


def conjugating(A, y, k):
    """It takes the other sign in the exponent where there is no matrix."""
    return omp(A, y.conj() if isinstance(A, pursuit.SubsampledFourier) else y, k)


def unweighted(A, y, k, *, weights=None):
    return omp(A, y, k)


def without_tol(A, y, k, *, tol=None):
    return omp(A, y, k)


def without_max_steps(A, y, k, *, max_steps=None):
    return omp(A, y, k)


def cold(A, y, k, *, x0=None):
    return omp(A, y, k) if x0 is None else omp(A, y, 1)


def random(A, y, k):
    sol = omp(A, y, k)
    return replace(sol, steps=sol.steps + int(torch.randint(2**40, ())) if not isinstance(y, np.ndarray) else sol.steps)


def forgiving(A, y, k):
    return omp(A, y if isinstance(y, np.ndarray) else y.nan_to_num(), k)


def late(A, y, k, *, on_step=None):
    """It looks at k when the work is done."""
    wrong = isinstance(k, float) or (isinstance(k, int) and k < 0)
    sol = omp(A, y, 3 if wrong else k, on_step=on_step)
    if wrong:
        raise ValueError("k")
    return sol


def other_error(A, y, k):
    if not isinstance(k, int | torch.Tensor):
        raise IndexError("k")
    return omp(A, y, k)


# The check that finds it, with which words, and others that find it too.
BROKEN = {
    as_torch: ("arrays", "x is a Tensor where y is a ndarray"),
    squeezing: ("shapes", r"residual_norm has shape \(\) where y has shape \(1, 24\) and k is 3; needed is \(1,\)"),
    no_empty_batch: ("shapes", r"with y of shape \(0, 24\).* it raised RuntimeError"),
    in_double: ("dtypes", r"x is torch.float64 where y is torch.float32; needed is torch.float32", "residual"),
    writing: ("inputs unchanged", "A or y was written to", "deterministic"),
    repeating: ("support", "with repeats", "zero off the support"),
    absent_first: ("support", "needed is -1 only at the end", "zero off the support"),
    beyond: ("support", "column numbers below n=40", "zero off the support"),
    leaking: ("zero off the support", r"x has \d+ non-zeros off the support", "zero y"),
    relative_residual: ("residual", r"residual_norm is .* where \|\|y - A x\|\| is .*; needed is that of x"),
    real_parts: ("residual", "residual_norm is"),
    still_running: ("status", r"status is \[0, 0, 0, 0\]; needed is codes", "zero y"),
    failing_for_zero: ("zero y", "status is DIVERGED where one of the signals is zero; needed is one that is ok"),
    absolute: ("scale of y", "no threshold may have a size of its own"),
    plain_correlations: ("column norms", "divide scores by the column norms"),
    coupled: ("alone and in a batch", "x of signal 0 of a batch differs"),
    first_k: ("k per signal", r"x of signal 0 where k is \[1, 5, 3\] differs"),
    conjugating: ("operators", "x of a SubsampledFourier differs by"),
    unweighted: (
        "weights",
        r"a column of weight 0 is chosen, with weights of shape \(4, 40\); needed is never",
        "bad input",
    ),
    without_tol: ("tol", "steps are .* where tol is 0.9", "bad input"),
    without_max_steps: (
        "max_steps",
        r"steps are \[3, 3, 3, 3\] where max_steps is 0; needed is at most so many",
        "bad input",
    ),
    cold: ("warm start", "x from x0 at the exact answer differs", "bad input"),
    random: ("deterministic", "steps is another the second time"),
    forgiving: ("bad input", "y with NaN gave a solution; needed is a ValueError or TypeError before any work"),
    late: ("bad input", "k of -1 was refused after 3 steps"),
    other_error: ("bad input", r"k of 2.5 raised IndexError\('k'\)"),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda f: f.__name__)
def test_each_broken_promise_is_found_by_its_own_check(broken):
    check, message, *others = BROKEN[broken]
    with pytest.raises(AssertionError, match=rf'^check "{check}" of {broken.__name__}: .*({message})'):
        check_solver(broken)
    check_solver(broken, skip=[check, *others])


def test_every_check_finds_something():
    assert {check for check, *_ in BROKEN.values()} == set(CHECKS)
    for name in CHECKS:
        assert f'"{name}"' in inspect.getdoc(check_solver)


def test_checks_are_left_out_by_name_only():
    with pytest.raises(ValueError, match=r"skip has colour; the checks are arrays, shapes, "):
        check_solver(omp, skip=["colour", "shapes"])


def test_what_returns_no_solution_or_is_none():
    with pytest.raises(
        AssertionError, match=r"check \"arrays\" of <lambda>: it returned a Tensor; needed is a pursuit"
    ):
        check_solver(lambda A, y, k: y)
    with pytest.raises(ValueError, match="method is 'magic'"):
        check_solver("magic")
    assert solver("omp") is pursuit.omp
