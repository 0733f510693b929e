"""Jobs that are taken out and put back: what is free on a node, and whole schedules."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from planning_worlds import CPU, problems, takes, workflow

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Limits, Problem
from streamflow_fluxop.planning import budget
from streamflow_fluxop.planning.bound.lower_bounds import lower_bounds
from streamflow_fluxop.planning.budget import Budget
from streamflow_fluxop.planning.improve.annealing import Annealing
from streamflow_fluxop.planning.improve.ruin_and_recreate import JobWalk, RuinAndRecreate
from streamflow_fluxop.planning.improve.timeline import Timeline, packed
from streamflow_fluxop.planning.objective import Judge
from streamflow_fluxop.planning.portfolio import automatic
from streamflow_fluxop.planning.problem.instance import compile_problem
from streamflow_fluxop.planning.result.plan_builder import make_plan
from streamflow_fluxop.verification import verify

SPAN = 30


def first_schedule(problem):
    instance = compile_problem(problem)
    judge = Judge(instance, lower_bounds(instance))
    search = Annealing(instance, judge, Budget(1, instance.jobs))
    return instance, judge, search.decode(next(iter(search.starts())))


def repacked(instance, judge, schedule, *, seed=0, hot=0.01):
    time = Budget(100, instance.jobs)
    return JobWalk(instance, judge, schedule).run(Random(seed), time, schedules=60, hot=hot, cold=hot / 20)


@given(
    jobs=st.lists(
        st.tuples(st.integers(0, SPAN - 6), st.integers(1, 5), st.integers(0, 4), st.integers(0, 3)), max_size=9
    ),
    out=st.integers(0, 9),
    need=st.tuples(st.integers(0, 4), st.integers(0, 3)),
    ticks=st.integers(1, 6),
    window=st.tuples(st.integers(0, SPAN), st.integers(0, 9)),
)
def test_a_place_is_found_where_there_is_one_tick_by_tick(jobs, out, need, ticks, window):
    node = Timeline(0, 0, packed(4, 0, 3), 1.0, 5)
    used = [(0, 0)] * (3 * SPAN)
    taken = []
    for n, (start, length, cores, memory) in enumerate(jobs):
        span = range(start, start + length)
        if (cores or memory) and all(used[t][0] + cores <= 4 and used[t][1] + memory <= 3 for t in span):
            node.change(start, start + length, -packed(cores, 0, memory))
            node.jobs.add(n)
            taken.append((start, length, cores, memory))
            for t in span:
                used[t] = (used[t][0] + cores, used[t][1] + memory)
    for start, length, cores, memory in taken[:out]:
        node.change(start, start + length, packed(cores, 0, memory))
        for t in range(start, start + length):
            used[t] = (used[t][0] - cores, used[t][1] - memory)
    low, high = window[0], window[0] + window[1]
    fits = [
        at
        for at in range(low, high + 1)
        if all(used[t][0] + need[0] <= 4 and used[t][1] + need[1] <= 3 for t in range(at, at + ticks))
    ]
    assert node.earliest(packed(need[0], 0, need[1]), ticks, low, high) == min(fits, default=-1)
    assert node.latest(packed(need[0], 0, need[1]), ticks, low, high) == max(fits, default=-1)
    busy = [t for t, some in enumerate(used) if some != (0, 0)]
    if busy:
        assert (node.first, node.last) == (busy[0], busy[-1] + 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(problem=problems(), seed=st.integers(0, 3), hot=st.sampled_from([1e-4, 0.01, 1.0]))
def test_what_is_put_back_breaks_no_rule_and_is_no_worse(problem, seed, hot):
    try:
        instance, judge, schedule = first_schedule(problem)
    except UserError:
        event("no plan")
        return
    assume(RuinAndRecreate(1, 0.0, 0.0).applies(instance))
    event("plan")
    better = repacked(instance, judge, schedule, seed=seed, hot=hot)
    assert verify(make_plan(problem, instance, better, judge, seed=0)) == []
    was, now = (judge.value(s.cost, s.makespan) for s in (schedule, better))
    assert 10 * now[0] + now[1] + 1e-3 * now[2] <= (10 * was[0] + was[1] + 1e-3 * was[2]) * (1 + 1e-9)


def test_cost_and_makespan_are_kept_up_on_the_way():
    whole = workflow("a x9 => b x9 -> c x5", a=takes(70, cores_per_task=2), b=takes(30), c=takes(90, cores_per_task=2))
    instance, judge, schedule = first_schedule(Problem(workflow=whole, flavours={"cpu": CPU}, limits=Limits(nodes=4)))
    walk = JobWalk(instance, judge, schedule)
    walk.run(Random(1), Budget(100, instance.jobs), schedules=60, hot=1.0, cold=1.0)
    nodes = [node for own in walk.nodes for node in own]
    assert walk.cost == pytest.approx(sum(node.cost for node in nodes))
    assert sorted(job for node in nodes for job in node.jobs) == walk.jobs


def test_a_job_waits_to_share_a_node():
    """A list schedule starts a at once, and brings up another node for b, which could take both."""
    whole = workflow(
        "z -> b; a",
        z={"duration": takes(500)["duration"], "controller": True},
        a=takes(100, cores_per_task=2),
        b=takes(100, cores_per_task=2),
    )
    instance, judge, schedule = first_schedule(Problem(workflow=whole, flavours={"cpu": CPU}))
    better = repacked(instance, judge, schedule)
    assert (schedule.cost, schedule.makespan) == (pytest.approx(2 * 280), 600_000)
    assert (better.cost, better.makespan) == (pytest.approx(280), 600_000)


def test_equal_seeds_give_equal_schedules():
    whole = workflow("a x9 => b x9 -> c x5", a=takes(70, cores_per_task=2), b=takes(30), c=takes(90, cores_per_task=2))
    instance, judge, schedule = first_schedule(Problem(workflow=whole, flavours={"cpu": CPU}, limits=Limits(nodes=4)))
    one, other = (repacked(instance, judge, schedule, seed=5) for _ in range(2))
    assert (one.leases, one.placements) == (other.leases, other.placements)


def test_a_machine_on_which_the_clock_ends_the_list_schedules_moves_single_jobs_too(monkeypatch):
    clock, runs = itertools.count(), []
    monkeypatch.setattr(budget, "monotonic", lambda: float(next(clock)))  # each look at it takes a second
    monkeypatch.setattr(JobWalk, "run", lambda self, *args, **how: runs.append(next(clock)) or self.schedule())
    whole = workflow("a x9 => b x9 -> c x5", a=takes(70, cores_per_task=2), b=takes(30), c=takes(90, cores_per_task=2))
    instance, judge, _ = first_schedule(Problem(workflow=whole, flavours={"cpu": CPU}))
    before = next(clock)
    found = automatic(instance, judge, seed=0, seconds=200, proof=0)
    cap = budget.GRACE + budget.SLOWNESS * 200
    assert found.cut
    assert [0.6 * cap <= at - before < 0.6 * cap + 20 for at in runs] == [True]
