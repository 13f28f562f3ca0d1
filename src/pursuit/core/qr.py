"""A thin QR factorisation to which columns are appended."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from .. import kernels
from ..kernels import flat, unflat
from ..transforms import differentiates, no_forward_mode, signature_known
from .numeric import energy, rank_tolerance


class QR(NamedTuple):
    """A thin QR factorisation to which at most k columns are appended one by one, and `y` in its basis.

    Attributes
    ----------
    Q : tuple of Tensors (*batch, m)
        Orthonormal columns; zero for a column that was not accepted. Separate tensors, so that appending copies
        nothing, and no more of them than there are columns.
    R : tuple of Tensors (*batch, 1), (*batch, 2), ...
        Columns of the triangular factor.
    g : tuple of Tensors (*batch, 1)
        `Q^H y`.
    none : Tensor (*batch, k)
        Zeros: the coefficients before the first column.
    """

    Q: tuple[Tensor, ...]
    R: tuple[Tensor, ...]
    g: tuple[Tensor, ...]
    none: Tensor

    @classmethod
    def empty(cls, y: Tensor, capacity: int) -> Self:
        """No columns yet."""
        return cls((), (), (), torch.zeros_like(y[..., :1]).expand(*y.shape[:-1], capacity))

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(self.Q)

    def choose(self, where: Tensor, old: Self) -> Self:
        """This factorisation if `where (*batch,)` is true, else the `old` one, its missing columns `Q = 0`, `R = I`."""
        here, t = where.unsqueeze(-1), old.size

        def parts(new: tuple[Tensor, ...], before: tuple[Tensor, ...], last: float) -> tuple[Tensor, ...]:
            empty = [torch.nn.functional.pad(torch.zeros_like(v[..., :-1]), (0, 1), value=last) for v in new[t:]]
            pairs = zip(new, (*before, *empty), strict=True)
            return tuple(a if a is b else torch.where(here, a, b) for a, b in pairs)

        return self._replace(Q=parts(self.Q, old.Q, 0), R=parts(self.R, old.R, 1), g=parts(self.g, old.g, 0))

    def append(self, a: Tensor, r: Tensor) -> tuple[Self, Tensor]:
        """Append the column `a (*batch, m)`; returns the factorisation and the new residual.

        A column that is zero or depends on those before gets the coefficient zero.
        """
        t = self.size
        Q = torch.stack(self.Q[:t], dim=-2) if t else a.new_zeros(*a.shape[:-1], 0, a.shape[-1])
        if not differentiates(Q, a, r):
            append = _Append.forward
        else:
            append = (_CompiledAppend if kernels.wanted("append", Q, a, r) else _Append).apply
        q, column, gamma, r = append(Q, a, r)[:4]
        return self._replace(Q=(*self.Q, q), R=(*self.R, column), g=(*self.g, gamma)), r

    def pseudo_residual(self, r: Tensor) -> Tensor:
        """The residual `r` itself, with which the next column should correlate."""
        return r

    def solve(self) -> Tensor:
        """Coefficients of the columns so far, `(*batch, k)`; zero for those that may yet come."""
        if not self.size:
            return self.none
        g = torch.cat(self.g, dim=-1)
        z = torch.linalg.solve_triangular(self.triangle(), g.unsqueeze(-1), upper=True).squeeze(-1)
        return torch.nn.functional.pad(z, (0, self.none.shape[-1] - self.size))

    def triangle(self) -> Tensor:
        """The triangular factor, square."""
        k = self.size
        return torch.stack([torch.nn.functional.pad(column, (0, k - t)) for t, column in enumerate(self.R, 1)], dim=-1)


class _Append(torch.autograd.Function):
    """Append a column, with a hand-written derivative: a tenth of the operations that autograd would record.

    With Q orthonormal: `v = Q^H a`, `p = a - Q v`, `rho = ||p||`, `q = p / rho`, `gamma = q^H r`, `r' = r - q gamma`.
    `Q (*batch, t, m)` holds the columns as rows.
    """

    generate_vmap_rule = True
    jvp = staticmethod(no_forward_mode)

    @staticmethod
    @signature_known
    def forward(Q: Tensor, a: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
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
        return q, column, gamma, r - q * gamma, new

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        q, column, gamma, _, new = output
        ctx.mark_non_differentiable(new)
        ctx.save_for_backward(*inputs, q, column, gamma, new)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _way_back(*ctx.saved_tensors, *grads[:4])


def _way_back(
    Q: Tensor, a: Tensor, r: Tensor, q: Tensor, column: Tensor, gamma: Tensor, new: Tensor,
    of_q: Tensor, of_column: Tensor, of_gamma: Tensor, of_r: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients by Q, a and r, by operations that have derivatives."""
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
    """The same by a kernel forward and one backward. Only for networks: for a hard solver compiling may cost more."""

    @staticmethod
    def forward(ctx: Any, Q: Tensor, a: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        batch, tolerance = a.shape[:-1], rank_tolerance(a.shape[-1], a.dtype) ** 2
        given = flat(Q, 2), flat(a), flat(r)
        items, t = given[0].shape[:2]
        q, rest = torch.empty_like(given[1]), torch.empty_like(given[1])
        column, gamma = q.new_empty(items, t + 1), q.new_empty(items, 1)
        new = torch.empty(items, dtype=torch.bool, device=q.device)
        kernels.run("append", "forward", *given, tolerance, q, column, gamma, rest, new)
        q, column, gamma, rest = (unflat(v, batch) for v in (q, column, gamma, rest))
        ctx.save_for_backward(Q, a, r, q, column, gamma, new.view(*batch, 1))
        return q, column, gamma, rest

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        Q, a, r, q, column, gamma, new = ctx.saved_tensors
        if kernels.by_operations(*grads):  # for a second derivative
            return _way_back(Q, a, r, q, column, gamma, new, *grads)
        given = flat(Q, 2), *(flat(v) for v in (a, r, q, column, gamma)), flat(new.squeeze(-1), 0)
        out = [torch.empty_like(v) for v in given[:3]]
        kernels.run("append", "backward", *given, *(flat(g) for g in grads), *out)
        return tuple(unflat(v, new.shape[:-1]) for v in out)


def put(values: tuple[Tensor, ...], place: int, value: Tensor) -> tuple[Tensor, ...]:
    """The tuple with another value at this place."""
    return (*values[:place], value, *values[place + 1 :])
