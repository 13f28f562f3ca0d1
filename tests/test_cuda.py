"""On a GPU as on the CPU: the same supports and statuses, and the same values to rounding.

`PURSUIT_DEVICE` names another device to compare with; as `cpu` it runs this file where there is no GPU.
"""

import copy
import os
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import pursuit
from helpers import (
    COMPLEX,
    DEVICES,
    DTYPES,
    ITERATIVE,
    LOSSY,
    NEEDS,
    PROXIMAL,
    REAL,
    SELECTING,
    SOLVERS,
    deconvolution,
    fourier,
    gaussian,
    generator,
    instance,
    normal,
    recover,
    sparse,
    unnormalised,
)
from pursuit import config, nets, weights
from pursuit.core import least_squares
from pursuit.core.losses import Logistic
from pursuit.core.selection import Hard
from pursuit.ensembles import bernoulli_gaussian, fourier_levels
from pursuit.relaxations import Relaxed, neuralsort, sinkhorn_sort, soft_topk, softsort
from pursuit.solvers import straight_through
from pursuit.training import fit

DEVICE = os.environ.get("PURSUIT_DEVICE", DEVICES[-1] if len(DEVICES) > 1 else "")
if not DEVICE:
    pytest.skip("needs a GPU", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("rough_lasso", "plain_torch")
NEAR = {torch.float32: 1e-4, torch.complex64: 1e-4, REAL: 1e-9, COMPLEX: 1e-9}  # solvers creep to their limits
FIELDS = [pytest.param(REAL, id="real"), pytest.param(COMPLEX, id="complex")]
half_square = lambda v, y: (v - y).square() / 2  # noqa: E731


@pytest.fixture
def plain_torch(monkeypatch):
    """The same code on both devices, and not kernels that the CPU alone has."""
    monkeypatch.setattr(config, "kernels", "off")


def there(value):
    """The same on the other device."""
    return value.to(DEVICE)


def close(found, wanted, atol):
    """Equal to rounding, and found on the other device."""
    assert found.device.type == torch.device(DEVICE).type
    assert found.dtype == wanted.dtype
    assert_close(found.cpu(), wanted, rtol=atol, atol=atol)


def same(found, wanted, atol, *, order=True):
    """The same solution."""
    sets = (found.support.cpu(), wanted.support)
    assert_close(*(sets if order else [s.sort(-1).values for s in sets]))
    assert found.status.tolist() == wanted.status.tolist()
    for name in ("x", "residual_norm"):
        close(getattr(found, name), getattr(wanted, name), atol)


def gradients(f, *inputs):
    """Values of a function, and derivatives of their energy by its inputs."""
    inputs = [v.detach().clone().requires_grad_() for v in inputs]
    out = f(*inputs)
    return [out.detach(), *torch.autograd.grad(out.abs().square().sum(), inputs)]


def same_gradients(f, *inputs, atol=1e-9):
    for found, wanted in zip(gradients(f, *map(there, inputs)), gradients(f, *inputs), strict=True):
        assert wanted.abs().sum() > 0
        close(found, wanted, atol * max(1.0, float(wanted.abs().max())))


# ---- solvers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", SOLVERS)
def test_solvers(name, dtype):
    p = instance(unnormalised(dtype), 4, batch=(2, 3), noise=0.02)
    found, wanted = (recover(name, A, y, 4) for A, y in ((there(p.A), there(p.y)), (p.A, p.y)))
    assert_close(found.support.sort(-1).values.cpu(), wanted.support.sort(-1).values)
    near = max(NEAR[dtype], 1e-7 if name == "niht" else 0)  # it stops at the root of rounding: ||r||^2 is flat there
    close(found.x, wanted.x, near)
    close(found.residual_norm, wanted.residual_norm, near)
    assert {v.device.type for v in vars(found).values() if isinstance(v, torch.Tensor)} == {torch.device(DEVICE).type}
    if name == "omp":
        same(found, wanted, NEAR[dtype])
        assert found.steps.tolist() == wanted.steps.tolist()


OPTIONS = {
    "a budget": {"max_steps": 3},
    "a tolerance": {"tol": 0.1},
    "weights": {"weights": torch.linspace(1, 2, 48, dtype=REAL)},
    "k per item": {"k": torch.tensor([1, 3, 5])},
    "a start": {"x0": sparse(7, 48, 4, batch=(3,))},
}
TAKEN = [
    (name, option)
    for option in OPTIONS
    for name in SOLVERS
    if not (option == "a start" and name not in ITERATIVE)
    and not (option in ("weights", "k per item") and (name in PROXIMAL or name == "greedy_lasso"))
]


@pytest.mark.parametrize(("name", "option"), TAKEN)
def test_options_given_on_the_cpu(name, option):
    """Numbers besides A and y may be anywhere."""
    p = instance(gaussian(), 4, batch=(3,), noise=0.05)
    options = {"k": 4, "max_steps": 8} | OPTIONS[option]
    k = options.pop("k")
    found = recover(name, there(p.A), there(p.y), k, **options)
    same(found, recover(name, p.A, p.y, k, **options), 1e-8, order=name == "omp")


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("name", SOLVERS)
def test_a_matrix_per_item_and_no_items(name, dtype):
    A = torch.stack([gaussian(dtype, seed=seed) for seed in range(3)])
    p = instance(A, 3, batch=(3,), noise=0.02)
    found, wanted = recover(name, there(A), there(p.y), 3), recover(name, A, p.y, 3)
    close(found.x, wanted.x, 1e-8)
    assert_close(found.support.sort(-1).values.cpu(), wanted.support.sort(-1).values)
    assert recover(name, there(A[0]), there(p.y[:0]), 3).x.shape == (0, 48)


DEGENERATE = {
    "duplicate columns": lambda A: torch.cat([A, A], dim=-1),
    "zero columns": lambda A: torch.cat([A, torch.zeros_like(A)], dim=-1),
    "rank two": lambda A: A[:, :2] @ normal(5, 2, 30).to(A),
    "one column": lambda A: A[:, :1].repeat(1, 5),
}


@pytest.mark.parametrize("form", DEGENERATE)
@pytest.mark.parametrize("name", SELECTING)
def test_dependent_columns(name, form):
    A = DEGENERATE[form](gaussian(m=12, n=15))
    y = normal(3, 4, 12)
    found, wanted = recover(name, there(A), there(y), 4, max_steps=10), recover(name, A, y, 4, max_steps=10)
    assert found.x.isfinite().all()
    close(found.residual_norm, torch.linalg.vector_norm(y - found.x.cpu() @ A.T, dim=-1), 1e-9)
    if form != "rank two" or name == "omp":  # there all sets of two columns are as good, but the path is rounding's
        close(found.residual_norm, wanted.residual_norm, 1e-7)
    if name == "omp":
        assert found.status.tolist() == wanted.status.tolist()


@pytest.mark.parametrize("name", ["omp", "htp", "sea", "iht"])
def test_larger_problems(name):
    """Other sizes go to other routines of the device's libraries."""
    p = instance(gaussian(torch.float32, m=256, n=1024), 24, batch=(200,), noise=0.002)
    found = recover(name, there(p.A), there(p.y), 24, max_steps=24)
    wanted = recover(name, p.A, p.y, 24, max_steps=24)
    equal = (found.support.sort(-1).values.cpu() == wanted.support.sort(-1).values).all(-1)
    assert equal.float().mean() > 0.97  # single precision: near ties go either way
    assert_close(found.residual_norm.cpu()[equal], wanted.residual_norm[equal], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["omp", "iht", "sea", "fista"])
def test_one_result(name):
    p = instance(gaussian(torch.float32, DEVICE, m=64, n=256), 8, batch=(500,), noise=0.05, device=DEVICE)
    first, second = (recover(name, p.A, p.y, 8, max_steps=20) for _ in range(2))
    assert torch.equal(first.x, second.x)


@pytest.mark.parametrize("loss", [Logistic(), half_square], ids=["logistic", "function"])
@pytest.mark.parametrize("name", LOSSY)
def test_losses(name, loss):
    A = gaussian(m=60, n=20)
    x = 3 * sparse(1, 20, 3, batch=(3,))
    y = (torch.rand(3, 60, generator=generator(2), dtype=REAL) < torch.sigmoid(4 * x @ A.T)).to(REAL)
    options = {"loss": loss, "max_steps": 30} | ({} if name in ("omp", "els") else {"eta": 0.3})
    found, wanted = (recover(name, a, b, 3, **options) for a, b in ((there(A), there(y)), (A, y)))
    same(found, wanted, 1e-6, order=False)


@pytest.mark.parametrize("relaxation", [softsort, neuralsort, sinkhorn_sort])
@pytest.mark.parametrize("name", ["omp", "iht", "cosamp", "sp", "htp"])
def test_soft_solvers(name, relaxation):
    p = instance(gaussian(), 3, batch=(3,), noise=0.05)
    options = {"select": Relaxed(relaxation, tau=0.1), "max_steps": 2}
    found = pursuit.solve(there(p.A), there(p.y), name, k=3, **options)
    close(found.x, pursuit.solve(p.A, p.y, name, k=3, **options).x, 1e-8)


# ---- ties and places -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, REAL])
@pytest.mark.parametrize("n", [5, 100, 3000, 100_000])  # in one warp, in one block, in several
@pytest.mark.parametrize("k", [1, 2, 5])
def test_ties_go_to_the_lowest_index(n, k, dtype):
    score = torch.ones(3, n, dtype=dtype, device=DEVICE)
    assert Hard()(score, k).indices.tolist() == [list(range(k))] * 3
    score[:, : n // 2] = 0.5
    best = [*range(n // 2, n), *range(n // 2)][:k]
    assert Hard()(score, k).indices.tolist() == [best] * 3


@pytest.mark.parametrize("name", ["omp", "iht", "htp", "cosamp", "sp", "sea", "els", "ompr"])
def test_solvers_take_the_lowest_of_equal_columns(name):
    A = torch.eye(6, dtype=REAL, device=DEVICE).repeat(1, 3)
    y = torch.tensor([0.0, 2.0, 0.0, 0.0, 3.0, 0.0], dtype=REAL, device=DEVICE)
    wanted = recover(name, A.cpu(), y.cpu(), 2)
    sol = recover(name, A, y, 2)
    if name == "sea":  # X has sums of steps that are equal to rounding: which of equal columns wins is the last bit's
        assert sorted((sol.support % 6).tolist()) == sorted((wanted.support % 6).tolist()) == [1, 4]
        close(sol.x.view(3, 6).sum(0), y.cpu(), 1e-12)
        return
    assert sol.support.tolist() == wanted.support.tolist()
    close(sol.x, wanted.x, 1e-12)
    if name == "omp":
        assert sol.support.tolist() == [4, 1]


@pytest.mark.parametrize("name", SOLVERS)
def test_numpy_in_numpy_out(name):
    p = instance(gaussian(), 3, batch=(2,), noise=0.05)
    with torch.device(DEVICE):  # where tensors are made by default
        sol = recover(name, p.A, p.y, 3, max_steps=5)
        lam = {"lam": 0.1} if name in PROXIMAL else {"k": 3}
        arrays = pursuit.solve(np.asarray(p.A), np.asarray(p.y), name, max_steps=5, **lam, **NEEDS.get(name, {}))
    assert sol.x.device.type == "cpu"
    assert isinstance(arrays.x, np.ndarray)
    given = pursuit.solve(np.asarray(p.A), there(p.y), name, max_steps=5, **lam, **NEEDS.get(name, {}))
    close(given.x, torch.from_numpy(arrays.x), 1e-9)  # an array goes where y is


@pytest.mark.skipif(DEVICE.startswith("cpu"), reason="needs two devices")
@pytest.mark.parametrize("name", SOLVERS)
def test_two_devices_are_refused(name):
    p = instance(gaussian(), 3, noise=0.05)
    size = {"lam": 0.1} if name in PROXIMAL else {"k": 3}
    for A, y in ((there(p.A), p.y), (p.A, there(p.y))):
        with pytest.raises(ValueError, match=r"A is on .* and y on .*; move one of them with \.to\(device\)"):
            pursuit.solve(A, y, name, **size, **NEEDS.get(name, {}))
    with pytest.raises(TypeError, match=r"use y\.to\(\.\.\.\) or net\.to\(\.\.\.\)"):
        nets.OMPNet(p.A, layers=2)(there(p.y))


@pytest.mark.parametrize("name", SOLVERS)
def test_another_default_device(name):
    p = instance(gaussian(), 3, batch=(2,), noise=0.1)
    A, y = there(p.A), there(p.y)
    wanted = recover(name, A, y, 3, max_steps=4)
    with torch.device("meta"):  # its tensors mix with none that have values
        found = recover(name, A, y, 3, max_steps=4)
    assert torch.equal(found.x, wanted.x)


# ---- operators -------------------------------------------------------------------------------------------------------


def functions(device):
    A = gaussian().to(device)
    return pursuit.FunctionOperator(lambda x: x @ A.mT, lambda y: y @ A, A.shape, device=device)


OPERATORS = {
    "dense": lambda device: pursuit.Dense(gaussian(device=device)),
    "complex": lambda device: pursuit.Dense(gaussian(COMPLEX, device)),
    "fourier": lambda device: fourier(COMPLEX, device),
    "deconvolution": lambda device: deconvolution(REAL, device),
    "valid": lambda device: pursuit.Convolution(normal(1, 5).to(device), 48, "valid"),
    "composed": lambda device: pursuit.Compose(pursuit.Dense(gaussian(device=device)), deconvolution(REAL, device)),
    "scaled": lambda device: pursuit.ColumnScaled(functions(device), 2 + normal(3, 48).abs().to(device)),
    "functions": functions,
    "coils": lambda device: pursuit.Compose(
        pursuit.Sense(
            fourier(COMPLEX, device), normal(1, 3, fourier(COMPLEX, "cpu").shape[1], dtype=COMPLEX).to(device)
        ),
        pursuit.DCT(fourier(COMPLEX, "cpu").shape[1], dtype=COMPLEX, device=device).H,
    ),
    "image": lambda device: pursuit.Compose(
        pursuit.SubsampledFourier(range(0, 64, 3), shape=(8, 8), device=device),
        pursuit.Wavelet((8, 8), "db2", dtype=COMPLEX, device=device).H,
    ),
    "stacks": lambda device: pursuit.HStack(
        pursuit.VStack(pursuit.Dense(gaussian(device=device)), pursuit.DCT(gaussian().shape[1], device=device)),
        pursuit.Restriction(range(sum(gaussian().shape)), sum(gaussian().shape), device=device),
    ),
}


@pytest.mark.parametrize("form", OPERATORS)
def test_operators(form):
    here, over = OPERATORS[form]("cpu"), OPERATORS[form](DEVICE)
    m, n = here.shape
    x, y = normal(4, 2, 3, n, dtype=here.dtype), normal(5, 2, 3, m, dtype=here.dtype)
    index = torch.tensor([[3, 0], [7, 7]])
    close(over.forward(there(x)), here.forward(x), 1e-12)
    close(over.adjoint(there(y)), here.adjoint(y), 1e-12)
    close(over.columns(there(index)), here.columns(index), 1e-12)
    close(over.column_norms(), here.column_norms(), 1e-12)
    close(over.to_dense(), here.to_dense(), 1e-12)
    assert pursuit.adjoint_gap(over) < 1e-12
    same_gradients(lambda v: OPERATORS[form](v.device).forward(v), x)
    found, wanted = (pursuit.omp(op, v, k=4) for op, v in ((over, there(y)), (here, y)))
    same(found, wanted, 1e-9)


def test_weights():
    A = unnormalised()
    W = pursuit.analytic_weights(there(A))
    close(W, pursuit.analytic_weights(A), 1e-9)
    close(pursuit.generalized_coherence(W, there(A)), pursuit.generalized_coherence(W.cpu(), A), 1e-9)
    close(pursuit.analytic_weights(there(A.float())), weights.analytic_weights(A.float()), 1e-5)


@pytest.mark.parametrize("dtype", FIELDS)
def test_least_squares(dtype):
    B = normal(1, 5, 12, 4, dtype=dtype)
    B[1, :, 3] = B[1, :, 0]  # dependent
    B[2, :, 2] = 0
    B[3] = 0
    y, count = normal(2, 5, 12, dtype=dtype), torch.tensor([4, 4, 4, 4, 2])
    B[4, :, 2:] = 0
    wanted = least_squares.solve(B, y, count)
    close(least_squares.solve(there(B), there(y), there(count)), wanted, 1e-10)
    exact = torch.linalg.pinv(B) @ y.unsqueeze(-1)
    assert_close(wanted, exact.squeeze(-1), rtol=1e-9, atol=1e-9)
    same_gradients(lambda B, y: least_squares.solve(B, y), B[:1], y[:1])


# ---- derivatives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("name", SOLVERS)
def test_derivatives_of_solvers(name, dtype):
    p = instance(unnormalised(dtype, m=12, n=16), 3, batch=(2,), noise=0.3)
    options = {"lam": 0.2} if name in PROXIMAL else {"k": 3}
    options |= NEEDS.get(name, {}) | ({} if name == "greedy_lasso" else {"max_steps": 3})

    same_gradients(lambda A, y: pursuit.solve(A, y, name, **options).x, p.A, p.y, atol=1e-7)
    same_gradients(lambda A, y: pursuit.solve(A, y, name, **options).residual_norm, p.A, p.y, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, REAL])
@pytest.mark.parametrize("tau", [0.01, 0.5])
@pytest.mark.parametrize("sort", [softsort, neuralsort, sinkhorn_sort, soft_topk])
def test_relaxations(sort, tau, dtype):
    v = normal(1, 3, 40, dtype=dtype)
    if tau > 0.1:
        same_gradients(lambda v: sort(v, tau, 5), v, atol={torch.float32: 1e-3, REAL: 1e-8}[dtype])
    close(sort(there(v), tau, 5), sort(v, tau, 5), {torch.float32: 1e-3, REAL: 1e-9}[dtype])
    assert sort(there(v[:0]), tau, 5).shape[0] == 0


def test_straight_through():
    A, y, X = gaussian(), normal(1, 2, 36), normal(2, 2, 48)
    same_gradients(lambda A, y, X: straight_through.sparsify(A, y, X, 4), A, y, X)


# ---- networks --------------------------------------------------------------------------------------------------------

NETS = {
    "OMPNet": {"layers": 3, "tau": 0.05},
    "IHTNet": {"layers": 3, "k": 3, "eta": 0.4, "tau": 0.05},
    "CoSaMPNet": {"layers": 1, "k": 3, "tau": 0.05},
    "SPNet": {"layers": 2, "k": 3, "tau": 0.05},
    "HTPNet": {"layers": 2, "k": 3, "eta": 0.4, "tau": 0.05},
    "SEANet": {"layers": 3, "k": 3},
    "LISTA": {"layers": 3},
    "LISTACP": {"layers": 3},
    "LISTACPSS": {"layers": 3},
    "TiLISTA": {"layers": 3},
    "ALISTA": {"layers": 3},
    "ALISTAAT": {"layers": 3},
    "AGLISTA": {"layers": 3},
    "GLISTA": {"layers": 3},
    "NAALISTA": {"layers": 3, "hidden": 6},
    "HyperLISTA": {"layers": 3},
    "LAMP": {"layers": 3, "sparsity": 3},
}


def network(name, dtype):
    """A network in double precision, and measurements."""
    p = instance(gaussian(dtype, m=24, n=40), 3, batch=(8,), noise=0.01)
    net = getattr(nets, name)(p.A, **NETS[name]).to(REAL)
    if hasattr(net, "prepare"):
        net.prepare(p.y)
    return net, p


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("name", NETS)
def test_networks(name, dtype, tmp_path):
    """Forward, backward, and in and out of a file."""
    net, p = network(name, dtype)
    over = copy.deepcopy(net).to(DEVICE)
    values = []
    for each, y, x in ((over, there(p.y), there(p.x)), (net, p.y, p.x)):
        out = each(y)
        (out - x).abs().square().sum().backward()
        values.append([out.detach(), *(v.grad for v in each.parameters() if v.grad is not None)])
    assert len(values[0]) > 1
    for found, wanted in zip(*values, strict=True):
        close(found, wanted, 1e-7 * max(1.0, float(wanted.abs().max())))
    nets.save(over, tmp_path / "net.safetensors")
    back = nets.load(tmp_path / "net.safetensors")
    assert {v.device.type for v in back.state_dict().values()} == {"cpu"}
    assert all(torch.equal(v, over.state_dict()[name].cpu()) for name, v in back.state_dict().items())
    again = nets.load(tmp_path / "net.safetensors", there(p.A))
    close(again(there(p.y)).detach(), values[1][0], 1e-7)


def learner(name):
    if name == "OMPNet":
        ensemble = fourier_levels(n=32, m=10, k=3, admissible=6, device=DEVICE)
        return nets.OMPNet(ensemble.A, layers=3, tau=0.1, signals="real part").to(DEVICE), ensemble
    ensemble = bernoulli_gaussian(n=60, m=20, k=4, device=DEVICE)
    return nets.NAALISTA(ensemble.A, layers=3, sparsity=4, hidden=8).to(DEVICE), ensemble


@pytest.mark.parametrize("name", ["OMPNet", "NAALISTA"])
def test_training_goes_on_where_it_was(name, tmp_path):
    options = {"batch_size": 16, "n_train": 64, "n_validation": 32, "n_test": 32, "optimizer": "adam", "lr": 1e-2}
    whole, ensemble = learner(name)
    done = fit(whole, ensemble, epochs=4, **options)
    assert done.log[-1].train_loss < done.log[0].train_loss
    assert {v.device.type for v in whole.state_dict().values()} == {torch.device(DEVICE).type}

    def stop(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    for on_epoch in (stop, None):
        net, ensemble = learner(name)
        with pytest.raises(KeyboardInterrupt) if on_epoch else nullcontext():
            resumed = fit(net, ensemble, epochs=4, folder=tmp_path, on_epoch=on_epoch, **options)
    assert [e.epoch for e in resumed.log] == [1, 2, 3, 4]
    assert_close([e.validation_loss for e in resumed.log], [e.validation_loss for e in done.log], rtol=1e-3, atol=0)
