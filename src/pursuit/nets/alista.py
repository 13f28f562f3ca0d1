"""ALISTA: ISTA with analytic weights, and a learned step size and threshold for every layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .parts import Sensing, whole
from .proximal import (
    PENALTY,
    Percent,
    Selecting,
    Start,
    Weights,
    chosen,
    lipschitz,
    per_layer,
    selections,
    unroll,
)


class ALISTA(nn.Module):
    """Analytic LISTA, `net(y) -> x`: of every layer only step size and threshold are learned.

    `x = eta(x + gamma_k W^H (y - A x), theta_k)`, from x = 0, with support selection.

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
    gamma : float or sequence (layers,), default 1.0
        Step size before training.
    theta : float or sequence (layers,), optional
        Threshold before training, for coefficients of unit columns. Default 0.4 over the largest eigenvalue of `A^H A`.
        NA-ALISTA's experiments start from 0.5 for both.
    signals : {"complex", "real part", "real"}
        What is known of the signals where `A` is complex.

    Attributes
    ----------
    gamma, theta : Parameter (layers,)
        Step sizes and thresholds, first layer first.

    Raises
    ------
    ValueError, TypeError
        On values that make no network; when called, on a `y` that does not fit.

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

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        sparsity: int | None = None,
        selection: Selecting | None = Percent(),
        W: Any = None,
        gamma: Start = 1.0,
        theta: Start | None = None,
        signals: str = "complex",
    ):
        super().__init__()
        self.sensing = Sensing(A, signals)
        self.weights = Weights(self.sensing, A, W)
        self.layers, self.depth = whole("layers", layers, 10**6), None
        self.shrink = selections(chosen(sparsity, selection), layers, self.sensing.shape[1])
        self.gamma = per_layer(gamma, layers)
        self.theta = per_layer(PENALTY / lipschitz(self.sensing.A) if theta is None else theta, layers)
        self.config = {
            "layers": layers, "sparsity": sparsity, "selection": selection, "gamma": gamma, "theta": theta,
            "signals": signals,
        }  # fmt: skip

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.take(y)
        x = unroll(self, A, y, back=[self.weights.back(A)], gamma=self.gamma, theta=self.theta)
        return self.sensing.give(x)
