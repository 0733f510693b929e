"""Where nothing is known of durations, a plan has few MiniClusters and says why."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_worlds import CPU, problems, takes, workflow

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Duration, Limits, Objective, Problem
from streamflow_fluxop.planning import solve
from streamflow_fluxop.verification import verify


def guessed(problem: Problem, seconds: float | None = 60) -> Problem:
    """A problem with durations that are all assumed."""
    steps = []
    for s in problem.workflow.steps:
        assumed = Duration(seconds=s.duration.seconds if seconds is None else seconds, source="assumed")
        steps.append(s.model_copy(update={"duration": assumed}))
    return problem.model_copy(update={"workflow": problem.workflow.model_copy(update={"steps": steps})})


def chain(length: int, **fields) -> Problem:
    """Steps of three images by turns, each waiting for the one before, so that each image has gaps."""
    names = [f"s{i}" for i in range(length)]
    text = " -> ".join(f"{name} x{1 + i % 4}" for i, name in enumerate(names))
    images = {name: {**takes(60, cores_per_task=4), "image": "abc"[i % 3]} for i, name in enumerate(names)}
    return Problem(workflow=workflow(text, **images), flavours={"cpu": CPU}, **fields)


def test_a_workflow_of_guesses_has_a_minicluster_for_each_image_and_flavour_and_says_why():
    known, guess = solve(chain(24), time_limit=0.1), solve(guessed(chain(24)), time_limit=0.1)
    assert verify(guess) == []
    assert guess.strategy == "cautious"
    assert len(guess.miniclusters) == 3 < len(known.miniclusters)
    assert guess.assumptions[0].startswith("how long jobs take is not known, so the plan is cautious: 3 MiniClusters")
    assert f"With {len(known.miniclusters)} the plan would" in guess.assumptions[0]


def test_where_durations_are_known_there_is_no_caution():
    plan = solve(chain(24), time_limit=0.1)
    assert plan.strategy != "cautious"
    assert not any("cautious" in told for told in plan.assumptions)


def test_whoever_asks_for_it_gets_the_plan_as_if_the_guesses_were_right():
    assert len(solve(guessed(chain(24)), strategy="optimal", time_limit=0.1).miniclusters) > 3


def test_a_deadline_or_a_budget_comes_before_caution():
    cheap = solve(chain(24, objective=Objective(goal="cost")), time_limit=0.1).cost
    plan = solve(guessed(chain(24, objective=Objective(goal="cost", budget=cheap))), time_limit=0.1)
    assert plan.cost <= cheap * (1 + 1e-9)


def test_the_limits_come_before_caution():
    plan = solve(guessed(chain(24, limits=Limits(nodes=4, miniclusters=1))), time_limit=0.1)
    assert verify(plan) == []


@given(case=problems(), as_they_are=st.booleans())
@settings(max_examples=25)
def test_cautious_plans_keep_every_rule(case, as_they_are):
    case = guessed(case, None if as_they_are else 60)
    try:
        plan = solve(case, time_limit=0.01)
    except UserError:
        return
    assert verify(plan) == []


@pytest.mark.parametrize("name", ["per-step", "single"])
def test_simple_strategies_stay_what_they_are(name):
    case = chain(6, limits=Limits(nodes=20))
    assert len(solve(guessed(case), strategy=name).miniclusters) == len(solve(case, strategy=name).miniclusters)
