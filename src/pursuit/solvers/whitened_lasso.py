"""The LASSO on whitened measurements, then least squares on its k largest entries."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import loop
from ..core.atoms import Atoms, ChosenAtoms
from ..core.autocast import full_precision
from ..core.numeric import ones_for_zeros
from ..core.selection import AtomSelector
from ..core.solution import Arr, Solution, Status
from ..operators import Compose, Dense, Diagonal, Operator
from ..operators.adapters import Nested, OperatorLike, PerItem
from ..operators.svd import SVD, Waves, svd
from . import fista
from .on_support import refit
from .problem import Hook, Problem, problem

# The levels of whitening, as shares of the largest eigenvalue of A A^H: from no noise to as much as half of y.
LEVELS = (1e-20, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1)
SHARE = 1e-2  # the penalty, as a share of the smallest at which the solution is zero
LASSO_STEPS, PLAIN_STEPS = 100, 400  # of FISTA: whitened, and where A is too large to be decomposed


class State(NamedTuple):
    """The best solution so far (`x, r, atoms`), and how many levels were tried, `(*batch, 1)`."""

    x: Tensor
    r: Tensor
    atoms: ChosenAtoms
    tried: Tensor


def init(y: Tensor, n: int, max_k: int) -> State:
    """x = 0, and no level was tried."""
    none = torch.full((*y.shape[:-1], max_k), -1, device=y.device)
    return State(y.new_zeros(*y.shape[:-1], n), y, Atoms(none, n), torch.zeros_like(none[..., :1]))


def step(A: Operator, y: Tensor, s: State, *, p: Problem, factors: SVD | None, choice: AtomSelector) -> State:
    """Whiten for one more level of noise, solve the LASSO, refit its k largest entries; keep the better solution."""
    level = levels(y)[s.tried.clamp(max=len(LEVELS) - 1)]
    z = lasso(p, *whitened(p, factors, level))  # z = argmin ||W y - W A z||^2 / 2 + lam ||z||_1
    S = choice.best(z).supporting(z)  # S = largest_k |z|
    new = refit(A, y, S)  # x = LS(S)
    better = loop.lower(new.r, s.r)
    return State(
        x=torch.where(better, new.x, s.x),
        r=torch.where(better, new.r, s.r),
        atoms=loop.choose(better.squeeze(-1), S, s.atoms),
        tried=s.tried + 1,
    )


def levels(y: Tensor) -> Tensor:
    """The levels where `y` is."""
    return torch.tensor(LEVELS, dtype=torch.float64, device=y.device)


@torch.no_grad()
def whitened(p: Problem, factors: SVD | None, level: Tensor) -> tuple[Operator, Tensor]:
    """`W A` and `W y` with `W = (A A^H + level L)^(-1/2) = U (s^2 + level L)^(-1/2) U^H`, as they are without that U.

    They are in single precision, which is enough to choose a support; A and y where there is no decomposition.
    """
    if factors is None:
        return p.A, p.y.detach()
    s = factors.values
    top = ones_for_zeros(s.square().amax(-1, keepdim=True))
    gain = (s.square() + level * top).rsqrt()
    y = p.y.detach()
    size = ones_for_zeros(torch.linalg.vector_norm(y, dim=-1, keepdim=True))
    z = gain * factors.left.forward((y / size).to(factors.left.dtype))
    narrow = torch.complex64 if z.is_complex() else torch.float32
    rows = Diagonal((gain * s).to(narrow))
    return Compose(rows, _in_single(factors.right)), (size * z).to(narrow)


@torch.no_grad()
def lasso(p: Problem, A: Operator, y: Tensor) -> Tensor:
    """An approximate LASSO solution for these `A` and `y` in the place of the problem's, `(*batch, n)`."""
    size = ones_for_zeros(torch.linalg.vector_norm(y, dim=-1, keepdim=True))
    y = y / size
    floor = torch.finfo(y.dtype).eps * torch.linalg.vector_norm(y, dim=-1)
    steps = PLAIN_STEPS if A is p.A else LASSO_STEPS
    eta = 1 / ones_for_zeros(_largest(A)).to(y.real).expand(p.batch).unsqueeze(-1)
    p = replace(p, A=A, y=y, target=floor, max_steps=torch.full_like(p.max_steps, steps), eta=eta, exponent=None)
    theta = eta * (SHARE * A.adjoint(y).abs().amax(-1, keepdim=True))
    found = fista.run(p, y.new_zeros(*p.batch, A.shape[1]), theta=theta).x
    return found * size


def run(p: Problem, start: None = None, on_step: Hook | None = None) -> Solution[Tensor]:
    """All levels."""
    factors = svd(p.A)
    p = replace(p, max_steps=p.max_steps.clamp(max=1 if factors is None else len(LEVELS)))
    move = partial(step, p.A, p.y, p=p, factors=factors, choice=p.choice)
    return p.iterate(move, loop.never, init(p.y, p.A.shape[1], p.max_k), on_step, at_budget=Status.EXPLORED)


@full_precision
def whitened_lasso(
    A: OperatorLike,
    y: Arr | Nested,
    k: PerItem | None = None,
    *,
    tol: PerItem | None = None,
    eps: PerItem | None = None,
    max_steps: PerItem | None = None,
    weights: Any = None,
    on_step: Hook | None = None,
) -> Solution[Arr]:
    """The LASSO on whitened measurements: its k largest entries, refitted by least squares.

    It is meant for nearly parallel columns, such as those of a blur. There the LASSO spreads each spike over several
    atoms. Whitening first, that is multiplying `A` and `y` by `W = (A A^H + level L)^(-1/2)` with `L` the largest
    eigenvalue of `A A^H`, makes the columns less alike, as far as the noise allows: the level should be about the share
    of noise in `y`. As that is unknown, six levels from 1e-20 to 0.1 are tried, and the support with the smallest
    residual is kept. The penalty is a hundredth of the smallest at which the solution is zero.

    `W` comes from the singular values of `A`, for circular convolutions by FFT. If `A` is too large to be decomposed
    (`min(m, n)^2 max(m, n) > 2^33`), the LASSO is solved without whitening.

    Parameters
    ----------
    A : array (*batch, m, n), or anything `as_operator` takes
        Columns of any norm.
    y : array (*batch, m)
    k : int or int array (*batch,)
        Most atoms per signal; fewer if the LASSO has fewer non-zeros.
    tol : float or array (*batch,), optional
        Stop when `||r|| <= tol ||y||`.
    eps : float or array (*batch,), optional
        Stop when `||r|| <= eps`, a level in the units of `y`; if `||y||` is not above it, x is zero.
    max_steps : int or int array (*batch,), optional
        Most levels, from the lowest on. Default: all six.
    weights : array (n,) or (*batch, n), optional
        Multiply the score, the size of the LASSO's entries; see `pursuit.solve`.
    on_step : callable, optional
        Run without the compiled kernel, and call this after every level: see `pursuit.solve`.

    Returns
    -------
    Solution
        `steps` counts levels.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, before any work starts.

    References
    ----------
    Whitening: Jia, Rohe, "Preconditioning the Lasso for sign consistency", EJS 2015. Several levels, chosen by the
    residual, are ours.

    Examples
    --------
    >>> import torch, pursuit
    >>> pursuit.whitened_lasso(torch.eye(3), torch.tensor([0.5, 4.0, 1.0]), k=1).x
    tensor([0., 4., 0.])
    """
    most = len(LEVELS) if max_steps is None else max_steps
    p = problem(A, y, k, tol=tol, eps=eps, max_steps=most, weights=weights)
    return p.recover("whitened_lasso", run, None, on_step)


def _largest(A: Operator) -> Tensor:
    """The largest eigenvalue of `A^H A`; of whitened ones, whose rows are orthogonal, the largest factor squared."""
    if isinstance(A, Compose) and isinstance(A.operators[0], Diagonal):
        return A.operators[0].values.abs().square().amax(-1)
    return A.norm2()


def _in_single(A: Operator) -> Operator:
    if isinstance(A, Waves):
        return Waves(A.phase.to(torch.complex64), A.shape[1], real=A.real)
    assert isinstance(A, Dense), "right singular vectors are a matrix or waves"
    return Dense(A.matrix.to(torch.complex64 if A.dtype.is_complex else torch.float32))
