"""`fluxop simulate` prints planned against actual."""

import json
from collections import Counter
from statistics import mean

import pytest
from fleet_worlds import ARTICLE, FLAVOURS, plan, step
from typer.testing import CliRunner

from streamflow_fluxop.cli import app
from streamflow_fluxop.cli.logs import read
from streamflow_fluxop.model import Duration, Needs, Workflow
from streamflow_fluxop.orchestration.simulation.expectation import expect
from streamflow_fluxop.orchestration.simulation.simulated import Chance
from streamflow_fluxop.orchestration.simulation.simulator import Simulation
from streamflow_fluxop.report.units import number


def simulate(tmp_path, *options):
    file = tmp_path / "plan.json"
    file.write_text(plan(ARTICLE).model_dump_json())
    result = CliRunner().invoke(app, ["simulate", str(file), *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_without_deviation_what_happens_is_what_was_planned(tmp_path):
    assert "makespan: planned 42 min, actual 42 min" in simulate(tmp_path)


def test_each_minicluster_has_a_line_that_says_why_it_came_and_went(tmp_path):
    output = simulate(tmp_path)
    (gpu,) = (" ".join(line.split()) for line in output.splitlines() if line.startswith("gpu-1"))
    assert gpu.startswith("gpu-1 1 gpu 15 min 37 min 38 min jobs will need it in")


def test_of_many_miniclusters_the_first_are_shown(tmp_path):
    file = tmp_path / "plan.json"
    file.write_text(plan([step(f"/{i}") for i in range(60)], strategy="per-task").model_dump_json())
    short, full = (CliRunner().invoke(app, ["simulate", str(file), *more]).output for more in ([], ["--full"]))
    assert "the first 40 of 60 MiniClusters; --full shows all" in short
    assert full.count("cpu-") - short.count("cpu-") == 20


def test_with_equal_seeds_the_same_happens_with_others_something_else(tmp_path):
    outputs = [simulate(tmp_path, "--noise", "0.3", "--seed", seed) for seed in ("1", "1", "2")]
    assert outputs[0] == outputs[1] != outputs[2]


def test_its_event_log_tells_the_same_as_the_outcome(tmp_path):
    log = tmp_path / "events.jsonl"
    output = simulate(tmp_path, "--noise", "0.3", "--failures", "0.2", "-o", str(log))
    report = CliRunner().invoke(app, ["report", str(log)])
    assert report.exit_code == 0, report.output
    assert "simulated: succeeded" in report.output
    view, summary = read(log)
    assert f"cost: planned {number(plan(ARTICLE).cost)}, actual {number(summary.cost)}" in output
    assert sum(f.counts.done for f in view.fleets.values()) == sum(
        s.width for s in plan(ARTICLE).problem.workflow.steps
    )


def uncertain(spread):
    return [s.model_copy(update={"duration": Duration(seconds=s.duration.seconds, spread=spread)}) for s in ARTICLE]


def test_a_plan_whose_durations_have_a_spread_says_what_to_expect():
    made = plan(uncertain(100))
    expected = expect(made, 20)
    assert expected.makespan.low < expected.makespan.mean < expected.makespan.high
    assert made.makespan < expected.makespan.mean < 1.5 * made.makespan  # whoever waits for several waits for the last
    assert expected == expect(made, 20)


def test_there_is_nothing_to_expect_without_a_spread_or_of_a_plan_too_large_to_run_often():
    assert expect(plan(ARTICLE)) is None
    assert (
        expect(plan([step("/wide", width=2000).model_copy(update={"duration": Duration(seconds=9, spread=3)})])) is None
    )


def test_fluxop_plan_says_what_to_expect(tmp_path):
    flavours = {name: flavour.model_dump() for name, flavour in FLAVOURS.items()}
    (tmp_path / "flavours.yaml").write_text(json.dumps({"flavours": flavours}))
    (tmp_path / "workflow.json").write_text(Workflow(steps=uncertain(100)).model_dump_json())
    options = ["--workflow", str(tmp_path / "workflow.json"), "--flavours", str(tmp_path / "flavours.yaml")]
    result = CliRunner().invoke(app, ["plan", *options, "--time-limit", "0.1"])
    assert result.exit_code == 0, result.output
    assert "with the durations' spread: expect " in result.output


def test_an_event_log_that_is_there_is_not_written_over(tmp_path):
    (tmp_path / "plan.json").write_text(plan(ARTICLE).model_dump_json())
    (tmp_path / "events.jsonl").write_text("mine")
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "plan.json"), "-o", str(tmp_path / "events.jsonl")])
    assert result.exit_code == 2
    assert "events.jsonl: can't be written: File exists" in result.output
    assert (tmp_path / "events.jsonl").read_text() == "mine"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("count", 10**30, "it has "),
        ("start", 1e300, "not 600 (and "),
        ("minicluster", "nowhere", "which is no MiniCluster of the plan"),
    ],
)
def test_a_plan_that_breaks_a_rule_is_not_simulated(tmp_path, key, value, told):
    wrong = json.loads(plan(ARTICLE).model_dump_json())
    wrong["assignments"][0][key] = value
    (tmp_path / "plan.json").write_text(json.dumps(wrong))
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "plan.json")])
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize("option", ["--noise", "--bring-up-noise"])
@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "-1"])
def test_noise_that_is_no_share_is_refused(tmp_path, option, value):
    (tmp_path / "plan.json").write_text(plan(ARTICLE).model_dump_json())
    assert CliRunner().invoke(app, ["simulate", str(tmp_path / "plan.json"), option, value]).exit_code == 2


def test_a_plan_that_knows_of_the_spread_costs_less_once_durations_deviate():
    """Nodes leave a MiniCluster from the end: one that is late keeps the others."""
    certain = plan([step("/a", seconds=2000, width=8, needs=Needs(exclusive=True))])
    told = plan([step("/a", seconds=2000, spread=600, width=8, needs=Needs(exclusive=True))])
    assert (told.cost, told.makespan) == (certain.cost, certain.makespan)
    costs = [[Simulation(p, Chance(noise=0.3, seed=seed)).run().cost for seed in range(10)] for p in (told, certain)]
    assert mean(costs[0]) < 0.9 * mean(costs[1])


def test_what_is_expected_of_overdue_jobs_does_not_wake_the_fleet_ever_more_often():
    """The moment to ask for the next MiniCluster comes nearer while it goes by, but for less and less."""
    seconds = (1000, 100, 100, 30)
    chains = [
        step(f"/{i}-{n}", *([f"/{i - 1}-{n}"] if i else []), seconds=s + n, spread=0.3 * s)
        for n in range(40)
        for i, s in enumerate(seconds)
    ]
    merge = step("/merge", *(f"/3-{n}" for n in range(40)), seconds=500, spread=150)
    a_second = Counter()
    Simulation(
        plan([*chains, merge], strategy="per-task"),
        Chance(stated=True, seed=1),
        watch=lambda now, _: a_second.update([int(now)]),
    ).run()
    assert max(a_second.values()) < 100
