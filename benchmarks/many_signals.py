"""200 000 signals of 512 samples against 4096 unit atoms: time, memory, and how soon Ctrl-C ends it.

OMP and OLS with 32 atoms in single precision, each in a process of its own. Memory is the largest that the process had,
measurements, dictionary and imports included; `before` is what it had before the call.

    python benchmarks/many_signals.py results/many_signals.csv
"""

import json
import os
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pursuit
from pursuit.files import write_csv

M, N, K, SEED, INTERRUPT_AFTER = 512, 4096, 32, 0, 3.0  # seconds
SIZES = (50_000, 200_000)


def draw(signals: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit atoms, and measurements of K-sparse signals with a little noise."""
    g = np.random.default_rng(SEED)
    A = g.standard_normal((M, N), dtype=np.float32)
    A /= np.linalg.norm(A, axis=0)
    y = np.empty((signals, M), np.float32)
    for i in range(signals):
        y[i] = A[:, g.choice(N, K, replace=False)] @ g.standard_normal(K, dtype=np.float32)
    y += 0.01 * g.standard_normal((signals, M), dtype=np.float32)
    return A, y


def peak() -> float:
    """GiB that the process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(method: str, signals: int) -> dict[str, Any]:
    """One call, and one that is interrupted."""
    A, y = draw(signals)
    solve = getattr(pursuit, method)
    solve(A, y[:100], K)  # compiles
    before = peak()
    begin = time.perf_counter()
    sol = solve(A, y, K)
    seconds = time.perf_counter() - begin
    row = {
        "m": M, "n": N, "k": K, "signals": signals, "dtype": "float32", "method": method, "seconds": round(seconds, 1),
        "us_per_signal": round(1e6 * seconds / signals, 1), "gib_before": round(before, 2),
        "gib_at_most": round(peak(), 2), "compiled": float(sol.compiled.mean()),
    }  # fmt: skip
    threading.Timer(INTERRUPT_AFTER, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    begin = time.perf_counter()
    try:
        solve(A, y, K)
    except KeyboardInterrupt:
        row["seconds_from_ctrl_c_to_end"] = round(time.perf_counter() - begin - INTERRUPT_AFTER, 2)
    return row


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))))
        return
    about = {
        "seed": SEED, "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy", "numba")},
    }  # fmt: skip
    rows = []
    for signals in SIZES:
        for method in ("omp", "ols"):
            command = [sys.executable, __file__, "--one", method, str(signals)]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(row, flush=True)
            rows.append(row | about)
    if len(sys.argv) > 1:
        write_csv(Path(sys.argv[1]), rows)


if __name__ == "__main__":
    main()
