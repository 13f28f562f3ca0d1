"""The experiments of NA-ALISTA in their smallest forms; what `reproduce` shares, leaves out and goes on with."""

import copy
import json
import math
from functools import partial
from itertools import pairwise

import pytest
import torch

import pursuit
from pursuit import cli, nets, shrinkage
from pursuit.ensembles import ofdm
from pursuit.experiments import registry
from pursuit.experiments import runner as experiments
from pursuit.experiments.cells import adopt_finished, path_of, planned, selected
from pursuit.experiments.na import (
    alista,
)
from pursuit.experiments.na import (
    communication as na_communication,
)
from pursuit.experiments.na import (
    family as na_family,
)
from pursuit.experiments.na import (
    fig1 as na_fig1,
)
from pursuit.experiments.na import (
    fig3 as na_fig3,
)
from pursuit.experiments.na import (
    fig4 as na_fig4,
)
from pursuit.experiments.na import (
    fig5 as na_fig5,
)
from pursuit.experiments.na import (
    fig6 as na_fig6,
)
from pursuit.experiments.na import (
    oracle as na_oracle,
)
from pursuit.experiments.na import (
    recipes as na_recipes,
)
from pursuit.experiments.na import (
    weights as na_weights,
)
from pursuit.experiments.registry import module
from pursuit.experiments.runner import reproduce
from pursuit.metrics import nmse_db

NAMES = [name for name in registry.EXPERIMENTS if name.startswith("na-")]
FORMS = ({"quick": True}, {}, {"full": True})
SMALL = {"layerwise": None, "epochs": 2, "last": 3, "steps": 2, "batch": 8, "validation": 16, "test": 16}


@pytest.fixture
def small(monkeypatch):
    """Trainings of seconds: two epochs of two steps, three layers, 60 unknowns."""

    def shortened(recipes):
        recipes = copy.deepcopy(recipes)
        for numbers in (numbers for kinds in recipes.values() for numbers in kinds.values()):
            numbers.update(SMALL)
        return recipes

    monkeypatch.setattr(alista, "RECIPES", shortened(alista.RECIPES))
    monkeypatch.setattr(na_communication, "RECIPES", shortened(na_communication.RECIPES))
    monkeypatch.setattr(
        alista, "problem", lambda cell, device="cpu": pursuit.ensembles.bernoulli_gaussian(n=60, m=30, k=5)
    )
    monkeypatch.setattr(alista, "SIGNALS", 32)
    monkeypatch.setattr(alista, "HARDER", {"share": 0.1, "k": 8})


def row_of(model, *, n=1000, layers=16, snr=40, db=-20.0, **more):
    theirs = alista.published(model, n, layers, snr)
    cell = {"model": model, "n": n, "layers": layers, "snr": snr, "seed": 0}
    return {**cell, **alista.with_published(db, theirs), **more}


def assert_drawn(figure):
    seen = [ax for ax in figure.axes if ax.get_visible()]
    assert seen
    for ax in seen:
        assert ax.get_ylabel() or ax.get_yticklabels()
        named_below = not ax.xaxis.get_tick_params().get("labelbottom", True)  # by the panel that shares its axis
        assert ax.get_xlabel() or named_below
    figure.canvas.draw()


# The plans


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_cells_differ_and_are_json(name, form):
    cells = planned(name, seed=3, **form)
    assert cells
    assert {cell["seed"] for cell in cells} == ({3, 4, 5} if name == "na-fig6" and not form else {3})
    assert len({path_of(cell, alista.Path()) for cell in cells}) == len(cells)
    assert json.loads(json.dumps(cells)) == cells
    sizes = {cell["size"] for cell in cells if "size" in cell}
    full = "full" in form and name not in ("na-recipes", "na-weights")  # which have no such form
    assert sizes <= {"quick" if "quick" in form else "full" if full else "ours"}


def test_the_main_setting_comes_first():
    for name in ("na-fig3", "na-fig6", "na-fig4"):
        for form in FORMS:
            cells = planned(name, **form)
            assert all((cell["n"], cell["snr"]) == (1000, 40) for cell in cells[: 2 if name == "na-fig4" else 5])
            depth = 10 if "quick" in form and name != "na-fig4" else 16
            depths = next(cell for cell in cells if "size" in cell)["layers"]
            assert depths[-1] == depth
            assert len(depths) > 1 or "full" in form  # the paper's protocol has a training for each


def test_figures_share_their_cells():
    fig6 = planned("na-fig6")
    assert all(cell in fig6 for cell in planned("na-fig2"))
    shared = [cell for cell in planned("na-fig3") if cell["n"] in na_fig6.SIZES]
    assert shared
    assert all(cell in fig6 for cell in shared)
    assert planned("na-fig1")[1]["network"] in fig6
    assert all(cell["network"] in fig6 for cell in planned("na-fig5"))
    assert sum(cell in fig6 for cell in planned("na-fig4")) == 3


def test_the_full_form_is_the_protocol_of_the_paper():
    cell = next(cell for cell in planned("na-fig6", full=True) if cell["model"] == "NA_ALISTA_UR_128")
    numbers = alista.at_depth(cell, 16)["recipe"]
    assert numbers["epochs"] == 420
    options = alista.fit_options(numbers)
    assert (options["n_train"], options["batch_size"], options["lr"], options["resample"]) == (49664, 512, 2e-4, True)
    assert (options["schedule"], options["halve_every"], options["clip"]) == ("halve", None, 1000)
    radio = planned("na-communication", published_protocol=True, full=True)
    trained = next(cell for cell in radio if cell["model"] == "ALISTA")
    at = alista.at_depth(trained, 16)
    assert (trained["layers"], at["recipe"]["epochs"], at["recipe"]["lr"]) == ([16], 70 + 9 * 16, 5e-5)
    assert not trained["recipe"]["fresh"]
    assert {cell["protocol"] for cell in radio} == {"published"}
    short = next(cell for cell in planned("na-communication", published_protocol=True) if cell["model"] == "ALISTA")
    assert not short["recipe"]["fresh"]  # their data with our training
    assert short["recipe"]["steps"] * short["recipe"]["batch"] == 49_920
    assert short["layers"] == list(na_communication.LAYERS)


def test_full_and_published_forms_of_other_experiments():
    assert planned("dgu-fig2", full=True) == planned("dgu-fig2")
    with pytest.raises(ValueError, match="choose one"):
        planned("dgu-fig2", quick=True, full=True)
    with pytest.raises(ValueError, match="na-fig6 has no published protocol"):
        planned("na-fig6", published_protocol=True)


def test_some_cells_only():
    cells = planned("na-fig6")
    some = selected(cells, "model=ALISTA,model=ISTA,n=1000,snr=40,layers=16,seed=0")
    assert [cell["model"] for cell in some] == ["ISTA", "ALISTA"]
    assert selected(cells, None) == cells
    with pytest.raises(ValueError, match="--only has 'modle=ALISTA'; needed is FIELD=VALUE with a field of model, n"):
        selected(cells, "modle=ALISTA")
    with pytest.raises(ValueError, match=r"no cell matches; there are model: AGLISTA, ALISTA, .*; n: 1000, 2000, 500"):
        selected(cells, "model=ALISTA,n=999")


# Published values


def test_published_values_are_found():
    assert alista.published("NA_ALISTA_UR_128", 1000, 16, 40) == pytest.approx(-39.13, abs=0.005)
    assert alista.published("ALISTA", 256, 8, 10, m=100) == pytest.approx(-12.04, abs=0.005)
    assert alista.published("ALISTA_AT", 2000, 26, 20) is None
    assert alista.published("LAMP", 1000, 16, 40) is None
    assert len(alista._published()) == len(registry.published("na_alista.csv"))


@pytest.mark.parametrize("model", alista.CLASSICAL)
def test_solvers_meet_the_published_values(model):
    for n, snr in ((500, 20), (1000, 40)):
        cell = {"model": model, "n": n, "layers": [1, 4, 16], "snr": snr, "seed": 0, "signals": 2000}
        rows = alista.run(cell, alista.Path())["results"]
        assert [row["layers"] for row in rows] == [1, 4, 16]
        for row in rows:
            assert abs(row["difference"]) < 0.15
            assert row["difference"] == pytest.approx(row["test_db"] - row["published_db"], abs=2e-3)


def test_the_iterate_of_fista_is_the_one_that_the_library_returns():
    cell = {"model": "FISTA", "n": 500, "layers": [5], "snr": 40, "seed": 1, "signals": 100}
    row = alista.run(cell, alista.Path())["results"][0]
    ensemble = alista.problem(cell)
    y, x = ensemble.draw(100, torch.Generator().manual_seed(alista.TEST_SEED + 1))
    assert row["iterate_db"] == pytest.approx(
        nmse_db(pursuit.fista(ensemble.A, y, alista.LAMBDA, max_steps=5).x, x), abs=0.01
    )
    assert abs(row["iterate_db"] - row["test_db"]) > 0.1


# Trainings


def test_networks_are_those_of_the_authors():
    A = pursuit.ensembles.bernoulli_gaussian(n=60, m=30, k=5).A
    build = partial(alista.built, A=A, selection=nets.CountSchedule(5))
    shapes = {
        "ALISTA": 2 * 4, "ALISTA_AT": 2 * 4, "AGLISTA": 5 * 4 + 1, "LAMP": 5 * 4,
        "NA_ALISTA_U_16": None, "NA_ALISTA_R_16": None, "NA_ALISTA_UR_16": None,
    }  # fmt: skip
    for model, count in shapes.items():
        net = build({"model": model, "layers": 4, "seed": 0})
        if count is not None:
            assert sum(p.numel() for p in net.parameters()) == count
        if model != "LAMP" and count is not None:
            assert net.gamma.tolist() == net.theta.tolist() == [0.5] * 4
        if model != "LAMP":
            assert net.shrink == nets.CountSchedule(5).layers(4, 60)
    assert build({"model": "NA_ALISTA_U_16", "layers": 4, "seed": 0}).inputs == "u"
    assert build({"model": "NA_ALISTA_UR_16", "layers": 4, "seed": 0}).cell.hidden_size == 16
    same, other = (build({"model": "NA_ALISTA_UR_16", "layers": 4, "seed": s}).h0 for s in (0, 1))
    assert torch.equal(build({"model": "NA_ALISTA_UR_16", "layers": 4, "seed": 0}).h0, same)
    assert not torch.equal(same, other)


def test_a_network_grows_from_what_it_has_learned(small, tmp_path, monkeypatch):
    begun = []
    fit = alista.fit

    def watched(net, *args, **options):
        begun.append({name: value.clone() for name, value in net.state_dict().items()} | {"epochs": options["epochs"]})
        trained = fit(net, *args, **options)
        begun[-1]["after"] = {name: value.clone() for name, value in net.state_dict().items()}
        return trained

    monkeypatch.setattr(alista, "fit", watched)
    for model in ("ALISTA", "NA_ALISTA_UR_16"):
        cell = alista.trained_cell(model, size="quick", seed=0, layers=(1, 3))
        tables = alista.run(cell, tmp_path / model)
        first, then = begun[-2:]
        assert (first["epochs"], then["epochs"]) == (2, 3)
        for name, learned in first["after"].items():
            assert torch.equal(then[name][: len(learned)], learned) if learned.ndim else then[name] == learned
            assert torch.equal(then[name], learned) or (len(then[name]) == 3 and (then[name][2] == learned[-1]).all())
        assert [row["layers"] for row in tables["results"]] == [1, 3]
        assert [row["signals"] for row in tables["results"]] == [2 * 2 * 8, 2 * 2 * 8 + 3 * 2 * 8]
    assert torch.equal(begun[0]["gamma"], torch.tensor([0.5]))  # the authors' start


def test_networks_of_few_layers_pass_nothing_on_where_the_recipe_says_so(small, tmp_path, monkeypatch):
    begun = []
    fit = alista.fit

    def watched(net, *args, **options):
        begun.append(net.gamma.detach().clone())
        trained = fit(net, *args, **options)
        begun.append(net.gamma.detach().clone())
        return trained

    monkeypatch.setattr(alista, "fit", watched)
    cell = alista.trained_cell("AGLISTA", size="quick", seed=0, layers=(1, 2, 3, 4))
    rows = alista.run({**cell, "recipe": {**cell["recipe"], "alone": 2}}, tmp_path)["results"]
    for before, start in ((begun[1], begun[2]), (begun[3], begun[4])):
        assert not torch.equal(start[: len(before)], before)
        assert torch.equal(start, torch.full_like(start, 0.5))  # the authors' start
    assert torch.equal(begun[6][:3], begun[5])
    assert [row["signals"] for row in rows] == [2 * 2 * 8, 2 * 2 * 8, 2 * 2 * 8, 2 * 2 * 8 + 3 * 2 * 8]


def test_a_network_that_was_stopped_goes_on_at_its_depth(small, tmp_path, monkeypatch):
    cell = alista.trained_cell("ALISTA", size="quick", seed=0, layers=(1, 2))
    whole = alista.run(cell, tmp_path / "whole")
    fit = alista.fit

    def stopped(net, *args, **options):
        if net.layers == 2:
            raise KeyboardInterrupt
        return fit(net, *args, **options)

    monkeypatch.setattr(alista, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        alista.run(cell, tmp_path / "stopped")
    monkeypatch.setattr(alista, "fit", fit)
    for one, other in zip(alista.run(cell, tmp_path / "stopped")["results"], whole["results"], strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_thresholds_of_the_family_fall():
    theta = na_family.falling(0.5, 0.05, 16)
    assert torch.allclose(theta[[0, -1]], torch.tensor([0.5, 0.05]))
    assert torch.allclose(theta[1:] / theta[:-1], theta[1] / theta[0])


def test_epochs_are_thinned_with_the_last_kept():
    assert alista.thinned(list(range(7)), 3) == [1, 3, 6]
    assert alista.thinned(list(range(2)), 3) == [0, 1]


def test_a_diverging_training_is_a_row_without_results(small, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise pursuit.training.TrainingError("the loss is not finite at step 3: lower lr", epoch=1, step=3)

    monkeypatch.setattr(alista, "fit", fails)
    tables = alista.run(alista.trained_cell("ALISTA", size="quick", seed=0), tmp_path / "x")
    assert tables["results"][0]["note"] == "the loss is not finite at step 3"
    assert tables["results"][0].get("test_db") is None
    assert_drawn(na_fig6.draw(tables, quick=True))


def test_quick_figure_six_then_two_that_share_with_it(small, tmp_path, monkeypatch):
    """Trained once; what began elsewhere goes on; a part is drawn as a part."""
    trained = []
    fit = alista.fit
    monkeypatch.setattr(alista, "fit", lambda net, *args, **kwargs: trained.append(net) or fit(net, *args, **kwargs))

    tables = reproduce("na-fig6", tmp_path / "na-fig6", quick=True, only="model=ALISTA,model=FISTA")
    assert [row["model"] for row in tables["results"]] == ["FISTA"] * 15 + ["ALISTA"] * 3
    row = tables["results"][-1]
    assert (row["layers"], row["epochs"], row["signals"], row["parameters"]) == (10, 3, (2 + 2 + 3) * 2 * 8, 20)
    assert all(math.isfinite(row[name]) for name in ("validation_db", "test_db", "published_db", "seconds"))
    assert [(row["layers"], row["epoch"]) for row in tables["log"]] == [
        (2, 1), (2, 2), (6, 1), (6, 2), (10, 1), (10, 2), (10, 3)
    ]  # fmt: skip
    settings = json.loads((tmp_path / "na-fig6" / "settings.json").read_text())
    assert (len(settings["cells"]), settings["cells_missing"], settings["quick"]) == (2, 3, True)
    assert settings["seconds"] > 0
    assert (tmp_path / "na-fig6" / "figure.png").stat().st_size > 1000

    assert len(trained) == 3  # one per depth
    tables = reproduce("na-fig6", tmp_path / "na-fig6", quick=True)
    assert len(trained) == 9
    assert sum(row["seed"] == 0 for row in tables["results"]) == 39
    again = reproduce("na-fig3", tmp_path / "na-fig3", quick=True)
    assert len(trained) == 9
    assert again == tables

    reproduce("na-fig4", tmp_path / "na-fig4", quick=True, only="model=NA_ALISTA_UR_128")
    assert len(trained) == 12  # it is published at another depth, hence a network of its own

    # Figures 1 and 5 need the network itself: it is read from the training that Figure 6 has finished.
    cell = next(cell for cell in planned("na-fig6", quick=True) if cell["model"] == "NA_ALISTA_UR_128")
    (tmp_path / "na-fig1" / "cells").mkdir(parents=True)
    net, _, tables = alista.network(cell, tmp_path / "na-fig1" / "cells")
    theirs = [row for row in again["results"] if row["model"] == "NA_ALISTA_UR_128"]
    assert tables["results"] == theirs  # with their seconds: nothing was left to do
    assert torch.equal(net.h0, next(n.h0 for n in trained if hasattr(n, "h0") and n.layers == 10))


def test_adopting_takes_no_file_of_other_experiments(tmp_path):
    cell = {"model": "ISTA", "seed": 0}
    for name in ("dgu-fig9", "na-fig6"):
        (tmp_path / name / "cells").mkdir(parents=True)
    path_of(cell, tmp_path / "dgu-fig9" / "cells").write_text("{}")
    mine = path_of(cell, tmp_path / "na-fig3" / "cells")
    mine.parent.mkdir(parents=True)
    adopt_finished(mine, "na-*")
    assert not mine.exists()
    path_of(cell, tmp_path / "na-fig6" / "cells").write_text("{}")
    adopt_finished(mine, None)
    assert not mine.exists()
    adopt_finished(mine, "na-*")
    assert mine.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("na-fig6", "--quick", "--full"), "choose one of them"),
        (("na-fig6", "--quick", "--only", "model=OMP"), "--only model=OMP: no cell matches"),
        (("dgu-fig1", "--published-protocol"), "leave --published-protocol out"),
    ],
)
def test_the_command_refuses_what_there_is_not(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["reproduce", *arguments, "-o", str(tmp_path / "out")])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_runs_a_part(small, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["reproduce", "na-fig6", "--quick", "--only", "model=ALISTA", "-o", str(tmp_path / "out")])
    assert exit_.value.code in (0, None)
    assert "figure.png" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").glob("*.*")} == {
        "results.csv", "log.csv", "settings.json", "figure.png",
    }  # fmt: skip


# Looking into a network


@pytest.fixture
def looked(small, tmp_path):
    """Tables of Figures 1 and 5 with small everything."""
    return {
        figure: [figure.run({**cell, "points": 40, "signals": 40}, tmp_path / str(i))
                 for i, cell in enumerate(figure.cells(quick=True, seed=0))]
        for figure in (na_fig1, na_fig5)
    }  # fmt: skip


def joined(parts):
    return experiments._joined([{"tables": part} for part in parts], None)


def test_norms_of_sparse_vectors_are_kept_and_of_dense_ones_are_not(looked):
    tables = joined(looked[na_fig1])
    r = {row["panel"]: row["pearson_r"] for row in tables["summary"]}
    assert list(r) == list(na_fig1.PANELS)
    assert r["15 non-zeros"] > 0.8 > 0.5 > r["1000 non-zeros"]
    assert len(tables["points"]) == 4 * 40
    assert_drawn(na_fig1.draw(tables, quick=True))
    assert_drawn(na_fig1.draw(joined(looked[na_fig1][:1]), quick=True))


def test_thresholds_and_errors_of_every_layer(looked):
    tables = joined(looked[na_fig5])
    layers = tables["layers"]
    assert [row["layer"] for row in layers] == list(range(10))
    for before, after in zip(layers[1:], layers, strict=False):
        assert before["mean_error_before"] == after["mean_error_after"]
    assert all(row["mean_ratio"] > 0 and 0 <= row["share_within_5"] <= 1 for row in layers)
    assert tables["summary"][0]["guaranteed_sparsity"] >= 1
    assert_drawn(na_fig5.draw(tables, quick=True))


# Pictures of partial tables


def test_pictures_of_what_is_there():
    one = [row_of("ALISTA"), row_of("NA_ALISTA_UR_128"), row_of("LAMP", db=-38.0)]
    assert_drawn(na_fig6.draw({"results": one}, quick=True))
    more = [*one, row_of("ALISTA", n=500, layers=4), row_of("AGLISTA", snr=20), row_of("ISTA", layers=26, db=-5)]
    assert_drawn(na_fig6.draw({"results": more}, quick=False))
    figure = na_fig3.draw({"results": more}, quick=False)
    assert_drawn(figure)
    assert sum(ax.get_visible() for ax in figure.axes) == 4  # two panels with strips: K = 26 has a solver only
    sizes = [row_of("NA_ALISTA_UR_16"), row_of("NA_ALISTA_UR_128", n=2000, db=None)]
    assert_drawn(na_fig4.draw({"results": sizes}, quick=True))
    radio = [row_of("ISTA", n=256, snr=10, m=m, layers=k, db=-2.0) for m in (100, 50) for k in (1, 2)]
    assert_drawn(na_communication.draw({"results": radio, "oracle": [{"m": 50, "test_db": -17.0}]}, quick=False))


def test_rows_are_in_order():
    rows = [row_of("ALISTA", layers=k, n=n) for n in (1000, 500) for k in (16, 4)] + [row_of("ISTA", n=500)]
    rows.sort(key=alista.sort_key)
    assert [(row["n"], row["model"], row["layers"]) for row in rows] == [
        (500, "ISTA", 16), (500, "ALISTA", 4), (500, "ALISTA", 16), (1000, "ALISTA", 4), (1000, "ALISTA", 16),
    ]  # fmt: skip


# Communication


def test_channels_and_pilots():
    ensemble = ofdm(seed=1)
    assert (ensemble.A.adjoint(ensemble.A.forward(torch.eye(256, dtype=torch.complex64))).abs() <= 1 + 1e-5).all()
    rows = ensemble.A.rows
    assert len(rows.unique()) == 100
    assert rows.min() >= 212
    assert rows.max() < 812
    assert not torch.equal(ofdm(seed=2).A.rows, rows)
    y, x = ensemble.draw(20_000, torch.Generator().manual_seed(0))
    assert x.abs().square().sum(-1).mean().item() == pytest.approx(1, abs=0.02)
    assert (x != 0).sum(-1).double().mean().item() == pytest.approx(8, abs=0.1)
    spread = x.abs().square().mean(0)
    assert (spread[:32].sum() / spread[-32:].sum()).item() == pytest.approx(math.exp(5 * 7 / 8), rel=0.15)
    noise = y - ensemble.A.forward(x)
    assert 10 * (y.var(-1).mean() / noise.var(-1).mean()).log10().item() == pytest.approx(10.4, abs=0.1)
    double = ofdm(dtype=torch.complex128, pilots=[212, 300, 300], n=64, k=2)
    assert pursuit.adjoint_gap(double.A) < 1e-12
    assert double.settings["pilots"] == [212, 300, 300]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"m": 700}, "m is 700; needed is 1 <= m <= 600"),
        ({"band": (900, 800)}, "0 <= band"),
        ({"n": 2000}, "n is 2000"),
        ({"dtype": torch.float32}, "complex64 or complex128"),
        ({"k": 300}, "k"),
    ],
)
def test_channels_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        ofdm(**options)


def test_published_pilots_repeat():
    count = {
        m: na_communication.problem({"protocol": "published", "m": m, "seed": 0}).A.shape[0] for m in (100, 75, 50)
    }
    assert count == {100: 93, 75: 73, 50: 49}


def test_networks_have_the_numbers_of_the_authors_in_our_units():
    """One step in their units, with columns of norm c, is one step of ours on measurements 1 / c times theirs."""
    ensemble = na_communication.problem({"protocol": "mended", "m": 50, "seed": 0})
    c = math.sqrt(50 / 1024)
    y, _ = ensemble.draw(5, torch.Generator().manual_seed(0))
    theirs, A = c * y, c * ensemble.A.to_dense()
    shrink = na_communication.SELECTION.layers(1, 256)[0]
    expected = shrink(3 * theirs @ A.conj(), 0.02)
    for model in ("ALISTA", "ALISTA_AT", "AGLISTA"):
        net = na_communication.network({"model": model, "layers": 1, "seed": 0}, ensemble)
        if model == "AGLISTA":
            net.a.data.zero_()  # no overshoot
        torch.testing.assert_close(net(y).detach(), expected, rtol=1e-4, atol=1e-5)
    net = na_communication.network({"model": "NA_ALISTA_UR_16", "layers": 1, "seed": 0}, ensemble)
    net.prepare(y)
    layer = next(iter(net.trace(y)))
    gamma, theta = layer.gamma / c**2, layer.theta  # in their units, 3 and 1 / 20 of the softplus
    torch.testing.assert_close(layer.x, shrinkage.proximal(0 * layer.x, theirs @ A.conj(), gamma, theta, shrink))
    net.scales = 1.0, 1.0
    plain = next(iter(net.trace(y)))
    torch.testing.assert_close(gamma, 3 * plain.gamma)
    torch.testing.assert_close(theta, plain.theta / 20)


def test_ista_meets_the_published_values_of_communication():
    """With the authors' pilots; the penalty is fitted to one of the values."""
    for m in (100, 50):
        cell = {"model": "ISTA", "n": 256, "m": m, "layers": [1, 8, 24], "snr": 10, "protocol": "published", "seed": 0,
                "signals": 2000}  # fmt: skip
        rows = na_communication.run(cell, alista.Path())["results"]
        assert all(abs(row["difference"]) < 0.1 for row in rows)


def test_communication_in_its_smallest_form(small, tmp_path):
    tables = reproduce("na-communication", tmp_path / "x", quick=True, published_protocol=True)
    assert {row["model"] for row in tables["results"]} == set(alista.quick_models())
    assert all(math.isfinite(row["test_db"]) for row in tables["results"])
    trained = next(row for row in tables["results"] if row["model"] == "ALISTA" and row["layers"] == 8)
    assert (trained["signals"], trained["published_db"]) == (16, -12.039)  # signals drawn once
    assert tables["oracle"][0]["test_db"] < -18  # dB; the published -12 and less are no better


def test_every_experiment_says_how_it_draws_parts():
    for name in NAMES:
        assert module(name).PARTIAL
        assert module(name).__doc__


def test_none_beats_the_oracle(small, tmp_path):
    cell = planned("na-oracle", quick=True)[0]
    tables = na_oracle.run(cell | {"signals": 48}, tmp_path / "cells" / "x")
    found = {row["method"]: row for row in tables["oracle"]}
    assert list(found) == [
        "ALISTA", "AGLISTA", "NA_ALISTA_UR_128", "LAMP", "LAMP_once", "AMP", "AMP_once", "OMP", "oracle"
    ]  # fmt: skip
    assert {found[name]["told"] for name in ("ALISTA", "NA_ALISTA_UR_128")} == {"nothing"}
    assert all(row["ms_low"] <= row["ms_per_signal"] <= row["ms_high"] for row in found.values() if row["ms_low"])
    assert found["oracle"]["ms_per_signal"] is None
    assert found["oracle"]["test_db"] == min(row["test_db"] for row in found.values())
    assert found["oracle"]["test_db"] < -25
    assert found["NA_ALISTA_UR_128"]["times_na_alista"] == 1
    assert [found[name]["parameters"] for name in ("ALISTA", "LAMP", "OMP")] == [20, 50, 0]
    assert_drawn(na_oracle.draw(tables, quick=True))


# The family side by side


@pytest.fixture
def small_family(monkeypatch):
    """Trainings of seconds; the grid of HyperLISTA has two points."""
    monkeypatch.setattr(na_family, "N", 60)
    monkeypatch.setattr(na_family, "M", 30)
    monkeypatch.setattr(na_family, "S", 5)
    monkeypatch.setattr(na_family, "QUICK_LAYERS", 3)
    monkeypatch.setattr(na_family, "VALIDATION", 64)
    tiny = {"epochs": 1, "steps": 2, "batch": 8, "validation": 16, "test": 8}
    quick = {model: {**numbers, **(tiny if "epochs" in numbers else {})} for model, numbers in na_family.FIRST.items()}
    quick["HYPERLISTA"] = {"batch": 8, "c_theta": [0.03, 10.0], "c_beta": [0.0], "c_ss": [0.1]}
    monkeypatch.setattr(na_family, "RECIPES", {"quick": quick})
    monkeypatch.setattr(alista, "signals", lambda size: 64)


def test_the_family_is_whole_and_learns_what_it_says(small_family, tmp_path):
    tables = reproduce("na-family", tmp_path / "x", quick=True)
    rows = {row["model"]: row for row in tables["results"]}
    assert set(rows) == set(na_family.MODELS)
    count = {name: row["parameters"] for name, row in rows.items() if name != "NA_ALISTA_UR_128"}
    assert count == {
        "ISTA": 0, "FISTA": 0, "HYPERLISTA": 3, "ALISTA": 2 * 3, "ALISTA_AT": 2 * 3, "AGLISTA": 5 * 3 + 1,
        "TILISTA": 60 * 30 + 2 * 3, "LISTACP": 3 * (60 * 30 + 1), "LISTACPSS": 3 * (60 * 30 + 1),
        "GLISTA": 3 * (60 * 30 + 2 * 60 + 2), "LISTA": 3 * (60 * 30 + 60 * 60 + 1),
    }  # fmt: skip
    assert rows["HYPERLISTA"]["c_theta"] == 0.03
    trained = [row for row in rows.values() if row["parameters"] > 3]
    assert {row["training_signals"] for row in trained} == {(1 + 3) * 2 * 8}
    assert all(row["training_s"] > 0 and row["ms_per_signal"] > 0 for row in trained)

    layers = {name: [row["test_db"] for row in tables["layers"] if row["model"] == name] for name in rows}
    assert all(len(errors) == 3 and errors[-1] == rows[name]["test_db"] for name, errors in layers.items())
    assert all(errors[0] < 0 and len(set(errors)) == 3 for errors in layers.values())
    assert layers["ISTA"] == sorted(layers["ISTA"], reverse=True)
    assert {row["model"] for row in tables["log"]} == {row["model"] for row in trained}
    assert (tmp_path / "x" / "figure.png").stat().st_size > 1000


def test_networks_of_the_family_start_from_what_the_cell_says():
    cells = {(cell["model"], cell["variant"]): cell for cell in planned("na-family")}
    assert {model for model, variant in cells if variant == "first"} == set(na_family.MODELS)
    ensemble = pursuit.ensembles.bernoulli_gaussian(n=60, m=30, k=5)
    for (model, _), cell in cells.items():
        if model in na_family.SOLVERS:
            continue
        net = na_family.network(cell, ensemble)
        assert net.layers == 16
        if model != "HYPERLISTA":
            schedule = na_family.SELECTIONS[cell["recipe"]["selection"]]
            assert net.shrink == (schedule.layers(16, 60) if schedule else [shrinkage.SupportSelection(0)] * 16)


def test_a_recipe_is_chosen_on_validation_signals():
    rows = [
        {"model": "ALISTA", "variant": variant, "validation_db": validation, "test_db": test}
        for variant, validation, test in (("first", -30.0, -40.0), ("second", -35.0, -20.0), ("third", None, None))
    ]
    assert na_family.chosen([*rows, {"model": "LISTA", "variant": "first", "note": "diverged"}]) == {"ALISTA": rows[1]}
    assert na_family.chosen(rows[::-1]) == {"ALISTA": rows[1]}


def test_a_diverging_network_of_the_family_is_a_row_without_errors(small_family, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise pursuit.training.TrainingError("the loss is not finite at step 3: lower lr", epoch=1, step=3)

    monkeypatch.setattr(alista, "fit", fails)
    tables = reproduce("na-family", tmp_path / "x", quick=True, only="model=LISTA,model=ISTA")
    assert [row.get("note") for row in tables["results"]] == [None, "the loss is not finite at step 3"]
    assert {row["model"] for row in tables["layers"]} == {"ISTA"}


@pytest.mark.parametrize("places", [[-42.0, -41.9, -41.8, -20.0, -3.0], [0.0, 1.0, 1.2, 2.0], [5.0]])
def test_labels_keep_their_distance_and_their_order(places):
    named = {str(i): place for i, place in enumerate(places)}
    spread = list(na_family.spread(named, 1.5).values())
    assert all(b - a > 1.5 - 1e-9 for a, b in pairwise(spread))
    assert sum(spread) == pytest.approx(sum(places))  # to both sides alike
    assert spread[-1] == places[-1] or len(places) == 4  # what has room stays


# Recipes


def test_recipes_are_compared_on_validation_signals_alone(small, tmp_path):
    cells = planned("na-recipes", quick=True)
    assert [cell["recipe"]["alone"] for cell in cells] == [2, 0]
    tables = reproduce("na-recipes", tmp_path, quick=True)
    rows = tables["recipes"]
    assert [(row["model"], row["layers"], row["alone"]) for row in rows] == [
        ("AGLISTA", 2, 2), ("AGLISTA", 4, 2), ("AGLISTA", 2, 0), ("AGLISTA", 4, 0)
    ]  # fmt: skip
    assert not any("test" in name for row in rows for name in row)
    assert rows[0]["validation_db"] == rows[2]["validation_db"]  # nothing is passed on yet
    assert rows[1]["validation_db"] != rows[3]["validation_db"]
    assert_drawn(na_recipes.draw(tables, quick=True))


def test_the_first_of_the_compared_recipes_is_that_of_the_results():
    for cell in planned("na-recipes"):
        first = na_recipes.CANDIDATES[cell["model"]][0]
        in_use = alista.recipe("ours", cell["model"], cell["n"])
        assert first == (in_use["lr"], in_use.get("alone", 0), "harder" in in_use)


# Weights


def test_weights_are_compared_in_networks_that_are_trained_alike(small, tmp_path):
    assert [(cell["weights"], cell["snr"]) for cell in planned("na-weights")] == [
        ("exact", 40), ("published", 40), ("exact", 20), ("published", 20)
    ]  # fmt: skip
    tables = reproduce("na-weights", tmp_path, quick=True)
    exact, authors = ([row for row in tables["results"] if row["weights"] == name] for name in ("exact", "published"))
    assert [row["layers"] for row in exact] == [row["layers"] for row in authors] == list(alista.QUICK_DEPTHS)
    assert exact[0]["test_db"] != authors[0]["test_db"]
    assert exact[0]["noise"] > authors[0]["noise"] > 1  # 1 is that of W = A
    assert_drawn(na_weights.draw(tables, quick=True))
