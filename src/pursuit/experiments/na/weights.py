"""ALISTA with the exact weights W, and with those of the authors' code (not in the paper).

The authors stop a descent towards the weights early. At N = 500 the difference is largest: exact weights interfere less
and let more noise through. Both are trained alike, at 40 and 20 dB; published values are of the authors' weights.

Table: `results`, a row per weights, noise level and number of layers. `coherence` is the largest `|W_i^T A_j|` of
different columns, `noise` the mean squared norm of a column of W: the variance that noise has after back-projection, as
a multiple of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ... import nets
from ...operators import Operator
from ...plots.style import BLUE, ORANGE
from ...weights import analytic_weights, generalized_coherence
from ..cells import Row, Tables
from . import alista
from . import pictures as alista_pictures
from .alista import PARTIAL
from .projected_gradients import projected_gradient_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "cells", "draw", "run"]

N, SNRS = 500, (40, 20)
WEIGHTS = {"exact": (BLUE, "o"), "published": (ORANGE, "s")}


def cells(quick: bool, seed: int) -> list[Row]:
    """One per weights and noise level."""
    size, snrs = alista.size_of(quick, full=False), SNRS[:1] if quick else SNRS
    trained = [alista.trained_cell("ALISTA", size=size, seed=seed, n=N, snr=snr) for snr in snrs]
    return [{"weights": weights, **cell, "recipe": plain(cell["recipe"])} for cell in trained for weights in WEIGHTS]


def plain(recipe: Row) -> Row:
    """A recipe without harder signals, which the authors do not have."""
    return {name: value for name, value in recipe.items() if name != "harder"}


def run(cell: Row, folder: Path) -> Tables:
    """Train ALISTA with these weights."""
    ensemble = alista.problem(cell)
    W = weights_of(cell["weights"], ensemble.A)
    _, tables = alista.grow(
        cell,
        folder,
        ensemble,
        build=lambda at: alista.built(at, ensemble.A, selection=nets.CountSchedule(alista.S), W=W),
        theirs=lambda layers: alista.published("ALISTA", cell["n"], layers, cell["snr"]),
    )
    about = {
        "weights": cell["weights"],
        "coherence": round(float(generalized_coherence(W, ensemble.A)), 3),
        "noise": round(float(W.square().sum(0).mean()), 3),
    }
    return {"results": [{**about, **row} for row in tables["results"]]}


def weights_of(name: str, A: Operator) -> Tensor:
    """The exact weights, or those of the authors' code, of which the published values are."""
    dense = A.to_dense()
    W: Tensor = analytic_weights(dense) if name == "exact" else projected_gradient_weights(dense, legacy=True)
    return W


def draw(tables: Tables, quick: bool) -> Figure:
    """A panel per noise level: ours minus published, over the layers."""
    rows = [row for row in tables["results"] if row["difference"] is not None]
    snrs = sorted({row["snr"] for row in rows}, reverse=True)
    figure = alista_pictures.new_figure(len(snrs), 1)
    for ax, snr in zip(figure.subplots(1, len(snrs), squeeze=False)[0], snrs, strict=True):
        for name, (colour, marker) in WEIGHTS.items():
            mine = sorted(
                (row["layers"], row["difference"]) for row in rows if (row["snr"], row["weights"]) == (snr, name)
            )
            ax.plot(*zip(*mine, strict=True), color=colour, marker=marker, label=f"{name} weights")
        ax.axhline(0, color="0.6", linewidth=0.8)
        ax.legend(fontsize=8)
        alista_pictures.finish(ax, f"ALISTA, N = {N}, SNR = {snr} dB", "layers K", "ours - published (dB)")
    return figure
