"""The relaxations of sorting against their textbook formulas, their limits, and the kernels against plain torch."""

import re
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from helpers import REAL, generator, normal
from pursuit import config
from pursuit.core import softsort as unchecked
from pursuit.relaxations import neuralsort, relative_tau, sinkhorn_sort, soft_topk, softsort

SINGLE = torch.float32
SORTS = {"softsort": softsort, "neuralsort": neuralsort, "sinkhorn_sort": sinkhorn_sort}
ALL = SORTS | {"soft_topk": soft_topk}
TINY = {SINGLE: 1e-5, REAL: 1e-10}


# Every relaxation, with the compiled kernels where it has any, and without.
RUNS = [(name, mode) for name in ALL for mode in ("auto", "off") if name.startswith("soft") or mode == "off"]


def only(*names: str) -> pytest.MarkDecorator:
    """Run a test for some of the relaxations."""
    return pytest.mark.parametrize("name", [run for run in RUNS if run[0] in names], indirect=True, ids="-".join)


@pytest.fixture(params=RUNS, ids="-".join)
def name(request, monkeypatch):
    """A relaxation, with or without kernels."""
    monkeypatch.setattr(config, "kernels", request.param[1])
    return request.param[0]


@pytest.fixture(params=["auto", "off"])
def kernels(request, monkeypatch):
    """With the compiled kernels and without."""
    monkeypatch.setattr(config, "kernels", request.param)


def textbook_softsort(v: Tensor, tau: float) -> Tensor:
    s = v.sort(dim=-1, descending=True, stable=True).values
    return torch.softmax(-(s.unsqueeze(-1) - v.unsqueeze(-2)).abs() / tau, dim=-1)


def textbook_neuralsort(v: Tensor, tau: float) -> Tensor:
    n = v.shape[-1]
    A = (v.unsqueeze(-1) - v.unsqueeze(-2)).abs()
    factor = n + 1 - 2 * torch.arange(1, n + 1, dtype=v.dtype).unsqueeze(-1)
    return torch.softmax((factor * v.unsqueeze(-2) - A.sum(-1).unsqueeze(-2)) / tau, dim=-1)


def textbook_sinkhorn(v: Tensor, tau: float, k: int) -> Tensor:
    """Alternating normalisation in the log domain, for very long."""
    n = v.shape[-1]
    b = torch.tensor([1.0] * k + [float(n - k)] * (k < n), dtype=v.dtype)
    X = -2 * v.unsqueeze(-1) * torch.arange(len(b), dtype=v.dtype) / tau
    for _ in range(5000):
        X = X - X.logsumexp(-2, keepdim=True) + b.log()
        X = X - X.logsumexp(-1, keepdim=True)
    return X.exp()[..., :k].mT


def textbook(name: str, v: Tensor, tau: float, k: int) -> Tensor:
    if name == "sinkhorn_sort":
        return textbook_sinkhorn(v, tau, k)
    if name == "soft_topk":
        return textbook_softsort(v, tau)[..., :k, :].sum(-2)
    return {"softsort": textbook_softsort, "neuralsort": textbook_neuralsort}[name](v, tau)[..., :k, :]


def tied(seed: int, *shape: int, dtype: torch.dtype = REAL) -> Tensor:
    """Scores on a grid: many of them equal, many of them zero."""
    return (2 * normal(seed, *shape).clamp(min=0)).round().to(dtype)


def gradients(name: str, v: Tensor, tau: Tensor, k: int, g: Tensor) -> tuple[Tensor, ...]:
    """Output and gradients by `v` and `tau`."""
    v, tau = v.clone().requires_grad_(), tau.clone().requires_grad_()
    out = ALL[name](v, tau, k)
    return (out.detach(), *torch.autograd.grad(out, (v, tau), g.expand_as(out)))


@pytest.mark.parametrize("dtype", [SINGLE, REAL])
@pytest.mark.parametrize(("tau", "k"), [(0.15, 1), (0.3, 5), (0.3, 8), (0.3, 9), (2.0, 3)])
def test_equals_the_textbook(name, tau, k, dtype, device):
    for v in (normal(3, 2, 9), tied(4, 2, 9)):
        out = ALL[name](v.to(device, dtype), tau, k)
        assert out.dtype == dtype
        torch.testing.assert_close(out.cpu(), textbook(name, v, tau, k).to(dtype), rtol=0, atol=TINY[dtype])


def test_ascending_is_descending_of_the_negative(name):
    v = normal(5, 3, 7)
    assert torch.equal(ALL[name](v, 0.2, 4, descending=False), ALL[name](-v, 0.2, 4))
    assert not torch.allclose(ALL[name](v, 0.2, 4, descending=False), ALL[name](v, 0.2, 4))
    if name in SORTS:
        smallest = SORTS[name](v, 1e-4, descending=False) @ v.unsqueeze(-1)
        torch.testing.assert_close(smallest.squeeze(-1), v.sort(dim=-1).values)


@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 1, 5), (0, 5)])
@pytest.mark.parametrize("descending", [True, False])
def test_gradients(name, descending, shape):
    """By finite differences, with one temperature per item and with one for all."""
    v = normal(6, *shape).requires_grad_()
    for scale, k in ((0.1, 2), (0.5, 4), (3.0, 5), (0.5, 1)):
        tau = (scale * (1 + torch.rand(shape[:-1], generator=generator(7), dtype=REAL))).requires_grad_()
        one = torch.tensor(scale, dtype=REAL, requires_grad=True)
        for t in (tau, one):
            gradcheck(lambda v, t, k=k: ALL[name](v, t, k, descending=descending), (v, t), fast_mode=True)


@only("softsort", "soft_topk", "neuralsort")  # the transport is smooth at ties
@pytest.mark.parametrize("k", [1, 3, 8])
def test_gradient_at_ties_takes_the_slope_of_the_absolute_value_at_zero_as_zero(name, k):
    v, tau = tied(8, 6, 8), torch.tensor(0.7, dtype=REAL)
    out = textbook(name, v, 0.7, k)
    g = normal(9, *out.shape)
    x = v.clone().requires_grad_()
    t = tau.clone().requires_grad_()
    wanted = torch.autograd.grad(textbook(name, x, t, k), (x, t), g)
    for ours, theirs in zip(gradients(name, v, tau, k, g)[1:], wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [SINGLE, REAL])
@pytest.mark.parametrize("name", ["softsort", "soft_topk"])
@pytest.mark.parametrize("k", [1, 10, 40, 64])  # by insertion, and by sorting
def test_kernels_equal_torch(name, k, dtype, monkeypatch):
    pytest.importorskip("numba")
    scale = torch.tensor([[1e-3], [1e-2], [0.1]], dtype=dtype)
    for v in (0.1 * normal(10, 3, 2, 64, dtype=dtype).abs(), 0.1 * tied(11, 3, 2, 64, dtype=dtype)):
        rows = normal(12, 3, 2, k, 64, dtype=dtype)
        for g in (rows[..., 0, :],) if name == "soft_topk" else (rows, rows[..., :1, :], rows[..., :1, :1]):
            result = {}
            for mode in ("auto", "off"):
                monkeypatch.setattr(config, "kernels", mode)
                result[mode] = gradients(name, v, scale, k, g)
            units = (1, scale.unsqueeze(-1), scale)  # a gradient is of the order of 1 / tau
            for compiled, plain, unit in zip(result["auto"], result["off"], units, strict=True):
                torch.testing.assert_close(unit * compiled, unit * plain, rtol=0, atol=TINY[dtype])


def test_the_kernels_are_used_unless_switched_off(monkeypatch):
    kernels = pytest.importorskip("pursuit.kernels.cpu.softsort")
    calls = []
    monkeypatch.setattr(kernels, "mask_forward", lambda *arrays: calls.append(arrays[-1].fill(0)))
    v = normal(13, 2, 5)
    assert torch.equal(soft_topk(v, 0.1, 2), torch.zeros(2, 5, dtype=REAL))
    monkeypatch.setattr(config, "kernels", "off")
    torch.testing.assert_close(soft_topk(v, 0.1, 2), textbook("soft_topk", v, 0.1, 2))
    assert len(calls) == 1


def test_views_and_their_gradients(kernels):
    """Scores that are transposed, expanded or negated views."""
    base, w = normal(14, 6, 4), normal(15, 3, 4, 6)
    for view in (lambda x: x.mT.expand(3, -1, -1), lambda x: (1j * x).conj().imag.mT.expand(3, -1, -1)):
        x, plain = base.clone().requires_grad_(), base.clone().requires_grad_()
        (soft_topk(view(x), 0.3, 2) * w).sum().backward()
        (textbook("soft_topk", view(plain), 0.3, 2) * w).sum().backward()
        torch.testing.assert_close(x.grad, plain.grad)


@pytest.mark.parametrize("dtype", [SINGLE, REAL])
@pytest.mark.parametrize("tau", [1e-10, 1e-6, 1e-3, 1.0, 1e2])
def test_stable_at_any_temperature(name, dtype, tau):
    n = 40
    draws = [0.1 * normal(16, n), tied(17, n), torch.zeros(n, dtype=REAL), 1e6 * normal(18, n), 1e30 * normal(19, n)]
    v = torch.stack([*draws, 1 + 3 * tau * normal(20, n)]).to(dtype)
    for k in (1, 7, n - 1, n):
        g = normal(21, *v.shape, dtype=dtype) if name == "soft_topk" else normal(21, len(v), k, n, dtype=dtype)
        out, grad_v, grad_tau = gradients(name, v, torch.full((len(v),), tau, dtype=dtype), k, g)
        wanted = torch.full(out.shape[:-1], k if name == "soft_topk" else 1, dtype=dtype)
        torch.testing.assert_close(out.sum(-1), wanted, rtol=n * torch.finfo(dtype).eps, atol=0)
        assert (out >= 0).all()
        assert grad_v.isfinite().all()
        assert grad_tau.isfinite().all()
        slack = 1e3 * torch.finfo(dtype).eps * g.abs().max() * n / tau  # shifting all scores changes nothing
        assert (grad_v.sum(-1).abs() <= slack).all()


@pytest.mark.parametrize("dtype", [SINGLE, REAL])
def test_cold_rows_are_the_sort(name, dtype):
    v = normal(22, 5, 30, dtype=dtype)
    hard = torch.nn.functional.one_hot(v.sort(dim=-1, descending=True).indices, 30).to(dtype)[:, :4]
    assert torch.equal(ALL[name](v, 1e-9, 4), hard.sum(-2) if name == "soft_topk" else hard)


@pytest.mark.parametrize("dtype", [SINGLE, REAL])
def test_tied_entries_share(dtype, kernels):
    v = torch.tensor([2.0, 5.0, 2.0, 2.0, -1.0], dtype=dtype)
    third = torch.tensor([1, 0, 1, 1, 0], dtype=dtype) / 3
    one, last = torch.eye(5, dtype=dtype)[[1, 4]]
    torch.testing.assert_close(softsort(v, 1e-3), torch.stack([one, third, third, third, last]))
    torch.testing.assert_close(soft_topk(v, 1e-3, 3), one + 2 * third)
    torch.testing.assert_close(sinkhorn_sort(v, 1e-3, 3), torch.stack([one, third, third]))


def test_one_temperature_for_all(name):
    """Of two entries, the loser has exp(-gap / tau) of the winner's weight."""
    row = ALL[name](torch.tensor([1.0, 1.7], dtype=REAL), 0.4, 1).reshape(2)
    torch.testing.assert_close(row[0] / row[1], torch.exp(torch.tensor(-0.7 / 0.4, dtype=REAL)))


def test_lipschitz(kernels):
    """T1: sqrt(n) / tau in the Frobenius norm, (sqrt(n) + sqrt(k)) / (2 tau) for k rows, 2 / tau row-wise."""
    n, worst = 20, 0.0
    v = normal(23, 400, n)
    step = 10 ** normal(24, 400, 1)
    other = v + step * torch.where(torch.arange(400).unsqueeze(-1) % 2 == 0, normal(25, 400, n), v.roll(1, -1) - v)
    for tau in (0.03, 0.3, 3.0):
        change = softsort(v, tau) - softsort(other, tau)
        far, most = (torch.linalg.vector_norm(v - other, ord=p, dim=-1) for p in (2, torch.inf))
        assert (change.abs().sum(-1).amax(-1) <= 2 / tau * most + 1e-12).all()
        for k in (1, 5, n):
            ratio = torch.linalg.vector_norm(change[:, :k], dim=(-2, -1)) * tau / far
            assert ratio.max() <= (n**0.5 + k**0.5) / 2
            worst = max(worst, ratio.max().item() / ((n**0.5 + k**0.5) / 2))
    assert worst > 0.1, "the bound was put to a test"


@only("softsort", "neuralsort")
def test_gap(name):
    """T2: the error of the first s rows is governed by the least gap among them."""
    n, s, tightest = 12, 4, 0.0
    v = normal(26, 2000, n)
    v[:500] = v[:500, :1].abs() * (s - torch.arange(n)).clamp(min=0)  # all others right below: nearly attained
    top = v.sort(dim=-1, descending=True)
    gap = (top.values[:, :s] - top.values[:, 1 : s + 1]).amin(-1)
    hard = torch.nn.functional.one_hot(top.indices[:, :s], n).to(REAL)
    for tau in (0.02, 0.1, 0.5):
        eps = ((n - 1) * torch.exp(-gap / tau)).unsqueeze(-1)
        difference = SORTS[name](v, tau, s) - hard
        assert (difference.abs().sum(-1) <= 2 * eps + 1e-13).all()
        assert (torch.linalg.vector_norm(difference, dim=-1) <= 2**0.5 * eps + 1e-13).all()
        assert (difference.sum(-2).abs() <= eps + 1e-13).all()
        tightest = max(tightest, (difference.abs().sum(-1) / (2 * eps))[eps.squeeze(-1) > 1e-9].max().item())
    assert tightest > 0.3, "the bound was put to a test"


@pytest.mark.parametrize("k", [1, 6, 19, 20])
def test_transport_gives_no_entry_away_twice(k):
    for tau in (1e-3, 0.05, 1.0):
        v = torch.stack([normal(27, 20), tied(28, 20), torch.cat([normal(29, 5), torch.zeros(15, dtype=REAL)])])
        share = sinkhorn_sort(v, tau, k).sum(-2)
        assert (share <= 1 + 1e-9).all()
        if k == 20:
            torch.testing.assert_close(share, torch.ones_like(share))


def test_transport_converges_in_few_steps():
    """However hot, cold or tied: what thirty steps reach, more do not change."""
    grid = torch.logspace(-6, 2, 25, dtype=REAL)
    for v in (0.1 * normal(30, 64).abs(), tied(31, 64), torch.cat([normal(32, 32), 1e-6 * normal(33, 32)])):
        for k in (5, 32, 63, 64):
            rows = sinkhorn_sort(v.expand(25, -1), grid, k, tol=1e-9, max_steps=30)
            more = sinkhorn_sort(v.expand(25, -1), grid, k, tol=0.0, max_steps=40)
            torch.testing.assert_close(rows, more, rtol=0, atol=1e-7)


def test_transport_that_is_cut_short_still_gives_rows():
    v = normal(34, 3, 30)
    rows = sinkhorn_sort(v, 0.5, 7, max_steps=0)
    torch.testing.assert_close(rows.sum(-1), torch.ones(3, 7, dtype=REAL))
    assert (rows - sinkhorn_sort(v, 0.5, 7)).abs().max() > 1e-3, "it was cut short"


def test_no_item_depends_on_its_batch(name):
    """Also where the others take longer."""
    v = torch.stack([normal(35, 20), tied(36, 20), torch.zeros(20, dtype=REAL)])
    for item, expected in zip(v, ALL[name](v, 0.2, 4), strict=True):
        torch.testing.assert_close(ALL[name](item, 0.2, 4), expected, rtol=0, atol=1e-13)


def test_cost_is_of_k_rows(name):
    """At this length anything n by n would need 160 GB."""
    v = normal(37, 200_000, dtype=SINGLE).requires_grad_()
    out = ALL[name](v, 1e-4, 2)
    out.square().sum().backward()
    assert out.shape == ((200_000,) if name == "soft_topk" else (2, 200_000))
    assert out.reshape(-1, 200_000)[0, v.argmax()] > 0.99
    assert v.grad.isfinite().all()


def test_relative_temperature_makes_rows_independent_of_scale(name):
    v = normal(38, 4, 10)
    v[3] = 0
    scale = torch.tensor([[1e-20], [1.0], [1e20], [1.0]], dtype=REAL)
    relaxation = ALL[name]
    out = relaxation(v, relative_tau(v, 0.1), 3)
    torch.testing.assert_close(relaxation(scale * v, relative_tau(scale * v, 0.1), 3), out)
    assert out.isfinite().all()
    x = v[:3].clone().requires_grad_()
    relaxation(x, relative_tau(x, 0.1), 3).square().sum().backward()
    assert x.grad.abs().max() > 1e-2
    assert ((x.grad * v[:3]).sum(-1).abs() < 1e-10).all()
    assert torch.equal(relative_tau(v, 0.1)[:3], 0.1 * v[:3].abs().amax(-1))


V = torch.ones(2, 3)
WRONG = [
    ((V, 0.0), ValueError, "tau is 0.0; needed is a finite number > 0"),
    ((V, -1.0), ValueError, "tau is -1.0; needed is a finite number > 0"),
    ((V, 1e-60), ValueError, "needed is a finite number > 0 in torch.float32"),
    ((V, torch.nan), ValueError, "tau is nan; needed"),
    ((V, torch.tensor([1.0, torch.inf])), ValueError, "tau is between 1.0 and inf; needed"),
    ((V, torch.ones(3)), ValueError, "tau has shape (3,)"),
    ((V, 1j), ValueError, "dtype torch.complex128; needed is a real number"),
    ((V, "warm"), TypeError, "tau is 'warm'"),
    ((torch.ones(2, 3).fill_diagonal_(torch.nan), 1.0), ValueError, "v has 2 entries that are NaN or infinite"),
    ((torch.tensor([1.0, torch.inf]), 1.0), ValueError, "v has 1 entries that are NaN or infinite"),
    ((torch.tensor([1, 2]), 1.0), TypeError, "v has dtype torch.int64; needed is a tensor of float32 or float64"),
    ((torch.ones(2, dtype=torch.complex64), 1.0), TypeError, "v has dtype torch.complex64"),
    (([1.0, 2.0], 1.0), TypeError, "v has type list"),
    ((torch.tensor(1.0), 1.0), ValueError, "v has shape (); needed is (*batch, n)"),
    ((torch.ones(2, 0), 1.0), ValueError, "v has shape (2, 0)"),
]
WRONG_K = [
    (0, ValueError, "k is 0; needed is 1 <= k <= n = 3"),
    (4, ValueError, "k is 4; needed is 1 <= k <= n = 3"),
    (1.5, TypeError, "k is 1.5; needed is a whole number"),
    (True, TypeError, "k is True; needed is a whole number"),
]


@pytest.mark.parametrize("relaxation", [*ALL.values(), relative_tau])
@pytest.mark.parametrize(("given", "error", "says"), WRONG)
def test_bad_scores_and_temperatures(relaxation, given, error, says):
    with pytest.raises(error, match=re.escape(says)):
        relaxation(*given)


@pytest.mark.parametrize("relaxation", ALL.values())
@pytest.mark.parametrize(("k", "error", "says"), WRONG_K)
def test_bad_numbers_of_rows(relaxation, k, error, says):
    with pytest.raises(error, match=re.escape(says)):
        relaxation(torch.ones(2, 3), 1.0, k)


@pytest.mark.parametrize("wrong", [{"tol": -1.0}, {"tol": torch.nan}, {"max_steps": -1}])
def test_bad_stopping_rules(wrong):
    with pytest.raises(ValueError, match="needed are numbers >= 0"):
        sinkhorn_sort(torch.ones(3), 1.0, **wrong)


def test_importing_does_not_wait_for_numba():
    check = "import sys, pursuit.relaxations; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("weights", ["shared", "each"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_the_fused_threshold_is_mask_times_signal(dtype, weights, learn):
    """Value and every gradient, with zeros, ties and a batch of two axes."""
    g = torch.Generator().manual_seed(0)
    real = dtype.to_real()
    u = 0.1 * torch.randn(2, 3, 20, dtype=dtype, generator=g)
    u[0, 0, :4] = 0
    u[1, 1, 5] = u[1, 1, 6]
    w = 0.5 + torch.rand(20 if weights == "shared" else (2, 3, 20), dtype=real, generator=g)
    tau = torch.full((2, 3, 1, 1) if weights == "each" else (1, 1), 0.02, dtype=real)
    back = torch.randn(2, 3, 20, dtype=dtype, generator=g)

    def outcome(function):
        inputs = [u.clone().requires_grad_(), w.clone().requires_grad_(), tau.clone().requires_grad_(learn)]
        x = function(*inputs)
        x.backward(back)
        return [x.detach(), *(value.grad for value in inputs if value.requires_grad)]

    fused = outcome(lambda u, w, tau: unchecked.soft_threshold(u, w, tau, 5))
    plain = outcome(lambda u, w, tau: unchecked._plain_rows(w * u.abs(), tau, 5).sum(-2) * u)
    tolerance = 1e-4 if real == torch.float32 else 1e-11
    for a, b in zip(fused, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * b.abs().max().item())


def test_the_fused_threshold_squares_nothing_away():
    u = torch.tensor([3e-30 + 4e-30j, 3e30 + 4e30j], dtype=torch.complex64).requires_grad_()
    x = unchecked.soft_threshold(u, torch.ones(2), torch.tensor([[1e-32]]), 2)
    x.abs().sum().backward()
    torch.testing.assert_close(x.detach(), u.detach())
    torch.testing.assert_close(u.grad, torch.tensor([0.6 + 0.8j, 0.6 + 0.8j]))


def test_weights_of_another_precision(kernels):
    """A score is of the precision of the signal: bits of one must not be read as the other's."""
    u, w = normal(50, 2, 6), torch.linspace(0.5, 1.5, 6)
    torch.testing.assert_close(unchecked.score(u, w), w.double() * u.abs())
    tau = torch.tensor([[0.3]], dtype=REAL)
    wanted = textbook("soft_topk", w.double() * u.abs(), 0.3, 2) * u
    torch.testing.assert_close(unchecked.soft_threshold(u, w, tau, 2), wanted)
