"""No plan breaks a rule, whatever the problem and the strategy: the verifier shares no code with the planner."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, event, given, settings
from planner_worlds import CPU, problems, takes, workflow

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Problem
from streamflow_fluxop.planner import STRATEGIES, solve, verify
from streamflow_fluxop.planner.bounds import lower_bounds
from streamflow_fluxop.planner.instance import compile_problem
from streamflow_fluxop.planner.left_shift import left_shifted
from streamflow_fluxop.planner.objective import Judge
from streamflow_fluxop.planner.portfolio import automatic
from streamflow_fluxop.planner.schedule import Block, Life, make_schedule

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
    assert [b.start for b in again.blocks] == [b.start for b in shifted.blocks]


def test_jobs_that_share_their_nodes_move_left_together_or_not_at_all():
    whole = workflow("a x3", a=takes(1, nodes=2, tasks=4, cores_per_task=1))
    instance = compile_problem(Problem(workflow=whole, flavours={"cpu": CPU}))
    second = instance.steps[0].ticks
    nodes = [(0, 1), (1, 1)]
    blocks = [Block(0, 2, 1, 0, nodes), Block(0, 0, 2, second, [*nodes, *nodes])]
    lives = [Life(0, 0, 0, 2 * second, 0, rank) for rank in range(2)]
    shifted = left_shifted(instance, make_schedule(instance, lives, blocks, "by hand"))
    assert [b.start for b in shifted.blocks] == [0, second]
