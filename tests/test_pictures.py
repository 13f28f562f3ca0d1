"""Names of the user's data in pictures of solutions and comparisons."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pursuit
from pursuit import cli
from pursuit.plots import style
from pursuit.plots.comparison import figure as compared

M, N = 30, 60
ATOMS = [3, 4, 30, 41]
rng = np.random.default_rng(1)
A = rng.standard_normal((M, N))
X = np.zeros((4, N))
X[:, ATOMS] = rng.standard_normal((4, 4)) + 2
Y = X @ A.T
STATIONS, GENES = [f"station {i}" for i in range(M)], [f"gene {j}" for j in range(N)]
TABLE, MEASURED = pd.DataFrame(A, STATIONS, GENES), pd.DataFrame(Y, list("pqrs"), STATIONS)


@pytest.fixture(autouse=True)
def steps_only(monkeypatch):
    """Kernels give the same, and would be compiled first."""
    monkeypatch.setattr(pursuit.config, "kernels", "off")


def named(ax):
    """The words below an axis that can be seen."""
    return [label.get_text() for label in ax.get_xticklabels() if label.get_visible()]


def overlapping(ax):
    """The number of turned labels that are nearer to the next one than their text is high."""
    labels = ax.get_xticklabels()
    at = ax.transData.transform([(label.get_position()[0], 0) for label in labels])[:, 0]
    turned = np.sin(np.deg2rad([label.get_rotation() for label in labels[1:]]))
    high = np.array([label.get_fontsize() for label in labels[1:]]) * ax.figure.dpi / 72
    return int((np.diff(at) * turned < high).sum())


def test_stems_of_a_solution_have_the_names_of_their_columns():
    ax, _ = pursuit.plot(pursuit.omp(TABLE, MEASURED, 4), signal=0).axes
    assert named(ax) == [GENES[j] for j in ATOMS]
    numbered, _ = pursuit.plot(pursuit.omp(A, Y, 4), signal=0).axes
    assert not {*named(numbered)} & {*GENES}


@pytest.mark.parametrize("signals", [0, slice(None)], ids=["one", "all"])
@pytest.mark.parametrize("k", [12, 40])
def test_up_to_forty_names_do_not_overlap(k, signals):
    wide = pd.DataFrame(rng.standard_normal((50, 300)), columns=[f"a feature of {j}" for j in range(300)])
    y = wide.to_numpy()[:, 100 : 100 + 2 * k : 2] @ rng.uniform(1, 2, (k, 3))
    figure = pursuit.plot(pursuit.omp(wide, y.T[signals], k))
    figure.draw_without_rendering()
    ax = figure.axes[0]
    assert len(named(ax)) == k
    np.testing.assert_allclose(ax.get_xlim(), (-6, 305), err_msg="names do not move the stems")
    assert overlapping(ax) == 0
    assert sum(text.arrow_patch is not None for text in ax.texts) in (0, k)  # a line to each stem, or all below theirs


def test_more_than_forty_columns_are_numbered():
    wide = pd.DataFrame(rng.standard_normal((50, 300)), columns=[f"x{j}" for j in range(300)])
    (ax,) = pursuit.plot(pursuit.omp(wide, rng.standard_normal(50), 41)).axes
    assert not any("x" in word for word in named(ax))


def test_long_and_odd_names_are_cut_and_shown_as_they_are():
    table = TABLE.rename(columns={"gene 3": "price in $ per $unit", "gene 4": "long " * 20, "gene 30": "two\nlines"})
    figure = pursuit.plot(pursuit.omp(table, Y[0], 4))
    figure.draw_without_rendering()
    first, second, third, _ = named(figure.axes[0])
    assert first == r"price in \$ per \$unit"
    assert second == "long long l…ng long long"
    assert third == "two lines"


def test_names_that_differ_in_the_middle_stay_different():
    names = [f"a very long name of component {j} in milligrams per litre" for j in range(60)]
    (ax,) = pursuit.plot(pursuit.omp(pd.DataFrame(A, columns=names), Y[0], 4)).axes
    assert len({*named(ax)}) == 4
    assert named(ax)[-1] == f"a very lon…{ATOMS[-1]}… per litre"
    left, _ = pursuit.plot(pursuit.path(pd.DataFrame(A, columns=names), Y[0], ks=[4]), ks=[4]).axes
    assert len({text.get_text() for text in left.get_legend().get_texts()}) == 4


def whole_ticks(ax):
    ax.figure.draw_without_rendering()
    low, high = sorted(ax.get_xlim())
    ticks = [at for at in ax.get_xticks() if low <= at <= high]
    return ticks and all(at == round(at) for at in ticks)


def test_axes_that_count_have_whole_numbers():
    of_path = pursuit.plot(pursuit.path(A, Y[0], ks=[4]), ks=[4])
    stems, residuals = pursuit.plot(pursuit.omp(A[:, :3], Y[:2], 1)).axes
    for ax in (*of_path.axes, stems, residuals):
        assert whole_ticks(ax)


def test_a_truth_in_another_order_is_not_drawn():
    sol, truth = pursuit.omp(TABLE, Y[0], 4), pd.Series(X[0], GENES)
    pursuit.plot(sol, truth=truth)
    with pytest.raises(ValueError, match=r"the index of truth has the same labels in another order .* truth.loc\[A"):
        pursuit.plot(sol, truth=truth[::-1])


def test_the_comparison_of_tables_has_names_of_columns_and_measurements():
    figure = pursuit.compare(TABLE, MEASURED, x=X, methods=["omp", "sp"]).plot()
    truth, measurements, omp, wrong, sp, lowest = figure.subfigs[0].axes
    assert named(measurements) == STATIONS
    assert named(lowest) == [GENES[j] for j in ATOMS]
    assert lowest.get_xlabel() == "column of A"
    figure.draw_without_rendering()
    for ax in (truth, omp, wrong, sp):  # one row of names for all
        assert not any(tick.label1.get_visible() for tick in ax.xaxis.get_major_ticks())
    assert overlapping(measurements) == overlapping(lowest) == 0


def test_what_has_no_names_is_numbered():
    for table, y in ((A, Y), (pd.DataFrame(A), pd.DataFrame(Y))):
        found = pursuit.compare(table, y, x=X, methods=["omp"])
        _, measurements, _, lowest = found.plot().subfigs[0].axes
        assert lowest.get_xlabel() == "index"
        assert len(named(measurements)) < M / 2
        assert found.instance.measured is None


def test_measurements_have_the_names_that_y_has():
    series = MEASURED.iloc[0]
    assert pursuit.compare(A, series, x=X[0], methods=["omp"]).instance.measured == STATIONS
    assert pursuit.compare(A, MEASURED, x=X, methods=["omp"]).instance.measured == STATIONS


def test_the_picture_of_files_has_their_names_and_the_names_in_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn = []
    monkeypatch.setattr("pursuit.plots.comparison.figure", lambda *given: drawn.append(compared(*given)) or drawn[-1])
    Path("data").mkdir()
    TABLE.to_csv("data/A.csv")
    MEASURED.to_csv("y.csv")
    np.save("y.npy", Y)
    pd.DataFrame(X, list("pqrs"), GENES).to_csv("x.csv")
    for y in ("y.csv", "y.npy"):
        with pytest.raises(SystemExit) as end:
            cli.main(f"compare --A data/A.csv --y {y} --x x.csv --methods omp -o out".split())
        assert not end.value.code
        left = drawn[-1].subfigs[0]
        assert left.get_suptitle().startswith(f"A.csv (30 x 60), {y}: signal ")
        _, measurements, _, lowest = left.axes
        assert named(measurements) == STATIONS
        assert named(lowest) == [GENES[j] for j in ATOMS]


@pytest.mark.parametrize("places", [[0.0, 0.1, 0.2, 9.9, 10.0], [5.0], [9.8, 9.9, 10.0], [1.0, 4.0, 8.0]])
def test_names_are_moved_apart_and_stay_in_order(places):
    moved = style.apart(np.array(places), 1.0, (0.0, 10.0))
    assert (np.diff(moved) > 1 - 1e-9).all()
    assert moved.min() >= 0
    assert moved.max() <= 10 + 1e-9
    if len(places) == 1 or np.diff(places).min() > 1:
        np.testing.assert_allclose(moved, places)
