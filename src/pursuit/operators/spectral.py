"""The largest eigenvalue of `A^H A`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .base import Operator


def spectral_norm_squared(A: Operator, *, steps: int = 64) -> Tensor:
    """The largest eigenvalue of `A^H A`, `(*batch_shape,)`, by Lanczos from a fixed start.

    It has no derivative. `steps` limits the size of the Krylov space; the estimate is a lower bound.
    """
    with torch.no_grad():
        rng = torch.Generator().manual_seed(0)
        with torch._C._DisableFuncTorch():  # torch.func.jacfwd allows no random numbers, not even those of a fixed seed
            start = torch.randn(A.shape[1], dtype=A.dtype, generator=rng, device=rng.device)
        v = start.to(A.device).expand(*A.batch_shape, -1)
        v = v / torch.linalg.vector_norm(v, dim=-1, keepdim=True)
        V, images = [v], []
        m, n = A.shape
        for _ in range(min(steps, m + 1, n)):  # rank + 1: the start has a part in the null space
            w = A.adjoint(A.forward(V[-1]))
            images.append(w)
            basis = torch.stack(V, dim=-1)
            for _ in range(2):  # twice is enough
                w = w - (basis @ (basis.mH @ w.unsqueeze(-1))).squeeze(-1)
            norm = torch.linalg.vector_norm(w, dim=-1, keepdim=True)
            # In an invariant subspace w is zero; zero vectors add eigenvalues of zero, which do not change the maximum.
            first = torch.linalg.vector_norm(images[0], dim=-1, keepdim=True)
            small = norm <= 1e3 * torch.finfo(norm.dtype).eps * first
            V.append(torch.where(small, 0, w / torch.where(small, 1, norm)))
            if small.all():
                break
        T = torch.stack(V[:-1], dim=-1).mH @ torch.stack(images, dim=-1)
        return torch.linalg.eigvalsh((T + T.mH) / 2)[..., -1]
