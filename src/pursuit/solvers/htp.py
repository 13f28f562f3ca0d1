"""Hard Thresholding Pursuit."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import loop
from ..core.least_squares import independent
from ..core.losses import LeastSquares, Loss
from ..core.selection import AtomSelector, Hard, Selection
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from . import iht
from .problem import Hook, Problem, problem


class State(NamedTuple):
    """The best iterate `x, r, atoms`, the current one `now`, an earlier support to notice cycles by, and the steps."""

    x: Tensor
    r: Tensor
    atoms: Any
    now: iht.State
    seen: Any
    t: Tensor


def cycle(
    A: Operator, y: Tensor, s: iht.State, *, eta: Tensor, choice: AtomSelector, loss: Loss = LeastSquares()
) -> iht.State:
    """One cycle of the paper; its atoms in order of size."""
    u = A.gradient_step(s.x, loss.pseudo_residual(A, y, s.x, s.r), eta)
    ranked = choice.best(u)  # S = largest_k(x + eta A^H (y - A x))
    return refit(A, y, ranked, loss)  # x = LS(S)


def refit(A: Operator, y: Tensor, atoms: Any, loss: Loss = LeastSquares()) -> iht.State:
    """LS(S), in order of columns: a support that comes back gives the same bits, and is no better than before.

    An atom that those before it span gets zero, so that the next cycle can have another in its place. Of all fits that
    are as good, that of minimum norm would share out the coefficient, and keep such an atom.
    """
    S = independent(A, atoms.sorted())
    z, r = loss.fit(A, y, S)
    return iht.State(S.embed(z), r, atoms)


def step(A: Operator, y: Tensor, s: State, *, eta: Tensor, choice: AtomSelector, loss: Loss = LeastSquares()) -> State:
    """One cycle; the best residual is kept, since at large eta the residual may grow.

    On the CPU `kernels/cpu/htp.py` takes the place of this step;
    `pursuit.config.kernels = "off"`, or `on_step`, runs this text.
    """
    now = cycle(A, y, s.now, eta=eta, choice=choice, loss=loss)
    x, r, atoms = loop.choose(loop.lower(now.r, s.r).squeeze(-1), now, iht.State(s.x, s.r, s.atoms))
    # Brent's cycle detection: at every power of two remember a support; meeting it again closes a cycle.
    seen = loop.choose((s.t & (s.t - 1)) == 0, s.now.atoms, s.seen)
    return State(x, r, atoms, now, seen, s.t + 1)


def stop(old: State, new: State) -> Tensor:
    """The next iterate depends on the support alone: one that comes back brings everything after it back."""
    fixed = new.now.atoms.same_set(old.now.atoms)
    cycle = new.now.atoms.same_set(new.seen)
    code = torch.where(cycle, Status.CYCLE, Status.RUNNING)
    return torch.where(fixed, Status.STATIONARY, code)


def init(A: Operator, y: Tensor, x: Tensor, choice: AtomSelector, loss: Loss = LeastSquares()) -> State:
    """The start, which need not be the fit on its own support: that one counts as not visited."""
    s = iht.init(A, y, x, choice, loss)
    zero = torch.zeros(y.shape[:-1], dtype=torch.int64, device=y.device)
    none = s.atoms.first(zero)
    return State(*s, now=s._replace(atoms=none), seen=none, t=zero)


def run(p: Problem, x: Tensor, on_step: Hook | None = None) -> Solution[Tensor]:
    """All cycles from `x`."""
    return p.iterate(
        partial(step, p.A, p.y, eta=p.eta, choice=p.choice, loss=p.loss),
        stop,
        init(p.A, p.y, x, p.choice, p.loss),
        on_step,
    )


def htp(
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
    select: Selection = Hard(),
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """Hard Thresholding Pursuit: IHT with a least-squares fit on every support it visits.

    It stops when a support repeats and returns the best residual seen.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
    eta : float or array (*batch,), default 1.8 / L
        Step size, with `L` the largest eigenvalue of `A^H A` after the columns are normalised, times the curvature of
        the loss. Below 1 / L the residual never grows.
    x0 : array (*batch, n), optional
        Warm start.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    max_steps : int or int array (*batch,), default 1000
    weights : array (n,) or (*batch, n), optional
        Multiplies the score; the values stay unweighted.
    loss : LeastSquares(), Logistic(), or callable (v, y) -> (*batch, m), default LeastSquares()
        What is made small, a loss >= 0 per measurement of `v = A x`. With another loss than least squares `||r||` is
        the root of twice the loss, `||y||` that of `x = 0`, numbers are real, and the result has no derivative.
    select : selection, default Hard()
    on_step : callable, optional
        Run without the compiled kernel, and call this after every step: see `solve`.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        Before any work, on input that cannot be solved as given.

    References
    ----------
    Foucart, "Hard thresholding pursuit: an algorithm for compressive sensing", SIAM J. Numer. Anal. 2011.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.htp(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1).x
    tensor([0., 4., 0.])
    """
    p = problem(A, y, k, tol=tol, max_steps=max_steps, weights=weights, loss=loss, select=select)
    p = p.with_step_size(eta, 1.8)
    return p.recover("htp", run, p.start(x0), on_step)
