"""Relaxed selections: every soft solver is its hard one as the temperature goes to zero, and differentiable above."""

import numpy as np
import pytest
import torch

import pursuit
from helpers import gaussian, instance, normal, unit
from pursuit.core.atoms import SoftAtoms
from pursuit.core.selection import AtomSelector
from pursuit.relaxations import Relaxed

SORTS = {sort.__name__: sort for sort in (pursuit.softsort, pursuit.neuralsort, pursuit.sinkhorn_sort)}
SOFT = {
    "omp": {},
    "ols": {},
    "iht": {"eta": 0.6, "max_steps": 30},
    "niht": {"max_steps": 30},
    "htp": {"eta": 0.6, "max_steps": 20},
    "cosamp": {"max_steps": 10},
    "sp": {"max_steps": 10},
    "ompr": {"max_steps": 20},
}


def problem(dtype=torch.float64, *, m=30, n=50, k=4, seed=0, batch=(6,), noise=1e-3):
    p = instance(gaussian(dtype, m=m, n=n, seed=seed), k, seed=seed, batch=batch, noise=noise)
    return p._replace(y=p.y / p.y.norm(dim=-1, keepdim=True))


def both(name, p, tau, **options):
    hard = pursuit.solve(p.A, p.y, name, k=p.k, **SOFT[name], **options)
    soft = pursuit.solve(p.A, p.y, name, k=p.k, select=Relaxed(tau=tau), **SOFT[name], **options)
    return hard, soft


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("name", SOFT)
def test_the_cold_limit_is_the_hard_solver(name, dtype):
    p = problem(dtype)
    hard, soft = both(name, p, 1e-9)
    torch.testing.assert_close(soft.x, hard.x, rtol=0, atol=1e-6 if name == "niht" else 1e-9)
    assert (soft.support.sort(-1).values == hard.support.sort(-1).values).all()
    if name in ("omp", "ols", "iht", "cosamp", "sp"):  # the others end where a number no longer changes, to rounding
        assert (soft.status == hard.status).all()


@pytest.mark.parametrize("name", SOFT)
def test_the_error_vanishes_with_the_temperature_and_not_before(name):
    p = problem(seed=3)
    gaps = []
    for tau in (1e-1, 1e-2, 1e-6):
        hard, soft = both(name, p, tau)
        gaps.append((soft.x - hard.x).norm(dim=-1).median())
    assert gaps[0] > 1e-3
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-8 or name == "niht"


@pytest.mark.parametrize("sort", SORTS.values(), ids=SORTS)
@pytest.mark.parametrize("name", ["omp", "ols", "iht", "sp"])
def test_every_relaxation_reaches_the_hard_solver(name, sort):
    p = problem(seed=5)
    hard = pursuit.solve(p.A, p.y, name, k=p.k, **SOFT[name])
    soft = pursuit.solve(p.A, p.y, name, k=p.k, select=Relaxed(sort, tau=1e-8), **SOFT[name])
    torch.testing.assert_close(soft.x, hard.x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SOFT)
def test_batches_and_signals_one_by_one_agree(name):
    p = problem(seed=2, batch=(3,))
    _, together = both(name, p, 1e-2)
    for i in range(3):
        _, alone = both(name, p._replace(y=p.y[i]), 1e-2)
        torch.testing.assert_close(alone.x, together.x[i], rtol=0, atol=1e-6 if name == "niht" else 1e-9)


def soft_omp(A, y, k, tau, w):
    """The paper's box, with a pseudo-inverse."""
    n = A.shape[1]
    P, x = np.zeros((0, n)), np.zeros(n)
    for _ in range(k):
        v = np.abs(w * (A.conj().T @ (y - A @ x)))
        row = np.exp(-np.abs(v.max() - v) / tau)
        P = np.vstack([P, row / row.sum()])
        x = P.T @ (np.linalg.pinv(A @ P.T, rcond=1e-12) @ y)
    return x


def soft_iht(A, y, k, tau, w, eta, steps):
    """The paper's box."""
    x = np.zeros(A.shape[1])
    for _ in range(steps):
        u = x + eta * (A.conj().T @ (y - A @ x))
        v = np.abs(w * u)
        Q = np.exp(-np.abs(np.sort(v)[::-1][:k, None] - v) / tau)
        x = (Q / Q.sum(1, keepdims=True)).sum(0) * u
    return x


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("tau", [1e-3, 1e-1, 1.0])
def test_soft_omp_and_soft_iht_are_those_of_the_paper(dtype, tau):
    p = problem(dtype, batch=(3,), noise=0.1)
    w = 0.5 + torch.rand(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    select = Relaxed(pursuit.softsort, tau=tau)
    omp = pursuit.omp(p.A, p.y, 4, weights=w, select=select).x
    iht = pursuit.iht(p.A, p.y, 4, eta=0.3, max_steps=12, weights=w, select=select).x
    A, ws = p.dense.numpy(), w.numpy()
    for i, y in enumerate(p.y.numpy()):
        np.testing.assert_allclose(omp[i].numpy(), soft_omp(A, y, 4, tau, ws), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(iht[i].numpy(), soft_iht(A, y, 4, tau, ws, 0.3, 12), rtol=1e-9, atol=1e-12)


def test_the_soft_mask_is_not_clipped():
    tie = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    mask = AtomSelector(Relaxed(tau=0.5), 2, torch.ones(3)).best(tie).mask()
    assert mask.max() < 1
    between = torch.tensor([1.0, 0.95, 0.9], dtype=torch.float64)
    mask = AtomSelector(Relaxed(tau=0.05), 3, torch.ones(3)).best(between).mask()
    assert mask.sum() == pytest.approx(3)
    assert mask.max() > 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("name", SOFT)
def test_gradients_pass_through_the_choice(name, dtype):
    """By A, y, weights and temperature; the hard solver's gradient by the weights would be zero."""
    A, y = gaussian(dtype, m=8, n=12), normal(3, 2, 8, dtype=dtype)
    y = y / y.norm(dim=-1, keepdim=True)
    w = 0.5 + torch.rand(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tau = torch.tensor(0.1, dtype=torch.float64)
    inputs = [value.clone().requires_grad_() for value in (A, y, w, tau)]
    options = SOFT[name] | {"max_steps": 2}

    def f(A, y, w, tau):
        return pursuit.solve(A, y, name, k=2, weights=w, select=Relaxed(pursuit.softsort, tau), **options).x

    assert torch.autograd.gradcheck(f, inputs, fast_mode=True, rtol=1e-3)
    f(*inputs).abs().sum().backward()
    assert all(value.grad.abs().max() > 1e-6 for value in inputs)


@pytest.mark.parametrize("name", SOFT)
def test_a_relative_temperature_makes_the_result_scale_with_y(name):
    p = problem(seed=7)
    select = Relaxed(pursuit.softsort, tau=0.05, relative=True)
    x, scaled = (pursuit.solve(p.A, c * p.y, name, k=p.k, select=select, **SOFT[name]).x for c in (1, 1024))
    torch.testing.assert_close(scaled, 1024 * x, rtol=1e-6, atol=1e-6)
    fixed = Relaxed(pursuit.softsort, tau=0.05)
    x, scaled = (pursuit.solve(p.A, c * p.y, name, k=p.k, select=fixed, **SOFT[name]).x for c in (1, 1024))
    assert (scaled - 1024 * x).norm() > 1e-3 * scaled.norm()


@pytest.mark.parametrize("name", SOFT)
def test_sparsity_per_item_and_zero_weights(name):
    p = problem(seed=4, batch=(3,))
    k = torch.tensor([2, 4, 3])
    w = torch.ones(50, dtype=torch.float64)
    w[::5] = 0
    hard = pursuit.solve(p.A, p.y, name, k=k, weights=w, **SOFT[name])
    soft = pursuit.solve(p.A, p.y, name, k=k, weights=w, select=Relaxed(tau=1e-9), **SOFT[name])
    torch.testing.assert_close(soft.x, hard.x, rtol=0, atol=1e-6 if name == "niht" else 1e-9)
    assert (soft.x[:, ::5].abs() < 1e-9).all()


def test_more_steps_than_non_zeros_on_exact_data_stay_right():
    """Rows of a residual that is rounding error are alike: the least squares must stand them, and the run must end."""
    for seed in range(20):
        p = problem(m=30, n=50, k=4, seed=seed, batch=(), noise=0.0)
        sol = pursuit.omp(p.A, p.y, 12, select=Relaxed(tau=1e-6))
        truth = p.x / (p.dense @ p.x).norm()
        assert (sol.x - truth).norm() < 1e-6


def test_soft_atoms_are_atoms_where_rows_are_one_hot():
    rows = torch.eye(5, dtype=torch.float64)[torch.tensor([[3, 1], [0, 4]])]
    soft, hard = SoftAtoms(lambda: rows), pursuit.Atoms(torch.tensor([[3, 1], [0, 4]]), 5)
    A, x, z = pursuit.Dense(normal(0, 4, 5)), normal(1, 2, 5), normal(2, 2, 2)
    torch.testing.assert_close(soft.columns(A), hard.columns(A))
    torch.testing.assert_close(soft.embed(z), hard.embed(z))
    torch.testing.assert_close(soft.take(x), hard.take(x))
    torch.testing.assert_close(soft.keep(x), hard.keep(x))
    assert (soft.indices == hard.indices).all()
    assert (soft.complement() == hard.complement()).all()
    count = torch.tensor([1, 2])
    assert (soft.first(count).indices == hard.first(count).indices).all()
    order = torch.tensor([[1, 0], [0, 1]])
    assert (soft.reorder(order).indices == hard.reorder(order).indices).all()
    assert (soft.union(soft, max_k=4).indices[..., :2] == hard.indices).all()
    assert (soft.union(soft, max_k=4).indices[..., 2:] == -1).all()  # a repeated row is no new atom


@pytest.mark.parametrize("tau", [0, -1.0, float("nan"), float("inf"), torch.tensor([1.0, 0.0])])
def test_a_temperature_that_is_none(tau):
    with pytest.raises(ValueError, match=r"tau is .*; needed is a finite number > 0"):
        Relaxed(tau=tau)


def test_implicit_and_dense_operators_agree():
    A = pursuit.SubsampledFourier([1, 3, 4, 7, 9, 12, 15], 16)
    y = unit(normal(0, 7, 3, dtype=torch.complex128)).mT
    for name in SOFT:
        options = {"k": 2, "select": Relaxed(tau=0.1)} | SOFT[name]
        implicit, dense = (pursuit.solve(op, y, name, **options).x for op in (A, A.to_dense()))
        torch.testing.assert_close(implicit, dense, rtol=1e-6, atol=1e-7)
