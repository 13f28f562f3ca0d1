"""SEA-Net, IHT-Net and OMP-Net: does the straight-through gradient learn where the non-zeros tend to be?

Real signals of norm 1 with 4 non-zeros, all among the same 16 of 96 places, from 20 Gaussian measurements with noise of
root mean square norm 1e-3. A seed gives another matrix, other places, other signals and other batches. The networks
and the solvers get structure weights of several kinds:

- "one": none is known;
- "counted": how often 1024 signals, as many as a training has, use each place, at least 0.1 of the most used; nothing
  is trained;
- those that SEA-Net, IHT-Net or OMP-Net learned; a network has those that it learned itself ("learned"), with its
  learned step sizes;
- "oracle": 1 on the admissible places, else 0.

With "one", "counted" and "oracle" a network is untrained. The networks are trained alike, by `training.fit` with its
defaults except for a cosine schedule. A signal is missed if one of its non-zeros is not among the k largest entries of
the result. Some non-zeros are smaller than the noise, so that no method can find all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ... import metrics
from ...core.selection import Hard
from ...ensembles import Ensemble, gaussian_levels
from ...nets import IHTNet, Learned, OMPNet, SEANet
from ...operators import spectral_norm_squared
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED, SKY
from ...solvers.els import els
from ...solvers.iht import iht
from ...solvers.omp import omp
from ...solvers.sea import sea
from ...solvers.sp import sp
from ...training import fit
from ..cells import Row, Tables
from ..dgu.fig3 import frequencies
from ..small_networks import fresh_signals, legend_above, recover, tidy
from .deconvolution import VIOLET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTIAL = True
N, M, K, ADMISSIBLE, LAYERS, STEPS = 96, 20, 4, 16, 12, 100
ETA = 0.5  # of IHT, and of IHT-Net before training


def _step(ensemble: Ensemble) -> float:
    """1.8 / L."""
    return 1.8 / float(spectral_norm_squared(ensemble.A))


class Unrolled(NamedTuple):
    """A network: what to call it, how to build it with given weights, and for how long it is trained."""

    title: str
    build: Callable[[Ensemble, Tensor | None], nn.Module]
    epochs: int


NETWORKS = {
    "sea-net": Unrolled("SEA-Net", lambda e, w: SEANet(e.A, k=K, layers=LAYERS, w0=w), 100),
    "sea-net-fixed": Unrolled(
        "SEA-Net, fixed step sizes", lambda e, w: SEANet(e.A, k=K, layers=LAYERS, eta=_step(e), w0=w), 100
    ),
    "sea-net-per-layer": Unrolled(
        "SEA-Net, weights per layer", lambda e, w: SEANet(e.A, k=K, layers=LAYERS, weights="per-layer", w0=w), 100
    ),
    "iht-net": Unrolled("IHT-Net", lambda e, w: IHTNet(e.A, k=K, layers=LAYERS, eta=Learned(ETA), w0=w), 500),
    "omp-net": Unrolled("OMP-Net", lambda e, w: OMPNet(e.A, layers=K, w0=w), 500),
}
SHARED = ("sea-net", "iht-net", "omp-net")  # whose weights solvers get; untrained, the others equal "sea-net"
SOLVERS: dict[str, tuple[str, Callable[..., Any], dict[str, Any]]] = {
    "sea": (f"SEA, {STEPS} steps", sea, {"max_steps": STEPS}),
    "iht": (f"IHT, {STEPS} steps", iht, {"max_steps": STEPS, "eta": ETA}),
    "omp": ("OMP", omp, {}),
    "sp": ("SP", sp, {}),
    "els": ("ELS", els, {}),
}
TITLES = {**{name: form.title for name, form in NETWORKS.items()}, **{name: s[0] for name, s in SOLVERS.items()}}
# Weights -> colour, marker, what to call them.
WEIGHTS = {
    "one": (BLACK, "s", "one"),
    "counted": (ORANGE, "v", "counted, nothing trained"),
    "sea-net": (RED, "o", "learned by SEA-Net"),
    "iht-net": (BLUE, "o", "learned by IHT-Net"),
    "omp-net": (SKY, "o", "learned by OMP-Net"),
    "learned": (VIOLET, "D", "learned by the network itself"),
    "oracle": (GREEN, "^", f"1 on the {ADMISSIBLE} places, else 0 (oracle)"),
}
SPREAD = 0.13  # between the weights of a group
LEAST = 5e-4  # smaller shares are drawn at the edge


def cells(quick: bool, seed: int) -> list[Row]:
    """One per network and seed, and one per seed for what needs no training."""
    seeds, signals = range(seed, seed + (1 if quick else 3)), 512 if quick else 2048
    trained = [
        {"network": name, "seed": s, "epochs": 20 if quick else form.epochs, "signals": signals}
        for name, form in NETWORKS.items()
        for s in seeds
    ]
    return [{"network": "untrained", "seed": s, "signals": signals} for s in seeds] + trained


def run(cell: Row, folder: Path) -> Tables:
    """Train one network, and give its weights to the solvers; or use the weights that need no training.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes a minute.
    """
    ensemble = gaussian_levels(n=N, m=M, k=K, admissible=ADMISSIBLE, seed=cell["seed"])
    y, x = fresh_signals(ensemble, cell["signals"], cell["seed"])
    if cell["network"] == "untrained":
        return {"errors": _untrained(ensemble, y, x, cell["seed"])}
    name, seed = cell["network"], cell["seed"]
    net: Any = NETWORKS[name].build(ensemble, None)
    trained = fit(net, ensemble, epochs=cell["epochs"], schedule="cosine", seed=seed)
    errors = [_row(name, "learned", seed, recover(net, y), x)]
    if name in SHARED:
        errors += _solved(ensemble, y, x, seed, name, net.weights.detach())
    inside = _places(ensemble) > 0
    weights = {
        "network": name,
        "seed": seed,
        "epochs": cell["epochs"],
        "best_epoch": trained.best_epoch,
        "parameters": sum(p.numel() for p in net.parameters()),
        "weight_on_places": round(float(net.weights[inside].mean()), 4),
        "weight_elsewhere": round(float(net.weights[~inside].mean()), 4),
    }
    return {"errors": errors, "weights": [weights]}


def _untrained(ensemble: Ensemble, y: Tensor, x: Tensor, seed: int) -> list[Row]:
    rows = []
    known = {"one": torch.ones(N), "counted": frequencies(ensemble, seed), "oracle": _places(ensemble)}
    for name, weights in known.items():
        for network in SHARED:
            net = NETWORKS[network].build(ensemble, weights)
            rows.append(_row(network, name, seed, recover(net, y), x))
        rows += _solved(ensemble, y, x, seed, name, weights)
    return rows


def _places(ensemble: Ensemble) -> Tensor:
    assert ensemble.admissible is not None, "levels have places"
    return ensemble.admissible.to(torch.float32)


def _solved(ensemble: Ensemble, y: Tensor, x: Tensor, seed: int, name: str, weights: Tensor) -> list[Row]:
    """Every solver with these weights."""
    return [
        _row(title, name, seed, solver(ensemble.A, y, K, weights=weights, **budget).x, x)
        for title, (_, solver, budget) in SOLVERS.items()
    ]


def _row(method: str, weights: str, seed: int, found: Tensor, x: Tensor) -> Row:
    largest = Hard()(found.abs(), K).keep(found)
    missed = metrics.support_distance(largest, x, K) > 0
    nmse = round(metrics.nmse_db(found, x), 3)
    return {
        "method": method, "weights": weights, "seed": seed, "missed": round(float(missed.mean()), 6), "nmse_db": nmse,
    }  # fmt: skip


def sort_key(row: Row) -> Any:
    """By network or solver, then weights, then seed."""
    name = row["method"] if "method" in row else row["network"]
    return list(TITLES).index(name), list(WEIGHTS).index(row.get("weights", "learned")), row["seed"]


def draw(tables: Tables, quick: bool) -> Figure:
    """The share of signals missed, a group per network or solver, a point per seed."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(12, 5), dpi=120, layout="constrained")
    ax = figure.subplots()
    rows = tables["errors"]
    groups = [name for name in TITLES if any(row["method"] == name for row in rows)]
    for place, name in enumerate(groups):
        there = [kind for kind in WEIGHTS if _missed(rows, name, kind)]
        for rank, kind in enumerate(there):
            colour, marker, _ = WEIGHTS[kind]
            values = [max(share, LEAST) for share in _missed(rows, name, kind)]
            at = place + SPREAD * (rank - (len(there) - 1) / 2)
            ax.plot([at] * len(values), values, marker, color=colour, markersize=5, alpha=0.8, markeredgewidth=0,
                    clip_on=False)  # fmt: skip
    for place in range(1, len(groups)):
        ax.axvline(place - 0.5, color="0.9", linewidth=0.8)
    ax.set_xticks(range(len(groups)), [TITLES[name].replace(", ", ",\n") for name in groups])
    ax.set_yscale("log")
    ax.set_ylim(LEAST, 1)
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    cut = f"; {100 * LEAST:g} % or less: at the edge" if any(row["missed"] < LEAST for row in rows) else ""
    ax.set_ylabel(f"signals missed, lower is better{cut}", fontsize=9)
    ax.grid(axis="y", color="0.92", linewidth=0.6)
    tidy(ax)
    used = {row["weights"] for row in rows}
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5, label=f"weights {label}")
        for kind, (colour, marker, label) in WEIGHTS.items()
        if kind in used
    ]
    legend_above(figure, handles, 4)
    return figure


def _missed(rows: list[Row], method: str, weights: str) -> list[float]:
    return [row["missed"] for row in rows if (row["method"], row["weights"]) == (method, weights)]
