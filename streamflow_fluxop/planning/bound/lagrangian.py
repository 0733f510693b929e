"""What a plan costs at least because a limit binds: the cheapest flavour may take more of the limit than there is.

Let a node cost a charge more for what it takes of the limit. Jobs then run where that and the price are least, and

    cost >= (least cost with the charge) - charge * (what of the limit there is, summed over time)

for any charge (a Lagrange multiplier). Of the jobs with head >= h and tail >= q, all is held between h and T - q, where
T is the makespan: so with the charge on those jobs' nodes alone, just while they run, the last term is charge * (T - h
- q). The least cost is concave in the charge and bends where a kind of job goes to another flavour: one of these
bends is best.
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import TYPE_CHECKING

from streamflow_fluxop.planning.bound.energetic import WEIGHTS, amounts, areas_at, classes, dot, weighted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamflow_fluxop.planning.problem.instance import Instance

FEW_CLASSES = 3
"""Sharing classes up to which all sets of them are tried."""
FEW = 8
"""Charges that are tried: those at which most work changes its flavour."""


def charges(instance: Instance, limit: int) -> list[float]:
    """Charges a tick for the whole of a limit at which kinds of job go to another flavour, for a start."""
    capacity, amount = instance.capacity[limit], amounts(instance)
    worth: dict[float, float] = {}
    for n, kind in enumerate(instance.kinds):
        for f, g in permutations(kind.feasible_flavours, 2):
            dear = kind.on(g).share * instance.flavours[g].price - kind.on(f).share * instance.flavours[f].price
            less = (
                kind.on(f).share * instance.flavours[f].weight[limit]
                - kind.on(g).share * instance.flavours[g].weight[limit]
            )
            if dear > 0 and less > 0:
                charge = float(f"{dear / less * capacity:.9e}")  # equal bends of different kinds are one
                worth[charge] = worth.get(charge, 0.0) + amount[n]
    return sorted(worth, key=lambda charge: (-worth[charge], charge))[:FEW]


def charged(
    instance: Instance, limit: int, charge: float, heads: list[int], tails: list[int]
) -> Iterator[tuple[frozenset[int], float]]:
    """What some sharing classes' work costs at least, with the charge on the best set of their jobs, and on h + q.

    Less the charge times the makespan, and with what bring-up and tear-down cost, this is a bound of their cost.
    """
    amount = amounts(instance)
    price = [f.price for f in instance.flavours]
    dear = [f.price + charge * f.weight[limit] / instance.capacity[limit] for f in instance.flavours]
    steps = [s for s, step in enumerate(instance.steps) if step.kind >= 0]
    hs, qs = classes(heads, steps), classes(tails, steps)
    plain, grids = [], []
    for sharing in range(len(instance.sharing_classes)):
        weights = max(WEIGHTS, key=lambda w, p=sharing: dot(weighted(instance, p, dear, w), amount))  # type: ignore[misc]
        without, within = (weighted(instance, sharing, worth, weights) for worth in (price, dear))
        plain.append(dot(without, amount))
        more = [b - a for a, b in zip(without, within, strict=True)]
        grids.append(areas_at(instance, heads, tails, more, hs, qs))
    for sharing_classes in _sets(len(grids)):
        rows = (
            [sum(column) for column in zip(*rows, strict=True)]
            for rows in zip(*map(grids.__getitem__, sharing_classes), strict=True)
        )
        sums = (
            area + charge * (h + q)
            for h, row in zip(hs, rows, strict=True)
            for q, area in zip(qs, row, strict=True)
            if area
        )
        yield frozenset(sharing_classes), sum(plain[p] for p in sharing_classes) + max(sums, default=0.0)


def _sets(sharing_classes: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, sharing_classes + 1) if sharing_classes <= FEW_CLASSES else (1, sharing_classes):
        yield from combinations(range(sharing_classes), size)
