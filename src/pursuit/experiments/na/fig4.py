"""Reconstruction error over the size of NA-ALISTA's LSTM (Figure 4): 16 layers, 40 dB, three numbers of unknowns.

Cells of size 128 are those of `na-fig6`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...plots.style import BLUE, GREEN, RED
from ..cells import Row, Tables
from . import alista
from . import pictures as alista_pictures
from .alista import PARTIAL, SHARED, SNR, K, N, run, sort_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "SHARED", "cells", "draw", "run", "sort_key"]

HIDDEN = (16, 32, 64, 128, 256)
SIZES = (N, 500, 2000)
COLOURS = {500: (GREEN, "s"), 1000: (BLUE, "o"), 2000: (RED, "^")}


def cells(quick: bool, seed: int, full: bool = False) -> list[Row]:
    """Cells of every size; the paper's main setting first, then the extremes."""
    size = alista.size_of(quick, full)
    if quick:
        return [alista.trained_cell(_model(hidden), size=size, seed=seed) for hidden in (128, 16)]
    order = (128, 16, 256, 64, 32)
    return [alista.trained_cell(_model(hidden), size=size, seed=seed, n=n) for n in SIZES for hidden in order]


def draw(tables: Tables, quick: bool) -> Figure:
    """A curve per number of unknowns."""
    rows = [row for row in tables["results"] if row.get("test_db") is not None]
    figure = alista_pictures.new_figure(1, 1)
    ax = figure.subplots()
    for n in sorted({row["n"] for row in tables["results"]}):
        colour, marker = COLOURS[n]
        theirs = [(h, alista.published(_model(h), n, K, SNR)) for h in HIDDEN]
        ax.plot(*zip(*theirs, strict=True), "--", color=colour, marker=marker, markerfacecolor="none", linewidth=0.9,
                label=f"N = {n}, published, least of all epochs on test signals")  # fmt: skip
        for seed in sorted({row["seed"] for row in rows if row["n"] == n}):
            mine = sorted((_hidden(r["model"]), r["test_db"]) for r in rows if (r["n"], r["seed"]) == (n, seed))
            ax.plot(*zip(*mine, strict=True), color=colour, marker=marker, linewidth=1.4,
                    label=f"N = {n}, ours, test signals")  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.set_xticks(HIDDEN, [str(h) for h in HIDDEN])
    alista_pictures.finish(ax, f"NA-ALISTA, K = {K}, SNR = {SNR} dB", "size H of the LSTM")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure


def _model(hidden: int) -> str:
    return f"NA_ALISTA_UR_{hidden}"


def _hidden(model: str) -> int:
    return int(model.rpartition("_")[2])
