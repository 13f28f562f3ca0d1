"""Operators above, beside and diagonal to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .base import Operator
from .combined import check_alike


class VStack(Operator):
    """Several measurements of one signal, one above the other: `VStack(A, B) @ x` is `[A @ x, B @ x]`.

    Parameters
    ----------
    *operators : Operator
        With equally many columns, and one dtype and device.

    Raises
    ------
    ValueError
        If they do not fit together.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = pursuit.VStack(pursuit.Dense(torch.eye(2)), pursuit.Dense(torch.ones(1, 2)))
    >>> A @ torch.tensor([1.0, 2.0])
    tensor([1., 2., 3.])
    """

    def __init__(self, *operators: Operator):
        self.operators = operators
        self.dtype, self.device, self.batch_shape = _in_common(operators, "VStack", 1, "columns")
        self._rows = [op.shape[0] for op in operators]
        self.shape = (sum(self._rows), operators[0].shape[1])

    def forward(self, x: Tensor) -> Tensor:
        return joined([op.forward(x) for op in self.operators])

    def adjoint(self, y: Tensor) -> Tensor:
        return summed(_each([op.adjoint for op in self.operators], y, self._rows))

    def columns(self, index: Tensor) -> Tensor:
        return joined([op.columns(index) for op in self.operators], axes=2)

    @property
    def knows_norms(self) -> bool:
        return all(op.knows_norms for op in self.operators)

    def column_norms(self) -> Tensor:
        return root_of_squares([op.column_norms() for op in self.operators])

    def working_norms(self) -> Tensor:
        return root_of_squares([op.working_norms() for op in self.operators])

    def norm2(self) -> Tensor:
        return _sum_of_norms(self.operators) if all(op.unitary for op in self.operators) else super().norm2()

    def items(self, keep: Tensor) -> Operator:
        return VStack(*(op.items(keep) for op in self.operators))

    def with_inner_batch(self) -> Operator:
        return VStack(*(op.with_inner_batch() for op in self.operators))


class HStack(Operator):
    """Several dictionaries side by side: `HStack(A, B) @ [x, z]` is `A @ x + B @ z`.

    Parameters
    ----------
    *operators : Operator
        With equally many rows, and one dtype and device.

    Raises
    ------
    ValueError
        If they do not fit together.

    Examples
    --------
    >>> import torch, pursuit  # a signal of one spike and one cosine
    >>> spikes = pursuit.Diagonal(torch.ones(32, dtype=torch.float64))
    >>> A = pursuit.HStack(spikes, pursuit.DCT(32).H)
    >>> x = torch.zeros(64, dtype=torch.float64)
    >>> x[[5, 32 + 9]] = 1
    >>> pursuit.omp(A, A @ x, k=2).support
    tensor([ 5, 41])
    """

    def __init__(self, *operators: Operator):
        self.operators = operators
        self.dtype, self.device, self.batch_shape = _in_common(operators, "HStack", 0, "rows")
        self._columns = [op.shape[1] for op in operators]
        self.shape = (operators[0].shape[0], sum(self._columns))

    def forward(self, x: Tensor) -> Tensor:
        return summed(_each([op.forward for op in self.operators], x, self._columns))

    def adjoint(self, y: Tensor) -> Tensor:
        return joined([op.adjoint(y) for op in self.operators])

    def columns(self, index: Tensor) -> Tensor:
        return summed(_own_columns(self.operators, index))

    @property
    def knows_norms(self) -> bool:
        return all(op.knows_norms for op in self.operators)

    def column_norms(self) -> Tensor:
        return joined([op.column_norms() for op in self.operators])

    def working_norms(self) -> Tensor:
        return joined([op.working_norms() for op in self.operators])

    def norm2(self) -> Tensor:
        return _sum_of_norms(self.operators) if all(op.unitary for op in self.operators) else super().norm2()

    def items(self, keep: Tensor) -> Operator:
        return HStack(*(op.items(keep) for op in self.operators))

    def with_inner_batch(self) -> Operator:
        return HStack(*(op.with_inner_batch() for op in self.operators))


class BlockDiag(Operator):
    """Several problems as one: `BlockDiag(A, B) @ [x, z]` is `[A @ x, B @ z]`.

    Parameters
    ----------
    *operators : Operator
        With one dtype and device.

    Raises
    ------
    ValueError
        If they do not fit together.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = pursuit.BlockDiag(pursuit.Dense(torch.eye(2)), pursuit.Dense(torch.ones(1, 2)))
    >>> A @ torch.tensor([1.0, 2.0, 3.0, 4.0])
    tensor([1., 2., 7.])
    """

    def __init__(self, *operators: Operator):
        self.operators = operators
        self.dtype, self.device, self.batch_shape = _in_common(operators, "BlockDiag")
        self._rows, self._columns = [op.shape[0] for op in operators], [op.shape[1] for op in operators]
        self.shape = (sum(self._rows), sum(self._columns))

    def forward(self, x: Tensor) -> Tensor:
        return joined(_each([op.forward for op in self.operators], x, self._columns))

    def adjoint(self, y: Tensor) -> Tensor:
        return joined(_each([op.adjoint for op in self.operators], y, self._rows))

    def columns(self, index: Tensor) -> Tensor:
        return joined(_own_columns(self.operators, index), axes=2)

    @property
    def unitary(self) -> bool:
        return all(op.unitary for op in self.operators)

    @property
    def knows_norms(self) -> bool:
        return all(op.knows_norms for op in self.operators)

    def column_norms(self) -> Tensor:
        return joined([op.column_norms() for op in self.operators])

    def working_norms(self) -> Tensor:
        return joined([op.working_norms() for op in self.operators])

    def norm2(self) -> Tensor:
        return torch.stack(torch.broadcast_tensors(*(op.norm2() for op in self.operators))).amax(0)

    def items(self, keep: Tensor) -> Operator:
        return BlockDiag(*(op.items(keep) for op in self.operators))

    def with_inner_batch(self) -> Operator:
        return BlockDiag(*(op.with_inner_batch() for op in self.operators))


def joined(parts: Sequence[Tensor], axes: int = 1) -> Tensor:
    """The parts along the first of their last `axes`; each may lack batch axes of others."""
    batch = torch.broadcast_shapes(*(part.shape[: part.ndim - axes] for part in parts))
    return torch.cat([part.expand(*batch, *part.shape[part.ndim - axes :]) for part in parts], dim=-axes)


def summed(parts: Sequence[Tensor]) -> Tensor:
    return sum(parts[1:], parts[0])


def root_of_squares(norms: Sequence[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack(torch.broadcast_tensors(*norms)), dim=0)


def _in_common(
    operators: Sequence[Operator], name: str, axis: int | None = None, what: str = ""
) -> tuple[torch.dtype, torch.device, torch.Size]:
    """The dtype, device and batch of a stack, whose operators are to have one size along an axis, if one is given."""
    if not operators:
        raise ValueError(f"{name} needs at least one operator.")
    first, *others = operators
    for op in others:
        check_alike(first, op)
    if axis is not None and any(op.shape[axis] != first.shape[axis] for op in others):
        raise ValueError(f"{', '.join(map(repr, operators))} have different numbers of {what}; {name} needs the same.")
    return first.dtype, first.device, torch.broadcast_shapes(*(op.batch_shape for op in operators))


def _each(maps: Sequence[Callable[[Tensor], Tensor]], v: Tensor, sizes: list[int]) -> list[Tensor]:
    """What every map makes of its own part of `v`."""
    return [apply(part) for apply, part in zip(maps, v.split(sizes, dim=-1), strict=True)]


def _sum_of_norms(operators: Sequence[Operator]) -> Tensor:
    """The largest eigenvalue for unitary operators above or beside each other."""
    return summed([op.norm2() for op in operators])


def _own_columns(operators: Sequence[Operator], index: Tensor) -> list[Tensor]:
    """Of every operator its columns among those asked for, and zeros in the place of the others."""
    parts, first = [], 0
    for op in operators:
        size = op.shape[1]
        here = (index >= first) & (index < first + size)
        columns = op.columns((index - first).clamp(0, size - 1))
        parts.append(torch.where(here.unsqueeze(-2), columns, 0))
        first += size
    return parts
