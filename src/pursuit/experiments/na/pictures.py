"""How the experiments of "Neurally augmented ALISTA" are drawn: ours and the published values side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..cells import Row
from .alista import CLASSICAL, LAYERS, MODELS, K, Model, published_over_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# What the two kinds of values are: both are errors on test signals.
OURS = "ours: epoch with the lowest validation error"
PUBLISHED = "published: epoch with the lowest test error"


def style(model: str) -> Model:
    """How a model is drawn; NA-ALISTA of any size and inputs in its colour."""
    if model in MODELS:
        return MODELS[model]
    return MODELS["NA_ALISTA_UR_128"]._replace(label=model.replace("_", "-"))


def curves(
    ax: Axes, rows: Sequence[Row], x: str, places: Sequence[int], theirs: Callable[[str, int], float | None]
) -> None:
    """Our NMSE over a field of the rows, and the published one of every model at these places."""
    published(ax, places, theirs)
    ours(ax, rows, x, places)


def ours(ax: Axes, rows: Sequence[Row], x: str, places: Sequence[int]) -> None:
    """Our NMSE over a field of the rows; lines join neighbouring places only."""
    for model, (_, colour, marker) in MODELS.items():
        mine = [row for row in rows if row["model"] == model and row.get("test_db") is not None]
        for seed in sorted({row["seed"] for row in mine}):
            found = {row[x]: row["test_db"] for row in mine if row["seed"] == seed}
            at = sorted({*places, *found})
            ax.plot(at, [found.get(place, math.nan) for place in at], color=colour, linewidth=1.4, marker=marker,
                    markersize=4.5)  # fmt: skip


def published(ax: Axes, places: Sequence[int], theirs: Callable[[str, int], float | None]) -> None:
    """The published NMSE of every model at these places."""
    for model, (_, colour, marker) in MODELS.items():
        line = [(place, value) for place in places if (value := theirs(model, place)) is not None]
        if line:
            ax.plot(*zip(*line, strict=True), "--", color=colour, linewidth=0.9, marker=marker, markersize=5,
                    markerfacecolor="none", markeredgewidth=0.8)  # fmt: skip


def over_layers(rows: Sequence[Row]) -> Figure:
    """A panel per number of unknowns and SNR; a single panel has bars beside it."""
    panels = sorted({(-row["snr"], row["n"]) for row in rows})
    columns = len({n for _, n in panels})
    lines = len({snr for snr, _ in panels})
    figure = new_figure(columns + (len(panels) == 1), lines)
    axes = figure.subplots(lines, columns + (len(panels) == 1), squeeze=False)
    sizes, snrs = sorted({n for _, n in panels}), sorted({snr for snr, _ in panels})
    for low, n in panels:
        ax, snr = axes[snrs.index(low), sizes.index(n)], -low
        mine = [row for row in rows if (row["snr"], row["n"]) == (snr, n)]
        curves(ax, mine, "layers", LAYERS, published_over_layers(n, snr))
        finish(ax, f"N = {n}, SNR = {snr} dB", "layers K")
    if len(panels) == 1:
        bars_at(axes[0, 1], rows, K)
    hide_unused(axes)
    explain(figure, rows)
    return figure


def new_figure(columns: int, lines: int) -> Figure:
    """A figure for so many panels."""
    from matplotlib.figure import Figure

    width = max(9.0, 4.4 * columns)
    return Figure(figsize=(width, 3.6 * lines + 0.7), dpi=110, layout="constrained")


def hide_unused(axes: Any) -> None:
    """Hide panels without data."""
    for ax in axes.flat:
        if not ax.has_data():
            ax.set_visible(False)


def finish(ax: Axes, title: str, xlabel: str, ylabel: str = "NMSE (dB)") -> None:
    """Labels and a faint grid."""
    ax.set_title(title, fontsize=10, loc="left")
    ax.set_xlabel(xlabel, fontsize=9)
    ax.set_ylabel(ylabel, fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def explain(figure: Figure, rows: Sequence[Row], theirs: str = PUBLISHED) -> None:
    """One legend above all panels: models by colour and symbol, ours and published by line and filling."""
    from matplotlib.lines import Line2D

    present = {row["model"] for row in rows}
    shown = [model for model in MODELS if model in present or model != "LAMP"]
    handles = [
        Line2D([], [], color=m.colour, marker=m.marker, linewidth=1.4, markersize=4.5, label=m.label)
        for m in map(style, shown)
    ]
    handles += [
        Line2D([], [], color="0.3", marker="o", linewidth=1.4, markersize=4.5, label=OURS),
        Line2D([], [], color="0.3", marker="o", linestyle="--", linewidth=0.9, markersize=5, markerfacecolor="none",
               label=theirs),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=8, frameon=False)


def bars_at(ax: Axes, rows: Sequence[Row], depth: int) -> None:
    """The NMSE of every model at `depth` layers; if no network has so many, at the smallest number that one has."""
    depths = {row["layers"] for row in rows if row["model"] not in CLASSICAL}
    depth = depth if depth in depths or not depths else min(depths)
    bars(ax, [row for row in rows if row["layers"] == depth and row.get("test_db") is not None])
    finish(ax, f"the same at K = {depth}: filled ours, dashed published", "NMSE (dB)", "")


def bars(ax: Axes, rows: Sequence[Row]) -> None:
    """One setting's NMSE of every model, ours and published."""
    for place, row in enumerate(rows):
        colour = style(row["model"]).colour
        ax.barh(place - 0.19, row["test_db"], height=0.36, color=colour)
        ax.annotate(f"{row['test_db']:.1f}", (row["test_db"], place - 0.19), (-3, 0), textcoords="offset points",
                    ha="right", va="center", fontsize=8)  # fmt: skip
        if row["published_db"] is not None:
            ax.barh(place + 0.19, row["published_db"], height=0.36, facecolor="none", edgecolor=colour, linestyle="--")
            ax.annotate(f"{row['published_db']:.1f}", (row["published_db"], place + 0.19), (-3, 0), fontsize=8,
                        textcoords="offset points", ha="right", va="center", color="0.4")  # fmt: skip
    ax.set_yticks(range(len(rows)), [style(row["model"]).label for row in rows], fontsize=8)
    ax.invert_yaxis()
    low = min([0.0, *(row[name] for row in rows for name in ("test_db", "published_db") if row[name] is not None)])
    ax.set_xlim(1.15 * low or -1, 0)
