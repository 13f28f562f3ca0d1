"""What a type checker knows of a solution: tensors for tensors, NumPy arrays for all else. `make lint` reads this."""

from typing import Any, assert_type

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import pursuit

A = np.eye(2)
assert_type(pursuit.omp(A, np.ones(2), 1).x, NDArray[Any])
assert_type(pursuit.omp(A, [1.0, 2.0], 1).check().support, NDArray[Any])
assert_type(pursuit.omp(torch.eye(2), torch.ones(2), 1).x, Tensor)
assert_type(pursuit.fista(torch.eye(2), torch.ones(2), 0.1).coefficients, Tensor)
assert_type(pursuit.solve(A, np.ones(2), "omp", k=1), pursuit.Solution[NDArray[Any]])
assert_type(pursuit.path(torch.eye(2), torch.ones(2), [1, 2]).residual_norm, Tensor)
pursuit.omp(pursuit.as_operator(A), np.ones(2), 1)
pursuit.omp((lambda x: x, lambda y: y, (2, 2)), torch.ones(2, dtype=torch.float64), 1)
