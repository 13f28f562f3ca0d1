"""One SQLite file per run: settings, plan and finished cells, written in transactions.

It holds numbers, text and bytes only, so reading it cannot run code. It uses SQLite's rollback journal, no write-ahead
log: a run is one file, also on network file systems, and a killed process loses only what it had not committed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..names import method_name
from .cells import Cell, Settings
from .plan import Key, Plan

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
        return Settings(**self._one("settings"))

    def plan(self) -> Plan:
        """The plan of the run."""
        read = self._one("plan")
        methods = tuple(map(method_name, read["methods"]))
        return Plan(**{**read, "methods": methods, "grid": tuple(read["grid"])})

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
        rows = self._db.execute(query)
        return {(method_name(row[0]), row[1], row[2], row[3]): (row[4], row[5], row[6]) for row in rows}

    def cells(self) -> Iterable[Cell]:
        """Every finished cell, in order."""
        query = "SELECT cells.*, seconds FROM cells JOIN times USING (method, m, k, block) ORDER BY method, m, k, block"
        return (Cell(method_name(row[0]), *row[1:]) for row in self._db.execute(query))

    def seconds(self) -> dict[tuple[str, int, int], float]:
        """Time per method, m and k."""
        query = "SELECT method, m, k, sum(seconds) FROM times GROUP BY method, m, k"
        return {(method_name(row[0]), row[1], row[2]): row[3] for row in self._db.execute(query)}

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


def _json(thing: Settings | Plan) -> str:
    return json.dumps(asdict(thing), sort_keys=True)


def _quoted(thing: Settings | Plan) -> str:
    return "'" + _json(thing).replace("'", "''") + "'"


def _shown(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
