"""The results of a run: tables, curves, exports. They can be read at any time, also while it is running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import adaptive
from .adaptive import Counts, Curve
from .cells import Cell, Settings
from .plan import Key, Plan, Tally, join, shown
from .store import add_done, begun, existing, file_of, files_of

if TYPE_CHECKING:
    from xarray import Dataset
from .curves import LEVELS

GridPoint = tuple[str, int, int, float]  # method, m, k, snr


@dataclass(frozen=True)
class Sweep:
    """The results of a run so far.

    Attributes
    ----------
    path : Path
        The SQLite file; those of its parts lie beside it.
    settings : Settings
        Everything on which the cells depend.
    plan : Plan
        The cells that the run should have.
    counts : dict
        `(method, m, k, snr, block)` -> number of trials, of trials that found the support, and of exact trials.
    seconds : dict
        `(method, m, k, snr)` -> time of the solver; the time of a start (`sea@omp`) counts for the start's own cells.
    """

    path: Path
    settings: Settings
    plan: Plan
    counts: dict[Key, Tally]
    seconds: dict[GridPoint, float]

    @property
    def grid(self) -> dict[int, tuple[int, ...]]:
        """The k of every m."""
        return self.plan.cells(self.settings.n)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order of the plan."""
        return self.plan.methods

    @property
    def problem(self) -> str:
        """What is drawn, in words; of a matrix from a file its shape as well."""
        return self.settings.problem.in_words((max(self.grid), self.settings.n))

    def at(self, snr: float) -> Sweep:
        """The results at one level of noise."""
        if snr not in self.plan.snr:
            raise ValueError(f"snr is {snr:g}; the run has {shown(self.plan.snr)}.")
        counts = {key: value for key, value in self.counts.items() if key[3] == snr}
        seconds = {key: value for key, value in self.seconds.items() if key[3] == snr}
        return replace(self, plan=replace(self.plan, snr=(snr,)), counts=counts, seconds=seconds)

    def table(self) -> list[dict[str, Any]]:
        """A row per method, m, k and level of noise with trials: the numbers of trials and successes."""
        total: dict[GridPoint, list[int]] = {}
        for (method, m, k, snr, _), counted in sorted(self.counts.items()):
            sums = total.setdefault((method, m, k, snr), [0, 0, 0])
            sums[:] = [a + b for a, b in zip(sums, counted, strict=True)]
        rows = [
            {
                "method": method, "m": m, "k": k, "snr": snr, "zeta": m / self.settings.n, "rho": k / m,
                "trials": trials, "found": found, "exact": exact,
                "found_rate": found / trials, "exact_rate": exact / trials,
            }
            for (method, m, k, snr), (trials, found, exact) in total.items()
        ]  # fmt: skip
        return sorted(rows, key=lambda row: (self.methods.index(row["method"]), row["m"], row["k"], row["snr"]))

    def curves(self, levels: Sequence[float] = LEVELS, *, success: str = "support") -> list[dict[str, Any]]:
        """A row per level, method, m and snr: the k, and rho = k / m, at which the success falls to the level.

        `k` and its 95 % band `k_low`, `k_high` come from a logistic fit and lie within the k of the grid. `where` says
        whether success is above the level at all of these k ("above"), below it ("below"), or crosses it ("inside").
        `k_counted` is the poster's rule: the largest k at which the share of successes is above the level, or None.

        Parameters
        ----------
        levels : sequence of float
        success : str
            Success criterion, `support` or `exact`.
        """
        for level in levels:
            if not 0 < level < 1:
                raise ValueError(f"level is {level}; needed is a probability between 0 and 1.")
        found = curves_of(counted(self.counts, success), self.plan, self.settings.n)
        rows = []
        for level in levels:
            for (method, m, snr), curve in found.items():
                point = adaptive.estimate(curve, level)
                if point is None:
                    continue
                best = [k for k, (trials, successes) in curve.counts.items() if successes > level * trials]
                rows.append(
                    {
                        "level": level, "method": method, "m": m, "snr": snr, "zeta": m / self.settings.n,
                        "k": point.k, "k_low": point.low, "k_high": point.high,
                        "rho": point.k / m, "rho_low": point.low / m, "rho_high": point.high / m,
                        "where": point.where, "k_counted": max(best, default=None),
                    }
                )  # fmt: skip
        return rows

    def saving(self) -> adaptive.Saving | None:
        """The number of trials, and the number that an even spread over the grid needs for the same 95 % curves.

        For an adaptive run, with its success criterion; None as long as no curve ends within the grid.
        """
        return adaptive.saving(curves_of(counted(self.counts, self.plan.success), self.plan, self.settings.n))

    def status(self) -> list[dict[str, Any]]:
        """A row per method: finished and planned cells (None in adaptive mode), trials, seconds of the solver, error.

        `error` is the largest half-width of the 95 % curve's band in units of rho; None as long as there is no curve.
        `where` says whether the success is "below" or "above" 95 % at all k of the grid, for every m, else "inside".
        """
        grid, blocks = {m: {*ks} for m, ks in self.grid.items()}, self.plan.trials // self.settings.block
        wanted = sum(map(len, grid.values())) * len(self.plan.snr) * blocks
        widest: dict[str, float] = {}
        wheres: dict[str, set[str]] = {}
        for row in self.curves((adaptive.LEVEL,), success=self.plan.success):
            error = (row["rho_high"] - row["rho_low"]) / 2
            widest[row["method"]] = max(error, widest.get(row["method"], 0.0))
            wheres.setdefault(row["method"], set()).add(row["where"])
        rows = []
        for method in self.methods:
            mine = {key: value for key, value in self.counts.items() if key[0] == method}
            there = [k in grid.get(m, ()) and block < blocks for _, m, k, _, block in mine]
            rows.append(
                {
                    "method": method,
                    "done": len(mine) if self.plan.adaptive is not None else sum(there),
                    "planned": None if self.plan.adaptive is not None else wanted,
                    "trials": sum(value[0] for value in mine.values()),
                    "seconds": sum(value for key, value in self.seconds.items() if key[0] == method),
                    "error": widest.get(method),
                    "where": _everywhere(wheres.get(method)),
                }
            )
        return rows

    def cells(self) -> list[Cell]:
        """All cells with the outcome of every trial, read from the file."""
        found: dict[Key, Cell] = {}
        for store in existing(self.path):
            found = {cell[:5]: cell for cell in store.cells()} | found  # the run's own file has the last word
        return [found[key] for key in sorted(found)]

    def to_csv(self, path: str | Path) -> None:
        """Write `table()` to a file."""
        from ..files import write_csv

        write_csv(Path(path), self.table())

    def to_xarray(self) -> Dataset:
        """The table as a dataset with dimensions method, m and k; 0 trials where there is no cell.

        With several levels of noise there is a dimension snr besides. Variables are `trials`, `found`, `exact` and
        `seconds`; settings and plan are its attributes.
        """
        import numpy as np
        import xarray

        rows = self.table()
        axes: dict[str, list[Any]] = {
            "method": list(self.methods),
            "m": sorted({row["m"] for row in rows}),
            "k": sorted({row["k"] for row in rows}),
            "snr": list(self.plan.snr),
        }
        shape = tuple(map(len, axes.values()))
        names = ("trials", "found", "exact")
        arrays = {name: np.zeros(shape, dtype=np.int64) for name in names} | {"seconds": np.zeros(shape)}
        for row in rows:
            at = tuple(values.index(row[axis]) for axis, values in axes.items())
            for name in names:
                arrays[name][at] = row[name]
            arrays["seconds"][at] = self.seconds.get((row["method"], row["m"], row["k"], row["snr"]), 0.0)
        facts = self.settings.facts().items()
        told = {name: str(value) if value is None or isinstance(value, bool) else value for name, value in facts}
        data = xarray.Dataset(
            {name: (tuple(axes), values) for name, values in arrays.items()},
            coords=axes,
            attrs={**told, "grid": list(self.plan.grid), "rho": self.plan.rho},
        )
        return data if len(self.plan.snr) > 1 else data.squeeze("snr")


def _everywhere(wheres: set[str] | None) -> str | None:
    """Where a method's success is at all k of every m, or "inside"."""
    if not wheres:
        return None
    return "inside" if "inside" in wheres else " or ".join(sorted(wheres))


def load(path: str | Path) -> Sweep:
    """Read a run, finished or not.

    Parameters
    ----------
    path : str or Path
        Its folder, or the `.sqlite` file.

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError
        If there is no run at this path.

    Examples
    --------
    >>> import tempfile, pursuit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pursuit.sweeps.phase(["omp"], n=16, grid=(2, 2), trials=10, output=folder)
    ...     pursuit.sweeps.load(folder).status()[0]["done"]
    3
    """
    done: dict[Key, Tally] = {}
    seconds: dict[Key, float] = {}
    for store in existing(path):
        add_done(done, store)
        seconds |= store.seconds()
    told = settings_and_plan(path)
    assert told is not None
    total: dict[GridPoint, float] = {}
    for key, spent in seconds.items():
        total[key[:4]] = total.get(key[:4], 0.0) + spent
    return Sweep(file_of(path), *told, done, total)


def settings_and_plan(path: str | Path) -> tuple[Settings, Plan] | None:
    """Those of the run, with what its parts have besides; None if it has not begun.

    Raises
    ------
    ValueError
        If parts have other settings than the rest.
    """
    told: tuple[Settings, Plan] | None = None
    for store in begun(files_of(file_of(path))):
        if told is None:
            told = store.settings(), store.plan()
        else:
            store.joined(*told)  # which refuses results of other settings
            told = told[0], join(told[1], store.plan())
    return told


def counted(counts: Mapping[Key, Tally], success: str) -> dict[Key, tuple[int, int]]:
    """Trials and successes of every cell, by a success criterion."""
    from .plan import SUCCESS

    if success not in SUCCESS:
        raise ValueError(f"success is {success!r}; choose one of {', '.join(SUCCESS)}.")
    column = 1 + SUCCESS.index(success)
    return {key: (values[0], values[column]) for key, values in counts.items()}


def curves_of(known: Mapping[Key, tuple[int, int]], plan: Plan, n: int) -> dict[tuple[str, int, float], Curve]:
    """For each method, m and level of noise, trials and successes of every k of the grid."""
    grid = plan.cells(n)
    found = {
        (method, m, snr): Curve(ks, Counts()) for method in plan.methods for m, ks in grid.items() for snr in plan.snr
    }
    for (method, m, k, snr, _), (trials, successes) in sorted(known.items()):
        curve = found.get((method, m, snr))
        if curve is None or k not in curve.ks:
            continue
        before = curve.counts.get(k, (0, 0))
        curve.counts[k] = (before[0] + trials, before[1] + successes)
    return found
