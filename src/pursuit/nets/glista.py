"""GLISTA: gated LISTA."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..shrinkage import proximal
from .parts import Sensing, whole
from .proximal import (
    PENALTY,
    LearnedWeights,
    Percent,
    Selecting,
    active,
    chosen,
    lipschitz,
    per_layer,
    selections,
)

GAINS = ("relu", "inverse", "exp", "none")
OVERSHOOTS = ("inverse", "sigmoid", "none")


class GLISTA(nn.Module):
    """Gated LISTA, `net(y) -> x`: LISTA-CP with a gain gate before the residual and an overshoot gate after the step.

    With the gain `kappa` and its input `x`: `z = eta(kappa x + W_k^H (y - A (kappa x)), theta_k)`, then
    `x = g z + (1 - g) x`, from x = 0.

    Gains: "relu" `1 + a relu(1 - relu(D |x|))`, "inverse" `1 + 0.2 a / (0.001 + |D x|)`, "exp" `1 + a exp(-D |x|)`.
    Overshoots: "inverse" `1 - b t / (|z - x| + 0.1)`, with t the threshold of the layer before, zero on the entries
    that it let pass (in the first layer its own, everywhere); "sigmoid" `1 - b sigmoid(G x + B y + d) |W_k^H y|`.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix becomes part of the network and of what is saved; weights start from its
        columns.
    layers : int, default 16
    tied : bool, default True
        One matrix for all layers; else one each.
    gain : {"relu", "inverse", "exp", "none"}
    overshoot : {"inverse", "sigmoid", "none"}
    switch : int, optional
        Layers before this one, counted from 0, have the overshoot gate alone, later ones the gain gate alone, as in the
        authors' file. Default: every layer has both.
    gain_start, overshoot_start : float
        The gates' `a` and `b` before training. The authors' 5.0 and 1.0 are far from what training finds: with the
        defaults the network starts near LISTA-CPSS.
    sparsity : int, optional
        Expected number of non-zeros: support selection as in NA-ALISTA's experiments, `Counts(sparsity)`.
    selection : Counts, Percent or None, default Percent()
        Support selection, where no sparsity was given; None for none.
    seed : int, default 0
        Of the sigmoid gate's values before training.
    signals : {"complex", "real part", "real"}
        What is known of the signals where `A` is complex; gates act on magnitudes.

    Attributes
    ----------
    weights.matrix : Parameter (1 or layers, m, n)
        `W` (published code holds `W^T`), from `A / L`; a complex one as real and imaginary parts, in a last axis of 2.
    theta : Parameter (layers, n)
        Thresholds of every entry, from `0.4 / L`.
    a, b : Parameter (layers,)
    D : Parameter (layers, n)
    gate : Linear (n + m -> n)
        `[G, B]` and `d` of the sigmoid gate, shared by the layers; it reads magnitudes.

    Raises
    ------
    ValueError, TypeError
        On values that make no network; when called, on a `y` that does not fit.

    References
    ----------
    Wu, Guo, Li, Zhang, "Sparse coding with gated learned ISTA", ICLR 2020.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.GLISTA(torch.eye(3), layers=20, gain="none", overshoot="none", selection=None)
    >>> net(torch.tensor([[0.2, 4.0, -1.0]])).detach().round(decimals=2)
    tensor([[ 0.0000,  3.6000, -0.6000]])
    """

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        tied: bool = True,
        gain: str = "inverse",
        overshoot: str = "inverse",
        switch: int | None = None,
        gain_start: float = 0.01,
        overshoot_start: float = 0.01,
        sparsity: int | None = None,
        selection: Selecting | None = Percent(),
        seed: int = 0,
        signals: str = "complex",
    ):
        super().__init__()
        for name, value, known in (("gain", gain, GAINS), ("overshoot", overshoot, OVERSHOOTS)):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; choose {', '.join(map(repr, known))}.")
        self.layers, self.depth = whole("layers", layers, 10**6), None
        if switch is not None and switch not in range(layers + 1):
            raise ValueError(f"switch is {switch!r}; needed is a whole number, 0 <= switch <= {layers}, or None.")
        self.sensing = Sensing(A, signals)
        m, n = self.sensing.A.shape
        self.shrink = selections(chosen(sparsity, selection), layers, n)
        self.gain, self.overshoot, self.switch = gain, overshoot, switch
        L = lipschitz(self.sensing.A)
        self.weights = LearnedWeights(self.sensing, 1 if tied else layers, L)
        self.theta = nn.Parameter(torch.full((layers, n), PENALTY / L))
        if gain != "none":
            self.a, self.D = per_layer(gain_start, layers), nn.Parameter(torch.ones(layers, n))
        if overshoot != "none":
            self.b = per_layer(overshoot_start, layers)
        if overshoot == "sigmoid":
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(seed)
                self.gate = nn.Linear(n + m, n, dtype=self.sensing.scale.dtype)
        self.config = {
            "layers": layers, "tied": tied, "gain": gain, "overshoot": overshoot, "switch": switch,
            "gain_start": gain_start, "overshoot_start": overshoot_start, "sparsity": sparsity, "selection": selection,
            "seed": seed, "signals": signals,
        }  # fmt: skip

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.take(y)
        backs = self.weights.back(A)
        x, before = y.new_zeros(*y.shape[:-1], A.shape[1]), self.theta[0]
        for k in active(self):
            back = backs[k % len(backs)]
            point = self._gain(k, x) * x if self.gain != "none" and self._has_gain(k) else x
            c = back(A.residual(y, point))
            z = proximal(point, c, 1.0, self.theta[k], self.shrink[k])
            if self.overshoot != "none" and self._has_overshoot(k):
                g = self._overshoot(k, x, z, y, before, back)
                x = g * z + (1 - g) * x
            else:
                x = z
            # What passed was not shrunk: the next layer has nothing to make up for.
            before = torch.where(self.shrink[k].passing(point + c, self.theta[k]), 0, self.theta[k])
        return self.sensing.give(x)

    def _has_gain(self, k: int) -> bool:
        return self.switch is None or k >= self.switch

    def _has_overshoot(self, k: int) -> bool:
        return self.switch is None or k < self.switch

    def _gain(self, k: int, x: Tensor) -> Tensor:
        a, D, size = self.a[k], self.D[k], x.abs()
        if self.gain == "relu":
            return 1 + a * torch.relu(1 - torch.relu(D * size))
        if self.gain == "inverse":
            return 1 + 0.2 * a / (0.001 + (D * size).abs())
        return 1 + a * torch.exp(-D * size)

    def _overshoot(self, k: int, x: Tensor, z: Tensor, y: Tensor, before: Tensor, back: Any) -> Tensor:
        if self.overshoot == "inverse":
            return 1 - self.b[k] * before / ((z - x).abs() + 0.1)
        gate = torch.sigmoid(self.gate(torch.cat([x.abs(), y.abs()], dim=-1)))
        return 1 - self.b[k] * gate * back(y).abs()
