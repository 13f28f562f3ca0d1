"""The papers' experiments, one command each: cells of work, finished ones kept, then tables and a picture.

An experiment is a module of `pursuit.figures` with three functions:

- `cells(quick, seed)`: the independent pieces of work, each a dict that JSON can hold. With a parameter `full`, or
  `published_protocol`, the experiment has such a form; without, its default is the paper's protocol. Further parameters
  are settings, whose defaults are the paper's or, if None, depend on the form;
- `run(cell, folder)`: one piece; it returns tables, `{name: rows}` with rows as dicts. What it needs to go on after an
  interruption it may keep in `folder`;
- `draw(tables, quick)`: a matplotlib figure of all tables.

It may also have `SHARED`, a pattern of folders beside its own in which the same cells may be found finished or begun;
`PARTIAL`, true if it draws tables with only some of the cells; and `sort_key(row)`, the order of a table's rows.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import inspect
import io
import json
import os
import shutil
import threading
import time
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
    "na-fig1": "NA-ALISTA: what the LSTM is told, against the true error",
    "na-fig2": "NA-ALISTA and its competitors over the layers, N = 2000",
    "na-fig3": "NA-ALISTA and its competitors over the number of unknowns",
    "na-fig4": "NA-ALISTA over the size of its LSTM",
    "na-fig5": "NA-ALISTA: thresholds over step sizes against the true error",
    "na-fig6": "NA-ALISTA and its competitors over the layers, for N and SNR",
    "na-oracle": "beyond the paper: how near to the oracle, at what cost",
    "na-communication": "NA-ALISTA and its competitors on OFDM channel estimation",
    "sea-fig1": "SEA and its competitors on one deconvolution: every solution",
    "sea-fig2": "SEA and its competitors on deconvolution: support distance over the number of spikes",
    "sea-net": "SEA-Net, trained straight through, beside IHT-Net and OMP-Net",
    "sea-fig3": "SEA and its competitors on Gaussian matrices: phase transitions",
}


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

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    folder : str or Path
        Finished cells are kept in its subfolder `cells`; a run that was stopped goes on from there. Experiments that
        share cells look for them in the folders beside this one, too.
    quick : bool
        A small form of the experiment, some minutes on two cores.
    full : bool
        The paper's protocol, where that is not the default already.
    published_protocol : bool
        What the authors' code does, with what the default mends.
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
        If there is no such experiment, or it has no such form, settings or cells.

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
    store = output_folder(folder / "cells")
    paths = [path_of(cell, store) for cell in cells]
    for path in paths:
        adopt_finished(path, getattr(experiment, "SHARED", None))
    todo = [(cell, path_of(cell, store)) for cell in chosen if not path_of(cell, store).exists()]
    _work_off(name, todo, jobs, started)
    finished = [(cell, json.loads(path.read_text())) for cell, path in zip(cells, paths, strict=True) if path.exists()]
    tables = _joined([result for _, result in finished], getattr(experiment, "sort_key", None))
    for table, rows in tables.items():
        write_csv(folder / f"{table}.csv", rows)
    record = {
        "experiment": name,
        **form,
        **({} if settings is None else {"settings": settings}),
        "seconds": round(sum(_seconds(result) for _, result in finished), 1),
        "cells": [cell for cell, _ in finished],
        "cells_missing": len(cells) - len(finished),
        **environment(),
    }
    write_whole(folder / "settings.json", lambda file: file.write((json.dumps(record, indent=1) + "\n").encode()))
    if len(finished) == len(cells) or getattr(experiment, "PARTIAL", False):
        figure = experiment.draw(tables, quick=quick)
        write_whole(folder / "figure.png", lambda file: figure.savefig(file, format="png"))
    return tables


def planned(
    name: str,
    *,
    quick: bool = False,
    full: bool = False,
    published_protocol: bool = False,
    settings: str | None = None,
    seed: int = 0,
) -> list[Row]:
    """The cells of an experiment.

    Raises
    ------
    ValueError
        If there is none of that name, or it has no such form or settings.
    """
    if quick and full:
        raise ValueError("both quick and full were asked for; choose one of them.")
    cells = module(name).cells
    known = inspect.signature(cells).parameters
    if published_protocol and "published_protocol" not in known:
        raise ValueError(f"{name} has no published protocol apart from what it does; leave --published-protocol out.")
    forms = {"full": full, "published_protocol": published_protocol}
    chosen = {form: value for form, value in forms.items() if form in known}
    own = {key: known[key].default for key in known if key not in ("quick", "seed", *forms)}
    result: list[Row] = cells(quick=quick, seed=seed, **chosen, **_settings(name, settings, own))
    return result


def _settings(name: str, settings: str | None, own: Row) -> Row:
    """What `"boundary=full,runs=20"` says, each value of its default's type; where that is None, a whole number."""
    if settings is None:
        return {}
    if not own:
        raise ValueError(f"{name} has no settings; leave --set out.")
    chosen = {}
    for condition in settings.split(","):
        key, equals, value = condition.partition("=")
        if not equals or key not in own:
            raise ValueError(f"--set has {condition!r}; needed is NAME=VALUE with a name of {', '.join(own)}.")
        kind = int if own[key] is None else type(own[key])
        try:
            chosen[key] = kind(value)
        except ValueError:
            needed = "a whole number" if kind is int else "a number"
            raise ValueError(f"--set {key} is {value!r}; needed is {needed}.") from None
    return chosen


def selected(cells: Sequence[Row], only: str | None) -> list[Row]:
    """The cells whose fields have one of the wanted values; a list has all its entries as values.

    Raises
    ------
    ValueError
        If no cell has such a field, or none these values.
    """
    if only is None:
        return list(cells)
    wanted: dict[str, set[str]] = {}
    fields = list(dict.fromkeys(field for cell in cells for field in cell))
    for condition in only.split(","):
        field, equals, value = condition.partition("=")
        if not equals or field not in fields:
            raise ValueError(f"--only has {condition!r}; needed is FIELD=VALUE with a field of {', '.join(fields)}.")
        wanted.setdefault(field, set()).add(value)
    kept = [cell for cell in cells if all(_values(cell.get(field)) & values for field, values in wanted.items())]
    if not kept:
        there = {field: sorted(set().union(*(_values(cell.get(field)) for cell in cells))) for field in wanted}
        listed = "; ".join(f"{field}: {', '.join(values)}" for field, values in there.items())
        raise ValueError(f"--only {only}: no cell is so; there are {listed}.")
    return kept


def path_of(cell: Row, store: Path) -> Path:
    """The file of a finished cell; what it keeps until then is in the folder of that name without ending."""
    return store / f"{_key(cell)}.json"


def adopt_finished(path: Path, shared: str | None) -> None:
    """Copy a cell that an experiment in a folder beside this one has finished."""
    if path.exists():
        return
    for other in _others(path, shared):
        if other.exists():
            _copy(other, path)
            return


def adopt_begun(path: Path, shared: str | None) -> None:
    """Copy what an experiment beside this one keeps of a cell: it may be at work on it, so its files are left to it."""
    begun = path.with_suffix("")
    if begun.exists():
        return
    for other in _others(path, shared):
        files = sorted(other.with_suffix("").glob("[!.]*"))
        for file in files:
            _copy(file, output_folder(begun) / file.name)
        if files:
            return


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


def _work_off(name: str, todo: Sequence[tuple[Row, Path]], jobs: int, started: Callable[[str], Any] | None) -> None:
    """All cells that are not finished, in this process or in some."""
    if jobs == 1:
        for cell, path in todo:
            if started is not None:
                started(_label(cell))
            _work(name, cell, path)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        for (cell, _), _ in zip(todo, pool.map(_work_alone, *_columns(name, todo)), strict=True):
            if started is not None:
                started(_label(cell))


def _work(name: str, cell: Row, path: Path) -> None:
    experiment = module(name)
    shared = getattr(experiment, "SHARED", None)
    adopt_finished(path, shared)  # another command may have come to it meanwhile
    if path.exists():
        return
    adopt_begun(path, shared)
    begin = time.perf_counter()
    tables = experiment.run(cell, path.with_suffix(""))
    result = {"seconds": time.perf_counter() - begin, "tables": tables}
    write_whole(path, lambda file: file.write(json.dumps(result).encode()))


def _joined(results: Sequence[Row], sort_key: Callable[[Row], Any] | None) -> Tables:
    """The tables of all cells."""
    tables: Tables = {}
    for result in results:
        for table, rows in _tables(result).items():
            tables.setdefault(table, []).extend(rows)
    return {table: sorted(rows, key=sort_key) if sort_key else rows for table, rows in tables.items()}


def _tables(result: Row) -> Tables:
    tables: Tables = result.get("tables", result)  # cells once held nothing else
    return tables


def _seconds(result: Row) -> float:
    """What a cell took; its rows also count what was before an interruption."""
    rows = [row for rows in _tables(result).values() for row in rows]
    return float(max(result.get("seconds", 0), sum(row.get("seconds") or 0 for row in rows)))


def _others(path: Path, shared: str | None) -> list[Path]:
    """The same cell in the folders beside this experiment's."""
    if shared is None:
        return []
    stores = path.parent.parent.parent.glob(f"{shared}/{path.parent.name}")
    return [store / path.name for store in sorted(stores) if store != path.parent]


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        write_whole(target, lambda out: shutil.copyfileobj(file, out))


def _values(value: Any) -> set[str]:
    return {str(entry) for entry in (value if isinstance(value, list) else [value])}


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
