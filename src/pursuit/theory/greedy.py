"""Bounds on the distance between soft and exact greedy algorithms ("Deep greedy unfolding", Thm 3.6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import as_tensor
from ..checks import whole
from ..core import loop
from ..core.numeric import ones_for_zeros
from ..solvers import iht, omp
from ..solvers.problem import Problem, problem
from .common import positive
from .sorting import log_spill, neighbour_gap


@dataclass(frozen=True)
class Bound:
    """Bound on the distance between the soft and the exact algorithm on these data, and the largest safe temperature.

    NumPy arrays for NumPy input, else tensors, in double precision. An infinite `error` means that nothing is
    guaranteed.

    Attributes
    ----------
    error : (*batch, steps)
        Bound on `||x_soft - x||` after every step, in the caller's units: `unit_error` times the largest inverse
        column norm.
    unit_error : (*batch, steps)
        Bound on the same distance for the coefficients of columns of norm one.
    gap : (*batch, steps)
        Gap between the scores of the exact algorithm at every step, in the units of `tau`; zero if it took no step or
        had too few columns to choose from.
    steps : (*batch,) int64
        Number of steps of the exact algorithm.
    tau : (*batch,)
        The given temperature.
    accuracy : (*batch,)
        The wanted `error / ||x||` after the last step.
    tau_needed : (*batch,)
        The largest temperature with that accuracy by the bound; zero if there is none, infinite if all have it.
    factor : (*batch,)
        `tau / tau_needed`: `tau` is small enough if this is at most 1.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> print(theory.soft_omp_bound(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1, tau=1.0))
    tau = 1 is not known to be small enough: a relative error of 1e-06 needs tau <= 0.19, 5.26 times smaller.
    """

    error: Any
    unit_error: Any
    gap: Any
    steps: Any
    tau: Any
    accuracy: Any
    tau_needed: Any
    factor: Any

    @property
    def message(self) -> str:
        """The result in a sentence."""
        factor, needed, tau, accuracy = (
            np.asarray(value.tolist(), dtype=float).ravel()
            for value in (self.factor, self.tau_needed, self.tau, self.accuracy)
        )
        if factor.size == 0:
            return "There are no signals."
        worst = int(np.argmax(factor))
        at, up_to = f"tau = {tau[worst]:.3g}", f"{needed[worst]:.3g}"
        wanted = f"a relative error of {accuracy[worst]:.3g}"
        if factor[worst] <= 1:
            return f"{at} is small enough: {wanted} at most is guaranteed up to tau = {up_to}."
        some = f"is known to be small enough for {(factor <= 1).sum()} of {factor.size} signals"
        verdict = f"{at} {some if factor.size > 1 else 'is not known to be small enough'}"
        if needed[worst] == 0:
            return f"{verdict}: no tau helps where scores tie or overflow."
        return f"{verdict}: {wanted} needs tau <= {up_to}, {factor[worst]:.3g} times smaller."

    def __str__(self) -> str:
        return self.message


@torch.no_grad()
def soft_iht_bound(
    A: Any,
    y: Any,
    k: Any,
    *,
    tau: Any,
    steps: int,
    eta: Any = None,
    weights: Any = None,
    accuracy: Any = 1e-6,
) -> Bound:
    """Bound on the distance between `iht(..., select=Relaxed(softsort, tau))` and `iht(...)` after every step.

    It runs the exact algorithm to find the gaps between its scores, and computes the spectral norm of `I - eta A^H A`
    from the dense matrix. This norm is at least 1 if `n > m`, so the bound grows with the number of steps.

    Parameters
    ----------
    A, y, k, eta, weights
        As in `iht`; weights may be negative; their magnitude is used.
    tau : float or array (*batch,)
        Temperature > 0, in the units of the scores (as without `relative=True`).
    steps : int
        Number of steps.
    accuracy : float or array (*batch,), default 1e-6
        Wanted relative error after the last step, for `tau_needed` and `factor`.

    Returns
    -------
    Bound

    Raises
    ------
    TypeError, ValueError
        If `iht` does not take the input, `steps` is not a whole number >= 1, or `tau` or `accuracy` is not finite and
        positive.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661, Thm 3.6.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> A, y = torch.eye(3), torch.tensor([0.5, 4.0, 1.0])
    >>> bound = theory.soft_iht_bound(A, y, k=1, eta=1.0, steps=2, tau=0.25)
    >>> bound.gap, bound.error
    (tensor([3., 3.], dtype=torch.float64), tensor([5.1038e-05, 5.1038e-05], dtype=torch.float64))
    >>> print(bound)
    tau = 0.25 is not known to be small enough: a relative error of 1e-06 needs tau <= 0.206, 1.21 times smaller.
    """
    count = int(whole("steps", steps, 1, None, torch.Size(), torch.device("cpu")))
    p = _problem(A, y, k, weights)
    p = iht.with_step_size(p, eta)
    eta, choice = p.eta, p.choice
    s = iht.init(p.A, p.y, p.start(None), choice)
    gaps, sizes = [], []
    for _ in range(count):
        u = p.A.gradient_step(s.x, s.r, eta)  # of which the step keeps the k largest
        gaps.append(_score_gap(p, u, p.k))
        sizes.append(_norm(u))
        s = iht.step(p.A, p.y, s, eta=eta, choice=choice)
    size = torch.stack(sizes, dim=-1)
    gap = torch.where(size.isfinite(), torch.stack(gaps, dim=-1), 0)  # no statement after an overflow
    log_errors = partial(
        _iht_log_errors,
        gap=gap,
        log_size=size.log(),
        log_growth=_growth(p, eta.squeeze(-1)).log(),
        weight=_largest_weight(p),
        n=p.A.shape[1],
    )
    return _bound(p, log_errors, gap, p.k.new_full(p.batch, count), s.x, tau, accuracy)


@torch.no_grad()
def soft_omp_bound(A: Any, y: Any, k: Any, *, tau: Any, weights: Any = None, accuracy: Any = 1e-6) -> Bound:
    """Bound on the distance between `omp(..., select=Relaxed(softsort, tau))` and `omp(...)` after every step.

    It runs the exact algorithm to find the gaps between its scores and the smallest singular values of its supports,
    and computes the spectral norm of the dense matrix.

    On exact data the exact algorithm stops when it has the support. The soft one may continue, with a residual below
    `tau`, on which its choices mean nothing: pass it `max_steps=bound.steps`. The bound of later steps is infinite.

    Parameters
    ----------
    A, y, k, weights
        As in `omp`; weights may be negative; their magnitude is used.
    tau : float or array (*batch,)
        Temperature > 0, in the units of the scores (as without `relative=True`).
    accuracy : float or array (*batch,), default 1e-6
        Wanted relative error after the last step, for `tau_needed` and `factor`.

    Returns
    -------
    Bound

    Raises
    ------
    TypeError, ValueError
        If `omp` does not take the input, or `tau` or `accuracy` is not finite and positive.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661, Thm 3.6.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> bound = theory.soft_omp_bound(2 * torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=2, tau=0.02)
    >>> bound.gap
    tensor([3.0000, 0.5000], dtype=torch.float64)
    >>> print(bound)
    tau = 0.02 is small enough: a relative error of 1e-06 at most is guaranteed up to tau = 0.0318.
    """
    p = _problem(A, y, k, weights)
    choice = p.choice
    gap = p.y.real.new_zeros(*p.batch, p.max_k, dtype=torch.float64)

    def watched(s: omp.State) -> omp.State:
        gap[..., s.qr.size] = _score_gap(p, p.A.adjoint(s.r), p.k.new_ones(p.batch))
        return omp.step(p.A, s, choice=choice)

    start = omp.init(p.y, p.A.shape[1], choice)
    state = loop.run(watched, partial(omp.stop, k=p.k), start, target=p.target, max_steps=p.k).state
    taken = state.atoms.found.sum(-1)
    gap = torch.where(torch.arange(p.max_k, device=gap.device) < taken.unsqueeze(-1), gap, 0)
    log_errors = partial(
        _omp_log_errors,
        gap=gap,
        sigma=_least_singular_values(state.atoms.columns(p.A)),
        size=_norm(p.y),
        spectral=_singular_values(p)[..., 0],
        weight=_largest_weight(p),
        n=p.A.shape[1],
    )
    return _bound(p, log_errors, gap, taken, omp.estimate(state), tau, accuracy)


def _iht_log_errors(
    tau: Tensor, *, gap: Tensor, log_size: Tensor, log_growth: Tensor, weight: Tensor, n: int
) -> Tensor:
    """Logarithm of the bound on `e_t = ||x_soft^t - x^t||`, `(*batch, steps)`; infinite if there is none.

    Logarithms, because later steps may amplify a spill that underflows.
    """
    # The two gradient steps differ by at most rho e_t, so the scores by d = W rho e_t and the gap by 2 d. As long as
    # the gap is positive, both choose the same atoms; the mask has the error of the spill, on a vector of norm at most
    # ||u^t|| + rho e_t.
    log_e, holds = torch.full_like(tau, -math.inf), torch.ones_like(tau, dtype=torch.bool)
    errors = []
    for t in range(gap.shape[-1]):
        moved = log_growth + log_e
        room = gap[..., t] - 2 * weight * moved.exp()
        nothing = (log_size[..., t] == -math.inf) & (moved == -math.inf)  # both are exactly zero for any choice
        holds = holds & ((room > 0) | nothing)
        log_e = torch.logaddexp(moved, log_spill(room, tau, n) + torch.logaddexp(log_size[..., t], moved))
        errors.append(torch.where(holds, log_e, math.inf))
    return torch.stack(errors, dim=-1)


def _omp_log_errors(
    tau: Tensor, *, gap: Tensor, sigma: Tensor, size: Tensor, spectral: Tensor, weight: Tensor, n: int
) -> Tensor:
    """Logarithm of the bound on `e_l = ||x_soft^l - x^l||`, `(*batch, steps)`; infinite if there is none."""
    # Scores differ by at most d = W ||A|| e_{l-1}. As long as the gap is positive, row l differs from one-hot by at
    # most sqrt(2) spill, all rows by E in the Frobenius norm, and A P^T by ||A|| E. If the rank stays full, Wedin's
    # theorem bounds the change of the pseudo-inverse; P^T z with the changed rows adds E / (sigma - ||A|| E).
    log_e, log_squares = torch.full_like(tau, -math.inf), torch.full_like(tau, -math.inf)
    holds = torch.ones_like(tau, dtype=torch.bool)
    errors = []
    for t in range(gap.shape[-1]):
        room = gap[..., t] - 2 * weight * spectral * log_e.exp()
        log_squares = torch.logaddexp(log_squares, 2 * log_spill(room, tau, n))
        log_rows = (math.log(2) + log_squares) / 2  # log E
        kept = sigma[..., t] - spectral * log_rows.exp()
        holds = holds & (room > 0) & (kept > 0)
        wedin = torch.log1p(math.sqrt(2) * spectral / sigma[..., t])
        log_e = log_rows + wedin + size.log() - ones_for_zeros(kept).log()
        errors.append(torch.where(holds, log_e, math.inf))
    return torch.stack(errors, dim=-1)


def _bound(
    p: Problem,
    log_errors: Callable[[Tensor], Tensor],
    gap: Tensor,
    steps: Tensor,
    x: Tensor,
    tau: Any,
    accuracy: Any,
) -> Bound:
    """Evaluate the bound at `tau`, and find the largest `tau` with the accuracy."""
    tau = positive("tau", tau, p.batch, p.y.device)
    accuracy = positive("accuracy", accuracy, p.batch, p.y.device)
    scale = p.scale.double().amax(-1).expand(p.batch)
    log_scale = ones_for_zeros(scale).log()  # if all columns are zero, x is zero in any units
    size = _norm(p.scale * x)
    log_wanted = accuracy.log() + torch.where(size.isfinite(), size, 0).log()  # no accuracy after an overflow

    def good(tau: Tensor) -> Tensor:
        start = torch.full_like(tau, -math.inf).unsqueeze(-1)  # before the first step both are equal
        last = torch.cat([start, log_errors(tau)], dim=-1).gather(-1, steps.unsqueeze(-1)).squeeze(-1)
        return (last == -math.inf) | (last + log_scale <= log_wanted)

    needed = _largest(good, tau)
    unit = log_errors(tau)
    values = (
        (unit + log_scale.unsqueeze(-1)).exp(),
        unit.exp(),
        gap,
        steps,
        tau,
        accuracy,
        needed,
        torch.where(needed > 0, tau / ones_for_zeros(needed), math.inf),
    )
    return Bound(*(value.cpu().numpy() if p.as_numpy else value for value in values))


def _largest(good: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """The largest `good` temperature of each signal, by bisection on its logarithm.

    Spills grow with tau. By induction errors grow too, and gaps shrink: if a temperature is good, all lower ones are.
    """
    low, high = torch.full_like(like, -700.0), torch.full_like(like, 700.0)
    every, some = good(high.exp()), good(low.exp())
    for _ in range(50):  # 1400 / 2^50 is 1e-12
        middle = (low + high) / 2
        enough = good(middle.exp())
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return torch.where(every, math.inf, torch.where(some, low.exp(), 0))


def _problem(A: Any, y: Any, k: Any, weights: Any) -> Problem:
    if weights is not None:
        weights = as_tensor("weights", weights)
        weights = weights if weights.is_complex() else weights.abs()
    p = problem(A, y, k, weights=weights, keep_units=True)
    if p.settled is not None:
        raise ValueError(f"k is {k}; the bounds need 1 <= k <= {min(p.A.shape)}, one number or one per signal.")
    return p


def _score_gap(p: Problem, c: Tensor, k: Tensor) -> Tensor:
    """Smallest gap among the k+1 best scores of `c (*batch, n)`; zero if there are fewer than k columns."""
    score = p.choice.score(c).clamp(min=0).double()  # a barred column scores zero in the soft algorithm
    gap = neighbour_gap(score, k)
    enough = ((p.weights > 0).sum(-1) >= k) & ~gap.isnan()
    return torch.where(enough, gap, 0)


def _growth(p: Problem, eta: Tensor) -> Tensor:
    """`||I - eta A^H A||` for columns of norm one, `(*batch,)`."""
    m, n = p.A.shape
    values = _singular_values(p)[..., [0, -1]] ** 2
    growth = (1 - eta.double().unsqueeze(-1) * values).abs().amax(-1)
    return growth.clamp(min=1) if n > m else growth


def _singular_values(p: Problem) -> Tensor:
    """Singular values of the matrix with columns of norm one, largest first, `(*batch, min(m, n))`."""
    values = torch.linalg.svdvals(p.A.to_dense()).double()
    return values.expand(*p.batch, values.shape[-1])


def _least_singular_values(columns: Tensor) -> Tensor:
    """Smallest singular values of the first 1, 2, ..., k of the `columns (*batch, m, k)`, `(*batch, k)`."""
    leading = range(1, columns.shape[-1] + 1)
    return torch.stack([torch.linalg.svdvals(columns[..., :t])[..., -1] for t in leading], dim=-1).double()


def _largest_weight(p: Problem) -> Tensor:
    return p.weights.double().amax(-1).expand(p.batch)


def _norm(v: Tensor) -> Tensor:
    wide = torch.complex128 if v.is_complex() else torch.float64
    return torch.linalg.vector_norm(v.to(wide), dim=-1)
