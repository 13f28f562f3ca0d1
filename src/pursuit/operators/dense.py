"""A matrix as an operator."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import kernels
from .base import Operator, check_dtype, gather_last, kept_items


class Dense(Operator):
    """A matrix, or one matrix per signal.

    Parameters
    ----------
    matrix : Tensor (*batch, m, n)
    conjugate : Tensor (*batch, m, n), optional
        Its complex conjugate, to save time if there are many products; without it each product makes a conjugate copy.

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

    @property
    def at_hand(self) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        return _rows_times(x, self._transpose)

    def adjoint(self, y: Tensor) -> Tensor:
        return _rows_times(y, self._adjoint)

    def gradient_step(self, x: Tensor, r: Tensor, eta: Tensor | float) -> Tensor:
        if x.ndim != 2 or r.shape[:-1] != x.shape[:-1] or self.batch_shape:
            return super().gradient_step(x, r, eta)
        # One pass over memory less than a product and a sum.
        if isinstance(eta, Tensor):
            return torch.addmm(x, eta * r, self._adjoint)
        return torch.addmm(x, r, self._adjoint, alpha=eta)

    @property
    def _adjoint(self) -> Tensor:
        """The matrix that multiplies measurements, which are rows, from the right."""
        return self.matrix.conj() if self._conjugate is None else self._conjugate

    @property
    def _transpose(self) -> Tensor:
        """The matrix that multiplies signals, which are rows, from the right. Derivatives need its conjugate too."""
        return self.matrix.mT if self._conjugate is None else self._conjugate.mH

    def columns(self, index: Tensor) -> Tensor:
        if not self.batch_shape:
            return self.matrix.mT[index].mT
        return gather_last(self.matrix, index.unsqueeze(-2))

    def column_norms(self) -> Tensor:
        A = self.matrix
        if A.ndim > 2 or not (A.is_cpu and kernels.plain(A)) or A.requires_grad:
            return torch.linalg.vector_norm(A, dim=-2)
        # The same sums by NumPy, which reads the rows in turn: ten times as fast as a reduction over a distant axis.
        rows = torch.view_as_real(A.resolve_conj()).flatten(-2) if A.is_complex() else A
        squares = torch.from_numpy(np.einsum("ij,ij->j", rows.numpy(), rows.numpy()))
        return (squares.view(-1, 2).sum(-1) if A.is_complex() else squares).sqrt()

    def to_dense(self) -> Tensor:
        return self.matrix

    def items(self, keep: Tensor) -> Operator:
        return Dense(kept_items(self.matrix, keep, own=2)) if self.batch_shape else self

    def with_inner_batch(self) -> Operator:
        return Dense(self.matrix.unsqueeze(-3)) if self.batch_shape else self

    def complexified(self) -> Operator:
        if self.dtype.is_complex:
            return self
        matrix = self.kept("complex", lambda: torch.complex(self.matrix, torch.zeros_like(self.matrix)))
        return self._sharing("complexified", Dense(matrix))

    def in_double(self) -> Operator:
        if self.dtype.to_real() == torch.float64:
            return self
        double = torch.complex128 if self.dtype.is_complex else torch.float64
        return self._sharing("double", Dense(self.kept("in double", lambda: self.matrix.to(double))))


def _rows_times(rows: Tensor, matrix: Tensor) -> Tensor:
    """`rows (*batch, p)` times `matrix (*batch, p, q)`; one product per matrix if several rows share it."""
    if matrix.ndim == 2:
        return rows @ matrix
    if matrix.shape[-3] == 1 and rows.ndim > 1:
        return rows @ matrix.squeeze(-3)
    return (rows.unsqueeze(-2) @ matrix).squeeze(-2)
