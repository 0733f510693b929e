"""The jobs that wait at a MiniCluster."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappush
from itertools import count
from math import inf

from streamflow_fluxop.orchestration.decisions.fleet_job import LATE, Entry, FleetJob
from streamflow_fluxop.orchestration.decisions.planned_batches import TINY, PlannedBatch

LOOKED_AT = 50
"""Jobs at the head of the queue that are looked at for when the next may start, and for how many nodes it needs."""

_tie = count()


class JobQueue:
    """Jobs in the order in which they start: first come, first served, behind those that the plan has before them.

    Args:
        minicluster: its name.

    Attributes:
        ready: heap of (key, index of the block, n, job) of the jobs that nothing planned keeps waiting.
        held: jobs that wait for others that the plan has before them, by the index of their block.
        clock: the time, as of the last event.
    """

    def __init__(self, minicluster: str) -> None:
        self._minicluster = minicluster
        self.ready: list[Entry] = []
        self.held: dict[int, list[FleetJob]] = {}
        self.clock = 0.0

    def add(self, job: FleetJob) -> None:
        """A job waits."""
        if job.block is not None and job.block.waits and job.block.minicluster == self._minicluster:
            self.held.setdefault(job.block.index, []).append(job)
        else:
            self._push(job)

    def _push(self, job: FleetJob) -> None:
        index = -1
        if job.block is not None and job.block.minicluster == self._minicluster:
            index = job.block.index
            job.block.came = max(job.block.came, self.clock)  # that is when its slack begins
            if job.block.slack and job.block.taken == job.block.count:
                job.block.hold = min(job.block.hold, self.clock + job.block.slack)
        heappush(self.ready, (job.key, index, next(_tie), job))

    def release(self, block: PlannedBatch) -> None:
        """Nothing keeps the jobs of a block waiting any more."""
        for job in self.held.pop(block.index, ()):
            self._push(job)

    def unhold(self, job: FleetJob) -> None:
        """Take a job out of those that wait for others."""
        assert job.block is not None
        jobs = self.held[job.block.index]
        jobs.remove(job)
        if not jobs:
            del self.held[job.block.index]

    def drop(self, job: FleetJob) -> None:
        """Forget a job."""
        self.ready = [entry for entry in self.ready if entry[-1] is not job]
        heapify(self.ready)
        if job.block is not None and job in self.held.get(job.block.index, ()):
            self.unhold(job)

    def clear(self) -> None:
        """Forget all jobs."""
        self.ready.clear()
        self.held.clear()

    def hurry(self, nodes: int) -> bool:
        """Let the jobs that are ready no longer wait for their time, if there are any that fit on so many nodes."""
        waiting = [e[-1] for e in self.ready if e[-1].not_before > self.clock + TINY]
        waiting = [job for job in waiting if job.load is not None and len(job.load.parts) <= nodes]
        for job in waiting:
            assert job.block is not None
            job.block.hold = self.clock
        return bool(waiting)

    def in_order(self) -> list[FleetJob]:
        """All jobs, by what orders them."""
        held = (job for jobs in self.held.values() for job in jobs)
        return sorted([*(e[-1] for e in self.ready), *held], key=lambda job: job.key)

    def _first(self) -> Iterator[FleetJob]:
        return (e[-1] for e in self.ready[:LOOKED_AT])

    def not_before(self) -> float:
        """When the first of the jobs that are ready may start; `inf` where none is."""
        return min((job.not_before for job in self._first()), default=inf)

    def nodes(self, by: float) -> int:
        """Nodes that the jobs that are ready by then need at least."""
        return max((len(job.load.parts) for job in self._first() if job.load and job.not_before <= by), default=0)

    def patience_ends(self, now: float, patience: float) -> float:
        """When the next of the jobs may start, or has waited for others for long enough."""
        ends = [max(jobs[0].asked, jobs[0].key) + patience for jobs in self.held.values()]
        ends += [jobs[0].key + LATE for jobs in self.held.values()]
        ends += [job.not_before for job in self._first()]
        ends += [max(job.asked, job.key) + patience for job in self._first()]
        return min((end for end in ends if end > now + TINY), default=inf)
