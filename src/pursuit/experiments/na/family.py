"""Every network of the learned ISTA family on one problem: error over the layers, and costs (not in the paper).

Real signals of 250 entries, 25 of them expected to be non-zero and N(0, 1), 125 measurements at 40 dB: half the size of
the problem on which the papers of LISTA-CPSS, ALISTA and HyperLISTA compare. All networks have 16 layers. LISTA,
LISTA-CP, LISTA-CPSS and GLISTA have matrices of their own in every layer, TiLISTA has one for all layers.

All but HyperLISTA are trained on the same number of signals, in batches of 128, with Adam and a cosine schedule: an
epoch of 75 batches after each layer is added, then 24 for the whole network. HyperLISTA's three numbers are found by a
grid search, as in its paper; a gradient does not reach the third of them. ISTA and FISTA, which learn nothing, run 16
steps.

Each has two recipes, told apart by `variant`. They differ in the support selection, the learning rate, the grid, the
penalty, or in whether all layers have the same matrices. The tables have both, the figure the one with the lower error
on validation signals. Test signals had a part in one choice: HyperLISTA's grid is searched on 1024 signals, because
numbers found on 128 let more of them diverge.

- `results`: a row per method and recipe. `parameters` are the trained numbers. `training_s` is the processor time of
  one training step, measured after the training, times the number of steps; a step of a cut network counts by its
  layers. `seconds` passed on the clock, while other programs ran, too. `test_db` is the NMSE, a ratio of sums over all
  test signals, `median_db` the error of the median signal: they are far apart where few signals rule the sum.
  `ms_per_signal` is the processor time of a recovery, 512 at a time.
- `layers`: the NMSE on 10 000 test signals, the same for all, after every layer. Training looks at the last one alone.
- `log`: some epochs of each training.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ... import nets
from ...core.numeric import ones_for_zeros
from ...ensembles import BernoulliGaussian, bernoulli_gaussian
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED
from ...solvers.fista import fista
from ...solvers.ista import ista
from ..cells import Row, Tables
from . import alista
from . import pictures as alista_pictures
from .alista import PARTIAL
from .oracle import TIMED, Recover

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "cells", "draw", "run"]

N, M, S, K, SNR = 250, 125, 25, 16, 40
QUICK_LAYERS = 6
VALIDATION_SEED = 10**5  # added to that of test signals
VALIDATION = 2048  # signals
TURNS = 9
RECORDED = ("lr", "selection", "tied", "lam")  # of a recipe, in the table
GAP = 1.5  # dB between labels
SELECTIONS: dict[str, nets.CountSchedule | nets.PercentSchedule | None] = {
    "counts": nets.CountSchedule(S),
    "percent": nets.PercentSchedule(),
    "none": None,
}
WITH_MATRICES = {"LISTA": nets.LISTA, "LISTACP": nets.LISTACP, "LISTACPSS": nets.LISTACPSS, "GLISTA": nets.GLISTA}
SOLVERS: dict[str, Callable[..., Any]] = {"ISTA": ista, "FISTA": fista}


class Look(NamedTuple):
    """Label, marker, and what is learned, by which it is coloured."""

    label: str
    marker: str
    learned: str


COLOURS = {
    "nothing": "0.5",
    "three numbers": GREEN,
    "numbers per layer": BLUE,
    "matrices for all layers": ORANGE,
    "matrices per layer": RED,
    "an LSTM": BLACK,
}
COSTS = {
    "parameters": "trained numbers, how many",
    "training_s": "training, seconds of a processor",
    "ms_per_signal": "recovery, ms of a processor per signal",
}
MODELS = {
    "ISTA": Look("ISTA", "v", "nothing"),
    "FISTA": Look("FISTA", "^", "nothing"),
    "HYPERLISTA": Look("HyperLISTA", "*", "three numbers"),
    "ALISTA": Look("ALISTA", "s", "numbers per layer"),
    "ALISTA_AT": Look("ALISTA-AT", "D", "numbers per layer"),
    "AGLISTA": Look("AGLISTA", "p", "numbers per layer"),
    "NA_ALISTA_UR_128": Look("NA-ALISTA", "o", "an LSTM"),
    "TILISTA": Look("TiLISTA", "P", "matrices for all layers"),
    "LISTACPSS": Look("LISTA-CPSS", "X", "matrices per layer"),
    "GLISTA": Look("GLISTA", "h", "matrices per layer"),
    "LISTACP": Look("LISTA-CP", "<", "matrices per layer"),
    "LISTA": Look("LISTA", ">", "matrices per layer"),
}

# An epoch has so many `steps` of `batch` new signals each; with `layerwise`, one for every layer goes before.
TRAINED: Row = {**alista.SHORT, "layerwise": 1, "epochs": 24, "steps": 75, "validation": 2048, "test": 128}
# With a large learning rate from one threshold for all layers, the last ones become so high that every entry is
# selected or zero. Their gradient is then zero, and they never recover. Thresholds that fall over the layers, as errors
# do, avoid this: those of the first and the last layer, geometric in between.
FALLING: Row = {"gamma": 0.5, "theta": [0.5, 0.05]}
MATRICES: Row = {**TRAINED, "selection": "none", "lr": 1e-3}
SELECTING: Row = {**MATRICES, "selection": "percent"}
CONSTANTS: Row = {**TRAINED, **FALLING, "selection": "counts", "lr": 1e-2}
HARDER_MIX: Row = {**CONSTANTS, "harder": {"share": 0.1, "k": 32}}
LSTM: Row = {**TRAINED, "selection": "counts", "lr": 2e-3, "clip": 0.1}
GRID: Row = {"batch": 1024, "c_theta": [0.01, 0.015, 0.02, 0.025, 0.03, 0.04], "c_beta": [-2e-3, 0.0, 2e-3, 5e-3, 1e-2],
             "c_ss": [0.1, 0.3, 1.0]}  # fmt: skip
SHORTENED: Row = {"epochs": 2, "steps": 10, "validation": 512}
FIRST: dict[str, Row] = {
    "ISTA": {"lam": alista.LAMBDA},
    "FISTA": {"lam": alista.LAMBDA},
    "HYPERLISTA": GRID,
    "ALISTA": CONSTANTS,
    "ALISTA_AT": HARDER_MIX,
    "AGLISTA": HARDER_MIX,
    "NA_ALISTA_UR_128": LSTM,
    "TILISTA": SELECTING,
    "LISTACPSS": SELECTING,
    "GLISTA": SELECTING,
    "LISTACP": MATRICES,
    "LISTA": MATRICES,
}
SECOND: dict[str, Row] = {
    "ISTA": {"lam": 0.2},
    "FISTA": {"lam": 0.2},
    "ALISTA": {**CONSTANTS, "selection": "percent"},
    "ALISTA_AT": {**HARDER_MIX, "selection": "percent"},
    "AGLISTA": {**HARDER_MIX, "selection": "percent"},
    "NA_ALISTA_UR_128": {**LSTM, "selection": "percent"},
    "TILISTA": {**SELECTING, "selection": "counts"},
    "LISTACPSS": {**SELECTING, "selection": "counts"},
    "GLISTA": {**SELECTING, "tied": True},
    "LISTACP": {**MATRICES, "lr": 3e-3},
    "LISTA": {**MATRICES, "tied": True},
    "HYPERLISTA": {"batch": 128},  # the grid of its authors
}
RECIPES: dict[str, dict[str, Row]] = {
    "quick": {model: {**numbers, **(SHORTENED if "epochs" in numbers else {})} for model, numbers in FIRST.items()},
    "first": FIRST,
    "second": SECOND,
}


def cells(quick: bool, seed: int) -> list[Row]:
    """One per method and recipe; the first recipes first."""
    variants, layers = (("quick",), QUICK_LAYERS) if quick else (("first", "second"), K)
    return [
        {
            "model": model, "n": N, "m": M, "layers": layers, "snr": SNR, "variant": variant,
            "signals": alista.signals("quick" if quick else "ours"), "seed": seed, "recipe": numbers,
        }
        for variant in variants
        for model, numbers in RECIPES[variant].items()
    ]  # fmt: skip


def run(cell: Row, folder: Path) -> Tables:
    """Train a network in `folder`, or go on with it there; its error after every layer, and its costs."""
    ensemble = bernoulli_gaussian(n=N, m=M, k=S, snr=float(SNR), seed=cell["seed"])
    if cell["model"] in SOLVERS:
        return _evaluated(_solver(cell, ensemble), ensemble, cell, {"parameters": 0})
    net = network(cell, ensemble)
    if cell["model"] == "HYPERLISTA":
        return _evaluated(_cut(net), ensemble, cell, _tuned(net, ensemble, cell))
    tables = alista.train(net, ensemble, _with_all_epochs(cell), folder, None)
    found = tables["results"][0]
    if "note" in found:  # it diverged
        return {"results": [_key(cell) | {name: found[name] for name in ("parameters", "note")}]}
    costs = {
        "training_signals": found["signals"],
        "parameters": found["parameters"],
        "best_epoch": found["best_epoch"],
        "training_s": _rounded(_training_seconds(net, ensemble, cell)),
        "seconds": found["seconds"],
    }
    log = [_key(cell) | {name: row[name] for name in ("epoch", "validation_db")} for row in tables["log"]]
    return {**_evaluated(_cut(net), ensemble, cell, costs), "log": log}


def network(cell: Row, ensemble: BernoulliGaussian) -> Any:
    """The network of a cell before training."""
    model, layers, A = cell["model"], cell["layers"], ensemble.A
    if model == "HYPERLISTA":
        return nets.HyperLISTA(A, layers=layers)
    selection = SELECTIONS[cell["recipe"]["selection"]]
    if model in WITH_MATRICES:
        return WITH_MATRICES[model](A, layers=layers, tied=cell["recipe"].get("tied", False), selection=selection)
    if model == "TILISTA":
        return nets.TiLISTA(A, layers=layers, selection=selection)
    net = alista.built(cell, A, selection=selection)
    if "theta" in cell["recipe"]:
        first, last = cell["recipe"]["theta"]
        net.theta.data = falling(first, last, layers)
    return net


def falling(first: float, last: float, layers: int) -> Tensor:
    """Thresholds that fall from the first to the last layer, geometric in between."""
    return torch.logspace(math.log10(first), math.log10(last), layers)


def _with_all_epochs(cell: Row) -> Row:
    """The cell with the epochs of layer-wise training counted in, as `fit` counts them."""
    numbers = cell["recipe"]
    return {**cell, "recipe": {**numbers, "epochs": numbers["epochs"] + (numbers["layerwise"] or 0) * cell["layers"]}}


def _tuned(net: nets.HyperLISTA, ensemble: BernoulliGaussian, cell: Row) -> Row:
    """Set the numbers of HyperLISTA by a search on one batch."""
    numbers = dict(cell["recipe"])
    y, x = ensemble.draw(count := numbers.pop("batch"), torch.Generator().manual_seed(cell["seed"]))
    begin = time.process_time()
    net.tune(y, x, **numbers)
    seconds = _rounded(time.process_time() - begin)
    chosen = dict(zip(("c_theta", "c_beta", "c_ss"), (round(value, 6) for value in net.c.tolist()), strict=True))
    return {"training_signals": count, "parameters": net.c.numel(), "training_s": seconds, **chosen}


def _training_seconds(net: Any, ensemble: BernoulliGaussian, cell: Row) -> float:
    """Processor time of a training: that of a step of the whole network, times the steps."""
    numbers, layers = cell["recipe"], cell["layers"]
    net = copy.deepcopy(net).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.0)
    y, x = ensemble.draw(numbers["batch"], torch.Generator().manual_seed(cell["seed"]))

    def step() -> None:
        optimizer.zero_grad()
        (net(y) - x).square().sum(-1).mean().backward()
        optimizer.step()

    epochs = numbers["epochs"] + (numbers["layerwise"] or 0) * (layers + 1) / 2  # a step of d layers is d / layers
    return epochs * numbers["steps"] * _processor_seconds(step)


def _processor_seconds(work: Callable[[], Any]) -> float:
    """The median of some turns."""
    times = []
    for _ in range(TURNS):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return median(times)


# Errors

At = Callable[[int], Recover]  # a method after so many layers or steps


def _solver(cell: Row, ensemble: BernoulliGaussian) -> At:
    solver, lam = SOLVERS[cell["model"]], cell["recipe"]["lam"]
    return lambda depth: lambda y, x: solver(ensemble.A, y, lam, max_steps=depth).x


def _cut(net: Any) -> At:
    def at(depth: int) -> Recover:
        net.eval().depth = depth
        return lambda y, x: net(y)

    return at


@torch.no_grad()
def _evaluated(at: At, ensemble: BernoulliGaussian, cell: Row, costs: Row) -> Tables:
    """The tables of a method: errors on test signals after every layer, and on validation signals after the last."""
    depths = range(1, cell["layers"] + 1)
    seed = alista.TEST_SEED + cell["seed"]
    y, x = ensemble.draw(cell["signals"], torch.Generator().manual_seed(seed))
    errors = [_errors(at(depth), y, x) for depth in depths]
    energies = x.double().square().sum(-1)
    values = [_decibel(error.sum() / energies.sum()) for error in errors]
    over = [{**_key(cell), "layer": depth, "test_db": db} for depth, db in zip(depths, values, strict=True)]

    held_out = ensemble.draw(VALIDATION, torch.Generator().manual_seed(seed + VALIDATION_SEED))
    some = y[:TIMED], x[:TIMED]
    row = {
        **_key(cell),
        **{name: cell["recipe"][name] for name in RECORDED if name in cell["recipe"]},
        **costs,
        "validation_db": _decibel(_errors(at(cell["layers"]), *held_out).sum() / held_out[1].double().square().sum()),
        "test_db": values[-1],
        "median_db": _decibel((errors[-1] / ones_for_zeros(energies)).median()),
        "ms_per_signal": _rounded(1e3 * _processor_seconds(partial(at(cell["layers"]), *some)) / TIMED),
    }
    return {"results": [row], "layers": over}


def _errors(recover: Recover, y: Tensor, x: Tensor) -> Tensor:
    """`||recover(y) - x||^2` of every signal."""
    parts = zip(y.split(TIMED), x.split(TIMED), strict=True)
    return torch.cat([(recover(p, q) - q).double().square().sum(-1) for p, q in parts])


def _decibel(ratio: Tensor) -> float | None:
    return alista.rounded(float(10 * ratio.log10()))


def _key(cell: Row) -> Row:
    return {name: cell[name] for name in ("model", "variant", "seed")}


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


# Picture


def draw(tables: Tables, quick: bool) -> Figure:
    """Error over the layers; a line per method with its error after the last one, and what it costs."""
    from matplotlib.figure import Figure

    best = chosen(tables["results"])
    figure = Figure(figsize=(15, 6.2), dpi=110, layout="constrained")
    panels = figure.subplots(1, 5, width_ratios=(2.3, 1.25, 1, 1, 1))
    _over_layers(panels[0], [row for row in tables["layers"] if best[row["model"]]["variant"] == row["variant"]], best)
    alista_pictures.finish(panels[0], f"N = {N}, M = {M}, {S} non-zeros, {SNR} dB",
                           "layer or step; trained for the error after the last one")  # fmt: skip
    ranked = sorted(best.values(), key=lambda row: -row["test_db"])
    _errors_of(panels[1], ranked, tables["results"])
    for ax, (cost, title) in zip(panels[2:], COSTS.items(), strict=True):
        _costs_of(ax, ranked, cost, title)
    figure.legend(handles=_handles(), loc="outside upper center", ncols=5, fontsize=9, frameon=False)
    return figure


def chosen(rows: Sequence[Row]) -> dict[str, Row]:
    """By model, the row of the recipe with the least error on validation signals; none of trainings that diverged."""
    good = [row for row in rows if row.get("validation_db") is not None]
    best = {row["model"]: row for row in sorted(good, key=lambda row: -row["validation_db"])}
    return {model: best[model] for model in MODELS if model in best}


def _over_layers(ax: Axes, rows: Sequence[Row], best: dict[str, Row]) -> None:
    """A curve per method, with its name at the end."""
    deepest = max(row["layer"] for row in rows)
    ends = {model: row["test_db"] for model, row in best.items()}
    for model, row in best.items():
        points = sorted((each["layer"], each["test_db"]) for each in rows if each["model"] == model)
        ax.plot(*zip(*points, strict=True), linewidth=1.2, **_style(row, 5))
    ax.set_xlim(0.5, 1.42 * deepest)
    ax.set_xticks(range(2, deepest + 1, 2))
    ax.spines["bottom"].set_bounds(0.5, deepest + 0.5)
    for model, place in spread(ends, GAP).items():
        style = _style(best[model], 5)
        ax.plot([deepest + 0.3, 1.1 * deepest], [ends[model], place], color=style["color"], linewidth=0.6)
        ax.plot(1.12 * deepest, place, **style)
        ax.annotate(f"{MODELS[model].label}, {ends[model]:.1f}", (1.12 * deepest, place), (6, 0), fontsize=8,
                    textcoords="offset points", va="center", color=style["color"])  # fmt: skip


def spread(places: dict[str, float], gap: float) -> dict[str, float]:
    """Places near the given ones that keep a distance: those too close share what is missing to both sides."""
    order = sorted(places, key=lambda name: places[name])
    groups: list[list[str]] = []
    centre: list[float] = []
    for name in order:
        groups.append([name])
        centre.append(places[name])
        while len(groups) > 1 and centre[-1] - centre[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2:
            last = groups.pop()
            groups[-1] += last
            centre.pop()
            centre[-1] = sum(places[each] for each in groups[-1]) / len(groups[-1])
    return {
        name: middle + gap * (i - (len(group) - 1) / 2)
        for group, middle in zip(groups, centre, strict=True)
        for i, name in enumerate(group)
    }


def _errors_of(ax: Axes, ranked: Sequence[Row], rows: Sequence[Row]) -> None:
    """The NMSE of the recipe chosen and of the other, and the error of the median signal."""
    for place, row in enumerate(ranked):
        style = _style(row, 7)
        for other in rows:
            if other["model"] == row["model"] and other is not row and other.get("test_db") is not None:
                ax.plot(other["test_db"], place, **_style(other, 7), markerfacecolor="none")
        ax.plot(row["median_db"], place, "|", color=style["color"], markersize=12, markeredgewidth=1.5)
        ax.plot(row["test_db"], place, **style)
    alista_pictures.finish(ax, "error after the last layer", "NMSE (dB)", "")
    _lines(ax, [MODELS[row["model"]].label for row in ranked])


def _costs_of(ax: Axes, ranked: Sequence[Row], cost: str, title: str) -> None:
    """A point per method; none where it costs nothing."""
    from matplotlib.ticker import LogLocator, NullLocator

    for place, row in enumerate(ranked):
        if row.get(cost):
            ax.plot(row[cost], place, **_style(row, 7))
    ax.set_xscale("log")
    ax.margins(x=0.12)
    if cost != "parameters":  # less than two decades
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    name, _, unit = title.partition(", ")
    alista_pictures.finish(ax, name, unit, "")
    _lines(ax, [""] * len(ranked))


def _lines(ax: Axes, names: Sequence[str]) -> None:
    """A line across the panel for each name."""
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _style(row: Row, size: float) -> Row:
    """Colour and marker of a method; networks whose layers share their matrices have the colour of TiLISTA."""
    look = MODELS["TILISTA"] if row.get("tied") else MODELS[row["model"]]
    marker = MODELS[row["model"]].marker
    return {
        "color": COLOURS[look.learned],
        "marker": marker,
        "markersize": 1.7 * size if marker == "*" else size,  # a star looks smaller than it is
    }


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D

    learned = [Line2D([], [], color=colour, linewidth=3, label=f"learns {what}") for what, colour in COLOURS.items()]
    points = (
        ("s", "black", "recipe chosen on validation signals"),
        ("s", "none", "the other recipe"),
        ("|", "black", "median signal"),
    )
    return learned + [
        Line2D([], [], color="black", linestyle="none", marker=marker, markerfacecolor=face, markersize=7, label=label)
        for marker, face, label in points
    ]
