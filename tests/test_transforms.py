"""`torch.func` and `torch.compile` around solvers and networks: the same numbers, or an error that says what to do."""

import pytest
import torch
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

import pursuit
from helpers import REAL, normal
from pursuit.relaxations import Relaxed, neuralsort, sinkhorn_sort
from pursuit.solvers.by_name import SOLVERS
from test_gradients import K, M, N, problem, solution
from test_second_derivatives import NETS, network

pytestmark = [
    pytest.mark.usefixtures("rough_lasso"),
    pytest.mark.filterwarnings(
        "ignore:`torch.jit.script` is deprecated:DeprecationWarning"
    ),  # torch's own, at first use
]
UNFITTED = ["iht", "niht", "ista", "fista"]  # these do not refit
SORTS = {"softsort": pursuit.softsort, "neuralsort": neuralsort, "sinkhorn": sinkhorn_sort}


def of_y(name, **options):
    """The recovered signal as a function of y; and a y."""
    A, y = (t.detach() for t in problem(REAL))
    return lambda y: solution(name, A, y, **options).x, y


def jacobian(f, y):
    return torch.autograd.functional.jacobian(f, y)


@pytest.mark.parametrize("name", SOLVERS)
def test_jacrev_vjp_and_grad_go_through_every_solver(name):
    f, y = of_y(name, **({"max_steps": 3} if name == "amp" else {}))
    wanted, v = jacobian(f, y), normal(3, N)
    torch.testing.assert_close(jacrev(f)(y), wanted)
    torch.testing.assert_close(vjp(f, y)[1](v)[0], v @ wanted)
    torch.testing.assert_close(grad(lambda y: f(y) @ v)(y), v @ wanted)
    torch.testing.assert_close(torch.autograd.functional.jacobian(f, y, vectorize=True), wanted)


def test_jacrev_of_a_matrix():
    A, y = (t.detach() for t in problem(REAL))
    torch.testing.assert_close(
        jacrev(lambda A: pursuit.omp(A, y, K).x)(A), jacobian(lambda A: pursuit.omp(A, y, K).x, A)
    )


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", ["omp", "iht", "htp", "sp"])
def test_jacrev_goes_through_soft_selections(name, sort):
    f, y = of_y(name, select=Relaxed(SORTS[sort], tau=0.3))
    torch.testing.assert_close(jacrev(f)(y), jacobian(f, y))
    torch.testing.assert_close(torch.autograd.functional.jacobian(f, y, vectorize=True), jacobian(f, y))


@pytest.mark.parametrize("name", ["omp", "htp", "iht"])
def test_jacrev_of_jacrev_is_the_second_derivative(name):
    f, y = of_y(name, select=Relaxed(tau=0.3))

    def energy(y):
        return f(y).square().sum()

    torch.testing.assert_close(jacrev(jacrev(energy))(y), torch.autograd.functional.hessian(energy, y))


@pytest.mark.parametrize("name", UNFITTED)
def test_forward_mode_goes_through_solvers_that_do_not_refit(name):
    f, y = of_y(name)
    wanted, v = jacobian(f, y), normal(3, M)
    torch.testing.assert_close(jacfwd(f)(y), wanted)
    torch.testing.assert_close(jvp(f, (y,), (v,))[1], wanted @ v)


@pytest.mark.parametrize("transform", [jacfwd, hessian])
@pytest.mark.parametrize("name", ["omp", "htp", "els"])
def test_forward_mode_is_refused_elsewhere_and_says_what_to_use(name, transform):
    f, y = of_y(name)
    with pytest.raises(NotImplementedError, match=r"forward mode .* use reverse mode: torch.func.jacrev"):
        transform(f)(y)


@pytest.mark.parametrize("name", ["omp", "fista"])
def test_mapping_over_a_solver_is_refused_and_says_to_pass_the_batch(name):
    f, y = of_y(name)
    batch = torch.stack([y, 2 * y])
    for call in (
        lambda: vmap(f)(batch),
        lambda: vmap(grad(lambda y: f(y).sum()))(batch),
        lambda: vmap(jacrev(f))(batch),
    ):
        with pytest.raises(RuntimeError, match=r"pass all signals at once, y of shape \(\*batch, m\)"):
            call()
    assert f(batch).shape == (2, N)


@pytest.mark.parametrize(("option", "values"), [("lam", [0.1, 0.2]), ("tol", [0.1, 0.2])])
def test_mapping_over_an_option_is_refused_too(option, values):
    A, y = (t.detach() for t in problem(REAL))

    def recovered(value):
        return pursuit.fista(A, y, **({"lam": 0.1} | {option: value})).x

    with pytest.raises(RuntimeError, match="one value of an option per signal"):
        vmap(recovered)(torch.tensor(values))


@pytest.mark.parametrize("name", [*NETS, "SEANet"])
def test_every_network_takes_them(name):
    net, y = network(name, NETS.get(name, {"k": K, "layers": 3}))
    y = y.detach()
    y = torch.stack([y[0], -2 * y[0], y[0].flip(-1)])
    params = {name: value.detach() for name, value in net.named_parameters()}

    def loss(params, y):
        return functional_call(net, params, (y,)).square().sum()

    torch.testing.assert_close(vmap(net)(y), net(y))
    torch.testing.assert_close(jacrev(net)(y[0]), jacobian(net, y[0]))
    each = vmap(grad(loss), in_dims=(None, 0))(params, y)  # the gradients of every signal
    for i, signal in enumerate(y):
        net.zero_grad()
        net(signal).square().sum().backward()
        for name, value in net.named_parameters():
            wanted = torch.zeros_like(value) if value.grad is None else value.grad
            torch.testing.assert_close(each[name][i], wanted)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # torch's own
@pytest.mark.parametrize("name", ["omp", "htp", "fista"])
def test_torch_compile_leaves_a_solver_as_it_is(name):
    torch.compiler.reset()
    A, y = (t.detach() for t in problem(REAL))

    def twice(y):
        sol = solution(name, A, 2 * y)
        return sol.x + 1, sol.compiled

    found, wanted = torch.compile(twice, backend="eager")(y), twice(y)
    torch.testing.assert_close(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])  # by the kernel all the same


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # torch's own
@pytest.mark.parametrize("name", ["OMPNet", "HTPNet", "ALISTA"])
def test_torch_compile_takes_networks(name):
    torch.compiler.reset()
    net, y = network(name, NETS[name])
    found = torch.compile(net, backend="eager")(y.detach())
    torch.testing.assert_close(found, net(y.detach()))


@pytest.mark.parametrize("name", ["LISTA", "ALISTA"])
def test_networks_that_only_shrink_are_one_graph(name):
    """Greedy ones sort softly, by a function of autograd that torch does not trace."""
    torch.compiler.reset()
    net, y = network(name, NETS[name])
    found = torch.compile(net, backend="eager", fullgraph=True)(y.detach())
    torch.testing.assert_close(found, net(y.detach()))
