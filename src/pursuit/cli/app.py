"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import typer
from typer.exceptions import TyperException

from .compare import compare
from .recover import recover
from .reproduce import reproduce
from .sweep import app as sweep
from .train import train

if TYPE_CHECKING:
    pass


app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Sparse recovery: find x with few non-zeros from y = A x + e.",
)


app.command()(compare)
app.command()(recover)
app.command()(train)
app.command()(reproduce)


app.add_typer(sweep, name="sweep")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, by default with the arguments of the process; without arguments it shows the help."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.exit(app(arguments or ["--help"], prog_name="pursuit", standalone_mode=False))
    except TyperException as error:
        typer.echo(f"pursuit: {error.format_message()} See pursuit --help.", err=True)
        sys.exit(2)
