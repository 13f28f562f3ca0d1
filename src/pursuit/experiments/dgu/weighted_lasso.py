"""Greedy LASSO and square-root LASSO over the weight of the penalty, hard and soft.

Experiment I of "The greedy side of the LASSO", arXiv 2303.00844: Gaussian matrices with unit columns, 150 x 300,
signals with 10 non-zeros drawn from N(0, 1) at distinct places, noise of exact norm eta, weights 1, at most 30 atoms.
All losses, noise levels and values of lambda have the same matrices, signals and directions of noise, in double
precision.

`"l1-sr"` is run correctly and, with `legacy`, as in the authors' code; both are in the table `summary`. `references`
has OMP with 10 and with 30 atoms, and least squares on the true support. The soft variant ranks the gains by softsort
at one temperature, in the units of the loss. The paper has pictures only, no numbers to compare with.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...core.selection import Hard, Selection
from ...plots.style import BLACK, BLUE, GREEN, RED
from ...problems import on_random_support
from ...relaxations import Relaxed, softsort
from ...solvers.greedy_lasso import OBJECTIVES, greedy_lasso
from ...solvers.omp import omp
from ..cells import Row, Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

M, N, S = 150, 300, 10
STEPS = 30
TAU = 1e-4
LINES: dict[str, Any] = {f"OMP, {STEPS} atoms": ":", f"OMP, {S} atoms": "--", "true support": "-."}
EXPONENTS = tuple(e / 4 for e in range(-32, 9))  # of lambda
NOISE = (1e-3, 1e-2, 1e-1)
COLOURS = dict(zip(NOISE, (BLUE, RED, GREEN), strict=True))
TITLES = {
    "l0": r"$\ell^0$: $\|y - Ax\|^2 + \lambda \|x\|_0$",
    "l0-sr": r"square-root $\ell^0$: $\|y - Ax\| + \lambda \|x\|_0$",
    "l1": r"$\ell^1$: $\|y - Ax\|^2 + \lambda \|x\|_1$",
    "l1-sr": r"square-root $\ell^1$: $\|y - Ax\| + \lambda \|x\|_1$",
}
UNITS = {"l0": "units of $y$ squared", "l0-sr": "units of $y$", "l1": "units of $y$", "l1-sr": "no unit"}


def cells(quick: bool, seed: int) -> list[Row]:
    """One per loss and level of noise, with all trials as one batch; `"l1-sr"` twice."""
    return [
        {
            "loss": loss,
            "noise": noise,
            "legacy": legacy,
            "trials": 3 if quick else 30,
            "every": 4 if quick else 1,  # which of EXPONENTS
            "soft_every": 8 if quick else 4,
            "seed": seed,
        }
        for loss in OBJECTIVES
        for legacy in ((False, True) if loss == "l1-sr" else (False,))
        for noise in NOISE
    ] + [{"loss": "references", "noise": noise, "trials": 3 if quick else 30, "seed": seed} for noise in NOISE]


def run(cell: Row, folder: Path) -> Tables:
    """Errors of one loss at one level of noise.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes seconds.
    """
    A, x, y = _problem(cell["trials"], cell["noise"], cell["seed"])
    if cell["loss"] == "references":
        return {"references": _references(cell, A, x, y)}
    runs: list[tuple[Selection, float]] = [(Hard(), 0.0)]
    runs += [(Hard(), 10**e) for e in EXPONENTS[:: cell["every"]]]
    if not cell["legacy"]:
        runs += [(Relaxed(softsort, tau=TAU), 10**e) for e in EXPONENTS[:: cell["soft_every"]]]
    rows = []
    for select, lam in runs:
        sol = greedy_lasso(A, y, STEPS, lam=lam, objective=cell["loss"], legacy=cell["legacy"], select=select)
        logs = (torch.linalg.vector_norm(sol.x - x, dim=-1) / torch.linalg.vector_norm(x, dim=-1)).log10()
        rows.append(
            {
                "loss": cell["loss"],
                "legacy": cell["legacy"],
                "noise": cell["noise"],
                "variant": "soft" if isinstance(select, Relaxed) else "hard",
                "tau": TAU if isinstance(select, Relaxed) else None,
                "lam": float(f"{lam:.6g}"),
                "mean_log10_error": round(logs.mean().item(), 4),
                "std_log10_error": round(logs.std(correction=0).item(), 4),
                "mean_atoms": round((sol.support >= 0).sum(-1).double().mean().item(), 2),
                "trials": cell["trials"],
            }
        )
    return {"summary": rows}


def _references(cell: Row, A: Tensor, x: Tensor, y: Tensor) -> list[Row]:
    """OMP with as many atoms as the signals have, and with `STEPS`, and least squares on the true support."""
    support = (x != 0).to(torch.int8).argsort(dim=-1, descending=True, stable=True)[..., :S]
    columns = A.take_along_dim(support.unsqueeze(-2), dim=-1)
    z = torch.linalg.lstsq(columns, y.unsqueeze(-1)).solution.squeeze(-1)
    found = {
        f"OMP, {S} atoms": omp(A, y, S).x,
        f"OMP, {STEPS} atoms": omp(A, y, STEPS).x,
        "true support": torch.zeros_like(x).scatter(-1, support, z),
    }
    rows = []
    for method, estimate in found.items():
        logs = (torch.linalg.vector_norm(estimate - x, dim=-1) / torch.linalg.vector_norm(x, dim=-1)).log10()
        rows.append(
            {
                "method": method,
                "noise": cell["noise"],
                "mean_log10_error": round(logs.mean().item(), 4),
                "std_log10_error": round(logs.std(correction=0).item(), 4),
                "trials": cell["trials"],
            }
        )
    return rows


def draw(tables: Tables, quick: bool) -> Figure:
    """A panel per loss: geometric means over lambda with a band of one standard deviation, one colour per noise."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.6), dpi=120, layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for ax, loss in zip(axes.flat, OBJECTIVES, strict=True):
        _panel(ax, [row for row in tables["summary"] if row["loss"] == loss], loss, tables["references"])
    for ax in axes[:, 0]:
        ax.set_ylabel(r"relative error $\|\hat{x} - x\|\,/\,\|x\|$ (no unit)", fontsize=9)
    _explain(figure, tables["summary"][0]["trials"])
    return figure


def _problem(trials: int, noise: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices `(trials, M, N)`, signals `(trials, N)` and measurements `(trials, M)`."""
    rng = torch.Generator().manual_seed(seed)
    A = torch.randn(trials, M, N, dtype=torch.float64, generator=rng, device=rng.device)
    A = A / torch.linalg.vector_norm(A, dim=-2, keepdim=True)
    x = on_random_support(torch.randn(trials, S, dtype=A.dtype, generator=rng, device=rng.device), N, rng)
    e = torch.randn(trials, M, dtype=A.dtype, generator=rng, device=rng.device)
    e = noise * e / torch.linalg.vector_norm(e, dim=-1, keepdim=True)
    return A, x, (A @ x.unsqueeze(-1)).squeeze(-1) + e


def _panel(ax: Axes, rows: list[Row], loss: str, references: list[Row]) -> None:
    for noise, colour in COLOURS.items():
        curve = [row for row in rows if row["noise"] == noise]
        hard = [row for row in curve if row["variant"] == "hard" and not row["legacy"]]
        low, mean, high = _levels(hard, -1), _levels(hard, 0), _levels(hard, 1)
        ax.fill_between(*_over(hard, low), _over(hard, high)[1], color=colour, alpha=0.15, linewidth=0)
        ax.plot(*_over(hard, mean), color=colour, linewidth=1.4)
        for row in references:
            if row["noise"] == noise:
                ax.axhline(10 ** row["mean_log10_error"], color=colour, linewidth=1, linestyle=LINES[row["method"]])
        soft = [row for row in curve if row["variant"] == "soft"]
        ax.plot(*_over(soft, _levels(soft, 0)), "o", color=colour, markersize=5, fillstyle="none")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(1e-8, 3)  # beyond, nothing is found
    ax.set_title(TITLES[loss], loc="left", fontsize=9)
    ax.set_xlabel(rf"$\lambda$ ({UNITS[loss]})", fontsize=9)
    ax.tick_params(which="both", labelsize=8)
    ax.tick_params(axis="x", which="both", labelbottom=True)
    ax.spines[["top", "right"]].set_visible(False)


def _levels(rows: list[Row], deviations: int) -> list[float]:
    return [10 ** (row["mean_log10_error"] + deviations * row["std_log10_error"]) for row in rows]


def _over(rows: list[Row], values: list[float]) -> tuple[list[float], list[float]]:
    """Lambda and the values, without `lambda = 0`, which cannot be drawn on a logarithmic axis."""
    lams = [row["lam"] for row in rows]
    return [lam for lam in lams if lam], [value for lam, value in zip(lams, values, strict=True) if lam]


def _explain(figure: Figure, trials: int) -> None:
    """A legend that all panels share, above them."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    noise: list[Any] = [
        Line2D([], [], color=colour, linewidth=1.4, label=rf"noise of norm $\eta$ = {level:g}")
        for level, colour in COLOURS.items()
    ]
    style: dict[str, Any] = {"color": BLACK, "linewidth": 1.2}
    what: list[Any] = [
        Line2D([], [], **style, label=f"hard: geometric mean of {trials} trials"),
        Patch(color=BLACK, alpha=0.15, linewidth=0, label="one standard deviation of the logarithm"),
        *(Line2D([], [], color=BLACK, linewidth=1, linestyle=line, label=f"least squares on the {method}"
                 if method == "true support" else method) for method, line in LINES.items()),
        Line2D([], [], color=BLACK, marker="o", linestyle="none", fillstyle="none", markersize=5,
               label=rf"soft, $\tau$ = {TAU:g}"),
    ]  # fmt: skip
    figure.legend(handles=noise + what, loc="outside upper center", ncols=4, fontsize=8, frameon=False)
