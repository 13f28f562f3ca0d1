"""Learned, counted and oracle weights in networks and solvers, on a few signals."""

from pathlib import Path

import pytest

from pursuit.experiments.cells import read_tables
from pursuit.experiments.dgu import solvers as dgu_solvers

RESULTS = Path(__file__).parents[1] / "results"
WEIGHTS = RESULTS / "dgu-fig3" / "weights.csv"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    cells = dgu_solvers.cells(quick=True, seed=0, weights=str(WEIGHTS))
    return [
        row
        for cell in cells
        for row in dgu_solvers.run(cell | {"signals": 64}, tmp_path_factory.mktemp("cell"))["solvers"]
    ]


def loss(rows, network, solver, field, weights, seed=0):
    (row,) = (
        row
        for row in rows
        if (row["network"], row["solver"], row["field"], row["weights"] or "", row["seed"])
        == (network, solver, field, weights, seed)
    )
    return row["loss"]


def test_all_solvers_have_all_weights(rows):
    sorts = {"omp-net": 6, "iht-net": 4}
    for network, count in sorts.items():
        assert sum(row["network"] == network for row in rows) == 2 * (4 * count + 1)


def test_the_network_before_training_is_its_solver(rows):
    for network, solver in (("omp-net", "omp"), ("iht-net", "iht")):
        for weights in ("one", "oracle"):
            own, hard = (loss(rows, network, s, "complex", weights) for s in ("network", solver))
            assert own == pytest.approx(hard, rel=0.7)


def test_the_oracle_leads_to_the_true_support(rows):
    for network in dgu_solvers.TITLES:
        truth = loss(rows, network, "true support", "real", "")
        assert loss(rows, network, "omp+sp", "real", "oracle") < 1.1 * truth
        assert truth < loss(rows, network, "true support", "complex", "")


def test_a_missing_table_of_weights_is_named(tmp_path):
    cell = dgu_solvers.cells(quick=True, seed=0, weights=str(tmp_path / "weights.csv"))[0]
    with pytest.raises(ValueError, match="no such file; needed is the table of learned weights"):
        dgu_solvers.run(cell, tmp_path)
    with pytest.raises(ValueError, match="has no weights of omp-net, seed 7; needed are those of the variant paper"):
        dgu_solvers.run(cell | {"weights": str(WEIGHTS), "seed": 7}, tmp_path)


def test_committed_result_says_what_the_page_says():
    """On IHT-Net's signals the solver alone reaches the true support; for OMP-Net's, counting is enough."""
    rows = read_tables(RESULTS / "dgu-solvers")["solvers"]
    for seed in range(3):
        truth = loss(rows, "iht-net", "true support", "real", "", seed)
        assert loss(rows, "iht-net", "omp+sp", "real", "one", seed) < 1.05 * truth
        truth = loss(rows, "omp-net", "true support", "real", "", seed)
        assert loss(rows, "omp-net", "omp+sp", "real", "counted", seed) < 1.1 * truth
        assert loss(rows, "omp-net", "omp+sp", "real", "one", seed) > 0.05


def test_figure(rows):
    figure = dgu_solvers.draw({"solvers": rows}, quick=True)
    assert len(figure.axes) == 4
    assert all(ax.get_ylabel() and ax.get_title(loc="left") for ax in figure.axes)
