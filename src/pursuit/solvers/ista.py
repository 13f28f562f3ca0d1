"""Iterative Shrinkage-Thresholding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from ..core import loop
from ..core.atoms import Atoms
from ..core.selection import Hard
from ..core.solution import Arr, Solution
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from ..shrinkage import Shrink, proximal, soft
from .problem import ALL, Hook, Problem, Run, problem


class State(NamedTuple):
    """Iterate `x` and its residual `r`."""

    x: Tensor
    r: Tensor


def init(A: Operator, y: Tensor, x: Tensor) -> State:
    """The start."""
    return State(x, A.residual(y, x))


def step(
    A: Operator,
    y: Tensor,
    s: State,
    *,
    gamma: Tensor | float,
    theta: Tensor,
    back: Callable[[Tensor], Tensor],
    shrink: Shrink = soft,
) -> State:
    """Gradient step through the back-projection, then shrink."""
    x = proximal(s.x, back(s.r), gamma, theta, shrink)  # x = eta_theta(x + gamma A^H (y - A x))
    return State(x, A.residual(y, x))


def lasso_problem(A: Any, y: Any, lam: Any, tol: Any, max_steps: Any) -> tuple[Problem, Tensor]:
    """The problem with the step size 1 / L, and the threshold `theta (*batch, 1)` of the penalty."""
    p = problem(A, y, ALL, tol=tol, max_steps=max_steps, unit_columns=False).with_step_size(None, 1.0)
    return replace(p, penalised=True), p.eta * p.penalty("lam", lam, units=1, of_x=True)


def answer(s: Any) -> tuple[Tensor, Atoms]:
    """The iterate, and its non-zeros as the support, largest first."""
    atoms = Hard()(s.x.detach().abs(), s.x.shape[-1])
    found = (s.x != 0).sum(-1)
    max_k = int(found.max()) if found.numel() else 0
    return s.x, atoms._replace(indices=atoms.indices[..., :max_k])


def run(p: Problem, x: Tensor, on_step: Hook | None = None, *, theta: Tensor) -> Solution[Tensor]:
    """All steps from `x`."""
    return p.iterate(
        partial(step, p.A, p.y, gamma=p.eta, theta=theta, back=p.A.adjoint),
        loop.stationary,
        init(p.A, p.y, x),
        on_step,
        answer=answer,
    )


def ista(
    A: OperatorLike,
    y: Arr | Nested,
    lam: PerItem,
    *,
    x0: Any = None,
    tol: PerItem | None = None,
    max_steps: PerItem = 1000,
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """ISTA: minimises `||y - A x||^2 / 2 + lam ||x||_1` by proximal gradient steps.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns are not normalised: the penalty is on the caller's coefficients.
    y : array (*batch, m)
    lam : float or array (*batch,)
        Weight of the penalty. From `max |A^H y|` on the solution is zero.
    x0 : array (*batch, n), optional
        Warm start.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    max_steps : int or int array (*batch,), default 1000
        Most steps. It stops earlier if a step changes `x` by rounding only.
    on_step : callable, optional
        Run without the compiled kernel, and call this after every step: see `pursuit.solve`.

    Returns
    -------
    Solution
        `support` holds the non-zero entries, largest first.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.

    References
    ----------
    Daubechies, Defrise, De Mol, "An iterative thresholding algorithm for linear inverse problems", CPAM 2004.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.ista(torch.eye(3), torch.tensor([0.5, 4.0, 2.0]), lam=1.0).x.round(decimals=4)
    tensor([0., 3., 1.])
    """
    p, theta = lasso_problem(A, y, lam, tol, max_steps)
    return p.recover("ista", with_threshold(run), (p.start(x0), theta), on_step)


def with_threshold(run: Callable[..., Solution[Tensor]]) -> Run:
    """`run` with its start and its threshold, which is per signal too, in one tuple."""
    return lambda p, start, on_step: run(p, start[0], on_step, theta=start[1])
