"""Choose the next trials: those that narrow the band of the 95 % curve most.

A round is planned from the results of the rounds before it only. So a run that was killed plans the same rounds again,
finds the finished cells and continues, and the final table does not depend on who computed it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import curves
from .curves import Fit, Point

LEVEL = 0.95
FIRST = 5  # values of k to begin with
Counts = dict[int, tuple[int, int]]  # k -> trials, successes
LEAST_WEIGHT = 1e-4  # of a trial far from the curve, so that a first fit which is too steep can be corrected


class Curve(NamedTuple):
    """The results so far of one method at one m, and the k of the grid."""

    ks: tuple[int, ...]
    counts: Counts


class Saving(NamedTuple):
    """The number of trials, and the number that an even spread over the grid needs for the same errors."""

    spent: int
    even: int


def first(ks: Sequence[int]) -> list[int]:
    """The k to begin with: a few, evenly over the grid's.

    Examples
    --------
    >>> first(range(1, 21))
    [1, 6, 11, 15, 20]
    """
    places = np.linspace(0, len(ks) - 1, min(FIRST, len(ks))).round().astype(int)
    return [ks[place] for place in places]


def estimate(curve: Curve, level: float = LEVEL) -> Point | None:
    """The curve's point at this level; None as long as there are too few trials."""
    if not curve.counts:
        return None
    span = (min(curve.ks), max(curve.ks))
    if span[0] == span[1]:
        return curves.single(*curve.counts[span[0]], level, span[0])
    if len(curve.counts) < 2:
        return None
    point = curves.point(_fitted(curve, level), level, span)
    trials, successes = curve.counts.get(span[0], (0, 0))
    if point.where == "below" and trials and successes >= level * trials:
        return point._replace(where="inside")  # the fit falls short of what was counted at the least k
    return point


def more(curve: Curve, *, error: float, block: int, most: int) -> list[int]:
    """The k of the next blocks, some twice; empty if the band's half-width is at most `error`.

    Parameters
    ----------
    curve : Curve
    error : float
        In units of k.
    block : int
        Trials at a time.
    most : int
        Trials per k.
    """
    if not curve.counts:
        return first(curve.ks)
    here = estimate(curve)
    if here is None or here.error <= error:
        return []
    fitted = _fitted(curve, LEVEL)
    ks = np.array(curve.ks, dtype=float)
    x = np.stack([np.ones_like(ks), (ks - fitted.centre) / fitted.scale], axis=1)
    aim = np.array([1.0, (here.k - fitted.centre) / fitted.scale])
    p = fitted.probability(ks)
    weight = block * np.maximum(p * (1 - p), LEAST_WEIGHT)
    left = np.array([(most - curve.counts.get(k, (0, 0))[0]) // block for k in curve.ks])
    left[~curves.near(curves.fit(*_columns(curve)), LEVEL, ks)] = 0  # the fit does not use k far from the curve
    spent = sum(trials for trials, _ in curve.counts.values()) // block
    V, begin = fitted.covariance, aim @ fitted.covariance @ aim
    chosen: list[int] = []
    # At most as many as there are, so that the next round can use their results.
    while len(chosen) < spent and left.any() and (not chosen or aim @ V @ aim > begin * (error / here.error) ** 2):
        Vx = x @ V
        gain = weight * (Vx @ aim) ** 2 / (1 + weight * (Vx * x).sum(1))
        best = int(np.where(left > 0, gain, -1).argmax())
        V = V - weight[best] * np.outer(Vx[best], Vx[best]) / (1 + weight[best] * Vx[best] @ x[best])
        left[best] -= 1
        chosen.append(curve.ks[best])
    return sorted(chosen)


def saving(found: Mapping[Any, Curve]) -> Saving | None:
    """The trials for curves that end within the grid, and how many an even spread over the grid's k would need.

    The latter is computed from the Fisher information of the fits, for each curve separately. An even sweep has the
    same number of trials on all curves, so it would need even more.
    """
    spent = even = 0
    for curve in found.values():
        here = estimate(curve)
        if here is None or here.where != "inside" or here.error == 0 or len(curve.counts) < 2:
            continue
        fitted = _fitted(curve, LEVEL)
        ks = np.array(curve.ks, dtype=float)
        x = np.stack([np.ones_like(ks), (ks - fitted.centre) / fitted.scale], axis=1)
        p = fitted.probability(ks)
        there = curves.near(curves.fit(*_columns(curve)), LEVEL, ks)
        aim = np.array([1.0, (here.k - fitted.centre) / fitted.scale])
        one = aim @ np.linalg.inv(x.T @ (np.where(there, np.maximum(p * (1 - p), 1e-12), 0)[:, None] * x)) @ aim
        now = aim @ fitted.covariance @ aim
        spent += sum(trials for trials, _ in curve.counts.values())
        even += math.ceil(one / now) * len(ks)
    return Saving(spent, even) if spent else None


def _fitted(curve: Curve, level: float) -> Fit:
    return curves.local(*_columns(curve), level)


def _columns(curve: Curve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """k, trials and successes."""
    rows = np.array(sorted((k, *counted) for k, counted in curve.counts.items()))
    return rows[:, 0], rows[:, 1], rows[:, 2]
