"""What no plan can be below.

Makespan. The head h of a step is the earliest time at which it can start (bring-up and the longest chain before
it), its tail q the longest chain from its start to the end, without itself and its own duration. Jobs with head >=
h and tail >= q have to be worked off between h and the makespan minus q, so for each limit R and what the jobs at
least take of it::

    makespan >= h + (sum of duration * least share of R over those jobs) / R + q        for all h, q

(head-tail energetic bound: Carlier and Latapie 1991 for the cumulative problem). The steps are sorted into at most
`GRID` classes of heads and of tails, rounded down, so that all pairs are looked at in linear time. What whole nodes and
handovers between sharing classes add to this is in `setup`.

Cost, for each sharing class the larger of two sums.

- Work: every job costs at least its share of a node on the flavour where that is cheapest, and more where jobs come
  whole (`rounding`) or nothing else can run beside them (`chain`); and there is at least one bring-up and tear-down of
  as many nodes as its widest job spans, for each set of steps that have no flavour in common.
- A chain with its gaps: between two of its jobs a node is either kept, or brought up and taken down once more. What a
  gap costs in one sharing class depends on how long the other sharing classes take for their jobs in it, and that on
  how many of their nodes come up.

Both at once. For a makespan of T, jobs with head >= h and tail >= q take, at some moment, what they take on average
over T - h - q; what is up at that moment, whole nodes, has been brought up and will be taken down. So the cost bound
grows as T shrinks, and the least weighted sum over all T bounds the balanced objective better than the sum of the two
bounds. So it does where a limit is too tight for the cheapest flavours (`lagrangian`).

Room. With what a node takes of a limit as its price, the same bound says what is held of the limit, bring-up and
tear-down included, summed over time. All of that lies between 0 and the makespan plus the longest tear-down.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from streamflow_fluxop.planning.bound.chain import MANY, Gap, Rates, beside_chain
from streamflow_fluxop.planning.bound.energetic import GRID, amounts, areas, dot, least_shares, limit_loads
from streamflow_fluxop.planning.bound.lagrangian import charged, charges
from streamflow_fluxop.planning.bound.rounding import in_rounds
from streamflow_fluxop.planning.bound.setup import least_with_whole_nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow_fluxop.planning.problem.instance import Instance, Kind

SOME_CLASSES = 8
"""Sharing classes up to which it is worked out whether all that is held finds room under the limits."""
WHOLE = 64
"""Nodes up to which it counts that they come whole."""
EPS = 1e-9


@dataclass(frozen=True, slots=True)
class LowerBounds:
    """Lower bounds: `cost` in currency, `makespan` in ticks, `score` of the balanced objective."""

    cost: float
    makespan: int
    score: float


def lower_bounds(instance: Instance) -> LowerBounds:
    """The bounds of an instance; linear in steps and dependencies."""
    cost, makespan, least = _bounds(instance)
    score = _score(instance.objective.weight, least, makespan, cost, makespan)
    return LowerBounds(cost, makespan, max(1.0, score))


def least_score(instance: Instance, cost: float, makespan: float) -> float:
    """What ``weight * cost / this cost + (1 - weight) * makespan / this makespan`` is at least, in any plan."""
    _, start, least = _bounds(instance)
    return _score(instance.objective.weight, least, start, cost, makespan)


def _bounds(instance: Instance) -> tuple[float, int, Callable[[float], float]]:
    """The bounds of cost and of makespan, and what plans of at most a makespan cost at least."""
    heads, tails = _heads(instance), _tails(instance)
    makespan = max((h + s.ticks + q for h, s, q in zip(heads, instance.steps, tails, strict=True)), default=0)
    loads = limit_loads(instance)
    for load in loads:
        for h, q, area in areas(instance, heads, tails, load):
            makespan = max(makespan, ceil(h + q + area * (1 - EPS)))
    sharing_classes = _class_costs(instance, [f.price for f in instance.flavours], heads, tails, loads)
    for r, capacity in enumerate(instance.capacity):
        if capacity and len(sharing_classes) <= SOME_CLASSES and len(instance.steps) <= MANY:
            held = _class_costs(instance, [f.weight[r] / capacity for f in instance.flavours], heads, tails, loads)
            makespan = _least_within_limits(instance, held, makespan)
            makespan = least_with_whole_nodes(instance, r, heads, tails, makespan)
    cost = max(sum(sharing.cost(None) for sharing in sharing_classes), _across_gaps(instance, sharing_classes))
    least = _least_cost(instance, sharing_classes, heads, tails, loads, cost)
    return cost, makespan, least


def _across_gaps(instance: Instance, sharing_classes: list[_SharingClassCost]) -> float:
    """What all sharing classes cost at least because of a gap in one's chain, in which others have work to do.

    The shorter the gap, the more of their nodes are up in it; the longer, the more it costs in its own sharing class.
    Between two lengths of a grid the cost is at least that of the gap at the lower one, and of the others at the upper
    one.
    """
    best = 0.0
    alone = [sharing.cost(None) for sharing in sharing_classes]
    for p, sharing in enumerate(sharing_classes) if len(sharing_classes) <= SOME_CLASSES else ():
        for gap in sharing.gaps:
            area = [0.0] * len(sharing_classes)
            for s in gap.inside:
                step = instance.steps[s]
                q = instance.kinds[step.kind].sharing
                if q != p:
                    area[q] += step.width * step.ticks * sharing_classes[q].load[step.kind]

            def others(length: float, p: int = p, area: list[float] = area) -> float:
                return sum(
                    max(alone[q], other.cost_with(area[q] / length))
                    for q, other in enumerate(sharing_classes)
                    if q != p
                )

            if sum(alone) - alone[p] >= others(gap.least):
                continue
            value, length = gap.cost(gap.longest) + sum(alone) - alone[p], gap.least
            while length < gap.longest:
                value = min(value, gap.cost(length) + others(1.05 * length))
                length *= 1.05
            best = max(best, value)
    return best * (1 - EPS)


def _least_cost(
    instance: Instance,
    sharing_classes: list[_SharingClassCost],
    heads: list[int],
    tails: list[int],
    loads: list[list[float]],
    least: float,
) -> Callable[[float], float]:
    """What plans of at most a makespan cost at least, and at any."""
    down = max(f.down for f in instance.flavours)
    in_part: list[tuple[frozenset[int], float, float]] = []
    in_all: list[tuple[list[_SharingClassCost], float]] = []
    if len(sharing_classes) <= SOME_CLASSES and len(instance.steps) <= MANY:
        for limit, capacity in enumerate(instance.capacity):
            for charge in charges(instance, limit) if capacity else ():
                in_part += [(own, work, charge) for own, work in charged(instance, limit, charge, heads, tails)]
                dear = [f.price + charge * f.weight[limit] / capacity for f in instance.flavours]
                in_all.append((_class_costs(instance, dear, heads, tails, loads), charge))

    def cost(makespan: float) -> float:
        whole = [sharing.cost(makespan) for sharing in sharing_classes]
        setups = [sharing.setups(makespan) for sharing in sharing_classes]
        found = [sum(whole), least]
        for own, work, charge in in_part:
            rest = sum(setups[p] if p in own else cost for p, cost in enumerate(whole))
            found.append(rest + work - charge * makespan)
        found += [
            sum(sharing.cost(makespan) for sharing in dear) - charge * (makespan + down) for dear, charge in in_all
        ]
        return max(found) * (1 - EPS)

    return cost


def _class_costs(
    instance: Instance, price: list[float], heads: list[int], tails: list[int], loads: list[list[float]]
) -> list[_SharingClassCost]:
    return [_SharingClassCost(instance, p, price, heads, tails, loads) for p in range(len(instance.sharing_classes))]


def _least_within_limits(instance: Instance, held: list[_SharingClassCost], makespan: int) -> int:
    """The least makespan from a bound on in which there is room under a limit for all that is held.

    Args:
        instance: the problem.
        held: the sharing classes, at the prices of what a node takes of the limit, as a share of it.
        makespan: the bound.
    """
    down = max(f.down for f in instance.flavours)

    def fits(end: int) -> bool:
        return sum(sharing.cost(end) for sharing in held) * (1 - EPS) <= end + down

    if fits(makespan):
        return makespan
    low, high = makespan, 2 * makespan + 1
    while not fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _heads(instance: Instance) -> list[int]:
    first = [min((instance.flavours[f].up for f in k.feasible_flavours), default=0) for k in instance.kinds]
    heads = [0] * len(instance.steps)
    ends = [0] * len(instance.steps)
    for s in instance.order:
        step = instance.steps[s]
        head = first[step.kind] if step.kind >= 0 else 0
        for t, _ in step.before:
            if ends[t] > head:
                head = ends[t]
        heads[s] = head
        ends[s] = head + step.ticks
    return heads


def _tails(instance: Instance) -> list[int]:
    return [t - s.ticks for t, s in zip(instance.tails, instance.steps, strict=True)]


class _SharingClassCost:
    """What a sharing class costs at least, at a price of a node of each flavour."""

    def __init__(
        self,
        instance: Instance,
        sharing: int,
        price: list[float],
        heads: list[int],
        tails: list[int],
        loads: list[list[float]],
    ) -> None:
        flavours = instance.flavours
        kinds = [k for k in instance.kinds if k.sharing == sharing]
        break_even = [(f.up + f.down) * p for f, p in zip(flavours, price, strict=True)]
        self.once = min(break_even[f] for k in kinds for f in k.feasible_flavours)
        self.fixed = _fixed(kinds, break_even)
        amount = amounts(instance)
        work = least_shares(instance, sharing, price, amount)
        self.work = dot(amount, work)
        self.gapped = 0.0
        self.gaps: list[Gap] = []
        if len(instance.sharing_classes) <= GRID:
            rates = Rates(
                sharing=sharing,
                work=work,
                nodes=[
                    min(k.on(f).nodes * price[f] for f in k.feasible_flavours) if k.sharing == sharing else 0.0
                    for k in instance.kinds
                ],
                idle=min(price[f] for k in kinds for f in k.feasible_flavours),
                once=self.once,
                loads=loads,
            )
            solid, self.gapped, self.gaps = beside_chain(instance, rates)
            self.work = max(self.work, solid)
        if len(instance.steps) <= MANY:
            self.work = max(self.work, in_rounds(instance, sharing, price, work))
        self.load = least_shares(instance, sharing, break_even, amount)
        corners: dict[int, float] = {}
        for h, q, area in areas(instance, heads, tails, self.load):
            corners[h + q] = max(corners.get(h + q, 0.0), area)
        self.sums = _sums({break_even[f] for k in kinds for f in k.feasible_flavours})
        self.corners: list[tuple[int, float]] = []
        for gone, area in sorted(corners.items(), reverse=True):
            if not self.corners or area > self.corners[-1][1]:
                self.corners.append((gone, area))

    def cost(self, makespan: float | None) -> float:
        """The bound, for plans of at most this makespan."""
        return self.cost_with(0.0 if makespan is None else self.up(makespan))

    def cost_with(self, up: float) -> float:
        """The bound, where so much is up at some moment: what bring-up and tear-down of these nodes cost.

        All of them are up at once, so no moment at which none is up divides them. Before and after each such moment on
        the chain there is a node for the chain, too.
        """
        whole = self.whole(up)
        return max(self.work + max(self.fixed, whole), self.gapped + max(0.0, whole - self.once))

    def setups(self, makespan: float) -> float:
        """What bring-up and tear-down cost at least, in plans of at most this makespan."""
        return max(self.fixed, self.whole(self.up(makespan)))

    def up(self, makespan: float) -> float:
        """What bring-up and tear-down cost of all that is up at some moment, in plans of at most this makespan."""
        return max((area / (makespan - gone) for gone, area in self.corners if makespan > gone), default=0.0)

    def whole(self, up: float) -> float:
        """The least sum of what bring-up and tear-down of whole nodes cost that is not below an amount."""
        place = bisect_left(self.sums, up * (1 - EPS))
        return self.sums[place] if place < len(self.sums) else up


def _sums(break_even: set[float]) -> list[float]:
    """What so many nodes cost to bring up and take down that come whole: all sums up to a size, in order."""
    costs = sorted(e for e in break_even if e > 0)
    if not costs:
        return []
    sums, top = {0.0}, WHOLE * costs[0]
    for cost in costs:
        for one in sorted(sums):
            while one + cost <= top and len(sums) < 20 * WHOLE:
                one += cost
                sums.add(one)
    return sorted(sums) if len(sums) < 20 * WHOLE else []


def _fixed(kinds: list[Kind], break_even: list[float]) -> float:
    """What bringing up and taking down costs that the kinds of a sharing class can't do without."""
    taken: set[int] = set()
    total = 0.0
    for kind in sorted(kinds, key=lambda k: len(k.feasible_flavours)):
        if not taken & set(kind.feasible_flavours):
            taken |= set(kind.feasible_flavours)
            total += min(kind.on(f).nodes * break_even[f] for f in kind.feasible_flavours)
    return total


def _score(weight: float, least: Callable[[float], float], start: int, cost: float, makespan: float) -> float:
    """The least of ``w * least(T) / cost + (1 - w) * T / makespan`` over all T from a start on.

    least(T) falls and T grows, so between two neighbours of a grid of T the value is at least that of the cost at the
    right one and of T at the left one.
    """
    if not cost or not makespan:
        return 1.0
    rest = weight * least(1e3 * start) / cost
    best, left = (1 - weight) * 1e3 * start / makespan + rest, float(start)
    while (1 - weight) * left / makespan + rest < best:
        right = left * 1.005
        best = min(best, weight * least(right) / cost + (1 - weight) * left / makespan)
        left = right
    return best
