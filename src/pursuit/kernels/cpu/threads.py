"""A batch in parts, on as many threads as torch has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def share(work: Callable[[int, int], None], items: int, most: int) -> None:
    """Call `work(first, last)` for all parts of the items, of `most` at most; threads take them as they come.

    An interrupt ends it after the parts that are being worked on.
    """
    number = torch.get_num_threads()
    size = max(1, min(most, -(-items // (4 * number))) if number > 1 else most)
    parts = [(first, min(first + size, items)) for first in range(0, items, size)]
    if number == 1 or items <= 1:
        for part in parts:
            work(*part)
        return
    threads = ThreadPoolExecutor(min(number, len(parts)))
    try:
        for future in [threads.submit(work, *part) for part in parts]:
            future.result()
    finally:
        threads.shutdown(cancel_futures=True)
