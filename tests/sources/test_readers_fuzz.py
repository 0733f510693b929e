"""Documents with anything in them: an answer, or words; never a traceback, and never for long.

`HYPOTHESIS_PROFILE=deep` tries thousands.
"""

import copy
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamflow_fluxop.cwl import read_streamflow_file
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.events.reading import read_events
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.planning import solve
from streamflow_fluxop.sources import read
from streamflow_fluxop.sources.own_documents import read_plan
from streamflow_fluxop.verification import verify

DEEP = settings().max_examples > 200
FEW = settings(
    max_examples=settings().max_examples if DEEP else 15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LONGEST = 20.0
"""Seconds that one document may take, on a machine that does other things, too."""

STEP = {
    "name": "a", "width": 2, "duration": {"seconds": 5.0, "spread": 1.0, "source": "document"}, "after": [],
    "needs": {"nodes": 1, "tasks": 1, "cores_per_task": 1, "memory": 10}, "image": None, "flavours": ["cpu"],
}  # fmt: skip
WORKFLOW = {"version": "1", "name": "w", "steps": [STEP, {**STEP, "name": "b", "after": [{"step": "a", "each": True}]}]}
FLAVOURS = {
    "flavours": {"cpu": {"cores": 4, "memory": 1000, "price": 1.0, "bring_up": 5.0, "count": 3, "gpus": 0}},
    "limits": {"nodes": 4, "cost_per_hour": 5.0},
}
PROBLEM = {"version": "1", "workflow": WORKFLOW, **FLAVOURS, "objective": {"goal": "balanced", "deadline": 500.0}}
TRACE = {
    "name": "t", "schemaVersion": "1.5",
    "workflow": {
        "specification": {"tasks": [{"name": "a", "id": "1", "children": ["2"]}, {"name": "b", "id": "2"}]},
        "execution": {"tasks": [{"id": "1", "runtimeInSeconds": 5, "coreCount": 1, "memoryInBytes": 5000}]},
    },
}  # fmt: skip
CWL = {
    "cwlVersion": "v1.2", "class": "Workflow", "inputs": {"n": {"type": "int[]", "default": [1, 2]}},
    "outputs": {"o": {"type": "int[]", "outputSource": "s/o"}},
    "requirements": [{"class": "ScatterFeatureRequirement"}, {"class": "InlineJavascriptRequirement"}],
    "steps": {
        "s": {
            "in": {"n": "n"}, "out": ["o"], "scatter": "n", "when": "$(inputs.n > 1)",
            "run": {
                "class": "CommandLineTool", "baseCommand": ["echo"], "inputs": {"n": "int"},
                "outputs": {"o": {"type": "int", "outputBinding": {"outputEval": "$(1)"}}},
                "hints": {"ResourceRequirement": {"coresMin": "$(inputs.n)", "ramMin": 100}},
            },
        }
    },
}  # fmt: skip
STREAMFLOW = {
    "version": "v1.0",
    "workflows": {
        "w": {
            "type": "cwl",
            "config": {"file": "main.cwl", "settings": "inputs.json"},
            "bindings": [{"step": "/", "target": {"deployment": "f"}}],
        }
    },
    "deployments": {"f": {"type": "minicluster", "workdir": "/tmp/w", "config": {"cluster": "local", **FLAVOURS}}},
}
EVENTS = [
    {"event": "run-started", "version": "1", "run": "r", "started": "2026-11-24T06:48:43Z", "host": "h", "pid": 9},
    {"event": "fleet-started", "at": 0, "deployment": "f", "flavours": FLAVOURS["flavours"], "limits": {}},
    {"event": "minicluster-asked", "at": 1, "deployment": "f", "minicluster": "m", "flavour": "cpu", "size": 1},
    {"event": "minicluster-up", "at": 2, "deployment": "f", "minicluster": "m", "seconds": 1, "nodes": 1},
    {"event": "job-asked", "at": 2, "deployment": "f", "job": "/a/0", "step": "/a"},
    {"event": "job-submitted", "at": 2, "deployment": "f", "job": "/a/0", "minicluster": "m"},
    {"event": "job-started", "at": 2, "deployment": "f", "job": "/a/0"},
    {"event": "job-ended", "at": 3, "deployment": "f", "job": "/a/0", "exit_code": 0},
    {"event": "minicluster-gone", "at": 4, "deployment": "f", "minicluster": "m"},
    {"event": "run-ended", "at": 5, "exit_code": 0},
]  # fmt: skip

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([
        0, -1, 10**18, 10**39, 1e308, float("inf"), float("nan"), "", "a", "b", "/", "..", "\0", "\ud800", "\x1b[2J",
        "cpu", [], {}, [[]], {"": None}, {"a": {}}, "$(", "${", "$(inputs)", "${return {}}", "$(inputs.n", "main.cwl",
        "file:///", {"$import": "x"}, {"$include": "main.cwl"}, {"$graph": []}, {"class": "File", "location": 7},
    ]),
)  # fmt: skip


def places(value, way=()):
    yield way
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*way, key))


@st.composite
def changed(draw, document):
    """The document with one to three of its values left out, renamed, doubled, or replaced by anything."""
    made = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from([w for w in places(made) if w] or [()]))
        if not way:
            break
        around = made
        for key in way[:-1]:
            around = around[key]
        match draw(st.sampled_from(["replace", "replace", "replace", "leave out", "add", "double"])):
            case "replace":
                around[way[-1]] = copy.deepcopy(draw(ODD))  # of which the next change may be
            case "leave out":
                del around[way[-1]]
            case "add" if isinstance(around, dict):
                around[draw(st.one_of(st.text(max_size=5), st.integers()))] = copy.deepcopy(draw(ODD))
            case _ if isinstance(around, list):
                around.append(copy.deepcopy(around[way[-1]]))
    return made


def answered(action):
    """Do it: it succeeds, or says what is wrong; soon."""
    started = time.monotonic()
    try:
        action()
    except UserError as error:
        told = str(error)
    else:
        told = "nothing is wrong"
    assert told.strip()
    told.encode()
    assert time.monotonic() - started < LONGEST


def planned(sources):
    for source in sources:
        solve(source.problem.model_copy(update={"objective": source.objective}), strategy="per-step", time_limit=0.05)


def text(document):
    return json.dumps(document, default=str, skipkeys=True)


@FEW
@given(
    workflow=changed(WORKFLOW), flavours=changed(FLAVOURS), which=st.booleans(), ending=st.sampled_from(["json", "yml"])
)
def test_workflows_and_flavours(tmp_path, workflow, flavours, which, ending):
    (tmp_path / f"w.{ending}").write_text(text(workflow if which else WORKFLOW))
    (tmp_path / "f.yml").write_text(text(FLAVOURS if which else flavours))
    answered(lambda: planned(read(workflow=tmp_path / f"w.{ending}", flavours=tmp_path / "f.yml")))


@FEW
@given(problem=changed(PROBLEM), ending=st.sampled_from(["json", "yml"]))
def test_problems(tmp_path, problem, ending):
    (tmp_path / f"p.{ending}").write_text(text(problem))
    answered(lambda: planned(read(workflow=tmp_path / f"p.{ending}")))


@FEW
@given(trace=changed(TRACE))
def test_traces_of_other_tools(tmp_path, trace):
    (tmp_path / "t.json").write_text(text(trace))
    (tmp_path / "f.yml").write_text(text(FLAVOURS))
    answered(lambda: planned(read(workflow=tmp_path / "t.json", flavours=tmp_path / "f.yml")))


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "p.json"
    path.write_text(text({**PROBLEM, "objective": {}}))
    (source,) = read(workflow=path)
    return json.loads(solve(source.problem, time_limit=0.2).model_dump_json())


@FEW
@given(data=st.data())
def test_plans(tmp_path, plan, data):
    from streamflow_fluxop.report.page import page

    (tmp_path / "plan.json").write_text(text(data.draw(changed(plan))))

    def use():
        made = read_plan(tmp_path / "plan.json")
        if not list(verify(made)) and DEEP:
            page(made, "t")

    answered(use)


@FEW
@given(events=changed(EVENTS), cut=st.integers(0, 400))
def test_event_logs(tmp_path, events, cut):
    from streamflow_fluxop.cli.logs import summed_up
    from streamflow_fluxop.report.live import panel
    from streamflow_fluxop.report.run_page import page
    from streamflow_fluxop.report.terminal import Glyphs

    path = tmp_path / "e.jsonl"
    lines = "".join(text(event) + "\n" for event in events) if isinstance(events, list) else text(events)
    path.write_text(lines[: len(lines) - cut] if cut < 300 else lines)

    def use():
        view, report = summed_up(RunView(read_events(path)), path)
        panel(view, report.until, report.outcome, 100, 30, colours=False, glyphs=Glyphs())
        if DEEP:
            page(view, report)

    answered(use)


@FEW
@given(
    streamflow=changed(STREAMFLOW),
    cwl=changed(CWL),
    inputs=changed({"n": [1, 2, 3]}),
    which=st.sampled_from(["file", "cwl", "inputs"]),
)
def test_streamflow_files_with_cwl(tmp_path, streamflow, cwl, inputs, which):
    (tmp_path / "streamflow.yml").write_text(text(streamflow if which == "file" else STREAMFLOW))
    (tmp_path / "main.cwl").write_text(text(cwl if which == "cwl" else CWL))
    (tmp_path / "inputs.json").write_text(text(inputs if which == "inputs" else {"n": [1, 2, 3]}))
    answered(lambda: planned(read(tmp_path / "streamflow.yml", no_history=True)))


@FEW
@given(
    content=st.one_of(
        st.binary(max_size=200), st.text(alphabet="[]{}:-?&*!|>'\"%@`#,ax \n\t", max_size=60).map(str.encode)
    )
)
def test_any_bytes(tmp_path, content):
    path = tmp_path / "x.yml"
    path.write_bytes(content)
    (tmp_path / "x.json").write_bytes(content)
    answered(lambda: read_streamflow_file(path).workflows)
    answered(lambda: planned(read(workflow=path, flavours=path)))
    answered(lambda: read_plan(tmp_path / "x.json"))
    answered(lambda: list(read_events(path)))
