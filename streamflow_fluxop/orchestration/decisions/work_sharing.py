"""Where jobs start once durations deviate, so that the plan's order on its nodes is no longer the best one.

The MiniClusters of a pool can take each other's jobs. The job with the longest chain behind it goes first (upward rank:
Topcuoglu, Hariri, Wu 2002), to where the nodes need not stay up for longer because of it, as far as that is known. As
the nodes of a MiniCluster leave from the end, long jobs thus sink to the first ones. A job that finds no room is not
passed over by others for longer than what occupies its place is expected to run (EASY backfilling: Lifka 1995).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from heapq import heappop, heappush, nsmallest
from itertools import count
from math import ceil, inf, sqrt

from streamflow_fluxop.orchestration.decisions.dispatch import MISSES, Reservations
from streamflow_fluxop.orchestration.decisions.fleet_job import FleetJob
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase, is_next
from streamflow_fluxop.orchestration.decisions.node_resources import Load
from streamflow_fluxop.orchestration.decisions.planned_batches import NOT_LOOKED_AT, TINY, PlannedBatch

MOVED = 1e-3
"""Node-seconds that it must save at least to run a job in another MiniCluster than its own."""

BEYOND = 64
"""Blocks of a MiniCluster that come too late to count, after which no others are looked at."""

Entry = tuple[float, float, int, FleetJob]

Kept = dict[str, dict[int, tuple[float, FleetJob]]]
"""Until when nodes may be used by others, and for which job they are kept, by MiniCluster and rank."""


class WorkSharing:
    """MiniClusters of one flavour whose jobs may run in any of them.

    Attributes:
        members: the MiniClusters.
        soon: node-seconds of what is to begin soon, as last re-timed; None: not worked out since.
        relieved_in_vain: MiniClusters that came for jobs which waited, and went without having run any.
        nodes_soon: nodes for what is to begin before idle ones have cost as much as their coming again; likewise.
    """

    def __init__(self) -> None:
        self.members: list[MiniClusterState] = []
        self.soon: float | None = None
        self.nodes_soon: float | None = None
        self.relieved_in_vain = 0
        self._queues: dict[Load, list[Entry]] = {}
        self._tie = count()

    def add(self, job: FleetJob) -> None:
        """A job waits."""
        assert job.load is not None
        heappush(self._queues.setdefault(job.load, []), (-job.tail, job.key, next(self._tie), job))

    def startable(
        self, now: float, reservations: Reservations | None = None
    ) -> Iterator[tuple[FleetJob, MiniClusterState, tuple[int, ...]]]:
        """Take the jobs that start now out of the queues, each with its place; the caller books it before the next.

        Args:
            now: on the fleet's clock.
            reservations: which nodes are kept for others that the plan has before a job; None: the plan's places no
                longer count, and nodes are kept for jobs that wait.
        """
        up = [m for m in self.members if m.usable and m.nodes.spare]
        if not up:
            return
        until: dict[str, list[float]] = {}
        kept: Kept = {}
        passed: list[FleetJob] = []  # those that find no room; most events end here, so what it takes comes after
        heads = [(entry, load) for load in list(self._queues) if (entry := self._head(load))]
        heads.sort(key=lambda head: head[0][:3], reverse=True)
        refused: list[tuple[Load, Entry]] = []
        tries: dict[Load, int] = {}
        while heads:
            entry, load = heads.pop()
            job = entry[-1]
            room = [(m, ranks) for m in up if (ranks := m.nodes.with_room(load.parts[-1], m.usable, load.alone))]
            if room and not until:
                until = {m.name: m.busy_until(now) for m in up}
            while room and passed:
                _keep(passed.pop(0), up, kept)
            if not (place := _place(job, room, until, kept, now, reservations)):
                if reservations is None or job.block is None:
                    passed.append(job)  # nor is there room for others of its kind
                elif room and tries.setdefault(load, 0) < MISSES:  # others of its kind may be short enough
                    tries[load] += 1
                    refused.append((load, heappop(self._queues[load])))
                    if after := self._head(load):
                        insort(heads, (after, load), key=lambda head: tuple(-x for x in head[0][:3]))
                continue
            member, nodes = place
            end = now + (job.seconds or 0.0)
            busy = until[member.name]
            for rank in range(max(nodes) + 1):
                busy[rank] = max(busy[rank], end)
            assert job.member is not None
            job.member.drop(job)
            job.member = member
            yield job, member, nodes
            if after := self._head(load):
                insort(heads, (after, load), key=lambda head: tuple(-x for x in head[0][:3]))
        for load, entry in refused:
            heappush(self._queues.setdefault(load, []), entry)

    def first_of(self, load: Load) -> FleetJob | None:
        """The job of a kind that goes first."""
        head = self._head(load) if load in self._queues else None
        return head[-1] if head else None

    def stands_before(self, job: FleetJob) -> int:
        """How many jobs of its kind go before a job that waits."""
        assert job.load is not None
        return sum(e[-1].waits and e[:2] < (-job.tail, job.key) for e in self._queues.get(job.load, ()))

    def kept_before(self, job: FleetJob, now: float, *, unplanned: bool) -> Kept:
        """Until when nodes may be used that are kept for jobs which find no room and go before a job, by rank.

        Args:
            job: waits.
            now: on the fleet's clock.
            unplanned: they are kept only for jobs that the plan does not know.
        """
        up = [m for m in self.members if m.usable and m.nodes.spare]
        kept: Kept = {}
        heads = [entry for load in list(self._queues) if (entry := self._head(load)) and load != job.load]
        for entry in sorted(heads, key=lambda head: head[:3]):
            if entry[:2] < (-job.tail, job.key) and (entry[-1].block is None or not unplanned):
                _keep(entry[-1], up, kept)
        return kept

    def worth(self, member: MiniClusterState, more: int, now: float) -> int:
        """How many of so many nodes more are worth their coming and going, for the work that is to begin soon.

        N nodes do W node-seconds in W / N, and each costs its break-even: the least is at
        sqrt(W * value of a second / break-even).
        What those that are there, or come already, do until new ones have come does not count.

        Args:
            member: would come, or grow.
            more: nodes that it could use.
            now: the time.
        """
        if more <= 0 or member.value_of_a_second == inf:
            return more
        joined = now + member.bring_up
        if self.soon is None:
            self.soon = self._work_until(joined + member.break_even)
        up = [m for m in self.members if m.phase in (Phase.COMING, Phase.UP)]
        there, work = sum(m.target for m in up), self.soon
        price = member.break_even / member.value_of_a_second
        if work - there * member.bring_up >= (there + more) ** 2 * price:
            return more
        there = 0
        for m in up:
            for rank in range(m.target):
                busy = rank < m.usable and m.nodes.jobs[rank]
                free = m.until.get(rank, now) if busy else m.joins.get(rank, now)
                if free <= joined + TINY:
                    there += 1
                    work -= joined - free if free > now else member.bring_up
        return min(more, max(0, ceil(sqrt(max(0.0, work) / price) - TINY) - there))

    def forget(self) -> None:
        """What was expected has been worked out anew."""
        self.soon = self.nodes_soon = None

    def needs(self, leaving: int, horizon: float) -> bool:
        """Whether so many idle nodes can't be done without, for what is expected to begin before a time."""
        if self.nodes_soon is None:
            self.nodes_soon = sum(b.share * (b.left - b.begun) for b in self._until(horizon))
        free = sum(m.nodes.free_share(m.usable) for m in self.members if m.usable)
        return self.nodes_soon > free - leaving + TINY

    def begins(self, job: FleetJob) -> None:
        """A job that was planned starts."""
        if self.nodes_soon is not None and job.block is not None:
            self.nodes_soon -= job.block.share
        if self.soon is not None and job.block is not None:
            self.soon -= job.block.share * job.block.seconds

    def _work_until(self, horizon: float) -> float:
        """Node-seconds of the jobs that are expected to begin before a time."""
        return sum((b.left - b.begun) * b.share * b.seconds for b in self._until(horizon))

    def _until(self, horizon: float) -> Iterator[PlannedBatch]:
        """The blocks with jobs that are expected to begin before a time, but for some that the plan has late."""
        for m in self.members:
            later = 0
            for b in m.blocks[m.passed :]:
                if is_next(b):
                    if b.expected is not NOT_LOOKED_AT and b.expected[0] <= horizon:
                        yield b
                    else:
                        later += 1
                        if later > BEYOND:
                            break

    def _head(self, load: Load) -> Entry | None:
        """The first job of a kind that waits."""
        queue = self._queues[load]
        while queue and not queue[0][-1].waits:
            heappop(queue)
        if not queue:
            del self._queues[load]
            return None
        return queue[0]


def _place(
    job: FleetJob,
    room: list[tuple[MiniClusterState, list[int]]],
    until: dict[str, list[float]],
    kept: Kept,
    now: float,
    reservations: Reservations | None,
) -> tuple[MiniClusterState, tuple[int, ...]] | None:
    """Where a job costs least: node-seconds for which nodes stay up longer, up to the one that it runs on.

    Args:
        job: waits.
        room: the MiniClusters with nodes that have room for a part of it, and those nodes, in order.
        until: for each node of a MiniCluster when it, and all that leave before it, have nothing to do.
        kept: until when nodes may be used that are kept for others.
        now: the time.
        reservations: see `startable`.
    """
    assert job.load is not None
    assert job.member is not None
    parts, alone = job.load.parts, job.load.alone
    seconds = job.seconds or 0.0
    end = now + seconds
    best: tuple[MiniClusterState, tuple[int, ...]] | None = None
    least = inf
    for member, ranks in room:
        if len(ranks) < len(parts):
            continue
        busy, others = until[member.name], kept.get(member.name, {})
        keeper = reservations.keeper(member, job) if reservations is not None else None
        cost = 0.0 if member is job.member else MOVED
        found: list[int] = []
        counted = 0
        for rank in ranks:
            cost += sum(end - busy[r] for r in range(counted, rank + 1) if busy[r] < end)
            counted = rank + 1
            if cost >= least:
                break
            if rank in others and end > others[rank][0] + TINY:
                continue
            if not member.nodes.has_room(rank, parts[len(found)], alone):
                continue
            if keeper is not None and keeper(rank) is not None:
                continue
            found.append(rank)
            if len(found) == len(parts):
                best, least = (member, tuple(found)), cost
                break
    return best


def _keep(job: FleetJob, up: list[MiniClusterState], kept: Kept) -> None:
    """Keep the nodes of its MiniCluster that are free first for a job: others may run there until then."""
    assert job.load is not None
    member, span = job.member, len(job.load.parts)
    if member is None or member not in up or member.usable < span:
        return
    others = kept.setdefault(member.name, {})
    first = nsmallest(span, ((member.until.get(r, 0.0), r) for r in range(member.usable) if r not in others))
    if first:
        others.update((rank, (first[-1][0], job)) for _, rank in first)
