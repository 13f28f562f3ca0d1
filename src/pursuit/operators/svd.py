"""The singular value decomposition of an operator, by FFT where it is a circular convolution."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .base import ColumnScaled, Operator
from .convolution import Convolution
from .dense import Dense
from .fourier import fft, ifft

MOST = 2**33  # a matrix is decomposed if min(m, n)^2 max(m, n), about the number of products, is at most so large


class SVD(NamedTuple):
    """`A = U diag(values) V^H` in double precision, without a derivative.

    Attributes
    ----------
    left : Operator
        `U^H`, which takes measurements.
    values : Tensor (*batch_shape, r)
        The singular values, in no order.
    right : Operator
        `V^H`, which takes signals.
    """

    left: Operator
    values: Tensor
    right: Operator


class Waves(Operator):
    """The unitary Fourier transform times `phase (*batch, rows)`; real signals become pairs of real numbers.

    Of a real signal, half of the frequencies tell all: they are counted twice, so that lengths stay.
    """

    def __init__(self, phase: Tensor, n: int, *, real: bool):
        self.phase, self.real = phase, real
        rows = phase.shape[-1]
        self.shape = (2 * rows if real else n, n)
        self.dtype, self.device = phase.real.dtype if real else phase.dtype, phase.device
        self.batch_shape = phase.shape[:-1]
        twice = phase.real.new_full((rows,), 2**0.5)
        twice[0] = 1
        if n % 2 == 0:
            twice[-1] = 1
        self._size = n**-0.5 * (twice if real else torch.ones_like(twice))

    def forward(self, x: Tensor) -> Tensor:
        if not self.real:
            return self._size * self.phase * fft(x)
        return torch.view_as_real(self._size * self.phase * _half(x)).flatten(-2)

    def adjoint(self, y: Tensor) -> Tensor:
        n = self.shape[1]
        if not self.real:
            return n * ifft(self._size * self.phase.conj() * y)
        pairs = torch.view_as_complex(y.unflatten(-1, (-1, 2)).contiguous())
        waves = self.phase.conj() * pairs / (n * self._size)
        return torch.fft.irfft(n * waves, n=n) if y.numel() else y.new_zeros(*y.shape[:-1], n)


def svd(A: Operator) -> SVD | None:
    """The decomposition; None where `A` is no circular convolution and too large as a matrix."""
    blur = A.operator if isinstance(A, ColumnScaled) else A
    if isinstance(blur, Convolution) and blur.boundary == "circular":
        return _of_convolution(blur, A.scale if isinstance(A, ColumnScaled) else None)
    m, n = A.shape
    if min(m, n) ** 2 * max(m, n) > MOST:
        return None
    parts = A.kept("svd", lambda: _of_matrix(A.to_dense().detach()))
    left, values, right = parts.split((m, 1, n), dim=-1)
    return SVD(Dense(left), values.squeeze(-1).real, Dense(right))


def _of_matrix(matrix: Tensor) -> Tensor:
    """`U^H`, the singular values and `V^H`, side by side."""
    U, s, V = torch.linalg.svd(matrix.to(_double(matrix)), full_matrices=False)
    return torch.cat([U.mH, s.unsqueeze(-1).to(U.dtype), V], dim=-1)


def _of_convolution(blur: Convolution, scale: Tensor | None) -> SVD:
    """All columns of a circular convolution have one norm, and so one factor of `scale`."""
    kernel, n = blur.kernel.detach(), blur.shape[1]
    padded = torch.nn.functional.pad(kernel.to(_double(kernel)), (0, n - kernel.shape[-1]))
    centred = padded.roll(-(kernel.shape[-1] // 2), -1)
    real = not kernel.is_complex()
    spectrum = _half(centred) if real else fft(centred)
    if scale is not None:
        spectrum = scale.detach()[..., :1].to(spectrum) * spectrum
    values = spectrum.abs()
    phase = torch.where(values > 0, spectrum / torch.where(values > 0, values, 1), 1)
    ones = torch.ones_like(phase)
    values = values.repeat_interleave(2, dim=-1) if real else values
    return SVD(Waves(ones, n, real=real), values, Waves(phase, n, real=real))


def _half(x: Tensor) -> Tensor:
    """The FFT of a real signal at half of the frequencies, also for an empty batch."""
    if x.numel():
        return torch.fft.rfft(x)
    return x.new_zeros(*x.shape[:-1], x.shape[-1] // 2 + 1) + 0j


def _double(values: Tensor) -> torch.dtype:
    return torch.complex128 if values.is_complex() else torch.float64
