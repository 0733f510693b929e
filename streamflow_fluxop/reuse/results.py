"""The results of jobs that succeeded, and the checksums of files, in a database beside the event logs.

One thread uses an object of this; several programs may share the file. A row of a job that was reused says whose result
it is (`origin`), so that a result stands for one execution however often it has been brought elsewhere.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAME = "results.sqlite"
"""The file, in the folder of the runs."""
MOST = 1_000_000
"""Results that are kept; beyond that the oldest go."""
TRIES = 20
"""Results with one fingerprint that are looked at."""
_VERSION = 3
_TIMEOUT = 10.0
"""Seconds to wait for another program that writes."""
_TABLES = f"""
    CREATE TABLE result(id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, origin TEXT NOT NULL, run TEXT NOT NULL,
                        file TEXT, step TEXT, tool TEXT, job TEXT NOT NULL, directory TEXT NOT NULL, seconds REAL,
                        about TEXT);
    CREATE TABLE checksum(path TEXT PRIMARY KEY, stamp TEXT NOT NULL, checksum TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX by_fingerprint ON result(fingerprint);
    CREATE INDEX by_directory ON result(directory);
    CREATE INDEX by_origin ON result(origin);
    CREATE INDEX by_run ON result(run);
    CREATE INDEX by_file ON result(file);
    PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True)
class Result:
    """What a job left.

    Attributes:
        fingerprint: of the job.
        run: in which it ran, or was reused.
        file: what that run ran; None where nobody knows.
        step: of the job, as the plan names it.
        tool: what that runs (`cwl.identity`); None where nobody knows.
        job: its name.
        directory: in which it ran.
        seconds: that it ran.
        exit_code: a success of its tool's.
        output: what it wrote that went to no file.
        folders: its directories by role (`fingerprint.Folders`).
        entries: what lies in `directory` (`agent.system.job_files`).
        staged: paths of those that were there before it started, and are unchanged.
        removed: paths of those that were there before it started, and are not any more.
        links: what symbolic links point to, directories by role.
        texts: what files with directories in them hold, directories by role.
        origin: names the execution, the same for all places to which its result was brought.
        id: in the database; None: it is not there yet.
    """

    fingerprint: str
    run: str
    file: str | None
    step: str | None
    tool: str | None
    job: str
    directory: str
    seconds: float
    exit_code: int
    output: str
    folders: Mapping[str, str]
    entries: Sequence[Sequence[Any]]
    staged: Sequence[str] = ()
    removed: Sequence[str] = ()
    links: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    id: int | None = None


_ABOUT = ("exit_code", "output", "folders", "entries", "staged", "removed", "links", "texts")
_COLUMNS = "fingerprint, origin, run, file, step, tool, job, directory, seconds, about"


@dataclass(frozen=True)
class Scope:
    """Whose results count.

    Attributes:
        runs: ids of runs; None: all.
        file: what they ran; None: anything.
        but: a run whose results don't count: replicates in one run are to stay independent.
    """

    runs: frozenset[str] | None = None
    file: str | None = None
    but: str | None = None


class Results:
    """A folder's results. Where the database can't be opened there are none, and nothing is kept.

    Args:
        folder: of the runs.

    Attributes:
        problem: why nothing is kept; None: it is.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.problem: str | None = None
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)  # as private as the logs, before anything is in it
            db = sqlite3.connect(self.path, timeout=_TIMEOUT)
            db.execute("PRAGMA synchronous = NORMAL")
            with db:
                db.execute("BEGIN IMMEDIATE")
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if 0 < version < _VERSION:  # it only saves time: begin anew
                    db.execute("DROP TABLE result")
                    db.execute("DROP TABLE checksum")
                if version < _VERSION:
                    for statement in filter(str.strip, _TABLES.split(";")):
                        db.execute(statement)
                elif version != _VERSION:
                    raise sqlite3.DatabaseError("it was made by another version")
        except (OSError, sqlite3.Error) as error:
            self.problem = f"{self.path}: {error}"
            db = sqlite3.connect(":memory:")
            db.executescript(_TABLES)
        return db

    def close(self) -> None:
        """Nothing more will be asked."""
        self._db.close()

    def add(self, results: Iterable[Result], checksums: Mapping[str, tuple[Sequence[int], str]] | None = None) -> None:
        """Keep results, and checksums of files by path, each with its stamp.

        Raises:
            sqlite3.Error: they could not be written.
        """
        rows = [
            (
                r.fingerprint,
                r.origin or f"{r.run} {r.job} {r.directory}",
                r.run,
                r.file,
                r.step,
                r.tool,
                r.job,
                r.directory,
                round(r.seconds, 4),
                json.dumps([getattr(r, name) for name in _ABOUT], separators=(",", ":")),
            )
            for r in results
        ]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(f"INSERT INTO result({_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.executemany(
                "INSERT OR REPLACE INTO checksum VALUES(?, ?, ?)",
                ((path, json.dumps(list(mark)), checksum) for path, (mark, checksum) in (checksums or {}).items()),
            )

    def find(self, fingerprint: str, scope: Scope) -> list[Result]:
        """The results with a fingerprint, the newest first."""
        where, values = _where(scope)
        query = f"SELECT id, {_COLUMNS} FROM result WHERE fingerprint = ? AND {where} ORDER BY id DESC LIMIT {TRIES}"
        return [_result(row) for row in self._db.execute(query, (fingerprint, *values))]

    def count(self, scope: Scope) -> dict[tuple[str, str], int]:
        """How many different executions there are results of, by step and tool."""
        where, values = _where(scope)
        query = f"SELECT step, tool, COUNT(DISTINCT origin) FROM result WHERE {where} GROUP BY step, tool"
        return {(step or "", tool or ""): number for step, tool, number in self._db.execute(query, values)}

    def update(self, result: Result, entries: Sequence[Sequence[Any]]) -> None:
        """Note that a result's entries are known by other stamps now: a link was made to a file.

        Raises:
            sqlite3.Error: it could not be written.
        """
        about = [entries if name == "entries" else getattr(result, name) for name in _ABOUT]
        text = json.dumps(about, separators=(",", ":"))
        with self._db:
            self._db.execute("UPDATE result SET about = ? WHERE id = ?", (text, result.id))

    def forget(self, directory: str, origin: str | None = None) -> None:
        """What lies in a directory is no result, nor is that of the execution from which it came.

        Raises:
            sqlite3.Error: that could not be written.
        """
        with self._db:
            self._db.execute("DELETE FROM result WHERE directory = ? OR origin = ?", (directory, origin))

    def forget_oldest(self, most: int = MOST) -> None:
        """Keep no more than so many results."""
        with suppress(sqlite3.Error), self._db:
            self._db.execute("DELETE FROM result WHERE id <= (SELECT MAX(id) FROM result) - ?", (most,))

    def checksums(self, stamps: Mapping[str, Sequence[int]]) -> dict[str, str]:
        """The checksums of files that are known, by path; `stamps` are those that the files have now."""
        found = {}
        for path, mark in stamps.items():
            row = self._db.execute("SELECT stamp, checksum FROM checksum WHERE path = ?", (path,)).fetchone()
            if row is not None and json.loads(row[0]) == list(mark):
                found[path] = row[1]
        return found

    def of_runs(self) -> dict[str, int]:
        """Of how many jobs of each run there are results."""
        return dict(self._db.execute("SELECT run, COUNT(*) FROM result GROUP BY run"))

    def directories(self, run: str) -> list[str]:
        """The directories in which results of a run lie: they are needed for as long as its jobs are to be reused."""
        return [row[0] for row in self._db.execute("SELECT DISTINCT directory FROM result WHERE run = ?", (run,))]


def kept(folder: Path) -> dict[str, int]:
    """Of how many jobs of each run results are kept in a folder; looking leaves nothing behind."""
    if not (folder / NAME).exists():
        return {}
    with closing(Results(folder)) as results:
        return results.of_runs()


def _where(scope: Scope) -> tuple[str, list[str]]:
    conditions, values = ["1"], []
    if scope.runs is not None:
        runs = sorted(scope.runs)
        conditions.append(f"run IN ({', '.join('?' * len(runs))})")
        values += runs
    if scope.file is not None:
        conditions.append("file = ?")
        values.append(scope.file)
    if scope.but is not None:
        conditions.append("run != ?")
        values.append(scope.but)
    return " AND ".join(conditions), values


def _result(row: Sequence[Any]) -> Result:
    number, fingerprint, origin, run, file, step, tool, job, directory, seconds, about = row
    more = dict(zip(_ABOUT, json.loads(about), strict=True))
    return Result(
        fingerprint=fingerprint,
        run=run,
        file=file,
        step=step,
        tool=tool,
        job=job,
        directory=directory,
        seconds=seconds,
        origin=origin,
        id=number,
        **more,
    )
