"""Ctrl-C and SIGTERM: what is kept when a command is stopped. It imports little, so that a start can be stopped."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pathlib import Path


class Stopped(KeyboardInterrupt):
    """A stop by Ctrl-C or SIGTERM.

    Attributes
    ----------
    number : int
        Of the signal.
    kept : str
        What is kept and where, `"finished cells are in runs/phase"`; empty if the command begins again.
    """

    def __init__(self, number: int, kept: str = ""):
        super().__init__(number, kept)
        self.number, self.kept = number, kept


def line(stop: KeyboardInterrupt) -> str:
    """What the user is told.

    Examples
    --------
    >>> line(Stopped(signal.SIGTERM, "finished cells are in runs/phase"))
    'stopped; finished cells are in runs/phase: repeat the command to go on.'
    >>> line(KeyboardInterrupt())
    'stopped; repeat the command to begin again.'
    """
    kept = stop.kept if isinstance(stop, Stopped) else ""
    return f"stopped; {kept}: repeat the command to go on." if kept else "stopped; repeat the command to begin again."


def end(stop: KeyboardInterrupt) -> int:
    """Say that a command was stopped; returns its exit status, 130 after Ctrl-C and 143 after SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends the process, whatever it waits for
    sys.stderr.write(f"pursuit: {line(stop)}\n")
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


@contextmanager
def kept(what: str, path: Path) -> Iterator[None]:
    """If the command is stopped within, it says that `path` has `what`, where there is such a file or folder."""
    try:
        yield
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        raise Stopped(number, f"{what} in {path}" if path.exists() else "") from None


def stop_at_sigterm() -> None:
    """Let SIGTERM stop this process as Ctrl-C does."""

    def stop(number: int, frame: Any) -> NoReturn:
        raise Stopped(number)

    signal.signal(signal.SIGTERM, stop)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes started within do not hear Ctrl-C, which a terminal sends to all processes of a command, or SIGTERM.

    They inherit the mask of the thread that starts them, from their first instant on.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
