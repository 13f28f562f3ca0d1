"""Reconstruction error over the number of unknowns (Figure 3), with 16 layers and with 26.

The published plot is of 26 layers under a file name that says 16; the authors' results hold both. Our networks have 16
layers, those of 26 are in the form `full`. Cells of 500, 1000 and 2000 unknowns are those of `na-fig6`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..cells import Row, Tables
from . import alista
from . import pictures as alista_pictures
from .alista import PARTIAL, SHARED, SNR, K, N, run, sort_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "SHARED", "cells", "draw", "run", "sort_key"]

SIZES = tuple(range(500, 2501, 250))
DEPTHS, SNRS = (K, 26), (SNR, 20)


def cells(quick: bool, seed: int, full: bool = False) -> list[Row]:
    """Cells of every model; the paper's main setting first."""
    if quick:
        return alista.quick_cells(seed)
    sizes = (N, *(n for n in SIZES if n != N))
    return alista.distinct(
        alista.cell_of(model, size=alista.size_of(quick, full), seed=seed, n=n, layers=layers, snr=snr)
        for layers in ([(k,) for k in DEPTHS] if full else [None])
        for snr in SNRS
        for n in sizes
        for model in alista.models(full)
    )


def draw(tables: Tables, quick: bool) -> Figure:
    """A panel per depth and noise level of which a network is trained, with the differences below."""
    wanted = (alista.QUICK_LAYERS,) if quick else DEPTHS
    rows = [row for row in tables["results"] if row["layers"] in wanted]
    rows = [row for row in rows if _trained(rows, row["layers"], row["snr"])] or rows
    settings = sorted({(row["layers"], -row["snr"]) for row in rows})
    depths, snrs = sorted({k for k, _ in settings}), sorted({low for _, low in settings})
    figure, axes = alista_pictures.panels_of(len(depths), len(snrs))
    for k, low in settings:
        mine = [row for row in rows if (row["layers"], -row["snr"]) == (k, low)]
        alista_pictures.panel(
            axes[depths.index(k)][snrs.index(low)], mine, "n", SIZES, _published(k, -low),
            f"K = {k}, SNR = {-low} dB, M = {alista.M}", "unknowns N",
        )  # fmt: skip
    alista_pictures.hide_unused(figure)
    alista_pictures.explain(figure, rows)
    return figure


def _published(layers: int, snr: int) -> Callable[[str, int], float | None]:
    return lambda model, n: alista.published(model, n, layers, snr)


def _trained(rows: list[Row], layers: int, snr: int) -> bool:
    """Whether the panel has any network: the rows of ISTA exist for all depths."""
    return any((row["layers"], row["snr"]) == (layers, snr) and row["model"] not in alista.CLASSICAL for row in rows)
