"""Numbers that no workflow has: refused before anything is computed with them, since exact arithmetic ends there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamflow_fluxop.model import Problem

JOBS = 1_000_000
"""Of all steps together."""

SECONDS = 1e9
"""Thirty-two years."""

PRICE = 1e9
"""Of a node for an hour; also what a plan may cost in an hour."""

COUNT = 10**9
"""Cores, GPUs and nodes; memory may have a thousand times as many MiB."""


def too_large(problem: Problem) -> Iterator[UserError]:
    """One error a number that is out of all proportion."""
    for name, flavour in problem.flavours.items():
        where = f"flavour {name}"
        yield from _at_most(where, "seconds", SECONDS, bring_up=flavour.bring_up, tear_down=flavour.tear_down)
        yield from _at_most(where, "an hour", PRICE, price=flavour.price)
        yield from _at_most(where, "MiB", 1000 * COUNT, memory=flavour.memory)
        yield from _at_most(where, "", COUNT, cores=flavour.cores, gpus=flavour.gpus, count=flavour.count)
    limits = problem.limits
    yield from _at_most("limits", "an hour", PRICE * COUNT, cost_per_hour=limits.cost_per_hour)
    yield from _at_most("limits", "MiB", 1000 * COUNT, memory=limits.memory)
    counts = limits.model_dump(exclude={"cost_per_hour", "memory"})
    yield from _at_most("limits", "", COUNT, **counts)
    wish = problem.objective
    yield from _at_most("objective: deadline", "seconds", SECONDS, deadline=wish.deadline)
    yield from _at_most("objective: budget", "", PRICE * COUNT, budget=wish.budget)
    jobs = 0
    for step in problem.workflow.steps:
        if step.duration.seconds > SECONDS or step.duration.spread > SECONDS:
            where = f"step {step.name}: duration"
            yield from _at_most(where, "seconds", SECONDS, seconds=step.duration.seconds, spread=step.duration.spread)
        jobs += step.width
    if jobs > JOBS:
        widest = max(problem.workflow.steps, key=lambda s: s.width)
        yield UserError(
            f"the workflow has {jobs} jobs, {widest.width} of them here",
            where=f"step {widest.name}: width",
            fix=f"There can be {JOBS} jobs. Plan for a part of them, or for fewer that take longer.",
        )


def _at_most(where: str, unit: str, most: float, **values: float | None) -> Iterator[UserError]:
    for name, value in values.items():
        if value is not None and value > most:
            words = f"{most:g} {unit}".rstrip()
            yield UserError(f"{name} is {value:g}: it can be {words} at most", where=where)
