"""The loop of all solvers: it repeats a step until every signal of the batch has stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from .solution import Status


class State(Protocol):
    """A solver's state: a NamedTuple with `r`, made of tensors, tuples and objects with a method `choose`."""

    @property
    def r(self) -> Tensor:
        """The residual, `(*batch, m)`."""
        ...


S = TypeVar("S", bound=State)
STILL = 10  # a change of x by at most so many roundings is no change


class Run(NamedTuple, Generic[S]):
    """Result of a loop: the last state, and for each signal the number of steps and the status."""

    state: S
    steps: Tensor
    status: Tensor


def run(
    step: Callable[[S], S],
    stop: Callable[[S, S], Tensor],
    state: S,
    *,
    target: Tensor,
    max_steps: Tensor,
    at_budget: Status = Status.MAX_STEPS,
    watch: Callable[[int, S, Tensor], None] | None = None,
    taken: Tensor | None = None,
) -> Run[S]:
    """Repeat `step` from `state`; each signal of the batch stops on its own.

    Parameters
    ----------
    step : state -> state
    stop : (old, new) -> Tensor (*batch,)
        The solver's stop rule: codes of `Status`; `RUNNING` goes on. With `NO_DECREASE` or `EXHAUSTED` the old state
        is kept.
    target : Tensor (*batch,)
        Residual norm at which a signal is solved.
    max_steps : Tensor (*batch,) int64
    at_budget : Status
        Status of a signal that reaches `max_steps`.
    watch : callable, optional
        Called with the step's number, the state and the status after every step.
    taken : Tensor (*batch,) int64, optional
        Steps that a kernel has taken to come to `state`; none by default.
    """
    status = torch.where(_norm(state.r) <= target, Status.TOLERANCE, Status.RUNNING)
    steps = torch.zeros_like(status) if taken is None else taken
    status = torch.where(_running(status) & (max_steps <= steps), at_budget, status)
    count = 0
    while True:
        running = _running(status)
        if not running.any():
            return Run(state, steps, status)
        count += 1
        new = step(state)
        norm = _norm(new.r)
        code = torch.where(norm <= target, Status.TOLERANCE, stop(state, new))
        code = torch.where(norm.isfinite(), code, Status.DIVERGED)
        steps = steps + running
        code = torch.where(_running(code) & (steps >= max_steps), at_budget, code)
        accepted = running & (code != Status.NO_DECREASE) & (code != Status.EXHAUSTED) & (code != Status.DIVERGED)
        state = new if accepted.all() else choose(accepted, new, state)
        status = torch.where(running, code, status)
        if watch is not None:
            watch(count, state, status)


def never(old: State, new: State) -> Tensor:
    """Do not stop."""
    return torch.full(new.r.shape[:-1], Status.RUNNING, device=new.r.device)


def no_decrease(old: State, new: State) -> Tensor:
    """Stop if the residual did not shrink, and keep the state before.

    Parameters
    ----------
    old, new : State
        Before and after a step, with the residual `r (*batch, m)`.

    Returns
    -------
    Tensor (*batch,)
        Codes of `Status`.

    Examples
    --------
    >>> from typing import NamedTuple
    >>> import torch, pursuit
    >>> class State(NamedTuple):
    ...     r: torch.Tensor
    >>> pursuit.no_decrease(State(torch.ones(1, 2)), State(torch.ones(1, 2))).item() == pursuit.Status.NO_DECREASE
    True
    """
    return torch.where(_norm(new.r) < _norm(old.r), Status.RUNNING, Status.NO_DECREASE)


def stationary(old: Any, new: Any) -> Tensor:
    """Stop if the step changed `x` by rounding only.

    Parameters
    ----------
    old, new : State
        Before and after a step, with the signal `x (*batch, n)`.

    Returns
    -------
    Tensor (*batch,)
        Codes of `Status`.

    Examples
    --------
    >>> from typing import NamedTuple
    >>> import torch, pursuit
    >>> class State(NamedTuple):
    ...     x: torch.Tensor
    >>> pursuit.stationary(State(torch.ones(1, 2)), State(torch.ones(1, 2))).item() == pursuit.Status.STATIONARY
    True
    """
    change, size = _norm(new.x - old.x), _norm(new.x)
    still = (change <= STILL * torch.finfo(size.dtype).eps * size) & size.isfinite()  # not after an overflow
    return torch.where(still, Status.STATIONARY, Status.RUNNING)


def lower(r: Tensor, best: Tensor) -> Tensor:
    """Whether the residual `r (*batch, m)` is smaller than the best so far, `(*batch, 1)`."""
    return (_norm(r) < _norm(best)).unsqueeze(-1)


def choose(where: Tensor, new: Any, old: Any) -> Any:
    """The new state if `where (*batch,)` is true, else the old one, field by field."""
    if hasattr(new, "choose"):
        return new.choose(where, old)
    if isinstance(new, tuple):
        parts = [choose(where, a, b) for a, b in zip(new, old, strict=True)]
        return type(new)(*parts) if hasattr(new, "_fields") else tuple(parts)
    if not isinstance(new, Tensor) or new is old:
        return new
    return torch.where(where.reshape(where.shape + (1,) * (new.ndim - where.ndim)), new, old)


def _norm(v: Tensor) -> Tensor:
    return torch.linalg.vector_norm(v.detach(), dim=-1)


def _running(status: Tensor) -> Tensor:
    return status == Status.RUNNING
