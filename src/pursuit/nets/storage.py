"""Networks in files: safetensors for tensors, JSON in its header for options; reading cannot run code."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import aliases, relaxations
from ..core.numeric import ones_for_zeros
from ..files import output_folder, write_whole
from ..operators import Dense, Operator
from ..operators.adapters import as_operator
from .alista import AGLISTA, ALISTA, ALISTAAT
from .glista import GLISTA
from .greedy import CoSaMPNet, HTPNet, IHTNet, OMPNet, SPNet
from .hyper_lista import HyperLISTA
from .lamp import LAMP
from .layers import Annealed, Learned, over_layers
from .lista import LISTA, LISTACP, TiLISTA
from .na_alista import NAALISTA
from .sea import SEANet
from .unroll import CountSchedule, PercentSchedule

STRUCTURED = (OMPNet, IHTNet, CoSaMPNet, SPNet, HTPNet, SEANet)  # those with structure weights
UNROLLED = (LISTA, LISTACP, TiLISTA, ALISTA, ALISTAAT, AGLISTA, GLISTA, NAALISTA, HyperLISTA, LAMP)
NETS: dict[str, Any] = {net.__name__: net for net in (*STRUCTURED, *UNROLLED)}
# Options that are objects, stored by their names and fields.
OPTIONS = (Learned, Annealed, CountSchedule, PercentSchedule)
SORTS = {sort.__name__: sort for sort in (relaxations.softsort, relaxations.neuralsort, relaxations.sinkhorn_sort)}
HEADER = ("net", "config", "shape", "complex")


def save(net: nn.Module, path: str | Path) -> None:
    """Write a network to a `.safetensors` file: parameters, buffers, options, and `A` and `W` if dense.

    Parameters
    ----------
    net : a network of `pursuit.nets`
    path : str or Path

    Raises
    ------
    ValueError
        If the network's sort is not one of the library, or the file cannot be written.

    Examples
    --------
    >>> import tempfile, torch, pursuit
    >>> path = tempfile.mkdtemp() + "/net.safetensors"
    >>> pursuit.nets.save(pursuit.nets.OMPNet(torch.eye(3), layers=2), path)
    >>> pursuit.nets.load(path).layers
    2
    """
    _write(path, net.state_dict(), {"pursuit": json.dumps(describe(net))})


def save_epoch(net: nn.Module, path: str | Path, epoch: dict[str, Any]) -> None:
    """Write a network with the record of the epoch of its training that it is of: see `read_epoch`.

    Of a module that is none of `pursuit.nets` the file has the state dict alone, with complex tensors as pairs of real
    ones.

    Parameters
    ----------
    net : Module
    path : str or Path
    epoch : dict
        What JSON can hold.
    """
    try:
        header = {"pursuit": json.dumps(describe(net))}
        tensors = net.state_dict()
    except ValueError:
        header = {}
        tensors = {name: storable(v) for name, v in net.state_dict().items() if isinstance(v, Tensor)}
    _write(path, tensors, header | {"epoch": json.dumps(epoch)})


def storable(value: Tensor) -> Tensor:
    """A copy in a form that safetensors can store: it has no complex128."""
    real = torch.view_as_real(value) if value.is_complex() else value
    return real.detach().cpu().clone(memory_format=torch.contiguous_format)


def _write(path: str | Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    from safetensors.torch import save as pack

    path = Path(path)
    output_folder(path.parent)
    data = pack({name: value.contiguous() for name, value in tensors.items()}, metadata=header)
    write_whole(path, lambda file: file.write(data))


def load(path: str | Path, A: Any = None, W: Any = None) -> Any:
    """Read a network that `save` wrote.

    Parameters
    ----------
    path : str or Path
    A : array (m, n), or anything `as_operator` takes, optional
        Needed if the network was built with an operator that is not a dense matrix.
    W : array (m, n), or anything `as_operator` takes, optional
        Needed if, in addition, the network was built with an argument `W`.

    Raises
    ------
    ValueError
        If the file is no network, is one for another matrix than `A`, or needs `A` or `W`.

    Examples
    --------
    >>> import tempfile, torch, pursuit
    >>> path = tempfile.mkdtemp() + "/net.safetensors"
    >>> pursuit.nets.save(pursuit.nets.IHTNet(torch.eye(3), k=1, layers=2), path)
    >>> pursuit.nets.load(path)(torch.tensor([0.0, 2.0, 1.0])).detach().round(decimals=2)
    tensor([0.0000, 1.5000, 0.0000])
    """
    record, tensors = _read(path)
    op = _operator(path, record, tensors, A)
    options = _options(path, record) | _weights(path, record, tensors, op, W)
    _check_sizes(path, record, options, tensors)
    tensors = {name: value.to(op.device) for name, value in tensors.items()}
    try:
        with torch.random.fork_rng(devices=[]):  # random start values are replaced below
            net = NETS[record["net"]](op, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: holds a {record['net']} that cannot be built: {error}") from None
    _check_same(path, net, tensors)
    for name, value in (*net.named_parameters(), *net.named_buffers()):
        # Copied, on the device of A: results depend on the alignment of its memory.
        value.data = value.data.to(tensors[name].device, tensors[name].dtype)
    net.load_state_dict(tensors)
    return net


def read_epoch(path: str | Path) -> dict[str, Any]:
    """Which epoch of its training a network in a file is of, with its losses: the line of `log.csv`.

    While `pursuit.training.fit` runs, its folder always has the best network so far, in `net.safetensors`.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    ValueError
        If the file was not written by a training.

    Examples
    --------
    >>> import tempfile, torch, pursuit
    >>> folder, X = tempfile.mkdtemp(), torch.eye(5).repeat(8, 1) * torch.rand(40, 1)
    >>> net = pursuit.nets.IHTNet(torch.eye(5), k=1, layers=2)
    >>> training = pursuit.training.fit(net, (X, X), epochs=2, folder=folder)
    >>> pursuit.nets.read_epoch(f"{folder}/net.safetensors")["epoch"] == training.best_epoch
    True
    """
    header, _ = _stored(path)
    try:
        return dict(json.loads(header["epoch"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{path}: does not say of which epoch it is; needed is net.safetensors from the folder of a training."
        ) from None


def read_weights(path: str | Path) -> Tensor:
    """The learned structure weights `(n,)` of a saved network; pass them to any solver as `weights=`.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    ValueError
        If the file is no network, or the network has no structure weights.

    Examples
    --------
    >>> import tempfile, torch, pursuit
    >>> path = tempfile.mkdtemp() + "/net.safetensors"
    >>> pursuit.nets.save(pursuit.nets.OMPNet(torch.eye(3), layers=2), path)
    >>> w = pursuit.nets.read_weights(path)
    >>> pursuit.omp(torch.eye(3), torch.tensor([0.0, 2.0, 1.0]), k=1, weights=w).x
    tensor([0., 2., 0.])
    """
    record, tensors = _read(path)
    if "identify.w" not in tensors:
        raise ValueError(
            f"{path}: holds a {record['net']}, which has no structure weights; needed is a network with them: "
            f"{', '.join(net.__name__ for net in STRUCTURED)}."
        )
    return over_layers(tensors["identify.w"])


def describe(net: nn.Module) -> dict[str, Any]:
    """The class and the options of a network, in a form for JSON."""
    name = type(net).__name__
    if NETS.get(name) is not type(net):
        raise ValueError(f"{name} is not a network of pursuit.nets ({', '.join(NETS)}); save its state_dict yourself.")
    config: Any = net.config
    sort = config.get("sort")
    if sort is not None and SORTS.get(getattr(sort, "__name__", "")) is not sort:
        raise ValueError(f"the network sorts by {sort!r}, which cannot be stored; needed is one of {', '.join(SORTS)}.")
    plain = {key: _named(value) for key, value in config.items()}
    sensing: Any = net.sensing
    given = {"weights": "given"} if getattr(getattr(net, "back_projection", None), "given", False) else {}
    return {"net": name, "config": plain, "shape": list(sensing.shape), "complex": sensing.complex, **given}


def _named(value: Any) -> Any:
    if isinstance(value, OPTIONS):
        return {type(value).__name__: asdict(value)}
    return value.__name__ if callable(value) else value


def _options(path: str | Path, record: dict[str, Any]) -> dict[str, Any]:
    """The options with which a network was built."""
    kinds: dict[str, Any] = {kind.__name__: kind for kind in OPTIONS}
    kinds |= {old: kinds[new] for old, new in aliases.OBJECTS.items()}
    values = {}
    try:
        for key, value in aliases.options(record["net"], record["config"]).items():
            if isinstance(value, dict):
                ((kind, fields),) = value.items()
                value = kinds[kind](**fields)
            values[key] = SORTS[value] if key == "sort" else value
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: holds a {record['net']} with options that cannot be read ({error!r}).") from None
    return values


def _operator(path: str | Path, record: dict[str, Any], tensors: dict[str, Tensor], A: Any) -> Operator:
    """The operator of the network: that of the file, which must equal `A` if given, else `A`."""
    stored = Dense(_matrix(tensors["sensing.matrix"], record)) if "sensing.matrix" in tensors else None
    if A is None:
        if stored is None:
            raise ValueError(
                f"{path}: holds a network on an operator that is not stored; pass it as load(path, A=...)."
            )
        return stored
    op, holds = as_operator(A), f"{path}: holds a {record['net']}"
    given = (list(op.shape), op.dtype.is_complex, isinstance(op, Dense))
    if given != (record["shape"], record["complex"], stored is not None):
        (m, n), kind = record["shape"], "complex" if record["complex"] else "real"
        raise ValueError(
            f"{holds} for a {kind} {'matrix' if stored else 'operator'} with m={m}, n={n}; given is {op!r}: load it "
            "with its own A, or train a network for this one."
        )
    if stored is None:
        precision = tensors["sensing.scale"].dtype
        if op.dtype.to_real() != precision:
            raise ValueError(f"{holds} in {precision}; given is {op!r}: use one precision for both.")
        return op
    sizes = op.column_norms()
    unit = op.to_dense().detach() / ones_for_zeros(sizes)
    if not torch.allclose(unit.to(stored.matrix), stored.matrix, rtol=1e-2, atol=1e-4):
        raise ValueError(f"{holds} for another matrix A of this shape; leave A out, or train a network for this A.")
    return Dense(stored.matrix.to(op.device))


def _weights(path: str | Path, record: dict[str, Any], tensors: dict[str, Tensor], op: Operator, W: Any) -> Any:
    """The argument `W`, if the network was built with one."""
    if record.get("weights") != "given":
        if W is not None:
            raise ValueError(f"{path}: holds a {record['net']} that was built without W; leave W out.")
        return {}
    if "back_projection.matrix" not in tensors:
        if W is None:
            raise ValueError(
                f"{path}: holds a network with weights that are not stored; pass them as load(path, A=..., W=...)."
            )
        return {"W": W}
    if W is not None:
        raise ValueError(f"{path}: holds the weights of its {record['net']}; leave W out.")
    return {"W": _matrix(tensors["back_projection.matrix"], record).to(op.device)}


def _check_sizes(path: str | Path, record: dict[str, Any], options: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Raise if the options claim larger tensors than there are: memory is taken only for what a file holds."""
    stored: dict[str, set[int]] = {"hidden": set(), "layers": set()}
    if "h0" in tensors:
        stored["hidden"] = {tensors["h0"].numel()}
    stored["layers"] = {len(tensors[name]) for name in ("theta", "gamma") if name in tensors and tensors[name].ndim}
    if options.get("weights") == "per-layer" and "identify.w" in tensors:
        stored["layers"].add(len(tensors["identify.w"]) if tensors["identify.w"].ndim == 2 else 1)
    for name, sizes in stored.items():
        claimed = options.get(name)
        if sizes and isinstance(claimed, int) and claimed > max(sizes):
            raise ValueError(
                f"{path}: holds a {record['net']} whose options say {name}={claimed}, and whose tensors say "
                f"{' and '.join(map(str, sorted(sizes)))}. Save it again."
            )


def _check_same(path: str | Path, net: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Raise unless the file has the tensors of this network."""
    own, holds = net.state_dict(), f"{path}: holds a {type(net).__name__}"
    for name in sorted(own.keys() ^ tensors.keys()):
        what = "does not have" if name in own else "has besides its own"
        raise ValueError(f"{holds} with other tensors than its options say: {what} {name!r}. Save it again.")
    for name, value in own.items():
        wrong = value.shape != tensors[name].shape or value.is_floating_point() != tensors[name].is_floating_point()
        if wrong:
            raise ValueError(
                f"{holds} in which {name!r} is {_form(tensors[name])}; its options need {_form(value)}. Save it again."
            )


def _form(value: Tensor) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}"


def _stored(path: str | Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a file."""
    from safetensors import safe_open

    path = Path(path)
    if path.is_dir():
        found = [file.name for file in sorted(path.glob("*.safetensors")) if file.name != "checkpoint.safetensors"]
        take = f"give the file: {path / found[0]}" if len(found) == 1 else "give the path of a file in it"
        has = f"it holds {', '.join(found[:5])}" if found else "it holds no network"
        raise ValueError(f"{path}: is a folder, and {has}; {take}, as pursuit.nets.save or pursuit train writes it.")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of a network that pursuit.nets.save wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise ValueError(f"{path}: not a network that pursuit.nets.save wrote ({error!r}).") from None


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    header, tensors = _stored(path)
    try:
        record = json.loads(header["pursuit"])
    except Exception as error:
        raise ValueError(f"{path}: not a network that pursuit.nets.save wrote ({error!r}).") from None
    if not isinstance(record, dict) or not all(name in record for name in HEADER) or "sensing.scale" not in tensors:
        raise ValueError(
            f"{path}: not a network that pursuit.nets.save wrote. In the folder of a training, net.safetensors is the "
            "network, and checkpoint.safetensors only continues the training."
        )
    if record["net"] not in NETS:
        raise ValueError(
            f"{path}: holds a {record['net']!r}, which this version does not know; it knows {', '.join(NETS)}."
        )
    return record, {aliases.tensor_name(record["net"], name): value for name, value in tensors.items()}


def _matrix(stored: Tensor, record: dict[str, Any]) -> Tensor:
    """The matrix in the form in which the network was built."""
    m = record["shape"][0]
    if stored.ndim == 3:
        return torch.view_as_complex(stored)
    return torch.complex(stored[:m], stored[m:]) if record["complex"] else stored
