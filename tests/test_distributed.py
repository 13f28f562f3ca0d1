"""Training on several processes: the numbers of one, the files written once, and nobody left waiting."""

import csv
import json
import math
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from pursuit.ensembles import fourier_levels, gaussian_levels
from pursuit.training import fit
from pursuit.training.processes import SingleProcess, process_context

SMALL = {"n": 16, "m": 8, "k": 2, "admissible": 4}
QUICK = {
    "epochs": 6,
    "batch_size": 13,
    "n_train": 40,
    "n_validation": 17,
    "n_test": 21,
    "checkpoint_every": 2,
    "lr": 1e-3,
}
FILES = ["checkpoint.safetensors", "log.csv", "net.safetensors"]
# The last batch has one signal: the second process has none of it.
CASES = {
    "float32": {"dtype": "float32", "options": {}},
    "float64": {"dtype": "float64", "options": {"optimizer": "adam", "resample": True}},
    "complex": {"dtype": "complex128", "options": {"clip": None, "validate_every": 4}},
    "layers": {"dtype": "float64", "options": {"layerwise_epochs": 1, "optimizer": "adam"}},
    "resumed": {"dtype": "float64", "options": {"schedule": "cosine"}},
}
# What processes and tests both have.
TOY = """
import math
import torch
from torch import nn
from pursuit.ensembles import fourier_levels, gaussian_levels

class Toy(nn.Module):
    "Layers of their own matrices, statistics from before the training, and some of the batches."

    def __init__(self, ensemble, seed=0):
        super().__init__()
        real, rng = ensemble.A.dtype.to_real(), torch.Generator().manual_seed(seed)
        self.layers, self.depth, self.real = 3, None, ensemble.real
        self.A = ensemble.A.to_dense()
        self.maps = nn.ParameterList(
            torch.randn(16, 8, dtype=torch.float64, generator=rng).to(ensemble.A.dtype) / 30 for _ in range(3)
        )
        self.scale = nn.Parameter(torch.ones((), dtype=real))
        self.register_buffer("prepared", torch.tensor(False))
        self.register_buffer("size", torch.zeros((), dtype=real))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("progress", torch.zeros(()), persistent=False)

    def prepare(self, y):
        self.size.fill_(float(y.abs().mean()))
        self.prepared.fill_(True)

    def forward(self, y):
        self.seen += len(y) * self.training
        x = y.new_zeros(len(y), 16)
        for W in self.maps[: self.depth]:
            x = x + (y / self.size - x @ self.A.T) @ W.T * self.scale
        return x.real if self.real else x

def ensemble(dtype, seed=0):
    make = fourier_levels if "complex" in dtype else gaussian_levels
    kind = {"complex_signals": True} if "complex" in dtype else {}
    return make(n=16, m=8, k=2, admissible=4, dtype=getattr(torch, dtype), seed=seed, **kind)

def told(net, training):
    "What must be the same on one process and on several."
    return {
        "log": [record._replace(seconds=0) for record in training.log],
        "rest": training[1:],
        "weights": {name: torch.view_as_real(p.detach()).tolist() if p.is_complex() else p.tolist()
                    for name, p in net.named_parameters()},
        "size": float(net.size),
    }
"""
toy: dict = {}
exec(TOY, toy)
Toy, ensemble, told = toy["Toy"], toy["ensemble"], toy["told"]


def launch(folder, script, *, processes=2):
    """What each process reports, by its rank, of a script that calls `report`; and how `torchrun` ended."""
    path = folder / "script.py"
    begin = f"""
    import json, os, sys
    from pathlib import Path
    import torch.distributed as dist
    from pursuit.training import TrainingError, fit
    folder, rank = Path({str(folder)!r}), int(os.environ["RANK"])
    QUICK, CASES = {QUICK!r}, {CASES!r}

    def report(name, what):
        (folder / f"{{name}}-{{rank}}.json").write_text(json.dumps(what))
    """
    path.write_text(TOY + textwrap.dedent(begin) + textwrap.dedent(script))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", str(path),
    ]  # fmt: skip
    end = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )
    reports: dict = {}
    for file in folder.glob("*-?.json"):
        name, _, rank = file.stem.rpartition("-")
        reports.setdefault(name, {})[int(rank)] = json.loads(file.read_text())
    return reports, end


def numbers(tree):
    """All numbers in nested lists and dictionaries, in order."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [number for part in tree for number in numbers(part)]
    return [math.nan if tree is None else float(tree)]


def alone(name):
    case = CASES[name]
    given = ensemble(case["dtype"])
    net = Toy(given)
    return told(net, fit(net, given, **QUICK | case["options"]))


TOGETHER = """
for name, case in CASES.items():
    given = ensemble(case["dtype"])
    net = Toy(given, seed=rank)  # only the first one's parameters count
    called = []
    if name == "resumed":
        continue
    run = folder / name
    training = fit(net, given, **QUICK | case["options"], folder=run, on_epoch=lambda record: called.append(1))
    assert not dist.is_initialized()
    report(name, {**told(net, training), "called": len(called), "seen": int(net.seen), "depth": net.depth,
                  "progress": float(net.progress)})

class Spoilt(Toy):
    "Goes wrong on the second process alone: in its third step of epoch 3 (it has no fourth) or in the evaluation."

    def __init__(self, given, spoil, training):
        super().__init__(given)
        self.spoil, self.when, self.calls = spoil, training, 0

    def forward(self, y):
        x = super().forward(y)
        self.calls += self.training
        bad = self.calls == 9 and self.training is self.when and rank == 1
        return self.spoil(x) if bad else x

def singular(x):
    raise torch.linalg.LinAlgError("singular")

class Underivable(torch.autograd.Function):
    "The identity, whose derivative cannot be computed: DistributedDataParallel would wait for it."

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        singular(gradient)

given = ensemble("float64")
for name, spoil, training in (
    ("nan", lambda x: x * math.nan, True), ("raise", singular, True), ("evaluation", singular, False),
    ("derivative", Underivable.apply, True),
):
    net, kept = Spoilt(given, spoil, training), []
    try:
        fit(net, given, **QUICK, folder=folder / name, on_epoch=lambda record: kept.append(float(net.scale.detach())))
    except TrainingError as error:
        report(name, {"epoch": error.epoch, "step": error.step, "says": str(error), "scale": float(net.scale.detach()),
                      "kept": kept})

for name, seed, places in (("seeds", rank, 0), ("ensembles", 0, rank)):
    try:
        fit(Toy(given), ensemble("float64", seed=places), **QUICK, seed=seed, folder=folder / name)
    except ValueError as error:
        report(name, str(error))

def kill(record):
    if record.epoch == 5:
        os._exit(1)

fit(Toy(given, seed=rank), given, **QUICK | CASES["resumed"]["options"], folder=folder / "resumed", on_epoch=kill)
"""

AGAIN = """
given = ensemble("float64")
dist.init_process_group("gloo")
for name in ("resumed", "finished"):
    net, called = Toy(given, seed=rank), []
    training = fit(net, given, **QUICK | CASES["resumed"]["options"], folder=folder / "resumed",
                   on_epoch=lambda record: called.append(record.epoch))
    assert dist.is_initialized()
    report(name, {**told(net, training), "called": called})
try:
    fit(Toy(given), given, **QUICK | CASES["resumed"]["options"], folder=folder / ("mine" if rank else "resumed"))
except ValueError as error:
    report("folders", str(error))
dist.barrier()
dist.destroy_process_group()
sys.stdout.flush()
os._exit(0)  # torch aborts now and then while the interpreter ends, after all that is tested here
"""


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Reports of two processes until one was killed."""
    folder = tmp_path_factory.mktemp("together")
    reports, end = launch(folder, TOGETHER)
    assert end.returncode != 0
    assert set(reports) >= {"float32", "seeds", "ensembles"}, end.stderr
    return folder, reports


@pytest.mark.parametrize("name", [name for name in CASES if name != "resumed"])
def test_two_processes_give_the_numbers_of_one(name, together):
    expected, (_, reports) = alone(name), together
    precision = {"rel": 1e-5, "abs": 1e-6} if name == "float32" else {"rel": 1e-10, "abs": 1e-12}
    for rank in (0, 1):
        found = reports[name][rank]
        mine = {part: found[part] for part in expected}
        assert numbers(mine) == pytest.approx(numbers(expected), nan_ok=True, **precision)
        assert found["called"] == (0 if rank else 6)
        assert found["depth"] is None
        assert found["progress"] == 1
        assert found["weights"] == reports[name][0]["weights"]
        assert found["seen"] == reports[name][0]["seen"]
    assert 0 < reports[name][0]["seen"] < 40 * 6  # each saw its share


def test_files_are_written_by_one(together):
    folder, reports = together
    for name in ("float32", "float64", "complex", "layers"):
        assert sorted(path.name for path in (folder / name).iterdir()) == FILES
        with open(folder / name / "log.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [float(row["train_loss"]) for row in rows] == [record[2] for record in reports[name][0]["log"]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan", "the loss is not finite at step 11 (epoch 3"),
        ("raise", "the loss is not finite at step 11 (epoch 3"),
        ("derivative", "the loss is not finite at step 11 (epoch 3"),
        ("evaluation", "the validation loss is not finite at step 12 (epoch 3"),
    ],
)
def test_numbers_that_one_finds_not_finite_stop_all_at_the_same_place(name, message, together):
    first, second = (together[1][name][rank] for rank in (0, 1))
    for found in (first, second):
        assert found["says"].startswith(message)
        assert found["scale"] == first["kept"][-1]
    assert (first["epoch"], first["step"]) == (second["epoch"], second["step"])
    assert second["says"].count("singular") == (name != "nan")
    assert second["kept"] == []
    assert (together[0] / name / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("seeds", "differ in their options and signals"), ("ensembles", "differ in their signals")],
)
def test_processes_that_were_told_different_things_are_refused(name, message, together):
    folder, reports = together
    assert all(message in said for said in reports[name].values())
    assert len(reports[name]) == 2
    assert list((folder / name).iterdir()) == []


def test_two_processes_go_on_after_a_kill(together):
    folder, _ = together
    with open(folder / "resumed" / "log.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]
    reports, end = launch(folder, AGAIN)
    assert end.returncode == 0, end.stderr
    expected = alone("resumed")
    for name in ("resumed", "finished"):
        for rank in (0, 1):
            found = reports[name][rank]
            assert numbers({part: found[part] for part in expected}) == pytest.approx(
                numbers(expected), rel=1e-10, abs=1e-12
            )
            assert found["called"] == ([5, 6] if (rank, name) == (0, "resumed") else [])
    assert sorted(path.name for path in (folder / "resumed").iterdir()) == FILES
    assert all("differ in their checkpoint; give each the same" in reports["folders"][rank] for rank in (0, 1))
    assert not (folder / "mine").exists()


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with process_context(torch.device("cpu")) as workers:
        assert type(workers) is SingleProcess
    training = fit(Toy(given := gaussian_levels(**SMALL)), given, **QUICK)
    assert len(training.log) == 6
    assert not torch.distributed.is_initialized()


def test_a_build_without_processes_says_so(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"3 processes were started, but this build of PyTorch has no torch"):
        fit(Toy(given := fourier_levels(**SMALL)), given, **QUICK)
