"""What people bring, written as they write it: it is taken, or refused with the way that works."""

import inspect
import re
from functools import partial

import dask.array
import numpy as np
import pandas as pd
import pylops
import pytest
import scipy.fft
import scipy.sparse
import scipy.sparse.linalg
import torch
import xarray as xr

import pursuit
from helpers import ITERATIVE

M, N, ATOMS = 30, 60, [5, 17, 40]
rng = np.random.default_rng(0)
A = rng.standard_normal((M, N))
x = np.zeros(N)
x[ATOMS] = [0.4, -0.3, 0.2]
y = A @ x
Z = A + 1j * rng.standard_normal((M, N))
z = Z @ x
NAMES = [f"gene {j}" for j in range(N)]


def refused(call, *words, error=ValueError):
    """The message, if the call is refused with these words."""
    with pytest.raises(error) as raised:
        call()
    message = str(raised.value)
    assert [word for word in words if word not in message] == [], message
    return message


def right(sol, dtype=None):
    assert sorted(np.asarray(sol.support).tolist()) == ATOMS
    np.testing.assert_allclose(np.asarray(sol.x, dtype=np.complex128), x, atol=2e-3)
    assert dtype is None or sol.x.dtype == dtype


# Layout: what has one reading is taken, what has two is asked for, with the call for each.


def passed(message, **arrays):
    """The calls that a message names, one list of arguments per reading, evaluated."""
    advice = [part.partition(", pass ")[2].rstrip(".") for part in message.split("If ")[1:]]
    calls = [part.strip().rstrip(".").split(" and ") for part in advice]
    return [[eval(text, {"pursuit": pursuit, "np": np, **arrays}) for text in call] for call in calls]


def test_a_square_y_is_asked_for():
    Y = rng.standard_normal((M, M))
    message = refused(lambda: pursuit.omp(A, Y, 3), "(30, 30)", "pursuit.rows(y)", "pursuit.rows(y.T)")
    (rows,), (columns,) = passed(message, y=Y)
    for j in range(0, M, 7):
        np.testing.assert_allclose(pursuit.omp(A, rows, 3).x[j], pursuit.omp(A, Y[j], 3).x)
        np.testing.assert_allclose(pursuit.omp(A, columns, 3).x[j], pursuit.omp(A, Y[:, j], 3).x)


def test_a_covariance_is_asked_for():
    """Of 16 antennas: by rows the spectrum is mirrored."""
    grid = np.linspace(-1, 1, 81)
    steering = np.exp(1j * np.pi * np.outer(np.arange(16), grid)) / 4
    sources = np.zeros((81, 200), complex)
    sources[[50, 68]] = rng.standard_normal((2, 200)) + 1j * rng.standard_normal((2, 200))
    R = np.cov(steering @ sources)
    (_, (columns,)) = passed(refused(lambda: pursuit.omp(steering, R, 2)), y=R)
    assert set(pursuit.omp(steering, columns, 2).support.flat) == {50, 68}


def test_real_and_imaginary_parts_are_asked_for():
    parts = np.stack([z.real, z.imag], -1)
    message = refused(lambda: pursuit.omp(Z, parts, 3), "(30, 2)", "real and imaginary parts", "the columns of y")
    (columns,), (numbers,) = passed(message, y=parts)
    right(pursuit.omp(Z, numbers, 3))
    assert pursuit.omp(Z, columns, 3).x.shape == (2, N)
    assert "imaginary" not in refused(lambda: pursuit.omp(A, parts, 3), "y.T")  # A is real


def test_a_batch_of_matrices_beside_one_y_is_asked_for_where_they_may_be_patterns():
    """Of a single-pixel camera, as many as each has rows."""
    patterns = rng.integers(0, 2, (32, 32, 32))
    image = np.zeros((32, 32))
    image[4, 5] = image[20, 11] = 100
    measured = np.tensordot(patterns, image, 2)
    message = refused(lambda: pursuit.omp(patterns, measured, 2), "(32, 32, 32)", "batch of 32 matrices", "pattern")
    (batch,), (flat,) = passed(message, A=patterns, y=measured)
    assert pursuit.omp(batch, measured, 2).x.shape == (32, 32)
    np.testing.assert_allclose(pursuit.omp(flat, measured, 2).x.reshape(32, 32), image, atol=1e-9)
    refused(lambda: pursuit.omp(patterns[:, :16], measured, 2), "m=16", "pass A.reshape(32, -1)")


def test_a_dictionary_with_atoms_in_rows_is_named():
    refused(lambda: pursuit.omp(A.T, y, 3), "(30,)", "m=60", "the atoms are the rows of A, pass A.T")
    W = rng.standard_normal((256, 32))
    message = refused(lambda: pursuit.omp(W, W, 1), "columns of y are the signals, pass y.T", "rows of A, pass A.T")
    (_, (dictionary,)) = passed(message, A=W, y=W)
    assert pursuit.omp(dictionary, W, 1).support[:, 0].tolist() == list(range(256))


def test_three_axes_of_which_two_fit_are_asked_for():
    """Pilots x symbols x antennas, as many antennas as pilots."""
    Y = rng.standard_normal((M, 4, M))
    message = refused(lambda: pursuit.omp(A, Y, 3), "axis 2 of y", "axis 0 of y", "pursuit.rows(y.swapaxes(0, -1))")
    (last,), (first,) = passed(message, y=Y)
    np.testing.assert_allclose(pursuit.omp(A, last, 3).x[2, 1], pursuit.omp(A, Y[2, 1], 3).x)
    np.testing.assert_allclose(pursuit.omp(A, first, 3).x[2, 1], pursuit.omp(A, Y[:, 1, 2], 3).x)
    refused(lambda: pursuit.omp(A, Y[:, :, :5], 3), "axis 0 of y holds the measurements", "pass y.swapaxes(0, -1)")


def test_hints_lead_to_a_call_that_is_taken():
    """Whatever the shapes: what a message says to pass is not asked for again."""
    asked = 0
    for seed in range(400):
        draw = np.random.default_rng(seed)
        sizes = draw.integers(1, 4, 8)
        matrix = draw.standard_normal(sizes[: draw.integers(2, 4)]) + (1j if draw.random() < 0.5 else 0)
        given = draw.standard_normal(sizes[4 : 4 + draw.integers(1, 4)])
        try:
            pursuit.omp(matrix, given, 1)
        except ValueError as error:
            message = str(error)
        else:
            continue
        for part in message.split("If ")[1:]:
            texts = part.partition(", pass ")[2].strip().rstrip(".").split(" and ")
            values = {text: eval(text, {"pursuit": pursuit, "A": matrix, "y": given}) for text in texts}
            new_A = next((v for text, v in values.items() if "A" in text), matrix)
            new_y = next((v for text, v in values.items() if "A" not in text), given)
            pursuit.omp(new_A, new_y, 1)
            asked += 1
    assert asked > 100


def test_every_function_that_takes_y_takes_rows():
    Y = rng.standard_normal((M, M))
    rows = pursuit.rows(Y)
    assert pursuit.solve(A, rows, "iht", k=3).x.shape == (M, N)
    assert pursuit.path(A, rows, [1, 2]).x.shape == (2, M, N)
    assert pursuit.path(A, rows, [1, 2], method="iht").x.shape == (2, M, N)
    assert pursuit.ista(A, pursuit.rows(torch.from_numpy(Y)), 0.1, max_steps=5).x.shape == (M, N)
    np.testing.assert_array_equal(pursuit.omp(A, pursuit.rows(y), 3).x, pursuit.omp(A, y, 3).x)
    refused(lambda: pursuit.path(A, Y, [1, 2]), "pursuit.rows(y.T)")


# Array kinds keep their meaning.


def masked(values):
    mask = np.zeros(values.shape, bool)
    mask.flat[3] = True
    return np.ma.masked_array(values, mask=mask)


@pytest.mark.parametrize("what", ["y", "A", "x0", "weights"])
def test_masked_entries_are_refused(what):
    given = {"A": A, "y": y, "x0": x, "weights": np.ones(N)} | {}
    given[what] = masked(given[what])
    way = {"y": "Take the rows out", "A": "A[:, ~A.mask.any(axis=0)]"}.get(what, f"{what}.filled(0)")
    refused(lambda: pursuit.iht(**given, k=3), f"{what} has 1 masked entries", way)
    given[what] = np.ma.masked_array(np.asarray(given[what]))  # nothing is masked
    pursuit.iht(**given, k=3)


def test_masked_entries_in_a_list_are_refused():
    refused(lambda: pursuit.omp(A, [masked(y), y], 3), "masked")


def test_what_the_message_says_about_masked_entries_is_right():
    """Missing pixels, others in each patch."""
    X = np.zeros((10, N))
    X[:, ATOMS] = [1, -1, 2]
    seen = rng.random((10, M)) < 0.8
    Y = np.ma.masked_array(np.where(seen, X @ A.T, -999.0), mask=~seen)
    refused(lambda: pursuit.omp(A, Y, 3), "pursuit.Compose(pursuit.Diagonal(~y.mask), pursuit.as_operator(A))")
    zeroed = pursuit.Compose(pursuit.Diagonal(~Y.mask), pursuit.as_operator(A))
    np.testing.assert_allclose(pursuit.omp(zeroed, Y.filled(0), 3).x, X, atol=1e-12)
    for same in (Y[0], Y[[0, 0]]):
        message = refused(lambda same=same: pursuit.omp(A, same, 3), "Take the rows out")
        seen = eval(message.partition("seen = ")[2].partition(";")[0], {"y": same})
        np.testing.assert_allclose(
            pursuit.omp(A[seen], same[..., seen].data, 3).x,
            X[: len(same) if same.ndim > 1 else 1].reshape(*same.shape[:-1], N),
            atol=1e-12,
        )
    with pytest.warns(UserWarning, match="prototype"):
        tensor = torch.masked.masked_tensor(torch.from_numpy(y), torch.arange(M) > 2)
    refused(lambda: pursuit.omp(A, tensor, 3), "masked tensor", "y.to_tensor(0)", error=TypeError)


class Quantity:
    """What units look like: pint's, whose numbers have a magnitude and units."""

    def __init__(self, magnitude, units):
        self.magnitude, self._units = magnitude, units

    units = property(lambda self: self._units)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.magnitude)


@pytest.mark.parametrize("what", ["y", "A", "x0", "weights"])
def test_units_are_refused(what):
    given = {"A": A, "y": y, "x0": x, "weights": np.ones(N)}
    plain = given[what]
    given[what] = Quantity(plain, "millivolt")
    refused(lambda: pursuit.iht(**given, k=3), f"{what} is a Quantity in millivolt", "magnitude", error=TypeError)
    given[what] = Quantity(plain, "dimensionless")
    pursuit.iht(**given, k=3)


def test_units_of_astropy_and_pint_are_refused():
    units = pytest.importorskip("astropy.units", reason="astropy is not needed for anything else")
    refused(lambda: pursuit.omp(A * units.V, y * 1000 * units.mV, 3), "in mV", "to_value('mV')", error=TypeError)
    right(pursuit.omp(A, (y * 1000 * units.mV).to_value("V"), 3))
    pint = pytest.importorskip("pint", reason="pint is not needed for anything else")
    volt = pint.UnitRegistry().volt
    refused(lambda: pursuit.omp(A, y * volt, 3), "in volt", "y.magnitude", error=TypeError)
    refused(lambda: pursuit.omp(A, [v * volt for v in y], 3), "in volt", error=TypeError)
    refused(lambda: pursuit.omp(A, xr.DataArray(y * volt), 3), "in volt", error=TypeError)


def test_a_column_named_units_is_no_unit():
    right(pursuit.omp(pd.DataFrame(A, columns=["unit", "units", *NAMES[2:]]), y, 3))


def test_a_boolean_sampling_mask_is_a_mask():
    n = 64
    mask = rng.random(n) < 0.5
    signal = np.zeros(n)
    signal[[5, 20, 41]] = [1, -2, 1.5]
    kspace = np.fft.fft(signal) / np.sqrt(n)
    fourier = pursuit.SubsampledFourier(mask, n, scale=1 / np.sqrt(n))
    assert fourier.shape == (mask.sum(), n)
    assert set(pursuit.omp(fourier, kspace[mask], 3).support) == {5, 20, 41}
    assert pursuit.SubsampledFourier(mask.tolist(), n).shape == fourier.shape
    message = refused(lambda: pursuit.omp(fourier, kspace * mask, 3), f"m={mask.sum()}", "pass y[..., rows]")
    assert "A.T" not in message  # an operator has none
    refused(lambda: pursuit.SubsampledFourier(mask[:9], n), "mask of shape (9,)", "(64,)")


def test_a_cast_that_drops_an_imaginary_part_is_refused():
    complex_x = x + 1j
    refused(lambda: pursuit.iht(A, y, 3, x0=complex_x), "x0 is complex", error=TypeError)
    refused(lambda: pursuit.omp(A, y, 3, weights=complex_x), "weights are complex", error=TypeError)
    refused(lambda: pursuit.Diagonal(complex_x, dtype=torch.float64), "imaginary part", error=TypeError)
    refused(lambda: pursuit.omp(A, y, 3, tol=1j), "tol")


# Taken as it comes.


class OnTheGpu:
    """What CuPy's arrays look like: NumPy may not read them, torch may."""

    def __init__(self, values):
        self.values = torch.from_numpy(values)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


KINDS = {
    "lists": np.ndarray.tolist,
    "pandas": lambda v: pd.DataFrame(v) if v.ndim == 2 else pd.Series(v),
    "xarray": xr.DataArray,
    "dask": dask.array.from_array,
    "objects": lambda v: v.astype(object),
    "dlpack": OnTheGpu,
    "memory of Python": lambda v: memoryview(v) if v.ndim == 1 else np.asarray(memoryview(v)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_array_is_taken(kind):
    given = KINDS[kind]
    sol = pursuit.omp(given(A), given(y), 3)
    right(sol, torch.float64 if kind == "dlpack" else np.float64)
    right(pursuit.omp(A, given(y), 3))
    right(pursuit.omp(given(A), y, 3), np.float64)
    right(pursuit.iht(A, y, 3, x0=given(x), weights=given(np.ones(N)), eta=0.1))


def test_arrays_of_packages_that_the_library_does_not_need_are_taken(tmp_path):
    jax = pytest.importorskip("jax.numpy", reason="JAX is not needed for anything else")
    right(pursuit.omp(jax.asarray(A), jax.asarray(y), 3), np.float32)
    right(pursuit.omp(A, jax.asarray(y, dtype="bfloat16"), 3))
    h5py, zarr = (pytest.importorskip(name, reason="an extra") for name in ("h5py", "zarr"))
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["Z"], file["z"] = Z, z
        right(pursuit.omp(file["Z"], file["z"], 3), np.complex128)
    right(pursuit.omp(zarr.array(A), zarr.array(y), 3), np.float64)
    polars = pytest.importorskip("polars", reason="an extra")
    sol = pursuit.omp(polars.DataFrame(A, schema=NAMES), polars.Series(y), 3)
    right(sol, np.float64)


def test_a_mapped_file_is_not_copied(tmp_path):
    matrix = rng.standard_normal((200, 2000))
    np.save(tmp_path / "A.npy", matrix)
    mapped = np.load(tmp_path / "A.npy", mmap_mode="r")
    operator = pursuit.as_operator(mapped)
    assert operator.matrix.data_ptr() == mapped.ctypes.data
    y = matrix[:, 7] - matrix[:, 1999]
    assert set(pursuit.omp(mapped, y, 2).support) == {7, 1999}
    for method in ("iht", "sea", "els", "fista"):
        pursuit.solve(mapped, y, method, **options_of(method), max_steps=3)  # a write would end the process
    np.testing.assert_array_equal(np.load(tmp_path / "A.npy"), matrix)


WHOLE = ("bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_numbers_are_taken(dtype):
    """In the precision of the other of A and y, else in double."""
    counts, pixels = (100 + 20 * y).round().astype(dtype), (A > 0).astype(dtype)
    for given, used in ((np.float64, np.float64), (np.float32, np.float32)):
        found = pursuit.omp(A.astype(given), counts, 3)
        wanted = pursuit.omp(A.astype(used), counts.astype(used), 3)
        np.testing.assert_array_equal(found.x, wanted.x)
        assert found.x.dtype == used
        np.testing.assert_array_equal(pursuit.omp(pixels, y.astype(given), 3).x, pursuit.omp(
            pixels.astype(used), y.astype(used), 3).x)  # fmt: skip
    labels = pursuit.omp(A, (y > 0).astype(dtype), 3, loss=pursuit.Logistic())
    np.testing.assert_array_equal(labels.x, pursuit.omp(A, (y > 0).astype(float), 3, loss=pursuit.Logistic()).x)
    both = pursuit.omp(pixels, counts, 3)
    assert both.x.dtype == np.float64
    np.testing.assert_array_equal(both.x, pursuit.omp(pixels.astype(float), counts.astype(float), 3).x)
    np.testing.assert_array_equal(both.x, pursuit.omp(torch.from_numpy(pixels), torch.from_numpy(counts), 3).x)
    np.testing.assert_allclose(both.x, pursuit.omp(scipy.sparse.csr_array(pixels), counts, 3).x)


@pytest.mark.parametrize("kind", ["LinearOperator", "functions", "norms", "NumPy functions", "pylops"])
@pytest.mark.parametrize("of_A", ["float32", "complex64"])
def test_functions_in_single_precision_take_y_in_double(kind, of_A):
    """Where they compute in the precision of their input, as a matrix does: to the last digit of a double."""
    matrix = (rng.standard_normal((12, 30)) + (1j * rng.standard_normal((12, 30)) if "c" in of_A else 0)).astype(of_A)
    there, back, single = (lambda x: x @ matrix.T), (lambda v: v @ matrix.conj()), getattr(torch, of_A)
    norms = np.linalg.norm(matrix, axis=0)
    make = {
        "LinearOperator": lambda: scipy.sparse.linalg.aslinearoperator(matrix),
        "functions": lambda: pursuit.FunctionOperator(
            lambda x: (x.unsqueeze(-2) * torch.from_numpy(matrix)).sum(-1),
            lambda v: (v.unsqueeze(-1) * torch.from_numpy(matrix).conj()).sum(-2),
            (12, 30), dtype=single,
        ),
        "norms": lambda: pursuit.FunctionOperator(there, back, (12, 30), dtype=single, column_norms=norms),
        "NumPy functions": lambda: pursuit.FunctionOperator(there, back, (12, 30), dtype=single),
        "pylops": lambda: pylops.MatrixMult(matrix, dtype=of_A),
    }  # fmt: skip
    y = matrix[:, 3].astype(np.result_type(of_A, np.float64)) / 3 + matrix[:, 7]
    found = pursuit.omp(make[kind](), y, 2)
    assert found.x.dtype == y.dtype
    np.testing.assert_allclose(found.x, pursuit.omp(matrix, y, 2).x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("of_A", ["float16", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("of_y", ["float16", "float32", "float64", "complex64", "complex128"])
def test_mixed_precision_is_solved_in_the_wider_and_answered_in_that_of_y(of_A, of_y):
    matrix, measured = A.astype(of_A), y.astype(of_y)
    sol = pursuit.omp(matrix, measured, 3)
    wide = np.result_type(matrix, measured, np.float32)
    wanted = pursuit.omp(matrix.astype(wide), measured.astype(wide), 3)
    assert sol.residual_norm.dtype == wanted.residual_norm.dtype
    expected = wanted.x.astype(np.result_type(np.complex64, of_y) if wide.kind == "c" else of_y)
    assert sol.x.dtype == expected.dtype
    np.testing.assert_array_equal(sol.x, expected)
    as_torch = pursuit.omp(torch.from_numpy(matrix), torch.from_numpy(measured), 3)
    np.testing.assert_array_equal(as_torch.x.numpy(), expected)
    sparse = scipy.sparse.csr_array(matrix.astype(np.result_type(matrix, np.float32)))
    np.testing.assert_allclose(pursuit.omp(sparse, measured, 3).x, expected, atol=1e-3)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", pursuit.methods())
def test_half_precision_gives_the_answer_of_single_precision(method, half):
    options = {"lam": 0.1} if "ista" in method else {"k": 3, "lam": 0.1} if method == "greedy_lasso" else {"k": 3}
    matrix, measured = torch.from_numpy(A).float(), torch.from_numpy(np.stack([y, -2 * y])).to(half)
    sol = pursuit.solve(matrix, measured, method, **options, max_steps=20)
    wanted = pursuit.solve(matrix, measured.float(), method, **options, max_steps=20)
    assert sol.x.dtype == half
    assert torch.equal(sol.x, wanted.x.to(half))
    assert torch.equal(sol.support, wanted.support)
    assert torch.equal(sol.residual_norm, wanted.residual_norm)


def test_half_precision_that_cannot_hold_x_is_refused():
    refused(lambda: pursuit.omp(A * 1e-7, y.astype(np.float16), 3), "leaves the range of torch.float16", "scale y or A")


def test_gradients_pass_through_mixed_precision():
    matrix = torch.from_numpy(A).requires_grad_()
    measured = torch.from_numpy(y).half().requires_grad_()
    pursuit.omp(matrix, measured, 3).x.sum().backward()
    assert measured.grad.dtype == torch.float16
    assert measured.grad.isfinite().all()
    assert matrix.grad.abs().sum() > 0


def test_numbers_that_are_objects_are_taken_and_others_named():
    table = pd.DataFrame({"a": [1, 2, 3], "b": [True, False, True], "c": [0.5, 1, 2]})
    assert pursuit.omp(table, [2.0, 0.0, 2.0], 1).support.tolist() == [1]
    refused(lambda: pursuit.omp(A, [*y[:-1], None], 3), "None", "(29,)", error=TypeError)
    refused(lambda: pursuit.omp(A, pd.array([*y[:-1], pd.NA]), 3), "NaN", "(29,)")
    refused(lambda: pursuit.omp(table.assign(b=["x", "y", "z"]), np.ones(3), 1), "'x'", "(0, 1)", error=TypeError)
    refused(lambda: pursuit.omp(A, ["0.1"] * M, 3), "y has dtype", "float64", error=TypeError)


def test_complex_numbers_as_fields_are_taken():
    """As MATLAB's files, read through h5py, have them."""
    for fields in (("real", "imag"), ("r", "i"), ("re", "im")):
        parts = np.zeros(M, [(name, "f8") for name in fields])
        parts[fields[0]], parts[fields[1]] = z.real, z.imag
        right(pursuit.omp(Z, parts, 3), np.complex128)
    refused(lambda: pursuit.omp(A, np.zeros(M, [("a", "f8"), ("b", "f8")]), 3), "y has dtype", error=TypeError)


def test_a_sparse_y_says_how_to_make_it_dense():
    refused(lambda: pursuit.omp(A, scipy.sparse.csr_matrix(y), 3), "(1, 30)", "y.toarray()", error=TypeError)
    refused(lambda: pursuit.omp(torch.from_numpy(A), torch.from_numpy(y).to_sparse(), 3), "y.to_dense()")


def test_tables_whose_rows_do_not_match_are_refused():
    """A regression of y on A by position, where the labels say otherwise."""
    table, values = pd.DataFrame(A, columns=NAMES), pd.Series(y)
    shuffled = values.sample(frac=1, random_state=0)
    refused(lambda: pursuit.omp(table, shuffled, 3), "same labels in another order", "y.loc[A.index]")
    right(pursuit.omp(table, shuffled.loc[table.index], 3))
    right(pursuit.omp(table, shuffled.loc[table.index].to_numpy(), 3))
    refused(lambda: pursuit.omp(table, values.rename(index=lambda i: i + 1), 3), "other labels", "y.to_numpy()")
    labelled, signals = table.set_axis([f"s{i}" for i in range(M)]), pd.DataFrame([y, y], columns=table.index)
    right(pursuit.omp(labelled, signals.iloc[0].to_numpy(), 3))
    assert pursuit.omp(labelled, signals, 3).x.shape == (2, N), "columns that are only numbered say nothing"
    names = signals.set_axis(labelled.index, axis=1)
    assert pursuit.omp(labelled, names, 3).x.shape == pursuit.omp(table, names, 3).x.shape == (2, N)
    refused(lambda: pursuit.omp(labelled, names.iloc[:, ::-1], 3), "columns of y", "another order", "y[A.index]")
    assert (pursuit.omp(labelled, names.iloc[:, ::-1][labelled.index], 3).residual_norm < 1e-9).all()
    refused(lambda: pursuit.omp(labelled, names.rename(columns={"s0": "t"}), 3), "other labels", "y.to_numpy()")
    square = pd.DataFrame(np.tile(y, (M, 1)), [f"p{i}" for i in range(M)], labelled.index)
    pursuit.omp(labelled, pursuit.rows(square), 3)
    refused(
        lambda: pursuit.omp(labelled, pursuit.rows(square.T), 3),
        "index of y has the labels of the meas",
        "y.loc[A.index].T",
    )
    lead, time = xr.DataArray(A, dims=("channel", "atom")), xr.DataArray(np.stack([y, y], 1), dims=("channel", "time"))
    refused(lambda: pursuit.omp(lead, time, 3), "'channel'", "y.transpose(..., 'channel')")
    assert pursuit.omp(lead, time.transpose(..., "channel"), 3).x.shape == (2, N)


def spectra():
    nm, atoms = np.linspace(400, 700, M).round(1), [f"c{j}" for j in range(N)]
    return pd.DataFrame(A, nm, atoms), pd.Series(y, nm), pd.Series(x, atoms)


def test_labels_of_weights_starts_and_truths_are_those_of_the_columns():
    table, values, true = spectra()
    weights = (true != 0) + 1.0
    for name, call in {
        "weights": lambda w: pursuit.omp(table, values, k=3, weights=w),
        "x0": lambda x0: pursuit.iht(table, values, k=3, x0=x0),
        "x": lambda truth: pursuit.compare(table, values, k=3, x=truth, methods=["omp"]),
        "penalty_weights": lambda w: pursuit.greedy_lasso(table, values, 3, lam=0.01, penalty_weights=w),
    }.items():
        given = weights if "weights" in name else true
        call(given)
        call(given.to_numpy())
        call(pd.Series(given.to_numpy()))  # an index that only counts says nothing
        said = (f"the index of {name} has the same labels in another order than the columns of A", "column 0 (from 0)")
        refused(partial(call, given[::-1]), *said, f"pass {name}.loc[A.columns]")
        refused(partial(call, given.rename(index={"c0": "d0"})), "'d0' in", "other labels")
    each = pd.DataFrame([weights, weights])
    two = np.stack([y, y])
    np.testing.assert_allclose(pursuit.omp(table, two, k=3, weights=each).x, [x, x], atol=1e-9)
    for size in ({}, {"batch_size": 1}):
        refused(
            partial(pursuit.solve, table, two, k=3, weights=each[each.columns[::-1]], **size),
            "the columns of weights have the same",
            "weights[A.columns]",
        )


def test_an_operator_made_from_a_table_knows_its_rows():
    table, values, _ = spectra()
    op = pursuit.as_operator(table)
    right(pursuit.omp(op, values, k=3))
    refused(lambda: pursuit.omp(op, values[::-1], k=3), "same labels in another order", "'700' in y and '400' in A")
    refused(lambda: pursuit.omp(op.complexified(), values[::-1], k=3), "same labels in another order")
    two = pd.DataFrame([values, values])
    for held in (table, op):
        refused(
            partial(pursuit.solve, held, two[two.columns[::-1]], k=3, batch_size=1), "the columns of y have the same"
        )
    refused(lambda: pursuit.on_real_signals(table * (1 + 1j), values[::-1]), "same labels in another order")
    turned, parts = pursuit.on_real_signals(table * (1 + 1j), values * (1 + 1j))
    assert set(pursuit.omp(turned, parts, k=3).atoms) == {f"c{j}" for j in ATOMS}


def test_labels_that_are_numbers_are_equal_as_numbers():
    table, values, _ = spectra()
    for index in (values.index.astype(str), [f"{at:.3f}" for at in values.index]):
        right(pursuit.omp(table, values.set_axis(index), k=3))
        right(pursuit.omp(table.set_axis(index), values, k=3))
    ids = 10**12 + np.arange(M)  # which are equal to nine digits
    refused(lambda: pursuit.omp(table.set_axis(ids), values.set_axis(ids[::-1]), k=3), "same labels in another order")


def test_labels_that_repeat_are_not_looked_up():
    table, values, _ = spectra()
    repeats = ["a"] * 15 + ["b"] * 15
    with pytest.raises(ValueError, match=r"the order of the rows of A, whose labels repeat, or y\.to_num") as error:
        pursuit.omp(table.set_axis(repeats), values.set_axis(repeats[::-1]), k=3)
    assert "loc" not in str(error.value)


def test_coordinates_of_xarray_are_labels():
    lead = xr.DataArray(A, {"nm": np.arange(M) * 2.5}, ("nm", "atom"))
    right(pursuit.omp(lead, xr.DataArray(y, lead.coords, ("nm",)), 3))
    refused(lambda: pursuit.omp(lead, xr.DataArray(y, lead.coords, ("nm",))[::-1], 3), "same labels in another order")


def test_records_of_real_and_imaginary_part_are_complex_whatever_their_names():
    for fields in (("I", "Q"), ("i", "q"), ("Q", "I"), ("real", "imag"), ("Re", "Im"), ("r", "i")):
        records = np.zeros(M, [(name, "f8") for name in fields])
        real, imag = fields if fields != ("Q", "I") else fields[::-1]
        records[real], records[imag] = z.real, z.imag
        right(pursuit.omp(Z, records, 3), np.complex128)


# Within torch.autocast, as in training with mixed precision.


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


def options_of(method):
    more = {"lam": 0.1} if "ista" in method or method == "greedy_lasso" else {}
    return more if "ista" in method else {"k": 3, **more}


@pytest.mark.parametrize("method", pursuit.methods())
def test_solvers_do_not_lose_precision_within_autocast(method):
    matrix, measured = torch.from_numpy(A).float(), torch.from_numpy(np.stack([y, 2 * y])).float()
    wanted = pursuit.solve(matrix, measured, method, **options_of(method), max_steps=20)
    with autocast():
        found = pursuit.solve(matrix, measured, method, **options_of(method), max_steps=20)
        again = pursuit.solve(matrix, measured, method, **options_of(method), max_steps=20, on_step=lambda step: None)
    for sol in (found, again):
        assert sol.x.dtype == torch.float32
        torch.testing.assert_close(sol.x, wanted.x, rtol=1e-4, atol=1e-5)
        assert torch.equal(sol.status, wanted.status)
    np.testing.assert_array_equal(found.x, wanted.x)


def test_what_is_made_of_solvers_does_not_lose_precision_within_autocast():
    matrix, measured = torch.from_numpy(A).float(), torch.from_numpy(y).float()
    X = torch.linspace(0, 1, N)
    calls = [
        lambda: pursuit.path(matrix, measured, [1, 3], method="iht").x,
        lambda: pursuit.straight_through.sparsify(matrix, measured, X, k=3),
        lambda: pursuit.make_solver(*iht_of_my_own(), name="mine")(matrix, measured, 3, max_steps=9).x,
    ]
    for call in calls:
        wanted = call()
        with autocast():
            assert torch.equal(call(), wanted)


def iht_of_my_own():
    from pursuit.solvers.on_support import State

    def init(A, y, choice):
        return State(y.new_zeros(*y.shape[:-1], A.shape[1]), y, choice.empty(y, A.shape[1]))

    def step(A, y, s, *, choice):
        x = s.x + 0.3 * A.adjoint(s.r)
        atoms = choice.best(x)
        x = atoms.keep(x)
        return State(x, A.residual(y, x), atoms)

    return init, step


ISTA_FAMILY = ("LISTA", "LISTACP", "LISTACPSS", "TiLISTA", "ALISTA", "ALISTAAT", "AGLISTA", "GLISTA")
GREEDY_OPTIONS = {"k": 3, "layers": 3, "tau": 1e-2}
NETWORKS = {
    "OMPNet": {"layers": 3, "tau": 1e-2},
    "IHTNet": GREEDY_OPTIONS,
    "CoSaMPNet": GREEDY_OPTIONS,
    "SPNet": GREEDY_OPTIONS,
    "HTPNet": GREEDY_OPTIONS,
    "SEANet": {"k": 3, "layers": 3},
    **{name: {"layers": 3} for name in ISTA_FAMILY},
    "NAALISTA": {"layers": 3, "sparsity": 3, "hidden": 6},
    "HyperLISTA": {"layers": 3, "c_theta": 0.03, "c_beta": 0.02, "c_ss": 0.4},
    "LAMP": {"layers": 3, "sparsity": 3},
}


def network(name, matrix, measured):
    torch.manual_seed(0)
    net = getattr(pursuit.nets, name)(matrix, **NETWORKS[name]).eval()
    if hasattr(net, "prepare"):
        net.prepare(measured)
    return net


def test_all_networks_are_listed():
    kinds = {name: getattr(pursuit.nets, name) for name in pursuit.nets.__all__ if name[0].isupper()}
    modules = {name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, torch.nn.Module)}
    assert modules | {"LISTACPSS"} == {*NETWORKS}  # a function: LISTACP with other defaults


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
def test_networks_do_not_lose_precision(name, half):
    measured = torch.from_numpy(np.stack([y, 2 * y])).float()
    net = network(name, torch.from_numpy(A).float(), measured)
    with torch.no_grad():
        wanted, of_half = net(measured), net(measured.to(half))
        with autocast():
            assert torch.equal(net(measured), wanted)
            assert torch.equal(net(measured.to(half)), of_half)
        assert torch.equal(of_half, net(measured.to(half).float()).to(half))
        assert torch.equal(net(measured.round().int()), net(measured.round()))


# Nothing to do: k = 0, and a residual level in the units of y.


def test_an_empty_patch_costs_nothing():
    """K-SVD denoising with a known noise level: the second patch is flat."""
    D = rng.standard_normal((64, 128))
    Y = np.stack([D[:, 3], np.zeros(64), 0.01 * D[:, 5]])
    sol = pursuit.omp(D, Y, eps=0.92)
    assert [found.tolist() for found in sol.atoms] == [[3], [], []]
    assert sol.message == ["the residual reached the tolerance"] * 3
    np.testing.assert_allclose(sol.residual_norm, [0, 0, np.linalg.norm(Y[2])], atol=1e-12)
    assert sol.steps.tolist() == [1, 0, 0]
    sol = pursuit.omp(D, Y, k=[1, 0, 0])
    assert [found.tolist() for found in sol.atoms] == [[3], [], []]
    assert sol.support.shape == (3, 1)
    assert sol.message[1:] == ["the residual reached the tolerance", "all k atoms were chosen"]


def with_k(method, k):
    options = options_of(method) | {"max_steps": 20}
    return options | ({} if "ista" in method else {"k": k})


@pytest.mark.parametrize("method", pursuit.methods())
@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("to", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_a_signal_below_the_level_gets_zero_from_every_solver(method, kernels, to, monkeypatch):
    monkeypatch.setattr(pursuit.config, "kernels", kernels)
    Y = np.stack([y, 1e-3 * y, 0 * y, 2 * y])
    matrix, small = to(A), [False, True, True, False]
    alone = pursuit.solve(matrix, to(Y), method, **with_k(method, 3), eps=0.5)
    history = []
    for sol in (
        alone,
        pursuit.solve(matrix, to(Y), method, **with_k(method, [3, 2, 1, 3]), eps=[0.5, 1, 0, 0.5]),
        pursuit.solve(matrix, to(Y), method, **with_k(method, 3), eps=0.5, on_step=history.append),
    ):
        x, norm = np.asarray(sol.x), np.asarray(sol.residual_norm)
        assert ((x == 0).all(-1) == small).all()
        np.testing.assert_allclose(norm[1:3], np.linalg.norm(Y[1:3], axis=-1))
        assert np.asarray(sol.steps)[1:3].tolist() == [0, 0]
        assert sol.message[1] == "the residual reached the tolerance"
        assert (np.asarray(sol.support)[1:3] == -1).all()
    assert history or method in ("ompr", "els", "sea_plus")  # whose start is OMP's result
    for step in history:
        assert (np.asarray(step.x)[1:3] == 0).all()
        np.testing.assert_allclose(np.asarray(step.residual_norm)[1], np.linalg.norm(Y[1]))
        assert np.asarray(step.status)[1] == pursuit.Status.TOLERANCE
    below = np.asarray(alone.residual_norm)[0] <= 0.5
    assert below == (alone.message[0] == "the residual reached the tolerance")


@pytest.mark.parametrize("method", [name for name in pursuit.methods() if "ista" not in name])
@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_k_of_zero_gives_zero_from_every_solver(method, kernels, monkeypatch):
    monkeypatch.setattr(pursuit.config, "kernels", kernels)
    Y = np.stack([y, y, 0 * y])
    start = {"x0": x + 0.1} if method in (*ITERATIVE, "amp") else {}
    sol = pursuit.solve(A, Y, method, **with_k(method, [3, 0, 0]), **start)
    np.testing.assert_array_equal(sol.x[1:], 0)
    assert (sol.support[1:] == -1).all()
    alone = pursuit.solve(A, y, method, **with_k(method, 3), **start)
    np.testing.assert_allclose(sol.x[0], alone.x, atol=1e-12)
    assert sol.message[1:] == ["all k atoms were chosen", "the residual reached the tolerance"]
    none = pursuit.solve(A, Y, method, **with_k(method, 0), **start)
    if method != "amp":
        assert none.support.shape == none.coefficients.shape == (3, 0)
    assert none.x.shape == (3, N)
    assert not none.x.any()
    assert [found.tolist() for found in none.atoms] == [[], [], []]


def test_a_path_starts_at_zero():
    for method in ("omp", "ols", "iht", "els"):
        sol = pursuit.path(A, y, [0, 1, 3], method=method)
        assert [len(found) for found in sol.atoms] == [0, 1, 3]
        np.testing.assert_allclose(sol.residual_norm[0], np.linalg.norm(y))
        assert pursuit.path(A, y, [0], method=method).x.shape == (1, N)


def test_a_level_is_in_the_units_of_y():
    noise = 1e3 * rng.standard_normal((6, M))
    Y = 1e5 * np.stack([y] * 6) + noise
    eps = np.linalg.norm(noise, axis=-1)
    sol = pursuit.omp(A, Y, eps=eps)
    assert (sol.residual_norm <= eps).all()
    assert sol.message == ["the residual reached the tolerance"] * 6
    np.testing.assert_array_equal(sol.x, pursuit.omp(A, Y, tol=eps / np.linalg.norm(Y, axis=-1)).x)
    both = pursuit.omp(A, Y, eps=eps, tol=0.9)  # whichever is met first
    np.testing.assert_array_equal(both.x, pursuit.omp(A, Y, tol=0.9).x)


def test_settled_signals_have_derivatives():
    measured = torch.from_numpy(np.stack([y, 0.01 * y])).requires_grad_()
    sol = pursuit.omp(torch.from_numpy(A), measured, 3, eps=0.1)
    (sol.x.sum() + sol.residual_norm.sum()).backward()
    assert measured.grad.isfinite().all()
    torch.testing.assert_close(measured.grad[1], (measured[1] / measured[1].norm()).detach())


def test_sparsify_takes_k_of_zero():
    X = torch.linspace(0, 1, N, dtype=torch.float64)
    found = pursuit.straight_through.sparsify(A, torch.from_numpy(np.stack([y, y])), X, k=[0, 2])
    assert [(row != 0).sum().item() for row in found] == [0, 2]


# Operators of one's own.


WRONG = {
    "another scale": (lambda v: v, lambda v: -9 * v),
    "a percent": (lambda v: v, lambda v: 1.01 * v),
    "no conjugate": (lambda v: 1j * v, lambda v: 1j * v),
    "another order": (lambda v: v.cumsum(-1), lambda v: v.cumsum(-1)),
    "NaN": (lambda v: v, lambda v: v / 0),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("n", [3, 100_000])
def test_a_wrong_adjoint_is_refused_when_the_operator_is_made(name, n):
    forward, adjoint = WRONG[name]
    dtype = torch.complex128 if name == "no conjugate" else torch.float64
    message = refused(
        lambda: pursuit.as_operator((forward, adjoint, (n, n)), dtype=dtype), "adjoint of A is wrong", "differ by"
    )
    assert name == "NaN" or float(message.partition("differ by ")[2].split()[0]) > 1e-3
    refused(lambda: pursuit.FunctionOperator(forward, adjoint, (n, n), dtype=dtype), "adjoint of A is wrong")
    refused(lambda: pursuit.omp((forward, adjoint, (n, n)), torch.ones(n, dtype=dtype), 1), "adjoint of A is wrong")


def test_a_wrong_adjoint_of_other_libraries_and_of_own_classes_is_refused():
    wrong = scipy.sparse.linalg.LinearOperator((8, 8), matvec=lambda v: v, rmatvec=lambda v: 2 * v, dtype=float)
    refused(lambda: pursuit.omp(wrong, np.ones(8), 2), "adjoint of A is wrong")

    class Physics:
        img_size = (8,)

        def A(self, v):
            return v[..., ::2]

        def A_adjoint(self, v):
            return torch.stack([0 * v, v], dim=-1).flatten(-2)

    refused(lambda: pursuit.omp(Physics(), torch.ones(4), 1), "adjoint of A is wrong")

    class Mine(pursuit.Operator):
        shape, dtype, device = (3, 3), torch.float64, torch.device("cpu")
        calls = 0

        def forward(self, v):
            self.calls += 1
            return v

        def adjoint(self, v):
            return self.factor * v

    mine = Mine()
    mine.factor = 3
    refused(lambda: pursuit.omp(mine, np.ones(3), 1), "adjoint of A is wrong")
    mine.factor = 1
    pursuit.iht(mine, np.ones(3), 1, eta=0.5, max_steps=0)
    before = mine.calls
    pursuit.as_operator(mine)  # tested once
    assert mine.calls == before


def test_one_product_of_each_tests_it():
    calls = []
    pursuit.as_operator((lambda v: calls.append("A") or v, lambda v: calls.append("A^H") or v, (9, 9)))
    assert calls == ["A", "A^H"]


def test_the_library_s_own_operators_are_not_tested():
    op = pursuit.SubsampledFourier([0, 1], 8)
    op.adjoint = None
    assert pursuit.as_operator(op) is op


def test_a_linear_operator_without_rmatvec_is_named():
    without = scipy.sparse.linalg.LinearOperator((8, 8), matvec=lambda v: v, dtype=float)
    refused(lambda: pursuit.omp(without, np.ones(8), 2), "without a working rmatvec", "rmatvec=...", error=TypeError)


FUNCTIONS = {
    "numpy": (lambda v: np.fft.fft(v, norm="ortho"), lambda v: np.fft.ifft(v, norm="ortho"), complex),
    "scipy": (lambda v: scipy.fft.idct(v, norm="ortho"), lambda v: scipy.fft.dct(v, norm="ortho"), float),
    "of one vector": (lambda v: np.eye(16)[::-1] @ v, lambda v: np.eye(16)[::-1] @ v, float),
    "one of each": (lambda v: v.flip(-1), lambda v: np.asarray(v)[..., ::-1].copy(), float),
    "lists": (lambda v: [2 * float(e) for e in v], lambda v: [2 * float(e) for e in v], float),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_functions_in_a_triple_work(name):
    forward, adjoint, dtype = FUNCTIONS[name]
    op = pursuit.as_operator((forward, adjoint, (16, 16)), dtype=torch.complex128 if dtype is complex else None)
    dense = op.to_dense()
    signal = torch.zeros(2, 16, dtype=dense.dtype)
    signal[:, [3, 9]] = torch.tensor([[1.0, 2], [-3, 4]], dtype=dense.dtype)
    measured = signal @ dense.mT
    assert pursuit.adjoint_gap(op) < 1e-12
    for given in (op, (forward, adjoint, (16, 16))):
        for y in (measured, measured[0], measured.numpy()):
            found = torch.as_tensor(pursuit.omp(given, y, 2).x)
            torch.testing.assert_close(found, signal[0] if y is measured[0] or y.ndim == 1 else signal)
    weight = measured.clone().requires_grad_()
    pursuit.iht(op, weight, 2, eta=0.5, max_steps=3).x.abs().sum().backward()
    assert weight.grad.isfinite().all()


def test_functions_that_fit_nothing_are_named():
    def broken(v):
        raise KeyError("spectrum")

    refused(lambda: pursuit.as_operator((broken, broken, (4, 4))), "neither tensors", "spectrum", error=TypeError)
    refused(lambda: pursuit.as_operator((lambda v: v, 3, (4, 4))), "adjoint is 3", "function", error=TypeError)
    refused(lambda: pursuit.as_operator((lambda v: "v", lambda v: v, (4, 4))), "neither tensors", error=TypeError)


def test_a_sparse_matrix_with_wrong_indices_is_refused():
    """SciPy does not look: a product reads other memory, or ends the process."""
    wrong = scipy.sparse.csr_array((np.ones(2), np.array([0, 9]), np.array([0, 1, 2])), shape=(2, 10))
    wrong._shape = (2, 6)
    refused(lambda: pursuit.omp(wrong, np.ones(2), 1), "A is a damaged sparse matrix", "build it anew")
    wrong = scipy.sparse.csc_array((np.ones(2), np.array([0, 1]), np.array([0, 1, 2])), shape=(2, 2))
    wrong.indptr[1] = 5
    refused(lambda: pursuit.omp(wrong, np.ones(2), 1), "A is a damaged sparse matrix")


# Arguments of the wrong kind.


def test_a_size_that_no_machine_has_is_refused():
    same = (lambda v: v, lambda v: v)
    refused(lambda: pursuit.omp((*same, (3, 10**12)), np.ones(3), 1), "(3, 1000000000000)", "GiB")
    refused(lambda: pursuit.as_operator((*same, (10**12, 3))), "GiB")
    refused(lambda: pursuit.as_operator((*same, (0, 3))), "m >= 1")
    refused(lambda: pursuit.as_operator((*same, (3,))), "two whole numbers", error=TypeError)
    refused(lambda: pursuit.as_operator((*same, (3.5, 4))), "two whole numbers", error=TypeError)
    refused(lambda: pursuit.as_operator((*same, "ab")), "two whole numbers", error=TypeError)
    huge = scipy.sparse.linalg.LinearOperator((3, 10**12), matvec=lambda v: v[:3], rmatvec=lambda v: v, dtype=float)
    refused(lambda: pursuit.omp(huge, np.ones(3), 1), "GiB")

    class Mine(pursuit.Operator):
        shape, dtype, device = (3, 10**12), torch.float64, torch.device("cpu")

    refused(lambda: pursuit.omp(Mine(), np.ones(3), 1), "GiB")
    sparse = scipy.sparse.csr_array((3, 10**12))
    refused(lambda: pursuit.omp(sparse, np.ones(3), 1), "GiB")


def test_tensors_without_values_are_refused():
    meta = torch.ones(3, 3, device="meta")
    refused(lambda: pursuit.omp(meta, torch.ones(3), 1), "A is a meta tensor", "no numbers", error=TypeError)
    refused(lambda: pursuit.omp(torch.eye(3), meta[0], 1), "y is a meta tensor", error=TypeError)
    refused(lambda: pursuit.iht(torch.eye(3), torch.ones(3), 1, x0=meta[0]), "x0 is a meta tensor", error=TypeError)


SELECTING = [name for name in pursuit.methods() if "select" in inspect.signature(getattr(pursuit, name)).parameters]


@pytest.mark.parametrize("method", SELECTING)
@pytest.mark.parametrize(
    "select",
    ["hard", None, 3, pursuit.Hard, pursuit.softsort, pursuit.Relaxed],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_a_selection_that_is_none_is_refused(method, select):
    refused(
        lambda: pursuit.solve(A, y, method, **options_of(method), select=select),
        "select is", "pursuit.Hard()", "pursuit.Relaxed(", error=TypeError,
    )  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_lists_to_networks_are_refused(name):
    measured = torch.from_numpy(np.stack([y, 2 * y])).float()
    net = network(name, torch.from_numpy(A).float(), measured)
    for given in (measured.tolist(), measured.numpy(), None, "y"):
        refused(lambda given=given: net(given), "y is a", "torch.as_tensor(y)", error=TypeError)
    refused(lambda: net(measured[:, :-1]), "(2, 29)", "(*batch, 30)")
    refused(lambda: net(measured.to("meta")), "meta", error=TypeError)
    refused(lambda: net(measured.double()), "float64", "net.to(", error=TypeError)
    refused(lambda: net(measured.to_sparse()), "to_dense()")


@pytest.mark.parametrize("name", [*ISTA_FAMILY, "NAALISTA", "HyperLISTA"])
def test_matrices_that_measure_nothing_are_refused_by_networks(name):
    """By those whose weights are divided by the norm of A, or invert it; others return zero."""
    for matrix in (np.zeros((M, N)), torch.zeros(M, N)):
        refused(lambda matrix=matrix: getattr(pursuit.nets, name)(matrix, **NETWORKS[name]), "A", "zero")


ODD = [None, "text", {}, set(), object(), 1j, float("nan"), [], [[]], [None], lambda v: v, np.array("x"), b"ab", True]
ODD += [np.zeros(0), np.datetime64("2020-01-01"), Ellipsis, -1, 10**30, torch.tensor([]), type, {"a": 1}, ("a", 1, 2)]
PLACES = ("A", "y", "k", "tol", "eps", "weights", "x0", "max_steps", "eta", "select", "loss", "on_step")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", ["omp", "iht", "sea", "ista"])
def test_odd_arguments_end_with_an_answer_or_an_error_that_names_them(method, place):
    takes = {"A", "y", *inspect.signature(getattr(pursuit, method)).parameters}
    for value in ODD if place in takes else []:
        given = options_of(method) | {"max_steps": 3} | {place: value}
        matrix, measured = given.pop("A", A), given.pop("y", y)
        try:
            pursuit.solve(matrix, measured, method, **given)
        except (TypeError, ValueError) as error:
            message = str(error)
        else:
            continue
        assert re.search(rf"\b{place}\b", message), (value, message)
