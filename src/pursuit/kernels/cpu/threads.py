"""A batch in parts, on as many threads as the caller gives to torch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .. import threads

LITTLE, PART = 2**22, 2**27  # multiplications: not worth a thread; some hundredths of a second
SHARES = 6  # parts per thread, since some are done sooner


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
    helpers = [threading.Thread(target=some) for _ in range(count if stop is not None else count - 1)]
    for helper in helpers:
        helper.start()
    if stop is None:
        some()
    try:
        for helper in helpers:
            while helper.is_alive():
                helper.join(0.1)  # not all systems let an interrupt end a wait
    except BaseException as interrupt:
        errors.append(interrupt)
        if stop is not None:
            stop[:] = True
        for helper in helpers:
            helper.join()
    if errors:
        raise errors[0]
