"""Networks unrolled from soft greedy solvers: OMP-Net, IHT-Net, CoSaMP-Net, SP-Net and HTP-Net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..checks import whole_number
from ..relaxations import softsort
from ..solvers import cosamp, htp, iht, omp, sp
from .layers import Identify, LayerScalar, Network, ScalarSpec, Sensing, recorded


class OMPNet(Network):
    """Soft-OMP with a fixed number of steps and trainable structure weights, `net(y) -> x`.

    Every layer is a step of `pursuit.omp(..., select=Relaxed(sort, tau))`.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix is part of the network and is saved with it.
    layers : int
        Atoms per signal, at most m.
    tau : float, Learned or Annealed, default 1e-3
        Temperature of the sort.
    sort : callable, default softsort
        Relaxed sort: `softsort`, `neuralsort` or `sinkhorn_sort`.
    weights : {"shared", "per-layer"}
        One set of structure weights for all layers, or one per layer.
    w0 : array (n,) or (layers, n), optional
        Structure weights before training, for example another network's `weights`; with "per-layer" also a row for
        each layer. Default: ones.
    relative : bool, default False
        If True, tau is a multiple of the largest score.
    signals : {"complex", "real part", "real"}
        Signals for a complex `A`. "complex": complex signals. "real part": real signals; scores and fits are complex,
        and the real part of the result is returned, as in the paper. "real": real signals; scores and fits are real.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.OMPNet(torch.eye(3), layers=1, tau=1e-3)
    >>> net(torch.tensor([[0.5, 4.0, 1.0]])).detach()
    tensor([[0., 4., 0.]])
    >>> net.weights
    tensor([1., 1., 1.])
    """

    def __init__(
        self,
        A: Any,
        *,
        layers: int,
        tau: ScalarSpec = 1e-3,
        sort: Callable[..., Tensor] = softsort,
        weights: str = "shared",
        w0: Any = None,
        relative: bool = False,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(OMPNet, locals())
        self.sensing = Sensing(A, signals)
        m, n = self.sensing.shape
        self.layers = whole_number("layers", layers, high=min(m, n))
        self.identify = Identify(n, layers, tau=tau, sort=sort, weights=weights, w0=w0, relative=relative)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        choices = self.identify(self.layers)
        s = omp.init(y, A.shape[1], choices[0])  # no atom, r = y
        for choice in choices:
            s = omp.step(A, s, choice=choice)  # one atom by w |A^H r|, then least squares on all
        return self.sensing.to_caller_units(omp.estimate(s))

    @property
    def weights(self) -> Tensor:
        """The learned structure weights `(n,)`, a copy: pass them to any solver as `weights=`. To set them, assign."""
        return self.identify.weights

    @weights.setter
    def weights(self, value: Any) -> None:
        self.identify.set_weights(value)


class IHTNet(Network):
    """Soft-IHT with a fixed number of steps and trainable structure weights, `net(y) -> x`.

    Every layer is a step of `pursuit.iht(..., select=Relaxed(sort, tau))`, from x = 0.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm.
    k : int
        Atoms per signal.
    layers : int
    eta : float, Learned or Annealed, default 0.5
        Step size.
    tau, sort, weights, w0, relative, signals
        As in `OMPNet`.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.IHTNet(torch.eye(3), k=1, layers=20, eta=0.5)
    >>> net(torch.tensor([[0.5, 4.0, 1.0]])).detach().round(decimals=3).abs()
    tensor([[0., 4., 0.]])
    """

    def __init__(
        self,
        A: Any,
        *,
        k: int,
        layers: int,
        eta: ScalarSpec = 0.5,
        tau: ScalarSpec = 1e-3,
        sort: Callable[..., Tensor] = softsort,
        weights: str = "shared",
        w0: Any = None,
        relative: bool = False,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(IHTNet, locals())
        self.sensing = Sensing(A, signals)
        m, n = self.sensing.shape
        self.k, self.layers = whole_number("k", k, high=min(m, n)), whole_number("layers", layers, high=10**6)
        self.identify = Identify(n, layers, tau=tau, sort=sort, weights=weights, w0=w0, relative=relative)
        self.eta = LayerScalar("eta", eta, layers)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        choices = self.identify(self.k)
        s = iht.begin(y, A.shape[1], choices[0])  # x = 0
        for layer, choice in enumerate(choices):
            # x = M u, u = x + eta A^H (y - A x), M the soft mask of the k largest w |u|
            s = iht.step(A, y, s, eta=self.eta(layer), choice=choice)
        return self.sensing.to_caller_units(s.x)

    @property
    def weights(self) -> Tensor:
        """The learned structure weights `(n,)`, a copy: pass them to any solver as `weights=`. To set them, assign."""
        return self.identify.weights

    @weights.setter
    def weights(self, value: Any) -> None:
        self.identify.set_weights(value)


class CoSaMPNet(Network):
    """Soft-CoSaMP with a fixed number of steps and trainable structure weights, `net(y) -> x`.

    Every layer is a step of `pursuit.cosamp(..., select=Relaxed(sort, tau))`, from x = 0.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm.
    k : int
        Atoms per signal.
    layers : int
    tau, sort, weights, w0, relative, signals
        As in `OMPNet`.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661, where it is an open question.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.CoSaMPNet(torch.eye(3), k=1, layers=2)
    >>> net(torch.tensor([[0.5, 4.0, 1.0]])).detach().round(decimals=3).abs()
    tensor([[0., 4., 0.]])
    """

    def __init__(
        self,
        A: Any,
        *,
        k: int,
        layers: int,
        tau: ScalarSpec = 1e-3,
        sort: Callable[..., Tensor] = softsort,
        weights: str = "shared",
        w0: Any = None,
        relative: bool = False,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(CoSaMPNet, locals())
        self.sensing = Sensing(A, signals)
        m, n = self.sensing.shape
        self.k, self.layers = whole_number("k", k, high=min(m, n)), whole_number("layers", layers, high=10**6)
        self.identify = Identify(n, layers, tau=tau, sort=sort, weights=weights, w0=w0, relative=relative)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        choices = self.identify(self.k)
        s = iht.begin(y, A.shape[1], choices[0])  # x = 0
        for choice in choices:
            # 2 k atoms by w |A^H r| besides those of x, least squares on them, the k best of that
            s = cosamp.step(A, y, s, choice=choice)
        return self.sensing.to_caller_units(s.x)

    @property
    def weights(self) -> Tensor:
        """The learned structure weights `(n,)`, a copy: pass them to any solver as `weights=`. To set them, assign."""
        return self.identify.weights

    @weights.setter
    def weights(self, value: Any) -> None:
        self.identify.set_weights(value)


class SPNet(Network):
    """Soft Subspace Pursuit with a fixed number of steps and trainable structure weights, `net(y) -> x`.

    Every layer is a step of `pursuit.sp(..., select=Relaxed(sort, tau))`; the first fit, on the k best columns by
    `A^H y`, is not counted as a layer.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm.
    k : int
        Atoms per signal.
    layers : int
    tau, sort, weights, w0, relative, signals
        As in `OMPNet`.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661, where it is an open question.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.SPNet(torch.eye(3), k=1, layers=2)
    >>> net(torch.tensor([[0.5, 4.0, 1.0]])).detach().round(decimals=3).abs()
    tensor([[0., 4., 0.]])
    """

    def __init__(
        self,
        A: Any,
        *,
        k: int,
        layers: int,
        tau: ScalarSpec = 1e-3,
        sort: Callable[..., Tensor] = softsort,
        weights: str = "shared",
        w0: Any = None,
        relative: bool = False,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(SPNet, locals())
        self.sensing = Sensing(A, signals)
        m, n = self.sensing.shape
        self.k, self.layers = whole_number("k", k, high=min(m, n)), whole_number("layers", layers, high=10**6)
        self.identify = Identify(n, layers, tau=tau, sort=sort, weights=weights, w0=w0, relative=relative)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        choices = self.identify(self.k)
        s = sp.init(A, y, y.new_zeros(*y.shape[:-1], A.shape[1]), choice=choices[0])
        for choice in choices:
            # k atoms by w |A^H r| besides those of x, least squares on them, the k best of that, least squares
            s = sp.step(A, y, s, choice=choice)
        return self.sensing.to_caller_units(s.x)

    @property
    def weights(self) -> Tensor:
        """The learned structure weights `(n,)`, a copy: pass them to any solver as `weights=`. To set them, assign."""
        return self.identify.weights

    @weights.setter
    def weights(self, value: Any) -> None:
        self.identify.set_weights(value)


class HTPNet(Network):
    """Soft-HTP with a fixed number of steps and trainable structure weights, `net(y) -> x`.

    Every layer is a cycle of `pursuit.htp(..., select=Relaxed(sort, tau))`, from x = 0.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm.
    k : int
        Atoms per signal.
    layers : int
    eta : float, Learned or Annealed, default 0.5
        Step size.
    tau, sort, weights, w0, relative, signals
        As in `OMPNet`.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

    References
    ----------
    "Deep greedy unfolding", arXiv 2505.15661, where it is an open question.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.HTPNet(torch.eye(3), k=1, layers=2, eta=0.5)
    >>> net(torch.tensor([[0.5, 4.0, 1.0]])).detach().round(decimals=3).abs()
    tensor([[0., 4., 0.]])
    """

    def __init__(
        self,
        A: Any,
        *,
        k: int,
        layers: int,
        eta: ScalarSpec = 0.5,
        tau: ScalarSpec = 1e-3,
        sort: Callable[..., Tensor] = softsort,
        weights: str = "shared",
        w0: Any = None,
        relative: bool = False,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(HTPNet, locals())
        self.sensing = Sensing(A, signals)
        m, n = self.sensing.shape
        self.k, self.layers = whole_number("k", k, high=min(m, n)), whole_number("layers", layers, high=10**6)
        self.identify = Identify(n, layers, tau=tau, sort=sort, weights=weights, w0=w0, relative=relative)
        self.eta = LayerScalar("eta", eta, layers)

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        choices = self.identify(self.k)
        s = iht.begin(y, A.shape[1], choices[0])  # x = 0
        for layer, choice in enumerate(choices):
            # k atoms by w |x + eta A^H (y - A x)|, least squares on them
            s = htp.cycle(A, y, s, eta=self.eta(layer), choice=choice)
        return self.sensing.to_caller_units(s.x)

    @property
    def weights(self) -> Tensor:
        """The learned structure weights `(n,)`, a copy: pass them to any solver as `weights=`. To set them, assign."""
        return self.identify.weights

    @weights.setter
    def weights(self, value: Any) -> None:
        self.identify.set_weights(value)
