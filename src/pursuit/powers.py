"""Powers of two: they bring numbers near one without rounding, so that squares stay in range, and back."""

from __future__ import annotations

import torch
from torch import Tensor

FORMATS = {torch.float32: (127, 23, torch.int32), torch.float64: (1023, 52, torch.int64)}  # bias, mantissa, as long


def exponent(v: Tensor, dim: int = -1) -> Tensor:
    """The exponent of the largest number along an axis, kept with length one: that number is below `2^exponent`."""
    v = v.detach()
    size = torch.maximum(v.real.abs(), v.imag.abs()) if v.is_complex() else v.abs()
    return torch.frexp(size.amax(dim, keepdim=True)).exponent


def two_to(e: Tensor, dtype: torch.dtype) -> Tensor:
    """`2^e` exactly, for exponents of normal numbers; others are clamped to these."""
    bias, mantissa, whole = FORMATS[dtype]
    return ((e.clamp(1 - bias, bias).to(whole) + bias) << mantissa).view(dtype)


def shifted(v: Tensor, e: Tensor) -> Tensor:
    """`v 2^e`: in two halves, for an exponent that is in range for `v` may be out of it for a factor."""
    half = e.div(2, rounding_mode="floor")
    dtype = v.real.dtype
    return v * two_to(half, dtype) * two_to(e - half, dtype)


def norm(v: Tensor, dim: int = -1) -> Tensor:
    """The Euclidean norm of vectors of any size: no square leaves the range."""
    e = exponent(v, dim)
    length = torch.linalg.vector_norm(shifted(v, -e), dim=dim, keepdim=True)
    return shifted(length, e).squeeze(dim)


def squares_fit(norms: Tensor) -> Tensor:
    """Whether a norm is right that was computed by plain squares: none of weight in it left the range."""
    info = torch.finfo(norms.dtype)
    return (norms >= info.tiny**0.5 / info.eps) & (norms <= info.max**0.5 / 8)
