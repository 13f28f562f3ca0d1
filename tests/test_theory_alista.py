"""What theory says of ALISTA holds on thousands of random instances, and is said of no more than it covers."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import pursuit
from helpers import COMPLEX, REAL, generator, normal, sparse, unit
from pursuit import theory


def hadamard(m: int) -> Tensor:
    H = torch.ones(1, 1, dtype=REAL)
    while len(H) < m:
        H = torch.cat([torch.cat([H, H], dim=-1), torch.cat([H, -H], dim=-1)])
    return H / math.sqrt(m)


def fourier(m: int) -> Tensor:
    return pursuit.SubsampledFourier(range(m), m).to_dense()


MATRICES = {
    "identity and Hadamard": lambda: torch.cat([torch.eye(64, dtype=REAL), hadamard(64)], dim=-1),
    "identity and Fourier": lambda: torch.cat([torch.eye(36, dtype=COMPLEX), fourier(36)], dim=-1),
    "rotated bases": lambda: (
        torch.linalg.qr(normal(0, 128, 128))[0] @ torch.cat([torch.eye(128, dtype=REAL), hadamard(128)], dim=-1)
    ),
    "nearly square": lambda: unit(normal(1, 100, 103)),
    "nearly square, complex": lambda: unit(normal(2, 100, 103, dtype=COMPLEX)),
    "in other units": lambda: unit(normal(1, 100, 103)) * (0.3 + normal(3, 103).abs()),
    "wide": lambda: unit(normal(4, 120, 240)),
    "wide, complex": lambda: unit(normal(5, 120, 240, dtype=COMPLEX)),
    "batch": lambda: unit(normal(6, 200, 20, 30)),
}
COUNT = 200  # signals per matrix, step size and sparsity
LAYERS = 8


def uniform(seed: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=generator(seed), dtype=REAL)


def signals(A: Tensor, s: int, *, seed: int = 0) -> Tensor:
    """Sparse ones whose magnitudes lie between 0.01 and 2."""
    x = sparse(seed, A.shape[-1], s, batch=(COUNT,), dtype=A.dtype)
    return x * 10 ** uniform(seed + 1, *x.shape, low=-2)


@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("name", MATRICES)
def test_large_enough_thresholds_allow_no_false_positives_and_the_error_stays_within_its_bound(name, s):
    A = MATRICES[name]()
    x = signals(A, s, seed=s)
    gamma = uniform(s, LAYERS, COUNT, low=0.1, high=1.5)
    oracle = theory.alista_bound(A, x, "oracle", gamma)
    assert (oracle.sparsity == s).all()
    # Thresholds around the least ones of another run: too small, right and too large ones.
    theta = oracle.theta * 10 ** uniform(s + 10, LAYERS, COUNT, low=-0.5, high=1.0)
    free = theory.alista_bound(A, x, theta, gamma)
    for result in (oracle, free):
        assert result.error.shape == (LAYERS, COUNT)
        assert not (result.condition & result.false_positive).any()
        assert (result.within | ~result.condition).all()
        assert torch.equal(result.error[:-1], result.error_before[1:])
        assert torch.equal(result.condition, (result.theta >= result.least_theta).cummin(0).values)
        assert (result.error <= result.bound * (1 + 1e-9) + 1e-9)[result.condition].all()
    assert oracle.condition.all()
    assert (oracle.error <= oracle.factor * oracle.error_before * (1 + 1e-9) + 1e-12).all()
    assert free.condition.any()
    assert not free.condition.all()


@pytest.mark.parametrize("name", MATRICES)
def test_the_bound_on_one_spike_is_nearly_reached(name):
    """From zero a spike's own entry is wrong by exactly `|1 - gamma| ||x|| + theta`, as (6) says."""
    A = MATRICES[name]()
    result = theory.alista_bound(A, signals(A, 1), "oracle", 0.9, layers=1)
    reached = result.error < result.error_before * (1 - 1e-9)  # else the threshold takes all
    assert reached.any()
    assert torch.allclose(result.error[reached], result.bound[reached])


@pytest.mark.parametrize("name", MATRICES)
def test_with_too_small_thresholds_the_condition_fails_and_false_positives_occur(name):
    A = MATRICES[name]()
    least = theory.alista_bound(A, signals(A, 2), "oracle", 1.0, layers=5).theta
    result = theory.alista_bound(A, signals(A, 2), 0.02 * least, 1.0)
    assert not result.condition.any()
    assert result.false_positive.any()
    none = theory.alista_bound(A, signals(A, 2), 0.0, 1.0, layers=3)
    assert none.false_positive.any(0).all()


def test_the_condition_is_on_the_error_before_the_step_and_a_smaller_constant_would_not_do():
    """Two spikes of the right signs reach `gamma mu ||x - x*||_1` off the support: just below it, a false positive."""
    A = torch.cat([torch.eye(16, dtype=REAL), hadamard(16)], dim=-1)
    x = torch.zeros(32, dtype=REAL)
    x[0], x[1] = 1.0, 1.0  # all entries of the first Hadamard vector are 1/4
    at = theory.alista_bound(A, x, 0.5, 1.0, layers=1, W=A)
    below = theory.alista_bound(A, x, 0.5 * (1 - 1e-9), 1.0, layers=1, W=A)
    assert at.least_theta.item() == 0.5
    assert (at.condition.item(), at.false_positive.item()) == (True, False)
    assert (below.condition.item(), below.false_positive.item()) == (False, True)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 1.2])
@pytest.mark.parametrize("name", ["identity and Hadamard", "identity and Fourier", "rotated bases"])
def test_alista_with_oracle_thresholds_converges_at_the_rate_of_the_contraction(name, gamma):
    A = MATRICES[name]()
    for s in (1, 2):
        mu = pursuit.generalized_coherence(pursuit.analytic_weights(A), A)
        assert gamma < theory.max_step(mu, s)
        rate = theory.contraction(mu, s, gamma)
        assert rate < 1
        x = signals(A, s)
        result = theory.alista_bound(A, x, "oracle", gamma, layers=12)
        assert torch.allclose(result.factor, rate.expand(12, COUNT))
        assert (result.error[-1] <= rate**12 * x.abs().sum(-1) * (1 + 1e-9) + 1e-12).all()


def test_the_contraction_is_one_exactly_on_the_range_of_step_sizes():
    mu, gamma = uniform(0, 4000, low=0, high=0.6), uniform(1, 4000, low=1e-3, high=2.5)
    s = torch.randint(1, 6, (4000,), generator=generator(2))
    inside = gamma < theory.max_step(mu, s)
    assert torch.equal(theory.contraction(mu, s, gamma) < 1, inside)
    assert 500 < inside.sum() < 3500
    end = theory.max_step(0.125, 2)
    assert theory.contraction(0.125, 2, end * (1 - 1e-12)) < 1 <= theory.contraction(0.125, 2, end * (1 + 1e-12))
    assert theory.max_step(0.125, 2) == pytest.approx(2 / (2 * 0.125 * 2 - 0.125 + 1))
    assert theory.max_step(0.0, 7) == 2
    assert theory.max_step(1 / 3, 2) == 0  # s < (1 + 1/mu) / 2 is strict
    assert theory.contraction(1 / 3, 2, 0.5) == 1


def test_the_forms_of_the_answers():
    assert isinstance(theory.max_step(0.1, 2), float)
    assert isinstance(theory.contraction(0.1, 2, 1.0), float)
    assert isinstance(theory.max_step(np.full(3, 0.1), 2), np.ndarray)
    assert theory.max_step(torch.tensor(0.1), 2).shape == ()
    assert theory.contraction(torch.full((2, 1), 0.1), [1, 2, 3], 1.0).shape == (2, 3)
    # No array is rounded to single precision on its way.
    assert theory.contraction(np.array([0.1]), 1, 0.7)[0] == theory.contraction(0.1, 1, 0.7)


# How sparse a signal must be


@pytest.mark.parametrize("power", [1, 2, 3, 4])
def test_sparsity_that_two_bases_allow(power):
    """`mu = 2^-p`: fewer than `(1 + 2^p) / 2` non-zeros, hence `2^(p-1)`."""
    A = torch.cat([torch.eye(4**power, dtype=REAL), hadamard(4**power)], dim=-1)
    assert theory.max_sparsity(A) == theory.max_sparsity(A, A) == 2 ** (power - 1)
    assert theory.max_step(2.0**-power, 2 ** (power - 1)) > 0
    assert theory.max_step(2.0**-power, 2 ** (power - 1) + 1) == 0


def test_the_limit_is_strict_and_rounding_promises_no_more():
    angle = math.acos(1 / 3)  # mu = 1/3, and s < 2
    A = torch.tensor([[1.0, math.cos(angle)], [0.0, math.sin(angle)]], dtype=REAL)
    assert theory.max_sparsity(A, A) == 1
    for seed in range(20):
        Q = torch.linalg.qr(normal(seed, 2, 2))[0]
        assert theory.max_sparsity(Q @ A, Q @ A) == 1
    assert theory.max_sparsity(A) == 2  # the inverse of A: nothing is coherent


def test_sparsity_without_coherence_and_with_too_much():
    assert theory.max_sparsity(torch.eye(5)) == 5
    assert theory.max_sparsity(torch.linalg.qr(normal(0, 30, 30))[0]) == 30
    assert theory.max_sparsity(normal(0, 9, 5)) == 5  # independent columns
    assert theory.max_sparsity(torch.ones(3, 1)) == 1
    twice = torch.cat([torch.eye(3), torch.eye(3)], dim=-1)
    assert theory.max_sparsity(twice) == 0  # mu = 1
    assert theory.max_sparsity(torch.eye(5).numpy()).dtype == np.int64


def test_sparsity_of_a_batch_and_of_operators():
    A = torch.stack([unit(normal(0, 64, 70)), torch.cat([torch.eye(64, dtype=REAL), hadamard(64)[:, :6]], dim=-1)])
    each = [theory.max_sparsity(matrix) for matrix in A]
    assert theory.max_sparsity(A).tolist() == each
    assert each[1] > each[0] >= 1
    op = pursuit.SubsampledFourier(range(1, 64), 64)
    assert theory.max_sparsity(op) == theory.max_sparsity(op.to_dense()) == 31  # mu = 1/63: s < 32
    blur = pursuit.Convolution(torch.tensor([0.2, 1.0, 0.2], dtype=REAL), 30)
    assert theory.max_sparsity(blur) == 30  # it can be inverted
    result = theory.alista_bound(blur, signals(blur.to_dense(), 3), "oracle", 1.0, layers=2)
    assert (result.error[-1] < 1e-12).all()


# What ALISTA is run on


def test_one_signal_a_batch_and_a_grid_agree():
    A = MATRICES["identity and Hadamard"]()
    x = signals(A, 2)[:6]
    theta, gamma = uniform(0, 4, 6, low=0.01, high=0.1), uniform(1, 4, 6, low=0.5, high=1.2)
    together = theory.alista_bound(A, x, theta, gamma)
    grid = theory.alista_bound(A, x.reshape(2, 3, -1), theta.reshape(4, 2, 3), gamma.reshape(4, 2, 3))
    for name, value in together._asdict().items():
        one = getattr(theory.alista_bound(A, x[4], theta[:, 4], gamma[:, 4]), name)
        layered = value.ndim == 2
        assert torch.allclose(value[:, 4] if layered else value[4], one), name
        assert torch.equal(getattr(grid, name).flatten(-2), value), name


def test_each_signal_may_have_its_matrix():
    A = MATRICES["batch"]()[:3]
    x = sparse(0, 30, 1, batch=(3,))
    together = theory.alista_bound(A, x, "oracle", 1.0, layers=3)
    shared = theory.alista_bound(A, x[0], "oracle", 1.0, layers=3)
    assert shared.error.shape == (3, 3)
    for i in range(3):
        alone = theory.alista_bound(A[i], x[i], "oracle", 1.0, layers=3)
        for name, value in together._asdict().items():
            assert torch.allclose(value[..., i], getattr(alone, name)), name


def test_numpy_lists_and_numbers():
    A = MATRICES["identity and Hadamard"]()
    x = signals(A, 2)
    tensors = theory.alista_bound(A, x, [0.3, 0.2, 0.1], 1.0)
    arrays = theory.alista_bound(A.numpy(), x.numpy(), np.array([0.3, 0.2, 0.1]), [1.0, 1.0, 1.0], layers=3)
    for ours, theirs in zip(tensors, arrays, strict=True):
        assert isinstance(theirs, np.ndarray)
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=str)
def test_single_precision(dtype):
    A = torch.cat([torch.eye(36), fourier(36) if dtype.is_complex else hadamard(64)[:36, :36]], dim=-1).to(dtype)
    result = theory.alista_bound(A, signals(A, 2).to(dtype), "oracle", 1.0, layers=8)
    assert result.error.dtype == torch.float32
    assert result.condition.all()
    assert result.within.all()
    assert not result.false_positive.any()


def test_real_and_complex_may_be_mixed():
    A, x = MATRICES["identity and Hadamard"](), signals(MATRICES["identity and Fourier"](), 2)
    x = torch.nn.functional.pad(x, (0, A.shape[1] - x.shape[1]))
    of_both = theory.alista_bound(A, x, "oracle", 1.0, layers=3)
    of_complex = theory.alista_bound(A.to(COMPLEX), x, "oracle", 1.0, layers=3)
    assert torch.allclose(of_both.error, of_complex.error)
    assert not of_both.false_positive.any()
    B, real = MATRICES["identity and Fourier"](), sparse(0, 72, 2, batch=(5,))
    assert not theory.alista_bound(B, real, "oracle", 1.0, layers=3).false_positive.any()


def test_zero_signals_and_no_signals():
    A = MATRICES["identity and Hadamard"]()
    zero = theory.alista_bound(A, torch.zeros(128, dtype=REAL), "oracle", 1.0, layers=2)
    assert (zero.error == 0).all()
    assert zero.condition.all()
    assert zero.within.all()
    assert not zero.false_positive.any()
    assert theory.alista_bound(A, torch.zeros(0, 128, dtype=REAL), "oracle", 1.0, layers=2).error.shape == (2, 0)


def test_given_weights_are_used():
    A = MATRICES["wide"]()
    x = signals(A, 2)
    ours, plain = (theory.alista_bound(A, x, "oracle", 1.0, W, layers=2) for W in (None, A))
    assert torch.allclose(plain.mu, theory.coherence(A))
    assert (ours.mu < plain.mu).all()


# What cannot be answered

EYE, ONE = torch.eye(3), torch.tensor([0.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: theory.max_sparsity(EYE, 2 * EYE), ValueError, "w_i^H a_i is 2"),
        (lambda: theory.max_sparsity(EYE[:, :2], EYE), ValueError, "W has shape (3, 3)"),
        (lambda: theory.max_sparsity(0 * EYE), ValueError, "columns that are zero"),
        (lambda: theory.max_step(-0.1, 2), ValueError, "mu is -0.1"),
        (lambda: theory.max_step(0.1, 0), ValueError, "s is 0; needed is >= 1"),
        (lambda: theory.max_step(0.1, 1.5), TypeError, "s is 1.5"),
        (lambda: theory.max_step(torch.ones(2), torch.ones(3).long()), ValueError, "mu, s and gamma have shapes"),
        (lambda: theory.contraction(0.1, 2, 0.0), ValueError, "gamma is 0.0; needed is a finite number > 0"),
        (lambda: theory.contraction(0.1, 2, "large"), TypeError, "gamma is 'large'"),
        (lambda: theory.alista_bound(EYE, ONE, 0.1, 1.0), ValueError, "pass layers="),
        (lambda: theory.alista_bound(EYE, ONE, "oracle", 1.0), ValueError, "pass layers="),
        (lambda: theory.alista_bound(EYE, ONE, "orakle", [1.0]), ValueError, "theta is 'orakle'"),
        (lambda: theory.alista_bound(EYE, ONE, [0.1], [1.0, 1.0]), ValueError, "are for [1, 2] layers"),
        (lambda: theory.alista_bound(EYE, ONE, [], 1.0), ValueError, "at least one layer"),
        (lambda: theory.alista_bound(EYE, ONE, 0.1, 1.0, layers=0), ValueError, "layers is 0"),
        (lambda: theory.alista_bound(EYE, ONE, [-0.1], 1.0), ValueError, "theta is -0.1"),
        (lambda: theory.alista_bound(EYE, ONE, [math.nan], 1.0), ValueError, "theta is nan"),
        (lambda: theory.alista_bound(EYE, ONE, [0.1], 0.0), ValueError, "gamma has entries that are zero"),
        (lambda: theory.alista_bound(EYE, ONE, torch.ones(2, 4), 1.0), ValueError, "theta has shape (2, 4)"),
        (lambda: theory.alista_bound(EYE, ONE[:2], [0.1], 1.0), ValueError, "x has shape (2,) but A has n=3 columns"),
        (lambda: theory.alista_bound(EYE, ONE / 0, [0.1], 1.0), ValueError, "x has 3 entries that are NaN"),
        (lambda: theory.alista_bound(EYE, ONE.double(), [0.1], 1.0), TypeError, "use one precision"),
        (
            lambda: theory.alista_bound(EYE.expand(2, 3, 3), ONE.expand(4, 3), [0.1], 1.0),
            ValueError,
            "A has batch (2,)",
        ),
        (lambda: theory.alista_bound(EYE, ONE, [0.1], 1.0, 3 * EYE), ValueError, "w_i^H a_i is 3"),
    ],
)
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
