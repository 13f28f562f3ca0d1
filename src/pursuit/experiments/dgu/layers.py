"""Do own weights for each layer, learned step sizes or temperatures help? An open question of "Deep greedy unfolding".

IHT-Net (15 layers, 20 Fourier samples) and OMP-Net (4 layers, 12 samples) are trained on the problem of
`pursuit.experiments.small_networks` in every combination of

- weights: shared, or each layer its own,
- step size (IHT-Net): fixed at 0.5, or learned, one per layer, from there,
- tau: fixed at 1e-3, or learned, one per layer, from there, or annealed from 1e-1 to 1e-3 over half of the epochs,

with the same epochs (40 and 60), signals and learning rate (1e-2, RMSprop, half a cosine). The step size and tau are
learned through their logarithms.

- `variants`: losses and errors of every variant and seed, on 1024 (quick: 256) test signals.
- `references`: errors of the hard solver with weights 1 and with the oracle's weights on the same signals.
- `values`: step sizes and temperatures per layer after training.

The figure has a line per variant and a symbol per seed, so that one seed can be followed through the variants: each
seed has its own matrix and signals, and seeds differ more than many variants do. The reference is the variant with
shared weights and nothing else learned; the solid line is its median loss. The number on the right is the median over
the seeds of the ratio of a variant's loss to the reference's.
"""

from __future__ import annotations

import math
import statistics
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...nets import Learned
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED
from ..cells import Row, Tables
from ..small_networks import (
    ANNEALED,
    ETA,
    FAMILY,
    TAU,
    build,
    errors,
    fresh_signals,
    hard,
    legend_above,
    problem,
    recover,
    rounded,
    tidy,
    train,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

M = {"iht": 20, "omp": 12}
EPOCHS = {"iht": 40, "omp": 60}  # OMP-Net learns more slowly
WEIGHTS, ETAS = ("shared", "per-layer"), {"fixed": ETA, "learned": Learned(ETA)}
TAUS = {"fixed": TAU, "learned": Learned(TAU), "annealed": ANNEALED}
COLOURS = {"fixed": BLUE, "learned": RED, "annealed": GREEN}  # by tau
MARKERS = "os^Dv"  # by seed
REFERENCE = ("shared", "fixed", "fixed")


def cells(quick: bool, seed: int) -> list[Row]:
    """One per network, variant and seed."""
    return [
        {
            "network": name,
            "weights": weights,
            "eta": eta,
            "tau": tau,
            "seed": s,
            "epochs": 4 if quick else EPOCHS[name],
            "signals": 256 if quick else 1024,
        }
        for name in M
        for weights, eta, tau in _variants(name)
        for s in range(seed, seed + (1 if quick else 3))
    ]


def run(cell: Row, folder: Path) -> Tables:
    """Train one variant.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes about a minute.
    """
    name, seed = cell["network"], cell["seed"]
    ensemble = problem(M[name], seed)
    y, x = fresh_signals(ensemble, cell["signals"], seed)
    options: dict[str, Any] = {"weights": cell["weights"], "tau": TAUS[cell["tau"]]}
    if FAMILY[name].has_eta:
        options["eta"] = ETAS[cell["eta"]]
    net, record = train(build(name, ensemble, **options), ensemble, epochs=cell["epochs"], seed=seed)
    which = {key: cell[key] for key in ("network", "weights", "eta", "tau", "seed")}
    tables: Tables = {"variants": [{**which, **record, **errors(recover(net, y), x)}], "values": _values(net, which)}
    if (cell["weights"], cell["eta"], cell["tau"]) == REFERENCE:
        solvers: dict[str, Tensor | None] = {"weights 1": None, "oracle weights": ensemble.admissible}
        tables["references"] = [
            {"network": name, "seed": seed, "method": f"solver, {label}", **errors(hard(name, ensemble, y, w), x)}
            for label, w in solvers.items()
        ]
    return tables


def draw(tables: Tables, quick: bool) -> Figure:
    """A panel per network, a line per variant."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.4), dpi=120, layout="constrained")
    for ax, name in zip(figure.subplots(1, 2), M, strict=True):
        rows = [row for row in tables["variants"] if row["network"] == name]
        references = [row for row in tables["references"] if row["network"] == name]
        _panel(ax, rows, references, name)
    legend_above(figure, _handles(sorted({row["seed"] for row in tables["variants"]})), 4)
    return figure


def _variants(name: str) -> list[tuple[str, str, str]]:
    """Weights, step size and tau of each variant, the reference first; OMP-Net has no step size."""
    return list(product(WEIGHTS, ETAS if FAMILY[name].has_eta else ["fixed"], TAUS))


def _values(net: Any, which: Row) -> list[Row]:
    """Step size and tau of every layer."""
    return [
        {
            **which,
            "layer": layer + 1,
            "eta": rounded(float(torch.as_tensor(net.eta(layer)).detach())) if hasattr(net, "eta") else None,
            "tau": rounded(float(torch.as_tensor(net.identify.tau(layer)).detach())),
        }
        for layer in range(net.layers)
    ]


def _panel(ax: Axes, rows: list[Row], references: list[Row], name: str) -> None:
    seeds = sorted({row["seed"] for row in rows})
    losses = {
        variant: [row["loss"] for seed in seeds for row in rows if _of(row) == variant and row["seed"] == seed]
        for variant in _variants(name)
    }
    base = losses[REFERENCE]
    for line, (variant, values) in enumerate(losses.items()):
        colour = COLOURS[variant[2]]
        ax.plot(statistics.median(values), line, "|", color=colour, markersize=15, markeredgewidth=2)
        for value, marker in zip(values, MARKERS, strict=False):
            ax.plot(value, line, marker, color=colour, markersize=5.5, alpha=0.75, markeredgewidth=0)
        ratio = statistics.median(value / first for value, first in zip(values, base, strict=True))
        ax.annotate(rf"$\times${ratio:.2g}", (1, line), (4, 0), xycoords=("axes fraction", "data"),
                    textcoords="offset points", va="center", fontsize=8, annotation_clip=False)  # fmt: skip
    for one in zip(*losses.values(), strict=True):  # a faint line joins the variants of a seed
        ax.plot(one, range(len(losses)), color="0.85", linewidth=0.8, zorder=0)
    ax.axvline(statistics.median(base), color=BLUE, linewidth=1)
    for method, style in (("solver, weights 1", "--"), ("solver, oracle weights", ":")):
        level = statistics.median(row["loss"] for row in references if row["method"] == method)
        ax.axvline(level, color=BLACK if method.endswith("1") else ORANGE, linewidth=1.2, linestyle=style)
    ax.set_xscale("log")
    ax.set_yticks(range(len(losses)), [_label(name, variant) for variant in losses])
    ax.invert_yaxis()
    ax.set_xlabel(r"test loss: mean of $\|\hat{x} - x\|^2$ (no unit)", fontsize=9)
    ax.set_ylabel("variant", fontsize=9)
    ax.set_title(f"{FAMILY[name].title}, {M[name]} samples", loc="left", fontsize=9)
    ax.annotate("median of\nper-seed\nratios", (1, 1), (4, 2), xycoords="axes fraction", textcoords="offset points",
                fontsize=7.5)  # fmt: skip
    low, high = ax.get_xlim()
    ax.set_xlim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))  # decades: labels stay apart
    tidy(ax)


def _of(row: Row) -> tuple[str, str, str]:
    return row["weights"], row["eta"], row["tau"]


def _label(name: str, variant: tuple[str, str, str]) -> str:
    weights, eta, tau = variant
    step = rf", $\eta$ {eta}" if FAMILY[name].has_eta else ""
    return rf"w {weights}{step}, $\tau$ {tau}"


def _handles(seeds: list[int]) -> list[Any]:
    from matplotlib.lines import Line2D

    taus = [
        Line2D([], [], color=colour, marker="o", linestyle="none", markersize=5.5, label=rf"$\tau$ {tau}")
        for tau, colour in COLOURS.items()
    ]
    marks = [
        Line2D([], [], color="0.4", marker=marker, linestyle="none", markersize=5.5, label=f"seed {seed}")
        for seed, marker in zip(seeds, MARKERS, strict=False)
    ]
    lines = [
        Line2D([], [], color="0.4", marker="|", linestyle="none", markersize=12, markeredgewidth=2, label="median"),
        Line2D([], [], color=BLUE, linewidth=1, label="reference: all shared and fixed"),
        Line2D([], [], color=BLACK, linewidth=1.2, linestyle="--", label="hard solver, weights 1"),
        Line2D([], [], color=ORANGE, linewidth=1.2, linestyle=":", label="hard solver, oracle weights"),
    ]
    return [*taus, *marks, *lines]
