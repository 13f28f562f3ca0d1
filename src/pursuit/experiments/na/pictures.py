"""How the experiments of "Neurally augmented ALISTA" are drawn: ours and the published values side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..cells import Row
from .alista import CLASSICAL, LAYERS, MODELS, Model, published_over_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# What the two kinds of values are: both are errors on test signals.
OURS = "ours: epoch with the lowest validation error (bars: least and largest of the seeds)"
PUBLISHED = "published: epoch with the lowest test error"


def style(model: str) -> Model:
    """How a model is drawn; NA-ALISTA of any size and inputs in its colour."""
    if model in MODELS:
        return MODELS[model]
    return MODELS["NA_ALISTA_UR_128"]._replace(label=model.replace("_", "-"))


def panel(
    axes: Sequence[Axes],
    rows: Sequence[Row],
    x: str,
    places: Sequence[int],
    theirs: Callable[[str, int], float | None],
    title: str,
    xlabel: str,
) -> None:
    """Our NMSE over a field of the rows, and the published one at these places; below, ours minus published."""
    above, below = axes
    published(above, places, theirs)
    ours(above, rows, x, places)
    below.axhline(0, color="0.6", linewidth=0.8)
    ours(below, rows, x, places, theirs)
    finish(above, title, "")
    finish(below, "", xlabel, "ours - published (dB)")
    low, high = below.get_ylim()
    below.set_ylim(min(low, -1), max(high, 1))
    above.sharex(below)
    above.tick_params(labelbottom=False)


def ours(
    ax: Axes,
    rows: Sequence[Row],
    x: str,
    places: Sequence[int],
    theirs: Callable[[str, int], float | None] | None = None,
) -> None:
    """Our NMSE over a field of the rows, or how much it is above the published one.

    The mean of all seeds, with a bar from the least to the largest; lines join neighbouring places only.
    """
    for model, (_, colour, marker) in MODELS.items():
        mine = [row for row in rows if row["model"] == model and row.get("test_db") is not None]
        found: dict[int, list[float]] = {}
        for row in mine:
            zero = 0.0 if theirs is None else theirs(model, row[x])
            if zero is not None:
                found.setdefault(row[x], []).append(row["test_db"] - zero)
        if not found:
            continue
        at = sorted({*places, *found})
        mean = [sum(found[place]) / len(found[place]) if place in found else math.nan for place in at]
        spread = [
            [abs(end(found[place]) - middle) if place in found else 0.0 for place, middle in zip(at, mean, strict=True)]
            for end in (min, max)
        ]
        several = any(len(values) > 1 for values in found.values())
        ax.errorbar(at, mean, yerr=spread if several else None, color=colour, linewidth=1.4, marker=marker,
                    markersize=4.5, elinewidth=1, capsize=2)  # fmt: skip


def published(ax: Axes, places: Sequence[int], theirs: Callable[[str, int], float | None]) -> None:
    """The published NMSE of every model at these places."""
    for model, (_, colour, marker) in MODELS.items():
        line = [(place, value) for place in places if (value := theirs(model, place)) is not None]
        if line:
            ax.plot(*zip(*line, strict=True), "--", color=colour, linewidth=0.9, marker=marker, markersize=5,
                    markerfacecolor="none", markeredgewidth=0.8)  # fmt: skip


def over_layers(rows: Sequence[Row]) -> Figure:
    """A panel per number of unknowns and SNR of which a network is trained, with the differences below."""
    trained = {(-row["snr"], row["n"]) for row in rows if row["model"] not in CLASSICAL}
    panels = sorted(trained or {(-row["snr"], row["n"]) for row in rows})
    sizes, snrs = sorted({n for _, n in panels}), sorted({low for low, _ in panels})
    figure, axes = panels_of(len(snrs), len(sizes))
    for low, n in panels:
        snr = -low
        mine = [row for row in rows if (row["snr"], row["n"]) == (snr, n)]
        depths = [k for k in LAYERS if k <= max([*(r["layers"] for r in mine if r["model"] not in CLASSICAL), 2])]
        mine = [row for row in mine if row["layers"] <= depths[-1]]
        panel(axes[snrs.index(low)][sizes.index(n)], mine, "layers", depths, published_over_layers(n, snr),
              f"N = {n}, SNR = {snr} dB", "layers K")  # fmt: skip
    hide_unused(figure)
    explain(figure, rows)
    return figure


def panels_of(lines: int, columns: int) -> tuple[Figure, list[list[tuple[Axes, Axes]]]]:
    """A figure of so many panels, each with a strip below it; those without data are hidden when it is drawn."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(9.6, 4.3 * columns), 4.4 * lines + 0.7), dpi=110, layout="constrained")
    axes = figure.subplots(2 * lines, columns, squeeze=False, height_ratios=[3, 1.2] * lines)
    return figure, [list(zip(axes[2 * i], axes[2 * i + 1], strict=True)) for i in range(lines)]


def new_figure(columns: int, lines: int) -> Figure:
    """A figure for so many panels."""
    from matplotlib.figure import Figure

    width = max(9.0, 4.4 * columns)
    return Figure(figsize=(width, 3.6 * lines + 0.7), dpi=110, layout="constrained")


def hide_unused(figure: Figure) -> None:
    """Hide panels without data."""
    for ax in figure.axes:
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
    columns = 5 if figure.get_figwidth() > 12 else 3
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, fontsize=8, frameon=False)
