"""Long lists of signals in files, of which some rows are read at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .files.spec import Spec, parse
from .files.stores import hdf5_array, zarr_array


class Rows:
    """Signals as rows of a file.

    Attributes
    ----------
    shape : tuple (signals, m)
    dtype : dtype
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, read: Callable[[int, int], Any]):
        self.shape, self.dtype, self._read = tuple(shape), np.dtype(dtype), read

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
    if path.suffix.lower() not in OPENERS:
        raise ValueError(
            f"{spec}: files with the ending {path.suffix!r} cannot be read in parts; needed is {', '.join(OPENERS)}."
        )
    if path.suffix.lower() == ".parquet":
        if columns:
            raise ValueError(f"{spec}: signals of a .parquet file are its rows; write the table the other way round.")
        return _parquet(path)
    array = OPENERS[path.suffix.lower()](path, name)
    if len(array.shape) != 2 or np.dtype(array.dtype).kind not in "fciub":
        raise ValueError(
            f"{spec}: holds {array.dtype} of shape {tuple(array.shape)}; needed are numbers of two axes, one signal "
            "per row or column."
        )
    if columns:
        return Rows(array.shape[::-1], array.dtype, lambda first, last: np.asarray(array[:, first:last]).T)
    return Rows(array.shape, array.dtype, lambda first, last: array[first:last])


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


def _parquet(path: Path) -> Rows:
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    starts = np.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))])
    names = file.schema_arrow.names

    def read(first: int, last: int) -> np.ndarray:
        groups = [i for i in range(file.num_row_groups) if starts[i] < last and starts[i + 1] > first]
        if not groups:
            return np.empty((0, len(names)))
        table = file.read_row_groups(groups)
        part = table.slice(first - int(starts[groups[0]]), last - first)
        return np.stack([part[name].to_numpy() for name in names], -1)

    kinds = {np.dtype(field.type.to_pandas_dtype()) for field in file.schema_arrow}
    if any(kind.kind not in "fciub" for kind in kinds):
        raise ValueError(f"{path}: has columns that are no numbers; leave them out.")
    return Rows((file.metadata.num_rows, len(names)), np.result_type(*kinds), read)


OPENERS: dict[str, Callable[[Path, str | None], Any]] = {
    ".npy": _Npy, ".zarr": _zarr, ".h5": _hdf5, ".hdf5": _hdf5, ".parquet": lambda path, name: None,
}  # fmt: skip
