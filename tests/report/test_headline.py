"""The first line of a plan says what the plan rests on."""

import json

import pytest

from streamflow_fluxop.model import Dependency, Duration, Flavour, Needs, Problem, Step, Workflow
from streamflow_fluxop.orchestration.simulation.expectation import expect
from streamflow_fluxop.planning import solve
from streamflow_fluxop.planning.result.knowledge import longest_chain
from streamflow_fluxop.report.chart import chart
from streamflow_fluxop.report.headline import headline
from streamflow_fluxop.report.page import page
from streamflow_fluxop.report.tables import expected
from streamflow_fluxop.streamflow_plugin.plan_log import plan_table

CPU = Flavour(cores=4, memory=8192, price=36, bring_up=20, tear_down=10)


def step(name, seconds, source, *after, **fields):
    return Step(
        name=name,
        duration=Duration(seconds=seconds, source=source),
        after=[Dependency(step=other) for other in after],
        **{"needs": Needs(cores_per_task=4), **fields},
    )


def planned(*steps, **options):
    return solve(
        Problem(workflow=Workflow(steps=list(steps)), flavours={"cpu": CPU}), **{"time_limit": 0.05, **options}
    )


def test_where_every_duration_is_assumed_the_first_line_says_so_and_calls_nothing_optimal_but_that():
    plan = planned(step("a", 60, "assumed", width=3), step("b", 60, "assumed", "a"))
    line = headline(plan)
    assert "if every job takes 60 s, as 4 of 4 were assumed to; " in line
    assert line.endswith(" for that")
    assert "optimal," not in line
    assert "as 4 of 4 were assumed to" in plan_table(plan)
    assert "as 4 of 4 were assumed to" in chart(plan).caption
    assert "as 4 of 4 were assumed to" in page(plan, "t")


def test_where_every_duration_is_known_there_is_no_condition():
    plan = planned(step("a", 60, "hint"), step("b", 60, "history", "a"), strategy="single")
    assert headline(plan) == "1 MiniCluster, 2 min 20 s, cost 1.5, optimal"
    assert plan.knowledge.everything


def test_of_a_mixture_the_guessed_share_of_the_longest_chain_and_of_the_cost_is_said():
    plan = planned(step("a", 100, "hint"), step("b", 80, "assumed", "a"), strategy="single")
    assert (plan.makespan, plan.knowledge.chain) == (200, pytest.approx(0.4))
    assert plan.knowledge.cost == pytest.approx(80 / 180)
    assert headline(plan).endswith("if the guesses are right; guessed: 40 % of the longest chain and 44 % of the cost")


def test_what_is_guessed_beside_the_longest_chain_is_no_part_of_it():
    plan = planned(step("a", 1000, "hint"), step("b", 10, "assumed"), strategy="per-step")
    assert plan.knowledge.chain == 0
    assert "0 % of the longest chain" in headline(plan)


def test_the_longest_chain_goes_through_jobs_that_wait_for_room():
    plan = planned(step("a", 100, "hint", width=3), strategy="single")
    problem = plan.problem.model_copy(update={"limits": plan.problem.limits.model_copy(update={"nodes": 1})})
    chain = longest_chain(solve(problem, strategy="single"))
    assert [job.step for job in chain] == ["a", "a", "a"]


def test_time_limits_are_upper_bounds_and_said_to_be():
    assert "if every job takes all of its time limit, as 2 of 2 were assumed to" in headline(
        planned(step("a", 100, "time limit", width=2))
    )
    both = headline(planned(step("a", 100, "time limit", width=2), step("b", 60, "assumed")))
    assert "if every job takes what was assumed: 60 s for 1 of 3, its time limit for the others" in both


def test_a_number_of_jobs_that_is_assumed_is_a_guess_too():
    plan = planned(step("a", 100, "hint", width=4, width_source="assumed"))
    assert "as 1 step has as many jobs as assumed" in headline(plan)
    assert plan.knowledge.cost == 1


def test_the_plans_document_has_it():
    plan = planned(step("a", 60, "assumed"))
    found = json.loads(plan.model_dump_json())["knowledge"]
    assert (found["jobs"], found["assumed"], found["least"], found["most"]) == (1, 1, 60, 60)


def test_there_is_a_range_where_some_is_guessed_and_none_where_it_would_say_nothing():
    known, guess = step("a", 100, "hint"), step("b", 80, "assumed", "a")
    told = expect(planned(known, guess, strategy="single"))
    assert told.makespan.low < 150 < told.makespan.high
    assert expected(told).startswith("if guesses are off by half or twice: expect ")
    assert expect(planned(known, strategy="single")) is None
    assert expect(planned(guess.model_copy(update={"after": []}), strategy="single")) is None
    sure = known.model_copy(update={"duration": Duration(seconds=100, spread=0.01)})
    assert expect(planned(sure, strategy="single")) is None
