"""The best of all strategies."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planner.budget import Budget
from streamflow_fluxop.planner.search import Search, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow_fluxop.planner.instance import Instance
    from streamflow_fluxop.planner.objective import Judge, Value
    from streamflow_fluxop.planner.schedule import Schedule


def search(instance: Instance, judge: Judge, *, seed: int, seconds: float) -> Schedule:
    """List schedules from several starts, then annealing from the best of them."""
    run = Search(instance, judge, Budget(seconds, instance.jobs))
    tried: list[tuple[Value, int, State]] = []
    for state in run.starts():
        if tried and run.budget.over():
            break
        tried.append((run.try_state(state), len(tried), state))
    tried.sort(key=lambda t: t[:2])
    rng = Random(seed)
    value, _, state = tried[0]
    run.anneal(state, value, rng, run.budget.left)
    assert run.best is not None
    return run.best


def best_of_all(
    instance: Instance,
    judge: Judge,
    others: dict[str, Callable[[Instance], Schedule]],
    *,
    seed: int,
    seconds: float,
) -> tuple[Schedule, list[Schedule]]:
    """The best schedule of all strategies, and the schedules of the others.

    Raises:
        UserError: none found one.
    """
    found: list[Schedule] = []
    errors: list[UserError] = []
    for strategy in (lambda i: search(i, judge, seed=seed, seconds=seconds), *others.values()):
        try:
            found.append(strategy(instance))
        except UserError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    best = min(found, key=lambda s: judge.value(s.cost, s.makespan))
    return best, found
