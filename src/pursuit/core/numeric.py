"""Arithmetic that several steps share."""

from __future__ import annotations

import torch
from torch import Tensor


def energy(v: Tensor) -> Tensor:
    """`||v||^2` of the vectors on the last axis, which is kept with length one."""
    return (v.conj() * v).real.sum(-1, keepdim=True)


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
