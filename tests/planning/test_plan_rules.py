"""No plan breaks a rule, whatever the problem and the strategy: the verifier shares no code with the planner."""

from __future__ import annotations

import os
from graphlib import TopologicalSorter
from random import Random

import pytest
from hypothesis import HealthCheck, event, given, settings
from planning_worlds import CPU, FLAVOURS, problems, takes, workflow

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Limits, Problem
from streamflow_fluxop.planning import STRATEGIES, solve
from streamflow_fluxop.planning.bound.lower_bounds import lower_bounds
from streamflow_fluxop.planning.budget import Budget
from streamflow_fluxop.planning.improve.annealing import Annealing
from streamflow_fluxop.planning.improve.left_shift import left_shifted
from streamflow_fluxop.planning.objective import Judge
from streamflow_fluxop.planning.portfolio import automatic
from streamflow_fluxop.planning.problem.instance import TICKS, compile_problem
from streamflow_fluxop.planning.result.plan_builder import make_plan
from streamflow_fluxop.planning.result.schedule import NodeLease, Placement, make_schedule
from streamflow_fluxop.planning.strategies import simple
from streamflow_fluxop.verification import verify

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(
    max_examples=10_000 // len(STRATEGIES) + 1 if DEEP else 40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(problem=problems())
def test_a_plan_breaks_no_rule(strategy, problem):
    try:
        plan = solve(problem, strategy=strategy, time_limit=0.02)
    except UserError:
        event("no plan")
        return
    event("plan")
    assert verify(plan) == []
    assert begins_late(plan, strategy) == 0


def begins_late(plan, strategy):
    """Seconds before the first MiniCluster is asked for in which nothing runs that something has to wait for."""
    steps = {s.name: s for s in plan.problem.workflow.steps}
    ends = {}
    for name in TopologicalSorter({s.name: [d.step for d in s.after] for s in steps.values()}).static_order():
        before = [ends[d.step] for d in steps[name].after]
        alone = steps[name].controller and None not in before
        ends[name] = max(before, default=0) + steps[name].duration.seconds if alone else None
    first = min((m.asked for m in plan.miniclusters), default=0)
    if strategy in simple():  # they ask when a job is ready, not ahead
        return 0 if any(ends.values()) else first
    predecessor_counts = [
        s.start - ends[d.step] for s in plan.steps if ends[s.step] is None for d in steps[s.step].after if ends[d.step]
    ]
    late = min([first, *predecessor_counts])
    return late if late > 2e-3 else 0  # durations are rounded up to milliseconds


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(problem=problems())
def test_no_job_waits_for_nothing(problem):
    """Whoever starts jobs as soon as their data and nodes are there does what the plan says."""
    try:
        instance = compile_problem(problem)
        judge = Judge(instance, lower_bounds(instance))
        found = automatic(instance, judge, seed=0, seconds=0.02).best
    except UserError:
        return
    shifted = left_shifted(instance, found)
    assert shifted.cost <= found.cost * (1 + 1e-12)
    assert shifted.makespan <= found.makespan
    again = left_shifted(instance, shifted)
    assert [b.start for b in again.placements] == [b.start for b in shifted.placements]


def test_a_long_controller_step_beside_them_is_no_reason_for_miniclusters_to_come_late():
    whole = workflow("a -> b x3; beside", beside=takes(5000) | {"controller": True})
    instance = compile_problem(Problem(workflow=whole, flavours={"cpu": CPU}))
    late = Annealing(instance, Judge(instance, lower_bounds(instance)), Budget(1, 1))
    schedule = next(late.decode(state) for state in late.starts() if state.backwards)
    assert min(lease.first for lease in schedule.leases) > 4000 * TICKS
    shifted = left_shifted(instance, schedule)
    assert min(lease.first for lease in shifted.leases) == CPU.bring_up * TICKS
    assert shifted.makespan == 5000 * TICKS


def test_what_waits_for_a_controller_step_is_brought_up_just_in_time_for_it():
    whole = workflow(
        "first -> a; beside", first=takes(300) | {"controller": True}, beside=takes(5000) | {"controller": True}
    )
    plan = solve(Problem(workflow=whole, flavours={"cpu": CPU}), time_limit=0.1)
    assert [m.asked for m in plan.miniclusters] == [300 - CPU.bring_up]


def test_jobs_that_share_their_nodes_move_left_together_or_not_at_all():
    whole = workflow("a x3", a=takes(1, nodes=2, tasks=4, cores_per_task=1))
    instance = compile_problem(Problem(workflow=whole, flavours={"cpu": CPU}))
    second = instance.steps[0].ticks
    nodes = [(0, 1), (1, 1)]
    placements = [Placement(0, 2, 1, 0, nodes), Placement(0, 0, 2, second, [*nodes, *nodes])]
    leases = [NodeLease(0, 0, 0, 2 * second, 0, rank) for rank in range(2)]
    shifted = left_shifted(instance, make_schedule(instance, leases, placements, "by hand"))
    assert [b.start for b in shifted.placements] == [0, second]


def test_a_node_goes_even_if_one_above_it_comes_at_that_moment():
    instance = compile_problem(Problem(workflow=workflow("a x6", a=takes(1, cores_per_task=4)), flavours={"cpu": CPU}))
    second = instance.steps[0].ticks
    stays = NodeLease(0, 0, 0, 3 * second, 0, 0)
    goes, comes, above = (
        NodeLease(0, 0, first * second, last * second, 0, rank)
        for first, last, rank in ((0, 1, 1), (1, 2, 1), (1, 2, 2))
    )
    on = [(0, 0), (1, 0), (0, 1), (2, 1), (3, 1), (0, 2)]
    placements = [Placement(0, i, 1, start * second, [(lease, 1)]) for i, (lease, start) in enumerate(on)]
    shifted = left_shifted(instance, make_schedule(instance, [stays, goes, comes, above], placements, "by hand"))
    assert [lease.last for lease in shifted.leases] == [3 * second, second, 2 * second, 2 * second]


def test_nodes_come_when_they_are_needed_but_not_after_those_above_them():
    one = takes(1, cores_per_task=4)
    instance = compile_problem(Problem(workflow=workflow("a -> b -> c", a=one, b=one, c=one), flavours={"cpu": CPU}))
    second = instance.steps[0].ticks
    leases = [NodeLease(0, 0, 0, 3 * second, 0, rank) for rank in range(3)]
    placements = [Placement(n, 0, 1, n * second, [(node, 1)]) for n, node in enumerate((0, 2, 1))]
    shifted = left_shifted(instance, make_schedule(instance, leases, placements, "by hand"))
    spans = [(lease.first / second, lease.last / second) for lease in shifted.leases]
    assert spans == [(0, 3), (1, 3), (1, 2)]


def test_a_node_that_gave_way_comes_again_only_when_it_is_gone():
    """Jobs on several nodes beside others that outrank them, under one limit: on a walk of the search."""
    whole = workflow(
        "a x7; b x20; c x7; d",
        a=takes(10, tasks=5, cores_per_task=4, exclusive=True),
        b=takes(0, nodes=3, tasks=7),
        c=takes(333.25, nodes=1, tasks=3, cores_per_task=2),
        d=takes(10, nodes=2, tasks=2, cores_per_task=2),
    )
    large = FLAVOURS["large"].model_copy(update={"count": 2})
    problem = Problem(workflow=whole, flavours={**FLAVOURS, "large": large}, limits=Limits(nodes=8))
    instance = compile_problem(problem)
    judge = Judge(instance, lower_bounds(instance))
    for seed in range(6):
        search, rng = Annealing(instance, judge, Budget(9, instance.jobs)), Random(seed)
        state = next(iter(search.starts()))
        for _ in range(40):
            state = rng.choice(search.moves())(state, rng) or state
            search.best = search.current = search.decode(state)
            assert verify(make_plan(problem, instance, search.decode(state), judge, seed=0)) == []
