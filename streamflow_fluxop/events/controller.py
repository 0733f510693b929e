"""Whether the process that controls a run is still there."""

from __future__ import annotations

import socket

from streamflow_fluxop.events.event_types import RunStarted
from streamflow_fluxop.events.writing import process_started

_SAME = 2.0
"""Seconds by which two readings of a process's start may differ."""


def is_alive(started: RunStarted) -> bool | None:
    """Whether the controller still runs; None: it is, or was, on another machine, so nobody here knows."""
    if started.host != socket.gethostname():
        return None
    now = process_started(started.pid)
    return now is not None and (started.pid_started is None or abs(now - started.pid_started) < _SAME)
