"""Every operator and every adapter against the dense matrix that it must equal."""

import math
import re
import sys
import warnings
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pylops
import pytest
import pywt
import scipy.fft
import scipy.sparse
import scipy.sparse.linalg
import torch

import pursuit
from helpers import NEEDS
from pursuit.operators import spectral_norm_squared

pytestmark = pytest.mark.usefixtures("rough_lasso")
REAL = (torch.float32, torch.float64)
COMPLEX = (torch.complex64, torch.complex128)
ALL = REAL + COMPLEX
DOUBLE = (torch.float64, torch.complex128)
TWO = (torch.float32, torch.complex128)  # for what differs from another row only in its shapes
M, N = 6, 9


def randn(dtype, *shape, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def rounding(dtype):
    """Relative error that a few dozen operations may leave."""
    return 100 * torch.finfo(dtype).eps


def close(found, wanted):
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    scale = wanted.abs().max().item() if wanted.numel() else 0.0
    torch.testing.assert_close(found, wanted, rtol=0, atol=rounding(wanted.dtype) * max(scale, 1e-3))


# The twins: what each operator must equal, written with NumPy and without the operator's own formulas.


def fourier_rows(rows, n, dtype, scale):
    return torch.from_numpy(scale * np.fft.fft(np.eye(n))[np.asarray(rows) % n]).to(dtype)


def convolve(x, kernel, boundary):
    """One signal with one kernel; "same" and "circular" are centred at sample length // 2."""
    n, length = len(x), len(kernel)
    if boundary == "circular":
        return sum(kernel[i] * np.roll(x, i - length // 2) for i in range(length))
    if boundary == "same":
        return np.convolve(x, kernel, "full")[length // 2 :][:n]
    return np.convolve(x, kernel, boundary)


def convolution_matrix(kernel, n, boundary):
    batch, flat = kernel.shape[:-1], kernel.reshape(-1, kernel.shape[-1]).numpy()
    matrices = [np.stack([convolve(unit, k, boundary) for unit in np.eye(n)], axis=-1) for k in flat]
    return torch.from_numpy(np.stack(matrices)).to(kernel.dtype).unflatten(0, batch or (1,)).reshape(*batch, -1, n)


def dense(*batch):
    def make(dtype):
        A = randn(dtype, *batch, M, N)
        return pursuit.Dense(A), A

    return make


def dense_with_conjugate(dtype):
    A = randn(dtype, M, N)
    return pursuit.Dense(A, conjugate=A.conj().resolve_conj()), A


def fourier(rows, n, scale=None):
    def make(dtype):
        op = pursuit.SubsampledFourier(rows, n, scale=scale, dtype=dtype)
        return op, fourier_rows(rows, n, dtype, 1 / math.sqrt(len(rows)) if scale is None else scale)

    return make


def padded_fourier(rows, n, period, scale=None):
    def make(dtype):
        op = pursuit.SubsampledFourier(rows, n, period=period, scale=scale, dtype=dtype)
        return op, fourier_rows(rows, period, dtype, 1 / math.sqrt(len(rows)) if scale is None else scale)[:, :n]

    return make


def diagonal(*batch):
    def make(dtype):
        values = randn(dtype, *batch, N)
        return pursuit.Diagonal(values), torch.diag_embed(values)

    return make


def rows_scaled(dtype):
    values, A = randn(dtype, 2, M), randn(dtype, M, N, seed=1)
    return pursuit.Compose(pursuit.Diagonal(values), pursuit.Dense(A)), values.unsqueeze(-1) * A


def convolution(boundary, length, *batch, n=N):
    def make(dtype):
        kernel = randn(dtype, *batch, length)
        return pursuit.Convolution(kernel, n, boundary), convolution_matrix(kernel, n, boundary)

    return make


def compose(left, right):
    def make(dtype):
        A, B = randn(dtype, *left, 5, 7), randn(dtype, *right, 7, N, seed=1)
        return pursuit.Compose(pursuit.Dense(A), pursuit.Dense(B)), A @ B

    return make


def compose_three(dtype):
    kernel, A, scale = randn(dtype, 2, 4), randn(dtype, 5, N, seed=1), randn(dtype, N, seed=2)
    blur = pursuit.Convolution(kernel, N, "same")
    op = pursuit.Compose(pursuit.Dense(A), blur, pursuit.ColumnScaled(pursuit.Dense(torch.eye(N, dtype=dtype)), scale))
    return op, A @ convolution_matrix(kernel, N, "same") @ torch.diag(scale)


def scaled(matrix_batch, scale_batch):
    def make(dtype):
        A, scale = randn(dtype, *matrix_batch, M, N), randn(dtype, *scale_batch, N, seed=1)
        return pursuit.ColumnScaled(pursuit.Dense(A), scale), A * scale.unsqueeze(-2)

    return make


def outside(wrap):
    """An adapter of something made from a NumPy matrix."""

    def make(dtype):
        A = randn(dtype, M, N)
        return pursuit.as_operator(wrap(A.numpy())), A

    return make


def pylops_fourier(dtype):
    op = pylops.signalprocessing.FFT(N, dtype=torch.zeros(0, dtype=dtype).numpy().dtype, engine="scipy")
    return pursuit.as_operator(op), fourier_rows(range(N), N, dtype, 1 / math.sqrt(N))


def pylops_restriction(dtype):
    rows = [7, 0, 4]
    op = pylops.Restriction(N, rows, dtype=torch.zeros(0, dtype=dtype).numpy().dtype)
    return pursuit.as_operator(op), torch.eye(N, dtype=dtype)[rows]


class Physics:
    """What DeepInverse's linear physics look like: images (B, C, H, W) in, any shape (B, ...) out."""

    img_size = (1, 3, 3)

    def __init__(self, matrix):
        self.matrix = matrix

    def A(self, x):
        assert x.shape[1:] == self.img_size
        return (x.flatten(1) @ self.matrix.mT).unflatten(1, (2, -1))

    def A_adjoint(self, y):
        assert y.shape[1] == 2
        return (y.flatten(1) @ self.matrix.conj()).unflatten(1, self.img_size)


def physics(dtype):
    A = randn(dtype, M, N)
    return pursuit.as_operator(Physics(A), dtype=dtype), A


def sized_physics(dtype):
    A = randn(dtype, M, N)
    unsized = SimpleNamespace(A=Physics(A).A, A_adjoint=Physics(A).A_adjoint)
    return pursuit.from_deepinv(unsized, (1, 3, 3), dtype=dtype), A


def triple(dtype):
    A = randn(dtype, M, N)
    return pursuit.as_operator((lambda x: x @ A.mT, lambda y: y @ A.conj(), (M, N)), dtype=dtype), A


def transformed(transform, shape, dtype):
    """The matrix of a transform of arrays, from its images of unit vectors."""
    n = math.prod(shape)
    images = [transform(unit.reshape(shape)).ravel() for unit in np.eye(n)]
    return torch.from_numpy(np.stack(images, axis=-1)).to(dtype)


def fourier_in_dimensions(shape, rows, flat_rows, period=None, scale=None):
    def make(dtype):
        op = pursuit.SubsampledFourier(rows, shape=shape, period=period, scale=scale, dtype=dtype)
        matrix = transformed(lambda x: np.fft.fftn(x, s=period or shape, axes=range(len(shape))), shape, dtype)
        return op, (1 / math.sqrt(op.shape[0]) if scale is None else scale) * matrix[flat_rows]

    return make


def restriction(rows, shape, flat_rows):
    def make(dtype):
        return pursuit.Restriction(rows, shape, dtype=dtype), torch.eye(math.prod(shape), dtype=dtype)[flat_rows]

    return make


def cosines(*shape):
    def make(dtype):
        return pursuit.DCT(shape, dtype=dtype), transformed(lambda x: scipy.fft.dctn(x, norm="ortho"), shape, dtype)

    return make


def ignore_warnings(function):
    def quiet(*arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*arguments)

    return quiet


def wavelets(name, level, *shape):
    @ignore_warnings  # that the filter is longer than the signal, where it wraps around
    def coefficients(x):
        return pywt.coeffs_to_array(pywt.wavedecn(x, name, "periodization", level))[0]

    def make(dtype):
        return pursuit.Wavelet(shape, name, level, dtype=dtype), transformed(coefficients, shape, dtype)

    return make


def stacked(kind, *batches):
    """Of matrices with these batches, whose sizes differ where they may."""

    def make(dtype):
        sizes = {"VStack": lambda i: (2 + i, N), "HStack": lambda i: (M, 3 + i), "BlockDiag": lambda i: (2 + i, 3 + i)}
        parts = [randn(dtype, *batch, *sizes[kind](i), seed=i) for i, batch in enumerate(batches)]
        batch = torch.broadcast_shapes(*batches)
        full = [part.expand(*batch, *part.shape[-2:]) for part in parts]
        matrix = {
            "VStack": lambda: torch.cat(full, dim=-2),
            "HStack": lambda: torch.cat(full, dim=-1),
            "BlockDiag": lambda: block_diagonal(full),
        }[kind]()
        return getattr(pursuit, kind)(*map(pursuit.Dense, parts)), matrix

    return make


def block_diagonal(parts):
    rows = []
    for i, part in enumerate(parts):
        zeros = [part.new_zeros(*part.shape[:-1], other.shape[-1]) for other in parts]
        rows.append(torch.cat([*zeros[:i], part, *zeros[i + 1 :]], dim=-1))
    return torch.cat(rows, dim=-2)


def sense(matrix_batch, maps_batch, *shape):
    def make(dtype):
        n = math.prod(shape)
        A, maps = randn(dtype, *matrix_batch, 4, n), randn(dtype, *maps_batch, 3, *shape, seed=1)
        flat = maps.reshape(*maps_batch, 3, 1, n)
        return pursuit.Sense(pursuit.Dense(A), maps), (A.unsqueeze(-3) * flat).flatten(-3, -2)

    return make


def image_from_coils(dtype):
    """The SENSE problem of magnetic resonance imaging for an image that is sparse in wavelets."""
    seen = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    maps = randn(dtype, 3, 4, 4)
    transform, sampled = wavelets("haar", 2, 4, 4)(dtype), pursuit.SubsampledFourier(seen, shape=(4, 4), dtype=dtype)
    op = pursuit.Compose(pursuit.Sense(sampled, maps), transform[0].H)
    rows = transformed(lambda x: np.fft.fftn(x)[seen.numpy()], (4, 4), dtype) / math.sqrt(seen.sum())
    return op, torch.cat([rows * coil.flatten() for coil in maps]) @ transform[1].mH


def of_unitary(*parts):
    """The product of operators, most of which change no length."""

    def make(dtype):
        made = [part(dtype) for part in parts]
        matrix = made[0][1]
        for _, A in made[1:]:
            matrix = matrix @ A
        return pursuit.Compose(*(op for op, _ in made)), matrix

    return make


def matrix_of(m, n):
    def make(dtype):
        A = randn(dtype, m, n)
        return pursuit.Dense(A), A

    return make


def complexified(make):
    def made(dtype):
        op, A = make(torch.float64 if dtype == torch.complex128 else torch.float32)
        return op.complexified(), A.to(dtype)

    return made


def adjoint(make):
    def made(dtype):
        op, A = make(dtype)
        return op.H, A.mH

    return made


TABLE = {
    "dense": (dense(), ALL),
    "dense-conjugate": (dense_with_conjugate, TWO),
    "dense-batch": (dense(2), ALL),
    "dense-batch23": (dense(2, 3), TWO),
    "dense-shared": (dense(2, 1), ALL),
    "dense-one": (dense(1), TWO),
    "fourier": (fourier([0, 3, 8, 4], N), COMPLEX),
    "fourier-repeated": (fourier([5, -1, 5, 14, 0], 7, scale=-0.3), COMPLEX),
    "fourier-padded": (padded_fourier([0, 3, 17, 4, 3], 7, 16), COMPLEX),
    "fourier-period-n": (padded_fourier([0, 3, 8, 4], N, N, scale=2.0), COMPLEX),
    "fourier-mask": (
        fourier_in_dimensions((3, 4), np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]], bool), [0, 3, 9, 10]),
        COMPLEX,
    ),
    "fourier-flat-mask": (fourier_in_dimensions((9,), np.arange(9) % 2 == 0, [0, 2, 4, 6, 8]), (torch.complex64,)),
    "fourier-pairs": (fourier_in_dimensions((3, 4), [[0, 1], [-1, 5], [2, 1]], [1, 9, 9], scale=0.7), COMPLEX),
    "fourier-flat": (fourier_in_dimensions((3, 4), [7, -1, 13], [7, 11, 1]), (torch.complex64,)),
    "fourier-all": (fourier_in_dimensions((2, 3, 2), None, range(12)), COMPLEX),
    "fourier-2d-padded": (fourier_in_dimensions((2, 4), [0, 5, 17], [0, 5, 17], period=(4, 5)), COMPLEX),
    "restriction": (restriction([7, 0, -1, 7], (9,), [7, 0, 8, 7]), ALL),
    "restriction-mask": (restriction(np.eye(3) == 1, (3, 3), [0, 4, 8]), TWO),
    "restriction-pairs": (restriction([[2, 1], [0, -1]], (3, 3), [7, 2]), TWO),
    "cosines": (cosines(9), ALL),
    "cosines-one": (cosines(1, 8), TWO),
    "cosines-3d": (cosines(2, 3, 4), TWO),
    "wavelets": (wavelets("db2", 2, 12), ALL),
    "wavelets-2d": (wavelets("db3", 1, 4, 6), TWO),
    "wavelets-3d": (wavelets("haar", 1, 2, 4, 2), TWO),
    "vertical": (stacked("VStack", (), (), ()), ALL),
    "vertical-batch": (stacked("VStack", (2, 1), (3,)), TWO),
    "horizontal": (stacked("HStack", (), (), ()), ALL),
    "horizontal-batch": (stacked("HStack", (2, 1), (3,)), TWO),
    "blocks": (stacked("BlockDiag", (), (), ()), ALL),
    "blocks-batch": (stacked("BlockDiag", (2, 1), (3,)), TWO),
    "sense": (sense((), (), 9), ALL),
    "sense-2d": (sense((), (), 3, 4), TWO),
    "sense-batch": (sense((), (2,), 3, 4), TWO),
    "sense-crossed": (sense((2, 1), (3,), 9), TWO),
    "image-from-coils": (image_from_coils, COMPLEX),
    "adjoint-cosines": (adjoint(cosines(9)), TWO),
    "adjoint-wavelets": (adjoint(wavelets("db2", 2, 12)), TWO),
    "adjoint-fourier": (adjoint(fourier_in_dimensions((3, 4), range(2, 9), range(2, 9))), COMPLEX),
    "adjoint-vertical": (adjoint(stacked("VStack", (2, 1), (3,))), TWO),
    "unitary-left": (of_unitary(adjoint(cosines(9)), matrix_of(9, 7)), TWO),
    "unitary-right": (of_unitary(matrix_of(5, 12), adjoint(wavelets("db2", 1, 12))), TWO),
    "unitary-both": (of_unitary(cosines(3, 3), diagonal(), adjoint(cosines(9))), TWO),
    "unitary-only": (of_unitary(cosines(3, 3), adjoint(cosines(9))), TWO),
    "weighted": (of_unitary(matrix_of(M, N), diagonal()), TWO),
    "diagonal": (diagonal(), TWO),
    "diagonal-batch": (diagonal(2), TWO),
    "diagonal-shared": (diagonal(2, 1), TWO),
    "rows-scaled": (rows_scaled, TWO),
    **{
        f"{boundary}-{length}": (convolution(boundary, length), ALL if length == 4 else TWO)
        for boundary in ("circular", "full", "same", "valid")
        for length in (1, 4, N)
    },
    **{
        f"{boundary}-batch": (convolution(boundary, 4, 2, n=8), TWO)
        for boundary in ("circular", "full", "same", "valid")
    },
    "valid-shared": (convolution("valid", 6, 2, 1), TWO),
    "compose": (compose((), ()), ALL),
    "compose-left": (compose((2,), ()), TWO),
    "compose-right": (compose((), (2,)), TWO),
    "compose-crossed": (compose((2, 1), (3,)), TWO),
    "compose-three": (compose_three, TWO),
    "scaled": (scaled((), ()), TWO),
    "scaled-batch": (scaled((2,), (2,)), TWO),
    "scaled-shared": (scaled((), (2,)), TWO),
    "scaled-crossed": (scaled((2, 1), (3,)), ALL),
    "numpy": (outside(np.asarray), ALL),
    "csr": (outside(scipy.sparse.csr_matrix), ALL),
    "csc": (outside(scipy.sparse.csc_matrix), TWO),
    "csr-array": (outside(scipy.sparse.csr_array), TWO),
    "coo-array": (outside(scipy.sparse.coo_array), TWO),
    "linear-operator": (outside(scipy.sparse.linalg.aslinearoperator), ALL),
    "pylops-matrix": (outside(lambda A: pylops.MatrixMult(A, dtype=A.dtype)), ALL),
    "pylops-fourier": (pylops_fourier, COMPLEX),
    "pylops-restriction": (pylops_restriction, TWO),
    "physics": (physics, ALL),
    "physics-sized": (sized_physics, TWO),
    "triple": (triple, ALL),
    "adjoint-dense": (adjoint(dense()), TWO),
    "adjoint-batch": (adjoint(dense(2, 3)), ALL),
    "adjoint-convolution": (adjoint(convolution("same", 4, 2)), TWO),
    "adjoint-triple": (adjoint(triple), TWO),
    "complexified-dense": (complexified(dense(2)), COMPLEX),
    "complexified-convolution": (complexified(convolution("same", 4, 2)), COMPLEX),
    "complexified-scaled": (complexified(scaled((2, 1), (3,))), COMPLEX),
    "complexified-sparse": (complexified(outside(scipy.sparse.csr_array)), COMPLEX),
    "complexified-pylops": (complexified(outside(lambda A: pylops.MatrixMult(A, dtype=A.dtype))), COMPLEX),
    "complexified-triple": (complexified(triple), COMPLEX),
}


def cases(*wanted):
    """The rows of the table at these dtypes, each handed to the test as `pair`: operator and twin."""
    rows = [(name, dtype) for name, (_, dtypes) in TABLE.items() for dtype in dtypes if dtype in wanted]
    ids = [f"{name}-{str(dtype).removeprefix('torch.')}" for name, dtype in rows]
    return pytest.mark.parametrize("pair", rows, ids=ids, indirect=True)


@pytest.fixture
def pair(request):
    name, dtype = request.param
    return TABLE[name][0](dtype)


def signal_batch(op):
    """A batch that the operator serves: several signals wherever it has one matrix for all."""
    return tuple(b if b > 1 else 3 for b in op.batch_shape) or (2, 3)


def signals(op, *, seed=5):
    return randn(op.dtype, *signal_batch(op), op.shape[1], seed=seed)


def measurements(op, *, seed=6):
    return randn(op.dtype, *signal_batch(op), op.shape[0], seed=seed)


def apply(A, x):
    return (A @ x.unsqueeze(-1)).squeeze(-1)


@cases(*ALL)
def test_attributes(pair):
    op, A = pair
    assert op.shape == A.shape[-2:]
    assert op.dtype == A.dtype
    assert op.batch_shape == A.shape[:-2]
    assert op.device == A.device


@cases(*ALL)
def test_forward(pair):
    op, A = pair
    for x in (signals(op), randn(op.dtype, op.shape[1])):
        close(op.forward(x), apply(A, x))
        assert torch.equal(op @ x, op.forward(x))


@cases(*ALL)
def test_adjoint(pair):
    op, A = pair
    for y in (measurements(op), randn(op.dtype, op.shape[0])):
        close(op.adjoint(y), apply(A.mH, y))
        assert torch.equal(op.H @ y, op.adjoint(y))
    assert op.H.shape == op.shape[::-1]


def test_a_product_takes_what_numpy_reads_and_gives_numpy():
    A = randn(torch.complex128, M, N)
    op, x = pursuit.Dense(A), randn(torch.complex128, 2, N)
    product = op @ x.numpy()
    assert isinstance(product, np.ndarray)
    np.testing.assert_allclose(product, x.numpy() @ A.numpy().T)
    assert (pursuit.Dense(torch.eye(3, dtype=torch.float64)) @ [1.0, 2.0, 3.0]).tolist() == [1, 2, 3]


@pytest.mark.parametrize("x", [torch.zeros(N, 2), torch.zeros(()), np.zeros((N, 2))])
def test_a_product_says_that_signals_are_rows(x):
    with pytest.raises(ValueError, match=rf"A \({M}, {N}\); needed is x of shape \(\*batch, {N}\): signals are rows"):
        pursuit.Dense(torch.eye(N)[:M]) @ x


def test_the_adjoint_of_the_adjoint_is_the_operator_itself():
    op = pursuit.Dense(randn(torch.float64, M, N))
    assert op.H.H is op


@cases(*ALL)
def test_residual_and_gradient_step(pair):
    """Whatever way is quickest for the shapes at hand, one signal, a list of them or a grid."""
    op, A = pair
    some = signals(op)
    for x in [some] if op.batch_shape else [some, some.flatten(0, -2), some.flatten(0, -2)[0]]:
        y, r = (randn(op.dtype, *x.shape[:-1], op.shape[0], seed=seed) for seed in (6, 7))
        close(op.residual(y, x), y - apply(A, x))
        each = torch.linspace(0.5, 1.5, x[..., 0].numel(), dtype=op.dtype.to_real()).reshape(*x.shape[:-1], 1)
        for eta in (0.3, torch.tensor(0.3, dtype=each.dtype), each):
            close(op.gradient_step(x, r, eta), x + eta * apply(A.mH, r))
        one = y.reshape(-1, op.shape[0])[0]  # measurements that all signals share
        close(op.residual(one, x), one - apply(A, x))


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_a_matrix_first_used_without_gradients_has_them_later(dtype):
    A = randn(dtype, M, N).requires_grad_()
    op, x, y = pursuit.Dense(A), randn(dtype, 3, N), randn(dtype, 3, M)
    with torch.no_grad():
        op.adjoint(y), op.residual(y, x), op.gradient_step(x, y, 0.5)
    for product in (op.forward(x), op.adjoint(y), op.residual(y, x), op.gradient_step(x, y, 0.5)):
        assert torch.autograd.grad(product.abs().sum(), A)[0].abs().sum() > 0
    with torch.no_grad():
        A.mul_(2)
    close(op.adjoint(y), apply(A.mH, y))


@cases(*COMPLEX)
def test_lazy_conjugates(pair):
    op, A = pair
    x, y = signals(op), measurements(op)
    close(op.forward(x.conj()), apply(A, x.conj().resolve_conj()))
    close(op.adjoint(y.conj()), apply(A.mH, y.conj().resolve_conj()))


@cases(*ALL)
def test_columns_shared_by_the_batch(pair):
    op, A = pair
    index = torch.tensor([3, 0, 3])
    close(op.columns(index), A[..., index])


@cases(*ALL)
def test_columns_of_each_item(pair):
    op, A = pair
    batch = signal_batch(op)
    index = torch.randint(op.shape[1], (*batch, 4), generator=torch.Generator().manual_seed(0))
    per_row = index.unsqueeze(-2).expand(*batch, op.shape[0], -1)
    close(op.columns(index), A.expand(*batch, *op.shape).gather(-1, per_row))


@cases(*DOUBLE)
def test_no_signals_and_no_columns(pair):
    op, _ = pair
    batch = signal_batch(op)
    assert op.columns(torch.zeros(*batch, 0, dtype=torch.long)).shape == (*batch, op.shape[0], 0)
    if not op.batch_shape:
        assert op.forward(signals(op)[:0]).shape == (0, *batch[1:], op.shape[0])
        assert op.adjoint(measurements(op)[:0]).shape == (0, *batch[1:], op.shape[1])


@cases(*ALL)
def test_column_norms(pair):
    op, A = pair
    close(op.column_norms(), torch.linalg.vector_norm(A, dim=-2))


@cases(*ALL)
def test_working_norms(pair):
    op, A = pair
    close(op.working_norms(), torch.linalg.vector_norm(A, dim=-2))


@cases(*ALL)
def test_norm2(pair):
    op, A = pair
    wanted = torch.linalg.matrix_norm(A, 2).square()
    close(op.norm2(), wanted)
    assert not op.norm2().requires_grad


@cases(*DOUBLE)
def test_what_is_said_to_be_unitary_is(pair):
    op, A = pair
    if op.unitary:
        close(A.mH @ A, torch.eye(op.shape[1], dtype=op.dtype))
        close(A @ A.mH, torch.eye(op.shape[0], dtype=op.dtype))


UNITARY = {
    "fourier": pursuit.SubsampledFourier(shape=(3, 4)),
    "cosines": pursuit.DCT((3, 4)),
    "wavelets": pursuit.Wavelet(16).H,
    "product": pursuit.Compose(pursuit.DCT(16), pursuit.Wavelet(16).H),
    "blocks": pursuit.BlockDiag(pursuit.DCT(5), pursuit.DCT(3)),
    "complexified": pursuit.DCT(4).complexified(),
}


@pytest.mark.parametrize("name", UNITARY)
def test_norms_of_what_is_unitary_take_no_product(name, monkeypatch):
    op = UNITARY[name]
    assert op.unitary
    for kind in (pursuit.DCT, pursuit.Wavelet, pursuit.SubsampledFourier):
        monkeypatch.setattr(kind, "forward", None)
        monkeypatch.setattr(kind, "adjoint", None)
    assert op.knows_norms
    assert (op.column_norms() == 1).all()
    assert op.norm2().item() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    "op",
    [
        pursuit.SubsampledFourier(shape=4, scale=1),
        pursuit.SubsampledFourier([0, 1, 2, 2], 4),
        pursuit.SubsampledFourier([0, 1], 4),
        pursuit.Restriction(range(4), 4),
        pursuit.Compose(pursuit.DCT(4), pursuit.Diagonal(torch.ones(4, dtype=torch.float64))),
    ],
)
def test_what_is_not_known_to_be_unitary_is_not_said_to_be(op):
    assert not op.unitary


@cases(*ALL)
def test_to_dense(pair):
    op, A = pair
    close(op.to_dense(), A)


@cases(*ALL)
@pytest.mark.parametrize("kept", [[1, 2], []], ids=["some", "none"])
def test_items(pair, kept):
    op, A = pair
    batch = signal_batch(op)
    keep = torch.isin(torch.arange(math.prod(batch)), torch.tensor(kept)).reshape(batch)
    x, y, matrices = signals(op)[keep], measurements(op)[keep], A.expand(*batch, *op.shape)[keep]
    part = op.items(keep)
    close(part.forward(x), apply(matrices, x))
    close(part.adjoint(y), apply(matrices.mH, y))
    close(part.columns(torch.full((len(x), 2), 4)), matrices[..., [4, 4]])


@cases(*ALL)
def test_with_inner_batch(pair):
    op, A = pair
    batch = signal_batch(op)
    x, y = randn(op.dtype, *batch, 4, op.shape[1]), randn(op.dtype, *batch, 4, op.shape[0])
    close(op.with_inner_batch().forward(x), x @ A.mT)
    close(op.with_inner_batch().adjoint(y), y @ A.conj())


@cases(*ALL)
def test_dot_test_passes(pair):
    op, _ = pair
    assert pursuit.adjoint_gap(op) < rounding(op.dtype)


@cases(*DOUBLE)
def test_gradient_of_forward_is_adjoint(pair):
    op, _ = pair
    x, y = signals(op).requires_grad_(), measurements(op)
    (grad,) = torch.autograd.grad(op.forward(x), x, y)
    close(grad, op.adjoint(y))


@cases(*DOUBLE)
def test_gradient_of_adjoint_is_forward(pair):
    op, _ = pair
    x, y = signals(op), measurements(op).requires_grad_()
    (grad,) = torch.autograd.grad(op.adjoint(y), y, x)
    close(grad, op.forward(x))


@cases(*DOUBLE)
def test_gradcheck_of_forward(pair):
    op, _ = pair
    x = randn(op.dtype, *(op.batch_shape or (2,)), op.shape[1]).requires_grad_()
    assert torch.autograd.gradcheck(op.forward, x, fast_mode=True)


def test_a_fourier_period_shorter_than_the_signal_is_refused():
    with pytest.raises(ValueError, match="period is 8 and the signal has n=9 samples; needed is period >= n"):
        pursuit.SubsampledFourier([0, 1], 9, period=8)


def test_sparse_channels_are_estimated_from_pilots():
    """Few taps of a channel far shorter than the symbol, from its response at some of the subcarriers."""
    op = pursuit.SubsampledFourier(range(0, 256, 9), 64, period=256)
    x = torch.zeros(2, 64, dtype=op.dtype)
    x[0, [3, 17]], x[1, [0, 60]] = randn(op.dtype, 2), randn(op.dtype, 2, seed=1)
    close(pursuit.omp(op, op.forward(x), k=2).x, x)


def test_an_image_is_recovered_from_its_coils():
    """SENSE: 20 % of the frequencies of a 32 x 32 image with few wavelets, seen by four coils."""
    rng = torch.Generator().manual_seed(0)
    seen = torch.rand(32, 32, generator=rng) < 0.2
    wavelets = pursuit.Wavelet((32, 32), "db2", dtype=torch.complex128)
    maps = torch.randn(4, 32, 32, dtype=torch.complex128, generator=rng)
    sampled = pursuit.Sense(pursuit.SubsampledFourier(seen, shape=(32, 32)), maps)
    A = pursuit.Compose(sampled, wavelets.H)
    c = torch.zeros(2, 1024, dtype=torch.complex128)
    c[0, [3, 70, 500]], c[1, [1, 44, 1000]] = randn(c.dtype, 3), randn(c.dtype, 3, seed=1)
    images = wavelets.H @ c
    close(wavelets.H @ pursuit.omp(A, sampled @ images, k=3).x, images)


def test_gradients_reach_coils_and_filters():
    maps, low = randn(torch.complex128, 3, 8), torch.full((2,), 0.5, dtype=torch.float64).sqrt()
    maps.requires_grad_(), low.requires_grad_()
    x, y = randn(torch.complex128, 2, 8), randn(torch.complex128, 2, 12, seed=1)

    def measured(maps, low):
        transform = pursuit.Wavelet(8, low, 2, dtype=torch.complex128)
        A = pursuit.Compose(pursuit.Sense(pursuit.SubsampledFourier([0, 2, 3, 5], 8), maps), transform.H)
        return A.forward(x), A.adjoint(y), A.column_norms()

    one = torch.tensor(1e-7, dtype=torch.float64)
    turned = torch.stack([low[0] * one.cos() - low[1] * one.sin(), low[1] * one.cos() + low[0] * one.sin()])
    assert torch.autograd.gradcheck(lambda maps: measured(maps, low.detach()), maps, fast_mode=True)
    slope = torch.autograd.grad(measured(maps, low)[0].abs().square().sum(), low)[0]
    change = measured(maps, turned)[0].abs().square().sum() - measured(maps, low)[0].abs().square().sum()
    assert (slope @ (turned - low) / one).item() == pytest.approx((change / one).item(), rel=1e-5)


EYE = pursuit.Dense(torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pursuit.SubsampledFourier([0]), "needed is either n, the length of a signal, or shape"),
        (lambda: pursuit.SubsampledFourier([0], 4, shape=(4,)), "needed is either n"),
        (lambda: pursuit.SubsampledFourier([0], shape=(4, 0)), r"shape is \(4, 0\); needed is a whole number >= 1"),
        (lambda: pursuit.SubsampledFourier(np.ones((4, 3), bool), shape=(3, 4)), r"a mask of shape \(4, 3\)"),
        (lambda: pursuit.SubsampledFourier(np.zeros((3, 4), bool), shape=(3, 4)), "a mask that takes no entry"),
        (lambda: pursuit.SubsampledFourier([[0, 1, 2]], shape=(3, 4)), r"shape \(1, 3\); needed is a mask of shape"),
        (lambda: pursuit.SubsampledFourier([0.5], 4), "dtype torch.float32; needed is a mask"),
        (lambda: pursuit.SubsampledFourier([0], shape=(3, 4), period=(4, 3)), "period >= shape"),
        (lambda: pursuit.SubsampledFourier([0], shape=(3, 4), period=4), "period >= shape"),
        (lambda: pursuit.Restriction([4], 4), r"rows go from 4 to 4, and the signal has shape \(4,\)"),
        (lambda: pursuit.Restriction([[0, 3]], (3, 3)), "rows go from 0 to 3"),
        (lambda: pursuit.Restriction([], 4), "needed is a mask"),
        (lambda: pursuit.DCT(()), "needed is a whole number >= 1"),
        (lambda: pursuit.DCT(4, dtype=torch.float16), "float32, float64, complex64 or complex128"),
        (lambda: pursuit.Wavelet(12, "db2", 3), "lengths that 8 divides.*pad the signal"),
        (lambda: pursuit.Wavelet(7), "lengths that 2 divides"),
        (lambda: pursuit.Wavelet(8, level=0), "level is 0"),
        (lambda: pursuit.Wavelet(8, "bior2.2"), "'bior2.2', which is not orthogonal"),
        (lambda: pursuit.Wavelet(64, "dmey"), "'dmey' times itself shifted by 0 is off by"),
        (lambda: pursuit.Wavelet(8, "morl"), "wavelist"),
        (lambda: pursuit.Wavelet(8, torch.ones(2)), "times itself shifted by 0 is off by 1.0e"),
        (lambda: pursuit.Wavelet(8, torch.ones(3)), "an even number of real filter taps"),
        (lambda: pursuit.Wavelet(8, 4), "an even number of real filter taps"),
        (lambda: pursuit.VStack(), "VStack needs at least one operator"),
        (lambda: pursuit.VStack(EYE, pursuit.DCT(4)), "different numbers of columns"),
        (lambda: pursuit.HStack(EYE, pursuit.DCT(4)), "different numbers of rows"),
        (lambda: pursuit.BlockDiag(EYE, pursuit.DCT(4, dtype=torch.float32)), "differ in dtype or device"),
        (lambda: pursuit.Sense(EYE, torch.ones(2, 4, dtype=torch.float64)), r"needed is \(coils, \*shape\)"),
        (lambda: pursuit.Sense(EYE, torch.ones(3, dtype=torch.float64)), r"needed is \(coils, \*shape\)"),
        (lambda: pursuit.Sense(EYE, torch.ones(2, 3)), "differ in dtype or device"),
    ],
)
def test_operators_that_cannot_be(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_without_pywavelets_a_name_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    with pytest.raises(ImportError, match=r"pip install 'pursuit\[wavelets\]'"):
        pursuit.Wavelet(8, "haar")
    assert pursuit.Wavelet(8, torch.tensor([0.5, 0.5]).sqrt()).shape == (8, 8)


@pytest.mark.parametrize(("length", "wavelet"), [(64, "db4"), (96, "haar"), (12, "db2"), (8, "db10")])
def test_the_default_level_is_that_of_pywavelets_where_the_length_allows_it(length, wavelet):
    level = max(1, min(pywt.dwt_max_level(length, wavelet), (length & -length).bit_length() - 1))
    assert pursuit.Wavelet(length, wavelet).level == level


def test_diagonal_needs_an_axis():
    with pytest.raises(ValueError, match="values is one number"):
        pursuit.Diagonal(torch.tensor(2.0))


@pytest.mark.parametrize("boundary", ["full", "same", "valid"])
def test_odd_convolution_agrees_with_numpy_by_name(boundary):
    kernel, x = randn(torch.float64, 5), randn(torch.float64, N)
    found = pursuit.Convolution(kernel, N, boundary).forward(x)
    close(found, torch.from_numpy(np.convolve(x.numpy(), kernel.numpy(), boundary)))


@pytest.mark.parametrize("boundary", ["circular", "same"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_centred_convolution_leaves_a_spike_where_it_is(boundary, length):
    kernel = torch.zeros(length, dtype=torch.float64)
    kernel[length // 2] = 1
    x = randn(torch.float64, N)
    close(pursuit.Convolution(kernel, N, boundary).forward(x), x)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("boundary", ["circular", "full", "same", "valid"])
def test_small_columns_of_a_convolution_keep_their_digits(dtype, boundary):
    kernel = 10.0 ** -torch.arange(8.0).to(dtype)
    op = pursuit.Convolution(kernel, 12, boundary)
    wanted = torch.linalg.vector_norm(op.to_dense(), dim=-2)
    torch.testing.assert_close(op.column_norms(), wanted, rtol=rounding(dtype), atol=0)


@pytest.mark.parametrize("dtype", ALL)
def test_zero_columns_of_a_convolution_have_norm_zero_and_a_finite_gradient(dtype):
    kernel = randn(dtype, 5) * torch.tensor([1, 1, 1, 0, 0])
    kernel.requires_grad_()
    norms = pursuit.Convolution(kernel, 12, "valid").column_norms()
    norms.sum().backward()
    assert (norms == 0).tolist() == 2 * [True] + 10 * [False]
    assert kernel.grad.isfinite().all()


@pytest.mark.parametrize("make", [dense(2), convolution("same", 4), compose((), ()), scaled((), ())])
def test_complexified_complex_operator_is_itself(make):
    op, _ = make(torch.complex128)
    assert op.complexified() is op


def wrong_adjoints():
    A = randn(torch.complex128, M, N)
    B = randn(torch.float64, M, N)
    return {
        "transpose without conjugate": ((lambda x: x @ A.mT, lambda y: y @ A, (M, N)), torch.complex128),
        "another matrix": ((lambda x: x @ B.mT, lambda y: y @ B.roll(1, 0), (M, N)), torch.float64),
        "wrong factor": ((lambda x: x @ B.mT, lambda y: 1.01 * y @ B, (M, N)), torch.float64),
        "conjugate of the result": ((lambda x: x @ A.mT, lambda y: (y @ A.conj()).conj(), (M, N)), torch.complex128),
    }


@pytest.mark.parametrize("wrong", wrong_adjoints())
@pytest.mark.parametrize("seed", [0, 1])
def test_dot_test_fails_for_a_wrong_adjoint(wrong, seed):
    (forward, adjoint, shape), given = wrong_adjoints()[wrong]

    class Wrong(pursuit.Operator):
        dtype, device = given, torch.device("cpu")

        def forward(self, x):
            return forward(x)

        def adjoint(self, y):
            return adjoint(y)

    Wrong.shape = shape
    assert pursuit.adjoint_gap(Wrong(), seed=seed) > 1e-6


SPECTRA = {
    "random": randn(torch.float64, 20, 30),
    "tall": randn(torch.float64, 30, 5),
    "complex": randn(torch.complex128, 12, 15),
    "large": randn(torch.float64, 60, 150),
    "identity": torch.eye(7, dtype=torch.float64),
    "clustered": torch.diag(1 + 1e-6 * torch.arange(8.0, dtype=torch.float64)),
    "rank one": randn(torch.float64, 8, 1) @ randn(torch.float64, 1, 11, seed=1),
    "rank two": randn(torch.complex128, 8, 2) @ randn(torch.complex128, 2, 11, seed=1),
    "zero": torch.zeros(4, 6, dtype=torch.float64),
    "m=1": randn(torch.float64, 1, 9),
    "n=1": randn(torch.float64, 9, 1),
    "m=n=1": randn(torch.complex128, 1, 1),
    "tiny scale": 1e-8 * randn(torch.float64, 5, 8),
    "huge scale": 1e8 * randn(torch.float64, 5, 8),
    "batched": randn(torch.float64, 2, 3, 6, 10),
    "batched ranks": torch.stack([torch.zeros(4, 4), torch.eye(4), torch.ones(4, 4)]).double(),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_spectral_norm_squared(name):
    A = SPECTRA[name]
    wanted = torch.linalg.matrix_norm(A, 2).square()
    torch.testing.assert_close(spectral_norm_squared(pursuit.Dense(A)), wanted, rtol=1e-8, atol=0)


def test_spectral_norm_squared_of_scaled_columns():
    op, A = scaled((2, 1), (3,))(torch.float64)
    wanted = torch.linalg.matrix_norm(A, 2).square()
    torch.testing.assert_close(spectral_norm_squared(op), wanted, rtol=1e-8, atol=0)


# Solvers see nothing but the operator: whatever the form of A, the answer is that of the dense matrix.


class WidePhysics(Physics):
    img_size = (2, 4, 5)


def easy(dtype, signal_dtype):
    A, x = randn(dtype, 24, 40), torch.zeros(40, dtype=signal_dtype)
    x[[4, 17, 30]] = randn(signal_dtype, 3).sgn() * torch.tensor([1.0, 2.0, 1.5])
    return A, apply(A.to(signal_dtype), x)


def dense_functions(A):
    return lambda x: x @ A.mT, lambda y: y @ A.conj(), tuple(A.shape)


FORMS = {
    "numpy": lambda A: A.numpy(),
    "csr": lambda A: scipy.sparse.csr_matrix(A.numpy()),
    "csc-array": lambda A: scipy.sparse.csc_array(A.numpy()),
    "linear-operator": lambda A: scipy.sparse.linalg.aslinearoperator(A.numpy()),
    "matvec-only": lambda A: scipy.sparse.linalg.LinearOperator(
        A.shape, matvec=A.numpy().__matmul__, rmatvec=A.mH.resolve_conj().numpy().__matmul__, dtype=A.numpy().dtype
    ),
    "pylops": lambda A: pylops.MatrixMult(A.numpy(), dtype=A.numpy().dtype),
    "pylops-blocks": lambda A: pylops.VStack([pylops.MatrixMult(a.numpy(), dtype=a.numpy().dtype) for a in A.split(8)]),
    "physics": WidePhysics,
    "triple": dense_functions,
    "callables": lambda A: pursuit.FunctionOperator(*dense_functions(A), dtype=A.dtype),
    "composed": lambda A: pursuit.Compose(pursuit.Dense(torch.eye(24, dtype=A.dtype)), pursuit.Dense(A)),
    "scaled": lambda A: pursuit.ColumnScaled(pursuit.Dense(A / 3), torch.full((40,), 3, dtype=A.dtype)),
}


def solve(A, y, method):
    """The answer after a number of steps that is enough for most methods, and the same for all."""
    options = {"lam": 0.1} if "ista" in method else {"k": 3} | NEEDS.get(method, {})
    return pursuit.solve(A, y, method=method, max_steps=30, **options)


@cache
def wanted_of(method, dtype, signal_dtype):
    """What the dense matrix of the signals' dtype gives, for all forms."""
    A, y = easy(dtype, signal_dtype)
    return solve(A.to(signal_dtype), y, method)


@pytest.mark.parametrize("method", pursuit.methods())
@pytest.mark.parametrize("form", FORMS)
def test_solvers_give_the_same_for_every_form_of_A(method, form):
    A, y = easy(torch.complex128, torch.complex128)
    wanted = wanted_of(method, A.dtype, y.dtype)
    found = solve(FORMS[form](A), y, method)
    torch.testing.assert_close(found.x, wanted.x, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.support, wanted.support)


@pytest.mark.parametrize("method", pursuit.methods())
@pytest.mark.parametrize(
    "op",
    [
        fourier(range(0, 48, 2), 40),
        convolution("valid", 5, n=28),
        convolution("full", 6),
        of_unitary(restriction(range(0, 28, 2), (4, 7), range(0, 28, 2)), adjoint(cosines(4, 7))),
        image_from_coils,
    ],
)
def test_solvers_give_the_same_for_own_operators(method, op):
    op, A = op(torch.complex128)
    y = apply(A, torch.nn.functional.one_hot(torch.tensor(2), op.shape[1]).to(A.dtype))
    wanted = solve(A, y, method)
    found = solve(op, y, method)
    torch.testing.assert_close(found.x, wanted.x, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("method", pursuit.methods())
@pytest.mark.parametrize("form", ["numpy", "csr", "matvec-only", "pylops", "callables", "composed", "scaled"])
def test_solvers_give_the_same_for_every_form_of_real_A(method, form):
    A, y = easy(torch.float64, torch.float64)
    wanted = wanted_of(method, A.dtype, y.dtype)
    found = solve(FORMS[form](A), y, method)
    torch.testing.assert_close(found.x, wanted.x, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("method", pursuit.methods())
@pytest.mark.parametrize("form", ["csr", "pylops", "callables", "scaled"])
def test_real_operators_take_complex_measurements(method, form):
    A, y = easy(torch.float64, torch.complex128)
    wanted = wanted_of(method, A.dtype, y.dtype)
    found = solve(FORMS[form](A), y, method)
    torch.testing.assert_close(found.x, wanted.x, rtol=1e-8, atol=1e-8)


def test_known_column_norms_save_the_products_and_give_the_same():
    matrix = torch.randn(24, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y, calls = matrix[:, 3] - matrix[:, 7], []

    def adjoint(y):
        calls.append(y.shape)
        return y @ matrix

    triple = (lambda x: x @ matrix.T, adjoint, (24, 40))
    wanted = pursuit.htp(pursuit.as_operator(triple), y, 2, max_steps=1)
    calls.remove((24, 24))  # the rows, which are fewer than the columns
    spent = len(calls)
    calls.clear()
    norms = matrix.norm(dim=0)
    for known in (norms, norms.numpy()):
        found = pursuit.htp(pursuit.as_operator(triple, column_norms=known), y, 2, max_steps=1)
        torch.testing.assert_close(found.x, wanted.x)
        assert len(calls) == spent
        calls.clear()
    unit = pursuit.as_operator(triple, column_norms=1.0)
    assert torch.equal(unit.column_norms(), torch.ones(40, dtype=torch.float64))


@pytest.mark.parametrize("norms", [-1.0, np.nan, np.ones(3), "one"])
def test_column_norms_that_cannot_be_norms_are_refused(norms):
    with pytest.raises((TypeError, ValueError), match="column_norms"):
        pursuit.as_operator((lambda x: x, lambda y: y, (4, 4)), column_norms=norms)


def test_column_norms_of_a_matrix_are_not_asked_for():
    with pytest.raises(ValueError, match="knows its own"):
        pursuit.as_operator(np.eye(3), column_norms=1.0)


def test_atoms_of_a_long_operator_are_found_in_parts(monkeypatch):
    matrix = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sizes = []

    def product(x, by):
        sizes.append(x.numel())
        return x @ by

    op = pursuit.FunctionOperator(lambda x: product(x, matrix.T), lambda y: product(y, matrix), (5, 12))
    monkeypatch.setattr("pursuit.operators.base.PROBES", 30)
    index = torch.arange(12).reshape(2, 2, 3)
    torch.testing.assert_close(op.columns(index), matrix[:, index].permute(1, 2, 0, 3))
    torch.testing.assert_close(op.column_norms(), matrix.norm(dim=0))
    assert max(sizes) <= 30


@pytest.mark.parametrize("name", ["img_size", "imsize", "img_shape"])
def test_a_physics_may_say_its_shape_by_any_of_its_names(name):
    class Physics:
        img_size = None

        def A(self, x):
            return x[..., ::2]

        def A_adjoint(self, y):
            return torch.stack([y, 0 * y], dim=-1).flatten(-2)

    physics = Physics()
    setattr(physics, name, (1, 2, 4))
    op = pursuit.as_operator(physics)
    assert op.shape == (4, 8)
    assert pursuit.adjoint_gap(op) < 1e-6


def test_a_product_takes_numbers_of_every_kind():
    real, imaginary = pursuit.as_operator(np.eye(2)), pursuit.as_operator(1j * np.eye(2))
    assert (real @ np.array([1j, 2])).tolist() == [1j, 2]
    assert (imaginary @ np.array([1.0, 2.0])).tolist() == [1j, 2j]
    assert (imaginary.H @ np.array([1.0, 2.0])).tolist() == [-1j, -2j]
    for x in ([1, 2], np.array([1, 2]), np.array([1.0, 2.0], ">f8"), np.array([1.0, 2.0])):
        assert (real @ x).tolist() == [1, 2]
    learned = pursuit.as_operator(torch.eye(2, dtype=torch.float64, requires_grad=True))
    assert (learned @ np.array([1.0, 2.0])).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("A", "x", "error", "message"),
    [
        (torch.eye(2), torch.ones(2, dtype=torch.float64), TypeError, "use one precision for both"),
        (torch.eye(2), np.ones(2), TypeError, "use one precision for both"),
        (torch.ones(3, 4, 6), torch.ones(2, 6), ValueError, r"a batch \(3,\); needed is x of shape"),
        (torch.eye(2), torch.ones(3), ValueError, r"needed is x of shape \(\*batch, 2\): signals are rows"),
        (torch.eye(2), pursuit.Dense(torch.eye(2)), TypeError, r"pursuit.Compose\(A, B\)"),
    ],
    ids=["tensor of another precision", "array of another precision", "batch", "shape", "operator"],
)
def test_a_product_that_cannot_be(A, x, error, message):
    with pytest.raises(error, match=message):
        pursuit.as_operator(A) @ x


PAGE = (Path(__file__).parents[1] / "docs" / "operators.md").read_text()


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
def test_the_examples_of_the_page_run(example):
    exec(compile(example, "docs/operators.md", "exec"), {})


def test_the_page_lists_every_operator():
    kinds = [kind for kind in vars(pursuit.operators).values() if isinstance(kind, type)]
    public = {kind.__name__ for kind in kinds if hasattr(pursuit, kind.__name__)} - {"Operator"}
    assert {"Sense", "Wavelet"} < public
    assert public <= set(re.findall(r"`(\w+)\(", PAGE))
