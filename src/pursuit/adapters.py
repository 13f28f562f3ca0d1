"""Operators made of what users have: arrays, functions, other libraries' operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .operators import DTYPES, Dense, Operator, check_dtype


class Callables(Operator):
    """An operator from two functions on tensors.

    Parameters
    ----------
    forward : callable, (*batch, n) -> (*batch, m)
    adjoint : callable, (*batch, m) -> (*batch, n)
    shape : (m, n)
    dtype : default torch.float64
    device : default CPU

    Raises
    ------
    TypeError
        If the dtype is not one of float32, float64, complex64, complex128.

    Examples
    --------
    >>> import torch, pursuit
    >>> flip = pursuit.Callables(lambda x: x.flip(-1), lambda y: y.flip(-1), (3, 3), dtype=torch.float32)
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
    ):
        check_dtype("the operator", dtype)
        self._forward, self._adjoint = forward, adjoint
        self.shape = (int(shape[0]), int(shape[1]))
        self.dtype, self.device = dtype, torch.device(device or "cpu")

    def forward(self, x: Tensor) -> Tensor:
        return _sized(self._forward(x), x, self.shape[0], "forward")

    def adjoint(self, y: Tensor) -> Tensor:
        return _sized(self._adjoint(y), y, self.shape[1], "adjoint")


class _Outside(torch.autograd.Function):
    """A linear map that leaves torch (NumPy, SciPy, PyLops); its derivative is its adjoint."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, apply: Callable, back: Callable) -> Tensor:
        ctx.maps = apply, back
        flat = x.detach().cpu().resolve_conj().resolve_neg().numpy().reshape(-1, x.shape[-1])
        # Few outside operators take no signals at all: they get a zero one, and its image is dropped.
        given = flat if len(flat) else np.zeros_like(flat, shape=(1, x.shape[-1]))
        out = np.ascontiguousarray(np.asarray(apply(given.T)).T[: len(flat)])
        if np.iscomplexobj(out) and not x.is_complex():
            raise ValueError("the operator turned a real signal into a complex one; give it a complex dtype.")
        return torch.from_numpy(out).to(x).reshape(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None, None]:
        apply, back = ctx.maps
        return _Outside.apply(grad[0], back, apply), None, None


def _from_numpy_maps(
    apply: Callable,
    back: Callable,
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> Operator:
    """An operator from two maps on NumPy matrices whose columns are signals."""
    return Callables(
        lambda x: _Outside.apply(x, apply, back),
        lambda y: _Outside.apply(y, back, apply),
        shape,
        dtype=dtype,
        device=device,
    )


def from_physics(
    physics: Any,
    signal_shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Operator:
    """A DeepInverse linear physics, by its `A` and `A_adjoint`, on flattened signals.

    Parameters
    ----------
    physics : object with `A(x)` and `A_adjoint(y)` on tensors `(batch, *shape)`
    signal_shape : sequence of int
        Shape of one signal as the physics takes it, for example `(1, 64, 64)`; `n` is its product.
    dtype, device
        Of the signals.

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
    >>> pursuit.from_physics(Mask(), signal_shape=(1, 2, 4))
    Callables(shape=(4, 8), dtype=torch.float32)
    """
    device = torch.device(device or "cpu")
    signal = tuple(int(s) for s in signal_shape)
    probe = physics.A(torch.zeros(1, *signal, dtype=dtype, device=device))
    measured = tuple(probe.shape[1:])

    def forward(x: Tensor) -> Tensor:
        return physics.A(x.reshape(-1, *signal)).reshape(*x.shape[:-1], math.prod(measured))

    def adjoint(y: Tensor) -> Tensor:
        return physics.A_adjoint(y.reshape(-1, *measured)).reshape(*y.shape[:-1], math.prod(signal))

    return Callables(forward, adjoint, (math.prod(measured), math.prod(signal)), dtype=dtype, device=device)


def as_operator(A: Any, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Operator:
    """Make an `Operator` of anything that acts like a matrix.

    Parameters
    ----------
    A : Operator, Tensor or array-like (*batch, m, n), SciPy sparse matrix, SciPy or PyLops `LinearOperator`, \
DeepInverse linear physics with an `img_size`, or a triple `(forward, adjoint, (m, n))` of functions on tensors
    dtype : torch.dtype, optional
        For an `A` that knows no dtype of its own (triples, physics); others keep theirs.
    device : optional
        For an `A` that lives on no device of its own.

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
    if isinstance(A, Operator):
        return A
    if isinstance(A, Tensor):
        if A.layout != torch.strided:
            raise ValueError(f"A is a torch tensor of layout {A.layout}; pass A.to_dense() or a SciPy sparse matrix.")
        return Dense(A)
    if isinstance(A, tuple) and len(A) == 3 and callable(A[0]):
        return Callables(A[0], A[1], A[2], dtype=dtype or torch.float64, device=device)
    if hasattr(A, "A_adjoint") and hasattr(A, "A"):
        signal_shape = getattr(A, "img_size", None) or getattr(A, "img_shape", None)
        if signal_shape is None:
            raise ValueError(
                "this physics does not say its signal's shape; use pursuit.from_physics(physics, signal_shape=...)."
            )
        return from_physics(A, signal_shape, dtype=dtype or torch.float32, device=device)
    if hasattr(A, "rmatmat"):  # SciPy's LinearOperator, and PyLops', which is one
        if not getattr(A, "clinear", True) and np.issubdtype(A.dtype, np.complexfloating):
            raise ValueError(
                f"A is a {type(A).__name__} that is linear for real factors only (its clinear is False), so A (i x) is "
                "not i A x; needed is a complex-linear one, for example pylops' FFT with real=False."
            )
        return _from_numpy_maps(A.matmat, A.rmatmat, A.shape, _torch_dtype(A.dtype), device)
    if hasattr(A, "tocsr"):
        if len(A.shape) != 2:
            raise ValueError(f"A has shape {A.shape}; a sparse matrix needs shape (m, n).")
        rows = A.tocsr()
        back = rows.conj().T.tocsr()
        return _from_numpy_maps(rows.__matmul__, back.__matmul__, A.shape, _torch_dtype(A.dtype), device)
    if isinstance(A, np.ndarray | list | tuple):
        return Dense(as_tensor("A", A).to(device))
    raise TypeError(
        f"A is a {type(A).__name__}; needed is a matrix (torch or NumPy), a SciPy sparse matrix, a LinearOperator, "
        "a pursuit Operator, a linear physics, or a (forward, adjoint, shape) triple."
    )


def as_tensor(name: str, values: Any) -> Tensor:
    """A tensor of a dtype that the solvers take, from a tensor or anything NumPy reads."""
    if isinstance(values, Tensor):
        check_dtype(name, values.dtype)
        return values
    try:
        array = np.asarray(values)
    except ValueError as problem:
        raise ValueError(f"{name} cannot be read as an array: {problem}") from None
    _torch_dtype(array.dtype, name)
    # torch takes neither foreign byte orders, negative strides, nor (without a warning) read-only memory.
    array = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def adjoint_gap(operator: Any, *, seed: int = 0) -> float:
    """The dot test: how far `<A x, y>` is from `<x, A^H y>` for random `x` and `y`.

    Parameters
    ----------
    operator : anything `as_operator` takes
    seed : int, default 0

    Returns
    -------
    float
        `|<Ax, y> - <x, A^H y>|` over `||Ax|| ||y|| + ||x|| ||A^H y||`; rounding error for a right adjoint.

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


def _torch_dtype(dtype: Any, name: str = "A") -> torch.dtype:
    names = {str(d).removeprefix("torch."): d for d in DTYPES}
    found = np.dtype(dtype).newbyteorder("=").name
    if found not in names:
        raise TypeError(
            f"{name} has dtype {found}; needed is float32, float64, complex64 or complex128: convert it, for example "
            "with .astype(float)."
        )
    return names[found]
