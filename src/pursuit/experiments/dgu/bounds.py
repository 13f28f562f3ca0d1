"""The distance between soft and hard solvers over the temperature, and its bound by the theorem.

"Deep greedy unfolding" leaves open how sharp its Thm 3.6 is. This compares `||x_soft - x_hard||` of Soft-OMP and
Soft-IHT with its bound (`pursuit.theory`, whose constants are proven in its comments).

The generator is the paper's, smaller: matrices with unit columns, 50 x 100, signals of norm 1 with 5 non-zeros at
distinct places, Gaussian noise, all new in every trial; double precision. OMP takes 5 steps, IHT 5 and 10 with two step
sizes: `1 / ||A||^2`, with which a step does not increase an error, and the paper's 0.6, with which it multiplies an
error by up to `0.6 ||A||^2 - 1`, about 2. Problems:

- "Gaussian": Gaussian matrices (condition number about 5), noise of root mean square norm 1e-3;
- "noisy": the same with noise of norm 0.1;
- "condition 1e2", "condition 1e4": singular values that fall geometrically by that factor, before the columns get norm
  1; noise of norm 1e-3. Only with step size `1 / ||A||^2`, since IHT diverges with 0.6.

Tables:

- `trials`: where the theorem gives a bound, error, bound, and the least gap between the hard solver's scores over the
  steps;
- `summary`: per temperature, medians, the share of trials with a bound, and the largest error / bound;
- `totals`: per setting, the median condition number, how many errors exceed their bounds by more than rounding (none,
  if the proof and the code are right), and temperatures. `tau_guaranteed` is the largest one at which the bound is a
  relative error of 1e-6 or less; up to `tau_observed`, the errors of all temperatures tried are no larger than that;
  `observed_over_guaranteed` is the median over the trials of their ratio.

The first panels show error / bound of every trial at every temperature where there is a bound above rounding; no point
may lie above 1. The last one shows the guaranteed and the observed temperature.
"""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...core.selection import Hard, Selection
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED
from ...problems import on_random_support
from ...relaxations import Relaxed, softsort
from ...solvers.iht import iht
from ...solvers.omp import omp
from ...theory import Bound, soft_iht_bound, soft_omp_bound
from ..cells import Row, Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

M, N, S = 50, 100, 5
# Problem -> norm of the noise, and the condition number before columns get norm 1 (None: a Gaussian matrix).
PROBLEMS = {"Gaussian": (1e-3, None), "noisy": (1e-1, None), "condition 1e2": (1e-3, 1e2), "condition 1e4": (1e-3, 1e4)}
TAUS = tuple(float(f"{10 ** (e / 8):.6g}") for e in range(-48, 1))
SETTINGS = (("omp", S, None), ("iht", 5, "1/L"), ("iht", 10, "1/L"), ("iht", 5, "0.6"), ("iht", 10, "0.6"))
ACCURACY = 1e-6  # relative, for the guaranteed and the observed temperature
ROUNDING = 1e-11  # the bounds hold in exact arithmetic
LOW = 1e-12  # error / bound below this one is drawn here
COLOURS = dict(zip(PROBLEMS, (BLACK, BLUE, ORANGE, RED), strict=True))


def cells(quick: bool, seed: int) -> list[Row]:
    """One per problem, algorithm, number of steps and step size, each with all trials as one batch."""
    return [
        {
            "problem": problem,
            "algorithm": algorithm,
            "steps": steps,
            "eta": eta,
            "trials": 10 if quick else 30,
            "every": 2 if quick else 1,  # which of TAUS
            "seed": seed,
        }
        for problem in PROBLEMS
        for algorithm, steps, eta in SETTINGS
        if problem in ("Gaussian", "noisy") or eta != "0.6"
    ]


def run(cell: Row, folder: Path) -> Tables:
    """Errors and bounds of one setting.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes seconds.
    """
    A, y = _problems(cell["problem"], cell["trials"], cell["seed"])
    eta = _step_size(cell, A)
    exact = _solve(cell, A, y, eta, Hard())
    size = torch.linalg.vector_norm(exact, dim=-1)
    parts = []
    for tau in TAUS[:: cell["every"]]:
        soft = _solve(cell, A, y, eta, Relaxed(softsort, tau=tau))
        error = torch.linalg.vector_norm(soft - exact, dim=-1)
        parts.append((tau, error, _bound(cell, A, y, eta, tau)))
    return {
        "trials": [row for tau, error, bound in parts for row in _trials(cell, tau, error, bound)],
        "summary": [_summary(cell, tau, error, bound.error[:, -1], size) for tau, error, bound in parts],
        "totals": [_totals(cell, parts, size, A)],
    }


def draw(tables: Tables, quick: bool) -> Figure:
    """A panel per setting with error / bound of every trial, and one with guaranteed and observed temperatures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), dpi=110, layout="constrained")
    axes = figure.subplots(2, 3)
    *panels, last = axes.flat
    trials = max(row["trials"] for row in tables["totals"])
    for ax, setting in zip(panels, SETTINGS, strict=True):
        _ratios(ax, tables["trials"], setting)
        ax.sharex(panels[0])
        ax.sharey(panels[0])
        bounds = [row["bounds"] for problem in PROBLEMS for row in _of(tables["totals"], setting, problem)]
        ax.set_title(f"{_title(setting)}: {sum(bounds)} bounds", loc="left", fontsize=9)
    panels[0].set_ylim(LOW / 3, 30)
    _temperatures(last, tables["totals"])
    last.set_title(f"error < 1e-6: medians of {trials} trials", loc="left", fontsize=9)
    _explain(figure, tables)
    return figure


def _problems(problem: str, trials: int, seed: int) -> tuple[Tensor, Tensor]:
    """Matrices `(trials, M, N)` and measurements `(trials, M)`, the same in every cell of a problem."""
    norm, condition = PROBLEMS[problem]
    rng = torch.Generator().manual_seed(seed)
    A = torch.randn(trials, M, N, dtype=torch.float64, generator=rng, device=rng.device)
    if condition is not None:
        U, _, Vh = torch.linalg.svd(A, full_matrices=False)
        A = U * torch.logspace(0, -math.log10(condition), M, dtype=A.dtype) @ Vh
    A = A / torch.linalg.vector_norm(A, dim=-2, keepdim=True)
    values = torch.randn(trials, S, dtype=A.dtype, generator=rng, device=rng.device)
    x = on_random_support(values / torch.linalg.vector_norm(values, dim=-1, keepdim=True), N, rng)
    noise = torch.randn(trials, M, dtype=A.dtype, generator=rng, device=rng.device)
    return A, (A @ x.unsqueeze(-1)).squeeze(-1) + norm / math.sqrt(M) * noise


def _step_size(cell: Row, A: Tensor) -> Tensor | None:
    if cell["eta"] is None:
        return None
    if cell["eta"] == "1/L":
        return torch.linalg.matrix_norm(A, 2) ** -2
    return A.new_full(A.shape[:1], float(cell["eta"]))


def _solve(cell: Row, A: Tensor, y: Tensor, eta: Tensor | None, select: Selection) -> Tensor:
    if eta is None:
        return omp(A, y, cell["steps"], select=select).x
    return iht(A, y, S, eta=eta, max_steps=cell["steps"], select=select).x


def _bound(cell: Row, A: Tensor, y: Tensor, eta: Tensor | None, tau: float) -> Bound:
    if eta is None:
        return soft_omp_bound(A, y, cell["steps"], tau=tau, accuracy=ACCURACY)
    return soft_iht_bound(A, y, S, eta=eta, steps=cell["steps"], tau=tau, accuracy=ACCURACY)


def _trials(cell: Row, tau: float, error: Tensor, bound: Bound) -> list[Row]:
    least = bound.gap.amin(-1).tolist()
    return [
        {
            **_names(cell),
            "tau": tau,
            "trial": trial,
            "error": _rounded(e),
            "bound": _rounded(b),
            "gap": _rounded(gap),
        }
        for trial, (e, b, gap) in enumerate(zip(error.tolist(), bound.error[:, -1].tolist(), least, strict=True))
        if math.isfinite(b)
    ]


def _summary(cell: Row, tau: float, error: Tensor, bound: Tensor, size: Tensor) -> Row:
    finite = bound.isfinite()
    telling = finite & (bound > 100 * ROUNDING * size)  # elsewhere the ratio is one of rounding errors
    low, middle, high = error.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=error.dtype)).tolist()
    return {
        **_names(cell),
        "tau": tau,
        "median_error": _rounded(middle),
        "low_error": _rounded(low),
        "high_error": _rounded(high),
        "median_bound": _rounded(bound[finite].quantile(0.5).item()) if finite.any() else None,
        "share_bounded": round(finite.double().mean().item(), 4),
        "worst_ratio": _rounded((error / bound)[telling].max().item()) if telling.any() else None,
        "violations": _violations(error, bound, size),
        "trials": len(error),
    }


def _totals(cell: Row, parts: list[tuple[float, Tensor, Bound]], size: Tensor, A: Tensor) -> Row:
    _, _, bound = parts[0]  # gaps and guaranteed temperature are of the exact run alone
    gap, guaranteed = bound.gap.amin(-1), bound.tau_needed
    good = torch.stack([error <= ACCURACY * size for _, error, _ in parts]).long().cumprod(0).sum(0)  # up to which tau
    taus = torch.tensor([0.0, *(tau for tau, _, _ in parts)], dtype=torch.float64)
    observed = taus[good]
    both = (observed > 0) & (guaranteed > 0)
    return {
        **_names(cell),
        "condition": _rounded(median(torch.linalg.cond(A).tolist())),
        "bounds": sum(int(b.error[:, -1].isfinite().sum()) for _, _, b in parts),
        "violations": sum(_violations(error, b.error[:, -1], size) for _, error, b in parts),
        "median_gap": _rounded(median(gap.tolist())),
        "tau_transition": _rounded(median((gap / math.log(N)).tolist())),
        "tau_guaranteed": _rounded(median(guaranteed.tolist())),
        "tau_observed": _rounded(median(observed.tolist())),
        "observed_over_guaranteed": _rounded(median((observed / guaranteed)[both].tolist())) if both.any() else None,
        "trials": len(size),
    }


def _violations(error: Tensor, bound: Tensor, size: Tensor) -> int:
    """How many errors exceed their bounds by more than rounding."""
    return int((error > bound * (1 + 1e-9) + ROUNDING * size).sum())


def _names(cell: Row) -> Row:
    return {name: cell[name] for name in ("problem", "algorithm", "steps", "eta")}


def _rounded(value: float) -> float | None:
    """Six digits; None for an infinite bound, which is no bound."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _of(rows: list[Row], setting: tuple[Any, ...], problem: str) -> list[Row]:
    return [r for r in rows if (r["problem"], r["algorithm"], r["steps"], r["eta"]) == (problem, *setting)]


def _title(setting: tuple[Any, ...]) -> str:
    algorithm, steps, eta = setting
    size = "" if eta is None else rf", $\eta$ = {eta}" if eta != "1/L" else r", $\eta = 1/\|A\|^2$"
    return f"Soft-{algorithm.upper()}, {steps} steps{size}"


def _ratios(ax: Axes, rows: list[Row], setting: tuple[Any, ...]) -> None:
    for i, (problem, colour) in enumerate(COLOURS.items()):
        told = [row for row in _of(rows, setting, problem) if row["bound"] > 100 * ROUNDING]
        ax.plot(
            [row["tau"] * 1.06 ** (i - 1.5) for row in told],  # beside each other
            [max(row["error"] / row["bound"], LOW) for row in told],
            ".",
            color=colour,
            markersize=4.5,
            alpha=0.75,
            markeredgewidth=0,
        )
    ax.axhline(1, color=GREEN, linewidth=1)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(r"temperature $\tau$ (units of the scores)", fontsize=9)
    ax.set_ylabel(r"$\|x_{soft} - x_{hard}\|$ / bound", fontsize=9)
    _tidy(ax)


def _temperatures(ax: Axes, rows: list[Row]) -> None:
    for place, setting in enumerate(SETTINGS):
        for i, (problem, colour) in enumerate(COLOURS.items()):
            for row in _of(rows, setting, problem):
                at, ends = place + 0.17 * (i - 1.5), (row["tau_guaranteed"], row["tau_observed"])
                ax.plot([at, at], ends, color=colour, linewidth=1)
                ax.plot(at, ends[0], "_", color=colour, markersize=8, markeredgewidth=2)
                ax.plot(at, ends[1], "o", color=colour, markersize=4)
    labels = [_title(setting).replace("Soft-", "").replace(", ", "\n") for setting in SETTINGS]
    ax.set_yscale("log")
    ax.set_xticks(range(len(SETTINGS)), labels)
    ax.set_xlabel("solver", fontsize=9)
    ax.set_ylabel(r"temperature $\tau$", fontsize=9)
    _tidy(ax)
    ax.tick_params(axis="x", labelsize=7)


def _tidy(ax: Axes) -> None:
    ax.tick_params(which="both", labelsize=8)
    ax.tick_params(axis="x", which="both", labelbottom=True)
    ax.spines[["top", "right"]].set_visible(False)


def _explain(figure: Figure, tables: Tables) -> None:
    """A legend of the colours that all panels share, and how many bounds are exceeded."""
    from matplotlib.lines import Line2D

    bounds, broken = (sum(row[name] for row in tables["totals"]) for name in ("bounds", "violations"))
    point: dict[str, Any] = {"linestyle": "none", "color": "0.4"}
    handles: list[Any] = [
        *(Line2D([], [], color=colour, marker="o", linestyle="none", markersize=4, label=problem)
          for problem, colour in COLOURS.items()),
        Line2D([], [], color=GREEN, linewidth=1, label="error = bound"),
        Line2D([], [], marker="_", markersize=8, markeredgewidth=2, label="guaranteed", **point),
        Line2D([], [], marker="o", markersize=4, label="observed", **point),
    ]  # fmt: skip
    title = f"{broken} of {bounds} bounds are exceeded by the error"
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), fontsize=8, frameon=False, title=title
    )
