"""Jobs that the fleet ends while they run, on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamflow_fluxop.errors import BudgetReachedError


class JobTermination:
    """Ends jobs, and says why only when the run has stopped: the first job that fails would end all others, too."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[object]] = {}
        self._why: dict[str, str] = {}
        self._stopped = asyncio.Event()

    def end(self, job: str, reason: str) -> None:
        """Cancel what a job's task does."""
        if (task := self._tasks.get(job)) is not None:
            self._why[job] = reason
            task.cancel()

    def stopped(self) -> None:
        """The run has stopped."""
        self._stopped.set()

    @asynccontextmanager
    async def watched(self, job: str) -> AsyncIterator[None]:
        """What a job does; it may be ended meanwhile.

        Raises:
            BudgetReached: it was ended.
        """
        task = asyncio.current_task()
        assert task is not None
        self._tasks[job] = task
        try:
            yield
        except asyncio.CancelledError:
            if job not in self._why:
                raise
            if uncancel := getattr(task, "uncancel", None):  # Python 3.11
                uncancel()
            await self._stopped.wait()
            raise BudgetReachedError(self._why[job]) from None
        finally:
            del self._tasks[job]
            self._why.pop(job, None)
