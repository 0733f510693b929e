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

from streamflow_fluxop.planning.result.schedule import Block, Life, Schedule, make_schedule

if TYPE_CHECKING:
    from streamflow_fluxop.planning.problem.instance import Instance

Placed = tuple[int, int, int, int, int]
"""End, start, cores, GPUs and memory of jobs on a node."""


def left_shifted(instance: Instance, schedule: Schedule) -> Schedule:
    """The schedule with every block of jobs moved as early as its data, nodes and the blocks before it allow."""
    place = {s: i for i, s in enumerate(instance.order)}
    ends = [[0] * step.width for step in instance.steps]
    all_over = [0] * len(instance.steps)
    on: list[list[Placed]] = [[] for _ in schedule.lives]
    blocks = []
    for block in sorted(schedule.blocks, key=lambda b: (b.start, place[b.step], b.first)):
        step = instance.steps[block.step]
        ready = 0
        for t, each in step.before:
            ready = max(ready, *(ends[t][block.first : block.first + block.jobs] if each else (all_over[t],)))
        start = _earliest(instance, schedule, block, ready, on)
        end = start + step.ticks
        blocks.append(block._replace(start=start))
        ends[block.step][block.first : block.first + block.jobs] = [end] * block.jobs
        all_over[block.step] = max(all_over[block.step], end)
        for life, n in block.runs:
            fit = instance.kinds[step.kind].on(schedule.lives[life].flavour)
            insort(on[life], (end, start, n * fit.cores, n * fit.gpus, n * fit.memory))
    lives = _trimmed(schedule.lives, on)
    by_itself = _by_itself(instance)
    unused = _unused(instance, lives, blocks, all_over, by_itself)
    if unused > 0:
        lives = [replace(x, first=x.first - unused, last=x.last - unused) for x in lives]
        blocks = [b if by_itself[b.step] else b._replace(start=b.start - unused) for b in blocks]
    blocks.sort(key=lambda b: b.start)
    made = make_schedule(instance, lives, blocks, schedule.strategy)
    made.notes = schedule.notes
    return made


def _by_itself(instance: Instance) -> list[bool]:
    """For each step whether it runs on the controller, and so does all that it waits for."""
    result = [False] * len(instance.steps)
    for s in instance.order:
        step = instance.steps[s]
        result[s] = step.kind < 0 and all(result[t] for t, _ in step.before)
    return result


def _unused(instance: Instance, lives: list[Life], blocks: list[Block], ends: list[int], by_itself: list[bool]) -> int:
    """By how much all that needs MiniClusters, and what follows it, can be sooner.

    The first MiniCluster is then asked for at 0, unless something has to wait for controller steps that wait for none.
    """
    unused = min((life.first - instance.flavours[life.flavour].up for life in lives), default=0)
    for block in blocks:
        if not by_itself[block.step]:
            for t, _ in instance.steps[block.step].before:
                if by_itself[t]:
                    unused = min(unused, block.start - ends[t])
    return unused


def _trimmed(lives: list[Life], on: list[list[Placed]]) -> list[Life]:
    """The nodes from their first job to their last; in a MiniCluster come none after those above, nor go before."""
    result = [
        replace(x, first=min(start for _, start, *_ in jobs), last=jobs[-1][0]) if jobs else replace(x)
        for x, jobs in zip(lives, on, strict=True)
    ]
    stacks: dict[int, list[int]] = {}
    for i, life in enumerate(lives):
        if life.stack >= 0:
            stacks.setdefault(life.stack, []).append(i)
    for members in stacks.values():
        members.sort(key=lambda i: (-lives[i].rank, lives[i].first))
        ranks: dict[int, list[int]] = {}
        for i in members:
            ranks.setdefault(lives[i].rank, []).append(i)
            above = ranks.get(lives[i].rank + 1, ())
            within = [result[j] for j in above if lives[i].first <= lives[j].first < lives[i].last]
            first = min([result[i].first, *(life.first for life in within)])
            result[i] = replace(result[i], first=first, last=max([result[i].last, *(life.last for life in within)]))
    return result


def _earliest(instance: Instance, schedule: Schedule, block: Block, ready: int, on: list[list[Placed]]) -> int:
    """When a block can start, given the blocks before it: where it was, at the latest."""
    lives, step = schedule.lives, instance.steps[block.step]
    start = max([ready, *(lives[life].first for life, _ in block.runs)])
    if start >= block.start:
        return block.start
    jobs = Counter[int]()  # several of a block's jobs may share a node
    for life, n in block.runs:
        jobs[life] += n
    times = sorted(
        {
            p[0]
            for life in jobs
            for p in on[life][bisect_left(on[life], (start + 1,)) : bisect_left(on[life], (block.start,))]
        }
    )
    for at in (start, *times):
        if all(_fits(instance, lives[life], step.kind, n, at, at + step.ticks, on[life]) for life, n in jobs.items()):
            return at
    return block.start


def _fits(instance: Instance, life: Life, kind: int, n: int, start: int, end: int, placed: list[Placed]) -> bool:
    """Whether jobs fit beside all that is on the node at any time between start and end."""
    flavour, fit = instance.flavours[life.flavour], instance.kinds[kind].on(life.flavour)
    cores, gpus, memory = flavour.cores - n * fit.cores, flavour.gpus - n * fit.gpus, flavour.memory - n * fit.memory
    for other_end, other_start, c, g, m in reversed(placed):
        if other_end <= start:
            break
        if other_start < end:
            cores, gpus, memory = cores - c, gpus - g, memory - m
    return cores >= 0 and gpus >= 0 and memory >= 0
