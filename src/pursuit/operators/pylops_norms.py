"""Column norms of PyLops operators, from what these say of themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def column_norms(A: Any) -> Any:
    """The norms, one number or `(n,)`, of an operator whose class and attributes tell them; else None."""
    if not type(A).__module__.startswith("pylops"):
        return None
    import pylops

    factor = _isometry(A)
    if factor is not None:
        return factor
    if getattr(A, "explicit", False) and hasattr(A, "A"):
        return _of_matrix(A.A)
    if isinstance(A, pylops.Diagonal):
        return np.broadcast_to(np.abs(A.diag), A.dims).ravel()
    if isinstance(A, pylops.Restriction):
        times = np.bincount(np.asarray(A.iava) % A.dims[A.axis], minlength=A.dims[A.axis])
        along = [-1 if axis == A.axis else 1 for axis in range(len(A.dims))]
        return np.broadcast_to(np.sqrt(times).reshape(along), A.dims).ravel()
    if isinstance(A, pylops.VStack | pylops.HStack | pylops.BlockDiag):
        return _of_stack(A)
    return _of_product(A)


def _of_stack(A: Any) -> Any:
    from pylops import VStack

    parts = [column_norms(part) for part in A.ops]
    if any(part is None for part in parts):
        return None
    each = [np.broadcast_to(norms, part.shape[1]) for norms, part in zip(parts, A.ops, strict=True)]
    return np.sqrt(np.square(each).sum(axis=0)) if isinstance(A, VStack) else np.concatenate(each)


def _of_product(A: Any) -> Any:
    """Those of `alpha A`, `Q A` where Q keeps lengths, `A D` where D is diagonal, and rows of a Fourier transform."""
    from pylops import Diagonal, Restriction

    left, right = _factors(A)
    if left is None:
        return None
    if not hasattr(right, "matvec"):
        norms = column_norms(left)
        return None if norms is None else abs(right) * norms
    factor, norms = _isometry(left), column_norms(right)
    if factor is not None and norms is not None:
        return factor * norms
    if isinstance(right, Diagonal):
        norms = column_norms(left)
        return None if norms is None else norms * column_norms(right)
    if isinstance(left, Restriction) and _transforms_all(right) and norms is not None:
        return norms * math.sqrt(left.shape[0] / right.shape[0])
    return None


def _isometry(A: Any) -> float | None:
    """The number c for which `||A x|| = c ||x||` for all x, if that is known."""
    import pylops
    from pylops.signalprocessing import DCT, DWT, DWT2D, DWTND

    if isinstance(A, pylops.Flip | pylops.Roll | pylops.Transpose | DCT):
        return 1.0
    if isinstance(A, pylops.Identity):
        return 1.0 if A.shape[0] >= A.shape[1] else None
    if isinstance(A, DWT | DWT2D | DWTND):
        import pywt

        return 1.0 if pywt.Wavelet(A.wavelet).orthogonal and A.wavelet != "dmey" else None
    if _is_fft(A):
        return None if A.doifftpad or not A.clinear else _gain(A)  # it keeps lengths unless it cuts the signal
    if type(A).__name__ == "_AdjointLinearOperator" and A.shape[0] == A.shape[1]:
        return _isometry(A.args[0])
    left, right = _factors(A)
    if left is None:
        return None
    outer = _isometry(left)
    inner = _isometry(right) if hasattr(right, "matvec") else abs(right)
    return None if outer is None or inner is None else outer * inner


def _is_fft(A: Any) -> bool:
    return hasattr(A, "doifftpad") and hasattr(A, "norm")


def _gain(A: Any) -> float | None:
    """What a Fourier transform multiplies lengths by."""
    size = math.prod(np.atleast_1d(A.nffts if hasattr(A, "nffts") else A.nfft).tolist())
    return {"ORTHO": 1.0, "NONE": math.sqrt(size), "ONE_OVER_N": 1 / math.sqrt(size)}.get(A.norm.name)


def _transforms_all(A: Any) -> bool:
    """Whether it is a Fourier transform along every axis: all its entries have one modulus."""
    return _is_fft(A) and len(getattr(A, "axes", [A.axis] if hasattr(A, "axis") else [])) == len(A.dims)


def _factors(A: Any) -> tuple[Any, Any]:
    """Both operators of a product, or the operator and the number; else None twice."""
    if type(A).__name__ not in ("_ProductLinearOperator", "_ScaledLinearOperator"):
        return None, None
    left, right = A.args
    return left, right


def _of_matrix(matrix: Any) -> Any:
    """Those of a NumPy or SciPy matrix."""
    size = abs(matrix)
    return np.sqrt(
        np.asarray(size.multiply(size).sum(axis=0)).ravel() if hasattr(size, "multiply") else (size**2).sum(0)
    )
