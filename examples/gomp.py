"""Generalised OMP: the S best atoms at each step, then least squares on all that were chosen.

J. Wang, S. Kwon, B. Shim, "Generalized orthogonal matching pursuit", IEEE Trans. Signal Processing 60(12), 2012. Here k
counts atoms, in the paper steps: its K steps of S atoms are k = K S.
"""

from typing import Any, NamedTuple

from torch import Tensor

import pursuit


class State(NamedTuple):
    """Signal x, residual r, and the atoms chosen."""

    x: Tensor
    r: Tensor
    atoms: Any


def init(A, y, choice):
    """Nothing is chosen, x = 0 and r = y."""
    n = A.shape[1]
    return State(y.new_zeros(*y.shape[:-1], n), y, choice.empty(y, n))


def step(A, y, s, *, choice, S=2):
    """Generalised orthogonal matching pursuit, S atoms at a time."""
    c = A.adjoint(s.r)  # correlate
    atoms = choice.extend(s.atoms, c, S)  # identify: add the S largest |a_i^H r|
    z, r = pursuit.fit(A, y, atoms)  # estimate: z = argmin ||y - A_atoms z||, r what it leaves
    return State(atoms.embed(z), r, atoms)


gomp = pursuit.make_solver(init, step, name="gomp")
