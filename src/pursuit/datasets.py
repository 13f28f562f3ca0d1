"""Real data that other packages ship."""

from __future__ import annotations

import math

import torch

from .operators import Dense
from .problems import Instance, check_sizes

WAVELET = "db4"
RATE = 360.0  # Hz, taken from the MIT-BIH records: PyWavelets does not tell it; beats are then 0.9 s apart


def ecg(*, n: int = 512, m: int = 256, k: int = 64, hop: int = 64, seed: int = 0) -> Instance:
    """The electrocardiogram that PyWavelets ships, cut into windows and measured with a Gaussian matrix.

    The unknowns are the coefficients in the orthonormal Daubechies-4 basis, periodic at the window's ends.

    Parameters
    ----------
    n, hop : int
        Length of a window and distance to the next, in samples; n is a power of two.
    m : int
        Measurements per window.
    k : int
        Coefficients to recover per window.
    seed : int
        Seed of the matrix.

    Raises
    ------
    ModuleNotFoundError
        If PyWavelets is not installed (`pip install 'pursuit[data]'`).

    Examples
    --------
    >>> ecg().y.shape
    torch.Size([9, 256])
    """
    import pywt

    record = torch.from_numpy(pywt.data.ecg()).double()
    if n & (n - 1) or not 16 <= n <= len(record):
        raise ValueError(f"a window of {n} samples was asked for; needed is a power of two from 16 to {len(record)}.")
    windows = record.unfold(0, n, hop)
    check_sizes(n=n, m=m, k=k, signals=len(windows))
    basis = wavelet_basis(n)
    rng = torch.Generator().manual_seed(seed)
    measure = torch.randn(m, n, dtype=torch.float64, generator=rng, device=rng.device) / math.sqrt(m)
    return Instance(
        name="ecg",
        A=Dense(measure @ basis),
        y=windows @ measure.mT,
        k=k,
        x=windows @ basis,
        synthesis=Dense(basis),
        settings={"n": n, "m": m, "k": k, "hop": hop, "wavelet": WAVELET, "signals": len(windows), "seed": seed},
        labels=("time (s, if sampled at 360 Hz)", "ECG (ADC units)"),
        rate=RATE,
    )


def wavelet_basis(n: int) -> torch.Tensor:
    """The orthonormal Daubechies-4 synthesis matrix, `signal = basis @ coefficients`, `(n, n)`."""
    import numpy as np
    import pywt

    level = pywt.dwt_max_level(n, WAVELET)
    parts = pywt.wavedec(np.eye(n), WAVELET, mode="periodization", level=level, axis=-1)
    return torch.from_numpy(np.concatenate(parts, axis=-1))
