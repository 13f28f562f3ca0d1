"""What a cell of a table is: a number, a missing value, or text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

NUMBER, WHOLE, MISSING, TEXT = range(4)  # WHOLE: a number without decimal mark and exponent
NOTHING = complex("nan")
ABSENT = {
    *("", "-", "--", "?", ".", "na", "n/a", "nan", "-nan", "nan(ind)", "-nan(ind)", "null", "none", "nil", "missing"),
    *("<na>", "nd", "n.d.", "#n/a", "#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"),
}
LOGICAL = {"true": 1.0, "false": 0.0}
DATE = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T ]\d{1,2}:\d{2}.*)?|\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp][Mm])?|"
    r"\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{2,4}|\d{8}T\d{4,}.*"
)
SLIP = re.compile(r"[-+\u2013(.,]*\d.*|[OolI][.,][\dOolI]+")  # meant as a number, not as a name
DECIMALS = (".", ",")


class Cell(NamedTuple):
    """What a cell holds; `value` is NaN unless it is a number."""

    kind: int
    value: complex


def parser(decimal: str) -> Callable[[str], Cell]:
    """A function that says what a cell is, where numbers are written with this decimal mark."""
    grammar = _grammar(decimal)

    @lru_cache(100_000)
    def parse(text: str) -> Cell:
        quick = _quick(text) if decimal == "." else None
        if quick is not None:
            return Cell(WHOLE if text.lstrip("+-").isdigit() else NUMBER, complex(quick))
        text = _plain(text)
        lower = text.lower()
        if lower in ABSENT:
            return Cell(MISSING, NOTHING)
        if lower in LOGICAL:
            return Cell(WHOLE, complex(LOGICAL[lower]))
        value = _number(text, decimal, grammar)
        if value is None:
            return Cell(TEXT, NOTHING)
        return Cell(WHOLE if re.fullmatch(r"[-+]?\d+", text) else NUMBER, value)

    return parse


def _quick(text: str) -> float | None:
    """The value of a plain number, which most cells are."""
    if text[:1] not in "+-.0123456789" or "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def is_date(text: str) -> bool:
    """Whether the cell is a date or a time of day."""
    return DATE.fullmatch(text.strip()) is not None


def is_name(text: str) -> bool:
    """Whether the text can be a name, and is not a number with a slip of the pen."""
    return not SLIP.fullmatch(text.strip())


def why_not(text: str) -> str:
    """What is wrong with a cell that should be a number."""
    text = text.strip()
    if re.fullmatch(r"\([\d.,' ]+\)", text):
        return "which could be a negative number as accountants write it; write it with a minus"
    if re.fullmatch(r"[\d.,]+\s?-", text):
        return "with its minus behind; write the minus in front"
    return "which is no number"


def _plain(text: str) -> str:
    """With the usual minus and spaces."""
    return text.strip().replace("\u2212", "-").replace("\u00a0", " ").replace("\u202f", " ").replace("\u2009", " ")


def _number(text: str, decimal: str, grammar: Grammar) -> complex | None:
    """The number that the text is, if it is one."""

    def real(part: str | None) -> float:
        if not part:
            return 0.0
        digits = re.sub(r"[ ',]" if decimal == "." else r"[ '.]", "", part).replace(decimal, ".")
        return float(re.sub("[dD]", "e", digits))

    if grammar.real.fullmatch(text):
        return complex(real(text))
    if re.fullmatch(r"[-+]?inf(inity)?", text, flags=re.IGNORECASE):
        return complex(float(text))
    if pair := grammar.pair.fullmatch(text):
        return complex(real(pair[1]), real(pair[2]))
    inner = re.sub(r"\s+", "", text[1:-1] if text[:1] + text[-1:] == "()" else text).replace("+-", "-")
    for pattern in (grammar.factor_first, grammar.unit_first):
        parts = pattern.fullmatch(inner)
        if parts and (parts["real"] or parts["sign"] or parts["imag"]):
            return complex(real(parts["real"]), real(parts["sign"] + (parts["imag"] or "1")))
    return None


class Grammar(NamedTuple):
    """Patterns of a real number, of `(1,2)`, of `1+2i` and of `1+j2`."""

    real: re.Pattern[str]
    pair: re.Pattern[str]
    factor_first: re.Pattern[str]
    unit_first: re.Pattern[str]


@cache
def _grammar(decimal: str) -> Grammar:
    mark, marks, between = (r"\.", ",' ", "[,;]") if decimal == "." else (",", ".' ", ";")
    power = r"(?:[eEdD][-+]?\d+)?"
    grouped = rf"[1-9]\d{{0,2}}([{marks}])\d{{3}}(?:\1\d{{3}})*(?:{mark}\d*)?"
    plain = rf"(?:\d+(?:{mark}\d*)?|{mark}\d+){power}"
    first = rf"(?P<real>[-+]?{plain}(?=[-+]))?(?P<sign>[-+]?)"
    return Grammar(
        real=re.compile(rf"[-+]?(?:{grouped}|{plain})"),
        pair=re.compile(rf"\(\s*([-+]?{plain})\s*{between}\s*([-+]?{plain})\s*\)"),
        factor_first=re.compile(rf"{first}(?P<imag>(?:{plain})?)\*?[ijIJ]"),
        unit_first=re.compile(rf"{first}[ijIJ]\*?(?P<imag>{plain})"),
    )
