"""How near a recovered signal is to the true one."""

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
        Minus infinity where they are equal; its negative is the reconstruction SNR.

    Examples
    --------
    >>> nmse_db([0.0, 1.1], [0.0, 1.0])
    -20.0
    """
    x, truth = np.asarray(x), np.asarray(truth)
    with np.errstate(over="ignore"):  # a diverged signal has an infinite error
        error, energy = _energy(x - truth), _energy(truth)
    if energy == 0:
        raise ValueError("the true signal is zero everywhere; a normalised error needs one that is not.")
    with np.errstate(divide="ignore"):
        return round(float(10 * np.log10(error / energy)), 10)


def support_recall(x: Any, truth: Any, k: Any) -> float:
    """Share of the k largest true entries that `x` has non-zero, averaged over the signals, in [0, 1].

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
    """Share of the k largest true entries that `x` has zero, `(k - |S n supp(x)|) / k`, for every signal.

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
    """How many of the k largest true entries `x` has non-zero, and k, for every signal."""
    x, truth = np.asarray(x), np.asarray(truth)
    order = np.argsort(-np.abs(truth), axis=-1, kind="stable")
    k = np.broadcast_to(k, truth.shape[:-1])
    wanted = np.arange(truth.shape[-1]) < k[..., None]
    x, order = np.broadcast_arrays(x, order)
    return (np.take_along_axis(x != 0, order, axis=-1) & wanted).sum(-1), k


def _energy(x: np.ndarray) -> float:
    return float(np.sum(np.abs(x) ** 2))
