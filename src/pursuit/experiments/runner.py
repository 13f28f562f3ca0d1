"""The papers' experiments, one command each: cells of work, finished ones kept, then tables and a picture.

An experiment is a module of `pursuit.experiments` with three functions:

- `cells(quick, seed)`: the cells, which are independent pieces of work, each a dict that JSON can hold. A parameter
  `full` or `published_protocol` says that the experiment has such a form; if it has no `full`, its default is the
  paper's protocol. Further parameters are settings, whose defaults are the paper's or, if None, depend on the form;
- `run(cell, folder)`: runs one cell and returns its tables, `{name: rows}` with rows as dicts. What it needs to
  continue after an interruption it may store in `folder`;
- `draw(tables, quick)`: a matplotlib figure of all tables.

It may also have `SHARED`, a pattern of folders beside its own in which the same cells may be found finished or begun;
`PARTIAL`, true if it draws tables with only some of the cells; and `sort_key(row)`, the order of a table's rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..core.layout import rows_for_sure
from ..engines import engine
from ..files import environment, output_folder, plain_name, write_csv, write_whole
from ..names import method_name
from .cells import (
    Row,
    Tables,
    _label,
    adopt_begun,
    adopt_finished,
    path_of,
    planned,
    read_tables,
    selected,
)
from .registry import module


def reproduce(
    name: str,
    folder: str | Path,
    *,
    quick: bool = False,
    full: bool = False,
    published_protocol: bool = False,
    settings: str | None = None,
    only: str | None = None,
    seed: int = 0,
    jobs: int = 1,
    started: Callable[[str], Any] | None = None,
) -> Tables:
    """Run an experiment, or what is left of it, and write its tables, settings and picture to `folder`.

    Where the folder has the tables of all these cells, but not the files of the cells (as the results that come with
    the source), only the picture is drawn again.

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    folder : str or Path
        Finished cells are stored in its subfolder `cells`, from which a run that was stopped continues. Experiments
        that share cells also look for them in the folders beside this one.
    quick : bool
        A small form of the experiment, which takes some minutes on two cores.
    full : bool
        The paper's protocol, where that is not the default already.
    published_protocol : bool
        The protocol of the authors' code with its mistakes, which the default corrects.
    settings : str, optional
        Settings of the experiment in place of its own, `"boundary=full,runs=20"`.
    only : str, optional
        Run only some of the cells, `"model=ALISTA,n=1000"`; values of one field are alternatives. Tables and picture
        are of all finished cells.
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
        If there is no such experiment, or it has no such form, settings or cells; or if the folder has tables without
        the files of their cells, which a run would replace by tables of other cells.

    Examples
    --------
    >>> import tempfile
    >>> from pursuit.reproduce import reproduce
    >>> sorted(reproduce("dgu-fig1", tempfile.mkdtemp(), quick=True))
    ['rows']
    """
    experiment = module(name)
    form: dict[str, Any] = {"quick": quick, "full": full, "published_protocol": published_protocol, "seed": seed}
    cells = planned(name, settings=settings, **form)
    chosen = selected(cells, only)
    folder = output_folder(folder)
    if has_tables_only(folder):
        needed = chosen if getattr(experiment, "PARTIAL", False) else cells
        return _drawn_again(name, folder, needed, quick)
    store = output_folder(folder / "cells")
    paths = [path_of(cell, store) for cell in cells]
    for path in paths:
        adopt_finished(path, getattr(experiment, "SHARED", None))
    todo = [(cell, path_of(cell, store)) for cell in chosen if not path_of(cell, store).exists()]
    _work_off(name, todo, jobs, started)
    finished = [(cell, _read(path)) for cell, path in zip(cells, paths, strict=True) if path.exists()]
    tables = _joined([result for _, result in finished], getattr(experiment, "sort_key", None))
    for table, rows in tables.items():
        write_csv(folder / f"{table}.csv", rows)
    record = {
        "experiment": name,
        **form,
        **({} if settings is None else {"settings": settings}),
        "seconds": round(sum(_seconds(result) for _, result in finished), 3),
        "cells": [cell for cell, _ in finished],
        "cells_missing": len(cells) - len(finished),
        **environment(),
    }
    write_whole(folder / "settings.json", lambda file: file.write((json.dumps(record, indent=1) + "\n").encode()))
    if len(finished) == len(cells) or getattr(experiment, "PARTIAL", False):
        _draw(experiment, tables, folder, quick)
    return tables


def has_tables_only(folder: Path) -> bool:
    """Whether a folder has the tables and settings of finished cells, but not the files of these cells."""
    return (folder / "settings.json").exists() and not any(folder.glob("cells/*"))


def _drawn_again(name: str, folder: Path, needed: Sequence[Row], quick: bool) -> Tables:
    """Draw the tables of a folder; its settings must list all the needed cells."""
    record = json.loads((folder / "settings.json").read_text())
    finished = record.get("cells", []) if record.get("experiment") == name else []
    missing = sum(cell not in finished for cell in needed)
    if missing:
        raise ValueError(
            f"{folder} has tables, but not the files of their cells, and {missing} of {len(needed)} cells of {name} "
            "are not in these tables, which a run would replace; choose another folder for the run, or name cells that "
            "its settings.json lists."
        )
    tables = read_tables(folder)
    _draw(module(name), tables, folder, quick)
    return tables


def _draw(experiment: Any, tables: Tables, folder: Path, quick: bool) -> None:
    figure = experiment.draw(tables, quick=quick)
    write_whole(folder / "figure.png", lambda file: figure.savefig(file, format="png"))


def _work_off(name: str, todo: Sequence[tuple[Row, Path]], jobs: int, started: Callable[[str], Any] | None) -> None:
    """Run the cells that are not finished, in this process or in several."""
    if jobs == 1:
        for cell, path in todo:
            if started is not None:
                started(_label(cell))
            _work(name, cell, path)
        return
    with engine(workers=jobs) as run:
        for label in run(partial(_work_alone, name), todo):
            if started is not None:
                started(label)


def _work(name: str, cell: Row, path: Path) -> None:
    experiment = module(name)
    shared = getattr(experiment, "SHARED", None)
    adopt_finished(path, shared)  # another command may have come to it meanwhile
    if path.exists():
        return
    adopt_begun(path, shared)
    begin = time.perf_counter()
    with rows_for_sure():  # solvers need not ask where a cell has as many signals as measurements
        tables = experiment.run(cell, path.with_suffix(""))
    result = {"seconds": time.perf_counter() - begin, "tables": tables}
    write_whole(path, lambda file: file.write(json.dumps(result).encode()))


def _read(path: Path) -> Row:
    """The result of a finished cell; names of tables are names, never paths."""
    try:
        result = json.loads(path.read_text())
        named = all(isinstance(row, dict) for rows in result.get("tables", result).values() for row in rows)
        named = named and all(plain_name(table) for table in result.get("tables", result))
    except (AttributeError, TypeError, ValueError, RecursionError):
        named = False
    if not named:
        raise ValueError(f"{path}: is no file of a finished cell; delete it, and the next run computes the cell anew.")
    checked: Row = result
    return checked


def _joined(results: Sequence[Row], sort_key: Callable[[Row], Any] | None) -> Tables:
    """The tables of all cells."""
    tables: Tables = {}
    for result in results:
        for table, rows in _tables(result).items():
            tables.setdefault(table, []).extend(rows)
    return {table: sorted(rows, key=sort_key) if sort_key else rows for table, rows in tables.items()}


def _tables(result: Row) -> Tables:
    tables: Tables = result.get("tables", result)  # cells once held nothing else
    return {table: [_spelled(row) for row in rows] for table, rows in tables.items()}


def _spelled(row: Row) -> Row:
    """A row with its method as it is spelled now."""
    return row | {"method": method_name(row["method"])} if "method" in row else row


def _seconds(result: Row) -> float:
    """Seconds that a cell took; if it was interrupted, its rows know those of all runs."""
    rows = [row for rows in _tables(result).values() for row in rows]
    return float(max(result.get("seconds", 0), sum(row.get("seconds") or 0 for row in rows)))


def _work_alone(name: str, task: tuple[Row, Path]) -> str:
    """Run a cell in a process of its own; returns its name."""
    import torch

    torch.set_num_threads(1)  # processes side by side would fight for the cores
    _work(name, *task)
    return _label(task[0])
