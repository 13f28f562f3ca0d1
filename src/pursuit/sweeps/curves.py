"""A logistic fit of success against k, and the k at which it crosses a level.

The fit is by maximum likelihood with Firth's penalty (Jeffreys' prior). It stays finite if some k separates all
successes from all failures, which happens in every sweep with few trials. Only k near the level are used. Bands are
Fieller's: all k at which the fit agrees with the level within its Wald error from the Fisher information.

References
----------
Firth, "Bias reduction of maximum likelihood estimates", Biometrika 1993. Heinze, Schemper, "A solution to the problem
of separation in logistic regression", Statistics in Medicine 2002.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    pass


Z = 1.959963984540054  # of 95 % confidence
WINDOW, FEWEST = 2.0, 4  # around 95 %, that is 72 % to 99.3 %; around 50 %, 12 % to 88 %
STEPS = 100
LARGEST_STEP = 5.0  # largest change of a coefficient in a Newton step


class Fit(NamedTuple):
    """`logit P(success) = intercept + slope * (k - centre) / scale`, and the covariance of intercept and slope."""

    intercept: float
    slope: float
    centre: float
    scale: float
    covariance: np.ndarray

    def logit(self, k: np.ndarray | float) -> np.ndarray:
        """The fitted logit at k."""
        return np.asarray(self.intercept + self.slope * self._x(k))

    def error(self, k: np.ndarray | float) -> np.ndarray:
        """Standard error of the logit at k."""
        x, V = self._x(k), self.covariance
        return np.sqrt(np.maximum(V[0, 0] + 2 * x * V[0, 1] + x * x * V[1, 1], 0))

    def probability(self, k: np.ndarray | float) -> np.ndarray:
        """The fitted probability of success at k."""
        return _expit(self.logit(k))

    def _x(self, k: np.ndarray | float) -> np.ndarray:
        return (np.asarray(k, dtype=float) - self.centre) / self.scale


class Point(NamedTuple):
    """A curve at one m: the largest k with at least this probability of success, with a 95 % band.

    All three are within the k of the grid. `where` is "above" if the success is above the level at all k of the grid,
    "below" if it is above at none, else "inside".
    """

    k: float
    low: float
    high: float
    where: str

    @property
    def error(self) -> float:
        """Half the width of the band."""
        return (self.high - self.low) / 2


def fit(
    ks: Sequence[float] | np.ndarray, trials: Sequence[int] | np.ndarray, successes: Sequence[int] | np.ndarray
) -> Fit:
    """Fit success against k.

    Parameters
    ----------
    ks, trials, successes : arrays
        At least two different k.

    Returns
    -------
    Fit

    Examples
    --------
    >>> f = fit([1, 2, 3, 4], [100] * 4, [98, 88, 50, 12])
    >>> round(point(f, 0.5, (1, 4)).k, 2)
    3.0
    """
    k, count, success = (np.asarray(values, dtype=float) for values in (ks, trials, successes))
    if len(np.unique(k)) < 2:
        raise ValueError(f"k is {k.tolist()}; needed are at least two different ones.")
    centre, scale = float(k.mean()), float(k.std())
    X = np.stack([np.ones_like(k), (k - centre) / scale], axis=1)
    beta, value = np.zeros(2), _likelihood(np.zeros(2), X, count, success)
    for _ in range(STEPS):
        covariance, score = _information(beta, X, count, success)
        move = covariance @ score
        move *= min(1.0, LARGEST_STEP / max(np.abs(move).max(), 1e-300))
        while (better := _likelihood(beta + move, X, count, success)) < value and np.abs(move).max() > 1e-12:
            move /= 2
        if np.abs(move).max() <= 1e-10:
            break
        beta, value = beta + move, better
    covariance, _ = _information(beta, X, count, success)
    return Fit(float(beta[0]), float(beta[1]), centre, scale, covariance)


def local(ks: np.ndarray, trials: np.ndarray, successes: np.ndarray, level: float) -> Fit:
    """Fit success against k near a level: first with all k, then with those near the level by the first fit.

    Success is not quite logistic in k: the 95 % crossing of a fit to all k is wrong by more than its standard error.

    Parameters
    ----------
    ks, trials, successes : ndarray
    level : float
    """
    everywhere = fit(ks, trials, successes)
    chosen = near(everywhere, level, ks)
    return fit(ks[chosen], trials[chosen], successes[chosen]) if chosen.sum() >= FEWEST else everywhere


def near(fitted: Fit, level: float, ks: np.ndarray) -> np.ndarray:
    """Which k are within `WINDOW` logits of the level; at least the `FEWEST` nearest."""
    distance = np.abs(fitted.logit(ks) - math.log(level / (1 - level)))
    least = np.sort(distance)[min(FEWEST, len(ks)) - 1]
    return np.asarray(distance <= max(WINDOW, float(least)))


def point(fitted: Fit, level: float, span: tuple[float, float]) -> Point:
    """The k at which the fit crosses the level, and a 95 % band, within `span`, the least and largest k of the grid."""
    target = math.log(level / (1 - level))
    ends = np.array(span, dtype=float)
    k, where = _crossing(fitted, target, span)
    logit, error = fitted.logit(ends), Z * fitted.error(ends)
    low, high = _fieller(fitted, target)
    if not low <= k <= high:  # the slope may be zero: the band is the whole span, unless one side is excluded
        low, high = span
        if (logit - error > target).all():
            low = high
        elif (logit + error < target).all():
            high = low
    low, high = (float(np.clip(value, *span)) for value in (low, high))
    return Point(k, min(low, k), max(high, k), where)


def single(trials: int, successes: int, level: float, k: float) -> Point:
    """The point if the grid has only one k: there is no fit, and the band has no width."""
    return Point(k, k, k, "above" if successes >= level * trials else "below")


def _crossing(fitted: Fit, target: float, span: tuple[float, float]) -> tuple[float, str]:
    least, largest = span
    if fitted.slope >= 0:
        # Success does not decline with k; it is the same everywhere.
        return (largest, "above") if fitted.logit((least + largest) / 2) >= target else (least, "below")
    k = fitted.centre + fitted.scale * (target - fitted.intercept) / fitted.slope
    if k >= largest:
        return float(largest), "above"
    return (float(least), "below") if k < least else (float(k), "inside")


def _fieller(fitted: Fit, target: float) -> tuple[float, float]:
    """All k at which the logit is within Z errors of the target; an empty interval if these k are no interval."""
    V, b = fitted.covariance, fitted.slope
    a = fitted.intercept - target
    square = b * b - Z * Z * V[1, 1]
    linear = a * b - Z * Z * V[0, 1]
    constant = a * a - Z * Z * V[0, 0]
    root = linear * linear - square * constant
    if square <= 0 or root < 0:
        return math.inf, -math.inf
    low, high = (-linear - math.sqrt(root)) / square, (-linear + math.sqrt(root)) / square
    return fitted.centre + fitted.scale * low, fitted.centre + fitted.scale * high


def _information(
    beta: np.ndarray, X: np.ndarray, count: np.ndarray, success: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The covariance and Firth's score."""
    p = _expit(X @ beta)
    weight = np.maximum(count * p * (1 - p), 1e-12)  # all could vanish, far out on a steep fit
    covariance = np.linalg.inv(X.T @ (weight[:, None] * X))
    leverage = weight * np.einsum("ij,jk,ik->i", X, covariance, X)
    return covariance, X.T @ (success - count * p + leverage * (0.5 - p))


def _likelihood(beta: np.ndarray, X: np.ndarray, count: np.ndarray, success: np.ndarray) -> float:
    """The penalised log-likelihood: with half the logarithm of the determinant of the information."""
    logit = X @ beta
    p = _expit(logit)
    weight = np.maximum(count * p * (1 - p), 1e-12)
    likelihood = success @ logit - count @ np.logaddexp(0, logit)
    return float(likelihood + 0.5 * np.linalg.slogdet(X.T @ (weight[:, None] * X))[1])


def _expit(value: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -value))


LEVELS = (0.5, 0.95)
