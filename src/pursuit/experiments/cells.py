"""Cells: the independent pieces of work of an experiment, where they are kept, and tables of rows."""

from __future__ import annotations

import csv
import hashlib
import inspect
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import output_folder, write_whole
from .registry import module

Row = dict[str, Any]


Tables = dict[str, list[Row]]


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
        If there is no experiment of that name, or it has no such form or settings.
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
    """The settings in a text like `"boundary=full,runs=20"`, with the types of their defaults; None stands for int."""
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
        If no cell has such a field or such values.
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
        raise ValueError(f"--only {only}: no cell matches; there are {listed}.")
    return kept


def read_tables(folder: Path) -> Tables:
    """The tables that a run has written to a folder, its CSV files; an empty field is None."""
    tables: Tables = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as text:
            lines = list(csv.DictReader(text))
        columns = {name: _column([line[name] for line in lines]) for name in (lines[0] if lines else ())}
        tables[path.stem] = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return tables


def _column(texts: Sequence[str]) -> list[Any]:
    """A column's values: whole numbers, numbers or truth values if all of them are, else text."""
    booleans = {"True": True, "False": False}
    for kind in (int, float, booleans.__getitem__):
        try:
            return [kind(text) if text else None for text in texts]
        except (ValueError, KeyError):
            continue
    return [text or None for text in texts]


def path_of(cell: Row, store: Path) -> Path:
    """The file of a finished cell; until then its files are in the folder of that name without its ending."""
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
    """Copy the files of a cell that an experiment beside this one has begun, and may still need."""
    begun = path.with_suffix("")
    if begun.exists():
        return
    for other in _others(path, shared):
        there = other.with_suffix("")
        files = [file for file in sorted(there.rglob("[!.]*")) if file.is_file()]
        for file in files:
            target = begun / file.relative_to(there)
            _copy(file, output_folder(target.parent) / target.name)
        if files:
            return


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


def _key(cell: Row) -> str:
    """A file name that changes with any setting of the cell."""
    digest = hashlib.sha256(json.dumps(cell, sort_keys=True).encode()).hexdigest()[:12]
    return f"{_label(cell).replace(' ', '-').replace('/', '-')}-{digest}"


def _label(cell: Row) -> str:
    return " ".join(str(value) for value in cell.values() if isinstance(value, str | int))[:60]
