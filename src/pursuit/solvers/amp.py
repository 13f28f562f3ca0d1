"""Approximate Message Passing."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import loop
from ..core.autocast import full_precision
from ..core.numeric import ones_for_zeros, safe_sqrt
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from ..shrinkage import bernoulli_gaussian, soft
from . import penalty
from .given import ALL
from .problem import Hook, Problem, Run, problem

Denoiser = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (z, variance of its noise) -> (x, derivative by z)
ROOM = 2.0  # a residual this many times that of x = 0, or of the start, means divergence
BISECTIONS = 60


class State(NamedTuple):
    """Iterate `x`, its residual `r = y - A x`, and `v`, the residual with Onsager's term."""

    x: Tensor
    r: Tensor
    v: Tensor


def init(A: Operator, y: Tensor, x: Tensor) -> State:
    """The start, without a correction."""
    r = A.residual(y, x)
    return State(x, r, r)


def step(
    A: Operator,
    y: Tensor,
    s: State,
    *,
    denoise: Denoiser,
    gamma: Tensor | float = 1.0,
    inflation: Tensor | float = 1.0,
    b: Tensor | float = 1.0,
) -> State:
    """One step. The three factors are one here; LAMP learns them."""
    m, n = A.shape
    tau2 = inflation / m * s.v.abs().square().sum(-1, keepdim=True)  # tau^2 = ||v||^2 / m
    z = A.gradient_step(s.x, s.v, gamma)  # z = x + A^H v: the signal plus white noise of variance tau^2
    x, slope = denoise(z, tau2)  # x = eta(z; tau^2)
    r = A.residual(y, x)
    return State(x, r, r + b * (n / m) * slope.mean(-1, keepdim=True) * s.v)  # v = y - A x + (n / m) <eta'> v


def damped(old: State, new: State, share: Tensor) -> State:
    """The state after this share of the step; `A` is linear, so the residual is interpolated too."""
    return State(*(after + (1 - share) * (before - after) for before, after in zip(old, new, strict=True)))


def stop(old: State, new: State, *, limit: Tensor) -> Tensor:
    """Stop when the step changed x by rounding only, or when the residual is above its `limit (*batch,)`."""
    grown = torch.linalg.vector_norm(new.r, dim=-1) > limit
    return torch.where(grown, Status.DIVERGED, loop.stationary(old, new))


def floored(tau2: Tensor) -> Tensor:
    """The variance, at least a tiny positive number: it is zero where the target is met."""
    return tau2.clamp(min=torch.finfo(tau2.dtype).tiny ** 0.5)


def soft_threshold(z: Tensor, tau2: Tensor, *, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """The soft threshold at `alpha tau`, and its slope."""
    theta = alpha * safe_sqrt(tau2)
    size = z.abs()
    kept = size > theta
    bend = theta / torch.where(kept, size, 1) / 2 if z.is_complex() else 0.0  # derivative by z, with conj(z) fixed
    return soft(z, theta), torch.where(kept, 1 - bend, torch.zeros_like(size))


def minimax(share: Tensor, *, cplx: bool) -> Tensor:
    """The `alpha` whose worst error is smallest over all signals with this share of non-zeros, in double precision.

    The worst error in units of tau^2 is `share (1 + alpha^2) + (1 - share) E (|Z| - alpha)_+^2`: the first term is of
    the non-zeros, the second of the zeros. Its derivative increases with alpha.
    """
    share = share.double()
    low, high = torch.zeros_like(share), torch.full_like(share, 20.0)
    for _ in range(BISECTIONS):
        alpha = (low + high) / 2
        if cplx:
            tail = math.sqrt(math.pi) / 2 * torch.erfc(alpha)
        else:
            tail = 2 * (torch.exp(-(alpha**2) / 2) / math.sqrt(2 * math.pi) - alpha * torch.erfc(alpha / 2**0.5) / 2)
        rising = share * alpha > (1 - share) * tail
        low, high = torch.where(rising, low, alpha), torch.where(rising, alpha, high)
    return (low + high) / 2


def run(p: Problem, x: Tensor, on_step: Hook | None = None, *, denoise: Denoiser, damping: Tensor) -> Solution[Tensor]:
    """All steps from `x`."""
    start = init(p.A, p.y, x)
    limit = ROOM * torch.linalg.vector_norm(torch.stack([p.y, start.r]), dim=-1).amax(0)
    return p.iterate(
        lambda s: damped(s, step(p.A, p.y, s, denoise=denoise), damping),
        partial(stop, limit=limit),
        start,
        on_step,
        answer=penalty.answer,
    )


@full_precision
def amp(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    denoiser: Any = "soft",
    alpha: Any = None,
    variance: Any = None,
    damping: Any = 1.0,
    x0: Any = None,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem = 1000,
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """Approximate Message Passing: gradient steps with a corrected residual, each followed by a denoiser.

    The correction (Onsager's term) makes the input of each denoiser the signal plus white noise. This holds for
    matrices that are close to random, such as Gaussian or subsampled Fourier matrices: there AMP needs fewer steps than
    FISTA and nothing to tune. For other matrices (similar neighbouring columns, a large condition number, entries of
    one sign) it can diverge: when the residual is twice that of x = 0, or of the start, it stops with the status
    `DIVERGED`. Then pass a smaller `damping`, or use another solver. A few signals in a hundred end in a small cycle;
    damping prevents that too.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,), optional
        Expected number of non-zeros, for `alpha` and for the prior; the solution may have more.
    denoiser : {"soft", "bernoulli-gaussian"} or callable (z, tau2) -> (x, slope), default "soft"
        Estimates the signal from `z (*batch, n)`, the signal plus white noise of variance `tau2 (*batch, n)` > 0.
        "soft" is the soft threshold, for signals of which only k is known. "bernoulli-gaussian" is the posterior mean
        if a share k / n of the entries is Gaussian and the others are zero; it estimates the others as small, not as
        zero. A function works in the caller's units, and returns x and the real derivative `(*batch, n)` of x by z (if
        complex, by z with its conjugate fixed).
    alpha : float or array (*batch,), optional
        For "soft": the threshold in units of the noise's standard deviation. Default: the one whose worst error is
        smallest at k / n.
    variance : float or array (*batch,), optional
        For "bernoulli-gaussian", which needs it: the variance of the non-zeros, in the caller's units.
    damping : float or array (*batch,), default 1.0
        Share of every step that is taken, > 0 and <= 1. A smaller share is slower and converges for more matrices.
    x0 : array (*batch, n), optional
        Warm start.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), default 1000
        Most steps. It stops earlier if a step changes `x` by rounding only.
    on_step : callable, optional
        Run without the compiled kernel, and call this after every step: see `pursuit.solve`.

    Returns
    -------
    Solution
        `support` holds the non-zero entries, largest first.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.

    References
    ----------
    Donoho, Maleki, Montanari, "Message-passing algorithms for compressed sensing", PNAS 2009; complex numbers: Maleki,
    Anitori, Yang, Baraniuk, "Asymptotic analysis of complex LASSO via complex approximate message passing", IEEE Trans.
    IT 2013; Bernoulli-Gaussian: Vila, Schniter, IEEE TSP 2013; damping: Rangan, Schniter, Fletcher, "On the convergence
    of approximate message passing with arbitrary matrices", ISIT 2014.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = torch.randn(100, 200, generator=torch.Generator().manual_seed(0))
    >>> x = torch.zeros(200)
    >>> x[[3, 40, 120]] = torch.tensor([1.0, -2.0, 3.0])
    >>> sol = pursuit.amp(A, A @ x, k=3, tol=1e-4)
    >>> torch.allclose(sol.x, x, atol=1e-3), int(sol.steps) < 30
    (True, True)
    """
    keep_units = callable(denoiser)
    p = problem(A, y, ALL if k is None else k, tol=tol, eps=eps, max_steps=max_steps, keep_units=keep_units)
    share = None if k is None else (p.k / p.A.shape[1]).unsqueeze(-1)
    made: tuple[Callable[..., Any], tuple[Tensor, ...]] = _denoiser(p, denoiser, share, alpha, variance)
    taken = p.per_item("damping", damping).unsqueeze(-1)
    if not ((taken > 0) & (taken <= 1)).all():
        raise ValueError(f"damping is {damping}; needed is a share of each step, > 0 and <= 1.")
    # A function of the user's may know the whole batch.
    return p.recover("amp", _steps(made[0]), (p.start(x0), taken, *made[1]), on_step, whole=callable(denoiser))


def _steps(denoise: Callable[..., tuple[Tensor, Tensor]]) -> Run:
    """`run`, from the start, the damping and the parameters of the denoiser, which are per signal too."""
    return lambda p, given, on_step: run(p, given[0], on_step, denoise=partial(denoise, *given[2:]), damping=given[1])


def _denoiser(
    p: Problem, denoiser: Any, share: Tensor | None, alpha: Any, variance: Any
) -> tuple[Callable[..., tuple[Tensor, Tensor]], tuple[Tensor, ...]]:
    """The denoiser for unit columns, `(*parameters, z, tau2) -> (x, slope)`, and its parameters per signal."""
    for option, value, owner in (("alpha", alpha, "soft"), ("variance", variance, "bernoulli-gaussian")):
        if value is not None and denoiser != owner:
            raise ValueError(f"{option} was given for the denoiser {denoiser!r}; only {owner!r} has one.")
    if callable(denoiser):
        return partial(_in_callers_units, denoiser, ones_for_zeros(p.scale)), ()
    if denoiser == "soft":
        if alpha is not None:
            return _soft, (p.per_item("alpha", alpha).unsqueeze(-1),)
        if share is None:
            raise ValueError("amp was given neither k nor alpha; pass k, the expected number of non-zeros, or alpha.")
        return _soft, (minimax(share, cplx=p.y.is_complex()).to(p.y.real.dtype),)
    if denoiser == "bernoulli-gaussian":
        if share is None or variance is None:
            raise ValueError(
                "the denoiser 'bernoulli-gaussian' needs k and variance: how many non-zeros are expected, and the "
                "variance of these."
            )
        v = p.variance("variance", variance)
        return _prior, (torch.logit(share).to(v.dtype), v)
    raise ValueError(f"denoiser is {denoiser!r}; needed is 'soft', 'bernoulli-gaussian' or a function of (z, tau2).")


def _soft(alpha: Tensor, z: Tensor, tau2: Tensor) -> tuple[Tensor, Tensor]:
    return soft_threshold(z, tau2, alpha=alpha)


def _prior(logit: Tensor, v: Tensor, z: Tensor, tau2: Tensor) -> tuple[Tensor, Tensor]:
    return bernoulli_gaussian(z, floored(tau2), logit, v)


def _in_callers_units(denoise: Denoiser, scale: Tensor, z: Tensor, tau2: Tensor) -> tuple[Tensor, Tensor]:
    """The denoiser in the caller's units: `scale (n,)` or `(*batch, n)` times the coefficients of unit columns."""
    x, slope = denoise(scale * z, floored(scale.square() * tau2))
    return x / scale, slope
