"""The solutions for several sparsities."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ..checks import to_tensor, whole
from ..core.atoms import Atoms, nonzero_first
from ..core.autocast import full_precision
from ..core.layout import rows, rows_for_sure
from ..core.least_squares import fit, leading
from ..core.solution import Arr, Solution, Status
from ..operators.adapters import Nested, OperatorLike
from . import ols, omp
from .by_name import Method, answer, solver_of_k
from .given import checked
from .problem import Problem, problem

NESTED: tuple[ModuleType, ...] = (omp, ols)  # their first k atoms are those for k: one run is enough
NESTED_OPTIONS = {"tol", "eps", "max_steps", "weights"}  # with other options each k gets a run of its own


@full_precision
@full_precision
def path(
    A: OperatorLike, y: Arr | Nested, ks: Sequence[int], *, method: Method = "omp", **options: Any
) -> Solution[Arr]:
    """The solutions for several sparsities, as one `Solution` with a first axis for them.

    The result is that of a separate run for every k. `omp` and `ols` need only one run, with the largest k, and a
    least-squares fit for each of the others. For other methods `y` is repeated along a new first axis, one k for each.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
    y : array (*batch, m)
    ks : sequence of int
        Numbers of atoms, in any order.
    method : str or callable, default "omp"
        As in `pursuit.solve`; it must take k.
    **options
        The solver's own arguments, as for one k: `tol`, `weights`, `x0`, ...

    Returns
    -------
    Solution
        `x` is `(len(ks), *batch, n)`; `support` is as wide as the largest k.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.

    Examples
    --------
    >>> import torch, pursuit
    >>> sol = pursuit.path(torch.eye(4), torch.tensor([0.0, 3.0, 1.0, 2.0]), [1, 2, 4])
    >>> sol.residual_norm.round(decimals=3), sol.support[1]
    (tensor([2.2360, 1.0000, 0.0000]), tensor([ 1,  3, -1, -1]))
    """
    recover = solver_of_k(method, **options)
    op, given = checked(A, y)
    sizes = _sizes(ks, op.shape, given.device)
    max_k = int(sizes.max())
    solution = None
    for module in NESTED:
        name = module.__name__.rpartition(".")[2]
        if recover is getattr(module, name) and options.keys() <= NESTED_OPTIONS:
            solution = _nested(name, module, problem(op, rows(y), max_k, **options), sizes)
    if solution is not None:
        return solution
    p = problem(op, rows(y), max_k)
    together, each = given.expand(len(sizes), *p.y.shape), _per_size(sizes, p)
    with rows_for_sure():
        if p.as_numpy:
            return answer(method, recover(op, together.numpy(), k=each.numpy(), **options))
        return answer(method, recover(op, together, k=each, **options))


def _sizes(ks: Any, shape: tuple[int, int], device: torch.device) -> Tensor:
    """`(count,)` whole numbers."""
    sizes = to_tensor("ks", ks, "a sequence of whole numbers", device)
    if sizes.ndim != 1 or not len(sizes):
        raise ValueError(f"ks has shape {tuple(sizes.shape)}; needed is a sequence of numbers of atoms, as [1, 2, 5].")
    return whole("ks", sizes, 0, min(shape), sizes.shape, device)


def _per_size(sizes: Tensor, p: Problem) -> Tensor:
    """`(count, *batch)`."""
    return sizes.view(-1, *(1 for _ in p.batch)).expand(-1, *p.batch)


def _nested(name: str, module: Any, p: Problem, sizes: Tensor) -> Solution[Any] | None:
    """All solutions from one run with the largest k; None if its support does not show the order of the atoms."""
    with torch.no_grad():  # the choice of atoms has no derivative
        longest = p.find(name, module.run)
    steps, status = longest.steps, longest.status
    undone = (status == Status.EXHAUSTED) | (status == Status.DIVERGED)  # the last step was not kept
    if ((longest.support >= 0).sum(-1) != steps - undone.long()).any():  # an atom has the coefficient zero
        return None
    k = _per_size(sizes, p)
    in_time = (status == Status.SPARSITY) | (status == Status.MAX_STEPS)  # k is reached before max_steps is
    reached = (k < steps) | ((k == steps) & in_time)
    atoms = Atoms(longest.support, p.A.shape[1])
    first = Atoms(longest.support.expand(len(sizes), *longest.support.shape), p.A.shape[1]).first(k)
    if torch.is_grad_enabled() and (p.A.requires_grad or p.y.requires_grad):
        z, r = fit(p.A, p.y.expand(len(sizes), *p.y.shape), first)
    else:
        z, r = leading(atoms.columns(p.A), p.y, first.found.sum(-1))
    return p.to_caller(
        Solution(
            *nonzero_first(first.indices, z),
            torch.linalg.vector_norm(r, dim=-1),
            torch.where(reached, k, steps),
            torch.where(reached, int(Status.SPARSITY), status),
            longest.compiled.expand(k.shape),
            p.A.shape[1],
        )
    )
