"""Sensing operators: linear maps known by what they do, not by their entries.

Every solver sees only `Operator`: `forward`, `adjoint`, `columns`. A dense matrix is one operator among others,
the signal axis is last, and any leading dimensions are a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from .checks import placed

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
PROBES = 2**22  # entries of the unit vectors, or of the atoms, that are formed at a time to find atoms out

Made = TypeVar("Made", bound="Operator")


def gather_last(values: Tensor, index: Tensor) -> Tensor:
    """Take `values[..., index]` where either side may lack the other's batch dimensions."""
    if values.ndim == 1:
        return values[index]
    batch = torch.broadcast_shapes(values.shape[:-1], index.shape[:-1])
    return values.expand(*batch, -1).gather(-1, index.expand(*batch, -1))


class Operator:
    """A linear map from signals `(*batch, n)` to measurements `(*batch, m)`.

    A subclass gives `forward` and `adjoint`; the rest follows from them and is overridden where a formula is
    quicker.

    What solvers derive from an operator (column norms, the largest eigenvalue, the Gram matrix) is kept on it: hold on
    to `A = pursuit.as_operator(A)` where many calls share one matrix. A tensor that requires a gradient keeps nothing,
    and a tensor that is written to starts anew. Only writes to a NumPy array under an operator, or to what a function
    closes over, cannot be seen: make a new operator then.

    Attributes
    ----------
    shape : tuple of int
        `(m, n)`.
    dtype, device
        Of the signals and measurements.
    batch_shape : torch.Size
        The operator's own batch: `()` for one operator shared by all signals.

    Examples
    --------
    >>> import torch, pursuit
    >>> class Difference(pursuit.Operator):
    ...     shape, dtype, device = (3, 4), torch.float64, torch.device("cpu")
    ...     def forward(self, x):
    ...         return x[..., 1:] - x[..., :-1]
    ...     def adjoint(self, y):
    ...         return torch.nn.functional.pad(y, (1, 0)) - torch.nn.functional.pad(y, (0, 1))
    >>> pursuit.adjoint_gap(Difference()) < 1e-12
    True
    """

    shape: tuple[int, int]
    dtype: torch.dtype
    device: torch.device
    batch_shape: torch.Size = torch.Size()

    def forward(self, x: Tensor) -> Tensor:
        """Measure: `A x`, `(*batch, n) -> (*batch, m)`."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x)")

    def adjoint(self, y: Tensor) -> Tensor:
        """Back-project: `A^H y`, `(*batch, m) -> (*batch, n)`."""
        raise NotImplementedError(f"{type(self).__name__} must define adjoint(y)")

    def residual(self, y: Tensor, x: Tensor) -> Tensor:
        """What `x (*batch, n)` leaves of `y (*batch, m)`: `y - A x`."""
        return y - self.forward(x)

    def descend(self, x: Tensor, r: Tensor, eta: Tensor | float) -> Tensor:
        """A gradient step from `x (*batch, n)` with its residual `r (*batch, m)`: `x + eta A^H r`."""
        return x + self.adjoint(eta * r)

    def columns(self, index: Tensor) -> Tensor:
        """The atoms `A[:, index]`: `(*batch, p) -> (*batch, m, p)`."""
        if self.batch_shape:
            raise NotImplementedError(f"{type(self).__name__} has a batch and must define columns(index)")
        m, n = self.shape
        parts = index.reshape(-1).split(max(1, PROBES // n))
        atoms = [self.forward(torch.nn.functional.one_hot(part, n).to(self.dtype)) for part in parts]
        return torch.cat(atoms).reshape(*index.shape, m).mT

    def column_norms(self) -> Tensor:
        """Euclidean norm of every atom, `(*batch_shape, n)`, real."""
        m, n = self.shape
        parts = torch.arange(n, device=self.device).split(max(1, PROBES // m))
        return torch.cat([torch.linalg.vector_norm(self.columns(part), dim=-2) for part in parts], dim=-1)

    def to_dense(self) -> Tensor:
        """The matrix, `(*batch_shape, m, n)`."""
        return self.columns(torch.arange(self.shape[1], device=self.device))

    def items(self, keep: Tensor) -> Operator:
        """The operators of the batch items where the boolean mask `keep` holds, batch flattened to one axis."""
        if self.batch_shape:
            raise NotImplementedError(f"{type(self).__name__} has a batch and must define items(keep)")
        return self

    def on_sets(self) -> Operator:
        """The same map for a set of signals per item: it takes `(*batch, p, n)` where this one takes `(*batch, n)`."""
        if self.batch_shape:
            raise NotImplementedError(f"{type(self).__name__} has a batch and must define on_sets()")
        return self

    def complexified(self) -> Operator:
        """The same map on complex signals; itself where it is complex already."""
        return self if self.dtype.is_complex else self._sharing("complexified", OnBothParts(self))

    def normalised(self) -> ColumnScaled:
        """The operator with columns of norm one, where a column of zeros stays as it is.

        Its `scale` turns coefficients of unit columns into those of this operator's.

        Raises
        ------
        ValueError
            If a column has entries that are NaN or infinite, or a norm that overflows.
        """
        scale = self.kept("inverse norms", lambda: _inverse_norms(self))
        return self._sharing("of unit columns", ColumnScaled(self, scale))

    def norm2(self) -> Tensor:
        """The square of the spectral norm, the largest eigenvalue of `A^H A`, `(*batch_shape,)`; a constant."""
        return self.kept("norm2", lambda: spectral_norm_squared(self))

    @property
    def requires_grad(self) -> bool:
        """Whether a tensor that it holds requires a gradient."""
        return any(tensor.requires_grad for tensor in _tensors(self))

    def kept(self, name: str, derive: Callable[[], Tensor]) -> Tensor:
        """What `derive` returns, derived once, until a tensor that the operator holds changes or wants a gradient."""
        facts, tensors = self.__dict__.setdefault("_facts", {}), _tensors(self)
        if "learned" in facts or any(tensor.requires_grad for tensor in tensors):
            return derive()
        versions = [None if tensor.is_inference() else tensor._version for tensor in tensors]
        if name in facts:
            before, then, value = facts[name]
            if then == versions and all(old is now for old, now in zip(before, tensors, strict=True)):
                return value
        with torch.inference_mode(False), torch.enable_grad():  # it may outlive the caller's modes
            value = derive()
        if value.requires_grad:  # by something that a function closes over
            facts["learned"] = True
            return derive()
        if type(value) is Tensor:  # else a program is being traced, and this is no number
            facts[name] = tensors, versions, value
        return value

    def keeps(self, name: str) -> bool:
        """Whether a fact of that name was derived before."""
        return name in self.__dict__.get("_facts", {})

    def _sharing(self, name: str, made: Made) -> Made:
        """An operator made of this one, which keeps what is derived from it where this one does.

        This one cannot keep it itself: two that hold each other would stay in memory after their last use.
        """
        vars(made)["_facts"] = self.__dict__.setdefault("_facts", {}).setdefault(name, {})
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Without what is kept: it is derived again where the copy is used."""
        return {name: value for name, value in vars(self).items() if name != "_facts"}

    def __repr__(self) -> str:
        batch = f", batch={tuple(self.batch_shape)}" if self.batch_shape else ""
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype}{batch})"


class Dense(Operator):
    """A matrix, or one matrix per item of the batch.

    Parameters
    ----------
    matrix : Tensor (*batch, m, n)
    conjugate : Tensor (*batch, m, n), optional
        Its complex conjugate, where many products are to come: without it each conjugates a copy.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.Dense(torch.eye(2, 3)).forward(torch.tensor([1.0, 2.0, 3.0]))
    tensor([1., 2.])
    """

    def __init__(self, matrix: Tensor, conjugate: Tensor | None = None):
        if matrix.ndim < 2:
            raise ValueError(
                f"A has shape {tuple(matrix.shape)}; a sensing matrix needs shape (m, n) or (*batch, m, n)."
            )
        check_dtype("A", matrix.dtype)
        self.matrix, self._conjugate = matrix, conjugate
        self.shape = (matrix.shape[-2], matrix.shape[-1])
        self.dtype, self.device = matrix.dtype, matrix.device
        self.batch_shape = matrix.shape[:-2]

    def forward(self, x: Tensor) -> Tensor:
        return _rows_times(x, self._transpose)

    def adjoint(self, y: Tensor) -> Tensor:
        return _rows_times(y, self._adjoint)

    def descend(self, x: Tensor, r: Tensor, eta: Tensor | float) -> Tensor:
        if x.ndim != 2 or r.shape[:-1] != x.shape[:-1] or self.batch_shape:
            return super().descend(x, r, eta)
        # One pass over memory fewer than a product and a sum.
        if isinstance(eta, Tensor):
            return torch.addmm(x, eta * r, self._adjoint)
        return torch.addmm(x, r, self._adjoint, alpha=eta)

    @property
    def _adjoint(self) -> Tensor:
        """What measurements, as rows, are multiplied by."""
        return self.matrix.conj() if self._conjugate is None else self._conjugate

    @property
    def _transpose(self) -> Tensor:
        """What signals, as rows, are multiplied by; its own conjugate, which derivatives need, is then at hand too."""
        return self.matrix.mT if self._conjugate is None else self._conjugate.mH

    def columns(self, index: Tensor) -> Tensor:
        if not self.batch_shape:
            return self.matrix.mT[index].mT
        return gather_last(self.matrix, index.unsqueeze(-2))

    def column_norms(self) -> Tensor:
        return torch.linalg.vector_norm(self.matrix, dim=-2)

    def to_dense(self) -> Tensor:
        return self.matrix

    def items(self, keep: Tensor) -> Operator:
        return Dense(_keep(self.matrix, keep, own=2)) if self.batch_shape else self

    def on_sets(self) -> Operator:
        return Dense(self.matrix.unsqueeze(-3)) if self.batch_shape else self

    def complexified(self) -> Operator:
        if self.dtype.is_complex:
            return self
        matrix = self.kept("complex", lambda: torch.complex(self.matrix, torch.zeros_like(self.matrix)))
        return self._sharing("complexified", Dense(matrix))


class SubsampledFourier(Operator):
    """Chosen rows of the discrete Fourier transform, by FFT.

    `(A x)_i = scale * sum_j exp(-2 pi i rows_i j / period) x_j`

    Parameters
    ----------
    rows : int sequence (m,)
        Frequencies, taken modulo `period`.
    n : int
        Signal length.
    period : int, default n
        Length of the transform, at least `n`: shorter signals are padded with zeros. An OFDM channel of n taps, seen
        on pilots among `period` subcarriers, is measured like this.
    scale : float, default 1 / sqrt(m)
        The default makes the columns unit vectors.
    dtype : complex dtype, default torch.complex128
    device : optional

    Raises
    ------
    ValueError
        If the rows are not whole numbers, the period is shorter than the signal or the dtype is not complex.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = pursuit.SubsampledFourier([0, 2], n=4, scale=1)
    >>> A.forward(torch.tensor([1, 2, 3, 4], dtype=A.dtype)).real
    tensor([10., -2.], dtype=torch.float64)
    >>> pilots = pursuit.SubsampledFourier([0, 16, 32, 48], n=3, period=64, scale=1)
    >>> pilots.forward(torch.tensor([1, 0, 1], dtype=A.dtype)).real.round()
    tensor([2., 0., 2., 0.], dtype=torch.float64)
    """

    def __init__(
        self,
        rows: Tensor | Sequence[int],
        n: int,
        *,
        period: int | None = None,
        scale: float | None = None,
        dtype: torch.dtype = torch.complex128,
        device: torch.device | str | None = None,
    ):
        rows = torch.as_tensor(rows, device=rows.device if isinstance(rows, Tensor) and device is None else device)
        if rows.ndim != 1 or rows.is_floating_point() or rows.is_complex() or rows.numel() == 0:
            raise ValueError(
                f"rows has shape {tuple(rows.shape)} and dtype {rows.dtype}; it needs a list of whole frequencies."
            )
        if not dtype.is_complex:
            raise ValueError(f"dtype is {dtype}; a Fourier operator is complex: use complex64 or complex128.")
        self.period = n if period is None else period
        if self.period < n:
            raise ValueError(
                f"period is {period} and the signal has n={n} samples; needed is period >= n, for a longer signal "
                "would wrap around."
            )
        self.rows = rows.long() % self.period
        self.shape = (rows.numel(), n)
        self.scale = 1 / math.sqrt(rows.numel()) if scale is None else float(scale)
        self.dtype, self.device = dtype, rows.device

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * _fft(x, self.period)[..., self.rows]

    def adjoint(self, y: Tensor) -> Tensor:
        spectrum = y.new_zeros(*y.shape[:-1], self.period).index_add(-1, self.rows, y)
        return _ifft(spectrum)[..., : self.shape[1]] * (self.period * self.scale)

    def columns(self, index: Tensor) -> Tensor:
        # Whole turns are taken off in integers: the angle keeps its digits however long the signal is.
        turns = (self.rows.unsqueeze(-1) * index.unsqueeze(-2) % self.period).double() / self.period
        return (self.scale * torch.exp(-2j * math.pi * turns)).to(self.dtype)

    def column_norms(self) -> Tensor:
        m, n = self.shape
        real = torch.empty(0, dtype=self.dtype).real.dtype
        return torch.full((n,), abs(self.scale) * math.sqrt(m), dtype=real, device=self.device)


class Convolution(Operator):
    """Convolution with a kernel, by FFT.

    Parameters
    ----------
    kernel : Tensor (*batch, length)
        Real or complex; `length <= n`.
    n : int
        Signal length.
    boundary : {"circular", "full", "same", "valid"}
        What happens at the ends. "circular" wraps around (m = n); "full" keeps every sample that a spike reaches
        (m = n + length - 1); "same" pads with zeros and keeps the central n; "valid" keeps only samples that the
        whole kernel covers (m = n - length + 1). For "circular" and "same" the kernel is centred at its sample
        `length // 2`, so that a spike stays where it is.

    Raises
    ------
    ValueError
        If the kernel is empty or longer than the signal, or the boundary is none of these.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = pursuit.Convolution(torch.tensor([1.0, 2.0, 1.0]), n=5, boundary="same")
    >>> A.forward(torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])).round(decimals=4).abs()
    tensor([0., 1., 2., 1., 0.])
    """

    def __init__(self, kernel: Tensor, n: int, boundary: str = "circular"):
        length = kernel.shape[-1] if kernel.ndim else 0
        if not 1 <= length <= n:
            raise ValueError(f"the kernel has {length} samples and the signal n={n}; needed is 1 <= length <= n.")
        check_dtype("kernel", kernel.dtype)
        # Each mode is a window of one circular convolution of length `period`, starting at `start`.
        windows = {
            "circular": (n, n, length // 2),
            "full": (n + length - 1, n + length - 1, 0),
            "same": (n + length - 1, n, length // 2),
            "valid": (n + length - 1, n - length + 1, length - 1),
        }
        if boundary not in windows:
            raise ValueError(f"boundary is {boundary!r}; choose one of {', '.join(map(repr, windows))}.")
        self.boundary = boundary
        self.period, m, start = windows[boundary]
        self.kernel = kernel
        self.shape = (m, n)
        self.dtype, self.device = kernel.dtype, kernel.device
        self.batch_shape = kernel.shape[:-1]
        self._start = start
        self._window = (start + torch.arange(m, device=kernel.device)) % self.period
        self._spectrum = _fft(kernel, self.period)

    def forward(self, x: Tensor) -> Tensor:
        full = _ifft(self._spectrum * _fft(x, self.period))
        return self._as_dtype(full[..., self._window])

    def adjoint(self, y: Tensor) -> Tensor:
        full = y.new_zeros(*y.shape[:-1], self.period).index_copy(-1, self._window, y)
        back = _ifft(self._spectrum.conj() * _fft(full))
        return self._as_dtype(back[..., : self.shape[1]])

    def columns(self, index: Tensor) -> Tensor:
        lag = (self._window.unsqueeze(-1) - index.unsqueeze(-2)) % self.period
        pad = self.period - self.kernel.shape[-1]
        kernel = torch.nn.functional.pad(self.kernel, (0, pad))
        return gather_last(kernel, lag.flatten(-2)).unflatten(-1, lag.shape[-2:])

    def column_norms(self) -> Tensor:
        (m, n), length = self.shape, self.kernel.shape[-1]
        if self.boundary == "circular":  # every column holds the whole kernel, as those of "full" do
            return Convolution(self.kernel, n, "full").column_norms()
        # Column j holds the kernel's samples from start - j on, m of them.
        energy = torch.nn.functional.pad(self.kernel.abs().square(), (n - 1 - self._start, self._start + m - length))
        squared = _window_sums(energy, m).flip(-1)
        positive = squared > 0  # guards the derivative of the root at zero
        return torch.where(positive, torch.where(positive, squared, 1).sqrt(), 0)

    def items(self, keep: Tensor) -> Operator:
        if not self.batch_shape:
            return self
        return Convolution(_keep(self.kernel, keep, own=1), self.shape[1], self.boundary)

    def on_sets(self) -> Operator:
        return Convolution(self.kernel.unsqueeze(-2), self.shape[1], self.boundary) if self.batch_shape else self

    def _as_dtype(self, values: Tensor) -> Tensor:
        return values if self.dtype.is_complex else values.real


class Compose(Operator):
    """The product of operators, `Compose(A, B).forward(x) == A.forward(B.forward(x))`.

    Parameters
    ----------
    *operators : Operator
        From the measurement side to the signal side; inner sizes, dtypes and devices must agree.

    Raises
    ------
    ValueError
        If they do not fit together.

    Examples
    --------
    >>> import torch, pursuit
    >>> half, double = pursuit.Dense(torch.eye(2, 3) / 2), pursuit.Dense(2 * torch.eye(3))
    >>> pursuit.Compose(half, double).forward(torch.tensor([1.0, 2.0, 3.0]))
    tensor([1., 2.])
    """

    def __init__(self, *operators: Operator):
        if not operators:
            raise ValueError("Compose needs at least one operator.")
        for left, right in pairwise(operators):
            if left.shape[1] != right.shape[0]:
                raise ValueError(
                    f"{left!r} takes {left.shape[1]} values but {right!r} gives {right.shape[0]}; the sizes must agree."
                )
            if (left.dtype, placed(left.device)) != (right.dtype, placed(right.device)):
                raise ValueError(
                    f"{left!r} on {left.device} and {right!r} on {right.device} differ in dtype or device; "
                    "use one dtype and device (op.complexified() makes a real operator complex)."
                )
        self.operators = operators
        self.shape = (operators[0].shape[0], operators[-1].shape[1])
        self.dtype, self.device = operators[0].dtype, operators[0].device
        self.batch_shape = torch.broadcast_shapes(*(op.batch_shape for op in operators))

    def forward(self, x: Tensor) -> Tensor:
        for op in reversed(self.operators):
            x = op.forward(x)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        for op in self.operators:
            y = op.adjoint(y)
        return y

    def columns(self, index: Tensor) -> Tensor:
        atoms = self.operators[-1].columns(index)
        for op in reversed(self.operators[:-1]):
            atoms = op.on_sets().forward(atoms.mT).mT
        return atoms

    def items(self, keep: Tensor) -> Operator:
        return Compose(*(op.items(keep) for op in self.operators))

    def on_sets(self) -> Operator:
        return Compose(*(op.on_sets() for op in self.operators))


class Diagonal(Operator):
    """Every entry multiplied by its own factor: `diag(values)`. Before another operator it scales the rows.

    Parameters
    ----------
    values : Tensor (*batch, n)

    Raises
    ------
    TypeError, ValueError
        If the values have no axis, or a dtype that the solvers do not take.

    Examples
    --------
    >>> import torch, pursuit
    >>> rows_scaled = pursuit.Compose(pursuit.Diagonal(torch.tensor([1.0, 5.0])), pursuit.Dense(torch.eye(2, 3)))
    >>> rows_scaled.forward(torch.tensor([1.0, 2.0, 3.0]))
    tensor([ 1., 10.])
    """

    def __init__(self, values: Tensor):
        if values.ndim == 0:
            raise ValueError("values is one number; needed is (n,) or (*batch, n), a factor for every entry.")
        check_dtype("values", values.dtype)
        self.values = values
        self.shape = (values.shape[-1], values.shape[-1])
        self.dtype, self.device = values.dtype, values.device
        self.batch_shape = values.shape[:-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.values * x

    def adjoint(self, y: Tensor) -> Tensor:
        return self.values.conj() * y

    def columns(self, index: Tensor) -> Tensor:
        unit = torch.nn.functional.one_hot(index, self.shape[1]).to(self.dtype).mT
        return unit * gather_last(self.values, index).unsqueeze(-2)

    def column_norms(self) -> Tensor:
        return self.values.abs()

    def items(self, keep: Tensor) -> Operator:
        return Diagonal(_keep(self.values, keep, own=1)) if self.batch_shape else self

    def on_sets(self) -> Operator:
        return Diagonal(self.values.unsqueeze(-2)) if self.batch_shape else self


class ColumnScaled(Operator):
    """An operator with every column multiplied by its own factor: `A diag(scale)`.

    Parameters
    ----------
    operator : Operator
    scale : Tensor (n,) or (*batch, n)

    Raises
    ------
    ValueError
        If the scale does not fit the operator.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = pursuit.ColumnScaled(pursuit.Dense(torch.eye(2)), torch.tensor([3.0, 4.0]))
    >>> A.column_norms()
    tensor([3., 4.])
    """

    def __init__(self, operator: Operator, scale: Tensor):
        n = operator.shape[1]
        if scale.shape[-1:] != (n,):
            raise ValueError(f"scale has shape {tuple(scale.shape)}; needed is (n,) or (*batch, n) with n={n}.")
        if scale.is_complex() and not operator.dtype.is_complex:
            raise ValueError("the scale is complex and the operator real; scale operator.complexified() instead.")
        self.operator, self.scale = operator, scale
        self.shape, self.dtype, self.device = operator.shape, operator.dtype, operator.device
        self.batch_shape = torch.broadcast_shapes(operator.batch_shape, scale.shape[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.operator.forward(self.scale * x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.scale.conj() * self.operator.adjoint(y)

    def columns(self, index: Tensor) -> Tensor:
        return self.operator.columns(index) * gather_last(self.scale, index).unsqueeze(-2)

    def to_dense(self) -> Tensor:
        return self.operator.to_dense() * self.scale.unsqueeze(-2)

    def column_norms(self) -> Tensor:
        return self.operator.column_norms() * self.scale.abs()

    def items(self, keep: Tensor) -> Operator:
        scale = _keep(self.scale, keep, own=1) if self.scale.ndim > 1 else self.scale
        return ColumnScaled(self.operator.items(keep), scale)

    def on_sets(self) -> Operator:
        scale = self.scale.unsqueeze(-2) if self.scale.ndim > 1 else self.scale
        return ColumnScaled(self.operator.on_sets(), scale)


class OnBothParts(Operator):
    """A real operator on complex signals: real and imaginary part each by itself."""

    def __init__(self, operator: Operator):
        self.operator = operator
        self.shape, self.device = operator.shape, operator.device
        self.dtype = torch.complex128 if operator.dtype == torch.float64 else torch.complex64
        self.batch_shape = operator.batch_shape

    def forward(self, x: Tensor) -> Tensor:
        return torch.complex(self.operator.forward(x.real), self.operator.forward(x.imag))

    def adjoint(self, y: Tensor) -> Tensor:
        return torch.complex(self.operator.adjoint(y.real), self.operator.adjoint(y.imag))

    def columns(self, index: Tensor) -> Tensor:
        return self.operator.columns(index).to(self.dtype)

    def column_norms(self) -> Tensor:
        return self.operator.column_norms()

    def items(self, keep: Tensor) -> Operator:
        return OnBothParts(self.operator.items(keep))

    def on_sets(self) -> Operator:
        return OnBothParts(self.operator.on_sets())


def _tensors(thing: Any) -> list[Tensor]:
    """The tensors that an operator holds, itself and in its parts."""
    if isinstance(thing, Tensor):
        return [thing]
    if isinstance(thing, Operator):
        return [tensor for name, part in vars(thing).items() if name != "_facts" for tensor in _tensors(part)]
    if isinstance(thing, torch.nn.Module):
        return [*thing.parameters(), *thing.buffers()]
    return [tensor for part in thing for tensor in _tensors(part)] if isinstance(thing, tuple | list) else []


def _inverse_norms(A: Operator) -> Tensor:
    """One over the norm of every column, zero for a column of zeros."""
    norms = A.column_norms()
    if not norms.isfinite().all():
        raise ValueError(
            f"A has entries that are NaN or infinite, or columns whose norm overflows {A.dtype}; clean, drop or scale "
            "those columns first."
        )
    nonzero = norms > torch.finfo(norms.dtype).tiny
    return torch.where(nonzero, 1 / torch.where(nonzero, norms, 1), 0)


def spectral_norm_squared(A: Operator, *, steps: int = 64) -> Tensor:
    """The largest eigenvalue of `A^H A`, `(*batch_shape,)`, by Lanczos from a fixed start.

    It is a constant to automatic differentiation. `steps` bounds the Krylov space; the estimate is from below.
    """
    with torch.no_grad():
        rng = torch.Generator().manual_seed(0)
        start = torch.randn(A.shape[1], dtype=A.dtype, generator=rng, device=rng.device)
        v = start.to(A.device).expand(*A.batch_shape, -1)
        v = v / torch.linalg.vector_norm(v, dim=-1, keepdim=True)
        V, images = [v], []
        m, n = A.shape
        for _ in range(min(steps, m + 1, n)):  # the start has a part in the null space, hence one more than the rank
            w = A.adjoint(A.forward(V[-1]))
            images.append(w)
            basis = torch.stack(V, dim=-1)
            for _ in range(2):  # twice is enough
                w = w - (basis @ (basis.mH @ w.unsqueeze(-1))).squeeze(-1)
            norm = torch.linalg.vector_norm(w, dim=-1, keepdim=True)
            # In an invariant subspace nothing new is left; zero vectors add zero eigenvalues, which change no maximum.
            first = torch.linalg.vector_norm(images[0], dim=-1, keepdim=True)
            small = norm <= 1e3 * torch.finfo(norm.dtype).eps * first
            V.append(torch.where(small, 0, w / torch.where(small, 1, norm)))
            if small.all():
                break
        T = torch.stack(V[:-1], dim=-1).mH @ torch.stack(images, dim=-1)
        return torch.linalg.eigvalsh((T + T.mH) / 2)[..., -1]


def _fft(x: Tensor, n: int | None = None) -> Tensor:
    """The FFT of the last axis, padded to `n`; MKL's fails for an empty batch."""
    return torch.fft.fft(x, n=n, dim=-1) if x.numel() else x.new_zeros(*x.shape[:-1], n or x.shape[-1]) + 0j


def _ifft(x: Tensor) -> Tensor:
    return torch.fft.ifft(x, dim=-1) if x.numel() else x


def _window_sums(values: Tensor, width: int) -> Tensor:
    """The sum of every `width` neighbours along the last axis, with no subtraction: small sums keep their digits."""
    blocks = torch.nn.functional.pad(values, (0, -values.shape[-1] % width)).unflatten(-1, (-1, width))
    until = blocks.cumsum(-1).flatten(-2)  # from the start of the block
    after = blocks.flip(-1).cumsum(-1).flip(-1).flatten(-2)  # to its end
    first = torch.arange(values.shape[-1] - width + 1, device=values.device)
    return after[..., first] + torch.where(first % width == 0, 0, until[..., first + width - 1])


def _rows_times(rows: Tensor, matrix: Tensor) -> Tensor:
    """`rows (*batch, p)` times `matrix (*batch, p, q)`, one product per matrix where several rows share it."""
    if matrix.ndim == 2:
        return rows @ matrix
    if matrix.shape[-3] == 1 and rows.ndim > 1:
        return rows @ matrix.squeeze(-3)
    return (rows.unsqueeze(-2) @ matrix).squeeze(-2)


def _keep(values: Tensor, keep: Tensor, own: int) -> Tensor:
    """The batch items of `values` (whose last `own` axes are not batch) where `keep` holds, flattened."""
    return values.expand(*keep.shape, *values.shape[values.ndim - own :])[keep]


def check_dtype(name: str, dtype: torch.dtype) -> None:
    """Raise TypeError unless the solvers take this dtype."""
    if dtype not in DTYPES:
        raise TypeError(
            f"{name} has dtype {dtype}; needed is float32, float64, complex64 or complex128: convert it first."
        )


def give(value: Tensor, given: Any) -> Any:
    """The value in the form of what was given: a tensor for torch, else an array."""
    return value if isinstance(given, Tensor | Operator) else value.detach().cpu().numpy()
