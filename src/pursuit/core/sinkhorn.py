"""Rows of an entropic transport plan onto the ranks, with a derivative of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..transforms import no_forward_mode, signature_known
from .numeric import by_tau, softmax_slope


def sinkhorn_sort(v: Tensor, tau: Tensor, k: int, tol: float, max_steps: int) -> Tensor:
    """Rows `(*batch, k, n)`."""
    rows: Tensor = _SinkhornSort.apply(v, tau, k, tol, max_steps)[0]
    return rows


class _SinkhornSort(torch.autograd.Function):
    """Entropic transport by its dual: one number per target, relative to the exact dual at temperature zero."""

    jvp = staticmethod(no_forward_mode)

    @staticmethod
    @signature_known
    def forward(v: Tensor, tau: Tensor, k: int, tol: float, max_steps: int) -> tuple[Tensor, ...]:
        n = v.shape[-1]
        targets = min(k + 1, n)
        order = v.sort(dim=-1, descending=True, stable=True).indices[..., :targets]
        start = torch.full_like(v, targets - 1, dtype=torch.int64)
        start = start.scatter(-1, order, torch.arange(targets, device=v.device).expand_as(order)).unsqueeze(-1)
        logits = _transport_logits(v, tau, order, start)
        wanted = v.new_ones(targets)
        wanted[k:] = n - k
        Q = _transport(logits, start, wanted, tol, max_steps)
        rows = Q[..., :k]
        return (rows / rows.sum(-2, keepdim=True)).mT.contiguous(), order, start, Q, logits

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        v, tau, *_ = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(v, tau, *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        v, tau, order, start, Q, logits = ctx.saved_tensors
        if torch.is_grad_enabled():
            logits = _transport_logits(v, tau, order, start)
            Q = _Transported.apply(logits, Q)
        targets = Q.shape[-1]
        g = torch.nn.functional.pad(grads[0].mT, (0, targets - grads[0].shape[-2]))
        slope = _transport_slope(Q, g)
        lever = 2 * (start - torch.arange(targets, device=Q.device))
        grad_v = (slope * lever).sum(-1) / tau.squeeze(-1)
        return grad_v, by_tau(slope, logits, tau), None, None, None


class _Transported(torch.autograd.Function):
    """The plan `Q` that belongs to the logits, as a function of them."""

    generate_vmap_rule = True
    jvp = staticmethod(no_forward_mode)

    @staticmethod
    @signature_known
    def forward(logits: Tensor, Q: Tensor) -> Tensor:
        return Q.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (plan,) = ctx.saved_tensors
        return _transport_slope(plan, grads[0]), None


def _transport_logits(v: Tensor, tau: Tensor, order: Tensor, start: Tensor) -> Tensor:
    """Logits `(*batch, n, targets)` of the transport, zero at the target where every score starts."""
    # Target t + 1 gains on target t twice the distance from v to the boundary midway between sorted scores.
    beyond = v.gather(-1, order).unsqueeze(-2) - v.unsqueeze(-1)
    return outward((beyond[..., 1:] + beyond[..., :-1]) / tau, start)


def _transport_slope(Q: Tensor, g: Tensor) -> Tensor:
    """The gradient by the logits, by that of the plan `Q`: the potentials follow the logits."""
    w = _laplacian_solve(Q, softmax_slope(Q, g).sum(-2))  # the answer of the potentials
    return softmax_slope(Q, g - w.unsqueeze(-2))


def _transport(logits: Tensor, start: Tensor, wanted: Tensor, tol: float, max_steps: int) -> Tensor:
    """The plan times n, `(*batch, n, targets)`, that gives every target what it wants.

    It is `softmax(logits + h)` over the targets, by Newton's method on the potentials `h (*batch, targets)`.
    """
    h = torch.zeros_like(logits[..., 0, :])
    Q, miss = _plan(logits, h, start)
    for _ in range(max_steps):
        unfinished = ((miss.abs() / wanted).amax(-1) > tol).unsqueeze(-1)
        if not unfinished.any():
            break
        step = _laplacian_solve(Q, miss)
        spread = (step.amax(-1, keepdim=True) - step.amin(-1, keepdim=True)).clamp(min=torch.finfo(h.dtype).tiny)
        damping = spread.log1p() / spread  # the dual then grows in every step, as the third derivative is bounded
        # An item that has converged stays as it is, so that none depends on the others of its batch.
        h = torch.where(unfinished, h + damping * step, h)
        Q, miss = _plan(logits, h, start)
    return Q


def _plan(logits: Tensor, h: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The plan of the potentials, and by how much every target has too little, `(*batch, targets)`."""
    Q = torch.softmax(logits + h.unsqueeze(-2), dim=-1)
    # What leaves the exact assignment less what comes in: 1 - Q would lose what is below rounding error.
    moved = Q.scatter(-1, start, 0)
    return Q, torch.zeros_like(h).scatter_add(-1, start.squeeze(-1), moved.sum(-1)) - moved.sum(-2)


def _laplacian_solve(Q: Tensor, b: Tensor) -> Tensor:
    """A solution `x` of `(diag(Q^T 1) - Q^T Q) x = b`, whose null space holds the constants.

    The rows of `Q` sum to one, which makes the matrix the Laplacian of a graph between targets. It is scaled to unit
    diagonal, as couplings of neighbours range over all magnitudes, and shifted by rounding error.
    """
    coupling = Q.mT @ Q
    coupling = coupling - torch.diag_embed(coupling.diagonal(dim1=-2, dim2=-1))
    degree = coupling.sum(-1)
    scale = torch.where(degree > 0, degree, 1).rsqrt() * (degree > 0)
    eye = torch.eye(Q.shape[-1], dtype=Q.dtype, device=Q.device)
    N = eye * (1 + 10 * torch.finfo(Q.dtype).eps) - scale.unsqueeze(-1) * coupling * scale.unsqueeze(-2)
    return scale * torch.linalg.solve_ex(N, (scale * b).unsqueeze(-1)).result.squeeze(-1)


def outward(step: Tensor, start: Tensor) -> Tensor:
    """Numbers that are 0 at `start` and grow by `step (..., n - 1)` from one to the next, `(..., n)`.

    Summed from the start on both sides, so that they are exact where they are small.
    """
    right = torch.arange(step.shape[-1], device=step.device) >= start
    after = torch.where(right, step, 0).cumsum(-1)
    before = torch.where(right, 0, -step).flip(-1).cumsum(-1).flip(-1)
    pad = torch.nn.functional.pad
    return (pad(after, (1, 0)) + pad(before, (0, 1))).clamp(min=-1e30)  # finite, for products with zero
