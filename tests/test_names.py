"""Names of earlier versions work, with a warning that says the new one; the value is the same."""

import csv
import re

import numpy as np
import pytest
import torch

import pursuit
from helpers import gaussian, instance
from pursuit import cli, metrics, sweeps
from pursuit.core.atoms import Atoms
from pursuit.ensembles import gaussian_levels
from pursuit.sweeps.cells import Settings, Task, solve
from pursuit.sweeps.plan import Plan
from pursuit.sweeps.store import Store


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (pursuit, "Callables", "FunctionOperator"),
        (pursuit, "Choice", "AtomSelector"),
        (pursuit, "from_physics", "from_deepinv"),
        (metrics, "support_recovered", "support_recall"),
    ],
)
def test_a_module_gives_a_thing_by_its_old_name(module, old, new):
    with pytest.warns(
        DeprecationWarning, match=rf"\.{old} is now {module.__name__}\.{new}; the old name goes"
    ) as given:
        assert getattr(module, old) is getattr(module, new)
    assert given[0].filename == __file__


def test_a_function_that_moved_is_found_where_it_was():
    from pursuit import weights
    from pursuit.experiments.na import projected_gradients

    with pytest.warns(DeprecationWarning, match=r"is now pursuit\.experiments\.na\.projected_gradients\.proj") as given:
        assert weights.projected_gradient_weights is projected_gradients.projected_gradient_weights
    assert given[0].filename == __file__
    with pytest.raises(AttributeError, match="no attribute 'projected'"):
        weights.projected  # noqa: B018


def test_a_name_that_never_was_is_an_error_as_before():
    with pytest.raises(AttributeError, match="no attribute 'support_recal'"):
        metrics.support_recal  # noqa: B018
    with pytest.raises(AttributeError, match="support_recal"):
        pursuit.support_recal  # noqa: B018


@pytest.mark.parametrize("call", ["directly", "by name"])
def test_greedy_lasso_takes_its_old_arguments(call):
    p = instance(gaussian(), 4, noise=0.1)
    w = torch.linspace(0.5, 2, 48, dtype=p.y.dtype)
    run = (
        pursuit.greedy_lasso
        if call == "directly"
        else lambda *args, **kwargs: pursuit.solve(*args, "greedy_lasso", **kwargs)
    )
    want = run(p.A, p.y, lam=0.3, objective="l1", penalty_weights=w)
    assert 0 < (want.x != 0).sum() < 36
    with pytest.warns(DeprecationWarning, match="greedy_lasso") as given:
        found = run(p.A, p.y, lam=0.3, loss="l1", weights=w)
    assert torch.equal(found.x, want.x)
    assert sorted(str(warning.message).partition(";")[0] for warning in given) == [
        "greedy_lasso(loss=...) is now greedy_lasso(objective=...)",
        "greedy_lasso(weights=...) is now greedy_lasso(penalty_weights=...)",
    ]
    assert {warning.filename for warning in given} == {__file__}


def test_an_argument_is_not_taken_twice():
    with pytest.raises(
        TypeError, match="greedy_lasso was given both objective and its old name loss; give only objective"
    ):
        pursuit.greedy_lasso(torch.eye(3), torch.ones(3), 1, lam=0.1, objective="l1", loss="l1")


OLD = {"batch": 8, "training": 32, "validation": 16, "test": 16, "rates": {"w": 0.5}, "fresh": True, "layerwise": None}
NEW = {
    "batch_size": 8, "n_train": 32, "n_validation": 16, "n_test": 16, "lr_factors": {"w": 0.5}, "resample": True,
    "layerwise_epochs": None,
}  # fmt: skip


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.v = (torch.nn.Parameter(torch.zeros(16, 8)) for _ in "wv")

    def forward(self, y):
        return y @ (self.w + self.v).mT


def test_fit_takes_its_old_options_and_goes_on_with_their_checkpoint(tmp_path):
    ensemble = gaussian_levels(n=16, m=8, k=2, admissible=4)
    want = pursuit.training.fit(Layer(), ensemble, epochs=2, **NEW, folder=tmp_path)
    with pytest.warns(DeprecationWarning, match="is now fit") as given:
        found = pursuit.training.fit(Layer(), ensemble, epochs=2, **OLD)
    assert found.test_loss == want.test_loss
    assert [record.train_loss for record in found.log] == [record.train_loss for record in want.log]
    pairs = zip(OLD, NEW, strict=True)
    said = {f"fit({old}=...) is now fit({new}=...); the old name goes with the next release." for old, new in pairs}
    assert {str(warning.message) for warning in given} == said


def test_train_takes_its_old_options_and_does_not_show_them(tmp_path, monkeypatch, capsys):
    given = {}

    def fit(net, ensemble, **options):
        given.update(options)
        raise ValueError("enough")

    monkeypatch.setattr(pursuit.training, "fit", fit)
    with pytest.raises(SystemExit):
        cli.main(["train", "alista", "--batch", "8", "--layerwise", "2", "--fresh", "-o", str(tmp_path)])
    assert "enough" in capsys.readouterr().err
    assert {name: given[name] for name in ("batch_size", "layerwise_epochs", "resample")} == {
        "batch_size": 8,
        "layerwise_epochs": 2,
        "resample": True,
    }
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    shown = capsys.readouterr().out
    assert "--batch-size" in shown
    assert not re.search(r"--(batch|layerwise|fresh)\b(?!-)", shown)


def test_what_own_solvers_use_keeps_its_old_names():
    A, x, r = pursuit.Dense(gaussian()), torch.ones(48, dtype=torch.float64), torch.ones(36, dtype=torch.float64)
    with pytest.warns(DeprecationWarning, match=r"Operator\.descend is now Operator\.gradient_step"):
        assert torch.equal(A.descend(x, r, 0.5), A.gradient_step(x, r, 0.5))
    atoms, others = Atoms(torch.tensor([2, 0]), 4), Atoms(torch.tensor([1, 0]), 4)
    with pytest.warns(DeprecationWarning, match=r"union\(most=\.\.\.\) is now union\(max_k=\.\.\.\)"):
        assert (
            atoms.union(others, most=3).indices.tolist() == atoms.union(others, max_k=3).indices.tolist() == [2, 0, 1]
        )
    choice = pursuit.AtomSelector(pursuit.Hard(), 3, torch.ones(4))
    with pytest.warns(DeprecationWarning, match=r"AtomSelector\.most is now AtomSelector\.max_k"):
        assert choice.most == choice.max_k == 3


# ---- sea+, another spelling of sea_plus: it does not warn ----------------------------------------------------------


def test_sea_plus_has_one_name_in_lists_and_tables():
    assert "sea_plus" in pursuit.methods()
    assert "sea+" not in pursuit.methods()
    case = pursuit.problems.gaussian(n=30, m=15, k=2, signals=2)
    (row,) = pursuit.comparison.compare(case, ["sea+"])
    assert row.method == "sea_plus"


def test_solve_takes_the_other_spelling():
    p = instance(gaussian(), 4, noise=0.1)
    assert torch.equal(
        pursuit.solve(p.A, p.y, "sea+", k=4, max_steps=5).x, pursuit.sea_plus(p.A, p.y, 4, max_steps=5).x
    )


def test_sweeps_take_the_other_spelling_and_read_it(tmp_path):
    options = {"n": 16, "grid": (1, 1), "trials": 5, "block": 5, "output": tmp_path}
    assert set(sweeps.phase(("sea+", "sea+@omp", "omp"), **options).methods) == {"sea_plus", "sea_plus@omp", "omp"}

    settings, plan = Settings(n=16, block=5), Plan(("sea+", "omp"), (1, 1), 0.5, 5)
    store = Store(tmp_path / "before.sqlite")
    store.begin(settings, plan)
    cells = solve(settings, Task(8, 2, 0, ("sea_plus", "omp")))
    store.add([cell._replace(method={"sea_plus": "sea+"}.get(cell.method, cell.method)) for cell in cells])
    store.close()
    sweep = sweeps.load(tmp_path / "before.sqlite")
    assert sweep.methods == ("sea_plus", "omp")
    assert [(row["method"], row["trials"]) for row in sweep.table()] == [("sea_plus", 5), ("omp", 5)]
    assert {name for name, *_ in sweep.seconds} == {"sea_plus", "omp"}


def test_the_command_line_takes_the_other_spelling(tmp_path, monkeypatch):
    p = instance(gaussian(), 2)
    np.save(tmp_path / "A.npy", p.dense.numpy())
    np.save(tmp_path / "y.npy", p.y.numpy())
    monkeypatch.chdir(tmp_path)
    arguments = ["compare", "--A", "A.npy", "--y", "y.npy", "-k", "2", "--methods", "sea+,omp", "-o", "out"]
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert not end.value.code
    with open(tmp_path / "out" / "table.csv", newline="") as file:
        assert {row["method"] for row in csv.DictReader(file)} == {"sea_plus", "omp"}
