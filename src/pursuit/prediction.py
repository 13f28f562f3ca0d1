"""Which method, and how many non-zeros: by how well measurements are predicted that the method has not seen.

With a residual more non-zeros always look better, and with the truth unknown there is nothing else to look at. So the
rows of A are split into folds; each method solves with the rows of the other folds, and its answer times the rows of
the fold is compared with what was measured there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .core.atoms import Atoms
from .core.least_squares import fit
from .core.selection import Hard
from .core.solution import Status
from .operators import Compose, Dense, Operator, Restriction

FOLDS = 5
GROWTH = 1.35  # of k, from one candidate to the next
CANDIDATES = 16  # at most
FEW = 16  # signals: up to so many, one call with the matrices of all folds is faster than one call per fold
Recover = Callable[[Operator, Tensor, int], Any]  # (A, y, k) -> Solution


@dataclass(frozen=True)
class Prediction:
    """How well one method with one k predicts rows that it has not seen.

    Attributes
    ----------
    method : str
    k : int
    error : float
        `||y - A x||^2 / ||y||^2` on the rows of a fold, over all signals; the mean over the folds. With x = 0 it is 1.
    standard_error : float
        Of that mean: the standard deviation over the folds by the root of their number.
    nonzeros : float
        Mean number of non-zeros.
    status : Status
        The most frequent one.
    """

    method: str
    k: int
    error: float
    standard_error: float
    nonzeros: float
    status: Status

    @property
    def rank(self) -> float:
        """The error in six digits, by which predictions are ordered: rounding does not decide between equal ones."""
        return float(f"{self.error:.6g}")

    @property
    def db(self) -> float:
        """The error in dB."""
        return 10 * math.log10(self.error) if self.error > 0 else -math.inf

    @property
    def standard_error_db(self) -> float:
        """The standard error in dB, to first order; NaN where the error is zero."""
        return 10 / math.log(10) * self.standard_error / self.error if self.error > 0 else math.nan


def predict(
    A: Operator,
    y: Tensor,
    methods: dict[str, Recover],
    ks: Sequence[int],
    *,
    folds: int = FOLDS,
    seed: int = 0,
    by_fold: Collection[str] = (),
    started: Callable[[str], Any] | None = None,
) -> list[Prediction]:
    """Predict every fold with every method and k, all signals at once.

    Up to 16 signals are solved for all folds as one batch of matrices; more signals, for which one matrix at a time is
    faster, and operators without a matrix, fold by fold.

    A method that leaves more than k non-zeros, as ISTA does, is cut to the k largest, and these are refitted: all are
    compared at equal sparsity.

    Parameters
    ----------
    A : Operator
    y : Tensor (*batch, m)
    methods : dict
        Name -> `(A, y, k) -> Solution`.
    ks : sequence of int
        Numbers of non-zeros to try.
    folds : int
        Number of folds, at most m; the rows are dealt to them at random.
    seed : int
        Of the folds.
    by_fold : collection of str
        Names of methods that do not take a batch of matrices.
    started : callable, optional
        Called with each method's name before it runs.

    Returns
    -------
    list of Prediction
        In the order of methods, then of ks.

    Raises
    ------
    ValueError
        If there are too few rows, or a k is larger than the rows that are left allow.

    Examples
    --------
    >>> import pursuit
    >>> from pursuit import problems
    >>> case = problems.gaussian(n=60, m=40, k=3, signals=5)
    >>> by_k = predict(case.A, case.y, {"omp": pursuit.omp}, [1, 3, 20])
    >>> choose(by_k).k
    3
    """
    rows = split(A.shape[0], folds, seed)
    check(A, rows, ks)
    fits = [part(A, y, other) for _, other in rows]
    held = [part(A, y, held) for held, _ in rows]
    few = A.at_hand and not A.batch_shape and y.shape[:-1].numel() <= FEW
    at_once = [stacked(fits)] if few else fits
    found = []
    for name, recover in methods.items():
        if started is not None:
            started(name)
        found += [_prediction(name, recover, k, fits if name in by_fold else at_once, held) for k in ks]
    return found


def choose(predictions: Sequence[Prediction]) -> Prediction:
    """The fewest non-zeros within one standard error of the least error; among equals the least error.

    Raises
    ------
    ValueError
        If there are no predictions.
    """
    best = least(predictions)
    close = [p for p in predictions if p.error <= best.error + best.standard_error]
    return min(close, key=lambda p: (p.k, p.rank))


def least(predictions: Sequence[Prediction]) -> Prediction:
    """The one of least error."""
    if not predictions:
        raise ValueError("there are no predictions; needed is at least one method and one k.")
    return min(predictions, key=lambda p: (p.rank, p.k))


def advice(predictions: Sequence[Prediction]) -> str:
    """One sentence: which method and k to take, and why."""
    best, taken = least(predictions), choose(predictions)
    if best.error + best.standard_error >= 1:
        return (
            f"No method predicts held-out rows better than x = 0 does (the best, {best.method} with k = {best.k}, has "
            f"{best.db:.1f} dB): these measurements do not show that a sparse x explains them."
        )
    said = f"Take {taken.method} with k = {taken.k}: it predicts held-out rows with {taken.db:.1f} dB, "
    if all(p.k >= best.k for p in predictions):
        return said + "the least error of all."
    if taken == best:
        return said + "the least error of all, and with fewer non-zeros none is within one standard error of it."
    return said + (
        f"within one standard error ({best.standard_error_db:.1f} dB) of the least error ({best.db:.1f} dB, "
        f"{best.method} with k = {best.k}), with fewer non-zeros."
    )


def candidates(m: int, n: int, folds: int = FOLDS) -> list[int]:
    """Numbers of non-zeros to try when none is known: 1, 2, 3, 4, 5, 7, .. up to half of the rows that are left.

    Examples
    --------
    >>> candidates(100, 200)
    [1, 2, 3, 4, 5, 7, 10, 13, 18, 25, 33, 40]
    """
    most = max(1, min((m - math.ceil(m / folds)) // 2, n))
    ks, k = [1], 1.0
    while len(ks) < CANDIDATES and ks[-1] < most:
        k = max(ks[-1] + 1, k * GROWTH)
        ks.append(min(round(k), most))
    return ks


def split(m: int, folds: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """For every fold the rows that are held out, and the others.

    Raises
    ------
    ValueError
        If there are fewer than two rows or folds.
    """
    folds = min(folds, m)
    if folds < 2:
        raise ValueError(
            f"A has {m} rows, for {folds} folds; needed are two of each at least: give more rows, or more folds."
        )
    fold = torch.empty(m, dtype=torch.int64)
    fold[torch.randperm(m, generator=torch.Generator().manual_seed(seed))] = torch.arange(m) % folds
    return [((fold == f).nonzero().squeeze(-1), (fold != f).nonzero().squeeze(-1)) for f in range(folds)]


def check(A: Operator, rows: Sequence[tuple[Tensor, Tensor]], ks: Sequence[int]) -> None:
    """Raise ValueError if a k is not possible with the rows of every split."""
    most = min(*(len(other) for _, other in rows), A.shape[1])
    bad = [k for k in ks if not 1 <= k <= most]
    if bad or not ks:
        raise ValueError(
            f"k is {', '.join(map(str, bad)) or 'not given'}; needed is 1 <= k <= {most}: {A.shape[0]} rows in "
            f"{len(rows)} folds leave {most} to solve with."
        )


def part(A: Operator, y: Tensor, rows: Tensor) -> tuple[Operator, Tensor]:
    """The problem with some rows alone."""
    rows = rows.to(y.device)
    if A.at_hand:
        return Dense(A.to_dense()[..., rows, :]), y[..., rows]
    return Compose(Restriction(rows, A.shape[0], dtype=A.dtype), A), y[..., rows]


def stacked(parts: Sequence[tuple[Operator, Tensor]]) -> tuple[Operator, Tensor]:
    """Problems of almost equal size as one batch, with folds as its first axis.

    A problem of fewer rows gets rows of zeros, of which no solution depends.
    """
    m, signals = max(A.shape[0] for A, _ in parts), parts[0][1].shape[:-1]
    matrices = torch.stack([_taller(A.to_dense(), m, axis=-2) for A, _ in parts])
    between = (1,) * len(signals)
    y = torch.stack([_taller(y, m, axis=-1) for _, y in parts])
    return Dense(matrices.reshape(len(parts), *between, *matrices.shape[-2:])), y


def _taller(values: Tensor, m: int, axis: int) -> Tensor:
    more = [*values.shape]
    more[axis] = m - more[axis]
    return torch.cat([values, values.new_zeros(more)], dim=axis)


def cut(A: Operator, y: Tensor, x: Tensor, k: int) -> Tensor:
    """The least squares on the k largest entries of every signal with more non-zeros; other signals as they are."""
    many = (x != 0).sum(-1, keepdim=True) > k
    return torch.where(many, refit(A, y, x, k), x) if many.any() else x


def refit(A: Operator, y: Tensor, x: Tensor, k: int) -> Tensor:
    """The least squares on the k largest entries of every signal."""
    atoms = largest(x, k)
    return atoms.embed(fit(A, y, atoms).z)


def largest(x: Tensor, k: int) -> Atoms:
    """The places of the k largest entries of every signal, largest first; of fewer where the others are zero."""
    atoms = Hard()(x.abs(), k)
    nonzero = x.gather(-1, atoms.indices) != 0
    return atoms._replace(indices=torch.where(nonzero, atoms.indices, -1))


def _prediction(
    name: str,
    recover: Recover,
    k: int,
    fits: Sequence[tuple[Operator, Tensor]],
    held: Sequence[tuple[Operator, Tensor]],
) -> Prediction:
    xs, statuses = [], []
    for A, y in fits:
        solution = recover(A, y, k)
        xs.append(cut(A, y, solution.x, k))
        statuses.append(solution.status.flatten())
    x = torch.cat([x.reshape(-1, *held[0][1].shape[:-1], x.shape[-1]) for x in xs])  # folds first
    errors = [_share(A, y, of_fold) for (A, y), of_fold in zip(held, x, strict=True)]
    error = torch.tensor(errors, dtype=torch.float64).nan_to_num(nan=math.inf)
    spread = error.std().item() / math.sqrt(len(errors)) if error.isfinite().all() else math.inf
    status = Status(int(torch.cat(statuses).mode().values))
    return Prediction(name, k, error.mean().item(), spread, (x != 0).sum(-1).double().mean().item(), status)


def _share(A: Operator, y: Tensor, x: Tensor) -> float:
    """`||y - A x||^2 / ||y||^2` over all signals."""
    energy = y.norm().item() ** 2
    return (y - A.forward(x)).norm().item() ** 2 / energy if energy > 0 else math.inf
