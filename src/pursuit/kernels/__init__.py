"""Compiled kernels: the solvers' algorithms once more, on plain arrays, for one kind of device.

`kernels/<device>/<algorithm>.py` replaces the steps of `solvers/<algorithm>.py`. It solves each signal of a batch from
start to end, or declines it; a declined signal is solved by the steps, from the solver's own start. `find` looks for
the file by its name and imports it at its first use, so that no other file lists the kernels. With
`pursuit.config.kernels = "off"` the steps solve everything.
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

from .. import config, transforms

INTEGERS = {torch.float32: np.empty(0, np.int32), torch.float64: np.empty(0, np.int64)}  # as wide as the floats
PLAIN = (Tensor, nn.Parameter)  # others may hold no values, such as those that `torch.export` traces with


class Data(NamedTuple):
    """Problems along one batch axis, `items`, in the caller's precision; the same for every algorithm and device."""

    A: Tensor  # (1 or items, m, n), columns of norm one, or zero
    kept: Callable[[str, Callable[[], Tensor]], Tensor]  # `kept(name, make)`: made of the one A, stored on the operator
    keeps: Callable[[str], bool]  # `keeps(name)`: whether it is stored already
    y: Tensor  # (items, m)
    weights: Tensor  # (1 or items, n); an atom of weight 0 is never chosen
    k: Tensor  # (items,)
    target: Tensor  # (items,) norm of the residual at which an item is solved
    max_steps: Tensor  # (items,)
    eta: Tensor  # (items,) step size
    max_k: int  # the largest k
    tolerance: float  # a column is dependent if no larger share of its norm is outside the span of the others
    full: int  # status of an item that has its k atoms


class Found(NamedTuple):
    """The result for each item; the status RUNNING means that the kernel declined it."""

    support: Tensor  # (items, max_k) in order of selection, -1 at the end
    steps: Tensor  # (items,)
    status: Tensor  # (items,)
    x: Tensor | None = None  # (items, n), of solvers that iterate values
    z: Tensor | None = None  # (items, max_k), coefficients of the least squares on the support
    norm: Tensor | None = None  # (items,), norm of its residual; where either is None, torch computes the fit


class Kernel(Protocol):
    """What a file `kernels/<device>/<algorithm>.py` defines.

    With `IN_PARTS = True` it is given a batch of any size, which it does in parts itself; others are given the parts.
    """

    REFITS: bool  # if the solution is the least squares on its support, which torch computes if a derivative is needed
    DTYPES: tuple[torch.dtype, ...]

    def worth(self, items: int, m: int, n: int, max_k: int, at_hand: bool) -> bool:
        """Whether the kernel is faster than the steps at this size, and its arrays fit into memory.

        `at_hand` is False if A is an operator, whose matrix must first be formed column by column.
        """
        ...

    def run(self, d: Data, start: Tensor | None) -> Found:
        """Solve all signals from the solver's start: values `(items, n)`, or a support `(items, max_k)`."""
        ...


_caller = threading.local()


def threads() -> int:
    """How many threads the caller gives to torch, and so to kernels: `torch.set_num_threads`."""
    return getattr(_caller, "threads", None) or torch.get_num_threads()


@contextmanager
def alone() -> Iterator[None]:
    """Let torch use one thread; kernels still use `threads()`.

    The threads of torch (OpenMP) wait for each other in busy loops. If other programs use the same processors, each of
    its operations waits for the slowest thread, and a call takes several times as long. The threads of kernels do not
    wait for each other, and torch has little to do beside them.
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
    """Let torch use all threads of the caller again, for a large product."""
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
    """Whether kernels can take these values: plain tensors, of which torch neither traces nor differentiates forward.

    Raises
    ------
    ValueError
        If `pursuit.config.kernels` is neither "auto" nor "off".
    """
    if config.kernels == "off":
        return False
    if config.kernels != "auto":
        raise ValueError(f"pursuit.config.kernels is {config.kernels!r}; needed is 'auto' or 'off'.")
    if torch.compiler.is_compiling() or forward_ad._current_level >= 0 or transforms.active():
        return False
    return all(type(v) in PLAIN for v in values)


def wanted(name: str, *values: Tensor) -> bool:
    """Whether there are CPU kernels of this name, which can take these values and are not switched off."""
    return plain(*values) and all(v.is_cpu for v in values) and module("cpu", name) is not None


def by_operations(*gradients: Tensor) -> bool:
    """Whether a `backward` must be made of torch operations: it is differentiated in turn, or mapped over gradients."""
    return torch.is_grad_enabled() or transforms.active() or any(map(transforms.many_at_once, gradients))


def run(name: str, kernel: str, *arguments: Any) -> None:
    """Run a kernel on tensors and plain values; it writes into the last of them."""
    getattr(module("cpu", name), kernel)(*[a.numpy() if isinstance(a, Tensor) else a for a in arguments])


def flat(v: Tensor, own: int = 1) -> Tensor:
    """`v` detached and contiguous, its batch axes joined into one before the last `own` axes."""
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
