"""Column norms of operators that are known only by their products."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..progress import told

if TYPE_CHECKING:
    from .base import Operator

SAMPLES = 1024  # most products that a solver spends on column norms
WORK = "column norms (pass column_norms= to pursuit.as_operator if you know them), product"


def norms_of_columns(A: Operator, block: int) -> Tensor:
    """Every norm from its column; at most `block` entries are formed at a time."""
    m, n = A.shape
    norms = []
    with told(WORK, n) as advance:
        for part in torch.arange(n, device=A.device).split(max(1, block // max(m, n))):
            norms.append(torch.linalg.vector_norm(A.columns(part), dim=-2))
            advance(int(part[-1]) + 1)
    return torch.cat(norms, dim=-1)


def norms_by_rows(A: Operator, block: int) -> Tensor:
    """The same norms from the m rows."""
    m = A.shape[0]
    return _lengths(A, m, block, lambda part: one_hot(part, m).to(A.dtype))


def probed_norms(A: Operator, block: int) -> Tensor:
    """An estimate of the norms from `SAMPLES` products with `A^H`, `(*batch_shape, n)`.

    For a vector `w` of random signs (1, i, -1, -i if complex), the mean of `|a^H w|^2` is `||a||^2`, and its variance
    is at most `2 ||a||^4` (complex: `||a||^4`). So the mean of 1024 samples has a standard error of at most 4.4 %
    (3.1 %), and its root one of 2.2 % (1.6 %), whatever `A` is. If all columns differ by no more than that explains,
    they get one norm.
    """
    m, cplx = A.shape[0], A.dtype.is_complex
    rng = torch.Generator().manual_seed(0)
    values = torch.tensor([1, -1, 1j, -1j], device=rng.device)[: 4 if cplx else 2]

    def signs(part: Tensor) -> Tensor:
        chosen = values[torch.randint(len(values), (len(part), m), generator=rng, device=rng.device)]
        return (chosen if cplx else chosen.real).to(A.device, A.dtype)

    norms = _lengths(A, SAMPLES, block, signs) / SAMPLES**0.5
    return _evened(norms, ((1 if cplx else 2) / SAMPLES) ** 0.5)


def _lengths(A: Operator, count: int, block: int, vectors: Callable[[Tensor], Tensor]) -> Tensor:
    """For every column `a`, the length of the `count` numbers `a^H v`, with `vectors` of measurements `v`."""
    m, n = A.shape
    lengths = []
    with told(WORK, count) as advance:
        for part in torch.arange(count, device=A.device).split(max(1, block // max(m, n))):
            v = vectors(part)
            v = v.reshape(len(v), *[1] * len(A.batch_shape), m).expand(-1, *A.batch_shape, -1)
            lengths.append(torch.linalg.vector_norm(A.adjoint(v), dim=0))
            advance(int(part[-1]) + 1)
    return torch.linalg.vector_norm(torch.stack(lengths), dim=0)


def _evened(norms: Tensor, error: float) -> Tensor:
    """One norm for all columns where the squares differ by no more than their standard `error` explains."""
    squares = norms.square()
    mean = squares.mean(-1, keepdim=True)
    off = squares / torch.where(mean > 0, mean, 1) - 1
    chance = (off.square().mean(-1, keepdim=True).sqrt() < 1.1 * error) & (off.abs().amax(-1, keepdim=True) < 6 * error)
    return torch.where(chance, mean.sqrt(), norms)
