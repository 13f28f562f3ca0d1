"""What solvers do under `torch.func` and `torch.compile`.

A solver decides by values: which atoms, and when a signal has converged. `torch.func.grad`, `vjp` and `jacrev` know the
values, and work. `torch.func.vmap` does not know them, and is refused: a batch is what solvers take anyway. Nor does
`torch.compile`, which leaves a solver as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch._C import _functorch as functorch
from torch.autograd import forward_ad

P = ParamSpec("P")
R = TypeVar("R")


def active() -> bool:
    """Whether a transform of `torch.func` is at work; its tensors have no memory that a kernel could read."""
    return torch._C._are_functorch_transforms_active()


def differentiates(*values: Tensor) -> bool:
    """Whether a derivative by one of the values may be asked for, in reverse or in forward mode."""
    learning = torch.is_grad_enabled() and any(v.requires_grad for v in values)
    return learning or forward_ad._current_level >= 0 or active()


def many_at_once(gradient: Tensor) -> bool:
    """Whether it stands for many, as in `torch.autograd.functional.jacobian(..., vectorize=True)`."""
    return functorch.is_legacy_batchedtensor(gradient)


def refuse_mapped(*values: Any) -> None:
    """Raise RuntimeError if `torch.func.vmap` maps over one of the values."""
    for value in values:
        while isinstance(value, Tensor) and functorch.is_functorch_wrapped_tensor(value):
            if functorch.is_batchedtensor(value):
                raise RuntimeError(
                    "torch.func.vmap maps over A, y or an option of a solver, which needs their values to choose atoms "
                    "and to stop; pass all signals at once, y of shape (*batch, m), and one value of an option per "
                    "signal. torch.func.jacrev, vjp and grad work."
                )
            value = functorch.get_unwrapped(value)


def no_forward_mode(ctx: Any, *tangents: Any) -> NoReturn:
    """The `jvp` of functions that have none."""
    raise NotImplementedError(
        "forward mode (torch.func.jvp, jacfwd and hessian, torch.autograd.forward_ad) is not there for what fits "
        "coefficients, sorts softly or passes gradients straight through; use reverse mode: torch.func.jacrev, and "
        "jacrev of jacrev for second derivatives."
    )


def signature_known(forward: Callable[P, R]) -> Callable[P, R]:
    """The `forward` of a function of autograd: torch asks for its signature in every call, 30 microseconds each."""
    forward.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    return forward


def uncompiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which `torch.compile` calls as it is."""

    @wraps(function)
    def called(*args: P.args, **options: P.kwargs) -> R:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*args, **options)
        return function(*args, **options)

    return called
