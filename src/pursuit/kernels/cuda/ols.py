"""Orthogonal Least Squares on NVIDIA GPUs: what `pursuit.solvers.ols` does step by step."""

from __future__ import annotations

from torch import Tensor

from .. import Data, Found
from . import pursuit_run
from .pursuit_run import DTYPES as DTYPES
from .pursuit_run import IN_PARTS as IN_PARTS
from .pursuit_run import REFITS as REFITS
from .pursuit_run import worth as worth


def run(d: Data, start: Tensor | None) -> Found:
    """All signals."""
    return pursuit_run.run(d, ols=True)
