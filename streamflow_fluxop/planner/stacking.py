"""Which nodes make up a MiniCluster.

A MiniCluster grows and shrinks at its end only, so the lives of its nodes are nested: the node of rank i + 1 comes
after the one of rank i and goes before it. Lives that are free to belong to any MiniCluster are put, by the time
they begin, longest first, on the MiniCluster whose last node goes soonest after them. Reused ranks wait until the
node before is gone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamflow_fluxop.planner.instance import Instance
    from streamflow_fluxop.planner.schedule import Life


def stack_up(instance: Instance, lives: list[Life]) -> None:
    """Give each life a stack and a rank; stacks are numbered from 0 in order of their beginnings."""
    yards: dict[tuple[int, int], list[int]] = {}
    for i, life in enumerate(lives):
        if life.stack < 0:
            yards.setdefault((life.pool, life.flavour), []).append(i)
    number = 1 + max((life.stack for life in lives), default=-1)
    for (_, flavour), members in yards.items():
        data = instance.flavours[flavour]
        members.sort(key=lambda i: (lives[i].first, -lives[i].last, i))
        number = _stack_yard(lives, members, data.up + data.down, number)
    _renumber(instance, lives)


def _stack_yard(lives: list[Life], members: list[int], dead: int, number: int) -> int:
    """Stacks are kept sorted by the ends of their top lives, and lose those that are gone."""
    tops: list[tuple[int, int]] = []
    stacks: dict[int, list[int]] = {}
    for i in members:
        life = lives[i]
        while tops and tops[0][0] + dead <= life.first:
            _, stack = tops.pop(0)
            ends = stacks[stack]
            while ends and ends[-1] + dead <= life.first:
                ends.pop()
            if ends:
                insort(tops, (ends[-1], stack))
        place = bisect_left(tops, (life.last, -1))
        if place < len(tops):
            _, stack = tops.pop(place)
        else:
            stack, number = number, number + 1
            stacks[stack] = []
        life.stack, life.rank = stack, len(stacks[stack])
        stacks[stack].append(life.last)
        insort(tops, (life.last, stack))
    return number


def _renumber(instance: Instance, lives: list[Life]) -> None:
    begins: dict[int, tuple[int, int]] = {}
    for life in lives:
        if life.rank == 0:
            asked = life.first - instance.flavours[life.flavour].up
            begins[life.stack] = min(begins.get(life.stack, (asked, life.stack)), (asked, life.stack))
    order = {stack: n for n, stack in enumerate(sorted(begins, key=begins.__getitem__))}
    for life in lives:
        life.stack = order[life.stack]
