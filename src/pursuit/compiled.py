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
from .losses import LeastSquares

if TYPE_CHECKING:
    from .inputs import Problem

SEA, ELS, IHT, HTP = "sea_cpu", "els_cpu", "iht_cpu", "htp_cpu"
ENTRIES = 2**24  # of a matrix, or of the Gram matrices that a thread has in memory at a time
SMALL = 2**20  # entries up to which a Gram matrix costs no more than some dozens of steps without it
SHARES = 4  # parts of a batch per thread, since some are done sooner


def forms(p: Problem) -> bool:
    """Whether matrix and Gram matrix are of a size to be formed."""
    return p.y.numel() > 0 and p.A.shape[1] * max(p.A.shape) <= ENTRIES


def fits(p: Problem) -> bool:
    """Whether kernels take this problem: least squares, with matrices of a size to be formed."""
    return forms(p) and isinstance(p.loss, LeastSquares) and kernels.wanted(SEA, p.y)


def pays(p: Problem, *inputs: Tensor) -> bool:
    """Whether kernels are the quicker way also for a few steps, and nothing derives by what the steps start from."""
    learning = torch.is_grad_enabled() and any(v.requires_grad for v in inputs)
    return p.A.shape[1] * max(p.A.shape) <= SMALL and not learning and fits(p)


def explore(p: Problem, X: Tensor, eta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The Support Exploration Algorithm from `X (*batch, n)` with steps `eta (*batch, 1)`.

    Returns where X has come, the best supports `(*batch, k)` (best atom first, -1 at the end) and the steps taken.
    """
    moved = flat(X).to(_wide(X), copy=True)
    items = len(moved)
    best, steps = torch.full((items, p.most), -1, device=X.device), p.k.new_zeros(items)
    norm = torch.linalg.vector_norm(flat(p.y).to(_wide(X)), dim=-1)
    _run(p, SEA, "explore", _given(p, eta, norm), (_tolerance(p) ** 2,), (moved, best, norm, steps))
    return moved.to(X.dtype).view(X.shape), best.view(*p.batch, p.most), steps.view(p.batch)


def threshold(
    p: Problem, x: Tensor, support: Tensor, norm: Tensor, eta: Tensor, still: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Iterative Hard Thresholding from `x (*batch, n)`, non-zero at `support (*batch, k)`; steps `eta (*batch, 1)`.

    `norm (*batch,)` is that of its residual. Returns the `x` before the step that moves less than the share `still`,
    its support, and the steps taken.
    """
    moved, atoms = flat(x).to(_wide(x), copy=True), flat(support).clone()
    steps = atoms.new_zeros(len(atoms))
    _run(p, IHT, "iterate", _given(p, eta, flat(norm, 0).double()), (still,), (moved, atoms, steps))
    return moved.to(x.dtype).view(x.shape), atoms.view(support.shape), steps.view(p.batch)


def pursue(p: Problem, x: Tensor, support: Tensor, norm: Tensor, eta: Tensor) -> tuple[Tensor, ...]:
    """Hard Thresholding Pursuit from `x (*batch, n)`, non-zero at `support (*batch, k)`; steps `eta (*batch, 1)`.

    `norm (*batch,)` is that of its residual. Returns supports `(*batch, k)`: the last one before one comes back, an
    earlier one to notice this by, and the best, all -1 where none is better than the start; and the steps taken.
    """
    now, least = flat(support).clone(), flat(norm, 0).to(torch.float64, copy=True)
    seen, best, steps = torch.full_like(now, -1), torch.full_like(now, -1), now.new_zeros(len(now))
    out = flat(x).to(_wide(x)), now, seen, best, least, steps
    _run(p, HTP, "pursue", _given(p, eta, least), (_tolerance(p) ** 2,), out)
    return *(v.view(support.shape) for v in (now, seen, best)), steps.view(p.batch)


def swap(p: Problem, support: Tensor, least_gain: float) -> tuple[Tensor, Tensor]:
    """Exhaustive Local Search from the supports `(*batch, k)`, with -1 at the end; the better ones, and the swaps."""
    better = flat(support).clone()
    steps = better.new_zeros(len(better))
    given = flat(p.target, 0).double(), flat(p.max_steps, 0)
    _run(p, ELS, "swap", given, (_tolerance(p), least_gain), (better, steps))
    return better.view(support.shape), steps.view(p.batch)


def _given(p: Problem, eta: Tensor, norm: Tensor) -> tuple[Tensor, ...]:
    """Per item: atoms, step size, target and budget, which is none where the residual's `norm` is small already."""
    target = flat(p.target, 0).double()
    budget = torch.where(norm <= target, 0, flat(p.max_steps, 0))
    return flat(p.k, 0), flat(eta.squeeze(-1), 0).double(), target, budget


def _wide(v: Tensor) -> torch.dtype:
    """Kernels work in double precision."""
    return torch.complex128 if v.is_complex() else torch.float64


def _tolerance(p: Problem) -> float:
    return rank_tolerance(p.A.shape[0], p.y.dtype)


@torch.no_grad()  # which support is the best is a constant; derivatives pass through the fit on it
def _run(
    p: Problem, file: str, kernel: str, given: tuple[Tensor, ...], numbers: tuple[float, ...], out: tuple[Tensor, ...]
) -> None:
    """Run a kernel, on parts of the batch in threads: the problem, what is `given` per item, numbers, and outputs."""
    y, weights = flat(p.y).to(_wide(p.y)), _rows(p.weights, p, 1).double()
    A = _rows(p.A.to_dense(), p, 2).to(_wide(p.y))
    shared = _products(A) if len(A) == 1 else None

    def run(i: slice) -> None:
        atoms, gram = shared or _products(A[i])
        back = (atoms.conj() @ y[i].unsqueeze(-1)).squeeze(-1)
        w = weights if len(weights) == 1 else weights[i]
        kernels.run(file, kernel, atoms, gram, y[i], back, w, *(v[i] for v in given), *numbers, *(v[i] for v in out))

    most = len(y) if shared else max(1, ENTRIES // (A.shape[-1] * max(A.shape[-2:])))
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(run, _parts(len(y), most)))


def _rows(v: Tensor, p: Problem, own: int) -> Tensor:
    """One for all, or one per item of the batch, which is flat."""
    return flat(v if v.ndim == own else v.expand(*p.batch, *v.shape[v.ndim - own :]), own)


def _products(A: Tensor) -> tuple[Tensor, Tensor]:
    """The atoms as rows, `(items, n, m)`, and all `a_j^H a_i`, `(items, n, n)`."""
    atoms = A.mT.contiguous()
    return atoms, (atoms @ atoms.mH).resolve_conj()


def _parts(items: int, most: int) -> list[slice]:
    """A batch in parts for threads, of `most` items at most."""
    size = min(most, math.ceil(items / (SHARES * torch.get_num_threads())))
    return [slice(begin, begin + size) for begin in range(0, items, size)]
