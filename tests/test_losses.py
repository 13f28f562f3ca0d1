"""Other losses than least squares: the same solvers, refits by Newton's method, and everything still ends well."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.testing import assert_close

import pursuit
from helpers import (
    COMPLEX,
    LOSSY,
    PARTS,
    PROXIMAL,
    REAL,
    REFITTING,
    gaussian,
    generator,
    instance,
    normal,
    recover,
    subsets,
)
from pursuit import LeastSquares, Logistic, Status
from pursuit.core import losses
from pursuit.core.atoms import Atoms

OPTIONS = {"omp": {}, "els": {}, "sea": {"max_steps": 15}, "htp": {}, "iht": {"max_steps": 60}}
every_solver = pytest.mark.parametrize("name", LOSSY)


def half_square(v, y):
    """Least squares as a user would write it, which takes the way of all other losses."""
    return (v - y).square() / 2


def huber(v, y):
    return torch.nn.functional.huber_loss(v, y, reduction="none", delta=0.5)


def steep(v, y):
    return half_square(v, y)


half_square.curvature = huber.curvature = 1.0
steep.curvature = -1.0


def labelled(seed=0, *, m=120, n=30, k=3, size=2.0, batch=(), correlation=0.0):
    """A, labels 0 or 1 of the logistic model, and its sparse x."""
    A = normal(seed, m, n)
    for j in range(1, n):
        A[:, j] = correlation * A[:, j - 1] + (1 - correlation**2) ** 0.5 * A[:, j]
    x = size * (torch.rand(*batch, n, generator=generator(seed)).argsort(-1) < k).to(REAL)
    chance = torch.rand(*batch, m, generator=generator(seed + 1), dtype=REAL)
    return A, (chance < torch.sigmoid(x @ A.T)).to(REAL), x


def solve(name, A, y, k, loss, **options):
    return pursuit.solve(A, y, name, k=k, loss=loss, **(OPTIONS[name] | options))


def in_order(name, sol):
    """The supports; SEA meets some twice, in another order of atoms, and rounding decides which is the best."""
    return (sol.support.sort(-1).values if name == "sea" else sol.support).tolist()


def refit(A, y, support, loss):
    """The root of twice the least loss on a support."""
    atoms = Atoms(torch.as_tensor(support), A.shape[-1])
    return torch.linalg.vector_norm(losses.checked(loss, y).fit(pursuit.as_operator(A), y, atoms).r, dim=-1)


# ---- one way for all losses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, COMPLEX], ids=str)
@every_solver
def test_least_squares_is_the_default_bit_for_bit(name, dtype):
    p = instance(gaussian(dtype), 4, batch=(3,), noise=0.1)
    for option in ({}, {"on_step": lambda step: None}):  # by kernels, and step by step
        given, default = (recover(name, p.A, p.y, 4, **option, **loss) for loss in ({"loss": LeastSquares()}, {}))
        assert all(torch.equal(getattr(given, name), getattr(default, name)) for name in PARTS)


@pytest.mark.parametrize("form", ["matrix", "matrices", "operator"])
@every_solver
def test_least_squares_as_a_users_function_gives_what_the_default_gives(name, form):
    A = 3 * gaussian(m=20, n=40)
    A = A.expand(4, 20, 40) if form == "matrices" else A
    p = instance(A, 4, batch=(4,), noise=0.3)
    op = (lambda x: x @ A.T, lambda y: y @ A, A.shape) if form == "operator" else A
    options = {"weights": torch.linspace(1, 2, 40, dtype=REAL), "tol": 0.05}
    own, default = (solve(name, op, p.y, torch.arange(1, 5), loss, **options) for loss in (half_square, LeastSquares()))
    assert_close(own.x, default.x, rtol=0, atol=1e-10)
    assert_close(own.residual_norm, default.residual_norm)
    assert in_order(name, own) == in_order(name, default)
    assert own.steps.tolist() == default.steps.tolist()
    assert own.status.tolist() == default.status.tolist()


@every_solver
def test_a_batch_is_each_of_its_items_alone(name):
    A, y, _ = labelled(1, m=40, n=20, size=4.0, batch=(2, 2))  # some of it is separable
    together = solve(name, A, y, 3, Logistic())
    for item in ((0, 1), (1, 0)):
        alone = solve(name, A, y[item], 3, Logistic())
        assert_close(together.x[item], alone.x, rtol=1e-6, atol=1e-6)
        assert in_order(name, together)[item[0]][item[1]] == in_order(name, alone)


# ---- the logistic loss ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in LOSSY if name in REFITTING])
def test_logistic_refits_equal_scikit_learns(name):
    A, y, _ = labelled(batch=(2,), correlation=0.5, size=1.0)
    sol = solve(name, A, y, 4, Logistic())
    for x, support, norm, labels in zip(sol.x, sol.support, sol.residual_norm, y, strict=True):
        peer = LogisticRegression(C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-12)
        peer.fit(A[:, support].numpy(), labels.numpy())
        assert_close(x[support].numpy(), peer.coef_[0], rtol=1e-10, atol=1e-10)
        assert_close(norm**2 / 2, Logistic()(A @ x, labels).sum())


@pytest.mark.parametrize("dtype", [torch.float32, REAL])
@every_solver
def test_recovers_the_support_of_a_logistic_model(name, dtype):
    A, y, x = labelled(m=300, batch=(3,))
    scale = 3 ** torch.linspace(-1, 1, 30, dtype=REAL)  # columns of any norm
    A, y = (A * scale).to(dtype), y.to(dtype)
    sol = solve(name, A, y, 3, Logistic())
    assert [subsets(s) for s in sol.support] == [subsets(one.nonzero()) for one in x]
    assert sol.x.dtype == dtype
    assert torch.equal(solve(name, A, 2 * y - 1, 3, Logistic()).x, sol.x)  # labels -1 or 1


@pytest.mark.parametrize("start", ["omp", "els", "htp", "iht"])
def test_sea_is_never_worse_in_loss_than_the_support_it_starts_from(start):
    A, y, _ = labelled(3, m=60, batch=(4,), correlation=0.9, size=1.0)
    begin = solve(start, A, y, 4, Logistic())
    sol = solve("sea", A, y, 4, Logistic(), x0=begin.x)
    assert (sol.residual_norm <= refit(A, y, begin.support, Logistic()) * (1 + 1e-9)).all()


@pytest.mark.parametrize("loss", [Logistic(), huber], ids=["logistic", "huber"])
def test_els_lowers_the_loss_at_every_swap_until_no_swap_lowers_it(loss):
    A, y, _ = labelled(3, m=60, n=14, batch=(2,), correlation=0.9, size=1.0)
    start = torch.zeros(14, dtype=REAL).index_fill(0, torch.tensor([0, 5, 13]), 1.0)
    history = [refit(A, y, [[0, 5, 13]] * 2, loss)]
    sol = solve("els", A, y, 3, loss, x0=start, on_step=lambda step: history.append(step.residual_norm))
    assert sol.steps.min() > 1
    assert all((after <= before).all() for before, after in pairwise(history))
    for labels, support, norm in zip(y, sol.support.tolist(), sol.residual_norm, strict=True):
        swapped = [[j if s == i else s for s in support] for i in support for j in set(range(14)) - set(support)]
        assert (refit(A, labels.expand(len(swapped), -1), swapped, loss) >= norm * (1 - 1e-9)).all()


@every_solver
def test_the_default_step_is_inverse_to_the_curvature_of_the_loss(name):
    A, y, _ = labelled(batch=(2,))
    four = solve(name, A, y, 3, lambda v, y: half_square(2 * v, y), **({} if name in ("omp", "els") else {"eta": 0.1}))
    quarter = solve(name, A, 4 * y, 3, LeastSquares(), **({} if name in ("omp", "els") else {"eta": 0.4}))
    assert_close(8 * four.x, quarter.x, rtol=1e-6, atol=1e-8)
    if name == "sea":
        L = torch.linalg.matrix_norm(A / torch.linalg.vector_norm(A, dim=0), 2).square() / 4
        default, given = (solve(name, A, y, 3, Logistic(), **eta) for eta in ({}, {"eta": 1.8 / L}))
        assert_close(default.x, given.x)
    if name == "htp":
        assert_close(solve(name, A, y, 3, Logistic()).x, solve(name, A, y, 3, Logistic(), eta=4.0).x)
    if name == "iht":
        unit = A / torch.linalg.vector_norm(A, dim=0)
        c = (y - 0.5) @ unit  # labels 0 and 1: -l' at x = 0
        g = torch.where(c.abs() >= c.abs().topk(3).values[:, -1:], c, 0)
        eta = 4 * g.square().sum(-1) / (g @ unit.T).square().sum(-1)
        assert_close(solve(name, A, y, 3, Logistic()).x, solve(name, A, y, 3, Logistic(), eta=eta).x)


# ---- corners -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, REAL])
@every_solver
def test_separable_labels_end_with_finite_coefficients(name, dtype):
    A = torch.cat([normal(0, 20, 1).sign(), normal(1, 20, 9)], dim=1).to(dtype)
    y = (A[:, 0] > 0).to(dtype)
    sol = solve(name, A, torch.stack([y, 1 - y]), 1, Logistic())
    assert sol.support.flatten().tolist() == [0, 0]
    assert sol.x.isfinite().all()
    if name != "iht":  # which has no refit, and creeps
        assert sol.status.tolist() == [Status.TOLERANCE] * 2
        assert (sol.x[:, 0].abs() > 10).all()
    nearly = solve(name, A, torch.cat([1 - y[:1], y[1:]]), 3, Logistic())  # one label wrong, and many columns
    assert nearly.x.isfinite().all()


@every_solver
def test_columns_that_are_equal_or_zero(name):
    A, y, _ = labelled(m=40, n=6)
    A = torch.cat([A, A, torch.zeros(40, 2, dtype=REAL)], dim=1)
    sol = solve(name, A, torch.stack([y, torch.ones_like(y)]), 5, Logistic())
    assert sol.x.isfinite().all()
    assert (sol.x[:, 12:] == 0).all()


@every_solver
def test_nothing_to_explain_is_nothing_recovered(name):
    sol = solve(name, gaussian(), torch.zeros(2, 36, dtype=REAL), 3, huber)
    assert not sol.x.any()
    assert solve(name, gaussian(), torch.zeros(0, 36, dtype=REAL), 3, Logistic()).x.shape == (0, 48)


def test_huber_shrugs_off_outliers():
    p = instance(gaussian(m=40), 3, batch=(5,))
    y = p.y + 50 * (torch.arange(40) % 10 == 0)
    for name in ("omp", "sea", "els"):
        start = {"x0": solve("omp", p.A, y, 3, huber).x} if name == "sea" else {}
        assert_close(solve(name, p.A, y, 3, huber, **start).x, p.x, rtol=0, atol=0.5)
    assert (recover("omp", p.A, y, 3).x - p.x).abs().max() > 10


def test_poissons_loss_that_is_not_bounded_in_curvature():
    A, _, x = labelled(2, m=200, n=20, size=0.5)
    y = torch.poisson(torch.exp(A @ x), generator=generator(0))

    def deviance(v, y):
        return torch.exp(v) - y * v + torch.special.xlogy(y, y) - y

    for name in ("omp", "els", "sea"):
        sol = solve(name, A, y, 3, deviance, **({"eta": 0.1} if name == "sea" else {}))
        assert subsets(sol.support) == subsets(x.nonzero())
        assert_close(A[:, sol.support].T @ (y - torch.exp(A @ sol.x)), torch.zeros(3, dtype=REAL), rtol=0, atol=1e-8)
    with pytest.raises(ValueError, match=r"eta was not given, .* attribute curvature"):
        solve("iht", A, y, 3, deviance)


@every_solver
def test_there_is_no_derivative_and_none_is_needed(name):
    A, y, _ = labelled()
    sol = solve(name, A.clone().requires_grad_(), y, 3, Logistic())
    assert not sol.x.requires_grad
    assert not sol.residual_norm.requires_grad
    with torch.inference_mode():
        assert_close(solve(name, A, y, 3, Logistic()).x, sol.x)


@pytest.mark.parametrize("name", ["omp", "iht", "htp"])
def test_relaxed_selection_goes_with_every_loss(name):
    A, y, _ = labelled()
    hard, soft = (solve(name, A, y, 3, Logistic(), select=s) for s in (pursuit.Hard(), pursuit.Relaxed(tau=1e-6)))
    assert_close(soft.x, hard.x, rtol=1e-4, atol=1e-4)


# ---- the front door ------------------------------------------------------------------------------------------------

A, Y = normal(0, 5, 8), torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0], dtype=REAL)
ERRORS = {
    "labels that are none": ({"y": Y + 1}, ValueError, "y goes from 1 to 2|labels|0 or 1|-1 or 1"),
    "labels of both kinds": ({"y": Y - (Y == 0) * torch.arange(5)}, ValueError, "y goes from -3 to 1|labels"),
    "labels in words": ({"y": ["no", "yes", "yes", "no", "yes"]}, TypeError, "y has dtype str|float64"),
    "complex A": ({"A": A + 0j}, TypeError, "complex|Logistic()|LeastSquares()"),
    "complex y": ({"y": Y + 0j}, TypeError, "complex|Logistic()|LeastSquares()"),
    "a name": ({"loss": "logistic"}, TypeError, "loss is 'logistic'|pursuit.Logistic()|function"),
    "none": ({"loss": None}, TypeError, "loss is None|pursuit.LeastSquares()"),
    "a class": ({"loss": Logistic}, TypeError, "Logistic'>|pursuit.Logistic()"),
    "summed up": ({"loss": torch.nn.MSELoss()}, ValueError, "shape ()|(5,)|not a sum"),
    "no tensor": ({"loss": lambda v, y: 0.0}, ValueError, "float|(5,)"),
    "another precision": ({"loss": lambda v, y: (v - y).float().square()}, ValueError, "torch.float32|torch.float64"),
    "negative": ({"loss": lambda v, y: -half_square(v, y)}, ValueError, "negative or not finite|>= 0"),
    "not finite": ({"loss": lambda v, y: 1 / v}, ValueError, "not finite"),
    "of negative curvature": ({"loss": steep}, ValueError, "curvature is -1.0|>= 0"),
    "not differentiable": ({"loss": lambda v, y: (v - y).square().detach()}, TypeError, "not differentiable twice"),
}


@pytest.mark.parametrize("case", ERRORS)
@every_solver
def test_a_bad_loss_is_named_before_any_work(name, case):
    given, error, words = ERRORS[case]
    with pytest.raises(error) as raised:
        pursuit.solve(**({"A": A, "y": Y, "loss": Logistic()} | given), method=name, k=2)
    assert [word for word in words.split("|") if word not in str(raised.value)] == [], str(raised.value)


@pytest.mark.parametrize("name", [name for name in pursuit.methods() if name not in (*LOSSY, "greedy_lasso")])
def test_the_other_methods_take_no_loss(name):
    with pytest.raises(TypeError, match=f"method '{name}'.*'loss'; it takes".replace("+", r"\+")):
        pursuit.solve(A, Y, name, loss=Logistic(), **({"lam": 1.0} if name in PROXIMAL else {"k": 2}))
