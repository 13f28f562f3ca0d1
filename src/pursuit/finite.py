"""Signals that are given, as an ensemble: checked, and split into those for training, validation and test."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .arrays import as_tensor, check_alike, check_columns, column_names, index_of
from .checks import finite, whole_number
from .core.layout import Reading, readings, unwrapped, words
from .labels import Asked, check_same
from .operators import Dense, Operator
from .operators.adapters import as_operator
from .problems import Instance

SHARE, MOST = 0.1, 2000  # of all signals, and how many at most, that are kept for validation, and as many for test
CHECKED = 1024  # signals for which A x is compared with y


class Split(NamedTuple):
    """Signals for training, validation and test; no measurement is in two of them.

    Attributes
    ----------
    train, validation, test : FiniteEnsemble
    """

    train: FiniteEnsemble
    validation: FiniteEnsemble
    test: FiniteEnsemble


@dataclass(frozen=True, eq=False)
class FiniteEnsemble:
    """Given signals and their measurements; `from_arrays` makes one.

    Attributes
    ----------
    name : str
    A : Operator or None
    y : Tensor (count, m)
    x : Tensor (count, n)
    k : int
        Sparsity at which solvers are compared on these signals.
    settings : dict
        The number of signals, a digest of them, and the seed.
    seed : int
        Of the split.

    Examples
    --------
    >>> import torch
    >>> ensemble = from_arrays(torch.eye(30), torch.eye(30))
    >>> y, x = ensemble.draw(7, torch.Generator().manual_seed(0))
    >>> y.shape, len(ensemble)
    (torch.Size([7, 30]), 30)
    """

    name: str
    A: Operator | None
    y: Tensor
    x: Tensor
    k: int
    settings: dict[str, Any]
    seed: int = 0
    admissible: None = None  # places are what they are

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, int]:
        """`(m, n)`."""
        return self.y.shape[-1], self.x.shape[-1]

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """So many different signals at random, or all if there are no more: `y (count, m)` and `x (count, n)`."""
        if count < 1:
            raise ValueError(f"{count} signals were asked for; needed is at least 1.")
        if count >= len(self):
            return self.y, self.x
        chosen = torch.randperm(len(self), generator=rng, device=rng.device)[:count].to(self.y.device)
        return self.y[chosen], self.x[chosen]

    def instance(self, signals: int | None = None, *, seed: int = 0) -> Instance:
        """Signals to compare solvers on; all of them by default.

        Raises
        ------
        ValueError
            If the ensemble was made without `A`.
        """
        if self.A is None:
            raise ValueError("the ensemble was made without A, which solvers need; pass from_arrays(Y, X, A).")
        y, x = self.draw(signals or len(self), torch.Generator(self.y.device).manual_seed(seed))
        return Instance(self.name, self.A, y, self.k, x, {**self.settings, "signals": len(y), "signals_seed": seed})

    @property
    def duplicates(self) -> int:
        """How many rows of `y` are equal to an earlier one."""
        return len(self) - len(_copies(self.y)[1])

    def split(self, n_train: int | None = None, n_validation: int | None = None, n_test: int | None = None) -> Split:
        """The signals for training, validation and test, at random; equal rows of `y` are always in the same part.

        A part has fewer signals than asked for where the next ones are copies that do not all fit in.

        Parameters
        ----------
        n_train, n_validation, n_test : int, optional
            If there are not so many signals, each part gets its share of those that there are, and a warning says so.
            Default: a tenth for validation and a tenth for test, at most 2000 each, and the others for training.

        Raises
        ------
        ValueError
            If a number is no whole number > 0, or there are fewer than three different measurements.

        Examples
        --------
        >>> import torch
        >>> x = torch.eye(50)
        >>> train, validation, test = from_arrays(x, x).split()
        >>> len(train), len(validation), len(test)
        (40, 5, 5)
        """
        count, (group, sizes) = len(self), _copies(self.y)
        if len(sizes) < 3:
            raise ValueError(
                f"Y has {count} rows of which {len(sizes)} are different; needed are at least 3: for training, "
                "validation and test."
            )
        wanted = _counts(count, {"n_train": n_train, "n_validation": n_validation, "n_test": n_test})
        order = np.random.default_rng(self.seed).permutation(len(sizes))
        ends, parts, first = np.cumsum(sizes[order]), [], 0
        for name in ("n_test", "n_validation", "n_train"):  # so that more for training does not change the others
            begin = ends[first - 1] if first else 0
            rest = name == "n_train" and n_train is None
            last = len(order) if rest else int(np.searchsorted(ends, begin + wanted[name], side="right"))
            if last == first:
                raise ValueError(
                    f"{name} is {wanted[name]}, and Y has a row {sizes[order[first]]} times, which are kept together; "
                    "needed is a larger number, or Y without copies."
                )
            parts.append(order[first:last])
            first = last
        test, validation, train = (self._only(np.flatnonzero(np.isin(group, part))) for part in parts)
        return Split(train, validation, test)

    def to(self, device: torch.device, real: torch.dtype) -> FiniteEnsemble:
        """The signals on a device and in a precision; complex numbers stay complex."""
        y, x = (_in_precision(v, real).to(device) for v in (self.y, self.x))
        if y is self.y and x is self.x:
            return self
        return replace(self, y=_usable("Y", y), x=_usable("X", x))

    def _only(self, rows: np.ndarray) -> FiniteEnsemble:
        index = torch.from_numpy(rows).to(self.y.device)
        return replace(self, y=self.y[index], x=self.x[index])


def from_arrays(Y: Any, X: Any, A: Any = None, seed: int = 0, *, k: int | None = None) -> FiniteEnsemble:
    """Signals of your own, to train networks on: the rows of `X`, measured as the rows of `Y`.

    Parameters
    ----------
    Y : array (signals, m)
        Measurements: NumPy, torch, pandas or whatever else solvers take. Where its shape leaves a choice, say by
        `pursuit.rows(Y)` that the signals are its rows.
    X : array (signals, n)
        The true coefficients, in the units of the columns of `A`.
    A : array (m, n), or anything `as_operator` takes, optional
        With it the data are checked: `Y` must have something of `A X`, and solvers can be compared on the signals.
    seed : int
        Of the split into training, validation and test.
    k : int, optional
        Sparsity at which solvers are compared. Default: the largest number of non-zeros of a row of `X`.

    Returns
    -------
    FiniteEnsemble

    Raises
    ------
    ValueError, TypeError
        If the shapes do not fit together, a number is NaN or infinite, all are zero, complex numbers lie beside real
        ones that cannot belong to them, or the labels of two tables are not the same, in one order.

    Examples
    --------
    >>> import numpy as np
    >>> A, X = np.eye(2, 3), np.eye(3)[[0, 1, 0, 1]]
    >>> from_arrays(X @ A.T, X, A).k
    1
    """
    whole_number("seed", seed, low=0)
    _check_labels(A, Y, X)
    op = None if A is None else _operator(A)
    m, n = (None, None) if op is None else op.shape
    y, x = both_as_rows(Y, X, m, n, pairs=op is not None and op.dtype.is_complex)
    if y.shape[:-1] != x.shape[:-1]:
        raise ValueError(
            f"Y has shape {tuple(y.shape)} and X {tuple(x.shape)}; needed is one row of X per row of Y"
            + (": if the signals are their columns, pass Y.T and X.T." if _columns_fit(y, x) else ".")
        )
    y, x = (v.reshape(-1, v.shape[-1]) for v in (y, x))
    if len(y) < 3:
        raise ValueError(f"Y has {len(y)} signals; needed are at least 3: for training, validation and test.")
    op, y, x = _alike(op, A, y, x)
    y, x = _usable("Y", y), _usable("X", x)
    if op is not None:
        check_measured(op, y, x)
    sparsity = int((x != 0).sum(-1).max()) if k is None else whole_number("k", k, high=x.shape[-1])
    settings = {"signals": len(y), "digest": _digest(y, x), "seed": seed}
    return FiniteEnsemble("data", op, y, x, sparsity, settings, seed)


def check_measured(A: Operator, y: Tensor, x: Tensor) -> None:
    """Raise ValueError if `y` has nothing of `A x`: another `A`, other units, or another order of rows.

    Parameters
    ----------
    A : Operator
    y : Tensor (signals, m)
    x : Tensor (signals, n)
    """
    y, x = y[:CHECKED].to(A.dtype), x[:CHECKED].to(A.dtype)
    left, energy = (float(v.abs().double().norm()) for v in (y - A.forward(x), y))
    if left < energy or energy == 0:
        return
    raise ValueError(
        f"||Y - A X|| is {left / energy:.3g} times ||Y||, so that zero fits Y better than A X; needed are the A that "
        "measured X as Y, with X in the units of its columns, and the rows of Y and X in the same order."
    )


def check_complex(A: bool, y: Tensor, x: Tensor) -> None:
    """Raise ValueError if `y` is real though `A` (of which it is said whether it is) or `x` is complex."""
    if (A or x.is_complex()) and not y.is_complex():
        raise ValueError(
            f"Y is real and {'A' if A else 'X'} is complex; needed are complex measurements: pass them with their "
            "imaginary part, or as Y + 0j if that is zero."
        )


def _operator(A: Any) -> Operator:
    op = as_operator(A)
    if op.batch_shape:
        raise ValueError(f"A has batch {tuple(op.batch_shape)}; needed is one matrix (m, n) for all signals.")
    return op


def both_as_rows(Y: Any, X: Any, m: int | None, n: int | None, *, pairs: bool) -> tuple[Tensor, Tensor]:
    """`as_rows` of both; where they fit if exchanged, the error asks for that."""
    try:
        return as_rows("Y", Y, m, "rows", pairs=pairs), as_rows("X", X, n, "columns")
    except ValueError:
        y, x = (tuple(as_tensor(name, unwrapped(v)[0]).shape) for name, v in (("Y", Y), ("X", X)))
        if m == n or not any((y[axis:][:1], x[axis:][:1]) == ((n,), (m,)) for axis in (-1, 0)):
            raise
        raise ValueError(
            f"Y has shape {y} and X {x}, but A has shape {(m, n)}; are Y and X in each other's place? Needed is one "
            f"signal per row, Y (signals, {m}) and X (signals, {n})."
        ) from None


def as_rows(name: str, given: Any, length: int | None, of_A: str, *, pairs: bool = False) -> Tensor:
    """The array with one signal of this length per row; raises ValueError unless it says where its signals are."""
    values, known = unwrapped(given)
    array = as_tensor(name, values)
    shape = tuple(array.shape)
    if array.ndim < 2:
        raise ValueError(f"{name} has shape {shape}; needed is one signal per row, (signals, {length or 'length'}).")
    if length is None:
        return array
    found = readings((length, 0), shape, pairs=pairs and not array.is_complex())
    last = Reading(array.ndim - 1)
    if last in found and (known or len(found) == 1):
        return array
    meant = [(words((), shape, way).replace("of y", f"of {name}"), _call(name, way, array.ndim)) for way in found]
    ways = " ".join(f"If {text}, pass {call}." for text, call in meant)
    if last in found:
        raise ValueError(f"{name} has shape {shape}, which can be read in {len(found)} ways. {ways}")
    raise ValueError(
        f"{name} has shape {shape} and A has {length} {of_A}; needed is one signal per row, (signals, {length})."
        + (f" {ways}" if ways else "")
    )


def _call(name: str, way: Reading, ndim: int) -> str:
    if way.pairs:
        return f"{name}[..., 0] + 1j * {name}[..., 1]"
    if way.axis == ndim - 1:
        return f"pursuit.rows({name})"
    return f"pursuit.rows({name}.T)" if ndim == 2 else f"{name}.swapaxes({way.axis}, -1)"


def _columns_fit(y: Tensor, x: Tensor) -> bool:
    return y.ndim == x.ndim == 2 and y.shape[-1] == x.shape[-1]


def _alike(op: Operator | None, A: Any, y: Tensor, x: Tensor) -> tuple[Operator | None, Tensor, Tensor]:
    """Operator and signals in one precision: that of a given operator, else the wider one."""
    real = torch.promote_types(y.dtype.to_real(), x.dtype.to_real())
    if isinstance(op, Dense) and not isinstance(A, Operator):
        real = torch.promote_types(real, op.dtype.to_real())
        op = Dense(_in_precision(op.matrix, real))
    elif op is not None:
        real = op.dtype.to_real()
    if op is not None:
        check_complex(op.dtype.is_complex, y, x)
    if op is not None and y.is_complex() and not op.dtype.is_complex:
        op = op.complexified()
    return op, _in_precision(y, real), _in_precision(x, real)


def _in_precision(v: Tensor, real: torch.dtype) -> Tensor:
    return v.to(real.to_complex() if v.is_complex() else real)


def _usable(name: str, values: Tensor) -> Tensor:
    finite(name, values)
    if not values.any():
        raise ValueError(f"{name} is zero everywhere in {values.dtype}; needed is at least one number that is not.")
    return values


def _check_labels(A: Any, Y: Any, X: Any) -> None:
    """Raise ValueError if the labels of two tables are not the same."""
    Y, X = unwrapped(Y)[0], unwrapped(X)[0]
    of_y, of_x = (index_of(v) for v in (Y, X))
    if of_y is not None and of_x is not None and len(of_y) == len(of_x):
        asked = Asked(
            "the index of X", "that of Y", "X", "signal", "one row of X per row of Y", reorder="pass X.loc[Y.index]",
            select="select the rows that both have", otherwise="X.to_numpy()", of="Y",
        )  # fmt: skip
        check_same(of_y, of_x, asked, names=True)
    check_columns("X", X, getattr(A, "column_names", None) if isinstance(A, Operator) else column_names(A))
    if A is not None:
        check_alike(A, Y, "Y")


def _counts(count: int, asked: dict[str, int | None]) -> dict[str, int]:
    """How many signals each part is to have."""
    for name, number in asked.items():
        if number is not None:
            whole_number(name, number)
    tenth = max(1, min(MOST, math.floor(SHARE * count)))
    held = {name: tenth if number is None else number for name, number in asked.items() if name != "n_train"}
    n_train = asked["n_train"]
    wanted = {"n_train": max(1, count - sum(held.values())) if n_train is None else n_train, **held}
    total = sum(wanted.values())
    if total <= count:
        return wanted
    shares = {name: max(1, number * count // total) for name, number in wanted.items()}
    shares["n_train"] = max(1, count - shares["n_validation"] - shares["n_test"])
    told = " + ".join(f"{number}" for number in wanted.values())
    warnings.warn(
        f"n_train + n_validation + n_test are {told}, and there are {count} signals: {shares['n_train']} are used for "
        f"training, {shares['n_validation']} for validation and {shares['n_test']} for the test.",
        stacklevel=3,
    )
    return shares


def _copies(y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The number of every row's group of equal rows, and the sizes of the groups."""
    rows = np.ascontiguousarray((y + 0).cpu().numpy())  # the sum makes -0 to 0
    _, group, sizes = np.unique(
        rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel(),
        return_inverse=True,
        return_counts=True,
    )
    return group.ravel(), sizes


def check_apart(trained_on: FiniteEnsemble, held_out: FiniteEnsemble) -> None:
    """Raise ValueError if training signals are among those for validation or test."""
    group, _ = _copies(torch.cat([trained_on.y, held_out.y]))
    ours, theirs = np.split(group, [len(trained_on)])
    both = int(np.isin(ours, theirs).sum())
    if both:
        raise ValueError(
            f"{both} of {len(ours)} rows of Y for training are among the {len(theirs)} for validation and test; needed "
            "are other signals: give all of them as one, and fit splits them."
        )


def _digest(*values: Tensor) -> str:
    made = hashlib.sha256()
    for value in values:
        made.update(np.ascontiguousarray(value.cpu().numpy()).view(np.uint8).data)
    return made.hexdigest()[:16]
