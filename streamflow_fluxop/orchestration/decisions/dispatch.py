"""Which of the jobs that wait at a MiniCluster may start, and on which of its nodes.

A job whose node is up and free starts, unless it would make one late that the plan has before it there: such a node is
reserved (backfilling: Lifka, The ANL/IBM SP scheduling system, 1995). Only a run that has not deviated from its plan at
all, bring-ups included, keeps to the plan's times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from math import inf

from streamflow_fluxop.orchestration.decisions.fleet_job import LATE, Entry, FleetJob
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase, is_next
from streamflow_fluxop.orchestration.decisions.node_resources import Load
from streamflow_fluxop.orchestration.decisions.planned_batches import TINY, PlannedBatch

MISSES = 16
"""Jobs that are tried in vain before the rest of the queue waits for the next event."""

LATER = 0.1
"""By how much of its own time a job that goes first may make those late that the plan has before it."""

BEYOND = 64
"""Blocks of a MiniCluster after which it is no longer asked whether a job would make them late."""


class Leaves(Enum):
    """Nobody will have a node: it goes."""

    LEAVES = "leaves"


Keeper = Callable[[int], PlannedBatch | Leaves | None]
"""Says of a rank for what it is kept from a job; None: the job may have it."""


@dataclass(frozen=True)
class Reservations:
    """Which nodes are kept for whom, at one moment.

    Args:
        now: on the fleet's clock.
        timetable: nothing has deviated: what the plan puts off is put off.
        room_is_wanted: other MiniClusters wait for nodes to leave.
        last: when the jobs that run, and what has to follow them, are expected to be over.
    """

    now: float
    timetable: bool = False
    room_is_wanted: bool = False
    last: float = 0.0

    def keeper(self, member: MiniClusterState, job: FleetJob) -> Keeper:
        """Says for what a node is kept from a job: for whom the plan has before it there, who would be late for it.

        Nor does a job of the plan keep a node from leaving, unless it is worth that.
        """
        now, block = self.now, job.block
        own = block.nodes if block is not None and block.minicluster == member.name else ()
        before = (job.key, block.index if block is not None else -1)
        over_at = now + (job.seconds or 0.0) * (1 - LATER)

        def kept_for(rank: int) -> PlannedBatch | Leaves | None:
            use = member.use_of(rank)
            if use is None or not use.block.gaps.get(rank, (0.0, True))[1]:
                return None if rank in own or self._may_keep_it(member, job) else Leaves.LEAVES
            idle = not member.nodes.jobs[rank]
            if idle and (member.given_up or now - member.idle_since[rank] > member.break_even):
                return None  # whoever was expected is not coming, or it takes him long
            if (use.planned, use.block.index) >= before or over_at <= use.at:
                return None
            return None if not self.timetable and _fits_beside(member, job, rank, over_at) else use.block

        return kept_for

    def _may_keep_it(self, member: MiniClusterState, job: FleetJob) -> bool:
        """Whether a job may have a node that would leave else: the run ends so much earlier for it, or it is cheaper.

        Node-seconds are weighed against seconds of the run, as the plan's objective has it.
        """
        if job.block is None or (member.relieves and not self.room_is_wanted):
            return True
        if self.timetable or self.room_is_wanted:
            return False
        if job.member is None or job.seconds is None or member.value_of_a_second == inf:
            return True
        saved = job.member.break_even if job.member.phase is Phase.DOWN else 0.0
        earlier = job.block.expected[0] + job.chain - max(self.last, self.now + job.chain)
        return max(0.0, earlier) * member.value_of_a_second >= job.seconds - saved


def startable(member: MiniClusterState, rules: Reservations) -> Iterator[tuple[FleetJob, tuple[int, ...]]]:
    """Take the jobs that start now out of the queues, with their nodes; the caller books each before asking for more.

    First what nothing planned keeps waiting, in order; then jobs that wait for others which the plan has before them.
    """
    if not member.nodes.spare:
        return
    now, timetable = rules.now, rules.timetable
    full: set[Load] = set()  # there is no room for another of these
    short = False
    missed: list[Entry] = []
    tried = 0
    while member.queue.ready and tried < MISSES:
        entry = heappop(member.queue.ready)
        missed.append(entry)
        job = entry[-1]
        assert job.load is not None
        waits = job.not_before > now + TINY
        if job.load in full:
            continue
        tried += 1
        if timetable and (waits or member.joins_now(job, now)):
            continue
        keeper = None if impatient(member, job, now) else rules.keeper(member, job)
        if nodes := _place(member, job, keeper, promised=not waits):
            missed.pop()
            yield job, nodes
            tried, full = 0, set()
            continue
        if not member.nodes.with_room(job.load.parts[-1], member.usable, job.load.alone):
            full.add(job.load)
        short = short or (timetable and not waits)
        if job.block is None and not has_room_for(member, job):
            short = True
            break  # first come, first served
    for entry in missed:
        heappush(member.queue.ready, entry)
    for index in sorted(member.queue.held)[:MISSES]:
        for job in list(member.queue.held[index]):
            waited = impatient(member, job, now)
            if (short or (timetable and now < job.key + LATE - TINY)) and not waited:
                break
            nodes = _place(member, job, None if waited else rules.keeper(member, job))
            if nodes is None:
                break
            member.queue.unhold(job)
            yield job, nodes


def impatient(member: MiniClusterState, job: FleetJob, now: float) -> bool:
    """Whether a job has waited long enough for those that the plan has before it."""
    return now >= max(job.asked, job.key) + member.break_even - TINY


def has_room_for(member: MiniClusterState, job: FleetJob) -> bool:
    """Whether a job would find room, if nothing were kept for others."""
    assert job.load is not None
    return len(member.nodes.with_room(job.load.parts[-1], member.usable, job.load.alone)) >= len(job.load.parts)


def _place(
    member: MiniClusterState, job: FleetJob, keeper: Keeper | None, *, promised: bool = False
) -> tuple[int, ...] | None:
    wanted: tuple[int, ...] = ()
    if job.block is not None and job.block.minicluster == member.name:
        wanted = job.block.nodes_of(job.index)
    assert job.load is not None
    return member.nodes.find(job.load, wanted, member.usable, keeper, promised=promised)


def _fits_beside(member: MiniClusterState, job: FleetJob, rank: int, over_at: float) -> bool:
    """Whether a node has room for a job and for all that the plan has there before it and that begins meanwhile."""
    assert job.load is not None
    needed = list(job.load.parts[0])
    for n, block in enumerate(_next_before(member, job)):
        if n == BEYOND:
            return False
        jobs = min(block.jobs_on(rank), block.left - block.begun)
        if not jobs or block.expected[0] >= over_at:
            continue
        if block.load is None or block.load.alone:
            return False
        needed = [a + jobs * b for a, b in zip(needed, block.load.parts[0], strict=True)]
        if not member.nodes.has_room(rank, (needed[0], needed[1], needed[2])):
            return False
    return not job.load.alone


def _next_before(member: MiniClusterState, job: FleetJob) -> Iterator[PlannedBatch]:
    """The blocks with jobs still to begin that the plan has before a job in a MiniCluster."""
    for block in member.blocks[member.passed :]:
        if job.block is not None and block.index >= job.block.index:
            return
        if is_next(block):
            yield block
