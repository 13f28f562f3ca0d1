"""Append a column to a QR factorisation, and differentiate this, on the CPU, by Numba.

With Q orthonormal: `v = Q^H a`, `p = a - Q v`, `rho = ||p||`, `q = p / rho`, `gamma = q^H r`, `r' = r - q gamma`.
Arrays are contiguous: `Q (batch, t, m)`, which holds the columns as rows; `a`, `r`, `q (batch, m)`; `column
(batch, t + 1)`, which is v and rho; `gamma (batch, 1)`. A column in the span of the others is not `new`: q, v and gamma
are then zero, and rho is one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..jit import Array, jit


@jit
def inner(a: Array, b: Array) -> Any:
    """`a^H b`."""
    total = a.dtype.type(0)
    for j in range(a.size):
        total += np.conj(a[j]) * b[j]
    return total


@jit
def energy(a: Array) -> Any:
    """`||a||^2`."""
    total = a[0].real * 0
    for j in range(a.size):
        total += a[j].real * a[j].real + a[j].imag * a[j].imag
    return total


@jit
def forward(
    Q: Array, a: Array, r: Array, tolerance: Any, q: Array, column: Array, gamma: Array, rest: Array, new: Array
) -> None:
    """Append columns; `rest` is the residual r', `tolerance` the share of a column's energy that counts as rounding."""
    t, m = Q.shape[1], a.shape[1]
    c = np.empty(t, a.dtype)
    for b in range(a.shape[0]):
        p, v = q[b], column[b]
        p[:] = a[b]
        v[:] = 0
        for _ in range(2 if t else 0):  # twice is enough
            for i in range(t):
                c[i] = inner(Q[b, i], p)
            for i in range(t):
                v[i] += c[i]
                for j in range(m):
                    p[j] -= Q[b, i, j] * c[i]
        length = energy(p)
        new[b] = length > tolerance * energy(a[b]) and length > 0
        if new[b]:
            rho = np.sqrt(length)
            v[t] = rho
            for j in range(m):
                p[j] /= rho
        else:
            p[:] = 0
            v[:] = 0
            v[t] = 1
        gamma[b, 0] = inner(p, r[b])
        for j in range(m):
            rest[b, j] = r[b, j] - p[j] * gamma[b, 0]


@jit
def backward(
    Q: Array,
    a: Array,
    r: Array,
    q: Array,
    column: Array,
    gamma: Array,
    new: Array,
    of_q: Array,
    of_column: Array,
    of_gamma: Array,
    of_rest: Array,
    of_Q: Array,
    of_a: Array,
    of_r: Array,
) -> None:
    """Gradients with respect to Q, a and r, from those with respect to q, column, gamma and rest."""
    t, m = Q.shape[1], a.shape[1]
    of_v = np.empty(t, a.dtype)
    for b in range(a.shape[0]):
        p, w, g = q[b], of_a[b], of_gamma[b, 0] - inner(q[b], of_rest[b])
        for j in range(m):
            of_r[b, j] = of_rest[b, j] + p[j] * g
        if not new[b]:  # all that comes out is constant, but for r' = r
            w[:] = 0
            of_Q[b] = 0
            continue
        v, rho = column[b], column[b, t].real
        for j in range(m):
            w[j] = of_q[b, j] - of_rest[b, j] * np.conj(gamma[b, 0]) + r[b, j] * np.conj(g)
        along = inner(p, w).real
        for j in range(m):  # of p, before its part in v
            w[j] = (w[j] - p[j] * along) / rho + p[j] * of_column[b, t].real
        for i in range(t):
            of_v[i] = of_column[b, i] - inner(Q[b, i], w)
        for i in range(t):
            for j in range(m):
                of_Q[b, i, j] = a[b, j] * np.conj(of_v[i]) - w[j] * np.conj(v[i])
        for i in range(t):
            for j in range(m):
                w[j] += Q[b, i, j] * of_v[i]
