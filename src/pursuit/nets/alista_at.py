"""ALISTA-AT: ALISTA with thresholds that fall where the iterate is large."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..solvers import ista
from .parts import Sensing, positive, whole
from .proximal import Percent, Selecting, Start, Weights, active, chosen, per_layer, selections, start


class ALISTAAT(nn.Module):
    """ALISTA with adaptive thresholds, `net(y) -> x`: an entry's threshold is lower the larger the entry was.

    `x_i = eta(x_i + gamma_k (W^H (y - A x))_i, theta_k / (1 + |x_i| / epsilon))`, from x = 0, with support selection.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix becomes part of the network and of what is saved.
    layers : int, default 16
    sparsity : int, optional
        Expected number of non-zeros: support selection as in NA-ALISTA's experiments, `Counts(sparsity)`.
    selection : Counts, Percent or None, default Percent()
        Support selection, where no sparsity was given; None for none.
    epsilon : float, default 0.1
        The magnitude at which a threshold is halved.
    W : array (m, n) or Operator, optional
        Weights with `W_i^H A_i = 1`. Default `analytic_weights(A)`.
    gamma, theta : float or sequence (layers,), default 0.5
        Step size and threshold before training, for coefficients of unit columns.
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
    Kim, Park, "Element-wise adaptive thresholds for learned iterative shrinkage thresholding algorithms", IEEE Access
    2020.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.ALISTAAT(torch.eye(3), layers=2, selection=None, gamma=1.0, theta=0.5)
    >>> net(torch.tensor([[0.2, 4.0, -1.0]])).detach().round(decimals=2)
    tensor([[ 0.0000,  3.9900, -0.9200]])
    """

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        sparsity: int | None = None,
        selection: Selecting | None = Percent(),
        epsilon: float = 0.1,
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
        self.epsilon = positive("epsilon", epsilon)
        self.gamma, self.theta = per_layer(gamma, layers), per_layer(theta, layers)
        self.config = {
            "layers": layers, "sparsity": sparsity, "selection": selection, "epsilon": epsilon, "gamma": gamma,
            "theta": theta, "signals": signals,
        }  # fmt: skip

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.take(y)
        back, s = self.weights.back(A), start(A, y)
        for k in active(self):
            theta = self.theta[k] / (s.x.abs() / self.epsilon + 1)  # theta_k g(|x_i|), g(a) = 1 / (a / epsilon + 1)
            s = ista.step(A, y, s, gamma=self.gamma[k], theta=theta, back=back, shrink=self.shrink[k])
        return self.sensing.give(s.x)
