"""The experiments of figures 1 and 2: their numbers beside what is known, and that finished work is not done again."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

import pursuit
from pursuit.experiments.cells import Row
from pursuit.experiments.dgu import fig1 as dgu_fig1
from pursuit.experiments.dgu import fig2 as dgu_fig2
from pursuit.experiments.runner import reproduce

FEW = {"trials": 2, "every": 12}  # temperatures 1e-10 and 1e-4
_cells = dgu_fig2.cells


def few(quick: bool, seed: int) -> list[Row]:
    return [{**cell, **FEW} for cell in _cells(quick=quick, seed=seed)]


def cell(algorithm: str, quantity: str, legacy: bool = True, **settings: Any) -> Row:
    wanted = (algorithm, quantity, legacy)
    cells = dgu_fig2.cells(quick=False, seed=0)
    found = next(c for c in cells if (c["algorithm"], c["quantity"], c["legacy"]) == wanted)
    return {**found, **settings}


def calls(monkeypatch: pytest.MonkeyPatch, module: Any) -> list[Row]:
    """The cells that are run from now on."""
    seen: list[Row] = []
    run = module.run

    def counted(cell: Row, folder: Path) -> Any:
        seen.append(cell)
        return run(cell, folder)

    monkeypatch.setattr(module, "run", counted)
    return seen


def test_fig1_rows_are_a_sort_and_what_softens_it(tmp_path: Path) -> None:
    tables = dgu_fig1.run(dgu_fig1.cells(quick=True, seed=0)[0], tmp_path)
    matrices, v = dgu_fig1._matrices(tables["rows"])
    assert set(tables["rows"][0]) >= {"tau", "row", "column", "weight"}
    assert torch.equal(matrices[0] @ v, v.sort(descending=True).values)
    for matrix in matrices.values():
        torch.testing.assert_close(matrix.sum(-1), torch.ones(len(v), dtype=v.dtype), atol=1e-5, rtol=0)
    away = [(matrix - matrices[0]).norm() for _, matrix in sorted(matrices.items())]
    assert away == sorted(away)


def test_fig1_axes_are_labelled(tmp_path: Path) -> None:
    figure = dgu_fig1.draw(dgu_fig1.run(dgu_fig1.cells(quick=False, seed=0)[0], tmp_path), quick=False)
    heat_maps = len(dgu_fig1.TAUS)
    assert len(figure.axes) == heat_maps + 3  # a colour bar for all of them, and two panels below
    assert all(ax.get_xlabel() or ax.get_ylabel() for ax in figure.axes)


def test_fig2_a_finished_cell_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dgu_fig2, "cells", few)
    monkeypatch.setattr(dgu_fig2, "draw", lambda tables, quick: Figure(figsize=(1, 1)))  # the picture is not at stake
    seen = calls(monkeypatch, dgu_fig2)
    first = reproduce("dgu-fig2", tmp_path, quick=True)
    assert len(seen) == len(few(True, 0)) == 8
    next((tmp_path / "cells").glob("omp-soft*.json")).unlink()
    assert reproduce("dgu-fig2", tmp_path, quick=True) == first
    assert [c["algorithm"] for c in seen[8:]] == ["omp"]


def test_fig2_tables_and_picture(tmp_path: Path) -> None:
    tables: dict[str, list[Row]] = {}
    for settings in few(True, 0):
        for name, rows in dgu_fig2.run(settings, tmp_path).items():
            tables.setdefault(name, []).extend(rows)
    with (Path(dgu_fig2.__file__).parents[1] / "published" / "dgu_fig2.csv").open(newline="") as file:
        theirs = next(csv.reader(file))
    assert list(tables["summary"][0])[: len(theirs)] == theirs
    assert list(tables["trials"][0])[:5] == theirs[:5]
    theirs_too = [row for row in tables["summary"] if row["published_mean_log10"] is not None]
    assert len(tables["trials"]) == FEW["trials"] * len(theirs_too)
    assert len(tables["summary_distinct"]) == len(tables["summary"])
    figure = dgu_fig2.draw(tables, quick=True)
    assert [bool(ax.get_ylabel()) for ax in figure.axes] == [True, False, True, False]  # shared along a row
    assert all(ax.get_xlabel() for ax in figure.axes[2:])


@pytest.mark.parametrize(("algorithm", "tolerance"), [("omp", 0.15), ("iht", 0.15)])
def test_fig2_recovery_error_is_the_published_one(algorithm: str, tolerance: float, tmp_path: Path) -> None:
    """Of 8 trials whose standard deviation is 0.1 decades where soft equals hard, and at the plateau."""
    tables = dgu_fig2.run(cell(algorithm, "recovery_error", trials=8, every=4), tmp_path)
    rows = [r for r in tables["summary"] if r["tau"] is None or r["tau"] <= 1e-6 or r["tau"] == 1]
    assert len(rows) == 3 * 5
    for row in rows:
        assert abs(row["difference"]) <= tolerance, row


def test_fig2_soft_minus_hard_is_the_published_one(tmp_path: Path) -> None:
    """At both ends of the temperatures: between them trials differ by decades."""
    tables = dgu_fig2.run(cell("iht", "soft_minus_hard", trials=8, every=4), tmp_path)
    compared = [r for r in tables["summary"] if (r["tau"] <= 1e-8 or r["tau"] == 1) and r["difference"] is not None]
    assert len(compared) == 3 * 3
    for row in compared:
        assert abs(row["difference"]) <= 0.5, row


@pytest.mark.parametrize(("algorithm", "last"), [("omp", 30), ("iht", 10)])
def test_fig2_no_solver_stops_before_what_is_compared(algorithm: str, last: int) -> None:
    """At low temperature: at high ones IHT may be stationary."""
    A, x = dgu_fig2._signals(4, torch.Generator().manual_seed(0), legacy=True)
    y = dgu_fig2._measured(A, x, 1e-3, torch.Generator().manual_seed(1))
    for tau in (1e-10, 1e-3):
        iterates = dgu_fig2._iterates(algorithm, A, y, last, pursuit.Relaxed(pursuit.softsort, tau=tau))
        assert len(iterates) == last
        assert (iterates[-1] != iterates[-2]).any(-1).all()


@pytest.mark.parametrize("legacy", [True, False])
def test_fig2_signals(legacy: bool) -> None:
    A, x = dgu_fig2._signals(100, torch.Generator().manual_seed(0), legacy=legacy)
    used, norms = (x != 0).sum(-1), x.norm(dim=-1)
    torch.testing.assert_close(A.norm(dim=-2), torch.ones(100, dgu_fig2.N, dtype=A.dtype))
    if legacy:
        repeats = (used < dgu_fig2.S).double().mean().item()
        assert 0.1 < repeats < 0.36  # 23 % expected
        assert (x[:, 0] == 0).all()
        assert norms.max() <= 1 + 1e-12
    else:
        assert (used == dgu_fig2.S).all()
        torch.testing.assert_close(norms, torch.ones_like(norms))
        assert (x[:, 0] != 0).any()
