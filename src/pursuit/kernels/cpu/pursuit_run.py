"""What `omp` and `ols` have in common before and after their kernels: arrays, and which of the two ways to take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import Data, Found
from . import pursuit_tiles as tiles
from .pursuit_tiles import RUNNING, TOLERANCE, Matrix, Numbers, Results, Signals
from .threads import share
from .vectors import TILE, lanes

REFITS = True
DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
GRAM_BYTES = 2**30  # more are not formed
PART = 2**27  # multiplications of a part of the batch: some hundredths of a second
DECLINED = -1


def worth(items: int, m: int, n: int, most: int) -> bool:
    """Whether the kernel takes such a problem."""
    return items > 0


def run(d: Data, ols: bool) -> Found:
    """Supports, steps and status of every signal, the least squares on the supports, and the norms of the residuals."""
    (items, m), n = d.y.shape, d.A.shape[-1]
    real, planes = d.y.real.dtype, 2 if d.y.is_complex() else 1
    kind = np.dtype(str(real).removeprefix("torch."))
    T = TILE * lanes(kind)
    N = -(-n // T) * T
    info = torch.finfo(real)
    norm = torch.linalg.vector_norm(d.y, dim=-1)
    square, taken = _squares(d.weights, N)
    status = torch.where(norm <= d.target, TOLERANCE, torch.where(taken, RUNNING, DECLINED).expand(items))
    S = Signals(*map(_numpy, (d.y, square, _scale(norm), norm, d.k, d.target, d.max_steps)))
    support, z = d.k.new_full((items, d.most), -1), d.y.new_zeros(items, d.most)
    f = Results(*map(_numpy, (support, torch.zeros_like(d.k), status.contiguous(), z, norm.clone())))
    number = kind.type
    x = Numbers(number(info.eps ** (1 / 3)), number(info.eps), number(tiles.LOST * info.eps), number(tiles.NEAR), number(0), number(1), number(max(m, 10) * info.eps), number(d.tolerance), ols,
                d.full, planes, T)  # fmt: skip
    none = np.empty(0, kind)
    if len(d.A) > 1:
        share(lambda a, b: _each(d.A, S, f, x, none, a, b), items, max(1, PART // (d.most * m * n)))
    else:
        if _gram_pays(d):
            M = _matrix(d.A[0], N, x, none, items)
            G = d.gram(d.y.dtype)
            parts = _numpy(G), _numpy(_real(G))
            cost = planes**2 * n * (m + d.most**2 // 2)
            share(lambda a, b: tiles.by_gram(M, *parts, S, f, x, none, a, b), items, max(1, PART // cost))
        if (f.status == RUNNING).any():
            M = _matrix(d.A[0], N, x, none, items)
            share(lambda a, b: tiles.by_columns(M, S, f, x, none, a, b), items, 6)
    f.status[f.status == DECLINED] = RUNNING
    return Found(*(torch.from_numpy(v) for v in f[:3]), None, *(torch.from_numpy(v) for v in f[3:]))


def _each(A: Tensor, S: Signals, f: Results, x: Numbers, none: Any, first: int, last: int) -> None:
    """Signals with a matrix each."""
    for b in range(first, last):
        tiles.by_columns(_matrix(A[b], S.square.shape[1], x, none, 1), S, f, x, none, b, b + 1)


def _gram_pays(d: Data) -> bool:
    (items, m), n = d.y.shape, d.A.shape[-1]
    return n * n * d.y.element_size() <= GRAM_BYTES and (d.held or items * d.most > n)


def _matrix(A: Tensor, N: int, x: Numbers, none: Any, items: int) -> Matrix:
    """The matrix in tiles, and with columns that lie in one piece where many will be asked for."""
    m, n = A.shape
    A = A.resolve_conj().contiguous()
    many = items * x.planes > 8
    row, column = (1, m) if many else (n, 1)
    flat = _numpy(_real(A))
    whole = _numpy(_real(A.mT)) if many else flat
    if x.planes == 1 and n == N and not many:
        return Matrix(whole, row, column, flat, n, x.T)
    packed = np.empty(N * m * x.planes, none.dtype)
    tiles_of = lambda a, b: tiles.pack(flat, m, n, x.planes, x.T, a, b, packed)  # noqa: E731
    if m * n > 2**18:
        share(tiles_of, N // x.T, N)
    else:
        tiles_of(0, N // x.T)
    return Matrix(whole, row, column, packed, x.T, m * x.planes * x.T)


def _real(A: Tensor) -> Tensor:
    """The numbers of a matrix, flat and real."""
    A = A.contiguous()
    return (torch.view_as_real(A) if A.is_complex() else A).reshape(-1)


def _squares(weights: Tensor, N: int) -> tuple[Tensor, Tensor]:
    """The squares of the weights, scaled and filled up with zeros; and whether they are large enough to have one."""
    peak = weights.amax(-1, keepdim=True)
    w = weights * _scale(peak)
    least = torch.finfo(w.dtype).tiny ** 0.3
    return torch.nn.functional.pad(w * w, (0, N - w.shape[-1])), ((w == 0) | (w > least)).all(-1)


def _scale(size: Tensor) -> Tensor:
    """The power of two that brings a size to at most one, and, unless it is very small, to more than 1/2."""
    limit = -np.log2(torch.finfo(size.dtype).tiny) - 1
    exponent = torch.frexp(size).exponent.clamp(-int(limit), int(limit))
    return torch.ldexp(torch.ones_like(size), -exponent)


def _numpy(v: Tensor) -> Any:
    return v.detach().resolve_conj().resolve_neg().contiguous().numpy()
