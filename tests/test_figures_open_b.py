"""The experiments on open questions of "Deep greedy unfolding" that train small networks."""

import math
from pathlib import Path

import pytest
import torch

from pursuit.experiments import small_networks as trained
from pursuit.experiments.cells import read_tables
from pursuit.experiments.dgu import (
    family as dgu_family,
)
from pursuit.experiments.dgu import (
    generalization as dgu_generalization,
)
from pursuit.experiments.dgu import (
    layers as dgu_layers,
)
from pursuit.experiments.registry import module

RESULTS = Path(__file__).parents[1] / "results"
ERRORS = {"loss", "median_relative_error", "mean_relative_error"}


def small(experiment, *, epochs, signals=64, **which):
    """The first quick cell of this kind, made smaller."""
    cells = module(experiment).cells(quick=True, seed=0)
    cell = next(cell for cell in cells if all(cell[key] == value for key, value in which.items()))
    return {**cell, "epochs": epochs, "signals": signals}


def all_finite(rows):
    return all(math.isfinite(v) for row in rows for v in row.values() if isinstance(v, int | float))


def by_method(rows, value="loss", **which):
    return {row["method"]: row[value] for row in rows if all(row[key] == v for key, v in which.items())}


def labelled(figure, count):
    axes = [ax for ax in figure.get_axes() if ax.get_title(loc="left")]
    figure.canvas.draw()
    return (
        len(axes) == count
        and all(ax.get_xlabel() or not ax.get_subplotspec().is_last_row() for ax in axes)
        and all(ax.get_ylabel() for ax in figure.get_axes() if ax.get_subplotspec().is_first_col())
    )


@pytest.mark.parametrize(
    ("experiment", "per_seed"), [("dgu-family", 18), ("dgu-layers", 18), ("dgu-generalization", 2)]
)
def test_cells_are_distinct_and_quick_ones_of_one_seed(experiment, per_seed):
    quick, full = (module(experiment).cells(quick=q, seed=5) for q in (True, False))
    assert len(quick) == per_seed
    assert len({str(cell) for cell in full}) == 3 * per_seed
    assert {cell["seed"] for cell in quick} == {5}
    assert {cell["seed"] for cell in full} == {5, 6, 7}


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Tables of OMP-Net, trained in all ways, and of HTP-Net from counted places."""
    cells = [small("dgu-family", network="omp", recipe=recipe, epochs=4, signals=256) for recipe in dgu_family.RECIPES]
    cells += [small("dgu-family", network="htp", eta=1.0, recipe=recipe, epochs=2) for recipe in ("ones", "counted")]
    tables = {}
    for cell in cells:
        for name, rows in dgu_family.run(cell, tmp_path_factory.mktemp("cell")).items():
            tables.setdefault(name, []).extend(rows)
    return tables


def family_values(tables, value, network="omp", method="network"):
    rows = [row for row in tables["methods"] if (row["network"], row["method"]) == (network, method)]
    return {row["weights"]: row[value] for row in rows}


def test_family_trains_and_compares(family):
    loss, failed = (family_values(family, value) for value in ("loss", "failed"))
    assert loss.keys() == failed.keys() == dgu_family.STYLE.keys()
    assert loss["learned, clipped"] < loss["learned, ones"] < loss["one"]
    assert failed["learned, clipped"] < failed["one"] / 4
    assert family_values(family, "loss", method="solver")["oracle"] < loss["one"] / 100
    for network in ("omp", "htp"):
        losses = family_values(family, "loss", network)
        assert losses["counted"] < losses["one"] / 10
        assert losses["learned, counted"] < losses["learned, ones"] / 10
    kept = family_values(family, "first_support_kept", "htp", "solver")
    assert 0 < kept["one"] < kept["oracle"] < 1
    assert [row["seed"] for row in family["networks"]] == [0] * 5
    assert not any(row["stopped"] for row in family["networks"])
    assert all_finite(family["networks"])
    assert all_finite(family["methods"])


def test_committed_networks_learn_from_ones():
    """All but HTP-Net with step 0.5; CoSaMP-Net better if each signal is clipped."""
    rows = [row for row in read_tables(RESULTS / "dgu-family")["methods"] if row["method"] == "network"]
    failed = {(row["network"], row["eta"], row["seed"], row["weights"]): row["failed"] for row in rows}
    for network, eta in dgu_family.NETWORKS:
        for seed in range(3):
            before, after = (failed[network, eta, seed, weights] for weights in ("one", "learned, ones"))
            assert (after < 0.34 * before) == ((network, eta) != ("htp", 0.5))
            if network == "cosamp":
                assert failed[network, eta, seed, "learned, clipped"] < 0.34 * after


def test_a_single_signal_hides_what_the_others_know(family):
    """At the first temperature of the annealing; at the last one most signals have no gradient."""
    soft, hard = (row for row in family["gradients"] if row["network"] == "omp")
    assert (soft["tau"], hard["tau"]) == (0.1, 1e-3)
    assert soft["each"] > 0.9 > 0.75 > soft["whole"]
    assert soft["silent"] < 0.1 < 0.8 < hard["silent"]
    assert 1 / 64 < soft["largest"] < 1


def test_chances_of_gradients():
    inside = torch.tensor([True, False, True, False])
    chance = dgu_family._chance
    assert chance([torch.tensor([-1.0, 0.0, -2.0, 3.0])], inside) == 1
    assert chance([torch.tensor([1.0, 0.0, 2.0, 0.5])], inside) == 0
    assert chance([torch.zeros(4), torch.tensor([-1.0, 0.0, -1.0, 0.0])], inside) == 0.75


def test_family_figure(family):
    figure = dgu_family.draw(family, quick=True)
    assert labelled(figure, 3)
    failed, losses, gradients = figure.get_axes()
    assert failed.get_ylim()[1] == 1
    assert len(losses.texts) == 5  # an arrow per training
    assert all(0 <= y <= 1 for line in gradients.lines for y in line.get_ydata())


@pytest.mark.parametrize("name", trained.FAMILY)
def test_untrained_networks_are_about_as_good_as_their_solvers(name):
    ensemble = trained.problem(24, seed=1)
    y, x = trained.fresh_signals(ensemble, 100, seed=1)
    net = trained.recover(trained.build(name, ensemble), y)
    solver = trained.hard(name, ensemble, y, None)
    near = (net - x).norm(dim=-1).median()
    assert near < 2 * (solver - x).norm(dim=-1).median() + 1e-3


def test_layers_have_their_own_values_where_they_should(tmp_path):
    reference = dgu_layers.run(small("dgu-layers", network="iht", epochs=2), tmp_path / "reference")
    free = dgu_layers.run(
        small("dgu-layers", network="iht", weights="per-layer", eta="learned", tau="learned", epochs=2),
        tmp_path / "free",
    )
    omp = dgu_layers.run(small("dgu-layers", network="omp", epochs=2), tmp_path / "omp")
    assert len({row["eta"] for row in reference["values"]}) == len({row["tau"] for row in reference["values"]}) == 1
    assert len({row["eta"] for row in free["values"]}) > 1
    assert len({row["tau"] for row in free["values"]}) > 1
    assert "references" not in free
    hard = by_method(reference["references"])
    assert hard["solver, oracle weights"] < hard["solver, weights 1"]
    assert free["variants"][0]["loss"] < hard["solver, weights 1"]
    assert ERRORS | {"validation_loss", "best_epoch"} <= free["variants"][0].keys()
    assert all_finite(reference["variants"] + free["variants"] + omp["variants"])
    assert all_finite(free["values"])


def test_layers_figure_has_a_line_per_variant():
    cells = dgu_layers.cells(quick=False, seed=0)
    variants = [{**cell, "loss": 10 ** -(1 + cell["seed"])} for cell in cells]
    references = [
        {"network": name, "seed": 0, "method": f"solver, {weights}", "loss": 0.2}
        for name in ("omp", "iht")
        for weights in ("weights 1", "oracle weights")
    ]
    figure = dgu_layers.draw({"variants": variants, "references": references}, quick=False)
    assert labelled(figure, 2)
    left, right = figure.get_axes()
    assert (len(left.get_yticks()), len(right.get_yticks())) == (12, 6)
    assert left.get_yticklabels()[0].get_text() == r"w shared, $\eta$ fixed, $\tau$ fixed"


def test_signals_have_the_share_outside():
    ensemble = trained.problem(12, seed=3)
    inside = ensemble.admissible.bool()
    for k, share in ((4, 0.0), (4, 0.3), (4, 1.0), (8, 0.5)):
        y, x = dgu_generalization.signals(ensemble, 400, 0, k=k, outside=share)
        outside = (x[:, ~inside] != 0).sum(-1)
        assert ((x != 0).sum(-1) == k).all()
        assert set(outside.tolist()) <= {math.floor(share * k), math.ceil(share * k)}
        assert outside.double().mean().item() == pytest.approx(share * k, abs=0.1)
        torch.testing.assert_close(x.norm(dim=-1), torch.ones(400, dtype=x.dtype))
        noise = (y - ensemble.A.forward(x.to(y.dtype))).norm(dim=-1).square().mean().sqrt()
        assert noise.item() == pytest.approx(ensemble.noise, rel=0.1)


def test_generalization_worsens_with_the_share_outside(tmp_path):
    tables = {"networks": [], "errors": []}
    for name in ("omp", "iht"):
        cell = small("dgu-generalization", network=name, epochs=4)
        for table, rows in dgu_generalization.run(cell, tmp_path / name).items():
            tables[table] += rows
    rows = tables["errors"]
    assert all_finite(tables["networks"] + rows)
    for name in ("omp", "iht"):
        which = {"network": name, "axis": "outside", "value": "mean_relative_error"}
        at = [_at(rows, share, **which) for share in (0.0, 0.5, 1.0)]
        oracle = [errors["solver, oracle weights"] for errors in at]
        assert oracle[0] < oracle[1] < oracle[2]
        assert oracle[0] < at[0]["solver, weights 1"]
        assert at[0]["network"] < at[2]["network"]
        counts = {row["value"] for row in rows if row["network"] == name and row["axis"] == "k"}
        assert counts == set(range(2, 9))
        same = _at(rows, 4, network=name, axis="k", value="loss")
        assert same["network"] == same["network told k"]
    assert labelled(dgu_generalization.draw(tables, quick=True), 4)


def _at(rows, at, *, network, axis, value):
    return by_method([row for row in rows if row["value"] == at], value, network=network, axis=axis)
