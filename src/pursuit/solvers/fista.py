"""Fast Iterative Shrinkage-Thresholding."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import loop
from ..core.solution import Arr, Solution
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from . import ista
from .problem import Hook, Problem


class State(NamedTuple):
    """Iterate `x` with its residual `r`, the point `extrapolated` from it, and `t` of the momentum."""

    x: Tensor
    r: Tensor
    extrapolated: ista.State
    t: Tensor


def init(A: Operator, y: Tensor, x: Tensor) -> State:
    """The start, t = 1."""
    s = ista.init(A, y, x)
    return State(s.x, s.r, s, torch.ones_like(y.real[..., :1]))


def step(A: Operator, y: Tensor, s: State, *, gamma: Tensor, theta: Tensor) -> State:
    """ISTA's step from the extrapolated point, then extrapolate."""
    z = ista.step(A, y, s.extrapolated, gamma=gamma, theta=theta, back=A.adjoint)  # z' = step(x)
    t = (1 + torch.sqrt(1 + 4 * s.t.square())) / 2  # t' = (1 + sqrt(1 + 4 t^2)) / 2
    beta = (s.t - 1) / t
    extrapolated = z.x + beta * (z.x - s.x)  # x = z' + (t - 1) / t' (z' - z)
    # A is linear: the residual of the extrapolated point needs no further product with A.
    return State(z.x, z.r, ista.State(extrapolated, z.r + beta * (z.r - s.r)), t)


def stop(old: State, new: State) -> Tensor:
    """Stop at a fixed point of ISTA's step: the step from the extrapolated point returns that point.

    It is not enough that x did not change: x may stay for a step, at zero for example, while momentum moves the
    extrapolated point.
    """
    return loop.stationary(old.extrapolated, new)


def run(p: Problem, x: Tensor, on_step: Hook | None = None, *, theta: Tensor) -> Solution[Tensor]:
    """All steps from `x`."""
    return p.iterate(
        partial(step, p.A, p.y, gamma=p.eta, theta=theta),
        stop,
        init(p.A, p.y, x),
        on_step,
        answer=ista.answer,
    )


def fista(
    A: OperatorLike,
    y: Arr | Nested,
    lam: PerItem,
    *,
    x0: Any = None,
    tol: PerItem | None = None,
    max_steps: PerItem = 1000,
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """FISTA: ISTA with Nesterov's momentum, minimising `||y - A x||^2 / 2 + lam ||x||_1`.

    It returns the iterate itself, not the extrapolated point.

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
    Beck, Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", SIAM J. Imaging
    Sci. 2009.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.fista(torch.eye(3), torch.tensor([0.5, 4.0, 2.0]), lam=1.0).x.round(decimals=4)
    tensor([0., 3., 1.])
    """
    p, theta = ista.lasso_problem(A, y, lam, tol, max_steps)
    return p.recover("fista", ista.with_threshold(run), (p.start(x0), theta), on_step)
