"""Numbers of any size: the same answer in every unit, or a refusal, or a status for which `check()` raises."""

import inspect
import re

import numpy as np
import pytest
import torch

import pursuit
from helpers import DTYPES, normal, penalty, sparse
from pursuit import RecoveryError, Status, config, powers

M, N, K = 16, 32, 3
# Options of every solver, and in which power of the units of y and of 1 / A an option is.
OPTIONS = {name: {"k": K} for name in pursuit.methods() if name not in ("ista", "fista", "greedy_lasso", "amp")}
OPTIONS |= {"sea": {"k": K, "max_steps": 60}, "sea_plus": {"k": K, "max_steps": 60}}
WITH_UNITS = {
    "ista": ("lam", 0.2, 1, -1),
    "fista": ("lam", 0.2, 1, -1),
    "greedy_lasso l0": ("lam", 0.01, 2, 0),
    "greedy_lasso l0-sr": ("lam", 0.01, 1, 0),
    "greedy_lasso l1": ("lam", 0.1, 1, 0),
    "greedy_lasso l1-sr": ("lam", 0.1, 0, 0),
    "amp soft": ("alpha", 1.5, 0, 0),
    "amp bernoulli-gaussian": ("variance", 1.0, 2, 2),
}


def solve(name, A, y, s=0, t=0):
    """`pursuit.solve` for `A 2^s` and `y 2^t`, with its options in these units."""
    A, y = (powers.shifted(v, torch.tensor(e)) for v, e in ((A, s), (y, t)))
    method, _, kind = name.partition(" ")
    options = dict(OPTIONS.get(name, {}))
    if name in WITH_UNITS:
        option, value, of_y, of_A = WITH_UNITS[name]
        options[option] = value * 2.0 ** (of_y * t - of_A * s)
        options |= {"k": K} if kind and kind != "soft" else {}
        options |= {"max_steps": 100} if not kind else {}
        options |= {{"greedy_lasso": "objective", "amp": "denoiser"}[method]: kind} if kind else {}
    return method, A, y, options


def units(dtype):
    big = 100 if dtype.to_real() == torch.float32 else 900
    return [(big, 0), (-big, 0), (0, big), (0, -big), (big, big), (-big, -big), (30, -40), (big, -big), (-big, big)]


def implicit(A):
    return pursuit.as_operator((lambda x: x @ A.mT, lambda y: y @ A.conj(), tuple(A.shape)), dtype=A.dtype)


@pytest.mark.parametrize("form", ["dense", "implicit"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*OPTIONS, *WITH_UNITS])
def test_an_answer_is_that_in_any_other_unit(name, dtype, form, monkeypatch):
    """`solver(s A, t y) = (t / s) solver(A, y)`, or the status says that the answer is out of the range of numbers."""
    A = normal(1, M, N, dtype=dtype)
    Y = sparse(2, N, K, batch=(3,), dtype=dtype) @ A.mT + 0.1 * normal(3, 3, M, dtype=dtype)
    near = {"niht": 1e-3}.get(name, 1e-4 if dtype.to_real() == torch.float32 else 1e-9)
    few = units(dtype)[::3]  # where other code runs on the same numbers
    ways = [("auto", Y, units(dtype)), ("auto", Y[0], few)] + [("off", Y, few)] * (form == "dense")
    for kernels, y, scales in ways:
        monkeypatch.setattr(config, "kernels", kernels)
        method, _, _, options = solve(name, A, y)
        plain = pursuit.solve(A if form == "dense" else implicit(A), y, method, **options)
        assert plain.x.any()
        for s, t in scales:
            try:
                method, B, z, options = solve(name, A, y, s, t)
            except OverflowError:  # a Python number cannot hold the option either
                continue
            if any(value == 0 for value in options.values()):
                continue
            sol = pursuit.solve(B if form == "dense" else implicit(B), z, method, **options)
            if abs(t - s) > -np.log2(torch.finfo(dtype).tiny):
                lost = sol.status[plain.x.any(-1)]
                assert (lost == Status.OUT_OF_RANGE).all()
                continue
            want = powers.shifted(plain.x, torch.tensor(t - s))
            assert (sol.x - want).abs().max() <= near * want.abs().max(), (s, t)
            assert sol.status.tolist() == plain.status.tolist(), (s, t)
            if not name.startswith(("ista", "fista", "amp")):
                assert torch.equal(sol.support.sort(-1).values, plain.support.sort(-1).values), (s, t)
            norm = powers.shifted(plain.residual_norm, torch.tensor(t))
            torch.testing.assert_close(sol.residual_norm / norm, torch.ones_like(norm), rtol=1e-3, atol=0)


def easy(dtype="float32"):
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((20, 40)).astype(dtype), np.zeros(40, dtype)
    x[[3, 17, 25]] = 1.0, -2.0, 0.1
    return A, x, A @ x


@pytest.mark.parametrize("c", [1e-36, 1e-30, 1e-22, 1.0, 1e22, 1e30, 1e37])
def test_small_and_large_measurements_are_recovered(c):
    A, x, y = easy()
    for method in ("omp", "niht", "sp"):
        sol = pursuit.solve(A, y * np.float32(c), method=method, k=3).check()
        np.testing.assert_allclose(sol.x / np.float32(c), x, atol=1e-5)


@pytest.mark.parametrize("c", [1e-30, 1e-23, 1e23, 1e30])
def test_small_and_large_columns_are_columns(c):
    A, x, y = easy()
    A[:, ::2] *= np.float32(c)
    sol = pursuit.omp(A, y, k=3).check()
    found = np.where(np.arange(40) % 2 == 0, sol.x.astype("float64") * c, sol.x)
    np.testing.assert_allclose(found, x, atol=1e-5)


def test_columns_without_squares_are_refused():
    A, _, y = easy()
    with pytest.raises(ValueError, match="scale A"):
        pursuit.omp(A * np.float32(1e-37), y, k=3)
    A[:, 5] = 0  # a column of zeros is none that is small
    assert 5 not in pursuit.omp(A, y, k=3).support


@pytest.mark.parametrize("method", ["iht", "niht", "htp", "cosamp", "sp", "ompr", "els", "sea", "ista", "amp"])
def test_a_start_that_cannot_be_squared_is_refused(method):
    A, _, y = easy()
    options = {"lam": 0.1} if method == "ista" else {"k": 3}
    with pytest.raises(ValueError, match="scale x0"):
        pursuit.solve(A, y, method=method, x0=np.full(40, 3e38, "float32"), **options)
    with pytest.raises(ValueError, match="scale x0"):
        pursuit.solve(A, y, method=method, x0=np.full(40, 1e300), **options)  # finite before it is cast only


@pytest.mark.parametrize("w", [1e-300, 1e-60, 1e60, 1e300])
def test_weights_count_by_their_ratios(w):
    for dtype in ("float32", "float64"):
        A, x, y = easy(dtype)
        sol = pursuit.omp(A, y, k=3, weights=np.full(40, w))
        assert sorted(sol.support) == [3, 17, 25]
        np.testing.assert_allclose(sol.check().x, x, atol=1e-5)


def test_weights_too_far_apart_are_refused():
    A, _, y = easy()
    with pytest.raises(ValueError, match="weights > 0 go from"):
        pursuit.omp(A, y, k=3, weights=np.logspace(-60, 0, 40))


# ---- statuses ------------------------------------------------------------------------------------------------------


def raises(sol, status):
    """The solution, for which `check()` raises the message of this status."""
    assert Status(int(sol.status)) == status
    assert not status.ok
    with pytest.raises(RecoveryError, match=re.escape(status.message)):
        sol.check()
    return sol


@pytest.mark.parametrize("method", ["omp", "ols", "htp", "cosamp", "sp", "ompr", "els", "sea", "iht", "niht"])
def test_coefficients_without_a_number_are_no_success(method):
    A, y = torch.tensor([[1e-20, 0.0], [0.0, 1.0]]), torch.tensor([1e19, 0.0])
    sol = raises(pursuit.solve(A, y, method=method, k=1), Status.OUT_OF_RANGE)
    assert sol.x.tolist() == [0.0, 0.0]  # the last finite one
    assert sol.residual_norm == y.norm()
    others = pursuit.solve(A, pursuit.rows(torch.stack([y, torch.tensor([0.0, 2.0])])), method=method, k=1)
    torch.testing.assert_close(others.x[1], torch.tensor([0.0, 2.0]), rtol=1e-5, atol=0)
    assert Status(int(others.status[1])).ok
    raises(pursuit.solve(1e20 * A, 1e-44 * torch.tensor([1.0, 0.0]), method=method, k=1), Status.OUT_OF_RANGE)


def test_a_tol_that_was_missed_is_said():
    A, _, y = easy("float64")
    y = y + np.random.default_rng(1).standard_normal(20)
    for method in ("omp", "ols", "iht", "niht", "htp", "cosamp", "sp", "ompr", "els", "sea", "sea_plus"):
        pursuit.solve(A, y, method=method, k=3).check()
        pursuit.solve(A, y, method=method, k=3, tol=0.9).check()
        raises(pursuit.solve(A, y, method=method, k=3, tol=1e-3), Status.TOL_MISSED)
    for method in ("ista", "fista"):
        raises(pursuit.solve(A, y, method=method, lam=5.0, tol=1e-3, max_steps=10**5), Status.TOL_MISSED)
    raises(pursuit.omp(A[:, :10], y, tol=1e-6), Status.TOL_MISSED)  # all ten atoms are in
    each = pursuit.omp(A, np.stack([y, y]), k=3, tol=[0.9, 1e-3])
    assert each.status.tolist() == [Status.TOLERANCE, Status.TOL_MISSED]


def test_nothing_found_is_said():
    A = torch.eye(4, 2)
    y = torch.tensor([0.0, 0.0, 1.0, 1.0])  # orthogonal to both columns
    for method in ("omp", "ols", "niht", "htp", "cosamp", "sp"):
        raises(pursuit.solve(A, y, method=method, k=1), Status.NOTHING_FOUND)
    raises(pursuit.omp(A, torch.ones(4), k=1, weights=torch.zeros(2)), Status.NOTHING_FOUND)
    assert pursuit.omp(A, torch.zeros(4), k=1).check().x.tolist() == [0.0, 0.0]
    large = penalty(torch.eye(2), torch.ones(2)).item()
    for method in ("ista", "fista"):
        assert pursuit.solve(torch.eye(2), torch.ones(2), method=method, lam=large).check().x.tolist() == [0.0, 0.0]


def test_a_start_that_is_worse_than_zero_is_no_success():
    A, _, y = easy("float64")
    wrong = np.zeros(40)
    wrong[[1, 2, 4]] = 1e6
    sol = pursuit.cosamp(A, y, k=3, x0=wrong, max_steps=0)
    assert not Status(int(sol.status)).ok
    seen = set()
    for seed in range(50):
        rng = np.random.default_rng(seed)
        B, z = rng.standard_normal((6, 30)), rng.standard_normal(6)
        start = 100 * rng.standard_normal(30)
        for method in ("cosamp", "niht", "iht", "sp", "htp", "ista", "fista"):
            options = {"lam": 0.1} if "ista" in method else {"k": 3}
            sol = pursuit.solve(B, z, method=method, x0=start, max_steps=20, **options)
            if sol.residual_norm > np.linalg.norm(z) * (1 + 1e-12):
                assert not Status(int(sol.status)).ok
                seen.add(Status(int(sol.status)))
    assert Status.WORSE_THAN_ZERO in seen


def test_messages_name_no_option_that_a_solver_lacks():
    takes = {name: set(inspect.signature(getattr(pursuit, name)).parameters) for name in pursuit.methods()}
    options = set().union(*takes.values())
    for name, has in takes.items():
        for status in Status:
            named = set(re.findall(r"[A-Za-z0-9_]+", status.message)) & options
            assert status.ok or named <= has, (name, status)  # those that are ok have no advice


@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("method", ["omp", "ols", "htp", "cosamp", "sp", "ompr", "els", "sea"])
def test_dependent_atoms_get_no_huge_coefficients(method, kernels, monkeypatch):
    """Near-parallel Gaussian atoms of numerical rank 3: no pivot of an unpivoted QR shows it."""
    monkeypatch.setattr(config, "kernels", kernels)
    t, c = np.linspace(0, 1, 10)[:, None], np.array([[0.1, 0.4, 0.6, 0.9]])
    B = np.exp(-((t - c) ** 2) / (2 * 77.5**2))
    B /= np.linalg.norm(B, axis=0)
    y = t[:, 0] - 0.3
    z, _, rank, _ = np.linalg.lstsq(B, y, rcond=10 * np.finfo(float).eps)
    x = pursuit.solve(B, y, method=method, k=4).x
    assert rank == 3
    assert abs(x).max() <= 2 * abs(z).max()  # 1e10 before; OMP and others leave the fourth atom out
    if method in ("htp", "cosamp", "sp", "sea"):
        assert abs(x).max() == pytest.approx(abs(z).max(), rel=1e-5)


# ---- as it comes ---------------------------------------------------------------------------------------------------


def test_a_default_device_is_not_where_A_and_y_are():
    A, y = normal(1, 6, 9, dtype=torch.complex128), normal(2, 3, 6, dtype=torch.complex128)
    for options in ({}, {"select": pursuit.Relaxed(tau=0.1)}):
        here = pursuit.omp(A, y, 2, **options).x
        torch.set_default_device("meta")  # or "cuda"
        try:
            there = pursuit.omp(A, y, 2, **options).x
        finally:
            torch.set_default_device(None)
        assert torch.equal(there, here)


def test_a_network_takes_a_conjugate_view():
    A, y = normal(1, 6, 9, dtype=torch.complex128), normal(2, 3, 6, dtype=torch.complex128)
    net = pursuit.nets.NAALISTA(A, layers=2, sparsity=2, hidden=4)
    net.prepare(y)
    torch.testing.assert_close(net(y.conj()), net(y.conj().resolve_conj()))
