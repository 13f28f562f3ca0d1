"""LISTA: ISTA whose matrices are learned, as Gregor and LeCun first unrolled it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..operators import Dense
from ..shrinkage import proximal
from .parts import Sensing, whole
from .proximal import (
    PENALTY,
    Selecting,
    active,
    as_complex,
    as_parts,
    chosen,
    lipschitz,
    per_layer,
    selections,
)


class LISTA(nn.Module):
    """Learned ISTA, `net(y) -> x`: `x = eta(W1 y + W2 x, theta_k)`, from x = 0.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        It gives the start, `W1 = A^H / L` and `W2 = I - A^H A / L`, and is not used afterwards. Columns of any norm.
    layers : int, default 16
    tied : bool, default True
        One pair of matrices for all layers; else one each.
    sparsity : int, optional
        Expected number of non-zeros: support selection as in NA-ALISTA's experiments, `Counts(sparsity)`.
    selection : Counts, Percent or None, default None
        Support selection, where no sparsity was given.
    signals : {"complex", "real part", "real"}
        What is known of the signals where `A` is complex.

    Attributes
    ----------
    W1 : Parameter (layers or 1, n, m)
    W2 : Parameter (layers or 1, n, n)
        Complex ones as real and imaginary parts, in a last axis of 2.
    theta : Parameter (layers,)
        Thresholds for coefficients of unit columns, from `0.4 / L`.

    Raises
    ------
    ValueError, TypeError
        On values that make no network; when called, on a `y` that does not fit.

    References
    ----------
    Gregor, LeCun, "Learning fast approximations of sparse coding", ICML 2010.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.LISTA(torch.eye(3), layers=20)
    >>> net(torch.tensor([[0.2, 4.0, -1.0]])).detach().round(decimals=2)
    tensor([[ 0.0000,  3.6000, -0.6000]])
    """

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        tied: bool = True,
        sparsity: int | None = None,
        selection: Selecting | None = None,
        signals: str = "complex",
    ):
        super().__init__()
        self.sensing = Sensing(A, signals)
        self.layers, self.depth, count = whole("layers", layers, 10**6), None, 1 if tied else layers
        L, matrix = lipschitz(self.sensing.A), self.sensing.A.to_dense()
        first, n = matrix.mH / L, matrix.shape[1]
        second = torch.eye(n, dtype=matrix.dtype, device=matrix.device) - first @ matrix
        self.W1, self.W2 = (nn.Parameter(as_parts(torch.stack([W] * count))) for W in (first, second))
        self.shrink = selections(chosen(sparsity, selection), layers, self.sensing.shape[1])
        self.theta = per_layer(PENALTY / L, layers)
        self.config = {
            "layers": layers, "tied": tied, "sparsity": sparsity, "selection": selection, "signals": signals,
        }  # fmt: skip

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.take(y)
        first, second = (
            [Dense(W.to(A.dtype)).forward for W in as_complex(W, self.sensing.A.dtype.is_complex).unbind()]
            for W in (self.W1, self.W2)
        )
        x = y.new_zeros(*y.shape[:-1], A.shape[1])
        for k in active(self):
            # A proximal step from W1 y along W2 x.
            x = proximal(first[k % len(first)](y), second[k % len(second)](x), 1.0, self.theta[k], self.shrink[k])
        return self.sensing.give(x)
