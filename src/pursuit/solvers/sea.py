"""The Support Exploration Algorithm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import loop
from ..core.atoms import Atoms, ChosenAtoms
from ..core.autocast import full_precision
from ..core.losses import LeastSquares, Loss
from ..core.selection import AtomSelector
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from .problem import Hook, Problem, problem

Sparsify = Callable[[Operator, Tensor, Tensor, AtomSelector], tuple[ChosenAtoms, Tensor]]


class State(NamedTuple):
    """The exploration variable `X`, and the best solution so far (`x, r, atoms`)."""

    X: Tensor
    x: Tensor
    r: Tensor
    atoms: ChosenAtoms


def init(y: Tensor, X: Tensor, max_k: int, loss: Loss = LeastSquares()) -> State:
    """X^0, and no solution yet."""
    none = torch.full((*y.shape[:-1], max_k), -1, device=y.device)
    return State(X, torch.zeros_like(X), loss.initial_residual(y), Atoms(none, X.shape[-1]))


def sparsify(
    A: Operator, y: Tensor, X: Tensor, choice: AtomSelector, loss: Loss = LeastSquares()
) -> tuple[ChosenAtoms, Tensor]:
    """H(X): the k largest entries of X as a support, and the best x on it.

    The fit is in order of columns: a support that repeats gives the same bits, and so no lower residual.
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
    """Fit on the k largest entries of X, then move X by the gradient at the fit.

    On the CPU `kernels/cpu/sea.py` takes the place of this step;
    `pursuit.config.kernels = "off"`, or `on_step`, runs this text.
    """
    S, x = H(A, y, s.X, choice)
    r = loss.residual(A, y, x)
    # On S^t the gradient is zero up to rounding; set it to zero, or rounding would move X.
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


@full_precision
def sea(
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
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """Support Exploration Algorithm: fit the k largest entries of a dense variable X, which moves along the residual.

    The best of all these fits is returned. Started from another solver's result, its residual is never larger than that
    of a fit on the result's support.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
        Most atoms per signal.
    eta : float or array (*batch,), default 1.8 / L
        Step size; see `pursuit.solve`. Without a warm start the supports do not depend on it.
    x0 : array (*batch, n), optional
        Warm start: X before the first step.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), default 1000
        Number of steps; each fits one support.
    weights : array (n,) or (*batch, n), optional
        Multiply the score `|X|`; see `pursuit.solve`.
    loss : LeastSquares(), Logistic(), or callable (v, y) -> (*batch, m), default LeastSquares()
        The loss to minimise; see `pursuit.solve`.
    on_step : callable, optional
        Run without the compiled kernel, and call this with the best solution so far: see `pursuit.solve`.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.

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
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=max_steps, weights=weights, loss=loss)
    p = p.with_step_size(eta, 1.8)
    return p.recover("sea", run, p.start(x0), on_step)
