"""How much memory a batch takes: the peak during a call, per signal.

Batches of 64 x 256 with 5 non-zeros and noise, in single precision; every row is measured in a process of its own. `kb`
is the largest memory of the process during the call, less what it had before (matrix, measurements, libraries), and
divided by the number of signals. `kb_answer` is what the arrays of the answer take, without x (1 kB of float32), which
some solvers form only when it is asked for. What grows with the part that is being worked on, and not with the batch,
shows as a `kb` that falls as batches grow. Linux only, which counts this.

    python benchmarks/memory.py results/memory.csv
"""

import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import pursuit
from pursuit.files import write_csv

M, N, K, NOISE, SEED = 64, 256, 5, 0.1, 0
METHODS: dict[str, dict[str, Any]] = {
    "omp": {},
    "cosamp": {},
    "els": {},
    "sea": {"max_steps": 100},
    "sea_plus": {"max_steps": 100},
}
SIZES = (2_000, 20_000, 100_000)
SLOW = ("sea_plus",)  # not at the largest size
FIELDS = ("support", "coefficients", "residual_norm", "steps", "status", "compiled")


def memory(what: str) -> float:
    """kB that the process has (`VmRSS`), or had at most since `forget` (`VmHWM`)."""
    told = Path("/proc/self/status").read_text()
    return float(told.split(f"{what}:")[1].split()[0])


def forget() -> None:
    """Give back what is free, and let the largest memory be that of now."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def measure(method: str, kernels: str, signals: int) -> dict[str, Any]:
    """One call."""
    pursuit.config.kernels = kernels
    g = torch.Generator().manual_seed(SEED)
    A = torch.randn(M, N, generator=g)
    x = torch.zeros(signals, N).scatter(1, torch.rand(signals, N, generator=g).topk(K).indices, 1.0)
    y = x @ A.mT + NOISE * M**0.5 * torch.randn(signals, M, generator=g)
    del x
    pursuit.solve(A, pursuit.rows(y[:100]), method, k=K, **METHODS[method])  # compiles
    forget()
    before, begin = memory("VmRSS"), time.process_time()
    sol = pursuit.solve(A, pursuit.rows(y), method, k=K, **METHODS[method])
    seconds, most = time.process_time() - begin, memory("VmHWM")
    answer = sum(v.numel() * v.element_size() for v in (getattr(sol, name) for name in FIELDS))
    return {
        "m": M, "n": N, "k": K, "noise": NOISE, "dtype": "float32", "method": method, "kernels": kernels,
        "signals": signals, "processor_seconds": round(seconds, 2), "mib_before": round(before / 1024),
        "mib_at_most": round(most / 1024), "kb": round((most - before) * 1.024 / signals, 2),
        "kb_answer": round(answer / 1000 / signals, 2), **METHODS[method],
    }  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
        return
    about = {
        "seed": SEED, "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy", "numba")},
    }  # fmt: skip
    rows = []
    for method in METHODS:
        for kernels in ("auto", "off"):
            for signals in SIZES[: -1 if method in SLOW else None]:
                command = [sys.executable, __file__, "--one", method, kernels, str(signals)]
                row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                print(row, flush=True)
                rows.append(row | about)
    if len(sys.argv) > 1:
        write_csv(Path(sys.argv[1]), rows)


if __name__ == "__main__":
    main()
