"""The Support Exploration Algorithm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import compiled, loop
from ..inputs import Hook, Problem, problem
from ..least_squares import fit
from ..operators import Operator
from ..selection import Atoms, Choice, Hard
from ..solution import Solution, Status

Sparsify = Callable[[Operator, Tensor, Tensor, Choice], tuple[Atoms, Tensor]]


class State(NamedTuple):
    """The exploration variable `X`, and the best solution seen (`x, r, atoms`)."""

    X: Tensor
    x: Tensor
    r: Tensor
    atoms: Atoms


def init(y: Tensor, X: Tensor, most: int) -> State:
    """X^0, and nothing seen yet."""
    none = torch.full((*y.shape[:-1], most), -1, device=y.device)
    return State(X, torch.zeros_like(X), y, Atoms(none, X.shape[-1]))


def sparsify(A: Operator, y: Tensor, X: Tensor, choice: Choice) -> tuple[Atoms, Tensor]:
    """H(X): the support that X points to, and the best x on it."""
    S = choice.best(X)  # S^t = the k largest |X^t|, ties to the lowest index
    return S, S.embed(fit(A, y, S).z)  # x^t = LS(S^t)


def step(A: Operator, y: Tensor, s: State, *, eta: Tensor, choice: Choice, H: Sparsify = sparsify) -> State:
    """Look at the support that X points to, then let the residual move X."""
    S, x = H(A, y, s.X, choice)
    r = A.residual(y, x)
    # The gradient vanishes on S^t; without the exact zero its rounding error would move X there.
    g = torch.where(S.mask(), 0, A.adjoint(r))
    X = s.X + eta * g  # X^{t+1} = X^t - eta A^H (A x^t - y)
    better = loop.lower(r, s.r)  # t_BEST: the first minimiser
    return State(
        X=X,
        x=torch.where(better, x, s.x),
        r=torch.where(better, r, s.r),
        atoms=loop.choose(better.squeeze(-1), S, s.atoms),
    )


def leap(p: Problem, s: State, eta: Tensor) -> tuple[State, Tensor]:
    """All steps at once by the kernel, from a state that has seen nothing; and how many they were."""
    X, indices, steps = compiled.explore(p, s.X, eta)
    atoms = Atoms(indices, X.shape[-1])
    x = atoms.embed(fit(p.A, p.y, atoms).z)
    return State(X, x, p.A.residual(p.y, x), atoms), steps


def sea(
    A: Any,
    y: Any,
    k: Any,
    *,
    eta: Any = None,
    x0: Any = None,
    tol: Any = None,
    max_steps: Any = 1000,
    weights: Any = None,
    on_step: Hook | None = None,
) -> Solution:
    """Support Exploration Algorithm: a dense variable, moved by the residual, points to support after support.

    The best one is kept. Started from another solver's result it is never worse in residual than that result's support.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
    eta : float or array (*batch,), default 1.8 / L
        Step size, with `L` the largest eigenvalue of `A^H A` after the columns are normalised. Without a warm start the
        supports do not depend on it.
    x0 : array (*batch, n), optional
        Warm start of the exploration variable: any solver's `x`.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    max_steps : int or int array (*batch,), default 1000
        Supports to look at.
    weights : array (n,) or (*batch, n), optional
        Multiplies the score `|X|`; the values stay unweighted.
    on_step : callable, optional
        Called after every step with an `Iterate` (of the best solution so far).

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
    p = problem(A, y, k, tol=tol, max_steps=max_steps, weights=weights)
    start, taken, eta = init(p.y, p.start(x0), p.most), None, p.step_size(eta, 1.8)
    if on_step is None and compiled.fits(p):
        start, taken = leap(p, start, eta)
    return p.recover(
        partial(step, p.A, p.y, eta=eta, choice=p.choice(Hard())),
        loop.never,
        start,
        on_step=on_step,
        at_budget=Status.EXPLORED,
        taken=taken,
    )
