"""The algorithms once more, in plain NumPy, for one signal and unit columns, written from their published boxes.

Each is a generator of iterates that ends where its stop rule ends it. Nothing here imports `pursuit`.
"""

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
