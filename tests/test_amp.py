"""AMP: against a plain loop, against its own theory, and on matrices that it is not for."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.testing import assert_close

import pursuit
import reference
from helpers import COMPLEX, DTYPES, REAL, deconvolution, fourier, gaussian, instance, normal, sparse, unnormalised
from pursuit import Status, nets
from pursuit.solvers.amp import minimax, soft_threshold

FIELDS = [pytest.param(REAL, id="real"), pytest.param(COMPLEX, id="complex")]
BG = {"denoiser": "bernoulli-gaussian", "variance": 1.7}


def random_signals(dtype=REAL, *, m=200, n=400, k=40, batch=(8,), noise=0.0, seed=0):
    """Gaussian values at k places, measured by a Gaussian matrix of unit columns."""
    A = gaussian(dtype, m=m, n=n, seed=seed)
    x = normal(seed + 1, *batch, n, dtype=dtype) * (sparse(seed + 2, n, k, batch=batch) != 0)
    return A, x, x @ A.mT + noise * normal(seed + 3, *batch, m, dtype=dtype)


def nmse_db(x, wanted):
    return pursuit.metrics.nmse_db(x, wanted)


def thresholded(alpha, z, tau2):
    theta = alpha * math.sqrt(tau2)
    return reference.soft(z, theta), reference.soft_slope(z, theta)


# ---- the algorithm -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damping", [1.0, 0.6])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("dtype", FIELDS)
def test_soft_follows_a_plain_loop(dtype, warm, damping):
    A, x, y = random_signals(dtype, m=40, n=80, k=8, batch=(), noise=0.05)
    start = x + 0.1 * normal(5, 80, dtype=dtype) if warm else torch.zeros_like(x)
    seen = []
    pursuit.amp(A, y, 8, damping=damping, max_steps=12, x0=start if warm else None, on_step=seen.append)
    alpha = minimax(torch.tensor(0.1), cplx=dtype.is_complex).item()
    plain = reference.amp(A.numpy(), y.numpy(), partial(thresholded, alpha), start.numpy(), damping)
    for got, wanted in zip(seen, itertools.islice(plain, 12), strict=True):
        np.testing.assert_allclose(got.x, wanted, atol=1e-10)
        assert_close(got.residual_norm, torch.linalg.vector_norm(y - A @ got.x))


@pytest.mark.parametrize("dtype", FIELDS)
def test_bernoulli_gaussian_follows_a_plain_loop(dtype):
    A, x, y = random_signals(dtype, m=40, n=80, k=8, batch=(), noise=0.2)
    seen = []
    pursuit.amp(A, y, 8, **BG, max_steps=6, on_step=seen.append)
    denoise = partial(reference.posterior_mean, share=0.1, v=1.7)
    plain = reference.amp(A.numpy(), y.numpy(), denoise, np.zeros_like(x.numpy()))
    for got, wanted in zip(seen, itertools.islice(plain, 6), strict=True):
        np.testing.assert_allclose(got.x, wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", FIELDS)
def test_bernoulli_gaussian_is_the_untrained_network(dtype):
    """One text: LAMP's layers are its steps."""
    A, _, y = random_signals(dtype, m=40, n=80, k=8, noise=0.1)
    net = nets.LAMP(A, layers=7, sparsity=8, retry_steps=0).double()
    sol = pursuit.amp(A, y, 8, denoiser="bernoulli-gaussian", variance=1.0, max_steps=7)
    assert_close(sol.x, net(y).detach(), rtol=1e-6, atol=1e-6)  # the network's numbers were single


@pytest.mark.parametrize("cplx", [False, True])
@pytest.mark.parametrize("share", [0.001, 0.05, 0.2, 0.6])
def test_the_threshold_is_the_minimax_one(share, cplx):
    found = minimax(torch.tensor([share], dtype=REAL), cplx=cplx).item()
    assert abs(found - reference.minimax(share, cplx)) < 1e-3


def test_the_slope_is_that_of_the_threshold():
    alpha, tau2 = torch.tensor([1.3], dtype=REAL), torch.tensor([0.4], dtype=REAL)
    for dtype in (REAL, COMPLEX):
        z = normal(0, 50, dtype=dtype)
        h = 1e-6
        plus, minus = (soft_threshold(z + s * h, tau2, alpha=alpha)[0] for s in (1, -1))
        wanted = (plus - minus) / (2 * h)
        if dtype == COMPLEX:
            plus, minus = (soft_threshold(z + 1j * s * h, tau2, alpha=alpha)[0] for s in (1, -1))
            wanted = ((wanted - 1j * (plus - minus) / (2 * h)) / 2).real
        assert_close(soft_threshold(z, tau2, alpha=alpha)[1], wanted, rtol=1e-5, atol=1e-8)


# ---- its theory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_recovers_gaussian_signals(dtype):
    """m = n / 2, k = n / 10."""
    A, x, y = random_signals(dtype)
    exact = -100 if dtype in (torch.float32, torch.complex64) else -250
    for options in ({}, BG | {"variance": 1.0}):
        sol = pursuit.amp(A, y, 40, **options)
        assert nmse_db(sol.x, x) < exact
        assert {Status(code) for code in sol.status.tolist()} <= {Status.TOLERANCE, Status.STATIONARY}
        assert sol.steps.max() < 250


def expected_mse(tau, alpha, share):
    """Of the soft threshold at alpha tau, for entries that are standard normal with a probability, else zero.

    The integral of E (soft(z) - x)^2 over z, normal of variance 1 + tau^2 or tau^2, with x the posterior's.
    """
    z = np.linspace(-12, 12, 200_001)
    shrunk = np.sign(z) * np.maximum(np.abs(z) - alpha * tau, 0)
    total = 1 + tau**2
    on = norm.pdf(z, scale=math.sqrt(total)) * ((shrunk - z / total) ** 2 + tau**2 / total)
    off = norm.pdf(z, scale=tau) * shrunk**2
    return np.trapezoid(share * on + (1 - share) * off, z)


def test_its_error_is_that_of_state_evolution():
    n, m, share, noise = 2000, 1000, 0.1, 0.05
    A, x, y = random_signals(m=m, n=n, k=200, batch=(40,), noise=noise)
    seen = []
    pursuit.amp(A, y, 200, max_steps=10, on_step=lambda s: seen.append((s.x - x).square().mean().item()))
    alpha = minimax(torch.tensor(share), cplx=False).item()
    mse, wanted = share, []
    for _ in range(10):
        tau = math.sqrt(noise**2 + n / m * mse)
        mse = expected_mse(tau, alpha, share)
        wanted.append(mse)
    np.testing.assert_allclose(seen, wanted, rtol=0.05)
    assert wanted[-1] < 0.1 * wanted[0]


def test_the_right_prior_is_better_than_none():
    A, x, y = random_signals(noise=0.03)
    plain, told = (pursuit.amp(A, y, 40, **options).x for options in ({}, BG | {"variance": 1.0}))
    assert nmse_db(told, x) < nmse_db(plain, x) - 4


# ---- what every solver promises ------------------------------------------------------------------------------------

OPTIONS = {"soft": {}, "prior": BG}


@pytest.mark.parametrize("options", OPTIONS)
def test_it_passes_the_checks_of_solvers(options):
    # Its support may have more than k places, and a prior has a size of its own.
    skip = {"shapes", "k per signal"} | ({"scale of y", "column norms", "tol"} if options == "prior" else set())
    pursuit.testing.check_solver(pursuit.amp, skip=skip, damping=0.5, **OPTIONS[options])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", FIELDS)
def test_each_signal_has_its_own_numbers(dtype, options):
    A, _, y = random_signals(dtype, m=40, n=80, k=8, batch=(2, 2), noise=0.05)
    own = {
        "soft": {"alpha": [[1.0, 1.2], [1.5, 2.0]]},
        "prior": {"denoiser": BG["denoiser"], "variance": [[1, 2], [3, 4.0]]},
    }
    given = {
        "damping": [[1.0, 0.9], [0.5, 0.8]],
        "tol": [[0.0, 0.1], [0.3, 0.0]],
        "max_steps": [[5, 9], [9, 3]],
        **own[options],
    }
    k = np.array([[4, 8], [10, 2]])
    together = pursuit.amp(A, y, k, **given)
    for i, j in itertools.product(range(2), repeat=2):
        each = {name: value if isinstance(value, str) else np.array(value)[i, j] for name, value in given.items()}
        alone = pursuit.amp(A, y[i, j], int(k[i, j]), **each)
        assert_close(together.x[i, j], alone.x)
        assert (together.steps[i, j], together.status[i, j]) == (alone.steps, alone.status)


def test_a_batch_of_matrices_and_an_empty_batch():
    A, y = torch.stack([gaussian(seed=seed) for seed in range(3)]), normal(1, 3, 36)
    for options in OPTIONS.values():
        together = pursuit.amp(A, y, 3, max_steps=8, **options)
        for i in range(3):
            assert_close(together.x[i], pursuit.amp(A[i], y[i], 3, max_steps=8, **options).x)
        assert pursuit.amp(A[0], y[:0], 3, **options).x.shape == (0, 48)


@pytest.mark.parametrize("op", [fourier(), deconvolution(), deconvolution(COMPLEX)])
@pytest.mark.parametrize("options", OPTIONS)
def test_implicit_operators_give_what_their_matrices_give(op, options):
    p = instance(op, 3, batch=(2,), noise=0.1)
    few = {"max_steps": 5, **OPTIONS[options]}
    assert_close(pursuit.amp(op, p.y, 3, **few).x, pursuit.amp(p.dense, p.y, 3, **few).x)


@pytest.mark.parametrize("options", OPTIONS)
def test_columns_of_any_norm(options):
    """The prior is of the caller's coefficients, the threshold of unit columns."""
    A, x, y = random_signals(noise=0.02)
    D = 3 ** (2 * torch.rand(400, dtype=REAL, generator=torch.Generator().manual_seed(1)) - 1)
    if options == "soft":
        assert_close(D * pursuit.amp(A * D, y, 40, max_steps=20).x, pursuit.amp(A, y, 40, max_steps=20).x)
        return
    for c in (1e-3, 1.0, 1e4):
        sol = pursuit.amp(A * c, y, 40, denoiser="bernoulli-gaussian", variance=1 / c**2)
        assert_close(c * sol.x, pursuit.amp(A, y, 40, denoiser="bernoulli-gaussian", variance=1.0).x)
    x = x / D  # in the caller's units the non-zeros are of unlike size
    y = (D * (D * x)) @ A.mT
    sol = pursuit.amp(A * D, y, 40, denoiser="bernoulli-gaussian", variance=1.0)
    assert nmse_db(sol.x, D * x) < -200


def test_columns_of_zeros_stay_zero():
    A, y = gaussian() * (torch.arange(48) % 5 > 0), normal(0, 3, 36)
    for options in OPTIONS.values():
        x = pursuit.amp(A, y, 3, max_steps=9, **options).x
        assert x.isfinite().all()
        assert not x[:, ::5].any()


@pytest.mark.parametrize("dtype", FIELDS)
def test_a_denoiser_of_one_s_own(dtype):
    """In the caller's units: what is known of the signal is known there."""
    A, x, y = random_signals(dtype, noise=0.01)
    D = torch.logspace(-1, 1, 400, dtype=REAL)

    def within(z, tau2):
        assert z.shape == tau2.shape == (8, 400)
        assert (tau2 > 0).all()
        size = z.abs()
        kept = (size > 2 * tau2.sqrt()) & (x != 0)
        return torch.where(kept, z, 0), kept.to(tau2)

    sol = pursuit.amp(A * D, y, denoiser=within, tol=1e-2)
    assert nmse_db(D * sol.x, x) < -25
    soft = partial(soft_threshold, alpha=minimax(torch.tensor(0.1), cplx=dtype.is_complex))
    assert_close(pursuit.amp(A, y, denoiser=soft, max_steps=9).x, pursuit.amp(A, y, 40, max_steps=9).x)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", FIELDS)
def test_derivatives_are_right(dtype, options):
    A, _, y = random_signals(dtype, m=10, n=16, k=2, batch=(2,), noise=0.1)
    given = {"max_steps": 3, "damping": 0.8, **OPTIONS[options]}

    def outputs(A, y):
        sol = pursuit.amp(A, y, 2, **given)
        return sol.x, sol.residual_norm

    assert torch.autograd.gradcheck(outputs, (A.requires_grad_(), y.requires_grad_()), fast_mode=True)
    zeroed = y.detach().clone()
    zeroed[0] = 0
    zeroed.requires_grad_()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(outputs(A, zeroed)[0].abs().sum(), (A, zeroed)))


# ---- where it ends -------------------------------------------------------------------------------------------------

UNSUITED = {
    "of one sign": lambda: gaussian(m=100, n=200).abs(),
    "neighbours alike": lambda: torch.cumsum(gaussian(m=100, n=200), dim=1),
    "ill-conditioned": lambda: torch.logspace(-2, 0, 100, dtype=REAL).unsqueeze(-1) * gaussian(m=100, n=200),
    "equal columns": lambda: gaussian(m=100, n=20).repeat(1, 10),
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, REAL])
@pytest.mark.parametrize("matrix", UNSUITED)
def test_what_it_is_not_for_is_said_to_diverge(matrix, dtype, options):
    A = UNSUITED[matrix]().to(dtype)
    y = sparse(1, 200, 20, batch=(5,)).to(dtype) @ A.mT
    sol = pursuit.amp(A, y, 20, **OPTIONS[options])
    assert (sol.status == Status.DIVERGED).any()
    assert sol.x.isfinite().all()
    assert (sol.residual_norm <= 2 * torch.linalg.vector_norm(y, dim=-1)).all()
    with pytest.raises(pursuit.RecoveryError, match="diverged"):
        sol.check()


def test_damping_widens_what_it_is_for():
    """Condition number five."""
    U, _, Vh = torch.linalg.svd(gaussian(m=200, n=400), full_matrices=False)
    A = U * torch.logspace(0, -math.log10(5), 200, dtype=REAL) @ Vh
    x = normal(1, 5, 400) * (sparse(2, 400, 40, batch=(5,)) != 0)
    plain, slow = (pursuit.amp(A, x @ A.mT, 40, damping=damping) for damping in (1.0, 0.5))
    assert (plain.status == Status.DIVERGED).all()
    assert nmse_db(slow.x, x) < -120


def test_the_status_says_why_it_stopped():
    A, x, y = random_signals(noise=0.02)
    assert (pursuit.amp(A, y, 40, max_steps=3).status == Status.MAX_STEPS).all()
    near = pursuit.amp(A, y, 40, tol=0.1)
    assert (near.status == Status.TOLERANCE).all()
    assert (near.residual_norm <= 0.1 * torch.linalg.vector_norm(y, dim=-1)).all()
    assert (pursuit.amp(A, y, 40, **BG).status == Status.STATIONARY).all()
    exact = pursuit.amp(A, x @ A.mT, 40, x0=x)
    assert_close(exact.x, x)
    assert not exact.steps.any()
    assert not pursuit.amp(A, 0 * y, 40, **BG).x.any()


def test_the_support_is_what_is_not_zero_largest_first():
    A, _, y = random_signals(noise=0.02)
    sol = pursuit.amp(A, y, 40)
    for x, support in zip(sol.x, sol.support, strict=True):
        found = support[support >= 0]
        assert set(found.tolist()) == set(x.nonzero().squeeze(-1).tolist())
        assert (x[found].abs().diff() <= 0).all()


@pytest.mark.parametrize(
    ("k", "options", "error", "message"),
    [
        (None, {}, ValueError, "neither k nor alpha"),
        (
            3,
            {"denoiser": "hard"},
            ValueError,
            "denoiser is 'hard'; needed is 'soft', 'bernoulli-gaussian' or a function",
        ),
        (3, {"denoiser": 3}, ValueError, "denoiser is 3"),
        (3, {"denoiser": "bernoulli-gaussian"}, ValueError, "needs k and variance"),
        (None, BG, ValueError, "needs k and variance"),
        (3, BG | {"variance": 0.0}, ValueError, "variance is 0.0; needed is a number > 0"),
        (
            3,
            {"variance": 1.0},
            ValueError,
            "variance was given for the denoiser 'soft'; only 'bernoulli-gaussian' has one",
        ),
        (
            3,
            BG | {"alpha": 1.0},
            ValueError,
            "alpha was given for the denoiser 'bernoulli-gaussian'; only 'soft' has one",
        ),
        (3, {"alpha": -1.0}, ValueError, "alpha is -1"),
        (3, {"damping": 0.0}, ValueError, "damping is 0.0; needed is a share of each step, > 0 and <= 1"),
        (3, {"damping": 1.5}, ValueError, "damping is 1.5"),
        (40, {}, ValueError, "k is 40; needed is 0 <= k <= 36"),
        (3, {"x0": torch.ones(3, dtype=REAL)}, ValueError, "x0 has shape"),
    ],
)
def test_bad_input_is_named(k, options, error, message):
    with pytest.raises(error, match=message):
        pursuit.amp(gaussian(), normal(0, 36), k, **options)


def test_by_name_and_in_a_comparison():
    A, y = unnormalised(), normal(0, 36)
    assert_close(pursuit.solve(A, y, "amp", k=3, max_steps=4).x, pursuit.amp(A, y, 3, max_steps=4).x)
    problem = pursuit.problems.gaussian(m=60, n=120, k=6, signals=4)
    rows = pursuit.comparison.compare(problem, ["amp", "fista"])
    assert rows[0].method == "amp"
    with pytest.raises(ValueError, match="method is 'amp'"):  # it may return more than k
        pursuit.sweeps.phase(["amp"], n=16, grid=(2, 2), trials=5, output="never")
