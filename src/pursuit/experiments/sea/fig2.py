"""Support distance on deconvolution over the number of spikes, without and with noise (the poster's Figure 2)."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cells import Row, Tables
from . import deconvolution
from .deconvolution import BOUNDARY, ETA, SIGMA, STEPS, N

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTIAL = True
SNRS = ("inf", 40, 20)  # the poster's noise is not known
SPARSITIES = tuple(range(5, 51, 5))
RUNS = 200
QUICK: Row = {"snrs": ("inf", 20), "sparsities": (5, 10, 20), "runs": 4, "steps": 150}
LINES = {"": "-", "omp": "--", "els": ":"}  # by what a method starts from
MARKERS = dict(zip(deconvolution.COLOURS, "ohD^sv*Pxd", strict=True))  # by algorithm


def cells(
    quick: bool,
    seed: int,
    n: int = N,
    sigma: float = SIGMA,
    boundary: str = BOUNDARY,
    eta: float = ETA,
    steps: int | None = None,
    runs: int | None = None,
) -> list[Row]:
    """One per number of spikes, noise level and family of methods; those without noise first."""
    steps = (QUICK["steps"] if quick else STEPS) if steps is None else steps
    runs = (QUICK["runs"] if quick else RUNS) if runs is None else runs
    if runs < 1:
        raise ValueError(f"runs is {runs}; needed is at least 1.")
    settings = deconvolution.check(n, sigma, boundary, eta, steps)
    snrs, sparsities = (QUICK["snrs"], QUICK["sparsities"]) if quick else (SNRS, SPARSITIES)
    return [
        deconvolution.cell_of(family, snr=snr, k=k, runs=runs, seed=seed, settings=settings)
        for snr in snrs
        for k in sparsities
        if k <= n
        for family in deconvolution.families()
    ]


def run(cell: Row, folder: Path) -> Tables:
    """All runs of a cell, as one batch.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused.
    """
    case = deconvolution.instance(cell)
    return {"summary": [deconvolution.summary(cell, case, *found) for found in deconvolution.solutions(cell, case)]}


def sort_key(row: Row) -> Any:
    """By noise, method, and number of spikes."""
    return -float(row["snr_db"]), deconvolution.order(row["method"]), row["k"]


def draw(tables: Tables, quick: bool) -> Figure:
    """A column per noise level; above, methods with their own start, below, those started from OMP or ELS."""
    from matplotlib.figure import Figure

    rows = sorted(tables["summary"], key=sort_key)
    levels = sorted({row["snr_db"] for row in rows}, key=lambda snr: -float(snr))
    figure = Figure(figsize=(3.6 * len(levels) + 2.4, 7.2), dpi=120, layout="constrained")
    axes = figure.subplots(2, len(levels), sharex=True, sharey=True, squeeze=False)
    sparsities = sorted({row["k"] for row in rows})
    own = [row for row in rows if "@" not in row["method"]]
    warm = [row for row in rows if "@" in row["method"] or row["method"] in ("omp", "els")]
    for line, group in zip(axes, (own, warm), strict=True):
        for ax, level in zip(line, levels, strict=True):
            _panel(ax, [row for row in group if row["snr_db"] == level], sparsities)
        line[0].set_ylabel("mean support distance, lower is better", fontsize=9)
        handles, labels = _legend(line)
        line[-1].legend(
            handles, labels, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, frameon=False, handlelength=3.2
        )
    for ax, level in zip(axes[0], levels, strict=True):
        ax.set_title(deconvolution.noise(level), loc="left", fontsize=10)
    for ax in axes[1]:
        ax.set_xlabel("number of spikes k", fontsize=9)
    axes[0, 0].set_ylim(bottom=0)
    runs = " or ".join(str(count) for count in sorted({row["runs"] for row in rows}))
    bars = ", bars: one standard error" if any(row["standard_error"] for row in rows) else ""
    text = f"Means of {runs} runs{bars}, points of one k side by side; below, methods started from OMP and ELS"
    figure.suptitle(text, fontsize=10)
    return figure


def _panel(ax: Axes, rows: list[Row], sparsities: list[int]) -> None:
    """Curves may coincide: their points stand side by side, and later ones are thinner."""
    names = sorted({row["method"] for row in rows}, key=lambda method: ("@" in method, deconvolution.order(method)))
    nearest = min((b - a for a, b in itertools.pairwise(sparsities)), default=1)
    apart = 0.6 * nearest / len(names) if names else 0
    for i, method in enumerate(names):
        curve = [row for row in rows if row["method"] == method]
        algorithm, _, start = method.partition("@")
        ax.errorbar(
            [row["k"] + apart * (i - (len(names) - 1) / 2) for row in curve],
            [row["support_distance"] for row in curve],
            yerr=[row["standard_error"] or math.nan for row in curve],
            color=deconvolution.colour(method),
            linestyle=LINES[start],
            marker=MARKERS[algorithm],
            markersize=4.5,
            linewidth=2.4 - 1.4 * i / len(names),
            elinewidth=0.7,
            label=deconvolution.label(method),
        )
    ax.set_xticks(sparsities)
    ax.tick_params(labelsize=8, labelbottom=True, labelleft=True)
    ax.grid(color="0.92", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)


def _legend(axes: Any) -> tuple[list[Any], list[str]]:
    """The lines of all panels, each once."""
    seen: dict[str, Any] = {}
    for ax in axes:
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
            seen.setdefault(text, handle)
    return list(seen.values()), list(seen)
