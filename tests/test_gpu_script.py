"""`benchmarks/gpu.py`, which runs on machines that nobody can look into: here at tiny sizes, on the CPU."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pursuit.reproduce import reproduce

ROOT = Path(__file__).parent.parent


def script(*arguments, **environment):
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--device", "cpu", "--quick", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"} | environment
    )


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_part_writes_what_it_found(tmp_path):
    """All but the tests, which this is one of."""
    run = script("--out", tmp_path, "--parts", "machine", "solvers", "training", "profile")
    assert run.returncode == 0, run.stdout + run.stderr
    facts = json.loads((tmp_path / "machine.json").read_text())
    assert {"torch", "numba"} <= set(facts["versions"])
    assert facts["device"] == "cpu"
    assert facts["kernels"]["sea"] > 0
    solvers = rows(tmp_path / "solvers.csv")
    medians = {row["solver"]: row for row in solvers if row["kind"] == "median"}
    assert {"omp", "iht", "sea"} <= set(medians)
    assert not any(row["note"] for row in solvers)
    assert all(float(row["seconds"]) > 0 and int(row["signals"]) == 64 for row in medians.values())
    assert float(medians["omp"]["residual"]) < 0.2
    if "peer-omp" in medians:  # where its source is at hand
        assert float(medians["peer-omp"]["residual"]) == pytest.approx(float(medians["omp"]["residual"]), rel=1e-3)
    training = rows(tmp_path / "training.csv")
    assert [row["network"] for row in training] == ["omp-net 64", "iht-net 64", "na-alista 16", "na-alista 32"]
    assert all(float(row["loss_last"]) < float(row["loss_first"]) for row in training)
    parts = (tmp_path / "profile.txt").read_text().split("####")[1:]
    assert all("Self CPU" in part and " launches," in part for part in parts)
    assert len(parts) >= 9


def test_networks_are_trained_and_their_files_are_those_of_the_experiment(tmp_path):
    run = script("--out", tmp_path, "--parts", "networks")
    assert run.returncode == 0, run.stdout + run.stderr
    found = rows(tmp_path / "networks.csv")
    assert {row["model"] for row in found} == {"ALISTA"}
    assert [row["layers"] for row in found] == ["2", "6", "10"]
    assert all(row["device"] == "cpu" and float(row["test_db"]) < -3 and not row["note"] for row in found)
    tables = reproduce("na-fig6", tmp_path / "na-fig6", quick=True, seed=1, only="model=ALISTA")
    assert [row["test_db"] for row in tables["results"]] == pytest.approx(
        [float(row["test_db"]) for row in found], rel=1e-3
    )


def test_a_part_that_fails_is_told_and_the_others_run(tmp_path):
    (tmp_path / "machine.json").mkdir()  # where a file is to be
    run = script("--out", tmp_path, "--parts", "machine", "solvers")
    assert run.returncode == 1
    assert "== machine: exit status 1" in run.stdout
    assert "== solvers: exit status 0" in run.stdout
    assert rows(tmp_path / "solvers.csv")
