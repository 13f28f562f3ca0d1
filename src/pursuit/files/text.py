"""Text as a table of cells: encoding, comments, separators. What the cells mean is decided in `tables.py`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .cells import DECIMALS
from .checks import enough_memory

SPACES = " "
SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", SPACES: "spaces", "": "nothing"}
PROTECTED = str.maketrans({",": "\ue000", ";": "\ue001", " ": "\ue002"})  # inside (1,2) they separate no columns
RESTORED = str.maketrans({"\ue000": ",", "\ue001": ";", "\ue002": " "})
BYTES_PER_CELL = 100  # as text, and as numbers


@dataclass(frozen=True)
class Cells:
    """A table of text.

    Attributes
    ----------
    cells : array (lines, columns) of str
    lines : sequence of int
        Line numbers in the file, from 1.
    decimal : str
        The decimal mark.
    separator : str
        Its name.
    comments : int
        Lines left out because they are comments.
    """

    cells: Any
    lines: Sequence[int]
    decimal: str
    separator: str
    comments: int = 0


def tables(path: Path, decimal: str | None = None) -> Iterator[Cells]:
    """The file's table for every separator and decimal mark that it may be written with.

    Raises
    ------
    ValueError
        If the file is empty or no text.
    """
    text = decode(path.read_bytes())
    enough_memory(str(path), BYTES_PER_CELL * (len(text) // 8))
    numbered = [(i, line) for i, line in enumerate(re.split(r"\r\n|\r|\n", text), 1) if line.strip()]
    kept = [(i, line) for i, line in numbered if not _comment(line)]
    if not kept:
        raise ValueError("the file is empty")
    lines, texts = [i for i, _ in kept], [_protect(line) for _, line in kept]
    errors, count = [], 0
    for separator in _separators(texts):
        try:
            cells = split(texts, separator)
        except ValueError as error:
            errors.append(error)
            continue
        where = lines if len(cells) == len(lines) else range(1, len(cells) + 1)
        marks = _marks(texts, separator)
        if decimal is not None:  # commas are not both, unless there are quotes
            marks = (decimal,) if decimal in marks or separator != "," else ()
        for mark in marks:
            count += 1
            yield Cells(cells, where, mark, SEPARATORS[separator], len(numbered) - len(kept))
    if not count:
        raise errors[0] if errors else ValueError(f"it has no table with --decimal {decimal}")


def decode(data: bytes) -> str:
    """The text of a file, in UTF-8, in UTF-16 with a byte order mark, or in Windows' western encoding."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    if b"\0" in data:
        raise ValueError("it holds bytes that are no text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def split(texts: Sequence[str], separator: str) -> Any:
    """An array of cells without spaces around them; short lines end with empty cells."""
    if separator == "":
        rows = [[text] for text in texts]
    elif separator == SPACES:
        rows = list(csv.reader((" ".join(text.split()) for text in texts), delimiter=" "))
    else:
        rows = list(csv.reader(texts, delimiter=separator, skipinitialspace=True))
    width = max(map(len, rows))
    if len(rows) > 1 and {len(row) for row in rows[1:]} == {len(rows[0]) + 1}:
        rows[0] = ["", *rows[0]]  # the name of an index, which R leaves out
    if width * len(rows) > 4 * sum(map(len, rows)) + 10_000:
        longest = max(texts, key=len)
        raise ValueError(
            f"its lines have between {min(map(len, rows))} and {width} values; one is {longest.strip()[:40]!r}..."
        )
    cells = np.full((len(rows), width), "", dtype=object)
    for i, row in enumerate(rows):
        cells[i, : len(row)] = [cell.translate(RESTORED).strip() if "(" in cell else cell.strip() for cell in row]
    filled = np.flatnonzero((cells != "").any(axis=0))
    return cells[:, : int(filled[-1]) + 1 if len(filled) else 1]


def _marks(texts: Sequence[str], separator: str) -> tuple[str, ...]:
    """The decimal marks that cells may have; where no cell can have a comma it is the point."""
    inside = '["(]' if separator == "," else "[,(]"  # in quotes and parentheses a comma separates nothing
    return DECIMALS if any(re.search(inside, text) for text in texts) else DECIMALS[:1]


def _comment(line: str) -> bool:
    """Whether the line is a comment; `#N/A` and its like are cells."""
    line = line.lstrip()
    return line.startswith(("%", "//")) or (line.startswith("#") and not re.match(r"#[A-Z/]+[0!?A]", line))


def _protect(line: str) -> str:
    if "(" in line:
        line = re.sub(r"\([^()]*\)", lambda found: found[0].translate(PROTECTED), line)
    # Spaces around the sign of 1.0 + 2.0i.
    return re.sub(r"(?<=[\d.])\s+([-+])\s*(?=[\d.]+(?:[eEdD][-+]?\d+)?\*?[ijIJ]\b)", r"\1", line)


def _separators(texts: Sequence[str]) -> list[str]:
    """Those that may separate columns: one that (almost) every line has, else commas or spaces."""
    for mark in ("\t", ";", "|"):
        if sum(mark in text for text in texts) >= 0.9 * len(texts):
            return [mark]
    commas, spaces = any("," in text for text in texts), any(re.search(r"\S\s+\S", text) for text in texts)
    return [*([","] if commas else []), *([SPACES] if spaces else []), ""]
