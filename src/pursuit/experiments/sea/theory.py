"""How far the theorem of SEA reaches, and how near its bound T_RIP is (not in the paper).

Gaussian matrices with m rows and 12 columns of norm one; signals with k non-zeros, uniform on [-2, -1] and [1, 2], as
in the poster's deconvolution; without noise, and with Gaussian noise of 20 dB. The restricted isometry constants are
found by enumeration, and so are exact. Every trial has a matrix and a signal of its own.

Tables:

- `reach`: per k, m and noise, the share of trials that meet the condition of the theorem (`guaranteed`), the share
  that meet the condition on the noise too, so that SEA returns the support (`recovers`), and the share in which SEA
  from zero does return it (`found`), in 1000 steps; then, of all paths of trials that meet the condition, how many
  there are (`paths`), how many see the support within the bound (`within`), and the largest and the median share of
  the bound that they need;
- `hits`: some of these paths: the bound `t_rip`, and the first t at which `S^t` contains the support (`hit`).

A path has one of seven starts: zero; Gaussian; and `opposed`, where all entries of X^0 are equally large, and those on
the true support have the sign opposite to the signal's, so that they have to come back through zero. The largest entry
of a Gaussian or an opposed start, divided by the step size, is 0.3, 3 or 30.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ... import theory
from ...operators import Dense
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED
from ...problems import on_random_support
from ...solvers.sea import sea
from ...theory.sea import SeaBound
from ..cells import Row, Tables
from .paths import Case, first_hit, generator, visits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTIAL = True
N, STEPS = 12, 1000
ROWS = tuple(2**power for power in range(2, 16))
SPARSITIES = (1, 2, 3)
NOISES: tuple[str | int, ...] = ("inf", 20)  # SNR in dB
SIZES = (0.3, 3.0, 30.0)  # max |X^0_i| / eta of a start
STARTS = ("zero", *(f"{kind} {size:g}" for size in SIZES for kind in ("Gaussian", "opposed")))
TRIALS, SHOWN = 100, 8  # trials, and those whose paths are in the table
PART = 25  # trials at a time
QUICK: Row = {"rows": (8, 256, 4096), "sparsities": (1, 2), "trials": 10}
COLOURS = dict(zip(SPARSITIES, (BLUE, ORANGE, GREEN), strict=True))
MARKS = {"zero": ("o", BLACK), "Gaussian": ("s", BLUE), "opposed": ("^", RED)}


def cells(quick: bool, seed: int, trials: int | None = None) -> list[Row]:
    """One per number of non-zeros and of rows."""
    trials = (QUICK["trials"] if quick else TRIALS) if trials is None else trials
    if trials < 1:
        raise ValueError(f"trials is {trials}; needed is at least 1.")
    sparsities, rows = (QUICK["sparsities"], QUICK["rows"]) if quick else (SPARSITIES, ROWS)
    return [{"k": k, "m": m, "n": N, "trials": trials, "seed": seed} for k in sparsities for m in rows]


def run(cell: Row, folder: Path) -> Tables:
    """All trials of a cell.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes seconds.
    """
    reach, hits = [], []
    for snr in NOISES:
        trials = [_trials(cell, snr, part) for part in range(0, cell["trials"], PART)]
        reach.append(_reach(cell, snr, {name: torch.cat([each[name] for each in trials], -1) for name in trials[0]}))
        hits += [row for each in trials for row in _hits(cell, snr, each)]
    return {"reach": reach, "hits": hits[: SHOWN * len(STARTS) * len(NOISES)]}


def _drawn(cell: Row, snr: float | str, part: int) -> tuple[Case, Tensor]:
    """Trials from number `part` on, and their noise; matrices and signals are the same at every noise level."""
    k, m, n, count = cell["k"], cell["m"], cell["n"], min(PART, cell["trials"] - part)
    rng = generator(k=k, m=m, n=n, part=part, seed=cell["seed"])

    def gaussian(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=rng, device=rng.device)

    A = gaussian(count, m, n)
    A = A / torch.linalg.vector_norm(A, dim=-2, keepdim=True)
    values = (1 + torch.rand(count, k, dtype=torch.float64, generator=rng, device=rng.device)) * gaussian(
        count, k
    ).sign()
    x = on_random_support(values, n, rng)
    noise = gaussian(count, m)
    rotated = torch.linalg.qr(torch.cat([A, noise.unsqueeze(-1)], -1)).R  # a rotation of the rows changes no product
    A, noise = rotated[..., :n], rotated[..., n]
    y = (A @ x.unsqueeze(-1)).squeeze(-1)
    noise = noise * (torch.linalg.vector_norm(y, dim=-1) / torch.linalg.vector_norm(noise, dim=-1)).unsqueeze(-1)
    noise = 10 ** (-float(snr) / 20) * noise
    return Case(Dense(A), y + noise, x, k), noise


def _starts(cell: Row, case: Case, eta: Tensor, part: int) -> Tensor:
    """X^0 of every start, `(starts, trials, n)`."""
    rng = generator(start=True, part=part, **cell)
    found = [torch.zeros_like(case.x)]
    for size in SIZES:
        largest = (size * eta).unsqueeze(-1)
        normal = torch.randn(case.x.shape, dtype=case.x.dtype, generator=rng, device=rng.device)
        found.append(largest * normal / normal.abs().amax(-1, keepdim=True))
        found.append(largest * torch.where(case.x != 0, -case.x.sign(), 1))
    return torch.stack(found)


def _trials(cell: Row, snr: float | str, part: int) -> dict[str, Tensor]:
    """What there is to say of some trials; the last axis is of trials, the one before, if any, of starts."""
    case, noise = _drawn(cell, snr, part)
    dense = case.A.to_dense()
    eta = 1.8 / torch.linalg.matrix_norm(dense, 2).square()
    starts = _starts(cell, case, eta, part)
    bound: SeaBound = theory.sea_bound(dense, case.x, noise, cell["k"], eta, starts)
    assert bound.exact, "these matrices have few columns"
    holds = bound.slack[0] > 0
    hit = torch.full(bound.t_rip.shape, math.nan, dtype=torch.float64)
    if holds.any():
        hit[:, holds] = _first_hits(case, eta, starts, bound.t_rip, holds)
    x = sea(case.A, case.y, cell["k"], max_steps=STEPS).x
    return {
        "coherence": theory.coherence(dense), "delta": bound.delta_2k1.upper, "holds": holds,
        "recovers": bound.recovers[0], "found": ((x != 0) | (case.x == 0)).all(-1), "t_rip": bound.t_rip, "hit": hit,
    }  # fmt: skip


def _first_hits(case: Case, eta: Tensor, starts: Tensor, t_rip: Tensor, holds: Tensor) -> Tensor:
    """The first hits from all starts where the theorem holds; looked for as long as the bound allows, and one more."""
    A, y, x = (value[holds] for value in (case.A.to_dense(), case.y, case.x))
    count = len(starts)
    several = Case(Dense(A.expand(count, *A.shape)), y.expand(count, *y.shape), x.expand(count, *x.shape), case.k)
    most = int(t_rip[:, holds].max()) + 1
    return first_hit(visits(several, eta[holds].expand(count, -1), starts[:, holds]), most)


def _reach(cell: Row, snr: float | str, trials: dict[str, Tensor]) -> Row:
    """One row of that table."""
    t_rip, hit = (trials[name][:, trials["holds"]] for name in ("t_rip", "hit"))
    share = hit / t_rip

    def mean(name: str) -> float:
        return round(float(trials[name].double().mean()), 6)

    return {
        **{name: cell[name] for name in ("k", "m", "n")}, "snr_db": snr, "trials": cell["trials"],
        "coherence": mean("coherence"), "delta_2k1": mean("delta"), "guaranteed": mean("holds"),
        "recovers": mean("recovers"), "found": mean("found"), "paths": hit.numel(),
        "within": int((hit <= t_rip).sum()), "largest_share": round(float(share.max()), 4) if hit.numel() else None,
        "median_share": round(float(share.median()), 4) if hit.numel() else None,
    }  # fmt: skip


def _hits(cell: Row, snr: float | str, trials: dict[str, Tensor]) -> list[Row]:
    """One row per start and trial that meets the condition."""
    rows = []
    for trial in trials["holds"].nonzero().flatten().tolist()[:SHOWN]:
        t_rip, hit = (trials[name][:, trial].tolist() for name in ("t_rip", "hit"))
        for start, bound, first in zip(STARTS, t_rip, hit, strict=True):
            row = {"k": cell["k"], "m": cell["m"], "snr_db": snr, "start": start, "t_rip": float(f"{bound:.6g}")}
            rows.append({**row, "hit": int(first) if math.isfinite(first) else None})
    return rows


def sort_key(row: Row) -> Any:
    """By k, then m, then noise."""
    return row["k"], row["m"], -float(row["snr_db"]), STARTS.index(row["start"]) if "start" in row else 0


def draw(tables: Tables, quick: bool) -> Figure:
    """The share of trials with a guarantee over m, at both noise levels, and the first hits against their bound."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.9), dpi=120, layout="constrained")
    *reach, hits = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
    for ax, snr in zip(reach, NOISES, strict=True):
        _draw_reach(ax, [row for row in tables["reach"] if float(row["snr_db"]) == float(snr)])
        ax.set_title("no noise" if snr == "inf" else f"SNR {snr} dB", loc="left", fontsize=10)
    reach[0].set_ylabel("share of trials", fontsize=9)
    figure.legend(*reach[0].get_legend_handles_labels(), fontsize=8, frameon=False, loc="outside lower left", ncols=6)
    _draw_hits(hits, tables)
    for ax in (*reach, hits):
        ax.grid(color="0.92", linewidth=0.6)
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    trials = " or ".join(str(count) for count in sorted({row["trials"] for row in tables["reach"]}))
    figure.suptitle(f"Gaussian matrices with {N} columns, {trials} per point", fontsize=10)
    return figure


def _draw_reach(ax: Axes, rows: list[Row]) -> None:
    for k in sorted({row["k"] for row in rows}):
        curve = [row for row in rows if row["k"] == k]
        m = [row["m"] for row in curve]
        ax.plot(m, [row["found"] for row in curve], "o--", color=COLOURS[k], markersize=3, label=f"SEA finds k = {k}")
        ax.plot(
            m, [row["guaranteed"] for row in curve], "o-", color=COLOURS[k], markersize=3, label=f"guaranteed, k = {k}"
        )
    ax.axvline(N, color="0.7", linewidth=0.8)
    ax.set_xscale("log", base=2)
    ax.set_xlabel("measurements m (grey line: m = n)", fontsize=9)
    ax.set_ylim(-0.03, 1.05)


def _draw_hits(ax: Axes, tables: Tables) -> None:
    for kind, (mark, colour) in MARKS.items():
        rows = [row for row in tables["hits"] if row["start"].partition(" ")[0] == kind and row["hit"] is not None]
        ax.plot(
            [row["t_rip"] for row in rows], [row["hit"] for row in rows], mark, color=colour, markersize=3.5,
            fillstyle="none", markeredgewidth=0.7, alpha=0.7, label={"zero": "from zero"}.get(kind, f"{kind} start"),
        )  # fmt: skip
    top = max((row["t_rip"] for row in tables["hits"]), default=10)
    ax.plot([1, top], [1, top], color=BLACK, linewidth=0.9)
    ax.annotate("the bound", (top, top), (-12, -2), textcoords="offset points", ha="right", va="top", fontsize=8)
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=1, linscale=0.4)
    ax.set_ylim(-0.2, top * 1.3)
    ax.set_xlabel("bound $T_\\mathrm{RIP}$", fontsize=9)
    ax.set_ylabel("first t whose support contains the true one", fontsize=9)
    paths, within = (sum(row[name] for row in tables["reach"]) for name in ("paths", "within"))
    ax.set_title(f"{within} of {paths} paths are within their bound", loc="left", fontsize=10)
    ax.legend(fontsize=8, frameon=False, loc="upper left")
