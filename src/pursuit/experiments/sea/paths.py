"""The supports that SEA visits, and those of its oracle, which is told the truth.

SEA moves X off the support `S^t` by the gradient, `X_i <- X_i + eta (A^H (y - A x^t))_i`. The oracle moves it by the
true signal, `X_i <- X_i + eta x_i`, on the part of the true support that `S^t` misses, and nowhere else. The proof of
the paper's theorem bounds by how much the two differ in an entry.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...core.selection import AtomSelector, Hard
from ...operators import Operator
from ...solvers import sea


class Case(NamedTuple):
    """Real measurements `y (*batch, m)` of the signals `x (*batch, n)` with at most k non-zeros, and noise."""

    A: Operator
    y: Tensor
    x: Tensor
    k: int


class Visit(NamedTuple):
    """The support `S^t` as a mask, and there, divided by eta, the moves of SEA and of the oracle; all `(*batch, n)`."""

    S: Tensor
    move: Tensor
    oracle: Tensor


def visits(case: Case, eta: Tensor, x0: Tensor, *, oracle: bool = False) -> Iterator[Visit]:
    """S^0, S^1, ... of SEA, or of its oracle, from `X^0 = x0 (*batch, n)`, with step sizes `eta (*batch,)`; no end."""
    choice = AtomSelector(Hard(), case.k, case.y.new_ones(case.x.shape[-1]))
    eta = eta.unsqueeze(-1)
    state = sea.init(case.y, x0.expand(case.x.shape), case.k)
    while True:
        S = choice.best(state.X).mask()
        new = sea.step(case.A, case.y, state, eta=eta, choice=choice)
        visit = Visit(S, (new.X - state.X) / eta, torch.where(S, 0, case.x))
        yield visit
        state = new._replace(X=state.X + eta * visit.oracle) if oracle else new


def misses(visit: Visit) -> Tensor:
    """Whether `S^t` does not contain the support of the signal, `(*batch,)`."""
    return (visit.oracle != 0).any(-1)


def first_hit(path: Iterable[Visit], most: int) -> Tensor:
    """The first t of at most `most` whose `S^t` contains the support, `(*batch,)`; infinite where there is none."""
    hit = None
    for t, visit in enumerate(itertools.islice(path, most + 1)):
        missed = misses(visit)
        hit = torch.full(missed.shape, math.inf, dtype=torch.float64) if hit is None else hit
        hit = torch.where(missed, hit, hit.clamp(max=t))
        if hit.isfinite().all():
            break
    assert hit is not None, "S^0 is looked at always"
    return hit


def generator(**drawn: Any) -> torch.Generator:
    """A generator whose seed is a digest of what is drawn."""
    digest = hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:6], "big"))
