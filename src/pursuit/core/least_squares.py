"""Least squares on a support."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..operators import Operator
from ..transforms import differentiates, no_forward_mode, signature_known
from .atoms import Atoms, ChosenAtoms, present_first
from .numeric import rank_tolerance, safe_divide


class Fit(NamedTuple):
    """Least squares on chosen atoms: coefficients `z (*batch, k)` and the residual `r (*batch, m)`."""

    z: Tensor
    r: Tensor


def project(B: Tensor, y: Tensor, count: Tensor) -> Fit:
    """Least squares on the leading `count (*batch,)` columns of `B (*batch, m, k)`."""
    z = solve(B, y, count)
    return Fit(z, y - (B @ z.unsqueeze(-1)).squeeze(-1))


def leading(B: Tensor, y: Tensor, count: Tensor) -> Fit:
    """Least squares on the leading `count (p, *batch)` columns of `B (*batch, m, k)`: p fits by one factorisation.

    The columns up to the largest count must be independent. Use `project` if derivatives are needed.
    """
    Q, R = torch.linalg.qr(B)
    place = torch.arange(B.shape[-1], device=B.device)
    used = place < count.amax(0).unsqueeze(-1)
    R = torch.where(used.unsqueeze(-2), R, torch.eye(len(place), dtype=B.dtype, device=B.device))
    c = (Q.mH @ y.unsqueeze(-1)) * (place < count.unsqueeze(-1)).movedim(0, -1)  # (*batch, k, p)
    z = torch.linalg.solve_triangular(R, c, upper=True)
    return Fit(z.movedim(-1, 0), y - (B @ z).movedim(-1, 0))


def fit(A: Operator, y: Tensor, atoms: ChosenAtoms, minimise: Callable[[Tensor, Tensor, Tensor], Fit] = project) -> Fit:
    """Least squares of `y (*batch, m)` on the chosen columns of `A`, hard or soft, at most `m` of them.

    Dependent columns get the coefficients of minimum norm, empty places zero.

    Parameters
    ----------
    A : Operator
    y : Tensor (*batch, m)
    atoms : Atoms
        Their `indices` are `(*batch, k)`, -1 for an empty place.
    minimise : callable, optional
        The fit on a matrix; other losses have another one.

    Returns
    -------
    Fit
        Coefficients `z (*batch, k)` and the residual `r (*batch, m)`; `atoms.embed(z)` is the signal.

    Examples
    --------
    >>> import torch, pursuit
    >>> atoms = pursuit.Atoms(torch.tensor([2, 0]), n=3)
    >>> z, r = pursuit.fit(pursuit.as_operator(torch.eye(4, 3)), torch.tensor([1.0, 2.0, 3.0, 4.0]), atoms)
    >>> z, r
    (tensor([3., 1.]), tensor([0., 2., 0., 4.]))
    """
    found = atoms.found
    order = present_first(found)[..., : A.shape[0]]
    B = atoms.reorder(order).columns(A)
    z, r = minimise(B, y, found.sum(-1).clamp(max=A.shape[0]))
    return Fit(z.new_zeros(found.shape).scatter(-1, order, z), r)


@torch.no_grad()  # the choice has no derivative
def independent(A: Operator, atoms: ChosenAtoms) -> ChosenAtoms:
    """The atoms without those in the span of earlier ones, up to rounding; a fit on them is as good as on all.

    Relaxed atoms are returned unchanged, because they are no columns.
    """
    if not isinstance(atoms, Atoms):
        return atoms
    atoms = atoms.reorder(present_first(atoms.found))
    B, found = atoms.columns(A), atoms.found
    k, tolerance = found.shape[-1], rank_tolerance(A.shape[0], B.dtype)
    pivots = torch.geqrf(B)[0].diagonal(dim1=-2, dim2=-1).abs()
    spanned = found & ~(pivots > tolerance * torch.linalg.vector_norm(B, dim=-2))

    # As in `factor`, a list that is mostly empty. A small pivot shows that there are dependent columns, but not which:
    # after the first one the next direction of the QR is arbitrary. So find the columns that do not raise the rank.
    rest = spanned.any(-1).reshape(-1).nonzero().squeeze(-1)
    leading = torch.ones(k, k, dtype=torch.bool, device=B.device).triu().mT.unsqueeze(-2)
    S = torch.linalg.svdvals(_cleared(B.reshape(-1, *B.shape[-2:])[rest]).unsqueeze(-3) * leading)
    rank = (tolerance * S[..., :1] < S).sum(-1)
    new = rank > torch.nn.functional.pad(rank, (1, 0))[..., :-1]
    kept = found.reshape(-1, k).index_copy(0, rest, new).view_as(found)
    return atoms._replace(indices=atoms.indices.where(kept, -1))


def solve(B: Tensor, y: Tensor, count: Tensor | None = None) -> Tensor:
    """`argmin ||B z - y||` of minimum norm, `(*batch, m, k)` and `(*batch, m) -> (*batch, k)`, with `k <= m`.

    Parameters
    ----------
    B, y : Tensor
    count : Tensor (*batch,) int64, optional
        Number of leading columns in use; the others are zero. Default all.
    """
    if count is None:
        count = torch.full(B.shape[:-2], B.shape[-1], device=B.device)
    y = y.expand(B.shape[:-1])
    z: Tensor = (_Solve.apply if differentiates(B, y) else factor)(B, y, count)[0]
    return z


class _Solve(torch.autograd.Function):
    """Least squares with the derivative of the normal equations, for any factorisation in the forward pass.

    With M = (B^H B)^+ : dz = M (dB^H r + B^H (dy - dB z)).
    """

    jvp = staticmethod(no_forward_mode)

    @staticmethod
    @signature_known
    def forward(B: Tensor, y: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        return factor(B, y, count)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *given: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        """Mapping over problems is solving a batch of them."""
        B, y, count = (
            v.expand(info.batch_size, *v.shape) if dim is None else v.movedim(dim, 0)
            for v, dim in zip(given, in_dims, strict=True)
        )
        return _Solve.apply(B, y, count), (0, 0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        B, y, _ = inputs
        z, F = output
        ctx.mark_non_differentiable(F)
        ctx.save_for_backward(B, y, z, F)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        B, y, z, F = ctx.saved_tensors
        w = _Normal.apply(B, grads[0], F).unsqueeze(-1)  # M grad
        Bw = B @ w
        r = y.unsqueeze(-1) - B @ z.unsqueeze(-1)
        return r @ w.mH - Bw @ z.unsqueeze(-1).mH, Bw.squeeze(-1), None


class _Normal(torch.autograd.Function):
    """`w = M g` of the normal equations, with M = F F^H known: dw = M (dg - (dB^H B + B^H dB) w)."""

    generate_vmap_rule = True
    jvp = staticmethod(no_forward_mode)

    @staticmethod
    @signature_known
    def forward(B: Tensor, g: Tensor, F: Tensor) -> Tensor:
        return (F @ (F.mH @ g.unsqueeze(-1))).squeeze(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        B, _, F = inputs
        ctx.save_for_backward(B, output, F)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        B, w, F = ctx.saved_tensors
        h = _Normal.apply(B, grads[0], F)
        w, Mh = w.unsqueeze(-1), h.unsqueeze(-1)
        return -(B @ w) @ Mh.mH - (B @ Mh) @ w.mH, h, None


def factor(B: Tensor, y: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """`(z, F)` with `z = B^+ y` and `(B^H B)^+ = F F^H`; `B F` is then an orthonormal basis of the range of `B`.

    By QR, or by the SVD if columns are dependent.

    Only the first `count (*batch,)` columns of `B (*batch, m, k)` are in use; the others are zero.
    """
    batch, k = B.shape[:-2], B.shape[-1]
    items = batch.numel()  # not -1, which is ambiguous where there are no items and no columns
    B, y, count = B.reshape(items, *B.shape[-2:]), y.reshape(items, y.shape[-1], 1), count.reshape(items)
    upper, c = _triangle(B, y)
    used = torch.arange(k, device=B.device) < count.unsqueeze(-1)
    eye = torch.eye(k, dtype=B.dtype, device=B.device)
    R = torch.where(used.unsqueeze(-2), upper.triu(), eye)
    pivots = R.diagonal(dim1=-2, dim2=-1).abs()
    tolerance = rank_tolerance(B.shape[-2], B.dtype)
    size = torch.linalg.vector_norm(R.mT.contiguous(), dim=-1)  # of columns: along rows it takes a tenth of the time
    independent = (pivots > tolerance * size).all(dim=-1)
    R = torch.where(independent[..., None, None], R, eye)
    # z = F c, instead of solving for z, would lose digits of the residual.
    both = torch.linalg.solve_triangular(R, torch.cat([eye.expand_as(R), c * used.unsqueeze(-1)], dim=-1), upper=True)
    F, z = both[..., :k] * used.unsqueeze(-2), both[..., k:]
    # Small pivots show some dependent columns, not all: the inverse shows where the least singular value is rounding.
    rounding = k * torch.finfo(R.dtype).eps
    clear = independent & (rounding * k**0.5 * torch.linalg.matrix_norm(size.unsqueeze(-1) * F) < 1)

    # Indexing with a list that is mostly empty, instead of a branch: only dependent items need the SVD.
    rest = (~clear).nonzero().squeeze(-1)
    U, S, Vh = torch.linalg.svd(_cleared(B[rest]), full_matrices=False)
    small = tolerance * S[..., :1] >= S
    rank = (rounding * S[..., :1] < S).sum(-1)
    # Of others the residual by QR has more digits.
    deficient = (~independent[rest] | (rank < count[rest])).nonzero().squeeze(-1)
    rest, U, S, Vh, small = (v.index_select(0, deficient) for v in (rest, U, S, Vh, small))
    inverse = safe_divide(1, S, where=~small)
    G = Vh.mH * inverse.unsqueeze(-2)
    z, F = z.index_copy(0, rest, G @ (U.mH @ y[rest])), F.index_copy(0, rest, G)
    return z.reshape(*batch, k), F.reshape(*batch, k, k)


def _cleared(B: Tensor) -> Tensor:
    """`B (items, m, k)` with entries set to zero that are negligible in their column.

    If squares of such entries underflow, LAPACK's QR of complex64 returns NaN, and its SVD fails.
    """
    size = B.abs()
    return torch.where(size < torch.finfo(B.dtype).eps ** 2 * size.amax(-2, keepdim=True), 0, B)


def _triangle(B: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """`R` in the upper triangle, and `Q^H y`, of `B = Q R`: `(items, k, k)` and `(items, k, 1)`."""
    k = B.shape[-1]
    if B.is_cuda:  # reflectors would be applied one item at a time; Q^H y as one more column of R is faster
        both = torch.geqrf(torch.cat([B, y], dim=-1))[0]
        return both[..., :k, :k], both[..., :k, k:]
    reflectors, tau = torch.geqrf(B)
    return reflectors[..., :k, :], torch.ormqr(reflectors, tau, y, left=True, transpose=True)[..., :k, :]
