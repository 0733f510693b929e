"""What the simple strategies cost and take at least, as far as that can be said without running them.

A search over thousands of jobs leaves those out that can't be better than what it has.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planning.construct.baselines import single_clusters

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow_fluxop.planning.construct.fixed_clusters import FixedCluster
    from streamflow_fluxop.planning.problem.instance import Fit, FlavourData, Instance, StepData

Floor = tuple[float, float]
"""Cost, in the user's currency; makespan, in ticks. None, where groups make all that is said here wrong."""
SOME_CLASSES = 8
"""Sharing classes up to which it is worked out whether one MiniCluster a class can be any good."""


def of_per_task(instance: Instance) -> Floor | None:
    """Each job costs its own bring-up and tear-down, and each step of the longest chain waits for a bring-up."""

    def cost(step: StepData, flavour: FlavourData, fit: Fit) -> float:
        return step.width * fit.nodes * (step.ticks + (flavour.up + flavour.down)) * flavour.price

    return _of_each_step(instance, cost)


def of_per_step(instance: Instance) -> Floor | None:
    """Each step costs a bring-up and tear-down, and each step of the longest chain waits for a bring-up."""

    def cost(step: StepData, flavour: FlavourData, fit: Fit) -> float:
        work = max(fit.nodes * step.ticks, fit.share * step.ticks * step.width)
        return (work + fit.nodes * (flavour.up + flavour.down)) * flavour.price

    return _of_each_step(instance, cost)


def _of_each_step(instance: Instance, cost: Callable[[StepData, FlavourData, Fit], float]) -> Floor | None:
    if any(p.group is not None for p in instance.sharing_classes):
        return None
    on = [(instance.flavours[f], k.on(f)) for k, f in zip(instance.kinds, instance.cheapest, strict=True)]
    total = sum(cost(step, *on[step.kind]) for step in instance.steps if step.kind >= 0)
    ends = [0] * len(instance.steps)
    for s in instance.order:
        step = instance.steps[s]
        start = max((ends[t] for t, _ in step.before), default=0)
        ends[s] = start + step.ticks + (on[step.kind][0].up if step.kind >= 0 else 0)
    return total, max(ends)


def of_single(instance: Instance) -> Floor | None:
    """Each MiniCluster is up for the longest chain between two of its jobs, and for as long as its work takes it."""
    if any(p.group is not None for p in instance.sharing_classes):
        return None
    try:
        clusters = single_clusters(instance)
    except UserError:
        return inf, inf
    if len(clusters) > SOME_CLASSES:
        return 0.0, 0.0
    cost = makespan = 0.0
    for cluster in clusters:
        flavour = instance.flavours[cluster.flavour]
        span = _span(instance, cluster)
        cost += cluster.size * (flavour.up + span + flavour.down) * flavour.price
        makespan = max(makespan, flavour.up + span)
    return cost, makespan


def _span(instance: Instance, cluster: FixedCluster) -> float:
    """Ticks from the first job of a cluster to the end of its last one, at least."""
    spans = [-1] * len(instance.steps)
    longest, work = 0, 0.0
    for s in instance.order:
        step = instance.steps[s]
        before = -1
        for t, _ in step.before:
            if spans[t] > before:
                before = spans[t]
        if step.kind >= 0 and instance.kinds[step.kind].sharing == cluster.sharing:
            spans[s] = max(before, 0) + step.ticks
            longest = max(longest, spans[s])
            work += step.width * step.ticks * instance.kinds[step.kind].on(cluster.flavour).share
        elif before >= 0:
            spans[s] = before + step.ticks
    return max(longest, work / cluster.size * (1 - 1e-9))
