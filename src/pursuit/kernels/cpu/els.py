"""Exhaustive Local Search on the CPU, by Numba: all swaps of one signal after another.

The gain of every swap is that of `pursuit.solvers.els.swap_gains`, computed from the Gram matrix. If that is too
inaccurate for the gain of some swap, because atoms are nearly parallel, the signal is declined: without that swap, all
later ones may be others, and worse.

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
from .gram import PIVOT, correlate, fit, solve
from .whole import DTYPES as DTYPES
from .whole import RUNNING, TOLERANCE

REFITS = True
worth = whole.forms
NO_DECREASE, MAX_STEPS = 4, 8  # of Status
LEAST_GAIN = 1e-12  # of ||r||^2: what counts as a decrease


def run(d: Data, support: Tensor) -> Found:
    """From the supports `(items, k)`, with -1 where there is no atom."""
    better = compact(support)
    reach = (whole.TELLING * whole.length(d.y)) ** 2
    status, steps = torch.where(whole.fits_range(d, reach), RUNNING, -1), torch.zeros_like(d.k)
    given = d.target.double(), d.max_steps
    whole.run(d, swap, given, (d.tolerance, LEAST_GAIN), (better, steps, status))
    return Found(better, steps, status.clamp(min=RUNNING))


def compact(support: Tensor) -> Tensor:
    """A copy with the -1 at the end."""
    return support.gather(-1, (support < 0).sort(dim=-1, stable=True).indices)


@jit
def project(G: Array, L: Array, order: Array, size: int, D: Array, outside: Array) -> None:
    """`D = M A_S^H A`, `(size, n)`, with `M = (A_S^H A_S)^-1`; `outside (n,)`: energy of each atom off S."""
    n = outside.size
    for j in range(n):
        outside[j] = G[j, j].real
    for i in range(size):
        row, column = D[i], G[order[i]]
        for j in range(n):
            row[j] = np.conj(column[j])
        for e in range(i):
            c, other = L[i, e], D[e]
            for j in range(n):
                row[j] -= c * other[j]
        c = 1 / L[i, i].real
        for j in range(n):
            row[j] *= c
            outside[j] -= row[j].real * row[j].real + row[j].imag * row[j].imag
    for i in range(size - 1, -1, -1):
        row, c = D[i], 1 / L[i, i].real
        for j in range(n):
            row[j] *= c
        for e in range(i):
            c, other = np.conj(L[i, e]), D[e]
            for j in range(n):
                other[j] -= c * row[j]


@jit
def diagonal(L: Array, size: int, e: Array, inverse: Array) -> None:
    """The diagonal of `(L L^H)^-1`."""
    for i in range(size):
        for h in range(size):
            e[h] = 1 if h == i else 0
        inverse[i] = solve(L, size, e)


@jit
def parallel(row: Array, order: Array, size: int, but: int, tolerance: Any) -> bool:
    """Whether an atom of `order[:size]`, except number `but`, is parallel to the atom of this row of G."""
    for i in range(size):
        g = row[order[i]]
        if i != but and g.real * g.real + g.imag * g.imag >= 1 - tolerance:
            return True
    return False


@jit
def best_swap(
    G: Array, D: Array, outside: Array, inverse: Array, z: Array, c: Array, w: Array, inside: Array, order: Array,
    size: int, tolerance: Any,
) -> tuple[bool, int, int]:  # fmt: skip
    """The swap of the largest weighted gain, ties to the first.

    Returns whether all gains are known, the place of the atom that leaves, and the column that enters; -1 for both if
    no swap gains.
    """
    gain, out, come, least = 0.0, -1, -1, max(PIVOT, tolerance)
    for i in range(size):
        row, lost = D[i], (np.conj(z[i]) * z[i]).real / inverse[i]
        share = z[i] / inverse[i]
        for j in range(c.size):
            d = np.conj(row[j])
            left = outside[j] + (d.real * d.real + d.imag * d.imag) / inverse[i]
            if inside[j] or w[j] == 0:
                continue
            if left <= least:  # in the span of the others, if the Gram matrix can tell so small a distance from none
                if tolerance < PIVOT and not parallel(G[j], order, size, i, tolerance):
                    return False, -1, -1
                continue
            v = c[j] + share * d
            value = w[j] * ((v.real * v.real + v.imag * v.imag) / left - lost)
            if value > gain:
                gain, out, come = value, i, j
    return True, out, come


@jit
def swap(
    At: Array, GT: Array, y: Array, back: Array, weights: Array, target: Array, max_steps: Array, tolerance: Any,
    least_gain: Any, stop: Array, support: Array, steps: Array, status: Array,
) -> None:  # fmt: skip
    """Improve `support (batch, max_k)`, whose empty places, -1, are at the end, swap by swap.

    It ends when the best swap lowers the energy of the residual by less than the share `least_gain`; `steps (batch,)`
    counts this swap too. `status` is as in `whole`.
    """
    m, n, max_k = y.shape[1], back.shape[1], support.shape[1]
    L, D = np.empty((max_k, max_k), y.dtype), np.empty((max_k, n), y.dtype)
    c, outside = np.empty(n, y.dtype), np.empty(n)
    z, dz, r, inverse = np.empty(max_k, y.dtype), np.empty(max_k, y.dtype), np.empty(m, y.dtype), np.empty(max_k)
    order, inside = np.empty(max_k, np.int64), np.empty(n, np.bool_)
    for b in range(y.shape[0]):
        if status[b] != RUNNING:
            continue
        A, G = At[min(b, At.shape[0] - 1)], GT[min(b, GT.shape[0] - 1)]
        w = weights[min(b, weights.shape[0] - 1)]
        size: Any = np.int64(0)
        for j in range(n):
            inside[j] = False
        for i in range(max_k):
            order[i] = support[b, i]
            if order[i] >= 0:
                inside[order[i]] = True
                size = i + 1
        left = fit(A, G, y[b], back[b], order, np.int64(0), size, PIVOT, L, dz, z, r)
        while status[b] == RUNNING and left < np.inf:
            if stop[0]:
                return
            if left <= target[b] * target[b]:
                status[b] = TOLERANCE
                break
            if steps[b] >= max_steps[b]:
                status[b] = MAX_STEPS
                break
            project(G, L, order, size, D, outside)
            diagonal(L, size, dz, inverse)
            correlate(G, back[b], order, size, z, c)
            told, out, come = best_swap(G, D, outside, inverse, z, c, w, inside, order, size, tolerance)
            if not told:
                break
            steps[b] += 1
            if out < 0:
                status[b] = NO_DECREASE
                break
            gone, order[out] = order[out], come
            before, left = left, fit(A, G, y[b], back[b], order, out, size, PIVOT, L, dz, z, r)
            if left < (1 - least_gain) * before:
                inside[gone], inside[come] = False, True
                support[b, out] = come
            elif left < np.inf:
                status[b] = NO_DECREASE
