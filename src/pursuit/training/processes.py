"""Training on several processes, as `torchrun` starts them: each takes a share of every batch.

`SingleProcess` and `ProcessGroup` have the same methods, so that training is written once. In a single process they do
nothing.

Gradients are added after the backward pass, and not within it, as DistributedDataParallel does (and Lightning Fabric,
which uses it): if the derivative cannot be computed on one process, of a singular matrix for example, all stop in the
same step with the best parameters so far. With DistributedDataParallel the others wait for gradients that never come,
until the group gives up. `benchmarks/ddp.py` shows both.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Errors of a network whose numbers overflow during training: from linear algebra, and from checks of values.
NUMERICAL = (torch.linalg.LinAlgError, ValueError, ArithmeticError)
_meetings = itertools.count()


class SingleProcess:
    """The only process of a training.

    Attributes
    ----------
    first : bool
        Whether this process writes the files.
    failure : Exception or None
        The error after which this process continues without computing, so that the others do not wait for it.

    Examples
    --------
    >>> import torch
    >>> SingleProcess().share(torch.arange(3))
    tensor([0, 1, 2])
    """

    first = True
    failure: Exception | None = None

    def share(self, items: Tensor) -> Tensor:
        """This process's part of the rows; it can be empty."""
        return items

    def gradient(self, work: Callable[[], Tensor], parameters: Sequence[nn.Parameter]) -> Tensor:
        """The loss that `work` returns, and its gradient in the parameters, both summed over the processes."""
        return work()

    def total(self, work: Callable[[], Tensor]) -> Tensor:
        """The sum over the processes of what `work` returns."""
        return work()

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Give the tensors the values that they have on the first process."""

    def wait(self) -> None:
        """Return when all processes have called this."""

    def check_agree(self, **values: float) -> None:
        """Raise ValueError if whole numbers differ between processes, or others by more than rounding; also waits."""


class ProcessGroup(SingleProcess):
    """One of several processes, in the default group of `torch.distributed`.

    Parameters
    ----------
    device : device
        Device of this process.
    """

    def __init__(self, device: torch.device):
        self.device, self.rank, self.size = device, dist.get_rank(), dist.get_world_size()
        self.first = self.rank == 0

    def share(self, items: Tensor) -> Tensor:
        return items.tensor_split(self.size)[self.rank]

    def gradient(self, work: Callable[[], Tensor], parameters: Sequence[nn.Parameter]) -> Tensor:
        loss = self._attempt(work)
        # A parameter without a gradient on all processes must stay without, because optimizers skip it.
        given = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float64, device=self.device)
        parts = [loss.reshape(1), given, *(_flat(p) for p in parameters)]
        flat = torch.cat([part.double() for part in parts])
        dist.all_reduce(flat)
        loss, given, *gradients = flat.split([len(part) for part in parts])
        for p, anywhere, gradient in zip(parameters, given.tolist(), gradients, strict=True):
            p.grad = _shaped(gradient, p) if anywhere else None
        return loss.squeeze(0)

    def total(self, work: Callable[[], Tensor]) -> Tensor:
        value = self._attempt(work).double()
        dist.all_reduce(value)
        if self.failure is not None:
            raise self.failure
        return value

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        if not tensors:
            return
        parts = [_bytes(tensor).to(self.device) for tensor in tensors]
        flat = torch.cat(parts)
        dist.broadcast(flat, src=0)
        with torch.no_grad():
            for tensor, part in zip(tensors, flat.split([len(part) for part in parts]), strict=True):
                tensor.copy_(part.clone().view(tensor.dtype).reshape(tensor.shape))  # a clone is aligned

    def wait(self) -> None:
        float(self.total(lambda: torch.zeros((), device=self.device)))

    def check_agree(self, **values: float) -> None:
        extremes = torch.tensor([[v, -v] for v in values.values()], dtype=torch.float64, device=self.device)
        dist.all_reduce(extremes, op=dist.ReduceOp.MAX)
        differ = []
        for (name, value), (high, minus_low) in zip(values.items(), extremes.tolist(), strict=True):
            rounding = 0.0 if isinstance(value, int) else 1e-5 * abs(high)
            if not high + minus_low <= rounding:
                differ.append(name)
        if differ:
            raise ValueError(
                f"the processes differ in their {' and '.join(differ)}; give each the same options, seed and ensemble, "
                "and a folder on a disk that all of them share."
            )

    def _attempt(self, work: Callable[[], Tensor]) -> Tensor:
        # If a process left, the others would wait for it: it stays and adds NaN, at which all stop in the same step.
        if self.failure is None:
            try:
                return work()
            except NUMERICAL as error:
                self.failure = error
        return torch.tensor(math.nan, device=self.device)


@contextlib.contextmanager
def process_context(device: torch.device) -> Iterator[SingleProcess]:
    """The processes that train together: those of the process group, else those that `torchrun` started.

    A process group that is made here (gloo on the CPU, nccl on CUDA) is destroyed at the end; an existing one stays.

    Parameters
    ----------
    device : device
        Device of this process.

    Yields
    ------
    SingleProcess or ProcessGroup
        `SingleProcess` in a group of one, or if there is no group and `RANK` and `WORLD_SIZE` are not set.

    Raises
    ------
    ValueError
        If several processes were started and this build of PyTorch cannot join them.

    Examples
    --------
    >>> import torch
    >>> with process_context(torch.device("cpu")) as workers:
    ...     workers.first
    True
    """
    if dist.is_available() and dist.is_initialized():
        yield ProcessGroup(device) if dist.get_world_size() > 1 else SingleProcess()
        return
    if "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        yield SingleProcess()
        return
    if not dist.is_available():
        raise ValueError(
            f"{os.environ['WORLD_SIZE']} processes were started, but this build of PyTorch has no torch.distributed; "
            "start one process, or install another build."
        )
    store, rank, size = _store()
    # Where one group was, the next one would find the addresses of the old; so each has its own part of the store.
    part = dist.PrefixStore(f"pursuit/{next(_meetings)}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=part, rank=rank, world_size=size)
    try:
        yield ProcessGroup(device)
    finally:
        dist.destroy_process_group()


@functools.cache
def _store() -> tuple[Any, int, int]:
    """The store where the processes meet, this one's number and how many there are."""
    store, rank, size = next(iter(dist.rendezvous("env://")))
    return store, rank, size


def _flat(p: nn.Parameter) -> Tensor:
    """The gradient as real numbers in a row; zeros where there is none."""
    gradient = torch.zeros_like(p) if p.grad is None else p.grad
    real = torch.view_as_real(gradient.resolve_conj()) if gradient.is_complex() else gradient
    return real.detach().reshape(-1)


def _shaped(flat: Tensor, p: nn.Parameter) -> Tensor:
    """What `_flat` made, in the form of the parameter."""
    value = torch.view_as_complex(flat.reshape(-1, 2)) if p.is_complex() else flat
    return value.reshape(p.shape).to(p.dtype, copy=True)


def _bytes(tensor: Tensor) -> Tensor:
    # A copy: neither a dtype nor an overlap can be in the way. Backends differ in the dtypes that they send.
    return tensor.detach().resolve_conj().clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)
