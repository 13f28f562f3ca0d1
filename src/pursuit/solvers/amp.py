"""Approximate Message Passing."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import loop
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from ..shrinkage import bernoulli_gaussian, soft
from . import ista
from .problem import ALL, Hook, Problem, problem

Denoiser = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of z and its noise's variance: x, and its slope by z
ROOM = 2.0  # times what x = 0, or the start, leaves: a larger residual is none of a run that converges
BISECTIONS = 60


class State(NamedTuple):
    """Iterate `x`, its residual `r = y - A x`, and that with Onsager's term, `v`."""

    x: Tensor
    r: Tensor
    v: Tensor


def init(A: Operator, y: Tensor, x: Tensor) -> State:
    """The start, with nothing to correct yet."""
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
    """One step; LAMP learns the three factors, which are one here."""
    m, n = A.shape
    tau2 = inflation / m * s.v.abs().square().sum(-1, keepdim=True)  # tau^2 = ||v||^2 / m
    z = A.gradient_step(s.x, s.v, gamma)  # z = x + A^H v, which is the signal in white noise of variance tau^2
    x, slope = denoise(z, tau2)  # x = eta(z; tau^2)
    r = A.residual(y, x)
    return State(x, r, r + b * (n / m) * slope.mean(-1, keepdim=True) * s.v)  # v = y - A x + (n / m) <eta'> v


def damped(old: State, new: State, share: Tensor) -> State:
    """Only this share of the way; `A` is linear, so that the residual goes with it."""
    return State(*(after + (1 - share) * (before - after) for before, after in zip(old, new, strict=True)))


def stop(old: State, new: State, *, limit: Tensor) -> Tensor:
    """The step changed nothing but rounding, or the residual is above its `limit (*batch,)`."""
    grown = torch.linalg.vector_norm(new.r, dim=-1) > limit
    return torch.where(grown, Status.DIVERGED, loop.stationary(old, new))


def floored(tau2: Tensor) -> Tensor:
    """The variance, or where it is zero (the target is met) something to divide by."""
    return tau2.clamp(min=torch.finfo(tau2.dtype).tiny ** 0.5)


def soft_threshold(z: Tensor, tau2: Tensor, *, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """The soft threshold at `alpha tau`, and its slope."""
    theta = alpha * torch.where(tau2 > 0, torch.where(tau2 > 0, tau2, 1).sqrt(), 0)
    size = z.abs()
    kept = size > theta
    bend = theta / torch.where(kept, size, 1) / 2 if z.is_complex() else 0.0  # the slope by z, with conj(z) held
    return soft(z, theta), torch.where(kept, 1 - bend, torch.zeros_like(size))


def minimax(share: Tensor, *, cplx: bool) -> Tensor:
    """The `alpha` with the least worst error among signals that have this share of non-zeros, in double precision.

    The error in units of tau^2 is `share (1 + alpha^2) + (1 - share) E (|Z| - alpha)_+^2`: non-zeros of any size, and
    noise where there is none. Its derivative rises in alpha.
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
        answer=ista.answer,
    )


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
    max_steps: PerItem = 1000,
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """AMP: gradient steps whose residual is corrected, so that each sees the signal in white noise, then a denoiser.

    It is for matrices that are like random ones, as Gaussian or subsampled Fourier matrices: there it needs fewer steps
    than FISTA, and nothing to tune. For others (neighbouring columns alike, a large condition number, entries of one
    sign) its theory fails, and the status says `DIVERGED`: the residual was twice that of x = 0, or of the start. A
    smaller `damping` may help, or another solver. It also ends small cycles, in which a few signals in a hundred stay.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm: it works on unit columns.
    y : array (*batch, m)
    k : int or int array (*batch,), optional
        Expected number of non-zeros, for `alpha` and for the prior; the solution may have more.
    denoiser : {"soft", "bernoulli-gaussian"} or callable (z, tau2) -> (x, slope), default "soft"
        What estimates the signal from `z (*batch, n)`, in the caller's units, which is the signal in white noise of
        variance `tau2 (*batch, n)`, > 0. "soft" thresholds, for signals of which only k is known.
        "bernoulli-gaussian" is the posterior mean of entries that are zero but for a share of k / n, and then Gaussian;
        its signals are small off the non-zeros, not zero. A function also returns the real slope `(*batch, n)` of x by
        z (where complex, by z with its conjugate held).
    alpha : float or array (*batch,), optional
        Of "soft": the threshold in units of the noise's standard deviation. By default the one with the least worst
        error at k / n.
    variance : float or array (*batch,), optional
        Of "bernoulli-gaussian", which needs it: that of the non-zeros, in the caller's units.
    damping : float or array (*batch,), default 1.0
        How much of every step is taken, > 0 and <= 1. Less is slower, and converges for more matrices.
    x0 : array (*batch, n), optional
        Warm start.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    max_steps : int or int array (*batch,), default 1000
        It stops earlier where a step changes nothing but rounding.
    on_step : callable, optional
        Run without the compiled kernel, and call this after every step: see `solve`.

    Returns
    -------
    Solution
        `support` holds the non-zero entries, largest first.

    Raises
    ------
    TypeError, ValueError
        Before any work, on input that cannot be solved as given.

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
    p = problem(A, y, ALL if k is None else k, tol=tol, max_steps=max_steps)
    share = None if k is None else (p.k / p.A.shape[1]).unsqueeze(-1)
    denoise = _denoiser(p, denoiser, share, alpha, variance)
    taken = p.per_item("damping", damping).unsqueeze(-1)
    if not ((taken > 0) & (taken <= 1)).all():
        raise ValueError(f"damping is {damping}; needed is a share of each step, > 0 and <= 1.")
    return p.recover("amp", partial(run, denoise=denoise, damping=taken), p.start(x0), on_step)


def _denoiser(p: Problem, denoiser: Any, share: Tensor | None, alpha: Any, variance: Any) -> Denoiser:
    """The denoiser for unit columns."""
    for option, value, owner in (("alpha", alpha, "soft"), ("variance", variance, "bernoulli-gaussian")):
        if value is not None and denoiser != owner:
            raise ValueError(f"{option} was given for the denoiser {denoiser!r}; only {owner!r} has one.")
    if callable(denoiser):
        return partial(_in_callers_units, denoiser, torch.where(p.scale > 0, p.scale, 1))
    if denoiser == "soft":
        if alpha is not None:
            return partial(soft_threshold, alpha=p.per_item("alpha", alpha).unsqueeze(-1))
        if share is None:
            raise ValueError("amp was given neither k nor alpha; pass k, the expected number of non-zeros, or alpha.")
        return partial(soft_threshold, alpha=minimax(share, cplx=p.y.is_complex()).to(p.y.real.dtype))
    if denoiser == "bernoulli-gaussian":
        if share is None or variance is None:
            raise ValueError(
                "the denoiser 'bernoulli-gaussian' needs k and variance: how many non-zeros are expected, and the "
                "variance of these."
            )
        v = p.per_item("variance", variance).unsqueeze(-1)
        if not (v > 0).all():
            raise ValueError(f"variance is {variance}; needed is a number > 0.")
        prior = partial(bernoulli_gaussian, logit=torch.logit(share).to(p.y.real.dtype), v=v)
        return partial(_in_callers_units, prior, torch.where(p.scale > 0, p.scale, 1))
    raise ValueError(f"denoiser is {denoiser!r}; needed is 'soft', 'bernoulli-gaussian' or a function of (z, tau2).")


def _in_callers_units(denoise: Denoiser, scale: Tensor, z: Tensor, tau2: Tensor) -> tuple[Tensor, Tensor]:
    """The denoiser where a coefficient of a unit column is `scale (n,)` or `(*batch, n)` of the caller's."""
    x, slope = denoise(scale * z, floored(scale.square() * tau2))
    return x / scale, slope
