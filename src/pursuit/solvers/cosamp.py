"""Compressive Sampling Matching Pursuit."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from ..core import loop
from ..core.autocast import full_precision
from ..core.least_squares import fit
from ..core.selection import AtomSelector, Hard, Selection
from ..core.solution import Arr, Solution
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from .iht import init
from .on_support import State
from .problem import Hook, Problem, problem


def step(A: Operator, y: Tensor, s: State, *, choice: AtomSelector) -> State:
    """Extend the support by 2k atoms, fit, keep the k largest."""
    omega = choice.best(A.adjoint(s.r), times=2)  # Omega = largest_2k |A^H r|
    supp = s.atoms.supporting(s.x)  # empty for x = 0
    T = supp.union(omega, max_k=A.shape[0])  # T = Omega with supp(x)
    b = T.embed(fit(A, y, T).z)  # b = LS(T)
    atoms, x = choice.threshold(b)  # x = H_k(b)
    return State(x, A.residual(y, x), atoms)  # r = y - A x


def run(p: Problem, x: Tensor, on_step: Hook | None = None) -> Solution[Tensor]:
    """All steps from `x`."""
    return p.iterate(partial(step, p.A, p.y, choice=p.choice), loop.no_decrease, init(p.A, p.y, x, p.choice), on_step)


@full_precision
def cosamp(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    x0: Any = None,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem = 100,
    weights: Any = None,
    select: Selection = Hard(),
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """CoSaMP: fit on the current atoms and the 2k that correlate best, then keep the k largest coefficients.

    As in the paper, the coefficients are those of the joint fit; they are not fitted again on the final support. If 3k
    exceeds m, only the m best atoms of the joint support are kept. It stops when the residual no longer decreases.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
        Most atoms per signal.
    x0 : array (*batch, n), optional
        Warm start.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), default 100
        Most steps.
    weights : array (n,) or (*batch, n), optional
        Multiply both scores, `|A^H r|` and the size of the fitted values; see `pursuit.solve`.
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
    Needell, Tropp, "CoSaMP: iterative signal recovery from incomplete and inaccurate samples", ACHA 2009.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.cosamp(torch.eye(4), torch.tensor([0.5, 4.0, 1.0, 0.0]), k=1).x
    tensor([0., 4., 0., 0.])
    """
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=max_steps, weights=weights, select=select)
    return p.recover("cosamp", run, p.start(x0), on_step)
