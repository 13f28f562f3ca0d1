"""The experiments on open questions of "Deep greedy unfolding" that train small networks."""

import math

import pytest
import torch

from pursuit.experiments import small_networks as trained
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


@pytest.mark.parametrize(("experiment", "per_seed"), [("dgu-family", 5), ("dgu-layers", 18), ("dgu-generalization", 2)])
def test_cells_are_distinct_and_quick_ones_of_one_seed(experiment, per_seed):
    quick, full = (module(experiment).cells(quick=q, seed=5) for q in (True, False))
    assert len(quick) == per_seed
    assert len({str(cell) for cell in full}) == 3 * per_seed
    assert {cell["seed"] for cell in quick} == {5}
    assert {cell["seed"] for cell in full} == {5, 6, 7}


def test_family_trains_and_compares(tmp_path):
    tables = dgu_family.run(small("dgu-family", network="omp", epochs=4, signals=256), tmp_path / "omp")
    loss = by_method(tables["methods"])
    assert loss.keys() == dgu_family.STYLE.keys()
    assert loss["network"] < loss["network, untrained"]
    assert loss["solver, oracle weights"] < loss["solver, weights 1"]
    row = tables["networks"][0]
    assert row["test_loss"] == loss["network"]
    assert {"validation_loss", "best_epoch", "seconds_per_epoch", "median_relative_error"} <= row.keys()
    assert not row["stopped"]
    others = dgu_family.run(small("dgu-family", network="htp", epochs=2), tmp_path / "htp")
    tables = {name: rows + others[name] for name, rows in tables.items()}
    assert all_finite(tables["networks"])
    assert all_finite(tables["methods"])
    assert labelled(dgu_family.draw(tables, quick=True), 2)


def test_family_figure_cuts_off_what_broke():
    rows = [
        {"network": "cosamp", "seed": 0, "method": method, "loss": 1e20 if method == "network" else 0.1,
         "median_relative_error": 0.1}
        for method in dgu_family.STYLE
    ]  # fmt: skip
    left, right = dgu_family.draw({"methods": rows}, quick=True).get_axes()
    assert left.get_ylim()[1] == dgu_family.TOP
    assert [text.get_text() for text in left.texts] == ["to 1e+20"]
    assert not right.texts


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
