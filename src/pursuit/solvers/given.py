"""Checks of what the user gives to a solver; each brings it into one form."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import powers
from ..arrays import DTYPES, HALVES, as_tensor, check_alike, check_columns, read, workable
from ..checks import expands, finite, nonnegative_per_item, placed, show, to_tensor
from ..core.layout import check_layout, unwrapped
from ..core.numeric import or_double
from ..operators import Dense, Operator
from ..operators.adapters import Sparse, as_operator

ALL: Any = object()  # given for k: as many atoms as there are measurements
NEAR_ONE = 2.0**-20, 2.0**30  # norms of y that stay as they are


def checked(A: Any, y: Any) -> tuple[Operator, Tensor]:
    """The operator, and the measurements in the caller's dtype, after a check that they fit."""
    return measured(A, y).A, read("y", unwrapped(y)[0]).values


class Measured(NamedTuple):
    """Operator and measurements in one precision, their dtype as given, and whether NumPy answers."""

    A: Operator
    y: Tensor
    given: torch.dtype
    as_numpy: bool


def measured(A: Any, y: Any) -> Measured:
    """Read A and y, and check that shape, device and batch agree. Both come to the wider of their two precisions."""
    y, known_y = unwrapped(y)
    if not isinstance(A, np.ndarray | Tensor):
        check_alike(A, y)
    y, as_numpy = read("y", y)
    given = y.dtype
    whole = not (given.is_floating_point or given.is_complex)
    op = as_operator(A, dtype=None if whole else given if given in DTYPES else torch.float32, device=y.device)
    m, names = op.shape[0], op.column_names
    if 0 in op.shape:
        raise ValueError(f"A has shape {(*op.batch_shape, *op.shape)}; needed is one row and one column at least.")
    if y.shape[-1:] != (m,) or m in y.shape[:-1] or op.batch_shape:
        pairs = op.dtype.is_complex and not given.is_complex
        shape = (*op.batch_shape, *op.shape)
        known_A = op is A or not isinstance(op, Dense | Sparse)
        check_layout(shape, y.shape, pairs=pairs, known_A=known_A, known_y=known_y, hint=op.hint(y.shape))
    if y.device != placed(op.device):
        raise ValueError(f"A is on {op.device} and y on {y.device}; move one of them with .to(device).")
    if given not in DTYPES:
        y = y.to(op.dtype.to_real()) if whole else workable(y)
    if y.dtype is not op.dtype:
        op, y = _alike(op, y)
    if names is not None:
        op.column_names = names
    return Measured(op, y, given, as_numpy)


def near_one(y: Tensor, fixed: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """`y` by powers of two near one, its norms, and the exponents; None where nothing was to do, as mostly."""
    y_norm = torch.linalg.vector_norm(y.detach(), dim=-1)
    near = (y_norm >= NEAR_ONE[0]) & (y_norm <= NEAR_ONE[1])
    if near.all():
        return y, y_norm, None
    zero = (finite("y", y) == 0).all(-1)
    if (near | zero).all():
        return y, y_norm, None
    if not fixed:
        e = torch.where((near | zero).unsqueeze(-1), 0, powers.exponent(y))
        e = e.clamp(-powers.FORMATS[y.real.dtype][0] + 1, powers.FORMATS[y.real.dtype][0] - 1)
        y = powers.shifted(y, -e)
        return y, torch.linalg.vector_norm(y.detach(), dim=-1), e
    if not (powers.squares_fit(y_norm) | zero).all():
        raise ValueError(
            f"y goes up to {y.detach().abs().max().item():.3g}, and the square of its norm leaves the range of "
            f"{y.dtype}; scale y{or_double(y.dtype)}."
        )
    return y, y_norm, None


def count(k: Any, most: int, device: torch.device) -> Tensor:
    """How many atoms a signal may have, as given: one number or one per signal."""
    if k is None:
        raise ValueError(
            f"k was not given; needed is the most atoms of a signal, 0 <= k <= {most}; pass k, one number "
            "or one per signal."
        )
    return to_tensor("k", most if k is ALL else k, "a whole number", device)


def share_of_y(tol: Any, batch: torch.Size, y: Tensor) -> Tensor:
    """The residual norm to stop at, as a share of that of y: `(*batch,)`, zero for None."""
    found = nonnegative_per_item("tol", 0.0 if tol is None else tol, batch, y)
    if tol is not None and (found >= 1).any():
        raise ValueError(
            f"tol is {show(found)}; needed is 0 <= tol < 1: it is a share of ||y||, and x = 0 meets tol = 1. For a "
            "residual level in the units of y pass eps, one number or one per signal."
        )
    return found


def warm_start(name: str, x0: Any, n: int, batch: torch.Size, y: Tensor, names: Any) -> Tensor:
    """Finite coefficients, `(n,)` or `(*batch, n)`, real if y is; `names` are those of the columns of A, or None."""
    check_columns(name, x0, names)
    x0 = finite(name, as_tensor(name, x0))
    if x0.shape[-1:] != (n,) or not expands(x0.shape[:-1], batch):
        raise ValueError(f"{name} has shape {tuple(x0.shape)}; needed is {(*batch, n)}, the shape of the solution.")
    if x0.is_complex() and not y.is_complex():
        raise TypeError(f"{name} is complex but A and y are real; pass a real {name}.")
    return x0


def column_weights(
    name: str, weights: Any, n: int, batch: torch.Size, y: Tensor, names: Any, *, relative: bool
) -> Tensor:
    """Real numbers >= 0, one per column, `(n,)` or `(*batch, n)`; `names` are those of the columns, or None.

    If they are `relative`, so that a common factor makes no difference, those far from one are brought near it.
    """
    if weights is None:
        return y.real.new_ones(n)
    check_columns(name, weights, names)
    weights = as_tensor(name, weights)
    if weights.is_complex():
        raise TypeError(f"{name} are complex; needed are real numbers >= 0, one per column of A.")
    per_item = f" or {(*batch, n)}" if batch else ""
    if weights.shape[-1:] != (n,) or not expands(weights.shape[:-1], batch):
        raise ValueError(f"{name} have shape {tuple(weights.shape)}; needed is ({n},){per_item}: one per column of A.")
    if not (finite(name, weights) >= 0).all():
        raise ValueError(f"{name} go down to {weights.min().item():.3g}; needed is >= 0.")
    weights = weights.to(y.device)
    top = weights.detach().amax(-1, keepdim=True)
    if relative and not ((top >= NEAR_ONE[0]) & (top <= NEAR_ONE[1])).all():
        weights = weights.double()
        weights = powers.shifted(weights, -powers.exponent(weights))
    taken = weights.to(y.real.dtype)
    least = torch.finfo(taken.dtype).tiny
    if not (((taken >= least) & taken.isfinite()) | (weights == 0)).all():
        low, high = weights[weights != 0].min().item(), weights.max().item()
        raise ValueError(
            f"{name} > 0 go from {low:.3g} to {high:.3g}, which leaves the range of {taken.dtype}; scale them, set "
            f"those to zero that are to be zero{or_double(taken.dtype)}."
        )
    return taken


def _alike(op: Operator, y: Tensor) -> tuple[Operator, Tensor]:
    """Both in the wider precision, and both complex if one of them is."""
    wider = torch.promote_types(y.dtype, op.dtype)
    if op.dtype.to_real() is not wider.to_real():
        op = op.in_double()
    return op.complexified() if wider.is_complex else op, y.to(wider)


def callers_dtype(given: torch.dtype, used: torch.dtype) -> torch.dtype | None:
    """The dtype of x for measurements of dtype `given`, solved in `used`: their precision, where x can have it."""
    if not (given.is_floating_point or given.is_complex):
        return None
    given = torch.float32 if given in HALVES and used.is_complex else given  # complex numbers have no half precision
    wanted = given.to_complex() if used.is_complex else given
    return None if wanted is used else wanted
