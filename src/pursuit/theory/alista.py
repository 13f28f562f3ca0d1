"""Conditions on thresholds, step sizes and sparsity under which ALISTA finds the signal.

They depend on `mu = max |w_i^H a_j|` over `i != j`, which is `pursuit.generalized_coherence(W, A)`. They hold for
`y = A x*` without noise, a start at zero, and plain soft thresholds.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arrays import as_tensor
from ..checks import expands, finite, nonnegative_per_item, to_tensor, whole
from ..operators import Operator, give
from ..operators.adapters import as_operator
from ..solvers import ista
from ..weights import analytic_weights, check_weights, generalized_coherence
from .common import fits, positive

ORACLE = "oracle"


@torch.no_grad()
def max_sparsity(A: Any, W: Any = None) -> Any:
    """The most non-zeros that ALISTA is guaranteed to find: the largest `s` with `s < (1 + 1 / mu) / 2`.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
    W : like `A`, optional
        Weights with `w_i^H a_i = 1`. Default `analytic_weights(A)`.

    Returns
    -------
    int64 array (*batch,)
        n if `mu` is zero, zero if `mu >= 1`.

    Raises
    ------
    TypeError, ValueError
        If there are no weights for `A`, or `W` are not weights for `A`.

    References
    ----------
    J. Liu, X. Chen, Z. Wang, W. Yin, "ALISTA: analytic weights are as good as learned weights in LISTA", ICLR 2019,
    Theorem 1.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> hadamard = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    >>> theory.max_sparsity(torch.cat([torch.eye(4), hadamard], dim=-1))
    tensor(1)
    """
    op, weights = _pair(A, W)
    mu = generalized_coherence(weights, op).double()
    m, n = op.shape
    limit = (1 + 1 / (mu + 4 * math.sqrt(m) * torch.finfo(op.dtype).eps)) / 2  # allow for rounding in mu
    return give((limit.ceil() - 1).clamp(max=n).long(), A)


def contraction(mu: Any, s: Any, gamma: Any) -> Any:
    """Bound on the factor by which a step changes the l1 error: `mu gamma (2 s - 1) + |1 - gamma|`.

    It is for the smallest threshold without false positives, that of `alista_bound(A, x, "oracle", gamma)`.

    Parameters
    ----------
    mu : float or array
        Generalised coherence, >= 0.
    s : int or int array
        Number of non-zeros, >= 1.
    gamma : float or array
        Step size > 0. The three broadcast.

    Returns
    -------
    float or array
        It is below 1 if and only if the step size is below `max_step(mu, s)`.

    Raises
    ------
    TypeError, ValueError
        If a number has a wrong type or value.

    References
    ----------
    F. Behrens, J. Sauder, P. Jung, "Neurally augmented ALISTA", ICLR 2021, (5) and (6).

    Examples
    --------
    >>> from pursuit import theory
    >>> theory.contraction(0.125, 2, 1.0)
    0.375
    """
    mixing, count, step, given = _together(mu, s, gamma)
    return _answer(_contraction(mixing, count, positive("gamma", step, step.shape, step.device)), given)


def max_step(mu: Any, s: Any) -> Any:
    """The step size below which ALISTA converges to signals with `s` non-zeros: `2 / (2 mu s - mu + 1)`.

    Parameters
    ----------
    mu : float or array
        Generalised coherence, >= 0.
    s : int or int array
        Number of non-zeros, >= 1. The two broadcast.

    Returns
    -------
    float or array
        ALISTA converges for step sizes between 0 and this number, both excluded. It is zero for
        `s >= (1 + 1 / mu) / 2`, where there is no guarantee for any step size.

    Raises
    ------
    TypeError, ValueError
        If a number has a wrong type or value.

    References
    ----------
    J. Liu, X. Chen, Z. Wang, W. Yin, "ALISTA: analytic weights are as good as learned weights in LISTA", ICLR 2019,
    Theorem 1.

    Examples
    --------
    >>> from pursuit import theory
    >>> theory.max_step(0.125, 2)
    1.4545454545454546
    >>> theory.max_step(0.5, 2)
    0.0
    """
    mixing, count, _, given = _together(mu, s, 1.0)
    spread = mixing * (2 * count - 1)
    return _answer(torch.where(spread < 1, 2 / (spread + 1), 0), given)


class AlistaBound(NamedTuple):
    """The guarantees for every layer of ALISTA on these signals, and the actual errors.

    Errors are `||x - x*||_1`. The first axis is that of the layers, except for `mu` and `sparsity`.

    Attributes
    ----------
    mu : (*batch,)
        Generalised coherence of the weights and the matrix.
    sparsity : (*batch,) int64
        Non-zeros of each signal.
    error_before, error : (layers, *batch)
        Errors of the input and the output of the layer.
    gamma, theta : (layers, *batch)
        The step size and the threshold of the layer.
    least_theta : (layers, *batch)
        The smallest threshold that (5) allows: `gamma mu error_before`.
    condition : (layers, *batch) bool
        Whether the thresholds of this and all earlier layers were at least `least_theta`. Then there are no false
        positives.
    false_positive : (layers, *batch) bool
        Whether the output has entries off the signal's support that are larger than rounding.
    bound : (layers, *batch)
        The bound (6) on `error`: `(mu gamma (s - 1) + |1 - gamma|) error_before + theta s`. It holds if `condition`
        does.
    within : (layers, *batch) bool
        Whether `error` is at most `bound`, up to rounding.
    factor : (layers, *batch)
        `contraction(mu, s, gamma)`: the bound on `error / error_before` if `theta` is `least_theta`.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> A = torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]])
    >>> result = theory.alista_bound(A, torch.tensor([0.0, 2.0, 0.0]), theta=[0.1, 0.1], gamma=1.0, W=A)
    >>> result.false_positive, result.condition
    (tensor([True, True]), tensor([False, False]))
    """

    mu: Any
    sparsity: Any
    error_before: Any
    error: Any
    gamma: Any
    theta: Any
    least_theta: Any
    condition: Any
    false_positive: Any
    bound: Any
    within: Any
    factor: Any


@torch.no_grad()
def alista_bound(A: Any, x: Any, theta: Any, gamma: Any, W: Any = None, *, layers: int | None = None) -> AlistaBound:
    """Run ALISTA on `y = A x` and evaluate the guarantees layer by layer.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
    x : array (*batch, n)
        The true signals.
    theta : float, array (layers,) or (layers, *batch), or "oracle"
        Thresholds >= 0. "oracle" takes the smallest ones without false positives, computed from the true error: each
        layer then multiplies the l1 error by at most `contraction(mu, s, gamma)`.
    gamma : float, array (layers,) or (layers, *batch)
        Step sizes > 0.
    W : like `A`, optional
        Weights with `w_i^H a_i = 1`. Default `analytic_weights(A)`.
    layers : int, optional
        Number of layers, if `theta` and `gamma` are single numbers.

    Returns
    -------
    AlistaBound
        With NumPy arrays if `x` is one, else with tensors.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or value, or they do not agree in shape, dtype or device.

    References
    ----------
    F. Behrens, J. Sauder, P. Jung, "Neurally augmented ALISTA", ICLR 2021, (5) and (6); after J. Liu, X. Chen, Z. Wang,
    W. Yin, "ALISTA: analytic weights are as good as learned weights in LISTA", ICLR 2019, Theorem 1.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> hadamard = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    >>> A = torch.cat([torch.eye(4), hadamard], dim=-1)
    >>> result = theory.alista_bound(A, 8 * torch.eye(8)[2], theta="oracle", gamma=1.0, layers=3)
    >>> result.error_before, result.least_theta
    (tensor([8., 4., 2.]), tensor([4., 2., 1.]))
    >>> result.condition.all(), result.within.all(), result.false_positive.any()
    (tensor(True), tensor(True), tensor(False))
    """
    op, weights, signal = _measured(A, W, x)
    batch = signal.shape[:-1]
    oracle = isinstance(theta, str)
    if oracle and theta != ORACLE:
        raise ValueError(f'theta is {theta!r}; needed is a threshold per layer, or "oracle".')
    count = _layers(layers, gamma, 0.0 if oracle else theta)
    steps = _per_layer("gamma", gamma, count, batch, signal)
    if not (steps > 0).all():
        raise ValueError("gamma has entries that are zero; needed are step sizes > 0.")
    given = None if oracle else _per_layer("theta", theta, count, batch, signal)

    mu = generalized_coherence(weights, op).expand(batch)
    on = signal != 0
    s = on.sum(-1)
    rounding = max(1e-12, 100 * torch.finfo(signal.dtype).eps)
    largest = signal.abs().amax(-1)
    total = signal.abs().sum(-1)

    y = op.forward(signal)
    state = ista.init(op, y, torch.zeros_like(signal))
    condition, error = torch.ones_like(s, dtype=torch.bool), total
    rows = []
    for k in range(count):
        before, step = error, steps[k]
        least = step * mu * before  # (5), by the error before the step
        threshold = least if given is None else given[k]
        condition = condition & (threshold >= least)
        state = ista.step(op, y, state, gamma=step.unsqueeze(-1), theta=threshold.unsqueeze(-1), back=weights.adjoint)
        error = (state.x - signal).abs().sum(-1)
        false_positive = torch.where(on, 0, state.x.abs()).amax(-1) > rounding * largest
        bound = (mu * step * (s - 1) + (1 - step).abs()) * before + threshold * s  # (6)
        within = error <= bound * (1 + rounding) + rounding * total
        factor = _contraction(mu, s, step)
        rows.append((before, error, step, threshold, least, condition, false_positive, bound, within, factor))
    stacked = (torch.stack(column) for column in zip(*rows, strict=True))
    return AlistaBound(*(give(value, x) for value in (mu, s, *stacked)))


def _contraction(mu: Tensor, s: Tensor, gamma: Tensor) -> Tensor:
    return mu * gamma * (2 * s - 1) + (1 - gamma).abs()


def _pair(A: Any, W: Any, **known: Any) -> tuple[Operator, Operator]:
    """The operator and its weights."""
    op = as_operator(A, **known)
    return op, check_weights(analytic_weights(op) if W is None else W, op)


def _measured(A: Any, W: Any, x: Any) -> tuple[Operator, Operator, Tensor]:
    """The operator, its weights and the signals `(*batch, n)`, after a check that they agree."""
    signal = finite("x", as_tensor("x", x)).detach()
    op, weights = _pair(A, W, dtype=signal.dtype, device=signal.device)
    fits(op, signal)
    if signal.is_complex() or op.dtype.is_complex:
        op, weights = op.complexified(), weights.complexified()
    own = torch.broadcast_shapes(op.batch_shape, weights.batch_shape)
    try:
        batch = torch.broadcast_shapes(own, signal.shape[:-1])
    except RuntimeError:
        raise ValueError(
            f"A has batch {tuple(own)} and x {tuple(signal.shape[:-1])}; needed are equal ones, or one."
        ) from None
    return op, weights, signal.to(op.dtype).expand(*batch, op.shape[1])


def _layers(layers: int | None, *values: Any) -> int:
    """The number of layers, from the values or the argument."""
    lengths = {len(value) for value in values if getattr(value, "ndim", 0) or isinstance(value, list | tuple)}
    if layers is not None:
        lengths.add(int(whole("layers", layers, 1, None, torch.Size(), "cpu")))
    if not lengths:
        raise ValueError("theta and gamma are single numbers, so the number of layers is not known; pass layers=.")
    if len(lengths) > 1:
        raise ValueError(
            f"theta, gamma and layers are for {sorted(lengths)} layers; needed is the same number for all."
        )
    if 0 in lengths:
        raise ValueError("theta or gamma is empty; needed is at least one layer.")
    return lengths.pop()


def _per_layer(name: str, value: Any, layers: int, batch: torch.Size, like: Tensor) -> Tensor:
    """Numbers >= 0, `(layers, *batch)`, from one number, one per layer, or one per layer and signal."""
    value = to_tensor(name, value, "a real number >= 0 per layer", like.device)
    if value.ndim == 1:
        value = value.reshape(-1, *(1 for _ in batch))
    if value.ndim not in (0, 1 + len(batch)) or not expands(value.shape, torch.Size([layers, *batch])):
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}; needed is a number, one per layer, ({layers},), or one per layer "
            f"and signal, {(layers, *batch)}."
        )
    return nonnegative_per_item(name, value, torch.Size([layers, *batch]), like)


def _together(mu: Any, s: Any, gamma: Any) -> tuple[Tensor, Tensor, Tensor, Any]:
    """Coherence, number of non-zeros and step size in double precision, and one of them which is an array."""
    values = mu, s, gamma
    given = next((value for value in values if getattr(value, "ndim", 0)), 0.0)
    given = next((value for value in values if isinstance(value, Tensor)), given)
    here = given.device if isinstance(given, Tensor) else "cpu"
    shapes = [to_tensor(name, v, "a number", here).shape for name, v in zip(("mu", "s", "gamma"), values, strict=True)]
    try:
        batch = torch.broadcast_shapes(*shapes)
    except RuntimeError:
        raise ValueError(
            f"mu, s and gamma have shapes {[tuple(shape) for shape in shapes]}; needed are shapes that broadcast."
        ) from None
    like = torch.empty(0, dtype=torch.float64, device=here)
    return (
        nonnegative_per_item("mu", mu, batch, like),
        whole("s", s, 1, None, batch, here),
        nonnegative_per_item("gamma", gamma, batch, like),
        given,
    )


def _answer(value: Tensor, given: Any) -> Any:
    """A float for floats, else an array like `given`."""
    return value.item() if isinstance(given, float) else give(value, given)
