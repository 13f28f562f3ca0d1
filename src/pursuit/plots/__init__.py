"""Figures of comparisons, trainings and sweeps. matplotlib is imported when one is drawn."""

from . import comparison, sweeps, training

__all__ = ["comparison", "sweeps", "training"]
