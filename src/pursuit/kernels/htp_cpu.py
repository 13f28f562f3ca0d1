"""Hard Thresholding Pursuit on the CPU, by Numba: all cycles of one signal after another, by the Gram matrix.

The factorisation is updated as in `sea_cpu`. The cycle that would be the last, since its support has been there before,
is left to the solver. A signal with a support that the Gram matrix cannot tell from a dependent one is declined: where
the fit is not unique, which one it is decides what comes next.

Arrays are those of `gram_cpu`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .gram_cpu import PIVOT, fit
from .iht_cpu import ascend, enter, largest
from .sea_cpu import reorder
from .softsort_cpu import Array, jit


@jit
def holds(inside: Array, seen: Array, count: int) -> bool:
    """Whether the support `inside`, of `count` atoms, is `seen`, with -1 where there is none."""
    there = 0
    for i in range(seen.size):
        if seen[i] >= 0:
            if not inside[seen[i]]:
                return False
            there += 1
    return there == count


@jit
def pursue(
    At: Array, GT: Array, y: Array, back: Array, weights: Array, k: Array, eta: Array, target: Array, max_steps: Array,
    tolerance: Any, x: Array, now: Array, seen: Array, best: Array, norm: Array, steps: Array,
) -> None:  # fmt: skip
    """From the signals `x (batch, n)` with non-zeros at `now (batch, most)` the supports of least residual.

    `x` is left as it is. Out come the last support `now`, the one remembered by the cycle detection, `seen`, and the
    `best`, each best atom first, -1 where there is none; `norm (batch,)` of the best one's residual, which is that of
    the start at the start; and `steps (batch,)` taken until it was at most `target (batch,)`, or up to the one that
    comes back to a support; none where the signal is declined.
    """
    m, n, most = y.shape[1], x.shape[1], now.shape[1]
    L, least = np.empty((most, most), x.dtype), max(PIVOT, tolerance)
    g, u, s, r = np.empty(n, x.dtype), np.empty(n, x.dtype), np.empty(n, weights.dtype), np.empty(m, x.dtype)
    z, dz, inside, fitted = (
        np.empty(most, x.dtype),
        np.empty(most, x.dtype),
        np.empty(n, np.bool_),
        np.empty(n, np.bool_),
    )
    rank, order = np.empty(most, np.int64), np.empty(most, np.int64)
    for b in range(y.shape[0]):
        A, G = At[min(b, At.shape[0] - 1)], GT[min(b, GT.shape[0] - 1)]
        w, count = weights[min(b, weights.shape[0] - 1)], enter(now[b], rank, inside)
        size = count
        for j in range(n):
            fitted[j] = inside[j]
        for i in range(size):
            order[i] = rank[i]
            z[i] = x[b, order[i]]
        for t in range(max_steps[b]):
            if t > 0 and (t & (t - 1)) == 0:  # Brent: at every power of two remember a support
                for i in range(most):
                    seen[b, i] = now[b, i]
            ascend(G, back[b], order, size, z, eta[b], g, u)
            count = largest(u, w, k[b], s, rank, inside, count)  # S = largest_k(x + eta A^H (y - A x))
            if count == 0 or (t > 0 and (holds(inside, now[b], count) or holds(inside, seen[b], count))):
                break
            kept, size = reorder(rank, count, inside, order, size, fitted)
            left = fit(A, G, y[b], back[b], order, kept if t > 0 else 0, size, least, L, dz, z, r)  # x = LS(S)
            if left == np.inf:
                steps[b] = 0
                break
            for i in range(most):
                now[b, i] = rank[i] if i < count else -1
            steps[b] = t + 1
            length = np.sqrt(left)
            if length < norm[b]:
                norm[b] = length
                for i in range(most):
                    best[b, i] = now[b, i]
                if length <= target[b]:
                    break
