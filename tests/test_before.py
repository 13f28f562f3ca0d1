"""What earlier versions wrote is read: networks, a training to go on with, a sweep. Written by version 0.1.0."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import pursuit
from pursuit.aliases import TENSORS
from pursuit.ensembles import bernoulli_gaussian, fourier_levels

BEFORE = Path(__file__).parent / "data" / "before"
NETWORKS = sorted(path.stem for path in BEFORE.glob("*.safetensors") if path.stem != "expected")


def test_every_network_is_there():
    kinds = {name for name in pursuit.nets.__all__ if isinstance(getattr(pursuit.nets, name), type)}
    kinds -= {"Annealed", "Learned", "CountSchedule", "PercentSchedule", "HyperLISTA"}
    assert set(NETWORKS) == kinds | {"LISTACPSS"}  # which is a LISTACP with another default


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_before_give_what_they_gave(name):
    expected = load_file(BEFORE / "expected.safetensors")
    net = pursuit.nets.load(BEFORE / f"{name}.safetensors")
    torch.testing.assert_close(net(expected["y"]).detach(), expected[name], rtol=1e-4, atol=1e-6)


TRAININGS = {
    "OMPNet": (
        lambda: fourier_levels(n=16, m=8, k=2, admissible=4, noise=1e-3, seed=0),
        lambda A: pursuit.nets.OMPNet(A, layers=2, tau=0.1),
    ),
    "GLISTA": (  # which had options that are no more, tensors of another name, and a class of options of another name
        lambda: bernoulli_gaussian(n=16, m=8, k=2, snr=40.0, seed=0),
        lambda A: pursuit.nets.GLISTA(A, layers=2),
    ),
    "LAMP": (  # which had an option and a tensor of another name
        lambda: bernoulli_gaussian(n=16, m=8, k=2, snr=40.0, seed=0),
        lambda A: pursuit.nets.LAMP(A, layers=2, sparsity=2),
    ),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_of_before_goes_on(name, tmp_path):
    """It was stopped after 4 of 8 epochs; the last 4 are what they were without the stop."""
    folder = tmp_path / "training"
    shutil.copytree(BEFORE / f"training-{name}", folder)
    draw, build = TRAININGS[name]
    ensemble = draw()
    begun = []
    log = pursuit.training.fit(
        build(ensemble.A), ensemble, epochs=8, batch_size=8, n_train=32, n_validation=16, n_test=16, checkpoint_every=1,
        folder=folder, on_epoch=begun.append,
    ).log  # fmt: skip
    assert [epoch.epoch for epoch in begun] == [5, 6, 7, 8]
    expected = json.loads((BEFORE / "training-expected.json").read_text())[name]
    assert [epoch.validation_loss for epoch in log] == pytest.approx(expected, rel=1e-3)


def test_another_run_of_before_is_not_gone_on_with(tmp_path):
    """An option that is no more says that it is another run, where it had a value that is built no more."""
    shutil.copytree(BEFORE / "training-GLISTA", tmp_path / "training")
    file = tmp_path / "training" / "checkpoint.safetensors"
    with safe_open(file, framework="pt") as stored:
        header, tensors = json.loads(stored.metadata()["pursuit"]), {n: stored.get_tensor(n) for n in stored.keys()}  # noqa: SIM118
    header["settings"]["the network's gain"] = "exp"
    save_file(tensors, file, metadata={"pursuit": json.dumps(header)})
    draw, build = TRAININGS["GLISTA"]
    ensemble = draw()
    with pytest.raises(ValueError, match=r"belongs to another run \(the network's gain is exp there and None here\)"):
        pursuit.training.fit(
            build(ensemble.A),
            ensemble,
            epochs=8,
            batch_size=8,
            n_train=32,
            n_validation=16,
            n_test=16,
            folder=file.parent,
        )


def test_a_network_of_before_that_is_built_no_more(tmp_path):
    file = tmp_path / "GLISTA.safetensors"
    with safe_open(BEFORE / file.name, framework="pt") as stored:
        record, tensors = json.loads(stored.metadata()["pursuit"]), {n: stored.get_tensor(n) for n in stored.keys()}  # noqa: SIM118
    record["config"]["overshoot"] = "none"
    save_file(tensors, file, metadata={"pursuit": json.dumps(record)})
    with pytest.raises(ValueError, match=r"holds a GLISTA that cannot be built: .*'overshoot'"):
        pursuit.nets.load(file)


@pytest.mark.parametrize("name", NETWORKS)
def test_tensors_of_before_go_into_a_network(name):
    """A state dict that was kept without `nets.save`, of a network alone or of a part of a larger one."""
    net, tensors = pursuit.nets.load(BEFORE / f"{name}.safetensors"), load_file(BEFORE / f"{name}.safetensors")
    assert net.state_dict().keys() != tensors.keys() or name not in {*TENSORS, "LISTACPSS"}
    for module, prefix in ((net, ""), (torch.nn.Sequential(net), "0.")):
        wanted = {prefix + key: value.clone() for key, value in net.state_dict().items()}
        with torch.no_grad():
            for value in net.state_dict().values():
                value.zero_()
        module.load_state_dict({prefix + key: value for key, value in tensors.items()})
        found = module.state_dict()
        assert found.keys() == wanted.keys()
        assert all((found[key] == value).all() for key, value in wanted.items())


PROJECTING = [name for name, tensors in TENSORS.items() if "weights.matrix" in tensors]


@pytest.mark.parametrize("name", PROJECTING)
def test_an_attribute_of_before_warns(name):
    net = getattr(pursuit.nets, name)(torch.eye(3), layers=2)
    with pytest.warns(DeprecationWarning, match=rf"{name}\.weights is now {name}\.back_projection") as given:
        assert net.weights is net.back_projection
    assert given[0].filename == __file__


def test_other_names_of_before_warn():
    for old, new in (("Counts", "CountSchedule"), ("Percent", "PercentSchedule")):
        with pytest.warns(DeprecationWarning, match=rf"pursuit\.nets\.{old} is now pursuit\.nets\.{new}") as given:
            assert getattr(pursuit.nets, old) is getattr(pursuit.nets, new)
        assert given[0].filename == __file__
    with pytest.raises(AttributeError, match="has no attribute 'Count'"):
        _ = pursuit.nets.Count
    with pytest.warns(DeprecationWarning, match=r"LAMP\(polish=...\) is now LAMP\(retry_steps=...\)") as given:
        net = pursuit.nets.LAMP(torch.eye(3), sparsity=1, polish=7)
    assert given[0].filename == __file__
    assert net.config == pursuit.nets.LAMP(torch.eye(3), sparsity=1, retry_steps=7).config
    with pytest.warns(DeprecationWarning, match=r"LAMP\.usual is now LAMP\.typical_residual"):
        assert net.usual is net.typical_residual


def test_a_sweep_of_before_is_read(tmp_path):
    shutil.copy(BEFORE / "sweep.sqlite", tmp_path)
    sweep = pursuit.sweeps.load(tmp_path)
    assert sweep.methods == ("sea", "omp", "htp@omp")
    assert [row["done"] for row in sweep.status()] == [3, 3, 3]
    with open(BEFORE / "sweep_table.csv", newline="") as file:
        wanted = list(csv.DictReader(file))
    found = [{name: str(value) for name, value in row.items()} for row in sweep.table()]
    assert [{name: row[name] for name in wanted[0]} for row in found] == wanted
