"""Shrinkage: the proximal operators of sparsity penalties, for real and complex numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import kernels
from .kernels import flat

KERNELS = "proximal"


def soft(x: Tensor, theta: Tensor | float, passing: Tensor | None = None) -> Tensor:
    """Soft threshold: lower every magnitude by `theta`, down to zero; phases stay.

    `x max(0, 1 - theta / |x|)`, the proximal operator of `theta ||x||_1`. A negative threshold raises magnitudes.

    Parameters
    ----------
    x : Tensor (*batch, n)
    theta : Tensor broadcastable to x, or float
    passing : bool Tensor broadcastable to x, optional
        True for entries that are not changed.

    Examples
    --------
    >>> import torch
    >>> from pursuit.shrinkage import soft
    >>> soft(torch.tensor([3.0, -0.5]), 1.0).round(decimals=4).tolist()
    [2.0, 0.0]
    """
    magnitude = x.abs()
    zero = (magnitude <= theta) | (magnitude == 0)  # guards division and derivative at x = 0; NaN stays NaN
    factor = 1 - theta / torch.where(zero, 1, magnitude)
    shrunk = torch.where(zero, 0, factor * x)
    return shrunk if passing is None else torch.where(passing, x, shrunk)


@dataclass(frozen=True)
class SupportSelection:
    """Soft threshold with support selection: the largest entries of each signal pass unchanged.

    Attributes
    ----------
    p : int
        Entries with a magnitude strictly above the p-th largest one pass: p - 1 of them without ties, none for p = 0
        and p = 1.
    tested : bool, default False
        If True, only entries above the threshold pass.

    References
    ----------
    Chen, Liu, Wang, Yin, "Theoretical linear convergence of unfolded ISTA", NeurIPS 2018, (9).

    Examples
    --------
    >>> import torch
    >>> from pursuit.shrinkage import SupportSelection
    >>> SupportSelection(2)(torch.tensor([3.0, -1.5, 0.5]), 1.0)
    tensor([ 3.0000, -0.5000,  0.0000])
    """

    p: int
    tested: bool = False

    def __call__(self, x: Tensor, theta: Tensor | float) -> Tensor:
        """Shrink `x (*batch, n)`; derivatives do not see which entries pass."""
        return soft(x, theta, self.passing(x, theta) if self.p else None)

    def passing(self, x: Tensor, theta: Tensor | float) -> Tensor:
        """Which entries of `x (*batch, n)` pass."""
        magnitude = x.detach().abs()
        if self.p == 0:
            return torch.zeros_like(magnitude, dtype=torch.bool)
        nth = magnitude.topk(self.p, dim=-1, sorted=False).values.amin(-1, keepdim=True)
        return (magnitude > nth) & (magnitude > theta) if self.tested else magnitude > nth


def bernoulli_gaussian(z: Tensor, tau2: Tensor, logit: Tensor | float, v: Tensor | float) -> tuple[Tensor, Tensor]:
    """Posterior mean of Bernoulli-Gaussian entries in white Gaussian noise, and its derivative.

    Entries are Gaussian of variance `v` with probability `1 / (1 + exp(-logit))`, else zero. If `z` is complex, entries
    and noise are circular.

    Parameters
    ----------
    z : Tensor (*batch, n)
    tau2 : Tensor (*batch, 1)
        Variance of the noise, > 0.
    logit, v : Tensor broadcastable to z, or float

    Returns
    -------
    mean, slope : Tensor (*batch, n)
        `slope` is the derivative of the mean by z, a real number (if z is complex, Wirtinger's derivative).

    References
    ----------
    Vila, Schniter, "Expectation-maximization Gaussian-mixture approximate message passing", IEEE TSP 2013.

    Examples
    --------
    >>> import torch
    >>> from pursuit.shrinkage import bernoulli_gaussian
    >>> bernoulli_gaussian(torch.tensor([0.1, 3.0]), torch.tensor([0.01]), -3.0, 1.0)[0].round(decimals=2)
    tensor([0.0000, 2.9700])
    """
    total = v + tau2
    gain = v / total
    energy = (z.abs() if z.is_complex() else z).square() * (gain / tau2)
    degrees = 1.0 if z.is_complex() else 0.5
    p = torch.sigmoid(logit + degrees * (torch.log(tau2 / total) + energy))  # not 1 - gain: it rounds to 0
    share = gain * p
    return share * z, share * (1 + (1 - p) * energy)


def of_percent(n: int, percent: float) -> int:
    """The `p` of `SupportSelection` at which `percent` of n entries pass, by the entry nearest to that percentile."""
    return 0 if percent <= 0 else math.floor((n - 1) * min(percent, 100) / 100 + 0.5) + 1


Shrink = Callable[[Tensor, Any], Tensor]


def proximal(x: Tensor, c: Tensor, gamma: Tensor | float, theta: Tensor | float, shrink: Shrink = soft) -> Tensor:
    """The proximal step of solvers and networks: go from `x` along the back-projected residual `c`, then shrink.

    `shrink(x + gamma c, theta)`

    Parameters
    ----------
    x, c : Tensor (*batch, n)
    gamma : Tensor broadcastable to `(*batch, 1)`, or float
        Step size.
    theta : Tensor broadcastable to `(*batch, n)`, or float
        Threshold.
    shrink : callable, default soft
        `soft`, a `SupportSelection`, or another function of `x` and `theta`.

    Examples
    --------
    >>> import torch
    >>> from pursuit.shrinkage import proximal
    >>> proximal(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0]), 0.5, 1.0)
    tensor([1., 0.])
    """
    known = shrink is soft or isinstance(shrink, SupportSelection)
    given = [v for v in (x, c, gamma, theta) if isinstance(v, Tensor)]
    per_entry = isinstance(gamma, Tensor) and gamma.ndim > 0 and gamma.shape[-1] != 1
    suits = known and not per_entry and not x.is_complex() and x.shape == c.shape and x.ndim > 0
    if not suits or not kernels.wanted(KERNELS, *given):
        return shrink(x + gamma * c, theta)
    p, tested = (shrink.p, shrink.tested) if isinstance(shrink, SupportSelection) else (0, False)
    gamma, theta = (torch.as_tensor(v, dtype=x.dtype, device=x.device) for v in (gamma, theta))
    out: Tensor = _CompiledStep.apply(x, c, gamma, theta, p, tested)
    return out


class _CompiledStep(torch.autograd.Function):
    """The step by a kernel, in one pass over memory instead of a dozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, c: Tensor, gamma: Tensor, theta: Tensor, p: int, tested: bool) -> Tensor:
        values, direction = flat(x), flat(c)
        step, threshold = _per_item(gamma, x.shape, 1), _per_item(theta, x.shape, x.shape[-1])
        level, out = values.new_empty(values.shape[0]), torch.empty_like(values)
        kernels.run(KERNELS, "forward", values, direction, step, threshold, p, tested, level, out)
        ctx.save_for_backward(x, c, gamma, theta, step, threshold, level)
        ctx.selection = SupportSelection(p, tested)
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, c, gamma, theta, step, threshold, level = ctx.saved_tensors
        if kernels.by_operations(*grads):  # for a second derivative
            return *_way_back(x, c, gamma, theta, ctx.selection, grads[0]), None, None
        values, direction = flat(x), flat(c)
        of_gamma, of_theta = x.new_empty(len(values)), x.new_empty(len(values), threshold.shape[1])
        out = torch.empty_like(values), torch.empty_like(values), of_gamma, of_theta
        given = values, direction, step, threshold, level, flat(grads[0]), ctx.selection.tested
        kernels.run(KERNELS, "backward", *given, *out)
        batch = x.shape[:-1]
        return (
            out[0].view(x.shape),
            out[1].view(x.shape),
            of_gamma.view(*batch, 1).sum_to_size(gamma.shape),
            of_theta.view(*batch, of_theta.shape[1]).sum_to_size(theta.shape),
            None,
            None,
        )


def _way_back(
    x: Tensor, c: Tensor, gamma: Tensor, theta: Tensor, selection: SupportSelection, g: Tensor
) -> tuple[Tensor, ...]:
    """The result of the kernel's `backward`, by operations that have derivatives."""
    z = (x + gamma * c).detach()
    passing = selection.passing(z, theta)
    kept = torch.where(passing | ((z.abs() > theta) & (z != 0)), g, 0)
    of_theta = torch.where(passing, 0, -z.sign() * kept)
    return kept, gamma * kept, (c * kept).sum_to_size(gamma.shape), of_theta.sum_to_size(theta.shape)


def _per_item(value: Tensor, shape: torch.Size, n: int) -> Tensor:
    """Step sizes or thresholds in the kernel's form, `(1 or items, 1 or n)`."""
    value = value.detach()
    if value.numel() == 1:
        return value.reshape(1, 1)
    own = value.shape[-1]
    return value.expand(*shape[:-1], own).reshape(-1, own).contiguous()
