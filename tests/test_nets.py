"""Networks: the solver's steps with learned values; every option does something; files bring them back."""

import pytest
import torch

import pursuit
from helpers import gaussian, instance, normal
from pursuit.nets import Annealed, CoSaMPNet, HTPNet, IHTNet, Learned, OMPNet, SPNet
from pursuit.relaxations import Relaxed

# Each network, and the solver whose steps it takes with the same numbers.
NETS = {
    "OMPNet": (OMPNet, {"layers": 4}, "omp", {}),
    "IHTNet": (IHTNet, {"k": 4, "layers": 7, "eta": 0.4}, "iht", {"eta": 0.4, "max_steps": 7}),
    "CoSaMPNet": (CoSaMPNet, {"k": 4, "layers": 1}, "cosamp", {"max_steps": 1}),
    "SPNet": (SPNet, {"k": 4, "layers": 1}, "sp", {"max_steps": 1}),
    "HTPNet": (HTPNet, {"k": 4, "layers": 1, "eta": 0.4}, "htp", {"eta": 0.4, "max_steps": 1}),
}
SORTS = {sort.__name__: sort for sort in (pursuit.softsort, pursuit.neuralsort, pursuit.sinkhorn_sort)}


def signals(dtype=torch.float64, *, seed=0, batch=(5,)):
    p = instance(gaussian(dtype, m=24, n=40, seed=seed), 4, seed=seed, batch=batch, noise=1e-2)
    return p._replace(y=p.y / p.y.norm(dim=-1, keepdim=True))


def build(name, A, **options):
    make, usual, _, _ = NETS[name]
    return make(A, **(usual | options)).to(torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("name", NETS)
def test_before_training_a_network_is_its_soft_solver(name, dtype):
    p = signals(dtype)
    _, _, solver, options = NETS[name]
    net = build(name, 3 * p.A, tau=0.05)
    soft = pursuit.solve(3 * p.A, p.y, solver, k=4, select=Relaxed(tau=0.05), **options)
    torch.testing.assert_close(net(p.y).detach(), soft.x, rtol=1e-6, atol=1e-8)
    assert net(p.y[0]).shape == (40,)
    assert net(p.y.reshape(5, 1, 24)).shape == (5, 1, 40)
    assert net(p.y[:0]).shape == (0, 40)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("name", NETS)
def test_weights_are_learned(name, dtype):
    p = signals(dtype)
    net = build(name, p.A, tau=0.05)
    before = (net(p.y) - p.x).abs().square().sum()
    before.backward()
    before = before.detach()
    slope = net.identify.w.grad
    assert slope.isfinite().all()
    assert slope.norm() > 0
    with torch.no_grad():
        net.identify.w -= 1e-6 * slope / slope.norm()
    after = (net(p.y) - p.x).abs().square().sum().detach()
    assert (before - after).item() / 1e-6 == pytest.approx(slope.norm().item(), rel=1e-2)


@pytest.mark.parametrize("name", NETS)
def test_the_structure_it_learned_goes_into_any_solver(name):
    p = signals()
    net = build(name, p.A)
    with torch.no_grad():
        net.identify.w.copy_(torch.where(p.x.any(0), -2.0, 0.0))  # its sign has no meaning
    assert net.weights.shape == (40,)
    assert not net.weights.requires_grad
    for solver in ("omp", "iht", "htp", "cosamp", "sp", "ompr", "els", "sea"):
        x = pursuit.solve(p.A, p.y, solver, k=4, weights=net.weights, max_steps=20).x
        assert not (x[:, ~p.x.any(0)] != 0).any()


OPTIONS = {
    "weights": {"weights": "per-layer"},
    "tau": {"tau": 0.3},
    "learned tau": {"tau": Learned(0.05)},
    "one learned tau": {"tau": Learned(0.05, per_layer=False)},
    "annealed tau": {"tau": Annealed(0.5, 0.05)},
    "relative": {"relative": True},
    "neuralsort": {"sort": pursuit.neuralsort},
    "sinkhorn": {"sort": pursuit.sinkhorn_sort},
    "learned eta": {"eta": Learned(0.4)},
    "annealed eta": {"eta": Annealed(0.9, 0.4)},
}


STEPPING = [name for name in NETS if "eta" in NETS[name][1]]


@pytest.mark.parametrize(
    ("name", "option"), [(n, o) for o in OPTIONS for n in (STEPPING if "eta" in OPTIONS[o] else NETS)]
)
def test_every_option_changes_something(name, option):
    p = signals()
    layers = NETS[name][1]["layers"] if name in ("OMPNet", "IHTNet") else 2
    plain, other = (build(name, p.A, **({"layers": layers, "tau": 0.05} | more)) for more in ({}, OPTIONS[option]))
    differs = (plain(p.y) - other(p.y)).abs().max() > 1e-6
    trained = {n: v.shape for n, v in other.named_parameters()} != {n: v.shape for n, v in plain.named_parameters()}
    assert differs or trained
    other(p.y).square().sum().backward()
    assert all(value.grad.abs().max() > 0 for value in other.parameters())


@pytest.mark.parametrize("weights", ["shared", "per-layer"])
@pytest.mark.parametrize("name", NETS)
def test_structure_to_start_from(name, weights):
    p, w0 = signals(), 0.5 + torch.rand(40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net = build(name, p.A, weights=weights, w0=w0)
    torch.testing.assert_close(net.weights, w0)
    assert (net(p.y) - build(name, p.A)(p.y)).abs().max() > 1e-6


def test_learned_and_annealed_values():
    p = signals()
    per_layer = build("IHTNet", p.A, eta=Learned(0.4), tau=Learned(0.01, per_layer=False), weights="per-layer")
    assert {n: tuple(v.shape) for n, v in per_layer.named_parameters()} == {
        "identify.w": (7, 40), "identify.tau.log": (1,), "eta.log": (7,),
    }  # fmt: skip
    with torch.no_grad():
        per_layer.identify.w[0] = 15.0
    assert per_layer.weights.tolist() == pytest.approx([3.0] * 40)  # the mean over the layers
    annealed = build("OMPNet", p.A, tau=Annealed(1.0, 0.01, until=0.5))
    for progress, tau in ((0.0, 1.0), (0.25, 0.1), (0.5, 0.01), (1.0, 0.01)):
        annealed.identify.tau.progress.fill_(progress)
        assert float(annealed.identify.tau(0)) == pytest.approx(tau)


@pytest.mark.parametrize("name", NETS)
def test_what_is_known_of_the_signals(name):
    p = signals(torch.complex128)
    free, part, real = (build(name, p.A, tau=0.05, signals=known)(p.y) for known in ("complex", "real part", "real"))
    assert free.is_complex()
    torch.testing.assert_close(part, free.real)
    stacked, y = pursuit.on_real_signals(p.A, p.y)
    torch.testing.assert_close(real, build(name, stacked, tau=0.05)(y))
    assert (real - part).abs().max() > 1e-3


def test_complex_measurements_by_a_real_matrix():
    p = signals()
    y = torch.complex(p.y, normal(9, 5, 24))
    torch.testing.assert_close(build("OMPNet", p.A)(y), build("OMPNet", p.A.to(torch.complex128))(y))


def test_real_signals_are_recovered_from_half_the_measurements():
    A = pursuit.SubsampledFourier([1, 2, 4, 7, 8, 11, 13, 14], 32)
    x = torch.zeros(6, 32, dtype=torch.complex128)
    for i in range(6):
        x[i, [i, 3 * i + 9]] = torch.tensor([1.0, -1.5], dtype=torch.complex128)
    for op in (A, A.to_dense()):
        real, y = pursuit.on_real_signals(op, A.forward(x))
        assert real.shape == (16, 32)
        assert pursuit.adjoint_gap(real) < 1e-12
        torch.testing.assert_close(pursuit.sea(real, y, 2, max_steps=300).x, x.real)
        torch.testing.assert_close(real.to_dense(), pursuit.on_real_signals(A.to_dense(), A.forward(x))[0].to_dense())
    again, same = pursuit.on_real_signals(real.to_dense(), y)
    assert again.shape == real.shape
    assert same is y


@pytest.mark.parametrize("known", ["complex", "real part", "real"])
@pytest.mark.parametrize("name", NETS)
def test_files_bring_it_back(name, known, tmp_path):
    p = signals(torch.complex128)
    eta = {"eta": Learned(0.3)} if "eta" in NETS[name][1] else {}
    net = build(name, p.A, tau=Annealed(0.5, 0.1), weights="per-layer", sort=pursuit.neuralsort, signals=known, **eta)
    with torch.no_grad():
        net.identify.w.copy_(normal(3, *net.identify.w.shape))
        net.identify.tau.progress.fill_(0.25)
    path = tmp_path / "net.safetensors"
    pursuit.nets.save(net, path)
    for again in (pursuit.nets.load(path), pursuit.nets.load(path, A=p.A)):
        assert type(again) is type(net)
        assert (again(p.y) == net(p.y)).all()
    assert (pursuit.nets.read_weights(path) == net.weights).all()


def test_a_network_on_an_implicit_operator_is_loaded_with_it(tmp_path):
    A, path = pursuit.SubsampledFourier([0, 2, 5, 7, 11], 12), tmp_path / "net.safetensors"
    y = normal(0, 3, 5, dtype=torch.complex128)
    net = OMPNet(A, layers=2).double()
    torch.testing.assert_close(net(y), OMPNet(A.to_dense(), layers=2).double()(y))
    pursuit.nets.save(net, path)
    assert (pursuit.nets.load(path, A=A)(y) == net(y)).all()
    with pytest.raises(ValueError, match=r"an operator that is not stored; pass it as load\(path, A=...\)"):
        pursuit.nets.load(path)
    with pytest.raises(ValueError, match=r"OMPNet for a complex operator with m=5, n=12; given is Dense"):
        pursuit.nets.load(path, A=A.to_dense())


def test_a_file_for_another_shape_or_that_is_no_network(tmp_path):
    path = tmp_path / "net.safetensors"
    pursuit.nets.save(OMPNet(torch.eye(4, 6), layers=2), path)
    with pytest.raises(
        ValueError, match=r"OMPNet for a real matrix with m=4, n=6; given is Dense.*load it with its own A"
    ):
        pursuit.nets.load(path, A=torch.eye(5, 6))
    for content in (b"", b"not a network", path.read_bytes()[:40]):
        (tmp_path / "broken").write_bytes(content)
        with pytest.raises(ValueError, match=r"not a network that pursuit\.nets\.save wrote"):
            pursuit.nets.read_weights(tmp_path / "broken")
    with pytest.raises(ValueError, match="no such file"):
        pursuit.nets.load(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"Linear is not a network of pursuit\.nets"):
        pursuit.nets.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ValueError, match="which cannot be stored"):
        pursuit.nets.save(OMPNet(torch.eye(3), layers=1, sort=lambda v, tau, k: pursuit.softsort(v, tau, k)), path)


EYE = torch.eye(4, 6)
BAD = {
    "tau": (lambda: OMPNet(EYE, layers=2, tau=0.0), "tau is 0.0; needed is a finite number > 0"),
    "tau nan": (lambda: IHTNet(EYE, k=1, layers=2, tau=float("nan")), "tau is nan; needed"),
    "learned": (lambda: Learned(-1.0), "Learned: start is -1.0; needed"),
    "annealed": (lambda: Annealed(1.0, 0.0), "Annealed: end is 0.0; needed"),
    "eta": (lambda: IHTNet(EYE, k=1, layers=2, eta=-0.5), "eta is -0.5; needed"),
    "layers": (lambda: OMPNet(EYE, layers=5), "layers is 5; needed is a whole number, 1 <= layers <= 4"),
    "k": (lambda: SPNet(EYE, k=0, layers=2), "k is 0; needed is a whole number, 1 <= k <= 4"),
    "weights": (lambda: OMPNet(EYE, layers=2, weights="each"), "weights is 'each'; choose 'shared' or 'per-layer'"),
    "signals": (lambda: OMPNet(EYE, layers=2, signals="imaginary"), "signals is 'imaginary'; choose"),
    "w0": (lambda: OMPNet(EYE, layers=2, w0=torch.ones(4)), r"w0 has shape \(4,\).*needed are 6 real numbers"),
    "A": (lambda: OMPNet(torch.ones(2, 4, 6), layers=2), r"A has batch \(2,\), but a network has one matrix"),
    "NaN": (lambda: OMPNet(EYE / 0, layers=2), "A has entries that are NaN or infinite"),
    "m": (lambda: OMPNet(EYE, layers=2)(torch.ones(3, 5)), r"y has shape \(3, 5\), but the network was built for m=4"),
    "dtype": (lambda: OMPNet(EYE, layers=2)(torch.ones(4).double()), r"y is torch.float64 .* network torch.float32"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_a_network_asks_for_a_tensor():
    with pytest.raises(TypeError, match=r"y is a list; a network needs a tensor: pass torch.as_tensor\(y\)"):
        pursuit.nets.OMPNet(torch.eye(3), layers=2, signals="real")([1.0, 2.0, 3.0])
