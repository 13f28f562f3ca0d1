"""OMP and OLS as Triton kernels beside the solvers' own steps: the same supports, steps, status and least squares.

They run on the GPU. Without one they run in Triton's interpreter if the environment has TRITON_INTERPRET=1, at small
sizes and slowly; and where Triton is installed they are compiled for a GPU, which needs none.
"""

import os
import subprocess
import sys
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import pursuit
from helpers import DTYPES, REAL, generator, instance, normal, unit, unnormalised
from pursuit import Status, kernels
from pursuit.kernels import flat
from pursuit.solvers import ols, omp
from pursuit.solvers.given import ALL
from pursuit.solvers.problem import problem

SOLVERS = {"omp": omp, "ols": ols}
NEAR = {torch.float32: 1e-4, torch.complex64: 1e-4, torch.float64: 1e-12, torch.complex128: 1e-12}
GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
TRITON = find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not TRITON, reason="Triton is not installed")
needs_gpu = pytest.mark.skipif(not GPU, reason="there is no GPU")


def reason_to_skip():
    if not TRITON:
        return "Triton is not installed"
    if not GPU and not INTERPRETED:
        return "there is no GPU, and TRITON_INTERPRET=1 is not set"
    if INTERPRETED and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        return "Triton's interpreter turns arrays of one number into numbers, which NumPy 2.4 forbids"
    return ""


pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")  # of the interpreter
runs = pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip())


def kernel(name, p):
    """What the kernel makes of a problem."""
    return import_module(f"pursuit.kernels.cuda.{name}").run(p.data(), None)


def made(A, y, k, **options):
    """A problem on the device."""
    options = {key: v.to(DEVICE) if isinstance(v, torch.Tensor) else v for key, v in options.items()}
    k = k.to(DEVICE) if isinstance(k, torch.Tensor) else k
    return problem(A.to(DEVICE), y.to(DEVICE), k, **options)


def agree(name, p, declined=0):
    """Everything as step by step, of all signals but so many, at most, that are declined."""
    found, want = kernel(name, p), SOLVERS[name].run(p)
    done = found.status != Status.RUNNING
    assert (~done).sum() <= declined
    near = NEAR[p.y.dtype] * max(1.0, float(torch.linalg.vector_norm(p.y, dim=-1).max()))
    x = want.x.new_zeros(len(done), p.A.shape[1] + 1)
    x = x.scatter(-1, found.support.where(found.support >= 0, p.A.shape[1]), found.z)[:, :-1]
    assert torch.equal(found.support[done], flat(want.support)[done])
    assert torch.equal(found.steps[done], flat(want.steps, 0)[done])
    assert torch.equal(found.status[done], flat(want.status, 0)[done])
    assert_close(x[done], flat(want.x)[done], rtol=0, atol=near)
    assert_close(found.norm[done], flat(want.residual_norm, 0)[done], rtol=0, atol=near)
    return found


@runs
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
def test_what_the_steps_do(name, dtype):
    p = instance(unnormalised(dtype, m=30, n=75), 6, batch=(2, 4), noise=0.3)  # n is no power of two
    found = agree(name, made(p.A, p.y, 7))
    assert found.support.dtype == found.steps.dtype == found.status.dtype == torch.int64
    assert (found.z.dtype, found.norm.dtype) == (dtype, dtype.to_real())


@runs
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
def test_many_steps_and_tiles_of_measurements(name, dtype, monkeypatch):
    run = import_module("pursuit.kernels.cuda.pursuit_run")
    monkeypatch.setattr(run, "PLAN", run.Plan(tile=16))
    p = instance(unnormalised(dtype, m=70, n=64), 12, batch=(2,), noise=1.0)
    agree(name, made(p.A, p.y, 19))


@runs
def test_a_batch_in_parts(monkeypatch):
    run = import_module("pursuit.kernels.cuda.pursuit_run")
    monkeypatch.setattr(run, "MEMORY", 3 * 8 * (64 + 16))  # three signals, one program
    p = instance(unnormalised(m=20, n=60), 3, batch=(8,), noise=0.3)
    weights = torch.rand(8, 60, generator=generator(2), dtype=REAL)
    agree("omp", made(p.A, p.y, 4, weights=weights))


@runs
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
def test_options_of_every_signal(name, dtype):
    p = instance(unnormalised(dtype, m=30, n=70), 6, batch=(24,), noise=0.3)
    draw = partial(torch.rand, generator=generator(1), dtype=p.y.real.dtype)
    k, budget = 1 + (8 * draw(24)).long(), (8 * draw(24)).long()
    weights = draw(24, 70) * (draw(24, 70) > 0.2)
    found = agree(name, made(p.A, p.y, k, tol=draw(24), max_steps=budget, weights=weights))
    assert {1, 2, 8} <= set(found.status.tolist())
    chosen = found.support.clamp(min=0)
    assert ((weights.to(DEVICE).gather(-1, chosen) > 0) | (found.support < 0)).all()


@runs
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
def test_exact_fits_end_with_the_tolerance(name, dtype):
    p = instance(unnormalised(dtype, m=40, n=70), 3, batch=(6,))
    for given in ({"k": 10}, {"k": 3}, {"k": ALL, "tol": 1e-3, "full": Status.MAX_STEPS}):
        found = agree(name, made(p.A, p.y, **given))
        assert (found.status == Status.TOLERANCE).all()


@runs
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_target_in_the_rounding_of_energies(dtype):
    """The norm of the residual tells whether it is reached; where not even that does, the steps tell."""
    p = instance(unnormalised(dtype, m=30, n=64), 4, batch=(4,))
    e, noise = normal(5, 4, 30, dtype=dtype), 60 * torch.finfo(dtype).eps
    y = p.y + noise * e * (p.y.norm(dim=-1) / e.norm(dim=-1)).unsqueeze(-1)
    for tol, status in ((3 * noise, Status.TOLERANCE), (noise / 3, Status.SPARSITY)):
        found = agree("omp", made(p.A, y, 4, tol=tol))
        assert (found.status == status).all()
    left = omp.run(made(p.A, y, 4)).residual_norm / y.to(DEVICE).norm(dim=-1)
    assert (kernel("omp", made(p.A, y, 4, tol=left)).status == Status.RUNNING).all()


@runs
@pytest.mark.parametrize("name", SOLVERS)
def test_the_size_of_the_numbers_does_not_matter(name):
    p = instance(unnormalised(torch.float32, m=30, n=70), 6, batch=(3,), noise=0.3)
    tiny, huge = torch.finfo(torch.float32).tiny ** 0.4, torch.finfo(torch.float32).max ** 0.4
    want = kernel(name, made(p.A, p.y, 6))
    for size in (tiny, huge):
        found = kernel(name, made(p.A * huge, p.y * size, 6, weights=p.y.new_full((70,), huge)))
        assert torch.equal(found.support, want.support)
        assert_close(found.z / size, want.z)
        assert_close(found.norm / size, want.norm)


@runs
@pytest.mark.parametrize("name", SOLVERS)
def test_one_atom_one_measurement_and_one_column(name):
    for m, n, k in ((8, 20, 1), (1, 5, 1), (6, 1, 1)):
        y = normal(2, 3, m)
        agree(name, made(unit(normal(1, m, n)) if m > 1 else torch.tensor([[1.0, -2, 0, 3, 1]], dtype=REAL), y, k), 3)
    assert (agree(name, made(unit(normal(1, 8, 20)), normal(2, 3, 8), 1)).status == Status.SPARSITY).all()


@runs
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
def test_zero_columns_zero_signals_and_nothing_left(name, dtype):
    A = unnormalised(dtype, m=5, n=12)
    A[:, [0, 7]] = 0
    y = normal(1, 4, 5, dtype=dtype)
    y[1] = 0
    y[2] = A[:, 3]
    found = agree(name, made(A, y, 3))
    assert found.status.tolist() == [2, 1, 1, 2]
    none = kernel(name, made(A, y[:1], 3, weights=torch.zeros(12, dtype=dtype.to_real())))
    assert none.status.tolist() == [Status.RUNNING]  # the steps say what to make of it
    assert none.support.tolist() == [[-1] * 3]


@runs
@pytest.mark.parametrize("name", SOLVERS)
def test_what_rounding_decides_is_declined(name):
    A = normal(0, 8, 3)
    A = torch.cat([A, A.flip(-1) * 2, A[:, :1] - A[:, 1:2], A.sum(-1, keepdim=True)], dim=-1)
    found = kernel(name, made(A, normal(1, 5, 8), 6))
    assert (found.status == Status.RUNNING).all()
    assert (found.support == -1).all()
    assert (found.steps == 0).all()


@runs
@pytest.mark.parametrize("name", SOLVERS)
def test_ties_go_to_the_lowest_index(name):
    A = torch.eye(70, dtype=REAL)
    A[:, 40:] = A[:, :30]  # two of a kind
    y = torch.ones(3, 70, dtype=REAL)
    y[1, 5] = -1
    y[2, 40] = 2  # outside the span
    found = kernel(name, made(A, y, 6))
    assert (found.support.cpu() == torch.arange(6)).all()


@runs
@pytest.mark.parametrize("name", SOLVERS)
def test_small_whole_numbers(name):
    """Ties, equal and dependent columns in plenty: what is not declined is as good as what the steps find."""
    whole = partial(torch.randint, -2, 3, generator=generator(3))
    p = made(whole((5, 9)).to(REAL), whole((40, 5)).to(REAL), 3)
    found, want = kernel(name, p), SOLVERS[name].run(p)
    done = found.status != Status.RUNNING
    same = done & (found.support == want.support).all(-1)
    assert same.double().mean() > 0.5
    assert torch.equal(found.status[same], want.status[same])
    assert torch.equal(found.steps[same], want.steps[same])
    assert_close(found.norm[same], want.residual_norm[same], rtol=0, atol=1e-12)


@runs
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
def test_what_the_measurements_belie_is_declined(dtype):
    """A Gram matrix that is off by more than rounding shows in the residual."""
    p = instance(unnormalised(dtype, m=20, n=30), 3, batch=(3,), noise=0.3)
    d = made(p.A, p.y, 4).data()
    off = 1 + 1e-3 * torch.ones(30, device=DEVICE).diag()
    belied = d._replace(kept=lambda name, derive: derive() * off if name == "gram" else derive())
    found = import_module("pursuit.kernels.cuda.omp").run(belied, None)
    assert (found.status == Status.RUNNING).all()
    assert (found.support == -1).all()


@runs
def test_a_matrix_for_every_signal_is_declined():
    A = torch.stack([unnormalised(m=10, n=16, seed=seed) for seed in range(3)])
    found = kernel("omp", made(A, normal(3, 3, 10), 4))
    assert (found.status == Status.RUNNING).all()


@runs
@pytest.mark.parametrize("name", SOLVERS)
def test_the_solver_takes_the_kernel(name, monkeypatch):
    """Through the seam: the same solution, signals that are declined and derivatives included."""
    usual = kernels.module
    monkeypatch.setattr(kernels, "module", lambda device, name: usual("cuda" if name in SOLVERS else device, name))
    A = unnormalised(m=12, n=30).to(DEVICE)
    y = normal(4, 5, 12).to(DEVICE)
    y[3] = A[:, 4] + A[:, 7]
    weights = torch.ones(5, 30, dtype=REAL, device=DEVICE)
    weights[2, 3:] = 0  # no fourth atom
    y.requires_grad_()
    found = pursuit.solve(A, y, name, k=5, weights=weights)
    (slope,) = torch.autograd.grad(found.x.square().sum(), y)
    assert found.compiled.tolist() == [True, True, False, True, True]
    monkeypatch.setattr(pursuit.config, "kernels", "off")
    want = pursuit.solve(A, y, name, k=5, weights=weights)
    assert not want.compiled.any()
    assert torch.equal(found.support, want.support)
    assert torch.equal(found.status, want.status)
    assert torch.equal(found.steps, want.steps)
    assert_close(found.x, want.x)
    assert_close(found.residual_norm, want.residual_norm)
    assert_close(slope, torch.autograd.grad(want.x.square().sum(), y)[0])


# ---- what no interpreter tells -------------------------------------------------------------------------------------


@needs_triton
def test_they_compile_for_a_gpu(tmp_path):
    """In a process of its own: with TRITON_INTERPRET=1 there is no compiler in this one."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    script = Path(__file__).parent / "compile_for_gpu.py"
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False,
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(run.stdout.splitlines()) == 40


@needs_triton
@needs_gpu
@pytest.mark.parametrize("case", [(256, 1024, 32, 3000), (100, 1000, 30, 500), (300, 2500, 20, 300)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOLVERS)
def test_large_batches(name, dtype, case):
    m, n, k, items = case
    p = instance(unit(normal(0, m, n, dtype=dtype)), k // 2, batch=(items,), noise=0.1)
    p = made(p.A, p.y, k)
    found, want = kernel(name, p), SOLVERS[name].run(p)
    for _ in range(3):  # what one thread reads before another has written it would differ
        assert all(torch.equal(a, b) for a, b in zip(kernel(name, p), found, strict=True) if a is not None)
    assert (found.status != Status.RUNNING).double().mean() > 0.99
    same = (found.status != Status.RUNNING) & (found.support == want.support).all(-1)
    assert same.double().mean() > (0.95 if dtype in (torch.float32, torch.complex64) else 0.99)
    assert torch.equal(found.status[same], want.status[same])
    assert_close(found.norm[same], want.residual_norm[same], rtol=NEAR[dtype], atol=NEAR[dtype])
    A, S = p.A.to_dense(), found.support[same][:50]
    r = p.y[same][:50] - (A.mT[S].mT @ found.z[same][:50].unsqueeze(-1)).squeeze(-1)
    assert_close(torch.linalg.vector_norm(r, dim=-1), found.norm[same][:50], rtol=NEAR[dtype], atol=NEAR[dtype])


@needs_triton
@needs_gpu
@pytest.mark.parametrize("name", SOLVERS)
def test_the_gpu_has_the_kernel(name):
    p = instance(unnormalised(torch.float32, "cuda", m=30, n=70), 6, batch=(50,), noise=0.3, device="cuda")
    assert pursuit.solve(p.A, p.y, name, k=6).compiled.all()
