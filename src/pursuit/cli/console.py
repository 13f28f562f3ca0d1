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


def print_table(table: Any) -> None:
    """Print a table of rich: as wide as the terminal, or 120 characters in a pipe."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


@contextlib.contextmanager
def bar(what: str, total: int | None = None) -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar with the time left on a terminal, None in a pipe.

    Yields a function to call with a line of text, how much is done, and of how much. If the latter changes, the measure
    of speed starts anew.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    with _display(BarColumn(), MofNCompleteColumn(), after=(TextColumn("left:"), TimeRemainingColumn())) as shown:
        task, of = shown.add_task(what, total=total), total

        def show(text: str, done: int, total: int) -> None:
            nonlocal task, of
            if total != of:
                shown.remove_task(task)
                task, of = shown.add_task(text, total=total, completed=done), total
            shown.update(task, description=text, completed=done)

        yield show


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[str], Any] | None]:
    """A `bar` of parts: yields a function to call with the name of each new part, or None in a pipe."""
    with bar(what, total) as show:
        if show is None:
            yield None
            return
        begun = 0

        def advance(name: str) -> None:
            nonlocal begun
            show(f"{what} {name}", begun, total)
            begun += 1

        yield advance


@contextlib.contextmanager
def spinner(what: str) -> Iterator[None]:
    """The elapsed time, on a terminal. The solver needs no `on_step` for it, which would slow it down."""
    if not sys.stderr.isatty():
        yield
        return
    with _display() as shown:
        shown.add_task(what, total=None)
        yield


def _display(*columns: Any, after: tuple[Any, ...] = ()) -> Progress:
    """A line on standard error that disappears at the end: a spinner, the description, columns, the time, and more."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = (SpinnerColumn(), TextColumn("{task.description}"), *columns, TimeElapsedColumn(), *after)
    return Progress(*shown, console=Console(stderr=True), transient=True, speed_estimate_period=600)
