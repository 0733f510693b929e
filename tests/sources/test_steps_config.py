"""What a fleet says of steps wins over what the workflow says, and is checked like everything else."""

import json

import pytest
from typer.testing import CliRunner

from streamflow_fluxop import events
from streamflow_fluxop.cli import app
from streamflow_fluxop.errors import UserErrors
from streamflow_fluxop.events import EventLog
from streamflow_fluxop.model import Duration, Flavour, Needs
from streamflow_fluxop.sources import read
from streamflow_fluxop.sources.history import resolved

WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, SubworkflowFeatureRequirement: {}}
inputs: []
outputs: []
steps:
  list: {run: list.cwl, in: [], out: [names]}
  align: {run: tool.cwl, scatter: name, in: {name: list/names}, out: []}
  qc:
    run:
      class: Workflow
      inputs: {names: "string[]"}
      outputs: []
      steps:
        one: {run: tool.cwl, scatter: name, in: {name: names}, out: []}
        two: {run: tool.cwl, scatter: name, in: {name: names}, out: []}
    in: {names: list/names}
    out: []
"""
LIST = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: ls
inputs: []
outputs: {names: {type: "string[]", outputBinding: {outputEval: "$([])"}}}
requirements: {InlineJavascriptRequirement: {}}
"""
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {duration: 7, coresPerTask: 3, group: theirs}
  ResourceRequirement: {ramMin: 100}
baseCommand: echo
inputs: {name: {type: string, inputBinding: {}}}
outputs: []
"""
FILE = """\
version: v1.0
workflows:
  wf:
    type: cwl
    config: {file: wf.cwl}
    bindings: [{step: /, target: {deployment: fleet}}]
deployments:
  fleet:
    type: minicluster
    config:
      cluster: local
      flavours:
        cpu: {cores: 8, memory: 65536, price: 1}
        big: {cores: 16, memory: 65536, price: 3}
      steps: STEPS
"""


@pytest.fixture
def planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("wf.cwl", WORKFLOW), ("list.cwl", LIST), ("tool.cwl", TOOL)):
        (tmp_path / name).write_text(text)

    def planned(steps, **options):
        (tmp_path / "streamflow.yml").write_text(FILE.replace("STEPS", json.dumps(steps)))
        (source,) = read(tmp_path / "streamflow.yml", **{"no_history": True, **options})
        return {s.name: s for s in source.problem.workflow.steps}

    return planned


def test_estimates_and_needs_of_the_fleet_win_over_hints(planned):
    said = {"duration": "20m", "spread": "5m", "width": 40, "cores": 8, "memory": 32768, "flavour": "big", "group": "g"}
    step = planned({"/align": said})["/align"]
    assert step.duration == Duration(seconds=1200, spread=300, source="steps")
    assert (step.width, step.width_source) == (40, "hint")
    assert step.needs == Needs(cores_per_task=8, memory=32768)
    assert (step.flavours, step.group, step.defaults) == (["big"], "g", [])


def test_a_pattern_or_the_path_of_a_workflow_is_about_all_its_steps_and_a_path_goes_before_it(planned):
    for key in ("/qc/*", "/qc", "*"):
        steps = planned({key: {"duration": 90, "memory": 500}, "/qc/two": {"duration": 30}})
        assert [steps[f"/qc/{n}"].duration.seconds for n in ("one", "two")] == [90, 30]
        assert [steps[f"/qc/{n}"].needs.memory for n in ("one", "two")] == [500, 500]
    assert steps["/align"].duration.seconds == 90


def test_what_is_not_said_stays_as_the_workflow_has_it(planned):
    before, after = planned({})["/align"], planned({"/align": {"memory": 4096}})["/align"]
    assert after == before.model_copy(update={"needs": before.needs.model_copy(update={"memory": 4096})})


@pytest.mark.parametrize(
    ("steps", "where", "what", "fix"),
    [
        ({"/algin": {"duration": 1}}, "steps./algin", "there is no step /algin", "Did you mean /align?"),
        ({"/q/*": {"duration": 1}}, "steps./q/*", "there is no step /q/*", "The steps are: /align"),
        ({"/align": {"flavour": "bog"}}, "steps./align.flavour", "no flavour 'bog'", "Did you mean 'big'?"),
        ({"/align": {"duratoin": 1}}, "steps./align.duratoin", "unknown key 'duratoin'", "Did you mean 'duration'?"),
        ({"/align": {"duration": "soon"}}, "steps./align.duration", "'soon' is no duration", ""),
        ({"/align": {"cores": 0}}, "steps./align.cores", "not more than 0", ""),
        ({"/align": {"cores": 99}}, "/align.cores", "no flavour meets the needs of step /align", "Ask for less"),
        ({"/align": {"nodes": 4, "tasks": 2}}, "steps./align.tasks", "2 tasks can't reach 4 nodes", "at least"),
    ],
)
def test_mistakes_have_a_place_and_a_remedy(planned, steps, where, what, fix):
    with pytest.raises(UserErrors) as caught:
        planned(steps)
    text = str(caught.value)
    assert "streamflow.yml:" in text
    assert where in text.replace("deployments.fleet.config.", "")
    assert what.replace("'", "") in text.replace("'", "")
    assert fix.replace("'", "") in text.replace("'", "")


def test_nodes_with_gpus_take_jobs_without_one_only_where_nothing_else_fits_or_the_flavour_says_so(planned, tmp_path):
    gpus = {"cores": 64, "memory": 65536, "gpus": 4, "price": 0.1}  # however cheap
    steps = {"/align": {"gpus": 1}, "/list": {"cores": 32}, "/qc/two": {"flavour": "gpu"}}

    def flavours(**more):
        text = FILE.replace("      steps:", f"        gpu: {json.dumps(gpus | more)}\n      steps:")
        (tmp_path / "streamflow.yml").write_text(text.replace("STEPS", json.dumps(steps)))
        (source,) = read(tmp_path / "streamflow.yml", no_history=True)
        return {s.name: s.flavours for s in source.problem.workflow.steps}

    planned({})
    (tmp_path / "tool.cwl").write_text(TOOL.replace(", group: theirs", ""))
    assert flavours() == {"/list": [], "/align": [], "/qc/one": ["cpu", "big"], "/qc/two": ["gpu"]}
    assert flavours(jobs_without_gpus=True)["/qc/one"] == []


def test_estimates_are_printed_ready_to_paste(planned, tmp_path):
    planned({})
    nothing = CliRunner().invoke(app, ["estimates", "streamflow.yml", "--history", str(tmp_path)])
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    log = EventLog(tmp_path / "runs/1.jsonl", clock=iter(range(1000)).__next__)
    record = log.fleet("fleet")
    record(
        events.FleetStarted(
            flavours={"cpu": Flavour(cores=8, memory=1)}, workflows={"": resolved(str(tmp_path / "wf.cwl"))}
        )
    )
    for job in ("/align/0.0", "/align/0.1"):
        record(events.JobAsked(job=job, step="/align", cores=3, memory=100))
        record(events.JobStarted(job=job))
        record(events.JobEnded(job=job, exit_code=0))
    log.close()
    done = CliRunner().invoke(app, ["estimates", "streamflow.yml", "--history", "runs"], catch_exceptions=False)
    assert done.stdout.splitlines() == [
        "# under deployments.fleet.config",
        "steps:",
        "  /align: {duration: 1, width: 2}  # 2 jobs of 1 run",
    ]
    (tmp_path / "streamflow.yml").write_text(FILE.replace("steps: STEPS", "\n      ".join(done.stdout.splitlines())))
    (source,) = read(tmp_path / "streamflow.yml", no_history=True)
    step = next(s for s in source.problem.workflow.steps if s.name == "/align")
    assert (step.duration.seconds, step.duration.source, step.width) == (1, "steps", 2)
