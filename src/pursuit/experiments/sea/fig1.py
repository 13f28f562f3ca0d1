"""One deconvolution with 20 spikes: truth, measurements, and every method's solution (the poster's Figure 1)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...plots.style import BLACK, ORANGE, RED
from ..cells import Row, Tables
from . import deconvolution
from .deconvolution import BOUNDARY, ETA, SIGMA, STEPS, N

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTIAL = True
QUICK = {"steps": 200}
COLUMNS = 2
# What has a panel; a method with the same spikes as one of these is named there.
SHOWN_METHODS = ("sea_plus", "whitened_lasso", "sea", "els", "omp", "fista", "inverse-noise")
SHOWN = 1.5  # times the largest true amplitude: neighbouring atoms may get huge ones that cancel


def cells(
    quick: bool,
    seed: int,
    n: int = N,
    k: int = 20,
    sigma: float = SIGMA,
    boundary: str = BOUNDARY,
    eta: float = ETA,
    steps: int | None = None,
    snr: float = 40.0,
) -> list[Row]:
    """One per family of methods."""
    steps = (QUICK["steps"] if quick else STEPS) if steps is None else steps
    if math.isnan(snr):
        raise ValueError(f"snr is {snr}; needed is a number in dB, or inf for no noise.")
    settings = deconvolution.check(n, sigma, boundary, eta, steps)
    level = "inf" if snr == math.inf else snr  # which JSON lacks
    return [
        deconvolution.cell_of(family, snr=level, k=k, runs=1, seed=seed, settings=settings)
        for family in deconvolution.families()
    ]


def run(cell: Row, folder: Path) -> Tables:
    """The spikes of the truth and of every solution of the family, and how far they are from each other.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes seconds.
    """
    case = deconvolution.instance(cell)
    spikes, summary = _spikes("truth", case.x), []
    for found in deconvolution.solutions(cell, case):
        spikes += _spikes(found.method, found.x)
        summary.append(deconvolution.summary(cell, case, *found))
    measured = [{"sample": i, "y": value} for i, value in enumerate(case.y[0].tolist())]
    shared = cell["family"] == deconvolution.FAMILIES[0]  # truth and measurements are those of all families
    tables: Tables = {"spikes": spikes if shared else [row for row in spikes if row["method"] != "truth"]}
    return {**tables, "summary": summary} | ({"measurements": measured} if shared else {})


def draw(tables: Tables, quick: bool) -> Figure:
    """The truth with the measurements, then a panel per method."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = {row["method"]: row for row in sorted(tables["summary"], key=lambda row: deconvolution.order(row["method"]))}
    spikes: dict[str, dict[int, float]] = {method: {} for method in rows}
    for row in tables["spikes"]:
        spikes.setdefault(row["method"], {})[row["sample"]] = row["amplitude"]
    shown: dict[str, list[str]] = {}  # a method, and those with the same spikes
    for method in sorted(rows, key=lambda name: name not in SHOWN_METHODS):
        same = next((first for first in shown if spikes[first].keys() == spikes[method].keys()), None)
        if same is not None:
            shown[same].append(method)
        elif method in SHOWN_METHODS:
            shown[method] = []
    order = [method for method in SHOWN_METHODS if method in shown]
    height = math.ceil((len(order) + 1) / COLUMNS)
    figure = Figure(figsize=(12, 1.6 * height + 1), dpi=120, layout="constrained")
    axes: list[Any] = list(figure.subplots(height, COLUMNS, sharex=True, sharey=True, squeeze=False).flat)
    truth = spikes.get("truth", {})
    axes[0].set_ylim(*(sign * SHOWN * max(map(abs, truth.values()), default=1.0) for sign in (-1, 1)))
    _measurements(axes[0], truth, tables.get("measurements", []))
    for ax, method in zip(axes[1:], order, strict=False):
        _solution(ax, truth, spikes[method], rows[method], shown[method])
    for ax in axes[len(order) + 1 :]:
        ax.set_visible(False)
    for ax in axes[: len(order) + 1]:
        ax.tick_params(labelsize=8, labelbottom=True)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[::COLUMNS]:
        ax.set_ylabel("amplitude", fontsize=8)
    for ax in axes[max(0, len(order) + 1 - COLUMNS) : len(order) + 1]:
        ax.set_xlabel("sample", fontsize=8)
    handles = [
        Line2D([], [], color=BLACK, marker="o", fillstyle="none", linestyle="none", markersize=5, label="true spike"),
        Line2D([], [], color="0.45", marker="o", linewidth=1.2, markersize=3, label="found at its place"),
        Line2D([], [], color=RED, marker="x", linewidth=1.2, markersize=4, label="found where there is none"),
        Line2D([], [], color=ORANGE, linewidth=1.2, label="measurements y"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=9, frameon=False)
    return figure


def _spikes(method: str, x: Any) -> list[Row]:
    places = x[0].nonzero().flatten().tolist()
    return [{"method": method, "sample": i, "amplitude": float(f"{x[0, i].item():.9g}")} for i in places]


def _measurements(ax: Axes, truth: dict[int, float], measured: list[Row]) -> None:
    ax.plot([row["y"] for row in measured], color=ORANGE, linewidth=1.2)
    ax.plot(list(truth), list(truth.values()), "o", color=BLACK, fillstyle="none", markersize=5, linestyle="none")
    ax.set_title(f"truth, {len(truth)} spikes, and measurements", loc="left", fontsize=9)


def _solution(ax: Axes, truth: dict[int, float], found: dict[int, float], row: Row, same: list[str]) -> None:
    ax.axhline(0, color="0.8", linewidth=0.6)
    ax.plot(list(truth), list(truth.values()), "o", color=BLACK, fillstyle="none", markersize=5, linestyle="none")
    top = ax.get_ylim()[1]
    for hit, colour, marker in ((True, "0.45", "o"), (False, RED, "x")):
        some = {place: value for place, value in found.items() if (place in truth) is hit}
        ax.vlines(list(some), 0, list(some.values()), color=colour, linewidth=1.2)
        inside = {place: value for place, value in some.items() if abs(value) <= top}
        size = 3 if hit else 4
        ax.plot(list(inside), list(inside.values()), marker, color=colour, markersize=size, linestyle="none")
        for place, value in some.items():
            if abs(value) > top:  # an arrow where a line is cut
                end = 0.97 * math.copysign(top, value)
                ax.plot([place], [end], "^" if value > 0 else "v", color=colour, markersize=6, clip_on=False)
    largest = max(map(abs, found.values()), default=0.0)
    cut = f"; arrows: cut, up to {largest:.0f}" if largest > top else ""
    residual = 100 * row["residual"]
    text = (
        f"{deconvolution.label(row['method'])}: {100 * row['support_distance']:.0f} % missed, residual {residual:.2g} %"
    )
    others = f"\nthe same: {', '.join(map(deconvolution.label, same))}" if same else ""
    ax.set_title(text + cut + others, loc="left", fontsize=8)
