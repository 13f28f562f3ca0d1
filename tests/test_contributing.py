"""CONTRIBUTING.md is true: its examples run in the files that it names, and its list of files is the package's."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pursuit"
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = {
    file: (block, check)
    for file, block, check in re.findall(
        r"<!-- file: (\S+) -->\n```python\n(.*?)```\n.*?<!-- check -->\n```python\n(.*?)```", PAGE, flags=re.DOTALL
    )
}
KERNELS = sorted(
    file.relative_to(PACKAGE).as_posix()
    for file in (PACKAGE / "kernels").glob("c*/*.py")
    if (PACKAGE / "solvers" / file.name).exists() and file.name != "__init__.py"
)


def test_there_is_an_example_of_each_kind():
    assert [Path(file).parent.as_posix() for file in EXAMPLES] == [
        "src/pursuit/solvers", "src/pursuit/kernels/cpu", "src/pursuit/operators", "src/pursuit/nets",
    ]  # fmt: skip
    assert PAGE.count("<!-- file:") == PAGE.count("<!-- check -->") == len(EXAMPLES)


def test_the_examples_run_where_they_belong(tmp_path):
    """In a copy of the package with these files more, and no other change; compiled kernels come along."""
    shutil.copytree(PACKAGE, tmp_path / "src" / "pursuit")
    code = f"import pursuit; assert pursuit.__file__.startswith({str(tmp_path)!r}), pursuit.__file__\n"
    for file, (block, check) in EXAMPLES.items():
        new = tmp_path / file
        assert not new.exists(), f"{file} is there already; show another example"
        new.write_text(block)
        code += f"exec(compile({check!r}, {'the check of ' + file!r}, 'exec'), {{}})\n"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_files_it_lists_are_there():
    tree = re.search(r"^```\nsrc/pursuit/\n(.*?)```", PAGE, flags=re.DOTALL | re.MULTILINE)[1]
    listed, folder = set(), PACKAGE
    for line in tree.splitlines():
        if not line.startswith("   "):  # of the package itself: a folder, or one or more files
            entries = re.match(r"  ([^\s,]+(?:, [^\s,]+)*)", line)[1].split(", ")
            assert all((PACKAGE / entry).exists() for entry in entries), line
            listed.update(entry.rstrip("/") for entry in entries)
            folder = PACKAGE / entries[0] if entries[0].endswith("/") else PACKAGE
            line = line[2 + len(", ".join(entries)) :]
        for name in re.findall(r"\w+\.py\b|\w+/", line):
            assert (folder / name).exists(), f"{folder.name}/{name} is not there: {line}"
    there = {each.name for each in PACKAGE.iterdir() if (each / "__init__.py").exists() or each.suffix == ".py"}
    small = {"__init__.py", "__main__.py", "reproduce.py"}  # that hold nothing of their own
    assert there - small <= listed, f"not listed: {there - small - listed}"


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_step_names_the_kernels_that_take_its_place(kernel):
    tree = ast.parse((PACKAGE / "solvers" / Path(kernel).name).read_text())
    (step,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "step")
    said = ast.get_docstring(step)
    assert f"`{kernel}`" in said
    assert 'pursuit.config.kernels = "off"' in said
    assert "`on_step`" in said


def test_kernels_are_found():
    assert {Path(kernel).stem for kernel in KERNELS} >= {"sea", "els", "iht", "htp", "omp", "ols"}
