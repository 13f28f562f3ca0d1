"""What must hold of every solver whatever the numbers: symmetries, units, batches, operators and precisions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import pursuit
from helpers import (
    COMPLEX,
    ITERATIVE,
    PROBLEMS,
    PROXIMAL,
    REAL,
    SELECTING,
    SINGLE,
    gaussian,
    generator,
    instance,
    normal,
    penalty,
    recover,
    unnormalised,
)

FIELDS = [pytest.param(REAL, id="real"), pytest.param(COMPLEX, id="complex")]
SEEDS = st.integers(0, 2**20)
M, N, K = 16, 32, 4
CHOOSING = [name for name in SINGLE if name in SELECTING]

# A law compares two runs whose rounding differs, and NIHT stops where the residual falls no more: since ||r||^2 is flat
# at its minimum, that is at the root of the rounding error. The proximal solvers stop where x moves by rounding only,
# which at their linear rate leaves a few hundred times as much.
NEAR = {name: 1e-6 if name == "niht" else 1e-9 for name in SINGLE}
# Few steps: the two runs stay comparable, and the laws hold at every step as they do at the end.
ENDING = ("omp", "ols", "els", "htp", "sp", "cosamp", "ompr")
BUDGET = {name: {} if name in ENDING else {"max_steps": 25} for name in SINGLE}


def draw(seed, dtype=REAL, *, batch=(5,), noise=0.2):
    """Noisy problems with columns of any norm, on which no solver ends at once; five signals make few draws go far."""
    return instance(unnormalised(dtype, m=M, n=N, seed=seed), K, seed=seed, batch=batch, noise=noise)


def run(name, A, y, k=K, **options):
    return recover(name, A, y, k, **(BUDGET[name] | options))


def same(name, got, want):
    """Equal up to rounding, relative to the size of the signal."""
    assert_close(got, want, rtol=0, atol=NEAR[name] * max(1.0, want.abs().max().item()))


# ---- batches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("name", SINGLE)
def test_a_batch_is_each_of_its_signals_alone(name, dtype):
    p = draw(0, dtype, batch=(2, 3))
    sol = run(name, p.A, p.y)
    for i in range(2):
        for j in range(3):
            alone = run(name, p.A, p.y[i, j])
            same(name, sol.x[i, j], alone.x)
            same(name, sol.residual_norm[i, j], alone.residual_norm)


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("name", SINGLE)
def test_a_batch_of_matrices_is_each_of_them_alone(name, dtype):
    A = torch.stack([unnormalised(dtype, m=M, n=N, seed=seed) for seed in range(4)])
    y = normal(9, 4, M, dtype=dtype)
    together, shared = run(name, A, y).x, run(name, A, y[0]).x  # one signal under every matrix
    for i in range(4):
        same(name, together[i], run(name, A[i], y[i]).x)
        same(name, shared[i], run(name, A[i], y[0]).x)


# ---- operators and precisions --------------------------------------------------------------------------------------


def triple(A):
    return (lambda x: x @ A.mT, lambda y: y @ A.conj(), tuple(A.shape))


IMPLICIT = {
    "fourier": lambda: PROBLEMS["fourier"](m=M, n=N),
    "deconvolution": lambda: PROBLEMS["deconvolution"](n=N, sigma=1.0),
    "complex deconvolution": lambda: PROBLEMS["deconvolution"](COMPLEX, n=N, sigma=1.0),
    "scaled columns": lambda: pursuit.ColumnScaled(PROBLEMS["fourier"](m=M, n=N), torch.linspace(0.5, 2, N) + 0j),
    "functions": lambda: pursuit.as_operator(triple(draw(0).A)),
    "product": lambda: pursuit.Compose(pursuit.Dense(gaussian(m=M, n=N)), PROBLEMS["deconvolution"](n=N)),
}


@pytest.mark.parametrize("operator", IMPLICIT)
@pytest.mark.parametrize("name", SINGLE)
def test_an_implicit_operator_is_its_matrix(name, operator):
    p = instance(IMPLICIT[operator](), K, batch=(3,), noise=0.1)
    y = p.y + 0.1 * normal(2, *p.y.shape, dtype=p.y.dtype)
    same(name, run(name, p.A, y).x, run(name, p.dense, y).x)


@pytest.mark.parametrize("name", SINGLE)
def test_a_real_problem_is_a_complex_one(name):
    p = draw(1)
    options = {"lam": 0.3 * penalty(p.A, p.y)} if name in PROXIMAL else {}
    for A in (p.A, p.A + 0j):  # a real matrix may meet a complex signal
        same(name, run(name, A, p.y + 0j, **options).x, run(name, p.A, p.y, **options).x + 0j)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("name", SINGLE)
def test_single_precision_is_close_to_double(name, dtype):
    wide = COMPLEX if dtype.is_complex else REAL
    p = draw(2, wide)
    low = run(name, p.A.to(dtype), p.y.to(dtype))
    assert low.x.dtype == dtype
    # As above, NIHT settles at the root of the rounding error: 3e-4 in single precision, times the conditioning. The
    # others are off by at most 1.2e-4 (FISTA), for signals of size 3.
    atol = 5e-3 if name == "niht" else 3e-4
    assert_close(low.x.to(wide), run(name, p.A, p.y).x, rtol=0, atol=atol)


# ---- units ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SINGLE)
@given(seed=SEEDS, c=st.sampled_from([-3.0, 1e-6, 2.0, 7.3, 1e5]))
def test_scale_of_y_scales_x(name, seed, c):
    p = draw(seed)
    same(name, run(name, p.A, c * p.y).x / c, run(name, p.A, p.y).x)


@pytest.mark.parametrize("name", SINGLE)
@given(seed=SEEDS, phi=st.floats(0, 6.28))
def test_phase_of_y_turns_x(name, seed, phi):
    p = draw(seed, COMPLEX)
    turn = torch.polar(torch.tensor(1.0, dtype=REAL), torch.tensor(phi, dtype=REAL))
    same(name, run(name, p.A, turn * p.y).x, turn * run(name, p.A, p.y).x)


@pytest.mark.parametrize("name", SINGLE)
@given(seed=SEEDS, c=st.sampled_from([1e-6, 0.3, 2.0, 1e5]))
def test_scale_of_the_matrix_divides_x(name, seed, c):
    p = draw(seed)
    same(name, c * run(name, c * p.A, p.y).x, run(name, p.A, p.y).x)


# Not of ISTA and FISTA: their penalty is on the caller's coefficients, so a column's norm says how dear it is.
@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("name", CHOOSING)
@given(seed=SEEDS)
def test_scales_of_the_columns_are_divided_out(name, dtype, seed):
    p = draw(seed, dtype)
    D = 10 ** (6 * torch.rand(N, generator=generator(seed), dtype=REAL) - 3)
    same(name, D * run(name, p.A * D, p.y).x, run(name, p.A, p.y).x)


# ---- symmetries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SINGLE)
@given(seed=SEEDS)
def test_order_of_the_columns_is_order_of_x(name, seed):
    p = draw(seed)
    order = torch.randperm(N, generator=generator(seed))
    # SEA from zero begins at a tie, the k lowest indices, hence with the order of the columns; not from a warm start.
    x0 = {"x0": p.y @ p.A} if name == "sea" else {}
    moved = {"x0": x0["x0"][:, order]} if x0 else {}
    same(name, run(name, p.A[:, order], p.y, **moved).x, run(name, p.A, p.y, **x0).x[:, order])


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("name", SINGLE)
@given(seed=SEEDS)
def test_a_rotation_of_the_measurements_leaves_x(name, dtype, seed):
    p = draw(seed, dtype)
    U = torch.linalg.qr(normal(seed + 7, M, M, dtype=dtype)).Q
    same(name, run(name, U @ p.A, p.y @ U.mT).x, run(name, p.A, p.y).x)


@pytest.mark.parametrize("name", SINGLE)
@given(seed=SEEDS)
def test_rows_of_zeros_leave_x(name, seed):
    p = draw(seed)
    A, y = torch.cat([p.A, torch.zeros(5, N, dtype=REAL)]), torch.cat([p.y, torch.zeros(5, 5, dtype=REAL)], dim=-1)
    same(name, run(name, A, y).x, run(name, p.A, p.y).x)


@pytest.mark.parametrize("name", SINGLE)
@given(seed=SEEDS)
def test_columns_of_zeros_change_nothing(name, seed):
    p = draw(seed)
    places = torch.randperm(N + 6, generator=generator(seed))[:N].sort().values
    A = torch.zeros(M, N + 6, dtype=REAL).index_copy(1, places, p.A)
    x = run(name, A, p.y).x
    same(name, x[:, places], run(name, p.A, p.y).x)
    assert x.count_nonzero() == x[:, places].count_nonzero()


# ---- ends ----------------------------------------------------------------------------------------------------------


# Not of CoSaMP: it does not refit, so another step from its own end may still lower the residual.
@pytest.mark.parametrize("name", [name for name in SINGLE if name in ITERATIVE and name != "cosamp"])
@given(seed=SEEDS)
def test_started_from_its_own_end_it_stays_there(name, seed):
    p = draw(seed)
    # IHT, ISTA and FISTA need their whole way to a fixed point. SEA, which always goes on, looks at its start first.
    whole = {"max_steps": 1 if name == "sea" else 3000}
    end = run(name, p.A, p.y, **({} if name == "sea" else whole))
    again = run(name, p.A, p.y, x0=end.x, **whole)
    if name == "htp":  # the best of a cycle is not where the cycle ends
        assert (again.residual_norm <= end.residual_norm * (1 + 1e-9)).all()
    else:
        same(name, again.x, end.x)


# Only of OMP and those that start from it: the others may miss a signal that another run of theirs ended at.
@pytest.mark.parametrize("name", ["omp", "ols", "ompr", "els"])
@given(seed=SEEDS)
def test_what_was_recovered_exactly_is_recovered_again(name, seed):
    p = draw(seed, noise=0.0)
    sol = run(name, p.A, p.y)
    exact = sol.residual_norm <= 1e-12 * torch.linalg.vector_norm(p.y, dim=-1)
    assert exact.any()
    same(name, run(name, p.A, sol.x @ p.A.mT).x[exact], sol.x[exact])


@pytest.mark.parametrize("name", CHOOSING)
@given(seed=SEEDS)
def test_the_support_is_where_x_is_not_zero(name, seed):
    p = draw(seed, COMPLEX)
    sol = run(name, p.A, p.y)
    mask = torch.zeros(5, N + 1, dtype=torch.bool).scatter(-1, sol.support % (N + 1), True)[:, :N]
    assert torch.equal(mask, sol.x != 0)
    assert (sol.x != 0).sum(-1).max() <= K


@pytest.mark.parametrize("name", PROXIMAL)
@given(seed=SEEDS)
def test_a_larger_penalty_never_gives_a_larger_norm(name, seed):
    p = draw(seed)
    shares = torch.tensor([0.1, 0.3, 0.6, 1.0], dtype=REAL)
    y = p.y[0]
    sol = recover(name, p.A, y.expand(4, -1), None, lam=shares * penalty(p.A, y), max_steps=300)
    assert (sol.x.abs().sum(-1).diff() <= 1e-4).all()
    assert (sol.residual_norm.diff() >= -1e-4).all()


# More atoms, better fit: of OMP and OLS at every k, since their supports are nested.
@pytest.mark.parametrize("name", ["omp", "ols"])
@given(seed=SEEDS)
def test_they_take_the_same_atoms_whatever_k(name, seed):
    p = draw(seed)
    longest = run(name, p.A, p.y, 8)
    for k in (1, 3, 8):
        assert torch.equal(run(name, p.A, p.y, k).support, longest.support[:, :k])
