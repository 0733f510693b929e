"""The planner's face: a problem goes in, a plan comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow_fluxop.collector import paused
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Alternative
from streamflow_fluxop.planning.bound.lower_bounds import lower_bounds
from streamflow_fluxop.planning.cautious import cautious
from streamflow_fluxop.planning.improve.left_shift import left_shifted
from streamflow_fluxop.planning.objective import Judge
from streamflow_fluxop.planning.portfolio import Found, automatic
from streamflow_fluxop.planning.problem.instance import TICKS, compile_problem
from streamflow_fluxop.planning.result.explanations import seconds
from streamflow_fluxop.planning.result.knowledge import known_nothing
from streamflow_fluxop.planning.result.node_nesting import nest_nodes
from streamflow_fluxop.planning.result.plan_builder import make_plan
from streamflow_fluxop.planning.strategies import REGISTRY, names
from streamflow_fluxop.planning.targets import within_targets

if TYPE_CHECKING:
    from streamflow_fluxop.model import Plan, Problem
    from streamflow_fluxop.planning.problem.instance import Instance
    from streamflow_fluxop.planning.result.schedule import Schedule


def solve(problem: Problem, *, strategy: str = "auto", seed: int = 0, time_limit: float = 5.0) -> Plan:
    """Plan.

    Equal problems, seeds and efforts give equal plans, whatever the machine does beside: the search makes a number of
    schedules that follows from the size of the problem and the effort, and CP-SAT stops by its deterministic time. A
    clock ends both where they take far longer than on any machine that we know (`Budget`); such a plan says so.

    A plan for a looser deadline, or a larger budget, is never worse than one for a tighter (`targets`).

    Args:
        problem: what to plan for.
        strategy: `auto` takes the best of all strategies and searches on from there; `optimal` does, and spends
            most of the time on a proof, where the problem is small enough for one; the others are the simple
            strategies, without a search.
        seed: of the search.
        time_limit: the effort: how much to search, in seconds of a slow machine. Less on a quicker one, more on a
            busy one. With a deadline or a budget it may be three times as much; reading and writing 100 000 steps takes
            some more.

    Raises:
        UserError: there is no plan, or none found that keeps deadline and budget; says why, and what would help.
    """
    chosen = REGISTRY.get(strategy)
    if chosen is None:
        raise UserError(f"there is no strategy {strategy}", where="strategy", fix=f"take one of {', '.join(names())}")
    with paused():
        instance = compile_problem(problem)
        judge = Judge(instance, lower_bounds(instance))
        _check_targets(judge)
        if chosen.function:
            found = Found(chosen.schedule(instance), [])
        else:
            wish = instance.objective
            search = automatic if wish.deadline is None and wish.budget is None else within_targets
            found = search(instance, judge, seed=seed, seconds=time_limit, proof=chosen.proof)
            if found.searched:
                found.best = left_shifted(instance, found.best)
            _check_found(judge, found.best)
        fine = None
        if strategy == "auto" and known_nothing(problem):
            few = cautious(instance, judge, [found.best, *found.others])
            if few is not None:
                fine, found.best, found.optimal = _alternative(instance, found.best), few, False
        others = [_alternative(instance, schedule) for schedule in found.others]
        return make_plan(
            problem,
            instance,
            found.best,
            judge,
            seed=seed,
            optimal=found.optimal,
            bound=found.bound,
            cut=found.cut,
            alternatives=others,
            instead_of=fine,
        )


def _alternative(instance: Instance, schedule: Schedule) -> Alternative:
    nest_nodes(instance, schedule)
    node_ticks = sum(
        lease.last - lease.first + instance.flavours[lease.flavour].up + instance.flavours[lease.flavour].down
        for lease in schedule.leases
    )
    return Alternative(
        strategy=schedule.strategy,
        miniclusters=len({lease.stack for lease in schedule.leases}),
        node_seconds=node_ticks / TICKS,
        cost=schedule.cost,
        makespan=schedule.makespan / TICKS,
    )


def _check_targets(judge: Judge) -> None:
    """A deadline or a budget below the bounds."""
    deadline, budget = judge.objective.deadline, judge.objective.budget
    if deadline is not None and deadline * TICKS < judge.bounds.makespan:
        raise UserError(
            f"no plan is over in {seconds(deadline * TICKS)}",
            where="objective: deadline",
            fix=f"the least possible is {seconds(judge.bounds.makespan)}, with the limits as they are",
        )
    if budget is not None and budget < judge.bounds.cost * (1 - 1e-9):
        raise UserError(
            f"no plan costs {budget:g} or less",
            where="objective: budget",
            fix=f"the least possible is {judge.bounds.cost:.4g}, with the flavours as they are",
        )


def _check_found(judge: Judge, best: Schedule) -> None:
    if judge.value(best.cost, best.makespan)[0] > 0:
        raise UserError(
            "no plan found that keeps deadline and budget: "
            f"the nearest takes {seconds(best.makespan)} and costs {best.cost:.4g}",
            where="objective",
            fix="give more time or money, raise the limits, or let the planner search more (`--effort`)",
        )
