"""The plain inverse: it inverts what can be inverted, truncates by the noise level, and refuses what is too large."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import pursuit
from helpers import COMPLEX, REAL, deconvolution, instance, normal, unnormalised
from pursuit import Status, metrics, problems
from pursuit.operators.svd import svd
from pursuit.solvers import inverse


@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
@pytest.mark.parametrize("n", [14, 15])
def test_the_decomposition_is_that_of_the_operator(n, dtype):
    blur = deconvolution(dtype, n=n, sigma=1.0)
    for A in (blur, pursuit.as_operator(blur).normalised(), pursuit.as_operator(unnormalised(dtype, m=8, n=n))):
        U, s, V = svd(A)
        right = V.to_dense()
        assert_close(U.H.forward((s.unsqueeze(-1) * right).mT.to(dtype)).mT, A.to_dense())
        assert pursuit.adjoint_gap(V) < 1e-12
        want = torch.linalg.svdvals(A.to_dense())
        got = s.sort(descending=True).values  # of a blur that is real, each frequency counts twice
        assert_close(torch.stack([got.amax(), got[got > 0].amin()]), torch.stack([want.amax(), want.amin()]))


@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
def test_it_is_least_squares_on_the_largest_entries_of_the_pseudo_inverse(dtype):
    A, y = unnormalised(dtype, m=20, n=12), normal(1, 3, 20, dtype=dtype)
    sol = pursuit.inverse(A, y, 4)
    unit = A / A.norm(dim=0)
    z = torch.linalg.lstsq(unit, y.mT).solution.mT
    for i in range(3):
        S = z[i].abs().argsort(descending=True)[:4]
        assert sol.support[i].tolist() == S.tolist()
        assert_close(sol.coefficients[i], torch.linalg.lstsq(A[:, S], y[i].unsqueeze(-1)).solution.squeeze(-1))
    assert set(sol.status.tolist()) == {Status.SPARSITY}


def test_deconvolution_without_noise_is_no_hard_problem():
    """The blur has condition 1e11, of which double precision leaves five digits."""
    case = problems.deconvolution(n=500, k=50, signals=5, seed=2)
    assert metrics.support_distance(pursuit.inverse(case.A, case.y, 50).x, case.x, 50).max() == 0
    assert metrics.support_distance(pursuit.inverse(case.A.to_dense(), case.y, 50).x, case.x, 50).max() == 0


def test_a_noise_level_truncates():
    case = problems.deconvolution(n=300, k=5, signals=10, seed=2, snr=40)
    noise = (case.y - case.A.forward(case.x)).norm(dim=-1)
    missed = {
        eps: metrics.support_distance(pursuit.inverse(case.A, case.y, 5, eps=level).x, case.x, 5).mean()
        for eps, level in (("none", None), ("noise", noise))
    }
    assert missed["noise"] < 0.6 < 0.9 < missed["none"]
    p = instance(unnormalised(m=10, n=10), 10, noise=0.1)
    U, s, Vh = np.linalg.svd((p.A / p.A.norm(dim=0)).numpy())
    left = [np.linalg.norm((U.T @ p.y.numpy())[count:]) for count in range(11)]
    x = pursuit.inverse(p.A, p.y, 10, eps=(left[4] + left[3]) / 2, on_step=(steps := []).append).x
    z = inverse.truncated(svd(pursuit.as_operator(p.A).normalised()), p.y, torch.tensor((left[4] + left[3]) / 2))
    assert_close(z.numpy(), Vh[:4].T @ ((U.T @ p.y.numpy())[:4] / s[:4]))
    assert len(steps) == 1
    assert x.isfinite().all()


def test_shapes_arrays_and_what_cannot_be_done(monkeypatch):
    A, y = unnormalised(m=8, n=8).numpy(), normal(0, 2, 3, 8).numpy()
    sol = pursuit.inverse(A, y, [[1, 2, 3], [4, 5, 0]], weights=[0.0] + 7 * [1.0])
    assert isinstance(sol.x, np.ndarray)
    assert sol.x.shape == (2, 3, 8)
    assert (sol.x != 0).sum(-1).tolist() == [[1, 2, 3], [4, 5, 0]]
    assert (sol.x[..., 0] == 0).all()
    alone = pursuit.inverse(A, y[1, 0], 4, weights=[0.0] + 7 * [1.0])
    np.testing.assert_allclose(alone.x, sol.x[1, 0], atol=1e-12)
    assert not pursuit.inverse(A, np.zeros(8), 3).x.any()
    assert pursuit.inverse(A, y[:0, 0], 3).x.shape == (0, 8)
    leaf = torch.tensor(y[0, 0], requires_grad=True)
    pursuit.inverse(torch.tensor(A), leaf, 3).x.sum().backward()
    assert leaf.grad.isfinite().all()
    assert math.isfinite(leaf.grad.norm())
    monkeypatch.setattr("pursuit.operators.svd.MOST", 100)
    with pytest.raises(ValueError, match="A is 8 x 8, which takes too long to decompose"):
        pursuit.inverse(A, y[0], 3)
