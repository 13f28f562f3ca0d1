"""What every solver returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np


class Status(IntEnum):
    """Why a solver stopped, one code per signal.

    Examples
    --------
    >>> import torch, pursuit
    >>> sol = pursuit.omp(torch.eye(3), torch.ones(2, 3), k=1)
    >>> pursuit.Status(int(sol.status[0])).message
    'all k atoms were chosen'
    """

    RUNNING = 0
    TOLERANCE = 1
    SPARSITY = 2
    STATIONARY = 3
    NO_DECREASE = 4
    CYCLE = 5
    EXPLORED = 6
    EXHAUSTED = 7
    MAX_STEPS = 8
    DIVERGED = 9

    @property
    def message(self) -> str:
        """The reason in words, and what to do about it."""
        return _MESSAGES[self]

    @property
    def ok(self) -> bool:
        """Whether the result is as asked."""
        return self not in (Status.RUNNING, Status.MAX_STEPS, Status.DIVERGED)


_MESSAGES = {
    Status.RUNNING: "still running",
    Status.TOLERANCE: "the residual reached the tolerance",
    Status.SPARSITY: "all k atoms were chosen",
    Status.STATIONARY: "a fixed point was reached: another step changes nothing",
    Status.NO_DECREASE: "the next step would not lower the residual; the last one that did was kept",
    Status.CYCLE: "the supports repeat in a cycle; the best residual among them was kept",
    Status.EXPLORED: "the whole budget of steps was explored; the best support seen was kept",
    Status.EXHAUSTED: "no atom correlates with the residual any more: fewer than k were needed",
    Status.MAX_STEPS: "max_steps was reached first: pass a larger max_steps or a looser tol",
    Status.DIVERGED: "the iterates diverged; the last before that was kept: pass a smaller step size eta, or damping",
}


class RecoveryError(RuntimeError):
    """A solver ended without what was asked; raised by `Solution.check`.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.iht(torch.ones(1, 1), torch.ones(1), k=1, eta=0.1, max_steps=2).check()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pursuit.core.solution.RecoveryError: the signal: max_steps was reached first: pass a larger max_steps or ...
    """


@dataclass(frozen=True)
class Solution:
    """A recovered signal, or a batch of them; NumPy arrays for NumPy input, else tensors.

    Attributes
    ----------
    x : (*batch, n)
        The signal, zero off its support, in the caller's units.
    support : (*batch, k) int64
        Column numbers in order of selection, -1 where fewer were found.
    residual_norm : (*batch,)
        `||y - A x||`; with another `loss` than least squares, the root of twice the loss.
    steps : (*batch,) int64
        Steps taken.
    status : (*batch,) int64
        Codes of `Status`.
    compiled : (*batch,) bool
        Whether a compiled kernel found it, not the solver's steps: see `pursuit.config`.

    Examples
    --------
    >>> import numpy as np, pursuit
    >>> pursuit.omp(2 * np.eye(3), np.array([[0.0, 4.0, 0.0]]), k=1).x
    array([[0., 2., 0.]])
    """

    x: Any
    support: Any
    residual_norm: Any
    steps: Any
    status: Any
    compiled: Any

    def check(self) -> Solution:
        """Return the solution itself, or raise `RecoveryError` for the first item that is not as asked.

        Examples
        --------
        >>> import torch, pursuit
        >>> pursuit.omp(torch.eye(3), torch.tensor([0.0, 2.0, 0.0]), 1).check().support
        tensor([1])
        """
        codes = np.asarray(self.status.tolist(), dtype=int)
        bad = np.flatnonzero([not Status(int(code)).ok for code in codes.flat])
        if bad.size == 0:
            return self
        first = np.unravel_index(bad[0], codes.shape)
        where = f"item {tuple(int(i) for i in first)}" if codes.ndim else "the signal"
        more = f" ({bad.size} of {codes.size} items ended badly)" if codes.ndim else ""
        raise RecoveryError(f"{where}: {Status(int(codes[first])).message}{more}.")
