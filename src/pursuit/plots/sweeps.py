"""The figure of a run: a heat map of success per method, and the 50 % and 95 % curves of all methods."""

from __future__ import annotations

import io
import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import write_whole
from ..sweeps.cells import parts
from ..sweeps.curves import LEVELS
from ..sweeps.results import Sweep
from .style import BLACK, BLUE, GREEN, ORANGE, RED, SKY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PINK = "#CC79A7"  # the last of Okabe and Ito's palette
# A colour per solver, a line per start.
COLOURS = {
    "sea": RED, "iht": SKY, "htp": BLUE, "omp": BLACK, "ompr": GREEN, "els": ORANGE, "niht": PINK, "cosamp": "0.45",
    "sp": "#8A6D00", "ols": "#5B2C83",
}  # fmt: skip
STYLES = {None: "-", "omp": "--", "els": ":"}
SHOWN = {"support": "true support found", "exact": "recovered exactly"}
ACROSS = 4
ZETA, RHO = r"measurements per unknown, $\zeta = m / n$", r"non-zeros per measurement, $\rho = k / m$"
MISSING = "0.88"


def draw(path: Path, sweep: Sweep, *, success: str = "support") -> None:
    """Draw the results of a run so far to a PNG file."""
    figure = picture(sweep, success=success)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    write_whole(path, lambda file: file.write(data.getvalue()))


def picture(sweep: Sweep, *, success: str = "support") -> Figure:
    """The figure of the results of a run so far."""
    from matplotlib.figure import Figure

    methods = sweep.methods
    down = math.ceil(len(methods) / ACROSS)
    across = max(2, math.ceil(len(methods) / down))
    figure = Figure(figsize=(12.5, 2.75 * down + 4.4), dpi=110, layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=(2.75 * down, 4.2))
    top, bottom = halves
    panels: Any = top.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    rows, curves = sweep.table(), sweep.curves(success=success)
    image = None
    for ax, method in zip(panels.flat, methods, strict=False):
        image = _heat(ax, sweep, [row for row in rows if row["method"] == method], success)
        for level, style in zip(LEVELS, ("--", "-"), strict=True):
            mine = [row for row in curves if (row["method"], row["level"]) == (method, level)]
            _line(ax, mine, color="white", linestyle=style, linewidth=2.6)
            _line(ax, mine, color=RED, linestyle=style, linewidth=1.4)
        ax.set_title(method, loc="left", fontsize=10)
    for ax in panels.flat[len(methods) :]:
        ax.set_axis_off()
    for ax in panels.flat[max(0, len(methods) - across) : len(methods)]:
        ax.tick_params(labelbottom=True)
    top.supxlabel(ZETA, fontsize=9)
    top.supylabel(RHO, fontsize=9)
    if image is not None:
        bar = top.colorbar(image, ax=panels, fraction=0.02, pad=0.01)
        bar.set_label(f"{SHOWN[success]}, share of trials", fontsize=9)
    _curves(bottom, sweep, curves)
    figure.suptitle(_title(sweep), fontsize=11, x=0.01, ha="left")
    return figure


def _title(sweep: Sweep) -> str:
    trials = sum(counted[0] for counted in sweep.counts.values())
    per_cell = {row["trials"] for row in sweep.table()}
    plan = sweep.plan
    if plan.adaptive is not None:
        spread = f"{trials} trials where the 95 % curve is"
    elif per_cell == {plan.trials} and all(row["done"] == row["planned"] for row in sweep.status()):
        spread = f"{plan.trials} trials per cell"
    else:
        spread = (
            f"not finished: {min(per_cell, default=0)} to {max(per_cell, default=0)} of {plan.trials} trials per cell"
        )
    return (
        f"Phase transition, n = {sweep.settings.n}, eta = {sweep.settings.eta:g} / L, "
        f"at most {sweep.settings.max_steps} steps; {spread}\n"
        "Red: success of 50 % (dashed) and 95 % (solid), by the fit; grey: no trials"
    )


def _heat(ax: Axes, sweep: Sweep, rows: list[dict[str, Any]], success: str) -> Any:
    """Every cell as a box around its m / n and k / m."""
    from matplotlib.collections import PolyCollection

    rate = "found_rate" if success == "support" else "exact_rate"
    value = {(row["m"], row["k"]): row[rate] for row in rows}
    n, grid = sweep.settings.n, sweep.grid
    ms = sorted(grid)
    sides = _edges([m / n for m in ms], (0.0, 1.0))
    boxes, values = [], []
    for column, m in enumerate(ms):
        ks = grid[m]
        ends = _edges([k / m for k in ks], (0.0, math.inf))
        for place, k in enumerate(ks):
            if (m, k) not in value:
                continue
            left, right, low, high = sides[column], sides[column + 1], ends[place], ends[place + 1]
            boxes.append([(left, low), (right, low), (right, high), (left, high)])
            values.append(value[m, k])
    image = PolyCollection(boxes, array=np.array(values, dtype=float), cmap="cividis", edgecolor="face", linewidth=0.2)
    image.set_clim(0, 1)
    ax.add_collection(image)
    ax.set_facecolor(MISSING)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, sweep.plan.rho * 1.03)
    ax.tick_params(labelsize=8)
    return image


def _edges(centres: list[float], ends: tuple[float, float]) -> list[float]:
    """Boundaries midway between the centres; the outermost at the same distance from their centre, within `ends`."""
    inner = [(a + b) / 2 for a, b in itertools.pairwise(centres)]
    first = inner[0] if inner else centres[0] * 1.5
    last = inner[-1] if inner else centres[0] * 0.5
    return [max(2 * centres[0] - first, ends[0]), *inner, min(2 * centres[-1] - last, ends[1])]


def _curves(figure: Any, sweep: Sweep, curves: list[dict[str, Any]]) -> None:
    panels = figure.subplots(1, len(LEVELS), sharex=True, sharey=True)
    for ax, level in zip(panels, LEVELS, strict=True):
        for method in sweep.methods:
            rows = [row for row in curves if (row["method"], row["level"]) == (method, level)]
            colour, style = _look(method, sweep.methods)
            _line(ax, rows, color=colour, linestyle=style, linewidth=1.5, label=method)
            beyond = [row for row in rows if row["where"] == "above"]
            ax.plot(
                [row["zeta"] for row in beyond], [row["rho"] for row in beyond], "^", color=colour, markersize=5,
                fillstyle="none", clip_on=False, in_layout=False,
            )  # fmt: skip
            ax.fill_between(
                [row["zeta"] for row in rows], [row["rho_low"] for row in rows], [row["rho_high"] for row in rows],
                where=[row["where"] == "inside" for row in rows], color=colour, alpha=0.15, linewidth=0,
            )  # fmt: skip
        ax.set_title(f"{100 * level:g} % success, with the 95 % confidence band of the fit", loc="left", fontsize=10)
        ax.set_xlabel(ZETA, fontsize=9)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, sweep.plan.rho * 1.08)
        ax.axhline(sweep.plan.rho, color="0.6", linewidth=0.8, linestyle=(0, (1, 3)))
        ax.annotate(
            r"largest $\rho$ of the grid; triangles: above the level at all k of the grid", (0.01, sweep.plan.rho),
            (0, 2), textcoords="offset points", fontsize=7, va="bottom", color="0.4", in_layout=False,
        )  # fmt: skip
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(RHO, fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right center", fontsize=9, frameon=False, handlelength=3)


def _look(method: str, methods: tuple[str, ...]) -> tuple[str, Any]:
    name, start = parts(method)
    return COLOURS.get(name, "0.6"), STYLES.get(start, (0, (5, 1, 1, 1, 1, 1)))


def _line(ax: Axes, rows: list[dict[str, Any]], **look: Any) -> None:
    """The part of the curve within the grid; dots show points whose neighbours are not within."""
    rho = [row["rho"] if row["where"] == "inside" else math.nan for row in rows]
    ax.plot([row["zeta"] for row in rows], rho, marker=".", markersize=3, **look)
