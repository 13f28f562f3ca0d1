"""Orthogonal Matching Pursuit with Replacement."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..core import loop
from ..core.atoms import Atoms, ChosenAtoms
from ..core.autocast import full_precision
from ..core.selection import AtomSelector, Hard, Selection
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from . import omp
from .on_support import State, refit
from .problem import Hook, Problem, problem


def start(p: Problem, x0: Any) -> ChosenAtoms:
    """The k largest of the warm start, or OMP's atoms."""
    if x0 is not None:
        return p.choice.best(p.start(x0))
    p = replace(p, max_steps=p.k)
    if not isinstance(p.select, Hard):
        return omp.pursue(p)
    return Atoms(p.find("omp", omp.run).support, p.A.shape[1])


def step(A: Operator, y: Tensor, s: State, *, eta: Tensor, choice: AtomSelector) -> State:
    """Add the best atom outside S, then drop the worst of the k + 1."""
    z = A.gradient_step(s.x, s.r, eta)  # z = x + eta A^H (y - A x)
    j = choice.best_of(z, among=s.atoms.complement(), count=1)  # j = argmax outside S of |z|
    J = s.atoms.union(j, max_k=choice.max_k + 1).mask()  # J = S with j
    S = choice.best_of(z, among=J)  # drop the smallest |z| of J
    return refit(A, y, S)  # x = LS(S)


def stop(old: State, new: State) -> Tensor:
    """Stop when nothing was replaced, or when the replacement does not lower the residual."""
    same = new.atoms.same_set(old.atoms)
    return torch.where(same, Status.STATIONARY, loop.no_decrease(old, new))


def run(p: Problem, atoms: ChosenAtoms | Tensor, on_step: Hook | None = None) -> Solution[Tensor]:
    """All replacements, from these relaxed atoms, or from a support `(*batch, k)`."""
    atoms = Atoms(atoms, p.A.shape[1]) if isinstance(atoms, Tensor) else atoms
    return p.iterate(partial(step, p.A, p.y, eta=p.eta, choice=p.choice), stop, refit(p.A, p.y, atoms, p.loss), on_step)


@full_precision
def ompr(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    eta: PerItem = 1.0,
    x0: Any = None,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem = 1000,
    weights: Any = None,
    select: Selection = Hard(),
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """OMP with Replacement: from OMP's support, swap one atom at a time while the residual decreases.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
        Most atoms per signal.
    eta : float or array (*batch,), default 1
        Step size of the gradient step that ranks the atoms; at most 1.
    x0 : array (*batch, n), optional
        Warm start: its k largest entries are the first support. Default: OMP's support.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), default 1000
        Most replacements.
    weights : array (n,) or (*batch, n), optional
        Multiply the score `|x + eta A^H r|`; see `pursuit.solve`.
    select : selection, default Hard()
        How atoms are chosen; see `pursuit.solve`.
    on_step : callable, optional
        Run without the compiled kernel, and call this after every replacement: see `pursuit.solve`.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.

    References
    ----------
    Jain, Tewari, Dhillon, "Orthogonal matching pursuit with replacement", NeurIPS 2011.

    Examples
    --------
    >>> import torch, pursuit
    >>> wrong = torch.tensor([1.0, 0.0, 0.0])
    >>> pursuit.ompr(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1, x0=wrong).x
    tensor([0., 4., 0.])
    """
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=max_steps, weights=weights, select=select).with_step_size(eta, 1.0)
    first = start(p, x0)
    return p.recover("ompr", run, first.indices if isinstance(first, Atoms) else first, on_step)
