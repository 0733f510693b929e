"""What can't be planned is refused with the step, the need, and what would help."""

from __future__ import annotations

import pytest
from planning_worlds import CPU, GPU, takes, workflow
from pydantic import ValidationError

from streamflow_fluxop.errors import UserError, UserErrors
from streamflow_fluxop.model import Dependency, Duration, Flavour, Limits, Objective, Problem, Step, Workflow
from streamflow_fluxop.planning import solve


def refused(wf, *, flavours=None, limits=None, objective=None, strategy="auto"):
    problem = Problem(
        workflow=wf,
        flavours=flavours or {"cpu": CPU},
        limits=limits or Limits(),
        objective=objective or Objective(),
    )
    with pytest.raises(UserError) as error:
        solve(problem, time_limit=0.05, strategy=strategy)
    return str(error.value)


def test_a_step_that_fits_nowhere_names_the_need_and_a_flavour_that_would_do():
    told = refused(workflow("a -> b", b=takes(10, cores_per_task=5)))
    assert "step b" in told
    assert "4 cores where 5 are needed" in told
    assert "add a flavour with at least 5 cores" in told


def test_a_step_that_may_not_run_where_it_fits_is_told_where_it_would():
    wf = workflow("a", a={**takes(10, gpus_per_task=1), "flavours": ["cpu"]})
    assert "let it run on gpu" in refused(wf, flavours={"cpu": CPU, "gpu": GPU})


def test_limits_that_are_too_low_say_what_would_be_enough():
    told = refused(workflow("a", a=takes(10, nodes=4, tasks=4)), limits=Limits(nodes=2))
    assert "4 x cpu needed, 2 allowed" in told
    assert "nodes=4" in told


def test_a_circle_is_shown():
    steps = [Step(name=n, duration=Duration(seconds=1), after=[Dependency(step=m)]) for n, m in ("ab", "bc", "ca")]
    told = refused(Workflow(steps=steps))
    assert "in a circle" in told
    assert " -> " in told


def test_names_that_are_twice_or_unknown_are_told_all_at_once():
    step = Step(name="a", duration=Duration(seconds=1), after=[Dependency(step="bb")])
    other = Step(name="b", duration=Duration(seconds=1), flavours=["cpuu"])
    problem = Problem(workflow=Workflow(steps=[step, step, other]), flavours={"cpu": CPU})
    with pytest.raises(UserErrors) as error:
        solve(problem)
    told = str(error.value)
    assert "2 steps have the name a" in told
    assert "did you mean b?" in told
    assert "did you mean cpu?" in told


def test_job_by_job_needs_equal_widths():
    assert "the widths differ: 3 and 2" in refused(workflow("a x2 => b x3"))


def test_a_group_needs_one_image_and_a_flavour_that_holds_all_of_it():
    a, b = {**takes(1), "group": "g"}, {**takes(1), "group": "g", "image": "x"}
    assert "different images" in refused(workflow("a -> b", a=a, b=b))
    gpu_only = {**takes(1, gpus_per_task=1), "group": "g"}
    large = {**takes(1, cores_per_task=8), "group": "g"}
    flavours = {"gpu": GPU, "large": Flavour(cores=8, memory=1000)}
    assert "no flavour holds all of its steps" in refused(workflow("a -> b", a=gpu_only, b=large), flavours=flavours)


def test_a_group_that_leaves_no_room_for_what_it_waits_for_is_told():
    group = {"group": "g"}
    wf = workflow("a -> b -> c", a={**takes(1), **group}, b=takes(1), c={**takes(1), **group})
    told = refused(wf, limits=Limits(nodes=1))
    assert "no room" in told
    assert "raise the limits" in told


def test_a_deadline_below_the_bound_says_what_is_possible():
    told = refused(workflow("a -> b"), objective=Objective(deadline=300))
    assert "the least possible is 5 min 20 s" in told


def test_a_budget_below_the_bound_says_what_is_possible():
    assert "the least possible is" in refused(workflow("a -> b"), objective=Objective(goal="makespan", budget=1))


@pytest.mark.parametrize("wrong", [{"width": 0}, {"duration": {"seconds": -1}}, {"duration": {}}, {"name": ""}])
def test_the_document_refuses_what_makes_no_sense(wrong):
    with pytest.raises(ValidationError):
        Step.model_validate({"name": "a", "duration": {"seconds": 1}, **wrong})


def test_a_workflow_without_steps_is_refused():
    assert "has no steps" in refused(Workflow(steps=[]))


def test_one_of_a_thing_is_one():
    told = refused(workflow("a", a=takes(100, gpus_per_task=1)))
    assert "0 GPUs where 1 is needed" in told
    assert "at least 1 core, 1 GPU a node" in told


@pytest.mark.parametrize(
    ("wf", "changed", "told"),
    [
        (workflow("a", a=takes(1e30)), {}, "step a: duration: seconds is 1e+30: it can be 1e+09 seconds at most"),
        (workflow("a x10000000"), {}, "the workflow has 10000000 jobs, 10000000 of them here"),
        (workflow("a"), {"flavours": {"cpu": CPU.model_copy(update={"bring_up": 1e300})}}, "flavour cpu: bring_up"),
        (workflow("a"), {"flavours": {"cpu": CPU.model_copy(update={"price": 1e300})}}, "flavour cpu: price"),
        (workflow("a"), {"flavours": {"cpu": CPU.model_copy(update={"memory": 10**30})}}, "flavour cpu: memory"),
        (workflow("a"), {"limits": Limits(nodes=10**30)}, "limits: nodes is 1e+30"),
        (workflow("a"), {"objective": Objective(budget=1e300)}, "objective: budget: budget is 1e+300"),
    ],
)
def test_numbers_that_nothing_can_be_computed_with_are_refused(wf, changed, told):
    assert told in refused(wf, **changed)
