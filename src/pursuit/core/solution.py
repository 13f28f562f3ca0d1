"""The result of a solver."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import TypeVar

from .. import kernels
from . import report

Arr = TypeVar("Arr", Tensor, NDArray[Any], default=NDArray[Any])


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
    TOL_MISSED = 10
    NOTHING_FOUND = 11
    WORSE_THAN_ZERO = 12
    OUT_OF_RANGE = 13
    GAP = 14
    APPLIED = 15

    @property
    def message(self) -> str:
        """The reason in words, and what to do about it."""
        return _MESSAGES[self]

    @property
    def ok(self) -> bool:
        """Whether there is a result: enough steps, a `tol` that was met, and a fit better than that of zero."""
        return Status.RUNNING < self < Status.MAX_STEPS or self in (Status.GAP, Status.APPLIED)


_MESSAGES = {
    Status.APPLIED: "all layers of the network were applied",
    Status.GAP: "the duality gap is small: no x has a noticeably smaller objective",
    Status.RUNNING: "still running",
    Status.TOLERANCE: "the residual reached the tolerance",
    Status.SPARSITY: "all k atoms were chosen",
    Status.STATIONARY: "a fixed point was reached: another step changes nothing",
    Status.NO_DECREASE: "the next step does not lower the residual; the last one that did was kept",
    Status.CYCLE: "the supports repeat in a cycle; the one with the smallest residual was kept",
    Status.EXPLORED: "all max_steps steps were taken; the best support was kept",
    Status.EXHAUSTED: "no further atom lowers the residual; fewer than k were needed",
    Status.MAX_STEPS: "max_steps was reached first: pass a larger max_steps",
    Status.DIVERGED: "the iterates diverged, so that x, the last finite one, is unusable: A does not suit the solver "
    "or its step size, or the adjoint of A is wrong",
    Status.TOL_MISSED: "the solver finished with a residual above tol: pass a looser tol, or allow more non-zeros",
    Status.NOTHING_FOUND: "x is zero and y is not: no column that may be chosen lowers the residual",
    Status.WORSE_THAN_ZERO: "the residual is larger than ||y||, so that x = 0 fits better: the start, the step size or "
    "the number of non-zeros does not suit A",
    Status.OUT_OF_RANGE: "coefficients leave the range of numbers: scale A or y, or use double precision",
}


class RecoveryError(RuntimeError):
    """A signal has no result to rely on, see `Status`; raised by `Solution.check`.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.iht(torch.ones(1, 1), torch.ones(1), k=1, eta=0.1, max_steps=2).check()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pursuit.core.solution.RecoveryError: the signal: max_steps was reached first: pass a larger max_steps.
    """


@dataclass(frozen=True, repr=False)
class Solution(Generic[Arr]):
    """A recovered signal, or a batch of them; NumPy arrays for NumPy input, else tensors.

    It holds the coefficients on the support. The signal `x`, which may be thousands of times as large, is formed at its
    first use.

    Attributes
    ----------
    support : (*batch, k) int64
        Column numbers in order of selection; -1 if fewer were found.
    coefficients : (*batch, k)
        The entries of `x` on the support, in the caller's units; zero where the support is -1.
    residual_norm : (*batch,)
        `||y - A x||`; with another `loss` than least squares, the square root of twice the loss.
    steps : (*batch,) int64
        Number of steps.
    status : (*batch,) int64
        Codes of `Status`.
    compiled : (*batch,) bool
        Whether a compiled kernel solved the signal, not the solver's steps: see `pursuit.config`.
    n : int
        Length of the signal.
    names : (n,) or None
        Names of the columns, where `A` was a table.
    x : (*batch, n)
        The signal, zero off its support.
    atoms : (number,), in lists nested as the batch is
        The support without -1: column numbers, or names. `-1` in `support` would be the last column for NumPy.
    message : str, in lists nested as the batch is
        The status in words.

    Examples
    --------
    >>> import numpy as np, pursuit
    >>> sol = pursuit.omp(2 * np.eye(3), np.array([[0.0, 4.0, 0.0], [6.0, 0.0, 0.0]]), k=2)
    >>> sol.x
    array([[0., 2., 0.],
           [3., 0., 0.]])
    >>> sol.support, sol.atoms
    (array([[ 1, -1],
           [ 0, -1]]), [array([1]), array([0])])
    >>> sol
    Solution: 2 signals, 1 of 3 coefficients each, float64
      atoms         2 different: 0 (1), 1 (1)
      coefficients  of size 2 to 3
      residual      0, median 0; 1 steps
      status        2 of 2: the residual reached the tolerance
    """

    support: Arr
    coefficients: Arr
    residual_norm: Arr
    steps: Arr
    status: Arr
    compiled: Arr
    n: int
    names: Any = None

    @classmethod
    def of_signal(
        cls, x: Arr, support: Arr, residual_norm: Arr, steps: Arr, status: Arr, compiled: Arr
    ) -> Solution[Arr]:
        """A solution with a given signal `x (*batch, n)`, which may be non-zero off the support.

        `dataclasses.replace` forms `x` anew from the coefficients; what lies off the support is then lost.

        Examples
        --------
        >>> import numpy as np, pursuit
        >>> sol = pursuit.omp(np.eye(3), np.array([0.0, 4.0, 0.0]), k=1)
        >>> half = pursuit.Solution.of_signal(
        ...     sol.x / 2, sol.support, sol.residual_norm, sol.steps, sol.status, sol.compiled
        ... )
        >>> half.coefficients
        array([2.])
        """
        coefficients = _on_support(x, support)
        solution = cls(support, coefficients, residual_norm, steps, status, compiled, x.shape[-1])
        solution.__dict__["x"] = x  # so that the property does not form it
        return solution

    @cached_property
    def x(self) -> Arr:
        """The signal, `(*batch, n)`."""
        if isinstance(self.coefficients, Tensor):
            with torch.inference_mode(False), torch.enable_grad():  # it outlives the mode in which it is asked for
                return _embed(self.coefficients, self.support, self.n)
        z, support = (torch.from_numpy(np.array(v)) for v in (self.coefficients, self.support))
        return _embed(z, support, self.n).numpy()

    def named(self, names: Any) -> Solution[Arr]:
        """The solution itself, with names of the columns."""
        if names is not None:
            self.__dict__["names"] = names
        return self

    @property
    def atoms(self) -> Any:
        """The columns found, without -1: an array for a single signal, a list of arrays for a batch of them."""
        return report.atoms(self.support, self.names)

    @property
    def message(self) -> Any:
        """The status in words: a string for a single signal, a list of strings for a batch of them."""
        words = [Status(int(code)).message for code in report.array(self.status).flat]
        return report.nested(words, tuple(self.status.shape))

    def summary(self) -> str:
        """A table: of a single signal one line per atom, of a batch one line per signal; and the status in words.

        Examples
        --------
        >>> import numpy as np, pursuit
        >>> pursuit.omp(2 * np.eye(3), np.array([0.0, 4.0, 1.0]), k=2).summary()
        Solution: 2 of 3 coefficients, float64
        <BLANKLINE>
          atom     coefficient
             1               2
             2             0.5
        <BLANKLINE>
        residual 0 after 2 steps
        <BLANKLINE>
        the residual reached the tolerance
        """
        return report.summary(self, _in_words)

    def to_scipy(self) -> Any:
        """The signals as a SciPy sparse array, `(signals, n)`, without the dense `x`; a batch is flattened to one axis.

        Raises
        ------
        ModuleNotFoundError
            If SciPy is not installed.

        Examples
        --------
        >>> import numpy as np, pursuit
        >>> pursuit.omp(np.eye(3), np.array([[0.0, 4.0, 0.0], [1.0, 0.0, 2.0]]), k=2).to_scipy().toarray()
        array([[0., 4., 0.],
               [1., 0., 2.]])
        """
        import scipy.sparse

        if "x" in vars(self):
            return scipy.sparse.csr_array(report.array(self.x).reshape(-1, self.n))
        support, values = (report.array(v) for v in (self.support, self.coefficients))
        found = (support >= 0).reshape(-1, support.shape[-1])
        ends = np.concatenate([[0], found.sum(-1).cumsum()])
        values, columns = (v.reshape(found.shape)[found] for v in (values, support))
        return scipy.sparse.csr_array((values, columns, ends), shape=(len(found), self.n))

    def __repr__(self) -> str:
        return report.in_five_lines(self, _in_words, lambda code: Status(code).name)

    def check(self) -> Solution[Arr]:
        """Return the solution itself, or raise `RecoveryError` for the first signal whose status is not `ok`.

        That k atoms were chosen is a normal end, whatever the residual. So are `max_steps` steps for `sea`, which is
        meant to take them all (`EXPLORED`), even if they are few; for other solvers they are none (`MAX_STEPS`).

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
        where = f"signal {tuple(int(i) for i in first)}" if codes.ndim else "the signal"
        more = f" ({bad.size} of {codes.size} signals did not finish)" if codes.ndim else ""
        raise RecoveryError(f"{where}: {Status(int(codes[first])).message}{more}.")


def _in_words(code: int) -> str:
    return Status(code).message


@kernels.alone()
def _embed(z: Tensor, support: Any, n: int) -> Tensor:
    """The signal with coefficients `z (*batch, k)` on the support, `(*batch, n)`; unlike `Atoms.embed` in one piece."""
    return z.new_zeros(*z.shape[:-1], n).scatter_add(-1, support.clamp(min=0), torch.where(support >= 0, z, 0))


def _on_support(x: Any, support: Any) -> Any:
    """The entries of `x (*batch, n)` on the support, `(*batch, k)`; zero where it is -1."""
    if isinstance(x, Tensor):
        return torch.where(support >= 0, x.gather(-1, support.clamp(min=0)), 0)
    return np.where(support >= 0, np.take_along_axis(x, support.clip(min=0), -1), np.zeros((), x.dtype))
