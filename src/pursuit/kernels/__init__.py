"""Compiled kernels, each file for one device; imported when they are first used."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import config

INTEGERS = {torch.float32: np.empty(0, np.int32), torch.float64: np.empty(0, np.int64)}  # as long as the floats


@cache
def load(name: str) -> ModuleType | None:
    """The kernels of one file; None without Numba."""
    try:
        return import_module(f".{name}", __name__)
    except ImportError:
        return None


def wanted(name: str, v: Tensor) -> bool:
    """Whether there are such kernels for `v`, and they are not switched off."""
    return config.kernels != "off" and v.device.type == "cpu" and load(name) is not None


def run(name: str, kernel: str, *arguments: Any) -> None:
    """Run a kernel on tensors and plain values; it writes into the last of them."""
    getattr(load(name), kernel)(*[a.numpy() if isinstance(a, Tensor) else a for a in arguments])


def flat(v: Tensor, own: int = 1) -> Tensor:
    """What a kernel takes: contiguous memory, with one batch axis before the last `own`."""
    v = v.detach().resolve_conj().resolve_neg()
    if v.ndim != own + 1:
        batch = v.shape[: v.ndim - own]
        v = v.reshape(batch.numel(), *v.shape[v.ndim - own :])
    return v.contiguous()


def unflat(v: Tensor, batch: torch.Size) -> Tensor:
    """The batch axes as they were before `flat`."""
    return v if len(batch) == 1 else v.view(*batch, *v.shape[1:])
