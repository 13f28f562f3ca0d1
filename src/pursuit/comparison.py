"""Compare solvers on the same measurements."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from . import metrics
from .core.layout import rows_for_sure
from .core.solution import Solution, Status
from .files import environment, write_csv, write_whole
from .problems import Instance
from .solvers.by_name import Method, answer, methods, name_of, solver, solver_of_k

PENALISED = ("ista", "fista")
# Compared only if named: greedy_lasso at a fixed penalty is OMP with another stop rule; amp is for random matrices
# only.
ON_REQUEST = ("greedy_lasso", "amp")
GREEDY_LAM = 0.1  # for the square-root LASSO, whose best penalty does not depend on the noise
LAM = 0.01  # share of the lam from which on the solution is zero


@dataclass(frozen=True)
class Row:
    """One method on one instance.

    Attributes
    ----------
    method : str
    error_db : float
        NMSE in dB if the truth is known, else the residual `||y - A x||^2` relative to `||y||^2`, in dB.
    support_recovered : float or None
        Share of the k largest true coefficients found; None if the truth is unknown.
    residual : float
        `||y - A x|| / ||y||` over all signals.
    nonzeros : float
        Mean number of non-zero coefficients.
    ms_per_signal : float
        Wall time of the whole batch over the number of signals.
    steps : int
        Median over the signals.
    status : Status
        The most frequent one.
    x : Tensor (*batch, n)
    """

    method: str
    error_db: float
    support_recovered: float | None
    residual: float
    nonzeros: float
    ms_per_signal: float
    steps: int
    status: Status
    x: Tensor


def compare(
    instance: Instance,
    chosen: Sequence[Method] | None = None,
    *,
    lam: float | None = None,
    lam_share: float | None = None,
    started: Callable[[str], Any] | None = None,
) -> list[Row]:
    """Recover the signals of an instance with several methods; the best comes first.

    Parameters
    ----------
    instance : Instance
    chosen : sequence of str or callable, optional
        Names of methods, or solvers of your own: functions `(A, y, k, ...) -> Solution`, also as `"module:function"`.
        By default `usual()`.
    lam, lam_share : float, optional
        For ISTA and FISTA: the penalty, or the penalty as a share of the smallest one at which the solution is zero.
        By default a share of 0.01.
    started : callable, optional
        Called with each method's name before it runs.

    Returns
    -------
    list of Row
        Sorted by NMSE if the truth is known, else by residual.
    """
    rows = []
    for method, recover in solvers(usual() if chosen is None else chosen).items():
        name = name_of(method)
        if started is not None:
            started(name)
        options = _options(name, instance, lam, LAM if lam is None and lam_share is None else lam_share)
        few = {"max_steps": 2} if "max_steps" in inspect.signature(recover).parameters else {}
        with rows_for_sure():
            recover(instance.A, instance.y, **options, **few)  # the first call takes longer: torch sets itself up
            begin = time.perf_counter()
            solution = recover(instance.A, instance.y, **options)
        rows.append(_row(name, instance, answer(method, solution), time.perf_counter() - begin))
    return sorted(rows, key=lambda row: row.error_db)


def solvers(chosen: Sequence[Method]) -> dict[Method, Callable[..., Solution[Any]]]:
    """The solvers of these methods.

    Raises
    ------
    ValueError, TypeError
        If there is no such method, or it cannot be called with A, y and k.
    """
    return {method: (solver if method in (*PENALISED, *ON_REQUEST) else solver_of_k)(method) for method in chosen}


def usual() -> tuple[str, ...]:
    """The methods that are compared by default."""
    return tuple(name for name in methods() if name not in ON_REQUEST)


def oracle(instance: Instance) -> float | None:
    """NMSE in dB of least squares on the k largest true coefficients, which a method that uses k rarely beats."""
    if instance.x is None:
        return None
    from .core.least_squares import fit
    from .core.selection import Hard

    atoms = Hard()(instance.x.abs(), instance.k)
    return metrics.nmse_db(atoms.embed(fit(instance.A, instance.y, atoms).z), instance.x)


def _options(name: str, instance: Instance, lam: float | None, lam_share: float | None) -> dict[str, Any]:
    if name == "greedy_lasso":
        return {"k": instance.k, "lam": GREEDY_LAM}
    if name not in PENALISED:
        return {"k": instance.k}
    return {name: value for name, value in (("lam", lam), ("lam_share", lam_share)) if value is not None}


def _row(name: str, instance: Instance, solution: Solution[Any], seconds: float) -> Row:
    signals = instance.y.shape[:-1].numel()
    share = float(solution.residual_norm.norm() / instance.y.norm())
    known = instance.x is not None
    return Row(
        method=name,
        error_db=metrics.nmse_db(solution.x, instance.x)
        if known
        else metrics.nmse_db(instance.A.forward(solution.x), instance.y),
        support_recovered=metrics.support_recall(solution.x, instance.x, instance.k) if known else None,
        residual=share,
        nonzeros=float((solution.x != 0).sum(-1).double().mean()),
        ms_per_signal=1e3 * seconds / signals,
        steps=int(solution.steps.median()),
        status=Status(int(solution.status.flatten().mode().values)),
        x=solution.x,
    )


COLUMNS = {
    "rank": lambda rank, row: str(rank),
    "method": lambda rank, row: row.method,
    "error (dB)": lambda rank, row: f"{row.error_db:.2f}",
    "support found": lambda rank, row: "" if row.support_recovered is None else f"{100 * row.support_recovered:.0f} %",
    "residual": lambda rank, row: f"{row.residual:.2e}",
    "non-zeros": lambda rank, row: f"{row.nonzeros:.1f}",
    "ms/signal": lambda rank, row: f"{row.ms_per_signal:.2f}",
    "steps": lambda rank, row: str(row.steps),
    "status": lambda rank, row: row.status.name.lower(),
}


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as CSV, in full precision."""
    columns = ("method", "error_db", "support_recovered", "residual", "nonzeros", "ms_per_signal", "steps")
    lines = [
        {"rank": rank, **{name: getattr(row, name) for name in columns}, "status": row.status.name.lower()}
        for rank, row in enumerate(rows, 1)
    ]
    write_csv(path, lines, ("rank", *columns, "status"))


def write_settings(path: Path, instance: Instance, **more: Any) -> None:
    """Write the settings of the run, the versions and the machine as JSON."""
    record = {
        "problem": instance.name,
        "k": instance.k,
        "shape": list(instance.A.shape),
        "dtype": str(instance.y.dtype).removeprefix("torch."),
        **instance.settings,
        **more,
        **environment(),
    }
    write_whole(path, lambda file: file.write((json.dumps(record, indent=2) + "\n").encode()))
