"""Threshold over step size, compared with the true l1 error, in every layer of a trained NA-ALISTA (Figure 5).

Condition (5) of the theory is `theta^(k) / gamma^(k) >= mu ||x^(k) - x*||_1` in every layer, with the error before the
layer. The authors' notebook uses the error after the layer; both are drawn.

The figure shows whether the network's thresholds follow the error. It does not show the guarantee, which does not hold
for these signals: at 1000 unknowns, mu = 0.27 allows two non-zeros without noise and support selection, and there are
50 of them, noise, and support selection. The ratio is about a tenth of what (5) requires, so that (5) holds for no
signal in any layer (`share_within_5`). In the authors' figure the ratio is a hundred times larger; their network has
first layers that do nothing.

Tables: `layers` (means and standard deviations over test signals; correlations over them, within a layer), `summary`
(correlation of the means over the layers), and the network's `results` and `log`. Networks are those of `na-fig6`.
The notebook has 2000 unknowns, the paper's main setting 1000; this has both.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...plots.style import BLACK, BLUE, RED
from ...theory import max_sparsity
from ...weights import analytic_weights, generalized_coherence
from ..cells import Row, Tables
from . import alista
from . import pictures as alista_pictures
from .alista import PARTIAL, SHARED, SNR, N

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "SHARED", "cells", "draw", "run"]

LINES = {
    "ratio": (BLACK, "o", r"$\theta^{(k)} / \gamma^{(k)}$, which (5) wants above the blue line"),
    "error_before": (BLUE, "s", r"$\tilde\mu \|x^{(k)} - x^*\|_1$, before the step"),
    "error_after": (RED, "^", r"$\tilde\mu \|x^{(k+1)} - x^*\|_1$, after it"),
}


def cells(quick: bool, seed: int, full: bool = False) -> list[Row]:
    """One per number of unknowns."""
    return [
        {
            "n": n,
            "signals": 2048 if quick else alista.SIGNALS,
            "seed": seed,
            "network": alista.trained_cell("NA_ALISTA_UR_128", n=n, size=alista.size_of(quick, full), seed=seed),
        }
        for n in ((N,) if quick else (N, 2000))
    ]


def run(cell: Row, folder: Path) -> Tables:
    """Train a network, or find it, and compare its thresholds with the errors."""
    net, ensemble, tables = alista.network(cell["network"], folder.parent)
    rng = torch.Generator().manual_seed(alista.TEST_SEED + cell["seed"])
    parts = [_traced(net, *ensemble.draw(count, rng)) for count in _batches(cell["signals"])]
    values = {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}
    W = analytic_weights(ensemble.A)
    mu = float(generalized_coherence(W, ensemble.A))
    layers = [_layer(cell["n"], k, mu, {name: v[k] for name, v in values.items()}) for k in range(len(values["ratio"]))]
    met = values["ratio"] >= mu * values["error_before"]
    summary = {
        "n": cell["n"],
        "signals": cell["signals"],
        "coherence": round(mu, 4),
        "guaranteed_sparsity": int(max_sparsity(ensemble.A, W)),
        "share_within_5": _short(met.double().mean()),
        "share_of_signals_within_5_in_all_layers": _short(met.all(0).double().mean()),
        "r_of_means_before": _r([row["mean_ratio"] for row in layers], [row["mean_error_before"] for row in layers]),
        "r_of_means_after": _r([row["mean_ratio"] for row in layers], [row["mean_error_after"] for row in layers]),
    }
    return {**tables, "layers": layers, "summary": [summary]}


def _batches(signals: int) -> list[int]:
    whole, rest = divmod(signals, alista.AT_ONCE)
    return [alista.AT_ONCE] * whole + [rest] * (rest > 0)


@torch.no_grad()
def _traced(net: Any, y: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Ratios and errors, `(layers, signals)`."""
    trace = list(net.trace(y))
    after = torch.stack([torch.linalg.vector_norm(layer.x - x, ord=1, dim=-1) for layer in trace])
    start = torch.linalg.vector_norm(x, ord=1, dim=-1).unsqueeze(0)  # x^(0) = 0
    ratio = torch.stack([(layer.theta / layer.gamma).squeeze(-1) for layer in trace])
    return {"ratio": ratio, "error_before": torch.cat([start, after[:-1]]), "error_after": after}


def _layer(n: int, k: int, mu: float, values: dict[str, Tensor]) -> Row:
    """`k` counts from 0, as the iterate that the layer begins with."""
    ratio = values["ratio"]
    row: Row = {"n": n, "layer": k}
    for name, v in values.items():
        row[f"mean_{name}"], row[f"std_{name}"] = _short(v.double().mean()), _short(v.double().std())
    row["r_before"] = _r(ratio, values["error_before"])
    row["r_after"] = _r(ratio, values["error_after"])
    row["share_within_5"] = _short((ratio >= mu * values["error_before"]).double().mean())
    return row


def _r(a: Any, b: Any) -> float:
    pair = torch.stack([torch.as_tensor(v, dtype=torch.float64) for v in (a, b)])
    return _short(torch.corrcoef(pair)[0, 1])


def _short(value: Any) -> float:
    return float(f"{float(value):.5g}")


def draw(tables: Tables, quick: bool) -> Figure:
    """A panel per number of unknowns: both sides of the condition (5), on one axis."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    summary = tables["summary"]
    figure = alista_pictures.new_figure(len(summary), 1)
    for ax, row in zip(figure.subplots(1, len(summary), squeeze=False)[0], summary, strict=True):
        _panel(ax, [layer for layer in tables["layers"] if layer["n"] == row["n"]], row)
    handles: list[Any] = [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=label)
        for colour, marker, label in LINES.values()
    ]
    handles.append(Patch(color="0.8", label="one standard deviation over test signals"))
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure


def _panel(ax: Axes, rows: list[Row], summary: Row) -> None:
    k, mu = [row["layer"] for row in rows], summary["coherence"]
    for (name, (colour, marker, _)), factor in zip(LINES.items(), (1, mu, mu), strict=True):
        mean, std = ([factor * row[f"{what}_{name}"] for row in rows] for what in ("mean", "std"))
        ax.plot(k, mean, color=colour, marker=marker, markersize=4, linewidth=1.2)
        low = [max(m - s, m / 10) for m, s in zip(mean, std, strict=True)]
        high = [m + s for m, s in zip(mean, std, strict=True)]
        ax.fill_between(k, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.set_yscale("log")
    met = summary["share_of_signals_within_5_in_all_layers"] * summary["signals"]
    title = (
        f"N = {summary['n']}, {SNR} dB; (5) holds for {met:.0f} of {summary['signals']} signals\n"
        f"r of the means: {summary['r_of_means_before']:.2f} before the step, {summary['r_of_means_after']:.2f} after"
    )
    alista_pictures.finish(ax, title, "layer k", "units of x")
    ax.title.set_fontsize(9)
