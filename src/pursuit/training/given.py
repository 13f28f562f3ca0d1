"""What users give `fit` to train on, as an ensemble: arrays, a data set of torch, or an ensemble."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ..arrays import as_tensor, is_array
from ..core.layout import unwrapped
from ..core.numeric import safe_divide
from ..finite import FiniteEnsemble, both_as_rows, check_complex, check_measured, from_arrays

USUAL = 0.1, 10.0  # size of the non-zeros
NEEDED = "needed is (Y, X), a torch Dataset of pairs (y, x), or an ensemble of pursuit.ensembles"


def as_ensemble(net: nn.Module, given: Any, seed: int) -> Any:
    """The ensemble to train on; signals that are given are checked, and brought to the network's precision and device.

    Raises
    ------
    ValueError, TypeError
        If it is nothing to train on, or does not fit the network.
    """
    if hasattr(given, "draw") and not isinstance(given, FiniteEnsemble):
        return given
    ensemble = given if isinstance(given, FiniteEnsemble) else _of_arrays(net, *_pair(given), seed)
    device, real = _place(net)
    ensemble = ensemble.to(device, real)
    sensing = getattr(net, "sensing", None)
    if sensing is None:
        return ensemble
    if ensemble.shape != tuple(sensing.shape):
        m, n = sensing.shape
        swapped = " Are Y and X in each other's place?" if ensemble.shape == (n, m) else ""
        raise ValueError(
            f"Y and X have rows of {ensemble.shape[0]} and {ensemble.shape[1]}, but the network was built for m={m}, "
            f"n={n}; needed is a network built with the A that measured X as Y.{swapped}"
        )
    check_complex(sensing.complex, ensemble.y, ensemble.x)
    A, y = sensing.prepare(ensemble.y[:1024])
    check_measured(A, y, in_units := ensemble.x[:1024] * safe_divide(1, sensing.scale))
    _warn_of_size(in_units)
    return ensemble


def _warn_of_size(x: Tensor) -> None:
    """Warn if the non-zeros, for columns of norm one, are so small or large that networks do not learn from them."""
    size = float((x.abs().double().square().sum() / (x != 0).sum()).sqrt())
    if size and not USUAL[0] <= size <= USUAL[1]:
        warnings.warn(
            f"the non-zeros of X are about {size:.2g} for columns of norm one; networks start from thresholds and "
            f"temperatures for about 1, and may not learn: divide Y and X by {size:.2g}.",
            stacklevel=4,
        )


def _of_arrays(net: nn.Module, Y: Any, X: Any, seed: int) -> FiniteEnsemble:
    sensing = getattr(net, "sensing", None)
    if sensing is None:
        return from_arrays(Y, X, seed=seed)
    m, n = sensing.shape
    both_as_rows(Y, X, m, n, pairs=sensing.complex)
    return from_arrays(Y, X, seed=seed)


def _pair(given: Any) -> tuple[Any, Any]:
    """Y and X."""
    if isinstance(given, torch.utils.data.DataLoader):
        raise TypeError(f"a DataLoader was given; {NEEDED}: pass its dataset, loader.dataset. `fit` makes the batches.")
    if isinstance(given, torch.utils.data.Dataset):
        return _of_dataset(given)
    if isinstance(given, tuple | list) and len(given) == 2 and all(is_array(unwrapped(part)[0]) for part in given):
        return given[0], given[1]
    raise TypeError(f"{_shown(given)} was given to train on; {NEEDED}.")


def _of_dataset(dataset: Any) -> tuple[Tensor, Tensor]:
    """All signals of a data set, in memory."""
    items = [dataset[i] for i in range(len(dataset))] if hasattr(dataset, "__len__") else list(dataset)
    if not items:
        raise ValueError(f"the {type(dataset).__name__} is empty; {NEEDED}.")
    pairs = []
    for i, item in enumerate(items):
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise TypeError(f"item {i} of the {type(dataset).__name__} is {_shown(item)}; needed is a pair (y, x).")
        pairs.append((as_tensor("y", item[0]), as_tensor("x", item[1])))
    columns = []
    for name, values in zip(("y", "x"), zip(*pairs, strict=True), strict=True):
        other = next((i for i, value in enumerate(values) if value.shape != values[0].shape or value.ndim != 1), None)
        if other is not None:
            raise ValueError(
                f"{name} of item {other} of the {type(dataset).__name__} has shape {tuple(values[other].shape)}, and "
                f"the first {tuple(values[0].shape)}; needed are vectors of one length."
            )
        columns.append(torch.stack(values))
    return columns[0], columns[1]


def _place(net: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and precision of a network: those of its matrix, else of its first parameter."""
    sensing = getattr(net, "sensing", None)
    first = (
        sensing.scale
        if sensing is not None
        else next((p for p in net.parameters() if p.dtype.is_floating_point or p.is_complex()), None)
    )
    return (torch.device("cpu"), torch.get_default_dtype()) if first is None else (first.device, first.dtype.to_real())


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + ("" if shape is None else f" of shape {tuple(shape)}")
