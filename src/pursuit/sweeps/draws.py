"""What the trials of a sweep are drawn from: a matrix A, signals x and noise e of `y = A x + e`.

A matrix is drawn anew for every trial by a named law or by a function of the user's, or is one for all trials: read
from a file, returned by a function without arguments, or the blur of a deconvolution.

This module imports torch only when it draws, or reads a matrix.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..files import kind_of
from ..files.spec import short
from .sources import source_digest


class Law(NamedTuple):
    """A named law: how it draws numbers of a shape, and the number that it takes, as in `correlated=0.9`."""

    draw: Callable[..., np.ndarray]  # (rng, shape, cplx) or (rng, shape, cplx, number)
    number: float | None = None  # its usual value
    below: float = 1.0  # what the number must be below; it is above 0


class Trials(NamedTuple):
    """Matrices and signals.

    `A` is an array `(trials, m, n)` or one operator for all; the signals `x (trials, n)` have their non-zeros at
    `support (trials, k)`.
    """

    A: Any
    x: np.ndarray
    support: np.ndarray


@dataclass(frozen=True)
class Problem:
    """What is drawn.

    Attributes
    ----------
    A : str
        A law of `MATRICES`, as `rademacher` or `correlated=0.9`; a file; or `module:function`.
    x : str
        A law of `SIGNALS`, or `module:function`.
    complex : bool, optional
        Whether signals are complex, and matrices that a law draws. Default: signals are what the matrix is.
    own : str
        A digest of the user's file and functions; empty if there are none.

    Examples
    --------
    >>> Problem(A="rademacher").x
    'gaussian'
    """

    A: str = "gaussian"
    x: str = "gaussian"
    complex: bool | None = None
    own: str = ""

    def __post_init__(self) -> None:
        for name, kinds in {"A": str, "x": str, "complex": bool | None, "own": str}.items():
            if not isinstance(getattr(self, name), kinds):
                raise TypeError(f"{name} is {getattr(self, name)!r}; needed is {_NEEDED.get(name, 'text')}.")
        law_of("A", self.A, MATRICES)
        if law_of("x", self.x, SIGNALS) is None and ":" not in self.x:
            raise ValueError(f"x is {self.x!r}; needed is {_NEEDED['x']}.")

    def __str__(self) -> str:
        return self.in_words()

    def in_words(self, shape: tuple[int, int] | None = None) -> str:
        """In a few words: of a file its name without folders, and the shape of its matrix."""
        A = f"A {self.A}"
        if _is_file(self.A):
            A = short(self.A) + ("" if shape is None else f" ({shape[0]} x {shape[1]})")
        return f"{A}, { ({True: 'complex ', False: 'real ', None: ''}[self.complex]) }x {self.x}"

    def facts(self) -> dict[str, Any]:
        """What makes two problems the same; a file may have been moved, its numbers are in the digest."""
        A = Path(self.A).name if _is_file(self.A) else self.A
        own = {"code or numbers of A and x": self.own} if self.own else {}
        return {"A": A, "x": self.x, "complex": self.complex, **own}


def problem_of(A: str = "gaussian", x: str = "gaussian", cplx: bool | None = None) -> Problem:
    """The problem with its digest; the paths of files are absolute, as other processes may run elsewhere.

    Raises
    ------
    ValueError, TypeError
        If there is no such law, file or function.
    """
    problem = Problem(A, x, cplx)
    if _is_function("x", x):
        _signals_by(x)
    if _is_function("A", A):
        _draws(A)
    if _is_file(A) and kind_of(A) == "other":
        raise ValueError(f"A is {A!r}; needed is {_NEEDED['A']}.")
    A = os.path.abspath(A) if _is_file(A) else _with_number("A", A, MATRICES)
    problem = Problem(A, _with_number("x", x, SIGNALS), cplx)
    return replace(problem, own=digest(problem))


def fixed_shape(problem: Problem, n: int) -> tuple[int, int] | None:
    """The shape of the one matrix for all trials; None if matrices of any shape are drawn."""
    law = law_of("A", problem.A, MATRICES)
    if law is not None:
        return (n, n) if problem.A.partition("=")[0] == DECONVOLUTION else None
    if _is_function("A", problem.A) and _draws(problem.A):
        return None
    return (*_one_for_all(problem.A).shape,)


def digest(problem: Problem) -> str:
    """A digest of the numbers in the user's file and of the source text of the user's functions."""
    parts = []
    if _is_file(problem.A):
        parts.append(_numbers_digest(problem.A, _stamp(problem.A)))
    for name, text in (("A", problem.A), ("x", problem.x)):
        if _is_function(name, text):
            parts.append(source_digest(text.partition(":")[0]))
    return "-".join(parts)


def draw(problem: Problem, rng: np.random.Generator, *, n: int, m: int, k: int, count: int) -> Trials:
    """So many trials, or one if its matrix is an operator that was drawn for it.

    Raises
    ------
    ValueError, TypeError
        If a function of the user's returns something else than it should.
    """
    A = _matrices(problem, rng, n, m, count)
    if isinstance(A, _Single):
        A, count = A.operator, 1
    cplx = _is_complex(A) if problem.complex is None else problem.complex
    if _is_function("x", problem.x):
        x = _called("x", problem.x, _signals_by(problem.x), rng=rng, count=count, n=n, k=k)
        return Trials(A, *_checked_signals(problem.x, x, count, n, k))
    support = rng.random((count, n)).argsort(axis=1)[:, :k]
    values = _drawn("x", problem.x, SIGNALS, rng, (count, k), cplx)
    x = np.zeros((count, n), dtype=values.dtype)
    np.put_along_axis(x, support, values, axis=1)
    return Trials(A, x, support)


def measure(trials: Trials) -> tuple[Any, Any]:
    """The matrices as a tensor, or the operator, and the measurements `y = A x` as a tensor."""
    import torch

    from ..operators.adapters import as_operator

    x = torch.from_numpy(trials.x)
    if isinstance(trials.A, np.ndarray):
        A = torch.from_numpy(trials.A)
        wide = torch.promote_types(A.dtype, x.dtype)
        return A, (A.to(wide) @ x.to(wide).unsqueeze(-1)).squeeze(-1)
    op = as_operator(trials.A)
    return op, op @ x.to(op.dtype.to_complex() if x.is_complex() else op.dtype.to_real())


def check_draws(problem: Problem, *, n: int, m: int, k: int) -> None:
    """Draw one trial of the user's matrix and functions, twice with the same random numbers.

    Raises
    ------
    ValueError, TypeError
        If they are something else than they should be, or not the same: every process must draw the same trials.
    """
    given = {"A": problem.A, "x": problem.x}
    functions = [f"{name} is {text}" for name, text in given.items() if _is_function(name, text)]
    if not functions and not _is_file(problem.A):
        return
    drawn = []
    for _ in range(2):
        _returned.cache_clear()
        trials = draw(problem, np.random.default_rng(0), n=n, m=m, k=k, count=1)
        A, y = measure(trials)
        if not isinstance(trials.A, np.ndarray) and not (A.normalised().scale != 0).any():
            raise ValueError(f"A is {problem.A}, all of whose columns are zero.")
        drawn.append((trials.x, y.numpy()))
    if not all(np.allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(a).max()) for a, b in zip(*drawn, strict=True)):
        raise ValueError(
            f"{' and '.join(functions)}: two calls returned different numbers; needed are the same in every process: "
            "draw from the function's rng, or from np.random.default_rng(0) where it has none."
        )


def law_of(name: str, text: str, laws: dict[str, Law]) -> tuple[Law, tuple[float, ...]] | None:
    """The law of this name, and its number; None if it is a file or a function.

    Raises
    ------
    ValueError
        If the number is none for this law.
    """
    word, equals, given = text.partition("=")
    if word not in laws:
        return None
    law = laws[word]
    if law.number is None:
        if equals:
            raise ValueError(f"{name} is {text!r}; {word} takes no number: leave out ={given}.")
        return law, ()
    try:
        number = float(given) if equals else law.number
    except ValueError:
        number = -1.0
    if not 0 < number < law.below:
        raise ValueError(
            f"{name} is {text!r}; needed is a number above 0 and below {law.below:g}: {word}={law.number}."
        )
    return law, (number,)


def _with_number(name: str, text: str, laws: dict[str, Law]) -> str:
    """The law with its number, as it is stored: `correlated=0.9` of `correlated`."""
    found = law_of(name, text, laws)
    if found is None or not found[1]:
        return text
    return f"{text.partition('=')[0]}={found[1][0]!r}".removesuffix(".0")


class _Single(NamedTuple):
    """An operator that was drawn for one trial."""

    operator: Any


def _matrices(problem: Problem, rng: np.random.Generator, n: int, m: int, count: int) -> Any:
    if problem.A.partition("=")[0] == DECONVOLUTION:
        return _blur(problem.A, n)
    if law_of("A", problem.A, MATRICES) is not None:
        A = _drawn("A", problem.A, MATRICES, rng, (count, m, n), bool(problem.complex))
        norms = np.linalg.norm(A, axis=1, keepdims=True)
        A /= np.where(norms == 0, 1, norms)
        return A
    if not (_is_function("A", problem.A) and _draws(problem.A)):
        return _one_for_all(problem.A)
    first = _made(problem.A, m=m, n=n, rng=rng)
    if not hasattr(first, "matrix"):
        return _Single(first)
    rest = [_made(problem.A, m=m, n=n, rng=rng) for _ in range(count - 1)]
    return np.stack([one.matrix.numpy() for one in (first, *rest)])


def _drawn(
    name: str, text: str, laws: dict[str, Law], rng: np.random.Generator, shape: Sequence[int], cplx: bool
) -> np.ndarray:
    found = law_of(name, text, laws)
    assert found is not None
    law, numbers = found
    return law.draw(rng, shape, cplx, *numbers)


def _gaussian(rng: np.random.Generator, shape: Sequence[int], cplx: bool) -> np.ndarray:
    if not cplx:
        return rng.standard_normal(shape)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)


def _rademacher(rng: np.random.Generator, shape: Sequence[int], cplx: bool) -> np.ndarray:
    """Signs; of complex numbers, phases."""
    uniform = rng.random(shape)
    return np.exp(2j * np.pi * uniform) if cplx else np.where(uniform < 0.5, -1.0, 1.0)


def _bernoulli(rng: np.random.Generator, shape: Sequence[int], cplx: bool, share: float) -> np.ndarray:
    """Zeros and ones; a column without a one gets one, for a column of zeros could not be found."""
    ones = rng.random(shape) < share
    rows = rng.integers(shape[1], size=(shape[0], 1, shape[2]))
    lacking = ~ones.any(axis=1, keepdims=True)
    np.put_along_axis(ones, rows, np.take_along_axis(ones, rows, axis=1) | lacking, axis=1)
    return ones.astype(float)


def _fourier(rng: np.random.Generator, shape: Sequence[int], cplx: bool) -> np.ndarray:
    """Rows of the discrete Fourier transform, drawn without repetition."""
    count, m, n = shape
    rows = rng.random((count, n)).argsort(axis=1)[:, :m]
    return np.exp(-2j * np.pi * (rows[..., None] * np.arange(n) % n) / n)


def _correlated(rng: np.random.Generator, shape: Sequence[int], cplx: bool, correlation: float) -> np.ndarray:
    """Gaussian columns, with correlation `correlation^|i - j|` between the entries of columns i and j."""
    A = _gaussian(rng, shape, cplx)
    for j in range(1, shape[-1]):
        A[..., j] = correlation * A[..., j - 1] + np.sqrt(1 - correlation**2) * A[..., j]
    return A


def _uniform(rng: np.random.Generator, shape: Sequence[int], cplx: bool) -> np.ndarray:
    """Sizes between 1 and 2, with random signs or phases."""
    return rng.uniform(1, 2, shape) * _rademacher(rng, shape, cplx)


def _decaying(rng: np.random.Generator, shape: Sequence[int], cplx: bool, ratio: float) -> np.ndarray:
    """Sizes 1, ratio, ratio^2, ..., with random signs or phases."""
    return ratio ** np.arange(shape[-1]) * _rademacher(rng, shape, cplx)


def _no_entries(*_: Any) -> np.ndarray:
    raise AssertionError("a blur is an operator, which has no entries that are drawn")


DECONVOLUTION = "deconvolution"
MATRICES = {
    "gaussian": Law(_gaussian), "rademacher": Law(_rademacher), "bernoulli": Law(_bernoulli, 0.5),
    "correlated": Law(_correlated, 0.9), "fourier": Law(_fourier), DECONVOLUTION: Law(_no_entries, 3.0, 1e6),
}  # fmt: skip
SIGNALS = {
    "gaussian": Law(_gaussian), "rademacher": Law(_rademacher), "uniform": Law(_uniform),
    "decaying": Law(_decaying, 0.8),
}  # fmt: skip
_NEEDED = {
    "A": f"one of {', '.join(MATRICES)}, a file, or module:function",
    "x": f"one of {', '.join(SIGNALS)}, or module:function",
    "complex": "True, False, or None for signals that are what the matrix is",
}


@functools.cache
def _blur(text: str, n: int) -> Any:
    """The deconvolution's operator, with the width of its kernel in samples."""
    from ..problems import gaussian_blur

    found = law_of("A", text, MATRICES)
    assert found is not None
    (sigma,) = found[1]
    return gaussian_blur(n, sigma)


def _is_file(A: str) -> bool:
    return law_of("A", A, MATRICES) is None and (":" not in A or kind_of(A) != "other")


def _is_function(name: str, text: str) -> bool:
    laws = MATRICES if name == "A" else SIGNALS
    return law_of(name, text, laws) is None and not (name == "A" and _is_file(text))


def _one_for_all(A: str) -> Any:
    """The operator that is the same for all trials."""
    return _read(A, _stamp(A)) if _is_file(A) else _returned(A)


def _stamp(file: str) -> tuple[int, int] | None:
    """Changes when the file does."""
    from ..files.spec import parse

    path = parse(file).path
    if not path.exists():
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=4)
def _read(file: str, stamp: tuple[int, int] | None) -> Any:
    """The operator whose matrix is in a file."""
    from ..operators.adapters import as_operator

    return _in_double(as_operator(_array(file)))


@functools.lru_cache(maxsize=4)
def _numbers_digest(file: str, stamp: tuple[int, int] | None) -> str:
    array = _array(file)
    parts = [array.data, array.indices, array.indptr] if hasattr(array, "tocsr") else [array]
    found = hashlib.sha256(repr((array.shape, str(array.dtype))).encode())
    for part in parts:
        found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()[:16]


def _array(file: str) -> Any:
    """The matrix in a file, as NumPy's or SciPy's."""
    from ..files import as_vector, only, readings

    found = readings(file)
    try:
        array = as_vector(only(file, found))
    except ValueError:
        raise ValueError(
            f"{file}: can be read in {len(found)} ways; write the matrix to a .npy file and give that."
        ) from None
    if array.ndim != 2:
        raise ValueError(f"{file}: holds an array of shape {array.shape}; needed is a matrix (m, n).")
    return array


@functools.cache
def _returned(place: str) -> Any:
    """The operator that a function without arguments returns."""
    return _operator(place, _called("A", place, _function("A", place)))


def _made(place: str, **sizes: Any) -> Any:
    """The operator that a function returns for one trial."""
    made = _operator(place, _called("A", place, _function("A", place), **sizes))
    wanted = sizes["m"], sizes["n"]
    if tuple(made.shape) != wanted:
        raise ValueError(f"A is {place}, which returned an A of shape {tuple(made.shape)}; needed is {wanted}, (m, n).")
    return made


def _operator(place: str, returned: Any) -> Any:
    from ..operators.adapters import as_operator

    try:
        op = as_operator(returned)
    except TypeError:
        raise TypeError(
            f"A is {place}, which returned a {type(returned).__name__}; needed is a matrix or an operator."
        ) from None
    if op.batch_shape:
        raise ValueError(f"A is {place}, which returned {tuple(op.batch_shape)} matrices; needed is one.")
    return _in_double(op)


def _in_double(op: Any) -> Any:
    """In double precision, as all other trials are; an operator that has single precision only keeps it."""
    try:
        return op.in_double()
    except TypeError:
        return op


@functools.cache
def _draws(place: str) -> bool:
    """Whether the function for A is called for every trial, with m, n and rng."""
    function = _function("A", place)
    for draws, arguments in ((True, {"m": 1, "n": 1, "rng": None}), (False, {})):
        try:
            inspect.signature(function).bind(**arguments)
        except TypeError:
            continue
        return draws
    raise TypeError(
        f"A is {place}{inspect.signature(function)}; needed is a function without arguments, which returns one matrix "
        "or operator for all trials, or a function (m, n, rng), which returns one for a trial."
    )


def _signals_by(place: str) -> Callable[..., Any]:
    function = _function("x", place)
    try:
        inspect.signature(function).bind(rng=None, count=1, n=1, k=1)
    except TypeError:
        raise TypeError(
            f"x is {place}{inspect.signature(function)}; needed is a function (rng, count, n, k), which returns "
            "signals (count, n) with k non-zeros each."
        ) from None
    return function


def _called(name: str, place: str, function: Callable[..., Any], **arguments: Any) -> Any:
    """What a function of the user's returns; its errors say whose they are."""
    try:
        return function(**arguments)
    except Exception as error:
        raise ValueError(f"{name} is {place}, and a call of it ended with {error!r}; mend the function.") from error


def _function(name: str, place: str) -> Callable[..., Any]:
    from ..solvers.by_name import imported

    return imported(place, name)


def _checked_signals(place: str, x: Any, count: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(x)
    if x.shape != (count, n) or x.dtype.kind not in "biufc":
        raise ValueError(
            f"x is {place}, which returned an array of shape {x.shape} and dtype {x.dtype}; needed are numbers of "
            f"shape {(count, n)}, (count, n)."
        )
    x = x.astype(complex if x.dtype.kind == "c" else float)
    there = np.count_nonzero(x, axis=1)
    if (there != k).any() or not np.isfinite(x).all():
        raise ValueError(
            f"x is {place}, which returned signals with {there.min()} to {there.max()} non-zeros; needed are {k} in "
            "each, all finite."
        )
    return x, np.nonzero(x)[1].reshape(count, k)


def _is_complex(A: Any) -> bool:
    return bool(np.iscomplexobj(A)) if isinstance(A, np.ndarray) else bool(A.dtype.is_complex)
