"""Methods with settings of their own for the phase transitions, as functions that any process can import."""

from __future__ import annotations

from typing import Any

import torch

from ...core.solution import Solution
from ...solvers.amp import amp
from ...solvers.els import els
from ...solvers.fista import fista
from ...solvers.htp import htp
from ...solvers.iht import iht

STEPS = 1000
# FISTA's penalty, as a share of the smallest at which the solution is zero, and its steps. With a larger penalty small
# non-zeros are lost, and the smaller the penalty, the more steps are needed.
SHARE, FISTA_STEPS = 1e-4, 5000


def iht_040(A: Any, y: Any, k: int) -> Solution[Any]:
    """IHT with step size 0.4."""
    return iht(A, y, k, eta=0.4, max_steps=STEPS)


def iht_050(A: Any, y: Any, k: int) -> Solution[Any]:
    """IHT with step size 0.5."""
    return iht(A, y, k, eta=0.5, max_steps=STEPS)


def iht_065(A: Any, y: Any, k: int) -> Solution[Any]:
    """IHT with step size 0.65."""
    return iht(A, y, k, eta=0.65, max_steps=STEPS)


def htp_100(A: Any, y: Any, k: int) -> Solution[Any]:
    """HTP with step size 1."""
    return htp(A, y, k, eta=1.0, max_steps=STEPS)


def htp_150(A: Any, y: Any, k: int) -> Solution[Any]:
    """HTP with step size 1.5."""
    return htp(A, y, k, eta=1.5, max_steps=STEPS)


def fista_largest(A: Any, y: Any, k: int) -> Solution[Any]:
    """The k largest entries of FISTA's solution, refitted."""
    return _refitted(A, y, k, fista(A, y, lam_share=SHARE, max_steps=FISTA_STEPS))


def amp_largest(A: Any, y: Any, k: int) -> Solution[Any]:
    """The k largest entries of AMP's solution, refitted."""
    return _refitted(A, y, k, amp(A, y, k, max_steps=STEPS))


def _refitted(A: Any, y: Any, k: int, found: Solution[Any]) -> Solution[Any]:
    return els(A, y, k, x0=torch.nan_to_num(found.x, 0.0, 0.0, 0.0), max_steps=0)


# Name in tables and pictures -> where the function is.
RIVALS = {
    name: f"{__name__}:{function.__name__}"
    for name, function in {
        "iht-0.4": iht_040, "iht-0.5": iht_050, "iht-0.65": iht_065, "htp-1": htp_100, "htp-1.5": htp_150,
        "fista": fista_largest, "amp": amp_largest,
    }.items()
}  # fmt: skip
