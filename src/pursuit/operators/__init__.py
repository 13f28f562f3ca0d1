"""Sensing operators: linear maps given by `forward`, `adjoint` and `columns`. A dense matrix is one of them."""

from .base import DTYPES, PROBES, ColumnScaled, Complexified, Operator, check_dtype, gather_last, give
from .combined import Compose, Diagonal
from .convolution import Convolution
from .dense import Dense
from .fourier import SubsampledFourier
from .spectral import spectral_norm_squared

__all__ = [
    "DTYPES",
    "PROBES",
    "ColumnScaled",
    "Complexified",
    "Compose",
    "Convolution",
    "Dense",
    "Diagonal",
    "Operator",
    "SubsampledFourier",
    "check_dtype",
    "gather_last",
    "give",
    "spectral_norm_squared",
]
