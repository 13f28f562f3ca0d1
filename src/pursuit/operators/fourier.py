"""Selected rows of the discrete Fourier transform."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from .base import Operator


class SubsampledFourier(Operator):
    """Selected rows of the discrete Fourier transform, by FFT.

    `(A x)_i = scale * sum_j exp(-2 pi i rows_i j / period) x_j`

    Parameters
    ----------
    rows : int sequence (m,), or bool sequence (period,)
        Frequencies, taken modulo `period`; or a mask that is true at those measured.
    n : int
        Signal length.
    period : int, default n
        Length of the transform, at least `n`: shorter signals are padded with zeros. For example, an OFDM channel of n
        taps is measured on pilots among `period` subcarriers.
    scale : float, default 1 / sqrt(m)
        The default gives columns of norm one.
    dtype : complex dtype, default torch.complex128
    device : optional

    Raises
    ------
    ValueError
        If the rows are not whole numbers, the period is shorter than the signal or the dtype is not complex.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = pursuit.SubsampledFourier([0, 2], n=4, scale=1)
    >>> A.forward(torch.tensor([1, 2, 3, 4], dtype=A.dtype)).real
    tensor([10., -2.], dtype=torch.float64)
    >>> pilots = pursuit.SubsampledFourier([0, 16, 32, 48], n=3, period=64, scale=1)
    >>> pilots.forward(torch.tensor([1, 0, 1], dtype=A.dtype)).real.round()
    tensor([2., 0., 2., 0.], dtype=torch.float64)
    """

    def __init__(
        self,
        rows: Tensor | Sequence[int] | NDArray[Any],
        n: int,
        *,
        period: int | None = None,
        scale: float | None = None,
        dtype: torch.dtype = torch.complex128,
        device: torch.device | str | None = None,
    ):
        rows = torch.as_tensor(rows, device=rows.device if isinstance(rows, Tensor) and device is None else device)
        if rows.dtype == torch.bool:
            rows = _measured(rows, n if period is None else period)
        if rows.ndim != 1 or rows.is_floating_point() or rows.is_complex() or rows.numel() == 0:
            raise ValueError(
                f"rows has shape {tuple(rows.shape)} and dtype {rows.dtype}; needed is a list of whole frequencies."
            )
        if not dtype.is_complex:
            raise ValueError(f"dtype is {dtype}; a Fourier operator is complex: use complex64 or complex128.")
        self.period = n if period is None else period
        if self.period < n:
            raise ValueError(
                f"period is {period} and the signal has n={n} samples; needed is period >= n, because a longer signal "
                "would wrap around."
            )
        self.rows = rows.long() % self.period
        self.shape = (rows.numel(), n)
        self.scale = 1 / math.sqrt(rows.numel()) if scale is None else float(scale)
        self.dtype, self.device = dtype, rows.device

    def hint(self, shape: torch.Size) -> str:
        if shape[-1:] != (self.period,):
            return ""
        return (
            "If y is a whole spectrum, with zeros where nothing was measured, pass y[..., rows], with the rows or the "
            "mask of the operator."
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * fft(x, self.period)[..., self.rows]

    def adjoint(self, y: Tensor) -> Tensor:
        spectrum = y.new_zeros(*y.shape[:-1], self.period).index_add(-1, self.rows, y)
        return ifft(spectrum)[..., : self.shape[1]] * (self.period * self.scale)

    def columns(self, index: Tensor) -> Tensor:
        # Whole turns are removed in integers, so the angle keeps its digits for long signals.
        turns = (self.rows.unsqueeze(-1) * index.unsqueeze(-2) % self.period).double() / self.period
        return (self.scale * torch.exp(-2j * math.pi * turns)).to(self.dtype)

    def column_norms(self) -> Tensor:
        m, n = self.shape
        real = torch.empty(0, dtype=self.dtype).real.dtype
        return torch.full((n,), abs(self.scale) * math.sqrt(m), dtype=real, device=self.device)


def _measured(mask: Tensor, period: int) -> Tensor:
    """The frequencies at which a mask is true."""
    if mask.shape != (period,):
        raise ValueError(
            f"rows is a mask of shape {tuple(mask.shape)}; needed is one of {period} entries, one per frequency: take "
            "the mask of one axis, or pass the numbers of the frequencies."
        )
    return mask.nonzero().squeeze(-1)


def fft(x: Tensor, n: int | None = None) -> Tensor:
    """The FFT of the last axis, padded to `n`, also for an empty batch, for which that of MKL fails."""
    return torch.fft.fft(x, n=n, dim=-1) if x.numel() else x.new_zeros(*x.shape[:-1], n or x.shape[-1]) + 0j


def ifft(x: Tensor) -> Tensor:
    return torch.fft.ifft(x, dim=-1) if x.numel() else x
