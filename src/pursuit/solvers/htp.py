"""Hard Thresholding Pursuit."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import loop
from ..core.atoms import ChosenAtoms
from ..core.autocast import full_precision
from ..core.least_squares import independent
from ..core.losses import LeastSquares, Loss
from ..core.selection import AtomSelector, Hard, Selection
from ..core.solution import Arr, Solution, Status
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from . import iht, on_support
from .problem import Hook, Problem, problem


class State(NamedTuple):
    """The best iterate `x, r, atoms`, the current one `now`, an earlier support to detect cycles, and the step."""

    x: Tensor
    r: Tensor
    atoms: ChosenAtoms
    now: on_support.State
    seen: Any
    t: Tensor


def cycle(
    A: Operator, y: Tensor, s: on_support.State, *, eta: Tensor, choice: AtomSelector, loss: Loss = LeastSquares()
) -> on_support.State:
    """One cycle of the paper."""
    u = A.gradient_step(s.x, loss.pseudo_residual(A, y, s.x, s.r), eta)
    ranked = choice.best(u)  # S = largest_k(x + eta A^H (y - A x))
    return refit(A, y, ranked, loss)  # x = LS(S)


def refit(A: Operator, y: Tensor, atoms: ChosenAtoms, loss: Loss = LeastSquares()) -> on_support.State:
    """LS(S), fitted in order of columns: a support that repeats gives the same bits, and so no lower residual.

    An atom in the span of those before it gets the coefficient zero, so that the next cycle can replace it. The fit of
    minimum norm would divide the coefficient among dependent atoms and keep all of them.
    """
    S = independent(A, atoms.sorted())
    z, r = loss.fit(A, y, S)
    return on_support.State(S.embed(z), r, atoms)


def step(A: Operator, y: Tensor, s: State, *, eta: Tensor, choice: AtomSelector, loss: Loss = LeastSquares()) -> State:
    """One cycle; the iterate of least residual is kept, because the residual may grow at large eta.

    On the CPU `kernels/cpu/htp.py` takes the place of this step;
    `pursuit.config.kernels = "off"`, or `on_step`, runs this text.
    """
    now = cycle(A, y, s.now, eta=eta, choice=choice, loss=loss)
    x, r, atoms = loop.choose(loop.lower(now.r, s.r).squeeze(-1), now, on_support.State(s.x, s.r, s.atoms))
    # Brent's cycle detection: at every power of two keep the support; if it comes again, there is a cycle.
    seen = loop.choose((s.t & (s.t - 1)) == 0, s.now.atoms, s.seen)
    return State(x, r, atoms, now, seen, s.t + 1)


def stop(old: State, new: State) -> Tensor:
    """The next iterate depends on the support only: if a support repeats, all later iterates repeat too."""
    fixed = new.now.atoms.same_set(old.now.atoms)
    cycle = new.now.atoms.same_set(new.seen)
    code = torch.where(cycle, Status.CYCLE, Status.RUNNING)
    return torch.where(fixed, Status.STATIONARY, code)


def init(A: Operator, y: Tensor, x: Tensor, choice: AtomSelector, loss: Loss = LeastSquares()) -> State:
    """The start. Its support counts as not visited, because the start need not be the fit on it."""
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


@full_precision
def htp(
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
    select: Selection = Hard(),
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """Hard Thresholding Pursuit: IHT with a least-squares fit on every support.

    It stops when a support repeats, and returns the fit with the smallest residual.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
        Most atoms per signal.
    eta : float or array (*batch,), default 1
        Step size; see `pursuit.solve`. Below 1 / L the residual never grows; the default, that of the paper, explores
        more supports. With another loss it is divided by the largest second derivative of that.
    x0 : array (*batch, n), optional
        Warm start.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), default 1000
        Most steps; each fits one support.
    weights : array (n,) or (*batch, n), optional
        Multiply the score `|x + eta A^H r|`; see `pursuit.solve`.
    loss : LeastSquares(), Logistic(), or callable (v, y) -> (*batch, m), default LeastSquares()
        The loss to minimise; see `pursuit.solve`.
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
    Foucart, "Hard thresholding pursuit: an algorithm for compressive sensing", SIAM J. Numer. Anal. 2011.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.htp(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1).x
    tensor([0., 4., 0.])
    """
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=max_steps, weights=weights, loss=loss, select=select)
    p = p.with_step_size(eta, 1.0, torch.ones_like(p.target))
    return p.recover("htp", run, p.start(x0), on_step)
