"""What a kernel takes and gives: plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Data(NamedTuple):
    """One flat batch, in the caller's precision; the same for every algorithm and device."""

    A: Tensor  # (1 or items, m, n), columns of norm one
    gram: Callable[[], Tensor]  # -> A^H A (1 or items, n, n)
    y: Tensor  # (items, m)
    weights: Tensor  # (1 or items, n); an atom of weight 0 is never chosen
    k: Tensor  # (items,) int64
    target: Tensor  # (items,) residual norm at which an item is done
    max_steps: Tensor  # (items,) int64
    eta: Tensor | None  # (items,)
    most: int  # the largest k
    tolerance: float  # of the rank
    full: int  # Status of an item with k atoms
    at_budget: int  # Status where max_steps is reached
    held: bool = False  # whether the Gram matrix is there already


class Found(NamedTuple):
    """What became of every item. Status RUNNING: the kernel declined it."""

    support: Tensor  # (items, most) int64 in order of selection, -1 at the end
    steps: Tensor  # (items,) int64
    status: Tensor  # (items,) int64
    x: Tensor | None = None  # only of solvers that iterate values
    z: Tensor | None = None  # (items, most) least squares on `support`, of unit columns; without derivative
    norm: Tensor | None = None  # (items,) of the residual that z leaves
