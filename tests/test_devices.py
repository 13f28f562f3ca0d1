"""Results lie where the input lies: with another default device, what forgets to say where it is made stands out."""

import numpy as np
import pytest
import scipy.sparse
import torch

import pursuit
from helpers import SOLVERS, deconvolution, fourier, gaussian, instance, recover
from pursuit import datasets, problems

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
    "triple": lambda: (lambda x: x @ MATRIX.T, lambda y: y @ MATRIX, (20, 30)),
    "sparse": lambda: scipy.sparse.csr_array(np.asarray(MATRIX)),
}


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("form", OPERATORS)
def test_nothing_is_made_on_the_default_device(form, name):
    case = instance(OPERATORS[form](), 3, batch=(4,), noise=0.1)
    options = {"tol": 1e-3, "max_steps": 4, **({} if name in ("omp", "greedy_lasso") else {"x0": case.x})}
    wanted = recover(name, case.A, case.y, 3, **options)
    with torch.device("meta"):  # its tensors mix with none that have values
        found = recover(name, case.A, case.y, 3, **options)
    assert torch.equal(found.x, wanted.x)
    assert {value.device.type for value in vars(found).values()} == {"cpu"}


@pytest.mark.parametrize("make", [problems.gaussian, problems.fourier, problems.deconvolution, datasets.ecg])
def test_instances_do_not_depend_on_the_default_device(make):
    wanted = make()
    with torch.device("meta"):
        found = make()
    assert torch.equal(found.y, wanted.y)
    assert torch.equal(found.x, wanted.x)
