"""Checks of what a file claims, before memory is taken for it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

LACKING = "there is not enough memory"


def enough_memory(what: str, needed: float) -> None:
    """Raise ValueError if there is not as much memory."""
    there = memory()
    if needed > there:
        raise ValueError(
            f"{what}: needs {size(needed)} of memory, and {size(there)} are free; take a part of it, as "
            "FILE[:, :1000], or a machine with more memory."
        )


def memory() -> float:
    """Bytes of memory that this process can still take."""
    free = math.inf
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = 1024.0 * int(fields["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        pass
    return min(free, _limit())


def _limit() -> float:
    """What the limits of the process leave."""
    try:
        import resource

        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    except (ImportError, OSError, ValueError):
        return math.inf
    left = math.inf
    for limit, field in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY:
            left = min(left, soft - 1024.0 * int(status[field].split()[0]))
    return left


def size(count: float) -> str:
    """Bytes in words, "4.3 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def lacks_memory(error: BaseException) -> bool:
    """Whether an allocator raised it: NumPy's, that of torch for the CPU or that for the GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in ("allocate", "Storage size"))


def needed_memory(error: BaseException) -> str:
    """How much memory was asked for in vain."""
    if str(error).startswith(LACKING):
        return str(error).partition(";")[0]
    found = re.search(r"allocate ([\d.]+) ?(bytes|KiB|MiB|GiB|TiB)", str(error))
    if not found:
        return LACKING
    if found[2] != "bytes":
        return f"{LACKING}: {found[1]} {found[2]} more are needed"
    return f"{LACKING}: {size(float(found[1]))} more are needed"


def checked_sparse(matrix: Any) -> Any:
    """The sparse matrix in rows, after a check of its indices: SciPy itself ends the process where they are wrong.

    Raises
    ------
    ValueError
        If an index lies outside the matrix, or the arrays do not fit together.
    """
    import scipy.sparse

    if matrix.ndim != 2:
        raise ValueError(f"it is a sparse array of shape {matrix.shape}; needed is a matrix")
    if matrix.format == "coo":
        for index, most in zip((matrix.row, matrix.col), matrix.shape, strict=True):
            if index.size and not (index.min() >= 0 and index.max() < most):
                raise ValueError(f"it has the index {index.max()} in a matrix of shape {matrix.shape}")
    elif matrix.format in ("csr", "csc", "bsr"):
        matrix.check_format(full_check=True)
    elif matrix.format != "dia":
        matrix = matrix.tocoo()
    enough_memory("a sparse matrix", 8.0 * sum(matrix.shape))  # of that shape, whatever the number of its entries
    return scipy.sparse.csr_array(matrix)


def sparse_from(parts: dict[str, Any]) -> Any:
    """A checked sparse matrix from the arrays in which SciPy stores one."""
    import scipy.sparse

    form = parts["format"].item()
    form = form.decode() if isinstance(form, bytes) else str(form)
    shape = tuple(int(length) for length in np.asarray(parts["shape"]).ravel())
    if len(shape) != 2 or min(shape) < 0 or max(shape) >= 2**62:
        raise ValueError(f"it claims the shape {shape}")
    data = parts["data"]
    if form == "coo":
        if "coords" in parts:
            row, col = parts["coords"]
        else:
            row, col = parts["row"], parts["col"]
        return checked_sparse(scipy.sparse.coo_array((data, (row, col)), shape=shape))
    if form == "dia":
        return checked_sparse(scipy.sparse.dia_array((data, parts["offsets"]), shape=shape))
    kinds = {"csr": scipy.sparse.csr_array, "csc": scipy.sparse.csc_array, "bsr": scipy.sparse.bsr_array}
    if form not in kinds:
        raise ValueError(f"it is a sparse matrix in a form {form!r}, which is not known")
    return checked_sparse(kinds[form]((data, parts["indices"], parts["indptr"]), shape=shape))
