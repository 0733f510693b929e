"""StreamFlow's `EXECUTING step …`, which it logs when it asks for a job, is said when the job's processes run."""

from __future__ import annotations

import logging
import re
import time

from streamflow.log_handler import logger as streamflow_logger

_asked: dict[str, logging.LogRecord] = {}
_SAID = "executes"
_LINE = re.compile(r"EXECUTING step \S+ \(job (\S+)\) ")


def when_it_executes(record: logging.LogRecord) -> bool:
    """A filter of StreamFlow's log: keeps the line of a job that goes to a fleet until `executes` is called for it."""
    match = None if hasattr(record, _SAID) else _LINE.match(str(record.msg))
    if match is None or not _goes_to_a_fleet(match[1]):
        return True
    _asked[match[1]] = record
    return False


def executes(job: str) -> None:
    """The job's processes run: say so, with the time that it is now."""
    record = _asked.pop(job, None)
    if record is not None:
        record.created = time.time()
        record.msecs = float(int(record.created % 1 * 1000))
        setattr(record, _SAID, True)
        streamflow_logger.handle(record)


def is_over(job: str) -> None:
    """It is over, whether it was executed or not."""
    _asked.pop(job, None)


def _goes_to_a_fleet(job: str) -> bool:
    from streamflow_fluxop.errors import FluxopError
    from streamflow_fluxop.streamflow_plugin.current_run import current_run

    try:
        return any(job in fleet.placements for fleet in current_run().fleets.values())
    except FluxopError:  # no fleet is in this run
        return False
