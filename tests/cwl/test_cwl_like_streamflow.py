"""What we read is what StreamFlow's own translator makes of the same documents (it only translates, nothing runs)."""

import math

import pytest
from cwl_worlds import FEATURES, expression_tool, step, tool, workflow

from streamflow_fluxop.cwl import read_workflow


def resources(cores):
    return {"ResourceRequirement": {"coresMin": cores}}


def nested(version="v1.2"):
    inner = workflow(
        "x", {"o": "b/o"}, version, a=step(tool(version=version), x="x"), b=step(tool(version=version), x="a/o")
    )
    return workflow(
        "x",
        version=version,
        first=step(tool(version=version), x="x"),
        sub=step(inner, x="first/o"),
        last=step(tool(version=version), x="sub/o"),
    )


def packed():
    sub = {**workflow("x", {"o": "t/o"}, t=step("#tool", x="x")), "id": "sub"}
    main = {**workflow("xs", s=step("#sub", x="xs", more={"scatter": "x"}), e=step("#tool", x="s/o")), "id": "main"}
    graph = [main, sub, {**tool(), "id": "tool"}]
    return {"cwlVersion": "v1.2", "$graph": [{k: v for k, v in p.items() if k != "$namespaces"} for p in graph]}


def levels(**where):
    """A workflow, a step and a tool, each with ResourceRequirement as `requirements` or `hints`."""

    def said(level):
        return {k.split("_")[1]: resources(v) for k, v in where.items() if k.startswith(level)}

    wf = said("workflow")
    wf["requirements"] = FEATURES | wf.get("requirements", {})
    return workflow("x", a=step(tool(**said("tool")), x="x", more=said("step")), more=wf)


def in_subworkflow(**where):
    return workflow("x", s=step(levels(**where), x="x", out=()), more={"hints": resources(77)})


DOCUMENTS = {
    "a tool alone": tool(),
    "nested": nested(),
    "nested, v1.1": nested("v1.1"),
    "nested, v1.0": nested("v1.0"),
    "packed": packed(),
    "an id of its own": {**nested(), "id": "mine"},
    "files": workflow("x", a=step("tool.cwl", x="x"), b=step("sub/wf.cwl", x="a/o"), c=step("named.cwl", x="b/o")),
    "expression tools": workflow(
        "x", a=step(tool(), x="x"), e=step(expression_tool("$({o: 1})"), x="a/o"), b=step(tool(), x="e/o")
    ),
    "defaults": workflow(
        "x", a=step(tool(), x="x"), s=step(nested(), x="a/o", out=(), more={"in": {"x": "a/o", "y": {"default": 1}}})
    ),
    "merges": workflow(
        "x",
        a=step(tool(), x="x"),
        b=step(tool(), x="x"),
        c=step(tool(), x={"source": ["a/o", "b/o"], "linkMerge": "merge_flattened", "pickValue": "all_non_null"}),
    ),
    "when": workflow(
        "x",
        a=step(tool(), x="x"),
        s=step(workflow("x y", {"o": "t/o"}, t=step(tool(), x="x")), x="x", y="a/o", more={"when": "$(inputs.x == 1)"}),
    ),
    "valueFrom": workflow("x", a=step(tool(), x="x"), b=step(tool("x", "y"), x="a/o", y={"valueFrom": "$(inputs.x)"})),
    "requirement of all": levels(workflow_requirements=2, step_requirements=3, tool_requirements=4),
    "hint of all": levels(workflow_hints=2, step_hints=3, tool_hints=4),
    "hint of workflow and tool": levels(workflow_hints=2, tool_hints=4),
    "hint of tool": levels(tool_hints=4),
    "hint of step": levels(step_hints=3),
    "requirement of workflow, hint of tool": levels(workflow_requirements=2, tool_hints=4),
    "hint of step, requirement of workflow": levels(step_hints=3, workflow_requirements=2),
    "hint of step, requirement of tool": levels(step_hints=3, tool_requirements=4),
    "hint around a subworkflow": in_subworkflow(workflow_hints=2, step_hints=3),
    "hint around a subworkflow, requirement inside": in_subworkflow(workflow_requirements=2),
    "hint around a subworkflow, requirement of the tool": in_subworkflow(tool_requirements=4),
    "cores and memory at most": tool(requirements={"ResourceRequirement": {"coresMax": 3, "ramMax": 5}}),
    "parts of cores": tool(requirements={"ResourceRequirement": {"coresMin": 0.5, "ramMin": 5.5}}),
}
for _method in ("dotproduct", "flat_crossproduct", "nested_crossproduct"):
    _scatter = {"scatter": ["x", "y"], "scatterMethod": _method}
    DOCUMENTS[_method] = workflow(
        ("xs", "ys"), a=step(tool("x", "y"), x="xs", y="ys", more=_scatter), b=step(tool(), x="a/o")
    )
    DOCUMENTS[f"{_method} of a subworkflow"] = workflow(
        ("xs", "ys"),
        s=step(
            workflow("x y", {"o": "b/o"}, a=step(tool(), x="x"), b=step(tool("x", "y"), x="a/o", y="y")),
            x="xs",
            y="ys",
            more=_scatter,
        ),
    )


@pytest.fixture
def translate(world):
    """StreamFlow's translation of a document, mended as in a run."""
    import cwl_utils.parser
    from streamflow.config.config import WorkflowConfig
    from streamflow.cwl.translator import CWLTranslator
    from streamflow.main import build_context

    from streamflow_fluxop.streamflow_plugin.internals.mends import mend_streamflow

    mend_streamflow()

    def translated(path, inputs):
        config = {
            "version": "v1.0",
            "workflows": {"w": {"type": "cwl", "config": {"file": path}}},
            "path": path,
            "database": {"type": "default", "config": {"connection": ":memory:"}},
        }
        return CWLTranslator(
            context=build_context(config),
            name="w",
            output_directory=str(world.folder),
            cwl_definition=cwl_utils.parser.load_document_by_uri(path),
            cwl_inputs=inputs,
            cwl_inputs_path=str(world.folder / "inputs.json"),
            workflow_config=WorkflowConfig("w", config),
        ).translate()

    return translated


def reads_from(translated, names):
    """For each step that runs something, the ones that its inputs come from, with only StreamFlow's own between."""
    makers = {}
    for one in translated.steps.values():
        for port in one.get_output_ports().values():
            makers.setdefault(port.name, []).append(one)
    found = {}
    for name in names:
        seen, todo, found[name] = {name}, [translated.steps[name]], set()
        while todo:
            for port in todo.pop().get_input_ports().values():
                for maker in makers.get(port.name, []):
                    if maker.name in names:
                        found[name].add(maker.name)
                    elif maker.name not in seen:
                        seen.add(maker.name)
                        todo.append(maker)
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_steps_needs_scatters_and_dependencies_are_streamflow_s(world, translate, name):
    from streamflow.cwl.step import CWLExecuteStep
    from streamflow.workflow.step import ScatterStep

    world.write("tool.cwl", tool())
    world.write("named.cwl", {**tool(requirements=resources(6)), "id": "own_name"})
    world.write("sub/wf.cwl", workflow("x", {"o": "t/o"}, t=step("../tool.cwl", x="x")))
    path, inputs = world.write("main.cwl", DOCUMENTS[name]), {"x": 1, "xs": [1, 2], "ys": [3, 4]}
    theirs, ours = translate(path, inputs), read_workflow(path, world.write("inputs.json", inputs)).steps

    running = {n for n, s in theirs.steps.items() if isinstance(s, CWLExecuteStep)}
    assert set(ours) == running
    hardware = {n: theirs.steps[f"{n.rstrip('/')}/__schedule__"].hardware_requirement for n in running}
    assert {n: (s.asked.cores, s.asked.memory) for n, s in ours.items()} == {
        n: (math.ceil(h.cores), math.ceil(h.memory)) for n, h in hardware.items()
    }
    scatters = {n.rpartition("/")[0] for n, s in theirs.steps.items() if isinstance(s, ScatterStep)}
    assert {s for one in ours.values() for s in one.scatters} == scatters
    assert {n: {d.step for d in s.after} for n, s in ours.items()} == reads_from(theirs, running)
