"""SEA and ELS on deconvolution beside plain NumPy: seconds per signal.

The setting of the issue: n = 500, circular, coherence 0.97, k = 20, noiseless. Plain SEA solves a least squares per
support by `numpy.linalg.lstsq`, and plain ELS one per swap; a few signals of the batch do for them, and as many swaps
of the first round as take a second or two. Ours solve the batch. All take turns; medians.

    python benchmarks/sea.py results/sea_speed.csv
"""

import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

import pursuit
from pursuit.files import write_csv
from pursuit.problems import deconvolution

SIGNALS, STEPS, TURNS, PLAIN_STEPS, PLAIN_SWAPS = 200, 1000, 5, 200, 500


def plain_sea(A: np.ndarray, y: np.ndarray, k: int, eta: float, steps: int) -> float:
    """The algorithm box, for one signal; returns the least residual."""
    X, best = np.zeros(A.shape[1]), np.inf
    for _ in range(steps):
        S = np.argsort(-np.abs(X), kind="stable")[:k]
        z = np.linalg.lstsq(A[:, S], y, rcond=None)[0]
        r = y - A[:, S] @ z
        best = min(best, float(np.linalg.norm(r)))
        g = A.T @ r
        g[S] = 0
        X += eta * g
    return best


def plain_swaps(A: np.ndarray, y: np.ndarray, support: list[int], swaps: int) -> int:
    """So many full refits of a round of ELS; returns how many the round has."""
    others = [j for j in range(A.shape[1]) if j not in support]
    pairs = [(i, j) for i in range(len(support)) for j in others]
    for i, j in pairs[:: len(pairs) // swaps][:swaps]:
        S = [*support[:i], *support[i + 1 :], j]
        np.linalg.lstsq(A[:, S], y, rcond=None)
    return len(pairs)


def timed(function, *arguments, **options):
    """The result, and the seconds that it took."""
    begin = time.perf_counter()
    return function(*arguments, **options), time.perf_counter() - begin


def main() -> None:
    case = deconvolution(signals=SIGNALS)
    A = case.A.to_dense()
    matrix, y = A.numpy(), case.y.numpy()
    eta = 1.8 / np.linalg.norm(matrix, 2) ** 2
    pursuit.sea_plus(A, case.y[:2], case.k, max_steps=2)  # compiles
    start = pursuit.omp(A, case.y, case.k)
    seconds: dict[str, list[float]] = {}
    for turn in range(TURNS):
        _, plain = timed(plain_sea, matrix, y[turn], case.k, eta, PLAIN_STEPS)
        sol, ours = timed(pursuit.sea, A, case.y, case.k, max_steps=STEPS)
        _, plus = timed(pursuit.sea_plus, A, case.y, case.k, max_steps=STEPS)
        better, els = timed(pursuit.els, A, case.y, case.k, x0=start.x)
        pairs, some = timed(plain_swaps, matrix, y[turn], start.support[turn].tolist(), PLAIN_SWAPS)
        rounds = float((better.steps + 1).double().mean())  # the last one finds nothing
        for name, value in {
            "plain SEA": plain * STEPS / PLAIN_STEPS,
            "sea": ours / SIGNALS,
            "sea_plus": plus / SIGNALS,
            "plain ELS": some / PLAIN_SWAPS * pairs * rounds,
            "els": els / SIGNALS,
        }.items():
            seconds.setdefault(name, []).append(value)
    check = plain_sea(matrix, y[0], case.k, eta, STEPS)
    assert abs(check - float(sol.residual_norm[0])) < 1e-6 * check + 1e-12, "these are two algorithms"
    base = {"sea": "plain SEA", "sea_plus": "plain SEA", "els": "plain ELS"}
    rows = [
        {
            "method": name, "ms_per_signal": round(1e3 * median(values), 3),
            "times_faster": round(median(seconds[base[name]]) / median(values), 1) if name in base else "",
            "signals": SIGNALS if name in base else 1, "steps": STEPS, "k": case.k, "n": A.shape[1],
            "threads": torch.get_num_threads(), "torch": torch.__version__, "numpy": np.__version__,
        }
        for name, values in seconds.items()
    ]  # fmt: skip
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    if len(sys.argv) > 1:
        write_csv(Path(sys.argv[1]), rows)


if __name__ == "__main__":
    main()
