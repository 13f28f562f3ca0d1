"""Long lists of signals in files, of which some rows are read at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .files.door import refuse_folder
from .files.records import NEEDED, as_complex, complex_dtype
from .files.spec import Spec, parse
from .files.stores import hdf5_array, parquet_columns, zarr_array


class Rows:
    """Signals as rows of a file.

    Attributes
    ----------
    shape : tuple (signals, m)
    dtype : dtype
    names : tuple of str or None
        Of the measurements.
    batch : tuple of int
        The axes of the file's array before that of a signal; signals are counted with the last of them fastest.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: Any,
        read: Callable[[int, int], Any],
        names: tuple[str, ...] | None = None,
        batch: tuple[int, ...] | None = None,
    ):
        self.shape, self.dtype, self._read, self.names = tuple(shape), np.dtype(dtype), read, names
        self.batch = self.shape[:1] if batch is None else batch

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, last, _ = rows.indices(len(self))
        return np.asarray(self._read(first, last))


def open_rows(spec: str, columns: bool = False) -> Rows:
    """Open a file of signals; nothing but its header is read.

    Parameters
    ----------
    spec : str
        `file.npy`, `file.zarr`, `file.zarr:name`, `file.h5:/path` or `file.parquet`.
    columns : bool
        Whether signals are its columns.

    Raises
    ------
    ValueError
        If the file cannot be read in parts, or holds no table of numbers.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "y.npy"
    >>> np.save(path, np.arange(6.0).reshape(3, 2))
    >>> open_rows(str(path))[1:3]
    array([[2., 3.],
           [4., 5.]])
    """
    where = parse(spec)
    path, name = where.path, where.name
    if where.transposed or where.index is not None:
        raise ValueError(f"{spec}: files that are read in parts take no slices and no .T; name a whole array.")
    if not path.exists():
        raise ValueError(f"{path}: no such file; give the path of a {', '.join(OPENERS)} file.")
    refuse_folder(path)
    if path.suffix.lower() not in OPENERS:
        raise ValueError(
            f"{spec}: files with the ending {path.suffix!r} cannot be read in parts; needed is {', '.join(OPENERS)}."
        )
    if path.suffix.lower() == ".parquet":
        if columns:
            raise ValueError(f"{spec}: signals of a .parquet file are its rows; write the table the other way round.")
        return _parquet(where)
    array = OPENERS[path.suffix.lower()](path, name)
    shape = tuple(array.shape)
    kind = complex_dtype(array.dtype) or np.dtype(array.dtype)
    if kind.kind not in "fciub":
        raise ValueError(f"{spec}: holds {array.dtype} of shape {shape}; {NEEDED}.")
    if len(shape) < 2:
        raise ValueError(f"{spec}: holds one signal, of shape {shape}; needed are several: leave out --batch.")
    if columns and len(shape) > 2:
        raise ValueError(
            f"{spec}: holds an array of shape {shape}, whose last axis is that of a signal in batches; needed are two "
            "axes for signals that are columns: write it with the signal's axis last."
        )
    if columns:
        return Rows(shape[::-1], kind, lambda first, last: as_complex(np.asarray(array[:, first:last])).T)
    signals = math.prod(shape[:-1])
    return Rows(
        (signals, shape[-1]), kind, lambda first, last: as_complex(_flat(array, (), shape, first, last)),
        batch=shape[:-1],
    )  # fmt: skip


def _flat(array: Any, at: tuple[int, ...], shape: tuple[int, ...], first: int, last: int) -> np.ndarray:
    """Some of the rows of `array[at]`, of this shape, as if its axes but the last were one; few others are read."""
    if len(shape) == 2:
        return np.asarray(array[(*at, slice(first, last))])
    if first >= last:
        return np.empty((0, shape[-1]), array.dtype)
    inner = math.prod(shape[1:-1])
    begin, end = first // inner, -(-last // inner)
    if inner <= last - first:
        rows = np.asarray(array[(*at, slice(begin, end))]).reshape(-1, shape[-1])
        return rows[first - begin * inner : last - begin * inner]
    parts = [
        _flat(array, (*at, i), shape[1:], max(0, first - i * inner), min(inner, last - i * inner))
        for i in range(begin, end)
    ]
    return np.concatenate(parts)


class _Npy:
    """A `.npy` file, mapped anew for every read: what was read of a map is memory of the process while it lives."""

    def __init__(self, path: Path, name: str | None):
        self.path = path
        self.shape, self.dtype = self._map().shape, self._map().dtype

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.array(self._map()[rows])

    def _map(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r", allow_pickle=False)


def _hdf5(path: Path, name: str | None) -> Any:
    return hdf5_array(Spec(str(path), path, name))


def _zarr(path: Path, name: str | None) -> Any:
    return zarr_array(Spec(str(path), path, name))


def _parquet(where: Spec) -> Rows:
    from pyarrow import parquet, types

    file = parquet.ParquetFile(where.path)
    starts = np.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))])
    schema = file.schema_arrow
    names, _ = parquet_columns(where, schema)
    if lists := [name for name in names if types.is_nested(schema.field(name).type)]:
        raise ValueError(
            f"{where.path}: the column {lists[0]!r} holds {schema.field(lists[0]).type}, which is not read in parts; "
            "write a column per measurement, or a .npy or .zarr file."
        )
    kinds = [np.dtype(float) if types.is_decimal(field.type) else np.dtype(field.type.to_pandas_dtype())
             for field in map(schema.field, names)]  # fmt: skip
    kind = np.result_type(*kinds)

    def read(first: int, last: int) -> np.ndarray:
        groups = [i for i in range(file.num_row_groups) if starts[i] < last and starts[i + 1] > first]
        if not groups:
            return np.empty((0, len(names)), kind)
        table = file.read_row_groups(groups, columns=names)
        part = table.slice(first - int(starts[groups[0]]), last - first)
        for name in names:
            if part[name].null_count:
                raise ValueError(f"{where.path}: the column {name!r} has missing values; fill them, or leave it out.")
        return np.stack([part[name].to_numpy().astype(kind, copy=False) for name in names], -1)

    return Rows((file.metadata.num_rows, len(names)), kind, read, names=tuple(names))


OPENERS: dict[str, Callable[[Path, str | None], Any]] = {
    ".npy": _Npy, ".zarr": _zarr, ".h5": _hdf5, ".hdf5": _hdf5, ".parquet": lambda path, name: None,
}  # fmt: skip
