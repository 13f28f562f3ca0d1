"""The proximal step on the CPU, by Numba: a few passes over each signal while it is in the cache.

All kernels work on contiguous `x (batch, n)` and `c (batch, n)`, steps `gamma (batch or 1, 1)` and thresholds
`theta (batch or 1, n or 1)`. Entries whose magnitude is above the p-th largest one of their signal, the `level`, pass
unchanged; if `tested`, only those that are above the threshold too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..jit import Array, jit

FEW, STEPS = 16, 40  # bisection ends where so few are left, or after so many steps


@jit
def nth(values: Array, count: int, k: int) -> Any:
    """The k-th largest, from 0, of the first `count` values, which change places: Hoare's quickselect."""
    low, high = 0, count - 1
    while low < high:
        pivot, i, j = values[(low + high) // 2], low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@jit
def rank(a: Array, p: int, few: Array) -> Any:
    """The p-th largest of non-negative numbers: by bisection until few are left, since counting is a quick loop."""
    zero, half, one = a.dtype.type(0), a.dtype.type(0.5), a.dtype.type(1)
    low, high, not_above, above = -one, zero, a.dtype.type(a.size), zero
    for j in range(a.size):
        high = a[j] if a[j] > high else high
    for _ in range(STEPS):  # equal numbers are never apart
        if not_above - above <= FEW:
            break
        middle, count = half * (max(low, zero) + high), zero
        for j in range(a.size):
            count += one if a[j] > middle else zero
        if count >= p:
            low, not_above = middle, count
        else:
            high, above = middle, count
    left = 0
    for j in range(a.size):
        few[left] = a[j]
        left += 1 if (a[j] > low) & (a[j] <= high) else 0
    return nth(few, left, p - 1 - int(above))


@jit
def forward(x: Array, c: Array, gamma: Array, theta: Array, p: int, tested: bool, level: Array, out: Array) -> None:
    """The step's result, `out (batch, n)`, and `level (batch,)`, which `backward` needs."""
    n = x.shape[1]
    z, a, few, zero = np.empty(n, x.dtype), np.empty(n, x.dtype), np.empty(n + 1, x.dtype), x.dtype.type(0)
    each = theta.shape[1] > 1
    for b in range(x.shape[0]):
        step, thresholds = gamma[min(b, gamma.shape[0] - 1), 0], theta[min(b, theta.shape[0] - 1)]
        for j in range(n):
            z[j] = x[b, j] + step * c[b, j]
            a[j] = abs(z[j])
        top = x.dtype.type(np.inf)
        if p > 0:
            top = rank(a, p, few)
        level[b] = top
        if each:
            for j in range(n):
                t = thresholds[j]
                low = t if t > zero else zero
                high = low if tested and low > top else top
                shrunk = z[j] - t if z[j] > zero else z[j] + t
                out[b, j] = z[j] if a[j] > high else (zero if a[j] <= low else shrunk)
        else:
            t = thresholds[0]
            low = t if t > zero else zero
            high = low if tested and low > top else top
            for j in range(n):
                shrunk = z[j] - t if z[j] > zero else z[j] + t
                out[b, j] = z[j] if a[j] > high else (zero if a[j] <= low else shrunk)


@jit
def backward(
    x: Array, c: Array, gamma: Array, theta: Array, level: Array, g: Array, tested: bool,
    grad_x: Array, grad_c: Array, grad_gamma: Array, grad_theta: Array,
) -> None:  # fmt: skip
    """Gradients of `x`, `c`, `gamma (batch,)` and `theta (batch, n or 1)`, from that of `out`, `g (batch, n)`."""
    n, zero, one = x.shape[1], x.dtype.type(0), x.dtype.type(1)
    each = theta.shape[1] > 1
    for b in range(x.shape[0]):
        step, thresholds = gamma[min(b, gamma.shape[0] - 1), 0], theta[min(b, theta.shape[0] - 1)]
        top, by_gamma, by_theta = level[b], zero, zero
        if each:
            for j in range(n):
                t, z = thresholds[j], x[b, j] + step * c[b, j]
                a, low = abs(z), t if t > zero else zero
                high = low if tested and low > top else top
                kept = g[b, j] if a > low or a > high else zero
                sign = one if z > zero else -one
                grad_x[b, j] = kept
                grad_c[b, j] = step * kept
                by_gamma += kept * c[b, j]
                grad_theta[b, j] = zero if a > high else -sign * kept
        else:
            t = thresholds[0]
            low = t if t > zero else zero
            high = low if tested and low > top else top
            for j in range(n):
                z = x[b, j] + step * c[b, j]
                a = abs(z)
                kept = g[b, j] if a > low or a > high else zero
                sign = one if z > zero else -one
                grad_x[b, j] = kept
                grad_c[b, j] = step * kept
                by_gamma += kept * c[b, j]
                by_theta += zero if a > high else -sign * kept
            grad_theta[b, 0] = by_theta
        grad_gamma[b] = by_gamma
