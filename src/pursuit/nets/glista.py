"""GLISTA: gated LISTA."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..checks import whole_number
from ..shrinkage import proximal
from .layers import Network, Sensing, old_attribute, recorded
from .unroll import (
    PENALTY,
    LearnedBackProjection,
    PercentSchedule,
    Schedule,
    active,
    lipschitz,
    per_layer,
    shrinking,
)


class GLISTA(Network):
    """Gated LISTA, `net(y) -> x`: LISTA-CP with a gain gate before the residual and an overshoot gate after the step.

    A gain `kappa = 1 + 0.2 a_k / (0.001 + |D_k x|)` enlarges the iterate, and an overshoot `g = 1 - b_k t / (|z - x| +
    0.1)` corrects the result z of the step. t is the threshold of the previous layer, zero on entries that passed
    unshrunk; in the first layer it is that layer's own threshold:

    `z = eta(kappa x + W_k^H (y - A (kappa x)), theta_k)`, then `x = g z + (1 - g) x`, from x = 0, with support
    selection.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix is part of the network and is saved with it; weights start from its columns.
    layers : int, default 16
    tied : bool, default True
        One matrix for all layers, or one per layer.
    sparsity : int, optional
        Expected number of non-zeros. If given, support selection is that of NA-ALISTA, `CountSchedule(sparsity)`.
    selection : CountSchedule, PercentSchedule or None, default PercentSchedule()
        Support selection if no sparsity is given; None for no selection.
    signals : {"complex", "real part", "real"}
        Signals for a complex `A`; see `OMPNet`. Gates act on magnitudes.

    Attributes
    ----------
    back_projection.matrix : Parameter (1 or layers, m, n)
        `W` (published code holds `W^T`), from `A / L`; if complex, with a last axis of 2 for real and imaginary part.
    theta : Parameter (layers, n)
        Thresholds of every entry, from `0.4 / L`.
    a, b : Parameter (layers,)
        Parameters of the gates, from 0.01, which is near LISTA-CPSS. The authors start from 5.0 and 1.0, far from the
        trained values.
    D : Parameter (layers, n)
        Parameters of the gain, from 1.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

    References
    ----------
    Wu, Guo, Li, Zhang, "Sparse coding with gated learned ISTA", ICLR 2020.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.GLISTA(torch.eye(3), layers=20, selection=None)
    >>> net(torch.tensor([[0.2, 4.0, -1.0]])).detach().round(decimals=2)
    tensor([[ 0.0000,  3.6000, -0.6000]])
    """

    weights = old_attribute("weights", "back_projection")

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        tied: bool = True,
        sparsity: int | None = None,
        selection: Schedule | None = PercentSchedule(),
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(GLISTA, locals())
        self.sensing = Sensing(A, signals)
        self.layers, self.depth, n = whole_number("layers", layers, high=10**6), None, self.sensing.shape[1]
        self.shrink = shrinking(layers, n, sparsity, selection)
        L = lipschitz(self.sensing.A)
        self.back_projection = LearnedBackProjection(self.sensing, layers, L, tied=tied)
        self.theta = nn.Parameter(torch.full((layers, n), PENALTY / L))
        self.a, self.D = per_layer(0.01, layers), nn.Parameter(torch.ones(layers, n))
        self.b = per_layer(0.01, layers)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        back = self.back_projection.adjoints(A)
        x, t = y.new_zeros(*y.shape[:-1], A.shape[1]), self.theta[0]
        for k in active(self):
            gain = 1 + 0.2 * self.a[k] / (0.001 + (self.D[k] * x.abs()).abs())  # kappa = 1 + 0.2 a / (0.001 + |D x|)
            point = gain * x
            c = back[k](A.residual(y, point))  # c = W_k^H (y - A (kappa x))
            z = proximal(point, c, 1.0, self.theta[k], self.shrink[k])  # z = eta_theta(kappa x + c)
            over = 1 - self.b[k] * t / ((z - x).abs() + 0.1)  # g = 1 - b t / (|z - x| + 0.1)
            x = over * z + (1 - over) * x
            # Entries that passed were not shrunk, so the next layer need not correct them.
            t = torch.where(self.shrink[k].passing(point + c, self.theta[k]), 0, self.theta[k])
        return self.sensing.to_caller_units(x)
