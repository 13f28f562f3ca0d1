"""The Support Exploration Algorithm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import loop
from ..core.atoms import Atoms
from ..core.losses import LeastSquares, Loss
from ..core.selection import AtomSelector
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from .problem import Hook, Problem, problem

Sparsify = Callable[[Operator, Tensor, Tensor, AtomSelector], tuple[Atoms, Tensor]]


class State(NamedTuple):
    """The exploration variable `X`, and the best solution seen (`x, r, atoms`)."""

    X: Tensor
    x: Tensor
    r: Tensor
    atoms: Atoms


def init(y: Tensor, X: Tensor, max_k: int, loss: Loss = LeastSquares()) -> State:
    """X^0, and nothing seen yet."""
    none = torch.full((*y.shape[:-1], max_k), -1, device=y.device)
    return State(X, torch.zeros_like(X), loss.initial_residual(y), Atoms(none, X.shape[-1]))


def sparsify(
    A: Operator, y: Tensor, X: Tensor, choice: AtomSelector, loss: Loss = LeastSquares()
) -> tuple[Atoms, Tensor]:
    """H(X): the support that X points to, and the best x on it.

    Fitted in order of columns, so that a support that comes back gives the same bits, and is no better than before.
    """
    S = choice.best(X)  # S^t = the k largest |X^t|, ties to the lowest index
    sorted_S = S.sorted()
    return S, sorted_S.embed(loss.fit(A, y, sorted_S).z)  # x^t = LS(S^t), the least loss on S^t


def step(
    A: Operator,
    y: Tensor,
    s: State,
    *,
    eta: Tensor,
    choice: AtomSelector,
    loss: Loss = LeastSquares(),
    H: Sparsify = sparsify,
) -> State:
    """Look at the support that X points to, then let the residual move X.

    On the CPU `kernels/cpu/sea.py` takes the place of this step;
    `pursuit.config.kernels = "off"`, or `on_step`, runs this text.
    """
    S, x = H(A, y, s.X, choice)
    r = loss.residual(A, y, x)
    # The gradient vanishes on S^t; without the exact zero its rounding error would move X there.
    g = torch.where(S.mask(), 0, A.adjoint(loss.pseudo_residual(A, y, x, r)))
    X = s.X + eta * g  # X^{t+1} = X^t - eta A^H (A x^t - y)
    better = loop.lower(r, s.r)  # t_BEST: the first minimiser
    return State(
        X=X,
        x=torch.where(better, x, s.x),
        r=torch.where(better, r, s.r),
        atoms=loop.choose(better.squeeze(-1), S, s.atoms),
    )


def run(p: Problem, X: Tensor, on_step: Hook | None = None) -> Solution[Tensor]:
    """All steps from the exploration variable `X`."""
    return p.iterate(
        partial(step, p.A, p.y, eta=p.eta, choice=p.choice, loss=p.loss, H=partial(sparsify, loss=p.loss)),
        loop.never,
        init(p.y, X, p.max_k, p.loss),
        on_step,
        at_budget=Status.EXPLORED,
    )


def sea(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    eta: PerItem | None = None,
    x0: Any = None,
    tol: PerItem | None = None,
    max_steps: PerItem = 1000,
    weights: Any = None,
    loss: Any = LeastSquares(),
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """Support Exploration Algorithm: a dense variable, moved by the residual, points to support after support.

    The best one is kept. Started from another solver's result it is never worse in residual than that result's support.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
    eta : float or array (*batch,), default 1.8 / L
        Step size, with `L` the largest eigenvalue of `A^H A` after the columns are normalised, times the curvature of
        the loss. Without a warm start the supports do not depend on it.
    x0 : array (*batch, n), optional
        Warm start of the exploration variable: any solver's `x`.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    max_steps : int or int array (*batch,), default 1000
        Supports to look at.
    weights : array (n,) or (*batch, n), optional
        Multiplies the score `|X|`; the values stay unweighted.
    loss : LeastSquares(), Logistic(), or callable (v, y) -> (*batch, m), default LeastSquares()
        What is made small, a loss >= 0 per measurement of `v = A x`. With another loss than least squares `||r||` is
        the root of twice the loss, `||y||` that of `x = 0`, numbers are real, and the result has no derivative.
    on_step : callable, optional
        Run without the compiled kernel, and call this with the best solution so far: see `solve`.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        Before any work, on input that cannot be solved as given.

    References
    ----------
    Mohamed, Malgouyres, Emiya, Chaux, "Straight-through meets sparse recovery: the support exploration algorithm",
    ICML 2024.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.sea(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1, max_steps=10).x
    tensor([0., 4., 0.])
    """
    p = problem(A, y, k, tol=tol, max_steps=max_steps, weights=weights, loss=loss)
    p = p.with_step_size(eta, 1.8)
    return p.recover("sea", run, p.start(x0), on_step)
