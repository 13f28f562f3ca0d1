"""The figure of `pursuit compare`: truth, measurements, the three best reconstructions, error per method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..comparison import Row
from ..files import write_whole
from ..files.spec import short
from ..problems import Instance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from .style import BLACK, BLUE, GREEN, LABELS, ORANGE, RED, counted, named_ticks

BEST = (BLUE, RED, GREEN)


SPARSE = 0.2  # a signal with a smaller share of non-zeros is drawn as spikes


def draw(path: Path, instance: Instance, rows: Sequence[Row], oracle_db: float | None) -> None:
    """Write the figure as PNG."""
    drawn = figure(instance, rows, oracle_db)
    write_whole(path, lambda file: drawn.savefig(file, format="png"))


def figure(instance: Instance, rows: Sequence[Row], oracle_db: float | None) -> Figure:
    """Draw one signal (that of median error under the best method), and the errors of all methods."""
    from matplotlib.figure import Figure

    item = typical(instance, rows[0])
    best = rows[:3]
    truth = None if instance.x is None else _shown(instance.signal(_one(instance.x, item)))
    panels = (truth is not None) + 1 + len(best)
    drawn = Figure(figsize=(11, 1.55 * panels + 0.6), dpi=120, layout="constrained")
    grid = drawn.add_gridspec(1, 2, width_ratios=(1.75, 1))
    left, right = drawn.add_subfigure(grid[0]), drawn.add_subfigure(grid[1])
    axes: list[Any] = list(np.atleast_1d(left.subplots(panels, 1)))

    complex_valued = instance.y.is_complex()
    value = f"|{instance.labels[1]}|" if complex_valued else instance.labels[1]
    signals = [ax for i, ax in enumerate(axes) if i != (truth is not None)]
    if truth is not None:
        _plot(axes[0], truth, BLACK, "truth")
    _plot_measurements(axes[1 if truth is not None else 0], _shown(_one(instance.y, item)), complex_valued)
    count = instance.y.shape[:-1].numel()
    measure, behind = ("NMSE", ", truth in grey") if truth is not None else ("held-out rows", "")
    over = " over all signals" if count > 1 else ""
    for ax, row, colour in zip(axes[-len(best) :], best, BEST, strict=False):
        if truth is not None:
            _plot(ax, truth, "0.6", None)
        _plot(ax, _shown(instance.signal(_one(row.x, item))), colour, None)
        title = f"{row.method}: {measure} {_db(row):.1f} dB{over}{behind}"
        ax.set_title(title, loc="left", fontsize=9, color=colour)
    length = len(_shown(instance.signal(_one(rows[0].x, item))))
    signals[0].set_xlim(-0.02 * length, 1.02 * length)
    low, high = zip(*(ax.get_ylim() for ax in signals), strict=True)
    for ax in signals[1:]:
        ax.sharex(signals[0])
        ax.sharey(signals[0])  # with its limits, which would cut larger signals
    signals[0].set_ylim(min(low), max(high))
    for ax in signals:
        ax.set_ylabel(value, fontsize=8)
    axes[-1].set_xlabel(instance.labels[0], fontsize=8)
    counted(axes[-1].xaxis)
    for ax in axes:
        ax.tick_params(labelsize=8)
    drawn_ones = [row.x for row in best] + ([] if instance.x is None else [instance.x])
    if instance.synthesis is None:
        _name_stems(signals, [_shown(_one(x, item)) for x in drawn_ones], instance.names)
    measured = instance.measured
    if measured is not None and len(measured) <= LABELS:
        named_ticks(axes[1 if truth is not None else 0], range(len(measured)), measured)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    title = _title(instance)
    left.suptitle(f"{title}: signal {item + 1} of {count}" if count > 1 else title, fontsize=10)

    _bars(right.subplots(), rows, oracle_db, known=truth is not None)
    return drawn


def _title(instance: Instance) -> str:
    """The files with the shape of the matrix, or the problem's name."""
    A, y = (instance.settings.get(name) for name in ("A", "y"))
    if not (isinstance(A, str) and isinstance(y, str)):
        return instance.name
    m, n = instance.A.shape
    return f"{short(A)} ({m} x {n}), {short(y)}".replace("$", r"\$")


def _name_stems(axes: Sequence[Axes], values: Sequence[np.ndarray], names: Sequence[Any] | None) -> None:
    """Names of the columns below the last of the axes, which share theirs, if few columns have a stem."""
    if names is None or all(str(name) == str(i) for i, name in enumerate(names)):
        return  # columns that are only numbered
    if any((one != 0).sum() > SPARSE * len(one) for one in values):
        return
    atoms = np.flatnonzero(np.any([one != 0 for one in values], axis=0))
    if len(atoms) > LABELS:
        return
    for ax in axes:
        ax.tick_params(labelbottom=ax is axes[-1])
        named_ticks(ax, atoms.tolist(), [names[atom] for atom in atoms.tolist()])
    axes[-1].set_xlabel("column of A", fontsize=8)


def typical(instance: Instance, row: Row) -> int:
    """The number of the signal whose error is the median under this method."""
    x, y = row.x.reshape(-1, row.x.shape[-1]), instance.y.reshape(-1, instance.y.shape[-1])
    if instance.x is None:
        error = (instance.A.forward(row.x).reshape(y.shape) - y).norm(dim=-1) / y.norm(dim=-1)
    else:
        truth = instance.x.reshape(x.shape)
        error = (x - truth).norm(dim=-1) / truth.norm(dim=-1)
    return int(error.argsort()[(len(error) - 1) // 2])


def _one(values: Tensor, item: int) -> Tensor:
    return values.reshape(-1, values.shape[-1])[item]


def _shown(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    return np.asarray(values.abs() if values.is_complex() else values)


def _plot(ax: Axes, values: np.ndarray, colour: str, title: str | None) -> None:
    at = np.flatnonzero(values)
    if len(at) > SPARSE * len(values):
        ax.plot(values, color=colour, linewidth=1.1)
    else:
        ax.vlines(at, 0, values[at], color=colour, linewidth=1.4)
        ax.plot(at, values[at], "o", color=colour, markersize=2.5)
        ax.axhline(0, color="0.6", linewidth=0.6)
    if title is not None:
        ax.set_title(title, loc="left", fontsize=9)


def _plot_measurements(ax: Axes, y: np.ndarray, complex_valued: bool) -> None:
    ax.plot(y, color=ORANGE, linewidth=0.9)
    ax.set_title(f"measurements ({len(y)})", loc="left", fontsize=9, color="#9A6A00")
    ax.set_ylabel("|y|" if complex_valued else "y", fontsize=8)
    ax.set_xlabel("measurement", fontsize=8)
    counted(ax.xaxis)


def _bars(ax: Axes, rows: Sequence[Row], oracle_db: float | None, *, known: bool) -> None:
    # Longer bars would hide the others.
    low, high = max(-120.0, min(map(_db, rows))), 10.0
    edge = 1.12 * low - 0.5
    values = np.clip([*map(_db, rows)], low, high)
    colours = [*BEST, *["0.75"] * len(rows)][: len(rows)]
    spread = [0.0 if known else _standard_error(row, low, high) for row in rows]
    ax.barh(
        range(len(rows)),
        values,
        xerr=None if known else spread,
        color=colours,
        height=0.7,
        error_kw={"capsize": 2, "linewidth": 0.9},
    )
    for place, (row, value, colour) in enumerate(zip(rows, values, colours, strict=True)):
        inside = value < 0.2 * low
        cut = "" if low <= _db(row) <= high else " (bar cut off)"
        ax.annotate(
            f"{_db(row):.1f}{cut}", (value + spread[place] if inside else min(value - spread[place], 0.0), place),
            (5 if inside else -5, 0),
            textcoords="offset points",
            ha="left" if inside else "right", va="center", fontsize=8,
            color="white" if inside and colour in BEST else BLACK,
        )  # fmt: skip
    ax.set_yticks(range(len(rows)), [row.method for row in rows], fontsize=9)
    ax.invert_yaxis()
    ax.set_xlim(edge, max(0.0, *(1.05 * (value + more) for value, more in zip(values, spread, strict=True))))
    if oracle_db is not None:
        seen = oracle_db > edge
        if seen:
            ax.axvline(oracle_db, color=BLACK, linestyle="--", linewidth=1)
        ax.annotate(
            f"oracle {oracle_db:.1f} dB" + ("" if seen else " (off the scale)"),
            (max(oracle_db, edge), 1.0), (0, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="left", va="bottom", fontsize=8,
        )  # fmt: skip
    ax.set_xlabel(
        "NMSE (dB), lower is better" if known else "held-out rows (dB), lower is better; ± standard error", fontsize=9
    )
    ax.tick_params(axis="x", labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _db(row: Row) -> float:
    """What ranks the rows: the error where the truth is known, else that of prediction."""
    return row.error_db if row.predicted is None else row.predicted.db


def _standard_error(row: Row, low: float, high: float) -> float:
    """That of the prediction; none on a bar that is cut off."""
    if row.predicted is None or not low <= row.predicted.db <= high:
        return 0.0
    return row.predicted.standard_error_db
