"""Softsort, NeuralSort and optimal transport as replacements of sorting: accuracy and cost.

"Deep greedy unfolding" uses softsort and leaves open whether another relaxation is better. The temperature means the
same in all of them: two entries that differ by `gap` mix with relative weight `exp(-gap / tau)`.

- `difference`: `||x_soft - x_hard|| / ||x_hard||` of Soft-OMP (10 steps) and Soft-IHT (15 steps of 0.6) over tau.
  Gaussian matrices with unit columns, 128 x 256, 10 non-zeros, norm 1, noise 1e-3, new in every trial; double
  precision; before the logarithm, 1e-12 is added.
- `cost`: milliseconds for the 10 first rows of 64 vectors |N(0, 1)|, float32, one thread. The methods take turns, so
  that other load on the machine affects all of them. `softsort` has compiled kernels where Numba is installed;
  "softsort, torch" does not use them; the others have none. "softsort, mask" computes only the sum of the rows, as IHT
  needs.
- `training`: OMP-Net (5 layers, 12 measurements) and IHT-Net (10 layers, 20 measurements) with each relaxation at tau
  1e-3, on signals with 5 non-zeros among 10 of 128 places under Fourier samples; 150 epochs of 128 fresh signals
  (RMSprop, batches of 32, rate 2e-2 halved once). A seed has its own matrix, places and signals. Beside the losses are
  those of the hard algorithm, without and with knowledge of the places. Seconds per epoch are medians, validation
  every fifth epoch not counted.

How to read the figure: on the left, a curve below 1 is a relaxation that is closer to sorting than softsort. In the
middle, lower is cheaper. On the right, lower is more accurate: marks are single seeds, dotted and dashed lines the
means of hard algorithms.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import geometric_mean, median, quantiles
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ... import config
from ...core.selection import Hard, Selection
from ...core.solution import Solution
from ...ensembles import Ensemble, fourier_levels
from ...nets import IHTNet, OMPNet
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED
from ...problems import on_random_support
from ...relaxations import Relaxed, neuralsort, sinkhorn_sort, soft_topk, softsort
from ...solvers.iht import iht
from ...solvers.omp import omp
from ...training import fit
from ..cells import Row, Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SORTS: dict[str, Callable[..., Tensor]] = {
    "softsort": softsort,
    "neuralsort": neuralsort,
    "sinkhorn_sort": sinkhorn_sort,
}
COLOURS = {
    "softsort": BLUE,
    "neuralsort": RED,
    "sinkhorn_sort": GREEN,
    "softsort, torch": ORANGE,
    "softsort, mask": BLACK,
}
NAMES = {"softsort": "softsort", "neuralsort": "NeuralSort", "sinkhorn_sort": "optimal transport"}

M, N, S = 128, 256, 10
STEPS = {"omp": S, "iht": 15}
ETA = 0.6
NOISE = 1e-3
TAUS = tuple(float(f"{10 ** (e / 4):.6g}") for e in range(-24, 1))
FLOOR = 1e-12  # added before the logarithm, as in the paper's figure

SIZES = (64, 256, 1024)
COST_BATCH, COST_ROWS = 64, 10
COST_TAU = 1e-2  # of scores around 1; optimal transport takes more steps for a higher one

PLACES: dict[str, Any] = {"n": 128, "k": 5, "admissible": 10}
SAMPLES = {"omp": 12, "iht": 20}  # few enough that the hard algorithm fails, many enough that the places would help
LAYERS = {"omp": PLACES["k"], "iht": 10}
NET_ETA = 0.5
VALIDATE_EVERY = 5
TESTED = 512  # signals for the hard algorithms


def cells(quick: bool, seed: int) -> list[Row]:
    """One per part, algorithm, relaxation and seed; costs are one cell, because the relaxations take turns."""
    difference = [
        {"part": "difference", "algorithm": a, "sort": s, "trials": 5 if quick else 30, "every": 2 if quick else 1,
         "seed": seed}
        for a in STEPS for s in SORTS
    ]  # fmt: skip
    cost = [{"part": "cost", "n": n, "repeats": 5 if quick else 30, "seed": seed} for n in SIZES]
    training = [
        {"part": "training", "algorithm": a, "sort": s, "epochs": 10 if quick else 150, "seed": seed + i}
        for i in range(1 if quick else 3) for a in STEPS for s in SORTS
    ]  # fmt: skip
    return difference + cost + training


def run(cell: Row, folder: Path) -> Tables:
    """Run one cell.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Where a training keeps its state.
    """
    if cell["part"] == "difference":
        return {"difference": _difference(cell)}
    if cell["part"] == "cost":
        return {"cost": _cost(cell)}
    return {"training": [_training(cell, folder)]}


def draw(tables: Tables, quick: bool) -> Figure:
    """Difference over temperature, cost over length, and loss of every trained network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 5), dpi=120, layout="constrained")
    axes = figure.subplots(1, 3)
    for ax in axes:
        if ax is not axes[2]:
            ax.set_xscale("log")
        ax.set_yscale("log")
        ax.tick_params(which="both", labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    _draw_difference(axes[0], tables["difference"])
    _draw_cost(axes[1], tables["cost"])
    _draw_training(axes[2], tables["training"])
    _plain_numbers(axes[1])
    return figure


def _difference(cell: Row) -> list[Row]:
    rng = torch.Generator().manual_seed(cell["seed"])
    A, y = _problems(cell["trials"], rng)
    exact = _solve(cell["algorithm"], A, y, Hard())
    rows = []
    for tau in TAUS[:: cell["every"]]:
        soft = _solve(cell["algorithm"], A, y, Relaxed(SORTS[cell["sort"]], tau=tau))
        change = torch.linalg.vector_norm(soft - exact, dim=-1) / torch.linalg.vector_norm(exact, dim=-1)
        logs = (change + FLOOR).log10()
        rows.append(
            {
                "algorithm": cell["algorithm"],
                "sort": cell["sort"],
                "tau": tau,
                "mean_log10": round(logs.mean().item(), 4),
                "std_log10": round(logs.std(correction=0).item(), 4),
                "trials": cell["trials"],
            }
        )
    return rows


def _problems(trials: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Matrices `(trials, M, N)` and measurements `(trials, M)`, the same for every algorithm and relaxation."""
    A = torch.randn(trials, M, N, dtype=torch.float64, generator=rng, device=rng.device)
    A = A / torch.linalg.vector_norm(A, dim=-2, keepdim=True)
    values = torch.randn(trials, S, dtype=A.dtype, generator=rng, device=rng.device)
    x = on_random_support(values / torch.linalg.vector_norm(values, dim=-1, keepdim=True), N, rng)
    noise = torch.randn(trials, M, dtype=A.dtype, generator=rng, device=rng.device)
    return A, (A @ x.unsqueeze(-1)).squeeze(-1) + NOISE / math.sqrt(M) * noise


def _solve(algorithm: str, A: Tensor, y: Tensor, select: Selection) -> Tensor:
    if algorithm == "omp":
        return omp(A, y, S, max_steps=STEPS["omp"], select=select).x
    return iht(A, y, S, eta=ETA, max_steps=STEPS["iht"], select=select).x


def _cost(cell: Row) -> list[Row]:
    rng = torch.Generator().manual_seed(cell["seed"])
    v = torch.randn(COST_BATCH, cell["n"], generator=rng, device=rng.device).abs().requires_grad_()
    seconds: dict[tuple[str, str], list[float]] = {}
    with _one_thread():
        for turn in range(cell["repeats"] + 2):  # the first two warm up, and compile what is to be compiled
            for name, sort in _timed():
                forward, both = _times(sort, v)
                if turn >= 2:
                    seconds.setdefault((name, "forward"), []).append(forward)
                    seconds.setdefault((name, "forward and backward"), []).append(both)
    return [_cost_row(cell, name, what, values) for (name, what), values in seconds.items()]


def _timed() -> list[tuple[str, Callable[..., Tensor]]]:
    return [*SORTS.items(), ("softsort, torch", _plain_softsort), ("softsort, mask", soft_topk)]


def _plain_softsort(v: Tensor, tau: float, k: int) -> Tensor:
    """`softsort` without its compiled kernels."""
    before, config.kernels = config.kernels, "off"
    try:
        return softsort(v, tau, k)
    finally:
        config.kernels = before


def _times(sort: Callable[..., Tensor], v: Tensor) -> tuple[float, float]:
    """Seconds for the rows, and for them and the gradient of a sum of their entries with generic weights."""
    begin = time.perf_counter()
    rows = sort(v, COST_TAU, COST_ROWS)
    forward = time.perf_counter() - begin
    g = torch.linspace(-1, 1, rows.numel()).view_as(rows)  # not of constant rows, whose gradient is zero
    begin = time.perf_counter()
    torch.autograd.grad(rows, v, g)
    return forward, forward + time.perf_counter() - begin


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cost_row(cell: Row, name: str, what: str, seconds: list[float]) -> Row:
    low, _, high = quantiles(seconds, n=4)
    return {
        "sort": name,
        "n": cell["n"],
        "rows": COST_ROWS,
        "batch": COST_BATCH,
        "tau": COST_TAU,
        "what": what,
        "median_ms": _rounded(1e3 * median(seconds)),
        "low_ms": _rounded(1e3 * low),
        "high_ms": _rounded(1e3 * high),
        "repeats": cell["repeats"],
    }


def _training(cell: Row, folder: Path) -> Row:
    algorithm = cell["algorithm"]
    ensemble = fourier_levels(**PLACES, m=SAMPLES[algorithm], seed=cell["seed"])
    trained = fit(
        _net(algorithm, ensemble, SORTS[cell["sort"]]), ensemble, epochs=cell["epochs"], batch_size=32,
        n_train=128, resample=True, lr=2e-2, halve_every=max(1, cell["epochs"] // 2), validate_every=VALIDATE_EVERY,
        seed=cell["seed"], folder=folder,
    )  # fmt: skip
    epochs = [record.seconds for record in trained.log if record.validation_loss is None]
    return {
        "algorithm": algorithm,
        "sort": cell["sort"],
        "seed": cell["seed"],
        "epochs": cell["epochs"],
        "best_epoch": trained.best_epoch,
        "validation_loss": _rounded(trained.validation_loss),
        "test_loss": _rounded(trained.test_loss),
        "hard_loss": _hard_loss(algorithm, ensemble, None),
        "oracle_loss": _hard_loss(algorithm, ensemble, ensemble.admissible),
        "seconds_per_epoch": _rounded(median(epochs)),
    }


def _net(algorithm: str, ensemble: Ensemble, sort: Callable[..., Tensor]) -> torch.nn.Module:
    layers = LAYERS[algorithm]
    if algorithm == "omp":
        return OMPNet(ensemble.A, layers=layers, sort=sort, signals="real part")
    return IHTNet(ensemble.A, k=ensemble.k, layers=layers, eta=NET_ETA, sort=sort, signals="real part")


def _hard_loss(algorithm: str, ensemble: Ensemble, weights: Tensor | None) -> float:
    """The loss of the hard algorithm with as many steps as the network has layers."""
    y, x = ensemble.draw(TESTED, torch.Generator().manual_seed(0))
    solve: Callable[..., Solution[Any]] = omp if algorithm == "omp" else partial(iht, eta=NET_ETA)
    found = solve(ensemble.A, y, ensemble.k, max_steps=LAYERS[algorithm], weights=weights).x.real
    return _rounded((found - x).square().sum(-1).mean().item())


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _draw_difference(ax: Axes, rows: list[Row]) -> None:
    """Each relaxation's difference to sorting over softsort's: below 1 it is closer to sorting than softsort."""
    for sort, name in NAMES.items():
        for algorithm, line in (("omp", "-"), ("iht", "--")):
            mine, base = (
                {r["tau"]: r["mean_log10"] for r in rows if (r["algorithm"], r["sort"]) == (algorithm, which)}
                for which in (sort, "softsort")
            )
            ratios = [10 ** (mean - base[tau]) for tau, mean in mine.items()]
            label = f"{name}, Soft-{algorithm.upper()}"
            if sort != "softsort":
                ax.plot(list(mine), ratios, color=COLOURS[sort], linestyle=line, linewidth=1.4, label=label)
    ax.axhline(1, color=COLOURS["softsort"], linewidth=1.2, label="softsort")
    ax.set_xlabel(r"temperature $\tau$ (units of the scores)", fontsize=9)
    ax.set_ylabel(r"$\|x_{soft} - x_{hard}\|$ over that of softsort", fontsize=9)
    title = f"difference to sorting, relative to softsort's;\ngeometric means of {rows[0]['trials']} trials"
    ax.set_title(title, loc="left", fontsize=9)
    ax.legend(fontsize=8, frameon=False, loc="lower left")


def _draw_cost(ax: Axes, rows: list[Row]) -> None:
    for sort, colour in COLOURS.items():
        for what, line in (("forward and backward", "-"), ("forward", ":")):
            curve = [row for row in rows if (row["sort"], row["what"]) == (sort, what)]
            n, ms = [row["n"] for row in curve], [row["median_ms"] for row in curve]
            label = NAMES.get(sort, sort) if line == "-" else None
            ax.plot(n, ms, color=colour, linestyle=line, marker="o", markersize=4, linewidth=1.4, label=label)
    ax.set_xlabel("length n of the vectors", fontsize=9)
    ax.set_ylabel(f"milliseconds for {COST_BATCH} vectors, {COST_ROWS} rows", fontsize=9)
    ax.set_title("cost: with gradient (solid), without (dotted)", loc="left", fontsize=9)
    ax.set_ylim(top=10 * max(row["median_ms"] for row in rows))  # room for the legend
    ax.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)


def _draw_training(ax: Axes, rows: list[Row]) -> None:
    """A column of seeds per network and relaxation, with the hard algorithms of each network as lines."""
    marks = ("o", "s", "^", "D")
    seeds = sorted({row["seed"] for row in rows})
    labels = []
    for place, (algorithm, sort) in enumerate((a, s) for a in ("omp", "iht") for s in NAMES):
        mine = [row for row in rows if (row["algorithm"], row["sort"]) == (algorithm, sort)]
        for row in mine:
            seed = seeds.index(row["seed"])
            ax.plot(place + 0.14 * (seed - (len(seeds) - 1) / 2), row["test_loss"], marks[seed % len(marks)],
                    color=COLOURS[sort], markersize=6)  # fmt: skip
        labels.append(NAMES[sort].replace(" ", "\n"))
    for start, algorithm in ((0, "omp"), (len(NAMES), "iht")):
        of_net = [row for row in rows if row["algorithm"] == algorithm]
        for what, style, name in (("hard", ":", "hard, weights one"), ("oracle", "--", "hard, told the places")):
            level = geometric_mean(row[f"{what}_loss"] for row in of_net)
            ax.hlines(level, start - 0.4, start + len(NAMES) - 0.6, color=BLACK, linestyle=style, linewidth=1,
                      label=name if start == 0 else "")  # fmt: skip
    ax.set_xticks(range(len(labels)), labels)
    ax.set_xlabel("OMP-Net, and IHT-Net; a mark per seed", fontsize=9)
    low, high = ax.get_ylim()
    ax.set_ylim(low / 1.5, high * 4)  # room for the legend
    ax.set_ylabel(r"test loss, mean of $\|\hat{x} - x\|^2$ ($\|x\| = 1$, no unit)", fontsize=9)
    ax.set_title(f"trained for {rows[0]['epochs']} epochs", loc="left", fontsize=9)
    ax.legend(fontsize=8, frameon=False, loc="upper right")


def _plain_numbers(cost: Axes) -> None:
    """Ticks at the lengths that were timed."""
    from matplotlib.ticker import NullFormatter

    cost.set_xticks(SIZES, [str(n) for n in SIZES])
    cost.xaxis.set_minor_formatter(NullFormatter())
