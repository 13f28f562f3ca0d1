"""Arrays as people bring them, read as tensors: nothing that they say is lost or guessed.

Lists, NumPy, pandas, xarray, dask, JAX, h5py, zarr and whatever else has `__array__` or `__dlpack__` are read alike.
None of these packages is imported: what marks an array (a mask, a unit, names of columns) is known by its attributes.
"""

from __future__ import annotations

import warnings
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .files.records import parts
from .labels import Asked, check_same, counted, plain, repeated, same_in_any_order

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)  # those in which solvers work
REAL = {dtype: dtype.to_real() for dtype in DTYPES}  # for programs that torch.compile traces, which refuses the call
HALVES = (torch.float16, torch.bfloat16)
SIGNED, UNSIGNED = (
    (torch.int8, torch.int16, torch.int32, torch.int64),
    (torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
WHOLE = (torch.bool, *SIGNED, *UNSIGNED)
PLAIN = {np.dtype(str(dtype).removeprefix("torch.")): dtype for dtype in DTYPES}
LARGE = 2**20  # bytes, from which on read-only memory, such as that of a mapped file, is not copied
NO_UNIT = ("", "1", "dimensionless")
NUMBERS = "needed are real or complex numbers"


class Given(NamedTuple):
    """An array of the caller, as a tensor of the caller's dtype, and whether NumPy arrays answer it."""

    values: Tensor
    as_numpy: bool


def as_tensor(name: str, values: Any) -> Tensor:
    """A tensor in which solvers can work: half precision becomes single, whole numbers double precision."""
    return workable(read(name, values).values)


def workable(values: Tensor) -> Tensor:
    """The values in one of `DTYPES`, none of them changed."""
    if values.dtype in DTYPES:
        return values
    return values.to(torch.float32 if values.dtype in HALVES else torch.float64)


def cast(name: str, values: Tensor, dtype: torch.dtype) -> Tensor:
    """The values in this dtype; raises TypeError rather than drop imaginary parts."""
    if values.is_complex() and not dtype.is_complex:
        raise TypeError(
            f"{name} has dtype {values.dtype}, and {dtype} would drop its imaginary part; needed is a complex one, or "
            f"{name}.real if that is what you mean."
        )
    return values.to(dtype)


def read(name: str, values: Any) -> Given:
    """The numbers of an array, real, complex or whole.

    Raises
    ------
    TypeError, ValueError
        If there are no numbers, or more than numbers: masked entries, units.
    """
    if isinstance(values, Tensor):
        return Given(_checked(name, values), False)
    if type(values) is np.ndarray and values.dtype in PLAIN:
        return Given(_from_numpy(values), True)
    _refuse_units(name, values)
    _refuse_masked(name, values)
    if hasattr(values, "tocsr"):
        raise TypeError(
            f"{name} is a sparse matrix of shape {values.shape}; needed is an array: pass {name}.toarray()."
        )
    array = _by_numpy(name, values)
    if array is None:
        return Given(_checked(name, torch.from_dlpack(values)), False)
    return Given(_from_numpy(_numbers(name, array)), True)


def is_array(values: Any) -> bool:
    """Whether `read` can read it: a sequence of numbers, or an array of any package."""
    return isinstance(values, list | tuple) or any(hasattr(values, name) for name in ("__array__", "__dlpack__"))


def column_names(A: Any) -> NDArray[Any] | None:
    """The names of the columns of a table (pandas, Polars), or of the last axis of an xarray array, if it has them."""
    names = getattr(A, "columns", None)
    if names is None and _has_axes(A):
        names = _coordinates(A, -1)
    return None if names is None else _as_array(names, A.shape[-1])


def index_of(A: Any) -> NDArray[Any] | None:
    """The names of the rows of a table (pandas), or of the last but one axis of an xarray array, if it has them."""
    if _has_axes(A):
        names = _coordinates(A, -2) if len(A.dims) > 1 else None
    else:
        names = getattr(A, "index", None) if hasattr(A, "columns") else None
        names = names if hasattr(names, "equals") else None
    return None if names is None else _as_array(names, A.shape[-2])


def _as_array(names: Any, size: int) -> NDArray[Any] | None:
    if callable(names) or len(names) != size:
        return None
    labels = np.empty(len(names), dtype=object)
    labels[:] = list(names)
    return labels


def row_names(A: Any, y: Any) -> list[Any] | None:
    """The names of the rows of A, or of the measurements in y, which are tables (pandas); None if they are numbers."""
    m = np.shape(y)[-1] if np.ndim(y) else 0
    of_y: Any = getattr(y, "columns" if np.ndim(y) > 1 else "index", None)
    for names in (rows_of(A), of_y if hasattr(of_y, "equals") else None):
        if names is not None and len(names) == m and list(names) != [*range(m)]:
            return list(names)
    return None


def rows_of(A: Any) -> Any:
    """The names of the rows of a table, or of an operator that was made from one; None if there are none."""
    return A.row_names if hasattr(A, "row_names") else index_of(A)


def check_alike(A: Any, y: Any, name: str = "y") -> None:
    """Raise ValueError if the labels of the rows of A, or of its operator, are not those of y, where both have some."""
    if isinstance(y, np.ndarray | Tensor):
        return
    rows = rows_of(A)
    if rows is not None and len(getattr(y, "shape", ())):
        _check_rows(rows, y, name)
    if not (_has_axes(A) and _has_axes(y) and len(A.dims) > 1):
        return
    measured = A.dims[-2]
    if measured in y.dims[:-1] and not str(measured).startswith("dim_"):  # the names of axes without a name
        raise ValueError(
            f"{name} has the axes {y.dims} and the measurements of A are {measured!r}; needed is that axis last: pass "
            f"{name}.transpose(..., {measured!r})."
        )


def check_columns(name: str, values: Any, names: Any) -> None:
    """Raise ValueError if an array with a number per column of A has other labels than these, the names of columns."""
    if names is None or isinstance(values, np.ndarray | Tensor) or not len(getattr(values, "shape", ())):
        return
    where, labels = _labels(values)
    if labels is None or len(labels) != len(names):
        return
    table = f"{name}.loc[A.columns]" if where == "index" else f"{name}[A.columns]"
    order = table if _can_be_sorted(names, labels) and where != "coordinates" else f"{name} in the order of A's columns"
    asked = Asked(
        f"the {where} of {name}", "the columns of A", name, "column", "one number per column of A",
        reorder=f"pass {order}", select="select the columns that both have", otherwise=_plain_array(name, where),
    )  # fmt: skip
    check_same(names, labels, asked, names=True)


def _check_rows(rows: Any, y: Any, name: str) -> None:
    """Raise ValueError if the measurements in y are not labelled as the rows of A are."""
    where, labels = _labels(y)
    if labels is None or (where != "index" and len(labels) != len(rows)):
        return  # of another shape, which other messages explain
    if len(labels) != len(rows):
        raise ValueError(
            f"the index of {name} has {len(labels)} labels and that of A {len(rows)}, which are other labels; needed "
            "is one row of A per measurement: select the rows that both have."
        )
    if where == "columns" and _of_lines(rows, labels, y.index):
        raise ValueError(
            f"the index of {name} has the labels of the measurements, the index of A, and needed is a signal per row: "
            f"pass {name}.loc[A.index].T."
        )
    order = {"index": f"{name}.loc[A.index]", "columns": f"{name}[A.index]"}.get(where)
    if order is None or not _can_be_sorted(rows, labels):
        repeats = ", whose labels repeat" if repeated(rows) else ""
        order = f"the measurements of {name} in the order of the rows of A{repeats}"
    both = "the rows that both have" if where == "index" else f"the rows of A and the columns of {name} that both have"
    asked = Asked(
        f"the {where} of {name}", "that of A" if where == "index" else "the index of A", name, "measurement",
        "one row of A per measurement", reorder=f"pass {order}", select=f"select {both}",
        otherwise=_plain_array(name, where),
    )  # fmt: skip
    check_same(rows, labels, asked, names=where == "columns")


def _of_lines(rows: Any, labels: Any, lines: Any) -> bool:
    """Whether the lines of a square table have the labels of the measurements, and its columns have others."""
    if len(lines) != len(rows):
        return False
    needed, given = plain(rows), plain(labels)
    if counted(needed) or counted(given) or same_in_any_order(needed, given):
        return False
    return same_in_any_order(needed, plain(lines))


def _labels(values: Any) -> tuple[str, Any]:
    """What the labels along the last axis are called, and the labels or None."""
    if _has_axes(values):
        return "coordinates", _coordinates(values, -1)
    where = "index" if len(values.shape) == 1 else "columns"
    labels = getattr(values, where, None)
    return where, labels if hasattr(labels, "equals") else None  # names that Polars makes itself say nothing


def _has_axes(values: Any) -> bool:
    """Whether it is an array of xarray."""
    return hasattr(values, "coords") and hasattr(values, "dims")


def _coordinates(values: Any, axis: int) -> Any:
    """The labels along an axis of an xarray array."""
    dims = values.dims[axis:][:1]
    return values.coords[dims[0]].values if dims and dims[0] in values.coords else None


def _can_be_sorted(needed: Any, given: Any) -> bool:
    """Whether pandas can bring the labels into the order of those that are needed."""
    return not repeated(needed) and set(needed) == set(given)


def _plain_array(name: str, where: str) -> str:
    return f"{name}.values" if where == "coordinates" else f"{name}.to_numpy()"


def _checked(name: str, values: Tensor) -> Tensor:
    """The tensor, if it holds numbers that can be worked with."""
    if hasattr(values, "get_mask"):
        raise TypeError(
            f"{name} is a masked tensor; needed is a number everywhere: pass {name}.to_tensor(0) and, for "
            "y, pursuit.Compose(pursuit.Diagonal(y.get_mask()), pursuit.as_operator(A))."
        )
    if values.layout != torch.strided:
        raise ValueError(
            f"{name} is a torch tensor of layout {values.layout}; needed is a dense one: pass {name}.to_dense()"
            + (" or a SciPy sparse matrix." if name == "A" else ".")
        )
    if values.is_meta:
        raise TypeError(f"{name} is a meta tensor, which holds no numbers; needed is one on the CPU or a GPU.")
    if values.dtype not in DTYPES and values.dtype not in HALVES and values.dtype not in WHOLE:
        raise TypeError(
            f"{name} has dtype {values.dtype}; needed is float32, float64, complex64 or complex128: convert it first."
        )
    return values


def _from_numpy(array: NDArray[Any]) -> Tensor:
    # torch does not take foreign byte orders, negative strides or (without a warning) read-only memory.
    array = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
    small = array.nbytes < LARGE and not array.flags.writeable
    if small or min(array.strides, default=0) < 0:  # an axis of length one may keep a negative stride
        array = array.copy()
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():  # of read-only memory: nothing is written to it, and a file's may not fit twice
        warnings.simplefilter("ignore")
        return torch.from_numpy(array)


def _by_numpy(name: str, values: Any) -> NDArray[Any] | None:
    """The array that NumPy reads; None if only torch can read it (an array on a GPU)."""
    try:
        if not hasattr(values, "__array__") and hasattr(values, "__dlpack__"):
            return None
        return np.asarray(values)
    except (TypeError, RuntimeError) as problem:
        if hasattr(values, "__dlpack__"):
            return None
        raise TypeError(f"{name} is a {type(values).__name__} that NumPy cannot read ({problem}); {NUMBERS}.") from None
    except ValueError as problem:
        raise ValueError(f"{name} cannot be read as an array: {problem}; {NUMBERS}.") from None


def _numbers(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """The array in a dtype that torch has, with the same numbers."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if (fields := parts(array.dtype)) is not None:
        return _numbers(name, array[fields[0]]) + 1j * _numbers(name, array[fields[1]])
    if kind == "O":
        return _of_objects(name, array)
    if array.dtype.name == "bfloat16":  # of JAX; NumPy itself has none
        return array.astype(np.float32)
    if kind in "biu" or (kind == "f" and size <= 8) or (kind == "c" and size <= 16):
        return array
    way = {"f": "np.float64", "c": "np.complex128"}.get(kind)
    convert = f": pass {name}.astype({way})" if way else ""
    raise TypeError(
        f"{name} has dtype {array.dtype.name}; {NUMBERS} of float32, float64, complex64 or complex128{convert}."
    )


def _of_objects(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Numbers that are Python objects, as tables with columns of several dtypes have them."""
    for where, value in np.ndenumerate(array):
        if not isinstance(value, Number):
            entry = f" at {where}" if where else ""
            raise TypeError(
                f"{name} has dtype object, with {str(value)[:40]!r} ({type(value).__name__}){entry}; {NUMBERS} "
                "(float64): convert, fill or drop what is none."
            )
    return array.astype(complex if any(isinstance(value, complex) for value in array.flat) else float)


def _refuse_masked(name: str, values: Any) -> None:
    """Raise ValueError for a masked array, or a list of them, with masked entries."""
    if isinstance(values, list | tuple):
        for part in values:
            if not isinstance(part, int | float | complex):
                _refuse_masked(name, part)
        return
    if isinstance(values, np.ma.MaskedArray) or (hasattr(values, "unmasked") and hasattr(values, "mask")):
        masked = np.broadcast_to(np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else values.mask,
                                 values.shape)  # fmt: skip
        if not masked.any():
            return
        first = tuple(int(i) for i in np.argwhere(masked)[0])
        raise ValueError(
            f"{name} has {int(masked.sum())} masked entries, the first at {first}; needed is a number everywhere. "
            + _without_mask(name, masked)
        )


def _without_mask(name: str, masked: NDArray[Any]) -> str:
    """What to do about masked entries."""
    if name == "A":
        keep = "A[:, ~A.mask.any(axis=0)]" if masked.ndim == 2 else "the columns without one"
        return f"Fill them, or keep the columns without one: {keep}."
    if name != "y":
        return f"Fill them: {name}.filled(0), for example."
    if (masked == masked.reshape(-1, masked.shape[-1])[0]).all():
        rows = "seen = ~y.mask" if masked.ndim == 1 else "seen = ~y.mask" + ("[0]" * (masked.ndim - 1))
        return f"Take the rows out: {rows}; A[seen], y[..., seen].data."
    return (
        "Signals lack different measurements: keep all rows, and set them to zero on both sides, "
        "pursuit.Compose(pursuit.Diagonal(~y.mask), pursuit.as_operator(A)) and y.filled(0)."
    )


def _refuse_units(name: str, values: Any) -> None:
    """Raise TypeError for numbers with a unit (astropy, pint, unyt), alone, in a list, or in an xarray array."""
    if isinstance(values, list | tuple):
        for part in values:
            if not isinstance(part, int | float | complex):
                _refuse_units(name, part)
        return
    inner = values.data if hasattr(values, "coords") and hasattr(values, "dims") else values
    for attribute in ("unit", "units"):  # of the class: a table may have a column of this name
        unit = getattr(inner, attribute, None) if hasattr(type(inner), attribute) else None
        if unit is not None and str(unit) not in NO_UNIT:
            way = f"{name}.to_value({str(unit)!r})" if hasattr(inner, "to_value") else f"{name}.magnitude"
            raise TypeError(
                f"{name} is a {type(inner).__name__} in {unit}; needed are plain numbers, because x comes "
                f"back without one: bring A and y to one system of units and pass {way}."
            )
