"""Bounds as the aim of a score of 1.15 was set in: plainer than the planner's, so that scores are higher.

Makespan: a bring-up and the longest chain, or head + work / limit + tail of the jobs between a head and a tail. Cost:
the work, and one bring-up and tear-down an image. A job's work is its dominant share of a node where that is least.
"""

from __future__ import annotations

from math import ceil

from streamflow_fluxop.planning.bound.energetic import areas
from streamflow_fluxop.planning.bound.lower_bounds import least_score
from streamflow_fluxop.planning.problem.instance import Instance, Kind

EPS = 1e-9


def plain_bounds(instance: Instance) -> tuple[float, int, float]:
    """Cost, makespan in ticks, and what the score measured against these two is at least, in any plan."""
    heads = _heads(instance)
    tails = [tail - step.ticks for tail, step in zip(instance.tails, instance.steps, strict=True)]
    makespan = max(h + s.ticks + q for h, s, q in zip(heads, instance.steps, tails, strict=True))
    for r, capacity in enumerate(instance.capacity):
        load = [_least(instance, kind, [f.weight[r] / capacity for f in instance.flavours]) for kind in instance.kinds]
        for h, q, area in areas(instance, heads, tails, load):
            makespan = max(makespan, ceil(h + q + area * (1 - EPS)))
    price = [_least(instance, kind, [f.price for f in instance.flavours]) for kind in instance.kinds]
    cost = sum(s.width * s.ticks * price[s.kind] for s in instance.steps if s.kind >= 0)
    for sharing in range(len(instance.sharing_classes)):
        usable = {f for kind in instance.kinds if kind.sharing == sharing for f in kind.feasible_flavours}
        cost += min((instance.flavours[f].up + instance.flavours[f].down) * instance.flavours[f].price for f in usable)
    return cost, makespan, max(1.0, least_score(instance, cost, makespan))


def _least(instance: Instance, kind: Kind, worth: list[float]) -> float:
    """A job's dominant share of something that a node has `worth` of, on the flavour where that is least."""
    return min(kind.on(f).share * worth[f] for f in kind.feasible_flavours)


def _heads(instance: Instance) -> list[int]:
    """When each step can start: after a bring-up and the longest chain before it."""
    heads = [0] * len(instance.steps)
    for s in instance.order:
        step = instance.steps[s]
        feasible_flavours = instance.kinds[step.kind].feasible_flavours if step.kind >= 0 else ()
        heads[s] = max(
            min((instance.flavours[f].up for f in feasible_flavours), default=0),
            *(heads[t] + instance.steps[t].ticks for t, _ in step.before),
            0,
        )
    return heads
