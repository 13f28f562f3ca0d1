"""Figure 3: one epoch of each network and variant, and the toy problem of the quick form."""

import dataclasses

import pytest
import torch

from pursuit.experiments.dgu import fig3 as dgu_fig3
from pursuit.experiments.registry import published


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    joint = {}
    for cell in dgu_fig3.cells(quick=False, seed=0):
        if cell["seed"] > 0:
            continue
        folder = tmp_path_factory.mktemp("cell")
        for name, rows in dgu_fig3.run(cell | {"epochs": 1}, folder).items():
            joint.setdefault(name, []).extend(rows)
    return joint


def test_the_full_form_is_that_of_the_paper():
    cells = dgu_fig3.cells(quick=False, seed=0)
    paper = [cell for cell in cells if cell["variant"] == "paper"]
    assert {(cell["network"], cell["seed"]) for cell in paper} == {(n, s) for n in dgu_fig3.TITLES for s in range(3)}
    assert all(cell["epochs"] == 1000 for cell in paper)
    for variant in ("paper", "warm"):
        net = dgu_fig3.build("omp-net", variant, dgu_fig3.fourier_levels(m=20), 0)
        assert {name: tuple(value.shape) for name, value in net.named_parameters()} == {"identify.w": (256,)}
        assert (net.config["layers"], net.config["tau"], net.config["signals"]) == (10, 1e-3, "real part")


def test_warm_weights_come_from_signals_alone():
    ensemble = dgu_fig3.fourier_levels(m=20, admissible=20)
    w = dgu_fig3.frequencies(ensemble, seed=0)
    inside = ensemble.admissible > 0
    assert (w[inside] > 0.7).all()  # 10 of 20 places in each of 1024 signals
    assert (w[~inside] == 0.1).all()
    anywhere = dataclasses.replace(ensemble, admissible=None)
    # A place is used 40 times of 1024, give or take 6; the most used one 58 times.
    assert (dgu_fig3.frequencies(anywhere, seed=0) > 0.25).all()


def test_baselines_are_those_of_the_paper(tables):
    """Known of other matrices: the loss of the hard solver, of that with oracle weights, of the fit on the truth."""
    known = {"omp-net": (0.33, 3.9e-3, 4.5e-7), "iht-net": (0.0504, 5.8e-4, 1.9e-7)}
    for row in tables["summary"]:
        hard, oracle, truth = known[row["network"]]
        assert hard / 2 < row["hard_loss"] < 2 * hard
        assert oracle / 5 < row["hard_oracle_loss"] < 5 * oracle
        assert truth / 1.5 < row["true_support_loss"] < 1.5 * truth
        assert row["hard_oracle_loss"] < row["hard_loss"]


def test_one_epoch_of_the_options_already_helps_iht_net(tables):
    losses = {row["variant"]: row["net_loss"] for row in tables["summary"] if row["network"] == "iht-net"}
    assert losses["options"] < losses["paper"] < 0.1


def test_tables_and_figure(tables):
    assert {row["admissible"] for row in tables["weights"]} == {0, 1}
    assert len(tables["errors"]) == 5 * 6 * 512
    figure = dgu_fig3.draw(tables, quick=False)
    assert len(figure.axes) == 6
    assert all(ax.get_ylabel() for ax in figure.axes)


def test_what_polishing_reaches_with_the_oracle_weights():
    """The bound of issue and paper: below 1e-5 where the structure is known."""
    for m in (20, 36):
        ensemble = dgu_fig3.fourier_levels(m=m)
        y, x = ensemble.draw(256, torch.Generator().manual_seed(3))
        found = dgu_fig3.polished(ensemble, y, ensemble.admissible.float())
        assert (found - x).square().sum(-1).mean() < 1e-6


def test_published_numbers_are_at_hand():
    rows = published("dgu_fig3_loss.csv")
    assert {(row["network"], row["split"]) for row in rows} == {
        (n, s) for n in ("omp_net", "iht_net") for s in ("train", "val")
    }


def test_the_weights_of_the_first_ten_places_grow(tmp_path):
    """The quick form: all non-zeros are in the first ten places, and the network is not told so."""
    (cell,) = (
        cell
        for cell in dgu_fig3.cells(quick=True, seed=0)
        if (cell["network"], cell["variant"]) == ("iht-net", "paper")
    )
    tables = dgu_fig3.run(cell | {"epochs": 20}, tmp_path)
    weights = [row["weight"] for row in tables["weights"]]
    assert len(weights) == 64
    assert [row["admissible"] for row in tables["weights"]] == [1] * 10 + [0] * 54
    assert min(weights[:10]) > 1 > sum(weights[10:]) / 54
    (row,) = tables["summary"]
    assert row["admissible_of_10_largest"] >= 9
    assert row["net_loss"] < row["hard_loss"] / 3
    assert row["published_validation_loss"] == ""
    assert dgu_fig3.draw(tables_with_both(tables), quick=True).axes[0].get_title(loc="left").startswith("OMP-Net, toy")


def tables_with_both(tables):
    """The tables, with every row for OMP-Net too, so that both rows of the figure have something to draw."""
    return {name: [*rows, *({**row, "network": "omp-net"} for row in rows)] for name, rows in tables.items()}
