"""More nodes for jobs that wait, though the plan would have them run by now.

Once runs deviate from their plans, jobs take nodes that the plan has for others, and MiniClusters come sooner or later
than was assumed. Then nodes that the plan has may not be asked for, or more are worth it than the plan has.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from math import ceil, sqrt

from streamflow_fluxop.orchestration.decisions.fleet_job import FleetJob
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase
from streamflow_fluxop.orchestration.decisions.node_resources import nodes_worth
from streamflow_fluxop.orchestration.decisions.placement import Placer
from streamflow_fluxop.orchestration.decisions.planned_batches import TINY
from streamflow_fluxop.orchestration.decisions.quota import Quota
from streamflow_fluxop.orchestration.decisions.work_sharing import BEYOND, WorkSharing

VAIN = 2
"""MiniClusters that came for jobs which then ran elsewhere, after which no more come to a pool."""

LOOKED_AT = 200
"""Jobs that wait at a MiniCluster, of which it is asked how many nodes they would fill."""

MUCH = 2.0
"""Coming and going is so many times cheaper than was assumed, beside what jobs take, that what the plan has after each
other is better done at once."""


def relieve(
    pools: Iterable[WorkSharing], room: Quota, router: Placer, *, factor: float | None, last: float, now: float
) -> list[MiniClusterState]:
    """Set `extra` of the MiniClusters that should come, or grow, for jobs that wait; and say which these are.

    Args:
        pools: MiniClusters that take each other's jobs.
        room: what is held.
        router: makes new MiniClusters where all of a pool are as large as they can be.
        factor: by which durations are off; None: no job has told yet.
        last: when the jobs that run, and what has to follow them, are expected to be over.
        now: on the fleet's clock.
    """
    relieved = []
    for pool in pools:
        for member in pool.members:
            member.extra = 0
        if pool.relieved_in_vain >= VAIN:
            continue
        short, span = _short_of(pool, factor, last, now)
        if short > TINY and (found := _relief(pool, ceil(short - TINY), span, room, router, now)):
            relieved.append(found)
    return relieved


def _short_of(pool: WorkSharing, factor: float | None, last: float, now: float) -> tuple[float, int]:
    """Nodes that the jobs which wait would fill, and without which the run would be over later, beside those coming.

    And how many the widest of them needs.

    No more than the plan would have by now; where coming and going is cheaper than was assumed, more by its root, as N
    nodes do work W in W / N, and cost N break-evens.
    """
    waiting: list[tuple[FleetJob, float]] = []
    there = coming = 0
    first = pool.members[0]
    cheaper = first.planned_break_even * factor / first.break_even if factor is not None else 1.0
    for m in pool.members:
        if m.phase not in (Phase.COMING, Phase.UP):
            continue  # what waits there has it come
        there += m.target
        coming += max(m.size, m.target) - (m.size if m.phase is Phase.UP else 0)
        jobs = chain((e[-1] for e in m.queue.ready), *(m.queue.held.values() if cheaper > MUCH else ()))
        waiting += [
            (job, nodes_worth(job.load, m.flavour))
            for job in islice(jobs, LOOKED_AT)
            if job.load is not None and _may_run_elsewhere(job, m, now)
        ]
    if not waiting:
        return 0.0, 0
    drained = now + sum((job.seconds or 0.0) * share for job, share in waiting) / max(1, there)
    late = [(job, share) for job, share in waiting if drained + job.chain > last]
    short = sum(share for _, share in late) - coming
    span = max((len(job.load.parts) for job, _ in late if job.load), default=0)
    return min(short, _planned(pool, now) * sqrt(max(1.0, cheaper)) - there), span


def _planned(pool: WorkSharing, now: float) -> int:
    """Nodes that the plan would have by now."""
    nodes = 0
    for m in pool.members:
        due = islice((b for b in m.blocks[m.passed :] if b.left), BEYOND)
        nodes += max((b.top + 1 for b in due if b.begun or b.expected[0] <= now + TINY), default=0)
    return nodes


def _may_run_elsewhere(job: FleetJob, member: MiniClusterState, now: float) -> bool:
    """Whether a job waits for nothing but nodes such as its MiniCluster has, or gets."""
    assert job.load is not None
    too_large = member.fixed and len(job.load.parts) > member.size  # it comes again, with as many as that
    return not too_large and job.not_before <= now + member.bring_up


def _relief(
    pool: WorkSharing, short: int, span: int, room: Quota, router: Placer, now: float
) -> MiniClusterState | None:
    """The MiniCluster that comes, or grows, for so many nodes; one that is there first."""
    up = [m for m in pool.members if m.phase is Phase.UP and not m.fixed and m.size == m.target < m.most]
    down = [m for m in pool.members if m.phase is Phase.DOWN]
    largest = max([*up, *down], key=lambda m: (m.phase is Phase.UP, m.most - m.target), default=None)
    member = largest or router.another_like(pool.members[0])
    more = min(member.worth(max(short, span), now), member.most - member.target)
    while more > 0 and not room.fits(room.weigh(member.flavour_name, more, int(member.phase is Phase.DOWN))):
        more //= 2
    if more < span:
        return None  # the widest job would have to wait all the same
    member.extra = more
    return member
