"""The experiments of the Support Exploration Algorithm in their smallest forms, and the settings of experiments."""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import pursuit
from pursuit import cli, metrics, peers, problems
from pursuit.experiments.cells import path_of, planned
from pursuit.experiments.runner import reproduce
from pursuit.experiments.sea import (
    ablation,
    deconvolution,
    rivals,
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
POSTER = {
    *("sea", "iht", "htp", "omp", "ompr", "els"),
    *(f"{method}@{start}" for method in ("sea", "iht", "htp") for start in ("omp", "els")),
}
INVERSES = {"inverse", "inverse-noise", "inverse-best"}
CHOSEN = {"iht-best", "htp-best", "fista"}
OURS = POSTER | INVERSES | CHOSEN | {"sea_plus", "els@sea", "sp", "cosamp", "ols", "niht", "whitened_lasso"}


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
    assert {cell["family"] for cell in cells} == {*deconvolution.FAMILIES, *peers.available()}
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
    found = list(deconvolution.solutions(asked, case))
    assert {each.method for each in found} <= OURS
    tuned = {"eta": eta, "max_steps": 10}
    for method, x, _, chosen in found:
        algorithm, _, start = method.partition("@")
        assert (chosen is None) == (method not in CHOSEN)
        if method in CHOSEN | {"inverse-best"}:
            continue  # below
        options = tuned if algorithm in (*deconvolution.EXPLORING, "sea_plus") else {}
        if start:
            given = tuned if start == "sea" else {}
            options = options | {"x0": pursuit.solve(case.A, case.y, start, k=4, **given).x}
        if method == "inverse-noise":
            options = {"eps": (case.y - case.A.forward(case.x)).norm(dim=-1)}
        if method == "niht":
            options = {"max_steps": 10}
        named = "inverse" if method in INVERSES else algorithm
        torch.testing.assert_close(x, pursuit.solve(case.A, case.y, named, k=4, **options).x)


def test_the_best_step_penalty_and_truncation_are_no_worse_than_others():
    asked = cell("chosen", snr=20, runs=deconvolution.CHOOSING, n=200)
    case = deconvolution.instance(asked)
    for method, x, _, chosen in deconvolution.solutions(asked, case):
        tried = deconvolution.PENALTIES if method == "fista" else deconvolution.STEP_SIZES
        assert chosen in tried
        assert ((x != 0).sum(-1) <= 4).all()
    best, told, plain = (
        next(each.x for each in deconvolution.solutions({**asked, "family": "others"}, case) if each.method == method)
        for method in ("inverse-best", "inverse-noise", "inverse")
    )
    missed = [metrics.support_distance(x, case.x, 4) for x in (best, told, plain)]
    assert (missed[0] <= missed[1]).all()
    assert (missed[0] <= missed[2]).all()
    assert missed[0].mean() < missed[2].mean()


def test_signals_in_parts_are_the_same(monkeypatch):
    case = deconvolution.instance(cell("omp"))
    whole = {found.method: found.x for found in deconvolution.solutions(cell("omp"), case)}
    monkeypatch.setattr(deconvolution, "BATCH", 2)
    for found in deconvolution.solutions(cell("omp"), case):
        torch.testing.assert_close(found.x, whole[found.method])


def test_peers_take_part_where_they_are(monkeypatch):
    case = deconvolution.instance(cell("sklearn-omp"))
    ((method, x, seconds, _),) = deconvolution.solutions(cell("sklearn-omp"), case)
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
        assert row["residual"] >= 0
        assert row["residual"] < 1 or row["method"] in ("iht-best", "cosamp")  # which may diverge
        assert row["runs"] == 3
    by = {(row["method"], row["snr_db"], row["k"]): row for row in rows}
    for snr in ("inf", 20):
        for k in (3, 5):
            assert by["sklearn-omp", snr, k]["support_distance"] == by["omp", snr, k]["support_distance"]
            for start in ("omp", "els"):  # never worse than where it started
                assert by[f"sea@{start}", snr, k]["residual"] <= by[start, snr, k]["residual"] * (1 + 1e-9) + 1e-14
            for part in ("sea", "els@sea", "whitened_lasso"):
                assert by["sea_plus", snr, k]["residual"] <= by[part, snr, k]["residual"] * (1 + 1e-9) + 1e-14
    record = json.loads((tmp_path / "settings.json").read_text())
    assert record["settings"] == "n=80"
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_fig2_is_drawn_of_what_is_finished(few, tmp_path):
    reproduce("sea-fig2", tmp_path, quick=True, settings="n=60,runs=1", only="family=omp,k=3,snr=inf")
    assert (tmp_path / "figure.png").exists()
    tables = reproduce("sea-fig2", tmp_path, quick=True, settings="n=60,runs=1", only="family=sklearn-omp,k=3")
    assert tables["summary"][0]["standard_error"] is None


def test_fig2_shows_every_method_and_equal_curves_once(few):
    def of(method):
        return 0.1 if method in ("omp", "ompr", "sklearn-omp") else 0.11 + 0.01 * sorted(OURS).index(method)

    rows = [
        {"method": method, "snr_db": snr, "k": k, "runs": 2, "support_distance": of(method), "standard_error": 0.01}
        for method in (*OURS, "sklearn-omp")
        for snr in ("inf", 20)
        for k in (5, 10)
    ]
    figure = sea_fig2.draw({"summary": rows}, quick=True)
    shown = [text.get_text() for ax in figure.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    names = [name for text in shown for name in text.split(" = ")]
    assert set(names) == {deconvolution.label(method) for method in (*OURS, "sklearn-omp")}
    assert "OMP = OMPR = scikit-learn OMP" in shown
    assert [bool(ax.get_ylabel()) for ax in figure.axes] == [True, False] * 3
    assert all(ax.get_xlabel() for ax in figure.axes)
    assert figure.axes[0].get_title(loc="left") == "SNR 20 dB"
    assert "the plain inverse solves it" in figure.axes[1].get_title(loc="left")


def test_the_parts_of_sea_plus(few, monkeypatch, tmp_path):
    monkeypatch.setattr(ablation, "QUICK", {"snrs": (20, "inf"), "sparsities": (5,), "runs": 3, "steps": 20})
    rows = reproduce("sea-ablation", tmp_path, quick=True)["parts"]
    assert [row["parts"] for row in rows[::2]] != [row["parts"] for row in rows[:2]]
    by = {(row["parts"], row["snr_db"]): row for row in rows}
    assert {parts for parts, _ in by} == set(ablation.PARTS)
    for (parts, snr), row in by.items():
        assert by["SEA+", snr]["residual"] <= row["residual"] * (1 + 1e-9) + 1e-14, parts
        assert row["behind"] == pytest.approx(row["support_distance"] - by["SEA+", snr]["support_distance"], abs=2e-6)
    case = deconvolution.instance(cell(snr=20, k=5, n=500))
    sol = pursuit.sea_plus(case.A, case.y, 5, eta=1.8 / case.A.normalised().norm2(), max_steps=20)
    missed = metrics.support_distance(sol.x, case.x, 5).mean()
    assert by["SEA+", 20]["support_distance"] == pytest.approx(missed, abs=1e-6)
    assert by["SEA+", "inf"]["support_distance"] == 0


def test_fig1_tables_and_picture(few, tmp_path):
    tables = reproduce("sea-fig1", tmp_path, quick=True, settings="n=100,k=5")
    spikes = {}
    for row in tables["spikes"]:
        spikes.setdefault(row["method"], {})[row["sample"]] = row["amplitude"]
    assert {row["method"] for row in tables["summary"]} == OURS | {"sklearn-omp"}
    assert set(spikes) <= OURS | {"sklearn-omp", "truth"}  # CoSaMP may end at zero
    assert len(spikes["truth"]) == 5
    assert all(1 <= abs(value) <= 2 for value in spikes["truth"].values())
    assert len(tables["measurements"]) == 100
    for row in tables["summary"]:
        missed = set(spikes["truth"]) - set(spikes.get(row["method"], {}))
        assert row["support_distance"] == pytest.approx(len(missed) / 5)
    figure = sea_fig1.draw(tables, quick=True)
    seen = [ax for ax in figure.axes if ax.get_visible()]
    assert 4 <= len(seen) <= 1 + len(sea_fig1.SHOWN_METHODS)
    titles = [ax.get_title(loc="left") for ax in seen]
    assert all(titles)
    assert "scikit-learn OMP" in next(title for title in titles if re.search(r"\bOMP:|: OMP\b|\bOMP,", title))
    assert sum(bool(ax.get_xlabel()) for ax in seen) == 2
    low, high = seen[0].get_ylim()
    assert -high == low == -1.5 * max(map(abs, spikes["truth"].values()))


def test_fig1_marks_what_is_cut(few):
    spikes = [{"method": "truth", "sample": 3, "amplitude": 1.0}, {"method": "sea", "sample": 5, "amplitude": -90.0}]
    summary = [{"method": "sea", "support_distance": 1.0, "residual": 0.5}]
    figure = sea_fig1.draw({"spikes": spikes, "summary": summary, "measurements": []}, quick=True)
    assert "arrows: cut, up to 90" in figure.axes[1].get_title(loc="left")
    (arrow,) = [line for line in figure.axes[1].lines if line.get_marker() == "v"]
    assert arrow.get_xdata() == [5]


# Phase transitions


def test_phase_transitions_are_those_of_the_sweep(few, monkeypatch, tmp_path):
    monkeypatch.setattr(sea_fig3, "QUICK", {"trials": 10, "steps": 30, "spacing": 8})
    settings = "n=24,rho=0.4"
    cells = planned("sea-fig3", quick=True, settings=settings)
    assert len({path_of(cell, Path()) for cell in cells}) == len(cells) == 2 * (len(sea_fig3.FAMILIES) + 1)
    tables = reproduce("sea-fig3", tmp_path, quick=True, settings=settings)
    methods = {name for family in sea_fig3.FAMILIES.values() for name in family} | {"sklearn-omp"}
    assert {row["method"] for row in tables["counts"]} == {row["method"] for row in tables["curves"]} == methods
    by = {(row["method"], row["m"], row["k"]): row["found"] for row in tables["counts"]}
    grid = {(8, k) for k in (1, 2, 3)} | {(16, k) for k in range(1, 7)}
    assert all({key[1:] for key in by if key[0] == method} == grid for method in methods)
    # scikit-learn's OMP is ours, on the same trials.
    shared = [key[1:] for key in by if key[0] == "sklearn-omp"]
    assert [by["sklearn-omp", *key] for key in shared] == [by["omp", *key] for key in shared]
    sweep = pursuit.sweeps.phase(
        ["sea@omp"], n=24, grid=(2, 6), rho=0.4, trials=10, max_steps=30, output=tmp_path / "sweep"
    )
    same = [(row["m"], row["k"]) for row in sweep.table() if row["m"] in (8, 16)]
    assert len(same) > 3
    assert [row["found"] for row in sweep.table() if row["m"] in (8, 16)] == [by["sea@omp", *key] for key in same]


def test_basis_pursuit_finds_few_non_zeros_however_small():
    rng = torch.Generator().manual_seed(0)
    A = torch.nn.functional.normalize(torch.randn(4, 24, 40, dtype=torch.float64, generator=rng), dim=-2)
    x = torch.zeros(4, 40, dtype=torch.float64)
    x[:, 3], x[:, 17] = 1.0, 1e-4  # the penalty of FISTA hides the second
    y = (A @ x[..., None])[..., 0]
    assert torch.allclose(rivals.basis_pursuit_largest(A, y, 2).x, x)
    assert torch.allclose(rivals.basis_pursuit_largest(A[0], y[:1], 2).x, x[:1])
    assert not torch.allclose(rivals.fista_largest(A, y, 2).x, x)


def test_the_poster_is_the_default_of_the_phase_transitions():
    cells = [cell for cell in planned("sea-fig3") if cell["family"] == "poster"]
    assert {(c["n"], c["trials"], c["rho"], c["eta"], c["steps"]) for c in cells} == {(64, 100, 0.55, 1.8, 1000)}
    assert [cell["m"] for cell in cells] == list(range(4, 64, 4))
    cells = [cell for cell in planned("sea-fig3", settings="trials=1000") if cell["family"] == "poster"]
    assert {(c["trials"], c["block"]) for c in cells} == {(1000, 250)}


@pytest.mark.parametrize(
    ("settings", "says"), [("trials=300", "trials is 300"), ("rho=0", "rho is 0"), ("n=1", "n is 1")]
)
def test_phase_transitions_that_are_none(settings, says):
    with pytest.raises(ValueError, match=says):
        planned("sea-fig3", settings=settings)


# SEA-Net


def test_the_networks_are_compared_with_the_solvers(monkeypatch, tmp_path):
    cells = [c for c in planned("sea-net", quick=True) if c["network"] in ("untrained", "sea-net", "omp-net")]
    few = [
        {**cell, "signals": 256} if cell["network"] == "untrained" else {**cell, "signals": 256, "epochs": 4}
        for cell in cells
    ]
    monkeypatch.setattr(sea_net, "cells", lambda quick, seed: few)
    tables = reproduce("sea-net", tmp_path, quick=True)
    missed = {(row["method"], row["weights"]): row["missed"] for row in tables["errors"]}
    assert len(missed) == len(tables["errors"]), "every number is there once"
    solvers = {(name, kind) for name in sea_net.SOLVERS for kind in ("one", "counted", "oracle", "sea-net", "omp-net")}
    assert solvers <= set(missed)
    assert missed["sea-net", "learned"] < missed["sea-net", "one"] - 0.1
    for method in ("sea-net", "iht-net", "omp-net", *sea_net.SOLVERS):
        assert missed[method, "counted"] < 0.7 * missed[method, "one"]
        assert missed[method, "oracle"] < 0.7 * missed[method, "one"]
    assert missed["omp-net", "one"] == pytest.approx(missed["omp", "one"], abs=0.05)
    assert all(row["weight_on_places"] > row["weight_elsewhere"] for row in tables["weights"])


def test_a_signal_is_missed_if_one_of_its_non_zeros_is():
    x = torch.zeros(3, 8)
    x[:, :4] = 1.0
    found = x.clone()
    found[1, 6] = 0.5  # a fifth entry, smaller than the four
    found[2, 3], found[2, 7] = 0.1, 0.2
    row = sea_net._row("sea", "one", 0, found, x)
    assert row["missed"] == pytest.approx(1 / 3, abs=1e-6)


def test_what_the_page_says_of_sea_net():
    with (Path(__file__).parents[1] / "results/sea-net/errors.csv").open(newline="") as file:
        missed = {(r["method"], r["weights"], r["seed"]): 100 * float(r["missed"]) for r in csv.DictReader(file)}
    solvers, seeds, learned = sea_net.SOLVERS, ("0", "1", "2"), ("sea-net", "iht-net", "omp-net")
    counted = {(name, seed): missed[name, "counted", seed] for name in solvers for seed in seeds}
    assert max(abs(value - missed[name, "oracle", seed]) for (name, seed), value in counted.items()) < 1.1
    assert max(value - missed[name, net, seed] for (name, seed), value in counted.items() for net in learned) < 0.4
    assert max(counted[name, seed] for name in ("sp", "els") for seed in seeds) < 1
    own = {name: [missed[name, "learned", seed] for seed in seeds] for name in ("iht-net", "omp-net", "sea-net-fixed")}
    assert [round(value) for value in own["sea-net-fixed"]] == [28, 25, 28]
    assert [round(value, 1) for value in own["iht-net"]] == [6.0, 2.9, 5.1]
    assert all(40 <= missed["iht-net", "oracle", seed] <= 53.5 for seed in seeds)
