"""The README is true: its example runs, and its table is the committed result."""

import csv
import re
import shlex
from pathlib import Path

import pytest
import typer

from pursuit import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def as_markdown(path):
    """A committed table as the README shows it."""
    heads = ["rank", "method", "NMSE (dB)", "support found", "residual", "non-zeros", "ms/signal", "steps", "status"]
    lines = [
        f"| {' | '.join(heads)} |",
        "|" + "|".join("---" if h in ("method", "status") else "--:" for h in heads) + "|",
    ]
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            cells = [
                row["rank"],
                f"`{row['method']}`",
                f"{float(row['error_db']):.2f}",
                f"{100 * float(row['support_recovered']):.0f} %",
                f"{float(row['residual']):.2e}",
                f"{float(row['nonzeros']):.1f}",
                f"{float(row['ms_per_signal']):.1f}",
                row["steps"],
                row["status"],
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_table_is_the_committed_result():
    path, shown = re.search(r"<!-- table: (\S+) -->\n(.*)\n<!-- end of table -->", README, flags=re.DOTALL).groups()
    assert shown == as_markdown(ROOT / path)


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    exec(compile(example, "README.md", "exec"), {})


def test_linked_files_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


COMMANDS = [
    command
    for text in (README, (ROOT / "docs" / "deep-greedy-unfolding.md").read_text())
    for command in re.findall(r"^pursuit (.*?)(?: +#.*)?$", text, flags=re.MULTILINE)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    """Every argument is known and has a value of its kind; nothing is run."""
    name, *arguments = shlex.split(command)
    group = typer.main.get_command(cli.app)
    context = group.make_context("pursuit", [name, *arguments])
    group.get_command(context, name).make_context(name, arguments, parent=context)
