"""Hubs change nothing but the number of dependencies."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from planning_worlds import problems

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Dependencies, Dependency, Duration, Flavour, Limits, Problem, Step, Workflow
from streamflow_fluxop.planning import solve
from streamflow_fluxop.planning.bound.lower_bounds import lower_bounds
from streamflow_fluxop.planning.budget import Budget
from streamflow_fluxop.planning.improve.annealing import Annealing
from streamflow_fluxop.planning.objective import Judge
from streamflow_fluxop.planning.problem import dependency_hubs, feasibility
from streamflow_fluxop.planning.problem.instance import compile_problem
from streamflow_fluxop.planning.strategies import simple
from streamflow_fluxop.verification import verify


@pytest.fixture
def hubs_wherever_they_can_be(monkeypatch):
    monkeypatch.setattr(feasibility, "MANY", 0)
    monkeypatch.setattr(dependency_hubs, "WORTH", 0)


def all_to_all(steps, others, *more):
    """Others wait for all of the steps, those more for a part of them."""
    first = [Step(name=f"a{i}", duration=Duration(seconds=10 + i)) for i in range(steps)]
    one = tuple(Dependency(step=s.name) for s in first[: steps // 2])
    rest = tuple(Dependency(step=s.name) for s in first[steps // 2 :])
    everything = Dependencies([one, rest])
    then = [Step(name=f"b{i}", duration=Duration(seconds=60), after=everything) for i in range(others)]
    last = [Step(name=name, duration=Duration(seconds=60), after=Dependencies([one])) for name in more]
    return problem(first + then + last)


def problem(steps):
    flavours = {"cpu": Flavour(cores=4, memory=1024, price=1)}
    return Problem(workflow=Workflow(steps=steps), flavours=flavours, limits=Limits(nodes=4))


def predecessors(instance):
    """For each step all that it waits for, through hubs."""
    found = {}
    for s in instance.order:
        pairs = instance.steps[s].before
        found[s] = {p for t, each in pairs for p in (found[t] if not instance.steps[t].name else {(t, each)})}
    return [found[s] for s, step in enumerate(instance.steps) if step.name]


def test_steps_that_wait_for_the_same_wait_for_a_gate(hubs_wherever_they_can_be):
    instance = compile_problem(all_to_all(100, 100, "c"))
    assert instance.hubs == 2
    assert sum(len(s.before) for s in instance.steps) == 100 + 100 + 2  # in place of 10 050
    assert predecessors(instance)[-1] == {(t, False) for t in range(50)}
    assert predecessors(instance)[150] == {(t, False) for t in range(100)}


def test_few_dependencies_have_no_gates():
    assert compile_problem(all_to_all(100, 100)).hubs == 0


@pytest.mark.parametrize("strategy", simple())
def test_a_plan_with_gates_is_as_good_as_one_without(monkeypatch, strategy):
    case = all_to_all(40, 40, "c", "d")
    without = solve(case, strategy=strategy)
    monkeypatch.setattr(feasibility, "MANY", 0)
    assert compile_problem(case).hubs > 0
    plan = solve(case, strategy=strategy)
    assert verify(plan) == []
    assert plan.bounds == without.bounds
    assert (plan.cost, plan.makespan) == (without.cost, without.makespan)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_list_schedule_is_the_same_with_gates_and_without(monkeypatch, backwards):
    case = all_to_all(40, 40, "c", "d")
    found = []
    for many in (dependency_hubs.MANY, 0):
        monkeypatch.setattr(feasibility, "MANY", many)
        instance = compile_problem(case)
        run = Annealing(instance, Judge(instance, lower_bounds(instance)), Budget(1, instance.jobs))
        schedule = run.decode(replace(next(run.starts()), backwards=backwards))
        found.append((schedule.cost, schedule.makespan, instance.hubs > 0))
    assert found == [(*found[0][:2], False), (*found[0][:2], True)]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(problem=problems())
def test_gates_change_neither_dependencies_nor_bounds_and_plans_keep_the_rules(problem):
    try:
        without = compile_problem(problem)
    except UserError:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feasibility, "MANY", 0)
        patch.setattr(dependency_hubs, "WORTH", 0)
        instance = compile_problem(problem)
        assert predecessors(instance) == predecessors(without)
        assert lower_bounds(instance).makespan == lower_bounds(without).makespan
        try:
            plan = solve(problem, time_limit=0.1)
        except UserError:
            return
    assert verify(plan) == []


def test_a_circle_is_told_by_its_steps(hubs_wherever_they_can_be):
    after = [Dependency(step=f"a{i}") for i in range(3)]
    first = [Step(name=f"a{i}", duration=Duration(seconds=1), after=[Dependency(step="b0")]) for i in range(3)]
    then = [Step(name=f"b{i}", duration=Duration(seconds=1), after=after) for i in range(3)]
    with pytest.raises(UserError, match=r"in a circle: (a0 -> b0 -> a0|b0 -> a0 -> b0)\n"):
        compile_problem(problem(first + then))


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ([("a", "b"), ("b", "c")], "b is named 2 times"),
        ([("a", "b"), ("d", "c")], "it waits for d, which is no step"),
    ],
)
def test_what_is_wrong_with_parts_is_told_as_with_lists(parts, what):
    after = Dependencies(tuple(Dependency(step=name) for name in part) for part in parts)
    first = [Step(name=name, duration=Duration(seconds=1)) for name in "abc"]
    with pytest.raises(UserError, match=what):
        compile_problem(problem([*first, Step(name="e", duration=Duration(seconds=1), after=after)]))
