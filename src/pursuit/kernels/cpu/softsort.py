"""softsort and its mask on the CPU, by Numba.

With scores sorted downwards, `s_1 >= ... >= s_k`, an entry that is not among the chosen has
`exp(-(s_i - v_j) / tau) = c_i e_j` with `c_i = exp(-(s_i - s_k) / tau)` and `e_j = exp(-(s_k - v_j) / tau)`: n + k
exponentials are enough for all rows. No exponent is positive, so nothing overflows; what is below the smallest normal
number counts as zero.

All kernels work on contiguous `v (batch, n)`, `tau (batch,)` or `(1,)` and `top (batch, k)`, the chosen indices in
order, which the forward kernels find themselves if `choose` is set; `integers` is an empty array of integers with as
many bits as a score. Every number has the dtype of `v`, and every loop over n runs along flat arrays and chooses by
`a if b else c`, because LLVM does not vectorise other loops.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..jit import Array, jit

SERIES = tuple(1 / math.factorial(d) for d in range(14))  # of exp, exact to rounding where |x| <= ln(2) / 2
LOG2_E = 1 / math.log(2)
LN2_SINGLE = 0.693359375, math.log(2) - 0.693359375  # ln 2 in two parts; whole multiples of the first are exact
LN2_DOUBLE = 0.6931471803691238, 1.9082149292705877e-10


@jit
def limit_of(v: Array) -> Any:
    """The exponent beyond which exp(-x) is below the smallest normal number."""
    return v.dtype.type(87 if v.itemsize == 4 else 708)


@jit
def select(v: Array, top: Array, s: Array) -> None:
    """The largest entries of one item, largest first, ties to the lowest index. By insertion: for few of them."""
    k = top.size
    for j in range(v.size):
        x = v[j]
        if j < k:
            at = j
        elif x > s[k - 1]:
            at = k - 1
        else:
            continue
        while at > 0 and s[at - 1] < x:
            s[at] = s[at - 1]
            top[at] = top[at - 1]
            at -= 1
        s[at] = x
        top[at] = j


@jit
def among(v: Array, tau: Any, top: Array, s: Array, E: Array) -> None:
    """The chosen scores `s (k,)` of one item, and `E (k, k)`, the exponentials of their distances."""
    k, limit = s.size, limit_of(v)
    E[:] = 0
    s[0] = v[top[0]]
    E[0, 0] = 1
    smallest = np.exp(-limit)
    for j in range(1, k):
        s[j] = v[top[j]]
        z = (s[j - 1] - s[j]) / tau
        step = np.exp(-min(z, limit))
        E[j, j] = 1
        for i in range(j - 1, -1, -1):
            x = E[i, j - 1] * step
            if x <= smallest:
                break  # those before it are farther
            E[i, j] = x
            E[j, i] = x


@jit
def tail(v: Array, tau: Any, top: Array, last: Any, r: Array, powers: Array, e: Array) -> None:
    """`e (n,)`, the exponentials of the distances from the last chosen score; zero on the chosen entries.

    `exp(-x) = 2^-p exp(r)` with p whole and |r| <= ln(2) / 2, and exp(r) by its series, which vectorises where a call
    of exp would not. `r (n,)` and `powers (n,)`, `2^-p` as integers, are working memory.
    """
    f, whole, single, limit = v.dtype.type, powers.dtype.type, v.itemsize == 4, limit_of(v)
    zero, sharp, log2 = f(0), f(1) / tau, f(LOG2_E)
    high = f(LN2_SINGLE[0] if single else LN2_DOUBLE[0])
    low = f(LN2_SINGLE[1] if single else LN2_DOUBLE[1])
    bias, place = f(127 if single else 1023), whole(23 if single else 52)
    for j in range(v.size):
        x = (last - v[j]) * sharp
        x = x if x < limit else limit
        x = x if x > zero else zero  # above the last one are the chosen alone
        p = np.rint(x * log2)
        r[j] = p * high - x + p * low
        powers[j] = whole(bias - p) << place
    scale = powers.view(v.dtype)
    lowest = last - limit * tau
    for j in range(v.size):
        x = f(SERIES[13])
        for d in range(12, -1, -1):
            x = x * r[j] + f(SERIES[d])
        e[j] = x * scale[j] if v[j] > lowest else zero
    for j in top:
        e[j] = 0


@jit
def relax(v: Array, tau: Any, top: Array, s: Array, E: Array, Z: Array, e: Array, r: Array, powers: Array) -> None:
    """Scores `s`, exponentials `E` and `e` as above for one item, and `Z (k,)`, the sums by which rows are divided."""
    k = top.size
    among(v, tau, top, s, E)
    tail(v, tau, top, s[k - 1], r, powers, e)
    T = e.sum()
    for i in range(k):
        Z[i] = E[i, k - 1] * T + E[i].sum()


@jit
def rows_forward(v: Array, tau: Array, top: Array, choose: bool, integers: Array, rows: Array) -> None:
    """The rows, `(batch, k, n)`."""
    k, n = top.shape[1], v.shape[1]
    s, Z, E, e = np.empty(k, v.dtype), np.empty(k, v.dtype), np.empty((k, k), v.dtype), np.empty(n, v.dtype)
    r, powers = np.empty(n, v.dtype), np.empty(n, integers.dtype)
    for b in range(v.shape[0]):
        if choose:
            select(v[b], top[b], s)
        relax(v[b], tau[min(b, tau.size - 1)], top[b], s, E, Z, e, r, powers)
        for i in range(k):
            weight, row = E[i, k - 1] / Z[i], rows[b, i]
            for j in range(n):
                row[j] = weight * e[j]
            for j in range(k):
                row[top[b, j]] = E[i, j] / Z[i]


@jit
def rows_backward(
    v: Array, tau: Array, top: Array, rows: Array, g: Array, learn: bool, grad_v: Array, grad_tau: Array
) -> None:
    """Gradients from those of the rows, `g (batch, k, n)`, or `(batch, 1, n)` if it is the same for all rows.

    `grad_tau (batch,)` is written only if `learn` is set.
    """
    zero, one, limit = v.dtype.type(0), v.dtype.type(1), limit_of(v)
    grad_v[:] = 0
    for b in range(v.shape[0]):
        x, out, sharp, steepness = v[b], grad_v[b], one / tau[min(b, tau.size - 1)], zero
        for i in range(top.shape[1]):
            P, G, s = rows[b, i], g[b, min(i, g.shape[1] - 1)], x[top[b, i]]
            mean, own = zero, zero
            for j in range(x.size):
                mean += P[j] * G[j]
            for j in range(x.size):
                D = P[j] * (G[j] - mean) * sharp
                D = D if s != x[j] else zero
                D = D if s > x[j] else -D
                out[j] += D
                own += D
            out[top[b, i]] -= own
            if learn:
                for j in range(x.size):
                    steepness += P[j] * (G[j] - mean) * min(abs(s - x[j]) * sharp, limit)
        if learn:
            grad_tau[b] = steepness * sharp


@jit
def mask_of(top: Array, E: Array, Z: Array, e: Array, share: Array, mask: Array) -> None:
    """The sum of the rows of one item, `(n,)`, from the results of `relax`. `share (k,)` is working memory."""
    zero, one = e.dtype.type(0), e.dtype.type(1)
    k, weight = top.size, zero
    for i in range(k):
        share[i] = 0
    for i in range(k):
        scale = one / Z[i]
        weight += E[i, k - 1] * scale
        for j in range(k):
            share[j] += E[i, j] * scale
    for j in range(mask.size):
        mask[j] = weight * e[j]
    for j in range(k):
        mask[top[j]] = share[j]


@jit
def mask_forward(v: Array, tau: Array, top: Array, choose: bool, integers: Array, mask: Array) -> None:
    """The sum of the rows, `(batch, n)`."""
    k, n = top.shape[1], v.shape[1]
    s, Z, E, e = np.empty(k, v.dtype), np.empty(k, v.dtype), np.empty((k, k), v.dtype), np.empty(n, v.dtype)
    r, powers = np.empty(n, v.dtype), np.empty(n, integers.dtype)
    for b in range(v.shape[0]):
        if choose:
            select(v[b], top[b], s)
        relax(v[b], tau[min(b, tau.size - 1)], top[b], s, E, Z, e, r, powers)
        mask_of(top[b], E, Z, e, s, mask[b])


@jit
def mask_slope(
    x: Array,
    tau: Any,
    top: Array,
    s: Array,
    E: Array,
    Z: Array,
    e: Array,
    G: Array,
    learn: bool,
    room: Array,
    out: Array,
) -> Any:
    """The gradient of one item, `out (n,)`, from that of its mask, `G`, and the results of `relax`.

    Returns the gradient with respect to tau if `learn` is set, else zero. `room (3, k)` is working memory.
    """
    k, n, limit = top.size, x.size, limit_of(x)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    h, mean, chosen, last, sharp = room[0], room[1], room[2], s[k - 1], one / tau
    for i in range(k):
        h[i], chosen[i] = G[top[i]], 0

    # Sums over the tail; "below" leaves out what is tied with the last chosen score: |.| has no slope there.
    T, Tg, T_below, Tg_below = zero, zero, zero, zero
    for j in range(n):
        below = e[j] if x[j] < last else zero
        T += e[j]
        Tg += e[j] * G[j]
        T_below += below
        Tg_below += below * G[j]

    # The chosen among themselves, as rows and as columns, and as rows against the tail.
    W, Wg, W_above, Wg_above = zero, zero, zero, zero
    for i in range(k):
        c, scale = E[i, k - 1], one / Z[i]
        dot, own = c * Tg, zero
        for j in range(k):
            dot += E[i, j] * h[j]
        m = dot * scale
        for j in range(k):
            D = E[i, j] * (h[j] - m) * scale
            D = D if s[i] != s[j] else zero
            D = D if s[i] > s[j] else -D
            chosen[j] += D
            own += D
        above = s[i] > last
        far = c * (Tg - m * T) if above else Tg_below - m * T_below
        chosen[i] -= own + far * scale
        mean[i] = m
        W += c * scale
        Wg += c * m * scale
        W_above += c * scale if above else zero
        Wg_above += c * m * scale if above else zero

    # The tail as columns.
    for j in range(n):
        D = G[j] * W - Wg if x[j] < last else G[j] * W_above - Wg_above
        out[j] = e[j] * D * sharp
    for i in range(k):
        out[top[i]] = chosen[i] * sharp

    steepness = zero
    if learn:
        Tz, Tgz = zero, zero
        for j in range(n):
            z = e[j] * min(abs(last - x[j]) * sharp, limit)
            Tz += z
            Tgz += z * G[j]
        for i in range(k):
            m = mean[i]
            total = E[i, k - 1] * (min((s[i] - last) * sharp, limit) * (Tg - m * T) + Tgz - m * Tz)
            for j in range(k):
                total += E[i, j] * (h[j] - m) * min(abs(s[i] - s[j]) * sharp, limit)
            steepness += total / Z[i]
    return steepness * sharp


@jit
def mask_backward(
    v: Array, tau: Array, top: Array, integers: Array, g: Array, learn: bool, grad_v: Array, grad_tau: Array
) -> None:
    """Gradients from that of the mask, `g (batch, n)`; `grad_tau` is written only if `learn` is set."""
    k, n = top.shape[1], v.shape[1]
    s, Z, E, e = np.empty(k, v.dtype), np.empty(k, v.dtype), np.empty((k, k), v.dtype), np.empty(n, v.dtype)
    r, powers, room = np.empty(n, v.dtype), np.empty(n, integers.dtype), np.empty((3, k), v.dtype)
    for b in range(v.shape[0]):
        t = tau[min(b, tau.size - 1)]
        relax(v[b], t, top[b], s, E, Z, e, r, powers)
        by_tau = mask_slope(v[b], t, top[b], s, E, Z, e, g[b], learn, room, grad_v[b])
        if learn:
            grad_tau[b] = by_tau


@jit
def magnitudes(u: Array, size: Array) -> None:
    """`|u|` of one item `u (n,)`, or `(2 n,)` where it is complex, parts side by side."""
    n = size.size
    zero, one = size.dtype.type(0), size.dtype.type(1)
    if u.size == n:
        for j in range(n):
            size[j] = abs(u[j])
        return
    for j in range(n):  # the larger part is taken out: no square overflows or vanishes
        p, q = abs(u[2 * j]), abs(u[2 * j + 1])
        large = p if p > q else q
        small = q if p > q else p
        ratio = small / (large if large > zero else one)
        size[j] = large * np.sqrt(one + ratio * ratio)


@jit
def score_forward(u: Array, w: Array, v: Array) -> None:
    """Scores `v = w |u|`; `u (batch, n)` real or complex, `w (1 or batch, n)`."""
    U = u.view(w.dtype)
    for b in range(u.shape[0]):
        weight, out = w[min(b, w.shape[0] - 1)], v[b]
        magnitudes(U[b], out)
        for j in range(out.size):
            out[j] *= weight[j]


@jit
def score_slope(w: Array, size: Array, grad_v: Array, pull: Array, grad_w: Array) -> None:
    """Gradients of one item from that of its scores: `pull (n,) u` is that of `u`; that of `w` is added to `grad_w`."""
    zero, one = size.dtype.type(0), size.dtype.type(1)
    for j in range(size.size):
        grad_w[j] += grad_v[j] * size[j]
        pull[j] = grad_v[j] * w[j] / (size[j] if size[j] > zero else one)


@jit
def multiply(factor: Array, u: Array, out: Array) -> None:
    """`factor (n,)` times `u`, `(n,)` or both parts in `(2 n,)`."""
    n = factor.size
    if u.size == n:
        for j in range(n):
            out[j] = factor[j] * u[j]
    else:
        for j in range(n):
            out[2 * j] = factor[j] * u[2 * j]
            out[2 * j + 1] = factor[j] * u[2 * j + 1]


@jit
def score_backward(u: Array, w: Array, grad_v: Array, grad_u: Array, grad_w: Array) -> None:
    """Gradients from those of the scores; `grad_w` has the shape of `w`."""
    U, out, n = u.view(w.dtype), grad_u.view(w.dtype), w.shape[1]
    size, pull = np.empty(n, w.dtype), np.empty(n, w.dtype)
    grad_w[:] = 0
    for b in range(u.shape[0]):
        i = min(b, w.shape[0] - 1)
        magnitudes(U[b], size)
        score_slope(w[i], size, grad_v[b], pull, grad_w[i])
        multiply(pull, U[b], out[b])


@jit
def threshold_forward(u: Array, w: Array, tau: Array, top: Array, integers: Array, x: Array) -> None:
    """`x = mask u` with the mask of the scores of `u`. The mask is not stored: it is faster to compute it again."""
    k, n = top.shape[1], w.shape[1]
    s, Z, E, e = np.empty(k, w.dtype), np.empty(k, w.dtype), np.empty((k, k), w.dtype), np.empty(n, w.dtype)
    r, powers, v, mask = np.empty(n, w.dtype), np.empty(n, integers.dtype), np.empty(n, w.dtype), np.empty(n, w.dtype)
    U, out = u.view(w.dtype), x.view(w.dtype)
    for b in range(u.shape[0]):
        weight = w[min(b, w.shape[0] - 1)]
        magnitudes(U[b], v)
        for j in range(n):
            v[j] *= weight[j]
        select(v, top[b], s)
        relax(v, tau[min(b, tau.size - 1)], top[b], s, E, Z, e, r, powers)
        mask_of(top[b], E, Z, e, s, mask)
        multiply(mask, U[b], out[b])


@jit
def threshold_backward(
    u: Array,
    w: Array,
    tau: Array,
    top: Array,
    integers: Array,
    g: Array,
    learn: bool,
    grad_u: Array,
    grad_w: Array,
    grad_tau: Array,
) -> None:
    """Gradients from that of `x`, `g`, which has the shape of `u`; `grad_w` has the shape of `w`."""
    k, n = top.shape[1], w.shape[1]
    s, Z, E, e = np.empty(k, w.dtype), np.empty(k, w.dtype), np.empty((k, k), w.dtype), np.empty(n, w.dtype)
    r, powers, v, mask = np.empty(n, w.dtype), np.empty(n, integers.dtype), np.empty(n, w.dtype), np.empty(n, w.dtype)
    size, along, grad_v = np.empty(n, w.dtype), np.empty(n, w.dtype), np.empty(n, w.dtype)
    room = np.empty((3, k), w.dtype)
    U, H, out = u.view(w.dtype), g.view(w.dtype), grad_u.view(w.dtype)
    grad_w[:] = 0
    for b in range(u.shape[0]):
        i, t, of, G, to = min(b, w.shape[0] - 1), tau[min(b, tau.size - 1)], U[b], H[b], out[b]
        weight = w[i]
        magnitudes(of, size)
        for j in range(n):
            v[j] = weight[j] * size[j]
        relax(v, t, top[b], s, E, Z, e, r, powers)
        mask_of(top[b], E, Z, e, room[0], mask)
        if of.size == n:
            for j in range(n):
                along[j] = G[j] * of[j]
        else:
            for j in range(n):
                along[j] = G[2 * j] * of[2 * j] + G[2 * j + 1] * of[2 * j + 1]
        by_tau = mask_slope(v, t, top[b], s, E, Z, e, along, learn, room, grad_v)
        if learn:
            grad_tau[b] = by_tau
        score_slope(weight, size, grad_v, r, grad_w[i])
        if of.size == n:
            for j in range(n):
                to[j] = r[j] * of[j] + mask[j] * G[j]
        else:
            for j in range(n):
                to[2 * j] = r[j] * of[2 * j] + mask[j] * G[2 * j]
                to[2 * j + 1] = r[j] * of[2 * j + 1] + mask[j] * G[2 * j + 1]
