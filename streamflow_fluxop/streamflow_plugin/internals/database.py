"""Several runs at once share StreamFlow's database of past runs. A repair of StreamFlow 0.2, in place.

StreamFlow 0.2 (seen in 0.2.0rc3) writes a whole run in one transaction, which it commits in `close()`: a second run of
the same user waits for 20 s, and dies; a run that is killed leaves no history; of several first runs, only one makes
the tables. Here each statement is a transaction of its own, in SQLite's write-ahead log, where that costs some
microseconds, no fsync, and readers wait for nobody. A network file system can't have that log (sqlite.org/wal.html):
there, what several jobs write at the same moment is committed together, in a rollback journal.

So the commands that read (list, report, prov) meet runs that have no end yet, and jobs of which only the command is
known. `list` shows them; `report` and `prov` go on to take what has ended.

A StreamFlow whose database commits by itself, or that is no 0.2, is left as it is.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from itertools import islice
from types import TracebackType
from typing import Any

import aiosqlite
from streamflow.core.utils import get_date_from_ns
from streamflow.core.workflow import Status
from streamflow.persistence import sqlite as streamflow_sqlite
from streamflow.persistence.sqlite import IN_MEMORY_SQLITE_CONNECTION, SqliteConnection, SqliteDatabase
from streamflow.version import VERSION

from streamflow_fluxop.errors import UserError

PAUSE = 0.02
"""Seconds until the next try of what other runs, which open the database at the same moment, don't let us do."""

NETWORK = re.compile(
    "nfs4?|cifs|smb3|smbfs|afs|ceph|lustre|gpfs|beegfs.*|glusterfs|pvfs2|panfs|9p|virtiofs|fuse.*", re.ASCII
)
"""File systems that several machines may share."""


def share_between_runs() -> None:
    """Mend StreamFlow's database, if it is one that needs it; a second call changes nothing."""
    if hasattr(SqliteConnection.close, "__wrapped__") or not (VERSION.startswith("0.2.") and _holds_one_transaction()):
        return
    SqliteConnection.__aenter__ = _opening_shared(SqliteConnection.__aenter__)
    SqliteConnection.__aexit__ = _commit_soon
    SqliteConnection.close = _closing_shared(SqliteConnection.close)
    SqliteDatabase.get_workflows_list = _with_those_under_way(SqliteDatabase)
    SqliteDatabase.get_workflows_by_name = _ended_first(SqliteDatabase.get_workflows_by_name)
    SqliteDatabase.get_reports = _of_ended_jobs(SqliteDatabase.get_reports)


def _holds_one_transaction() -> bool:
    """Whether nothing but `close()` commits."""
    try:
        source = inspect.getsource(streamflow_sqlite)
    except OSError:
        return False
    return source.count("commit(") == 1 and "isolation_level" not in source and "autocommit" not in source


class _Cursor(sqlite3.Cursor):
    """Reads all rows at once: while a read is open, a write fails as soon as another run has written."""

    _rows: Iterator[Any] = iter(())

    def execute(self, sql: str, parameters: Any = ()) -> _Cursor:
        with _in_words(self.connection):
            super().execute(sql, parameters)
            self._rows = iter(super().fetchall())
        return self

    def executemany(self, sql: str, parameters: Iterable[Any]) -> _Cursor:
        with _in_words(self.connection):
            super().executemany(sql, parameters)
        return self

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        return list(islice(self._rows, size))

    def fetchall(self) -> list[Any]:
        return list(self._rows)


class _SharedConnection(sqlite3.Connection):
    """One run's connection. It is made, and used, in the thread of its `aiosqlite.Connection`."""

    def __init__(self, database: str, timeout: float, **others: Any) -> None:
        super().__init__(database, timeout, **others)
        self.database = database
        until = time.monotonic() + timeout
        with _in_words(self):
            while True:
                try:
                    self._set_up()
                    return
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() > until:
                        raise
                time.sleep(PAUSE)

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or _Cursor)

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any) -> Any:
        return self.cursor().executemany(sql, parameters)

    def commit(self) -> None:
        with _in_words(self):
            super().commit()

    def _set_up(self) -> None:
        cursor = self.cursor(sqlite3.Cursor)
        mode = _journal(self.database)
        if cursor.execute("PRAGMA journal_mode").fetchall()[0][0] != mode:
            try:
                mode = cursor.execute(f"PRAGMA journal_mode = {mode}").fetchall()[0][0]
            except sqlite3.OperationalError:
                if mode == "wal":
                    raise
                mode = "wal"  # others have it open so
        self.isolation_level = None if mode == "wal" else "IMMEDIATE"
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA temp_store = MEMORY")
        cursor.executescript(
            files("streamflow.persistence").joinpath("schemas").joinpath("sqlite.sql").read_text("utf-8")
        )
        cursor.close()


@contextmanager
def _in_words(connection: Any) -> Iterator[None]:
    """Say whose lock it is that one waited for in vain."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise UserError(
            "another program has locked StreamFlow's database of past runs, and does not give it free",
            where=connection.database,
            fix="`fuser` tells which one. Or give this run a database of its own, in its StreamFlow file: "
            "database: {type: default, config: {connection: PATH}}",
        ) from error


def _journal(database: str) -> str:
    """SQLite's journal mode for a database at that place."""
    import psutil

    there = os.path.realpath(database)
    mounts = {p.mountpoint: p.fstype for p in psutil.disk_partitions(all=True)}
    above = [m for m in mounts if m.startswith("/") and os.path.commonpath((m, there)) == m]
    kind = mounts[max(above, key=len)] if above else ""
    return "delete" if NETWORK.fullmatch(kind) else "wal"


# what takes the place of StreamFlow's methods


def _opening_shared(enter: Any) -> Any:
    """All who come while it opens wait for that, and learn it if it fails."""

    @functools.wraps(enter)
    async def wrapper(self: SqliteConnection) -> Any:
        if self.connection == IN_MEMORY_SQLITE_CONNECTION:
            return await enter(self)
        if self._connection is None:
            if self._opening is None:
                self._opening = asyncio.create_task(_connected(self.connection, self.timeout, self.mmap_size))
            self._connection = await asyncio.shield(self._opening)
        return self._connection

    return wrapper


async def _connected(database: str, timeout: float, mmap_size: int) -> aiosqlite.Connection:
    with suppress(OSError):  # it is there; or it can't be made, and SQLite says why
        os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = await aiosqlite.connect(database, timeout=timeout, factory=_SharedConnection)
    connection.row_factory = aiosqlite.Row
    if connection.isolation_level is None:
        await connection.execute_fetchall(f"PRAGMA mmap_size = {int(mmap_size)}")
    return connection


async def _commit_soon(self: Any, kind: Any, error: Any, trace: TracebackType | None) -> None:
    """Commit what has been asked for until now, unless each statement is a transaction of its own."""
    if self.connection == IN_MEMORY_SQLITE_CONNECTION or not self._connection.in_transaction:
        return
    before: asyncio.Task[None] | None = getattr(self, "_committing", None)
    if before is None or before.done():
        self._committing = asyncio.create_task(self._connection.commit())
        if before is not None:
            await before  # raises what went wrong


def _closing_shared(close: Any) -> Any:
    """What is still being opened, or committed, is waited for."""

    @functools.wraps(close)
    async def wrapper(self: SqliteConnection) -> None:
        if isinstance(self._opening, asyncio.Task):
            await asyncio.wait([self._opening])
            if self._connection is None and self._opening.exception() is None:
                self._connection = self._opening.result()
        try:
            if before := getattr(self, "_committing", None):
                await before
        finally:
            await close(self)

    return wrapper


def _with_those_under_way(database: Any) -> Any:
    """`streamflow list NAME`: a run that has not ended has no time of that."""
    by_name, listed = database.get_workflows_by_name, database.get_workflows_list

    @functools.wraps(listed)
    async def wrapper(self: SqliteDatabase, name: str | None) -> Any:
        if name is None:
            return await listed(self, None)
        return [
            {
                "end_time": _date(row["end_time"]),
                "start_time": _date(row["start_time"]),
                "status": Status(row["status"]).name,
                "type": row["type"],
            }
            for row in await by_name(self, name)
        ]

    return wrapper


def _date(nanoseconds: int | None) -> str:
    return "-" if nanoseconds is None else str(get_date_from_ns(nanoseconds))


def _ended_first(by_name: Any) -> Any:
    """`streamflow prov`: of the runs with a name those that have ended, if one has."""

    @functools.wraps(by_name)
    async def wrapper(self: SqliteDatabase, workflow_name: str, last_only: bool = False) -> Any:
        rows = await by_name(self, workflow_name)
        rows = [row for row in rows if row["end_time"] is not None] or rows
        return rows[:1] if last_only else rows

    return wrapper


def _of_ended_jobs(reports: Any) -> Any:
    """`streamflow report`: the jobs that have ended, of the newest run that has such ones, or of all."""

    @functools.wraps(reports)
    async def wrapper(self: SqliteDatabase, workflow: str, last_only: bool = False) -> Any:
        runs = await reports(self, workflow)
        ended = [jobs for run in runs if (jobs := [job for job in run if job["end_time"] is not None])]
        return ended[:1] if last_only else ended

    return wrapper
