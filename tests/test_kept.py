"""What is derived from an operator is kept on it, and never outlives a change of what it was derived from."""

import copy

import pytest
import torch
from torch.testing import assert_close

import pursuit
from helpers import COMPLEX, DTYPES, PROXIMAL, REAL, SINGLE, gaussian, normal, recover, unnormalised


def solved(name, A, y):
    """Few steps: what is kept enters the first of them."""
    options = {"lam": 0.1} if name in PROXIMAL else {}
    return recover(name, A, y, 3, **options, **({} if name in ("omp", "ols") else {"max_steps": 5}))


@pytest.mark.parametrize("of_y", [REAL, COMPLEX], ids=["real signals", "complex signals"])
@pytest.mark.parametrize("name", SINGLE)
def test_a_matrix_that_is_written_to_is_another_one(name, of_y):
    matrix, other = unnormalised(m=12, n=20, seed=0), 3 * unnormalised(m=12, n=20, seed=1)
    y = normal(2, 30, 12, dtype=of_y)
    A = pursuit.as_operator(matrix)
    before = solved(name, A, y)
    assert_close(solved(name, A, y).x, before.x)
    matrix.copy_(other)
    after = solved(name, A, y)
    wanted = solved(name, other.clone(), y)
    assert torch.equal(after.support, wanted.support)
    assert_close(after.x, wanted.x)
    assert not torch.allclose(after.x, before.x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_so_is_an_operator_with_another_matrix(dtype):
    A, other = pursuit.Dense(unnormalised(dtype, m=12, n=20)), unnormalised(dtype, m=12, n=20, seed=1)
    y = normal(2, 30, 12, dtype=dtype)
    pursuit.omp(A, y, 3), pursuit.iht(A, y, 3, max_steps=5)
    A.matrix = other
    for name in ("omp", "iht"):
        assert_close(solved(name, A, y).x, solved(name, other, y).x)


def test_it_is_derived_once_and_anew_after_a_change():
    scale = torch.ones(20, dtype=REAL)
    A = pursuit.ColumnScaled(pursuit.Dense(gaussian(m=12, n=20)), scale)
    made = []

    def derive():
        made.append(1)
        return A.to_dense()

    first = A.kept("matrix", derive)
    assert A.kept("matrix", derive) is first
    scale.mul_(2)  # of a part
    assert_close(A.kept("matrix", derive), 2 * first)
    assert len(made) == 2
    assert A.keeps("matrix")
    assert not copy.deepcopy(A).keeps("matrix")


def test_what_learns_keeps_nothing():
    matrix = gaussian(m=12, n=20).requires_grad_()
    A, y = pursuit.as_operator(matrix), normal(1, 12)
    for _ in range(2):
        (grad,) = torch.autograd.grad(pursuit.omp(A, y, 3).x.sum(), matrix)
        assert grad.any()
    assert not A.keeps("inverse norms")
