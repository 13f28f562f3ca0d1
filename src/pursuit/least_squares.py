"""The least squares of the package: grown by a column, or solved on a support."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from . import kernels
from .kernels import flat, unflat
from .operators import Operator
from .selection import Atoms, present_first


class QR(NamedTuple):
    """A thin QR factorisation of fixed capacity, and `y` in its basis; columns are appended one by one.

    Attributes
    ----------
    Q : tuple of k Tensors (*batch, m)
        Orthonormal columns, zero where there is none. Apart, so that a new one copies nothing that autograd needs.
    R : tuple of k Tensors (*batch, 1), ..., (*batch, k)
        Columns of the triangular factor.
    g : tuple of k Tensors (*batch, 1)
        `Q^H y`.
    size : int
        How many columns are in.
    """

    Q: tuple[Tensor, ...]
    R: tuple[Tensor, ...]
    g: tuple[Tensor, ...]
    size: int

    @classmethod
    def empty(cls, y: Tensor, capacity: int) -> Self:
        """No columns yet: `Q = 0`, `R = I`."""
        none = torch.zeros_like(y)
        eye = torch.eye(capacity, dtype=y.dtype, device=y.device)
        R = tuple(eye[t, : t + 1].expand(*y.shape[:-1], -1) for t in range(capacity))
        return cls((none,) * capacity, R, (none[..., :1],) * capacity, 0)

    def append(self, a: Tensor, r: Tensor) -> tuple[Self, Tensor]:
        """Take in the column `a (*batch, m)`; returns the factorisation and the residual `r` without it.

        A column that depends on those before it (or is zero) adds nothing: its coefficient is zero.
        """
        t = self.size
        Q = torch.stack(self.Q[:t], dim=-2) if t else a.new_zeros(*a.shape[:-1], 0, a.shape[-1])
        learning = torch.is_grad_enabled() and (a.requires_grad or Q.requires_grad or r.requires_grad)
        append = _CompiledAppend if learning and kernels.wanted("append", Q, a, r) else _Append
        q, column, gamma, r = append.apply(Q, a, r)
        return type(self)(put(self.Q, t, q), put(self.R, t, column), put(self.g, t, gamma), t + 1), r

    def pull(self, r: Tensor) -> Tensor:
        """What the next column is to correlate with: the residual `r` itself."""
        return r

    def solve(self) -> Tensor:
        """Coefficients of the columns taken in so far, `(*batch, k)`."""
        g = torch.cat(self.g, dim=-1)
        return torch.linalg.solve_triangular(self.triangle(), g.unsqueeze(-1), upper=True).squeeze(-1)

    def triangle(self) -> Tensor:
        """The triangular factor, `(*batch, k, k)`."""
        k = len(self.R)
        return torch.stack([torch.nn.functional.pad(column, (0, k - t)) for t, column in enumerate(self.R, 1)], dim=-1)


class _Append(torch.autograd.Function):
    """One column more, with a derivative of its own: a tenth of the operations that autograd would record.

    With Q orthonormal: `v = Q^H a`, `p = a - Q v`, `rho = ||p||`, `q = p / rho`, `gamma = q^H r`, `r' = r - q gamma`.
    `Q (*batch, t, m)` holds the columns as rows.
    """

    @staticmethod
    def forward(ctx: Any, Q: Tensor, a: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        p, v = a, torch.zeros_like(Q[..., 0])
        for _ in range(2 if Q.shape[-2] else 0):  # twice is enough
            c = (Q.conj() * p.unsqueeze(-2)).sum(-1)
            p, v = p - (Q * c.unsqueeze(-1)).sum(-2), v + c
        length = energy(p)
        new = (length > rank_tolerance(a.shape[-1], a.dtype) ** 2 * energy(a)) & (length > 0)
        rho = torch.where(new, length, 1).sqrt()
        q = torch.where(new, p / rho, 0)
        gamma = (q.conj() * r).sum(-1, keepdim=True)
        v = torch.where(new, v, 0)
        column = torch.cat([v, rho.to(a.dtype)], dim=-1)
        ctx.save_for_backward(Q, a, r, q, column, gamma, new)
        return q, column, gamma, r - q * gamma

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        Q, a, r, q, column, gamma, new = ctx.saved_tensors
        return _way_back(Q, a, r, q, column, gamma, new, *grads)


def _way_back(
    Q: Tensor, a: Tensor, r: Tensor, q: Tensor, column: Tensor, gamma: Tensor, new: Tensor,
    of_q: Tensor, of_column: Tensor, of_gamma: Tensor, of_r: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients by Q, a and r, in operations that have derivatives too."""
    v, rho = column[..., :-1], column[..., -1:].real
    of_v, of_rho = of_column[..., :-1], of_column[..., -1:].real
    of_gamma = of_gamma - (q.conj() * of_r).sum(-1, keepdim=True)
    of_q = of_q - of_r * gamma.conj() + r * of_gamma.conj()
    of_r = of_r + q * of_gamma
    along = (q.conj() * of_q).real.sum(-1, keepdim=True)
    of_p = torch.where(new, (of_q - q * along) / rho + q * of_rho, 0)
    if not Q.shape[-2]:
        return torch.zeros_like(Q), of_p, of_r
    of_v = torch.where(new, of_v, 0) - (Q.conj() * of_p.unsqueeze(-2)).sum(-1)
    of_Q = a.unsqueeze(-2) * of_v.conj().unsqueeze(-1) - of_p.unsqueeze(-2) * v.conj().unsqueeze(-1)
    return of_Q, of_p + (Q * of_v.unsqueeze(-1)).sum(-2), of_r


class _CompiledAppend(torch.autograd.Function):
    """The same by one kernel each way. For networks: what they would save a hard solver, compiling them may cost it."""

    @staticmethod
    def forward(ctx: Any, Q: Tensor, a: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        batch, tolerance = a.shape[:-1], rank_tolerance(a.shape[-1], a.dtype) ** 2
        given = flat(Q, 2), flat(a), flat(r)
        items, t = given[0].shape[:2]
        q, rest = torch.empty_like(given[1]), torch.empty_like(given[1])
        column, gamma = q.new_empty(items, t + 1), q.new_empty(items, 1)
        new = torch.empty(items, dtype=torch.bool)
        kernels.run("append", "forward", *given, tolerance, q, column, gamma, rest, new)
        q, column, gamma, rest = (unflat(v, batch) for v in (q, column, gamma, rest))
        ctx.save_for_backward(Q, a, r, q, column, gamma, new.view(*batch, 1))
        return q, column, gamma, rest

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        Q, a, r, q, column, gamma, new = ctx.saved_tensors
        if torch.is_grad_enabled():  # this is to be differentiated in turn
            return _way_back(Q, a, r, q, column, gamma, new, *grads)
        given = flat(Q, 2), *(flat(v) for v in (a, r, q, column, gamma)), flat(new.squeeze(-1), 0)
        out = [torch.empty_like(v) for v in given[:3]]
        kernels.run("append", "backward", *given, *(flat(g) for g in grads), *out)
        return tuple(unflat(v, new.shape[:-1]) for v in out)


def put(values: tuple[Tensor, ...], place: int, value: Tensor) -> tuple[Tensor, ...]:
    """With another value at this place."""
    return (*values[:place], value, *values[place + 1 :])


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

    The columns up to the largest count are independent. It is not made for derivatives: see `project`.
    """
    Q, R = torch.linalg.qr(B)
    place = torch.arange(B.shape[-1], device=B.device)
    used = place < count.amax(0).unsqueeze(-1)
    R = torch.where(used.unsqueeze(-2), R, torch.eye(len(place), dtype=B.dtype, device=B.device))
    c = (Q.mH @ y.unsqueeze(-1)) * (place < count.unsqueeze(-1)).movedim(0, -1)  # (*batch, k, p)
    z = torch.linalg.solve_triangular(R, c, upper=True)
    return Fit(z.movedim(-1, 0), y - (B @ z).movedim(-1, 0))


def fit(A: Operator, y: Tensor, atoms: Any, minimise: Callable[[Tensor, Tensor, Tensor], Fit] = project) -> Fit:
    """Least squares of `y (*batch, m)` on the chosen columns of `A`, hard or soft, at most `m` of them.

    Dependent columns get the coefficients of minimum norm; absent ones get zero.

    Parameters
    ----------
    A : Operator
    y : Tensor (*batch, m)
    atoms : Atoms
        Their `indices` are `(*batch, k)`, -1 where there is none.
    minimise : callable, optional
        Another loss has another one.

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
    B = atoms.pick(order).columns(A)
    z, r = minimise(B, y, found.sum(-1).clamp(max=A.shape[0]))
    return Fit(z.new_zeros(found.shape).scatter(-1, order, z), r)


@torch.no_grad()  # which they are is a constant
def independent(A: Operator, atoms: Any) -> Any:
    """The atoms without those that the ones before them span, to rounding; relaxed atoms as given: they are no columns.

    Fitted on these, as good a fit as on all.
    """
    if not isinstance(atoms, Atoms):
        return atoms
    atoms = atoms.pick(present_first(atoms.found))
    B, found = atoms.columns(A), atoms.found
    k, tolerance = found.shape[-1], rank_tolerance(A.shape[0], B.dtype)
    pivots = torch.geqrf(B)[0].diagonal(dim1=-2, dim2=-1).abs()
    spanned = found & ~(pivots > tolerance * torch.linalg.vector_norm(B, dim=-2))

    # As in `factor`, a list that is mostly empty. A pivot tells that there are such columns, but not which: after one
    # of them the next direction of the QR is arbitrary. So: which do not add to the rank of those before.
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
        How many leading columns are in use; the others are zero. Default all.
    """
    if count is None:
        count = torch.full(B.shape[:-2], B.shape[-1], device=B.device)
    z: Tensor = _Solve.apply(B, y.expand(B.shape[:-1]), count)
    return z


class _Solve(torch.autograd.Function):
    """Least squares with the derivative of its normal equations, so that any factorisation may serve forward.

    With M = (B^H B)^+ : dz = M (dB^H r + B^H (dy - dB z)).
    """

    @staticmethod
    def forward(ctx: Any, B: Tensor, y: Tensor, count: Tensor) -> Tensor:
        z, F = factor(B, y, count)
        ctx.save_for_backward(B, y, z, F)
        return z

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        B, y, z, F = ctx.saved_tensors
        w = _Normal.apply(B, grads[0], F).unsqueeze(-1)  # M grad
        Bw = B @ w
        r = y.unsqueeze(-1) - B @ z.unsqueeze(-1)
        return r @ w.mH - Bw @ z.unsqueeze(-1).mH, Bw.squeeze(-1), None


class _Normal(torch.autograd.Function):
    """`w = M g` of the normal equations, with M = F F^H known: dw = M (dg - (dB^H B + B^H dB) w)."""

    @staticmethod
    def forward(ctx: Any, B: Tensor, g: Tensor, F: Tensor) -> Tensor:
        w: Tensor = (F @ (F.mH @ g.unsqueeze(-1))).squeeze(-1)
        ctx.save_for_backward(B, w, F)
        return w

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        B, w, F = ctx.saved_tensors
        h = _Normal.apply(B, grads[0], F)
        w, Mh = w.unsqueeze(-1), h.unsqueeze(-1)
        return -(B @ w) @ Mh.mH - (B @ Mh) @ w.mH, h, None


def factor(B: Tensor, y: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """`(z, F)` with `z = B^+ y` and `(B^H B)^+ = F F^H`; `B F` is then an orthonormal basis of the range of `B`.

    From QR, and from the SVD where columns are dependent.

    Only the first `count (*batch,)` columns of `B (*batch, m, k)` are in use; the others are zero.
    """
    batch, k = B.shape[:-2], B.shape[-1]
    B, y, count = B.reshape(-1, *B.shape[-2:]), y.reshape(-1, y.shape[-1], 1), count.reshape(-1)
    upper, c = _triangle(B, y)
    used = torch.arange(k, device=B.device) < count.unsqueeze(-1)
    eye = torch.eye(k, dtype=B.dtype, device=B.device)
    R = torch.where(used.unsqueeze(-2), upper.triu(), eye)
    pivots = R.diagonal(dim1=-2, dim2=-1).abs()
    tolerance = rank_tolerance(B.shape[-2], B.dtype)
    independent = (pivots > tolerance * torch.linalg.vector_norm(R, dim=-2)).all(dim=-1)
    R = torch.where(independent[..., None, None], R, eye)
    F = torch.linalg.solve_triangular(R, eye.expand_as(R), upper=True) * used.unsqueeze(-2)
    z = torch.linalg.solve_triangular(R, c * used.unsqueeze(-1), upper=True)  # F c would lose digits of the residual

    # Indexing with a list that is mostly empty, not a branch: the SVD is taken of the dependent items alone.
    rest = (~independent).nonzero().squeeze(-1)
    U, S, Vh = torch.linalg.svd(_cleared(B[rest]), full_matrices=False)
    small = tolerance * S[..., :1] >= S
    inverse = torch.where(small, 0, 1 / torch.where(small, 1, S))
    G = Vh.mH * inverse.unsqueeze(-2)
    z, F = z.index_copy(0, rest, G @ (U.mH @ y[rest])), F.index_copy(0, rest, G)
    return z.reshape(*batch, k), F.reshape(*batch, k, k)


def _cleared(B: Tensor) -> Tensor:
    """`B (items, m, k)` without entries that are nothing beside others of their column.

    Where their squares underflow, LAPACK makes NaN of complex numbers in single precision, and its SVD gives up.
    """
    size = B.abs()
    return torch.where(size < torch.finfo(B.dtype).eps ** 2 * size.amax(-2, keepdim=True), 0, B)


def _triangle(B: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """`R` in the upper triangle, and `Q^H y`, of `B = Q R`: `(items, k, k)` and `(items, k, 1)`."""
    k = B.shape[-1]
    if B.is_cuda:  # there reflectors are applied item after item; as one more column of R, Q^H y is there at once
        both = torch.geqrf(torch.cat([B, y], dim=-1))[0]
        return both[..., :k, :k], both[..., :k, k:]
    reflectors, tau = torch.geqrf(B)
    return reflectors[..., :k, :], torch.ormqr(reflectors, tau, y, left=True, transpose=True)[..., :k, :]


def energy(v: Tensor) -> Tensor:
    """`||v||^2` of every vector on the last axis, which is kept with length one."""
    return (v.conj() * v).real.sum(-1, keepdim=True)


def rank_tolerance(m: int, dtype: torch.dtype) -> float:
    """Below this fraction of its length, what is left of a column counts as rounding error."""
    return max(m, 10) * torch.finfo(dtype).eps
