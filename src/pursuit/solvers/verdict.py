"""Whether a solver's result may be called good: its status, after a look at x and at the residual.

A step knows why it stopped, not what came of it: a fixed point may be zero, or fit worse than zero does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..core.solution import Solution, Status

if TYPE_CHECKING:
    from .problem import Problem

USUAL = 2.0**-50, 2.0**40  # units whose product with any coefficient of weight is a number, for a y near one
ROUNDINGS = 10  # by so many may a residual norm be larger than another and still be equal


class Verdict(NamedTuple):
    """What the caller gets: `x` on the support, or all of it, in the caller's units."""

    x: Tensor
    support: Tensor
    residual_norm: Tensor
    status: Tensor


def of(s: Solution[Tensor], found: Tensor, x: Tensor, p: Problem) -> Verdict:
    """The verdict on a solution with the coefficients `found` of unit columns, `x` in the caller's units."""
    fitted = "x" not in vars(s)  # least squares, whose coefficients are no larger than rounding allows
    if _nothing_to_say(s.residual_norm.detach(), found.detach(), x.detach() if fitted else None, p):
        return Verdict(x, s.support, s.residual_norm, s.status)
    norm, status, size, held = s.residual_norm.detach(), s.status, found.detach().abs(), x.detach().abs()
    info = torch.finfo(size.dtype)
    eps = info.eps
    kept = ((held >= info.tiny) & (held <= info.max)) | (size == 0)
    exploded = (size > (p.y_norm / eps).unsqueeze(-1)).any(-1)
    ok = torch.stack([status == code for code in Status if code.ok]).any(0)
    met, wanted = status == Status.TOLERANCE, torch.inf if p.wanted is None else p.wanted
    zero = (size == 0).all(-1) & (p.y_norm > 0) & (p.k > 0)
    if p.penalised and zero.any():  # a large penalty makes zero the answer; that no column says anything of y does not
        zero &= _orthogonal(p, eps)
    worse = norm > (1 + eps * max(ROUNDINGS, p.y.shape[-1] ** 0.5)) * p.y_norm
    # What has no place among the numbers is lost, unless it is nothing beside the largest coefficient.
    gone = ~held.isfinite().all(-1)
    largest = size.amax(-1, keepdim=True) if size.shape[-1] else size
    lost = (~kept & (size > eps * largest)).any(-1)
    for found, code in (
        (~met & (norm > wanted), Status.TOL_MISSED),
        (~met & zero, Status.NOTHING_FOUND),
        (worse, Status.WORSE_THAN_ZERO),
        (exploded, Status.DIVERGED),
    ):
        status = torch.where(ok & found, code, status)
    return Verdict(
        torch.where(gone.unsqueeze(-1), 0, x),
        torch.where(gone.unsqueeze(-1), -1, s.support),
        torch.where(gone, p.y_norm, s.residual_norm),
        torch.where(lost | gone, Status.OUT_OF_RANGE, status),
    )


def _orthogonal(p: Problem, eps: float) -> Tensor:
    """Whether y is orthogonal to all columns, but for rounding: `(*batch,)`."""
    c = p.A.adjoint(p.y).detach().abs().amax(-1)
    return c <= ROUNDINGS * eps * p.y.shape[-1] ** 0.5 * p.A.norm2().detach().sqrt() * p.y_norm


def _nothing_to_say(norm: Tensor, found: Tensor, fitted: Tensor | None, p: Problem) -> bool:
    """Whether all is well at a glance: every signal fits better than zero, and its coefficients are usual numbers.

    `fitted` are the coefficients in the caller's units, if they are a fit on a support.
    """
    if not found.numel() or not (norm < p.y_norm).all() or not (p.wanted is None or (norm <= p.wanted).all()):
        return False
    info, size = torch.finfo(norm.dtype), torch.linalg.vector_norm
    if fitted is not None:
        return info.tiny <= float(size(fitted, -torch.inf)) and float(size(fitted, torch.inf)) <= info.max
    units = p.scale.detach()  # without a look at each of the many zeros of x
    if p.exponent is not None or not (USUAL[0] <= float(units.amin()) and float(units.amax()) <= USUAL[1]):
        return False
    return float(size(found, torch.inf)) <= float(p.y_norm.min()) / info.eps
