"""OFDM channel estimation: complex signals, few pilots, 10 dB; reconstruction error over the number of layers.

256 taps, of which 8 are expected, fading; 100, 75 or 50 pilots among 1024 subcarriers (`pursuit.ensembles.ofdm`). The
experiment is in the authors' code and not in the paper. Their published values could not be reproduced from their own
checkpoints, so they are accurate to about 2 dB only.

By default their mistakes are corrected: pilots are distinct; each signal sets the level of its own noise, on pilots
only; signals are new in every epoch. `published_protocol` has their pilots, drawn with replacement (93, 73, 49 distinct
ones; a pilot drawn twice is measured once), and 49 920 signals drawn once. `full` has their training, of each number of
layers for itself (70 + 9 K epochs at 5e-5), with either data. Their noise, whose level is that of other signals, is in
neither.

The authors' operator is part of the orthonormal transform, with columns of norm `c = sqrt(m / 1024)`. Ours has unit
columns, and measurements 1 / c times theirs, so that x, thresholds and gates have the same units as theirs. Step sizes
are `c^2` times theirs: they start from `3 c^2`, NA-ALISTA's are `3 c^2` times the output of its head, and ISTA's with L
= 1 is `c^2`. Back-projections are by the adjoint, as theirs. ISTA's penalty is 0.031, which fits the published curve
(the one in their file, 0.4, gives x = 0), FISTA's is 0.003.

Least squares on the true support, which does not depend on the layers, is drawn as a reference.

Networks get the operator as a matrix: at these sizes that is three to ten times faster than the FFT.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ... import nets
from ...ensembles import BernoulliGaussian, ofdm
from ...operators import Dense
from ..cells import Row, Tables
from . import alista
from . import pictures as alista_pictures
from .alista import PARTIAL, sort_key
from .oracle import least_squares, nmse_db

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "cells", "draw", "run", "sort_key"]

N, S, SNR = 256, 8, 10
PERIOD, BAND = 1024, (212, 812)
PILOTS = (100, 75, 50)
LAYERS = (1, *range(2, 25, 2))
DEPTH = 16  # first
QUICK_DEPTHS = (2, 4, 8)
ORACLE = "oracle"  # the name of the model that is told the support
LAMBDAS = {"ISTA": 0.031, "FISTA": 0.003}
SELECTION = nets.CountSchedule(S, share=1.5, low=3, high=10)
GAMMA, THETA = 3.0, 0.02  # starts, in the authors' units
SCALES = 3.0, 1 / 20  # of NA-ALISTA's step size and threshold, likewise

ONCE = 390  # batches of signals that are drawn once

# Thresholds are of the order of 0.01, hence slower than the rest.
SHORT: Row = {**alista.SHORT, "rates": {"theta": 0.1}}
TINY: Row = {**alista.TINY, "rates": {"theta": 0.1}}
RECIPES: dict[str, dict[str, Row]] = {
    "quick": {
        "ALISTA": {**TINY, "epochs": 4, "last": 6, "steps": 40, "lr": 1e-2},
        "NA_ALISTA": {**TINY, "rates": None, "epochs": 4, "last": 8, "steps": 60, "lr": 2e-3},
    },
    "ours": {
        "ALISTA": {**SHORT, "epochs": 4, "last": 12, "lr": 1e-2},
        "NA_ALISTA": {**SHORT, "rates": None, "epochs": 6, "last": 16, "lr": 2e-3},
    },
    "once": {
        "ALISTA": {**SHORT, "epochs": 1, "last": 4, "steps": ONCE, "lr": 1e-2},
        "NA_ALISTA": {**SHORT, "rates": None, "epochs": 2, "last": 5, "steps": ONCE, "lr": 2e-3},
    },
    # The authors' loss is a mean over real and imaginary parts of n entries.
    "full": {
        kind: {**numbers, "epochs": 70, "epochs_per_layer": 9, "lr": 5e-5, "clip_per_entry": 2.0}
        for kind, numbers in alista.RECIPES["full"].items()
    },
}


def cells(quick: bool, seed: int, full: bool = False, published_protocol: bool = False) -> list[Row]:
    """Cells of every model; in the authors' training each number of layers is one of its own."""
    size = alista.size_of(quick, full)
    protocol = "published" if published_protocol else "mended"
    own = size == "full"
    chains = [(k,) for k in (DEPTH, *(k for k in LAYERS if k != DEPTH))] if own else [QUICK_DEPTHS if quick else LAYERS]
    counts = PILOTS[:1] if quick else PILOTS
    names = (*(alista.quick_models() if quick else alista.COMPARED), ORACLE)
    return alista.distinct(
        _cell(model, m, layers, size, protocol, seed) for layers in chains for m in counts for model in names
    )


def _cell(model: str, m: int, layers: Sequence[int], size: str, protocol: str, seed: int) -> Row:
    shared = {"model": model, "n": N, "m": m, "snr": SNR, "protocol": protocol, "seed": seed}
    if model in alista.CLASSICAL:
        return {**shared, "layers": list(LAYERS), "signals": alista.signals(size)}
    if model == ORACLE:
        return {**shared, "signals": alista.signals(size)}
    numbers = alista.recipe("once" if (size, protocol) == ("ours", "published") else size, model, N, RECIPES)
    return {**shared, "layers": list(layers), "size": size, "recipe": {**numbers, "fresh": protocol == "mended"}}


def run(cell: Row, folder: Path) -> Tables:
    """A solver or a network."""
    ensemble = problem(cell)
    if cell["model"] == ORACLE:
        db = alista.rounded(nmse_db(least_squares(ensemble), ensemble, cell))
        return {"oracle": [{**{name: cell[name] for name in ("n", "m", "snr", "seed", "signals")}, "test_db": db}]}
    c2 = ensemble.A.shape[0] / PERIOD  # squared norm of the authors' columns
    if cell["model"] in alista.CLASSICAL:
        errors = alista.classical_errors(cell, ensemble, c2, LAMBDAS[cell["model"]])
        return {"results": [alista.classical_row(cell, k, *db, published(cell, k)) for k, db in errors.items()]}
    _, tables = alista.grow(
        cell, folder, ensemble, build=lambda at: network(at, ensemble), theirs=lambda layers: published(cell, layers)
    )
    return tables


def problem(cell: Row) -> BernoulliGaussian:
    """Channels and pilots of a protocol."""
    if cell["protocol"] == "mended":
        return ofdm(n=N, m=cell["m"], k=S, snr=float(SNR), period=PERIOD, band=BAND, seed=cell["seed"])
    drawn = np.random.RandomState(322).randint(*BAND, size=(cell["m"],))
    return ofdm(n=N, k=S, snr=float(SNR), period=PERIOD, band=BAND, pilots=sorted(set(drawn.tolist())))


def network(cell: Row, ensemble: BernoulliGaussian) -> object:
    """The network before training, its numbers in the units of unit columns."""
    c2 = ensemble.A.shape[0] / PERIOD
    A = Dense(ensemble.A.to_dense())
    return alista.built(
        cell, A, selection=SELECTION, W=A, gamma=GAMMA * c2, theta=THETA,
        scale_gamma=SCALES[0] * c2, scale_theta=SCALES[1],
    )  # fmt: skip


def published(cell: Row, layers: int) -> float | None:
    """The published value of the cell's model after so many layers."""
    return alista.published(cell["model"], N, layers, SNR, cell["m"])


def draw(tables: Tables, quick: bool) -> Figure:
    """Ours above, the published values below, a panel per number of pilots."""
    rows = tables["results"]
    counts = sorted({row["m"] for row in rows}, reverse=True)
    figure = alista_pictures.new_figure(len(counts), 2)
    axes = figure.subplots(2, len(counts), squeeze=False)
    for (above, below), m in zip(axes.T, counts, strict=True):
        mine = [row for row in rows if row["m"] == m]
        alista_pictures.ours(above, mine, "layers", LAYERS)
        alista_pictures.published(below, LAYERS, alista.published_over_layers(N, SNR, m))
        below.sharex(above)
        for row in tables.get("oracle", []):
            if row["m"] == m:
                above.axhline(row["test_db"], color="0.5", linestyle=":", linewidth=1)
                above.annotate("least squares on the true support", (1, row["test_db"]), (0, -3), fontsize=8, va="top",
                               color="0.4", textcoords="offset points")  # fmt: skip
        alista_pictures.finish(above, f"ours: {m} pilots", "layers K")
        alista_pictures.finish(below, f"published: {m} pilots, drawn with replacement", "layers K")
    same = {row.get("protocol") for row in rows} == {"published"}
    other = "other noise than ours" if same else "other pilots and noise, not comparable with ours"
    alista_pictures.explain(figure, rows, theirs=f"published: {other}")
    return figure
