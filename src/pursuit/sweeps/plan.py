"""The cells of a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .cells import NOISELESS, Settings

SUCCESS = ("support", "exact")
MOST = 10_000_000  # cells of a plan, which are listed in memory
POINTS = 1_000_000  # of its grid


def grid_cells(n: int, grid: tuple[int, int], rho: float, ms: tuple[int, ...] = ()) -> dict[int, tuple[int, ...]]:
    """The k of every m. Grid points that round to the same integers are merged; those with k = 0 are left out.

    Parameters
    ----------
    n : int
    grid : tuple of int
        Numbers of values of m and of k.
    rho : float
        Largest k / m.
    ms : tuple of int, optional
        The m. Default: evenly between 0 and n.

    Examples
    --------
    >>> grid_cells(64, (4, 5), 0.35)
    {13: (1, 2, 3, 4), 26: (2, 4, 5, 7, 9), 38: (3, 5, 8, 11, 13), 51: (4, 7, 11, 14, 17)}
    """
    rows, columns = grid
    found: dict[int, tuple[int, ...]] = {}
    for m in ms or (round(n * row / (rows + 1)) for row in range(1, rows + 1)):
        max_k = min(int(rho * m + 1e-9), n)
        ks = {min(round(rho * m * column / columns), max_k) for column in range(1, columns + 1)}
        if m >= 1 and ks - {0}:
            found[m] = tuple(sorted({*found.get(m, ()), *(ks - {0})}))
    return found


def check_size(grid: tuple[int, int], methods: int, blocks: int, levels: int = 1) -> None:
    """Raise ValueError if a plan has more cells than can be listed."""
    cells = grid[0] * grid[1] * max(methods, 1) * max(blocks, 1) * levels
    if grid[0] * grid[1] > POINTS:
        raise ValueError(
            f"the grid {grid[0]}x{grid[1]} has {grid[0] * grid[1]:.3g} points; needed are at most {POINTS}."
        )
    if cells > MOST:
        noise = f", {levels} levels of noise" if levels > 1 else ""
        raise ValueError(
            f"the grid {grid[0]}x{grid[1]} with {methods} methods{noise} and {blocks} blocks of trials has {cells:.3g} "
            f"cells; needed are at most {MOST:.3g}: take a coarser grid, larger blocks or fewer trials."
        )


def planned(plan: Plan, settings: Settings) -> list[Key]:
    """Every cell of a plan that is not adaptive."""
    cells = plan.cells(settings.n)
    blocks = range(plan.trials // settings.block)
    return [
        (method, m, k, snr, block)
        for method in plan.methods for m, ks in cells.items() for snr in plan.snr for k in ks for block in blocks
    ]  # fmt: skip


Key = tuple[str, int, int, float, int]  # method, m, k, snr, block
Tally = tuple[int, int, int]  # trials, found, exact


@dataclass(frozen=True)
class Plan:
    """The cells that a run should have. Unlike `Settings`, the plan of an existing run may be extended.

    Attributes
    ----------
    methods : tuple of str
    grid : tuple of int
        Numbers of values of `zeta = m / n` and of `rho = k / m`.
    rho : float
        The largest `k / m`.
    trials : int
        Trials per cell; in adaptive mode, at most.
    adaptive : float, optional
        Add trials near the curve until the half-width of its 95 % band is at most this, in units of rho.
    success : str
        Success criterion of the adaptive mode: support or exact.
    own : dict of str
        A digest of the source text of every module with a solver of the user's own.
    m : tuple of int
        Values of m, instead of those of the grid; empty for the grid's.
    snr : tuple of float
        Levels of noise: signal-to-noise ratios in dB, infinity for no noise.
    """

    methods: tuple[str, ...]
    grid: tuple[int, int]
    rho: float
    trials: int
    adaptive: float | None = None
    success: str = "support"
    own: dict[str, str] = field(default_factory=dict)
    m: tuple[int, ...] = ()
    snr: tuple[float, ...] = (NOISELESS,)

    def __post_init__(self) -> None:
        if len(self.grid) != 2 or min(self.grid) < 1:
            raise ValueError(
                f"grid is {self.grid}; needed are the numbers of values of m / n and of k / m, each at least 1."
            )
        if self.m and len(self.m) != self.grid[0]:
            raise ValueError(
                f"grid is {self.grid[0]}x{self.grid[1]} and m has {len(self.m)} values; needed is a grid of "
                f"{len(self.m)}x{self.grid[1]}, or none: then it follows from m."
            )
        if min(self.m, default=1) < 1 or len({*self.m}) < len(self.m):
            raise ValueError(f"m is {shown(self.m)}; needed are different whole numbers, each at least 1.")
        if not 0 < self.rho <= 1:
            raise ValueError(f"rho is {self.rho}; needed is the largest k / m, > 0 and <= 1.")
        if self.trials < 1:
            raise ValueError(f"trials is {self.trials}; needed is at least 1.")
        if self.adaptive is not None and not 0 < self.adaptive < 1:
            raise ValueError(
                f"adaptive is {self.adaptive}; needed is an error of rho between 0 and 1, for example 0.01."
            )
        if self.success not in SUCCESS:
            raise ValueError(f"success is {self.success!r}; choose one of {', '.join(SUCCESS)}.")
        if not self.snr or not all(snr > -math.inf for snr in self.snr) or len({*self.snr}) < len(self.snr):
            raise ValueError(
                f"snr is {shown(self.snr)}; needed are different ratios in dB, for example 10,20,30, or inf for no "
                "noise."
            )

    def cells(self, n: int) -> dict[int, tuple[int, ...]]:
        """The k of every m."""
        return grid_cells(n, self.grid, self.rho, self.m)


def join(old: Plan, new: Plan) -> Plan:
    """The new plan, with the methods, trials and levels of an old one besides."""
    return replace(
        new,
        methods=tuple(dict.fromkeys((*old.methods, *new.methods))),
        trials=max(old.trials, new.trials),
        own=old.own | new.own,
        snr=tuple(dict.fromkeys((*old.snr, *new.snr))),
    )


def shown(values: Sequence[float]) -> str:
    """Numbers with commas between them."""
    return ",".join(f"{value:g}" for value in values)
