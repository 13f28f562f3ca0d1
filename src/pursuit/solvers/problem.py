"""The user's problem in the form that the steps take, and its solution in the user's form."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from .. import kernels, powers
from ..checks import nonnegative_per_item, whole
from ..core import loop
from ..core.atoms import Atoms, ChosenAtoms, compact, nonzero_first
from ..core.layout import unwrapped
from ..core.least_squares import fit
from ..core.losses import LeastSquares, Loss
from ..core.losses import checked as checked_loss
from ..core.numeric import ones_for_zeros, or_double, rank_tolerance
from ..core.selection import AtomSelector, Hard, Selection, check_selection
from ..core.solution import Solution, Status
from ..files.checks import lacks_memory, needed_memory
from ..kernels import flat
from ..operators import ColumnScaled, Dense, Operator, gather_last
from ..operators.base import near_one as operator_near_one
from ..transforms import refuse_mapped, uncompiled
from . import verdict
from .given import callers_dtype, column_weights, count, measured, near_one, share_of_y, warm_start

S = TypeVar("S", bound=loop.State)
PER_ITEM = {
    "y": 1,
    "k": 0,
    "target": 0,
    "max_steps": 0,
    "eta": 1,
    "y_norm": 0,
}  # field -> its axes after those of the batch
MOST_X0 = {torch.float32: 2.0**50, torch.float64: 2.0**450}  # times y: the square of what A makes of x0 is in range
MOST_LAM = 2.0**60  # times y: all penalties above are one, as the solution is zero
PART = {"cpu": 2**22, "cuda": 2**27}  # (m + n) (k + 1) times the signals of a part of a batch is at most so much,
LEAST = 64  # or they are so many
UNLIMITED = 2**62  # given for max_steps if something else ends the loop
Hook = Callable[["Iterate"], Any]
Run = Callable[["Problem", Any, "Hook | None"], Solution[Tensor]]  # all steps of a solver, from its start


class Iterate(NamedTuple):
    """The argument of `on_step` after every step, in the caller's units and array type.

    Attributes
    ----------
    step : int
        Number of the step, from 1.
    x : (*batch, n)
        The signal that the solver would return now.
    residual_norm : (*batch,)
    status : (*batch,)
        Codes of `Status`; 0 if the solver still works on the signal.

    Examples
    --------
    >>> import torch, pursuit
    >>> history = []
    >>> sol = pursuit.omp(torch.eye(3), torch.tensor([0.0, 2.0, 1.0]), k=2, on_step=history.append)
    >>> [step.residual_norm.item() for step in history]
    [1.0, 0.0]
    """

    step: int
    x: Any
    residual_norm: Any
    status: Any


class Settled(NamedTuple):
    """The `items (*batch,)` that x = 0 solves, their status, and how many places the caller's support has."""

    items: Tensor
    status: Tensor
    width: int


@dataclass(frozen=True)
class Problem:
    """`y = A x` in the form that the steps take, and what is needed to return the solution in the caller's form.

    Attributes
    ----------
    A : Operator
        With columns of norm one, unless the solver takes columns as they are.
    y : Tensor (*batch, m)
    k : Tensor (*batch,) int64
        Most atoms of each signal; `max_k` is the largest k.
    target : Tensor (*batch,)
        Residual norm at which a signal is solved.
    max_steps : Tensor (*batch,) int64
    weights : Tensor (n,) or (*batch, n)
        Multiply the score; zero for zero columns.
    scale : Tensor (n,) or (*batch, n)
        A coefficient of a unit column times `scale`, times `2^exponent`, is the caller's coefficient.
    loss : Loss
        The loss to minimise.
    select : Selection
        How atoms are chosen.
    full : Status
        Status of a signal that has its k atoms.
    eta : Tensor (*batch, 1)
        Step size; zero for solvers that have none.
    y_norm : Tensor (*batch,)
        The residual norm of `x = 0`.
    wanted : Tensor (*batch,) or None
        The residual norm that the caller asked for, infinite for a `tol` of zero; None if there was no `tol`.
    exponent : Tensor (*batch, 1) or None
        `y 2^exponent` is the caller's y; None if `y` is. Squares of numbers far from one leave their range.
    penalised : bool
        Whether there is a penalty, so that `x = 0` may be the solution.
    dtype : torch.dtype or None
        In which the caller gets `x`, if not that of `y` here.
    names : array (n,) or None
        Names of the columns.
    settled : Settled or None
        The signals for which there is nothing to do.
    """

    A: Operator
    y: Tensor
    k: Tensor
    max_k: int
    target: Tensor
    max_steps: Tensor
    weights: Tensor
    scale: Tensor
    as_numpy: bool
    loss: Loss
    select: Selection
    full: Status
    eta: Tensor
    y_norm: Tensor
    wanted: Tensor | None
    exponent: Tensor | None
    penalised: bool = False
    dtype: torch.dtype | None = None
    names: Any = None
    settled: Settled | None = None

    @property
    def batch(self) -> torch.Size:
        """Shape of the batch."""
        return self.y.shape[:-1]

    @property
    def choice(self) -> AtomSelector:
        """How the solver chooses its atoms."""
        zero = self.weights == 0
        return AtomSelector(
            self.select,
            self.max_k,
            self.weights,
            k=None if (self.k == self.max_k).all() else self.k,
            barred=zero if zero.any() else None,
        )

    def start(self, x0: Any, name: str = "x0") -> Tensor:
        """The warm start `x0` as coefficients of unit columns; zero if there is none."""
        n = self.A.shape[1]
        if x0 is None:
            return self.y.new_zeros(*self.batch, n)
        x0 = warm_start(name, x0, n, self.batch, self.y, self.names)
        units = ones_for_zeros(self.scale)
        if x0.real.dtype == self.y.real.dtype and self.exponent is None:
            start = x0 / units
        else:
            wide = torch.complex128 if x0.is_complex() else torch.float64
            start = self._divided(x0.to(wide) / units.double()).to(self.y.dtype)
        most = MOST_X0[self.y.real.dtype]
        if not (start.detach().abs() <= most).all():
            raise ValueError(
                f"{name} goes up to {x0.detach().abs().max().item():.3g}, and A makes of it more than {most:.2g} times "
                f"y, which {self.y.dtype} cannot square; scale {name}, scale A or y{or_double(self.y.dtype)}."
            )
        return start.to(self.y.dtype).expand(*self.batch, n)

    def with_step_size(self, eta: Any, default: float, squared: Tensor | None = None) -> Problem:
        """With the step size `eta`; if None, `default` over the largest second derivative of the loss in x.

        For that, the largest eigenvalue of `A^H A` is replaced by `squared`, if it is given.
        """
        if eta is None:
            curvature, largest = self.loss.curvature, self.A.norm2() if squared is None else squared
            if curvature is None:
                raise ValueError(
                    "eta was not given, and the loss has no attribute curvature for the default step size; pass eta, "
                    "or set the attribute curvature to the largest second derivative of the loss."
                )
            eta = default / (curvature * ones_for_zeros(largest))
        return replace(self, eta=self.per_item("eta", eta).unsqueeze(-1))

    def per_item(self, name: str, value: Any) -> Tensor:
        """A finite number >= 0 per signal, `(*batch,)`, from one number or one per signal."""
        return nonnegative_per_item(name, value, self.batch, self.y)

    def penalty(self, name: str, value: Any, *, units: int, of_x: bool = False) -> Tensor:
        """A penalty per signal, `(*batch, 1)`, in units of this problem: the caller's has those of `y` to a power.

        `of_x` says that it is a penalty on the size of `x`, whose units those of `A` divide.
        """
        given = nonnegative_per_item(name, value, self.batch, self.y.real.double()).unsqueeze(-1)
        given = given * self.scale[..., :1].double() if of_x else given
        return self._divided(given, units).clamp(max=MOST_LAM).to(self.y.real.dtype)

    def variance(self, name: str, value: Any) -> Tensor:
        """The caller's variance of the entries of `x` as that of coefficients of unit columns, `(*batch, n)`."""
        given = nonnegative_per_item(name, value, self.batch, self.y.real.double()).unsqueeze(-1)
        if not (given > 0).all():
            raise ValueError(f"{name} is {value}; needed is a number > 0.")
        units = ones_for_zeros(self.scale).double()
        taken = self._divided(self._divided(given / units) / units).to(self.y.real.dtype)
        if not ((taken >= torch.finfo(taken.dtype).tiny) & taken.isfinite()).all():
            raise ValueError(
                f"{name} is {value}, which is out of range beside A and y in {taken.dtype}; scale A or y, or use "
                "double precision."
            )
        return taken

    def in_callers_units(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Coefficients of unit columns, `(*batch, n)`, as the caller's; others than all come with their `scale`."""
        scale = self.scale if scale is None else scale
        if self.exponent is None:
            return scale * x
        e = powers.exponent(scale.unsqueeze(-1)).squeeze(-1)
        return powers.shifted(powers.shifted(scale, -e) * x, e + self.exponent)

    def level(self, name: str, value: Any) -> Tensor:
        """A residual norm per signal, `(*batch,)`, in units of this problem: the caller's has those of `y`."""
        given = nonnegative_per_item(name, value, self.batch, self.y.real.double()).unsqueeze(-1)
        return self._divided(given).squeeze(-1).to(self.y.real.dtype)

    def _divided(self, value: Tensor, times: int = 1) -> Tensor:
        """The caller's `value (*batch, ...)` in units of this problem, which are those of `y` so many times."""
        return value if self.exponent is None else powers.shifted(value, -times * self.exponent)

    def per_column(self, name: str, value: Any) -> Tensor:
        """Finite numbers >= 0, one per column of `A`, `(n,)` or `(*batch, n)`; ones for None."""
        return column_weights(name, value, self.A.shape[1], self.batch, self.y, self.names, relative=False)

    def repeated(self, count: int) -> Problem:
        """The same problem `count` times, along a new first axis of the batch."""
        each: dict[str, Any] = {name: getattr(self, name) for name in PER_ITEM}
        return replace(self, **{name: v.expand(count, *v.shape) for name, v in each.items()})

    def only(self, items: Tensor) -> Problem:
        """The signals with these numbers in the flat batch, as a batch with one axis."""
        keep = torch.zeros(self.batch.numel(), dtype=torch.bool, device=items.device)
        keep[items] = True

        each: dict[str, Any] = {name: self._flat(getattr(self, name), own)[items] for name, own in PER_ITEM.items()}
        weights, scale = (v if v.ndim == 1 else self._flat(v, 1)[items] for v in (self.weights, self.scale))
        A = self.A.items(keep.view(self.batch))
        return replace(self, A=A, weights=weights, scale=scale, exponent=None, **each)

    def recover(
        self, name: str, run: Run, start: Any = None, on_step: Hook | None = None, *, whole: bool = False
    ) -> Solution[Any]:
        """The solution in the caller's units and form, by the solver's kernel or its steps: see `find`."""
        return self.to_caller(self.find(name, run, start, on_step, whole=whole))

    @uncompiled
    @kernels.alone()
    def to_caller(self, s: Solution[Tensor]) -> Solution[Any]:
        """A solution for unit columns, in the caller's units and form."""
        dense = "x" in vars(s)
        found = s.x if dense else s.coefficients
        units = self.scale if dense else gather_last(self.scale, s.support.clamp(min=0))
        a = verdict.of(s, found, self.in_callers_units(found, units), self)
        out = {"x": a.x, "support": a.support, "residual_norm": a.residual_norm}
        out |= {"steps": s.steps, "status": a.status, "compiled": s.compiled}
        if self.settled is not None:
            out = self._nothing_where_settled(out, dense)
        if self.exponent is not None:
            out["residual_norm"] = powers.shifted(out["residual_norm"], self.exponent.squeeze(-1))
        x = self._values_out(out.pop("x"))
        given = {name: self._out(value) for name, value in out.items()}
        if dense:
            return Solution.of_signal(x, **given).named(self.names)
        return Solution(coefficients=x, n=s.n, **given).named(self.names)

    def _nothing_where_settled(self, out: dict[str, Tensor], dense: bool) -> dict[str, Tensor]:
        """The parts of a solution, with x = 0 for signals that this solves; `x` is that on the support, or `dense`."""
        assert self.settled is not None
        items, status, max_k = self.settled
        width = 0 if max_k == 0 else None  # solvers took a k of 1 for none; those of a penalty may find more than k
        each, norm = items.unsqueeze(-1), _length(self.loss.initial_residual(self.y))
        x = torch.where(each, 0, out["x"])
        return {
            "x": x if dense else x[..., :width],
            "support": torch.where(each, -1, out["support"])[..., :width],
            "residual_norm": torch.where(items, norm, out["residual_norm"]),
            "steps": torch.where(items, 0, out["steps"]),
            "status": torch.where(items, status, out["status"]),
            "compiled": out["compiled"] & ~items,
        }

    @uncompiled
    def find(
        self, name: str, run: Run, start: Any = None, on_step: Hook | None = None, *, whole: bool = False
    ) -> Solution[Tensor]:
        """The solution for unit columns: the kernel `name` solves what it can, and `run` solves the other signals.

        A large batch is solved in parts, so that the memory for the work on it does not grow with it. A kernel for
        whose copies of `A` there is no memory leaves its signals to `run`.

        Parameters
        ----------
        name : str
            Of the file `kernels/<device>/<name>.py`; without such a file `run` solves all signals.
        run : callable (problem, start, on_step) -> Solution
            The solver's steps.
        start : Tensor (*batch, p) or tuple of these, optional
            Start of the solver: values, or a support; for solvers without a kernel also what else it has per signal.
        on_step : callable, optional
            If given, `run` solves all signals, because a kernel does not show its steps.
        whole : bool
            Whether `run` needs the whole batch.

        Raises
        ------
        MemoryError
            If there is not enough memory for `run` either.
        """
        try:
            return self._find(name, run, start, on_step, whole)
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
            advice = (
                f"{needed_memory(error)}; give pursuit.solve a batch_size, or a smaller part of y or of A at a time."
            )
            if not self.y.is_cuda:
                raise MemoryError(advice) from error
            error.add_note(advice)  # programs catch torch.OutOfMemoryError
            raise

    def _find(self, name: str, run: Run, start: Any, on_step: Hook | None, whole: bool) -> Solution[Tensor]:
        if on_step is not None and not callable(on_step):
            raise TypeError(f"on_step is {on_step!r}; needed is a function of one argument, an Iterate, or None.")
        kernel = None if on_step is not None else self._kernel(name, start)
        if whole or on_step is not None or not isinstance(self.select, Hard) or self._learning(start):
            return run(self, start, on_step) if kernel is None else self._compiled(kernel, run, start)
        if kernel is None:
            return self._in_parts(lambda p, begin: run(p, begin, None), start)
        if getattr(kernel, "IN_PARTS", False):
            return self._compiled(kernel, run, start)
        return self._in_parts(lambda p, begin: p._compiled(kernel, run, begin), start)

    def _in_parts(self, solve: Callable[[Problem, Any], Solution[Tensor]], start: Any) -> Solution[Tensor]:
        """The solution by one call for every part of the batch."""
        (m, n), items = self.A.shape, self.batch.numel()
        size = max(LEAST, PART.get(self.y.device.type, items) // ((m + n) * (self.max_k + 1)))
        if items <= size:
            return solve(self, start)
        parts = torch.arange(items, device=self.y.device).split(size)
        return _joined([solve(self.only(part), self._part(start, part)) for part in parts], self.batch)

    def _compiled(self, kernel: Any, run: Run, start: Any) -> Solution[Tensor]:
        found = None
        try:
            with kernels.alone():
                found = self._by_kernel(kernel, start)
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
        if found is None:
            return (
                run(self, start, None) if self._learning(start) else self._in_parts(lambda p, b: run(p, b, None), start)
            )
        left = (found.status.flatten() == Status.RUNNING).nonzero().squeeze(-1)
        if not len(left):
            return found
        rest, begin = self.only(left), self._part(start, left)
        steps = run(rest, begin, None) if self._learning(start) else rest._in_parts(lambda p, b: run(p, b, None), begin)
        names = [f.name for f in fields(found) if f.name not in ("n", "names")]
        merged = {name: _with_items(getattr(found, name), left, getattr(steps, name), self.batch) for name in names}
        return Solution(n=found.n, **merged)

    def iterate(
        self,
        step: Callable[[S], S],
        stop: Callable[[S, S], Tensor],
        start: S,
        on_step: Hook | None = None,
        *,
        at_budget: Status = Status.MAX_STEPS,
        answer: Callable[[Any], tuple[Tensor, ChosenAtoms]] = lambda state: (state.x, state.atoms),
    ) -> Solution[Tensor]:
        """Repeat a solver's step from its start; `answer` gives x and atoms of the last state."""

        def watch(step: int, state: S, status: Tensor) -> None:
            if on_step is not None:
                x, norm = self.in_callers_units(answer(state)[0]), _length(state.r)
                if self.settled is not None:
                    items = self.settled.items
                    x, status = torch.where(items.unsqueeze(-1), 0, x), torch.where(items, self.settled.status, status)
                    norm = torch.where(items, _length(self.loss.initial_residual(self.y)), norm)
                if self.exponent is not None:
                    norm = powers.shifted(norm, self.exponent.squeeze(-1))
                on_step(Iterate(step, self._values_out(x), self._out(norm), self._out(status)))

        state, steps, status = loop.run(
            step, stop, start, target=self.target, max_steps=self.max_steps, at_budget=at_budget, watch=watch
        )
        x, atoms = answer(state)
        support = compact(atoms.supporting(x).indices)
        by_steps = torch.zeros_like(status, dtype=torch.bool)
        return Solution.of_signal(x, support, _length(state.r), steps, status, by_steps)

    def _kernel(self, name: str, start: Any) -> Any:
        """The kernel for this problem, or None."""
        kernel = kernels.find(name, self.y)
        if kernel is None or not isinstance(self.select, Hard) or not isinstance(self.loss, LeastSquares):
            return None
        items, (m, n) = self.batch.numel(), self.A.shape
        if items == 0 or self.y.dtype not in kernel.DTYPES or not kernel.worth(items, m, n, self.max_k, self.A.at_hand):
            return None
        return None if self._learning(start) and not kernel.REFITS else kernel

    def _learning(self, start: Any) -> bool:
        """Whether derivatives of the solution may be needed."""
        starts = start if isinstance(start, tuple) else (start,)
        given = [v for v in (self.y, self.scale, self.eta, *starts) if v is not None]
        return torch.is_grad_enabled() and (self.A.requires_grad or any(v.requires_grad for v in given))

    def data(self) -> kernels.Data:
        """The problem as the input of a kernel."""
        A = self.A
        matrix = self._rows(A.to_dense(), 2) if A.batch_shape else flat(A.kept("matrix", A.to_dense), 2)
        return kernels.Data(
            A=matrix, kept=A.kept, keeps=A.keeps, y=flat(self.y),
            weights=self._rows(self.weights, 1), k=flat(self.k, 0), target=flat(self.target, 0),
            max_steps=flat(self.max_steps, 0), eta=flat(self.eta.squeeze(-1), 0), max_k=self.max_k,
            tolerance=rank_tolerance(A.shape[0], self.y.dtype), full=int(self.full),
        )  # fmt: skip

    def _by_kernel(self, kernel: Any, start: Any) -> Solution[Tensor]:
        A = self.A
        with torch.no_grad():  # the choice is constant; derivatives pass through the fit on the chosen atoms
            found = kernel.run(self.data(), None if start is None else flat(self._flat(start, 1)))
        support, n = found.support.view(*self.batch, -1), A.shape[1]
        steps, status = found.steps.view(self.batch), found.status.view(self.batch)
        compiled = status != Status.RUNNING
        if not kernel.REFITS:
            x = found.x.view(*self.batch, -1)
            support = compact(Atoms(support, n).supporting(x).indices)
            return Solution.of_signal(x, support, _length(A.residual(self.y, x)), steps, status, compiled)
        if found.z is None or self._learning(start):
            z, r = fit(A, self.y, Atoms(support, n))
            norm = _length(r)
        else:
            z, norm = found.z.view(support.shape), found.norm.view(self.batch)
        return Solution(*nonzero_first(support, z), norm, steps, status, compiled, n)

    def _part(self, start: Any, items: Tensor) -> Any:
        """What these signals of the flat batch have of a start."""
        if isinstance(start, tuple):
            return tuple(self._part(v, items) for v in start)
        return None if start is None else self._flat(start, 1)[items]

    def _flat(self, v: Tensor, own: int) -> Tensor:
        """One value per signal, with a flat batch."""
        axes = v.shape[v.ndim - own :]
        return v.expand(self.batch + axes).reshape(self.batch.numel(), *axes)

    def _rows(self, v: Tensor, own: int) -> Tensor:
        """One value for all, or one per signal, with a flat batch."""
        return flat(v if v.ndim == own else self._flat(v, own), own)

    def _values_out(self, value: Tensor) -> Any:
        """Entries of x, in the caller's precision too."""
        if self.dtype is None:
            return self._out(value)
        narrow = value.to(self.dtype)
        largest = value.detach().abs().amax(-1) if value.shape[-1] else value.new_zeros(0)
        lost = (largest > 0) & (largest < torch.finfo(self.dtype).tiny)
        if lost.any():
            raise ValueError(
                f"x goes up to {largest[lost].min().item():.3g} only, too little for {self.dtype}, the dtype of y; "
                "scale y or A, or pass y in single or double precision."
            )
        if (value.isfinite() & ~narrow.isfinite()).any():
            raise ValueError(
                f"x goes up to {value.detach().abs().max().item():.3g}, which leaves the range of {self.dtype}, the "
                "dtype of y; scale y or A, or pass y in single or double precision."
            )
        return self._out(narrow)

    def _out(self, value: Tensor) -> Any:
        if self.as_numpy:
            return value.detach().resolve_conj().cpu().numpy()
        # For other losses a derivative would ignore how refits change, so there is none.
        return value if isinstance(self.loss, LeastSquares) else value.detach()


def _with_items(values: Tensor, items: Tensor, new: Tensor, batch: torch.Size) -> Tensor:
    """The `values (*batch, ...)`, with `new` ones at the `items` of the flat batch."""
    own = values.shape[len(batch) :]
    return values.reshape(batch.numel(), *own).index_copy(0, items, new.to(values)).view(batch + own)


def _joined(parts: list[Solution[Tensor]], batch: torch.Size) -> Solution[Tensor]:
    """The solutions of the parts of a batch as one; a support is as wide as the widest."""
    width = max(part.support.shape[-1] for part in parts)

    def all_of(name: str, empty: int | None = None) -> Tensor:
        values = [getattr(part, name) for part in parts]
        if empty is not None:
            values = [torch.nn.functional.pad(v, (0, width - v.shape[-1]), value=empty) for v in values]
        joined = torch.cat(values)
        return joined.view(*batch, *joined.shape[1:])

    support = all_of("support", -1)
    rest = {name: all_of(name) for name in ("residual_norm", "steps", "status", "compiled")}
    if all("x" in vars(part) for part in parts):
        return Solution.of_signal(all_of("x"), support, **rest)
    return Solution(support=support, coefficients=all_of("coefficients", 0), n=parts[0].n, **rest)


def _length(r: Tensor) -> Tensor:
    return torch.linalg.vector_norm(r, dim=-1)


@uncompiled
@kernels.alone()
def problem(
    A: Any,
    y: Any,
    k: Any,
    *,
    tol: Any = None,
    eps: Any = None,
    max_steps: Any = UNLIMITED,
    weights: Any = None,
    unit_columns: bool = True,
    loss: Any = LeastSquares(),
    select: Selection = Hard(),
    full: Status = Status.SPARSITY,
    keep_units: bool = False,
) -> Problem:
    """Check the input and bring it into one form.

    Parameters
    ----------
    A, y, k, tol, eps, max_steps, weights, loss
        As in the solvers; `ALL` for k allows min(m, n) atoms.
    unit_columns : bool
        Whether to divide columns by their norms, so that scores compare correlations.
    keep_units : bool
        Whether `y` stays as it is given, whatever its size. Otherwise a power of two brings it near one where it is
        far from it; not for relaxed selections, whose temperature has units, nor for other losses.

    Raises
    ------
    TypeError, ValueError
        If the input is wrong; the message says what was given, what is needed and what to do.
    """
    if not isinstance(select, Hard):
        check_selection(select)
    refuse_mapped(A, unwrapped(y)[0], weights)
    op, y, given, as_numpy = measured(A, y)
    fixed = keep_units or not isinstance(select, Hard) or not isinstance(loss, LeastSquares)
    y, y_norm, exponent = near_one(y, fixed)
    y = y.expand(*np.broadcast_shapes(op.batch_shape, y.shape[:-1]), op.shape[0])
    m, n = op.shape
    batch = y.shape[:-1]
    unit, scale = op, y.real.new_ones(n)
    if unit_columns or op.at_hand:  # of a matrix always, which checks its entries
        with nullcontext() if isinstance(op, Dense) else kernels.together():  # column norms may take many products
            unit = op.normalised()
        scale = unit.scale
    k = count(k, min(m, n), y.device)
    model = checked_loss(loss, y)
    r = model.initial_residual(y)
    if r is not y:
        y_norm = torch.linalg.vector_norm(r.detach(), dim=-1)
    # After an exact fit the residual is rounding; no further atoms should be chosen for it.
    floor = model.rounding(torch.finfo(y_norm.dtype).eps)
    share = share_of_y(tol, batch, y)
    y_norm, target = y_norm.expand(batch), share.clamp(min=floor) * y_norm
    nonzero = scale > 0
    if not unit_columns:
        unit, scale = operator_near_one(op), torch.ones_like(scale)
        if unit is not op and isinstance(unit, ColumnScaled):
            scale = unit.scale.expand(scale.shape)
    p = Problem(
        A=unit,
        y=y,
        k=whole("k", k, 0, min(m, n), batch, y.device),
        max_k=int(k.max()) if k.numel() else 1,  # of k as given, because an empty batch has no maximum
        target=target,
        max_steps=whole("max_steps", max_steps, 0, None, batch, y.device),
        weights=column_weights("weights", weights, n, batch, y, op.column_names, relative=not fixed) * nonzero,
        scale=scale,
        as_numpy=as_numpy,
        loss=model,
        select=select,
        full=full,
        eta=y.real.new_zeros(*batch, 1),
        y_norm=y_norm,
        wanted=None if tol is None else torch.where(share > 0, target, torch.inf),
        exponent=None if exponent is None else exponent.expand(*batch, 1),
        dtype=None if given is y.dtype else callers_dtype(given, y.dtype),
        names=op.column_names,
    )
    return p if eps is None and not (p.k == 0).any() else _settled(p, eps, y_norm)


def _settled(p: Problem, eps: Any, y_norm: Tensor) -> Problem:
    """The problem with the residual level `eps`, and with the signals that x = 0 solves: of a k of 0, or below eps."""
    items = p.k == 0
    if eps is not None:
        level = p.level("eps", eps)
        asked = level > 0 if p.wanted is None else (level > 0) | p.wanted.isfinite()
        target = torch.maximum(p.target, level)
        p = replace(p, target=target, wanted=torch.where(asked, target, torch.inf))
        items = items | (y_norm <= target)
    if not items.any():
        return p
    status = torch.where(y_norm <= p.target, int(Status.TOLERANCE), int(Status.SPARSITY))
    # Steps and kernels stop at once for these signals, whatever they start from.
    target, k = torch.where(items, torch.inf, p.target), p.k.clamp(min=1)
    return replace(p, target=target, k=k, max_k=max(1, p.max_k), settled=Settled(items, status, p.max_k))
