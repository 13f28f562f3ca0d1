"""softsort and its mask on the CPU, by Numba.

With scores sorted downwards, `s_1 >= ... >= s_k`, an entry that is not among the chosen has
`exp(-(s_i - v_j) / tau) = c_i e_j` with `c_i = exp(-(s_i - s_k) / tau)` and `e_j = exp(-(s_k - v_j) / tau)`: n + k
exponentials do for all rows. No exponent is positive, so nothing overflows; what is below the smallest normal number
counts as zero.

All kernels work on contiguous `v (batch, n)`, `tau (batch,)` or `(1,)` and `top (batch, k)`, the chosen indices in
order, which the forward kernels find where they are told to `choose`. `limit` is the exponent beyond which all is zero.
Every number is of the dtype of `v`: mixed arithmetic would not vectorise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Kernel = Callable[..., Any]


def jit(function: Kernel) -> Kernel:
    """Compile at the first call, and keep the machine code where there is a place for it."""
    # Sums may be reordered, so that they vectorise; infinities and NaN keep their meaning.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no directory can be written
        return numba.njit(**options)(function)


@jit
def select(v: Array, top: Array) -> None:
    """The largest entries, largest first, ties to the lowest index. By insertion: for few of them."""
    k = top.shape[1]
    s = np.empty(k, v.dtype)
    for b in range(v.shape[0]):
        for j in range(v.shape[1]):
            x = v[b, j]
            if j < k:
                at = j
            elif x > s[k - 1]:
                at = k - 1
            else:
                continue
            while at > 0 and s[at - 1] < x:
                s[at] = s[at - 1]
                top[b, at] = top[b, at - 1]
                at -= 1
            s[at] = x
            top[b, at] = j


@jit
def among(v: Array, tau: Any, top: Array, limit: Any, s: Array, E: Array) -> None:
    """The chosen scores `s (k,)` of one item, and `E (k, k)`, the exponentials of their distances."""
    k = s.size
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
def tail(v: Array, tau: Any, top: Array, limit: Any, last: Any, c: Array, r: Array, powers: Array, e: Array) -> None:
    """`e (n,)`, the exponentials of the distances from the last chosen score; zero on the chosen entries.

    `exp(-x) = 2^-p exp(r)` with p whole and |r| <= ln(2) / 2, and exp(r) by its series, whose coefficients are `c`:
    pass after pass over few numbers, which vectorises where a call of exp would not. `powers` is `2^-p`, as integers.
    """
    zero, one = v.dtype.type(0), v.dtype.type(1)
    sharp, log2, ln2_high, ln2_low, bias, shift = one / tau, c[14], c[15], c[16], c[17], powers.dtype.type(c[18])
    for j in range(v.size):
        x = min((last - v[j]) * sharp, limit)
        x = x if x > zero else zero  # above the last one are the chosen alone
        p = np.rint(x * log2)
        r[j] = p * ln2_high - x + p * ln2_low
        e[j] = c[13]
        powers[j] = powers.dtype.type(bias - p) << shift
    for d in range(12, -1, -1):
        for j in range(v.size):
            e[j] = e[j] * r[j] + c[d]
    scale = powers.view(v.dtype)
    lowest = last - limit * tau
    for j in range(v.size):
        e[j] = e[j] * scale[j] if v[j] > lowest else zero
    for j in top:
        e[j] = 0


def constants(dtype: Any) -> tuple[Array, Array]:
    """The series of exp, then log2(e), ln 2 in two parts, and exponent bias and place of a float; an empty integer."""
    single = np.dtype(dtype) == np.float32
    high = 0.693359375 if single else 0.6931471803691238
    series = [1 / math.factorial(d) for d in range(14)]
    rest = [1 / math.log(2), high, math.log(2) - high if single else 1.9082149292705877e-10]
    layout = [127.0, 23.0] if single else [1023.0, 52.0]
    return np.array(series + rest + layout, dtype), np.empty(0, np.int32 if single else np.int64)


@jit
def rows_forward(
    v: Array, tau: Array, top: Array, limit: Any, choose: bool, c: Array, whole: Array, rows: Array
) -> None:
    """The rows, `(batch, k, n)`."""
    k, n = top.shape[1], v.shape[1]
    s, E, e, r = np.empty(k, v.dtype), np.empty((k, k), v.dtype), np.empty(n, v.dtype), np.empty(n, v.dtype)
    powers = np.empty(n, whole.dtype)
    if choose:
        select(v, top)
    for b in range(v.shape[0]):
        t = tau[min(b, tau.size - 1)]
        among(v[b], t, top[b], limit, s, E)
        tail(v[b], t, top[b], limit, s[k - 1], c, r, powers, e)
        T = e.sum()
        for i in range(k):
            Z = E[i, k - 1] * T + E[i].sum()
            weight = E[i, k - 1] / Z
            row = rows[b, i]
            for j in range(n):
                row[j] = weight * e[j]
            for j in range(k):
                row[top[b, j]] = E[i, j] / Z


@jit
def rows_backward(
    v: Array, tau: Array, top: Array, limit: Any, rows: Array, g: Array, learn: bool, grad_v: Array, grad_tau: Array
) -> None:
    """Gradients by those of the rows, `g (batch, k, n)`, or `(batch, 1, n)` where it is the same for all rows.

    `grad_tau (batch,)` is left alone unless it is to `learn`.
    """
    zero, one = v.dtype.type(0), v.dtype.type(1)
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
def mask_forward(
    v: Array, tau: Array, top: Array, limit: Any, choose: bool, c: Array, whole: Array, Z: Array, mask: Array
) -> None:
    """The sum of the rows, `(batch, n)`, and their normalisers, `(batch, k)`."""
    k, n = top.shape[1], v.shape[1]
    zero, one = v.dtype.type(0), v.dtype.type(1)
    s, E, r, powers = np.empty(k, v.dtype), np.empty((k, k), v.dtype), np.empty(n, v.dtype), np.empty(n, whole.dtype)
    if choose:
        select(v, top)
    for b in range(v.shape[0]):
        out, t = mask[b], tau[min(b, tau.size - 1)]
        among(v[b], t, top[b], limit, s, E)
        tail(v[b], t, top[b], limit, s[k - 1], c, r, powers, out)
        T, weight = out.sum(), zero
        s[:] = 0  # from here on the mask of the chosen
        for i in range(k):
            total = E[i, k - 1] * T
            for j in range(k):
                total += E[i, j]
            scale = one / total
            for j in range(k):
                s[j] += E[i, j] * scale
            weight += E[i, k - 1] * scale
            Z[b, i] = total
        for j in range(n):
            out[j] *= weight
        for j in range(k):
            out[top[b, j]] = s[j]


@jit
def mask_backward(
    v: Array,
    tau: Array,
    top: Array,
    limit: Any,
    Z: Array,
    mask: Array,
    g: Array,
    learn: bool,
    grad_v: Array,
    grad_tau: Array,
) -> None:
    """Gradients by that of the mask, `g (batch, n)`; what the forward kernel wrote is given again. `learn` as above."""
    k, n = top.shape[1], v.shape[1]
    zero, one = v.dtype.type(0), v.dtype.type(1)
    s, E, e = np.empty(k, v.dtype), np.empty((k, k), v.dtype), np.empty(n, v.dtype)
    h, mean, chosen = np.empty(k, v.dtype), np.empty(k, v.dtype), np.empty(k, v.dtype)
    for b in range(v.shape[0]):
        t = tau[min(b, tau.size - 1)]
        x, G, out, sharp = v[b], g[b], grad_v[b], one / t
        among(x, t, top[b], limit, s, E)
        last = s[k - 1]
        W = zero
        for i in range(k):
            h[i], chosen[i] = G[top[b, i]], 0
            W += E[i, k - 1] / Z[b, i]
        for j in range(n):
            e[j] = mask[b, j] / W
        for j in top[b]:
            e[j] = 0

        # Sums over the tail; "below" leaves out what is tied with the last chosen score: |.| has no slope there.
        T, Tg, T_below, Tg_below = zero, zero, zero, zero
        for j in range(n):
            below = e[j] if x[j] < last else zero
            T += e[j]
            Tg += e[j] * G[j]
            T_below += below
            Tg_below += below * G[j]

        # The chosen among themselves, as rows and as columns, and as rows against the tail.
        Wg, W_above, Wg_above = zero, zero, zero
        for i in range(k):
            c, scale = E[i, k - 1], one / Z[b, i]
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
            Wg += c * m * scale
            W_above += c * scale if above else zero
            Wg_above += c * m * scale if above else zero

        # The tail as columns.
        for j in range(n):
            below = x[j] < last
            D = G[j] * (W if below else W_above) - (Wg if below else Wg_above)
            out[j] = e[j] * D * sharp
        for i in range(k):
            out[top[b, i]] = chosen[i] * sharp

        if learn:
            Tz, Tgz, steepness = zero, zero, zero
            for j in range(n):
                z = e[j] * min(abs(last - x[j]) * sharp, limit)
                Tz += z
                Tgz += z * G[j]
            for i in range(k):
                m = mean[i]
                total = E[i, k - 1] * (min((s[i] - last) * sharp, limit) * (Tg - m * T) + Tgz - m * Tz)
                for j in range(k):
                    total += E[i, j] * (h[j] - m) * min(abs(s[i] - s[j]) * sharp, limit)
                steepness += total / Z[b, i]
            grad_tau[b] = steepness * sharp


@jit
def score_forward(u: Array, w: Array, size: Array, v: Array) -> None:
    """Magnitudes `size` and scores `v = w |u|`; `u (batch, n, 1 or 2)` has its parts last, `w (1 or batch, n)`."""
    batch, n, parts = u.shape
    zero, one = v.dtype.type(0), v.dtype.type(1)
    for b in range(batch):
        weight = w[min(b, w.shape[0] - 1)]
        if parts == 1:
            for j in range(n):
                size[b, j] = abs(u[b, j, 0])
        else:
            for j in range(n):  # the larger part is taken out: no square overflows or vanishes
                p, q = abs(u[b, j, 0]), abs(u[b, j, 1])
                large, small = max(p, q), min(p, q)
                ratio = small / (large if large > zero else one)
                size[b, j] = large * np.sqrt(one + ratio * ratio)
        for j in range(n):
            v[b, j] = weight[j] * size[b, j]


@jit
def score_backward(u: Array, w: Array, size: Array, grad_v: Array, grad_u: Array, grad_w: Array) -> None:
    """Gradients by those of the scores; those of `w` are `(batch, n)`, to be summed where one serves all."""
    batch, n, parts = u.shape
    zero, one = size.dtype.type(0), size.dtype.type(1)
    pull = np.empty(n, size.dtype)
    for b in range(batch):
        weight = w[min(b, w.shape[0] - 1)]
        for j in range(n):
            grad_w[b, j] = grad_v[b, j] * size[b, j]
            pull[j] = grad_v[b, j] * weight[j] / (size[b, j] if size[b, j] > zero else one)
        if parts == 1:  # both written out: a loop over the parts would not vectorise
            for j in range(n):
                grad_u[b, j, 0] = pull[j] * u[b, j, 0]
        else:
            for j in range(n):
                grad_u[b, j, 0] = pull[j] * u[b, j, 0]
                grad_u[b, j, 1] = pull[j] * u[b, j, 1]


@jit
def threshold_forward(
    u: Array,
    w: Array,
    tau: Array,
    top: Array,
    limit: Any,
    c: Array,
    whole: Array,
    size: Array,
    v: Array,
    Z: Array,
    mask: Array,
    x: Array,
) -> None:
    """`x = mask u` with the mask of the scores of `u`; all that is found on the way is written for the way back."""
    batch, n, parts = u.shape
    score_forward(u, w, size, v)
    mask_forward(v, tau, top, limit, True, c, whole, Z, mask)
    for b in range(batch):
        if parts == 1:
            for j in range(n):
                x[b, j, 0] = mask[b, j] * u[b, j, 0]
        else:
            for j in range(n):
                x[b, j, 0] = mask[b, j] * u[b, j, 0]
                x[b, j, 1] = mask[b, j] * u[b, j, 1]


@jit
def threshold_backward(
    u: Array,
    w: Array,
    tau: Array,
    top: Array,
    limit: Any,
    size: Array,
    v: Array,
    Z: Array,
    mask: Array,
    g: Array,
    learn: bool,
    grad_u: Array,
    grad_w: Array,
    grad_tau: Array,
) -> None:
    """Gradients by that of `x`, `g`, of the shape of `u`; those of `w` as above."""
    batch, n, parts = u.shape
    along, grad_v = np.empty_like(v), np.empty_like(v)
    for b in range(batch):
        for j in range(n):
            along[b, j] = g[b, j, 0] * u[b, j, 0]
        if parts == 2:
            for j in range(n):
                along[b, j] += g[b, j, 1] * u[b, j, 1]
    mask_backward(v, tau, top, limit, Z, mask, along, learn, grad_v, grad_tau)
    score_backward(u, w, size, grad_v, grad_u, grad_w)
    for b in range(batch):
        if parts == 1:
            for j in range(n):
                grad_u[b, j, 0] += mask[b, j] * g[b, j, 0]
        else:
            for j in range(n):
                grad_u[b, j, 0] += mask[b, j] * g[b, j, 0]
                grad_u[b, j, 1] += mask[b, j] * g[b, j, 1]
