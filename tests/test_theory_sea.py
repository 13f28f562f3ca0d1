"""SEA finds the support where theory says so, and restricted isometry constants lie between their bounds."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import pursuit
from helpers import COMPLEX, REAL, generator, normal, sparse, unit
from pursuit import theory
from pursuit.core.selection import AtomSelector, Hard
from pursuit.solvers import sea
from pursuit.theory import matrices


def uniform(seed: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=generator(seed), dtype=REAL)


def nearly_orthogonal(seed: int, count: int, m: int, n: int, *, far: float = 0.1, dtype: torch.dtype = REAL) -> Tensor:
    """Matrices with unit columns, each at its own small distance from an isometry."""
    isometry = torch.linalg.qr(normal(seed, count, m, n, dtype=dtype))[0]
    apart = uniform(seed + 1, count, 1, 1, high=far) * unit(normal(seed + 2, count, m, n, dtype=dtype))
    return unit(isometry + apart)


def scaled(seed: int, vectors: Tensor, norm: Tensor) -> Tensor:
    """Vectors with norms uniform up to these."""
    shrink = uniform(seed, *vectors.shape[:-1]) * norm / torch.linalg.vector_norm(vectors, dim=-1)
    return shrink.unsqueeze(-1) * vectors


def supports(A: Tensor, y: Tensor, k: int, eta: Tensor, x0: Tensor, count: int) -> list[Tensor]:
    """S^0, ..., S^(count - 1) of the solver's own step, as masks."""
    op = pursuit.as_operator(A)
    choice = AtomSelector(Hard(), k, y.real.new_ones(A.shape[-1]))
    state, seen = sea.init(y, x0, k), []
    for _ in range(count):
        seen.append(choice.best(state.X).mask())
        state = sea.step(op, y, state, eta=eta.unsqueeze(-1), choice=choice)
    return seen


def first_hit(seen: list[Tensor], wanted: Tensor) -> Tensor:
    """The first of the supports that contains the wanted one; infinite where none does."""
    hits = torch.stack([(S | ~wanted).all(-1) for S in seen])
    return torch.where(hits.any(0), hits.int().argmax(0).double(), math.inf)


# The theorem


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize(("k", "nonzeros"), [(1, 1), (2, 2), (2, 1)])
def test_sea_finds_the_support_within_the_bound(dtype, k, nonzeros):
    count, (m, n) = 100, (14, 10)
    A = nearly_orthogonal(k, count, m, n, far=0.3 / k, dtype=dtype)
    x = sparse(k + 1, n, nonzeros, batch=(count,), dtype=dtype)
    e = scaled(3, normal(2, count, m, dtype=dtype), torch.full((count,), 0.6 / k, dtype=REAL))
    x0 = scaled(4, normal(5, count, n, dtype=dtype), torch.full((count,), 20.0, dtype=REAL))
    eta = uniform(6, count, low=0.2, high=2.0)
    bound = theory.sea_bound(A, x, e, k, eta, x0)
    assert bound.exact
    holds = bound.slack > 0
    assert 20 < holds.sum() < count
    assert torch.equal(holds, bound.t_rip.isfinite())
    assert (bound.recovers <= holds).all()

    A, x, e, x0, eta, t_rip = (value[holds] for value in (A, x, e, x0, eta, bound.t_rip))
    y = (A @ x.unsqueeze(-1)).squeeze(-1) + e
    most = t_rip.clamp(max=200).floor().long() + 1  # where the slack is next to nothing they are too many to look at
    hit = first_hit(supports(A, y, k, eta, x0, int(most.max())), x != 0)
    known = t_rip <= 200
    assert known.sum() > 15
    assert (hit <= t_rip)[known].all()
    assert (hit > 0).any()  # the start is not the answer
    assert (hit / t_rip)[known].max() > 0.25

    recovers = bound.recovers[holds] & known
    assert recovers.sum() > 10
    found = pursuit.sea(A[recovers], y[recovers], k, eta=eta[recovers], x0=x0[recovers], max_steps=most[recovers]).x
    assert ((found != 0) | (x[recovers] == 0)).all()
    distance = torch.linalg.vector_norm(found - x[recovers], dim=-1)
    assert (distance <= bound.error[holds][recovers] * (1 + 1e-9)).all()


def adversary(seed: int, k: int, n: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Signals, starts, step sizes and errors per entry just below where the condition fails."""
    least = uniform(seed, count, low=0.5, high=1.5)
    error = 0.9 * least / (2 * k) * uniform(seed + 1, count).sqrt()
    on = uniform(seed + 2, count, n).argsort(-1) < k
    x = torch.where(on, least.unsqueeze(-1), 0)
    size = 10 ** uniform(seed + 3, count, low=-1, high=1.5) * (uniform(seed + 4, count) < 0.8)
    x0 = torch.where(on, -size.unsqueeze(-1), size.unsqueeze(-1))  # those missed have to come back through zero
    return x, x0, uniform(seed + 5, count, low=0.2, high=1.2), error, on


@pytest.mark.parametrize(("k", "n", "ratio"), [(1, 2, 0.85), (1, 8, 0.98), (2, 3, 0.85), (3, 4, 0.8)])
def test_no_errors_of_the_gradient_keep_the_support_longer_than_the_bound(k, n, ratio):
    """With A = I the bound is that of errors as large as the noise's norm, here one on every entry, at its worst."""
    x, x0, eta, error, on = adversary(k * n, k, n, 1000)
    noise = error.unsqueeze(-1) * torch.eye(n, dtype=REAL)[0]
    bound = theory.sea_bound(torch.eye(n, dtype=REAL), x, noise, k, eta, x0)
    assert (bound.slack > 0).all()
    X, hit = x0, torch.full_like(error, math.inf)
    for t in range(int(bound.t_rip.max()) + 1):
        order = X.abs().sort(descending=True, stable=True).indices
        S = torch.zeros_like(on).scatter(-1, order[..., :k], True)
        hit = torch.where((S | ~on).all(-1), hit.clamp(max=t), hit)
        if hit.isfinite().all():
            break
        wrong = torch.where(on, -1.0, X.sign() + (X == 0)) * error.unsqueeze(-1)
        X = X + eta.unsqueeze(-1) * torch.where(S, 0, x + wrong)
    assert (hit <= bound.t_rip).all()
    assert (hit / bound.t_rip).max() > ratio
    assert (bound.t_rip - hit).min() < 2  # so that a bound smaller by two steps is wrong


def test_values_by_hand():
    """Two columns at 60 degrees and one across: all constants with two of them are 1/2."""
    A = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.75**0.5, 0.0], [0.0, 0.0, 1.0]], dtype=REAL)
    x, e, x0 = (torch.tensor(v, dtype=REAL) for v in ([0.0, 0.0, 4.0], [0.0, 0.0, 0.1], [3.0, 0.0, 0.0]))
    bound = theory.sea_bound(A, x, e, 1, 0.5, x0)
    assert [delta.upper.item() for delta in (bound.delta_k, bound.delta_2k, bound.delta_2k1)] == pytest.approx(
        [0, 0.5, 0.5], abs=1e-12
    )
    assert bound.alpha.item() == pytest.approx(0.75)
    assert bound.gamma.item() == pytest.approx(1.5)
    assert bound.slack.item() == pytest.approx(2 - 3 - 0.15)
    assert bound.t_rip == math.inf
    assert not bound.recovers
    bound = theory.sea_bound(torch.eye(3, dtype=REAL), x, e, 1, 0.5, x0)
    assert bound.slack.item() == pytest.approx(1.9)
    assert bound.t_rip.item() == pytest.approx((2 * 3 / 0.5 + 2 * 4) / (4 - 2 * 0.1))
    assert bound.recovers
    assert bound.error.item() == pytest.approx(0.2)


def test_bounds_on_the_constants_keep_the_guarantee_on_the_safe_side(monkeypatch):
    A = nearly_orthogonal(0, 30, 14, 10)
    x = sparse(1, 10, 2, batch=(30,))
    e = scaled(3, normal(2, 30, 14), torch.full((30,), 0.1, dtype=REAL))
    exact = theory.sea_bound(A, x, e, 2)
    monkeypatch.setattr(matrices, "SUBSETS", 50)  # pairs are still gone through
    bounds = theory.sea_bound(A, x, e, 2)
    assert exact.exact
    assert not bounds.exact
    assert (bounds.delta_k.exact, bounds.delta_2k.exact, bounds.delta_2k1.exact) == (True, False, False)
    for name in ("alpha", "gamma"):
        truth = getattr(exact, name) * (1 + 1e-12)
        assert torch.equal(getattr(exact, name), getattr(exact, f"{name}_at_best"))
        assert (getattr(bounds, f"{name}_at_best") <= truth).all()
        assert (getattr(bounds, name) * (1 + 1e-12) >= getattr(exact, name)).all()
    assert (bounds.slack <= exact.slack + 1e-12).all()
    assert (bounds.slack_at_best >= exact.slack - 1e-12).all()
    assert (bounds.t_rip >= exact.t_rip * (1 - 1e-12)).all()
    assert (bounds.t_rip < math.inf).any()


def test_coherent_and_dependent_columns_have_no_guarantee_and_no_nan():
    A = unit(normal(0, 6, 4))
    for matrix in (torch.cat([A, A], dim=-1), unit(normal(1, 6, 300))):
        x = torch.zeros(matrix.shape[-1], dtype=REAL)
        x[:2] = 1
        bound = theory.sea_bound(matrix, x, None, 2)
        assert not any(value.isnan().any() for value in bound[:9])
        assert bound.slack < 0
        assert bound.slack_at_best < 0
        assert bound.t_rip == bound.error == math.inf
        assert not bound.recovers


def test_the_step_size_does_not_matter_from_zero_but_does_for_a_start():
    A, x = nearly_orthogonal(7, 1, 14, 10)[0], sparse(8, 10, 1)
    x0 = torch.ones(10, dtype=REAL)
    bounds = [theory.sea_bound(A, x, None, 1, eta).t_rip for eta in (None, 0.1, 10.0)]
    assert bounds[0] == bounds[1] == bounds[2] < math.inf
    small, large = (theory.sea_bound(A, x, None, 1, eta, x0).t_rip for eta in (0.1, 10.0))
    assert small > large > bounds[0]


def test_numpy_in_numpy_out_and_operators():
    A, x = nearly_orthogonal(9, 1, 14, 10)[0], sparse(10, 10, 1)
    tensors, arrays = (theory.sea_bound(*data, None, 1) for data in ((A, x), (A.numpy(), x.numpy())))
    for mine, theirs in zip(arrays[:9], tensors[:9], strict=True):
        assert isinstance(mine, np.ndarray)
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)
    op = pursuit.Convolution(torch.tensor([0.0, 1.0, 0.0], dtype=REAL), 10)
    assert theory.sea_bound(op, x, None, 1).t_rip.item() == pytest.approx(2)


# Restricted isometry constants


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize(("m", "n", "spread"), [(16, 18, 0.0), (8, 16, 0.0), (14, 12, 0.0), (10, 14, 0.3)])
def test_constants_lie_between_their_bounds(dtype, m, n, spread, monkeypatch):
    A = unit(normal(m, 3, m, n, dtype=dtype)) * (1 + spread * uniform(n, n, low=-1))
    for size in (2, 4):
        exact = theory.restricted_isometry(A, size)
        assert exact.exact
        assert exact.lower is exact.upper or torch.equal(exact.lower, exact.upper)
        torch.testing.assert_close(exact.lower, theory.rip_constant(A, size).to(exact.lower))
        for few in (1, 91 if n > 14 else 60):
            monkeypatch.setattr(matrices, "SUBSETS", few)
            bounds = theory.restricted_isometry(A, size)
            assert not bounds.exact
            assert (bounds.lower <= exact.lower + 1e-12).all()
            assert (bounds.upper >= exact.upper - 1e-12).all()
            assert (bounds.lower >= 0.95 * exact.lower).all()
            if spread == 0:
                assert (bounds.upper <= (size - 1) * theory.coherence(A) + 1e-12).all()
        monkeypatch.undo()


def test_more_supports_gone_through_give_a_lower_upper_bound(monkeypatch):
    A = unit(normal(3, 60, 50))
    uppers = []
    for few in (1, 300_000):
        monkeypatch.setattr(matrices, "SUBSETS", few)
        uppers.append(theory.restricted_isometry(A, 5).upper.item())
    assert uppers[0] > uppers[1]


def test_large_sizes_have_bounds():
    A = unit(normal(4, 100, 200))
    bounds = theory.restricted_isometry(A, 9)
    assert not bounds.exact
    assert 0 < bounds.lower <= bounds.upper <= 8 * theory.coherence(A)
    everything = theory.restricted_isometry(A, 200)
    assert everything.exact
    isometry = theory.restricted_isometry(torch.linalg.qr(A)[0].mT @ torch.eye(100, dtype=REAL), 9)
    assert isometry.upper < 1e-12
    assert isinstance(theory.restricted_isometry(A.numpy(), 3).lower, np.ndarray)


# What cannot be answered

EYE, ONE = torch.eye(3), torch.tensor([0.0, 2.0, 0.0])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: theory.restricted_isometry(EYE, 4), ValueError, "k is 4; needed is a whole number 1 <= k <= n = 3"),
        (lambda: theory.restricted_isometry(EYE, 1.5), TypeError, "1.5"),
        (lambda: theory.sea_bound(2 * EYE, ONE, None, 1), ValueError, "columns of norm between 2.0 and 2.0"),
        (lambda: theory.sea_bound(EYE, ONE, None, 4), ValueError, "k is 4"),
        (lambda: theory.sea_bound(EYE, torch.ones(3), None, 2), ValueError, "k is 2 but x has signals with 3"),
        (lambda: theory.sea_bound(EYE, 0 * ONE, None, 1), ValueError, "zero"),
        (lambda: theory.sea_bound(EYE, ONE[:2], None, 1), ValueError, "x has shape (2,)"),
        (lambda: theory.sea_bound(EYE, ONE.double(), None, 1), TypeError, "one precision"),
        (lambda: theory.sea_bound(EYE, ONE, ONE[:2], 1), ValueError, "e has shape (2,); needed is (*batch, 3)"),
        (lambda: theory.sea_bound(EYE, ONE, None, 1, x0=ONE[:2]), ValueError, "x0 has shape (2,)"),
        (lambda: theory.sea_bound(EYE, ONE, ONE * math.nan, 1), ValueError, "e has 3 entries"),
        (lambda: theory.sea_bound(EYE, ONE, None, 1, eta=0.0), ValueError, "eta is 0.0"),
        (lambda: theory.sea_bound(EYE, ONE.expand(2, 3), ONE.expand(4, 3), 1), ValueError, "(2,), (4,)"),
    ],
)
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
