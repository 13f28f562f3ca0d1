"""Networks unrolled from the solvers: each layer is a solver's step with learned values."""

from .aglista import AGLISTA
from .alista import ALISTA
from .alista_at import ALISTAAT
from .cosamp_net import CoSaMPNet
from .glista import GLISTA
from .htp_net import HTPNet
from .hyper_lista import HyperLISTA
from .iht_net import IHTNet
from .lamp import LAMP
from .lista import LISTA
from .lista_cp import LISTACP, LISTACPSS
from .na_alista import NAALISTA
from .omp_net import OMPNet
from .parts import Annealed, Learned
from .proximal import Counts, Percent
from .sea_net import SEANet
from .sp_net import SPNet
from .storage import load, read_weights, save
from .ti_lista import TiLISTA

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
    "Counts",
    "HTPNet",
    "HyperLISTA",
    "IHTNet",
    "Learned",
    "OMPNet",
    "Percent",
    "SEANet",
    "SPNet",
    "TiLISTA",
    "load",
    "read_weights",
    "save",
]
