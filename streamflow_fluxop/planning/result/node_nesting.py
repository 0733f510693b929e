"""Which nodes make up a MiniCluster.

A MiniCluster grows and shrinks at its end only, so the lives of its nodes are nested: the node of rank i + 1 comes
after the one of rank i and goes before it. Lives that are free to belong to any MiniCluster are put, by the time
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
    from streamflow_fluxop.planning.result.schedule import Life, Schedule


APART = 0.05
"""A MiniCluster more is worth it if it saves more than this share of what its first node takes;"""
TRIED = 16
"""and so many others are tried before."""


def stack_up(instance: Instance, schedule: Schedule) -> None:
    """Give each life a stack and a rank; stacks are numbered from 0 in order of their beginnings.

    Where durations have a spread, who is over first is not certain, and nodes wait for those above them to go. A life
    goes where that is not expected to take much.
    """
    lives = schedule.lives
    yards: dict[tuple[int, int], list[int]] = {}
    for i, life in enumerate(lives):
        if life.stack < 0:
            yards.setdefault((life.pool, life.flavour), []).append(i)
    number = 1 + max((life.stack for life in lives), default=-1)
    variances = _variances(instance, schedule)
    for (_, flavour), members in yards.items():
        data = instance.flavours[flavour]
        members.sort(key=lambda i: (lives[i].first, -lives[i].last, i))
        number = _stack_yard(lives, members, data.up + data.down, number, variances)
    _renumber(instance, lives)


def _variances(instance: Instance, schedule: Schedule) -> list[float]:
    """Of each life's end: that of its least certain job, as the fleet lets others take over what comes late."""
    spreads = [0.0] * len(schedule.lives)
    if any(step.spread for step in instance.steps):
        for block in schedule.blocks:
            spread = instance.steps[block.step].spread
            for life, _ in block.runs:
                spreads[life] = max(spreads[life], spread)
    return [spread * spread for spread in spreads]


def _stack_yard(lives: list[Life], members: list[int], dead: int, number: int, variances: list[float]) -> int:
    """Stacks are kept sorted by the ends of their top lives, and lose those that are gone."""
    tops: list[tuple[int, int]] = []
    stacks: dict[int, list[Moment]] = {}
    for i in members:
        life, end = lives[i], (lives[i].last, variances[i])
        while tops and tops[0][0] + dead <= life.first:
            _, stack = tops.pop(0)
            ends = stacks[stack]
            while ends and ends[-1][0] + dead <= life.first:
                ends.pop()
            if ends:
                insort(tops, (int(ends[-1][0]), stack))
        place = bisect_left(tops, (life.last, -1))
        bearable = APART * (life.last - life.first + dead)
        last = min(len(tops), place + TRIED)
        while place < last and _wait(stacks[tops[place][1]], end) > bearable:
            place += 1
        if place < last:
            _, stack = tops.pop(place)
        else:
            stack, number = number, number + 1
            stacks[stack] = []
        life.stack, life.rank = stack, len(stacks[stack])
        stacks[stack].append(end)
        insort(tops, (life.last, stack))
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


def _renumber(instance: Instance, lives: list[Life]) -> None:
    begins: dict[int, tuple[int, int]] = {}
    for life in lives:
        if life.rank == 0:
            asked = life.first - instance.flavours[life.flavour].up
            begins[life.stack] = min(begins.get(life.stack, (asked, life.stack)), (asked, life.stack))
    order = {stack: n for n, stack in enumerate(sorted(begins, key=begins.__getitem__))}
    for life in lives:
        life.stack = order[life.stack]
