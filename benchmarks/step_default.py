"""Step sizes of IHT and HTP on a named set: the defaults against 1.8 / L, 1 / L, and those searched anew in every step.

Prints, as CSV, for every problem, number of non-zeros k, noise and step size: without noise the share of 100 signals
that are recovered to 1 %, with noise of 5 % of ||y|| the median relative error, at most 10 (a divergence). Columns have
norm one; L is the largest eigenvalue of A^H A.
Run: python benchmarks/step_default.py > results/step_default.csv
"""

import math
from functools import partial

import torch

import pursuit
from pursuit.core import loop
from pursuit.core.numeric import energy, safe_divide
from pursuit.solvers import htp, iht
from pursuit.solvers.on_support import first_support
from pursuit.solvers.problem import problem

M, N, TRIALS, STEPS = 64, 256, 100, 300
REAL = torch.float64


def gaussian(g):
    return torch.randn(M, N, generator=g, dtype=REAL)


def correlated(g):
    """Rows are stationary: neighbouring columns have correlation 0.7."""
    distance = (torch.arange(N)[:, None] - torch.arange(N)).abs().to(REAL)
    return torch.randn(M, N, generator=g, dtype=REAL) @ torch.linalg.cholesky(0.7**distance).T


def dct(g):
    """A random quarter of the rows of the cosine transform."""
    t = torch.arange(N, dtype=REAL)
    F = torch.cos(math.pi / N * (t + 0.5) * t[:, None])
    F[0] /= 2**0.5
    return F[torch.randperm(N, generator=g)[:M]]


def deconvolution(g):
    """A circular blur of 1.5 samples, n = 64."""
    t = torch.arange(-8, 9, dtype=REAL)
    return pursuit.Convolution(torch.exp(-(t**2) / (2 * 1.5**2)), M).to_dense()


def along(A, g, atoms):
    """The exact line search along the gradient on these atoms; along all of it where it is zero there."""
    g_S = atoms.keep(g)
    g_S = torch.where(energy(g_S) > 0, g_S, g)
    return safe_divide(energy(g_S), energy(A.forward(g_S)))


def iht_line_search(p):
    """IHT with an exact line search on the support in every step, without the safeguard of NIHT."""

    def step(s):
        return iht.step(p.A, p.y, s, eta=along(p.A, p.A.adjoint(s.r), s.atoms), choice=p.choice)

    start = iht.init(p.A, p.y, p.start(None), p.choice)
    start = start._replace(atoms=first_support(p.A, p.y, start.x, p.choice))
    return p.to_caller(p.iterate(step, loop.stationary, start))


def htp_line_search(p):
    """HTP with an exact line search along the k largest entries of the gradient."""

    def step(s):
        g = p.A.adjoint(s.now.r)
        return htp.step(p.A, p.y, s, eta=along(p.A, g, p.choice.best(g)), choice=p.choice)

    return p.to_caller(p.iterate(step, htp.stop, htp.init(p.A, p.y, p.start(None), p.choice)))


def runs(A, Y, k):
    L = float(torch.linalg.matrix_norm(A, 2)) ** 2
    p = problem(A, Y, k, max_steps=STEPS)
    for method in ("iht", "htp"):
        solve = partial(pursuit.solve, A, Y, method, k=k, max_steps=STEPS)
        yield method, "default", solve()
        yield method, "1.8/L", solve(eta=1.8 / L)
        yield method, "1/L", solve(eta=1 / L)
        yield method, "line search", (iht_line_search if method == "iht" else htp_line_search)(p)
    yield "niht", "", pursuit.niht(A, Y, k, max_steps=STEPS)
    yield "omp", "", pursuit.omp(A, Y, k)


print("problem", "k", "noise", "method", "step", "recovered", "error", sep=",")
for make in (gaussian, correlated, dct, deconvolution):
    for k in (3, 5, 8, 12, 16):
        for noise in (0.0, 0.05):
            g = torch.Generator().manual_seed(0)
            A = make(g)
            A = A / torch.linalg.vector_norm(A, dim=0)
            X = torch.zeros(TRIALS, A.shape[1], dtype=REAL)
            for x in X:
                x[torch.randperm(len(x), generator=g)[:k]] = torch.randn(k, generator=g, dtype=REAL)
            Y = X @ A.T
            e = torch.randn(Y.shape, generator=g, dtype=REAL)
            Y = Y + noise * e * Y.norm(dim=-1, keepdim=True) / Y.shape[-1] ** 0.5
            for method, step, sol in runs(A, Y, k):
                error = (sol.x - X).norm(dim=-1) / X.norm(dim=-1)
                recovered, median = (error < 0.01).double().mean(), error.median().clamp(max=10)
                values = ("", f"{median:.3f}") if noise else (f"{recovered:.2f}", "")
                print(make.__name__, k, noise, method, step, *values, sep=",", flush=True)
