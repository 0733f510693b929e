from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from planning_worlds import CPU, article, problems, takes, workflow

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Flavour, Limits, Objective, Problem
from streamflow_fluxop.planning import solve
from streamflow_fluxop.planning.bound.lower_bounds import lower_bounds
from streamflow_fluxop.planning.objective import Judge
from streamflow_fluxop.planning.problem.instance import compile_problem
from streamflow_fluxop.planning.strategies import simple
from streamflow_fluxop.verification import verify

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"


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
    for strategy in simple().values():
        try:
            schedule = strategy.schedule(instance)
        except UserError:
            continue
        assert schedule.cost >= limits.cost * (1 - 1e-9)
        assert schedule.makespan >= limits.makespan
        assert judge.score(schedule.cost, schedule.makespan) >= limits.score * (1 - 1e-9)


def test_jobs_come_whole():
    """Four jobs a node: six at once are two node-times, though their work is one and a half."""
    six = bounds("a x6", a=takes(1000, cores_per_task=1)).cost
    assert six == pytest.approx(2 * 1000 + 180)
    beside = bounds("a x6; b x2", a=takes(1000, cores_per_task=1), b=takes(1000, cores_per_task=1)).cost
    assert beside == pytest.approx(2 * 1000 + 180)
    after = bounds("a x6 -> b x2", a=takes(1000, cores_per_task=1), b=takes(1000, cores_per_task=1)).cost
    assert after == pytest.approx(2 * 1000 + 500 + 180)


def test_what_must_run_before_or_after_a_chain_costs_extra():
    long, wide = takes(1000, cores_per_task=1), takes(100, cores_per_task=4)
    assert bounds("a -> b x5", a=long, b=wide).cost == pytest.approx(1000 + 500 + 180)
    narrow = takes(100, cores_per_task=1)
    assert bounds("a; b x8", a=long, b=narrow).cost == pytest.approx(1000 + 180)


def test_a_gap_lasts_as_long_as_the_limit_makes_it():
    between = "bcde"
    steps = {name: {**takes(50, cores_per_task=4), "image": name} for name in between}
    text = "; ".join(f"first -> {name} -> last" for name in between)
    wide = bounds(text, first=takes(10), last=takes(10), **steps).cost
    tight = bounds(text, Limits(nodes=2), first=takes(10), last=takes(10), **steps).cost
    assert wide == pytest.approx(10 + 50 + 10 + 180 + 4 * (50 + 180))
    assert tight == pytest.approx(10 + 100 + 10 + 180 + 4 * (50 + 180))


def test_coming_up_and_going_down_need_room_under_the_limit_too():
    steps = {name: {**takes(10, cores_per_task=4), "image": name} for name in "abcd"}
    assert bounds("a; b; c; d", **steps).makespan == 130_000
    assert bounds("a; b; c; d", Limits(nodes=1), **steps).makespan == (4 * 190 - 60) * 1000


@pytest.mark.parametrize("goal", ["cost", "makespan", "balanced"])
@settings(
    max_examples=500 if DEEP else 15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(problem=problems(most_steps=6))
def test_what_is_found_for_a_goal_is_not_below_its_bound(goal, problem):
    """The search looks for cheap and quick plans, so it comes nearer to the bounds than a simple strategy."""
    problem = problem.model_copy(update={"objective": Objective(goal=goal)})
    try:
        plan = solve(problem, strategy="optimal", time_limit=0.5 if DEEP else 0.2)
    except UserError:
        return
    assert verify(plan) == []
    bound = lower_bounds(compile_problem(problem))
    assert plan.cost >= bound.cost * (1 - 1e-9)
    assert plan.makespan >= bound.makespan / 1000 - 1e-9


def test_nodes_come_whole():
    """n nodes take 800 / n s at least for eight jobs of 100 s, and there is no n in between."""
    score = bounds("a x8", a=takes(100, cores_per_task=4)).score
    ways = [(800 + 180 * n) / 980 / 2 + (120 + 800 / n) / 220 / 2 for n in range(1, 9)]
    assert 0.99 * min(ways) <= score <= min(ways)


def test_a_place_that_passes_from_one_image_to_another_is_empty_for_a_tear_down_and_a_bring_up():
    """Two nodes for three images: in what is left after the first step, one node has to follow another one."""
    steps = {name: {**takes(100, cores_per_task=4), "image": name} for name in "abc"}
    makespan = bounds("z -> a; z -> b; z -> c", Limits(nodes=2), z=takes(1000), **steps).makespan
    assert makespan == (120 + 1000 + (3 * 100 + 60 + 120) / 2) * 1000


def test_the_shorter_a_gap_is_the_more_nodes_are_up_in_it():
    """Keeping a's node for c is only cheap if b's eight jobs have more nodes, which cost more."""
    steps = {"a": takes(10), "b": {**takes(150, cores_per_task=4), "image": "other"}, "c": takes(10)}
    cost = bounds("a -> b x8 -> c", Limits(nodes=16), **steps).cost
    assert cost == pytest.approx(10 + 180 + 10 + 180 + 1200 + 180)


def test_what_a_limit_makes_dear_counts_where_cost_and_makespan_are_weighed():
    """With two nodes at once, the eight jobs are over much sooner on the large nodes, which cost more a job."""
    large = Flavour(cores=16, memory=65536, price=6 * 3600, bring_up=120, tear_down=60)
    problem = Problem(
        workflow=workflow("a x8", a=takes(1000, cores_per_task=4)),
        flavours={"cpu": CPU, "large": large},
        limits=Limits(nodes=2),
    )
    found = lower_bounds(compile_problem(problem))
    ways = [
        (8 * 1000 + 360, 120 + 4000),
        (12 * 1000 + 2 * 1080, 1120),
        (6 * 1000 * 2 + 1080, 2120),
        (10_000 + 1260, 2120),
    ]
    assert found.cost == pytest.approx(8180)
    best = min(c / found.cost + m * 1000 / found.makespan for c, m in ways) / 2
    assert 1.3 < found.score <= best
