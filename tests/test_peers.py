"""Other packages' solvers give what they should, where they are installed."""

import numpy as np
import pytest

import pursuit
from helpers import REAL, gaussian, instance
from pursuit import peers, problems


def installed(name):
    if name not in peers.available():
        pytest.skip(f"{name} is not installed: pip install 'pursuit[peers]'")
    return peers.peer(name)


def test_the_tests_have_one_peer_at_least():
    assert "sklearn-omp" in peers.available()


@pytest.mark.parametrize("name", peers.PEERS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_easy_signals_are_found_at_any_scale(name, scale):
    recover = installed(name)
    case = instance(gaussian(m=40, n=60), 4, batch=(3,))
    for y, x in zip(case.y.numpy(), case.x.numpy(), strict=True):
        found = recover(case.A.numpy(), scale * y, 4)
        assert found.shape == x.shape
        np.testing.assert_allclose(found, scale * x, atol=1e-6 * scale)


@pytest.mark.parametrize("name", peers.PEERS)
def test_what_is_given_back_is_the_fit_on_k_columns(name):
    recover = installed(name)
    case = problems.deconvolution(n=100, k=6, signals=2, snr=20.0)
    A = case.A.to_dense().numpy()
    for y in case.y.numpy():
        x = recover(A, y, 6)
        on = np.flatnonzero(x)
        assert len(on) == 6
        np.testing.assert_allclose(x[on], np.linalg.lstsq(A[:, on], y, rcond=None)[0], rtol=1e-5, atol=1e-5)


def test_scikit_learns_omp_is_ours():
    recover = installed("sklearn-omp")
    case = instance(gaussian(REAL, m=30, n=50), 5, batch=(3,), noise=0.1)
    ours = pursuit.omp(case.A, case.y, 5).x.numpy()
    theirs = np.stack([recover(case.A, y, 5) for y in case.y])
    np.testing.assert_allclose(theirs, ours, atol=1e-10)


EYE, ONES = np.eye(3), np.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: peers.peer("spams"), ValueError, "choose one of sklearn-omp, abess, skscope"),
        (lambda: peers.sklearn_omp(EYE, np.ones((2, 3)), 1), ValueError, "one signal at a time"),
        (lambda: peers.sklearn_omp(EYE * 1j, ONES, 1), TypeError, "needed are real numbers"),
        (lambda: peers.sklearn_omp(EYE, ONES, 4), ValueError, "k is 4"),
        (lambda: peers.sklearn_omp(EYE, 0 * ONES, 1), ValueError, "y is zero"),
    ],
)
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)


def test_an_absent_package_is_named(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda package: None)
    assert peers.available() == ()
    with pytest.raises(ValueError, match="needs the package abess"):
        peers.peer("abess")
