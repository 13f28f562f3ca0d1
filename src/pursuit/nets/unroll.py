"""Parts of networks unrolled from ISTA: the back-projection, support selection, and start values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import boolean, positive_number, whole_number
from ..core.numeric import safe_divide
from ..operators import ColumnScaled, Dense, Operator, spectral_norm_squared
from ..operators.real_form import real_form
from ..shrinkage import SupportSelection, of_percent
from ..solvers import ista
from ..weights import analytic_weights, check_weights
from .layers import Sensing

Back = Callable[[Tensor], Tensor]
PENALTY = 0.4  # untrained reference networks are ISTA with this penalty


@dataclass(frozen=True)
class CountSchedule:
    """Support selection by counts that grow linearly to `share` times the sparsity, as in NA-ALISTA's code.

    In layer i, entries strictly above the p_i-th largest pass, even if they are below the threshold.

    Parameters
    ----------
    sparsity : int
        Expected number of non-zeros.
    share : float, default 1.2
    low, high : int, optional
        Bounds on the counts; the authors' communication experiment uses 3 and 10.

    Raises
    ------
    ValueError
        If a number has a wrong value.

    Examples
    --------
    >>> from pursuit import nets
    >>> [layer.p for layer in nets.CountSchedule(50).layers(16, n=1000)]
    [3, 6, 10, 14, 18, 22, 25, 29, 33, 37, 41, 44, 48, 52, 56, 60]
    """

    sparsity: int
    share: float = 1.2
    low: int = 0
    high: int | None = None

    def __post_init__(self) -> None:
        whole_number("CountSchedule: sparsity", self.sparsity, high=10**9)
        positive_number("CountSchedule: share", self.share)

    def layers(self, layers: int, n: int) -> list[SupportSelection]:
        """The shrinkage of each layer."""
        first, last = self.share * self.sparsity // layers, self.share * self.sparsity
        high = n if self.high is None else min(self.high, n)
        # The sum is rounded up where it is a whole number but for rounding.
        counts = [first + (last - first) * i / max(layers - 1, 1) for i in range(layers)]
        return [SupportSelection(min(max(math.floor(count + 1e-9), self.low), high)) for count in counts]


@dataclass(frozen=True)
class PercentSchedule:
    """Support selection by percentages that grow by `step` per layer up to `most`, as in LISTA-CPSS.

    In layer i = 1, 2, ..., the largest `min(step i, most)` percent of the entries pass if above the threshold.

    Parameters
    ----------
    step, most : float
        In percent.

    Raises
    ------
    ValueError
        If a number has a wrong value.

    Examples
    --------
    >>> from pursuit import nets
    >>> nets.PercentSchedule().layers(2, n=501)
    [SupportSelection(p=7, tested=True), SupportSelection(p=13, tested=True)]
    """

    step: float = 1.2
    most: float = 13.0

    def __post_init__(self) -> None:
        positive_number("PercentSchedule: step", self.step)
        positive_number("PercentSchedule: most", self.most)

    def layers(self, layers: int, n: int) -> list[SupportSelection]:
        """The shrinkage of each layer."""
        return [SupportSelection(of_percent(n, min(self.step * (i + 1), self.most)), True) for i in range(layers)]


Schedule = CountSchedule | PercentSchedule
Start = float | Sequence[float]  # start value for all layers, or one for each


def shrinking(layers: int, n: int, sparsity: int | None, selection: Schedule | None) -> list[SupportSelection]:
    """The shrinkage of every layer, with support selection for the sparsity if given, else by `selection`."""
    schedule = selection if sparsity is None else CountSchedule(sparsity)
    if schedule is None:
        return [SupportSelection(0)] * layers  # the soft threshold alone
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"selection is {selection!r}; needed is nets.CountSchedule(...), nets.PercentSchedule(...) or None."
        )
    return schedule.layers(layers, n)


class BackProjection(nn.Module):
    """The weights `W (m, n)` of the back-projection `W^H r`, for columns of norm one; a matrix is a buffer."""

    matrix: Tensor

    def __init__(self, sensing: Sensing, A: Any, W: Any):
        super().__init__()
        if W is None:
            op = analytic_weights(sensing.A)
        else:
            op = check_weights(W, A)
            if op.batch_shape:
                raise ValueError(
                    f"W has batch {tuple(op.batch_shape)}, but a network has one matrix; needed is shape (m, n)."
                )
            lengths = safe_divide(1, sensing.scale)
            op = ColumnScaled(real_form(op) if sensing.stacked else op, lengths)  # w_i^H a_i = 1 for any length of a_i
            op = Dense(op.to_dense()) if sensing.operator is None else op
        self.operator: Operator | None = None if isinstance(op, Dense) else op
        self.complex, self.given = op.dtype.is_complex, W is not None
        if isinstance(op, Dense):
            self.register_buffer("matrix", as_parts(op.matrix.detach()))

    def adjoint(self, like: Operator) -> Back:
        """The back-projection, for residuals of the operator `like`."""
        if self.operator is not None:
            return (self.operator if self.operator.dtype == like.dtype else self.operator.complexified()).adjoint
        return _adjoint(as_complex(self.matrix, self.complex), like)

    def columns(self, index: Tensor) -> Tensor:
        """The weights `W[:, index]`: `(p,) -> (m, p)`."""
        if self.operator is not None:
            return self.operator.columns(index)
        return as_complex(self.matrix, self.complex)[:, index]


class LearnedBackProjection(nn.Module):
    """Learned weights, from `A / L`: one matrix for all layers if tied, else one per layer."""

    def __init__(self, sensing: Sensing, layers: int, L: float, *, tied: bool):
        super().__init__()
        self.complex, self.layers = sensing.A.dtype.is_complex, layers
        self.matrix = stacked(sensing.A.to_dense() / L, layers, tied)

    def adjoints(self, like: Operator) -> list[Back]:
        """The back-projection of every layer, for residuals of the operator `like`."""
        return of_every_layer(partial(_adjoint, like=like), self.matrix, self.complex, self.layers)


def stacked(matrix: Tensor, layers: int, tied: bool) -> nn.Parameter:
    """A matrix to learn, `(1, ...)` if tied, else `(layers, ...)`."""
    return nn.Parameter(as_parts(torch.stack([matrix] * (1 if boolean("tied", tied) else layers))))


def of_every_layer(build: Callable[[Tensor], Back], learned: Tensor, cplx: bool, layers: int) -> list[Back]:
    """`build(matrix)` for the matrix of every layer, called once if there is one matrix for all."""
    built = [build(matrix) for matrix in as_complex(learned, cplx).unbind()]
    return built * layers if len(built) == 1 else built


def per_layer(value: float | Sequence[float], layers: int) -> nn.Parameter:
    """A learned number for each layer, of either sign; the start value is one for all, or one for each."""
    values = [value] * layers if isinstance(value, int | float) else list(value)
    if len(values) != layers or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        raise ValueError(
            f"the start value of the layers is {value!r}; needed is a finite number, or one for each of {layers}."
        )
    return nn.Parameter(torch.tensor([float(v) for v in values]))


def lipschitz(A: Operator) -> float:
    """The largest eigenvalue of `A^H A` times 1.001, as in the reference networks."""
    L = 1.001 * float(spectral_norm_squared(A))
    if L == 0:
        raise ValueError("A is zero everywhere, so that y says nothing about x; needed is a matrix that measures x.")
    return L


def active(net: Any) -> range:
    """The layers that run: all, or the first `net.depth` of them while `pursuit.training.fit` trains layer by layer."""
    return range(net.layers if net.depth is None else net.depth)


def start(A: Operator, y: Tensor) -> ista.State:
    """x = 0, whose residual is y."""
    return ista.State(y.new_zeros(*y.shape[:-1], A.shape[1]), y)


def as_parts(matrix: Tensor) -> Tensor:
    """A matrix in real numbers, for buffers and parameters: `net.double()` would drop imaginary parts."""
    matrix = matrix.resolve_conj().contiguous()
    return torch.view_as_real(matrix).clone() if matrix.is_complex() else matrix


def as_complex(parts: Tensor, cplx: bool) -> Tensor:
    """The matrix from the result of `as_parts`."""
    return torch.view_as_complex(parts.contiguous()) if cplx else parts


def _adjoint(matrix: Tensor, like: Operator) -> Back:
    """The back-projection by a matrix, which is conjugated once for all products."""
    W = Dense(matrix, conjugate=matrix.conj().resolve_conj() if matrix.is_complex() else None)
    return (W if W.dtype == like.dtype else W.complexified()).adjoint
