"""What the kernels of `sea`, `els`, `iht` and `htp` share: runs in double precision by the Gram matrix.

A kernel takes arrays with an entry per signal and writes into others; threads work on parts of the batch. If it cannot
solve a signal as the steps would, it declines: the status stays RUNNING.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import Data, together
from .threads import PART, share

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
ENTRIES = 2**24  # of a matrix, or of the Gram matrices that a thread has in memory at a time
SMALL = 2**20  # entries up to which a Gram matrix costs no more than some dozens of steps without it
MANY = 64  # signals of a part
LONG = 2**31  # multiplications, about a second: more may be interrupted in the middle of a signal
ROOM = 1e-3  # share of the range of the caller's precision that a kernel uses
TELLING = 1e4  # times the norm of y: largest coefficient on columns that the Gram matrix tells from dependent ones
RUNNING, TOLERANCE = 0, 1  # of Status


def forms(items: int, m: int, n: int, max_k: int, at_hand: bool) -> bool:
    """Whether the matrix and its Gram matrix are small enough to be formed."""
    return n * max(m, n) <= ENTRIES


def small(items: int, m: int, n: int, max_k: int, at_hand: bool) -> bool:
    """Whether the Gram matrix is faster even for a few steps."""
    return n * max(m, n) <= SMALL


def run(d: Data, kernel: Callable[..., None], given: tuple[Tensor, ...], numbers: tuple[Any, ...], out: Any) -> None:
    """Run a kernel on matrix, Gram matrix, y, `A^H y`, weights, arrays `given` per item, numbers, and outputs.

    Before the outputs it takes an array, and returns from its loop over steps where the array's one entry is true.
    """
    y, weights = d.y.to(wide(d.y)), d.weights.double()
    ys, matrices, shared = y.resolve_conj().numpy(), d.A.resolve_conj().numpy(), None
    if len(d.A) == 1:
        atoms = d.kept(f"atoms {y.dtype}", lambda: d.A[0].to(y.dtype).mT.resolve_conj().contiguous())
        with together():
            gram = d.kept(f"gram {y.dtype}", lambda: (atoms @ atoms.mH).resolve_conj())
        shared = atoms.unsqueeze(0).numpy(), gram.unsqueeze(0).numpy(), (y @ atoms.mH).resolve_conj().numpy()

    def part(first: int, last: int) -> None:
        i = slice(first, last)
        atoms, gram, back = (*shared[:2], shared[2][i]) if shared else _own(matrices[i], ys[i])
        per_item = (weights if len(weights) == 1 else weights[i], *(v[i] for v in given))
        kernel(atoms, gram, ys[i], back, *(v.numpy() for v in per_item), *numbers, stop, *(v[i].numpy() for v in out))

    stop = np.zeros(1, np.bool_)
    longest = float(d.max_steps.max()) * min(len(y), MANY) * d.A.shape[-1] * d.max_k
    most = MANY if shared else max(1, ENTRIES // (d.A.shape[-1] * max(d.A.shape[-2:])))
    share(part, len(y), PART // min(MANY, most), stop=stop if longest > LONG else None)


def _own(A: Any, y: Any) -> tuple[Any, Any, Any]:
    """For a matrix per item, `(items, m, n)`: atoms as rows, Gram matrices, of which row i is `A^H a_i`, and `A^H y`.

    By NumPy, since this runs on our threads. Torch would give each of them OpenMP threads of its own. If these are more
    than there are processors in all, OpenMP lets no thread wait awake any more, and from then on every operation of
    torch in the process takes up to twice the time.
    """
    atoms = np.ascontiguousarray(A.swapaxes(-1, -2), y.dtype)
    back = (atoms.conj() @ y[:, :, None])[..., 0]
    return atoms, atoms @ atoms.conj().swapaxes(-1, -2), back


def begin(d: Data, norm: Tensor, reach: Tensor) -> Tensor:
    """The status of every item before the first step: TOLERANCE if the residual's `norm` is at most the target.

    It is -1, declined, if numbers may `reach` beyond the range of the caller's precision, else RUNNING.
    """
    status = torch.where(fits_range(d, reach), RUNNING, -1)
    return torch.where(norm <= d.target, TOLERANCE, status)


def fits_range(d: Data, reach: Tensor) -> Tensor:
    """Whether numbers up to `reach (items,)` stay in range if squared weights multiply them."""
    heaviest = d.weights.double().amax(-1).clamp(min=1)
    return reach.clamp(min=1) * heaviest**2 <= limit(d)


def limit(d: Data) -> float:
    """The largest number that a kernel works with: the steps must have room for it in their precision."""
    return ROOM * torch.finfo(d.y.dtype).max


def wide(v: Tensor) -> torch.dtype:
    """The dtype that kernels work in: double precision."""
    return torch.complex128 if v.is_complex() else torch.float64


def length(v: Tensor) -> Tensor:
    """The norm of every item, `(items,)`, in double precision."""
    return torch.linalg.vector_norm(v.to(wide(v)), dim=-1)
