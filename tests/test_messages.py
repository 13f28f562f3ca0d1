"""What a user reads where something is not as it should be: commands, statuses and networks."""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import outputs
from pursuit import RecoveryError, Status, cli, comparison, nets, problems, rows, solve
from pursuit import compare as comparing
from pursuit.sweeps import store

rng = np.random.default_rng(0)
A = rng.standard_normal((20, 40))
X = np.zeros((30, 40))
for row in X:
    row[rng.choice(40, 2, replace=False)] = 1 + rng.random(2)
Y = X @ A.T
HUGE = "9" * 20


@pytest.fixture
def pursuit(tmp_path, monkeypatch, capsys):
    """The command in a folder with A.npy, y.npy (one signal), Y.npy and X.npy: exit status, output, errors."""
    monkeypatch.chdir(tmp_path)
    for name, array in {"A": A, "y": Y[0], "Y": Y, "X": X}.items():
        np.save(f"{name}.npy", array)

    def run(line):
        with pytest.raises(SystemExit) as end:
            cli.main(line.split())
        out, err = outputs(capsys)
        return end.value.code or 0, out, err

    return run


# ---- options of commands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "option"),
    [
        (f"recover A.npy y.npy -o o.npy -k {HUGE}", "-k"),
        (f"recover A.npy y.npy -o o.npy -k -{HUGE}", "-k"),
        (f"recover A.npy Y.npy -o o.npy -k 2 --max-steps {HUGE}", "--max-steps"),
        (f"recover A.npy Y.npy -o o.npy -k 2 --batch {HUGE}", "--batch"),
        (f"recover A.npy Y.npy -o o.npy -k 2 --workers {HUGE}", "--workers"),
        (f"compare gaussian --seed {HUGE}", "--seed"),
        (f"compare gaussian --signals {HUGE}", "--signals"),
        (f"train omp-net --seed {HUGE}", "--seed"),
        (f"train omp-net --n-test {HUGE}", "--n-test"),
        (f"train omp-net --epochs {HUGE}", "--epochs"),
        (f"sweep phase --seed {HUGE}", "--seed"),
        (f"sweep phase --trials {HUGE}", "--trials"),
        (f"reproduce sea-fig1 --seed {HUGE}", "--seed"),
    ],
)
def test_a_number_too_large_for_an_array_is_named_with_its_option(line, option, pursuit, tmp_path):
    before = set(tmp_path.iterdir())
    code, out, err = pursuit(line)
    assert (code, out) == (2, "")
    assert err.startswith(f"pursuit: Invalid value for '{option}': ")
    assert f"{HUGE} is out of range; needed is a whole number from -9223372036854775807 to 9223372036854775807" in err
    assert err.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


def test_a_huge_number_among_several_is_refused_in_one_line(pursuit):
    code, _, err = pursuit(f"compare --A A.npy --y Y.npy -k 2,{HUGE}")
    assert (code, err.count("\n")) == (2, 1)
    assert f"k is {HUGE}, which is out of the range of numbers" in err


def test_more_signals_than_any_memory_holds_are_said_to_be(pursuit):
    code, _, err = pursuit("compare gaussian --signals 999999999999999999 --methods omp")
    assert (code, err.count("\n")) == (2, 1)
    assert "there is not enough memory" in err


def test_more_processes_than_a_machine_can_hold_are_refused(pursuit):
    code, _, err = pursuit("recover A.npy Y.npy -o o.npy -k 2 --workers 100000")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("pursuit: --workers is 100000; needed are 1 to ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--method omp -k 2 --lam 0.1", "--lam was given, which omp does not take; leave it out. It takes -k, --tol, "),
        ("--method sea -k 2 --lam-share 0.1", "--lam-share was given, which sea does not take; leave it out."),
        ("--method omp -k 2 --x0 X.npy", "--x0 was given, which omp does not take; leave it out."),
        ("--method amp --weights y.npy", "--weights was given, which amp does not take; leave it out."),
        ("--method omp -k 2 --lam 0.1 --batch 5", "--lam was given, which omp does not take; leave it out."),
        ("--method greedy_lasso -k 2", "--lam was not given, which greedy_lasso needs; give it."),
        ("--method ista", "method 'ista' was given no penalty; needed is one of --lam (the penalty), --lam-share (as "),
        ("--method ista --lam 1 -k 2", "method 'ista' was given --lam and -k; needed is one of --lam "),
        ("--method omp", "omp was given neither -k nor --tol nor --eps; pass -k (how many atoms), --tol (the "),
        ("--method iht", "-k was not given; needed is the most atoms of a signal, 0 <= k <= 20; pass -k, one"),
        ("--method iht -k 2 --max-steps -1", "--max-steps is -1; needed is >= 0."),
        ("--method ista --lam -1", "--lam is -1.0; needed is a finite number >= 0"),
        ("--method omp -k 2 --tol 2", "--tol is between 2.0 and 2.0; needed is 0 <= tol < 1: it is a share of ||y||, "
                                      "and x = 0 meets tol = 1. For a residual level in the units of y pass --eps, "),
        ("--method iht -k 2 --x0 A.npy", "--x0 has shape (20, 40); needed is (30, 40), the shape of the solution."),
        ("--method omp -k 2 --weights y.npy", "--weights have shape (20,); needed is (40,) or (30, 40): one per"),
    ],
)  # fmt: skip
def test_messages_of_recover_name_the_options_of_the_command_line(line, said, pursuit, tmp_path):
    code, _, err = pursuit(f"recover A.npy Y.npy -o o.npy {line}")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"pursuit: {said}")
    assert not (tmp_path / "o.npy").exists()


def test_statuses_name_the_options_of_the_command_line(pursuit):
    code, _, err = pursuit("recover A.npy Y.npy -o o.npy -k 2 --method iht --max-steps 1")
    assert code == 1
    assert "30 of 30: --max-steps was reached first: pass a larger --max-steps\n" in err
    _, _, err = pursuit("recover A.npy Y.npy -o o.npy -k 1 --tol 0.001")
    assert "30 of 30: the solver finished with a residual above --tol: pass a looser --tol, or allow more" in err


@pytest.mark.parametrize("option", ["--lam 0.1", "--lam-share 0.1"])
def test_compare_refuses_a_penalty_that_no_method_takes(option, pursuit):
    code, _, err = pursuit(f"compare --A A.npy --y Y.npy -k 2 --methods omp,htp {option}")
    name = option.split()[0]
    assert (code, err) == (
        2,
        f"pursuit: {name} was given, which only ista, fista and fista_ls take; leave it out, or add one.\n",
    )
    code, _, err = pursuit("compare --A A.npy --y Y.npy -k 2 --methods omp,ista --lam-share 2")
    assert (code, err) == (2, "pursuit: --lam-share is 2.0; needed is a number between 0 and 1.\n")


def test_an_argument_of_a_function_is_no_option(pursuit, tmp_path):
    (tmp_path / "mine.py").write_text("def needy(A, y, k, *, lam):\n    pass\n")
    code, _, err = pursuit("compare gaussian --methods mine:needy")
    assert code == 2
    assert "missing a required argument: 'lam'" in err


def test_names_of_arrays_in_a_file_are_no_options(pursuit):
    np.savez("m.npz", A=A, lam=A, k=A)
    code, _, err = pursuit("recover m.npz:tol y.npy -o o.npy -k 2")
    assert code == 2
    assert "m.npz: has no array 'tol'; it has A, lam, k" in err


@pytest.mark.parametrize("how", ["y.npy -o o.npy", "Y.npy -o o.npy", "Y.npy --batch 10 -o o.npy"])
def test_no_atoms_is_what_was_asked_for(how, pursuit):
    code, out, err = pursuit(f"recover A.npy {how} -k 0")
    assert (code, err) == (0, "")
    assert "\nx is zero, as -k 0 asks\n" in out
    assert not np.load("o.npy").any()


def test_a_folder_that_is_made_for_a_file_is_said(pursuit):
    for how in ("", " --batch 10"):
        _, out, _ = pursuit(f"recover A.npy Y.npy -k 2 -o some/new/folder{len(how)}/x.npy{how}")
        assert f", written; made the folder some/new/folder{len(how)}\n" in out
        _, out, _ = pursuit(f"recover A.npy Y.npy -k 2 -o some/new/folder{len(how)}/y.npy{how}")
        assert ", written\n" in out


def test_a_folder_is_not_made_for_a_file_that_cannot_be_written(pursuit, tmp_path):
    assert pursuit("recover A.npy Y.npy -k 99 -o new/x.npy")[0] == 2
    assert pursuit("recover A.npy gone.npy -k 2 -o new/x.npy")[0] == 2
    assert not (tmp_path / "new").exists()
    code, _, err = pursuit("recover A.npy Y.npy -k 2 -o A.npy/new/x.npy")
    assert (code, err.count("\n")) == (2, 1)
    assert "A.npy/new: cannot be written to (Not a directory); choose another output folder." in err


@pytest.mark.parametrize(
    ("signals", "said"), [(7, "5 for the validation, 7 for the test"), (20, "5 for the validation")]
)
def test_losses_of_few_signals_are_said_to_be_unreliable(signals, said, pursuit):
    sizes = f"--n 30 --m 12 -k 2 --admissible 8 --n-train 8 --n-validation 5 --n-test {signals}"
    code, out, _ = pursuit(f"train omp-net {sizes} --epochs 1 --methods none -o net")
    assert code == 0
    assert f"\nnote: losses are of few signals ({said}), and not reliable; needed are 20 or more\n" in out


# ---- statuses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"lam": 0.1}, {"lam": 0.0}, {"lam_share": 0.5}, {"k": 2}, {"lam": 0.1, "gap": 1e-6}]
)
@pytest.mark.parametrize("method", ["ista", "fista"])
def test_a_penalised_solver_that_can_find_nothing_says_so(method, options):
    y = np.array([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0]])
    sol = solve(np.zeros((3, 5)), rows(y), method, **options)
    assert [Status(code).name for code in sol.status] == ["NOTHING_FOUND", "TOLERANCE"]
    with pytest.raises(RecoveryError, match="x is zero and y is not"):
        sol.check()
    orthogonal = solve(np.eye(3, 2), np.array([0.0, 0.0, 1.0]), method, **options)
    assert Status(int(orthogonal.status)) == Status.NOTHING_FOUND
    assert solve(np.eye(3), np.array([0.0, 0.0, 1.0]), method, lam=1.0).check().x.tolist() == [0, 0, 0]


def test_a_greedy_lasso_that_can_find_nothing_says_so():
    sol = solve(np.zeros((3, 5)), np.ones(3), "greedy_lasso", k=2, lam=0.1)
    assert Status(int(sol.status)) == Status.NOTHING_FOUND
    assert solve(np.eye(3), np.ones(3), "greedy_lasso", k=2, lam=100.0).check().x.tolist() == [0, 0, 0]


def test_after_a_divergence_the_answer_is_called_unusable():
    sol = solve(A, Y[0], "iht", k=2, eta=1e4)
    assert np.abs(sol.x).max() > 1e100
    assert Status(int(sol.status)) == Status.DIVERGED
    assert "the last finite one, is unusable" in sol.message
    with pytest.raises(RecoveryError, match="unusable"):
        sol.check()


def test_sea_that_took_all_its_steps_has_ended_and_others_have_not():
    sol = solve(A, Y[0] + rng.standard_normal(20), "sea", k=2, max_steps=1)
    assert Status(int(sol.check().status)) == Status.EXPLORED
    assert "EXPLORED" in sol.check.__doc__
    with pytest.raises(RecoveryError, match="max_steps was reached first"):
        solve(A, Y[0] + rng.standard_normal(20), "iht", k=2, max_steps=1).check()


# ---- networks ------------------------------------------------------------------------------------------------------


def test_the_status_of_a_network_is_about_layers():
    case = problems.gaussian(n=60, m=40, k=3, signals=5)
    (row,) = comparison.compare(case, [comparison.network_as_method("mine", nets.OMPNet(case.A, layers=3))])
    assert (row.status, row.status.ok) == (Status.APPLIED, True)
    assert row.status.message == "all layers of the network were applied"


@pytest.mark.parametrize("read", [nets.load, nets.read_weights, nets.read_epoch])
def test_a_folder_in_the_place_of_a_network_is_called_one(read, tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path}: is a folder, and it holds no network; give the path")):
        read(tmp_path)
    for name in ("checkpoint", "net"):  # as a training leaves them
        nets.save(nets.OMPNet(torch.eye(3), layers=2), tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=re.escape(f"give the file: {tmp_path / 'net.safetensors'}, as ")):
        read(str(tmp_path))
    nets.save(nets.OMPNet(torch.eye(3), layers=2), tmp_path / "best.safetensors")
    with pytest.raises(
        ValueError, match=r"it holds best\.safetensors, net\.safetensors; give the path of a file in it"
    ):
        read(tmp_path)


# ---- a file that another process holds -----------------------------------------------------------------------------


def test_ctrl_c_ends_the_wait_for_a_locked_run(pursuit, tmp_path):
    sweep = "sweep phase --methods omp --n 16 --grid 1x1 --trials 10 --block 10 -o run"
    assert pursuit(sweep)[0] == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "run" / "sweep.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        command = [sys.executable, "-m", "pursuit", *sweep.split()]
        run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait_until_it_reads(run, "sweep.sqlite")
        time.sleep(1)
        assert run.poll() is None
        begun = time.monotonic()
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=30)
        assert time.monotonic() - begun < 10  # of the 60 s that it would wait; a crowded machine is slow to answer
    assert run.returncode == 130
    assert err.startswith("pursuit: stopped; ")
    assert err.count("\n") == 1


def wait_until_it_reads(run, name):
    """Wait until a process has a file of this name open."""
    end = time.monotonic() + 60
    while not any(os.path.realpath(link).endswith(f"/{name}") for link in Path(f"/proc/{run.pid}/fd").iterdir()):
        assert time.monotonic() < end
        assert run.poll() is None
        time.sleep(0.05)


def test_a_run_that_stays_locked_is_said_to_be(pursuit, tmp_path, monkeypatch):
    sweep = "sweep phase --methods omp --n 16 --grid 1x1 --trials 10 --block 10 -o run"
    assert pursuit(sweep)[0] == 0
    monkeypatch.setattr(store, "PATIENCE", 0.1)
    with contextlib.closing(sqlite3.connect(tmp_path / "run" / "sweep.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        code, _, err = pursuit(sweep)
    assert (code, err.count("\n")) == (2, 1)
    assert "(database is locked)" in err
    assert "does another command write to it" in err


# ---- numbers far from one, code of one's own, a disk that is full ----------------------------------------------------


@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e200])
def test_the_residual_that_is_printed_is_a_share_in_any_unit(pursuit, unit, tmp_path):
    np.save(tmp_path / "u.npy", Y[0] * unit)
    code, out, err = pursuit("recover A.npy u.npy -k 1 -o o.npy")
    sol = solve(A, Y[0], "omp", k=1)
    share = sol.residual_norm / np.linalg.norm(Y[0])
    assert (code, err) == (0, "")
    assert f"residual: {share:.3g} of the norm of y" in out


def test_double_precision_is_not_advised_where_it_is_used():
    with pytest.raises(ValueError, match=r"scale them, set those to zero that are to be zero\.$"):
        solve(A, Y[0], "sea", k=2, weights=np.geomspace(1e-320, 1, 40))
    with pytest.raises(ValueError, match=r"or use double precision\.$"):
        solve(A.astype("f4"), Y[0].astype("f4"), "sea", k=2, weights=np.geomspace(1e-300, 1, 40))


OWN = """
import pursuit

def broken(A, y, k):
    raise RuntimeError("no idea")

def indexed(A, y, k):
    return [][k]

def leaves(A, y, k):
    raise SystemExit(0)
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "RuntimeError: no idea (own_solver.py, line 5, in broken). This was raised by code of your own"),
        ("indexed", "IndexError: list index out of range (own_solver.py, line 8, in indexed)"),
        ("leaves", "the process was to end (SystemExit(0)) before there was a result"),
    ],
)
@pytest.mark.parametrize("line", ["recover A.npy y.npy -k 2 --method {} -o o.npy", "compare gaussian --methods {}"])
def test_an_error_in_a_solver_of_one_s_own_is_not_called_ours(pursuit, monkeypatch, tmp_path, line, name, said):
    (tmp_path / "own_solver.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_solver", raising=False)
    code, _, err = pursuit(line.format(f"own_solver:{name}"))
    assert code == 2
    assert err.startswith(f"pursuit: {said}")
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"k": "5,10"}, TypeError, r"k is '5,10'; needed is a whole number, a sequence of them, or None"),
        ({"k": 3.0}, TypeError, r"k is 3\.0; needed"),
        ({"k": []}, TypeError, r"k is \[\]; needed"),
        ({"methods": ()}, ValueError, "there are no methods; needed is at least one"),
        ({"methods": ["omp"], "lam": 0.5}, ValueError, "lam was given, which only ista, fista and fista_ls take"),
        ({"methods": ["fista"], "lam": -1}, ValueError, "lam is -1; needed is a number from 0"),
    ],
)
def test_compare_refuses_before_it_starts(options, error, said):
    with pytest.raises(error, match=said):
        comparing(A, Y, **options)


def test_compare_takes_auto_as_the_command_does():
    found = comparing(A, Y[:3], "auto", methods="omp")
    assert found.instance.k == comparing(A, Y[:3], methods="omp").instance.k


def test_a_disk_that_fills_up_is_named_with_the_file(pursuit, monkeypatch):
    def save(file, array):
        raise OSError("240000 requested and 35824 written")  # as NumPy says it, without a code

    monkeypatch.setattr(np, "save", save)
    code, _, err = pursuit("recover A.npy y.npy -k 2 -o o.npy")
    assert code == 2
    assert err == "pursuit: o.npy: No space left on device; check the path, the rights and the space on the disk.\n"


def test_an_address_where_nothing_listens_is_refused_at_once(tmp_path):
    np.save(tmp_path / "A.npy", A)
    np.save(tmp_path / "Y.npy", Y)
    line = f"recover {tmp_path}/A.npy {tmp_path}/Y.npy -k 2 --scheduler nonsense -o {tmp_path}/o.npy"
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "pursuit", *line.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("pursuit: --scheduler is 'nonsense', but no scheduler answers there")
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - begin < 15
