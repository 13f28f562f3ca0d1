"""The front door: bad input is named, good input of every form works, and out comes what went in."""

from types import SimpleNamespace

import numpy as np
import pylops
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pursuit
from helpers import ITERATIVE, NEEDS, PARTS, WEIGHTS
from pursuit import Status
from pursuit.core.layout import rows_for_sure

M, N = 5, 8
METHODS = tuple(name for name in pursuit.methods() if name != "sea_plus")  # which is other solvers, put together
GREEDY = tuple(name for name in METHODS if "ista" not in name and name != "amp")
PENALISED = ("ista", "fista")
DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
BATCHES = ((), (1,), (2, 3))

every_method = pytest.mark.parametrize("method", METHODS)
every_batch = pytest.mark.parametrize("batch", BATCHES, ids=str)


def rng(seed=0):
    return np.random.default_rng(seed)


A, Y, X0 = rng(0).standard_normal((M, N)), rng(1).standard_normal((4, M)), rng(2).standard_normal(N)
y = Y[0]


def bad(values, wrong, index=(0, 2)):
    values = np.array(values)
    values[index[: values.ndim] if values.ndim > 1 else index[1]] = wrong
    return values


def omp(A=A, y=y, k=2, **options):
    return lambda: pursuit.omp(A, y, k, **options)


def soft(**given):
    return omp(select=pursuit.Relaxed(pursuit.softsort, tau=0.1), **given)


def call(method, A=A, y=y, **options):
    return lambda: pursuit.solve(A, y, method=method, **options)


def misshapen(forward, adjoint=lambda y: y @ torch.from_numpy(A)):
    return (forward, adjoint, (M, N))


nameless_physics = SimpleNamespace(A=lambda x: x, A_adjoint=lambda y: y)

# What is called, what it raises, and words that its message must hold: what was given and what is needed.
ERRORS = {
    "y of another length": (omp(y=y[:4]), ValueError, "y has shape (4,)|m=5 rows|(*batch, 5)"),
    "y a number": (omp(y=1.5), ValueError, "y has shape ()|(*batch, 5)"),
    "y transposed": (
        omp(y=Y.T),
        ValueError,
        "y has shape (5, 4)|(*batch, 5)|the columns of y are the signals, pass y.T",
    ),
    "A transposed": (omp(A=A.T), ValueError, "y has shape (5,)|m=8|(8, 5)|the atoms are the rows of A, pass A.T"),
    "batches of A and y": (omp(A=np.stack([A, A, A]), y=Y[:2]), ValueError, "batch (3,)|(2,)|equal"),
    "A with one dimension": (omp(A=y), ValueError, "A has shape (5,)|(m, n)"),
    "A a number": (omp(A=3.0), TypeError, "A is a float|matrix|LinearOperator"),
    "A a string": (omp(A="A"), TypeError, "A is a str|matrix"),
    "A None": (omp(A=None), TypeError, "A is a NoneType|matrix"),
    "A a dictionary": (omp(A={}), TypeError, "A is a dict|triple"),
    "A a sparse tensor": (omp(A=torch.from_numpy(A).to_sparse()), ValueError, "torch.sparse_coo|to_dense()|SciPy"),
    "A a sparse vector": (omp(A=scipy.sparse.coo_array(y)), ValueError, "sparse array of shape (5,)|(m, n)"),
    "A ragged": (omp(A=[[1.0, 2.0], [3.0]]), ValueError, "A|shape"),
    "y None": (omp(y=None), TypeError, "y has dtype object|None|float64"),
    "y a string": (omp(y="y"), TypeError, "y has dtype str|float64"),
    "k negative": (omp(k=-2), ValueError, "k is -2|0 <= k <= 5"),
    "k above m": (omp(k=6), ValueError, "k is 6|0 <= k <= 5"),
    "k above n": (omp(A=A[:, :3], k=4), ValueError, "k is 4|0 <= k <= 3"),
    "k one of many": (omp(y=Y, k=[1, 2, 9, 1]), ValueError, "k is between 1 and 9|0 <= k <= 5"),
    "k a float": (omp(k=2.0), TypeError, "k is 2.0|whole number"),
    "k a bool": (omp(k=True), TypeError, "k is True|whole number"),
    "k complex": (omp(y=Y[:2], k=[1j, 2]), TypeError, "k|whole number"),
    "k a string": (omp(k="two"), TypeError, "k is|two|whole number"),
    "k for another batch": (omp(y=Y, k=[1, 2, 3]), ValueError, "k has shape (3,)|(4,)"),
    "k for no batch": (omp(k=[1, 2]), ValueError, "k has shape (2,)|()"),
    "k missing": (lambda: pursuit.iht(A, y), ValueError, "k was not given|0 <= k <= 5|pass k"),
    "neither k nor tol": (omp(k=None), ValueError, "neither k nor tol"),
    "y with nan": (omp(y=bad(y, np.nan)), ValueError, "y has 1 entries|NaN or infinite|(2,)"),
    "y with inf": (omp(y=bad(Y, np.inf)), ValueError, "y has 1 entries|NaN or infinite|(0, 2)"),
    "y too large": (soft(A=A.astype("f"), y=1e25 * y.astype("f")), ValueError, "y goes up to|e+25|torch.float32|scale"),
    "y too small": (
        soft(A=A.astype("f"), y=1e-30 * y.astype("f")),
        ValueError,
        "y goes up to|e-30|torch.float32|scale",
    ),
    "one y too large": (
        soft(y=Y * [[1], [1e300], [1], [0]]),
        ValueError,
        "y goes up to|e+299|torch.float64|scale",
    ),
    "A too large": (omp(A=1e306 * A), ValueError, "A has columns of norm|e+306|torch.float64|scale A"),
    "A too small": (
        omp(A=1e-36 * A.astype("f"), y=y.astype("f")),
        ValueError,
        "A has columns of norm|e-36|torch.float32|scale A",
    ),
    "a norm that overflows": (omp(A=1e308 * A.clip(-1, 1)), ValueError, "A has|overflows torch.float64|scale"),
    "x0 too large": (call("niht", k=2, x0=np.full(N, 3e200)), ValueError, "x0 goes up to 3e+200|times y|scale"),
    "weights of too many sizes": (
        omp(A=A.astype("f"), y=y.astype("f"), weights=[1e-60] + (N - 1) * [1.0]),
        ValueError,
        "weights > 0 go from|e-60|float32",
    ),
    "eta too large for its type": (
        lambda: pursuit.iht(A.astype("f"), y.astype("f"), 2, eta=1e60),
        ValueError,
        "eta is 1e+60|float32",
    ),
    "A with nan": (omp(A=bad(A, np.nan)), ValueError, "A has entries|NaN or infinite"),
    "A with inf": (omp(A=bad(A, -np.inf)), ValueError, "A has entries|NaN or infinite"),
    "sparse A with nan": (omp(A=scipy.sparse.csr_array(bad(A, np.nan))), ValueError, "A has entries|NaN"),
    "weights with nan": (omp(weights=bad(np.ones(N), np.nan)), ValueError, "weights has 1 entries|NaN|(2,)"),
    "weights with inf": (omp(weights=bad(np.ones(N), np.inf)), ValueError, "weights has 1 entries|infinite"),
    "weights complex": (omp(weights=np.ones(N) + 0j), TypeError, "weights are complex|real numbers >= 0"),
    "weights negative": (omp(weights=bad(np.ones(N), -2)), ValueError, "weights|-2|>= 0"),
    "weights too short": (omp(weights=np.ones(M)), ValueError, "weights have shape (5,)|(8,)"),
    "weights for another batch": (omp(y=Y, weights=np.ones((3, N))), ValueError, "weights have shape (3, 8)|(4, 8)"),
    "weights a number": (omp(weights=1.0), ValueError, "weights have shape ()|(8,)"),
    "x0 with nan": (call("iht", k=2, x0=bad(X0, np.nan)), ValueError, "x0 has 1 entries|NaN|(2,)"),
    "x0 with inf": (call("ista", lam=1.0, x0=bad(X0, np.inf)), ValueError, "x0 has 1 entries|infinite"),
    "x0 too short": (call("sea", k=2, x0=X0[:M]), ValueError, "x0 has shape (5,)|(8,)"),
    "x0 for another batch": (call("sp", y=Y, k=2, x0=np.ones((3, N))), ValueError, "x0 has shape (3, 8)|(4, 8)"),
    "x0 complex": (call("htp", k=2, x0=X0 + 0j), TypeError, "x0 is complex|real x0"),
    "y longer than double": (omp(y=y.astype(np.longdouble)), TypeError, "y has dtype|pass y.astype(np.float64)"),
    "y longer than double, complex": (
        omp(y=y.astype(np.clongdouble)),
        TypeError,
        "y has dtype|pass y.astype(np.complex128)",
    ),
    "precision of an operator": (
        omp(A=pursuit.as_operator((lambda x: x @ torch.eye(M), lambda y: y, (M, M)), dtype=torch.float32)),
        TypeError,
        "torch.float32|y has double precision|one precision|pass y in float32",
    ),
    "precision inside an operator": (
        omp(
            A=scipy.sparse.linalg.LinearOperator(
                (M, M), lambda x: 3 * x.astype("f"), rmatvec=lambda y: 3 * y.astype("f"), dtype="f"
            )
        ),
        TypeError,
        "torch.float32|y has double precision|one precision|pass y in float32",
    ),
    "tol negative": (omp(tol=-1e-3), ValueError, "tol is -0.001|>= 0"),
    "tol one": (omp(tol=1.0), ValueError, "tol is 1.0|0 <= tol < 1|eps"),
    "tol a level": (omp(y=Y, tol=[0.1, 0.2, 7.5, 0.0]), ValueError, "tol is between 0.0 and 7.5|pass eps"),
    "eps negative": (omp(eps=-1.0), ValueError, "eps is -1.0|>= 0"),
    "eps nan": (omp(eps=np.nan), ValueError, "eps is nan|finite"),
    "eps for another batch": (omp(y=Y, eps=[0.1, 0.2]), ValueError, "eps has shape (2,)|(4,)"),
    "tol nan": (omp(tol=np.nan), ValueError, "tol is nan|finite"),
    "tol infinite": (omp(tol=np.inf), ValueError, "tol is inf|finite"),
    "tol complex": (omp(tol=1j), ValueError, "tol|complex|real number"),
    "tol a string": (omp(tol="small"), TypeError, "tol is|small|a real number"),
    "tol for another batch": (omp(y=Y, tol=[0.1, 0.2]), ValueError, "tol has shape (2,)|(4,)"),
    "eta negative": (call("iht", k=2, eta=-0.5), ValueError, "eta is -0.5|>= 0"),
    "eta nan": (call("sea", k=2, eta=np.nan), ValueError, "eta is nan|finite"),
    "eta for another batch": (call("ompr", y=Y, k=2, eta=[1.0, 1.0]), ValueError, "eta has shape (2,)|(4,)"),
    "lam negative": (call("ista", lam=-1.0), ValueError, "lam is -1.0|>= 0"),
    "lam nan": (call("fista", lam=np.nan), ValueError, "lam is nan|finite"),
    "lam for another batch": (call("ista", y=Y, lam=[1.0, 2.0]), ValueError, "lam has shape (2,)|(4,)"),
    "lam None": (call("ista", lam=None), TypeError, "'ista'|no penalty|'lam'|'lam_share'|'k'"),
    "lam twice": (call("fista", lam=1.0, lam_share=0.1), TypeError, "'fista'|lam and lam_share|needed is one of"),
    "lam_share negative": (call("fista", lam_share=-0.1), ValueError, "lam_share is -0.1|>= 0"),
    "gap negative": (call("fista", lam=1.0, gap=-1.0), ValueError, "gap is -1.0|>= 0"),
    "penalty weights negative": (call("fista", lam=1.0, weights=-np.ones(N)), ValueError, "weights|-1|>= 0"),
    "max_steps negative": (call("iht", k=2, max_steps=-1), ValueError, "max_steps is -1|>= 0"),
    "max_steps fractional": (omp(max_steps=1.5), TypeError, "max_steps is 1.5|whole number"),
    "max_steps for another batch": (omp(y=Y, max_steps=[1, 2]), ValueError, "max_steps has shape (2,)|(4,)"),
    "no such method": (call("lasso"), ValueError, "method is 'lasso'|omp|fista"),
    "option of another method": (call("ista", eta=3), TypeError, "'ista'|eta|lam"),
    "option lacking": (call("ista"), TypeError, "'ista'|'lam'"),
    "option misspelt": (call("omp", k=2, weight=1), TypeError, "'omp'|'weight'|weights"),
    "forward of a wrong size": (omp(A=misshapen(lambda x: x)), ValueError, "forward|(8,)|(5,)|last axis"),
    "adjoint of a wrong size": (
        omp(A=misshapen(lambda x: x @ torch.from_numpy(A.T), lambda y: y)),
        ValueError,
        "adjoint|(5,)|(8,)|last axis",
    ),
    "forward that drops the batch": (
        omp(A=misshapen(lambda x: x.sum(-1)), y=Y),
        ValueError,
        "forward|needed is|last axis",
    ),
    "A linear for real factors only": (
        omp(A=pylops.signalprocessing.FFT(8, real=True)),
        ValueError,
        "clinear is False|complex-linear|real=False",
    ),
    "physics without a shape": (omp(A=nameless_physics), ValueError, "physics|shape|from_deepinv"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_bad_input_is_named(name):
    call, error, words = ERRORS[name]
    with pytest.raises(error) as raised:
        call()
    assert [word for word in words.split("|") if word not in str(raised.value)] == [], str(raised.value)


@pytest.mark.parametrize("method", [name for name in pursuit.methods() if name not in (*PENALISED, *NEEDS, "amp")])
def test_a_solver_called_without_k_says_to_pass_it(method):
    """By its name or by `solve`, not with Python's list of the arguments that are missing."""
    solver = getattr(pursuit, method.replace("+", "_plus"))
    for solve in (lambda: solver(A, y), lambda: pursuit.solve(A, y, method=method)):
        with pytest.raises(ValueError, match=r"\bk\b.*; pass k"):
            solve()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pursuit.SubsampledFourier([], 8), "rows has shape (0,)|whole frequencies"),
        (lambda: pursuit.SubsampledFourier([0.5], 8), "float|whole frequencies"),
        (lambda: pursuit.SubsampledFourier([[0, 1]], 8), "(1, 2)|whole frequencies"),
        (lambda: pursuit.SubsampledFourier([0], 8, dtype=torch.float64), "float64|complex128"),
        (lambda: pursuit.Convolution(torch.ones(9), 8), "9 samples|n=8|length <= n"),
        (lambda: pursuit.Convolution(torch.ones(0), 8), "0 samples|1 <= length"),
        (lambda: pursuit.Convolution(torch.ones(3), 8, "reflect"), "'reflect'|'circular'|'valid'"),
        (lambda: pursuit.Compose(), "at least one"),
        (lambda: pursuit.Compose(pursuit.Dense(torch.eye(3)), pursuit.Dense(torch.eye(4))), "takes 3|gives 4"),
        (lambda: pursuit.Compose(pursuit.Dense(torch.eye(3)), pursuit.Dense(torch.eye(3) + 0j)), "differ in dtype"),
        (lambda: pursuit.ColumnScaled(pursuit.Dense(torch.eye(3)), torch.ones(4)), "scale has shape (4,)|n=3"),
        (lambda: pursuit.ColumnScaled(pursuit.Dense(torch.eye(3)), torch.ones(3) + 0j), "complex|real|complexified"),
    ],
)
def test_operators_name_what_is_wrong(make, words):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        make()
    assert [word for word in words.split("|") if word not in str(raised.value)] == [], str(raised.value)


# Forms of input.


def budget(method):
    """Arguments that every method takes, few steps."""
    return {"max_steps": 10, **({"lam": 0.1} if method in PENALISED else {"k": 2}), **NEEDS.get(method, {})}


def same(found, wanted):
    """The same solution field by field, whatever the array type."""
    for name in PARTS:
        np.testing.assert_allclose(
            np.asarray(getattr(found, name)), np.asarray(getattr(wanted, name)), rtol=1e-9, atol=1e-9
        )


def read_only(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


NUMPY_FORMS = {
    "list": np.ndarray.tolist,
    "nested tuple": lambda a: tuple(map(tuple, a)) if a.ndim == 2 else tuple(a),
    "fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "read-only": read_only,
    "big-endian": lambda a: a.astype(">f8"),
    "negative stride": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "read-only, negative stride": lambda a: read_only(np.ascontiguousarray(a[..., ::-1]))[..., ::-1],
}


@pytest.mark.parametrize("form", NUMPY_FORMS)
@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
def test_every_form_of_array_gives_numpy(form, batch):
    given = NUMPY_FORMS[form]
    measured = Y if batch else y
    weights = np.linspace(1, 2, N)
    wanted = pursuit.iht(A, measured, 2, weights=weights, x0=X0, max_steps=10)
    found = pursuit.iht(given(A), given(measured), 2, weights=given(weights), x0=given(X0), max_steps=10)
    assert all(isinstance(getattr(found, name), np.ndarray | np.generic) for name in PARTS)
    same(found, wanted)


@pytest.mark.parametrize("shape", [(1, M), (1, 1, M)])
def test_a_reversed_batch_of_one_is_a_batch(shape):
    """NumPy calls it contiguous, and its stride is negative."""
    batch = np.resize(y, shape)[::-1]
    assert min(batch.strides) < 0
    same(pursuit.omp(A, batch, 2), pursuit.omp(A, batch.copy(), 2))


PER_ITEM_FORMS = {
    "list": list,
    "numpy": np.array,
    "read-only": read_only,
    "negative stride": lambda values: np.array(values[::-1])[::-1],
    "big-endian": lambda values: np.array(values).astype(np.array(values).dtype.newbyteorder(">")),
    "unsigned": lambda values: np.array(values).astype(np.uint16 if isinstance(values[0], int) else float),
    "torch": lambda values: torch.from_numpy(np.array(values)),
}
PER_ITEM = {
    "k": ("omp", [1, 2, 3, 1], {}),
    "max_steps": ("iht", [1, 0, 3, 20], {"k": 2}),
    "tol": ("omp", [0.9, 0.5, 0.1, 1e-3], {}),
    "eta": ("iht", [0.1, 0.2, 0.0, 0.3], {"k": 2, "max_steps": 10}),
    "lam": ("ista", [0.1, 1.0, 0.0, 100.0], {"max_steps": 10}),
}


@pytest.mark.parametrize("form", PER_ITEM_FORMS)
@pytest.mark.parametrize("name", PER_ITEM)
def test_each_item_may_have_its_own(name, form):
    method, values, others = PER_ITEM[name]
    together = pursuit.solve(A, Y, method=method, **{name: PER_ITEM_FORMS[form](values)}, **others)
    for item, value in enumerate(values):
        alone = pursuit.solve(A, Y[item], method=method, **{name: value}, **others)
        np.testing.assert_allclose(together.x[item], alone.x, rtol=1e-9, atol=1e-9)
        assert together.steps[item] == alone.steps
        assert together.status[item] == alone.status


@every_method
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_torch_gives_torch_of_the_same_dtype(method, dtype):
    sol = pursuit.solve(torch.from_numpy(A).to(dtype), torch.from_numpy(Y).to(dtype), method=method, **budget(method))
    assert (sol.x.dtype, sol.residual_norm.dtype) == (dtype, torch.zeros(0, dtype=dtype).real.dtype)
    assert {sol.support.dtype, sol.steps.dtype, sol.status.dtype} == {torch.int64}


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_numpy_gives_numpy_of_the_same_dtype(method, dtype):
    sol = pursuit.solve(A.astype(dtype), Y.astype(dtype), method=method, **budget(method))
    assert (sol.x.dtype, sol.residual_norm.dtype) == (np.dtype(dtype), np.zeros(0, dtype).real.dtype)
    assert {sol.support.dtype, sol.steps.dtype, sol.status.dtype} == {np.dtype("int64")}


@pytest.mark.parametrize("method", ["omp", "ista"])
def test_y_decides_between_numpy_and_torch(method):
    torch_A, torch_y = torch.from_numpy(A), torch.from_numpy(y)
    assert isinstance(pursuit.solve(torch_A, y, method=method, **budget(method)).x, np.ndarray)
    assert isinstance(pursuit.solve(A, torch_y, method=method, **budget(method)).x, torch.Tensor)


@every_method
@every_batch
@pytest.mark.parametrize("array", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_nothing_is_squeezed(method, batch, array):
    sol = pursuit.solve(array(A), array(np.broadcast_to(y, (*batch, M))), method=method, **budget(method))
    assert tuple(sol.x.shape) == (*batch, N)
    assert tuple(sol.support.shape[:-1]) == batch
    assert tuple(sol.residual_norm.shape) == tuple(sol.steps.shape) == tuple(sol.status.shape) == batch


@pytest.mark.parametrize("method", GREEDY)
@pytest.mark.parametrize("k", [1, 3])
def test_support_has_k_places(method, k):
    assert pursuit.solve(A, Y, method=method, k=k, max_steps=5, **NEEDS.get(method, {})).support.shape == (4, k)


@every_method
@pytest.mark.parametrize(
    ("of_A", "of_y", "batch"), [((3,), (), (3,)), ((1,), (2,), (2,)), ((2, 1), (3,), (2, 3)), ((), (0,), (0,))], ids=str
)
def test_batches_of_A_and_y_combine(method, of_A, of_y, batch):
    matrices = rng().standard_normal((*of_A, M, N))
    measured = rng(1).standard_normal((*of_y, M))
    sol = pursuit.solve(matrices, measured, method=method, **budget(method))
    assert sol.x.shape == (*batch, N)
    for item in np.ndindex(batch):
        one_A = np.broadcast_to(matrices, (*batch, M, N))[item]
        alone = pursuit.solve(one_A, np.broadcast_to(measured, (*batch, M))[item], method=method, **budget(method))
        np.testing.assert_allclose(sol.x[item], alone.x, rtol=1e-7, atol=1e-7)


@every_method
def test_real_A_takes_complex_y(method):
    complex_y = Y + 1j * Y[::-1]
    same(
        pursuit.solve(A, complex_y, method=method, **budget(method)),
        pursuit.solve(A + 0j, complex_y, method=method, **budget(method)),
    )


@every_method
def test_complex_A_takes_real_y(method):
    complex_A = A + 1j * A[::-1]
    same(
        pursuit.solve(complex_A, Y, method=method, **budget(method)),
        pursuit.solve(complex_A, Y + 0j, method=method, **budget(method)),
    )


@every_method
@pytest.mark.parametrize("array", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_inputs_stay_as_they_were(method, array):
    given = {"A": array(A), "y": array(Y)} | ({"x0": array(X0)} if method in (*ITERATIVE, "amp") else {})
    if method not in (*PENALISED, "amp"):
        given[WEIGHTS.get(method, "weights")] = array(np.linspace(0, 1, N))
    before = {name: np.asarray(values).copy() for name, values in given.items()}
    sol = pursuit.solve(**given, method=method, tol=array([0.1, 0.2, 0.3, 0.0]), **budget(method))
    sol.x[...] = 7  # nor does the answer share their memory
    for name, values in before.items():
        np.testing.assert_array_equal(np.asarray(given[name]), values)


def test_on_step_sees_numpy_for_numpy():
    history = []
    pursuit.omp(A, Y, 2, on_step=history.append)
    assert [h.step for h in history] == [1, 2]
    assert all(isinstance(v, np.ndarray) for h in history for v in (h.x, h.residual_norm, h.status))


# Properties.


@st.composite
def instances(draw):
    """Any small problem: wide, tall or square, any batch, with duplicate or zero columns and zero signals."""
    m, n = draw(st.integers(1, 8)), draw(st.integers(1, 10))
    batch = draw(st.sampled_from([(), (1,), (3,), (2, 2), (0,)]))
    k = draw(st.integers(1, min(m, n)))
    dtype = draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    A = torch.randn(*draw(st.sampled_from([(), batch])), m, n, dtype=dtype, generator=generator)
    y = torch.randn(*batch, m, dtype=dtype, generator=generator)  # as many signals as measurements: see `rows`
    match draw(st.sampled_from(["as drawn", "zero column", "duplicate column", "zero signal", "exact", "zero matrix"])):
        case "zero column":
            A[..., draw(st.integers(0, n - 1))] = 0
        case "duplicate column":
            A[..., draw(st.integers(0, n - 1))] = A[..., 0]
        case "zero signal":
            y = torch.zeros_like(y)
        case "exact":
            y = A.sum(-1).expand_as(y)
        case "zero matrix":
            A = torch.zeros_like(A)
    return A * draw(st.sampled_from([1, 1e-3, 1e3])), y, k


@pytest.mark.parametrize("method", GREEDY)
@settings(deadline=None, max_examples=40, derandomize=True, database=None)
@given(instance=instances())
def test_every_greedy_answer_is_consistent(method, instance):
    A, y, k = instance
    with rows_for_sure():
        sol = pursuit.solve(A, y, method=method, k=k, max_steps=15, **NEEDS.get(method, {}))
    assert sol.x.isfinite().all()
    assert sol.support.shape == (*y.shape[:-1], k)
    assert set(sol.status.flatten().tolist()) <= set(Status) - {Status.RUNNING}

    for x, support in zip(sol.x.reshape(-1, A.shape[-1]), sol.support.reshape(-1, k), strict=True):
        found = [j for j in support.tolist() if j >= 0]
        assert sorted(found) == x.nonzero().flatten().tolist()
        assert support.tolist() == found + [-1] * (k - len(found))

    residual = torch.linalg.vector_norm(y - (A @ sol.x.unsqueeze(-1)).squeeze(-1), dim=-1)
    # Backward stable: rounding is that of the products summed up, however ill-conditioned the chosen columns are.
    summed = torch.linalg.vector_norm(y.abs() + (A.abs() @ sol.x.abs().unsqueeze(-1)).squeeze(-1), dim=-1)
    assert ((residual - sol.residual_norm).abs() <= 100 * torch.finfo(y.dtype).eps * summed).all()
