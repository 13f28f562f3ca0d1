"""Soft-OMP and Soft-IHT next to OMP and IHT, over the temperature, with the authors' published results.

Gaussian matrices with unit columns, 200 x 400, signals of norm 1 with 15 non-zeros, Gaussian noise of root mean square
norm sigma; matrix, signal and noise are new in every trial, and the sigmas of one trial share matrix and signal.
Everything is double precision.

- `recovery_error`: `||x_hat - x||`, OMP after 15 steps, IHT after 30 steps of 0.6.
- `soft_minus_hard`: `||x_n - soft x_n|| / ||x_n||` after `n` steps at sigma = 1e-3; before the logarithm, 1e-12 is
  added, as in the authors' code.

A cell with `legacy` draws signals as the authors did: places with replacement, and never the first one. A place that is
drawn twice keeps the last value, so that 23 % of the signals have fewer non-zeros and a norm below 1. Their results are
in `trials` and `summary`; `summary_distinct` has those for 15 distinct places. Recovery errors are the same within
their spread. Soft and hard solvers are closer at `tau` of 1e-6 to 1e-3, by up to 2.5 decades of the mean logarithm
(OMP, n = 15): with repeated places there are fewer than 15 non-zeros, and the last steps choose noise, with small gaps.

In the transition from soft to hard, trials differ by decades, so there are more trials than the authors' 50 or 100.
`trials` lists the first 50.

The published results of IHT that are labelled n = 15 and n = 45 differ from ours after 15 and 45 steps by up to 10
standard errors, but agree with ours after 10 and 30 steps at every temperature; n = 1 agrees. So 10 and 30 steps are
run too, and drawn dashed. The published recovery errors are of single precision, which may be why those of Soft-OMP
exceed ours at `tau` above 1, where its columns are nearly equal; there the differences, in double precision, agree.

The authors run a fixed number of steps. The solvers here may stop earlier, but with noisy data neither an exact fit nor
an increase of the residual occurs: OMP takes all steps, also the 15 beyond the sparsity, which fit noise. IHT stops if
a step changes x by rounding only (at high temperature); its later iterates are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ...core.selection import Hard, Selection
from ...plots.style import BLACK, BLUE, GREEN, RED
from ...problems import on_random_support
from ...relaxations import Relaxed, softsort
from ...solvers.iht import iht
from ...solvers.omp import omp
from ..cells import Row, Tables
from ..registry import published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

M, N, S = 200, 400, 15
ETA = 0.6
TAUS = tuple(float(f"{10 ** (e / 2):.6g}") for e in range(-20, 4))
NOISE = (1e-5, 1e-3, 1e-1)
NOISE_OF_DIFFERENCE = 1e-3
STEPS = {"omp": 15, "iht": 30}  # for the recovery error
COMPARED = {"omp": (5, 15, 30), "iht": (1, 10, 15, 30, 45)}  # steps after which soft and hard are compared
UNNAMED = {10: 15, 30: 45}  # of IHT: what the stored outcomes that are named 15 and 45 agree with
FLOOR = {"recovery_error": 0.0, "soft_minus_hard": 1e-12}  # added before the logarithm
BATCH = 25  # trials at a time: 16 MB of matrices
LISTED = 50  # trials in the table `trials`
COLOURS = (BLUE, RED, GREEN)
NAMES = {"omp": "OMP", "iht": "IHT"}


class Curve(NamedTuple):
    """What a value belongs to: the noise or the number of steps, hard or soft, and the temperature."""

    level: float
    variant: str
    tau: float | None


def cells(quick: bool, seed: int) -> list[Row]:
    """One per algorithm, quantity and way to draw signals, with all trials, over which the summary is."""
    return [
        {
            "algorithm": algorithm,
            "quantity": quantity,
            "trials": 5 if quick else 200,
            "every": 2 if quick else 1,  # which of TAUS
            "legacy": legacy,
            "seed": seed,
        }
        for legacy in (True, False)
        for algorithm in NAMES
        for quantity in FLOOR
    ]


def run(cell: Row, folder: Path) -> Tables:
    """The trials of a cell and their summary.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes seconds.
    """
    measure = _recovery_errors if cell["quantity"] == "recovery_error" else _differences
    taus = TAUS[:: cell["every"]]
    rng = torch.Generator().manual_seed(cell["seed"])
    parts: dict[Curve, list[Tensor]] = {}
    for start in range(0, cell["trials"], BATCH):
        A, x = _signals(min(BATCH, cell["trials"] - start), rng, legacy=cell["legacy"])
        for curve, values in measure(cell["algorithm"], A, x, taus, rng):
            parts.setdefault(curve, []).append(values)
    curves = {curve: torch.cat(values) for curve, values in parts.items()}
    summary = _summary(cell["algorithm"], cell["quantity"], curves)
    if not cell["legacy"]:
        return {"summary_distinct": summary}
    return {"trials": _trials(cell["algorithm"], cell["quantity"], curves), "summary": summary}


def draw(tables: Tables, quick: bool) -> Figure:
    """Quantities by algorithms: geometric means with a band of one standard deviation, the published means as dots."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.6), dpi=120, layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    for line, quantity in zip(axes, FLOOR, strict=True):
        for ax, algorithm in zip(line, NAMES, strict=True):
            rows = [r for r in tables["summary"] if (r["algorithm"], r["quantity"]) == (algorithm, quantity)]
            _panel(ax, rows, algorithm, quantity)
    hard, soft = r"\|x^n\|", r"\|x^n - \tilde{x}^n\|"
    axes[0, 0].set_ylabel(r"recovery error $\|\hat{x} - x\|$ ($\|x\| \leq 1$, no unit)", fontsize=9)
    axes[1, 0].set_ylabel(rf"soft minus hard: ${soft}\,/\,{hard} + 10^{{-12}}$ (no unit)", fontsize=9)
    for ax in axes[1]:
        ax.set_xlabel(r"temperature $\tau$ (units of the scores: of $|A^H r|$ in OMP, of $|u|$ in IHT)", fontsize=9)
    _explain(figure, sorted({_count(tables, algorithm, quantity) for algorithm in NAMES for quantity in FLOOR}))
    return figure


def _signals(count: int, rng: torch.Generator, *, legacy: bool) -> tuple[Tensor, Tensor]:
    """Matrices `(count, M, N)` and signals `(count, N)`."""
    A = torch.randn(count, M, N, dtype=torch.float64, generator=rng, device=rng.device)
    A = A / torch.linalg.vector_norm(A, dim=-2, keepdim=True)
    values = torch.randn(count, S, dtype=torch.float64, generator=rng, device=rng.device)
    values = values / torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    if not legacy:
        return A, on_random_support(values, N, rng)
    places = torch.randint(1, N, (count, S), generator=rng, device=rng.device)
    x = values.new_zeros(count, N)
    for i in range(S):  # one by one: of values for the same place the last must win
        x[torch.arange(count), places[:, i]] = values[:, i]
    return A, x


def _measured(A: Tensor, x: Tensor, sigma: float, rng: torch.Generator) -> Tensor:
    noise = torch.randn(A.shape[:-1], dtype=A.dtype, generator=rng, device=rng.device)
    return (A @ x.unsqueeze(-1)).squeeze(-1) + sigma / math.sqrt(M) * noise


def _recovery_errors(
    algorithm: str, A: Tensor, x: Tensor, taus: tuple[float, ...], rng: torch.Generator
) -> Iterator[tuple[Curve, Tensor]]:
    last = STEPS[algorithm]
    for sigma in NOISE:
        y = _measured(A, x, sigma, rng)
        for variant, tau, select in _selections(taus):
            estimate = _iterates(algorithm, A, y, last, select)[-1]
            yield Curve(sigma, variant, tau), torch.linalg.vector_norm(estimate - x, dim=-1)


def _differences(
    algorithm: str, A: Tensor, x: Tensor, taus: tuple[float, ...], rng: torch.Generator
) -> Iterator[tuple[Curve, Tensor]]:
    y = _measured(A, x, NOISE_OF_DIFFERENCE, rng)
    compared = COMPARED[algorithm]
    hard = _iterates(algorithm, A, y, max(compared), Hard())
    for tau in taus:
        soft = _iterates(algorithm, A, y, max(compared), Relaxed(softsort, tau=tau))
        for n in compared:
            exact = hard[n - 1]
            change = torch.linalg.vector_norm(exact - soft[n - 1], dim=-1)
            yield Curve(n, "soft", tau), change / torch.linalg.vector_norm(exact, dim=-1)


def _selections(taus: tuple[float, ...]) -> Iterator[tuple[str, float | None, Selection]]:
    yield "hard", None, Hard()
    for tau in taus:
        yield "soft", tau, Relaxed(softsort, tau=tau)


def _iterates(algorithm: str, A: Tensor, y: Tensor, steps: int, select: Selection) -> list[Tensor]:
    """x after each of the steps."""
    seen: list[Any] = []
    if algorithm == "omp":
        omp(A, y, steps, select=select, on_step=seen.append)
    else:
        iht(A, y, S, eta=ETA, max_steps=steps, select=select, on_step=seen.append)
    iterates = [iterate.x for iterate in seen]
    return iterates + iterates[-1:] * (steps - len(iterates))  # where all stopped, nothing changes any more


def _trials(algorithm: str, quantity: str, curves: dict[Curve, Tensor]) -> list[Row]:
    return [
        {**_names(algorithm, quantity, curve), "trial": trial, "value": float(f"{value:.6g}")}
        for curve, values in curves.items()
        if algorithm == "omp" or curve.level not in UNNAMED
        for trial, value in enumerate(values[:LISTED].tolist())
    ]


def _summary(algorithm: str, quantity: str, curves: dict[Curve, Tensor]) -> list[Row]:
    theirs = {curve: mean for curve, (mean, _) in _published(algorithm, quantity).items()}
    rows = []
    for curve, values in curves.items():
        logs = (values + FLOOR[quantity]).log10()
        mean, std = logs.mean().item(), logs.std(correction=0).item()
        rows.append(
            {
                **_names(algorithm, quantity, curve),
                "mean_log10": round(mean, 4),
                "std_log10": round(std, 4),
                "published_mean_log10": theirs.get(curve),
                "difference": round(mean - theirs[curve], 4) if curve in theirs else None,
                "trials": len(values),
            }
        )
    return rows


def _names(algorithm: str, quantity: str, curve: Curve) -> Row:
    return {
        "algorithm": algorithm,
        "quantity": quantity,
        "noise_std_or_iterations": curve.level,
        "variant": curve.variant,
        "tau": curve.tau,
    }


def _published(algorithm: str, quantity: str) -> dict[Curve, tuple[float, float]]:
    """Mean and standard deviation of the authors' logarithms."""
    rows = [r for r in published("dgu_fig2.csv") if (r["algorithm"], r["quantity"]) == (algorithm, quantity)]
    return {
        Curve(float(row["noise_std_or_iterations"]), row["variant"], float(row["tau"]) if row["tau"] else None): (
            float(row["mean_log10"]),
            float(row["std_log10"]),
        )
        for row in rows
    }


def _panel(ax: Axes, rows: list[Row], algorithm: str, quantity: str) -> None:
    name = "$\\sigma$ = {:g}" if quantity == "recovery_error" else "after {:g} steps"
    levels = sorted({row["noise_std_or_iterations"] for row in rows if row["published_mean_log10"] is not None})
    colours = dict(zip(levels, COLOURS, strict=True))
    theirs = _published(algorithm, quantity)
    for level in sorted({row["noise_std_or_iterations"] for row in rows}):
        curve = [row for row in rows if row["noise_std_or_iterations"] == level]
        label = name.format(level)
        if level in colours:
            spread = {c.tau: s for c, (_, s) in theirs.items() if (c.level, c.variant) == (level, "soft")}
            _curve(ax, curve, colours[level], label, spread)
            if quantity == "soft_minus_hard":
                ax.axhline(FLOOR[quantity], color="0.6", linewidth=1)
        else:
            mean = [10 ** row["mean_log10"] for row in curve]
            label += f" (stored as {UNNAMED[level]})"
            ax.plot([row["tau"] for row in curve], mean, "--", color=colours[UNNAMED[level]], linewidth=1, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    steps = "" if quantity == "soft_minus_hard" else f", {STEPS[algorithm]} steps"
    noise = rf", $\sigma$ = {NOISE_OF_DIFFERENCE:g}" if quantity == "soft_minus_hard" else ""
    ax.set_title(f"{NAMES[algorithm]} and Soft-{NAMES[algorithm]}{steps}{noise}", loc="left", fontsize=9)
    ax.tick_params(which="both", labelsize=8)
    ax.tick_params(axis="x", which="both", labelbottom=True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 0.13), fontsize=8, frameon=False)  # between the hard lines


def _curve(ax: Axes, rows: list[Row], colour: str, label: str, spread: dict[float | None, float]) -> None:
    soft = [row for row in rows if row["variant"] == "soft"]
    tau = [row["tau"] for row in soft]
    low, mean, high = ([10 ** (r["mean_log10"] + way * r["std_log10"]) for r in soft] for way in (-1, 0, 1))
    ax.fill_between(tau, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.plot(tau, mean, color=colour, linewidth=1.4, label=label)
    for row in soft:
        theirs = row["published_mean_log10"]
        ends = [10 ** (theirs + way * spread[row["tau"]]) for way in (-1, 1)]
        ax.plot([row["tau"]] * 2, ends, color=colour, linewidth=0.8, alpha=0.8)
        ax.plot(row["tau"], 10**theirs, "o", color=colour, markersize=4, fillstyle="none")
    for row in rows:
        if row["variant"] == "hard":
            ax.axhline(10 ** row["mean_log10"], color=colour, linewidth=1, linestyle=":")


def _count(tables: Tables, algorithm: str, quantity: str) -> int:
    """How many trials a panel is of."""
    return next(
        row["trials"] for row in tables["summary"] if (row["algorithm"], row["quantity"]) == (algorithm, quantity)
    )


def _explain(figure: Figure, counts: list[int]) -> None:
    """A legend of the styles, which all panels share, above them."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    trials = " or ".join(map(str, counts))
    handles: list[Any] = [
        Line2D([], [], color=BLACK, linewidth=1.4, label=f"soft solver, geometric mean of {trials} trials"),
        Patch(color=BLACK, alpha=0.15, linewidth=0, label="one standard deviation of the logarithm"),
        Line2D(
            [],
            [],
            color=BLACK,
            marker="o",
            linestyle="none",
            fillstyle="none",
            markersize=4,
            label="published: mean, bar: standard deviation",
        ),
        Line2D([], [], color=BLACK, linestyle=":", linewidth=1, label="hard solver"),
        Line2D(
            [], [], color=BLACK, linestyle="--", linewidth=1, label="soft solver, the steps that fit the stored data"
        ),
        Line2D([], [], color="0.6", linewidth=1, label="$10^{-12}$, added before the logarithm"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
