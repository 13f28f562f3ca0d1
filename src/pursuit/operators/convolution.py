"""Convolution by FFT."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Operator, check_dtype, gather_last, kept_items
from .fourier import fft, ifft


class Convolution(Operator):
    """Convolution with a kernel, by FFT.

    Parameters
    ----------
    kernel : Tensor (*batch, length)
        Real or complex; `length <= n`.
    n : int
        Signal length.
    boundary : {"circular", "full", "same", "valid"}
        How the ends are treated. "circular" wraps around (m = n); "full" keeps all samples (m = n + length - 1);
        "same" pads with zeros and keeps the central n; "valid" keeps only samples that the whole kernel covers
        (m = n - length + 1). For "circular" and "same" the kernel is centred at its sample `length // 2`, so that a
        spike stays at its place.

    Raises
    ------
    ValueError
        If the kernel is empty or longer than the signal, or the boundary is none of these.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = pursuit.Convolution(torch.tensor([1.0, 2.0, 1.0]), n=5, boundary="same")
    >>> A.forward(torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])).round(decimals=4).abs()
    tensor([0., 1., 2., 1., 0.])
    """

    def __init__(self, kernel: Tensor, n: int, boundary: str = "circular"):
        length = kernel.shape[-1] if kernel.ndim else 0
        if not 1 <= length <= n:
            raise ValueError(f"the kernel has {length} samples and the signal n={n}; needed is 1 <= length <= n.")
        check_dtype("kernel", kernel.dtype)
        # Each mode is a window of a circular convolution of length `period`, starting at `start`.
        windows = {
            "circular": (n, n, length // 2),
            "full": (n + length - 1, n + length - 1, 0),
            "same": (n + length - 1, n, length // 2),
            "valid": (n + length - 1, n - length + 1, length - 1),
        }
        if boundary not in windows:
            raise ValueError(f"boundary is {boundary!r}; choose one of {', '.join(map(repr, windows))}.")
        self.boundary = boundary
        self.period, m, start = windows[boundary]
        self.kernel = kernel
        self.shape = (m, n)
        self.dtype, self.device = kernel.dtype, kernel.device
        self.batch_shape = kernel.shape[:-1]
        self._start = start
        self._window = (start + torch.arange(m, device=kernel.device)) % self.period
        self._spectrum = fft(kernel, self.period)

    def forward(self, x: Tensor) -> Tensor:
        full = ifft(self._spectrum * fft(x, self.period))
        return self._as_dtype(full[..., self._window])

    def adjoint(self, y: Tensor) -> Tensor:
        full = y.new_zeros(*y.shape[:-1], self.period).index_copy(-1, self._window, y)
        back = ifft(self._spectrum.conj() * fft(full))
        return self._as_dtype(back[..., : self.shape[1]])

    def columns(self, index: Tensor) -> Tensor:
        lag = (self._window.unsqueeze(-1) - index.unsqueeze(-2)) % self.period
        pad = self.period - self.kernel.shape[-1]
        kernel = torch.nn.functional.pad(self.kernel, (0, pad))
        return gather_last(kernel, lag.flatten(-2)).unflatten(-1, lag.shape[-2:])

    def column_norms(self) -> Tensor:
        (m, n), length = self.shape, self.kernel.shape[-1]
        if self.boundary == "circular":  # every column holds the whole kernel, as those of "full" do
            return Convolution(self.kernel, n, "full").column_norms()
        # Column j holds the kernel's samples from start - j on, m of them.
        energy = torch.nn.functional.pad(self.kernel.abs().square(), (n - 1 - self._start, self._start + m - length))
        squared = _window_sums(energy, m).flip(-1)
        positive = squared > 0  # guards the derivative of the square root at zero
        return torch.where(positive, torch.where(positive, squared, 1).sqrt(), 0)

    def norm2(self) -> Tensor:
        if self.boundary != "circular":
            return super().norm2()
        return self._spectrum.detach().abs().square().amax(-1)

    def items(self, keep: Tensor) -> Operator:
        if not self.batch_shape:
            return self
        return Convolution(kept_items(self.kernel, keep, own=1), self.shape[1], self.boundary)

    def with_inner_batch(self) -> Operator:
        return Convolution(self.kernel.unsqueeze(-2), self.shape[1], self.boundary) if self.batch_shape else self

    def _as_dtype(self, values: Tensor) -> Tensor:
        return values if self.dtype.is_complex else values.real


def _window_sums(values: Tensor, width: int) -> Tensor:
    """The sum of every `width` neighbours along the last axis, without subtraction: small sums keep their digits."""
    blocks = torch.nn.functional.pad(values, (0, -values.shape[-1] % width)).unflatten(-1, (-1, width))
    until = blocks.cumsum(-1).flatten(-2)  # from the start of the block
    after = blocks.flip(-1).cumsum(-1).flip(-1).flatten(-2)  # to its end
    first = torch.arange(values.shape[-1] - width + 1, device=values.device)
    return after[..., first] + torch.where(first % width == 0, 0, until[..., first + width - 1])
