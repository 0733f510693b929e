"""The next plan knows what the last run saw."""

import json
import re
import sys

from typer.testing import CliRunner

from streamflow_fluxop.cli import app

WORKFLOW = """
    cwlVersion: v1.2
    class: Workflow
    requirements: {ScatterFeatureRequirement: {}}
    inputs: {texts: "File[]"}
    outputs: {counts: {type: "File[]", outputSource: count/out}}
    steps:
      count: {run: count.cwl, scatter: text, in: {text: texts}, out: [out]}
    """
TOOL = """
    cwlVersion: v1.2
    class: CommandLineTool
    $namespaces: {fluxop: "urn:fluxop:"}
    hints: {fluxop:FluxRequirement: {duration: 600}}
    requirements: {ResourceRequirement: {coresMin: 1}}
    baseCommand: [sh, -c, 'sleep 0.4; wc -c "$0"']
    inputs: {text: {type: File, inputBinding: {}}}
    outputs: {out: stdout}
    """


def planned(*options):
    done = CliRunner().invoke(app, ["plan", *options, "-o", "plan.json"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    with open("plan.json", encoding="utf-8") as file:
        return json.load(file), done.stdout


def test_a_plan_knows_how_long_the_jobs_of_past_runs_took_and_how_long_miniclusters_took_to_come(world, monkeypatch):
    monkeypatch.chdir(world.folder)
    world.fleet["flavours"] = {"cpu": {"cores": 4, "memory": 8192, "price": 1.0, "bring_up": 20, "tear_down": 20}}
    world.write("wf.cwl", WORKFLOW)
    world.write("count.cwl", TOOL)
    for name in "abc":
        world.write(f"{name}.txt", name * 5000)
    world.inputs(texts=[{"class": "File", "path": f"{name}.txt"} for name in "abc"])
    assert len(world.run().outputs["counts"]) == 3

    plan, out = planned("streamflow.yml")
    (step,) = plan["problem"]["workflow"]["steps"]
    assert step["duration"]["source"] == "history"
    assert 0.3 < step["duration"]["seconds"] < 5
    assert 10 < plan["problem"]["flavours"]["cpu"]["bring_up"] < 15
    assert "3 jobs of" in out
    assert "tell the times of 1 step, from start to end" in out
    assert "configured are 20 and 20 s" in out

    plan, _ = planned("streamflow.yml", "--no-history")
    assert plan["problem"]["workflow"]["steps"][0]["duration"] == {"seconds": 600, "spread": 0, "source": "hint"}
    assert plan["problem"]["flavours"]["cpu"]["bring_up"] == 20

    world.write("other.cwl", WORKFLOW.replace("count:", "again:").replace("count/out", "again/out"))
    tool = TOOL.replace("hints: {fluxop:FluxRequirement: {duration: 600}}", "")
    world.write("count.cwl", tool)
    world.config["workflows"]["wf"]["config"]["file"] = "other.cwl"
    world.write("other.yml", json.dumps(world.config))
    plan, out = planned("other.yml")
    assert plan["problem"]["workflow"]["steps"][0]["duration"]["source"] == "tool history"
    assert "3 jobs of the same tools in other workflows" in out

    (log,) = world.logs()
    asked = [json.loads(line) for line in log.read_text().splitlines() if '"job-asked"' in line]
    assert [(a["memory"], a["input_bytes"]) for a in asked] == [(256, 5000)] * 3


def test_what_the_fleet_says_of_a_step_is_what_its_jobs_ask_for(world):
    world.write("wf.cwl", WORKFLOW)
    world.write("count.cwl", TOOL)
    world.write("a.txt", "a")
    world.inputs(texts=[{"class": "File", "path": "a.txt"}])
    world.fleet["steps"] = {"/count": {"cores": 3, "memory": 700, "duration": "2s"}}
    assert len(world.run().outputs["counts"]) == 1
    (log,) = world.logs()
    (asked,) = [json.loads(line) for line in log.read_text().splitlines() if '"job-asked"' in line]
    assert (asked["cores"], asked["memory"]) == (3, 700)


def test_memory_and_cpu_time_of_jobs_are_in_the_log_and_in_the_report(world):
    world.write("wf.cwl", WORKFLOW)
    eater = f'{sys.executable} -c "x = bytes(1) * 150000000"; echo'
    tool = TOOL.replace("sleep 0.4; wc -c", eater).replace("coresMin: 1", "coresMin: 1, ramMin: 2048")
    world.write("count.cwl", tool)
    world.write("a.txt", "a")
    world.inputs(texts=[{"class": "File", "path": "a.txt"}])
    assert len(world.run().outputs["counts"]) == 1
    (log,) = world.logs()
    (ended,) = [json.loads(line) for line in log.read_text().splitlines() if '"job-ended"' in line]
    assert 143 < ended["peak_memory"] < 300
    assert ended["cpu_seconds"] > 0
    done = CliRunner().invoke(app, ["report", str(log)], catch_exceptions=False)
    assert re.search(r"count +2 GiB +[12]\d\d MiB +\d", done.stdout)
