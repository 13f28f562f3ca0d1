"""Derivatives through every solver: right where the supports are settled, finite where anything is degenerate.

Hard selection is piecewise constant: away from ties the supports do not move, and `x` is a smooth function of A and y.
"""

import pytest
import torch
from torch.autograd import forward_ad, gradcheck

import pursuit
from helpers import (
    COMPLEX,
    ITERATIVE,
    PROXIMAL,
    REAL,
    SELECTING,
    SOLVERS,
    WEIGHTS,
    WITHOUT_START,
    gaussian,
    instance,
    normal,
    unnormalised,
)

pytestmark = pytest.mark.usefixtures("rough_lasso")
M, N, K = 6, 9, 2
# Step sizes that are constants of the function: by default the solvers take theirs from the largest eigenvalue of A,
# and leave its derivative out (see `test_the_default_step_size_is_a_constant`). A few
# steps keep the maps well conditioned.
OPTIONS = {
    "omp": {},
    "ols": {},
    "iht": {"eta": 0.4, "max_steps": 4},
    "niht": {"max_steps": 3},
    "htp": {"eta": 0.4, "max_steps": 3},
    "cosamp": {"max_steps": 2},
    "sp": {"max_steps": 2},
    "ompr": {"eta": 0.7, "max_steps": 2},
    "els": {"max_steps": 2},
    "sea": {"eta": 0.4, "max_steps": 5},
    "sea_plus": {"eta": 0.4, "max_steps": 5},
    "whitened_lasso": {"max_steps": 2},
    "greedy_lasso": {"lam": 0.0},
    "ista": {"max_steps": 4},
    "fista": {"max_steps": 4},
}
FIELDS = [pytest.param(REAL, id="real"), pytest.param(COMPLEX, id="complex")]


def solution(name, A, y, **options):
    size = {"lam": 0.2} if name in PROXIMAL else {"k": K}
    return pursuit.solve(A, y, name, **(size | OPTIONS.get(name, {}) | options))


def problem(dtype, *, batch=()):
    """A generic instance: no ties, no exact fit."""
    p = instance(unnormalised(dtype, m=M, n=N, seed=1), K, seed=1, batch=batch, noise=0.3)
    return p.A.requires_grad_(), p.y.requires_grad_()


@pytest.fixture
def constant_step(monkeypatch):
    """The proximal solvers' 1 / L as it is for one fixed matrix, so that differences see what the derivative sees."""
    eta = 1 / torch.linalg.matrix_norm(unnormalised(m=M, n=N, seed=1), 2).square()
    monkeypatch.setattr("pursuit.operators.base.spectral_norm_squared", lambda A: 1 / eta.expand(A.batch_shape))


@pytest.mark.usefixtures("constant_step")
@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("name", SOLVERS)
def test_derivatives_with_respect_to_matrix_and_measurements(name, dtype):
    def outputs(A, y):
        sol = solution(name, A, y)
        return sol.x, sol.residual_norm

    assert gradcheck(outputs, problem(dtype), fast_mode=True)  # in random directions: each entry takes too long


@pytest.mark.usefixtures("constant_step")
@pytest.mark.parametrize("name", SOLVERS)
def test_derivatives_of_a_batch_of_batches(name):
    A, y = problem(REAL, batch=(2, 2))
    assert gradcheck(lambda A, y: solution(name, A, y).x, (A, y), fast_mode=True)


@pytest.mark.parametrize("name", SOLVERS)
def test_derivatives_with_a_matrix_per_item(name):
    y = normal(3, 2, M).requires_grad_()
    A = torch.stack([unnormalised(m=M, n=N, seed=seed) for seed in (4, 5)]).requires_grad_()
    (together,) = torch.autograd.grad(solution(name, A, y).x.sum(), A)
    for i in range(2):
        one = A[i].detach().requires_grad_()
        (alone,) = torch.autograd.grad(solution(name, one, y[i]).x.sum(), one)
        torch.testing.assert_close(together[i], alone, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["iht", "niht", "ista", "fista", "cosamp"])  # the others refit: the start is forgotten
def test_derivatives_with_respect_to_the_warm_start(name):
    if_kept = {"max_steps": 0} if name in ("niht", "cosamp") else {}
    A, y = (t.detach() for t in problem(REAL))
    x0 = torch.zeros(N, dtype=REAL).index_copy(0, torch.tensor([1, 4]), torch.tensor([1.0, -2.0], dtype=REAL))
    assert gradcheck(lambda x0: solution(name, A, y, x0=x0, **if_kept).x, (x0.requires_grad_(),))
    assert torch.autograd.grad(solution(name, A, y, x0=x0, **if_kept).x.abs().sum(), x0)[0].any()


@pytest.mark.parametrize("name", PROXIMAL)
def test_derivatives_with_respect_to_the_penalty(name):
    A, y = (t.detach() for t in problem(COMPLEX))
    lam = torch.tensor(0.2, dtype=REAL, requires_grad=True)
    assert gradcheck(lambda lam: solution(name, A, y, lam=lam).x, (lam,))


@pytest.mark.parametrize("name", ["iht", "htp", "ista"])
def test_the_default_step_size_is_a_constant(name):
    A, y = problem(REAL)
    options = {} if name in PROXIMAL else {"eta": None}
    grad = torch.autograd.grad(solution(name, A, y, **options).x.sum(), A)[0]
    assert grad.isfinite().all()
    assert grad.any()


def test_the_step_size_of_iht_has_a_derivative():
    A, y = (t.detach() for t in problem(REAL))
    eta = torch.tensor(0.4, dtype=REAL, requires_grad=True)
    assert gradcheck(lambda eta: solution("iht", A, y, eta=eta).x, (eta,))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own, at first use
@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("name", ["iht", "niht", "ista", "fista"])
def test_forward_mode(name, kernels, monkeypatch):
    """The solvers that do not refit take it: `J v` as reverse mode has it. The others refuse it."""
    monkeypatch.setattr(pursuit.config, "kernels", kernels)
    A, y = (t.detach() for t in problem(REAL))
    v = normal(5, M)
    J = torch.autograd.functional.jacobian(lambda y: solution(name, A, y).x, y)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(solution(name, A, forward_ad.make_dual(y, v)).x).tangent
    torch.testing.assert_close(tangent, J @ v)


@pytest.mark.parametrize("name", SELECTING)
def test_hard_selection_gives_weights_no_gradient(name):
    A, y = problem(REAL)
    weights = torch.linspace(1, 2, N, dtype=REAL).requires_grad_()
    given = {WEIGHTS[name]: weights}
    assert not solution(name, A.detach(), y.detach(), **given).x.requires_grad
    x = solution(name, A, y, **given).x
    assert torch.autograd.grad(x.sum(), weights, allow_unused=True) == (None,)


@pytest.mark.parametrize("name", SOLVERS)
def test_no_graph_is_kept_where_no_gradient_is_asked_for(name):
    A, y = problem(REAL)
    with torch.no_grad():
        assert not solution(name, A, y).x.requires_grad
    sol = solution(name, A.detach(), y.detach())
    assert not sol.x.requires_grad
    assert not sol.residual_norm.requires_grad
    assert solution(name, A, y.detach()).x.requires_grad
    assert solution(name, A.detach(), y).x.requires_grad


DEGENERATE = {
    "nothing measured": (gaussian(m=M, n=N), torch.zeros(M, dtype=REAL)),
    "equal columns": (gaussian(m=M, n=5).repeat(1, 2), normal(2, M)),
    "a zero column": (gaussian(m=M, n=N) * (torch.arange(N) != 3), normal(2, M)),
    "only zero columns": (torch.zeros(M, N, dtype=REAL), normal(2, M)),
    "an exact fit": (gaussian(m=M, n=N), 2 * gaussian(m=M, n=N)[:, 4]),
    "more atoms than the fit needs": (torch.eye(M, N, dtype=REAL), torch.eye(M, dtype=REAL)[0]),
    "one measurement": (normal(0, 1, N), normal(2, 1)),
}


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("name", SOLVERS)
def test_gradients_are_finite_where_the_problem_is_degenerate(name, case):
    A, y = (t.clone().requires_grad_() for t in DEGENERATE[case])
    k = {} if name in PROXIMAL else {"k": min(K, len(y))}
    sol = solution(name, A, y, **k)
    if sol.x.requires_grad:
        loss = sol.x.square().sum() + sol.residual_norm
        for grad in torch.autograd.grad(loss, (A, y), allow_unused=True):
            assert grad is None or grad.isfinite().all()
    assert sol.x.isfinite().all()


@pytest.mark.parametrize("name", SOLVERS)
def test_an_item_of_zeros_does_not_spoil_the_gradients_of_the_others(name):
    A, y = problem(REAL, batch=(2,))
    zeroed = y.detach().clone()
    zeroed[1] = 0
    spoiled = torch.autograd.grad(solution(name, A, zeroed).x[0].sum(), A)[0]
    alone = torch.autograd.grad(solution(name, A, y[0].detach()).x.sum(), A)[0]
    torch.testing.assert_close(spoiled, alone, rtol=1e-7, atol=1e-9)


def test_what_is_tested_here_is_every_solver():
    assert {*OPTIONS, "amp", "inverse"} == set(pursuit.methods())
    assert {*WITHOUT_START, "greedy_lasso", *ITERATIVE} == set(OPTIONS)
