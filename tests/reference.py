"""The algorithms once more, in plain NumPy, for one signal and unit columns, written from their published boxes.

Each is a generator of iterates that ends where its stop rule ends it. Nothing here imports `pursuit`.
"""

import math
from itertools import combinations

import numpy as np


def top(v, k):
    """The k largest magnitudes, ties to the lowest index."""
    return np.argsort(-np.abs(v), kind="stable")[:k]


def hard(u, k, w=1.0):
    """Keep the k largest of |w u|, the values unweighted."""
    x = np.zeros_like(u)
    S = top(w * u, k)
    x[S] = u[S]
    return x


def soft(u, theta):
    """Soft threshold that keeps the phase."""
    size = np.abs(u)
    return np.where(size > theta, u * (1 - theta / np.where(size > 0, size, 1)), 0)


def least_squares(A, y, S):
    """argmin ||A z - y|| with z zero off S."""
    x = np.zeros(A.shape[1], dtype=np.result_type(A, y))
    S = list(S)
    x[S] = np.linalg.lstsq(A[:, S], y, rcond=None)[0]
    return x


def residual(A, y, x):
    return np.linalg.norm(y - A @ x)


def best_subset(A, y, k):
    """The least residual of any k columns."""
    B = np.stack([A[:, S] for S in combinations(range(A.shape[1]), k)])
    return np.linalg.norm(y[:, None] - B @ (np.linalg.pinv(B) @ y[:, None]), axis=-2).min()


def omp(A, y, k, w=1.0):
    S, x = [], np.zeros(A.shape[1], dtype=A.dtype)
    for _ in range(k):
        score = np.abs(w * (A.conj().T @ (y - A @ x)))
        score[S] = -1  # the residual is orthogonal to S; rounding is not
        S.append(int(np.argmax(score)))
        x = least_squares(A, y, S)
        yield x


def ols(A, y, k, w=1.0):
    """Every atom tried by a full refit: the one that lowers the energy of the residual most, times w^2."""
    S, x = [], np.zeros(A.shape[1], dtype=A.dtype)
    for _ in range(k):
        fits = {j: least_squares(A, y, [*S, j]) for j in range(A.shape[1]) if j not in S}
        before = residual(A, y, x) ** 2
        square = np.broadcast_to(np.square(w), A.shape[1])
        S.append(max(fits, key=lambda j: square[j] * (before - residual(A, y, fits[j]) ** 2)))
        x = fits[S[-1]]
        yield x


def iht(A, y, k, eta, w=1.0):
    x = np.zeros(A.shape[1], dtype=A.dtype)
    while True:
        x = hard(x + eta * A.conj().T @ (y - A @ x), k, w)
        yield x


def niht(A, y, k, c=0.01, kappa=2.0):
    x = np.zeros(A.shape[1], dtype=A.dtype)
    S = set(top(A.conj().T @ y, k))
    while True:
        g = A.conj().T @ (y - A @ x)
        g_S = np.where(np.isin(np.arange(g.size), list(S)), g, 0)
        mu = np.linalg.norm(g_S) ** 2 / np.linalg.norm(A @ g_S) ** 2
        while True:
            trial = hard(x + mu * g, k)
            moved = set(np.flatnonzero(trial))
            d = trial - x
            if moved == S or mu <= (1 - c) * np.linalg.norm(d) ** 2 / np.linalg.norm(A @ d) ** 2:
                break
            mu /= kappa * (1 - c)
        x, S = trial, moved
        yield x


def htp(A, y, k, eta, x):
    """Yields the best iterate so far, until a support comes back."""
    best, seen = x, []
    while True:
        S = set(top(x + eta * A.conj().T @ (y - A @ x), k))
        x = least_squares(A, y, sorted(S))
        best = min(best, x, key=lambda z: residual(A, y, z))
        yield best
        if S in seen:
            return
        seen.append(S)


def cosamp(A, y, k):
    x = np.zeros(A.shape[1], dtype=A.dtype)
    while True:
        Omega = top(A.conj().T @ (y - A @ x), 2 * k)
        T = sorted(set(Omega) | set(np.flatnonzero(x)))
        new = hard(least_squares(A, y, T), k)
        if residual(A, y, new) >= residual(A, y, x):
            return
        x = new
        yield x


def sp(A, y, k):
    S = top(A.conj().T @ y, k)
    x = least_squares(A, y, S)
    while True:
        T = sorted(set(S) | set(top(A.conj().T @ (y - A @ x), k)))
        new_S = top(least_squares(A, y, T), k)
        new = least_squares(A, y, new_S)
        if residual(A, y, new) >= residual(A, y, x):
            return
        S, x = new_S, new
        yield x


def ompr(A, y, k, eta, S):
    x = least_squares(A, y, S)
    while True:
        z = x + eta * A.conj().T @ (y - A @ x)
        outside = np.where(np.isin(np.arange(z.size), S), -1, np.abs(z))
        J = sorted({*S, int(np.argmax(outside))})
        new_S = [i for i in J if i != J[int(np.argmin(np.abs(z[J])))]]
        new = least_squares(A, y, new_S)
        if set(new_S) == set(S) or residual(A, y, new) >= residual(A, y, x):
            return
        S, x = new_S, new
        yield x


def els(A, y, k, S):
    """Every swap by a full refit."""
    S = set(S)
    x = least_squares(A, y, sorted(S))
    while True:
        swaps = [(S - {i}) | {j} for i in S for j in range(A.shape[1]) if j not in S]
        best = min(swaps, key=lambda T: residual(A, y, least_squares(A, y, sorted(T))))
        new = least_squares(A, y, sorted(best))
        if residual(A, y, new) ** 2 >= (1 - 1e-12) * residual(A, y, x) ** 2:
            return
        S, x = best, new
        yield x


def sea(A, y, k, eta, X):
    """Yields the best iterate so far."""
    best = np.zeros(A.shape[1], dtype=A.dtype)
    while True:
        S = sorted(top(X, k))
        x = least_squares(A, y, S)
        best = min(best, x, key=lambda z: residual(A, y, z))
        yield best
        gradient = A.conj().T @ (A @ x - y)
        gradient[S] = 0  # exactly, as least squares has it but for rounding
        X = X - eta * gradient


def sea_supports(A, y, k, eta, X):
    """The supports that the exploration visits."""
    while True:
        S = sorted(top(X, k))
        yield S
        gradient = A.conj().T @ (A @ least_squares(A, y, S) - y)
        gradient[S] = 0
        X = X - eta * gradient


def ista(A, y, lam):
    L = np.linalg.norm(A, 2) ** 2
    x = np.zeros(A.shape[1], dtype=A.dtype)
    while True:
        x = soft(x + A.conj().T @ (y - A @ x) / L, lam / L)
        yield x


def fista(A, y, lam):
    """Yields z, not the extrapolated point."""
    L = np.linalg.norm(A, 2) ** 2
    z = x = np.zeros(A.shape[1], dtype=A.dtype)
    t = 1.0
    while True:
        new = soft(x + A.conj().T @ (y - A @ x) / L, lam / L)
        t, previous_t = (1 + np.sqrt(1 + 4 * t**2)) / 2, t
        x = new + (previous_t - 1) / t * (new - z)
        z = new
        yield z


def greedy_support(A, y, k):
    """OMP's support."""
    *_, x = omp(A, y, k)
    return np.flatnonzero(x).tolist()


def gomp(A, y, k, S):
    """S atoms at a time, k in all."""
    chosen, x = [], np.zeros(A.shape[1], dtype=A.dtype)
    while len(chosen) < k:
        score = np.abs(A.conj().T @ (y - A @ x))
        score[chosen] = 0
        chosen += top(score, min(S, k - len(chosen))).tolist()
        x = least_squares(A, y, chosen)
        yield x


def mp(A, y):
    """Matching pursuit on unit columns."""
    x = np.zeros(A.shape[1], dtype=A.dtype)
    while True:
        c = A.conj().T @ (y - A @ x)
        j = int(np.argmax(np.abs(c)))
        x = x.copy()
        x[j] += c[j]
        yield x


def minimax(share, cplx):
    """The alpha with the least worst error, by its formula on a grid."""
    alpha = np.linspace(0, 6, 60_001)
    if cplx:
        tail = np.exp(-(alpha**2)) - alpha * math.sqrt(math.pi) * erfc(alpha)
    else:
        tail = (1 + alpha**2) * erfc(alpha / math.sqrt(2)) - alpha * np.exp(-(alpha**2) / 2) * math.sqrt(2 / math.pi)
    return alpha[np.argmin(share * (1 + alpha**2) + (1 - share) * tail)]


def erfc(values):
    return np.array([math.erfc(v) for v in values])


def soft_slope(z, theta):
    """The derivative of the soft threshold by z; where complex, with its conjugate held."""
    size = np.abs(z)
    bend = theta / (2 * np.where(size > 0, size, 1)) if np.iscomplexobj(z) else 0
    return np.where(size > theta, 1 - bend, 0)


def posterior_mean(z, tau2, share, v):
    """Of Bernoulli-Gaussian entries in noise, from the two densities, and its derivative by differences."""

    def mean(z):
        power = 1 if np.iscomplexobj(z) else 0.5
        on = share * (v + tau2) ** -power * np.exp(-power * np.abs(z) ** 2 / (v + tau2))
        off = (1 - share) * tau2**-power * np.exp(-power * np.abs(z) ** 2 / tau2)
        return on / (on + off) * v / (v + tau2) * z

    h = 1e-6 * math.sqrt(tau2)
    slope = (mean(z + h) - mean(z - h)) / (2 * h)
    if np.iscomplexobj(z):
        slope = ((slope - 1j * (mean(z + 1j * h) - mean(z - 1j * h)) / (2 * h)) / 2).real
    return mean(z), slope


def amp(A, y, denoise, x, damping=1.0):
    """`denoise(z, tau2)` returns the signal and its slope."""
    m = A.shape[0]
    v = y - A @ x
    while True:
        tau2 = np.linalg.norm(v) ** 2 / m
        new, slope = denoise(x + A.conj().T @ v, tau2)
        corrected = y - A @ new + v * slope.sum() / m
        x, v = x + damping * (new - x), v + damping * (corrected - v)
        yield x
