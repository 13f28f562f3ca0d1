"""Column norms: only where a solver uses them, known from PyLops, estimated elsewhere, and kept on the operator."""

import sys

import numpy as np
import pylops
import pylops.signalprocessing as transforms
import pytest
import scipy.sparse
import torch

import pursuit
from helpers import outputs
from pursuit import progress
from pursuit.operators import probing
from pursuit.operators.pylops_norms import column_norms

N = 64


class Counted:
    """A function that counts how many signals it was given."""

    def __init__(self, function):
        self.function, self.count = function, 0

    def __call__(self, x):
        self.count += x[..., 0].numel()
        return self.function(x)


def fourier_samples():
    """An FFT of 64 x 64 samples at 40 % of the frequencies, as two functions; and the shape."""
    kept = (torch.rand(N * N, generator=torch.Generator().manual_seed(0)) < 0.4).nonzero().squeeze(1)

    def forward(x):
        return torch.fft.fft2(x.unflatten(-1, (N, N)), norm="ortho").flatten(-2)[..., kept]

    def adjoint(y):
        spectrum = y.new_zeros(*y.shape[:-1], N * N).index_copy(-1, kept, y)
        return torch.fft.ifft2(spectrum.unflatten(-1, (N, N)), norm="ortho").flatten(-2)

    return Counted(forward), Counted(adjoint), (len(kept), N * N)


def spikes():
    x = torch.zeros(N * N, dtype=torch.complex128)
    x[::97] = 1
    return x


@pytest.mark.parametrize("solver", [pursuit.fista, pursuit.ista])
def test_a_proximal_solver_takes_no_products_for_column_norms(solver):
    forward, adjoint, shape = fourier_samples()
    y = forward(spikes())
    A = pursuit.as_operator((forward, adjoint, shape), dtype=y.dtype)
    forward.count = adjoint.count = 0
    solver(A, y, lam=1e-3, max_steps=1)
    # Lanczos stops after two; the size of A, the start, the step, and the duality gap at its end.
    assert forward.count == 6
    assert adjoint.count <= 4


def test_a_greedy_solver_takes_1024_products_for_column_norms_once():
    forward, adjoint, shape = fourier_samples()
    y = forward(spikes())
    A = pursuit.as_operator((forward, adjoint, shape), dtype=y.dtype)
    forward.count = adjoint.count = 0
    pursuit.omp(A, y, k=2)
    steps = adjoint.count - probing.SAMPLES
    assert 0 < steps < 10
    pursuit.omp(A, y, k=2)
    assert adjoint.count == probing.SAMPLES + 2 * steps


def operator(matrix, **options):
    return pursuit.FunctionOperator(
        lambda x: x @ matrix.mT, lambda y: y @ matrix.conj(), tuple(matrix.shape), dtype=matrix.dtype, **options
    )


@pytest.mark.parametrize(("dtype", "stated"), [(torch.float64, 0.022), (torch.complex128, 0.016)])
def test_the_estimate_is_as_accurate_as_stated(dtype, stated):
    """The standard error is 1 / sqrt(2 * 1024) for real operators, and 1 / sqrt(4 * 1024) for complex ones."""
    A = torch.randn(1100, 3000, dtype=dtype, generator=torch.Generator().manual_seed(0))
    A = A * torch.logspace(-3, 3, 3000, dtype=torch.float64)
    A[:, ::7] = 0
    found, wanted = operator(A).working_norms(), torch.linalg.vector_norm(A, dim=0)
    assert found.dtype == torch.float64
    assert (found[wanted == 0] == 0).all()
    error = found[wanted > 0] / wanted[wanted > 0] - 1
    assert 0.9 * stated < error.square().mean().sqrt() < 1.1 * stated
    assert error.abs().max() < 5 * stated


def test_the_estimate_of_one_sparse_columns_is_exact():
    values = torch.rand(1100, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    A = pursuit.FunctionOperator(lambda x: values * x, lambda y: values * y, (1100, 1100))
    torch.testing.assert_close(A.working_norms(), values.abs())


def test_columns_of_one_norm_get_one_norm():
    forward, adjoint, shape = fourier_samples()
    norms = pursuit.as_operator((forward, adjoint, shape), dtype=torch.complex128).working_norms()
    assert (norms == norms[0]).all()
    assert norms[0].item() == pytest.approx((shape[0] / shape[1]) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("shape", [(1024, 1500), (1500, 1024), (20, 1500), (1500, 20)])
def test_norms_are_exact_where_1024_products_suffice(shape):
    A = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(operator(A).working_norms(), A.norm(dim=0))


def test_column_norms_are_exact_at_any_size():
    A = torch.randn(1030, 1040, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(operator(A).column_norms(), A.norm(dim=0))


def test_estimated_norms_leave_the_coefficients_exact():
    A = torch.randn(1100, 1200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.zeros(1200, dtype=torch.float64)
    x[[4, 700, 1100]] = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    for method in ("omp", "iht", "htp", "cosamp", "els", "sea"):
        options = {"max_steps": 200} if method == "sea" else {}
        found = pursuit.solve(operator(A), A @ x, method=method, k=3, **options)
        torch.testing.assert_close(found.x, x)


class Bidiagonal(pursuit.Operator):
    """Operators of a batch, `values_j` on the diagonal and one beside it, which know no formula for their norms."""

    def __init__(self, values):
        self.values, self.batch_shape, self.shape = values, values.shape[:-1], 2 * values.shape[-1:]
        self.dtype, self.device = values.dtype, values.device

    def forward(self, x):
        return self.values * x + x.roll(1, -1)

    def adjoint(self, y):
        return self.values * y + y.roll(-1, -1)


def test_the_norms_of_a_batch_of_operators_are_estimated_for_each():
    values = torch.rand(3, 1100, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1.0], [0.1], [10.0]])
    error = Bidiagonal(values).working_norms() / (values.square() + 1).sqrt() - 1
    assert error.shape == (3, 1100)
    assert 0.005 < error.abs().max() < 0.11


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def fft(**options):
    return transforms.FFT(12, dtype="complex128", **options)


ROWS = pylops.Restriction(12, [3, 1], dtype="complex128")
TOLD = {
    "fft": fft(),
    "fft none": fft(norm="none"),
    "fft 1/n": fft(norm="1/n"),
    "fft padded": fft(nfft=20, norm="none"),
    "fft by numpy": fft(engine="numpy"),
    "fft shifted": fft(fftshift_after=True, ifftshift_before=True),
    "fft of an axis": transforms.FFT((3, 4), axis=0, norm="none", dtype="complex128"),
    "fft2": transforms.FFT2D((3, 4), dtype="complex128"),
    "fft2 padded": transforms.FFT2D((3, 4), norm="none", nffts=(4, 8), dtype="complex128"),
    "fftn": transforms.FFTND((2, 3, 2), norm="1/n", dtype="complex128"),
    "fftn of two axes": transforms.FFTND((2, 3, 2), axes=(0, 2), norm="none", dtype="complex128"),
    "adjoint fft": fft(norm="none").H,
    "rows of fft": ROWS * fft(norm="none"),
    "rows of fft2": ROWS * transforms.FFT2D((3, 4), dtype="complex128"),
    "dct": transforms.DCT((3, 4)),
    "dct 1": transforms.DCT(12, type=1),
    "adjoint dct": transforms.DCT(12, type=4).H,
    "wavelets": transforms.DWT(16, wavelet="db2", level=2),
    "wavelets padded": transforms.DWT(12, wavelet="db2", level=2),
    "wavelets 2": transforms.DWT2D((8, 8), wavelet="haar", level=2),
    "wavelets n": transforms.DWTND((4, 4, 4), wavelet="haar", level=1),
    "flip": pylops.Flip(12),
    "roll": pylops.Roll(12, shift=3),
    "transpose": pylops.Transpose((3, 4), (1, 0)),
    "identity": pylops.Identity(14, 12),
    "diagonal": pylops.Diagonal(random(12)),
    "diagonal of an axis": pylops.Diagonal(random(4), dims=(3, 4), axis=1),
    "diagonal complex": pylops.Diagonal(1j * random(4), dtype=complex),
    "rows": pylops.Restriction(12, [3, 1, 3, -1]),
    "rows of an axis": pylops.Restriction((3, 4), [2, 1], axis=1),
    "matrix": pylops.MatrixMult(random(5, 7)),
    "matrix sparse": pylops.MatrixMult(scipy.sparse.csr_matrix(random(5, 7))),
    "vertical": pylops.VStack([pylops.MatrixMult(random(5, 12)), pylops.Identity(12)]),
    "horizontal": pylops.HStack([pylops.MatrixMult(random(12, 5)), pylops.Identity(12)]),
    "blocks": pylops.BlockDiag([pylops.MatrixMult(random(5, 3)), pylops.Identity(12)]),
    "scaled": -3 * fft(),
    "fft of a matrix": fft() * pylops.MatrixMult(random(12, 5)),
    "fft of a diagonal": fft(norm="none") * pylops.Diagonal(random(12)),
    "matrix of a diagonal": pylops.MatrixMult(random(5, 12)) * pylops.Diagonal(random(12)),
}
UNTOLD = {
    "real fft": transforms.FFT(12, real=True),
    "biorthogonal wavelets": transforms.DWT(16, wavelet="bior2.2", level=1),
    "nearly orthogonal wavelets": transforms.DWT(128, wavelet="dmey", level=1),
    "rows of a fft of an axis": ROWS * transforms.FFT((3, 4), axis=0, dtype="complex128"),
    "sum": pylops.Identity(12) + pylops.Identity(12),
    "cut identity": pylops.Identity(8, 12),
    "derivative": pylops.FirstDerivative(12),
    "stack with a derivative": pylops.VStack([pylops.FirstDerivative(12), pylops.Identity(12)]),
    "adjoint of a padded fft": fft(nfft=20).H,
    "SciPy's": scipy.sparse.linalg.aslinearoperator(random(5, 7)),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_pylops_tells_of_its_columns_is_right(name):
    op = TOLD[name]
    wanted = np.linalg.norm(op.matmat(np.eye(op.shape[1], dtype=op.dtype)), axis=0)
    np.testing.assert_allclose(np.broadcast_to(column_norms(op), wanted.shape), wanted, atol=1e-12)


@pytest.mark.parametrize("name", UNTOLD)
def test_what_pylops_does_not_tell_is_not_guessed(name):
    assert column_norms(UNTOLD[name]) is None


def test_a_pylops_fft_takes_no_product_for_its_norms():
    op = transforms.FFT2D((64, 64), dtype="complex128")
    A = pursuit.as_operator(op)
    op._matvec = op._rmatvec = None  # no product would work
    assert (A.working_norms() == 1).all()
    assert A.column_norms().shape == (4096,)


@pytest.fixture
def slow(monkeypatch):
    """A clock by which every part takes three seconds."""
    now = iter(range(0, 3000, 3))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))


@pytest.mark.usefixtures("slow")
def test_column_norms_that_take_over_two_seconds_show_their_progress(capsys, monkeypatch):
    monkeypatch.setattr("pursuit.operators.base.PROBES", 1500 * 100)  # parts of 100 products
    operator(torch.ones(1500, 1500)).working_norms()
    lines = outputs(capsys)[1].splitlines()
    assert lines[0] == (
        "pursuit: column norms (pass column_norms= to pursuit.as_operator if you know them), product 100 of 1024, "
        "about 28 s left"
    )
    assert len(lines) == 3  # 11 parts of 3 seconds: one line in ten seconds


@pytest.mark.usefixtures("slow")
def test_on_a_terminal_the_progress_is_one_line_that_disappears(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.told("work", 4) as advance:
        for done in range(1, 5):
            advance(done)
    shown = outputs(capsys)[1].split("\r")
    assert shown[1].startswith("pursuit: work 1 of 4")
    assert shown[3].startswith("pursuit: work 3 of 4")
    assert shown[-2].isspace()
    assert shown[-1] == ""


def test_short_work_writes_nothing(capsys):
    operator(torch.ones(1100, 1100)).working_norms()
    assert outputs(capsys)[1] == ""
