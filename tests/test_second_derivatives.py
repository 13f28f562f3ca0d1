"""Second derivatives are right, or refused; with compiled kernels and without.

Autograd differentiates a `backward` by what it does with the tensors that were saved. What it takes for a constant
drops out without a word, and `once_differentiable` complains only where the incoming gradient has a derivative itself.
So every `torch.autograd.Function` of the package is listed here.
"""

import importlib
import inspect
import pkgutil
from functools import partial

import pytest
import scipy.sparse
import torch
from torch.autograd import gradgradcheck

import pursuit
from helpers import COMPLEX, REAL, gaussian, generator, instance, normal
from pursuit import config, nets, shrinkage
from pursuit.core import neuralsort, sinkhorn
from pursuit.core import softsort as unchecked
from pursuit.core.least_squares import solve
from pursuit.core.qr import QR
from pursuit.relaxations import Relaxed
from pursuit.solvers.by_name import SOLVERS
from test_gradients import K, M, N, problem, solution

pytestmark = pytest.mark.usefixtures("rough_lasso", "kernels")
SOFT = Relaxed(tau=0.3)
FIELDS = [pytest.param(REAL, id="real"), pytest.param(COMPLEX, id="complex")]


@pytest.fixture(params=["auto", "off"])
def kernels(request, monkeypatch):
    """With the compiled kernels and without."""
    monkeypatch.setattr(config, "kernels", request.param)


def leaf(seed, *shape, dtype=REAL):
    return normal(seed, *shape, dtype=dtype).requires_grad_()


def positive(seed, *shape):
    return (0.3 + torch.rand(shape, generator=generator(seed), dtype=REAL)).requires_grad_()


# Scores, and temperatures of all items or of each.
SORTS = {
    "softsort": unchecked.softsort,
    "soft_topk": unchecked.soft_topk,
    "neuralsort": neuralsort.neuralsort,
    "sinkhorn_sort": partial(sinkhorn.sinkhorn_sort, tol=1e-14, max_steps=100),
}


@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("name", SORTS)
def test_relaxations(name, k, items):
    inputs = leaf(0, 2, 6), positive(1, items, 1, 1)
    assert gradgradcheck(lambda v, tau: SORTS[name](v, tau, k=k), inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_scores_and_the_soft_threshold(dtype, batch):
    u, w, tau = leaf(0, 2, 6, dtype=dtype), positive(1, *batch, 6), positive(2, *batch, 1, 1)
    assert gradgradcheck(unchecked.score, (u, w), fast_mode=True)
    assert gradgradcheck(lambda u, w, tau: unchecked.soft_threshold(u, w, tau, 3), (u, w, tau), fast_mode=True)


SHRINK = {
    "soft": shrinkage.soft,
    "selection": shrinkage.SupportSelection(3),
    "tested selection": shrinkage.SupportSelection(3, tested=True),
}


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("shapes", [((), ()), ((2, 1), (6,)), ((1,), (2, 1))])
@pytest.mark.parametrize("shrink", SHRINK)
def test_proximal_step(shrink, shapes, dtype):
    inputs = leaf(0, 2, 6, dtype=dtype), leaf(1, 2, 6, dtype=dtype), positive(2, *shapes[0]), positive(3, *shapes[1])
    assert gradgradcheck(lambda *given: shrinkage.proximal(*given, SHRINK[shrink]), inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_least_squares(batch, dtype):
    y, *columns = (leaf(seed, *batch, 5, dtype=dtype) for seed in range(4))

    def appended(y, *columns):
        qr, r = QR.empty(y, 4), y
        for column in (*columns, columns[0] - columns[1]):  # the last one depends on others
            qr, r = qr.append(column, r)
        return qr.solve(), r

    assert gradgradcheck(appended, (y, *columns), fast_mode=True)
    assert gradgradcheck(lambda y, *columns: solve(torch.stack(columns, -1), y), (y, *columns), fast_mode=True)


def test_fewer_columns_than_there_is_room_for():
    count = torch.tensor([2, 3])
    used = (torch.arange(3) < count.unsqueeze(-1)).unsqueeze(-2)
    assert gradgradcheck(lambda B, y: solve(B * used, y, count), (leaf(0, 2, 5, 3), leaf(1, 2, 5)), fast_mode=True)


def test_operators_from_outside():
    A = pursuit.as_operator(scipy.sparse.csr_matrix(normal(0, 4, 6).numpy()))
    assert gradgradcheck(lambda x: A.forward(x).square(), (leaf(1, 2, 6),))


@pytest.fixture
def constant_step(monkeypatch):
    """A default step size that is a constant also to finite differences, as it is to autograd."""
    constant = torch.tensor(20.0, dtype=REAL)
    monkeypatch.setattr("pursuit.operators.base.spectral_norm_squared", lambda A: constant.expand(A.batch_shape))


SOFTENED = [name for name, f in SOLVERS.items() if "select" in inspect.signature(f).parameters]


@pytest.mark.usefixtures("constant_step")
@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {"max_steps": 3} if name == "amp" else {}) for name in SOLVERS)]
    + [(name, {"select": SOFT}) for name in SOFTENED],
)
def test_every_solver(name, options):
    def outputs(A, y):
        sol = solution(name, A, y, **options)
        return sol.x, sol.residual_norm

    assert gradgradcheck(outputs, problem(REAL), fast_mode=True)


def test_a_penalty_on_the_gradient():
    A, y = (t.detach() for t in problem(REAL))

    def penalty(y, graph=False):
        x = pursuit.iht(A, y, K, eta=0.1, max_steps=3, select=SOFT).x
        return torch.autograd.grad(x.sum(), y, create_graph=graph)[0].square().sum()  # the seed is a constant

    start = y.clone().requires_grad_()
    penalty(start, graph=True).backward()
    step = 1e-5 * torch.eye(M, dtype=REAL)
    by_differences = [((penalty((y + e).requires_grad_()) - penalty((y - e).requires_grad_())) / 2e-5) for e in step]
    torch.testing.assert_close(start.grad, torch.stack(by_differences), rtol=1e-6, atol=1e-6)


NETS = {
    "OMPNet": {"layers": 2, "tau": 0.3},
    "IHTNet": {"k": K, "layers": 2, "tau": 0.3},
    "CoSaMPNet": {"k": K, "layers": 1, "tau": 0.3},
    "SPNet": {"k": K, "layers": 1, "tau": 0.3},
    "HTPNet": {"k": K, "layers": 1, "tau": 0.3},
    "LISTA": {"layers": 2},
    "TiLISTA": {"layers": 2},
    "LISTACP": {"layers": 2},
    "ALISTA": {"layers": 2},
    "ALISTAAT": {"layers": 2},
    "AGLISTA": {"layers": 2},
    "GLISTA": {"layers": 2},
    "NAALISTA": {"layers": 2, "sparsity": K, "hidden": 3},
    "HyperLISTA": {"layers": 2},
    "LAMP": {"layers": 2, "sparsity": K},
}


def network(name, options):
    torch.manual_seed(0)
    net = getattr(nets, name)(gaussian(m=M, n=N, seed=1), **options).to(REAL)
    y = instance(gaussian(m=M, n=N, seed=1), K, seed=1, batch=(2,), noise=0.3).y
    if name == "NAALISTA":
        net.prepare(normal(2, 50, M))
    return net, y.requires_grad_()


@pytest.mark.parametrize("name", NETS)
def test_every_network(name):
    net, y = network(name, NETS[name])
    names, values = zip(*net.named_parameters(), strict=True)

    def outputs(y, *values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (y,))

    assert gradgradcheck(outputs, (y, *values), fast_mode=True)


@pytest.mark.parametrize("wanted", ["y", "parameters"])
def test_the_straight_through_estimate_has_none(wanted):
    """It is no derivative to begin with; that is said, rather than that its own is zero."""
    net, y = network("SEANet", {"k": K, "layers": 3})
    sources = [y] if wanted == "y" else list(net.parameters())
    first = torch.autograd.grad(net(y).sum(), sources, create_graph=True)
    with pytest.raises(RuntimeError, match=r"no second derivative.*Differentiate it once only"):
        torch.autograd.grad(sum(v.sum() for v in first), sources, allow_unused=True)


def test_what_is_tested_here_is_every_function_and_network():
    for module in pkgutil.walk_packages(pursuit.__path__, "pursuit."):
        needs_triton = module.name.startswith("pursuit.kernels.cuda.")
        if not module.name.endswith("__main__") and not needs_triton:
            importlib.import_module(module.name)
    functions = {
        f.__name__ for f in torch.autograd.Function.__subclasses__() if f.__module__.split(".")[0] == "pursuit"
    }
    assert functions == {
        "_SoftSort", "_CompiledRows", "_CompiledMask", "_CompiledScore", "_CompiledThreshold", "_NeuralSort",
        "_SinkhornSort", "_Transported", "_CompiledStep", "_Append", "_CompiledAppend", "_Solve", "_Normal", "_Outside",
        "StraightThrough", "_Last",
    }  # fmt: skip
    assert {name for name in nets.__all__ if hasattr(getattr(nets, name), "forward")} == {*NETS, "SEANet"}
