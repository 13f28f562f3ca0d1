"""The guarantees hold on thousands of random instances, and are no larger than they need be."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

import pursuit
from helpers import COMPLEX, REAL, generator, instance, normal, unit
from pursuit import theory
from pursuit.relaxations import softsort


def uniform(seed: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=generator(seed), dtype=REAL)


def decades(seed: int, *shape: int, low: float, high: float) -> Tensor:
    """Numbers that are uniform in the logarithm."""
    return 10 ** uniform(seed, *shape, low=low, high=high)


def shapes(low: int = 2) -> list[tuple[int, int]]:
    """Lengths and numbers of rows."""
    return [(n, k) for n in (low, 3, 7, 20) for k in {1, min(2, n), n // 2 + 1, n} if k <= n]


# T1: the Lipschitz constant of softsort


def pairs(n: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, near and far from each other and with near ties, and temperatures over six decades."""
    v = normal(n, count, n) * decades(n + 1, count, 1, low=-2, high=1)
    v[::3] = (v[::3] * 4).round() / 4 + 1e-3 * normal(n + 2, *v[::3].shape)
    other = v + normal(n + 3, count, n) * decades(n + 4, count, 1, low=-6, high=1)
    return v, other, decades(n + 5, count, low=-4, high=2)


def test_softsort_changes_no_faster_than_its_lipschitz_constants():
    seen, worst = 0, {"l2": 0.0, "linf": 0.0}
    for n, k in shapes():
        v, other, tau = pairs(n, 2000)
        change = softsort(v, tau, k) - softsort(other, tau, k)
        by = v - other
        of_one = torch.tensor([theory.softsort_lipschitz(n, 1.0, k, norm=norm) for norm in ("l2", "linf")]).to(REAL)
        l2, linf = of_one.unsqueeze(-1) / tau
        ratio = torch.linalg.vector_norm(change, dim=(-2, -1)) / (l2 * torch.linalg.vector_norm(by, dim=-1))
        rows = change.abs().sum(-1).amax(-1) / (linf * by.abs().amax(-1))
        assert ratio.max() <= 1 + 1e-6
        assert rows.max() <= 1 + 1e-6
        worst = {"l2": max(worst["l2"], float(ratio.max())), "linf": max(worst["linf"], float(rows.max()))}
        seen += len(v)
    assert seen >= 20_000
    assert worst["l2"] > 0.45  # no more than about twice what is needed
    assert worst["linf"] > 0.45


def test_lipschitz_constant_of_all_rows_and_of_some():
    assert theory.softsort_lipschitz(16, 0.5) == 8
    assert theory.softsort_lipschitz(16, 0.5, 4) == 6
    assert theory.softsort_lipschitz(10**6, 0.5, norm="linf") == 4


# T2: the gap bound


def gap_instances(n: int, k: int, count: int) -> tuple[Tensor, Tensor]:
    """Scores of every spacing, half of them the worst case (all others just one gap below), and temperatures."""
    v = normal(n * k, count, n).abs()
    far = torch.where(torch.arange(n) < k, torch.arange(k, k - n, -1), 0).to(REAL)
    v[::2] = far[torch.randperm(n, generator=generator(n))] * decades(k, len(v[::2]), 1, low=-2, high=1)
    gap = theory.min_gap(v, k)
    return v, gap * decades(n + k, count, low=-1.5, high=1)


def distances(v: Tensor, tau: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """How far softsort is from sorting: the mask, and the rows in l1 and l2."""
    rows = softsort(v, tau, k)
    sharp = torch.nn.functional.one_hot(v.sort(descending=True, stable=True).indices[..., :k], v.shape[-1])
    mask = (rows.sum(-2) - sharp.sum(-2)).abs().amax(-1)
    apart = rows - sharp
    return mask, apart.abs().sum(-1).amax(-1), torch.linalg.vector_norm(apart, dim=-1).amax(-1)


def test_softsort_is_as_near_to_sorting_as_the_gap_says():
    seen, worst, violated = 0, torch.zeros(3, dtype=REAL), 0
    for n, k in shapes():
        v, tau = gap_instances(n, k, 2000)
        bound = theory.gap_bound(v, tau, k)
        for i, (is_, may_be) in enumerate(zip(distances(v, tau, k), bound[1:], strict=True)):
            assert (is_ <= may_be * (1 + 1e-9) + 1e-14).all()
            worst[i] = torch.maximum(worst[i], (is_ / may_be)[may_be > 1e-12].max())
        violated += int((distances(v, tau, k)[0] > 0.5 / (n - 1) * bound.mask + 1e-14).sum())
        seen += len(v)
    assert seen >= 20_000
    assert (worst > 0.99).all()  # attained in the limit of small temperatures
    assert violated > 1000  # the bound with n-1 replaced by 1/2


def test_tau_for_is_the_inverse_of_the_gap_bound():
    v = normal(0, 500, 12).abs()
    error = decades(1, 500, low=-9, high=-1)
    k = torch.randint(1, 13, (500,), generator=generator(2))
    tau = theory.tau_for(v, k, error)
    assert torch.allclose(theory.gap_bound(v, tau, k).mask, error, rtol=1e-9)
    for rows in (1, 5, 12):
        mine = k == rows
        assert (distances(v[mine], tau[mine], rows)[0] <= error[mine] * (1 + 1e-9)).all()


def test_gaps_of_a_batch_are_those_of_its_items():
    v, k = normal(3, 2, 3, 6), torch.tensor([[1, 2, 3], [4, 5, 6]])
    gaps = theory.min_gap(v, k)
    for i, j in itertools.product(range(2), range(3)):
        ordered = sorted(v[i, j].tolist(), reverse=True)
        expected = min(a - b for a, b in itertools.pairwise(ordered[: int(k[i, j]) + 1]))
        assert gaps[i, j].item() == pytest.approx(expected, rel=1e-12)


def test_ties_and_extremes_are_no_nan():
    tied = torch.tensor([2.0, 2.0, 1.0])
    assert theory.tau_for(tied, 1, 0.1) == 0
    assert theory.tau_for(tied, 1, 5.0) == math.inf
    assert theory.gap_bound(tied, 1e-300, 1).mask == 2
    assert theory.gap_bound(torch.tensor([2.0, 1.0], dtype=REAL), 1e-300, 1).mask == 0
    assert theory.min_gap(torch.ones(1), 1) == math.inf
    assert theory.gap_bound(torch.ones(1), 1.0, 1).mask == 0


# T3 and T4: the soft algorithms against the exact ones


def ensemble(seed: int, batch: int, m: int, n: int, k: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices with columns of any norm, noisy measurements of sparse signals, and weights of either sign."""
    A = unit(normal(seed, batch, m, n, dtype=dtype)) * decades(seed + 1, batch, 1, n, low=-0.5, high=0.5)
    A, y, *_ = instance(A, k, seed=seed + 2, batch=(batch,), noise=0.05)
    weights = uniform(seed + 4, batch, n, low=0.5, high=1.5) * uniform(seed + 5, batch, n, low=-1).sign()
    return A, y, weights


def soft(tau: Tensor) -> pursuit.Relaxed:
    return pursuit.Relaxed(softsort, tau)


def history(method: str, A: Tensor, y: Tensor, k: int, **options) -> Tensor:
    """The signal after every step, `(*batch, steps, n)`; an item that has stopped stays as it is."""
    xs = []
    getattr(pursuit, method)(A, y, k, on_step=lambda iterate: xs.append(iterate.x), **options)
    return torch.stack(xs, dim=-2)


def compare(method: str, A: Tensor, y: Tensor, k: int, *, tau: Tensor, weights: Tensor, steps: int, **options):
    """Distance of the soft and the exact signals after every step, and the norm of the exact ones."""
    options |= {"weights": weights.abs(), "max_steps": steps}
    exact = history(method, A, y, k, **options)
    relaxed = history(method, A, y, k, select=soft(tau), **options)
    assert exact.shape == relaxed.shape == (*y.shape[:-1], steps, A.shape[-1])
    return torch.linalg.vector_norm(relaxed - exact, dim=-1), torch.linalg.vector_norm(exact, dim=-1)


def check(distance: Tensor, bound: theory.Bound, size: Tensor) -> dict[str, float]:
    """No violation but by rounding; gives what shows that the check has power."""
    rounding = 1e-11 * size.amax(-1, keepdim=True)
    assert not bound.error.isnan().any()
    assert (distance <= bound.error * (1 + 1e-9) + rounding).all()
    telling = (bound.error > 100 * rounding) & (bound.error < size)
    return {
        "share": telling.double().mean().item(),
        "ratio": (distance / bound.error)[telling].max().item(),
        "count": int(bound.error.isfinite().sum()),
    }


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize(("m", "n", "k", "steps"), [(8, 12, 2, 4), (20, 30, 3, 4), (12, 12, 3, 5), (16, 10, 2, 6)])
def test_soft_iht_stays_within_its_bound(dtype, m, n, k, steps):
    A, y, weights = ensemble(7 * m + n, 500, m, n, k, dtype)
    tau, eta = decades(m, 500, low=-3.5, high=-0.5), uniform(n, 500, low=0.1, high=0.8)
    bound = theory.soft_iht_bound(A, y, k, tau=tau, steps=steps, eta=eta, weights=weights)
    distance, size = compare("iht", A, y, k, tau=tau, weights=weights, steps=steps, eta=eta)
    power = check(distance, bound, size)
    assert power["count"] >= 700
    assert power["share"] > 0.1
    assert power["ratio"] > 0.01  # the n - 1 other atoms are not all one gap below: see the two columns further down


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize(("m", "n", "k"), [(8, 16, 1), (10, 20, 2), (24, 40, 4), (12, 10, 3)])
def test_soft_omp_stays_within_its_bound(dtype, m, n, k):
    A, y, weights = ensemble(5 * m + n, 400, m, n, k, dtype)
    tau = decades(m, 400, low=-3.5, high=-0.5)
    bound = theory.soft_omp_bound(A, y, k, tau=tau, weights=weights)
    assert (bound.steps == k).all()
    distance, size = compare("omp", A, y, k, tau=tau, weights=weights, steps=k)
    power = check(distance, bound, size)
    assert power["count"] >= 300
    assert power["share"] > 0.1
    assert power["ratio"] > 0.003  # and the pseudo-inverse turns less than Wedin fears


@pytest.mark.parametrize(("method", "reached"), [("iht", 1.0), ("omp", 1 / (2 + math.sqrt(2)))])
def test_two_columns_reach_the_bound(method, reached):
    """Of the mask's error all is on one atom: n - 1 is right, and OMP's bound is `2 + sqrt(2)` times too large."""
    y = uniform(0, 1000, 2, low=1.0, high=2.0)
    gap = (y[:, 0] - y[:, 1]).abs()
    tau = gap / uniform(1, 1000, low=5.0, high=15.0)
    A, eta = torch.eye(2, dtype=REAL).expand(1000, 2, 2), {"eta": 1.0} if method == "iht" else {}
    once = {"steps": 1} if method == "iht" else {}
    error = getattr(theory, f"soft_{method}_bound")(A, y, 1, tau=tau, **once, **eta).error
    distance, _ = compare(method, A, y, 1, tau=tau, weights=torch.ones(2, dtype=REAL), steps=1, **eta)
    worst = (distance / error)[gap > 1e-2].max()
    assert 0.99 * reached < worst <= reached * 1.01
    assert worst <= 1 + 1e-9


BOUNDS = {
    "iht": lambda A, y, k, **options: theory.soft_iht_bound(A, y, k, steps=4, eta=0.4, **options),
    "omp": theory.soft_omp_bound,
}
OPTIONS = {"iht": {"steps": 4, "eta": 0.4}, "omp": {"steps": 3}}


@pytest.mark.parametrize("method", BOUNDS)
def test_the_needed_tau_gives_the_accuracy_and_hardly_more(method):
    A, y, weights = ensemble(11, 300, 20, 30, 3, REAL)
    bound = BOUNDS[method](A, y, 3, tau=1e-2, weights=weights, accuracy=1e-4)
    needed = bound.tau_needed
    assert ((needed > 0) & needed.isfinite()).all()
    distance, size = compare(method, A, y, 3, tau=needed, weights=weights, **OPTIONS[method])
    assert (distance[..., -1] <= 1e-4 * size[..., -1]).all()
    at = BOUNDS[method](A, y, 3, tau=needed, weights=weights, accuracy=1e-4)
    assert (at.error[..., -1] <= 1e-4 * size[..., -1] * (1 + 1e-9)).all()
    above = BOUNDS[method](A, y, 3, tau=needed * (1 + 1e-6), weights=weights, accuracy=1e-4)
    assert (above.error[..., -1] > 1e-4 * size[..., -1]).all()
    assert torch.allclose(bound.factor, 1e-2 / needed)
    # Several times the needed temperature is not enough for all: the answer is of the right size.
    distance, size = compare(method, A, y, 3, tau=8 * needed, weights=weights, **OPTIONS[method])
    assert (distance[..., -1] > 1e-4 * size[..., -1]).double().mean() > 0.1


@pytest.mark.parametrize("method", BOUNDS)
def test_bounds_grow_with_tau(method):
    A, y, weights = ensemble(12, 50, 20, 30, 3, COMPLEX)
    errors = [BOUNDS[method](A, y, 3, tau=tau, weights=weights).error for tau in (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1e3)]
    assert all((low <= high).all() for low, high in itertools.pairwise(errors))
    assert errors[0].isfinite().all()
    assert errors[-1][..., 1:].isinf().all()


@pytest.mark.parametrize("method", BOUNDS)
def test_a_batch_is_bounded_item_by_item(method):
    A, y, weights = ensemble(13, 6, 16, 24, 3, REAL)
    k, tau = torch.tensor([1, 2, 3, 1, 2, 3]), decades(0, 6, low=-4, high=-1)
    together = BOUNDS[method](A, y, k, tau=tau, weights=weights)
    for i in range(6):
        alone = BOUNDS[method](A[i], y[i], int(k[i]), tau=tau[i], weights=weights[i])
        for name in ("tau_needed", "factor", "steps"):
            assert torch.allclose(getattr(together, name)[i], getattr(alone, name), rtol=1e-9)
        count = alone.error.shape[-1]
        assert torch.allclose(together.error[i, :count], alone.error, rtol=1e-9)
        assert torch.allclose(together.gap[i, :count], alone.gap, rtol=1e-9)


@pytest.mark.parametrize("method", BOUNDS)
def test_the_sign_of_weights_and_the_scale_of_the_data_do_not_matter(method):
    A, y, weights = ensemble(14, 20, 16, 24, 2, REAL)
    plain = BOUNDS[method](A, y, 2, tau=1e-3, weights=weights)
    turned = BOUNDS[method](A, y, 2, tau=1e-3, weights=weights.abs())
    scaled = BOUNDS[method](A, 100 * y, 2, tau=0.1, weights=weights)
    assert torch.equal(plain.error, turned.error)
    assert torch.allclose(100 * plain.error, scaled.error, rtol=1e-6)
    assert torch.allclose(plain.factor, scaled.factor, rtol=1e-6)


@pytest.mark.parametrize("method", BOUNDS)
def test_the_bound_is_in_the_callers_units(method):
    A, y, _ = ensemble(15, 5, 16, 24, 2, REAL)
    bound = BOUNDS[method](A, y, 2, tau=1e-3)
    largest = 1 / torch.linalg.vector_norm(A, dim=-2).amin(-1, keepdim=True)
    assert torch.allclose(bound.error, bound.unit_error * largest)
    smaller = BOUNDS[method](A / 10, y, 2, tau=1e-3)
    assert torch.allclose(smaller.error, 10 * bound.error, rtol=1e-6)
    assert torch.allclose(smaller.factor, bound.factor, rtol=1e-6)


@pytest.mark.parametrize("method", BOUNDS)
def test_numpy_in_numpy_out(method):
    A, y, _ = ensemble(16, 3, 16, 24, 2, COMPLEX)
    tensors, arrays = (BOUNDS[method](*data, 2, tau=1e-3) for data in ((A, y), (A.numpy(), y.numpy())))
    for name, value in vars(arrays).items():
        assert isinstance(value, np.ndarray)
        np.testing.assert_array_equal(value, getattr(tensors, name))
    assert str(arrays) == str(tensors)


@pytest.mark.parametrize("method", BOUNDS)
def test_degenerate_data_are_no_nan(method):
    A = unit(normal(1, 8, 12))
    twice = torch.cat([A, A], dim=-1)  # every score is tied
    cases = {
        "zero y": (A, torch.zeros(8, dtype=REAL), None),
        "ties": (twice, A[:, 0], None),
        "zero columns": (A * (torch.arange(12) % 2), A[:, 1], None),
        "no columns": (0 * A, A[:, 1], None),
        "one column": (A[:, :1], A[:, 0], None),
        "weights for none": (A, A[:, 1], torch.zeros(12, dtype=REAL)),
        "weights for one": (A, A[:, 1] + A[:, 2], torch.eye(12, dtype=REAL)[1]),
    }
    finite = {}
    for name, (matrix, y, weights) in cases.items():
        bound = BOUNDS[method](matrix, y, 1, tau=1e-3, weights=weights)
        assert not any(value.isnan().any() for value in vars(bound).values()), name
        assert bound.message
        finite[name] = bool(bound.factor < math.inf)
    assert finite == {name: name not in ("ties", "weights for none") for name in cases} | {
        "weights for none": method == "omp"  # which then takes no step
    }


def test_iht_with_too_large_a_step_has_no_guarantee():
    A, y, _ = ensemble(17, 4, 8, 12, 2, REAL)
    bound = theory.soft_iht_bound(A, y, 2, tau=1e-3, steps=130, eta=100.0)
    assert not any(value.isnan().any() for value in vars(bound).values())
    assert bound.error[..., -1].isinf().all()
    assert (bound.tau_needed == 0).all()


def test_a_bound_that_underflows_can_still_grow():
    """A spill of 1e-340 times a growth of 1e50 is not zero."""
    A, y, _ = ensemble(18, 1, 8, 12, 1, REAL)
    gap = theory.soft_iht_bound(A, y, 1, tau=1.0, steps=100, eta=0.9).gap.amin()
    bound = theory.soft_iht_bound(A, y, 1, tau=gap / 790, steps=100, eta=0.9)
    assert bound.unit_error[0, 0] == 0
    assert 0 < bound.unit_error[0, -1] < 1e-200


def test_omp_that_ends_at_an_exact_fit_has_no_bound_beyond():
    A = unit(normal(2, 20, 30))
    y = 2 * A[:, 3] + A[:, 7]
    bound = theory.soft_omp_bound(A, y, 5, tau=1e-2)
    assert bound.steps == 2
    assert bound.error.isfinite().tolist() == [True, True, False, False, False]
    assert 0 < bound.tau_needed < math.inf
    sol = pursuit.omp(A, y, 5, select=soft(bound.tau_needed), max_steps=bound.steps)
    exact = pursuit.omp(A, y, 5).x
    assert torch.linalg.vector_norm(sol.x - exact) <= 1e-6 * torch.linalg.vector_norm(exact)


def test_the_sentence_says_whether_and_by_what_factor():
    A, y = torch.eye(3, 4), torch.tensor([[0.5, 4.0, 1.0], [1.0, 1.0, 0.0], [0.1, 9.0, 0.0]])
    assert "is small enough" in str(theory.soft_omp_bound(A, y[0], 1, tau=1e-3))
    assert "times smaller" in str(theory.soft_omp_bound(A, y[0], 1, tau=10.0))
    assert "scores tie" in str(theory.soft_omp_bound(A, y[1], 1, tau=1e-3))
    assert "for 2 of 3 signals" in str(theory.soft_omp_bound(A, pursuit.rows(y), 1, tau=1e-3))
    assert str(theory.soft_omp_bound(A, y[:0], 1, tau=1e-3)) == "There are no signals."


# Coherence and restricted isometry


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
def test_coherence_and_the_isometry_constant_of_pairs_agree(dtype, monkeypatch):
    A = unit(normal(4, 3, 6, 15, dtype=dtype))
    G = (A.mH @ A).abs()
    expected = (G - torch.eye(15)).amax((-2, -1))
    assert torch.allclose(theory.coherence(A), expected)
    assert torch.allclose(theory.rip_constant(A, 2), expected)  # eigenvalues 1 +- |<a_i, a_j>|
    monkeypatch.setattr(theory.matrices, "PROBES", 40)
    assert torch.allclose(theory.coherence(A), expected)  # some columns at a time
    assert torch.allclose(theory.rip_constant(A, 2), expected)
    assert torch.allclose(theory.coherence(A * decades(0, 15, low=-2, high=2)), expected)


def test_isometry_constant_bounds_the_energy_of_sparse_signals():
    A = normal(5, 8, 10) / 8**0.5
    constants = [theory.rip_constant(A, k).item() for k in range(1, 11)]
    assert constants == sorted(constants)
    x = normal(6, 5000, 10) * (uniform(7, 5000, 10).argsort(-1) < 3)
    energy = ((x @ A.mT) ** 2).sum(-1) / (x**2).sum(-1)
    assert (energy - 1).abs().max() <= constants[2] * (1 + 1e-9)
    assert (energy - 1).abs().max() >= 0.8 * constants[2]


def test_coherence_of_operators_and_arrays():
    A = pursuit.SubsampledFourier([0, 1, 5, 6], 12)
    assert isinstance(theory.coherence(A), Tensor)
    dense = A.to_dense().numpy()
    assert isinstance(theory.coherence(dense), np.ndarray)
    assert theory.coherence(dense) == pytest.approx(float(theory.coherence(A)))
    assert theory.coherence(np.zeros((3, 4))) == 0
    assert theory.coherence(np.ones((3, 1))) == 0


# What cannot be answered

EYE, ONES = torch.eye(3), torch.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: theory.softsort_lipschitz(5, 0.0), ValueError, "tau is 0.0; needed is a finite number > 0"),
        (lambda: theory.softsort_lipschitz(5, 1.0, 6), ValueError, "k is 6; needed is a whole number 1 <= k <= n = 5"),
        (lambda: theory.softsort_lipschitz(5.5, 1.0), TypeError, "n is 5.5"),
        (lambda: theory.softsort_lipschitz(5, 1.0, norm="l1"), ValueError, "norm is 'l1'"),
        (lambda: theory.min_gap(ONES, 4), ValueError, "k is 4"),
        (lambda: theory.min_gap(ONES, 1.0), TypeError, "k is 1.0"),
        (lambda: theory.min_gap(torch.ones(3, dtype=COMPLEX), 1), TypeError, "magnitudes"),
        (lambda: theory.min_gap(torch.tensor(1.0), 1), ValueError, "v has shape ()"),
        (lambda: theory.min_gap(torch.tensor([1.0, math.nan]), 1), ValueError, "v has 1 entries that are NaN"),
        (lambda: theory.gap_bound(ONES, -1.0, 1), ValueError, "tau is -1.0"),
        (lambda: theory.gap_bound(ONES, torch.ones(2), 1), ValueError, "tau has shape (2,)"),
        (lambda: theory.tau_for(ONES, 1, 0), ValueError, "error is 0.0"),
        (lambda: theory.soft_iht_bound(EYE, ONES, 1, tau=0, steps=3), ValueError, "tau is 0.0"),
        (lambda: theory.soft_iht_bound(EYE, ONES, 1, tau=1, steps=0), ValueError, "steps is 0"),
        (lambda: theory.soft_iht_bound(EYE, ONES, 1, tau=1, steps=1, accuracy=0), ValueError, "accuracy is 0.0"),
        (lambda: theory.soft_omp_bound(EYE, ONES, 4, tau=1), ValueError, "k is 4"),
        (lambda: theory.soft_omp_bound(EYE, ONES, 1, tau=math.inf), ValueError, "tau is inf"),
        (lambda: theory.soft_omp_bound(EYE, ONES, 1, tau=1, weights=1j * ONES), TypeError, "weights are complex"),
        (lambda: theory.coherence(torch.tensor([[math.inf]])), ValueError, "A has 1 entries"),
        (lambda: theory.coherence("A"), TypeError, "A is a str"),
        (lambda: theory.rip_constant(EYE, 4), ValueError, "k is 4"),
        (lambda: theory.rip_constant(torch.ones(5, 200), 4), ValueError, "6.47e+07 subsets"),
    ],
)
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
