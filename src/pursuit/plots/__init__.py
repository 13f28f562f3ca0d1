"""Figures of comparisons, trainings and sweeps. matplotlib is imported when one is drawn."""

from . import comparison, solution, sweeps, training

__all__ = ["comparison", "solution", "sweeps", "training"]
