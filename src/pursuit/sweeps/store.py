"""One SQLite file per run: settings, plan and finished cells, written in transactions.

It holds numbers, text and bytes only, so reading it cannot run code. It uses SQLite's rollback journal, no write-ahead
log: a run is one file, also on network file systems, and a killed process loses only what it had not committed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import whole_number
from ..names import method_name
from .cells import Cell, Settings
from .plan import Key, Plan, check_size

FILE = "sweep.sqlite"


APPLICATION, FORMAT = 0x70757273, 1  # "purs"; raise the second when tables change


SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE settings (json TEXT NOT NULL);
CREATE TABLE plan (json TEXT NOT NULL);
CREATE TABLE cells (
    method TEXT NOT NULL, m INTEGER NOT NULL, k INTEGER NOT NULL, block INTEGER NOT NULL,
    trials INTEGER NOT NULL, found INTEGER NOT NULL, exact INTEGER NOT NULL,
    hits BLOB NOT NULL, exactly BLOB NOT NULL,
    PRIMARY KEY (method, m, k, block)
) WITHOUT ROWID;
-- Apart from the results, because they are never the same twice.
CREATE TABLE times (
    method TEXT NOT NULL, m INTEGER NOT NULL, k INTEGER NOT NULL, block INTEGER NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (method, m, k, block)
) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
"""


OLD = "ON CONFLICT (method, m, k, block) DO NOTHING"


class Store:
    """The open SQLite file of a run.

    Parameters
    ----------
    path : Path or str
        Path of the file; `":memory:"` for no file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
        try:
            found = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            mark = tuple(
                self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise ValueError(f"{path}: is no file of a sweep ({error}); choose another output folder.") from None
        self.new = not found
        if found and mark != (APPLICATION, FORMAT):
            self._db.close()
            raise ValueError(
                f"{path}: is no file of a sweep, or one of another version of pursuit; choose another output folder."
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def begin(self, settings: Settings, plan: Plan) -> Plan:
        """Write settings and plan to a new file, or extend the plan of an existing one. Returns the new plan.

        Raises
        ------
        ValueError
            If the file's cells were computed with other settings, or on another grid.
        """
        if self.new:
            self._db.executescript(
                SCHEMA
                + f"INSERT INTO settings VALUES ({_quoted(settings)}); INSERT INTO plan VALUES ({_quoted(plan)});"
                "COMMIT;"
            )
            self.new = False
            return plan
        self._refuse(asdict(self.settings()), asdict(settings))
        old = self.plan()
        both = old.own.keys() & plan.own
        fixed = [
            {"grid": one.grid, "rho": one.rho, **{f"code of {name}": one.own[name] for name in both}}
            for one in (old, plan)
        ]
        self._refuse(*fixed)
        joined = replace(
            plan,
            methods=tuple(dict.fromkeys((*old.methods, *plan.methods))),
            trials=max(old.trials, plan.trials),
            own=old.own | plan.own,
        )
        if joined != old:
            self._db.execute("UPDATE plan SET json = ?", (_json(joined),))
        return joined

    def settings(self) -> Settings:
        """The settings of the cells."""
        with self._checked():
            return Settings(**self._one("settings"))

    def plan(self) -> Plan:
        """The plan of the run."""
        block = self.settings().block
        with self._checked():
            read = self._one("plan")
            methods = tuple(map(method_name, read["methods"]))
            rows, columns = (whole_number("grid", size) for size in read["grid"])
            plan = Plan(**{**read, "methods": methods, "grid": (rows, columns)})
            blocks = whole_number("trials", plan.trials) // block
            check_size(plan.grid, len(methods), blocks if plan.adaptive is None else 1)
            return plan

    def add(self, cells: Sequence[Cell]) -> None:
        """Store finished cells, all or none. Existing cells stay."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(f"INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) {OLD}", (c[:9] for c in cells))
            times = ((*c[:4], c.seconds) for c in cells)
            self._db.executemany(f"INSERT INTO times VALUES (?, ?, ?, ?, ?) {OLD}", times)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def done(self) -> dict[Key, tuple[int, int, int]]:
        """Trials, found and exact of every finished cell."""
        query = "SELECT method, m, k, block, trials, found, exact FROM cells"
        n = self.settings().n
        with self._checked():
            rows = self._db.execute(query).fetchall()
            for row in rows:
                _check_counts(n, *row[1:])
        return {(method_name(row[0]), row[1], row[2], row[3]): (row[4], row[5], row[6]) for row in rows}

    def cells(self) -> Iterator[Cell]:
        """Every finished cell, in order."""
        query = "SELECT cells.*, seconds FROM cells JOIN times USING (method, m, k, block) ORDER BY method, m, k, block"
        n = self.settings().n
        with self._checked():
            for row in self._db.execute(query):
                cell = Cell(method_name(row[0]), *row[1:])
                _check_counts(n, *row[1:7])
                _check_trials(cell)
                yield cell

    def seconds(self) -> dict[tuple[str, int, int], float]:
        """Time per method, m and k."""
        query = "SELECT method, m, k, sum(seconds) FROM times GROUP BY method, m, k"
        return {(method_name(row[0]), row[1], row[2]): row[3] for row in self._db.execute(query)}

    @contextmanager
    def _checked(self) -> Iterator[None]:
        """Errors of a damaged or edited file in one sentence."""
        try:
            yield
        except (KeyError, TypeError, ValueError, sqlite3.DatabaseError) as error:
            raise ValueError(
                f"{self.path}: is damaged, or was edited ({error}); choose another output folder for a new run."
            ) from None

    def _one(self, table: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self._db.execute(f"SELECT json FROM {table}").fetchone()[0])
        return read

    def _refuse(self, there: dict[str, Any], asked: dict[str, Any]) -> None:
        changed = [
            f"{name} {_shown(there[name])}, not {_shown(asked[name])}" for name in there if there[name] != asked[name]
        ]
        if changed:
            raise ValueError(
                f"{self.path}: the run there has {'; '.join(changed)}; its results cannot be mixed with others: "
                "use its settings to continue it, or choose another output folder for a new run."
            )


def file_of(path: str | Path) -> Path:
    """The SQLite file of a run, given its path or that of its folder."""
    path = Path(path)
    return path if path.suffix == ".sqlite" else path / FILE


def existing(path: str | Path) -> Store:
    """Open an existing run.

    Raises
    ------
    ValueError
        If there is no run.
    """
    file = file_of(path)
    if not file.is_file():
        raise ValueError(f"{path}: holds no sweep ({file.name} is missing); give the output folder of a run.")
    store = Store(file)
    if store.new:
        store.close()
        raise ValueError(f"{path}: the sweep there has not begun; give the output folder of a run.")
    return store


def _check_counts(n: int, m: Any, k: Any, block: Any, trials: Any, found: Any, exact: Any) -> None:
    """Raise ValueError if these cannot be the counts of a cell."""
    for name, value, low, high in (
        ("m", m, 1, n), ("k", k, 1, m), ("block", block, 0, None), ("trials", trials, 1, None),
        ("found", found, 0, trials), ("exact", exact, 0, trials),
    ):  # fmt: skip
        whole_number(name, value, low, high)


def _check_trials(cell: Cell) -> None:
    """Raise ValueError if the outcomes of a cell's trials contradict its counts."""
    hits = np.frombuffer(cell.hits, "<u2")
    exactly = np.unpackbits(np.frombuffer(cell.exactly, np.uint8))
    held = len(hits), int((hits == cell.k).sum()), int(exactly.sum())
    if held != (cell.trials, cell.found, cell.exact) or len(cell.exactly) != -(-cell.trials // 8):
        raise ValueError(
            f"{cell.method} at m={cell.m}, k={cell.k} counts {cell.trials} trials, {cell.found} found and {cell.exact} "
            f"exact, and lists {held[0]}, {held[1]} and {held[2]}"
        )


def _json(thing: Settings | Plan) -> str:
    return json.dumps(asdict(thing), sort_keys=True)


def _quoted(thing: Settings | Plan) -> str:
    return "'" + _json(thing).replace("'", "''") + "'"


def _shown(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
