"""The papers' experiments, one command each: cells of work, finished ones kept, then tables and a picture.

An experiment is a module of `pursuit.figures` with three functions:

- `cells(quick, seed)`: the independent pieces of work, each a dict that JSON can hold;
- `run(cell, folder)`: one piece; it returns tables, `{name: rows}` with rows as dicts. What it needs to go on after an
  interruption it may keep in `folder`;
- `draw(tables, quick)`: a matplotlib figure of all tables.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from .files import environment, output_folder, write_whole

Row = dict[str, Any]
Tables = dict[str, list[Row]]

# Name of the command -> what it shows.
EXPERIMENTS = {
    "dgu-fig1": "sort against softsort",
    "dgu-fig2": "Soft-OMP and Soft-IHT against OMP and IHT over the temperature",
    "dgu-fig3": "OMP-Net and IHT-Net: losses, learned weights, errors",
    "dgu-relaxations": "softsort, NeuralSort and optimal transport: accuracy and cost",
    "dgu-family": "the other greedy algorithms unrolled",
    "dgu-layers": "weights, step sizes and temperatures per layer or shared, learned or not",
    "dgu-generalization": "test signals whose structure differs from the training's",
    "dgu-bounds": "the error against its bound over the temperature",
    "dgu-complex": "gradients through complex matrices",
    "dgu-weighted-lasso": "greedy weighted LASSO, hard and soft",
}


def reproduce(
    name: str,
    folder: str | Path,
    *,
    quick: bool = False,
    seed: int = 0,
    jobs: int = 1,
    started: Callable[[str], Any] | None = None,
) -> Tables:
    """Run an experiment, or what is left of it, and write its tables, settings and picture to `folder`.

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    folder : str or Path
        Finished cells are kept in its subfolder `cells`; a run that was stopped goes on from there.
    quick : bool
        A small form of the experiment, under two minutes on two cores.
    seed : int
    jobs : int
        Processes to work in.
    started : callable, optional
        Called with the name of each cell when its turn comes.

    Returns
    -------
    dict of str to list of dict
        The tables.

    Raises
    ------
    ValueError
        If there is no such experiment.

    Examples
    --------
    >>> import tempfile
    >>> from pursuit.reproduce import reproduce
    >>> sorted(reproduce("dgu-fig1", tempfile.mkdtemp(), quick=True))
    ['rows']
    """
    experiment = module(name)
    folder = output_folder(folder)
    cells = experiment.cells(quick=quick, seed=seed)
    paths = [folder / "cells" / f"{_key(cell)}.json" for cell in cells]
    output_folder(folder / "cells")
    todo = [(cell, path) for cell, path in zip(cells, paths, strict=True) if not path.exists()]
    if jobs == 1:
        for cell, path in todo:
            if started is not None:
                started(_label(cell))
            _work(name, cell, path)
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
            for (cell, _), _ in zip(todo, pool.map(_work_alone, *_columns(name, todo)), strict=True):
                if started is not None:
                    started(_label(cell))
    tables: Tables = {}
    for path in paths:
        for table, rows in json.loads(path.read_text()).items():
            tables.setdefault(table, []).extend(rows)
    for table, rows in tables.items():
        write_csv(folder / f"{table}.csv", rows)
    record = {"experiment": name, "quick": quick, "seed": seed, "cells": cells, **environment()}
    write_whole(folder / "settings.json", lambda file: file.write((json.dumps(record, indent=1) + "\n").encode()))
    figure = experiment.draw(tables, quick=quick)
    write_whole(folder / "figure.png", lambda file: figure.savefig(file, format="png"))
    return tables


def module(name: str) -> Any:
    """The module of an experiment.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment is {name!r}; choose one of {', '.join(EXPERIMENTS)}.")
    return importlib.import_module(f".figures.{name.replace('-', '_')}", __package__)


def published(file: str) -> list[dict[str, str]]:
    """The rows of a paper's published numbers."""
    path = Path(__file__).parent / "figures" / "published" / file
    with path.open(newline="") as text:
        return list(csv.DictReader(text))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Rows as CSV, one column per name that any row has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(path, lambda file: file.write(text.getvalue().encode()))


def _work(name: str, cell: Row, path: Path) -> None:
    tables = module(name).run(cell, path.with_suffix(""))
    write_whole(path, lambda file: file.write(json.dumps(tables).encode()))


def _work_alone(name: str, cell: Row, path: Path) -> None:
    import torch

    torch.set_num_threads(1)  # processes side by side would fight for the cores
    _work(name, cell, path)


def _end_with_parent() -> None:
    """Let no process work on when the command was killed: the next one would find it at work in the same folder."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _columns(name: str, todo: Sequence[tuple[Row, Path]]) -> tuple[list[str], list[Row], list[Path]]:
    return [name] * len(todo), [cell for cell, _ in todo], [path for _, path in todo]


def _key(cell: Row) -> str:
    """A file name that changes with any setting of the cell."""
    digest = hashlib.sha256(json.dumps(cell, sort_keys=True).encode()).hexdigest()[:12]
    return f"{_label(cell).replace(' ', '-').replace('/', '-')}-{digest}"


def _label(cell: Row) -> str:
    return " ".join(str(value) for value in cell.values() if isinstance(value, str | int))[:60]
