"""Shared by the commands: errors in one line, and progress."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from ..interrupts import end
from ..progress import lines

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress


LARGEST = 2**63 - 1  # that arrays and seeds hold

_debug = False
_options: dict[str, str] = {}  # of the command that runs: how its options are written, by their names in Python


def show_tracebacks() -> None:
    """Let errors show where they come from: `--debug`."""
    global _debug
    _debug = True


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Every error ends with one line and status 2, not with a traceback; with `--debug` that goes before."""
    try:
        yield
    except (typer.Exit, TyperException):
        raise
    except KeyboardInterrupt as stop:
        raise typer.Exit(end(stop)) from None
    except BrokenPipeError:  # whoever read the output has gone
        _discard_output()
        raise typer.Exit(141) from None
    except SystemExit as stop:
        _fail(f"the process was to end ({stop!r}) before there was a result; needed is a solver that returns one.")
    except Exception as error:
        if _debug:
            import traceback

            traceback.print_exc()
        _fail(in_options(in_one_line(error)))


def in_one_line(error: Exception) -> str:
    """What went wrong and what to do about it."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed; run: pip install 'pursuit[all]'"
    if _of_memory(error):
        from ..files.checks import needed_memory

        return f"{needed_memory(error)}; give fewer signals at once, as y.npy[:1000], or use a larger machine."
    if isinstance(error, OSError):
        at = f"{error.filename}: " if error.filename else ""
        return f"{at}{error.strerror or error}; check the path, the rights and the space on the disk."
    if type(error).__module__ == "sqlite3":
        return (
            f"the file with the results cannot be used ({error}); is the disk full, does another command write to it, "
            "or is it damaged?"
        )
    if isinstance(error, ValueError | TypeError | RuntimeError) and str(error) and not _deep(error):
        return str(error)
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if (place := _own_place(error)) is not None:
        return f"{told} ({place}). This was raised by code of your own; --debug shows how it was called."
    return f"{told}. This is a mistake in pursuit: please report it {_reports()} with what --debug shows."


def in_options(text: str) -> str:
    """A message of the library in the words of the command that runs: `--max-steps` for `max_steps`."""
    if re.match(r"[^;]*[./][^;]*: ", text):  # it is about a file, whose arrays may have any names
        return text
    for name, option in _options.items():
        places = rf"^{name}(?= (?:is|was|were|are|has|have)\b)"  # where it may be no other word
        if "_" in name or name in ("eps", "lam", "tol", "x0"):
            places = rf"(?<![\w/.-])(?<![<=] )(?<!argument: )(?<!argument: ')'?\b{name}\b'?(?! ?[<=>*]|\.\w|\()"
        elif name == "k":
            places += r"|'k'|(?<=pass )k\b|(?<=neither )k\b|(?<= and )k(?=;)"
        text = re.sub(places, option, text)
    return text


def _of_memory(error: Exception) -> bool:
    from ..files.checks import lacks_memory

    return lacks_memory(error) or "can't start new thread" in str(error)  # there was no room for its stack


def _reports() -> str:
    """Where reports go: the address `Issues` under `[project.urls]`, where there is one."""
    from importlib.metadata import metadata

    for entry in metadata("pursuit").get_all("Project-URL") or ():
        name, _, address = entry.partition(", ")
        if name == "Issues":
            return f"at {address}"
    return "to its authors"


def _deep(error: Exception) -> bool:
    """Whether another library raised it, so that its message says nothing of what the user gave."""
    frames = _frames(error)
    module = str(frames[-1][0].f_globals.get("__name__", "")) if frames else ""
    return isinstance(error, RuntimeError) and not module.startswith("pursuit")


def _own_place(error: Exception) -> str | None:
    """Where in a user's solver, operator or signals it was raised, if it was raised there."""
    from ..solvers.by_name import OWN

    frames = _frames(error)
    if not frames or frames[-1][0].f_globals.get("__name__") not in OWN:
        return None
    frame, line = frames[-1]
    return f"{os.path.basename(frame.f_code.co_filename)}, line {line}, in {frame.f_code.co_name}"


def _frames(error: Exception) -> list[tuple[Any, int]]:
    """The frames that an error came through and their lines, the place where it was raised last."""
    import traceback

    return list(traceback.walk_tb(error.__traceback__))


def _discard_output() -> None:
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> NoReturn:
    typer.echo(f"pursuit: {' '.join(message.split())}", err=True)
    raise typer.Exit(2)


@contextlib.contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Write the library's warnings as notes, without the line of code they come from."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: typer.echo(f"note: {message}", err=True)
        yield


def listed(option: str, given: str) -> tuple[str, ...]:
    """The names in the value of an option, which commas separate."""
    names = tuple(name.strip() for name in given.split(","))
    if not all(names):
        what = "empty" if not any(names) else f"{given!r}, with an empty name between, before or after commas"
        example = ",".join(filter(None, names)) or "omp,sp"
        raise ValueError(f"{option} is {what}; needed are names with one comma between two, as {option} {example}.")
    return names


class Command(TyperCommand):
    """A command whose errors name options, and that refuses whole numbers of more than 64 bits."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; a number that is too large is named with its option."""
        parameters: list[Any] = list(self.params)
        _options.clear()
        _options.update({p.name: max(p.opts, key=len) for p in parameters if p.param_type_name == "option"})
        rest: list[str] = super().parse_args(ctx, args)
        for parameter in parameters:
            value = ctx.params.get(parameter.name)
            if isinstance(value, int) and abs(value) > LARGEST:
                needed = f"needed is a whole number from -{LARGEST} to {LARGEST}"
                raise typer.BadParameter(f"{value} is out of range; {needed}", ctx=ctx, param=parameter)
        return rest


def find_own(methods: Iterable[str]) -> None:
    """If a method is `module:function`, add the current directory to the path, as `python -m` does."""
    if any(":" in method for method in methods) and not {"", os.getcwd()} & {*sys.path}:
        sys.path.insert(0, os.getcwd())


def print_table(table: Any) -> None:
    """Print a table of rich: as wide as the terminal, or 120 characters in a pipe."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def new_folder(output: Path) -> str:
    """What to say of a file, before it is written: that its folder is made, if there is none."""
    return "" if output.parent.exists() else f"; made the folder {output.parent}"


@contextlib.contextmanager
def bar(what: str, total: int | None = None) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar with the time left on a terminal; in a pipe or a log file a line now and then.

    Yields a function to call with a line of text, how much is done, and of how much. If the latter changes, the measure
    of speed starts anew.
    """
    if not sys.stderr.isatty():
        with lines(what) as show:
            yield show
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
def progress(what: str, total: int) -> Iterator[Callable[[str], Any]]:
    """A `bar` of parts: yields a function to call with the name of each new part."""
    with bar(what, total) as show:
        begun = 0

        def advance(name: str) -> None:
            nonlocal begun
            show(f"{what} {name}", begun, total)
            begun += 1

        yield advance


@contextlib.contextmanager
def spinner(what: str) -> Iterator[None]:
    """The elapsed time. The solver needs no `on_step` for it, which would slow it down."""
    if not sys.stderr.isatty():
        with lines(what):
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
