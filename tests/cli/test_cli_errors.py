"""Wrong or impossible input: one message with the place and what would be right, exit code 2, never a traceback."""

import json
import re
from pathlib import Path

import pytest
import yaml


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "cpu: {cores: 4",
            "cpu: {coers: 4",
            "streamflow.yml:15: deployments.fleet.config.flavours.cpu.coers: unknown key",
        ),
        ("cluster: local", "cluster: moon", 'streamflow.yml:13: deployments.fleet.config.cluster: "moon"'),
        ("type: minicluster", "type: local", "streamflow.yml:9: deployments: no deployment of type minicluster"),
        (
            "cores: 4",
            "cores: 1",
            "fetch.cwl:8: step /fetch: requirements.ResourceRequirement.coresMin: no flavour meets",
        ),
        ("{deployment: fleet}", "{deployment: flet}", "no deployment 'flet'\n  The deployments are: fleet."),
        ("{deployment: fleet}", "{deployment: fleet, service: gpu}", "service 'gpu' is neither a flavour nor a group"),
        ("file: wf.cwl", "file: none.cwl", "none.cwl"),
        ("version: v1.0", "version: [", "is no valid YAML"),
        ("type: minicluster", "type: miniclusters", "there is no type 'miniclusters'\n  Did you mean 'minicluster'?"),
        ("memory: 8192", "memory: 8GB", '"8GB" is not a whole number\n  Memory of a node, in MiB. Write 7630.'),
        ("{deployment: fleet}", "{deployment: [fleet]}", "no deployment ['fleet']\n  The deployments are: fleet."),
    ],
)
def test_a_wrong_streamflow_file(world, old, new, message):
    text = Path("streamflow.yml").read_text()
    assert old in text
    Path("streamflow.yml").write_text(text.replace(old, new, 1))
    result = world.plan("streamflow.yml")
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_the_cwl_in_place_of_the_streamflow_file(world):
    result = world.plan("wf.cwl")
    assert result.code == 2
    assert result.err.startswith("wf.cwl: this is a CWL document, not a StreamFlow file\n  Give the StreamFlow file")


@pytest.mark.parametrize("option", ["--deadline", "--budget"])
def test_what_an_option_wants_and_no_plan_can_keep(world, option):
    result = world.plan("streamflow.yml", option, "1")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"{option}: no plan ")


STEP = {"name": "a", "duration": {"seconds": 10}}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [{**STEP, "duration": {"seconds": -3}}],
            "bad.json:7: workflow.steps[0].duration.seconds: -3 is not at least 0",
        ),
        ([{"name": "a"}], "bad.json:4: workflow.steps[0]: the key 'duration' is missing"),
        ([{**STEP, "width": 0}], "workflow.steps[0].width: 0 is not more than 0"),
        ([{**STEP, "widht": 1}], "unknown key 'widht'\n  Did you mean 'width'?"),
        ([STEP, STEP], "2 steps have the name a"),
        ([], "the workflow has no steps"),
        ([{**STEP, "after": [{"step": "b"}]}], "it waits for b, which is no step"),
        ([{**STEP, "after": [{"step": "a"}]}], "bad.json"),
        ([{**STEP, "after": [{}]}], "workflow.steps[0].after[0]: the key 'step' is missing\n  Name of the step that"),
        ([{**STEP, "after": [{"stepp": "a"}]}], "unknown key 'stepp'\n  Did you mean 'step'?"),
        ([{**STEP, "after": ["a"]}], 'workflow.steps[0].after[0]: "a" is not a mapping of `key: value` lines'),
        ([{**STEP, "width": "two"}], 'workflow.steps[0].width: "two" is not a whole number'),
        ([{**STEP, "needs": {"cores_per_task": 99}}], "bad.json:4: workflow.steps[0]: "),
        ([{**STEP, "flavours": ["cup"]}], "there is no flavour cup\n  did you mean cpu?"),
    ],
)
def test_a_wrong_document(world, steps, message):
    problem = json.loads(Path("article.json").read_text())
    world.write("bad.json", {"workflow": {"steps": steps}, "flavours": problem["flavours"]})
    result = world.plan("--workflow", "bad.json")
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_several_mistakes_are_told_at_once(world):
    world.write("bad.yml", "workflow:\n  steps:\n    - {name: a}\n    - {name: b}\nflavours:\n  cpu: {cores: 1}\n")
    err = world.plan("--workflow", "bad.yml").err
    assert "bad.yml:3: workflow.steps[0]: the key 'duration' is missing" in err
    assert "bad.yml:4: workflow.steps[1]: the key 'duration' is missing" in err
    assert "bad.yml:6: flavours.cpu: the key 'memory' is missing" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to plan"),
        (["none.yml"], "none.yml: can't be read: No such file"),
        (["streamflow.yml", "--workflow", "article.json"], "both a StreamFlow file"),
        (["streamflow.yml", "--flavours", "article.json"], "--flavours goes with --workflow"),
        (["streamflow.yml", "--deployment", "fleat"], "there is no fleet 'fleat'"),
        (["streamflow.yml", "--workflow-name", "fw"], "no CWL workflow 'fw'"),
        (["streamflow.yml", "--strategy", "magic"], "there is no strategy 'magic'\n  Take one of auto, "),
        (["streamflow.yml", "-o", "plan.pdf"], "-o plan.pdf: we can't write .pdf\n  The endings are .json"),
        (["streamflow.yml", "-o", "nowhere/plan.svg"], "there is no folder nowhere"),
        (["streamflow.yml", "--deadline", "30s"], "30"),
        (["streamflow.yml", "--budget", "0.001"], "budget"),
        (["streamflow.yml", "--deadline", "soon"], "'soon' is no duration"),
        (["streamflow.yml", "--deadline", "0"], "'0' leaves no time"),
        (["streamflow.yml", "--budget", "inf"], "'inf' is no amount"),
        (["streamflow.yml", "--budget", "1e300"], "--budget: budget is 1e+300"),
        (["streamflow.yml", "--limit", "nodes"], "'nodes' is no limit"),
        (["streamflow.yml", "--limit", "cores=3"], "steps /fetch, /train: needs: it never fits within the limits"),
        (["streamflow.yml", "--history", "article.json"], "article.json: is no database that StreamFlow wrote"),
    ],
)
def test_wrong_arguments(world, arguments, message):
    result = world.fluxop("plan", "--time-limit", "0.2", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_pictures_without_matplotlib_say_how_to_get_it(world, monkeypatch):
    monkeypatch.setattr("streamflow_fluxop.report.figure.find_spec", lambda name: None)
    result = world.plan("streamflow.yml", "-o", "plan.svg")
    assert result.code == 2
    assert "pip install 'streamflow-fluxop[report]'" in result.err


def test_a_file_without_a_fleet_gives_the_doctor_nothing_to_look_at(world):
    result = world.fluxop("doctor", "article.json")
    assert (result.code, result.out) == (2, "")
    assert "article.json: deployments: no deployment of type minicluster" in result.err


def test_the_doctor_looks_at_this_machine_where_miniclusters_run_on_it(world):
    result = world.fluxop("doctor", "streamflow.yml")
    assert result.code == 0
    assert re.search("flux. is on the PATH|no .flux. on the PATH: the embedded scheduler", result.out)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bindings": -1}, "workflows.wf.bindings: is no list"),
        ({"config": {"file": "wf.cwl", "settings": 1.5}}, "workflows.wf.config.settings: 1.5 is no name of a file"),
        (
            {"config": {"file": "wf.cwl", "settings": "inputs.yml", "docker": "none"}},
            "workflows.wf.config.docker: is no list",
        ),
    ],
)
def test_a_workflow_entry_of_another_kind(world, change, message):
    file = yaml.safe_load(Path("streamflow.yml").read_text())
    (entry,) = file["workflows"].values()
    file["workflows"] = {"wf": {**entry, **change}}
    world.write("streamflow.yml", file)
    result = world.plan("streamflow.yml")
    assert (result.code, result.out) == (2, "")
    assert message in result.err


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("wf.cwl", "run: fetch.cwl", "run: wf.cwl", "wf.cwl: step /fetch: the workflow wf.cwl runs itself"),
        ("fetch.cwl", "fluxop:FluxRequirement: {duration: 100}", "[1]", "step /fetch: 1 is no hint"),
        ("fetch.cwl", '{fluxop: "urn:fluxop:"}', "1.5", "fetch.cwl: $namespaces is no mapping"),
    ],
)
def test_a_wrong_cwl_document(world, file, old, new, message):
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new, 1))
    result = world.plan("streamflow.yml")
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_without_kubernetes_there_is_nothing_to_clean(world, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(world.folder / "none"))
    result = world.fluxop("clean")
    assert result.code == 2
    assert "no way into Kubernetes" in result.err
    assert "what runs on this machine ends by itself" in result.err


def test_a_version_that_is_none(world):
    text = Path("wf.cwl").read_text()
    Path("wf.cwl").write_text(text.replace("cwlVersion: v1.2", "cwlVersion: v9"))
    result = world.plan("streamflow.yml")
    assert "there is no CWL version v9 here\n  Those are: v1.0, v1.1, v1.2." in result.err
    assert re.search(r"wf.cwl:\d+: cwlVersion", result.err)
