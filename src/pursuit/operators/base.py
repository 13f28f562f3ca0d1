"""Sensing operators: linear maps given by functions, not by their entries.

Solvers use only `Operator`: `forward`, `adjoint`, `columns`. A dense matrix is one of the operators. The signal axis is
last, and any leading axes are a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .. import powers
from ..arrays import DTYPES
from ..names import warn
from .probing import SAMPLES, norms_by_rows, norms_of_columns, probed_norms
from .spectral import spectral_norm_squared

PROBES = 2**22  # most entries of the block of unit vectors, or of atoms, that is formed at a time


Made = TypeVar("Made", bound="Operator")


def gather_last(values: Tensor, index: Tensor) -> Tensor:
    """Take `values[..., index]`; each of the two may lack batch axes of the other."""
    if values.ndim == 1:
        return values[index]
    batch = np.broadcast_shapes(values.shape[:-1], index.shape[:-1])
    return values.expand(*batch, -1).gather(-1, index.expand(*batch, -1))


class Operator:
    """A linear map from signals `(*batch, n)` to measurements `(*batch, m)`.

    A subclass defines `forward` and `adjoint`; the other methods follow from them. Override those for which there is a
    faster formula.

    An operator keeps what solvers derive from it (column norms, the largest eigenvalue, the Gram matrix): if many calls
    share one matrix, make `A = pursuit.as_operator(A)` once and pass it to all of them. Nothing is kept while a tensor
    of the operator requires a gradient, and it is derived again after a write to a tensor. But a write to a NumPy array
    under an operator, or to a variable of your functions, is not noticed: make a new operator after it.

    Attributes
    ----------
    shape : tuple of int
        `(m, n)`.
    dtype, device
        Those of signals and measurements.
    batch_shape : torch.Size
        The operator's own batch: `()` for one operator shared by all signals.
    column_names : array (n,) or None
        The names of the columns, where it was made from a table that has some.
    row_names : array (m,) or None
        Those of the rows likewise, with which the labels of `y` are compared.

    Examples
    --------
    >>> import torch, pursuit
    >>> class Difference(pursuit.Operator):
    ...     shape, dtype, device = (3, 4), torch.float64, torch.device("cpu")
    ...     def forward(self, x):
    ...         return x[..., 1:] - x[..., :-1]
    ...     def adjoint(self, y):
    ...         return torch.nn.functional.pad(y, (1, 0)) - torch.nn.functional.pad(y, (0, 1))
    >>> A = Difference()
    >>> pursuit.adjoint_gap(A) < 1e-12
    True
    >>> x = torch.tensor([1.0, 2.0, 4.0, 7.0], dtype=torch.float64)
    >>> A @ x, A.H @ (A @ x)
    (tensor([1., 2., 3.], dtype=torch.float64), tensor([-1., -1., -1.,  3.], dtype=torch.float64))
    """

    shape: tuple[int, int]
    dtype: torch.dtype
    device: torch.device
    batch_shape: torch.Size = torch.Size()
    column_names: Any = None
    row_names: Any = None

    def forward(self, x: Tensor) -> Tensor:
        """Measure: `A x`, `(*batch, n) -> (*batch, m)`."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x)")

    def adjoint(self, y: Tensor) -> Tensor:
        """Back-project: `A^H y`, `(*batch, m) -> (*batch, n)`."""
        raise NotImplementedError(f"{type(self).__name__} must define adjoint(y)")

    def __matmul__(self, x: Any) -> Any:
        """`A @ x`: `forward(x)`, of a tensor or of what NumPy reads, `(*batch, n) -> (*batch, m)`; NumPy for NumPy.

        A complex `x` and a real `A`, or the other way round, give a complex product; whole numbers are taken in the
        precision of `A`.

        Raises
        ------
        TypeError
            If `x` is an operator, or of another precision than `A`.
        ValueError
            If the shapes do not fit.
        """
        if isinstance(x, Operator):
            raise TypeError("x is an operator; A @ x takes signals: pursuit.Compose(A, B) is the product of operators.")
        if not isinstance(x, Tensor):
            array = np.array(x)
            signals = torch.from_numpy(array.astype(array.dtype.newbyteorder("="))).to(self.device)
            return (self @ signals).detach().cpu().resolve_conj().numpy()
        if x.ndim == 0 or x.shape[-1] != self.shape[1] or not _broadcast(self.batch_shape, x.shape[:-1]):
            batch = f" and a batch {tuple(self.batch_shape)}" if self.batch_shape else ""
            raise ValueError(
                f"x has shape {tuple(x.shape)} and A {self.shape}{batch}; needed is x of shape "
                f"(*batch, {self.shape[1]}): signals are rows."
            )
        numbers = x.is_floating_point() or x.is_complex()
        if numbers and x.dtype.to_real() != self.dtype.to_real():
            raise TypeError(f"x has dtype {x.dtype} and A {self.dtype}; use one precision for both.")
        A = self.complexified() if x.is_complex() else self
        return A.forward(x.to(A.dtype))

    @property
    def H(self) -> Operator:
        """The adjoint as an operator: `A.H @ y` is `adjoint(y)`."""
        return Adjoint(self)

    def hint(self, shape: torch.Size) -> str:
        """What may have gone wrong where measurements have this shape, which does not fit."""
        return ""

    def residual(self, y: Tensor, x: Tensor) -> Tensor:
        """The residual `y - A x (*batch, m)`."""
        return y - self.forward(x)

    def gradient_step(self, x: Tensor, r: Tensor, eta: Tensor | float) -> Tensor:
        """A gradient step from `x (*batch, n)` with its residual `r (*batch, m)`: `x + eta A^H r`."""
        return x + self.adjoint(eta * r)

    def descend(self, x: Tensor, r: Tensor, eta: Tensor | float) -> Tensor:
        """`gradient_step`, by its old name."""
        warn("Operator.descend", "Operator.gradient_step", stacklevel=3)
        return self.gradient_step(x, r, eta)

    def columns(self, index: Tensor) -> Tensor:
        """The atoms `A[:, index]`: `(*batch, p) -> (*batch, m, p)`."""
        if self.batch_shape:
            raise NotImplementedError(f"{type(self).__name__} has a batch and must define columns(index)")
        m, n = self.shape
        parts = index.reshape(-1).split(max(1, PROBES // n))
        atoms = [self.forward(torch.nn.functional.one_hot(part, n).to(self.dtype)) for part in parts]
        return torch.cat(atoms).reshape(*index.shape, m).mT

    def column_norms(self) -> Tensor:
        """Euclidean norm of every atom, `(*batch_shape, n)`, real: exact, by min(m, n) products without a formula."""
        if self.shape[0] < self.shape[1] and type(self).columns is Operator.columns and not self.batch_shape:
            return norms_by_rows(self, PROBES)
        return norms_of_columns(self, PROBES)

    @property
    def knows_norms(self) -> bool:
        """Whether a formula gives the column norms, instead of products."""
        return type(self).column_norms is not Operator.column_norms

    def working_norms(self) -> Tensor:
        """The column norms that solvers use, from at most 1024 products, `(*batch_shape, n)`.

        They are exact if there is a formula, or m or n is at most 1024. Else they are an estimate with a standard error
        of at most 2.2 % for real operators, and 1.6 % for complex ones. By so much a solver's scores may be wrong. The
        coefficients are not, because solvers scale columns and coefficients by the same numbers.
        """
        if self.knows_norms or min(self.shape) <= SAMPLES:
            return self.kept("norms", self.column_norms)
        return self.kept("norms", lambda: probed_norms(self, PROBES))

    def to_dense(self) -> Tensor:
        """The matrix, `(*batch_shape, m, n)`."""
        return self.columns(torch.arange(self.shape[1], device=self.device))

    def items(self, keep: Tensor) -> Operator:
        """The operators of those batch items for which `keep` is true; the batch is flattened to one axis."""
        if self.batch_shape:
            raise NotImplementedError(f"{type(self).__name__} has a batch and must define items(keep)")
        return self

    def with_inner_batch(self) -> Operator:
        """The same map for a set of signals per item: it takes `(*batch, p, n)` where this one takes `(*batch, n)`."""
        if self.batch_shape:
            raise NotImplementedError(f"{type(self).__name__} has a batch and must define with_inner_batch()")
        return self

    def complexified(self) -> Operator:
        """The same map on complex signals; the operator itself if it is complex."""
        return self if self.dtype.is_complex else self._sharing("complexified", Complexified(self))

    def in_double(self) -> Operator:
        """The same map in double precision; the operator itself if it has it.

        Raises
        ------
        TypeError
            If it is known by its functions only, which compute in single precision.
        """
        if self.dtype.to_real() == torch.float64:
            return self
        raise TypeError(
            f"A is a {type(self).__name__} of dtype {self.dtype}, and y has double precision; needed is one precision: "
            f"make A with a dtype of double precision, or pass y in {str(self.dtype.to_real()).removeprefix('torch.')}."
        )

    def normalised(self) -> ColumnScaled:
        """The operator with columns of norm one, by `working_norms`; a column of zeros stays as it is.

        A coefficient of a unit column times `scale` is that of the column of this operator.

        Raises
        ------
        ValueError
            If a column has entries that are NaN or infinite, or a norm near the end of the range of numbers.
        """
        scale = self.kept("inverse norms", lambda: _inverse_norms(self))
        return self._sharing("of unit columns", ColumnScaled(self, scale))

    def norm2(self) -> Tensor:
        """The square of the spectral norm, the largest eigenvalue of `A^H A`, `(*batch_shape,)`; no derivative."""
        return self.kept("norm2", lambda: spectral_norm_squared(self))

    @property
    def unitary(self) -> bool:
        """Whether it is known that `A^H A` and `A A^H` are the identity."""
        return False

    @property
    def requires_grad(self) -> bool:
        """Whether a tensor that it holds requires a gradient."""
        return any(tensor.requires_grad for tensor in _tensors(self))

    def kept(self, name: str, derive: Callable[[], Tensor]) -> Tensor:
        """The result of `derive`, computed once; again if a tensor of the operator changed or needs a gradient."""
        facts, tensors = self.__dict__.setdefault("_facts", {}), _tensors(self)
        if "learned" in facts or any(tensor.requires_grad for tensor in tensors):
            return derive()
        versions = [None if tensor.is_inference() else tensor._version for tensor in tensors]
        if name in facts:
            before, then, value = facts[name]
            if then == versions and all(old is now for old, now in zip(before, tensors, strict=True)):
                return value
        with torch.inference_mode(False), torch.enable_grad():  # the value may be used outside the caller's modes
            value = derive()
        if value.requires_grad:  # because of a tensor in a function of the user
            facts["learned"] = True
            return derive()
        if type(value) is Tensor:  # otherwise torch traces a program, and this is not a value
            facts[name] = tensors, versions, value
        return value

    @property
    def at_hand(self) -> bool:
        """Whether the matrix is in memory."""
        return False

    def keeps(self, name: str) -> bool:
        """Whether a value of this name is kept."""
        return name in self.__dict__.get("_facts", {})

    def _sharing(self, name: str, made: Made) -> Made:
        """An operator with the same rows and columns, with derived values kept in the same place.

        This operator cannot hold the other: two that hold each other stay in memory after their last use.
        """
        if self.column_names is not None or self.row_names is not None:
            made.column_names, made.row_names = self.column_names, self.row_names
        vars(made)["_facts"] = self.__dict__.setdefault("_facts", {}).setdefault(name, {})
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Without derived values: a copy derives them again."""
        return {name: value for name, value in vars(self).items() if name != "_facts"}

    def __repr__(self) -> str:
        batch = f", batch={tuple(self.batch_shape)}" if self.batch_shape else ""
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype}{batch})"


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
        self.batch_shape = torch.Size(np.broadcast_shapes(operator.batch_shape, scale.shape[:-1]))

    @property
    def at_hand(self) -> bool:
        return self.operator.at_hand

    def forward(self, x: Tensor) -> Tensor:
        return self.operator.forward(self.scale * x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.scale.conj() * self.operator.adjoint(y)

    def columns(self, index: Tensor) -> Tensor:
        return self.operator.columns(index) * gather_last(self.scale, index).unsqueeze(-2)

    def to_dense(self) -> Tensor:
        return self.operator.to_dense() * self.scale.unsqueeze(-2)

    @property
    def knows_norms(self) -> bool:
        return self.operator.knows_norms

    def column_norms(self) -> Tensor:
        return column_norms(self.operator) * self.scale.abs()

    def working_norms(self) -> Tensor:
        norms = self.operator.kept("working norms", lambda: _in_range(self.operator, self.operator.working_norms()))
        return norms * self.scale.abs()

    def items(self, keep: Tensor) -> Operator:
        if not self.batch_shape:
            return self  # with all that is kept on it
        scale = kept_items(self.scale, keep, own=1) if self.scale.ndim > 1 else self.scale
        return ColumnScaled(self.operator.items(keep), scale)

    def with_inner_batch(self) -> Operator:
        scale = self.scale.unsqueeze(-2) if self.scale.ndim > 1 else self.scale
        return ColumnScaled(self.operator.with_inner_batch(), scale)


class Adjoint(Operator):
    """`A^H` as an operator.

    Parameters
    ----------
    operator : Operator
    """

    def __init__(self, operator: Operator):
        self.operator = operator
        self.shape, self.dtype, self.device = operator.shape[::-1], operator.dtype, operator.device
        self.batch_shape = operator.batch_shape

    @property
    def H(self) -> Operator:
        return self.operator

    def forward(self, x: Tensor) -> Tensor:
        return self.operator.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.operator.forward(y)

    def columns(self, index: Tensor) -> Tensor:
        if not self.batch_shape:
            return super().columns(index)
        rows = torch.nn.functional.one_hot(index, self.shape[1]).to(self.dtype)
        return self.operator.with_inner_batch().adjoint(rows).mT

    @property
    def unitary(self) -> bool:
        return self.operator.unitary

    @property
    def knows_norms(self) -> bool:
        return self.unitary

    def column_norms(self) -> Tensor:
        return self.operator.column_norms() if self.unitary else super().column_norms()

    def norm2(self) -> Tensor:
        return self.operator.norm2()

    def to_dense(self) -> Tensor:
        return self.operator.to_dense().mH

    def items(self, keep: Tensor) -> Operator:
        return Adjoint(self.operator.items(keep))

    def with_inner_batch(self) -> Operator:
        return Adjoint(self.operator.with_inner_batch())


class Complexified(Operator):
    """A real operator on complex signals, applied to real and imaginary part separately."""

    def __init__(self, operator: Operator):
        self.operator = operator
        self.shape, self.device = operator.shape, operator.device
        self.dtype = torch.complex128 if operator.dtype == torch.float64 else torch.complex64
        self.batch_shape = operator.batch_shape

    @property
    def at_hand(self) -> bool:
        return self.operator.at_hand

    def forward(self, x: Tensor) -> Tensor:
        return torch.complex(self.operator.forward(x.real), self.operator.forward(x.imag))

    def adjoint(self, y: Tensor) -> Tensor:
        return torch.complex(self.operator.adjoint(y.real), self.operator.adjoint(y.imag))

    def columns(self, index: Tensor) -> Tensor:
        return self.operator.columns(index).to(self.dtype)

    @property
    def knows_norms(self) -> bool:
        return self.operator.knows_norms

    @property
    def unitary(self) -> bool:
        return self.operator.unitary

    def column_norms(self) -> Tensor:
        return self.operator.column_norms()

    def working_norms(self) -> Tensor:
        return self.operator.working_norms()

    def norm2(self) -> Tensor:
        return self.operator.norm2()

    def items(self, keep: Tensor) -> Operator:
        return Complexified(self.operator.items(keep))

    def with_inner_batch(self) -> Operator:
        return Complexified(self.operator.with_inner_batch())


def _broadcast(a: torch.Size, b: torch.Size) -> bool:
    """Whether two batches go together."""
    return all(p == q or 1 in (p, q) for p, q in zip(reversed(a), reversed(b), strict=False))


def _tensors(thing: Any) -> list[Tensor]:
    """The tensors of an operator and of its parts."""
    if isinstance(thing, Tensor):
        return [thing]
    if isinstance(thing, Operator):
        return [tensor for name, part in vars(thing).items() if name != "_facts" for tensor in _tensors(part)]
    if isinstance(thing, torch.nn.Module):
        return [*thing.parameters(), *thing.buffers()]
    return [tensor for part in thing for tensor in _tensors(part)] if isinstance(thing, tuple | list) else []


def column_norms(A: Operator) -> Tensor:
    """The norm of every column; those whose squares leave the range of numbers are computed without squaring them."""
    return A.kept("norms in range", lambda: _in_range(A, A.column_norms()))


def _in_range(A: Operator, norms: Tensor) -> Tensor:
    far = ~powers.squares_fit(norms.detach()).reshape(-1, norms.shape[-1]).all(0)
    if not far.any():
        return norms
    columns = far.nonzero().squeeze(-1)
    parts = columns.split(max(1, PROBES // A.shape[0]))
    right = [powers.norm(A.columns(part.expand(*A.batch_shape, -1)), dim=-2) for part in parts]
    return norms.index_copy(-1, columns, torch.cat(right, dim=-1))


def _inverse_norms(A: Operator) -> Tensor:
    """One over the norm of every column; zero for a column of zeros."""
    norms = A.working_norms()
    if powers.squares_fit(norms.detach()).all():
        return 1 / norms
    norms = _in_range(A, norms)
    least = 2.0**16 * torch.finfo(norms.dtype).tiny  # what is computed with such columns is still exact
    nonzero = norms != 0
    if not (((norms >= least) | ~nonzero) & (norms <= 1 / least)).all():
        if not norms.isfinite().all():
            raise ValueError(
                f"A has entries that are NaN or infinite, or columns whose norm overflows {A.dtype}; clean, drop or "
                "scale those columns first."
            )
        low, high = norms[nonzero].min().item(), norms.max().item()
        raise ValueError(
            f"A has columns of norm {low:.3g} to {high:.3g}; needed is {least:.3g} to {1 / least:.3g} in {A.dtype}, or "
            "zero: scale A, or use double precision."
        )
    return torch.where(nonzero, 1 / torch.where(nonzero, norms, 1), 0)


def near_one(A: Operator) -> Operator:
    """The operator times a power of two that brings its norm near one; itself if its norm is near one already."""
    e = A.kept("exponent", lambda: _exponent(A))
    if (e.abs() <= 16).all():  # the fourth power of the norm is in range
        return A
    return ColumnScaled(A, powers.two_to(-e, A.dtype.to_real()).expand(*A.batch_shape, A.shape[1]))


@torch.no_grad()
def _exponent(A: Operator) -> Tensor:
    """About the binary logarithm of the operator's norm, `(*batch_shape, 1)`, from one product."""
    rng = torch.Generator().manual_seed(0)
    with torch._C._DisableFuncTorch():  # as in `spectral_norm_squared`
        v = torch.randn(A.shape[1], dtype=A.dtype, generator=rng, device=rng.device)
    v = v.to(A.device)
    image = A.forward((v / torch.linalg.vector_norm(v)).expand(*A.batch_shape, -1))
    return torch.where((image == 0).all(-1, keepdim=True), 0, powers.exponent(image))


def kept_items(values: Tensor, keep: Tensor, own: int) -> Tensor:
    """The batch items of `values` for which `keep` is true, flattened; the last `own` axes are not batch."""
    return values.expand(*keep.shape, *values.shape[values.ndim - own :])[keep]


def check_dtype(name: str, dtype: torch.dtype) -> None:
    """Raise TypeError unless the solvers take this dtype."""
    if dtype not in DTYPES:
        raise TypeError(
            f"{name} has dtype {dtype}; needed is float32, float64, complex64 or complex128: convert it first."
        )


def give(value: Tensor, given: Any) -> Any:
    """The value as a tensor if `given` is a tensor or an operator, else as an array."""
    return value if isinstance(given, Tensor | Operator) else value.detach().cpu().numpy()
