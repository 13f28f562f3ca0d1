"""Signals of a file, a batch at a time, on this machine or a cluster: what `pursuit recover --batch` does."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from .codes import SUFFIXES, Codes
from .core.layout import rows_for_sure
from .engines import Engine, in_process
from .files import only, read_array, readings
from .files.alike import check_measurements
from .files.spec import short
from .signal_files import Rows, open_rows
from .solvers.batches import held, size_that_fits, widened
from .solvers.by_name import solve, solver_of_k


class Task(NamedTuple):
    """A batch, by the names of its files, so that any process can solve it."""

    A: str
    y: str
    columns: bool
    dtype: str
    method: str
    options: tuple[tuple[str, Any], ...]
    first: int
    last: int
    threads: int


class Batch(NamedTuple):
    """The answers of a batch."""

    first: int
    last: int
    support: np.ndarray
    coefficients: np.ndarray
    residual_norm: np.ndarray
    status: np.ndarray


def recover_file(
    A: str,
    y: str,
    output: Path,
    method: str = "omp",
    *,
    k: int,
    columns: bool = False,
    batch_size: int | None = None,
    run: Engine[Task, Batch] = in_process,
    threads: int | None = None,
    on_progress: Callable[[int, int], Any] | None = None,
    **options: Any,
) -> dict[int, int]:
    """Recover all signals of a file into another one. A run that was stopped goes on where it was.

    Parameters
    ----------
    A : str
        File of the matrix.
    y : str
        File of the measurements, read in parts: see `pursuit.signal_files.open_rows`.
    output : Path
        `.npz`, `.npy` or `.zarr`: see `Codes.write`. Signals on several axes become rows of `.npz` and
        `.zarr`. While the run lasts its answers are in a folder beside it.
    method : str
        A solver that takes k, or `module:function`.
    k : int
        Non-zeros of a signal, at most.
    columns : bool
        Whether the signals are the columns of the file.
    batch_size : int, optional
        Signals at a time. Default: those of the run that goes on; of a new one as many as have 32 MiB of
        measurements, 65536 at most, and fewer where these, with dense answers, take over a quarter of the free memory.
    run : engine
        This process, or workers: see `pursuit.engines`.
    threads : int, optional
        Of each process; default: as many as torch has here, and one of a worker.
    on_progress : callable, optional
        Called with the number of signals that are done, and of all.
    **options
        Of the solver.

    Returns
    -------
    dict
        Code of `Status` -> how many signals have it.

    Raises
    ------
    ValueError
        If a file or an option is wrong; the solver's own checks see the first signals before the run begins.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{output}: batches are written to {', '.join(SUFFIXES)}; give a name with one of these.")
    if output.is_dir():
        raise ValueError(f"{output}: exists and is a folder; remove it, or give another name.")
    signals = open_rows(y, columns)
    given = only(A, readings(A))
    if signals.names is not None and given.array.shape[0] == signals.shape[1]:
        check_measurements(A, given.labels, y, None, signals.names, down=False, told=False)
    dtype = np.dtype(np.result_type(given.array.dtype, signals.dtype, np.float32)).name  # complex if one of them is
    A_there, y_there = (os.path.join(os.getcwd(), spec) for spec in (A, y))  # workers may be in another folder
    own = ":" in method
    matrix = _matrix(A_there, dtype, own)
    m, n = matrix.shape
    if signals.shape[1] != m:
        raise ValueError(
            f"{y} holds signals of {signals.shape[1]} measurements but A has m={m} rows; needed is (signals, {m}), or "
            f"--layout columns and ({m}, signals)."
        )
    solver_of_k(method)
    with rows_for_sure():
        solve(matrix, _finite(y, signals, 0, 1, columns, dtype), method, k=k, **options)  # errors before the work
    asked = {"A": _fingerprint(A), "y": _fingerprint(y), "columns": columns, "method": method, "options": options}
    if len(signals.batch) > 1:
        asked["shape"] = list(signals.batch)
    folder = output.with_name(f"{output.name}.part")
    size = batch_size or Codes.batch_of(folder) or size_that_fits(m, n, np.dtype(dtype).itemsize)
    codes = Codes.open(folder, asked, signals=len(signals), n=n, k=k, batch=size, dtype=dtype)
    missing = codes.missing()
    done = codes.signals - sum(last - first for first, last in missing)
    with_k = tuple(sorted({"k": k, **options}.items()))
    count = threads or torch.get_num_threads()
    tasks = [Task(A_there, y_there, columns, dtype, method, with_k, first, last, count) for first, last in missing]
    if on_progress is not None:
        on_progress(done, codes.signals)
    for found in run(solve_batch, tasks):
        codes.put(*found)
        done += found.last - found.first
        if on_progress is not None:
            on_progress(done, codes.signals)
    statuses, counts = np.unique(codes.field("status"), return_counts=True)
    codes.write(output)
    return dict(zip(statuses.tolist(), counts.tolist(), strict=True))


def solve_batch(task: Task) -> Batch:
    """Solve one batch."""
    torch.set_num_threads(task.threads)
    y = _finite(task.y, _rows(task.y, task.columns), task.first, task.last, task.columns, task.dtype)
    options = dict(task.options)
    with rows_for_sure():  # signals are rows, also in a batch of as many as there are measurements
        s = solve(_matrix(task.A, task.dtype, ":" in task.method), y, task.method, **options)
    support, z = (widened(v, options["k"]) for v in (s.support, s.coefficients))
    return Batch(task.first, task.last, support.astype(np.int32), z, s.residual_norm, s.status.astype(np.int8))


def _finite(file: str, rows: Rows, first: int, last: int, columns: bool, dtype: str) -> np.ndarray:
    """Some signals; raises ValueError, with the place in the file, where a number is none."""
    y = np.asarray(rows[first:last], dtype)
    bad = ~np.isfinite(y)
    if not bad.any():
        return y
    signal, measurement = (int(i) for i in np.argwhere(bad)[0])
    place = (*(int(i) for i in np.unravel_index(first + signal, rows.batch)), measurement)
    raise ValueError(
        f"{short(file)}: the entry at {place[::-1] if columns else place} is NaN or infinite; needed is a "
        "number everywhere: remove or fill it."
    )


@functools.lru_cache(maxsize=1)
def _matrix(A: str, dtype: str, own: bool) -> Any:
    """What is derived from A is kept for all batches of a process; the user's own solver gets the array itself."""
    array = read_array(A).astype(dtype)
    return array if own else held(array)


@functools.lru_cache(maxsize=1)
def _rows(y: str, columns: bool) -> Rows:
    return open_rows(y, columns)


def _fingerprint(path: str) -> str:
    """Name, size and time of a file: what tells that it is another."""
    where = Path(path.rpartition(":")[0] if not Path(path).exists() else path)
    about = where.stat()
    return hashlib.sha256(f"{where.resolve()}{path}{about.st_size}{about.st_mtime_ns}".encode()).hexdigest()[:16]
