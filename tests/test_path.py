"""`pursuit.path`: what a run for every k gives."""

import inspect

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import pursuit
from helpers import COMPLEX, REAL, SELECTING, fourier, gaussian, instance, normal, unnormalised
from pursuit import Status
from pursuit.core.layout import rows_for_sure
from pursuit.solvers import path as module
from test_own import gomp, mp

KS = [3, 1, 8, 3, 5]
NESTED = [one.__name__.rpartition(".")[2] for one in module.NESTED]


@pytest.fixture
def runs(monkeypatch):
    """How many runs of a nested solver were made, by the largest k of each."""
    seen = []
    for one in module.NESTED:
        run = one.run

        def counted(p, *rest, run=run):
            seen.append(p.max_k)
            return run(p, *rest)

        monkeypatch.setattr(one, "run", counted)
    monkeypatch.setattr(pursuit.config, "kernels", "off")
    return seen


def assert_is_each_alone(A, y, ks, method="omp", atol=1e-10, **options):
    """To the step where k atoms are chosen one by one; the others end where rounding says so."""
    together = pursuit.path(A, y, ks, method=method, **options)
    max_k = max(ks)
    for i, k in enumerate(ks):
        alone = pursuit.solve(A, y, method=method, k=k, **options)
        np.testing.assert_allclose(together.x[i], alone.x, rtol=0, atol=atol)
        np.testing.assert_allclose(together.residual_norm[i], alone.residual_norm, rtol=0, atol=atol)
        assert together.support.shape == (len(ks), *alone.x.shape[:-1], max_k)
        assert (together.support[i][..., k:] == -1).all()
        if method in (*NESTED, gomp.gomp):
            np.testing.assert_array_equal(together.support[i][..., :k], alone.support)
            for part in ("steps", "status"):
                np.testing.assert_array_equal(getattr(together, part)[i], getattr(alone, part))
    return together


OPTIONS = {
    "plain": {},
    "tol": {"tol": 0.3},
    "tol each": {"tol": torch.tensor([0.0, 0.3, 0.6, 0.9])},
    "few steps": {"max_steps": torch.tensor([0, 2, 5, 8])},
    "weights": {"weights": torch.linspace(0, 2, 48, dtype=REAL)},
    "weights each": {"weights": 0.1 + torch.rand(4, 48, dtype=REAL, generator=torch.Generator().manual_seed(1))},
    "only four columns": {"weights": (torch.arange(48) % 12 == 0).to(REAL)},
    "all of them": {"tol": 0.2, "max_steps": 4, "weights": torch.linspace(1, 2, 48, dtype=REAL)},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
@pytest.mark.parametrize("method", NESTED)
def test_one_run_gives_what_separate_runs_give(method, dtype, options, runs):
    p = instance(unnormalised(dtype), 4, batch=(4,), noise=0.2)
    pursuit.path(p.A, p.y, KS, method=method, **OPTIONS[options])
    assert runs == [8]
    assert_is_each_alone(p.A, p.y, KS, method, **OPTIONS[options])


@pytest.mark.parametrize("method", NESTED)
def test_of_one_signal_and_of_batches(method):
    p = instance(unnormalised(), 4, batch=(2, 3), noise=0.2)
    assert_is_each_alone(p.A, p.y[0, 0], KS, method)
    assert_is_each_alone(p.A, p.y, KS, method)
    assert_is_each_alone(p.A, p.y[:0], KS, method)
    assert_is_each_alone(p.A, p.y.float().double(), [2], method)
    A = torch.stack([unnormalised(seed=seed) for seed in range(3)])
    assert_is_each_alone(A, p.y, KS, method)
    assert_is_each_alone(A, p.y[0, 0], KS, method, tol=torch.tensor([0.0, 0.2, 0.9]))
    assert_is_each_alone(fourier(), instance(fourier(), 3, batch=(2,), noise=0.1).y, KS, method)


@pytest.mark.parametrize("method", NESTED)
def test_where_nothing_is_left_to_explain(method):
    A = torch.eye(6, 12, dtype=REAL)
    y = torch.tensor([[3.0, 2, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]], dtype=REAL)
    assert_is_each_alone(A, y, [1, 2, 3, 4, 6], method)
    repeated = gaussian(m=8, n=3).repeat(1, 3)
    sol = assert_is_each_alone(repeated, normal(0, 2, 8), [1, 2, 3, 4, 8], method)
    assert sol.status[-1].tolist() == [Status.EXHAUSTED] * 2


def whole_numbers():
    """Four problems on which OMP is wrong first: with the right atoms its first coefficient is zero to the last bit."""
    A = [
        [[-1, -1, 1, -1, 1], [0, 0, -1, -1, 1], [-1, 0, 0, 1, 0], [0, 0, -1, 1, -1]],
        [[-1, 0, 1, 0, 0], [-1, 1, -1, 1, -1], [1, 1, -1, 1, 0], [0, -1, 1, 1, 1]],
        [[1, -1, -1, 0, 0], [0, 1, 0, -1, 1], [0, -1, 0, 0, 0], [0, 0, 0, 1, 0]],
        [[1, 1, -1, -1, 1], [1, 1, 1, -1, 1], [-1, 0, 1, 1, -1], [0, 0, 0, -1, -1]],
    ]
    y = [[-5, 0, -3, 0], [-2, 1, 5, -3], [1, 2, -2, 0], [3, 3, -1, 0]]
    return torch.tensor(A, dtype=REAL), torch.tensor(y, dtype=REAL)


def test_where_a_coefficient_comes_out_zero_there_is_a_run_for_each(runs):
    A, y = whole_numbers()
    with rows_for_sure():  # four signals of four measurements
        first = pursuit.omp(A, y, 3)
        assert ((first.support >= 0).sum(-1) < first.steps).any()
        runs.clear()
        pursuit.path(A, y, [1, 2, 3])
        assert len(runs) == 2
        assert_is_each_alone(A, y, [1, 2, 3])


@pytest.mark.parametrize("name", SELECTING)
def test_of_every_solver(name):
    p = instance(unnormalised(), 4, batch=(2,), noise=0.2)
    options = {"greedy_lasso": {"lam": 0.0}, "sea": {"max_steps": 30}, "sea_plus": {"max_steps": 30}}.get(name, {})
    assert_is_each_alone(p.A, p.y, KS, name, atol=1e-6, **options)


def test_of_solvers_of_one_s_own_and_other_options():
    p = instance(unnormalised(), 4, batch=(2,), noise=0.2)
    for method in (gomp.gomp, mp, lambda A, y, k: pursuit.sp(A, y, k)):
        assert_is_each_alone(p.A, p.y, KS, method)
        assert_is_each_alone(p.A, p.y.numpy(), KS, method)
    assert_is_each_alone(p.A, p.y, KS, select=pursuit.Relaxed(tau=1e-3))
    x0 = normal(1, 2, 48)
    assert_is_each_alone(p.A, p.y, KS, "iht", x0=x0, tol=torch.tensor([0.1, 0.2]))
    labels = (p.y > 0).to(REAL)
    assert_is_each_alone(p.A, labels, [1, 2], loss=pursuit.Logistic(), atol=1e-6)


def test_out_comes_what_went_in():
    p = instance(gaussian(), 4, batch=(2,), noise=0.2)
    for method in ("omp", "sp"):
        sol = pursuit.path(p.A.numpy(), p.y.numpy(), np.array(KS), method=method)
        parts = (sol.x, sol.support, sol.coefficients, sol.residual_norm, sol.steps, sol.status, sol.compiled)
        assert all(isinstance(part, np.ndarray) for part in parts)
        assert_is_each_alone(p.A.numpy(), p.y.numpy(), KS, method)
        assert pursuit.path(p.A.tolist(), p.y[0].tolist(), tuple(KS), method=method).x.dtype == np.float64
    single = pursuit.path(p.A.float(), p.y.float(), KS)
    assert (single.x.dtype, single.residual_norm.dtype) == (torch.float32, torch.float32)


def test_on_step_sees_all_of_them():
    p, seen = instance(gaussian(), 4, batch=(2,), noise=0.2), []
    sol = pursuit.path(p.A, p.y, KS, on_step=seen.append)
    assert len(seen) == max(KS)
    assert_close(seen[-1].x, sol.x)


@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
def test_derivatives_are_those_of_separate_runs(dtype):
    p = instance(unnormalised(dtype), 4, batch=(2,), noise=0.2)
    A, y = p.A.requires_grad_(), p.y.requires_grad_()
    together = torch.autograd.grad(pursuit.path(A, y, [2, 5]).x.abs().sum(), (A, y))
    alone = torch.autograd.grad(sum(pursuit.omp(A, y, k).x.abs().sum() for k in (2, 5)), (A, y))
    assert_close(together, alone)


@pytest.mark.parametrize(
    ("ks", "error", "message"),
    [
        ([], ValueError, r"ks has shape \(0,\); needed is a sequence"),
        (3, ValueError, r"ks has shape \(\); needed is a sequence"),
        ([[1, 2]], ValueError, r"ks has shape \(1, 2\)"),
        ([1, -1], ValueError, "ks is between -1 and 1; needed is 0 <= ks <= 36"),
        ([1, 37], ValueError, "needed is 0 <= ks <= 36"),
        ([1.0, 2.0], TypeError, "needed is a whole number"),
        ("many", TypeError, "ks is 'many'; needed is a sequence of whole numbers"),
    ],
)
def test_what_are_no_sparsities(ks, error, message):
    for method in ("omp", "sp"):
        with pytest.raises(error, match=message):
            pursuit.path(gaussian(), normal(0, 36), ks, method=method)


def test_bad_input_is_named_as_for_one_k():
    A, y = gaussian(), normal(0, 2, 36)
    for options, error, message in (
        ({"method": "magic"}, ValueError, "method is 'magic'"),
        ({"method": "greedy_lasso"}, TypeError, "'greedy_lasso' cannot be called with A, y and k"),
        ({"tol": -1.0}, ValueError, "tol is -1"),
        ({"tol": torch.ones(3)}, ValueError, r"tol has shape \(3,\)"),
        ({"weights": torch.ones(3, 48, dtype=REAL)}, ValueError, "weights have shape"),
        ({"colour": 1}, TypeError, "colour"),
    ):
        with pytest.raises(error, match=message):
            pursuit.path(A, y, KS, **options)
    with pytest.raises(ValueError, match="y has shape"):
        pursuit.path(A, y.mT, KS)


def test_options_of_a_nested_path_are_the_solver_s():
    for one in module.NESTED:
        assert (
            inspect.signature(getattr(one, one.__name__.rpartition(".")[2])).parameters.keys() > module.NESTED_OPTIONS
        )


def test_a_solver_that_needs_an_option_takes_it():
    p = instance(gaussian(), 4, noise=0.2)
    sol = pursuit.path(p.A, p.y, [1, 3], method="greedy_lasso", lam=0.1)
    for k, x in zip((1, 3), sol.x, strict=True):
        assert torch.equal(x, pursuit.greedy_lasso(p.A, p.y, k, lam=0.1).x)
    with pytest.raises(TypeError, match="cannot be called with A, y and k: missing a required argument: 'lam'"):
        pursuit.path(p.A, p.y, [1, 3], method="greedy_lasso")
