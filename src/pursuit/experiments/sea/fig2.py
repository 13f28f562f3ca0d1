"""Support distance on deconvolution over the number of spikes, with and without noise (the poster's Figure 2)."""

from __future__ import annotations

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
LINES = {"": "-", "omp": "--", "els": ":", "sea": "-."}  # by what a method starts from
OWN_LINES = {"inverse": ":", "inverse-noise": "--", "inverse-best": "-", "iht": ":", "htp": ":"}
MARKERS = dict(zip(deconvolution.COLOURS, "ohDD^sv*DD<>pPXd124xxdo", strict=False))  # by algorithm
ROWS = {
    "the best, and what they are made of": (
        "sea_plus", "whitened_lasso", "els@sea", "sea", "els", "fista", "inverse", "inverse-noise", "inverse-best",
    ),
    "other methods from zero, beside SEA": (
        "sea", "omp", "ompr", "sklearn-omp", "ols", "sp", "cosamp", "niht", "iht", "iht-best", "htp", "htp-best",
        "abess", "skscope",
    ),
    "started from OMP, ELS or SEA": (
        "omp", "els", *(f"{method}@{start}" for start in ("omp", "els") for method in ("sea", "iht", "htp")), "els@sea",
    ),
}  # fmt: skip
EQUAL = 0.003  # curves that are nowhere farther apart are drawn as one


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
    """A column per noise level, the noiseless last; a row per kind of method."""
    from matplotlib.figure import Figure

    rows = sorted(tables["summary"], key=sort_key)
    levels = sorted({row["snr_db"] for row in rows}, key=lambda snr: (float(snr) == math.inf, -float(snr)))
    shown = {
        title: found
        for title, methods in ROWS.items()
        if (found := deconvolution.groups(rows, methods, "support_distance", EQUAL))
    }
    figure = Figure(figsize=(3.6 * len(levels) + 3.2, 3.5 * len(shown) + 0.6), dpi=120, layout="constrained")
    axes = figure.subplots(len(shown), len(levels), sharex=True, sharey=True, squeeze=False)
    for line, (title, groups) in zip(axes, shown.items(), strict=True):
        for ax, level in zip(line, levels, strict=True):
            _panel(ax, [row for row in rows if row["snr_db"] == level], groups)
            noiseless = ": no hard problem, the plain inverse solves it" if float(level) == math.inf else ""
            ax.set_title(deconvolution.noise(level) + noiseless, loc="left", fontsize=9)
            ax.set_xlabel("number of spikes k", fontsize=9)
        line[0].set_ylabel("mean support distance, lower is better", fontsize=9)
        line[-1].legend(
            *_legend(line), title=title, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, title_fontsize=8,
            frameon=False, handlelength=3.2, alignment="left",
        )  # fmt: skip
    axes[0, 0].set_ylim(0, 1)
    runs = " or ".join(str(count) for count in sorted({row["runs"] for row in rows}))
    bars = ", bars: one standard error" if any(row["standard_error"] for row in rows) else ""
    figure.suptitle(f"Means of {runs} signals{bars}; curves that differ by less than {EQUAL} are one", fontsize=10)
    return figure


def _panel(ax: Axes, rows: list[Row], groups: list[list[str]]) -> None:
    """A curve per group of methods, which is that of its first."""
    for group in groups:
        curve = [row for row in rows if row["method"] == group[0]]
        algorithm, _, start = group[0].partition("@")
        ax.errorbar(
            [row["k"] for row in curve],
            [row["support_distance"] for row in curve],
            yerr=[row["standard_error"] or math.nan for row in curve],
            color=deconvolution.colour(group[0]),
            linestyle=OWN_LINES.get(algorithm, LINES[start]) if not start else LINES[start],
            marker=MARKERS[algorithm],
            markersize=4.5,
            linewidth=2.6 if algorithm == "sea_plus" else 1.4,
            elinewidth=0.9,
            capsize=1.5,
            label=deconvolution.labels(group),
        )
    ax.set_xticks(sorted({row["k"] for row in rows}))
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
