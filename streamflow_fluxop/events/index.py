"""What past runs show, from their event logs, kept in an index beside them so that thousands of runs are read once.

A row is a step of a run: its jobs that succeeded, from start to end, without the queue and without bring-ups. Another
table has the MiniClusters that came up, and how long that, and going, took. Simulated runs don't count.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from streamflow_fluxop.events.writing import runs_folder

NAME = "history.sqlite"
"""The index's file, in the folder of the runs."""
AT_ONCE = 4 * 2**20
"""Bytes of logs that are read before a plan at most, the newest first: a tenth to a fifth of a second."""
OVERHEAD = 4096
"""Bytes that could be read in the time that it takes to open a log."""
SAMPLE = 200
"""Jobs of a step that a row keeps, evenly chosen where there are more."""
RUNS = 50
"""Runs that count, the newest."""

_VERSION = 1
_COLUMNS = "log, workflow, step, tool, nodes, cores, gpus, memory, jobs, peak, sample"
_TABLES = f"""
    CREATE TABLE log(name TEXT PRIMARY KEY, size INTEGER, mtime INTEGER);
    CREATE TABLE step(log TEXT, workflow TEXT, file TEXT, step TEXT, tool TEXT, nodes INTEGER, cores INTEGER,
                      gpus INTEGER, memory INTEGER, jobs INTEGER, peak INTEGER, sample TEXT);
    CREATE TABLE life(log TEXT, cluster TEXT, flavour TEXT, image TEXT, up REAL, down REAL);
    CREATE INDEX by_workflow ON step(workflow);
    CREATE INDEX by_file ON step(file);
    CREATE INDEX by_tool ON step(tool);
    CREATE INDEX by_flavour ON life(cluster, flavour);
    CREATE INDEX step_of_log ON step(log);
    CREATE INDEX life_of_log ON life(log);
    PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True)
class PastStep:
    """The jobs of a step in one run that succeeded.

    Attributes:
        log: name of the run's log.
        workflow: the CWL file; empty where an older version did not note it.
        step: its path in that workflow.
        tool: what it runs; empty where nobody knows.
        needs: nodes, cores and GPUs of a job.
        memory: MiB that a job asked for; None where nobody knows.
        jobs: how many there were.
        peak: the most memory that a job took, in MiB; None where nobody measured it.
        sample: seconds and bytes of inputs (None where nobody knows) of some of the jobs.
    """

    log: str
    workflow: str
    step: str
    tool: str
    needs: tuple[int, int, int]
    memory: int | None
    jobs: int
    peak: int | None
    sample: tuple[tuple[float, int | None], ...]


@dataclass(frozen=True)
class PastLife:
    """A MiniCluster that came up: seconds of its bring-up, and of its tear-down, None where that was not seen."""

    flavour: str
    image: str | None
    up: float
    down: float | None


def remember(folder: Path) -> None:
    """Add to a folder's index what has been written there since."""
    with closing(Index(folder)) as index:
        index.update()


class Index:
    """The index of a folder of runs. Where it can't be written, what it would hold is read anew each time.

    Args:
        folder: of the logs; None: this user's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or runs_folder()
        self._db = self._open()

    def close(self) -> None:
        """Nothing more will be asked."""
        self._db.close()

    def _open(self) -> sqlite3.Connection:
        path = self.folder / NAME
        for attempt in range(2):
            try:
                db = sqlite3.connect(path, timeout=2.0)
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, _VERSION):
                    raise sqlite3.DatabaseError("made by another version")
                if version == 0:
                    path.chmod(0o600)  # as private as the logs
                    db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
            except sqlite3.OperationalError:
                break  # read-only, locked, or no folder
            except sqlite3.DatabaseError:
                if attempt == 0:  # it is only an index: make it anew
                    with suppress(OSError):
                        path.unlink()
            else:
                return db
        db = sqlite3.connect(":memory:")
        db.executescript(_TABLES)
        return db

    def update(self, at_once: int | None = AT_ONCE) -> int:
        """Read the logs that are new or have grown, the newest first.

        Args:
            at_once: bytes to read at most (but one log in any case); None: all.

        Returns:
            How many logs are left for the next time.
        """
        known = {name: (size, mtime) for name, size, mtime in self._db.execute("SELECT name, size, mtime FROM log")}
        there: dict[str, tuple[int, int]] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".jsonl"):
                        stat = entry.stat()
                        there[entry.name] = (stat.st_size, stat.st_mtime_ns)
        except OSError:
            return 0
        new = sorted((name for name in there if known.get(name) != there[name]), reverse=True)
        gone = known.keys() - there.keys()
        if not new and not gone:
            return 0
        read, left = 0, 0
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._forget(gone)
                for name in new:
                    if at_once is not None and read and read + there[name][0] > at_once:
                        left += 1
                        continue
                    read += there[name][0] + OVERHEAD
                    self._forget([name])
                    self._add(name)
                    self._db.execute("INSERT INTO log VALUES(?, ?, ?)", (name, *there[name]))
        except sqlite3.OperationalError:
            return len(new)  # another one writes, or the disk is full: what is there is good enough
        return left

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            for table, column in (("step", "log"), ("life", "log"), ("log", "name")):
                self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))

    def _add(self, name: str) -> None:
        try:
            found = _read(self.folder / name)
        except (OSError, msgspec.MsgspecError, KeyError):
            return  # `fluxop report` says what is wrong with it
        self._db.executemany(f"INSERT INTO step VALUES({', '.join('?' * 12)})", ((name, *row) for row in found.steps()))
        self._db.executemany("INSERT INTO life VALUES(?, ?, ?, ?, ?, ?)", ((name, *row) for row in found.lives))

    def steps(self, workflow: str | None = None, file: str | None = None, tools: Iterable[str] = ()) -> list[PastStep]:
        """What is known of a workflow's steps and of tools, the newest runs first.

        Args:
            workflow: its CWL file.
            file: the StreamFlow file, which older logs name instead.
            tools: that others may have run, too.
        """
        wanted = [("workflow = ?", workflow or "\0"), ("workflow = '' AND file = ?", file or "\0")]
        wanted += [("tool = ?", tool) for tool in tools]
        rows: dict[int, Any] = {}
        for where, value in wanted:
            logs = f"SELECT DISTINCT log FROM step WHERE {where} ORDER BY log DESC LIMIT ?"
            query = f"SELECT rowid, {_COLUMNS} FROM step WHERE {where} AND log IN ({logs})"
            rows |= {row[0]: row[1:] for row in self._db.execute(query, (value, value, RUNS))}
        found = [
            PastStep(log, flow, step, tool, (nodes, cores, gpus), memory, jobs, peak, _pairs(sample))
            for log, flow, step, tool, nodes, cores, gpus, memory, jobs, peak, sample in rows.values()
        ]
        return sorted(found, key=lambda row: row.log, reverse=True)

    def lives(self, cluster: str, flavour: str, images: Iterable[str | None]) -> list[PastLife]:
        """The last MiniClusters of a flavour with one of some images."""
        found = []
        for image in dict.fromkeys(images):
            rows = self._db.execute(
                "SELECT up, down FROM life WHERE cluster = ? AND flavour = ? AND image = ? ORDER BY log DESC LIMIT ?",
                (cluster, flavour, image or "", RUNS),
            )
            found += [PastLife(flavour, image, up, down) for up, down in rows]
        return found


def _pairs(text: str) -> tuple[tuple[float, int | None], ...]:
    return tuple((seconds, size) for seconds, size in json.loads(text))


# reading a log: only what is needed of each line, at a few microseconds a line


class _Identity(msgspec.Struct, gc=False):
    name: str
    tool: str | None = None


class _Workflow(msgspec.Struct, gc=False):
    steps: list[_Identity] = []


class _Problem(msgspec.Struct, gc=False):
    workflow: _Workflow


class _Plan(msgspec.Struct, gc=False):
    problem: _Problem


class _Line(msgspec.Struct, gc=False):
    event: str
    at: float = 0.0
    deployment: str = ""
    file: str | None = None
    simulated: bool = False
    cluster: str = ""
    external: bool = False
    plan: _Plan | None = None
    workflows: dict[str, str] = {}
    tools: dict[str, str] = {}
    minicluster: str | None = None
    flavour: str = ""
    image: str | None = None
    seconds: float = 0.0
    job: str = ""
    step: str | None = None
    nodes: int = 1
    cores: int = 1
    gpus: int = 0
    memory: int | None = None
    input_bytes: int | None = None
    exit_code: int | None = None
    reason: str | None = None
    failed: bool | None = None
    peak_memory: int | None = None


_decoder = msgspec.json.Decoder(_Line)
_OF_INTEREST = (
    b'"run-started"',
    b'"fleet-started"',
    b'"minicluster-',
    b'"job-asked"',
    b'"job-started"',
    b'"job-ended"',
)

_Key = tuple[str, str, int, int, int, "int | None"]


@dataclass
class _Found:
    file: str = ""
    fleets: dict[str, _Line] = field(default_factory=dict)
    tools: dict[str, dict[str, str]] = field(default_factory=dict)
    jobs: dict[_Key, list[tuple[float, int | None]]] = field(default_factory=lambda: defaultdict(list))
    peaks: dict[_Key, int] = field(default_factory=dict)
    lives: list[tuple[str, str, str, float, float | None]] = field(default_factory=list)

    def steps(self) -> Iterator[tuple[Any, ...]]:
        for key, jobs in self.jobs.items():
            deployment, step, nodes, cores, gpus, memory = key
            fleet = self.fleets[deployment]
            prefix = max((p for p in fleet.workflows if step.startswith(p)), key=len, default="")
            workflow = fleet.workflows.get(prefix, "")
            tool = self.tools[deployment].get(step, "")
            some = [jobs[i * len(jobs) // SAMPLE] for i in range(SAMPLE)] if len(jobs) > SAMPLE else jobs
            name = step.removeprefix(prefix)
            needs = (nodes, cores, gpus, memory)
            yield (workflow, self.file, name, tool, *needs, len(jobs), self.peaks.get(key), json.dumps(some))


def _read(path: Path) -> _Found:
    """What a log shows; a last line that is not whole is passed over."""
    found = _Found()
    asked: dict[tuple[str, str], _Line] = {}
    started: dict[tuple[str, str], float] = {}
    lives: dict[tuple[str, str], _Line] = {}
    ups: dict[tuple[str, str], float] = {}
    going: dict[tuple[str, str], float] = {}
    with closing(path.open("rb")) as file:
        for text in file:
            if not text.endswith(b"\n") or not any(word in text[:400] for word in _OF_INTEREST):
                continue
            line = _decoder.decode(text)
            job, member = (line.deployment, line.job), (line.deployment, line.minicluster or "")
            match line.event:
                case "run-started":
                    found.file = line.file or ""
                    if line.simulated:
                        return _Found()
                case "fleet-started":
                    steps = line.plan.problem.workflow.steps if line.plan else []
                    found.tools[line.deployment] = {s.name: s.tool for s in steps if s.tool} | line.tools
                    line.plan = None
                    found.fleets[line.deployment] = line
                case "minicluster-asked":
                    lives[member] = line
                case "minicluster-up":
                    ups[member] = line.seconds
                case "minicluster-tearing-down":
                    going[member] = line.at
                case "minicluster-lost":
                    lives.pop(member, None)
                case "minicluster-gone" if member in lives and not found.fleets[line.deployment].external:
                    asked_for = lives.pop(member)
                    down = line.at - going.pop(member) if member in going else None
                    if (up := ups.pop(member, None)) is not None:
                        cluster = found.fleets[line.deployment].cluster
                        found.lives.append((cluster, asked_for.flavour, asked_for.image or "", up, down))
                case "job-asked":
                    asked[job] = line
                    started.pop(job, None)
                case "job-started":
                    started[job] = line.at
                case "job-ended" if job in started and job in asked:
                    what, seconds = asked.pop(job), line.at - started.pop(job)
                    failed = line.exit_code != 0 or line.reason is not None if line.failed is None else line.failed
                    if not failed and what.step:
                        key = (line.deployment, what.step, what.nodes, what.cores, what.gpus, what.memory)
                        found.jobs[key].append((round(seconds, 4), what.input_bytes))
                        if line.peak_memory is not None:
                            found.peaks[key] = max(line.peak_memory, found.peaks.get(key, 0))
    return found
