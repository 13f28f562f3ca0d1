"""`docs/equations.md` tells the truth: every row leads to a function that holds the text it says to search for."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "equations.md"


class Row(NamedTuple):
    """One row of a table: the equation, where it is computed, and a text in that function's source."""

    equation: str
    file: Path
    function: str
    text: str


def rows(section):
    """The rows of one paper's table, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [read(line) for line in lines]


def read(line):
    cells = [cell.strip() for cell in line.strip("|").split(" | ")]
    assert len(cells) == 4, f"not four columns: {line}"
    place = re.fullmatch(r"\[`([^`]+)`\]\((\.\./src/pursuit/[^)]+)\) `([^`]+)`", cells[2])
    text = re.fullmatch(r"`([^`]+)`", cells[3])
    assert place, f"no link and function: {cells[2]}"
    assert text, f"no text to search for: {cells[3]}"
    assert place[2] == f"../src/pursuit/{place[1]}", f"the link is to another file than it says: {cells[2]}"
    return Row(cells[0], (PAGE.parent / place[2]).resolve(), place[3], text[1])


HEAD, *SECTIONS = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
ROWS = [row for section in SECTIONS for row in rows(section)]


def source_of(file, function):
    """The source of a function or class, `Class.method` for one in a class; None where there is none."""
    text = file.read_text()
    node = ast.parse(text)
    for name in function.split("."):
        inside = [child for child in node.body if getattr(child, "name", None) == name]
        if not inside:
            return None
        (node,) = inside
    return ast.get_source_segment(text, node)


def test_there_is_a_table_for_each_paper_and_for_the_kernels():
    assert [re.split(r" \(|\n", section)[0] for section in SECTIONS] == [
        "Deep greedy unfolding",
        "Support Exploration Algorithm",
        "Neurally augmented ALISTA",
        "Compiled kernels",
    ]
    assert all(len(rows(section)) > 15 for section in SECTIONS)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.equation} {row.function}" for row in ROWS])
def test_the_function_holds_the_text(row):
    assert row.file.is_file(), f"{row.file} is not there"
    source = source_of(row.file, row.function)
    assert source is not None, f"{row.file.name} has no {row.function}"
    assert row.text in source, f"{row.function} in {row.file.name} has no {row.text!r}"
    count = row.file.read_text().count(row.text)
    assert count == 1, f"{row.file.name} has {row.text!r} {count} times; needed is once, so that a search leads there"


def test_the_short_list_leads_where_the_tables_lead():
    """Each of the five most wanted is in the tables too, with the same file, function and text."""
    place = r"\[`[^`]+`\]\(\.\./src/pursuit/([^)]+)\), `([^`]+)`"
    listed = re.findall(rf"^\| .+? \| {place} \| `([^`]+)` \|$", HEAD, re.MULTILINE)
    assert len(listed) == 5
    known = {(str(row.file.relative_to(ROOT / "src" / "pursuit")), row.function, row.text) for row in ROWS}
    assert set(listed) <= known


CPU = ROOT / "src" / "pursuit" / "kernels" / "cpu"
SHARED = {"omp": "pursuit_tiles", "ols": "pursuit_tiles", "pursuit_run": "pursuit_tiles"}  # whose equations are there
WORTH = r"(?m)^(def worth|worth =|from .* import worth)"
SOLVERS = [file.stem for file in sorted(CPU.glob("*.py")) if re.search(WORTH, file.read_text())]


@pytest.mark.parametrize("kernel", [*SOLVERS, "softsort", "proximal", "append"])
def test_every_kernel_on_the_cpu_is_listed(kernel):
    assert CPU / f"{SHARED.get(kernel, kernel)}.py" in {row.file for row in ROWS}


def test_the_first_page_leads_here():
    assert "](docs/equations.md)" in (ROOT / "README.md").read_text()
    assert "](docs/equations.md)" in (ROOT / "CONTRIBUTING.md").read_text()


def test_a_text_that_moved_is_noticed(tmp_path):
    """The search is within the function named, not within the file."""
    file = tmp_path / "moved.py"
    file.write_text("def step():\n    return 1\n\n\nclass Net:\n    def forward(self):\n        return 2\n")
    assert "return 1" in source_of(file, "step")
    assert "return 2" not in source_of(file, "step")
    assert "return 2" in source_of(file, "Net.forward")
    assert source_of(file, "forward") is None
