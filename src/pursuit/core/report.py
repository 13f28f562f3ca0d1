"""A solution in words: its atoms, its status, a few lines that stand for it, and a table."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from .solution import Solution

WIDTH = 80  # most signs of a line
LINES = 20  # most signals, or atoms, of a table
Words = Callable[[int], str]  # what a code of `Status` says


class Text(str):
    """A text that a notebook shows as it is, not with quotes and \\n."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def atoms(support: Any, names: NDArray[Any] | None) -> Any:
    """The column numbers of each signal without the -1, or the names of the columns: lists nested as the batch is."""
    found = support >= 0
    counts = found.sum(-1)
    if isinstance(support, Tensor) and names is None:
        parts: Sequence[Any] = torch.split(support[found], counts.flatten().tolist())
    else:
        support, found, counts = (array(v) for v in (support, found, counts))
        flat = support[found] if names is None else names[support[found]]
        parts = np.split(flat, np.cumsum(counts.ravel())[:-1]) if counts.size else []
    return nested(parts, tuple(counts.shape))


def nested(items: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """The items as lists in lists, by the shape of the batch; the item itself for a single signal."""
    if not shape:
        return items[0]
    size = len(items) // shape[0] if shape[0] else 0
    return [nested(items[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0])]


def array(values: Any) -> NDArray[Any]:
    """The values as a NumPy array."""
    return values.detach().cpu().resolve_conj().numpy() if isinstance(values, Tensor) else np.asarray(values)


def in_five_lines(sol: Solution[Any], words: Words, name: Words) -> str:
    """Size, atoms, coefficients, residual and status, at any size of the batch."""
    support, status = array(sol.support), array(sol.status)
    if status.ndim == 0:
        lines = _one(sol, support, words(int(status)))
    elif status.size == 0:
        return f"Solution: no signals, n = {sol.n}"
    else:
        counted = _counted(status, words if (status == status.flat[0]).all() else name)
        lines = _many(sol, support, counted)
    return "\n".join(_cut(line) for line in lines)


def summary(sol: Solution[Any], words: Words) -> Text:
    """A table: of a single signal one line per atom, of a batch one line per signal, the first ones."""
    status = array(sol.status)
    if status.size == 0:
        return Text(in_five_lines(sol, words, words))
    head = _single_head(sol) if status.ndim == 0 else _batch_head(sol)
    table = _atoms_table(sol) if status.ndim == 0 else _signals_table(sol, words)
    end = [words(int(status))] if status.ndim == 0 else _counted(status, words)
    ends = [part for line in end for part in textwrap.wrap(line, WIDTH)]
    return Text("\n".join([head, "", *table, "", *ends]))


def _one(sol: Solution[Any], support: NDArray[Any], status: str) -> list[str]:
    shown = [str(j) for j in array(atoms(sol.support, sol.names))[:WIDTH].tolist()]
    values = array(sol.coefficients)[support >= 0][:WIDTH]
    return [
        _single_head(sol),
        "  atoms         " + (", ".join(shown) or "none"),
        "  coefficients  " + (", ".join(_number(v) for v in values) or "none"),
        f"  residual      {_number(array(sol.residual_norm)[()])} = ||y - A x||, after {int(sol.steps)} steps",
        f"  status        {status}",
    ]


def _many(sol: Solution[Any], support: NDArray[Any], statuses: list[str]) -> list[str]:
    found = support >= 0
    norms, steps = array(sol.residual_norm), array(sol.steps)
    numbers, times = np.unique(support[found], return_counts=True)
    often = np.argsort(-times, kind="stable")[:8]
    names = numbers if sol.names is None else sol.names[numbers]
    common = ", ".join(f"{names[i]} ({times[i]})" for i in often)
    size = np.abs(array(sol.coefficients)[found])
    return [
        _batch_head(sol),
        "  atoms         " + (f"{len(numbers)} different: {common}" if len(numbers) else "none"),
        "  coefficients  " + (f"of size {_number(size.min())} to {_number(size.max())}" if size.size else "none"),
        f"  residual      {_span(norms)}, median {_number(np.median(norms))}; {_span(steps)} steps",
        "  status        " + "; ".join(statuses),
    ]


def _single_head(sol: Solution[Any]) -> str:
    count = int((array(sol.support) >= 0).sum())
    return f"Solution: {count} of {sol.n} coefficients, {_dtype(sol)}"


def _batch_head(sol: Solution[Any]) -> str:
    counts = (array(sol.support) >= 0).sum(-1)
    batch = " x ".join(str(size) for size in counts.shape)
    return f"Solution: {batch} signals, {_span(counts)} of {sol.n} coefficients each, {_dtype(sol)}"


def _atoms_table(sol: Solution[Any]) -> list[str]:
    support = array(sol.support)
    names = [str(name) for name in array(atoms(sol.support, sol.names)).tolist()]
    values = [_number(v) for v in array(sol.coefficients)[support >= 0]]
    wide = min(max([4, *map(len, names[:LINES])]), WIDTH - 30)
    rows = [f"  {name[:wide]:>{wide}}  {value:>14}" for name, value in zip(names, values, strict=True)]
    head = [f"  {'atom':>{wide}}  {'coefficient':>14}", *_shortened(rows, "atoms")]
    return [*head, "", f"residual {_number(array(sol.residual_norm)[()])} after {int(sol.steps)} steps"]


def _signals_table(sol: Solution[Any], words: Words) -> list[str]:
    counts = (array(sol.support) >= 0).sum(-1)
    norms, steps, status = (array(v) for v in (sol.residual_norm, sol.steps, sol.status))
    rows: list[str] = []
    for index in np.ndindex(counts.shape):
        if len(rows) == LINES:
            break
        name = ", ".join(map(str, index))
        row = f"  {name:>8}  {counts[index]:>5}  {_number(norms[index]):>9}  {int(steps[index]):>5}  "
        rows.append(_cut(row + words(int(status[index]))))
    more = [f"  and {counts.size - LINES} more signals"] if counts.size > LINES else []
    return [f"  {'signal':>8}  {'atoms':>5}  {'residual':>9}  {'steps':>5}  status", *rows, *more]


def _shortened(rows: list[str], what: str) -> list[str]:
    return rows if len(rows) <= LINES else [*rows[:LINES], f"  and {len(rows) - LINES} more {what}"]


def _counted(status: NDArray[Any], words: Words) -> list[str]:
    codes, counts = np.unique(status, return_counts=True)
    return [f"{count} of {status.size}: {words(int(code))}" for code, count in zip(codes, counts, strict=True)]


def _dtype(sol: Solution[Any]) -> str:
    return str(sol.coefficients.dtype).removeprefix("torch.")


def _span(values: NDArray[Any]) -> str:
    low, high = values.min(), values.max()
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"


def _number(value: Any) -> str:
    if isinstance(value, np.integer | int):
        return str(int(value))
    return f"{complex(value):.4g}" if np.iscomplexobj(value) else f"{float(value):.4g}"


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 4] + " ..."
