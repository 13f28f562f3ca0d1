"""What solvers that keep a support share: their state, the fit on a support, and where a start leads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..core.atoms import ChosenAtoms
from ..core.losses import LeastSquares, Loss
from ..core.selection import AtomSelector
from ..operators import Operator


class State(NamedTuple):
    """Iterate `x`, its residual `r` and its atoms."""

    x: Tensor
    r: Tensor
    atoms: ChosenAtoms


def refit(A: Operator, y: Tensor, atoms: ChosenAtoms, loss: Loss = LeastSquares()) -> State:
    """x = LS(S)."""
    z, r = loss.fit(A, y, atoms)
    return State(atoms.embed(z), r, atoms)


def first_support(A: Operator, y: Tensor, x: Tensor, choice: AtomSelector) -> ChosenAtoms:
    """S = largest_k |A^H y|, or the k largest entries of a warm start `x`."""
    warm = (x != 0).any(-1, keepdim=True)
    return choice.best(torch.where(warm, x, A.adjoint(y)))
