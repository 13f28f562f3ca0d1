"""The cells of a sweep."""

from __future__ import annotations

from dataclasses import dataclass, field

from .cells import Settings

SUCCESS = ("support", "exact")
MOST = 10_000_000  # cells of a plan, which are listed in memory


def grid_cells(n: int, grid: tuple[int, int], rho: float) -> dict[int, tuple[int, ...]]:
    """The k of every m. Grid points that round to the same integers are merged; those with k = 0 are left out.

    Examples
    --------
    >>> grid_cells(64, (4, 5), 0.35)
    {13: (1, 2, 3, 4), 26: (2, 4, 5, 7, 9), 38: (3, 5, 8, 11, 13), 51: (4, 7, 11, 14, 17)}
    """
    rows, columns = grid
    found: dict[int, tuple[int, ...]] = {}
    for row in range(1, rows + 1):
        m = round(n * row / (rows + 1))
        max_k = int(rho * m + 1e-9)
        ks = {min(round(rho * m * column / columns), max_k) for column in range(1, columns + 1)}
        if m >= 1 and ks - {0}:
            found[m] = tuple(sorted({*found.get(m, ()), *(ks - {0})}))
    return found


def check_size(grid: tuple[int, int], methods: int, blocks: int) -> None:
    """Raise ValueError if a plan has more cells than can be listed."""
    cells = grid[0] * grid[1] * max(methods, 1) * max(blocks, 1)
    if cells > MOST:
        raise ValueError(
            f"the grid {grid[0]}x{grid[1]} with {methods} methods and {blocks} blocks of trials has {cells:.3g} cells; "
            f"needed are at most {MOST:.3g}: take a coarser grid, larger blocks or fewer trials."
        )


def planned(plan: Plan, settings: Settings) -> list[Key]:
    """Every cell of a plan that is not adaptive."""
    cells = grid_cells(settings.n, plan.grid, plan.rho)
    blocks = range(plan.trials // settings.block)
    return [(method, m, k, block) for method in plan.methods for m, ks in cells.items() for k in ks for block in blocks]


Key = tuple[str, int, int, int]


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
    """

    methods: tuple[str, ...]
    grid: tuple[int, int]
    rho: float
    trials: int
    adaptive: float | None = None
    success: str = "support"
    own: dict[str, str] = field(default_factory=dict)
