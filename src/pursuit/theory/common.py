"""Checks of arguments for the guarantees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..checks import nonnegative_per_item, placed, show, whole
from ..operators import Operator


def rows(k: Any, n: int, batch: torch.Size, device: torch.device) -> Tensor:
    """Whole numbers from 1 to n, `(*batch,)`."""
    k = whole("k", k, 1, None, batch, device)
    if (k > n).any():
        raise ValueError(f"k is {show(k)}; needed is a whole number 1 <= k <= n = {n}.")
    return k


def positive(name: str, value: Any, batch: torch.Size, device: torch.device) -> Tensor:
    """Finite numbers > 0 in double precision, `(*batch,)`."""
    value = nonnegative_per_item(name, value, batch, torch.empty(0, dtype=torch.float64, device=device)).detach()
    if not (value > 0).all():
        raise ValueError(f"{name} is {show(value)}; needed is a finite number > 0.")
    return value


def fits(op: Operator, signal: Tensor) -> None:
    """Raise unless `signal` is `(*batch, n)`, on the operator's device and in its precision."""
    n = op.shape[1]
    if signal.ndim == 0 or signal.shape[-1] != n:
        raise ValueError(f"x has shape {tuple(signal.shape)} but A has n={n} columns; needed is (*batch, {n}).")
    if signal.device != placed(op.device):
        raise ValueError(f"A is on {op.device} and x on {signal.device}; move one of them with .to(device).")
    if signal.dtype.to_real() != op.dtype.to_real():
        raise TypeError(f"A has dtype {op.dtype} and x {signal.dtype}; use one precision for both.")
