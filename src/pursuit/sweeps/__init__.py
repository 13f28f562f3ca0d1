"""Random trials over a grid of sizes, in one process or on Dask; results in one SQLite file, resumable."""

from ..engines import LostCells
from .cells import Settings
from .comparing import Difference, diff
from .plan import Plan
from .results import Sweep, load
from .run import POSTER, Progress, phase

__all__ = ["POSTER", "Difference", "LostCells", "Plan", "Progress", "Settings", "Sweep", "diff", "load", "phase"]
