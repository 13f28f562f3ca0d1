"""Solvers of one's own: made from a step, named on the command line, in sweeps and from Python."""

import importlib.util
import inspect
import itertools
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import pursuit
import reference
from helpers import COMPLEX, REAL, gaussian, instance, normal, outputs, unnormalised
from pursuit import Status, cli, comparison, problems, sweeps
from pursuit.plots import sweeps as picture
from pursuit.solvers.by_name import name_of, solver, spelled
from pursuit.sweeps import cells

ROOT = Path(__file__).parents[1]
GOMP = ROOT / "examples" / "gomp.py"
FIELDS = [pytest.param(REAL, id="real"), pytest.param(COMPLEX, id="complex")]
WRAPPED = '''
import pursuit

def mine(A, y, k, *, max_steps=1000, x0=None):
    """OMP by another name; it takes a start and forgets it."""
    return pursuit.omp(A, y, k)

def short(A, y, k):
    """It takes nothing else."""
    return pursuit.omp(A, y, k)

def own_step_size(A, y, k, *, eta=None, max_steps=None):
    """What an option of this name means is known here alone; max_steps is left where it ends by itself."""
    assert eta is None and max_steps is None
    return pursuit.omp(A, y, k)

def tuple_of_two(A, y, k):
    return pursuit.omp(A, y, k).x, None

def penalised(A, y, lam):
    return pursuit.ista(A, y, lam)

number = 3
'''


def load(path):
    """The module in a file, as `import` has it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


gomp = load(GOMP)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with modules of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    cells.source_digest.cache_clear()
    (tmp_path / "own_omp.py").write_text(WRAPPED)
    (tmp_path / "broken_module.py").write_text("import no_such_package_at_all\n")
    (tmp_path / "wrong_module.py").write_text("def f(:\n")
    (tmp_path / "leaving_module.py").write_text("raise SystemExit(3)\n")
    np.save("A.npy", normal(0, 12, 20).numpy())
    np.save("y.npy", instance(normal(0, 12, 20), 2, batch=(3,)).y.numpy())
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def command(capsys, *arguments):
    """Exit status, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(a) for a in arguments])
    out, err = outputs(capsys)
    return end.value.code or 0, out, err


# ---- made from a step ----------------------------------------------------------------------------------------------


class Plain(NamedTuple):
    x: Any
    r: Any
    atoms: Any


def nothing(A, y, choice):
    """Nothing chosen."""
    n = A.shape[1]
    return Plain(y.new_zeros(*y.shape[:-1], n), y, choice.empty(y, n))


def pursue(A, y, s, *, choice):
    """Matching pursuit."""
    c = A.adjoint(s.r)
    best = choice.best_of(c, torch.ones_like(c.real), 1)
    x = s.x + best.keep(c)
    return Plain(x, A.residual(y, x), s.atoms.union(best, choice.max_k))


mp = pursuit.make_solver(nothing, pursue, name="mp")


def cut(A, y, choice, x0):
    atoms, x = choice.threshold(x0)
    return Plain(x, A.residual(y, x), atoms)


def descend(A, y, s, *, choice):
    """Iterative hard thresholding."""
    atoms, x = choice.threshold(A.gradient_step(s.x, s.r, 0.4))
    return Plain(x, A.residual(y, x), atoms)


iht = pursuit.make_solver(cut, descend, pursuit.stationary)


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("S", [1, 2, 3])
def test_gomp_follows_its_published_box(S, dtype):
    p = instance(gaussian(dtype, m=20, n=40), 7, noise=0.1)
    found = []
    mine = pursuit.make_solver(gomp.init, partial(gomp.step, S=S), name="gomp")
    sol = mine(p.A, p.y, 7, on_step=found.append)
    wanted = list(reference.gomp(p.A.numpy(), p.y.numpy(), 7, S))
    assert sol.steps == len(found) == len(wanted)
    for got, x in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got.x, x, atol=1e-10)
    assert sol.status == Status.SPARSITY
    if S == 1:
        assert_close(sol.x, pursuit.omp(p.A, p.y, 7).x)


@pytest.mark.parametrize("dtype", FIELDS)
def test_matching_pursuit_follows_its_published_box(dtype):
    p = instance(gaussian(dtype, m=20, n=40), 7, noise=0.1)
    found = []
    mp(p.A, p.y, 7, max_steps=9, on_step=found.append)
    for got, x in zip(found, itertools.islice(reference.mp(p.A.numpy(), p.y.numpy()), len(found)), strict=True):
        np.testing.assert_allclose(got.x, x, atol=1e-10)
    assert len(found) >= 7


def test_made_from_its_step_iht_is_the_library_s():
    p = instance(unnormalised(), 3, batch=(2, 2), noise=0.1)
    x0 = normal(3, 2, 2, 48)
    for options in ({}, {"x0": x0, "max_steps": 7}, {"tol": torch.tensor([0.5, 0.1])}, {"k": torch.tensor([[1], [3]])}):
        got, want = (f(p.A, p.y, **({"k": 3} | options)) for f in (iht, partial(pursuit.iht, eta=0.4)))
        for part in ("x", "support", "residual_norm", "steps", "status"):
            assert_close(getattr(got, part), getattr(want, part))


def test_k_weights_and_relaxed_choices_reach_the_step():
    p = instance(unnormalised(), 4, batch=(3,), noise=0.3)
    each = gomp.gomp(p.A, p.y, torch.tensor([1, 4, 5]))
    for i, k in enumerate((1, 4, 5)):
        alone = gomp.gomp(p.A, p.y[i], k)
        assert_close(each.x[i], alone.x)
        assert each.support[i][:k].tolist() == alone.support.tolist()
        assert (each.support[i][k:] == -1).all()
    few = gomp.gomp(p.A, p.y, 8, weights=(torch.arange(48) < 5).to(REAL))
    assert not few.x[:, 5:].any()
    assert (few.status == Status.EXHAUSTED).all()
    soft = gomp.gomp(p.A, p.y, 4, select=pursuit.Relaxed(tau=1e-4))
    assert_close(soft.x, gomp.gomp(p.A, p.y, 4).x, rtol=1e-3, atol=1e-3)


def test_its_signature_and_documentation_are_its_own():
    assert "x0" in inspect.signature(iht).parameters
    assert "x0" not in inspect.signature(mp).parameters
    assert (mp.__name__, iht.__name__, gomp.gomp.__module__) == ("mp", "test_own", "gomp")
    text = inspect.getdoc(iht)
    assert text.startswith("test_own: Iterative hard thresholding.\n\nParameters\n----------\n")
    assert "x0 : array" in text
    assert "x0 : array" not in inspect.getdoc(mp)
    for made in (iht, mp):
        for name in inspect.signature(made).parameters:
            assert f"{name} :" in text or name in ("A", "y")
    with pytest.raises(ValueError, match=r"k was not given; needed is .*; pass k"):
        mp(gaussian(), normal(0, 36))
    with pytest.raises(TypeError, match="mp takes no x0"):
        mp(gaussian(), normal(0, 36), 2, x0=normal(0, 48))


class Lacking(NamedTuple):
    x: Any
    r: Any


@pytest.mark.parametrize(
    ("init", "step", "message"),
    [
        (lambda A, y, choice: Lacking(y, y), pursue, "init returned a Lacking without atoms; needed is a NamedTuple"),
        (nothing, lambda A, y, s, choice: (s.x, s.r, s.atoms), "step returned a tuple without x, r, atoms"),
        (nothing, lambda A, y, s, choice: None, "step returned a NoneType"),
    ],
)
def test_a_state_that_is_none_is_said_to_be_so(init, step, message):
    with pytest.raises(TypeError, match=message):
        pursuit.make_solver(init, step)(gaussian(), normal(0, 36), 2)


@pytest.mark.parametrize("parts", [(3, pursue), (nothing, None), (nothing, pursue, "stationary")])
def test_what_is_no_function_is_refused(parts):
    with pytest.raises(TypeError, match="needed is a function"):
        pursuit.make_solver(*parts)


def test_the_example_is_short():
    assert len(GOMP.read_text().splitlines()) <= 45


@pytest.mark.parametrize("page", ["docs/own-solver.md", "CONTRIBUTING.md"])
def test_the_documentation_shows_the_example_as_it_is(page):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    (block,) = (block for block in blocks if "make_solver(" in block)
    assert block == GOMP.read_text()
    scope = {"__name__": "shown"}
    exec(compile(block, page, "exec"), scope)
    p = instance(gaussian(), 3, noise=0.1)
    assert_close(scope["gomp"](p.A, p.y, 3).x, gomp.gomp(p.A, p.y, 3).x)


def test_what_is_said_to_stay_is_there():
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("outside the package")[2].partition("\n## ")[0]
    owners = {
        "pursuit": pursuit,
        "pursuit.testing": pursuit.testing,
        "pursuit.AtomSelector": pursuit.AtomSelector,
        "pursuit.Atoms": pursuit.Atoms(torch.tensor([1]), 2),
        "pursuit.Operator": pursuit.as_operator(torch.eye(2)),
    }
    for line in re.findall(r"^- (.*?)[;.]$", section, flags=re.MULTILINE | re.DOTALL):
        names = re.findall(r"`([\w.]+)`", line)
        for name in names:
            owner, _, attribute = name.rpartition(".")
            assert hasattr(owners[owner or names[0]], attribute), name


# ---- in the place of a name ----------------------------------------------------------------------------------------


def test_solve_takes_a_function_or_where_it_is(folder):
    sys.path.insert(0, str(folder))
    p = instance(gaussian(), 3, noise=0.1)
    want = pursuit.omp(p.A, p.y, 3).x
    for method in (
        "own_omp:mine",
        "own_omp:short",
        solver("own_omp:short"),
        pursuit.omp,
        lambda A, y, k: pursuit.omp(A, y, k),
    ):
        assert torch.equal(pursuit.solve(p.A, p.y, method=method, k=3).x, want)
    with pytest.raises(TypeError, match=r"method 'short': .*'tol'; it takes k\."):
        pursuit.solve(p.A, p.y, method=solver("own_omp:short"), k=3, tol=0.1)
    with pytest.raises(TypeError, match=r"returned a tuple; needed is a pursuit\.Solution"):
        pursuit.solve(p.A, p.y, method="own_omp:tuple_of_two", k=3)
    with pytest.raises(TypeError, match=r"method is 3; needed is a name, module:function, or a function"):
        pursuit.solve(p.A, p.y, method=3, k=3)


def test_compare_takes_functions_and_calls_them_by_their_names():
    problem = problems.gaussian(m=30, n=60, k=3, signals=5)
    rows = comparison.compare(
        problem, ["omp", gomp.gomp, "gomp:gomp", pursuit.sea_plus, lambda A, y, k: pursuit.sp(A, y, k)]
    )
    assert {row.method for row in rows} == {"omp", "gomp", "gomp:gomp", "sea_plus", "<lambda>"}
    with pytest.raises(TypeError, match=r"method 'solver' cannot be called with A, y and k: .*'lam'"):
        comparison.compare(problem, [named_solver])


def named_solver(A, y, lam):
    return pursuit.ista(A, y, lam)


named_solver.__name__ = "solver"


def test_names_that_other_processes_understand():
    assert [spelled(m) for m in ("sea@x:y", pursuit.sea_plus, gomp.gomp)] == ["sea@x:y", "sea_plus", "gomp:gomp"]
    assert spelled(mp) == f"{__name__}:mp"
    assert name_of(partial(gomp.gomp, tol=0.1)) == "partial"
    for method in (lambda A, y, k: None, partial(gomp.gomp, tol=0.1), "__main__:f"):
        with pytest.raises(ValueError, match="needed is a function that worker processes can import"):
            spelled(method)


def test_compare_and_recover_on_the_command_line(folder, capsys):
    own = ("--methods", "own_omp:mine,omp,own_omp:short")
    code, out, _ = command(capsys, "compare", "--A", "A.npy", "--y", "y.npy", "-k", 2, *own, "-o", "out")
    assert code == 0
    assert "own_omp:mine" in out
    table = (folder / "out" / "table.csv").read_text()
    rows = {line.split(",")[1]: line.split(",")[2:6] for line in table.splitlines()[1:]}
    assert rows["own_omp:mine"] == rows["own_omp:short"] == rows["omp"]
    for method, to in (("own_omp:short", "x.npy"), ("omp", "x2.npy")):
        assert command(capsys, "recover", "A.npy", "y.npy", "-k", 2, "--method", method, "-o", to)[0] == 0
    np.testing.assert_array_equal(np.load("x.npy"), np.load("x2.npy"))


BAD = {
    "no_module_of_this_name:f": "there is no module 'no_module_of_this_name'; needed is module:function",
    "own_omp.inner:f": "there is no module 'own_omp.inner'; needed is module:function",
    "own_omp:nothing": "the module 'own_omp' has no function 'nothing'; needed is module:function",
    "own_omp:number": "the module 'own_omp' has no function 'number'",
    "own_omp:": "the module 'own_omp' has no function ''",
    ":mine": "importing '' ended with ValueError",
    "broken_module:f": "importing 'broken_module' ended with ModuleNotFoundError",
    "wrong_module:f": "importing 'wrong_module' ended with SyntaxError",
    "leaving_module:f": "importing 'leaving_module' ended with SystemExit(3)",
    "own_omp": "or give a solver of your own as module:function",
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_found_is_said_before_any_work(name, folder, capsys):
    before = sorted(folder.iterdir())
    for arguments in (
        ("compare", "--A", "A.npy", "--y", "y.npy", "-k", 2, "--methods", f"omp,{name}", "-o", "out"),
        ("recover", "A.npy", "y.npy", "-k", 2, "--method", name, "-o", "out.npy"),
        ("sweep", "phase", "--methods", f"sea@{name}", "--n", 16, "-o", "out"),
    ):
        code, out, err = command(capsys, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert BAD[name].replace("or give a s", "s").split(" as ")[0].lower() in err.lower()
    assert [path for path in sorted(folder.iterdir()) if path.name != "__pycache__"] == before


def test_what_takes_no_k_is_said_before_any_work(folder, capsys):
    for arguments in (("compare", "gaussian"), ("sweep", "phase")):
        code, out, err = command(capsys, *arguments, "--methods", "omp,own_omp:penalised", "-o", "out")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "method 'own_omp:penalised' cannot be called with A, y and k: missing a required argument: 'lam'" in err
    assert not (folder / "out").exists()


# ---- in sweeps -----------------------------------------------------------------------------------------------------

SWEEP = {"n": 16, "grid": (2, 3), "trials": 10, "max_steps": 40}


def test_a_sweep_of_one_s_own(folder):
    sys.path.insert(0, str(folder))
    mine = solver("own_omp:mine")
    others = ("omp", "sea@own_omp:short", "sea@omp", "own_omp:mine@els", "own_omp:own_step_size")
    sweep = sweeps.phase([mine, *others], output=folder / "run", **SWEEP)
    assert sweep.methods == ("own_omp:mine", *others)
    found = {}
    for cell in sweep.cells():
        found.setdefault(cell.method, []).append(cell[1:-1])
    assert found["own_omp:mine"] == found["omp"] == found["own_omp:mine@els"] == found["own_omp:own_step_size"]
    assert found["sea@own_omp:short"] == found["sea@omp"]
    sweep.to_xarray()
    picture.draw(folder / "picture.png", sweep)
    for wrong, message in (
        ("own_omp:short@omp", "own_omp:short takes no start; choose iht"),
        ("__main__:f", "worker processes can import"),
        (lambda A, y, k: None, "worker processes can import"),
        ("own_omp:absent", "has no function 'absent'"),
    ):
        with pytest.raises(ValueError, match=message):
            sweeps.phase([wrong], output=folder / "other", **SWEEP)
    assert not (folder / "other").exists()


def test_a_run_does_not_go_on_with_other_code(folder):
    sys.path.insert(0, str(folder))
    run = partial(sweeps.phase, output=folder / "run", **SWEEP)
    run(["own_omp:mine"])
    run(["own_omp:mine", "gomp:gomp"])  # another module is added
    assert set(sweeps.load(folder / "run").plan.own) == {"own_omp", "gomp"}
    (folder / "own_omp.py").write_text(WRAPPED + "CHANGED = True\n")
    cells.source_digest.cache_clear()
    with pytest.raises(
        ValueError, match=r"the run there has code of own_omp [0-9a-f]{16}, not [0-9a-f]{16}; its results"
    ):
        run(["own_omp:mine", "omp"])
    with pytest.raises(ValueError, match=r"code of own_omp"):
        run(["own_omp:short"])
    run(["gomp:gomp", "omp"])  # what is not asked for is only kept
    run(["gomp:gomp"])
    assert set(sweeps.load(folder / "run").plan.own) == {"own_omp", "gomp"}


def test_a_package_s_code_is_that_of_all_its_files(folder):
    sys.path.insert(0, str(folder))
    (folder / "pack" / "inner").mkdir(parents=True)
    for name in ("pack/__init__.py", "pack/inner/__init__.py", "pack/inner/solver.py"):
        (folder / name).write_text("")
    digests = []
    for text in ("", "x = 1\n", ""):
        (folder / "pack" / "helper.py").write_text(text)
        cells.source_digest.cache_clear()
        digests.append(cells.source_digest("pack.inner.solver"))
    assert digests[0] == digests[2] != digests[1]
    assert set(cells.own_code(["sea@pack.inner.solver:f", "own_omp:mine@pack:g", "omp"])) == {
        "own_omp", "pack", "pack.inner.solver"
    }  # fmt: skip
    with pytest.raises(ValueError, match="the module 'sys' has no source file here"):
        cells.source_digest("sys")


def test_workers_with_other_code_of_one_s_own_are_refused(folder):
    sys.path.insert(0, str(folder))
    task = cells.Task(6, 1, 0, ("own_omp:mine",))
    settings = cells.Settings(n=12, block=5)
    assert len(cells.solve(settings, task, cells.own_code(task.methods))) == 1
    with pytest.raises(ValueError, match=r"a worker has own_omp [0-9a-f]{16}, the run own_omp other"):
        cells.solve(settings, task, {"own_omp": "other"})


def test_worker_processes_find_it(folder):
    """Started where the module is, as a user does."""
    arguments = ["sweep", "phase", "--n", "12", "--grid", "2x2", "--trials", "5", "-o", "run", "--workers", "1"]
    script = "import sys; sys.path.remove(''); from pursuit.cli import main; main(sys.argv[1:])"
    methods = ["--methods", "own_omp:mine,omp"]
    package = {"PYTHONPATH": str(Path(pursuit.__file__).parents[1])}  # here it may be given relative to another folder
    subprocess.run(
        [sys.executable, "-c", script, *arguments, *methods], check=True, capture_output=True, env=os.environ | package
    )
    cells_of = {}
    for cell in sweeps.load(folder / "run").cells():
        cells_of.setdefault(cell.method, []).append(cell[1:-1])
    assert cells_of["own_omp:mine"] == cells_of["omp"]
