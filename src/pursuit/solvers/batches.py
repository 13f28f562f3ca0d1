"""One solver on a long list of signals, some at a time: memory is that of a batch and of the sparse answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import check_alike, check_columns
from ..core.layout import check_layout, rows_for_sure, unwrapped
from ..core.solution import Solution
from ..files.checks import memory
from ..operators import Operator
from ..operators.adapters import as_operator

BYTES = 2**25  # of the measurements of a batch
MOST = 65536  # signals of a batch
FIELDS = ("support", "coefficients", "residual_norm", "steps", "status", "compiled")
OWN_AXES = {
    "k": 0,
    "tol": 0,
    "eps": 0,
    "max_steps": 0,
    "eta": 0,
    "lam": 0,
    "lam_share": 0,
    "gap": 0,
    "weights": 1,
    "x0": 1,
}  # after the batch's

PER_COLUMN = {"weights", "penalty_weights", "x0"}


def usual_size(m: int, itemsize: int) -> int:
    """How many signals of m measurements make a batch.

    Examples
    --------
    >>> usual_size(512, 4)
    16384
    """
    return min(MOST, max(1, BYTES // (m * itemsize)))


def size_that_fits(m: int, n: int, itemsize: int) -> int:
    """How many signals make a batch that takes a quarter of the free memory at most, with dense answers."""
    return max(1, int(min(usual_size(m, itemsize), memory() / 4 / ((m + n) * itemsize))))


def bounds(signals: int, size: int) -> Iterator[tuple[int, int]]:
    """First and last signal of every batch.

    Examples
    --------
    >>> list(bounds(5, 2))
    [(0, 2), (2, 4), (4, 5)]
    """
    return ((first, min(first + size, signals)) for first in range(0, signals, size))


def in_batches(call: Callable[..., Solution[Any]], A: Any, y: Any, size: int, options: dict[str, Any]) -> Solution[Any]:
    """The answers of all signals `y (*batch, m)`; what is derived from A is made once.

    Parameters
    ----------
    call : callable
        The solver.
    A : array (m, n), or anything `as_operator` takes
    y : array (*batch, m)
        Anything that has a shape and gives rows by `y[first:last]`; with more than one axis before the last, an array.
    size : int
        Signals of a batch.
    options : dict
        Of the solver; those that are given per signal are split as y is.

    Raises
    ------
    ValueError
        If the size is none, y is one signal, or A is one matrix per signal.
    """
    if not (isinstance(size, int) and size >= 1):
        raise ValueError(f"batch_size is {size!r}; needed is a whole number >= 1, the signals to solve at a time.")
    y, known = unwrapped(y)
    y = y if hasattr(y, "shape") else np.asarray(y)
    shape = tuple(y.shape)
    if len(shape) < 2:
        raise ValueError(f"y has shape {shape}; batch_size is for several signals, (*batch, m): leave it out.")
    op = held(A)
    check_alike(A, y)
    for name in PER_COLUMN & options.keys():
        check_columns(name, options[name], op.column_names)
    pairs = op.dtype.is_complex and "complex" not in str(getattr(y, "dtype", ""))
    check_layout(op.shape, shape, pairs=pairs, known_A=op is A, known_y=known)
    batch = shape[:-1]
    flat = y if len(shape) == 2 else y.reshape(-1, shape[-1])
    split = {name: _flat(name, value, batch) for name, value in options.items()}
    with rows_for_sure():  # all signals were looked at; those of a batch may be as many as there are measurements
        parts = [
            call(
                op,
                _finite(_array(flat[first:last]), first, batch),
                **{name: _part(name, v, first, last) for name, v in split.items()},
            )
            for first, last in bounds(len(flat), size)
        ]
        if not parts:
            return call(op, _array(y), **options)
    n = parts[0].n
    joined = {name: _joined([getattr(part, name) for part in parts]) for name in FIELDS}
    whole = Solution(n=n, **{name: v.reshape(*batch, *v.shape[1:]) for name, v in joined.items()})
    return whole.named(parts[0].names)


def held(A: Any) -> Operator:
    """A as an operator that keeps what is derived from it; one for all signals.

    Raises
    ------
    ValueError
        If A has a batch.
    """
    op = as_operator(A)
    if op.batch_shape:
        raise ValueError(
            f"A has shape {(*op.batch_shape, *op.shape)}, a matrix per signal; batches take one A for all: leave out "
            "batch_size, or call the solver for parts of A and y."
        )
    return op


def _finite(rows: Any, first: int, batch: tuple[int, ...]) -> Any:
    """The rows; raises ValueError, with the place among all signals, where a number is NaN or infinite."""
    if isinstance(rows, Tensor):
        bad = (~rows.detach().isfinite()).nonzero()[:1].tolist()
    else:
        bad = np.argwhere(~np.isfinite(rows))[:1].tolist() if rows.dtype.kind in "fc" else []
    if not bad or isinstance(rows, np.ma.MaskedArray):
        return rows
    place = (*(int(i) for i in np.unravel_index(first + bad[0][0], batch)), bad[0][1])
    raise ValueError(f"y is NaN or infinite at {place}; needed is a number everywhere: remove or fill it.")


def _array(rows: Any) -> Any:
    """Rows as an array or a tensor in memory."""
    return rows if isinstance(rows, Tensor | np.ndarray) else np.asarray(rows)  # a mask stays, and is refused


def _flat(name: str, value: Any, batch: tuple[int, ...]) -> Any:
    """An option given per signal, with one axis for the batch; others as they are."""
    own = OWN_AXES.get(name)
    shape = tuple(getattr(value, "shape", ())) if not isinstance(value, (list, tuple)) else np.shape(value)
    if own is None or len(shape) <= own:
        return value
    value = value if isinstance(value, Tensor) else np.asarray(value)
    axes = shape[len(shape) - own :]
    full = value.expand(*batch, *axes) if isinstance(value, Tensor) else np.broadcast_to(value, (*batch, *axes))
    return full.reshape(-1, *axes)


def _part(name: str, value: Any, first: int, last: int) -> Any:
    own = OWN_AXES.get(name)
    return value if own is None or getattr(value, "ndim", 0) <= own else value[first:last]


def _joined(values: list[Any]) -> Any:
    """One array; supports of unequal width, where k differs between batches, are filled up."""
    width = max(v.shape[-1] for v in values) if values[0].ndim > 1 else None
    if width is not None:
        values = [widened(v, width) for v in values]
    return torch.cat(values) if isinstance(values[0], Tensor) else np.concatenate(values)


def widened(v: Any, width: int) -> Any:
    """Supports `(signals, p)` or coefficients, filled up to `width` columns with what they have for no atom."""
    none = -1 if v.dtype in (torch.int64, np.int64) else 0
    if isinstance(v, Tensor):
        return torch.nn.functional.pad(v, (0, width - v.shape[-1]), value=none)
    return np.pad(v, ((0, 0), (0, width - v.shape[-1])), constant_values=none)
