"""SEA-Net, unrolled from the Support Exploration Algorithm."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..checks import whole_number
from ..operators import spectral_norm_squared
from ..solvers import sea, straight_through
from .layers import IdentifyHard, LayerScalar, Learned, Network, ScalarSpec, Sensing, recorded


class SEANet(Network):
    """SEA with a fixed number of steps and trainable step sizes and structure weights, `net(y) -> x`.

    Every layer is a step of `pursuit.sea`, from X = 0: it fits one support. The network returns the best fit, in
    training and afterwards. Gradients pass straight through the choice of the support, as in SEA itself. So there is no
    temperature, and the trained function is that of `pursuit.sea` with the learned weights.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix is part of the network and is saved with it.
    k : int
        Atoms per signal.
    layers : int
        Number of supports to fit. The first one is arbitrary, because X = 0 there.
    eta : float, Learned or Annealed, optional
        Step size. Default: learned, from 1.8 / L in every layer, where L is the largest eigenvalue of `A^H A` for
        columns of norm one. Above 2 / L gradients grow from layer to layer, and little is learned.
    weights : {"shared", "per-layer"}
        One set of structure weights for all layers, or one per layer.
    w0 : array (n,) or (layers, n), optional
        Structure weights before training, for example another network's `weights`; with "per-layer" also a row for
        each layer. Default: ones.
    signals : {"complex", "real part", "real"}
        Signals for a complex `A`; see `OMPNet`.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

    References
    ----------
    Mohamed, Malgouyres, Emiya, Chaux, "Straight-through meets sparse recovery: the support exploration algorithm",
    ICML 2024, for the algorithm; "Deep greedy unfolding", arXiv 2505.15661, for structure weights.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.SEANet(torch.eye(3), k=1, layers=5)
    >>> net(torch.tensor([[0.5, 4.0, 1.0]])).detach()
    tensor([[0., 4., 0.]])
    >>> net.weights
    tensor([1., 1., 1.])
    """

    def __init__(
        self,
        A: Any,
        *,
        k: int,
        layers: int,
        eta: ScalarSpec | None = None,
        weights: str = "shared",
        w0: Any = None,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(SEANet, locals())
        self.sensing = Sensing(A, signals)
        m, n = self.sensing.shape
        self.k, self.layers = whole_number("k", k, high=min(m, n)), whole_number("layers", layers, high=10**6)
        self.identify = IdentifyHard(n, layers, weights=weights, w0=w0)
        if eta is None:
            eta = self.config["eta"] = Learned(1.8 / (float(spectral_norm_squared(self.sensing.A)) or 1.0))
        self.eta = LayerScalar("eta", eta, layers)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        s = sea.init(y, y.new_zeros(*y.shape[:-1], A.shape[1]), self.k)
        for layer, choice in enumerate(self.identify(self.k)):
            # X = X + eta A^H (y - A x), x the least squares on the k largest w |X|; x of least residual is kept
            s = sea.step(A, y, s, eta=self.eta(layer), choice=choice, H=straight_through.H)
        return self.sensing.to_caller_units(s.x)

    @property
    def weights(self) -> Tensor:
        """The learned structure weights `(n,)`, a copy: pass them to any solver as `weights=`. To set them, assign."""
        return self.identify.weights

    @weights.setter
    def weights(self, value: Any) -> None:
        self.identify.set_weights(value)
