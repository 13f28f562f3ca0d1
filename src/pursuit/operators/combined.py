"""Products of operators, and diagonal operators."""

from __future__ import annotations

import math
from itertools import dropwhile, pairwise
from typing import Any

import torch
from torch import Tensor

from ..arrays import as_tensor, cast, read
from ..checks import placed
from .base import PROBES, Operator, check_dtype, gather_last, kept_items
from .probing import norms_by_rows


class Compose(Operator):
    """The product of operators, `Compose(A, B).forward(x) == A.forward(B.forward(x))`.

    Parameters
    ----------
    *operators : Operator
        From left to right as in a product of matrices; inner sizes, dtypes and devices must agree.

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
            check_alike(left, right)
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
            atoms = op.with_inner_batch().forward(atoms.mT).mT
        return atoms

    @property
    def unitary(self) -> bool:
        return all(op.unitary for op in self.operators)

    @property
    def knows_norms(self) -> bool:
        first, *others = self._without_unitary_left()
        return first.knows_norms and all(isinstance(op, Diagonal) for op in others)

    def column_norms(self) -> Tensor:
        if self.knows_norms:
            first, *others = self._without_unitary_left()
            return math.prod((op.column_norms() for op in others), start=first.column_norms())
        m, n = self.shape
        return norms_by_rows(self, PROBES) if m < n and not self.batch_shape else super().column_norms()

    def norm2(self) -> Tensor:
        kept = self._without_unitary_left()
        while len(kept) > 1 and kept[-1].unitary:
            kept = kept[:-1]
        return kept[0].norm2() if len(kept) == 1 else super().norm2()

    def _without_unitary_left(self) -> list[Operator]:
        """The operators after those on the left that change no length."""
        return list(dropwhile(lambda op: op.unitary, self.operators)) or [self.operators[-1]]

    def items(self, keep: Tensor) -> Operator:
        return Compose(*(op.items(keep) for op in self.operators))

    def with_inner_batch(self) -> Operator:
        return Compose(*(op.with_inner_batch() for op in self.operators))


def check_alike(left: Operator, right: Operator) -> None:
    """Raise ValueError unless two operators have one dtype and device."""
    if (left.dtype, placed(left.device)) != (right.dtype, placed(right.device)):
        raise ValueError(
            f"{left!r} on {left.device} and {right!r} on {right.device} differ in dtype or device; "
            "use one dtype and device (op.complexified() makes a real operator complex)."
        )


class Diagonal(Operator):
    """Multiply every entry by its own factor: `diag(values)`. `Compose(Diagonal(values), A)` scales the rows of A.

    Parameters
    ----------
    values : array (*batch, n)
    dtype : torch.dtype, optional
        Default: that of the values; of a mask (bool) and of whole numbers torch.float64.

    Raises
    ------
    TypeError, ValueError
        If the values have no axis, or a dtype that the solvers do not take.

    Examples
    --------
    >>> import numpy as np, torch, pursuit
    >>> rows_scaled = pursuit.Compose(pursuit.Diagonal(torch.tensor([1.0, 5.0])), pursuit.Dense(torch.eye(2, 3)))
    >>> rows_scaled.forward(torch.tensor([1.0, 2.0, 3.0]))
    tensor([ 1., 10.])

    Measurements that are missing, different ones for each signal, are zero on both sides:

    >>> A, y = np.eye(3) + 1, np.array([[1.0, 2.0, -999.0], [-999.0, 3.0, 6.0]])
    >>> seen = y != -999
    >>> masked = pursuit.Compose(pursuit.Diagonal(seen), pursuit.as_operator(A))
    >>> pursuit.omp(masked, np.where(seen, y, 0), k=1).x
    array([[0., 1., 0.],
           [0., 0., 3.]])
    """

    def __init__(self, values: Any, *, dtype: torch.dtype | None = None):
        values = as_tensor("values", values) if dtype is None else cast("values", read("values", values).values, dtype)
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

    def norm2(self) -> Tensor:
        return self.values.detach().abs().square().amax(-1)

    def items(self, keep: Tensor) -> Operator:
        return Diagonal(kept_items(self.values, keep, own=1)) if self.batch_shape else self

    def with_inner_batch(self) -> Operator:
        return Diagonal(self.values.unsqueeze(-2)) if self.batch_shape else self
