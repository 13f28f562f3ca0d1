"""Fast Iterative Shrinkage-Thresholding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import loop
from ..core.autocast import full_precision
from ..core.solution import Arr, Solution
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from . import ista
from .penalty import iterate, lasso, recover
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


def step(
    A: Operator,
    y: Tensor,
    s: State,
    *,
    gamma: Tensor,
    theta: Tensor,
    back: Callable[[Tensor], Tensor] | None = None,
) -> State:
    """ISTA's step from the extrapolated point, then extrapolate."""
    z = ista.step(A, y, s.extrapolated, gamma=gamma, theta=theta, back=back or A.adjoint)  # z' = step(x)
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


def run(
    p: Problem,
    x: Tensor,
    on_step: Hook | None = None,
    *,
    theta: Tensor,
    penalty: Tensor | None = None,
    gap: Tensor | None = None,
) -> Solution[Tensor]:
    """All steps from `x`, or until the duality gap of the `penalty` is at most `gap`.

    The gap is that of the extrapolated point; the step from there lowers the objective further.
    """
    start, move = init(p.A, p.y, x), partial(step, p.A, p.y, gamma=p.eta, theta=theta)
    return iterate(p, move, stop, start, on_step, point=lambda s: s.extrapolated, penalty=penalty, gap=gap)


@full_precision
def fista(
    A: OperatorLike,
    y: Arr | Nested,
    lam: PerItem | None = None,
    *,
    lam_share: PerItem | None = None,
    k: PerItem | None = None,
    weights: Any = None,
    x0: Any = None,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    gap: PerItem | None = None,
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
    lam : float or array (*batch,), optional
        Weight of the penalty. From `max |A^H y|` on the solution is zero. Needed is `lam`, `lam_share` or `k`.
    lam_share : float or array (*batch,), optional
        The penalty as a share of the smallest for which the solution is zero, so that it does not depend on units.
    k : int or int array (*batch,), optional
        Find the penalty that leaves k non-zeros, by bisection; where none does, the next smaller number.
    weights : array (n,) or (*batch, n), optional
        The penalty of each coefficient is `lam` times its weight: 0 for an intercept, for example.
    x0 : array (*batch, n), optional
        Warm start.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    gap : float or array (*batch,), optional
        Stop when the duality gap is at most this share of `||y||^2`, for example 1e-6; the status is then `GAP`.
    max_steps : int or int array (*batch,), default 1000
        Most steps. It stops earlier if a step changes `x` by rounding only. A signal that is not finished by then has
        the status `GAP` if its duality gap is at most 1e-6, else `MAX_STEPS`.
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
    q = lasso("fista", A, y, lam, lam_share=lam_share, k=k, weights=weights, tol=tol, eps=eps, max_steps=max_steps)
    return recover("fista", run, q, x0, gap, on_step)
