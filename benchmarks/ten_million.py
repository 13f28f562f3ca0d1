"""10 million signals of 64 samples against 256 atoms by the command line: time, memory, and the same answers.

Signals are sums of at most 8 atoms with a little noise, in a file that is written in parts. `pursuit recover` runs in a
process of its own: alone with all threads, with two workers of one thread each, on a Dask cluster of two such workers,
which this script starts, and alone on a zarr file. The memory of all these processes is looked at every half second.
`seconds` are those of the whole command, its start included, but not that of the cluster; `processor_seconds`, of all
processes, say more where others are at work on the machine.

- `mib_of_process`: the most that the command itself had resident, as `top` shows it;
- `mib_of_a_worker`: the most that another process had;
- `mib_of_all`: the most of all together, each resident size in full, although they share the machine code of torch;
- `mib_of_all_pss`: the same by proportional shares (PSS), which count a page that several processes have only once.

All runs must give the same answer: `largest_difference` is that of coefficients from the first run's, infinite where a
support or a status differs. `control_signals` of them are solved once more in double precision by least squares on the
support that was found: `residual` is the median share of the norm of a signal that is left, `residual_above` how much
more than by least squares, at most, as a share of that norm.

    python benchmarks/ten_million.py results/ten_million.csv           # 8 GB in the folder of temporary files
    python benchmarks/ten_million.py --quick results/ten_million.csv   # 20 000 signals, no cluster, no zarr file
"""

import argparse
import contextlib
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pursuit.files import write_csv

M, N, K, NOISE, SEED = 64, 256, 8, 0.01, 0
SIGNALS, QUICK, PART, CONTROL = 10_000_000, 20_000, 100_000, 10_000
BYTES_OF_A_SIGNAL = 2 * 4 * M + 5 * (8 * K + 5)  # as .npy and .zarr; answers of four runs, and of one in the making
ALONE, WORKERS, CLUSTER = "alone", "--workers", "--scheduler"
RUNS = (("npy", ALONE, 0), ("npy", WORKERS, 2), ("npy", CLUSTER, 2), ("zarr", ALONE, 0))
QUICK_RUNS = (("npy", ALONE, 0), ("npy", WORKERS, 1))
LOCAL_CLUSTER = """
import sys
from distributed import LocalCluster
with LocalCluster(n_workers=int(sys.argv[1]), threads_per_worker=1, dashboard_address=None) as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""  # until standard input is closed
PACKAGES = ("torch", "numpy", "numba", "zarr", "loky", "distributed", "psutil")


def write_signals(folder: Path, signals: int) -> None:
    """Unit atoms `D.npy`, and signals as `Y.npy` and `Y.zarr`, of which no more than a part is in memory."""
    import zarr

    g = np.random.default_rng(SEED)
    D = g.standard_normal((M, N), dtype=np.float32)
    D /= np.linalg.norm(D, axis=0)
    np.save(folder / "D.npy", D)
    chunks = zarr.create_array(
        folder / "Y.zarr", shape=(signals, M), dtype=np.float32, chunks=(min(PART, signals), M), compressors=None
    )
    with (folder / "Y.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (signals, M)}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, signals, PART):
            y = draw(D, min(PART, signals - first), g)
            chunks[first : first + PART] = y
            file.write(y.data)


def draw(D: np.ndarray, signals: int, g: np.random.Generator) -> np.ndarray:
    """Signals of at most K atoms each; where an atom was drawn twice there are fewer."""
    from scipy import sparse

    z = g.standard_normal(signals * K, dtype=np.float32)
    atoms, ends = g.integers(0, N, signals * K, dtype=np.int32), np.arange(0, signals * K + 1, K)
    x = sparse.csr_array((z, atoms, ends), (signals, N))
    return x @ D.T + np.float32(NOISE) * g.standard_normal((signals, M), dtype=np.float32)


def run(command: list[str], folder: Path, how: str, workers: int) -> dict[str, Any]:
    """Run a command: seconds, and the most memory that all processes had."""
    before = processor_seconds()
    if how == CLUSTER:
        with cluster(workers) as (process, address):
            taken = watched([*command, how, address], folder, process)
    else:
        taken = watched([*command, how, str(workers)] if how == WORKERS else command, folder)
    seconds = {"seconds": taken.pop("seconds"), "processor_seconds": processor_seconds() - before}
    return {name: round(v, 1) for name, v in seconds.items()} | {name: round(v) for name, v in taken.items()}


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[tuple[psutil.Process, str]]:
    """A Dask cluster of this machine: its process and the address of its scheduler."""
    command = [sys.executable, "-c", LOCAL_CLUSTER, str(workers)]
    process = psutil.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.communicate()


def watched(command: list[str], folder: Path, *others: psutil.Process) -> dict[str, float]:
    """Run a command: seconds, and the most memory that it, its processes, and others with theirs had."""
    most: dict[str, float] = {}
    begin = time.perf_counter()
    with (folder / "told").open("w") as told:
        own = psutil.Popen(command, cwd=folder, stdout=told, stderr=subprocess.STDOUT)
        while own.poll() is None:
            most = {name: max(value, most.get(name, 0)) for name, value in memory(own, *others).items()} or most
            time.sleep(0.5)
    if own.returncode:
        sys.exit((folder / "told").read_text())
    return {"seconds": time.perf_counter() - begin} | most


def processor_seconds() -> float:
    """Of all processes that this one has started and that have ended, and of those that they had started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory(own: psutil.Process, *others: psutil.Process) -> dict[str, float]:
    """MiB of processes and of those that they started; nothing if one has just ended."""
    try:
        started = [child for process in (own, *others) for child in process.children(recursive=True)]
        full = {process.pid: process.memory_full_info() for process in (own, *others, *started)}
    except psutil.Error:
        return {}
    rss = {pid: of.rss / 2**20 for pid, of in full.items()}
    return {
        "mib_of_process": rss[own.pid],
        "mib_of_a_worker": max((mib for pid, mib in rss.items() if pid != own.pid), default=0),
        "mib_of_all": sum(rss.values()),
        "mib_of_all_pss": sum(of.pss for of in full.values()) / 2**20,
    }


def parts(answer: Path) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Supports, coefficients and states of an answer, some signals at a time."""
    import zarr

    group = zarr.open_group(answer, mode="r")
    for first in range(0, group["status"].shape[0], PART):
        here = slice(first, first + PART)
        yield here, group["support"][here], group["coefficients"][here], group["status"][here]


def difference(answer: Path, other: Path) -> float:
    """The largest of coefficients; infinite if supports or states differ."""
    gaps = [0.0]
    for (_, s, z, state), (_, other_s, other_z, other_state) in zip(parts(answer), parts(other), strict=True):
        same = np.array_equal(s, other_s) and np.array_equal(state, other_state)
        gaps.append(float(np.abs(z - other_z).max()) if same else np.inf)
    return max(gaps)


def control(folder: Path, answer: Path) -> dict[str, Any]:
    """Residuals of some signals beside least squares on their supports, in double precision."""
    import zarr

    D, Y = np.load(folder / "D.npy").astype(float), np.load(folder / "Y.npy", mmap_mode="r")
    group = zarr.open_group(answer, mode="r")
    rows = np.sort(np.random.default_rng(SEED).choice(len(Y), min(CONTROL, len(Y)), replace=False))
    y, support, z = Y[rows].astype(float), group["support"].oindex[rows], group["coefficients"].oindex[rows]
    columns = np.where(support[:, None, :] >= 0, D[:, support].swapaxes(0, 1), 0)  # -1 is no atom
    r = np.linalg.norm(y - (columns @ z[..., None])[..., 0], axis=-1)
    best = (columns @ (np.linalg.pinv(columns) @ y[..., None]))[..., 0]
    norm, least = np.linalg.norm(y, axis=-1), np.linalg.norm(y - best, axis=-1)
    return {
        "control_signals": len(rows), "residual": float(f"{np.median(r / norm):.3g}"),
        "residual_above": float(f"{((r - least) / norm).max():.2g}"),
    }  # fmt: skip


def threads() -> int:
    """Of a process, which torch takes."""
    return int(os.environ.get("OMP_NUM_THREADS", psutil.cpu_count(logical=False) or 1))


def measure(folder: Path, signals: int, runs: tuple[tuple[str, str, int], ...]) -> list[dict[str, Any]]:
    """All runs on the signals of one seed."""
    free = shutil.disk_usage(folder).free
    if free < 1.2 * signals * BYTES_OF_A_SIGNAL:
        sys.exit(f"{folder} has {free / 1e9:.1f} GB left; needed are {1.2e-9 * signals * BYTES_OF_A_SIGNAL:.1f} GB.")
    write_signals(folder, signals)
    rows, first = [], folder / "codes0.zarr"
    for number, (kind, how, workers) in enumerate(runs):
        answer = folder / f"codes{number}.zarr"
        command = f"recover D.npy Y.{kind} -k {K} --method omp --batch 0 -o {answer.name}".split()
        taken = run([sys.executable, "-m", "pursuit", *command], folder, how, workers)
        row = {
            "m": M, "n": N, "k": K, "signals": signals, "dtype": "float32", "method": "omp", "input": kind,
            "how": how, "workers": workers, "threads": 1 if workers else threads(), **taken,
            "signals_per_second": round(signals / taken["seconds"]),
            "mb_of_answer": round(sum(f.stat().st_size for f in answer.rglob("*") if f.is_file()) / 1e6, 1),
            "largest_difference": difference(answer, first), **control(folder, answer),
        }  # fmt: skip
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        rows.append(row)
    return rows


def main() -> None:
    given = argparse.ArgumentParser(description="Time and memory of many signals by the command line.")
    given.add_argument("output", type=Path, nargs="?", help="a .csv file")
    given.add_argument("--quick", action="store_true", help=f"{QUICK} signals and less runs")
    given.add_argument("--signals", type=int, default=SIGNALS, help="how many")
    asked = given.parse_args()
    about = {
        "seed": SEED, "noise": NOISE, "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(), **{name: version(name) for name in PACKAGES},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), *((QUICK, QUICK_RUNS) if asked.quick else (asked.signals, RUNS)))
    if asked.output:
        write_csv(asked.output, [row | about for row in rows])


if __name__ == "__main__":
    main()
