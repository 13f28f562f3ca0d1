"""Writing: a file is written completely or not at all."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .spec import parse
from .temporary import clean, temporary_path


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Write an array as `.npy`, `.npz` (key `x`), `.mat` (name `x`) or `.csv`, by the ending of the path."""
    path = Path(path)
    check_writable(path)
    output_folder(path.parent)

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
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Raise ValueError if no files can be written to the folder, or it cannot be made: it is, when there are some."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    _try_writing(folder, there)


def _try_writing(folder: Path, there: Path) -> None:
    """Raise ValueError for the output folder if no file can be written to the folder `there`."""
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(f"{folder}: cannot be written to ({error.strerror}); choose another output folder.") from None


def check_no_input(output: str | Path, **specs: str | None) -> None:
    """Raise ValueError if the output is a file that an input is read from, which it would replace."""
    for name, spec in specs.items():
        if spec is None or not Path(output).exists():
            continue
        path = parse(spec).path
        if path.exists() and path.samefile(output):
            raise ValueError(f"{output}: is where {name} is read from, and would be replaced; choose another output.")


def output_folder(path: str | Path) -> Path:
    """The folder `path`, which is made if it does not exist; raises ValueError if it cannot be written to.

    Temporary files that killed processes have left there are removed.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written to ({error.strerror}); choose another output folder.") from None
    _try_writing(path, path)
    clean(path)
    return path


def plain_name(name: str) -> bool:
    """Whether a name that was read from a file can name one: it is no path, and leads to no other folder."""
    return re.fullmatch(r"\w[\w.-]{0,99}", name) is not None


def write_whole(path: Path, save: Callable[[Any], None]) -> None:
    """Let `save` write to a temporary file next to `path`, then rename it to `path`."""
    temporary = temporary_path(path.parent)
    try:
        with temporary.open("xb") as file:
            save(file)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):  # name the one that the user knows
            # NumPy, where not all was written, says how much: "240000 requested and 35824 written".
            full = error.errno is None and "requested" in str(error)
            code = errno.ENOSPC if full else error.errno or errno.EIO
            raise OSError(code, os.strerror(code) if full else error.strerror or str(error), str(path)) from error
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
    import platform
    from importlib.metadata import version

    import torch

    return {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in ("pursuit", "torch", "numpy")}},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
    }


def _csv(value: Any) -> str:
    return str(value).strip("()")
