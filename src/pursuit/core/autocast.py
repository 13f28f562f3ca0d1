"""Solvers and networks work in the precision of what they are given, also within `torch.autocast`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch

DEVICES = ("cpu", "cuda")
Call = TypeVar("Call", bound=Callable[..., Any])


def full_precision(call: Call) -> Call:
    """The same function, which `torch.autocast` does not make compute products in half precision.

    A residual in half precision says nothing about one of 1e-6, and a support chosen by it is another.
    """

    @wraps(call)
    def outside(*args: Any, **kwargs: Any) -> Any:
        if not _wanted():
            return call(*args, **kwargs)
        with without_autocast():
            return call(*args, **kwargs)

    return cast(Call, outside)


@contextmanager
def without_autocast() -> Iterator[None]:
    """Leave `torch.autocast`, on every device where it is on."""
    with ExitStack() as stack:
        for device in _wanted():
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


def _wanted() -> list[str]:
    return [device for device in DEVICES if torch.is_autocast_enabled(device)]
