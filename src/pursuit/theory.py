"""Guarantees, evaluated on your data: is `tau` small enough, and by what factor is it too large?

The statements are those of "Deep greedy unfolding" (arXiv 2505.15661, Prop. 3.3 and Thm 3.6) with constants that are
proven here, in the comments. They hold in exact arithmetic: below some `eps ||x||` rounding takes over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations, islice
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import loop
from .adapters import as_operator, as_tensor
from .checks import finite, number, show, whole
from .inputs import Problem, problem
from .operators import PROBES, Operator
from .selection import Hard
from .solvers import iht, omp

SUBSETS = 10**6  # of columns, that `rip_constant` goes through at most


def softsort_lipschitz(n: int, tau: float, k: int | None = None, *, norm: Literal["l2", "linf"] = "l2") -> float:
    """How fast `softsort` can change: `||softsort(v) - softsort(v')|| <= L ||v - v'||` for all `v` and `v'`.

    Parameters
    ----------
    n : int
        Length of `v`.
    tau : float
        Temperature > 0.
    k : int, optional
        How many rows. Default all `n`.
    norm : {"l2", "linf"}
        "l2": the change of the k rows in the Frobenius norm by that of `v` in the Euclidean one,
        `(sqrt(n) + sqrt(k)) / (2 tau)`. "linf": the change of any one row in the sum of absolute values by the largest
        change in `v`, `2 / tau`, however long `v` is.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If `n` or `k` is no whole number, `k` is not in 1, ..., n, or `tau` is not finite and positive.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661, Prop. 3.3.

    Examples
    --------
    >>> from pursuit import theory
    >>> theory.softsort_lipschitz(100, tau=0.5)
    20.0
    >>> theory.softsort_lipschitz(100, tau=0.5, norm="linf")
    4.0
    """
    # Softmax is 1/2-Lipschitz in l2, and 1-Lipschitz from l-infinity to l1; sorting is 1-Lipschitz in both. The scores
    # of the rows, -|v_i - v_j| / tau, move by what the sorted entries do (n times over) and what v does (k times over).
    here = torch.device("cpu")
    n = int(whole("n", n, 1, None, torch.Size(), here))
    k = int(_rows(n if k is None else k, n, torch.Size(), here))
    tau = float(_positive("tau", tau, torch.Size(), here))
    if norm not in ("l2", "linf"):
        raise ValueError(f'norm is {norm!r}; needed is "l2" or "linf".')
    return (math.sqrt(n) + math.sqrt(k)) / (2 * tau) if norm == "l2" else 2 / tau


def min_gap(v: Any, k: Any) -> Any:
    """How well separated the k largest scores are: the smallest gap between neighbours among the k+1 largest.

    Parameters
    ----------
    v : array (*batch, n)
        Real scores.
    k : int or int array (*batch,)
        With `k = n` there are only the n-1 gaps between the entries.

    Returns
    -------
    array (*batch,)
        Infinite for `n = 1`, where there is nothing to confuse.

    Raises
    ------
    TypeError, ValueError
        For complex or non-finite scores, or a `k` that is not a whole number in 1, ..., n.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> theory.min_gap(torch.tensor([1.0, 5.0, 2.0, 4.5]), 1)
    tensor(0.5000)
    """
    scores, k = _scores(v, k)
    return _give(_min_gap(scores, k), v)


class GapBound(NamedTuple):
    """How far the first k rows of `softsort` can be from those of the permutation.

    Attributes
    ----------
    gap : (*batch,)
        `min_gap` of the scores.
    mask : (*batch,)
        Bound on every entry of the soft mask (the sum of the rows) less the hard one: `(n - 1) exp(-gap / tau)`.
    rows_l1 : (*batch,)
        Bound on the sum of absolute differences in a row: twice that.
    rows_l2 : (*batch,)
        Bound on the Euclidean norm of the difference in a row: `sqrt(2)` times that.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> bound = theory.gap_bound(torch.tensor([3.0, 1.0]), tau=1.0, k=1)
    >>> bound.gap, bound.mask
    (tensor(2.), tensor(0.1353))
    """

    gap: Any
    mask: Any
    rows_l1: Any
    rows_l2: Any


def gap_bound(v: Any, tau: Any, k: Any) -> GapBound:
    """How far `softsort` at this temperature can be from sorting, by the gaps of the scores.

    Parameters
    ----------
    v : array (*batch, n)
        Real scores.
    tau : float or array (*batch,)
        Temperature > 0.
    k : int or int array (*batch,)
        How many rows.

    Returns
    -------
    GapBound

    Raises
    ------
    TypeError, ValueError
        As `min_gap`, or if `tau` is not finite and positive.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661, section 3 (its `g(1:n)`).

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> theory.gap_bound(torch.tensor([1.0, 5.0, 2.0]), 0.25, 1).mask
    tensor(1.2288e-05)
    """
    # In row i, every other entry is at least the gap away: it gets at most exp(-gap / tau) of the weight, the row's own
    # entry loses at most n-1 times that. A column of the mask gains at most k-1 <= n-1 times that from the other rows.
    scores, k = _scores(v, k)
    tau = _positive("tau", tau, scores.shape[:-1], scores.device)
    gap = _min_gap(scores, k)
    mask = _log_spill(gap.double(), tau, scores.shape[-1]).exp().to(scores.dtype)
    return GapBound(*(_give(value, v) for value in (gap, mask, 2 * mask, math.sqrt(2) * mask)))


def tau_for(v: Any, k: Any, error: Any) -> Any:
    """The temperature up to which `gap_bound(v, tau, k).mask` is at most `error`: `gap / log((n - 1) / error)`.

    Parameters
    ----------
    v : array (*batch, n)
        Real scores.
    k : int or int array (*batch,)
    error : float or array (*batch,)
        Wanted error of the mask, > 0.

    Returns
    -------
    array (*batch,)
        Zero for ties, where no temperature is small enough; infinite where every one is.

    Raises
    ------
    TypeError, ValueError
        As `min_gap`, or if `error` is not finite and positive.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661, section 3.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> v = torch.tensor([1.0, 5.0, 2.0], dtype=torch.float64)
    >>> tau = theory.tau_for(v, 1, 1e-6)
    >>> theory.gap_bound(v, tau, 1).mask
    tensor(1.0000e-06, dtype=torch.float64)
    """
    scores, k = _scores(v, k)
    error = _positive("error", error, scores.shape[:-1], scores.device)
    decades = _log_count(scores.shape[-1]) - error.log()
    tau = _min_gap(scores, k).double() / torch.where(decades > 0, decades, 1)
    return _give(torch.where(decades > 0, tau, math.inf).to(scores.dtype), v)


@dataclass(frozen=True)
class Bound:
    """How far a soft algorithm can be from the exact one on these data, and what temperature would do.

    Arrays are NumPy's for NumPy input, else tensors, in double precision. No guarantee is an infinite `error`.

    Attributes
    ----------
    error : (*batch, steps)
        Bound on `||x_soft - x||` after every step, in the caller's units: `unit_error` times the largest inverse
        column norm.
    unit_error : (*batch, steps)
        Bound on the same distance of the coefficients of the unit columns, which the solvers work with.
    gap : (*batch, steps)
        Gap of the exact algorithm's scores (of unit columns, weighted: the units of `tau`) at every step; zero where it
        took no step or had too few columns to choose from.
    steps : (*batch,) int64
        Steps that the exact algorithm took.
    tau : (*batch,)
        The temperature asked about.
    accuracy : (*batch,)
        The wanted `error / ||x||` after the last step.
    tau_needed : (*batch,)
        The largest temperature at which the bound gives that accuracy; zero where none does, infinite where all do.
    factor : (*batch,)
        `tau / tau_needed`, by what factor `tau` is too large: up to 1 it is small enough.

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
        """The answer in a sentence."""
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
    """How far `iht(..., select=Relaxed(softsort, tau))` can be from `iht(...)`, step by step.

    It runs the exact algorithm for the gaps of its scores, and forms the spectral norm of `I - eta A^H A` from the
    dense matrix, which is at least 1 where `n > m`: the bound grows with the number of steps.

    Parameters
    ----------
    A, y, k, eta, weights
        As `iht` takes them; weights may have any sign, their magnitude counts.
    tau : float or array (*batch,)
        Temperature > 0, in the units of the scores (as without `relative=True`).
    steps : int
        How many steps to bound.
    accuracy : float or array (*batch,), default 1e-6
        Wanted relative error after the last step, for `tau_needed` and `factor`.

    Returns
    -------
    Bound

    Raises
    ------
    TypeError, ValueError
        On input that `iht` does not take; if `steps` is not a whole number >= 1; if `tau` or `accuracy` is not finite
        and positive.

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
    eta, choice = p.step_size(eta, 1.8), p.choice(Hard())
    s = iht.init(p.A, p.y, p.start(None), choice)
    gaps, sizes = [], []
    for _ in range(count):
        u = p.A.descend(s.x, s.r, eta)  # of which the step keeps the k largest
        gaps.append(_score_gap(p, u, p.k))
        sizes.append(_norm(u))
        s = iht.step(p.A, p.y, s, eta=eta, choice=choice)
    size = torch.stack(sizes, dim=-1)
    gap = torch.where(size.isfinite(), torch.stack(gaps, dim=-1), 0)  # of an overflow there is nothing to say
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
    """How far `omp(..., select=Relaxed(softsort, tau))` can be from `omp(...)`, step by step.

    It runs the exact algorithm for the gaps of its scores and the least singular values of its supports, and forms the
    spectral norm of the dense matrix.

    Exact data end the exact algorithm at the support. The soft one may go on, with a residual below `tau` that tells it
    nothing: pass it `max_steps=bound.steps`. Later steps have an infinite bound.

    Parameters
    ----------
    A, y, k, weights
        As `omp` takes them; weights may have any sign, their magnitude counts.
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
        On input that `omp` does not take; if `tau` or `accuracy` is not finite and positive.

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
    choice = p.choice(Hard())
    gap = p.y.real.new_zeros(*p.batch, p.most, dtype=torch.float64)

    def watched(s: omp.State) -> omp.State:
        gap[..., s.qr.size] = _score_gap(p, p.A.adjoint(s.r), p.k.new_ones(p.batch))
        return omp.step(p.A, s, choice=choice)

    start = omp.init(p.y, p.A.shape[1], choice)
    state = loop.run(watched, partial(omp.stop, k=p.k), start, target=p.target, max_steps=p.k).state
    taken = state.atoms.found.sum(-1)
    gap = torch.where(torch.arange(p.most, device=gap.device) < taken.unsqueeze(-1), gap, 0)
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


def coherence(A: Any) -> Any:
    """Largest correlation of two columns, `max |<a_i, a_j>| / (||a_i|| ||a_j||)`.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        It is made dense; the n x n correlations are formed some columns at a time. Zero columns count as orthogonal.

    Returns
    -------
    array (*batch,)
        Between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If `A` cannot be used, or has entries that are NaN or infinite.

    References
    ----------
    D. Donoho, X. Huo, "Uncertainty principles and ideal atomic decomposition", IEEE Trans. IT 2001.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> theory.coherence(torch.tensor([[2.0, 0.0, 3.0], [0.0, 1.0, 4.0]]))
    tensor(0.8000)
    """
    matrix = _matrix(A)
    norms = torch.linalg.vector_norm(matrix, dim=-2, keepdim=True)
    unit = matrix / torch.where(norms > 0, norms, 1)
    n = unit.shape[-1]
    largest = norms.new_zeros(unit.shape[:-2])
    width = max(1, PROBES // n)
    for first in range(0, n, width):
        correlation = (unit[..., first : first + width].mH @ unit).abs()
        correlation.diagonal(first, -2, -1).zero_()  # of every column with itself
        largest = torch.maximum(largest, correlation.amax((-2, -1)))
    return _give(largest.clamp(max=1), A)


def rip_constant(A: Any, k: int) -> Any:
    """Restricted isometry constant: the least `d` with `| ||A x||^2 - ||x||^2 | <= d ||x||^2` for all k-sparse `x`.

    By going through all supports, so for small `k` and `n`. `A` is taken as it is: normalise its columns first.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
    k : int
        Number of non-zeros.

    Returns
    -------
    array (*batch,)

    Raises
    ------
    TypeError, ValueError
        If `A` cannot be used, `k` is not a whole number in 1, ..., n, or there are more than a million supports.

    References
    ----------
    E. Candès, T. Tao, "Decoding by linear programming", IEEE Trans. IT 2005.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> theory.rip_constant(torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]]), 2)
    tensor(0.8000)
    """
    matrix = _matrix(A)
    n = matrix.shape[-1]
    size = int(_rows(k, n, torch.Size(), matrix.device))
    if math.comb(n, size) > SUBSETS:
        raise ValueError(
            f"k={size} of n={n} columns have {math.comb(n, size):.3g} subsets; at most {SUBSETS:.0e} are gone through. "
            "Use a smaller k, or (k - 1) coherence(A), a bound on the constant for unit columns."
        )
    gram = matrix.mH @ matrix
    constant = gram.real.new_full(gram.shape[:-2], -math.inf)
    for subset in _subsets(n, size, device=gram.device):
        values = torch.linalg.eigvalsh(gram[..., subset.unsqueeze(-1), subset.unsqueeze(-2)])
        worst = torch.maximum(1 - values[..., 0], values[..., -1] - 1).amax(-1)
        constant = torch.maximum(constant, worst)
    return _give(constant, A)


def _iht_log_errors(
    tau: Tensor, *, gap: Tensor, log_size: Tensor, log_growth: Tensor, weight: Tensor, n: int
) -> Tensor:
    """Logarithm of the bound on `e_t = ||x_soft^t - x^t||`, `(*batch, steps)`; infinite where there is none.

    In logarithms, for a spill that underflows may be blown up by later steps.
    """
    # Both gradient steps differ by at most rho e_t, so the scores by d = W rho e_t and the gap by 2 d. While it stays
    # open the same atoms are chosen; the mask errs by the spill, on a vector no longer than ||u^t|| + rho e_t.
    log_e, holds = torch.full_like(tau, -math.inf), torch.ones_like(tau, dtype=torch.bool)
    errors = []
    for t in range(gap.shape[-1]):
        moved = log_growth + log_e
        room = gap[..., t] - 2 * weight * moved.exp()
        nothing = (log_size[..., t] == -math.inf) & (moved == -math.inf)  # both are exactly zero, whatever is chosen
        holds = holds & ((room > 0) | nothing)
        log_e = torch.logaddexp(moved, _log_spill(room, tau, n) + torch.logaddexp(log_size[..., t], moved))
        errors.append(torch.where(holds, log_e, math.inf))
    return torch.stack(errors, dim=-1)


def _omp_log_errors(
    tau: Tensor, *, gap: Tensor, sigma: Tensor, size: Tensor, spectral: Tensor, weight: Tensor, n: int
) -> Tensor:
    """Logarithm of the bound on `e_l = ||x_soft^l - x^l||`, `(*batch, steps)`; infinite where there is none."""
    # Scores differ by at most d = W ||A|| e_{l-1}. While the gap stays open, row l is within sqrt(2) spill of one-hot,
    # all rows within E in the Frobenius norm, and A P^T within ||A|| E. With full rank kept, Wedin bounds the change of
    # the pseudo-inverse; what the rows change after it adds E / (sigma - ||A|| E).
    log_e, log_squares = torch.full_like(tau, -math.inf), torch.full_like(tau, -math.inf)
    holds = torch.ones_like(tau, dtype=torch.bool)
    errors = []
    for t in range(gap.shape[-1]):
        room = gap[..., t] - 2 * weight * spectral * log_e.exp()
        log_squares = torch.logaddexp(log_squares, 2 * _log_spill(room, tau, n))
        log_rows = (math.log(2) + log_squares) / 2  # log E
        kept = sigma[..., t] - spectral * log_rows.exp()
        holds = holds & (room > 0) & (kept > 0)
        wedin = torch.log1p(math.sqrt(2) * spectral / sigma[..., t])
        log_e = log_rows + wedin + size.log() - torch.where(kept > 0, kept, 1).log()
        errors.append(torch.where(holds, log_e, math.inf))
    return torch.stack(errors, dim=-1)


def _log_spill(gap: Tensor, tau: Tensor, n: int) -> Tensor:
    """Logarithm of `(n - 1) exp(-gap / tau)`, the weight that a row gives to others than its own."""
    return _log_count(n) - gap / tau


def _log_count(n: int) -> float:
    return math.log(n - 1) if n > 1 else -math.inf


def _bound(
    p: Problem,
    log_errors: Callable[[Tensor], Tensor],
    gap: Tensor,
    steps: Tensor,
    x: Tensor,
    tau: Any,
    accuracy: Any,
) -> Bound:
    """Evaluate the bound at `tau`, and find where it gives the accuracy."""
    tau = _positive("tau", tau, p.batch, p.y.device)
    accuracy = _positive("accuracy", accuracy, p.batch, p.y.device)
    scale = p.scale.double().amax(-1).expand(p.batch)
    log_scale = torch.where(scale > 0, scale, 1).log()  # with no column but zeros x is zero in any units
    size = _norm(p.scale * x)
    log_wanted = accuracy.log() + torch.where(size.isfinite(), size, 0).log()  # nothing is near an overflow

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
        torch.where(needed > 0, tau / torch.where(needed > 0, needed, 1), math.inf),
    )
    return Bound(*(value.cpu().numpy() if p.as_numpy else value for value in values))


def _largest(good: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """The largest temperature that is good, per item: by bisection on its logarithm.

    The spills grow with tau, hence by induction every error does, and the gaps that errors leave shrink: what is good
    at some temperature is good at all lower ones.
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
    return problem(A, y, k, weights=weights)


def _score_gap(p: Problem, c: Tensor, k: Tensor) -> Tensor:
    """Gap among the k+1 best scores of `c (*batch, n)`; zero where there are no k columns to choose from."""
    score = p.choice(Hard()).score(c).clamp(min=0).double()  # a barred column scores zero in the soft algorithm
    gap = _min_gap(score, k)
    enough = ((p.weights > 0).sum(-1) >= k) & ~gap.isnan()
    return torch.where(enough, gap, 0)


def _growth(p: Problem, eta: Tensor) -> Tensor:
    """`||I - eta A^H A||` of unit columns, `(*batch,)`."""
    m, n = p.A.shape
    values = _singular_values(p)[..., [0, -1]] ** 2
    growth = (1 - eta.double().unsqueeze(-1) * values).abs().amax(-1)
    return growth.clamp(min=1) if n > m else growth


def _singular_values(p: Problem) -> Tensor:
    """Of the matrix with unit columns, largest first, `(*batch, min(m, n))`."""
    values = torch.linalg.svdvals(p.A.to_dense()).double()
    return values.expand(*p.batch, values.shape[-1])


def _least_singular_values(columns: Tensor) -> Tensor:
    """Of the first 1, 2, ..., k of the `columns (*batch, m, k)`, `(*batch, k)`."""
    leading = range(1, columns.shape[-1] + 1)
    return torch.stack([torch.linalg.svdvals(columns[..., :t])[..., -1] for t in leading], dim=-1).double()


def _largest_weight(p: Problem) -> Tensor:
    return p.weights.double().amax(-1).expand(p.batch)


def _norm(v: Tensor) -> Tensor:
    wide = torch.complex128 if v.is_complex() else torch.float64
    return torch.linalg.vector_norm(v.to(wide), dim=-1)


def _scores(v: Any, k: Any) -> tuple[Tensor, Tensor]:
    """Scores `(*batch, n)` and how many to choose of them, `(*batch,)`."""
    scores = finite("v", as_tensor("v", v))
    if scores.is_complex():
        raise TypeError(f"v has dtype {scores.dtype}; needed are real scores, for example its magnitudes abs(v).")
    if scores.ndim == 0 or scores.shape[-1] == 0:
        raise ValueError(f"v has shape {tuple(scores.shape)}; needed is (*batch, n) with n >= 1.")
    return scores, _rows(k, scores.shape[-1], scores.shape[:-1], scores.device)


def _min_gap(scores: Tensor, k: Tensor) -> Tensor:
    ordered = scores.sort(dim=-1, descending=True).values
    gaps = ordered[..., :-1] - ordered[..., 1:]
    of_interest = torch.arange(gaps.shape[-1], device=gaps.device) < k.unsqueeze(-1)
    gaps = torch.where(of_interest, gaps, math.inf)
    return torch.nn.functional.pad(gaps, (0, 1), value=math.inf).amin(-1)  # a lone entry has no gap


def _rows(k: Any, n: int, batch: torch.Size, device: torch.device) -> Tensor:
    """How many of n, `(*batch,)`."""
    k = whole("k", k, 1, None, batch, device)
    if (k > n).any():
        raise ValueError(f"k is {show(k)}; needed is a whole number 1 <= k <= n = {n}.")
    return k


def _positive(name: str, value: Any, batch: torch.Size, device: torch.device) -> Tensor:
    """Finite numbers > 0 in double precision, `(*batch,)`."""
    value = number(name, value, batch, torch.empty(0, dtype=torch.float64, device=device)).detach()
    if not (value > 0).all():
        raise ValueError(f"{name} is {show(value)}; needed is a finite number > 0.")
    return value


def _matrix(A: Any) -> Tensor:
    return finite("A", as_operator(A).to_dense().detach())


def _subsets(n: int, size: int, *, device: torch.device) -> Iterator[Tensor]:
    """All subsets of `size` of n columns, some at a time, `(count, size)`."""
    subsets = combinations(range(n), size)
    while part := list(islice(subsets, max(1, PROBES // size**2))):
        yield torch.tensor(part, device=device)


def _give(value: Tensor, given: Any) -> Any:
    """The value in the form of what was given: a tensor for torch, else an array."""
    return value if isinstance(given, Tensor | Operator) else value.detach().cpu().numpy()
