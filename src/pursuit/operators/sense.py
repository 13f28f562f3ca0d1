"""Several receivers with their own sensitivities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import Operator, gather_last, kept_items
from .combined import Diagonal, check_alike


class Sense(Operator):
    """One measurement of each weighted copy of a signal: `A @ x` is `[F @ (s_1 x), F @ (s_2 x), ...]`.

    In parallel magnetic resonance imaging (SENSE), `s_c` are the sensitivities of the coils, and `F` takes some samples
    of the Fourier transform. K. Pruessmann, M. Weiger, M. Scheidegger, P. Boesiger, "SENSE: sensitivity encoding for
    fast MRI", Magn. Reson. Med. 1999.

    Parameters
    ----------
    operator : Operator
        `F`, with shape (m, n).
    sensitivities : Tensor (coils, *shape) or (*batch, coils, *shape)
        Of the operator's dtype and device; the product of the shape is n.

    Raises
    ------
    ValueError
        If they do not fit together.

    Examples
    --------
    >>> import torch, pursuit
    >>> rng = torch.Generator().manual_seed(0)
    >>> sampled = torch.rand(16, 16, generator=rng) < 0.2
    >>> coils = torch.randn(4, 16, 16, dtype=torch.complex128, generator=rng)
    >>> A = pursuit.Sense(pursuit.SubsampledFourier(sampled, shape=(16, 16)), coils)
    >>> image = torch.zeros(16, 16, dtype=torch.complex128)
    >>> image[[3, 9], [4, 1]] = torch.tensor([2, 1], dtype=torch.complex128)
    >>> pursuit.omp(A, A @ image.flatten(), k=2).support.sort().values
    tensor([ 52, 145])
    """

    def __init__(self, operator: Operator, sensitivities: Tensor):
        m, n = operator.shape
        maps = _flat(sensitivities, n)
        self.operator, self.maps = operator, maps
        check_alike(operator, Diagonal(maps))
        self.shape = (maps.shape[-2] * m, n)
        self.dtype, self.device = operator.dtype, operator.device
        self.batch_shape = torch.broadcast_shapes(operator.batch_shape, maps.shape[:-2])

    def forward(self, x: Tensor) -> Tensor:
        return self.operator.with_inner_batch().forward(self.maps * x.unsqueeze(-2)).flatten(-2)

    def adjoint(self, y: Tensor) -> Tensor:
        copies = y.unflatten(-1, (self.maps.shape[-2], -1))
        return (self.maps.conj() * self.operator.with_inner_batch().adjoint(copies)).sum(-2)

    def columns(self, index: Tensor) -> Tensor:
        factors = gather_last(self.maps, index.unsqueeze(-2))  # (*batch, coils, p)
        return (factors.unsqueeze(-2) * self.operator.columns(index).unsqueeze(-3)).flatten(-3, -2)

    @property
    def knows_norms(self) -> bool:
        return self.operator.knows_norms

    def column_norms(self) -> Tensor:
        return torch.linalg.vector_norm(self.maps, dim=-2) * self.operator.column_norms()

    def working_norms(self) -> Tensor:
        return torch.linalg.vector_norm(self.maps, dim=-2) * self.operator.working_norms()

    def norm2(self) -> Tensor:
        if not self.operator.unitary:
            return super().norm2()
        return self.maps.detach().abs().square().sum(-2).amax(-1)  # A^H A is diagonal

    def items(self, keep: Tensor) -> Operator:
        maps = kept_items(self.maps, keep, own=2) if self.maps.ndim > 2 else self.maps
        return Sense(self.operator.items(keep), maps)

    def with_inner_batch(self) -> Operator:
        maps = self.maps.unsqueeze(-3) if self.maps.ndim > 2 else self.maps
        return Sense(self.operator.with_inner_batch(), maps)


def _flat(maps: Tensor, n: int) -> Tensor:
    """The maps with a flat signal, `(*batch, coils, n)`."""
    for count in range(1, maps.ndim):
        if math.prod(maps.shape[-count:]) == n:
            return maps.flatten(-count)
    raise ValueError(
        f"the sensitivities have shape {tuple(maps.shape)} and the operator takes signals of {n} samples; needed is "
        "(coils, *shape), where the product of the shape is the number of samples."
    )
