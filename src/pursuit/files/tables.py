"""What the lines and columns of a table are: names, an index, numbers. The only place where this is decided.

What a table can only be is read. Where it can be two things, both are returned as readings; whoever knows the shape
that is needed may choose, and otherwise the user is asked with the option that settles it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .cells import MISSING, NUMBER, TEXT, WHOLE, is_date, is_name, parser, why_not
from .text import Cells

INDEX_NAMES = {"", "index", "id", "idx", "date", "datetime", "timestamp", "row", "no", "nr", "#", "unnamed: 0"}
AXIS_NAMES = re.compile(
    r"(time|t|wave ?length|lambda|wave ?number|freq(uency)?|angle|position|x|nm|cm-1|hz|khz|mhz|s|ms|sec|m/z)\b.*",
    flags=re.IGNORECASE,
)
REAL_PART = re.compile(r"(?<![A-Za-z])(re|real|i)(?![A-Za-z])", flags=re.IGNORECASE)
IMAGINARY = {"re": "im", "real": "imag", "i": "q"}
FEW = 64  # lines and columns that are looked at to decide what others are
LONG = 8  # numbers in equal steps that are no chance


@dataclass(frozen=True)
class Asked:
    """What the user said about a table; None: nothing.

    Attributes
    ----------
    header : str
        "yes", "no", or the number of lines of names.
    index : str
        "yes" or "no": whether column 1 is an index.
    decimal : str
        "." or ",".
    columns : str
        Columns to take, from 1, as "3:", "2:5", "1,4", or names.
    dtype : str
        Of a file of bare numbers.
    """

    header: str | None = None
    index: str | None = None
    decimal: str | None = None
    columns: str | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Reading:
    """One way to read a file.

    Attributes
    ----------
    array : array or SciPy sparse matrix
    notes : tuple of str
        What lines and columns were taken for.
    names : tuple of str or None
        Names of the columns.
    sure : bool
        Whether the file itself speaks for this reading.
    doubts : tuple of str
        The questions that have another answer in the other readings.
    flat : bool
        Whether an array with one line or one column is a vector.
    labels : tuple of float and str, or None
        What stands in the index, a label per line.
    """

    array: Any
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    sure: bool = True
    doubts: tuple[str, ...] = ()
    flat: bool = False
    labels: tuple[float | str, ...] | None = None


@dataclass(frozen=True)
class _Table:
    """Cells with what they hold; a row of `cells` has its line's number in `lines`."""

    cells: Any
    kinds: Any
    values: Any
    lines: Any
    columns: Any
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    sure: bool = True
    header: tuple[str, ...] | None = None
    labels: tuple[float | str, ...] | None = None

    def part(self, rows: Any = slice(None), columns: Any = slice(None), **changes: Any) -> _Table:
        """Some lines and columns of it."""
        kept = {name: getattr(self, name)[rows][:, columns] for name in ("cells", "kinds", "values")}
        header = None if self.header is None else tuple(np.array(self.header, dtype=object)[columns])
        new: dict[str, Any] = {"lines": self.lines[rows], "columns": self.columns[columns], "header": header}
        return replace(self, **kept, **{**new, **changes})


def readings(table: Cells, asked: Asked) -> list[Reading]:
    """All ways to read the table; the likeliest comes first.

    Raises
    ------
    ValueError
        If a cell is missing or no number, with its line and column and the option that would leave it out.
    """
    whole = _without_empty(_parsed(table))
    found: list[Reading] = []
    errors: list[ValueError] = []
    for with_header in _headers(whole, asked):
        for body in _indexed(with_header, asked):
            try:
                found.append(_numbers(body))
            except ValueError as error:  # another reading may have no such cell
                errors.append(error)
    if not found:
        raise errors[0]
    if len(found) > 1:
        return found
    if errors and not found[0].sure:
        raise ValueError("; ".join(found[0].doubts))
    return [replace(found[0], sure=True, doubts=())]


def share_of_text(table: Cells) -> float:
    """The share of cells, of the last lines, that are no numbers."""
    part = np.asarray(table.cells, dtype=object)[-FEW:, : 2 * FEW]
    parse = parser(table.decimal)
    kinds = np.array([[parse(cell).kind for cell in row] for row in part])
    if kinds.shape[1] > 1:
        kinds = kinds[:, 1:]  # an index may be text
    return float((kinds == TEXT).mean())


def text_lines(table: Cells, count: int) -> bool:
    """Whether so many lines at the top have text."""
    parse = parser(table.decimal)
    return all(any(parse(cell).kind == TEXT for cell in row) for row in table.cells[:count])


def _parsed(table: Cells) -> _Table:
    """What every cell holds."""
    cells = np.asarray(table.cells, dtype=object)
    parse = parser(table.decimal)
    kinds = np.empty(cells.shape, dtype=np.int8)
    values = np.empty(cells.shape, dtype=complex)
    for rows in (slice(0, FEW), slice(FEW, None)):
        _fill(cells[rows], kinds[rows], values[rows], parse, plain=table.decimal == "." and rows.start == FEW)
    notes = [] if table.decimal == "." else ["decimal commas"]
    if table.comments:
        notes.append(f"{table.comments} comment line{'s' * (table.comments > 1)} left out")
    return _Table(cells, kinds, values, np.array(table.lines), np.arange(1, cells.shape[1] + 1), tuple(notes))


def _fill(cells: Any, kinds: Any, values: Any, parse: Any, *, plain: bool) -> None:
    """Column by column; where all cells of one are plain numbers, NumPy reads them."""
    for j in range(cells.shape[1]):
        column = cells[:, j]
        numbers = _plain_numbers(column) if plain else None
        if numbers is not None:
            kinds[:, j], values[:, j] = NUMBER, numbers
            continue
        for i, cell in enumerate(column):
            kinds[i, j], values[i, j] = parse(cell)


def _plain_numbers(column: Any) -> Any:
    """The numbers of a column without missing cells, all real or all as `1+2i`, else None."""
    if not len(column) or any("_" in cell for cell in column):
        return None
    kind: type = float
    if column[0][-2:].strip(")").endswith(("i", "j")):
        column = np.array([cell.replace(" ", "").replace("i", "j") for cell in column], dtype=object)
        if not all(cell.endswith(("j", "j)")) for cell in column):
            return None
        kind = complex
    try:
        numbers = column.astype(kind)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _without_empty(table: _Table) -> _Table:
    """Without columns and lines at the end in which nothing stands."""
    filled = table.cells != ""
    if not filled.any():
        raise ValueError("the file is empty")
    rows, columns = np.flatnonzero(filled.any(axis=1))[-1] + 1, np.flatnonzero(filled.any(axis=0))[-1] + 1
    return table.part(slice(0, rows), slice(0, columns))


# Lines of names


def _headers(table: _Table, asked: Asked) -> Iterator[_Table]:
    """The table with its lines of names taken off, in every way that is possible."""
    worded = _worded(table) if asked.header is None or asked.header == "yes" else 0
    if asked.header is not None:
        yield _headed(table, _told(asked.header, worded, len(table.lines)))
        return
    if worded:
        yield _headed(table, worded)
        return
    likely, sure = _numbered_names(table)
    if not likely:
        yield table
        return
    doubt = (
        f"line {table.lines[0]} ({shown(table.cells[0])}) could be names or numbers; give --header yes or --header no"
    )
    yield replace(_headed(table, 1), sure=sure, doubts=(doubt,))
    yield replace(table, sure=False, doubts=(doubt,))


def _told(header: str, worded: int, lines: int) -> int:
    if header == "no":
        return 0
    if header == "yes":
        return max(worded, 1)
    if not re.fullmatch(r"\d+", header) or int(header) >= lines:
        raise ValueError(f"--header is {header!r}; give yes, no, or the number of lines of names, less than {lines}")
    return int(header)


def _headed(table: _Table, count: int) -> _Table:
    """With so many lines of names taken off."""
    if count == 0:
        return table
    top = [[str(cell).strip() for cell in line] for line in table.cells[:count]]
    lines = [line for line in top if not _is_title(line)]
    first, last = table.lines[0], table.lines[count - 1]
    read_as = "names" if lines else "a title"
    note = f"line {first} read as {read_as}" if count == 1 else f"lines {first}-{last} read as {read_as}"
    body = table.part(slice(count, None), notes=(note, *table.notes))
    if not len(body.lines):
        raise ValueError("it has no line of numbers")
    names = tuple(" ".join(filter(None, column)) for column in zip(*lines, strict=True))
    return replace(body, header=names if any(names) else None)


def _is_title(line: Sequence[str]) -> bool:
    """Whether a line of words stands over the table, not over its columns: a few cells at the left, and no others."""
    filled = [bool(cell) for cell in line]
    return len(line) > 2 and sum(filled) <= len(line) / 2 and all(filled[: sum(filled)])


def _worded(table: _Table) -> int:
    """How many lines at the top hold names.

    Raises
    ------
    ValueError
        If a line has numbers beside text, which could be a slip of the pen.
    """
    width = len(table.columns)
    first = 1 if width > 1 else 0  # what stands over an index may be anything
    count = 0
    while count < len(table.lines):
        kinds, cells = table.kinds[count, first:], table.cells[count, first:]
        text = kinds == TEXT
        if not text.any():
            break
        others = (kinds == NUMBER) | (kinds == WHOLE)
        same = table.kinds[count + 1 : count + 4, first:] == TEXT  # columns that are text all the way
        if others.any():
            if len(same) and (same.all(axis=0) | ~text).all():
                break  # text among the data, of which `_numbers` tells
            raise _mixed(table, count, first + int(np.flatnonzero(text)[0]))
        if text.sum() == 1 and not is_name(cells[text][0]):
            raise _mixed(table, count, first + int(np.flatnonzero(text)[0]))
        count += 1
    if count == len(table.lines):
        raise ValueError(f"it has no line of numbers; line {table.lines[0]} is {shown(table.cells[0])}")
    if count:
        return count
    return _corner(table)


def _corner(table: _Table) -> int:
    """Line 1 holds names if only its first cell is text, as the name of an index over numbers is."""
    if len(table.columns) == 1 or len(table.lines) < 2 or table.kinds[0, 0] != TEXT:
        return 0
    below = table.kinds[1:, 0]
    name = table.cells[0, 0].strip().lower()
    if (below == TEXT).all() and name not in INDEX_NAMES:
        return 0  # perhaps the label of the first line
    if (below == TEXT).any() and not (below == TEXT).all():
        return 0
    if name in INDEX_NAMES or (is_name(name) and _likely_names(table, 1)[0]):
        return 1
    raise _mixed(table, 0, 0)


def _mixed(table: _Table, row: int, column: int) -> ValueError:
    line, cell = table.lines[row], table.cells[row, column]
    return ValueError(
        f"line {line}, column {table.columns[column]} is {cell!r}, {why_not(cell)}; if the lines up to {line} hold "
        f"names, give --header {row + 1}, else write a number there"
    )


def _numbered_names(table: _Table) -> tuple[bool, bool]:
    """Whether line 1 may hold numbers that are names (wavelengths, 0..n-1), and whether that is sure."""
    if len(table.lines) < 2:
        return False, False
    if len(table.columns) > 1 and table.cells[0, 0].strip() == "" and (table.kinds[0, 1:] <= WHOLE).all():
        return True, bool(_counts(table.values[1:, 0]) or (table.kinds[1:, 0] == TEXT).all())  # pandas' index
    labels = len(table.columns) > 1 and (table.kinds[:, 0] == TEXT).all()
    return _likely_names(table, 1 if labels else 0)


def _likely_names(table: _Table, first: int) -> tuple[bool, bool]:
    top, below = table.values[0, first:], table.values[1 : FEW + 1, first:]
    if not (table.kinds[0, first:] <= WHOLE).all() or top.imag.any():
        return False, False
    kinds = table.kinds[1 : FEW + 1, first:]
    other_kind = bool((table.kinds[0, first:] == WHOLE).all() and (kinds == NUMBER).mean() > 0.9)
    like = [_even(line) for line in below]
    if _even(top) and sum(like) <= len(like) / 2:
        return True, not any(like) and (other_kind or len(top) >= LONG)
    rises = len(top) > 4 and _rises(top) and not any(_rises(line) for line in below)
    return rises or other_kind, False


# The index


def _indexed(table: _Table, asked: Asked) -> Iterator[_Table]:
    """The table without its index, in every way that is possible, or with the columns that were asked for."""
    if asked.columns is not None:
        kept = _columns(table, asked.columns)
        listed = ", ".join(str(c) for c in table.columns[kept][:4]) + (", ..." if len(kept) > 4 else "")
        yield table.part(columns=kept, notes=(*table.notes, f"columns {listed} taken"))
        return
    alone = len(table.columns) == 1
    if asked.index == "no" or (alone and asked.index is None):
        yield table
        return
    if asked.index is not None and (asked.index != "yes" or alone):
        raise ValueError(f"--index is {asked.index!r} for {len(table.columns)} columns; give yes or no")
    notes = (*table.notes, "column 1 as index")
    without = table.part(columns=slice(1, None), notes=notes, labels=_index_labels(table))
    if asked.index == "yes" or _labels(table):
        yield without
        return
    likely, sure = _numbered_lines(table)
    if not likely:
        yield table
        return
    doubt = f"column 1 ({shown(table.cells[:, 0])}) could be an index or data; give --index yes or --index no"
    doubts = (*table.doubts, doubt)
    yield replace(without, sure=table.sure and sure, doubts=doubts)
    yield replace(table, sure=False, doubts=doubts)


def _index_labels(table: _Table) -> tuple[float | str, ...]:
    """What stands in column 1: a number, however it is written, or text."""
    cells = zip(table.kinds[:, 0], table.values[:, 0], table.cells[:, 0], strict=True)
    return tuple(
        cell.strip() if kind not in (NUMBER, WHOLE) or cell.isdecimal() else float(value.real)
        for kind, value, cell in cells
    )  # whole numbers as they are written: those of many digits are no floats


def _labels(table: _Table) -> bool:
    """Whether column 1 is all text, dates or under an empty name, so that it can only be an index."""
    text = table.kinds[:, 0] == TEXT
    if text.all():
        cells = [cell.strip() for cell in table.cells[:, 0]]
        return all(is_date(cell) or is_name(cell) for cell in cells) or all(is_date(c) for c in cells)
    return table.header is not None and table.header[0] == "" and any(table.header[1:]) and not text.any()


def _numbered_lines(table: _Table) -> tuple[bool, bool]:
    """Whether column 1 may number the lines, or be an axis (time, wavelength), and whether that is sure."""
    column, others = table.values[:, 0], table.values[:, 1 : FEW + 1]
    name = None if table.header is None else table.header[0].strip().lower()
    if not (table.kinds[:, 0] <= WHOLE).all() or column.imag.any():
        return False, False
    other_kind = (table.kinds[:, 0] == WHOLE).all() and (table.kinds[:, 1:] == NUMBER).mean() > 0.9
    if name in INDEX_NAMES and len(column) > 1:
        return True, True
    like = [_even(other) for other in others.T]
    if _even(column) and sum(like) <= len(like) / 2:
        return True, bool(not any(like) and name is None and other_kind and _counts(column))
    if other_kind and _counts(column) and len(column) == 2:
        return True, False
    return bool(name is not None and AXIS_NAMES.fullmatch(name) and _rises(column) and len(column) > 2), False


def _columns(table: _Table, wanted: str) -> list[int]:
    """Positions of the columns that are asked for, by their numbers from 1 or their names."""
    count, kept = len(table.columns), []
    for part in (part.strip() for part in wanted.split(",")):
        span = re.fullmatch(r"(\d*)\s*[:-]\s*(\d*)", part)
        if table.header is not None and part in table.header:
            kept.append(table.header.index(part))
        elif part.isdigit() and 1 <= int(part) <= count:
            kept.append(int(part) - 1)
        elif span and (span[1] or span[2]) and 1 <= int(span[1] or 1) <= int(span[2] or count) <= count:
            kept.extend(range(int(span[1] or 1) - 1, int(span[2] or count)))
        else:
            names = "" if table.header is None else f", or names of {', '.join(table.header[:6])}"
            raise ValueError(f"--columns has {part!r}; needed are numbers from 1 to {count}, as 3: or 2,4{names}")
    return kept


# Numbers


def _numbers(table: _Table) -> Reading:
    """The reading of a table of which only numbers are left."""
    bad = ~(table.kinds <= WHOLE) | ~np.isfinite(table.values)
    if bad.any():
        raise _refused(table, bad)
    values, notes = table.values, table.notes
    names = None if table.header is None else tuple(table.header)
    if names is not None and (paired := _paired(names)) is not None:
        real, imag, stems = paired
        values, names = values[:, real] + 1j * values[:, imag], stems
        pairs = "in pairs" if len(real) > 1 else f"{table.columns[real[0]]} and {table.columns[imag[0]]}"
        notes = (*notes, f"columns {pairs} as real and imaginary part")
    names = _without_gaps(names)
    array = values if values.imag.any() else np.ascontiguousarray(values.real)
    return Reading(array, notes, names, table.sure, table.doubts, flat=True, labels=table.labels)


def _without_gaps(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The names, with the numbers of columns that have none; None if none has one."""
    return None if names is None or not any(names) else tuple(name or str(i) for i, name in enumerate(names))


def _refused(table: _Table, bad: Any) -> ValueError:
    row, column = (int(i) for i in np.argwhere(bad)[0])
    cell, kind = table.cells[row, column], table.kinds[row, column]
    where = f"line {table.lines[row]}, column {table.columns[column]}"
    if kind == MISSING:
        what = f"{where} is {cell!r}: a value is missing" if cell.strip() else f"{where} is empty: a value is missing"
        return ValueError(
            f"{what} ({int((table.kinds == MISSING).sum())} in all); fill it, or take its line or column out"
        )
    if kind != TEXT:
        return ValueError(f"{where} is {cell!r}; needed are finite numbers")
    if (table.kinds[:, column] == TEXT).all() and len(table.columns) > 1:
        first, last = table.columns[0], table.columns[-1]
        at = table.columns[column]
        others = f"{at + 1}:" if at == first else f"{first}:{at - 1}" if at == last else f"{first}:{at - 1},{at + 1}:"
        return ValueError(f"column {at} is text ({cell!r} in line {table.lines[row]}); give --columns {others}")
    hint = (
        "; if this line holds names, give --header and how many such lines there are"
        if row == 0 and table.header is None
        else ""
    )
    return ValueError(f"{where} is {cell!r}, {why_not(cell)}{hint}")


def _paired(names: Sequence[str]) -> tuple[list[int], list[int], tuple[str, ...]] | None:
    """Columns with real and imaginary parts, if the names say so: I,Q or re,im or h1_re,h1_im.

    Raises
    ------
    ValueError
        If they say so of some columns only.
    """
    where = {name.strip().lower(): i for i, name in enumerate(names)}
    partners = {}
    for i, name in enumerate(names):
        partner = REAL_PART.sub(lambda found: IMAGINARY[found[0].lower()], name.strip(), count=1).lower()
        if partner != name.strip().lower() and partner in where:
            partners[i] = where[partner]
    if not partners or len(where) != len(names):
        return None
    rest = sorted(set(range(len(names))) - partners.keys() - set(partners.values()))
    if rest:
        i, j = next(iter(partners.items()))
        raise ValueError(
            f"columns {names[i]!r} and {names[j]!r} look like real and imaginary parts, but there is "
            f"{names[rest[0]]!r} beside them; give --columns with those to take"
        )
    stems = tuple(REAL_PART.sub("", names[i].strip(), count=1).strip("_ -.()[]") for i in partners)
    return list(partners), list(partners.values()), stems


def _even(values: Any) -> bool:
    """Whether at least three numbers go on in equal steps."""
    if len(values) < 3 or (np.iscomplexobj(values) and values.imag.any()):
        return False
    with np.errstate(all="ignore"):
        steps = np.diff(values.real)
        return bool(steps[0] != 0 and np.all(abs(steps - steps.mean()) <= 0.02 * abs(steps.mean())))


def _rises(values: Any) -> bool:
    """Whether the numbers rise, or fall, from each to the next."""
    with np.errstate(all="ignore"):
        steps = np.diff(values.real)
        return bool(len(steps) and ((steps > 0).all() or (steps < 0).all()))


def _counts(values: Any) -> bool:
    """Whether the numbers are 0, 1, 2, ... or 1, 2, 3, ..."""
    return bool(len(values) and values[0] in (0, 1) and np.array_equal(values, values[0] + np.arange(len(values))))


def shown(cells: Any) -> str:
    """The first few cells of a line."""
    return ", ".join(str(cell) for cell in cells[:3]) + (", ..." if len(cells) > 3 else "")
