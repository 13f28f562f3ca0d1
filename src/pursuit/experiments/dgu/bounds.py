"""The distance between soft and hard solvers over the temperature, and its bound by the theorem.

"Deep greedy unfolding" leaves open how sharp its Thm 3.6 is. This compares `||x_soft - x_hard||` of Soft-OMP and
Soft-IHT with its bound (`pursuit.theory`, whose constants are proven in its comments).

The generator is the paper's, smaller: Gaussian matrices with unit columns, 50 x 100, signals of norm 1 with 5 non-zeros
at distinct places, Gaussian noise of root mean square norm 1e-3, all new in every trial; double precision. OMP takes 5
steps, IHT 5 and 10 with two step sizes: `1 / ||A||^2`, with which a step does not increase an error, and the paper's
0.6, with which it multiplies an error by up to `0.6 ||A||^2 - 1`, about 2.

Tables:

- `trials`: error, bound (empty if the theorem gives none), least gap between the hard solver's scores over the steps;
- `summary`: per temperature, medians, the share of trials with a bound, and the largest error / bound;
- `totals`: per setting, how many errors exceed their bounds by more than rounding (none, if the proof and the code are
  right), and temperatures. `tau_guaranteed` is the largest one at which the bound is a relative error of 1e-6 or less;
  up to `tau_observed`, the errors of all temperatures tried are no larger than that.

How to read the figure: both curves fall like exp(-gap / tau); the farther left the bound is of the error, the looser it
is. The dashed bound is drawn where at least half of the trials have one, and is the median of these trials. The solid
error is the median of all trials, and so may lie above it. The vertical line is where the paper's reasoning expects the
transition, at gap / ln n: between the end of the bound and this line, the theorem says nothing, but the solvers agree.
"""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...core.selection import Hard, Selection
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED, SKY
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
NOISE = 1e-3
TAUS = tuple(float(f"{10 ** (e / 8):.6g}") for e in range(-48, 1))
SETTINGS = (("omp", S, None), ("iht", 5, "1/L"), ("iht", 10, "1/L"), ("iht", 5, "0.6"), ("iht", 10, "0.6"))
ACCURACY = 1e-6  # relative, for the guaranteed and the observed temperature
ROUNDING = 1e-11  # the bounds hold in exact arithmetic
FLOOR = 1e-16  # drawn in the place of no difference at all
COLOURS = (BLACK, BLUE, SKY, RED, ORANGE)


def cells(quick: bool, seed: int) -> list[Row]:
    """One per algorithm, number of steps and step size, each with all trials as one batch."""
    return [
        {
            "algorithm": algorithm,
            "steps": steps,
            "eta": eta,
            "trials": 10 if quick else 30,
            "every": 2 if quick else 1,  # which of TAUS
            "seed": seed,
        }
        for algorithm, steps, eta in SETTINGS
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
    A, y = _problems(cell["trials"], cell["seed"])
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
        "totals": [_totals(cell, parts, size)],
    }


def draw(tables: Tables, quick: bool) -> Figure:
    """A panel per setting with error and bound, and one with the share of trials that have a bound."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), dpi=120, layout="constrained")
    axes = figure.subplots(2, 3, sharex=True)
    panels = axes.flat[:-1]
    for ax, setting, colour in zip(panels, SETTINGS, COLOURS, strict=True):
        _panel(ax, tables, setting, colour)
        if ax is not panels[0]:
            ax.sharey(panels[0])
        _shares(axes.flat[-1], _of(tables["summary"], setting), setting, colour)
    for ax in panels:
        ax.set_ylabel(r"$\|x_{soft} - x_{hard}\|$ ($\|x\| = 1$, no unit)", fontsize=9)
    for ax in axes.flat:
        ax.set_xlabel(r"temperature $\tau$ (units of the scores)", fontsize=9)
    last = axes.flat[-1]
    last.set_ylabel("share of trials (no unit)", fontsize=9)
    last.set_title("trials for which the theorem gives a bound", loc="left", fontsize=9)
    last.legend(fontsize=7, frameon=False, loc="upper right", handlelength=1.2)
    _explain(figure, tables)
    return figure


def _problems(trials: int, seed: int) -> tuple[Tensor, Tensor]:
    """Matrices `(trials, M, N)` and measurements `(trials, M)`, the same in every cell."""
    rng = torch.Generator().manual_seed(seed)
    A = torch.randn(trials, M, N, dtype=torch.float64, generator=rng, device=rng.device)
    A = A / torch.linalg.vector_norm(A, dim=-2, keepdim=True)
    values = torch.randn(trials, S, dtype=A.dtype, generator=rng, device=rng.device)
    x = on_random_support(values / torch.linalg.vector_norm(values, dim=-1, keepdim=True), N, rng)
    noise = torch.randn(trials, M, dtype=A.dtype, generator=rng, device=rng.device)
    return A, (A @ x.unsqueeze(-1)).squeeze(-1) + NOISE / math.sqrt(M) * noise


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


def _totals(cell: Row, parts: list[tuple[float, Tensor, Bound]], size: Tensor) -> Row:
    _, _, bound = parts[0]  # gaps and guaranteed temperature are of the exact run alone
    gap, guaranteed = bound.gap.amin(-1), bound.tau_needed
    good = torch.stack([error <= ACCURACY * size for _, error, _ in parts]).long().cumprod(0).sum(0)  # up to which tau
    taus = torch.tensor([0.0, *(tau for tau, _, _ in parts)], dtype=torch.float64)
    observed = taus[good]
    both = (observed > 0) & (guaranteed > 0)
    return {
        **_names(cell),
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
    return {name: cell[name] for name in ("algorithm", "steps", "eta")}


def _rounded(value: float) -> float | None:
    """Six digits; None for an infinite bound, which is no bound."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _of(rows: list[Row], setting: tuple[Any, ...]) -> list[Row]:
    return [row for row in rows if (row["algorithm"], row["steps"], row["eta"]) == setting]


def _title(setting: tuple[Any, ...]) -> str:
    algorithm, steps, eta = setting
    size = "" if eta is None else rf", $\eta$ = {eta}" if eta != "1/L" else r", $\eta = 1/\|A\|^2$"
    return f"Soft-{algorithm.upper()}, {steps} steps{size}"


def _panel(ax: Axes, tables: Tables, setting: tuple[Any, ...], colour: str) -> None:
    rows, totals = _of(tables["summary"], setting), _of(tables["totals"], setting)[0]
    tau = [row["tau"] for row in rows]
    low, middle, high = ([max(row[f"{q}_error"], FLOOR) for row in rows] for q in ("low", "median", "high"))
    ax.fill_between(tau, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.plot(tau, middle, color=colour, linewidth=1.4)
    bounded = [row for row in rows if row["share_bounded"] >= 0.5 and row["median_bound"]]
    ax.plot([r["tau"] for r in bounded], [r["median_bound"] for r in bounded], color=colour, linestyle="--")
    ax.axvline(totals["tau_transition"], color=GREEN, linewidth=1)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(FLOOR / 3, 1e3)  # bounds of 1e-100 would make all else invisible
    ratio = totals["observed_over_guaranteed"]
    said = (
        "error never below 1e-6" if ratio is None else rf"error < 1e-6 up to {ratio:.2g} $\times$ the guaranteed $\tau$"
    )
    ax.set_title(f"{_title(setting)}\n{said}", loc="left", fontsize=9)
    _tidy(ax)


def _shares(ax: Axes, rows: list[Row], setting: tuple[Any, ...], colour: str) -> None:
    ax.plot(
        [row["tau"] for row in rows], [row["share_bounded"] for row in rows], color=colour, marker=".", linewidth=1.2,
        label=_title(setting).replace("Soft-", ""),
    )  # fmt: skip
    ax.set_ylim(-0.03, 1.05)
    _tidy(ax)


def _tidy(ax: Axes) -> None:
    ax.tick_params(which="both", labelsize=8)
    ax.tick_params(axis="x", which="both", labelbottom=True)
    ax.spines[["top", "right"]].set_visible(False)


def _explain(figure: Figure, tables: Tables) -> None:
    """A legend of the styles that all panels share, and how many bounds are exceeded."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    bounds, broken = (sum(row[name] for row in tables["totals"]) for name in ("bounds", "violations"))
    trials = tables["totals"][0]["trials"]
    handles: list[Any] = [
        Line2D([], [], color=BLACK, linewidth=1.4, label=f"error, median of {trials} trials"),
        Patch(color=BLACK, alpha=0.15, linewidth=0, label="its quartiles"),
        Line2D([], [], color=BLACK, linestyle="--", label="bound, median of the trials that have one"),
        Line2D([], [], color=GREEN, linewidth=1, label=r"expected transition: median of gap / ln n"),
    ]
    title = f"{broken} of {bounds} bounds are exceeded by the error"
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), fontsize=8, frameon=False, title=title
    )
