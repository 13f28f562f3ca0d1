"""SEA and ELS on deconvolution beside plain NumPy: seconds per signal.

n = 500, circular, coherence 0.97, k = 20, noiseless. Plain SEA solves a least squares per support by
`numpy.linalg.lstsq`, and plain ELS one per swap; in every turn they solve one signal of the batch to its end, and ours
solve the whole batch. Medians over the turns. Plain ELS takes a quarter of a minute per signal.

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

SIGNALS, STEPS, TURNS = 200, 1000, 5


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


def plain_els(A: np.ndarray, y: np.ndarray, support: list[int]) -> float:
    """The best of all swaps, each refitted, while the residual decreases; for one signal; returns the residual."""

    def left(S: list[int]) -> float:
        return float(np.linalg.norm(y - A[:, S] @ np.linalg.lstsq(A[:, S], y, rcond=None)[0]))

    S, least = support, left(support)
    while True:
        others = [j for j in range(A.shape[1]) if j not in S]
        swaps = [[*S[:i], *S[i + 1 :], j] for i in range(len(S)) for j in others]
        residuals = [left(swap) for swap in swaps]
        best = int(np.argmin(residuals))
        if residuals[best] ** 2 >= (1 - 1e-12) * least**2:
            return least
        S, least = swaps[best], residuals[best]


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
        of_sea, plain = timed(plain_sea, matrix, y[turn], case.k, eta, STEPS)
        sol, ours = timed(pursuit.sea, A, case.y, case.k, max_steps=STEPS)
        _, plus = timed(pursuit.sea_plus, A, case.y, case.k, max_steps=STEPS)
        better, els = timed(pursuit.els, A, case.y, case.k, x0=start.x)
        of_els, plain_swaps = timed(plain_els, matrix, y[turn], start.support[turn].tolist())
        for theirs, of_batch in ((of_sea, sol), (of_els, better)):
            assert abs(theirs - float(of_batch.residual_norm[turn])) < 1e-6 * theirs + 1e-12, "these are two algorithms"
        for name, value in {
            "plain SEA": plain,
            "sea": ours / SIGNALS,
            "sea_plus": plus / SIGNALS,
            "plain ELS": plain_swaps,
            "els": els / SIGNALS,
        }.items():
            seconds.setdefault(name, []).append(value)
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
