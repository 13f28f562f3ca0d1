"""Least squares on a few atoms by their Gram matrix, on the CPU, by Numba.

The Gram matrix has the squared condition number of the columns, so that half of the digits are lost. `cholesky` rejects
supports for which the others are too few, and `refine` restores most of the lost ones.

Columns of A have norm one. Atoms are rows: `At (1 or batch, n, m)`. `GT (1 or batch, n, n)` is the Gram matrix
transposed, `GT[i, j] = a_j^H a_i`, and `back (batch, n)` is `A^H y`. The functions below
take those of one signal. A support is `order[:size]`, in the order of its factorisation.

A kernel declines a signal for which it cannot decide as the solver's steps would: the status is then RUNNING, whatever
else the kernel has written, and the steps run from the solver's own start.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..jit import Array, jit
from .append import energy, inner

PIVOT = 1e-8  # squared distance of a column from the span of others, below which the Gram matrix is too inaccurate


@jit
def cholesky(G: Array, order: Array, kept: int, size: int, least: Any, L: Array) -> bool:
    """Factor `A_S^H A_S = L L^H` of the atoms `order[:size]`, of which the rows `L[:kept]` are given.

    Returns False if a squared pivot is not above `least`, which is `PIVOT` or more.
    """
    for i in range(kept, size):
        row, column = L[i], G[order[i]]
        d = column[order[i]].real
        for j in range(i):
            c = np.conj(column[order[j]])
            for e in range(j):
                c -= np.conj(L[j, e]) * row[e]
            row[j] = c / L[j, j]
            d -= (np.conj(row[j]) * row[j]).real
        if not d > least:
            return False
        row[i] = np.sqrt(d)
    return True


@jit
def solve(L: Array, size: int, z: Array) -> Any:
    """Replace z by `(L L^H)^-1 z`; returns `||L^-1 z||^2`: for `z = A_S^H y`, how much energy of y the fit explains."""
    taken = z[0].real * 0
    for i in range(size):
        for e in range(i):
            z[i] -= L[i, e] * z[e]
        z[i] /= L[i, i]
        taken += (np.conj(z[i]) * z[i]).real
    for i in range(size - 1, -1, -1):
        z[i] /= L[i, i]
        for e in range(i):
            z[e] -= np.conj(L[i, e]) * z[i]
    return taken


@jit
def subtract(A: Array, order: Array, size: int, z: Array, y: Array, r: Array) -> None:
    """`r = y - A_S z`."""
    for e in range(r.size):
        r[e] = y[e]
    for i in range(size):
        atom, c = A[order[i]], z[i]
        for e in range(r.size):
            r[e] -= atom[e] * c


@jit
def correlate(G: Array, back: Array, order: Array, size: int, z: Array, g: Array) -> None:
    """`g = A^H (y - A_S z)`, by a row of the Gram matrix per atom."""
    for j in range(g.size):
        g[j] = back[j]
    for i in range(size):
        row, c = G[order[i]], z[i]
        for j in range(g.size):
            g[j] -= row[j] * c


@jit
def refine(A: Array, order: Array, size: int, L: Array, y: Array, dz: Array, z: Array, r: Array) -> None:
    """Improve the fit `z` and its residual `r` by the normal equations of the residual: to nearly all digits."""
    for i in range(size):
        dz[i] = inner(A[order[i]], r)
    solve(L, size, dz)
    for i in range(size):
        z[i] += dz[i]
    subtract(A, order, size, z, y, r)


@jit
def fit(
    A: Array, G: Array, y: Array, back: Array, order: Array, kept: int, size: int, least: Any,
    L: Array, dz: Array, z: Array, r: Array,
) -> Any:  # fmt: skip
    """Least squares `z` on `order[:size]`, and the residual `r`; returns the energy of r, infinity if it cannot."""
    if not cholesky(G, order, kept, size, least, L):
        return np.inf
    for i in range(size):
        z[i] = back[order[i]]
    solve(L, size, z)
    subtract(A, order, size, z, y, r)
    refine(A, order, size, L, y, dz, z, r)
    return energy(r)
