"""Iterative Hard Thresholding on the CPU, by Numba: all steps of one signal after another, by the Gram matrix.

`A^H (y - A x) = A^H y - A^H A x` takes a row of the Gram matrix per atom. The residual itself is formed only if it
may be small enough to stop. A signal is declined if its numbers come near the largest ones of the caller's precision.

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
from .gram import correlate, subtract
from .sea import before, merge
from .whole import DTYPES as DTYPES
from .whole import RUNNING, TOLERANCE

REFITS = False
worth = whole.small
STATIONARY, MAX_STEPS, DECLINED = 3, 8, -1  # of Status; and a signal that is left to the steps
STILL = 10  # a change of x by so many roundings counts as none


def run(d: Data, x: Tensor) -> Found:
    """From the signals `x (items, n)`, of which the k largest entries are taken."""
    moved, support = x.to(whole.wide(x), copy=True), d.k.new_full((len(d.y), d.max_k), -1)
    steps, status = torch.zeros_like(d.k), torch.full_like(d.k, RUNNING)
    room = whole.limit(d) / d.weights.double().amax(-1).clamp(min=1).expand(len(d.y)) ** 2
    given = d.k, d.eta.double(), d.target.double(), d.max_steps, room.contiguous()
    still = STILL * torch.finfo(d.y.dtype).eps
    whole.run(d, iterate, given, (still,), (moved, support, steps, status))
    return Found(support, steps, status.clamp(min=RUNNING), x=moved.to(x.dtype))


@jit
def ascend(g: Array, order: Array, size: int, z: Array, eta: Any, u: Array) -> None:
    """`u = x + eta g`, where `x` has the values `z` at `order[:size]`, and is zero elsewhere."""
    for j in range(g.size):
        u[j] = eta * g[j]
    for i in range(size):
        u[order[i]] += z[i]


@jit
def largest(u: Array, w: Array, k: int, s: Array, rank: Array, inside: Array, count: int) -> int:
    """Update the chosen atoms, `rank[:count]`, to the k of largest `w |u|`, best first, ties to the lowest index."""
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
def enter(x: Array, w: Array, k: int, s: Array, rank: Array, inside: Array, order: Array, z: Array) -> int:
    """Find the k largest entries of `x`: values `z` at the places `order`; returns how many there are."""
    for j in range(x.size):
        inside[j] = False
    count = largest(x, w, k, s, rank, inside, np.int64(0))
    for i in range(count):
        order[i] = rank[i]
        z[i] = x[rank[i]]
    return count


@jit
def iterate(
    At: Array, GT: Array, y: Array, back: Array, weights: Array, k: Array, eta: Array, target: Array, max_steps: Array,
    room: Array, still: Any, stop: Array, x: Array, support: Array, steps: Array, status: Array,
) -> None:  # fmt: skip
    """Iterate from the signals `x (batch, n)`, which are overwritten; `support (batch, max_k)` are the last atoms.

    `steps (batch,)` are those taken until the norm of the residual was at most `target (batch,)`, or x moved by less
    than the share `still` of its norm. A signal is declined where the energy of the residual, or of a step along it,
    might exceed `room (batch,)`.
    """
    m, n, max_k = y.shape[1], x.shape[1], support.shape[1]
    g, u, s, r = np.empty(n, x.dtype), np.empty(n, x.dtype), np.empty(n, weights.dtype), np.empty(m, x.dtype)
    z, rank, order = np.empty(max_k, x.dtype), np.empty(max_k, np.int64), np.empty(max_k, np.int64)
    inside = np.empty(n, np.bool_)
    for b in range(y.shape[0]):
        A, G = At[min(b, At.shape[0] - 1)], GT[min(b, GT.shape[0] - 1)]
        w, all_of_y, goal = weights[min(b, weights.shape[0] - 1)], energy(y[b]), target[b] * target[b]
        size = count = enter(x[b], w, k[b], s, rank, inside, order, z)
        x[b] = 0
        for i in range(size):
            x[b, order[i]] = z[i]
        subtract(A, order, size, z, y[b], r)
        left, growth = energy(r), 1 + eta[b] * eta[b]
        if left <= goal:
            status[b] = TOLERANCE
        elif not growth * max(left, 1.0) <= room[b]:
            status[b] = DECLINED
        elif max_steps[b] == 0:
            status[b] = MAX_STEPS
        if status[b] == RUNNING:
            correlate(G, back[b], order, size, z, g)
        while status[b] == RUNNING:
            if stop[0]:
                return
            ascend(g, order, size, z, eta[b], u)  # u = x + eta A^H (y - A x)
            count = largest(u, w, k[b], s, rank, inside, count)
            change, length = 0.0, 0.0
            for i in range(size):
                if not inside[order[i]]:
                    change += (np.conj(z[i]) * z[i]).real
            for i in range(count):
                v, d = u[rank[i]], u[rank[i]] - x[b, rank[i]]
                length += (np.conj(v) * v).real
                change += (np.conj(d) * d).real
            if not growth * (all_of_y + count * length) <= room[b]:
                status[b] = DECLINED
                break
            for i in range(size):
                x[b, order[i]] = 0
            size = count
            for i in range(size):  # x = H_k(u)
                order[i] = rank[i]
                z[i] = u[order[i]]
                x[b, order[i]] = z[i]
            steps[b] += 1
            correlate(G, back[b], order, size, z, g)
            left = all_of_y  # the energy of the residual, as well as it can be told without it
            for i in range(size):
                left -= (np.conj(z[i]) * (back[b, order[i]] + g[order[i]])).real
            if left < goal + 1e-6 * all_of_y:
                subtract(A, order, size, z, y[b], r)
                if energy(r) <= goal:
                    status[b] = TOLERANCE
                    break
            if change <= still * still * length:
                status[b] = STATIONARY
            elif steps[b] >= max_steps[b]:
                status[b] = MAX_STEPS
        for i in range(max_k):
            support[b, i] = order[i] if i < size else -1
