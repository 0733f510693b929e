"""Our own documents, and the JSON Schemas that other tools write them by."""

import json

import jsonschema
import pytest

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planning import solve
from streamflow_fluxop.sources import read
from streamflow_fluxop.sources.own_documents import read_plan
from streamflow_fluxop.sources.schemas import DOCUMENTS, FOLDER, schema, text

WORKFLOW = """\
name: demo
steps:
  - name: split
    duration: {seconds: 60}
  - name: work
    width: 8
    needs: {cores_per_task: 2, memory: 1024}
    duration: {seconds: 120, spread: 10}
    after: [{step: split}]
"""
FLAVOURS = "flavours: {cpu: {cores: 4, memory: 8192}}\nlimits: {nodes: 2}\n"


@pytest.fixture
def files(tmp_path):
    workflow, flavours = tmp_path / "wf.yml", tmp_path / "flavours.yml"
    workflow.write_text(WORKFLOW)
    flavours.write_text(FLAVOURS)
    return workflow, flavours


def test_yaml_and_json_say_the_same(files, tmp_path):
    workflow, flavours = files
    (source,) = read(workflow=workflow, flavours=flavours)
    as_json = tmp_path / "wf.json"
    as_json.write_text(source.problem.workflow.model_dump_json())
    assert read(workflow=as_json, flavours=flavours)[0].problem == source.problem
    assert source.problem.limits.nodes == 2
    assert source.title == "demo"


def test_a_step_has_a_place(files):
    workflow, flavours = files
    (source,) = read(workflow=workflow, flavours=flavours)
    assert source.place("work") == f"{workflow}:5: steps[1]"
    error = source.located(UserError("too large", where="step work: needs"))
    assert str(error) == f"{workflow}:5: steps[1]: step work: too large"


def test_a_plan_survives_its_file(files, tmp_path):
    (source,) = read(workflow=files[0], flavours=files[1])
    plan = solve(source.problem, strategy="per-step")
    path = tmp_path / "plan.json"
    path.write_text(plan.model_dump_json())
    assert read_plan(path) == plan


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_published_schemas_are_those_of_the_documents(name):
    """If not: python -m streamflow_fluxop.sources.schemas."""
    assert FOLDER.joinpath(f"{name}.json").read_text() == text(name)
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_the_schemas_take_what_we_read_and_write(files):
    (source,) = read(workflow=files[0], flavours=files[1])
    plan = json.loads(solve(source.problem, strategy="per-step").model_dump_json())
    jsonschema.validate(plan, schema("plan"))
    jsonschema.validate(plan["problem"], schema("problem"))
    jsonschema.validate(plan["problem"]["workflow"], schema("workflow"))
    with pytest.raises(jsonschema.ValidationError, match="widht"):
        jsonschema.validate({"steps": [{"name": "a", "duration": {"seconds": 1}, "widht": 1}]}, schema("workflow"))


def test_a_workflow_without_flavours_asks_for_them(files):
    with pytest.raises(UserError, match="--flavours"):
        read(workflow=files[0])


def test_what_is_no_workflow_says_what_would_be_one(files):
    with pytest.raises(UserError, match="WfCommons"):
        read(workflow=files[1], flavours=files[1])


def test_a_plan_in_the_place_of_a_workflow_is_told_to_be_one(files, tmp_path):
    (source,) = read(workflow=files[0], flavours=files[1])
    plan = solve(source.problem, strategy="per-step")
    path, problem = tmp_path / "plan.json", tmp_path / "problem.json"
    path.write_text(plan.model_dump_json())
    with pytest.raises(UserError, match="is a plan") as told:
        read(workflow=path)
    assert "fluxop verify" in str(told.value)
    problem.write_text(json.dumps(json.loads(path.read_text())["problem"]))
    assert read(workflow=problem)[0].problem == plan.problem
