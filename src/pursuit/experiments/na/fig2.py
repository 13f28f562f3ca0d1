"""Reconstruction error over the number of layers for 2000 unknowns at 40 dB (Figure 2), a panel of Figure 6.

The cells are those of `na-fig6`. The quick form has 1000 unknowns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cells import Row, Tables
from . import fig6 as na_fig6
from . import pictures as alista_pictures
from .alista import PARTIAL, SHARED, SNR, run, sort_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "SHARED", "cells", "draw", "run", "sort_key"]

UNKNOWNS = 2000


def cells(quick: bool, seed: int, full: bool = False) -> list[Row]:
    """The cells of Figure 6 that the panel needs."""
    every = na_fig6.cells(quick=quick, seed=seed, full=full)
    return every if quick else [cell for cell in every if (cell["n"], cell["snr"]) == (UNKNOWNS, SNR)]


def draw(tables: Tables, quick: bool) -> Figure:
    """The panel, with the differences below."""
    return alista_pictures.over_layers(tables["results"])
