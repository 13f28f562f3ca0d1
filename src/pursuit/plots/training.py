"""The figures of `pursuit train`: losses over the epochs, and learned weights next to those of the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, log10
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..training import Epoch
from .style import BLACK, BLUE, GREEN, ORANGE, RED, SKY, counted

PUBLISHED = (GREEN, SKY)
Curve = tuple[Sequence[float], Sequence[float]]


def draw(
    path: Path, log: Sequence[Epoch], published: Mapping[str, Curve] | None = None, *, kept: int | None = None
) -> None:
    """Draw the losses of a training, and mark the epoch whose parameters were kept; the right axis is in dB.

    Parameters
    ----------
    path : Path
        A .png file.
    log : sequence of Epoch
    published : mapping of str to pair of sequences, optional
        Epochs and losses of other runs to draw in the background, by their names.
    kept : int, optional
        The epoch that was kept. Default: that of the least validation loss. In a layer-wise training it is another one
        if a cut network has the least loss.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    ax = figure.subplots()
    for i, (name, (epochs, losses)) in enumerate((published or {}).items()):
        ax.plot(epochs, losses, color=PUBLISHED[i % len(PUBLISHED)], linewidth=0.8, label=name)
    validated = [(record.epoch, record.validation_loss) for record in log if record.validation_loss is not None]
    ax.plot([record.epoch for record in log], [record.train_loss for record in log], color=BLUE, label="training")
    ax.plot(*zip(*validated, strict=True), color=RED, label="validation")
    epoch, loss = min((point for point in validated if kept in (None, point[0])), key=lambda point: point[1])
    ax.plot(epoch, loss, "o", color=BLACK, markersize=4, label=f"kept: epoch {epoch}, {loss:.3g}")
    ax.set_yscale("log")
    ax.set_xlabel("epoch", fontsize=9)
    ax.set_ylabel(r"mean of $\|\hat{x} - x\|^2$", fontsize=9)
    counted(ax.xaxis)
    ax.tick_params(which="both", labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    _draw_decibels(ax, log)
    ax.legend(fontsize=8, frameon=False)
    write_whole(path, lambda file: figure.savefig(file, format="png"))


def _draw_decibels(ax: Any, log: Sequence[Epoch]) -> None:
    """The right axis: losses as NMSE of the validation signals, from an epoch with both."""
    known = (record for record in log if record.validation_loss and record.validation_db is not None)
    record = next((record for record in known if isfinite(record.validation_db or 0)), None)
    if record is None:
        return
    assert record.validation_loss is not None
    assert record.validation_db is not None
    offset = record.validation_db - 10 * log10(record.validation_loss)
    low, high = ax.get_ylim()
    right = ax.twinx()
    right.set_ylim(10 * log10(low) + offset, 10 * log10(high) + offset)
    right.set_ylabel("NMSE (dB)", fontsize=9)
    right.tick_params(labelsize=8)
    right.spines[["top", "left"]].set_visible(False)


def draw_weights(path: Path, weights: Sequence[float], oracle: Sequence[float] | None = None) -> None:
    """Draw structure weights, and the places where non-zeros can be.

    Parameters
    ----------
    path : Path
        A .png file.
    weights : sequence of float
        A network's `weights`.
    oracle : sequence of float, optional
        1 where non-zeros can be and 0 elsewhere, an ensemble's `admissible`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), dpi=120, layout="constrained")
    ax = figure.subplots()
    stems(ax, weights, oracle)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", ncols=3, fontsize=8, frameon=False)
    write_whole(path, lambda file: figure.savefig(file, format="png"))


def stems(ax: Any, weights: Sequence[float], oracle: Sequence[float] | None = None) -> None:
    """Structure weights over the index; colours show where non-zeros can be."""
    inside = [bool(o) for o in oracle] if oracle is not None else [True] * len(weights)
    for here, colour, label in ((False, "0.55", "elsewhere"), (True, BLUE, "admissible places")):
        mine = [(j, w) for j, w in enumerate(weights) if inside[j] is here]
        if not mine:
            continue
        at, values = zip(*mine, strict=True)
        ax.vlines(at, 0, values, color=colour, linewidth=0.8)
        ax.plot(at, values, "o", color=colour, markersize=3, label="learned" if oracle is None else f"learned, {label}")
    if oracle is not None:
        places = [j for j, here in enumerate(inside) if here]
        # In a strip below the axis: only ratios of weights matter, so that the oracle's have no height.
        ax.plot(places, [-0.04 * max(weights)] * len(places), "|", color=ORANGE, markersize=7, markeredgewidth=1.5,
                label="oracle: 1 here, else 0")  # fmt: skip
        ax.axhline(0, color=BLACK, linewidth=0.6)
    ax.set_ylim(bottom=0 if oracle is None else -0.08 * max(weights))
    ax.set_xlabel("index", fontsize=9)
    ax.set_ylabel("structure weight |w|", fontsize=9)
    ax.tick_params(labelsize=8)
