"""Shrinkage against its definitions, entry by entry, and the compiled proximal step against plain torch."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from helpers import COMPLEX, DTYPES, REAL, generator, normal
from pursuit import config
from pursuit.shrinkage import SupportSelection, bernoulli_gaussian, of_percent, proximal, soft

SINGLE = torch.float32
CLOSE = {SINGLE: {"rtol": 1e-5, "atol": 1e-6}, REAL: {"rtol": 1e-12, "atol": 1e-13}}


def entry(z, theta):
    """The soft threshold of one number."""
    return z / abs(z) * (abs(z) - theta) if abs(z) > theta and z != 0 else 0


def spread(seed, *shape, dtype=REAL):
    """Numbers with zeros and ties among them."""
    z = normal(seed, *shape, dtype=dtype)
    z[..., 1] = 0
    z[..., 4] = z[..., 2]
    return z


# Soft thresholds.


@pytest.mark.parametrize("theta", [0.7, 0.0, -0.4, 50.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_soft_thresholds(dtype, theta):
    z = spread(0, 3, 8, dtype=dtype)
    wanted = torch.tensor([[entry(v, theta) for v in row] for row in z.tolist()], dtype=dtype)
    for given in (theta, torch.tensor(theta, dtype=dtype.to_real()), torch.full((3, 1), theta, dtype=dtype.to_real())):
        out = soft(z, given)
        assert out.dtype == dtype
        torch.testing.assert_close(out, wanted, rtol=1e-5, atol=1e-6)
    passing = torch.arange(8) < 3
    torch.testing.assert_close(soft(z, theta, passing), torch.where(passing, z, wanted), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
def test_soft_minimises_its_objective(dtype):
    z, theta = spread(1, 20, dtype=dtype), 0.6
    x = soft(z, theta)

    def objective(x):
        return (x - z).abs().square() / 2 + theta * x.abs()

    for seed in range(10):
        assert (objective(x + 0.01 * normal(seed, 20, dtype=dtype)) >= objective(x)).all()


@pytest.mark.parametrize("theta", [0.5, 0.0, -0.5])
@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
def test_gradients_of_soft(dtype, theta):
    z = spread(2, 8, dtype=dtype).requires_grad_()
    t = torch.full((8,), theta, dtype=REAL, requires_grad=True)
    soft(z, t).abs().sum().backward()
    assert z.grad.isfinite().all()
    assert t.grad.isfinite().all()
    assert z.grad[1] == 0
    away = torch.tensor([0, 2, 3, 4, 5, 6, 7])  # derivatives differ from side to side at zero

    def parts(z, t):
        x = soft(z, t)
        return torch.view_as_real(x) if x.is_complex() else x

    assert gradcheck(parts, (z.detach()[away].requires_grad_(), t.detach()[away].requires_grad_()))


def test_what_is_not_a_number_stays_so(kernels):
    z = torch.tensor([math.nan, 2.0, math.inf, -math.inf, 0.1], dtype=REAL)
    expected = torch.tensor([math.nan, 1.0, math.inf, -math.inf, 0.0], dtype=REAL)
    torch.testing.assert_close(soft(z, 1.0), expected, equal_nan=True)
    for shrink in (soft, SupportSelection(0)):
        torch.testing.assert_close(proximal(z, torch.zeros_like(z), 1.0, 1.0, shrink), expected, equal_nan=True)
    for p in range(6):  # ends, and keeps NaN
        assert proximal(z, torch.zeros_like(z), 1.0, 1.0, SupportSelection(p))[0].isnan()
    threshold = torch.full((2,), math.nan, dtype=REAL)
    assert proximal(torch.ones(2, dtype=REAL), torch.ones(2, dtype=REAL), 1.0, threshold).isnan().all()


# Support selection.


@pytest.mark.parametrize("tested", [False, True])
@pytest.mark.parametrize("p", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("dtype", [SINGLE, REAL, torch.complex64, COMPLEX])
def test_support_selection(dtype, p, tested, kernels):
    z, theta = spread(3, 6, 9, dtype=dtype), 0.8
    z[0] = z[0, 3]  # all tied: none is strictly above
    wanted = torch.zeros_like(z)
    for b, row in enumerate(z.tolist()):
        nth = sorted(map(abs, row), reverse=True)[p - 1] if p else math.inf
        for i, v in enumerate(row):
            passes = abs(v) > nth and (abs(v) > theta or not tested)
            wanted[b, i] = v if passes else entry(v, theta)
    shrink = SupportSelection(p, tested)
    for out in (shrink(z, theta), proximal(z, torch.zeros_like(z), 1.0, theta, shrink)):
        torch.testing.assert_close(out, wanted, rtol=1e-5, atol=1e-6)


def test_as_many_pass_as_is_said():
    z = normal(4, 50, 20)
    for p in range(21):
        assert (SupportSelection(p).passing(z, 100.0).sum(-1) == max(p - 1, 0)).all()
        assert (SupportSelection(p, tested=True).passing(z, 100.0).sum(-1) == 0).all()
        assert (SupportSelection(p, tested=True).passing(z, 0.0).sum(-1) == max(p - 1, 0)).all()


@pytest.mark.parametrize("n", [7, 20, 101])
def test_percentages(n):
    z = normal(5, n).abs().numpy()
    for percent in (0.9, 3.3, 10.1, 55.7, 100.0, 120.0):
        nth = np.percentile(z, 100 - min(percent, 100), method="nearest")
        assert np.sort(z)[-of_percent(n, percent)] == nth
    assert of_percent(n, 0.0) == of_percent(n, -1.0) == 0


def test_what_passes_is_a_constant_to_gradients(kernels):
    z = normal(6, 9).requires_grad_()
    theta = torch.tensor(0.5, dtype=REAL, requires_grad=True)
    proximal(z, torch.zeros(9, dtype=REAL), 1.0, theta, SupportSelection(4)).sum().backward()
    passing = SupportSelection(4).passing(z, theta)
    assert (z.grad[passing] == 1).all()
    above = ~passing & (z.detach().abs() > 0.5)
    assert theta.grad.item() == -z.detach()[above].sign().sum().item()


# The posterior mean of Bernoulli-Gaussian entries.

ENTRIES = [(0.05, 1.0, 0.3), (0.2, 4.0, 1.0), (0.5, 0.1, 0.02), (0.01, 1.0, 2.0)]  # share, variance, of noise


def logit(share):
    return math.log(share / (1 - share))


@pytest.mark.parametrize(("share", "variance", "tau2"), ENTRIES)
def test_posterior_mean_by_integration(share, variance, tau2):
    z = np.linspace(-3, 3, 13)
    x = np.linspace(-15, 15, 200_001)
    prior = np.exp(-(x**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    for at in z:
        seen = np.exp(-((at - x) ** 2) / (2 * tau2))
        width, absent = x[1] - x[0], (1 - share) * np.exp(-(at**2) / (2 * tau2))
        there = share * (seen * prior).sum() * width
        wanted = share * (x * seen * prior).sum() * width / (there + absent)
        mean, _ = bernoulli_gaussian(torch.tensor([at]), torch.tensor([tau2], dtype=REAL), logit(share), variance)
        assert mean.item() == pytest.approx(wanted, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize(("share", "variance", "tau2"), ENTRIES)
def test_complex_posterior_mean_by_integration(share, variance, tau2):
    t = np.linspace(-9, 9, 1801)
    x = t[:, None] + 1j * t
    prior = np.exp(-(np.abs(x) ** 2) / variance) / (np.pi * variance)
    for at in (0.3 + 0.1j, -1.0 + 0.5j, 2j):
        seen = np.exp(-(np.abs(at - x) ** 2) / tau2)
        area = (t[1] - t[0]) ** 2
        there = share * (seen * prior).sum() * area
        absent = (1 - share) * np.exp(-(abs(at) ** 2) / tau2)
        wanted = share * (x * seen * prior).sum() * area / (there + absent)
        mean, _ = bernoulli_gaussian(torch.tensor([at]), torch.tensor([tau2], dtype=REAL), logit(share), variance)
        np.testing.assert_allclose(mean.item(), wanted, rtol=1e-6)


@pytest.mark.parametrize(("share", "variance", "tau2"), ENTRIES)
@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
def test_slope_of_the_posterior_mean(dtype, share, variance, tau2):
    z, noise, h = normal(7, 40, dtype=dtype), torch.tensor([tau2], dtype=REAL), 1e-6

    def mean(z):
        return bernoulli_gaussian(z, noise, logit(share), variance)[0]

    slope = bernoulli_gaussian(z, noise, logit(share), variance)[1]
    by_real = (mean(z + h) - mean(z - h)) / (2 * h)
    if dtype.is_complex:  # Wirtinger: (d/dRe - i d/dIm) / 2
        by_imaginary = (mean(z + 1j * h) - mean(z - 1j * h)) / (2 * h)
        by_real = (by_real - 1j * by_imaginary) / 2
        assert by_real.imag.abs().max() < 1e-6
    assert slope.dtype == REAL
    torch.testing.assert_close(slope, by_real.real, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_posterior_mean_where_noise_is_nearly_nothing(dtype):
    z = torch.tensor([0.0, 1e-12, 1.0, -2.0, 30.0]).to(dtype).requires_grad_()
    for tau2 in (1e-3, 1e-9, 1e-19):
        noise = torch.tensor([tau2], dtype=dtype.to_real(), requires_grad=True)
        mean, slope = bernoulli_gaussian(z, noise, -3.0, 1.0)
        torch.testing.assert_close(mean[2:], z[2:], rtol=2e-3, atol=0)
        assert slope.isfinite().all()
        assert all(g.isfinite().all() for g in torch.autograd.grad(mean.abs().sum() + slope.sum(), (z, noise)))


# The compiled step.


@pytest.fixture(params=["auto", "off"])
def kernels(request, monkeypatch):
    """With the compiled kernels and without."""
    monkeypatch.setattr(config, "kernels", request.param)


def named(shrink):
    """The same in every process that collects the tests."""
    return getattr(shrink, "__name__", str(shrink))


SHRINKS = [soft, *(SupportSelection(p, tested) for p in (0, 1, 4, 12) for tested in (False, True))]
# Shapes of x, gamma and theta; None for a plain number.
SHAPES = [
    ((12,), None, None),
    ((12,), (), (12,)),
    ((12,), (1,), (1,)),
    ((5, 12), None, (12,)),
    ((5, 12), (), ()),
    ((5, 12), (5, 1), (5, 1)),
    ((5, 12), (1,), (5, 12)),
    ((5, 12), (1, 1), (1, 12)),
    ((2, 3, 12), (2, 3, 1), (12,)),
    ((2, 3, 12), (3, 1), (2, 1, 1)),
    ((2, 3, 12), (2, 1, 1), (3, 12)),
    ((5, 12), (12,), ()),
    ((0, 12), (), (12,)),
]


def pieces(x, gamma, theta, dtype):
    """Inputs of a step; steps and thresholds of either sign."""
    values = [spread(0, *x, dtype=dtype), normal(1, *x, dtype=dtype)]
    for seed, shape in ((2, gamma), (3, theta)):
        values.append(0.7 if shape is None else 0.6 + 0.5 * normal(seed, *(shape or (1,)), dtype=dtype).reshape(shape))
    return [v.requires_grad_() if isinstance(v, torch.Tensor) else v for v in values]


def both_ways(arguments, shrink, monkeypatch):
    """Step and gradients with kernels and without."""
    found = []
    for mode in ("auto", "off"):
        monkeypatch.setattr(config, "kernels", mode)
        out = proximal(*arguments, shrink)
        wanted = [v for v in arguments if isinstance(v, torch.Tensor)]
        found.append([out, *torch.autograd.grad((out * normal(9, *out.shape).to(out)).sum(), wanted)])
    return found


@pytest.mark.parametrize("shrink", SHRINKS, ids=named)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [SINGLE, REAL])
def test_kernels_equal_torch(dtype, shapes, shrink, monkeypatch):
    arguments = pieces(*shapes, dtype)
    for kernel, plain in zip(*both_ways(arguments, shrink, monkeypatch), strict=True):
        assert kernel.dtype == plain.dtype
        torch.testing.assert_close(kernel, plain, **CLOSE[dtype])


@pytest.mark.parametrize("dtype", [SINGLE, REAL])
def test_views_and_expanded_inputs(dtype, monkeypatch):
    wide = [normal(seed, 6, 24, 4, dtype=dtype).requires_grad_() for seed in (0, 1)]
    x, c = (v[::2, ::2, 1] for v in wide)
    gamma = normal(2, 1, 1, dtype=dtype).requires_grad_().expand(3, 1)
    theta = normal(3, 24, dtype=dtype).abs().requires_grad_()[::2].expand(3, 12)
    for kernel, plain in zip(*both_ways([x, c, gamma, theta], SupportSelection(5), monkeypatch), strict=True):
        torch.testing.assert_close(kernel, plain, **CLOSE[dtype])
    same = c.detach()[:1].expand(3, 12).requires_grad_()
    for kernel, plain in zip(*both_ways([x, same, 0.5, 0.1], soft, monkeypatch), strict=True):
        torch.testing.assert_close(kernel, plain, **CLOSE[dtype])


@pytest.mark.parametrize("dtype", [SINGLE, REAL])
def test_rank_of_all_sizes_of_numbers(dtype, monkeypatch):
    size = torch.finfo(dtype)
    rng = generator(8)
    for trial in range(20):
        exponent = (torch.rand(4, 64, generator=rng, dtype=REAL) - 0.5) * (60 if trial % 2 else 4)
        z = (torch.randn(4, 64, generator=rng, dtype=REAL) * 10**exponent).to(dtype)
        z[:, :3] = torch.tensor([size.max, size.tiny, size.smallest_normal / 4], dtype=dtype)
        z[:, 3:9] = z[:, 9:10]
        for p in (1, 2, 7, 32, 63, 64):
            out = []
            for mode in ("auto", "off"):
                monkeypatch.setattr(config, "kernels", mode)
                out.append(proximal(z, torch.zeros_like(z), 0.0, math.inf, SupportSelection(p)))
            assert (out[0] == out[1]).all()


def test_the_kernels_are_used_unless_switched_off(monkeypatch):
    module = pytest.importorskip("pursuit.kernels.cpu.proximal")
    calls = []
    monkeypatch.setattr(module, "forward", lambda *arrays: calls.append(arrays[-1].fill(0)))
    x = torch.ones(2, 3, dtype=REAL)
    proximal(x, x, 1.0, 0.1)
    assert len(calls) == 1
    proximal(x.to(COMPLEX), x.to(COMPLEX), 1.0, 0.1)
    proximal(x, x, 1.0, 0.1, lambda z, theta: z - theta)
    monkeypatch.setattr(config, "kernels", "off")
    proximal(x, x, 1.0, 0.1)
    assert len(calls) == 1


@pytest.mark.parametrize("shrink", [soft, SupportSelection(4), SupportSelection(5, tested=True)], ids=named)
def test_gradients_of_the_step(shrink, kernels):
    for shapes in (((3, 8), (3, 1), (8,)), ((3, 8), (), (3, 8)), ((8,), (1,), ())):
        x, c, gamma, theta = pieces(*shapes, REAL)
        assert gradcheck(lambda *values: proximal(*values, shrink), (x, c, gamma, theta))


def test_precisions_of_steps_and_thresholds_may_differ(kernels):
    x, c = normal(0, 4, 9), normal(1, 4, 9)
    gamma, theta = (torch.tensor(v, requires_grad=True) for v in (0.5, 0.2))
    out = proximal(x, c, gamma, theta)
    assert out.dtype == REAL
    torch.testing.assert_close(out, proximal(x, c, 0.5, float(torch.tensor(0.2))))
    out.sum().backward()
    assert gamma.grad.dtype == theta.grad.dtype == SINGLE


def test_a_custom_shrinkage_runs_the_same_step():
    x, c = normal(0, 4, 9), normal(1, 4, 9)
    out = proximal(x, c, 0.5, 0.2, lambda z, theta: soft(z, theta))
    torch.testing.assert_close(out, proximal(x, c, 0.5, 0.2))
