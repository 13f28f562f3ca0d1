"""HyperLISTA: ISTA with momentum; thresholds, momentum and support selection are computed from three numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import positive_number, whole_number
from ..operators import PROBES, Operator
from ..shrinkage import soft
from .layers import Network, Sensing, old_attribute, recorded
from .unroll import BackProjection, active


class HyperLISTA(Network):
    """HyperLISTA, `net(y) -> x`: a network with three numbers, found by a grid search on one batch.

    With `e = ||A^+ (A x - y)||_1`: `theta = c_theta gamma e`, momentum `beta = c_beta #{|x_i| > ratio max |x|}`, and
    a share `p = min(max(c_ss log(||A^+ y||_1 / e), 0), 1)` of the entries passes if above the threshold;
    `x = eta(x + gamma W^H (y - A x) + beta (x - x_previous), theta, p)`, from x = 0.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix is part of the network and is saved with it.
    layers : int, default 16
    c_theta, c_beta, c_ss : float
        The three numbers before `tune` or training.
    gamma : float, default 1.0
        Step size of the paper; its code uses 0.05 if the step size is not learned.
    ratio : float, default 0.0
    signals : {"complex", "real part", "real"}
        Signals for a complex `A`; see `OMPNet`.

    Attributes
    ----------
    c : Parameter (3,)
        `c_theta`, `c_beta`, `c_ss`.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

    References
    ----------
    Chen, Liu, Wang, Yin, "Hyperparameter tuning is all you need for LISTA", NeurIPS 2021.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.HyperLISTA(torch.eye(3), layers=4, c_theta=0.1)
    >>> net(torch.tensor([[0.0, 4.0, -1.0]])).detach().round(decimals=2).abs()
    tensor([[0., 4., 1.]])
    """

    leverage: Tensor
    weights = old_attribute("weights", "back_projection")

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        c_theta: float = 1e-2,
        c_beta: float = 1e-3,
        c_ss: float = 0.1,
        gamma: float = 1.0,
        ratio: float = 0.0,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(HyperLISTA, locals())
        self.sensing = Sensing(A, signals)
        self.back_projection = BackProjection(self.sensing, A, None)
        self.layers, self.depth = whole_number("layers", layers, high=10**6), None
        self.gamma, self.ratio = positive_number("gamma", gamma), ratio
        if not isinstance(ratio, int | float) or not 0 <= ratio < 1:
            raise ValueError(f"ratio is {ratio!r}; needed is 0 <= ratio < 1.")
        for name, value in (("c_theta", c_theta), ("c_beta", c_beta), ("c_ss", c_ss)):
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name} is {value!r}; needed is a finite number.")
        self.c = nn.Parameter(torch.tensor([c_theta, c_beta, c_ss]))
        self.register_buffer("leverage", _leverage(self.sensing.A, self.back_projection))

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        back, (c_theta, c_beta, c_ss) = self.back_projection.adjoint(A), self.c
        x = last = y.new_zeros(*y.shape[:-1], A.shape[1])
        c = back(y)
        first = e = self._pseudo_inverse_l1(c)
        for k in active(self):
            if k:
                c = back(A.residual(y, x))  # W^H (y - A x)
                e = self._pseudo_inverse_l1(c)  # ||A^+ (y - A x)||_1
            size = x.abs()
            large = (size > self.ratio * size.amax(-1, keepdim=True)).sum(-1, keepdim=True)
            beta, theta = c_beta * large, c_theta * self.gamma * e  # beta = c_beta #{|x_i| > ratio max |x|}
            tiny = torch.finfo(e.dtype).tiny  # after an exact fit e = 0
            p = (c_ss * torch.log(first.clamp(min=tiny) / e.clamp(min=tiny))).clamp(0, 1)
            z = x + self.gamma * c + beta * (x - last)  # z = x + gamma W^H (y - A x) + beta (x - x_previous)
            size = z.detach().abs()
            # x = eta_theta(z), but a share p of the entries passes
            last, x = x, soft(z, theta, (size >= _quantile(size, 1 - p.detach())) & (size >= theta))
        return self.sensing.to_caller_units(x)

    def tune(
        self,
        y: Tensor,
        x: Tensor,
        *,
        c_theta: Sequence[float] | None = None,
        c_beta: Sequence[float] | None = None,
        c_ss: Sequence[float] | None = None,
    ) -> float:
        """Set the three numbers to those of the grid that have the least error on one batch.

        Parameters
        ----------
        y : Tensor (signals, m)
        x : Tensor (signals, n)
            True signals.
        c_theta, c_beta, c_ss : sequence of float, optional
            The grid. Default the paper's: 11, 11 and 21 values.

        Returns
        -------
        float
            The mean of `||net(y) - x||^2`.
        """
        few, many = [1e-3 + 9e-4 * i for i in range(11)], [0.1 + 0.045 * i for i in range(21)]
        best, least = self.c.tolist(), math.inf
        with torch.no_grad():
            for values in product(c_theta or few, c_beta or few, c_ss or many):
                self.c.copy_(torch.tensor(values))
                loss = float((self(y) - x).abs().square().sum(-1).mean())
                if loss < least:
                    best, least = list(values), loss
            self.c.copy_(torch.tensor(best))
        return least

    def _pseudo_inverse_l1(self, c: Tensor) -> Tensor:
        """`||A^+ r||_1` from `c = W^H r`: `W^H` is the pseudo-inverse times a factor per row."""
        return (self.leverage * c.abs()).sum(-1, keepdim=True)


def _leverage(A: Operator, back_projection: BackProjection) -> Tensor:
    """`a_i^H (A A^H)^+ a_i`, which `A^+ = diag(.) W^H` has: the inverse of `||A^H w_i||^2`."""
    n = A.shape[1]
    parts = torch.arange(n, device=A.device).split(max(1, PROBES // n))
    energies = [A.adjoint(back_projection.columns(part).mT).abs().square().sum(-1) for part in parts]
    return 1 / torch.cat(energies)


def _quantile(size: Tensor, q: Tensor) -> Tensor:
    """The q-quantile of each signal, `q (*batch, 1)`, linear between entries."""
    ordered = size.sort(dim=-1).values
    at = q * (size.shape[-1] - 1)
    low = at.nan_to_num().floor().long()
    high = (low + 1).clamp(max=size.shape[-1] - 1)
    share = at - low
    return ordered.gather(-1, low) * (1 - share) + ordered.gather(-1, high) * share
