"""The papers' experiments from Python: `pursuit.reproduce.reproduce("dgu-fig1", "out", quick=True)`."""

from .experiments.registry import EXPERIMENTS
from .experiments.runner import reproduce

__all__ = ["EXPERIMENTS", "reproduce"]
