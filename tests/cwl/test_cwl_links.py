"""Links whose types never suit, and what a step lacks, are refused as the reference runner refuses them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from cwl_worlds import step, tool, workflow
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow_fluxop.cwl import read_workflow
from streamflow_fluxop.errors import UserError

FEATURES = {
    name: {}
    for name in (
        "ScatterFeatureRequirement",
        "MultipleInputFeatureRequirement",
        "StepInputExpressionRequirement",
        "SubworkflowFeatureRequirement",
        "InlineJavascriptRequirement",
    )
}
simple = st.sampled_from(
    ["string", "int", "long", "double", "boolean", "File", "Directory", "Any", "string[]", "File[]"]
)


def _union(kinds: tuple[Any, str]) -> Any:
    """An optional type; unions hold one array at most, and no union."""
    one, other = kinds
    return ["null", other] if isinstance(one, list) or one in ("Any", other) else ["null", one, other]


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(st.sampled_from(["f", "g"]), inner, min_size=1, max_size=2)
    return (
        inner.map(lambda t: {"type": "array", "items": t})
        | st.tuples(inner, st.sampled_from(["int", "string"])).map(_union)
        | fields.map(lambda f: {"type": "record", "fields": f})
        | st.just({"type": "enum", "symbols": ["a", "b"]})
    )


types = st.recursive(simple, nested, max_leaves=3)


@st.composite
def workflows(draw: st.DrawFn) -> dict[str, Any]:
    """A workflow of two steps with links of any types."""

    def process(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        return {"class": "CommandLineTool", "baseCommand": "true", "inputs": inputs, "outputs": outputs}

    def entry(*sources: str) -> Any:
        made: dict[str, Any] = {"source": draw(st.sampled_from(sources))}
        if draw(st.integers(0, 4)) == 0:
            made["source"] = draw(st.lists(st.sampled_from(sources), min_size=1, max_size=2))
            for key, values in (
                ("linkMerge", ["merge_nested", "merge_flattened"]),
                ("pickValue", ["first_non_null", "the_only_non_null", "all_non_null"]),
            ):
                if draw(st.booleans()):
                    made[key] = draw(st.sampled_from(values))
        if draw(st.integers(0, 9)) == 0:
            made["valueFrom"] = "$(1)"
        return draw(st.sampled_from([made, made, made, made, made, {"default": 1}, None]))

    def one(*sources: str) -> dict[str, Any]:
        declared = {"type": draw(types)}
        if draw(st.integers(0, 5)) == 0:
            declared["default"] = "x"
        output = {"type": draw(types), "outputBinding": {"outputEval": "$(null)"}}
        made = {"run": process({"x": declared}, {"o": output}), "in": {"x": entry(*sources)}, "out": ["o"]}
        if made["in"]["x"] is None:
            made["in"] = {}
        elif draw(st.integers(0, 2)) == 0:
            made["scatter"] = ["x"]
            made["scatterMethod"] = draw(st.sampled_from(["dotproduct", "nested_crossproduct"]))
        if draw(st.integers(0, 4)) == 0:
            made["when"] = "$(true)"
        return made

    steps = {"a": one("i", "j"), "b": one("i", "a/o")}
    return {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": FEATURES,
        "inputs": {"i": draw(types), "j": draw(types)},
        "outputs": {"out": {"type": draw(types), "outputSource": draw(st.sampled_from(["b/o", "i"]))}},
        "steps": steps,
    }


def refused_by_the_reference(path: Path) -> bool:
    from cwltool.context import LoadingContext
    from cwltool.load_tool import load_tool
    from cwltool.workflow import default_make_tool
    from schema_salad.exceptions import ValidationException

    logging.getLogger("cwltool").setLevel(logging.CRITICAL)
    try:
        load_tool(path.as_uri(), LoadingContext({"construct_tool_object": default_make_tool}))
    except ValidationException:
        return True
    return False


EXAMPLES = settings().max_examples if settings().max_examples > 100 else 40


@settings(max_examples=EXAMPLES, derandomize=EXAMPLES == 40)
@given(workflows())
def test_links_are_refused_where_the_reference_runner_refuses_them(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "links.cwl"
    path.write_text(json.dumps(document))
    try:
        read_workflow(str(path))
        refused = None
    except UserError as error:
        refused = error
    assert (refused is not None) == refused_by_the_reference(path), refused


@pytest.mark.parametrize(
    ("source", "sink", "suits"),
    [
        ("File", "File?", True),
        ("File?", "File", True),
        ("File", "string", False),
        ("File", "File[]", False),
        ("int", "double", False),
        ("Any", "File", True),
    ],
)
def test_a_link_is_wrong_where_only_null_could_pass_it(world, source, sink, suits):
    inner = {**tool(), "inputs": {"x": sink}}
    document = {**workflow("x", a=step(inner, x="x")), "inputs": {"x": source}}
    if suits:
        assert world.read(document).steps
    else:
        with pytest.raises(UserError, match=rf"main.cwl:\d+: step /a: in.x: x is of type {source}, which is not"):
            world.read(document)


def test_an_input_that_the_tool_requires_has_to_be_given(world):
    document = workflow("x", a=step({**tool(), "inputs": {"x": "File?", "needed": "File"}}, x="x"))
    with pytest.raises(UserError, match=r"main.cwl:\d+: step /a: in: the input 'needed', which .* is not given"):
        world.read(document)
    document["steps"]["a"]["in"]["needed"] = {}
    with pytest.raises(UserError, match=r"main.cwl:\d+: step /a: in.needed: the input 'needed', .* is not given"):
        world.read(document)


def test_a_step_has_no_output_that_its_tool_has_not(world):
    with pytest.raises(UserError, match=r"main.cwl:\d+: step /a: out: main.cwl has no output 'p'\n  It has: o."):
        world.read(workflow("x", a=step(tool(), x="x", out=("o", "p"))))


def test_a_wrong_default_counts_only_where_it_is_used(world):
    wrong = {**tool(), "inputs": {"x": {"type": "string?", "default": True}}}
    given = workflow("x", a=step(wrong, x={"default": "true"}))
    assert world.read(given).steps
    with pytest.raises(UserError, match=r"inputs.x.default: true is not of type string\?"):
        world.read(workflow("x", a=step(wrong, out=())))


def test_a_mistake_in_what_many_steps_run_is_told_once(world):
    wrong = {**tool(), "inputs": {"x": {"type": "string?", "default": True}}}
    world.write("tool.cwl", wrong)
    steps = {f"s{i}": step("tool.cwl", out=()) for i in range(5)}
    with pytest.raises(UserError) as caught:
        world.read(workflow(**steps))
    (error,) = caught.value.errors
    assert "tool.cwl:" in error.where
    assert "steps /s0, /s1, /s2 and 2 more: inputs.x.default" in error.where


def test_what_no_parser_expects_is_told_with_its_line(world):
    document = workflow("x", a=step(tool(), x="x"))
    document["steps"]["a"]["out"] = [{"id": ["o", "p"]}]
    with pytest.raises(UserError, match=r"main.cwl:\d+: is not valid CWL: something here is of a kind"):
        world.read(document)
