"""OMP-Net: Soft-OMP unrolled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..relaxations import softsort
from ..solvers import omp
from .parts import Identify, Rate, Sensing, whole


class OMPNet(nn.Module):
    """Soft-OMP with a fixed number of steps and trainable structure weights, `net(y) -> x`.

    Every layer is a step of `pursuit.omp(..., select=Relaxed(sort, tau))`.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix becomes part of the network and of what is saved.
    layers : int
        Atoms per signal, at most m.
    tau : float, Learned or Annealed, default 1e-3
        Temperature of the sort.
    sort : callable, default softsort
        `softsort`, `neuralsort` or `sinkhorn_sort`.
    weights : {"shared", "per-layer"}
        Whether all layers have the same structure weights.
    w0 : Tensor (n,), optional
        Structure weights to start from, say another network's `weights`; by default ones.
    relative : bool, default False
        Measure tau in units of the largest score.
    signals : {"complex", "real part", "real"}
        What is known of the signals where `A` is complex: nothing; that they are real, and the real part of the answer
        is returned (the paper's way); or that they are real, and scores and fits are over the reals.

    Raises
    ------
    ValueError, TypeError
        On values that make no network; when called, on a `y` that does not fit.

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
        tau: Rate = 1e-3,
        sort: Callable[..., Tensor] = softsort,
        weights: str = "shared",
        w0: Tensor | None = None,
        relative: bool = False,
        signals: str = "complex",
    ):
        super().__init__()
        self.sensing = Sensing(A, signals)
        m, n = self.sensing.shape
        self.layers = whole("layers", layers, min(m, n))
        self.identify = Identify(n, layers, tau=tau, sort=sort, weights=weights, w0=w0, relative=relative)
        self.config = {"layers": layers, **self.identify.config, "signals": signals}

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.take(y)
        choices = self.identify(self.layers)
        s = omp.init(y, A.shape[1], choices[0])
        for choice in choices:
            s = omp.step(A, s, choice=choice)
        return self.sensing.give(omp.estimate(s))

    @property
    def weights(self) -> Tensor:
        """The learned structure `(n,)`, for the `weights` of any solver."""
        return self.identify.weights
