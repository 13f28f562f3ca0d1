"""The memory of a call: it grows with what is returned, not with the work on it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import pursuit
from helpers import SOLVERS, gaussian, instance, recover
from pursuit.solvers import problem

# Peak memory, in bytes per signal, that a batch four times as large takes on top of that of the smaller one.
PEAK = """
import resource, sys, torch, pursuit
from pursuit.solvers import problem

method, kernels, items, m, n, k = sys.argv[1], sys.argv[2], int(sys.argv[3]), 64, 256, 5
pursuit.config.kernels = kernels
problem.PART = {"cpu": 2**20}  # 546 signals
g = torch.Generator().manual_seed(0)
A = torch.randn(m, n, generator=g)
Y = torch.randn(4 * items, m, generator=g)
options = {"lam": 9.0, "max_steps": 2} if "ista" in method else {"k": k, "max_steps": 2}

def peak(Y):
    pursuit.solve(A, Y, method, **options)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

small = peak(Y[:items])
print((peak(Y) - small) / (3 * items))
"""


@pytest.mark.parametrize(
    ("method", "kernels"),
    [(name, "auto") for name in ("els", "sea_plus")]  # which have kernels
    + [(name, "off") for name in ("cosamp", "sp", "ista")]
    + [pytest.param(name, "off", marks=pytest.mark.nightly) for name in ("els", "sea_plus", "niht")],
)
def test_memory_grows_with_what_is_returned(method, kernels):
    """x, dense for some solvers, has 1 kB; ELS took 75 kB, SEA+ 83 and CoSaMP 25 kB a signal."""
    run = [sys.executable, "-c", PEAK, method, kernels, "1200"]
    grown = float(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert grown < (16_000 if method == "ista" else 8_000)  # ISTA's support has an index per column: 2 kB more


# Peak memory of a call on a matrix in a file, in units of the matrix; the pages of the file count.
MAPPED = """
import resource, sys, numpy as np, pursuit

A, rng = np.load(sys.argv[1], mmap_mode="r"), np.random.default_rng(0)
y = rng.standard_normal((20, len(A)), dtype=np.float32)

def peak(A, y):
    assert (pursuit.omp(A, y, 3).steps == 3).all()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

small = peak(rng.standard_normal((100, 300), dtype=np.float32), y[:, :100])
print((peak(A, y) - small) / A.nbytes)
"""


def test_a_matrix_in_a_file_takes_less_than_twice_its_size(tmp_path):
    """The file's own pages, and little more: the kernel had three copies of it."""
    A = np.lib.format.open_memmap(tmp_path / "A.npy", "w+", np.float32, (200, 100_000))
    A[:] = np.random.default_rng(1).standard_normal(A.shape, dtype=np.float32)
    del A
    run = [sys.executable, "-c", MAPPED, str(tmp_path / "A.npy")]
    assert float(subprocess.run(run, capture_output=True, text=True, check=True).stdout) < 1.6


@pytest.mark.parametrize("name", [*SOLVERS, "amp"])
def test_a_batch_in_parts_is_solved_as_in_one(name, monkeypatch):
    p = instance(gaussian(), 4, batch=(3, 67), noise=0.05)
    k = torch.arange(201).view(3, 67) % 4 + 1
    options = {"lam": torch.rand(3, 67, dtype=torch.float64) + 0.1} if name in ("ista", "fista") else {}

    def solve():
        return pursuit.amp(p.A, p.y, k) if name == "amp" else recover(name, p.A, p.y, k, **options)

    whole = solve()
    monkeypatch.setattr(problem, "PART", {"cpu": 1})
    parts = solve()
    assert parts.x.shape == (3, 67, 48)
    assert parts.support.shape == whole.support.shape
    torch.testing.assert_close(parts.x, whole.x, rtol=0, atol=1e-7 if name == "niht" else 1e-10)
    assert (parts.status == whole.status).double().mean() > 0.98  # two stop rules may be met by a rounding
    assert parts.steps.shape == parts.residual_norm.shape == (3, 67)


NO_MEMORY = {  # what NumPy and torch say
    "191. MiB": MemoryError("Unable to allocate 191. MiB for an array with shape (50016000,) and data type float32"),
    "200 MB": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 200000000 bytes."),
}


@pytest.mark.parametrize("needed", NO_MEMORY)
def test_a_kernel_without_memory_leaves_its_signals_to_the_steps(needed, monkeypatch):
    p, asked = instance(gaussian(), 4, batch=(5,)), []
    sol = pursuit.omp(p.A, p.y, 4)

    def fail(problem):
        asked.append(problem)
        raise NO_MEMORY[needed]

    monkeypatch.setattr(problem.Problem, "data", fail)
    monkeypatch.setattr(pursuit.config, "kernels", "auto")
    torch.testing.assert_close(pursuit.omp(p.A, p.y, 4).x, sol.x)
    assert asked


@pytest.mark.parametrize("needed", NO_MEMORY)
@pytest.mark.parametrize("method", ["omp", "fista", "sea+"])
def test_lacking_memory_is_said_with_what_was_needed(method, needed, monkeypatch):
    p = instance(gaussian(), 4, batch=(5,))

    def fail(*arguments):
        raise NO_MEMORY[needed]

    monkeypatch.setattr(problem.Problem, "_in_parts", fail)
    monkeypatch.setattr(pursuit.config, "kernels", "off")
    options = {"lam": 0.1} if method == "fista" else {"k": 4}
    with pytest.raises(MemoryError, match=f"not enough memory: {needed} more are needed; .*batch_size"):
        pursuit.solve(p.A, p.y, method, **options)


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that torch made meanwhile."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else [out]:
            if isinstance(value, torch.Tensor):
                self.numbers = max(self.numbers, value.numel())
        return out


@pytest.mark.parametrize("options", [{"tol": 1e-6}, {"eps": 1e-6}, {"k": 8, "tol": 1e-6}], ids=str)
def test_omp_until_a_residual_takes_memory_for_the_atoms_found(options):
    """Not for as many as there are measurements: their triangular factor alone has m^2 numbers."""
    m = 2000
    A = pursuit.SubsampledFourier(torch.arange(m), m)
    x = torch.zeros(m, dtype=torch.complex128)
    x[[5, 100]] = torch.tensor([2.0, 1.0], dtype=x.dtype)
    with Largest() as seen:
        sol = pursuit.omp(A, A @ x, **options)
    assert sorted(sol.atoms.tolist()) == [5, 100]
    assert seen.numbers <= 64 * m
