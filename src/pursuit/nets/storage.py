"""Networks in files: safetensors for the numbers, JSON in its header for the rest; no file can run code."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import relaxations
from ..adapters import as_operator
from ..files import output_folder, write_whole
from ..operators import Dense
from .cosamp_net import CoSaMPNet
from .htp_net import HTPNet
from .iht_net import IHTNet
from .omp_net import OMPNet
from .parts import Annealed, Learned
from .sp_net import SPNet

NETS: dict[str, Any] = {net.__name__: net for net in (OMPNet, IHTNet, CoSaMPNet, SPNet, HTPNet)}
RATES: dict[str, Any] = {rate.__name__: rate for rate in (Learned, Annealed)}
SORTS = {sort.__name__: sort for sort in (relaxations.softsort, relaxations.neuralsort, relaxations.sinkhorn_sort)}


def save(net: nn.Module, path: str | Path) -> None:
    """Write a network to a `.safetensors` file: parameters, structure, how it was built, and `A` if it is dense.

    Parameters
    ----------
    net : a network of `pursuit.nets`
    path : str or Path

    Raises
    ------
    ValueError
        If the network holds a sort that has no name, or the file cannot be written.

    Examples
    --------
    >>> import tempfile, torch, pursuit
    >>> path = tempfile.mkdtemp() + "/net.safetensors"
    >>> pursuit.nets.save(pursuit.nets.OMPNet(torch.eye(3), layers=2), path)
    >>> pursuit.nets.load(path).layers
    2
    """
    from safetensors.torch import save as pack

    path = Path(path)
    output_folder(path.parent)
    header = {"pursuit": json.dumps(describe(net))}
    data = pack({name: value.contiguous() for name, value in net.state_dict().items()}, metadata=header)
    write_whole(path, lambda file: file.write(data))


def load(path: str | Path, A: Any = None) -> Any:
    """Read a network that `save` wrote.

    Parameters
    ----------
    path : str or Path
    A : array (m, n), or anything `as_operator` takes, optional
        Needed where the network was built on an operator that is not a dense matrix.

    Raises
    ------
    ValueError
        If the file is no network, or is one for another shape than that of `A`.

    Examples
    --------
    >>> import tempfile, torch, pursuit
    >>> path = tempfile.mkdtemp() + "/net.safetensors"
    >>> pursuit.nets.save(pursuit.nets.IHTNet(torch.eye(3), k=1, layers=2), path)
    >>> pursuit.nets.load(path)(torch.tensor([0.0, 2.0, 1.0])).detach().round(decimals=2)
    tensor([0.0000, 1.5000, 0.0000])
    """
    record, tensors = _read(path)
    stored = "sensing.matrix" in tensors
    if A is None and not stored:
        raise ValueError(f"{path}: holds a network on an operator that is not stored; pass it as load(path, A=...).")
    op = as_operator(_matrix(tensors["sensing.matrix"], record) if A is None else A)
    given = (list(op.shape), op.dtype.is_complex, isinstance(op, Dense))
    if given != (record["shape"], record["complex"], stored):
        (m, n), kind = record["shape"], "complex" if record["complex"] else "real"
        raise ValueError(
            f"{path}: holds a {record['net']} for a {kind} {'matrix' if stored else 'operator'} with m={m}, n={n}; "
            f"given is {op!r}: load it with its own A, or train a network for this one."
        )
    net = NETS[record["net"]](op, **_values(record["config"]))
    net.to(tensors["identify.w"].dtype).load_state_dict(tensors)
    return net


def read_weights(path: str | Path) -> Tensor:
    """The learned structure weights `(n,)` of a saved network, for the `weights` of any solver.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    ValueError
        If the file is no network.

    Examples
    --------
    >>> import tempfile, torch, pursuit
    >>> path = tempfile.mkdtemp() + "/net.safetensors"
    >>> pursuit.nets.save(pursuit.nets.OMPNet(torch.eye(3), layers=2), path)
    >>> w = pursuit.nets.read_weights(path)
    >>> pursuit.omp(torch.eye(3), torch.tensor([0.0, 2.0, 1.0]), k=1, weights=w).x
    tensor([0., 2., 0.])
    """
    w = _read(path)[1]["identify.w"].abs()
    return w if w.ndim == 1 else w.mean(0)


def describe(net: nn.Module) -> dict[str, Any]:
    """What a network was built with, as JSON takes it."""
    name = type(net).__name__
    if NETS.get(name) is not type(net):
        raise ValueError(f"{name} is not a network of pursuit.nets ({', '.join(NETS)}); save its state_dict yourself.")
    config: Any = net.config
    sort = config["sort"]
    if SORTS.get(getattr(sort, "__name__", "")) is not sort:
        raise ValueError(f"the network sorts by {sort!r}, which has no name in a file; use one of {', '.join(SORTS)}.")
    plain = {key: _named(value) for key, value in config.items()}
    sensing: Any = net.sensing
    return {"net": name, "config": plain, "shape": list(sensing.shape), "complex": sensing.complex}


def _named(value: Any) -> Any:
    if isinstance(value, Learned | Annealed):
        return {type(value).__name__: asdict(value)}
    return value.__name__ if callable(value) else value


def _values(config: dict[str, Any]) -> dict[str, Any]:
    values = {}
    for key, value in config.items():
        if isinstance(value, dict):
            ((kind, fields),) = value.items()
            value = RATES[kind](**fields)
        values[key] = SORTS[value] if key == "sort" else value
    return values


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import safe_open

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of a network that pursuit.nets.save wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["pursuit"])
            return record, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise ValueError(f"{path}: not a network that pursuit.nets.save wrote ({error!r}).") from None


def _matrix(stored: Tensor, record: dict[str, Any]) -> Tensor:
    """The matrix in the form that the network was given."""
    m = record["shape"][0]
    if stored.ndim == 3:
        return torch.view_as_complex(stored)
    return torch.complex(stored[:m], stored[m:]) if record["complex"] else stored
