"""Spikes that were blurred and measured with noise: found again, and drawn.

    python examples/spikes.py results/spikes/figure.png

The first lines are those of the README.
"""

import sys
from pathlib import Path

import numpy as np

import pursuit

t = np.arange(200)
A = np.exp(-((t[:, None] - t) ** 2) / 18)  # a blur: each column is a bump around its place
x = np.zeros(200)
x[[30, 38, 90, 150, 159]] = [1.0, -0.7, 1.2, 0.8, 0.9]  # what is to be found
y = A @ x + 0.02 * np.random.default_rng(0).standard_normal(200)
sol = pursuit.sea_plus(A, y, k=5)


def draw(path: Path) -> None:
    """The truth, the measurements, and what was found."""
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9, 4.4), dpi=120, layout="constrained")
    truth, measured, found = figure.subplots(3, 1, sharex=True)
    measured.plot(t, y, color="#E69F00", linewidth=1.2)
    for ax, values, colour, size in ((truth, x, "black", 5), (found, x, "0.7", 8), (found, sol.x, "#0072B2", 4)):
        at = np.flatnonzero(values)
        ax.vlines(at, 0, values[at], color=colour, linewidth=2)
        ax.plot(at, values[at], "o", color=colour, markersize=size)
        ax.axhline(0, color="0.6", linewidth=0.6)
    truth.set_title("what is to be found: 5 spikes in 200 samples", loc="left", fontsize=10)
    measured.set_title("what was measured: the spikes, blurred, with noise", loc="left", fontsize=10)
    found.set_title("what was found (blue; the truth in grey)", loc="left", fontsize=10)
    for ax in (truth, measured, found):
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    print(f"true {np.flatnonzero(x)}, found {np.sort(sol.atoms)}, values {sol.x[np.sort(sol.atoms)].round(2)}")
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else "spikes.png"))
