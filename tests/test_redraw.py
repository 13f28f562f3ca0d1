"""Pictures are drawn from the tables that an experiment has written, without running it again."""

import shutil
from pathlib import Path

import pytest
from matplotlib.image import imread

from pursuit.experiments import runner
from pursuit.experiments.cells import read_tables
from pursuit.experiments.registry import EXPERIMENTS, module

RESULTS = Path(__file__).parents[1] / "results"
FOLDERS = {folder.name: name for name in EXPERIMENTS for folder in RESULTS.glob(f"{name}*")}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_committed_table_can_be_drawn(folder):
    figure = module(FOLDERS[folder]).draw(read_tables(RESULTS / folder), quick=False)
    assert any(ax.has_data() for ax in figure.axes)


def test_there_is_a_result_of_every_experiment():
    assert set(FOLDERS.values()) == set(EXPERIMENTS)


@pytest.fixture
def nothing_runs(monkeypatch):
    """A cell that is run is a failure."""

    def run(cell, folder):
        raise AssertionError(f"{cell} is run")

    for name in ("dgu-fig1", "dgu-bounds"):
        monkeypatch.setattr(module(name), "run", run)


def test_a_folder_with_tables_only_is_drawn_again(tmp_path, request):
    first = runner.reproduce("dgu-fig1", tmp_path, quick=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix in (".csv", ".json")}
    picture = imread(tmp_path / "figure.png")
    (tmp_path / "figure.png").unlink()
    shutil.rmtree(tmp_path / "cells")
    request.getfixturevalue("nothing_runs")
    again = runner.reproduce("dgu-fig1", tmp_path, quick=True)
    assert {table: len(rows) for table, rows in again.items()} == {table: len(rows) for table, rows in first.items()}
    assert (imread(tmp_path / "figure.png") == picture).all()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before} == before
    assert not (tmp_path / "cells").exists()


def test_tables_are_not_replaced_by_those_of_other_cells(tmp_path, nothing_runs):
    for file in (RESULTS / "dgu-fig1").iterdir():
        shutil.copy(file, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name, seed in (("dgu-fig1", 1), ("dgu-bounds", 0)):
        with pytest.raises(ValueError, match="choose another folder"):
            runner.reproduce(name, tmp_path, seed=seed)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_columns_keep_their_kind(tmp_path):
    (tmp_path / "t.csv").write_text("k,x,eta,legacy,note,none\n1,1e-3,1/L,True,,\n2,inf,0.6,False,why,\n")
    assert read_tables(tmp_path)["t"] == [
        {"k": 1, "x": 1e-3, "eta": "1/L", "legacy": True, "note": None, "none": None},
        {"k": 2, "x": float("inf"), "eta": "0.6", "legacy": False, "note": "why", "none": None},
    ]
    (tmp_path / "t.csv").write_text("k,x\n")
    assert read_tables(tmp_path)["t"] == []
