"""Can CoSaMP, SP and HTP be unrolled as OMP and IHT are? An open question of "Deep greedy unfolding".

OMP-Net, IHT-Net, CoSaMP-Net, SP-Net and HTP-Net with 4, 15, 4, 4 and 8 layers are trained alike on the problem of
`pursuit.experiments.small_networks` with 14 Fourier samples: one vector of weights, all ones at first, tau annealed
from 1e-1 to 1e-3 over the first half of the epochs, step size 0.5, RMSprop with learning rate 1e-2 that falls along a
half cosine. Each is compared with the untrained network, and with its solver after as many steps as the network has
layers, with three sets of weights: ones, those that the network learned, and the oracle's (1 on admissible places, else
0). Real parts of the results are used.

- `networks`: the training per network and seed, and the errors after it on 1024 (quick: 256) test signals.
- `methods`: errors of all methods on the same test signals.

The figure has a group per network. If a network learned the structure, its point and that of its solver with learned
weights lie near the oracle's and below those with weights 1. The median is the error of a typical signal; the loss is
dominated by the signals that fail.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED
from ..cells import Row, Tables
from ..small_networks import (
    ANNEALED,
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

M = 14
# Method -> colour, marker and what the legend calls it.
STYLE = {
    "solver, weights 1": (BLACK, "s", "hard solver, weights 1"),
    "network, untrained": (ORANGE, "v", rf"untrained network, $\tau$ = {TAU:g}"),
    "network": (RED, "o", "trained network"),
    "solver, learned weights": (BLUE, "D", "hard solver, learned weights"),
    "solver, oracle weights": (GREEN, "^", "hard solver, oracle weights"),
}
SPREAD = 0.15  # between the methods of a group
TOP = 10.0  # x_hat = 0 has error 1; values above this one are drawn at the edge, with a number


def cells(quick: bool, seed: int) -> list[Row]:
    """One per network and seed."""
    return [
        {"network": name, "seed": s, "epochs": 10 if quick else 80, "signals": 256 if quick else 1024}
        for name in FAMILY
        for s in range(seed, seed + (1 if quick else 3))
    ]


def run(cell: Row, folder: Path) -> Tables:
    """Train one network and compare it with its solver.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes about a minute.
    """
    name, seed = cell["network"], cell["seed"]
    ensemble = problem(M, seed)
    y, x = fresh_signals(ensemble, cell["signals"], seed)
    untrained = recover(build(name, ensemble, tau=TAU), y)
    net, record = train(build(name, ensemble, tau=ANNEALED), ensemble, epochs=cell["epochs"], seed=seed)
    found = {
        "solver, weights 1": hard(name, ensemble, y, None),
        "network, untrained": untrained,
        "network": recover(net, y),
        "solver, learned weights": hard(name, ensemble, y, net.weights),
        "solver, oracle weights": hard(name, ensemble, y, ensemble.admissible),
    }
    which = {"network": name, "seed": seed}
    methods = [{**which, "method": method, **errors(estimate, x)} for method, estimate in found.items()]
    at_test = next(row for row in methods if row["method"] == "network")
    summary = {
        "tau": rounded(float(net.identify.tau(0))),  # in the epoch that was kept
        "test_loss": at_test["loss"],
        "median_relative_error": at_test["median_relative_error"],
        "admissible_among_largest_weights": _hits(net, ensemble),
    }
    return {"networks": [{**which, **record, **summary}], "methods": methods}


def draw(tables: Tables, quick: bool) -> Figure:
    """Loss and median error, a group per network; a dash is the median over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = tables["methods"]
    _panel(left, rows, "loss")
    _panel(right, rows, "median_relative_error")
    left.set_ylabel(r"test loss: mean of $\|\hat{x} - x\|^2$ (no unit)", fontsize=9)
    right.set_ylabel(r"median of $\|\hat{x} - x\|\,/\,\|x\|$ (no unit)", fontsize=9)
    left.set_title("mean of the squared error: the signals that fail dominate it", loc="left", fontsize=9)
    right.set_title("median of the error: a typical signal", loc="left", fontsize=9)
    legend_above(figure, _handles(len({row["seed"] for row in rows})), 3)
    return figure


def _hits(net: Any, ensemble: Any) -> int:
    """How many of the largest weights, as many as there are admissible places, are on admissible places."""
    places = int(ensemble.admissible.sum())
    return int(ensemble.admissible[net.weights.topk(places).indices].sum())


def _panel(ax: Axes, rows: list[Row], value: str) -> None:
    names = [name for name in FAMILY if any(row["network"] == name for row in rows)]
    for place, name in enumerate(names):
        for rank, (method, (colour, marker, _)) in enumerate(STYLE.items()):
            values = [row[value] for row in rows if (row["network"], row["method"]) == (name, method)]
            at = place + SPREAD * (rank - (len(STYLE) - 1) / 2)
            ax.plot([at] * len(values), [min(v, TOP) for v in values], marker, color=colour, markersize=5, alpha=0.75,
                    markeredgewidth=0, clip_on=False)  # fmt: skip
            ax.hlines(min(statistics.median(values), TOP), at - 0.06, at + 0.06, color=colour, linewidth=1.6)
            if max(values) > TOP:
                ax.annotate(f"to {max(values):.0e}", (at, TOP), (6, -3), textcoords="offset points", fontsize=7,
                            color=colour)  # fmt: skip
    for place in range(1, len(names)):
        ax.axvline(place - 0.5, color="0.9", linewidth=0.8)
    ax.set_yscale("log")
    if ax.get_ylim()[1] > TOP:
        ax.set_ylim(top=TOP)
    ax.set_xticks(range(len(names)), [FAMILY[name].title for name in names])
    ax.set_xlabel("network, and the solver it is unrolled from", fontsize=9)
    tidy(ax)


def _handles(seeds: int) -> list[Any]:
    from matplotlib.lines import Line2D

    points: list[Any] = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5, label=label)
        for colour, marker, label in STYLE.values()
    ]
    per = "one seed" if seeds == 1 else f"a point per seed, dash: median of {seeds}"
    return [*points, Line2D([], [], color=BLACK, linewidth=1.6, label=per)]
