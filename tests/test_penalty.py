"""The penalty of ISTA and FISTA, as a user gives it: lam, a share, a number of non-zeros, weights; and its gap."""

import numpy as np
import pytest
import torch

import pursuit
from pursuit import Status

rng = np.random.default_rng(0)
A = MATRIX = rng.standard_normal((50, 120))
X = np.zeros((6, 120))
for row in X:
    row[rng.choice(120, 6, replace=False)] = rng.standard_normal(6)
Y = X @ A.T + 0.1 * rng.standard_normal((6, 50))
both = pytest.mark.parametrize("solve", [pursuit.ista, pursuit.fista], ids=["ista", "fista"])


def objective(x, A, y, penalty):
    return (np.abs(y - x @ A.T) ** 2).sum(-1) / 2 + (penalty * np.abs(x)).sum(-1)


@both
def test_a_share_is_that_of_the_smallest_penalty_that_gives_zero(solve):
    largest = np.abs(Y @ A).max(-1)
    found = solve(A, Y, lam_share=0.1, max_steps=3000)
    np.testing.assert_allclose(found.x, solve(A, Y, 0.1 * largest, max_steps=3000).x, atol=1e-6)
    assert not solve(A, Y, lam_share=1.001).x.any()
    assert solve(A, Y, lam_share=0.99).x.any(-1).all()
    np.testing.assert_allclose(solve(1e3 * A, 1e-2 * Y, lam_share=0.1, max_steps=3000).x * 1e5, found.x, atol=1e-6)
    shares = np.array([0.5, 0.1, 0.2, 0.3, 0.4, 0.6])
    each = solve(A, Y, lam_share=shares, max_steps=3000)
    np.testing.assert_allclose(each.x[1], found.x[1], atol=1e-6)


def test_it_means_the_same_in_a_comparison():
    instance = pursuit.problems.Instance(
        "mine", pursuit.as_operator(torch.from_numpy(A)), torch.from_numpy(Y), 6, None, {}
    )
    of_share, of_lam = (
        pursuit.comparison.compare(instance, ["fista"], **options)[0].x
        for options in ({"lam_share": 0.1}, {"lam": 7.0})
    )
    np.testing.assert_array_equal(of_share, pursuit.fista(A, Y, lam_share=0.1).x)
    np.testing.assert_array_equal(of_lam, pursuit.fista(A, Y, 7.0).x)


def residual_of_largest(x, k):
    """What least squares on the k largest entries leaves of the first signal."""
    atoms = MATRIX[:, np.argsort(-np.abs(x))[:k]]
    return np.linalg.norm(Y[0] - atoms @ np.linalg.lstsq(atoms, Y[0], rcond=None)[0])


@pytest.mark.parametrize("known", [False, True])
def test_without_a_penalty_a_comparison_takes_the_one_whose_largest_entries_explain_y_best(known):
    k, shares = 6, pursuit.lasso_path.SHARES
    instance = pursuit.problems.Instance(
        "mine",
        pursuit.as_operator(torch.from_numpy(A)),
        torch.from_numpy(Y),
        k,
        torch.from_numpy(X) if known else None,
        {},
    )
    rows = {row.method: row for row in pursuit.comparison.compare(instance, ["ista", "fista", "fista_ls"])}
    exact = [pursuit.fista(A, Y[0], lam_share=share, max_steps=20000).x for share in shares]
    left = [residual_of_largest(x, k) for x in exact]
    assert max(left) > 1.05 * min(left)  # the choice matters
    best = max(i for i, r in enumerate(left) if r <= min(left) + 1e-6 * np.linalg.norm(Y[0]))
    for method in ("ista", "fista"):
        np.testing.assert_allclose(rows[method].x[0], exact[best], atol=0.02 * np.abs(exact[best]).max())
    assert rows["fista_ls"].nonzeros == k
    refit = rows["fista_ls"].x[0].numpy()
    np.testing.assert_array_equal(np.flatnonzero(refit), np.sort(np.argsort(-np.abs(rows["fista"].x[0].numpy()))[:k]))
    assert np.linalg.norm(Y[0] - A @ refit) == pytest.approx(min(left), rel=1e-6)
    assert rows["fista_ls"].steps == rows["fista"].steps > len(shares)  # of all penalties


def test_refitting_takes_the_bias_of_the_penalty_away():
    case = pursuit.problems.gaussian(signals=10)
    rows = {row.method: row for row in pursuit.comparison.compare(case, ["omp", "fista", "fista_ls"])}
    assert rows["fista_ls"].error_db < rows["fista"].error_db - 4
    assert abs(rows["fista_ls"].error_db - rows["omp"].error_db) < 1.5


def test_a_refit_of_fewer_entries_than_k_has_no_more():
    case = pursuit.problems.gaussian(signals=3)
    rows = {row.method: row for row in pursuit.comparison.compare(case, ["fista", "fista_ls"], lam_share=0.5)}
    assert rows["fista_ls"].nonzeros == rows["fista"].nonzeros < case.k
    assert rows["fista_ls"].residual < rows["fista"].residual


@both
@pytest.mark.parametrize("complex_numbers", [False, True])
def test_k_picks_the_penalty_that_leaves_k_non_zeros(solve, complex_numbers):
    y = Y[:3] + 1j * Y[3:] if complex_numbers else Y[:3]
    A = MATRIX[:, :30]
    sol = solve(A, y, k=[1, 4, 9], max_steps=1000)
    assert [len(found) for found in sol.atoms] == [1, 4, 9]
    assert solve(A, y[:1], k=5, max_steps=1000).support.shape == (1, 5)
    assert not solve(A, y, k=0).x.any()
    c = np.abs((y - sol.x @ A.T) @ A.conj())
    for item, found in enumerate(sol.atoms):  # it solves the LASSO of some penalty: that of its own atoms
        np.testing.assert_allclose(c[item][found], c[item].max(), rtol=1e-5)


def test_k_takes_the_next_smaller_number_where_none_leaves_k():
    """Two equal columns come together."""
    twice = np.repeat(np.eye(4), 2, axis=1)
    sol = pursuit.fista(twice, np.array([3.0, 2.0, 0.0, 0.0]), k=3)
    assert len(sol.atoms) == 2


@both
def test_an_intercept_is_not_penalised(solve):
    X = rng.standard_normal((100, 40))
    y = 50 + X[:, :3] @ [2.0, -1.0, 1.0] + 0.1 * rng.standard_normal(100)
    right = solve(X - X.mean(0), y - y.mean(), 5.0, max_steps=5000).x
    with_ones, weights = np.column_stack([np.ones(100), X]), [0, *[1] * 40]
    for options in ({}, {"gap": 1e-12}):
        sol = solve(with_ones, y, 5.0, weights=weights, max_steps=5000, **options).check()
        np.testing.assert_allclose(sol.x[1:], right, atol=1e-5)
        np.testing.assert_allclose(sol.x[0], y.mean() - X.mean(0) @ right, atol=1e-5)
    assert np.flatnonzero(solve(with_ones, y, lam_share=1.01, weights=weights).x).tolist() == [0]
    assert len(solve(with_ones, y, lam_share=0.99, weights=weights).atoms) == 2
    assert solve(with_ones, y, k=4, weights=weights, max_steps=5000).x[:4].all()


@both
def test_weights_are_the_penalties_of_coefficients(solve):
    weights = np.linspace(0.5, 2, 120)
    sol = solve(A, Y, 3.0, weights=weights, max_steps=5000)
    scaled = solve(A / weights, Y, 3.0, max_steps=5000)
    np.testing.assert_allclose(sol.x, scaled.x / weights, atol=1e-5)
    each = solve(A, Y, 3.0, weights=np.stack([weights] * 6), max_steps=5000)
    np.testing.assert_allclose(each.x, sol.x, atol=1e-12)


@both
@pytest.mark.parametrize("kind", ["real", "complex", "single", "weighted", "intercept"])
def test_the_gap_bounds_the_distance_to_the_smallest_objective(solve, kind):
    y, matrix, weights = Y, A, np.ones(120)
    if kind == "complex":
        y, matrix = Y + 1j * Y[::-1], A + 1j * A[::-1]
    if kind == "single":
        y, matrix = Y.astype("float32"), A.astype("float32")
    if kind == "weighted":
        weights = np.linspace(0.5, 2, 120)
    if kind == "intercept":
        weights = (np.arange(120) > 0).astype(float)
    best = solve(matrix, y, 5.0, weights=weights, max_steps=20_000)
    least = objective(best.x, matrix, y, 5 * weights)
    for gap in (1e-1, 1e-2, 1e-4):
        sol = solve(matrix, y, 5.0, weights=weights, gap=gap, max_steps=20_000)
        assert (sol.status == Status.GAP).all()
        more = objective(sol.x, matrix, y, 5 * weights) - least
        assert (more <= gap * (np.abs(y) ** 2).sum(-1) * 1.0001).all()
        assert (sol.steps <= best.steps).all()
        assert sol.check() is sol


def test_a_solved_lasso_is_not_late():
    """Where steps run out with a gap of 1e-7, nothing is wrong."""
    sol = pursuit.fista(A, Y, lam_share=0.1, max_steps=200)
    assert set(sol.status) == {Status.GAP}
    assert sol.check() is sol
    assert "gap" in sol.message[0]
    early = pursuit.fista(A, Y, lam_share=0.1, max_steps=3)
    assert set(early.status) == {Status.MAX_STEPS}
    zero = pursuit.fista(A, 0 * Y, 1.0, gap=1e-6)
    assert not zero.x.any()


@both
def test_a_gap_per_signal_and_hooks(solve):
    history = []
    sol = solve(A, Y, lam_share=0.1, gap=[1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 0], max_steps=200, on_step=history.append)
    assert (np.diff(sol.steps) >= 0).sum() >= 4
    assert len(history) == sol.steps.max()
    np.testing.assert_array_equal(history[-1].x, sol.x)


@both
def test_the_penalty_by_weights_has_derivatives(solve):
    y = torch.from_numpy(Y[:2]).requires_grad_()
    sol = solve(torch.from_numpy(A), y, lam_share=0.2, weights=torch.linspace(0.5, 1, 120), max_steps=30)
    sol.x.sum().backward()
    assert y.grad.isfinite().all()
    assert y.grad.any()


def test_greedy_lasso_in_a_comparison_is_omp_that_stops_earlier():
    """As docs/comparisons.md says."""
    case = pursuit.problems.gaussian(signals=10)
    (row,) = pursuit.comparison.compare(case, ["greedy_lasso"])
    omp = pursuit.omp(case.A, case.y, (row.x != 0).sum(-1))
    torch.testing.assert_close(row.x, omp.x)
    assert row.nonzeros < case.k
