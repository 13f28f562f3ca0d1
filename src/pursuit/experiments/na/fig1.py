"""Are the inputs of the LSTM related to the error? Scatter plots of l1 norms, a point per signal (Figure 1).

- (a), (b): `||x||_1` against `u = ||W^H A x||_1`, for Gaussian x with 15 non-zeros, and with all 1000. `W^H A`
  preserves norms of sparse vectors, not of others.
- (c), (d): in a trained NA-ALISTA (16 layers, 1000 unknowns, 40 dB), `u^(5)`, of the iterate after five layers, against
  the l1 errors of `x^(6)` and of `x^(8)`.

Tables: `points`, `summary` (Pearson's r; the paper prints no numbers), and the network's `results` and `log`. The
network is that of `na-fig6`; it is trained only if no folder beside this one has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...ensembles import bernoulli_gaussian
from ...plots.style import BLUE
from ...weights import analytic_weights
from ..cells import Row, Tables
from . import alista
from . import pictures as alista_pictures
from .alista import PARTIAL, SHARED, SNR, K, M, N

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "SHARED", "cells", "draw", "run"]

SUPPORTS = (15, N)
TOLD, LATER = 5, (6, 8)
PANELS = {
    "15 non-zeros": "(a) sparse",
    f"{N} non-zeros": "(b) dense",
    f"layer {LATER[0]}": "(c) next layer",
    f"layer {LATER[1]}": "(d) three layers on",
}


def cells(quick: bool, seed: int, full: bool = False) -> list[Row]:
    """One cell without a network, and one with a network."""
    points = 500 if quick else 1000
    network = alista.trained_cell("NA_ALISTA_UR_128", size=alista.size_of(quick, full), seed=seed)
    return [
        {"part": "vectors", "points": points, "seed": seed},
        {"part": "network", "points": points, "seed": seed, "network": network},
    ]


def run(cell: Row, folder: Path) -> Tables:
    """The points of two panels."""
    return _vectors(cell) if cell["part"] == "vectors" else _within(cell, folder)


def _vectors(cell: Row) -> Tables:
    A = bernoulli_gaussian(n=N, m=M, seed=cell["seed"]).A
    W, rng = analytic_weights(A), torch.Generator().manual_seed(alista.TEST_SEED + cell["seed"])
    tables: Tables = {"points": [], "summary": []}
    for support in SUPPORTS:
        x = torch.randn(cell["points"], N, generator=rng, dtype=A.dtype)
        order = torch.rand(cell["points"], N, generator=rng).argsort(-1)
        x = x.scatter(-1, order[:, support:], 0)
        _add(tables, f"{support} non-zeros", _l1(x), _l1(W.adjoint(A.forward(x))))
    return tables


def _within(cell: Row, folder: Path) -> Tables:
    net, ensemble, tables = alista.network(cell["network"], folder.parent)
    y, x = ensemble.draw(cell["points"], torch.Generator().manual_seed(alista.TEST_SEED + cell["seed"]))
    with torch.no_grad():
        trace = list(net.trace(y))
    told = trace[TOLD].u.squeeze(-1)  # the layer that begins with x^(5)
    tables = {**tables, "points": [], "summary": []}
    for k in LATER:
        _add(tables, f"layer {k}", _l1(trace[k - 1].x - x), told)
    return tables


def _add(tables: Tables, panel: str, norms: Tensor, u: Tensor) -> None:
    r = float(torch.corrcoef(torch.stack([norms, u]).double())[0, 1])
    tables["summary"].append({"panel": panel, "pearson_r": round(r, 4), "points": len(u)})
    tables["points"] += [
        {"panel": panel, "l1_norm": float(f"{a:.5g}"), "u": float(f"{b:.5g}")}
        for a, b in zip(norms.tolist(), u.tolist(), strict=True)
    ]


def _l1(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, ord=1, dim=-1)


def draw(tables: Tables, quick: bool) -> Figure:
    """Four scatter plots."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.6), dpi=110, layout="constrained")
    axes = figure.subplots(2, 2)
    r = {row["panel"]: row["pearson_r"] for row in tables["summary"]}
    for ax, (panel, title) in zip(axes.flat, PANELS.items(), strict=True):
        rows = [row for row in tables["points"] if row["panel"] == panel]
        if rows:
            _scatter(ax, rows, f"{title}: {panel}, r = {r[panel]:.2f}", panel)
    alista_pictures.hide_unused(figure)
    return figure


def _scatter(ax: Axes, rows: Sequence[Row], title: str, panel: str) -> None:
    after: Any = panel.rpartition(" ")[2]
    inside = panel.startswith("layer")
    ax.plot([row["l1_norm"] for row in rows], [row["u"] for row in rows], ".", color=BLUE, markersize=3, alpha=0.6)
    x = rf"true error $\|x^{{({after})}} - x^*\|_1$" if inside else r"$\|x\|_1$"
    u = rf"$u^{{({TOLD})}} = \|W^H(A x^{{({TOLD})}} - y)\|_1$" if inside else r"$u = \|W^H A x\|_1$"
    alista_pictures.finish(ax, title, f"{x} (units of x)", f"{u} (units of x)")
    ax.grid(color="0.92")
    if inside:
        ax.set_title(f"{title}\nNA-ALISTA, K = {K}, N = {N}, {SNR} dB", fontsize=9, loc="left")
