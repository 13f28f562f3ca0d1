"""The relaxations of `pursuit.relaxations` without checks of their input, for loops that checked it once.

`v (*batch, n)` holds real scores, of which the largest come first; `tau` broadcasts to `(*batch, 1, 1)`. Where there
are compiled kernels, they do the work of softsort.

Where the gradient is to be differentiated in turn (`torch.is_grad_enabled()` in a `backward`), it is made of torch
operations on the inputs, which are saved as they came.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import kernels
from ..kernels import INTEGERS, flat, unflat
from ..transforms import no_forward_mode, signature_known
from .numeric import softmax_slope, top_k

KERNELS = "softsort"


LIMIT = {torch.float32: 87.0, torch.float64: 708.0}  # beyond this, exp(-x) is below the smallest normal number


FEW = 32  # up to so many chosen entries, insertion finds them faster than sorting


def softsort(v: Tensor, tau: Tensor, k: int) -> Tensor:
    """Rows `(*batch, k, n)`."""
    if kernels.wanted(KERNELS, v, tau):
        rows: Tensor = _CompiledRows.apply(v, tau, k)
        return rows
    return _plain_rows(v, tau, k)


def _plain_rows(v: Tensor, tau: Tensor, k: int) -> Tensor:
    """The rows in plain torch."""
    rows: Tensor = _SoftSort.apply(v, tau, k)[0]
    return rows


def soft_topk(v: Tensor, tau: Tensor, k: int) -> Tensor:
    """The sum of the rows, `(*batch, n)`."""
    if not kernels.wanted(KERNELS, v, tau):
        return softsort(v, tau, k).sum(-2)
    mask: Tensor = _CompiledMask.apply(v, tau, k)
    return mask


def score(u: Tensor, w: Tensor) -> Tensor:
    """`w |u|` with `w (n,)` or `(*batch, n)`; magnitudes of complex numbers take torch long."""
    if not kernels.wanted(KERNELS, u, w):
        return w * u.abs()
    v: Tensor = _CompiledScore.apply(u, w.to(u.dtype.to_real()))
    return v


def soft_threshold(u: Tensor, w: Tensor, tau: Tensor, k: int) -> Tensor:
    """`u (*batch, n)`, real or complex, times the soft mask of the scores `w |u|`, with `w (n,)` or `(*batch, n)`."""
    if not kernels.wanted(KERNELS, u, w, tau) or k > FEW:
        return soft_topk(w * u.abs(), tau, k) * u
    real = u.dtype.to_real()
    x: Tensor = _CompiledThreshold.apply(u, w.to(real), tau.to(real), k)
    return x


class _SoftSort(torch.autograd.Function):
    """The rows in plain torch; the gradient passes through the scores and their sorted copy."""

    generate_vmap_rule = True
    jvp = staticmethod(no_forward_mode)

    @staticmethod
    @signature_known
    def forward(v: Tensor, tau: Tensor, k: int) -> tuple[Tensor, Tensor]:
        top = top_k(v, k)
        rows = torch.softmax(-(v.gather(-1, top).unsqueeze(-1) - v.unsqueeze(-2)).abs() / tau, dim=-1)
        return rows, top

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        v, tau, _ = inputs
        rows, top = output
        ctx.mark_non_differentiable(top)
        ctx.save_for_backward(v, tau, top, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        v, tau, top, rows = ctx.saved_tensors
        return *_by_rows(v, tau, top, rows, grads[0], ctx.needs_input_grad[1]), None


def _by_rows(v: Tensor, tau: Tensor, top: Tensor, rows: Tensor, g: Tensor, learn: bool) -> tuple[Tensor, Tensor | None]:
    """The gradients by `v` and, where it is asked for, `tau`, by that of the rows."""
    slope = softmax_slope(rows, g)
    difference = v.gather(-1, top).unsqueeze(-1) - v.unsqueeze(-2)
    pull = slope * difference.sign() / tau
    grad_v = pull.sum(-2).scatter_add(-1, top, -pull.sum(-1))
    if not learn:
        return grad_v, None
    # Where the exponent passes the limit the slope is zero; an overflow must not come near it.
    distance = (difference.abs() / tau).clamp(max=LIMIT[v.dtype])
    return grad_v, ((slope * distance).sum((-2, -1), keepdim=True) / tau).sum_to_size(tau.shape)


def _by_mask(v: Tensor, tau: Tensor, k: int, g: Tensor, learn: bool) -> tuple[Tensor, Tensor | None]:
    """The same by the gradient of the mask."""
    rows = _plain_rows(v, tau, k)
    return _by_rows(v, tau, top_k(v, k), rows, g.unsqueeze(-2).expand_as(rows), learn)


def _by_score(u: Tensor, w: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients by `u` and `w` by that of `w |u|`."""
    return g * w * u.sgn(), (g * u.abs()).sum_to_size(w.shape)


class _CompiledRows(torch.autograd.Function):
    """The rows by the kernels."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, tau: Tensor, k: int) -> Tensor:
        scores, t, top = flat(v), _per_item(tau, v), _places(v, k)
        rows = v.new_empty(scores.shape[0], k, scores.shape[1])
        kernels.run(KERNELS, "rows_forward", scores, t, top, k <= FEW, INTEGERS[v.dtype], rows)
        rows = unflat(rows, v.shape[:-1])
        ctx.save_for_backward(v, tau, t, top, rows)
        return rows

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        g, (v, tau, t, top, rows) = grads[0], ctx.saved_tensors
        if kernels.by_operations(*grads):
            return *_by_rows(v, tau, unflat(top, v.shape[:-1]), rows, g, ctx.needs_input_grad[1]), None
        if g.stride(-2) == 0:  # from a sum over the rows
            g = g[..., :1, :]
        return *_gradients("rows_backward", ctx, v, tau, t, top, flat(rows, 2), flat(g, 2)), None


class _CompiledMask(torch.autograd.Function):
    """The sum of the rows by the kernels, which form no row."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, tau: Tensor, k: int) -> Tensor:
        scores, t, top = flat(v), _per_item(tau, v), _places(v, k)
        mask = torch.empty_like(scores)
        kernels.run(KERNELS, "mask_forward", scores, t, top, k <= FEW, INTEGERS[v.dtype], mask)
        ctx.save_for_backward(v, tau, t, top)
        return unflat(mask, v.shape[:-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        g, (v, tau, t, top) = grads[0], ctx.saved_tensors
        if kernels.by_operations(*grads):
            return *_by_mask(v, tau, top.shape[-1], g, ctx.needs_input_grad[1]), None
        return *_gradients("mask_backward", ctx, v, tau, t, top, INTEGERS[g.dtype], flat(g)), None


class _CompiledScore(torch.autograd.Function):
    """Scores by the kernels."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, w: Tensor) -> Tensor:
        values, weights = flat(u), _weights(w, u)
        v = w.new_empty(values.shape)
        kernels.run(KERNELS, "score_forward", values, weights, v)
        ctx.save_for_backward(u, w, weights)
        return unflat(v, u.shape[:-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        u, w, weights = ctx.saved_tensors
        if kernels.by_operations(*grads):
            return _by_score(u, w, grads[0])
        values = flat(u)
        grad_u, grad_w = torch.empty_like(values), torch.empty_like(weights)
        kernels.run(KERNELS, "score_backward", values, weights, flat(grads[0]), grad_u, grad_w)
        return unflat(grad_u, u.shape[:-1]), _of_weights(grad_w, u.shape, w.shape)


class _CompiledThreshold(torch.autograd.Function):
    """Scores, mask and product by one kernel: a few passes over memory instead of a dozen."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, w: Tensor, tau: Tensor, k: int) -> Tensor:
        values, weights, t = flat(u), _weights(w, u), _per_item(tau, u)
        top, x = torch.empty(values.shape[0], k, dtype=torch.int64), torch.empty_like(values)
        kernels.run(KERNELS, "threshold_forward", values, weights, t, top, INTEGERS[w.dtype], x)
        ctx.save_for_backward(u, w, tau, weights, t, top)
        return unflat(x, u.shape[:-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        g, learn, (u, w, tau, weights, t, top) = grads[0], ctx.needs_input_grad[2], ctx.saved_tensors
        if kernels.by_operations(*grads):
            return *_by_threshold(u, w, tau, top.shape[-1], g, learn), None
        values, integers = flat(u), INTEGERS[w.dtype]
        grad_u, grad_w = torch.empty_like(values), torch.empty_like(weights)
        grad_tau = w.new_empty(values.shape[0] if learn else 0)
        given = values, weights, t, top, integers, flat(g), learn
        kernels.run(KERNELS, "threshold_backward", *given, grad_u, grad_w, grad_tau)
        of_tau = _of_tau(grad_tau, u.shape, tau.shape) if learn else None
        return unflat(grad_u, u.shape[:-1]), _of_weights(grad_w, u.shape, w.shape), of_tau, None


def _by_threshold(
    u: Tensor, w: Tensor, tau: Tensor, k: int, g: Tensor, learn: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradients by `u`, `w` and, where it is asked for, `tau`, by that of `u` times the mask of `w |u|`."""
    v = score(u, w)
    of_v, of_tau = _by_mask(v, tau, k, (u.conj() * g).real, learn)
    of_u, of_w = _by_score(u, w, of_v)
    return of_u + soft_topk(v, tau, k) * g, of_w, of_tau


def _gradients(kernel: str, ctx: Any, v: Tensor, tau: Tensor, *rest: Any) -> tuple[Tensor, Tensor | None]:
    """What a backward kernel gives for `v` and, where it is asked for, `tau`."""
    scores, learn = flat(v), ctx.needs_input_grad[1]
    grad_v, grad_tau = torch.empty_like(scores), torch.empty(scores.shape[0] if learn else 0, dtype=v.dtype)
    kernels.run(KERNELS, kernel, scores, *rest, learn, grad_v, grad_tau)
    return unflat(grad_v, v.shape[:-1]), _of_tau(grad_tau, v.shape, tau.shape) if learn else None


def _per_item(tau: Tensor, v: Tensor) -> Tensor:
    """Temperatures as a kernel takes them, `(1,)` or `(items,)`."""
    return tau.reshape(1) if tau.numel() == 1 else flat(tau.expand(*v.shape[:-1], 1, 1), 0)


def _of_tau(grad_tau: Tensor, shape: torch.Size, given: torch.Size) -> Tensor:
    """The gradient by the temperatures in the shape that they had."""
    return grad_tau.view(*shape[:-1], 1, 1).sum_to_size(given)


def _weights(w: Tensor, u: Tensor) -> Tensor:
    """Weights as a kernel takes them, `(1 or items, n)`."""
    return w.contiguous().unsqueeze(0) if w.ndim == 1 else flat(w.expand(u.shape))


def _of_weights(grad_w: Tensor, shape: torch.Size, given: torch.Size) -> Tensor:
    """The gradient by the weights in the shape that they had."""
    return grad_w.squeeze(0) if len(given) == 1 else grad_w.view(shape).sum_to_size(given)


def _places(v: Tensor, k: int) -> Tensor:
    """Where the `k` largest are, `(items, k)`, or room for it where a kernel finds few of them faster."""
    if k > FEW:
        return flat(top_k(v, k))
    return v.new_empty(v.shape[:-1].numel(), k, dtype=torch.int64)
