"""Selected rows of the discrete Fourier transform."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .base import Operator
from .sampling import Shape, axes, indices


class SubsampledFourier(Operator):
    """Selected rows of the discrete Fourier transform, in one or more dimensions, by FFT.

    `(A x)_i = scale * sum_j exp(-2 pi i sum_d rows_id j_d / period_d) x_j`

    Parameters
    ----------
    rows : int array (m,), bool mask, or int array (m, d); optional
        Frequencies. A mask has the shape of the spectrum, which is `period`, with frequency zero first: a mask with
        zero in the middle is taken as `torch.fft.ifftshift(mask)`. Numbers are taken modulo `period`; `(m, d)` is one
        number per axis, and `(m,)` counts the flattened spectrum. Default: all frequencies.
    n : int
        Length of a signal with one axis.
    shape : sequence of int
        In the place of `n`: shape of a signal with several axes. Signals are passed flattened, `(*batch, n)` with the
        product n, for example `image.flatten(-2)`.
    period : int or sequence of int, default the signal's shape
        Lengths of the transform, at least those of the signal: shorter signals are padded with zeros. For example, an
        OFDM channel of n taps is measured on pilots among `period` subcarriers.
    scale : float, default 1 / sqrt(m)
        The default gives columns of norm one.
    dtype : complex dtype, default torch.complex128
    device : optional

    Raises
    ------
    ValueError
        If the rows are not frequencies, the period is shorter than the signal or the dtype is not complex.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = pursuit.SubsampledFourier([0, 2], n=4, scale=1)
    >>> A.forward(torch.tensor([1, 2, 3, 4], dtype=A.dtype)).real
    tensor([10., -2.], dtype=torch.float64)
    >>> pilots = pursuit.SubsampledFourier([0, 16, 32, 48], n=3, period=64, scale=1)
    >>> pilots.forward(torch.tensor([1, 0, 1], dtype=A.dtype)).real.round()
    tensor([2., 0., 2., 0.], dtype=torch.float64)
    >>> sampled = torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) < 0.3
    >>> A, image = pursuit.SubsampledFourier(sampled, shape=(16, 16)), torch.zeros(16, 16, dtype=torch.complex128)
    >>> image[[3, 9], [4, 1]] = 1
    >>> pursuit.omp(A, A @ image.flatten(), k=2).support.sort().values
    tensor([ 52, 145])
    """

    def __init__(
        self,
        rows: Any = None,
        n: int | None = None,
        *,
        shape: Shape | None = None,
        period: Shape | None = None,
        scale: float | None = None,
        dtype: torch.dtype = torch.complex128,
        device: torch.device | str | None = None,
    ):
        if (n is None) == (shape is None):
            raise ValueError("needed is either n, the length of a signal, or shape, for a signal with several axes.")
        self.signal_shape = axes("n", n) if shape is None else axes("shape", shape)  # type: ignore[arg-type]
        self.periods = self.signal_shape if period is None else axes("period", period)
        self.period = math.prod(self.periods)
        if not dtype.is_complex:
            raise ValueError(f"dtype is {dtype}; a Fourier operator is complex: use complex64 or complex128.")
        if len(self.periods) != len(self.signal_shape) or any(map(int.__lt__, self.periods, self.signal_shape)):
            signal = f"the signal has n={n} samples" if shape is None else f"the signal has shape {self.signal_shape}"
            raise ValueError(
                f"period is {period} and {signal}; needed is period >= {'n' if shape is None else 'shape'}, because a "
                "longer signal would wrap around."
            )
        self.rows = indices(range(self.period) if rows is None else rows, self.periods, device, wrap=True)
        m = len(self.rows)
        self.shape = (m, math.prod(self.signal_shape))
        self.scale = 1 / math.sqrt(m) if scale is None else float(scale)
        self.dtype, self.device = dtype, self.rows.device

    def hint(self, shape: torch.Size) -> str:
        if shape[-1:] != (self.period,):
            return ""
        return (
            "If y is a whole spectrum, with zeros where nothing was measured, pass y[..., rows], with the rows or the "
            "mask of the operator."
        )

    def forward(self, x: Tensor) -> Tensor:
        spectrum = fftn(x.unflatten(-1, self.signal_shape), self.periods)
        return self.scale * spectrum.flatten(-len(self.periods))[..., self.rows]

    def adjoint(self, y: Tensor) -> Tensor:
        spectrum = y.new_zeros(*y.shape[:-1], self.period).index_add(-1, self.rows, y)
        signal = ifftn(spectrum.unflatten(-1, self.periods), len(self.periods))
        for axis, size in enumerate(self.signal_shape):
            signal = signal.narrow(axis - len(self.signal_shape), 0, size)
        return signal.flatten(-len(self.periods)) * (self.period * self.scale)

    def columns(self, index: Tensor) -> Tensor:
        # Whole turns are removed in integers, so the angle keeps its digits for long signals.
        rows, entries = torch.unravel_index(self.rows, self.periods), torch.unravel_index(index, self.signal_shape)
        turns = [
            (row.unsqueeze(-1) * entry.unsqueeze(-2) % period).double() / period
            for row, entry, period in zip(rows, entries, self.periods, strict=True)
        ]
        return (self.scale * torch.exp(-2j * math.pi * torch.stack(turns).sum(0))).to(self.dtype)

    def column_norms(self) -> Tensor:
        m, n = self.shape
        return torch.full((n,), abs(self.scale) * math.sqrt(m), dtype=self.dtype.to_real(), device=self.device)

    def norm2(self) -> Tensor:
        if self.periods != self.signal_shape:
            return super().norm2()
        most = torch.bincount(self.rows).amax().to(self.dtype.to_real())  # equal rows add up, others are orthogonal
        return self.scale**2 * self.period * most

    @property
    def unitary(self) -> bool:
        whole = self.shape == (self.period, self.period) and len(self.rows.unique()) == self.period
        return whole and math.isclose(self.scale**2 * self.period, 1)


def fftn(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The FFT of the last axes, padded to `sizes`, also for an empty batch, for which that of MKL fails."""
    if not x.numel():
        return x.new_zeros(*x.shape[: -len(sizes)], *sizes) + 0j
    return torch.fft.fftn(x, s=sizes, dim=tuple(range(-len(sizes), 0)))


def ifftn(x: Tensor, count: int) -> Tensor:
    """The inverse FFT of the last `count` axes."""
    return torch.fft.ifftn(x, dim=tuple(range(-count, 0))) if x.numel() else x


def fft(x: Tensor, n: int | None = None) -> Tensor:
    """The FFT of the last axis, padded to `n`."""
    return fftn(x, (n or x.shape[-1],))


def ifft(x: Tensor) -> Tensor:
    return ifftn(x, 1)
