"""Reconstruction error over the number of layers, for three numbers of unknowns and two noise levels (Figure 6).

Models and settings are those of `pursuit.experiments.na.alista`; panels show what is finished. LAMP is not in the
paper, nor in the form `full`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cells import Row, Tables
from . import alista
from . import pictures as alista_pictures
from .alista import LAYERS, PARTIAL, SHARED, SNR, K, N, run, sort_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "SHARED", "cells", "draw", "run", "sort_key"]

SIZES, SNRS = (N, 500, 2000), (SNR, 20)


def cells(quick: bool, seed: int, full: bool = False) -> list[Row]:
    """Cells of every model; the paper's main setting first."""
    if quick:
        return alista.quick_cells(seed)
    models = alista.models(full)
    depths = (K, *(k for k in LAYERS if k != K))
    return alista.distinct(
        alista.cell_of(model, size=alista.size_of(quick, full), seed=seed, n=n, layers=layers, snr=snr)
        for layers in depths
        for snr in SNRS
        for n in SIZES
        for model in models
    )


def draw(tables: Tables, quick: bool) -> Figure:
    """A panel per number of unknowns and noise level; beside a single one, its bars at the paper's depth."""
    return alista_pictures.over_layers(tables["results"])
