"""Starts every job as soon as its data and its nodes are there.

A schedule that was made backwards in time, or that CP-SAT found, may let jobs wait for nothing. Whoever carries a plan
out would start them at once, so the plan says so too. Jobs keep their nodes and their order; a node is neither up
sooner nor longer than before, so cost and makespan get no worse and no limit is passed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from streamflow_fluxop.planning.result.schedule import NodeLease, Placement, Schedule, make_schedule

if TYPE_CHECKING:
    from streamflow_fluxop.planning.problem.instance import Instance

Occupation = tuple[int, int, int, int, int]
"""End, start, cores, GPUs and memory of jobs on a node."""


def left_shifted(instance: Instance, schedule: Schedule) -> Schedule:
    """The schedule with every placement moved as early as its data, nodes and the placements before it allow."""
    place = {s: i for i, s in enumerate(instance.order)}
    ends = [[0] * step.width for step in instance.steps]
    all_over = [0] * len(instance.steps)
    on: list[list[Occupation]] = [[] for _ in schedule.leases]
    placements = []
    for placement in sorted(schedule.placements, key=lambda b: (b.start, place[b.step], b.first)):
        step = instance.steps[placement.step]
        ready = 0
        for t, each in step.before:
            ready = max(
                ready, *(ends[t][placement.first : placement.first + placement.jobs] if each else (all_over[t],))
            )
        start = _earliest(instance, schedule, placement, ready, on)
        end = start + step.ticks
        placements.append(placement._replace(start=start))
        ends[placement.step][placement.first : placement.first + placement.jobs] = [end] * placement.jobs
        all_over[placement.step] = max(all_over[placement.step], end)
        for lease, n in placement.runs:
            fit = instance.kinds[step.kind].on(schedule.leases[lease].flavour)
            insort(on[lease], (end, start, n * fit.cores, n * fit.gpus, n * fit.memory))
    leases = _trimmed(schedule.leases, on)
    by_itself = _by_itself(instance)
    unused = _unused(instance, leases, placements, all_over, by_itself)
    if unused > 0:
        leases = [replace(x, first=x.first - unused, last=x.last - unused) for x in leases]
        placements = [b if by_itself[b.step] else b._replace(start=b.start - unused) for b in placements]
    placements.sort(key=lambda b: b.start)
    made = make_schedule(instance, leases, placements, schedule.strategy)
    made.notes = schedule.notes
    return made


def _by_itself(instance: Instance) -> list[bool]:
    """For each step whether it runs on the controller, and so does all that it waits for."""
    result = [False] * len(instance.steps)
    for s in instance.order:
        step = instance.steps[s]
        result[s] = step.kind < 0 and all(result[t] for t, _ in step.before)
    return result


def _unused(
    instance: Instance, leases: list[NodeLease], placements: list[Placement], ends: list[int], by_itself: list[bool]
) -> int:
    """By how much all that needs MiniClusters, and what follows it, can be sooner.

    The first MiniCluster is then asked for at 0, unless something has to wait for controller steps that wait for none.
    """
    unused = min((lease.first - instance.flavours[lease.flavour].up for lease in leases), default=0)
    for placement in placements:
        if not by_itself[placement.step]:
            for t, _ in instance.steps[placement.step].before:
                if by_itself[t]:
                    unused = min(unused, placement.start - ends[t])
    return unused


def _trimmed(leases: list[NodeLease], on: list[list[Occupation]]) -> list[NodeLease]:
    """The nodes from their first job to their last; in a MiniCluster come none after those above, nor go before."""
    result = [
        replace(x, first=min(start for _, start, *_ in jobs), last=jobs[-1][0]) if jobs else replace(x)
        for x, jobs in zip(leases, on, strict=True)
    ]
    stacks: dict[int, list[int]] = {}
    for i, lease in enumerate(leases):
        if lease.stack >= 0:
            stacks.setdefault(lease.stack, []).append(i)
    for members in stacks.values():
        members.sort(key=lambda i: (-leases[i].rank, leases[i].first))
        ranks: dict[int, list[int]] = {}
        for i in members:
            ranks.setdefault(leases[i].rank, []).append(i)
            above = ranks.get(leases[i].rank + 1, ())
            within = [result[j] for j in above if leases[i].first <= leases[j].first < leases[i].last]
            first = min([result[i].first, *(lease.first for lease in within)])
            result[i] = replace(result[i], first=first, last=max([result[i].last, *(lease.last for lease in within)]))
    return result


def _earliest(
    instance: Instance, schedule: Schedule, placement: Placement, ready: int, on: list[list[Occupation]]
) -> int:
    """When a placement can start, given the placements before it: where it was, at the latest."""
    leases, step = schedule.leases, instance.steps[placement.step]
    start = max([ready, *(leases[lease].first for lease, _ in placement.runs)])
    if start >= placement.start:
        return placement.start
    jobs = Counter[int]()  # several of a placement's jobs may share a node
    for lease, n in placement.runs:
        jobs[lease] += n
    times = sorted(
        {
            p[0]
            for lease in jobs
            for p in on[lease][bisect_left(on[lease], (start + 1,)) : bisect_left(on[lease], (placement.start,))]
        }
    )
    for at in (start, *times):
        if all(
            _fits(instance, leases[lease], step.kind, n, at, at + step.ticks, on[lease]) for lease, n in jobs.items()
        ):
            return at
    return placement.start


def _fits(
    instance: Instance, lease: NodeLease, kind: int, n: int, start: int, end: int, placed: list[Occupation]
) -> bool:
    """Whether jobs fit beside all that is on the node at any time between start and end."""
    flavour, fit = instance.flavours[lease.flavour], instance.kinds[kind].on(lease.flavour)
    cores, gpus, memory = flavour.cores - n * fit.cores, flavour.gpus - n * fit.gpus, flavour.memory - n * fit.memory
    for other_end, other_start, c, g, m in reversed(placed):
        if other_end <= start:
            break
        if other_start < end:
            cores, gpus, memory = cores - c, gpus - g, memory - m
    return cores >= 0 and gpus >= 0 and memory >= 0
