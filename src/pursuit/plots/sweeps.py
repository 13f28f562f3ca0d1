"""The figure of a run: a heat map of success per method, and the 50 % and 95 % curves of all methods.

The horizontal axis is m / n, or the noise where there is one m and several levels. Where there is one of each, success
is drawn against k.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..files import write_whole
from ..sweeps.cells import parts
from ..sweeps.curves import LEVELS
from ..sweeps.results import Sweep
from .style import BLACK, BLUE, GREEN, ORANGE, RED, SKY, counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PINK = "#CC79A7"  # the last of Okabe and Ito's palette
# A colour per solver, a line per start.
COLOURS = {
    "sea": RED, "iht": SKY, "htp": BLUE, "omp": BLACK, "ompr": GREEN, "els": ORANGE, "niht": PINK, "cosamp": "0.45",
    "sp": "#8A6D00", "ols": "#5B2C83",
}  # fmt: skip
OTHERS = ("0.6", "#A6761D", "#66A61E", "#E7298A")  # solvers of the user's own
STYLES = {None: "-", "omp": "--", "els": ":"}
SHOWN = {"support": "true support found", "exact": "recovered exactly"}
ACROSS = 4
ZETA, RHO = r"measurements per unknown, $\zeta = m / n$", r"non-zeros per measurement, $\rho = k / m$"
SNR = "signal-to-noise ratio in dB"
MISSING = "0.88"
WIDTH, WIDER, WIDEST = 1.5, 2.5, 12.0  # of a line; more for every method with the same curve; most


class Across(NamedTuple):
    """The horizontal axis: where each m and level of noise is."""

    label: str
    places: dict[tuple[int, float], float]
    limits: tuple[float, float]
    ticks: dict[float, str] | None = None  # of levels of noise

    def of(self, row: dict[str, Any]) -> float:
        """The place of a row of a table."""
        return self.places[row["m"], row["snr"]]

    def show(self, axes: Axes) -> None:
        """Give the axes its limits and ticks."""
        axes.set_xlim(*self.limits)
        if self.ticks is not None:
            axes.set_xticks([*self.ticks], [*self.ticks.values()])


def draw(path: Path, sweep: Sweep, *, success: str = "support") -> list[Path]:
    """Draw the results of a run so far to a PNG file, or to one per level of noise where there are several m, too.

    Parameters
    ----------
    path : Path
        For several files, the level is added to its name: `figure-20dB.png`.
    sweep : Sweep
    success : str
        Success criterion, `support` or `exact`.

    Returns
    -------
    list of Path
        The files.
    """
    path, levels = Path(path), sweep.plan.snr
    several = len(levels) > 1 and len(sweep.grid) > 1
    parts = (
        {path.with_stem(f"{path.stem}-{_level(snr)}"): sweep.at(snr) for snr in levels} if several else {path: sweep}
    )
    for file, part in parts.items():
        _write(file, picture(part, success=success))
    return list(parts)


def _write(path: Path, figure: Figure) -> None:
    data = io.BytesIO()
    figure.savefig(data, format="png")
    write_whole(path, lambda file: file.write(data.getvalue()))


def _level(snr: float) -> str:
    return "no-noise" if snr == math.inf else f"{snr:g}dB"


def picture(sweep: Sweep, *, success: str = "support") -> Figure:
    """The figure of the results of a run so far.

    Raises
    ------
    ValueError
        If the run has several m and several levels of noise.
    """
    if len(sweep.plan.snr) > 1 and len(sweep.grid) > 1:
        raise ValueError(
            f"the run has {len(sweep.grid)} values of m and {len(sweep.plan.snr)} levels of noise; a picture shows one "
            "level: pass sweep.at(snr)."
        )
    if len(sweep.plan.snr) == len(sweep.grid) == 1:
        return _against_k(sweep, success)
    return _map(sweep, success)


def _map(sweep: Sweep, success: str) -> Figure:
    """Heat maps above, curves below."""
    from matplotlib.figure import Figure

    methods = sweep.methods
    down = math.ceil(len(methods) / ACROSS)
    across = math.ceil(len(methods) / down)
    figure = Figure(figsize=(12.5, 2.75 * down + 4.4), dpi=110, layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=(2.75 * down, 4.2))
    top, bottom = halves
    panels: Any = top.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    rows, curves, across_all = sweep.table(), sweep.curves(success=success), _across(sweep)
    image = None
    for ax, method in zip(panels.flat, methods, strict=False):
        image = _heat(ax, sweep, across_all, [row for row in rows if row["method"] == method], success)
        for level, style in zip(LEVELS, ("--", "-"), strict=True):
            mine = _at(curves, method, level)
            _line(ax, across_all, mine, color="white", linestyle=style, linewidth=2.6)
            _line(ax, across_all, mine, color=RED, linestyle=style, linewidth=1.4)
        ax.set_title(method, loc="left", fontsize=10)
    for ax in panels.flat[len(methods) :]:
        ax.set_axis_off()
    for ax in panels.flat[max(0, len(methods) - across) : len(methods)]:
        ax.tick_params(labelbottom=True)
    top.supxlabel(across_all.label, fontsize=9)
    top.supylabel(RHO, fontsize=9)
    if image is not None:
        bar = top.colorbar(image, ax=panels, fraction=0.02, pad=0.01)
        bar.set_label(f"{SHOWN[success]}, share of trials", fontsize=9)
    _curves(bottom, sweep, across_all, curves)
    figure.suptitle(f"{_title(sweep)}\n{HEAT}", fontsize=11, x=0.01, ha="left")
    return figure


HEAT = "Red: success of 50 % (dashed) and 95 % (solid), by the fit; grey: no trials"


def _against_k(sweep: Sweep, success: str) -> Figure:
    """Success against k, for one m and one level of noise."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 5.2), dpi=110, layout="constrained")
    ax = figure.subplots()
    rows, curves = sweep.table(), sweep.curves(success=success)
    rate = "found_rate" if success == "support" else "exact_rate"
    points = {
        method: {row["k"]: 100 * row[rate] for row in rows if row["method"] == method} for method in sweep.methods
    }
    hidden = _hidden(points, least=0.2)
    widths = _widths(hidden)
    for method, mine in points.items():
        colour, style = _look(method, sweep.methods)
        label = _named(method, curves, [hidden], lambda row: f"{100 * row['level']:g} % up to k = {row['k']:.1f}")
        ax.plot(
            [*mine], [*mine.values()], color=colour, linestyle=style, marker=".", linewidth=widths[method],
            markersize=4 + 2 * widths[method], label=label, clip_on=False,
        )  # fmt: skip
    for level in LEVELS:
        ax.axhline(100 * level, color="0.6", linewidth=0.8, linestyle=(0, (1, 3)))
    counted(ax.xaxis)
    ax.set_xlabel(f"non-zeros k, of m = {', '.join(map(str, sweep.grid))} measurements", fontsize=9)
    ax.set_ylabel(f"{SHOWN[success]}, % of trials", fontsize=9)
    ax.set_ylim(0, 100)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    _legend(figure, ax)
    figure.suptitle(_title(sweep), fontsize=11, x=0.01, ha="left")
    return figure


def _across(sweep: Sweep) -> Across:
    levels = sorted(sweep.plan.snr)
    if len(levels) > 1:
        (m,) = sweep.grid
        places = {(m, snr): float(place) for place, snr in enumerate(levels)}
        names = {float(place): "no noise" if snr == math.inf else f"{snr:g}" for place, snr in enumerate(levels)}
        return Across(SNR, places, (-0.5, len(levels) - 0.5), names)
    n = sweep.settings.n
    return Across(ZETA, {(m, levels[0]): m / n for m in sweep.grid}, (0, max(1.0, 1.05 * max(sweep.grid) / n)))


Points = Mapping[float, float]  # of a curve


def _hidden(points: Mapping[str, Points], least: float) -> dict[str, list[str]]:
    """For each method those that are drawn over it with the same curve: nowhere `least` away from it."""
    return {
        method: [over for over in [*points][place + 1 :] if _same(mine, points[over], least)]
        for place, (method, mine) in enumerate(points.items())
    }


def _same(one: Points, other: Points, least: float) -> bool:
    """Whether all points of the shorter curve are points of the other."""
    few, many = sorted((one, other), key=len)
    return bool(few) and all(at in many and abs(many[at] - value) < least for at, value in few.items())


def _widths(hidden: Mapping[str, list[str]]) -> dict[str, float]:
    """The width of each method's line: the more are drawn over it, the wider, so that all are seen."""
    wider = min(WIDER, (WIDEST - WIDTH) / max(1, *map(len, hidden.values())))
    return {method: WIDTH + wider * len(over) for method, over in hidden.items()}


def _named(
    method: str,
    curves: list[dict[str, Any]],
    hidden: Sequence[Mapping[str, list[str]]],
    inside: Callable[[dict[str, Any]], str] | None = None,
) -> str:
    """A method in the legend: that it reaches a level nowhere, and which method has the same curve.

    Parameters
    ----------
    method : str
    curves : list of dict
        Rows of `Sweep.curves`.
    hidden : sequence of mapping
        `_hidden` of each panel.
    inside : callable, optional
        What is said of a row at which the curve crosses a level.
    """
    said = []
    for level in LEVELS:
        rows = [row for row in curves if (row["method"], row["level"]) == (method, level)]
        wheres = {row["where"] for row in rows}
        if not rows:
            return f"{method}: too few trials"
        if wheres == {"below"}:
            said.append(f"below {100 * level:g} % everywhere")
            break  # and so below the higher levels
        if wheres == {"above"} and level == max(LEVELS):
            said.append(f"above {100 * level:g} % everywhere")
        elif inside is not None and wheres == {"inside"}:
            said.append(inside(rows[0]))
    label = f"{method}: {', '.join(said)}" if said else method
    over = [panel[method][0] if panel[method] else None for panel in hidden]
    if not any(over):
        return label
    if len({*over}) == 1:
        return f"{label}\n(wide line: same curve as {over[0]})"
    same = [f"{100 * level:g} % curve as {name}" for level, name in zip(LEVELS, over, strict=True) if name]
    return f"{label}\n(wide line: same {' and '.join(same)})"


def _legend(figure: Any, ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right center", fontsize=9, frameon=False, handlelength=3)


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
    (noise,) = plan.snr if len(plan.snr) == 1 else (math.inf,)
    problem = sweep.problem + ("" if noise == math.inf else f", SNR {noise:g} dB")
    return (
        f"Phase transition, {problem}, n = {sweep.settings.n}\neta = {sweep.settings.eta:g} / L, "
        f"at most {sweep.settings.max_steps} steps; {spread}"
    ).replace("$", r"\$")


def _heat(ax: Axes, sweep: Sweep, across: Across, rows: list[dict[str, Any]], success: str) -> Any:
    """Every cell as a box around its place and k / m."""
    from matplotlib.collections import PolyCollection

    rate = "found_rate" if success == "support" else "exact_rate"
    value = {(row["m"], row["snr"], row["k"]): row[rate] for row in rows}
    columns = sorted(across.places, key=across.places.__getitem__)
    sides = _edges([across.places[column] for column in columns], across.limits)
    boxes, values = [], []
    for place, (m, snr) in enumerate(columns):
        ks = sweep.grid[m]
        ends = _edges([k / m for k in ks], (0.0, math.inf))
        for row, k in enumerate(ks):
            if (m, snr, k) not in value:
                continue
            left, right, low, high = sides[place], sides[place + 1], ends[row], ends[row + 1]
            boxes.append([(left, low), (right, low), (right, high), (left, high)])
            values.append(value[m, snr, k])
    image = PolyCollection(boxes, array=np.array(values, dtype=float), cmap="cividis", edgecolor="face", linewidth=0.2)
    image.set_clim(0, 1)
    ax.add_collection(image)
    ax.set_facecolor(MISSING)
    across.show(ax)
    ax.set_ylim(0, sweep.plan.rho * 1.03)
    ax.tick_params(labelsize=8)
    return image


def _edges(centres: list[float], ends: tuple[float, float]) -> list[float]:
    """Boundaries midway between the centres; the outermost at the same distance from their centre, within `ends`."""
    inner = [(a + b) / 2 for a, b in itertools.pairwise(centres)]
    first = inner[0] if inner else centres[0] * 1.5
    last = inner[-1] if inner else centres[0] * 0.5
    return [max(2 * centres[0] - first, ends[0]), *inner, min(2 * centres[-1] - last, ends[1])]


def _curves(figure: Any, sweep: Sweep, across: Across, curves: list[dict[str, Any]]) -> None:
    panels = figure.subplots(1, len(LEVELS), sharex=True, sharey=True)
    found = {level: {method: _at(curves, method, level) for method in sweep.methods} for level in LEVELS}
    points = {level: {method: _inside(across, rows) for method, rows in found[level].items()} for level in LEVELS}
    hidden = {level: _hidden(points[level], least=sweep.plan.rho / 500) for level in LEVELS}
    for ax, level in zip(panels, LEVELS, strict=True):
        widths = _widths(hidden[level])
        for method, rows in found[level].items():
            colour, style = _look(method, sweep.methods)
            label = _named(method, curves, [*hidden.values()])
            _line(ax, across, rows, color=colour, linestyle=style, linewidth=widths[method], label=label)
            _band(ax, across, rows, colour, widths[method])
        _triangles(ax, across, found[level])
        ax.set_title(f"{100 * level:g} % success, with the 95 % confidence band of the fit", loc="left", fontsize=10)
        ax.set_xlabel(across.label, fontsize=9)
        across.show(ax)
        ax.set_ylim(0, sweep.plan.rho * 1.08)
        ax.axhline(sweep.plan.rho, color="0.6", linewidth=0.8, linestyle=(0, (1, 3)))
        ax.annotate(
            r"largest $\rho$ of the grid; $\bigtriangleup$: above, $\bigtriangledown$: below the level at all its k",
            (across.limits[0], sweep.plan.rho), (4, 2), textcoords="offset points", fontsize=7, va="bottom",
            color="0.4", in_layout=False,
        )  # fmt: skip
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(RHO, fontsize=9)
    _legend(figure, panels[0])


def _at(curves: list[dict[str, Any]], method: str, level: float) -> list[dict[str, Any]]:
    return [row for row in curves if (row["method"], row["level"]) == (method, level)]


def _inside(across: Across, rows: list[dict[str, Any]]) -> Points:
    return {across.of(row): row["rho"] for row in rows if row["where"] == "inside"}


def _band(ax: Axes, across: Across, rows: list[dict[str, Any]], colour: str, width: float) -> None:
    """The confidence band; an error bar at a point without a neighbour, where a band has no width."""
    rows = sorted(rows, key=across.of)
    within = [row["where"] == "inside" for row in rows]
    ax.fill_between(
        [across.of(row) for row in rows], [row["rho_low"] for row in rows], [row["rho_high"] for row in rows],
        where=within, color=colour, alpha=0.15, linewidth=0,
    )  # fmt: skip
    beside = [False, *within, False]
    single = [row for place, row in enumerate(rows) if within[place] and not (beside[place] or beside[place + 2])]
    if single:
        ax.errorbar(
            [across.of(row) for row in single], [row["rho"] for row in single],
            [[row["rho"] - row["rho_low"] for row in single], [row["rho_high"] - row["rho"] for row in single]],
            fmt="none", ecolor=colour, elinewidth=width / WIDTH, capsize=2 + width, alpha=0.6,
        )  # fmt: skip


def _triangles(ax: Axes, across: Across, rows: Mapping[str, list[dict[str, Any]]]) -> None:
    """Where a curve is beyond the k of the grid; of several methods at one place one triangle around the other."""
    places: dict[tuple[float, float, str], list[str]] = {}
    for method, mine in rows.items():
        for row in mine:
            if row["where"] != "inside":
                places.setdefault((across.of(row), row["rho"], row["where"]), []).append(method)
    wider = min(3.5, 12 / max([1, *map(len, places.values())]))
    for (at, rho, where), methods in places.items():
        for around, method in enumerate(reversed(methods)):
            ax.plot(
                at, rho, "^" if where == "above" else "v", color=_look(method, (*rows,))[0],
                markersize=5 + wider * around, fillstyle="none", clip_on=False, in_layout=False,
            )  # fmt: skip


def _look(method: str, methods: tuple[str, ...]) -> tuple[str, Any]:
    name, start = parts(method)
    others = list(dict.fromkeys(other for other, _ in map(parts, methods) if other not in COLOURS))
    colour = COLOURS[name] if name in COLOURS else OTHERS[others.index(name) % len(OTHERS)]
    return colour, STYLES.get(start, (0, (5, 1, 1, 1, 1, 1)))


def _line(ax: Axes, across: Across, rows: list[dict[str, Any]], **look: Any) -> None:
    """The part of the curve within the grid; dots show points whose neighbours are not within."""
    rows = sorted(rows, key=across.of)
    rho = [row["rho"] if row["where"] == "inside" else math.nan for row in rows]
    ax.plot([across.of(row) for row in rows], rho, marker=".", markersize=2 * look["linewidth"], **look)
