"""SEA-Net, IHT-Net and OMP-Net: does the straight-through gradient learn where the non-zeros tend to be?

Real signals of norm 1 with 4 non-zeros, all among the same 16 of 96 places, from 20 Gaussian measurements with noise of
root mean square norm 1e-3. A seed gives another matrix, other places, other signals and other batches. All networks are
trained alike, by `training.fit` with its defaults except for a cosine schedule. Results are NMSE in dB on 2048 held-out
signals: of the network before and after training, and of its solver after 100 steps with weights one, with those that
the network learned, and with the oracle's (1 on admissible places, else 0).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ... import metrics
from ...ensembles import Ensemble, gaussian_levels
from ...nets import IHTNet, Learned, OMPNet, SEANet
from ...operators import spectral_norm_squared
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED
from ...solvers.iht import iht
from ...solvers.omp import omp
from ...solvers.sea import sea
from ...training import fit
from ..cells import Row, Tables
from ..small_networks import fresh_signals, recover, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTIAL = True
N, M, K, ADMISSIBLE, LAYERS, STEPS = 96, 20, 4, 16, 12, 100


def _step(ensemble: Ensemble) -> float:
    """1.8 / L."""
    return 1.8 / float(spectral_norm_squared(ensemble.A))


# Name -> what to call it, the untrained network, its solver.
NETWORKS: dict[str, tuple[str, Callable[[Ensemble], nn.Module], Callable[..., Any]]] = {
    "sea": ("SEA-Net", lambda e: SEANet(e.A, k=K, layers=LAYERS), sea),
    "sea-fixed": ("SEA-Net,\nfixed step sizes", lambda e: SEANet(e.A, k=K, layers=LAYERS, eta=_step(e)), sea),
    "sea-per-layer": (
        "SEA-Net,\nweights per layer",
        lambda e: SEANet(e.A, k=K, layers=LAYERS, weights="per-layer"),
        sea,
    ),
    "iht": ("IHT-Net", lambda e: IHTNet(e.A, k=K, layers=LAYERS, eta=Learned(_step(e))), iht),
    "omp": ("OMP-Net", lambda e: OMPNet(e.A, layers=K), omp),
}
# Method -> colour, marker.
STYLE = {
    "solver, weights 1": (BLACK, "s"),
    "network, untrained": (ORANGE, "v"),
    "network": (RED, "o"),
    "solver, learned weights": (BLUE, "D"),
    "solver, oracle weights": (GREEN, "^"),
}
SPREAD = 0.15  # between the methods of a group


def cells(quick: bool, seed: int) -> list[Row]:
    """One per network and seed."""
    return [
        {"network": name, "seed": s, "epochs": 3 if quick else 15, "signals": 512 if quick else 2048}
        for name in NETWORKS
        for s in range(seed, seed + (1 if quick else 3))
    ]


def run(cell: Row, folder: Path) -> Tables:
    """Train one network and compare it with its solver.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes seconds.
    """
    _, build, solver = NETWORKS[cell["network"]]
    ensemble = gaussian_levels(n=N, m=M, k=K, admissible=ADMISSIBLE, seed=cell["seed"])
    y, x = fresh_signals(ensemble, cell["signals"], cell["seed"])
    net: Any = build(ensemble)
    untrained = recover(net, y)
    fit(net, ensemble, epochs=cell["epochs"], schedule="cosine", seed=cell["seed"])
    budget = {} if solver is omp else {"max_steps": STEPS}

    def solve(weights: Tensor | None) -> Tensor:
        found: Tensor = solver(ensemble.A, y, K, weights=weights, **budget).x
        return found

    found = {
        "solver, weights 1": solve(None),
        "network, untrained": untrained,
        "network": recover(net, y),
        "solver, learned weights": solve(net.weights.detach()),
        "solver, oracle weights": solve(ensemble.admissible),
    }
    assert ensemble.admissible is not None, "levels have places"
    inside = ensemble.admissible > 0
    which = {"network": cell["network"], "seed": cell["seed"]}
    weights = {
        "weight_on_places": round(float(net.weights[inside].mean()), 4),
        "weight_elsewhere": round(float(net.weights[~inside].mean()), 4),
        "parameters": sum(p.numel() for p in net.parameters()),
    }
    errors = [{**which, "method": name, "nmse_db": round(metrics.nmse_db(z, x), 3)} for name, z in found.items()]
    return {"errors": errors, "weights": [{**which, **weights}]}


def sort_key(row: Row) -> Any:
    """By network, then method, then seed."""
    return list(NETWORKS).index(row["network"]), list(STYLE).index(row.get("method", "network")), row["seed"]


def draw(tables: Tables, quick: bool) -> Figure:
    """A group per network; a dash is the median over the seeds."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(9, 4.6), dpi=120, layout="constrained")
    ax = figure.subplots()
    rows = tables["errors"]
    names = [name for name in NETWORKS if any(row["network"] == name for row in rows)]
    for place, name in enumerate(names):
        for rank, (method, (colour, marker)) in enumerate(STYLE.items()):
            values = [row["nmse_db"] for row in rows if (row["network"], row["method"]) == (name, method)]
            at = place + SPREAD * (rank - (len(STYLE) - 1) / 2)
            ax.plot([at] * len(values), values, marker, color=colour, markersize=5, alpha=0.8, markeredgewidth=0)
            ax.hlines(statistics.median(values), at - 0.06, at + 0.06, color=colour, linewidth=1.6)
    ax.set_xticks(range(len(names)), [NETWORKS[name][0] for name in names])
    ax.set_ylabel("NMSE (dB), lower is better", fontsize=9)
    tidy(ax)
    seeds = len({row["seed"] for row in rows})
    handles: list[Any] = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5, label=method)
        for method, (colour, marker) in STYLE.items()
    ]
    dash = "one seed" if seeds == 1 else f"a point per seed, dash: median of {seeds}"
    handles.append(Line2D([], [], color=BLACK, linewidth=1.6, label=dash))
    figure.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=8, frameon=False)
    return figure
