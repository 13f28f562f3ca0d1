"""Chosen atoms, hard and relaxed, and operations with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from ..names import takes_old_names
from ..operators import Operator

NEVER = -1.0  # the score of an atom that must not be chosen


class ChosenAtoms(Protocol):
    """What solvers do with the atoms that a selection returns, hard or relaxed; each kind says what it means for it."""

    @property
    def indices(self) -> Tensor:
        """Column numbers, `(*batch, k)` int64; -1 for an empty place."""
        ...

    @property
    def found(self) -> Tensor:
        """Which places hold an atom, `(*batch, k)`."""
        ...

    def columns(self, A: Operator) -> Tensor:
        """The chosen columns, `(*batch, m, k)`."""
        ...

    def embed(self, z: Tensor) -> Tensor:
        """The signal with coefficients `z (*batch, k)` on these atoms, `(*batch, n)`."""
        ...

    def take(self, x: Tensor) -> Tensor:
        """The entries of `x (*batch, n)` on these atoms, `(*batch, k)`."""
        ...

    def keep(self, x: Tensor) -> Tensor:
        """`x (*batch, n)` on these atoms, else zero."""
        ...

    def mask(self) -> Tensor:
        """Which atoms are chosen, `(*batch, n)`."""
        ...

    def complement(self) -> Tensor:
        """Which atoms are not chosen, `(*batch, n)`."""
        ...

    def exclude(self, score: Tensor) -> Tensor:
        """`score (*batch, n)` for a choice beside these atoms."""
        ...

    def first(self, count: Tensor) -> Self:
        """The first `count (*batch,)` of these atoms."""
        ...

    def reorder(self, order: Tensor) -> Self:
        """The atoms at the places `order (*batch, p)`."""
        ...

    def with_atom_at(self, place: int, atom: Self) -> Self:
        """These atoms with one `atom` more, at this place."""
        ...

    def supporting(self, x: Tensor) -> Self:
        """Without the atoms on which `x (*batch, n)` is zero."""
        ...

    def union(self, other: Self, max_k: int) -> Self:
        """These atoms, then those of `other`; at most `max_k` in all."""
        ...

    def sorted(self) -> Self:
        """The same atoms in the order of their columns."""
        ...

    def same_set(self, other: Self) -> Tensor:
        """Whether both hold the same atoms, `(*batch,)`."""
        ...


class Atoms(NamedTuple):
    """Chosen atoms, best first.

    Attributes
    ----------
    indices : Tensor (*batch, k) int64
        Column numbers; -1 for an empty place.
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
        """Which places hold an atom, `(*batch, k)`."""
        return self.indices >= 0

    def columns(self, A: Operator) -> Tensor:
        """The chosen columns, `(*batch, m, k)`; zero for empty places."""
        return A.columns(self.indices.clamp(min=0)) * self.found.unsqueeze(-2)

    def embed(self, z: Tensor) -> Tensor:
        """The signal with coefficients `z (*batch, k)` on the chosen atoms, `(*batch, n)`."""
        slots = self.indices.where(self.found, self.n)  # empty places write to a spare entry
        return z.new_zeros(*z.shape[:-1], self.n + 1).scatter(-1, slots, z)[..., : self.n]

    def take(self, x: Tensor) -> Tensor:
        """The entries of `x (*batch, n)` on the chosen atoms, `(*batch, k)`; zero for empty places."""
        return x.gather(-1, self.indices.clamp(min=0)) * self.found

    def keep(self, x: Tensor) -> Tensor:
        """`x (*batch, n)`, set to zero off the chosen atoms."""
        return torch.where(self.mask(), x, 0)

    def mask(self) -> Tensor:
        """True for chosen atoms, `(*batch, n)`."""
        return self.embed(self.found)

    def complement(self) -> Tensor:
        """True for atoms that are not chosen, `(*batch, n)`."""
        return ~self.mask()

    def exclude(self, score: Tensor) -> Tensor:
        """`score (*batch, n)`, so low for the chosen atoms that none is chosen again."""
        return torch.where(self.mask(), NEVER, score)

    def first(self, count: Tensor) -> Atoms:
        """The first `count (*batch,)` of these atoms."""
        rank = torch.arange(self.indices.shape[-1], device=self.indices.device)
        return self._replace(indices=self.indices.where(rank < count.unsqueeze(-1), -1))

    def reorder(self, order: Tensor) -> Atoms:
        """The atoms at the places `order (*batch, p)`."""
        return self._replace(indices=self.indices.gather(-1, order))

    def with_atom_at(self, place: int, atom: Atoms) -> Atoms:
        """These atoms with one `atom` more, at this place."""
        here = torch.arange(self.indices.shape[-1], device=self.indices.device) == place
        return self._replace(indices=torch.where(here, atom.indices, self.indices))

    def supporting(self, x: Tensor) -> Atoms:
        """Only the atoms on which `x (*batch, n)` is not zero."""
        return self._replace(indices=self.indices.where(self.take(x) != 0, -1))

    @takes_old_names(most="max_k")
    def union(self, other: Atoms, max_k: int) -> Atoms:
        """These atoms, then the new ones of `other`; at most `max_k` in all."""
        fresh = other.indices.where(~self.mask().gather(-1, other.indices.clamp(min=0)), -1)
        joint = compact(torch.cat([self.indices, fresh], dim=-1))
        return self._replace(indices=joint[..., :max_k])

    def sorted(self) -> Atoms:
        """The same atoms, sorted by column number."""
        return self._replace(indices=self.indices.sort(dim=-1).values)

    def same_set(self, other: Atoms) -> Tensor:
        """Whether both hold the same atoms in any order, `(*batch,)`."""
        return (self.sorted().indices == other.sorted().indices).all(dim=-1)


def compact(indices: Tensor) -> Tensor:
    """Move the entries of -1 to the end; the others stay in order."""
    return indices.gather(-1, present_first(indices >= 0))


def nonzero_first(indices: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Indices and coefficients `(*batch, k)`; those whose coefficient is zero become -1 and move to the end."""
    present = (indices >= 0) & (z != 0)
    if present.all():
        return indices, z
    order = present_first(present)
    return indices.where(present, -1).gather(-1, order), z.where(present, 0).gather(-1, order)


def present_first(found: Tensor) -> Tensor:
    """The order that moves the `found (*batch, k)` entries to the front."""
    return (~found).sort(dim=-1, stable=True).indices


class SoftAtoms:
    """Relaxed atoms: every row is a distribution over the columns, with most of its weight on one of them.

    The methods are those of `Atoms`, with these rows instead of the rows of a permutation; for one-hot rows they agree.
    Rows are formed at their first use, because IHT needs only the mask, which costs less.

    Parameters
    ----------
    *parts : callables () -> Tensor (*batch, p, n)
        The rows, first ones first; zero for empty places.
    mask : callable () -> Tensor (*batch, n), optional
        The column sums of the rows, if there is a faster way to compute them.

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
        """Which places hold an atom, `(*batch, k)`."""
        return self.rows.detach().sum(-1) > 0

    @property
    def indices(self) -> Tensor:
        """The column of largest weight of each row, `(*batch, k)` int64; -1 for an empty place or a repeated column."""
        best = self.rows.detach().argmax(-1)
        repeats = (best.unsqueeze(-1) == best.unsqueeze(-2)).tril(-1).any(-1)
        return best.where(self.found & ~repeats, -1)

    def columns(self, A: Operator) -> Tensor:
        """`A P^T`, `(*batch, m, k)`."""
        return A.with_inner_batch().forward(self.rows.to(A.dtype)).mT

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

    def complement(self) -> Tensor:
        """One minus the mask, at least zero, `(*batch, n)`."""
        return (1 - self.mask()).clamp(min=0)

    def exclude(self, score: Tensor) -> Tensor:
        """`score` unchanged: the paper's soft algorithms may choose a column again."""
        return score

    def first(self, count: Tensor) -> SoftAtoms:
        """The first `count (*batch,)` of these atoms."""
        rank = torch.arange(self.rows.shape[-2], device=self.rows.device)
        return self._only((rank < count.unsqueeze(-1)).unsqueeze(-1))

    def reorder(self, order: Tensor) -> SoftAtoms:
        """The rows at the places `order (*batch, p)`."""
        return SoftAtoms(lambda: self.rows.gather(-2, order.unsqueeze(-1).expand(*order.shape, self.rows.shape[-1])))

    def with_atom_at(self, place: int, atom: SoftAtoms) -> SoftAtoms:
        """These rows with the one row of `atom` at this place; each row must be a part of its own."""
        return SoftAtoms(*self._parts[:place], lambda: atom.rows, *self._parts[place + 1 :])

    def supporting(self, x: Tensor) -> SoftAtoms:
        """These rows, or none for a signal with `x (*batch, n) = 0`."""
        return self._only((x != 0).any(-1)[..., None, None])

    @takes_old_names(most="max_k")
    def union(self, other: SoftAtoms, max_k: int) -> SoftAtoms:
        """These rows, then those of `other`, which may repeat them; at most `max_k` in all."""
        joint = SoftAtoms(lambda: self.rows, lambda: other.rows)
        return joint if joint.rows.shape[-2] <= max_k else joint.reorder(present_first(joint.found)[..., :max_k])

    def choose(self, where: Tensor, old: SoftAtoms) -> SoftAtoms:
        """These rows if `where (*batch,)` is true, else the `old` ones."""
        here = where[..., None, None]
        if len(self._parts) == len(old._parts):
            blocks = [torch.where(here, new(), before()) for new, before in zip(self._parts, old._parts, strict=True)]
        else:
            blocks = [torch.where(here, self.rows, old.rows)]
        return SoftAtoms(*(partial(same, block) for block in blocks))

    def _only(self, where: Tensor) -> SoftAtoms:
        return SoftAtoms(lambda: torch.where(where, self.rows, 0))

    def sorted(self) -> SoftAtoms:
        """The same rows: rows have no other order."""
        return self

    def same_set(self, other: SoftAtoms) -> Tensor:
        """Whether both have the same rows up to rounding, `(*batch,)`."""
        change = (self.rows - other.rows).detach().abs().amax((-2, -1))
        return change <= 10 * torch.finfo(change.dtype).eps


def same(rows: Tensor) -> Tensor:
    return rows
