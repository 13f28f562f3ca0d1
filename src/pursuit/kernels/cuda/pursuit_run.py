"""What `omp` and `ols` share around their kernels: arrays, and parts of the batch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from .. import Data, Found
from .pursuit_rows import pursue, refit

REFITS, IN_PARTS = True, True
DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
FORMED = 2**22  # entries of an implicit A up to which it is formed
WIDEST = 8192  # columns whose correlations fit into the registers of a program
ROWS = 2**24  # bytes of the rows of a program
MEMORY = 2**29  # bytes of the rows of all programs, and of what the signals of a part have besides
ALIGNED = 16  # numbers; rows that are multiples of it are read in the widest pieces


class Plan(NamedTuple):
    """How the kernels are launched; the best of `results/gpu/tuning.csv`, measured on an H100."""

    per_processor: int = 4  # programs of `pursue` on every multiprocessor
    columns_per_warp: int = 128
    tile: int = 1024  # measurements that `refit` takes at a time
    measurements_per_warp: int = 256


PLAN = Plan()


def worth(items: int, m: int, n: int, max_k: int, at_hand: bool) -> bool:
    """Whether the Gram matrix takes less time than the steps, and fits into memory.

    A step takes nearly a millisecond, in which a GPU makes about `10**10` multiplications, and a product of A with
    every signal.
    """
    if not at_hand and m * n > FORMED:
        return False
    if n > WIDEST or 8 * max_k * n > ROWS or 8 * max_k * max_k > ROWS:
        return False
    return n * n * m <= max_k * (10**10 + 2 * items * m * n)


def run(d: Data, ols: bool) -> Found:
    """Supports, steps and status of every signal, the least squares on the supports, and the norms of the residuals."""
    items, size = len(d.y), d.y.element_size()
    support = torch.full((items, d.max_k), -1, device=d.y.device)
    found = Found(
        support, steps=torch.zeros_like(d.k), status=torch.zeros_like(d.k), z=d.y.new_zeros(support.shape),
        norm=torch.linalg.vector_norm(d.y, dim=-1),
    )  # fmt: skip
    if len(d.A) > 1:  # a Gram matrix for every signal
        return found
    n = d.A.shape[-1]
    width = -(-n // ALIGNED) * ALIGNED
    G = _wide(d.kept("gram", lambda: (d.A[0].mT @ d.A[0].conj()).resolve_conj()), width)
    weights = _wide(d.weights * _scale(d.weights.amax(-1, keepdim=True)), width)
    places = -(-d.max_k // 4) * 4
    programs = min(items, PLAN.per_processor * _processors(d.y.device), max(1, MEMORY // (places * width * size)))
    U = _real(d.y.new_zeros(programs * places * width + _block(width)))
    part = max(1, MEMORY // (size * (width + d.max_k**2)))
    with _on(d.y.device):
        for first in range(0, items, part):
            _part(d, found, slice(first, first + part), G, weights, U, programs, places, ols)
    return found


def _part(
    d: Data, found: Found, part: slice, G: Tensor, weights: Tensor, U: Tensor, programs: int, places: int, ols: bool
) -> None:  # fmt: skip
    """The signals of a part of the batch."""
    assert found.norm is not None  # `run` has made room for both
    assert found.z is not None
    norm, k, target, budget = found.norm[part], d.k[part], d.target[part], d.max_steps[part]
    items, width, m = len(k), G.shape[1], d.y.shape[1]
    scale = _scale(norm)
    y = d.y[part] * scale.unsqueeze(-1)
    columns = d.kept("columns", lambda: d.A[0].mT.contiguous())
    P = _wide(y @ columns.mH, width)
    R, rho, energy = y.new_empty(items, d.max_k, d.max_k), y.new_empty(items, d.max_k), torch.empty_like(norm)
    count = torch.empty_like(k, dtype=torch.int32)
    code = torch.empty_like(count)
    own = weights[part] if len(weights) > 1 else weights
    limits: tuple[Any, ...] = (norm, scale, target, k, budget)
    eps = torch.finfo(y.dtype).eps
    planes = 2 if y.is_complex() else 1
    N, K, M = _block(width), _block(d.max_k), min(_block(m), PLAN.tile)
    pursue[(min(items, programs),)](
        _real(P), _real(G), own, U, _real(R), _real(rho), found.support[part], count, code, energy, *limits,
        items, width, width if len(weights) > 1 else 0, d.max_k, places, d.full, d.tolerance,
        EPS=eps, LEAST=eps ** (1 / 3), OLS=ols, PLANES=planes, N=N, K=K,
        num_warps=_warps(N * planes, PLAN.columns_per_warp),
    )  # fmt: skip
    refit[(items,)](
        _real(y), _real(columns), _real(R), _real(rho), found.support[part], _real(found.z[part]), count, code,
        found.steps[part], energy, *limits, m, d.max_k, d.full,
        EPS=eps, PLANES=planes, M=M, K=K, num_warps=_warps(M * planes, PLAN.measurements_per_warp),
    )  # fmt: skip
    found.status[part] = code


def _scale(size: Tensor) -> Tensor:
    """The power of two that brings a size to at most one, and, unless it is very small, to no less than 1/2."""
    share = torch.frexp(size).mantissa / size  # exact
    return torch.where(size > 0, share, 1).clamp(max=1 / torch.finfo(size.dtype).tiny)


def _real(v: Tensor) -> Tensor:
    """The same memory as real numbers."""
    return torch.view_as_real(v) if v.is_complex() else v


def _wide(v: Tensor, width: int) -> Tensor:
    """Filled up with zeros on the last axis."""
    more = width - v.shape[-1]
    return torch.nn.functional.pad(v, (0, more)) if more else v.contiguous()


def _block(count: int) -> int:
    """The length of a block for so many numbers: a power of two."""
    return max(16, int(triton.next_power_of_2(count)))


def _warps(block: int, share: int) -> int:
    return max(1, min(16, block // share))


def _processors(device: torch.device) -> int:
    if device.type != "cuda":  # Triton's interpreter
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
