"""`pursuit.compare`: which method suits the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import comparison, prediction
from .arrays import as_tensor, check_columns, row_names
from .comparison import Row
from .operators.adapters import as_operator
from .prediction import Prediction
from .problems import Instance
from .solvers.by_name import Method
from .solvers.problem import problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Comparison:
    """What `compare` found; printed, it is a table.

    Attributes
    ----------
    rows : list of Row
        One per method, the best first.
    advice : str
        Which method and number of non-zeros to take, and why; empty if the truth is known.
    predictions : list of Prediction
        Of every method and number of non-zeros; empty if the truth is known.
    oracle_db : float or None
        If the truth is known: NMSE in dB of least squares on the k largest true coefficients.
    instance : Instance
        The measurements, the operator and the number of non-zeros that the rows have.

    Examples
    --------
    >>> import numpy as np, pursuit
    >>> A = np.random.default_rng(0).standard_normal((20, 30))
    >>> found = pursuit.compare(A, A[:, 4] - A[:, 7], x=np.eye(30)[4] - np.eye(30)[7], methods=["omp", "sp"])
    >>> found.rows[0].support_recovered
    1.0
    >>> figure = found.plot()
    """

    rows: list[Row]
    advice: str
    predictions: list[Prediction]
    oracle_db: float | None
    instance: Instance

    def plot(self) -> Figure:
        """Draw one signal as the three best methods recover it, and the error of every method.

        Returns
        -------
        matplotlib.figure.Figure
            `comparison.plot().savefig("comparison.png")` writes it.
        """
        from .plots.comparison import figure

        return figure(self.instance, self.rows, self.oracle_db)

    def __repr__(self) -> str:
        shown = comparison.columns(self.rows)
        table = [[*shown], *([cell(row) for cell in shown.values()] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        left = [name in comparison.WORDS for name in shown]
        lines = [
            "  ".join(
                cell.ljust(width) if words else cell.rjust(width)
                for cell, width, words in zip(line, widths, left, strict=True)
            )
            for line in table
        ]
        return "\n".join([self.instance.title, *map(str.rstrip, lines), *[self.advice] * bool(self.advice)])


def compare(
    A: Any,
    y: Any,
    k: int | Sequence[int] | None = None,
    *,
    x: Any = None,
    methods: str | Sequence[Method] | None = None,
    lam: float | None = None,
    lam_share: float | None = None,
) -> Comparison:
    """Recover the same signals by several methods, and say which is best.

    Where the true signals `x` are known, methods are ranked by their error. Else they are ranked by how well they
    predict rows of A that were held out, all with k non-zeros at most, those of ISTA and FISTA refitted: see
    `pursuit.prediction`. Each method
    is then called once for every fold and every k, which takes a while.

    Parameters
    ----------
    A : array (m, n) or operator
    y : array (*batch, m)
    k : int or sequence of int, optional
        Numbers of non-zeros; of several the one that predicts best is taken. Default: a range of them, or, if `x` is
        given, the most that a true signal has.
    x : array (*batch, n), optional
        The true signals.
    methods : str, or sequence of str or callable, optional
        Names of methods, or solvers of your own: functions `(A, y, k, ...) -> Solution`, also as `"module:function"`.
        Default: all, and, where `x` is given, `"fista_ls"`: FISTA with its k largest entries refitted.
    lam, lam_share : float, optional
        For ISTA and FISTA: the penalty, or the penalty as a share of the smallest one at which the solution is zero.
        Default: five shares from 0.1 to 0.001 are solved, and every signal takes the one whose k largest entries,
        refitted, leave the least residual.

    Returns
    -------
    Comparison
        `rows`, the best first; `advice`; `plot()`.

    Raises
    ------
    ValueError, TypeError
        If A, y, k and x do not fit together, y is zero, a method is not known, or several k are given beside `x`.

    Examples
    --------
    >>> import numpy as np, pursuit
    >>> rng = np.random.default_rng(0)
    >>> A, x = rng.standard_normal((40, 60)), np.zeros((5, 60))
    >>> x[:, [3, 30, 41]] = rng.standard_normal((5, 3))
    >>> found = pursuit.compare(A, x @ A.T + 0.01 * rng.standard_normal((5, 40)), [1, 3, 12], methods=["omp", "iht"])
    >>> found.rows[0].method, found.instance.k
    ('omp', 3)
    """
    ks = _several(k)
    usual = comparison.usual(known=x is not None)
    chosen = usual if methods is None else (methods,) if isinstance(methods, str) else tuple(methods)
    comparison.check(chosen, lam, lam_share)
    return of_instance(as_instance(A, y, ks, x), ks, chosen, lam=lam, lam_share=lam_share)


def _several(k: Any) -> tuple[int, ...]:
    """The numbers of non-zeros to try; none of them where they are to be chosen."""
    if k is None or (isinstance(k, str) and k == "auto"):
        return ()
    needed = "a whole number, a sequence of them, or None to choose it"
    ks = () if isinstance(k, str) else tuple(k) if np.ndim(k) else (k,)
    if not ks or not all(isinstance(one, int | np.integer) and not isinstance(one, bool) for one in ks):
        raise TypeError(f"k is {k!r}; needed is {needed}.")
    return tuple(map(int, ks))


def as_instance(A: Any, y: Any, ks: Sequence[int] = (), x: Any = None) -> Instance:
    """The data as a test problem; its k is the first of `ks`, or what the truth has.

    Raises
    ------
    ValueError, TypeError
        If A, y, k and x do not fit together, or y is zero.
    """
    if x is not None and len(ks) > 1:
        raise ValueError(
            f"k is {list(ks)} beside x; k is chosen where the truth is unknown: give one k, or leave x out."
        )
    if bad := [k for k in ks if k < 1]:
        raise ValueError(f"k is {bad[0]}; needed is 1 <= k: with no atoms all methods give x = 0.")
    checked, *_ = [problem(A, y, k, keep_units=True) for k in ks or (1,)]
    if not checked.y.any():
        raise ValueError("y is zero everywhere; needed is at least one measurement that is not.")
    truth, op = None, as_operator(A)
    if x is not None:
        check_columns("x", x, op.column_names)
        truth, wanted = as_tensor("x", x), (*checked.batch, checked.A.shape[1])
        if truth.shape != wanted:
            raise ValueError(
                f"x has shape {tuple(truth.shape)}; needed is {wanted}, one row of n={wanted[-1]} per signal."
            )
        if truth.is_complex() and not checked.y.is_complex():
            raise ValueError("x is complex but A and y are real; give the real part of x, or a complex y.")
        truth = truth.to(checked.y)
        if not truth.isfinite().all() or not truth.any():
            raise ValueError(
                "x has entries that are NaN or infinite, or is zero everywhere; needed is the true signal."
            )
    k = ks[0] if ks else 1 if truth is None else max(1, int((truth != 0).sum(-1).max()))
    return Instance(
        "data", op.complexified() if checked.y.is_complex() else op, checked.y, k, truth, {},
        names=op.column_names, measured=row_names(A, y),
    )  # fmt: skip


def of_instance(
    instance: Instance,
    ks: Sequence[int],
    chosen: Sequence[Method],
    *,
    lam: float | None = None,
    lam_share: float | None = None,
    started: Callable[[str], Any] | None = None,
) -> Comparison:
    """Compare methods on a test problem, by the error if its truth is known, else by prediction.

    `started` is called with the name of each method before it runs: once, or twice if the truth is unknown.
    """
    if instance.x is not None:
        rows = comparison.compare(instance, chosen, lam=lam, lam_share=lam_share, started=started)
        return Comparison(rows, "", [], comparison.oracle(instance), instance)
    ks = ks or tuple(prediction.candidates(*instance.A.shape))
    rows, predictions = comparison.compare_by_prediction(
        instance, ks, chosen, lam=lam, lam_share=lam_share, started=started
    )
    instance = replace(instance, k=prediction.choose(predictions).k)
    return Comparison(rows, prediction.advice(predictions), predictions, None, instance)
