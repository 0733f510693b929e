"""What no plan can be below.

Makespan. The head h of a step is the earliest time at which it can start (bring-up and the longest chain before
it), its tail q the longest chain from its start to the end, without itself and its own duration. Jobs with head >=
h and tail >= q have to be worked off between h and the makespan minus q, so for each limit R and what the jobs at
least take of it::

    makespan >= h + (sum of duration * least share of R over those jobs) / R + q        for all h, q

(head-tail energetic bound: Carlier and Latapie 1991 for the cumulative problem). The steps are sorted into at most
`GRID` classes of heads and of tails, rounded down, so that all pairs are looked at in linear time.

Shares. Jobs that need different things share a node for nothing, so the largest of a job's shares of cores, GPUs
and memory may not be added up. A weighted mean of the three may, with weights that are the same for all jobs on a
flavour; we take the best of a few weights, for each pool (weak duality of the vector packing's linear programme).

Cost, for each pool the larger of two sums.

- Work: every job costs at least its share of a node on the flavour where that is cheapest, and more where jobs come
  whole (`rounds`) or nothing else can run beside them (`chains`); and there is at least one bring-up and tear-down of
  as many nodes as its widest job spans, for each set of steps that have no flavour in common.
- A chain with its gaps: between two of its jobs a node is either kept, or brought up and taken down once more.

Both at once. For a makespan of T, jobs with head >= h and tail >= q take, at some moment, what they take on average
over T - h - q; what is up at that moment, whole nodes, has been brought up and will be taken down. So the cost bound
grows as T shrinks, and the least weighted sum over all T bounds the balanced objective better than the sum of the two
bounds.

Room. With what a node takes of a limit as its price, the same bound says what is held of the limit, bring-up and
tear-down included, summed over time. All of that lies between 0 and the makespan plus the longest tear-down.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import TYPE_CHECKING

from streamflow_fluxop.planner.chains import MANY, Rates, beside_chain
from streamflow_fluxop.planner.rounds import in_rounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamflow_fluxop.planner.instance import Instance, Kind

GRID = 96
SOME_POOLS = 8
"""Pools up to which it is worked out whether all that is held finds room under the limits."""
WHOLE = 64
"""Nodes up to which it counts that they come whole."""
EPS = 1e-9
WITH_GPUS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.0), (0.25, 0.75, 0.0), (0.5, 0.0, 0.5))
"""Weights of cores, GPUs and memory that are tried on flavours with GPUs; the others are tried on those without."""
WITHOUT_GPUS = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.0, 0.5))


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
    pools = _pools(instance, [f.price for f in instance.flavours], heads, tails, loads)
    for r, capacity in enumerate(instance.capacity):
        if capacity and len(pools) <= SOME_POOLS and len(instance.steps) <= MANY:
            held = _pools(instance, [f.weight[r] / capacity for f in instance.flavours], heads, tails, loads)
            makespan = _least_with_room(instance, held, makespan)
    cost = sum(pool.cost(None) for pool in pools)
    return LowerBounds(cost, makespan, _score(instance.objective.weight, pools, cost, makespan))


def _pools(
    instance: Instance, price: list[float], heads: list[int], tails: list[int], loads: list[list[float]]
) -> list[_Pool]:
    return [_Pool(instance, p, price, heads, tails, loads) for p in range(len(instance.pools))]


def _least_with_room(instance: Instance, held: list[_Pool], makespan: int) -> int:
    """The least makespan from a bound on in which there is room under a limit for all that is held.

    Args:
        instance: the problem.
        held: the pools, at the prices of what a node takes of the limit, as a share of it.
        makespan: the bound.
    """
    down = max(f.down for f in instance.flavours)

    def fits(end: int) -> bool:
        return sum(pool.cost(end) for pool in held) * (1 - EPS) <= end + down

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
    first = [min((instance.flavours[f].up for f in k.wishes), default=0) for k in instance.kinds]
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


def least_work(instance: Instance) -> float:
    """What all jobs cost at least, in any plan, without bring-up and tear-down."""
    amount = _amounts(instance)
    price = [f.price for f in instance.flavours]
    return sum(_dot(amount, _least(instance, p, price, amount)) for p in range(len(instance.pools)))


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _amounts(instance: Instance) -> list[int]:
    """Job-ticks of each kind."""
    amount = [0] * len(instance.kinds)
    for step in instance.steps:
        if step.kind >= 0:
            amount[step.kind] += step.width * step.ticks
    return amount


def _least(instance: Instance, pool: int, worth: list[float], amount: list[int]) -> list[float]:
    """What a job of each kind of a pool takes at least of something that a node has `worth` of, by flavour."""
    best, most = [0.0] * len(instance.kinds), -1.0
    for with_gpus, without in product(WITH_GPUS, WITHOUT_GPUS):
        loads = [
            min(worth[f] * _dot(k.on(f).shares, with_gpus if instance.flavours[f].gpus else without) for f in k.wishes)
            if k.pool == pool
            else 0.0
            for k in instance.kinds
        ]
        total = _dot(loads, amount)
        if total > most:
            best, most = loads, total
    return best


def _loads(instance: Instance) -> list[list[float]]:
    """For each limit, what a job of each kind takes of it at least, as a share of the limit."""
    amount = _amounts(instance)
    loads = []
    for r, capacity in enumerate(instance.capacity):
        if capacity:
            worth = [f.weight[r] / capacity for f in instance.flavours]
            pools = [_least(instance, p, worth, amount) for p in range(len(instance.pools))]
            load = [pools[k.pool][n] for n, k in enumerate(instance.kinds)]
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


class _Pool:
    """What a pool costs at least, at a price of a node of each flavour."""

    def __init__(
        self,
        instance: Instance,
        pool: int,
        price: list[float],
        heads: list[int],
        tails: list[int],
        loads: list[list[float]],
    ) -> None:
        flavours = instance.flavours
        kinds = [k for k in instance.kinds if k.pool == pool]
        even = [(f.up + f.down) * p for f, p in zip(flavours, price, strict=True)]
        self.once = min(even[f] for k in kinds for f in k.wishes)
        self.fixed = _fixed(kinds, even)
        amount = _amounts(instance)
        work = _least(instance, pool, price, amount)
        self.work = _dot(amount, work)
        self.gapped = 0.0
        if len(instance.pools) <= GRID:
            rates = Rates(
                pool=pool,
                work=work,
                nodes=[
                    min(k.on(f).nodes * price[f] for f in k.wishes) if k.pool == pool else 0.0 for k in instance.kinds
                ],
                idle=min(price[f] for k in kinds for f in k.wishes),
                once=self.once,
                loads=loads,
            )
            solid, self.gapped = beside_chain(instance, rates)
            self.work = max(self.work, solid)
        if len(instance.steps) <= MANY:
            self.work = max(self.work, in_rounds(instance, pool, price, work))
        load = _least(instance, pool, even, amount)
        corners: dict[int, float] = {}
        for h, q, area in _areas(instance, heads, tails, load):
            corners[h + q] = max(corners.get(h + q, 0.0), area)
        self.sums = _sums({even[f] for k in kinds for f in k.wishes})
        self.corners: list[tuple[int, float]] = []
        for gone, area in sorted(corners.items(), reverse=True):
            if not self.corners or area > self.corners[-1][1]:
                self.corners.append((gone, area))

    def cost(self, makespan: float | None) -> float:
        """The bound, for plans of at most this makespan."""
        fixed = self.fixed
        if makespan is not None:
            up = max((area / (makespan - gone) for gone, area in self.corners if makespan > gone), default=0.0)
            place = bisect_left(self.sums, up * (1 - EPS))
            fixed = max(fixed, self.sums[place] if place < len(self.sums) else up)
        return max(self.work + fixed, self.gapped)


def _sums(even: set[float]) -> list[float]:
    """What so many nodes cost to bring up and take down that come whole: all sums up to a size, in order."""
    costs = sorted(e for e in even if e > 0)
    if not costs:
        return []
    sums, top = {0.0}, WHOLE * costs[0]
    for cost in costs:
        for one in sorted(sums):
            while one + cost <= top and len(sums) < 20 * WHOLE:
                one += cost
                sums.add(one)
    return sorted(sums) if len(sums) < 20 * WHOLE else []


def _fixed(kinds: list[Kind], even: list[float]) -> float:
    """What bringing up and taking down costs that the kinds of a pool can't do without."""
    taken: set[int] = set()
    total = 0.0
    for kind in sorted(kinds, key=lambda k: len(k.wishes)):
        if not taken & set(kind.wishes):
            taken |= set(kind.wishes)
            total += min(kind.on(f).nodes * even[f] for f in kind.wishes)
    return total


def _score(weight: float, pools: list[_Pool], cost: float, makespan: int) -> float:
    """The least of ``w * cost(T) / cost + (1 - w) * T / makespan`` over all T.

    cost(T) falls and T grows, so between two neighbours of a grid of T the value is at least cost at the right one
    and T at the left one.
    """
    if not cost or not makespan:
        return 1.0
    best, left = float("inf"), float(makespan)
    while (1 - weight) * left / makespan + weight < best and left < 1e3 * makespan:
        right = left * 1.005
        total = sum(pool.cost(right) for pool in pools)
        best = min(best, weight * total / cost + (1 - weight) * left / makespan)
        left = right
    return max(1.0, best)
