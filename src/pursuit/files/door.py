"""The one door for files: from what a user writes to the readings that the file allows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..labels import label
from . import formats, parent, tables, text
from .checks import enough_memory
from .records import as_complex
from .spec import Spec, Unclear, parse
from .tables import Asked, Reading

NOTHING_SAID = Asked()
TEXT = (".csv", ".tsv", ".txt", ".dat", ".asc", ".prn", ".tab")
FOREIGN = (".mat", ".h5", ".hdf5", ".hdf", ".he5", ".nc", ".zarr", ".mtx", ".parquet", ".xlsx", ".xlsm")
READERS: dict[str, Callable[[Spec], Reading | text.Cells]] = {
    ".npy": formats.npy, ".npz": formats.npz, ".pt": formats.torch_file, ".pth": formats.torch_file,
    ".safetensors": formats.safetensors, **dict.fromkeys(FOREIGN, parent.read),
}  # fmt: skip
RAW = (".iq", ".bin", ".raw", ".cfile", ".cf32", ".cs16", ".fc32", ".dat")
FORMATS = (
    ".npy, .npz (file.npz:key), .mat (file.mat:name), .csv or another text table, .h5 (file.h5:/path), .zarr, .mtx, "
    ".parquet, .xlsx or .pt"
)


def readings(spec: str | Path, asked: Asked = NOTHING_SAID) -> list[Reading]:
    """All ways in which a file can be read as an array; one, unless a table leaves a question.

    Parameters
    ----------
    spec : str
        A path; for files that hold several arrays `path:name`; with a slice, as `path:name[:, 3:]`; and with `.T` for
        the transpose.
    asked : Asked
        What the user said about a table.

    Raises
    ------
    ValueError
        If the file is missing, damaged or not clear; the message is one sentence that says what to do.
    """
    where = parse(str(spec))
    suffix = _suffix(where.path)
    refuse_folder(where.path)
    if kind_of(str(spec)) == "other" and asked.dtype is None:
        raise ValueError(f"{spec}: files with the ending {suffix!r} cannot be read; needed is {FORMATS}.")
    if not where.path.exists():
        raise ValueError(f"{where.path}: no such file; give the path of a {suffix} file.")
    try:
        found = _read(where, suffix, asked)
        return [_part(where, one) for one in found]
    except (Unclear, ModuleNotFoundError, MemoryError):
        raise
    except ValueError as error:
        raise ValueError(f"{where.path}: cannot be read as {suffix}: {_sentence(error)}") from None
    except Exception as error:
        raise ValueError(
            f"{where.path}: cannot be read as {suffix} ({_sentence(error)}); is it damaged? Save it again as {FORMATS}."
        ) from None


def refuse_folder(path: Path) -> None:
    """Raise ValueError for a folder that is no zarr store."""
    if path.is_dir() and _suffix(path) != ".zarr":
        known = _suffix(path) in READERS or _suffix(path) in (*TEXT, *RAW)
        wanted = f"a {_suffix(path)} file" if known else "a file in it"
        raise ValueError(f"{path}: is a folder; give the path of {wanted}.")


def _part(where: Spec, whole: Reading) -> Reading:
    """The part of a reading that is asked for, with the labels of its lines and the names of its columns."""
    labels, names = where.cut_labels(whole.labels, whole.names)
    return replace(
        whole,
        array=_numbers(where, where.cut(whole.array)),
        labels=labels,
        names=None if names is None else tuple(map(label, names)),
    )


def read_array(spec: str | Path, asked: Asked = NOTHING_SAID) -> Any:
    """Read an array from a file; a table with one line or one column is a vector.

    Parameters
    ----------
    spec, asked
        As in `readings`.

    Returns
    -------
    ndarray of float32, float64, complex64 or complex128, or a SciPy sparse matrix of these

    Raises
    ------
    ValueError
        If the file is missing, cannot be read, or leaves a question.
    """
    return as_vector(only(str(spec), readings(spec, asked)))


def as_vector(reading: Reading) -> Any:
    """The array of a reading; a table with one line or one column is a vector."""
    array = reading.array
    return array.ravel() if reading.flat and 1 in array.shape else array


def only(spec: str, found: Sequence[Reading]) -> Reading:
    """The reading that is meant.

    Raises
    ------
    ValueError
        If several are possible and the file speaks for none; the message names the option that settles it.
    """
    sure = [one for one in found if one.sure]
    kept = sure or list(found)
    if len(kept) == 1 or all(_same(kept[0], one) for one in kept[1:]):
        return kept[0]
    doubts = list(dict.fromkeys(doubt for one in kept for doubt in one.doubts))
    raise ValueError(f"{spec}: {'; '.join(doubts)}.")


def _same(a: Reading, b: Reading) -> bool:
    return a.array.shape == b.array.shape and np.array_equal(a.array, b.array)


def kind_of(spec: str) -> str:
    """What the options for tables and for bare numbers are asked of: "table", "bare numbers", "array" or "other"."""
    path = parse(spec).path
    suffix = _suffix(path)
    if suffix in RAW and not (suffix in TEXT and _is_text(path)):
        return "bare numbers"
    if suffix in TEXT or suffix in (".xlsx", ".xlsm"):
        return "table"
    return "array" if suffix in READERS else "other"


def _is_text(path: Path) -> bool:
    """Whether a file that may hold bare numbers holds text."""
    if not path.is_file():
        return True
    with path.open("rb") as file:
        start = file.read(4096)
    return not re.search(rb"[^\x09\x0a\x0d\x20-\x7e]", start)


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _read(where: Spec, suffix: str, asked: Asked) -> list[Reading]:
    kind = kind_of(where.text)
    if kind == "bare numbers" or (kind == "other" and asked.dtype is not None):
        return [Reading(formats.raw(where.path, asked.dtype))]
    if kind == "table" and suffix not in READERS:
        return _table(where.path, asked)
    found = READERS[suffix](where)
    return tables.readings(found, asked) if isinstance(found, text.Cells) else [found]


def _table(path: Path, asked: Asked) -> list[Reading]:
    """The readings of a text, over all separators and decimal marks with which it is a table of numbers."""
    if asked.decimal not in (None, ".", ","):
        raise ValueError(f"--decimal is {asked.decimal!r}; give . or ,")
    shares = [(tables.share_of_text(cells), cells) for cells in text.tables(path, asked.decimal)]
    shares.sort(key=lambda pair: pair[0])
    hopeful = [cells for share, cells in shares if share < 0.5]
    found, errors = [], []
    for cells in hopeful or [shares[0][1]]:
        try:
            found.append((cells, tables.readings(cells, asked)))
        except ValueError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return _distinct(found)


def _distinct(found: Sequence[tuple[text.Cells, list[Reading]]]) -> list[Reading]:
    """The readings of all separators and marks that differ, with the question between them."""
    if len(found) == 1:
        return found[0][1]
    kept: list[tuple[text.Cells, list[Reading]]] = []
    for cells, some in [pair for pair in found if not _unlikely(pair[0])] or found:
        if not any(_same(some[0], other[0]) for _, other in kept):
            kept.append((cells, some))
    if len(kept) == 1:
        return kept[0][1]
    cells = kept[0][0]
    ways = "; or ".join(_way(one, some[0].array.shape[1]) for one, some in kept)
    settles = "give --decimal" if len({one.decimal for one, _ in kept}) > 1 else "write it with commas between columns"
    doubt = (
        f"line {cells.lines[-1]} ({tables.shown(cells.cells[-1])}) can be read in {len(kept)} ways: {ways}; {settles}"
    )
    return [replace(one, sure=False, doubts=(*one.doubts, doubt)) for _, some in kept for one in some]


def _way(cells: text.Cells, width: int) -> str:
    columns = "one column" if width == 1 else f"{width} columns between {cells.separator}"
    return f"{columns}, decimal mark {cells.decimal!r}"


def _unlikely(cells: text.Cells) -> bool:
    """Whether no program would have written the numbers so: 0123 is what stands behind a decimal comma."""
    if any(re.fullmatch(r"[-+]?0\d+", cell.strip()) for row in cells.cells for cell in row):
        return True
    return cells.separator in ("nothing", "spaces") and "," in cells.cells[0, 0] and bool(tables.text_lines(cells, 1))


def _sentence(error: BaseException) -> str:
    """The first line of an error, with a point at its end only."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def _numbers(where: Spec, array: Any) -> Any:
    """The array, in one of the four dtypes that the solvers take; a memory map of one of them stays one."""
    dtype = array.dtype
    if dtype.names is not None:
        try:
            return as_complex(array)
        except ValueError as error:
            raise Unclear(f"{where.text}: {error}.") from None
    if dtype.kind not in "biufc":
        raise Unclear(f"{where.text}: holds values of type {dtype}; needed are real or complex numbers.")
    single = dtype.itemsize <= (4 if dtype.kind == "f" else 8) and dtype.kind in "fc"
    wanted = np.dtype((np.complex64 if single else np.complex128) if dtype.kind == "c" else
                      (np.float32 if single else np.float64))  # fmt: skip
    if dtype == wanted:
        return array
    enough_memory(where.text, float(wanted.itemsize) * (array.nnz if hasattr(array, "nnz") else array.size))
    return array.astype(wanted)
