"""SEA+: the Support Exploration Algorithm from several starts, and a local search from the best support."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import compiled
from ..inputs import Hook, Problem, problem
from ..operators import Dense
from ..selection import Atoms
from ..solution import Solution
from . import els, sp
from .fista import fista
from .sea import sea

# Of the LASSO that is one of the starts: its penalty, as a share of the least one at which the solution is zero, and
# its steps. On nearly parallel atoms its solution is spread, but in the right places; fewer steps spread it further.
SHARE, LASSO_STEPS = 1e-3, 400


def lasso(p: Problem) -> Tensor:
    """Roughly the LASSO's solution, `(*batch, n)`; where the matrix can be formed, in single precision."""
    size = torch.linalg.vector_norm(p.y.detach(), dim=-1, keepdim=True)
    A, y = p.A, p.y.detach() / torch.where(size > 0, size, 1)
    if compiled.fits(p):
        single = torch.complex64 if y.is_complex() else torch.float32
        A, y = Dense(A.to_dense().detach().to(single)), y.to(single)
    least = A.adjoint(y).abs().amax(-1)
    return fista(A, y, SHARE * least, max_steps=LASSO_STEPS).x.detach().to(p.y) * size


def starts(p: Problem, x0: Any) -> Tensor:
    """Where SEA begins, `(2 or 3, *batch, n)`: nowhere, at the LASSO's solution, and where the caller says."""
    rough = lasso(p)
    given = () if x0 is None else (p.start(x0),)
    return torch.stack([torch.zeros_like(rough), rough, *given])


def sea_plus(
    A: Any,
    y: Any,
    k: Any,
    *,
    eta: Any = None,
    x0: Any = None,
    tol: Any = None,
    max_steps: Any = 1000,
    weights: Any = None,
    on_step: Hook | None = None,
) -> Solution:
    """SEA from zero, from the LASSO's solution and from `x0`, as one batch; then ELS from the best support found.

    Never worse in residual than SEA from zero. For columns that are nearly parallel, where SEA from zero gathers atoms
    around each spike and the LASSO tells spikes apart. By name: `method="sea+"`.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
    eta : float or array (*batch,), default 1.8 / L
        Step size of SEA.
    x0 : array (*batch, n), optional
        One more start of the exploration variable.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    max_steps : int or int array (*batch,), default 1000
        Supports that SEA looks at from each start, and swaps that ELS makes at most.
    weights : array (n,) or (*batch, n), optional
        Multiplies the scores of SEA and the gains of ELS; the LASSO is without.
    on_step : callable, optional
        Called after every swap of ELS with an `Iterate`.

    Returns
    -------
    Solution
        `steps` and `status` are those of ELS.

    Raises
    ------
    TypeError, ValueError
        Before any work, on input that cannot be solved as given.

    References
    ----------
    SEA and ELS as in `sea` and `els`; the combination is ours.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.sea_plus(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1, max_steps=10).x
    tensor([0., 4., 0.])
    """
    p = problem(A, y, k, tol=tol, max_steps=max_steps, weights=weights)
    X = starts(p, x0)
    ways = sea(
        p.A, p.y.expand(len(X), *p.y.shape), k, eta=eta, x0=X, tol=tol, max_steps=p.max_steps, weights=p.weights
    )  # fmt: skip
    best = ways.residual_norm.argmin(0)  # the first of equals
    support = ways.support.gather(0, best[None, ..., None].expand(1, *ways.support.shape[1:])).squeeze(0)
    return els.improve(p, sp.refit(p.A, p.y, Atoms(support, p.A.shape[1])), on_step)
