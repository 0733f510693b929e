"""`fluxop compare` shows every strategy; `fluxop verify` checks a plan on its own."""

import json
from pathlib import Path

from streamflow_fluxop.planning import STRATEGIES


def test_compare_shows_every_strategy_and_the_bounds(world):
    result = world.fluxop("compare", "--workflow", "article.json", "--time-limit", "0.2")
    assert result.code == 0
    for strategy in (*STRATEGIES, "no plan is below"):
        assert result.row(strategy)


def test_compare_says_why_a_strategy_has_no_plan(world):
    problem = json.loads(Path("article.json").read_text())
    problem["workflow"]["steps"][0]["image"] = "a"
    problem["limits"] = {"nodes": 2, "miniclusters": 1}
    world.write("images.json", problem)
    result = world.fluxop("compare", "--workflow", "images.json", "--time-limit", "0.2")
    assert result.code == 0
    assert result.row("auto")


def test_a_sound_plan_keeps_every_rule(world):
    world.plan("--workflow", "article.json", "-o", "plan.json")
    result = world.fluxop("verify", "plan.json")
    assert result.code == 0
    assert result.out.startswith("plan.json: keeps every rule. ")


def test_a_broken_plan_is_refused_with_the_reasons(world):
    world.plan("--workflow", "article.json", "-o", "plan.json")
    plan = json.loads(Path("plan.json").read_text())
    plan["cost"] *= 2
    plan["problem"]["limits"]["nodes"] = 1
    world.write("broken.json", plan)
    result = world.fluxop("verify", "broken.json")
    assert result.code == 1
    assert "broken.json: limit nodes=1: " in result.out
    assert "broken.json: cost is " in result.out


def test_what_is_no_plan_is_wrong_input(world):
    for name, message in (("article.json", "is no plan"), ("none.json", "can't be read"), ("wf.cwl", "is no plan")):
        result = world.fluxop("verify", name)
        assert (result.code, result.out) == (2, "")
        assert message in result.err
