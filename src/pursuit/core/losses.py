"""Losses that solvers minimise, and what their steps need of them.

A loss is a sum over the measurements of `l(v_i, y_i) >= 0` with `v = A x`. For every loss, the residual `r` of a state
has `||r||^2 = 2 sum_i l_i`; for least squares it is `y - A x`. Stop rules, the best iterate and `tol` use only `r`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from ..checks import nonnegative_per_item
from ..operators import Compose, Diagonal, Operator
from .atoms import ChosenAtoms
from .least_squares import Fit, fit, solve
from .numeric import safe_divide
from .qr import QR, put

ROUNDINGS = 10  # a residual below so many roundings of that of x = 0 is that of an exact fit
NEWTON_STEPS, HALVINGS = 100, 40  # most; usually ten and none
SHARE = 1e-4  # a step must bring this share of the decrease that the slope predicts
LEAST_WEIGHT = 1e-3  # of a measurement, as a share of l'^2 / (2 l)


class Loss(Protocol):
    """The methods of a loss.

    Attributes
    ----------
    curvature : float or None
        The largest `l''`, or None if unknown; default step sizes are inverse to it.
    trials : int
        How many of the best swaps by `quadratic` ELS refits to find the best one.
    """

    @property
    def curvature(self) -> float | None: ...

    @property
    def trials(self) -> int: ...

    def rounding(self, eps: float) -> float:
        """The share of the residual of `x = 0` below which a residual is rounding by `eps`."""
        ...

    def initial_residual(self, y: Tensor) -> Tensor:
        """The residual of `x = 0`, for measurements `y (*batch, m)`."""
        ...

    def residual(self, A: Operator, y: Tensor, x: Tensor) -> Tensor:
        """The residual `r (*batch, m)` of `x (*batch, n)`: `||r||^2 / 2` is the loss."""
        ...

    def pseudo_residual(self, A: Operator, y: Tensor, x: Tensor, r: Tensor) -> Tensor:
        """`p = -l'(v)` at `v = A x`, given the residual `r` of `x`: `A^H p` is the negative gradient of the loss."""
        ...

    def fit(self, A: Operator, y: Tensor, atoms: ChosenAtoms) -> Fit:
        """The fit with the least loss on the chosen atoms."""
        ...

    def empty(self, y: Tensor, capacity: int) -> Any:
        """A fit without columns, to which columns are appended one by one: `QR`, or an object with its methods."""
        ...

    def quadratic(self, A: Operator, y: Tensor, x: Tensor) -> tuple[Operator, Tensor]:
        """`A` and `y` of the least squares with the same first and second derivatives at `x` as the loss."""
        ...


@dataclass(frozen=True)
class LeastSquares:
    """`|v - y|^2 / 2`, the default. Only this loss has complex numbers, derivatives and compiled kernels.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.LeastSquares()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor([0., 2.])
    """

    curvature: ClassVar[float] = 1.0
    trials: ClassVar[int] = 1

    def __call__(self, v: Tensor, y: Tensor) -> Tensor:
        return (v - y).abs().square() / 2

    def rounding(self, eps: float) -> float:
        return ROUNDINGS * eps

    def initial_residual(self, y: Tensor) -> Tensor:
        return y

    def residual(self, A: Operator, y: Tensor, x: Tensor) -> Tensor:
        return A.residual(y, x)

    def pseudo_residual(self, A: Operator, y: Tensor, x: Tensor, r: Tensor) -> Tensor:
        return r

    def fit(self, A: Operator, y: Tensor, atoms: ChosenAtoms) -> Fit:
        return fit(A, y, atoms)

    def empty(self, y: Tensor, capacity: int) -> QR:
        return QR.empty(y, capacity)

    def quadratic(self, A: Operator, y: Tensor, x: Tensor) -> tuple[Operator, Tensor]:
        return A, y


@dataclass(frozen=True)
class Logistic:
    """`log(1 + exp(-s v))` with labels `s = 1` where `y` is 1, and `s = -1` where `y` is 0 or -1.

    If the labels are separable, no finite `x` is optimal. A refit then stops when the loss is zero up to rounding, with
    every label on its right side by about 35 (15 in single precision), and the solver has the status `TOLERANCE`.

    Examples
    --------
    >>> import torch, pursuit
    >>> A = torch.tensor([[1.0, 1.0, 0.5], [-1.0, 2.0, 0.1], [1.0, -1.0, 1.0], [-1.0, -3.0, 0.2], [1.0, 0.5, -0.3]])
    >>> sol = pursuit.omp(A, torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0]), k=1, loss=pursuit.Logistic())
    >>> sol.x.round(decimals=3)
    tensor([0.0000, 1.7880, 0.0000])
    """

    curvature: ClassVar[float] = 0.25

    def __call__(self, v: Tensor, y: Tensor) -> Tensor:
        return -torch.nn.functional.logsigmoid(torch.where(y > 0, v, -v))

    def check(self, y: Tensor) -> None:
        """Raise ValueError unless `y` are labels."""
        if not (((y == 1) | (y == 0)).all() or ((y == 1) | (y == -1)).all()):
            raise ValueError(
                f"y goes from {y.min().item():.3g} to {y.max().item():.3g}; the logistic loss needs labels: all 0 or "
                "1, or all -1 or 1."
            )


@dataclass(frozen=True)
class SmoothLoss:
    """Any loss that torch differentiates twice; a refit is a sequence of weighted least squares.

    Attributes
    ----------
    of : callable (v, y) -> Tensor (*batch, m)
        One loss per measurement.
    """

    of: Callable[[Tensor, Tensor], Tensor]
    trials: ClassVar[int] = 8

    @property
    def curvature(self) -> float | None:
        value: float | None = getattr(self.of, "curvature", None)
        return value

    def rounding(self, eps: float) -> float:
        return math.sqrt(ROUNDINGS * eps)  # the loss is rounded, and the residual is its square root

    def initial_residual(self, y: Tensor) -> Tensor:
        return self.deviance_residual(torch.zeros_like(y), y)

    def residual(self, A: Operator, y: Tensor, x: Tensor) -> Tensor:
        return self.deviance_residual(A.forward(x), y)

    def pseudo_residual(self, A: Operator, y: Tensor, x: Tensor, r: Tensor) -> Tensor:
        return second_order_model(self.of, A.forward(x), y).pseudo_residual

    def fit(self, A: Operator, y: Tensor, atoms: ChosenAtoms) -> Fit:
        return fit(A, y, atoms, self.minimise)

    def empty(self, y: Tensor, capacity: int) -> ActiveSetFit:
        none = torch.zeros_like(y)
        pseudo_residual = second_order_model(self.of, none, y).pseudo_residual
        return ActiveSetFit(self, y, (none,) * capacity, y.new_zeros(*y.shape[:-1], capacity), pseudo_residual, 0)

    def quadratic(self, A: Operator, y: Tensor, x: Tensor) -> tuple[Operator, Tensor]:
        v = A.forward(x)
        here = second_order_model(self.of, v, y)
        root, z = here.as_least_squares()
        return Compose(Diagonal(root), A), root * v + z

    @torch.no_grad()
    def deviance_residual(self, v: Tensor, y: Tensor) -> Tensor:
        """The residual of `v (*batch, m)`."""
        return (2 * self.of(v, y).clamp(min=0)).sqrt()

    @torch.no_grad()
    def minimise(self, B: Tensor, y: Tensor, count: Tensor) -> Fit:
        """The least loss of `v = B z`, by Newton's method from `z = 0`; arguments as for `least_squares.solve`.

        It starts from zero, so that the fit depends only on the support. Each signal stops on its own: when the
        predicted decrease is rounding, when the loss is zero up to rounding (for separable labels), or when no step
        lowers it.
        """
        m, k = B.shape[-2:]
        flat, labels, counts = B.reshape(-1, m, k), y.expand(B.shape[:-1]).reshape(-1, m), count.reshape(-1)
        z, v = flat.new_zeros(len(flat), k), torch.zeros_like(labels)
        exact = self.rounding(torch.finfo(y.dtype).eps) ** 2 / 2 * self.of(v, labels).sum(-1)
        going = torch.arange(len(flat), device=B.device)
        for _ in range(NEWTON_STEPS):
            if not len(going):
                break
            these = (values[going] for values in (flat, labels, counts, z, v, exact))
            z[going], v[going], further = newton(self.of, *these)
            going = going[further]
        return Fit(z.view(*B.shape[:-2], k), self.deviance_residual(v, labels).view(B.shape[:-1]))


class SecondOrderModel(NamedTuple):
    """A loss at `v (*batch, m)`: `loss`, `pseudo_residual = -l'`, and `weight`, the curvature for Newton's method."""

    loss: Tensor
    pseudo_residual: Tensor
    weight: Tensor

    def as_least_squares(self) -> tuple[Tensor, Tensor]:
        """`(w, z)` such that `||w B d - z||^2 / 2` is, up to a constant, the loss of a step `B d` to second order."""
        root = self.weight.sqrt()
        return root, safe_divide(self.pseudo_residual, root)


def second_order_model(of: Callable[[Tensor, Tensor], Tensor], v: Tensor, y: Tensor) -> SecondOrderModel:
    """The second-order model of a loss.

    A measurement without curvature (an outlier under Huber's loss, a label far on the wrong side) gets a small share of
    `l'^2 / (2 l)`, the curvature if its residual `sqrt(2 l)` were linear in v. So the curvature is positive wherever
    the first derivative is not zero, for any loss in any units.
    """
    with torch.inference_mode(False), torch.enable_grad():
        v, y = v.detach().clone().requires_grad_(), y.detach().clone()
        loss = of(v, y)
        (slope,) = torch.autograd.grad(loss.sum(), v, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), v)
    loss, slope = loss.detach(), slope.detach()
    positive = loss > torch.finfo(loss.dtype).tiny
    linear = safe_divide(slope.square(), 2 * loss, where=positive)
    return SecondOrderModel(loss, -slope, torch.maximum(curvature, LEAST_WEIGHT * linear))


def newton(
    of: Callable[[Tensor, Tensor], Tensor], B: Tensor, y: Tensor, count: Tensor, z: Tensor, v: Tensor, exact: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A Newton step for each `B (items, m, k)`, halved until the loss falls: `z`, `v = B z`, and which items go on."""
    here = second_order_model(of, v, y)
    root, target = here.as_least_squares()
    d = solve(root.unsqueeze(-1) * B, target, count)
    move = (B @ d.unsqueeze(-1)).squeeze(-1)
    before, promise = here.loss.sum(-1, keepdim=True), (here.pseudo_residual * move).sum(-1, keepdim=True)
    rounding = torch.finfo(v.dtype).eps * before
    t = torch.ones_like(before)
    for _ in range(HALVINGS):
        after = of(v + t * move, y).sum(-1, keepdim=True)
        lower = after <= before - SHARE * t * promise + 10 * rounding
        if lower.all():
            break
        t = torch.where(lower, t, t / 2)
    z, v = torch.where(lower, z + t * d, z), torch.where(lower, v + t * move, v)
    return z, v, (lower & (promise > rounding)).squeeze(-1) & (after.squeeze(-1) > exact)


class ActiveSetFit(NamedTuple):
    """The fit on columns that are appended one by one: for other losses what `QR` is for least squares.

    Attributes
    ----------
    loss : SmoothLoss
    y : Tensor (*batch, m)
    B : tuple of k Tensors (*batch, m)
        The columns; zero for empty places.
    z : Tensor (*batch, k)
        Their coefficients.
    force : Tensor (*batch, m)
        `-l'` at `B z`.
    size : int
        Number of columns.
    """

    loss: SmoothLoss
    y: Tensor
    B: tuple[Tensor, ...]
    z: Tensor
    force: Tensor
    size: int

    def append(self, a: Tensor, r: Tensor) -> tuple[ActiveSetFit, Tensor]:
        """Append the column `a (*batch, m)`; returns the fit on all columns and its residual."""
        t = self.size + 1
        columns = put(self.B, self.size, a)
        B = torch.stack(columns[:t], dim=-1)
        z, r = self.loss.minimise(B, self.y, torch.full(B.shape[:-2], t, device=B.device))
        force = second_order_model(self.loss.of, (B @ z.unsqueeze(-1)).squeeze(-1), self.y).pseudo_residual
        z = torch.nn.functional.pad(z, (0, self.z.shape[-1] - t))
        return self._replace(B=columns, z=z, force=force, size=t), r

    def pseudo_residual(self, r: Tensor) -> Tensor:
        """`-l'`, with which the next column should correlate; it is orthogonal to the columns of the fit."""
        return self.force

    def solve(self) -> Tensor:
        """Coefficients of the columns so far, `(*batch, k)`."""
        return self.z


def checked(loss: Any, y: Tensor) -> Loss:
    """The user's loss for measurements `y (*batch, m)`, in the form that the steps take.

    A function may have the attributes `curvature`, its largest second derivative, and `check`, a function that raises
    an error for a wrong `y`.

    Raises
    ------
    TypeError, ValueError
        If it is no loss, or not one for these measurements.
    """
    if isinstance(loss, LeastSquares):
        return loss
    if not callable(loss) or isinstance(loss, type):
        raise TypeError(
            f"loss is {loss!r}; needed is pursuit.LeastSquares(), pursuit.Logistic(), or a function (v, y) that torch "
            "can differentiate twice, with one loss per measurement."
        )
    if y.is_complex():
        raise TypeError(f"A or y is complex, and the loss is {loss!r}; for complex numbers use pursuit.LeastSquares().")
    if hasattr(loss, "check"):
        loss.check(y)
    if getattr(loss, "curvature", None) is not None:
        nonnegative_per_item("the loss's curvature", loss.curvature, torch.Size(), y)
    with torch.no_grad():
        try:
            values = loss(torch.zeros_like(y), y)
        except TypeError as error:
            raise TypeError(f"loss is {loss!r}, which failed for (v, y): {error}; needed is one loss per y.") from error
    if not isinstance(values, Tensor) or values.shape != y.shape or values.dtype != y.dtype:
        given = f"shape {tuple(values.shape)}, {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(
            f"the loss of v = 0 is a {given}; needed is one loss per measurement, with the shape {tuple(y.shape)} and "
            f"the dtype {y.dtype} of y, not a sum."
        )
    if not ((values >= 0) & values.isfinite()).all():
        raise ValueError("the loss of v = 0 is negative or not finite for some y; needed is a loss >= 0.")
    try:
        second_order_model(loss, torch.zeros_like(y), y)
    except RuntimeError as problem:
        raise TypeError(f"the loss {loss!r} is not differentiable twice in v by torch: {problem}") from None
    return SmoothLoss(loss)
