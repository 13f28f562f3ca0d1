"""The public names: documented, with examples, and cheap to import."""

import inspect
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import pursuit

ROOT = Path(__file__).parents[1]

PUBLIC = [name for name in pursuit.__all__ if not inspect.ismodule(getattr(pursuit, name))]


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_says_it_all(name):
    thing = getattr(pursuit, name)
    text = inspect.getdoc(thing)
    assert re.search(r"^Examples\n-+\n+>>> ", text, flags=re.MULTILINE), "an example that runs as a doctest"
    described = set(re.findall(r"^(\S.*?) : |^([\w, *]+)$", text, flags=re.MULTILINE))
    named = {part.strip(" *") for pair in described for group in pair for part in group.split(",")}
    if inspect.isfunction(thing) or "__init__" in vars(thing):
        assert set(inspect.signature(thing).parameters) - named == set(), "parameters that are not described"


@pytest.mark.parametrize("name", ["losses", "straight_through"])
def test_modules_are_there_before_anything_else_is_used(name):
    code = f"import pursuit; print(pursuit.{name}.__name__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout.strip().endswith(name), found.stderr


@pytest.mark.parametrize("name", pursuit.methods())
def test_solvers_say_what_they_raise_and_where_they_come_from(name):
    text = inspect.getdoc(getattr(pursuit, name))
    for section in ("Parameters", "Returns", "Raises", "References"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text


@pytest.mark.parametrize("name", pursuit.methods())
def test_solvers_say_what_a_hook_costs(name):
    text = inspect.getdoc(getattr(pursuit, name))
    assert "\non_step : callable, optional\n    Run without the compiled kernel, and call this " in text


SHARED = ("y", "tol", "loss", "select", "weights", "max_steps", "x0", "eta", "on_step")  # parameters of several solvers


def parameters_of(name):
    """What a solver's docstring says of each parameter: its first line, with the type, and the text below it."""
    text = inspect.getdoc(getattr(pursuit, name))
    section = text.partition("\nParameters\n----------\n")[2].partition("\nReturns\n")[0]
    found = re.findall(r"^(\w+) : (.*)\n((?: {4}.*\n)*)", section + "\n", flags=re.MULTILINE)
    return {parameter: (kind, " ".join(below.split())) for parameter, kind, below in found}


@pytest.mark.parametrize("parameter", ["y", "tol", "loss"])
def test_a_parameter_has_the_same_words_in_all_solvers(parameter):
    said = {parameters_of(name)[parameter] for name in pursuit.methods() if parameter in parameters_of(name)}
    assert len(said) == 1, said


def test_solve_explains_what_solvers_share():
    explained = parameters_of("solve")
    for name in pursuit.methods():
        for parameter in set(SHARED) & parameters_of(name).keys():
            assert len(explained[parameter][1]) >= 50 or parameter == "y", (name, parameter)
    assert set(SHARED) <= explained.keys()


DOCUMENTED = sorted(
    {
        name
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for name in re.findall(r"\bpursuit((?:\.[A-Za-z]\w*)+)", page.read_text())
    }
)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_names_are_reached_by_import_pursuit(name):
    _, first, *others = name.split(".")
    assert first in pursuit.__all__  # that another import has brought it does not count
    thing = getattr(pursuit, first)
    for other in others:
        thing = getattr(thing, other)


def test_modules_with_documented_functions_are_public():
    assert {"config", "datasets", "losses", "operators", "peers", "problems", "relaxations", "shrinkage"} < set(
        pursuit.__all__
    )


def test_the_version_is_that_of_the_package_and_needs_no_torch():
    show = "import sys, pursuit; pursuit.config.kernels = 'off'; print(pursuit.__version__, 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", show], check=True, capture_output=True, text=True)
    assert run.stdout.split() == [version("pursuit"), "False"]


def test_a_switch_has_only_its_positions(monkeypatch):
    monkeypatch.setattr(pursuit.config, "kernels", "Off")
    with pytest.raises(ValueError, match=r"pursuit\.config\.kernels is 'Off'; needed is 'auto' or 'off'\."):
        pursuit.ista(torch.eye(3), torch.ones(3), lam=0.1)


def test_importing_pursuit_does_not_wait_for_torch():
    check = "import sys, pursuit; assert 'torch' not in sys.modules; pursuit.omp; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
