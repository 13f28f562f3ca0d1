"""Sparse answers of many signals: a folder while they are made, and one file in the end.

The folder holds one array per field, in which every batch has its place, so that batches may come in any order and a
run that was stopped goes on where it was. Memory is that of one batch; the rest is on disk, and no map of it is held:
the pages of a map that were read or written count as memory of the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .files import write_whole

SETTINGS, DONE = "settings.json", "done"
FIELDS = ("support", "coefficients", "residual_norm", "status")
SUFFIXES = (".npz", ".zarr", ".npy")
ROWS = 65536  # written at a time


class Codes:
    """The answers of a run, on disk.

    Its fields are `support (signals, k)`, which has column numbers, and -1 where there are fewer; `coefficients
    (signals, k)`; `residual_norm (signals,)`; `status (signals,)`.

    Attributes
    ----------
    folder : Path
    signals, n, k : int
        Number of signals, of unknowns, and of non-zeros at most.
    batch : int
        Signals of a batch; the last may be smaller.
    done : (batches,) bool

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "run"
    >>> codes = Codes.open(folder, {"method": "omp"}, signals=5, n=9, k=2, batch=3, dtype=np.float32)
    >>> codes.missing()
    [(0, 3), (3, 5)]
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.settings = json.loads((folder / SETTINGS).read_text())
        self.signals, self.n, self.k, self.batch = (self.settings[name] for name in ("signals", "n", "k", "batch"))
        self.done = np.load(folder / f"{DONE}.npy")

    @staticmethod
    def batch_of(folder: Path) -> int | None:
        """Signals of a batch of the run that was begun there, or None."""
        settings = folder / SETTINGS
        return json.loads(settings.read_text()).get("batch") if settings.is_file() else None

    @classmethod
    def open(
        cls, folder: Path, asked: dict[str, Any], *, signals: int, n: int, k: int, batch: int, dtype: Any
    ) -> Codes:
        """Begin a run, or go on with it.

        Parameters
        ----------
        folder : Path
        asked : dict
            What decides the answers, as JSON allows: a run goes on if this is the same.
        signals, n, k, batch : int
        dtype : dtype
            Of the coefficients.

        Raises
        ------
        ValueError
            If the folder belongs to another run.
        """
        dtype = np.dtype(dtype)
        settings = {**asked, "signals": signals, "n": n, "k": k, "batch": batch, "dtype": dtype.name}
        if (folder / SETTINGS).is_file():
            codes = cls(folder)
            differ = sorted(name for name in settings if codes.settings.get(name) != settings[name])
            if differ:
                raise ValueError(
                    f"{folder} holds a run with another {', '.join(differ)}; repeat the command with which it was "
                    "begun, or remove the folder."
                )
            return codes
        folder.mkdir(parents=True, exist_ok=True)
        fields: dict[str, tuple[Any, Any]] = {
            "support": ((signals, k), np.int32),
            "coefficients": ((signals, k), dtype),
            "residual_norm": ((signals,), np.empty(0, dtype).real.dtype),
            "status": ((signals,), np.int8),
            DONE: ((-(-signals // batch),), np.bool_),
        }
        files = {folder / f"{name}.npy": field for name, field in fields.items()}
        try:
            for path, (shape, kind) in files.items():
                _create(path, shape, np.dtype(kind))
        except OSError as error:
            for path in files:
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # someone else's files are in it
                folder.rmdir()
            raise OSError(error.errno, error.strerror, str(folder)) from error
        text = (json.dumps(settings, indent=2) + "\n").encode()
        write_whole(folder / SETTINGS, lambda file: file.write(text))  # last: with it the folder is whole
        return cls(folder)

    def missing(self) -> list[tuple[int, int]]:
        """The first and last signals of the batches that are still to be made."""
        starts = self.batch * np.flatnonzero(~self.done)
        return [(int(first), min(int(first) + self.batch, self.signals)) for first in starts]

    def put(self, first: int, last: int, support: Any, coefficients: Any, residual_norm: Any, status: Any) -> None:
        """Take in a batch."""
        for name, values in zip(FIELDS, (support, coefficients, residual_norm, status), strict=True):
            self._store(name, first, last, values)
        batch = first // self.batch
        self._store(DONE, batch, batch + 1, True)  # after the numbers are there
        self.done[batch] = True

    def field(self, name: str) -> np.memmap:
        """A map of a field, for reading; drop it soon."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    def _store(self, name: str, first: int, last: int, values: Any) -> None:
        """Rows of a field, on disk when this returns."""
        field = self.field(name)
        rows = np.ascontiguousarray(values, field.dtype).reshape(last - first, *field.shape[1:])
        with (self.folder / f"{name}.npy").open("r+b") as file:
            file.seek(field.offset + first * field.strides[0])
            file.write(rows.data)
            file.flush()
            os.fsync(file.fileno())

    def parts(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Supports and coefficients, some signals at a time."""
        for first in range(0, self.signals, ROWS):
            here = slice(first, min(first + ROWS, self.signals))
            yield here, np.array(self.field("support")[here]), np.array(self.field("coefficients")[here])

    def write(self, output: Path) -> None:
        """Write the answers as one file, and remove the folder.

        `.npz` is a matrix `(signals, n)` of SciPy, `scipy.sparse.load_npz`; `.npy` is the dense one, with the axes of
        the signals' file; `.zarr` holds the fields `support`, `coefficients`, `residual_norm` and `status`, with n as
        an attribute.
        """
        {".npz": self._npz, ".npy": self._npy, ".zarr": self._zarr}[output.suffix.lower()](output)
        shutil.rmtree(self.folder)

    def _npz(self, output: Path) -> None:
        """As `scipy.sparse.save_npz` writes a `csr_array`, but without having it in memory: 8 bytes a signal are."""
        import zipfile

        counts = np.concatenate([(support >= 0).sum(-1) for _, support, _ in self.parts()] or [np.zeros(0, int)])
        ends = np.concatenate([[0], counts.cumsum()])
        index = np.dtype(np.int32 if ends[-1] < 2**31 else np.int64)  # one kind, else SciPy takes the wider one
        whole = {"format": b"csr", "shape": (self.signals, self.n), "_is_array": True}
        whole["indptr"] = ends.astype(index)
        kinds = (index, self.field("coefficients").dtype)

        def write(file: Any) -> None:
            with zipfile.ZipFile(file, "w") as archive:
                for name, value in whole.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.asanyarray(value), allow_pickle=False)
                for place, (name, dtype) in enumerate(zip(("indices", "data"), kinds, strict=True)):
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        _write_header(member, dtype, (int(ends[-1]),))
                        for part in self._sorted():
                            member.write(part[place].astype(dtype, copy=False).tobytes())

        write_whole(output, write)

    def _sorted(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Columns and values of the non-zeros, row by row, with rising columns, some signals at a time."""
        for _, support, z in self.parts():
            order = np.where(support >= 0, support, self.n).argsort(-1)
            support, z = np.take_along_axis(support, order, -1), np.take_along_axis(z, order, -1)
            yield support[support >= 0], z[support >= 0]

    def _npy(self, output: Path) -> None:
        def write(file: Any) -> None:
            _write_header(file, self.field("coefficients").dtype, (*self.settings.get("shape", [self.signals]), self.n))
            for _, support, z in self.parts():
                for at in range(0, len(z), 4096):  # dense rows take memory
                    s, v = support[at : at + 4096], z[at : at + 4096]
                    x = np.zeros((len(s), self.n + 1), v.dtype)
                    np.put_along_axis(x, np.where(s >= 0, s, self.n), v, -1)
                    file.write(x[:, : self.n].tobytes())

        write_whole(output, write)

    def _zarr(self, output: Path) -> None:
        import zarr

        part = output.with_name(f".{output.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        group = zarr.open_group(part, mode="w")
        group.attrs.update(self.settings)
        for name in FIELDS:
            shape, dtype = self.field(name).shape, self.field(name).dtype
            chunks = (min(ROWS, max(1, self.signals)), *shape[1:])
            target = group.create_array(name, shape=shape, dtype=dtype, chunks=chunks)
            for first in range(0, self.signals, ROWS):
                target[first : first + ROWS] = np.array(self.field(name)[first : first + ROWS])
        part.rename(output)


def _write_header(file: Any, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """What a `.npy` file begins with."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, header)


def _create(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """An array of zeros in a file, whose space is taken now: writing to a map on a full disk ends the process."""
    np.lib.format.open_memmap(path, "w+", dtype, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
