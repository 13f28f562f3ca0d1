"""Which axis holds what: the ways to read the shapes of A and y, and what to say unless there is exactly one.

The rules are the same for calls from Python and for files: `readings` lists the ways that fit. One way is taken,
several are a question to the user, none is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

AS_GIVEN, TRANSPOSED, PATTERNS = "as given", "transposed", "patterns"  # ways to read A

_rows_for_sure: ContextVar[bool] = ContextVar("rows_for_sure", default=False)
Y = TypeVar("Y")


class Reading(NamedTuple):
    """One way to read A and y.

    Attributes
    ----------
    axis : int
        The axis of y, from 0, along which one signal's measurements lie. The contract is the last one.
    pairs : bool
        Whether the last axis of y holds real and imaginary parts.
    matrix : str
        A as it is, `(*batch, m, n)`; transposed, with atoms as rows; or patterns `(m, *shape)`, one per measurement.
    """

    axis: int
    pairs: bool = False
    matrix: str = AS_GIVEN


@dataclass(frozen=True)
class Rows:
    """Measurements of which it is known that the last axis is that of one signal."""

    values: Any


def rows(y: Y) -> Y:
    """Say that the rows of `y` are the signals, that is that `y` is `(*batch, m)`.

    Solvers ask for it where the shape alone leaves a choice: where `y` is square, for example. Signals that are columns
    become rows by `y.T`.

    Parameters
    ----------
    y : array (*batch, m)

    Returns
    -------
    object
        What solvers take as `y`.

    Examples
    --------
    >>> import numpy as np, pursuit
    >>> A, y = np.eye(2, 3), np.array([[0.0, 5.0], [7.0, 0.0]])
    >>> pursuit.omp(A, pursuit.rows(y), k=1).x
    array([[0., 5., 0.],
           [7., 0., 0.]])
    """
    return cast(Y, y if isinstance(y, Rows) else Rows(y))


def unwrapped(y: Any) -> tuple[Any, bool]:
    """The measurements, and whether the caller said by `rows` which axis is which."""
    return (y.values, True) if isinstance(y, Rows) else (y, False)


@contextmanager
def rows_for_sure() -> Iterator[None]:
    """Within it solvers do not ask: for callers of this library, whose signals are rows."""
    before = _rows_for_sure.set(True)
    try:
        yield
    finally:
        _rows_for_sure.reset(before)


def readings(A: Sequence[int], y: Sequence[int], *, pairs: bool = False) -> list[Reading]:
    """The ways to read `A` and `y` that fit their shapes, first that of the contract.

    Other ways to read A are listed if they compete with the contract, or if nothing else fits.

    Parameters
    ----------
    A, y : sequence of int
        Shapes.
    pairs : bool
        Whether the last axis of y may hold real and imaginary parts: A is complex, and y is not.
    """
    A, y = tuple(A), tuple(y)
    found = [reading for reading in _of_y(y, pairs) if _fits(A, y, reading)]
    last = Reading(len(y) - 1)
    if last in found and y[-1] == 1:
        return [last]  # to exchange axes of length one changes nothing
    patterns = Reading(len(y) - 1, matrix=PATTERNS)
    if last in found or not found:
        found += [patterns] if _fits(A, y, patterns) else []
    if last not in found:
        found += [r for r in (Reading(len(y) - 1, matrix=TRANSPOSED),) if _fits(A, y, r)]
    if not found:
        found = [r for r in (reading._replace(matrix=TRANSPOSED) for reading in _of_y(y, pairs)) if _fits(A, y, r)]
    return found


def check_layout(
    A: Sequence[int], y: Sequence[int], *, pairs: bool, known_A: bool, known_y: bool, hint: str = ""
) -> None:
    """Raise ValueError unless `y (*batch, m)` fits `A (*batch, m, n)`, and no other way to read them does.

    Parameters
    ----------
    A, y : sequence of int
        Shapes.
    pairs : bool
        As for `readings`.
    known_A, known_y : bool
        Whether the caller has said how to read A, by an operator, and y, by `rows`.
    hint : str
        What else to say where y does not fit.
    """
    A, y = tuple(A), tuple(y)
    known_A, known_y = (known or _rows_for_sure.get() for known in (known_A, known_y))
    found = readings(A, y, pairs=pairs)
    last = Reading(len(y) - 1)
    if last not in found:
        needed = (
            f"y has batch {y[:-1]} and A batch {A[:-2]}; they must be equal, or one of them absent."
            if y[-1:] == A[-2:-1]
            else f"y has shape {y} but A has m={A[-2]} rows (shape {A}); needed is y of shape (*batch, {A[-2]})."
        )
        ways = [_advice(A, y, reading, pairs) for reading in found if not known_A or reading.matrix == AS_GIVEN]
        raise ValueError(" ".join([needed, *([hint] if hint else ways)]))
    rivals = [r for r in found if r != last and not (known_A if r.matrix != AS_GIVEN else known_y)]
    if rivals:
        raise ValueError(
            f"y has shape {y} and A {A}, which can be read in {len(rivals) + 1} ways. "
            + " ".join(_advice(A, y, r, pairs) for r in (last, *rivals))
        )


def _of_y(y: tuple[int, ...], pairs: bool) -> list[Reading]:
    """All ways to read y, the contract's first."""
    axes = [Reading(axis) for axis in reversed(range(len(y)))]
    parts = [Reading(axis, pairs=True) for axis in reversed(range(len(y) - 1))] if pairs and y and y[-1] == 2 else []
    return axes + parts


def _matrix(A: tuple[int, ...], matrix: str) -> tuple[int, ...]:
    """The shape of A, read in this way."""
    if matrix == TRANSPOSED:
        return (*A[:-2], A[-1], A[-2])
    return (A[0], math.prod(A[1:])) if matrix == PATTERNS else A


def _signals(y: tuple[int, ...], reading: Reading) -> tuple[int, ...]:
    """The shape of y, brought into the form of the contract."""
    y = y[:-1] if reading.pairs else y
    moved = list(y)
    moved[reading.axis], moved[-1] = moved[-1], moved[reading.axis]
    return tuple(moved)


def _fits(A: tuple[int, ...], y: tuple[int, ...], reading: Reading) -> bool:
    if not y or (reading.matrix == PATTERNS and len(A) < 3):
        return False
    A, y = _matrix(A, reading.matrix), _signals(y, reading)
    batches = zip(reversed(A[:-2]), reversed(y[:-1]), strict=False)
    return y[-1] == A[-2] and all(p == q or 1 in (p, q) for p, q in batches)


def _advice(A: tuple[int, ...], y: tuple[int, ...], reading: Reading, pairs: bool) -> str:
    """What to pass if this is the way to read them: calls that leave no other way."""
    of_A, of_y = _calls(A, y, reading)
    again = readings(_matrix(A, reading.matrix), _signals(y, reading), pairs=pairs and not reading.pairs)
    if any(r.matrix == AS_GIVEN for r in again[1:]):
        of_y = f"pursuit.rows({of_y})"
    if any(r.matrix == PATTERNS for r in again):
        of_A = f"pursuit.as_operator({of_A})"
    calls = [text for text in (of_y, of_A) if text not in ("y", "A")]
    return f"If {words(A, y, reading)}, pass {' and '.join(calls)}."


def _calls(A: tuple[int, ...], y: tuple[int, ...], reading: Reading) -> tuple[str, str]:
    """The A and the y of the contract, from those given."""
    of_y, axes = ("y[..., 0] + 1j * y[..., 1]", len(y) - 1) if reading.pairs else ("y", len(y))
    if reading.axis != axes - 1:
        of_y = f"({of_y})" if reading.pairs else of_y
        of_y += ".T" if axes == 2 else f".swapaxes({reading.axis}, -1)"
    swapped = "A.T" if len(A) == 2 else "A.swapaxes(-1, -2)"
    return {AS_GIVEN: "A", TRANSPOSED: swapped, PATTERNS: f"A.reshape({A[0]}, -1)"}[reading.matrix], of_y


def words(A: tuple[int, ...], y: tuple[int, ...], reading: Reading) -> str:
    """A reading in words, to follow "if"."""
    if reading.matrix == PATTERNS:
        return f"each A[i] is the pattern of one measurement, of shape {A[1:]}"
    if reading.matrix == TRANSPOSED:
        atoms = "the atoms are the rows of A"
        return atoms if reading.axis == len(y) - 1 else f"{atoms} and the signals the columns of y"
    if reading.pairs:
        return "the last axis of y holds real and imaginary parts"
    if len(y) == 1:
        return f"A is a batch of {' x '.join(map(str, A[:-2]))} matrices"
    if len(y) == 2:
        return "the rows of y are the signals" if reading.axis == 1 else "the columns of y are the signals"
    return f"axis {reading.axis} of y holds the measurements of a signal"
