"""The event log of a `streamflow run`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow_fluxop import events
from streamflow_fluxop.events import EventLog, Recorder, RunEnded, discard
from streamflow_fluxop.events.index import remember
from streamflow_fluxop.streamflow_plugin import signals
from streamflow_fluxop.streamflow_plugin.internals import execution_log
from streamflow_fluxop.streamflow_plugin.overrun import Overrun

if TYPE_CHECKING:
    from streamflow_fluxop.agent.wire.protocol import JobResult
    from streamflow_fluxop.streamflow_plugin.current_run import FleetRun

logger = logging.getLogger(__name__)

SAID_KEPT = 1000
"""Characters of what a failed job wrote that the event log keeps: the last ones."""

_log: EventLog | None = None


def current_log() -> Path | None:
    """The event log of the run that this process controls; None: there is none yet."""
    return _log.path if _log else None


class Recording:
    """Begins with the run's first fleet, and ends with the task that made it: StreamFlow's whole run.

    Args:
        file: the StreamFlow file, None where nobody knows.
        resumes: the run that this one goes on with.

    Attributes:
        file: its absolute path.
    """

    def __init__(self, file: str | None = None, resumes: str | None = None) -> None:
        self.file = os.path.abspath(file) if file else None
        self._resumes = resumes
        self._log: EventLog | None = None
        self._failed = False
        try:
            self._run = asyncio.current_task()
        except RuntimeError:  # the file is only looked at
            self._run = None

    def fleet(self, deployment: str) -> Recorder:
        """The recorder of a fleet. The run goes on without a log where none can be made."""
        if self._log is None and not self._failed:
            self._begin()
        return self._log.fleet(deployment) if self._log else discard

    @property
    def run(self) -> str | None:
        """The run's id; None where there is no log."""
        return self._log.run if self._log else None

    def _begin(self) -> None:
        try:
            self._log = EventLog.of_new_run(self.file, self._resumes)
        except OSError as error:
            self._failed = True
            logger.warning("no event log is kept of this run: %s: %s", error.filename, error.strerror)
            return
        global _log
        _log = self._log
        logger.info("RUN %s: its events are in %s", self._log.run, self._log.path)
        if self._run is not None:
            self._run.add_done_callback(self._end)

    def _end(self, run: asyncio.Task[None]) -> None:
        assert self._log is not None
        error = None if run.cancelled() else run.exception()
        if run.cancelled() or isinstance(error, KeyboardInterrupt):
            terminated = signals.terminated()
            ended = RunEnded(exit_code=143 if terminated else 130, reason="SIGTERM" if terminated else "Ctrl-C")
        elif isinstance(error, SystemExit):
            ended = RunEnded(exit_code=int(error.code or 0), reason=str(error))
        elif error is not None:
            ended = RunEnded(exit_code=1, reason=str(error) or type(error).__name__)
        else:
            ended = RunEnded(exit_code=0)
        self._log.record(ended)
        self._log.close()
        remember(self._log.path.parent)


@contextmanager
def recorded_job(record: Recorder, fleet: FleetRun, name: str, group: str) -> Iterator[RecordedJob]:
    """Record that a job is asked for, and how it ends: with the result that it is given, or with an error.

    Args:
        record: of the fleet.
        fleet: has placed the job.
        name: the job's.
        group: in whose MiniCluster it is to run.
    """
    placement = fleet.placements[name]
    flavour = fleet.config.flavours[fleet.groups[group].flavour]
    record(events.JobAsked.of(name, placement.needs, flavour, placement.step or None, group, placement.input_bytes))
    expected = fleet.durations.get(placement.step)
    job = RecordedJob(record, name, placement.success_codes, Overrun(name, expected) if expected else None)
    why = "cancelled"
    try:
        yield job
    except Exception as error:
        why = str(error)
        raise
    finally:
        job.is_over()
        result = job.result
        record(
            events.JobEnded(
                job=name,
                exit_code=result.exit_code,
                reason=result.reason,
                failed=job.failed,
                peak_memory=None if result.memory is None else -(-result.memory // 1024),
                cpu_seconds=None if result.cpu is None else result.cpu / 1000,
                said=result.output.strip()[-SAID_KEPT:] or None if job.failed else None,
            )
            if result
            else events.JobEnded(job=name, reason=why)
        )


class RecordedJob:
    """A job that is under way.

    Attributes:
        result: how it ended, None before.
    """

    def __init__(
        self, record: Recorder, name: str, success_codes: frozenset[int], overrun: Overrun | None = None
    ) -> None:
        self._record = record
        self._name = name
        self._success_codes = success_codes
        self._overrun = overrun
        self.result: JobResult | None = None

    @property
    def failed(self) -> bool:
        """Whether it has a result, and one that its tool does not call a success."""
        result = self.result
        return result is not None and (result.reason is not None or result.exit_code not in self._success_codes)

    def on_state(self, minicluster: str) -> Callable[[str], None]:
        """What the agent's client is to call for a job in this MiniCluster."""

        def record(state: str) -> None:
            if state == "submitted":
                self._record(events.JobSubmitted(job=self._name, minicluster=minicluster))
                return
            self._record(events.JobStarted(job=self._name))
            execution_log.executes(self._name)
            if self._overrun is not None:
                self._overrun.start()

        return record

    def is_over(self) -> None:
        """Nothing more is said of it."""
        execution_log.is_over(self._name)
        if self._overrun is not None:
            self._overrun.stop()
