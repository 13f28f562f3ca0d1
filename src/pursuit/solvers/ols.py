"""Orthogonal Least Squares."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core.atoms import ChosenAtoms
from ..core.autocast import full_precision
from ..core.numeric import rank_tolerance
from ..core.selection import AtomSelector, Hard, Selection
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from . import omp
from .given import ALL
from .problem import UNLIMITED, Hook, Problem, problem


class State(NamedTuple):
    """As in OMP; and `rest (*batch, n)`, the energy of each column outside the span of the chosen ones."""

    r: Tensor
    qr: Any
    atoms: ChosenAtoms
    rest: Tensor


def init(y: Tensor, n: int, choice: AtomSelector) -> State:
    """Nothing chosen, room for k atoms, and n columns of norm one."""
    return State(*omp.init(y, n, choice), y.real.new_ones(*y.shape[:-1], n))


def step(A: Operator, s: State, *, choice: AtomSelector) -> State:
    """Choose the atom that leaves the smallest residual, and project.

    On the CPU `kernels/cpu/ols.py`, on NVIDIA GPUs `kernels/cuda/ols.py`, takes the place of this step;
    `pursuit.config.kernels = "off"`, or `on_step`, runs this text.
    """
    c = A.adjoint(s.r)  # correlate
    spanned = s.rest <= rank_tolerance(A.shape[0], A.dtype)  # its energy outside the span is rounding
    length = torch.where(spanned, 1, s.rest).sqrt()
    choice = replace(choice, barred=spanned if choice.barred is None else choice.barred | spanned)
    best = choice.next(c / length, s.atoms)  # j = argmax_i w_i |a_i^H r| / ||a_i off A_S||
    r, qr, atoms = omp.take(A, s, best)  # S <- S + {j}, r = y - A LS(S)
    along = A.adjoint(qr.Q[s.qr.size])
    return State(r, qr, atoms, s.rest - (along.conj() * along).real)


def run(p: Problem, start: None = None, on_step: Hook | None = None) -> Solution[Tensor]:
    """All steps."""
    choice = p.choice
    return p.iterate(
        partial(step, p.A, choice=choice),
        partial(omp.stop, k=p.k, full=p.full),
        init(p.y, p.A.shape[1], choice),
        on_step,
        answer=lambda s: (omp.estimate(s), s.atoms),
    )


@full_precision
def ols(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem | None = None,
    weights: Any = None,
    select: Selection = Hard(),
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """Orthogonal Least Squares: in each step choose the atom that leaves the smallest residual after the refit.

    OMP compares correlations with the residual. OLS divides each by the norm of the column outside the span of the
    chosen ones. Its residual is usually smaller, above all for similar columns; each step costs one more product with
    `A^H`. It is also called order recursive matching pursuit; `spams.omp` computes it.

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
        Multiply the score `|A^H r| / ||a_j off A_S||`; see `pursuit.solve`.
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
    Chen, Billings, Luo, "Orthogonal least squares methods and their application to non-linear system identification",
    International Journal of Control 50, 1989.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, -2.0], [0.0, 1.0, 0.0]])
    >>> y = torch.tensor([1.0, 2.0, 0.0])
    >>> pursuit.ols(A, y, k=2).support, pursuit.omp(A, y, k=2).support
    (tensor([0, 2]), tensor([0, 1]))

    The first and the third column fit `y` exactly; but the second correlates more with the residual of the first.
    """
    if k is None and tol is None and eps is None:
        raise ValueError(
            "ols was given neither k nor tol nor eps; pass k (how many atoms), tol (the residual as a share of ||y||) "
            "or eps (the residual itself)."
        )
    steps = UNLIMITED if max_steps is None else max_steps  # k ends it
    full = Status.SPARSITY if k is not None else Status.TOL_MISSED
    k = ALL if k is None else k
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=steps, weights=weights, select=select, full=full)
    return p.recover("ols", run, on_step=on_step)
