"""The least squares against NumPy's lstsq and torch's pinv."""

import numpy as np
import pytest
import torch

import pursuit
from pursuit import config
from pursuit.core.atoms import Atoms
from pursuit.core.least_squares import factor, fit, independent, solve
from pursuit.core.qr import QR

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
DOUBLE = (torch.float64, torch.complex128)
BATCHES = ((), (2, 3))
M, N = 6, 10

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
two_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.complex128], ids=str)
double_dtype = pytest.mark.parametrize("dtype", DOUBLE, ids=str)
every_batch = pytest.mark.parametrize("batch", BATCHES, ids=str)


def randn(dtype, *shape, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def close(found, wanted):
    eps = torch.finfo(wanted.dtype).eps
    # The systems below have condition numbers up to some hundreds; that many roundings may show.
    torch.testing.assert_close(found, wanted, rtol=5e3 * eps, atol=5e3 * eps)


def lstsq(B, y):
    """The coefficients of minimum norm, item by item, in double precision."""
    batch = B.shape[:-2]
    flat_B, flat_y = B.reshape(-1, *B.shape[-2:]), y.expand(*batch, -1).reshape(-1, y.shape[-1])
    # The cut is that of the data's precision: what is dependent in it is dependent.
    rcond = max(B.shape[-2:]) * torch.finfo(B.dtype).eps
    double = torch.complex128 if B.is_complex() else torch.float64
    items = [
        np.linalg.lstsq(b.to(double).numpy(), v.to(double).numpy(), rcond=rcond)[0]
        for b, v in zip(flat_B, flat_y, strict=True)
    ]
    return torch.from_numpy(np.stack(items)).to(B.dtype).reshape(*batch, -1)


def with_columns(change):
    def make(dtype, *batch):
        B = randn(dtype, *batch, M, 4)
        change(B)
        return B

    return make


def some_items_dependent(dtype, *batch):
    B = randn(dtype, *batch, M, 4)
    B.reshape(-1, M, 4)[::2, :, 3] = B.reshape(-1, M, 4)[::2, :, 0]
    return B


MATRICES = {
    "full rank": with_columns(lambda B: None),
    "square": lambda dtype, *batch: randn(dtype, *batch, M, M),
    "one column": lambda dtype, *batch: randn(dtype, *batch, M, 1),
    "m=1": lambda dtype, *batch: randn(dtype, *batch, 1, 1),
    "duplicate": with_columns(lambda B: B[..., 2].copy_(B[..., 0])),
    "opposite": with_columns(lambda B: B[..., 3].copy_(-B[..., 1])),
    "all the same": with_columns(lambda B: B.copy_(B[..., :1].clone())),
    "combination": with_columns(lambda B: B[..., 1].copy_(B[..., 0] - 2 * B[..., 3])),
    "zero column": with_columns(lambda B: B[..., 1].zero_()),
    "zero first column": with_columns(lambda B: B[..., 0].zero_()),
    "zero": with_columns(torch.Tensor.zero_),
    "some items dependent": some_items_dependent,
    "large": with_columns(lambda B: B.mul_(1e6)),
    "small": with_columns(lambda B: B.mul_(1e-6)),
    "columns of many scales": with_columns(lambda B: B.mul_(torch.tensor([1e-2, 1.0, 30.0, 1e3]))),
}
FULL_RANK = ("full rank", "square", "one column", "m=1")
every_matrix = pytest.mark.parametrize("make", MATRICES.values(), ids=MATRICES)


def unit_scale(B, z):
    """Coefficients times the length of their columns: comparable whatever the units."""
    return z * torch.linalg.vector_norm(B, dim=-2)


@every_matrix
@every_dtype
@every_batch
def test_solve_agrees_with_numpy(make, dtype, batch):
    B = make(dtype, *batch)
    y = randn(dtype, *batch, B.shape[-2], seed=1)
    close(unit_scale(B, solve(B, y)), unit_scale(B, lstsq(B, y)))


@every_matrix
@double_dtype
@every_batch
def test_factor_agrees_with_torch(make, dtype, batch):
    B = make(dtype, *batch)
    y = randn(dtype, *batch, B.shape[-2], seed=1)
    z, F = factor(B, y, torch.full(batch, B.shape[-1]))
    pinv = torch.linalg.pinv(B, rtol=1e-13)
    scale = torch.linalg.vector_norm(B, dim=-2).unsqueeze(-1)
    close(scale * z.unsqueeze(-1), scale * (pinv @ y.unsqueeze(-1)))
    close(scale * (F @ (B @ F).mH), scale * pinv)
    close(scale * (F @ F.mH) * scale.mT, scale * (pinv @ pinv.mH) * scale.mT)


@every_matrix
@double_dtype
def test_unused_columns_get_zero_and_change_nothing(make, dtype):
    B = make(dtype, 4)
    m, k = B.shape[-2:]
    y = randn(dtype, 4, m, seed=1)
    count = torch.tensor([0, 1, k // 2, k])
    B = B * (torch.arange(k) < count.unsqueeze(-1)).unsqueeze(-2)
    for item, used in enumerate(count):
        found = solve(B, y, count)[item]
        assert (found[used:] == 0).all()
        if used:
            kept = B[item, :, :used]
            close(unit_scale(kept, found[:used]), unit_scale(kept, lstsq(kept, y[item])))


@pytest.mark.parametrize("name", FULL_RANK)
@double_dtype
@pytest.mark.parametrize("batch", [(2,)], ids=str)
def test_gradcheck_of_solve(name, dtype, batch):
    B = MATRICES[name](dtype, *batch).requires_grad_()
    y = randn(dtype, *batch, B.shape[-2], seed=1).requires_grad_()
    assert torch.autograd.gradcheck(solve, (B, y), fast_mode=True)


@double_dtype
def test_gradcheck_of_solve_with_unused_columns(dtype):
    count = torch.tensor([0, 1, 3])
    used = (torch.arange(4) < count.unsqueeze(-1)).unsqueeze(-2)
    B, y = randn(dtype, 3, M, 4).requires_grad_(), randn(dtype, 3, M, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda B, y: solve(B * used, y, count), (B, y))


@pytest.mark.parametrize("name", ["duplicate", "zero column", "zero", "some items dependent"])
@double_dtype
def test_gradcheck_of_dependent_columns_in_y(name, dtype):
    B, y = MATRICES[name](dtype, 2, 3), randn(dtype, 2, 3, M, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: solve(B, y), y)


@every_matrix
@two_dtypes
def test_gradients_are_finite(make, dtype):
    B = make(dtype, 2).requires_grad_()
    y = randn(dtype, 2, B.shape[-2], seed=1).requires_grad_()
    solve(B, y).abs().sum().backward()
    assert B.grad.isfinite().all()
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("batch_y", [(3,), (1,), ()], ids=str)
def test_gradient_of_shared_measurements_is_summed(batch_y):
    B, y = randn(torch.float64, 3, M, 4), randn(torch.float64, *batch_y, M, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: solve(B, y), y)


# Atoms of a matrix.

SUPPORTS = {
    "all": [7, 2, 5],
    "one": [4],
    "m of them": [0, 9, 3, 4, 6, 1],
    "absent first": [-1, 2, 5],
    "absent amid": [7, -1, -1, 5],
    "absent last": [7, 2, -1],
    "none": [-1, -1],
    "more places than m": [-1, 3, -1, 0, -1, -1, 8, -1],
    "duplicates": [0, 1, 5],
    "zero column": [2, 8, 6],
    "all dependent": [0, 1, 8],
}


def matrix(dtype, *batch):
    """Column 1 doubles column 0, column 8 is zero, and no column has unit norm."""
    A = 5 * randn(dtype, *batch, M, N)
    A[..., 1] = 2 * A[..., 0]
    A[..., 8] = 0
    return A


def wanted_fit(A, y, support):
    found = [i for i, j in enumerate(support) if j >= 0]
    z = y.new_zeros(*y.shape[:-1], len(support))
    if found:
        z[..., found] = lstsq(A[..., [support[i] for i in found]].expand(*y.shape[:-1], -1, -1), y)
    columns = A[..., torch.tensor(support).clamp(min=0)]
    return z, y - (columns @ z.unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("support", SUPPORTS.values(), ids=SUPPORTS)
@pytest.mark.parametrize("own", [True, False], ids=["own-matrix", "shared-matrix"])
@two_dtypes
@every_batch
def test_fit_agrees_with_numpy(support, own, dtype, batch):
    A, y = matrix(dtype, *(batch if own else ())), randn(dtype, *batch, M, seed=1)
    atoms = Atoms(torch.tensor(support).expand(*batch, -1), N)
    z, r = fit(pursuit.Dense(A), y, atoms)
    wanted_z, wanted_r = wanted_fit(A, y, support)
    close(z, wanted_z)
    close(r, wanted_r)


@double_dtype
def test_fit_with_another_support_for_each_item(dtype):
    A, y = matrix(dtype), randn(dtype, 3, M, seed=1)
    supports = [[-1, 4, 7], [1, 0, 8], [9, -1, -1]]
    z, r = fit(pursuit.Dense(A), y, Atoms(torch.tensor(supports), N))
    for item, support in enumerate(supports):
        wanted_z, wanted_r = wanted_fit(A, y[item], support)
        close(z[item], wanted_z)
        close(r[item], wanted_r)


@every_dtype
def test_an_exact_fit_leaves_rounding_alone_however_ill_conditioned(dtype):
    B, z = randn(dtype, 200, M, 4), randn(dtype, 200, 4, seed=1)
    B[..., 1] = B[..., 0] + 1e-3 * B[..., 1]
    y = (B @ z.unsqueeze(-1)).squeeze(-1)
    r = y - (B @ solve(B, y).unsqueeze(-1)).squeeze(-1)
    size = torch.linalg.vector_norm(y, dim=-1) + torch.linalg.vector_norm(z, dim=-1)
    assert (torch.linalg.vector_norm(r, dim=-1) <= 100 * torch.finfo(dtype).eps * size).all()


@every_dtype
def test_entries_whose_squares_underflow_break_no_factorisation(dtype):
    """In complex single precision LAPACK makes NaN of such a column, or finds no singular values."""
    B = torch.zeros(12, 4, dtype=dtype)
    for i, j, value in ((0, 0, 1), (1, 0, 2e-13), (1, 2, 0.267), (1, 3, 1), (5, 1, 2.0779544175525264e-36), (7, 1, 1)):
        B[i, j] = value
    y = randn(dtype, 12)
    close(solve(B, y), lstsq(B, y))
    atoms = Atoms(torch.arange(4), 4)
    assert independent(pursuit.Dense(B), atoms).indices.tolist() == [0, 1, 2, -1]
    close(fit(pursuit.Dense(B), y, atoms).r, y - B @ lstsq(B, y))
    tiny = torch.tensor([[1, 1], [0, 1e-40], [0, 3e-41]], dtype=dtype)
    close(solve(tiny, y[:3]), lstsq(tiny, y[:3]))
    assert independent(pursuit.Dense(tiny), Atoms(torch.arange(2), 2)).indices.tolist() == [0, -1]


@two_dtypes
def test_independent_atoms_are_those_that_the_ones_before_do_not_span(dtype):
    A = randn(dtype, M, N)
    A[:, 3], A[:, 5], A[:, 7] = A[:, 1], 0, A[:, 1] + 2 * A[:, 2]
    supports = [
        ([1, 2, 3], [1, 2, -1]),
        ([3, 2, 1], [3, 2, -1]),
        ([-1, 1, 3], [1, -1, -1]),
        ([5, 1, 2], [-1, 1, 2]),
        ([1, 3, 7], [1, -1, 7]),
        ([1, 2, 7], [1, 2, -1]),
        ([0, 8, 9], [0, 8, 9]),
        ([-1, -1, -1], [-1, -1, -1]),
    ]
    given, wanted = (torch.tensor(indices) for indices in zip(*supports, strict=True))
    assert independent(pursuit.Dense(A), Atoms(given, N)).indices.tolist() == wanted.tolist()
    y = randn(dtype, len(supports), M, seed=1)
    close(fit(pursuit.Dense(A), y, Atoms(wanted, N)).r, fit(pursuit.Dense(A), y, Atoms(given, N)).r)


# Growing by a column.


def grow(B, y):
    qr, r = QR.empty(y, B.shape[-1]), y
    for j in range(B.shape[-1]):
        qr, r = qr.append(B[..., j], r)
    return qr, r


@every_matrix
@two_dtypes
@every_batch
def test_appended_columns_leave_the_residual_of_least_squares(make, dtype, batch):
    B = make(dtype, *batch)
    y = randn(dtype, *batch, B.shape[-2], seed=1)
    _, r = grow(B, y)
    close(r, y - (B @ lstsq(B, y).unsqueeze(-1)).squeeze(-1))


@every_matrix
@two_dtypes
@every_batch
def test_coefficients_of_appended_columns_reproduce_the_fit(make, dtype, batch):
    B = make(dtype, *batch)
    y = randn(dtype, *batch, B.shape[-2], seed=1)
    qr, r = grow(B, y)
    close((B @ qr.solve().unsqueeze(-1)).squeeze(-1), y - r)


@pytest.mark.parametrize("name", FULL_RANK)
@every_dtype
@every_batch
def test_appended_independent_columns_are_factorised(name, dtype, batch):
    B = MATRICES[name](dtype, *batch)
    y = randn(dtype, *batch, B.shape[-2], seed=1)
    qr, _ = grow(B, y)
    Q = torch.stack(qr.Q, dim=-1)
    close(Q @ qr.triangle(), B)
    close(Q.mH @ Q, torch.eye(B.shape[-1], dtype=dtype).expand(*batch, -1, -1))
    close(qr.solve(), lstsq(B, y))


@pytest.mark.parametrize("name", ["duplicate", "zero column", "combination", "zero"])
@every_dtype
def test_an_appended_dependent_column_has_coefficient_zero(name, dtype):
    B, y = MATRICES[name](dtype, 2), randn(dtype, 2, M, seed=1)
    dependent = {"duplicate": [2], "zero column": [1], "combination": [3], "zero": [0, 1, 2, 3]}[name]
    z = grow(B, y)[0].solve()
    assert (z[..., dependent] == 0).all()
    others = [j for j in range(4) if j not in dependent]
    close(z[..., others], lstsq(B[..., others], y) if others else z[..., others])


@double_dtype
def test_nearly_dependent_columns_stay_orthogonal(dtype):
    B, y = randn(dtype, 50, 1) + 1e-9 * randn(dtype, 50, 8, seed=1), randn(dtype, 50, seed=2)
    qr, _ = grow(B, y)
    Q = torch.stack(qr.Q, dim=-1)
    torch.testing.assert_close(Q.mH @ Q, torch.eye(8, dtype=dtype), rtol=0, atol=1e-14)


def test_a_partly_filled_factorisation_has_zero_for_the_rest():
    y, B = randn(torch.float64, M, seed=1), randn(torch.float64, M, 2)
    qr, r = QR.empty(y, 4), y
    for j in range(2):
        qr, r = qr.append(B[:, j], r)
    assert qr.size == 2
    assert (qr.solve()[2:] == 0).all()
    close(qr.solve()[:2], lstsq(B, y))


@every_matrix
@every_dtype
@every_batch
def test_the_compiled_way_of_appending_equals_the_plain_one(make, dtype, batch, monkeypatch):
    found = {}
    for config_kernels in ("auto", "off"):
        monkeypatch.setattr(config, "kernels", config_kernels)
        B = make(dtype, *batch).requires_grad_()
        y = randn(dtype, *batch, B.shape[-2], seed=1).requires_grad_()
        qr, r = grow(B, y)
        outcome = [torch.stack(qr.Q, dim=-1), qr.triangle(), torch.cat(qr.g, dim=-1), r]
        pull = [randn(dtype, *v.shape, seed=seed) for seed, v in enumerate(outcome, 2)]
        loss = sum((v * p.conj()).real.sum() for v, p in zip(outcome, pull, strict=True))
        found[config_kernels] = [*outcome, *torch.autograd.grad(loss, (B, y))]
    for compiled, plain in zip(found["auto"], found["off"], strict=True):
        size = plain.abs().max().clamp(min=1)  # columns of many scales share an outcome
        close(compiled / size, plain / size)


@pytest.mark.parametrize("name", FULL_RANK)
@double_dtype
def test_gradcheck_of_appended_columns(name, dtype):
    B = MATRICES[name](dtype, 2).requires_grad_()
    y = randn(dtype, 2, B.shape[-2], seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda B, y: grow(B, y)[0].solve(), (B, y), fast_mode=True)


@every_matrix
@two_dtypes
def test_gradients_of_appended_columns_are_finite(make, dtype):
    B = make(dtype, 2).requires_grad_()
    y = randn(dtype, 2, B.shape[-2], seed=1).requires_grad_()
    qr, r = grow(B, y)
    (qr.solve().abs().sum() + r.abs().sum()).backward()
    assert B.grad.isfinite().all()
    assert y.grad.isfinite().all()
