"""Sparse recovery: find `x` with few non-zeros from `y = A x + e`."""

from importlib import import_module
from typing import Any

import lazy_loader

from .names import old_name

# Names and types are in __init__.pyi; each is imported when it is first used, so that `import pursuit` is instant.
_named, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

OLD_NAMES = {"Callables": "FunctionOperator", "Choice": "AtomSelector", "from_physics": "from_deepinv"}
MODULES = {"losses": ".core.losses", "straight_through": ".solvers.straight_through"}  # deeper than the loader looks


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return import_module(MODULES[name], __name__)
    if name in OLD_NAMES:
        return old_name(__name__, name, OLD_NAMES)
    if name != "__version__":
        return _named(name)
    from importlib.metadata import version

    return version(__name__)
