"""No plan breaks a rule, whatever the problem and the strategy: the verifier shares no code with the planner."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, event, given, settings
from planner_worlds import problems

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planner import STRATEGIES, solve, verify

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
