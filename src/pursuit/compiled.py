"""Whole runs of a solver by a compiled kernel, for matrices on the CPU; elsewhere the solver's own steps do it all."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import kernels
from .kernels import flat
from .least_squares import rank_tolerance

if TYPE_CHECKING:
    from .inputs import Problem

SEA = "sea_cpu"
ENTRIES = 2**24  # of a matrix, or of the Gram matrices that a thread has in memory at a time
SHARES = 4  # parts of a batch per thread, since some are done sooner


def fits(p: Problem) -> bool:
    """Whether a kernel takes this problem: its matrix and its Gram matrix are of a size to be formed."""
    m, n = p.A.shape
    return n * max(m, n) <= ENTRIES and p.y.numel() > 0 and kernels.wanted(SEA, p.y)


@torch.no_grad()  # which support is the best is a constant; derivatives pass through the fit on it
def explore(p: Problem, X: Tensor, eta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The Support Exploration Algorithm from `X (*batch, n)` with steps `eta (*batch, 1)`, in double precision.

    Returns where X has come, the best supports `(*batch, k)` (best atom first, -1 at the end) and the steps taken.
    """
    wide = torch.complex128 if p.y.is_complex() else torch.float64
    y, A, moved = flat(p.y).to(wide), flat(p.A.to_dense(), 2).to(wide), flat(X).to(wide, copy=True)
    best, steps = torch.full((len(y), p.most), -1), torch.zeros(len(y), dtype=torch.int64)
    norm, target, weights = torch.linalg.vector_norm(y, dim=-1), flat(p.target, 0).double(), flat(p.weights).double()
    budget = torch.where(norm <= target, 0, flat(p.max_steps, 0))
    tolerance = rank_tolerance(p.A.shape[0], p.y.dtype) ** 2
    given = y, weights, flat(p.k, 0), flat(eta.squeeze(-1), 0).double(), target, budget
    shared = _products(A) if len(A) == 1 else None

    def run(i: slice) -> None:
        atoms, gram = shared or _products(A[i])
        y, *numbers = (v if len(v) == 1 else v[i] for v in given)
        back = (atoms.conj() @ y.unsqueeze(-1)).squeeze(-1)
        kernels.run(SEA, "explore", atoms, gram, y, back, *numbers, tolerance, moved[i], best[i], norm[i], steps[i])

    most = len(y) if shared else max(1, ENTRIES // (A.shape[-1] * max(A.shape[-2:])))
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(run, _parts(len(y), most)))
    return moved.to(X.dtype).view(X.shape), best.view(*p.batch, p.most), steps.view(p.batch)


def _products(A: Tensor) -> tuple[Tensor, Tensor]:
    """The atoms as rows, `(items, n, m)`, and all `a_j^H a_i`, `(items, n, n)`."""
    atoms = A.mT.contiguous()
    return atoms, (atoms @ atoms.mH).resolve_conj()


def _parts(items: int, most: int) -> list[slice]:
    """A batch in parts for threads, of `most` items at most."""
    size = min(most, math.ceil(items / (SHARES * torch.get_num_threads())))
    return [slice(begin, begin + size) for begin in range(0, items, size)]
