"""The penalty of the LASSO: as given, as a share, or by the number of non-zeros it leaves; and when it is solved.

All here is in the units of the problem `p`: the LASSO is to minimise `||y - A x||^2 / 2 + sum_j penalty_j |x_j|`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core.atoms import Atoms
from ..core.least_squares import fit
from ..core.selection import Hard
from ..core.solution import Solution, Status
from .given import ALL
from .problem import Hook, Problem, problem

SOLVED = 1e-6  # a duality gap of this share of ||y||^2 is none
LEAST, HALVINGS = 1e-6, 50  # for k: the smallest penalty that is tried, as a share of the largest, and most trials
Run = Callable[..., Solution[Tensor]]
Step = Callable[..., Any]
Stop = Callable[[Any, Any], Tensor]


class Lasso(NamedTuple):
    """A problem with the step size 1 / L, and its penalty.

    Attributes
    ----------
    p : Problem
    penalty : Tensor (*batch, 1) or (*batch, n)
        Of every coefficient; for a given `k` at the start of its path, where no coefficient is non-zero.
    k : Tensor (*batch,) or None
        How many non-zeros the penalty is to leave.
    """

    p: Problem
    penalty: Tensor
    k: Tensor | None


class Gapped(NamedTuple):
    """The state of a solver, and the relative duality gap, `(*batch,)`, at the point from which it stepped."""

    state: Any
    gap: Tensor

    @property
    def r(self) -> Tensor:
        """The residual."""
        r: Tensor = self.state.r
        return r


def lasso(
    name: str, A: Any, y: Any, lam: Any, *, lam_share: Any, k: Any, weights: Any, tol: Any, eps: Any, max_steps: Any
) -> Lasso:
    """Check the input of a solver and bring it into one form.

    Raises
    ------
    TypeError, ValueError
        If the input is wrong, or not exactly one of `lam`, `lam_share` and `k` is given.
    """
    given = [option for option, value in (("lam", lam), ("lam_share", lam_share), ("k", k)) if value is not None]
    if len(given) != 1:
        raise TypeError(
            f"method {name!r} was given {' and '.join(given) or 'no penalty'}; needed is one of 'lam' (the penalty), "
            "'lam_share' (as a share of the smallest for which x is zero) and 'k' (how many non-zeros it leaves)."
        )
    p = problem(A, y, ALL if k is None else k, tol=tol, eps=eps, max_steps=max_steps, unit_columns=False)
    p = replace(p.with_step_size(None, 1.0), penalised=True)
    w = None if weights is None else p.per_column("weights", weights).expand(*p.batch, p.A.shape[1])
    each = p.y.real.new_ones(*p.batch, 1) if w is None else w
    if lam is not None:
        return Lasso(p, p.penalty("lam", lam, units=1, of_x=True) * each, None)
    largest = _largest(p, w)
    if lam_share is not None:
        return Lasso(p, p.per_item("lam_share", lam_share).unsqueeze(-1) * largest * each, None)
    return Lasso(p, largest * each, p.k)


def recover(name: str, run: Run, q: Lasso, x0: Any, gap: Any, on_step: Hook | None) -> Solution[Any]:
    """The solution in the caller's form; `run(p, x, on_step, theta=..., penalty=..., gap=...)` makes the steps."""
    p, x, penalty = q.p, q.p.start(x0), q.penalty
    if q.k is not None:
        penalty, x = _by_count(name, run, q, x)
    level = None if gap is None else p.per_item("gap", gap).unsqueeze(-1)
    s = p.find(name, partial(_steps, run), (x, penalty, level), on_step)
    return p.to_caller(_solved(p, s, penalty))


def _steps(run: Run, p: Problem, start: tuple[Tensor, Tensor, Tensor | None], on_step: Hook | None) -> Solution[Tensor]:
    """All steps from a start, in one tuple with its penalty and its gap, which are per signal too."""
    x, penalty, gap = start
    level = None if gap is None else gap.squeeze(-1)
    return run(p, x, on_step, theta=p.eta * penalty, penalty=penalty, gap=level)


def relative_gap(p: Problem, x: Tensor, r: Tensor, c: Tensor, penalty: Tensor) -> Tensor:
    """The duality gap at `x` with its residual `r` and `c = A^H r`, as a share of `||y||^2`: `(*batch,)`.

    The objective at x is larger than the smallest one by at most so much. The dual point is the residual, scaled so
    that no correlation is above its penalty; columns without a penalty are first projected out of it.
    """
    value = _square(r) / 2 + (penalty * x.abs()).sum(-1)
    u, free = r, _unpenalised(penalty.expand(x.shape))
    if free is not None:
        u = fit(p.A, r, free).r
        c = torch.where(penalty > 0, p.A.adjoint(u), 0)
    size = c.abs()
    room = torch.where(size > penalty, penalty / torch.where(size > 0, size, 1), 1).amin(-1, keepdim=True)
    bound = (_square(p.y) - _square(p.y - room * u)) / 2
    energy = _square(p.y)
    return torch.where(energy > 0, (value - bound) / torch.where(energy > 0, energy, 1), 0)


def iterate(
    p: Problem,
    step: Step,
    stop: Stop,
    start: Any,
    on_step: Hook | None,
    *,
    point: Callable[[Any], Any],
    penalty: Tensor | None,
    gap: Tensor | None,
) -> Solution[Tensor]:
    """Repeat a solver's step from its start until `stop`, or until the duality gap of the `penalty` is at most `gap`.

    Parameters
    ----------
    step : callable (state, back=...) -> state
        With the back-projection `back(r)`, which is `A^H r`.
    point : callable
        The point of a state, with `x` and `r`, from which its step goes: the gap is measured there.
    """
    if gap is None or penalty is None:
        return p.iterate(partial(step, back=p.A.adjoint), stop, start, on_step, answer=answer)
    watched, begin = _watched(p, step, point, penalty), Gapped(start, torch.full_like(p.target, torch.inf))
    return p.iterate(watched, _stops(stop, gap), begin, on_step, answer=lambda s: answer(s.state))


def answer(s: Any) -> tuple[Tensor, Atoms]:
    """The iterate, and its non-zeros as the support, largest first."""
    atoms = Hard()(s.x.detach().abs(), s.x.shape[-1])
    found = (s.x != 0).sum(-1)
    max_k = int(found.max()) if found.numel() else 0
    return s.x, atoms._replace(indices=atoms.indices[..., :max_k])


def _watched(p: Problem, step: Step, point: Callable[[Any], Any], penalty: Tensor) -> Callable[[Gapped], Gapped]:
    """A solver's step that also measures the gap, without a further product with A."""

    def stepped(s: Gapped) -> Gapped:
        here = point(s.state)
        c = p.A.adjoint(here.r)
        return Gapped(step(s.state, back=lambda r: c), relative_gap(p, here.x, here.r, c, penalty))

    return stepped


def _stops(stop: Stop, gap: Tensor) -> Callable[[Gapped, Gapped], Tensor]:
    """A solver's stop rule, which also stops where the gap is small enough."""

    def code(old: Gapped, new: Gapped) -> Tensor:
        return torch.where(new.gap <= gap, int(Status.GAP), stop(old.state, new.state))

    return code


def _largest(p: Problem, w: Tensor | None) -> Tensor:
    """The smallest penalty, times weights, for which all penalised coefficients are zero: `(*batch, 1)`."""
    free = None if w is None else _unpenalised(w)
    r = p.y if free is None else fit(p.A, p.y, free).r
    c = p.A.adjoint(r).detach().abs()
    if w is not None:
        c = torch.where(w > 0, c / torch.where(w > 0, w, 1), 0)
    return c.amax(-1, keepdim=True)


def _unpenalised(penalty: Tensor) -> Atoms | None:
    """The columns without a penalty, if there are any."""
    free = penalty == 0
    count = int(free.sum(-1).max()) if free.numel() else 0
    if count == 0 or free.all():
        return None
    return Hard()(torch.where(free, 1.0, -1.0).to(penalty), count)


def _by_count(name: str, run: Run, q: Lasso, x: Tensor) -> tuple[Tensor, Tensor]:
    """The penalty that leaves k non-zeros, and its solution; if none leaves exactly k, the best that leaves fewer.

    Bisection on the path of penalties, each solved from the solution of the one before.
    """
    p, k = q.p, q.k
    assert k is not None
    with torch.no_grad():
        q = q._replace(p=replace(p, target=torch.zeros_like(p.target)))
        high, low = torch.ones_like(q.penalty[..., :1]), torch.full_like(q.penalty[..., :1], LEAST)
        share, chosen, best, most = high, high, x, torch.full_like(k, -1)
        for _ in range(HALVINGS):
            penalty = share * q.penalty
            found = q.p.find(name, partial(_steps, run), (x, penalty, None)).x
            count = (found != 0).sum(-1)
            x = found
            fits, better = (count <= k).unsqueeze(-1), ((count <= k) & (count > most)).unsqueeze(-1)
            most = torch.where(better.squeeze(-1), count, most)
            best, chosen = torch.where(better, found, best), torch.where(better, share, chosen)
            high, low = torch.where(fits, share, high), torch.where(fits, low, share)
            if (most == k).all():
                break
            share = (high * low).sqrt()
    return chosen * q.penalty, best


def _solved(p: Problem, s: Solution[Tensor], penalty: Tensor) -> Solution[Tensor]:
    """The solution, in which signals that ran out of steps with hardly any gap are solved."""
    late = s.status == Status.MAX_STEPS
    if not late.any():
        return s
    with torch.no_grad():
        r = p.A.residual(p.y, s.x)
        gap = relative_gap(p, s.x, r, p.A.adjoint(r), penalty)
    most = max(SOLVED, 10 * torch.finfo(gap.dtype).eps)
    return Solution.of_signal(
        s.x,
        s.support,
        s.residual_norm,
        s.steps,
        torch.where(late & (gap <= most), int(Status.GAP), s.status),
        s.compiled,
    )


def _square(v: Tensor) -> Tensor:
    return torch.linalg.vector_norm(v, dim=-1).square()
