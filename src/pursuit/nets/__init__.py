"""Networks unrolled from the solvers: each layer is a solver's step with learned values."""

from .cosamp_net import CoSaMPNet
from .htp_net import HTPNet
from .iht_net import IHTNet
from .omp_net import OMPNet
from .parts import Annealed, Learned
from .sp_net import SPNet
from .storage import load, read_weights, save

__all__ = [
    "Annealed",
    "CoSaMPNet",
    "HTPNet",
    "IHTNet",
    "Learned",
    "OMPNet",
    "SPNet",
    "load",
    "read_weights",
    "save",
]
