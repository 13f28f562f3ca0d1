"""Operators from arrays, functions, and operators of other libraries."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from operator import index
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import DTYPES, column_names, index_of, is_array, read, workable
from ..checks import nonnegative_per_item, placed
from ..files.checks import checked_sparse
from . import pylops_norms
from .base import Operator, check_dtype
from .dense import Dense

Nested = Sequence[Any]  # numbers in lists or tuples
PerItem = float | np.number[Any] | Tensor | NDArray[Any] | Nested  # one number, or one per signal


MOST_GAP = 1e-4  # of a dot test: operators that work in single precision inside, or approximate, have 1e-6
DOUBLE_GAP = 1e-11  # of one in double precision throughout


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
    """An operator from two functions on tensors, or on NumPy arrays.

    When it is made, the adjoint is tested on random vectors.

    Parameters
    ----------
    forward : callable, (*batch, n) -> (*batch, m)
    adjoint : callable, (*batch, m) -> (*batch, n)
        Two functions that work with torch have derivatives of their own. Those of NumPy or SciPy work on the CPU, and
        may also take single vectors only, one at a time.
    shape : (m, n)
    dtype : default torch.float64
    device : default CPU
    column_norms : float or array (n,), optional
        The norms of the columns, if you know them; see `Operator.working_norms`.

    Raises
    ------
    TypeError, ValueError
        If the dtype is not one of float32, float64, complex64, complex128, a norm is not a number >= 0, the functions
        do not fit the shape, or the adjoint is wrong.

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
        self.shape = checked_shape(shape, dtype)
        self.dtype, self.device = dtype, placed(torch.device(device or "cpu"))
        self._forward, self._adjoint = forward, adjoint
        if self.device.type != "meta":  # where tensors have no values
            self._try()
        self._norms = None if column_norms is None else self._known(column_norms)

    def forward(self, x: Tensor) -> Tensor:
        return _sized(self._forward(x), x, self.shape[0], "forward")

    def adjoint(self, y: Tensor) -> Tensor:
        return _sized(self._adjoint(y), y, self.shape[1], "adjoint")

    @property
    def knows_norms(self) -> bool:
        return self._norms is not None

    def column_norms(self) -> Tensor:
        return super().column_norms() if self._norms is None else self._norms

    def in_double(self) -> Operator:
        """The same functions on double precision, where they compute in that of their input."""
        if self.dtype.to_real() == torch.float64:
            return self
        wide = torch.complex128 if self.dtype.is_complex else torch.float64
        norms = None if self._norms is None else self._norms.double()
        try:
            double = FunctionOperator(
                self._forward, self._adjoint, self.shape, dtype=wide, device=self.device, column_norms=norms
            )
            exact = adjoint_gap(double) <= DOUBLE_GAP
        except (TypeError, ValueError, RuntimeError):  # they take single precision only
            exact = False
        return self._sharing("double", double) if exact else super().in_double()

    def _try(self) -> None:
        """Look whether the functions take tensors or NumPy arrays, and test the adjoint."""
        (m, n), x = self.shape, _random(self, self.shape[1], 0)
        with torch.no_grad():
            there, Ax = _tried("forward", self._forward, x, m)
            y = _mixed(self, Ax)
            back, Ay = _tried("adjoint", self._adjoint, y, n)
        if there is not None or back is not None:
            there, back = there or _on_arrays(self._forward, x.device), back or _on_arrays(self._adjoint, x.device)
            self._forward = lambda x: _Outside.apply(x, there, back)
            self._adjoint = lambda y: _Outside.apply(y, back, there)
        _refuse_wrong_adjoint(_gap(x, y, Ax, Ay))

    def _known(self, norms: Any) -> Tensor:
        n = self.shape[1]
        norms = nonnegative_per_item(
            "column_norms", norms, torch.Size([n]), torch.empty(0, dtype=self.dtype, device=self.device)
        )
        return norms.clone()


class Sparse(Operator):
    """A SciPy sparse matrix.

    Parameters
    ----------
    matrix : SciPy sparse matrix (m, n)
    device : default CPU
        Device of the signals; products are computed on the CPU.
    """

    def __init__(self, matrix: Any, *, device: torch.device | str | None = None):
        self.shape = checked_shape(matrix.shape, _torch_dtype(matrix.dtype))
        rows, self._columns = matrix.tocsr(), matrix.tocsc()
        back = rows.conj().T.tocsr()
        self._products = rows.__matmul__, back.__matmul__
        self.dtype, self.device = _torch_dtype(matrix.dtype), placed(torch.device(device or "cpu"))
        self._norms = torch.from_numpy(np.sqrt(np.asarray(abs(rows).power(2).sum(axis=0)).ravel())).to(self.device)

    def forward(self, x: Tensor) -> Tensor:
        return _Outside.apply(x, *self._products)

    def adjoint(self, y: Tensor) -> Tensor:
        return _Outside.apply(y, *reversed(self._products))

    @property
    def knows_norms(self) -> bool:
        return True

    def column_norms(self) -> Tensor:
        return self._norms

    def columns(self, index: Tensor) -> Tensor:
        atoms = torch.from_numpy(self._columns[:, index.reshape(-1).cpu().numpy()].T.toarray())
        return atoms.to(self.device).reshape(*index.shape, self.shape[0]).mT

    def in_double(self) -> Operator:
        if self.dtype.to_real() == torch.float64:
            return self
        double = self._columns.astype(np.complex128 if self.dtype.is_complex else np.float64)
        return Sparse(double, device=self.device)


def _tried(name: str, function: Any, v: Tensor, size: int) -> tuple[Callable[[Any], Any] | None, Tensor]:
    """What a function makes of `v`; first the function for arrays whose columns are signals, if it takes no tensors."""
    if not callable(function):
        raise TypeError(f"{name} is {function!r}; needed is a function of signals (*batch, {len(v)}).")
    try:
        found = function(v)
    except Exception as error:  # whatever a function of arrays raises for a tensor
        for_tensors: Exception = error
    else:
        if isinstance(found, Tensor):
            return None, _sized(found, v, size, name)
        for_tensors = TypeError(f"it returned a {type(found).__name__}")
    row = v.cpu().resolve_conj().numpy()
    try:
        of_row = np.asarray(function(row))
        if of_row.shape != (size,) or of_row.dtype.kind not in "biufc":
            raise ValueError(f"it turned shape {row.shape} into {of_row.shape}")
        taken = _by_columns(function, row, of_row)
        return taken, _Outside.apply(v, taken, taken)
    except Exception as error:
        raise TypeError(
            f"the operator's {name} takes neither tensors ({for_tensors}) nor NumPy arrays ({error}); needed is a "
            f"function that turns signals (*batch, {len(v)}) into (*batch, {size})."
        ) from error


def _by_columns(function: Any, row: NDArray[Any], of_row: NDArray[Any]) -> Callable[[Any], Any]:
    """A NumPy function for arrays whose columns are signals: called once, if it takes a batch of rows."""
    try:
        together = np.asarray(function(np.stack([row, -2 * row])))
        takes_batch = together.shape == (2, *of_row.shape) and np.allclose(together, [of_row, -2 * of_row], rtol=1e-4)
    except Exception:
        takes_batch = False
    if takes_batch:
        return lambda v: np.asarray(function(v.T)).T
    return lambda v: np.stack([np.asarray(function(row)) for row in np.ascontiguousarray(v.T)], axis=-1)


def _on_arrays(function: Callable[[Tensor], Tensor], device: torch.device) -> Callable[[Any], Any]:
    """A function on tensors for arrays whose columns are signals."""
    return lambda v: function(torch.from_numpy(np.ascontiguousarray(v.T)).to(device)).cpu().numpy().T


def checked_shape(shape: Any, dtype: torch.dtype) -> tuple[int, int]:
    """The shape `(m, n)` as whole numbers, if a signal of this size can be."""
    try:
        m, n = (index(size) for size in shape)
    except (TypeError, ValueError):
        raise TypeError(f"shape is {shape!r}; needed are two whole numbers (m, n).") from None
    if m < 1 or n < 1:
        raise ValueError(f"shape is {(m, n)}; needed is m >= 1 and n >= 1.")
    need, most = max(m, n) * dtype.itemsize, _memory()
    if need > most:
        raise ValueError(
            f"shape is {(m, n)}, so that one signal takes {need / 2**30:.3g} GiB, and this machine has "
            f"{most / 2**30:.3g} GiB; needed is a shape that fits: check it, or split the problem."
        )
    return m, n


def _memory() -> float:
    """Bytes of this machine, as far as known."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


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
        The norms of the columns, if you know them; see `Operator.working_norms`.

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
        Of a table, pandas' for example, `column_names` and `row_names` keep the names.
    dtype : torch.dtype, optional
        For an `A` without a dtype (triples, physics), and the precision of one of whole numbers; others keep theirs.
    device : optional
        For an `A` without a device.
    column_norms : float or array (n,), optional
        For an `A` known only by its products (triples, `LinearOperator`s, physics): the norms of its columns, if you
        know them; see `Operator.working_norms`.

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
        return A if type(A).__module__.startswith("pursuit.") else _tested(A)
    precision = torch.float64 if dtype is None else dtype.to_real()  # of an A of whole numbers
    if hasattr(A, "tocsr"):
        matrix: Any = A
        if len(matrix.shape) != 2:
            raise ValueError(f"A is a sparse array of shape {matrix.shape}; needed is (m, n).")
        checked_shape(matrix.shape, torch.float64)
        matrix = _with_right_indices(matrix)
        if matrix.dtype.kind in "biu":
            matrix = matrix.astype(str(precision).removeprefix("torch."))
        return Sparse(matrix, device=device)
    if is_array(A):
        values, as_numpy = read("A", A)
        whole = not (values.is_floating_point() or values.is_complex())
        values = values.to(precision) if whole else workable(values)
        dense = Dense(values.to(device) if as_numpy else values)
        if not isinstance(A, np.ndarray | Tensor):
            dense.column_names, dense.row_names = column_names(A), index_of(A)
        return dense
    raise TypeError(
        f"A is a {type(A).__name__}; needed is a matrix (torch or NumPy), a SciPy sparse matrix, a LinearOperator, "
        "a pursuit Operator, a linear physics, or a (forward, adjoint, shape) triple."
    )


def _with_right_indices(matrix: Any) -> Any:
    """The sparse matrix, if its indices are in it: products of SciPy would read other memory, or end the process."""
    try:
        return checked_sparse(matrix)
    except ValueError as problem:
        raise ValueError(f"A is a damaged sparse matrix: {problem}; build it anew from its entries.") from None


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
    dtype = _torch_dtype(A.dtype)
    shape = checked_shape(A.shape, dtype)
    try:
        A.rmatmat(np.zeros((shape[0], 1), dtype=A.dtype))
    except (NotImplementedError, TypeError) as problem:
        raise TypeError(
            f"A is a {type(A).__name__} without a working rmatvec ({problem}); needed is the adjoint, as all solvers "
            "correlate residuals with columns: make it with rmatvec=..., the product with the conjugate transpose."
        ) from None
    return FunctionOperator(
        lambda x: _Outside.apply(x, A.matmat, A.rmatmat),
        lambda y: _Outside.apply(y, A.rmatmat, A.matmat),
        shape,
        dtype=dtype,
        device=device,
        column_norms=pylops_norms.column_norms(A) if column_norms is None else column_norms,
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
    op = operator if isinstance(operator, Operator) else as_operator(operator)
    rng = torch.Generator().manual_seed(seed)
    x, y = (
        torch.randn(*op.batch_shape, size, dtype=op.dtype, generator=rng, device=rng.device).to(op.device)
        for size in reversed(op.shape)
    )
    return _gap(x, y, op.forward(x), op.adjoint(y))


def check_adjoint(op: Operator) -> None:
    """Raise ValueError if the adjoint of an operator is wrong, which one dot test with fixed vectors shows."""
    with torch.no_grad():
        x = _random(op, op.shape[1], 0)
        Ax = op.forward(x)
        y = _mixed(op, Ax)
        _refuse_wrong_adjoint(_gap(x, y, Ax, op.adjoint(y)))


def _refuse_wrong_adjoint(gap: float) -> None:
    if not gap <= MOST_GAP:
        raise ValueError(
            f"the adjoint of A is wrong: <A x, y> and <x, A^H y> differ by {gap:.2g} of their size; needed is at most "
            f"{MOST_GAP:g}. The adjoint is the product with the conjugate transpose, in the same scale as A; "
            "pursuit.adjoint_gap(A) is the test."
        )


def _tested(A: Operator) -> Operator:
    """An operator of a user's class, after a test of its adjoint, once."""
    facts = A.__dict__.setdefault("_facts", {})
    if not facts.get("tested") and A.device.type != "meta" and not torch.compiler.is_compiling():
        checked_shape(A.shape, A.dtype)
        check_adjoint(A)
        facts["tested"] = True
    return A


def _random(op: Operator, size: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*op.batch_shape, size, dtype=op.dtype, generator=rng, device=rng.device).to(op.device)


def _mixed(op: Operator, Ax: Tensor) -> Tensor:
    """What A made of one vector and as much noise: in a dot test with it a wrong factor shows in any dimension."""
    Ax, noise = _near_one(Ax, Ax.abs().amax(-1, keepdim=True)), _random(op, op.shape[0], 1)
    length = Ax.norm(dim=-1, keepdim=True)
    return Ax / torch.where(length > 0, length, 1) + noise / noise.norm(dim=-1, keepdim=True)


def _gap(x: Tensor, y: Tensor, Ax: Tensor, Ay: Tensor) -> float:
    """The difference of `<A x, y>` and `<x, A^H y>` relative to their size, whatever the scale of A."""
    largest = torch.maximum(Ax.abs().amax(-1, keepdim=True), Ay.abs().amax(-1, keepdim=True))
    Ax, Ay = _near_one(Ax, largest), _near_one(Ay, largest)
    gap = torch.linalg.vecdot(Ax, y) - torch.linalg.vecdot(x, Ay)
    size = Ax.norm(dim=-1) * y.norm(dim=-1) + x.norm(dim=-1) * Ay.norm(dim=-1)
    return (gap.abs() / size.clamp(min=torch.finfo(size.dtype).tiny)).max().item()


def _near_one(v: Tensor, largest: Tensor) -> Tensor:
    """`v` over the power of two next to `largest`: squares then stay in range."""
    exponent = torch.frexp(torch.where(largest.isfinite(), largest, 1)).exponent
    half = exponent // 2  # in two steps, since the power itself may not be a number
    return (v * torch.exp2(-half.to(largest.dtype))) * torch.exp2((half - exponent).to(largest.dtype))


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
