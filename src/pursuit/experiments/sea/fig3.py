"""Phase transitions of SEA and its competitors: where 95 % of supports are found (the poster's Figure 3).

Gaussian matrices, one per trial, with unit columns; Gaussian values on a uniformly random support; no noise. For every
`zeta = m / n`, the largest `rho = k / m` at which the support found contains the true one in more than 95 % of 1000
trials. The poster does not state n, the step size or the number of steps: n = 64, 1.8 / L and 1000 steps are our
choice; the paper may have used 256 k steps. All are settings.

The trials are those of `pursuit sweep phase` with the same n, seed and block. Besides the poster's twelve methods there
are `sea_plus` and the solvers of other packages that are installed, on the first block of trials.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import peers
from ...sweeps import adaptive
from ...sweeps.cells import Settings, Task, solve
from ...sweeps.run import POSTER
from ..cells import Row, Tables
from . import deconvolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTIAL = True
N, RHO, TRIALS, BLOCK, ETA, STEPS = 64, 0.35, 1000, 250, 1.8, 1000
SPACING = 2  # of the values of m
QUICK: Row = {"trials": 50, "steps": 200, "spacing": 16}
LEVEL = 0.95
BEYOND, FURTHER = "sea_plus", 1.5  # which needs a grid with so much larger rho
# The panels, and what is in them beside the solvers of other packages, which are in the first.
PANELS = {
    "from zero": ("sea_plus", "sea", "iht", "htp"),
    "from OMP": ("omp", "ompr", "iht@omp", "htp@omp", "sea@omp"),
    "from ELS": ("els", "iht@els", "htp@els", "sea@els"),
}
LINES = {"": "-", "omp": "--", "els": ":"}


def cells(
    quick: bool,
    seed: int,
    n: int = N,
    rho: float = RHO,
    spacing: int | None = None,
    trials: int | None = None,
    eta: float = ETA,
    steps: int | None = None,
) -> list[Row]:
    """One per m and family of methods: the poster's, ours, and each of other packages."""
    spacing, trials, steps = (
        (QUICK[name] if quick else usual) if given is None else given
        for name, given, usual in (("spacing", spacing, SPACING), ("trials", trials, TRIALS), ("steps", steps, STEPS))
    )
    if spacing < 1:
        raise ValueError(f"spacing is {spacing}; needed is at least 1.")
    if not 0 < rho <= 1:
        raise ValueError(f"rho is {rho}; needed is 0 < rho <= 1.")
    block = min(BLOCK, trials)
    if trials < 1 or trials % block:
        raise ValueError(f"trials is {trials}; needed is a number up to {BLOCK}, or a multiple of it.")
    Settings(n=n, seed=seed, block=block, eta=eta, max_steps=steps)  # which checks them
    shared = {"n": n, "block": block, "seed": seed}
    tuned = {"eta": eta, "steps": steps}
    families: list[Row] = [
        {"family": "poster", "rho": rho, "trials": trials, **tuned},
        # These take their time.
        {"family": BEYOND, "rho": min(1.0, FURTHER * rho), "trials": block, **tuned},
    ]
    families += [
        {"family": name, "rho": rho, "trials": block, "version": peers.release(name)} for name in peers.available()
    ]
    return [
        {**shared, **family, "m": m}
        for family in families
        for m in range(spacing, n, spacing)
        if family["rho"] * m >= 1  # one atom
    ]


def run(cell: Row, folder: Path) -> Tables:
    """All k of a cell: how many supports were found, and the curve's point.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes a few minutes.
    """
    tuned = {"eta": cell.get("eta", ETA), "max_steps": cell.get("steps", STEPS)}
    settings = Settings(n=cell["n"], seed=cell["seed"], block=cell["block"], **tuned)
    methods = POSTER if cell["family"] == "poster" else (cell["family"],)
    m, ks = cell["m"], tuple(range(1, int(cell["rho"] * cell["m"]) + 1))
    counts: list[Row] = []
    for k in ks:
        blocks = [solve(settings, Task(m, k, block, methods)) for block in range(cell["trials"] // cell["block"])]
        for parts in zip(*blocks, strict=True):
            counts.append(
                {
                    "method": parts[0].method, "m": m, "k": k, "zeta": m / cell["n"], "rho": k / m,
                    "trials": sum(part.trials for part in parts), "found": sum(part.found for part in parts),
                    "exact": sum(part.exact for part in parts),
                    "seconds": round(sum(part.seconds for part in parts), 3),
                }
            )  # fmt: skip
    return {"counts": counts, "curves": [_point(method, m, cell["n"], counts) for method in methods]}


def _point(method: str, m: int, n: int, counts: list[Row]) -> Row:
    """The curve's point at this m: by a logistic fit with its 95 % band, and the largest k counted above the level."""
    mine = {row["k"]: (row["trials"], row["found"]) for row in counts if row["method"] == method}
    point = adaptive.estimate(adaptive.Curve(tuple(mine), mine), LEVEL)
    assert point is not None, "all k are counted"
    above = [k for k, (trials, found) in mine.items() if found > LEVEL * trials]
    return {
        "method": method, "m": m, "zeta": m / n,
        **{name: round(k / m, 5) for name, k in zip(("rho", "rho_low", "rho_high"), point[:3], strict=True)},
        "where": point.where, "rho_counted": round(max(above, default=0) / m, 5),
    }  # fmt: skip


def sort_key(row: Row) -> Any:
    """By method, then m, then k."""
    return deconvolution.order(row["method"]), row["m"], row.get("k", 0)


def draw(tables: Tables, quick: bool) -> Figure:
    """The 95 % curves, a panel per start, on one scale."""
    from matplotlib.figure import Figure

    rows = tables["curves"]
    top = max(row["rho"] for row in rows)
    figure = Figure(figsize=(13.5, 5.3), dpi=120, layout="constrained")
    axes = figure.subplots(1, len(PANELS), sharex=True, sharey=True)
    for ax, (name, methods) in zip(axes, PANELS.items(), strict=True):
        others = sorted({row["method"] for row in rows} & set(peers.PEERS)) if name == "from zero" else []
        drawn = [name for name in (*methods, *others) if any(row["method"] == name for row in rows)]
        for place, method in enumerate(drawn):
            width = 2.8 - 1.6 * place / max(1, len(drawn) - 1)  # curves may coincide: later ones are thinner
            _curve(ax, [row for row in rows if row["method"] == method], width)
        ax.set_title(name, loc="left", fontsize=10)
        ax.set_xlabel(r"measurements per unknown, $\zeta = m / n$", fontsize=9)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1.05 * top)
        ax.grid(color="0.92", linewidth=0.6)
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, handlelength=3.5)
    axes[0].set_ylabel(r"non-zeros per measurement, $\rho = k / m$", fontsize=9)
    trials = sorted({row["trials"] for row in tables["counts"]}, reverse=True)
    figure.suptitle(
        f"Below a curve more than 95 % of supports are found; {' or '.join(map(str, trials))} trials per point, "
        "95 % band of a logistic fit; triangles: above the grid's largest k; no line: below at k = 1",
        fontsize=10,
    )
    return figure


def _curve(ax: Axes, rows: list[Row], width: float) -> None:
    rows = sorted(rows, key=lambda row: row["m"])
    method, zeta = rows[0]["method"], [row["zeta"] for row in rows]
    ends = [row["where"] == "inside" for row in rows]  # else success is likelier, or rarer, at all k of the grid

    def shown(name: str) -> list[float]:
        return [row[name] if end else math.nan for row, end in zip(rows, ends, strict=True)]

    look: Row = {"color": deconvolution.colour(method), "linestyle": LINES[method.partition("@")[2]]}
    ax.plot(zeta, shown("rho"), label=deconvolution.label(method), linewidth=width, **look)
    ax.fill_between(zeta, shown("rho_low"), shown("rho_high"), color=look["color"], alpha=0.15, linewidth=0)
    beyond = [row for row in rows if row["where"] == "above"]
    ax.plot(
        [row["zeta"] for row in beyond], [row["rho"] for row in beyond], "^", color=look["color"], fillstyle="none",
        markersize=5, clip_on=False, in_layout=False,
    )  # fmt: skip
