"""Jobs that run far longer than was expected are said to, while they do."""

from __future__ import annotations

import asyncio
import logging

from streamflow_fluxop.events.expected_end import far_beyond
from streamflow_fluxop.model import Duration
from streamflow_fluxop.report.units import duration

logger = logging.getLogger(__name__)


class Overrun:
    """Warns when a job runs far beyond what was expected, and again whenever its time has doubled.

    Args:
        job: its name.
        expected: of a job of its step.
    """

    def __init__(self, job: str, expected: Duration) -> None:
        self._job = job
        self._expected = expected
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """The job runs from now on."""
        if self._timer is None:
            self._wait(asyncio.get_running_loop().time(), far_beyond(self._expected))

    def stop(self) -> None:
        """It is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, began: float, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(began + seconds, self._warn, began, seconds)

    def _warn(self, began: float, seconds: float) -> None:
        how = "assumed" if self._expected.source == "assumed" else "expected"
        logger.warning(
            "LONG job %s has run for %s, and %s were %s",
            self._job, duration(round(seconds)), duration(self._expected.seconds), how,
        )  # fmt: skip
        self._wait(began, 2 * seconds)
