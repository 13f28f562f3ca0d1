"""Some entries of a signal, and how masks and indices name them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .base import Operator, check_dtype

Shape = int | Sequence[int]


class Restriction(Operator):
    """Some entries of a signal: `(A x)_i = x[rows_i]`. `Compose(Restriction(rows, m), A)` takes these rows of A.

    Parameters
    ----------
    rows : bool mask of this shape, or whole numbers (m,)
        Which entries; numbers count the flattened signal, negative ones from its end. An array `(m, d)` of whole
        numbers names entries of a signal with d axes.
    shape : int or sequence of int
        Shape of a signal. Signals are passed flattened, `(*batch, n)` with the product n.
    dtype : default torch.float64
    device : optional

    Raises
    ------
    TypeError, ValueError
        If the rows are neither a mask of this shape nor indices into it, or the dtype is none that solvers take.

    Examples
    --------
    >>> import torch, pursuit
    >>> seen = torch.tensor([[True, False], [False, True]])
    >>> pursuit.Restriction(seen, (2, 2)).forward(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    tensor([1., 4.], dtype=torch.float64)
    """

    def __init__(
        self,
        rows: Any,
        shape: Shape,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ):
        check_dtype("the operator", dtype)
        self.signal_shape = axes("shape", shape)
        self.rows = indices(rows, self.signal_shape, device)
        self.shape = (len(self.rows), math.prod(self.signal_shape))
        self.dtype, self.device = dtype, self.rows.device

    def forward(self, x: Tensor) -> Tensor:
        return x[..., self.rows]

    def adjoint(self, y: Tensor) -> Tensor:
        return y.new_zeros(*y.shape[:-1], self.shape[1]).index_add(-1, self.rows, y)

    def columns(self, index: Tensor) -> Tensor:
        return (self.rows.unsqueeze(-1) == index.unsqueeze(-2)).to(self.dtype)

    def column_norms(self) -> Tensor:
        return self._times().sqrt()

    def norm2(self) -> Tensor:
        return self._times().amax()

    def _times(self) -> Tensor:
        """How often each entry is taken."""
        return torch.bincount(self.rows, minlength=self.shape[1]).to(self.dtype.to_real())


def axes(name: str, shape: Shape) -> tuple[int, ...]:
    """The shape as a tuple of whole numbers >= 1."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if not sizes or not all(isinstance(size, int) and size >= 1 for size in sizes):
        raise ValueError(f"{name} is {shape!r}; needed is a whole number >= 1, or one per axis.")
    return sizes


def indices(rows: Any, shape: tuple[int, ...], device: Any = None, *, wrap: bool = False) -> Tensor:
    """Numbers of the flattened entries `(m,)`, from a mask or from indices; with `wrap` these count round and round."""
    given = torch.as_tensor(rows, device=rows.device if isinstance(rows, Tensor) and device is None else device)
    needed = f"a mask of shape {shape}, whole numbers (m,), or an array (m, {len(shape)}) of them"
    if given.numel() == 0 or given.is_floating_point() or given.is_complex():
        raise ValueError(f"rows has shape {tuple(given.shape)} and dtype {given.dtype}; needed is {needed}.")
    if given.dtype == torch.bool:
        return _of_mask(given, shape, needed)
    sizes = torch.tensor(shape if given.ndim == 2 else [math.prod(shape)], device=given.device)
    if given.ndim > 2 or given.ndim == 0 or (given.ndim == 2 and given.shape[-1] != len(shape)):
        raise ValueError(f"rows has shape {tuple(given.shape)}; needed is {needed}.")
    places = given.long() if given.ndim == 2 else given.long().unsqueeze(-1)
    if not wrap and ((places < -sizes) | (places >= sizes)).any():
        raise ValueError(
            f"rows go from {int(places.min())} to {int(places.max())}, and the signal has shape {shape}; needed are "
            "indices of its entries, from 0."
        )
    strides = sizes.flip(0).cumprod(0).flip(0) // sizes
    return (places % sizes * strides).sum(-1)


def _of_mask(mask: Tensor, shape: tuple[int, ...], needed: str) -> Tensor:
    if tuple(mask.shape) not in (shape, (math.prod(shape),)):
        raise ValueError(f"rows is a mask of shape {tuple(mask.shape)}; needed is {needed}.")
    if not mask.any():
        raise ValueError("rows is a mask that takes no entry; needed is at least one that is true.")
    return mask.flatten().nonzero().squeeze(-1)
