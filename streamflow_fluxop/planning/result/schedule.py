"""What an algorithm hands back: leases of nodes, and placements of jobs on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from streamflow_fluxop.planning.problem.instance import Instance


@dataclass(slots=True)
class NodeLease:
    """A node from the start of its first job until the end of its last one, in ticks.

    Bring-up lies before `first` and tear-down after `last`. Leases with the same `stack` are nodes of one
    MiniCluster, and `rank` is their place in it; where `stack` is -1 the node may belong to any MiniCluster of its
    sharing class and flavour.
    """

    sharing: int
    flavour: int
    first: int
    last: int
    stack: int = -1
    rank: int = 0


class Placement(NamedTuple):
    """Jobs of a step that start together: `runs` are (lease, jobs) pairs in the order of the jobs.

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

    leases: list[NodeLease]
    placements: list[Placement]
    cost: float
    makespan: int
    strategy: str = ""
    notes: dict[int, list[str]] = field(default_factory=dict)


def make_schedule(instance: Instance, leases: list[NodeLease], placements: list[Placement], strategy: str) -> Schedule:
    """Work out cost and makespan."""
    cost = 0.0
    for lease in leases:
        flavour = instance.flavours[lease.flavour]
        cost += (lease.last - lease.first + flavour.up + flavour.down) * flavour.price
    ticks = instance.ticks
    makespan = max([start + ticks[step] for step, _, _, start, _ in placements], default=0)
    return Schedule(leases, placements, cost, makespan, strategy)


def mirrored(schedule: Schedule, instance: Instance) -> Schedule:
    """Turn a schedule of ``instance.reversed`` round: the schedule of `instance` that it stands for.

    The first MiniCluster is asked for at 0.
    """
    flavours, steps = instance.flavours, instance.steps
    end = max((lease.last + flavours[lease.flavour].up for lease in schedule.leases), default=0)
    end = max(end, max((b.start + steps[b.step].ticks for b in schedule.placements), default=0))
    leases = [
        NodeLease(lease.sharing, lease.flavour, end - lease.last, end - lease.first, lease.stack, lease.rank)
        for lease in schedule.leases
    ]
    placements = [
        Placement(b.step, b.first, b.jobs, end - b.start - steps[b.step].ticks, b.runs) for b in schedule.placements
    ]
    placements.sort(key=lambda b: b.start)
    return make_schedule(instance, leases, placements, schedule.strategy)
