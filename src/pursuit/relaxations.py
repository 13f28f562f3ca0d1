"""Relaxations of sorting: rows that are one-hot at temperature zero and differentiable at higher temperatures.

Row `i` of each is a distribution over the entries of `v (*batch, n)` that says where the `i`-th largest is. Let `s` be
the sorted scores. The weight of `s_j` in row i, relative to that of `s_i`, is

- `softsort`: `exp(-|s_i - s_j| / tau)`;
- `neuralsort`: `exp(-(d_1 + 3 d_2 + 5 d_3 + ...) / tau)`, with the gaps `d` between neighbours from `s_i` to `s_j`;
- `sinkhorn_sort`: determined by all rows together, because columns sum to at most one; `exp(-|s_1 - s_2| / tau)` for
  two entries.

Neighbours have the same exponent, `gap / tau`, in all three, so a temperature means the same in all three. For this the
targets of the transport have distance 2: the cost `-v_i y_j` gives two entries the ratio
`exp(-gap (y_1 - y_2) / (2 tau))`.

Temperatures are in the units of `v`, `softsort(c v, c tau) = softsort(v, tau)`; with `relative_tau` they scale with it.
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
    """Soft positions of the `k` largest entries: row `i` weights every entry by its distance to the `i`-th largest.

    `rows[i, j]` is proportional to `exp(-|s_i - v_j| / tau)`, where `s` is `v` sorted. When `tau` goes to zero, rows
    become one-hot, and `t` tied entries have `1 / t` each. The derivative of `|.|` at zero is taken as zero.

    Parameters
    ----------
    v : Tensor (*batch, n)
        Scores, float32 or float64.
    tau : float or Tensor broadcastable to (*batch,)
        Temperature > 0, in the units of `v`.
    k : int, optional
        How many rows. Default all `n`.
    descending : bool
        True: largest first; False: smallest first.

    Returns
    -------
    Tensor (*batch, k, n)
        Rows that are non-negative and sum to one.

    Raises
    ------
    TypeError
        If `v` is not float32 or float64, or `k` is not a whole number.
    ValueError
        If `v` has no axis, NaN or infinities, `tau` is not finite and positive, or `k` is not in 1, ..., n.

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

    Entries sum to `k`. Near ties an entry may exceed 1.

    Parameters
    ----------
    v : Tensor (*batch, n)
        Scores, float32 or float64.
    tau : float or Tensor broadcastable to (*batch,)
        Temperature > 0, in the units of `v`.
    k : int, optional
        How many entries. Default all `n`.
    descending : bool
        True: largest first; False: smallest first.

    Returns
    -------
    Tensor (*batch, n)

    Raises
    ------
    TypeError
        If `v` is not float32 or float64, or `k` is not a whole number.
    ValueError
        If `v` has no axis, NaN or infinities, `tau` is not finite and positive, or `k` is not in 1, ..., n.

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
    """Soft positions of the `k` largest entries; distant entries get less weight than from `softsort`.

    Row `i` is the softmax of `((n + 1 - 2 i) v_j - sum_l |v_j - v_l|) / tau` over `j`. It is computed from the gaps
    between sorted scores, without cancellation at small `tau`, at the cost of a sort and `k n` entries.

    Parameters
    ----------
    v : Tensor (*batch, n)
        Scores, float32 or float64.
    tau : float or Tensor broadcastable to (*batch,)
        Temperature > 0, in the units of `v`.
    k : int, optional
        How many rows. Default all `n`.
    descending : bool
        True: largest first; False: smallest first.

    Returns
    -------
    Tensor (*batch, k, n)
        Rows that are non-negative and sum to one.

    Raises
    ------
    TypeError
        If `v` is not float32 or float64, or `k` is not a whole number.
    ValueError
        If `v` has no axis, NaN or infinities, `tau` is not finite and positive, or `k` is not in 1, ..., n.

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
    """Soft positions of the `k` largest entries by entropic optimal transport; each column sums to at most one.

    The scores, of weight `1 / n` each, are transported to `k` targets of weight `1 / n` and, if `k < n`, to one more
    target for the rest; row `j` is `n` times the plan's column of target `j`. The plan is found by damped Newton steps
    on the dual problem, from the exact solution at temperature zero (sorting): about ten steps, where Sinkhorn's
    iteration, which is coordinate ascent on the same dual, takes many thousands. The gradient is that of the solution
    (by the implicit function theorem), not of the steps.

    Parameters
    ----------
    v : Tensor (*batch, n)
        Scores, float32 or float64.
    tau : float or Tensor broadcastable to (*batch,)
        Temperature > 0, in the units of `v`.
    k : int, optional
        How many rows. Default all `n`.
    descending : bool
        True: largest first; False: smallest first.
    tol : float, optional
        Stop when every target has its weight up to this relative error. Default 1e-5 in float32, 1e-10 in float64.
    max_steps : int
        Most steps. If they do not reach `tol`, rows still sum to one, but columns may sum to more, and the gradient is
        as inexact as the rows.

    Returns
    -------
    Tensor (*batch, k, n)
        Rows that are non-negative and sum to one.

    Raises
    ------
    TypeError
        If `v` is not float32 or float64, or `k` is not a whole number.
    ValueError
        If `v` has no axis, NaN or infinities, `tau` is not finite and positive, or `k` is not in 1, ..., n;
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
    """A temperature that scales with the scores: `tau max |v|` for each signal.

    `softsort(v, relative_tau(v, tau))` does not change if `v` is scaled. Its gradient is therefore orthogonal to `v`:
    the maximum is differentiated too. For `v = 0` the temperature is the smallest normal number.

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
        If `v` is not float32 or float64.
    ValueError
        If `v` has no axis, NaN or infinities, or `tau` is not finite and positive.

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
    """Arguments for the inner functions: scores to sort downwards, `tau (*batch, 1, 1)` and the number of rows."""
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
    """Finite numbers > 0, one or one per signal."""
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
    """The number of rows, 1, ..., n."""
    if k is None:
        return n
    if isinstance(k, bool) or not hasattr(k, "__index__"):
        raise TypeError(f"k is {k!r}; needed is a whole number 1 <= k <= n = {n}.")
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; needed is 1 <= k <= n = {n}.")
    return int(k)


# Functions for the rows, and for their sum if there is a faster one, without checks of input.
QUICK: dict[Any, tuple[Callable[..., Tensor], Callable[..., Tensor] | None]] = {
    softsort: (soft_rows.softsort, soft_rows.soft_topk),
    neuralsort: (neural_rows.neuralsort, None),
}


@dataclass(frozen=True)
class Relaxed:
    """A differentiable choice of the `k` largest scores: the first rows of a relaxed permutation.

    It turns OMP into Soft-OMP, IHT into Soft-IHT, and likewise every solver that takes `select`. When `tau` goes to
    zero, the result goes to that of `Hard`. For `tau > 0` the signal is dense in general.

    Parameters
    ----------
    sort : callable `(v, tau, k) -> (*batch, k, n)`, default softsort
        `softsort`, `neuralsort`, `sinkhorn_sort` or a function like them.
    tau : float or Tensor (*batch,), default 1e-3
        Temperature, in the units of the scores `w |A^H r|` for columns of norm one. It may require a gradient.
    relative : bool, default False
        If True, `tau` is a multiple of the largest score, so that the result scales with `y`. The paper uses False.

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
        rows, mask = known  # the input was checked before; a step need not check it again
        return SoftAtoms(partial(rows, score, tau, k), mask=None if mask is None else partial(mask, score, tau, k))

    def score(self, c: Tensor, weights: Tensor) -> Tensor:
        """`weights |c|`, `(*batch, n)`."""
        return soft_rows.score(c, weights)

    def threshold(self, u: Tensor, weights: Tensor, k: int) -> tuple[SoftAtoms, Tensor]:
        """The atoms for the score `weights |u|`, and `u` on these atoms; together they may cost less."""
        if self.sort is not softsort or self.relative:
            atoms = self(self.score(u, weights), k)
            return atoms, atoms.keep(u)
        x = soft_rows.soft_threshold(u, weights, self._temperature(weights), k)
        return SoftAtoms(lambda: self(self.score(u, weights), k).rows), x

    def _temperature(self, like: Tensor) -> Tensor:
        """The temperature, `(*batch, 1, 1)`, to broadcast with rows."""
        if isinstance(self.tau, Tensor):
            return self.tau.to(like)[..., None, None]
        return like.new_full((1, 1), self.tau)  # not kept for later calls: while torch traces, it is not a value

    def empty(self, y: Tensor, k: int, n: int) -> SoftAtoms:
        """No atoms yet, with room for `k` rows."""
        return SoftAtoms(*[partial(same, y.real.new_zeros(*y.shape[:-1], 1, n))] * k)
