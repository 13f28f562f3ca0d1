"""NA-ALISTA: ALISTA with an LSTM that predicts step size and threshold for every signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..checks import boolean, positive_number, whole_number
from ..shrinkage import proximal
from .layers import Network, Sensing, old_attribute, recorded
from .unroll import BackProjection, PercentSchedule, Schedule, active, shrinking

INPUTS = ("r", "u", "ru")


class Adapted(NamedTuple):
    """The values of one layer of NA-ALISTA.

    Attributes
    ----------
    x : Tensor (*batch, n)
        The iterate after the layer, for columns of norm one.
    gamma, theta : Tensor (*batch, 1)
        Step size and threshold of the layer.
    r, u : Tensor (*batch, 1)
        The l1 norms of the residual and of its back-projection before the layer.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.NAALISTA(torch.eye(3), layers=2, sparsity=1, hidden=4)
    >>> y = torch.tensor([[0.2, 4.0, -1.0]])
    >>> net.prepare(y.expand(8, 3) * torch.rand(8, 1))
    >>> [layer.r.item() for layer in net.trace(y)][0]
    5.199999809265137
    """

    x: Tensor
    gamma: Tensor
    theta: Tensor
    r: Tensor
    u: Tensor


class NAALISTA(Network):
    """Neurally augmented ALISTA, `net(y) -> x`: step size and threshold are predicted for every signal and layer.

    In every layer `b = y - A x`, `c = W^H b`, `r = ||b||_1`, `u = ||c||_1`; an LSTM cell takes the standardised
    `[r, u]`; `gamma, theta = softplus(U2 relu(U1 c' + b1) + b2)` from the cell state `c'`; then
    `x = eta(x + gamma c, theta)` with support selection.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix is part of the network and is saved with it.
    layers : int, default 16
    sparsity : int, optional
        Expected number of non-zeros. If given, support selection is that of the paper, `CountSchedule(sparsity)`.
    selection : CountSchedule, PercentSchedule or None, default PercentSchedule()
        Support selection if no sparsity is given; None for no selection.
    hidden : int, default 128
        Size of the LSTM.
    inputs : {"ru", "r", "u"}
        LSTM inputs.
    faithful_paper : bool, default False
        If True, the network as printed: r and u are not standardised, and the head is one matrix `U (2, hidden)`
        without bias. It is hard to train, because r and u are in the tens and hundreds. False is the network of the
        authors' code.
    W : array (m, n) or Operator, optional
        Weights with `W_i^H A_i = 1`. Default `analytic_weights(A)`.
    scale_gamma, scale_theta : float, default 1.0
        Factors of the two outputs; the authors' communication experiment uses 3 and 1/20.
    seed : int, default 0
        Seed of the values before training.
    signals : {"complex", "real part", "real"}
        Signals for a complex `A`; see `OMPNet`.

    Attributes
    ----------
    cell : LSTMCell
        Inputs in the order r, u; gates in torch's order, input, forget, cell, output.
    head : Sequential or Linear
        Reads the cell state; its outputs are step size and threshold, in this order.
    h0, c0 : Parameter (hidden,)
        Initial hidden and cell state.
    mean, std : Tensor (inputs,)
        Mean and standard deviation of r and u, in this order: buffers, saved with the network. `prepare`, which
        `pursuit.training.fit` calls, sets them. Results depend on all their digits.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit, or before `prepare`. A network made
        by `torch.export` returns NaN before `prepare`.

    References
    ----------
    Behrens, Sauder, Jung, "Neurally Augmented ALISTA", ICLR 2021.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.NAALISTA(torch.eye(3), layers=2, sparsity=1, hidden=4)
    >>> net.prepare(torch.randn(64, 3))
    >>> net(torch.tensor([[0.2, 4.0, -1.0]])).shape
    torch.Size([1, 3])
    """

    mean: Tensor
    std: Tensor
    prepared: Tensor
    weights = old_attribute("weights", "back_projection")

    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        sparsity: int | None = None,
        selection: Schedule | None = PercentSchedule(),
        hidden: int = 128,
        inputs: str = "ru",
        faithful_paper: bool = False,
        W: Any = None,
        scale_gamma: float = 1.0,
        scale_theta: float = 1.0,
        seed: int = 0,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(NAALISTA, locals())
        if inputs not in INPUTS:
            raise ValueError(f"inputs is {inputs!r}; choose {', '.join(map(repr, INPUTS))}.")
        self.sensing = Sensing(A, signals)
        self.back_projection = BackProjection(self.sensing, A, W)
        self.layers, self.depth, self.inputs = whole_number("layers", layers, high=10**6), None, inputs
        self.shrink = shrinking(layers, self.sensing.shape[1], sparsity, selection)
        whole_number("hidden", hidden, high=10**6)
        whole_number("seed", seed, low=0, high=2**63 - 1)
        boolean("faithful_paper", faithful_paper)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.cell = nn.LSTMCell(len(inputs), hidden)
            if faithful_paper:
                self.head: nn.Module = nn.Linear(hidden, 2, bias=False)
            else:
                self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2))
            self.h0, self.c0 = nn.Parameter(torch.randn(hidden)), nn.Parameter(torch.randn(hidden))
        self.register_buffer("mean", torch.zeros(len(inputs)))
        self.register_buffer("std", torch.ones(len(inputs)))
        self.register_buffer("prepared", torch.tensor(faithful_paper))
        self.scales = positive_number("scale_gamma", scale_gamma), positive_number("scale_theta", scale_theta)
        self.to(self.sensing.scale)

    def prepare(self, y: Tensor) -> None:
        """Set mean and standard deviation of r and u in the first layer from measurements.

        Parameters
        ----------
        y : Tensor (signals, m)
            At least two signals, better 10 000: small errors in these numbers become large ones in the last layers.
        """
        if self.prepared:
            return
        A, y = self.sensing.prepare(y)
        if y.ndim != 2 or len(y) < 2:
            raise ValueError(
                f"prepare was given y of shape {tuple(y.shape)}; needed is (signals, m), with at least two signals."
            )
        with torch.no_grad():
            std, mean = torch.std_mean(self._lstm_inputs(y, self.back_projection.adjoint(A)(y)), dim=0)
            self.mean.copy_(mean)
            self.std.copy_(std)
            self.prepared.fill_(True)

    def forward(self, y: Tensor) -> Tensor:
        for layer in self.trace(y):
            x = layer.x
        return self.sensing.to_caller_units(x)

    def trace(self, y: Tensor) -> Iterator[Adapted]:
        """All layers one by one: iterates, step sizes, thresholds, and the LSTM inputs."""
        if not torch.compiler.is_compiling() and not self.prepared:
            raise ValueError(
                "this NA-ALISTA has no statistics of r and u; train it with pursuit.training.fit, or call "
                "net.prepare(y) with the measurements of 10 000 or more signals."
            )
        # A graph made by torch.export or torch.compile cannot raise: without statistics it returns NaN.
        mean = torch.where(self.prepared, self.mean, torch.nan)
        A, y = self.sensing.prepare(y)
        back, batch, lstm = self.back_projection.adjoint(A), y.shape[:-1], self._lstm(y.shape[:-1].numel())
        x, b = y.new_zeros(*batch, A.shape[1]), y
        for k in active(self):
            if k:
                b = A.residual(y, x)
            c = back(b)
            norms = self._lstm_inputs(b, c)  # r = ||b||_1, u = ||c||_1
            gamma, theta = (out.reshape(*batch, 1) for out in lstm((norms - mean) / self.std))
            x = proximal(x, c, gamma, theta, self.shrink[k])  # x = eta_theta(x + gamma c)
            yield Adapted(x, gamma, theta, norms[..., :1], norms[..., -1:])

    def _lstm(self, items: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """The recurrent network from its start: each call returns step sizes and thresholds of the next layer.

        It computes `self.cell` and `self.head` with signals as columns: so gates are contiguous, and the two products
        of the cell are one.
        """
        cell, (*hidden, last) = self.cell, [m for m in self.head.modules() if isinstance(m, nn.Linear)]
        W, bias = torch.cat([cell.weight_hh, cell.weight_ih], dim=1), (cell.bias_hh + cell.bias_ih).unsqueeze(1)
        h, c = (v.unsqueeze(1).expand(-1, items) for v in (self.h0, self.c0))

        def advance(standard: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal h, c
            z = torch.addmm(bias, W, torch.cat([h, standard.reshape(items, standard.shape[-1]).mT]))
            enter, forget, new, give = z.split(len(c))
            c = torch.addcmul(forget.sigmoid() * c, enter.sigmoid(), new.tanh())  # c', h' = LSTM(c, h, [r, u])
            h = give.sigmoid() * c.tanh()
            out = c  # the head reads the cell state, as printed
            for layer in hidden:
                out = torch.addmm(layer.bias.unsqueeze(1), layer.weight, out).relu()
            out = last.weight @ out if last.bias is None else torch.addmm(last.bias.unsqueeze(1), last.weight, out)
            gamma, theta = nn.functional.softplus(out)
            return gamma * self.scales[0], theta * self.scales[1]

        return advance

    def _lstm_inputs(self, b: Tensor, c: Tensor) -> Tensor:
        """The inputs r and u, norms of the residual and of its back-projection, `(*batch, 1 or 2)`."""
        norms = {"r": b, "u": c}
        return torch.stack([_l1(norms[name]) for name in self.inputs], dim=-1)


def _l1(v: Tensor) -> Tensor:
    """The l1 norm; for complex numbers that of real and imaginary parts, as in the authors' code."""
    v = v.resolve_conj()
    return torch.linalg.vector_norm(torch.view_as_real(v).flatten(-2) if v.is_complex() else v, ord=1, dim=-1)
