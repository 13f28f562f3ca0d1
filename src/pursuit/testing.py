"""Tests of what every solver promises, for the library's solvers and your own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .core.solution import RecoveryError, Solution, Status
from .operators import SubsampledFourier
from .solvers.by_name import Method, name_of
from .solvers.by_name import solver as by_name

M, N, K = 24, 40, 3
DTYPES = (torch.float64, torch.float32, torch.complex128, torch.complex64)
BATCHES = ((), (3,), (1,), (2, 2), (0,))
NEAR = {torch.float32: 1e-3, torch.float64: 1e-5}  # relative tolerance of comparisons


def check_solver(solver: Method, *, skip: Collection[str] = (), **options: Any) -> None:
    """Raise an AssertionError for the first promise that a solver does not keep.

    The checks, by name: "arrays", "shapes", "dtypes", "inputs unchanged", "support", "zero off the support",
    "residual", "status", "zero y", "scale of y", "column norms", "alone and in a batch", "k per signal", "operators",
    "weights", "tol", "max_steps", "warm start", "deterministic", "bad input". The checks of `weights`, `tol`,
    `max_steps` and `x0` (warm start) are made if the solver has the parameter.

    Parameters
    ----------
    solver : callable (A, y, k, ...) -> Solution
        A function, the name of a solver, or `"module:function"`.
    skip : collection of str
        Names of checks to leave out, for example "column norms" for a solver that does not normalise columns.
    **options
        Arguments for every call of the solver, for example a small `max_steps`.

    Raises
    ------
    AssertionError
        The message says which check failed, what was found and what is needed.
    ValueError
        If `skip` has a name that is not that of a check.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import pursuit
    >>> pursuit.testing.check_solver(pursuit.omp)
    >>> def half(A, y, k):
    ...     sol = pursuit.omp(A, y, k)
    ...     return replace(sol, coefficients=sol.coefficients / 2)
    >>> pursuit.testing.check_solver(half)
    Traceback (most recent call last):
    AssertionError: check "residual" of half: residual_norm is 0.464 where ||y - A x|| is 1.74; needed is that of x.
    """
    unknown = set(skip) - CHECKS.keys()
    if unknown:
        raise ValueError(f"skip has {', '.join(sorted(unknown))}; the checks are {', '.join(CHECKS)}.")
    run = _Run(by_name(solver), options)
    for name, check in CHECKS.items():
        if name in skip:
            continue
        try:
            check(run)
        except AssertionError as error:
            raise AssertionError(f'check "{name}" of {name_of(solver)}: {error}') from error.__cause__


@dataclass(frozen=True)
class _Run:
    """The solver with the options of every call; any exception is a failure."""

    solver: Callable[..., Solution[Any]]
    options: dict[str, Any]

    def takes(self, name: str) -> bool:
        """Whether the solver has this parameter, and it is not among the options of every call."""
        return name in inspect.signature(self.solver).parameters and name not in self.options

    def given(self, A: Any, y: Any, k: Any, **more: Any) -> Solution[Any]:
        size = {"k": k} if self.takes("k") else {}
        return self.solver(A, y, **(size | self.options | more))

    def __call__(self, A: Any, y: Any, k: Any = K, **more: Any) -> Solution[Any]:
        try:
            found = self.given(A, y, k, **more)
        except Exception as error:
            what = f"y of shape {tuple(y.shape)} and dtype {y.dtype}" + "".join(f", {name}" for name in more)
            raise AssertionError(f"with {what} it raised {error!r}; needed is a solution.") from error
        _need(isinstance(found, Solution), f"it returned a {type(found).__name__}", "a pursuit.Solution")
        return found


def _need(holds: bool | Tensor | np.bool_, found: str, needed: str) -> None:
    if not bool(holds):
        raise AssertionError(f"{found}; needed is {needed}.")


def _drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Gaussian numbers, the same in single and double precision up to rounding."""
    wide = torch.complex128 if dtype.is_complex else torch.float64
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=wide).to(dtype)


def _matrix(dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Columns with norms from 1/2 to 2."""
    A = _drawn(M, N, dtype=dtype, seed=seed)
    return A / torch.linalg.vector_norm(A, dim=0) * torch.logspace(-1, 1, N, base=2, dtype=A.real.dtype)


def _signals(batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> Tensor:
    """Signals with K non-zeros of size 1 to 2, at different places."""
    size = 1 + _drawn(*batch, N, seed=1).sigmoid()
    turn = _drawn(*batch, N, dtype=dtype, seed=2)
    places = _drawn(*batch, N, seed=3).argsort(-1) < K
    return (places * size).to(dtype) * turn / turn.abs()


def _easy(
    batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64, noise: float = 0.05
) -> tuple[Tensor, Tensor]:
    """A matrix, and measurements of sparse signals with a little noise."""
    A = _matrix(dtype)
    return A, _signals(batch, dtype) @ A.mT + noise * _drawn(*batch, M, dtype=dtype, seed=4)


def _same(found: Tensor, wanted: Tensor, what: str, needed: str) -> None:
    """Raise unless both are equal up to rounding."""
    size = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
    off = float((found - wanted).abs().max()) if wanted.numel() else 0.0
    _need(off <= NEAR[wanted.real.dtype] * size, f"{what} differs by {off:.3g}", needed)


def _parts(sol: Solution[Any]) -> Iterator[tuple[str, Any]]:
    return (
        (name, getattr(sol, name)) for name in ("x", *(f.name for f in fields(sol) if f.name not in ("n", "names")))
    )


def _arrays(run: _Run) -> None:
    A, y = _easy((3,))
    for given, kind in ((lambda v: v, Tensor), (lambda v: v.numpy(), np.ndarray)):
        for name, value in _parts(run(given(A), given(y))):
            found = f"{name} is a {type(value).__name__} where y is a {kind.__name__}"
            _need(isinstance(value, kind), found, "NumPy for NumPy and torch for torch")


def _shapes(run: _Run) -> None:
    for batch in BATCHES:
        A, y = _easy(batch)
        sol = run(A, y)
        for name, value in _parts(sol):
            size = (K,) if run.takes("k") else tuple(value.shape[-1:])
            wide = {"x": (N,), "support": size, "coefficients": size}
            needed = (*batch, *wide.get(name, ()))
            found = f"{name} has shape {tuple(value.shape)} where y has shape {tuple(y.shape)} and k is {K}"
            _need(tuple(value.shape) == needed, found, f"{needed}")
    A, y = torch.stack([_matrix(seed=seed) for seed in (0, 5)]), _easy((2,))[1]
    found_shape = tuple(run(A, y).x.shape)
    _need(found_shape == (2, N), f"x has shape {found_shape} where A has shape {tuple(A.shape)}", f"{(2, N)}")


def _dtypes(run: _Run) -> None:
    for dtype in DTYPES:
        A, y = _easy((2,), dtype)
        real = A.real.dtype
        wanted = {"x": dtype, "coefficients": dtype, "residual_norm": real, "compiled": torch.bool}
        wanted |= dict.fromkeys(("support", "steps", "status"), torch.int64)
        sol = run(A, y)
        for name, value in _parts(sol):
            _need(value.dtype == wanted[name], f"{name} is {value.dtype} where y is {dtype}", f"{wanted[name]}")
        for name in ("x", "residual_norm"):
            _need(getattr(sol, name).isfinite().all(), f"{name} is not finite where y is {dtype}", "finite numbers")


def _unchanged(run: _Run) -> None:
    A, y = _easy((3,))
    before = A.clone(), y.clone()
    run(A, y)
    _need(torch.equal(A, before[0]) and torch.equal(y, before[1]), "A or y was written to", "to leave them as they are")


def _support(run: _Run) -> None:
    A, y = _easy((4,))
    for k in (1, K, 8):
        for support in run(A, y, k).support.tolist():
            atoms = [j for j in support if j >= 0]
            _need(all(-1 <= j < N for j in support), f"support is {support}", f"column numbers below n={N}, and -1")
            _need(len(set(atoms)) == len(atoms), f"support is {support}, with repeats", "every column once")
            _need(support[: len(atoms)] == atoms, f"support is {support}", "-1 only at the end")


def _off_the_support(run: _Run) -> None:
    for dtype in (torch.float64, torch.complex128):
        A, y = _easy((4,), dtype)
        sol = run(A, y)
        mask = torch.zeros(4, N + 1, dtype=torch.bool).scatter(-1, sol.support % (N + 1), True)[:, :N]
        off = int((sol.x[~mask] != 0).sum())
        _need(not off, f"x has {off} non-zeros off the support", "none")


def _residual(run: _Run) -> None:
    for dtype in DTYPES:
        A, y = _easy((4,), dtype, noise=0.1)
        sol = run(A, y)
        norm = torch.linalg.vector_norm(y - sol.x @ A.mT, dim=-1)
        wrong = (sol.residual_norm - norm).abs() > NEAR[A.real.dtype] * torch.linalg.vector_norm(y, dim=-1)
        i = int(wrong.long().argmax())
        found = f"residual_norm is {float(sol.residual_norm[i]):.3g} where ||y - A x|| is {float(norm[i]):.3g}"
        if wrong.any():
            raise AssertionError(f"{found}; needed is that of x.")


def _status(run: _Run) -> None:
    A, y = _easy((4,))
    sol = run(A, y)
    codes = sol.status.tolist()
    valid = {int(status) for status in Status} - {int(Status.RUNNING)}
    _need(set(codes) <= valid, f"status is {codes}", "codes of pursuit.Status, and none RUNNING")
    _need((sol.steps >= 0).all(), f"steps are {sol.steps.tolist()}", "how many were taken")
    ok = all(Status(code).ok for code in codes)
    try:
        sol.check()
    except RecoveryError as error:
        _need(not ok, f"check() raised {error!r} where status is {codes}", "no error")
    else:
        _need(ok, f"check() raised nothing where status is {codes}", "a RecoveryError")


def _zero(run: _Run) -> None:
    A, y = _easy((3,))
    y[1] = 0
    for given, sol in (("one of the signals", run(A, y)), ("y", run(A, torch.zeros_like(y)))):
        x, status = (sol.x[1], int(sol.status[1])) if given != "y" else (sol.x, int(sol.status[0]))
        _need(not x.any(), f"x is not zero where {given} is zero", "x = 0")
        name = Status(status).name if status in [*Status] else str(status)
        _need(
            name in Status.__members__ and Status[name].ok, f"status is {name} where {given} is zero", "one that is ok"
        )


def _scale(run: _Run) -> None:
    A, y = _easy((4,), noise=0.1)
    plain = run(A, y)
    for c in (1e-4, -1.0, 1e4):
        _same(run(A, c * y).x / c, plain.x, f"x / c for {c:g} y", "x for y: no threshold may have a size of its own")


def _column_norms(run: _Run) -> None:
    A, y = _easy((4,), noise=0.1)
    d = 10 ** (4 * torch.rand(N, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 2)
    plain, scaled = run(A, y), run(A * d, y)
    sets = [[{*support} for support in sol.support.tolist()] for sol in (plain, scaled)]
    needed = "the same support, and the coefficients divided by the factors: divide scores by the column norms"
    _need(sets[0] == sets[1], "other columns are chosen where columns are multiplied by factors", needed)
    _same(d * scaled.x, plain.x, "x, for columns multiplied by factors and times these,", needed)


def _alone(run: _Run) -> None:
    A, y = _easy((4,), noise=0.1)
    y = y * torch.logspace(-2, 2, 4, dtype=torch.float64).unsqueeze(-1)
    matrices = torch.stack([A, *(_matrix(seed=seed) for seed in (5, 6, 7))])
    for given, what in ((A, ""), (matrices, ", with a matrix each")):
        together = run(given, y)
        for i in range(4):
            alone = run(given[i] if given.ndim == 3 else given, y[i])
            size = torch.linalg.vector_norm(y[i])
            _same(together.x[i] / size, alone.x / size, f"x of signal {i} of a batch{what}", "that of the signal alone")


def _k_each(run: _Run) -> None:
    if not run.takes("k"):
        return
    A, y = _easy((3,), noise=0.1)
    ks = [1, 5, 3]
    together = run(A, y, torch.tensor(ks))
    shape = tuple(together.support.shape)
    _need(shape == (3, 5), f"support has shape {shape} where k is {ks}", f"{(3, 5)}, the largest k wide")
    for i, k in enumerate(ks):
        _same(together.x[i], run(A, y[i], k).x, f"x of signal {i} where k is {ks}", "that of the signal alone")


def _operators(run: _Run) -> None:
    op = SubsampledFourier(torch.randperm(N, generator=torch.Generator().manual_seed(0))[:M].sort().values, N)
    y = op.forward(_signals((3,), torch.complex128)) + 0.05 * _drawn(3, M, dtype=torch.complex128, seed=4)
    _same(run(op, y).x, run(op.to_dense(), y).x, "x of a SubsampledFourier", "that of its matrix")


def _weights(run: _Run) -> None:
    if not run.takes("weights"):
        return
    A, y = _easy((4,))
    x = _signals((4,))
    for weights in ((x == 0).to(A), (x[0] == 0).to(A)):  # the true columns are forbidden, to each signal or to all
        sol = run(A, y, weights=weights)
        chosen = weights.expand(4, N).gather(-1, sol.support.clamp(min=0)) == 0
        wrong = bool((chosen & (sol.support >= 0)).any()) or bool(sol.x[weights.expand(4, N) == 0].any())
        _need(not wrong, f"a column of weight 0 is chosen, with weights of shape {tuple(weights.shape)}", "never")


def _tol(run: _Run) -> None:
    if not run.takes("tol"):
        return
    A, y = _easy((4,), noise=0.0)
    tol = torch.tensor([0.2, 0.5, 0.8, 0.9], dtype=torch.float64)
    sol = run(A, 7 * y, 8, tol=tol)
    target = tol * torch.linalg.vector_norm(7 * y, dim=-1)
    needed = "||r|| <= tol ||y|| and TOLERANCE: A x can be y exactly here"
    _need((sol.residual_norm <= target).all(), f"the residual is above tol ||y|| where tol is {tol.tolist()}", needed)
    status = [Status(code).name for code in sol.status.tolist()]
    _need({*status} == {"TOLERANCE"}, f"status is {status} where tol is {tol.tolist()}", needed)
    tight, loose = (run(A, y, 8, tol=level).steps for level in (0.1, 0.9))
    fewer = bool((loose <= tight).all()) and (int(loose.sum()) < int(tight.sum()) or bool((tight <= 1).all()))
    found = f"steps are {loose.tolist()} where tol is 0.9 and {tight.tolist()} where it is 0.1"
    _need(fewer, found, "fewer where it is larger")


def _max_steps(run: _Run) -> None:
    if not run.takes("max_steps"):
        return
    A, y = _easy((4,), noise=0.1)
    for most in (0, 1, 2):
        sol = run(A, y, max_steps=most)
        _need((sol.steps <= most).all(), f"steps are {sol.steps.tolist()} where max_steps is {most}", "at most so many")
        _need(sol.x.isfinite().all(), f"x is not finite where max_steps is {most}", "finite numbers")


def _warm(run: _Run) -> None:
    if not run.takes("x0"):
        return
    A, y = _easy((3,), noise=0.0)
    x = _signals((3,))
    _same(run(A, y, x0=x).x, x, "x from x0 at the exact answer", "that answer")


def _deterministic(run: _Run) -> None:
    A, y = _easy((4,), noise=0.1)
    one, two = run(A, y), run(A, y)
    for (name, a), (_, b) in zip(_parts(one), _parts(two), strict=True):
        _need(torch.equal(a, b), f"{name} is another the second time", "the same to the last bit")


def _bad(run: _Run) -> None:
    A, y = _easy((2,))
    nan = torch.tensor(torch.nan)
    cases: dict[str, tuple[Tensor, Tensor, Any, dict[str, Any]]] = {
        "y with NaN": (A, y.index_fill(-1, torch.tensor([2]), torch.nan), K, {}),
        "A with NaN": (A.where(torch.arange(N) != 3, nan), y, K, {}),
        "y of another length": (A, y[:, :-1], K, {}),
        "A of another length": (A[:-1], y, K, {}),
    }
    if run.takes("k"):
        sizes = {
            "k of -1": -1,
            f"k of {M + 1}, more than m={M}": M + 1,
            "k of 2.5": 2.5,
            "k for another batch": [1, 2, 3],
        }
        cases |= {name: (A, y, k, {}) for name, k in sizes.items()}
    options: dict[str, dict[str, Any]] = {
        "weights": {"weights below 0": -torch.ones(N, dtype=A.dtype), "too few weights": torch.ones(M, dtype=A.dtype)},
        "tol": {"tol below 0": -0.1, "tol of NaN": torch.nan, "tol of 1": 1.0},
        "max_steps": {"max_steps below 0": -1},
        "x0": {"x0 of another length": torch.zeros(M, dtype=A.dtype)},
    }
    for option, values in options.items():
        if run.takes(option):
            cases |= {name: (A, y, K, {option: value}) for name, value in values.items()}
    for name, (matrix, measured, k, more) in cases.items():
        _need_refused(run, name, matrix, measured, k, more)


def _need_refused(run: _Run, name: str, A: Any, y: Any, k: Any, more: dict[str, Any]) -> None:
    needed = "a ValueError or TypeError before any work"
    seen: list[Any] = []
    hook = {"on_step": seen.append} if run.takes("on_step") else {}
    try:
        run.given(A, y, k, **more, **hook)
    except (ValueError, TypeError):
        _need(not seen, f"{name} was refused after {len(seen)} steps", needed)
    except Exception as error:
        raise AssertionError(f"{name} raised {error!r}; needed is {needed}.") from error
    else:
        raise AssertionError(f"{name} gave a solution; needed is {needed}.")


CHECKS: dict[str, Callable[[_Run], None]] = {
    "arrays": _arrays,
    "shapes": _shapes,
    "dtypes": _dtypes,
    "inputs unchanged": _unchanged,
    "support": _support,
    "zero off the support": _off_the_support,
    "residual": _residual,
    "status": _status,
    "zero y": _zero,
    "scale of y": _scale,
    "column norms": _column_norms,
    "alone and in a batch": _alone,
    "k per signal": _k_each,
    "operators": _operators,
    "weights": _weights,
    "tol": _tol,
    "max_steps": _max_steps,
    "warm start": _warm,
    "deterministic": _deterministic,
    "bad input": _bad,
}
