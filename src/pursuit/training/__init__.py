"""Training of networks: `fit`, its checkpoints, and several processes."""

from .checkpoint import write_log
from .fit import fit
from .options import Epoch, Training, TrainingError
from .signals import unseen_signals

__all__ = [
    "Epoch",
    "Training",
    "TrainingError",
    "fit",
    "unseen_signals",
    "write_log",
]
