"""What the run refuses, the plan refuses."""

from __future__ import annotations

import pytest
from cwl_worlds import FEATURES, expression_tool, step, tool, workflow

from streamflow_fluxop.errors import UserError

USES = {
    "ScatterFeatureRequirement": {"one": step(tool(), x="x", more={"scatter": "x"})},
    "StepInputExpressionRequirement": {"one": step(tool(), x={"source": "x", "valueFrom": "$(self)"})},
    "MultipleInputFeatureRequirement": {"one": step(tool(), x={"source": ["x", "x"]})},
}


@pytest.mark.parametrize("feature", USES)
@pytest.mark.parametrize("section", [None, "requirements", "hints"])
def test_a_feature_needs_its_requirement(world, feature, section):
    others = {name: {} for name in FEATURES if name != feature}
    document = workflow("x", **USES[feature]) | {"requirements": others}
    if section is None:
        with pytest.raises(UserError, match=f"needs {feature}"):
            world.read(document, x=["a"])
    else:
        document[section] = {**document.get(section, {}), feature: {}}
        world.read(document, x=["a"])


OPERATION = {"class": "Operation", "inputs": {"x": "Any?"}, "outputs": {"o": "File"}}


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (OPERATION, "an Operation can't be run"),
        (tool(stdout="/tmp/out"), "/tmp/out is outside"),
        (tool(stdout="a/../out"), None),
        (tool(arguments=[{"position": "first", "valueFrom": "a"}]), "'first' is neither a whole number"),
        (
            tool(requirements={"InitialWorkDirRequirement": {"listing": [{"entryname": "../x", "entry": "a"}]}}),
            r"\.\./x",
        ),
        (tool(requirements={"InitialWorkDirRequirement": {"listing": [{"entryname": "a/../x", "entry": "a"}]}}), None),
        (expression_tool("$({o: 1})"), None),
    ],
)
def test_what_no_job_of_a_tool_can_do(world, run, says):
    run = {k: v for k, v in run.items() if k != "cwlVersion"}
    document = workflow("x", {"o": "one/o"}, one=step(run, x="x"))
    if says is None:
        world.read(document, x="a")
    else:
        with pytest.raises(UserError, match=says):
            world.read(document, x="a")


def test_outputs_come_from_outputs_that_steps_have(world):
    with pytest.raises(UserError, match="linked to one/o, which is not there"):
        world.read(workflow("x", {"o": "one/o"}, one=step(tool(), x="x", out=())), x="a")
    document = workflow("x", one=step(tool(), x="x")) | {"outputs": {"o": "Any?"}}
    with pytest.raises(UserError, match="no `outputSource`"):
        world.read(document, x="a")


@pytest.mark.parametrize(
    ("when", "right"), [("$(1)", False), ("$(null)", False), ("$(inputs.x)", False), ("$(true)", True)]
)
def test_a_condition_is_true_or_false(world, when, right):
    document = workflow("x", one=step(tool(), x="x", more={"when": when}))
    if right:
        world.read(document, x="a")
    else:
        with pytest.raises(UserError, match="neither true nor false"):
            world.read(document, x="a")
