"""OMP-Net from several starts, in a few epochs; and why trainings fail."""

from pathlib import Path

import pytest

from pursuit.experiments.cells import read_tables
from pursuit.experiments.dgu import start as dgu_start

RESULTS = Path(__file__).parents[1] / "results"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    joint = {}
    for cell in dgu_start.cells(quick=True, seed=0):
        if cell["recipe"] in ("counted, low rate", "low rate"):
            folder = tmp_path_factory.mktemp("cell")
            for name, rows in dgu_start.run(cell | {"epochs": 2, "signals": 128}, folder).items():
                joint.setdefault(name, []).extend(rows)
    return joint


def test_ten_seeds_of_every_recipe():
    cells = dgu_start.cells(quick=False, seed=0)
    assert {(cell["recipe"], cell["seed"]) for cell in cells} == {(r, s) for r in dgu_start.RECIPES for s in range(10)}


def test_counted_places_are_a_better_start_than_ones(tables):
    losses = {row["recipe"]: row for row in tables["summary"]}
    counted, ones = losses["counted, low rate"], losses["low rate"]
    assert counted["start_loss"] < ones["start_loss"] / 10
    assert counted["test_loss"] < ones["test_loss"] / 10
    assert counted["weakest"] > 0.8
    assert counted["strongest_other"] < 0.3
    assert counted["oracle_loss"] == ones["oracle_loss"]


def test_figure(tables):
    figure = dgu_start.draw(tables, quick=True)
    assert len(figure.axes) == 3
    assert all(ax.get_ylabel() and ax.get_title(loc="left") for ax in figure.axes)


def test_failed_trainings_have_a_weight_near_zero():
    """Of the paper's training in the committed result; where the places were counted, no seed fails."""
    rows = read_tables(RESULTS / "dgu-start")["summary"]
    by_recipe = {recipe: [row for row in rows if row["recipe"] == recipe] for recipe in dgu_start.RECIPES}
    failed = [row for row in by_recipe["paper"] if row["test_loss"] > 10 * row["oracle_loss"]]
    assert len(failed) == 4
    assert all(row["weakest"] < 0.3 and row["raised_loss"] < 0.6 * row["test_loss"] for row in failed)
    assert all(row["weakest"] > 0.7 for row in by_recipe["paper"] if row not in failed)
    assert max(row["test_loss"] / row["oracle_loss"] for row in by_recipe["counted, low rate"]) < 1.5
