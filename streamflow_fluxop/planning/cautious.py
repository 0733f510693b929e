"""Few MiniClusters, where nothing is known of how long jobs take.

A plan that brings up a MiniCluster for each gap between guesses pretends to know when the gaps are. So all nodes of
one image and flavour become one MiniCluster, which grows and shrinks, and stays between its uses. Jobs keep their
times.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from streamflow_fluxop.planning.result.node_nesting import nest_nodes
from streamflow_fluxop.planning.result.schedule import NodeLease, Schedule, make_schedule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamflow_fluxop.planning.objective import Judge
    from streamflow_fluxop.planning.problem.instance import Instance

NAME = "cautious"

DEARER = 1.5
"""What staying may cost, in multiples of the cost without; else MiniClusters go before their longest gaps."""
GAPS = (None, 30.0, 10.0, 3.0)
"""Gaps that are stayed through, in multiples of a bring-up and a tear-down, the most first; None: all."""


def cautious(instance: Instance, judge: Judge, schedules: Iterable[Schedule]) -> Schedule | None:
    """The best of some schedules with few MiniClusters; None where none fits the limits, or gets by with fewer.

    Args:
        instance: the problem.
        judge: says what is better.
        schedules: the best one first.
    """
    schedules = list(schedules)
    best = schedules[0]
    most = DEARER * best.cost
    kept = judge.value(best.cost, best.makespan)[0]
    for gap in GAPS:
        merged = [m for s in schedules if (m := _merged(instance, s, gap)) is not None]
        good = [m for m in merged if m.cost <= most * (1 + 1e-9) and judge.value(m.cost, m.makespan)[0] <= kept]
        if good:
            found = min(good, key=lambda m: (miniclusters(m), judge.value(m.cost, m.makespan)))
            nest_nodes(instance, best)
            return found if miniclusters(found) < miniclusters(best) else None
    return None


def miniclusters(schedule: Schedule) -> int:
    """How many MiniClusters a schedule has, its leases being stacked up."""
    return len({lease.stack for lease in schedule.leases})


def _merged(instance: Instance, schedule: Schedule, gap: float | None) -> Schedule | None:
    """The schedule with the nodes of each image and flavour in one MiniCluster; None where the limits are too tight."""
    pools: dict[tuple[int, int], list[int]] = {}
    leases: list[NodeLease] = []
    place: list[int] = [0] * len(schedule.leases)
    for n, lease in enumerate(schedule.leases):
        if instance.sharing_classes[lease.sharing].group is None:
            pools.setdefault((lease.sharing, lease.flavour), []).append(n)
        else:
            place[n] = len(leases)
            leases.append(NodeLease(lease.sharing, lease.flavour, lease.first, lease.last, lease.stack, lease.rank))
    stack = 1 + max((lease.stack for lease in leases), default=-1)
    for (sharing, flavour), members in pools.items():
        data = instance.flavours[flavour]
        longest = None if gap is None else gap * (data.up + data.down)
        for part in _parts(schedule.leases, members, longest):
            colours = _colours(schedule.leases, part)
            spans = _nested(schedule.leases, part, colours)
            for n, colour in zip(part, colours, strict=True):
                place[n] = len(leases) + colour
            leases += [
                NodeLease(sharing, flavour, first, last, stack, rank) for rank, (first, last) in enumerate(spans)
            ]
            stack += 1
    if not _within_limits(instance, leases):
        return None
    placements = [b._replace(runs=[(place[n], jobs) for n, jobs in b.runs]) for b in schedule.placements]
    made = make_schedule(instance, leases, placements, NAME)
    nest_nodes(instance, made)  # numbers them in order
    return made


def _parts(leases: list[NodeLease], members: list[int], longest: float | None) -> list[list[int]]:
    """The leases of a node pool, cut where none is up for longer than so many ticks."""
    parts: list[list[int]] = []
    until = 0
    for n in sorted(members, key=lambda n: (leases[n].first, -leases[n].last, n)):
        if not parts or (longest is not None and leases[n].first - until > longest):
            parts.append([])
        parts[-1].append(n)
        until = max(until, leases[n].last)
    return parts


def _colours(leases: list[NodeLease], part: list[int]) -> list[int]:
    """For each lease the lowest node that is free for it."""
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    number, colours = 0, []
    for n in part:
        while busy and busy[0][0] <= leases[n].first:
            heappush(free, heappop(busy)[1])
        if free:
            colour = heappop(free)
        else:
            colour, number = number, number + 1
        colours.append(colour)
        heappush(busy, (leases[n].last, colour))
    return colours


def _nested(leases: list[NodeLease], part: list[int], colours: list[int]) -> list[tuple[int, int]]:
    """From when to when each node is up: no node comes before, or goes after, the one below it."""
    spans: list[tuple[int, int] | None] = [None] * (1 + max(colours))
    for n, colour in zip(part, colours, strict=True):
        first, last = spans[colour] or (leases[n].first, leases[n].last)
        spans[colour] = (min(first, leases[n].first), max(last, leases[n].last))
    whole = [span for span in spans if span is not None]
    for rank in range(len(whole) - 2, -1, -1):
        (first, last), (above, below) = whole[rank], whole[rank + 1]
        whole[rank] = (min(first, above), max(last, below))
    return whole


def _within_limits(instance: Instance, leases: list[NodeLease]) -> bool:
    """Whether the limits hold all leases, from asked for until gone."""
    changes: list[tuple[int, int, int]] = []
    for lease in leases:
        data = instance.flavours[lease.flavour]
        changes += [(lease.first - data.up, 1, lease.flavour), (lease.last + data.down, -1, lease.flavour)]
    held = [0.0] * len(instance.capacity)
    for _, sign, flavour in sorted(changes, key=lambda c: c[:2]):
        for r, weight in enumerate(instance.flavours[flavour].weight):
            held[r] += sign * weight
            if sign > 0 and held[r] > instance.capacity[r] + 1e-9:
                return False
    return _few_enough(instance, leases)


def _few_enough(instance: Instance, leases: list[NodeLease]) -> bool:
    if instance.max_miniclusters is None:
        return True
    changes: list[tuple[int, int]] = []
    for lease in leases:
        if lease.rank == 0:
            data = instance.flavours[lease.flavour]
            changes += [(lease.first - data.up, 1), (lease.last + data.down, -1)]
    held = 0
    for _, sign in sorted(changes):
        held += sign
        if held > instance.max_miniclusters:
            return False
    return True
