"""Orthogonal Matching Pursuit and Orthogonal Least Squares on the CPU, by Numba: one text for both and for all dtypes.

With `A_S = Q R`, every step adds a column `q` to Q, and what is asked of it is `u = A^H q`: then the correlations
`c = A^H r` become `c - u (q^H r)`, and what is left of every column outside the span `rest - |u|^2`. OMP takes the
largest `w |c|`, OLS the largest `w |c| / sqrt(rest)`. There are two ways to u:

- `by_gram`: `u = (G_i - sum_l u_l conj(u_l[i])) / ||a_i outside the span||` from a row of `G = A^H A`. It is
  faster for many signals. A signal for which rounding could matter is left to `by_columns`.
- `by_columns`: q by Gram-Schmidt, done twice, and the product. It is as accurate as the solver's steps, and needs no G.

What is as long as a row of A lies in tiles of `T = TILE * lanes` numbers, those of one tile and of all steps
together: `U[tile][step][plane][T]`, so that a step reads memory in one go. Planes are the real and the imaginary part.
Columns that only fill the last tile have weight zero. Signals are scaled by a power of two to a norm near one, so
that squares neither overflow nor vanish.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..jit import Array, inside, jit
from .vectors import (
    PANEL,
    ROWS,
    TILE,
    fma,
    load,
    over,
    panel_of_few,
    panel_of_rows,
    splat,
    store,
    times,
    where_greater,
)

RUNNING, TOLERANCE, EXHAUSTED, MAX_STEPS = 0, 1, 7, 8  # of Status
SECOND = TILE + 1
SIDE = 32  # of the blocks by which a matrix is transposed
DEPTH = 512  # rows of A that a product takes at a time, so that they stay in the cache
SIGNALS = 48  # whose correlations are formed together
LOST = 64  # roundings of the energy of y, below which a difference of energies says nothing
NEAR = 1.3  # a norm that is nearer than this factor to the target may be on either side of it


class Numbers(NamedTuple):
    """What is the same for all signals."""

    least: Any  # share of a column outside the span that `by_gram` takes
    eps: Any
    lost: Any  # of the energy of y: what is less may be rounding
    near: Any  # a factor: norms that are nearer may be the same
    same: Any  # likewise, where they come from one sum in another order
    fresh: Any  # a share: correlations are updated until the residual has fallen by it, then they are computed anew
    zero: Any
    one: Any
    floor: Any  # of that share squared, for OLS
    tolerance: Any  # of the rank
    ols: bool
    full: int
    planes: int  # two of complex numbers
    range: int  # of exponents
    T: int


class Matrix(NamedTuple):
    """A as flat numbers with the strides of rows and columns; and in tiles, `jump` apart, with rows `step` apart."""

    A: Array
    row: int
    column: int
    tiles: Array
    step: int
    jump: int


class Signals(NamedTuple):
    """What is given for every signal; `square` are the squared weights, in whole tiles."""

    y: Array
    square: Array
    k: Array
    target: Array
    max_steps: Array


class Results(NamedTuple):
    """The results of every signal; `status` is given at the start, and `left` is the norm of the residual."""

    support: Array
    steps: Array
    status: Array
    z: Array
    left: Array


class Work(NamedTuple):
    """Memory for one signal, in the dtype of y, and (`flat`) the same as real numbers."""

    y: Array  # (m,) scaled
    r: Array  # (m,)
    B: Array  # (k, m): chosen columns, or an orthonormal basis of their span
    R: Array  # (k, k): a column of the triangular factor in every row
    rho: Array  # (k,) Q^H y
    z: Array
    d: Array
    flat_B: Array
    flat_R: Array
    flat_rho: Array
    square: Array  # (N,) zero for what is chosen
    rest: Array  # (N,)


@jit
def pack(A: Array, m: int, n: int, planes: int, T: int, begin: int, end: int, out: Array) -> None:
    """The tiles `begin` to `end` of a matrix, `out[tile][row of A][plane][T]`; A is flat, its planes in turn."""
    for t in range(begin, end):
        for i in range(m):
            for plane in range(planes):
                to, at = ((t * m + i) * planes + plane) * T, (i * n + t * T) * planes + plane
                here = min(T, n - t * T)
                if planes == 1:  # numbers in one piece, which are copied many at a time
                    for u in range(here):
                        out[to + u] = A[at + u]
                else:
                    for u in range(here):
                        out[to + u] = A[at + u * planes]
                for u in range(here, T):
                    out[to + u] = 0


@inside
def correlate(
    A: Array, step: int, jump: int, first: int, N: int, T: int, V: Array, m: int, rows: int, out: Array
) -> None:
    """`out[row][N] = V A` from the tile `first` on, for `rows` rows of `V[row][m]`.

    The rows of A are `step` apart, its tiles `jump`. V and out have room for whole groups of rows: of
    ROWS, or of 2 where there are no more.
    """
    group = 2 if rows <= 2 else ROWS
    width = T * PANEL // TILE
    out[: -(-rows // group) * group * N] = 0
    for t in range(first, N // T):
        for i in range(0, m, DEPTH):
            count = min(DEPTH, m - i)
            for r in range(0, rows, group):
                for u in range(0, T, width):
                    a, v, to = t * jump + i * step + u, r * m + i, r * N + t * T + u
                    if group == 2:
                        panel_of_few(A, a, step, V, v, m, count, out, to, N)
                    else:
                        panel_of_rows(A, a, step, V, v, m, count, out, to, N)


@inside
def real_row(g: Array, at: int, U: Array, r: Array, scale: Any, k: int, t: int, N: int, T: int) -> None:
    """`U[t] = (g - sum_{h < t} U[h] r[h]) scale`, with g flat from `at` on, `U[tile][step][T]`, and r twice as long."""
    s = splat(scale)
    for tile in range(N // T):
        i, q = at + tile * T, tile * k * T
        a, b, c, d = load(g, i, 0), load(g, i, 1), load(g, i, 2), load(g, i, 3)
        for j in range(t):
            x = splat(-r[2 * j])
            a, b = fma(x, load(U, q, 0), a), fma(x, load(U, q, 1), b)
            c, d = fma(x, load(U, q, 2), c), fma(x, load(U, q, 3), d)
            q += T
        store(U, q, 0, times(a, s))
        store(U, q, 1, times(b, s))
        store(U, q, 2, times(c, s))
        store(U, q, 3, times(d, s))


@inside
def complex_row(g: Array, at: int, U: Array, r: Array, scale: Any, k: int, t: int, N: int, T: int) -> None:
    """The same with planes, `g[plane][N]` and `U[tile][step][plane][T]`: `U[h] conj(r[h])` is subtracted."""
    s = splat(scale)
    for tile in range(N // T):
        for half in range(0, T, T // 2):
            i, q = at + tile * T + half, 2 * tile * k * T + half
            a, b, c, d = load(g, i, 0), load(g, i, 1), load(g, i + N, 0), load(g, i + N, 1)
            for j in range(t):
                x, y, z = splat(-r[2 * j]), splat(-r[2 * j + 1]), splat(r[2 * j + 1])
                e, f, h, o = load(U, q, 0), load(U, q, 1), load(U, q, TILE), load(U, q, SECOND)
                a, b = fma(y, h, fma(x, e, a)), fma(y, o, fma(x, f, b))
                c, d = fma(z, e, fma(x, h, c)), fma(z, f, fma(x, o, d))
                q += 2 * T
            store(U, q, 0, times(a, s))
            store(U, q, 1, times(b, s))
            store(U, q, TILE, times(c, s))
            store(U, q, SECOND, times(d, s))


@inside
def advance(
    x: Numbers, U: Array, at: int, leap: int, plane: int, re: Any, im: Any, c: Array, here: int, square: Array,
    rest: Array, best: Array,
) -> int:  # fmt: skip
    """`c -= u (re + i im)` and `rest -= |u|^2`; returns the atom of the largest score, the first of them; or -1.

    u lies in U from `at` on, its tiles `leap` apart, its planes `plane`; `c[plane][N]` in a flat array from `here` on;
    `square` are w^2; `best` has room for two vectors. Scores are squared. A column with a `rest` of `floor` or less is
    in the span.
    """
    N, T, L = square.size, x.T, x.T // TILE
    zero, one, none, low = splat(x.zero), splat(x.one), splat(-x.one), splat(x.floor)
    v, y, z = splat(-re), splat(-im), splat(im)
    top, place = zero, none
    for tile in range(N // T):
        for u in range(TILE):
            j = tile * T + u * L
            i, q = here + j, at + tile * leap + u * L
            a = load(U, q, 0)
            p = fma(v, a, load(c, i, 0))
            power = times(a, a)
            if x.planes == 2:
                b = load(U, q + plane, 0)
                p, o = fma(z, b, p), fma(y, a, fma(v, b, load(c, i + N, 0)))
                store(c, i + N, 0, o)
                score, power = fma(p, p, times(o, o)), fma(b, b, power)
            else:
                score = times(p, p)
            store(c, i, 0, p)
            score = times(score, load(square, j, 0))
            if x.ols:
                left = fma(none, power, load(rest, j, 0))
                store(rest, j, 0, left)
                score = where_greater(left, low, over(score, where_greater(left, low, left, one)), zero)
            place = where_greater(score, top, splat(x.zero + np.float32(tile * TILE + u)), place)
            top = where_greater(score, top, score, top)
    store(best, 0, 0, top)
    store(best, 0, 1, place)
    value, first = x.zero, -1
    for lane in range(L):
        index = int(best[L + lane]) * L + lane
        if best[lane] > value or (best[lane] == value and value > 0 and index < first):
            value, first = best[lane], index
    return first


@inside
def fill(y: Array, planes: int, V: Array, at: int) -> None:
    """Rows of V whose products with a matrix in tiles are the planes of `A^H y`: `(re, im, ..)` and `(im, -re, ..)`."""
    m = y.size
    if planes == 1:
        for i in range(m):
            V[at + i] = y[i].real
    else:
        for i in range(m):
            re, im = y[i].real, y[i].imag
            V[at + 2 * i], V[at + 2 * i + 1] = re, im
            V[at + 2 * m + 2 * i], V[at + 2 * m + 2 * i + 1] = im, -re


@inside
def energy_of(a: Array) -> Any:
    """`||a||^2`."""
    total = a[0].real - a[0].real
    for i in range(a.size):
        total += a[i].real * a[i].real + a[i].imag * a[i].imag
    return total


@inside
def inner(B: Array, h: int, b: Array) -> Any:
    """`B[h]^H b`."""
    total = b.dtype.type(0)
    for i in range(b.size):
        total += np.conj(B[h, i]) * b[i]
    return total


@inside
def subtract(B: Array, h: int, x: Any, b: Array) -> None:
    """`b -= B[h] x`."""
    for i in range(b.size):
        b[i] -= B[h, i] * x


@inside
def solve(R: Array, t: int, rho: Array, z: Array) -> None:
    """`R z = rho` with R upper triangular, a column of it in every row of the array."""
    for j in range(t):
        z[j] = rho[j]
    for j in range(t - 1, -1, -1):
        z[j] /= R[j, j]
        for h in range(j):
            z[h] -= R[j, h] * z[j]


@inside
def polish(y: Array, B: Array, R: Array, t: int, z: Array, r: Array, d: Array) -> Any:
    """One step of `z += (R^H R)^-1 B^H (y - B z)`, a column of B in every row; returns the energy of the new residual.

    With it the coefficients are as good as those from QR, though a Gram matrix has squared the condition number.
    """
    for i in range(r.size):
        r[i] = y[i]
    for h in range(t):
        subtract(B, h, z[h], r)
    fallen = energy_of(r)
    for h in range(t):  # R^H d = B^H r
        total = inner(B, h, r)
        for j in range(h):
            total -= np.conj(R[h, j]) * d[j]
        d[h] = total / R[h, h]
        fallen -= d[h].real * d[h].real + d[h].imag * d[h].imag
    solve(R, t, d, d)
    for h in range(t):
        z[h] += d[h]
    return max(fallen, fallen - fallen)


@jit
def memory(count: int, y: Array, real: Array, most: int, N: int, planes: int) -> tuple[Array, Array, Array]:
    """Memory for `count` signals: in the dtype of y, the same as real numbers, and further real numbers."""
    own = np.empty((count, size_of(y.shape[1], most)), y.dtype)
    return (
        own,
        own.reshape(-1).view(real.dtype).reshape((count, own.shape[1] * planes)),
        np.empty((count, 2 * N), real.dtype),
    )


@inside
def size_of(m: int, most: int) -> int:
    return (2 + most) * m + (most + 3) * most


@jit
def work(own: Array, flat: Array, real: Array, s: int, m: int, most: int, planes: int) -> Work:
    """The memory of signal s."""
    v, u, w, N = own[s], flat[s], real[s], real.shape[1] // 2
    B, R, rho = 2 * m, (2 + most) * m, (2 + most) * m + most * most
    return Work(
        v[:m], v[m:B], v[B:R].reshape((most, m)), v[R:rho].reshape((most, most)), v[rho : rho + most],
        v[rho + most : rho + 2 * most], v[rho + 2 * most :], u[B * planes : R * planes], u[R * planes : rho * planes],
        u[rho * planes :], w[:N], w[N:],
    )  # fmt: skip


@inside
def take_column(A: Array, row: int, column: int, i: int, planes: int, B: Array, at: int, size: int, L: int) -> None:
    """Copy the column i of A, which has these strides, to B from `at` on; it has `size` real numbers."""
    if row == 1:
        here = i * column * planes
        whole = size - size % L
        for j in range(0, whole, L):
            store(B, at + j, 0, load(A, here + j, 0))
        for j in range(whole, size):
            B[at + j] = A[here + j]
        return
    for plane in range(planes):
        for j in range(size // planes):
            B[at + j * planes + plane] = A[(i * column + j * row) * planes + plane]


@inside
def begin(S: Signals, f: Results, x: Numbers, b: int, scale: Array, energy: Array, s: int) -> None:
    """`scale[s]`, the power of two that brings the norm of y near one, zero if y is solved; and the energy then."""
    scale[s] = 0
    y = S.y[b]
    peak = x.zero
    for i in range(y.size):
        peak = max(peak, abs(y[i].real), abs(y[i].imag))
    if f.status[b] != RUNNING:
        return
    exponent = min(max(math.frexp(peak)[1], -x.range), x.range)
    size = x.zero + math.ldexp(x.one, -exponent)
    total = x.zero
    for i in range(y.size):
        re, im = y[i].real * size, y[i].imag * size
        total += re * re + im * im
    norm = np.sqrt(total)
    f.left[b] = norm / size
    if norm <= S.target[b] * size * x.same:
        f.status[b] = TOLERANCE
    elif S.max_steps[b] <= 0:
        f.status[b] = MAX_STEPS
    else:
        scale[s], energy[s] = size, total


@inside
def scaled(S: Signals, b: int, scale: Any, y: Array) -> None:
    for i in range(y.size):
        y[i] = S.y[b, i] * scale


@inside
def end(f: Results, b: int, t: int, scale: Any, z: Array, left: Any) -> None:
    """Store the coefficients of t atoms, and the norm of the residual, in the units of y."""
    for h in range(t):
        f.z[b, h] = z[h] / scale
    f.left[b] = left / scale
    f.steps[b] = t + (f.status[b] == EXHAUSTED)


@jit
def by_gram(
    M: Matrix, G: Array, flat: Array, S: Signals, f: Results, x: Numbers, real: Array, first: int, last: int
) -> None:
    """Solve the signals `first` to `last`; `G` is the Gram matrix, `flat` the same as real numbers.

    A signal for which rounding could matter keeps the status RUNNING.
    """
    m, N, most = S.y.shape[1], S.square.shape[1], f.support.shape[1]
    planes, chunk = x.planes, min(SIGNALS, last - first)
    rows = -(-chunk * planes // ROWS) * ROWS
    V, C = np.zeros(rows * m * planes, real.dtype), np.empty(rows * N, real.dtype)
    U, g = np.empty(planes * most * N, real.dtype), np.zeros(planes * N, real.dtype)
    best, pairs = np.empty(2 * x.T // TILE, real.dtype), np.empty(2 * most, real.dtype)
    scale, energy = np.empty(chunk, real.dtype), np.empty(chunk, real.dtype)
    w = work(*memory(np.int64(1), S.y, real, most, N, planes), 0, m, most, planes)
    for start in range(first, last, chunk):
        count = min(chunk, last - start)
        for s in range(count):
            begin(S, f, x, start + s, scale, energy, s)
            scaled(S, start + s, scale[s], w.y)
            fill(w.y, planes, V, s * planes * m * planes)
        correlate(M.tiles, M.step, M.jump, np.int64(0), N, x.T, V, m * planes, count * planes, C)
        for s in range(count):
            if scale[s] > 0:
                scaled(S, start + s, scale[s], w.y)
                one_by_gram(
                    M, G, flat, S, f, x, start + s, scale[s], energy[s], U, g, C, s * planes * N, best, pairs, w
                )


@inside
def one_by_gram(
    M: Matrix, G: Array, flat: Array, S: Signals, f: Results, x: Numbers, b: int, scale: Any, e: Any,
    U: Array, g: Array, C: Array, at: int, best: Array, pairs: Array, w: Work,
) -> None:  # fmt: skip
    n, N, T, planes, most = G.shape[0], w.square.size, x.T, x.planes, f.support.shape[1]
    y, r, B, R, rho, z, d, flat_B, flat_R, flat_rho, square, rest = w
    A = M.A
    size, leap = y.size * planes, most * planes * T
    support, status, k, max_steps = f.support, f.status, S.k[b], S.max_steps[b]
    goal, lost = S.target[b] * scale, x.lost * e
    row = min(b, S.square.shape[0] - 1)
    for j in range(N):
        rest[j], square[j] = x.one, S.square[row, j]
    for tile in range(N // T):  # no step yet: u = 0
        for u in range(planes * T):
            U[tile * leap + u] = 0
    i = advance(x, U, np.int64(0), leap, T, x.zero, x.zero, C, at, square, rest, best)
    t = 0
    while i >= 0:
        length = G[i, i].real
        for h in range(t):
            to = i // T * leap + h * planes * T + i % T
            re = U[to]
            im = U[to + T] if planes == 2 else x.zero
            length -= re * re + im * im
            pairs[2 * h], pairs[2 * h + 1] = re, im
            write(flat_R, t * most + h, planes, re, -im)
        if not length > x.least:
            break
        pivot = np.sqrt(length)
        re = C[at + i] / pivot
        im = C[at + N + i] / pivot if planes == 2 else x.zero
        gain = re * re + im * im
        if not gain > x.lost * max(e, lost):
            break  # whether this atom lowers the residual is a matter of rounding
        write(flat_R, t * most + t, planes, pivot, x.zero)
        write(flat_rho, t, planes, re, im)
        take_column(A, M.row, M.column, i, planes, flat_B, t * size, size, T // TILE)
        support[b, t] = i
        square[i] = 0
        t += 1
        e -= gain
        ends = x.full if t >= k else MAX_STEPS if t >= max_steps else RUNNING
        if e < lost or abs(e - goal * goal) < lost:  # a difference of energies does not tell
            solve(R, t, rho, z)
            polish(y, B, R, t, z, r, d)
            norm = np.sqrt(polish(y, B, R, t, z, r, d))
            if norm * x.near < goal:
                status[b] = TOLERANCE
            elif norm > x.near * goal:
                status[b] = ends
            if status[b] != RUNNING:
                end(f, b, t, scale, z, norm)
                return
            break
        status[b] = TOLERANCE if e <= goal * goal else ends
        if status[b] != RUNNING:
            solve(R, t, rho, z)
            end(f, b, t, scale, z, np.sqrt(polish(y, B, R, t, z, r, d)))
            return
        if planes == 2:
            for h in range(n):
                g[h], g[N + h] = G[i, h].real, G[i, h].imag
            complex_row(g, np.int64(0), U, pairs, x.one / pivot, most, t - 1, N, T)
        elif n == N:
            real_row(flat, i * n, U, pairs, x.one / pivot, most, t - 1, N, T)
        else:
            for h in range(n):
                g[h] = G[i, h].real
            real_row(g, np.int64(0), U, pairs, x.one / pivot, most, t - 1, N, T)
        i = advance(x, U, (t - 1) * planes * T, leap, T, re, im, C, at, square, rest, best)
    for h in range(t):
        support[b, h] = -1


@inside
def write(flat: Array, at: int, planes: int, re: Any, im: Any) -> None:
    """Write a number into an array that holds real and imaginary parts in turn."""
    flat[at * planes] = re
    if planes == 2:
        flat[at * planes + 1] = im


@jit
def by_columns(M: Matrix, S: Signals, f: Results, x: Numbers, real: Array, items: Array) -> None:
    """Several signals step by step together, without a Gram matrix; it solves all that are RUNNING."""
    m, N, most = S.y.shape[1], S.square.shape[1], f.support.shape[1]
    planes, count = x.planes, items.size
    rows = planes * count
    room = 2 if rows <= 2 else -(-rows // ROWS) * ROWS
    V, C, U = np.zeros(room * m * planes, real.dtype), np.empty(room * N, real.dtype), np.zeros(room * N, real.dtype)
    best, choice = np.empty(2 * x.T // TILE, real.dtype), np.full(count, -1)
    own, flat, others = memory(count, S.y, real, most, N, planes)
    running = np.zeros(count, np.bool_)
    norm, scale, before = np.empty(count, real.dtype), np.empty(count, real.dtype), np.zeros(count, real.dtype)
    for s in range(count):
        w = work(own, flat, others, s, m, most, planes)
        begin(S, f, x, items[s], scale, norm, s)
        running[s] = scale[s] > 0
        if running[s]:
            scaled(S, items[s], scale[s], w.y)
            w.r[:] = w.y
            w.rest[:] = 1
            w.square[:] = S.square[min(items[s], S.square.shape[0] - 1)]
            norm[s] = before[s] = np.sqrt(norm[s])
            fill(w.y, planes, V, s * planes * m * planes)
    correlate(M.tiles, M.step, M.jump, np.int64(0), N, x.T, V, m * planes, rows, C)
    for s in range(count):
        if running[s]:
            w, at = work(own, flat, others, s, m, most, planes), s * planes * N
            choice[s] = advance(x, U, at, x.T, N, x.zero, x.zero, C, at, w.square, w.rest, best)
    for t in range(most):
        stale = False
        for s in range(count):
            if running[s]:
                w = work(own, flat, others, s, m, most, planes)
                norm[s] = column_step(M, S, f, x, items[s], scale[s], t, choice[s], norm[s], w)
                running[s] = f.status[items[s]] == RUNNING
                stale |= running[s] and norm[s] < x.fresh * before[s]
        if not running.any():
            break
        for s in range(count):
            if running[s] and stale:
                w = work(own, flat, others, s, m, most, planes)
                fill(w.r, planes, V, s * planes * m * planes)
                before[s] = norm[s]
        if stale:  # an update has errors of rounding as large as the correlations with a residual so small
            correlate(M.tiles, M.step, M.jump, np.int64(0), N, x.T, V, m * planes, rows, C)
        for s in range(count):
            if running[s]:
                w = work(own, flat, others, s, m, most, planes)
                fill(w.B[t], planes, V, s * planes * m * planes)
        correlate(M.tiles, M.step, M.jump, np.int64(0), N, x.T, V, m * planes, rows, U)
        for s in range(count):
            if running[s]:
                w, at = work(own, flat, others, s, m, most, planes), s * planes * N
                re = x.zero if stale else w.flat_rho[t * planes]
                im = w.flat_rho[t * planes + 1] if planes == 2 and not stale else x.zero
                choice[s] = advance(x, U, at, x.T, N, re, im, C, at, w.square, w.rest, best)


@inside
def column_step(
    M: Matrix, S: Signals, f: Results, x: Numbers, b: int, scale: Any, t: int, i: int, norm: Any, w: Work
) -> Any:
    """Add the atom i as number t, and project; returns the norm of the residual."""
    q, r = w.B[t], w.r
    length, whole, size = x.zero, x.zero, r.size * x.planes
    if i >= 0:
        take_column(M.A, M.row, M.column, i, x.planes, w.flat_B, t * size, size, x.T // TILE)
        whole = energy_of(q)
        for h in range(t):
            w.R[t, h] = 0
        for _ in range(2 if t else 0):  # twice is enough
            for h in range(t):
                c = inner(w.B, h, q)
                w.R[t, h] += c
                subtract(w.B, h, c, q)
        length = energy_of(q)
    after = norm
    if length > x.tolerance * x.tolerance * whole:
        pivot = np.sqrt(length)
        for j in range(q.size):
            q[j] /= pivot
        w.R[t, t] = pivot
        w.rho[t] = inner(w.B, t, r)
        subtract(w.B, t, w.rho[t], r)
        after = np.sqrt(energy_of(r))
    goal = S.target[b] * scale
    if not (after < norm or (i >= 0 and after <= goal)):
        f.status[b] = EXHAUSTED
        solve(w.R, t, w.rho, w.z)
        end(f, b, t, scale, w.z, norm)
        return norm
    f.support[b, t] = i
    w.square[i] = 0
    if after <= goal:
        f.status[b] = TOLERANCE
    elif t + 1 >= S.k[b]:
        f.status[b] = x.full
    elif t + 1 >= S.max_steps[b]:
        f.status[b] = MAX_STEPS
    if f.status[b] != RUNNING:
        solve(w.R, t + 1, w.rho, w.z)
        end(f, b, t + 1, scale, w.z, after)
    return after


@jit
def transpose(A: Array, m: int, n: int, planes: int, first: int, last: int, out: Array) -> None:
    """The columns of A in one piece each, for groups `first` to `last` of SIDE columns; both flat."""
    for group in range(first, last):
        for block in range(0, m, SIDE):  # whose lines stay in the cache until all columns have read them
            for j in range(group * SIDE, min(n, (group + 1) * SIDE)):
                for i in range(block, min(m, block + SIDE)):
                    for plane in range(planes):
                        out[(j * m + i) * planes + plane] = A[(i * n + j) * planes + plane]


@jit
def gram(
    columns: Array, M: Matrix, m: int, n: int, N: int, T: int, planes: int, first: int, last: int, G: Array
) -> None:
    """G, whose row i is `A^H a_i`, flat: the rows in tiles `first` to `last` from the diagonal on, and their mirror.

    `columns` are those of A in one piece each.
    """
    rows = -(-T * planes // ROWS) * ROWS
    V, C = np.zeros(rows * m * planes, G.dtype), np.empty(rows * N, G.dtype)
    for tile in range(first, last):
        here = min(T, n - tile * T)
        for s in range(here):
            a, b = (tile * T + s) * m * planes, s * planes * m * planes
            for i in range(m * planes):
                V[b + i] = columns[a + i]
            if planes == 2:
                b += 2 * m
                for i in range(m):
                    V[b + 2 * i], V[b + 2 * i + 1] = columns[a + 2 * i + 1], -columns[a + 2 * i]
        correlate(M.tiles, M.step, M.jump, tile, N, T, V, m * planes, here * planes, C)
        for j in range(tile * T, n):  # C[s] is A^H a_s, so G[s, j], and the conjugate of G[j, s]
            for s in range(here):
                i = tile * T + s
                for plane in range(planes):
                    c = C[(s * planes + plane) * N + j]
                    G[(j * n + i) * planes + plane] = -c if plane else c
        for s in range(here):
            i = tile * T + s
            for j in range(i if planes == 2 else i + 1, n):
                for plane in range(planes):
                    c = C[(s * planes + plane) * N + j]
                    G[(i * n + j) * planes + plane] = c
