"""Regression and classification on real data: small forms, and what the page says of the committed results."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import pursuit
from pursuit import cli, peers
from pursuit.experiments.cells import path_of, planned
from pursuit.experiments.runner import reproduce
from pursuit.experiments.sea import classification, deconvolution, real, regression

ROOT = Path(__file__).parents[1]
PAGE = " ".join((ROOT / "docs/support-exploration.md").read_text().split())
NAMES = {"sea-regression": regression, "sea-classification": classification}


def committed(name):
    with open(ROOT / "results" / name / "losses.csv", newline="") as file:
        return {(row["data"], row["method"], int(row["k"])): row for row in csv.DictReader(file)}


def data_of(experiment, name):
    data = experiment.DATA[name]()
    A, y = experiment.TASK.prepared(data, np.arange(len(data.target)))
    return torch.from_numpy(A), torch.from_numpy(y)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quick", [True, False])
def test_cells_differ_and_are_json(name, quick):
    cells = planned(name, quick=quick, seed=3)
    assert len({path_of(cell, Path()) for cell in cells}) == len(cells)
    assert json.loads(json.dumps(cells, allow_nan=False)) == cells


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("settings", "says"), [("folds=1", "folds is 1"), ("steps=0", "steps is 0")])
def test_settings_that_are_none(name, settings, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["reproduce", name, "--set", settings, "-o", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


# The data


def test_columns_are_standardised_by_the_rows_that_are_fitted():
    rng = np.random.default_rng(0)
    features = rng.normal(3.0, 5.0, (20, 4))
    features[:15, 2] = 7.0  # constant where it is fitted
    rows = np.arange(15)
    A = real.standardised(features, rows)
    np.testing.assert_allclose(A[rows].mean(0), 0, atol=1e-15)
    np.testing.assert_allclose(np.linalg.norm(A[rows], axis=0), [1, 1, 0, 1])
    features[15:] = 1e6
    np.testing.assert_array_equal(real.standardised(features, rows)[rows], A[rows])


@pytest.mark.parametrize(
    ("experiment", "name", "shape"),
    [
        (regression, "diabetes", (442, 64)), (regression, "ecg", (960, 64)), (regression, "photo", (5490, 84)),
        (classification, "cancer", (569, 31)), (classification, "even", (1797, 65)),
    ],
)  # fmt: skip
def test_data_are_what_they_are_said_to_be(experiment, name, shape):
    A, y = data_of(experiment, name)
    assert A.shape == shape
    norms = A.norm(dim=0)
    constant = norms == 0  # pixels that no digit has
    assert constant.sum() == (3 if name == "even" else 0)
    torch.testing.assert_close(norms[~constant], torch.ones_like(norms[~constant]))
    if experiment is regression:
        assert abs(y.mean()) < 1e-9 * y.abs().max()
    else:
        assert set(y.tolist()) == {0.0, 1.0}
        torch.testing.assert_close(A[:, 0], torch.full_like(y, 1 / math.sqrt(len(y))))


def test_windows_and_neighbours():
    data = regression.ecg()
    assert (data.features[1:, 0] == data.target[:-1]).all()  # the nearest sample first
    assert (data.features[1:, 1] == data.features[:-1, 0]).all()
    from sklearn.datasets import load_sample_image

    pixels, data = load_sample_image("china.jpg").mean(-1), regression.photo()
    assert data.target[0] == pixels[6, 6]
    assert data.features[0, -1] == pixels[6, 5]
    assert data.features[0, 0] == pixels[0, 0]
    assert data.target[1] == pixels[6, 13]
    assert data.features[1, 6] == pixels[0, 13]


# The methods


def test_methods_are_the_solvers():
    A, y = data_of(regression, "diabetes")
    for method in ("omp", "els", "sea", "sea@els", "els@sea", "whitened_lasso"):
        x = regression.method_of(method, 30)(A, y, [2, 5])
        for k, found in zip((2, 5), x, strict=True):
            algorithm, _, start = method.partition("@")
            options = {"max_steps": 30} if algorithm == "sea" else {}
            if start:
                own = {"max_steps": 30} if start == "sea" else {}
                options["x0"] = pursuit.solve(A, y, start, k=k, **own).x
            torch.testing.assert_close(found, pursuit.solve(A, y, algorithm, k=k, **options).x)


def test_classification_minimises_the_logistic_loss():
    A, y = data_of(classification, "cancer")
    loss = pursuit.Logistic()
    x = classification.method_of("sea", 10)(A, y, [2, 4])
    for k, found, total in zip((2, 4), x, real.total_loss(loss, A, y, x), strict=True):
        sol = pursuit.sea(A, y, k, loss=loss, max_steps=10)
        torch.testing.assert_close(found, sol.x)
        by_hand = np.logaddexp(0, (-(2 * y - 1) * (A @ found)).numpy()).sum()
        assert float(total) == pytest.approx(float(by_hand)) == pytest.approx(float(sol.residual_norm**2 / 2))
        gradient = A.mT @ (torch.sigmoid(A @ found) - y)
        assert gradient[found != 0].abs().max() < 1e-6 * gradient.abs().max()


@pytest.mark.parametrize("experiment", [regression, classification])
def test_the_best_step_is_no_worse_than_any(experiment):
    A, y = data_of(experiment, "diabetes" if experiment is regression else "cancer")
    ks, loss = [1, 3, 6], experiment.TASK.loss
    curvature = getattr(loss, "curvature", 1.0)
    best = real.total_loss(loss, A, y, experiment.method_of("htp", 20)(A, y, ks))
    scale = float(torch.linalg.matrix_norm(A, 2) ** 2) * curvature
    tried = []
    for eta in deconvolution.STEP_SIZES:
        x = real.by_library("htp", A, y, ks, eta=eta / scale, loss=loss)
        tried.append(real.total_loss(loss, A, y, real.refitted(A, y, x, ks, loss)))
    torch.testing.assert_close(best, torch.stack(tried).amin(0), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("experiment", "method"), [(regression, "lasso"), (classification, "l1")])
def test_penalised_solutions_have_k_columns_and_are_fits(experiment, method, monkeypatch):
    monkeypatch.setattr(classification, "STRENGTHS", 8)
    A, y = data_of(experiment, "diabetes" if experiment is regression else "cancer")
    ks, loss = [2, 5], experiment.TASK.loss
    x = experiment.method_of(method, 20)(A, y, ks)
    assert ((x != 0).sum(-1) <= torch.tensor(ks)).all()
    torch.testing.assert_close(x, real.refitted(A, y, x, ks, loss), rtol=1e-6, atol=1e-8)
    at_zero = experiment.TASK.at_zero(y)
    omp = real.total_loss(loss, A, y, real.by_library("omp", A, y, ks, loss=loss))
    assert (real.total_loss(loss, A, y, x) < 0.5 * (omp + at_zero)).all()


def test_columns_of_zeros_are_kept_from_other_packages():
    A, y = data_of(classification, "even")
    seen = []

    def first(A, y, k):
        seen.append(A.shape)
        return np.arange(A.shape[1]) < k

    x = classification._one_by_one(first, A, y, [1, 2])
    assert seen == [(1797, 62)] * 2
    zero = (A == 0).all(0)
    assert x.shape == (2, 65)
    assert not x[:, zero].any()
    assert (x.sum(-1) == torch.tensor([1.0, 2.0])).all()


def test_rows_held_out_are_predicted_by_the_others():
    """Everything again with NumPy and scikit-learn alone."""
    from sklearn.linear_model import OrthogonalMatchingPursuit
    from sklearn.model_selection import KFold

    cell = {"data": "diabetes", "method": "omp", "ks": [1, 4], "folds": 3, "seed": 5}
    data = regression.diabetes()
    rows = real.measured(cell, regression.diabetes, regression.TASK, regression.method_of("omp", 10))
    for k, row in zip((1, 4), rows, strict=True):
        shares = []
        for fit, held in KFold(3, shuffle=True, random_state=5).split(data.features):
            mean, centre = data.target[fit].mean(), data.features[fit].mean(0)
            A = (data.features - centre) / np.linalg.norm(data.features[fit] - centre, axis=0)
            model = OrthogonalMatchingPursuit(n_nonzero_coefs=k, fit_intercept=False).fit(
                A[fit], data.target[fit] - mean
            )
            error = np.mean((data.target[held] - mean - A[held] @ model.coef_) ** 2)
            shares.append(error / np.mean((data.target - mean) ** 2))
        assert row["held_out"] == pytest.approx(np.mean(shares), rel=1e-5)
        assert row["held_out_error"] == pytest.approx(np.std(shares, ddof=1) / math.sqrt(3), rel=1e-4)
        assert row["behind_omp"] == 0
        assert row["columns"] == k


# The small forms


@pytest.mark.parametrize("name", NAMES)
def test_tables_and_picture(name, monkeypatch, tmp_path):
    experiment = NAMES[name]
    small = experiment.QUICK._replace(ks=(1, 2), folds=2, steps=4)
    monkeypatch.setattr(experiment, "QUICK", small)
    monkeypatch.setattr(classification, "TUNED_STEPS", 4)
    monkeypatch.setattr(classification, "STRENGTHS", 4)
    monkeypatch.setattr(peers, "find_spec", lambda package: None)
    rows = reproduce(name, tmp_path, quick=True)["losses"]
    by = {(row["method"], row["k"]): row for row in rows}
    assert {method for method, _ in by} == set(experiment.METHODS) - set(peers.PEERS)
    for row in rows:
        assert 0 < row["training"] < 1
        assert row["columns"] <= row["k"]
        assert ("misclassified" in row) == (experiment is classification)
    for k in (1, 2):
        for better, start in (("sea@omp", "omp"), ("sea@els", "els"), ("els@sea", "sea"), ("els", "omp")):
            assert by[better, k]["training"] <= by[start, k]["training"] * (1 + 1e-9), (better, start)
        assert by["omp", k]["behind_omp"] == 0
        assert by["els", k]["behind_omp"] == pytest.approx(
            by["els", k]["held_out"] - by["omp", k]["held_out"], abs=2e-6
        )
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_picture_names_every_method():
    rows = [
        {"data": "ecg", "method": method, "k": k, "training": 0.5 / k, "held_out": 0.6 / k, "held_out_error": 0.01}
        for method in regression.METHODS
        for k in (1, 2)
    ]
    rows[0] = {**rows[0], "training": 0.75}
    figure = regression.draw({"losses": rows}, quick=True)
    assert len(figure.axes) == 3
    table = figure.axes[1]
    assert [text.get_text() for text in table.get_yticklabels()] == [real.label(name) for name in regression.METHODS]
    assert len({real.label(name) for name in regression.METHODS}) == len(regression.METHODS)
    assert table.texts[0].get_text() == "50"
    assert table.texts[1].get_text() == "0"


# The page


def above_least(rows):
    """By which factor a training loss is above the least at that k."""
    least = {}
    for (data, _, k), row in rows.items():
        least[data, k] = min(least.get((data, k), math.inf), float(row["training"]))
    return {at: float(row["training"]) / least[at[0], at[2]] for at, row in rows.items()}


def test_what_the_page_says_of_regression():
    rows = committed("sea-regression")
    above = above_least(rows)
    training = {at: float(row["training"]) for at, row in rows.items()}
    most = max(value for (data, method, _), value in above.items() if (data, method) == ("ecg", "omp"))
    assert 2.9 < most < 3.1
    assert "OMP is up to three times above the least training loss" in PAGE
    assert max(value for (data, method, _), value in above.items() if (data, method) == ("ecg", "els")) < 1.02
    better = [at for at in training if at[1] == "sea@els" and training[at] < training[at[0], "els", at[2]] * (1 - 1e-6)]
    assert not [
        at for at in training if at[1] == "sea@els" and training[at] > training[at[0], "els", at[2]] * (1 + 1e-6)
    ]
    assert f"better at {len(better)} of {sum(at[1] == 'els' for at in training)} points" in PAGE
    assert [at for at in above if at[1] == "sea_plus" and above[at] > 1 + 1e-6] == [("diabetes", "sea_plus", 15)]
    for data in ("diabetes", "ecg", "photo"):  # SEA from zero and the cheap methods
        mean = {
            m: np.mean([v for (d, n, _), v in above.items() if (d, n) == (data, m)])
            for m in regression.METHODS
            if m not in peers.PEERS
        }
        assert mean["sea"] > max(mean["els"], mean["ols"], mean["lasso"]) - 1e-3
    assert all(int(row["columns"]) == k for (_, _, k), row in rows.items())
    behind = [rows["ecg", "els", k] for k in (2, 3, 4, 5, 6, 8, 10, 12)]
    assert all(float(row["behind_omp"]) < -float(row["behind_omp_error"]) for row in behind)
    assert max(abs(float(row["behind_omp"])) for row in behind) < 0.021
    six = rows["diabetes", "els", 6]
    assert float(six["behind_omp"]) < -3 * float(six["behind_omp_error"])


def test_what_the_page_says_of_classification():
    rows = committed("sea-classification")
    above = {at: value for at, value in above_least(rows).items() if at[0] == "cancer"}

    def of(method):
        return [100 * (value - 1) for (_, name, _), value in above.items() if name == method]

    for name in ("els", "sea@els"):
        assert [round(value, 1) for value in of(name)] == [0.0] * 8 + [1.2]
    assert above["cancer", "els@sea", 20] == 1
    assert f"SEA from zero is {min(of('sea')):.0f} to {max(of('sea')):.0f} % above the least" in PAGE
    assert f"OMP is {min(of('omp')):.0f} to {max(of('omp')):.0f} % above" in PAGE
    means = {name: np.mean(of(name)) for name in ("sea", "abess", "skscope", "l1")}
    assert max(means.values()) < 2 * min(means.values())
    assert np.mean(of("sea@omp")) > 0.8 * np.mean(of("omp"))
    even = {at: value for at, value in above_least(rows).items() if at[0] == "even"}
    assert max(value for (_, name, _), value in even.items() if name not in ("iht", "htp")) < 1.07
    assert all(max(value for (_, name, _), value in even.items() if name == far) > 1.07 for far in ("iht", "htp"))
    for k in classification.KS:
        assert (even["even", "sea", k] > even["even", "omp", k] * (1 + 1e-6)) == (k >= 8)
    wrong = [100 * float(rows["cancer", method, 4]["misclassified"]) for method in ("els", "sea", "omp")]
    assert "at k = 4 ELS gets {:.1f} % of the labels held out wrong, SEA {:.1f} %, OMP {:.1f} %".format(*wrong) in PAGE
    assert [
        k for (data, name, k), row in rows.items() if (data, name) == ("cancer", "els") and float(row["held_out"]) > 1
    ] == [15, 20]
