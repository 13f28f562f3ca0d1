"""The arrays in files that hold several: HDF5, zarr and parquet. Nothing is read but their names, shapes and kinds."""

from __future__ import annotations

import json
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from .records import parts
from .spec import Spec, Unclear, choose


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
    return dtype.kind in "biufc" or parts(dtype) is not None


def parquet_columns(where: Spec, schema: Any) -> tuple[list[str], list[str]]:
    """The columns of numbers or of lists that are meant in a table of pyarrow's, and those of its index.

    Raises
    ------
    Unclear
        If a column holds something else.
    """
    import pyarrow

    own = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    index = [name for name in own if isinstance(name, str) and name in schema.names]
    names = [name for name in schema.names if name not in index]
    if where.name is not None:
        names = [choose(where, names)]
    kinds = pyarrow.types
    known = (kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_decimal, kinds.is_nested)
    for name in names:
        kind = schema.field(name).type
        if not any(is_kind(kind) for is_kind in known):
            raise Unclear(
                f"{where.path}: the column {name!r} holds {kind}, no numbers; leave it out where the file is written, "
                f"or take one column, as {where.path}:NAME."
            )
    return names, index
