"""The figure of `pursuit compare`: truth, measurements, the three best reconstructions, error per method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..comparison import Row, in_words, is_exact
from ..files import write_whole
from ..files.spec import short
from ..problems import Instance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from .style import BLACK, BLUE, GREEN, LABELS, ORANGE, RED, counted, named_ticks

BEST = (BLUE, RED, GREEN)
SPARSE = 0.2  # a signal with a smaller share of non-zeros is drawn as spikes
WORST = 10.0  # dB; larger errors would hide the differences between the others
FAR = 10.0  # dB; single signals that are better or worse than all methods by more would hide them, too


def draw(path: Path, instance: Instance, rows: Sequence[Row], oracle_db: float | None) -> None:
    """Write the figure as PNG."""
    drawn = figure(instance, rows, oracle_db)
    write_whole(path, lambda file: drawn.savefig(file, format="png"))


def figure(instance: Instance, rows: Sequence[Row], oracle_db: float | None) -> Figure:
    """Draw one signal, that of median error under the `baseline`, and the errors of all methods."""
    from matplotlib.figure import Figure

    under = baseline(rows)
    item = typical(instance, under)
    best = rows[:3]
    known = instance.x is not None
    heights = [1.0] * (2 if known else 1) + ([1.0, 0.5] if known else [1.0]) * len(best)
    drawn = Figure(figsize=(11, 1.4 * sum(heights) + 0.9), dpi=120, layout="constrained")
    grid = drawn.add_gridspec(1, 2, width_ratios=(1.75, 1))
    left, right = drawn.add_subfigure(grid[0]), drawn.add_subfigure(grid[1])
    axes: list[Any] = list(np.atleast_1d(left.subplots(len(heights), 1, height_ratios=heights)))
    measured_on = axes[1] if known else axes[0]
    signals = [*axes[:1], *axes[2::2]] if known else axes[1:]
    strips = axes[3::2] if known else []
    _plot_measurements(measured_on, _shown(_one(instance.y, item)), instance.y.is_complex())
    _plot_signals(signals, instance, best, item)
    _plot_errors(strips, instance, best, item)
    _share(signals, strips, instance)
    _name_axes(signals, strips, instance)
    for ax in axes:
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    if instance.synthesis is None:
        truths = [instance.x] if instance.x is not None else []
        _name_stems([*signals, *strips], [_shown(_one(x, item)) for x in (*truths, *(row.x for row in best))], instance)
    if instance.measured is not None and len(instance.measured) <= LABELS:
        named_ticks(measured_on, range(len(instance.measured)), instance.measured)
    count, title = instance.y.shape[:-1].numel(), _title(instance)
    left.suptitle(
        f"{title}: signal {item + 1} of {count}, the median of {under.method}" if count > 1 else title, fontsize=10
    )
    _errors(right.subplots(), instance, rows, oracle_db)
    return drawn


def _plot_signals(axes: Sequence[Axes], instance: Instance, best: Sequence[Row], item: int) -> None:
    """The truth, if it is known, and the signals of the best methods over it."""
    along, several = _places(instance), instance.y.shape[:-1].numel() > 1
    truth = None if instance.x is None else _shown(instance.signal(_one(instance.x, item)))
    measure = "held-out rows" if truth is None else "NMSE"
    if truth is not None:
        _plot(axes[0], along, truth, BLACK, "truth")
    for ax, row, colour in zip(axes[-len(best) :], best, BEST, strict=False):
        if truth is not None:
            _plot(ax, along, truth, "0.6", None)
        of_all = " over all signals" if several else ""
        behind = "" if truth is None else "; truth in grey; its error below"
        title = f"{row.method}: {measure} {in_words(_db(row), instance)}{of_all}{behind}"
        _plot(ax, along, _shown(instance.signal(_one(row.x, item))), colour, None)
        ax.set_title(title, loc="left", fontsize=9, color=colour)


def _plot_errors(axes: Sequence[Axes], instance: Instance, best: Sequence[Row], item: int) -> None:
    """What each of the best methods has too much or too little."""
    for ax, row, colour in zip(axes, best, BEST, strict=False):
        assert instance.x is not None
        _plot(ax, _places(instance), _shown(instance.signal(_one(row.x - instance.x, item))), colour, None)
        ax.axhline(0, color="0.6", linewidth=0.6)


def _share(signals: Sequence[Axes], strips: Sequence[Axes], instance: Instance) -> None:
    """One axis along all signals, one scale for all signals, and one for all errors."""
    along = _places(instance)
    signals[0].set_xlim(along[0] - 0.02 * (along[-1] - along[0]), along[-1] + 0.02 * (along[-1] - along[0]))
    for group in (signals, strips):
        low, high = zip(*(ax.get_ylim() for ax in group), strict=True) if group else ((0.0,), (1.0,))
        for ax in group:
            if ax is not signals[0]:
                ax.sharex(signals[0])
            if ax is not group[0]:
                ax.sharey(group[0])  # with its limits, which would cut larger signals
        if group:
            group[0].set_ylim(min(low), max(high))


def _name_axes(signals: Sequence[Axes], strips: Sequence[Axes], instance: Instance) -> None:
    value = f"|{instance.labels[1]}|" if instance.y.is_complex() else instance.labels[1]
    for ax in signals:
        ax.set_ylabel(value, fontsize=8)
    for ax in strips:
        ax.set_ylabel("|error|" if instance.y.is_complex() else "error", fontsize=8)
    for ax in [*signals, *strips][1:] if strips else signals:
        ax.tick_params(labelbottom=not strips or ax in strips)
    (strips or signals)[-1].set_xlabel(instance.labels[0], fontsize=8)
    if instance.rate == 1:
        counted((strips or signals)[-1].xaxis)


def _places(instance: Instance) -> np.ndarray:
    """Where the entries of a signal are on its axis."""
    n = instance.A.shape[1] if instance.synthesis is None else instance.synthesis.shape[0]
    return np.arange(n) / instance.rate


def _title(instance: Instance) -> str:
    """The files with the shape of the matrix, or the problem's name."""
    A, y = (instance.settings.get(name) for name in ("A", "y"))
    if not (isinstance(A, str) and isinstance(y, str)):
        return instance.name
    m, n = instance.A.shape
    return f"{short(A)} ({m} x {n}), {short(y)}".replace("$", r"\$")


def _name_stems(axes: Sequence[Axes], values: Sequence[np.ndarray], instance: Instance) -> None:
    """Names of the columns below the last of the axes, which share theirs, if few columns have a stem."""
    names = instance.names
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


def baseline(rows: Sequence[Row]) -> Row:
    """The method whose median signal is shown: OMP, else the one in the middle; the best would hide its failures."""
    return next((row for row in rows if row.method == "omp"), rows[len(rows) // 2])


def typical(instance: Instance, row: Row) -> int:
    """The number of the signal whose error is the median under this method."""
    error = per_signal(instance, row)
    return int(error.argsort()[(len(error) - 1) // 2])


def per_signal(instance: Instance, row: Row) -> Tensor:
    """Of every signal the error relative to the truth, or, where that is unknown, the residual relative to y."""
    got, wanted = (instance.A.forward(row.x), instance.y) if instance.x is None else (row.x, instance.x)
    return ((got - wanted).norm(dim=-1) / wanted.norm(dim=-1)).reshape(-1)


def _per_signal_db(instance: Instance, row: Row) -> np.ndarray:
    return 20 * np.log10(np.maximum(per_signal(instance, row).detach().cpu().numpy(), 1e-300))


def _one(values: Tensor, item: int) -> Tensor:
    return values.reshape(-1, values.shape[-1])[item]


def _shown(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    return np.asarray(values.abs() if values.is_complex() else values)


def _plot(ax: Axes, along: np.ndarray, values: np.ndarray, colour: str, title: str | None) -> None:
    at = np.flatnonzero(values)
    if len(at) > SPARSE * len(values):
        ax.plot(along, values, color=colour, linewidth=1.1)
    else:
        ax.vlines(along[at], 0, values[at], color=colour, linewidth=1.4)
        ax.plot(along[at], values[at], "o", color=colour, markersize=2.5)
        ax.axhline(0, color="0.6", linewidth=0.6)
    if title is not None:
        ax.set_title(title, loc="left", fontsize=9)


def _plot_measurements(ax: Axes, y: np.ndarray, complex_valued: bool) -> None:
    ax.plot(y, color=ORANGE, linewidth=0.9)
    ax.set_title(f"measurements ({len(y)})", loc="left", fontsize=9, color="#9A6A00")
    ax.set_ylabel("|y|" if complex_valued else "y", fontsize=8)
    ax.set_xlabel("measurement", fontsize=8)
    counted(ax.xaxis)


def _errors(ax: Axes, instance: Instance, rows: Sequence[Row], oracle_db: float | None) -> None:
    """The error of every method as a mark, with its signals as dots; without the truth, with its standard error."""
    known, several = instance.x is not None, instance.y.shape[:-1].numel() > 1
    dots = [_per_signal_db(instance, row) if known and several else np.empty(0) for row in rows]
    overall = [*map(_db, rows), *([] if oracle_db is None else [oracle_db])]
    low, high = _limits(overall, np.concatenate(dots), instance)
    for place, (row, signals) in enumerate(zip(rows, dots, strict=True)):
        colour, value = BEST[place] if place < len(BEST) else "0.35", _db(row)
        _mark(ax, signals, place, (low, high), "o", color=colour, markersize=4, alpha=0.3, markeredgewidth=0)
        if known:
            _mark(ax, [value], place, (low, high), "|", color=colour, markersize=13, markeredgewidth=2.5)
        else:
            _mark(ax, [value], place, (low, high), "o", color=colour, markersize=5)
        if row.predicted is not None and low <= value <= high:
            ax.errorbar(value, place, xerr=row.predicted.standard_error_db, color=colour, capsize=2, linewidth=0.9)
        ax.annotate(
            in_words(value, instance), (1.03, place), xycoords=("axes fraction", "data"), ha="left", va="center",
            fontsize=8, color=colour,
        )  # fmt: skip
    ax.set_yticks(range(len(rows)), [row.method for row in rows], fontsize=9)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(low, high)
    ax.grid(axis="y", color="0.9", linewidth=0.7)
    ax.set_axisbelow(True)
    if oracle_db is not None:
        if low <= oracle_db <= high:
            ax.axvline(oracle_db, color=BLACK, linestyle="--", linewidth=1)
        ax.set_title(f"oracle: {in_words(oracle_db, instance)}", fontsize=8, loc="left")
    about = "NMSE (dB), lower is better" if known else "held-out rows (dB), lower is better; ± standard error"
    about += "\ndots: single signals; bars and numbers: all together" if known and several else ""
    beyond = any(not low <= value <= high for value in [*overall[: len(rows)], *np.concatenate(dots)])
    ax.set_xlabel(about + "\narrows: beyond the edge" * beyond, fontsize=8)
    ax.tick_params(axis="x", labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _mark(
    ax: Axes, values: Sequence[float] | np.ndarray, place: int, limits: tuple[float, float], mark: str, **style: Any
) -> None:
    """Marks in one row; an arrow at the edge for values beyond it, and for those that are no number."""
    at, (low, high) = np.nan_to_num(np.asarray(values, dtype=float), nan=np.inf, posinf=np.inf, neginf=-np.inf), limits
    arrows = {**style, "markersize": 6, "markeredgewidth": 0}
    for there, edge, sign in ((at < low, low, "<"), (at > high, high, ">")):
        if there.any():
            ax.plot(np.full(there.sum(), edge), np.full(there.sum(), place), sign, clip_on=False, **arrows)
    inside = (low <= at) & (at <= high)
    ax.plot(at[inside], np.full(inside.sum(), place), mark, **style)


def _limits(overall: Sequence[float], dots: np.ndarray, instance: Instance) -> tuple[float, float]:
    """Both ends of the axis of errors: of all that is neither exact, nor far worse than x = 0, nor far off the rest."""
    shown = [db for db in overall if db <= WORST and not is_exact(db, instance)] or [-10.0, 0.0]
    low, high = min(shown) - FAR, min(max(shown) + FAR, WORST)
    shown += [db for db in dots.tolist() if low <= db <= high]
    room = max(0.5, 0.06 * (max(shown) - min(shown)))
    return min(shown) - room, max(shown) + room


def _db(row: Row) -> float:
    """What ranks the rows: the error where the truth is known, else that of prediction."""
    return row.error_db if row.predicted is None else row.predicted.db
