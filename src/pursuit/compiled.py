"""Whole runs of a solver by a compiled kernel, for matrices on the CPU; elsewhere the solver's own steps do it all.

A kernel declines a signal that it cannot do as the steps would. It then hands back the start and no steps taken.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import kernels
from .kernels import flat
from .least_squares import rank_tolerance
from .loop import choose
from .losses import LeastSquares

if TYPE_CHECKING:
    from .inputs import Problem

SEA, ELS, IHT, HTP = "sea_cpu", "els_cpu", "iht_cpu", "htp_cpu"
ENTRIES = 2**24  # of a matrix, or of the Gram matrices that a thread has in memory at a time
SMALL = 2**20  # entries up to which a Gram matrix costs no more than some dozens of steps without it
SHARES = 4  # parts of a batch per thread, since some are done sooner
ROOM = 1e-3  # share of the range of the caller's precision that a kernel makes use of
TELLING = 1e4  # times the norm of y: largest coefficient of columns that the Gram matrix tells from dependent ones


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
    norm = _norm(p.y)
    reach = moved.abs().amax(-1) + flat(p.max_steps, 0) * _wide_step(eta) * norm
    _run(p, SEA, "explore", _given(p, eta, norm, reach), (_tolerance(p) ** 2,), (moved, best, norm, steps))
    return moved.to(X.dtype).view(X.shape), best.view(*p.batch, p.most), steps.view(p.batch)


def threshold(
    p: Problem, x: Tensor, support: Tensor, norm: Tensor, eta: Tensor, still: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Iterative Hard Thresholding from `x (*batch, n)`, non-zero at `support (*batch, k)`; steps `eta (*batch, 1)`.

    `norm (*batch,)` is that of its residual. Returns the `x` before the step that moves less than the share `still`,
    its support, and the steps taken, none where the kernel declines the signal.
    """
    moved, atoms = flat(x).to(_wide(x), copy=True), flat(support).clone()
    steps, norm = atoms.new_zeros(len(atoms)), flat(norm, 0).double()
    reach = (1 + _wide_step(eta) ** 2) * norm**2
    _run(p, IHT, "iterate", _given(p, eta, norm, reach), (still, _limit(p)), (moved, atoms, steps))
    steps = steps.view(p.batch)
    moved, atoms = moved.to(x.dtype).view(x.shape), atoms.view(support.shape)
    return choose(steps > 0, moved, x), choose(steps > 0, atoms, support), steps


def pursue(p: Problem, x: Tensor, support: Tensor, norm: Tensor, eta: Tensor) -> tuple[Tensor, ...]:
    """Hard Thresholding Pursuit from `x (*batch, n)`, non-zero at `support (*batch, k)`; steps `eta (*batch, 1)`.

    `norm (*batch,)` is that of its residual. Returns supports `(*batch, k)`: the last one before one comes back, an
    earlier one to notice this by, and the best, all -1 where none is better than the start; and the steps taken. Where
    the kernel declines the signal there are no supports and no steps.
    """
    now, least = flat(support).clone(), flat(norm, 0).to(torch.float64, copy=True)
    seen, best, steps = torch.full_like(now, -1), torch.full_like(now, -1), now.new_zeros(len(now))
    start = flat(x).to(_wide(x))
    reach = (TELLING + _wide_step(eta)) * (start.abs().amax(-1) + least + _norm(p.y))
    out = start, now, seen, best, least, steps
    _run(p, HTP, "pursue", _given(p, eta, least, reach), (_tolerance(p) ** 2,), out)
    steps = steps.view(p.batch)
    return *(v.view(support.shape).where(steps.unsqueeze(-1) > 0, -1) for v in (now, seen, best)), steps


def swap(p: Problem, support: Tensor, least_gain: float) -> tuple[Tensor, Tensor]:
    """Exhaustive Local Search from the supports `(*batch, k)`, with -1 at the end; the better ones, and the swaps."""
    better = flat(support).clone()
    steps = better.new_zeros(len(better))
    budget = torch.where(_fits_range(p, (TELLING * _norm(p.y)) ** 2), flat(p.max_steps, 0), 0)
    _run(p, ELS, "swap", (flat(p.target, 0).double(), budget), (_tolerance(p), least_gain), (better, steps))
    steps = steps.view(p.batch)
    return choose(steps > 0, better.view(support.shape), support), steps


def _given(p: Problem, eta: Tensor, norm: Tensor, reach: Tensor) -> tuple[Tensor, ...]:
    """Per item: atoms, step size, target and budget, which is none where the residual's `norm` is small already.

    Nor where numbers may `reach` beyond the range of the caller's precision.
    """
    target = flat(p.target, 0).double()
    budget = torch.where((norm <= target) | ~_fits_range(p, reach), 0, flat(p.max_steps, 0))
    return flat(p.k, 0), _wide_step(eta), target, budget


def _fits_range(p: Problem, reach: Tensor) -> Tensor:
    """Whether numbers up to `reach (items,)`, and those up to its root, stay in range when weights multiply them."""
    heaviest = _rows(p.weights, p, 1).double().amax(-1).clamp(min=1)
    return reach.clamp(min=1) * heaviest**2 <= _limit(p)


def _limit(p: Problem) -> float:
    """The largest number that a kernel lets the steps' precision stand for."""
    return ROOM * torch.finfo(p.y.dtype).max


def _norm(v: Tensor) -> Tensor:
    """Of every item, `(items,)`, in the precision of the kernels."""
    return torch.linalg.vector_norm(flat(v).to(_wide(v)), dim=-1)


def _wide_step(eta: Tensor) -> Tensor:
    """The step sizes `(*batch, 1)` of the items, in the precision of the kernels."""
    return flat(eta.squeeze(-1), 0).double()


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
