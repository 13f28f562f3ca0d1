"""Distance of `softsort` from sorting, and its Lipschitz constant ("Deep greedy unfolding", Prop. 3.3, section 3)."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..arrays import as_tensor
from ..checks import finite, whole
from ..core.numeric import ones_for_zeros
from ..operators import give
from .common import positive, rows


def softsort_lipschitz(n: int, tau: float, k: int | None = None, *, norm: Literal["l2", "linf"] = "l2") -> float:
    """Lipschitz constant of `softsort`: `||softsort(v) - softsort(v')|| <= L ||v - v'||` for all `v` and `v'`.

    Parameters
    ----------
    n : int
        Length of `v`.
    tau : float
        Temperature > 0.
    k : int, optional
        Number of rows. Default all `n`.
    norm : {"l2", "linf"}
        "l2": Frobenius norm of the k rows, Euclidean norm of `v`, `(sqrt(n) + sqrt(k)) / (2 tau)`. "linf": sum of
        absolute values of a row, largest entry of `v`, `2 / tau` for any `n`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If `n` or `k` is not a whole number, `k` is not in 1, ..., n, or `tau` is not finite and positive.

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
    k = int(rows(n if k is None else k, n, torch.Size(), here))
    tau = float(positive("tau", tau, torch.Size(), here))
    if norm not in ("l2", "linf"):
        raise ValueError(f'norm is {norm!r}; needed is "l2" or "linf".')
    return (math.sqrt(n) + math.sqrt(k)) / (2 * tau) if norm == "l2" else 2 / tau


def min_gap(v: Any, k: Any) -> Any:
    """The smallest gap between neighbours among the k+1 largest scores.

    Parameters
    ----------
    v : array (*batch, n)
        Real scores.
    k : int or int array (*batch,)
        For `k = n` there are only the n-1 gaps between the entries.

    Returns
    -------
    array (*batch,)
        Infinite for `n = 1`.

    Raises
    ------
    TypeError, ValueError
        If scores are complex or not finite, or `k` is not a whole number in 1, ..., n.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> theory.min_gap(torch.tensor([1.0, 5.0, 2.0, 4.5]), 1)
    tensor(0.5000)
    """
    scores, k = _scores(v, k)
    return give(neighbour_gap(scores, k), v)


class GapBound(NamedTuple):
    """Bounds on the difference between the first k rows of `softsort` and of the permutation.

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
    """Bounds on the difference between `softsort` at a temperature and sorting, from the gaps of the scores.

    Parameters
    ----------
    v : array (*batch, n)
        Real scores.
    tau : float or array (*batch,)
        Temperature > 0.
    k : int or int array (*batch,)
        Number of rows.

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
    tau = positive("tau", tau, scores.shape[:-1], scores.device)
    gap = neighbour_gap(scores, k)
    mask = log_spill(gap.double(), tau, scores.shape[-1]).exp().to(scores.dtype)
    return GapBound(*(give(value, v) for value in (gap, mask, 2 * mask, math.sqrt(2) * mask)))


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
        Zero for ties, because then no temperature is small enough; infinite if every one is.

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
    error = positive("error", error, scores.shape[:-1], scores.device)
    decades = _log_count(scores.shape[-1]) - error.log()
    tau = neighbour_gap(scores, k).double() / ones_for_zeros(decades)
    return give(torch.where(decades > 0, tau, math.inf).to(scores.dtype), v)


def log_spill(gap: Tensor, tau: Tensor, n: int) -> Tensor:
    """Logarithm of `(n - 1) exp(-gap / tau)`, the weight that a row gives to wrong entries."""
    return _log_count(n) - gap / tau


def _log_count(n: int) -> float:
    return math.log(n - 1) if n > 1 else -math.inf


def _scores(v: Any, k: Any) -> tuple[Tensor, Tensor]:
    """Scores `(*batch, n)` and k, `(*batch,)`."""
    scores = finite("v", as_tensor("v", v))
    if scores.is_complex():
        raise TypeError(f"v has dtype {scores.dtype}; needed are real scores, for example its magnitudes abs(v).")
    if scores.ndim == 0 or scores.shape[-1] == 0:
        raise ValueError(f"v has shape {tuple(scores.shape)}; needed is (*batch, n) with n >= 1.")
    return scores, rows(k, scores.shape[-1], scores.shape[:-1], scores.device)


def neighbour_gap(scores: Tensor, k: Tensor) -> Tensor:
    ordered = scores.sort(dim=-1, descending=True).values
    gaps = ordered[..., :-1] - ordered[..., 1:]
    of_interest = torch.arange(gaps.shape[-1], device=gaps.device) < k.unsqueeze(-1)
    gaps = torch.where(of_interest, gaps, math.inf)
    return torch.nn.functional.pad(gaps, (0, 1), value=math.inf).amin(-1)  # a single entry has no gap
