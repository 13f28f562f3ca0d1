"""Compute tasks in this process, in several, or on Dask."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from .interrupts import deaf_children
from .progress import say

T = TypeVar("T")
R = TypeVar("R")
Engine = Callable[[Callable[[T], R], Sequence[T]], Iterator[R]]  # results in the order in which they are finished
PATIENCE = 10  # seconds to wait for a scheduler
TRIES = 3  # times that a task may kill its process
AHEAD = 4  # tasks given out for each worker before a result is taken: results that wait to be written take memory


class LostCells(RuntimeError):
    """Some tasks were lost because their workers died several times; all other results are kept."""


@contextlib.contextmanager
def engine(scheduler: str | None = None, workers: int | None = None) -> Iterator[Engine[Any, Any]]:
    """This process; the Dask cluster at `scheduler`; or `workers` processes, which end with the block.

    Raises
    ------
    ValueError
        If both are given, or no scheduler answers.

    Examples
    --------
    >>> with engine() as run:
    ...     list(run(abs, [-1, 2]))
    [1, 2]
    """
    if scheduler is None and workers is None:
        yield in_process
        return
    if scheduler is not None and workers is not None:
        raise ValueError(
            "both a scheduler and a number of workers were given, but a running cluster has its own workers; give one."
        )
    most = max(64, 4 * (os.cpu_count() or 1))
    if workers is not None and not 1 <= workers <= most:
        raise ValueError(
            f"workers is {workers}; needed are 1 to {most} processes, with {os.cpu_count()} processors here."
        )
    if scheduler is None:
        with contextlib.closing(Processes(workers or 1)) as processes:
            yield processes.run
        return
    with _client(scheduler) as client:
        yield lambda work, tasks: on_cluster(client, work, tasks)


def in_process(work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    """One task after the other, in this process."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield from map(work, tasks)
    finally:
        torch.set_num_threads(threads)


class Processes:
    """Processes of this machine, started at the first task and joined by pipes.

    They do not import the script that started them, so that it needs no `if __name__ == "__main__"`. They end when this
    process does, and at `close`. If one of them is killed, all are started again, and do what was not finished.

    Parameters
    ----------
    number : int
        How many.
    """

    def __init__(self, number: int):
        self.number = number
        self._pool: Any = None

    def run(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """The results of the tasks; `work` is a function of a module.

        Raises
        ------
        LostCells
            At the end, if tasks killed their processes `TRIES` times.
        """
        left = dict(enumerate(tasks))
        strikes: dict[int, int] = {}  # of tasks that a process may have died of: they are done alone, after all others
        while any(strikes.get(place, 0) < TRIES for place in left):
            now = [place for place in left if place not in strikes]
            now = now or [next(place for place in left if strikes[place] < TRIES)]
            try:
                for place, result in self._finished(work, {place: left[place] for place in now}):
                    del left[place]
                    yield result
            except _Killed:
                self.close()
                say("a worker process was killed; others go on with its work")
                suspects = [place for place in now if place in left][: self.number]  # tasks begin in their order
                for place in suspects:
                    strikes[place] = strikes.get(place, 0) + (len(now) == 1)
        if left:
            raise LostCells(
                f"{len(left)} of {len(tasks)} tasks were lost because each killed its process {TRIES} times; all "
                "others are kept: check the memory and repeat the command."
            )

    def close(self) -> None:
        """End the processes, whatever they do."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = None

    def _finished(self, work: Callable[[T], R], tasks: Mapping[int, T]) -> Iterator[tuple[int, R]]:
        """Place and result of every task; raises `_Killed` where a process was killed."""
        from concurrent.futures import FIRST_COMPLETED, wait
        from concurrent.futures.process import BrokenProcessPool

        waiting = iter(tasks.items())
        futures: dict[Any, int] = {}
        while True:
            try:
                with deaf_children():
                    for place, task in itertools.islice(waiting, AHEAD * self.number - len(futures)):
                        futures[self._processes().submit(work, task)] = place
                if not futures:
                    return
                finished = [(future, future.result()) for future in wait(futures, return_when=FIRST_COMPLETED).done]
            except BrokenProcessPool:
                raise _Killed from None
            for future, result in finished:
                yield futures.pop(future), result

    def _processes(self) -> Any:
        if self._pool is None:
            from loky import ProcessPoolExecutor

            self._pool = ProcessPoolExecutor(self.number, initializer=end_with_parent, initargs=(os.getpid(),))
        return self._pool


class _Killed(Exception):
    """A process was killed."""


def end_with_parent(parent: int) -> None:
    """End this process when the command is killed; otherwise it might write while the next run reads its folder."""

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def on_cluster(client: Any, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    """The tasks on the workers of a Dask client. If a worker dies, Dask gives its task to another worker.

    Raises
    ------
    LostCells
        At the end, if workers died during a task more often than the scheduler allows.
    """
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    waiting, lost = iter(tasks), 0
    futures = as_completed(loop=client.loop)

    def give() -> None:
        free = AHEAD * max(1, sum(client.nthreads().values())) - futures.count()
        some = list(itertools.islice(waiting, max(0, free)))  # fewer than none, once workers have gone
        # Not pure: with a key made from the task, Dask would return results that the driver of another run still holds.
        futures.update(client.map(work, some, pure=False))

    give()
    for future in futures:
        give()
        if future.status == "cancelled":
            raise LostCells("the scheduler stopped; finished cells are kept: start it again and repeat the command.")
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            lost += 1
        elif error is not None:
            raise error
        else:
            yield future.result()
    if lost:
        raise LostCells(
            f"{lost} of {len(tasks)} tasks were lost because their workers died several times; all others are kept: "
            "check the workers' memory and repeat the command."
        )


@contextlib.contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    from distributed import Client

    try:
        _try_connecting(scheduler)
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"scheduler is {scheduler!r}, but no scheduler answers there ({_first_line(error)}); "
            "start one with: dask scheduler, or leave it out."
        ) from None
    with client:
        client.subscribe_topic("all", _tell_of_death)
        try:
            yield client
        finally:
            client.unsubscribe_topic("all")


def _try_connecting(scheduler: str) -> None:
    """Raise OSError if nothing listens there, or ValueError if it is no address: a client would try for long."""
    import socket

    from distributed.comm.addressing import parse_address, parse_host_port

    kind, place = parse_address(scheduler)
    if kind in ("tcp", "tls"):
        socket.create_connection(parse_host_port(place), timeout=PATIENCE).close()


def _tell_of_death(event: tuple[float, Any]) -> None:
    """One line where the scheduler has lost a worker that was at work."""
    told = event[1] if isinstance(event[1], dict) else {}
    if told.get("action") == "remove-worker" and told.get("processing-tasks") and not told.get("expected"):
        say("a worker process was killed; others go on with its work")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
