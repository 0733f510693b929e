"""Event logs, as the commands that show runs read them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError

if TYPE_CHECKING:
    from streamflow_fluxop.events.view import RunView
    from streamflow_fluxop.report.summary import RunReport


def load(run: str | None) -> tuple[RunView, RunReport]:
    """A run, by its id, a path or as the newest one, and its summary.

    Raises:
        UserError: there is none, or it can't be read.
    """
    from streamflow_fluxop.events.reading import find_log, newest_log

    return read(newest_log() if run is None else find_log(run))


def read(path: Path) -> tuple[RunView, RunReport]:
    """The run that a log tells of, and its summary.

    Raises:
        UserError: it can't be read.
    """
    from streamflow_fluxop.events.reading import read_events
    from streamflow_fluxop.events.view import RunView

    return summed_up(RunView(read_events(path)), path)


def summed_up(view: RunView, path: Path) -> tuple[RunView, RunReport]:
    """A view with its summary, as of now.

    Raises:
        UserError: nothing is known of the run yet.
    """
    from streamflow_fluxop.events.controller import is_alive
    from streamflow_fluxop.report.summary import summary

    if view.started is None:
        raise UserError("there is no event in it yet", where=str(path))
    alive = is_alive(view.started) if view.ended is None else None
    return view, summary(view, until(view, alive), alive)


def until(view: RunView, alive: bool | None) -> float:
    """The last moment that is known of a run, in seconds since its start: now, while its controller is alive."""
    if view.ended is not None or not alive or view.started is None or view.started.simulated:
        return view.at
    return max(view.at, time.time() - view.started.started.timestamp())
