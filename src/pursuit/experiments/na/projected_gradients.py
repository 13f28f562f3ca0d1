"""ALISTA's weights as in the papers' code, to compare with the closed form, `pursuit.analytic_weights`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ...checks import finite, nonnegative_per_item, whole
from ...operators import give
from ...operators.adapters import as_operator
from ...weights import check_sizes, wide

SETTLED = 1e-12  # relative change of the objective at which the projected gradient stops


@torch.no_grad()
def projected_gradient_weights(
    A: Any, steps: int = 1000, eta: float | None = None, *, legacy: bool = False, seed: int = 0
) -> Any:
    """The weights of `analytic_weights` by projected gradients, as in the papers' code: for comparison only.

    Parameters
    ----------
    A : array (*batch, m, n)
    steps : int, default 1000
        Most steps. It stops earlier if the objective changes by less than 1e-12 of its value.
    eta : float, default 0.1, or 0.01 with `legacy`
        Step size, below `2 / ||A||^2`.
    legacy : bool, default False
        If True, as in the code of NA-ALISTA: from a random start, with step sizes that fall by the factor 0.99 per
        step. Their sum is about 1, too small to reach the minimum. The published tables were made with such weights.
    seed : int, default 0
        Seed of that start.

    Returns
    -------
    array (*batch, m, n)

    Raises
    ------
    TypeError, ValueError
        If `A` is no matrix, has entries that are NaN or infinite or columns that are zero, or the steps diverge.

    References
    ----------
    J. Liu, X. Chen, Z. Wang, W. Yin, "ALISTA: analytic weights are as good as learned weights in LISTA", ICLR 2019.
    F. Behrens, J. Sauder, P. Jung, "Neurally augmented ALISTA", ICLR 2021.

    Examples
    --------
    >>> import torch, pursuit
    >>> from pursuit.experiments.na.projected_gradients import projected_gradient_weights
    >>> A = torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]])
    >>> torch.allclose(projected_gradient_weights(A), pursuit.analytic_weights(A), atol=1e-5)
    True
    """
    here = torch.empty(0, dtype=torch.float64)
    steps = int(whole("steps", steps, 1, None, torch.Size(), here.device))
    size = float(nonnegative_per_item("eta", (0.01 if legacy else 0.1) if eta is None else eta, torch.Size(), here))
    matrix = as_operator(A).to_dense()
    atoms = wide(finite("A", matrix))
    gram, energy = atoms @ atoms.mH, atoms.abs().square().sum(-2, keepdim=True)
    check_sizes(energy.squeeze(-2))

    W = _random_like(atoms, seed) if legacy else atoms / energy
    product = gram @ W
    objective = _inner(W, product)  # ||W^H A||_F^2
    for t in range(steps):
        W = _feasible(W - (size * 0.99**t if legacy else size) * product, atoms, energy)
        product = gram @ W
        before, objective = objective, _inner(W, product)
        started = t > 0 or not legacy  # the random start violates the constraint
        if started and not (objective <= before * (1 + 1e-9)).all():
            limit = (2 / torch.linalg.matrix_norm(gram, 2)).min().item()
            raise ValueError(f"the gradient steps diverge with eta={size}; needed is eta < 2 / ||A||^2 = {limit:.3g}.")
        if ((objective - before).abs() <= SETTLED * before).all():
            break
    return give(W.to(matrix.dtype), A)


def _feasible(W: Tensor, atoms: Tensor, energy: Tensor) -> Tensor:
    """The nearest `W` with `w_i^H a_i = 1` for every column."""
    return W + atoms * ((1 - (atoms.conj() * W).sum(-2, keepdim=True)) / energy)


def _random_like(atoms: Tensor, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed + 2**30)  # or an A drawn from the same seed would be its own start
    start = torch.randn(atoms.shape, dtype=atoms.dtype, generator=rng, device=rng.device)
    return start.to(atoms.device) / math.sqrt(atoms.shape[-2])


def _inner(left: Tensor, right: Tensor) -> Tensor:
    return (left.conj() * right).real.sum((-2, -1))
