"""What the commands share: errors in one line, and a progress bar where someone is watching."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import typer


@contextlib.contextmanager
def stated_errors() -> Iterator[None]:
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


@contextlib.contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[str], Any] | None]:
    """A progress bar on a terminal; yields a function to call with the name of each part begun, None in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        begun = 0

        def advance(name: str) -> None:
            nonlocal begun
            bar.update(task, description=f"{what} {name}", completed=begun)
            begun += 1

        yield advance
