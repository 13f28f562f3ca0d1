"""The signals of a training: separate ones for training, validation and test."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..ensembles import Ensemble
from .options import Options

TRAINING, VALIDATION, TEST, ORDER, PREPARING = range(5)  # each draws its own random numbers


AT_ONCE = 1024  # signals evaluated at a time


PREPARATION = 16384  # signals for a network's `prepare`


class Signals:
    """The signals of a run; those for one purpose do not depend on those for another."""

    def __init__(self, ensemble: Ensemble, trained_on: Ensemble, options: Options):
        self.ensemble, self.trained_on, self.options = ensemble, trained_on, options
        self.held_out = self.draw(options.n_validation, VALIDATION)
        self.energy = signal_energy(self.held_out[1])
        self.fixed = None if options.resample else self.draw(options.n_train, TRAINING)

    def draw(self, count: int, stream: int, epoch: int = 0) -> tuple[Tensor, Tensor]:
        source = self.trained_on if stream == TRAINING else self.ensemble
        return source.draw(count, self._generator(stream, epoch))

    def epoch(self, done: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, ...]]:
        """The training signals after `done` epochs, and the numbers of those in each batch."""
        data = self.draw(self.options.n_train, TRAINING, done) if self.fixed is None else self.fixed
        rng = self._generator(ORDER, done)
        order = torch.randperm(self.options.n_train, generator=rng, device=rng.device)
        return data, order.split(self.options.batch_size)

    def _generator(self, stream: int, epoch: int) -> torch.Generator:
        # Each epoch has its own generator, so a resumed run needs no state of a generator.
        mixed = np.random.SeedSequence((self.options.seed, stream, epoch)).generate_state(1, np.uint64)
        return torch.Generator(self.ensemble.A.device).manual_seed(int(mixed[0]))


def signal_energy(x: Tensor) -> float:
    """The mean of `||x||^2`."""
    return float(x.abs().double().square().sum()) / len(x)
