"""Methods with settings of their own for the phase transitions, as functions that any process can import."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...core.solution import Solution
from ...solvers.amp import amp
from ...solvers.els import els
from ...solvers.fista import fista
from ...solvers.htp import htp
from ...solvers.iht import iht

STEPS = 1000
SHARE = 1e-3  # the penalty of FISTA, as a share of the smallest at which the solution is zero


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
    return _refitted(A, y, k, fista(A, y, lam_share=SHARE, max_steps=STEPS).x)


def amp_largest(A: Any, y: Any, k: int) -> Solution[Any]:
    """The k largest entries of AMP's solution, refitted."""
    return _refitted(A, y, k, amp(A, y, k, max_steps=STEPS).x)


def basis_pursuit_largest(A: Any, y: Any, k: int) -> Solution[Any]:
    """The k largest entries of the x of least l1 norm with `A x = y`, refitted: the limit of FISTA without a penalty.

    SciPy solves it as a linear program, signal by signal.
    """
    from scipy.optimize import linprog

    n = A.shape[-1]
    x = torch.zeros(*y.shape[:-1], n, dtype=y.dtype)
    for i, one in enumerate(y.numpy()):
        B = (A if A.ndim == 2 else A[i]).numpy()
        found = linprog(np.ones(2 * n), A_eq=np.hstack([B, -B]), b_eq=one, bounds=(0, None), method="highs")
        if found.x is not None:
            x[i] = torch.from_numpy(found.x[:n] - found.x[n:])
    return _refitted(A, y, k, x)


def _refitted(A: Any, y: Any, k: int, x: Any) -> Solution[Any]:
    return els(A, y, k, x0=torch.nan_to_num(x, 0.0, 0.0, 0.0), max_steps=0)


# Name in tables and pictures -> where the function is.
RIVALS = {
    name: f"{__name__}:{function.__name__}"
    for name, function in {
        "iht-0.4": iht_040, "iht-0.5": iht_050, "iht-0.65": iht_065, "htp-1": htp_100, "htp-1.5": htp_150,
        "fista": fista_largest, "amp": amp_largest, "basis-pursuit": basis_pursuit_largest,
    }.items()
}  # fmt: skip
