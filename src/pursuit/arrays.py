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

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)  # those in which solvers work
REAL = {dtype: dtype.to_real() for dtype in DTYPES}  # for programs that torch.compile traces, which refuses the call
HALVES = (torch.float16, torch.bfloat16)
SIGNED, UNSIGNED = (
    (torch.int8, torch.int16, torch.int32, torch.int64),
    (torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
WHOLE = (torch.bool, *SIGNED, *UNSIGNED)
PARTS = ({"real", "imag"}, {"r", "i"}, {"re", "im"})  # fields of complex numbers in HDF5 files, and of C structs
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
    if names is None and hasattr(A, "coords") and hasattr(A, "dims"):
        names = A.coords[A.dims[-1]].values if A.dims[-1:] and A.dims[-1] in A.coords else None
    if names is None or callable(names) or len(names) != A.shape[-1]:
        return None
    labels = np.empty(len(names), dtype=object)
    labels[:] = list(names)
    return labels


def row_names(A: Any, y: Any) -> list[Any] | None:
    """The names of the rows of A, or of the measurements in y, which are tables (pandas); None if they are numbers."""
    m = np.shape(y)[-1] if np.ndim(y) else 0
    for table, axis in ((A, "index"), (y, "columns" if np.ndim(y) > 1 else "index")):
        names: Any = getattr(table, axis, None)
        if hasattr(names, "equals") and len(names) == m and list(names) != [*range(m)]:
            return list(names)
    return None


def check_alike(A: Any, y: Any) -> None:
    """Raise ValueError if the labels of the rows of A and those of y, where both have some, are not the same."""
    rows, labels = _labels("index", A, y)
    if hasattr(rows, "equals") and hasattr(labels, "equals") and hasattr(y, "columns") and hasattr(A, "columns"):
        _check_columns(rows, y)
    if hasattr(A, "columns") and hasattr(rows, "equals") and hasattr(labels, "equals") and np.ndim(y) == 1:
        if rows.equals(labels):
            return
        same = len(rows) == len(labels) and not rows.symmetric_difference(labels).size
        what = "the same labels in another order" if same else "other labels"
        way = "pass y.loc[A.index]" if same else "select the rows that both have"
        raise ValueError(
            f"the index of y has {what} than that of A; needed is one row of A per measurement: {way}, or "
            "y.to_numpy() if their order is right."
        )
    of_A, of_y = _labels("dims", A, y)
    if not (isinstance(of_A, tuple) and isinstance(of_y, tuple) and len(of_A) > 1):
        return
    measured = of_A[-2]
    if measured in of_y[:-1] and not str(measured).startswith("dim_"):  # the names of axes without a name
        raise ValueError(
            f"y has the axes {of_y} and the measurements of A are {measured!r}; needed is that axis last: pass "
            f"y.transpose(..., {measured!r})."
        )


def _check_columns(rows: Any, y: Any) -> None:
    """Raise ValueError if the columns of a table y, with a signal per line, are not labelled as the rows of A are."""
    names = y.columns
    if len(names) != len(rows) or rows.equals(names):
        return
    same = not rows.symmetric_difference(names, sort=False).size
    numbered = [*range(len(names))]
    if not same and numbered in (list(names), list(rows)):
        return  # lines and columns that are only numbered say nothing
    if len(y.index) == len(rows) and not rows.symmetric_difference(y.index, sort=False).size:
        raise ValueError(
            "the index of y has the labels of the measurements, the index of A, and needed is a signal per row: pass "
            "y.loc[A.index].T."
        )
    what = "the same labels in another order" if same else "other labels"
    way = "pass y[A.index]" if same else "select the rows of A and the columns of y that both have"
    raise ValueError(
        f"the columns of y have {what} than the index of A; needed is one row of A per measurement: {way}, or "
        "y.to_numpy() if their order is right."
    )


def _labels(name: str, *values: Any) -> list[Any]:
    return [getattr(v, name, None) for v in values]


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
    if array.dtype.names is not None and len(array.dtype.names) == 2 and set(array.dtype.names) in PARTS:
        real, imag = sorted(
            array.dtype.names, reverse=True
        )  # "real" and "re" come after "imag" and "im", "r" after "i"
        return _numbers(name, array[real]) + 1j * _numbers(name, array[imag])
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
