"""The straight-through view: gradient descent through H is SEA; SEA-Net is SEA and learns where non-zeros are."""

import re
from pathlib import Path

import pytest
import torch

import pursuit
from helpers import COMPLEX, REAL, gaussian, instance, normal, unnormalised
from pursuit.core.selection import AtomSelector, Hard
from pursuit.ensembles import fourier_levels, gaussian_levels
from pursuit.nets import Annealed, Learned, SEANet
from pursuit.solvers import sea
from pursuit.solvers.straight_through import sparsify
from pursuit.training import fit

CASES = {
    "real": (gaussian(REAL, m=24, n=40), {}),
    "complex": (gaussian(COMPLEX, m=24, n=40), {}),
    "warm": (gaussian(COMPLEX, m=24, n=40), {"start": normal(7, 5, 40, dtype=COMPLEX)}),
    "weights": (gaussian(REAL, m=24, n=40), {"weights": 0.5 + normal(8, 40).abs()}),
    "operator": (pursuit.SubsampledFourier([0, 1, 2, 5, 8, 9, 13, 17, 22, 23, 28, 31, 36, 39], 40), {}),
}


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_gradient_descent_is_sea_step_by_step(case):
    matrix, given = CASES[case]
    A, k, steps, eta = pursuit.as_operator(matrix), 4, 30, 0.3
    p = instance(matrix, k, batch=(5,), noise=0.1)
    weights, start = given.get("weights"), given.get("start", p.y.new_zeros(5, 40))
    seen = []
    pursuit.sea(matrix, p.y, k, eta=eta, x0=start, weights=weights, max_steps=steps, on_step=seen.append)
    choice = AtomSelector(Hard(), k, torch.ones(40, dtype=REAL) if weights is None else weights)
    s, best = sea.init(p.y, start, k), torch.full((5,), torch.inf, dtype=REAL)

    X = start.clone().requires_grad_()
    descent = torch.optim.SGD([X], lr=eta)
    for t in range(steps):
        x = sparsify(A, p.y, X, k, weights)
        r = p.y - A.forward(x)
        descent.zero_grad()
        (r.abs().square().sum() / 2).backward()
        assert ((x != 0) == choice.best(s.X).mask()).all()  # S^t
        assert X.grad[x != 0].abs().max() < 1e-13  # as LS(S^t) is optimal on S^t
        descent.step()
        s = sea.step(A, p.y, s, eta=eta, choice=choice)
        close(X.detach(), s.X)
        best = torch.minimum(best, r.detach().norm(dim=-1))
        close(seen[t].residual_norm, best)
        close(s.x, seen[t].x)


def test_backward_is_the_identity_to_x_and_that_of_a_product_to_weights():
    A, X, g = gaussian(COMPLEX, m=24, n=40), normal(1, 3, 40, dtype=COMPLEX), normal(2, 3, 40, dtype=COMPLEX)
    y, w = normal(3, 3, 24, dtype=COMPLEX), torch.ones(40, dtype=REAL)
    inputs = [v.requires_grad_() for v in (X, w, y)]
    x = sparsify(A, y, X, 4, w)
    of_X, of_w, of_y = torch.autograd.grad(x, inputs, g)
    assert torch.equal(of_X, g)
    close(of_w, torch.autograd.grad(w * X.detach(), w, g)[0])
    S = (x != 0).float().sort(descending=True, stable=True).indices[:, :4]
    for i in range(3):  # in y, as with the support held
        B = A[:, S[i]]
        close(of_y[i], B @ torch.linalg.solve(B.mH @ B, g[i, S[i]]))


def test_the_example_of_the_docs_runs():
    page = (Path(__file__).parents[1] / "docs" / "support-exploration.md").read_text()
    section = page.partition("## The straight-through view")[2]
    exec(re.search(r"```python\n(.*?)```", section, re.DOTALL)[1], {})


def test_sparsify_takes_a_k_per_item_and_says_what_is_wrong_with_x():
    p = instance(gaussian(), 4, batch=(2,))
    assert (sparsify(p.A, p.y, normal(0, 2, 48), torch.tensor([1, 3])) != 0).sum(-1).tolist() == [1, 3]
    with pytest.raises(ValueError, match=r"X has shape \(2, 7\); needed is \(2, 48\)"):
        sparsify(p.A, p.y, normal(0, 2, 7), 2)
    with pytest.raises(TypeError, match="X is complex but A and y are real; pass a real X"):
        sparsify(p.A, p.y, normal(0, 2, 48, dtype=COMPLEX), 2)


@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
def test_the_network_is_sea(dtype, per_layer):
    p = instance(unnormalised(dtype, m=24, n=40), 4, batch=(5,), noise=0.1)
    w = 0.5 + normal(4, 40).abs()
    eta = Learned(0.2, per_layer=per_layer)
    for structure in (None, w):
        net = SEANet(p.A, k=4, layers=12, eta=eta, w0=structure).double().eval()
        sol = pursuit.sea(p.A, p.y, 4, eta=0.2, max_steps=12, weights=structure)
        torch.testing.assert_close(net(p.y).detach(), sol.x, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(net.train()(p.y).detach(), sol.x, rtol=1e-6, atol=1e-8)
    assert net(p.y[0]).shape == (40,)
    assert net(p.y[:0]).shape == (0, 40)
    default = SEANet(p.A, k=4, layers=12).double()
    torch.testing.assert_close(default(p.y).detach(), pursuit.sea(p.A, p.y, 4, max_steps=12).x, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("make", "m"), [(gaussian_levels, 12), (fourier_levels, 6)])
def test_training_finds_the_places(make, m):
    ensemble = make(n=48, m=m, k=3, admissible=10, seed=1)
    net = SEANet(ensemble.A, k=3, layers=8, signals="real")
    y, x = ensemble.draw(256, torch.Generator().manual_seed(5))

    def decibel(found):
        return float(10 * (found - x).square().sum().div(x.square().sum()).log10())

    before = decibel(net(y).detach())
    fit(net, ensemble, epochs=5, n_train=384, n_validation=128, n_test=64, schedule="cosine")
    places = ensemble.admissible.bool()
    assert decibel(net(y).detach()) < before - 6
    assert net.weights[places].mean() > 1.25 * net.weights[~places].mean()
    assert net.weights[places].median() > 1.25 * net.weights[~places].median()
    assert net.eta.log.std() > 0
    A, y = pursuit.on_real_signals(ensemble.A, y)
    plain, learned = (decibel(pursuit.sea(A, y, 3, max_steps=50, weights=w).x) for w in (None, net.weights))
    assert learned < plain - 3


OPTIONS = {
    "default": ({}, {"identify.w": (40,), "eta.log": (6,)}),
    "per layer": ({"weights": "per-layer"}, {"identify.w": (6, 40), "eta.log": (6,)}),
    "one learned eta": ({"eta": Learned(0.1, per_layer=False)}, {"identify.w": (40,), "eta.log": (1,)}),
    "fixed eta": ({"eta": 0.1}, {"identify.w": (40,)}),
    "annealed eta": ({"eta": Annealed(0.3, 0.1)}, {"identify.w": (40,)}),
    "real": ({"signals": "real"}, {"identify.w": (40,), "eta.log": (6,)}),
    "real part": ({"signals": "real part"}, {"identify.w": (40,), "eta.log": (6,)}),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_learn_and_files_bring_them_back(option, tmp_path):
    options, shapes = OPTIONS[option]
    p = instance(gaussian(COMPLEX, m=16, n=40), 4, batch=(20,), noise=0.1)
    net = SEANet(p.A, k=4, layers=6, **options).double()
    assert {name: tuple(value.shape) for name, value in net.named_parameters()} == shapes
    (net(p.y) - (p.x if option == "default" else p.x.real)).abs().square().sum().backward()
    assert all(value.grad.isfinite().all() and value.grad.norm() > 0 for value in net.parameters())
    with torch.no_grad():
        net.identify.w.copy_(normal(3, *net.identify.w.shape))
    path = tmp_path / "net.safetensors"
    pursuit.nets.save(net, path)
    for again in (pursuit.nets.load(path), pursuit.nets.load(path, A=p.A)):
        assert torch.equal(again(p.y), net(p.y))
        assert again.config == net.config
    assert torch.equal(pursuit.nets.read_weights(path), net.weights)


def test_what_makes_no_network():
    A = torch.eye(4, 6)
    for options, message in (
        ({"k": 5}, "k is 5; needed is a whole number, 1 <= k <= 4"),
        ({"layers": 0}, "layers is 0"),
        ({"eta": -0.5}, "eta is -0.5; needed"),
        ({"weights": "each"}, "weights is 'each'; choose 'shared' or 'per-layer'"),
        ({"w0": torch.ones(4)}, r"w0 has shape \(4,\).*needed are 6 real numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            SEANet(A, **({"k": 1, "layers": 2} | options))
    assert SEANet(0 * A, k=1, layers=2)(torch.ones(4)).tolist() == [0.0] * 6  # no column, no step size to take
