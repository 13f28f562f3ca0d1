"""The experiments of the Support Exploration Algorithm in their smallest forms, and the settings of experiments."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import pursuit
from pursuit import cli, metrics, peers, problems
from pursuit.experiments.cells import path_of, planned
from pursuit.experiments.runner import reproduce
from pursuit.experiments.sea import (
    deconvolution,
)
from pursuit.experiments.sea import (
    fig1 as sea_fig1,
)
from pursuit.experiments.sea import (
    fig2 as sea_fig2,
)
from pursuit.experiments.sea import (
    fig3 as sea_fig3,
)
from pursuit.experiments.sea import (
    net as sea_net,
)

FEW = {"snrs": ("inf", 20), "sparsities": (3, 5), "runs": 3, "steps": 10}
OURS = {
    *("sea", "sea_plus", "iht", "htp", "omp", "ompr", "els"),
    *(f"{method}@{start}" for method in ("sea", "iht", "htp") for start in ("omp", "els")),
}


@pytest.fixture
def few(monkeypatch):
    """Seconds, without the packages that take some to import."""
    monkeypatch.setattr(sea_fig2, "QUICK", FEW)
    monkeypatch.setattr(sea_fig1, "QUICK", FEW)
    monkeypatch.setattr(peers, "find_spec", lambda package: package == "sklearn" or None)


def cell(family="zero", **changes):
    settings = {"n": 120, "sigma": 3.0, "boundary": "circular", "eta": 1.8, "steps": 10}
    return deconvolution.cell_of(family, snr="inf", k=4, runs=3, seed=0, settings=settings) | changes


# The plans


@pytest.mark.parametrize("name", ["sea-fig1", "sea-fig2"])
@pytest.mark.parametrize("quick", [True, False])
def test_cells_differ_and_are_json(name, quick):
    cells = planned(name, quick=quick, seed=3)
    assert len({path_of(cell, Path()) for cell in cells}) == len(cells)
    assert json.loads(json.dumps(cells, allow_nan=False)) == cells
    assert {cell["family"] for cell in cells} == {"zero", "omp", "els", *peers.available()}
    assert all(cell["seed"] == 3 and cell["boundary"] == "circular" for cell in cells)


def test_the_defaults_are_the_papers():
    cells = [cell for cell in planned("sea-fig2") if cell["family"] == "zero"]
    assert {(c["runs"], c["n"], c["sigma"], c["eta"], c["steps"]) for c in cells} == {(200, 500, 3.0, 1.8, 1000)}
    assert {cell["snr"] for cell in cells} > {"inf"}
    assert {cell["k"] for cell in planned("sea-fig1")} == {20}


def test_settings_are_of_all_cells():
    cells = planned("sea-fig2", quick=True, settings="boundary=full,runs=7,sigma=2,steps=9")
    assert all((c["boundary"], c["runs"], c["sigma"]) == ("full", 7, 2.0) for c in cells)
    assert {c["steps"] for c in cells if c["family"] == "sea"} <= {9}
    assert planned("sea-fig1", settings="snr=20,k=3")[0]["snr"] == 20.0


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("sea-fig2", "runs", "'runs'; needed is NAME=VALUE with a name of n, sigma, boundary, eta, steps, runs"),
        ("sea-fig2", "seed=1", "'seed=1'"),
        ("sea-fig2", "runs=few", "--set runs is 'few'; needed is a whole number"),
        ("sea-fig2", "sigma=wide", "--set sigma is 'wide'; needed is a number"),
        ("sea-fig2", "runs=0", "runs is 0"),
        ("sea-fig2", "boundary=valid", "boundary is 'valid'; choose one of circular, full, same"),
        ("sea-fig2", "eta=0", "eta is 0.0"),
        ("sea-fig1", "steps=0", "steps is 0"),
        ("sea-fig1", "n=1", "n is 1"),
        ("sea-fig1", "snr=nan", "snr is nan"),
        ("sea-fig1", "sigma=0", "sigma is 0.0"),
        ("dgu-fig1", "n=3", "dgu-fig1 has no settings"),
    ],
)
def test_settings_that_are_none(name, settings, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["reproduce", name, "--set", settings, "-o", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# The signals


def test_all_methods_step_sizes_and_budgets_see_the_same_signals():
    case = deconvolution.instance(cell())
    for other in (cell("els"), cell("abess"), cell(eta=1.0), cell(steps=5)):
        assert torch.equal(deconvolution.instance(other).y, case.y)
    for other in (cell(seed=1), cell(k=5), cell(snr=20), cell(n=121)):
        assert not torch.equal(deconvolution.instance(other).x[..., :100], case.x[..., :100])


@pytest.mark.parametrize("boundary", problems.BOUNDARIES)
def test_atoms_have_unit_norm_whatever_the_boundary(boundary):
    case = problems.deconvolution(boundary=boundary, n=100, signals=2)
    A = case.A.to_dense()
    assert A.shape == ((136, 100) if boundary == "full" else (100, 100))
    torch.testing.assert_close(A.norm(dim=0), torch.ones(100, dtype=A.dtype))
    gram = (A.T @ A).fill_diagonal_(0)
    largest = 0.987 if boundary == "same" else math.exp(-1 / 36)
    assert gram.max().item() == pytest.approx(largest, abs=1e-3)
    assert gram[49, 50].item() == pytest.approx(math.exp(-1 / 36), abs=1e-6)
    torch.testing.assert_close(case.y, case.x @ A.T)
    assert torch.equal(case.x, problems.deconvolution(n=100, signals=2).x)


def test_a_boundary_that_is_none():
    with pytest.raises(ValueError, match="boundary is 'valid'; choose one of 'circular'"):
        problems.deconvolution(boundary="valid")


# What is run


@pytest.mark.parametrize("family", deconvolution.FAMILIES)
@pytest.mark.parametrize("boundary", ["circular", "same"])
def test_methods_are_the_solvers_from_their_starts(family, boundary):
    asked = cell(family, boundary=boundary)
    case = deconvolution.instance(asked)
    eta = 1.8 / np.linalg.norm(case.A.to_dense().numpy(), 2) ** 2
    found = {method: x for method, x, _ in deconvolution.solutions(asked, case)}
    assert set(found) <= OURS
    for method, x in found.items():
        algorithm, _, start = method.partition("@")
        options = {}
        if algorithm in deconvolution.TUNED:
            x0 = pursuit.solve(case.A, case.y, start, k=4).x if start else None
            options = {"eta": eta, "x0": x0, "max_steps": 10}
        torch.testing.assert_close(x, pursuit.solve(case.A, case.y, algorithm, k=4, **options).x)


def test_signals_in_parts_are_the_same(monkeypatch):
    case = deconvolution.instance(cell("omp"))
    whole = {method: x for method, x, _ in deconvolution.solutions(cell("omp"), case)}
    monkeypatch.setattr(deconvolution, "BATCH", 2)
    for method, x, _ in deconvolution.solutions(cell("omp"), case):
        torch.testing.assert_close(x, whole[method])


def test_peers_take_part_where_they_are(monkeypatch):
    case = deconvolution.instance(cell("sklearn-omp"))
    ((method, x, seconds),) = deconvolution.solutions(cell("sklearn-omp"), case)
    torch.testing.assert_close(x, pursuit.omp(case.A, case.y, 4).x)
    assert method == "sklearn-omp"
    assert seconds > 0
    monkeypatch.setattr(peers, "find_spec", lambda package: None)
    assert deconvolution.families() == deconvolution.FAMILIES


def test_support_distance():
    truth = np.array([[1.0, -2.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    x = np.array([[0.0, 1.0, 1.0, 0.0], [5.0, 1.0, 0.0, 0.0]])
    distance = metrics.support_distance(x, truth, 2)
    np.testing.assert_array_equal(distance, [0.5, 0])
    assert metrics.support_recall(x, truth, 2) == 1 - distance.mean()
    np.testing.assert_array_equal(metrics.support_distance(x[0], truth[0], 2), 0.5)


def test_fig2_tables_and_picture(few, tmp_path):
    tables = reproduce("sea-fig2", tmp_path, quick=True, settings="n=80")
    rows = tables["summary"]
    assert {row["method"] for row in rows} == OURS | {"sklearn-omp"}
    assert len(rows) == 4 * (len(OURS) + 1)
    for row in rows:
        assert 0 <= row["support_distance"] <= 1
        assert 0 <= row["residual"] < 1
        assert row["runs"] == 3
    by = {(row["method"], row["snr_db"], row["k"]): row for row in rows}
    for snr in ("inf", 20):
        for k in (3, 5):
            assert by["sklearn-omp", snr, k]["support_distance"] == by["omp", snr, k]["support_distance"]
            for start in ("omp", "els"):  # never worse than where it started
                assert by[f"sea@{start}", snr, k]["residual"] <= by[start, snr, k]["residual"] * (1 + 1e-9) + 1e-14
            assert by["sea_plus", snr, k]["residual"] <= by["sea", snr, k]["residual"] * (1 + 1e-9) + 1e-14
    record = json.loads((tmp_path / "settings.json").read_text())
    assert record["settings"] == "n=80"
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_fig2_is_drawn_of_what_is_finished(few, tmp_path):
    reproduce("sea-fig2", tmp_path, quick=True, settings="n=60,runs=1", only="family=omp,k=3,snr=inf")
    assert (tmp_path / "figure.png").exists()
    tables = reproduce("sea-fig2", tmp_path, quick=True, settings="n=60,runs=1", only="family=sklearn-omp,k=3")
    assert tables["summary"][0]["standard_error"] is None


def test_fig2_shows_every_method_once_and_labels_its_axes(few):
    rows = [
        {"method": method, "snr_db": snr, "k": k, "runs": 2, "support_distance": 0.1, "standard_error": 0.01}
        for method in (*OURS, *peers.PEERS)
        for snr in ("inf", 20)
        for k in (5, 10)
    ]
    figure = sea_fig2.draw({"summary": rows}, quick=True)
    shown = [text.get_text() for ax in figure.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    labels = {deconvolution.label(method) for method in (*OURS, *peers.PEERS)}
    assert set(shown) == labels
    assert len(shown) == len(labels) + 2  # OMP and ELS are in both
    assert [bool(ax.get_ylabel()) for ax in figure.axes] == [True, False, True, False]
    assert all(ax.get_xlabel() for ax in figure.axes[2:])
    assert figure.axes[0].get_title(loc="left") == "noiseless"


def test_fig1_tables_and_picture(few, tmp_path):
    tables = reproduce("sea-fig1", tmp_path, quick=True, settings="n=100,k=5")
    spikes = {}
    for row in tables["spikes"]:
        spikes.setdefault(row["method"], {})[row["sample"]] = row["amplitude"]
    assert set(spikes) == OURS | {"sklearn-omp", "truth"}
    assert len(spikes["truth"]) == 5
    assert all(1 <= abs(value) <= 2 for value in spikes["truth"].values())
    assert len(tables["measurements"]) == 100
    for row in tables["summary"]:
        missed = set(spikes["truth"]) - set(spikes[row["method"]])
        assert row["support_distance"] == pytest.approx(len(missed) / 5)
    figure = sea_fig1.draw(tables, quick=True)
    seen = [ax for ax in figure.axes if ax.get_visible()]
    assert len(seen) == len(OURS) + 2
    assert all(ax.get_title(loc="left") for ax in seen)
    assert sum(bool(ax.get_xlabel()) for ax in seen) == 2
    low, high = seen[0].get_ylim()
    assert -high == low == -1.5 * max(map(abs, spikes["truth"].values()))


# Phase transitions


def test_phase_transitions_are_those_of_the_sweep(few, monkeypatch, tmp_path):
    monkeypatch.setattr(sea_fig3, "QUICK", {"trials": 10, "steps": 30, "spacing": 8})
    settings = "n=24,rho=0.4"
    cells = planned("sea-fig3", quick=True, settings=settings)
    assert len({path_of(cell, Path()) for cell in cells}) == len(cells) == 6
    tables = reproduce("sea-fig3", tmp_path, quick=True, settings=settings)
    methods = {*OURS, "sklearn-omp"}
    assert {row["method"] for row in tables["counts"]} == {row["method"] for row in tables["curves"]} == methods
    by = {(row["method"], row["m"], row["k"]): row["found"] for row in tables["counts"]}
    assert {(m, k) for method, m, k in by if method == "sea"} == {(8, k) for k in (1, 2, 3)} | {
        (16, k) for k in range(1, 7)
    }
    assert max(k for method, _, k in by if method == "sea_plus") == 9
    # scikit-learn's OMP is ours, on the same trials.
    shared = [key[1:] for key in by if key[0] == "sklearn-omp"]
    assert [by["sklearn-omp", *key] for key in shared] == [by["omp", *key] for key in shared]
    sweep = pursuit.sweeps.phase(
        ["sea@omp"], n=24, grid=(2, 6), rho=0.4, trials=10, max_steps=30, output=tmp_path / "sweep"
    )
    same = [(row["m"], row["k"]) for row in sweep.table() if row["m"] in (8, 16)]
    assert len(same) > 3
    assert [row["found"] for row in sweep.table() if row["m"] in (8, 16)] == [by["sea@omp", *key] for key in same]


def test_the_poster_is_the_default_of_the_phase_transitions():
    cells = [cell for cell in planned("sea-fig3") if cell["family"] == "poster"]
    assert {(c["n"], c["trials"], c["rho"], c["eta"], c["steps"]) for c in cells} == {(64, 1000, 0.35, 1.8, 1000)}
    assert [cell["m"] for cell in cells] == list(range(4, 64, 2))


@pytest.mark.parametrize(
    ("settings", "says"), [("trials=300", "trials is 300"), ("rho=0", "rho is 0"), ("n=1", "n is 1")]
)
def test_phase_transitions_that_are_none(settings, says):
    with pytest.raises(ValueError, match=says):
        planned("sea-fig3", settings=settings)


# SEA-Net


def test_the_networks_are_compared_with_their_solvers(monkeypatch, tmp_path):
    monkeypatch.setattr(sea_net, "NETWORKS", {name: sea_net.NETWORKS[name] for name in ("sea", "omp")})
    one = {cell["network"]: {**cell, "epochs": 2, "signals": 128} for cell in planned("sea-net", quick=True)}
    monkeypatch.setattr(sea_net, "cells", lambda quick, seed: list(one.values()))
    tables = reproduce("sea-net", tmp_path, quick=True)
    error = {(row["network"], row["method"]): row["nmse_db"] for row in tables["errors"]}
    assert set(error) == {(network, method) for network in ("sea", "omp") for method in sea_net.STYLE}
    assert error["sea", "network"] < error["sea", "network, untrained"] - 1
    for network in ("sea", "omp"):
        assert error[network, "solver, oracle weights"] < error[network, "solver, weights 1"] - 3
    assert error["omp", "network, untrained"] == pytest.approx(error["omp", "solver, weights 1"], abs=0.5)
    assert all(row["weight_on_places"] > row["weight_elsewhere"] for row in tables["weights"])
