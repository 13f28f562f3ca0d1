"""What networks unrolled from ISTA are built of: the operator and its weights, support selection, and the loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..operators import ColumnScaled, Dense, Operator, spectral_norm_squared
from ..operators.real_form import real_form
from ..shrinkage import SupportSelection, of_percent
from ..solvers import ista
from ..weights import analytic_weights, check_weights
from .parts import Sensing, positive, whole

Back = Callable[[Tensor], Tensor]
PENALTY = 0.4  # of the LASSO whose ISTA the reference networks start as


@dataclass(frozen=True)
class Counts:
    """Support selection by counts that grow linearly to `share` times the sparsity, as NA-ALISTA's authors do it.

    In layer i the entries strictly above the p_i-th largest pass, whether or not they are above the threshold.

    Parameters
    ----------
    sparsity : int
        Expected number of non-zeros.
    share : float, default 1.2
    low, high : int, optional
        Bounds on the counts; the authors' communication experiment has 3 and 10.

    Raises
    ------
    ValueError
        If a number makes no sense.

    Examples
    --------
    >>> from pursuit import nets
    >>> [layer.p for layer in nets.Counts(50).layers(16, n=1000)]
    [3, 6, 10, 14, 18, 22, 25, 29, 33, 37, 41, 44, 48, 52, 56, 60]
    """

    sparsity: int
    share: float = 1.2
    low: int = 0
    high: int | None = None

    def __post_init__(self) -> None:
        whole("Counts: sparsity", self.sparsity, 10**9)
        positive("Counts: share", self.share)

    def layers(self, layers: int, n: int) -> list[SupportSelection]:
        """What each layer does."""
        first, last = self.share * self.sparsity // layers, self.share * self.sparsity
        high = n if self.high is None else min(self.high, n)
        # The sum is rounded up where it is a whole number but for rounding.
        counts = [first + (last - first) * i / max(layers - 1, 1) for i in range(layers)]
        return [SupportSelection(min(max(math.floor(count + 1e-9), self.low), high)) for count in counts]


@dataclass(frozen=True)
class Percent:
    """Support selection by percentages that grow by `step` per layer up to `most`, as LISTA-CPSS's authors do it.

    In layer i, from 1, the largest `min(step i, most)` percent of the entries pass if they are above the threshold.

    Parameters
    ----------
    step, most : float
        In percent.

    Raises
    ------
    ValueError
        If a number makes no sense.

    Examples
    --------
    >>> from pursuit import nets
    >>> nets.Percent().layers(2, n=501)
    [SupportSelection(p=7, tested=True), SupportSelection(p=13, tested=True)]
    """

    step: float = 1.2
    most: float = 13.0

    def __post_init__(self) -> None:
        positive("Percent: step", self.step)
        positive("Percent: most", self.most)

    def layers(self, layers: int, n: int) -> list[SupportSelection]:
        """What each layer does."""
        return [SupportSelection(of_percent(n, min(self.step * (i + 1), self.most)), True) for i in range(layers)]


Selecting = Counts | Percent
Start = float | Sequence[float]  # a number that layers start from, or one for each


def selections(given: Selecting | None, layers: int, n: int) -> list[SupportSelection]:
    """How every layer shrinks; without support selection, softly."""
    if given is None:
        return [SupportSelection(0)] * layers
    if not isinstance(given, Selecting):
        raise TypeError(f"selection is {given!r}; needed is nets.Counts(...), nets.Percent(...) or None.")
    return given.layers(layers, n)


def chosen(sparsity: int | None, selection: Selecting | None) -> Selecting | None:
    """The support selection of a network: that for its sparsity, where it was told."""
    return selection if sparsity is None else Counts(sparsity)


class Weights(nn.Module):
    """The weights `W (m, n)` that residuals are projected back with, `W^H r`; a buffer where they are a matrix.

    They are kept for unit columns, as `Sensing` keeps the operator.
    """

    matrix: Tensor

    def __init__(self, sensing: Sensing, A: Any, W: Any):
        super().__init__()
        if W is None:
            op = analytic_weights(sensing.A)
        else:
            op = check_weights(W, A)
            if op.batch_shape:
                raise ValueError(
                    f"W has batch {tuple(op.batch_shape)}; a network has one matrix: needed is shape (m, n)."
                )
            lengths = torch.where(sensing.scale > 0, 1 / torch.where(sensing.scale > 0, sensing.scale, 1), 0)
            op = ColumnScaled(real_form(op) if sensing.stacked else op, lengths)  # w_i^H a_i = 1 for any length of a_i
            op = Dense(op.to_dense()) if sensing.operator is None else op
        self.operator: Operator | None = None if isinstance(op, Dense) else op
        self.complex, self.given = op.dtype.is_complex, W is not None
        if isinstance(op, Dense):
            self.register_buffer("matrix", as_parts(op.matrix.detach()))

    def back(self, like: Operator) -> Back:
        """The back-projection, for residuals of the operator `like`."""
        if self.operator is not None:
            return (self.operator if self.operator.dtype == like.dtype else self.operator.complexified()).adjoint
        return _adjoint(as_complex(self.matrix, self.complex), like)

    def columns(self, index: Tensor) -> Tensor:
        """The weights `W[:, index]`: `(p,) -> (m, p)`."""
        if self.operator is not None:
            return self.operator.columns(index)
        return as_complex(self.matrix, self.complex)[:, index]


class LearnedWeights(nn.Module):
    """Weights that training moves, one matrix for all layers or one each, from `A / L`."""

    def __init__(self, sensing: Sensing, count: int, lipschitz: float):
        super().__init__()
        self.complex = sensing.A.dtype.is_complex
        self.matrix = nn.Parameter(as_parts(torch.stack([sensing.A.to_dense() / lipschitz] * count)))

    def back(self, like: Operator) -> list[Back]:
        """The back-projections, one for all layers or one each."""
        return [_adjoint(matrix, like) for matrix in as_complex(self.matrix, self.complex).unbind()]


def per_layer(value: float | Sequence[float], layers: int) -> nn.Parameter:
    """A number for each layer, of either sign, from one to start all from or one each."""
    values = [value] * layers if isinstance(value, int | float) else list(value)
    if len(values) != layers or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        raise ValueError(
            f"{value!r} was given for layers to start from; needed is a finite number, or one for each of {layers}."
        )
    return nn.Parameter(torch.tensor([float(v) for v in values]))


def lipschitz(A: Operator) -> float:
    """The largest eigenvalue of `A^H A`, and a thousandth more as the reference networks have it."""
    return 1.001 * float(spectral_norm_squared(A))


def active(net: Any) -> range:
    """The layers that run: all, or the first `net.depth` of them while `pursuit.training.fit` trains layer by layer."""
    return range(net.layers if net.depth is None else net.depth)


def unroll(
    net: Any,
    A: Operator,
    y: Tensor,
    *,
    back: Sequence[Back],
    gamma: Tensor | None,
    theta: Tensor,
) -> Tensor:
    """The signal after ISTA's steps with a step size, a threshold, and perhaps a back-projection for every layer."""
    s = start(A, y)
    for k in active(net):
        step = 1.0 if gamma is None else gamma[k]
        s = ista.step(A, y, s, gamma=step, theta=theta[k], back=back[k % len(back)], shrink=net.shrink[k])
    return s.x


def start(A: Operator, y: Tensor) -> ista.State:
    """x = 0, whose residual is y."""
    return ista.State(y.new_zeros(*y.shape[:-1], A.shape[1]), y)


def as_parts(matrix: Tensor) -> Tensor:
    """A matrix as buffers and parameters hold it, in real numbers: `net.double()` would drop imaginary parts."""
    matrix = matrix.resolve_conj().contiguous()
    return torch.view_as_real(matrix).clone() if matrix.is_complex() else matrix


def as_complex(parts: Tensor, cplx: bool) -> Tensor:
    """The matrix that `as_parts` was given, complex or not."""
    return torch.view_as_complex(parts.contiguous()) if cplx else parts


def _adjoint(matrix: Tensor, like: Operator) -> Back:
    """The back-projection by a matrix; a complex one conjugates once for all its products."""
    W = Dense(matrix, conjugate=matrix.conj().resolve_conj() if matrix.is_complex() else None)
    return (W if W.dtype == like.dtype else W.complexified()).adjoint
