"""Compute tasks in this process or on Dask."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Engine = Callable[[Callable[[T], R], Sequence[T]], Iterator[R]]  # results in the order in which they are finished
PATIENCE = 10  # seconds to wait for a scheduler


class LostCells(RuntimeError):
    """Some tasks were lost because their workers died several times; all other results are kept."""


@contextlib.contextmanager
def engine(scheduler: str | None = None, workers: int | None = None) -> Iterator[Engine[Any, Any]]:
    """This process; the cluster at `scheduler`; or a cluster of `workers` processes for the duration of the block.

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
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; needed is at least 1.")
    with _client(scheduler) if scheduler is not None else _local(workers or 1) as client:
        yield lambda work, tasks: on_cluster(client, work, tasks)


def in_process(work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    """One task after the other, in this process."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield from map(work, tasks)
    finally:
        torch.set_num_threads(threads)


def on_cluster(client: Any, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    """The tasks on the workers of a Dask client. If a worker dies, Dask gives its task to another worker.

    Raises
    ------
    LostCells
        At the end, if workers died during a task more often than the scheduler allows.
    """
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    lost = 0
    # Not pure: with a key made from the task, Dask would return results that the driver of another run still holds.
    for future in as_completed(client.map(work, tasks, pure=False), loop=client.loop):
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
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"scheduler is {scheduler!r}, but no scheduler answers there ({_first_line(error)}); "
            "start one with: dask scheduler, or leave it out."
        ) from None
    with client:
        yield client


@contextlib.contextmanager
def _local(workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
