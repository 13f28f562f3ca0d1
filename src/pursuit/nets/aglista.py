"""AGLISTA: ALISTA with gates against shrinkage, as NA-ALISTA's authors compare with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..shrinkage import proximal
from .parts import Sensing, whole
from .proximal import Percent, Selecting, Start, Weights, active, chosen, per_layer, selections


class AGLISTA(nn.Module):
    """ALISTA with gain and overshoot gates, `net(y) -> x`.

    Thresholds make iterates too small. A gain `kappa = 1 + t nu_k exp(-v_k |x|)` enlarges them before the residual is
    taken, and an overshoot `o = 1 + a_k / (|z - x| + 0.01)` goes beyond the step's end z:

    `z = eta(x + gamma_k W^H (y - A (kappa x)), theta_k)`, then `x = o z + (1 - o) x`, from x = 0, with support
    selection; `t` is `theta_k`, in the first layer a value of its own. That one has no effect, nor has the gain: x = 0.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix becomes part of the network and of what is saved.
    layers : int, default 16
    sparsity : int, optional
        Expected number of non-zeros: support selection as in NA-ALISTA's experiments, `Counts(sparsity)`.
    selection : Counts, Percent or None, default Percent()
        Support selection, where no sparsity was given; None for none.
    W : array (m, n) or Operator, optional
        Weights with `W_i^H A_i = 1`. Default `analytic_weights(A)`.
    gamma, theta : float or sequence (layers,), default 0.5
        Step size and threshold before training, for coefficients of unit columns.
    signals : {"complex", "real part", "real"}
        What is known of the signals where `A` is complex; gates act on magnitudes.

    Attributes
    ----------
    gamma, theta, a, v, nu : Parameter (layers,)
        Step sizes, thresholds, and the gates' values, first layer first.
    theta_init : Parameter (1,)

    Raises
    ------
    ValueError, TypeError
        On values that make no network; when called, on a `y` that does not fit.

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

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        sparsity: int | None = None,
        selection: Selecting | None = Percent(),
        W: Any = None,
        gamma: Start = 0.5,
        theta: Start = 0.5,
        signals: str = "complex",
    ):
        super().__init__()
        self.sensing = Sensing(A, signals)
        self.weights = Weights(self.sensing, A, W)
        self.layers, self.depth = whole("layers", layers, 10**6), None
        self.shrink = selections(chosen(sparsity, selection), layers, self.sensing.shape[1])
        self.gamma, self.theta = per_layer(gamma, layers), per_layer(theta, layers)
        self.a, self.v, self.nu = per_layer(0.01, layers), per_layer(1.0, layers), per_layer(0.05, layers)
        self.theta_init = per_layer(1.0, 1)
        self.config = {
            "layers": layers, "sparsity": sparsity, "selection": selection, "gamma": gamma, "theta": theta,
            "signals": signals,
        }  # fmt: skip

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.take(y)
        back = self.weights.back(A)
        x = y.new_zeros(*y.shape[:-1], A.shape[1])
        for k in active(self):
            t = self.theta[k] if k else self.theta_init
            gain = 1 + t * self.nu[k] * torch.exp(-self.v[k] * x.abs())  # kappa = 1 + t nu exp(-v |x|)
            c = back(A.residual(y, gain * x))
            z = proximal(x, c, self.gamma[k], self.theta[k], self.shrink[k])
            over = 1 + self.a[k] / ((z - x).abs() + 0.01)  # o = 1 + a / (|z - x| + 0.01)
            x = over * z + (1 - over) * x
        return self.sensing.give(x)
