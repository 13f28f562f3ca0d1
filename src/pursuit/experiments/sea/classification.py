"""Classification on real data: the logistic loss over the number of columns (the poster's kind, other data).

SEA, OMP, ELS, IHT and HTP minimise the logistic loss itself: they fit it on the support, and use its gradient.

- "cancer": whether a tumour is benign, from 30 measurements, 569 rows;
- "even": whether a handwritten digit is even, from its 64 pixels, 1797 rows.

Columns have mean zero and norm one on the rows that are fitted; one more column is constant, which a method may choose
as any other. `real.py` says what is measured. SEA takes 50 steps, because each is a fit by Newton's method.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...core.losses import Logistic
from ..cells import Row, Tables
from . import real
from .real import Data, Form, Method

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTIAL = True
KS = (1, 2, 3, 4, 6, 8, 10, 15, 20)
FOLDS, STEPS = 5, 50
QUICK = Form(("cancer",), (1, 3), folds=2, steps=20)
METHODS = ("omp", "els", "iht", "htp", "l1", "sea", "sea@omp", "sea@els", "els@sea", "abess", "skscope")
TUNED_STEPS = 200  # of IHT and HTP at each of five step sizes
STRENGTHS = 20  # weights of the L1 penalty
TITLES = {"cancer": "breast cancer, 30 columns", "even": "even digits, 64 pixels"}


def cells(quick: bool, seed: int, folds: int | None = None, steps: int | None = None) -> list[Row]:
    """One per data set and method."""
    form = QUICK if quick else Form(tuple(DATA), KS, FOLDS, STEPS)
    return real.planned(form, METHODS, seed, folds, steps)


def run(cell: Row, folder: Path) -> Tables:
    """All k of a method on a data set.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: a cell takes a minute or two.
    """
    return {
        "losses": real.measured(cell, DATA[cell["data"]], TASK, method_of(cell["method"], cell.get("steps", STEPS)))
    }


def method_of(name: str, steps: int) -> Method:
    """The method of this name, with so many steps for SEA."""
    shared: Row = {"loss": Logistic()}
    own: dict[str, Row] = {"sea": {"max_steps": steps}}
    if name in OTHERS:
        return partial(_one_by_one, OTHERS[name])
    if name == "l1":
        return _penalised
    if name in real.TUNED:
        return partial(real.best_step, name, {**shared, "max_steps": TUNED_STEPS}, Logistic.curvature, Logistic())
    if "@" in name:
        return partial(real.from_start, name, shared=shared, own=own)
    return partial(real.by_library, name, **shared, **own.get(name, {}))


def _penalised(A: Tensor, y: Tensor, ks: Any) -> Tensor:
    """scikit-learn's L1 penalty: at every k the weight whose k largest entries, refitted, fit best."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import l1_min_c

    weakest = l1_min_c(A.numpy(), y.numpy(), loss="log", fit_intercept=False)
    tried: list[Method] = []
    for weight in weakest * np.geomspace(1.2, 1e3, STRENGTHS):
        model = LogisticRegression(C=weight, l1_ratio=1.0, solver="liblinear", fit_intercept=False, max_iter=1000)
        x = torch.from_numpy(model.fit(A.numpy(), y.numpy()).coef_[0])
        tried.append(partial(real.given, x))
    return real.best_of(tried, Logistic(), A, y, ks)


def _by_abess(A: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    from abess.linear import LogisticRegression

    return np.asarray(LogisticRegression(support_size=k, fit_intercept=False).fit(A, y).coef_)


def _by_skscope(A: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """Splicing on the logistic loss, with skscope's own optimiser."""
    from skscope import ScopeSolver

    sign = 2 * y - 1

    def loss(x: np.ndarray, data: None) -> float:
        return float(np.logaddexp(0, -sign * (A @ x)).sum())

    def gradient(x: np.ndarray, data: None) -> np.ndarray:
        return A.T @ (-sign * np.exp(-np.logaddexp(0, sign * (A @ x))))

    return np.asarray(ScopeSolver(A.shape[1], k).solve(loss, gradient=gradient))


OTHERS = {"abess": _by_abess, "skscope": _by_skscope}


def _one_by_one(recover: Any, A: Tensor, y: Tensor, ks: Any) -> Tensor:
    """One k at a time, without the columns that are zero, which abess refuses."""
    there = A.numpy().any(0)
    x = np.zeros((len(ks), A.shape[1]))
    x[:, there] = [recover(A.numpy()[:, there], y.numpy(), k) for k in ks]
    return torch.from_numpy(x)


def _prepared(data: Data, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns with the constant one first."""
    constant = np.full((len(data.target), 1), 1 / math.sqrt(len(rows)))
    return np.concatenate([constant, real.standardised(data.features, rows)], axis=1), data.target


def _at_zero(y: Tensor) -> Tensor:
    return torch.tensor(len(y) * math.log(2), dtype=y.dtype)


def cancer() -> Data:
    """Benign is 1."""
    from sklearn.datasets import load_breast_cancer

    features, target = load_breast_cancer(return_X_y=True)
    return Data(features, target.astype(float), _stratified)


def even() -> Data:
    """Even digits are 1."""
    from sklearn.datasets import load_digits

    pixels, digit = load_digits(return_X_y=True)
    return Data(pixels, (digit % 2 == 0).astype(float), _stratified)


def _stratified(folds: int, seed: int) -> Any:
    from sklearn.model_selection import StratifiedKFold

    return StratifiedKFold(folds, shuffle=True, random_state=seed)


DATA = {"cancer": cancer, "even": even}
TASK = real.Task(_prepared, Logistic(), _at_zero, misclassified=True)


def sort_key(row: Row) -> Any:
    """By data, method and k."""
    return list(DATA).index(row["data"]), METHODS.index(row["method"]), row["k"]


def draw(tables: Tables, quick: bool) -> Figure:
    """A column per data set."""
    return real.draw(tables, TITLES, METHODS, "logistic loss")
