"""Orthogonal Matching Pursuit and Orthogonal Least Squares on NVIDIA GPUs, by Triton: one text for both.

With `A_S = Q R`, every step adds a column `q` to Q, and what is asked of it is `u = A^H q`: then the correlations
`p = A^H r` become `p - u (q^H r)`, and what is left of every column outside the span `rest - |u|^2`. OMP takes the
largest `w |p|`, OLS the largest `w |p| / sqrt(rest)`. From `G_i = A^H a_i`, with i the atom that is taken,
`u = (G_i - sum_j u_j conj(u_j[i])) / ||a_i outside the span||`.

`pursue` has one program per signal at a time, all steps inside. p and the weights stay in registers. The rows u lie in
memory that a program uses for one signal after another, which is small enough for the caches. `refit` makes the
coefficients as good as those from QR by one step of iterative refinement, and computes the residual from y.

A difference of energies tells the residual only to a few roundings of the energy of y. Where that is not enough the
signal waits for the norm that `refit` finds (`WAITING`), and where not even that tells, it is declined (`RUNNING`).
Signals are scaled by a power of two to a norm near one, weights to one at most, so that nothing overflows.

Complex numbers have two `PLANES`, side by side in memory, and in rows u one after the other. What ends in `_im` is the
imaginary part, and is there only with complex numbers.
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
    P,  # (items, width) A^H y
    G,  # (n, width) row i is A^H a_i, zeros beyond n
    W,  # (1 or items, width) weights, zeros beyond n
    U,  # (programs, places, planes, width) and N more, working memory without NaN
    R,  # (items, most, most) a column of the triangular factor in every row
    RHO,  # (items, most) Q^H y
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
    PLANES: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, N)
    ks = tl.arange(0, K)
    inside = cols < width
    leap = width * PLANES
    rows = U + program * places * leap
    for b in range(program, items, tl.num_programs(0)):
        norm = tl.load(NORM + b)
        target = tl.load(TARGET + b)
        scale = tl.load(SCALE + b)
        atoms = tl.load(ATOMS + b)
        budget = tl.load(BUDGET + b)
        goal = (target * scale) * (target * scale)
        e = (norm * scale) * (norm * scale)
        lost = e * (LOST * EPS)
        correlations = P + b * leap
        p = tl.load(correlations + cols * PLANES, mask=inside, other=0.0)
        w = tl.load(W + b * w_step + cols, mask=inside, other=0.0)
        w = tl.where(w > 0, w, -1.0)  # never chosen
        rho = tl.zeros([K], dtype=P.dtype.element_ty)
        rest = tl.full([N], 1.0, dtype=P.dtype.element_ty)
        if PLANES == 2:
            p_im = tl.load(correlations + cols * 2 + 1, mask=inside, other=0.0)
            rho_im = tl.zeros([K], dtype=P.dtype.element_ty)
        t = 0
        code = tl.where(norm <= target, TOLERANCE, tl.where(budget <= 0, MAX_STEPS, GOING))
        while code == GOING:
            score = w * tl.sqrt(p * p + p_im * p_im) if PLANES == 2 else w * tl.abs(p)
            if OLS:
                outside = rest > floor
                score = tl.where(outside, score / tl.sqrt(tl.where(outside, rest, 1.0)), tl.where(w > 0, 0.0, -1.0))
            best, i = tl.max(score, axis=0, return_indices=True)
            tl.debug_barrier()  # rows that other threads have written are read
            diagonal = tl.load(G + (i * width + i) * PLANES)
            gain = tl.load(correlations + i * PLANES)
            v = tl.load(rows + ks * leap + i, mask=ks < t, other=0.0)
            if PLANES == 2:
                v_im = tl.load(rows + ks * leap + width + i, mask=ks < t, other=0.0)
                length = diagonal - tl.sum(v * v + v_im * v_im, axis=0)
                gain -= tl.sum(v * rho - v_im * rho_im, axis=0)
                gain_im = tl.load(correlations + i * 2 + 1) - tl.sum(v * rho_im + v_im * rho, axis=0)
            else:
                length = diagonal - tl.sum(v * v, axis=0)
                gain -= tl.sum(v * rho, axis=0)
            sound = length > LEAST
            pivot = tl.sqrt(tl.where(sound, length, 1.0))
            gain = gain / pivot
            fall = gain * gain
            if PLANES == 2:
                gain_im = gain_im / pivot
                fall += gain_im * gain_im
            # Else rounding decides whether there is such an atom, or whether it lowers the residual.
            sound = sound & (best > 0) & (fall > (LOST * EPS) * tl.maximum(e, lost))
            code = tl.where(sound, GOING, RUNNING)
            if sound:
                u = tl.load(G + (i * width + cols) * PLANES, mask=inside, other=0.0)
                if PLANES == 2:
                    u_im = tl.load(G + (i * width + cols) * 2 + 1, mask=inside, other=0.0)
                    for j in range(0, t):
                        row = rows + j * leap
                        x = tl.load(row + i)
                        x_im = tl.load(row + width + i)
                        u_j = tl.load(row + cols)
                        u_j_im = tl.load(row + width + cols)
                        u = u - x * u_j - x_im * u_j_im
                        u_im = u_im - x * u_j_im + x_im * u_j
                    u_im = u_im / pivot
                else:
                    for j in range(0, t, 4):  # rows beyond t count 0 times; columns beyond `width` are never chosen
                        row = rows + j * width
                        x0 = tl.load(row + i)
                        x1 = tl.load(row + width + i, mask=j + 1 < t, other=0.0)
                        x2 = tl.load(row + 2 * width + i, mask=j + 2 < t, other=0.0)
                        x3 = tl.load(row + 3 * width + i, mask=j + 3 < t, other=0.0)
                        u0 = tl.load(row + cols)
                        u1 = tl.load(row + width + cols)
                        u2 = tl.load(row + 2 * width + cols)
                        u3 = tl.load(row + 3 * width + cols)
                        u = u - x0 * u0 - x1 * u1 - x2 * u2 - x3 * u3
                u = u / pivot
                tl.store(rows + t * leap + cols, u, mask=inside)
                column = R + ((b * most + t) * most + ks) * PLANES
                tl.store(column, tl.where(ks == t, pivot, v), mask=ks <= t)
                tl.store(SUPPORT + b * most + t, i)
                rho = tl.where(ks == t, gain, rho)
                if PLANES == 2:
                    tl.store(rows + t * leap + width + cols, u_im, mask=inside)
                    tl.store(column + 1, tl.where(ks == t, 0.0, -v_im), mask=ks <= t)
                    rho_im = tl.where(ks == t, gain_im, rho_im)
                    p = p - u * gain + u_im * gain_im
                    p_im = p_im - u * gain_im - u_im * gain
                else:
                    p -= u * gain
                w = tl.where(cols == i, -1.0, w)
                if OLS:
                    rest -= u * u
                    if PLANES == 2:
                        rest -= u_im * u_im
                t += 1
                e -= fall
                ends = tl.where(t >= atoms, full, tl.where(t >= budget, MAX_STEPS, GOING))
                code = tl.where(e <= goal, TOLERANCE, ends)
                code = tl.where((e < lost) | (tl.abs(e - goal) < lost), WAITING, code)
        tl.store(RHO + (b * most + ks) * PLANES, rho, mask=ks < most)
        if PLANES == 2:
            tl.store(RHO + (b * most + ks) * 2 + 1, rho_im, mask=ks < most)
        tl.store(COUNT + b, t)
        tl.store(CODE + b, code)
        tl.store(ENERGY + b, e)


@triton.jit
def back(R, x, x_im, count, most, ks, PLANES: tl.constexpr):
    """Solve `R z = x`, and return z; memory has a column of R in every row."""
    for s in range(0, count):
        j = count - 1 - s
        pivot = tl.load(R + (j * most + j) * PLANES)
        column = tl.load(R + (j * most + ks) * PLANES, mask=ks < j, other=0.0)
        value = tl.sum(tl.where(ks == j, x, 0.0), axis=0) / pivot
        if PLANES == 2:
            column_im = tl.load(R + (j * most + ks) * 2 + 1, mask=ks < j, other=0.0)
            value_im = tl.sum(tl.where(ks == j, x_im, 0.0), axis=0) / pivot
            x = tl.where(ks == j, value, x - column * value + column_im * value_im)
            x_im = tl.where(ks == j, value_im, x_im - column * value_im - column_im * value)
        else:
            x = tl.where(ks == j, value, x - column * value)
    return x, x_im


@triton.jit
def forth(R, d, d_im, count, most, ks, PLANES: tl.constexpr):
    """Solve `R^H z = d`, and return z."""
    for j in range(0, count):
        pivot = tl.load(R + (j * most + j) * PLANES)
        column = tl.load(R + (j * most + ks) * PLANES, mask=ks < j, other=0.0)
        if PLANES == 2:
            column_im = tl.load(R + (j * most + ks) * 2 + 1, mask=ks < j, other=0.0)
            own = tl.where(ks == j, d, 0.0) - column * d - column_im * d_im
            own_im = tl.where(ks == j, d_im, 0.0) - column * d_im + column_im * d
            d_im = tl.where(ks == j, tl.sum(own_im, axis=0) / pivot, d_im)
        else:
            own = tl.where(ks == j, d, 0.0) - column * d
        d = tl.where(ks == j, tl.sum(own, axis=0) / pivot, d)
    return d, d_im


@triton.jit
def left(y, A, chosen, z, count, at, inside, m, PLANES: tl.constexpr):
    """The residual `y - B z` at the measurements `at`."""
    r = tl.load(y + at * PLANES, mask=inside, other=0.0)
    r_im = r
    if PLANES == 2:
        r_im = tl.load(y + at * 2 + 1, mask=inside, other=0.0)
    for j in range(0, count):
        a = A + (tl.load(chosen + j) * m + at) * PLANES
        re = tl.load(a, mask=inside, other=0.0)
        x = tl.load(z + j * PLANES)
        r -= re * x
        if PLANES == 2:
            im = tl.load(a + 1, mask=inside, other=0.0)
            x_im = tl.load(z + j * 2 + 1)
            r += im * x_im
            r_im -= re * x_im + im * x
    return r, r_im


@triton.jit(do_not_specialize=["most", "full"])
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
    PLANES: tl.constexpr,
    M: tl.constexpr,
    K: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    ks = tl.arange(0, K)
    code = tl.load(CODE + b)
    count = tl.where(code == RUNNING, 0, tl.load(COUNT + b))
    norm = tl.load(NORM + b)
    scale = tl.load(SCALE + b)
    y = Y + b * m * PLANES
    chosen = SUPPORT + b * most
    factor = R + b * most * most * PLANES
    values = Z + b * most * PLANES
    rho = RHO + (b * most + ks) * PLANES
    z = tl.load(rho, mask=ks < count, other=0.0)
    z_im = z
    if PLANES == 2:
        z_im = tl.load(rho + 1, mask=ks < count, other=0.0)
    z, z_im = back(factor, z, z_im, count, most, ks, PLANES)
    tl.store(values + ks * PLANES, z, mask=ks < most)
    if PLANES == 2:
        tl.store(values + ks * 2 + 1, z_im, mask=ks < most)
    tl.debug_barrier()

    d = tl.zeros([K], dtype=Y.dtype.element_ty)  # B^H (y - B z)
    d_im = d
    for first in range(0, m, M):
        at = first + tl.arange(0, M)
        r, r_im = left(y, A, chosen, values, count, at, at < m, m, PLANES)
        for j in range(0, count):
            a = A + (tl.load(chosen + j) * m + at) * PLANES
            re = tl.load(a, mask=at < m, other=0.0)
            if PLANES == 2:
                im = tl.load(a + 1, mask=at < m, other=0.0)
                d += tl.where(ks == j, tl.sum(re * r + im * r_im, axis=0), 0.0)
                d_im += tl.where(ks == j, tl.sum(re * r_im - im * r, axis=0), 0.0)
            else:
                d += tl.where(ks == j, tl.sum(re * r, axis=0), 0.0)
    d, d_im = forth(factor, d, d_im, count, most, ks, PLANES)
    d, d_im = back(factor, d, d_im, count, most, ks, PLANES)
    change = d * d
    size = z * z
    z += d
    tl.debug_barrier()
    tl.store(values + ks * PLANES, z, mask=ks < most)
    if PLANES == 2:
        change += d_im * d_im
        size += z_im * z_im
        z_im += d_im
        tl.store(values + ks * 2 + 1, z_im, mask=ks < most)
    good = tl.sum(change, axis=0) <= EPS * tl.sum(size, axis=0)  # what another step would change is rounding
    tl.debug_barrier()

    expected = tl.load(ENERGY + b)
    energy = expected * 0.0
    for first in range(0, m, M):
        at = first + tl.arange(0, M)
        r, r_im = left(y, A, chosen, values, count, at, at < m, m, PLANES)
        energy += tl.sum(r * r, axis=0)
        if PLANES == 2:
            energy += tl.sum(r_im * r_im, axis=0)

    whole = (norm * scale) * (norm * scale)
    good = good & (tl.abs(energy - expected) <= (4 * LOST * EPS) * whole)
    rest = tl.sqrt(energy)
    goal = tl.load(TARGET + b) * scale
    ends = tl.where(count >= tl.load(ATOMS + b), full, tl.where(count >= tl.load(BUDGET + b), MAX_STEPS, RUNNING))
    ends = tl.where(rest > NEAR * goal, ends, RUNNING)
    code = tl.where(code == WAITING, tl.where(rest * NEAR < goal, TOLERANCE, ends), code)
    code = tl.where(good | (count == 0), code, RUNNING)
    count = tl.where(code == RUNNING, 0, count)
    tl.debug_barrier()
    kept = tl.load(chosen + ks, mask=ks < count, other=-1)
    tl.store(chosen + ks, kept, mask=ks < most)
    tl.store(values + ks * PLANES, z / scale, mask=ks < most)
    if PLANES == 2:
        tl.store(values + ks * 2 + 1, z_im / scale, mask=ks < most)
    tl.store(NORM + b, tl.where(count == 0, norm, rest / scale))
    tl.store(CODE + b, code)
    tl.store(STEPS + b, count)
