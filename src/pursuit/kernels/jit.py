"""Compilation by Numba, with the machine code kept from one process to the next."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numpy.typing import NDArray

Array = NDArray[Any]
Kernel = Callable[..., Any]

# Sums may be reordered, so that they vectorise; infinities and NaN keep their meaning.
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


@functools.cache
def _sources() -> bytes:
    """A digest of all kernels."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).digest()
