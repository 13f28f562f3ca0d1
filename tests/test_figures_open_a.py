"""The experiments on the paper's open questions: relaxations, bounds, complex matrices; smallest cells only."""

import math

import pytest
import torch

from pursuit.experiments.dgu import (
    bounds as dgu_bounds,
)
from pursuit.experiments.dgu import (
    complex as dgu_complex,
)
from pursuit.experiments.dgu import (
    relaxations as dgu_relaxations,
)
from pursuit.experiments.registry import EXPERIMENTS

MODULES = {"dgu-relaxations": dgu_relaxations, "dgu-bounds": dgu_bounds, "dgu-complex": dgu_complex}


def tables_of(module, cells, folder):
    """What the cells give together."""
    tables = {}
    for i, cell in enumerate(cells):
        for name, rows in module.run(cell, folder / str(i)).items():
            tables.setdefault(name, []).extend(rows)
    return tables


def of_part(cells, **wanted):
    return [cell for cell in cells if all(cell.get(name) == value for name, value in wanted.items())]


def assert_finite(rows, columns):
    assert rows
    for row in rows:
        assert set(columns) <= set(row)
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))


def assert_labelled(figure):
    for ax in figure.axes:
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        assert ax.get_title(loc="left")
    figure.canvas.draw()


@pytest.mark.parametrize("name", MODULES)
def test_cells_differ_and_the_quick_form_has_fewer_or_smaller_ones(name):
    assert name in EXPERIMENTS
    quick, full = (MODULES[name].cells(quick=quick, seed=3) for quick in (True, False))
    assert len(quick) <= len(full)
    assert quick != full
    for cells in (quick, full):
        assert all(a != b for i, a in enumerate(cells) for b in cells[:i])
        assert min(cell["seed"] for cell in cells) == 3


@pytest.fixture(scope="module")
def relaxations(tmp_path_factory):
    cells = dgu_relaxations.cells(quick=True, seed=0)
    difference = [{**cell, "trials": 2, "every": 12} for cell in of_part(cells, part="difference")]
    cost = [{**cell, "repeats": 2} for cell in of_part(cells, part="cost", n=64)]
    training = [{**cell, "epochs": 2} for cell in of_part(cells, part="training", sort="softsort")]
    return tables_of(dgu_relaxations, difference + cost + training, tmp_path_factory.mktemp("relaxations"))


def test_every_relaxation_tends_to_sorting(relaxations):
    rows = relaxations["difference"]
    assert_finite(rows, ["algorithm", "sort", "tau", "mean_log10", "std_log10", "trials"])
    for algorithm in ("omp", "iht"):
        for sort in dgu_relaxations.SORTS:
            curve = [row["mean_log10"] for row in rows if (row["algorithm"], row["sort"]) == (algorithm, sort)]
            assert curve == sorted(curve)
            assert curve[0] < -9
            assert curve[-1] > -1


def test_costs_and_losses_of_every_relaxation(relaxations):
    cost, training = relaxations["cost"], relaxations["training"]
    assert_finite(cost, ["sort", "n", "what", "median_ms", "low_ms", "high_ms", "tau", "batch", "rows"])
    assert len(cost) == 5 * 2
    for forward, both in zip(cost[::2], cost[1::2], strict=True):
        assert 0 < forward["median_ms"] < both["median_ms"]
    assert_finite(training, ["validation_loss", "test_loss", "hard_loss", "oracle_loss", "seconds_per_epoch"])
    assert len(training) == 2
    assert all(row["oracle_loss"] < row["hard_loss"] for row in training)
    assert_labelled(dgu_relaxations.draw(relaxations, quick=True))


@pytest.fixture(scope="module")
def bounds(tmp_path_factory):
    cells = [{**cell, "trials": 4, "every": 12} for cell in dgu_bounds.cells(quick=True, seed=0)]
    return tables_of(dgu_bounds, cells, tmp_path_factory.mktemp("bounds"))


def test_no_error_is_above_its_bound(bounds):
    assert_finite(bounds["trials"], ["algorithm", "steps", "eta", "tau", "trial", "error", "bound", "gap"])
    told = bounds["trials"]
    assert len(told) > 0.2 * sum(row["trials"] for row in bounds["summary"])
    assert all(row["error"] <= row["bound"] * (1 + 1e-5) + 1e-10 for row in told)  # rows are rounded
    assert all(row["violations"] == 0 for row in bounds["totals"])
    assert sum(row["bounds"] for row in bounds["totals"]) == len(told)


def test_errors_and_bounds_grow_with_the_temperature(bounds):
    assert_finite(bounds["summary"], ["median_error", "median_bound", "share_bounded", "worst_ratio", "trials"])
    tried = [(setting, problem) for setting in dgu_bounds.SETTINGS for problem in dgu_bounds.PROBLEMS]
    for rows in (dgu_bounds._of(bounds["summary"], *which) for which in tried):
        if not rows:
            continue  # IHT with step 0.6 on ill-conditioned matrices
        shares = [row["share_bounded"] for row in rows]
        assert shares == sorted(shares, reverse=True)
        assert rows[0]["median_error"] < 1e-12
        assert rows[-1]["median_error"] > 0.1
    for row in bounds["totals"]:
        assert row["tau_guaranteed"] < row["tau_transition"]
        least = 0.4 if row["problem"] == "Gaussian" else 10 ** (-12 / 8)  # one step of the grid
        assert row["observed_over_guaranteed"] is None or row["observed_over_guaranteed"] > least
    assert_labelled(dgu_bounds.draw(bounds, quick=True))


def test_problems_are_as_ill_conditioned_as_they_are_called(bounds):
    conditions = {row["problem"]: row["condition"] for row in bounds["totals"]}
    assert conditions["Gaussian"] == conditions["noisy"] < 10
    assert 30 < conditions["condition 1e2"] < 300 < 3e3 < conditions["condition 1e4"] < 3e4


def test_a_broken_bound_is_counted():
    error, bound, size = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 1.0, math.inf]), torch.ones(3)
    assert dgu_bounds._violations(error, bound, size) == 1


@pytest.fixture(scope="module")
def complex_tables(tmp_path_factory):
    cells = dgu_complex.cells(quick=True, seed=0)
    some = ("OMPNet", "IHTNet", "CoSaMPNet")
    laws = of_part(cells, part="equivariance")
    small = [{**cell, "taus": [1.0]} for cell in laws if cell["network"] in some]
    small += [{**cell, "taus": [1.0], "fields": [["complex", "complex"]]} for cell in of_part(cells, part="gradients")]
    small += [{**cell, "epochs": 2} for cell in of_part(cells, part="training", network="OMPNet")]
    return tables_of(dgu_complex, small, tmp_path_factory.mktemp("complex"))


def test_gradients_of_every_network_are_right(complex_tables):
    rows = complex_tables["gradients"]
    assert_finite(rows, ["network", "matrix", "signals", "tau", "parameter", "gradient_norm", "relative_error"])
    assert {row["network"] for row in rows} == set(dgu_complex.NETS)
    assert {row["parameter"] for row in rows} == {"weights", "log tau", "log eta"}
    assert all(row["spread"] < dgu_complex.DECIDED and row["relative_error"] < 1e-5 for row in rows)


def test_a_wrong_gradient_is_noticed(monkeypatch):
    right = dgu_complex._gradients
    monkeypatch.setattr(dgu_complex, "_gradients", lambda *args: {name: 1.001 * g for name, g in right(*args).items()})
    cell = {"network": "IHTNet", "fields": [["complex", "complex"]], "seed": 0}
    assert all(row["relative_error"] > 1e-4 for row in dgu_complex._gradient_rows(cell, 1.0))


def test_laws_of_complex_arithmetic(complex_tables):
    rows = complex_tables["equivariance"]
    assert_finite(rows, ["law", "network", "tau", "output_error", "gradient_error"])
    for row in rows:
        if row["law"] != "columns" or row["network"] == "IHTNet":
            assert row["output_error"] < 1e-8
            assert row["gradient_error"] < 1e-6
        else:  # fits on soft rows see the phases of the columns
            assert row["output_error"] > 1e-4


def test_trainings_of_real_and_complex_signals(complex_tables):
    log, trained = complex_tables["training"], complex_tables["trained"]
    assert_finite(log, ["network", "signals", "epoch", "train_loss", "validation_loss"])
    assert_finite(trained, ["validation_loss", "test_loss", "hard_loss", "oracle_loss"])
    assert [row["epoch"] for row in log] == [1, 2] * 2
    assert [row["signals"] for row in trained] == ["real", "complex"]
    assert all(row["oracle_loss"] < row["hard_loss"] for row in trained)
    assert_labelled(dgu_complex.draw(complex_tables, quick=True))
