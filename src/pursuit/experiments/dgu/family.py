"""Can CoSaMP, SP and HTP be unrolled as OMP and IHT are? An open question of "Deep greedy unfolding".

OMP-Net, IHT-Net, SP-Net, HTP-Net and CoSaMP-Net with 4, 15, 4, 8 and 4 layers, HTP-Net with the step sizes 0.5 and 1,
on the problem of `pursuit.experiments.small_networks` with 14 Fourier samples. Each is trained in three ways:

- "ones": weights of one, tau annealed from 1e-1 to 1e-2, learning rate 1e-2, norm of a batch's gradient at most 1;
- "clipped": the same, but the gradient of each signal is cut to a norm of 1 before the mean over the batch is taken;
- "counted": weights start from how often 1024 training signals use each place (at least 0.1 of the most used); tau
  1e-3, learning rate 1e-3.

Tables:

- `networks`: the training per network, recipe and seed;
- `methods`: errors on the same 1024 (quick: 256) test signals, of the network and of the hard solver after as many
  steps as the network has layers, with weights of one, counted, the oracle's (1 on admissible places, else 0) and
  learned. `failed` is the share of signals whose relative error exceeds 0.1: IHT has not converged after 15 steps, so
  that the 1e-2 of `dgu-solvers` would count most of its signals. `first_support_kept`, of HTP, is the share of signals
  whose last support is that of the first step;
- `gradients`: where the gradient at weights of one points, per temperature, from 512 signals in batches of 64. `whole`
  is the chance that the step is larger at an admissible place than at another one (0.5: no better than a coin), `each`
  the same with every signal clipped; `largest` is the share of the largest of 64 signals in the sum of their norms
  (median of the batches), `silent` the share of signals whose gradient is below 1e-6.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...ensembles import Ensemble
from ...nets import Annealed
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED, SKY
from ...training.learner import gradient_of_each
from ..cells import Row, Tables
from ..small_networks import (
    ETA,
    FAMILY,
    TAU,
    build,
    errors,
    fresh_signals,
    legend_above,
    problem,
    recover,
    rounded,
    tidy,
    train,
)
from .fig3 import frequencies

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTIAL = True
M = 14
NETWORKS: tuple[tuple[str, float | None], ...] = (
    ("omp", None),
    ("iht", ETA),
    ("sp", None),
    ("htp", ETA),
    ("htp", 1.0),
    ("cosamp", None),
)
SLOWLY = Annealed(1e-1, 1e-2, until=1.0)
# Recipe -> temperature, options of `fit`, epochs.
RECIPES: dict[str, tuple[Any, dict[str, float], int]] = {
    "ones": (SLOWLY, {}, 32),
    "clipped": (SLOWLY, {"clip_each": 1.0}, 32),
    "counted": (TAU, {"lr": 1e-3}, 12),
}
FAILED = 0.1  # relative error
BATCHES, BATCH = 8, 64
GRADIENT_SEED = 5_000_003
# Weights of the network -> colour, marker and what the legend calls them.
STYLE = {
    "one": (BLACK, "s", "weights one, not trained"),
    "learned, ones": (ORANGE, "o", "trained from ones"),
    "learned, clipped": (RED, "D", "trained from ones, each signal's gradient clipped"),
    "counted": (SKY, "v", "counted, not trained"),
    "learned, counted": (BLUE, "o", "trained from counted"),
    "oracle": (GREEN, "^", "oracle's weights"),
}
TOP = 1.0  # x_hat = 0 has this loss; larger ones are drawn at the edge


def cells(quick: bool, seed: int) -> list[Row]:
    """One per network, recipe and seed."""
    return [
        {"network": name, "eta": eta, "recipe": recipe, "seed": s, "epochs": 4 if quick else epochs,
         "signals": 256 if quick else 1024}
        for s in range(seed, seed + (1 if quick else 3))
        for name, eta in NETWORKS
        for recipe, (_, _, epochs) in RECIPES.items()
    ]  # fmt: skip


def run(cell: Row, folder: Path) -> Tables:
    """Train one network by one recipe. That of "ones" also has what is not trained.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes about half a minute.
    """
    name, recipe, seed = cell["network"], cell["recipe"], cell["seed"]
    ensemble = problem(M, seed)
    test = fresh_signals(ensemble, cell["signals"], seed)
    assert ensemble.admissible is not None
    known = {
        "one": torch.ones(ensemble.A.shape[1]),
        "counted": frequencies(ensemble, seed),
        "oracle": ensemble.admissible,
    }
    step: dict[str, Any] = {} if cell["eta"] is None else {"eta": cell["eta"]}
    which = {"network": name, "eta": cell["eta"], "seed": seed}
    tau, options, _ = RECIPES[recipe]
    net = build(name, ensemble, tau=tau, w0=known["counted" if recipe == "counted" else "one"], **step)
    net, record = train(net, ensemble, epochs=cell["epochs"], seed=seed, **options)
    tables: Tables = {
        "networks": [
            {
                **which,
                "recipe": recipe,
                **record,
                "tau": rounded(float(net.identify.tau(0))),  # in the epoch that was kept
                "admissible_among_largest_weights": _hits(net, ensemble),
            }
        ],
        "methods": _compared({**which, "weights": f"learned, {recipe}"}, net, ensemble, net.weights, test, step),
    }
    if recipe == "ones":
        for weights, w0 in known.items():
            untrained = build(name, ensemble, tau=TAU, w0=w0, **step)
            tables["methods"] += _compared({**which, "weights": weights}, untrained, ensemble, w0, test, step)
        tables["gradients"] = [
            {**which, "tau": t, **_gradients(build(name, ensemble, tau=t, **step), ensemble)}
            for t in (SLOWLY.start, TAU)
        ]
    return tables


def _hits(net: Any, ensemble: Any) -> int:
    """How many of the largest weights, as many as there are admissible places, are on admissible places."""
    places = int(ensemble.admissible.sum())
    return int(ensemble.admissible[net.weights.topk(places).indices].sum())


def _compared(
    which: Row, net: Any, ensemble: Ensemble, weights: Tensor, test: tuple[Tensor, Tensor], step: dict[str, float]
) -> list[Row]:
    """Errors of the network, and of its solver with these weights after as many steps."""
    y, x = test
    form = FAMILY[which["network"]]

    def solved(steps: int) -> Any:
        budget = {} if which["network"] == "omp" else {"max_steps": steps}
        return form.solver(ensemble.A, y, ensemble.k, weights=weights, **budget, **step)

    found = solved(form.layers)
    kept = None
    if which["network"] == "htp":
        same = solved(1).support.sort(-1).values == found.support.sort(-1).values
        kept = rounded(same.all(-1).double().mean().item())
    return [
        {**which, "method": method, **_errors(estimate, x), "first_support_kept": kept if method == "solver" else None}
        for method, estimate in (("network", recover(net, y)), ("solver", found.x.real))
    ]


def _errors(estimate: Tensor, x: Tensor) -> Row:
    relative = torch.linalg.vector_norm(estimate - x, dim=-1) / torch.linalg.vector_norm(x, dim=-1)
    return {**errors(estimate, x), "failed": rounded((relative > FAILED).double().mean().item())}


def _gradients(net: Any, ensemble: Ensemble) -> Row:
    """Whether the gradient points to admissible places, whole and with every signal clipped."""
    y, x = ensemble.draw(BATCHES * BATCH, torch.Generator().manual_seed(GRADIENT_SEED))
    (name,) = (name for name, _ in net.named_parameters())
    learned = {name: net.get_parameter(name).detach()}
    batches = [
        gradient_of_each(net, learned, part, truth)[0][name]
        for part, truth in zip(y.split(BATCH), x.split(BATCH), strict=True)
    ]
    norms = [torch.linalg.vector_norm(batch, dim=-1) for batch in batches]
    each = [(batch / norm.clamp(min=1).unsqueeze(-1)).mean(0) for batch, norm in zip(batches, norms, strict=True)]
    share = statistics.median(float(norm.max() / norm.sum().clamp(min=1e-300)) for norm in norms)
    assert ensemble.admissible is not None
    inside = ensemble.admissible > 0
    return {
        "whole": rounded(_chance([batch.mean(0) for batch in batches], inside)),
        "each": rounded(_chance(each, inside)),
        "largest": rounded(share),
        "silent": rounded((torch.cat(norms) < 1e-6).double().mean().item()),
    }


def _chance(gradients: list[Tensor], inside: Tensor) -> float:
    """The chance that a step is larger at an admissible place than at another one; ties count half. Mean of batches."""
    chances = []
    for gradient in gradients:
        difference = -gradient[inside].unsqueeze(-1) + gradient[~inside]
        chances.append((difference > 0).double().mean().item() + (difference == 0).double().mean().item() / 2)
    return statistics.fmean(chances)


def draw(tables: Tables, quick: bool) -> Figure:
    """Share of signals that fail, loss before and after training, and where the first gradient points."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(13, 8.4), dpi=110, layout="constrained")
    axes = figure.subplot_mosaic([["failed", "failed"], ["loss", "gradient"]], width_ratios=(1.5, 1))
    rows = [row for row in tables["methods"] if row["method"] == "network"]
    _failed(axes["failed"], rows)
    _losses(axes["loss"], rows)
    _chances(axes["gradient"], tables.get("gradients", []))
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=6, label=label)
        for colour, marker, label in STYLE.values()
    ]
    legend_above(figure, handles, 3)
    return figure


def _of(rows: list[Row], name: str, eta: float | None, **which: Any) -> list[Row]:
    wanted = {"network": name, "eta": eta, **which}
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def _failed(ax: Axes, rows: list[Row]) -> None:
    for place, network in enumerate(NETWORKS):
        for rank, (weights, (colour, marker, _)) in enumerate(STYLE.items()):
            values = [row["failed"] for row in _of(rows, *network, weights=weights)]
            if not values:
                continue
            at = place + 0.13 * (rank - (len(STYLE) - 1) / 2)
            ax.plot([at] * len(values), values, marker, color=colour, markersize=5, alpha=0.8, markeredgewidth=0,
                    clip_on=False)  # fmt: skip
            ax.hlines(statistics.median(values), at - 0.055, at + 0.055, color=colour, linewidth=1.6)
    ax.set_yscale("symlog", linthresh=1e-3)
    ax.set_ylim(-1e-4, 1)
    ax.set_ylabel("share of the test signals", fontsize=9)
    ax.set_title(
        f"share of signals with a relative error above {FAILED:g} (linear below 0.001); a point per seed, dash: median",
        loc="left", fontsize=9.5,
    )  # fmt: skip
    _name(ax)


def _losses(ax: Axes, rows: list[Row]) -> None:
    """An arrow per seed from the loss before training to that after it."""
    begun = {"learned, ones": "one", "learned, clipped": "one", "learned, counted": "counted"}
    for place, network in enumerate(NETWORKS):
        for rank, (weights, start) in enumerate(begun.items()):
            colour = STYLE[weights][0]
            before = {row["seed"]: row["loss"] for row in _of(rows, *network, weights=start)}
            for row in _of(rows, *network, weights=weights):
                if row["seed"] not in before:
                    continue
                at = place + 0.27 * (rank - 1) + 0.07 * (row["seed"] % 3 - 1)
                first, last = min(before[row["seed"]], TOP), min(row["loss"], TOP)
                ax.annotate("", (at, last), (at, first), annotation_clip=False,
                            arrowprops={"arrowstyle": "->", "color": colour, "shrinkA": 0, "shrinkB": 0})  # fmt: skip
                ax.plot([at], [last], alpha=0)  # for the limits of the axes
                ax.plot([at], [first], "_", color=colour, markersize=5)
    ax.set_yscale("log")
    if ax.get_ylim()[1] > TOP:
        ax.set_ylim(top=TOP)
    ax.set_ylabel(r"test loss: mean of $\|\hat{x} - x\|^2$ (no unit)", fontsize=9)
    cut = f" (above {TOP:g}: to the edge)" if any(row["loss"] > TOP for row in rows) else ""
    ax.set_title(f"loss before and after training, an arrow per seed{cut}", loc="left", fontsize=9.5)
    _name(ax)


def _chances(ax: Axes, rows: list[Row]) -> None:
    shown = {
        ("whole", SLOWLY.start): (ORANGE, "o", rf"mean of the signals, $\tau$ = {SLOWLY.start:g}"),
        ("each", SLOWLY.start): (RED, "D", rf"each signal clipped, $\tau$ = {SLOWLY.start:g}"),
        ("each", TAU): ("0.55", "D", rf"each signal clipped, $\tau$ = {TAU:g}"),
    }
    for rank, ((value, tau), (colour, marker, label)) in enumerate(shown.items()):
        for place, network in enumerate(NETWORKS):
            values = [row[value] for row in _of(rows, *network, tau=tau)]
            at = place + 0.2 * (rank - 1)
            ax.plot([at] * len(values), values, marker, color=colour, markersize=5, alpha=0.85, markeredgewidth=0,
                    label=label if place == 0 else None)  # fmt: skip
    ax.axhline(0.5, color=BLACK, linestyle="--", linewidth=0.9)
    ax.set_ylim(0.15, 1.02)  # room for the legend
    ax.set_ylabel("chance that the step prefers an admissible place", fontsize=9)
    ax.set_title("first gradient at weights of one (0.5: no better than a coin)", loc="left", fontsize=9.5)
    ax.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0.02, 0.0))
    _name(ax)


def title(name: str, eta: float | None) -> str:
    """What figure and page call a network: HTP-Net has two step sizes."""
    return FAMILY[name].title + (f", step {eta:g}" if name == "htp" else "")


def _name(ax: Axes) -> None:
    for place in range(1, len(NETWORKS)):
        ax.axvline(place - 0.5, color="0.9", linewidth=0.8)
    ax.set_xlim(-0.5, len(NETWORKS) - 0.5)
    ax.set_xticks(range(len(NETWORKS)), [title(*network).replace(", ", ",\n") for network in NETWORKS])
    ax.set_xlabel("network", fontsize=9)
    tidy(ax)
