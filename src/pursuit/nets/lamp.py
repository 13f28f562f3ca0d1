"""LAMP: approximate message passing, unrolled and learned, with a Bernoulli-Gaussian denoiser."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..checks import positive_number, whole_number
from ..core.numeric import ones_for_zeros
from ..names import takes_old_names
from ..operators import Operator
from ..shrinkage import bernoulli_gaussian
from ..solvers import amp
from .layers import Network, Sensing, old_attribute, recorded
from .unroll import active, per_layer

# Second and later tries: factors on the odds of an entry to be non-zero, and on the variance.
TRIES = ((2.0, 1.0), (1.5, 0.9), (1.0, 0.8))


class LAMP(Network):
    """Learned approximate message passing, `net(y) -> x`: near the oracle where the entries of `A` are like random.

    ISTA's residual plus Onsager's term is, for such matrices, white Gaussian noise of known variance in every entry, so
    the best shrinkage is the posterior mean: `tau^2 = alpha_k ||r||^2 / m`, `x = E[x | x + gamma_k A^H r; tau^2]`,
    `r = y - A x + b_k (n / m) <slope> r`, from x = 0. Step size and threshold follow each signal through its own tau.

    Untrained it is Bernoulli-Gaussian AMP; training moves five numbers per layer. For matrices far from random (say,
    neighbouring columns alike) its theory fails and AMP can diverge: try NA-ALISTA there.

    The few signals that are not found after the last layer, by their residual, are tried again, for longer, with priors
    of more non-zeros and less noise, and the answer of least residual is kept. That is for recovery alone: there is no
    retry while training, where gradients are taken, and in a network that `torch.export` or `torch.compile` made.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix becomes part of the network and of what is saved.
    layers : int, default 16
    sparsity : int
        Expected number of non-zeros.
    variance : float, default 1.0
        Expected variance of the non-zeros, for unit columns.
    retry_steps : int, default 60
        Steps of each retry; 0 for no retry.
    level : float, default 1.6
        Signals are tried again whose residual is this many times as large, measured by y, as that of most: `prepare`
        finds out what that is.
    signals : {"complex", "real part", "real"}
        What is known of the signals where `A` is complex.

    Attributes
    ----------
    gamma, alpha, b : Parameter (layers,)
        Step sizes, factors on the variance, and factors on Onsager's term, from 1; alpha as its logarithm.
    logit, variance : Parameter (layers,)
        The prior: log odds of an entry to be non-zero, and the logarithm of its variance.
    typical_residual : Tensor ()
        The median of `||y - A x|| / ||y||`: a buffer, saved with the network. Without it there is no retry.

    Raises
    ------
    ValueError, TypeError
        On values that make no network; when called, on a `y` that does not fit.

    References
    ----------
    Borgerding, Schniter, Rangan, "AMP-inspired deep networks for sparse linear inverse problems", IEEE TSP 2017; the
    denoiser: Vila, Schniter, "Expectation-maximization Gaussian-mixture approximate message passing", IEEE TSP 2013.

    Examples
    --------
    >>> import torch, pursuit
    >>> ensemble = pursuit.ensembles.bernoulli_gaussian(n=400, m=200, k=20)
    >>> y, x = ensemble.draw(50, torch.Generator().manual_seed(0))
    >>> net = pursuit.nets.LAMP(ensemble.A, layers=10, sparsity=20)
    >>> pursuit.metrics.nmse_db(net(y).detach(), x) < -40
    True
    """

    typical_residual: Tensor
    prepared: Tensor
    usual = old_attribute("usual", "typical_residual")

    @takes_old_names(polish="retry_steps")
    def __init__(
        self,
        A: Any,
        *,
        layers: int = 16,
        sparsity: int,
        variance: float = 1.0,
        retry_steps: int = 60,
        level: float = 1.6,
        signals: str = "complex",
    ):
        super().__init__()
        self.config = recorded(LAMP, locals())
        self.sensing = Sensing(A, signals)
        n = self.sensing.shape[1]
        self.layers, self.depth = whole_number("layers", layers, high=10**6), None
        self.share = whole_number("sparsity", sparsity, high=n - 1) / n
        self.retry_steps = retry_steps if retry_steps == 0 else whole_number("retry_steps", retry_steps, high=10**6)
        self.level = positive_number("level", level)
        self.gamma, self.b, self.alpha = per_layer(1.0, layers), per_layer(1.0, layers), per_layer(0.0, layers)
        self.logit = per_layer(math.log(self.share / (1 - self.share)), layers)
        self.variance = per_layer(math.log(positive_number("variance", variance)), layers)
        self.register_buffer("typical_residual", torch.tensor(0.0))
        self.register_buffer("prepared", torch.tensor(False))

    def forward(self, y: Tensor) -> Tensor:
        A, y = self.sensing.prepare(y)
        s = self._layers(A, y)
        recovering = not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling())
        x = self._retried(A, y, s.x) if self.retry_steps and recovering and self.prepared else s.x
        return self.sensing.to_caller_units(x)

    def prepare(self, y: Tensor) -> None:
        """Find out how large a residual usually is, from measurements `y (signals, m)`."""
        A, y = self.sensing.prepare(y)
        with torch.no_grad():
            self.typical_residual.copy_(self._miss(A, y, self._layers(A, y).x).median())
            self.prepared.fill_(True)

    def _layers(self, A: Operator, y: Tensor) -> amp.State:
        s = start(A, y)
        for k in active(self):
            # tau^2 = alpha ||r||^2 / m, x = E[x | x + gamma A^H r; tau^2], r = y - A x + b (n / m) <slope> r
            denoise = posterior_mean(self.logit[k], self.variance[k].exp())
            s = amp.step(A, y, s, denoise=denoise, gamma=self.gamma[k], inflation=self.alpha[k].exp(), b=self.b[k])
        return s

    def _retried(self, A: Operator, y: Tensor, x: Tensor) -> Tensor:
        """The answers, those of too large a residual replaced where another try leaves less."""
        batch, limit = x.shape[:-1], self.level * self.typical_residual
        x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
        for odds, alpha in TRIES:
            miss = self._miss(A, y, x)
            bad = (~(miss <= limit)).nonzero().squeeze(-1)
            if len(bad) == 0:
                break
            logit = math.log(odds * self.share / (1 - self.share))
            s, denoise = start(A, y[bad]), posterior_mean(logit, self.variance[-1].exp())
            for _ in range(self.retry_steps):
                s = amp.step(A, y[bad], s, denoise=denoise, inflation=alpha)
            better = self._miss(A, y[bad], s.x) < miss[bad]
            x = x.index_copy(0, bad[better], s.x[better])
        return x.reshape(*batch, -1)

    def _miss(self, A: Operator, y: Tensor, x: Tensor) -> Tensor:
        """`||y - A x|| / ||y||`, zero for y = 0."""
        norm = torch.linalg.vector_norm(y, dim=-1)
        return torch.linalg.vector_norm(A.residual(y, x), dim=-1) / ones_for_zeros(norm)


def start(A: Operator, y: Tensor) -> amp.State:
    """x = 0, whose residual is y."""
    return amp.State(y.new_zeros(*y.shape[:-1], A.shape[1]), y, y)


def posterior_mean(logit: Tensor | float, variance: Tensor) -> amp.Denoiser:
    """That of a Bernoulli-Gaussian entry with these log odds and this variance."""
    return lambda z, tau2: bernoulli_gaussian(z, amp.floored(tau2), logit, variance)
