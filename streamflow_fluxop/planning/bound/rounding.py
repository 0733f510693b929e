"""What a sharing class costs at least because jobs come whole.

Take m jobs of a kind, the shortest of which takes d, on nodes that hold c of them. In a time L a node has room for no
more than c * floor(L / d) of them: twenty equal jobs on nodes that hold eight take three node-times, not two and a
half. So the time in which nodes run such jobs costs at least d times the cheapest set of nodes that holds m jobs at
once. Jobs that come before all of the m jobs, or after all of them, never run beside one, so their work costs extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamflow_fluxop.planning.problem.instance import Instance

EPS = 1e-9
MANY = 2000
"""Steps up to which it is worked out which come before or after all jobs of a set."""
FEW = 500
"""Jobs up to which the cheapest nodes that hold them are worked out; beyond, a part of a node matters little."""


def in_rounds(instance: Instance, sharing: int, price: Sequence[float], work: Sequence[float]) -> float:
    """What the sharing class costs at least by the jobs of the best kind and level, without bring-up and tear-down.

    Args:
        instance: the problem.
        sharing: the sharing class.
        price: of a node of each flavour, a tick.
        work: for each kind what a job's part of its nodes costs a tick at least; 0 for other sharing classes' kinds.
    """
    step_classes: dict[tuple[int, int], list[int]] = {}
    total = 0.0
    for s, step in enumerate(instance.steps):
        if step.kind >= 0 and instance.kinds[step.kind].sharing == sharing:
            step_classes.setdefault((step.kind, instance.levels[s]), []).append(s)
            total += step.width * step.ticks * work[step.kind]
    prices = {kind: _prices(instance, kind, price) for kind in {kind for kind, _ in step_classes}}
    found = []
    for (kind, _), steps in step_classes.items():
        steps.sort(key=lambda s: -instance.steps[s].ticks)
        best, count, jobs, own = 0.0, 0, 0, 0.0
        for n, s in enumerate(steps, 1):
            step = instance.steps[s]
            jobs += step.width
            own += step.width * step.ticks * work[kind]
            nodes = step.ticks * prices[kind][jobs] if jobs < len(prices[kind]) else 0.0
            if nodes > best:
                best, count = nodes, n
        found.append((best + total - own, best, steps[:count]))
    cost = 0.0
    for most, nodes, members in sorted(found, reverse=True):
        if most * (1 - EPS) <= max(cost, total):
            break
        cost = max(cost, (nodes + _apart(instance, sharing, members, work)) * (1 - EPS))
    return cost


def _prices(instance: Instance, kind: int, price: Sequence[float]) -> list[float]:
    """What the cheapest nodes cost a tick that hold 0, 1, ... jobs of a kind at once.

    Empty for jobs on several nodes: how many of those share nodes is another question.
    """
    fits = instance.kinds[kind]
    if any(fits.on(f).nodes > 1 for f in fits.feasible_flavours):
        return []
    choices = [(price[f], fits.on(f).per_node) for f in fits.feasible_flavours]
    prices = [0.0]
    for jobs in range(1, FEW + 1):
        prices.append(min(one + prices[max(0, jobs - held)] for one, held in choices))
    return prices


def _apart(instance: Instance, sharing: int, members: list[int], work: Sequence[float]) -> float:
    """Cost of the work of the class's steps all of whose jobs come after, or all before, all jobs of the members."""
    if len(instance.steps) > MANY:
        return 0.0
    bits = [0] * len(instance.steps)
    for n, s in enumerate(members):
        bits[s] = 1 << n
    every = (1 << len(members)) - 1
    apart = 0.0
    for order, forwards in ((instance.order, True), (instance.order[::-1], False)):
        passed = [0] * len(instance.steps)
        own = list(bits)
        for s in order:
            step = instance.steps[s]
            all_of, same = 0, bits[s]
            for t, each in step.before if forwards else step.after:
                all_of |= passed[t]
                if each and step.width > 1:
                    same |= own[t]
                else:
                    all_of |= own[t]
            passed[s], own[s] = all_of, same
            if all_of == every and step.kind >= 0 and instance.kinds[step.kind].sharing == sharing:
                apart += step.width * step.ticks * work[step.kind]
    return apart
