"""Run a sweep: plan the cells, compute them, store them."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..engines import Engine, engine
from ..names import method_name
from . import adaptive as allocation
from .cells import EXACT_DB, NOISELESS, Cell, Settings, Task, check_methods, own_code, solve
from .draws import Problem, check_draws, fixed_shape, problem_of
from .plan import SUCCESS, Key, Plan, Tally, check_size, grid_cells, planned, shown
from .results import Sweep, curves_of, load, settings_and_plan
from .store import FILE, Store, add_done, begun, file_of, files_of, part_file

T = TypeVar("T")
POSTER = (
    "sea", "sea@omp", "sea@els", "iht", "iht@omp", "iht@els", "htp", "htp@omp", "htp@els", "omp", "ompr", "els",
)  # fmt: skip


BLOCK, ADAPTIVE_BLOCK = 250, 50
N, ACROSS, UP = 64, 20, 20  # unknowns, values of m, values of k
PARTS = 10_000  # of a run
COPIED = 10_000  # cells of a part that are copied at a time


class Progress(NamedTuple):
    """Progress of a run: cells, and in adaptive mode the round and the largest error of a curve."""

    done: int
    total: int
    round: int | None = None
    error: float | None = None


def phase(
    methods: Sequence[str | Callable[..., Any]] = POSTER,
    *,
    A: str | Callable[..., Any] = "gaussian",
    x: str | Callable[..., Any] = "gaussian",
    complex: bool | None = None,
    snr: float | Sequence[float] = NOISELESS,
    n: int | None = None,
    m: int | Sequence[int] | None = None,
    grid: tuple[int, int] | None = None,
    trials: int = 1000,
    output: str | Path,
    rho: float = 0.35,
    seed: int = 0,
    eta: float = 1.8,
    max_steps: int = 1000,
    block: int | None = None,
    adaptive: float | None = None,
    success: str = "support",
    exact_db: float = EXACT_DB,
    part: tuple[int, int] | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    on_progress: Callable[[Progress], Any] | None = None,
) -> Sweep:
    """Phase transition: how often each method finds the support, over `zeta = m / n`, `rho = k / m` and noise.

    Every trial draws a matrix with columns of norm one and a uniformly random support with values, by default all
    Gaussian and without noise. A run in `output` is continued, also with more methods, levels and trials.

    Parameters
    ----------
    methods : sequence of str or callable
        Names of `pursuit.methods()` that take k, also with another method as the start: `sea@omp`. A solver of your own
        is a function `(A, y, k, ...) -> Solution` in a module that worker processes can import, or `"module:function"`,
        also before or after an @. Default: the twelve of the SEA poster.
    A : str or callable
        What matrices are drawn from: "gaussian", "rademacher", "bernoulli" (zeros and ones), "correlated" (neighbouring
        columns are), "fourier" (random rows of the Fourier transform), all with columns of norm one; "bernoulli=0.2"
        sets the share of ones, "correlated=0.5" the correlation. Or one matrix for all trials: "deconvolution" (blur
        by a Gaussian of 3 samples; "deconvolution=5"), the path of a file, as `pursuit compare --A` takes it, or a
        function of yours without arguments that returns a matrix or operator. A function `(m, n, rng)` of yours
        returns a matrix or operator for each trial. Functions are given as themselves or as "module:function".
    x : str or callable
        What the non-zeros are drawn from: "gaussian", "rademacher" (signs), "uniform" (sizes from 1 to 2, random
        signs), "decaying" (sizes 1, 0.8, 0.64, ..., random signs; "decaying=0.5"). Or a function of yours
        `(rng, count, n, k)` that returns signals `(count, n)`.
    complex : bool, optional
        Complex signals, and matrices where they are drawn from numbers that can be. Default: signals are complex if
        the matrix is.
    snr : float or sequence of float
        Levels of noise: signal-to-noise ratios of the measurements in dB, as in `pursuit.problems`; infinity for none.
    n : int, optional
        Unknowns. Default: those of A, if it is one for all trials, else 64.
    m : int or sequence of int, optional
        Measurements, in the place of the grid's. Default: those of A, if it is one for all trials.
    grid : tuple of int, optional
        Number of values of zeta, evenly within (0, 1), and of rho, up to `rho`. Values with the same m and k are
        merged. Default: (20, 20), or with m (number of m, 20).
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
        is at most `exact_db`.
    exact_db : float
        NMSE in dB up to which a trial is recovered exactly.
    part : tuple of int, optional
        `(i, count)`: compute only the i-th of so many parts of the cells, from 0, and write them to a file of that
        part's own. So the tasks of a job array can compute the parts at once; a call without `part` collects them
        and computes what is missing.
    scheduler : str, optional
        Address of a running Dask cluster, for example `tcp://host:8786`. Default: compute in this process.
    workers : int, optional
        Compute in so many processes of this machine, which end with the run.
    on_progress : callable, optional
        Called with a `Progress` before the first cell and after every task.

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError
        If an argument has a wrong value, or the run in `output` has other settings, before any work starts.

    Warns
    -----
    UserWarning
        If `success` is `exact` and the noise does not allow it.

    Examples
    --------
    >>> import tempfile, pursuit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sweep = pursuit.sweeps.phase(["omp"], n=16, grid=(2, 2), trials=10, output=folder)
    >>> [(row["m"], row["k"], row["trials"]) for row in sweep.table()]
    [(5, 1, 10), (11, 2, 10), (11, 3, 10)]
    """
    seed, trials, max_steps = _whole("seed", seed), _whole("trials", trials), _whole("max_steps", max_steps)
    n, block = _whole("n", n) if n is not None else None, _whole("block", block) if block is not None else None
    methods = _spelled(methods)
    file = file_of(output)
    there = settings_and_plan(file)
    # The methods of a run were checked when it began: to continue it, solvers need not be loaded.
    if there is None or not methods or set(methods) - set(there[1].methods):
        check_methods(methods)
    problem = problem_of(_place("A", A), _place("x", x), complex)
    n, ms = _sizes(fixed_shape(problem, N if n is None else n), n, tuple(_whole("m", one) for one in _several(m)))
    if grid is None:
        grid = (len(ms) or ACROSS, UP)
    levels = tuple(map(float, _several(snr)))
    plan = Plan(methods, grid, rho, trials, adaptive, success, own_code(methods), ms, levels)
    if block is None:
        usual = BLOCK if adaptive is None else ADAPTIVE_BLOCK
        block = there[0].block if there is not None else min(usual, trials)
    settings = Settings(
        n=n, seed=seed, block=block, eta=eta, max_steps=max_steps, problem=problem, exact_db=float(exact_db)
    )
    if trials % block:
        raise ValueError(
            f"trials is {trials} and block is {block}; needed is a multiple, as {trials // block * block or block}."
        )
    check_size(grid, len(methods), trials // block if adaptive is None else 1, len(levels))
    points = plan.cells(n)
    if not points:
        raise ValueError(f"n is {n} and the grid {grid[0]}x{grid[1]} up to rho {rho} has no k >= 1; take a larger n.")
    _check_part(part)
    _check_reachable(plan, settings)
    _check_memory(problem, n, max(points))
    check_draws(problem, n=n, m=min(points), k=points[min(points)][-1])
    with engine(scheduler, workers) as run, _opened(file, part, settings, plan) as (store, elsewhere):
        _compute(_Work(store, elsewhere, settings, plan, part, run), on_progress or _silent)
    return load(file)


def tasks_of(keys: Iterable[Key], order: Sequence[str]) -> list[Task]:
    """The cells as tasks, block after block, shuffled, so that progress is even over the grid."""
    by_block: dict[tuple[int, int, float, int], list[str]] = {}
    for method, m, k, snr, block in keys:
        by_block.setdefault((m, k, snr, block), []).append(method)
    places = np.random.default_rng(0).permutation(len(by_block))
    shuffled = [sorted(by_block)[place] for place in places]
    return [
        Task(m, k, block, tuple(sorted(by_block[m, k, snr, block], key=order.index)), snr)
        for m, k, snr, block in sorted(shuffled, key=lambda point: point[3])
    ]


class _Work(NamedTuple):
    """What is to be computed, by what, and where it goes."""

    store: Store
    elsewhere: dict[Key, Tally]  # finished cells in the files of other parts
    settings: Settings
    plan: Plan  # of this call: other methods of the run are only kept
    part: tuple[int, int] | None
    run: Engine[Any, Any]

    def done(self) -> dict[Key, Tally]:
        """The finished cells."""
        return self.elsewhere | self.store.done()


def _compute(work: _Work, report: Callable[[Progress], Any]) -> None:
    settings, plan = work.settings, work.plan
    if plan.adaptive is None:
        keys = _keys(_share(tasks_of(planned(plan, settings), plan.methods), work.part))
        for done in _finish(work, keys):
            report(Progress(done, len(keys)))
        return
    known: dict[Key, tuple[int, int]] = {}
    number = 0
    while True:
        found = curves_of(known, plan, settings.n)
        # Parts have the curves of some m and levels: each curve is planned from its own results alone.
        mine = {*_share(list(dict.fromkeys(curve[1:] for curve in found)), work.part)}
        found = {name: curve for name, curve in found.items() if name[1:] in mine}
        widest = max((p.error / m for (_, m, _), c in found.items() if (p := allocation.estimate(c))), default=None)
        keys = _round(found, settings, plan)
        if not keys:
            report(Progress(len(known), len(known), number, widest))
            return
        number += 1
        for done in _finish(work, keys):
            report(Progress(len(known) + done, len(known) + len(keys), number, widest))
        finished = work.done()
        column = 1 + SUCCESS.index(plan.success)
        known |= {key: (finished[key][0], finished[key][column]) for key in keys}


def _share(things: list[T], part: tuple[int, int] | None) -> list[T]:
    """The things of one part: every `part[1]`-th, from `part[0]` on."""
    return things if part is None else things[part[0] :: part[1]]


def _keys(tasks: Iterable[Task]) -> list[Key]:
    return [(method, task.m, task.k, task.snr, task.block) for task in tasks for method in task.methods]


def _round(found: dict[tuple[str, int, float], allocation.Curve], settings: Settings, plan: Plan) -> list[Key]:
    """The cells of the next round: for every curve the next blocks at the chosen k."""
    assert plan.adaptive is not None
    keys: list[Key] = []
    for (method, m, snr), curve in found.items():
        begun_at = {k: trials // settings.block for k, (trials, _) in curve.counts.items()}
        for k in allocation.more(curve, error=plan.adaptive * m, block=settings.block, most=plan.trials):
            keys.append((method, m, k, snr, begun_at.get(k, 0)))
            begun_at[k] = begun_at.get(k, 0) + 1
    return keys


def _finish(work: _Work, keys: Sequence[Key]) -> Iterator[int]:
    """Compute the missing cells and store them task by task; yields the number of finished cells."""
    there = work.done().keys()
    missing = [key for key in keys if key not in there]
    done = len(keys) - len(missing)
    yield done
    tasks = tasks_of(missing, work.plan.methods)
    if not tasks:
        return
    results: Iterator[list[Cell]] = work.run(functools.partial(solve, work.settings, own=work.plan.own), tasks)
    for cells in results:
        work.store.add(cells)
        done += len(cells)
        yield done


@contextmanager
def _opened(
    file: Path, part: tuple[int, int] | None, settings: Settings, plan: Plan
) -> Iterator[tuple[Store, dict[Key, Tally]]]:
    """The file to write to, and what is finished in the others. The run's own file takes the results of its parts."""
    from ..files import output_folder

    output_folder(file.parent)
    mine = file if part is None else part_file(file, part)
    others = [other for other in files_of(file) if other != mine]
    elsewhere: dict[Key, Tally] = {}
    joined = plan
    for other in begun(others):
        joined = other.joined(settings, joined)  # which refuses results of other settings
        add_done(elsewhere, other)
    with closing(Store(mine)) as store:
        store.begin(settings, joined if part is None else plan)
        if part is None:
            _collect(store, others)
        yield store, {} if part is None else elsewhere


def _collect(store: Store, parts: Iterable[Path]) -> None:
    """Copy what is finished in the files of parts."""
    done = store.done()
    for part in begun(parts):
        before = {*done}
        add_done(done, part)
        if done.keys() == before:
            continue
        cells = (cell for cell in part.cells() if cell[:5] not in before)
        while some := list(itertools.islice(cells, COPIED)):
            store.add(some)


def _spelled(methods: Sequence[str | Callable[..., Any]]) -> tuple[str, ...]:
    """The methods, each once, by names that any process understands. Names do not need the solvers to be loaded."""
    if all(isinstance(method, str) for method in methods):
        return tuple(dict.fromkeys(method_name(str(method)) for method in methods))
    from ..solvers.by_name import spelled

    return tuple(dict.fromkeys(map(spelled, methods)))


def _place(name: str, given: Any) -> str:
    """What A or x is, by a name that any process understands."""
    if isinstance(given, str):
        return given
    if isinstance(given, PathLike):
        return str(given)
    if inspect.isroutine(given) or inspect.isclass(given):
        from ..solvers.by_name import importable

        return importable(given, name)
    kind = type(given).__name__
    raise TypeError(
        f"{name} is a {kind}; needed is a name, module:function or a function, so that other processes and later calls "
        "find it" + ("; or a file: write the matrix by numpy.save, and give its path." if name == "A" else ".")
    )


def _whole(name: str, given: Any) -> int:
    """A whole number, of NumPy as well."""
    try:
        return operator.index(given)
    except TypeError:
        raise TypeError(f"{name} is {given!r}; needed is a whole number.") from None


def _several(values: Any) -> tuple[Any, ...]:
    """A sequence of one or several; empty for None."""
    if values is None:
        return ()
    return tuple(values) if isinstance(values, Iterable) else (values,)


def _sizes(shape: tuple[int, int] | None, n: int | None, ms: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """The number of unknowns, and the m that are not the grid's."""
    if shape is None:
        return N if n is None else n, ms
    for name, given, has in (("n", n, shape[1]), ("m", ms or None, shape[0])):
        if given not in (None, has, (has,)):
            raise ValueError(f"{name} is {given}, and A has shape {shape}, (m, n); leave {name} out.")
    return shape[1], (shape[0],)


def _check_part(part: tuple[int, int] | None) -> None:
    if part is None:
        return
    if len(part) != 2 or not all(isinstance(number, int) for number in part) or not 0 <= part[0] < part[1] <= PARTS:
        raise ValueError(
            f"part is {'/'.join(map(str, part))}; needed is one of 0/COUNT to COUNT-1/COUNT, as 0/10 to 9/10, with at "
            f"most {PARTS} parts."
        )


def _check_memory(problem: Problem, n: int, m: int) -> None:
    """Raise ValueError if a matrix of a trial, or what its largest eigenvalue is found from, does not fit in memory."""
    from ..files.checks import memory, size

    needed = 8.0 * m * max(m, n)
    if fixed_shape(problem, n) is None and needed > memory():
        raise ValueError(
            f"n is {n} and m goes up to {m}: one trial needs {size(needed)} of memory, and {size(memory())} are free; "
            "take a smaller n and m."
        )


def _check_reachable(plan: Plan, settings: Settings) -> None:
    """Warn of levels of noise at which no trial can succeed; raise ValueError if an adaptive run would look there."""
    lost = unreachable(plan, settings, plan.success)
    if lost is None:
        return
    if plan.adaptive is not None:
        raise ValueError(lost)
    warnings.warn(lost, stacklevel=3)


def unreachable(plan: Plan, settings: Settings, success: str) -> str | None:
    """Which levels of noise do not allow success, so that there is no curve, and what to do; None if all do."""
    if success != "exact":
        return None
    gain = 10 * math.log10(max(plan.cells(settings.n)))  # of least squares on one atom, by which noise is averaged
    lost = [snr for snr in plan.snr if snr < math.inf and -snr - gain > settings.exact_db]
    if not lost:
        return None
    return (
        f"success is exact, an NMSE of at most {settings.exact_db:g} dB, which noise at an SNR of {shown(lost)} dB "
        "does not allow: there is no curve. Start a run with a larger exact_db, as --exact-db "
        f"{-min(lost):g} for an error as large as the noise, or with success support."
    )


def _silent(progress: Progress) -> None:
    pass


__all__ = ["FILE", "POSTER", "Progress", "grid_cells", "phase", "planned", "tasks_of"]
