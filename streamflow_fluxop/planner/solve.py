"""The planner's face: a problem goes in, a plan comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planner.bounds import lower_bounds
from streamflow_fluxop.planner.document import make_plan
from streamflow_fluxop.planner.extremes import by_level, per_step, per_task, single
from streamflow_fluxop.planner.instance import compile_problem
from streamflow_fluxop.planner.objective import Judge
from streamflow_fluxop.planner.portfolio import best_of_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow_fluxop.model import Plan, Problem
    from streamflow_fluxop.planner.instance import Instance
    from streamflow_fluxop.planner.schedule import Schedule

SIMPLE: dict[str, Callable[[Instance], Schedule]] = {
    "per-task": per_task,
    "per-step": per_step,
    "single": single,
    "by-level": by_level,
}
"""The strategies that do not search."""

STRATEGIES = ("auto", *SIMPLE)
"""What `solve` takes as a strategy."""


def solve(problem: Problem, *, strategy: str = "auto", seed: int = 0, time_limit: float = 5.0) -> Plan:
    """Plan.

    Args:
        problem: what to plan for.
        strategy: `auto`, or the name of one of `SIMPLE`.
        seed: of the search; equal seeds give equal plans.
        time_limit: seconds for the search.

    Raises:
        UserError: there is no plan; says why, and what would help.
    """
    instance = compile_problem(problem)
    judge = Judge(instance, lower_bounds(instance))
    if strategy in SIMPLE:
        schedule = SIMPLE[strategy](instance)
    elif strategy == "auto":
        schedule, _ = best_of_all(instance, judge, SIMPLE, seed=seed, seconds=time_limit)
    else:
        raise UserError(f"there is no strategy {strategy}", where="strategy", fix=f"take auto, {', '.join(SIMPLE)}")
    return make_plan(problem, instance, schedule, judge, seed=seed)
