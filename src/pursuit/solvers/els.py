"""Exhaustive Local Search."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor

from ..core import loop
from ..core.atoms import Atoms, ChosenAtoms
from ..core.autocast import full_precision
from ..core.least_squares import factor
from ..core.losses import LeastSquares, Loss
from ..core.numeric import energy, rank_tolerance, safe_divide
from ..core.selection import Hard
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from . import ompr
from .on_support import State, refit
from .problem import Hook, Problem, problem

LEAST_GAIN = 1e-12  # a swap must lower ||r||^2 by at least this share


@torch.no_grad()  # gains only choose the swap; derivatives pass through the fit on the chosen atoms
def swap_gains(A: Operator, y: Tensor, atoms: ChosenAtoms) -> Tensor:
    """How much `||r||^2` falls if chosen atom `i` is replaced by column `j` and all is refitted, `(*batch, k, n)`.

    With `u_i` the direction in the span of `S` that is orthogonal to all columns of `S` except `i`, and `r` the
    residual on `S`: removing `i` raises `||r||^2` by `|u_i^H y|^2` and leaves the residual `r_i = r + u_i u_i^H y`;
    adding `j` then lowers it by `|a_j^H r_i|^2 / ||P a_j||^2`, where `P` projects off the columns of `S` without `i`.
    It is minus infinity if there is no atom `i`, or if `a_j` is in `S` or in the span of the other columns of `S`.
    """
    B = atoms.columns(A)
    _, F = factor(B, y, atoms.found.sum(-1))
    Q = orthonormal(B @ F)
    r = y
    for _ in range(2):  # twice is enough
        r = r - (Q @ (Q.mH @ r.unsqueeze(-1))).squeeze(-1)
    length = torch.linalg.vector_norm(F, dim=-1)
    present = atoms.found & (length > 0)
    # Removing a column in the span of the others costs nothing: it has no direction u_i, and (B^+ B)_ii < 1.
    needed = present & ((F.mH * (Q.mH @ B)).sum(-2).real > 0.999)
    scale = safe_divide(1, length, where=needed)
    U = (Q @ F.mH) * scale.unsqueeze(-2)  # u_i = B (B^H B)^-1 e_i, normalised

    lost = (U.mH @ y.unsqueeze(-1)).squeeze(-1)
    D = A.with_inner_batch().adjoint(U.mT)  # D_ij = a_j^H u_i
    E = A.with_inner_batch().adjoint(Q.mT)  # the part of a_j in the span of S
    squared = A.working_norms().square()
    outside = squared - E.abs().square().sum(-2)
    left = outside.unsqueeze(-2) + D.abs().square()  # ||P a_j||^2, S without i
    correlation = A.adjoint(r).unsqueeze(-2) + lost.unsqueeze(-1) * D  # a_j^H r_i
    independent = left > rank_tolerance(A.shape[0], y.dtype) * squared.unsqueeze(-2)
    gain = correlation.abs().square() / torch.where(independent, left, 1) - lost.abs().square().unsqueeze(-1)
    allowed = independent & present.unsqueeze(-1) & atoms.complement().unsqueeze(-2)
    return torch.where(allowed, gain, -torch.inf)


def orthonormal(Q: Tensor) -> Tensor:
    """Make nearly orthonormal (or zero) columns orthonormal to rounding, which `B R^-1` is not for all B."""
    G = Q.mH @ Q
    three = 3 * torch.eye(Q.shape[-1], dtype=Q.dtype, device=Q.device)
    once = (three - G) / 2  # Q (3 - Q^H Q) / 2 squares the error; it is done twice
    return Q @ (once @ (three - once @ G @ once) / 2)


def step(A: Operator, y: Tensor, s: State, *, weights: Tensor, loss: Loss = LeastSquares()) -> State:
    """Make the best swap; if the loss is not quadratic, the best of those that its second-order model ranks first.

    On the CPU `kernels/cpu/els.py` takes the place of this step;
    `pursuit.config.kernels = "off"`, or `on_step`, runs this text.
    """
    gain = swap_gains(*loss.quadratic(A, y, s.x), s.atoms) * weights.unsqueeze(-2)
    gain = torch.where(weights.unsqueeze(-2) > 0, gain, -torch.inf)
    n = gain.shape[-1]
    best = Hard()(gain.flatten(-2), loss.trials).indices  # (i, j) = argmin f(S - i + j)
    slots = torch.arange(s.atoms.indices.shape[-1], device=y.device)
    swapped = [torch.where(slots == pair // n, pair % n, s.atoms.indices) for pair in best.split(1, dim=-1)]
    return reduce(_lower, (refit(A, y, Atoms(indices, n), loss) for indices in swapped))


def _lower(a: State, b: State) -> State:
    """The state of lower residual, the first of equals."""
    return loop.choose(loop.lower(b.r, a.r).squeeze(-1), b, a)


def stop(old: State, new: State) -> Tensor:
    """Go on while the refitted residual strictly decreases."""
    before, after = (energy(s.r.detach()).squeeze(-1) for s in (old, new))
    return torch.where(after < (1 - LEAST_GAIN) * before, Status.RUNNING, Status.NO_DECREASE)


def run(p: Problem, support: Tensor, on_step: Hook | None = None) -> Solution[Tensor]:
    """Swap by swap from `support (*batch, k)`, with -1 where there is no atom."""
    start = refit(p.A, p.y, Atoms(support, p.A.shape[1]), p.loss)
    return p.iterate(partial(step, p.A, p.y, weights=p.weights, loss=p.loss), stop, start, on_step)


@full_precision
def els(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    x0: Any = None,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem = 1000,
    weights: Any = None,
    loss: Any = LeastSquares(),
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """Exhaustive Local Search: from OMP's support, make the best of all k (n - k) swaps while the residual decreases.

    Rank-one formulas give for each swap the residual of a full refit. With another loss than least squares they rank
    the swaps by the second-order model of the loss at the current fit; the first eight are refitted, and the best of
    these is made.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
        Most atoms per signal.
    x0 : array (*batch, n), optional
        Warm start: its k largest entries are the first support. Default: OMP's support.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), default 1000
        Most swaps.
    weights : array (n,) or (*batch, n), optional
        Multiply OMP's score `|A^H r|`, and the gain of a swap by the weight of the new atom; see `pursuit.solve`.
    loss : LeastSquares(), Logistic(), or callable (v, y) -> (*batch, m), default LeastSquares()
        The loss to minimise; see `pursuit.solve`.
    on_step : callable, optional
        Run without the compiled kernel, and call this after every swap: see `pursuit.solve`.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.

    References
    ----------
    Axiotis, Sviridenko, "Sparse convex optimization via adaptively regularized hard thresholding", ICML 2020,
    arXiv 2006.14571.

    Examples
    --------
    >>> import torch, pursuit
    >>> wrong = torch.tensor([1.0, 0.0, 0.0])
    >>> pursuit.els(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1, x0=wrong).x
    tensor([0., 4., 0.])
    """
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=max_steps, weights=weights, loss=loss)
    return p.recover("els", run, ompr.start(p, x0).indices, on_step)
