"""Every solver by name, and solvers of the user's own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from ..core.solution import Arr, Solution
from ..names import in_new_names, method_name
from ..operators.adapters import Nested, OperatorLike
from .amp import amp
from .batches import in_batches
from .cosamp import cosamp
from .els import els
from .fista import fista
from .greedy_lasso import greedy_lasso
from .htp import htp
from .iht import iht
from .inverse import inverse
from .ista import ista
from .lazy import is_lazy, lazily
from .niht import niht
from .ols import ols
from .omp import omp
from .ompr import ompr
from .sea import sea
from .sea_plus import sea_plus
from .sp import sp
from .whitened_lasso import whitened_lasso

NAMED = (
    omp, ols, iht, niht, htp, cosamp, sp, ompr, els, sea, sea_plus, whitened_lasso, greedy_lasso, ista, fista, amp,
    inverse,
)  # fmt: skip
Method = str | Callable[..., Solution[Any]]  # a name, `module:function`, or the function itself
SOLVERS: dict[str, Callable[..., Solution[Any]]] = {f.__name__: f for f in NAMED}
OWN: set[str] = set()  # the user's modules that something was imported from


def methods() -> tuple[str, ...]:
    """The names of all solvers, as `solve` takes them.

    Examples
    --------
    >>> import pursuit
    >>> "sea" in pursuit.methods()
    True
    """
    return tuple(SOLVERS)


def solver(method: Method) -> Callable[..., Solution[Any]]:
    """The solver for a name, for `module:function`, or the given function itself.

    Raises
    ------
    ValueError, TypeError
        If there is no such solver.
    """
    if not isinstance(method, str):
        if callable(method):
            return method
        raise TypeError(f"method is {method!r}; needed is a name, module:function, or a function (A, y, k, ...).")
    if method_name(method) in SOLVERS:
        return SOLVERS[method_name(method)]
    if ":" in method:
        return imported(method)
    raise ValueError(
        f"method is {method!r}; choose one of {', '.join(SOLVERS)}, or give a solver of your own as module:function."
    )


def solver_of_k(method: Method, **options: Any) -> Callable[..., Solution[Any]]:
    """The solver, if it can be called with A, y and k alone, or with these options besides.

    Raises
    ------
    ValueError, TypeError
        If there is no such solver, or it needs more than A, y, k and the options.
    """
    call = solver(method)
    try:
        inspect.signature(call).bind(None, None, k=1, **options)
    except TypeError as problem:
        given = ", ".join(["A", "y", *options])
        raise TypeError(f"method {name_of(method)!r} cannot be called with {given} and k: {problem}.") from None
    return call


def name_of(method: Method) -> str:
    """The name of a method in tables: its own name, or that of the function."""
    if isinstance(method, str):
        return method_name(method)
    return _known(method) or str(getattr(method, "__name__", type(method).__name__))


def spelled(method: Method) -> str:
    """The name with which any process finds the method: a solver's name, or `module:function`.

    Raises
    ------
    ValueError
        If a function cannot be imported.
    """
    if not isinstance(method, str):
        return _known(method) or importable(method, "method")
    if method.startswith("__main__:"):
        raise ValueError(f"method is {method!r}; {_IMPORTABLE}")
    return method_name(method)


def importable(function: Any, role: str) -> str:
    """The place `module:function` of a function.

    Raises
    ------
    ValueError
        If it cannot be imported; the message says what the function is for: its `role`.
    """
    module = getattr(function, "__module__", None)
    places = {} if module == "__main__" else vars(sys.modules.get(module or "", object))
    found = next((f"{module}:{name}" for name, value in places.items() if value is function), None)
    if found is None:
        raise ValueError(f"{role} is {name_of(function)} of {module}; {_IMPORTABLE}")
    return found


def answer(method: Method, found: Any) -> Solution[Any]:
    """The result of a method, after a check that it is a `Solution`."""
    if isinstance(found, Solution):
        return found
    raise TypeError(f"method {name_of(method)!r} returned a {type(found).__name__}; needed is a pursuit.Solution.")


_IMPORTABLE = (
    "needed is a function that worker processes can import: put it into a module of its own, and give it from there or "
    "as module:function."
)


def _known(method: Any) -> str | None:
    return next((name for name, call in SOLVERS.items() if call is method), None)


def imported(place: str, role: str = "method") -> Callable[..., Any]:
    """The function of the user's that is at `module:function`.

    Raises
    ------
    ValueError
        If there is none; the message says what the function is for: its `role`.
    """
    module, _, function = place.partition(":")
    needed = "needed is module:function, as gomp:gomp for the function gomp in a gomp.py that Python can import"
    try:
        found = getattr(import_module(module), function, None)
        OWN.add(module)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        absent = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        reason = f"there is no module {module!r}" if absent else f"importing {module!r} ended with {error!r}"
        raise ValueError(f"{role} is {place!r}: {reason}; {needed}.") from error
    if not callable(found):
        raise ValueError(f"{role} is {place!r}: the module {module!r} has no function {function!r}; {needed}.")
    return cast("Callable[..., Any]", found)


def solve(
    A: OperatorLike, y: Arr | Nested, method: Method = "omp", *, batch_size: int | None = None, **options: Any
) -> Solution[Arr]:
    """Recover `x` from `y = A x + e` with the solver of this name.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        One matrix for all signals, or one per signal.
    y : array (*batch, m)
        Measurements; the last axis is that of a signal. Where the shape leaves a choice, as that of a square `y`, say
        so by `pursuit.rows(y)`. The solution has the precision of `y`, and is found in the wider of those of A and y.
    method : str or callable, default "omp"
        One of `methods()`, or a solver of your own: a function `(A, y, k, ...) -> Solution`, or the place to import it
        from, `"module:function"`.
    batch_size : int, optional
        Solve so many signals at a time, so that memory is that of a batch and of the answers, which hold the support
        and its coefficients alone. `y` may then be anything that gives rows by `y[first:last]`, such as a memory map,
        and A is one for all signals. Default: all at once. If `y` is a dask array, its blocks are the batches, and the
        fields of the solution are dask arrays that are computed when asked for, `x` in blocks of SciPy's CSR matrices.
    **options
        The solver's arguments. Those that several solvers share are explained below; the solver's own page says which
        it takes, and their defaults.
    k : int or int array (*batch,)
        Most atoms per signal, one number or one per signal. Signals of a batch stop independently.
    eps : float or array (*batch,), optional
        A residual level in the units of `y`, for example `sqrt(m)` times the standard deviation of the noise. A signal
        is solved when `||r|| <= eps` (or `<= tol ||y||`, if that is given too); one that is no larger itself gets
        x = 0 and no step, whatever the start.
    tol : float or array (*batch,), optional
        A signal is solved when `||r|| <= tol ||y||`, with `r = y - A x`. Without `tol` that takes a fit that is exact
        up to rounding. If a solver ends above it, with all k atoms for example, the status is `TOL_MISSED`.
    max_steps : int or int array (*batch,)
        Most steps. A signal that is not finished by then has the status `MAX_STEPS`, for which `Solution.check` raises
        an error; but `sea` is meant to take all steps, and has the status `EXPLORED`.
    x0 : array (*batch, n), optional
        Warm start, in the units of `x`: another solver's result, for example. Default: zero.
    eta : float or array (*batch,)
        Step size, for columns of norm one. L in the defaults is the largest eigenvalue of `A^H A` for such columns,
        times the largest second derivative of the loss. A default is a constant in derivatives of the result.
    weights : array (n,) or (*batch, n), optional
        Structure, >= 0: they multiply the scores by which atoms are chosen, not the values of `x`. An atom of weight 0
        is never chosen.
    loss : LeastSquares(), Logistic(), or callable (v, y) -> (*batch, m)
        The loss to minimise, one number >= 0 per measurement, of `v = A x` and `y`. With another loss than least
        squares, `||r||` is the square root of twice the loss and `||y||` is its value at `x = 0`; numbers must be
        real, and the result has no derivatives.
    select : selection
        How atoms are chosen: `Hard()` takes the largest scores, `Relaxed(softsort, tau=...)` is differentiable.
    on_step : callable, optional
        Called after every step with an `Iterate`: signals, residual norms and statuses of the whole batch. The solver
        then runs without its compiled kernel, which may take many times as long. `on_step=history.append` keeps all
        steps; an exception ends the solver.

    Returns
    -------
    Solution

    Notes
    -----
    Derivatives of the solution by `A`, `y` and the options that are not whole numbers are those with the atoms held, of
    any order: `backward`, `torch.autograd.functional.jacobian`, `torch.func.grad`, `vjp`, `jacrev`, and `jacrev` of
    `jacrev`. Forward mode (`torch.func.jvp`, `jacfwd`, `hessian`) is there for `iht`, `niht`, `ista` and `fista`, which
    fit no coefficients, and refused elsewhere. `torch.func.vmap` over a solver is refused, because a solver decides by
    values; pass the batch. Networks take all but forward mode, `vmap` included, which gives gradients per signal; the
    proximal ones (`LISTA` to `LAMP`) take forward mode too. `torch.compile` leaves solvers as they are, and compiles
    networks.

    Raises
    ------
    ValueError
        If there is no method of that name, or an option has a wrong value.
    TypeError
        If the method does not take one of the options, or needs one that was not given.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.solve(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), method="htp", k=1).x
    tensor([0., 4., 0.])
    """
    call = solver(method)
    options = in_new_names(call, options)
    try:
        inspect.signature(call).bind(A, y, **options)
    except TypeError as problem:
        takes = ", ".join(list(inspect.signature(call).parameters)[2:])
        raise TypeError(f"method {name_of(method)!r}: {problem}; it takes {takes}.") from None
    if is_lazy(y):
        return answer(method, lazily(call, A, y, options))
    if batch_size is not None:
        return answer(method, in_batches(call, A, y, batch_size, options))
    return answer(method, call(A, y, **options))
