"""Lines about long work, on standard error: as the work itself tells how far it is, or beside work that cannot."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST, EVERY = 2.0, 10.0  # seconds: until the first line, and between lines in a file or a pipe


def say(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"pursuit: {text}\n")
    sys.stderr.flush()


@contextmanager
def told(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with how much of `total` is done; nothing is written in the first two seconds.

    A terminal shows one line, which changes and disappears at the end. A pipe, a log file or a notebook gets a new line
    at most every ten seconds.
    """
    start = time.monotonic()
    due, shown = start + FIRST, ""

    def advance(done: int) -> None:
        nonlocal due, shown
        now = time.monotonic()
        if now < due or done >= total:
            return
        left = (now - start) / done * (total - done) if done else 0
        text = f"pursuit: {what} {done} of {total}, about {left:.0f} s left"
        if sys.stderr.isatty():
            sys.stderr.write("\r" + text.ljust(len(shown)))
            due, shown = now + 0.2, text
        else:
            sys.stderr.write(text + "\n")
            due = now + EVERY
        sys.stderr.flush()

    try:
        yield advance
    finally:
        if shown:
            sys.stderr.write("\r" + " " * len(shown) + "\r")
            sys.stderr.flush()


@contextmanager
def lines(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A line every ten seconds, from a thread: what is being done, how much of it is done, and for how long.

    Yields a function to call with a line of text, how much is done, and of how much; the work need not call it.
    """
    now, over, begin = [what], threading.Event(), time.monotonic()

    def show(text: str, done: int, total: int) -> None:
        now[0] = f"{text}: {done} of {total}"

    def tell() -> None:
        while not over.wait(EVERY):
            sys.stderr.write(f"{now[0]}, {time.monotonic() - begin:.0f} s\n")
            sys.stderr.flush()

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield show
    finally:
        over.set()
        teller.join()
