"""TiLISTA: one learned matrix for all layers, and step sizes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .parts import Sensing, whole
from .proximal import (
    PENALTY,
    LearnedWeights,
    Percent,
    Selecting,
    chosen,
    lipschitz,
    per_layer,
    selections,
    unroll,
)


class TiLISTA(nn.Module):
    """Tied LISTA, `net(y) -> x`: one learned matrix, and a step size and a threshold for every layer.

    `x = eta(x + gamma_k W^H (y - A x), theta_k)`, from x = 0, with support selection.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix becomes part of the network and of what is saved; weights start from its
        columns.
    layers : int, default 16
    sparsity : int, optional
        Expected number of non-zeros: support selection as in NA-ALISTA's experiments, `Counts(sparsity)`.
    selection : Counts, Percent or None, default Percent()
        Support selection, where no sparsity was given; None for none.
    signals : {"complex", "real part", "real"}
        What is known of the signals where `A` is complex.

    Attributes
    ----------
    weights.matrix : Parameter (1, m, n)
        `W` (published code holds `W^T`), from `A / L`; a complex one as real and imaginary parts, in a last axis of 2.
    gamma : Parameter (layers,)
        Step sizes, from 1.
    theta : Parameter (layers,)
        Thresholds for coefficients of unit columns, from `0.4 / L`; L is the largest eigenvalue of `A^H A`.

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
    >>> net = pursuit.nets.TiLISTA(torch.eye(3), layers=20, selection=None)
    >>> net(torch.tensor([[0.2, 4.0, -1.0]])).detach().round(decimals=2)
    tensor([[ 0.0000,  3.6000, -0.6000]])
    """

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        sparsity: int | None = None,
        selection: Selecting | None = Percent(),
        signals: str = "complex",
    ):
        super().__init__()
        self.sensing = Sensing(A, signals)
        self.layers, self.depth = whole("layers", layers, 10**6), None
        self.shrink = selections(chosen(sparsity, selection), layers, self.sensing.shape[1])
        L = lipschitz(self.sensing.A)
        self.weights = LearnedWeights(self.sensing, 1, L)
        self.gamma = per_layer(1.0, layers)
        self.theta = per_layer(PENALTY / L, layers)
        self.config = {
            "layers": layers, "sparsity": sparsity, "selection": selection, "signals": signals,
        }  # fmt: skip

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.take(y)
        x = unroll(self, A, y, back=self.weights.back(A), gamma=self.gamma, theta=self.theta)
        return self.sensing.give(x)
