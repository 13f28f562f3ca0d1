"""The recovery guarantee of the Support Exploration Algorithm (ICML 2024)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arrays import as_tensor
from ..checks import finite, show, whole
from ..operators import Operator, give, spectral_norm_squared
from ..operators.adapters import as_operator
from .common import fits, positive
from .matrices import Isometry, away_of, isometry, wide


class SeaBound(NamedTuple):
    """The guarantee of SEA for a matrix, signal, noise and start, in double precision.

    It is computed with upper bounds on the restricted isometry constants. The attributes with `at_best` are computed
    with lower bounds: if the condition fails even with these, better bounds would not help.

    Attributes
    ----------
    alpha, gamma : (*batch,)
        The constants of the theorem; infinite where delta_k may be 1 or more.
    slack : (*batch,)
        `min |x_i| / (2 k) - alpha ||x|| - gamma ||e||`. The condition of the theorem is that this is positive.
    t_rip : (*batch,)
        Of SEA's supports S^0, S^1, ..., one S^t with t <= t_rip contains the support of the signal. So
        `max_steps=floor(t_rip) + 1` is enough. Infinite if the condition does not hold.
    recovers : (*batch,) bool
        Whether the condition holds and `min |x_i| > 2 ||e|| / sqrt(1 - delta_2k)`. Then SEA's result contains the
        support of the signal.
    error : (*batch,)
        Bound on the distance of SEA's result from the signal, `2 ||e|| / sqrt(1 - delta_k)`; infinite unless
        `recovers`.
    alpha_at_best, gamma_at_best, slack_at_best : (*batch,)
    exact : bool
        Whether the three constants are exact, and so all these numbers.
    delta_k, delta_2k, delta_2k1 : Isometry
        The constants for k, 2k and 2k + 1 non-zeros (n, if n is smaller), or bounds on them.

    Examples
    --------
    >>> import torch
    >>> from pursuit import theory
    >>> bound = theory.sea_bound(torch.eye(4), torch.tensor([0.0, 2.0, 0.0, 0.0]), None, k=1)
    >>> bound.exact, bound.slack, bound.t_rip
    (True, tensor(1., dtype=torch.float64), tensor(2., dtype=torch.float64))
    """

    alpha: Any
    gamma: Any
    slack: Any
    t_rip: Any
    recovers: Any
    error: Any
    alpha_at_best: Any
    gamma_at_best: Any
    slack_at_best: Any
    exact: bool
    delta_k: Isometry
    delta_2k: Isometry
    delta_2k1: Isometry


@torch.no_grad()
def sea_bound(A: Any, x: Any, e: Any, k: int, eta: Any = None, x0: Any = None) -> SeaBound:
    """Whether SEA is guaranteed to find the support of `x` from `y = A x + e`, and in how many iterations at most.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns must have norm 1; it is made dense. For other columns, divide them by their norms and multiply `x` and
        `x0` by the norms, as the solver does.
    x : array (*batch, n)
        The true signals, none of them zero.
    e : array (*batch, m), optional
        The noise. Default: none.
    k : int
        The k of SEA, at least the number of non-zeros of each signal.
    eta : float or array (*batch,), default 1.8 / L
        Step size > 0, as in `sea`.
    x0 : array (*batch, n), optional
        Start of the exploration variable, as in `sea`. Default zero: then the step size does not matter.

    Returns
    -------
    SeaBound
        With NumPy arrays if `x` is one, else with tensors.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape, columns do not have norm 1, or a signal is zero or has more than k
        non-zeros.

    References
    ----------
    Mohamed, Malgouyres, Emiya, Chaux, "Straight-through meets sparse recovery: the support exploration algorithm",
    ICML 2024, the theorem with RIP assumption.

    Examples
    --------
    >>> import math, torch, pursuit
    >>> from pursuit import theory
    >>> A, x = torch.eye(4, dtype=torch.double), torch.tensor([0.0, 2.0, 0.0, 3.0], dtype=torch.double)
    >>> x0 = torch.tensor([9.0, 0.0, 9.0, 0.0], dtype=torch.double)
    >>> bound = theory.sea_bound(A, x, None, k=2, eta=1.0, x0=x0)
    >>> bound.t_rip
    tensor(21., dtype=torch.float64)
    >>> pursuit.sea(A, A @ x, 2, eta=1.0, x0=x0, max_steps=math.floor(bound.t_rip) + 1).x
    tensor([0., 2., 0., 3.], dtype=torch.float64)
    """
    # Off the support, the gradient differs from the signal's own entry by at most delta_2k1 ||x - x^t|| + ||e||, and
    # ||x - x^t|| <= (delta_2k / (1 - delta_k) + 1) ||x|| + sqrt(1 + delta_k) / (1 - delta_k) ||e||. As long as an atom
    # is missing, some X_i with i in S* grows by no less than its entry minus that, and others by no more than that.
    op, signal, noise_norm, start, step = _agreeing(A, x, e, eta, x0)
    count = _sparsity(k, signal, op)
    away = away_of(wide(op.to_dense()))
    n = away.shape[-1]
    deltas = [isometry(away, min(size, n)) for size in (count, 2 * count, 2 * count + 1)]
    least = torch.where(signal != 0, signal.abs(), math.inf).amin(-1)
    size = torch.linalg.vector_norm(signal, dim=-1)

    values = []
    for dk, d2k, d2k1 in ([delta.upper for delta in deltas], [delta.lower for delta in deltas]):
        alpha, gamma = _constants(dk, d2k, d2k1)
        values.append((alpha, gamma, least / (2 * count) - _product(alpha, size) - _product(gamma, noise_norm)))
    (alpha, gamma, slack), at_best = values
    holds = slack > 0
    t_rip = (2 * count * start.abs().amax(-1) / step + (count + 1) * least) / torch.where(holds, 2 * count * slack, 1)
    below = [torch.where(delta.upper < 1, 1 - delta.upper, 0).sqrt() for delta in deltas]
    recovers = holds & (least * below[1] > 2 * noise_norm)
    error = torch.where(recovers, 2 * noise_norm / torch.where(recovers, below[0], 1), math.inf)
    t_rip = torch.where(holds, t_rip, math.inf)
    batch = signal.shape[:-1]
    numbers = (alpha, gamma, slack, t_rip, recovers, error, *at_best)
    constants = (Isometry(give(delta.lower, x), give(delta.upper, x), delta.exact) for delta in deltas)
    exact = all(delta.exact for delta in deltas)
    return SeaBound._make([*(give(value.expand(batch), x) for value in numbers), exact, *constants])


def _constants(dk: Tensor, d2k: Tensor, d2k1: Tensor) -> tuple[Tensor, Tensor]:
    """`alpha` and `gamma` of the theorem; they grow with each constant."""
    known = dk < 1
    rest = torch.where(known, 1 - dk, 1)
    alpha = d2k1 * (d2k / rest + 1)
    gamma = d2k1 * (1 + dk).sqrt() / rest + 1
    return torch.where(known, alpha, math.inf), torch.where(known, gamma, math.inf)


def _product(constant: Tensor, norm: Tensor) -> Tensor:
    """The product, where infinity times zero is zero."""
    return torch.where(norm > 0, constant * norm, 0)


def _agreeing(A: Any, x: Any, e: Any, eta: Any, x0: Any) -> tuple[Operator, Tensor, Tensor, Tensor, Tensor]:
    """The operator, the signals `(*batch, n)`, norms of the noise, starts and step sizes, in double precision."""
    signal = finite("x", as_tensor("x", x)).detach()
    op = as_operator(A, dtype=signal.dtype, device=signal.device)
    fits(op, signal)
    m, n = op.shape
    noise = _vectors("e", e, m, signal)
    start = _vectors("x0", x0, n, signal)
    try:
        batch = torch.broadcast_shapes(op.batch_shape, *(value.shape[:-1] for value in (signal, noise, start)))
    except RuntimeError:
        shapes = [tuple(value.shape[:-1]) for value in (signal, noise, start)]
        raise ValueError(
            f"A, x, e and x0 have batches {tuple(op.batch_shape)}, {', '.join(map(str, shapes))}; needed are equal "
            "ones, or none."
        ) from None
    if not (signal != 0).any(-1).all():
        raise ValueError("x has signals that are zero; needed are signals with a support to find.")
    _check_unit(op)
    largest = spectral_norm_squared(op).double()
    step = positive("eta", 1.8 / largest if eta is None else eta, batch, signal.device)
    norm = torch.linalg.vector_norm(wide(noise), dim=-1)
    return op, wide(signal).expand(*batch, n), norm, wide(start), step


def _vectors(name: str, value: Any, length: int, like: Tensor) -> Tensor:
    """Vectors `(*batch, length)`; zero if `value` is None."""
    if value is None:
        return like.new_zeros(length)
    value = finite(name, as_tensor(name, value)).detach()
    if value.ndim == 0 or value.shape[-1] != length:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; needed is (*batch, {length}).")
    if value.device != like.device:
        raise ValueError(f"x is on {like.device} and {name} on {value.device}; move one of them with .to(device).")
    return value


def _check_unit(op: Operator) -> None:
    norms = op.column_norms()
    if not ((norms - 1).abs() <= torch.finfo(norms.dtype).eps ** 0.5).all():
        raise ValueError(
            f"A has columns of norm {show(norms)}; the theorem needs columns of norm 1: divide them by their norms, "
            "and multiply x and x0 by these."
        )


def _sparsity(k: Any, signal: Tensor, op: Operator) -> int:
    """k, after a check that no signal has more non-zeros."""
    count = int(whole("k", k, 1, min(op.shape), torch.Size(), signal.device))
    most = int((signal != 0).sum(-1).max()) if signal.numel() else 0
    if most > count:
        raise ValueError(f"k is {count} but x has signals with {most} non-zeros; needed is k >= {most}.")
    return count
