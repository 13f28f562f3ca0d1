"""Greedy LASSO: its gains against brute-force minimisation, its loop against a plain transcription, and its limits."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import pursuit
import reference
from helpers import COMPLEX, DTYPES, REAL, fourier, gaussian, instance, normal, unit, unnormalised
from pursuit import Relaxed, Status
from pursuit.core.selection import AtomSelector, Hard
from pursuit.operators import Dense
from pursuit.solvers import omp
from pursuit.solvers.greedy_lasso import OBJECTIVES, gains, greedy_lasso, l1_sr

FIELDS = [pytest.param(REAL, id="real"), pytest.param(COMPLEX, id="complex")]
every_objective = pytest.mark.parametrize("objective", OBJECTIVES)

# Penalties at which the instances below take some atoms and then stop.
LAM = {"l0": 0.05, "l0-sr": 0.05, "l1": 0.3, "l1-sr": 0.3}


# ---- by brute force ------------------------------------------------------------------------------------------------


def value_of(objective, square, size, lam, w, others):
    """The objective where `||r||^2 = square` and `|x_j| = size`, given the penalty of the other coefficients."""
    fit = np.sqrt(square.clip(0)) if objective.endswith("sr") else square
    return fit + lam * ((w**2 * (size > 0) if objective.startswith("l0") else w * size) + others)


def brute_gains(A, y, x, objective, lam, w):
    """By how much the objective can fall if `x_j` alone changes, for every j: a search over the line or the plane."""
    r = y - A @ x
    rho2, c = np.linalg.norm(r) ** 2, A.conj().T @ r
    each = w**2 * (x != 0) if objective.startswith("l0") else w * np.abs(x)
    others = each.sum() - each

    def value(z):
        t = z - x
        return value_of(objective, rho2 - 2 * (t.conj() * c).real + np.abs(t) ** 2, np.abs(z), lam, w, others)

    now = value(x)
    z = x + c  # the least squares: what pays if the penalty does not depend on the size
    best = np.minimum(np.minimum(now, value(np.zeros_like(x))), value(z))
    if objective.startswith("l1"):
        width = 1.01 * np.abs(z)  # it lies between there and zero
        line = np.linspace(-1, 1, 13)
        grid = line if not np.iscomplexobj(x) else (line[:, None] + 1j * line).ravel()
        for _ in range(18):
            trial = z + np.multiply.outer(grid, width)
            values = value(trial)
            z = np.take_along_axis(trial, values.argmin(0)[None], 0)[0]
            best = np.minimum(best, values.min(0))
            width = width / 3
    return now - best


def transcription(A, y, objective, lam, w, k):
    """The algorithm by the brute-force gains: the order of the atoms, and whether it stopped of itself."""
    S, x = [], np.zeros(A.shape[1], dtype=np.result_type(A, y))
    while len(S) < k:
        delta = brute_gains(A, y, x, objective, lam, w)
        j = int(delta.argmax())
        if delta[j] < 1e-9 or j in S:
            return S, x, True
        S.append(j)
        x = reference.least_squares(A, y, S)
    return S, x, False


def on_support(A, y, S):
    """OMP's state with these atoms (*batch, s) chosen."""
    choice = AtomSelector(Hard(), S.shape[-1], torch.ones(A.shape[-1]))
    state = omp.init(y, A.shape[-1], choice)
    for t in range(S.shape[-1]):
        atom = state.atoms._replace(indices=S[..., t : t + 1])
        qr, r = state.qr.append(atom.columns(Dense(A)).squeeze(-1), state.r)
        state = omp.State(r, qr, state.atoms.with_atom_at(t, atom))
    return state


def random_states(dtype, count, *, m=8, n=12, s=3, seed=0):
    """Matrices, measurements, penalties and weights, and states with random supports."""
    A = unit(normal(seed, count, m, n, dtype=dtype))
    y = normal(seed + 1, count, m, dtype=dtype)
    S = normal(seed + 2, count, n).argsort(-1)[:, :s]
    lam = 10 ** normal(seed + 3, count, 1).clamp(-1.5, 0.5)
    w = 0.2 + normal(seed + 4, count, n).abs()
    return A, y, lam, w, on_support(A, y, S)


@pytest.mark.parametrize(("dtype", "count"), [(REAL, 1000), (COMPLEX, 300)], ids=["real", "complex"])
@every_objective
def test_gains_are_those_of_a_brute_force_search(objective, dtype, count):
    A, y, lam, w, state = random_states(dtype, count)
    delta = gains(Dense(A), state, rule=OBJECTIVES[objective], lam=lam, w=w)
    x, chosen = omp.estimate(state), state.atoms.mask()
    for i in range(count):
        want = brute_gains(*(v[i].numpy() for v in (A, y, x)), objective, lam[i].item(), w[i].numpy())
        np.testing.assert_allclose(delta[i].numpy(), want, rtol=0, atol=1e-8)
    for case in (delta[chosen], delta[~chosen]):  # it did test something
        assert (case > 0.01).to(REAL).mean() > 0.1
    assert (delta == 0).any()


def test_the_square_root_l1_gains_are_those_printed():
    A, _, lam, w, state = random_states(REAL, 200)
    p, x, chosen = (lam * w).numpy(), omp.estimate(state).abs().numpy(), state.atoms.mask().numpy()
    g = Dense(A).adjoint(state.r).abs().numpy()
    rho = state.r.norm(dim=-1, keepdim=True).numpy()
    c2 = np.clip(1 - p**2, 0, None)
    into = rho - p * g - np.sqrt(c2 * (rho**2 - g**2))
    c = np.where(c2 > 0, np.sqrt(c2), np.inf)
    shrunk = np.where(c2 > 0, rho + p * x - rho / c - p * np.abs(x - p * rho / c), 0)
    out = np.maximum(rho + p * x - np.sqrt(x**2 + rho**2), shrunk)
    assert (p > 1).any()
    for legacy, want in ((False, into * (g > p * rho)), (True, np.where(p <= 1, into, 0))):
        both = l1_sr(*(torch.from_numpy(v) for v in (g, x, rho)), lam, w, legacy=legacy)
        np.testing.assert_allclose(both[0], want, rtol=0, atol=1e-12)
        np.testing.assert_allclose(both[1].numpy()[chosen], out[chosen], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", FIELDS)
@every_objective
def test_the_loop_is_that_of_a_plain_transcription(objective, dtype):
    count, k = 12, 6
    A, y = unit(normal(0, count, 10, 14, dtype=dtype)), normal(1, count, 10, dtype=dtype) / 2
    w = 0.5 + normal(2, count, 14).abs()
    stopped = 0
    for factor in (0.3, 1.0):
        sol = greedy_lasso(A, y, k, lam=factor * LAM[objective], objective=objective, penalty_weights=w)
        for i in range(count):
            S, x, ended = transcription(A[i].numpy(), y[i].numpy(), objective, factor * LAM[objective], w[i].numpy(), k)
            assert sol.support[i].tolist() == S + [-1] * (k - len(S))
            assert sol.status[i] == (Status.STATIONARY if ended else Status.SPARSITY)
            assert sol.steps[i] == len(S) + ended
            assert_close(sol.x[i], torch.from_numpy(x), rtol=0, atol=1e-12)
            stopped += ended
    assert 0 < stopped < 2 * count


# ---- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("lam", [0.0, 1e-12])
@every_objective
def test_without_a_penalty_it_is_omp(objective, lam, dtype):
    A = unit(normal(0, 40, 20, 50, dtype=dtype))
    y = normal(1, 40, 20, dtype=dtype)
    want, w = pursuit.omp(A, y, 8), 1 + normal(2, 50).abs()  # weights of no penalty change nothing
    sol = greedy_lasso(A, y, 8, lam=lam, objective=objective, penalty_weights=w)
    assert torch.equal(sol.support, want.support)
    assert_close(sol.x, want.x)
    assert torch.equal(sol.status, want.status)


@pytest.mark.parametrize("dtype", FIELDS)
@every_objective
def test_the_cold_limit_is_the_hard_solver(objective, dtype):
    p = instance(gaussian(dtype, m=30, n=50), 4, batch=(8,), noise=0.1)
    w = 0.5 + normal(2, 50).abs()
    for lam in (0.01, LAM[objective]):
        hard = greedy_lasso(p.A, p.y, 6, lam=lam, objective=objective, penalty_weights=w)
        gaps = []
        for tau in (1e-1, 1e-3, 1e-9):
            soft = greedy_lasso(
                p.A, p.y, 6, lam=lam, objective=objective, penalty_weights=w, select=Relaxed(pursuit.softsort, tau)
            )
            gaps.append((soft.x - hard.x).norm(dim=-1).mean())
        assert gaps[0] > gaps[1] > gaps[2]
        assert gaps[2] < 1e-9
        assert torch.equal(soft.support, hard.support)
        assert torch.equal(soft.status, hard.status)
        assert torch.equal(soft.steps, hard.steps)


# ---- derivatives ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELDS)
@every_objective
def test_gradients_pass_through_the_choice(objective, dtype):
    A, y = gaussian(dtype, m=8, n=12), normal(3, 2, 8, dtype=dtype)
    w = 0.5 + torch.rand(12, generator=torch.Generator().manual_seed(0), dtype=REAL)
    lam, tau = (torch.tensor(v, dtype=REAL) for v in (LAM[objective] / 2, 0.1))
    inputs = [value.clone().requires_grad_() for value in (A, y, lam, w, tau)]

    def f(A, y, lam, w, tau):
        select = Relaxed(pursuit.softsort, tau)
        return greedy_lasso(A, y, 3, lam=lam, objective=objective, penalty_weights=w, select=select).x

    assert torch.autograd.gradcheck(f, inputs, fast_mode=True, rtol=1e-3)
    f(*inputs).abs().sum().backward()
    assert all(value.grad.abs().max() > 1e-6 for value in inputs)


ODD = {
    "nothing measured": lambda A, y: (A, y * torch.tensor([[1.0], [0.0]])),
    "an exact fit": lambda A, y: (A, A[:, :2].sum(-1).expand(2, -1)),
    "a residual in line with one column": lambda A, y: (A, A[:, :1].mT.expand(2, -1)),
    "zero columns": lambda A, y: (A * (torch.arange(12) % 3 > 0), y),
    "repeated columns": lambda A, y: (A[:, :4].repeat(1, 3), y),
    "orthonormal columns": lambda A, y: (torch.eye(8, dtype=A.dtype), y),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("dtype", FIELDS)
@every_objective
def test_results_and_gradients_are_finite_in_the_corners(objective, dtype, odd):
    A, y = ODD[odd](gaussian(dtype, m=8, n=12), normal(3, 2, 8, dtype=dtype))
    lam, y = torch.broadcast_tensors(torch.tensor([[[0.0]], [[0.3]], [[1.0]], [[2.0]]], dtype=REAL), y)
    for select in (Hard(), Relaxed(pursuit.softsort, 1e-2), Relaxed(pursuit.softsort, 1e-8)):
        for legacy in (False, True) if objective == "l1-sr" else (False,):  # it is of that objective alone
            inputs = [v.clone().requires_grad_() for v in (A, y, lam[..., 0])]  # every penalty, on both signals
            sol = greedy_lasso(
                *inputs[:2], 6, lam=inputs[2], objective=objective, penalty_weights=y.real.new_ones(A.shape[-1]),
                select=select, legacy=legacy,
            )  # fmt: skip
            assert sol.x.shape == (4, 2, A.shape[-1])
            assert sol.x.isfinite().all()
            assert not sol.x.detach()[..., ~A.any(0)].any()
            sol.x.abs().square().sum().backward()
            assert all(v.grad is None or v.grad.isfinite().all() for v in inputs)


# ---- stopping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("select", [Hard(), Relaxed(pursuit.softsort, 1e-6)], ids=["hard", "soft"])
@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"lam": 0.0, "k": 5}, Status.SPARSITY),
        ({"lam": 0.0, "tol": 0.5}, Status.TOLERANCE),
        ({"lam": 0.0, "k": 5, "max_steps": 2}, Status.MAX_STEPS),
        ({"lam": "middling"}, Status.STATIONARY),
        ({"lam": 1e3}, Status.STATIONARY),
    ],
)
@every_objective
def test_the_status_says_why_it_stopped(objective, options, status, select):
    p = instance(gaussian(), 3, batch=(2,), noise=0.03)
    lam = LAM[objective] if options["lam"] == "middling" else options["lam"]
    sol = greedy_lasso(p.A, p.y, objective=objective, select=select, **(options | {"lam": lam}))
    assert sol.status.tolist() == [status] * 2
    if lam == 1e3:
        assert not sol.x.any()
        assert sol.steps.tolist() == [1, 1]
    if lam == LAM[objective]:  # the penalty alone finds how many there are
        assert torch.equal(sol.support[:, :3].sort(-1).values, p.x.nonzero()[:, 1].reshape(2, 3))
        assert (sol.support[:, 3:] == -1).all()


def test_every_atom_in_is_the_end_too():
    sol = greedy_lasso(torch.eye(4, 2), torch.ones(4), lam=0.0, objective="l0")
    assert (sol.support.tolist(), sol.status) == ([0, 1], Status.SPARSITY)
    sol = greedy_lasso(torch.eye(4, 2), torch.ones(4), lam=0.0, objective="l0", tol=1e-3)  # asked for and not met
    assert (sol.support.tolist(), sol.status) == ([0, 1], Status.TOL_MISSED)


def test_it_stops_where_the_best_gain_belongs_to_an_atom_that_is_in():
    A, y = torch.eye(3, dtype=REAL), torch.tensor([2.0, 1.9, 0.0], dtype=REAL)
    # With x_0 in, it gains lam^2 / 4 = 0.56; x_1 gains (1.9 - lam w_1 / 2)^2: 1.3 for w_1 = 1, 0.49 for 1.6.
    both = greedy_lasso(A, y, lam=1.5, objective="l1")
    assert both.support.tolist() == [0, 1, -1]
    one = greedy_lasso(A, y, lam=1.5, objective="l1", penalty_weights=torch.tensor([1.0, 1.6, 1.0], dtype=REAL))
    assert one.support.tolist() == [0, -1, -1]
    assert one.x.tolist() == [2, 0, 0]
    assert (one.status, one.steps) == (Status.STATIONARY, 2)


def test_repeated_columns_are_taken_once():
    for objective in OBJECTIVES:
        sol = greedy_lasso(gaussian(m=20, n=5).repeat(1, 2), normal(1, 20), 8, lam=0.0, objective=objective)
        assert sol.status in (Status.EXHAUSTED, Status.STATIONARY)
        assert len(set((sol.support[sol.support >= 0] % 5).tolist())) == (sol.support >= 0).sum() == 5


# ---- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELDS)
def test_legacy_gives_spurious_gains(dtype):
    A, y = unit(normal(0, 100, 20, 40, dtype=dtype)), normal(1, 100, 20, dtype=dtype)
    lam = torch.linspace(0.05, 0.95, 100, dtype=REAL)
    new, old = (greedy_lasso(A, y, 1, lam=lam, legacy=legacy).support for legacy in (False, True))
    assert 0.2 < (new != old).to(REAL).mean() < 0.95
    assert new[0] == old[0]
    for objective in ("l0", "l0-sr", "l1"):
        new, old = (greedy_lasso(A, y, 5, lam=0.1, objective=objective, legacy=legacy).x for legacy in (False, True))
        assert torch.equal(new, old)


@every_objective
def test_a_small_weight_favours_an_atom(objective):
    p = instance(gaussian(m=20, n=60), 5, batch=(30,), noise=0.3)
    w = torch.where(p.x != 0, 0.1, 1.0)
    lam = {"l0": 1.0, "l0-sr": 0.3, "l1": 1.0, "l1-sr": 0.3}[objective]
    told = greedy_lasso(p.A, p.y, 5, lam=lam, objective=objective, penalty_weights=w)
    hits = [((x != 0) & (p.x != 0)).sum() for x in (pursuit.omp(p.A, p.y, 5).x, told.x)]
    assert hits[1] > hits[0] + 10
    free = greedy_lasso(p.A, p.y, 5, lam=1e3, objective=objective, penalty_weights=(p.x == 0).to(REAL))
    assert torch.equal(free.x != 0, p.x != 0)


@every_objective
def test_column_norms_do_not_matter_and_units_are_as_said(objective):
    A, lam = unnormalised(m=16, n=32), LAM[objective]
    norms = A.norm(dim=0)
    p = instance(A, 4, batch=(4,), noise=0.2)
    plain = greedy_lasso(A / norms, p.y, 6, lam=lam, objective=objective)
    assert_close(greedy_lasso(A, p.y, 6, lam=lam, objective=objective).x, plain.x / norms)
    units = {"l0": 1e6, "l0-sr": 1e3, "l1": 1e3, "l1-sr": 1.0}
    scaled = greedy_lasso(A / norms, 1e3 * p.y, 6, lam=units[objective] * lam, objective=objective)
    assert_close(scaled.x, 1e3 * plain.x)


@pytest.mark.parametrize("option", ["lam", "penalty_weights", "k", "tol", "max_steps"])
@every_objective
def test_options_per_item_equal_each_item_alone(objective, option):
    p = instance(unnormalised(m=16, n=32), 4, batch=(4,), noise=0.2)
    values = {
        "lam": torch.tensor([0.0, 0.1, 0.2, 2.0]),
        "penalty_weights": normal(3, 4, 32).abs(),
        "k": torch.tensor([1, 2, 3, 5]),
        "tol": torch.tensor([0.0, 0.3, 0.8, 0.9]),
        "max_steps": torch.tensor([0, 1, 2, 5]),
    }[option]
    for select, near in ((Hard(), 1e-12), (Relaxed(pursuit.softsort, 1e-2), 1e-7)):
        options = {"k": 4, "lam": LAM[objective] / 4, "objective": objective, "select": select}
        together = greedy_lasso(p.A, p.y, **(options | {option: values}))
        for i in range(4):
            alone = greedy_lasso(p.A, p.y[i], **(options | {option: values[i]}))
            assert_close(together.x[i], alone.x, rtol=0, atol=near)
            assert (together.steps[i], together.status[i]) == (alone.steps, alone.status)


@pytest.mark.parametrize("dtype", DTYPES)
@every_objective
def test_every_precision_and_implicit_operators(objective, dtype):
    A = fourier(dtype) if dtype.is_complex else gaussian(dtype)
    p = instance(A, 3, batch=(2, 3), noise=0.01)
    for select in (Hard(), Relaxed(pursuit.softsort, 1e-6)):
        sol = greedy_lasso(p.A, p.y, 3, lam=1e-3, objective=objective, select=select)
        assert (sol.x.shape, sol.x.dtype, sol.support.shape) == (p.x.shape, dtype, (2, 3, 3))
        assert torch.equal(sol.support.sort(-1).values, p.x.nonzero()[:, -1].reshape(2, 3, 3))
        dense = greedy_lasso(p.dense, p.y, 3, lam=1e-3, objective=objective, select=select)
        assert_close(sol.x, dense.x, rtol=1e-3, atol=1e-3 if dtype.to_real() == torch.float32 else 1e-6)


def test_numpy_comes_back_as_numpy_and_on_step_sees_all():
    p = instance(gaussian(), 3, batch=(2,), noise=0.1)
    history = []
    sol = greedy_lasso(p.A.numpy(), p.y.numpy(), 3, lam=0.01, on_step=history.append)
    assert isinstance(sol.x, np.ndarray)
    assert [s.step for s in history] == [1, 2, 3]
    np.testing.assert_array_equal(history[-1].x, sol.x)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lam": -0.1}, ValueError, r"lam is -0\.1; needed is a finite number >= 0"),
        ({"lam": float("nan")}, ValueError, "lam is nan"),
        ({"lam": torch.ones(3)}, ValueError, r"lam has shape \(3,\)"),
        ({"lam": "large"}, TypeError, "lam is 'large'"),
        ({}, TypeError, "lam"),
        ({"lam": 0.1, "objective": "lad"}, ValueError, "objective is 'lad'; choose one of l0, l0-sr, l1, l1-sr"),
        ({"lam": 0.1, "penalty_weights": -torch.ones(48)}, ValueError, "penalty_weights go down to -1"),
        ({"lam": 0.1, "penalty_weights": torch.ones(5)}, ValueError, "penalty_weights have shape"),
        ({"lam": 0.1, "k": -1}, ValueError, "k is -1"),
        ({"lam": 0.1, "tol": -1.0}, ValueError, "tol is -1"),
    ],
)
def test_bad_input_is_named(options, error, message):
    with pytest.raises(error, match=message):
        greedy_lasso(gaussian(), normal(0, 36), **options)
