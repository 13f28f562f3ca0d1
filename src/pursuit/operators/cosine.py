"""The discrete cosine transform."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..checks import placed
from .base import Operator, check_dtype
from .fourier import fft, ifft
from .sampling import Shape, axes


class DCT(Operator):
    """The orthonormal discrete cosine transform (of type 2), in one or more dimensions, by FFT.

    A signal with few cosines `c` is `A.H @ c`: measure it by `Compose(B, A.H)`.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of a signal. Signals are passed flattened, `(*batch, n)` with the product n.
    dtype : default torch.float64
    device : optional

    Raises
    ------
    TypeError, ValueError
        If the shape has no axes or an empty one, or the dtype is none that solvers take.

    Examples
    --------
    >>> import torch, pursuit
    >>> cosines = pursuit.DCT(64)
    >>> c = torch.zeros(64, dtype=torch.float64)
    >>> c[[3, 20]] = torch.tensor([2.0, -1.0], dtype=torch.float64)
    >>> A = pursuit.Compose(pursuit.Restriction(range(0, 64, 3), 64), cosines.H)
    >>> pursuit.omp(A, A @ c, k=2).support
    tensor([ 3, 20])
    """

    def __init__(self, shape: Shape, *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None):
        check_dtype("the operator", dtype)
        self.signal_shape = axes("shape", shape)
        n = math.prod(self.signal_shape)
        self.shape, self.dtype, self.device = (n, n), dtype, placed(torch.device(device or "cpu"))
        self._rows = [self._turned(size) for size in self.signal_shape]

    @property
    def unitary(self) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        return self._on_all_axes(_cosines, x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._on_all_axes(_signal, y)

    def column_norms(self) -> Tensor:
        return torch.ones(self.shape[1], dtype=self.dtype.to_real(), device=self.device)

    def norm2(self) -> Tensor:
        return torch.ones((), dtype=self.dtype.to_real(), device=self.device)

    def _turned(self, size: int) -> Tensor:
        """`s_k exp(-i pi k / 2N)` for every k; `s_k` makes row k of the transform a unit vector."""
        k = torch.arange(size, dtype=torch.float64, device=self.device)
        values = torch.exp(-0.5j * math.pi / size * k) * ((1 + (k > 0)).double() / size).sqrt()
        return values.to(self.dtype.to_complex())

    def _on_all_axes(self, transform: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
        x = x.unflatten(-1, self.signal_shape)
        for axis, turned in enumerate(self._rows, start=-len(self._rows)):
            x = transform(x.movedim(axis, -1), turned).movedim(-1, axis)
        return x.flatten(-len(self._rows))


def _cosines(x: Tensor, turned: Tensor) -> Tensor:
    """`X_k = s_k sum_n x_n cos(pi (2n + 1) k / 2N)`: the even samples, then the odd ones backwards, by one FFT."""
    spectrum = fft(torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], dim=-1))
    if not x.is_complex():
        return (turned * spectrum).real
    mirrored = torch.cat([spectrum[..., :1], spectrum[..., 1:].flip(-1)], dim=-1)
    return (turned * spectrum + turned.conj() * mirrored) / 2


def _signal(X: Tensor, turned: Tensor) -> Tensor:
    """The inverse of `_cosines`, which is its adjoint."""
    size = X.shape[-1]
    mirrored = torch.cat([torch.zeros_like(X[..., :1]), X[..., 1:].flip(-1)], dim=-1)
    v = ifft((X - 1j * mirrored) / turned)
    v = v if X.is_complex() else v.real
    even = (size + 1) // 2
    odd = torch.cat([v[..., even:].flip(-1), v.new_zeros(*v.shape[:-1], 2 * even - size)], dim=-1)
    return torch.stack([v[..., :even], odd], dim=-1).flatten(-2)[..., :size]
