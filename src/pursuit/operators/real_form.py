"""Complex problems as real ones of twice the size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..arrays import as_tensor, check_alike
from .adapters import as_operator
from .base import Operator
from .dense import Dense


def on_real_signals(A: Any, y: Any) -> tuple[Operator, Tensor]:
    """The same problem in real numbers, for real signals that a complex operator measures.

    Real and imaginary parts become separate measurements: 2 m real ones instead of m complex ones, for the same n
    unknowns. Every solver is more accurate on this form, because it then knows that the signals are real.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
    y : array (*batch, m)

    Returns
    -------
    A : Operator
        Real, with shape (2 m, n); `A` itself if it is real.
    y : Tensor (*batch, 2 m)

    Examples
    --------
    >>> import pursuit, torch
    >>> A, x = pursuit.SubsampledFourier([1, 2], 8), torch.eye(8, dtype=torch.complex128)[5]
    >>> A_real, y_real = pursuit.on_real_signals(A, A.forward(x))
    >>> A_real.shape, pursuit.omp(A_real, y_real, k=1).support
    ((4, 8), tensor([5]))
    """
    check_alike(A, y)
    y = as_tensor("y", y)
    op = as_operator(A, dtype=y.dtype, device=y.device)
    return real_form(op), stack_parts(y) if op.dtype.is_complex else y


def real_form(A: Operator) -> Operator:
    """The real operator on real signals that measures real parts, then imaginary parts."""
    if not A.dtype.is_complex:
        return A
    real = Dense(torch.cat([A.matrix.real, A.matrix.imag], dim=-2)) if isinstance(A, Dense) else _RealForm(A)
    real.column_names = A.column_names
    return real


def stack_parts(y: Tensor) -> Tensor:
    """Real parts, then imaginary parts, `(*batch, m) -> (*batch, 2 m)`."""
    return torch.cat([y.real, y.imag if y.is_complex() else torch.zeros_like(y)], dim=-1)


class _RealForm(Operator):
    def __init__(self, operator: Operator):
        self.operator = operator
        m, n = operator.shape
        self.shape, self.dtype, self.device = (2 * m, n), operator.dtype.to_real(), operator.device
        self.batch_shape = operator.batch_shape

    def forward(self, x: Tensor) -> Tensor:
        return stack_parts(self.operator.forward(x.to(self.operator.dtype)))

    def adjoint(self, y: Tensor) -> Tensor:
        return self.operator.adjoint(torch.complex(*y.chunk(2, dim=-1))).real

    def columns(self, index: Tensor) -> Tensor:
        return stack_parts(self.operator.columns(index).mT).mT

    @property
    def knows_norms(self) -> bool:
        return self.operator.knows_norms

    def column_norms(self) -> Tensor:
        return self.operator.column_norms()

    def working_norms(self) -> Tensor:
        return self.operator.working_norms()

    def items(self, keep: Tensor) -> Operator:
        return _RealForm(self.operator.items(keep))

    def with_inner_batch(self) -> Operator:
        return _RealForm(self.operator.with_inner_batch())
