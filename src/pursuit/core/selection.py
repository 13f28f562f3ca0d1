"""Identification: which atoms a solver takes, and what it then does with them.

A solver never touches an index. It asks a *selection* for the best atoms of a score and works with the answer, so that
another selection (a relaxed one) turns the same solver into its differentiable relative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from ..names import warn
from .atoms import NEVER, Atoms


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

    def threshold(self, u: Tensor, weights: Tensor, k: int) -> tuple[Any, Tensor]:
        """The `k` best atoms of the score `weights |u|`, and `u (*batch, n)` on them."""
        ...

    def empty(self, y: Tensor, k: int, n: int) -> Any:
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

    never: ClassVar[float] = NEVER

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

    def threshold(self, u: Tensor, weights: Tensor, k: int) -> tuple[Atoms, Tensor]:
        """The `k` best atoms of the score `weights |u|`, and `u` on them."""
        atoms = self(self.score(u, weights), k)
        return atoms, atoms.keep(u)

    def empty(self, y: Tensor, k: int, n: int) -> Atoms:
        """Room for `k` atoms, and none in it."""
        return Atoms(torch.full((*y.shape[:-1], k), -1, device=y.device), n)


@dataclass(frozen=True)
class AtomSelector:
    """How a solver chooses: the best atoms by `w |c|`.

    Attributes
    ----------
    select : Selection
    max_k : int
        How many atoms an item may have.
    weights : Tensor (n,) or (*batch, n)
    k : Tensor (*batch,) int64, optional
        How many each item may have, where they differ; `max_k` is the largest.
    barred : Tensor (n,) or (*batch, n) bool, optional
        Atoms that are never chosen.

    Examples
    --------
    >>> import torch, pursuit
    >>> choice = pursuit.AtomSelector(pursuit.Hard(), max_k=2, weights=torch.ones(4))
    >>> choice.best(torch.tensor([1.0, -3.0, 0.0, 2.0])).indices
    tensor([1, 3])
    """

    select: Selection
    max_k: int
    weights: Tensor
    k: Tensor | None = None
    barred: Tensor | None = None

    @property
    def most(self) -> int:
        """`max_k`, by its old name."""
        warn("AtomSelector.most", "AtomSelector.max_k", stacklevel=3)
        return self.max_k

    def score(self, c: Tensor) -> Tensor:
        """`w |c|`, except where an atom is barred."""
        score = self.select.score(c, self.weights)
        return score if self.barred is None else torch.where(self.barred, self.select.never, score)

    def best(self, c: Tensor, *, times: int = 1) -> Any:
        """The `times` k best atoms by `c (*batch, n)`."""
        best = self.select(self.score(c), min(times * self.max_k, c.shape[-1]))
        return best if self.k is None else best.first(times * self.k)

    def threshold(self, u: Tensor) -> tuple[Any, Tensor]:
        """The k best atoms of `u (*batch, n)`, and `H_k(u)`: `u` on those alone."""
        if self.k is None and self.barred is None:
            return self.select.threshold(u, self.weights, self.max_k)
        atoms = self.best(u)
        return atoms, atoms.keep(u)

    def best_of(self, c: Tensor, among: Tensor, count: int | None = None) -> Any:
        """The best atoms by `c`, k or `count` of them, out of those in the mask `among (*batch, n)`, hard or soft."""
        score = torch.where(among > 0, among * self.score(c), self.select.never)
        if count is not None:
            return self.select(score, count)
        best = self.select(score, self.max_k)
        return best if self.k is None else best.first(self.k)

    def next(self, c: Tensor, chosen: Any) -> Any:
        """The best atom for a residual that is orthogonal to those chosen."""
        return self.select(chosen.exclude(self.score(c)), 1)

    def extend(self, chosen: Any, c: Tensor, count: int) -> Any:
        """The atoms `chosen`, then the `count` best others by `c (*batch, n)`; k in all."""
        new = self.select(chosen.exclude(self.score(c)), count)
        atoms = chosen.union(new, self.max_k)
        return atoms if self.k is None else atoms.first(self.k)

    def empty(self, y: Tensor, n: int) -> Any:
        """Room for the atoms, and none in it."""
        return self.select.empty(y, self.max_k, n)
