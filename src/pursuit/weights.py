"""Analytic weights: the matrix `W` of ALISTA's back-projection, computed without training.

`w_i^H a_i = 1` for every column, and `W^H A` is as close to the identity as that allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from .checks import finite, nonnegative_per_item, placed, whole
from .core.numeric import safe_divide
from .names import warn
from .operators import (
    PROBES,
    ColumnScaled,
    Complexified,
    Compose,
    Convolution,
    Dense,
    Diagonal,
    Operator,
    SubsampledFourier,
    give,
)
from .operators.adapters import as_operator

TOLERANCE = 1e-4  # of the diagonal of W^H A: far above rounding in single precision, far below the error of a wrong W


@torch.no_grad()
def analytic_weights(A: Any) -> Any:
    """The weights `W` that minimise `||W^H A||_F` subject to `w_i^H a_i = 1` for every column, in closed form.

    `w_i = G^+ a_i / (a_i^H G^+ a_i)` with `G = A A^H`. The problem separates by column, and this is the exact
    minimiser for columns of any norm. Singular values below `eps max(m, n)` times the largest are taken as zero.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes

    Returns
    -------
    array (*batch, m, n) or Operator
        An array for an array, with its dtype and device, computed in double precision. An `Operator` for an operator:
        for a subsampled Fourier transform, a circular convolution or the product of both, with scaled rows or equally
        scaled columns, an operator of the same kind; for others an m x m root of `G^+` is formed, and an m x n matrix
        only for `Dense`. The result has no derivatives.

    Raises
    ------
    TypeError, ValueError
        If `A` is no operator, has entries that are NaN or infinite, or columns that are zero.

    References
    ----------
    J. Liu, X. Chen, Z. Wang, W. Yin, "ALISTA: analytic weights are as good as learned weights in LISTA", ICLR 2019;
    they compute W by projected gradients.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]])
    >>> W = pursuit.analytic_weights(A)
    >>> (W.T @ A).diagonal()
    tensor([1., 1., 1.])
    >>> pursuit.analytic_weights(pursuit.SubsampledFourier([0, 3, 5], 8))
    SubsampledFourier(shape=(3, 8), dtype=torch.complex128)
    """
    op = as_operator(A)
    if 0 in op.shape:
        raise ValueError(f"A has shape {op.shape}; needed is at least one row and one column.")
    weights = _weights(op)
    if isinstance(A, Operator) or not isinstance(weights, Dense):
        return weights
    return give(weights.matrix, A)


def generalized_coherence(W: Any, A: Any, *, tol: float = TOLERANCE) -> Any:
    """How strongly the weights `W` mix the columns of `A`: `max |w_i^H a_j|` over `i != j`.

    For `W = A` with columns of norm one it is the coherence, `pursuit.theory.coherence(A)`. For its use in guarantees
    see `pursuit.theory.max_sparsity`.

    Parameters
    ----------
    W : array (*batch, m, n), or anything `as_operator` takes
        Weights with `w_i^H a_i = 1`.
    A : array (*batch, m, n), or anything `as_operator` takes
        The n x n matrix `W^H A` is formed in blocks of rows.
    tol : float
        How far `w_i^H a_i` may be from 1.

    Returns
    -------
    array (*batch,)

    Raises
    ------
    TypeError, ValueError
        As `check_weights`.

    References
    ----------
    J. Liu, X. Chen, Z. Wang, W. Yin, "ALISTA: analytic weights are as good as learned weights in LISTA", ICLR 2019,
    Definition 1.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, -1.0]], dtype=torch.float64)
    >>> round(pursuit.generalized_coherence(pursuit.analytic_weights(A), A).item(), 6)
    1.0
    """
    op = as_operator(A)
    return give(_coherence(check_weights(W, op, tol=tol), op), A)


@torch.no_grad()
def check_weights(W: Any, A: Any, *, tol: float = TOLERANCE) -> Operator:
    """Check that `W` are weights for this `A`, and return them as an `Operator`.

    Parameters
    ----------
    W : array (*batch, m, n), or anything `as_operator` takes
        Real weights for a complex `A` become complex.
    A : array (*batch, m, n), or anything `as_operator` takes
    tol : float
        How far `w_i^H a_i` may be from 1.

    Returns
    -------
    Operator

    Raises
    ------
    TypeError, ValueError
        If `W` is no operator, has another shape, precision or device than `A`, is complex where `A` is real, has
        entries that are NaN or infinite, or `w_i^H a_i` is not 1.

    Examples
    --------
    >>> import torch
    >>> from pursuit.weights import check_weights
    >>> check_weights(torch.eye(3) / 2, 2 * torch.eye(3))
    Dense(shape=(3, 3), dtype=torch.float32)
    """
    tol = float(nonnegative_per_item("tol", tol, torch.Size(), torch.empty(0, dtype=torch.float64)))
    op = as_operator(A)
    weights = _like(_read_weights(W, op), op)
    _check_diagonal(weights, op, tol)
    return weights


def welch_bound(m: int, n: int) -> float:
    """The Welch bound, the least coherence of `n` vectors in `m` dimensions: `sqrt((n - m) / (m (n - 1)))`.

    Parameters
    ----------
    m, n : int
        Rows and columns.

    Returns
    -------
    float
        Zero for `n <= m`, because the vectors can be orthogonal.

    Raises
    ------
    TypeError, ValueError
        If `m` or `n` is not a whole number >= 1.

    References
    ----------
    L. Welch, "Lower bounds on the maximum cross correlation of signals", IEEE Trans. IT 1974.

    Examples
    --------
    >>> import pursuit
    >>> round(pursuit.welch_bound(250, 1000), 4)
    0.0548
    """
    m, n = (int(whole(name, v, 1, None, torch.Size(), "cpu")) for name, v in (("m", m), ("n", n)))
    return 0.0 if n <= m else math.sqrt((n - m) / (m * (n - 1)))


def __getattr__(name: str) -> Any:
    if name != "projected_gradient_weights":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = "pursuit.experiments.na.projected_gradients"
    warn(f"{__name__}.{name}", f"{place}.{name}", stacklevel=3)
    return getattr(import_module(place), name)


# The closed form. With A = U S V^H it is W = U S^+ V^H / d, where d_i = a_i^H G^+ a_i is the squared norm of row i of
# V.


def _weights(A: Operator) -> Operator:
    """The closed form, as an operator of the same kind if there is one."""
    if isinstance(A, Dense):
        return Dense(_of_matrix(A.matrix))
    if isinstance(A, ColumnScaled) and isinstance(A.operator, Dense):
        return Dense(_of_matrix(A.to_dense()))
    if isinstance(A, Complexified):
        return _weights(A.operator).complexified()
    if isinstance(A, ColumnScaled) and _equal_sizes(A.scale):  # G is that of the operator times a factor
        return ColumnScaled(_weights(A.operator), 1 / A.scale.conj())
    if isinstance(A, Convolution) and A.boundary == "circular":
        return _of_convolution(A)
    if (filtered := _filtered_fourier(A)) is not None:
        return _of_filtered_fourier(*filtered, A.dtype)
    return _of_operator(A)


def _of_matrix(matrix: Tensor) -> Tensor:
    atoms = wide(finite("A", matrix.detach()))
    root = _inverse_root([atoms], _cut(matrix.dtype, atoms.shape))
    rows = root @ atoms  # V^H
    leverage = rows.abs().square().sum(-2)
    check_sizes(leverage)
    return (root.mH @ (rows / leverage.unsqueeze(-2))).to(matrix.dtype)


def _of_operator(A: Operator) -> Operator:
    """By a root of the m x m matrix `G^+`; the operator's columns are formed in blocks."""
    root = _inverse_root(_blocks(A), _cut(A.dtype, A.shape))
    leverage = torch.cat([(root @ block).abs().square().sum(-2) for block in _blocks(A)], dim=-1)
    check_sizes(leverage)
    # G^+ itself, instead of its two factors, would square the condition number.
    back, root = root.mH.resolve_conj().to(A.dtype), root.to(A.dtype)
    return ColumnScaled(Compose(Dense(back), Dense(root), A), (1 / leverage).to(A.dtype.to_real()))


def _inverse_root(blocks: Iterable[Tensor], cut: float) -> Tensor:
    """`R = S^+ U^H (*batch, r, m)`, for which `R^H R = G^+`, from blocks of the columns of `A = U S V^H`.

    It is computed by QR and not from G, where small singular values would lose twice as many digits.
    """
    triangle: Tensor | None = None
    for block in blocks:
        rows = block.mH if triangle is None else torch.cat([triangle, block.mH], dim=-2)
        triangle = torch.linalg.qr(rows, mode="r").R  # R^H R = A A^H
    assert triangle is not None
    _, values, rows = torch.linalg.svd(triangle, full_matrices=False)
    kept = values > cut * values[..., :1]
    return safe_divide(1, values, where=kept).unsqueeze(-1) * rows


def _of_convolution(A: Convolution) -> Operator:
    """A and W are diagonal in the Fourier basis: W has the conjugate inverse of each non-zero gain of A."""
    n = A.shape[1]
    spectrum = torch.fft.fft(_impulse(A), dim=-1)
    kept = _kept(spectrum.abs(), _cut(A.dtype, A.shape))
    inverse = safe_divide(1, spectrum.conj(), where=kept) * (n / _count(kept))
    kernel = torch.fft.ifft(inverse, dim=-1).roll(n // 2, dims=-1)  # its centre is that of the operator
    return Convolution((kernel if A.dtype.is_complex else kernel.real).to(A.dtype), n)


def _filtered_fourier(A: Operator) -> tuple[Tensor, SubsampledFourier] | None:
    """The gains `(*batch, m)` and the transform, if `A` is a Fourier transform with scaled rows or after a filter."""
    parts = A.operators if isinstance(A, Compose) else (A,)
    at = next((i for i, part in enumerate(parts) if isinstance(part, SubsampledFourier)), None)
    if at is None:
        return None
    transform = parts[at]
    assert isinstance(transform, SubsampledFourier)
    if transform.periods != transform.signal_shape:
        return None
    gains = torch.ones(transform.shape[0], dtype=torch.complex128, device=A.device)
    for part in parts[:at]:
        if not isinstance(part, Diagonal):
            return None
        gains = gains * part.values
    for part in parts[at + 1 :]:
        inner = part.operator if isinstance(part, Complexified) else part
        if not isinstance(inner, Convolution) or inner.boundary != "circular" or len(transform.periods) > 1:
            return None
        gains = gains * torch.fft.fft(_impulse(inner), dim=-1)[..., transform.rows]
    return gains, transform


def _of_filtered_fourier(gains: Tensor, transform: SubsampledFourier, dtype: torch.dtype) -> Operator:
    """All rows of one frequency span one singular vector; rows of different frequencies are orthogonal."""
    m, n = transform.shape
    energy = gains.new_zeros(*gains.shape[:-1], n).real.index_add(-1, transform.rows, finite("A", gains).abs().square())
    kept = _kept(abs(transform.scale) * energy.sqrt(), _cut(dtype, (m, n)))
    if len(transform.rows.unique()) == m and (gains == 1).all():
        shape, scale = transform.signal_shape, 1 / (m * transform.scale)
        return SubsampledFourier(
            transform.rows, shape=shape, scale=scale, dtype=transform.dtype, device=transform.device
        )
    inverse = safe_divide(1, energy, where=kept) / (_count(kept) * transform.scale**2)
    return Compose(Diagonal((gains * inverse[..., transform.rows]).to(dtype)), transform)


def _impulse(A: Convolution) -> Tensor:
    """The first column, `(*batch, n)`; it determines a circular convolution."""
    return wide(finite("A", A.columns(torch.zeros(1, dtype=torch.long, device=A.device)).squeeze(-1).detach()))


def _equal_sizes(scale: Tensor) -> bool:
    size = scale.detach().abs()
    low, high = size.amin(-1), size.amax(-1)
    return bool(((low > 0) & (high - low <= 10 * torch.finfo(size.dtype).eps * high)).all())


def _kept(values: Tensor, cut: float) -> Tensor:
    """Which singular values `(*batch, n)` are not zero up to rounding."""
    largest = values.amax(-1, keepdim=True)
    check_sizes(largest)
    return values > cut * largest


def _count(kept: Tensor) -> Tensor:
    return kept.sum(-1, keepdim=True).double()  # an integer tensor times a float would be single precision


def _cut(dtype: torch.dtype, shape: Any) -> float:
    return torch.finfo(dtype).eps * max(shape[-2:])


def wide(values: Tensor) -> Tensor:
    """In double precision."""
    return values.to(torch.complex128 if values.is_complex() else torch.float64)


def _blocks(A: Operator) -> Iterator[Tensor]:
    """Blocks of the columns, `(*batch_shape, m, p)`, in double precision."""
    for index in _indices(A, A.shape[0]):
        yield wide(finite("A", A.columns(index).detach()))


def _indices(A: Operator, size: int) -> Iterable[Tensor]:
    """The column numbers in blocks, such that `size` times a block is not too large."""
    width = PROBES // (size * max(1, math.prod(A.batch_shape)))
    return torch.arange(A.shape[1], device=A.device).split(max(1, width))


def check_sizes(sizes: Tensor) -> None:
    """Raise if the size of a column is zero; sizes are `(*batch, n)`, or one for all, `(*batch, 1)`."""
    bad = ~(sizes > 0)
    if bad.any():
        raise ValueError(
            f"A has {int(bad.sum())} columns that are zero, or smaller than the rounding of the others, the first at "
            f"{bad.nonzero()[0, -1].item()}; needed are columns with w_i^H a_i = 1: drop or rescale these."
        )


# The checks of given weights.


def _read_weights(W: Any, A: Operator) -> Operator:
    try:
        return as_operator(W, dtype=A.dtype, device=A.device)
    except (TypeError, ValueError) as problem:
        raise type(problem)(f"the weights W cannot be read like a matrix A: {problem}") from None


def _like(W: Operator, A: Operator) -> Operator:
    """The weights, after a check that shape, device and dtype agree with those of `A`."""
    if W.shape != A.shape:
        hint = " W.T may be what you want." if W.shape == A.shape[::-1] else ""
        raise ValueError(
            f"W has shape {W.shape} and A {A.shape}; needed are equal shapes, one weight vector per column.{hint}"
        )
    if placed(W.device) != placed(A.device):
        raise ValueError(f"A is on {A.device} and W on {W.device}; move one of them with .to(device).")
    if W.dtype.to_real() != A.dtype.to_real():
        raise TypeError(f"A has dtype {A.dtype} and W {W.dtype}; use one precision for both.")
    if W.dtype.is_complex and not A.dtype.is_complex:
        raise TypeError(f"W has dtype {W.dtype} and A {A.dtype}; needed are real weights for a real A.")
    try:
        torch.broadcast_shapes(W.batch_shape, A.batch_shape)
    except RuntimeError:
        raise ValueError(
            f"W has batch {tuple(W.batch_shape)} and A {tuple(A.batch_shape)}; needed are equal ones, or one batch."
        ) from None
    return W.complexified() if A.dtype.is_complex else W


def _check_diagonal(W: Operator, A: Operator, tol: float) -> None:
    """Raise unless `w_i^H a_i` is 1 for every column."""
    larger = W if math.prod(W.batch_shape) > math.prod(A.batch_shape) else A
    parts = [
        (finite("W", W.columns(index)).conj() * finite("A", A.columns(index))).sum(-2)
        for index in _indices(larger, A.shape[0])
    ]
    diagonal = torch.cat(parts, dim=-1)
    off = (diagonal - 1).abs()
    if not (off <= tol).all():
        worst = int(off.argmax())
        raise ValueError(
            f"W does not belong to A: w_i^H a_i is {diagonal.flatten()[worst].item():.6g} for column "
            f"i={worst % A.shape[1]}; needed is 1 up to {tol:.3g} for every column. Use pursuit.analytic_weights(A)."
        )


@torch.no_grad()
def _coherence(W: Operator, A: Operator) -> Tensor:
    """The largest entry of `W^H A` off its diagonal, `(*batch,)`."""
    n = A.shape[1]
    batch = torch.broadcast_shapes(W.batch_shape, A.batch_shape)
    largest = torch.zeros(batch, dtype=A.dtype.to_real(), device=A.device)
    larger = W if math.prod(W.batch_shape) > math.prod(A.batch_shape) else A
    first = 0
    for index in _indices(larger, n):
        rows = W.columns(index).mT.expand(*batch, -1, -1)
        products = A.with_inner_batch().adjoint(rows).abs()
        products.diagonal(first, -2, -1).zero_()  # of every column with its own
        largest = torch.maximum(largest, products.amax((-2, -1)))
        first += len(index)
    return largest
