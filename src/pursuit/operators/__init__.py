"""Sensing operators: linear maps given by `forward`, `adjoint` and `columns`. A dense matrix is one of them."""

from .base import DTYPES, PROBES, ColumnScaled, Complexified, Operator, check_dtype, gather_last, give
from .combined import Compose, Diagonal
from .convolution import Convolution
from .cosine import DCT
from .dense import Dense
from .fourier import SubsampledFourier
from .sampling import Restriction
from .sense import Sense
from .spectral import spectral_norm_squared
from .stacked import BlockDiag, HStack, VStack
from .wavelets import Wavelet

__all__ = [
    "DCT",
    "DTYPES",
    "PROBES",
    "BlockDiag",
    "ColumnScaled",
    "Complexified",
    "Compose",
    "Convolution",
    "Dense",
    "Diagonal",
    "HStack",
    "Operator",
    "Restriction",
    "Sense",
    "SubsampledFourier",
    "VStack",
    "Wavelet",
    "check_dtype",
    "gather_last",
    "give",
    "spectral_norm_squared",
]
