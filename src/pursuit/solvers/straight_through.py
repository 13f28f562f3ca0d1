"""The straight-through view: SEA is gradient descent through the sparsification operator H, taken for the identity."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from ..core.atoms import ChosenAtoms
from ..core.autocast import full_precision
from ..core.selection import AtomSelector
from ..operators import Operator
from ..transforms import no_forward_mode, signature_known
from . import sea
from .problem import problem


class StraightThrough(torch.autograd.Function):
    """Forward x; backward as if x were w X (and, in A and y, what x = LS(S) has with its support held)."""

    generate_vmap_rule = True
    jvp = staticmethod(no_forward_mode)

    @staticmethod
    @signature_known
    def forward(x: Tensor, X: Tensor, w: Tensor) -> Tensor:
        """`x (*batch, n)`, found from `X` and the weights `w`."""
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep `X` and `w`."""
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        """The gradient passes to X unchanged: at w = 1, as a weight changes the choice but no value."""
        (X, w), g = ctx.saved_tensors, grads[0]
        out = g, g, (X.conj() * g).real
        return tuple(_Last.apply(v, g, X, w) for v in out) if torch.is_grad_enabled() else out


class _Last(torch.autograd.Function):
    """A gradient with no derivative, which says so: by all that it comes from, as autograd skips what leads nowhere."""

    generate_vmap_rule = True

    @staticmethod
    @signature_known
    def forward(gradient: Tensor, *sources: Tensor) -> Tensor:
        """The gradient as it is."""
        return gradient.view_as(gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> NoReturn:
        """Refuse."""
        raise RuntimeError(
            "the sparsification operator has no second derivative: its first one is an estimate, which takes it for "
            "the identity. Differentiate it once only, or choose the atoms with select=pursuit.Relaxed(...), as "
            "pursuit.nets.IHTNet does."
        )


def H(A: Operator, y: Tensor, X: Tensor, choice: AtomSelector) -> tuple[ChosenAtoms, Tensor]:
    """SEA's H with the straight-through backward pass: what `sea.step` takes in the place of its own."""
    S, x = sea.sparsify(A, y, X, choice)
    return S, StraightThrough.apply(x, X, choice.weights.expand(X.shape))


@full_precision
def sparsify(A: Any, y: Tensor, X: Tensor, k: Any, weights: Tensor | None = None) -> Tensor:
    """The sparsification operator H of SEA: least squares on the k largest entries of X, backward the identity.

    Gradient descent on `||A H(X) - y||^2 / 2` is the Support Exploration Algorithm, step by step: the gradient of
    `A^H (A x - y)` passes through H to X as it is. On the support it is zero but for rounding (`pursuit.sea`, and
    `pursuit.nets.SEANet`, make it zero there). With H in the middle of any other differentiable computation, X learns
    to point to the support that serves it. It has no second derivative: asking for one is an error.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns are taken as they are. `pursuit.sea` gives them unit norm first: on those both are the same.
    y : Tensor (*batch, m)
    X : Tensor (*batch, n)
        The exploration variable, dense.
    k : int or int array (*batch,)
    weights : Tensor (n,) or (*batch, n), optional
        Multiplies the score `|X|`, >= 0. Its gradient is that of `weights * X` at weights one.

    Returns
    -------
    Tensor (*batch, n)
        Zero off the support.

    Raises
    ------
    TypeError, ValueError
        On input that does not fit.

    References
    ----------
    Mohamed, Malgouyres, Emiya, Chaux, "Straight-through meets sparse recovery: the support exploration algorithm",
    ICML 2024.

    Examples
    --------
    >>> import torch, pursuit
    >>> A, y = torch.eye(3), torch.tensor([0.5, 4.0, 1.0])
    >>> X = torch.zeros(3, requires_grad=True)
    >>> descent = torch.optim.SGD([X], lr=0.5)
    >>> for _ in range(3):
    ...     x = pursuit.straight_through.sparsify(A, y, X, k=1)
    ...     descent.zero_grad()
    ...     ((A @ x - y).square().sum() / 2).backward()
    ...     descent.step()
    >>> x.detach(), X.detach()
    (tensor([0., 4., 0.]), tensor([0.5000, 2.0000, 1.5000]))
    """
    p = problem(A, y, k, weights=weights, unit_columns=False)
    x = p.in_callers_units(H(p.A, p.y, p.start(X, "X"), p.choice)[1])
    return x if p.settled is None else torch.where(p.settled.items.unsqueeze(-1), 0, x)
