"""Regression on real data: the least-squares loss over the number of columns (the poster's kind, other data).

- "diabetes": the progress of a disease from ten measurements, their squares and products, 442 rows, 64 columns;
- "ecg": a sample of PyWavelets' electrocardiogram from the 64 before it, 960 rows;
- "photo": a pixel of a photograph that comes with scikit-learn, from the 84 nearest of those above it and to its left,
  on a grid of 5490 pixels.

The folds of the last two are blocks of neighbouring rows, those of the first are drawn. Columns have mean zero and norm
one on the rows that are fitted, and y mean zero. `real.py` says what is measured.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ... import peers
from ...core.losses import LeastSquares
from ..cells import Row, Tables
from . import real
from .real import Data, Form, Method

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTIAL = True
KS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)
FOLDS, STEPS = 10, 1000
QUICK = Form(("diabetes",), (1, 3, 6), folds=3, steps=50)
METHODS = (
    *("omp", "ols", "ompr", "els", "iht", "htp", "sp", "lasso", "whitened_lasso"),
    *("sea", "sea@omp", "sea@els", "els@sea", "sea_plus", "abess", "skscope"),
)
LAGS = 64  # samples of the electrocardiogram
RADIUS, SPACING = 6, 7  # pixels of the photograph
TITLES = {
    "diabetes": "diabetes, 64 columns",
    "ecg": "electrocardiogram from 64 samples before",
    "photo": "pixel from 84 neighbours",
}


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
        Unused: a cell takes less than a minute.
    """
    return {
        "losses": real.measured(cell, DATA[cell["data"]], TASK, method_of(cell["method"], cell.get("steps", STEPS)))
    }


def method_of(name: str, steps: int) -> Method:
    """The method of this name, with so many steps for those that explore."""
    own: dict[str, Row] = {"sea": {"max_steps": steps}, "sea_plus": {"max_steps": steps}}
    if name in peers.PEERS:
        return partial(_by_peer, peers.peer(name))
    if name == "lasso":
        return _lasso
    if name in real.TUNED:
        return partial(real.best_step, name, {}, 1.0, LeastSquares())
    if "@" in name:
        return partial(real.from_start, name, shared={}, own=own)
    return partial(real.by_library, name, **own.get(name, {}))


def _lasso(A: Tensor, y: Tensor, ks: Any) -> Tensor:
    """The whole path of the LASSO: at every k the penalty whose k largest entries, refitted, fit best."""
    from sklearn.linear_model import lars_path

    _, _, path = lars_path(A.numpy(), y.numpy(), method="lasso")
    tried = [partial(real.given, torch.from_numpy(x.copy())) for x in path.T]
    return real.best_of(tried, LeastSquares(), A, y, ks)


def _by_peer(recover: Any, A: Tensor, y: Tensor, ks: Any) -> Tensor:
    return torch.from_numpy(np.stack([recover(A.numpy(), y.numpy(), k) for k in ks]))


def _prepared(data: Data, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return real.standardised(data.features, rows), data.target - data.target[rows].mean()


def _at_zero(y: Tensor) -> Tensor:
    return y.square().sum() / 2


def diabetes() -> Data:
    """Ten measurements, standardised, with their squares and products; sex has two values, its square is left out."""
    from sklearn.datasets import load_diabetes
    from sklearn.preprocessing import PolynomialFeatures

    features, target = load_diabetes(return_X_y=True)
    products = PolynomialFeatures(2, include_bias=False).fit(features)
    kept = [name != "x1^2" for name in products.get_feature_names_out()]
    return Data(products.transform(features)[:, kept], target, _drawn)


def ecg() -> Data:
    """A sample, and those before it, the nearest first."""
    import pywt

    record = np.asarray(pywt.data.ecg(), dtype=float)
    windows = np.lib.stride_tricks.sliding_window_view(record, LAGS + 1)
    return Data(windows[:, -2::-1].copy(), windows[:, -1].copy(), _blocks)


def photo() -> Data:
    """A pixel's mean colour, and those of its neighbours above and to the left."""
    from sklearn.datasets import load_sample_image

    pixels = np.asarray(load_sample_image("china.jpg"), dtype=float).mean(-1)
    height, width = pixels.shape
    offsets = [(i, j) for i in range(-RADIUS, 1) for j in range(-RADIUS, RADIUS + 1) if (i, j) < (0, 0)]
    i, j = (at.ravel() for at in np.mgrid[RADIUS:height:SPACING, RADIUS : width - RADIUS : SPACING])
    return Data(np.stack([pixels[i + up, j + left] for up, left in offsets], axis=1), pixels[i, j], _blocks)


def _drawn(folds: int, seed: int) -> Any:
    from sklearn.model_selection import KFold

    return KFold(folds, shuffle=True, random_state=seed)


def _blocks(folds: int, seed: int) -> Any:
    from sklearn.model_selection import KFold

    return KFold(folds)


DATA = {"diabetes": diabetes, "ecg": ecg, "photo": photo}
TASK = real.Task(_prepared, LeastSquares(), _at_zero, misclassified=False)


def sort_key(row: Row) -> Any:
    """By data, method and k."""
    return list(DATA).index(row["data"]), METHODS.index(row["method"]), row["k"]


def draw(tables: Tables, quick: bool) -> Figure:
    """A column per data set."""
    return real.draw(tables, TITLES, METHODS, "squared error")
