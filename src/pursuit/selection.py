"""Identification: which atoms a solver takes, and what it then does with them.

A solver never touches an index. It asks a *selection* for the best atoms of a score and works with the answer, so that
another selection (a relaxed one) turns the same solver into its differentiable relative.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .operators import Operator


class Atoms(NamedTuple):
    """Chosen atoms, best first.

    Attributes
    ----------
    indices : Tensor (*batch, k) int64
        Column numbers; -1 where there is none.
    n : int
        Length of the signal.
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

    def first(self, count: Tensor) -> Atoms:
        """The best `count (*batch,)` of them."""
        rank = torch.arange(self.indices.shape[-1], device=self.indices.device)
        return self._replace(indices=self.indices.where(rank < count.unsqueeze(-1), -1))

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
    order = (indices < 0).sort(dim=-1, stable=True).indices
    return indices.gather(-1, order)


class Selection(Protocol):
    """What a solver needs of an identification rule."""

    def __call__(self, score: Tensor, k: int) -> Atoms: ...


@dataclass(frozen=True)
class Hard:
    """The `k` largest scores, ties to the lowest index; a negative score is never taken.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.Hard()(torch.tensor([1.0, 3.0, 3.0, -1.0]), 2).indices
    tensor([1, 2])
    """

    def __call__(self, score: Tensor, k: int) -> Atoms:
        """Choose `k` of `score (*batch, n)`, best first."""
        if k == 1:
            best = score.argmax(dim=-1, keepdim=True)
        else:
            best = score.sort(dim=-1, descending=True, stable=True).indices[..., :k]
        return Atoms(best.where(score.gather(-1, best) >= 0, -1), score.shape[-1])


@dataclass(frozen=True)
class Choice:
    """How a solver chooses: the best atoms by `w |c|`, never one of weight zero.

    Attributes
    ----------
    select : Selection
    k : Tensor (*batch,) int64
        How many atoms each item may have.
    most : int
        The largest `k`.
    weights : Tensor (n,) or (*batch, n)
    """

    select: Selection
    k: Tensor
    most: int
    weights: Tensor

    def hard(self) -> Choice:
        """The same choice by the hard selection, for what no gradient passes through."""
        return replace(self, select=Hard())

    def score(self, c: Tensor) -> Tensor:
        """`w |c|`, and -1 where the weight is zero."""
        return torch.where(self.weights > 0, self.weights * c.abs(), -1)

    def best(self, c: Tensor, *, times: int = 1) -> Atoms:
        """The `times` k best atoms by `c (*batch, n)`."""
        return self.select(self.score(c), min(times * self.most, c.shape[-1])).first(times * self.k)

    def best_of(self, c: Tensor, among: Tensor) -> Atoms:
        """The k best atoms by `c`, out of those where the mask `among (*batch, n)` holds."""
        return self.select(torch.where(among, self.score(c), -1), self.most).first(self.k)

    def next(self, c: Tensor, chosen: Atoms) -> Atoms:
        """The best atom that is not chosen yet."""
        return self.select(torch.where(chosen.mask(), -1, self.score(c)), 1)
