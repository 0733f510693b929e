"""Which nodes make up a MiniCluster.

A MiniCluster grows and shrinks at its end only, so the leases of its nodes are nested: the node of rank i + 1 comes
after the one of rank i and goes before it. Leases that are free to belong to any MiniCluster are put, by the time
they begin, longest first, on the MiniCluster whose last node goes soonest after them. Reused ranks wait until the
node before is gone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from streamflow_fluxop.normal_times import excess, later

if TYPE_CHECKING:
    from streamflow_fluxop.normal_times import Moment
    from streamflow_fluxop.planning.problem.instance import Instance
    from streamflow_fluxop.planning.result.schedule import NodeLease, Schedule


APART = 0.05
"""A MiniCluster more is worth it if it saves more than this share of what its first node takes;"""
TRIED = 16
"""and so many others are tried before."""


def nest_nodes(instance: Instance, schedule: Schedule) -> None:
    """Give each lease a stack and a rank; stacks are numbered from 0 in order of their beginnings.

    Where durations have a spread, who is over first is not certain, and nodes wait for those above them to go. A lease
    goes where that is not expected to take much.
    """
    leases = schedule.leases
    pools: dict[tuple[int, int], list[int]] = {}
    for i, lease in enumerate(leases):
        if lease.stack < 0:
            pools.setdefault((lease.sharing, lease.flavour), []).append(i)
    number = 1 + max((lease.stack for lease in leases), default=-1)
    variances = _variances(instance, schedule)
    for (_, flavour), members in pools.items():
        data = instance.flavours[flavour]
        members.sort(key=lambda i: (leases[i].first, -leases[i].last, i))
        number = _nest_pool(leases, members, data.up + data.down, number, variances)
    _renumber(instance, leases)


def _variances(instance: Instance, schedule: Schedule) -> list[float]:
    """Of each lease's end: that of its least certain job, as the fleet lets others take over what comes late."""
    spreads = [0.0] * len(schedule.leases)
    if any(step.spread for step in instance.steps):
        for placement in schedule.placements:
            spread = instance.steps[placement.step].spread
            for lease, _ in placement.runs:
                spreads[lease] = max(spreads[lease], spread)
    return [spread * spread for spread in spreads]


def _nest_pool(leases: list[NodeLease], members: list[int], dead: int, number: int, variances: list[float]) -> int:
    """Stacks are kept sorted by the ends of their top leases, and lose those that are gone."""
    tops: list[tuple[int, int]] = []
    stacks: dict[int, list[Moment]] = {}
    for i in members:
        lease, end = leases[i], (leases[i].last, variances[i])
        while tops and tops[0][0] + dead <= lease.first:
            _, stack = tops.pop(0)
            ends = stacks[stack]
            while ends and ends[-1][0] + dead <= lease.first:
                ends.pop()
            if ends:
                insort(tops, (int(ends[-1][0]), stack))
        place = bisect_left(tops, (lease.last, -1))
        bearable = APART * (lease.last - lease.first + dead)
        last = min(len(tops), place + TRIED)
        while place < last and _wait(stacks[tops[place][1]], end) > bearable:
            place += 1
        if place < last:
            _, stack = tops.pop(place)
        else:
            stack, number = number, number + 1
            stacks[stack] = []
        lease.stack, lease.rank = stack, len(stacks[stack])
        stacks[stack].append(end)
        insort(tops, (lease.last, stack))
    return number


def _wait(ends: list[Moment], end: Moment) -> float:
    """How long the nodes of a stack, together, are expected to wait for one more on top."""
    total, above = 0.0, ends[-1]
    for own in reversed(ends):
        above = later(above, own)
        more = excess(end, above)
        if not more:
            break
        total += more
    return total


def _renumber(instance: Instance, leases: list[NodeLease]) -> None:
    begins: dict[int, tuple[int, int]] = {}
    for lease in leases:
        if lease.rank == 0:
            asked = lease.first - instance.flavours[lease.flavour].up
            begins[lease.stack] = min(begins.get(lease.stack, (asked, lease.stack)), (asked, lease.stack))
    order = {stack: n for n, stack in enumerate(sorted(begins, key=begins.__getitem__))}
    for lease in leases:
        lease.stack = order[lease.stack]
