"""Orthogonal Matching Pursuit."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import loop
from ..core.atoms import ChosenAtoms
from ..core.autocast import full_precision
from ..core.losses import LeastSquares, Loss
from ..core.selection import AtomSelector, Hard, Selection
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from .given import ALL
from .problem import UNLIMITED, Hook, Problem, problem


class State(NamedTuple):
    """Residual `r`, the chosen columns as a QR factorisation (for other losses as a matrix), and the chosen atoms."""

    r: Tensor
    qr: Any
    atoms: ChosenAtoms


def init(y: Tensor, n: int, choice: AtomSelector, loss: Loss = LeastSquares()) -> State:
    """Nothing chosen, and room for k atoms."""
    return State(loss.initial_residual(y), loss.empty(y, choice.max_k), choice.empty(y, n))


def step(A: Operator, s: State, *, choice: AtomSelector) -> State:
    """Choose one more atom and project.

    On the CPU `kernels/cpu/omp.py`, on NVIDIA GPUs `kernels/cuda/omp.py`, takes the place of this step;
    `pursuit.config.kernels = "off"`, or `on_step`, runs this text.
    """
    c = A.adjoint(s.qr.pseudo_residual(s.r))  # correlate
    return take(A, s, choice.next(c, s.atoms))  # identify: j = argmax_i w_i |a_i^H r|


def take(A: Operator, s: Any, best: ChosenAtoms) -> State:
    """Add the one atom `best`, and project."""
    atoms = s.atoms.with_atom_at(s.qr.size, best)  # S <- S + {j}
    qr, r = s.qr.append(best.columns(A).squeeze(-1), s.r)  # r = y - A LS(S)
    return State(r, qr, atoms)


def estimate(s: Any) -> Tensor:
    """x = LS(S)."""
    return s.atoms.embed(s.qr.solve())


def stop(old: Any, new: Any, *, k: Tensor, full: Status = Status.SPARSITY) -> Tensor:
    """Stop when all k atoms are chosen (`full`), or when the last one does not lower the residual."""
    code = torch.where(new.atoms.found.sum(-1) >= k, full, Status.RUNNING)
    return torch.where(loop.no_decrease(old, new) == Status.RUNNING, code, Status.EXHAUSTED)


def run(p: Problem, start: None = None, on_step: Hook | None = None) -> Solution[Tensor]:
    """All steps."""
    step, stop, state = steps(p)
    return p.iterate(step, stop, state, on_step, answer=lambda s: (estimate(s), s.atoms))


def pursue(p: Problem) -> ChosenAtoms:
    """The chosen atoms, hard or relaxed, for solvers that start from them."""
    return loop.run(*steps(p), target=p.target, max_steps=p.max_steps).state.atoms


def steps(p: Problem) -> tuple[Any, Any, State]:
    """The step, when to stop, and the start."""
    choice = p.choice
    start = init(p.y, p.A.shape[1], choice, p.loss)
    return partial(step, p.A, choice=choice), partial(stop, k=p.k, full=p.full), start


@full_precision
def omp(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem | None = None,
    weights: Any = None,
    loss: Any = LeastSquares(),
    select: Selection = Hard(),
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """Orthogonal Matching Pursuit: in each step choose the atom that correlates best with the residual, then refit.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,), optional
        Most atoms per signal. Without it `tol` or `eps` ends the search, at min(m, n) atoms at the latest.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), optional
        Most steps; each adds one atom.
    weights : array (n,) or (*batch, n), optional
        Multiply the score `|A^H r|`; see `pursuit.solve`.
    loss : LeastSquares(), Logistic(), or callable (v, y) -> (*batch, m), default LeastSquares()
        The loss to minimise; see `pursuit.solve`.
    select : selection, default Hard()
        How atoms are chosen; see `pursuit.solve`.
    on_step : callable, optional
        Run without the compiled kernel, and call this after every step: see `pursuit.solve`.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.

    References
    ----------
    Pati, Rezaiifar, Krishnaprasad, "Orthogonal matching pursuit", Asilomar 1993.

    Examples
    --------
    >>> import torch, pursuit
    >>> sol = pursuit.omp(2 * torch.eye(4), torch.tensor([0.0, 6.0, 0.0, -2.0]), k=2)
    >>> sol.x, sol.support
    (tensor([ 0.,  3.,  0., -1.]), tensor([1, 3]))
    """
    if k is None and tol is None and eps is None:
        raise ValueError(
            "omp was given neither k nor tol nor eps; pass k (how many atoms), tol (the residual as a share of ||y||) "
            "or eps (the residual itself)."
        )
    steps = UNLIMITED if max_steps is None else max_steps  # k ends it
    full = Status.SPARSITY if k is not None else Status.TOL_MISSED
    k = ALL if k is None else k
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=steps, weights=weights, loss=loss, select=select, full=full)
    return p.recover("omp", run, on_step=on_step)
