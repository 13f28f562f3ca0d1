"""The Support Exploration Algorithm on the CPU, by Numba: all steps of one signal after another.

Everything but the residual is computed from the Gram matrix. Atoms are factored in the order in which they came into
the support; from step to step, the rows before the first atom that left are kept, and the others are computed again.
`A^H r = A^H y - A^H A_S z` takes a row of the Gram matrix per atom. The residual itself is formed only if it may be the
least so far. If the Gram matrix is too inaccurate, the columns themselves are orthogonalised, twice, which is ten times
as much work, and rare. X moves by the residual alone, which is the same for any fit on a dependent support. If rounding
decides whether a support is dependent, the signal is declined.

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
from .append import energy, inner
from .gram import PIVOT, cholesky, correlate, refine, solve, subtract
from .whole import DTYPES as DTYPES
from .whole import RUNNING, TOLERANCE

REFITS = True
worth = whole.forms
EXPLORED = 6  # of Status
DOUBT = 1e-26  # squared distance of a column from the span of others that may be rounding, if they are a little alike


def run(d: Data, X: Tensor) -> Found:
    """From the exploration variables `X (items, n)`."""
    moved, norm = X.to(whole.wide(X), copy=True), whole.length(d.y)
    reach = moved.abs().amax(-1) + d.max_steps * d.eta.double() * norm
    status, steps = whole.begin(d, norm, reach), torch.zeros_like(d.k)
    best = d.k.new_full((len(d.y), d.max_k), -1)
    given = d.k, d.eta.double(), d.target.double(), d.max_steps
    whole.run(d, explore, given, (d.tolerance**2,), (moved, best, norm, steps, status))
    return Found(best, steps, status.clamp(min=RUNNING))


@jit
def before(s: Array, i: int, j: int) -> Any:
    """Whether the score of i is larger than that of j, ties to the lowest index."""
    return s[i] > s[j] or (s[i] == s[j] and i < j)


@jit
def merge(s: Array, rank: Array, inside: Array, count: int, k: int) -> int:
    """Update the chosen atoms `rank[:count]`, whose scores must be as before, to the k best; returns their number."""
    low = s[rank[k - 1]] if count == k else s.dtype.type(0)
    for j in range(s.size):
        if s[j] < low or inside[j]:
            continue
        if count < k:
            count += 1
        elif before(s, j, rank[k - 1]):
            inside[rank[k - 1]] = False
        else:
            continue
        at = count - 1
        while at > 0 and before(s, j, rank[at - 1]):
            rank[at] = rank[at - 1]
            at -= 1
        rank[at] = j
        inside[j] = True
    return count


@jit
def reorder(rank: Array, count: int, inside: Array, order: Array, size: int, fitted: Array) -> tuple[int, int]:
    """Bring the support into the order of its factorisation, `order`: atoms that stay, then new ones.

    Returns how many atoms at its beginning have kept their places, and how many atoms there are.
    """
    kept = left = 0
    for i in range(size):
        j = order[i]
        if inside[j]:
            order[left] = j
            left += 1
        else:
            fitted[j] = False
        kept += left == i + 1
    for i in range(count):
        j = rank[i]
        if not fitted[j]:
            fitted[j] = True
            order[left] = j
            left += 1
    return kept, left


@jit
def holds(inside: Array, seen: Array, count: int) -> bool:
    """Whether the `count` atoms `inside` are those of the support `seen`, whose empty places are -1."""
    there = 0
    for i in range(seen.size):
        if seen[i] >= 0:
            if not inside[seen[i]]:
                return False
            there += 1
    return there == count


@jit
def remove(A: Array, order: Array, size: int, tolerance: Any, Q: Array, r: Array) -> bool:
    """Subtract from `r` its projection on the span of `order[:size]`, by Gram-Schmidt, done twice.

    Dependent atoms are left out. This finds the residual without coefficients, which may be large. Returns False if
    rounding decides whether an atom is dependent: its squared distance from the others is above `tolerance`, but not
    above `DOUBT`.
    """
    for i in range(size):
        q, a = Q[i], A[order[i]]
        for e in range(q.size):
            q[e] = a[e]
        for _ in range(2 if i else 0):
            for j in range(i):
                c = inner(Q[j], q)
                for e in range(q.size):
                    q[e] -= Q[j, e] * c
        length, least = energy(q), tolerance * energy(a)
        if least < length <= DOUBT * energy(a):
            return False
        scale = 1 / np.sqrt(length) if length > least else 0.0
        for e in range(q.size):
            q[e] *= scale
        c = inner(q, r)
        for e in range(q.size):
            r[e] -= q[e] * c
    return True


@jit
def explore(
    At: Array, GT: Array, y: Array, back: Array, weights: Array, k: Array, eta: Array, target: Array, max_steps: Array,
    tolerance: Any, stop: Array, X: Array, best: Array, norm: Array, steps: Array, status: Array,
) -> None:  # fmt: skip
    """Find the supports of least residual from the exploration variables `X (batch, n)`, which are overwritten.

    `back (batch, n)` is `A^H y`; `weights (1 or batch, n)` multiply scores, and atoms of weight zero are never chosen.
    Outputs are `best (batch, max_k)`, best atom first, -1 at the end; `norm (batch,)`, the norm of its residual, which
    at the start is that of y; `steps (batch,)` taken until it was at most `target (batch,)`; and `status`. Signals with
    status RUNNING are solved; those that are declined have it again in the end.
    """
    m, n, max_k = y.shape[1], X.shape[1], best.shape[1]
    L, Q = np.empty((max_k, max_k), X.dtype), np.empty((min(m, max_k), m), X.dtype)
    z, dz, g, r = np.empty(max_k, X.dtype), np.empty(max_k, X.dtype), np.empty(n, X.dtype), np.empty(m, X.dtype)
    s, rank, order = np.empty(n, weights.dtype), np.empty(max_k, np.int64), np.empty(max_k, np.int64)
    inside, fitted = np.empty(n, np.bool_), np.empty(n, np.bool_)
    for b in range(y.shape[0]):
        if status[b] != RUNNING:
            continue
        status[b] = EXPLORED
        A, G = At[min(b, At.shape[0] - 1)], GT[min(b, GT.shape[0] - 1)]
        w, x, all_of_y = weights[min(b, weights.shape[0] - 1)], X[b], energy(y[b])
        zero: Any = np.int64(0)
        count = size = valid = zero
        for j in range(n):
            inside[j] = fitted[j] = False
            s[j] = w[j] * abs(x[j]) if w[j] > 0 else -1
        for t in range(max_steps[b]):
            if stop[0]:
                return
            steps[b] = t + 1
            count = merge(s, rank, inside, count, k[b])  # S^t = the k largest |X^t|
            before_it = size
            kept, size = reorder(rank, count, inside, order, size, fitted)
            if t == 0 or kept < before_it or size > before_it:
                factored = cholesky(G, order, min(kept, valid), size, PIVOT, L)
                valid = size if factored else 0
                left = 0.0  # the energy of the residual, as well as it can be told without it
                if factored:  # x^t = LS(S^t)
                    for i in range(size):
                        z[i] = back[b, order[i]]
                    left = all_of_y - solve(L, size, z)
                # The best support may come back in another order, and must not seem better by rounding.
                may_be_best = left < norm[b] * norm[b] + 1e-6 * all_of_y and not holds(inside, best[b], count)
                if not factored:
                    r[:] = y[b]
                    if not remove(A, order, size, tolerance, Q, r):
                        status[b] = RUNNING
                        break
                elif may_be_best:
                    subtract(A, order, size, z, y[b], r)
                    refine(A, order, size, L, y[b], dz, z, r)
                if may_be_best:
                    length = np.sqrt(energy(r))
                    if length < norm[b]:  # t_BEST: the first minimiser
                        norm[b] = length
                        for i in range(max_k):
                            best[b, i] = rank[i] if i < count else -1
                        if length <= target[b]:
                            status[b] = TOLERANCE
                            break
                if factored:
                    correlate(G, back[b], order, size, z, g)
                else:
                    for j in range(n):
                        g[j] = inner(A[j], r)
                for i in range(count):
                    g[rank[i]] = 0  # the gradient vanishes on S^t
            for j in range(n):
                x[j] += eta[b] * g[j]  # X^{t+1} = X^t - eta A^H (A x^t - y)
                s[j] = w[j] * abs(x[j]) if w[j] > 0 else s[j]
