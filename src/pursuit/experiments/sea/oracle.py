"""SEA beside its oracle, which moves X by the true signal instead of the gradient (in the paper's first version).

Problems, with a signal and, but for the deconvolution, a matrix of its own per trial:

- "nearly orthogonal": Gaussian, 2048 x 12, two non-zeros uniform on [-2, -1] and [1, 2], where SEA's theorem mostly
  holds;
- "Gaussian": that of the phase transitions, 32 x 64, 8 Gaussian non-zeros;
- "deconvolution": that of sea-fig2, n = 500 and 10 spikes, with noise of 40 dB.

SEA and the oracle start from zero, from OMP's solution, and from Gaussian numbers, the largest of them 10 eta; the step
size eta is the poster's, 1.8 / L.

Tables:

- `found`: the share of trials whose support has been visited up to the step t;
- `nearness`: along SEA's path, of those trials whose support is not contained in `S^t`: the cosine of the angle between
  the moves of SEA and of the oracle, and the largest difference of the two in an entry, over `min |x_i| / (2 k)`;
  quartiles. The theorem bounds that difference; its condition is that the bound is below `min |x_i| / (2 k)`;
- `summary`: the share found in all steps, and the median number of the step.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...operators import Dense, spectral_norm_squared
from ...plots.style import BLUE, GREEN, ORANGE
from ...problems import deconvolution, gaussian_matrix, on_random_support, with_noise
from ...solvers.omp import omp
from ..cells import Row, Tables
from .paths import Case, Visit, first_hit, generator, misses, visits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTIAL = True
PROBLEMS = ("nearly orthogonal", "Gaussian", "deconvolution")
STARTS = ("zero", "OMP", "random")
UPDATES = ("SEA", "oracle")
TRIALS, STEPS, ETA = 200, 1000, 1.8
FAR = 10.0  # max |X^0_i| / eta of the random start
QUICK: Row = {"trials": 20, "steps": 50}
FEWEST = 10  # trials that are still searching, for a quartile of them
PER_OCTAVE = 4  # values of t
COLOURS = dict(zip(STARTS, (BLUE, ORANGE, GREEN), strict=True))
LINES = dict(zip(UPDATES, ("-", "--"), strict=True))


def cells(quick: bool, seed: int, trials: int | None = None, steps: int | None = None) -> list[Row]:
    """One per problem and start."""
    trials = (QUICK["trials"] if quick else TRIALS) if trials is None else trials
    steps = (QUICK["steps"] if quick else STEPS) if steps is None else steps
    for name, value in (("trials", trials), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} is {value}; needed is at least 1.")
    return [
        {"problem": problem, "start": start, "trials": trials, "steps": steps, "seed": seed}
        for problem in PROBLEMS
        for start in STARTS
    ]


def run(cell: Row, folder: Path) -> Tables:
    """Both updates from one start.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes seconds.
    """
    case = instance(cell)
    eta = (ETA / spectral_norm_squared(case.A)).expand(case.x.shape[:1])
    x0 = _start(cell, case, eta)
    times = _times(cell["steps"])
    tables: Tables = {"found": [], "nearness": [], "summary": []}
    for update in UPDATES:
        path = visits(case, eta, x0, oracle=update == "oracle")
        if update == "SEA":
            path = _measured(path, case, cell, tables["nearness"])
        hit = first_hit(path, cell["steps"] - 1)
        row = {"problem": cell["problem"], "start": cell["start"], "update": update}
        tables["found"] += [{**row, "t": t, "share": round(float((hit <= t).double().mean()), 6)} for t in times]
        seen = hit[hit.isfinite()]
        tables["summary"].append(
            {
                **row, "trials": cell["trials"], "steps": cell["steps"], "found": round(len(seen) / len(hit), 6),
                "median_t": float(hit.quantile(0.5, interpolation="lower")),
                "largest_t": float(seen.max()) if len(seen) else None,
            }
        )  # fmt: skip
    return tables


def instance(cell: Row) -> Case:
    """The signals of a problem."""
    count, rng = cell["trials"], generator(problem=cell["problem"], trials=cell["trials"], seed=cell["seed"])
    if cell["problem"] == "deconvolution":
        drawn = deconvolution(n=500, k=10, snr=40.0, signals=count, seed=int(torch.randint(2**31, (), generator=rng)))
        assert drawn.x is not None, "these signals are drawn"
        return Case(drawn.A, drawn.y, drawn.x, drawn.k)
    m, n, k = (2048, 12, 2) if cell["problem"] == "nearly orthogonal" else (32, 64, 8)
    matrices = torch.stack([gaussian_matrix(m, n, rng) for _ in range(count)])
    values = torch.randn(count, k, dtype=torch.float64, generator=rng, device=rng.device)
    if cell["problem"] == "nearly orthogonal":
        values = values.sign() * (1 + torch.rand(count, k, dtype=torch.float64, generator=rng, device=rng.device))
    x = on_random_support(values, n, rng)
    A = Dense(matrices)
    return Case(A, with_noise(A.forward(x), math.inf, rng), x, k)


def _start(cell: Row, case: Case, eta: Tensor) -> Tensor:
    """X^0."""
    if cell["start"] == "zero":
        return torch.zeros_like(case.x)
    if cell["start"] == "OMP":
        return omp(case.A, case.y, case.k).x
    rng = generator(start=True, problem=cell["problem"], trials=cell["trials"], seed=cell["seed"])
    normal = torch.randn(case.x.shape, dtype=case.x.dtype, generator=rng, device=rng.device)
    return FAR * eta.unsqueeze(-1) * normal / normal.abs().amax(-1, keepdim=True)


def _times(steps: int) -> list[int]:
    """0, 1, 2, ... at growing distances."""
    grown = (round(2 ** (i / PER_OCTAVE)) for i in itertools.count())
    return [0, *dict.fromkeys(itertools.takewhile(lambda t: t < steps, grown))]


def _measured(path: Any, case: Case, cell: Row, rows: list[Row]) -> Any:
    """The same visits; at some of them, rows that compare the two moves."""
    times = set(_times(cell["steps"]))
    for t, visit in enumerate(path):
        missed = misses(visit)
        if t in times and missed.sum() >= min(FEWEST, cell["trials"]):
            quartiles = _quartiles(case, Visit(*(value[missed] for value in visit)), case.x[missed])
            rows.append(
                {"problem": cell["problem"], "start": cell["start"], "t": t, "missed": int(missed.sum())} | quartiles
            )
        yield visit


def _quartiles(case: Case, visit: Visit, x: Tensor) -> Row:
    """Quartiles of the cosine, and of the largest difference over `min |x_i| / (2 k)`."""
    length = torch.linalg.vector_norm(visit.move, dim=-1) * torch.linalg.vector_norm(visit.oracle, dim=-1)
    cosine = (visit.move * visit.oracle).sum(-1) / length
    least = torch.where(x != 0, x.abs(), math.inf).amin(-1)
    error = (visit.move - visit.oracle).abs().amax(-1) * 2 * case.k / least
    at = torch.tensor([0.25, 0.5, 0.75], dtype=x.dtype)
    return {
        f"{name}_{part}": float(f"{float(number):.5g}")
        for name, value in (("cosine", cosine), ("error", error))
        for part, number in zip(("low", "median", "high"), value.quantile(at), strict=True)
    }


def sort_key(row: Row) -> Any:
    """By problem, start, update and step."""
    update = UPDATES.index(row["update"]) if "update" in row else 0
    return PROBLEMS.index(row["problem"]), STARTS.index(row["start"]), update, row.get("t", 0)


def draw(tables: Tables, quick: bool) -> Figure:
    """A column per problem: the share found, the cosine, and the largest difference."""
    from matplotlib.figure import Figure

    there = [problem for problem in PROBLEMS if any(row["problem"] == problem for row in tables["found"])]
    figure = Figure(figsize=(4.2 * len(there) + 0.6, 8.4), dpi=120, layout="constrained")
    axes = figure.subplots(3, len(there), squeeze=False, sharex=True, sharey="row")
    for column, problem in zip(axes.T, there, strict=True):
        found, near = ([row for row in tables[name] if row["problem"] == problem] for name in ("found", "nearness"))
        _draw_found(column[0], found)
        _draw_quartiles(column[1], near, "cosine")
        _draw_quartiles(column[2], near, "error")
        column[0].set_title(problem, loc="left", fontsize=10)
        column[2].set_xlabel("t + 1", fontsize=9)
    axes[0, 0].set_ylabel("share of trials whose support\nhas been visited", fontsize=9)
    axes[1, 0].set_ylabel("cosine between the moves\nof SEA and of the oracle", fontsize=9)
    axes[2, 0].set_ylabel("their largest difference in an entry,\nover $\\min |x_i| / (2 k)$", fontsize=9)
    for ax in axes[2]:
        ax.set_yscale("log")
        ax.axhline(1, color="0.5", linewidth=0.9)
    axes[2, 0].text(1, 1.15, "the theorem needs a bound below this line", fontsize=8, color="0.3")
    axes[1, 0].set_ylim(0, 1.05)
    for ax in axes.flat:
        ax.set_xscale("log")
        ax.grid(color="0.92", linewidth=0.6)
        ax.tick_params(labelsize=8, labelleft=True, labelbottom=True)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def _draw_found(ax: Axes, rows: list[Row]) -> None:
    for start, update in itertools.product(STARTS, UPDATES):
        curve = [row for row in rows if (row["start"], row["update"]) == (start, update)]
        ax.plot(
            [row["t"] + 1 for row in curve], [row["share"] for row in curve], LINES[update], color=COLOURS[start],
            linewidth=1.5, label=f"{update} from {start}",
        )  # fmt: skip
    ax.set_ylim(-0.02, 1.04)


def _draw_quartiles(ax: Axes, rows: list[Row], name: str) -> None:
    for start in STARTS:
        curve = [row for row in rows if row["start"] == start]
        t = [row["t"] + 1 for row in curve]
        ax.plot(t, [row[f"{name}_median"] for row in curve], color=COLOURS[start], linewidth=1.5)
        low, high = ([row[f"{name}_{part}"] for row in curve] for part in ("low", "high"))
        ax.fill_between(t, low, high, color=COLOURS[start], alpha=0.15, linewidth=0)
