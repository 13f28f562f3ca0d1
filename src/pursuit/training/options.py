"""Options of a training, and its record of each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from ..checks import one_of, positive_number, whole_number

OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, alpha=0.99, eps=1e-8),
    "adam": lambda groups: torch.optim.Adam(groups),
}


# Factor of lr in an epoch, counted from 0, of a number of epochs.
SCHEDULES: dict[str, Callable[[int, int, int | None], float]] = {
    "halve": lambda epoch, epochs, every: 0.5 ** (epoch // every) if every else 1.0,
    "cosine": lambda epoch, epochs, every: (1 + math.cos(math.pi * epoch / epochs)) / 2,
}

# What options were called before, in calls and in checkpoints.
OLD_NAMES = {
    "batch": "batch_size", "training": "n_train", "validation": "n_validation", "test": "n_test",
    "rates": "lr_factors", "fresh": "resample", "layerwise": "layerwise_epochs",
}  # fmt: skip


class Epoch(NamedTuple):
    """Record of an epoch.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    step : int
        Number of steps since the start.
    train_loss : float
        Mean over the steps of the epoch.
    validation_loss : float or None
        Validation loss at the end of the epoch; None if it was not computed.
    lr : float
    seconds : float
    validation_db : float or None
        The validation loss as NMSE in dB, `10 log10(sum ||net(y) - x||^2 / sum ||x||^2)` over all signals. Minus
        infinity if there is no error; None if it was not computed or all signals are zero.

    Examples
    --------
    >>> Epoch(epoch=1, step=16, train_loss=0.5, validation_loss=0.4, lr=0.01, seconds=0.2).validation_loss
    0.4
    """

    epoch: int
    step: int
    train_loss: float
    validation_loss: float | None
    lr: float
    seconds: float
    validation_db: float | None = None


class Training(NamedTuple):
    """Result of `fit`.

    Attributes
    ----------
    log : list of Epoch
    best_epoch : int
        Epoch whose parameters the network now has.
    validation_loss : float
        Its loss on the validation signals, by which the epoch was chosen.
    test_loss : float
        Its loss on the held-out test signals.
    validation_db, test_db : float or None
        The same as NMSE in dB; see `Epoch`.

    Examples
    --------
    >>> Training(log=[], best_epoch=3, validation_loss=0.1, test_loss=0.2).best_epoch
    3
    """

    log: list[Epoch]
    best_epoch: int
    validation_loss: float
    test_loss: float
    validation_db: float | None = None
    test_db: float | None = None


class TrainingError(RuntimeError):
    """A loss or gradient became NaN or infinite.

    Parameters
    ----------
    message : str
    epoch, step : int
        Where it happened, counted from 1.

    Examples
    --------
    >>> TrainingError("the loss is not finite", epoch=2, step=17).step
    17
    """

    def __init__(self, message: str, *, epoch: int, step: int):
        super().__init__(message)
        self.epoch, self.step = epoch, step


@dataclass(frozen=True)
class Options:
    """All options on which the numbers depend."""

    epochs: int
    batch_size: int
    n_train: int
    n_validation: int
    n_test: int
    optimizer: str
    lr: float
    schedule: str
    halve_every: int | None
    lr_factors: dict[str, float]
    clip: float | None
    resample: bool
    seed: int
    validate_every: int
    layerwise_epochs: int | None
    clip_each: float | None

    def check(self) -> None:
        for name in ("epochs", "batch_size", "n_train", "n_validation", "n_test", "validate_every"):
            whole_number(name, getattr(self, name))
        whole_number("seed", self.seed, low=0)
        for name, value in (("resample", self.resample), ("lr_factors", self.lr_factors)):
            kind = bool if name == "resample" else dict
            if not isinstance(value, kind):
                raise TypeError(f"{name} is {value!r}; needed is a {kind.__name__}: see pursuit.training.fit.")
        for name in ("halve_every", "layerwise_epochs"):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name))
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("schedule", self.schedule, SCHEDULES)
        positive_number("lr", self.lr)
        for name in ("clip", "clip_each"):
            if getattr(self, name) is not None:
                positive_number(name, getattr(self, name))
        for name, factor in self.lr_factors.items():
            positive_number(f"lr_factors[{name!r}]", factor)

    def rate(self, done: int) -> float:
        """The learning rate after `done` epochs."""
        return self.lr * SCHEDULES[self.schedule](done, self.epochs, self.halve_every)

    def depth(self, done: int, layers: int) -> int | None:
        """Number of layers in the epoch after `done`; None once the network is trained as a whole."""
        reached = math.inf if self.layerwise_epochs is None else done // self.layerwise_epochs + 1
        return int(reached) if reached <= layers else None
