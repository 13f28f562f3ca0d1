"""Files as they come from other programs, through `pursuit recover` and `compare`: the right answer, or one line."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import openpyxl
import pandas
import pytest
import scipy.io
import scipy.sparse
import torch
import zarr
from safetensors.torch import save_file

from helpers import outputs
from pursuit import cli, files, solve
from pursuit.files import Asked

rng = np.random.default_rng(0)
A = rng.standard_normal((30, 60))
X = np.zeros(60)
X[[5, 17, 40]] = [0.4, -0.3, 0.2]
Y = A @ X
Z = A + 1j * rng.standard_normal(A.shape)
W = np.zeros(60, complex)
W[[5, 17, 40]] = [1 + 1j, -1j, 2]
PEAKS = np.zeros((4, 60))
PEAKS[range(4), [3, 13, 23, 33]] = 1
SPARSE = scipy.sparse.random_array((4, 6), density=0.3, rng=rng, format="csr")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A.npy, y.npy, x.npy, Z.npy (complex) and w.npy (measured with Z) in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, array in {"A": A, "y": Y, "x": X, "Z": Z, "w": Z @ W}.items():
        np.save(f"{name}.npy", array)
    return tmp_path


@pytest.fixture
def pursuit(folder, capsys):
    """The command: exit status, standard output and standard error."""

    def run(line):
        with pytest.raises(SystemExit) as end:
            cli.main(line.split())
        out, err = outputs(capsys)
        assert "Traceback" not in err
        assert err.count("\n") <= 1
        return end.value.code or 0, out, err

    return run


def found(path="o.npy"):
    """Where the solutions in a file are not zero."""
    return [np.flatnonzero(x).tolist() for x in np.atleast_2d(np.load(path))]


# Tables beside a matrix


def test_decimal_comma(pursuit):
    np.save("Ap.npy", np.abs(A))
    lines = [f"{v:.4f}".replace(".", ",") for v in np.abs(A) @ np.abs(X) / 4]
    (pandas.Series(lines)).to_csv("y_de.csv", index=False, header=False, sep=";")
    assert any(",0" in line for line in lines)  # so that no columns of whole numbers are meant
    assert pursuit("recover Ap.npy y_de.csv -k 3 -o o.npy")[0] == 0
    assert found() == [[5, 17, 40]]
    np.testing.assert_allclose(np.load("o.npy")[[5, 17, 40]], [0.1, 0.075, 0.05], atol=1e-3)
    (pandas.Series(["1,5", "2,5"] * 15)).to_csv("y_de.csv", index=False, header=False, sep=";")
    code, _, err = pursuit("recover Ap.npy y_de.csv -k 3 -o no.npy")
    assert code == 2
    assert "--decimal" in err
    assert pursuit("recover Ap.npy y_de.csv --decimal , -k 3 -o one.npy")[0] == 0
    assert np.load("one.npy").shape == (60,)
    assert pursuit("recover Ap.npy y_de.csv --decimal y=. -k 3 -o two.npy")[0] == 0
    assert np.load("two.npy").shape == (60, 2)


def test_pandas_with_and_without_index(pursuit):
    pandas.DataFrame(A).to_csv("A.csv")
    pandas.Series(Y).to_csv("y.csv")
    code, out, _ = pursuit("recover A.csv y.csv -k 3 -o o.npy")
    assert code == 0
    assert "A.csv: 30 x 60, real; line 1 read as names; column 1 as index\n" in out
    assert "y.csv: 30, real; 1 signal of 30; line 1 read as names; column 1 as index\n" in out
    assert found() == [[5, 17, 40]]
    pandas.DataFrame(A).to_csv("A3.csv", index=False)
    pandas.Series(Y).to_csv("y3.csv", index=False)
    assert pursuit("recover A3.csv y3.csv -k 3 -o o3.npy")[0] == 0
    np.testing.assert_allclose(np.load("o3.npy"), X, atol=1e-12)


def test_spectra_under_a_line_of_wavelengths(pursuit):
    pandas.DataFrame(PEAKS @ A.T, columns=np.arange(1100, 1160, 2)).to_csv("spectra.csv", index=False)
    code, out, _ = pursuit("recover A.npy spectra.csv -k 1 -o o.npy")
    assert code == 0
    assert "spectra.csv: 4 x 30, real; 4 signals of 30, one per row; line 1 read as names" in out
    assert found() == [[3], [13], [23], [33]]


def test_a_line_of_frequencies_and_the_name_of_a_series(pursuit):
    pandas.DataFrame(A, columns=np.linspace(900, 1700, 60)).to_csv("A.csv", index=False)
    pandas.Series(Y, name=0).to_csv("y.csv", index=False)
    assert pursuit("recover A.csv y.csv -k 3 -o x.csv")[0] == 0
    np.testing.assert_allclose(np.loadtxt("x.csv", delimiter=","), X, atol=1e-12)
    rows = np.stack([Y, 2 * Y, 3 * Y]).round(4).astype(str)
    rows[0, 3] = ""
    (pandas.DataFrame(rows)).to_csv("Y.csv", index=False, header=False)
    code, _, err = pursuit("recover A.npy Y.csv -k 3 -o no.csv")
    assert code == 2
    assert "Y.csv: cannot be read as .csv: line 1, column 4 is empty: a value is missing" in err


def test_complex_pairs(pursuit):
    lines = [f"({v.real:.6f},{v.imag:.6f})" for v in Z @ W]
    (pandas.Series(lines)).to_csv("w.csv", index=False, header=False, sep=";")
    assert pursuit("recover Z.npy w.csv -k 3 -o o.npy")[0] == 0
    np.testing.assert_allclose(np.load("o.npy"), W, atol=1e-5)


@pytest.mark.parametrize("names", ["I,Q", "re,im"])
def test_columns_of_real_and_imaginary_parts(names, pursuit):
    values = Z @ W
    frame = pandas.DataFrame(dict(zip(names.split(","), (values.real, values.imag), strict=True)))
    frame.to_csv("w.csv", index=False)
    code, out, _ = pursuit("recover Z.npy w.csv -k 3 -o o.npy")
    assert code == 0
    assert "w.csv: 30, complex; 1 signal of 30; line 1 read as names; columns 1 and 2 as real and imaginary part" in out
    np.testing.assert_allclose(np.load("o.npy"), W, atol=1e-12)


def test_a_byte_order_mark_and_a_missing_value_in_line_1(pursuit, folder):
    text = "\n".join(",".join(f"{v:.6f}" for v in row) for row in PEAKS @ A.T) + "\n"
    (folder / "bom.csv").write_text(text, encoding="utf-8-sig")
    assert pursuit("recover A.npy bom.csv -k 1 -o o.npy")[0] == 0
    assert found() == [[3], [13], [23], [33]]
    for place, where in ((4, "line 1, column 5"), (70, "line 3, column 13")):
        cells = text.split(",")
        cells[place] = "NA"
        (folder / "na.csv").write_text(",".join(cells))
        code, _, err = pursuit("recover A.npy na.csv -k 1 -o no.npy")
        assert code == 2
        assert f"na.csv: cannot be read as .csv: {where} is 'NA': a value is missing" in err
        assert not (folder / "no.npy").exists()


def test_a_slice_and_columns_of_a_table(pursuit):
    frame = pandas.DataFrame({"nm": np.linspace(400, 700, 30), "dark": 0.5, "y": Y})
    frame.to_csv("y.csv", index=False)
    for line in ("recover A.npy y.csv[:,2]", "recover A.npy y.csv --columns 3:", "recover A.npy y.csv --columns y=y"):
        line += " --index y=no" if "[" in line else ""
        assert pursuit(f"{line} -k 3 -o o.npy")[0] == 0
        assert found() == [[5, 17, 40]]


def test_options_for_files_that_are_no_tables(pursuit):
    for option in ("--header yes", "--index no", "--decimal .", "--columns 2:"):
        code, _, err = pursuit(f"recover A.npy y.npy -k 3 -o o.npy {option}")
        assert code == 2
        assert f"{option.split()[0]} was given, but A.npy and y.npy hold no table; leave it out." in err
    assert "hold no bare numbers" in pursuit("recover A.npy y.npy -k 3 -o o.npy --dtype float32")[2]


# Layout


def test_real_and_imaginary_parts_on_an_axis(pursuit):
    w = Z @ W
    np.save("v.npy", np.stack([w.real, w.imag], -1))
    code, _, err = pursuit("recover Z.npy v.npy -k 3 -o o.npy")
    assert code == 2
    assert "--layout columns" in err
    assert "--layout pairs" in err
    code, out, _ = pursuit("recover Z.npy v.npy -k 3 --layout pairs -o o.npy")
    assert code == 0
    assert "v.npy: 30 x 2, real; 1 signal of 30; real and imaginary parts on the last axis" in out
    np.testing.assert_allclose(np.load("o.npy"), W, atol=1e-12)


def test_a_square_y(pursuit):
    grid = np.linspace(-1, 1, 81)
    steering = np.exp(1j * np.pi * np.outer(np.arange(16), grid)) / 4
    s = np.zeros((81, 200), complex)
    s[[50, 68]] = rng.standard_normal((2, 200)) + 1j * rng.standard_normal((2, 200))
    np.save("dA.npy", steering)
    np.save("dR.npy", steering @ s @ s.conj().T @ steering.conj().T / 200)
    code, _, err = pursuit("recover dA.npy dR.npy -k 2 -o o.npy")
    assert code == 2
    assert "--layout rows" in err
    assert "--layout columns" in err
    assert pursuit("recover dA.npy dR.npy -k 2 -o o.npy --layout columns")[0] == 0
    assert np.flatnonzero(np.load("o.npy").any(axis=1)).tolist() == [50, 68]


def test_atoms_as_rows(pursuit):
    atoms = rng.standard_normal((256, 32))
    codes = np.zeros((256, 256))
    codes[range(256), rng.integers(0, 256, 256)] = 1
    np.save("D.npy", atoms)
    np.save("acts.npy", codes @ atoms)
    code, _, err = pursuit("recover D.npy acts.npy -k 1 -o o.npy")
    assert code == 2
    assert "--layout columns" in err
    assert "If the atoms are the rows of A, give D.npy.T in the place of D.npy" in err
    assert pursuit("recover D.npy.T acts.npy -k 1 -o o.npy")[0] == 0
    np.testing.assert_allclose(np.load("o.npy"), codes, atol=1e-12)


def test_three_axes_of_which_two_may_be_the_measurements(pursuit):
    F = np.exp(-2j * np.pi * np.outer(rng.choice(256, 16, False), np.arange(40)) / 256)
    h = np.zeros((40, 14, 16), complex)
    h[[0, 7, 19]] = rng.standard_normal((3, 14, 16))
    np.save("F.npy", F)
    np.save("Y3.npy", np.einsum("pt,tsa->psa", F, h))
    code, _, err = pursuit("recover F.npy Y3.npy -k 3 -o o.npy")
    assert code == 2
    assert "--layout rows" in err
    assert "--layout 0" in err
    code, _, err = pursuit("recover F.npy Y3.npy -k 3 --layout columns -o o.npy")
    assert code == 2
    assert "whose axes are 0, 1, 2" in err
    code, out, _ = pursuit("recover F.npy Y3.npy -k 3 --layout 0 -o o.npy")
    assert code == 0
    assert "Y3.npy: 16 x 14 x 16, complex; 224 signals of 16, along axis 0" in out
    x = np.load("o.npy")
    assert x.shape == (40, 14, 16)
    np.testing.assert_allclose(x, h, atol=1e-9)


def test_an_axis_that_only_one_reading_allows(pursuit):
    np.save("Y3.npy", np.stack([np.stack([Y, 2 * Y], -1)] * 3))  # (3, 30, 2)
    assert pursuit("recover A.npy Y3.npy -k 3 -o o.npy")[0] == 0
    x = np.load("o.npy")
    assert x.shape == (3, 60, 2)
    np.testing.assert_allclose(x[1, :, 1], 2 * X, atol=1e-12)


def test_patterns_of_a_single_pixel_camera(pursuit):
    patterns = rng.integers(0, 2, (32, 32, 32)).astype(np.uint8)
    image = np.zeros((32, 32))
    image[4, 5] = image[20, 11] = 100
    np.save("P.npy", patterns)
    np.save("Py.npy", np.tensordot(patterns, image, 2))
    code, _, err = pursuit("recover P.npy Py.npy -k 2 -o o.npy")
    assert code == 2
    assert "A is a batch of 32 matrices" in err
    assert "--layout patterns" in err
    assert pursuit("recover P.npy Py.npy -k 2 -o o.npy --layout patterns")[0] == 0
    np.testing.assert_allclose(np.load("o.npy"), image.ravel(), atol=1e-9)


def test_swapped_files(pursuit):
    code, _, err = pursuit("recover y.npy A.npy -k 3 -o o.npy")
    assert code == 2
    assert "Are A and y in each other's place?" in err
    scipy.io.savemat("m.mat", {"A": A, "y": Y[:, None]})
    assert "Are A and y in each other's place?" in pursuit("recover m.mat:y m.mat:A -k 3 -o o.npy")[2]


def test_layout_that_does_not_fit(pursuit):
    np.save("Y.npy", np.stack([Y, Y, Y]))
    code, _, err = pursuit("recover A.npy Y.npy -k 3 -o o.npy --layout columns")
    assert code == 2
    assert "If the rows of y are the signals, give --layout rows." in err
    assert "choose rows, columns or auto" in pursuit("recover A.npy Y.npy -k 3 -o o.npy --layout 2")[2]


# Formats


@pytest.fixture
def stores(folder):
    """One file of every format."""
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = A, Y
    struct = {"A": A, "y": Y, "deep": {"z": Z}}
    scipy.io.savemat(
        "m.mat", {"data": struct, "c": cells, "S": SPARSE.tocsc(), "t": "text", "b": np.array([[True, False]])}
    )
    with h5py.File("v73.mat", "w") as file:
        file["A"] = A.T
        group, refs = file.create_group("data"), file.create_group("#refs#")
        parts = np.empty(Z.T.shape, [("real", "f8"), ("imag", "f8")])
        parts["real"], parts["imag"] = Z.T.real, Z.T.imag
        group["y"], group["z"] = Y[None], parts
        refs["a"], refs["b"] = A.T, Y[None]
        file.create_dataset("c", data=np.array([[refs["a"].ref], [refs["b"].ref]], dtype=h5py.ref_dtype))
        file["c"].attrs["MATLAB_class"] = np.bytes_("cell")
        sparse, csc = file.create_group("S"), SPARSE.tocsc()
        sparse["data"], sparse["ir"], sparse["jc"] = csc.data, csc.indices.astype("u8"), csc.indptr.astype("u8")
        sparse.attrs["MATLAB_sparse"] = np.uint64(4)
    with h5py.File("f.h5", "w") as file:
        file["g/A"], file["z"], file["t"], file["half"] = A, Z, "text", A.astype(np.float16)
    zarr.save("a.zarr", A)
    zarr.save_group("g.zarr", A=A, z=Z)
    scipy.io.mmwrite("s.mtx", SPARSE)
    scipy.io.mmwrite("d.mtx", A)
    names = [f"c{i}" for i in range(60)]
    pandas.DataFrame(A, columns=names).to_parquet("p.parquet")
    pandas.DataFrame(A, columns=names, index=[f"s{i}" for i in range(30)]).to_parquet("i.parquet")
    pandas.DataFrame({"v": list(A), "w": Y}).to_parquet("l.parquet")
    pandas.DataFrame({"a": [1.0, None], "b": ["x", "y"]}).to_parquet("bad.parquet")
    with pandas.ExcelWriter("x.xlsx") as book:
        pandas.DataFrame(A, columns=names).to_excel(book, sheet_name="A")
        pandas.DataFrame(Y).to_excel(book, sheet_name="y", index=False, header=False)
    torch.save({"A": torch.from_numpy(A), "n": {"y": torch.ones(3, dtype=torch.bfloat16)}}, "d.pt")
    torch.save(torch.from_numpy(Z), "t.pt")
    torch.save(torch.nn.Linear(2, 2), "module.pt")
    save_file({"A": torch.from_numpy(A)}, "s.safetensors")
    np.savez("meta.npz", A=A, y=Y, format="iq", shape=np.array([30, 60]))
    np.savez("one.npz", A=A)
    for form in ("csr", "csc", "coo", "bsr", "dia"):
        scipy.sparse.save_npz(f"{form}.npz", SPARSE.asformat(form))
    Z[0].astype(np.complex64).tofile("z.iq")
    np.arange(8, dtype=">i2").tofile("n.dat")
    (folder / "t.dat").write_text("1 2 5\n4 5 6.5\n")
    np.save("i.npy", np.arange(6).reshape(2, 3))
    np.save("z.npy", Z)
    return folder


READ = {
    "m.mat:data.A": A,
    "m.mat:data.y": Y[None],
    "m.mat:data.deep.z": Z,
    "m.mat:c{1}": A,
    "m.mat:S": SPARSE.toarray(),
    "m.mat:b": np.array([[1.0, 0.0]]),
    "m.mat:data.A[:, 3:].T": A[:, 3:].T,
    "v73.mat:A": A,
    "v73.mat:data.y": Y[:, None],
    "v73.mat:data.z": Z,
    "v73.mat:c{1}": A,
    "v73.mat:S": SPARSE.toarray(),
    "f.h5:/g/A": A,
    "f.h5:g/A": A,
    "f.h5:z": Z,
    "f.h5:half": A.astype(np.float16),
    "a.zarr": A,
    "g.zarr:/z": Z,
    "s.mtx": SPARSE.toarray(),
    "d.mtx": A,
    "p.parquet": A,
    "i.parquet": A,
    "l.parquet:v": A,
    "l.parquet:w": Y,
    "x.xlsx:A": A,
    "x.xlsx:y": Y,
    "d.pt:A": A,
    "d.pt:n.y": np.ones(3),
    "t.pt": Z,
    "s.safetensors:A": A,
    "s.safetensors": A,
    "meta.npz:A": A,
    "one.npz": A,
    **{f"{form}.npz": SPARSE.toarray() for form in ("csr", "csc", "coo", "bsr", "dia")},
    "csr.npz[:, 2:]": SPARSE.toarray()[:, 2:],
    "csr.npz[1]": SPARSE.toarray()[1],
    "csr.npz.T": SPARSE.toarray().T,
    "t.dat": np.array([[1, 2, 5], [4, 5, 6.5]]),
    "i.npy": np.arange(6.0).reshape(2, 3),
    "A.npy[..., ::2]": A[:, ::2],
    "A.npy[-1]": A[-1],
    "A.npy.T": A.T,
}


@pytest.mark.parametrize("spec", READ)
def test_every_format_is_read(spec, stores):
    array = files.read_array(spec)
    values = array.toarray() if hasattr(array, "toarray") else array
    assert values.dtype in (np.float32, np.float64, np.complex64, np.complex128)
    np.testing.assert_allclose(values, READ[spec], rtol=1e-14 if "xlsx" in spec else 0)  # sheets keep 16 digits


@pytest.mark.parametrize("ending", ["iq", "bin", "dat"])
def test_bare_numbers(ending, stores):
    values = np.array([1, -2, 3, 400], np.int16)
    for dtype, wanted in {"ci16": [1 - 2j, 3 + 400j], "int16": [1, -2, 3, 400]}.items():
        values.tofile(f"b.{ending}")
        np.testing.assert_array_equal(files.read_array(f"b.{ending}", Asked(dtype=dtype)), wanted)
        values.astype(">i2").tofile(f"b.{ending}")
        np.testing.assert_array_equal(files.read_array(f"b.{ending}", Asked(dtype=f">{dtype}")), wanted)
    np.array([0, 255, 128, 127], np.uint8).tofile(f"b.{ending}")
    np.testing.assert_array_equal(files.read_array(f"b.{ending}", Asked(dtype="cu8")), [-127.5 + 127.5j, 0.5 - 0.5j])


def test_recordings_of_a_radio(pursuit, folder):
    (Z @ W).astype(np.complex64).tofile("w.iq")
    code, _, err = pursuit("recover Z.npy w.iq -k 3 -o o.npy")
    assert code == 2
    assert "w.iq: holds bare numbers; say which with --dtype" in err
    assert pursuit("recover Z.npy w.iq --dtype cf32 -k 3 -o o.npy")[0] == 0
    np.testing.assert_allclose(np.load("o.npy"), W, atol=1e-5)
    (folder / "cut.iq").write_bytes(b"1234567")
    assert "cut.iq: has 7 bytes, which is no multiple" in pursuit("recover Z.npy cut.iq --dtype cf32 -k 3 -o o.npy")[2]
    assert "--dtype is 'c128'; choose one of" in pursuit("recover Z.npy w.iq --dtype y=c128 -k 3 -o o.npy")[2]


NOT_READ = {
    "m.mat": "m.mat: holds 7 arrays (data.A, data.y, data.deep.z, c{1}, c{2}, S, b); choose one, as m.mat:data.A.",
    "m.mat:data": "m.mat: has no array 'data'; it has data.A, data.y",
    "m.mat:t": "m.mat: has no array 't'",
    "v73.mat:data": "v73.mat: has no array 'data'; it has A, S, c{1}, c{2}, data.y, data.z.",
    "f.h5": "f.h5: holds 3 arrays (/g/A, /half, /z); choose one, as f.h5:/g/A.",
    "f.h5:/t": "f.h5: has no array '/t'",
    "g.zarr": "g.zarr: holds 2 arrays (/A, /z); choose one, as g.zarr:/A.",
    "bad.parquet": "bad.parquet: the column 'b' holds",
    "bad.parquet:a": "bad.parquet: the column 'a' has missing values",
    "bad.parquet:b": "bad.parquet: the column 'b' holds",
    "l.parquet": "l.parquet: holds 2 arrays (v, w); choose one, as l.parquet:v.",
    "x.xlsx": "x.xlsx: holds 2 arrays (A, y); choose one, as x.xlsx:A.",
    "d.pt": "d.pt: holds 2 arrays (A, n.y); choose one, as d.pt:A.",
    "module.pt": "module.pt: holds more than tensors, and could run code when read",
    "meta.npz": "meta.npz: holds 4 arrays (A, y, format, shape); choose one, as meta.npz:A.",
    "z.iq": "z.iq: holds bare numbers; say which with --dtype",
    "A.npy[40]": "the slice does not fit the array's shape (30, 60)",
    "A.npy[a]": "'a' is no slice; write slices as NumPy does",
    "A.doc": "files with the ending '.doc' cannot be read",
    "gone.h5:/A": "gone.h5: no such file",
}


@pytest.mark.parametrize("spec", NOT_READ)
def test_what_is_not_clear_is_said_in_one_line(spec, stores):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        files.read_array(spec)
    assert NOT_READ[spec] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_text_file_of_octave_is_named(pursuit, folder):
    head = "# Created by Octave 8.4.0\n# name: y\n# type: matrix\n# rows: 30\n# columns: 1\n"
    (folder / "o.mat").write_text(head + "\n".join(f" {v}" for v in Y) + "\n\n")
    code, _, err = pursuit("recover A.npy o.mat -k 3 -o o.npy")
    assert code == 2
    assert "o.mat: is a text file of Octave, not one of MATLAB; save it in Octave with save('-v7', ...)." in err


def test_matlab_structs_and_sparse_columns(pursuit):
    scipy.io.savemat("s.mat", {"data": {"A": A, "y": Y}})
    assert pursuit("recover s.mat:data.A s.mat:data.y -k 3 -o o.npy")[0] == 0
    assert found() == [[5, 17, 40]]
    code, _, err = pursuit("recover s.mat s.mat -k 3 -o o.npy")
    assert code == 2
    assert "s.mat: holds 2 arrays (data.A, data.y); choose one, as s.mat:data.A." in err
    column = scipy.sparse.csc_array(X[:, None])
    scipy.io.savemat("p.mat", {"A": scipy.sparse.csc_array(A), "y": Y[:, None], "x": column})
    code, out, _ = pursuit("compare --A p.mat:A --y p.mat:y --x p.mat:x -k 3 --methods omp -o out")
    assert code == 0
    assert "p.mat:A: 30 x 60, real, sparse with 1800 entries\n" in out
    assert "NMSE (dB)" in out
    assert json.loads(Path("out/settings.json").read_text())["k"] == 3


def test_a_complex_truth_beside_real_measurements(pursuit):
    np.save("yr.npy", (A @ W).real)
    np.save("W.npy", W)
    code, _, err = pursuit("compare --A A.npy --y yr.npy --x W.npy -k 3 --methods omp -o out")
    assert code == 2
    assert "--x (W.npy) is complex but A and y are real; its imaginary part would be lost." in err
    for option, method in (("x0", "sea"), ("weights", "omp")):
        code, _, err = pursuit(f"recover A.npy yr.npy --{option} W.npy --method {method} -k 3 -o o.npy")
        assert code == 2
        assert "is complex" in err


def test_recover_says_what_it_found(pursuit):
    np.save("Y.npy", np.stack([Y, 2 * Y]))
    code, out, _ = pursuit("recover A.npy y.npy -k 3 -o o.npy")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "A.npy: 30 x 60, real"
    assert lines[1] == "y.npy: 30, real; 1 signal of 30"
    assert lines[2] == "o.npy: 60, written"
    assert lines[3] == "support: 3 of 60 columns of A (from 0): 5, 17, 40"
    assert re.fullmatch(r"residual: \d.*e-1\d of the norm of y", lines[4])
    assert lines[5] == "1 of 1: the residual reached the tolerance"
    out = pursuit("recover A.npy Y.npy -k 3 -o o.npy")[1]
    assert "support: 3 of 60 columns of A for each of 2 signals" in out
    assert "in the middle" in out


def test_version_and_help(pursuit, capsys):
    assert re.fullmatch(r"pursuit \d+\.\d+.*\n", pursuit("--version")[1])
    for line in ("-h", "recover -h", "sweep -h", "sweep phase -h"):
        code, out, _ = pursuit(line)
        assert code == 0
        assert out.startswith("Usage: pursuit")


# Labels


RECOVER, COMPARE = "recover {} {} -k 3 -o o.npy", "compare --A {} --y {} -k 3 --methods omp -o out"


@pytest.mark.parametrize(("command", "end"), [(RECOVER, "csv"), (COMPARE, "csv"), (RECOVER, "parquet")])
def test_labels_of_y_that_are_not_those_of_A_are_refused(command, end, pursuit, folder):
    nm = pandas.Index(400.5 + 10 * np.arange(30), name="nm")
    dictionary, spectrum = pandas.DataFrame(A, nm, [f"a{i}" for i in range(60)]), pandas.DataFrame({"s": Y}, nm)
    other = spectrum.iloc[[1, 0, *range(2, 30)]]
    way = "give --columns y=2:" if end != "parquet" else "save it without its index"
    for name, frame in {
        "A": dictionary,
        "same": spectrum,
        "shuffled": other,
        "far": spectrum.set_axis(nm + 100),
    }.items():
        getattr(frame, f"to_{end}")(f"{name}.{end}")
    yes = "" if end == "parquet" else " --index yes"
    assert pursuit(command.format(f"A.{end}", f"same.{end}") + yes)[0] == 0
    for name, what, label, do in (
        ("shuffled", "the same labels in another order", "410.5", f"write its lines in the order of A.{end}"),
        ("far", "other labels", "500.5", "give the lines that both have"),
    ):
        code, _, err = pursuit(command.format(f"A.{end}", f"{name}.{end}") + yes)
        assert code == 2
        assert f"the index of y ({name}.{end}) has {what} than that of A (A.{end}): measurement 0 (from 0) is" in err
        assert f"'{label}' in y and '400.5' in A" in err
        assert f"{do}, or {way} if their order is right." in err
    if end != "parquet":  # what the message says
        assert pursuit(command.format(f"A.{end}", f"far.{end}") + " --index A=yes --columns y=2:")[0] == 0


@pytest.mark.parametrize(("command", "end"), [(RECOVER, "csv"), (COMPARE, "csv"), (RECOVER, "parquet")])
def test_labels_of_signals_in_rows_are_the_names_of_the_columns(command, end, pursuit, folder):
    """Their measurements lie along a line, so that the names of the columns belong to them."""
    labels, signals = [f"s{i}" for i in range(30)], ["p0", "p1"]
    two = np.stack([Y, 2 * Y])
    frames = {
        "A": pandas.DataFrame(A, labels, [f"a{i}" for i in range(60)]), "same": pandas.DataFrame(two, signals, labels),
        "back": pandas.DataFrame(two[:, ::-1], signals, labels[::-1]),
        "one": pandas.DataFrame(two[:1, ::-1], signals[:1], labels[::-1]),
        "far": pandas.DataFrame(two, signals, [f"z{i}" for i in range(30)]),
        "count": pandas.DataFrame(two, signals, [*map(str, range(30))]),
    }  # fmt: skip
    for name, frame in frames.items():
        getattr(frame, f"to_{end}")(f"{name}.{end}")
    for name in ("same", "count"):  # columns that are only numbered say nothing
        assert pursuit(command.format(f"A.{end}", f"{name}.{end}"))[0] == 0
    way = "give --columns y=2:" if end != "parquet" else "save it without its names of the columns"
    for name, what, label, do in (
        ("back", "the same labels in another order", "s29", f"write its columns in the order of A.{end}"),
        ("one", "the same labels in another order", "s29", f"write its columns in the order of A.{end}"),
        ("far", "other labels", "z0", "give the columns that both have"),
    ):
        code, _, err = pursuit(command.format(f"A.{end}", f"{name}.{end}"))
        assert code == 2
        assert f"the names of the columns of y ({name}.{end}) have {what} than the index of A (A.{end}): " in err
        assert f"measurement 0 (from 0) is {label!r} in y and 's0' in A" in err
        assert f"{do}, or {way} if their order is right." in err
    if end != "parquet":  # what the message says
        assert pursuit(command.format(f"A.{end}", f"far.{end}") + " --columns y=2:")[0] == 0


def test_names_of_columns_that_are_numbers_are_labels_too(pursuit, folder):
    nm = 400.5 + 10 * np.arange(30)
    pandas.DataFrame(A, pandas.Index(nm, name="nm"), [f"a{i}" for i in range(60)]).to_csv("A.csv")
    pandas.DataFrame([Y, Y], ["p", "q"], nm).to_csv("same.csv")
    pandas.DataFrame([Y, Y], ["p", "q"], nm + 1).to_csv("far.csv")
    assert pursuit("recover A.csv same.csv -k 3 -o o.npy --index A=yes")[0] == 0
    code, _, err = pursuit("recover A.csv far.csv -k 3 -o o.npy --index A=yes")
    assert code == 2
    assert "measurement 0 (from 0) is '401.5' in y and '400.5' in A" in err


def test_labels_in_each_other_s_place_name_the_layout(pursuit, folder):
    labels, signals = [f"s{i}" for i in range(30)], [f"p{i}" for i in range(30)]
    pandas.DataFrame(A, labels, [f"a{i}" for i in range(60)]).to_csv("A.csv")
    down = pandas.DataFrame(np.outer(Y, np.arange(1, 31)), labels, signals)
    down.to_csv("down.csv")
    down.T.to_csv("along.csv")
    for name, wrong, right, of in (
        ("down", "rows", "columns", "the index of y (down.csv) is that"),
        ("along", "columns", "rows", "the names of the columns of y (along.csv) are those"),
    ):
        code, _, err = pursuit(f"recover A.csv {name}.csv -k 3 -o o.npy --layout {wrong}")
        assert code == 2
        assert f"{of} of the measurements, the index of A (A.csv), but signals were read as {wrong}" in err
        assert f"give --layout {right}." in err
        assert pursuit(f"recover A.csv {name}.csv -k 3 -o o.npy --layout {right}")[0] == 0


def test_labels_are_those_of_the_part_that_is_taken(pursuit):
    labels = [f"s{i}" for i in range(30)]
    pandas.DataFrame(A, labels, [f"a{i}" for i in range(60)]).to_csv("A.csv")
    pandas.DataFrame({"s": Y}, labels).iloc[10:].to_csv("y.csv")
    pandas.DataFrame(A.T, [f"a{i}" for i in range(60)], labels).to_csv("T.csv")
    pandas.DataFrame({"s": Y}, labels[::-1]).to_csv("back.csv")
    assert pursuit("recover A.csv[10:] y.csv -k 3 -o o.npy")[0] == 0
    code, _, err = pursuit("recover A.csv[:20] y.csv -k 3 -o o.npy")
    assert code == 2
    assert "has other labels than that of A (A.csv[:20]): measurement 0 (from 0) is 's10' in y and 's0' in A" in err
    assert "the same labels in another order" in pursuit("recover T.csv.T back.csv -k 3 -o o.npy")[2]


def test_other_digits_are_no_other_label(pursuit, folder):
    nm = np.linspace(400, 700, 31)[:30] / 3
    for name, form, values in (("A", "{!r}", A), ("y", "{:.12g}", Y[:, None])):
        lines = [
            ",".join([form.format(float(at)), *map(repr, map(float, row))]) for at, row in zip(nm, values, strict=True)
        ]
        (folder / f"{name}.csv").write_text("\n".join(lines))
    assert pursuit("recover A.csv y.csv --index yes -k 3 -o o.npy")[0] == 0


ATOMS = [f"a{i}" for i in range(60)]


@pytest.mark.parametrize("end", ["csv", "parquet", "xlsx"])
def test_labels_of_weights_starts_and_truths_are_those_of_the_columns(end, pursuit, folder):
    true = pandas.DataFrame({"x": X}, ATOMS)
    frames = {"A": pandas.DataFrame(A, [f"s{i}" for i in range(30)], ATOMS), "right": true, "back": true[::-1],
              "other": true.rename(index={"a0": "b0"})}  # fmt: skip
    for name, frame in frames.items():
        {"csv": frame.to_csv, "xlsx": frame.to_excel, "parquet": frame.to_parquet}[end](f"{name}.{end}")
    way = "save it without its index" if end == "parquet" else "give --columns {}=2:"
    for command, name in (
        (f"recover A.{end} y.npy -k 3 -o o.npy --method iht --x0 {{}}.{end}", "x0"),
        (f"recover A.{end} y.npy -k 3 -o o.npy --weights {{}}.{end}".replace("right", "A"), "weights"),
        (f"compare --A A.{end} --y y.npy -k 3 --methods omp -o out --x {{}}.{end}", "x"),
    ):
        for given, what in (("back", "the same labels in another order"), ("other", "other labels")):
            code, _, err = pursuit(command.format(given))
            assert code == 2
            assert f"the index of {name} ({given}.{end}) has {what} than the columns of A (A.{end}): column 0" in err
            assert f"or {way.format(name)} if their order is right." in err
        if name != "weights":  # which are not negative
            assert pursuit(command.format("right"))[0] == 0


def test_names_that_are_numbers_may_be_written_otherwise(pursuit, folder):
    nm = np.linspace(400, 700, 30).round(1)
    pandas.DataFrame(A, [f"{at:.1f}" for at in nm], ATOMS).to_parquet("A.parquet")
    two = pandas.DataFrame([Y, Y], columns=[f"{at:.2f}" for at in nm])
    two.to_parquet("y.parquet")
    two[two.columns[::-1]].to_parquet("back.parquet")
    assert pursuit("recover A.parquet y.parquet -k 3 -o o.npy")[0] == 0
    assert "the same labels in another order" in pursuit("recover A.parquet back.parquet -k 3 -o o.npy")[2]


BATCHES = "recover {} {} -k 3 --batch 4 -o {}"


@pytest.mark.parametrize("more", ["", " --workers 1"])
def test_labels_are_compared_in_batches_too(more, pursuit, folder):
    labels = [f"s{i}" for i in range(30)]
    pandas.DataFrame(A, labels, ATOMS).to_parquet("A.parquet")
    many = pandas.DataFrame(np.outer(np.arange(1, 10), Y), [f"p{i}" for i in range(9)], labels)
    many.to_parquet("y.parquet")
    many[labels[::-1]].to_parquet("back.parquet")
    many.rename(columns={"s0": "t"}).to_parquet("other.parquet")
    assert pursuit(BATCHES.format("A.parquet", "y.parquet", "o.npy") + more)[0] == 0
    assert found() == [[5, 17, 40]] * 9  # the index of text is no column
    for name, what in (("back", "the same labels in another order"), ("other", "other labels")):
        code, _, err = pursuit(BATCHES.format("A.parquet", f"{name}.parquet", "p.npy") + more)
        assert code == 2
        assert f"the names of the columns of y ({name}.parquet) have {what} than the index of A (A.parquet)" in err
    assert not Path("p.npy").exists()
    many.assign(who="x").to_parquet("text.parquet")
    assert "the column 'who' holds" in pursuit(BATCHES.format("A.parquet", "text.parquet", "p.npy"))[2]


OWN = """
import numpy, pursuit
def good(A, y, k):
    return pursuit.omp(numpy.asarray(A) @ numpy.eye(60), y, k=k)
"""


def test_own_solvers_work_in_batches(pursuit, folder, monkeypatch):
    (folder / "mysol.py").write_text(OWN)
    np.save("many.npy", np.outer(np.arange(1, 10), Y))
    code, _, err = pursuit(BATCHES.format("A.npy", "many.npy", "o.npy") + " --method mysol:good")
    assert (code, err) == (0, "")
    assert found() == [[5, 17, 40]] * 9


def test_batches_of_more_axes_are_those_of_one_call(pursuit, folder):
    many = np.arange(1, 25).reshape(2, 3, 4, 1) * Y
    np.save("many.npy", many)
    zarr.save("many.zarr", many)
    records = np.zeros(many.shape, [("I", "f8"), ("Q", "f8")])
    records["I"] = many
    np.save("records.npy", records)
    for size in (1, 5, 7, 100):
        for file in ("many.npy", "many.zarr", "records.npy"):
            assert pursuit(f"recover A.npy {file} -k 3 --batch {size} -o o.npy")[0] == 0
            np.testing.assert_allclose(np.load("o.npy"), np.arange(1, 25).reshape(2, 3, 4, 1) * X, atol=1e-9)
    assert pursuit("recover A.npy many.npy -k 3 --batch 5 -o o.npz")[0] == 0
    assert scipy.sparse.load_npz("o.npz").shape == (24, 60)
    assert "signal's axis last" in pursuit("recover A.npy many.npy -k 3 --batch 5 --layout columns -o p.npy")[2]
    assert "leave out --batch" in pursuit("recover A.npy y.npy -k 3 --batch 5 -o p.npy")[2]


def test_a_nan_in_batches_is_named_by_its_place_in_the_file(pursuit, folder):
    many = np.outer(np.arange(1, 21), Y)
    many[17, 3] = np.nan
    np.save("many.npy", many)
    np.save("down.npy", many.T)
    np.save("cube.npy", many.reshape(4, 5, 30))
    for file, at in (("many.npy", "(17, 3)"), ("down.npy --layout columns", "(3, 17)"), ("cube.npy", "(3, 2, 3)")):
        code, _, err = pursuit(f"recover A.npy {file} -k 3 --batch 4 -o {file[:4]}.npz")
        assert code == 2
        assert f"the entry at {at} is NaN or infinite" in err
    with pytest.raises(ValueError, match=r"y is NaN or infinite at \(3, 2, 3\)"):
        solve(A, many.reshape(4, 5, 30), "omp", k=3, batch_size=4)


# Titles, folders, sheets


def test_a_title_is_no_name(pursuit, folder):
    np.savetxt("A.txt", A, header="A =\n", comments="")
    code, out, _ = pursuit("recover A.txt y.npy -k 3 -o o.npy")
    assert code == 0
    assert "A.txt: 30 x 60, real; line 1 read as a title" in out
    assert "columns of A (from 0): 5, 17, 40\n" in out
    pandas.DataFrame(A, columns=[*ATOMS[:17], "", *ATOMS[18:]]).to_csv("gaps.csv", index=False)
    assert "columns of A (from 0): 5 (a5), 17, 40 (a40)\n" in pursuit("recover gaps.csv y.npy -k 3 -o o.npy")[1]


def test_a_folder_is_called_one(pursuit, folder):
    (folder / "data").mkdir()
    for where in ("data", "."):
        code, _, err = pursuit(f"recover {where} y.npy -k 3 -o o.npy")
        assert (code, err) == (2, f"pursuit: {where}: is a folder; give the path of a file in it.\n")
        assert "is a folder" in pursuit(BATCHES.format("A.npy", where, "o.npz"))[2]


def test_formulas_need_their_values(pursuit, folder):
    book = openpyxl.Workbook()
    for value in Y:
        book.active.append([float(value)])
    book.create_sheet("notes").append(["hello"])
    book.save("y.xlsx")
    assert pursuit("recover A.npy y.xlsx -k 3 -o o.npy")[0] == 0  # notes are no array
    book.active["A30"] = "=1+1"
    book.save("sum.xlsx")
    code, _, err = pursuit("recover A.npy sum.xlsx -k 3 -o o.npy")
    assert code == 2
    assert "the cell A30 of the sheet 'Sheet' is =1+1, and its value is not stored; open the file in Excel" in err
    book["notes"].append([3])
    book.save("two.xlsx")
    assert "holds 2 arrays (Sheet, notes)" in pursuit("recover A.npy two.xlsx -k 3 -o o.npy")[2]


# One option for each file, and what else the command says


def test_an_option_for_each_file_may_be_repeated(pursuit):
    nm = 400 + 10.5 * np.arange(30)
    pandas.DataFrame(A, nm).to_csv("A.csv", header=False)
    pandas.DataFrame({"s": Y}, nm).to_csv("y.csv", header=False)
    for options in ("--index A=yes --index y=yes", "--index A=yes,y=yes", "--index yes"):
        assert pursuit(f"recover A.csv y.csv {options} -k 3 -o o.npy")[0] == 0
        assert found() == [[5, 17, 40]]
    columns = "--columns A=2: --columns y=2 --header A=no --header y=no --decimal A=. --decimal y=."
    code, out, _ = pursuit(f"recover A.csv y.csv {columns} -k 3 -o o.npy")
    assert code == 0
    assert out.count("taken") == 2
    for options, message in (
        ("--index yes --index no", "--index was given 2 times, as 'yes' and 'no'; give one value for all files, or"),
        ("--columns 2: --columns y=2", "--columns was given 2 times, as '2:' and 'y=2'"),
        ("--header A=no --header A=1", "--header is 'A=no,A=1', which names a file twice"),
        ("--decimal . --decimal . --batch 0", "--decimal was given 2 times"),
    ):
        code, _, err = pursuit(f"recover A.csv y.csv {options} -k 3 -o no.npy")
        assert code == 2
        assert message in err
    shown = pursuit("recover --help")[1]
    assert all(form in shown for form in ("A=2,y=no", "A=yes,y=no", "A=.,y=,", "A=3:,y=2", "A=cf32,y=ci16"))


def test_the_transpose_of_the_transpose_is_the_file_itself(pursuit):
    code, _, err = pursuit("recover A.npy.T y.npy -k 3 -o o.npy")
    assert code == 2
    assert "give A.npy in the place of A.npy.T" in err


def test_a_matrix_in_the_place_of_the_measurements(pursuit, folder):
    (folder / "link.npy").symlink_to("A.npy")
    for y in ("A.npy", "./A.npy", "link.npy", "A.npy.T"):
        for line in (f"recover A.npy {y} -k 3 -o no.npy", f"compare --A A.npy --y {y}"):
            code, _, err = pursuit(line)
            assert code == 2
            assert f"A (A.npy) and y ({y}) are the same array" in err
    assert "are the same array" in pursuit("recover A.npy A.npy -k 3 -o no.npy --batch 0")[2]
    np.save("both.npy", np.column_stack([A, Y]))
    assert pursuit("recover both.npy[:,:60] both.npy[:,60] -k 3 -o o.npy")[0] == 0


def test_names_of_columns_stand_beside_their_numbers(pursuit):
    names = [f"atom {i}" for i in range(60)]
    pandas.DataFrame(A, columns=names).to_csv("A.csv", index=False)
    pandas.DataFrame(A.T, names).to_csv("T.csv", header=False)
    np.save("one.npy", Y[None])
    line = "support: 3 of 60 columns of A (from 0): 5 (atom 5), 17 (atom 17), 40 (atom 40)\n"
    for given in ("A.csv y.npy", "A.csv one.npy", "T.csv.T y.npy"):
        code, out, _ = pursuit(f"recover {given} -k 3 -o o.npy")
        assert code == 0
        assert line in out
        assert "of the norm of y\n" in out
    assert "(from 0): 3 (atom 5), 15 (atom 17), 38 (atom 40)\n" in pursuit("recover A.csv[:,2:] y.npy -k 3 -o o.npy")[1]
    assert "(from 0): 4 (atom 5), 16" in pursuit("recover A.csv y.npy --columns A=2: -k 3 -o o.npy")[1]
    assert "(from 0): 5, 17, 40\n" in pursuit("recover A.npy y.npy -k 3 -o o.npy")[1]
    pandas.DataFrame(A, columns=[f"a rather long name of column {i}" for i in range(60)]).to_csv("L.csv", index=False)
    out = pursuit("recover L.csv y.npy -k 3 -o o.npy")[1]
    assert "(from 0): 5 (a rather long name of column 5), ...\n" in out


def test_what_is_written_for_a_series(pursuit):
    pandas.Series(Y).to_csv("y.csv")
    np.save("column.npy", Y[:, None])
    for y, shapes in (("y.csv", ((60,), (60,), (1, 60))), ("column.npy", ((60, 1), (60, 1), (60, 1)))):
        for end, shape in zip(("npy", "npz", "mat"), shapes, strict=True):
            assert pursuit(f"recover A.npy {y} -k 3 -o o.{end}")[0] == 0
            assert {"npy": np.load, "npz": lambda f: np.load(f)["x"], "mat": lambda f: scipy.io.loadmat(f)["x"]}[end](
                f"o.{end}"
            ).shape == shape
        assert pursuit(f"recover A.npy {y} -k 3 -o o.csv")[0] == 0
        assert len(Path("o.csv").read_text().splitlines()) == (1 if y == "y.csv" else 60)
