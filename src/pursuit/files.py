"""Read and write arrays. Reading cannot run code; files are written completely or not at all."""

from __future__ import annotations

import csv
import io
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = ".npy, .npz (file.npz:key), .mat (file.mat:name) or .csv"


def read_array(spec: str | Path) -> Any:
    """Read an array from a `.npy`, `.npz`, `.mat` or `.csv` file, real or complex.

    Parameters
    ----------
    spec : str
        A path; for files that hold several arrays, `path:name`.

    Returns
    -------
    ndarray of float32, float64, complex64 or complex128, or a SciPy sparse matrix of these

    Raises
    ------
    ValueError
        If the file is missing, cannot be read, has another format, or holds several arrays and no name was given.
    """
    text = str(spec)
    named = re.fullmatch(r"(.+\.(?:npz|mat)):(.+)", text, flags=re.IGNORECASE)
    path, name = (Path(named[1]), named[2]) if named else (Path(text), None)
    readers: dict[str, Callable[[Path, str | None], Any]] = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".mat": _read_mat,
        ".csv": _read_csv,
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise ValueError(f"{text}: files with the ending {suffix!r} cannot be read; needed is {FORMATS}.")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of a {suffix} file.")
    try:
        array = readers[suffix](path, name)
    except (_Unclear, ModuleNotFoundError):
        raise
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as {suffix} ({error}); save it again as {FORMATS}.") from None
    return _numbers(text, array)


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Write an array as `.npy`, `.npz` (key `x`), `.mat` (name `x`) or `.csv`, by the ending of the path."""
    path = Path(path)
    check_writable(path)

    def save(file: Any) -> None:
        if path.suffix.lower() == ".npy":
            np.save(file, array)
        elif path.suffix.lower() == ".npz":
            np.savez(file, x=array)
        elif path.suffix.lower() == ".mat":
            import scipy.io

            scipy.io.savemat(file, {"x": array})
        else:
            rows = np.atleast_2d(array)
            file.write("".join(",".join(_csv(value) for value in row) + "\n" for row in rows).encode())

    write_whole(path, save)


def check_writable(path: str | Path) -> None:
    """Raise ValueError if an array cannot be written to `path`."""
    path = Path(path)
    if path.suffix.lower() not in (".npy", ".npz", ".mat", ".csv"):
        raise ValueError(
            f"{path}: the ending {path.suffix!r} is not one that can be written; use .npy, .npz, .mat or .csv."
        )
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; give the path of a file.")
    output_folder(path.parent)


def output_folder(path: str | Path) -> Path:
    """The folder `path`, which is made if it does not exist; raises ValueError if it cannot be written to."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(f"{path}: cannot be written to ({error.strerror}); choose another output folder.") from None
    return path


def write_whole(path: Path, save: Callable[[Any], None]) -> None:
    """Let `save` write to a temporary file next to `path`, then rename it to `path`."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            save(file)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_csv(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write rows as CSV, by default with a column for every name in any row."""
    names = list(dict.fromkeys(name for row in rows for name in row)) if columns is None else columns
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(path, lambda file: file.write(text.getvalue().encode()))


def environment() -> dict[str, Any]:
    """Versions and machine, to record with every result."""
    import os
    import platform
    from importlib.metadata import version

    import torch

    return {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in ("pursuit", "torch", "numpy")}},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
    }


class _Unclear(ValueError):
    """The file can be read, but it is not clear which array is meant."""


def _read_npy(path: Path, name: str | None) -> Any:
    return np.load(path, allow_pickle=False)


def _read_npz(path: Path, name: str | None) -> Any:
    with np.load(path, allow_pickle=False) as archive:
        if "format" in archive.files and "shape" in archive.files:
            import scipy.sparse

            return scipy.sparse.load_npz(path)
        return archive[_choose(path, name, archive.files)]


def _read_mat(path: Path, name: str | None) -> Any:
    import scipy.io

    try:
        variables = scipy.io.loadmat(path)
    except NotImplementedError:
        raise _Unclear(f"{path}: a MATLAB 7.3 file; save it with save(..., '-v7') or as .npy.") from None
    return variables[_choose(path, name, [key for key in variables if not key.startswith("__")])]


def _read_csv(path: Path, name: str | None) -> Any:
    rows = [line for line in path.read_text().splitlines() if line.strip()]
    if not rows:
        raise ValueError("the file is empty")
    table = [re.split(r"\s*[,;\t]\s*|\s+", row.strip()) for row in rows]
    if not all(_is_number(cell) for cell in table[0]):
        table = table[1:]  # a line of names
    widths = {len(row) for row in table}
    if len(widths) != 1:
        raise ValueError(f"its lines have between {min(widths, default=0)} and {max(widths, default=0)} values")
    cells = [[complex(_python_complex(cell)) for cell in row] for row in table]
    array = np.array(cells)
    if not array.imag.any():
        array = array.real
    return array[:, 0] if array.shape[1] == 1 else array[0] if array.shape[0] == 1 else array


def _python_complex(cell: str) -> str:
    return re.sub(r"(?<=[0-9.])i$", "j", cell.strip("()").replace(" ", ""))


def _is_number(cell: str) -> bool:
    try:
        complex(_python_complex(cell))
    except ValueError:
        return False
    return True


def _csv(value: Any) -> str:
    return str(value).strip("()")


def _choose(path: Path, name: str | None, names: list[str]) -> str:
    listed = ", ".join(names) or "none"
    if name is not None and name not in names:
        raise _Unclear(f"{path}: has no array {name!r}; it has {listed}.")
    if name is None and len(names) != 1:
        raise _Unclear(f"{path}: holds {len(names)} arrays ({listed}); choose one, as {path}:NAME.")
    return names[0] if name is None else name


def _numbers(spec: str, array: Any) -> Any:
    """The array, in one of the four dtypes that the solvers take."""
    dtype = array.dtype
    if dtype.kind in "biu":
        return array.astype(np.float64)
    if dtype.kind not in "fc":
        raise ValueError(f"{spec}: holds values of type {dtype}; needed are real or complex numbers.")
    single = dtype.itemsize <= (4 if dtype.kind == "f" else 8)
    if dtype.kind == "f":
        return array.astype(np.float32 if single else np.float64)
    return array.astype(np.complex64 if single else np.complex128)
