"""LISTA-CP: ISTA with learned weights in place of the adjoint; LISTA-CPSS: that with support selection."""

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


class LISTACP(nn.Module):
    """LISTA with coupled weights, `net(y) -> x`: the residual is projected back with a learned matrix.

    `x = eta(x + W_k^H (y - A x), theta_k)`, from x = 0.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix becomes part of the network and of what is saved; weights start from its
        columns.
    layers : int, default 16
    tied : bool, default True
        One matrix for all layers; else one each.
    sparsity : int, optional
        Expected number of non-zeros: support selection as in NA-ALISTA's experiments, `Counts(sparsity)`.
    selection : Counts, Percent or None, default None
        Support selection, where no sparsity was given; None for none.
    signals : {"complex", "real part", "real"}
        What is known of the signals where `A` is complex.

    Attributes
    ----------
    weights.matrix : Parameter (1 or layers, m, n)
        `W` (published code holds `W^T`), from `A / L`; a complex one as real and imaginary parts, in a last axis of 2.
    theta : Parameter (layers,)
        Thresholds for coefficients of unit columns, from `0.4 / L`; L is the largest eigenvalue of `A^H A`.

    Raises
    ------
    ValueError, TypeError
        On values that make no network; when called, on a `y` that does not fit.

    References
    ----------
    Chen, Liu, Wang, Yin, "Theoretical linear convergence of unfolded ISTA and its practical weights and thresholds",
    NeurIPS 2018.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.LISTACP(torch.eye(3), layers=20)
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
        self.layers, self.depth = whole("layers", layers, 10**6), None
        self.shrink = selections(chosen(sparsity, selection), layers, self.sensing.shape[1])
        L = lipschitz(self.sensing.A)
        self.weights = LearnedWeights(self.sensing, 1 if tied else layers, L)
        self.theta = per_layer(PENALTY / L, layers)
        self.config = {
            "layers": layers, "tied": tied, "sparsity": sparsity, "selection": selection, "signals": signals,
        }  # fmt: skip

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.take(y)
        x = unroll(self, A, y, back=self.weights.back(A), gamma=None, theta=self.theta)
        return self.sensing.give(x)


def LISTACPSS(
    A: Any,
    *,
    layers: int = 16,
    tied: bool = True,
    sparsity: int | None = None,
    selection: Selecting | None = Percent(),
    signals: str = "complex",
) -> LISTACP:
    """LISTA-CP with support selection, as its authors do it by default: a `LISTACP` whose largest entries pass.

    Parameters
    ----------
    A, layers, tied, sparsity, selection, signals
        As those of `LISTACP`, but that `selection` is `Percent()` unless told otherwise.

    Returns
    -------
    LISTACP

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.nets.LISTACPSS(torch.eye(3), layers=1).shrink
    [SupportSelection(p=1, tested=True)]
    """
    return LISTACP(A, layers=layers, tied=tied, sparsity=sparsity, selection=selection, signals=signals)
