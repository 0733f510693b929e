from __future__ import annotations

import pytest
from planning_worlds import CPU, GPU, article, takes, workflow

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Flavour, Limits, Objective, Problem
from streamflow_fluxop.planning import solve
from streamflow_fluxop.planning.bound.lower_bounds import lower_bounds
from streamflow_fluxop.planning.budget import Budget
from streamflow_fluxop.planning.improve.annealing import Annealing
from streamflow_fluxop.planning.objective import Judge
from streamflow_fluxop.planning.problem.instance import TICKS, compile_problem
from streamflow_fluxop.verification import verify


def problem(text, *, flavours=None, limits=None, objective=None, **steps):
    return Problem(
        workflow=workflow(text, **steps),
        flavours=flavours or {"cpu": CPU},
        limits=limits or Limits(),
        objective=objective or Objective(),
    )


@pytest.mark.parametrize(
    ("strategy", "miniclusters", "cost", "makespan"),
    [
        ("per-task", 8, 25560, 2880),
        ("per-step", 4, 25080, 2880),
        ("single", 1, 41280, 2520),
        ("by-level", 3, 24720, 2760),
        ("auto", 3, 24720, 2520),
        ("optimal", 3, 24720, 2520),
    ],
)
def test_the_articles_example_comes_out_as_published(strategy, miniclusters, cost, makespan):
    plan = solve(article(), strategy=strategy)
    assert verify(plan) == []
    assert (len(plan.miniclusters), plan.makespan) == (miniclusters, makespan)
    assert plan.cost == pytest.approx(cost)


def test_the_articles_example_is_proved_optimal():
    pytest.importorskip("ortools")
    plan = solve(article())
    assert plan.optimal
    assert plan.gap == 0
    leases = [(m.flavour, m.size, m.asked, m.gone) for m in plan.miniclusters]
    assert leases == [("cpu", 2, 0, 1080), ("gpu", 2, 900, 2280), ("cpu", 1, 2100, 2580)]


@pytest.mark.parametrize("goal", ["cost", "makespan", "balanced"])
def test_auto_is_never_worse_than_a_feasible_extreme(goal):
    case = article(goal=goal)
    best = solve(case, time_limit=0.2)

    def value(plan):
        return {"cost": plan.cost, "makespan": plan.makespan, "balanced": plan.score}[goal]

    for strategy in ("per-task", "per-step", "single", "by-level"):
        assert value(best) <= value(solve(case, strategy=strategy)) + 1e-9


def test_equal_seeds_give_equal_plans():
    case = problem("a x5 -> b x7 -> c x3; a -> d x9 -> c", limits=Limits(nodes=4))
    assert solve(case, seed=3, time_limit=1) == solve(case, seed=3, time_limit=1)


def test_plans_survive_a_round_trip_through_json():
    plan = solve(article(), strategy="per-step")
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan


def test_a_minicluster_is_asked_for_ahead_so_that_nothing_waits_for_it():
    plan = solve(problem("a -> b", a=takes(1000), b={**takes(10), "image": "other"}), time_limit=0.1)
    assert plan.makespan == 120 + 1000 + 10
    assert plan.miniclusters[1].asked == 1000


def test_an_idle_minicluster_is_kept_while_that_is_cheaper_than_a_new_one():
    other = {"image": "other"}
    for gap, miniclusters in ((170, 1), (190, 2)):
        case = problem("a -> b -> c", a=takes(500), b={**takes(gap), **other}, c=takes(500))
        plan = solve(case, time_limit=0.2)
        assert sum(m.image is None for m in plan.miniclusters) == miniclusters


def test_nodes_that_are_not_needed_leave_before_the_others():
    plan = solve(problem("a x2; b", a=takes(100, cores_per_task=4), b=takes(5000, cores_per_task=4)), time_limit=0.2)
    assert verify(plan) == []
    assert plan.node_seconds < 2 * plan.makespan


def test_the_cheapest_plan_under_a_deadline_costs_more_than_the_cheapest_and_is_in_time():
    case = "a x16"
    steps = {"a": takes(1000, cores_per_task=4)}
    cheap = solve(problem(case, objective=Objective(goal="cost"), **steps), time_limit=0.3)
    timed = solve(problem(case, objective=Objective(goal="cost", deadline=2200), **steps), time_limit=0.3)
    assert timed.makespan <= 2200 < cheap.makespan
    assert timed.cost > cheap.cost


def test_the_quickest_plan_within_a_budget_keeps_it():
    steps = {"a": takes(1000, cores_per_task=4)}
    plan = solve(problem("a x16", objective=Objective(goal="makespan", budget=17500), **steps), time_limit=0.3)
    assert plan.cost <= 17500


def test_jobs_that_span_nodes_get_them_in_one_minicluster():
    plan = solve(problem("a x3 -> b", a=takes(100, nodes=2, tasks=8), b=takes(50)), time_limit=0.1)
    assert verify(plan) == []
    assert all(len(a.nodes) == 2 * a.count for a in plan.assignments if a.step == "a")


def test_a_group_has_one_minicluster_from_its_first_job_to_its_last():
    group = {"group": "ours"}
    case = problem("a -> b -> c", a={**takes(100), **group}, b=takes(5000), c={**takes(100), **group})
    plan = solve(case, time_limit=0.1)
    assert [m.name for m in plan.miniclusters if m.group] == ["ours"]
    assert verify(plan) == []


def test_a_group_has_one_flavour_though_limits_suggest_another_for_each_of_its_steps():
    """The few large nodes are scarce for the exclusive step, the GPU nodes too dear for many small ones."""
    large = Flavour(cores=16, memory=65536, price=7, bring_up=60, tear_down=30, count=3)
    gpu = Flavour(cores=8, memory=32768, gpus=2, price=20, bring_up=90, tear_down=60)
    case = problem(
        "a; b",
        flavours={"large": large, "gpu": gpu},
        limits=Limits(cost_per_hour=100),
        objective=Objective(goal="makespan"),
        a={**takes(1000), "group": "ours"},
        b={**takes(1, cores_per_task=6, exclusive=True), "group": "ours"},
    )
    plan = solve(case, time_limit=0.1)
    assert verify(plan) == []
    assert [m.name for m in plan.miniclusters] == ["ours"]


@pytest.mark.parametrize("group", ["g", None])
def test_a_job_that_needs_a_node_for_itself_gets_a_second_one_beside_another_steps_job(group):
    flavour = Flavour(cores=2, memory=1024, price=1, bring_up=4, tear_down=2)
    steps = {"long": takes(30), "short": takes(8), "alone": takes(8, exclusive=True)}
    whole = workflow("long; short -> alone", **{name: fields | {"group": group} for name, fields in steps.items()})
    problem = Problem(
        workflow=whole, flavours={"cpu": flavour}, limits=Limits(nodes=2), objective=Objective(goal="makespan")
    )
    instance = compile_problem(problem)
    judge = Judge(instance, lower_bounds(instance))
    search = Annealing(instance, judge, Budget(1, instance.jobs))  # the simple strategies may know a way, too
    assert min(search.decode(state).makespan for state in search.starts()) == 34 * TICKS
    assert solve(problem).makespan == 34


def test_controller_steps_take_time_but_no_minicluster():
    plan = solve(problem("a -> e -> b", e={**takes(7), "controller": True}), time_limit=0.1)
    assert plan.makespan == 120 + 100 + 7 + 100
    assert [a.minicluster for a in plan.assignments if a.step == "e"] == [None]


def test_a_scatter_of_ten_thousand_is_planned_in_blocks():
    plan = solve(problem("a x10000 => b x10000 -> c", limits=Limits(nodes=50)), time_limit=0.5)
    assert verify(plan) == []
    assert len(plan.assignments) < 2000


def test_the_limits_hold_in_a_tight_place():
    flavours = {"cpu": CPU, "gpu": GPU}
    case = problem(
        "a x6 => g x6 => b x6",
        flavours=flavours,
        limits=Limits(nodes=2, gpus=1, cost_per_hour=32400),
        a=takes(60, cores_per_task=4),
        g=takes(300, gpus_per_task=1),
        b=takes(90, cores_per_task=2),
    )
    for strategy in ("auto", "per-task", "per-step", "by-level"):
        assert verify(solve(case, strategy=strategy, time_limit=0.2)) == []


def test_every_minicluster_says_why_it_is_there_and_when_it_goes():
    plan = solve(article(), time_limit=0.2)
    assert all(len(m.reasons) >= 2 for m in plan.miniclusters)
    assert any("idle for 20 min" in r for r in plan.miniclusters[2].reasons)
    assert any("assumed" in a or "document" in a for a in plan.assumptions)


def test_an_unknown_strategy_is_refused():
    with pytest.raises(UserError, match="no strategy magic"):
        solve(article(), strategy="magic")


def test_flavours_that_cost_nothing_and_take_no_time_are_fine():
    flavours = {"local": Flavour(cores=2, memory=1000, bring_up=0, tear_down=0)}
    plan = solve(problem("a x4 -> b", flavours=flavours), time_limit=0.1)
    assert verify(plan) == []
    assert plan.cost == 0
