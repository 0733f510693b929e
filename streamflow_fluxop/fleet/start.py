"""Which of the jobs that wait at a MiniCluster may start, and on which of its nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from streamflow_fluxop.fleet.blocks import TINY
from streamflow_fluxop.fleet.job import LATE, Entry, Job
from streamflow_fluxop.fleet.member import Member

MISSES = 8
"""Jobs that are tried in vain before the rest of the queue waits for the next event."""

LATER = 0.1
"""By how much of its own time a job that goes first may make those late that the plan has before it."""


def startable(member: Member, now: float) -> Iterator[tuple[Job, tuple[int, ...]]]:
    """Take the jobs that start now out of the queues, with their nodes; the caller books each before asking for more.

    First what is ready, in order. Then, where nothing of that lacks room, jobs that are late because others are not
    there yet that the plan has before them, if they will be over, or nearly so, when those are expected (backfilling);
    and whoever has lost patience. Where jobs have been shorter than planned, the others need not be late for that.
    """
    short = False
    missed: list[Entry] = []
    while member.queue.ready and len(missed) < MISSES:
        entry = heappop(member.queue.ready)
        job = entry[-1]
        waits = job.not_before > now + TINY
        if (waits and not member.early) or member.joins_now(job, now):
            missed.append(entry)
            continue
        allowed = None if _impatient(member, job, now) else _unless_reserved(member, job, now)
        if nodes := _place(member, job, allowed, promised=not waits):
            yield job, nodes
            continue
        missed.append(entry)
        short = short or not waits
        if job.block is None:
            break  # first come, first served
    for entry in missed:
        heappush(member.queue.ready, entry)
    if not member.queue.held:
        return
    for index in sorted(member.queue.held)[:MISSES]:
        for job in list(member.queue.held[index]):
            impatient = _impatient(member, job, now)
            if (short or (now < job.key + LATE - TINY and not member.early)) and not impatient:
                break
            allowed = None if impatient else _unless_reserved(member, job, now)
            nodes = _place(member, job, allowed)
            if nodes is None:
                break
            member.queue.unhold(job)
            yield job, nodes


def _impatient(member: Member, job: Job, now: float) -> bool:
    return now >= max(job.asked, job.key) + member.even - TINY


def _place(
    member: Member, job: Job, allowed: Callable[[int], bool] | None, *, promised: bool = False
) -> tuple[int, ...] | None:
    wanted: tuple[int, ...] = ()
    if job.block is not None and job.block.minicluster == member.name:
        wanted = job.block.nodes_of(job.index)
    assert job.load is not None
    return member.nodes.find(job.load, wanted, member.usable, allowed, promised=promised)


def _unless_reserved(member: Member, job: Job, now: float) -> Callable[[int], bool]:
    """Says whether a job may have a node: nobody whom the plan has before it is expected there while it runs.

    Nor does a job of the plan go to a node that is about to leave: others may wait for its room.
    """
    seconds = job.seconds or 0.0
    block = job.block
    own = block.nodes if block is not None and block.minicluster == member.name else ()

    def allowed(rank: int) -> bool:
        use = member.use_of(rank)
        if use is None or not use.block.gaps.get(rank, (0.0, True))[1]:
            return block is None or rank in own
        idle = not member.nodes.jobs[rank]
        if idle and (member.given_up or now - member.idle_since[rank] > member.even):
            return True  # whoever was expected is not coming, or it takes him long
        if (use.planned, use.block.index) >= (job.key, block.index if block else -1):
            return True
        return now + seconds * (1 - LATER) <= use.at

    return allowed
