"""OMP-Net and IHT-Net on signals whose non-zeros lie in 20 of 256 places: losses, learned weights, errors (Figure 3).

Settings of "Deep greedy unfolding": partial Fourier matrices (m = 20 for OMP-Net, 36 for IHT-Net), 10 non-zeros, noise
1e-3, 1024 training and 512 validation signals, batches of 64, tau 1e-3, RMSprop at 1e-2 halved after 500 epochs,
gradients clipped at 1, 1000 epochs; OMP-Net has 10 layers, IHT-Net 30 with step size 0.5. Every seed draws its own
matrix, places and signals; the authors show one matrix. The 512 test signals are held out.

- variant "paper": the paper's architecture and training.
- variant "warm", for OMP-Net, which sometimes does not learn from weights of one: the paper's architecture, but the
  weights start from how often 1024 training signals use each place; Adam at 5e-3 with a cosine schedule, 500 epochs of
  new signals.
- variant "options": scores and fits over the reals, 300 epochs of fresh signals, learning rate along a cosine. OMP-Net
  has 12 layers and a temperature that falls from 0.1 to 1e-3; IHT-Net has structure weights and learned step sizes per
  layer. These options were chosen among a dozen by the validation losses of seeds 0 and 1.

The quick form is a toy problem: do the weights of the first ten of 64 places grow if all non-zeros are there? 12
measurements for OMP-Net and 16 for IHT-Net, 5 non-zeros, 60 epochs.

Tables: `loss` (per epoch), `summary` (one row per run), `weights`, `errors` (relative, per test signal).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ... import nets
from ...core.least_squares import solve
from ...ensembles import Ensemble, fourier_levels
from ...operators.real_form import on_real_signals
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED
from ...plots.training import stems
from ...solvers.iht import iht
from ...solvers.omp import omp
from ...solvers.sp import sp
from ...training import fit
from ..cells import Row, Tables
from ..registry import published

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {"omp-net": "OMP-Net, m = 20", "iht-net": "IHT-Net, m = 36"}
MEASUREMENTS = {"omp-net": 20, "iht-net": 36}
PLACES = 20  # admissible
TOY_MEASUREMENTS = {"omp-net": 12, "iht-net": 16}
NAMES = {"paper": "paper's training", "warm": "from counts", "options": "our options"}
COLOURS = {"paper": BLUE, "warm": GREEN, "options": RED}


def cells(quick: bool, seed: int) -> list[Row]:
    """A cell per network, variant and seed; the quick form has one seed and the toy problem."""
    seeds = [seed] if quick else [seed, seed + 1, seed + 2]
    epochs = {"paper": 1000, "options": 300, "warm": 500}
    toy = {"toy": True, "epochs": 60}
    return [
        {"network": network, "variant": variant, "seed": s, "epochs": epochs[variant], **(toy if quick else {})}
        for variant in epochs
        for s in seeds
        for network in TITLES
        if (network, variant) != ("iht-net", "warm")
    ]


def problem(network: str, seed: int, *, toy: bool = False) -> Ensemble:
    """The paper's signals, or the toy problem: 64 unknowns, 5 non-zeros, all among the first ten places."""
    if not toy:
        return fourier_levels(m=MEASUREMENTS[network], seed=seed, admissible=PLACES)
    ensemble = fourier_levels(n=64, m=TOY_MEASUREMENTS[network], k=5, seed=seed, admissible=10)
    return replace(ensemble, admissible=(torch.arange(64) < 10).to(torch.float32))


def build(network: str, variant: str, ensemble: Ensemble, seed: int) -> Any:
    """The network before training."""
    A, k = ensemble.A, ensemble.k
    if variant == "options":
        if network == "omp-net":
            return nets.OMPNet(A, layers=k + 2, tau=nets.Annealed(1e-1, 1e-3), signals="real")
        eta = nets.Learned(0.5)
        return nets.IHTNet(A, k=k, layers=30, eta=eta, tau=1e-3, signals="real", weights="per-layer")
    w0 = frequencies(ensemble, seed) if variant == "warm" else None
    if network == "omp-net":
        return nets.OMPNet(A, layers=k, tau=1e-3, signals="real part", w0=w0)
    return nets.IHTNet(A, k=k, layers=30, eta=0.5, tau=1e-3, signals="real part", w0=w0)


def frequencies(ensemble: Ensemble, seed: int) -> Tensor:
    """How often signals use each place, relative to the most used one; at least 0.1, so that none is excluded."""
    _, x = ensemble.draw(1024, torch.Generator().manual_seed(2_000_003 + seed))
    count = (x != 0).sum(0)
    return (count / count.max()).clamp(min=0.1)


TRAINING: dict[str, dict[str, Any]] = {
    "paper": {},
    "warm": {"optimizer": "adam", "lr": 5e-3, "schedule": "cosine", "resample": True},
    "options": {"schedule": "cosine", "resample": True},
}


def run(cell: Row, folder: Path) -> Tables:
    """Train one network and compare it with the hard solver it came from."""
    network, variant, seed = cell["network"], cell["variant"], cell["seed"]
    toy = cell.get("toy", False)
    ensemble = problem(network, seed, toy=toy)
    net = build(network, variant, ensemble, seed)
    trained = fit(net, ensemble, epochs=cell["epochs"], seed=seed, folder=folder, **TRAINING[variant])
    y, x = ensemble.draw(512, torch.Generator().manual_seed(1_000_003 + seed))
    errors = {name: _errors(found, x) for name, found in _answers(network, net, ensemble, y, x).items()}
    row = {"network": network, "variant": variant, "seed": seed}
    admissible = _admissible(ensemble)
    places = int(admissible.sum())
    best = net.weights.argsort(descending=True)[:places]
    summary = {
        **row,
        "epochs": cell["epochs"],
        "best_epoch": trained.best_epoch,
        "validation_loss": trained.validation_loss,
        "test_loss": trained.test_loss,
        "published_validation_loss": "" if toy or variant == "options" else _published(network)["best_validation_loss"],
        f"admissible_of_{places}_largest": int(admissible[best].sum()),
        "seconds": sum(epoch.seconds for epoch in trained.log),
        **{f"{name}_loss": float(e.square().mean()) for name, e in errors.items()},
        **{f"{name}_median": float(e.median()) for name, e in errors.items()},
    }
    return {
        "loss": [
            {**row, "epoch": e.epoch, "train_loss": _short(e.train_loss), "validation_loss": _short(e.validation_loss)}
            for e in trained.log
        ],
        "summary": [summary],
        "weights": [
            {**row, "index": i, "weight": _short(w), "admissible": int(a)}
            for i, (w, a) in enumerate(zip(net.weights.tolist(), admissible.tolist(), strict=True))
        ],
        "errors": [
            {**row, "method": name, "signal": i, "relative_error": _short(e)}
            for name, values in errors.items()
            for i, e in enumerate(values.tolist())
        ],
    }


def _answers(network: str, net: Any, ensemble: Ensemble, y: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Results of the network, of its solver with several weights, and of least squares on the true support."""
    A, k = ensemble.A, ensemble.k
    hard = {
        "omp-net": lambda w: omp(A, y, k, weights=w),
        "iht-net": lambda w: iht(A, y, k, eta=0.5, max_steps=30, weights=w),
    }
    with torch.no_grad():
        network_x = net(y)
    return {
        "net": network_x,
        "hard": hard[network](None).x.real,
        "hard_oracle": hard[network](_admissible(ensemble)).x.real,
        "hard_learned": hard[network](net.weights).x.real,
        "polished": polished(ensemble, y, net.weights),
        "true_support": _on_true_support(ensemble, y, x),
    }


def polished(ensemble: Ensemble, y: Tensor, weights: Tensor) -> Tensor:
    """OMP with learned weights, for as many atoms as there are admissible places, then SP with these weights.

    A and y are split into real and imaginary parts, because the signals are real.
    """
    A, r = on_real_signals(ensemble.A, y)
    start = omp(A, r, int(_admissible(ensemble).sum()), weights=weights).x
    return sp(A, r, ensemble.k, x0=start, weights=weights).x


def _on_true_support(ensemble: Ensemble, y: Tensor, x: Tensor) -> Tensor:
    support = (x != 0).to(torch.int8).argsort(dim=-1, descending=True, stable=True)[..., : ensemble.k]
    z = solve(ensemble.A.columns(support), y)
    return torch.zeros_like(x).scatter(-1, support, z.real)


def _admissible(ensemble: Ensemble) -> Tensor:
    assert ensemble.admissible is not None
    return ensemble.admissible.to(torch.float32)


def _errors(found: Tensor, x: Tensor) -> Tensor:
    """Relative errors; signals have norm 1."""
    return torch.linalg.vector_norm(found - x, dim=-1) / torch.linalg.vector_norm(x, dim=-1)


def _short(value: Any) -> Any:
    return None if value is None else float(f"{value:.5g}")


def _published(network: str) -> dict[str, float]:
    """Numbers of the authors' trained networks: best validation loss, weights, quartiles of the relative errors."""
    rows = published("dgu_fig3_summary.csv")
    return {row["quantity"]: float(row["value"]) for row in rows if row["network"] == network.replace("-", "_")}


def draw(tables: Tables, quick: bool) -> Figure:
    """Losses beside the published ones, learned weights, relative errors; a row per network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7.6), dpi=110, layout="constrained")
    axes = figure.subplots(2, 3, width_ratios=(1.1, 1, 1.3))
    for row, network in zip(axes, TITLES, strict=True):
        _losses(row[0], network, tables, quick)
        _weights(row[1], network, tables["weights"], quick)
        _boxes(row[2], network, tables["errors"], quick)
    return figure


def _of(rows: list[Row], **which: Any) -> list[Row]:
    return [row for row in rows if all(row[name] == value for name, value in which.items())]


def _losses(ax: Any, network: str, tables: Tables, quick: bool) -> None:
    if not quick:
        authors = [r for r in published("dgu_fig3_loss.csv") if r["network"] == network.replace("-", "_")]
        for split, colour, name in (("train", "0.82", "training"), ("val", "0.45", "validation")):
            curve = [(float(r["epoch"]), float(r["loss"])) for r in authors if r["split"] == split]
            ax.plot(*zip(*curve, strict=True), color=colour, linewidth=1, label=f"published, {name}")
    for variant, colour in COLOURS.items():
        rows = _of(tables["loss"], network=network, variant=variant)  # none of some
        for i, seed in enumerate(sorted({r["seed"] for r in rows})):
            mine = _of(rows, seed=seed)
            ax.plot(
                [r["epoch"] for r in mine], [r["validation_loss"] for r in mine], color=colour, linewidth=0.8,
                alpha=0.85, label=NAMES[variant] if i == 0 else None,
            )  # fmt: skip
    base = np.median([r["hard_loss"] for r in _of(tables["summary"], network=network)])
    name = network.split("-")[0].upper()
    levels = [(base, f"hard {name} =\nnetwork with\nweights one", "--")]
    if not quick:
        levels.append((_published(network)["best_validation_loss"], "published\nbest", "-."))
    for level, text, style in levels:
        ax.axhline(level, color=BLACK, linestyle=style, linewidth=0.9)
        ax.annotate(text, (1, level), (3, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                    va="center", fontsize=7.5)  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("epoch (curves begin after the first)", fontsize=9)
    ax.set_ylabel("validation loss, mean $\\|\\hat x - x\\|^2$", fontsize=9)
    _finish(ax, f"{_title(network, quick)}, a curve per seed")


def _title(network: str, quick: bool) -> str:
    return f"{network.split('-')[0].upper()}-Net, toy problem" if quick else TITLES[network]


def _weights(ax: Any, network: str, rows: list[Row], quick: bool) -> None:
    rows = _of(rows, network=network, variant="paper")
    rows = _of(rows, seed=min(r["seed"] for r in rows))
    stems(ax, [r["weight"] for r in rows], [r["admissible"] for r in rows])
    if not quick:
        theirs = _published(network)
        ax.axhspan(theirs["20th_largest_weight"], theirs["largest_weight"], color=ORANGE, alpha=0.18, linewidth=0,
                   label="published: range of the 20 largest")  # fmt: skip
    _finish(ax, "weights of the paper's network, first seed", columns=2)


def _boxes(ax: Any, network: str, rows: list[Row], quick: bool) -> None:
    name = network.split("-")[0].upper()
    shown = [
        ("paper", "hard", f"hard {name}", "0.75"),
        ("paper", "hard_oracle", f"hard {name},\noracle\nweights", "0.75"),
        *(
            (variant, "net", "network,\n" + NAMES[variant].replace("'s ", "'s\n"), COLOURS[variant])
            for variant in COLOURS
        ),
    ]
    rows = _of(rows, network=network)
    shown = [box for box in shown if _of(rows, variant=box[0])]
    seeds = sorted({r["seed"] for r in rows})
    for place, (variant, method, _, colour) in enumerate(shown):
        values = [[r["relative_error"] for r in _of(rows, variant=variant, method=method, seed=s)] for s in seeds]
        boxes = ax.boxplot(
            values, positions=[place + 0.2 * (i - (len(seeds) - 1) / 2) for i in range(len(seeds))], widths=0.17,
            patch_artist=True, manage_ticks=False, medianprops={"color": BLACK},
            flierprops={"marker": ".", "markersize": 1.5, "markeredgecolor": "0.6"},
        )  # fmt: skip
        for box in boxes["boxes"]:
            box.set_facecolor(colour)
        theirs = {"hard": "hard", "net": "network"}.get(method)
        if not quick and theirs is not None and variant == "paper":
            _published_box(ax, place - 0.42, _published(network), theirs)
    ax.set_yscale("log")
    ax.set_xlim(-0.6, len(shown) - 0.4)
    ax.set_xticks(range(len(shown)), [label for _, _, label, _ in shown], fontsize=8)
    ax.set_ylabel("relative error of a test signal", fontsize=9)
    _finish(ax, "errors, a box per seed" if quick else "errors, a box per seed; white: published quartiles")


def _published_box(ax: Any, at: float, theirs: dict[str, float], which: str) -> None:
    """The published quartiles as a white box, without whiskers."""
    low, middle, high = (theirs[f"{which}_error_{part}"] for part in ("q1", "median", "q3"))
    ax.bar(at, high - low, bottom=low, width=0.13, color="white", edgecolor=BLACK, linewidth=0.9)
    ax.hlines(middle, at - 0.065, at + 0.065, color=RED, linewidth=1.4)


def _finish(ax: Any, title: str, columns: int = 3) -> None:
    """Title, and a legend between it and the axes, where it hides nothing."""
    ax.set_title(title, fontsize=10, loc="left", pad=34 if ax.get_legend_handles_labels()[0] else 6)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(
            fontsize=7.5, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, frameon=False, columnspacing=1,
            handletextpad=0.4,
        )  # fmt: skip
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
