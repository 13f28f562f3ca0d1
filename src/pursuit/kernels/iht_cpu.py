"""Iterative Hard Thresholding on the CPU, by Numba: all steps of one signal after another, by the Gram matrix.

`A^H (y - A x) = A^H y - A^H A x` takes a row of the Gram matrix per atom. The residual itself is only formed where it
may be small enough to end with. The step that would be the last, since it moves nothing, is left to the solver. A
signal whose numbers come near the end of the range of the caller's precision is declined.

Arrays are those of `gram_cpu`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .append_cpu import energy
from .gram_cpu import correlate, subtract
from .jit import Array, jit
from .sea_cpu import before, merge


@jit
def ascend(G: Array, back: Array, order: Array, size: int, z: Array, eta: Any, g: Array, u: Array) -> None:
    """`u = x + eta g`, with `g = A^H (y - A x)` and `x` that has `z` at `order[:size]`."""
    correlate(G, back, order, size, z, g)
    for j in range(g.size):
        u[j] = eta * g[j]
    for i in range(size):
        u[order[i]] += z[i]


@jit
def largest(u: Array, w: Array, k: int, s: Array, rank: Array, inside: Array, count: int) -> int:
    """Bring the chosen atoms, `rank[:count]`, to the k of largest `w |u|`, best first, ties to the lowest index."""
    for j in range(u.size):
        s[j] = w[j] * abs(u[j]) if w[j] > 0 else -1
    for i in range(1, count):
        j, at = rank[i], i
        while at > 0 and before(s, j, rank[at - 1]):
            rank[at] = rank[at - 1]
            at -= 1
        rank[at] = j
    # `merge` compares the atoms outside with those chosen, whose order is right.
    return merge(s, rank, inside, count, k)


@jit
def enter(start: Array, rank: Array, inside: Array) -> int:
    """Take up the support `start`, with -1 at the end; how many atoms it has."""
    count = 0
    for j in range(inside.size):
        inside[j] = False
    for i in range(start.size):
        if start[i] >= 0:
            rank[count] = start[i]
            inside[start[i]] = True
            count += 1
    return count


@jit
def iterate(
    At: Array, GT: Array, y: Array, back: Array, weights: Array, k: Array, eta: Array, target: Array, max_steps: Array,
    still: Any, limit: Any, x: Array, support: Array, steps: Array,
) -> None:  # fmt: skip
    """From the signals `x (batch, n)` with non-zeros at `support (batch, most)`, which both move, the last iterates.

    `steps (batch,)` are those taken until the norm of the residual was at most `target (batch,)`, or up to the one that
    would move x by less than the share `still` of its norm; none where the signal is declined, since the energy of the
    residual, or of a step along it, might exceed `limit`.
    """
    m, n, most = y.shape[1], x.shape[1], support.shape[1]
    g, u, s, r = np.empty(n, x.dtype), np.empty(n, x.dtype), np.empty(n, weights.dtype), np.empty(m, x.dtype)
    z, rank, order = np.empty(most, x.dtype), np.empty(most, np.int64), np.empty(most, np.int64)
    inside = np.empty(n, np.bool_)
    for b in range(y.shape[0]):
        A, G = At[min(b, At.shape[0] - 1)], GT[min(b, GT.shape[0] - 1)]
        w, whole = weights[min(b, weights.shape[0] - 1)], energy(y[b])
        count = enter(support[b], rank, inside)
        size = count
        for i in range(size):
            order[i] = rank[i]
            z[i] = x[b, order[i]]
        for t in range(max_steps[b]):
            ascend(G, back[b], order, size, z, eta[b], g, u)
            left = whole  # the energy of the residual, as well as it can be told without it
            for i in range(size):
                left -= (np.conj(z[i]) * (back[b, order[i]] + g[order[i]])).real
            if t > 0 and left < target[b] * target[b] + 1e-6 * whole:
                subtract(A, order, size, z, y[b], r)
                if energy(r) <= target[b] * target[b]:
                    break
            count = largest(u, w, k[b], s, rank, inside, count)
            change, length = 0.0, 0.0
            for i in range(size):
                if not inside[order[i]]:
                    change += (np.conj(z[i]) * z[i]).real
            for i in range(count):
                v, d = u[rank[i]], u[rank[i]] - x[b, rank[i]]
                length += (np.conj(v) * v).real
                change += (np.conj(d) * d).real
            if not (1 + eta[b] * eta[b]) * (whole + count * length) <= limit:
                steps[b] = 0
                break
            if change <= still * still * length:
                break
            for i in range(size):
                x[b, order[i]] = 0
            size = count
            for i in range(size):  # x = H_k(u)
                order[i] = rank[i]
                z[i] = u[order[i]]
                x[b, order[i]] = z[i]
            steps[b] = t + 1
        for i in range(most):
            support[b, i] = order[i] if i < size else -1
