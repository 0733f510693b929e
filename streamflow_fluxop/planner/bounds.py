"""What no plan can be below.

Makespan. The head h of a step is the earliest time at which it can start (bring-up and the longest chain before it), its
tail q the longest chain from its start to the end, without itself and its own duration. Jobs with head >= h and tail >= q have
to be worked off between h and the makespan minus q, so for each limit R and what the jobs at least take of it::

    makespan >= h + (sum of duration * least share of R over those jobs) / R + q        for all h, q

(head-tail energetic bound: Carlier and Latapie 1991 for the cumulative problem). The steps are sorted into at most `GRID`
classes of heads and of tails, rounded down, so that all pairs are looked at in linear time.

Cost. Every job costs at least its dominant share of a node on the flavour where that is cheapest; and each pool, at least, one
bring-up and tear-down of as many nodes as its widest job spans, for each set of steps that have no flavour in common.

Both at once. For a makespan of T, jobs with head >= h and tail >= q fill at least A / (T - h - q) nodes side by side, and each
of these is brought up and taken down once; so the cost bound grows as T shrinks, and the least sum over all T bounds
the balanced objective better than the sum of the two bounds.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamflow_fluxop.planner.instance import Instance

GRID = 96
EPS = 1e-9


@dataclass(frozen=True, slots=True)
class LowerBounds:
    """Lower bounds: `cost` in currency, `makespan` in ticks, `score` of the balanced objective."""

    cost: float
    makespan: int
    score: float


def lower_bounds(instance: Instance) -> LowerBounds:
    """The bounds of an instance; linear in steps and dependencies."""
    heads, tails = _heads(instance), _tails(instance)
    makespan = max((h + s.ticks + q for h, s, q in zip(heads, instance.steps, tails, strict=True)), default=0)
    loads = _loads(instance)
    for load in loads:
        for h, q, area in _areas(instance, heads, tails, load):
            makespan = max(makespan, ceil(h + q + area * (1 - EPS)))
    work, fixed = _work(instance), _fixed(instance)
    cost = work + sum(fixed)
    return LowerBounds(cost, makespan, _score(instance, heads, tails, work, fixed, makespan))


def _heads(instance: Instance) -> list[int]:
    first = [min((instance.flavours[f].up for f in k.wishes), default=0) for k in instance.kinds]
    heads = [0] * len(instance.steps)
    for s in instance.order:
        step = instance.steps[s]
        heads[s] = max(
            first[step.kind] if step.kind >= 0 else 0,
            max((heads[t] + instance.steps[t].ticks for t, _ in step.before), default=0),
        )
    return heads


def _tails(instance: Instance) -> list[int]:
    return [t - s.ticks for t, s in zip(instance.tails, instance.steps, strict=True)]


def _loads(instance: Instance) -> list[list[float]]:
    """For each limit, what a job of each kind takes of it at least, as a share of the limit."""
    loads = []
    for r, capacity in enumerate(instance.capacity):
        load = [
            min(k.on(f).share * instance.flavours[f].weight[r] for f in k.wishes) / capacity if capacity else 0.0
            for k in instance.kinds
        ]
        if any(load):
            loads.append(load)
    return loads


def _classes(values: list[int]) -> list[int]:
    """At most `GRID` values, the least among them, that the values are rounded down to."""
    distinct = sorted(set(values))
    if len(distinct) <= GRID:
        return distinct
    return [distinct[i * len(distinct) // GRID] for i in range(GRID)]


def _areas(instance: Instance, heads: list[int], tails: list[int], load: list[float]) -> list[tuple[int, int, float]]:
    """(h, q, work of the jobs with head >= h and tail >= q) where there are such jobs, work as ticks times load."""
    steps = [s for s, step in enumerate(instance.steps) if step.kind >= 0 and load[step.kind]]
    if not steps:
        return []
    hs, qs = _classes([heads[s] for s in steps]), _classes([tails[s] for s in steps])
    grid = [[0.0] * (len(qs) + 1) for _ in range(len(hs) + 1)]
    for s in steps:
        step = instance.steps[s]
        row, column = bisect_right(hs, heads[s]) - 1, bisect_right(qs, tails[s]) - 1
        grid[row][column] += step.width * step.ticks * load[step.kind]
    for i in range(len(hs) - 1, -1, -1):
        row_sum = 0.0
        for j in range(len(qs) - 1, -1, -1):
            row_sum += grid[i][j]
            grid[i][j] = row_sum + grid[i + 1][j]
    return [(h, q, grid[i][j]) for i, h in enumerate(hs) for j, q in enumerate(qs) if grid[i][j]]


def _work(instance: Instance) -> float:
    price = [min((k.on(f).share * instance.flavours[f].price for f in k.wishes), default=0.0) for k in instance.kinds]
    return sum(s.width * s.ticks * price[s.kind] for s in instance.steps if s.kind >= 0)


def _fixed(instance: Instance) -> list[float]:
    """For each pool the cost of bringing up and taking down what it cannot do without."""
    fixed = []
    for p in range(len(instance.pools)):
        kinds = sorted((k for k in instance.kinds if k.pool == p), key=lambda k: len(k.wishes))
        taken: set[int] = set()
        total = 0.0
        for kind in kinds:
            if not taken & set(kind.wishes):
                taken |= set(kind.wishes)
                total += min(
                    kind.on(f).nodes
                    * (instance.flavours[f].up + instance.flavours[f].down)
                    * instance.flavours[f].price
                    for f in kind.wishes
                )
        fixed.append(total)
    return fixed


def _score(
    instance: Instance, heads: list[int], tails: list[int], work: float, fixed: list[float], makespan: int
) -> float:
    """The least of ``w * cost(T) / cost + (1 - w) * T / makespan`` over all T, with cost(T) as in the module's docstring.

    cost(T) falls and T grows, so between two neighbours of a grid of T the value is at least cost at the right one and T at the
    left one.
    """
    weight = instance.objective.weight
    cost = work + sum(fixed)
    if not cost or not makespan:
        return 1.0
    pools = []
    for p in range(len(instance.pools)):
        load = [min(k.on(f).share for f in k.wishes) if k.pool == p else 0.0 for k in instance.kinds]
        once = min(
            (f.up + f.down) * f.price
            for f in (instance.flavours[i] for i in {i for k in instance.kinds if k.pool == p for i in k.wishes})
        )
        corners: dict[int, float] = {}
        for h, q, area in _areas(instance, heads, tails, load):
            corners[h + q] = max(corners.get(h + q, 0.0), area)
        kept: list[tuple[int, float]] = []
        for gone, area in sorted(corners.items(), reverse=True):
            if area and (not kept or area > kept[-1][1]):
                kept.append((gone, area))
        pools.append((once, fixed[p], kept))

    def dearest(makespan: float) -> float:
        total = work
        for once, least, kept in pools:
            nodes = max((area / (makespan - gone) if makespan > gone else 0.0 for gone, area in kept), default=0.0)
            total += max(least, once * ceil(nodes - 1e-6))
        return total

    best = float("inf")
    step = 1.01
    left = float(makespan)
    while (1 - weight) * left / makespan + weight < best and left < 1e3 * makespan:
        right = left * step
        best = min(best, weight * max(cost, dearest(right)) / cost + (1 - weight) * left / makespan)
        left = right
    return max(1.0, best)
