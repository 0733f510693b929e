"""The real `streamflow run` keeps its budget, and says what becomes of it."""

import json
import os
from pathlib import Path

from typer.testing import CliRunner

from streamflow_fluxop.cli import app
from streamflow_fluxop.cli.logs import read

HOUR = 3600.0

WORKFLOW = """\
    cwlVersion: v1.2
    class: Workflow
    $namespaces: {fluxop: "urn:streamflow-fluxop:"}
    inputs: []
    outputs: {out: {type: File, outputSource: last/out}}
    steps:
      first:
        run: &tool
          class: CommandLineTool
          baseCommand: [sh, -c, 'sleep $1', sh]
          stdout: out.txt
          inputs: {s: {type: int, inputBinding: {}}, f: "File?"}
          outputs: {out: stdout}
        in: {s: {default: FIRST}}
        out: [out]
      last:
        run: *tool
        in: {s: {default: 1}, f: first/out}
        out: [out]
"""


def prepared(world, first, **wish):
    """Two jobs on a node that costs 1 a second; the first takes longer than is assumed."""
    world.write("wf.cwl", WORKFLOW.replace("FIRST", str(first)))
    world.fleet["flavours"] = {
        "cpu": {"cores": 1, "memory": 1024, "price": HOUR, "bring_up": 1, "tear_down": 0.5},
    }
    world.fleet["plan"] = {"duration": 1, **wish}


def log_of(world):
    """The event log of the world's run."""
    for path in Path(os.environ["FLUXOP_RUNS"]).glob("*.jsonl"):
        first = json.loads(path.read_text().splitlines()[0])
        if first["file"] == str(world.folder / "streamflow.yml"):
            return path
    raise AssertionError("there is none")


def test_a_run_stops_at_its_budget_with_an_exit_code_of_its_own(world):
    world.config["failureManager"] = {"enabled": True, "type": "default", "config": {"max_retries": 5}}
    prepared(world, 60, duration=4, budget=11)
    result = world.run()
    assert result.code == 3, result.err
    assert "Traceback" not in result.err
    assert result.said("FORECAST: the run will cost .* its budget is 11: it will be stopped there")
    assert result.said("STOPPING: the budget of 11 is spent: .* so far, and what going down costs")
    [said] = result.said("ERROR .*")  # and not of each job
    assert "the fleet fleet was stopped: the budget of 11 is spent" in said
    log = log_of(world)
    _, report = read(log)
    assert (report.outcome, report.fleets[0].allowance.budget) == ("stopped", 11)
    assert 5 < report.cost <= 11
    shown = CliRunner().invoke(app, ["report", str(log)]).output
    assert "stopped at its budget" in shown
    assert "budget 11" in CliRunner().invoke(app, ["status", str(log)]).output


def test_with_warn_it_goes_on(world):
    prepared(world, 4, budget=5, deadline=5, on_budget="warn")
    result = world.run()
    assert result.code == 0, result.err
    assert result.said("FORECAST: the run will cost .* it goes on, as `plan.on_budget` is `warn`")
    assert result.said("FORECAST: the run will take .* its deadline is 5 s")
    assert not result.said("STOPPING")
