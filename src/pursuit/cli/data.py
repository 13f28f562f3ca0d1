"""Matrices and measurements from files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..problems import Instance


PROBLEMS = ("ecg", "gaussian", "fourier", "deconvolution")


FILES = "A .npy, .npz (file.npz:key), .mat (file.mat:name) or .csv file"


def given_instance(
    A: str | None, y: str | None, x: str | None, k: int | None, layout: str, *, unused: dict[str, Any]
) -> Instance:
    if A is None or y is None or k is None:
        missing = ", ".join(name for name, value in {"--A": A, "--y": y, "-k": k}.items() if value is None)
        raise ValueError(
            f"{missing} missing; give --A, --y and -k, or the name of a test problem: {', '.join(PROBLEMS)}."
        )
    extra = [name for name, value in unused.items() if value is not None]
    if extra:
        raise ValueError(f"{', '.join(extra)} was given with --A and --y; it is only for a test problem: leave it out.")
    from ..files import read_array
    from ..operators.adapters import as_operator, as_tensor
    from ..problems import Instance
    from ..solvers.problem import problem

    matrix, values = same_precision(read_array(A), read_array(y))
    values, columns = as_rows("y", values, matrix.shape[-2], layout)
    checked = problem(matrix, values, k, keep_units=True)
    if not checked.y.any():
        raise ValueError("y is zero everywhere; needed is at least one measurement that is not.")
    truth = None
    if x is not None:
        true = read_array(x)
        true = true.T if columns and true.ndim == 2 else true
        wanted = (*checked.batch, checked.A.shape[1])
        if true.shape != wanted:
            raise ValueError(f"x has shape {true.shape}; needed is {wanted}, one row of n={wanted[-1]} per signal.")
        truth = as_tensor("x", true).to(checked.y)
        if not truth.isfinite().all() or not truth.any():
            raise ValueError(
                "x has entries that are NaN or infinite, or is zero everywhere; needed is the true signal."
            )
    op = as_operator(matrix)
    if checked.y.is_complex():
        op = op.complexified()
    return Instance("data", op, checked.y, k, truth, {"A": A, "y": y, "x": x})


def same_precision(matrix: Any, values: Any) -> tuple[Any, Any]:
    import numpy as np

    def _complex(a: Any) -> bool:
        return np.dtype(a.dtype).kind == "c"

    double = any(np.finfo(a.dtype).precision > 10 for a in (matrix, values))
    real, cplx = (np.float64, np.complex128) if double else (np.float32, np.complex64)
    return matrix.astype(cplx if _complex(matrix) else real), values.astype(cplx if _complex(values) else real)


def as_rows(name: str, values: Any, size: int, layout: str) -> tuple[Any, bool]:
    """`values` with signals as rows, and whether they were columns before."""
    if layout not in ("auto", "rows", "columns"):
        raise ValueError(f"--layout is {layout!r}; choose rows, columns or auto.")
    if values.ndim != 2 or layout == "rows":
        return values, False
    if layout == "columns":
        return values.T, True
    rows, columns = values.shape[1] == size, values.shape[0] == size
    if rows and columns:
        raise ValueError(
            f"{name} is square, {values.shape}: rows or columns could be the signals; give --layout rows or columns."
        )
    return (values.T, True) if columns else (values, False)
