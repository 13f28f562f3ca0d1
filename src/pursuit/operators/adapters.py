"""Operators from arrays, functions, and operators of other libraries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import DTYPES, column_names, is_array, read, workable
from ..checks import nonnegative_per_item, placed
from .base import Operator, check_dtype
from .dense import Dense

Nested = Sequence[Any]  # numbers in lists or tuples
PerItem = float | np.number[Any] | Tensor | NDArray[Any] | Nested  # one number, or one per signal


class HasShape(Protocol):
    """A matrix, or an operator, of another library."""

    @property
    def shape(self) -> Any: ...


class HasAdjoint(Protocol):
    """Linear physics of DeepInverse."""

    def A(self, x: Any) -> Any: ...
    def A_adjoint(self, y: Any) -> Any: ...


OperatorLike = Operator | Tensor | NDArray[Any] | HasShape | HasAdjoint | Nested  # what `as_operator` takes


class FunctionOperator(Operator):
    """An operator from two functions on tensors.

    Parameters
    ----------
    forward : callable, (*batch, n) -> (*batch, m)
    adjoint : callable, (*batch, m) -> (*batch, n)
    shape : (m, n)
    dtype : default torch.float64
    device : default CPU
    column_norms : float or array (n,), optional
        The norms of the columns, if you know them; computing them takes n products.

    Raises
    ------
    TypeError, ValueError
        If the dtype is not one of float32, float64, complex64, complex128, or a norm is not a number >= 0.

    Examples
    --------
    >>> import torch, pursuit
    >>> flip = pursuit.FunctionOperator(lambda x: x.flip(-1), lambda y: y.flip(-1), (3, 3), dtype=torch.float32)
    >>> pursuit.omp(flip, torch.tensor([0.0, 0.0, 7.0]), k=1).x
    tensor([7., 0., 0.])
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        adjoint: Callable[[Tensor], Tensor],
        shape: tuple[int, int],
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
        column_norms: Any = None,
    ):
        check_dtype("the operator", dtype)
        self._forward, self._adjoint = forward, adjoint
        self.shape = (int(shape[0]), int(shape[1]))
        self.dtype, self.device = dtype, placed(torch.device(device or "cpu"))
        self._norms = None if column_norms is None else self._known(column_norms)

    def forward(self, x: Tensor) -> Tensor:
        return _sized(self._forward(x), x, self.shape[0], "forward")

    def adjoint(self, y: Tensor) -> Tensor:
        return _sized(self._adjoint(y), y, self.shape[1], "adjoint")

    def column_norms(self) -> Tensor:
        return super().column_norms() if self._norms is None else self._norms

    def to_dense(self) -> Tensor:
        self.adjoint(torch.zeros(self.shape[0], dtype=self.dtype, device=self.device))  # checks the size of its result
        return super().to_dense()

    def _known(self, norms: Any) -> Tensor:
        n = self.shape[1]
        norms = nonnegative_per_item(
            "column_norms", norms, torch.Size([n]), torch.empty(0, dtype=self.dtype, device=self.device)
        )
        return norms.clone()


class Sparse(FunctionOperator):
    """A SciPy sparse matrix.

    Parameters
    ----------
    matrix : SciPy sparse matrix (m, n)
    device : default CPU
        Device of the signals; products are computed on the CPU.
    """

    def __init__(self, matrix: Any, *, device: torch.device | str | None = None):
        rows, self._columns = matrix.tocsr(), matrix.tocsc()
        back = rows.conj().T.tocsr()
        super().__init__(
            lambda x: _Outside.apply(x, rows.__matmul__, back.__matmul__),
            lambda y: _Outside.apply(y, back.__matmul__, rows.__matmul__),
            matrix.shape,
            dtype=_torch_dtype(matrix.dtype),
            device=device,
        )
        self._norms = torch.from_numpy(np.sqrt(np.asarray(abs(rows).power(2).sum(axis=0)).ravel())).to(self.device)

    def columns(self, index: Tensor) -> Tensor:
        atoms = torch.from_numpy(self._columns[:, index.reshape(-1).cpu().numpy()].T.toarray())
        return atoms.to(self.device).reshape(*index.shape, self.shape[0]).mT

    def in_double(self) -> Operator:
        if self.dtype.to_real() == torch.float64:
            return self
        double = self._columns.astype(np.complex128 if self.dtype.is_complex else np.float64)
        return Sparse(double, device=self.device)


class _Outside(torch.autograd.Function):
    """A linear map computed outside torch (NumPy, SciPy, PyLops); its derivative is its adjoint."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, apply: Callable, back: Callable) -> Tensor:
        ctx.maps = apply, back
        flat = x.detach().cpu().resolve_conj().resolve_neg().numpy().reshape(-1, x.shape[-1])
        # Many such operators do not take an empty batch: they get one signal of zeros, and its image is dropped.
        given = flat if len(flat) else np.zeros_like(flat, shape=(1, x.shape[-1]))
        out = np.ascontiguousarray(np.asarray(apply(given.T)).T[: len(flat)])
        if np.iscomplexobj(out) and not x.is_complex():
            raise ValueError(
                f"the operator has a real dtype but returned {out.dtype} for a real signal; needed is a complex dtype: "
                "give it one where it is made, for example dtype=complex."
            )
        return torch.from_numpy(out).to(x).reshape(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None, None]:
        apply, back = ctx.maps
        return _Outside.apply(grad[0], back, apply), None, None


def from_deepinv(
    physics: Any,
    signal_shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    column_norms: Any = None,
) -> Operator:
    """An operator from a DeepInverse linear physics, on flattened signals.

    Parameters
    ----------
    physics : object with `A(x)` and `A_adjoint(y)` on tensors `(batch, *shape)`
    signal_shape : sequence of int
        Shape of one signal as the physics takes it, for example `(1, 64, 64)`; `n` is its product.
    dtype, device
        Of the signals.
    column_norms : float or array (n,), optional
        The norms of the columns, if you know them; computing them takes n products.

    Returns
    -------
    Operator

    Examples
    --------
    >>> import torch, pursuit
    >>> class Mask:
    ...     def A(self, x):
    ...         return x[..., ::2]
    ...     def A_adjoint(self, y):
    ...         return torch.stack([y, 0 * y], dim=-1).flatten(-2)
    >>> pursuit.from_deepinv(Mask(), signal_shape=(1, 2, 4))
    FunctionOperator(shape=(4, 8), dtype=torch.float32)
    """
    device = torch.device(device or "cpu")
    signal = tuple(int(s) for s in signal_shape)
    probe = physics.A(torch.zeros(1, *signal, dtype=dtype, device=device))
    measured = tuple(probe.shape[1:])

    def forward(x: Tensor) -> Tensor:
        return physics.A(x.reshape(-1, *signal)).reshape(*x.shape[:-1], math.prod(measured))

    def adjoint(y: Tensor) -> Tensor:
        return physics.A_adjoint(y.reshape(-1, *measured)).reshape(*y.shape[:-1], math.prod(signal))

    shape = (math.prod(measured), math.prod(signal))
    return FunctionOperator(forward, adjoint, shape, dtype=dtype, device=device, column_norms=column_norms)


def as_operator(
    A: OperatorLike,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    column_norms: Any = None,
) -> Operator:
    """Make an `Operator` from anything that acts like a matrix.

    Parameters
    ----------
    A : Operator, Tensor or array-like (*batch, m, n), SciPy sparse matrix, SciPy or PyLops `LinearOperator`, \
DeepInverse linear physics with an `img_size`, or a triple `(forward, adjoint, (m, n))` of functions
        Of a table, pandas' for example, `column_names` keeps the names of the columns.
    dtype : torch.dtype, optional
        For an `A` without a dtype (triples, physics), and the precision of one of whole numbers; others keep theirs.
    device : optional
        For an `A` without a device.
    column_norms : float or array (n,), optional
        For an `A` known only by its products (triples, `LinearOperator`s, physics): the norms of its columns, if you
        know them; computing them takes n products.

    Returns
    -------
    Operator

    Raises
    ------
    TypeError
        If `A` is none of these.
    ValueError
        If its shape, dtype or entries cannot be used.

    Examples
    --------
    >>> import torch, pursuit
    >>> double = pursuit.as_operator((lambda x: 2 * x, lambda y: 2 * y, (3, 3)))
    >>> pursuit.adjoint_gap(double) < 1e-12
    True
    """
    if isinstance(A, tuple) and len(A) == 3 and callable(A[0]):
        return FunctionOperator(*A, dtype=dtype or torch.float64, device=device, column_norms=column_norms)
    if hasattr(A, "A_adjoint") and hasattr(A, "A"):
        shape = _signal_shape(A)
        return from_deepinv(A, shape, dtype=dtype or torch.float32, device=device, column_norms=column_norms)
    if hasattr(A, "rmatmat"):  # SciPy's LinearOperator, and PyLops', which is one
        return _linear_operator(A, device, column_norms)
    if column_norms is not None:
        raise ValueError(f"column_norms were given for a {type(A).__name__}, which knows its own; leave them out.")
    if isinstance(A, Operator):
        return A
    precision = torch.float64 if dtype is None else dtype.to_real()  # of an A of whole numbers
    if hasattr(A, "tocsr"):
        matrix: Any = A
        if len(matrix.shape) != 2:
            raise ValueError(f"A is a sparse array of shape {matrix.shape}; needed is (m, n).")
        if matrix.dtype.kind in "biu":
            matrix = matrix.astype(str(precision).removeprefix("torch."))
        return Sparse(matrix, device=device)
    if is_array(A):
        values, as_numpy = read("A", A)
        whole = not (values.is_floating_point() or values.is_complex())
        values = values.to(precision) if whole else workable(values)
        dense = Dense(values.to(device) if as_numpy else values)
        dense.column_names = None if isinstance(A, np.ndarray | Tensor) else column_names(A)
        return dense
    raise TypeError(
        f"A is a {type(A).__name__}; needed is a matrix (torch or NumPy), a SciPy sparse matrix, a LinearOperator, "
        "a pursuit Operator, a linear physics, or a (forward, adjoint, shape) triple."
    )


def _signal_shape(physics: Any) -> Sequence[int]:
    names = ("img_size", "imsize", "img_shape")  # differs between classes of DeepInverse
    shape = next((shape for shape in (getattr(physics, name, None) for name in names) if shape is not None), None)
    if shape is None:
        raise ValueError("the physics has no attribute img_size; use pursuit.from_deepinv(physics, signal_shape=...).")
    return shape


def _linear_operator(A: Any, device: torch.device | str | None, column_norms: Any) -> Operator:
    """An operator of SciPy or PyLops, through its products with NumPy matrices whose columns are signals."""
    if not getattr(A, "clinear", True) and np.issubdtype(A.dtype, np.complexfloating):
        raise ValueError(
            f"A is a {type(A).__name__} that is linear for real factors only (its clinear is False), so A (i x) is "
            "not i A x; needed is a complex-linear one, for example pylops' FFT with real=False."
        )
    return FunctionOperator(
        lambda x: _Outside.apply(x, A.matmat, A.rmatmat),
        lambda y: _Outside.apply(y, A.rmatmat, A.matmat),
        A.shape,
        dtype=_torch_dtype(A.dtype),
        device=device,
        column_norms=column_norms,
    )


def adjoint_gap(operator: Any, *, seed: int = 0) -> float:
    """The dot test of an adjoint: the difference of `<A x, y>` and `<x, A^H y>` for random `x` and `y`.

    Parameters
    ----------
    operator : anything `as_operator` takes
    seed : int, default 0

    Returns
    -------
    float
        `|<Ax, y> - <x, A^H y>|` over `||Ax|| ||y|| + ||x|| ||A^H y||`; rounding error if the adjoint is right.

    Examples
    --------
    >>> import pursuit
    >>> pursuit.adjoint_gap(pursuit.SubsampledFourier([0, 3, 5], 8)) < 1e-14
    True
    """
    op = as_operator(operator)
    m, n = op.shape
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(*op.batch_shape, n, dtype=op.dtype, generator=rng, device=rng.device).to(op.device)
    y = torch.randn(*op.batch_shape, m, dtype=op.dtype, generator=rng, device=rng.device).to(op.device)
    Ax, Ay = op.forward(x), op.adjoint(y)
    gap = torch.linalg.vecdot(Ax, y) - torch.linalg.vecdot(x, Ay)
    size = Ax.norm(dim=-1) * y.norm(dim=-1) + x.norm(dim=-1) * Ay.norm(dim=-1)
    return (gap.abs() / size.clamp(min=torch.finfo(size.dtype).tiny)).max().item()


def _sized(out: Tensor, given: Tensor, size: int, what: str) -> Tensor:
    if out.shape != (*given.shape[:-1], size):
        raise ValueError(
            f"the operator's {what} turned shape {tuple(given.shape)} into {tuple(out.shape)}; needed is "
            f"{(*given.shape[:-1], size)}: signals on the last axis, any leading axes kept."
        )
    return out


def _torch_dtype(dtype: Any) -> torch.dtype:
    names = {str(d).removeprefix("torch."): d for d in DTYPES}
    found = np.dtype(dtype).newbyteorder("=").name
    if found not in names:
        kind = "complex" if np.dtype(dtype).kind == "c" else "float"
        raise TypeError(
            f"A has dtype {found}; needed is float32, float64, complex64 or complex128: convert it, for example with "
            f".astype({kind})."
        )
    return names[found]
