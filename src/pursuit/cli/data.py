"""Matrices and measurements from files."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..core.layout import Reading as Layout
    from ..files import Asked, Reading
    from ..problems import Instance


PROBLEMS = ("ecg", "gaussian", "fourier", "deconvolution")
INPUTS = ("A", "y", "x", "x0", "weights")
FILES = (
    "A .npy, .npz (file.npz:key), .mat (file.mat:data.A), .csv, .txt, .xlsx, .h5 (file.h5:/path), .zarr, .mtx, "
    ".parquet, .pt or .iq file; with a slice, file.npy[:, 3:], or the transpose, file.npy.T"
)
# Options of `recover` and `compare` that say how a file is read; each for all tables, or as y=VALUE for one file. They
# may be repeated: `file_options` brings all values together.
Header = Annotated[
    list[str] | None,
    typer.Option(help="Tables: lines of names at the top, yes, no or how many; of each file its own: A=2,y=no."),
]
Index = Annotated[
    list[str] | None, typer.Option(help="Tables: column 1 is an index, yes or no; of each file its own: A=yes,y=no.")
]
Decimal = Annotated[
    list[str] | None, typer.Option(help="Tables: the decimal mark, . or , and of each file its own: A=.,y=,")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(help="Tables: columns to take, from 1: 3: or 2:5 or 1,4 or names; of each file its own: A=3:,y=2."),
]
Dtype = Annotated[
    list[str] | None,
    typer.Option(
        help="Files of bare numbers (.iq, .dat, .bin): float32, ci16, cf32, ...; of each file its own: A=cf32,y=ci16."
    ),
]
LayoutOption = Annotated[
    str,
    typer.Option(
        "--layout",
        help="Signals in y and x are rows, columns, or lie along an axis (0, 1, ...); pairs: y has an axis of real and "
        "imaginary part; patterns: A has an image per measurement. Default: found by the shape of A.",
    ),
]


@dataclass(frozen=True)
class FileOptions:
    """What the user said about the files, as on the command line."""

    header: str | None = None
    index: str | None = None
    decimal: str | None = None
    columns: str | None = None
    dtype: str | None = None

    def about(self, name: str) -> Asked:
        """What was said about one of the files."""
        from ..files import Asked

        return Asked(**{option: _said(option, value, name) for option, value in vars(self).items()})

    def check_used(self, given: dict[str, str]) -> None:
        """Raise ValueError if an option is for a kind of file that was not given."""
        from ..files import kind_of

        for option, value in vars(self).items():
            if value is None:
                continue
            kinds = ("bare numbers", "other") if option == "dtype" else ("table",)
            files = {name: spec for name, spec in given.items() if _said(option, value, name) is not None}
            if not any(kind_of(spec) in kinds for spec in files.values()):
                raise ValueError(
                    f"--{option} was given, but {' and '.join(given.values())} hold no {kinds[0]}; leave it out."
                )


def file_options(
    header: Sequence[str] | None,
    index: Sequence[str] | None,
    decimal: Sequence[str] | None,
    columns: Sequence[str] | None,
    dtype: Sequence[str] | None,
) -> FileOptions:
    """What the user said about the files, each option once, or for each file: `--index A=yes --index y=no`."""
    given = {"header": header, "index": index, "decimal": decimal, "columns": columns, "dtype": dtype}
    return FileOptions(**{option: _once(option, values) for option, values in given.items() if values})


def _once(option: str, values: Sequence[str]) -> str:
    """One value of an option that was given once, or for each file."""
    of_files = all(re.match(rf"({'|'.join(INPUTS)})=", value) for value in values)
    if len(values) > 1 and not of_files:
        raise ValueError(
            f"--{option} was given {len(values)} times, as {' and '.join(map(repr, values))}; give one value for all "
            f"files, or one for each: --{option} A=VALUE,y=VALUE."
        )
    return ",".join(values)


@dataclass(frozen=True)
class Inputs:
    """A matrix and measurements as the solvers take them.

    Attributes
    ----------
    A : array (*batch, m, n) or sparse matrix
    y : array (*batch, m)
    axis : int
        Axis of the file's `y` along which a signal lies; solutions are written in the same way.
    lines : tuple of str
        How each file was read.
    names : tuple of str or None
        Of the columns of the matrix, where its file has some.
    measured : tuple of str or None
        Names of the measurements, where a file has some.
    spec : str
        The file of the matrix.
    """

    A: Any
    y: Any
    axis: int
    lines: tuple[str, ...]
    names: tuple[str, ...] | None = None
    measured: tuple[str, ...] | None = None
    spec: str = "A"

    def as_given(self, x: Any) -> Any:
        """A solution with its axes as those of the file's `y`."""
        return x.swapaxes(self.axis, -1)

    def operator(self) -> Any:
        """The matrix as solvers take it; a memory map is not copied."""
        import warnings

        import numpy as np
        import torch

        if not isinstance(self.A, np.ndarray) or self.A.flags.writeable or not self.A.flags.c_contiguous:
            return self.A
        with warnings.catch_warnings():  # of memory that is for reading only: nothing is written to it
            warnings.simplefilter("ignore")
            return torch.from_numpy(self.A)


def read_inputs(A: str, y: str, asked: FileOptions, layout: str) -> Inputs:
    """Read a matrix and measurements, and find out where the signals are.

    Raises
    ------
    ValueError
        If a file cannot be read, or what it holds can be understood in two ways.
    """
    from .. import files
    from ..core.layout import AS_GIVEN, PATTERNS
    from ..files.alike import check_measurements
    from ..labels import label

    matrices, measurements = files.readings(A, asked.about("A")), files.readings(y, asked.about("y"))
    check_different(A, y)
    of_a, of_y = _chosen({"A": A, "y": y}, matrices, measurements, layout)
    matrix, values = of_a.array, dense("y", y, files.as_vector(of_y))
    read_as = [f"{spec}: {'; '.join(one.notes)}" for spec, one in ((A, of_a), (y, of_y)) if one.notes]
    found = _layout(A, y, matrix, values, layout, read_as=read_as)
    of_patterns: tuple[str, ...] = ()
    if found.matrix == PATTERNS:
        of_patterns = (f"{len(matrix)} patterns",)
        matrix = matrix.reshape(len(matrix), -1)
    lines = (describe(A, of_a, of_a.array, *of_patterns), _described_y(y, of_y, values, found))
    measured: tuple[str, ...] | None = None
    if found.matrix == AS_GIVEN and found.axis in (0, 1):
        m = of_a.array.shape[0]
        down = found.axis == 0 and of_y.array.shape[0] == m  # else a signal is a line of the table
        told = re.fullmatch(r"\d+:", asked.about("y").columns or "") is not None
        check_measurements(A, of_a.labels, y, of_y.labels, of_y.names, down=down, told=told)
        both = (of_a.labels, of_y.labels if down else of_y.names)
        measured = next((tuple(map(label, names)) for names in both if names is not None and len(names) == m), None)
    if found.pairs:
        values = values[..., 0] + 1j * values[..., 1]
    matrix, values = same_precision(matrix, values)
    names = of_a.names if found.matrix == AS_GIVEN else None
    return Inputs(matrix, values.swapaxes(found.axis, -1), found.axis, lines, names, measured, A)


def check_different(A: str, y: str) -> None:
    """Raise ValueError if both are the same array of one file."""
    from ..files.spec import parse

    one, other = (replace(parse(spec), text="", transposed=False) for spec in (A, y))
    if replace(one, path=one.path.resolve()) == replace(other, path=other.path.resolve()):
        raise ValueError(f"A ({A}) and y ({y}) are the same array; needed are a matrix and what was measured with it.")


def read_other(name: str, spec: str, asked: FileOptions, inputs: Inputs) -> tuple[Any, str]:
    """Read coefficients or weights for the matrix of `inputs`, with the line that says how."""
    from .. import files
    from ..files.alike import check_coefficients

    reading = files.only(spec, files.readings(spec, asked.about(name)))
    values = dense(name, spec, files.as_vector(reading))
    n = inputs.A.shape[-1]

    def check(down: bool) -> None:
        check_coefficients(inputs.spec, inputs.names, name, spec, reading.labels, reading.names, down=down)

    if values.ndim == 1:
        check(down=reading.array.shape[0] == n)
    if values.size == n and max(values.shape, default=0) == n and inputs.y.ndim == 1:
        return values.reshape(n), describe(spec, reading, values)  # MATLAB's vectors are matrices
    if values.ndim != inputs.y.ndim or values.ndim < 2:
        return values, describe(spec, reading, values)
    axis = _signal_axis(name, spec, values.shape, inputs)
    check(down=axis == 0)
    where = f"along axis {axis}" if values.ndim > 2 else "one per row" if axis else "one per column"
    return values.swapaxes(axis, -1), describe(spec, reading, values, f"signals {where}")


def _signal_axis(name: str, spec: str, shape: tuple[int, ...], inputs: Inputs) -> int:
    """The axis along which a signal lies in an array with as many axes as `y`; where several fit, that of `y`."""
    n, last = inputs.A.shape[-1], len(shape) - 1
    needed = (*inputs.y.shape[:-1], n)
    axes = dict.fromkeys((inputs.axis, last, *([0] if last == 1 else [])))
    shapes = {axis: _swapped(shape, axis) for axis in axes}
    fit = [axis for axis in axes if shapes[axis] == needed]
    if not fit and name != "x":  # the same weights for all signals, for example
        fit = [axis for axis in axes if shapes[axis][-1] == n] or [last]
    if not fit:
        other = f", or {_swapped(needed, 0)} with a signal per column" if last == 1 else ""
        count = math.prod(needed[:-1])
        raise ValueError(f"{spec}: {name} has shape {shape}; needed is {needed}{other}, for the {count} signals of y.")
    return fit[0]


def _swapped(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """A shape with this axis and the last one exchanged."""
    new = list(shape)
    new[axis], new[-1] = new[-1], new[axis]
    return tuple(new)


def real_if(name: str, spec: str, values: Any, inputs: Inputs) -> Any:
    """The values in the precision of `y`; complex ones beside a real `A` and `y` are refused."""
    import numpy as np

    cplx = any(np.dtype(v.dtype).kind == "c" for v in (inputs.A, inputs.y))
    if values.dtype.kind == "c" and not cplx:
        raise ValueError(
            f"{name} ({spec}) is complex but A and y are real; its imaginary part would be lost. Give the real part of "
            f"{name}, or a complex y."
        )
    kind = inputs.y.dtype if values.dtype.kind == "c" or inputs.y.dtype.kind != "c" else inputs.y.real.dtype
    return values.astype(kind, copy=False)


def given_instance(
    A: str | None,
    y: str | None,
    x: str | None,
    ks: Sequence[int],
    asked: FileOptions,
    layout: str,
    *,
    unused: dict[str, Any],
) -> tuple[Instance, tuple[str, ...]]:
    """The problem in the files, and how they were read; its k is the first of `ks`, or what the truth has."""
    if A is None or y is None:
        missing = ", ".join(name for name, value in {"--A": A, "--y": y}.items() if value is None)
        raise ValueError(f"{missing} missing; give --A and --y, or the name of a test problem: {', '.join(PROBLEMS)}.")
    extra = [name for name, value in unused.items() if value is not None]
    if extra:
        raise ValueError(f"{', '.join(extra)} was given with --A and --y; it is only for a test problem: leave it out.")
    from ..compared import as_instance
    from ..core.layout import rows

    asked.check_used({"A": A, "y": y} | ({} if x is None else {"x": x}))
    given = read_inputs(A, y, asked, layout)
    lines, truth = given.lines, None
    if x is not None:
        true, line = read_other("x", x, asked, given)
        lines, truth = (*lines, line), real_if("--x", x, true, given)
    instance = as_instance(given.operator(), rows(given.y), ks, truth)
    settings = {"A": A, "y": y, "x": x}
    return replace(instance, settings=settings, names=given.names, measured=given.measured), lines


def same_precision(matrix: Any, values: Any) -> tuple[Any, Any]:
    """Both in the wider precision; what has it already is not copied."""
    import numpy as np

    def _complex(a: Any) -> bool:
        return np.dtype(a.dtype).kind == "c"

    double = any(np.finfo(a.dtype).precision > 10 for a in (matrix, values))
    real, cplx = (np.float64, np.complex128) if double else (np.float32, np.complex64)
    matrix, values = (a.astype(cplx if _complex(a) else real, copy=False) for a in (matrix, values))
    return matrix, values


def dense(name: str, spec: str, values: Any) -> Any:
    """Measurements or coefficients that were stored sparse."""
    if not hasattr(values, "toarray"):
        return values
    from ..files.checks import enough_memory

    enough_memory(f"{name} ({spec})", float(values.dtype.itemsize) * values.shape[0] * values.shape[1])
    return values.toarray()


def describe(spec: str, reading: Reading, array: Any, *more: str) -> str:
    """One line that says how a file was read: `A.csv: 30 x 60, real; line 1 read as names`."""
    shape = " x ".join(map(str, array.shape))
    kind = "complex" if array.dtype.kind == "c" else "real"
    sparse = f", sparse with {array.nnz} entries" if hasattr(array, "nnz") else ""
    return "; ".join([f"{spec}: {shape}, {kind}{sparse}", *more, *reading.notes])


def _described_y(spec: str, reading: Reading, values: Any, found: Layout) -> str:
    rest = list(values.shape[:-1] if found.pairs else values.shape)
    length = rest.pop(found.axis)
    count = 1
    for each in rest:
        count *= each
    where = ""
    if len(rest) == 1:
        where = ", one per row" if found.axis == 1 else ", one per column"
    elif len(rest) > 1:
        where = f", along axis {found.axis}"
    signals = f"{count} signal{'s' * (count != 1)} of {length}{where}"
    pairs = ("real and imaginary parts on the last axis",) if found.pairs else ()
    return describe(spec, reading, values, signals, *pairs)


def _said(option: str, value: str | None, name: str) -> str | None:
    """What the value of an option says about one file: "yes" about all, "A=yes,y=no" about each its own."""
    if value is None:
        return None
    parts = re.split(rf"(?:^|,)({'|'.join(INPUTS)})=", value)
    own = dict(zip(parts[1::2], parts[2::2], strict=True))
    if len(own) < len(parts[1::2]):
        raise ValueError(
            f"--{option} is {value!r}, which names a file twice; give one value for each: A=VALUE,y=VALUE."
        )
    if parts[0] and own:
        raise ValueError(f"--{option} is {value!r}; give one value for all files, or A=VALUE,y=VALUE.")
    return own.get(name) if own else value


def _chosen(
    specs: dict[str, str], matrices: Sequence[Reading], measurements: Sequence[Reading], layout: str
) -> tuple[Reading, Reading]:
    """The readings of the two files whose shapes fit; where several do, those for which the files speak."""
    from .. import files

    A, y = specs["A"], specs["y"]
    if len(matrices) == len(measurements) == 1:
        return matrices[0], measurements[0]
    fit = [(a, b) for a in matrices for b in measurements if _fits(a, b, layout)]
    if not fit:
        return files.only(A, matrices), files.only(y, measurements)
    for one in (0, 1):  # what a file itself says goes first
        sure = [pair for pair in fit if pair[one].sure]
        fit = sure or fit
    of_a, of_y = ({id(pair[i]): pair[i] for pair in fit} for i in (0, 1))
    return _only(A, "A", list(of_a.values())), _only(y, "y", list(of_y.values()))


def _only(spec: str, name: str, found: Sequence[Reading]) -> Reading:
    from .. import files

    if len(found) == 1:
        return found[0]
    options = r"(--(?:header|index|decimal)) (yes|no)"
    named = [
        replace(one, doubts=tuple(re.sub(options, rf"\1 {name}=\2", doubt) for doubt in one.doubts)) for one in found
    ]
    return files.only(spec, named)


def _fits(a: Reading, y: Reading, layout: str) -> bool:
    from ..core.layout import readings

    if layout != "auto":
        try:
            _layout("A", "y", a.array, y.array, layout, flat=y.flat)
        except ValueError:
            return False
        return True
    shape = _shape(y.array, y.flat)
    return any(way.matrix == "as given" for way in readings(a.array.shape, shape, pairs=_pairs(a.array, y.array)))


def _shape(values: Any, flat: bool) -> tuple[int, ...]:
    return (values.size,) if flat and 1 in values.shape else tuple(values.shape)


def _pairs(matrix: Any, values: Any) -> bool:
    """Whether `y` may hold real and imaginary parts, because it is real and `A` is not."""
    return bool(matrix.dtype.kind == "c" and values.dtype.kind != "c")


def _layout(
    A: str, y: str, matrix: Any, values: Any, layout: str, *, flat: bool = False, read_as: Sequence[str] = ()
) -> Layout:
    """Where the signals are in `y`: as the user said, or as the shapes leave no choice."""
    from ..core.layout import AS_GIVEN, readings, words

    shape, pairs = _shape(values, flat), _pairs(matrix, values)
    if not shape or matrix.ndim < 2 or (matrix.shape[-1] == 1 and len(shape) > 1):
        swapped = " Are A and y in each other's place?" if len(shape) > 1 else ""
        raise ValueError(
            f"A ({A}) has shape {tuple(matrix.shape)} and y ({y}) {shape}; needed are a matrix (m, n) and measurements "
            f"(m,) or (signals, m).{swapped}"
        )
    found = readings(matrix.shape, shape, pairs=pairs)
    told = None if layout == "auto" else _told(layout, matrix.shape, shape)
    if told is None and len(found) == 1 and found[0].matrix == AS_GIVEN and not found[0].pairs:
        return found[0]
    if told is not None and _fit(matrix.shape, shape, told):
        return told
    ways = "".join(
        f" If {words(matrix.shape, shape, way)}, give {_call(way, A, len(shape))}." for way in found if way != told
    )
    if told is None and len(found) > 1:
        raise ValueError(
            f"y ({y}) has shape {shape} and A ({A}) {tuple(matrix.shape)}, which can be read in {len(found)} ways."
            f"{ways}"
        )
    m = matrix.shape[-2]
    notes = "".join(f" ({note}.)" for note in read_as)
    raise ValueError(
        f"y has shape {shape} but A has m={m} rows (shape {tuple(matrix.shape)}); needed is y of shape (m,), "
        f"(signals, m) or (m, signals).{ways}{notes}"
    )


def _fit(A: Sequence[int], y: Sequence[int], told: Layout) -> bool:
    """Whether the measurements of a signal, as the user said where they are, are as many as `A` has rows."""
    from ..core.layout import PATTERNS

    return y[told.axis] == (A[0] if told.matrix == PATTERNS else A[-2]) and (not told.pairs or y[-1] == 2)


def _told(layout: str, A: Sequence[int], y: Sequence[int]) -> Layout:
    """What `--layout` says."""
    from ..core.layout import PATTERNS
    from ..core.layout import Reading as Layout

    ndim = len(y)
    if layout == "rows":
        return Layout(ndim - 1)
    if layout == "columns" and ndim <= 2:
        return Layout(0)
    if layout == "patterns" and len(A) > 2:
        return Layout(ndim - 1, matrix=PATTERNS)
    if layout == "pairs" and ndim > 1:
        axes = [axis for axis in reversed(range(ndim - 1)) if y[axis] == A[-2]]
        return Layout(axes[0] if axes else ndim - 2, pairs=True)
    if re.fullmatch(r"-?\d+", layout) and -ndim <= int(layout) < ndim:
        return Layout(int(layout) % ndim)
    axes_of_y = ", ".join(map(str, range(ndim)))
    raise ValueError(
        f"--layout is {layout!r}; choose rows, columns or auto for a y with two axes, or the axis along which a signal "
        f"lies: y has shape {tuple(y)}, whose axes are {axes_of_y}."
    )


def _call(way: Layout, A: str, ndim: int) -> str:
    """What to write on the command line for a reading."""
    from ..core.layout import PATTERNS, TRANSPOSED
    from ..files.spec import parse

    if way.pairs:
        return "--layout pairs"
    if way.matrix == PATTERNS:
        return "--layout patterns"
    axis = f"--layout {'rows' if way.axis == ndim - 1 else 'columns' if ndim == 2 else way.axis}"
    if way.matrix == TRANSPOSED:
        other = A.removesuffix(".T") if parse(A).transposed else f"{A}.T"
        return f"{other} in the place of {A}" + (f" and {axis}" if ndim > 1 else "")
    return axis
