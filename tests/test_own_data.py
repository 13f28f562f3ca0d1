"""Networks on signals of one's own: from arrays, data sets and files, as a user would write it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from torch import nn

import pursuit
from helpers import DEVICES
from pursuit import cli, nets
from pursuit.ensembles import from_arrays
from pursuit.training import fit, unseen_signals

ROOT = Path(__file__).parents[1]
M, N, K, COUNT = 8, 16, 2, 120
rng = np.random.default_rng(0)
A = rng.standard_normal((M, N))
X = np.zeros((COUNT, N))
for row in X:
    row[rng.choice(6, K, replace=False)] = rng.choice([-1, 1], K) * (1 + rng.random(K))
Y = X @ A.T + 0.01 * rng.standard_normal((COUNT, M))
FEW = {"epochs": 2, "batch_size": 32}


def net(matrix=A, **options):
    return nets.IHTNet(matrix, **{"k": K, "layers": 3, "tau": 0.1} | options)


def train(capsys, *arguments):
    """Exit status, standard output and standard error of `pursuit train`."""
    with pytest.raises(SystemExit) as end:
        cli.main(["train", *map(str, arguments)])
    return end.value.code or 0, *capsys.readouterr()


@pytest.fixture
def files(tmp_path):
    """A.npy and train.npz in a folder."""
    np.save(tmp_path / "A.npy", A)
    np.savez(tmp_path / "train.npz", Y=Y, X=X)
    return tmp_path


# What `fit` takes


class Pairs(torch.utils.data.Dataset):
    def __len__(self):
        return COUNT

    def __getitem__(self, i):
        return Y[i], X[i]


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return zip(Y.tolist(), X.tolist(), strict=True)


def table(values):
    return pandas.DataFrame(values)


GIVEN = {
    "arrays": lambda: (Y, X),
    "tensors": lambda: (torch.tensor(Y), torch.tensor(X)),
    "lists": lambda: (Y.tolist(), X.tolist()),
    "tables": lambda: (table(Y), table(X)),
    "rows": lambda: (pursuit.rows(Y), pursuit.rows(X)),
    "two batch axes": lambda: (Y.reshape(4, 30, M), X.reshape(4, 30, N)),
    "data set": Pairs,
    "stream": Stream,
    "tensor data set": lambda: torch.utils.data.TensorDataset(torch.tensor(Y), torch.tensor(X)),
    "ensemble": lambda: from_arrays(Y, X),
    "ensemble with its matrix": lambda: from_arrays(Y, X, A),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_a_network_learns_from_whatever_the_signals_come_as(kind):
    expected, learner = fit(net(), (Y, X), **FEW), net()
    training = fit(learner, GIVEN[kind](), **FEW)
    assert [epoch.train_loss for epoch in training.log] == [epoch.train_loss for epoch in expected.log]
    assert training.test_loss == expected.test_loss
    assert not torch.equal(learner.weights, torch.ones(N))


@pytest.mark.parametrize("device", DEVICES)
def test_signals_are_brought_to_the_device_and_precision_of_the_network(device):
    learner = net(torch.tensor(A, dtype=torch.float32)).to(device)
    assert fit(learner, (Y, X), **FEW, resample=True, n_train=40).test_loss > 0
    assert {(p.device.type, p.dtype) for p in learner.parameters()} == {(device, torch.float32)}


def test_a_module_of_ones_own_learns_too():
    learner = nn.Linear(M, N, bias=False)  # in single precision, to which the signals are brought
    training = fit(learner, (Y, X), epochs=30)
    assert training.validation_loss < 0.6 * training.log[0].validation_loss


def test_single_precision_complex_and_integer_signals():
    turned = A * np.exp(1j * rng.random(N))
    Z = X * np.exp(1j * rng.random(X.shape))
    for matrix, y, x in (
        (A.astype("float32"), Y, X),
        (turned, Z @ turned.T, Z),
        (A, np.round(Y), np.sign(X).astype(int)),
    ):
        assert fit(net(matrix), (y, x), **FEW).test_loss > 0


# The split


def test_the_parts_are_disjoint_and_copies_stay_on_one_side():
    copied = [*range(COUNT), *range(40), *range(20)]  # some three times, some twice
    ensemble = from_arrays(Y[copied], X[copied], A, seed=3)
    assert ensemble.duplicates == 60
    parts = ensemble.split()
    rows = [{tuple(row) for row in part.y.tolist()} for part in parts]
    assert not rows[0] & rows[1] | rows[0] & rows[2] | rows[1] & rows[2]
    assert sum(map(len, parts)) == len(ensemble) == 180
    assert 15 <= len(parts.validation) <= 18 >= len(parts.test) >= 15
    for part in parts:  # each y still has its x
        torch.testing.assert_close(part.y, part.x @ torch.tensor(A).T, atol=0.1, rtol=0)
    assert len({float(from_arrays(Y, X, seed=seed).split().test.y.sum()) for seed in range(5)}) == 5


def test_minus_zero_is_zero():
    y = np.where(np.arange(30)[:, None] % 2 == 0, 0.0, -0.0) + np.zeros((30, 3))
    y[:28] += 1 + np.arange(28)[:, None]
    assert from_arrays(y, np.ones((30, 3))).duplicates == 1


def test_too_few_signals_get_shares_of_what_there_is_and_it_is_said():
    with pytest.warns(
        UserWarning, match=r"1024 \+ 512 \+ 512, and there are 120 signals: 60 are used for training, 30"
    ):
        parts = from_arrays(Y, X).split(1024, 512, 512)
    assert [len(part) for part in parts] == [60, 30, 30]


def test_the_test_signals_are_those_of_the_test_loss_and_of_no_step():
    learner, seen = net(), []
    hook = learner.register_forward_hook(lambda module, given, out: seen.append((module.training, given[0])))
    training = fit(learner, (Y, X), **FEW, n_test=30, seed=5)
    hook.remove()
    y, x = unseen_signals(from_arrays(Y, X, seed=5), n_test=30, seed=5)
    assert len(y) == 30
    with torch.no_grad():
        assert training.test_loss == pytest.approx(float((learner(y) - x).square().sum(-1).mean()), rel=1e-6)
    steps = [given for learning, given in seen[1:] if learning]  # the first call is to see whether it fits
    learned_from = {tuple(row) for given in steps for row in given.tolist()}
    validated = {tuple(row) for learning, given in seen if not learning and len(given) == 12 for row in given.tolist()}
    tested = {tuple(row) for row in y.tolist()}
    assert len(learned_from) == 78
    assert len(validated) == 12
    assert not tested & learned_from | tested & validated | learned_from & validated


def test_new_signals_in_every_epoch_are_of_those_for_training():
    learner, seen = net(), []
    learner.register_forward_hook(lambda module, given, out: seen.append(given[0]) if module.training else None)
    fit(learner, (Y, X), epochs=4, n_train=40, resample=True)
    assert 40 < len({tuple(row) for given in seen for row in given.tolist()}) <= 96


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_signals_of_a_size_from_which_networks_do_not_learn_are_named(size, files, capsys, monkeypatch):
    with pytest.warns(UserWarning, match=r"the non-zeros of X are about .* divide Y and X by (0.0037|3.7e\+03)\.$"):
        fit(net(), (size * Y, size * X), **FEW)
    monkeypatch.chdir(files)
    np.savez("small.npz", Y=size * Y, X=size * X)
    options = ("--methods", "none", "--epochs", 1, "--layers", 2, "--n-test", 1000, "-o", "out")
    code, _, err = train(capsys, "lista", "--A", "A.npy", "--data", "small.npz:Y,X", *options)
    assert code == 0
    assert err.count("note: ") == err.count("\n") == 2  # of the size, and of the number of test signals
    assert "note: n_train + n_validation + n_test are " in err


def test_training_signals_from_elsewhere():
    ensemble = pursuit.ensembles.gaussian_levels(n=N, m=M, k=K, admissible=6)
    own = from_arrays(*ensemble.draw(50, torch.Generator().manual_seed(0)), ensemble.A)
    training = fit(nn.Linear(M, N), own, training_ensemble=ensemble, epochs=1, n_train=64)
    other = fit(nn.Linear(M, N), ensemble, training_ensemble=own, epochs=1, n_test=16, n_validation=16)
    assert training.log[0].step == 1
    assert other.log[0].step == 1
    with pytest.raises(ValueError, match=r"5 of 50 rows of Y for training are among the 5 for validation and test"):
        fit(nn.Linear(M, N), own, training_ensemble=from_arrays(own.y, own.x), epochs=1)


# The best network, at every moment, and more epochs


def losses(folder):
    lines = (folder / "log.csv").read_text().splitlines()
    return [float(line.split(",")[3]) for line in lines[1:]]


def test_the_best_network_so_far_is_in_the_folder_after_every_epoch(tmp_path):
    best = []

    def look(epoch):
        record = nets.read_epoch(tmp_path / "net.safetensors")
        stored = nets.load(tmp_path / "net.safetensors")
        best.append((record["epoch"], record["validation_loss"]))
        if record["epoch"] == epoch.epoch:
            assert torch.equal(stored.weights, learner.weights)

    learner = net()
    training = fit(learner, (Y, X), epochs=12, lr=0.2, folder=tmp_path, checkpoint_every=5, on_epoch=look)
    so_far = np.minimum.accumulate([epoch.validation_loss for epoch in training.log])
    assert [loss for _, loss in best] == so_far.tolist()
    assert len({epoch for epoch, _ in best}) > 1
    assert best[-1] == (training.best_epoch, training.validation_loss)
    assert torch.equal(nets.load(tmp_path / "net.safetensors").weights, learner.weights)


def test_the_best_of_a_module_of_ones_own_is_there_too(tmp_path):
    from safetensors.torch import load_file

    learner = nn.Linear(M, N)
    training = fit(learner, (Y, X), **FEW, folder=tmp_path)
    stored = nn.Linear(M, N)
    stored.load_state_dict(load_file(tmp_path / "net.safetensors"))
    assert torch.equal(stored.weight, learner.weight)
    assert nets.read_epoch(tmp_path / "net.safetensors")["epoch"] == training.best_epoch
    with pytest.raises(ValueError, match="not a network that"):
        nets.load(tmp_path / "net.safetensors")


KILLED = """
import numpy as np, pursuit
given = np.load({data!r})
net = pursuit.nets.IHTNet(np.load({A!r}), k=2, layers=3, tau=0.1)
pursuit.training.fit(net, (given["Y"], given["X"]), epochs=10**6, folder={folder!r})
"""


def test_the_best_network_is_whole_after_a_kill(files, tmp_path):
    folder = tmp_path / "run"
    script = KILLED.format(data=str(files / "train.npz"), A=str(files / "A.npy"), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"})
    end = time.monotonic() + 100
    while (
        not (folder / "log.csv").exists() and process.poll() is None and time.monotonic() < end
    ):  # the last of an epoch
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    record, kept = nets.read_epoch(folder / "net.safetensors"), nets.load(folder / "net.safetensors")
    assert record["validation_loss"] <= min(losses(folder))
    parts = from_arrays(Y, X).split()
    with torch.no_grad():
        loss = (kept(parts.validation.y) - parts.validation.x).square().sum(-1).mean()
    assert float(loss) == pytest.approx(record["validation_loss"], rel=1e-6)
    done = len(losses(folder))
    training = fit(net(), (Y, X), epochs=done + 20, folder=folder)
    assert len(training.log) == done + 20
    assert nets.read_epoch(folder / "net.safetensors")["epoch"] == training.best_epoch


@pytest.mark.parametrize("schedule", ["halve", "cosine"])
def test_a_finished_run_goes_on_for_more_epochs(schedule, tmp_path):
    options = {"schedule": schedule, "halve_every": 3, "lr": 0.05, "folder": tmp_path}
    first = fit(net(), (Y, X), epochs=4, **options)
    begun, learner = [], net()
    longer = fit(learner, (Y, X), epochs=8, on_epoch=lambda epoch: begun.append(epoch.epoch), **options)
    assert begun == [5, 6, 7, 8]
    assert longer.log[:4] == first.log
    once = fit(whole := net(), (Y, X), epochs=8, **options | {"folder": None})
    assert [epoch.lr for epoch in longer.log[4:]] == [epoch.lr for epoch in once.log[4:]]  # as in a run of 8 epochs
    if schedule == "halve":
        assert [epoch.validation_loss for epoch in longer.log] == [epoch.validation_loss for epoch in once.log]
        assert torch.equal(learner.weights, whole.weights)
        assert longer[1:] == once[1:]  # losses on validation and test signals
    assert longer.best_epoch == 1 + int(np.argmin([epoch.validation_loss for epoch in longer.log]))
    assert nets.read_epoch(tmp_path / "net.safetensors")["epoch"] == longer.best_epoch
    with pytest.raises(
        ValueError, match=r"epochs is 3, and the run of .* has done 8; needed are at least 8, or another"
    ):
        fit(net(), (Y, X), epochs=3, **options)


def test_other_signals_are_another_run(tmp_path):
    fit(net(), (Y, X), **FEW, folder=tmp_path)
    with pytest.raises(ValueError, match=r"belongs to another run \(the ensemble's digest is"):
        fit(net(), (Y + 1e-9, X), **FEW, folder=tmp_path)


def test_a_run_without_the_file_of_the_best_gets_it_when_it_goes_on(tmp_path):
    file, learner = tmp_path / "net.safetensors", net()
    training = fit(learner, (Y, X), **FEW, folder=tmp_path)
    for spoil in (file.unlink, lambda: nets.save(net(), file), lambda: file.write_bytes(b"")):
        spoil()
        assert fit(net(), (Y, X), **FEW, folder=tmp_path) == training
        assert nets.read_epoch(file)["epoch"] == training.best_epoch
        assert torch.equal(nets.load(file).weights, learner.weights)


# The command line


def test_the_command_trains_on_files_and_compares(files, tmp_path, capsys):
    command = ("iht-net", "--A", files / "A.npy", "--data", f"{files / 'train.npz'}:Y,X", "--layers", 3, "--tau", 0.1)
    command += ("-o", tmp_path / "mine", "--methods", "omp,fista")
    code, out, _ = train(capsys, *command, "--epochs", 3)
    assert code == 0
    assert "signals: 96 for training, 12 for validation, 12 for the test, of 120\n" in out
    assert re.search(r"^ method +NMSE \(dB\) +support .* ms/signal", out, re.MULTILINE)
    for name in ("iht-net", "omp", "fista"):
        assert re.search(rf"^ {name} +-?\d+\.\d\d +\d+ % ", out, re.MULTILINE)
    settings = json.loads((tmp_path / "mine" / "settings.json").read_text())
    assert settings["test_db"] == pytest.approx(error_in_table(tmp_path / "mine", "iht-net"), abs=1e-4)
    assert (settings["k"], settings["n_test"], settings["shape"]) == (2, 12, [M, N])
    code, out, _ = train(capsys, *command, "--epochs", 5)
    assert code == 0
    assert "went on after epoch 3\nbest epoch: " in out
    assert " of 5\n" in out


def error_in_table(folder, method):
    lines = [line.split(",") for line in (folder / "table.csv").read_text().splitlines()]
    return next(float(line[2]) for line in lines if line[1] == method)


def test_support_is_that_of_the_largest_entries():
    """A network gives small numbers everywhere, which are no support."""
    case = pursuit.problems.gaussian(n=40, m=20, k=2, signals=30, snr=40)
    full = nn.Linear(20, 40).double()
    row = pursuit.comparison.compare(case, [pursuit.comparison.network_as_method("mine", full)])[0]
    assert row.nonzeros == 40
    assert row.support_recovered < 0.5


FORMS = {
    "two files": ("Y.npy", "X.npy"),
    "tables": ("Y.csv", "X.csv"),
    "columns": ("Y.npy.T", "X.npy.T"),
    "matlab": ("data.mat:Y", "X"),
    "slices": ("train.npz:Y[:100]", "X[:100]"),
}


@pytest.mark.parametrize("form", FORMS)
def test_signals_from_files_of_every_kind(form, files, tmp_path, capsys, monkeypatch):
    import scipy.io

    monkeypatch.chdir(files)
    np.save("Y.npy", Y.T if form == "columns" else Y)
    np.save("X.npy", X.T if form == "columns" else X)
    for name, values in (("Y.csv", Y), ("X.csv", X)):
        np.savetxt(name, values, delimiter=",")
    scipy.io.savemat("data.mat", {"Y": Y, "X": X})
    code, out, err = train(
        capsys, "lista", "--A", "A.npy", "--data", ",".join(FORMS[form]), "--epochs", 1, "--layers", 2,
        "--methods", "none", "-o", "out",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert f"of {100 if form == 'slices' else 120}\n" in out


BAD_COMMANDS = [
    (("--data", "train.npz:Y,X"), "--A is missing beside --data"),
    (("--A", "A.npy"), "--data is missing beside --A"),
    (("--A", "A.npy", "--data", "train.npz:Y"), "--data is 'train.npz:Y'; needed are measurements and signals"),
    (("--A", "A.npy", "--data", "train.npz:Y,Z"), "train.npz: has no array 'Z'; it has Y, X"),
    (("--A", "A.npy", "--data", "none.npz:Y,X"), "none.npz: no such file"),
    (("--A", "A.npy", "--data", "train.npz:Y,X", "--snr", 3), "--snr was given with --data"),
    (("--A", "A.npy", "--data", "train.npz:X,Y"), "are Y and X in each other's place?"),
    (
        ("--A", "A.npy", "--data", "train.npz:Y[:50],X"),
        "x has shape (120, 16); needed is (50, 16), or (16, 50) with a signal per column, for the 50",
    ),
    (("--A", "A.npy", "--data", "train.npz:Y[:2],X[:2]"), "Y has 2 signals; needed are at least 3"),
    (("--A", "A.npy", "--data", "train.npz:Y,X", "-k", 9), "k is 9"),
    (("--A", "A.npy", "--data", "train.npz:Y,X", "--methods", "omq"), "method is 'omq'; choose one of"),
    (("--layout", "rows"), "--layout was given without --A and --data"),
]


def test_measurements_and_signals_in_each_others_place(files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    options = ("--layers", 2, "--epochs", 1, "--methods", "none", "-o", "out")
    for data, way in (("train.npz:X,Y", "train.npz:Y,train.npz:X"), ("X.npy.T,Y.npy.T", "Y.npy.T,X.npy.T")):
        np.save("X.npy", X), np.save("Y.npy", Y)
        code, _, err = train(capsys, "iht-net", "--A", "A.npy", "--data", data, *options)
        assert code == 2
        assert f"are Y and X in each other's place? Needed are the measurements first: --data {way}." in err
        assert train(capsys, "iht-net", "--A", "A.npy", "--data", way, *options)[0] == 0
    with pytest.raises(ValueError, match=r"are Y and X in each other's place\?"):
        from_arrays(X, Y, A)


@pytest.mark.parametrize(("arguments", "message"), BAD_COMMANDS, ids=[message for _, message in BAD_COMMANDS])
def test_bad_files_end_with_one_line_before_anything_is_written(arguments, message, files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    code, out, err = train(capsys, "iht-net", *arguments, "-o", "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not Path("out").exists()


# Errors before work starts

NAN, ZERO, SQUARE = np.where(X.max() == X, np.nan, X), 0 * X, rng.standard_normal((M, M))
BAD_SIGNALS = [
    ((Y[:, 1:], X), ValueError, "Y has shape (120, 7) and A has 8 rows; needed is one signal per row, (signals, 8)"),
    ((Y, X[:, 1:]), ValueError, "X has shape (120, 15) and A has 16 columns; needed is one signal per row"),
    ((Y.T, X.T), ValueError, "If the columns of Y are the signals, pass pursuit.rows(Y.T)"),
    ((SQUARE, X[:8]), ValueError, "Y has shape (8, 8), which can be read in 2 ways. If the rows of Y are the signals"),
    ((X, Y), ValueError, "and X (120, 8), but A has shape (8, 16); are Y and X in each other's place?"),
    ((X.T, Y.T), ValueError, "are Y and X in each other's place?"),
    (from_arrays(X, Y), ValueError, "n=16; needed is a network built with the A that measured X as Y. Are Y and X in"),
    ((Y[:50], X), ValueError, "needed is one row of X per row of Y"),
    ((Y[0], X[0]), ValueError, "Y has shape (8,); needed is one signal per row, (signals, 8)"),
    ((Y[:2], X[:2]), ValueError, "Y has 2 signals; needed are at least 3"),
    ((Y[[0] * 9], X[[0] * 9]), ValueError, "Y has 9 rows of which 1 are different; needed are at least 3"),
    ((Y, NAN), ValueError, "X has 1 entries that are NaN or infinite, the first at"),
    ((Y + np.inf, X), ValueError, "Y has 960 entries that are NaN or infinite"),
    ((Y, ZERO), ValueError, "X is zero everywhere"),
    ((Y, X * 1j), ValueError, "Y is real and X is complex; needed are complex measurements"),
    ((Y, X[::-1].copy()), ValueError, "so that zero fits Y better than A X; needed are the A that measured X as Y"),
    ((Y, 100 * X), ValueError, "times ||Y||"),
    ((Y, X, A), TypeError, "a tuple of 3 was given to train on; needed is (Y, X), a torch Dataset of pairs"),
    (Y, TypeError, "a ndarray of shape (120, 8) was given to train on; needed is (Y, X)"),
    ("train.npz", TypeError, "a str was given to train on"),
    (None, TypeError, "a NoneType was given to train on"),
    ((Y, "X"), TypeError, "a tuple of 2 was given to train on; needed is (Y, X)"),
    (torch.utils.data.DataLoader(Pairs()), TypeError, "pass its dataset, loader.dataset"),
    (torch.utils.data.TensorDataset(torch.tensor(Y)), TypeError, "item 0 of the TensorDataset is a tuple of 1; needed"),
    ((Y.astype(str), X), TypeError, "Y has dtype"),
]


@pytest.mark.parametrize(("given", "error", "message"), BAD_SIGNALS, ids=[message for *_, message in BAD_SIGNALS])
def test_signals_that_cannot_be_learned_from_are_refused_before_work_starts(given, error, message, tmp_path):
    with pytest.raises(error) as raised:
        fit(net(), given, **FEW, folder=tmp_path / "run")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_complex_signals_need_a_network_that_gives_them():
    turned, Z = A * np.exp(1j * rng.random(N)), X * np.exp(1j * rng.random(X.shape))
    with pytest.raises(ValueError, match="the signals are complex and IHTNet returns real ones"):
        fit(net(turned, signals="real part"), (Z @ turned.T, Z), **FEW)
    with pytest.raises(ValueError, match="Y is real and A is complex; needed are complex measurements"):
        fit(net(turned), (Y, X), **FEW)
    pairs = np.stack([(X @ turned.T).real, (X @ turned.T).imag], axis=-1)
    with pytest.raises(ValueError, match=r"holds real and imaginary parts, pass Y\[..., 0\] \+ 1j \* Y\[..., 1\]"):
        fit(net(turned), (pairs, X), **FEW)


def test_a_square_batch_is_taken_by_rows():
    assert len(fit(net(), (pursuit.rows(SQUARE + Y[:8]), X[:8]), **FEW).log) == 2


def test_tables_in_another_order_are_refused():
    names = [f"atom {j}" for j in range(N)]
    of_a, of_y, of_x = pandas.DataFrame(A, columns=names), pandas.DataFrame(Y), pandas.DataFrame(X, columns=names)
    assert len(from_arrays(of_y, of_x, of_a)) == COUNT
    with pytest.raises(
        ValueError, match=r"the index of X has the same labels in another order than that of Y: .*pass X\.loc"
    ):
        from_arrays(of_y, of_x.iloc[::-1], of_a)
    with pytest.raises(
        ValueError, match=r"the columns of X have the same labels in another order than the columns of A: .*pass X\[A"
    ):
        from_arrays(of_y, of_x[names[::-1]], of_a)


BAD_ARGUMENTS = [
    ({"net": [1.0]}, TypeError, "net is a list; needed is a torch module"),
    ({"net": nets.IHTNet}, TypeError, "net is the class IHTNet; needed is a torch module"),
    ({"on_epoch": 3}, TypeError, "on_epoch is 3; needed is a function"),
    ({"epochs": "many"}, ValueError, "epochs is 'many'; needed is a whole number >= 1"),
    ({"n_train": 1.5}, ValueError, "n_train is 1.5; needed is a whole number"),
    ({"n_test": 0}, ValueError, "n_test is 0; needed is a whole number"),
    ({"seed": None}, ValueError, "seed is None; needed is a whole number >= 0"),
    ({"lr_factors": [1.0]}, TypeError, "lr_factors is [1.0]; needed is a dict"),
    ({"resample": "yes"}, TypeError, "resample is 'yes'; needed is a bool"),
    ({"lr": "fast"}, ValueError, "lr is 'fast'; needed is a finite number > 0"),
    ({"optimizer": torch.optim.Adam}, ValueError, "choose one of rmsprop, adam"),
    ({"folder": 3}, TypeError, "folder is 3; needed is a path"),
    ({"training_ensemble": 3}, TypeError, "a int was given to train on"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_ARGUMENTS, ids=[row[-1] for row in BAD_ARGUMENTS])
def test_arguments_of_another_kind_are_refused(options, error, message):
    with pytest.raises(error) as raised:
        fit(**{"net": net(), "ensemble": (Y, X)} | FEW | options)
    assert message in str(raised.value)


# Structure weights

STRUCTURED = {
    "OMPNet": lambda **o: nets.OMPNet(A, layers=3, **o),
    **{name: lambda name=name, **o: getattr(nets, name)(A, k=K, layers=3, **o)
       for name in ("IHTNet", "CoSaMPNet", "SPNet", "HTPNet", "SEANet")},
}  # fmt: skip
LEARNED = np.linspace(0.5, 2, N)
ROWS = np.stack([LEARNED, LEARNED[::-1], LEARNED + 1])


@pytest.mark.parametrize("name", STRUCTURED)
def test_assigning_to_weights_sets_them(name):
    y = torch.tensor(Y[:20], dtype=torch.float64)
    build = STRUCTURED[name]
    expected = build(w0=LEARNED.tolist())(y)
    for value in (LEARNED, LEARNED.tolist(), torch.tensor(LEARNED), nn.Parameter(torch.tensor(LEARNED))):
        changed = build()
        changed.weights = value
        torch.testing.assert_close(changed(y), expected, check_dtype=False)
        torch.testing.assert_close(changed.weights, torch.tensor(LEARNED), check_dtype=False)
        assert [p for p, _ in changed.named_parameters()] == [p for p, _ in build().named_parameters()]
    with pytest.raises(ValueError, match=r"weights has shape \(3,\) and dtype .*; needed are 16 real numbers, \(16,\)"):
        changed.weights = [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match=r"weights is between -2.0 and -0.5; needed are numbers >= 0"):
        changed.weights = -LEARNED
    with pytest.raises(ValueError, match="weights has 1 entries that are NaN"):
        changed.weights = np.where(LEARNED == 2, np.nan, LEARNED)
    with pytest.raises(ValueError, match="a row per layer"):
        changed.weights = ROWS


@pytest.mark.parametrize("name", STRUCTURED)
def test_every_layer_can_have_weights_of_its_own(name, tmp_path):
    build = STRUCTURED[name]
    begun, rows = build(weights="per-layer", w0=ROWS), [torch.tensor(row) for row in ROWS]
    assert torch.equal(begun.identify.w.detach(), torch.tensor(ROWS))
    assert torch.equal(build(weights="per-layer", w0=rows).identify.w, begun.identify.w)
    torch.testing.assert_close(begun.weights, torch.tensor(ROWS).mean(0))
    set_later = build(weights="per-layer")
    set_later.weights = ROWS
    torch.testing.assert_close(set_later.identify.w, begun.identify.w, check_dtype=False)
    set_later.weights = LEARNED
    assert torch.allclose(set_later.identify.w[2].double(), torch.tensor(LEARNED))
    nets.save(begun, tmp_path / "net.safetensors")
    assert torch.equal(nets.load(tmp_path / "net.safetensors").identify.w, begun.identify.w)
    with pytest.raises(ValueError, match=r"needed are 16 real numbers, \(16,\), or \(3, 16\), one row per layer"):
        build(weights="per-layer", w0=ROWS[:2])
    with pytest.raises(ValueError, match="build the network with weights='per-layer' for a row per layer"):
        build(w0=ROWS)


UNROLLED = ("LISTA", "LISTACP", "TiLISTA", "ALISTA", "ALISTAAT", "AGLISTA", "GLISTA", "NAALISTA", "HyperLISTA", "LAMP")


@pytest.mark.parametrize("value", [LEARNED, nn.Parameter(torch.ones(N)), nn.Linear(2, 2)], ids=type)
@pytest.mark.parametrize("name", UNROLLED)
def test_networks_without_structure_weights_refuse_them(name, value):
    needed = {"sparsity": K} if name in ("NAALISTA", "LAMP") else {}
    learner = getattr(nets, name)(A, layers=2, **needed)
    with pytest.raises(AttributeError, match=rf"weights of {name} cannot be set: it has no structure weights.*copy_"):
        learner.weights = value
    assert "weights" not in vars(learner)


BAD_NETWORKS = [
    (lambda: nets.LISTA(0 * A), ValueError, "A is zero everywhere"),
    (lambda: nets.LISTA(A[:, :0]), ValueError, "A has shape (8, 0); needed is a matrix with rows and columns"),
    (lambda: nets.LISTA(A, tied="yes"), TypeError, "tied is 'yes'; needed is True or False"),
    (lambda: net(relative=1), TypeError, "relative is 1; needed is True or False"),
    (lambda: net(layers="3"), ValueError, "layers is '3'; needed is a whole number"),
    (lambda: net(tau=[0.1]), ValueError, "tau is [0.1]; needed is a finite number > 0"),
    (lambda: net(sort="softsort"), TypeError, "sort is 'softsort'; needed is softsort"),
    (lambda: net(w0="ones"), TypeError, "w0 has dtype"),
    (lambda: net(signals=1), ValueError, "signals is 1; choose"),
    (lambda: net([[1.0, "a"]]), TypeError, "A has dtype"),
    (lambda: nets.NAALISTA(A, sparsity=K, seed="x"), ValueError, "seed is 'x'; needed is a whole number"),
    (lambda: nets.NAALISTA(A, sparsity=K, faithful_paper=None), TypeError, "faithful_paper is None; needed is True"),
    (lambda: nets.LAMP(A, sparsity=1.5), ValueError, "sparsity is 1.5; needed is a whole number"),
    (lambda: nets.HyperLISTA(A, ratio="x"), ValueError, "ratio is 'x'; needed is 0 <= ratio < 1"),
    (lambda: nets.ALISTA(A, W=[1.0]), ValueError, "W"),
    (lambda: net()(Y[0].tolist()), TypeError, "y is a list; a network needs a tensor: pass torch.as_tensor(y)"),
    (lambda: net()(Y), TypeError, "y is a ndarray; a network needs a tensor"),
    (lambda: net()(torch.ones(7)), ValueError, "y has shape (7,), but the network was built for m=8, n=16"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD_NETWORKS, ids=[row[-1] for row in BAD_NETWORKS])
def test_networks_refuse_arguments_of_another_kind(make, error, message):
    with pytest.raises(error) as raised:
        make()
    assert message in str(raised.value)


# The page


def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "training.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(examples) == 5
    names: dict = {}
    for example in examples:  # they belong together
        exec(compile(example, "docs/training.md", "exec"), names)
