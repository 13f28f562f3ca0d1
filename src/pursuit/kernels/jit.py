"""Compilation by Numba, with the machine code kept from one process to the next."""

from __future__ import annotations

import functools
import hashlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import event
from numpy.typing import NDArray

Array = NDArray[Any]
Kernel = Callable[..., Any]

# Sums may be reordered, so that they vectorise; infinities and NaN keep their meaning.
FIRST = 1.0  # seconds until a line about compilation
PACKAGE = __name__.rpartition(".")[0]
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}


def jit(function: Kernel) -> Kernel:
    """Compile at the first call, and store the machine code if there is a folder that can be written to.

    Machine code contains the functions that it calls, but Numba compiles again only if the file of the function itself
    has changed. Here it does so if any file of `kernels` has changed.

    Numba compiles a function again for a literal among its arguments, so kernels pass `np.int64(0)`, not `0`.
    """
    try:
        kernel = numba.njit(cache=True, **OPTIONS)(function)
        index = kernel._cache._cache_file
        index._source_stamp = index._source_stamp, _sources()
    except (RuntimeError, AttributeError):  # no directory can be written, or a Numba that has its cache elsewhere
        return numba.njit(**OPTIONS)(function)
    return kernel


def inside(function: Kernel) -> Kernel:
    """Compile a function that only kernels call and that makes no array: faster, without reference counting."""
    options: dict[str, Any] = {**OPTIONS, "_nrt": False}
    return numba.njit(**options)(function)


class _Told(event.Listener):
    """Writes a line on standard error, once, if the compilation of a kernel takes longer than a second.

    Numba calls it when it compiles, and not when it finds the machine code of an earlier process.
    """

    def __init__(self) -> None:
        self.under_way, self.told = 0, False
        self.timer: threading.Timer | None = None

    def on_start(self, compilation: Any) -> None:
        if not _is_ours(compilation):
            return
        self.under_way += 1  # a kernel compiles those that it calls
        if self.under_way == 1 and not self.told:
            self.timer = threading.Timer(FIRST, self._tell)
            self.timer.daemon = True
            self.timer.start()

    def on_end(self, compilation: Any) -> None:
        if not _is_ours(compilation):
            return
        self.under_way -= 1
        if self.under_way == 0 and self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _tell(self) -> None:
        self.told = True
        sys.stderr.write("pursuit: compiling kernels for this machine, at their first use; kept for later calls\n")
        sys.stderr.flush()


def _is_ours(compilation: Any) -> bool:
    return str(compilation.data["dispatcher"].py_func.__module__).startswith(PACKAGE)


event.register("numba:compile", _Told())


@functools.cache
def _sources() -> bytes:
    """A digest of all kernels."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).digest()
