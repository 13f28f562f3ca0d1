"""NeuralSort's rows, with a derivative of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..transforms import no_forward_mode, signature_known
from .numeric import by_tau, softmax_slope
from .sinkhorn import outward


def neuralsort(v: Tensor, tau: Tensor, k: int) -> Tensor:
    """Rows `(*batch, k, n)`."""
    rows: Tensor = _NeuralSort.apply(v, tau, k)[0]
    return rows


class _NeuralSort(torch.autograd.Function):
    """The rows by their logits relative to the winners, in sorted order."""

    generate_vmap_rule = True
    jvp = staticmethod(no_forward_mode)

    @staticmethod
    @signature_known
    def forward(v: Tensor, tau: Tensor, k: int) -> tuple[Tensor, ...]:
        s, order = v.sort(dim=-1, descending=True, stable=True)
        logits = _neural_logits(s, tau, k)
        P = torch.softmax(logits, dim=-1)
        rows = torch.zeros_like(P).scatter(-1, order.unsqueeze(-2).expand_as(P), P)
        return rows, order, P, logits

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        v, tau, _ = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(v, tau, *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        v, tau, order, P, logits = ctx.saved_tensors
        n, k, s = v.shape[-1], P.shape[-2], v.gather(-1, order)
        if torch.is_grad_enabled():
            logits = _neural_logits(s, tau, k)
            P = torch.softmax(logits, dim=-1)
        slope = softmax_slope(P, grads[0].gather(-1, order.unsqueeze(-2).expand_as(P)))
        upwards = (-s.detach()).contiguous()
        greater = torch.searchsorted(upwards, upwards)  # how many are, and with the ties
        not_less = torch.searchsorted(upwards, upwards, right=True)
        row = torch.arange(k, device=s.device).unsqueeze(-1)
        factor = (greater + not_less).unsqueeze(-2) - 2 * row - 1
        total = torch.nn.functional.pad(slope.sum(-2).cumsum(-1), (1, 0))
        others = total.gather(-1, greater) + total.gather(-1, not_less) - total[..., n:]
        grad = ((slope * factor).sum(-2) + others) / tau.squeeze(-1)
        return torch.zeros_like(s).scatter(-1, order, grad), by_tau(slope, logits, tau), None


def _neural_logits(s: Tensor, tau: Tensor, k: int) -> Tensor:
    """Logits of the sorted scores `s (*batch, n)` in every row, `(*batch, k, n)`."""
    row = torch.arange(k, device=s.device).unsqueeze(-1)
    odd = 2 * (torch.arange(s.shape[-1] - 1, device=s.device) - row) + 1
    return outward(odd * (s.diff(dim=-1).unsqueeze(-2) / tau), row)
