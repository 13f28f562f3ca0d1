"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from .compare import compare
from .console import Command, one_line_errors, show_tracebacks
from .recover import recover
from .reproduce import reproduce
from .sweep import app as sweep
from .train import train

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Sparse recovery: find x with few non-zeros from y = A x + e.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"pursuit {version('pursuit')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Options of all commands."""


app.command(cls=Command)(compare)
app.command(cls=Command)(recover)
app.command(cls=Command)(train)
app.command(cls=Command)(reproduce)


app.add_typer(sweep, name="sweep")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, by default with the arguments of the process; without arguments it shows the help."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" in arguments:  # wherever it stands
        arguments = [argument for argument in arguments if argument != "--debug"]
        show_tracebacks()
    try:
        sys.exit(_run(arguments))
    except TyperException as error:
        said, context = error.format_message().rstrip(". "), getattr(error, "ctx", None)
        typer.echo(f"pursuit: {said}. See {context.command_path if context else 'pursuit'} --help.", err=True)
        sys.exit(2)


def _run(arguments: list[str]) -> int:
    """The exit status."""
    try:
        with one_line_errors():
            return app(arguments or ["--help"], prog_name="pursuit", standalone_mode=False) or 0
    except typer.Exit as end:
        return end.exit_code
