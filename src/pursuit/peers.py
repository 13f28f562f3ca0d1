"""Solvers of other packages, for comparison: functions `(A, y, k) -> x` of NumPy arrays, for one signal.

`available()` names those whose packages are installed; `pip install 'pursuit[peers]'` installs all.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from typing import Any

import numpy as np

# abess accepts a splice only if the loss falls by more than an absolute threshold: for small y it would return its
# first guess. So y is rescaled to this norm before, and the result is scaled back.
ABESS_NORM = 1e5


def sklearn_omp(A: Any, y: Any, k: int) -> np.ndarray:
    """scikit-learn's `OrthogonalMatchingPursuit`, without an intercept.

    Parameters
    ----------
    A : array (m, n)
        Real. It does not divide correlations by column norms: normalise the columns first.
    y : array (m,)
    k : int
        Non-zeros.

    Returns
    -------
    array (n,)

    Examples
    --------
    >>> import numpy as np
    >>> sklearn_omp(np.eye(3), np.array([0.5, 4.0, 1.0]), 1)
    array([0., 4., 0.])
    """
    from sklearn.linear_model import OrthogonalMatchingPursuit

    A, y = _checked(A, y, k)
    return np.asarray(OrthogonalMatchingPursuit(n_nonzero_coefs=k, fit_intercept=False).fit(A, y).coef_)


def abess(A: Any, y: Any, k: int) -> np.ndarray:
    """abess's `LinearRegression`, best-subset selection by splicing, with its defaults and no intercept.

    Parameters and result are those of `sklearn_omp`.
    """
    from abess.linear import LinearRegression

    A, y = _checked(A, y, k)
    scale = ABESS_NORM / np.linalg.norm(y)
    return np.asarray(LinearRegression(support_size=k, fit_intercept=False).fit(A, scale * y).coef_) / scale


def skscope(A: Any, y: Any, k: int) -> np.ndarray:
    """skscope's `ScopeSolver`, splicing for any loss, with least squares solved by LAPACK instead of its L-BFGS.

    Parameters and result are those of `sklearn_omp`.
    """
    from skscope import ScopeSolver

    A, y = _checked(A, y, k)

    def loss(x: np.ndarray, data: None) -> float:
        return float(np.sum((y - A @ x) ** 2))

    def gradient(x: np.ndarray, data: None) -> np.ndarray:
        return 2 * A.T @ (A @ x - y)

    def fit(loss: Any, gradient: Any, start: np.ndarray, support: np.ndarray, data: None) -> tuple[float, np.ndarray]:
        x = np.zeros(A.shape[1])
        x[support] = np.linalg.lstsq(A[:, support], y, rcond=None)[0]
        return loss(x, data), x

    return np.asarray(ScopeSolver(A.shape[1], k, numeric_solver=fit).solve(loss, gradient=gradient))


# Name -> the package that it needs, and the function.
PEERS: dict[str, tuple[str, Callable[[Any, Any, int], np.ndarray]]] = {
    "sklearn-omp": ("sklearn", sklearn_omp),
    "abess": ("abess", abess),
    "skscope": ("skscope", skscope),
}


def available() -> tuple[str, ...]:
    """The names of `PEERS` whose packages are installed.

    Examples
    --------
    >>> "numpy" in available()
    False
    """
    return tuple(name for name, (package, _) in PEERS.items() if find_spec(package) is not None)


def release(name: str) -> str:
    """The version of an available peer's package.

    Examples
    --------
    >>> all(release(name)[0].isdigit() for name in available())
    True
    """
    package = PEERS[name][0]
    return version(packages_distributions()[package][0])


def peer(name: str) -> Callable[[Any, Any, int], np.ndarray]:
    """The solver of this name.

    Raises
    ------
    ValueError
        If there is no such solver, or its package is not installed.
    """
    if name not in PEERS:
        raise ValueError(f"peer is {name!r}; choose one of {', '.join(PEERS)}.")
    if name not in available():
        raise ValueError(
            f"{name} needs the package {PEERS[name][0]}, which is not installed; pip install 'pursuit[peers]'."
        )
    return PEERS[name][1]


def _checked(A: Any, y: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The data in double precision, column by column."""
    A, y = np.asarray(A), np.asarray(y)
    if A.ndim != 2 or y.shape != A.shape[:1]:
        raise ValueError(f"A has shape {A.shape} and y {y.shape}; needed are (m, n) and (m,): one signal at a time.")
    if np.iscomplexobj(A) or np.iscomplexobj(y):
        raise TypeError("A or y is complex; needed are real numbers: these packages take no others.")
    if not 1 <= k <= min(A.shape):
        raise ValueError(f"k is {k}; needed is 1 <= k <= {min(A.shape)}, the smaller of m and n.")
    if not np.any(y):
        raise ValueError("y is zero; needed is at least one measurement that is not.")
    return np.asarray(A, dtype=np.float64, order="F"), np.asarray(y, dtype=np.float64)
