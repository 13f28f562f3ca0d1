"""The plain inverse: a truncated singular value decomposition, then least squares on its k largest entries."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..core import loop
from ..core.atoms import Atoms
from ..core.autocast import full_precision
from ..core.selection import AtomSelector
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from ..operators.svd import MOST, SVD, svd
from .on_support import State, refit
from .problem import Hook, Problem, problem


def init(y: Tensor, n: int, max_k: int) -> State:
    """x = 0."""
    none = torch.full((*y.shape[:-1], max_k), -1, device=y.device)
    return State(y.new_zeros(*y.shape[:-1], n), y, Atoms(none, n))


def step(A: Operator, y: Tensor, s: State, *, target: Tensor, factors: SVD, choice: AtomSelector) -> State:
    """Invert, keep the k largest, refit."""
    z = truncated(factors, y, target)  # z = A^+ y, without the small singular values
    S = choice.best(z).supporting(z)  # S = largest_k |z|
    return refit(A, y, S)  # x = LS(S)


@torch.no_grad()
def truncated(factors: SVD, y: Tensor, target: Tensor) -> Tensor:
    """The pseudo-inverse times `y`, of the fewest largest singular values whose residual norm is at most `target`.

    If none are, of all that rounding leaves.
    """
    U, s, V = factors
    wide = y.detach().to(U.dtype)
    c = U.forward(wide)  # c = U^H y
    s = s.expand(c.shape)
    order = s.argsort(dim=-1, descending=True, stable=True)
    outside = (wide - U.adjoint(c)).abs().square().sum(-1, keepdim=True)
    # ||y - A A^+ y||^2 of 0, 1, ... values; summed from the small ones, which keeps their digits
    left = outside + c.abs().square().gather(-1, order).flip(-1).cumsum(-1).flip(-1)
    needed = left > target.double().square().unsqueeze(-1)
    kept = torch.zeros_like(needed).scatter(-1, order, needed)
    floor = max(U.shape[1], V.shape[1]) * torch.finfo(y.dtype).eps * s.amax(-1, keepdim=True)
    kept = kept & (s > floor)
    return V.adjoint(torch.where(kept, c / torch.where(kept, s, 1), 0)).to(y.dtype)


def run(p: Problem, start: None = None, on_step: Hook | None = None) -> Solution[Tensor]:
    """One step."""
    factors = svd(p.A)
    if factors is None:
        raise ValueError(
            f"A is {p.A.shape[0]} x {p.A.shape[1]}, which takes too long to decompose; inverse needs min(m, n)^2 "
            f"max(m, n) <= {MOST}, or a circular convolution: use another solver."
        )
    asked = p.target.new_full((), torch.inf) if p.wanted is None else p.wanted
    target = torch.where(asked.isfinite(), asked, 0).expand(p.batch)  # that of rounding is no reason to leave out any
    move = partial(step, p.A, p.y, target=target, factors=factors, choice=p.choice)
    once = replace(p, max_steps=p.max_steps.clamp(max=1))
    return once.iterate(move, loop.never, init(p.y, p.A.shape[1], p.max_k), on_step, at_budget=Status.SPARSITY)


@full_precision
def inverse(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem = 1,
    weights: Any = None,
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """The k largest entries of the pseudo-inverse times `y`, refitted: what a sparse solver must do better than.

    Where `A` can be inverted and there is no noise, this finds the signal, whatever the number of non-zeros. With a
    noise level in `eps`, or in `tol`, small singular values are left out (the discrepancy principle): the inverse stops
    at the fewest largest ones with which its residual reaches that level.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm; they are brought to norm one first. Decomposed, for circular convolutions by FFT.
    y : array (*batch, m)
    k : int or int array (*batch,)
        Most atoms per signal.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), default 1
        One step is all there is; with 0, x is zero.
    weights : array (n,) or (*batch, n), optional
        Multiply the score, the size of the entries of the inverse; see `pursuit.solve`.
    on_step : callable, optional
        Run without the compiled kernel, and call this after the step: see `pursuit.solve`.

    Returns
    -------
    Solution
        If `tol` or `eps` is given, the status is `TOL_MISSED` where the refit on k entries does not reach it.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, or `A` is too large to be decomposed (`min(m, n)^2 max(m, n)`
        above 2^33), before any work starts.

    References
    ----------
    Hansen, "Truncated singular value decomposition solutions to discrete ill-posed problems with ill-determined
    numerical rank", SIAM J. Sci. Stat. Comput. 1990.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.inverse(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1).x
    tensor([0., 4., 0.])
    """
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=max_steps, weights=weights)
    return p.recover("inverse", run, None, on_step)
