"""SEA+: the Support Exploration Algorithm from several starts, then a local search from the best support."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..core.autocast import full_precision
from ..core.numeric import ones_for_zeros
from ..core.solution import Arr, Solution
from ..operators import Dense, Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from . import els, fista, sea
from .on_support import refit
from .problem import Hook, Problem, problem

# For the LASSOs that give a start: the penalty, as a share of the smallest one at which the solution is zero; the
# levels of whitening, as shares of the largest eigenvalue of A A^H, from much noise to none; the steps of FISTA.
DENSE = 2**24  # whitening forms A if A and its Gram matrix have at most so many entries
SHARE, LEVELS, LASSO_STEPS, PLAIN_STEPS = 1e-2, (1e-1, 1e-2, 1e-6), 100, 400


def lasso(p: Problem, A: Operator, y: Tensor, max_steps: int) -> Tensor:
    """An approximate LASSO solution for the given `A` and `y` instead of those of the problem, `(*batch, n)`."""
    floor = p.loss.rounding(torch.finfo(y.dtype).eps) * torch.linalg.vector_norm(y, dim=-1)
    p = replace(p, A=A, y=y, target=floor, max_steps=torch.full_like(p.max_steps, max_steps)).with_step_size(None, 1.0)
    theta = p.eta * (SHARE * A.adjoint(y).abs().amax(-1, keepdim=True))
    return fista.run(p, y.new_zeros(*p.batch, A.shape[1]), theta=theta).x


def whitened_lasso(p: Problem, level: float) -> Tensor:
    """The LASSO solution with `A` and `y` times `(A A^H + level L)^(-1/2)`, which separates nearly parallel atoms.

    It is only a start, so single precision is enough.
    """
    single, double = (torch.complex64, torch.complex128) if p.y.is_complex() else (torch.float32, torch.float64)
    A, y = p.A.to_dense().detach().to(double), p.y.detach().to(double)
    size = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    top = p.A.norm2().detach().double()[..., None, None]
    eye = torch.eye(A.shape[-2], dtype=double, device=A.device)
    C = torch.linalg.cholesky(A @ A.mH + level * ones_for_zeros(top) * eye)
    W = torch.linalg.solve_triangular(C, eye.expand_as(C), upper=False)
    B, z = Dense((W @ A).to(single)), Dense(W).forward(y / ones_for_zeros(size)).to(single)
    return lasso(p, B, z, LASSO_STEPS).to(p.y) * size.to(p.y)


def rough_lasso(p: Problem) -> Tensor:
    """A LASSO solution, `(*batch, n)`: of those at several levels the one whose k largest entries fit best."""
    m, n = p.A.shape
    if n * max(m, n) > DENSE:
        return lasso(p, p.A, p.y.detach(), PLAIN_STEPS)
    x = [whitened_lasso(p, level) for level in LEVELS]
    left = [refit(p.A, p.y.detach(), p.choice.best(each)).r.norm(dim=-1) for each in x]
    best = torch.stack(left).argmin(0)
    return torch.stack(x).gather(0, best[None, ..., None].expand(1, *x[0].shape)).squeeze(0)


def start_points(p: Problem, x0: Tensor | None) -> Tensor:
    """The starts of SEA, `(2 or 3, *batch, n)`: zero, the LASSO's solution, and the caller's `x0` if there is one."""
    found = rough_lasso(p)
    given = () if x0 is None else (x0,)
    return torch.stack([torch.zeros_like(found), found, *given])


@full_precision
def sea_plus(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    eta: PerItem | None = None,
    x0: Any = None,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem = 1000,
    weights: Any = None,
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """SEA from zero, from a LASSO's solution and from `x0`; then ELS from the best support found. By name `"sea_plus"`.

    It is meant for nearly parallel columns. There SEA from zero chooses several atoms around each true one, which the
    LASSO tells apart. Up to rounding, the residual is never larger than that of SEA from zero.

    The LASSO is solved for `A` and `y` whitened, that is times `(A A^H + level L)^(-1/2)`, with `L` the largest
    eigenvalue of `A A^H`; of three levels, the one whose k largest entries fit best is used. If `A` is too large to be
    formed as a matrix, the plain LASSO is solved.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
        Most atoms per signal.
    eta : float or array (*batch,), default 1.8 / L
        Step size of SEA; see `pursuit.solve`.
    x0 : array (*batch, n), optional
        One more start of SEA.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), default 1000
        Number of steps of SEA from each start, and most swaps of ELS.
    weights : array (n,) or (*batch, n), optional
        Multiply the scores of SEA and the gains of ELS, not the LASSO; see `pursuit.solve`.
    on_step : callable, optional
        Run without the compiled kernel, and call this after every swap of ELS: see `pursuit.solve`.

    Returns
    -------
    Solution
        `steps` and `status` are those of ELS.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.

    References
    ----------
    SEA and ELS as in `sea` and `els`. Whitening: Jia, Rohe, "Preconditioning the Lasso for sign consistency", EJS
    2015. The combination is ours.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.sea_plus(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1, max_steps=10).x
    tensor([0., 4., 0.])
    """
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=max_steps, weights=weights).with_step_size(eta, 1.8)
    return p.recover("sea_plus", run, None if x0 is None else p.start(x0), on_step)


def run(p: Problem, x0: Tensor | None, on_step: Hook | None = None) -> Solution[Tensor]:
    """SEA from all starts, then ELS from the best support."""
    X = start_points(p, x0)
    ways = p.repeated(len(X)).find("sea", sea.run, X)
    best = ways.residual_norm.argmin(0)  # the first of equals
    support = ways.support.gather(0, best[None, ..., None].expand(1, *ways.support.shape[1:])).squeeze(0)
    return p.find("els", els.run, support, on_step)
