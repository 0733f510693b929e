"""What jobs take at least: of nodes, of limits, of money; by kind, and by when they can run.

Jobs that need different things share a node for nothing, so the largest of a job's shares of cores, GPUs and memory
may not be added up. A weighted mean of the three may, with weights that are the same for all jobs on a flavour; we
take the best of a few weights, for each sharing class (weak duality of the vector packing's linear programme).
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamflow_fluxop.planning.problem.instance import Instance

GRID = 96
"""Classes of heads, and of tails, that are told apart."""
Weights = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Of cores, GPUs and memory, on flavours with GPUs and on those without."""
WITH_GPUS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.0), (0.25, 0.75, 0.0), (0.5, 0.0, 0.5))
WITHOUT_GPUS = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.0, 0.5))
WEIGHTS: tuple[Weights, ...] = tuple(product(WITH_GPUS, WITHOUT_GPUS))
"""Those that are tried."""


def least_work(instance: Instance) -> float:
    """What all jobs cost at least, in any plan, without bring-up and tear-down."""
    amount = amounts(instance)
    price = [f.price for f in instance.flavours]
    return sum(dot(amount, least_shares(instance, p, price, amount)) for p in range(len(instance.sharing_classes)))


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    """Sum of products."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def amounts(instance: Instance) -> list[int]:
    """Job-ticks of each kind."""
    amount = [0] * len(instance.kinds)
    for step in instance.steps:
        if step.kind >= 0:
            amount[step.kind] += step.width * step.ticks
    return amount


def least_shares(instance: Instance, sharing: int, worth: list[float], amount: list[int]) -> list[float]:
    """What a job of each kind of a sharing class takes at least of something that a node has `worth` of, by flavour."""
    return max(
        (weighted(instance, sharing, worth, weights) for weights in WEIGHTS), key=lambda loads: dot(loads, amount)
    )


def weighted(instance: Instance, sharing: int, worth: list[float], weights: Weights) -> list[float]:
    """What a job of each kind of a class takes at least of something, by given weights of cores, GPUs and memory."""
    with_gpus, without = weights
    return [
        min(
            worth[f] * dot(k.on(f).shares, with_gpus if instance.flavours[f].gpus else without)
            for f in k.feasible_flavours
        )
        if k.sharing == sharing
        else 0.0
        for k in instance.kinds
    ]


def limit_loads(instance: Instance) -> list[list[float]]:
    """For each limit, what a job of each kind takes of it at least, as a share of the limit."""
    amount = amounts(instance)
    loads = []
    for r, capacity in enumerate(instance.capacity):
        if capacity:
            worth = [f.weight[r] / capacity for f in instance.flavours]
            sharing_classes = [least_shares(instance, p, worth, amount) for p in range(len(instance.sharing_classes))]
            load = [sharing_classes[k.sharing][n] for n, k in enumerate(instance.kinds)]
            if any(load):
                loads.append(load)
    return loads


def areas(instance: Instance, heads: list[int], tails: list[int], load: list[float]) -> list[tuple[int, int, float]]:
    """(h, q, work of the jobs with head >= h and tail >= q) where there are such jobs, work as ticks times load."""
    steps = [s for s, step in enumerate(instance.steps) if step.kind >= 0 and load[step.kind]]
    hs, qs = classes(heads, steps), classes(tails, steps)
    grid = areas_at(instance, heads, tails, load, hs, qs)
    return [(h, q, area) for h, row in zip(hs, grid, strict=True) for q, area in zip(qs, row, strict=True) if area]


def classes(values: list[int], steps: Iterable[int]) -> list[int]:
    """At most `GRID` values, the least among them, that the values of the steps are rounded down to.

    Half of them are evenly spread, half are those that lie furthest above the value before them.
    """
    distinct = sorted({values[s] for s in steps})
    if len(distinct) <= GRID:
        return distinct
    half = GRID // 2
    gaps = sorted(range(1, len(distinct)), key=lambda i: distinct[i - 1] - distinct[i])
    return [distinct[i] for i in sorted({i * len(distinct) // half for i in range(half)} | set(gaps[:half]))]


def areas_at(
    instance: Instance, heads: list[int], tails: list[int], load: list[float], hs: list[int], qs: list[int]
) -> list[list[float]]:
    """The work of the jobs with head >= h and tail >= q, for each h (a row) and q (a column) of the classes."""
    grid = [[0.0] * (len(qs) + 1) for _ in range(len(hs) + 1)]
    for s, step in enumerate(instance.steps):
        if step.kind >= 0 and load[step.kind]:
            row, column = bisect_right(hs, heads[s]) - 1, bisect_right(qs, tails[s]) - 1
            grid[row][column] += step.width * step.ticks * load[step.kind]
    for i in range(len(hs) - 1, -1, -1):
        row_sum = 0.0
        for j in range(len(qs) - 1, -1, -1):
            row_sum += grid[i][j]
            grid[i][j] = row_sum + grid[i + 1][j]
    return [row[:-1] for row in grid[:-1]]
