"""Test whether two runs differ: for each cell, and for each method over all cells, with corrections for many tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .plan import Key
from .results import GridPoint, Sweep, load

ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """Result of the comparison of two runs, A and B.

    Attributes
    ----------
    paired : bool
        Whether the runs have the same trials, which are then compared one by one (McNemar's exact test). Otherwise
        proportions are compared (Fisher's exact test; over all cells that of Cochran, Mantel and Haenszel).
    methods : list of dict
        For each method over all cells: trials and successes of A and B; for paired runs the trials in which only A and
        only B succeeded; `p`, and `p_corrected` for the number of methods.
    cells : list of dict
        The same for each method, m, k and level of noise, with `p_corrected` for the number of cells.
    alpha : float
        Significance level. Half of it is used for the methods, half for the cells, each with Holm's correction.
    """

    paired: bool
    methods: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    alpha: float = ALPHA

    @property
    def found(self) -> bool:
        """Whether the runs differ."""
        return bool(self.differing_methods or self.differing_cells)

    @property
    def differing_methods(self) -> list[dict[str, Any]]:
        """The methods whose success differs over all cells."""
        return [row for row in self.methods if row["p_corrected"] <= self.alpha / 2]

    @property
    def differing_cells(self) -> list[dict[str, Any]]:
        """The cells whose success differs."""
        return [row for row in self.cells if row["p_corrected"] <= self.alpha / 2]


def diff(a: str | Path | Sweep, b: str | Path | Sweep, *, success: str = "support", alpha: float = ALPHA) -> Difference:
    """Compare two runs statistically, for example before and after a change to a solver.

    Only cells of both runs are compared. Runs with the same problem, n, seed and block have the same trials. Then the
    trials of blocks that both have are compared one by one, which detects far smaller differences.

    Parameters
    ----------
    a, b : str, Path or Sweep
    success : str
        Success criterion, `support` or `exact`.
    alpha : float
        Significance level, over all tests.

    Returns
    -------
    Difference

    Raises
    ------
    ValueError
        If the runs have no cell in common.

    Examples
    --------
    >>> import tempfile, pursuit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in "ab":
    ...         _ = pursuit.sweeps.phase(["omp"], n=16, grid=(2, 2), trials=10, output=f"{folder}/{name}")
    ...     pursuit.sweeps.diff(f"{folder}/a", f"{folder}/b").found
    False
    """
    one, two = (run if isinstance(run, Sweep) else load(run) for run in (a, b))
    if success not in ("support", "exact"):
        raise ValueError(f"success is {success!r}; choose one of support, exact.")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; needed is a probability between 0 and 1.")
    facts = one.settings.facts(), two.settings.facts()
    paired = {name for name in facts[0].keys() | facts[1] if facts[0].get(name) != facts[1].get(name)} <= {*SOLVING}
    left, right = _outcomes(one, success), _outcomes(two, success)
    if paired:
        shared = left.keys() & right.keys()
        left, right = ({key: run[key] for key in shared} for run in (left, right))
    mine, yours = _per_cell(left), _per_cell(right)
    keys = sorted(mine.keys() & yours.keys())
    if not keys or one.settings.n != two.settings.n:
        raise ValueError(
            f"{one.path} (n={one.settings.n}) and {two.path} (n={two.settings.n}) have no cell in common; "
            "compare runs of one n with methods and grid points in common."
        )
    compare = _paired if paired else _unpaired
    cells = [
        {"method": key[0], "m": key[1], "k": key[2], "snr": key[3], **compare([(mine[key], yours[key])])}
        for key in keys
    ]
    methods = [
        {"method": name, **compare([(mine[key], yours[key]) for key in keys if key[0] == name])}
        for name in dict.fromkeys(key[0] for key in keys)
    ]
    for rows in (cells, methods):
        for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
            row["p_corrected"] = corrected
    return Difference(paired, methods, cells, alpha)


SOLVING = ("eta", "max_steps", "exact_db", "code", "torch", "numpy")  # settings that the trials do not depend on


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction: if results are compared with a level, the chance of any false alarm is below that level.

    Examples
    --------
    >>> holm([0.01, 0.5, 0.03])
    [0.03, 0.5, 0.06]
    """
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1))
    return [float(value) for value in np.minimum(corrected, 1)]


def _outcomes(run: Sweep, success: str) -> dict[Key, np.ndarray]:
    """Whether each trial of each cell succeeded."""
    found = {}
    for cell in run.cells():
        if success == "support":
            succeeded = np.frombuffer(cell.hits, dtype="<u2") == cell.k
        else:
            succeeded = np.unpackbits(np.frombuffer(cell.exactly, dtype=np.uint8), count=cell.trials).astype(bool)
        found[cell[:5]] = succeeded
    return found


def _per_cell(outcomes: dict[Key, np.ndarray]) -> dict[GridPoint, np.ndarray]:
    joined: dict[GridPoint, list[np.ndarray]] = {}
    for key, values in sorted(outcomes.items(), key=lambda item: item[0]):
        joined.setdefault(key[:4], []).append(values)
    return {key: np.concatenate(values) for key, values in joined.items()}


Pairs = Sequence[tuple[np.ndarray, np.ndarray]]


def _paired(pairs: Pairs) -> dict[str, Any]:
    from scipy.stats import binomtest

    only_a = sum(int((a & ~b).sum()) for a, b in pairs)
    only_b = sum(int((b & ~a).sum()) for a, b in pairs)
    differing = only_a + only_b
    p = float(binomtest(only_a, differing).pvalue) if differing else 1.0
    return {**_counts(pairs), "only_a": only_a, "only_b": only_b, "p": p}


def _unpaired(pairs: Pairs) -> dict[str, Any]:
    counts = _counts(pairs)
    if len(pairs) > 1:
        return {**counts, "p": _stratified(pairs)}
    from scipy.stats import fisher_exact

    won_a, won_b = counts["success_a"], counts["success_b"]
    table = [[won_a, counts["trials_a"] - won_a], [won_b, counts["trials_b"] - won_b]]
    return {**counts, "p": float(fisher_exact(table).pvalue)}


def _stratified(pairs: Pairs) -> float:
    """The test of Cochran, Mantel and Haenszel: the excess of A's successes over B's, summed over all cells."""
    excess = variance = 0.0
    for a, b in pairs:
        total, won = len(a) + len(b), float(a.sum() + b.sum())
        excess += float(a.sum()) - len(a) * won / total
        variance += len(a) * len(b) * won * (total - won) / (total**2 * (total - 1))
    return math.erfc(abs(excess) / math.sqrt(2 * variance)) if variance > 0 else 1.0


def _counts(pairs: Pairs) -> dict[str, Any]:
    return {
        "trials_a": sum(len(a) for a, _ in pairs), "trials_b": sum(len(b) for _, b in pairs),
        "success_a": sum(int(a.sum()) for a, _ in pairs), "success_b": sum(int(b.sum()) for _, b in pairs),
    }  # fmt: skip
