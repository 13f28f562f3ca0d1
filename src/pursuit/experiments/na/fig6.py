"""Reconstruction error over the number of layers, for three numbers of unknowns and two noise levels (Figure 6).

Models and settings are those of `pursuit.experiments.na.alista`; panels show what is finished. LAMP is not in the
paper, nor in the form `full`. At the paper's main setting there are three seeds, of matrix, signals and training.
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
SEEDS = 3  # at the main setting


def cells(quick: bool, seed: int, full: bool = False) -> list[Row]:
    """Cells of every model; the paper's main setting first."""
    if quick:
        return alista.quick_cells(seed)
    # Each depth of the paper's protocol is a training of its own.
    chains = [(k,) for k in (K, *(k for k in LAYERS if k != K))] if full else [None]
    return alista.distinct(
        alista.cell_of(model, size=alista.size_of(quick, full), seed=seed + more, n=n, layers=layers, snr=snr)
        for layers in chains
        for snr in SNRS
        for n in SIZES
        for more in range(SEEDS if (n, snr) == (N, SNR) and not full else 1)
        for model in alista.models(full)
    )


def draw(tables: Tables, quick: bool) -> Figure:
    """A panel per number of unknowns and noise level, with the differences below."""
    return alista_pictures.over_layers(tables["results"])
