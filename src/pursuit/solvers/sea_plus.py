"""SEA+: the Support Exploration Algorithm from several starts, and a local search from the best support."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..core.solution import Arr, Solution
from ..operators import Dense, Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from . import els, fista, sea, sp
from .problem import Hook, Problem, problem

# Of the LASSOs that may be the other start: the penalty, as a share of the least one at which the solution is zero; the
# levels of whitening, as shares of the largest eigenvalue of A A^H, from that for much noise to that for none; steps.
DENSE = 2**24  # entries of A, or of its Gram matrix, up to which A is formed
SHARE, LEVELS, LASSO_STEPS, PLAIN_STEPS = 1e-2, (1e-1, 1e-2, 1e-6), 100, 400


def lasso(p: Problem, A: Operator, y: Tensor, max_steps: int) -> Tensor:
    """Roughly the LASSO's solution for other `A` and `y` than those of the problem, `(*batch, n)`."""
    floor = p.loss.rounding(torch.finfo(y.dtype).eps) * torch.linalg.vector_norm(y, dim=-1)
    p = replace(p, A=A, y=y, target=floor, max_steps=torch.full_like(p.max_steps, max_steps)).with_step_size(None, 1.0)
    theta = p.eta * (SHARE * A.adjoint(y).abs().amax(-1, keepdim=True))
    return fista.run(p, y.new_zeros(*p.batch, A.shape[1]), theta=theta).x


def whitened_lasso(p: Problem, level: float) -> Tensor:
    """The LASSO's solution with `A` and `y` times `(A A^H + level L)^(-1/2)`: nearly parallel atoms are then less so.

    In single precision, as it only is a start.
    """
    single, double = (torch.complex64, torch.complex128) if p.y.is_complex() else (torch.float32, torch.float64)
    A, y = p.A.to_dense().detach().to(double), p.y.detach().to(double)
    size = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    top = p.A.norm2().detach().double()[..., None, None]
    eye = torch.eye(A.shape[-2], dtype=double, device=A.device)
    C = torch.linalg.cholesky(A @ A.mH + level * torch.where(top > 0, top, 1) * eye)
    W = torch.linalg.solve_triangular(C, eye.expand_as(C), upper=False)
    B, z = Dense((W @ A).to(single)), Dense(W).forward(y / torch.where(size > 0, size, 1)).to(single)
    return lasso(p, B, z, LASSO_STEPS).to(p.y) * size.to(p.y)


def rough_lasso(p: Problem) -> Tensor:
    """The LASSO's solution, `(*batch, n)`; of those at several levels the one whose k largest entries fit best."""
    m, n = p.A.shape
    if n * max(m, n) > DENSE:
        return lasso(p, p.A, p.y.detach(), PLAIN_STEPS)
    x = [whitened_lasso(p, level) for level in LEVELS]
    left = [sp.refit(p.A, p.y.detach(), p.choice.best(each)).r.norm(dim=-1) for each in x]
    best = torch.stack(left).argmin(0)
    return torch.stack(x).gather(0, best[None, ..., None].expand(1, *x[0].shape)).squeeze(0)


def start_points(p: Problem, x0: Any) -> Tensor:
    """Where SEA begins, `(2 or 3, *batch, n)`: nowhere, at the LASSO's solution, and where the caller says."""
    found = rough_lasso(p)
    given = () if x0 is None else (p.start(x0),)
    return torch.stack([torch.zeros_like(found), found, *given])


def sea_plus(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    eta: PerItem | None = None,
    x0: Any = None,
    tol: PerItem | None = None,
    max_steps: PerItem = 1000,
    weights: Any = None,
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """SEA from zero, from a LASSO's solution and from `x0`, as one batch; then ELS from the best support found.

    Never worse in residual than SEA from zero, but for rounding. For columns that are nearly parallel, where SEA from
    zero gathers atoms around each spike and the LASSO tells spikes apart: it is that of `A` and `y` whitened, times
    `(A A^H + level L)^(-1/2)` with `L` the largest eigenvalue of `A A^H`, at the one of three levels at which the k
    largest entries fit best. Where `A` is too large to be formed it is the plain one. By name: `method="sea_plus"`.

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
        Run without the compiled kernel, and call this after every swap of ELS: see `solve`.

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
    SEA and ELS as in `sea` and `els`. Whitening: Jia, Rohe, "Preconditioning the Lasso for sign consistency", EJS
    2015. The combination is ours.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.sea_plus(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1, max_steps=10).x
    tensor([0., 4., 0.])
    """
    p = problem(A, y, k, tol=tol, max_steps=max_steps, weights=weights).with_step_size(eta, 1.8)
    X = start_points(p, x0)
    ways = p.repeated(len(X)).find("sea", sea.run, X)
    best = ways.residual_norm.argmin(0)  # the first of equals
    support = ways.support.gather(0, best[None, ..., None].expand(1, *ways.support.shape[1:])).squeeze(0)
    return p.recover("els", els.run, support, on_step)
