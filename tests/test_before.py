"""What earlier versions wrote is read: networks, a training to go on with, a sweep. Written by version 0.1.0."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import pursuit
from pursuit.ensembles import fourier_levels

BEFORE = Path(__file__).parent / "data" / "before"
NETWORKS = sorted(path.stem for path in BEFORE.glob("*.safetensors") if path.stem != "expected")


def test_every_network_is_there():
    kinds = {name for name in pursuit.nets.__all__ if isinstance(getattr(pursuit.nets, name), type)}
    kinds -= {"Annealed", "Learned", "Counts", "Percent", "HyperLISTA"}
    assert set(NETWORKS) == kinds | {"LISTACPSS"}  # which is a LISTACP with another default


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_before_give_what_they_gave(name):
    expected = load_file(BEFORE / "expected.safetensors")
    net = pursuit.nets.load(BEFORE / f"{name}.safetensors")
    torch.testing.assert_close(net(expected["y"]).detach(), expected[name], rtol=1e-4, atol=1e-6)


def test_a_training_of_before_goes_on(tmp_path):
    """It was stopped after 4 of 8 epochs; the last 4 are what they were without the stop."""
    shutil.copytree(BEFORE / "training", tmp_path / "training")
    ensemble = fourier_levels(n=16, m=8, k=2, admissible=4, noise=1e-3, seed=0)
    net = pursuit.nets.OMPNet(ensemble.A, layers=2, tau=0.1)
    begun = []
    log = pursuit.training.fit(
        net, ensemble, epochs=8, batch_size=8, n_train=32, n_validation=16, n_test=16, checkpoint_every=1,
        folder=tmp_path / "training", on_epoch=begun.append,
    ).log  # fmt: skip
    assert [epoch.epoch for epoch in begun] == [5, 6, 7, 8]
    expected = json.loads((BEFORE / "training-expected.json").read_text())["validation"]
    assert [epoch.validation_loss for epoch in log] == pytest.approx(expected, rel=1e-3)


def test_a_sweep_of_before_is_read(tmp_path):
    shutil.copy(BEFORE / "sweep.sqlite", tmp_path)
    sweep = pursuit.sweeps.load(tmp_path)
    assert sweep.methods == ("sea", "omp", "htp@omp")
    assert [row["done"] for row in sweep.status()] == [3, 3, 3]
    with open(BEFORE / "sweep_table.csv", newline="") as file:
        wanted = list(csv.DictReader(file))
    found = [{name: str(value) for name, value in row.items()} for row in sweep.table()]
    assert [{name: row[name] for name in wanted[0]} for row in found] == wanted
