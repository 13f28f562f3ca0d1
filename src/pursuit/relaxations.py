"""Relaxations of sorting: rows that are one-hot at temperature zero and differentiable above it.

Row `i` of each is a distribution over the entries of `v (*batch, n)`: where the `i`-th largest is. With `s` the sorted
scores, the weight of the entry `s_j` against the winner `s_i` of its row falls as

- `softsort`: `exp(-|s_i - s_j| / tau)`;
- `neuralsort`: `exp(-(d_1 + 3 d_2 + 5 d_3 + ...) / tau)` with the gaps `d` from the winner outwards;
- `sinkhorn_sort`: as every column sums to at most one too, by what all rows ask for; two entries alone share
  `exp(-|s_1 - s_2| / tau)`.

So neighbours have the same exponent, `gap / tau`, in all three, and one temperature means the same to each. This fixes
the targets of the transport: the cost `-v_i y_j` gives two entries the ratio `exp(-gap (y_1 - y_2) / (2 tau))`, hence
targets at distance 2.

Temperatures are in the units of `v`: `softsort(c v, c tau) = softsort(v, tau)`, and `relative_tau` makes them follow.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import config
from .checks import expands, finite, plain, show

# Beyond this exponent exp(-z) is below the smallest normal number.
_LIMIT: dict[torch.dtype, np.floating[Any]] = {torch.float32: np.float32(87), torch.float64: np.float64(708)}
# Up to this many chosen entries, insertion finds them faster than sorting.
_FEW = 32


def softsort(v: Tensor, tau: Tensor | float, k: int | None = None, *, descending: bool = True) -> Tensor:
    """Soft positions of the `k` largest entries: row `i` weighs every entry by its distance to the `i`-th largest.

    `rows[i, j]` is proportional to `exp(-|s_i - v_j| / tau)` over `j`, where `s` is `v` sorted. As `tau` falls to zero
    rows become one-hot, and `t` tied entries have `1 / t` each. The gradient takes the derivative of `|.|` at zero as
    zero.

    Parameters
    ----------
    v : Tensor (*batch, n)
        Scores, float32 or float64.
    tau : float or Tensor broadcastable to (*batch,)
        Temperature > 0, in the units of `v`.
    k : int, optional
        How many rows. Default all `n`.
    descending : bool
        Whether the largest come first (else the smallest).

    Returns
    -------
    Tensor (*batch, k, n)
        Rows that are non-negative and sum to one.

    Raises
    ------
    TypeError
        For scores that are not float32 or float64, or a `k` that is not a whole number.
    ValueError
        For scores without an axis, or with NaN or infinities; `tau` not finite and positive; `k` not in 1, ..., n.

    References
    ----------
    S. Prillo, J. Eisenschlos, *SoftSort: a continuous relaxation for the argsort operator*, ICML 2020.

    Examples
    --------
    >>> import torch
    >>> from pursuit.relaxations import softsort
    >>> softsort(torch.tensor([0.0, 2.0, 1.0]), 0.25, 1).round(decimals=3)
    tensor([[0.0000, 0.9820, 0.0180]])
    """
    return _softsort(*_checked(v, tau, k, descending))


def soft_topk(v: Tensor, tau: Tensor | float, k: int | None = None, *, descending: bool = True) -> Tensor:
    """Soft mask of the `k` largest entries: the sum of the rows of `softsort`, at the cost of one row.

    Entries sum to `k`; near ties one may exceed 1.

    Parameters
    ----------
    v : Tensor (*batch, n)
        Scores, float32 or float64.
    tau : float or Tensor broadcastable to (*batch,)
        Temperature > 0, in the units of `v`.
    k : int, optional
        How many entries. Default all `n`.
    descending : bool
        Whether the largest come first (else the smallest).

    Returns
    -------
    Tensor (*batch, n)

    Raises
    ------
    TypeError
        For scores that are not float32 or float64, or a `k` that is not a whole number.
    ValueError
        For scores without an axis, or with NaN or infinities; `tau` not finite and positive; `k` not in 1, ..., n.

    References
    ----------
    S. Prillo, J. Eisenschlos, *SoftSort: a continuous relaxation for the argsort operator*, ICML 2020.

    Examples
    --------
    >>> import torch
    >>> from pursuit.relaxations import soft_topk
    >>> soft_topk(torch.tensor([0.0, 2.0, 1.0]), 0.2, 2).round(decimals=3)
    tensor([0.0070, 1.0000, 0.9930])
    """
    return _soft_topk(*_checked(v, tau, k, descending))


def neuralsort(v: Tensor, tau: Tensor | float, k: int | None = None, *, descending: bool = True) -> Tensor:
    """Soft positions of the `k` largest entries, with far entries suppressed more than by `softsort`.

    Row `i` is the softmax of `((n + 1 - 2 i) v_j - sum_l |v_j - v_l|) / tau` over `j`, formed from the gaps between
    sorted scores, so that nothing cancels at small `tau`. The cost is that of a sort and of `k n` entries.

    Parameters
    ----------
    v : Tensor (*batch, n)
        Scores, float32 or float64.
    tau : float or Tensor broadcastable to (*batch,)
        Temperature > 0, in the units of `v`.
    k : int, optional
        How many rows. Default all `n`.
    descending : bool
        Whether the largest come first (else the smallest).

    Returns
    -------
    Tensor (*batch, k, n)
        Rows that are non-negative and sum to one.

    Raises
    ------
    TypeError
        For scores that are not float32 or float64, or a `k` that is not a whole number.
    ValueError
        For scores without an axis, or with NaN or infinities; `tau` not finite and positive; `k` not in 1, ..., n.

    References
    ----------
    A. Grover, E. Wang, A. Zweig, S. Ermon, *Stochastic optimization of sorting networks via continuous relaxations*,
    ICLR 2019.

    Examples
    --------
    >>> import torch
    >>> from pursuit.relaxations import neuralsort
    >>> neuralsort(torch.tensor([0.0, 2.0, 1.0]), 0.25, 1).round(decimals=3)
    tensor([[0.0000, 0.9820, 0.0180]])
    """
    return _neuralsort(*_checked(v, tau, k, descending))


def sinkhorn_sort(
    v: Tensor,
    tau: Tensor | float,
    k: int | None = None,
    *,
    descending: bool = True,
    tol: float | None = None,
    max_steps: int = 100,
) -> Tensor:
    """Soft positions of the `k` largest entries by entropic optimal transport; no entry is given away twice.

    The scores, of weight `1 / n` each, are transported to `k` targets of weight `1 / n` and, for `k < n`, one that
    takes the rest; row `j` is `n` times the plan's column to target `j`. A column of the rows sums to at most one. The
    transport starts from the exact one at temperature zero (sorting), so that a small `tau` needs few steps, and then
    takes damped Newton steps on its dual, whose coordinate ascent is Sinkhorn's iteration: about ten instead of many
    thousands. The gradient is that of the solution (by the implicit function theorem), not of the steps.

    Parameters
    ----------
    v : Tensor (*batch, n)
        Scores, float32 or float64.
    tau : float or Tensor broadcastable to (*batch,)
        Temperature > 0, in the units of `v`.
    k : int, optional
        How many rows. Default all `n`.
    descending : bool
        Whether the largest come first (else the smallest).
    tol : float, optional
        The steps end when no target of any item misses its weight by more than this share of it. Default 1e-5 in
        float32, 1e-10 in float64.
    max_steps : int
        Most steps. Where they do not reach `tol`, rows still sum to one, but columns may sum to more, and the gradient
        is as inexact as the rows.

    Returns
    -------
    Tensor (*batch, k, n)
        Rows that are non-negative and sum to one.

    Raises
    ------
    TypeError
        For scores that are not float32 or float64, or a `k` that is not a whole number.
    ValueError
        For scores without an axis, or with NaN or infinities; `tau` not finite and positive; `k` not in 1, ..., n;
        `tol` or `max_steps` negative.

    References
    ----------
    M. Cuturi, O. Teboul, J.-P. Vert, *Differentiable ranking and sorting using optimal transport*, NeurIPS 2019.

    Examples
    --------
    >>> import torch
    >>> from pursuit.relaxations import sinkhorn_sort
    >>> sinkhorn_sort(torch.tensor([0.0, 2.0, 1.0]), 0.25, 1).round(decimals=3)
    tensor([[0.0000, 0.9820, 0.0180]])
    """
    v, tau, k = _checked(v, tau, k, descending)
    tol = {torch.float32: 1e-5, torch.float64: 1e-10}[v.dtype] if tol is None else tol
    if not (tol >= 0 and max_steps >= 0):
        raise ValueError(f"tol is {tol} and max_steps is {max_steps}; needed are numbers >= 0.")
    return _sinkhorn_sort(v, tau, k, tol, max_steps)


def relative_tau(v: Tensor, tau: Tensor | float) -> Tensor:
    """A temperature that follows the scale of the scores: `tau max |v|` per item.

    With it, `softsort(v, relative_tau(v, tau))` does not change when `v` is scaled, nor does its gradient point along
    `v`: the maximum is differentiated too. Where `v = 0` it is the smallest normal number.

    Parameters
    ----------
    v : Tensor (*batch, n)
        Scores, float32 or float64.
    tau : float or Tensor broadcastable to (*batch,)
        Temperature > 0, as a share of the largest magnitude.

    Returns
    -------
    Tensor (*batch,)

    Raises
    ------
    TypeError
        For scores that are not float32 or float64.
    ValueError
        For scores without an axis, or with NaN or infinities; `tau` not finite and positive.

    References
    ----------
    S. Prillo, J. Eisenschlos, *SoftSort: a continuous relaxation for the argsort operator*, ICML 2020.

    Examples
    --------
    >>> import torch
    >>> from pursuit.relaxations import relative_tau
    >>> relative_tau(torch.tensor([[1.0, -4.0], [0.5, 0.0]]), 0.25)
    tensor([1.0000, 0.1250])
    """
    return (_temperature(tau, _scores(v)) * v.abs().amax(-1)).clamp(min=torch.finfo(v.dtype).tiny)


def _softsort(v: Tensor, tau: Tensor, k: int) -> Tensor:
    """`softsort` without its checks, for loops: `tau` broadcasts to `(*batch, 1, 1)`, here as in those below."""
    rows: Tensor = (_CompiledRows if _compiled(v) else _SoftSort).apply(v, tau, k)
    return rows


def _soft_topk(v: Tensor, tau: Tensor, k: int) -> Tensor:
    """`soft_topk` without its checks."""
    if not _compiled(v):
        return _softsort(v, tau, k).sum(-2)
    mask: Tensor = _CompiledMask.apply(v, tau, k)
    return mask


def _score(u: Tensor, w: Tensor) -> Tensor:
    """`w |u|` with `w (n,)` or `(*batch, n)`, by a kernel where there is one: complex magnitudes take torch long."""
    if not _compiled(w):
        return w * u.abs()
    v: Tensor = _CompiledScore.apply(u, w)
    return v


def _soft_threshold(u: Tensor, w: Tensor, tau: Tensor, k: int) -> Tensor:
    """`u (*batch, n)`, real or complex, times the soft mask of the scores `w |u|`, with `w (n,)` or `(*batch, n)`."""
    if not _compiled(w) or k > _FEW:
        return _soft_topk(w * u.abs(), tau, k) * u
    x: Tensor = _CompiledThreshold.apply(u, w, tau, k)
    return x


def _neuralsort(v: Tensor, tau: Tensor, k: int) -> Tensor:
    """`neuralsort` without its checks."""
    rows: Tensor = _NeuralSort.apply(v, tau, k)
    return rows


def _sinkhorn_sort(v: Tensor, tau: Tensor, k: int, tol: float, max_steps: int) -> Tensor:
    """`sinkhorn_sort` without its checks."""
    rows: Tensor = _SinkhornSort.apply(v, tau, k, tol, max_steps)
    return rows


class _SoftSort(torch.autograd.Function):
    """The rows in plain torch; the gradient passes through the scores and their sorted copy."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, tau: Tensor, k: int) -> Tensor:
        top = _top(v, k)
        rows = torch.softmax(-(v.gather(-1, top).unsqueeze(-1) - v.unsqueeze(-2)).abs() / tau, dim=-1)
        ctx.save_for_backward(v, tau, top, rows)
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        v, tau, top, rows = ctx.saved_tensors
        slope = _softmax_slope(rows, grads[0])
        difference = v.gather(-1, top).unsqueeze(-1) - v.unsqueeze(-2)
        pull = slope * difference.sign() / tau
        grad_v = pull.sum(-2).scatter_add(-1, top, -pull.sum(-1))
        if not ctx.needs_input_grad[1]:
            return grad_v, None, None
        # Where the exponent passes the limit the slope is zero; an overflow must not come near it.
        distance = (difference.abs() / tau).clamp(max=float(_LIMIT[v.dtype]))
        return grad_v, ((slope * distance).sum((-2, -1), keepdim=True) / tau).sum_to_size(tau.shape), None


class _CompiledRows(torch.autograd.Function):
    """The rows by the kernels."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, tau: Tensor, k: int) -> Tensor:
        flat, t = _flat(v, tau)
        top = _room(flat, k)
        rows = flat.new_empty(flat.shape[0], k, flat.shape[1])
        _run("rows_forward", flat, t, top, _LIMIT[v.dtype], k <= _FEW, *_constants(v.dtype), rows)
        ctx.save_for_backward(flat, t, top, rows)
        ctx.shapes = v.shape, tau.shape
        return rows.view(*v.shape[:-1], *rows.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        v, tau, top, rows = ctx.saved_tensors
        g = grads[0]
        if g.stride(-2) == 0:  # from a sum over the rows
            g = g[..., :1, :]
        g = g.reshape(v.shape[0], g.shape[-2], v.shape[1]).contiguous()
        return *_gradients("rows_backward", ctx, v, tau, top, rows, g), None


class _CompiledMask(torch.autograd.Function):
    """The sum of the rows by the kernels, which form no row."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, tau: Tensor, k: int) -> Tensor:
        flat, t = _flat(v, tau)
        top = _room(flat, k)
        normaliser, mask = flat.new_empty(top.shape), torch.empty_like(flat)
        _run("mask_forward", flat, t, top, _LIMIT[v.dtype], k <= _FEW, *_constants(v.dtype), normaliser, mask)
        ctx.save_for_backward(flat, t, top, normaliser, mask)
        ctx.shapes = v.shape, tau.shape
        return mask.view(v.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        v, tau, top, normaliser, mask = ctx.saved_tensors
        g = grads[0].reshape(v.shape).contiguous()
        return *_gradients("mask_backward", ctx, v, tau, top, normaliser, mask, g), None


class _CompiledScore(torch.autograd.Function):
    """Scores by the kernels."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, w: Tensor) -> Tensor:
        parts, weights = _parts(u), _each(w, u)
        size, v = (torch.empty(parts.shape[:2], dtype=w.dtype) for _ in range(2))
        _run("score_forward", parts, weights, size, v)
        ctx.save_for_backward(parts, weights, size)
        ctx.w_shape = w.shape
        return v.view(u.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        parts, w, size = ctx.saved_tensors
        grad_u, grad_w = torch.empty_like(parts), torch.empty_like(size)
        _run("score_backward", parts, w, size, grads[0].reshape(size.shape).contiguous(), grad_u, grad_w)
        shape = grads[0].shape
        of_u = (torch.view_as_complex(grad_u) if parts.shape[-1] == 2 else grad_u).view(shape)
        return of_u, grad_w.view(shape).sum_to_size(ctx.w_shape)


class _CompiledThreshold(torch.autograd.Function):
    """Scores, mask and product by one kernel: a few passes over memory instead of a dozen."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, w: Tensor, tau: Tensor, k: int) -> Tensor:
        parts, weights = _parts(u), _each(w, u)
        t = tau.expand(*u.shape[:-1], 1, 1).reshape(-1).contiguous() if tau.numel() > 1 else tau.reshape(1)
        top = torch.empty(parts.shape[0], k, dtype=torch.int64)
        size, v, mask = (torch.empty(parts.shape[:2], dtype=w.dtype) for _ in range(3))
        Z, x = v.new_empty(top.shape), torch.empty_like(parts)
        _run("threshold_forward", parts, weights, t, top, _LIMIT[w.dtype], *_constants(w.dtype), size, v, Z, mask, x)
        ctx.save_for_backward(parts, weights, t, top, size, v, Z, mask)
        ctx.shapes = w.shape, tau.shape
        return _whole(x, u)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        parts, w, t, *rest = ctx.saved_tensors
        learn = ctx.needs_input_grad[2]
        grad_u, grad_w, grad_tau = torch.empty_like(parts), torch.empty_like(rest[1]), t.new_empty(parts.shape[0])
        top, *kept = rest
        _run(
            "threshold_backward", parts, w, t, top, _LIMIT[w.dtype], *kept, _parts(grads[0]), learn,
            grad_u, grad_w, grad_tau,
        )  # fmt: skip
        w_shape, tau_shape = ctx.shapes
        batch = grads[0].shape[:-1]
        of_tau = grad_tau.view(*batch, 1, 1).sum_to_size(tau_shape) if learn else None
        return _whole(grad_u, grads[0]), grad_w.view(*batch, -1).sum_to_size(w_shape), of_tau, None


def _parts(u: Tensor) -> Tensor:
    """Contiguous `(items, n, 1 or 2)`: complex numbers as pairs."""
    u = u.resolve_conj().resolve_neg().contiguous()
    return (torch.view_as_real(u) if u.is_complex() else u.unsqueeze(-1)).reshape(-1, u.shape[-1], 1 + u.is_complex())


def _each(w: Tensor, u: Tensor) -> Tensor:
    """Contiguous `(1 or items, n)`."""
    return (w.expand(u.shape) if w.ndim > 1 else w).reshape(-1, u.shape[-1]).contiguous()


def _whole(parts: Tensor, like: Tensor) -> Tensor:
    return (torch.view_as_complex(parts) if like.is_complex() else parts).view(like.shape)


def _gradients(
    kernel: str, ctx: Any, v: Tensor, tau: Tensor, top: Tensor, *rest: Tensor
) -> tuple[Tensor, Tensor | None]:
    """What a backward kernel gives for `v` and, where it is asked for, `tau`."""
    learn = ctx.needs_input_grad[1]
    grad_v, grad_tau = torch.empty_like(v), v.new_empty(v.shape[0] if learn else 0)
    _run(kernel, v, tau, top, _LIMIT[v.dtype], *rest, learn, grad_v, grad_tau)
    shape, tau_shape = ctx.shapes
    whole = grad_tau.view(*shape[:-1], 1, 1).sum_to_size(tau_shape) if learn else None
    return grad_v.view(shape), whole


def _run(kernel: str, *arguments: Tensor | np.floating[Any] | bool) -> None:
    """Run a kernel, which writes into the last of its arguments."""
    getattr(_kernels(), kernel)(*[a.numpy() if isinstance(a, Tensor) else a for a in arguments])


def _flat(v: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """What a kernel takes: contiguous `(items, n)` and `(items,)` or `(1,)`."""
    flat = v.detach().resolve_neg().reshape(-1, v.shape[-1]).contiguous()
    if tau.numel() == 1:
        return flat, tau.detach().reshape(1)
    return flat, tau.detach().expand(*v.shape[:-1], 1, 1).reshape(-1).contiguous()


def _room(v: Tensor, k: int) -> Tensor:
    """Where the `k` largest of `v (items, n)` are, or room for it where a kernel finds few of them faster."""
    if k > _FEW:
        return _top(v, k).contiguous()
    return torch.empty(v.shape[0], k, dtype=torch.int64)


def _compiled(v: Tensor) -> bool:
    """Whether there are kernels for `v`, and they are wanted."""
    return config.kernels != "off" and v.device.type == "cpu" and _kernels() is not None


@cache
def _constants(dtype: torch.dtype) -> Any:
    """What the kernels compute exponentials by."""
    kernels = _kernels()
    assert kernels is not None
    return kernels.constants(np.float32 if dtype == torch.float32 else np.float64)


@cache
def _kernels() -> ModuleType | None:
    """The kernels, imported when they are first needed; None without Numba."""
    try:
        from .kernels import softsort_cpu
    except ImportError:
        return None
    return softsort_cpu


class _NeuralSort(torch.autograd.Function):
    """The rows by their logits relative to the winners, in sorted order."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, tau: Tensor, k: int) -> Tensor:
        s, order = v.sort(dim=-1, descending=True, stable=True)
        row = torch.arange(k, device=v.device).unsqueeze(-1)
        odd = 2 * (torch.arange(v.shape[-1] - 1, device=v.device) - row) + 1
        logits = _outward(odd * (s.diff(dim=-1).unsqueeze(-2) / tau), row)
        P = torch.softmax(logits, dim=-1)
        ctx.save_for_backward(s, order, tau, P, logits)
        return torch.empty_like(P).scatter_(-1, order.unsqueeze(-2).expand_as(P), P)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        s, order, tau, P, logits = ctx.saved_tensors
        n = s.shape[-1]
        slope = _softmax_slope(P, grads[0].gather(-1, order.unsqueeze(-2).expand_as(P)))
        upwards = (-s).contiguous()
        greater = torch.searchsorted(upwards, upwards)  # how many are, and with the ties
        not_less = torch.searchsorted(upwards, upwards, right=True)
        row = torch.arange(P.shape[-2], device=s.device).unsqueeze(-1)
        factor = (greater + not_less).unsqueeze(-2) - 2 * row - 1
        total = torch.nn.functional.pad(slope.sum(-2).cumsum(-1), (1, 0))
        others = total.gather(-1, greater) + total.gather(-1, not_less) - total[..., n:]
        grad = ((slope * factor).sum(-2) + others) / tau.squeeze(-1)
        return torch.empty_like(s).scatter_(-1, order, grad), _by_tau(slope, logits, tau), None


class _SinkhornSort(torch.autograd.Function):
    """Entropic transport by its dual: one number per target, relative to the exact dual at temperature zero."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, tau: Tensor, k: int, tol: float, max_steps: int) -> Tensor:
        n = v.shape[-1]
        targets = min(k + 1, n)
        order = v.sort(dim=-1, descending=True, stable=True).indices[..., :targets]
        start = torch.full_like(v, targets - 1, dtype=torch.int64)
        start = start.scatter(-1, order, torch.arange(targets, device=v.device).expand_as(order)).unsqueeze(-1)
        # Target t + 1 gains on target t twice the distance from v to the boundary midway between sorted scores.
        beyond = v.gather(-1, order).unsqueeze(-2) - v.unsqueeze(-1)
        logits = _outward((beyond[..., 1:] + beyond[..., :-1]) / tau, start)
        wanted = v.new_ones(targets)
        wanted[k:] = n - k
        Q = _transport(logits, start, wanted, tol, max_steps)
        ctx.save_for_backward(tau, start, Q, logits)
        rows = Q[..., :k]
        return (rows / rows.sum(-2, keepdim=True)).mT.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        tau, start, Q, logits = ctx.saved_tensors
        targets = Q.shape[-1]
        g = torch.nn.functional.pad(grads[0].mT, (0, targets - grads[0].shape[-2]))
        w = _laplacian_solve(Q, _softmax_slope(Q, g).sum(-2))  # the answer of the potentials
        slope = _softmax_slope(Q, g - w.unsqueeze(-2))
        lever = 2 * (start - torch.arange(targets, device=Q.device))
        grad_v = (slope * lever).sum(-1) / tau.squeeze(-1)
        return grad_v, _by_tau(slope, logits, tau), None, None, None


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


def _outward(step: Tensor, start: Tensor) -> Tensor:
    """Numbers that are 0 at `start` and grow by `step (..., n - 1)` from one to the next, `(..., n)`.

    Summed from the start on both sides, so that they are exact where they are small.
    """
    right = torch.arange(step.shape[-1], device=step.device) >= start
    after = torch.where(right, step, 0).cumsum(-1)
    before = torch.where(right, 0, -step).flip(-1).cumsum(-1).flip(-1)
    pad = torch.nn.functional.pad
    return (pad(after, (1, 0)) + pad(before, (0, 1))).clamp(min=-1e30)  # finite, for products with zero


def _softmax_slope(P: Tensor, g: Tensor) -> Tensor:
    """The gradient by the logits of `P = softmax(logits)`."""
    return P * (g - (P * g).sum(-1, keepdim=True))


def _by_tau(slope: Tensor, logits: Tensor, tau: Tensor) -> Tensor:
    """The gradient by `tau` where the logits are proportional to `1 / tau`."""
    return (-(slope * logits).sum((-2, -1), keepdim=True) / tau).sum_to_size(tau.shape)


def _top(v: Tensor, k: int) -> Tensor:
    """Where the `k` largest are, largest first, ties to the lowest index, `(*batch, k)`."""
    if k == 1:
        return v.argmax(dim=-1, keepdim=True)
    return v.sort(dim=-1, descending=True, stable=True).indices[..., :k]


def _checked(v: Tensor, tau: Tensor | float, k: int | None, descending: bool) -> tuple[Tensor, Tensor, int]:
    """What the inner functions take: scores to sort downwards, `tau (*batch, 1, 1)` and the number of rows."""
    v = _scores(v) if descending else -_scores(v)
    return v, _temperature(tau, v)[..., None, None], _rows(k, v.shape[-1])


def _scores(v: Tensor) -> Tensor:
    """Finite numbers `(*batch, n)`."""
    if not isinstance(v, Tensor) or v.dtype not in (torch.float32, torch.float64):
        given = f"dtype {v.dtype}" if isinstance(v, Tensor) else f"type {type(v).__name__}"
        raise TypeError(f"v has {given}; needed is a tensor of float32 or float64: take magnitudes, or convert it.")
    if v.ndim == 0 or v.shape[-1] == 0:
        raise ValueError(f"v has shape {tuple(v.shape)}; needed is (*batch, n) with n >= 1.")
    return finite("v", v)


def _temperature(tau: Tensor | float, v: Tensor) -> Tensor:
    """Finite numbers > 0, one or one per item."""
    value = plain("tau", tau, "a real number > 0", v.device)
    batch = v.shape[:-1]
    if value.is_complex() or not expands(value.shape, batch):
        raise ValueError(
            f"tau has shape {tuple(value.shape)} and dtype {value.dtype}; needed is a real number, or one per item "
            f"with shape {tuple(batch)}."
        )
    value = value.to(v.dtype)
    if not ((value >= torch.finfo(v.dtype).tiny) & value.isfinite()).all():
        raise ValueError(f"tau is {show(value.detach())}; needed is a finite number > 0 in {v.dtype}.")
    return value


def _rows(k: int | None, n: int) -> int:
    """How many rows, 1, ..., n."""
    if k is None:
        return n
    if isinstance(k, bool) or not hasattr(k, "__index__"):
        raise TypeError(f"k is {k!r}; needed is a whole number 1 <= k <= n = {n}.")
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; needed is 1 <= k <= n = {n}.")
    return int(k)
