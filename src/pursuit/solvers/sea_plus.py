"""SEA+: a local search from the whitened LASSO and from the Support Exploration Algorithm; the best support is kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core.autocast import full_precision
from ..core.solution import Arr, Solution
from ..operators.adapters import Nested, OperatorLike, PerItem
from ..operators.svd import svd
from . import els, sea
from .on_support import refit
from .problem import Hook, Problem, problem
from .whitened_lasso import lasso, levels, whitened

NEAREST = 4  # so many levels are improved by ELS; from the others it takes longer and does not end lower


def from_lasso(p: Problem) -> tuple[Tensor, Tensor]:
    """The LASSO's k largest entries at the best levels of whitening, best first, and what they leave.

    Supports are `(levels, *batch, k)`, residual norms `(levels, *batch)`.
    """
    factors = svd(p.A)
    tried = levels(p.y) if factors is not None else p.y.new_zeros(1)
    chosen = [p.choice.best(lasso(p, *whitened(p, factors, level))) for level in tried]
    left = torch.stack([refit(p.A, p.y.detach(), S).r.norm(dim=-1) for S in chosen])
    order = left.argsort(dim=0, stable=True)[:NEAREST]
    supports = torch.stack([S.indices for S in chosen])
    return supports.gather(0, order.unsqueeze(-1).expand(*order.shape, supports.shape[-1])), left.gather(0, order)


def from_exploration(p: Problem, x0: Tensor | None) -> Tensor:
    """The supports of SEA from zero, and from `x0` if it is given, `(1 or 2, *batch, k)`."""
    zero = p.y.new_zeros(*p.batch, p.A.shape[1])
    starts = torch.stack([zero] if x0 is None else [zero, x0])
    found = p.repeated(len(starts)).find("sea", sea.run, starts).support
    return torch.nn.functional.pad(found, (0, p.max_k - found.shape[-1]), value=-1)


def best(p: Problem, supports: Tensor) -> Tensor:
    """Of these supports, `(count, *batch, k)`, each improved by ELS, the one with the smallest residual."""
    found = p.repeated(len(supports)).find("els", els.run, supports)
    first = found.residual_norm.argmin(0)  # the first of equals
    return found.support.gather(0, first[None, ..., None].expand(1, *found.support.shape[1:])).squeeze(0)


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
    """ELS from the whitened LASSO, from SEA, and from SEA started at `x0`; the support with the least residual is kept.

    It is meant for nearly parallel columns. There greedy choices, and SEA from zero, take several atoms around each
    true one, which the whitened LASSO tells apart: see `whitened_lasso`. Up to rounding, the residual is never larger
    than those of `whitened_lasso`, of SEA, and of ELS from either, or else it meets `tol` or `eps`.

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
        One more start of SEA, from whose support ELS goes on too.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), default 1000
        Number of steps of SEA from each start, and most swaps of ELS from each support.
    weights : array (n,) or (*batch, n), optional
        Multiply the scores of SEA and the gains of ELS, not the LASSO; see `pursuit.solve`.
    on_step : callable, optional
        Run without the compiled kernel, and call this after every step of the last run of ELS: see `pursuit.solve`.

    Returns
    -------
    Solution
        `steps` and `status` are those of a last run of ELS, from the best support.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.

    References
    ----------
    As in `sea`, `els` and `whitened_lasso`. The combination is ours.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.sea_plus(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1, max_steps=10).x
    tensor([0., 4., 0.])
    """
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=max_steps, weights=weights).with_step_size(eta, 1.8)
    return p.recover("sea_plus", run, None if x0 is None else p.start(x0), on_step)


def run(p: Problem, x0: Tensor | None, on_step: Hook | None = None) -> Solution[Tensor]:
    """The best support, then ELS once more, which finds nothing to improve and shows it to `on_step`."""
    with torch.no_grad():
        support = best_support(p, x0)
    return p.find("els", els.run, support, on_step)


def best_support(p: Problem, x0: Tensor | None) -> Tensor:
    """Of the supports from everywhere, the best after ELS, `(*batch, k)`; of a LASSO that meets the target, its own."""
    near, left = from_lasso(p)
    items, above = p.batch.numel(), (left[0] > p.target).flatten().nonzero().squeeze(-1)
    if not len(above):
        return near[0]
    q, near = p.only(above), near.reshape(len(near), items, -1)
    x0 = None if x0 is None else x0.reshape(items, -1)[above]
    found = best(q, torch.cat([near[:, above], from_exploration(q, x0)]))
    return near[0].index_copy(0, above, found).view(*p.batch, -1)
