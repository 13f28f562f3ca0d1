"""Identification: which atoms a solver takes, and what it then does with them.

A solver never touches an index. It asks a *selection* for the best atoms of a score and works with the answer, so that
another selection (a relaxed one) turns the same solver into its differentiable relative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from . import relaxations, unchecked
from .operators import Operator


class Atoms(NamedTuple):
    """Chosen atoms, best first.

    Attributes
    ----------
    indices : Tensor (*batch, k) int64
        Column numbers; -1 where there is none.
    n : int
        Length of the signal.

    Examples
    --------
    >>> import torch, pursuit
    >>> atoms = pursuit.Atoms(torch.tensor([2, 0, -1]), n=4)
    >>> atoms.embed(torch.tensor([5.0, 6.0, 7.0]))
    tensor([6., 0., 5., 0.])
    """

    indices: Tensor
    n: int

    @property
    def found(self) -> Tensor:
        """Where an entry holds an atom, `(*batch, k)`."""
        return self.indices >= 0

    def columns(self, A: Operator) -> Tensor:
        """The chosen columns, `(*batch, m, k)`; zero where there is none."""
        return A.columns(self.indices.clamp(min=0)) * self.found.unsqueeze(-2)

    def embed(self, z: Tensor) -> Tensor:
        """The signal with coefficients `z (*batch, k)` on the chosen atoms, `(*batch, n)`."""
        slots = self.indices.where(self.found, self.n)  # a spare slot takes what has no atom
        return z.new_zeros(*z.shape[:-1], self.n + 1).scatter(-1, slots, z)[..., : self.n]

    def take(self, x: Tensor) -> Tensor:
        """The entries of `x (*batch, n)` on the chosen atoms, `(*batch, k)`; zero where there is none."""
        return x.gather(-1, self.indices.clamp(min=0)) * self.found

    def keep(self, x: Tensor) -> Tensor:
        """`x (*batch, n)` with everything off the chosen atoms set to zero."""
        return torch.where(self.mask(), x, 0)

    def mask(self) -> Tensor:
        """Where the chosen atoms are, `(*batch, n)` bool."""
        return self.embed(self.found)

    def rest(self) -> Tensor:
        """Where the other atoms are, `(*batch, n)`."""
        return ~self.mask()

    def bar(self, score: Tensor) -> Tensor:
        """`score (*batch, n)` with no chance for the chosen atoms."""
        return torch.where(self.mask(), Hard.never, score)

    def first(self, count: Tensor) -> Atoms:
        """The best `count (*batch,)` of them."""
        rank = torch.arange(self.indices.shape[-1], device=self.indices.device)
        return self._replace(indices=self.indices.where(rank < count.unsqueeze(-1), -1))

    def pick(self, order: Tensor) -> Atoms:
        """The atoms at the places `order (*batch, p)`."""
        return self._replace(indices=self.indices.gather(-1, order))

    def put(self, place: int, atom: Atoms) -> Atoms:
        """With the one `atom` at this place."""
        here = torch.arange(self.indices.shape[-1], device=self.indices.device) == place
        return self._replace(indices=torch.where(here, atom.indices, self.indices))

    def supporting(self, x: Tensor) -> Atoms:
        """Only those that `x (*batch, n)` uses."""
        return self._replace(indices=self.indices.where(self.take(x) != 0, -1))

    def union(self, other: Atoms, most: int) -> Atoms:
        """These atoms, then those of `other` that are new, `most` at most."""
        fresh = other.indices.where(~self.mask().gather(-1, other.indices.clamp(min=0)), -1)
        joint = compact(torch.cat([self.indices, fresh], dim=-1))
        return self._replace(indices=joint[..., :most])

    def sorted(self) -> Atoms:
        """The same atoms by column number."""
        return self._replace(indices=self.indices.sort(dim=-1).values)

    def same_set(self, other: Atoms) -> Tensor:
        """Whether both hold the same atoms in any order, `(*batch,)`."""
        return (self.sorted().indices == other.sorted().indices).all(dim=-1)


def compact(indices: Tensor) -> Tensor:
    """Move the -1 entries to the end, keeping the order of the others."""
    return indices.gather(-1, present_first(indices >= 0))


def present_first(found: Tensor) -> Tensor:
    """The order that brings the entries that are `found (*batch, k)` to the front."""
    return (~found).sort(dim=-1, stable=True).indices


class SoftAtoms:
    """Relaxed atoms: every row spreads its weight of one over the columns, most of it on the best one.

    The methods are those of `Atoms` with the 0/1 rows of a permutation replaced by these; where the rows are one-hot
    they agree. Rows are formed when first asked for: IHT wants the mask alone, which costs less.

    Parameters
    ----------
    *parts : callables () -> Tensor (*batch, p, n)
        Rows, from the top; zero where there is none.
    mask : callable () -> Tensor (*batch, n), optional
        The column sums, where there is a quicker way to them.

    Attributes
    ----------
    rows : Tensor (*batch, k, n)
        `P` of the paper.
    """

    def __init__(self, *parts: Callable[[], Tensor], mask: Callable[[], Tensor] | None = None):
        self._parts, self._mask = parts, mask

    @cached_property
    def rows(self) -> Tensor:
        blocks = [part() for part in self._parts]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-2)

    @property
    def found(self) -> Tensor:
        """Where an entry holds an atom, `(*batch, k)`."""
        return self.rows.detach().sum(-1) > 0

    @property
    def indices(self) -> Tensor:
        """The column that each row has most of, `(*batch, k)` int64; -1 where there is no row or it repeats one."""
        best = self.rows.detach().argmax(-1)
        repeats = (best.unsqueeze(-1) == best.unsqueeze(-2)).tril(-1).any(-1)
        return best.where(self.found & ~repeats, -1)

    def columns(self, A: Operator) -> Tensor:
        """`A P^T`, `(*batch, m, k)`."""
        return A.on_sets().forward(self.rows.to(A.dtype)).mT

    def embed(self, z: Tensor) -> Tensor:
        """`P^T z`, `(*batch, n)`."""
        if not z.is_complex():
            return (z.unsqueeze(-2) @ self.rows).squeeze(-2)
        parts = torch.stack([z.real, z.imag], dim=-2) @ self.rows  # P is real: half the products
        return torch.complex(parts[..., 0, :], parts[..., 1, :])

    def take(self, x: Tensor) -> Tensor:
        """`P x`, `(*batch, k)`."""
        return (self.rows.to(x.dtype) @ x.unsqueeze(-1)).squeeze(-1)

    def keep(self, x: Tensor) -> Tensor:
        """`x (*batch, n)` times the mask."""
        return self.mask() * x

    def mask(self) -> Tensor:
        """The column sums of P, `(*batch, n)`; near ties they may exceed one."""
        return self.rows.sum(-2) if self._mask is None else self._mask()

    def rest(self) -> Tensor:
        """What the mask leaves of the other columns, `(*batch, n)`."""
        return (1 - self.mask()).clamp(min=0)

    def bar(self, score: Tensor) -> Tensor:
        """`score` as it is: the paper's soft algorithms may take a column again."""
        return score

    def first(self, count: Tensor) -> SoftAtoms:
        """The best `count (*batch,)` of them."""
        rank = torch.arange(self.rows.shape[-2], device=self.rows.device)
        return self._only((rank < count.unsqueeze(-1)).unsqueeze(-1))

    def pick(self, order: Tensor) -> SoftAtoms:
        """The rows at the places `order (*batch, p)`."""
        return SoftAtoms(lambda: self.rows.gather(-2, order.unsqueeze(-1).expand(*order.shape, self.rows.shape[-1])))

    def put(self, place: int, atom: SoftAtoms) -> SoftAtoms:
        """With the one row of `atom` at this place, where every row is a part of its own."""
        return SoftAtoms(*self._parts[:place], lambda: atom.rows, *self._parts[place + 1 :])

    def supporting(self, x: Tensor) -> SoftAtoms:
        """None where `x (*batch, n)` is zero."""
        return self._only((x != 0).any(-1)[..., None, None])

    def union(self, other: SoftAtoms, most: int) -> SoftAtoms:
        """These rows, then those of `other` (which may repeat them), `most` at most."""
        joint = SoftAtoms(lambda: self.rows, lambda: other.rows)
        return joint if joint.rows.shape[-2] <= most else joint.pick(present_first(joint.found)[..., :most])

    def choose(self, where: Tensor, old: SoftAtoms) -> SoftAtoms:
        """These where `where (*batch,)` holds, else the `old` ones."""
        here = where[..., None, None]
        if len(self._parts) == len(old._parts):
            blocks = [torch.where(here, new(), before()) for new, before in zip(self._parts, old._parts, strict=True)]
        else:
            blocks = [torch.where(here, self.rows, old.rows)]
        return SoftAtoms(*(partial(_same, block) for block in blocks))

    def _only(self, where: Tensor) -> SoftAtoms:
        return SoftAtoms(lambda: torch.where(where, self.rows, 0))

    def sorted(self) -> SoftAtoms:
        """The same rows: their order is part of them."""
        return self

    def same_set(self, other: SoftAtoms) -> Tensor:
        """Whether both hold the same rows to rounding, `(*batch,)`."""
        change = (self.rows - other.rows).detach().abs().amax((-2, -1))
        return change <= 10 * torch.finfo(change.dtype).eps


def _same(rows: Tensor) -> Tensor:
    return rows


class Selection(Protocol):
    """What a solver needs of an identification rule."""

    @property
    def never(self) -> float:
        """The score of an atom that must not be chosen."""
        ...

    def score(self, c: Tensor, weights: Tensor) -> Tensor:
        """`weights |c|`, `(*batch, n)`."""
        ...

    def __call__(self, score: Tensor, k: int) -> Any:
        """The `k` best of `score (*batch, n)`, best first: `Atoms`, or something with their methods."""
        ...

    def none(self, y: Tensor, k: int, n: int) -> Any:
        """Room for `k` atoms, and none in it, for measurements `y (*batch, m)`."""
        ...


@dataclass(frozen=True)
class Hard:
    """The `k` largest scores, ties to the lowest index; a negative score is never taken.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.Hard()(torch.tensor([1.0, 3.0, 3.0, -1.0]), 2).indices
    tensor([1, 2])
    """

    never: ClassVar[float] = -1.0

    def score(self, c: Tensor, weights: Tensor) -> Tensor:
        """`weights |c|`, `(*batch, n)`."""
        return weights * c.abs()

    def __call__(self, score: Tensor, k: int) -> Atoms:
        """Choose `k` of `score (*batch, n)`, best first."""
        if k == 1:
            best = score.argmax(dim=-1, keepdim=True)
        else:
            best = score.sort(dim=-1, descending=True, stable=True).indices[..., :k]
        return Atoms(best.where(score.gather(-1, best) >= 0, -1), score.shape[-1])

    def none(self, y: Tensor, k: int, n: int) -> Atoms:
        """Room for `k` atoms, and none in it."""
        return Atoms(torch.full((*y.shape[:-1], k), -1, device=y.device), n)


# Rows, and the quick way to their sum, without the checks of input that a loop need not repeat.
UNCHECKED: dict[Any, tuple[Callable[..., Tensor], Callable[..., Tensor] | None]] = {
    relaxations.softsort: (unchecked.softsort, unchecked.soft_topk),
    relaxations.neuralsort: (unchecked.neuralsort, None),
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

    sort: Callable[..., Tensor] = relaxations.softsort
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
            tau = relaxations.relative_tau(score, tau[..., 0, 0])[..., None, None]
        known = UNCHECKED.get(self.sort)
        if known is None:
            return SoftAtoms(partial(self.sort, score, tau[..., 0, 0], k))
        rows, mask = known  # what they check was checked once, not at every step
        return SoftAtoms(partial(rows, score, tau, k), mask=None if mask is None else partial(mask, score, tau, k))

    def score(self, c: Tensor, weights: Tensor) -> Tensor:
        """`weights |c|`, `(*batch, n)`."""
        return unchecked.score(c, weights)

    def threshold(self, u: Tensor, weights: Tensor, k: int) -> tuple[SoftAtoms, Tensor]:
        """The atoms of the score `weights |u|`, and `u` on them, which may cost less than one after the other."""
        if self.sort is not relaxations.softsort or self.relative:
            atoms = self(self.score(u, weights), k)
            return atoms, atoms.keep(u)
        x = unchecked.soft_threshold(u, weights, self._temperature(weights), k)
        return SoftAtoms(lambda: self(self.score(u, weights), k).rows), x

    def _temperature(self, like: Tensor) -> Tensor:
        """`(*batch, 1, 1)`, to go with rows."""
        if isinstance(self.tau, Tensor):
            return self.tau.to(like)[..., None, None]
        return like.new_full((1, 1), self.tau)  # not kept for later calls: one made while torch traces is no number

    def none(self, y: Tensor, k: int, n: int) -> SoftAtoms:
        """Room for `k` rows, and none in it."""
        return SoftAtoms(*[partial(_same, y.real.new_zeros(*y.shape[:-1], 1, n))] * k)


@dataclass(frozen=True)
class Choice:
    """How a solver chooses: the best atoms by `w |c|`.

    Attributes
    ----------
    select : Selection
    most : int
        How many atoms an item may have.
    weights : Tensor (n,) or (*batch, n)
    k : Tensor (*batch,) int64, optional
        How many each item may have, where they differ; `most` is the largest.
    barred : Tensor (n,) or (*batch, n) bool, optional
        Atoms that are never chosen.

    Examples
    --------
    >>> import torch, pursuit
    >>> choice = pursuit.Choice(pursuit.Hard(), most=2, weights=torch.ones(4))
    >>> choice.best(torch.tensor([1.0, -3.0, 0.0, 2.0])).indices
    tensor([1, 3])
    """

    select: Selection
    most: int
    weights: Tensor
    k: Tensor | None = None
    barred: Tensor | None = None

    def score(self, c: Tensor) -> Tensor:
        """`w |c|`, except where an atom is barred."""
        score = self.select.score(c, self.weights)
        return score if self.barred is None else torch.where(self.barred, self.select.never, score)

    def best(self, c: Tensor, *, times: int = 1) -> Any:
        """The `times` k best atoms by `c (*batch, n)`."""
        best = self.select(self.score(c), min(times * self.most, c.shape[-1]))
        return best if self.k is None else best.first(times * self.k)

    def threshold(self, u: Tensor) -> tuple[Any, Tensor]:
        """The k best atoms of `u (*batch, n)`, and `H_k(u)`: `u` on those alone."""
        if isinstance(self.select, Relaxed) and self.k is None and self.barred is None:
            return self.select.threshold(u, self.weights, self.most)
        atoms = self.best(u)
        return atoms, atoms.keep(u)

    def best_of(self, c: Tensor, among: Tensor, count: int | None = None) -> Any:
        """The best atoms by `c`, k or `count` of them, out of those in the mask `among (*batch, n)`, hard or soft."""
        score = torch.where(among > 0, among * self.score(c), self.select.never)
        if count is not None:
            return self.select(score, count)
        best = self.select(score, self.most)
        return best if self.k is None else best.first(self.k)

    def next(self, c: Tensor, chosen: Any) -> Any:
        """The best atom for a residual that is orthogonal to those chosen."""
        return self.select(chosen.bar(self.score(c)), 1)

    def extend(self, chosen: Any, c: Tensor, count: int) -> Any:
        """The atoms `chosen`, then the `count` best others by `c (*batch, n)`; k in all."""
        new = self.select(chosen.bar(self.score(c)), count)
        atoms = chosen.union(new, self.most)
        return atoms if self.k is None else atoms.first(self.k)

    def empty(self, y: Tensor, n: int) -> Any:
        """Room for the atoms, and none in it."""
        return self.select.none(y, self.most, n)
