"""LISTA, LISTA-CP, LISTA-CPSS and TiLISTA: networks unrolled from ISTA with learned matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..checks import whole_number
from ..operators import Dense
from ..shrinkage import proximal
from ..solvers import ista
from .layers import Network, Sensing, old_attribute, recorded
from .unroll import (
    PENALTY,
    Back,
    LearnedBackProjection,
    PercentSchedule,
    Schedule,
    active,
    lipschitz,
    of_every_layer,
    per_layer,
    shrinking,
    stacked,
    start,
)


class LISTA(Network):
    """Learned ISTA, `net(y) -> x`: `x = eta(W1 y + W2 x, theta_k)`, from x = 0.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. It is used only for the start, `W1 = A^H / L` and `W2 = I - A^H A / L`.
    layers : int, default 16
    tied : bool, default True
        One pair of matrices for all layers, or one per layer.
    sparsity : int, optional
        Expected number of non-zeros. If given, support selection is that of NA-ALISTA, `CountSchedule(sparsity)`.
    selection : CountSchedule, PercentSchedule or None, default None
        Support selection if no sparsity is given.
    signals : {"complex", "real part", "real"}
        Signals for a complex `A`; see `OMPNet`.

    Attributes
    ----------
    W1 : Parameter (layers or 1, n, m)
    W2 : Parameter (layers or 1, n, n)
        If complex, with a last axis of 2 for real and imaginary part.
    theta : Parameter (layers,)
        Thresholds for columns of norm one, from `0.4 / L`.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

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
        selection: Schedule | None = None,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(LISTA, locals())
        self.sensing = Sensing(A, signals)
        self.layers, self.depth = whole_number("layers", layers, high=10**6), None
        L, matrix = lipschitz(self.sensing.A), self.sensing.A.to_dense()
        first, n = matrix.mH / L, matrix.shape[1]
        second = torch.eye(n, dtype=matrix.dtype, device=matrix.device) - first @ matrix
        self.W1, self.W2 = stacked(first, layers, tied), stacked(second, layers, tied)
        self.shrink = shrinking(layers, n, sparsity, selection)
        self.theta = per_layer(PENALTY / L, layers)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        W1, W2 = self._products(self.W1, A.dtype), self._products(self.W2, A.dtype)
        x = y.new_zeros(*y.shape[:-1], A.shape[1])
        for k in active(self):
            # x = eta_theta(W1 y + W2 x): the proximal step from W1 y along W2 x
            x = proximal(W1[k](y), W2[k](x), 1.0, self.theta[k], self.shrink[k])
        return self.sensing.to_caller_units(x)

    def _products(self, W: Tensor, dtype: torch.dtype) -> list[Back]:
        """The product with the matrix of every layer."""

        def product(matrix: Tensor) -> Back:
            return Dense(matrix.to(dtype)).forward

        return of_every_layer(product, W, self.sensing.A.dtype.is_complex, self.layers)


class LISTACP(Network):
    """LISTA with coupled weights, `net(y) -> x`: the residual is projected back with a learned matrix.

    `x = eta(x + W_k^H (y - A x), theta_k)`, from x = 0.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix is part of the network and is saved with it; weights start from its columns.
    layers : int, default 16
    tied : bool, default True
        One matrix for all layers, or one per layer.
    sparsity, selection, signals
        As in `LISTA`.

    Attributes
    ----------
    back_projection.matrix : Parameter (1 or layers, m, n)
        `W` (published code holds `W^T`), from `A / L`; if complex, with a last axis of 2 for real and imaginary part.
    theta : Parameter (layers,)
        Thresholds for columns of norm one, from `0.4 / L`; L is the largest eigenvalue of `A^H A`.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

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

    weights = old_attribute("weights", "back_projection")

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        tied: bool = True,
        sparsity: int | None = None,
        selection: Schedule | None = None,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(LISTACP, locals())
        self.sensing = Sensing(A, signals)
        self.layers, self.depth = whole_number("layers", layers, high=10**6), None
        self.shrink = shrinking(layers, self.sensing.shape[1], sparsity, selection)
        L = lipschitz(self.sensing.A)
        self.back_projection = LearnedBackProjection(self.sensing, layers, L, tied=tied)
        self.theta = per_layer(PENALTY / L, layers)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        back, s = self.back_projection.adjoints(A), start(A, y)
        for k in active(self):
            # x = eta_theta(x + W_k^H (y - A x))
            s = ista.step(A, y, s, gamma=1.0, theta=self.theta[k], back=back[k], shrink=self.shrink[k])
        return self.sensing.to_caller_units(s.x)


def LISTACPSS(
    A: Any,
    *,
    layers: int = 16,
    tied: bool = True,
    sparsity: int | None = None,
    selection: Schedule | None = PercentSchedule(),
    signals: str = "complex",
) -> LISTACP:
    """LISTA-CP with support selection, by default that of its authors: a `LISTACP` whose largest entries pass.

    Parameters
    ----------
    A, layers, tied, sparsity, selection, signals
        As in `LISTACP`, but `selection` is `PercentSchedule()` by default.

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


class TiLISTA(Network):
    """Tied LISTA, `net(y) -> x`: one learned matrix, and a step size and a threshold for every layer.

    `x = eta(x + gamma_k W^H (y - A x), theta_k)`, from x = 0, with support selection.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix is part of the network and is saved with it; weights start from its columns.
    layers : int, default 16
    sparsity, selection, signals
        As in `LISTA`, but `selection` is `PercentSchedule()` by default.

    Attributes
    ----------
    back_projection.matrix : Parameter (1, m, n)
        `W` (published code holds `W^T`), from `A / L`; if complex, with a last axis of 2 for real and imaginary part.
    gamma : Parameter (layers,)
        Step sizes, from 1.
    theta : Parameter (layers,)
        Thresholds for columns of norm one, from `0.4 / L`; L is the largest eigenvalue of `A^H A`.

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
    >>> net = pursuit.nets.TiLISTA(torch.eye(3), layers=20, selection=None)
    >>> net(torch.tensor([[0.2, 4.0, -1.0]])).detach().round(decimals=2)
    tensor([[ 0.0000,  3.6000, -0.6000]])
    """

    weights = old_attribute("weights", "back_projection")

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        sparsity: int | None = None,
        selection: Schedule | None = PercentSchedule(),
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(TiLISTA, locals())
        self.sensing = Sensing(A, signals)
        self.layers, self.depth = whole_number("layers", layers, high=10**6), None
        self.shrink = shrinking(layers, self.sensing.shape[1], sparsity, selection)
        L = lipschitz(self.sensing.A)
        self.back_projection = LearnedBackProjection(self.sensing, layers, L, tied=True)
        self.gamma = per_layer(1.0, layers)
        self.theta = per_layer(PENALTY / L, layers)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        back, s = self.back_projection.adjoints(A), start(A, y)
        for k in active(self):
            # x = eta_theta(x + gamma W^H (y - A x))
            s = ista.step(A, y, s, gamma=self.gamma[k], theta=self.theta[k], back=back[k], shrink=self.shrink[k])
        return self.sensing.to_caller_units(s.x)
