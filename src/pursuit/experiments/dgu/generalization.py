"""How well trained networks recover signals with another structure, an open question of "Deep greedy unfolding".

OMP-Net (4 layers, 12 Fourier samples) and IHT-Net (15 layers, 20 samples) are trained on the problem of
`pursuit.experiments.small_networks`, tau annealed from 1e-1 to 1e-3. They are tested on signals with the same matrix
and noise,

- with a share p of the 4 non-zeros outside the admissible places (p k is rounded up or down at random, so that the mean
  share is p),
- with 2 to 8 non-zeros, all admissible.

The network is compared with its hard solver, which is given the number of non-zeros, with five sets of weights: ones,
the learned ones, the oracle's (1 on admissible places, else 0), and the learned ones raised to at least 0.3 or 0.6 of
the largest. For other numbers of non-zeros there are two networks: as trained, and built for that number with the
learned weights.

`errors` has loss, median and mean relative error of every method for every `axis` ("outside" or "k") and `value`, on
1024 (quick: 128) signals per seed; the same random numbers draw the signals for every value.

In the figure, learned weights are worse than none where their curve is above that of weights 1. The oracle's weights
exclude all other places. With weights raised to r times the largest, another place is chosen if its correlation is at
least 1 / r times the best one of the admissible places. Medians, and weights raised to 0.3, are in the table only.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...ensembles import Ensemble
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED, SKY
from ..cells import Row, Tables
from ..small_networks import (
    ANNEALED,
    FAMILY,
    K,
    build,
    errors,
    hard,
    legend_above,
    problem,
    recover,
    tidy,
    train,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

M = {"omp": 12, "iht": 20}
SHARES = tuple(i / 10 for i in range(11))
SPARSITIES = tuple(range(2, 9))
AT_LEAST = (0.3, 0.6)  # of the largest weight
PURPLE = "#CC79A7"  # the palette's seventh
SIGNALS_SEED = 2 * 10**6
# Method -> colour, marker, line and what the legend calls it.
STYLE: dict[str, tuple[str, str, Any, str]] = {
    "network": (RED, "o", "-", "network as trained"),
    "network told k": (SKY, "P", "--", "network built for the k of the test"),
    "solver, learned weights": (BLUE, "D", "-", "hard solver, learned weights"),
    "solver, weights raised to 0.3": (ORANGE, "v", "-", "hard solver, learned weights raised to 0.3 of the largest"),
    "solver, weights raised to 0.6": (PURPLE, "<", "-", "hard solver, learned weights raised to 0.6 of the largest"),
    "solver, weights 1": (BLACK, "s", "-", "hard solver, weights 1"),
    "solver, oracle weights": (GREEN, "^", ":", "hard solver, oracle weights"),
}
PANELS = (
    ("outside", ("solver, learned weights", "solver, weights raised to 0.6")),
    ("k", ("network", "network told k", "solver, learned weights")),
)
LABELS = {"outside": "share p of non-zeros outside the learned places", "k": "non-zeros per signal k"}


def cells(quick: bool, seed: int) -> list[Row]:
    """One per network and seed."""
    return [
        {"network": name, "seed": s, "epochs": 20 if quick else 200, "signals": 128 if quick else 1024}
        for name in M
        for s in range(seed, seed + (1 if quick else 3))
    ]


def run(cell: Row, folder: Path) -> Tables:
    """Train one network, then test it on all structures.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes about a minute.
    """
    name, seed = cell["network"], cell["seed"]
    ensemble = problem(M[name], seed)
    net, record = train(build(name, ensemble, tau=ANNEALED), ensemble, epochs=cell["epochs"], seed=seed)
    which = {"network": name, "seed": seed}
    tests = [("outside", share, K, share) for share in SHARES] + [("k", k, k, 0.0) for k in SPARSITIES]
    rows = []
    for axis, value, k, share in tests:
        y, x = signals(ensemble, cell["signals"], seed, k=k, outside=share)
        found = _estimates(name, ensemble, net, y, k)
        if axis == "k":
            found["network told k"] = recover(_rebuilt(name, ensemble, net, k), y)
        for method, estimate in found.items():
            rows.append({**which, "axis": axis, "value": value, "method": method, **errors(estimate, x)})
    return {"networks": [{**which, **record}], "errors": rows}


def draw(tables: Tables, quick: bool) -> Figure:
    """A row of panels per network: mean error over the share outside and over k, median of the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 7.4), dpi=120, layout="constrained")
    axes = figure.subplots(len(M), len(PANELS), sharey="row", sharex="col")
    for line, name in zip(axes, M, strict=True):
        for ax, (axis, methods) in zip(line, PANELS, strict=True):
            shown = {*methods, "solver, weights 1", "solver, oracle weights"}
            rows = [row for row in tables["errors"] if (row["network"], row["axis"]) == (name, axis)]
            _panel(ax, [row for row in rows if row["method"] in shown])
            ax.set_title(f"{FAMILY[name].title}, {M[name]} samples", loc="left", fontsize=9)
        line[0].set_ylabel(r"mean relative error $\|\hat{x} - x\|\,/\,\|x\|$ (no unit)", fontsize=9)
    for ax, (axis, _) in zip(axes[-1], PANELS, strict=True):
        ax.set_xlabel(LABELS[axis], fontsize=9)
    legend_above(figure, _handles(len({row["seed"] for row in tables["errors"]})), 4)
    return figure


def signals(ensemble: Ensemble, count: int, seed: int, *, k: int, outside: float) -> tuple[Tensor, Tensor]:
    """Measurements and signals of norm 1 with `k` non-zeros, a share `outside` of them not at admissible places."""
    rng = torch.Generator().manual_seed(SIGNALS_SEED + seed)
    assert ensemble.admissible is not None
    inside = ensemble.admissible.double()
    order = torch.rand(count, len(inside), dtype=torch.float64, generator=rng, device=rng.device)
    chance = torch.rand(count, 1, dtype=torch.float64, generator=rng, device=rng.device)
    m = ensemble.A.shape[0]
    noise = torch.randn(count, m, dtype=torch.complex128, generator=rng, device=rng.device)
    values = torch.randn(count, k, dtype=torch.float64, generator=rng, device=rng.device)  # last: k is not always one
    within, without = ((order + 2 * barred).argsort(-1)[:, :k] for barred in (1 - inside, inside))
    number = (outside * k + chance).floor()  # of those outside; its mean is outside * k
    places = torch.where(torch.arange(k) < number, without, within)
    values = values / torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    x = values.new_zeros(count, len(inside)).scatter(-1, places, values)
    return ensemble.A.forward(x.to(ensemble.A.dtype)) + ensemble.noise / math.sqrt(m) * noise, x


def _estimates(name: str, ensemble: Ensemble, net: Any, y: Tensor, k: int) -> dict[str, Tensor]:
    """The result of every method for `y`."""
    learned = net.weights
    weights: dict[str, Tensor | None] = {
        "learned weights": learned,
        **{f"weights raised to {share:g}": learned.clamp(min=share * float(learned.max())) for share in AT_LEAST},
        "weights 1": None,
        "oracle weights": ensemble.admissible,
    }
    found = {"network": recover(net, y)}
    for label, w in weights.items():
        found[f"solver, {label}"] = hard(name, ensemble, y, w, k=k)
    return found


def _rebuilt(name: str, ensemble: Ensemble, net: Any, k: int) -> Any:
    """The network for another number of non-zeros: since all layers share their weights, it may have more layers."""
    other = build(name, ensemble, k=k, tau=ANNEALED)
    other.load_state_dict(net.state_dict())
    return other


def _panel(ax: Axes, rows: list[Row]) -> None:
    for method, (colour, marker, line, _) in STYLE.items():
        curve: dict[float, list[float]] = {}
        for row in rows:
            if row["method"] == method:
                curve.setdefault(row["value"], []).append(row["mean_relative_error"])
        if not curve:
            continue
        middle = [statistics.median(errors_) for errors_ in curve.values()]
        ax.fill_between(list(curve), [min(e) for e in curve.values()], [max(e) for e in curve.values()],
                        color=colour, alpha=0.12, linewidth=0)  # fmt: skip
        ax.plot(list(curve), middle, color=colour, marker=marker, markersize=4, linewidth=1.2, linestyle=line)
    if rows and rows[0]["axis"] == "k":
        ax.axvline(K, color="0.7", linewidth=0.8)
    ax.set_yscale("log")
    tidy(ax)


def _handles(seeds: int) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    curves: list[Any] = [
        Line2D([], [], color=colour, marker=marker, markersize=4, linewidth=1.2, linestyle=line, label=label)
        for method, (colour, marker, line, label) in STYLE.items()
        if method != "solver, weights raised to 0.3"  # in the table
    ]
    trained = Line2D([], [], color="0.7", linewidth=0.8, label=f"k of the training: {K}")
    if seeds == 1:
        return [*curves, trained]
    return [*curves, trained, Patch(color="0.4", alpha=0.2, linewidth=0, label=f"range of {seeds} seeds; line: median")]
