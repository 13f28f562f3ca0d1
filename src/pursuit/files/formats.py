"""Readers of files that hold arrays, one function per format."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .checks import enough_memory, sparse_from
from .spec import Spec, Unclear, choose
from .tables import Reading


def npy(where: Spec) -> Reading:
    """A memory map of the file; nothing is copied."""
    array = np.load(where.path, mmap_mode="r", allow_pickle=False)
    return Reading(array)


def npz(where: Spec) -> Reading:
    """The array of that name; without one, the only array, or SciPy's sparse matrix."""
    with where.path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names = archive.files
        sparse = {"format", "shape", "data"} <= set(names) and {"indices", "row", "coords", "offsets"} & set(names)
        if where.name is None and sparse:
            return Reading(sparse_from({name: _member(where, archive, name) for name in names if name != "_is_array"}))
        return Reading(_member(where, archive, choose(where, names)))


def _member(where: Spec, archive: Any, name: str) -> Any:
    """One array of an archive, after a check of the size that its header claims."""
    stored: zipfile.ZipFile = archive.zip
    entry = name if name in stored.namelist() else f"{name}.npy"
    with stored.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    claimed, held = float(np.prod([float(s) for s in shape])) * dtype.itemsize, stored.getinfo(entry).file_size
    if claimed > held:
        raise ValueError(f"its array {name!r} claims the shape {shape}, which is more than it holds")
    enough_memory(str(where.path), claimed)
    return archive[name]


def torch_file(where: Spec) -> Reading:
    """A tensor, or one of a dictionary by its name; the file cannot run code."""
    import pickle

    import torch

    try:
        held = torch.load(where.path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise Unclear(
            f"{where.path}: holds more than tensors, and could run code when read; save the tensor alone, as "
            "torch.save(A.detach(), path), or as .npy."
        ) from None
    tensors = dict(_tensors("", held))
    if "" in tensors and where.name is None:
        return Reading(_from_torch(tensors[""]))
    return Reading(_from_torch(tensors[choose(where, list(tensors))]))


def safetensors(where: Spec) -> Reading:
    """A tensor by its name."""
    from safetensors import safe_open

    with safe_open(where.path, framework="pt") as file:
        return Reading(_from_torch(file.get_tensor(choose(where, list(file.keys())))))


def _tensors(prefix: str, held: Any) -> list[tuple[str, Any]]:
    import torch

    if isinstance(held, torch.Tensor):
        return [(prefix, held)]
    if isinstance(held, dict):
        items: Any = held.items()
    else:
        items = enumerate(held) if isinstance(held, list | tuple) else []
    return [pair for key, value in items for pair in _tensors(f"{prefix}.{key}".lstrip("."), value)]


def _from_torch(tensor: Any) -> Any:
    import torch

    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor.numpy()


RAW_DTYPES = {
    "ci16": ("i2", True), "cs16": ("i2", True), "cu8": ("u1", True), "ci8": ("i1", True), "cs8": ("i1", True),
    "cf32": ("c8", False), "fc32": ("c8", False), "cf64": ("c16", False), "fc64": ("c16", False),
    **{name: (name, False) for name in (
        "float16", "float32", "float64", "complex64", "complex128", "int8", "int16", "int32", "int64",
        "uint8", "uint16", "uint32", "uint64",
    )},
}  # fmt: skip


def raw(path: Path, dtype: str | None) -> Any:
    """Bare numbers of a dtype; `ci16` and its like are integer pairs of real and imaginary part."""
    if dtype is None:
        raise Unclear(
            f"{path}: holds bare numbers; say which with --dtype, for example --dtype complex64 or --dtype ci16 "
            "(16-bit integers, real and imaginary part in turn)."
        )
    name = dtype.lstrip("<>")
    if name not in RAW_DTYPES:
        raise Unclear(f"--dtype is {dtype!r}; choose one of {', '.join(RAW_DTYPES)}, with > in front if big-endian.")
    base, pairs = RAW_DTYPES[name]
    kind = np.dtype(base).newbyteorder(">" if dtype.startswith(">") else "<")
    unit = kind.itemsize * (2 if pairs else 1)
    held = path.stat().st_size
    if held == 0 or held % unit:
        raise Unclear(f"{path}: has {held} bytes, which is no multiple of the {unit} of {dtype}; check --dtype.")
    numbers = np.memmap(path, dtype=kind, mode="r")
    if not pairs:
        return numbers
    enough_memory(str(path), 8.0 * (held / unit))
    offset = 127.5 if base == "u1" else 0.0  # receivers' bytes count from 0
    single = numbers.astype(np.float32) - np.float32(offset)
    return single.view(np.complex64)
