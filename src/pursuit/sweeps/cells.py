"""The cells of a sweep: settings, trials, and the results of methods.

A cell is (method, m, k, snr, block): one block of trials, solved by one method. The seed of the trials depends only on
(seed, n, m, k, block), and the noise of all levels is the same but for its size. So all methods and levels get the same
trials, and methods, levels and blocks can be added later. Workers get a `Task`, which is one block and all methods that
have not solved it: its trials are drawn once, and a start that several methods share is computed once.

This module imports torch only when it solves: the process that distributes tasks does not need it.
"""

from __future__ import annotations

import functools
import inspect
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import whole_number
from ..names import method_name
from .draws import Problem, Trials, digest, draw, fixed_shape, measure
from .sources import digest_of, source_digest

NOISELESS = math.inf
EXACT_DB = -80.0  # NMSE up to which a trial is recovered exactly: an error of 1e-4 of the signal's norm
LARGEST = 2**31  # unknowns
CHUNK = 2**23  # most numbers in the matrices that are solved together: 64 MiB


@dataclass(frozen=True)
class Settings:
    """Everything on which the result of a cell depends, besides (method, m, k, snr, block).

    Attributes
    ----------
    n : int
        Unknowns.
    seed : int
    block : int
        Trials of a cell.
    eta : float
        Step size of SEA, IHT and HTP in units of `1 / L`, with `L` the largest eigenvalue of `A^T A`.
    max_steps : int
        Most steps of every iterative method.
    problem : Problem
        What the trials are drawn from.
    exact_db : float
        NMSE in dB up to which a trial is recovered exactly.
    code, torch, numpy : str
        A digest of the solvers' source text, and the versions of torch and NumPy. Default: those here.

    Examples
    --------
    >>> Settings(n=64, block=100).max_steps
    1000
    """

    n: int
    seed: int = 0
    block: int = 250
    eta: float = 1.8
    max_steps: int = 1000
    problem: Problem = field(default_factory=Problem)
    exact_db: float = EXACT_DB
    code: str = ""
    torch: str = ""
    numpy: str = ""

    def __post_init__(self) -> None:
        for name, least, most in (("n", 2, LARGEST), ("seed", 0, None), ("block", 1, None), ("max_steps", 1, None)):
            whole_number(name, getattr(self, name), least, most)
        if not 0 < self.eta < math.inf:
            raise ValueError(f"eta is {self.eta}; needed is a positive factor of 1 / L.")
        if not self.exact_db < math.inf:
            raise ValueError(f"exact_db is {self.exact_db}; needed is an NMSE in dB, for example -80.")
        for name, here in software().items():
            if not getattr(self, name):
                object.__setattr__(self, name, here)

    def facts(self) -> dict[str, Any]:
        """All of it in one dict, what the problem is by its names: results of equal ones can be in one table."""
        return {**self.problem.facts(), **{name: value for name, value in vars(self).items() if name != "problem"}}


class Task(NamedTuple):
    """A block of trials, and the methods to solve it."""

    m: int
    k: int
    block: int
    methods: tuple[str, ...]
    snr: float = NOISELESS  # in dB


class Cell(NamedTuple):
    """The result of a cell. Everything except `seconds` is the same on every worker."""

    method: str
    m: int
    k: int
    snr: float
    block: int
    trials: int
    found: int  # trials in which the support found holds the true one
    exact: int  # trials recovered exactly
    hits: bytes  # per trial, how many true non-zeros the support found holds: uint16, little-endian
    exactly: bytes  # per trial, one bit
    seconds: float


def chunks(settings: Settings, m: int, k: int, block: int) -> Iterator[Trials]:
    """The trials of a block in parts that fit into memory.

    The size of a part depends on the sizes of the problem only, not on the machine, so that results do not change.
    """
    # NumPy takes all five numbers as a seed; torch's generator on the CPU uses 32 bits of one.
    rng = np.random.default_rng([settings.seed, settings.n, m, k, block])
    # Numbers per trial: of a matrix of its own, or, where all share one, of the atoms that solvers copy.
    size = m * settings.n if fixed_shape(settings.problem, settings.n) is None else (m + settings.n) * k
    most, left = max(1, CHUNK // size), settings.block
    while left:
        trials = draw(settings.problem, rng, n=settings.n, m=m, k=k, count=min(most, left))
        left -= len(trials.x)
        yield trials


def solve(settings: Settings, task: Task, own: Mapping[str, str] | None = None) -> list[Cell]:
    """The cells of a task, computed on one thread: several would add in another order.

    Parameters
    ----------
    settings : Settings
    task : Task
        Its methods may be of `pursuit.peers` as well.
    own : mapping, optional
        The value that `own_code` of its methods must have on this machine.

    Returns
    -------
    list of Cell
        One per method of the task.

    Raises
    ------
    ValueError
        If the code here differs from that of the settings.

    Examples
    --------
    >>> (cell,) = solve(Settings(n=16, block=5), Task(m=12, k=1, block=0, methods=("omp",)))
    >>> cell.found, cell.trials
    (5, 5)
    """
    import torch

    wanted = {name: getattr(settings, name) for name in software()} | dict(own or {})
    there = software() | (own_code(task.methods) if own else {})
    if settings.problem.own:
        wanted["A and x"], there["A and x"] = settings.problem.own, digest(settings.problem)
    differing = {name: here for name, here in there.items() if wanted[name] != here}
    if differing:
        asked = ", ".join(f"{name} {wanted[name]}" for name in differing)
        here = ", ".join(f"{name} {value}" for name, value in differing.items())
        raise ValueError(f"a worker has {here}, the run {asked}; give workers the code and versions of the driver.")
    torch.set_num_threads(1)
    outcomes: dict[str, list[_Outcome]] = {method: [] for method in task.methods}
    # Apart from the trials, so that they are the same at all levels.
    noise = np.random.default_rng([settings.seed, settings.n, *task[:3], 1])
    with torch.inference_mode():
        for trials in chunks(settings, *task[:3]):
            measured = _measured(trials, task.snr, noise)
            for method, outcome in _outcomes(settings, task.methods, measured, trials, task.k).items():
                outcomes[method].append(outcome)
    return [_cell(method, settings, task, parts) for method, parts in outcomes.items()]


def parts(method: str) -> tuple[str, str | None]:
    """A method and its start: `("sea", "omp")` of `sea@omp`, `("sea", None)` of `sea`."""
    name, at, start = method.partition("@")
    return name, start if at else None


def check_methods(methods: Sequence[str]) -> None:
    """Raise ValueError unless every method can be swept.

    Examples
    --------
    >>> check_methods(["sea", "sea@omp"])
    >>> check_methods(["omp@sea"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: method 'omp@sea': omp takes no start; choose iht, ... before the @.
    """
    from ..solvers.by_name import SOLVERS, solver_of_k, spelled

    # Not those that may return more than k non-zeros: a support that contains every index would always be a success.
    takes = {name: inspect.signature(call).parameters for name, call in SOLVERS.items()}
    able = [name for name in takes if "k" in takes[name] and not {"lam", "denoiser"} & takes[name].keys()]
    if not methods:
        raise ValueError(f"no method was given; needed is at least one of {', '.join(able)}.")
    for method in map(method_name, methods):
        name, start = parts(method)
        for part in (name, start):
            if part is not None and is_own(part):
                takes[part] = inspect.signature(solver_of_k(spelled(part))).parameters
            elif part is not None and part not in able:
                raise ValueError(
                    f"method is {method!r}; needed is a solver that returns at most k non-zeros: {', '.join(able)}, "
                    "METHOD@START as sea@omp, or a solver of your own as module:function."
                )
        if start is not None and "x0" not in takes[name]:
            startable = ", ".join(other for other in able if "x0" in takes[other])
            raise ValueError(f"method {method!r}: {name} takes no start; choose {startable} before the @.")


def is_own(name: str) -> bool:
    """Whether a method is `module:function`, a solver of the user's own."""
    return ":" in name


def own_code(methods: Sequence[str]) -> dict[str, str]:
    """A digest of the source text of every module that holds one of the methods."""
    names = {name for method in methods for name in parts(method) if name is not None and is_own(name)}
    return {module: source_digest(module) for module in sorted({name.partition(":")[0] for name in names})}


@functools.cache
def software() -> dict[str, str]:
    """A digest of the solvers' source text, and the versions of torch and NumPy."""
    package = Path(__file__).parents[1]
    files = [file for part in SOLVING for file in (package / part).rglob("*.py")]
    files += [package / name for name in SOLVING if name.endswith(".py")]
    return {"code": digest_of(sorted(files)), "torch": version("torch"), "numpy": version("numpy")}


# Folders and files of the package on which a solver's result depends.
SOLVING = (
    "operators", "core", "kernels", "solvers", "checks.py", "names.py", "peers.py", "problems.py", "relaxations.py",
    "shrinkage.py", "sweeps/cells.py", "sweeps/draws.py",
)  # fmt: skip


class _Outcome(NamedTuple):
    hits: np.ndarray
    exactly: np.ndarray
    seconds: float


class _Measured(NamedTuple):
    """The operator, or the matrices, their largest eigenvalues L, and the measurements."""

    A: Any
    L: Any
    y: Any


def _measured(trials: Trials, snr: float, rng: np.random.Generator) -> _Measured:
    """Measure the signals with noise `snr` dB below each."""
    import torch

    from ..problems import noise_level

    A, y = measure(trials)
    L = _largest(A) if isinstance(A, torch.Tensor) else A.normalised().norm2()
    if snr == NOISELESS:
        return _Measured(A, L, y)
    noise = rng.standard_normal((2, *y.shape))
    size = torch.from_numpy((noise[0] + 1j * noise[1]) / math.sqrt(2) if y.is_complex() else noise[0])
    return _Measured(A, L, y + (noise_level(y, snr) * size).to(y.dtype))


def _largest(A: Any) -> Any:
    """The largest eigenvalue of `A^H A` for matrices whose columns are brought to norm one."""
    import torch

    norms = torch.linalg.vector_norm(A, dim=-2, keepdim=True)
    if ((norms - 1).abs() > 1e-12).any():
        A = A / torch.where(norms == 0, 1, norms)
    return torch.linalg.eigvalsh(A @ A.mH)[..., -1]


def _outcomes(
    settings: Settings, methods: Sequence[str], given: _Measured, trials: Trials, k: int
) -> dict[str, _Outcome]:
    """The results of all methods on the trials; a start that several share is computed once."""
    import torch

    eta = settings.eta / given.L
    solved: dict[str, tuple[Any, float]] = {}

    def solution(method: str) -> Any:
        if method not in solved:
            name, start = parts(method)
            # A start that diverged is not used.
            x0 = None if start is None else torch.nan_to_num(solution(start).x, 0.0, 0.0, 0.0)
            begin = time.perf_counter()
            found = _run(name, given.A, given.y, k, eta, settings.max_steps, x0)
            solved[method] = found, time.perf_counter() - begin
        return solved[method][0]

    return {method: _judge(solution(method), trials, settings.exact_db, solved[method][1]) for method in methods}


def _run(name: str, A: Any, y: Any, k: int, eta: Any, max_steps: int, x0: Any) -> Any:
    from ..core.layout import rows_for_sure
    from ..peers import PEERS
    from ..solvers.by_name import answer, solver

    if name in PEERS:
        return _by_peer(name, A, y, k)
    call = solver(name)
    takes = inspect.signature(call).parameters
    options: dict[str, Any] = {}
    if "eta" in takes and takes["eta"].default is None and not is_own(name):  # the default is a factor of 1 / L
        options["eta"] = eta
    if "max_steps" in takes and takes["max_steps"].default is not None:  # not OMP, which stops after k
        options["max_steps"] = max_steps
    if x0 is not None:
        options["x0"] = x0
    with rows_for_sure():
        return answer(name, call(A, y, k=k, **options))


class _Found(NamedTuple):
    x: Any
    support: Any


def _by_peer(name: str, A: Any, y: Any, k: int) -> _Found:
    """The results of another package on the trials, one by one."""
    import torch

    from ..peers import peer

    recover = peer(name)
    x = torch.from_numpy(np.stack([recover(a, b, k) for a, b in zip(A.numpy(), y.numpy(), strict=True)]))
    return _Found(x, x.abs().argsort(dim=-1, descending=True)[:, :k])


def _judge(solution: Any, trials: Trials, exact_db: float, seconds: float) -> _Outcome:
    support, x = solution.support.numpy(), solution.x.numpy()
    hits = (trials.support[:, :, None] == support[:, None, :]).any(-1).sum(-1)
    with np.errstate(over="ignore", invalid="ignore"):  # a diverged signal has an infinite error, or none
        error = np.square(np.abs(x - trials.x)).sum(-1) / np.square(np.abs(trials.x)).sum(-1)
        exactly = error <= 10 ** (exact_db / 10)
    return _Outcome(hits, exactly, seconds)


def _cell(method: str, settings: Settings, task: Task, outcomes: Sequence[_Outcome]) -> Cell:
    hits = np.concatenate([outcome.hits for outcome in outcomes])
    exactly = np.concatenate([outcome.exactly for outcome in outcomes])
    return Cell(
        method, task.m, task.k, task.snr, task.block,
        trials=settings.block, found=int((hits == task.k).sum()), exact=int(exactly.sum()),
        hits=hits.astype("<u2").tobytes(), exactly=np.packbits(exactly).tobytes(),
        seconds=sum(outcome.seconds for outcome in outcomes),
    )  # fmt: skip
