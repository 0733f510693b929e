"""What an algorithm hands back: lives of nodes, and blocks of jobs on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from streamflow_fluxop.planning.problem.instance import Instance


@dataclass(slots=True)
class Life:
    """A node from the start of its first job until the end of its last one, in ticks.

    Bring-up lies before `first` and tear-down after `last`. Lives with the same `stack` are nodes of one
    MiniCluster, and `rank` is their place in it; where `stack` is -1 the node may belong to any MiniCluster of its
    pool and flavour.
    """

    pool: int
    flavour: int
    first: int
    last: int
    stack: int = -1
    rank: int = 0


class Block(NamedTuple):
    """Jobs of a step that start together: `runs` are (life, jobs) pairs in the order of the jobs.

    A job on several nodes has a pair for each of them. A controller step has no runs.
    """

    step: int
    first: int
    jobs: int
    start: int
    runs: list[tuple[int, int]]


@dataclass(slots=True)
class Schedule:
    """A feasible answer to an instance. `cost` is in the user's currency, `makespan` in ticks."""

    lives: list[Life]
    blocks: list[Block]
    cost: float
    makespan: int
    strategy: str = ""
    notes: dict[int, list[str]] = field(default_factory=dict)


def make_schedule(instance: Instance, lives: list[Life], blocks: list[Block], strategy: str) -> Schedule:
    """Work out cost and makespan."""
    cost = 0.0
    for life in lives:
        flavour = instance.flavours[life.flavour]
        cost += (life.last - life.first + flavour.up + flavour.down) * flavour.price
    ticks = instance.ticks
    makespan = max([start + ticks[step] for step, _, _, start, _ in blocks], default=0)
    return Schedule(lives, blocks, cost, makespan, strategy)


def mirrored(schedule: Schedule, instance: Instance) -> Schedule:
    """Turn a schedule of ``instance.reversed`` round: the schedule of `instance` that it stands for.

    The first MiniCluster is asked for at 0.
    """
    flavours, steps = instance.flavours, instance.steps
    end = max((life.last + flavours[life.flavour].up for life in schedule.lives), default=0)
    end = max(end, max((b.start + steps[b.step].ticks for b in schedule.blocks), default=0))
    lives = [
        Life(life.pool, life.flavour, end - life.last, end - life.first, life.stack, life.rank)
        for life in schedule.lives
    ]
    blocks = [Block(b.step, b.first, b.jobs, end - b.start - steps[b.step].ticks, b.runs) for b in schedule.blocks]
    blocks.sort(key=lambda b: b.start)
    return make_schedule(instance, lives, blocks, schedule.strategy)
