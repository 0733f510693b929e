"""Equal problems and seeds give equal plans, however busy the machine is; looser targets never give worse ones."""

import hashlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from planning_worlds import CPU, GPU, article, takes, workflow

from streamflow_fluxop.model import Limits, Objective, Problem
from streamflow_fluxop.planning import budget, solve
from streamflow_fluxop.verification import verify

SEVERAL = workflow(
    "a x9 => b x9 -> c x5 -> d; e x40 -> f x4 => g x4",
    a=takes(70, cores_per_task=2),
    b=takes(333),
    c={**takes(90, cores_per_task=3), "image": "other"},
    e=takes(120, gpus_per_task=1),
    f=takes(1000),
    g=takes(61, cores_per_task=2),
)


def several(**objective):
    flavours = {"cpu": CPU, "gpu": GPU}
    return Problem(workflow=SEVERAL, flavours=flavours, limits=Limits(nodes=6), objective=Objective(**objective))


@pytest.mark.parametrize(
    "case", [several(), several(goal="cost", deadline=2500), article()], ids=["balanced", "deadline", "proved"]
)
def test_a_busy_machine_finds_the_plan_that_a_quiet_one_finds(monkeypatch, case):
    quiet = solve(case, time_limit=0.05)
    clock = itertools.count()
    monkeypatch.setattr(budget, "monotonic", lambda: next(clock) / 10)  # ten looks at the clock take a second
    busy = solve(case, time_limit=0.05)
    assert busy == quiet


def test_a_search_that_the_clock_ends_says_so(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(budget, "monotonic", lambda: 10.0 * next(clock))
    plan = solve(several(), time_limit=0.05)
    assert verify(plan) == []
    assert plan.cut
    assert any("the clock ended the search" in told for told in plan.assumptions)


def test_plans_do_not_depend_on_the_seed_of_pythons_hashes():
    code = (
        "from test_plan_equal import several; from streamflow_fluxop.planning import solve; "
        "print(solve(several(), time_limit=0.05).model_dump_json())"
    )
    found = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parent,
            capture_output=True,
            check=True,
        )
        found.add(hashlib.sha256(done.stdout).hexdigest())
    assert len(found) == 1


@pytest.mark.parametrize("case", [several, article], ids=["several", "article"])
def test_a_looser_deadline_never_makes_the_cheapest_plan_dearer(case):
    quickest = solve(case(goal="makespan"), time_limit=0.05).makespan
    deadlines = [quickest * (1 + n / 6) for n in range(6)]
    plans = [solve(case(goal="cost", deadline=d), time_limit=0.05) for d in deadlines]
    plans.append(solve(case(goal="cost"), time_limit=0.05))
    for plan, deadline in zip(plans, deadlines, strict=False):
        assert verify(plan) == []
        assert plan.makespan <= deadline + 1e-3
    costs = [plan.cost for plan in plans]
    assert all(later <= sooner * (1 + 1e-9) for sooner, later in itertools.pairwise(costs)), costs


@pytest.mark.parametrize("case", [several, article], ids=["several", "article"])
def test_a_larger_budget_never_makes_the_quickest_plan_slower(case):
    cheapest = solve(case(goal="cost"), time_limit=0.05).cost
    budgets = [cheapest * (1 + n / 12) for n in range(6)]
    plans = [solve(case(goal="makespan", budget=b), time_limit=0.05) for b in budgets]
    plans.append(solve(case(goal="makespan"), time_limit=0.05))
    for plan, most in zip(plans, budgets, strict=False):
        assert verify(plan) == []
        assert plan.cost <= most * (1 + 1e-9)
    times = [plan.makespan for plan in plans]
    assert all(later <= sooner for sooner, later in itertools.pairwise(times)), times


def test_the_balanced_plan_for_a_looser_deadline_has_no_worse_score():
    quickest = solve(several(goal="makespan"), time_limit=0.05).makespan
    deadlines = [quickest * factor for factor in (1, 1.05, 1.15, 1.3, 2)]
    scores = [solve(several(deadline=d), time_limit=0.05).score for d in deadlines]
    assert scores == sorted(scores, reverse=True)
