"""Networks of the ISTA family: against plain loops over one signal, on every kind of operator, in and out of files."""

import math

import numpy as np
import pytest
import torch
from torch.func import functional_call

import pursuit
from helpers import COMPLEX, REAL, fourier, gaussian, generator, instance, normal, unit, unnormalised
from pursuit import config, nets
from pursuit.nets import CountSchedule, PercentSchedule

M, N, K, LAYERS = 16, 30, 3, 4
SELECTIONS = {
    "none": None,
    "counts": CountSchedule(4),
    "bounded counts": CountSchedule(4, share=2.0, low=2, high=5),
    "percent": PercentSchedule(),
    "other percent": PercentSchedule(9.0, 21.0),
}
SELECTING = {
    "LISTA": {"tied": False},
    "LISTACP": {},
    "LISTACPSS": {"tied": False},
    "TiLISTA": {},
    "ALISTA": {},
    "ALISTAAT": {"epsilon": 0.3},
    "AGLISTA": {},
    "GLISTA": {},
    "NAALISTA": {"hidden": 6},
}
OTHERS = {"HyperLISTA": {"c_theta": 0.03, "c_beta": 0.02, "c_ss": 0.4}, "LAMP": {"sparsity": K}}
ALL = SELECTING | OTHERS
ANALYTIC = ("ALISTA", "ALISTAAT", "AGLISTA", "NAALISTA")  # those that take W


@pytest.fixture(params=["auto", "off"])
def kernels(request, monkeypatch):
    """With the compiled kernels and without."""
    monkeypatch.setattr(config, "kernels", request.param)


def signals(dtype=REAL, *, A=None, batch=(4,), seed=0):
    return instance(gaussian(dtype, m=M, n=N, seed=seed) if A is None else A, K, seed=seed, batch=batch, noise=1e-2)


def prepared(net, A, dtype=REAL):
    """The network, with its statistics if it has any."""
    if hasattr(net, "prepare"):
        net.prepare(signals(A=A, batch=(64,), seed=9).y.to(dtype))
    return net


def build(name, A, **options):
    """A network in the precision of A, as it is before training."""
    op = pursuit.as_operator(A)
    torch.manual_seed(0)
    net = getattr(nets, name)(A, **({"layers": LAYERS} | ALL[name] | options)).to(op.dtype.to_real())
    return prepared(net, A, op.dtype)


def move(net, size=0.1):
    """The same network with parameters like those that training would have found."""
    rng = generator(5)
    with torch.no_grad():
        for value in net.parameters():
            noise = torch.randn(value.shape, generator=rng, dtype=REAL)
            value += size * noise.to(value) * value.abs().mean().clamp(min=1e-3)
    return net


def with_statistics(net, other):
    """The network with the statistics of another, if it has any: they depend on what it was prepared with."""
    own = {name: value for name, value in other.state_dict().items() if name in ("mean", "std")}
    net.load_state_dict(own, strict=False)
    return net


def moved(name, A, **options):
    return move(build(name, A, **options))


# References: one signal, entry by entry, from the formulas.


def threshold(z, theta, passing):
    out = np.zeros_like(z)
    for i, value in enumerate(z):
        t = theta[i] if np.ndim(theta) else theta
        if passing[i]:
            out[i] = value
        elif abs(value) > t and value != 0:
            out[i] = value / abs(value) * (abs(value) - t)
    return out


def passes(selection, k, layers, z, theta):
    """Which entries pass in layer k, from 0."""
    size = np.abs(z)
    if selection is None:
        return np.zeros(len(z), dtype=bool)
    if isinstance(selection, PercentSchedule):
        percent = min(selection.step * (k + 1), selection.most)
        return (size > np.percentile(size, 100 - percent, method="nearest")) & (size > theta)
    last = selection.share * selection.sparsity
    p = int(np.floor(np.linspace(last // layers, last, layers)[k] + 1e-9))
    p = min(max(p, selection.low), len(z) if selection.high is None else selection.high)
    return size > np.sort(size)[-p] if p else np.zeros(len(z), dtype=bool)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def softplus(v):
    return np.log1p(np.exp(v))


def matrices(net, A, values):
    """What residuals are projected back with, `W^H` of every layer."""
    if "back_projection.matrix" not in dict(net.named_parameters()):
        gram = np.linalg.inv(A @ A.conj().T)
        W = gram @ A
        W = W / np.sum(A.conj() * W, axis=0)
        return [W.conj().T] * net.layers
    W = values["back_projection.matrix"]
    W = W[..., 0] + 1j * W[..., 1] if W.ndim == 4 else W
    return [W[k % len(W)].conj().T for k in range(net.layers)]


def plain(net, A, y, selection):
    """The network's answer for one signal, in units of unit columns."""
    values = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    return PLAIN[type(net).__name__](net, A, y, selection, values)


def plain_lista(net, A, y, selection, v):
    W1, W2 = (w[..., 0] + 1j * w[..., 1] if w.ndim == 4 else w for w in (v["W1"], v["W2"]))
    x = np.zeros_like(A[0])
    for k in range(net.layers):
        z = W1[k % len(W1)] @ y + W2[k % len(W2)] @ x
        x = threshold(z, v["theta"][k], passes(selection, k, net.layers, z, v["theta"][k]))
    return x


def plain_alista(net, A, y, selection, v):
    back = matrices(net, A, v)
    x = np.zeros_like(A[0])
    for k in range(net.layers):
        gamma = v["gamma"][k] if "gamma" in v else 1.0
        z = x + gamma * (back[k] @ (y - A @ x))
        theta = v["theta"][k]
        if isinstance(net, nets.ALISTAAT):
            theta = theta / (np.abs(x) / net.epsilon + 1)
        x = threshold(z, theta, passes(selection, k, net.layers, z, theta))
    return x


def plain_aglista(net, A, y, selection, v):
    back = matrices(net, A, v)
    x = np.zeros_like(A[0])
    for k in range(net.layers):
        t = v["theta_init"][0] if k == 0 else v["theta"][k]
        gain = 1 + t * v["nu"][k] * np.exp(-v["v"][k] * np.abs(x))
        z = x - v["gamma"][k] * (back[k] @ (A @ (gain * x) - y))
        z = threshold(z, v["theta"][k], passes(selection, k, net.layers, z, v["theta"][k]))
        o = 1 + v["a"][k] / (np.abs(z - x) + 0.01)
        x = o * z + (1 - o) * x
    return x


def plain_glista(net, A, y, selection, v):
    back = matrices(net, A, v)
    x, before = np.zeros_like(A[0]), v["theta"][0]
    for k in range(net.layers):
        point = (1 + 0.2 * v["a"][k] / (0.001 + np.abs(v["D"][k] * x))) * x
        z = point + back[k] @ (y - A @ point)
        passing = passes(selection, k, net.layers, z, v["theta"][k])
        z = threshold(z, v["theta"][k], passing)
        g = 1 - v["b"][k] * before / (np.abs(z - x) + 0.1)
        x = g * z + (1 - g) * x
        before = np.where(passing, 0, v["theta"][k])
    return x


def l1(b):
    return np.sum(np.abs(b.real)) + np.sum(np.abs(b.imag))


def plain_na_alista(net, A, y, selection, v):
    back = matrices(net, A, v)
    x, h, c = np.zeros_like(A[0]), v["h0"], v["c0"]
    for k in range(net.layers):
        b = A @ x - y
        u = back[k] @ b
        told = np.array([{"r": l1(b), "u": l1(u)}[name] for name in net.inputs])
        told = (told - v["mean"]) / v["std"]
        gates = v["cell.weight_ih"] @ told + v["cell.bias_ih"] + v["cell.weight_hh"] @ h + v["cell.bias_hh"]
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        if "head.weight" in v:
            out = v["head.weight"] @ c
        else:
            hidden = np.maximum(v["head.0.weight"] @ c + v["head.0.bias"], 0)
            out = v["head.2.weight"] @ hidden + v["head.2.bias"]
        gamma, theta = softplus(out) * np.array(net.scales)
        z = x - gamma * u
        x = threshold(z, theta, passes(selection, k, net.layers, z, theta))
    return x


def plain_hyper_lista(net, A, y, selection, v):
    back, pinv = matrices(net, A, v), np.linalg.pinv(A)
    c_theta, c_beta, c_ss = v["c"]
    x = last = np.zeros_like(A[0])
    for k in range(net.layers):
        e = np.abs(pinv @ (A @ x - y)).sum()
        theta = c_theta * net.gamma * e
        beta = c_beta * np.count_nonzero(np.abs(x) > net.ratio * np.abs(x).max())
        p = min(max(c_ss * math.log(np.abs(pinv @ y).sum() / e), 0), 1)
        z = x - net.gamma * (back[k] @ (A @ x - y)) + beta * (x - last)
        size = np.abs(z)
        last, x = x, threshold(z, theta, (size >= np.quantile(size, 1 - p)) & (size >= theta))
    return x


def plain_lamp(net, A, y, selection, v):
    m, n = A.shape
    x, r = np.zeros_like(A[0]), y
    for k in range(net.layers):
        tau2 = np.exp(v["alpha"][k]) * np.sum(np.abs(r) ** 2) / m
        z, prior = x + v["gamma"][k] * (A.conj().T @ r), np.exp(v["variance"][k])
        x, slope = posterior(z, tau2, sigmoid(v["logit"][k]), prior)
        r = y - A @ x + v["b"][k] * n / m * slope.mean() * r
    return x


def posterior(z, tau2, share, prior):
    """Mean of Bernoulli-Gaussian entries and, over tau2, their variance, which is the slope of the mean."""

    def density(variance):
        if np.iscomplexobj(z):
            return np.exp(-(np.abs(z) ** 2) / variance) / (np.pi * variance)
        return np.exp(-(z**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)

    there, absent = share * density(prior + tau2), (1 - share) * density(tau2)
    p = there / (there + absent)
    mean, variance = z * prior / (prior + tau2), prior * tau2 / (prior + tau2)
    return p * mean, (p * (np.abs(mean) ** 2 + variance) - np.abs(p * mean) ** 2) / tau2


PLAIN = {
    "LISTA": plain_lista,
    "AGLISTA": plain_aglista,
    "GLISTA": plain_glista,
    "NAALISTA": plain_na_alista,
    "HyperLISTA": plain_hyper_lista,
    "LAMP": plain_lamp,
} | dict.fromkeys(("LISTACP", "LISTACPSS", "TiLISTA", "ALISTA", "ALISTAAT"), plain_alista)

FORMS = [
    *((name, {"selection": selection}) for name in SELECTING for selection in SELECTIONS.values()),
    ("LISTA", {"tied": True}),
    ("LISTACP", {"tied": False}),
    ("LISTACPSS", {"tied": True, "selection": PercentSchedule()}),
    ("GLISTA", {"tied": False, "selection": PercentSchedule()}),
    *(("NAALISTA", {"inputs": inputs, "selection": CountSchedule(4)}) for inputs in ("r", "u")),
    ("NAALISTA", {"scale_gamma": 2.0, "scale_theta": 0.1, "selection": None}),
    ("NAALISTA", {"faithful_paper": True, "selection": CountSchedule(2)}),
    ("HyperLISTA", {}),
    ("HyperLISTA", {"gamma": 0.4, "ratio": 0.3, "c_ss": 0.05}),
    ("LAMP", {}),
    ("LAMP", {"sparsity": 9, "variance": 2.5}),
]


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=["real", "complex"])
@pytest.mark.parametrize(("name", "options"), FORMS, ids=[f"{name} {options}" for name, options in FORMS])
def test_networks_are_the_formulas(name, options, dtype):
    p = signals(A=unnormalised(dtype, m=M, n=N), batch=(3,))
    check_formulas(moved(name, p.A, **options), p, options.get("selection"))


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=["real", "complex"])
@pytest.mark.parametrize("selection", [None, CountSchedule(5), PercentSchedule(9.0, 30.0)])
def test_gates_of_glista_that_are_open(selection, dtype):
    """They start nearly closed: most steps would be the same without them."""
    p = signals(A=unnormalised(dtype, m=M, n=N), batch=(3,))
    net = moved("GLISTA", p.A, selection=selection)
    with torch.no_grad():
        net.a.mul_(50), net.b.mul_(50)
        net.D[:, ::2] *= -3  # the sign has no meaning
    check_formulas(net, p, selection)


def check_formulas(net, p, selection):
    """The network gives what the loops over one signal give."""
    lengths = torch.linalg.vector_norm(p.A, dim=0)
    A = (p.A / lengths).numpy()
    wanted = np.stack([plain(net, A, y.numpy(), selection) for y in p.y]) / lengths.numpy()
    assert np.count_nonzero(wanted) >= K
    assert net(p.y).dtype == p.A.dtype
    np.testing.assert_allclose(net(p.y).detach().numpy(), wanted, rtol=1e-9, atol=1e-10)


# What networks start as.


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=["real", "complex"])
@pytest.mark.parametrize("name", ["LISTA", "LISTACP", "LISTACPSS", "TiLISTA", "GLISTA"])
def test_learned_networks_start_as_ista(name, dtype):
    p = signals(dtype)
    net = build(name, p.A, selection=None, layers=20)
    if name == "GLISTA":  # whose gates are nearly closed before training
        net.a.data.zero_(), net.b.data.zero_()
    size = 1.001 * torch.linalg.matrix_norm(p.A, 2).square()
    x = torch.zeros_like(p.x)
    for _ in range(20):
        x = pursuit.shrinkage.soft(x + (p.y - x @ p.A.mT) @ p.A.conj() / size, 0.4 / size)
    torch.testing.assert_close(net(p.y).detach(), x, rtol=1e-5, atol=1e-6)  # values start in single precision
    ista = pursuit.ista(p.A, p.y, lam=0.4, max_steps=20).x  # whose L is not a thousandth more
    torch.testing.assert_close(net(p.y).detach(), ista, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=["real", "complex"])
def test_alista_with_the_adjoint_is_ista(dtype):
    p = signals(dtype)
    gamma = 1 / torch.linalg.matrix_norm(p.A, 2).square().item()
    net = build("ALISTA", p.A, W=p.A, selection=None, layers=20)
    with torch.no_grad():
        net.gamma.fill_(gamma)
        net.theta.fill_(0.1 * gamma)
    ista = pursuit.ista(p.A, p.y, lam=0.1, max_steps=20).x
    torch.testing.assert_close(net(p.y).detach(), ista, rtol=1e-9, atol=1e-10)


def test_published_schedules():
    assert [layer.p for layer in CountSchedule(50).layers(16, 1000)] == [
        3, 6, 10, 14, 18, 22, 25, 29, 33, 37, 41, 44, 48, 52, 56, 60,
    ]  # fmt: skip
    assert {layer.p for layer in CountSchedule(50, share=1.5, low=3, high=10).layers(16, 1000)} == {4, 8, 10}
    assert [layer.p for layer in PercentSchedule().layers(16, 1001)] == [
        13, 25, 37, 49, 61, 73, 85, 97, 109, 121, 131, 131, 131, 131, 131, 131,
    ]  # fmt: skip
    assert not any(layer.tested for layer in CountSchedule(50).layers(16, 1000))
    assert all(layer.tested for layer in PercentSchedule().layers(16, 1000))
    assert build("ALISTA", gaussian(m=M, n=N), sparsity=4).shrink == CountSchedule(4).layers(LAYERS, N)


# Operators, batches, units, phases.


def wide(A):
    """Convolution, then some of the Fourier transform of that."""
    return pursuit.Compose(A, pursuit.Convolution(torch.tensor([0.2, 1.0, 0.4], dtype=A.dtype), A.shape[1]))


IMPLICIT = {
    "fourier": lambda: fourier(m=M, n=N),
    "convolution": lambda: pursuit.Convolution(torch.tensor([0.2, 1.0, 0.4], dtype=REAL), N),
    "both": lambda: wide(fourier(m=M, n=N)),
    "scaled": lambda: pursuit.ColumnScaled(fourier(m=M, n=N), 1 + torch.rand(N, dtype=REAL, generator=generator(0))),
}


@pytest.mark.parametrize("kind", IMPLICIT)
@pytest.mark.parametrize("name", ALL)
def test_implicit_operators_give_what_their_matrices_give(name, kind):
    A = IMPLICIT[kind]()
    p = signals(A=A)
    net, dense = (moved(name, op) for op in (A, p.dense))
    if name == "LAMP":  # AMP is for random matrices, and diverges for some of these
        net.layers = dense.layers = 2
    torch.testing.assert_close(net(p.y), dense(p.y), rtol=1e-6, atol=1e-8)
    assert {k: v.shape for k, v in net.named_parameters()} == {k: v.shape for k, v in dense.named_parameters()}


@pytest.mark.parametrize("name", ANALYTIC)
def test_own_weights_on_an_implicit_operator(name):
    A = IMPLICIT["scaled"]()
    y, sizes, net = signals(A=A).y, A.column_norms(), moved(name, A)
    W = pursuit.ColumnScaled(pursuit.analytic_weights(pursuit.ColumnScaled(A, 1 / sizes)), 1 / sizes)
    for given in (W, W.to_dense()):
        torch.testing.assert_close(moved(name, A, W=given)(y), net(y), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, REAL, torch.complex64, COMPLEX])
@pytest.mark.parametrize("name", ALL)
def test_batches_of_any_shape_and_every_precision(name, dtype, kernels):
    p = signals(dtype, batch=(2, 3))
    net = moved(name, p.A)
    x = net(p.y)
    assert (x.shape, x.dtype) == ((2, 3, N), dtype)
    close = {"rtol": 1e-3, "atol": 1e-4} if dtype.to_real() == torch.float32 else {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(net(p.y[1]), x[1], **close)
    torch.testing.assert_close(net(p.y[0, 2]), x[0, 2], **close)
    torch.testing.assert_close(net(p.y.mT.contiguous().mT), x, **close)
    assert net(p.y[:0]).shape == (0, 3, N)


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=["real", "complex"])
@pytest.mark.parametrize("name", ALL)
def test_answers_are_in_the_callers_units(name, dtype):
    p = signals(dtype)
    scale = 3 ** (2 * torch.rand(N, generator=generator(3), dtype=REAL) - 1)
    net, other = build(name, p.A), build(name, p.A * scale)
    other.load_state_dict({k: v for k, v in net.state_dict().items() if k != "sensing.scale"}, strict=False)
    move(net), move(other)
    torch.testing.assert_close(other(p.y), net(p.y) / scale, rtol=1e-8, atol=1e-10)
    if name in ANALYTIC:
        W = pursuit.analytic_weights(p.A)
        with_own = with_statistics(moved(name, p.A * scale, W=W / scale), net)
        torch.testing.assert_close(with_own(p.y), net(p.y) / scale, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_a_turn_of_the_phase_turns_the_answer(name):
    p = signals(COMPLEX)
    net = moved(name, p.A)
    # NA-ALISTA measures residuals by the l1 norms of real and imaginary parts, as its authors do with complex data:
    # only quarter turns leave these as they are.
    for angle in (math.pi / 2, math.pi, 0.7)[: 2 if name == "NAALISTA" else 3]:
        turn = torch.polar(torch.ones((), dtype=REAL), torch.tensor(angle, dtype=REAL))
        torch.testing.assert_close(net(turn * p.y), turn * net(p.y), rtol=1e-7, atol=1e-9)
    real = signals()
    net = moved(name, real.A)
    torch.testing.assert_close(net(-real.y), -net(real.y), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_what_is_known_of_the_signals(name):
    p = signals(COMPLEX)
    stacked, y = pursuit.on_real_signals(p.A, p.y)
    free, part = (moved(name, p.A, signals=known)(p.y) for known in ("complex", "real part"))
    assert free.is_complex()
    torch.testing.assert_close(part, free.real)
    real, other = moved(name, p.A, signals="real"), moved(name, stacked)
    torch.testing.assert_close(with_statistics(real, other)(p.y), other(y))


@pytest.mark.parametrize("name", ALL)
def test_complex_measurements_by_a_real_matrix(name):
    p = signals()
    y = torch.complex(p.y, normal(9, *p.y.shape))
    real, cplx = build(name, p.A), build(name, p.A.to(COMPLEX))
    cplx = with_statistics(cplx, real)
    torch.testing.assert_close(real(y), cplx(y), rtol=1e-8, atol=1e-9)


# Gradients.

# Entries that no gradient reaches: gates on x = 0, gates that are off, thresholds of choices.
UNREACHED = {
    "LISTA": {"W2": 0},
    "AGLISTA": {"theta_init": 0, "v": 0, "nu": 0},
    "GLISTA": {"a": 0, "D": 0},
    "HyperLISTA": {"c": 2},
    "LAMP": {"b": -1},  # what it makes of the last residual, nothing reads
}


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=["real", "complex"])
@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_every_parameter(name, dtype, kernels):
    p = signals(dtype)
    net = moved(name, p.A)
    (net(p.y) - p.x).abs().square().sum().backward()
    for part, value in net.named_parameters():
        assert value.grad.isfinite().all(), part
        size = value.grad.flatten(1).norm(dim=1) if value.ndim > 1 else value.grad.abs()
        reached = size > 0
        if part in UNREACHED.get(name, {}):
            at = UNREACHED[name][part]
            assert not reached[at], part
            reached[at] = True
        # A unit of the hidden layer may be off for every signal.
        assert reached.any() if "head.0" in part else reached.all(), part


GRADED = [
    *((name, {}) for name in ALL),
    ("NAALISTA", {"faithful_paper": True}),
]


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=["real", "complex"])
@pytest.mark.parametrize(("name", "options"), GRADED, ids=[f"{name} {options}" for name, options in GRADED])
def test_gradients_are_right(name, options, dtype, kernels):
    A = gaussian(dtype, m=5, n=7)
    small = {"hidden": 3} if name == "NAALISTA" else {}
    net = move(build(name, A, layers=2, **(options | small)))
    named = dict(net.named_parameters())
    y = instance(A, 2, batch=(2,), noise=0.05).y.requires_grad_()

    def answer(y, *values):
        x = functional_call(net, dict(zip(named, values, strict=True)), (y,))
        return torch.view_as_real(x) if x.is_complex() else x

    assert torch.autograd.gradcheck(answer, (y, *named.values()), atol=1e-6, fast_mode=True)


def test_no_gradient_where_none_is_asked_for():
    p = signals()
    for name in ALL:
        with torch.no_grad():
            assert not moved(name, p.A)(p.y).requires_grad


# Options and depth.

COUNTED = {"selection": None, "sparsity": K}
OPTIONS = [
    *((name, {"selection": SELECTIONS[kind]}) for name in SELECTING for kind in ("counts", "other percent")),
    *((name, COUNTED) for name in SELECTING),
    *((name, {"tied": not SELECTING[name].get("tied", True)}) for name in ("LISTA", "LISTACP", "LISTACPSS", "GLISTA")),
    *((name, {"layers": 5}) for name in ALL),
    *((name, {option: 0.3}) for name in ("ALISTA", "ALISTAAT", "AGLISTA") for option in ("gamma", "theta")),
    *((name, {"W": "A"}) for name in ANALYTIC),
    ("ALISTAAT", {"epsilon": 0.7}),
    *(("NAALISTA", {"inputs": inputs}) for inputs in ("r", "u")),
    ("NAALISTA", {"faithful_paper": True}),
    ("NAALISTA", {"hidden": 9}),
    *(("NAALISTA", {option: 0.5}) for option in ("scale_gamma", "scale_theta")),
    *(("HyperLISTA", {name: 0.2}) for name in ("c_theta", "c_beta", "c_ss", "gamma", "ratio")),
    ("LAMP", {"sparsity": 9}),
    ("LAMP", {"variance": 0.2}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=[f"{name} {options}" for name, options in OPTIONS])
def test_every_option_changes_something(name, options):
    p = signals(batch=(20,))
    usual = {"selection": PercentSchedule() if options is COUNTED else None} if name in SELECTING else {}
    if options.get("W") == "A":
        options = {"W": p.A}
    net, other = (moved(name, p.A, **(usual | more)) for more in ({}, options))
    assert (net(p.y) - other(p.y)).abs().max() > 1e-6


@pytest.mark.parametrize("selection", [None, PercentSchedule()], ids=["none", "percent"])
@pytest.mark.parametrize("name", ALL)
def test_a_cut_network_is_one_with_fewer_layers(name, selection):
    # The counts of `CountSchedule` depend on the number of layers.
    p, select = signals(), {"selection": selection} if name in SELECTING else {}
    net = moved(name, p.A, **select)
    for depth in (1, 3):
        few = build(name, p.A, layers=depth, **select)
        shapes = {k: v.shape for k, v in few.state_dict().items()}
        few.load_state_dict({k: v if v.shape == shapes[k] else v[:depth] for k, v in net.state_dict().items()})
        net.depth = depth
        torch.testing.assert_close(net(p.y), few(p.y), rtol=1e-12, atol=1e-12)
    whole = moved(name, p.A, **select)(p.y)
    for depth in (None, LAYERS):
        net.depth = depth
        assert (net(p.y) == whole).all()


# NA-ALISTA.


def test_step_sizes_and_thresholds_are_positive():
    p = signals(batch=(200,))
    net = move(build("NAALISTA", p.A), 5.0)
    layers = list(net.trace(p.y))
    assert len(layers) == LAYERS
    for layer in layers:
        assert layer.gamma.shape == layer.theta.shape == layer.r.shape == layer.u.shape == (200, 1)
        assert (layer.gamma > 0).all()
        assert (layer.theta > 0).all()
    torch.testing.assert_close(layers[0].r.squeeze(-1), p.y.abs().sum(-1))
    torch.testing.assert_close(net(p.y), layers[-1].x)


@pytest.mark.parametrize("inputs", ["ru", "r", "u"])
def test_statistics_are_taken_once(inputs):
    p = signals(A=unnormalised(m=M, n=N), batch=(50,))
    net = nets.NAALISTA(p.A, layers=2, hidden=4, inputs=inputs).double()
    with pytest.raises(ValueError, match=r"no statistics of r and u; .*net\.prepare\(y\)"):
        net(p.y)
    for y in (p.y[:1], p.y[0]):
        with pytest.raises(ValueError, match=r"needed is \(signals, m\), with at least two"):
            net.prepare(y)
    net.prepare(p.y)
    A = unit(p.A)
    told = {"r": p.y.abs().sum(-1), "u": (p.y @ pursuit.analytic_weights(A)).abs().sum(-1)}
    wanted = torch.stack([told[name] for name in inputs], dim=-1)
    torch.testing.assert_close(net.mean, wanted.mean(0))
    torch.testing.assert_close(net.std, wanted.std(0))
    before = {name: value.clone() for name, value in net.named_buffers()}
    net.prepare(100 * p.y)
    after = dict(net.named_buffers())
    assert {"mean", "std", "prepared"} < after.keys()
    assert all((value == after[name]).all() for name, value in before.items())
    assert nets.NAALISTA(p.A, layers=2, hidden=4, faithful_paper=True).double()(p.y).isfinite().all()


# HyperLISTA.


def test_tuning_takes_the_best_of_the_grid():
    p = signals(batch=(30,))
    net = build("HyperLISTA", p.A, layers=8)
    grid = {"c_theta": [1e-3, 0.02, 0.3], "c_beta": [0.0, 0.03], "c_ss": [0.05, 0.5]}
    loss = net.tune(p.y, p.x, **grid)
    losses = {}
    for theta in grid["c_theta"]:
        for beta in grid["c_beta"]:
            for ss in grid["c_ss"]:
                other = build("HyperLISTA", p.A, layers=8, c_theta=theta, c_beta=beta, c_ss=ss)
                losses[theta, beta, ss] = (other(p.y) - p.x).square().sum(-1).mean().item()
    assert loss == pytest.approx(min(losses.values()), rel=1e-4)  # the three numbers were in single precision there
    assert net.c.tolist() == pytest.approx(min(losses, key=losses.get), rel=1e-6)
    assert len(set(losses.values())) > len(losses) / 2
    assert (net(p.y) - p.x).square().sum(-1).mean().item() == pytest.approx(loss)


@pytest.mark.parametrize("dtype", [torch.float32, REAL, torch.complex64, COMPLEX])
def test_signals_that_are_met_exactly_have_finite_answers(dtype):
    A, x = torch.eye(6, dtype=dtype), torch.zeros(3, 6, dtype=dtype)
    x[0, 2], x[1, :3] = 1.5, torch.tensor([1.0, -2.0, 1e-3], dtype=dtype)
    for name in ALL:
        net = getattr(nets, name)(A, **(ALL[name] | {"layers": 30})).to(dtype.to_real())
        if name == "NAALISTA":
            net.prepare(torch.eye(6, dtype=dtype) + 0.1)
        y = x.clone().requires_grad_()
        out = net(y)
        assert out.isfinite().all(), name
        out.abs().square().sum().backward()
        assert y.grad.isfinite().all(), name
        assert all(value.grad is None or value.grad.isfinite().all() for value in net.parameters()), name
        if name in ("HyperLISTA", "LAMP"):
            torch.testing.assert_close(out.detach(), x, rtol=1e-3, atol=1e-3)


# LAMP.


def test_noise_free_signals_are_found_to_the_last_digit():
    ensemble = pursuit.ensembles.bernoulli_gaussian(n=400, m=200, k=20, snr=math.inf)
    y, x = ensemble.draw(50, generator(0))
    net = nets.LAMP(ensemble.A, layers=40, sparsity=20)
    assert pursuit.metrics.nmse_db(net(y).detach(), x) < -100


@pytest.mark.parametrize("kind", ["gaussian", "fourier"])
def test_complex_amp(kind):
    A = gaussian(torch.complex64, m=200, n=400) if kind == "gaussian" else fourier(torch.complex64, m=200, n=400)
    ensemble = pursuit.ensembles.BernoulliGaussian("", pursuit.as_operator(A), 20, False, 40.0, {})
    y, x = ensemble.draw(50, generator(0))
    net = nets.LAMP(A, layers=12, sparsity=20, variance=1.0 if kind == "gaussian" else 200.0)
    assert pursuit.metrics.nmse_db(net(y).detach(), x) < -30


def test_amp_is_near_the_oracle_before_any_training():
    ensemble = pursuit.ensembles.bernoulli_gaussian()
    y, x = ensemble.draw(200, generator(0))
    assert pursuit.metrics.nmse_db(nets.LAMP(ensemble.A, sparsity=50)(y).detach(), x) < -44


# Files.


def altered(net):
    """The network with parameters that no option gives."""
    with torch.no_grad():
        for value in net.parameters():
            value += 0.01 * torch.randn(value.shape, generator=generator(value.numel())).to(value)
    return net


STORED = [
    *(
        (name, {"selection": selection})
        for name in SELECTING
        for selection in (None, CountSchedule(4, 1.5, 1, 7), PercentSchedule(5))
    ),
    *((name, {}) for name in OTHERS),
    *((name, {"W": "own"}) for name in ANALYTIC),
    ("GLISTA", {"tied": False}),
    ("NAALISTA", {"inputs": "u", "scale_theta": 0.05, "sparsity": 4}),
    ("NAALISTA", {"faithful_paper": True}),
]


@pytest.mark.parametrize("dtype", [torch.float32, REAL, torch.complex64, COMPLEX])
@pytest.mark.parametrize(("name", "options"), STORED, ids=[f"{name} {options}" for name, options in STORED])
def test_files_bring_back_all_of_it(name, options, dtype, tmp_path):
    A, path = unnormalised(dtype, m=M, n=N).mT.contiguous().mT, tmp_path / "net.safetensors"
    p = signals(A=A)
    if options.get("W") == "own":
        options = {"W": pursuit.analytic_weights(A * 1.0) if dtype.is_complex else A / A.square().sum(0)}
    net = getattr(nets, name)(A, **({"layers": LAYERS, "signals": "real part"} | ALL[name] | options))
    net = altered(prepared(net.to(dtype.to_real()), A, dtype))
    nets.save(net, path)
    state = torch.get_rng_state()
    for again in (nets.load(path), nets.load(path, A=A)):
        assert (torch.get_rng_state() == state).all()
        assert again.config == net.config
        assert (again(p.y) == net(p.y)).all()
        own, theirs = again.state_dict(), net.state_dict()
        assert own.keys() == theirs.keys()
        assert all((own[part] == theirs[part]).all() and own[part].dtype == theirs[part].dtype for part in own)
        assert [v.requires_grad for v in again.parameters()] == [True] * len(list(net.parameters()))
        nets.save(again, tmp_path / "again.safetensors")
        assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    with pytest.raises(
        ValueError, match=f"holds a {type(net).__name__}, which has no structure weights; needed .* OMPNet, IHTNet"
    ):
        nets.read_weights(path)


@pytest.mark.parametrize("name", ALL)
def test_files_of_networks_for_real_signals(name, tmp_path):
    p, path = signals(COMPLEX), tmp_path / "net.safetensors"
    own = {"W": pursuit.analytic_weights(p.A)} if name in ANALYTIC else {}
    for options in ({}, own):
        net = moved(name, p.A, signals="real", **options)
        nets.save(net, path)
        assert (nets.load(path)(p.y) == net(p.y)).all()


@pytest.mark.parametrize("name", ALL)
def test_files_of_networks_on_implicit_operators(name, tmp_path):
    A, path = fourier(m=M, n=N), tmp_path / "net.safetensors"
    y = signals(A=A).y
    net = moved(name, A)
    nets.save(net, path)
    assert (nets.load(path, A=A)(y) == net(y)).all()
    with pytest.raises(ValueError, match=r"an operator that is not stored; pass it as load\(path, A=...\)"):
        nets.load(path)
    with pytest.raises(ValueError, match=r"a \w+ in torch\.float64; given is SubsampledFourier.*one precision"):
        nets.load(path, A=fourier(torch.complex64, m=M, n=N))
    with pytest.raises(ValueError, match="that was built without W; leave W out"):
        nets.load(path, A=A, W=A)


@pytest.mark.parametrize("name", ANALYTIC)
def test_files_of_networks_with_weights_that_are_not_stored(name, tmp_path):
    A, path = fourier(m=M, n=N), tmp_path / "net.safetensors"
    y, W = signals(A=A).y, pursuit.ColumnScaled(A, A.column_norms() ** -2)
    net = moved(name, A, W=W)
    nets.save(net, path)
    assert nets.load(path, A=A, W=W).back_projection.given
    assert (nets.load(path, A=A, W=W)(y) == net(y)).all()
    with pytest.raises(ValueError, match=r"weights that are not stored; pass them as load\(path, A=..., W=...\)"):
        nets.load(path, A=A)
    with pytest.raises(ValueError, match=r"cannot be built: W does not belong to A"):
        nets.load(path, A=A, W=pursuit.ColumnScaled(A, torch.full((N,), 2.0, dtype=REAL)))


def test_files_that_do_not_fit(tmp_path):
    import json

    from safetensors.torch import save_file

    p, path = signals(), tmp_path / "net.safetensors"
    net = moved("ALISTA", p.A, W=p.A)
    nets.save(net, path)
    with pytest.raises(ValueError, match="holds the weights of its ALISTA; leave W out"):
        nets.load(path, W=p.A)
    with pytest.raises(ValueError, match="holds a ALISTA for another matrix A of this shape"):
        nets.load(path, A=gaussian(m=M, n=N, seed=1))
    with pytest.raises(ValueError, match=r"for a real matrix with m=16, n=30; given is Dense\(shape=\(16, 31\)"):
        nets.load(path, A=gaussian(m=M, n=N + 1))

    record, tensors = nets.storage.describe(net), net.state_dict()

    def refused(message, *, tensors=tensors, **changes):
        save_file(tensors, path, metadata={"pursuit": json.dumps(record | changes)})
        with pytest.raises(ValueError, match=message):
            nets.load(path)

    options = record["config"]
    refused("options say layers=5, and whose tensors say 4", config=options | {"layers": 5})
    refused(r"other tensors than its options say: has besides its own 'gamma'", net="LISTACP", config={}, weights="")
    refused(r"does not have 'theta'", tensors={k: v for k, v in tensors.items() if k != "theta"})
    refused(r"'theta' is torch.int64", tensors=tensors | {"theta": torch.ones(4, dtype=torch.int64)})
    refused("holds a 'Magic', which this version does not know; it knows OMPNet", net="Magic")
    refused("ALISTA that cannot be built: .*'magic'", config=options | {"magic": 1})
    refused("ALISTA that cannot be built: layers is 0", config=options | {"layers": 0})
    refused("options that cannot be read", config=options | {"selection": {"Popen": {"args": "true"}}})
    refused("options that cannot be read", config=options | {"selection": {"Counts": {"sparsity": 0}}})
    refused("options that cannot be read", config=[])
    refused("not a network that pursuit.nets.save wrote", tensors={"theta": torch.ones(4)})
    save_file(tensors, path, metadata={"pursuit": json.dumps({"settings": {}})})
    with pytest.raises(ValueError, match=r"In the folder of a training, net\.safetensors is the network"):
        nets.load(path)


# Bad input.

A = gaussian(m=4, n=6).float()
BAD = {
    "layers": (lambda net: net(A, layers=0), "layers is 0; needed is a whole number"),
    "sparsity": (lambda net: net(A, sparsity=0), "sparsity is 0; needed"),
    "NaN in A": (lambda net: net(A / 0), "A has entries that are NaN or infinite"),
    "batch of A": (lambda net: net(A.expand(2, 4, 6)), r"A has batch \(2,\), but a network has one matrix"),
    "signals": (lambda net: net(A, signals="imaginary"), "signals is 'imaginary'; choose"),
    "m": (lambda net: net(A)(torch.ones(3, 5)), r"y has shape \(3, 5\), but the network was built for m=4"),
    "scalar y": (lambda net: net(A)(torch.ones(())), r"y has shape \(\), but the network was built for m=4"),
    "precision": (lambda net: net(A)(torch.ones(4).double()), r"y is torch.float64 .* network torch.float32"),
    "selection": (lambda net: net(A, selection="percent"), r"selection is 'percent'; needed is nets\.CountSchedule"),
    "zero column": (lambda net: net(A * (torch.arange(6) > 0)), "A has 1 columns that are zero"),
    "W shape": (lambda net: net(A, W=A.T), r"W has shape \(6, 4\) and A \(4, 6\).* W\.T may be"),
    "W diagonal": (lambda net: net(A, W=2 * A), r"W does not belong to A: w_i\^H a_i is 2"),
    "W complex": (lambda net: net(A, W=A + 0j), "needed are real weights for a real A"),
    "W NaN": (lambda net: net(A, W=A / 0), "W has 24 entries that are NaN or infinite"),
    "W batch": (lambda net: net(A, W=A.expand(2, 4, 6)), r"W has batch \(2,\), but a network has one matrix"),
    "gamma": (lambda net: net(A, gamma=math.nan), "the start value of the layers is nan; needed is a finite number"),
    "theta": (lambda net: net(A, theta="1"), "the start value of the layers is '1'; needed is a finite number"),
}  # fmt: skip
ONLY = {
    "ALISTAAT": {"epsilon": (0.0, "epsilon is 0.0; needed")},
    "NAALISTA": {"hidden": (0, "hidden is 0; needed"), "inputs": ("ur", "inputs is 'ur'; choose 'r', 'u', 'ru'")},
    "HyperLISTA": {
        "gamma": (0.0, "gamma is 0.0; needed"),
        "ratio": (1.0, "ratio is 1.0; needed is 0 <= ratio < 1"),
        "c_theta": (math.nan, "c_theta is nan; needed is a finite number"),
    },
    "LAMP": {"sparsity": (6, "sparsity is 6; needed"), "variance": (0.0, "variance is 0.0; needed")},
}
TAKES = {
    "sparsity": (*SELECTING, "LAMP"),
    "selection": SELECTING,
    "zero column": (*ANALYTIC, "HyperLISTA"),
    "gamma": ("ALISTA", "ALISTAAT", "AGLISTA"),
    "theta": ("ALISTA", "ALISTAAT", "AGLISTA"),
}
REFUSED = [(case, name) for case in BAD for name in TAKES.get(case, ANALYTIC if case.startswith("W ") else ALL)]


@pytest.mark.parametrize(("case", "name"), REFUSED, ids=[" ".join(pair) for pair in REFUSED])
def test_bad_input(case, name):
    call, message = BAD[case]
    usual = {} if name != "LAMP" or case == "sparsity" else {"sparsity": 1}

    def net(*arguments, **options):
        made = getattr(nets, name)(*arguments, **(usual | options))
        if hasattr(made, "prepare"):
            made.prepare(A.T)
        return made

    with pytest.raises((ValueError, TypeError), match=message):
        call(net)


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in ONLY for option in ONLY[name]])
def test_bad_options(name, option):
    value, message = ONLY[name][option]
    with pytest.raises(ValueError, match=message):
        getattr(nets, name)(A, **{"sparsity": 1, option: value} if name == "LAMP" else {option: value})


@pytest.mark.parametrize(
    "bad",
    [
        lambda: CountSchedule(0),
        lambda: CountSchedule(3, share=0.0),
        lambda: PercentSchedule(0.0),
        lambda: PercentSchedule(1.0, math.nan),
    ],
)
def test_bad_selections(bad):
    with pytest.raises(ValueError, match="needed is a"):
        bad()


@pytest.mark.parametrize("name", ALL)
def test_zero_columns_stay_zero_where_no_weights_are_needed(name):
    if name in (*ANALYTIC, "HyperLISTA"):
        return
    matrix = gaussian(m=M, n=N) * (torch.arange(N) != 3)
    net = moved(name, matrix)
    x = net(signals(A=matrix).y)
    assert x.isfinite().all()
    assert (x[:, 3] == 0).all()


@pytest.mark.parametrize("name", ALL)
def test_measurements_that_are_not_numbers_do_not_become_zeros(name, kernels):
    p = signals()
    y = p.y.clone()
    y[1, 2] = math.nan
    net = moved(name, p.A)
    x = net(y)
    assert x[1].isnan().any()
    torch.testing.assert_close(x[[0, 2, 3]], net(p.y)[[0, 2, 3]])


@pytest.mark.parametrize("name", ["ALISTA", "ALISTAAT", "AGLISTA"])
def test_layers_may_start_apart(name):
    net = getattr(nets, name)(torch.eye(3), layers=2, gamma=[0.5, 0.7], theta=(0.2, 0.1))
    assert net.gamma.tolist() == pytest.approx([0.5, 0.7])
    assert net.theta.tolist() == pytest.approx([0.2, 0.1])
    with pytest.raises(ValueError, match="needed is a finite number, or one for each of 2"):
        getattr(nets, name)(torch.eye(3), layers=2, theta=[0.1, 0.2, 0.3])
