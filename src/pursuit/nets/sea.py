"""SEA-Net: the Support Exploration Algorithm unrolled."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..checks import whole_number
from ..operators import spectral_norm_squared
from ..solvers import sea, straight_through
from .layers import IdentifyHard, LayerScalar, Learned, Network, ScalarSpec, Sensing, recorded


class SEANet(Network):
    """SEA with a fixed number of steps and trainable step sizes and structure weights, `net(y) -> x`.

    Every layer is a step of `pursuit.sea`, from X = 0: it looks at one support, and the best one seen is the answer, in
    training as after it. Gradients pass straight through the choice of a support, as they do in SEA itself, so that
    there is no temperature, and what is trained is what is used: `pursuit.sea` with the learned weights.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix becomes part of the network and of what is saved.
    k : int
        Atoms per signal.
    layers : int
        Supports to look at. As all entries of X are equal at first, the first one has nothing to say.
    eta : float, Learned or Annealed, optional
        Step size; by default learned, from 1.8 / L in every layer, with `L` the largest eigenvalue of `A^H A` after the
        columns are normalised. Above 2 / L gradients grow from layer to layer, and little is learned.
    weights : {"shared", "per-layer"}
        Whether all layers have the same structure weights.
    w0 : Tensor (n,), optional
        Structure weights to start from, say another network's `weights`; by default ones.
    signals : {"complex", "real part", "real"}
        What is known of the signals where `A` is complex: nothing; that they are real, and the real part of the answer
        is returned; or that they are real, and scores and fits are over the reals.

    Raises
    ------
    ValueError, TypeError
        On values that make no network; when called, on a `y` that does not fit.

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
        w0: Tensor | None = None,
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
        """The learned structure `(n,)`, for the `weights` of any solver."""
        return self.identify.weights
