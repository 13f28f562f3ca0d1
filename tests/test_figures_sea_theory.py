"""The experiments on the theorem of SEA and on its oracle: small forms, and what the page says of them."""

import csv
import itertools
import json
import math
from pathlib import Path

import pytest
import torch

import pursuit
from helpers import REAL, generator, sparse, unit
from pursuit import cli, theory
from pursuit.experiments.cells import path_of, planned
from pursuit.experiments.runner import reproduce
from pursuit.experiments.sea import oracle, paths
from pursuit.experiments.sea import theory as sea_theory
from pursuit.operators import Dense

ROOT = Path(__file__).parents[1]
PAGE = " ".join((ROOT / "docs/support-exploration.md").read_text().split())


def committed(name, table):
    with open(ROOT / "results" / name / f"{table}.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["sea-theory", "sea-oracle"])
@pytest.mark.parametrize("quick", [True, False])
def test_cells_differ_and_are_json(name, quick):
    cells = planned(name, quick=quick, seed=3)
    assert len({path_of(cell, Path()) for cell in cells}) == len(cells)
    assert json.loads(json.dumps(cells, allow_nan=False)) == cells


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("sea-theory", "trials=0", "trials is 0; needed is at least 1"),
        ("sea-oracle", "trials=0", "trials is 0; needed is at least 1"),
        ("sea-oracle", "steps=0", "steps is 0; needed is at least 1"),
    ],
)
def test_settings_that_are_none(name, settings, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["reproduce", name, "--set", settings, "-o", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


# The paths


def gaussian_case(seed, *, count=30, m=20, n=40, k=4):
    A = Dense(unit(torch.randn(count, m, n, generator=generator(seed), dtype=REAL)))
    x = sparse(seed + 1, n, k, batch=(count,), dtype=REAL)
    return paths.Case(A, A.forward(x), x, k), torch.full((count,), 0.3, dtype=REAL)


def test_the_supports_are_those_of_the_solver():
    """Without noise the solver stops at the first support that contains the true one: its steps are counted from 1."""
    case, eta = gaussian_case(0)
    for x0 in (torch.zeros_like(case.x), 3 * case.x.flip(-1)):
        hit = paths.first_hit(paths.visits(case, eta, x0), 200)
        sol = pursuit.sea(case.A, case.y, case.k, eta=eta, x0=x0, max_steps=201)
        found = hit.isfinite()
        assert 5 < found.sum() < len(hit) or found.all()
        assert torch.equal(sol.steps[found] - 1, hit[found].long())
        assert (sol.steps[~found] == 201).all()
    assert hit[found].max() > 3


def test_the_oracle_moves_only_what_is_missed_and_keeps_its_bound():
    case, eta = gaussian_case(5)
    x0 = 0.2 * torch.randn(case.x.shape, generator=generator(7), dtype=REAL)
    X, seen = x0, []
    for visit in itertools.islice(paths.visits(case, eta, x0, oracle=True), 100):
        order = X.abs().sort(descending=True, stable=True).indices[..., : case.k]
        S = torch.zeros_like(visit.S).scatter(-1, order, True)
        assert torch.equal(S, visit.S)
        X = X + eta.unsqueeze(-1) * torch.where(~S & (case.x != 0), case.x, 0)
        seen.append((S | (case.x == 0)).all(-1))
    first = torch.stack(seen).int().argmax(0)
    least = torch.where(case.x != 0, case.x.abs(), math.inf).amin(-1)
    bound = 2 * case.k * x0.abs().amax(-1) / (eta * least) + case.k + 1  # the theorem's, with no error of the move
    within = bound <= 99
    assert within.sum() > 10
    assert first[within].max() > 3
    assert (first <= bound)[within].all()
    hit = paths.first_hit(paths.visits(case, eta, x0, oracle=True), 99)
    assert torch.equal(hit[within], first[within].double())


def test_the_moves_are_the_gradient_and_the_truth():
    case, eta = gaussian_case(9, count=5)
    first = next(paths.visits(case, eta, torch.zeros_like(case.x)))
    assert first.S[:, : case.k].all()  # a tie goes to the lowest index
    x = pursuit.els(case.A, case.y, case.k, x0=first.S.double(), max_steps=0).x
    gradient = case.A.adjoint(case.y - case.A.forward(x))
    torch.testing.assert_close(first.move, torch.where(first.S, 0, gradient))
    assert torch.equal(first.oracle, torch.where(first.S, 0, case.x))


# sea-theory


def test_trials_are_what_they_are_said_to_be():
    cell = {"k": 2, "m": 64, "n": 12, "trials": 30, "seed": 0}
    clean, silence = sea_theory._drawn(cell, "inf", 25)
    noisy, noise = sea_theory._drawn(cell, 20, 25)
    assert len(clean.y) == 5
    assert not silence.any()
    assert torch.equal(clean.A.to_dense(), noisy.A.to_dense())
    assert torch.equal(clean.x, noisy.x)
    assert ((clean.x != 0).sum(-1) == 2).all()
    assert ((clean.x == 0) | ((clean.x.abs() >= 1) & (clean.x.abs() <= 2))).all()
    torch.testing.assert_close(clean.A.column_norms(), torch.ones(5, 12, dtype=REAL))
    torch.testing.assert_close(noise.norm(dim=-1), clean.y.norm(dim=-1) / 10)
    torch.testing.assert_close(noisy.y, clean.y + noise)
    coherence = theory.coherence(clean.A.to_dense())
    assert (coherence > 0.15).all()
    assert (coherence < 0.6).all()  # 64 rows, though only 13 are left after the rotation


def test_theory_tables_and_picture(monkeypatch, tmp_path):
    monkeypatch.setattr(sea_theory, "QUICK", {"rows": (4, 256), "sparsities": (1, 3), "trials": 6})
    tables = reproduce("sea-theory", tmp_path, quick=True)
    by = {(row["k"], row["m"], row["snr_db"]): row for row in tables["reach"]}
    assert len(by) == 8
    for row in by.values():
        assert row["recovers"] <= row["found"]  # the theorem
        assert row["recovers"] <= row["guaranteed"]
        assert row["paths"] == round(row["guaranteed"] * 6) * len(sea_theory.STARTS)
        assert row["within"] == row["paths"]
    assert by[1, 256, "inf"]["guaranteed"] > 0.5
    assert by[3, 256, "inf"]["guaranteed"] == 0
    assert by[3, 4, "inf"]["found"] < 1
    assert len(tables["hits"]) == sum(row["paths"] for row in by.values())
    assert all(row["hit"] <= row["t_rip"] for row in tables["hits"])
    assert {row["start"] for row in tables["hits"]} == set(sea_theory.STARTS)
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_path_outside_its_bound_would_be_seen(monkeypatch):
    cell = {"k": 1, "m": 512, "n": 12, "trials": 4, "seed": 0}
    monkeypatch.setattr(sea_theory, "visits", lambda case, eta, x0: paths.visits(case, eta, 1e4 * x0))
    (row, _) = sea_theory.run(cell, Path())["reach"]
    assert row["paths"] == 28
    assert row["within"] < row["paths"]


def test_what_the_page_says_of_the_theorem():
    rows = committed("sea-theory", "reach")
    paths_within = [sum(int(row[name]) for row in rows) for name in ("paths", "within")]
    assert paths_within[0] == paths_within[1]
    assert f"All {paths_within[0]} paths" in PAGE
    largest = max(float(row["largest_share"]) for row in rows if row["largest_share"])
    assert f"up to {largest:.2f} of it" in PAGE
    first = {}
    for row in rows:
        m, clean = int(row["m"]), row["snr_db"] == "inf"
        if m >= 16:
            assert float(row["found"]) == 1
        if float(row["guaranteed"]) >= 0.9:
            first.setdefault((int(row["k"]), clean), m)
    assert "From m = 16 on SEA finds every support, at 20 dB too" in PAGE
    assert f"m = {first[1, True]}, {first[2, True]} and {first[3, True]} for k = 1, 2 and 3" in PAGE
    assert f"at 20 dB {first[1, False]} and {first[2, False]} for k = 1 and 2" in PAGE
    assert (3, False) not in first
    assert not any(float(row["guaranteed"]) for row in rows if (row["k"], row["snr_db"]) == ("3", "20"))
    assert "for k = 3 none of the trials up to m = 32768 meets it" in PAGE


# sea-oracle


def test_oracle_tables_and_picture(monkeypatch, tmp_path):
    monkeypatch.setattr(oracle, "QUICK", {"trials": 12, "steps": 20})
    tables = reproduce("sea-oracle", tmp_path, quick=True)
    by = {(row["problem"], row["start"], row["update"]): row for row in tables["summary"]}
    assert len(by) == len(oracle.PROBLEMS) * len(oracle.STARTS) * 2
    for (problem, start, update), row in by.items():
        if update == "oracle" and start == "zero":
            assert row["found"] == 1
            assert row["largest_t"] <= 3
        curve = [
            each
            for each in tables["found"]
            if tuple(each[name] for name in row if name in each) == (problem, start, update)
        ]
        shares = [each["share"] for each in curve]
        assert shares == sorted(shares)
        assert shares[-1] <= row["found"]
    for row in tables["nearness"]:
        assert -1 <= row["cosine_low"] <= row["cosine_median"] <= row["cosine_high"] <= 1
        assert 0 < row["error_low"] <= row["error_median"] <= row["error_high"]
    first = {(row["problem"], row["start"]): row for row in tables["nearness"] if row["t"] == 0}
    assert first["nearly orthogonal", "zero"]["error_high"] < 1  # where the theorem holds
    assert first["nearly orthogonal", "zero"]["cosine_low"] > 0.97
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_oracle_steps_are_told_once():
    assert oracle._times(9) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert oracle._times(1) == [0]
    assert oracle._times(1000)[-1] == 861


def test_what_the_page_says_of_the_oracle():
    rows = {(row["problem"], row["start"], row["update"]): row for row in committed("sea-oracle", "summary")}
    assert max(float(rows[problem, "zero", "oracle"]["largest_t"]) for problem in oracle.PROBLEMS) == 4
    assert "From zero the oracle needs at most 4 steps on every problem" in PAGE
    found = [100 * float(rows[problem, "zero", "SEA"]["found"]) for problem in ("Gaussian", "deconvolution")]
    assert f"SEA has found {found[0]:.0f} % of supports on the Gaussian problem" in PAGE
    assert f"and {found[1]:.0f} % in the deconvolution" in PAGE
    for start in oracle.STARTS:
        both = [rows["nearly orthogonal", start, update] for update in oracle.UPDATES]
        assert both[0]["median_t"] == both[1]["median_t"]
        assert both[0]["largest_t"] == both[1]["largest_t"]
    near = committed("sea-oracle", "nearness")
    of = {problem: [row for row in near if row["problem"] == problem] for problem in oracle.PROBLEMS}
    assert min(float(row["cosine_low"]) for row in of["nearly orthogonal"]) > 0.99
    assert max(float(row["error_high"]) for row in of["nearly orthogonal"]) < 1
    gaussian = [float(row["cosine_median"]) for row in of["Gaussian"] if row["start"] != "OMP"]
    assert min(gaussian) > 0.45
    assert max(gaussian) < 0.56
    blurred = [float(row["cosine_median"]) for row in of["deconvolution"]]
    assert min(blurred) > 0.1
    assert max(blurred) < 0.4
    errors = [float(row["error_median"]) for problem in oracle.PROBLEMS[1:] for row in of[problem]]
    assert f"the largest error is {int(min(errors))} to {max(errors):.0f} times that" in PAGE
    stuck = [row for row in of["deconvolution"] if row["start"] == "OMP" and int(row["t"]) < 100]
    assert len({row["missed"] for row in stuck}) == 1
