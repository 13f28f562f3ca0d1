"""Small seeded instances and the table of the solvers, shared by the tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import pursuit
from pursuit import cli, training

REAL, COMPLEX = torch.float64, torch.complex128
DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
PARTS = (
    "x",
    *(field.name for field in fields(pursuit.Solution) if field.name not in ("n", "names")),
)  # arrays of a solution
NOTICE = "pursuit: compiling kernels for this machine, at their first use; kept for later calls\n"
DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

# The plain inverse, which recovers no sparse signal from fewer measurements, is in test_inverse.py.
# AMP is not here but in test_amp.py: it counts rows and columns, and complex numbers have noise in two dimensions.
# The arguments each solver needs besides A, y and k: small budgets, and for the proximal ones, in the place of k, the
# penalty as a share of the largest correlation |A^H y| (so that it scales as the problem does).
SOLVERS: dict[str, dict[str, Any]] = {
    "omp": {},
    "ols": {},
    "iht": {},
    "niht": {},
    "htp": {},
    "cosamp": {},
    "sp": {},
    "ompr": {},
    "els": {},
    "sea": {"max_steps": 60},
    "sea_plus": {"max_steps": 60},
    "whitened_lasso": {},
    "greedy_lasso": {"lam": 0.0},
    "ista": {"share": 0.3},
    "fista": {"share": 0.3},
}
PROXIMAL = ("ista", "fista")
# SEA+ puts together SEA, ELS and a LASSO, for each of which the laws hold. What is its own is tested in
# test_solvers.py, and what every solver promises in test_check_solver.py.
SINGLE = tuple(name for name in SOLVERS if name != "sea_plus")
SELECTING = tuple(name for name in SOLVERS if name not in PROXIMAL)
WITHOUT_START = ("omp", "ols", "whitened_lasso")  # and without a step size
ITERATIVE = tuple(name for name in SOLVERS if name not in (*WITHOUT_START, "greedy_lasso"))  # those that take x0
WEIGHTING = tuple(name for name in SELECTING if name != "greedy_lasso")  # whose weights multiply the score
WEIGHTS = {name: "penalty_weights" if name == "greedy_lasso" else "weights" for name in SELECTING}  # the option's name
NEEDS: dict[str, dict[str, Any]] = {"greedy_lasso": {"lam": 0.0}}  # besides A, y and k; zero makes it OMP
REFITTING = (
    "omp",
    "ols",
    "htp",
    "sp",
    "ompr",
    "els",
    "sea",
    "sea_plus",
    "whitened_lasso",
)  # those whose x is the least squares on its support
LOSSY = ("omp", "iht", "htp", "els", "sea")  # those that take a loss


def without_notice(err: str) -> str:
    """What went to standard error, less the line that a slow or busy machine adds where a kernel is compiled."""
    return err.replace(NOTICE, "")


def outputs(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Standard output and standard error since the last call, the latter without that line."""
    out, err = capsys.readouterr()
    return out, without_notice(err)


def recover(name: str, A: Any, y: Tensor, k: Any, **options: Any) -> pursuit.Solution:
    """Run a solver of the table; options override the table's."""
    options = SOLVERS[name] | options
    if name not in PROXIMAL:
        return pursuit.solve(A, y, name, k=k, **options)
    share = options.pop("share")
    lam = options.pop("lam", None)
    return pursuit.solve(A, y, name, lam=share * penalty(A, y) if lam is None else lam, **options)


def penalty(A: Any, y: Tensor) -> Tensor:
    """The least penalty at which the solution is zero, `max |A^H y|`, `(*batch,)`."""
    return pursuit.as_operator(A).adjoint(y).abs().amax(-1)


def optimality_gap(A: Any, y: Tensor, x: Tensor, lam: Tensor) -> Tensor:
    """By how much `x` misses the optimality conditions of `||y - A x||^2 / 2 + lam ||x||_1`, relative to lam."""
    op = pursuit.as_operator(A)
    g, lam = op.adjoint(y - op.forward(x)), lam.unsqueeze(-1)
    phase = x / torch.where(x != 0, x.abs(), 1)
    miss = torch.where(x != 0, (g - lam * phase).abs(), (g.abs() - lam).clamp(min=0))
    return (miss / lam).amax(-1)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int, dtype: torch.dtype = REAL, device: str = "cpu") -> Tensor:
    """Gaussian numbers, the same on every device and (but for rounding) in every precision."""
    wide = COMPLEX if dtype.is_complex else REAL
    return torch.randn(*shape, generator=generator(seed), dtype=wide).to(device, dtype)


def unit(A: Tensor) -> Tensor:
    """The matrix with columns of unit norm."""
    return A / torch.linalg.vector_norm(A, dim=-2, keepdim=True)


def sparse(seed: int, n: int, k: int, *, batch: tuple[int, ...] = (), dtype: torch.dtype = REAL) -> Tensor:
    """k-sparse signals with magnitudes between 1 and 2 and random signs or phases."""
    g = generator(seed)
    size = 1 + torch.rand(*batch, n, generator=g, dtype=REAL)
    turn = torch.rand(*batch, n, generator=g, dtype=REAL)
    phase = torch.exp(2j * math.pi * turn) if dtype.is_complex else (turn - 0.5).sign()
    keep = torch.rand(*batch, n, generator=g, dtype=REAL).argsort(-1) < k
    return (keep * size * phase).to(dtype)


class Instance(NamedTuple):
    """A problem with its answer, `y = A x` plus noise, and the matrix of an implicit `A`."""

    A: Any
    y: Tensor
    k: int
    x: Tensor
    dense: Tensor


def instance(
    A: Any, k: int, *, seed: int = 0, batch: tuple[int, ...] = (), noise: float = 0.0, device: str = "cpu"
) -> Instance:
    """Draw a signal and measure it by `A`."""
    op = pursuit.as_operator(A)
    x = sparse(seed, op.shape[1], k, batch=batch, dtype=op.dtype).to(device)
    e = normal(seed + 1, *batch, op.shape[0], dtype=op.dtype, device=device)
    return Instance(A, op.forward(x) + noise * e, k, x, op.to_dense())


def gaussian(dtype: torch.dtype = REAL, device: str = "cpu", *, m: int = 36, n: int = 48, seed: int = 0) -> Tensor:
    """Gaussian matrix with unit columns."""
    return unit(normal(seed, m, n, dtype=dtype)).to(device)


def unnormalised(dtype: torch.dtype = REAL, device: str = "cpu", *, m: int = 36, n: int = 48, seed: int = 0) -> Tensor:
    """Gaussian matrix whose column norms lie between 1/3 and 3."""
    spread = 3 ** (2 * torch.rand(n, generator=generator(seed), dtype=REAL) - 1)
    return (gaussian(dtype, m=m, n=n, seed=seed) * spread).to(device, dtype)


def fourier(dtype: torch.dtype = COMPLEX, device: str = "cpu", *, m: int = 36, n: int = 48, seed: int = 0) -> Any:
    """Some rows of the Fourier matrix, by FFT."""
    rows = torch.randperm(n, generator=generator(seed))[:m].sort().values
    return pursuit.SubsampledFourier(rows, n, dtype=dtype, device=device)


def deconvolution(dtype: torch.dtype = REAL, device: str = "cpu", *, n: int = 48, sigma: float = 0.6) -> Any:
    """Circular convolution with a Gaussian kernel, by FFT."""
    t = torch.arange(-6, 7, dtype=REAL)
    return pursuit.Convolution(torch.exp(-(t**2) / (2 * sigma**2)).to(device, dtype), n)


PROBLEMS: dict[str, Callable[..., Any]] = {
    "gaussian": gaussian,
    "unnormalised": unnormalised,
    "fourier": fourier,
    "fourier dense": lambda *args, **options: fourier(*args, **options).to_dense(),
    "deconvolution": deconvolution,
    "deconvolution dense": lambda *args, **options: deconvolution(*args, **options).to_dense(),
}
# Every problem in every dtype that it has.
CASES = [(name, dtype) for name in PROBLEMS for dtype in DTYPES if dtype.is_complex or not name.startswith("fourier")]


def subsets(support: Tensor) -> set[int]:
    """The column numbers of one support, without the -1 of absent atoms."""
    return set(support[support >= 0].tolist())


class Training(NamedTuple):
    """What `pursuit train` hands to `pursuit.training.fit`."""

    net: Any
    ensemble: Any
    options: dict[str, Any]


def training_of(*arguments: Any) -> Training:
    """What this command would train, and how; it is stopped before it does."""
    handed: list[Training] = []

    def fit(net: Any, ensemble: Any, **options: Any) -> None:
        handed.append(Training(net, ensemble, options))
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "fit", fit)
        with pytest.raises(SystemExit) as end:
            cli.main(["train", *map(str, arguments)])
    assert end.value.code == 130
    return handed[0]
