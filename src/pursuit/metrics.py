"""Errors of recovered signals."""

from __future__ import annotations

from typing import Any

import numpy as np

from .names import old_name


def nmse_db(x: Any, truth: Any) -> float:
    """Normalised mean square error in dB: `10 log10(sum ||x - truth||^2 / sum ||truth||^2)`, sums over all signals.

    Parameters
    ----------
    x, truth : array (*batch, n)

    Returns
    -------
    float
        Minus infinity if they are equal. Its negative is the reconstruction SNR.

    Examples
    --------
    >>> nmse_db([0.0, 1.1], [0.0, 1.0])
    -20.0
    """
    x, truth = np.asarray(x), np.asarray(truth)
    with np.errstate(over="ignore"):  # a diverged signal has an infinite error
        error, energy = _energy(x - truth), _energy(truth)
    if energy == 0:
        raise ValueError(
            "the true signals are all zero; needed is one that is not, because the error is divided by it."
        )
    with np.errstate(divide="ignore"):
        return round(float(10 * np.log10(error / energy)), 10)


def support_recall(x: Any, truth: Any, k: Any) -> float:
    """Share of the k largest true entries that are non-zero in `x`, mean over the signals, from 0 to 1.

    Parameters
    ----------
    x, truth : array (*batch, n)
    k : int or array (*batch,)

    Examples
    --------
    >>> support_recall([0.0, 1.0, 5.0], [3.0, 2.0, 0.0], k=2)
    0.5
    """
    hits, k = _hits(x, truth, k)
    return float((hits / k).mean())


def support_distance(x: Any, truth: Any, k: Any) -> np.ndarray:
    """Share of the k largest true entries that are zero in `x`, `(k - |S n supp(x)|) / k`, for every signal.

    Parameters
    ----------
    x, truth : array (*batch, n)
    k : int or array (*batch,)

    Returns
    -------
    array (*batch,)

    Examples
    --------
    >>> support_distance([[0.0, 1.0, 5.0], [1.0, 1.0, 0.0]], [3.0, 2.0, 0.0], k=2)
    array([0.5, 0. ])
    """
    hits, k = _hits(x, truth, k)
    return np.asarray((k - hits) / k)


def __getattr__(name: str) -> Any:
    return old_name(__name__, name, {"support_recovered": "support_recall"})


def _hits(x: Any, truth: Any, k: Any) -> tuple[np.ndarray, np.ndarray]:
    """How many of the k largest true entries are non-zero in `x`, and k, for every signal."""
    x, truth = np.asarray(x), np.asarray(truth)
    order = np.argsort(-np.abs(truth), axis=-1, kind="stable")
    k = np.broadcast_to(k, truth.shape[:-1])
    wanted = np.arange(truth.shape[-1]) < k[..., None]
    x, order = np.broadcast_arrays(x, order)
    return (np.take_along_axis(x != 0, order, axis=-1) & wanted).sum(-1), k


def _energy(x: np.ndarray) -> float:
    return float(np.sum(np.abs(x) ** 2))
