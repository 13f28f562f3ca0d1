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

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from .checks import expands, finite, show, to_tensor
from .core import neuralsort as neural_rows
from .core import sinkhorn as transport_rows
from .core import softsort as soft_rows
from .core.atoms import SoftAtoms, same


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
    return soft_rows.softsort(*_checked(v, tau, k, descending))


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
    return soft_rows.soft_topk(*_checked(v, tau, k, descending))


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
    return neural_rows.neuralsort(*_checked(v, tau, k, descending))


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
    return transport_rows.sinkhorn_sort(v, tau, k, tol, max_steps)


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
    value = to_tensor("tau", tau, "a real number > 0", v.device)
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


# Rows, and the quick way to their sum, without the checks of input that a loop need not repeat.
QUICK: dict[Any, tuple[Callable[..., Tensor], Callable[..., Tensor] | None]] = {
    softsort: (soft_rows.softsort, soft_rows.soft_topk),
    neuralsort: (neural_rows.neuralsort, None),
}


@dataclass(frozen=True)
class Relaxed:
    """A differentiable stand-in for the `k` largest scores: the first rows of a relaxed permutation.

    It turns OMP into Soft-OMP, IHT into Soft-IHT, and likewise every solver that takes `select`. As `tau` goes to zero
    the solver's result goes to that of `Hard`. The signal is then dense in general.

    Parameters
    ----------
    sort : callable `(v, tau, k) -> (*batch, k, n)`, default softsort
        `softsort`, `neuralsort`, `sinkhorn_sort` or one like them.
    tau : float or Tensor (*batch,), default 1e-3
        Temperature, in the units of the scores `w |A^H r|` of unit columns. It may require a gradient.
    relative : bool, default False
        Measure `tau` in units of the largest score instead, so that scaling `y` scales the result. The paper does not.

    Raises
    ------
    ValueError
        If tau is not positive and finite.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661, section 3.

    Examples
    --------
    >>> import torch, pursuit
    >>> y = torch.tensor([0.5, 4.0, 1.0])
    >>> pursuit.omp(torch.eye(3), y, k=1, select=pursuit.Relaxed(pursuit.softsort, tau=1.0)).x.round(decimals=2)
    tensor([0.1200, 4.0500, 0.2000])
    """

    sort: Callable[..., Tensor] = softsort
    tau: float | Tensor = 1e-3
    relative: bool = False
    never: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.tau, Tensor):
            tau = self.tau.detach()
            right = bool(((tau > 0) & tau.isfinite()).all())
        else:
            right = 0 < self.tau < math.inf
        if not right:
            raise ValueError(f"tau is {self.tau}; needed is a finite number > 0, small against the gaps of the scores.")

    def __call__(self, score: Tensor, k: int) -> SoftAtoms:
        """Relaxed choice of `k` of `score (*batch, n)`, best first."""
        tau = self._temperature(score)
        if self.relative:
            tau = relative_tau(score, tau[..., 0, 0])[..., None, None]
        known = QUICK.get(self.sort)
        if known is None:
            return SoftAtoms(partial(self.sort, score, tau[..., 0, 0], k))
        rows, mask = known  # what they check was checked once, not at every step
        return SoftAtoms(partial(rows, score, tau, k), mask=None if mask is None else partial(mask, score, tau, k))

    def score(self, c: Tensor, weights: Tensor) -> Tensor:
        """`weights |c|`, `(*batch, n)`."""
        return soft_rows.score(c, weights)

    def threshold(self, u: Tensor, weights: Tensor, k: int) -> tuple[SoftAtoms, Tensor]:
        """The atoms of the score `weights |u|`, and `u` on them, which may cost less than one after the other."""
        if self.sort is not softsort or self.relative:
            atoms = self(self.score(u, weights), k)
            return atoms, atoms.keep(u)
        x = soft_rows.soft_threshold(u, weights, self._temperature(weights), k)
        return SoftAtoms(lambda: self(self.score(u, weights), k).rows), x

    def _temperature(self, like: Tensor) -> Tensor:
        """`(*batch, 1, 1)`, to go with rows."""
        if isinstance(self.tau, Tensor):
            return self.tau.to(like)[..., None, None]
        return like.new_full((1, 1), self.tau)  # not kept for later calls: one made while torch traces is no number

    def empty(self, y: Tensor, k: int, n: int) -> SoftAtoms:
        """Room for `k` rows, and none in it."""
        return SoftAtoms(*[partial(same, y.real.new_zeros(*y.shape[:-1], 1, n))] * k)
