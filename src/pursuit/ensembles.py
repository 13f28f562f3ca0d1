"""Signals and their measurements, to train networks on: random ones, and by `from_arrays` your own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .finite import FiniteEnsemble, Split, from_arrays
from .operators import Dense, Operator, SubsampledFourier
from .problems import Instance, check_sizes, gaussian_matrix, on_random_support

__all__ = [
    "BernoulliGaussian",
    "Ensemble",
    "FiniteEnsemble",
    "Mixture",
    "Split",
    "bernoulli_gaussian",
    "fourier_levels",
    "from_arrays",
    "gaussian_levels",
    "ofdm",
]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Random k-sparse signals of norm 1 and their noisy measurements by one operator.

    The k non-zeros are at random admissible places and have Gaussian values, before each signal is scaled to norm 1.
    The noise is white and Gaussian, complex if the operator is.

    Attributes
    ----------
    name : str
    A : Operator
    k : int
        Non-zeros per signal.
    real : bool
        Whether signals are real, though `A` may be complex.
    noise : float
        Root mean square norm of the noise in `y`.
    settings : dict
        The arguments that made it.
    admissible : Tensor (n,), optional
        1 where non-zeros can be, else 0. It is also the weights of an oracle. Default: non-zeros can be anywhere.

    Examples
    --------
    >>> import torch
    >>> ensemble = Ensemble("unit", Dense(torch.eye(4)), k=2, real=True, noise=0.0, settings={})
    >>> y, x = ensemble.draw(3, torch.Generator().manual_seed(0))
    >>> (x != 0).sum(-1)
    tensor([2, 2, 2])
    """

    name: str
    A: Operator
    k: int
    real: bool
    noise: float
    settings: dict[str, Any]
    admissible: Tensor | None = None

    def __post_init__(self) -> None:
        n = self.A.shape[1]
        places = n if self.admissible is None else int(self.admissible.count_nonzero())
        if self.admissible is not None and self.admissible.shape != (n,):
            raise ValueError(f"admissible has shape {tuple(self.admissible.shape)}; needed is (n,) with n={n}.")
        if not 1 <= self.k <= places:
            raise ValueError(f"k is {self.k}; needed is 1 <= k <= {places}, the number of admissible places.")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise is {self.noise}; needed is a finite number >= 0.")
        if not self.real and not self.A.dtype.is_complex:
            raise ValueError(
                f"the signals are complex, but the operator is {self.A.dtype}; use A.complexified(), or real=True."
            )

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """New signals: measurements `y (count, m)` in the operator's dtype and truth `x (count, n)`, real if `real`."""
        if count < 1:
            raise ValueError(f"{count} signals were asked for; needed is at least 1.")
        A, m = self.A, self.A.shape[0]
        wide = torch.complex128 if A.dtype.is_complex else torch.float64  # the same draws for every precision
        values = torch.randn(
            count, self.k, dtype=torch.float64 if self.real else wide, generator=rng, device=rng.device
        )
        x = self._placed(values / torch.linalg.vector_norm(values, dim=-1, keepdim=True), rng)
        x = x.to(A.device, A.dtype.to_real() if self.real else A.dtype)
        noise = torch.randn(count, m, dtype=wide, generator=rng, device=rng.device) * (self.noise / math.sqrt(m))
        return A.forward(x.to(A.dtype)) + noise.to(A.device, A.dtype), x

    def instance(self, signals: int = 50, *, seed: int = 0) -> Instance:
        """Signals to compare solvers on."""
        y, x = self.draw(signals, torch.Generator(self.A.device).manual_seed(seed))
        settings = {**self.settings, "signals": signals, "signals_seed": seed}
        return Instance(self.name, self.A, y, self.k, x, settings)

    def _placed(self, values: Tensor, rng: torch.Generator) -> Tensor:
        n = self.A.shape[1]
        if self.admissible is None:
            return on_random_support(values, n, rng)
        places = self.admissible.nonzero().squeeze(-1).to(values.device)
        chosen = on_random_support(values, len(places), rng)
        return values.new_zeros(len(values), n).index_copy(-1, places, chosen)


@dataclass(frozen=True, eq=False)
class BernoulliGaussian:
    """Signals of random sparsity, and measurements by one operator at a signal-to-noise ratio.

    Every entry is non-zero with probability `k / n`, and then Gaussian: real if `real`, else complex. The noise is
    white and Gaussian. Its standard deviation is `10^(-snr / 20)` times that of the entries of y without noise
    (unbiased, mean subtracted), for each signal.

    Attributes
    ----------
    name : str
    A : Operator
    k : int
        Expected number of non-zeros.
    real : bool
        Whether signals are real, though `A` may be complex.
    snr : float
        Signal-to-noise ratio in dB; infinity for no noise.
    settings : dict
        The arguments that made it.
    amplitude : Tensor (n,), optional
        Standard deviation of the non-zeros at each place. Default 1.

    References
    ----------
    Behrens, Sauder, Jung, "Neurally Augmented ALISTA", ICLR 2021, Section 4.

    Examples
    --------
    >>> import torch
    >>> ensemble = BernoulliGaussian("unit", Dense(torch.eye(100)), k=10, real=True, snr=40.0, settings={})
    >>> y, x = ensemble.draw(1000, torch.Generator().manual_seed(0))
    >>> round(float((x != 0).sum(-1).double().mean()))
    10
    """

    name: str
    A: Operator
    k: int
    real: bool
    snr: float
    settings: dict[str, Any]
    amplitude: Tensor | None = None
    admissible: None = None  # places are equally likely

    def __post_init__(self) -> None:
        n = self.A.shape[1]
        if not 1 <= self.k <= n:
            raise ValueError(f"k is {self.k}; needed is 1 <= k <= {n}, the number of unknowns.")
        if math.isnan(self.snr) or self.snr == -math.inf:
            raise ValueError(f"snr is {self.snr}; needed is a ratio in dB.")
        if not self.real and not self.A.dtype.is_complex:
            raise ValueError(
                f"the signals are complex, but the operator is {self.A.dtype}; use A.complexified(), or real=True."
            )
        if self.amplitude is not None and self.amplitude.shape != (n,):
            raise ValueError(f"amplitude has shape {tuple(self.amplitude.shape)}; needed is (n,) with n={n}.")

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """New signals: measurements `y (count, m)` in the operator's dtype and truth `x (count, n)`, real if `real`."""
        if count < 1:
            raise ValueError(f"{count} signals were asked for; needed is at least 1.")
        A, (m, n) = self.A, self.A.shape
        real = A.dtype.to_real()
        there = torch.rand(count, n, generator=rng, device=rng.device, dtype=real) < self.k / n
        dtype = real if self.real else A.dtype
        values = torch.randn(int(there.sum()), generator=rng, device=rng.device, dtype=dtype)
        x = torch.zeros(count, n, dtype=dtype, device=rng.device).masked_scatter(there, values).to(A.device)
        if self.amplitude is not None:
            x = x * self.amplitude.to(x)
        y = A.forward(x.to(A.dtype))
        noise = torch.randn(count, m, dtype=A.dtype, generator=rng, device=rng.device).to(A.device)
        return y + noise * (10 ** (-self.snr / 20) * y.std(dim=-1, keepdim=True)), x

    def instance(self, signals: int = 50, *, seed: int = 0) -> Instance:
        """Signals to compare solvers on."""
        y, x = self.draw(signals, torch.Generator(self.A.device).manual_seed(seed))
        settings = {**self.settings, "signals": signals, "signals_seed": seed}
        return Instance(self.name, self.A, y, self.k, x, settings)


@dataclass(frozen=True)
class Mixture:
    """Signals of one ensemble mixed with a share of signals of another, for example a harder one.

    Attributes
    ----------
    main, other : ensembles
    share : float
        Share of the signals that come from `other`, from 0 to 1.

    Raises
    ------
    ValueError
        If the share is not from 0 to 1, or the operators differ in shape.

    Examples
    --------
    >>> import torch
    >>> from dataclasses import replace
    >>> main = bernoulli_gaussian(n=100, m=50, k=5)
    >>> y, x = Mixture(main, replace(main, k=50), 0.25).draw(8, torch.Generator().manual_seed(0))
    >>> int(((x != 0).sum(-1) > 25).sum())
    2
    """

    main: BernoulliGaussian
    other: BernoulliGaussian
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is {self.share}; needed is a number from 0 to 1.")
        if self.main.A.shape != self.other.A.shape:
            raise ValueError(
                f"the operators have shapes {self.main.A.shape} and {self.other.A.shape}; needed are equal ones: make "
                "both ensembles with the same A."
            )

    @property
    def name(self) -> str:
        """Of the main ensemble."""
        return self.main.name

    @property
    def A(self) -> Operator:
        """Of the main ensemble."""
        return self.main.A

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that made both; the numbers of non-zeros may have been replaced since."""
        other = {**self.other.settings, "k": self.other.k}
        return {**self.main.settings, "k": self.main.k, "other": other, "share": self.share}

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """New signals as the ensembles draw them, in random order."""
        others = round(self.share * count)
        parts = [ensemble.draw(c, rng) for ensemble, c in ((self.main, count - others), (self.other, others)) if c]
        order = torch.randperm(count, generator=rng, device=rng.device).to(self.A.device)
        y, x = (torch.cat(values)[order] for values in zip(*parts, strict=True))
        return y, x


def bernoulli_gaussian(
    *,
    n: int = 1000,
    m: int = 250,
    k: int = 50,
    snr: float = 40.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> BernoulliGaussian:
    """The experiments of "Neurally Augmented ALISTA": Bernoulli-Gaussian signals, a Gaussian matrix with unit columns.

    Parameters
    ----------
    n, m, k : int
        Unknowns, measurements, expected number of non-zeros.
    snr : float
        Signal-to-noise ratio in dB; infinity for no noise.
    seed : int
        Of the matrix.
    dtype : real dtype
    device : optional

    Returns
    -------
    BernoulliGaussian

    Raises
    ------
    ValueError
        If the sizes do not fit together, or the dtype is not real.

    Examples
    --------
    >>> bernoulli_gaussian(n=20, m=10, k=2).A
    Dense(shape=(10, 20), dtype=torch.float32)
    """
    _check_real(dtype)
    check_sizes(n=n, m=m, k=k, signals=1)
    rng = torch.Generator().manual_seed(seed)
    matrix = gaussian_matrix(m, n, rng)
    settings = {"n": n, "m": m, "k": k, "snr": snr, "seed": seed}
    return BernoulliGaussian("bernoulli-gaussian", Dense(matrix.to(device, dtype)), k, True, snr, settings)


def ofdm(
    *,
    n: int = 256,
    m: int = 100,
    k: int = 8,
    snr: float = 10.0,
    period: int = 1024,
    band: tuple[int, int] = (212, 812),
    decay: float = 2.5,
    pilots: Sequence[int] | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str | None = None,
) -> BernoulliGaussian:
    """OFDM channel estimation from pilots: the communication experiment of "Neurally Augmented ALISTA".

    A channel of n taps, of which k are expected to be non-zero, is measured on m of `period` subcarriers. Taps are
    complex Gaussian, with amplitudes that decay as `exp(-decay j / n)`; the mean of `||x||^2` is 1. The columns of the
    operator have norm 1.

    Parameters
    ----------
    n, m, k : int
        Taps, pilots, expected number of non-zero taps.
    snr : float
        Signal-to-noise ratio in dB, on the pilots.
    period : int
        Number of subcarriers.
    band : pair of int
        Pilots are drawn without repetition from the subcarriers `band[0], ..., band[1] - 1`.
    decay : float
        Exponent by which amplitudes decay over the n taps.
    pilots : int sequence (m,), optional
        The pilots, instead of random ones; m is then their number.
    seed : int
        Seed of the pilots.
    dtype : complex dtype
    device : optional

    Returns
    -------
    BernoulliGaussian

    Raises
    ------
    ValueError
        If the sizes do not fit together, or the dtype is not complex.

    Examples
    --------
    >>> import torch
    >>> ensemble = ofdm(n=64, m=20, period=256, band=(50, 200))
    >>> ensemble.A
    SubsampledFourier(shape=(20, 64), dtype=torch.complex64)
    >>> y, x = ensemble.draw(1000, torch.Generator().manual_seed(0))
    >>> 0.8 < x.abs().square().sum(-1).mean().item() < 1.2
    True
    """
    if not dtype.is_complex:
        raise ValueError(f"dtype is {dtype}; channels are complex: use complex64 or complex128.")
    low, high = band
    if not 0 <= low < high <= period or n > period:
        raise ValueError(
            f"band is {band}, n is {n}, period is {period}; needed are 0 <= band[0] < band[1] <= period, n <= period."
        )
    rows = _pilots(m, low, high, seed) if pilots is None else torch.as_tensor(pilots)
    check_sizes(n=n, m=len(rows), k=k, signals=1)
    A = SubsampledFourier(rows.to(device), n, period=period, dtype=dtype)
    fading = torch.exp(-decay / n * torch.arange(n, dtype=torch.float64))
    amplitude = fading / (k / n * fading.square().sum()).sqrt()  # E ||x||^2 = k / n sum of its squares = 1
    settings = {
        "n": n, "m": len(rows), "k": k, "snr": snr, "period": period, "band": list(band), "decay": decay, "seed": seed,
        "pilots": rows.tolist(),
    }  # fmt: skip
    return BernoulliGaussian("ofdm", A, k, False, snr, settings, amplitude.to(device))


def _pilots(m: int, low: int, high: int, seed: int) -> Tensor:
    if not 1 <= m <= high - low:
        raise ValueError(f"m is {m}; needed is 1 <= m <= {high - low}, the number of subcarriers in the band.")
    rng = torch.Generator().manual_seed(seed)
    return torch.randperm(high - low, generator=rng, device=rng.device)[:m].sort().values + low


def fourier_levels(
    *,
    n: int = 256,
    m: int = 20,
    k: int = 10,
    admissible: int = 20,
    noise: float = 1e-3,
    seed: int = 0,
    complex_signals: bool = False,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str | None = None,
) -> Ensemble:
    """Signals whose non-zeros always lie in the same unknown set of places, measured by few Fourier samples.

    The matrix has m distinct random frequencies between `-n/2 + 1` and `n/2 - 1`, and columns of norm one. The
    non-zeros of all signals lie among the same random `admissible` places. A seed gives the same matrix and places on
    any device.

    Parameters
    ----------
    n, m, k : int
        Unknowns, measured frequencies, non-zeros.
    admissible : int
        How many places the non-zeros are drawn from.
    noise : float
        Root mean square norm of the complex noise in y; signals have norm 1.
    seed : int
    complex_signals : bool
        Complex Gaussian values instead of real ones.
    dtype : complex dtype
    device : optional

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError
        If the sizes do not fit together, or the dtype is not complex.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661, the experiments on OMP-Net and IHT-Net.

    Examples
    --------
    >>> import torch
    >>> ensemble = fourier_levels(n=16, m=6, k=2, admissible=4)
    >>> y, x = ensemble.draw(3, torch.Generator().manual_seed(0))
    >>> y.dtype, x.dtype
    (torch.complex64, torch.float32)
    >>> (x != 0).any(0) <= ensemble.admissible
    tensor([True, True, True, True, True, True, True, True, True, True, True, True,
            True, True, True, True])
    """
    top = (n - 1) // 2  # the frequency n/2 of an even n is left out
    if m > 2 * top + 1:
        raise ValueError(f"m is {m} and n is {n}; needed is m <= {2 * top + 1}, the number of frequencies below n/2.")
    if not dtype.is_complex:
        raise ValueError(f"dtype is {dtype}; a Fourier matrix is complex: use complex64 or complex128.")
    _check_levels(n, m, k, admissible)
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randperm(2 * top + 1, generator=rng, device=rng.device)[:m].sort().values - top
    matrix = SubsampledFourier(rows, n).to_dense()
    settings = {
        "n": n, "m": m, "k": k, "admissible": admissible, "noise": noise, "seed": seed,
        "complex_signals": complex_signals,
    }  # fmt: skip
    return _levels("fourier-levels", matrix.to(device, dtype), settings, rng, real=not complex_signals)


def gaussian_levels(
    *,
    n: int = 256,
    m: int = 20,
    k: int = 10,
    admissible: int = 20,
    noise: float = 1e-3,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Ensemble:
    """The signals of `fourier_levels`, measured by a real Gaussian matrix with columns of norm one.

    Parameters
    ----------
    n, m, k : int
        Unknowns, measurements, non-zeros.
    admissible : int
        How many places the non-zeros are drawn from.
    noise : float
        Root mean square norm of the noise in y; signals have norm 1.
    seed : int
    dtype : real dtype
    device : optional

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError
        If the sizes do not fit together, or the dtype is not real.

    Examples
    --------
    >>> ensemble = gaussian_levels(n=16, m=6, k=2, admissible=4)
    >>> ensemble.A
    Dense(shape=(6, 16), dtype=torch.float32)
    >>> int(ensemble.admissible.sum())
    4
    """
    _check_real(dtype)
    _check_levels(n, m, k, admissible)
    rng = torch.Generator().manual_seed(seed)
    matrix = gaussian_matrix(m, n, rng)
    settings = {"n": n, "m": m, "k": k, "admissible": admissible, "noise": noise, "seed": seed}
    return _levels("gaussian-levels", matrix.to(device, dtype), settings, rng, real=True)


def _check_real(dtype: torch.dtype) -> None:
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype is {dtype}; this matrix is real: use float32 or float64.")


def _check_levels(n: int, m: int, k: int, admissible: int) -> None:
    check_sizes(n=n, m=m, k=k, signals=1)
    if not k <= admissible <= n:
        raise ValueError(f"admissible is {admissible}; needed is {k} <= admissible <= {n}, between k and n.")


def _levels(name: str, matrix: Tensor, settings: dict[str, Any], rng: torch.Generator, *, real: bool) -> Ensemble:
    places = torch.randperm(settings["n"], generator=rng, device=rng.device)[: settings["admissible"]]
    weights = torch.zeros(settings["n"], dtype=matrix.dtype.to_real(), device=rng.device).index_fill(0, places, 1)
    return Ensemble(name, Dense(matrix), settings["k"], real, settings["noise"], settings, weights.to(matrix.device))
