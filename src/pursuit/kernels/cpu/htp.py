"""Hard Thresholding Pursuit on the CPU, by Numba: all cycles of one signal after another, by the Gram matrix.

The factorisation is updated as in `sea`. A signal is declined if the Gram matrix cannot distinguish one of its supports
from a dependent one: the fit is then not unique, and the next support depends on which fit it is. It is also declined
if its start is better than all that comes after it, because the start is no fit on a support.

Arrays are those of `gram`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import Data, Found
from ..jit import Array, jit
from . import whole
from .append import energy
from .gram import PIVOT, correlate, fit, subtract
from .iht import ascend, enter, largest
from .sea import holds, reorder
from .whole import DTYPES as DTYPES
from .whole import RUNNING, TOLERANCE

REFITS = True
worth = whole.small
STATIONARY, CYCLE, MAX_STEPS, DECLINED = 3, 5, 8, -1  # of Status; and a signal that is left to the steps


def run(d: Data, x: Tensor) -> Found:
    """From the signals `x (items, n)`, of which the k largest entries are taken."""
    best, steps = d.k.new_full((len(d.y), d.max_k), -1), torch.zeros_like(d.k)
    reach = (whole.TELLING + d.eta.double()) * (2 * d.A.shape[-1] * x.abs().amax(-1).double() + 2 * whole.length(d.y))
    status = torch.where(whole.fits_range(d, reach), RUNNING, DECLINED)
    given = d.k, d.eta.double(), d.target.double(), d.max_steps, x.to(whole.wide(x))
    whole.run(d, pursue, given, (d.tolerance**2,), (best, steps, status))
    return Found(best, steps, status.clamp(min=RUNNING))


@jit
def pursue(
    At: Array, GT: Array, y: Array, back: Array, weights: Array, k: Array, eta: Array, target: Array, max_steps: Array,
    x: Array, tolerance: Any, stop: Array, best: Array, steps: Array, status: Array,
) -> None:  # fmt: skip
    """From the k largest entries of `x (batch, n)`, the supports of least residual, `best (batch, max_k)`.

    `steps (batch,)` are those taken until the norm of the residual was at most `target (batch,)`, or a support was
    repeated. Supports have their best atom first and -1 where there is none.
    """
    m, n, max_k = y.shape[1], x.shape[1], best.shape[1]
    L, least = np.empty((max_k, max_k), x.dtype), max(PIVOT, tolerance)
    g, u, s, r = np.empty(n, x.dtype), np.empty(n, x.dtype), np.empty(n, weights.dtype), np.empty(m, x.dtype)
    z, dz, inside = np.empty(max_k, x.dtype), np.empty(max_k, x.dtype), np.empty(n, np.bool_)
    rank, order, fitted = np.empty(max_k, np.int64), np.empty(max_k, np.int64), np.empty(n, np.bool_)
    now, seen = np.empty(max_k, np.int64), np.empty(max_k, np.int64)
    for b in range(y.shape[0]):
        if status[b] != RUNNING:
            continue
        A, G, w = At[min(b, At.shape[0] - 1)], GT[min(b, GT.shape[0] - 1)], weights[min(b, weights.shape[0] - 1)]
        size = count = enter(x[b], w, k[b], s, rank, inside, order, z)
        subtract(A, order, size, z, y[b], r)
        norm, start = np.sqrt(energy(r)), energy(z[:size]) if size else 0.0
        now[:], seen[:] = -1, -1
        for j in range(n):
            fitted[j] = inside[j]
        if norm <= target[b]:
            status[b] = DECLINED if start > 0 else TOLERANCE
        t = 0
        while status[b] == RUNNING:
            if stop[0]:
                return
            if t >= max_steps[b]:
                status[b] = MAX_STEPS
                break
            if t > 0 and (t & (t - 1)) == 0:  # Brent: at every power of two remember a support
                seen[:] = now
            correlate(G, back[b], order, size, z, g)
            ascend(g, order, size, z, eta[b], u)
            count = largest(u, w, k[b], s, rank, inside, count)  # S = largest_k(x + eta A^H (y - A x))
            if holds(inside, now, count) or holds(inside, seen, count):
                status[b] = STATIONARY if holds(inside, now, count) else CYCLE
                t += 1
                break
            kept, size = reorder(rank, count, inside, order, size, fitted)
            there = kept if t > 0 else np.int64(0)  # rows of L
            left = fit(A, G, y[b], back[b], order, there, size, least, L, dz, z, r)  # x = LS(S)
            if left == np.inf:
                status[b] = DECLINED
                break
            for i in range(max_k):
                now[i] = rank[i] if i < count else -1
            t += 1
            if np.sqrt(left) < norm:
                norm = np.sqrt(left)
                best[b] = now
                if norm <= target[b]:
                    status[b] = TOLERANCE
        if best[b, 0] < 0 and start > 0:
            status[b] = DECLINED
        steps[b] = t
