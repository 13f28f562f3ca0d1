"""What `omp` and `ols` share around their kernels: arrays, and the choice between the two ways of `pursuit_tiles`.

No operation here uses the threads of torch, which wait for each other in busy loops: if other programs use the same
processors, this takes several times as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import Data, Found
from . import pursuit_tiles as tiles
from .pursuit_tiles import LOST, NEAR, ROWS, RUNNING, SIDE, SIGNALS, Matrix, Numbers, Results, Signals
from .threads import share
from .vectors import TILE, lanes

REFITS, IN_PARTS = True, True
DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
GRAM_BYTES = 2**30  # more are not formed
FORMED, MOST_FORMED = 2**17, 2**22  # most entries of a matrix that is formed of an operator: per signal, and in all
DECLINED = -1
TRIED = 4 * ROWS  # signals that are solved first where k is not given, to see how many atoms they take
GRAM, COLUMNS = "gram", "columns"  # what is kept on the operator


def worth(items: int, m: int, n: int, max_k: int, at_hand: bool) -> bool:
    """Whether A is a matrix in memory, or forming it takes less time than the kernel saves."""
    return at_hand or m * n <= min(items * FORMED, MOST_FORMED)


def run(d: Data, ols: bool) -> Found:
    """Supports, steps and status of every signal, the least squares on the supports, and the norms of the residuals."""
    items, m = d.y.shape
    n, max_k = d.A.shape[-1], d.max_k
    y = _numpy(d.y)
    kind = y.real.dtype
    x = _numbers(d, ols, kind.type)
    N = -(-n // x.T) * x.T
    square, taken = _squares(_numpy(d.weights), N)
    S = Signals(y, square, *map(_numpy, (d.k, d.target, d.max_steps)))
    status = np.broadcast_to(np.where(taken, RUNNING, DECLINED), (items,)).astype(np.int64)
    f = Results(np.full((items, max_k), -1), np.zeros(items, np.int64), status, np.zeros((items, max_k), y.dtype),
                np.zeros(items, kind))  # fmt: skip
    none = np.empty(0, kind)
    if len(d.A) > 1:
        share(lambda a, b: _each(d.A, S, f, x, none, a, b), items, x.planes**2 * max_k * m * n)
        return _found(f)
    A, by_gram, columns = _numpy(d.A[0]), _gram_pays(d, items, max_k), None
    if by_gram or items * x.planes > 8 or d.keeps(COLUMNS):
        columns = _numpy(d.kept(COLUMNS, lambda: torch.from_numpy(_transpose(A, x.planes))))
    M = _matrix(A, N, x, none, columns)
    cost = x.planes**2 * n * m * max_k
    if by_gram and max_k == min(m, n) and not d.keeps(GRAM):  # k was not given, or says nothing
        tried = min(items, TRIED)
        share(lambda a, b: _in_groups(M, S, f, x, none, a, b), tried, cost, ROWS)
        by_gram = _gram_pays(d, items - tried, f.steps[:tried].sum() / max(tried, 1))
    if by_gram:
        G = _numpy(d.kept(GRAM, lambda: torch.from_numpy(_gram(A, M, x, columns))))
        each = x.planes**2 * n * (m + max_k**2)
        share(lambda a, b: tiles.by_gram(M, G, _real(G), S, f, x, none, a, b), items, each, SIGNALS)
    if not by_gram or (f.status == RUNNING).any():
        share(lambda a, b: _in_groups(M, S, f, x, none, a, b), items, cost, ROWS)
    return _found(f)


def _gram(A: Any, M: Matrix, x: Numbers, columns: Any) -> Any:
    """The Gram matrix, row i is `A^H a_i`: one half is computed, the other is its mirror."""
    (m, n), T = A.shape, x.T
    G, flat_columns, N = np.empty((n, n), A.dtype), _real(columns), -(-n // T) * T
    flat = _real(G)
    share(lambda a, b: tiles.gram(flat_columns, M, m, n, N, T, x.planes, a, b, flat), N // T,
          x.planes**2 * T * m * n // 2)  # fmt: skip
    return G


def _found(f: Results) -> Found:
    f.status[f.status == DECLINED] = RUNNING
    support, steps, status, z, norm = map(torch.from_numpy, f)
    return Found(support, steps, status, None, z, norm)


def _numbers(d: Data, ols: bool, number: Any) -> Numbers:
    info = np.finfo(number)
    eps = float(info.eps)
    values = (eps ** (1 / 3), eps, LOST * eps, NEAR, 1 + 4 * eps, eps ** (1 / 4), 0, 1,
              max(d.y.shape[1], 10) * eps, d.tolerance)  # fmt: skip
    whole: Any = (ols, d.full, 1 + d.y.is_complex(), -int(info.minexp) - 2, TILE * lanes(number))
    return Numbers(*map(number, values), *whole)


def _in_groups(M: Matrix, S: Signals, f: Results, x: Numbers, none: Any, first: int, last: int) -> None:
    """The signals with status RUNNING, as many at a time as a product of matrices takes rows."""
    running = first + np.flatnonzero(f.status[first:last] == RUNNING)
    for at in range(0, len(running), ROWS):
        tiles.by_columns(M, S, f, x, none, running[at : at + ROWS])


def _each(A: Tensor, S: Signals, f: Results, x: Numbers, none: Any, first: int, last: int) -> None:
    """Signals with a matrix each."""
    for b in range(first, last):
        M = _matrix(_numpy(A[b]), S.square.shape[1], x, none)
        tiles.by_columns(M, S, f, x, none, np.array([b]))


def _gram_pays(d: Data, items: int, atoms: float) -> bool:
    """Whether the Gram matrix is there, or so many signals of so many atoms take longer without it than it takes."""
    n = d.A.shape[-1]
    return n * n * d.y.element_size() <= GRAM_BYTES and (d.keeps(GRAM) or bool(items * atoms > n))


def _matrix(A: Any, N: int, x: Numbers, none: Any, columns: Any = None) -> Matrix:
    """The matrix in tiles, and with columns that lie in one piece where these are given."""
    (m, n), flat = A.shape, _real(A)
    whole, row, column = (flat, n, 1) if columns is None else (_real(columns), 1, m)
    if x.planes == 1 and n == N:
        return Matrix(whole, row, column, flat, n, x.T)
    return Matrix(whole, row, column, _pack(A, N, x.T, x.planes, none), x.T, m * x.planes * x.T)


def _pack(A: Any, N: int, T: int, planes: int, none: Any) -> Any:
    (m, n), flat = A.shape, _real(A)
    packed = np.empty(N * m * planes, none.dtype)
    share(lambda a, b: tiles.pack(flat, m, n, planes, T, a, b, packed), N // T, 4 * m * T)
    return packed


def _transpose(A: Any, planes: int) -> Any:
    """`(n, m)`, the columns in one piece each."""
    (m, n), flat = A.shape, _real(A)
    columns = np.empty((n, m), A.dtype)
    out = _real(columns)
    share(lambda a, b: tiles.transpose(flat, m, n, planes, a, b, out), -(-n // SIDE), 4 * m * SIDE)
    return columns


def _real(A: Any) -> Any:
    """The numbers of an array, flat and real."""
    return A.reshape(-1).view(A.real.dtype)


def _squares(weights: Any, N: int) -> tuple[Any, Any]:
    """The squares of the weights, scaled and filled up with zeros to N; and whether none of them underflows."""
    info = np.finfo(weights.dtype)
    exponent = np.frexp(weights.max(-1, keepdims=True))[1].clip(info.minexp + 2, info.maxexp - 2)
    w = np.ldexp(weights, -exponent)
    square = np.zeros((len(w), N), w.dtype)
    square[:, : w.shape[1]] = w * w
    return square, ((w == 0) | (w > info.tiny**0.3)).all(-1)


def _numpy(v: Tensor) -> Any:
    return v.detach().resolve_conj().resolve_neg().contiguous().numpy()
