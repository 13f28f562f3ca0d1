"""The public names: documented, with examples, and cheap to import."""

import inspect
import re
import subprocess
import sys

import pytest

import pursuit

PUBLIC = [name for name in pursuit.__all__ if not inspect.ismodule(getattr(pursuit, name.replace("+", "_plus")))]


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_says_it_all(name):
    thing = getattr(pursuit, name.replace("+", "_plus"))
    text = inspect.getdoc(thing)
    assert re.search(r"^Examples\n-+\n+>>> ", text, flags=re.MULTILINE), "an example that runs as a doctest"
    described = set(re.findall(r"^(\S.*?) : |^([\w, *]+)$", text, flags=re.MULTILINE))
    named = {part.strip(" *") for pair in described for group in pair for part in group.split(",")}
    if inspect.isfunction(thing) or "__init__" in vars(thing):
        assert set(inspect.signature(thing).parameters) - named == set(), "parameters that are not described"


@pytest.mark.parametrize("name", pursuit.methods())
def test_solvers_say_what_they_raise_and_where_they_come_from(name):
    text = inspect.getdoc(getattr(pursuit, name.replace("+", "_plus")))
    for section in ("Parameters", "Returns", "Raises", "References"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text


@pytest.mark.parametrize("name", pursuit.methods())
def test_solvers_say_what_a_hook_costs(name):
    text = inspect.getdoc(getattr(pursuit, name.replace("+", "_plus")))
    assert "\non_step : callable, optional\n    Run without the compiled kernel, and call this " in text


def test_importing_pursuit_does_not_wait_for_torch():
    check = "import sys, pursuit; assert 'torch' not in sys.modules; pursuit.omp; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
