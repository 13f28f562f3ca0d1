"""Odd calls from Python, drawn from a seed: an answer that holds, or a ValueError or TypeError that says something."""

import random
import signal
import threading

import numpy as np
import pandas
import pytest
import scipy.sparse
import torch

import pursuit
from pursuit import Status, arrays
from pursuit.core.layout import unwrapped

M, N = 6, 9
rng = np.random.default_rng(0)
A = rng.standard_normal((M, N))
X = np.zeros((4, N))
np.put_along_axis(X, rng.random((4, N)).argsort(-1)[:, :2], rng.standard_normal((4, 2)), -1)
Y = X @ A.T
JUNK = [
    None, "text", "", b"ab", {}, set(), object(), [], [[]], [None], (1, [2, 3]), [[1.0], [2.0, 3.0]], len, type, ...,
    {"a": 1}, float("nan"), float("inf"), -1, 0, 10**30, 1j, True, np.array("x"), np.zeros(0), np.zeros((0, N)),
    np.zeros((M, 0)), np.datetime64("2020-01-01"), np.ma.masked_less(Y[0], 0), np.array([object()] * M),
    torch.tensor([]), torch.ones(M, device="meta"), torch.ones(M).to_sparse(), np.ones((2, 2, 2, 2)), np.longdouble(3),
    np.zeros(M, [("re", "f8"), ("im", "f8")]), np.ones(M, np.uint8), np.float16(1), range(3), iter([1.0]),
]  # fmt: skip
MATRICES = [
    A, A.tolist(), A.astype("f4"), A.astype("f2"), A + 1j * A[::-1], A.T, A[0], np.stack([A, 2 * A]), 1e30 * A,
    1e-30 * A, (1e30 * A).astype("f4"), (1e-36 * A).astype("f4"), 1e200 * A, 1e-200 * A, 0 * A, A * np.nan,
    np.where(A > 1, np.inf, A), A[:, [0] * N], A[:0], A[:, :0],
    A * np.array([1.0] + [0] * (N - 1)), A[:1], A[:, :1], A[:, :M],
    np.ones((M, N)), np.eye(M, N), (10 * A).astype(int), A > 0, np.asfortranarray(A), A[::-1, ::-1], A.astype(">f8"),
    np.logspace(-8, 8, N) * A, A + 1e-13 * A[:, :1], scipy.sparse.csr_array(A), pandas.DataFrame(A), torch.tensor(A),
    torch.tensor(A, requires_grad=True), torch.tensor(A, dtype=torch.bfloat16), torch.tensor(A).mT.contiguous().mT,
    (lambda x: x @ A.T, lambda y: y @ A, (M, N)), (lambda x: x @ A.T, lambda y: y @ A + 1, (M, N)),
    (lambda x: x, lambda y: y, (M, N)), pursuit.SubsampledFourier(torch.arange(M), N),
]  # fmt: skip
MEASURED = [
    Y[0], Y, Y[0].tolist(), Y.tolist(), Y.astype("f4"), Y[0] + 1j, Y[0, :-1], Y.T, Y[:, :, None], Y[None],
    np.tile(Y, (2, 1, 1)), 0 * Y, np.zeros((0, M)), 1e30 * Y, 1e-30 * Y, (1e37 * Y).astype("f4"),
    (1e-42 * Y).astype("f4"), 1e300 * Y, 1e-310 * Y, Y * np.nan, np.where(Y > 1, np.inf, Y),
    rng.standard_normal((M, M)), rng.standard_normal(M),
    A[:, 3], 1e-9 * A[:, 3] + A[:, 5], np.ones(M), (9 * Y).astype(int), Y > 0, Y.astype("f2"), Y[::-1, ::-1],
    torch.tensor(Y), torch.tensor(Y[0], requires_grad=True), torch.tensor(Y, dtype=torch.bfloat16),
    pandas.Series(Y[0]), pandas.DataFrame(Y), pursuit.rows(rng.standard_normal((M, M))), [0, 0, 0, 0, 0, 1e-3],
]  # fmt: skip
NUMBERS = [0, 1, 2, 3, M, N, 100, -1, 1.5, 2.0, "2", [1, 2, 1, 2], np.array([0, 1, 2, 6]), torch.tensor(2), 10**20,
           np.int8(2), None, 1e-3, 0.5, 1.0, 1e-300, 1e300, float("nan"), -0.0, [0.1, 0.2, 0.3, 0.4]]  # fmt: skip
VECTORS = [np.ones(N), np.zeros(N), rng.random(N), np.ones((4, N)), -np.ones(N), np.arange(N), np.full(N, 1e300),
           np.logspace(-300, 0, N), X[0], X, X[0] + 1j, 1e30 * X, np.ones(M), [1.0] * N, torch.ones(N),
           np.nan * X[0]]  # fmt: skip
OPTIONS = dict.fromkeys(("tol", "eps", "lam", "lam_share", "eta", "max_steps", "batch_size", "gap"), NUMBERS)
OPTIONS |= {"weights": VECTORS, "x0": VECTORS, "on_step": [None, 3, "text", lambda *a: None]}
OPTIONS |= {"select": [pursuit.Hard(), pursuit.Relaxed(pursuit.softsort, tau=0.1), "hard", None]}
METHODS = [*pursuit.methods(), "sea+", "OMP", "gone", "", "json:loads"]


def call(draw):
    """An odd call: the usual more often than not."""

    def one(usual, values):
        return draw.choice(usual) if draw.random() < 0.6 else draw.choice(values if draw.random() < 0.7 else JUNK)

    method = draw.choice(METHODS)
    options = {"max_steps": draw.choice([1, 3, 20])} if draw.random() < 0.6 else {}
    if method in ("ista", "fista", "greedy_lasso"):
        options["lam"] = one([0.1], NUMBERS)
    if method not in ("ista", "fista") or draw.random() < 0.1:
        options["k"] = one([1, 2], NUMBERS)
    for _ in range(draw.choice([0, 0, 1, 2])):
        name = draw.choice([*OPTIONS])
        options[name] = draw.choice(OPTIONS[name] if draw.random() < 0.9 else JUNK)
    method = method if draw.random() < 0.97 else draw.choice(JUNK)
    return one([A], MATRICES), one([Y[0], Y], MEASURED), method, options


def judge(matrix, measured, method, options, sol):
    """What is wrong with an answer whose status is content, or None."""
    op = pursuit.as_operator(matrix)
    if op.batch_shape:
        return None
    x, y = map(_tensor, (sol.x, unwrapped(measured)[0]))
    ok = torch.tensor([Status(int(code)).ok for code in np.asarray(sol.status).ravel()], dtype=torch.bool)
    ok = ok.reshape(x.shape[:-1])
    if not x[ok].isfinite().all():
        return "x is not finite"
    y = y.to(torch.complex128)
    left = y - x.to(torch.complex128) @ op.to_dense().detach().to(torch.complex128).mT
    single = x.dtype not in (torch.float64, torch.complex128)
    scale = max(float(y.abs().max()), 1e-300) if y.numel() else 1.0
    norm, told = left.div(scale).norm(dim=-1), _tensor(sol.residual_norm).double() / scale
    of_y = y.div(scale).norm(dim=-1)
    near = (1e-2 if single else 1e-6) * of_y
    if ((norm - told).abs() > near)[ok].any():
        return f"the residual is {norm.tolist()}, and told is {told.tolist()}, of {of_y.tolist()}"
    if (norm > of_y + near)[ok].any():
        return f"the residual {norm.tolist()} is larger than y, {of_y.tolist()}"
    k = options.get("k")
    if isinstance(options.get("select"), pursuit.Relaxed):  # which has a weight for every atom
        return None
    if isinstance(k, int) and method != "amp" and ((x != 0).sum(-1) > k)[ok].any():
        return f"more than {k} are not zero"
    held, n = _tensor(sol.support), x.shape[-1]
    inside = torch.zeros(*held.shape[:-1], n + 1, dtype=torch.bool)
    inside = inside.scatter(-1, torch.where(held < 0, n, held), torch.ones_like(held, dtype=torch.bool))
    return "x is not zero outside of its support" if (x != 0)[~inside[..., :n]].any() else None


def hangs(number, frame):
    raise TimeoutError


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_odd_calls(count, capsys):
    draw, answered, wrong = random.Random(count), 0, []
    signal.signal(signal.SIGPROF, hangs)
    assert threading.current_thread() is threading.main_thread()
    for trial in range(count):
        matrix, measured, method, options = call(draw)
        named = {name: _shown(value) for name, value in options.items()}
        shown = f"{trial}: {_shown(method)} {named} A={_shown(matrix)} y={_shown(measured)}"
        signal.setitimer(signal.ITIMER_PROF, 20)  # seconds of the processor
        try:
            sol = pursuit.solve(matrix, measured, method, **options)
        except (ValueError, TypeError) as error:
            wrong += [] if str(error) else [f"{shown}: {error!r}"]
        except DeprecationWarning:
            pass
        except Exception as error:  # what a caller does not expect
            wrong.append(f"{shown}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
        else:
            answered += 1
            reason = judge(matrix, measured, method, options, sol)
            wrong += [f"{shown}: {reason}"] if reason else []
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    capsys.readouterr()
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:40])
    assert answered > count / 10


def _shown(value):
    places = [name for name, values in (("MATRICES", MATRICES), ("MEASURED", MEASURED), ("JUNK", JUNK))
              for at, one in enumerate(values) if one is value for name in [f"{name}[{at}]"]]  # fmt: skip
    return places[0] if places else f"{value!r}"[:40]


def _tensor(value):
    return arrays.read("v", value).values.detach()


# What odd calls have shown


@pytest.mark.parametrize("shape", [(6, 0), (0, 9), (0, 0)])
@pytest.mark.parametrize("method", pursuit.methods())
def test_a_matrix_without_rows_or_columns_is_refused(method, shape):
    options = (
        {"lam": 0.1} if method in ("ista", "fista") else {"k": 0, **({"lam": 0.1} if method == "greedy_lasso" else {})}
    )
    with pytest.raises(ValueError, match=r"A has shape .*; needed is one row and one column at least"):
        pursuit.solve(np.zeros(shape), np.ones((4, shape[0])), method, **options)


@pytest.mark.parametrize("method", pursuit.methods())
def test_no_signals_and_no_atoms_are_an_empty_answer(method):
    options = (
        {"lam": 0.1} if method in ("ista", "fista") else {"k": 0, **({"lam": 0.1} if method == "greedy_lasso" else {})}
    )
    assert pursuit.solve(A, Y[:0], method, **options).check().x.shape == (0, A.shape[1])


def test_the_support_holds_all_that_is_not_zero_beside_signals_below_the_level():
    """It was cut to as many atoms as there are measurements, where an `eps` was given."""
    for sol in (pursuit.fista(A, Y, lam=1e-3, eps=3.0), pursuit.amp(A, Y, alpha=0.1, max_steps=3, eps=2.0)):
        assert ((sol.support >= 0).sum(-1) == (sol.x != 0).sum(-1)).all()
        assert (sol.support >= 0).sum(-1).max() > M


@pytest.mark.parametrize(("scale", "dtype"), [(1e200, "f4"), (1e30, "f2")])
def test_an_answer_too_small_for_the_dtype_of_y_is_refused(scale, dtype):
    """It was zero, with a status that says all is well."""
    with pytest.raises(
        ValueError, match=r"x goes up to .*e-\d+ only, too little for torch.float(32|16), the dtype of y"
    ):
        pursuit.omp(scale * A, Y.astype(dtype), 2)
    pursuit.omp(1e-3 * scale**0.01 * A, Y.astype(dtype), 2).check()


@pytest.mark.parametrize("place", ["k", "tol", "max_steps"])
def test_an_option_that_is_a_sparse_tensor_is_refused(place):
    value = torch.ones(4, dtype=torch.int64) if place != "tol" else torch.full((4,), 0.5)
    pursuit.iht(A, Y, **{"k": 2, place: value})
    for other in (value.to_sparse(), value.to("meta")):
        with pytest.raises(TypeError, match=rf"{place} is a tensor of layout .*{place}.to_dense\(\)"):
            pursuit.iht(A, Y, **{"k": 2, place: other})
