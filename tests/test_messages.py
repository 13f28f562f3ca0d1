"""What a user reads where something is not as it should be: commands, statuses and networks, in the user's own lines."""

import numpy as np
import pytest

from pursuit import cli

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
        out, err = capsys.readouterr()
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
    assert f"{HUGE} is too large; needed is a whole number of at most 9223372036854775807" in err
    assert err.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


def test_a_huge_number_among_several_is_refused_in_one_line(pursuit):
    code, _, err = pursuit(f"compare --A A.npy --y Y.npy -k 2,{HUGE}")
    assert (code, err.count("\n")) == (2, 1)
    assert f"k is {HUGE}, which is out of the range of numbers" in err


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
        ("--method omp -k 2 --weights y.npy", "--weights have shape (20,); needed is (40,) or (30, 40): one per column"),
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
    assert (code, err) == (2, f"pursuit: {name} was given, which only ista and fista take; leave it out, or add one.\n")
    code, _, err = pursuit("compare --A A.npy --y Y.npy -k 2 --methods omp,ista --lam-share 2")
    assert (code, err) == (2, "pursuit: --lam-share is 2.0; needed is a number between 0 and 1.\n")
