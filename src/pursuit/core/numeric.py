"""Arithmetic that several steps share."""

from __future__ import annotations

import torch
from torch import Tensor


def energy(v: Tensor) -> Tensor:
    """`||v||^2` of the vectors on the last axis, which is kept with length one."""
    return (v.conj() * v).real.sum(-1, keepdim=True)


def safe_divide(a: Tensor | float, b: Tensor, where: Tensor | None = None) -> Tensor:
    """`a / b` where the mask `where` holds, by default where `b > 0`; elsewhere 0, and so are its derivatives."""
    where = b > 0 if where is None else where
    return torch.where(where, a / torch.where(where, b, 1), 0)


def safe_sqrt(v: Tensor) -> Tensor:
    """The square root; where `v <= 0` it is 0, and so is its derivative."""
    return torch.where(v > 0, torch.where(v > 0, v, 1).sqrt(), 0)


def ones_for_zeros(v: Tensor) -> Tensor:
    """`v >= 0` with 1 where it is zero: a divisor."""
    return torch.where(v > 0, v, 1)


def or_double(dtype: torch.dtype) -> str:
    """What a message says after "scale A": that double precision would do as well, where it is not used already."""
    return ", or use double precision" if dtype.to_real() != torch.float64 else ""


def rank_tolerance(m: int, dtype: torch.dtype) -> float:
    """The part of a column outside a span is rounding if its share of the column's norm is below this."""
    return max(m, 10) * torch.finfo(dtype).eps


def softmax_slope(P: Tensor, g: Tensor) -> Tensor:
    """The gradient by the logits of `P = softmax(logits)`."""
    return P * (g - (P * g).sum(-1, keepdim=True))


def by_tau(slope: Tensor, logits: Tensor, tau: Tensor) -> Tensor:
    """The gradient by `tau` where the logits are proportional to `1 / tau`."""
    return (-(slope * logits).sum((-2, -1), keepdim=True) / tau).sum_to_size(tau.shape)


def top_k(v: Tensor, k: int) -> Tensor:
    """Indices of the `k` largest, largest first, ties to the lowest index, `(*batch, k)`."""
    if k == 1:
        return v.argmax(dim=-1, keepdim=True)
    return v.sort(dim=-1, descending=True, stable=True).indices[..., :k]
