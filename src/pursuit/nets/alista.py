"""ALISTA: ISTA with analytic weights; ALISTA-AT, with adaptive thresholds; AGLISTA, with gates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..checks import positive_number, whole_number
from ..shrinkage import proximal
from ..solvers import ista
from .layers import Network, Sensing, old_attribute, recorded
from .unroll import (
    PENALTY,
    BackProjection,
    PercentSchedule,
    Schedule,
    Start,
    active,
    lipschitz,
    per_layer,
    shrinking,
    start,
)


class ALISTA(Network):
    """Analytic LISTA, `net(y) -> x`: only the step size and the threshold of every layer are learned.

    `x = eta(x + gamma_k W^H (y - A x), theta_k)`, from x = 0, with support selection.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix is part of the network and is saved with it.
    layers : int, default 16
    sparsity : int, optional
        Expected number of non-zeros. If given, support selection is that of NA-ALISTA, `CountSchedule(sparsity)`.
    selection : CountSchedule, PercentSchedule or None, default PercentSchedule()
        Support selection if no sparsity is given; None for no selection.
    W : array (m, n) or Operator, optional
        Weights with `W_i^H A_i = 1`. Default `analytic_weights(A)`.
    gamma : float or sequence (layers,), default 1.0
        Step size before training.
    theta : float or sequence (layers,), optional
        Threshold before training, for columns of norm one. Default 0.4 over the largest eigenvalue of `A^H A`.
        NA-ALISTA's experiments start from 0.5 for both.
    signals : {"complex", "real part", "real"}
        Signals for a complex `A`; see `OMPNet`.

    Attributes
    ----------
    gamma, theta : Parameter (layers,)
        Step sizes and thresholds, first layer first.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

    References
    ----------
    Liu, Chen, Wang, Yin, "ALISTA: Analytic weights are as good as learned weights in LISTA", ICLR 2019.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.ALISTA(torch.eye(3), layers=2, theta=0.5, selection=None)
    >>> net(torch.tensor([[0.2, 4.0, -1.0]])).detach()
    tensor([[ 0.0000,  3.5000, -0.5000]])
    """

    weights = old_attribute("weights", "back_projection")

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        sparsity: int | None = None,
        selection: Schedule | None = PercentSchedule(),
        W: Any = None,
        gamma: Start = 1.0,
        theta: Start | None = None,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(ALISTA, locals())
        self.sensing = Sensing(A, signals)
        self.back_projection = BackProjection(self.sensing, A, W)
        self.layers, self.depth = whole_number("layers", layers, high=10**6), None
        self.shrink = shrinking(layers, self.sensing.shape[1], sparsity, selection)
        self.gamma = per_layer(gamma, layers)
        self.theta = per_layer(PENALTY / lipschitz(self.sensing.A) if theta is None else theta, layers)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        back, s = self.back_projection.adjoint(A), start(A, y)
        for k in active(self):
            # x = eta_theta(x + gamma W^H (y - A x))
            s = ista.step(A, y, s, gamma=self.gamma[k], theta=self.theta[k], back=back, shrink=self.shrink[k])
        return self.sensing.to_caller_units(s.x)


class ALISTAAT(Network):
    """ALISTA with adaptive thresholds, `net(y) -> x`: large entries get lower thresholds.

    `x_i = eta(x_i + gamma_k (W^H (y - A x))_i, theta_k / (1 + |x_i| / epsilon))`, from x = 0, with support selection.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix is part of the network and is saved with it.
    layers : int, default 16
    epsilon : float, default 0.1
        The magnitude at which a threshold is halved.
    gamma, theta : float or sequence (layers,), default 0.5
        Step size and threshold before training, for columns of norm one.
    sparsity, selection, W, signals
        As in `ALISTA`.

    Attributes
    ----------
    gamma, theta : Parameter (layers,)
        Step sizes and thresholds, first layer first.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

    References
    ----------
    Kim, Park, "Element-wise adaptive thresholds for learned iterative shrinkage thresholding algorithms", IEEE Access
    2020.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.ALISTAAT(torch.eye(3), layers=2, selection=None, gamma=1.0, theta=0.5)
    >>> net(torch.tensor([[0.2, 4.0, -1.0]])).detach().round(decimals=2)
    tensor([[ 0.0000,  3.9900, -0.9200]])
    """

    weights = old_attribute("weights", "back_projection")

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        sparsity: int | None = None,
        selection: Schedule | None = PercentSchedule(),
        epsilon: float = 0.1,
        W: Any = None,
        gamma: Start = 0.5,
        theta: Start = 0.5,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(ALISTAAT, locals())
        self.sensing = Sensing(A, signals)
        self.back_projection = BackProjection(self.sensing, A, W)
        self.layers, self.depth = whole_number("layers", layers, high=10**6), None
        self.shrink = shrinking(layers, self.sensing.shape[1], sparsity, selection)
        self.epsilon = positive_number("epsilon", epsilon)
        self.gamma, self.theta = per_layer(gamma, layers), per_layer(theta, layers)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        back, s = self.back_projection.adjoint(A), start(A, y)
        for k in active(self):
            theta = self.theta[k] / (s.x.abs() / self.epsilon + 1)  # theta_k g(|x_i|), g(a) = 1 / (a / epsilon + 1)
            # x = eta_theta(x + gamma W^H (y - A x))
            s = ista.step(A, y, s, gamma=self.gamma[k], theta=theta, back=back, shrink=self.shrink[k])
        return self.sensing.to_caller_units(s.x)


class AGLISTA(Network):
    """ALISTA with gain and overshoot gates, `net(y) -> x`.

    Thresholds make iterates too small. A gain `kappa = 1 + t nu_k exp(-v_k |x|)` enlarges them before the residual is
    computed, and an overshoot `o = 1 + a_k / (|z - x| + 0.01)` goes beyond the result z of the step:

    `z = eta(x + gamma_k W^H (y - A (kappa x)), theta_k)`, then `x = o z + (1 - o) x`, from x = 0, with support
    selection. `t` is `theta_k`, in the first layer `theta_init`; there neither it nor the gain has an effect, as x = 0.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix is part of the network and is saved with it.
    layers : int, default 16
    gamma, theta : float or sequence (layers,), default 0.5
        Step size and threshold before training, for columns of norm one.
    sparsity, selection, W, signals
        As in `ALISTA`; gates act on the magnitudes of complex signals.

    Attributes
    ----------
    gamma, theta, a, v, nu : Parameter (layers,)
        Step sizes, thresholds, and the gates' values, first layer first.
    theta_init : Parameter (1,)

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

    References
    ----------
    Wu, Guo, Li, Zhang, "Sparse coding with gated learned ISTA", ICLR 2020; Behrens, Sauder, Jung, "Neurally Augmented
    ALISTA", ICLR 2021, whose form this is.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.AGLISTA(torch.eye(3), layers=1, selection=None, gamma=1.0)
    >>> net(torch.tensor([[0.2, 4.0, -1.0]])).detach().round(decimals=2)
    tensor([[ 0.0000,  3.5100, -0.5100]])
    """

    weights = old_attribute("weights", "back_projection")

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        sparsity: int | None = None,
        selection: Schedule | None = PercentSchedule(),
        W: Any = None,
        gamma: Start = 0.5,
        theta: Start = 0.5,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(AGLISTA, locals())
        self.sensing = Sensing(A, signals)
        self.back_projection = BackProjection(self.sensing, A, W)
        self.layers, self.depth = whole_number("layers", layers, high=10**6), None
        self.shrink = shrinking(layers, self.sensing.shape[1], sparsity, selection)
        self.gamma, self.theta = per_layer(gamma, layers), per_layer(theta, layers)
        self.a, self.v, self.nu = per_layer(0.01, layers), per_layer(1.0, layers), per_layer(0.05, layers)
        self.theta_init = per_layer(1.0, 1)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        back = self.back_projection.adjoint(A)
        x = y.new_zeros(*y.shape[:-1], A.shape[1])
        for k in active(self):
            t = self.theta[k] if k else self.theta_init
            gain = 1 + t * self.nu[k] * torch.exp(-self.v[k] * x.abs())  # kappa = 1 + t nu exp(-v |x|)
            c = back(A.residual(y, gain * x))  # c = W^H (y - A (kappa x))
            z = proximal(x, c, self.gamma[k], self.theta[k], self.shrink[k])  # z = eta_theta(x + gamma c)
            over = 1 + self.a[k] / ((z - x).abs() + 0.01)  # o = 1 + a / (|z - x| + 0.01)
            x = over * z + (1 - over) * x
        return self.sensing.to_caller_units(x)
