"""Compiled code is kept from one process to the next, and none of it survives a change of the sources."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pursuit.kernels
from pursuit.kernels import jit

FOLDER = Path(pursuit.kernels.__file__).parent
CALLEE = "from ..jit import jit\n\n@jit\ndef number():\n    return {}\n"
CALLER = "from .cpu.callee import number\nfrom .jit import jit\n\n@jit\ndef kernel():\n    return number()\n"
RUN = "from folder.caller import kernel; print(kernel(), len(kernel.stats.cache_hits))"


@pytest.fixture
def folder(tmp_path):
    """A folder of kernels with the `jit` of the true one: a caller, and what it calls in another file."""
    there = tmp_path / "folder"
    (there / "cpu").mkdir(parents=True)
    for package in (there, there / "cpu"):
        (package / "__init__.py").touch()
    shutil.copy(FOLDER / "jit.py", there)
    (there / "caller.py").write_text(CALLER)
    (there / "cpu" / "callee.py").write_text(CALLEE.format(1))
    return there


def run(folder, **environment):
    """What the kernel returns in a new process, and whether it came from the cache."""
    environment = os.environ | {"PYTHONPATH": str(folder.parent)} | environment
    out = subprocess.run([sys.executable, "-c", RUN], env=environment, check=True, capture_output=True, text=True)
    value, hits = map(int, out.stdout.split())
    return value, bool(hits)


def test_a_caller_is_compiled_anew_when_what_it_calls_has_changed(folder, tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert run(folder, **cache) == (1, False)
    assert run(folder, **cache) == (1, True)
    (folder / "cpu" / "callee.py").write_text(CALLEE.format(2))
    assert run(folder, **cache) == (2, False)
    assert run(folder, **cache) == (2, True)


@pytest.mark.parametrize("file", [file.relative_to(FOLDER).as_posix() for file in sorted(FOLDER.rglob("*.py"))])
def test_a_change_of_any_file_is_a_change_of_the_stamp(file, tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "kernels" / "jit.py"))
    before = jit._sources.__wrapped__()  # what is read once in a process, read anew
    assert jit._sources.__wrapped__() == before == jit._sources()
    with (tmp_path / "kernels" / file).open("a") as changed:
        changed.write("\n")
    assert jit._sources.__wrapped__() != before


TELL = """
from {package} import jit
jit.FIRST = {first}
from {package}.cpu.callee import number
from {package}.caller import kernel
number(), kernel()  # two compilations, the second of which would call the first
"""


def told(folder, cache, first):
    """What a new process that runs the kernels writes on standard error; a line is due after so many seconds."""
    environment = os.environ | {"PYTHONPATH": str(folder.parent), "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", TELL.format(package=folder.name, first=first)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stderr


def test_the_first_use_says_once_that_it_compiles(folder, tmp_path):
    line = "pursuit: compiling kernels for this machine, at their first use; kept for later calls\n"
    assert told(folder, tmp_path / "cache", first=0.0) == line
    assert told(folder, tmp_path / "cache", first=0.0) == ""  # from the cache
    assert told(folder, tmp_path / "another", first=60.0) == ""  # that was quick


def test_kernels_run_where_no_cache_can_be_written(folder, tmp_path):
    (tmp_path / "file").touch()
    nowhere = {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "cache")}
    assert run(folder, **nowhere, NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator") == (1, False)


def test_every_kernel_is_compiled_so():
    """But for the vectors, which are a type of their own and no kernels."""
    imports = re.compile(r"^ *(import|from) numba", flags=re.MULTILINE)
    assert {file.name for file in FOLDER.rglob("*.py") if imports.search(file.read_text())} == {"jit.py", "vectors.py"}
