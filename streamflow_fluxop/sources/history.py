"""How long the jobs of past runs took, where our event logs don't tell: from StreamFlow's own database.

StreamFlow notes of each run the CWL file, and of each job the time from handing it to its deployment until its end. On
MiniClusters that includes waiting for the MiniCluster and in Flux's queue, so it errs on the long side.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, stdev
from typing import Any
from urllib.parse import quote

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Duration, Step

_COMPLETED = 4
"""StreamFlow's `Status.COMPLETED`, as its database has it."""

_QUERY = """
    SELECT step.name, step.workflow, token.tag, execution.start_time, execution.end_time
    FROM execution JOIN step ON step.id = execution.step LEFT JOIN token ON token.id = execution.job_token
    WHERE execution.status = ? AND execution.end_time >= execution.start_time
"""


@dataclass(frozen=True)
class DatabaseHistory:
    """What past jobs of a step took.

    Attributes:
        seconds: for each run of the workflow, a list with an entry a job.
    """

    seconds: tuple[tuple[float, ...], ...]

    def of_width(self, width: int) -> list[float]:
        """The jobs of runs in which the step had this width; of all runs where there is none."""
        same = [s for run in self.seconds if len(run) == width for s in run]
        return same or [s for run in self.seconds for s in run]

    def duration(self, width: int) -> Duration:
        """Median and standard deviation."""
        jobs = self.of_width(width)
        spread = stdev(jobs) if len(jobs) > 1 else 0.0
        return Duration(seconds=round(median(jobs), 3), spread=round(spread, 3), source="history")


def default_database(config: Mapping[str, Any], streamflow_file: Path) -> Path | None:
    """Where StreamFlow keeps the history of the runs of a file; None where it keeps none, or none that we can read.

    Args:
        config: the StreamFlow file's content.
        streamflow_file: its path.
    """
    database = config.get("database") or {}
    if database.get("type", "default") not in ("default", "sqlite"):
        return None
    connection: str | None = (database.get("config") or {}).get("connection")
    if connection == ":memory:":
        return None
    if connection is not None:
        return streamflow_file.parent / connection
    try:
        return Path.home() / ".streamflow" / version("streamflow") / "sqlite.db"
    except PackageNotFoundError:
        return None


def read_history(database: Path, cwl_file: str | None = None) -> dict[str, DatabaseHistory]:
    """What the jobs of each step took, by the step's name.

    Args:
        database: StreamFlow's sqlite file.
        cwl_file: only runs of this file; None: all runs.

    Raises:
        UserError: it can't be read, or is no database of StreamFlow.
    """
    if not database.is_file():
        raise UserError("can't be read: No such file or directory", where=str(database))
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database.resolve()))}?mode=ro", uri=True)) as connection:
            params = dict(connection.execute("SELECT id, params FROM workflow").fetchall())
            rows = connection.execute(_QUERY, (_COMPLETED,)).fetchall()
    except sqlite3.Error as error:
        raise UserError(
            f"is no database that StreamFlow wrote: {error}",
            where=str(database),
            fix="StreamFlow keeps it as ~/.streamflow/VERSION/sqlite.db.",
        ) from None
    runs = {run for run, text in params.items() if cwl_file is None or _file(text) == resolved(cwl_file)}
    found: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for step, run, tag, start, end in rows:
        if run in runs:
            found[step][run][str(tag)] = (end - start) / 1e9
    return {
        step: DatabaseHistory(tuple(tuple(jobs.values()) for jobs in by_run.values())) for step, by_run in found.items()
    }


def with_history(steps: Iterable[Step], past: Mapping[str, DatabaseHistory], *, wins: bool) -> tuple[list[Step], int]:
    """The steps with the durations of past runs.

    Args:
        steps: of the workflow.
        past: of each step.
        wins: over hints, too; else only where there is nothing better than a time limit.

    Returns:
        The steps, and how many past jobs the new durations come from.
    """
    result, jobs = [], 0
    for step in steps:
        known = past.get(step.name)
        said = step.duration.source == "steps"
        if known is None or step.controller or said or not (wins or step.duration.source in ("assumed", "time limit")):
            result.append(step)
            continue
        duration = known.duration(step.width)
        if step.duration.source == "time limit" and duration.seconds > step.duration.seconds:
            duration = duration.model_copy(update={"seconds": step.duration.seconds})
        result.append(step.model_copy(update={"duration": duration}))
        jobs += len(known.of_width(step.width))
    return result, jobs


def _file(params: str | None) -> str | None:
    """The CWL file of a run, as StreamFlow notes it among a workflow's parameters."""
    try:
        file = json.loads(params or "{}").get("config", {}).get("file")
    except (json.JSONDecodeError, AttributeError):
        return None
    return resolved(file) if isinstance(file, str) else None


def resolved(file: str) -> str:
    """A CWL file by which runs of the same workflow know each other: its path without links, or its URL."""
    if "://" in file:
        return file
    path, _, fragment = file.partition("#")
    return f"{os.path.realpath(path)}#{fragment}"
