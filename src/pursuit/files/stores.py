"""The arrays in files that hold several by path: HDF5 and zarr. Nothing is read but their names, shapes and kinds."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from .spec import Spec, choose


def hdf5_array(where: Spec) -> Any:
    """The dataset of numbers that is meant, in an open file."""
    import h5py

    sets: dict[str, Any] = {}
    file = h5py.File(where.path, "r")
    file.visititems(lambda name, node: sets.update({f"/{name}": node}) if isinstance(node, h5py.Dataset) else None)
    return _meant(where, {name: node for name, node in sets.items() if _numeric(node.dtype)})


def zarr_array(where: Spec) -> Any:
    """The array of a zarr store that is meant; a store may be one array."""
    import zarr

    node: Any = zarr.open(Path(where.path), mode="r")
    if isinstance(node, zarr.Array):
        return node if where.name is None else _meant(where, {"": node})
    members = sorted(node.members(max_depth=None), key=itemgetter(0))
    return _meant(where, {f"/{name}": held for name, held in members if isinstance(held, zarr.Array)})


def _meant(where: Spec, arrays: dict[str, Any]) -> Any:
    wanted = None if where.name is None else "/" + where.name.strip("/")
    return arrays[choose(Spec(where.text, where.path, wanted), list(arrays))]


def _numeric(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biufc" or (dtype.names is not None and len(dtype.names) == 2)
