"""Seeded test problems for solvers. A seed gives the same problem on every machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .operators import ColumnScaled, Convolution, Dense, Operator, SubsampledFourier

BOUNDARIES = ("circular", "full", "same")  # of the deconvolution


@dataclass(frozen=True)
class Instance:
    """Measurements, their operator, and the true signals if they are known.

    Attributes
    ----------
    name : str
    A : Operator
    y : Tensor (*batch, m)
        In the operator's dtype.
    k : int
        Sparsity to solve for.
    x : Tensor (*batch, n), optional
        True coefficients.
    synthesis : Operator, optional
        Makes the signal from the coefficients; without it the coefficients are the signal.
    settings : dict
        The arguments that made it.
    labels : tuple of str
        Labels of the signal's axis and values, with units.
    rate : float
        Samples of the signal per unit of its axis.
    names : sequence, optional
        Names of the columns of A.
    measured : sequence, optional
        Names of the measurements.
    """

    name: str
    A: Operator
    y: Tensor
    k: int
    x: Tensor | None
    settings: dict[str, Any]
    synthesis: Operator | None = None
    labels: tuple[str, str] = ("index", "coefficient")
    rate: float = 1.0
    names: Sequence[Any] | None = None
    measured: Sequence[Any] | None = None

    @property
    def title(self) -> str:
        """The problem and its sizes, in a line."""
        (m, n), count = self.A.shape, self.y.shape[:-1].numel()
        return f"{self.name}: {count} signal{'s' * (count != 1)}, n={n}, m={m}, k={self.k}"

    def signal(self, x: Tensor) -> Tensor:
        """The signal with coefficients `x`."""
        return x if self.synthesis is None else self.synthesis.forward(x)


def gaussian(
    *, n: int = 400, m: int = 200, k: int = 40, signals: int = 50, snr: float = 30.0, seed: int = 0
) -> Instance:
    """Gaussian matrix with columns of norm one, Gaussian coefficients on a uniformly random support.

    Parameters
    ----------
    n, m, k : int
        Unknowns, measurements, non-zeros.
    signals : int
        How many signals share the matrix.
    snr : float
        Signal-to-noise ratio of the measurements in dB; infinity for no noise.
    seed : int

    Examples
    --------
    >>> gaussian(n=20, m=10, k=2, signals=3).y.shape
    torch.Size([3, 10])
    """
    check_sizes(n=n, m=m, k=k, signals=signals)
    rng = torch.Generator().manual_seed(seed)
    A = Dense(gaussian_matrix(m, n, rng))
    x = on_random_support(torch.randn(signals, k, dtype=torch.float64, generator=rng, device=rng.device), n, rng)
    settings = {"n": n, "m": m, "k": k, "signals": signals, "snr_db": snr, "seed": seed}
    return Instance("gaussian", A, with_noise(A.forward(x), snr, rng), k, x, settings)


def fourier(
    *, n: int = 512, m: int = 128, k: int = 24, signals: int = 50, snr: float = 30.0, seed: int = 0
) -> Instance:
    """Random rows of the discrete Fourier transform, applied by FFT; complex Gaussian coefficients.

    Parameters
    ----------
    n, m, k : int
        Unknowns, measured frequencies, non-zeros.
    signals : int
        How many signals share the operator.
    snr : float
        Signal-to-noise ratio of the measurements in dB; infinity for no noise.
    seed : int
    """
    check_sizes(n=n, m=m, k=k, signals=signals)
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randperm(n, generator=rng, device=rng.device)[:m].sort().values
    A = SubsampledFourier(rows, n)
    x = on_random_support(torch.randn(signals, k, dtype=torch.complex128, generator=rng, device=rng.device), n, rng)
    settings = {"n": n, "m": m, "k": k, "signals": signals, "snr_db": snr, "seed": seed}
    return Instance("fourier", A, with_noise(A.forward(x), snr, rng), k, x, settings)


def deconvolution(
    *,
    n: int = 500,
    k: int = 20,
    sigma: float = 3.0,
    boundary: str = "circular",
    signals: int = 20,
    snr: float = math.inf,
    seed: int = 0,
) -> Instance:
    """Spikes blurred by a Gaussian: neighbouring atoms have coherence `exp(-1 / (4 sigma^2))`, 0.97 at the default.

    Spikes are uniform on [-2, -1] and [1, 2], atoms have unit norm (the poster's experiment 1).

    Parameters
    ----------
    n, k : int
        Samples and spikes.
    sigma : float
        Width of the kernel in samples.
    boundary : {"circular", "full", "same"}
        As in `Convolution`. With "same" the kernel is cut off at the ends, where atoms are then more similar.
    signals : int
        How many signals share the operator.
    snr : float
        Signal-to-noise ratio of the measurements in dB; infinity for no noise.
    seed : int

    Raises
    ------
    ValueError
        If the sizes do not fit together, or the boundary has another value.
    """
    check_sizes(n=n, m=n, k=k, signals=signals)
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary is {boundary!r}; choose one of {', '.join(map(repr, BOUNDARIES))}.")
    rng = torch.Generator().manual_seed(seed)
    A = gaussian_blur(n, sigma, boundary)
    uniform = torch.rand(2, signals, k, dtype=torch.float64, generator=rng, device=rng.device)
    x = on_random_support((1 + uniform[0]) * torch.where(uniform[1] < 0.5, -1.0, 1.0), n, rng)
    settings = {"n": n, "k": k, "sigma": sigma, "boundary": boundary, "signals": signals, "snr_db": snr, "seed": seed}
    labels = ("sample", "amplitude")
    return Instance("deconvolution", A, with_noise(A.forward(x), snr, rng), k, x, settings, labels=labels)


def gaussian_blur(n: int, sigma: float = 3.0, boundary: str = "circular") -> Operator:
    """Convolution with a Gaussian of width `sigma`, with columns of norm 1; in double precision."""
    reach = min(math.ceil(6 * sigma), (n - 1) // 2)
    t = torch.arange(-reach, reach + 1, dtype=torch.float64, device="cpu")
    kernel = torch.exp(-t.square() / (2 * sigma**2))
    A: Operator = Convolution(kernel / torch.linalg.vector_norm(kernel), n, boundary)
    return ColumnScaled(A, 1 / A.column_norms()) if boundary == "same" else A


def gaussian_matrix(m: int, n: int, rng: torch.Generator) -> Tensor:
    """Gaussian entries, columns of norm 1; in double precision."""
    matrix = torch.randn(m, n, dtype=torch.float64, generator=rng, device=rng.device)
    return matrix / torch.linalg.vector_norm(matrix, dim=0)


def check_sizes(*, n: int, m: int, k: int, signals: int) -> None:
    """Raise ValueError unless the sizes fit together."""
    if not 1 <= m <= n:
        raise ValueError(f"m is {m} and n is {n}; needed is 1 <= m <= n.")
    if not 1 <= k <= m:
        raise ValueError(f"k is {k}; needed is 1 <= k <= {m}, the number of measurements.")
    if signals < 1:
        raise ValueError(f"{signals} signals were asked for; needed is at least 1.")


def on_random_support(values: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Put `values (*batch, k)` at k distinct places of a signal of length n, uniformly at random."""
    order = torch.rand(*values.shape[:-1], n, generator=rng, device=rng.device, dtype=torch.float64).argsort(dim=-1)
    return values.new_zeros(*values.shape[:-1], n).scatter(-1, order[..., : values.shape[-1]], values)


def with_noise(y: Tensor, snr: float, rng: torch.Generator) -> Tensor:
    """`y (*batch, m)` with white Gaussian noise `snr` dB below the standard deviation of each signal."""
    if snr == math.inf:
        return y
    level = noise_level(y, snr)
    return y + level * torch.randn(y.shape, dtype=y.dtype, generator=rng, device=rng.device)


def noise_level(y: Tensor, snr: float) -> Tensor:
    """The standard deviation of noise that is `snr` dB below that of each signal `y (*batch, m)`: `(*batch, 1)`."""
    size = y.std(dim=-1, keepdim=True) if y.shape[-1] > 1 else y.abs()  # one number has no deviation
    return 10 ** (-snr / 20) * size
