"""Guarantees for your data: is `tau` small enough, is the threshold large enough, is `A` incoherent enough?

The statements are those of "Deep greedy unfolding" (arXiv 2505.15661, Prop. 3.3 and Thm 3.6), with constants that are
proven here, in the comments, those of "Neurally augmented ALISTA" (ICLR 2021, section 3), and the recovery theorem of
the Support Exploration Algorithm (ICML 2024). They hold in exact arithmetic, that is up to rounding errors of some
`eps ||x||`.
"""

from .alista import AlistaBound, alista_bound, contraction, max_sparsity, max_step
from .greedy import Bound, soft_iht_bound, soft_omp_bound
from .matrices import Isometry, coherence, restricted_isometry, rip_constant
from .sea import SeaBound, sea_bound
from .sorting import GapBound, gap_bound, min_gap, softsort_lipschitz, tau_for

__all__ = [
    "AlistaBound",
    "Bound",
    "GapBound",
    "Isometry",
    "SeaBound",
    "alista_bound",
    "coherence",
    "contraction",
    "gap_bound",
    "max_sparsity",
    "max_step",
    "min_gap",
    "restricted_isometry",
    "rip_constant",
    "sea_bound",
    "soft_iht_bound",
    "soft_omp_bound",
    "softsort_lipschitz",
    "tau_for",
]
