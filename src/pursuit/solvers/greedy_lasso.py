"""OMP that chooses the atom which lowers a LASSO or square-root LASSO objective most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..checks import one_of
from ..core import loop
from ..core.autocast import full_precision
from ..core.numeric import energy, safe_divide, safe_sqrt
from ..core.selection import AtomSelector, Hard, Selection
from ..core.solution import Arr, Solution, Status
from ..names import takes_old_names
from ..operators import Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from . import omp
from .given import ALL
from .omp import State
from .problem import UNLIMITED, Hook, Problem, problem

# By how much an objective falls at most if one coefficient changes. For every column two values: as a column outside
# the support S, and as one in it. From g = |a_j^H r|, x = |x_j|, rho = ||r||, lam and w = w_j; r is orthogonal to S.
Rule = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def l0(g: Tensor, x: Tensor, rho: Tensor, lam: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """`||y - A x||^2 + lam sum_{x_j != 0} w_j^2`."""
    p = lam * w.square()
    into = (g.square() - p).clamp(min=0)  # j not in S: max(g^2 - lam w^2, 0)
    out = torch.where(x > 0, (p - x.square()).clamp(min=0), 0)  # j in S: max(lam w^2 - x^2, 0), x != 0
    return into, out


def l0_sr(g: Tensor, x: Tensor, rho: Tensor, lam: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """`||y - A x|| + lam sum_{x_j != 0} w_j^2`."""
    p = lam * w.square()
    fall = safe_divide(g.square(), rho + safe_sqrt(rho.square() - g.square()))  # rho - sqrt(rho^2 - g^2)
    into = (fall - p).clamp(min=0)  # j not in S: max(rho - sqrt(rho^2 - g^2) - lam w^2, 0)
    out = torch.where(x > 0, (p - _rise(x, rho)).clamp(min=0), 0)  # j in S: max(rho + lam w^2 - sqrt(rho^2 + x^2), 0)
    return into, out


def l1(g: Tensor, x: Tensor, rho: Tensor, lam: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """`||y - A x||^2 + lam sum_j w_j |x_j|`."""
    p = lam * w
    into = (g - p / 2).clamp(min=0).square()  # j not in S: max(g - lam w / 2, 0)^2
    u = torch.minimum(x, p / 2)  # j in S: |x_j| best shrinks by u
    return into, u * (p - u)  # the penalty falls by lam w u, the square of the residual rises by u^2


def l1_sr(g: Tensor, x: Tensor, rho: Tensor, lam: Tensor, w: Tensor, *, legacy: bool = False) -> tuple[Tensor, Tensor]:
    """`||y - A x|| + lam sum_j w_j |x_j|`."""
    p = lam * w
    c = safe_sqrt(1 - p.square())
    beside = safe_sqrt(rho.square() - g.square())
    # j not in S: rho - lam w g - sqrt((1 - lam^2 w^2) (rho^2 - g^2)) if g > lam w rho, written without cancellation;
    # with rho sin(theta) = g and sin(phi) = lam w it is rho (1 - cos(theta - phi)), and s is rho sin(theta - phi).
    s = g * c - p * beside
    s = torch.where(p <= 1, s, 0) if legacy else s.clamp(min=0)  # g > lam w rho
    into = safe_divide(s.square(), rho + p * g + c * beside)
    u = torch.minimum(x, torch.where(c > 0, safe_divide(p * rho, c), torch.inf))  # j in S: |x_j| best shrinks by u
    return into, (p * u - _rise(u, rho)).clamp(min=0)


OBJECTIVES: dict[str, Rule] = {"l0": l0, "l0-sr": l0_sr, "l1": l1, "l1-sr": l1_sr}
UNITS = {"l0": 2, "l0-sr": 1, "l1": 1, "l1-sr": 0}  # power of those of y, in which lam is


def gains(A: Operator, s: State, *, rule: Rule, lam: Tensor, w: Tensor) -> Tensor:
    """Delta of every column, `(*batch, n)`; for a column that is partly in S, the mean of both cases by its share."""
    rho = safe_sqrt(energy(s.r))
    into, out = rule(A.adjoint(s.r).abs(), omp.estimate(s).abs(), rho, lam, w)
    M = s.atoms.mask().to(rho.dtype).clamp(0, 1)
    return (1 - M) * into + M * out


def step(A: Operator, s: State, *, choice: AtomSelector, delta: Callable[[State], Tensor]) -> State:
    """Add the column of the largest gain and project, unless there is no gain or the column is already in."""
    score = choice.score(delta(s))
    best = choice.select(score, 1)  # identify: j = argmax_j Delta_j
    top = score.argmax(-1, keepdim=True)
    useful = (score.gather(-1, top) > 0) & (s.atoms.mask().gather(-1, top) <= 0.5)
    return loop.choose(useful.squeeze(-1), omp.take(A, s, best), s)  # S <- S + {j}, r = y - A LS(S)


def stop(old: State, new: State, *, k: Tensor, full: Status) -> Tensor:
    """Stop when no column was added, for then none ever will be; else as OMP."""
    same = new.atoms.found.sum(-1) == old.atoms.found.sum(-1)
    return torch.where(same, Status.STATIONARY, omp.stop(old, new, k=k, full=full))


def run(p: Problem, start: tuple[Tensor, Tensor], on_step: Hook | None = None, *, rule: Rule) -> Solution[Tensor]:
    """All steps, with the penalty and its weights in the place of a start."""
    choice, delta = p.choice, partial(gains, p.A, rule=rule, lam=start[0], w=start[1])
    return p.iterate(
        partial(step, p.A, choice=choice, delta=delta),
        partial(stop, k=p.k, full=p.full),
        omp.init(p.y, p.A.shape[1], choice),
        on_step,
        answer=lambda s: (omp.estimate(s), s.atoms),
    )


@takes_old_names(loss="objective", weights="penalty_weights")
@full_precision
def greedy_lasso(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    lam: PerItem,
    objective: str = "l1-sr",
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem | None = None,
    penalty_weights: Any = None,
    select: Selection = Hard(),
    legacy: bool = False,
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """Greedy (square-root) LASSO: OMP that adds the atom which lowers a penalised objective most, until none does.

    With `lam = 0` it is OMP. A larger `lam` stops earlier, and gives the `penalty_weights`, `w_j`, more influence. The
    penalty only decides which atoms are chosen: the coefficients are the least squares on these atoms, not shrunk.

    ========= ================================================
    objective what is lowered
    ========= ================================================
    `"l0"`    `||y - A x||^2 + lam sum_{x_j != 0} w_j^2`
    `"l0-sr"` `||y - A x|| + lam sum_{x_j != 0} w_j^2`
    `"l1"`    `||y - A x||^2 + lam sum_j w_j |x_j|`
    `"l1-sr"` `||y - A x|| + lam sum_j w_j |x_j|`
    ========= ================================================

    Here `A` has columns of norm one, and `x` their coefficients; other columns are scaled first. If y is scaled by c,
    scale `lam` by c^2 for `"l0"`, by c for `"l0-sr"` and `"l1"`, not at all for `"l1-sr"`. For `"l1-sr"` an atom
    with `lam w_j >= 1` never lowers the objective.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,), optional
        Most atoms per signal. Without it the penalty, `tol` or `eps` ends the search, at min(m, n) atoms at the latest.
    lam : float or array (*batch,)
        Weight of the penalty.
    objective : {"l1-sr", "l1", "l0-sr", "l0"}
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), optional
        Most steps; each adds one atom.
    penalty_weights : array (n,) or (*batch, n), optional
        `w_j >= 0`: a small one favours the atom, 0 removes its penalty. It is the opposite in other solvers, whose
        `weights` multiply the score.
    select : selection, default Hard()
        How atoms are chosen; see `pursuit.solve`. A relaxed choice sorts the gains, so `tau` is in units of the
        objective.
    legacy : bool, default False
        For `"l1-sr"`, leave out the condition `|a_j^H r| > lam w_j ||r||` of a gain, as the authors' code does. Atoms
        that violate it then get a gain too, the least correlated the largest. Only for reproducing published figures.
    on_step : callable, optional
        Run without the compiled kernel, and call this after every step: see `pursuit.solve`.

    Returns
    -------
    Solution
        With status `STATIONARY` if no atom lowers the objective, or the one that changes it most is already in.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.

    References
    ----------
    Mohammad-Taheri, Brugiapaglia, "The greedy side of the LASSO: new algorithms for weighted sparse recovery via loss
    function-based orthogonal matching pursuit", arXiv 2303.00844.

    Examples
    --------
    >>> import torch, pursuit
    >>> y = torch.tensor([0.5, 4.0, 1.0])
    >>> pursuit.greedy_lasso(torch.eye(3), y, lam=0.7, objective="l0").x  # an atom enters if its square exceeds lam
    tensor([0., 4., 1.])
    >>> pursuit.greedy_lasso(torch.eye(3), y, lam=0.7, objective="l0", penalty_weights=torch.tensor([0.5, 1.0, 2.0])).x
    tensor([0.5000, 4.0000, 0.0000])
    """
    one_of("objective", objective, OBJECTIVES)
    steps = UNLIMITED if max_steps is None else max_steps  # k or the penalty ends the search
    full = Status.TOL_MISSED if k is None and (tol is not None or eps is not None) else Status.SPARSITY
    k = ALL if k is None else k
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=steps, select=select, full=full)
    rule = partial(l1_sr, legacy=True) if legacy and objective == "l1-sr" else OBJECTIVES[objective]
    w = p.per_column("penalty_weights", penalty_weights)
    given = p.penalty("lam", lam, units=UNITS[objective]), w.expand(*p.batch, -1)
    return replace(p, penalised=True).recover("greedy_lasso", partial(run, rule=rule), given, on_step)


def _rise(u: Tensor, rho: Tensor) -> Tensor:
    """`sqrt(rho^2 + u^2) - rho`, without cancellation."""
    return safe_divide(u.square(), rho + safe_sqrt(rho.square() + u.square()))
