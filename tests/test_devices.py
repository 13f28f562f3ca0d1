"""Results lie where the input lies: with another default device, what forgets to say where it is made stands out."""

from itertools import product

import numpy as np
import pytest
import scipy.sparse
import torch

import pursuit
from helpers import REAL, SINGLE, WITHOUT_START, deconvolution, fourier, gaussian, instance, normal, recover
from pursuit import datasets, problems
from pursuit.solvers.given import measured
from pursuit.theory.common import fits

pytestmark = pytest.mark.usefixtures("rough_lasso")
MATRIX = gaussian(m=20, n=30)
OPERATORS = {
    "dense": lambda: MATRIX,
    "one per item": lambda: MATRIX.expand(4, 20, 30),
    "fourier": lambda: fourier(m=20, n=30),
    "convolution": lambda: deconvolution(n=30),
    "composed": lambda: pursuit.Compose(
        pursuit.Dense(MATRIX), pursuit.ColumnScaled(deconvolution(n=30), 2 + MATRIX[0])
    ),
    "images": lambda: pursuit.Compose(
        pursuit.Restriction(range(0, 30, 2), (5, 6)), pursuit.DCT((5, 6)).H, pursuit.Diagonal(2 + MATRIX[0])
    ),
    "coils": lambda: pursuit.Compose(
        pursuit.Sense(fourier(m=5, n=32), normal(0, 3, 32, dtype=torch.complex128)),
        pursuit.Wavelet((4, 8), "haar", dtype=torch.complex128).H,
    ),
    "stacks": lambda: pursuit.HStack(pursuit.VStack(pursuit.Dense(MATRIX), pursuit.DCT(30)), pursuit.DCT(50)),
    "triple": lambda: (lambda x: x @ MATRIX.T, lambda y: y @ MATRIX, (20, 30)),
    "sparse": lambda: scipy.sparse.csr_array(np.asarray(MATRIX)),
}


@pytest.mark.parametrize(("form", "name"), [*product(OPERATORS, SINGLE), ("dense", "sea_plus")])
def test_nothing_is_made_on_the_default_device(form, name):
    case = instance(OPERATORS[form](), 3, batch=(4,), noise=0.1)
    start = {} if name in (*WITHOUT_START, "greedy_lasso") else {"x0": case.x}
    options = {"tol": 1e-3, "max_steps": 4, **start}
    wanted = recover(name, case.A, case.y, 3, **options)
    with torch.device("meta"):  # its tensors mix with none that have values
        found = recover(name, case.A, case.y, 3, **options)
    assert torch.equal(found.x, wanted.x)
    assert {v.device.type for v in vars(found).values() if isinstance(v, torch.Tensor)} == {"cpu"}


@pytest.mark.parametrize("make", [problems.gaussian, problems.fourier, problems.deconvolution, datasets.ecg])
def test_instances_do_not_depend_on_the_default_device(make):
    wanted = make()
    with torch.device("meta"):
        found = make()
    assert torch.equal(found.y, wanted.y)
    assert torch.equal(found.x, wanted.x)


class Doubling(pursuit.Operator):
    """A user's operator, whose device is named in another way than tensors name it."""

    shape, dtype, device = (20, 30), torch.float64, torch.device("meta", 0)

    def forward(self, x):
        return x @ MATRIX.T.to(x.device)

    def adjoint(self, y):
        return y @ MATRIX.to(y.device)


def test_a_device_has_more_names_than_one():
    """As "cuda" is "cuda:0" to its tensors, "meta:0" is "meta"."""
    given = pursuit.FunctionOperator(lambda x: x, lambda y: y, (30, 30), device="meta:0")
    assert given.device == torch.empty(0, device="meta:0").device
    y, x = torch.empty(20, dtype=REAL, device="meta"), torch.empty(30, dtype=REAL, device="meta")
    fits(Doubling(), x)
    pursuit.Compose(Doubling(), given)
    with pytest.raises(ValueError, match="A is on meta:0 and y on cpu"):
        measured(Doubling(), y.new_zeros(20, device="cpu"))
    with pytest.raises(TypeError, match="y is a meta tensor"):  # it has no values to check further
        measured(Doubling(), y)
