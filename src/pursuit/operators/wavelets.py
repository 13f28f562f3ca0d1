"""Orthogonal wavelet transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import placed, whole_number
from .base import Operator, check_dtype
from .sampling import Shape, axes

ORTHOGONAL = 1e-6  # most error of a filter's inner products; the tables of PyWavelets have 10 digits or more


class Wavelet(Operator):
    """An orthogonal wavelet transform, periodic, in one or more dimensions.

    A signal with few wavelet coefficients `c` is `A.H @ c`: measure it by `Compose(B, A.H)`. The order of the
    coefficients is that of `pywt.coeffs_to_array(pywt.wavedecn(x, wavelet, "periodization", level))`: coarse ones first
    along every axis.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of a signal, divisible by `2**level` along every axis. Signals are passed flattened, `(*batch, n)` with
        the product n.
    wavelet : str or Tensor (length,), default "db4"
        An orthogonal wavelet of PyWavelets (haar, db, sym, coif), which is needed only for names; or its low-pass
        decomposition filter, which may require a gradient.
    level : int, optional
        How often the coarse part is divided again. Default: as often as the shape can be halved and the coarse part is
        not shorter than the filter without a tap (as `pywt.dwt_max_level`), at least once.
    dtype : default torch.float64
    device : optional

    Raises
    ------
    ImportError
        If PyWavelets is not installed (`pip install 'pursuit[wavelets]'`) and the wavelet is a name.
    TypeError, ValueError
        If there is no such wavelet, it is not orthogonal, or the shape cannot be halved so often.

    Examples
    --------
    >>> import torch, pursuit
    >>> haar = pursuit.Wavelet(8, torch.tensor([0.5, 0.5], dtype=torch.float64).sqrt(), level=3)
    >>> steps = haar.H @ torch.tensor([0, 2, 0, 0, 0, 0, 0, 0], dtype=torch.float64)
    >>> steps.round(decimals=4)
    tensor([ 0.7071,  0.7071,  0.7071,  0.7071, -0.7071, -0.7071, -0.7071, -0.7071],
           dtype=torch.float64)
    """

    def __init__(
        self,
        shape: Shape,
        wavelet: str | Tensor = "db4",
        level: int | None = None,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ):
        check_dtype("the operator", dtype)
        self.signal_shape = axes("shape", shape)
        n = math.prod(self.signal_shape)
        low = _named(wavelet) if isinstance(wavelet, str) else wavelet
        _check_orthogonal(wavelet, low)
        self.shape, self.dtype, self.device = (n, n), dtype, placed(torch.device(device or low.device))
        self.low = low.to(self.device, dtype.to_real())
        self.level = _deepest(self.signal_shape, len(low)) if level is None else whole_number("level", level)
        if any(size % 2**self.level for size in self.signal_shape):
            raise ValueError(
                f"shape is {shape} and level {self.level}; needed are lengths that {2**self.level} divides, to halve "
                "them so often: pad the signal with zeros, or take a lower level."
            )

    @property
    def unitary(self) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(-1, self.signal_shape)
        for coarse in self._corners():
            part = x[coarse]
            for axis in range(-len(self.signal_shape), 0):
                part = analysed(part.movedim(axis, -1), self.low).movedim(-1, axis)
            x = _replaced(x, coarse, part)
        return x.flatten(-len(self.signal_shape))

    def adjoint(self, y: Tensor) -> Tensor:
        y = y.unflatten(-1, self.signal_shape)
        for coarse in reversed(self._corners()):
            part = y[coarse]
            for axis in range(-len(self.signal_shape), 0):
                part = synthesised(part.movedim(axis, -1), self.low).movedim(-1, axis)
            y = _replaced(y, coarse, part)
        return y.flatten(-len(self.signal_shape))

    def column_norms(self) -> Tensor:
        return torch.ones(self.shape[1], dtype=self.dtype.to_real(), device=self.device)

    def norm2(self) -> Tensor:
        return torch.ones((), dtype=self.dtype.to_real(), device=self.device)

    def _corners(self) -> list[tuple]:
        """The coarse part of every level, which is the whole signal at the first."""
        return [(..., *(slice(size >> level) for size in self.signal_shape)) for level in range(self.level)]


def analysed(x: Tensor, low: Tensor) -> Tensor:
    """The coarse half and the fine half of the last axis: `a_k = sum_j low_j x[2k + length / 2 - j]`, high for fine."""
    phases, coarse, fine = (x[..., ::2], x[..., 1::2]), [], []
    for h, g, (half, odd) in _taps(low):
        sample = phases[odd].roll(-half, dims=-1)
        coarse.append(h * sample)
        fine.append(g * sample)
    return torch.cat([sum(coarse[1:], coarse[0]), sum(fine[1:], fine[0])], dim=-1)


def synthesised(c: Tensor, low: Tensor) -> Tensor:
    """The inverse of `analysed`, which is its adjoint."""
    coarse, fine = c.chunk(2, dim=-1)
    phases = [torch.zeros_like(coarse), torch.zeros_like(coarse)]
    for h, g, (half, odd) in _taps(low):
        phases[odd] = phases[odd] + (h * coarse + g * fine).roll(half, dims=-1)
    return torch.stack(phases, dim=-1).flatten(-2)


def _taps(low: Tensor) -> list[tuple[Tensor, Tensor, tuple[int, int]]]:
    """For every tap j: low-pass, high-pass, and the shift `length / 2 - j` as twice a number plus 0 or 1."""
    length = len(low)
    high = low.flip(0) * (-1) ** torch.arange(1, length + 1, device=low.device)
    return [(low[j], high[j], divmod(length // 2 - j, 2)) for j in range(length)]


def _replaced(x: Tensor, where: tuple, part: Tensor) -> Tensor:
    """`x` with another part."""
    if part.shape == x.shape:
        return part
    x = x.clone()
    x[where] = part
    return x


def _named(wavelet: str) -> Tensor:
    """The low-pass filter of an orthogonal wavelet of PyWavelets."""
    try:
        import pywt
    except ImportError as error:
        raise ImportError(
            f"the filter of {wavelet!r} is in PyWavelets, which is not installed: pip install 'pursuit[wavelets]', or "
            "pass the low-pass filter itself as wavelet.",
            name="pywt",
        ) from error
    if wavelet not in pywt.wavelist(kind="discrete"):
        raise ValueError(f"wavelet is {wavelet!r}; needed is an orthogonal one of pywt.wavelist(kind='discrete').")
    found = pywt.Wavelet(wavelet)
    if not found.orthogonal:
        raise ValueError(f"wavelet is {wavelet!r}, which is not orthogonal; take haar, db, sym or coif, e.g. 'db4'.")
    return torch.tensor(found.dec_lo, dtype=torch.float64, device="cpu")


def _check_orthogonal(wavelet: object, low: Tensor) -> None:
    if not isinstance(low, Tensor) or low.ndim != 1 or len(low) % 2 or not len(low) or not low.is_floating_point():
        raise ValueError(
            f"wavelet is {wavelet!r}; needed is a name, or an even number of real filter taps as a tensor."
        )
    taps = low.detach().double()
    for shift in range(0, len(taps), 2):
        error = (taps[shift:] @ taps[: len(taps) - shift] - int(shift == 0)).abs()
        if not error < max(ORTHOGONAL, 10 * torch.finfo(low.dtype).eps):
            raise ValueError(
                f"the filter of wavelet {wavelet!r} times itself shifted by {shift} is off by {error:.1e}; needed is "
                "an orthogonal wavelet: take haar, db, sym or coif, e.g. 'db4'."
            )


def _deepest(shape: Sequence[int], length: int) -> int:
    """How often all axes can be halved and are not shorter than the filter without a tap then, at least once."""
    level = 1
    while all(size % 2 ** (level + 1) == 0 and size >> (level + 1) >= length - 1 for size in shape):
        level += 1
    return level
