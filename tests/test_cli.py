"""The command line end to end: every format, and bad input."""

import contextlib
import csv
import json
import os
import pty
import re
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch

from helpers import outputs, training_of
from pursuit import cli, comparison, files, nets, progress, training
from pursuit.cli import console
from pursuit.experiments import registry

rng = np.random.default_rng(0)
K = 2
A = rng.standard_normal((12, 20))
X = np.zeros((3, 20))
for row in X:
    row[rng.choice(20, K, replace=False)] = 2 + rng.random(K)
Y = X @ A.T


def pursuit(capsys, *arguments):
    """Exit status, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(a) for a in arguments])
    out, err = outputs(capsys)
    return end.value.code or 0, out, err


def save(folder, form, name, array):
    """The array in a file of that form; how to name it on the command line."""
    path = folder / f"{name}.{form}"
    if form == "npy":
        np.save(path, array)
    elif form == "npz":
        np.savez(path, other=np.ones(3), wanted=array)
        return f"{path}:wanted"
    elif form == "mat":
        scipy.io.savemat(path, {"other": np.ones(3), "wanted": array})
        return f"{path}:wanted"
    else:
        lines = [",".join(str(v).strip("()") for v in row) for row in np.atleast_2d(array)]
        path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def data(tmp_path):
    """A.npy, y.npy and x.npy in a folder."""
    for name, array in {"A": A, "y": Y, "x": X}.items():
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path


@pytest.mark.parametrize("phase", [1.0, np.exp(0.7j)], ids=["real", "complex"])
@pytest.mark.parametrize("form", ["npy", "npz", "mat", "csv"])
def test_recover_reads_and_writes_every_format(form, phase, tmp_path, capsys):
    matrix, values = save(tmp_path, form, "A", phase * A), save(tmp_path, form, "y", phase * Y)
    out = tmp_path / f"x.{form}"
    code, said, _ = pursuit(capsys, "recover", matrix, values, "-k", K, "--method", "omp", "-o", out)
    assert code == 0
    assert "3 of 3: the residual reached the tolerance" in said
    np.testing.assert_allclose(files.read_array(out), X, atol=1e-12)


@pytest.mark.parametrize("form", ["npy", "npz", "mat", "csv"])
def test_compare_on_own_files_writes_table_settings_and_figure(form, tmp_path, capsys):
    matrix, values, truth = (save(tmp_path, form, name, v) for name, v in {"A": A, "y": Y, "x": X}.items())
    out = tmp_path / "deep" / "out"
    methods = comparison.usual() if form == "npy" else ["htp", "omp"]
    given = () if form == "npy" else ("--methods", ",".join(methods))
    code, said, _ = pursuit(capsys, "compare", "--A", matrix, "--y", values, "--x", truth, "-k", K, *given, "-o", out)
    assert code == 0
    assert "NMSE (dB)" in said
    assert "Oracle" in said
    with open(out / "table.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert sorted(row["method"] for row in table) == sorted(methods)
    errors = [float(row["error_db"]) for row in table]
    assert errors == sorted(errors)
    assert errors[0] < -100
    settings = json.loads((out / "settings.json").read_text())
    assert settings["k"] == K
    assert settings["shape"] == [12, 20]
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.iterdir()) == ["figure.png", "settings.json", "table.csv"]


@pytest.mark.parametrize("k", ["1", "1,2", "auto", None])
def test_compare_without_truth_ranks_by_prediction(k, data, capsys):
    r = np.random.default_rng(1)
    A = r.standard_normal((24, 30))
    np.save(data / "A.npy", A)
    np.save(data / "y.npy", 3 * A[:, 5:8].T - A[:, 9] + 0.1 * r.standard_normal((3, 24)))
    arguments = ("compare", "--A", data / "A.npy", "--y", data / "y.npy", "--methods", "iht,omp,sea")
    code, said, _ = pursuit(capsys, *arguments, *(() if k is None else ("-k", k)), "-o", data / "out")
    assert code == 0
    assert "held out (dB)" in said
    assert "Take " in said
    assert max(map(len, said.splitlines()[3:12])) <= 80
    tables = {}
    for name in ("table", "prediction"):
        with open(data / "out" / f"{name}.csv", newline="") as file:
            tables[name] = list(csv.DictReader(file))
    tried = {row["k"] for row in tables["prediction"]}
    assert tried == ({"1", "2", "3", "4", "5", "7", "9"} if k in (None, "auto") else set(k.split(",")))
    taken = said.partition("with k = ")[2].partition(":")[0]
    error = {row["method"]: float(row["error"]) for row in tables["prediction"] if row["k"] == taken}
    ranked = [float(f"{error[row['method']]:.6g}") for row in tables["table"]]  # rounding does not decide
    assert ranked == sorted(ranked)
    assert {row["support_recovered"] for row in tables["table"]} == {""}
    assert max(float(row["nonzeros"]) for row in tables["table"]) <= int(taken)


def test_with_the_truth_k_is_what_it_has(data, capsys):
    arguments = ("compare", "--A", data / "A.npy", "--y", data / "y.npy", "--x", data / "x.npy", "--methods", "omp")
    code, said, _ = pursuit(capsys, *arguments, "-o", data / "out")
    assert code == 0
    assert f"k={K}" in said
    code, _, err = pursuit(capsys, *arguments, "-k", "1,2", "-o", data / "out")
    assert code == 2
    assert "beside x; k is chosen where the truth is unknown" in err


@pytest.mark.parametrize("problem", ["gaussian", "fourier", "deconvolution", "ecg"])
def test_compare_named_problem(problem, tmp_path, capsys):
    size = () if problem == "ecg" else ("--signals", 2)
    code, said, _ = pursuit(capsys, "compare", problem, "-k", 4, *size, "--methods", "omp,htp", "-o", tmp_path)
    assert code == 0
    assert problem in said
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_same_seed_same_table(tmp_path, capsys):
    tables = []
    for name in ("a", "b"):
        pursuit(
            capsys, "compare", "gaussian", "--signals", 2, "--methods", "omp,sp", "--seed", 3, "-o", tmp_path / name
        )
        with open(tmp_path / name / "table.csv", newline="") as file:
            tables.append([{**row, "ms_per_signal": ""} for row in csv.DictReader(file)])
    assert tables[0] == tables[1]


@pytest.mark.parametrize("shape", [(12, 1), (12, 3)])
def test_signals_as_columns_come_back_as_columns(shape, tmp_path, capsys):
    np.save(tmp_path / "A.npy", A)
    np.save(tmp_path / "y.npy", Y[: shape[1]].T)
    code, _, _ = pursuit(capsys, "recover", tmp_path / "A.npy", tmp_path / "y.npy", "-k", K, "-o", tmp_path / "x.npy")
    assert code == 0
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), X[: shape[1]].T, atol=1e-12)


@pytest.mark.parametrize("turned", ["y", "x", "x and y", ""])
def test_the_truth_is_read_the_way_it_fits(turned, data, capsys):
    for name, array in {"y": Y, "x": X}.items():
        np.save(data / f"{name}.npy", array.T if name in turned else array)
    arguments = ("compare", "--A", data / "A.npy", "--y", data / "y.npy", "--methods", "omp", "-o", data / "out")
    code, said, _ = pursuit(capsys, *arguments, "--x", data / "x.npy")
    assert code == 0
    assert f"real; signals {'one per column' if 'x' in turned else 'one per row'}\n" in said
    with open(data / "out" / "table.csv", newline="") as file:
        assert float(next(csv.DictReader(file))["error_db"]) < -100
    np.save(data / "x.npy", X[:2])
    code, _, err = pursuit(capsys, *arguments, "--x", data / "x.npy")
    assert code == 2
    assert "x.npy: x has shape (2, 20); needed is (3, 20), or (20, 3) with a signal per column" in err


def test_a_square_truth_is_read_as_y(data, capsys):
    signals = np.eye(20) + 2 * np.eye(20, k=1)
    np.save(data / "x.npy", signals.T)
    np.save(data / "y.npy", A @ signals.T)
    arguments = ("compare", "--A", data / "A.npy", "--y", data / "y.npy", "--methods", "omp", "-o", data / "out")
    code, said, _ = pursuit(capsys, *arguments, "--x", data / "x.npy", "--layout", "columns")
    assert code == 0
    assert "x.npy: 20 x 20, real; signals one per column\n" in said
    assert json.loads((data / "out" / "settings.json").read_text())["oracle_db"] < -100


def test_recover_takes_warm_start_weights_and_penalty(data, capsys):
    np.save(data / "w.npy", np.where(np.arange(20) < 10, 1, 0))
    common = ("recover", data / "A.npy", data / "y.npy", "-o", data / "out.npy")
    assert pursuit(capsys, *common, "-k", K, "--weights", data / "w.npy")[0] == 0
    assert not np.load(data / "out.npy")[:, 10:].any()
    assert pursuit(capsys, *common, "-k", K, "--method", "sea", "--x0", data / "x.npy", "--max-steps", 1)[0] == 0
    np.testing.assert_allclose(np.load(data / "out.npy"), X, atol=1e-12)
    assert pursuit(capsys, *common, "--method", "fista", "--lam", 0.5, "--max-steps", 5000)[0] == 0
    assert np.abs(np.load(data / "out.npy") - X).max() < 0.5


def test_recover_warns_where_the_budget_ended_first(data, capsys):
    options = ("-k", K, "--method", "iht", "--max-steps", 1, "-o", data / "out.npy")
    code, said, warned = pursuit(capsys, "recover", data / "A.npy", data / "y.npy", *options)
    assert code == 1
    assert "out.npy: 3 x 20, written" in said
    assert warned.startswith("3 of 3: --max-steps was reached first")
    assert (data / "out.npy").exists()


def test_sparse_matrix_file(data, capsys):
    scipy.sparse.save_npz(data / "S.npz", scipy.sparse.csr_array(A))
    code, _, _ = pursuit(capsys, "recover", data / "S.npz", data / "y.npy", "-k", K, "-o", data / "out.npy")
    assert code == 0
    np.testing.assert_allclose(np.load(data / "out.npy"), X, atol=1e-12)


def bad_files(folder):
    """Files that cannot be used, by name."""
    np.save(folder / "nan.npy", np.where(np.arange(36).reshape(3, 12) == 7, np.nan, Y))
    np.save(folder / "short.npy", Y[:, :5])
    np.save(folder / "square.npy", np.ones((12, 12)))
    np.save(folder / "words.npy", np.array(["a", "b"]))
    np.save(folder / "zero.npy", np.zeros((3, 20)))
    np.save(folder / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(folder / "negative.npy", -np.ones(20))
    np.save(folder / "zeros.npy", 0 * Y)
    np.save(folder / "cube.npy", Y[None])
    np.savez(folder / "two.npz", a=A, b=A)
    scipy.io.savemat(folder / "two.mat", {"a": A, "b": A})
    (folder / "broken.npy").write_bytes(b"not an array")
    (folder / "broken.mat").write_bytes(b"not an array")
    (folder / "ragged.csv").write_text("1,2,3\n4,5\n")
    (folder / "empty.csv").write_text("\n")
    (folder / "file.doc").write_text("1 2 3")


COMPARE = ["compare", "--A", "A.npy", "--y", "y.npy", "-k", "2", "-o", "out"]
RECOVER = ["recover", "A.npy", "y.npy", "-k", "2", "-o", "out.npy"]
BAD = [
    (["compare", "--A", "gone.npy", "--y", "y.npy", "-k", "2"], "gone.npy: no such file"),
    (["compare", "--A", "file.doc", "--y", "y.npy", "-k", "2"], "'.doc'"),
    (["compare", "--A", "broken.npy", "--y", "y.npy", "-k", "2"], "broken.npy: cannot be read"),
    (["compare", "--A", "broken.mat", "--y", "y.npy", "-k", "2"], "broken.mat: cannot be read"),
    (["compare", "--A", "object.npy", "--y", "y.npy", "-k", "2"], "object.npy: cannot be read"),
    (["compare", "--A", "words.npy", "--y", "y.npy", "-k", "2"], "needed are real or complex numbers"),
    (["compare", "--A", "two.npz", "--y", "y.npy", "-k", "2"], "holds 2 arrays (a, b)"),
    (["compare", "--A", "two.mat", "--y", "y.npy", "-k", "2"], "holds 2 arrays (a, b)"),
    (["compare", "--A", "two.npz:c", "--y", "y.npy", "-k", "2"], "has no array 'c'; it has a, b"),
    (["compare", "--A", "ragged.csv", "--y", "y.npy", "-k", "2"], "line 2, column 3 is empty"),
    (["compare", "--A", "empty.csv", "--y", "y.npy", "-k", "2"], "the file is empty"),
    (["compare", "--A", "A.npy", "--y", "nan.npy", "-k", "2"], "NaN or infinite, the first at (0, 7)"),
    (["compare", "--A", "A.npy", "--y", "zeros.npy", "-k", "2"], "y is zero everywhere"),
    (["compare", "--A", "A.npy", "--y", "short.npy", "-k", "2"], "y has shape (3, 5) but A has m=12"),
    (["compare", "--A", "A.npy", "--y", "square.npy", "-k", "2"], "--layout"),
    (["compare", "gaussian", "-k", "1,2"], "a test problem has one number of non-zeros"),
    (["compare", "--y", "y.npy", "-k", "2"], "--A missing"),
    (["compare"], "--A, --y missing"),
    ([*COMPARE, "--x", "y.npy"], "x has shape (3, 12); needed is (3, 20)"),
    ([*COMPARE, "--x", "zero.npy"], "zero everywhere"),
    ([*COMPARE, "--methods", "omp,magic"], "choose one of omp"),
    ([*COMPARE, "--lam-share", "2"], "--lam-share is 2.0"),
    ([*COMPARE, "--layout", "diagonal"], "choose rows, columns or auto"),
    ([*COMPARE, "--signals", "3"], "only for a test problem"),
    ([*COMPARE[:6], "13", "-o", "out"], "k is 13; needed is 0 <= k <= 12"),
    ([*COMPARE[:6], "0", "-o", "out"], "k is 0; needed is 1 <= k"),
    ([*COMPARE[:6], "two", "-o", "out"], "-k is 'two'; needed is a whole number"),
    ([*COMPARE[:-1], "A.npy/out"], "cannot be written to"),
    (["compare", "magic"], "problem is 'magic'; choose one of ecg"),
    (["compare", "ecg", "--y", "y.npy"], "give one or the other"),
    (["compare", "ecg", "--signals", "3"], "as many signals as it has windows"),
    (["compare", "gaussian", "-k", "1000"], "k is 1000; needed is 1 <= k <= 200"),
    (["compare", "gaussian", "--signals", "0"], "0 signals were asked for"),
    (["compare", "gaussian", "--snow"], "--snow"),
    (["magic"], "magic"),
    ([*RECOVER, "--method", "magic"], "choose one of omp"),
    ([*RECOVER, "--method", "greedy_lasso"], "--lam was not given, which greedy_lasso needs"),
    ([*RECOVER, "--method", "ista", "--lam", "1"], "given --lam and -k; needed is one of"),
    ([*RECOVER, "--weights", "negative.npy"], "weights go down to -1"),
    ([*RECOVER, "--x0", "x.npy"], "--x0 was given, which omp does not take"),
    ([*RECOVER, "--method", "sea", "--x0", "y.npy"], "x0 has shape (3, 12)"),
    ([*RECOVER, "--tol", "-1"], "tol is -1"),
    ([*RECOVER, "--max-steps", "-1"], "--max-steps is -1"),
    ([*RECOVER[:-1], "out.txt"], "'.txt' is not one that can be written"),
    (["recover", "A.npy", "cube.npy", "-k", "2", "-o", "out.csv"], "y has shape (1, 3, 12)"),
    ([*RECOVER[:-1], "A.npy/x.npy"], "cannot be written to"),
    (["recover", "A.npy", "y.npy", "-k", "2"], "output"),
    (["recover", "A.npy", "y.npy", "-o", "out.npy"], "neither -k nor --tol"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_ends_with_one_line_and_writes_nothing(arguments, message, data, capsys, monkeypatch):
    bad_files(data)
    before = sorted(data.iterdir())
    monkeypatch.chdir(data)
    code, out, err = pursuit(capsys, *arguments)
    assert code == 2
    assert message in err
    assert err.startswith("pursuit: ")
    assert err.count("\n") == 1
    assert all(re.match(r"\w+\.npy: [\dx ]+, real", line) for line in out.splitlines())  # how the files were read
    left = {path for path in data.rglob("*") if path.is_file()} - set(before)
    assert not left


def test_a_folder_in_the_output_files_place_is_refused(data, capsys):
    (data / "x.csv").mkdir()
    code, _, err = pursuit(capsys, "recover", data / "A.npy", data / "y.npy", "-k", 2, "-o", data / "x.csv")
    assert code == 2
    assert "is a folder" in err


def test_failure_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.npy"
    path.write_text("old")

    def save(file):
        file.write(b"half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        files.write_whole(path, save)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


COMMAND = [sys.executable, "-m", "pursuit"]


def test_help_answers_at_once():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "compare" in said
    # Seconds of work, which are the same on a busy machine.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


HELP = """
import contextlib, sys
from pursuit import cli
with contextlib.suppress(SystemExit):
    cli.main(["train", "--help"])
print({"torch", "numpy", "matplotlib"} & sys.modules.keys(), file=sys.stderr)
"""


def test_help_on_training_needs_nothing_heavy():
    run = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert "na-alista" in run.stdout
    assert run.stderr == "set()\n"


def test_without_its_extra_the_command_says_what_to_install():
    hide = "import sys, runpy; sys.modules['typer'] = None; runpy.run_module('pursuit', run_name='__main__')"
    run = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr == "pursuit: typer is not installed; run: pip install 'pursuit[cli]'\n"


def test_without_pywavelets_the_demo_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    code, _, err = pursuit(capsys, "compare", "ecg", "-o", tmp_path / "out")
    assert code == 2
    assert err == "pursuit: pywt is not installed; run: pip install 'pursuit[all]'\n"
    assert not (tmp_path / "out").exists()


def on_terminal(capfd, *command):
    """What a command shows where standard error is a terminal, and what it writes to standard output."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        patch.setenv("TERM", "xterm")
        code, out, _ = pursuit(capfd, *command)
    with os.fdopen(ours, "rb", buffering=0) as reader:
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that the other side is closed
            while part := reader.read(4096):
                shown += part
    assert code == 0, shown
    return shown, out


def test_long_work_in_a_pipe_writes_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    with console.bar("cells") as show:
        show("round 2", 3, 8)
        time.sleep(0.18)
    with console.spinner("omp"):
        time.sleep(0.08)
    with console.bar("cells"):
        pass
    lines = outputs(capsys)[1].splitlines()
    assert 2 <= sum(line.startswith("round 2: 3 of 8, 0 s") for line in lines) <= 3
    assert [line for line in lines if not line.startswith("round")] == ["omp, 0 s"]


def test_progress_bar_on_a_terminal_and_no_line_of_short_work_in_a_pipe(data, capfd):
    compare = ["compare", "gaussian", "--signals", "2", "--methods", "omp", "-o", str(data / "out")]
    recover = ["recover", str(data / "A.npy"), str(data / "y.npy"), "-k", "2", "-o", str(data / "out.npy")]
    for command, shown in ((compare, b"comparing omp"), (recover, b"omp.*0:00:0")):
        code, out, err = pursuit(capfd, *command)
        assert (code, err) == (0, "")
        assert out
        assert "\x1b" not in out
        assert re.search(shown, on_terminal(capfd, *command)[0])


def test_a_terminal_leaves_the_work_to_the_kernel(data, capfd, monkeypatch):
    """A hook that is called after every step would leave it to the steps, thirty times slower for some solvers."""
    from pursuit import kernels

    class Declines:
        REFITS, DTYPES, asked = True, (torch.float64,), 0

        def worth(self, items, m, n, max_k, at_hand):
            return True

        def run(self, d, start):
            self.asked += 1
            return kernels.Found(torch.full((len(d.y), d.max_k), -1), torch.zeros_like(d.k), torch.zeros_like(d.k))

    kernel = Declines()
    monkeypatch.setattr(kernels, "find", lambda name, v: kernel if name == "htp" else None)
    command = ["recover", data / "A.npy", data / "y.npy", "-k", "2", "--method", "htp", "-o", data / "out.npy"]
    shown, out = on_terminal(capfd, *command)
    assert b"htp" in shown
    assert out
    assert kernel.asked == 1


# Networks of the ISTA family (those with structure weights: test_training.py)

SMALL = ("--n", 24, "--m", 12, "-k", 3, "--layers", 2, "--epochs", 5)
# Commands, and what they are to hand to `fit`: of the network's options, of the training's and of the ensemble's.
SELECTING = {
    "lista": None,
    "lista-cp": None,
    **dict.fromkeys(("lista-cpss", "ti-lista", "glista", "alista", "alista-at", "lamp"), 3),
}
COMMANDS = [
    *(
        ((name,), {"layers": 2, "sparsity": k}, {"optimizer": "adam", "resample": True}, {"snr": 40.0})
        for name, k in SELECTING.items()
    ),
    (
        ("aglista", "--layerwise-epochs", 2, "--snr", 20, "--fixed"),
        {"sparsity": 3},
        {"layerwise_epochs": 2, "resample": False},
        {"snr": 20.0},
    ),
    (
        ("na-alista", "--hidden", 4, "--inputs", "u", "--optimizer", "rmsprop", "--schedule", "constant"),
        {"hidden": 4, "inputs": "u", "sparsity": 3},
        {"optimizer": "rmsprop", "schedule": "halve", "halve_every": None},
        {"n": 24, "m": 12},
    ),
    (
        ("na-alista", "--problem", "fourier-levels", "--admissible", 6, "--double", "--noise", 0.1, "--hidden", 4),
        {"hidden": 4, "inputs": "ru"},
        {"schedule": "cosine"},
        {"admissible": 6, "noise": 0.1},
    ),
    (
        ("lamp", "--problem", "gaussian-levels", "--schedule", "halve", "--halve-every", 2),
        {"sparsity": 3, "variance": 1 / 3},
        {"schedule": "halve", "halve_every": 2},
        {"admissible": 20},
    ),
    (("omp-net", "--problem", "bernoulli-gaussian"), {"layers": 2}, {"optimizer": "rmsprop"}, {"snr": 40.0}),
]


@pytest.mark.parametrize(
    ("command", "of_net", "of_training", "of_ensemble"), COMMANDS, ids=[" ".join(map(str, c[0])) for c in COMMANDS]
)
def test_a_command_trains_what_it_says(command, of_net, of_training, of_ensemble, tmp_path):
    given = training_of(command[0], *SMALL, *command[1:], "-o", tmp_path)
    assert type(given.net).__name__.lower() == command[0].replace("-", "").replace("cpss", "cp")
    assert given.net.config.items() >= of_net.items()
    assert given.options.items() >= ({"epochs": 5} | of_training).items()
    assert given.ensemble.settings.items() >= ({"n": 24, "m": 12, "k": 3} | of_ensemble).items()
    complex_, wide = "fourier-levels" in command, "--double" in command
    dtype = given.ensemble.A.dtype
    assert (dtype.is_complex, dtype.itemsize) == (complex_, 4 * 2**complex_ * 2**wide)
    assert {p.dtype for p in given.net.parameters()} == {dtype.to_real()}
    few = {"n_train": 32, "n_validation": 16, "n_test": 16}
    log = training.fit(given.net, given.ensemble, **given.options | few).log
    assert [record.epoch for record in log][-1] >= 5
    assert np.isfinite([record.train_loss for record in log]).all()
    assert given.net(given.ensemble.draw(3, torch.Generator())[0]).shape == (3, 24)


def test_train_writes_a_network_without_structure_and_goes_on_where_it_was(tmp_path, capsys):
    """Those that have structure weights: `test_training.py`."""
    command = ("train", "na-alista", *SMALL, "--hidden", 4, "--inputs", "u", "--methods", "none", "-o", tmp_path)
    code, out, err = pursuit(capsys, *command)
    assert (code, err) == (0, "")
    files_there = {"checkpoint.safetensors", "log.csv", "log.png", "net.safetensors", "settings.json"}
    assert {path.name for path in tmp_path.iterdir()} == files_there
    assert "weights" not in out
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert f"NMSE {settings['validation_db']:.2f} dB" in out
    assert f"NMSE {settings['test_db']:.2f} dB" in out
    net = nets.load(tmp_path / "net.safetensors")
    assert (net.config["hidden"], net.config["inputs"]) == (4, "u")
    assert net(torch.ones(3, 12)).shape == (3, 24)
    log = (tmp_path / "log.csv").read_bytes()
    assert pursuit(capsys, *command)[1] == out
    assert (tmp_path / "log.csv").read_bytes() == log


def test_what_training_is_like_by_default(tmp_path):
    found = {name: training_of(name, "-o", tmp_path / name) for name in ("na-alista", "lista", "omp-net")}
    ista, greedy = (
        {"batch_size": 128, "optimizer": "adam", "lr": 3e-3, "schedule": "cosine", "resample": True},
        {
            "batch_size": 64,
            "optimizer": "rmsprop",
            "lr": 1e-2,
            "schedule": "halve",
            "resample": False,
            "halve_every": 500,
        },
    )
    assert found["na-alista"].options.items() >= ista.items()
    assert found["omp-net"].options.items() >= greedy.items()
    for name in ("na-alista", "lista"):
        assert found[name].ensemble.settings.items() >= {"n": 1000, "m": 250, "k": 50, "snr": 40.0}.items()
        assert found[name].net.config["layers"] == 16
    assert found["na-alista"].net.config["sparsity"] == 50
    assert found["lista"].net.config["sparsity"] is None
    assert found["omp-net"].net.config["layers"] == 10
    sizes = {"n": 256, "m": 20, "k": 10, "admissible": 20, "noise": 1e-3}
    assert found["omp-net"].ensemble.settings.items() >= sizes.items()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hyper-lista",), "network is 'hyper-lista'; choose one of omp-net"),
        (("lista", "--problem", "magic"), "--problem is 'magic'; choose one of fourier-levels"),
        (("alista", "--hidden", 3), "--hidden was given, but alista has no LSTM"),
        (("iht-net", "--inputs", "r"), "--inputs was given, but iht-net has no LSTM"),
        (("na-alista", "--inputs", "ur"), "inputs is 'ur'; choose"),
        (("alista", "--tau", 0.1), "--tau was given, but alista has no relaxed sort"),
        (("alista", "--learn-tau"), "--learn-tau was given, but alista has no relaxed sort"),
        (("alista", "--relative"), "--relative was given, but alista has no relaxed sort"),
        (("alista", "--weights", "shared"), "--weights was given, but alista has no structure weights"),
        (("sea-net", "--tau", 0.1), "--tau was given, but sea-net has no relaxed sort"),
        (("alista", "--eta", 0.1), "--eta was given, but alista has no step size"),
        (("alista", "--noise", 0.1), "--noise is no option of bernoulli-gaussian; leave it out"),
        (("alista", "--admissible", 6), "--admissible is no option of bernoulli-gaussian"),
        (("iht-net", "--snr", 20), "--snr is no option of fourier-levels; leave it out, or give --problem: bern"),
        (("alista", "--halve-every", 3), "--halve-every was given, but the schedule is cosine"),
        (("alista", "--schedule", "magic"), "--schedule is 'magic'; choose one of halve"),
        (("alista", "--schedule", "halve", "--halve-every", 0), "--halve-every is 0"),
        (("iht-net", "--layerwise-epochs", 2), "--layerwise-epochs was given, but iht-net is not trained layer"),
        (("alista", "--layerwise-epochs", 5), "needed are more than 10 epochs"),
        (("alista", "--snr", "nan"), "snr is nan"),
    ],
)
def test_training_options_that_do_not_belong(arguments, message, tmp_path, capsys):
    code, out, err = pursuit(capsys, "train", arguments[0], *SMALL, *arguments[1:], "-o", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not list(tmp_path.rglob("*.*"))


# Experiments


def test_reproduce_lists_what_there_is_and_runs_it(tmp_path, capsys):
    code, said, err = pursuit(capsys, "reproduce")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in said.splitlines()] == list(registry.EXPERIMENTS)
    for name in registry.EXPERIMENTS:
        assert registry.module(name).cells(quick=True, seed=0)
    code, said, _ = pursuit(capsys, "reproduce", "dgu-fig1", "--quick", "--jobs", 2, "-o", tmp_path / "out")
    assert code == 0
    for name in ("rows.csv", "settings.json", "figure.png"):
        assert (tmp_path / "out" / name).exists()
        assert name in said
    for file in (tmp_path / "out" / "cells").iterdir():
        file.unlink()
    code, said, _ = pursuit(capsys, "reproduce", "dgu-fig1", "--quick", "-o", tmp_path / "out")
    assert code == 0
    assert "Nothing was computed" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("dgu-fig9",), "experiment is 'dgu-fig9'; choose one of dgu-fig1"), (("dgu-fig1", "--jobs", 0), "--jobs is 0")],
)
def test_an_experiment_that_is_none(arguments, message, tmp_path, capsys):
    code, said, err = pursuit(capsys, "reproduce", *arguments, "-o", tmp_path / "out")
    assert (code, said, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("name", ["A", "y"])
def test_an_input_is_never_replaced(name, batched, data, capsys):
    before = (data / f"{name}.npy").read_bytes()
    options = ("--batch", 2) if batched else ()
    out = data / ".." / data.name / f"{name}.npy"
    code, _, said = pursuit(capsys, "recover", data / "A.npy", data / "y.npy", "-k", K, *options, "-o", out)
    assert code == 2
    assert f"is where {name} is read from" in said
    assert (data / f"{name}.npy").read_bytes() == before


def test_a_comparison_leaves_no_table_of_an_earlier_one(data, capsys):
    arguments = ("compare", "--A", data / "A.npy", "--y", data / "y.npy", "--methods", "omp,htp", "-o", data / "out")
    assert pursuit(capsys, *arguments)[0] == 0
    assert (data / "out" / "prediction.csv").exists()
    code, said, _ = pursuit(capsys, *arguments, "--x", data / "x.npy")
    assert code == 0
    assert "prediction.csv" not in said
    assert not (data / "out" / "prediction.csv").exists()


def test_an_option_of_another_kind_names_the_help_of_the_command(data, capsys):
    code, _, said = pursuit(capsys, "recover", data / "A.npy", data / "y.npy", "-k", "2.5", "-o", data / "o.npy")
    assert code == 2
    assert said.endswith(". See pursuit recover --help.\n")
