"""Chosen atoms, hard and relaxed, and what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..names import takes_old_names
from ..operators import Operator

NEVER = -1.0  # the score of an atom that must not be chosen


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

    def complement(self) -> Tensor:
        """Where the other atoms are, `(*batch, n)`."""
        return ~self.mask()

    def exclude(self, score: Tensor) -> Tensor:
        """`score (*batch, n)` with no chance for the chosen atoms."""
        return torch.where(self.mask(), NEVER, score)

    def first(self, count: Tensor) -> Atoms:
        """The best `count (*batch,)` of them."""
        rank = torch.arange(self.indices.shape[-1], device=self.indices.device)
        return self._replace(indices=self.indices.where(rank < count.unsqueeze(-1), -1))

    def reorder(self, order: Tensor) -> Atoms:
        """The atoms at the places `order (*batch, p)`."""
        return self._replace(indices=self.indices.gather(-1, order))

    def with_atom_at(self, place: int, atom: Atoms) -> Atoms:
        """With the one `atom` at this place."""
        here = torch.arange(self.indices.shape[-1], device=self.indices.device) == place
        return self._replace(indices=torch.where(here, atom.indices, self.indices))

    def supporting(self, x: Tensor) -> Atoms:
        """Only those that `x (*batch, n)` uses."""
        return self._replace(indices=self.indices.where(self.take(x) != 0, -1))

    @takes_old_names(most="max_k")
    def union(self, other: Atoms, max_k: int) -> Atoms:
        """These atoms, then those of `other` that are new, `max_k` at most."""
        fresh = other.indices.where(~self.mask().gather(-1, other.indices.clamp(min=0)), -1)
        joint = compact(torch.cat([self.indices, fresh], dim=-1))
        return self._replace(indices=joint[..., :max_k])

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
        """What the mask leaves of the other columns, `(*batch, n)`."""
        return (1 - self.mask()).clamp(min=0)

    def exclude(self, score: Tensor) -> Tensor:
        """`score` as it is: the paper's soft algorithms may take a column again."""
        return score

    def first(self, count: Tensor) -> SoftAtoms:
        """The best `count (*batch,)` of them."""
        rank = torch.arange(self.rows.shape[-2], device=self.rows.device)
        return self._only((rank < count.unsqueeze(-1)).unsqueeze(-1))

    def reorder(self, order: Tensor) -> SoftAtoms:
        """The rows at the places `order (*batch, p)`."""
        return SoftAtoms(lambda: self.rows.gather(-2, order.unsqueeze(-1).expand(*order.shape, self.rows.shape[-1])))

    def with_atom_at(self, place: int, atom: SoftAtoms) -> SoftAtoms:
        """With the one row of `atom` at this place, where every row is a part of its own."""
        return SoftAtoms(*self._parts[:place], lambda: atom.rows, *self._parts[place + 1 :])

    def supporting(self, x: Tensor) -> SoftAtoms:
        """None where `x (*batch, n)` is zero."""
        return self._only((x != 0).any(-1)[..., None, None])

    @takes_old_names(most="max_k")
    def union(self, other: SoftAtoms, max_k: int) -> SoftAtoms:
        """These rows, then those of `other` (which may repeat them), `max_k` at most."""
        joint = SoftAtoms(lambda: self.rows, lambda: other.rows)
        return joint if joint.rows.shape[-2] <= max_k else joint.reorder(present_first(joint.found)[..., :max_k])

    def choose(self, where: Tensor, old: SoftAtoms) -> SoftAtoms:
        """These where `where (*batch,)` holds, else the `old` ones."""
        here = where[..., None, None]
        if len(self._parts) == len(old._parts):
            blocks = [torch.where(here, new(), before()) for new, before in zip(self._parts, old._parts, strict=True)]
        else:
            blocks = [torch.where(here, self.rows, old.rows)]
        return SoftAtoms(*(partial(same, block) for block in blocks))

    def _only(self, where: Tensor) -> SoftAtoms:
        return SoftAtoms(lambda: torch.where(where, self.rows, 0))

    def sorted(self) -> SoftAtoms:
        """The same rows: their order is part of them."""
        return self

    def same_set(self, other: SoftAtoms) -> Tensor:
        """Whether both hold the same rows to rounding, `(*batch,)`."""
        change = (self.rows - other.rows).detach().abs().amax((-2, -1))
        return change <= 10 * torch.finfo(change.dtype).eps


def same(rows: Tensor) -> Tensor:
    return rows
