"""Shrinkage: the proximal operators of the sparsity penalties, complex-safe."""

from __future__ import annotations

import torch
from torch import Tensor


def soft(x: Tensor, theta: Tensor | float) -> Tensor:
    """Soft threshold: every magnitude lowered by `theta`, down to zero; phases are kept.

    `x max(0, 1 - theta / |x|)`, the proximal operator of `theta ||x||_1`.

    Parameters
    ----------
    x : Tensor (*batch, n)
    theta : Tensor broadcastable to x, or float

    Examples
    --------
    >>> import torch
    >>> from pursuit.shrinkage import soft
    >>> soft(torch.tensor([3.0, -0.5]), 1.0).round(decimals=4).tolist()
    [2.0, 0.0]
    """
    magnitude = x.abs()
    positive = magnitude > theta  # guards the division, and its derivative, at x = 0
    factor = 1 - theta / torch.where(positive, magnitude, 1)
    return torch.where(positive, factor * x, 0)
