"""CP-SAT against what is found without it."""

from __future__ import annotations

import random

import pytest
from planning_worlds import FLAVOURS

from streamflow_fluxop.model import Dependency, Duration, Limits, Needs, Problem, Step, Workflow
from streamflow_fluxop.planning import solve
from streamflow_fluxop.planning.budget import Budget
from streamflow_fluxop.verification import verify

pytest.importorskip("ortools")


def layered(seed: int, steps: int) -> Problem:
    rng = random.Random(seed)
    made: list[Step] = []
    for i in range(steps):
        after = rng.sample(made, min(len(made), rng.randint(0, 2)))
        made.append(
            Step(
                name=f"s{i}",
                needs=Needs(cores_per_task=rng.choice((1, 2, 4))),
                duration=Duration(seconds=rng.choice((60, 120, 300, 600))),
                after=[Dependency(step=s.name) for s in after],
                image=rng.choice(("a", "b")),
            )
        )
    flavours = {name: FLAVOURS[name] for name in ("large", "gpu")}
    return Problem(workflow=Workflow(steps=made), flavours=flavours, limits=Limits(nodes=3))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_proved_optimal_is_sound_and_no_worse_than_the_search(seed):
    problem = layered(seed, 9)
    found, proved = solve(problem, time_limit=0.5), solve(problem, strategy="optimal", time_limit=3)
    assert verify(proved) == []
    assert proved.score <= found.score + 1e-9
    if proved.optimal:
        assert proved.gap == 0
        assert found.score <= 1.02 * proved.score


def test_no_proof_is_looked_for_when_no_time_is_left_and_the_plan_says_so(monkeypatch):
    monkeypatch.setattr(Budget, "rest", lambda _: 0.0)
    plan = solve(layered(0, 20), strategy="optimal", time_limit=2)
    assert verify(plan) == []
    assert not plan.optimal
    assert any("another run may find another plan" in told for told in plan.assumptions)
