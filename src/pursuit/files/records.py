"""Records of a real and an imaginary part, as complex numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

PARTS = {"re": "im", "real": "imag", "r": "i", "i": "q"}  # of HDF5 files, C structs and radio receivers
NEEDED = "needed are numbers, or records with the fields re and im, real and imag, r and i, or I and Q"


def parts(dtype: np.dtype[Any]) -> tuple[str, str] | None:
    """The names of the fields with real and imaginary parts; None if the dtype has none."""
    if dtype.names is None or len(dtype.names) != 2:
        return None
    fields = {name.lower(): name for name in dtype.names}
    pairs = ((real, imag) for real, imag in PARTS.items() if {real, imag} == fields.keys())
    found = next(pairs, None)
    return None if found is None else (fields[found[0]], fields[found[1]])


def complex_dtype(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The dtype of the complex numbers that records are; None if they are none."""
    names = parts(dtype)
    if names is None or any(dtype[name].kind not in "biuf" for name in names):
        return None
    single = all(dtype[name].itemsize <= (4 if dtype[name].kind == "f" else 2) for name in names)
    return np.dtype(np.complex64 if single else np.complex128)


def as_complex(array: Any) -> Any:
    """Records as complex numbers; raises ValueError if they are none. Other arrays as they are."""
    if array.dtype.names is None:
        return array
    kind, names = complex_dtype(array.dtype), parts(array.dtype)
    if kind is None or names is None:
        fields = ", ".join(map(repr, array.dtype.names))
        raise ValueError(f"holds records with the fields {fields}; {NEEDED}")
    numbers = np.empty(array.shape, kind)
    numbers.real, numbers.imag = array[names[0]], array[names[1]]
    return numbers
