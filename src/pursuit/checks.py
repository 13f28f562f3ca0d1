"""Checks of a user's input; messages say what was given and what is needed."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .transforms import refuse_mapped


def nonnegative_per_item(name: str, value: Any, batch: torch.Size, like: Tensor) -> Tensor:
    """Finite numbers >= 0, `(*batch,)`."""
    value = to_tensor(name, value, "a real number >= 0", like.device)
    if value.is_complex() or not expands(value.shape, batch):
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} and dtype {value.dtype}; needed is a real number, or one per "
            f"signal with shape {tuple(batch)}."
        )
    taken = value.to(like.real.dtype)
    if not ((value >= 0) & taken.isfinite()).all():
        most = torch.finfo(taken.dtype).max
        raise ValueError(
            f"{name} is {show(value)}; needed is a finite number >= 0, at most {most:.3g} in {taken.dtype}."
        )
    return taken.expand(batch)


def whole(name: str, value: Any, low: int, high: int | None, batch: torch.Size, device: Any) -> Tensor:
    """Whole numbers `(*batch,)` between `low` and `high`."""
    value = to_tensor(name, value, "a whole number", device)
    wanted = f">= {low}" if high is None else f"{low} <= {name} <= {high} (the smaller of m and n)"
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} is {show(value)}; needed is a whole number {wanted}.")
    if not expands(value.shape, batch):
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}; needed is one number, or one per signal with shape {tuple(batch)}."
        )
    if (value < low).any() or (high is not None and (value > high).any()):
        raise ValueError(f"{name} is {show(value)}; needed is {wanted}.")
    return value.long().expand(batch)


def to_tensor(name: str, value: Any, needed: str, device: Any) -> Tensor:
    """A number or an array of numbers, converted by NumPy: torch would round a Python float to single precision."""
    if isinstance(value, Tensor):
        refuse_mapped(value)
        if value.layout != torch.strided or value.is_meta:
            raise TypeError(
                f"{name} is a tensor of layout {value.layout} on the device {value.device}; needed is {needed}, or one "
                f"per signal, whose values are at hand: {name}.to_dense() of a sparse one."
            )
        return value.to(device)
    array = np.asarray(value)
    widest = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64, "c": np.complex128}
    if isinstance(value, int) and array.dtype.kind not in "biu":  # which NumPy keeps as an object
        raise ValueError(f"{name} is {value}, which is out of the range of numbers; needed is {needed} below 2^63.")
    if array.dtype.kind not in widest:
        raise TypeError(f"{name} is {value!r}; needed is {needed}, or one per signal.")
    return torch.from_numpy(np.array(array, dtype=widest[array.dtype.kind], order="C")).to(device)


def whole_number(name: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """The value, if it is one whole number between `low` and `high`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        wanted = f" >= {low}" if high is None else f", {low} <= {name} <= {high}"
        raise ValueError(f"{name} is {value!r}; needed is a whole number{wanted}.")
    return value


def positive_number(name: str, value: Any) -> float:
    """The value, if it is one finite number > 0."""
    if not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value!r}; needed is a finite number > 0.")
    return float(value)


def boolean(name: str, value: Any) -> bool:
    """The value, if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; needed is True or False.")
    return value


def one_of(name: str, value: Any, known: Collection[str]) -> None:
    """Raise ValueError unless the value is one of those known."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(known)}.")


def placed(device: torch.device) -> torch.device:
    """The device with its number, as tensors have it: "cuda" becomes the current one, "cuda:0" for example."""
    return torch.empty(0, device=device).device


def finite(name: str, values: Tensor) -> Tensor:
    bad = ~values.detach().isfinite()
    if bad.any():
        where = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"{name} has {int(bad.sum())} entries that are NaN or infinite, the first at {where}; remove or fill them."
        )
    return values


def expands(shape: torch.Size, batch: torch.Size) -> bool:
    """Whether `shape` can be expanded to `batch`."""
    padded = (1,) * (len(batch) - len(shape)) + tuple(shape)
    return len(padded) == len(batch) and all(s in (1, b) for s, b in zip(padded, batch, strict=True))


def show(value: Tensor) -> str:
    if value.numel() == 1:
        return str(value.item())
    if value.numel() == 0 or value.is_complex():
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"between {value.min().item()} and {value.max().item()}"
