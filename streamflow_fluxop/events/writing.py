"""Writing an event log: a file a run, to which whole lines are appended."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from streamflow_fluxop.events.event_types import Event, RunStarted

logger = logging.getLogger(__name__)

Recorder = Callable[[Event], None]
"""Takes note of what happens, at the moment at which it happens; never raises."""


def discard(event: Event) -> None:
    """The recorder of those who keep no log."""


def runs_folder() -> Path:
    """Where the logs of this user's runs are: `$FLUXOP_RUNS`, else `~/.streamflow/fluxop/runs`."""
    return Path(os.environ.get("FLUXOP_RUNS") or Path.home() / ".streamflow/fluxop/runs")


def new_run_id(now: datetime | None = None) -> str:
    """An id for a run; sorted as text, the ids of a user's runs are in the order in which they started."""
    return f"{(now or datetime.now(timezone.utc)).astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class EventLog:
    """The event log of a run that this process controls.

    Every event is one `write` of a whole line to a file that is open for appending: who reads it meanwhile sees whole
    lines, and after a crash all but the last one are whole. Where the file can't be written (the disk is full), that
    is said once and the run goes on without.

    Args:
        path: of the file; it must not be there yet. Its folder is made.
        file: what is run.
        resumes: the run that it goes on with.
        run: the run's id; None: the path's name without its ending.
        clock: seconds, on any monotonic clock; the log's times count from now on it.
        simulated: whether that clock is a simulation's.

    Raises:
        OSError: the file can't be made.
    """

    def __init__(
        self,
        path: Path,
        *,
        file: str | None = None,
        resumes: str | None = None,
        run: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        simulated: bool = False,
    ) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self.run = run or path.stem
        self._clock = clock
        self._fd: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._origin = clock()
        self.record(
            RunStarted(
                run=self.run,
                started=datetime.now(timezone.utc),
                file=file,
                resumes=resumes,
                host=socket.gethostname(),
                pid=os.getpid(),
                pid_started=process_started(os.getpid()),
                simulated=simulated,
            )
        )

    @classmethod
    def of_new_run(cls, file: str | None = None, resumes: str | None = None) -> EventLog:
        """The log of a run that starts now, in the user's folder of runs.

        Raises:
            OSError: the file can't be made.
        """
        folder = runs_folder()
        return cls(folder / f"{new_run_id()}.jsonl", file=file, resumes=resumes)

    def record(self, event: Event) -> None:
        """Append an event that happens now."""
        self._append(event, {})

    def fleet(self, deployment: str) -> Recorder:
        """The recorder of one fleet: it says whose the events are."""
        return lambda event: self._append(event, {"deployment": deployment})

    def close(self) -> None:
        """Nothing more will be recorded."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _append(self, event: Event, more: dict[str, str]) -> None:
        if self._fd is None:
            return
        stamped = event.model_copy(update={"at": round(max(0.0, self._clock() - self._origin), 4), **more})
        line = stamped.model_dump_json().encode() + b"\n"
        try:
            written = os.write(self._fd, line)
            while written < len(line):  # a signal, or the disk is full: the next write says which
                written += os.write(self._fd, line[written:])
        except OSError as error:
            logger.error("the event log %s can't be written, and ends here: %s", self.path, error.strerror)
            self.close()


def process_started(pid: int) -> float | None:
    """When the process with this id was started, in seconds since 1970; None: there is none, or we may not know."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
