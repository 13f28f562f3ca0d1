"""What each part of SEA+ is worth: each left out, on the signals of sea-fig2.

Every row is a combination of three parts: where supports come from (the whitened LASSO at several levels, the plain
LASSO, SEA from zero), whether ELS improves them, and that the smallest residual decides. `behind` is by how much the
support distance is larger than that of SEA+ on the same signals, with the standard error of that difference.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ... import metrics
from ...core.atoms import Atoms
from ...problems import Instance
from ...solvers import els, sea, sea_plus, whitened_lasso
from ...solvers.on_support import refit
from ...solvers.problem import Problem, problem
from ..cells import Row, Tables
from . import deconvolution
from .deconvolution import BATCH, BOUNDARY, ETA, SIGMA, STEPS, N

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTIAL = True
SNRS, SPARSITIES, RUNS = (40, 20, "inf"), (10, 20, 30, 40, 50), 200
QUICK: Row = {"snrs": (20, "inf"), "sparsities": (5,), "runs": 4, "steps": 100}
LEVEL = 1e-2  # of the row that has one level of whitening only
# Name -> what is drawn of it: colour, line.
PARTS = {
    "SEA+": (deconvolution.VIOLET, "-"),
    "without SEA": (deconvolution.TEAL, "-"),
    "without the whitened LASSO": (deconvolution.RED, "-"),
    "without whitening": (deconvolution.SKY, "-"),
    "one level of whitening": (deconvolution.ORANGE, "-"),
    "without ELS": (deconvolution.GREEN, "-"),
    "whitened LASSO, then ELS": (deconvolution.TEAL, "--"),
    "whitened LASSO": (deconvolution.TEAL, ":"),
    "SEA from the whitened LASSO, then ELS": (deconvolution.PURPLE, "--"),
    "SEA": (deconvolution.BLUE, ":"),
}


def cells(quick: bool, seed: int, runs: int | None = None, steps: int | None = None) -> list[Row]:
    """One per noise level and number of spikes; the signals are those of sea-fig2."""
    snrs, sparsities = (QUICK["snrs"], QUICK["sparsities"]) if quick else (SNRS, SPARSITIES)
    runs = (QUICK["runs"] if quick else RUNS) if runs is None else runs
    steps = (QUICK["steps"] if quick else STEPS) if steps is None else steps
    if runs < 1:
        raise ValueError(f"runs is {runs}; needed is at least 1.")
    settings = deconvolution.check(N, SIGMA, BOUNDARY, ETA, steps)
    return [
        {"snr": snr, "k": k, "runs": runs, "seed": seed, **settings} for snr, k in itertools.product(snrs, sparsities)
    ]


def run(cell: Row, folder: Path) -> Tables:
    """All combinations on the signals of a cell.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes a minute.
    """
    case = deconvolution.instance(cell)
    assert case.x is not None, "these signals are drawn"
    batches = [_combinations(case, slice(i, i + BATCH), cell) for i in range(0, cell["runs"], BATCH)]
    missed: dict[str, Any] = {}
    residual: dict[str, float] = {}
    size = torch.linalg.vector_norm(case.y, dim=-1)
    for name in PARTS:
        x = torch.cat([batch[name] for batch in batches])
        missed[name] = metrics.support_distance(x, case.x, case.k)
        residual[name] = float((torch.linalg.vector_norm(case.A.residual(case.y, x), dim=-1) / size).mean())
    return {"parts": [_row(name, cell, missed, residual[name]) for name in PARTS]}


def _row(name: str, cell: Row, missed: dict[str, Any], residual: float) -> Row:
    behind = missed[name] - missed["SEA+"]

    def error(values: Any) -> float | None:
        return round(float(values.std(ddof=1)) / math.sqrt(len(values)), 6) if len(values) > 1 else None

    return {
        "parts": name, "snr_db": cell["snr"], "k": cell["k"], "runs": cell["runs"],
        "support_distance": round(float(missed[name].mean()), 6), "standard_error": error(missed[name]),
        "behind": round(float(behind.mean()), 6), "behind_error": error(behind), "residual": float(f"{residual:.6g}"),
    }  # fmt: skip


def _combinations(case: Instance, part: slice, cell: Row) -> dict[str, Tensor]:
    """The solution of every combination on some of the signals."""
    eta = cell["eta"] / case.A.normalised().norm2()
    p = problem(case.A, case.y[part], case.k, max_steps=cell["steps"]).with_step_size(eta, 1.8)
    white, _ = sea_plus.from_lasso(p)
    explored = sea_plus.from_exploration(p, None)
    one = whitened_lasso.lasso(p, *whitened_lasso.whitened(p, whitened_lasso.svd(p.A), torch.tensor(LEVEL).double()))
    plain = p.choice.best(whitened_lasso.lasso(p, p.A, p.y)).indices
    from_one = p.find("sea", sea.run, one).support
    best = {
        "SEA+": sea_plus.best(p, torch.cat([white, explored])),
        "without SEA": sea_plus.best(p, white),
        "without the whitened LASSO": _improved(p, explored[0]),
        "without whitening": sea_plus.best(p, torch.stack([plain, explored[0]])),
        "one level of whitening": sea_plus.best(p, torch.stack([p.choice.best(one).indices, explored[0]])),
        "without ELS": _smallest(p, torch.cat([white, explored])),
        "whitened LASSO, then ELS": _improved(p, white[0]),
        "whitened LASSO": white[0],
        "SEA from the whitened LASSO, then ELS": _improved(p, from_one),
        "SEA": explored[0],
    }
    return {name: p.in_callers_units(_fitted(p, support)[0]) for name, support in best.items()}


def _improved(p: Problem, support: Tensor) -> Tensor:
    return p.find("els", els.run, support).support


def _fitted(p: Problem, support: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares on a support, and the residual norm."""
    s = refit(p.A, p.y, Atoms(support, p.A.shape[1]))
    return s.x, torch.linalg.vector_norm(s.r, dim=-1)


def _smallest(p: Problem, supports: Tensor) -> Tensor:
    """Of these supports, `(count, *batch, k)`, the one with the smallest residual."""
    first = torch.stack([_fitted(p, support)[1] for support in supports]).argmin(0)
    return supports.gather(0, first[None, ..., None].expand(1, *supports.shape[1:])).squeeze(0)


def sort_key(row: Row) -> Any:
    """By noise, the noiseless last, then as above."""
    return float(row["snr_db"]) == math.inf, -float(row["snr_db"]), list(PARTS).index(row["parts"]), row["k"]


def draw(tables: Tables, quick: bool) -> Figure:
    """A panel per noise level."""
    from matplotlib.figure import Figure

    rows = sorted(tables["parts"], key=sort_key)
    levels = list(dict.fromkeys(row["snr_db"] for row in rows))
    figure = Figure(figsize=(3.8 * len(levels) + 2.6, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    for ax, level in zip(axes, levels, strict=True):
        for name, (colour, line) in PARTS.items():
            curve = [row for row in rows if (row["parts"], row["snr_db"]) == (name, level)]
            error = [row["standard_error"] or math.nan for row in curve]
            ax.errorbar(
                [row["k"] for row in curve], [row["support_distance"] for row in curve], yerr=error, color=colour,
                linestyle=line, linewidth=2.6 if name == "SEA+" else 1.3, capsize=1.5, label=name,
            )  # fmt: skip
        ax.set_title(deconvolution.noise(level), loc="left", fontsize=10)
        ax.set_xlabel("number of spikes k", fontsize=9)
        ax.set_xticks(sorted({row["k"] for row in rows}))
        ax.tick_params(labelsize=8, labelleft=True)
        ax.grid(color="0.92", linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("mean support distance, lower is better", fontsize=9)
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, frameon=False, handlelength=3.2)
    runs = " or ".join(str(count) for count in sorted({row["runs"] for row in rows}))
    figure.suptitle(f"Means of {runs} signals, bars: one standard error", fontsize=10)
    return figure
