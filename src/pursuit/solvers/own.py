"""A solver of your own, from its start, its step and its stop rule."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from ..core.autocast import full_precision
from ..core.selection import Hard, Selection
from ..core.solution import Solution
from . import omp
from .problem import Hook, Problem, problem

FIELDS = ("x", "r", "atoms")


def make_solver(
    init: Callable[..., Any],
    step: Callable[..., Any],
    stop: Callable[[Any, Any], Tensor] | None = None,
    *,
    name: str | None = None,
) -> Callable[..., Solution[Any]]:
    """Make a solver from a start, a step and a stop rule, as the library's own solvers are made.

    The solver checks its input before any work, divides columns by their norms, takes batches, operators, real and
    complex numbers, NumPy and torch, stops each signal separately, and returns `x` in the caller's units. The three
    functions need not care: they get an `A` with columns of norm one and a tensor `y (*batch, m)`.

    Parameters
    ----------
    init : callable (A, y, choice) -> State
        The state before the first step, a NamedTuple with the signal `x (*batch, n)`, the residual
        `r = y - A x (*batch, m)`, the chosen `atoms`, and anything else that the step needs. If it has a fourth
        parameter `x0`, the solver takes a warm start, and `x0 (*batch, n)` is the warm start or zero.
    step : callable (A, y, state, choice=...) -> State
        Returns the next state and does not change the old one. `choice` is the `AtomSelector`, which holds `k`,
        `weights` and `select`.
    stop : callable (old, new) -> Tensor (*batch,), optional
        Codes of `Status`; `RUNNING` goes on. The default returns `SPARSITY` when all k atoms are chosen, and
        `EXHAUSTED` when the residual did not shrink, whose last step is undone. Two others are `stationary` and
        `no_decrease`. `tol`, `max_steps` and an overflow always end the solver.
    name : str, optional
        Name of the solver. Default: that of the module that makes it.

    Returns
    -------
    callable (A, y, k=None, *, x0, tol, eps, max_steps=1000, weights, select=Hard(), on_step) -> Solution
        `x0` only if `init` takes it. `pursuit.solve`, `compare`, `path` and sweeps take the solver like a name.

    Raises
    ------
    TypeError
        If one of the three is not a function; when the solver is called, if a state lacks a field.

    Examples
    --------
    >>> # Matching pursuit: one atom at a time, and no refit of those before.
    >>> from typing import Any, NamedTuple
    >>> import torch, pursuit
    >>> class State(NamedTuple):
    ...     x: torch.Tensor
    ...     r: torch.Tensor
    ...     atoms: Any
    >>> def init(A, y, choice):
    ...     return State(torch.zeros_like(A.adjoint(y)), y, choice.empty(y, A.shape[1]))
    >>> def step(A, y, s, *, choice):
    ...     c = A.adjoint(s.r)
    ...     best = choice.best_of(c, torch.ones_like(c.real), 1)
    ...     x = s.x + best.keep(c)
    ...     return State(x, A.residual(y, x), s.atoms.union(best, choice.max_k))
    >>> mp = pursuit.make_solver(init, step, name="mp")
    >>> mp(2 * torch.eye(4), torch.tensor([0.0, 6.0, 0.0, -2.0]), k=2).x
    tensor([ 0.,  3.,  0., -1.])
    """
    for role, given in (("init", init), ("step", step), ("stop", stop)):
        if not callable(given) and not (role == "stop" and given is None):
            raise TypeError(f"{role} is {given!r}; needed is a function, as make_solver's documentation has it.")
    warm = "x0" in inspect.signature(init).parameters

    def run(p: Problem, x0: Any, on_step: Hook | None = None) -> Solution[Tensor]:
        """All steps."""
        choice = p.choice
        start = init(p.A, p.y, choice, x0) if warm else init(p.A, p.y, choice)
        _check("init", start)
        return p.iterate(
            lambda s: _check("step", step(p.A, p.y, s, choice=choice)),
            partial(omp.stop, k=p.k) if stop is None else stop,
            start,
            on_step,
        )

    @full_precision
    def solver(
        A: Any,
        y: Any,
        k: Any = None,
        *,
        x0: Any = None,
        tol: Any = None,
        eps: Any = None,
        max_steps: Any = 1000,
        weights: Any = None,
        select: Selection = Hard(),
        on_step: Hook | None = None,
    ) -> Solution[Any]:
        p = problem(A, y, k, tol=tol, eps=eps, max_steps=max_steps, weights=weights, select=select)
        if x0 is not None and not warm:
            raise TypeError(f"{name} takes no x0: its init has no parameter of that name.")
        return p.to_caller(run(p, p.start(x0), on_step))

    # The module of the caller, as in `collections.namedtuple`: the solver can be imported from there.
    module = sys._getframe(1).f_globals.get("__name__", "__main__")
    name = module.rpartition(".")[2] if name is None else name
    signature = inspect.signature(solver)
    taken = [p for p in signature.parameters.values() if warm or p.name != "x0"]
    solver.__signature__ = signature.replace(parameters=taken)  # type: ignore[attr-defined]
    solver.__name__ = solver.__qualname__ = name
    solver.__module__ = module
    solver.__doc__ = _DOC.format(name=name, about=_first_line(step), x0=_X0 if warm else "")
    return solver


def _check(role: str, state: Any) -> Any:
    """The state, if it has the fields that the loop needs."""
    lacking = [field for field in FIELDS if not hasattr(state, field)]
    if lacking or not isinstance(state, tuple):
        given = f"a {type(state).__name__}" + (f" without {', '.join(lacking)}" if lacking else "")
        raise TypeError(f"{role} returned {given}; needed is a NamedTuple with x, r and atoms.")
    return state


def _first_line(function: Any) -> str:
    text = inspect.getdoc(getattr(function, "func", function)) or "a solver of its own"
    return text.partition("\n")[0].rstrip(".")


_X0 = """    x0 : array (*batch, n), optional
        Warm start.
"""
_DOC = """{name}: {about}.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
        Most atoms per signal.
{x0}    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), default 1000
        Most steps.
    weights : array (n,) or (*batch, n), optional
        Multiply the score of each atom; see `pursuit.solve`.
    select : selection, default Hard()
        How atoms are chosen; see `pursuit.solve`.
    on_step : callable, optional
        Called after every step; see `pursuit.solve`.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.
    """
