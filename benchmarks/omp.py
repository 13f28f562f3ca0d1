"""OMP and OLS beside SPAMS, scikit-learn and PyLops: microseconds per signal.

SPAMS and ours solve one batch on as many threads; PyLops and scikit-learn's `orthogonal_mp` a few signals of it, one by
one. `held` is `A = pursuit.as_operator(A)`, made once: what is derived from A is kept. All take turns; medians, and the
processor time of all threads, which says more where others are at work. `spams.omp` computes OLS. It returns a sparse
matrix, ours the coefficients on each support; `and its x` forms the dense signals as well.

    pip install spams-bin scikit-learn pylops
    python benchmarks/omp.py results/omp_speed.csv
"""

import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import pursuit
from pursuit.files import write_csv

CASES = [(256, 1024, 32, 2000), (512, 2048, 64, 1000), (8064, 1207, 30, 600), (64, 256, 8, 5000)]  # m, n, k, signals
COMPLEX = (256, 1024, 32, 500)
SEED, NOISE, TURNS, ONE_BY_ONE, REPEATS = 0, 0.01, 5, 3, 30
SHORT, MANY = 0.05, 61  # seconds: calls that take less take this many turns
PAUSE = 0.02  # seconds: threads of OpenMP, which SPAMS has, go on spinning after its end


def draw(m: int, n: int, k: int, signals: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian dictionary with unit columns, and k-sparse Gaussian signals with noise, as rows."""
    g = np.random.default_rng(SEED)

    def normal(*shape: int) -> np.ndarray:
        values = g.standard_normal(shape)
        return values + 1j * g.standard_normal(shape) if np.issubdtype(dtype, np.complexfloating) else values

    A = normal(m, n)
    A /= np.linalg.norm(A, axis=0)
    x = normal(signals, n) * (g.random((signals, n)).argsort(-1) < k)
    return A.astype(dtype), (x @ A.T + NOISE * normal(signals, m)).astype(dtype)


def turns(calls: dict[str, Callable[[], Any]]) -> dict[str, tuple[float, float]]:
    """Median seconds, and of processor time, of calls that take turns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    begin = time.perf_counter()
    for call in calls.values():
        call()
    short = time.perf_counter() - begin < SHORT * len(calls)
    for _ in range(MANY if short else TURNS):
        for name, call in calls.items():
            wall, processor = time.perf_counter(), time.process_time()
            call()
            taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
            time.sleep(PAUSE)
    return {name: (median(w for w, _ in v), median(p for _, p in v)) for name, v in taken.items()}


def batch(m: int, n: int, k: int, signals: int, dtype: Any) -> list[dict[str, Any]]:
    """A batch by SPAMS and by ours; SPAMS has OLS's residual."""
    import spams

    A, y = draw(m, n, k, signals, dtype)
    columns, rows = np.asfortranarray(A), np.asfortranarray(y.T)
    threads = torch.get_num_threads()
    held = pursuit.as_operator(A)
    calls: dict[str, Callable[[], Any]] = {
        "spams": lambda: spams.omp(rows, columns, L=k, eps=0.0, numThreads=threads),
        "omp": lambda: pursuit.omp(A, y, k),
        "omp, and its x": lambda: pursuit.omp(A, y, k).x,
        "omp, held": lambda: pursuit.omp(held, y, k),
        "ols": lambda: pursuit.ols(A, y, k),
        "ols, held": lambda: pursuit.ols(held, y, k),
    }
    theirs = float(np.linalg.norm(y - calls["spams"]().T @ A.T))
    ours = float(np.linalg.norm(y - calls["ols"]().x @ A.T))
    assert ours <= theirs * (1 + 1e-3), "not the same algorithm"
    return rows_of(turns(calls), "spams", signals, m, n, k, dtype)


def single(m: int, n: int, k: int, dtype: Any) -> list[dict[str, Any]]:
    """One signal, by scikit-learn and by ours."""
    from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram

    A, y = draw(m, n, k, 1, dtype)
    held = pursuit.as_operator(A)
    G, c = A.T @ A, (y @ A)[0]
    calls: dict[str, Callable[[], Any]] = {
        "scikit-learn": lambda: orthogonal_mp(A, y[0], n_nonzero_coefs=k, precompute=False),
        "omp": lambda: pursuit.omp(A, y[0], k),
        "ols": lambda: pursuit.ols(A, y[0], k),
        "scikit-learn, held": lambda: orthogonal_mp_gram(G, c, n_nonzero_coefs=k),
        "omp, held": lambda: pursuit.omp(held, y[0], k),
        "ols, held": lambda: pursuit.ols(held, y[0], k),
    }
    pursuit.omp(held, np.repeat(y, n, 0), k)  # a batch, which forms the Gram matrix
    warm = {name: partial(repeated, call) for name, call in calls.items()}
    return rows_of(turns(warm), "scikit-learn", REPEATS, m, n, k, dtype)


def repeated(call: Callable[[], Any]) -> None:
    """One signal after another."""
    for _ in range(REPEATS):
        call()


def complex_numbers(m: int, n: int, k: int, signals: int, dtype: Any) -> list[dict[str, Any]]:
    """Complex numbers, by PyLops one by one and by ours."""
    import pylops

    A, y = draw(m, n, k, signals, dtype)
    operator = pylops.MatrixMult(A, dtype=A.dtype)
    times = turns({"omp": lambda: pursuit.omp(A, y, k), "ols": lambda: pursuit.ols(A, y, k)})
    begin = time.perf_counter(), time.process_time()
    for one in y[:ONE_BY_ONE]:
        pylops.optimization.sparsity.omp(operator, one, niter_outer=k, niter_inner=100, sigma=0.0)
    end = time.perf_counter(), time.process_time()
    times["pylops"] = tuple((b - a) / ONE_BY_ONE * signals for a, b in zip(begin, end, strict=True))
    return rows_of(times, "pylops", signals, m, n, k, dtype)


def rows_of(times: dict[str, Any], base: str, signals: int, m: int, n: int, k: int, dtype: Any) -> list[dict[str, Any]]:
    rows = [
        {
            "m": m, "n": n, "k": k, "signals": signals, "dtype": np.dtype(dtype).name, "method": name,
            "us_per_signal": round(1e6 * wall / signals, 2), "processor_us_per_signal": round(1e6 * own / signals, 2),
            "beside": base, "times_faster": round(times[base][0] / wall, 2),
            "times_faster_by_processor_time": round(times[base][1] / own, 2),
        }
        for name, (wall, own) in times.items()
    ]  # fmt: skip
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return rows


def main() -> None:
    rows = [row for case in CASES for dtype in (np.float32, np.float64) for row in batch(*case, dtype)]
    rows += [row for dtype in (np.float32, np.float64) for row in single(256, 1024, 32, dtype)]
    rows += [row for dtype in (np.complex64, np.complex128) for row in complex_numbers(*COMPLEX, dtype)]
    packages = ("torch", "numpy", "numba", "spams-bin", "scikit-learn", "pylops")
    about = {
        "seed": SEED, "noise": NOISE, "turns": TURNS, "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors", "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }  # fmt: skip
    if len(sys.argv) > 1:
        write_csv(Path(sys.argv[1]), [row | about for row in rows])


if __name__ == "__main__":
    main()
