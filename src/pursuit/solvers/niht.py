"""Normalised Iterative Hard Thresholding."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import loop
from ..core.atoms import ChosenAtoms
from ..core.autocast import full_precision
from ..core.numeric import energy, safe_divide
from ..core.selection import AtomSelector, Hard, Selection
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from .on_support import State, first_support
from .problem import Hook, Problem, problem

MARGIN = 0.01  # c of the paper: how far below the stable step size a trial must stay
SHRINK = 1 / (2 * (1 - MARGIN))  # 1 / (kappa (1 - c)) with kappa = 2
MAX_TRIALS = 100  # a few dozen are enough: a step size below (1 - c) / ||A||^2 always passes


class Trial(NamedTuple):
    """A step size `mu` under test, the iterate that it leads to, and whether it passed."""

    mu: Tensor
    x: Tensor
    r: Tensor
    atoms: ChosenAtoms
    passed: Tensor


def init(A: Operator, y: Tensor, x: Tensor, choice: AtomSelector) -> State:
    """S = supp H_k(A^H y), or the k largest entries of a warm start."""
    atoms = first_support(A, y, x, choice)
    x = atoms.keep(x)
    return State(x, A.residual(y, x), atoms)


def step(A: Operator, y: Tensor, s: State, *, choice: AtomSelector) -> State:
    """Exact line search on the current support; the step size shrinks until the change of support is safe."""
    g = A.adjoint(s.r)
    g_S = s.atoms.keep(g)
    # If x is optimal on S, mu would be 0 / 0: search along the whole gradient then.
    g_S = torch.where(energy(g_S) > 0, g_S, g)
    mu = safe_divide(energy(g_S), energy(A.forward(g_S)))  # mu = ||g_S||^2 / ||A_S g_S||^2

    def attempt(t: Trial) -> Trial:
        u = s.x + t.mu * g
        atoms, x = choice.threshold(u)  # x' = H_k(x + mu g)
        d = x - s.x
        safe = t.mu <= (1 - MARGIN) * safe_divide(energy(d), energy(A.forward(d)))
        passed = safe.squeeze(-1) | atoms.same_set(s.atoms)
        mu = torch.where(passed.unsqueeze(-1), t.mu, SHRINK * t.mu)  # else mu <- mu / (kappa (1 - c))
        return Trial(mu, x, A.residual(y, x), atoms, passed)

    trials = loop.run(
        attempt,
        lambda old, new: torch.where(new.passed, Status.STATIONARY, Status.RUNNING),
        Trial(mu, s.x, s.r, s.atoms, torch.zeros_like(mu.squeeze(-1), dtype=torch.bool)),
        target=-torch.ones_like(mu.squeeze(-1)),
        max_steps=torch.full_like(mu.squeeze(-1), MAX_TRIALS, dtype=torch.int64),
    ).state
    return State(trials.x, trials.r, trials.atoms)


def run(p: Problem, x: Tensor, on_step: Hook | None = None) -> Solution[Tensor]:
    """All steps from `x`."""
    return p.iterate(partial(step, p.A, p.y, choice=p.choice), stop, init(p.A, p.y, x, p.choice), on_step)


@full_precision
def niht(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    x0: Any = None,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem = 1000,
    weights: Any = None,
    select: Selection = Hard(),
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """Normalised Iterative Hard Thresholding: IHT with a step size from a line search, so the residual never grows.

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
    max_steps : int or int array (*batch,), default 1000
        Most steps.
    weights : array (n,) or (*batch, n), optional
        Multiply the score `|x + mu A^H r|`; see `pursuit.solve`.
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
    Blumensath, Davies, "Normalized iterative hard thresholding", IEEE JSTSP 2010.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.niht(3 * torch.eye(3), torch.tensor([0.0, 6.0, 1.0]), k=1).x
    tensor([0., 2., 0.])
    """
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=max_steps, weights=weights, select=select)
    return p.recover("niht", run, p.start(x0), on_step)


def stop(old: State, new: State) -> Tensor:
    """Stop at a fixed point, or when the residual no longer decreases."""
    still = loop.stationary(old, new)
    return torch.where(still == Status.RUNNING, loop.no_decrease(old, new), still)
