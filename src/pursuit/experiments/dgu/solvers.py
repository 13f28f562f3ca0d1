"""What learned weights bring and what the solver brings, on the signals of figure 3 of "Deep greedy unfolding".

Four kinds of structure weights are put into the network and into hard solvers:

- "one": none is known;
- "counted": how often 1024 training signals use each place, at least 0.1 of the most used; nothing is trained;
- "learned": those that the paper's network learned, with the paper's training (for OMP-Net also with the trainings
  "warm" and "options" of `dgu-fig3`). They are read from the tables of `dgu-fig3`, so that nothing is trained again;
- "oracle": 1 on the 20 places, else 0.

The solvers are the network itself, OMP with 10 atoms, 30 steps of IHT, and OMP with 20 atoms followed by subspace
pursuit. Each works with complex scores and fits, of which the real part is returned (as in the paper), and, as the
signals are real, with A and y split into real and imaginary parts. "true support" is least squares on the true support.

Table `solvers`: mean of `||x_hat - x||^2` with its standard error, median relative error, and the share of the test
signals whose relative error exceeds 1e-2; per problem, seed, solver, field and weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ... import nets
from ...core.least_squares import solve
from ...ensembles import Ensemble, fourier_levels
from ...operators import Operator
from ...operators.real_form import on_real_signals
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED, SKY
from ...solvers.iht import iht
from ...solvers.omp import omp
from ...solvers.sp import sp
from ..cells import Row, Tables, read_tables
from ..small_networks import legend_above, rounded, tidy
from .fig3 import MEASUREMENTS, PLACES, TITLES, frequencies

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAILED = 1e-2  # relative error; the noise alone gives 6e-4
TOP = 10.0  # x_hat = 0 has loss 1; losses above this one are drawn at the edge
TEST_SEED = 3_000_003  # far from those of `fit`, `frequencies` and the test of dgu-fig3
SOLVERS = {
    "network": "network\nitself",
    "omp": "OMP",
    "iht": "IHT",
    "omp+sp": "OMP + SP",
    "true support": "true\nsupport",
}
STYLE = {
    "one": (BLACK, "s", "weights one"),
    "counted": (ORANGE, "v", "counted, nothing trained"),
    "learned": (RED, "o", "learned by the paper's network"),
    "learned, warm": (SKY, "o", "learned, started from counted"),
    "learned, options": (BLUE, "o", "learned, our options"),
    "oracle": (GREEN, "^", "oracle"),
    "": ("0.5", "D", "least squares on the true support"),
}


def cells(quick: bool, seed: int, weights: str = "results/dgu-fig3/weights.csv") -> list[Row]:
    """One per network and seed; `weights` is the table of learned weights that `dgu-fig3` has written."""
    return [
        {"network": network, "seed": s, "signals": 256 if quick else 4096, "weights": weights}
        for network in TITLES
        for s in range(seed, seed + (1 if quick else 3))
    ]


def run(cell: Row, folder: Path) -> Tables:
    """Errors of all solvers with all weights on the same test signals.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes some seconds.
    """
    network, seed = cell["network"], cell["seed"]
    ensemble = fourier_levels(m=MEASUREMENTS[network], seed=seed, admissible=PLACES)
    y, x = ensemble.draw(cell["signals"], torch.Generator().manual_seed(TEST_SEED + seed))
    assert ensemble.admissible is not None
    known = {
        "one": torch.ones(ensemble.A.shape[1]),
        "counted": frequencies(ensemble, seed),
        **_learned(Path(cell["weights"]), network, seed),
        "oracle": ensemble.admissible.to(torch.float32),
    }
    which = {"network": network, "m": MEASUREMENTS[network], "seed": seed}
    rows = []
    for field, (A, r) in {"complex": (ensemble.A, y), "real": on_real_signals(ensemble.A, y)}.items():
        for name, weights in known.items():
            for solver, found in _answers(network, ensemble, A, r, y, field, weights).items():
                rows.append({**which, "solver": solver, "field": field, "weights": name, **_errors(found, x)})
        truth = _errors(_on_true_support(A, r, x, ensemble.k), x)
        rows.append({**which, "solver": "true support", "field": field, "weights": "", **truth})
    return {"solvers": rows}


def _learned(path: Path, network: str, seed: int) -> dict[str, Tensor]:
    """The weights of the trained networks that have one vector of them for all layers."""
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; needed is the table of learned weights. Run pursuit reproduce dgu-fig3 first, and "
            "name the file with --set weights=FOLDER/weights.csv."
        )
    variants = {"paper": "learned", "warm": "learned, warm", "options": "learned, options"}
    if network == "iht-net":
        del variants["options"]  # it has weights per layer
    found: dict[str, list[float]] = {}
    for row in read_tables(path.parent)[path.stem]:
        if (row["network"], row["seed"]) == (network, seed) and row["variant"] in variants:
            found.setdefault(variants[row["variant"]], []).append(row["weight"])
    if "learned" not in found:
        raise ValueError(f"{path}: has no weights of {network}, seed {seed}; needed are those of the variant paper.")
    return {name: torch.tensor(values) for name, values in found.items()}


def _answers(
    network: str, ensemble: Ensemble, A: Operator, r: Tensor, y: Tensor, field: str, weights: Tensor
) -> dict[str, Tensor]:
    """Results of the network before any training with these weights, and of the hard solvers."""
    k = ensemble.k
    signals = "real" if field == "real" else "real part"
    options: dict[str, Any] = {"tau": 1e-3, "signals": signals, "w0": weights}
    if network == "omp-net":
        net: Callable[[Tensor], Tensor] = nets.OMPNet(ensemble.A, layers=k, **options)
    else:
        net = nets.IHTNet(ensemble.A, k=k, layers=30, eta=0.5, **options)
    with torch.no_grad():
        own = net(y)
    found = {
        "network": own,
        "omp": omp(A, r, k, weights=weights).x,
        "iht": iht(A, r, k, eta=0.5, max_steps=30, weights=weights).x,
        "omp+sp": sp(A, r, k, x0=omp(A, r, PLACES, weights=weights).x, weights=weights).x,
    }
    return {solver: value.real for solver, value in found.items()}


def _on_true_support(A: Operator, r: Tensor, x: Tensor, k: int) -> Tensor:
    support = (x != 0).to(torch.int8).argsort(dim=-1, descending=True, stable=True)[..., :k]
    return torch.zeros_like(x).scatter(-1, support, solve(A.columns(support), r).real)


def _errors(found: Tensor, x: Tensor) -> Row:
    error = torch.linalg.vector_norm(found - x, dim=-1)
    relative, squared = error / torch.linalg.vector_norm(x, dim=-1), error.square()
    return {
        "loss": rounded(squared.mean().item()),
        "standard_error": rounded(squared.std().item() / math.sqrt(len(x))),
        "median_relative_error": rounded(relative.median().item()),
        "failed": rounded((relative > FAILED).to(torch.float64).mean().item()),
    }


def draw(tables: Tables, quick: bool) -> Figure:
    """Loss and share of signals that fail, a group per solver, a point per seed."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(12.5, 8), dpi=110, layout="constrained")
    axes = figure.subplots(2, 2)
    rows = [{**row, "weights": row["weights"] or ""} for row in tables["solvers"]]
    for line, network in zip(axes, TITLES, strict=True):
        mine = [row for row in rows if row["network"] == network]
        _panel(line[0], mine, "loss")
        _panel(line[1], mine, "failed")
        cut = f" (above {TOP:g}: at the edge)" if any(row["loss"] > TOP for row in mine) else ""
        line[0].set_title(f"signals of {TITLES[network]}: mean squared error{cut}", loc="left", fontsize=10)
        line[1].set_title(
            f"share of signals with a relative error above {FAILED:g}, logarithmic above 0.001", loc="left", fontsize=10
        )
        line[0].set_ylabel(r"mean of $\|\hat{x} - x\|^2$", fontsize=9)
        line[1].set_ylabel("share of the test signals", fontsize=9)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5, label=label)
        for colour, marker, label in STYLE.values()
    ]
    legend_above(figure, handles, 4)
    return figure


def _panel(ax: Axes, rows: list[Row], value: str) -> None:
    groups = [(solver, field) for solver in SOLVERS for field in ("complex", "real")]
    names = [name for name in STYLE if any(row["weights"] == name for row in rows)]
    for place, group in enumerate(groups):
        there = [name for name in names if any(_is(row, group, name) for row in rows)]
        for rank, name in enumerate(there):
            colour, marker, _ = STYLE[name]
            at = place + 0.14 * (rank - (len(there) - 1) / 2)
            values = [row[value] for row in rows if _is(row, group, name)]
            ax.plot([at] * len(values), [min(v, TOP) for v in values], marker, color=colour, markersize=4.5, alpha=0.8,
                    markeredgewidth=0, clip_on=False)  # fmt: skip
    for place in range(1, len(groups)):
        ax.axvline(place - 0.5, color="0.7" if place % 2 == 0 else "0.92", linewidth=0.8)
    labels = [f"{SOLVERS[solver]}\n{field}" for solver, field in groups]
    ax.set_xticks(range(len(groups)), labels, fontsize=7.5)
    if value == "failed":
        ax.set_yscale("symlog", linthresh=1e-3)
        ax.set_ylim(-2e-4, 1.3)
    else:
        ax.set_yscale("log")
        if ax.get_ylim()[1] > TOP / 10:
            ax.set_ylim(top=TOP)
    tidy(ax)
    ax.tick_params(axis="x", labelsize=7.5)


def _is(row: Row, group: tuple[str, str], weights: str) -> bool:
    return (row["solver"], row["field"], row["weights"]) == (*group, weights)
