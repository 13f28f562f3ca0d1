"""Shared by the commands: errors in one line, and progress bars on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.progress import Progress


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Bad input ends with one line and status 2, not with a traceback."""
    try:
        yield
    except (ValueError, TypeError) as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; run: pip install 'pursuit[all]'")
    except KeyboardInterrupt:
        typer.echo("pursuit: stopped.", err=True)
        raise typer.Exit(130) from None


def _fail(message: str) -> NoReturn:
    typer.echo(f"pursuit: {' '.join(message.split())}", err=True)
    raise typer.Exit(2)


def find_own(methods: Iterable[str]) -> None:
    """If a method is `module:function`, add the current directory to the path, as `python -m` does."""
    if any(":" in method for method in methods) and not {"", os.getcwd()} & {*sys.path}:
        sys.path.insert(0, os.getcwd())


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[str], Any] | None]:
    """A progress bar on a terminal; yields a function to call with the name of each new part, or None in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn

    with _display(BarColumn(), MofNCompleteColumn()) as bar:
        task = bar.add_task(what, total=total)
        begun = 0

        def advance(name: str) -> None:
            nonlocal begun
            bar.update(task, description=f"{what} {name}", completed=begun)
            begun += 1

        yield advance


@contextlib.contextmanager
def spinner(what: str) -> Iterator[None]:
    """The elapsed time, on a terminal. The solver needs no `on_step` for it, which would slow it down."""
    if not sys.stderr.isatty():
        yield
        return
    with _display() as bar:
        bar.add_task(what, total=None)
        yield


def _display(*columns: Any) -> Progress:
    """A line on standard error that disappears at the end: a spinner, the description, these columns, the time."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = (SpinnerColumn(), TextColumn("{task.description}"), *columns, TimeElapsedColumn())
    return Progress(*shown, console=Console(stderr=True), transient=True)
