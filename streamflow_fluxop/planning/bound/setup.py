"""What no makespan can be below because sharing classes share a limit in whole nodes.

The jobs with head >= h and tail >= q run within X = T - h - q, where T is the makespan. If those of sharing class p
take a_p node-ticks, ceil(a_p / X) nodes at least come up for them. Where the limit is c nodes, each of them is one of c
places, and when a place passes from one node to another, nothing runs there for a tear-down and a bring-up. So ::

    sum of a_p + (up + down) * max(0, sum of ceil(a_p / X) - c) <= c * X

The left side falls and the right side grows with X, so there is a least X, and T >= h + X + q.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow_fluxop.planning.bound.energetic import amounts, areas_at, classes, least_shares

if TYPE_CHECKING:
    from streamflow_fluxop.planning.problem.instance import Instance

EPS = 1e-9


def least_with_whole_nodes(instance: Instance, limit: int, heads: list[int], tails: list[int], makespan: int) -> int:
    """The makespan bound, raised by a limit of which every flavour takes the same, or nothing.

    Args:
        instance: the problem.
        limit: which one.
        heads: for each step the earliest tick at which it can start.
        tails: for each step the ticks from its end to the end of the longest chain.
        makespan: a bound.
    """
    counted = [f for f in instance.flavours if f.weight[limit]]
    units = {f.weight[limit] for f in counted}
    if len(units) != 1:
        return makespan
    unit = units.pop()
    places = int(instance.capacity[limit] / unit + EPS)
    gap = min(f.up for f in counted) + min(f.down for f in counted)
    worth, amount = [f.weight[limit] / unit for f in instance.flavours], amounts(instance)
    steps = [s for s, step in enumerate(instance.steps) if step.kind >= 0]
    hs, qs = classes(heads, steps), classes(tails, steps)
    grids = []
    for sharing in range(len(instance.sharing_classes)):
        load = least_shares(instance, sharing, worth, amount)
        if any(load):
            grids.append(areas_at(instance, heads, tails, load, hs, qs))
    for i, h in enumerate(hs):
        for j, q in enumerate(qs):
            work = [area * (1 - EPS) for grid in grids if (area := grid[i][j])]
            if work and h + q + (sum(work) + len(work) * gap) / places > makespan:
                makespan = max(makespan, h + q + _least_span(work, places, gap))
    return makespan


def _least_span(work: list[float], places: int, gap: int) -> int:
    """The least X in which so much work of each sharing class can be done on the places."""
    total = sum(work)

    def fits(span: int) -> bool:
        nodes = sum(-(-area // span) for area in work)
        return total + gap * max(0, nodes - places) <= places * span

    low, high = 0, int((total + len(work) * gap) / places) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
