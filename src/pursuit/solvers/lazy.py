"""A dask array in, a solution of dask arrays out: nothing is computed until it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.solution import Solution
from .batches import OWN_AXES, held, widened

KINDS: dict[str, Any] = {"steps": np.int64, "status": np.int64, "compiled": np.bool_}


def is_lazy(y: Any) -> bool:
    """Whether y is a dask array."""
    return type(y).__module__.partition(".")[0] == "dask"


def lazily(call: Callable[..., Solution[Any]], A: Any, y: Any, options: dict[str, Any]) -> Solution[Any]:
    """The answers block by block, `x` in blocks of SciPy's CSR matrices.

    Parameters
    ----------
    call : callable
        The solver.
    A : array (m, n), or anything `as_operator` takes
    y : dask array (signals, m)
        Its blocks of rows are solved one by one.
    options : dict
        Of the solver, the same for all signals; k is one number.

    Raises
    ------
    ValueError
        If y has not two axes, or an option is given per signal.
    """
    import dask
    import dask.array as da

    k = options.get("k")
    own = [name for name, value in options.items() if np.ndim(value) > OWN_AXES.get(name, 2)]
    if y.ndim != 2 or not isinstance(k, int) or own:
        raise ValueError(
            f"y is a dask array of shape {y.shape}, with k {k!r}{' and ' if own else ''}{', '.join(own)} per signal; "
            "needed is (signals, m), k as one number, and options that are the same for all signals: compute y first, "
            "or solve its parts."
        )
    op = held(A)
    rows = y.rechunk({1: -1})
    solve = dask.delayed(call, pure=True)
    signals = [solve(op, block, **options) for block in rows.to_delayed()[:, 0]]
    kind = np.result_type(y.dtype, np.float32)
    real = np.empty(0, kind).real.dtype

    def field(name: str, dtype: Any, *own: int) -> Any:
        parts = [
            da.from_delayed(dask.delayed(_filled)(getattr(part, name), *own), (size, *own), dtype)
            for part, size in zip(signals, rows.chunks[0], strict=True)
        ]
        return da.concatenate(parts)

    solution = Solution(
        support=field("support", np.int64, k), coefficients=field("coefficients", kind, k),
        residual_norm=field("residual_norm", real), n=op.shape[1],
        **{name: field(name, dtype) for name, dtype in KINDS.items()},
    )  # fmt: skip
    blocks = [
        da.from_delayed(dask.delayed(sparse_rows)(part), (size, op.shape[1]), meta=sparse_rows(None, op.shape[1], kind))
        for part, size in zip(signals, rows.chunks[0], strict=True)
    ]
    solution.__dict__["x"] = da.concatenate(blocks)  # so that the property does not form it
    return solution


def sparse_rows(solution: Solution[Any] | None, n: int = 0, dtype: Any = None) -> Any:
    """The signals as a CSR matrix; an empty one for None."""
    from scipy import sparse

    if solution is None:
        return sparse.csr_matrix((0, n), dtype=dtype)
    return sparse.csr_matrix(solution.to_scipy())


def _filled(v: Any, *own: int) -> np.ndarray:
    """A field with all its columns."""
    v = np.asarray(v)
    return widened(v, own[0]) if own else v
