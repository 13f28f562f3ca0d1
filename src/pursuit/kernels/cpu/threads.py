"""A batch in parts, on as many threads as the caller gives to torch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .. import threads

LITTLE, PART = 2**21, 2**27  # multiplications: not worth a thread; some hundredths of a second
SHARES = 6  # parts per thread, since some are done sooner


def share(work: Callable[[int, int], None], items: int, cost: int, least: int = 1) -> None:
    """Call `work(first, last)` for all parts of the items, which cost so many multiplications each.

    Threads take the parts as they come, of `least` items where there are so many. An interrupt ends it after the parts
    that are being worked on.
    """
    number = threads()
    alone = number == 1 or items * cost < LITTLE
    size = max(least, min(PART // max(cost, 1), items if alone else -(-items // (SHARES * number))))
    parts = [(first, min(first + size, items)) for first in range(0, items, size)]
    if alone or len(parts) == 1:
        for part in parts:
            work(*part)
        return
    pool = ThreadPoolExecutor(min(number, len(parts)))
    try:
        for future in [pool.submit(work, *part) for part in parts]:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)
