"""Compare solvers on the same measurements."""

from __future__ import annotations

import functools
import inspect
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import lasso_path, metrics
from .core.layout import rows_for_sure
from .core.selection import Hard
from .core.solution import Solution, Status
from .files import environment, write_csv, write_whole
from .operators import Operator
from .prediction import FOLDS, Prediction, choose, cut, predict, refit
from .problems import Instance
from .solvers.by_name import Method, answer, methods, name_of, solver, solver_of_k

# Methods that minimise with a penalty -> their solver; fista_ls refits the k largest entries of fista.
PENALISED = {"ista": "ista", "fista": "fista", "fista_ls": "fista"}
GREEDY_LAM = 0.1  # for the square-root LASSO, whose best penalty does not depend on the noise
WORDS = ("method", "status")  # columns that hold words
EXACT = 100.0  # an error below so many units of rounding is none
AT_ONCE = 1024  # signals that a network is given at a time


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
    predicted : Prediction, optional
        How well the method predicts rows that it has not seen; of `compare_by_prediction` alone.
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
    predicted: Prediction | None = None


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
        By default five penalties are solved, and every signal takes the one that suits it: see `pursuit.lasso_path`.
    started : callable, optional
        Called with each method's name before it runs.

    Returns
    -------
    list of Row
        Sorted by NMSE if the truth is known, else by residual.
    """
    rows = []
    for method, recover in _called(chosen).items():
        name = name_of(method)
        if started is not None:
            started(name)
        first, timed = (_solved(method, recover, lam, lam_share) for _ in range(2))  # what one keeps, the other has not
        few = {"max_steps": 2} if "max_steps" in inspect.signature(recover).parameters else {}
        first(instance.A, instance.y, instance.k, **few)  # the first call takes longer: torch sets itself up
        begin = time.perf_counter()
        solution = timed(instance.A, instance.y, instance.k)
        rows.append(_row(name, instance, solution, time.perf_counter() - begin))
    return sorted(rows, key=lambda row: row.error_db)


def compare_by_prediction(
    instance: Instance,
    ks: Sequence[int],
    chosen: Sequence[Method] | None = None,
    *,
    lam: float | None = None,
    lam_share: float | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    started: Callable[[str], Any] | None = None,
) -> tuple[list[Row], list[Prediction]]:
    """Compare methods, and numbers of non-zeros, where the truth is unknown; the best comes first.

    Every method predicts the rows of every fold at every k: see `pursuit.prediction`. The k that
    `prediction.choose` takes is then used with all rows. The k largest entries of ISTA and FISTA are refitted.

    Parameters
    ----------
    instance : Instance
        Its own k is not used.
    ks : sequence of int
        Numbers of non-zeros to try.
    chosen, lam, lam_share, started
        As in `compare`; `started` is called twice for each method.
    folds, seed : int
        Number of folds, and the seed of them.

    Returns
    -------
    rows : list of Row
        One per method, all with the k chosen; sorted by the error of prediction.
    predictions : list of Prediction
        Of every method and k.

    Raises
    ------
    ValueError
        If a k is larger than the rows of a split allow.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from pursuit import problems
    >>> case = replace(problems.gaussian(n=60, m=40, k=3, signals=5), x=None)
    >>> rows, predictions = compare_by_prediction(case, [1, 3, 12], ["omp", "iht"])
    >>> rows[0].method, rows[0].predicted.k
    ('omp', 3)
    """
    if chosen is None:
        chosen = usual(known=False)
    calls = {name_of(method): _refitted(method, call, lam, lam_share) for method, call in _called(chosen).items()}
    own = calls.keys() - set(methods())  # a solver of one's own need not take a batch of matrices
    predictions = predict(instance.A, instance.y, calls, ks, folds=folds, seed=seed, by_fold=own, started=started)
    k = choose(predictions).k
    of = {p.method: p for p in predictions if p.k == k}
    fitted = compare(replace(instance, k=k), chosen, lam=lam, lam_share=lam_share, started=started)
    rows = [replace(_cut(row, instance, k), predicted=of[row.method]) for row in fitted]
    asked = [*of]
    return sorted(rows, key=lambda row: (of[row.method].rank, asked.index(row.method))), predictions


def _cut(row: Row, instance: Instance, k: int) -> Row:
    """With k non-zeros at most, as its prediction was."""
    x = (refit if row.method in PENALISED else cut)(instance.A, instance.y, row.x, k)
    if x is row.x:
        return row
    r = instance.y - instance.A.forward(x)
    share = float(r.norm() / instance.y.norm())
    nonzeros = float((x != 0).sum(-1).double().mean())
    db = 20 * math.log10(share) if share > 0 else -math.inf
    return replace(row, x=x, residual=share, nonzeros=nonzeros, error_db=db)


def _called(chosen: Sequence[Method] | None) -> dict[Method, Callable[..., Solution[Any]]]:
    return solvers(usual() if chosen is None else chosen)


def _solved(
    method: Method, call: Callable[..., Solution[Any]], lam: float | None, lam_share: float | None
) -> Callable[..., Solution[Any]]:
    """The method as a function of A, y and k, with the solver's own options besides."""
    name = name_of(method)
    if name in PENALISED:
        return _penalised(name, call, lam, lam_share)

    def solved(A: Operator, y: Tensor, k: int, **options: Any) -> Solution[Any]:
        with rows_for_sure():
            return answer(method, call(A, y, k=k, **_needed(name), **options))

    return solved


def _refitted(
    method: Method, call: Callable[..., Solution[Any]], lam: float | None, lam_share: float | None
) -> Callable[..., Solution[Any]]:
    """As `_solved`, with the k largest entries refitted where a penalty shrinks them."""
    solve = _solved(method, call, lam, lam_share)
    if name_of(method) not in PENALISED:
        return solve
    return lambda A, y, k: lasso_path.refitted(A, y, solve(A, y, k), k)


def _penalised(
    name: str, call: Callable[..., Solution[Any]], lam: float | None, lam_share: float | None
) -> Callable[..., Solution[Any]]:
    """With the penalty given, or the one of several that suits a signal. All k use the same solutions."""
    given = {key: value for key, value in (("lam", lam), ("lam_share", lam_share)) if value is not None}

    @functools.cache
    def solutions(A: Operator, y: Tensor, **options: Any) -> list[Solution[Any]]:
        with rows_for_sure():
            return [call(A, y, **given, **options)] if given else lasso_path.path(call, A, y, **options)

    def solved(A: Operator, y: Tensor, k: int, **options: Any) -> Solution[Any]:
        best = lasso_path.suited(A, y, solutions(A, y, **options), k)
        return lasso_path.refitted(A, y, best, k) if name == "fista_ls" else best

    return solved


def network_as_method(name: str, net: nn.Module) -> Callable[..., Solution[Any]]:
    """A trained network as a method of `compare`: its signals, and as their support the k largest entries.

    Parameters
    ----------
    name : str
        In the table.
    net : Module
        `net(y) -> x`.

    Examples
    --------
    >>> import torch, pursuit
    >>> case = pursuit.problems.gaussian(n=60, m=40, k=3, signals=5)
    >>> net = pursuit.nets.OMPNet(case.A, layers=3)
    >>> sorted(row.method for row in compare(case, ["iht", network_as_method("omp-net", net)]))
    ['iht', 'omp-net']
    """

    def recover(A: Operator, y: Tensor, k: int) -> Solution[Any]:
        was_training = net.training
        with torch.no_grad():
            x = torch.cat([net.eval()(part) for part in y.split(AT_ONCE)])
        net.train(was_training)
        norm = torch.linalg.vector_norm(A.residual(y, x.to(y.dtype)), dim=-1)
        whole = torch.linalg.vector_norm(y, dim=-1)
        status = torch.where(norm <= whole, int(Status.APPLIED), int(Status.WORSE_THAN_ZERO))
        status = torch.where(norm.isfinite(), status, int(Status.OUT_OF_RANGE))
        steps = torch.full_like(status, getattr(net, "layers", 1))
        none = torch.zeros_like(status, dtype=torch.bool)
        return Solution.of_signal(x, Hard()(x.abs(), k).indices, norm, steps, status, none)

    recover.__name__ = name
    return recover


def solvers(chosen: Sequence[Method]) -> dict[Method, Callable[..., Solution[Any]]]:
    """The solvers of these methods.

    Raises
    ------
    ValueError, TypeError
        If there is no such method, or it cannot be called with A, y and k.
    """
    return {method: _solver(method) for method in chosen}


def _solver(method: Method) -> Callable[..., Solution[Any]]:
    name = name_of(method)
    return solver(PENALISED[name]) if name in PENALISED else solver_of_k(method, **_needed(name))


def _needed(name: str) -> dict[str, Any]:
    """What a method needs besides k."""
    return {"lam": GREEDY_LAM} if name == "greedy_lasso" else {}


def check(chosen: Sequence[Method], lam: float | None, lam_share: float | None) -> None:
    """Refuse what no comparison can start with.

    Raises
    ------
    ValueError, TypeError
        If there is no such method, or it cannot be called with A, y and k; if `lam` and `lam_share` are both given, or
        the share is none.
    """
    if not chosen:
        raise ValueError("there are no methods; needed is at least one, for example omp.")
    solvers(chosen)
    given = [name for name, value in (("lam", lam), ("lam_share", lam_share)) if value is not None]
    if given and not {*map(name_of, chosen)} & {*PENALISED}:
        *first, last = PENALISED
        raise ValueError(
            f"{' and '.join(given)} was given, which only {', '.join(first)} and {last} take; leave it out, or add one."
        )
    if lam is not None and not 0 <= lam < math.inf:
        raise ValueError(f"lam is {lam}; needed is a number from 0.")
    if lam is not None and lam_share is not None:
        raise ValueError(f"lam {lam} and lam_share {lam_share} were given; needed is one of them.")
    if lam_share is not None and not 0 < lam_share < 1:
        raise ValueError(f"lam_share is {lam_share}; needed is a number between 0 and 1.")


def usual(known: bool = True) -> tuple[str, ...]:
    """The methods that are compared by default: all, and `fista_ls`, without `inverse`.

    `inverse` refuses matrices that take too long to decompose; name it to see it.
    Where the truth is not known, ISTA and FISTA are refitted, so that `fista` is what `fista_ls` is.
    """
    compared = tuple(name for name in methods() if name != "inverse")
    return (*compared, "fista_ls") if known else compared


def oracle(instance: Instance) -> float | None:
    """NMSE in dB of least squares on the k largest true coefficients, which a method that uses k rarely beats."""
    if instance.x is None:
        return None
    from .core.least_squares import fit

    atoms = Hard()(instance.x.abs(), instance.k)
    return metrics.nmse_db(atoms.embed(fit(instance.A, instance.y, atoms).z), instance.x)


def is_exact(db: float, instance: Instance) -> bool:
    """Whether an error is rounding alone."""
    return db < 20 * math.log10(EXACT * torch.finfo(instance.y.dtype).eps)


def in_words(db: float, instance: Instance) -> str:
    """An error as it is shown.

    Examples
    --------
    >>> from pursuit import problems
    >>> case = problems.gaussian(n=60, m=40, k=3, signals=5)
    >>> in_words(-27.42, case), in_words(-303.9, case)
    ('-27.42 dB', 'exact')
    """
    return "exact" if is_exact(db, instance) else f"{db:.2f} dB"


def _row(name: str, instance: Instance, solution: Solution[Any], seconds: float) -> Row:
    signals = instance.y.shape[:-1].numel()
    share = float(solution.residual_norm.norm() / instance.y.norm())
    known = instance.x is not None
    return Row(
        method=name,
        error_db=metrics.nmse_db(solution.x, instance.x)
        if known
        else metrics.nmse_db(instance.A.forward(solution.x), instance.y),
        # `replace` forms x of what is on the support: a network's x has small entries everywhere
        support_recovered=metrics.support_recall(replace(solution).x, instance.x, instance.k) if known else None,
        residual=share,
        nonzeros=float((solution.x != 0).sum(-1).double().mean()),
        ms_per_signal=1e3 * seconds / signals,
        steps=int(solution.steps.median()),
        status=Status(int(solution.status.flatten().mode().values)),
        x=solution.x,
    )


def columns(rows: Sequence[Row]) -> dict[str, Callable[[Row], str]]:
    """The columns of the printed table: title -> text of a row."""
    if rows[0].predicted is not None:
        first: dict[str, Callable[[Row], str]] = {"held out (dB)": _predicted}
    elif rows[0].support_recovered is not None:
        first = {
            "NMSE (dB)": lambda row: f"{row.error_db:.2f}",
            "support": lambda row: f"{100 * (row.support_recovered or 0):.0f} %",
        }
    else:
        first = {}
    return {
        "method": lambda row: row.method,
        **first,
        "residual": lambda row: f"{row.residual:.2e}",
        "non-zeros": lambda row: f"{row.nonzeros:.1f}",
        "ms/signal": lambda row: f"{row.ms_per_signal:.2f}",
        "steps": lambda row: str(row.steps),
        "status": lambda row: row.status.name.lower(),
    }


def _predicted(row: Row) -> str:
    assert row.predicted is not None
    return f"{row.predicted.db:.1f} ± {row.predicted.standard_error_db:.1f}"


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as CSV, in full precision."""
    columns = ("method", "error_db", "support_recovered", "residual", "nonzeros", "ms_per_signal", "steps")
    lines = [
        {"rank": rank, **{name: getattr(row, name) for name in columns}, "status": row.status.name.lower()}
        for rank, row in enumerate(rows, 1)
    ]
    write_csv(path, lines, ("rank", *columns, "status"))


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write the predictions as CSV, in full precision."""
    columns = ("method", "k", "error", "standard_error", "db", "standard_error_db", "nonzeros")
    lines = [{**{name: getattr(p, name) for name in columns}, "status": p.status.name.lower()} for p in predictions]
    write_csv(path, lines, (*columns, "status"))


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
