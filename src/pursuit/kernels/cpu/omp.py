"""Orthogonal Matching Pursuit on the CPU: what `pursuit.solvers.omp` does step by step."""

from __future__ import annotations

from torch import Tensor

from .. import Data, Found
from . import pursuit_run
from .pursuit_run import DTYPES as DTYPES
from .pursuit_run import IN_PARTS as IN_PARTS
from .pursuit_run import REFITS as REFITS

LARGE = 2**24  # entries of A


def worth(items: int, m: int, n: int, max_k: int, at_hand: bool) -> bool:
    """Whether it is worth it for both, and A is small, or its Gram matrix pays.

    The kernel has copies of A, of unit columns and in tiles. Of a large A they need two or three times its memory, and
    without the Gram matrix the steps, which multiply with A itself, are as fast: all that counts are the products.
    """
    large = m * n > LARGE and not (4 * n * n <= pursuit_run.GRAM_BYTES and items * max_k > n)
    return not large and pursuit_run.worth(items, m, n, max_k, at_hand)


def run(d: Data, start: Tensor | None) -> Found:
    return pursuit_run.run(d, ols=False)
