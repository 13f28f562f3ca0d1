"""The SQLite files of a run: settings, plan and finished cells, written in transactions.

A run is one file; if its parts are computed by several processes at once, each writes a file of its own beside it, so
that no file is written by two, which network file systems do not all allow. Files hold numbers, text and bytes only, so
reading them cannot run code. SQLite's rollback journal is used, no write-ahead log, and a killed process loses only
what it had not committed.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import whole_number
from ..names import method_name
from .cells import Cell, Settings
from .draws import Problem
from .plan import Key, Plan, Tally, check_size, join

FILE = "sweep.sqlite"
PATIENCE, ATTEMPT = 60, 0.2  # seconds to wait for a locked file, and of one attempt


APPLICATION, FORMAT = 0x70757273, 2  # "purs"; raise the second when tables change
BEFORE = 1  # the format without noise, which is still read


SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE settings (json TEXT NOT NULL);
CREATE TABLE plan (json TEXT NOT NULL);
CREATE TABLE cells (
    method TEXT NOT NULL, m INTEGER NOT NULL, k INTEGER NOT NULL, snr REAL NOT NULL, block INTEGER NOT NULL,
    trials INTEGER NOT NULL, found INTEGER NOT NULL, exact INTEGER NOT NULL,
    hits BLOB NOT NULL, exactly BLOB NOT NULL,
    PRIMARY KEY (method, m, k, snr, block)
) WITHOUT ROWID;
-- Apart from the results, because they are never the same twice.
CREATE TABLE times (
    method TEXT NOT NULL, m INTEGER NOT NULL, k INTEGER NOT NULL, snr REAL NOT NULL, block INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (method, m, k, snr, block)
) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
"""


OLD = "ON CONFLICT (method, m, k, snr, block) DO NOTHING"
# In the files from before there was no noise; 9e999 is how SQLite writes infinity.
KEYS = {FORMAT: "method, m, k, snr, block", BEFORE: "method, m, k, 9e999 AS snr, block"}


# What reading and checking a file's numbers and JSON can raise.
UNREADABLE = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)


class Waiting(sqlite3.Connection):
    """A connection that waits for a file which is locked, and hears Ctrl-C meanwhile, as SQLite's own wait does not."""

    def execute(self, *args: Any) -> sqlite3.Cursor:
        """As `sqlite3.Connection.execute`."""
        return self._patiently(lambda: super(Waiting, self).execute(*args))

    def executescript(self, script: str) -> sqlite3.Cursor:
        """As `sqlite3.Connection.executescript`, for a script that begins by BEGIN IMMEDIATE and ends by COMMIT."""
        run = super().executescript
        # Only its first statement and its last one wait.
        return self._patiently(lambda: super(Waiting, self).execute("COMMIT") if self.in_transaction else run(script))

    def _patiently(self, act: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return act()
            except sqlite3.OperationalError as error:
                if not _locked(error) or time.monotonic() > end:
                    raise


class Store:
    """The open SQLite file of a run.

    Parameters
    ----------
    path : Path or str
        Path of the file; `":memory:"` for no file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._db = sqlite3.connect(path, timeout=ATTEMPT, isolation_level=None, factory=Waiting)
        try:
            found = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            mark = tuple(
                self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
        except sqlite3.DatabaseError as error:
            self._db.close()
            if _locked(error):
                raise
            raise ValueError(f"{path}: is no file of a sweep ({error}); choose another output folder.") from None
        self.new = not found
        self._format = mark[1] if found else FORMAT
        if found and (mark[0] != APPLICATION or self._format not in KEYS):
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
        joined = self.joined(settings, plan)
        if self._format != FORMAT:
            raise ValueError(
                f"{self.path}: is of an earlier version; its results can be read, not continued: choose another output "
                "folder for a new run."
            )
        if joined != self.plan():
            self._db.execute("UPDATE plan SET json = ?", (_json(joined),))
        return joined

    def joined(self, settings: Settings, plan: Plan) -> Plan:
        """The plan of this run with that of another, of which the results can be in one table.

        Raises
        ------
        ValueError
            If they cannot, because settings or grids differ.
        """
        self._refuse(self.settings().facts(), settings.facts())
        old = self.plan()
        both = old.own.keys() & plan.own
        fixed = [
            {"grid": one.grid, "m": one.m, "rho": one.rho, **{f"code of {name}": one.own[name] for name in both}}
            for one in (old, plan)
        ]
        self._refuse(*fixed)
        return join(old, plan)

    def settings(self) -> Settings:
        """The settings of the cells."""
        with self._checked():
            read = self._one("settings")
            problem = read.pop("problem")
            if problem != "gaussian":  # which is all that there was before
                read["problem"] = Problem(**problem)
            return Settings(**read)

    def plan(self) -> Plan:
        """The plan of the run."""
        block = self.settings().block
        with self._checked():
            read = self._one("plan")
            methods = tuple(map(method_name, read["methods"]))
            if not all(re.fullmatch(r"[\w.:@+-]{1,200}", method) for method in methods):
                raise ValueError(f"methods are {methods!r}")
            rows, columns = (whole_number("grid", size) for size in read["grid"])
            ms = tuple(whole_number("m", m) for m in read.get("m", ()))
            if not all(isinstance(part, str) for item in dict(read.get("own", {})).items() for part in item):
                raise ValueError(f"own is {read['own']!r}")
            levels = {"snr": tuple(map(float, read["snr"]))} if "snr" in read else {}
            plan = Plan(**{**read, "methods": methods, "grid": (rows, columns), "m": ms, **levels})
            blocks = whole_number("trials", plan.trials) // block
            check_size(plan.grid, len(methods), blocks if plan.adaptive is None else 1, len(plan.snr))
            return plan

    def add(self, cells: Sequence[Cell]) -> None:
        """Store finished cells, all or none. Existing cells stay."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                f"INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) {OLD}", (c[:10] for c in cells)
            )
            times = ((*c[:5], c.seconds) for c in cells)
            self._db.executemany(f"INSERT INTO times VALUES (?, ?, ?, ?, ?, ?) {OLD}", times)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def done(self) -> dict[Key, Tally]:
        """Trials, found and exact of every finished cell."""
        query = f"SELECT {KEYS[self._format]}, trials, found, exact FROM cells"
        check = self._check_of_counts()
        with self._checked():
            rows = [(method_name(row[0]), *row[1:]) for row in self._db.execute(query)]
            for row in rows:
                check(*row)
        return {row[:5]: row[5:] for row in rows}

    def cells(self) -> Iterator[Cell]:
        """Every finished cell, in order."""
        query = (
            f"SELECT {KEYS[self._format]}, trials, found, exact, hits, exactly, seconds "
            "FROM cells LEFT JOIN times USING (method, m, k, snr, block) ORDER BY 1, 2, 3, 4, 5"
        )
        if self._format == BEFORE:
            query = query.replace("k, snr, block)", "k, block)")
        check = self._check_of_counts()
        with self._checked():
            for row in self._db.execute(query):
                cell = Cell(method_name(row[0]), *row[1:])
                check(*cell[:8])
                _check_trials(cell)
                yield cell

    def seconds(self) -> dict[Key, float]:
        """The time of every finished cell."""
        query = f"SELECT {KEYS[self._format]}, seconds FROM times"
        with self._checked():
            found = {(method_name(row[0]), *row[1:5]): row[5] for row in self._db.execute(query)}
            for key, seconds in found.items():
                _check_seconds(key, seconds)
        return found

    @contextmanager
    def _checked(self) -> Iterator[None]:
        """Errors of a damaged or edited file in one sentence."""
        try:
            yield
        except (*UNREADABLE, sqlite3.DatabaseError) as error:
            if _locked(error):
                raise
            raise ValueError(
                f"{self.path}: is damaged, or was edited ({error}); choose another output folder for a new run."
            ) from None

    def _check_of_counts(self) -> Callable[..., None]:
        """A check of the counts of a cell, given method, m, k, snr, block, trials, found and exact."""
        settings, plan = self.settings(), self.plan()
        largest, blocks = max(settings.n, *plan.m, 1), plan.trials // settings.block

        def check(method: Any, m: Any, k: Any, snr: Any, block: Any, trials: Any, found: Any, exact: Any) -> None:
            if method not in plan.methods or snr not in plan.snr:
                raise ValueError(f"it has a cell of {method} at an SNR of {snr}, which are not in its plan")
            for name, value, low, high in (
                ("m", m, 1, largest), ("k", k, 1, m), ("block", block, 0, blocks - 1),
                ("trials", trials, settings.block, settings.block), ("found", found, 0, trials),
                ("exact", exact, 0, trials),
            ):  # fmt: skip
                whole_number(name, value, low, high)

        return check

    def _one(self, table: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self._db.execute(f"SELECT json FROM {table}").fetchone()[0])
        return read

    def _refuse(self, there: dict[str, Any], asked: dict[str, Any]) -> None:
        names = dict.fromkeys((*there, *asked))
        changed = [
            f"{name} {_shown(there.get(name))}, not {_shown(asked.get(name))}"
            for name in names if there.get(name) != asked.get(name)
        ]  # fmt: skip
        if changed:
            raise ValueError(
                f"{self.path}: the run there has {'; '.join(changed)}; its results cannot be mixed with others: "
                "use its settings to continue it, or choose another output folder for a new run."
            )


def file_of(path: str | Path) -> Path:
    """The SQLite file of a run, given its path or that of its folder."""
    path = Path(path)
    return path if path.suffix == ".sqlite" else path / FILE


def part_file(file: Path, part: tuple[int, int]) -> Path:
    """The file of a part of the run: `sweep-3-of-10.sqlite`."""
    return file.with_name(f"{file.stem}-{part[0]}-of-{part[1]}.sqlite")


def files_of(file: Path) -> list[Path]:
    """All files of a run that there are: its own, then those of its parts."""
    if not file.parent.is_dir():
        return []
    form = re.compile(rf"{re.escape(file.stem)}-\d+-of-\d+\.sqlite")
    found = sorted(path for path in file.parent.iterdir() if form.fullmatch(path.name))
    return [path for path in (file, *found) if path.is_file()]


def begun(files: Iterable[Path]) -> Iterator[Store]:
    """The files, each open until the next is; those that are still empty are left out."""
    for file in files:
        with closing(Store(file)) as store:
            if not store.new:
                yield store


def existing(path: str | Path) -> Iterator[Store]:
    """The files of an existing run, each open until the next is; its own comes first.

    Raises
    ------
    ValueError
        If there is no run.
    """
    file = file_of(path)
    files = files_of(file)
    if not files:
        raise ValueError(f"{path}: holds no sweep ({file.name} is missing); give the output folder of a run.")
    none = True
    for store in begun(files):
        none = False
        yield store
    if none:
        raise ValueError(f"{path}: the sweep there has not begun; give the output folder of a run.")


def add_done(found: dict[Key, Tally], store: Store) -> None:
    """Add the finished cells of a file to those of others.

    Raises
    ------
    ValueError
        If it has another result of one of them.
    """
    more = store.done()
    for key in more.keys() & found.keys():
        if more[key] != found[key]:
            raise ValueError(
                f"{store.path}: has another result of {key[0]} at m={key[1]}, k={key[2]} than the other files of the "
                "run; remove the one that is wrong."
            )
    found |= more


def _check_trials(cell: Cell) -> None:
    """Raise ValueError if the outcomes of a cell's trials contradict its counts."""
    hits = np.frombuffer(cell.hits, "<u2")
    exactly = np.unpackbits(np.frombuffer(cell.exactly, np.uint8))
    held = len(hits), int((hits == cell.k).sum()), int(exactly.sum())
    _check_seconds(cell[:5], cell.seconds)
    if hits.max() > cell.k:
        raise ValueError(f"{cell.method} at m={cell.m} lists {hits.max()} non-zeros found of {cell.k}")
    if held != (cell.trials, cell.found, cell.exact) or len(cell.exactly) != -(-cell.trials // 8):
        raise ValueError(
            f"{cell.method} at m={cell.m}, k={cell.k} counts {cell.trials} trials, {cell.found} found and {cell.exact} "
            f"exact, and lists {held[0]}, {held[1]} and {held[2]}"
        )


def _check_seconds(key: Key, seconds: Any) -> None:
    if not isinstance(seconds, float) or not 0 <= seconds < math.inf:
        raise ValueError(f"the time of {key[0]} at m={key[1]}, k={key[2]} is {seconds!r}")


def _json(thing: Settings | Plan) -> str:
    return json.dumps(asdict(thing), sort_keys=True)


def _locked(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _quoted(thing: Settings | Plan) -> str:
    return "'" + _json(thing).replace("'", "''") + "'"


def _shown(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
