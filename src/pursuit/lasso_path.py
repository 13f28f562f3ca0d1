"""The LASSO where no penalty is given: it is solved for several, and every signal takes the one that suits it.

No truth is used. For every penalty the k largest entries are refitted by least squares; the penalty whose k entries
leave the least residual is taken, among equal ones the smallest, which shrinks least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .core.least_squares import fit
from .core.solution import Solution
from .operators import Operator
from .prediction import largest

SHARES = (0.1, 0.03, 0.01, 0.003, 0.001)  # of the smallest penalty at which the solution is zero, from large to small
GAP = 1e-6  # the duality gap at which a penalty is done, as a share of ||y||^2
EQUAL = 1e-6  # residuals that differ by so little, as a share of ||y||, are equal: the same entries were refitted


def path(recover: Callable[..., Solution[Any]], A: Operator, y: Tensor, **options: Any) -> list[Solution[Tensor]]:
    """The solutions for all penalties, each started from the one before.

    Parameters
    ----------
    recover : callable
        `fista` or `ista`.
    A : Operator
    y : Tensor (*batch, m)
    **options
        Of the solver.

    Examples
    --------
    >>> import pursuit
    >>> case = pursuit.problems.gaussian(n=60, m=40, k=3, signals=5)
    >>> solutions = path(pursuit.fista, case.A, case.y)
    >>> best = suited(case.A, case.y, solutions, k=3)
    >>> refitted(case.A, case.y, best, k=3).support.shape
    torch.Size([5, 3])
    """
    solutions: list[Solution[Tensor]] = []
    for share in SHARES:
        start = solutions[-1].x if solutions else None
        solutions.append(recover(A, y, lam_share=share, x0=start, gap=GAP, **options))
    return solutions


def suited(A: Operator, y: Tensor, solutions: Sequence[Solution[Tensor]], k: int) -> Solution[Tensor]:
    """Of every signal the solution whose k largest entries, refitted, leave the least residual.

    Its steps are those of all solutions together.
    """
    if len(solutions) == 1:
        return solutions[0]
    left = torch.stack([refitted(A, y, s, k).residual_norm for s in solutions])
    least = left <= left.amin(0) + EQUAL * torch.linalg.vector_norm(y, dim=-1)
    best = len(left) - 1 - least.flip(0).int().argmax(0, keepdim=True)  # the last: the smallest penalty

    def taken(values: list[Tensor]) -> Tensor:
        """Of values `(*batch, ...)`, one per penalty, those of the best."""
        stacked = torch.stack(values)
        index = best.reshape(*best.shape, *[1] * (stacked.ndim - best.ndim))
        return torch.take_along_dim(stacked, index, 0).squeeze(0)

    x = taken([s.x for s in solutions])
    return Solution.of_signal(
        x,
        largest(x, int((x != 0).sum(-1).max()) if x.numel() else 0).indices,
        taken([s.residual_norm for s in solutions]),
        torch.stack([s.steps for s in solutions]).sum(0),
        taken([s.status for s in solutions]),
        taken([s.compiled for s in solutions]),
    )


def refitted(A: Operator, y: Tensor, s: Solution[Tensor], k: int) -> Solution[Tensor]:
    """The k largest entries, fitted by least squares, so that the penalty does not shrink them."""
    atoms = largest(s.x, k)
    z, r = fit(A, y, atoms)
    norm = torch.linalg.vector_norm(r, dim=-1)
    return Solution(atoms.indices, z, norm, s.steps, s.status, s.compiled, s.n)
