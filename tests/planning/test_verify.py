"""The verifier finds what is wrong: each test breaks one thing in a sound plan."""

from __future__ import annotations

import pytest
from planning_worlds import article

from streamflow_fluxop.model import Dependency, Duration, Limits
from streamflow_fluxop.planning import solve
from streamflow_fluxop.verification import verify


@pytest.fixture(scope="module")
def plan():
    return solve(article(), strategy="by-level")


def changed(plan, where, index, **values):
    items = list(getattr(plan, where))
    items[index] = items[index].model_copy(update=values)
    return plan.model_copy(update={where: items})


def test_a_sound_plan_has_no_faults(plan):
    assert verify(plan) == []


@pytest.mark.parametrize(
    ("where", "values", "told"),
    [
        ("assignments", {"start": 0.0, "end": 600.0}, "is not up"),
        ("assignments", {"end": 500.0}, "takes"),
        ("assignments", {"nodes": [0, 0]}, "too few cores"),
        ("assignments", {"nodes": [0, 7]}, "is not up"),
        ("assignments", {"count": 1, "nodes": [0]}, "the plan runs 1"),
        ("assignments", {"minicluster": "nowhere"}, "no MiniCluster of the plan"),
        ("assignments", {"minicluster": None, "nodes": []}, "only controller steps"),
        ("miniclusters", {"ready": 60.0}, "ready"),
        ("miniclusters", {"gone": 1e5}, "is gone"),
        ("miniclusters", {"size": 1}, "max_size"),
        ("miniclusters", {"image": "other"}, "its image is"),
        ("miniclusters", {"binding": "other"}, "its binding is"),
        ("miniclusters", {"cost": 1.0}, "cost is"),
        ("miniclusters", {"flavour": "tpu"}, "no flavour tpu"),
        ("miniclusters", {"size": 10**30}, "1000000 at most can be checked"),
        ("assignments", {"count": 10**30}, "has 2 jobs, and the plan runs 1000000000000000000000000000000"),
    ],
)
def test_a_broken_plan_is_found_out(plan, where, values, told):
    assert any(told in fault for fault in verify(changed(plan, where, 0, **values)))


def test_jobs_before_what_they_wait_for_are_found(plan):
    last = len(plan.assignments) - 1
    assert any("before" in f for f in verify(changed(plan, "assignments", last, start=100.0, end=400.0)))


@pytest.mark.parametrize(
    "limits", [Limits(nodes=1), Limits(cores=4), Limits(gpus=1), Limits(cost_per_hour=7200), Limits(miniclusters=1)]
)
def test_limits_that_are_passed_are_found(plan, limits):
    tight = plan.model_copy(update={"problem": plan.problem.model_copy(update={"limits": limits})})
    assert any(fault.startswith("limit ") for fault in verify(tight))


@pytest.mark.parametrize("total", ["cost", "makespan", "node_seconds"])
def test_wrong_totals_are_found(plan, total):
    wrong = plan.model_copy(update={total: getattr(plan, total) + 1})
    assert any(fault.startswith(total) for fault in verify(wrong))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"after": [Dependency(step="nobody")]}, "waits for nobody, which is no step of the workflow"),
        ({"width": 3}, "which has another width"),
        ({"name": "preprocess"}, "two steps of the workflow have the same name"),
        ({"duration": Duration(seconds=1e300)}, "duration: seconds is 1e+300"),
    ],
)
def test_a_problem_that_makes_no_sense_is_found(plan, changes, told):
    workflow = plan.problem.workflow
    first, second, *others = workflow.steps
    steps = [first, second.model_copy(update=changes), *others]
    problem = plan.problem.model_copy(update={"workflow": workflow.model_copy(update={"steps": steps})})
    assert any(told in fault for fault in verify(plan.model_copy(update={"problem": problem})))
