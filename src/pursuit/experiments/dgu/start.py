"""Why OMP-Net sometimes does not learn, and from which start and by which training it always does.

The problem and the network are those of figure 3 of "Deep greedy unfolding" (m = 20, 10 layers, tau 1e-3), with ten
seeds, each with its own matrix, places and signals. Recipes:

- "counted, low rate": weights start from how often 1024 training signals use each place (at least 0.1 of the most
  used); learning rate 1e-3 along half a cosine, new signals in every epoch. 60 epochs;
- "paper": weights start from one; the paper's training (learning rate 1e-2), 300 epochs;
- "counted": the paper's training from counted places, 150 epochs;
- "annealed": weights start from one, tau falls from 0.1 to 1e-3 over the first half of 150 epochs; learning rate 1e-2
  along half a cosine, new signals in every epoch;
- "low rate": weights start from one, otherwise as "counted, low rate", 150 epochs.

A training fails where the weight of an admissible place gets near zero: OMP then never chooses this place, no gradient
reaches its weight, and it stays there. `raised_loss` tells what this single weight costs.

Tables:

- `summary`: per recipe and seed the loss of the trained network on 2048 test signals, before training (`start_loss`),
  and with the oracle's weights (1 on the admissible places, else 0); `weakest`: the smallest weight of an admissible
  place, and `strongest_other`: the largest weight of another place, both relative to the median of the admissible
  ones; `raised_loss`: the loss if the smallest weight of an admissible place is set to that median;
- `loss`: training and validation loss, every second epoch.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ... import nets
from ...ensembles import Ensemble, fourier_levels
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED, SKY
from ...training import fit
from ..cells import Row, Tables
from ..small_networks import recover, rounded, tidy
from .fig3 import MEASUREMENTS, PLACES, frequencies

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTIAL = True
TEST_SEED = 4_000_003
LAYERS, TAU = 10, 1e-3
ANNEALED = nets.Annealed(1e-1, TAU)
LOW_RATE: dict[str, Any] = {"lr": 1e-3, "schedule": "cosine", "resample": True}
# Recipe -> epochs, whether weights start from counted places, temperature, training.
RECIPES: dict[str, tuple[int, bool, Any, dict[str, Any]]] = {
    "counted, low rate": (60, True, TAU, LOW_RATE),
    "paper": (300, False, TAU, {}),
    "counted": (150, True, TAU, {}),
    "annealed": (150, False, ANNEALED, {"schedule": "cosine", "resample": True}),
    "low rate": (150, False, TAU, LOW_RATE),
}
COLOURS = {"counted, low rate": GREEN, "paper": BLUE, "counted": SKY, "annealed": ORANGE, "low rate": RED}


def cells(quick: bool, seed: int) -> list[Row]:
    """One per recipe and seed."""
    return [
        {"recipe": recipe, "seed": s, "epochs": 3 if quick else epochs, "signals": 256 if quick else 2048}
        for recipe, (epochs, *_) in RECIPES.items()
        for s in range(seed, seed + (1 if quick else 10))
    ]


def run(cell: Row, folder: Path) -> Tables:
    """Train one network.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        The training continues from here.
    """
    recipe, seed = cell["recipe"], cell["seed"]
    _, counted, tau, options = RECIPES[recipe]
    ensemble = fourier_levels(m=MEASUREMENTS["omp-net"], seed=seed, admissible=PLACES)
    y, x = ensemble.draw(cell["signals"], torch.Generator().manual_seed(TEST_SEED + seed))
    w0 = frequencies(ensemble, seed) if counted else torch.ones(ensemble.A.shape[1])
    net = _network(ensemble, w0, tau)
    trained = fit(net, ensemble, epochs=cell["epochs"], seed=seed, folder=folder, validate_every=2, **options)
    assert ensemble.admissible is not None
    inside = ensemble.admissible > 0
    weights = net.weights
    middle = weights[inside].median()
    raised = torch.where(inside & (weights == weights[inside].min()), middle, weights)
    which = {"recipe": recipe, "seed": seed}
    summary = {
        **which,
        "epochs": cell["epochs"],
        "best_epoch": trained.best_epoch,
        "validation_loss": rounded(trained.validation_loss),
        "test_loss": _loss(net, y, x),
        "start_loss": _loss(_network(ensemble, w0, TAU), y, x),
        "oracle_loss": _loss(_network(ensemble, inside.to(w0.dtype), TAU), y, x),
        "weakest": rounded(float(weights[inside].min() / middle)),
        "strongest_other": rounded(float(weights[~inside].max() / middle)),
        "raised_loss": _loss(_network(ensemble, raised, TAU), y, x),
        "seconds": rounded(sum(epoch.seconds for epoch in trained.log)),
    }
    curve = [
        {
            **which,
            "epoch": epoch.epoch,
            "train_loss": rounded(epoch.train_loss),
            "validation_loss": rounded(epoch.validation_loss),
        }
        for epoch in trained.log
        if epoch.validation_loss is not None
    ]
    return {"summary": [summary], "loss": curve}


def _network(ensemble: Ensemble, weights: Tensor, tau: Any) -> Any:
    return nets.OMPNet(ensemble.A, layers=LAYERS, tau=tau, signals="real part", w0=weights)


def _loss(net: Any, y: Tensor, x: Tensor) -> float | None:
    return rounded(float((recover(net, y) - x).square().sum(-1).mean()))


def draw(tables: Tables, quick: bool) -> Figure:
    """Test loss over the oracle's per seed, the loss over the weakest weight, and the curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.6), dpi=110, layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    _by_recipe(left, tables["summary"])
    _weakest(middle, tables["summary"])
    _curves(right, tables["loss"])
    for ax in (left, middle, right):
        tidy(ax)
    left.tick_params(axis="x", labelsize=7.5)
    return figure


def _by_recipe(ax: Axes, rows: list[Row]) -> None:
    names = [name for name in RECIPES if any(row["recipe"] == name for row in rows)]
    for place, name in enumerate(names):
        mine = [row for row in rows if row["recipe"] == name]
        ratios = [row["test_loss"] / row["oracle_loss"] for row in mine]
        at = [place + 0.5 * (i - (len(mine) - 1) / 2) / max(len(mine), 1) for i in range(len(mine))]
        before = [row["start_loss"] / row["oracle_loss"] for row in mine]
        ax.plot(at, before, "o", color=COLOURS[name], markersize=4.5, alpha=0.5, fillstyle="none")
        ax.plot(at, ratios, "o", color=COLOURS[name], markersize=4.5, alpha=0.85, markeredgewidth=0)
        ax.hlines(statistics.median(ratios), place - 0.32, place + 0.32, color=COLOURS[name], linewidth=1.6)
    labels = [name.replace(", ", ",\n") + f"\n{RECIPES[name][0]} epochs" for name in names]
    ax.set_xticks(range(len(names)), labels, fontsize=7.5)
    ax.axhline(1, color=BLACK, linestyle="--", linewidth=0.9)
    ax.set_yscale("log")
    ax.set_ylabel("test loss / loss with the oracle's weights", fontsize=9)
    ax.set_title("a point per seed, hollow before training; line: median", loc="left", fontsize=9)


def _weakest(ax: Axes, rows: list[Row]) -> None:
    for name, colour in COLOURS.items():
        mine = [row for row in rows if row["recipe"] == name]
        if not mine:
            continue
        at = [max(row["weakest"], 1e-3) for row in mine]
        losses = [row["test_loss"] for row in mine]
        ax.plot(at, losses, "o", color=colour, markersize=4.5, label=name, markeredgewidth=0)
        for where, row in zip(at, mine, strict=True):
            if row["weakest"] < 0.3:
                ax.annotate(
                    "", (where, row["raised_loss"]), (where, row["test_loss"]),
                    arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 0.8},
                )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(left=6e-4)
    ax.set_xlabel("smallest weight of an admissible place / their median", fontsize=9)
    ax.set_ylabel("test loss", fontsize=9)
    ax.set_title("one weight near 0; arrow: the loss if it is raised", loc="left", fontsize=9)
    ax.legend(fontsize=7.5, frameon=False)


def _curves(ax: Axes, rows: list[Row]) -> None:
    for name, colour in COLOURS.items():
        for seed in sorted({row["seed"] for row in rows if row["recipe"] == name}):
            mine = [row for row in rows if (row["recipe"], row["seed"]) == (name, seed)]
            ax.plot([row["epoch"] for row in mine], [row["validation_loss"] for row in mine], color=colour,
                    linewidth=0.7, alpha=0.8)  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("epoch", fontsize=9)
    ax.set_ylabel("validation loss", fontsize=9)
    ax.set_title("validation loss, a line per seed", loc="left", fontsize=9)
