from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from planner_worlds import CPU, article, problems, takes, workflow

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Limits, Problem
from streamflow_fluxop.planner.bounds import lower_bounds
from streamflow_fluxop.planner.instance import compile_problem
from streamflow_fluxop.planner.objective import Judge
from streamflow_fluxop.planner.portfolio import SIMPLE


def bounds(text, limits=None, **steps):
    problem = Problem(workflow=workflow(text, **steps), flavours={"cpu": CPU}, limits=limits or Limits())
    return lower_bounds(compile_problem(problem))


def test_the_articles_makespan_is_its_bound():
    assert lower_bounds(compile_problem(article())).makespan == 2520_000


def test_a_limit_raises_the_makespan_bound():
    steps = {"a": takes(100, cores_per_task=4)}
    assert bounds("a x8", **steps).makespan == 220_000
    assert bounds("a x8", Limits(nodes=2), **steps).makespan == 520_000


def test_a_chain_costs_a_node_all_the_way_however_little_it_uses():
    assert bounds("a -> b", a=takes(1000), b=takes(1000)).cost == pytest.approx(2180)


def test_two_uses_far_apart_cost_two_bring_ups():
    far = bounds("a -> b -> c", a=takes(10), b={**takes(5000), "image": "other"}, c=takes(10)).cost
    assert far == pytest.approx(10 + 180 + 10 + 180 + 5000 + 180)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(problem=problems())
def test_no_schedule_is_below_a_bound(problem):
    try:
        instance = compile_problem(problem)
    except UserError:
        return
    limits = lower_bounds(instance)
    judge = Judge(instance, limits)
    for strategy in SIMPLE.values():
        try:
            schedule = strategy(instance)
        except UserError:
            continue
        assert schedule.cost >= limits.cost * (1 - 1e-9)
        assert schedule.makespan >= limits.makespan
        assert judge.score(schedule.cost, schedule.makespan) >= limits.score * (1 - 1e-9)
