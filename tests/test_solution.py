"""What a solution tells: atoms without -1, by name, a few lines at any size, and the status in words."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import xarray as xr

import pursuit

rng = np.random.default_rng(0)
GRID = np.arange(-90, 91)  # degrees
A = np.exp(1j * np.pi * np.outer(np.arange(16), np.sin(np.deg2rad(GRID))))
Y = np.stack([A[:, 70], A[:, 70] + 2 * A[:, 125], 0 * A[:, 0]])


def test_a_phantom_source_is_not_among_the_atoms():
    sol = pursuit.omp(A, Y, 3)
    assert (sol.support[0] == [70, -1, -1]).all()
    assert [GRID[found].tolist() for found in sol.atoms] == [[-20], [35, -20], []]
    assert [found.dtype for found in sol.atoms] == [np.int64] * 3
    assert [found.tolist() for found in pursuit.omp(torch.from_numpy(A), torch.from_numpy(Y), 3).atoms] == [
        [70],
        [125, 70],
        [],
    ]
    one = pursuit.omp(A, Y[1], 3)
    assert GRID[one.atoms].tolist() == [35, -20]
    cube = pursuit.omp(A, Y[[[0, 1]]], 3).atoms
    assert [[found.tolist() for found in row] for row in cube] == [[[70], [125, 70]]]
    assert pursuit.omp(A, Y[:0], 3).atoms == []


def test_atoms_go_with_the_coefficients():
    sol = pursuit.omp(A, Y[1], 2)
    x = np.zeros(181, complex)
    x[sol.atoms] = sol.coefficients
    np.testing.assert_array_equal(x, sol.x)


@pytest.mark.parametrize("solve", [pursuit.omp, pursuit.iht, pursuit.els], ids=lambda solve: solve.__name__)
def test_atoms_have_the_names_of_the_columns(solve):
    genes = [f"rs{j}" for j in range(8)]
    table = pd.DataFrame(rng.standard_normal((20, 8)), columns=genes)
    y = table["rs5"] - 3 * table["rs2"]
    sol = solve(table, y, 2)
    assert sorted(sol.atoms) == ["rs2", "rs5"]
    assert "rs2" in repr(sol)
    assert "rs5" in sol.summary()
    assert {*pd.Series(sol.x, index=table.columns)[sol.atoms].index} == {"rs2", "rs5"}
    both = solve(table, np.stack([y, table["rs7"]]), 2)
    assert sorted(both.atoms[0]) == ["rs2", "rs5"]
    assert "rs7" in both.atoms[1]
    assert sorted(solve(pursuit.as_operator(table), y.to_numpy(), 2).atoms) == ["rs2", "rs5"]
    assert sorted(solve(table, y.to_numpy() + 0j, 2).atoms) == ["rs2", "rs5"]
    assert sorted(solve(table, y.to_numpy("float32"), 2).atoms) == ["rs2", "rs5"]


def test_a_changed_copy_keeps_the_names():
    table = pd.DataFrame(rng.standard_normal((20, 3)), columns=["tp53", "brca1", "egfr"])
    sol = pursuit.omp(table, table["brca1"] + 2 * table["egfr"], 2)
    halved = dataclasses.replace(sol, coefficients=sol.coefficients / 2)
    assert halved.names is sol.names
    assert halved.atoms.tolist() == ["egfr", "brca1"]
    np.testing.assert_allclose(halved.x, [0, 0.5, 1])


def test_wavelengths_and_levels_are_names_too():
    spectra = rng.standard_normal((9, 4))
    y = spectra[:, 2]
    assert pursuit.omp(pd.DataFrame(spectra, columns=[900.0, 901.5, 903.0, 904.5]), y, 1).atoms.tolist() == [903.0]
    levels = pd.MultiIndex.from_product([["a", "b"], [1, 2]])
    assert pursuit.omp(pd.DataFrame(spectra, columns=levels), y, 1).atoms.tolist() == [("b", 1)]
    named = xr.DataArray(spectra, dims=("time", "line"), coords={"line": ["Ha", "Hb", "Hc", "Hd"]})
    assert pursuit.omp(named, y, 1).atoms.tolist() == ["Hc"]
    assert pursuit.path(pd.DataFrame(spectra, columns=list("abcd")), y, [1, 2]).atoms[0].tolist() == ["c"]
    assert pursuit.path(pd.DataFrame(spectra, columns=list("abcd")), y, [1], method="iht").atoms[0].tolist() == ["c"]


def test_the_status_is_there_in_words():
    assert pursuit.omp(A, Y[1], 1).message == "all k atoms were chosen"
    words = pursuit.omp(A, Y, 3).message
    assert words == [pursuit.Status(int(code)).message for code in pursuit.omp(A, Y, 3).status]
    assert pursuit.omp(A, Y[[[0], [1]]], 3).message == [[words[0]], [words[1]]]


SHAPES = [(), (1,), (5,), (2, 3), (3000,)]


@pytest.mark.parametrize("batch", SHAPES, ids=str)
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize("n", [40, 3000])
def test_five_lines_stand_for_it_at_any_size(batch, kind, n):
    matrix, signals = rng.standard_normal((30, n)), rng.standard_normal((*batch, 30))
    for sol in (
        pursuit.omp(kind(matrix), kind(signals), 20),
        pursuit.ista(kind(matrix), kind(signals), 0.1, max_steps=3),
    ):
        lines = repr(sol).splitlines()
        assert len(lines) == 5
        assert max(map(len, lines)) <= 80
        assert [line.split()[0] for line in lines] == ["Solution:", "atoms", "coefficients", "residual", "status"]
        for j in np.asarray(sol.support).ravel()[:1]:
            assert str(int(j)) in lines[1] or batch
        for line in sol.summary().splitlines():
            assert len(line) <= 80
        assert len(sol.summary().splitlines()) <= 30
    assert repr(pursuit.omp(kind(matrix), kind(np.zeros((0, 30))), 2)) == f"Solution: no signals, n = {n}"
    assert pursuit.omp(kind(matrix), kind(np.zeros((0, 30))), 2).summary() == f"Solution: no signals, n = {n}"


def test_the_lines_are_right():
    sol = pursuit.omp(np.eye(4), np.array([0.0, 0.5, -3.0, 1.0]), 2)
    assert repr(sol).splitlines() == [
        "Solution: 2 of 4 coefficients, float64",
        "  atoms         2, 3",
        "  coefficients  -3, 1",
        "  residual      0.5 = ||y - A x||, after 2 steps",
        "  status        all k atoms were chosen",
    ]
    sol = pursuit.omp(np.eye(4), np.array([[0.0, 0.5, -3.0, 1.0], [0.0, 1.0, 0.0, 0.0], [0.0] * 4]), 2)
    assert repr(sol).splitlines() == [
        "Solution: 3 signals, 0 to 2 of 4 coefficients each, float64",
        "  atoms         3 different: 1 (1), 2 (1), 3 (1)",
        "  coefficients  of size 1 to 3",
        "  residual      0 to 0.5, median 0; 0 to 2 steps",
        "  status        2 of 3: TOLERANCE; 1 of 3: SPARSITY",
    ]
    assert repr(sol.summary()) == sol.summary()  # a notebook shows it without \n


def test_it_is_shown_also_with_gradients_and_complex_numbers():
    sol = pursuit.omp(torch.eye(3, dtype=torch.complex128), torch.tensor([1j, 0, 2], requires_grad=True), 1)
    assert "2+0j" in repr(sol)
    assert "2+0j" in sol.summary()


def test_sparse_answers():
    matrix, signals = rng.standard_normal((30, 500)), rng.standard_normal((4, 5, 30))
    for solve in (lambda y: pursuit.omp(matrix, y, [[3]]), lambda y: pursuit.ista(matrix, y, 0.5, max_steps=5)):
        sol = solve(signals)
        found = sol.to_scipy()
        assert scipy.sparse.issparse(found)
        assert found.format == "csr"
        np.testing.assert_array_equal(found.toarray(), sol.x.reshape(20, 500))
    sol = pursuit.omp(matrix, signals, 3)
    assert sol.to_scipy().nnz == 60
    assert "x" not in vars(sol)  # the dense signals were not formed
    assert pursuit.omp(torch.from_numpy(matrix), torch.from_numpy(signals[0, 0]), 3).to_scipy().shape == (1, 500)
    eye = pursuit.omp(np.eye(3), np.array([0.0, 4.0, 0.0]), 2).to_scipy()
    assert eye.nnz == 1


def drawn(ax, label=None):
    return [line.get_xydata() for line in ax.lines if label is None or line.get_label() == label]


def test_a_plot_shows_the_coefficients_and_the_residuals(tmp_path):
    table = pd.DataFrame(rng.standard_normal((20, 50)), columns=[f"g{j}" for j in range(50)])
    signals = rng.standard_normal((7, 20))
    sol = pursuit.omp(table, signals, 4)
    figure = pursuit.plot(sol, signal=3, truth=sol.x)
    left, right = figure.axes
    found = next(
        data for data in drawn(left) if len(data) == 4 and (np.sort(data[:, 0]) == np.sort(sol.support[3])).all()
    )
    np.testing.assert_allclose(sol.x[3][found[:, 0].astype(int)], found[:, 1])
    assert {label.get_text() for label in left.get_xticklabels()} == {*sol.atoms[3]}
    np.testing.assert_allclose(drawn(right)[0][:, 1], np.sort(sol.residual_norm))
    figure.savefig(tmp_path / "solution.png")
    low, high = left.get_ylim()
    assert low < sol.x[3].min()
    assert sol.x[3].max() < high  # no spike is cut
    worst = int(sol.residual_norm.argmax())
    assert f"signal {worst}" in pursuit.plot(sol).axes[0].get_title(loc="left")


def test_a_plot_of_one_signal_of_complex_numbers_and_of_no_atoms():
    (ax,) = pursuit.plot(pursuit.omp(torch.from_numpy(A), torch.from_numpy(Y[1]), 2)).axes
    assert ax.get_ylabel() == "|x|"
    assert pursuit.plot(pursuit.omp(A, Y[2], 2)).axes[0].get_title(loc="left").startswith("0 of 181")
    cube = pursuit.omp(A, Y[[[0, 1]]], 1)
    assert len(pursuit.plot(cube, signal=(0, 1)).axes) == 2
    late = pursuit.ista(A, Y[[0, 1]], 0.1, max_steps=2)
    assert "without a result" in pursuit.plot(late).axes[1].get_legend_handles_labels()[1][0]


def test_a_plot_of_a_path_shows_coefficients_and_residuals_over_k(tmp_path):
    table = pd.DataFrame(rng.standard_normal((20, 50)), columns=[f"g{j}" for j in range(50)])
    signals, ks = rng.standard_normal((3, 20)), [1, 5, 2]
    sol = pursuit.path(table, signals, ks)
    figure = pursuit.plot(sol, ks=ks, signal=2, truth=sol.x[1])
    left, right = figure.axes
    np.testing.assert_allclose(drawn(right)[0], np.stack([[1, 2, 5], sol.residual_norm[[0, 2, 1], 2]], -1))
    for atom, name in zip(sol.support[1, 2], sol.atoms[1][2], strict=True):
        (line,) = drawn(left, name)
        np.testing.assert_allclose(line, np.stack([[1, 2, 5], sol.x[[0, 2, 1], 2, atom]], -1))
    (truth,) = drawn(left, "truth")
    np.testing.assert_allclose(np.sort(truth[:, 1]), np.sort(sol.coefficients[1, 2]))
    figure.savefig(tmp_path / "path.png")
    one = pursuit.path(torch.from_numpy(A), torch.from_numpy(Y[1]), [1, 2])
    assert pursuit.plot(one, ks=[1, 2]).axes[0].get_ylabel() == "|x|"
    for wrong in ([1, 2, 3], []):
        with pytest.raises(ValueError, match="which pursuit"):
            pursuit.plot(one, ks=wrong)
    with pytest.raises(ValueError, match="which pursuit"):
        pursuit.plot(pursuit.omp(A, Y[1], 2), ks=[2])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"signal": 5}, "signal is 5"),
        ({"signal": (0, 1)}, "needed are 1 whole"),
        ({"truth": np.ones(3)}, "truth has shape"),
    ],
)
def test_what_a_plot_cannot_show_is_named(options, words):
    with pytest.raises((ValueError, IndexError), match=re.escape(words)):
        pursuit.plot(pursuit.omp(A, Y, 1), **options)
    with pytest.raises(ValueError, match="no signals"):
        pursuit.plot(pursuit.omp(A, Y[:0], 1))
