"""Every solver by name, and those that users bring."""

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
from .cosamp import cosamp
from .els import els
from .fista import fista
from .greedy_lasso import greedy_lasso
from .htp import htp
from .iht import iht
from .ista import ista
from .niht import niht
from .ols import ols
from .omp import omp
from .ompr import ompr
from .sea import sea
from .sea_plus import sea_plus
from .sp import sp

NAMED = (omp, ols, iht, niht, htp, cosamp, sp, ompr, els, sea, sea_plus, greedy_lasso, ista, fista, amp)
Method = str | Callable[..., Solution[Any]]  # a name, `module:function`, or the function itself
SOLVERS: dict[str, Callable[..., Solution[Any]]] = {f.__name__: f for f in NAMED}


def methods() -> tuple[str, ...]:
    """Names that `solve` takes.

    Examples
    --------
    >>> import pursuit
    >>> "sea" in pursuit.methods()
    True
    """
    return tuple(SOLVERS)


def solver(method: Method) -> Callable[..., Solution[Any]]:
    """The solver of that name, of `module:function`, or that is given.

    Raises
    ------
    ValueError, TypeError
        If there is none.
    """
    if not isinstance(method, str):
        if callable(method):
            return method
        raise TypeError(f"method is {method!r}; needed is a name, module:function, or a function (A, y, k, ...).")
    if method_name(method) in SOLVERS:
        return SOLVERS[method_name(method)]
    if ":" in method:
        return _imported(method)
    raise ValueError(
        f"method is {method!r}; choose one of {', '.join(SOLVERS)}, or give a solver of your own as module:function."
    )


def solver_of_k(method: Method) -> Callable[..., Solution[Any]]:
    """The solver, if it can be called with A, y and k alone.

    Raises
    ------
    ValueError, TypeError
        If there is none, or it cannot.
    """
    call = solver(method)
    try:
        inspect.signature(call).bind(None, None, k=1)
    except TypeError as problem:
        raise TypeError(f"method {name_of(method)!r} cannot be called with A, y and k: {problem}.") from None
    return call


def name_of(method: Method) -> str:
    """What tables call a method: its name, or that of the function given."""
    if isinstance(method, str):
        return method_name(method)
    return _known(method) or str(getattr(method, "__name__", type(method).__name__))


def spelled(method: Method) -> str:
    """The name by which any process finds the method: its own, or `module:function`.

    Raises
    ------
    ValueError
        If a function given cannot be imported.
    """
    if isinstance(method, str):
        if method.startswith("__main__:"):
            raise ValueError(f"method is {method!r}; {_IMPORTABLE}")
        return method_name(method)
    module = getattr(method, "__module__", None)
    places = {} if module == "__main__" else vars(sys.modules.get(module or "", object))
    found = _known(method) or next((f"{module}:{name}" for name, value in places.items() if value is method), None)
    if found is None:
        raise ValueError(f"method is {name_of(method)} of {module}; {_IMPORTABLE}")
    return found


def answer(method: Method, found: Any) -> Solution[Any]:
    """What a method returned, if it is a solution."""
    if isinstance(found, Solution):
        return found
    raise TypeError(f"method {name_of(method)!r} returned a {type(found).__name__}; needed is a pursuit.Solution.")


_IMPORTABLE = (
    "needed is a function that worker processes can import: put it into a module of its own, and give it from there or "
    "as module:function."
)


def _known(method: Any) -> str | None:
    return next((name for name, call in SOLVERS.items() if call is method), None)


def _imported(method: str) -> Callable[..., Solution[Any]]:
    """The function of a user's module."""
    module, _, function = method.partition(":")
    needed = "needed is module:function, as gomp:gomp for the function gomp in a gomp.py that Python can import"
    try:
        found = getattr(import_module(module), function, None)
    except (Exception, SystemExit) as error:  # whatever a user's module does when it runs
        absent = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        reason = f"there is no module {module!r}" if absent else f"importing {module!r} ended with {error!r}"
        raise ValueError(f"method is {method!r}: {reason}; {needed}.") from error
    if not callable(found):
        raise ValueError(f"method is {method!r}: the module {module!r} has no function {function!r}; {needed}.")
    return cast("Callable[..., Solution[Any]]", found)


def solve(A: OperatorLike, y: Arr | Nested, method: Method = "omp", **options: Any) -> Solution[Arr]:
    """Recover `x` from `y = A x + e` by the solver of that name.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
    y : array (*batch, m)
    method : str or callable, default "omp"
        One of `methods()`; or a solver of your own, a function `(A, y, k, ...) -> Solution` or where it can be imported
        from, as `"module:function"`.
    **options
        The solver's own arguments: `k`, `lam`, `tol`, `weights`, `x0`, ...
    on_step : callable, optional
        With it the solver runs step by step, without its compiled kernel, which may take many times as long. It is
        one of the options of every solver, called after every step with an `Iterate`: the signals, residual norms
        and statuses of the whole batch as they stand. `on_step=history.append` keeps the history; an exception ends
        the solver.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        If there is no such method.
    TypeError
        If the method does not take one of the options, or lacks one that it needs.

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
    return answer(method, call(A, y, **options))
