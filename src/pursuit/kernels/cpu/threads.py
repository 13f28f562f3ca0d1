"""A batch in parts, on as many threads as the caller gives to torch."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from typing import Any

from .. import threads

LITTLE, PART = 2**22, 2**27  # multiplications: not worth a thread; some hundredths of a second
SHARES = 6  # parts per thread, since some are done sooner

_processor = getattr(ctypes.CDLL(None), "sched_getcpu", None) if sys.platform == "linux" else None


def share(work: Callable[[int, int], None], items: int, cost: int, least: int = 1, stop: Any = None) -> None:
    """Call `work(first, last)` for all parts of the items, which cost so many multiplications each.

    Threads, the caller's among them, take the parts as they come, of `least` items where there are so many. An
    interrupt, and an error, ends it after the parts that are being worked on. If these may take long, the work looks at
    an array `stop` now and then, and returns where it is true: the caller's thread then waits for the others only, so
    that it hears of an interrupt at once.
    """
    number = threads()
    alone = number == 1 or items * cost < LITTLE
    size = max(least, min(PART // max(cost, 1), items if alone else -(-items // (SHARES * number))))
    starts = range(0, items, size)
    parts, errors = iter(starts), list[BaseException]()

    def some() -> None:
        try:
            for first in parts:  # `next` of it is one step of the interpreter: no part is taken twice
                if errors:
                    return
                work(first, min(first + size, items))
        except BaseException as error:
            errors.append(error)

    count = 1 if alone else min(number, len(starts))
    if stop is None:
        count -= 1
    pool, numbers = _pool(number)
    if count > 0:
        _leave_processor_to_caller(numbers)
    helpers = [pool.submit(some) for _ in range(count)]
    if stop is None:
        some()
        helpers = [helper for helper in helpers if not helper.cancel()]  # those that have not begun find nothing to do
    try:
        while wait(helpers, timeout=0.1).not_done:  # not all systems let an interrupt end a wait
            pass
    except BaseException as interrupt:
        errors.append(interrupt)
        if stop is not None:
            stop[:] = True
        wait(helpers)
    if errors:
        raise errors[0]


@cache
def _pool(number: int) -> tuple[ThreadPoolExecutor, list[int]]:
    """Threads that stay, since a new one waits for a processor, and the numbers that the system gave them."""
    numbers = list[int]()
    return ThreadPoolExecutor(number, "pursuit", lambda: numbers.append(threading.get_native_id())), numbers


def _leave_processor_to_caller(numbers: list[int]) -> None:
    """Let threads of ours run on all processors but the caller's, where Linux often wakes them for want of load."""
    if _processor is None:
        return
    allowed = os.sched_getaffinity(0)
    others = allowed - {_processor()}
    with suppress(OSError):  # somebody takes processors away meanwhile
        for number in numbers:
            os.sched_setaffinity(number, others or allowed)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child process has none of the threads
