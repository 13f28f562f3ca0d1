"""The process that reads files with libraries that may crash: `python -m pursuit.files.child JOB`; see `parent.py`."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .cells import DECIMALS, WHOLE, parser
from .records import as_complex
from .spec import Spec, Unclear, choose
from .stores import hdf5_array, parquet_columns, zarr_array


def main(job: dict[str, Any]) -> None:
    """Read the file and write its array to the folder; errors go to standard output."""
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if job["memory"] is not None:
            most = int(job["memory"]) + 2**31  # libraries map more than they use
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    path, folder = Path(job["path"]), Path(job["folder"])
    where = Spec(str(path), path, job["name"])
    readers = {
        ".mat": mat, ".mtx": mtx, ".zarr": zarr_store, ".parquet": parquet, ".xlsx": xlsx, ".xlsm": xlsx,
    }  # fmt: skip
    try:
        warnings.simplefilter("ignore")
        readers.get(path.suffix.lower(), hdf5)(where, folder)
    except Unclear as error:
        _fail("unclear", str(error))
    except ModuleNotFoundError as error:
        _fail("missing", error.name or "a library")
    except MemoryError:
        _fail("memory", "")
    except Exception as error:
        _fail("error", f"{error}" or type(error).__name__)


def _fail(kind: str, message: str) -> NoReturn:
    print(json.dumps({"kind": kind, "message": message}), flush=True)
    sys.exit(1)


def hand_over(folder: Path, array: Any, **about: Any) -> None:
    """Write an array, or a sparse matrix as its parts."""
    if hasattr(array, "tocoo"):
        coo = array.tocoo()
        parts = {"data": coo.data, "row": coo.coords[0], "col": coo.coords[1], "shape": np.array(coo.shape),
                 "format": np.array("coo")}  # fmt: skip
        kind = "sparse"
    else:
        parts, kind = {"array": np.asarray(array)}, "array"
    for name, part in parts.items():
        np.save(folder / f"{name}.npy", part, allow_pickle=False)
    (folder / "about.json").write_text(json.dumps({"kind": kind, **about}))


# MATLAB


def mat(where: Spec, folder: Path) -> None:
    """Variables of a MATLAB file, of any version; `data.A` in a struct, `c{2}` in a cell array, `s(2).A` in both."""
    start = where.path.open("rb").read(512)
    if start.startswith(b"# ") and b"Octave" in start:
        raise Unclear(
            f"{where.path}: is a text file of Octave, not one of MATLAB; save it in Octave with save('-v7', ...)."
        )
    if b"\x89HDF\r\n\x1a\n" in start[:8] or b"MATLAB 7.3" in start:
        matlab_hdf5(where, folder)
        return
    import scipy.io

    found = {name: v for name, v in scipy.io.loadmat(where.path).items() if not name.startswith("__")}
    arrays = {path: array for name, value in found.items() for path, array in _leaves(name, value)}
    hand_over(folder, arrays[choose(where, list(arrays))])


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The arrays of numbers in a variable, by their names as MATLAB writes them."""
    if hasattr(value, "tocoo"):
        yield name, _checked(value)
    elif not isinstance(value, np.ndarray):
        return
    elif value.dtype.names:
        for place, record in zip(_places(value.shape), value.ravel(order="F"), strict=True):
            at = name if value.size == 1 else f"{name}({place})"
            for field in value.dtype.names:
                yield from _leaves(f"{at}.{field}", record[field])
    elif value.dtype == object:
        for place, entry in zip(_places(value.shape), value.ravel(order="F"), strict=True):
            yield from _leaves(f"{name}{{{place}}}", entry)
    elif value.dtype.kind in "biufc":
        yield name, value


def _places(shape: Sequence[int]) -> list[str]:
    """MATLAB's indices of all entries, "2" in a vector and "1,2" in a matrix."""
    if len([s for s in shape if s != 1]) <= 1:
        return [str(i + 1) for i in range(int(np.prod(shape)))]
    return [",".join(str(i + 1) for i in reversed(at)) for at in np.ndindex(*reversed(shape))]


def _checked(matrix: Any) -> Any:
    if matrix.format in ("csr", "csc", "bsr"):
        matrix.check_format(full_check=True)
    return matrix


def matlab_hdf5(where: Spec, folder: Path) -> None:
    """Variables of a MATLAB 7.3 file, which is HDF5 with the axes in reverse order."""
    import h5py

    with h5py.File(where.path, "r") as file:
        arrays = {
            name: node for key, held in file.items() if key != "#refs#" for name, node in _matlab_nodes(file, key, held)
        }
        node = arrays[choose(where, list(arrays))]
        if isinstance(node, h5py.Group):
            ir, jc = (node[key][()] if key in node else np.zeros(0, int) for key in ("ir", "jc"))
            import scipy.sparse

            data = as_complex(node["data"][()]) if "data" in node else np.zeros(0)
            shape = (int(node.attrs["MATLAB_sparse"]), len(jc) - 1)
            hand_over(folder, _checked(scipy.sparse.csc_array((data, ir, jc), shape=shape)))
            return
        empty = node.attrs.get("MATLAB_empty", 0)
        hand_over(folder, np.zeros(node[()].astype(int)) if empty else as_complex(node[()]).T)


def _matlab_nodes(file: Any, name: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Numeric arrays below a node of the file, by their names as MATLAB writes them."""
    import h5py

    if isinstance(node, h5py.Group):
        if "MATLAB_sparse" in node.attrs:
            yield name, node
            return
        for key, held in node.items():
            yield from _matlab_nodes(file, f"{name}.{key}", held)
    elif node.dtype == h5py.ref_dtype:
        struct = node.attrs.get("MATLAB_class", b"cell") != b"cell"
        for place, reference in zip(_places(node.shape[::-1]), node[()].ravel(), strict=True):
            mark = f"({place})" if struct else f"{{{place}}}"
            yield from _matlab_nodes(file, name + mark, file[reference])
    elif node.attrs.get("MATLAB_class", b"double") not in (b"char", b"function_handle"):
        yield name, node


# Other formats


def hdf5(where: Spec, folder: Path) -> None:
    """A dataset of an HDF5 file."""
    hand_over(folder, as_complex(hdf5_array(where)[()]))


def zarr_store(where: Spec, folder: Path) -> None:
    """An array of a zarr store."""
    hand_over(folder, as_complex(zarr_array(where)[...]))


def mtx(where: Spec, folder: Path) -> None:
    """A Matrix Market file, sparse or dense."""
    import scipy.io

    hand_over(folder, scipy.io.mmread(where.path))


def parquet(where: Spec, folder: Path) -> None:
    """The columns of numbers of a table; a column of lists of equal lengths is a matrix."""
    import pyarrow
    from pyarrow import parquet as reader

    table = reader.read_table(where.path, columns=None)
    names, index = parquet_columns(where, table.schema)
    notes = [f"{name} as index" for name in index]
    labels = _labels(table, index)
    lists = [name for name in names if pyarrow.types.is_nested(table.schema.field(name).type)]
    for name in names:
        if table.column(name).null_count:
            raise Unclear(f"{where.path}: the column {name!r} has missing values; fill them, or take another column.")
    if lists and len(names) > 1:
        choose(where, names)
    if lists:
        rows = table.column(lists[0]).to_pylist()
        if len({len(row) for row in rows}) != 1:
            raise Unclear(f"{where.path}: the lists in column {lists[0]!r} have different lengths; needed is a matrix.")
        hand_over(folder, np.array(rows), notes=notes, labels=labels)
        return
    columns = [table.column(name).to_numpy() for name in names]
    columns = [column.astype(float) if column.dtype == object else column for column in columns]
    hand_over(folder, np.stack(columns, axis=1), names=names, notes=notes, labels=labels)


def _labels(table: Any, index: list[str]) -> list[float | str] | None:
    """What stands in the index of a table, if it is one column."""
    if len(index) != 1:
        return None
    return [v if isinstance(v, int | float) else str(v) for v in table.column(index[0]).to_pylist()]


def xlsx(where: Spec, folder: Path) -> None:
    """The cells of a sheet as text."""
    import openpyxl

    book = openpyxl.load_workbook(where.path, read_only=True, data_only=True)
    formulas = openpyxl.load_workbook(where.path, read_only=True)
    names = [sheet.title for sheet in book.worksheets]
    if where.name is None and len(names) > 1:  # notes are no array
        names = [name for name in names if _has_number(formulas[name])] or names
    sheet = book[choose(where, names)]
    _refuse_unknown(where, sheet, formulas[sheet.title])
    cells = [[_cell(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    while cells and not any(cells[-1]):
        cells.pop()
    width = max((len(row) for row in cells), default=0)
    if not width:
        raise Unclear(f"{where.path}: the sheet {sheet.title!r} is empty.")
    padded = [row + [""] * (width - len(row)) for row in cells]
    (folder / "about.json").write_text(json.dumps({"kind": "table", "cells": padded}))


def _has_number(sheet: Any) -> bool:
    """Whether a cell holds a number, as such or as text, or a formula."""
    parses = [parser(mark) for mark in DECIMALS]
    cells = (cell for row in sheet.iter_rows() for cell in row if cell.value is not None)
    return any(
        cell.data_type in ("n", "f") or any(parse(str(cell.value)).kind <= WHOLE for parse in parses) for cell in cells
    )


def _refuse_unknown(where: Spec, sheet: Any, formulas: Any) -> None:
    """Raise `Unclear` if a formula has no stored value, as where no spreadsheet has calculated it."""
    for row, written in zip(sheet.iter_rows(), formulas.iter_rows(), strict=False):
        for cell, formula in zip(row, written, strict=False):
            if formula.data_type == "f" and cell.value is None and cell.data_type == "n":  # text may be empty
                text = formula.value if isinstance(formula.value, str) else "a formula of several cells"
                raise Unclear(
                    f"{where.path}: the cell {formula.coordinate} of the sheet {sheet.title!r} is {text[:40]}, and its "
                    "value is not stored; open the file in Excel or LibreOffice and save it, or write numbers."
                )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float | str):
        return re.sub(r"\.0$", "", repr(value)) if isinstance(value, float) else str(value)
    return str(value.isoformat(sep=" ") if hasattr(value, "hour") and hasattr(value, "year") else value)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
