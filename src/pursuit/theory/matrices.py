"""What a matrix is good for: its coherence and its restricted isometry constants."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, islice
from typing import Any

import torch
from torch import Tensor

from ..adapters import as_operator
from ..checks import finite
from ..operators import PROBES, give
from .common import rows

SUBSETS = 10**6  # of columns, that `rip_constant` goes through at most


def coherence(A: Any) -> Any:
    """Largest correlation of two columns, `max |<a_i, a_j>| / (||a_i|| ||a_j||)`.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        It is made dense; the n x n correlations are formed some columns at a time. Zero columns count as orthogonal.

    Returns
    -------
    array (*batch,)
        Between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If `A` cannot be used, or has entries that are NaN or infinite.

    References
    ----------
    D. Donoho, X. Huo, "Uncertainty principles and ideal atomic decomposition", IEEE Trans. IT 2001.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> theory.coherence(torch.tensor([[2.0, 0.0, 3.0], [0.0, 1.0, 4.0]]))
    tensor(0.8000)
    """
    matrix = _matrix(A)
    norms = torch.linalg.vector_norm(matrix, dim=-2, keepdim=True)
    unit = matrix / torch.where(norms > 0, norms, 1)
    n = unit.shape[-1]
    largest = norms.new_zeros(unit.shape[:-2])
    width = max(1, PROBES // n)
    for first in range(0, n, width):
        correlation = (unit[..., first : first + width].mH @ unit).abs()
        correlation.diagonal(first, -2, -1).zero_()  # of every column with itself
        largest = torch.maximum(largest, correlation.amax((-2, -1)))
    return give(largest.clamp(max=1), A)


def rip_constant(A: Any, k: int) -> Any:
    """Restricted isometry constant: the least `d` with `| ||A x||^2 - ||x||^2 | <= d ||x||^2` for all k-sparse `x`.

    By going through all supports, so for small `k` and `n`. `A` is taken as it is: normalise its columns first.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
    k : int
        Number of non-zeros.

    Returns
    -------
    array (*batch,)

    Raises
    ------
    TypeError, ValueError
        If `A` cannot be used, `k` is not a whole number in 1, ..., n, or there are more than a million supports.

    References
    ----------
    E. Candès, T. Tao, "Decoding by linear programming", IEEE Trans. IT 2005.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> theory.rip_constant(torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]]), 2)
    tensor(0.8000)
    """
    matrix = _matrix(A)
    n = matrix.shape[-1]
    size = int(rows(k, n, torch.Size(), matrix.device))
    if math.comb(n, size) > SUBSETS:
        raise ValueError(
            f"k={size} of n={n} columns have {math.comb(n, size):.3g} subsets; at most {SUBSETS:.0e} are gone through. "
            "Use a smaller k, or (k - 1) coherence(A), a bound on the constant for unit columns."
        )
    gram = matrix.mH @ matrix
    constant = gram.real.new_full(gram.shape[:-2], -math.inf)
    for subset in _subsets(n, size, device=gram.device):
        values = torch.linalg.eigvalsh(gram[..., subset.unsqueeze(-1), subset.unsqueeze(-2)])
        worst = torch.maximum(1 - values[..., 0], values[..., -1] - 1).amax(-1)
        constant = torch.maximum(constant, worst)
    return give(constant, A)


def _matrix(A: Any) -> Tensor:
    return finite("A", as_operator(A).to_dense().detach())


def _subsets(n: int, size: int, *, device: torch.device) -> Iterator[Tensor]:
    """All subsets of `size` of n columns, some at a time, `(count, size)`."""
    subsets = combinations(range(n), size)
    while part := list(islice(subsets, max(1, PROBES // size**2))):
        yield torch.tensor(part, device=device)
