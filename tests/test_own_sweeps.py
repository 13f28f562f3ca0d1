"""Sweeps over one's own question: other matrices, signals and noise, files and functions of one's own, job arrays."""

import contextlib
import functools
import importlib
import json
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch

import pursuit
from helpers import outputs
from pursuit import cli, problems, sweeps
from pursuit.plots import sweeps as picture
from pursuit.sweeps import cells, draws, store
from pursuit.sweeps.cells import Settings, Task
from pursuit.sweeps.draws import Problem, problem_of

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "sweeps.md").read_text()
SMALL = {"methods": ("omp", "iht"), "n": 16, "grid": (2, 3), "trials": 10, "block": 5, "max_steps": 30}


@pytest.fixture(autouse=True)
def steps_only(monkeypatch):
    """Kernels give the same, and would be compiled first."""
    monkeypatch.setattr(pursuit.config, "kernels", "off")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory of a user, with the documentation's mine.py and an A.npy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "def blur" in block)
    Path("mine.py").write_text(example)
    np.save("A.npy", np.random.default_rng(0).standard_normal((12, 20)) * np.linspace(1, 5, 20))
    yield tmp_path
    forget("mine")


def forget(module):
    """Let a module be imported anew, as by a new process."""
    sys.modules.pop(module, None)
    importlib.invalidate_caches()
    for function in (draws._returned, draws._draws, draws.source_digest):
        function.cache_clear()


def command(*line):
    """Exit status of `pursuit sweep`."""
    with pytest.raises(SystemExit) as end:
        cli.main(["sweep", *(str(word) for word in line)])
    return end.value.code or 0


def results(path):
    """All of a run but its times."""
    return [cell[:-1] for cell in sweeps.load(path).cells()]


def found(sweep):
    return {(row["method"], row["m"], row["k"], row["snr"]): row["found"] for row in sweep.table()}


# -- what is drawn


def drawn(A="gaussian", x="gaussian", cplx=None, n=30, m=20, k=4, count=200):
    return draws.draw(problem_of(A, x, cplx), np.random.default_rng(0), n=n, m=m, k=k, count=count)


@pytest.mark.parametrize("cplx", [None, True, False])
@pytest.mark.parametrize("law", ["gaussian", "rademacher", "bernoulli=0.3", "correlated=0.5", "fourier"])
def test_drawn_matrices_have_unit_columns_and_signals_k_non_zeros(law, cplx):
    trials = drawn(law, cplx=cplx)
    assert trials.A.shape == (200, 20, 30)
    np.testing.assert_allclose(np.linalg.norm(trials.A, axis=1), 1)
    assert np.iscomplexobj(trials.A) == (law == "fourier" or (cplx is True and law != "bernoulli=0.3"))
    assert np.iscomplexobj(trials.x) == (cplx if cplx is not None else law == "fourier")
    assert ((trials.x != 0).sum(1) == 4).all()
    np.testing.assert_array_equal(np.sort(trials.support, axis=1), np.nonzero(trials.x)[1].reshape(-1, 4))
    assert np.abs((trials.x != 0).mean(0) - 4 / 30).max() < 0.1
    assert not np.array_equal(trials.A[0], trials.A[1])


def test_matrices_are_what_their_names_say():
    signs = drawn("rademacher").A * math.sqrt(20)
    np.testing.assert_allclose(np.abs(signs), 1)
    assert abs(signs.mean()) < 0.02
    ones = drawn("bernoulli=0.3").A != 0
    assert abs(ones.mean() - 0.3) < 0.01
    sparse = drawn("bernoulli=0.01", m=5)
    assert (sparse.A != 0).any(axis=1).all(), "no column is zero"
    rows = drawn("fourier", count=3).A * math.sqrt(20)
    np.testing.assert_allclose(np.abs(rows), 1)
    np.testing.assert_allclose(rows @ rows.conj().transpose(0, 2, 1), 30 * np.eye(20)[None].repeat(3, 0), atol=1e-9)
    A = drawn("correlated=0.8", count=2000).A
    assert np.allclose((A[..., 5] * A[..., 6]).sum(1).mean(), 0.8, atol=0.02)
    assert np.allclose((A[..., 5] * A[..., 8]).sum(1).mean(), 0.8**3, atol=0.03)


def test_signals_are_what_their_names_say():
    signs = drawn(x="rademacher").x
    assert {*np.unique(signs)} == {-1, 0, 1}
    phases = drawn(x="rademacher", cplx=True).x
    np.testing.assert_allclose(np.abs(phases[phases != 0]), 1)
    assert abs(phases[phases != 0].mean()) < 0.1
    sizes = np.abs(drawn(x="uniform").x)
    assert 1 <= sizes[sizes > 0].min() < 1.05 < 1.95 < sizes.max() <= 2
    np.testing.assert_allclose(np.sort(np.abs(drawn(x="decaying=0.5").x))[:, -4:], [[0.125, 0.25, 0.5, 1]] * 200)
    assert problem_of(x="decaying") == problem_of(x="decaying=0.8")


def test_deconvolution_is_the_library_s():
    A = drawn("deconvolution=2", n=40, m=40).A
    torch.testing.assert_close(A.to_dense(), problems.deconvolution(n=40, k=2, sigma=2, signals=1).A.to_dense())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"A": "gausian"}, "A is 'gausian'; needed is one of gaussian, rademacher, .*, a file, or module:function"),
        ({"A": "fourier=3"}, "fourier takes no number"),
        ({"A": "correlated=1"}, "needed is a number above 0 and below 1: correlated=0.9"),
        ({"x": "decaying=much"}, "x is 'decaying=much'"),
        ({"x": "flat"}, "x is 'flat'; needed is one of gaussian, rademacher"),
        ({"A": "absent.npy"}, "absent.npy: no such file"),
        ({"A": "absent:f"}, "A is 'absent:f': there is no module 'absent'"),
        ({"A": "mine:no"}, "A is 'mine:no': the module 'mine' has no function 'no'"),
        ({"A": "mine:spikes"}, r"A is mine:spikes\(rng, count, n, k\); needed is a function without arguments"),
        ({"x": "mine:blur"}, r"x is mine:blur\(\); needed is a function \(rng, count, n, k\)"),
        ({"A": np.eye(3)}, r"A is a ndarray; needed is .*numpy\.save"),
        ({"A": lambda: None}, "worker processes can import"),
        ({"A": "A.npy", "n": 16}, r"n is 16, and A has shape \(12, 20\)"),
        ({"A": "A.npy", "m": 11}, r"m is \(11,\), and A has shape \(12, 20\)"),
        ({"A": "A.npy", "grid": (2, 3)}, "grid is 2x3 and m has 1 values; needed is a grid of 1x3"),
        ({"m": (4, 4)}, "m is 4,4; needed are different whole numbers"),
        ({"snr": (10, 10)}, "snr is 10,10; needed are different ratios in dB"),
        ({"snr": math.nan}, "snr is nan"),
        ({"exact_db": math.nan}, "exact_db is nan"),
        ({"A": "zero.npy"}, r"A is .*zero\.npy, all of whose columns are zero"),
        ({"A": "nan.npy"}, "A has entries that are NaN or infinite"),
        ({"A": "deconvolution=1e300"}, "needed is a number above 0 and below 1e[+]06: deconvolution=3"),
        ({"n": 10**9}, "n is 1000000000 and m goes up to 952380952: one trial needs .* of memory, and .* are free"),
        ({"part": (2, 2)}, "part is 2/2; needed is one of 0/COUNT"),
        ({"adaptive": 0.1, "success": "exact", "snr": 30}, "which noise at an SNR of 30 dB does not allow"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_said_before_anything_is_written(given, message, folder):
    np.save("zero.npy", np.zeros((4, 8)))
    np.save("nan.npy", np.full((4, 8), np.nan))
    with pytest.raises((ValueError, TypeError), match=message):
        sweeps.phase(["omp"], trials=5, output="run", **given)
    assert not Path("run").exists()


# -- noise


def test_noise_is_an_axis(folder):
    options = {**SMALL, "m": 10, "grid": (1, 3), "trials": 40, "block": 20}
    sweep = sweeps.phase(snr=(5, 40, math.inf), output="run", **options)
    assert {row["snr"] for row in sweep.table()} == {5, 40, math.inf}
    assert {row["m"] for row in sweep.table()} == {10}
    at = found(sweep)
    assert at["omp", 10, 2, 5.0] < at["omp", 10, 2, 40.0] <= at["omp", 10, 2, math.inf]
    assert {row["exact"] for row in sweep.table() if row["snr"] == 5} == {0}
    alone = sweeps.phase(output="alone", **options)  # no noise
    assert results("alone") == [cell for cell in results("run") if cell[3] == math.inf]
    assert alone.table() == sweep.at(math.inf).table()
    assert sweep.to_xarray().found.sel({"method": "omp", "m": 10, "k": 2, "snr": 5}).item() == at["omp", 10, 2, 5.0]
    assert alone.to_xarray().found.sel({"method": "omp", "m": 10, "k": 2}).item() == at["omp", 10, 2, math.inf]
    assert {(row["method"], row["snr"]) for row in sweep.curves()} == {
        (method, snr) for method in ("omp", "iht") for snr in (5, 40, math.inf)
    }


def test_noise_is_as_large_as_said_and_complex_where_y_is():
    for cplx in (False, True):
        trials = drawn(cplx=cplx, count=400)
        clean = cells._measured(trials, math.inf, np.random.default_rng(0)).y
        for snr in (0, 20):
            noise = cells._measured(trials, snr, np.random.default_rng(0)).y - clean
            assert noise.is_complex() == cplx
            measured = 10 * math.log10(clean.std(-1).square().mean() / noise.abs().square().mean())
            assert abs(measured - snr) < 0.2
            assert not cplx or abs(noise.real.var() / noise.imag.var() - 1) < 0.1


def test_a_cell_with_noise_is_what_the_solver_gives():
    settings = Settings(n=20, block=15, eta=1.2, max_steps=30, problem=Problem(complex=True), exact_db=-20.0)
    (cell,) = cells.solve(settings, Task(12, 4, 2, ("iht@omp",), 25.0))
    (trials,) = cells.chunks(settings, 12, 4, 2)
    A, _, y = cells._measured(trials, 25.0, np.random.default_rng([0, 20, 12, 4, 2, 1]))
    eta = 1.2 / torch.linalg.matrix_norm(A, 2) ** 2
    start = pursuit.omp(A, y, 4).x
    x = pursuit.iht(A, y, 4, x0=start, eta=eta, max_steps=30).x.numpy()
    error = np.linalg.norm(x - trials.x, axis=1) / np.linalg.norm(trials.x, axis=1)
    assert cell.exact == (error <= 0.1).sum() > 0
    assert cell.found == sum({*np.nonzero(a)[0]} == {*np.nonzero(b)[0]} for a, b in zip(x, trials.x, strict=True))
    assert (cell.snr, cell.k, cell.block) == (25.0, 4, 2)


def test_levels_of_noise_are_added_to_a_run(folder):
    options = {**SMALL, "m": 10, "grid": (1, 3)}
    sweeps.phase(snr=20, output="run", **options)
    seen = []
    sweep = sweeps.phase(snr=(10, 20), output="run", on_progress=seen.append, **options)
    assert seen[0].done * 2 == seen[-1].total == len(sweep.counts)
    assert sweep.plan.snr == (20, 10)
    sweeps.phase(snr=(10, 20), output="at-once", **options)
    assert results("run") == results("at-once")


# -- matrices of one's own


def test_a_matrix_from_a_file(folder):
    options = {"methods": ("omp", "iht"), "trials": 10, "grid": (1, 3), "max_steps": 30}
    sweep = sweeps.phase(A="A.npy", output="run", **options)
    assert (sweep.settings.n, sweep.plan.m) == (20, (12,))
    assert sweep.plan.grid == (1, 3)
    scipy.io.savemat("data.mat", {"A": np.load("A.npy"), "B": np.eye(3)})
    np.save("wide.npy", np.hstack([np.ones((12, 2)), np.load("A.npy")]))
    scipy.sparse.save_npz("S.npz", scipy.sparse.csr_array(np.load("A.npy")))
    for file in (Path("data.mat:A"), "wide.npy[:, 2:]", "S.npz"):
        other = sweeps.phase(A=file, output=f"run-{Path(file).stem}", **options)
        assert found(other) == found(sweep)
    # By hand, the second cell of OMP.
    settings, (method, m, k, snr, block) = sweep.settings, sorted(sweep.counts)[-1]
    (trials,) = cells.chunks(settings, m, k, block)
    y = trials.x @ np.load("A.npy").T
    hits = [
        len({*s.tolist()} & {*t.tolist()})
        for s, t in zip(pursuit.omp(np.load("A.npy"), y, k).support, trials.support, strict=True)
    ]
    assert (method, m, snr) == ("omp", 12, math.inf)
    assert sweep.counts[method, m, k, snr, block][1] == hits.count(k)


def test_a_complex_matrix_measures_complex_signals_unless_they_are_to_be_real(folder):
    np.save("C.npy", np.load("A.npy") * np.exp(1j * np.arange(12))[:, None])
    for given, cplx in ((None, True), (True, True), (False, False)):
        trials = drawn("C.npy", cplx=given, n=20, m=12, k=3, count=3)
        assert np.iscomplexobj(trials.x) == cplx
    sweep = sweeps.phase(["omp"], A="C.npy", complex=False, trials=10, grid=(1, 2), output="run")
    assert sweep.settings.problem.complex is False
    assert found(sweep)["omp", 12, 2, math.inf] > 0


def test_the_numbers_of_the_file_are_part_of_the_run(folder, monkeypatch):
    run = {"methods": ["omp"], "trials": 5, "grid": (1, 2), "output": "run"}
    sweeps.phase(A="A.npy", **run)
    Path("elsewhere").mkdir()
    shutil.move("A.npy", "elsewhere/A.npy")
    sweeps.phase(A="elsewhere/A.npy", **run)  # a file that was moved
    np.save("elsewhere/A.npy", np.load("elsewhere/A.npy") * 2)
    for A, message in (
        (
            "elsewhere/A.npy",
            r"the run there has code or numbers of A and x [0-9a-f]{16}, not [0-9a-f]{16}; its results",
        ),
        ("gaussian", "the run there has A A.npy, not gaussian"),
    ):
        with pytest.raises(ValueError, match=message):
            sweeps.phase(A=A, m=12, n=20, **run)
    with pytest.raises(ValueError, match=r"a worker has A and x [0-9a-f]{16}, the run A and x [0-9a-f]{16}"):
        cells.solve(
            Settings(n=20, block=5, problem=Problem(str(folder / "elsewhere/A.npy"), own="0" * 16)),
            Task(12, 1, 0, ("omp",)),
        )


def test_an_operator_of_one_s_own_is_its_matrix(folder):
    import mine

    operator = mine.blur()
    np.save("blur.npy", operator.to_dense().numpy())
    options = {"methods": ["omp", "iht"], "trials": 6, "grid": (1, 2), "rho": 0.04, "max_steps": 20}
    by_function = sweeps.phase(A=mine.blur, output="a", **options)
    by_place = sweeps.phase(A="mine:blur", output="b", **options)
    by_file = sweeps.phase(A="blur.npy", output="c", **options)
    assert found(by_function) == found(by_place) == found(by_file)
    assert by_function.settings.problem.A == "mine:blur"
    assert by_function.plan.m == (operator.shape[0],)


def test_a_function_draws_a_matrix_or_an_operator_for_every_trial(folder):
    Path("drawing.py").write_text(
        "import pursuit, torch\nimport numpy as np\n"
        "def matrix(m, n, rng):\n    return rng.standard_normal((m, n))\n"
        "def operator(m, n, rng):\n    A = matrix(m, n, rng)\n"
        "    return (lambda x: A @ x, lambda y: A.T @ y, (m, n))\n"
        "def square(m, n, rng):\n    return np.eye(n)\n"
        "def words(m, n, rng):\n    return 'words'\n"
        "def broken(m, n, rng):\n    return {}['key']\n"
    )
    run = {**SMALL, "methods": ["omp"]}
    matrices = sweeps.phase(A="drawing:matrix", output="matrices", **run)
    assert matrices.grid == {5: (1, 2), 11: (1, 3, 4)} or len(matrices.grid) == 2
    operators = sweeps.phase(A="drawing:operator", output="operators", **run)
    assert len(operators.counts) == len(matrices.counts)
    assert abs(sum(found(operators).values()) - sum(found(matrices).values())) < 20  # of 100 or so, other draws
    for name, message in (
        ("square", r"A is drawing:square, which returned an A of shape \(16, 16\); needed is \(5, 16\), \(m, n\)"),
        ("words", "A is drawing:words, which returned a str; needed is a matrix or an operator"),
        ("broken", r"A is drawing:broken, and a call of it ended with KeyError\('key'\); mend the function"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            sweeps.phase(A=f"drawing:{name}", output=name, **run)
        assert not Path(name).exists()
    forget("drawing")


@pytest.mark.parametrize(("role", "name"), [("A", "one"), ("A", "each"), ("x", "signals")])
def test_functions_that_draw_other_numbers_in_every_process_are_refused(role, name, folder):
    Path("unseeded.py").write_text(
        "import numpy as np\n"
        "def one():\n    return np.random.standard_normal((8, 16))\n"
        "def each(m, n, rng):\n    return np.random.standard_normal((m, n))\n"
        "def signals(rng, count, n, k):\n    return np.random.standard_normal((count, 1)) * np.eye(count, n)\n"
    )
    message = rf"{role} is unseeded:{name}: two calls returned different numbers; needed are the same in every process"
    with pytest.raises(ValueError, match=message):
        sweeps.phase(["omp"], **{role: f"unseeded:{name}"}, n=16, m=8, grid=(1, 1), rho=0.2, trials=5, output="run")
    assert not Path("run").exists()
    forget("unseeded")


def test_signals_of_one_s_own(folder):
    sweep = sweeps.phase(["omp"], A="deconvolution", x="mine:spikes", n=60, rho=0.05, grid=(1, 2), trials=5, output="r")
    (trials,) = cells.chunks(sweep.settings, 60, 3, 0)
    assert (np.diff(np.sort(trials.support)) >= 5).all()
    assert trials.x.max() > 1
    Path("wrong.py").write_text(
        "import numpy as np\n"
        "def few(rng, count, n, k):\n    return np.eye(count, n)\n"
        "def turned(rng, count, n, k):\n    return np.ones((n, count))\n"
    )
    for name, message in (
        ("few", "x is wrong:few, which returned signals with 1 to 1 non-zeros; needed are 2 in each"),
        (
            "turned",
            r"x is wrong:turned, which returned an array of shape \(16, 1\) .* needed are numbers of shape \(1, 16\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            sweeps.phase(["omp"], x=f"wrong:{name}", n=16, m=8, rho=0.25, grid=(1, 1), trials=5, output=name)
    forget("wrong")


def test_a_run_does_not_go_on_with_other_code_of_its_problem(folder):
    run = {"methods": ["omp"], "trials": 5, "n": 40, "m": 20, "grid": (1, 2), "output": "run"}
    sweeps.phase(x="mine:spikes", **run)
    Path("mine.py").write_text(Path("mine.py").read_text().replace("rng.uniform(1, 2, k)", "rng.uniform(2, 3, k)"))
    forget("mine")
    with pytest.raises(ValueError, match="the run there has code or numbers of A and x"):
        sweeps.phase(x="mine:spikes", **run)
    sweeps.load("run")  # reading needs no code


def test_adaptive_runs_of_one_s_own_question(folder):
    options = {"methods": ("omp",), "trials": 60, "block": 10, "grid": (1, 6), "rho": 0.6, "adaptive": 0.1}
    sweep = sweeps.phase(A="A.npy", snr=(15, 40), output="run", **options)
    assert {row["snr"] for row in sweep.curves((0.95,))} == {15, 40}
    assert all((row["rho_high"] - row["rho_low"]) / 2 <= 0.1 for row in sweep.curves((0.95,)))
    assert len(sweep.counts) < 2 * 6 * 6
    sweeps.phase(A="A.npy", snr=(15, 40), output="parts", part=(0, 2), **options)
    assert {cell[3] for cell in results("parts")} == {15}, "a part has curves of its own"
    sweeps.phase(A="A.npy", snr=(15, 40), output="parts", **options)
    assert results("parts") == results("run")


# -- the documentation


DOCUMENTED = re.findall(
    r"^pursuit sweep (phase .*-o runs/(?:signs|fourier|noise|spikes|matrix|mine))", PAGE, flags=re.MULTILINE
)


@pytest.mark.parametrize("line", DOCUMENTED)
def test_the_documentation_s_commands(line, folder, monkeypatch):
    """With fewer trials and steps; the command then goes on with its folder alone."""
    output = Path(line.split()[-1])
    grid = () if "--grid" in line else ("--grid", "1x3" if "--m" in line.split() or "A.npy" in line else "2x3")
    few = ("--trials", 4, "--max-steps", 5, *grid)
    assert command(*line.split(), *few) == 0
    before = results(output)
    assert before
    assert [path.name for path in output.glob("*.png")] == ["figure.png"]
    monkeypatch.setattr(picture, "draw", lambda *_, **__: [])
    assert command("phase", "-o", output) == 0
    assert results(output) == before


def test_every_line_of_the_documentation_is_tried():
    assert len(DOCUMENTED) == 6


def test_the_documentation_s_lines_of_python(folder, monkeypatch):
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "import mine" in block)
    small = functools.partial(sweeps.phase, trials=4, grid=(1, 2), rho=0.05, max_steps=5)
    monkeypatch.setattr(sweeps, "phase", small)
    scope = {"pursuit": pursuit}
    exec(block[block.index("import mine") :], scope)
    assert {row["method"] for row in scope["noisy"].at(20).table()} == {"omp", "mine:solver"}


# -- job arrays


def script():
    (text,) = (block for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL) if "#SBATCH" in block)
    return text


def test_the_documented_job_array(folder):
    """The script of the documentation, smaller, its tasks as processes of their own at the same time, one killed."""
    shown, parts = "--methods sea,htp,omp --n 64 --grid 20x20 --trials 1000", 2
    small = "--methods htp,omp --n 16 --grid 2x3 --trials 20 --block 5 --max-steps 30"
    assert shown in script()
    assert "--array=0-9\n" in script()
    assert "--part $SLURM_ARRAY_TASK_ID/10\n" in script()
    Path("phase.sh").write_text(script().replace(shown, small).replace("TASK_ID/10", f"TASK_ID/{parts}"))
    Path("bin").mkdir()
    Path("bin/pursuit").write_text(f'#!/bin/sh\nexec {sys.executable} -m pursuit "$@"\n')
    Path("bin/pursuit").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHONPATH": str(Path(pursuit.__file__).parents[1]),
    }  # fmt: skip
    options = {"methods": ("htp", "omp"), "n": 16, "grid": (2, 3), "trials": 20, "block": 5, "max_steps": 30}
    with pytest.raises(KeyboardInterrupt):  # a part that was killed before
        sweeps.phase(output="runs/phase", part=(1, parts), on_progress=stop_after(4), **options)
    assert len(results("runs/phase")) == 4
    tasks = [
        subprocess.Popen(["bash", "phase.sh"], env=environment | {"SLURM_ARRAY_TASK_ID": str(task)})
        for task in range(parts)
    ]
    assert [task.wait() for task in tasks] == [0] * parts
    assert sorted(path.name for path in Path("runs/phase").iterdir()) == [
        f"sweep-{part}-of-{parts}.sqlite" for part in range(parts)
    ]
    done = [row["done"] for row in sweeps.load("runs/phase").status()]
    assert command("phase", "-o", "runs/phase") == 0
    alone = sweeps.phase(output="alone", **options)
    assert [row["done"] for row in alone.status()] == done
    assert results("runs/phase/sweep.sqlite") == results("alone")
    for part in Path("runs/phase").glob("sweep-*.sqlite"):
        part.unlink()
    assert results("runs/phase") == results("alone")
    assert sweeps.load("runs/phase").plan == alone.plan


def stop_after(count):
    """Ends a run as Ctrl-C does."""

    def stop(progress):
        if progress.done >= count:
            raise KeyboardInterrupt

    return stop


def test_parts_of_another_number_do_not_repeat_what_is_done(folder):
    sweeps.phase(output="run", part=(0, 2), **SMALL)
    done = len(results("run"))
    seen = []
    for part in range(3):
        sweeps.phase(output="run", part=(part, 3), on_progress=seen.append, **SMALL)
    assert len(seen) == 3 + (len(sweeps.load("run").counts) - done) // 2  # two methods at a time
    per_file = [len([*opened.cells()]) for opened in store.begun(Path("run").iterdir())]
    assert sum(per_file) == len(results("run")) == len(sweeps.phase(output="alone", **SMALL).counts) > done


def test_a_part_begins_while_another_has_a_file_and_nothing_in_it(folder):
    Path("run").mkdir()
    Path("run/sweep-0-of-2.sqlite").touch()
    line = ("--methods", "omp", "--n", 16, "--grid", "1x2", "--trials", 5, "-o", "run")
    assert command("phase", *line, "--part", "1/2") == 0
    assert command("phase", *line) == 0
    assert len(results("run")) == len(sweeps.load("run").status()) * 2 == 2


def test_parts_of_other_settings_are_refused(folder):
    sweeps.phase(output="run", part=(0, 2), **SMALL)
    for part in ((1, 2), None):
        with pytest.raises(ValueError, match=r"sweep-0-of-2\.sqlite: the run there has seed 0, not 1"):
            sweeps.phase(output="run", part=part, **SMALL, seed=1)
    assert [path.name for path in Path("run").iterdir()] == ["sweep-0-of-2.sqlite"]
    assert command("phase", "-o", "run", "--part", "2/2") == 2
    assert command("phase", "-o", "run", "--part", "half") == 2


# -- pictures


def planted(path, rates, snr=(math.inf,), ms=(20,), trials=100):
    """A run whose methods have these rates of success for k = 1, 2, ..., at every m and level of noise."""
    ks = len(next(iter(rates.values())))
    plan = store.Plan(tuple(rates), (len(ms), ks), ks / min(ms), trials, m=ms, snr=snr)
    opened = store.Store(path)
    opened.begin(Settings(n=40, block=trials), plan)
    for method, shares in rates.items():
        for m in ms:
            for level in snr:
                for k in plan.cells(40)[m]:
                    share = shares[min(k, ks) - 1]
                    hits = np.where(np.arange(trials) < share * trials, k, 0)
                    data = (hits.astype("<u2").tobytes(), np.packbits(hits == k).tobytes())
                    won = int((hits == k).sum())
                    opened.add([cells.Cell(method, m, k, level, 0, trials, won, won, *data, 0.1)])
    opened.close()
    return sweeps.load(path)


RATES = {
    "omp": (1, 1, 0.9, 0.5, 0.1, 0), "iht": (0.8, 0.7, 0.5, 0.2, 0, 0), "htp": (0.3, 0.2, 0.1, 0, 0, 0),
    "sp": (1, 1, 1, 1, 1, 1),
}  # fmt: skip


def legend(figure):
    drawn_in = [figure, *figure.subfigs]
    (texts,) = [[text.get_text() for text in part.legends[0].get_texts()] for part in drawn_in if part.legends]
    return texts


@pytest.mark.parametrize(
    "axes", [{}, {"snr": (10.0, 20.0, math.inf)}, {"ms": (20, 30)}], ids=["against k", "noise", "m"]
)
def test_a_method_that_reaches_a_level_nowhere_is_named(axes, tmp_path):
    sweep = planted(tmp_path / "sweep.sqlite", RATES, **axes)
    omp, iht, htp, sp = legend(picture.picture(sweep))
    crossing = re.fullmatch(r"iht: (50 % up to k = [23]\.\d, )?below 95 % everywhere", iht)
    assert bool(crossing[1]) == (not axes)
    assert htp == "htp: below 50 % everywhere"
    assert sp == "sp: above 95 % everywhere"
    assert omp.startswith("omp")
    assert "everywhere" not in omp
    (file,) = picture.draw(tmp_path / "figure.png", sweep)
    assert file.read_bytes().startswith(b"\x89PNG")


def drawn_lines(figure, label):
    """The lines of this method in all panels."""
    drawn_in = [ax for part in (figure, *figure.subfigs) for ax in part.axes]
    return [line for ax in drawn_in for line in ax.lines if str(line.get_label()).startswith(label)]


@pytest.mark.parametrize(
    "axes", [{}, {"snr": (10.0, 20.0, math.inf)}, {"ms": (20, 30)}], ids=["against k", "noise", "m"]
)
def test_methods_with_the_same_curve_are_all_seen(axes, tmp_path):
    rates = {"omp": RATES["omp"], "ols": RATES["omp"], "sp": RATES["omp"], "iht": RATES["iht"]}
    figure = picture.picture(planted(tmp_path / "sweep.sqlite", rates, **axes))
    omp, ols, sp, iht = legend(figure)
    assert omp.endswith("\n(wide line: same curve as ols)")
    assert ols.endswith("\n(wide line: same curve as sp)")
    assert "wide" not in sp + iht
    widths = [[line.get_linewidth() for line in drawn_lines(figure, name)] for name in ("omp", "ols", "sp", "iht")]
    for omp, ols, sp, iht in zip(*widths, strict=True):  # a panel each
        assert omp >= ols + 1.5 >= sp + 3
        assert sp == iht


def test_a_curve_that_is_the_same_at_one_level_only_is_said_to_be_so(tmp_path):
    rates = {"omp": (1, 1, 1, 1, 0.8, 0.5, 0.1, 0, 0, 0), "sp": (1, 1, 0.9, 0.9, 0.8, 0.5, 0.1, 0, 0, 0)}
    omp, sp = legend(picture.picture(planted(tmp_path / "sweep.sqlite", rates, ms=(20, 30))))
    assert "wide" not in omp + sp  # which differ by more than a point of the picture
    points = {"omp": {0.1: 0.3, 0.2: 0.4}, "sp": {0.1: 0.3004, 0.2: 0.4}, "ols": {0.2: 0.4}, "iht": {}}
    assert picture._hidden(points, least=0.001) == {"omp": ["sp", "ols"], "sp": ["ols"], "ols": [], "iht": []}


def test_many_equal_methods_have_lines_that_are_not_too_wide():
    hidden = picture._hidden({str(i): {0.0: 1.0} for i in range(12)}, least=0.1)
    widths = [*picture._widths(hidden).values()]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] <= 12
    assert widths[-1] == 1.5


def test_a_point_without_neighbours_has_an_error_bar(tmp_path):
    rates = {"omp": RATES["omp"]}
    sweep = planted(tmp_path / "sweep.sqlite", rates, ms=(20, 30))
    lone = planted(tmp_path / "lone.sqlite", rates, ms=(6, 30), trials=20)
    for run, bars in ((sweep, 0), (lone, 1)):
        inside = [row for row in run.curves((0.95,)) if row["where"] == "inside"]
        assert len(inside) == 2 - bars
        panel = picture.picture(run).subfigs[1].axes[1]
        assert len(panel.containers) == bars
        if bars:
            (row,), (bar,) = inside, panel.containers[0][2]
            assert row["rho_high"] - row["rho_low"] > 0.1
            np.testing.assert_allclose(bar.get_segments()[0][:, 1], [row["rho_low"], row["rho_high"]])


def test_below_the_level_at_all_k_there_is_a_triangle(tmp_path):
    rates = {"htp": RATES["htp"], "iht": RATES["htp"], "sp": RATES["sp"]}
    sweep = planted(tmp_path / "sweep.sqlite", rates, ms=(20, 30))
    least = sorted(min(ks) / m for m, ks in sweep.grid.items())
    for panel in picture.picture(sweep).subfigs[1].axes:
        marked = [(line.get_marker(), line.get_ydata()[0], line.get_markersize()) for line in panel.lines]
        down = sorted((rho, size) for marker, rho, size in marked if marker == "v")
        assert [rho for rho, _ in down] == pytest.approx([least[0], least[0], least[1], least[1]])
        assert down[0][1] + 2 < down[1][1]  # one around the other
        assert len([marker for marker, *_ in marked if marker == "^"]) == 2


def test_the_colours_stand_beside_the_heat_map_of_a_single_method(tmp_path):
    figure = picture.picture(planted(tmp_path / "sweep.sqlite", {"omp": RATES["omp"]}, ms=(20, 30)))
    figure.draw_without_rendering()
    heat, bar = (ax.get_window_extent() for ax in figure.subfigs[0].axes)
    assert 0 < bar.x0 - heat.x1 < 0.05 * figure.bbox.width


def test_a_file_is_named_with_the_shape_of_its_matrix(folder, capsys):
    assert command("phase", "--A", folder / "A.npy", "--methods", "omp", "--trials", 10, "--grid", "1x3") == 0
    sweep = sweeps.load("runs/phase")
    title = picture.picture(sweep).get_suptitle()
    assert title.startswith("Phase transition, A.npy (12 x 20), x gaussian, n = 20\n")
    assert "phase transition, A.npy (12 x 20), x gaussian, n=20" in capsys.readouterr().out
    Path("data").mkdir()
    np.savez("data/both.npz", A=np.load("A.npy"), B=np.eye(3))
    assert str(problem_of("data/both.npz:A[:, 1:]")) == "both.npz:A[:, 1:], x gaussian"


def test_exact_success_that_the_noise_rules_out_is_told_before_work_starts(tmp_path, capsys, monkeypatch):
    line = ("phase", "--methods", "omp,iht", "--n", 32, "--grid", "2x3", "--trials", 5, "--success", "exact")
    told = "an NMSE of at most -80 dB, which noise at an SNR of 20 dB does not allow"
    assert command(*line, "--snr", "20,inf", "-o", tmp_path / "both") == 0
    assert told in capsys.readouterr().err
    assert command(*line, "--snr", 20, "-o", tmp_path / "run") == 0
    out, err = capsys.readouterr()
    assert err.startswith("note: success is exact, ")
    assert told in err
    assert "--exact-db -20" in err
    assert out.count("below 95 % everywhere") == 2
    assert "0.0000" not in out
    assert "--exact-db -20" in out
    for words in (("phase", "--status", "-o"), ("draw", "--success", "exact")):
        assert command(*words, tmp_path / "run") == 0
        assert told in capsys.readouterr().out
    assert command("draw", tmp_path / "run") == 0
    assert told not in capsys.readouterr().out
    monkeypatch.setattr(sweeps.run, "solve", None)
    with pytest.warns(UserWarning, match=told), pytest.raises(TypeError):
        sweeps.phase(["omp"], n=32, grid=(2, 3), trials=5, snr=20, success="exact", output=tmp_path / "new")


def test_exact_success_that_the_noise_allows_is_swept_without_a_word(tmp_path, capsys):
    line = ("phase", "--methods", "omp", "--n", 32, "--grid", "2x3", "--trials", 5, "--success", "exact", "--snr", 20)
    assert command(*line, "--exact-db", -20, "-o", tmp_path) == 0
    out, err = capsys.readouterr()
    assert "does not allow" not in out + err


@pytest.mark.parametrize(
    ("rates", "where", "shown"),
    [
        ({"omp": RATES["sp"]}, "above", "above 95 % everywhere"),
        ({"omp": RATES["omp"]}, "inside", r"0\.\d{4}"),
        ({"omp": (0, 0, 0, 0)}, "below", "below 95 % everywhere"),
    ],
)
def test_the_table_says_where_there_is_no_curve(rates, where, shown, tmp_path, capsys):
    (row,) = planted(tmp_path / "sweep.sqlite", rates).status()
    assert row["where"] == where
    assert command("phase", "--status", "-o", tmp_path) == 0
    assert re.search(rf"│ +{shown}(, 0\.\d{{4}})? │", capsys.readouterr().out)


@pytest.mark.parametrize("given", ["omp,,sea", ",omp", "omp,", "omp, ,sea", "", ","])
def test_a_name_that_is_missing_between_commas_is_refused(given, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["sweep", "phase"], ["compare", "gaussian"], ["train", "iht-net"]):
        with pytest.raises(SystemExit) as end:
            cli.main([*words, "--methods", given])
        err = capsys.readouterr().err
        assert end.value.code == 2
        assert err.startswith("pursuit: --methods is ")
        assert repr(given) in err or "is empty" in err
        assert f"as --methods {'omp,sea' if 'sea' in given else 'omp'}" in err
    assert not [*tmp_path.iterdir()]


def test_several_m_and_levels_are_a_picture_per_level(tmp_path):
    sweep = planted(tmp_path / "sweep.sqlite", RATES, snr=(10.0, math.inf), ms=(20, 30))
    files = picture.draw(tmp_path / "figure.png", sweep)
    assert [file.name for file in files] == ["figure-10dB.png", "figure-no-noise.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    with pytest.raises(ValueError, match=r"a picture shows one level: pass sweep\.at\(snr\)"):
        picture.picture(sweep)
    assert "SNR 10 dB" in picture.picture(sweep.at(10.0)).get_suptitle()
    with pytest.raises(ValueError, match="snr is 3; the run has 10,inf"):
        sweep.at(3)


def test_two_runs_are_compared_at_every_level(tmp_path, capsys):
    a = planted(tmp_path / "a.sqlite", RATES, snr=(10.0, math.inf))
    worse = RATES | {"omp": (1, 0.5, 0.4, 0.1, 0, 0)}
    planted(tmp_path / "b.sqlite", worse, snr=(10.0, math.inf))
    difference = sweeps.diff(a, tmp_path / "b.sqlite")
    assert difference.paired
    assert {(cell["k"], cell["snr"]) for cell in difference.differing_cells} >= {(2, 10.0), (2, math.inf)}
    assert command("diff", tmp_path / "a.sqlite", tmp_path / "b.sqlite") == 1
    assert "omp at m=20, k=2, SNR 10 dB" in capsys.readouterr().out


# -- files that are not to be believed


def edit(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(*statement if isinstance(statement, tuple) else (statement,))


def changed(path, table, **changes):
    with contextlib.closing(sqlite3.connect(path)) as db:
        read = json.loads(db.execute(f"SELECT json FROM {table}").fetchone()[0])
    edit(path, (f"UPDATE {table} SET json = ?", (json.dumps(read | changes),)))


CELLS = [
    "UPDATE cells SET snr = 30 WHERE k = 1",
    "UPDATE cells SET snr = 'loud' WHERE k = 1",
    "UPDATE cells SET block = 7 WHERE k = 1",
    "UPDATE cells SET method = 'other' WHERE k = 1",
    "UPDATE cells SET method = char(27) || '[2J' WHERE k = 1",
    "UPDATE cells SET trials = 50, found = 0, exact = 0 WHERE k = 6",
    "UPDATE times SET seconds = 'long' WHERE k = 1",
    "UPDATE times SET seconds = -1.0 WHERE k = 1",
    "UPDATE times SET seconds = 9e999 WHERE k = 1",
]
JSON = [
    ("plan", {"snr": [None]}), ("plan", {"snr": []}), ("plan", {"snr": ["loud"]}), ("plan", {"snr": [10**400]}),
    ("plan", {"snr": [*range(10**5)], "grid": [1, 10**3]}), ("plan", {"m": [0]}), ("plan", {"m": [[2]]}),
    ("plan", {"rho": 1e300}), ("plan", {"adaptive": -1}), ("plan", {"success": "luck"}),
    ("plan", {"methods": ["../../escaped"]}), ("plan", {"methods": ["\x1b[2J"]}),
    ("settings", {"n": 10**400}), ("settings", {"n": 40.5}), ("settings", {"block": -1}), ("settings", {"eta": "x"}),
    ("settings", {"problem": "other"}), ("settings", {"problem": ["gaussian"]}), ("settings", {"problem": {"B": "x"}}),
    ("settings", {"problem": {"A": 3}}), ("settings", {"problem": {"x": "../escaped"}}),
]  # fmt: skip


def test_files_that_contradict_themselves_are_not_believed(tmp_path, capsys):
    planted(tmp_path / "whole.sqlite", {"omp": RATES["omp"]})
    path = tmp_path / "sweep.sqlite"
    for change in (*CELLS, *JSON):
        shutil.copy(tmp_path / "whole.sqlite", path)
        if isinstance(change, str):
            edit(path, change)
        else:
            changed(path, change[0], **change[1])
        assert command("phase", "--status", "-o", path) == 2, change
        err = outputs(capsys)[1]
        assert "is damaged, or was edited" in err, (change, err)
        assert err.count("\n") == 1
        assert "\x1b" not in err
    shutil.copy(tmp_path / "whole.sqlite", path)
    edit(path, "DELETE FROM times")
    assert command("diff", path, tmp_path / "whole.sqlite") == 2, "cells without a time were dropped in silence"


def test_parts_that_contradict_each_other_are_not_believed(folder):
    sweeps.phase(output="run", part=(0, 2), **SMALL)
    shutil.copy("run/sweep-0-of-2.sqlite", "run/sweep-1-of-2.sqlite")
    assert sweeps.load("run").counts
    with contextlib.closing(sqlite3.connect("run/sweep-1-of-2.sqlite")) as db, db:
        db.execute("UPDATE cells SET found = 5 - found")
    for line in (("phase", "--status", "-o", "run"), ("phase", "-o", "run"), ("draw", "run")):
        assert command(*line) == 2
    with pytest.raises(ValueError, match=r"sweep-1-of-2\.sqlite: has another result of .* than the other files"):
        sweeps.load("run")


def test_reading_a_run_runs_no_code_of_it(folder, capsys):
    sweeps.phase(x="mine:spikes", n=16, m=8, grid=(1, 2), methods=["omp"], trials=5, output="run")
    Path("mine.py").write_text("open('ran', 'w')\n")
    forget("mine")
    for line in (("phase", "--status", "-o", "run"), ("draw", "run"), ("diff", "run", "run")):
        assert command(*line) == 0
    assert not Path("ran").exists()


def test_a_run_of_before_is_read_and_not_continued(tmp_path, monkeypatch):
    shutil.copy(ROOT / "tests" / "data" / "before" / "sweep.sqlite", tmp_path)
    sweep = sweeps.load(tmp_path)
    assert sweep.settings.problem == Problem()
    assert sweep.plan.snr == (math.inf,)
    assert {cell.snr for cell in sweep.cells()} == {math.inf}
    assert not sweeps.diff(sweep, tmp_path).found
    picture.draw(tmp_path / "figure.png", sweep)
    opened = store.Store(tmp_path / "sweep.sqlite")
    with pytest.raises(ValueError, match="is of an earlier version; its results can be read, not continued"):
        opened.begin(sweep.settings, sweep.plan)
    opened.close()
