"""Orthogonal Matching Pursuit and Orthogonal Least Squares on NVIDIA GPUs, by Triton: one text for both.

With `A_S = Q R`, every step adds a column `q` to Q, and what is asked of it is `u = A^T q`: then the correlations
`p = A^T r` become `p - u (q^T r)`, and what is left of every column outside the span `rest - u^2`. OMP takes the
largest `w |p|`, OLS the largest `w |p| / sqrt(rest)`. From a row of `G = A^T A`, with i the atom that is taken,
`u = (G_i - sum_j u_j u_j[i]) / ||a_i outside the span||`.

`pursue` has one program per signal at a time, all steps inside. p and the weights stay in registers. The rows u lie in
memory that the programs use again and again, so little of it that the caches hold it. `refit` makes the coefficients as
good as those from QR by one step of iterative refinement, and has the norm of the residual from the measurements.

A difference of energies tells the residual only to a few roundings of the energy of y. Where that is not enough the
signal waits for the norm that `refit` finds (`WAITING`), and where not even that tells, it is declined (`RUNNING`).
Signals are scaled by a power of two to a norm near one, weights to one at most, so that nothing overflows.
"""

from __future__ import annotations

import triton
import triton.language as tl

RUNNING, TOLERANCE, MAX_STEPS = tl.constexpr(0), tl.constexpr(1), tl.constexpr(8)  # of Status
GOING, WAITING = tl.constexpr(-1), tl.constexpr(-2)
LOST = tl.constexpr(64.0)  # roundings of the energy of y, below which a difference of energies says nothing
NEAR = tl.constexpr(1.3)  # a norm that is nearer than this factor to the target may be on either side of it


@triton.jit(do_not_specialize=["items", "most", "places", "full", "floor"])
def pursue(
    P,  # (items, width) A^T y
    G,  # (n, width) Gram matrix, zeros beyond n
    W,  # (1 or items, width) weights, zeros beyond n
    U,  # (programs, places, width) and N more, memory that holds numbers
    R,  # (items, most, most) a column of the triangular factor in every row
    RHO,  # (items, most) Q^T y
    SUPPORT,  # (items, most)
    COUNT,  # (items,) atoms taken
    CODE,  # (items,) Status, or WAITING
    ENERGY,  # (items,) of the residual
    NORM,  # (items,) of y, unscaled
    SCALE,  # (items,)
    TARGET,  # (items,) unscaled
    ATOMS,  # (items,) how many there may be
    BUDGET,  # (items,) steps
    items,
    width,
    w_step,
    most,
    places,  # `most`, or up to three more: a multiple of four
    full,
    floor,  # share of a column's energy outside the span that OLS takes for rounding
    EPS: tl.constexpr,
    LEAST: tl.constexpr,  # share of a column's energy outside the span that the Gram matrix tells
    OLS: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, N)
    ks = tl.arange(0, K)
    inside = cols < width
    rows = U + program * places * width
    for b in range(program, items, tl.num_programs(0)):
        norm = tl.load(NORM + b)
        target = tl.load(TARGET + b)
        scale = tl.load(SCALE + b)
        atoms = tl.load(ATOMS + b)
        budget = tl.load(BUDGET + b)
        goal = (target * scale) * (target * scale)
        e = (norm * scale) * (norm * scale)
        lost = e * (LOST * EPS)
        p = tl.load(P + b * width + cols, mask=inside, other=0.0)
        w = tl.load(W + b * w_step + cols, mask=inside, other=0.0)
        w = tl.where(w > 0, w, -1.0)  # never chosen
        rho = tl.zeros([K], dtype=P.dtype.element_ty)
        rest = tl.full([N], 1.0, dtype=P.dtype.element_ty)
        t = 0
        code = tl.where(norm <= target, TOLERANCE, tl.where(budget <= 0, MAX_STEPS, GOING))
        while code == GOING:
            score = w * tl.abs(p)
            if OLS:
                outside = rest > floor
                score = tl.where(outside, score / tl.sqrt(tl.where(outside, rest, 1.0)), tl.where(w > 0, 0.0, -1.0))
            best, i = tl.max(score, axis=0, return_indices=True)
            tl.debug_barrier()  # rows that other threads have written are read
            v = tl.load(rows + ks * width + i, mask=ks < t, other=0.0)
            length = tl.load(G + i * width + i) - tl.sum(v * v, axis=0)
            along = tl.load(P + b * width + i) - tl.sum(v * rho, axis=0)
            sound = length > LEAST
            pivot = tl.sqrt(tl.where(sound, length, 1.0))
            gain = along / pivot
            # Else rounding decides whether there is such an atom, or whether it lowers the residual.
            sound = sound & (best > 0) & (gain * gain > (LOST * EPS) * tl.maximum(e, lost))
            code = tl.where(sound, GOING, RUNNING)
            if sound:
                u = tl.load(G + i * width + cols, mask=inside, other=0.0)
                for first in range(
                    0, t, 4
                ):  # what lies beyond t, times 0, and beyond `width`, never chosen, are numbers
                    row = rows + first * width
                    x0 = tl.load(row + i)
                    x1 = tl.load(row + width + i, mask=first + 1 < t, other=0.0)
                    x2 = tl.load(row + 2 * width + i, mask=first + 2 < t, other=0.0)
                    x3 = tl.load(row + 3 * width + i, mask=first + 3 < t, other=0.0)
                    u0 = tl.load(row + cols)
                    u1 = tl.load(row + width + cols)
                    u2 = tl.load(row + 2 * width + cols)
                    u3 = tl.load(row + 3 * width + cols)
                    u = u - x0 * u0 - x1 * u1 - x2 * u2 - x3 * u3
                u = u / pivot
                tl.store(rows + t * width + cols, u, mask=inside)
                tl.store(R + (b * most + t) * most + ks, tl.where(ks == t, pivot, v), mask=ks <= t)
                tl.store(SUPPORT + b * most + t, i)
                rho = tl.where(ks == t, gain, rho)
                p -= u * gain
                w = tl.where(cols == i, -1.0, w)
                if OLS:
                    rest -= u * u
                t += 1
                e -= gain * gain
                ends = tl.where(t >= atoms, full, tl.where(t >= budget, MAX_STEPS, GOING))
                code = tl.where(e <= goal, TOLERANCE, ends)
                code = tl.where((e < lost) | (tl.abs(e - goal) < lost), WAITING, code)
        tl.store(RHO + b * most + ks, rho, mask=ks < most)
        tl.store(COUNT + b, t)
        tl.store(CODE + b, code)
        tl.store(ENERGY + b, e)


@triton.jit
def back(R, x, count, most, ks):
    """`x` with `R x` as it was; a column of R in every row in memory."""
    for s in range(0, count):
        j = count - 1 - s
        column = tl.load(R + j * most + ks, mask=ks < j, other=0.0)
        value = tl.sum(tl.where(ks == j, x, 0.0), axis=0) / tl.load(R + j * most + j)
        x = tl.where(ks == j, value, x - column * value)
    return x


@triton.jit(do_not_specialize=["items", "most", "full"])
def refit(
    Y,  # (items, m) scaled
    A,  # (n, m) columns as rows
    R,
    RHO,
    SUPPORT,  # (items, most); becomes -1 beyond the atoms
    Z,  # (items, most) coefficients
    COUNT,
    CODE,  # becomes Status
    STEPS,  # (items,)
    ENERGY,
    NORM,  # of y; becomes that of the residual
    SCALE,
    TARGET,
    ATOMS,
    BUDGET,
    m,
    most,
    full,
    EPS: tl.constexpr,
    M: tl.constexpr,
    K: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    ks = tl.arange(0, K)
    code = tl.load(CODE + b)
    count = tl.where(code == RUNNING, 0, tl.load(COUNT + b))
    norm = tl.load(NORM + b)
    scale = tl.load(SCALE + b)
    chosen = SUPPORT + b * most
    factor = R + b * most * most
    rho = tl.load(RHO + b * most + ks, mask=ks < count, other=0.0)
    z = back(factor, rho, count, most, ks)
    tl.store(Z + b * most + ks, z, mask=ks < most)
    tl.debug_barrier()

    d = tl.zeros([K], dtype=Y.dtype.element_ty)  # B^T (y - B z)
    for first in range(0, m, M):
        at = first + tl.arange(0, M)
        r = tl.load(Y + b * m + at, mask=at < m, other=0.0)
        for j in range(0, count):
            a = tl.load(A + tl.load(chosen + j) * m + at, mask=at < m, other=0.0)
            r -= a * tl.load(Z + b * most + j)
        for j in range(0, count):
            a = tl.load(A + tl.load(chosen + j) * m + at, mask=at < m, other=0.0)
            d += tl.where(ks == j, tl.sum(a * r, axis=0), 0.0)
    for j in range(0, count):  # R^T d = B^T (y - B z)
        row = tl.load(factor + j * most + ks, mask=ks < j, other=0.0)
        value = tl.sum(tl.where(ks == j, d, 0.0) - row * d, axis=0) / tl.load(factor + j * most + j)
        d = tl.where(ks == j, value, d)
    d = back(factor, d, count, most, ks)
    good = tl.sum(d * d, axis=0) <= EPS * tl.sum(z * z, axis=0)  # what another step would change is rounding
    z += d
    tl.debug_barrier()
    tl.store(Z + b * most + ks, z, mask=ks < most)
    tl.debug_barrier()

    energy = tl.load(ENERGY + b) * 0.0
    for first in range(0, m, M):
        at = first + tl.arange(0, M)
        r = tl.load(Y + b * m + at, mask=at < m, other=0.0)
        for j in range(0, count):
            a = tl.load(A + tl.load(chosen + j) * m + at, mask=at < m, other=0.0)
            r -= a * tl.load(Z + b * most + j)
        energy += tl.sum(r * r, axis=0)

    size = norm * scale
    left = tl.sqrt(energy)
    goal = tl.load(TARGET + b) * scale
    ends = tl.where(count >= tl.load(ATOMS + b), full, tl.where(count >= tl.load(BUDGET + b), MAX_STEPS, RUNNING))
    ends = tl.where(left > NEAR * goal, ends, RUNNING)
    code = tl.where(code == WAITING, tl.where(left * NEAR < goal, TOLERANCE, ends), code)
    good = good & (tl.abs(energy - tl.load(ENERGY + b)) <= (4 * LOST * EPS) * size * size)
    code = tl.where(good | (count == 0), code, RUNNING)
    count = tl.where(code == RUNNING, 0, count)
    tl.debug_barrier()
    kept = tl.load(chosen + ks, mask=ks < count, other=-1)
    tl.store(chosen + ks, kept, mask=ks < most)
    tl.store(Z + b * most + ks, z / scale, mask=ks < most)
    tl.store(NORM + b, tl.where(count == 0, norm, left / scale))
    tl.store(CODE + b, code)
    tl.store(STEPS + b, count)
