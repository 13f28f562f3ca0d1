"""Labels of rows and columns, and the one rule by which those of two tables are compared.

A label that is a number is that number, however it is written: 400, 400.0 and the text "400.00" are the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """What a message says of two tables whose labels must agree.

    Attributes
    ----------
    given, needed : str
        Whose labels they are: "the index of y", "that of A".
    name : str
        Of the array with the labels in question.
    unit, rule : str
        "measurement", and "one row of A per measurement".
    reorder, select, otherwise : str
        What to do if the labels are the same in another order, if they are others, and if the order is right.
    of : str
        The array with the labels that are needed.
    """

    given: str
    needed: str
    name: str
    unit: str
    rule: str
    reorder: str
    select: str
    otherwise: str
    of: str = "A"


def check_same(needed: Iterable[Any], given: Iterable[Any], asked: Asked, *, names: bool) -> None:
    """Raise ValueError if the labels are not the same in the same order.

    Parameters
    ----------
    needed, given : sequence
        Labels, equally many.
    asked : Asked
    names : bool
        Whether they may be the names of columns, of which those that only count say nothing.
    """
    needed, given = plain(needed), plain(given)
    first = first_other(needed, given)
    if first is None:
        return
    same = same_in_any_order(needed, given)
    if names and not same and (counted(needed) or counted(given)):
        return
    what = "the same labels in another order" if same else "other labels"
    has = "have" if re.match(r"the (names|columns)", asked.given) else "has"
    raise ValueError(
        f"{asked.given} {has} {what} than {asked.needed}: {asked.unit} {first} (from 0) is {label(given[first])!r} in "
        f"{asked.name} and {label(needed[first])!r} in {asked.of}; needed is {asked.rule}: "
        f"{asked.reorder if same else asked.select}, or {asked.otherwise} if their order is right."
    )


def plain(labels: Iterable[Any]) -> tuple[Any, ...]:
    """The labels in the form in which they are compared."""
    return tuple(map(_plain, labels))


def _plain(one: Any) -> Any:
    if isinstance(one, Integral):
        return int(one)
    if isinstance(one, Real):
        return float(one)
    if not isinstance(one, str):
        return one
    text = one.strip()
    if re.fullmatch(r"[-+]?\d+", text):
        return int(text)
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return text
    return value if math.isfinite(value) and "_" not in text else text


def first_other(needed: Sequence[Any], given: Sequence[Any]) -> int | None:
    """The place of the first two plain labels that differ; None if there is none."""
    return next((i for i, pair in enumerate(zip(needed, given, strict=True)) if not _alike(*pair)), None)


def same_in_any_order(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether plain labels are the same if each side is sorted."""
    (numbers, rest), (numbers_of_other, rest_of_other) = map(_split, (one, other))
    if len(numbers) != len(numbers_of_other) or rest != rest_of_other:
        return False
    return all(_alike(*pair) for pair in zip(sorted(numbers), sorted(numbers_of_other), strict=True))


def counted(labels: Sequence[Any]) -> bool:
    """Whether plain labels only count, from 0 or 1, which says nothing."""
    return any(all(one == begin + i for i, one in enumerate(labels)) for begin in (0, 1))


def repeated(labels: Iterable[Any]) -> bool:
    """Whether a label comes twice, so that no order follows from it."""
    numbers, rest = _split(plain(labels))
    return len(set(numbers)) < len(numbers) or any(count > 1 for count in rest.values())


def label(value: Any) -> str:
    """A label as a user would write it."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _split(labels: Sequence[Any]) -> tuple[list[float], Counter[Hashable]]:
    """The numbers, and how often each other label comes."""
    numbers = [one for one in labels if _is_number(one)]
    return numbers, Counter(one for one in labels if not _is_number(one))


def _is_number(one: Any) -> bool:
    return isinstance(one, int | float) and math.isfinite(one)


def _alike(a: Any, b: Any) -> bool:
    """Whether two plain labels are the same; of numbers that are not both whole, but for the digits written."""
    if a is b:
        return True
    if isinstance(a, int | float) and isinstance(b, int | float):
        whole = all(isinstance(one, int) or one.is_integer() for one in (a, b))
        return a == b or (math.isnan(a) and math.isnan(b)) or (not whole and math.isclose(a, b))
    try:
        return bool(a == b)
    except (TypeError, ValueError):  # pandas' NA is equal to nothing
        return False
