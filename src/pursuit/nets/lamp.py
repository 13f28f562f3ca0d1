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

# Retries: factors of the odds that an entry is non-zero, and of the variance.
TRIES = ((2.0, 1.0), (1.5, 0.9), (1.0, 0.8))


class LAMP(Network):
    """Learned approximate message passing, `net(y) -> x`: close to the oracle if `A` is close to a random matrix.

    For such matrices, Onsager's term makes the input of each denoiser the signal plus white Gaussian noise of known
    variance. The best denoiser is then the posterior mean: `tau^2 = alpha_k ||r||^2 / m`,
    `x = E[x | x + gamma_k A^H r; tau^2]`, `r = y - A x + b_k (n / m) <slope> r`, from x = 0. Each signal has its own
    tau.

    Untrained it is Bernoulli-Gaussian AMP; training changes five numbers per layer. For matrices that are far from
    random (for example, similar neighbouring columns) AMP can diverge: try NA-ALISTA there.

    If the residual of a signal is too large after the last layer, the signal is tried again with more steps and with
    priors of more non-zeros and less noise; the result with the smallest residual is returned. There are no retries in
    training, with gradients, and in a network made by `torch.export` or `torch.compile`.

    Parameters
    ----------
    A : array (m, n), or anything `as_operator` takes
        Columns of any norm. A dense matrix is part of the network and is saved with it.
    layers : int, default 16
    sparsity : int
        Expected number of non-zeros.
    variance : float, default 1.0
        Expected variance of the non-zeros, for unit columns.
    retry_steps : int, default 60
        Steps of each retry; 0 for no retries.
    level : float, default 1.6
        A signal is tried again if `||y - A x|| / ||y||` is larger than `level` times `typical_residual`.
    signals : {"complex", "real part", "real"}
        Signals for a complex `A`; see `OMPNet`.

    Attributes
    ----------
    gamma, alpha, b : Parameter (layers,)
        Step sizes, factors of the variance, and factors of Onsager's term, from 1; alpha as its logarithm.
    logit, variance : Parameter (layers,)
        The prior: log odds that an entry is non-zero, and the logarithm of its variance.
    typical_residual : Tensor ()
        The median of `||y - A x|| / ||y||`, a buffer that `prepare` sets. Without it there are no retries.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type or value; when called, if `y` does not fit.

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
        self.retry_steps = whole_number("retry_steps", retry_steps, low=0, high=10**6)
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
        """Set `typical_residual` from measurements `y (signals, m)`."""
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
        """The signals; those with too large a residual are replaced if a retry leaves a smaller one."""
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
    """The posterior mean of Bernoulli-Gaussian entries with these log odds and this variance."""
    return lambda z, tau2: bernoulli_gaussian(z, amp.floored(tau2), logit, variance)
