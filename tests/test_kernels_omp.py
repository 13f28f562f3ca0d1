"""The compiled OMP and OLS beside the solvers' own steps: the same supports, steps, status and least squares."""

import os
import time
from dataclasses import replace
from functools import partial
from importlib import import_module

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import pursuit
from helpers import DTYPES, REAL, generator, instance, normal, unit, unnormalised
from pursuit import Status
from pursuit.core import loop
from pursuit.kernels import flat
from pursuit.kernels.cpu import pursuit_run, threads
from pursuit.solvers import ols, omp
from pursuit.solvers.given import ALL
from pursuit.solvers.problem import problem

SOLVERS = {"omp": omp, "ols": ols}
ROUTES = ["gram", "columns"]
NEAR = {torch.float32: 1e-4, torch.complex64: 1e-4, torch.float64: 1e-12, torch.complex128: 1e-12}


@pytest.fixture(params=ROUTES)
def route(request, monkeypatch):
    """Both ways of the kernel, whatever would be the quicker one."""
    monkeypatch.setattr(pursuit_run, "_gram_pays", lambda *_: request.param == "gram")
    monkeypatch.setattr(pursuit_run, "TRIED", 0)
    return request.param


def kernel(name, p, *, full=Status.SPARSITY):
    """What the kernel makes of a problem."""
    return import_module(f"pursuit.kernels.cpu.{name}").run(replace(p, full=full).data(), None)


def by_steps(name, p, *, full=Status.SPARSITY):
    solver, choice = SOLVERS[name], p.choice
    step, stop = partial(solver.step, p.A, choice=choice), partial(omp.stop, k=p.k, full=full)
    start = solver.init(p.y, p.A.shape[1], choice)
    return loop.run(step, stop, start, target=p.target, max_steps=p.max_steps)


def agree(name, p, **options):
    """Everything as step by step."""
    found, (state, steps, status) = kernel(name, p, **options), by_steps(name, p, **options)
    near = NEAR[p.y.dtype] * max(1.0, float(torch.linalg.vector_norm(p.y, dim=-1).max()))
    assert torch.equal(found.support, flat(state.atoms.indices))
    assert torch.equal(found.steps, flat(steps, 0))
    assert torch.equal(found.status, flat(status, 0))
    assert_close(found.z, flat(state.atoms.take(omp.estimate(state))), rtol=0, atol=near)
    assert_close(found.norm, flat(torch.linalg.vector_norm(state.r, dim=-1), 0), rtol=0, atol=near)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.usefixtures("route")
def test_what_the_steps_do(name, dtype):
    p = instance(unnormalised(dtype, m=30, n=150), 6, batch=(2, 20), noise=0.3)  # n is no multiple of a tile
    agree(name, problem(p.A, p.y, 9))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.usefixtures("route")
def test_whole_tiles_and_many_steps(name, dtype):
    p = instance(unnormalised(dtype, m=70, n=128), 20, batch=(15,), noise=1.0)
    agree(name, problem(p.A, p.y, 40))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.usefixtures("route")
def test_options_of_every_signal(name, dtype):
    p = instance(unnormalised(dtype, m=30, n=70), 6, batch=(60,), noise=0.3)
    draw = partial(torch.rand, generator=generator(1), dtype=p.y.real.dtype)
    k, budget = 1 + (12 * draw(60)).long(), (12 * draw(60)).long()
    weights = draw(60, 70) * (draw(60, 70) > 0.2)
    found = agree(name, problem(p.A, p.y, k, tol=draw(60), max_steps=budget, weights=weights))
    assert {1, 2, 8} <= set(found.status.tolist())
    chosen = found.support.clamp(min=0)
    assert ((weights.gather(-1, chosen) > 0) | (found.support < 0)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
def test_a_matrix_for_every_signal(name, dtype):
    A = torch.stack([unnormalised(dtype, m=20, n=40, seed=seed) for seed in range(5)])
    agree(name, problem(A, normal(3, 5, 20, dtype=dtype), 7))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.usefixtures("route")
def test_exact_fits_end_with_the_tolerance(name, dtype):
    p = instance(unnormalised(dtype, m=40, n=70), 3, batch=(30,))
    found = agree(name, problem(p.A, p.y, ALL, tol=1e-3), full=Status.MAX_STEPS)
    assert (found.status == Status.TOLERANCE).all()
    found = agree(name, problem(p.A, p.y, 10))
    assert (found.status == Status.TOLERANCE).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gram_matrix_by_half_the_work(dtype):
    for m, n in ((3, 5), (40, 64), (600, 150)):
        op = pursuit.as_operator(normal(0, m, n, dtype=dtype))
        pursuit.omp(op, normal(1, n, m, dtype=dtype), 2)
        G = op.normalised().kept(pursuit_run.GRAM, lambda: pytest.fail("no Gram matrix was made"))
        A = op.normalised().to_dense()
        assert_close(G, (A.mT @ A.conj()).resolve_conj(), rtol=0, atol=NEAR[dtype])


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize(
    ("atoms", "options", "formed"),
    [
        (1, {"tol": 0.5}, 0),  # 64 signals of one atom each, against 200 columns
        (1, {"eps": 0.5}, 0),
        (20, {"tol": 1e-3}, 1),
        (1, {"k": 20}, 1),  # for what was given is counted
        (1, {"k": 2}, 0),
    ],
)
def test_the_gram_matrix_is_formed_only_for_as_many_atoms_as_are_taken(name, atoms, options, formed, monkeypatch):
    made, form = [], pursuit_run._gram
    monkeypatch.setattr(pursuit_run, "_gram", lambda *given: made.append(1) or form(*given))
    A, x = normal(0, 100, 200), torch.zeros(64, 200, dtype=torch.float64)
    for row, at in enumerate(torch.randint(200, (64, atoms), generator=generator(1))):
        x[row, at] = 1.0
    y = x @ A.mT + 1e-3 * normal(2, 64, 100)
    solution = pursuit.solve(A, y, name, **options)
    assert solution.compiled.all()
    assert len(made) == formed
    assert (solution.residual_norm <= options.get("eps", 0.5 * y.norm(dim=-1))).all()


@pytest.mark.parametrize("name", SOLVERS)
def test_the_matrix_of_an_operator_is_formed_only_where_it_pays(name, monkeypatch):
    """A long FFT is quicker than its matrix, which need not fit into memory."""
    short, long = (pursuit.SubsampledFourier(range(m), n) for m, n in ((24, 64), (64, 2**20)))
    y = normal(0, 3, 24, dtype=torch.complex128)
    assert pursuit.solve(short, y, name, k=2).compiled.all()
    monkeypatch.setattr(pursuit.SubsampledFourier, "to_dense", lambda self: pytest.fail("the matrix was formed"))
    assert not pursuit.solve(long, normal(0, 64, dtype=torch.complex128), name, k=2).compiled


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.usefixtures("route")
def test_parts_of_a_batch_on_threads(name, dtype, monkeypatch):
    p = problem(unnormalised(dtype, m=30, n=70), normal(1, 150, 30, dtype=dtype), 8)
    want = kernel(name, p)
    monkeypatch.setattr(threads, "LITTLE", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    found = kernel(name, p)
    assert torch.equal(found.support, want.support)
    assert_close(found.z, want.z)
    assert_close(found.norm, want.norm)


def test_an_error_in_a_thread_ends_the_others(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    done = []

    def work(first, last):
        done.append(first)
        if first == 1:
            raise KeyboardInterrupt
        time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        threads.share(work, 1000, threads.PART)
    assert len(done) < 20


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("items", [0, 1, 7, 1000])
def test_every_part_is_worked_on_once(monkeypatch, number, items):
    monkeypatch.setattr(torch, "get_num_threads", lambda: number)
    times = np.zeros(items, int)

    def work(first, last):
        times[first:last] += 1
        time.sleep(1e-5)  # so that others take the next

    threads.share(work, items, threads.PART // 3)
    assert (times == 1).all()


@pytest.mark.skipif(threads._processor is None, reason="only Linux says on which processor a thread runs")
@pytest.mark.parametrize("allowed", [{0}, {0, 1}, {0, 1, 2, 3}])
def test_threads_leave_the_processor_to_the_caller(monkeypatch, allowed):
    asked = {}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(threads, "_processor", lambda: 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: allowed)
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, processors: asked.update({thread: processors}))
    for _ in range(2):  # in the first call they may have no number yet
        threads.share(lambda first, last: time.sleep(1e-3), 10, threads.PART)
    assert set(asked) == set(threads._pool(2)[1])
    assert all(processors == (allowed - {0} or {0}) for processors in asked.values())


@pytest.mark.parametrize("coherence", [0.9, 0.999])
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.usefixtures("route")
def test_coherent_columns(name, coherence):
    common = normal(5, 40, 1)
    A = unit(coherence * unit(common) + (1 - coherence**2) ** 0.5 * unit(normal(6, 40, 60)))
    p = problem(A, normal(7, 30, 40), 12)
    found, (state, *_) = kernel(name, p), by_steps(name, p)
    assert torch.equal(found.support, state.atoms.indices)
    z = state.atoms.take(omp.estimate(state))
    assert ((found.z - z).norm(dim=-1) <= 1e-10 * z.norm(dim=-1)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.usefixtures("route")
def test_the_size_of_the_numbers_does_not_matter(name, dtype):
    p = instance(unnormalised(dtype, m=30, n=70), 6, batch=(6,), noise=0.3)
    tiny, huge = torch.finfo(dtype).tiny ** 0.4, torch.finfo(dtype).max ** 0.4
    want = kernel(name, problem(p.A, p.y, 8))
    for size in (tiny, huge):
        scaled = problem(p.A * huge, p.y * size, 8, weights=p.y.real.new_full((70,), huge))
        found = kernel(name, scaled)
        unit = 1 if scaled.exponent is None else torch.exp2(scaled.exponent.to(p.y.real.dtype))  # of its y
        assert torch.equal(found.support, want.support)
        assert_close(found.z * unit / size, want.z)
        assert_close(found.norm * (unit if scaled.exponent is None else unit.squeeze(-1)) / size, want.norm)


# ---- corners -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.usefixtures("route")
def test_zero_columns_zero_signals_and_nothing_left(name, dtype):
    A = unnormalised(dtype, m=5, n=12)
    A[:, [0, 7]] = 0
    y = normal(1, 4, 5, dtype=dtype)
    y[1] = 0
    y[2] = A[:, 3]
    found = agree(name, problem(A, y, 4))
    assert found.status.tolist() == [2, 1, 1, 2]
    alone = agree(name, problem(A, y[:1], 3, weights=torch.zeros(12, dtype=y.real.dtype)))
    assert alone.status.tolist() == [Status.EXHAUSTED]
    assert alone.steps.tolist() == [1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.usefixtures("route")
def test_dependent_columns_add_nothing(name, dtype):
    A = normal(0, 8, 3, dtype=dtype)
    A = torch.cat([A, A.flip(-1) * 2, A[:, :1] - A[:, 1:2], A.sum(-1, keepdim=True)], dim=-1)
    found = kernel(name, problem(A, normal(1, 20, 8, dtype=dtype), 6))
    assert (found.status == Status.EXHAUSTED).all()
    assert (found.steps == 4).all()
    assert ((found.support >= 0).sum(-1) == 3).all()


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.usefixtures("route")
def test_ties_go_to_the_lowest_index(name):
    A = torch.eye(70, dtype=REAL)
    A[:, 40:] = A[:, :30]  # two of a kind
    y = torch.ones(3, 70, dtype=REAL)
    y[1, 5] = -1
    y[2, 40] = 2  # outside the span
    found = kernel(name, problem(A, y, 6))
    assert (found.support == torch.arange(6)).all()


def grid(seed, *shape):
    """Small whole numbers: ties, equal and dependent columns in plenty."""
    return torch.randint(-2, 3, shape, generator=generator(seed)).to(REAL)


@pytest.mark.parametrize("size", [(3, 7), (5, 4), (4, 9)])
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.usefixtures("route")
def test_thousands_of_small_problems(name, size):
    m, n = size
    k = min(m, n)
    for seed in range(12):
        A, y = grid(seed, m, n), grid(100 + seed, 300, m)
        p = problem(A, y, k)
        found, (state, steps, status) = kernel(name, p), by_steps(name, p)
        same = (found.support == state.atoms.indices).all(-1)
        assert torch.equal(found.steps[same], steps[same])
        assert torch.equal(found.status[same], status[same])
        assert_close(found.norm[same], torch.linalg.vector_norm(state.r[same], dim=-1), rtol=0, atol=1e-12)
        assert is_a_run(name, unit(A).nan_to_num(), y, found.support)
        assert same.double().mean() > 0.5


def is_a_run(name, A, y, support):
    """Whether every atom has, to rounding, the largest score on the residual of those before it."""
    good = True
    for t in range(support.shape[1]):
        going = support[:, t] >= 0
        S, b = support[going, :t], y[going]
        B = A.T[S].mT
        r = b - (B @ (torch.linalg.pinv(B) @ b.unsqueeze(-1))).squeeze(-1) if t else b
        score = (r @ A).abs()
        if name == "ols" and t:
            rest = 1 - (A * (B @ torch.linalg.pinv(B) @ A)).sum(-2)
            score = torch.where(rest > 1e-9, score / rest.clamp(min=1e-9).sqrt(), 0)
        chosen = score.gather(-1, support[going, t : t + 1]).squeeze(-1)
        good &= bool((chosen >= score.amax(-1) - 1e-9).all())
    return good
