"""`torch.export`: the exported network computes the same, and leaves nothing behind in this process."""

import contextlib

import pytest
import torch
from torch import nn

import pursuit
from helpers import REAL, gaussian, instance
from pursuit import config, kernels
from pursuit.nets import ALISTA, LAMP, NAALISTA, HTPNet, IHTNet, OMPNet, SEANet

TAU = 0.05
NETS = {
    "IHTNet": (IHTNet, {"k": 2, "layers": 3, "tau": TAU}),  # the soft threshold
    "HTPNet": (HTPNet, {"k": 2, "layers": 2, "tau": TAU}),  # rows of softsort, least squares
    "OMPNet": (OMPNet, {"layers": 2, "tau": TAU}),  # columns appended
    "ALISTA": (ALISTA, {"layers": 3}),  # the proximal step
    "SEANet": (SEANet, {"k": 2, "layers": 3}),  # straight through
    "NAALISTA": (NAALISTA, {"layers": 3, "hidden": 4}),  # statistics that it must have
    "LAMP": (LAMP, {"layers": 3, "sparsity": 2}),  # AMP's step; no retries
}


@pytest.fixture(params=["auto", "off"], autouse=True)
def with_and_without_kernels(request, monkeypatch):
    """With the compiled kernels and without."""
    monkeypatch.setattr(config, "kernels", request.param)


def network(name):
    p = instance(gaussian(m=8, n=12), 2, batch=(3,), noise=0.1)
    make, options = NETS[name]
    net = make(p.A, **options).to(REAL)
    if hasattr(net, "prepare"):
        net.prepare(p.y)
    return net, p.y


@pytest.mark.parametrize("name", NETS)
def test_an_exported_network_computes_the_same(name):
    net, y = network(name)
    before = net(y)
    exported = torch.export.export(net, (y,)).module()
    torch.testing.assert_close(exported(y), before, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(exported(2 * y), net(2 * y), rtol=1e-10, atol=1e-12)


def test_networks_that_wait_for_statistics_give_nan_once_exported():
    """A graph cannot raise, as the network does."""
    net, y = NAALISTA(gaussian(m=8, n=12), layers=2, hidden=4).to(REAL), torch.ones(3, 8, dtype=REAL)
    exported = torch.export.export(net, (y,)).module()
    assert exported(y).isnan().all()
    with pytest.raises(ValueError, match="no statistics of r and u"):
        net(y)


def test_retries_of_lamp_are_not_exported():
    net, y = network("LAMP")
    net.eval()
    net.level = 1e-9  # every signal is tried again
    layers_only = net(y).detach()
    with torch.no_grad():
        exported = torch.export.export(net, (y,)).module()
        torch.testing.assert_close(exported(y), layers_only, rtol=1e-10, atol=1e-12)
        assert (net(y) - layers_only).abs().max() > 1e-6


class Branches(nn.Module):
    """A network that cannot be exported, as it decides by a number that it computed."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, y):
        x = self.net(y)
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize("wrapped", [nn.Sequential, Branches])
def test_later_calls_know_nothing_of_an_export(wrapped):
    p, tau = instance(gaussian(m=8, n=12), 2, batch=(3,), noise=0.1), 0.0625  # no other test has it
    net = IHTNet(p.A, k=2, layers=3, tau=tau).to(REAL)
    with pytest.raises(RuntimeError) if wrapped is Branches else contextlib.nullcontext():
        torch.export.export(wrapped(net), (p.y,))
    after = net(p.y), pursuit.iht(p.A, p.y, 2, select=pursuit.Relaxed(tau=tau), max_steps=3).x
    assert [type(x) for x in after] == [torch.Tensor, torch.Tensor]
    as_tensor = pursuit.Relaxed(tau=torch.tensor(tau, dtype=REAL))
    torch.testing.assert_close(after[1], pursuit.iht(p.A, p.y, 2, select=as_tensor, max_steps=3).x)
    torch.testing.assert_close(after[0], pursuit.iht(p.A, p.y, 2, select=as_tensor, eta=0.5, max_steps=3).x)


def test_kernels_take_plain_tensors_only():
    """A tensor of another class may hold no numbers, or do more than torch would see a kernel do."""

    class Traced(torch.Tensor):
        pass

    v = torch.rand(3, 12, dtype=REAL)
    assert kernels.wanted("softsort", v) is (config.kernels == "auto")
    assert not kernels.wanted("softsort", v, v.as_subclass(Traced))
    assert not kernels.wanted("softsort", v.to("meta"))
