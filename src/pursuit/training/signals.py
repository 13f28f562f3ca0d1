"""The signals of a training: separate ones for training, validation and test."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..finite import FiniteEnsemble, check_apart
from .options import Options

TRAINING, VALIDATION, TEST, ORDER, PREPARING = range(5)  # each draws its own random numbers
DRAWN = {"n_train": 1024, "n_validation": 512, "n_test": 512}  # of an ensemble that draws new signals


AT_ONCE = 1024  # signals evaluated at a time


PREPARATION = 16384  # signals for a network's `prepare`


Source = Any  # an ensemble: its `draw(count, rng)` gives y and x


class Signals:
    """The signals of a run; those for one purpose do not depend on those for another."""

    def __init__(self, ensemble: Source, trained_on: Source, sources: dict[int, Source], options: Options):
        self.ensemble, self.trained_on, self.sources, self.options = ensemble, trained_on, sources, options
        self.held_out = self.draw(options.n_validation, VALIDATION)
        self.energy = signal_energy(self.held_out[1])
        self.fixed = None if options.resample else self.draw(options.n_train, TRAINING)

    def draw(self, count: int, stream: int, epoch: int = 0) -> tuple[Tensor, Tensor]:
        return self.sources[stream].draw(count, self._generator(stream, epoch))

    def epoch(self, done: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, ...]]:
        """The training signals after `done` epochs, and the numbers of those in each batch."""
        data = self.draw(self.options.n_train, TRAINING, done) if self.fixed is None else self.fixed
        rng = self._generator(ORDER, done)
        order = torch.randperm(self.options.n_train, generator=rng, device=rng.device)
        return data, order.split(self.options.batch_size)

    def _generator(self, stream: int, epoch: int) -> torch.Generator:
        return _generator(device_of(self.ensemble), self.options.seed, stream, epoch)


def sources(ensemble: Source, trained_on: Source, resample: bool = False, **asked: int | None) -> dict[int, Source]:
    """What the signals for each purpose are drawn from: signals that are given are split, for all that is asked for."""
    if not isinstance(ensemble, FiniteEnsemble):
        return {TRAINING: trained_on, VALIDATION: ensemble, TEST: ensemble, PREPARING: ensemble}
    own = trained_on is ensemble
    parts = ensemble.split(**asked | ({} if own and not resample else {"n_train": None}))
    training = parts.train if own else trained_on
    if isinstance(training, FiniteEnsemble) and not own:
        for part in (parts.validation, parts.test):
            check_apart(training, part)
    return {TRAINING: training, VALIDATION: parts.validation, TEST: parts.test, PREPARING: training}


def numbers(drawn_from: dict[int, Source], **asked: int | None) -> dict[str, int]:
    """How many signals are used for training, validation and test: of given ones, no more than there are."""
    found = {}
    for stream, (name, number) in zip((TRAINING, VALIDATION, TEST), asked.items(), strict=True):
        source = drawn_from[stream]
        if isinstance(source, FiniteEnsemble):
            found[name] = min(len(source) if number is None else number, len(source))
        else:
            found[name] = DRAWN[name] if number is None else number
    return found


def unseen_signals(
    ensemble: Source,
    *,
    n_train: int | None = None,
    n_validation: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """The signals on which `fit` computes the test loss, in a run with these options: `y (count, m)`, `x (count, n)`.

    Parameters
    ----------
    ensemble : ensemble
        One of `pursuit.ensembles`, for example `from_arrays(Y, X, A)`.
    n_train, n_validation, n_test, seed
        As in `fit`.

    Examples
    --------
    >>> import torch, pursuit
    >>> ensemble = pursuit.ensembles.from_arrays(torch.eye(40), torch.eye(40))
    >>> y, x = pursuit.training.unseen_signals(ensemble)
    >>> y.shape
    torch.Size([4, 40])
    """
    asked = {"n_train": n_train, "n_validation": n_validation, "n_test": n_test}
    drawn_from = sources(ensemble, ensemble, False, **asked)
    count = numbers(drawn_from, **asked)["n_test"]
    return drawn_from[TEST].draw(count, _generator(device_of(ensemble), seed, TEST, 0))


def device_of(ensemble: Source) -> torch.device:
    """Where the signals of an ensemble are."""
    return ensemble.y.device if isinstance(ensemble, FiniteEnsemble) else ensemble.A.device


def signal_energy(x: Tensor) -> float:
    """The mean of `||x||^2`."""
    return float(x.abs().double().square().sum()) / len(x)


def _generator(device: torch.device, seed: int, stream: int, epoch: int) -> torch.Generator:
    # Each epoch has its own generator, so a resumed run needs no state of a generator.
    mixed = np.random.SeedSequence((seed, stream, epoch)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(mixed[0]))
