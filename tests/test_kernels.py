"""Kernels do what the steps do: on problems of every kind that is hard to tell apart in finite precision.

The steps of a solver are what it means; `config.kernels = "off"` runs them alone. A kernel finishes a signal as they
would, or declines it. Where rounding decides what comes next (scores that tie, columns that are nearly dependent) the
steps too give one result or another, say for the same problem in other coordinates. There a kernel may give another
one too, if it is no worse.
"""

from __future__ import annotations

import _thread
import math
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import pursuit
from helpers import COMPLEX, DTYPES, REAL, generator, normal, unit
from pursuit import Status, config, kernels
from pursuit.core import loop
from pursuit.kernels.cpu import pursuit_run, whole
from pursuit.solvers import els

FOLDER = Path(kernels.__file__).parent

SOLVERS: dict[str, dict[str, Any]] = {
    "sea": {"max_steps": 40},
    "els": {"max_steps": 40},
    "iht": {"max_steps": 100},
    "htp": {"max_steps": 60},
    "omp": {"max_steps": 40},
    "ols": {"max_steps": 40},
}
GREEDY = ("omp", "ols")  # they start from nothing, and have a way of their own where signals share a matrix
ITEMS = 40  # problems of each kind, for every solver, precision and start
TURNS = 30  # coordinates in which the steps may solve a problem again
ROUNDINGS = 30  # of y and of all that is added up to make it: what does not count as a difference of residuals


class Draw(NamedTuple):
    """Seeded numbers in double precision, real or complex as the `dtype` that a problem is solved in."""

    rng: torch.Generator
    dtype: torch.dtype

    @property
    def eps(self) -> float:
        return torch.finfo(self.dtype).eps

    @property
    def wide(self) -> torch.dtype:
        return COMPLEX if self.dtype.is_complex else REAL

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.rng, dtype=self.wide)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.rng, dtype=REAL)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=self.rng)


def gaussian(draw: Draw, m: int, n: int) -> Tensor:
    return draw.normal(ITEMS, m, n)


def near_parallel(draw: Draw, m: int, n: int) -> Tensor:
    """Pairs of columns at a distance from 1 down to 1e-9, but none where a distance counts as none by a hair."""
    A, half = unit(draw.normal(ITEMS, m, n)), n // 2
    distance = 10 ** (-9 * draw.uniform(ITEMS, 1, half))
    hair = (distance > draw.eps) & (distance < 100 * draw.eps)
    A[..., half:] = A[..., :half] + torch.where(hair, 1e-9, distance) * A[..., half:]
    return A


def ill_conditioned(draw: Draw, m: int, n: int) -> Tensor:
    """Singular values that fall by up to twelve orders of magnitude."""
    r = min(m, n)
    U, V = torch.linalg.qr(draw.normal(ITEMS, m, r)).Q, torch.linalg.qr(draw.normal(ITEMS, n, r)).Q
    return U * 10 ** (-12 * draw.uniform(ITEMS, 1, 1) * torch.linspace(0, 1, r, dtype=REAL)) @ V.mH


def smooth(draw: Draw, m: int, n: int) -> Tensor:
    """Bells of a width from 0.01 to 1 of all that is measured."""
    t, c = torch.linspace(0, 1, m, dtype=REAL).unsqueeze(-1), torch.linspace(0, 1, n, dtype=REAL)
    width = 10 ** (2 * draw.uniform(ITEMS, 1, 1) - 2)
    return torch.exp(-((t - c) ** 2) / (2 * width**2)).to(draw.wide)


def twins(draw: Draw, m: int, n: int) -> Tensor:
    """Half of the columns repeat others, and one is zero."""
    A, half = draw.normal(ITEMS, m, n), n // 2
    A[..., half:] = A.gather(-1, draw.integers(0, half, ITEMS, 1, n - half).expand(-1, m, -1))
    A[..., 0] = 0
    return A


def sums(draw: Draw, m: int, n: int) -> Tensor:
    """Half of the columns are sums of two others."""
    A, half = draw.normal(ITEMS, m, n), n // 2
    one, other = (A.gather(-1, draw.integers(0, half, ITEMS, 1, n - half).expand(-1, m, -1)) for _ in range(2))
    A[..., half:] = one + other * draw.normal(ITEMS, 1, n - half)
    return A


def signs(draw: Draw, m: int, n: int) -> Tensor:
    """Entries -1, 0 and 1: columns that are equal, opposite, zero or dependent, and many ties."""
    A = draw.integers(-1, 2, ITEMS, m, n).to(draw.wide)
    return A + 1j * draw.integers(-1, 2, ITEMS, m, n) if draw.dtype.is_complex else A


def unequal(draw: Draw, m: int, n: int) -> Tensor:
    """Column norms from 1e-8 to 1e8."""
    return draw.normal(ITEMS, m, n) * 10 ** (16 * draw.uniform(ITEMS, 1, n) - 8)


class Kind(NamedTuple):
    """Matrices `(ITEMS, m, n)`, signals of k non-zeros, and the least share of results that are the very same.

    It is less where many scores tie or many supports fit exactly. In single precision it is less where columns are
    nearly dependent, of which the steps see less than the kernels, which work in double.
    """

    matrices: Callable[[Draw, int, int], Tensor]
    m: int
    n: int
    k: int
    double: float = 0.9
    single: float = 0.9


KINDS = {
    "gaussian": Kind(gaussian, 12, 24, 4),
    "near parallel": Kind(near_parallel, 10, 20, 4, single=0.4),
    "ill-conditioned": Kind(ill_conditioned, 10, 20, 4, single=0.4),
    "smooth": Kind(smooth, 12, 24, 4, single=0.4),
    "twins": Kind(twins, 10, 20, 4, double=0.7, single=0.7),
    "sums": Kind(sums, 10, 20, 4, double=0.6, single=0.4),
    "signs": Kind(signs, 6, 14, 3),
    "unequal": Kind(unequal, 10, 20, 4, double=0.7, single=0.6),
    "tall": Kind(gaussian, 20, 6, 4),
    "tall and ill-conditioned": Kind(ill_conditioned, 20, 6, 4, double=0.8, single=0.4),
    "square": Kind(gaussian, 8, 8, 5),
    "as many atoms as measurements": Kind(gaussian, 5, 10, 5, double=0.7, single=0.7),
    "one atom": Kind(gaussian, 6, 12, 1),
    "one measurement": Kind(gaussian, 1, 5, 1, double=0, single=0),  # all columns are alike
    "one column": Kind(gaussian, 4, 1, 1),
    "one number": Kind(gaussian, 1, 1, 1),
}


def problems(kind: Kind, draw: Draw, solver: str, warm: bool) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """`A`, `y` and options: sparse signals with and without noise, some zero, of sizes from 1e-10 to 1e10."""
    m, n, k = kind.m, kind.n, kind.k
    A = kind.matrices(draw, m, n)
    x = draw.normal(ITEMS, n) * (draw.uniform(ITEMS, n).argsort(-1) < k)
    y = (A @ x.unsqueeze(-1)).squeeze(-1)
    noise = draw.normal(ITEMS, m) * y.norm(dim=-1, keepdim=True) / math.sqrt(m)
    size = (draw.uniform(ITEMS, 1) > 0.05) * 10 ** (20 * draw.uniform(ITEMS, 1) - 10)
    y = size * (y + 0.1 * (draw.uniform(ITEMS, 1) < 0.5) * noise)
    options: dict[str, Any] = {
        "k": torch.where(draw.uniform(ITEMS) < 0.7, k, draw.integers(1, k + 1, ITEMS)),
        "tol": 0.2 * draw.uniform(ITEMS) * (draw.uniform(ITEMS) < 0.2),
        "max_steps": torch.where(draw.uniform(ITEMS) < 0.8, SOLVERS[solver]["max_steps"], draw.integers(0, 9, ITEMS)),
    }
    if warm and solver in GREEDY:
        options["weights"] = 10 ** (4 * draw.uniform(ITEMS, n) - 2) * (draw.uniform(ITEMS, n) < 0.9)
    elif warm:
        options["x0"] = size * x * (draw.uniform(ITEMS, n) < 0.5)
        options["weights"] = 10 ** (4 * draw.uniform(ITEMS, n) - 2) * (draw.uniform(ITEMS, n) < 0.9)
        if solver != "els":
            largest = torch.linalg.matrix_norm(unit(A).nan_to_num(), 2).square()
            options["eta"] = 10 ** (2 * draw.uniform(ITEMS) - 1) / largest.clamp(min=1)
    return A, y, options


def solve(solver: str, A: Tensor, y: Tensor, options: dict[str, Any], mode: str, dtype: torch.dtype) -> Any:
    """The solution in this precision, with or without kernels."""
    given = {name: v.to(dtype) if v.is_complex() or name == "x0" else v for name, v in options.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "kernels", "off" if mode == "off" else "auto")
        if mode != "gram":
            return pursuit.solve(A.to(dtype), y.to(dtype), solver, **given)
        patch.setattr(pursuit_run, "_gram_pays", lambda *_: True)
        patch.setattr(pursuit_run, "TRIED", 0)
        each = [
            pursuit.solve(A[i].to(dtype), y[i].to(dtype), solver, **{name: v[i] for name, v in given.items()})
            for i in range(len(A))
        ]
    most = max(sol.support.shape[-1] for sol in each)
    pad = {"support": -1, "coefficients": 0}
    parts = {
        name: torch.stack([
            torch.nn.functional.pad(getattr(sol, name), (0, most - sol.support.shape[-1]), value=pad[name])
            if name in pad else getattr(sol, name)
            for sol in each
        ])
        for name in ("support", "coefficients", "residual_norm", "steps", "status", "compiled")
    }  # fmt: skip
    return pursuit.Solution(n=A.shape[-1], **parts)


def turned(draw: Draw, A: Tensor, y: Tensor, options: dict[str, Any], alike: Tensor) -> Any:
    """The same problems in other coordinates, `U A D` and `U y`: to solvers the same but for rounding.

    Equal columns stay equal: `alike (items, n)` holds the first column that each is equal to.
    """
    items, m, n = A.shape
    U = torch.linalg.qr(draw.normal(items, m, m)).Q
    D = (1 + draw.uniform(items, n)).gather(-1, alike)
    B = (U @ A * D.unsqueeze(-2)).gather(-1, alike.unsqueeze(-2).expand_as(A))
    if "x0" in options:
        options = options | {"x0": options["x0"] / D}
    return B, (U @ y.unsqueeze(-1)).squeeze(-1), options


def repeated(v: Tensor, times: int) -> Tensor:
    """All items, then all of them again."""
    return v.repeat(times, *[1] * (v.ndim - 1))


def first_alike(A: Tensor) -> Tensor:
    """The first column that each one equals, `(items, n)`."""
    return (A.unsqueeze(-1) == A.unsqueeze(-2)).all(-3).to(torch.int8).argmax(-1)


def the_same(a: Any, b: Any, alike: Tensor, slack: Tensor) -> Tensor:
    """Whether support, status and steps agree; of equal columns one is as good as another."""
    n = alike.shape[-1]
    names = torch.cat([alike, alike.new_full((len(alike), 1), -1)], dim=-1)  # of -1, the last, too
    supports = (names.gather(-1, s.support % (n + 1)).sort(-1).values for s in (a, b))
    support = torch.eq(*supports).all(-1)
    return support & (a.status == b.status) & ((a.steps - b.steps).abs() <= slack)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("solver", "way"), [*((name, "auto") for name in SOLVERS), *((name, "gram") for name in GREEDY)]
)
def test_a_kernel_does_what_the_steps_do(solver, way, kind, dtype, warm):
    """The same support, status and steps; or as good; or no worse than what the steps do in other rounding.

    As good: residual norms equal to rounding, so many roundings of `y` and of the terms that a fit adds up; for ELS
    their squares. No worse: of the same problem in other coordinates, or in double precision, the steps leave at least
    once no less.
    """
    number = list(KINDS).index(kind) + 100 * warm
    draw = Draw(generator(number), dtype)
    A, y, options = problems(KINDS[kind], draw, solver, warm)
    A, y = A.to(dtype).to(draw.wide), y.to(dtype).to(draw.wide)
    quick, slow = (solve(solver, A, y, options, mode, dtype) for mode in (way, "off"))
    norms = A.norm(dim=-2)
    rounding = y.norm(dim=-1) + sum((s.x * norms).norm(dim=-1) for s in (quick, slow))
    if "x0" in options:
        rounding += (options["x0"] * norms).norm(dim=-1)
    rounding *= ROUNDINGS * draw.eps
    if solver == "iht":  # whose iterates carry theirs on
        rounding *= 1 + slow.steps

    for sol in (quick, slow):
        assert sol.x.isfinite().all()
        left = (y - (A @ sol.x.to(draw.wide).unsqueeze(-1)).squeeze(-1)).norm(dim=-1)
        assert ((left - sol.residual_norm).abs() <= rounding + ROUNDINGS * draw.eps * left).all()
        assert ((sol.status != Status.MAX_STEPS) | (sol.steps == options["max_steps"])).all()
    assert ((quick.status == Status.DIVERGED) == (slow.status == Status.DIVERGED)).all()
    alike = first_alike(A)
    # At which step IHT moves by no more than rounding is a matter of rounding.
    slack = 2 + slow.steps // 20 if solver == "iht" else torch.zeros_like(slow.steps)
    same = the_same(quick, slow, alike, slack)
    least = KINDS[kind].double if draw.eps < 1e-10 else KINDS[kind].single
    if solver == "ols" and kind == "as many atoms as measurements":
        least = 0.2  # the last of them leaves nothing, whichever it is: all tie
    assert same.double().mean() >= least
    if solver == "iht":  # the others fit x to their supports
        settled = same & (slow.status != Status.DIVERGED) & (slow.status != Status.MAX_STEPS)
        apart = (A @ (quick.x - slow.x).to(draw.wide).unsqueeze(-1)).squeeze(-1).norm(dim=-1)
        assert (apart <= rounding)[settled].all()

    if solver == "els":  # which ranks swaps by energies: what these hide in their rounding is a tie
        rounding = torch.maximum(rounding, math.sqrt(draw.eps) * y.norm(dim=-1))
    worse = (quick.residual_norm > slow.residual_norm + rounding).nonzero().squeeze(-1)
    these = A[worse], y[worse], {name: v[worse] for name, v in options.items()}
    most = solve(solver, *these, "off", draw.wide).residual_norm
    if len(worse):  # all turns as one batch
        A, y, alike, *values = (repeated(v[worse], TURNS) for v in (A, y, alike, *options.values()))
        given = turned(draw, A, y, dict(zip(options, values, strict=True)), alike)
        most = torch.maximum(most, solve(solver, *given, "off", dtype).residual_norm.view(TURNS, -1).amax(0))
    assert (quick.residual_norm[worse] <= most + rounding[worse]).all()


@pytest.fixture(params=["auto", "off"], ids=["kernel", "steps"])
def mode(request, monkeypatch):
    """With the kernels and without."""
    monkeypatch.setattr(config, "kernels", request.param)
    return request.param


@pytest.mark.parametrize("solver", SOLVERS)
def test_kernels_are_what_is_compared(solver):
    """And nearly all signals they do finish."""
    draw = Draw(generator(0), REAL)
    A, y, options = problems(KINDS["gaussian"], draw, solver, warm=False)
    assert solve(solver, A, y, options, "auto", REAL).compiled.double().mean() >= 0.95
    assert not solve(solver, A, y, options, "off", REAL).compiled.any()


@pytest.mark.parametrize("e", [1e-2, 1e-3, 2e-4, 1.1e-4, 9e-5, 5e-5, 1e-5, 1e-6])
def test_els_tells_swaps_apart_however_parallel_the_atoms_are(e, mode):
    A = torch.tensor([[1, 1, 0, 0], [0, e, 0, 0.6], [0, 0, 1, 0], [0, 0, 0, 0.8]], dtype=REAL)
    y, start = torch.tensor([0, 1, 0.1, 0], dtype=REAL), torch.tensor([1, 0, 1, 0], dtype=REAL)
    sol = pursuit.els(A, y, k=2, x0=start)
    assert sorted(sol.support.tolist()) == [0, 1]
    torch.testing.assert_close(sol.residual_norm, torch.tensor(0.1, dtype=REAL))


def test_htp_leaves_one_of_two_equal_columns(mode):
    """The other gets zero, and the next cycle has a better atom in its place."""
    A, y = torch.tensor([[1, 1, 0], [0, 0, 1]], dtype=REAL), torch.tensor([3, 1.4], dtype=REAL)
    sol = pursuit.htp(A, y, k=2, eta=1.0)
    assert sol.x.tolist() == [3, 0, 1.4]
    assert sol.status == Status.TOLERANCE


def test_htp_leaves_one_of_three_dependent_columns(mode):
    A = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=REAL)
    sol = pursuit.htp(A, torch.tensor([3, 3, 1], dtype=REAL), k=3, eta=1.0)
    torch.testing.assert_close(sol.x, torch.tensor([3, 3, 0, 1], dtype=REAL))


def test_htp_stops_at_once_where_nothing_may_be_chosen(mode):
    sol = pursuit.htp(torch.eye(3), torch.ones(3), k=2, weights=torch.zeros(3))
    assert (sol.status, sol.steps) == (Status.NOTHING_FOUND, 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("max_steps", [20, 100, 250, 2000])
def test_iht_diverges_in_the_callers_precision(dtype, max_steps, monkeypatch):
    A, y = torch.randn(20, 40, generator=generator(1), dtype=dtype), torch.randn(20, generator=generator(2)).to(dtype)
    found = []
    for mode in ("auto", "off"):
        monkeypatch.setattr(config, "kernels", mode)
        found.append(pursuit.iht(A, y, 5, eta=3.0, max_steps=max_steps))
    quick, slow = found
    assert quick.x.isfinite().all()
    assert quick.residual_norm.isfinite()
    assert (quick.status, quick.steps) == (slow.status, slow.steps)
    torch.testing.assert_close(quick.x, slow.x, rtol=1e-3, atol=0)
    assert slow.status == (Status.DIVERGED if slow.steps < max_steps else Status.MAX_STEPS)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("size", "options"),
    [(1e17, {}), (1e18, {"weights": 1e10}), (1, {"eta": 1e37}), (1, {"weights": 1e20}), (1e-15, {})],
    ids=["large", "large and heavy", "long steps", "heavy", "small"],
)
def test_numbers_near_the_ends_of_single_precision(solver, size, options, monkeypatch):
    A, y = torch.randn(30, 8, 16, generator=generator(3)), size * torch.randn(30, 8, generator=generator(4))
    given = {name: value for name, value in options.items() if name != "eta" or solver not in ("els", *GREEDY)}
    if "weights" in given:
        given["weights"] = given["weights"] * (1 + torch.rand(16, generator=generator(5)))
    found = []
    for mode in ("auto", "off"):
        monkeypatch.setattr(config, "kernels", mode)
        found.append(pursuit.solve(A, y, solver, k=3, **SOLVERS[solver], **given))
    quick, slow = found
    assert quick.x.isfinite().all()
    assert quick.residual_norm.isfinite().all()
    assert quick.status.tolist() == slow.status.tolist()
    assert quick.support.sort().values.tolist() == slow.support.sort().values.tolist()
    close = (quick.residual_norm - slow.residual_norm).abs() <= 1e-3 * slow.residual_norm
    assert (close | (slow.status == Status.TOLERANCE)).all()


def test_seas_kernel_moves_by_an_exact_residual_where_coefficients_are_huge():
    """Scores that differ by 1e-11 decide what follows a support of coefficients of 1e7, whose rounding is 1e-9."""
    items, n = 100, 12
    A = torch.eye(n, dtype=REAL).repeat(items, 1, 1)
    A[:, 0, 1], A[:, 1, 1] = 1, 1e-8  # columns 0 and 1 are nearly the same
    A[:, 0, 2:] = 0.5  # the others all lean on them
    y = torch.zeros(items, n, dtype=REAL)
    y[:, 1] = 0.1
    lead = 3 + torch.arange(items) % (n - 3)
    y[:, 2] = 1
    y[:, 3:] = 0.9
    y += 1e-11 * torch.nn.functional.one_hot(lead, n)
    support = pursuit.sea(A, y, 2, max_steps=2).support
    assert (support[:, 0] == 2).all()
    assert support[:, 1].tolist() == lead.tolist()


def test_seas_kernel_leaves_doubtful_supports_to_the_steps():
    """Three others, a little alike, span an atom: its rounding is just above the tolerance."""
    A, y, options = problems(KINDS["sums"], Draw(generator(3005), REAL), "sea", warm=False)
    this = slice(3, 4)
    options = {name: v[this] for name, v in options.items()}
    quick, slow = (solve("sea", A[this], y[this], options, mode, REAL) for mode in ("auto", "off"))
    assert quick.support.tolist() == slow.support.tolist()


@pytest.mark.parametrize(
    "name", [file.stem for file in sorted((FOLDER / "cpu").glob("*.py")) if file.stem != "__init__"]
)
def test_numbers_that_kernels_repeat_are_those_of_the_steps(name):
    """Kernels lie below the solvers and cannot take their constants from them."""
    here = vars(import_module(f"pursuit.kernels.cpu.{name}"))
    for code in Status:
        assert here.get(code.name, code) == code
    assert here.get("STILL", loop.STILL) == loop.STILL
    assert here.get("LEAST_GAIN", els.LEAST_GAIN) == els.LEAST_GAIN


@pytest.mark.parametrize("name", ["sea", "iht"])
def test_an_interrupt_ends_a_long_run_on_one_signal(name):
    A, y = normal(0, 64, 256), normal(1, 64)
    few = {"k": 8, "eta": 1e-9, "max_steps": 3} if name == "iht" else {"k": 8, "max_steps": 3}
    assert pursuit.solve(A, y, name, **few).compiled
    begin = time.perf_counter()
    interrupt = threading.Timer(0.3, _thread.interrupt_main)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        pursuit.solve(A, y, name, **few | {"max_steps": 10**9})
    assert time.perf_counter() - begin < 5  # hours otherwise


class Recorded(TorchFunctionMode):
    """The names of the functions of torch that are called within."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names.add(function.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("own", [False, True], ids=["one matrix", "a matrix per signal"])
@pytest.mark.parametrize("solver", ["sea", "els", "iht", "htp"])
def test_threads_of_kernels_compute_nothing_by_torch(solver, own, monkeypatch):
    """Each of them would get OpenMP threads of its own, and torch would be slower in the whole process from then on."""
    seen = Recorded()

    def share(work, items, *args, **options):
        with seen:
            work(0, items)

    monkeypatch.setattr(whole, "share", share)
    A, y = normal(1, *([5] if own else []), 12, 24), normal(2, 5, 12)
    assert pursuit.solve(A, y, solver, k=3).compiled.all()
    assert seen.names <= {"__getitem__", "__len__", "numpy"}
