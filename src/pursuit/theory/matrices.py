"""Coherence and restricted isometry constants of a matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..checks import finite
from ..core.numeric import ones_for_zeros
from ..operators import PROBES, give
from ..operators.adapters import as_operator
from .common import rows

SUBSETS = 10**6  # most subsets of columns that are enumerated
STARTS, ROUNDS = 500, 20  # of the search for the worst columns


class Isometry(NamedTuple):
    """Lower and upper bound on the restricted isometry constant, in double precision.

    Attributes
    ----------
    lower : (*batch,)
        The constant is at least this; some support attains it.
    upper : (*batch,)
        The constant is at most this.
    exact : bool
        Whether all supports were enumerated. Then both bounds are the constant.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> theory.restricted_isometry(torch.eye(3), 2).exact
    True
    """

    lower: Any
    upper: Any
    exact: bool


def coherence(A: Any) -> Any:
    """Largest correlation of two columns, `max |<a_i, a_j>| / (||a_i|| ||a_j||)`.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        It is made dense; the n x n correlations are formed in blocks. Zero columns count as orthogonal.

    Returns
    -------
    array (*batch,)
        Between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If `A` is no operator, or has entries that are NaN or infinite.

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
    unit = matrix / ones_for_zeros(norms)
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

    It enumerates all supports, so `k` and `n` must be small. Columns are not normalised: do that first.

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
        If `A` is no operator, `k` is not a whole number in 1, ..., n, or there are more than a million supports.

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
            f"k={size} of n={n} columns have {math.comb(n, size):.3g} subsets; needed are at most {SUBSETS:.0e}. Use a "
            "smaller k, or restricted_isometry(A, k), which bounds the constant from both sides."
        )
    return give(_enumerated(away_of(matrix), size), A)


def restricted_isometry(A: Any, k: int) -> Isometry:
    """Restricted isometry constant for k-sparse signals: exact for small problems, else a lower and an upper bound.

    Up to a million supports are enumerated, and the constant is exact. If there are more, the lower bound is that of
    the worst support that a local search finds. The upper bound is the least of: the spectral norm of `A^H A - I`;
    Gershgorin's discs with the k - 1 largest correlations of each column (at most `(k - 1) coherence(A)` for columns of
    norm one); and `(k - 1) / (r - 1)` times the constant for r non-zeros, for the largest r whose supports can be
    enumerated, corrected for columns of other norms.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        It is made dense. Columns are not normalised: do that first.
    k : int
        Number of non-zeros.

    Returns
    -------
    Isometry

    Raises
    ------
    TypeError, ValueError
        If `A` is no operator, or `k` is not a whole number in 1, ..., n.

    References
    ----------
    E. Candès, T. Tao, "Decoding by linear programming", IEEE Trans. IT 2005.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> A = torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]])
    >>> theory.restricted_isometry(A, 2).upper
    tensor(0.8000, dtype=torch.float64)
    >>> large = theory.restricted_isometry(torch.eye(200), 8)
    >>> large.exact, large.lower.item(), large.upper.item()
    (False, 0.0, 0.0)
    """
    matrix = _matrix(A)
    size = int(rows(k, matrix.shape[-1], torch.Size(), matrix.device))
    lower, upper, exact = isometry(away_of(wide(matrix)), size)
    return Isometry(give(lower, A), give(upper, A), exact)


def isometry(away: Tensor, size: int) -> Isometry:
    """The same for `away = A^H A - I (*batch, n, n)`."""
    n = away.shape[-1]
    if math.comb(n, size) <= SUBSETS:
        constant = _enumerated(away, size)
        return Isometry(constant, constant, True)
    lower = torch.stack([_searched(one, size) for one in away.reshape(-1, n, n)]).reshape(away.shape[:-2])
    return Isometry(lower, torch.maximum(lower, _upper(away, size)), False)  # rounding must not swap them


def wide(matrix: Tensor) -> Tensor:
    """In double precision."""
    return matrix.to(torch.complex128 if matrix.is_complex() else torch.float64)


def _matrix(A: Any) -> Tensor:
    return finite("A", as_operator(A).to_dense().detach())


def away_of(matrix: Tensor) -> Tensor:
    """`A^H A - I`."""
    gram = matrix.mH @ matrix
    return gram - torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)


def _enumerated(away: Tensor, size: int) -> Tensor:
    """The largest magnitude of an eigenvalue of `size` rows and the same columns of `away`, `(*batch,)`."""
    largest = away.real.new_zeros(away.shape[:-2])
    for subset in _subsets(away.shape[-1], size, device=away.device):
        values = torch.linalg.eigvalsh(away[..., subset.unsqueeze(-1), subset.unsqueeze(-2)])
        largest = torch.maximum(largest, values.abs().amax((-2, -1)))
    return largest


def _searched(away: Tensor, size: int) -> Tensor:
    """The largest such eigenvalue that a local search finds, for one matrix `(n, n)`.

    It starts from many columns, each with those most correlated to it. The next support has the largest entries of the
    image of the worst signal on this support (a truncated power iteration).
    """
    first = _correlations(away, size).sum(-1).topk(min(STARTS, away.shape[-1])).indices
    image = away[first].abs()
    image[torch.arange(len(first)), first] = math.inf  # each starts from itself
    largest = away.real.new_zeros(())
    for sign in (1, -1):
        support = image.topk(size, dim=-1).indices
        for _ in range(ROUNDS):
            values, vectors = torch.linalg.eigh(sign * away[support.unsqueeze(-1), support.unsqueeze(-2)])
            largest = torch.maximum(largest, values.abs().amax())
            worst = vectors[..., -1].unsqueeze(-2)
            support = (worst @ away[support].conj()).abs().squeeze(-2).topk(size, dim=-1).indices
    return largest


def _upper(away: Tensor, size: int) -> Tensor:
    """The least of the cheap upper bounds, `(*batch,)`."""
    n = away.shape[-1]
    spectrum = torch.linalg.eigvalsh(away).abs().amax(-1)  # eigenvalues of a submatrix lie within those of the matrix
    diagonal = away.diagonal(dim1=-2, dim2=-1).abs()
    discs = (diagonal + _correlations(away, size).sum(-1)).amax(-1)
    if size < 2 or n < 2:
        return torch.minimum(spectrum, discs)
    # Let O be the matrix without its diagonal, and x have k non-zeros. A share r (r - 1) / (k (k - 1)) of all sets of r
    # of them contain a given pair, a share r / k a given one. So x^H O x is k (k - 1) / (r (r - 1)) times the mean of
    # x_T^H O x_T over these sets T, and at most (k - 1) / (r - 1) delta_r ||x||^2.
    part = max(r for r in range(2, size + 1) if r == 2 or math.comb(n, r) <= SUBSETS)
    off = away - torch.diag_embed(away.diagonal(dim1=-2, dim2=-1))
    pairs = off.abs().amax((-2, -1))  # delta_2, without enumerating pairs
    mean = (size - 1) / (part - 1) * (pairs if part == 2 else _enumerated(off, part)) + diagonal.amax(-1)
    return torch.minimum(torch.minimum(spectrum, discs), mean)


def _correlations(away: Tensor, size: int) -> Tensor:
    """The `size - 1` largest correlations of every column with others, `(*batch, n, size - 1)`."""
    magnitude = away.abs()
    magnitude.diagonal(0, -2, -1).zero_()
    return magnitude.topk(size - 1, dim=-1).values


def _subsets(n: int, size: int, *, device: torch.device) -> Iterator[Tensor]:
    """All subsets of `size` of n columns, in blocks, `(count, size)`."""
    subsets = combinations(range(n), size)
    while part := list(islice(subsets, max(1, PROBES // size**2))):
        yield torch.tensor(part, device=device)
