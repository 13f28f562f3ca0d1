"""Old names, which work and warn for one more release; and methods with two spellings."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
SPELLINGS = {"sea+": "sea_plus"}  # other spelling of a method -> the one that is shown and stored


def method_name(name: str) -> str:
    """A method's name, such as `sea` or `sea@omp`, in the spelling that is shown and stored.

    Examples
    --------
    >>> method_name("sea+@omp")
    'sea_plus@omp'
    """
    return "@".join(SPELLINGS.get(part, part) for part in name.split("@"))


def takes_old_names(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a decorator with which a function also takes keyword arguments by their old names, and then warns.

    Parameters
    ----------
    **names : str
        New names, by the old ones.

    Examples
    --------
    >>> import warnings
    >>> @takes_old_names(most="max_k")
    ... def f(max_k):
    ...     return max_k
    >>> with warnings.catch_warnings(record=True) as given:
    ...     warnings.simplefilter("always")
    ...     f(most=3)
    3
    >>> str(given[0].message)
    'f(most=...) is now f(max_k=...); the old name goes with the next release.'
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with_new_names: Any = in_new_names(call, kwargs)
            return function(*args, **with_new_names)

        vars(call)["old_names"] = names
        return call

    return decorate


def in_new_names(function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments with their new names, and a warning for each old name.

    Raises
    ------
    TypeError
        If an argument is given by both names.
    """
    name = getattr(function, "__qualname__", "").removesuffix(".__init__").rpartition(".")[-1]  # a class by its own
    names = getattr(function, "old_names", {})
    for old in [old for old in given if old in names]:
        new = names[old]
        if new in given:
            raise TypeError(f"{name} was given both {new} and its old name {old}; give only {new}.")
        warn(f"{name}({old}=...)", f"{name}({new}=...)")
        given = {new if key == old else key: value for key, value in given.items()}
    return given


def old_name(module: str, name: str, names: dict[str, str]) -> Any:
    """For a module's `__getattr__`: what was once called `name`, with a warning.

    Parameters
    ----------
    module, name : str
    names : dict of str to str
        New names, by the old ones.

    Raises
    ------
    AttributeError
        If the module never had this name.
    """
    if name not in names:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warn(f"{module}.{name}", f"{module}.{names[name]}")
    return getattr(sys.modules[module], names[name])


def warn(old: str, new: str, *, stacklevel: int = 4) -> None:
    """Warn, at the line `stacklevel` calls away."""
    message = f"{old} is now {new}; the old name goes with the next release."
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)
