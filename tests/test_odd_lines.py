"""Odd command lines, drawn from a seed: an answer, or one line of error and nothing written."""

import random
from pathlib import Path

import numpy as np
import pandas
import pytest
import scipy.sparse

from helpers import outputs
from pursuit import cli

rng = np.random.default_rng(0)
A, Y = rng.standard_normal((6, 9)), rng.standard_normal((3, 6))
ARRAYS = {
    "A": A, "At": A.T, "y": Y[0], "Y": Y, "Yt": Y.T, "square": rng.standard_normal((6, 6)), "Z": A + 1j * A,
    "z": Y[0] + 1j, "pairs": Y[:2].T, "no_rows": np.zeros((0, 6)), "no_columns": np.zeros((6, 0)),
    "number": np.array(3.0),
    "mask": np.ones((6, 9), bool), "whole": np.arange(54).reshape(6, 9), "bytes": np.arange(6, dtype=np.uint8),
    "half": A.astype(np.float16), "nan": A * np.nan, "text": np.array(["a", "b"]), "cube": np.ones((6, 6, 9)),
    "batches": np.ones((3, 2, 6)), "zero": 0 * Y[0], "long": A.astype(np.longdouble), "swapped": A.astype(">f8"),
    "fortran": np.asfortranarray(A), "dates": np.array(["2020-01-01"], dtype="M8[D]"), "one": np.ones((1, 1)),
    "records": np.zeros(6, [("re", "f8"), ("im", "f8")]),
    "others": np.zeros(6, [("a", "f8"), ("b", "f8"), ("c", "i4")]),
}  # fmt: skip
SPECS = [
    "gone.npy", "", ".", "..", "/", "A.npy[", "A.npy[:,1:]", "A.npy[::0]", "A.npy[99:]", "A.npy[...,...]",
    "A.npy[0,0,0]", "A.npy.T", "y.npy.T", "m.npz:A", "m.npz:y", "m.npz:", "m.npz:..", "S.npz.T", "S.npz[0]", "A.csv.T",
    "A.npy[5:0:-1]", "x" * 300 + ".csv", "\x00.npy", "a\nb.npy", "é.npy",
]  # fmt: skip
VALUES = [
    "", "0", "1", "2", "-1", "nan", "inf", "1e300", "auto", "yes", "no", "rows", "columns", "pairs", "patterns",
    "y=yes", "A=no,y=yes", "y=", "=", ",", ".", "3:", "2:1", "1,,2", "a", "ci16", "float32", "9" * 30, "\x00", "omp",
    "ista", "sea", "gone:f", ":", "json:loads",
]  # fmt: skip
OPTIONS = ["-k", "--method", "--tol", "--lam", "--max-steps", "--layout", "--header", "--index", "--decimal",
           "--columns", "--dtype", "--x0", "--weights"]  # fmt: skip


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What can be named on the command line."""
    monkeypatch.chdir(tmp_path)
    for name, array in ARRAYS.items():
        np.save(f"{name}.npy", array)
    np.savez("m.npz", A=A, y=Y[0])
    scipy.sparse.save_npz("S.npz", scipy.sparse.csr_array(A))
    pandas.DataFrame(A).to_csv("A.csv")
    pandas.Series(Y[0]).to_csv("y.csv")
    pandas.DataFrame(Y).to_csv("Y.csv", index=False, header=False)
    (Y[0] + 1j).astype("c8").tofile("y.iq")
    Path("words.txt").write_text("hello world\n")
    Path("bytes.csv").write_bytes(bytes(range(256)))
    Path("empty.csv").write_text("")
    Path("quote.csv").write_text('"1,2\n3')
    Path("wide.csv").write_text("1," * 50_000 + "\n1\n" * 50)
    return sorted(path.name for path in tmp_path.iterdir()) + SPECS


def line(draw, names):
    """An odd command line."""

    def one(*usual):
        return draw.choice(usual if draw.random() < 0.8 else names)

    output = draw.choice(["o.npy"] * 4 + ["o.csv", "o.mat", "o.npz", "o.xyz", "", ".", "/dev/null/x.npy"])
    words = ["recover", one("A.npy", "A.csv", "S.npz", "Z.npy"), one("y.npy", "y.csv", "Y.npy", "z.npy"), "-o", output]
    words += ["-k", "2"] if draw.random() < 0.9 else []
    for _ in range(draw.choice([0, 0, 1, 1, 2])):
        option = draw.choice(OPTIONS)
        words += [option, draw.choice(names if option in ("--x0", "--weights") else VALUES)]
    return words


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.nightly)])
def test_odd_command_lines(count, names, tmp_path, capsys):
    draw, before, codes = random.Random(count), set(tmp_path.iterdir()), []
    for _ in range(count):
        words = line(draw, names)
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        code, (_, err) = end.value.code or 0, outputs(capsys)
        left = set(tmp_path.iterdir()) - before
        codes.append(code)
        assert code in (0, 1, 2), words
        assert "Traceback" not in err, words
        assert "mistake in pursuit" not in err, words
        if code == 2:
            assert err.startswith("pursuit: "), words
            assert err.count("\n") == 1, words
            assert not left, words
        else:
            assert [path.name for path in left] == [words[4]], words
        for path in left:
            path.unlink()
    assert 0.1 < codes.count(2) / count < 0.95
