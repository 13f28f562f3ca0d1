"""Selection: the choice of atoms.

A solver does not use indices. It calls a *selection* with a score and works with the `Atoms` that it returns. With a
relaxed selection the same solver is differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from ..names import warn
from .atoms import NEVER, Atoms, ChosenAtoms


class Selection(Protocol):
    """The methods of a selection."""

    @property
    def never(self) -> float:
        """The score of an atom that must not be chosen."""
        ...

    def score(self, c: Tensor, weights: Tensor) -> Tensor:
        """`weights |c|`, `(*batch, n)`."""
        ...

    def __call__(self, score: Tensor, k: int) -> ChosenAtoms:
        """The `k` best atoms by `score (*batch, n)`, best first."""
        ...

    def threshold(self, u: Tensor, weights: Tensor, k: int) -> tuple[ChosenAtoms, Tensor]:
        """The `k` best atoms by `weights |u|`, and `u (*batch, n)` on these atoms."""
        ...

    def empty(self, y: Tensor, k: int, n: int) -> ChosenAtoms:
        """No atoms yet, with room for `k`, for measurements `y (*batch, m)`."""
        ...


def check_selection(select: Any) -> None:
    """Raise TypeError unless it has the methods of a selection."""
    methods = ("never", "score", "threshold", "empty", "__call__")
    if isinstance(select, type) or not all(hasattr(select, name) for name in methods):
        raise TypeError(
            f"select is {select!r}; needed is a choice of atoms: pursuit.Hard(), which takes the largest scores, or "
            "pursuit.Relaxed(pursuit.softsort, tau=...), which is differentiable."
        )


@dataclass(frozen=True)
class Hard:
    """The `k` largest scores; ties go to the lowest index, and a negative score is never chosen.

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
        """The `k` best atoms by `score (*batch, n)`, best first."""
        if k == 1:
            best = score.argmax(dim=-1, keepdim=True)
        else:
            best = score.sort(dim=-1, descending=True, stable=True).indices[..., :k]
        return Atoms(best.where(score.gather(-1, best) >= 0, -1), score.shape[-1])

    def threshold(self, u: Tensor, weights: Tensor, k: int) -> tuple[Atoms, Tensor]:
        """The `k` best atoms by `weights |u|`, and `u` on these atoms."""
        atoms = self(self.score(u, weights), k)
        return atoms, atoms.keep(u)

    def empty(self, y: Tensor, k: int, n: int) -> Atoms:
        """No atoms yet, with room for `k`."""
        return Atoms(torch.full((*y.shape[:-1], k), -1, device=y.device), n)


@dataclass(frozen=True)
class AtomSelector:
    """Chooses atoms for a solver: the best by `w |c|`.

    Attributes
    ----------
    select : Selection
    max_k : int
        Most atoms of a signal.
    weights : Tensor (n,) or (*batch, n)
    k : Tensor (*batch,) int64, optional
        Most atoms of each signal, if they differ; `max_k` is the largest.
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
        """`w |c|`, or a score that is never chosen for barred atoms."""
        score = self.select.score(c, self.weights)
        return score if self.barred is None else torch.where(self.barred, self.select.never, score)

    def best(self, c: Tensor, *, times: int = 1) -> ChosenAtoms:
        """The `times` k best atoms by `c (*batch, n)`."""
        best = self.select(self.score(c), min(times * self.max_k, c.shape[-1]))
        return best if self.k is None else best.first(times * self.k)

    def threshold(self, u: Tensor) -> tuple[ChosenAtoms, Tensor]:
        """The k best atoms by `u (*batch, n)`, and `H_k(u)`: `u` on these atoms, else zero."""
        if self.k is None and self.barred is None:
            return self.select.threshold(u, self.weights, self.max_k)
        atoms = self.best(u)
        return atoms, atoms.keep(u)

    def best_of(self, c: Tensor, among: Tensor, count: int | None = None) -> ChosenAtoms:
        """The k (or `count`) best atoms by `c` among those of the mask `among (*batch, n)`, hard or soft."""
        score = torch.where(among > 0, among * self.score(c), self.select.never)
        if count is not None:
            return self.select(score, count)
        best = self.select(score, self.max_k)
        return best if self.k is None else best.first(self.k)

    def next(self, c: Tensor, chosen: ChosenAtoms) -> ChosenAtoms:
        """The best atom by `c`, the correlation with a residual that is orthogonal to the `chosen` atoms."""
        return self.select(chosen.exclude(self.score(c)), 1)

    def extend(self, chosen: ChosenAtoms, c: Tensor, count: int) -> ChosenAtoms:
        """The `chosen` atoms, then the `count` best others by `c (*batch, n)`; at most k in all."""
        new = self.select(chosen.exclude(self.score(c)), count)
        atoms = chosen.union(new, self.max_k)
        return atoms if self.k is None else atoms.first(self.k)

    def empty(self, y: Tensor, n: int) -> ChosenAtoms:
        """No atoms yet."""
        return self.select.empty(y, self.max_k, n)
