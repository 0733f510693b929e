"""Tells in log and event log why jobs wait beside idle nodes: a line when the reason changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from streamflow_fluxop import events
from streamflow_fluxop.events.waits import sentence
from streamflow_fluxop.orchestration.decisions.wait_causes import Wait, shown

logger = logging.getLogger(__name__)

SETTLED = 1.0
"""Seconds after an event in which jobs may still find their places: nothing is said before, nor more often."""

MOVED = 5.0
"""Seconds by which what is waited for is expected sooner or later than was said, after which that is said anew."""


class Waits:
    """Looks at the fleet a moment after something has happened.

    Args:
        look: finds what waits beside idle nodes, at a time of the fleet's clock.
        record: is told of it.
    """

    def __init__(self, look: Callable[[float], Iterable[Wait]], record: events.Recorder) -> None:
        self._look = look
        self._record = record
        self._said: dict[str, Wait] = {}
        self._timer: asyncio.TimerHandle | None = None

    def happened(self) -> None:
        """Something has changed: look at the fleet soon."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLED, self.tell)

    def close(self) -> None:
        """Don't look any more."""
        if self._timer is not None:
            self._timer.cancel()

    def tell(self) -> None:
        """Say what is new."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        found = {wait.minicluster: wait for wait in self._look(now)}
        for name in self._said.keys() - found.keys():
            del self._said[name]
            self._record(events.JobsWait(minicluster=name, jobs=0))
        for name, wait in found.items():
            said = self._said.get(name)
            if said is not None and _reason(said) == _reason(wait) and not _moved(said, wait):
                continue
            event = _event(wait, now)
            self._record(event)
            if said is None or _reason(said) != _reason(wait):
                logger.info("WAITING beside MiniCluster %s: %s", name, sentence(event, event.expected_in))
            self._said[name] = wait


def _reason(wait: Wait) -> tuple[str, str | None]:
    return wait.cause.reason, wait.cause.kept_for


def _moved(said: Wait, wait: Wait) -> bool:
    """Whether other numbers are worth a line in the event log."""
    before, after = said.cause.expected, wait.cause.expected
    if before is None or after is None:
        return before is not after
    return abs(after - before) > MOVED


def _event(wait: Wait, now: float) -> events.JobsWait:
    cause = wait.cause
    return events.JobsWait(
        minicluster=wait.minicluster,
        jobs=wait.jobs,
        idle=wait.idle,
        job=shown(wait.job),
        reason=cause.reason,
        kept_for=cause.kept_for,
        expected_in=None if cause.expected is None else round(max(0.0, cause.expected - now), 1),
        message=cause.words,
    )
