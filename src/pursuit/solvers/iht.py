"""Iterative Hard Thresholding."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..core import loop
from ..core.autocast import full_precision
from ..core.losses import LeastSquares, Loss
from ..core.numeric import energy, safe_divide
from ..core.selection import AtomSelector, Hard, Selection
from ..core.solution import Arr, Solution
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from .on_support import State
from .problem import Hook, Problem, problem


def init(A: Operator, y: Tensor, x: Tensor, choice: AtomSelector, loss: Loss = LeastSquares()) -> State:
    """The k largest entries of the start."""
    atoms, x = choice.threshold(x)
    return State(x, loss.residual(A, y, x), atoms)


def begin(y: Tensor, n: int, choice: AtomSelector) -> State:
    """x = 0."""
    return State(y.new_zeros(*y.shape[:-1], n), y, choice.empty(y, n))


def step(A: Operator, y: Tensor, s: State, *, eta: Tensor, choice: AtomSelector, loss: Loss = LeastSquares()) -> State:
    """Gradient step, then keep the k largest.

    On the CPU `kernels/cpu/iht.py` takes the place of this step;
    `pursuit.config.kernels = "off"`, or `on_step`, runs this text.
    """
    u = A.gradient_step(s.x, loss.pseudo_residual(A, y, s.x, s.r), eta)  # u = x + eta A^H (y - A x)
    atoms, x = choice.threshold(u)  # x = H_k(u)
    return State(x, loss.residual(A, y, x), atoms)


def with_step_size(p: Problem, eta: Any) -> Problem:
    """With the step size `eta`; if None, for each signal that of a line search from x = 0 on its first support."""
    if eta is not None:
        return p.with_step_size(eta, 1.0)
    with torch.no_grad():  # a default is a constant in derivatives
        zero, r = p.y.new_zeros(*p.batch, p.A.shape[1]), p.loss.initial_residual(p.y)
        c = p.A.adjoint(p.loss.pseudo_residual(p.A, p.y, zero, r))
        g = p.choice.best(c).keep(c)  # on S = largest_k |A^H y|
        squared = safe_divide(energy(p.A.forward(g)), energy(g))  # 1 / mu = ||A_S g_S||^2 / ||g_S||^2
    return p.with_step_size(None, 1.0, squared.squeeze(-1))


def run(p: Problem, x: Tensor, on_step: Hook | None = None) -> Solution[Tensor]:
    """All steps from `x`."""
    return p.iterate(
        partial(step, p.A, p.y, eta=p.eta, choice=p.choice, loss=p.loss),
        loop.stationary,
        init(p.A, p.y, x, p.choice, p.loss),
        on_step,
    )


@full_precision
def iht(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    eta: PerItem | None = None,
    x0: Any = None,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem = 1000,
    weights: Any = None,
    loss: Any = LeastSquares(),
    select: Selection = Hard(),
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """Iterative Hard Thresholding: gradient steps, each followed by keeping the k largest entries.

    The gradient steps are those for columns of norm one; `x` is in the caller's units.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
        Most atoms per signal.
    eta : float or array (*batch,), optional
        Step size; see `pursuit.solve`. Below 1 / L the residual never grows. The default is that of a line search along
        the k largest entries of `A^H y`, which is longer and finds more signals; `niht` searches in every step.
    x0 : array (*batch, n), optional
        Warm start.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), default 1000
        Most steps.
    weights : array (n,) or (*batch, n), optional
        Multiply the score `|x + eta A^H r|`; see `pursuit.solve`.
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
    Blumensath, Davies, "Iterative hard thresholding for compressed sensing", ACHA 2009.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.iht(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1, eta=1.0).x
    tensor([0., 4., 0.])
    """
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=max_steps, weights=weights, loss=loss, select=select)
    p = with_step_size(p, eta)
    return p.recover("iht", run, p.start(x0), on_step)
