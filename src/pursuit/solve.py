"""Every solver by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .solution import Solution
from .solvers.cosamp import cosamp
from .solvers.els import els
from .solvers.fista import fista
from .solvers.greedy_lasso import greedy_lasso
from .solvers.htp import htp
from .solvers.iht import iht
from .solvers.ista import ista
from .solvers.niht import niht
from .solvers.ols import ols
from .solvers.omp import omp
from .solvers.ompr import ompr
from .solvers.sea import sea
from .solvers.sea_plus import sea_plus
from .solvers.sp import sp

NAMED = (omp, ols, iht, niht, htp, cosamp, sp, ompr, els, sea, sea_plus, greedy_lasso, ista, fista)
SOLVERS: dict[str, Callable[..., Solution]] = {f.__name__.replace("_plus", "+"): f for f in NAMED}


def methods() -> tuple[str, ...]:
    """Names that `solve` takes.

    Examples
    --------
    >>> import pursuit
    >>> "sea" in pursuit.methods()
    True
    """
    return tuple(SOLVERS)


def solver(method: str) -> Callable[..., Solution]:
    """The solver of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if method not in SOLVERS:
        raise ValueError(f"method is {method!r}; choose one of {', '.join(SOLVERS)}.")
    return SOLVERS[method]


def solve(A: Any, y: Any, method: str = "omp", **options: Any) -> Solution:
    """Recover `x` from `y = A x + e` by the solver of that name.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
    y : array (*batch, m)
    method : str, default "omp"
        One of `methods()`.
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
    try:
        inspect.signature(call).bind(A, y, **options)
    except TypeError as problem:
        takes = ", ".join(list(inspect.signature(call).parameters)[2:])
        raise TypeError(f"method {method!r}: {problem}; it takes {takes}.") from None
    return call(A, y, **options)
