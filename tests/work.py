"""What the tests let worker processes do. It imports little, as each of them imports it."""

import os
import signal
import time
from pathlib import Path


def die_once(task):
    """The square of a number; at the first call for `mortal`, the process is killed."""
    number, mortal, mark = task
    if number == mortal and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def die_always(task):
    """The square of a number; the process is killed for `mortal`."""
    number, mortal = task
    if number == mortal:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def tell_and_wait(text):
    """Say something, and stay."""
    print(text, flush=True)
    time.sleep(600)


def listening(nothing):
    """The ports on which this process listens."""
    import psutil

    return [c.laddr.port for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"]
