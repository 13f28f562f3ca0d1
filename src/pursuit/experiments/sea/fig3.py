"""Phase transitions of SEA and its competitors: where 95 % of supports are found (the poster's Figure 3).

Gaussian matrices, one per trial, with unit columns; Gaussian values on a uniformly random support; no noise. For every
`zeta = m / n`, the largest `rho = k / m` at which the support found contains the true one in more than 95 % of trials,
1000 of them in the poster. It does not state n, the step size or the number of steps: n = 64, 1.8 / L and 1000 steps
are our choice; the paper may have used 256 k steps. The default has 100 trials, so that all fits into an hour of one
core. All are settings.

The trials are those of `pursuit sweep phase` with the same n, seed and block. All methods have the same grid and the
same trials: the poster's twelve; IHT and HTP with other fixed step sizes than its 1.8 / L; SP, CoSaMP, NIHT, OLS, the
k largest entries of basis pursuit, of FISTA and of AMP, the whitened LASSO, `sea_plus`; and the solvers of other
packages that are installed.
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
from .rivals import RIVALS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTIAL = True
N, RHO, TRIALS, BLOCK, ETA, STEPS = 64, 0.55, 100, 250, 1.8, 1000
SPACING = 4  # of the values of m
QUICK: Row = {"trials": 50, "steps": 200, "spacing": 16}
LEVEL = 0.95
EQUAL = 0.012  # curves that are nowhere farther apart are drawn as one
# Which methods one cell runs.
FAMILIES: dict[str, tuple[str, ...]] = {
    "poster": POSTER,
    "sea_plus": ("sea_plus",),
    "rivals": (*(name for name in RIVALS if name != "basis-pursuit"), "sp", "cosamp", "ols", "whitened_lasso"),
    "basis-pursuit": ("basis-pursuit",),
    "niht": ("niht",),
}
STEP_SIZES = {"iht": ("iht-0.4", "iht-0.5", "iht-0.65"), "htp": ("htp-1", "htp-1.5")}  # of which the best is drawn
PANELS = {
    "SEA, convex methods, best subsets": (
        "sea_plus",
        "sea",
        "basis-pursuit",
        "amp",
        "fista",
        "whitened_lasso",
        "abess",
        "skscope",
    ),
    "greedy methods from zero": (
        "omp",
        "sklearn-omp",
        "ols",
        "sp",
        "cosamp",
        "niht",
        "iht",
        "best iht",
        "htp",
        "best htp",
    ),
    "from OMP": ("omp", "ompr", "iht@omp", "htp@omp", "sea@omp"),
    "from ELS": ("els", "iht@els", "htp@els", "sea@els"),
}
LINES = {"": "-", "omp": "--", "els": ":"}
OWN_LINES = {"iht": ":", "htp": ":"}


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
    shared = {"n": n, "block": block, "seed": seed, "rho": rho, "trials": trials}
    families: list[Row] = [{"family": name, "eta": eta, "steps": steps} for name in FAMILIES]
    families += [{"family": name, "version": peers.release(name)} for name in peers.available()]
    return [
        {**shared, **family, "m": m}
        for family in families
        for m in range(spacing, n, spacing)
        if rho * m >= 1  # one atom
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
    methods = FAMILIES.get(cell["family"], (cell["family"],))
    own = [RIVALS.get(method, method) for method in methods]
    m, ks = cell["m"], tuple(range(1, int(cell["rho"] * cell["m"]) + 1))
    counts: list[Row] = []
    for k in ks:
        blocks = [solve(settings, Task(m, k, block, tuple(own))) for block in range(cell["trials"] // cell["block"])]
        for method, parts in zip(methods, zip(*blocks, strict=True), strict=True):
            counts.append(
                {
                    "method": method, "m": m, "k": k, "zeta": m / cell["n"], "rho": k / m,
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
    return _base(row["method"]), row["method"], row["m"], row.get("k", 0)


def _base(method: str) -> tuple[int, int]:
    """The place of a method; those of one algorithm with several step sizes have that of the algorithm."""
    return deconvolution.order(next((name for name, steps in STEP_SIZES.items() if method in steps), method))


def draw(tables: Tables, quick: bool) -> Figure:
    """The 95 % curves, a panel per kind of method, on one scale."""
    from matplotlib.figure import Figure

    rows = _with_the_best_steps(tables["curves"])
    top = max(row["rho"] for row in rows)
    figure = Figure(figsize=(4.1 * len(PANELS), 6.0), dpi=120, layout="constrained")
    axes = figure.subplots(1, len(PANELS), sharex=True, sharey=True)
    for ax, (name, methods) in zip(axes, PANELS.items(), strict=True):
        for group in deconvolution.groups(rows, methods, "rho", EQUAL):
            _curve(ax, [row for row in rows if row["method"] == group[0]], " = ".join(map(_label, group)))
        ax.set_title(name, loc="left", fontsize=10)
        ax.set_xlabel(r"measurements per unknown, $\zeta = m / n$", fontsize=9)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1.05 * top)
        ax.grid(color="0.92", linewidth=0.6)
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, handlelength=3.0)
    axes[0].set_ylabel(r"non-zeros per measurement, $\rho = k / m$", fontsize=9)
    trials = sorted({row["trials"] for row in tables["counts"]}, reverse=True)
    ends = " (it ends where all k of the grid are above)" if any(row["where"] == "above" for row in rows) else ""
    figure.suptitle(
        f"95 % of supports found, {' or '.join(map(str, trials))} trials per point. Line: logistic fit with its 95 % "
        f"band{ends}; dots: the poster's rule, the largest k counted above 95 %",
        fontsize=10,
    )
    return figure


def _with_the_best_steps(rows: list[Row]) -> list[Row]:
    """The curves, and those of IHT and HTP once more with the step size whose curve is highest on average."""
    more: list[Row] = []
    for algorithm, names in STEP_SIZES.items():
        curves = {name: [row for row in rows if row["method"] == name] for name in names}
        there = {name: curve for name, curve in curves.items() if curve}
        if there:
            best = max(there, key=lambda name: sum(row["rho"] for row in there[name]))
            step = best.partition("-")[2]
            more += [{**row, "method": f"best {algorithm}", "step": step} for row in there[best]]
    return [*rows, *more]


def _label(method: str) -> str:
    best = method.partition("best ")[2]
    return f"{best.upper()}, best step" if best else deconvolution.label(method)


def _curve(ax: Axes, rows: list[Row], text: str) -> None:
    rows = sorted(rows, key=lambda row: row["m"])
    method, zeta = rows[0]["method"], [row["zeta"] for row in rows]
    inside = [row["where"] == "inside" for row in rows]  # else success is likelier, or rarer, at all k of the grid

    def shown(name: str) -> list[float]:
        return [row[name] if there else math.nan for row, there in zip(rows, inside, strict=True)]

    algorithm, _, start = method.removeprefix("best ").partition("@")
    line = OWN_LINES.get(method, LINES[start])
    colour = deconvolution.colour(algorithm)
    text += f" {rows[0]['step']}" if "step" in rows[0] else ""
    ax.plot(
        zeta, shown("rho"), label=text, linewidth=2.6 if method == "sea_plus" else 1.4, color=colour, linestyle=line
    )
    ax.fill_between(zeta, shown("rho_low"), shown("rho_high"), color=colour, alpha=0.12, linewidth=0)
    ax.plot(zeta, [row["rho_counted"] for row in rows], ".", color=colour, markersize=4)
