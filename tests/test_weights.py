"""The analytic weights are the minimiser, in closed form and for every kind of operator."""

import math

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

import pursuit
from helpers import COMPLEX, DTYPES, REAL, normal, sparse, unit, unnormalised
from pursuit import theory
from pursuit.experiments.na.projected_gradients import projected_gradient_weights
from pursuit.weights import check_weights


def diagonal(W: Tensor, A: Tensor) -> Tensor:
    return (W.conj() * A).sum(-2)


def objective(W: Tensor, A: Tensor) -> Tensor:
    """`||W^H A||_F^2`, in double precision."""
    wide = COMPLEX if A.is_complex() else REAL
    return (W.to(wide).mH @ A.to(wide)).abs().square().sum((-2, -1))


def off_diagonal(W: Tensor, A: Tensor) -> float:
    return float(objective(W, A) - diagonal(W, A).abs().square().sum())


def rank_deficient(dtype: torch.dtype, *, m: int = 12, n: int = 20, rank: int = 7) -> Tensor:
    return normal(1, m, rank, dtype=dtype) @ normal(2, rank, n, dtype=dtype)


MATRICES = {
    "wide": lambda dtype: unit(normal(0, 12, 20, dtype=dtype)),
    "unnormalised": lambda dtype: unnormalised(dtype, m=12, n=20),
    "tall": lambda dtype: normal(0, 15, 6, dtype=dtype),
    "square": lambda dtype: normal(0, 8, 8, dtype=dtype),
    "one row": lambda dtype: normal(0, 1, 5, dtype=dtype),
    "one column": lambda dtype: normal(0, 5, 1, dtype=dtype),
    "rank deficient": rank_deficient,
    "tall and deficient": lambda dtype: rank_deficient(dtype, m=20, n=12),
    "repeated rows": lambda dtype: normal(0, 5, 12, dtype=dtype)[[0, 1, 2, 3, 4, 0, 1]],
    "tiny column": lambda dtype: normal(0, 6, 9, dtype=dtype) * (1 - (1 - 1e-4) * (torch.arange(9) == 4).to(dtype)),
    "batch": lambda dtype: normal(0, 2, 3, 6, 9, dtype=dtype),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", MATRICES)
def test_every_column_has_product_one_and_the_closed_form_holds(name, dtype):
    A = MATRICES[name](dtype)
    W = pursuit.analytic_weights(A)
    assert (W.shape, W.dtype) == (A.shape, dtype)
    eps = torch.finfo(dtype).eps
    assert (diagonal(W, A) - 1).abs().max() < 1e4 * eps
    wide = A.to(COMPLEX if dtype.is_complex else REAL)
    raw = torch.linalg.pinv(wide @ wide.mH, hermitian=True, rtol=1e-10) @ wide
    expected = raw / diagonal(raw, wide).unsqueeze(-2)
    assert ((W - expected).abs() <= 1e4 * eps * expected.abs().amax((-2, -1), keepdim=True)).all()


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize("name", MATRICES)
def test_no_change_along_the_constraint_lowers_the_objective(name, dtype):
    A = MATRICES[name](dtype)
    W = pursuit.analytic_weights(A)
    least = objective(W, A)
    for seed in range(100, 120):
        turn = normal(seed, *A.shape, dtype=dtype)
        along = turn - A * (diagonal(A, turn) / diagonal(A, A).real).unsqueeze(-2)
        assert diagonal(along, A).abs().max() < 1e-10
        for size in (1e-6, 1e-3, 1.0):
            changed = objective(W + size * along, A)
            assert (changed >= least * (1 - 1e-10)).all()
            if size == 1.0:
                assert (changed > least).all() or 1 in A.shape  # where nothing can change, or it changes nothing


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize("name", ["wide", "unnormalised", "batch", "rank deficient"])
def test_projected_gradients_arrive_at_the_closed_form(name, dtype):
    A = MATRICES[name](dtype)
    W = pursuit.analytic_weights(A)
    eta = 1.0 / torch.linalg.matrix_norm(A, 2).max().item() ** 2
    few, many = (projected_gradient_weights(A, steps, eta) for steps in (10, 50_000))
    assert (objective(W, A) <= objective(many, A) * (1 + 1e-12)).all()
    assert (objective(many, A) <= objective(few, A)).all()
    assert torch.allclose(objective(many, A), objective(W, A), rtol=1e-8)
    assert (diagonal(many, A) - 1).abs().max() < 1e-9


@pytest.mark.parametrize(("n", "best", "legacy"), [(500, 502.1, 605.7), (1000, 3005.8, None)])
def test_weights_of_the_papers_size_reach_the_optimum_that_the_papers_own_miss(n, best, legacy):
    """For 250 x 500 matrices the published weights had an off-diagonal energy of 605.7; the optimum was 502.1."""
    A = unit(normal(n, 250, n))
    W = pursuit.analytic_weights(A)
    assert off_diagonal(W, A) == pytest.approx(best, rel=2e-3)
    found = projected_gradient_weights(A, legacy=legacy is not None)
    reached = pytest.approx(off_diagonal(W, A), rel=1e-6) if legacy is None else pytest.approx(legacy, rel=1e-2)
    assert off_diagonal(W, A) <= off_diagonal(found, A) == reached
    assert pursuit.welch_bound(250, n) < pursuit.generalized_coherence(W, A) < theory.coherence(A)


def test_legacy_weights_are_those_of_their_seed():
    A = unit(normal(0, 10, 20))
    one, same, other = (projected_gradient_weights(A, legacy=True, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
def test_a_batch_is_solved_item_by_item(dtype):
    A = normal(0, 2, 3, 6, 9, dtype=dtype)
    A[0, 1] = rank_deficient(dtype, m=6, n=9, rank=3)
    W, slow = pursuit.analytic_weights(A), projected_gradient_weights(A, 5, 0.01)
    mu = pursuit.generalized_coherence(W, A)
    assert mu.shape == (2, 3)
    for i in np.ndindex(2, 3):
        assert torch.allclose(W[i], pursuit.analytic_weights(A[i]), atol=1e-10)
        assert torch.allclose(slow[i], projected_gradient_weights(A[i], 5, 0.01))
        assert mu[i].item() == pytest.approx(pursuit.generalized_coherence(W[i], A[i]).item())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_numpy_in_numpy_out(dtype):
    A = unit(normal(0, 6, 9, dtype=dtype))
    for make in (pursuit.analytic_weights, projected_gradient_weights):
        W = make(A.numpy())
        assert isinstance(W, np.ndarray)
        assert W.dtype == A.numpy().dtype
        np.testing.assert_array_equal(W, make(A))
    mu = pursuit.generalized_coherence(W, A.numpy())
    assert isinstance(mu, np.ndarray)
    assert mu == pursuit.generalized_coherence(torch.from_numpy(W), A)


def test_lists_are_matrices():
    np.testing.assert_allclose(pursuit.analytic_weights([[2.0, 0.0], [0.0, 4.0]]), [[0.5, 0.0], [0.0, 0.25]])


def test_weights_are_constants_to_automatic_differentiation():
    A = normal(0, 6, 9).requires_grad_()
    assert not pursuit.analytic_weights(A).requires_grad
    assert not pursuit.analytic_weights(pursuit.Dense(A)).to_dense().requires_grad


def test_scaling_columns_scales_weights_back_only_where_all_scale_alike():
    A = unit(normal(0, 6, 9))
    W = pursuit.analytic_weights(A)
    assert torch.allclose(pursuit.analytic_weights(3 * A), W / 3)
    signs = normal(1, 9).sign()
    assert torch.allclose(pursuit.analytic_weights(A * signs), W * signs)
    assert not torch.allclose(pursuit.analytic_weights(A * torch.arange(1, 10)), W / torch.arange(1, 10))


# Operators: the same weights, with no matrix formed where the Fourier transform diagonalises


def fourier(rows, n, **options):
    return lambda dtype: pursuit.SubsampledFourier(rows, n, dtype=dtype, **options)


def convolution(*shape, n=12, boundary="circular"):
    return lambda dtype: pursuit.Convolution(normal(0, *shape, dtype=dtype), n, boundary)


def blind(n):
    """A circular convolution that lets only some frequencies pass."""

    def make(dtype):
        spectrum = torch.zeros(n, dtype=COMPLEX)
        spectrum[[0, 1, 2, n - 1, n - 2]] = torch.tensor([2.0, 1 + 1j, 0.5j, 1 - 1j, -0.5j], dtype=COMPLEX)
        kernel = torch.fft.ifft(spectrum)
        return pursuit.Convolution((kernel if dtype.is_complex else kernel.real).to(dtype), n)

    return make


def filtered(rows, *shape, n=12, **options):
    return lambda dtype: pursuit.Compose(fourier(rows, n, **options)(dtype), convolution(*shape, n=n)(dtype))


def real_filter(dtype):
    blur = pursuit.Convolution(normal(3, 4, dtype=dtype.to_real()), 12).complexified()
    return pursuit.Compose(fourier([0, 5, 5, 7], 12)(dtype), blur)


def rows_scaled(dtype):
    gains = normal(4, 2, 5, dtype=dtype)
    return pursuit.Compose(pursuit.Diagonal(gains), fourier([0, 2, 5, 2, 9], 12)(dtype), convolution(4)(dtype))


def scaled(make, scale):
    return lambda dtype: pursuit.ColumnScaled(make(dtype), scale(dtype))


def equal(dtype):
    return 3 * torch.exp(1j * torch.arange(12)).to(dtype) if dtype.is_complex else 3 * normal(5, 12, dtype=dtype).sign()


def unequal(dtype):
    return normal(5, 12, dtype=dtype)


def dense(*shape):
    return lambda dtype: pursuit.Dense(normal(0, *shape, dtype=dtype))


def condition(op) -> float:
    """The largest ratio of two singular values that are not zero."""
    values = torch.linalg.svdvals(op.to_dense()).reshape(-1, min(op.shape))
    kept = values > 1e-6 * values[:, :1] if op.dtype.to_real() == torch.float32 else values > 1e-12 * values[:, :1]
    return float((values[:, :1] / torch.where(kept, values, math.inf)).nan_to_num().amax())


BOTH, WAVES = (torch.float32, REAL, COMPLEX), (torch.complex64, COMPLEX)
OPERATORS = {
    "dense": (dense(5, 8), BOTH, pursuit.Dense),
    "dense batch": (dense(2, 5, 8), BOTH, pursuit.Dense),
    "dense scaled": (scaled(dense(5, 12), unequal), BOTH, pursuit.Dense),
    "fourier": (fourier([0, 3, 4, 7], 12), WAVES, pursuit.SubsampledFourier),
    "fourier in units": (fourier([0, 3, 4, 7], 12, scale=-2.5), WAVES, pursuit.SubsampledFourier),
    "fourier repeated": (fourier([0, 3, 3, 7, 0, 15], 12), WAVES, pursuit.Compose),
    "fourier padded": (fourier([0, 3, 17, 21, 30, 31], 8, period=32), WAVES, pursuit.ColumnScaled),
    "fourier neighbours": (fourier(range(9), 12, period=64), [COMPLEX], pursuit.ColumnScaled),
    "fourier tall": (fourier(range(0, 32, 2), 12, period=32), WAVES, pursuit.ColumnScaled),
    "fourier period n": (fourier([0, 3, 7], 12, period=12), WAVES, pursuit.SubsampledFourier),
    "convolution": (convolution(5), BOTH, pursuit.Convolution),
    "convolution even": (convolution(4, n=11), BOTH, pursuit.Convolution),
    "convolution batch": (convolution(2, 3, n=8), BOTH, pursuit.Convolution),
    "convolution blind": (blind(12), BOTH, pursuit.Convolution),
    "convolution full": (convolution(4, boundary="full"), BOTH, pursuit.ColumnScaled),
    "convolution valid": (convolution(2, 4, boundary="valid"), BOTH, pursuit.ColumnScaled),
    "filtered": (filtered([0, 3, 4, 7], 5), WAVES, pursuit.Compose),
    "filtered repeated": (filtered([0, 3, 3, 7, 12], 5), WAVES, pursuit.Compose),
    "filtered batch": (filtered([0, 3, 3, 7], 2, 5, scale=-0.5), WAVES, pursuit.Compose),
    "filtered padded": (filtered([0, 3, 3, 7], 5, period=20), WAVES, pursuit.ColumnScaled),
    "filtered blind": (
        lambda dtype: pursuit.Compose(fourier([0, 1, 4, 1, 6], 12)(dtype), blind(12)(dtype)),
        WAVES,
        pursuit.Compose,
    ),
    "filtered by real": (real_filter, WAVES, pursuit.Compose),
    "rows scaled": (rows_scaled, WAVES, pursuit.Compose),
    "complexified": (lambda dtype: convolution(5)(dtype.to_real()).complexified(), WAVES, object),
    "fourier scaled": (scaled(fourier([0, 3, 4, 7, 7], 12), equal), WAVES, pursuit.ColumnScaled),
    "fourier scaled by reals": (
        scaled(fourier([0, 3, 4], 12), lambda dtype: equal(dtype.to_real())),
        WAVES,
        pursuit.ColumnScaled,
    ),
    "fourier scaled unequally": (scaled(fourier([0, 3, 4, 7, 8], 12), unequal), WAVES, pursuit.ColumnScaled),
    "convolution scaled": (scaled(convolution(5), equal), BOTH, pursuit.ColumnScaled),
    "convolution scaled batch": (
        scaled(convolution(5), lambda dtype: torch.stack([equal(dtype), 2 * equal(dtype)])),
        BOTH,
        pursuit.ColumnScaled,
    ),
    "convolution scaled unequally": (scaled(convolution(5), unequal), BOTH, pursuit.ColumnScaled),
    "filtered scaled": (scaled(filtered([0, 3, 4, 7], 5), equal), WAVES, pursuit.ColumnScaled),
    "callables": (
        lambda dtype: pursuit.as_operator(
            (lambda x: x @ normal(0, 5, 8, dtype=dtype).mT, lambda y: y @ normal(0, 5, 8, dtype=dtype).conj(), (5, 8)),
            dtype=dtype,
        ),
        BOTH,
        pursuit.ColumnScaled,
    ),
}
ROWS = [(name, dtype) for name, (_, dtypes, _) in OPERATORS.items() for dtype in dtypes]


@pytest.mark.parametrize(("name", "dtype"), ROWS, ids=[f"{name}-{dtype}" for name, dtype in ROWS])
def test_operators_have_the_weights_of_their_matrix(name, dtype, monkeypatch):
    make, _, kind = OPERATORS[name]
    op = make(dtype)
    wanted = pursuit.analytic_weights(op.to_dense())
    for probes in (2**22, 20):  # all columns at once, and some at a time
        monkeypatch.setattr("pursuit.weights.PROBES", probes)
        W = pursuit.analytic_weights(op)
        assert isinstance(W, kind)
        assert (W.shape, W.dtype, W.batch_shape) == (op.shape, dtype, op.batch_shape)
        error = 100 * torch.finfo(dtype).eps * condition(op) * wanted.abs().max()
        assert (W.to_dense() - wanted).abs().max() <= error
        y = normal(6, 3, *op.batch_shape, op.shape[0], dtype=dtype)
        back = (wanted.mH @ y.unsqueeze(-1)).squeeze(-1)
        assert (W.adjoint(y) - back).abs().max() <= op.shape[0] ** 0.5 * 3 * error
        assert pursuit.adjoint_gap(W) < 100 * torch.finfo(dtype).eps * condition(op)
        mu, of_matrix = (pursuit.generalized_coherence(*pair) for pair in ((W, op), (wanted, op.to_dense())))
        assert torch.allclose(mu, of_matrix, atol=float(error))
        assert mu.shape == op.batch_shape


def test_no_matrix_is_formed_for_long_signals():
    n = 2**18
    rows = torch.arange(0, n, 2)
    blur = pursuit.Convolution(torch.tensor([0.25, 1.0, 0.25], dtype=REAL), n)
    for op in (
        pursuit.SubsampledFourier(rows, n),
        blur,
        pursuit.Compose(pursuit.SubsampledFourier(rows, n), blur.complexified()),
        pursuit.ColumnScaled(blur, torch.full((n,), 2.0, dtype=REAL)),
    ):
        W = pursuit.analytic_weights(op)
        index = torch.tensor([0, 17, n - 1])
        assert torch.allclose(diagonal(W.columns(index), op.columns(index)), torch.ones(3, dtype=op.dtype))


def test_sparse_matrices_have_weights():
    A = scipy.sparse.random(20, 30, density=0.5, random_state=0, format="csr")
    W = pursuit.analytic_weights(A)
    assert torch.allclose(W.to_dense(), torch.from_numpy(pursuit.analytic_weights(A.toarray())))
    assert check_weights(W, A) is W


# Coherence


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize(("m", "n"), [(4, 9), (10, 40), (30, 33)])
def test_no_weights_beat_the_welch_bound_by_the_geometric_mean_of_their_norms(m, n, dtype):
    """For unit columns the bound holds for A itself; for any weights, the energy off the diagonal is at least this."""
    A = unit(normal(m, 50, m, n, dtype=dtype))
    bound = pursuit.welch_bound(m, n)
    assert (theory.coherence(A) >= bound).all()
    # tr(W^H A) = n and rank m give ||W^H A||_F^2 >= |n|^2 / m, hence the bound on the mean square, for weights too.
    assert (pursuit.generalized_coherence(pursuit.analytic_weights(A), A) >= bound * (1 - 1e-12)).all()


def test_welch_bound_is_attained_and_known():
    simplex = torch.tensor([[1.0, -0.5, -0.5], [0.0, 0.75**0.5, -(0.75**0.5)]], dtype=REAL)
    assert theory.coherence(simplex).item() == pytest.approx(pursuit.welch_bound(2, 3))
    assert torch.allclose(pursuit.analytic_weights(simplex), simplex)
    assert [round(pursuit.welch_bound(250, n), 4) for n in (500, 1000, 2000)] == [0.0448, 0.0548, 0.0592]
    assert pursuit.welch_bound(5, 5) == pursuit.welch_bound(6, 5) == pursuit.welch_bound(1, 1) == 0
    assert pursuit.welch_bound(1, 7) == 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_coherence_of_weights_is_that_of_the_products(dtype, monkeypatch):
    A = normal(0, 3, 6, 15, dtype=dtype)
    W = pursuit.analytic_weights(A)
    products = (W.mH @ A).abs()
    expected = products.masked_fill(torch.eye(15, dtype=torch.bool), 0).amax((-2, -1))
    for probes in (2**22, 40):
        monkeypatch.setattr("pursuit.weights.PROBES", probes)
        assert torch.allclose(pursuit.generalized_coherence(W, A), expected)
    assert torch.allclose(pursuit.generalized_coherence(unit(A), unit(A)), theory.coherence(A))


def test_one_of_the_two_may_have_a_batch():
    A, others = unit(normal(0, 6, 9)), normal(1, 2, 3, 6, 9)
    several = others + A * (1 - diagonal(A, others)).unsqueeze(-2)  # all of them are weights for A
    mu = pursuit.generalized_coherence(several, A)
    assert torch.allclose(mu[1, 2], pursuit.generalized_coherence(several[1, 2], A))
    assert torch.allclose(pursuit.generalized_coherence(A, several), mu)  # of the adjoint products
    kernels = normal(2, 2, 3)
    blurs = pursuit.Convolution(kernels, 6)
    W = torch.eye(6, dtype=REAL) / kernels[0, 1]
    assert pursuit.generalized_coherence(W, blurs.items(torch.tensor([True, False]))).shape == (1,)


def test_one_column_has_nothing_to_be_coherent_with():
    A = normal(0, 5, 1)
    assert pursuit.generalized_coherence(pursuit.analytic_weights(A), A) == 0


def test_checked_weights_are_an_operator_of_the_dtype_of_A():
    A = unit(normal(0, 6, 9))
    assert isinstance(check_weights(A.numpy(), A), pursuit.Dense)
    assert check_weights(A, A.to(COMPLEX)).dtype == COMPLEX
    W = pursuit.analytic_weights(A)
    assert torch.equal(check_weights((lambda x: x @ W.mT, lambda y: y @ W, (6, 9)), A).to_dense(), W)
    y = normal(1, 6)
    assert torch.allclose(check_weights(W, A).adjoint(y), W.T @ y)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("spread", [1.0, 100.0, 3000.0])
def test_own_weights_pass_the_check(dtype, spread):
    A = torch.linspace(1 / spread, 1, 12).to(dtype).unsqueeze(-1) * normal(0, 12, 30, dtype=dtype)
    for op in (pursuit.Dense(A), pursuit.Compose(pursuit.Dense(torch.eye(12, dtype=dtype)), pursuit.Dense(A))):
        assert check_weights(pursuit.analytic_weights(op), op).shape == (12, 30)


def test_sparse_signals_stand_out_in_the_back_projection():
    """What the weights are for: `W^H A x` is `x` up to `mu ||x||_1`."""
    A = unit(normal(0, 60, 80))
    W = pursuit.analytic_weights(A)
    x = sparse(1, 80, 2, batch=(500,))
    mu = pursuit.generalized_coherence(W, A)
    assert ((x @ A.mT @ W - x).abs().amax(-1) <= mu * x.abs().sum(-1)).all()


# What cannot be answered

EYE = torch.eye(3)
ZERO_COLUMN = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
HOLE = torch.tensor([[1.0, math.nan], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: pursuit.analytic_weights(ZERO_COLUMN), ValueError, "A has 1 columns that are zero"),
        (lambda: pursuit.analytic_weights(ZERO_COLUMN), ValueError, "the first at 1"),
        (lambda: pursuit.analytic_weights(0 * EYE), ValueError, "A has 3 columns that are zero"),
        (lambda: pursuit.analytic_weights(HOLE), ValueError, "A has 1 entries that are NaN"),
        (lambda: pursuit.analytic_weights(torch.ones(0, 3)), ValueError, "A has shape (0, 3)"),
        (lambda: pursuit.analytic_weights([["1", "2"]]), TypeError, "A has dtype str"),
        (lambda: pursuit.analytic_weights(torch.ones(3)), ValueError, "A has shape (3,)"),
        (lambda: pursuit.analytic_weights("A"), TypeError, "A is a str"),
        (lambda: pursuit.analytic_weights(pursuit.Convolution(torch.zeros(3), 5)), ValueError, "columns that are zero"),
        (lambda: pursuit.analytic_weights(pursuit.Convolution(HOLE[0], 5)), ValueError, "NaN"),
        (lambda: pursuit.analytic_weights(pursuit.SubsampledFourier([1], 5, scale=0)), ValueError, "zero"),
        (
            lambda: pursuit.analytic_weights(pursuit.ColumnScaled(pursuit.Convolution(torch.ones(1), 3), 0 * EYE[0])),
            ValueError,
            "A has 3 columns that are zero",
        ),
        (
            lambda: pursuit.analytic_weights(
                pursuit.Compose(pursuit.Dense(EYE), pursuit.Dense(HOLE.new_full((3, 2), math.inf)))
            ),
            ValueError,
            "NaN or infinite",
        ),
        (lambda: projected_gradient_weights(ZERO_COLUMN), ValueError, "columns that are zero"),
        (lambda: projected_gradient_weights(HOLE), ValueError, "NaN"),
        (lambda: projected_gradient_weights(unit(normal(0, 5, 9)), eta=5.0), ValueError, "needed is eta < 2 / ||A||^2"),
        (lambda: projected_gradient_weights(EYE, steps=0), ValueError, "steps is 0"),
        (lambda: projected_gradient_weights(EYE, eta=-1.0), ValueError, "eta is -1.0"),
        (lambda: pursuit.generalized_coherence(2 * EYE, EYE), ValueError, "w_i^H a_i is 2 for column i=0"),
        (lambda: pursuit.generalized_coherence(2 * EYE, EYE), ValueError, "Use pursuit.analytic_weights(A)"),
        (lambda: pursuit.generalized_coherence(torch.ones(2, 3), torch.ones(3, 2)), ValueError, "W.T may be"),
        (lambda: pursuit.generalized_coherence(torch.ones(4, 3), torch.ones(3, 2)), ValueError, "W has shape (4, 3)"),
        (lambda: pursuit.generalized_coherence(EYE.double(), EYE), TypeError, "use one precision"),
        (lambda: pursuit.generalized_coherence(EYE + 0j, EYE), TypeError, "needed are real weights for a real A"),
        (lambda: pursuit.generalized_coherence(EYE / 0, EYE), ValueError, "W has 9 entries"),
        (lambda: pursuit.generalized_coherence(EYE, EYE / 0), ValueError, "A has 9 entries"),
        (lambda: pursuit.generalized_coherence("W", EYE), TypeError, "the weights W cannot be read"),
        (lambda: pursuit.generalized_coherence(torch.ones(3), EYE), ValueError, "the weights W cannot be read"),
        (
            lambda: pursuit.generalized_coherence(EYE.expand(2, 3, 3), EYE.expand(4, 3, 3)),
            ValueError,
            "W has batch (2,) and A (4,)",
        ),
        (lambda: pursuit.generalized_coherence(EYE, EYE.to("meta")), TypeError, "A is a meta tensor"),
        (lambda: pursuit.generalized_coherence(EYE, EYE, tol=-1), ValueError, "tol is -1"),
        (lambda: pursuit.welch_bound(0, 5), ValueError, "m is 0"),
        (lambda: pursuit.welch_bound(2, 5.5), TypeError, "n is 5.5"),
    ],
)
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)


def test_the_worst_diagonal_is_reported():
    A = unit(normal(0, 3, 4, 6))
    W = A.clone()
    W[1, :, 4] *= 1.5
    with pytest.raises(ValueError, match=r"w_i\^H a_i is 1.5 for column i=4"):
        check_weights(W, A)
    assert check_weights(W, A, tol=0.6).batch_shape == (3,)
