"""Run a sweep: plan the cells, compute them, store them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..engines import Engine, engine
from ..names import method_name
from . import adaptive as allocation
from .cells import Cell, Settings, Task, check_methods, own_code, solve
from .plan import SUCCESS, Key, Plan, check_size, grid_cells, planned
from .results import Sweep, curves_of, load
from .store import FILE, Store, file_of

POSTER = (
    "sea", "sea@omp", "sea@els", "iht", "iht@omp", "iht@els", "htp", "htp@omp", "htp@els", "omp", "ompr", "els",
)  # fmt: skip


BLOCK, ADAPTIVE_BLOCK = 250, 50


class Progress(NamedTuple):
    """Progress of a run: cells, and in adaptive mode the round and the largest error of a curve."""

    done: int
    total: int
    round: int | None = None
    error: float | None = None


def phase(
    methods: Sequence[str | Callable[..., Any]] = POSTER,
    *,
    n: int = 64,
    grid: tuple[int, int] = (20, 20),
    trials: int = 1000,
    output: str | Path,
    rho: float = 0.35,
    seed: int = 0,
    eta: float = 1.8,
    max_steps: int = 1000,
    block: int | None = None,
    adaptive: float | None = None,
    success: str = "support",
    scheduler: str | None = None,
    workers: int | None = None,
    on_progress: Callable[[Progress], Any] | None = None,
) -> Sweep:
    """Phase transition: how often each method finds the support, over `zeta = m / n` and `rho = k / m`.

    Every trial draws a Gaussian matrix with columns of norm one and a uniformly random support with Gaussian values;
    there is no noise. A run in `output` is continued, also with more methods and more trials.

    Parameters
    ----------
    methods : sequence of str or callable
        Names of `pursuit.methods()` that take k, also with another method as the start: `sea@omp`. A solver of your own
        is a function `(A, y, k, ...) -> Solution` in a module that worker processes can import, or `"module:function"`,
        also before or after an @. Default: the twelve of the SEA poster.
    n : int
        Unknowns.
    grid : tuple of int
        Number of values of zeta, evenly within (0, 1), and of rho, up to `rho`. Values with the same m and k are
        merged.
    trials : int
        Trials per cell; in adaptive mode, at most. A multiple of `block`.
    output : str or Path
        Folder (or `.sqlite` file) for the results.
    rho : float
        The largest k / m.
    seed : int
        Random seed.
    eta : float
        Step size of `sea`, `iht` and `htp` in units of `1 / L`, with L the largest eigenvalue of `A^T A`.
    max_steps : int
        Most steps of every iterative method.
    block : int, optional
        Trials that are drawn and solved together. Default: that of the run in `output`, else 250 (in adaptive mode 50),
        or `trials` if that is less.
    adaptive : float, optional
        Add trials near the 95 % curve until half the width of its 95 % band is at most this, in units of rho.
    success : str
        Success criterion of the adaptive mode: `support`, the support found contains the true one, or `exact`, the NMSE
        is at most -80 dB.
    scheduler : str, optional
        Address of a running Dask cluster, for example `tcp://host:8786`. Default: compute in this process.
    workers : int, optional
        Start a Dask cluster of so many processes on this machine for the duration of the run.
    on_progress : callable, optional
        Called with a `Progress` before the first cell and after every task.

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError
        If an argument has a wrong value, or the run in `output` has other settings, before any work starts.

    Examples
    --------
    >>> import tempfile, pursuit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sweep = pursuit.sweeps.phase(["omp"], n=16, grid=(2, 2), trials=10, output=folder)
    >>> [(row["m"], row["k"], row["trials"]) for row in sweep.table()]
    [(5, 1, 10), (11, 2, 10), (11, 3, 10)]
    """
    methods = _spelled(methods)
    file = file_of(output)
    there = _there(file)
    _check(n, grid, rho, trials, adaptive, success, there, methods)
    if block is None:
        usual = BLOCK if adaptive is None else ADAPTIVE_BLOCK
        block = there[0].block if there is not None else min(usual, trials)
    settings = Settings(n=n, seed=seed, block=block, eta=eta, max_steps=max_steps)
    if trials % block:
        raise ValueError(
            f"trials is {trials} and block is {block}; needed is a multiple, as {trials // block * block or block}."
        )
    check_size(grid, len(methods), trials // block if adaptive is None else 1)
    plan = Plan(methods, grid, rho, trials, adaptive, success, own_code(methods))
    with engine(scheduler, workers) as run:
        store = _opened(file)
        try:
            joined = store.begin(settings, plan)
            # Methods of this call are computed; others of the run are only kept.
            _compute(store, settings, replace(joined, methods=methods, trials=trials), run, on_progress or _silent)
        finally:
            store.close()
    return load(file)


def tasks_of(keys: Iterable[Key], order: Sequence[str]) -> list[Task]:
    """The cells as tasks, block after block, shuffled, so that progress is even over the grid."""
    by_block: dict[tuple[int, int, int], list[str]] = {}
    for method, m, k, block in keys:
        by_block.setdefault((m, k, block), []).append(method)
    places = np.random.default_rng(0).permutation(len(by_block))
    shuffled = [sorted(by_block)[place] for place in places]
    return [
        Task(m, k, block, tuple(sorted(by_block[m, k, block], key=order.index)))
        for m, k, block in sorted(shuffled, key=lambda task: task[2])
    ]


def _compute(
    store: Store, settings: Settings, plan: Plan, run: Engine[Any, Any], report: Callable[[Progress], Any]
) -> None:
    if plan.adaptive is None:
        keys = planned(plan, settings)
        for done in _finish(store, settings, plan, keys, run):
            report(Progress(done, len(keys)))
        return
    known: dict[Key, tuple[int, int]] = {}
    number = 0
    while True:
        found = curves_of(known, grid_cells(settings.n, plan.grid, plan.rho), plan.methods)
        widest = max((p.error / m for (_, m), c in found.items() if (p := allocation.estimate(c))), default=None)
        keys = _round(found, settings, plan)
        if not keys:
            report(Progress(len(known), len(known), number, widest))
            return
        number += 1
        for done in _finish(store, settings, plan, keys, run):
            report(Progress(len(known) + done, len(known) + len(keys), number, widest))
        finished = store.done()
        column = 1 + SUCCESS.index(plan.success)
        known |= {key: (finished[key][0], finished[key][column]) for key in keys}


def _round(found: dict[tuple[str, int], allocation.Curve], settings: Settings, plan: Plan) -> list[Key]:
    """The cells of the next round: for every curve the next blocks at the chosen k."""
    assert plan.adaptive is not None
    keys: list[Key] = []
    for (method, m), curve in found.items():
        begun = {k: trials // settings.block for k, (trials, _) in curve.counts.items()}
        for k in allocation.more(curve, error=plan.adaptive * m, block=settings.block, most=plan.trials):
            keys.append((method, m, k, begun.get(k, 0)))
            begun[k] = begun.get(k, 0) + 1
    return keys


def _finish(store: Store, settings: Settings, plan: Plan, keys: Sequence[Key], run: Engine[Any, Any]) -> Iterator[int]:
    """Compute the missing cells and store them task by task; yields the number of finished cells."""
    there = store.done().keys()
    missing = [key for key in keys if key not in there]
    done = len(keys) - len(missing)
    yield done
    tasks = tasks_of(missing, plan.methods)
    if not tasks:
        return
    results: Iterator[list[Cell]] = run(functools.partial(solve, settings, own=plan.own), tasks)
    for cells in results:
        store.add(cells)
        done += len(cells)
        yield done


def _spelled(methods: Sequence[str | Callable[..., Any]]) -> tuple[str, ...]:
    """The methods, each once, by names that any process understands. Names do not need the solvers to be loaded."""
    if all(isinstance(method, str) for method in methods):
        return tuple(dict.fromkeys(method_name(str(method)) for method in methods))
    from ..solvers.by_name import spelled

    return tuple(dict.fromkeys(map(spelled, methods)))


def _there(file: Path) -> tuple[Settings, Plan] | None:
    if not file.is_file():
        return None
    store = Store(file)
    try:
        return None if store.new else (store.settings(), store.plan())
    finally:
        store.close()


def _opened(file: Path) -> Store:
    from ..files import output_folder

    output_folder(file.parent)
    return Store(file)


def _check(
    n: int, grid: tuple[int, int], rho: float, trials: int, adaptive: float | None, success: str,
    there: tuple[Settings, Plan] | None, methods: Sequence[str],
) -> None:  # fmt: skip
    if len(grid) != 2 or min(grid) < 1:
        raise ValueError(f"grid is {grid}; needed are the numbers of values of m / n and of k / m, each at least 1.")
    if not 0 < rho <= 1:
        raise ValueError(f"rho is {rho}; needed is the largest k / m, > 0 and <= 1.")
    if trials < 1:
        raise ValueError(f"trials is {trials}; needed is at least 1.")
    if adaptive is not None and not 0 < adaptive < 1:
        raise ValueError(f"adaptive is {adaptive}; needed is an error of rho between 0 and 1, for example 0.01.")
    if success not in SUCCESS:
        raise ValueError(f"success is {success!r}; choose one of {', '.join(SUCCESS)}.")
    check_size(grid, len(methods), 1)
    if n < 2 or not grid_cells(n, grid, rho):
        raise ValueError(f"n is {n} and the grid {grid[0]}x{grid[1]} up to rho {rho} has no k >= 1; take a larger n.")
    # The methods of a run were checked when it began: to continue it, solvers need not be loaded.
    if there is None or not methods or set(methods) - set(there[1].methods):
        check_methods(methods)


def _silent(progress: Progress) -> None:
    pass


__all__ = ["FILE", "POSTER", "Progress", "grid_cells", "phase", "planned", "tasks_of"]
