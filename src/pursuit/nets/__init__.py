"""Networks unrolled from solvers: each layer is a step of a solver, with learned values."""

from typing import Any

from ..aliases import OBJECTS
from ..names import old_name
from .alista import AGLISTA, ALISTA, ALISTAAT
from .glista import GLISTA
from .greedy import CoSaMPNet, HTPNet, IHTNet, OMPNet, SPNet
from .hyper_lista import HyperLISTA
from .lamp import LAMP
from .layers import Annealed, Learned
from .lista import LISTA, LISTACP, LISTACPSS, TiLISTA
from .na_alista import NAALISTA
from .sea import SEANet
from .storage import load, read_epoch, read_weights, save
from .unroll import CountSchedule, PercentSchedule

__all__ = [
    "AGLISTA",
    "ALISTA",
    "ALISTAAT",
    "GLISTA",
    "LAMP",
    "LISTA",
    "LISTACP",
    "LISTACPSS",
    "NAALISTA",
    "Annealed",
    "CoSaMPNet",
    "CountSchedule",
    "HTPNet",
    "HyperLISTA",
    "IHTNet",
    "Learned",
    "OMPNet",
    "PercentSchedule",
    "SEANet",
    "SPNet",
    "TiLISTA",
    "load",
    "read_epoch",
    "read_weights",
    "save",
]


def __getattr__(name: str) -> Any:
    return old_name(__name__, name, OBJECTS)
