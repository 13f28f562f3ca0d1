"""Compile what the tests run, once, before they start: each worker of theirs would else compile it for itself.

    python tests/compile_kernels.py    # in as many processes as there are kinds of numbers, two at a time

The machine code lies where Numba keeps it, and is found there by every later process.
"""

import os
import subprocess
import sys

import torch

import pursuit

SOLVERS = ("omp", "ols", "iht", "htp", "els", "sea")


def compile_for(dtype: torch.dtype) -> None:
    """Every kernel for one kind of numbers: all solvers, with a Gram matrix and without, and what networks call."""
    g = torch.Generator().manual_seed(0)
    A, y = torch.randn(12, 20, generator=g, dtype=dtype), torch.randn(40, 12, generator=g, dtype=dtype)
    for name in SOLVERS:
        for signals in (y, y[0]):
            pursuit.solve(A, signals, name, k=3)
    learned = y.clone().requires_grad_()
    if not dtype.is_complex:
        for sort in (pursuit.softsort, pursuit.relaxations.soft_topk):
            sort(learned, 0.1, 3).sum().backward()
    for f in (pursuit.omp, pursuit.iht):
        f(A, learned, 3, select=pursuit.Relaxed(tau=0.1)).x.abs().sum().backward()
    real = torch.empty(0, dtype=dtype).real.dtype
    pursuit.nets.ALISTA(A, layers=2).to(real)(learned).abs().sum().backward()
    pursuit.fista(A, y, lam=0.1, max_steps=3)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        torch.set_num_threads(1)
        compile_for(getattr(torch, sys.argv[1]))
        sys.exit()
    queue, running = ["complex128", "float64", "complex64", "float32"], []
    while queue or running:
        while queue and len(running) < (os.cpu_count() or 1):
            running.append(subprocess.Popen([sys.executable, __file__, queue.pop(0)]))
        if running.pop(0).wait():
            sys.exit("the kernels could not be compiled")
