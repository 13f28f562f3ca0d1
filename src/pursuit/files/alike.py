"""Whether the labels in two files agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..labels import Asked, check_same, counted, plain, same_in_any_order
from .door import kind_of

Labels = Sequence[Any] | None


def check_measurements(A: str, rows: Labels, y: str, lines: Labels, columns: Labels, *, down: bool, told: bool) -> None:
    """Raise ValueError if both files have a label per measurement, and the labels are not the same.

    Parameters
    ----------
    A, y : str
        The files.
    rows, lines, columns : sequence or None
        The index of A, the index of y, and the names of the columns of y.
    down : bool
        Whether the measurements of a signal are down a column of y, so that its index labels them, not its columns.
    told : bool
        Whether the user said which columns of y to take: the answer to the message below.
    """
    if rows is None:
        return
    given, others = (lines, columns) if down else (columns, lines)
    given, others = ([*v] if v is not None and len(v) == len(rows) else None for v in (given, others))
    here, there = ("index", "names of the columns") if down else ("names of the columns", "index")
    if others is not None and _same(rows, others) and not (given is not None and _same(rows, given)):
        raise ValueError(
            f"the {there} of y ({y}) {'are those' if down else 'is that'} of the measurements, the index of A ({A}), "
            f"but signals were read as {'columns' if down else 'rows'}; give --layout {'rows' if down else 'columns'}."
        )
    if given is None or (told and not down):
        return
    along = "lines" if down else "columns"
    first = 2 if down else 1 + (lines is not None)
    asked = Asked(
        f"the {here} of y ({y})", f"{'that' if down else 'the index'} of A ({A})", "y", "measurement",
        "one row of A per measurement", reorder=f"write its {along} in the order of {A}",
        select=f"give the {along} that both have", otherwise=_unlabelled("y", y, here, first),
    )  # fmt: skip
    check_same(rows, given, asked, names=not down)


def check_coefficients(
    A: str, names: Labels, name: str, spec: str, lines: Labels, columns: Labels, *, down: bool
) -> None:
    """Raise ValueError if the labels of weights or coefficients are not the names of the columns of A.

    Parameters
    ----------
    A, spec : str
        The files.
    names : sequence or None
        The names of the columns of A.
    name : str
        "x", "x0" or "weights".
    lines, columns : sequence or None
        The index of the file, and the names of its columns.
    down : bool
        Whether the numbers for the columns of A are down a column of the file, so that its index labels them.
    """
    given = lines if down else columns
    if names is None or given is None or len(given) != len(names):
        return
    here, along = ("index", "lines") if down else ("names of the columns", "columns")
    first = 2 if down else 1 + (lines is not None)
    asked = Asked(
        f"the {here} of {name} ({spec})", f"the columns of A ({A})", name, "column", "one number per column of A",
        reorder=f"write its {along} in the order of {A}", select=f"give the {along} that both have",
        otherwise=_unlabelled(name, spec, here, first),
    )  # fmt: skip
    check_same(names, given, asked, names=True)


def _same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    one, other = plain(one), plain(other)
    return same_in_any_order(one, other) and not counted(one)


def _unlabelled(name: str, spec: str, here: str, first_column: int) -> str:
    """How to give a file without its labels."""
    if kind_of(spec) == "table":
        return f"give --columns {name}={first_column}:"
    return f"save it without its {here}"
