"""Compiled kernels: the second text of an algorithm, over plain arrays, for one kind of device.

`kernels/<device>/<algorithm>.py` takes the place of the steps of `solvers/<algorithm>.py`. For each signal it either
finishes or declines: a signal it declines is left to the steps, which take it from the solver's own start. The file is
the only place that names it: `find` looks for it, and it is imported when it is first used. `pursuit.config.kernels =
"off"` leaves everything to the steps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from .. import config

INTEGERS = {torch.float32: np.empty(0, np.int32), torch.float64: np.empty(0, np.int64)}  # as long as the floats
PLAIN = (Tensor, nn.Parameter)  # other classes may hold no numbers, as those by which `torch.export` traces


class Data(NamedTuple):
    """One flat batch of problems in the caller's precision: the same for every algorithm and every device."""

    A: Tensor  # (1 or items, m, n), columns of norm one, or zero
    kept: Callable[[str, Callable[[], Tensor]], Tensor]  # what is derived from the one A, kept on the operator
    keeps: Callable[[str], bool]  # whether it has it already
    y: Tensor  # (items, m)
    weights: Tensor  # (1 or items, n); an atom of weight 0 is never chosen
    k: Tensor  # (items,)
    target: Tensor  # (items,) residual norm at which an item is done
    max_steps: Tensor  # (items,)
    eta: Tensor  # (items,) step size
    max_k: int  # the largest k
    tolerance: float  # share of a column's length that counts as rounding
    full: int  # status of an item that has its k atoms


class Found(NamedTuple):
    """What a kernel made of each item; the status RUNNING says that it declined it."""

    support: Tensor  # (items, max_k) in order of selection, -1 at the end
    steps: Tensor  # (items,)
    status: Tensor  # (items,)
    x: Tensor | None = None  # (items, n), of solvers that iterate values
    z: Tensor | None = None  # (items, max_k), the least squares on the support, and
    norm: Tensor | None = None  # (items,) that of its residual; without them torch makes the fit


class Kernel(Protocol):
    """What a file `kernels/<device>/<algorithm>.py` defines.

    With `IN_PARTS = True` it is given a batch of any size, which it does in parts itself; others are given the parts.
    """

    REFITS: bool  # the solution is the least squares on its support: where a derivative is wanted torch makes the fit
    DTYPES: tuple[torch.dtype, ...]

    def worth(self, items: int, m: int, n: int, max_k: int, at_hand: bool) -> bool:
        """Whether it is quicker than the steps, and its memory is there.

        `at_hand` says whether A is a matrix in memory; that of another operator is formed first, column by column.
        """
        ...

    def run(self, d: Data, start: Tensor | None) -> Found:
        """All signals, from the solver's start: `(items, n)` values, or `(items, max_k)` a support."""
        ...


_caller = threading.local()


def threads() -> int:
    """How many threads the caller gives to torch, and so to kernels: `torch.set_num_threads`."""
    return getattr(_caller, "threads", None) or torch.get_num_threads()


@contextmanager
def alone() -> Iterator[None]:
    """Work with torch on one thread; kernels have `threads()` of their own.

    The threads of torch (OpenMP) wait for each other by spinning. Where others work on the same processors, each of
    its operations then waits for its turn, and a call takes several times as long. Kernels take parts of the batch one
    by one and wait for nobody; what torch does beside them is little.
    """
    number = torch.get_num_threads()
    if number == 1 or getattr(_caller, "threads", None):
        yield
        return
    _caller.threads = number
    torch.set_num_threads(1)  # of this thread of the program: others keep theirs
    try:
        yield
    finally:
        torch.set_num_threads(number)
        _caller.threads = None


@contextmanager
def together() -> Iterator[None]:
    """With all threads of the caller after all: for a large product."""
    number = torch.get_num_threads()
    torch.set_num_threads(threads())
    try:
        yield
    finally:
        torch.set_num_threads(number)


def find(name: str, v: Tensor) -> Kernel | None:
    """The kernel of an algorithm for the device of `v`, where there is one and kernels are not switched off."""
    return module(v.device.type, name) if plain(v) else None


@cache
def module(device: str, name: str) -> Any:
    """The file `kernels/<device>/<name>.py`; None where there is none, or no compiler."""
    try:
        return import_module(f".{device}.{name}", __name__)
    except ImportError:
        return None


def plain(*values: Tensor) -> bool:
    """Whether kernels may take these values: they are numbers in memory, and torch need not see what becomes of them.

    Raises
    ------
    ValueError
        If `pursuit.config.kernels` is neither "auto" nor "off".
    """
    if config.kernels == "off":
        return False
    if config.kernels != "auto":
        raise ValueError(f"pursuit.config.kernels is {config.kernels!r}; needed is 'auto' or 'off'.")
    if torch.compiler.is_compiling() or forward_ad._current_level >= 0:
        return False
    return all(type(v) in PLAIN for v in values)


def wanted(name: str, *values: Tensor) -> bool:
    """Whether there are such kernels for these values, and they are not switched off."""
    return plain(*values) and all(v.is_cpu for v in values) and module("cpu", name) is not None


def run(name: str, kernel: str, *arguments: Any) -> None:
    """Run a kernel on tensors and plain values; it writes into the last of them."""
    getattr(module("cpu", name), kernel)(*[a.numpy() if isinstance(a, Tensor) else a for a in arguments])


def flat(v: Tensor, own: int = 1) -> Tensor:
    """What a kernel takes: contiguous memory, with one batch axis before the last `own`."""
    v = v.detach()
    if v.is_conj() or v.is_neg():
        v = v.resolve_conj().resolve_neg()
    if v.ndim != own + 1:
        batch = v.shape[: v.ndim - own]
        v = v.reshape(batch.numel(), *v.shape[v.ndim - own :])
    return v.contiguous()


def unflat(v: Tensor, batch: torch.Size) -> Tensor:
    """The batch axes as they were before `flat`."""
    return v if len(batch) == 1 else v.view(*batch, *v.shape[1:])
