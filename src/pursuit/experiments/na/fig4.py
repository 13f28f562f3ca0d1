"""Reconstruction error over the size of NA-ALISTA's LSTM and for its inputs (Figure 4): 16 layers, 40 dB.

Cells of size 128 are those of `na-fig6`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...plots.style import BLUE, GREEN, RED
from ..cells import Row, Tables
from . import alista
from . import pictures as alista_pictures
from .alista import PARTIAL, SHARED, SNR, K, N, run, sort_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "SHARED", "cells", "draw", "run", "sort_key"]

HIDDEN = (16, 32, 64, 128, 256)
INPUTS = ("UR", "U", "R")
QUICK = (2, 8, 16)  # layers: published values are of 16
SIZES = (N, 500, 2000)
COLOURS = {500: (GREEN, "s"), 1000: (BLUE, "o"), 2000: (RED, "^")}


def cells(quick: bool, seed: int, full: bool = False) -> list[Row]:
    """Cells of every size; the paper's main setting first, then the extremes."""
    size = alista.size_of(quick, full)
    if quick:
        return [alista.trained_cell(_model(hidden), size=size, seed=seed, layers=QUICK) for hidden in (128, 16)]
    order = [(128, "UR"), (16, "UR"), (128, "U"), (128, "R"), (256, "UR"), (64, "UR"), (32, "UR")]
    return [alista.trained_cell(_model(*one), size=size, seed=seed, n=n) for n in SIZES for one in order]


def draw(tables: Tables, quick: bool) -> Figure:
    """A curve per number of unknowns; lines join neighbouring sizes only."""
    rows = [row for row in tables["results"] if row.get("test_db") is not None]
    figure = alista_pictures.new_figure(1, 1)
    ax = figure.subplots()
    sizes = sorted({row["n"] for row in tables["results"]})
    for n in sizes:
        colour, marker = COLOURS[n]
        theirs = [(h, alista.published(_model(h), n, K, SNR)) for h in HIDDEN]
        ax.plot(*zip(*theirs, strict=True), "--", color=colour, marker=marker, markerfacecolor="none", linewidth=0.9)
        for seed in sorted({row["seed"] for row in rows if row["n"] == n}):
            mine = {_hidden(row["model"]): row["test_db"] for row in rows if (row["n"], row["seed"]) == (n, seed)}
            ax.plot(HIDDEN, [mine.get(h, math.nan) for h in HIDDEN], color=colour, marker=marker, linewidth=1.4)
    ax.set_xscale("log", base=2)
    ax.set_xticks(HIDDEN, [str(h) for h in HIDDEN])
    alista_pictures.finish(ax, f"NA-ALISTA, K = {K}, SNR = {SNR} dB", "size H of the LSTM (hidden units)")
    figure.legend(handles=_handles(sizes), loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    return figure


def _handles(sizes: list[int]) -> list[Any]:
    """Numbers of unknowns by colour and symbol, ours and published by line and filling."""
    from matplotlib.lines import Line2D

    by_size: list[Any] = [
        Line2D([], [], color=COLOURS[n][0], marker=COLOURS[n][1], linestyle="none", label=f"N = {n}") for n in sizes
    ]
    by_origin = [
        Line2D([], [], color="0.3", marker="o", linewidth=1.4, label=alista_pictures.OURS),
        Line2D([], [], color="0.3", marker="o", markerfacecolor="none", linestyle="--", linewidth=0.9,
               label=alista_pictures.PUBLISHED),
    ]  # fmt: skip
    return [*by_size, *by_origin]


def _model(hidden: int, inputs: str = "UR") -> str:
    return f"NA_ALISTA_{inputs}_{hidden}"


def _hidden(model: str) -> int:
    return int(model.rpartition("_")[2])
