"""Values reach commands as they are, and other results that StreamFlow itself would get wrong without a word."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from value_worlds import AWKWARD, our_words, reference_words, tools

from streamflow_fluxop.cwl.command_line import command_line
from streamflow_fluxop.streamflow_plugin.internals import mends
from streamflow_fluxop.streamflow_plugin.internals.mends import mend_streamflow

SHOW = """\
import json, os, sys
said = {"words": sys.argv[1:], "variable": os.environ.get("AWKWARD"), "input": sys.stdin.read()}
json.dump(said, open("said.json", "w"))
"""

TOOL = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "baseCommand": "echo",
    "arguments": ["$(inputs.x)"],
    "inputs": {"x": "string?"},
    "stdout": "o",
    "outputs": {"o": {"type": "stdout"}},
}


@pytest.fixture(autouse=True, scope="module")
def mended():
    mend_streamflow()


EXAMPLES = settings().max_examples if settings().max_examples > 100 else 40


@settings(max_examples=EXAMPLES, derandomize=EXAMPLES == 40)
@given(tools())
def test_a_command_gets_the_words_that_the_reference_runner_gives_it(tmp_path_factory, world):
    tool, values = world
    folder = tmp_path_factory.getbasetemp()
    wanted = reference_words(tool, values, folder)
    assume(
        not any(re.search(r"class\W+File", word) for word in wanted)
    )  # a File in a list in a list: Python's repr of it
    assert our_words(tool, values, folder) == wanted


def test_awkward_values_reach_the_command_in_every_place(world):
    """Through StreamFlow, the connector and the agent; one step without, and one with a shell."""
    binding = {"prefix": "-i", "separate": False}
    strings = {"type": "array", "items": "string"}
    names_and_sizes = "$(self[0].basename) $(self[1].size)"
    record = {
        "type": "record",
        "name": "pair",
        "fields": {
            "one": {"type": "string", "inputBinding": {"prefix": "--one"}},
            "many": {"type": "string[]", "inputBinding": {"itemSeparator": ";"}},
        },
    }
    inputs = {
        "list": {"type": "string[]", "inputBinding": {"position": 1}},
        "each": {"type": {**strings, "inputBinding": binding}, "inputBinding": {"position": 2}},
        "text": {"type": "string", "inputBinding": {"position": 3}},
        "pair": {"type": record, "inputBinding": {"position": 4}},
        "files": {"type": "File[]", "inputBinding": {"position": 5, "valueFrom": names_and_sizes}},
        "paths": {"type": "File[]", "inputBinding": {"position": 6}},
    }
    tool = {
        "class": "CommandLineTool",
        "baseCommand": ["python3", "-c", SHOW],
        "arguments": [{"valueFrom": "$(inputs.text)", "prefix": "$HOME"}],
        "inputs": inputs,
        "stdin": "$(inputs.files[0].path)",
        "outputs": {"said": {"type": "File", "outputBinding": {"glob": "said.json"}}},
        "requirements": {"EnvVarRequirement": {"envDef": {"AWKWARD": "$(inputs.text)"}}},
    }
    shell = {**tool, "requirements": {**tool["requirements"], "ShellCommandRequirement": {}}}
    given = {name: name for name in inputs}
    steps = {name: {"run": run, "in": given, "out": ["said"]} for name, run in {"plain": tool, "shell": shell}.items()}
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "inputs": {
            **{name: {"type": entry["type"]} for name, entry in inputs.items()},
            "each": "string[]",
            "pair": {"type": {**record, "fields": {"one": "string", "many": "string[]"}}},
        },
        "outputs": {name: {"type": "File", "outputSource": f"{name}/said"} for name in steps},
        "steps": steps,
    }
    names = ["a b.txt", "it's $(x); y.txt"]
    for name in names:
        world.write(name, "read me")
    text = "a 'b' \"c\"\n$(touch run) `touch run`; touch run *"
    world.write("wf.cwl", json.dumps(workflow))
    world.inputs(
        list=AWKWARD,
        each=AWKWARD,
        text=text,
        pair={"one": "a  b", "many": ["x y", "", "$z"]},
        files=[{"class": "File", "path": name} for name in names],
        paths=[{"class": "File", "path": name} for name in names],
    )

    outputs = world.run().outputs

    for step in steps:
        said = json.loads(Path(outputs[step]["path"]).read_text())
        *words, first, second = said["words"]
        assert words == [
            *("$HOME", text),
            *AWKWARD,
            *(f"-i{value}" for value in AWKWARD),
            *(text, "x y;;$z", "--one", "a  b", "a b.txt 7"),
        ]
        assert [Path(first).name, Path(second).name] == names
        assert said["variable"] == text
        assert said["input"] == "read me"
    assert not list(world.folder.rglob("run"))


def test_a_shell_reads_only_what_the_tool_says_it_is_to_read(world):
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "requirements": {"ShellCommandRequirement": {}},
        "baseCommand": "echo",
        "arguments": [{"valueFrom": "| tr a-z A-Z", "shellQuote": False, "position": 9}],
        "inputs": {"words": {"type": "string[]", "inputBinding": {}}, "word": {"type": "string", "inputBinding": {}}},
        "stdout": "o",
        "outputs": {"o": {"type": "stdout"}},
    }
    world.write("wf.cwl", json.dumps(tool))
    world.inputs(words=["a; touch f", "$(id)"], word="|")
    output = Path(world.run().outputs["o"]["path"])
    assert output.read_text() == "| A; TOUCH F $(ID)\n"


def test_a_nested_scatter_over_nothing_is_nested_as_cwl_says(world):
    tool = {"class": "ExpressionTool", "outputs": {"o": "Any"}, "expression": "$({o: 1})"}
    wanted = {"no yes": [], "yes no": [[], []], "no no": [], "yes yes no": [[[], []], [[], []]], "yes no yes": [[], []]}
    steps = {}
    for case in wanted:
        names = "abc"[: len(case.split())]
        steps[case.replace(" ", "_")] = {
            "run": {**tool, "inputs": dict.fromkeys(names, "Any")},
            "scatter": list(names),
            "scatterMethod": "nested_crossproduct",
            "in": dict(zip(names, case.split(), strict=True)),
            "out": ["o"],
        }
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": {"ScatterFeatureRequirement": {}, "InlineJavascriptRequirement": {}},
        "inputs": {"yes": "Any[]", "no": "Any[]"},
        "outputs": {name: {"type": "Any", "outputSource": f"{name}/o"} for name in steps},
        "steps": steps,
    }
    world.write("wf.cwl", json.dumps(workflow))
    world.inputs(yes=[1, 2], no=[])
    assert world.run().outputs == {name.replace(" ", "_"): value for name, value in wanted.items()}


def test_hints_of_steps_reach_the_job_and_lose_against_those_of_its_tool(world):
    def tool(**hints):
        return {
            "class": "CommandLineTool",
            "baseCommand": ["echo"],
            "arguments": ["$(runtime.cores)", "$(runtime.ram)"],
            "hints": hints,
            "inputs": [],
            "stdout": "o",
            "outputs": {"o": "stdout"},
        }

    own = tool(ResourceRequirement={"coresMin": 3})
    hint = {"ResourceRequirement": {"coresMin": 2, "ramMin": 300}}
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "hints": {"ResourceRequirement": {"coresMin": 4}},
        "inputs": [],
        "outputs": {name: {"type": "File", "outputSource": f"{name}/o"} for name in "abc"},
        "steps": {
            "a": {"run": tool(), "hints": hint, "in": [], "out": ["o"]},
            "b": {"run": own, "hints": hint, "in": [], "out": ["o"]},
            "c": {"run": tool(), "in": [], "out": ["o"]},
        },
    }
    world.write("wf.cwl", json.dumps(workflow))
    outputs = world.run().outputs
    assert {n: Path(outputs[n]["path"]).read_text() for n in "abc"} == {"a": "2 300\n", "b": "3 256\n", "c": "4 256\n"}


def test_fields_of_records_that_are_not_given_are_null(world):
    """As with the reference runner: in records, in arrays of them, and in records of records."""
    sample = {"type": "record", "name": "sample", "fields": {"name": "string", "group": "string?", "n": "int?"}}
    fields = {"sample": {"type": sample | {"name": "inner"}}, "note": "string?"}
    record = {"type": "record", "name": "outer", "fields": fields}
    show = {"class": "ExpressionTool", "inputs": {"x": "Any", "g": "Any?"}, "outputs": {"o": "Any"}}
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": {
            "InlineJavascriptRequirement": {},
            "StepInputExpressionRequirement": {},
            "ScatterFeatureRequirement": {},
        },
        "inputs": {
            "one": {"type": sample},
            "many": {"type": {"type": "array", "items": sample | {"name": "one_of_many"}}},
            "deep": {"type": ["null", record]},
        },
        "outputs": {n: {"type": "Any", "outputSource": f"{n}_/o"} for n in ("one", "many", "deep")},
        "steps": {
            f"{n}_": {
                "run": show | {"expression": "$({o: [inputs.x, inputs.g]})"},
                "in": {"x": n, "g": {"source": n, "valueFrom": field}},
                "out": ["o"],
            }
            | ({"scatter": ["x", "g"], "scatterMethod": "dotproduct"} if n == "many" else {})
            for n, field in (("one", "$(self.group)"), ("many", "$(self.group)"), ("deep", "$(self.sample.group)"))
        },
    }
    world.write("wf.cwl", json.dumps(workflow))
    world.inputs(one={"name": "a"}, many=[{"name": "b"}, {"name": "c", "group": "G"}], deep={"sample": {"name": "d"}})

    def whole(name, group=None):
        return {"name": name, "group": group, "n": None}

    assert world.run().outputs == {
        "one": [whole("a"), None],
        "many": [[whole("b"), None], [whole("c", "G"), "G"]],
        "deep": [{"sample": whole("d"), "note": None}, None],
    }


def test_streamflow_is_left_alone_where_it_is_right_by_itself(monkeypatch):
    """A second time nothing is wrong any more, so nothing is touched."""
    for name in mends._MENDS:
        mend = __import__(f"{mends.__name__}.{name}", fromlist=["MEND"]).MEND
        assert not mend.is_needed(), mend.what
        monkeypatch.setattr(type(mend), "apply", None, raising=False)
    mend_streamflow()


def test_what_the_reference_runner_does_with_what_cwl_leaves_open():
    def words(type_, binding, value):
        given = [{"name": "x", "type": type_, "inputBinding": binding}]
        return [w.text for w in command_line([], given, {"x": value}, lambda expression, _: expression)]

    strings = {"type": "array", "items": "string"}
    assert words(strings, {"prefix": "-p"}, []) == []
    assert words(strings, {"prefix": "-p", "itemSeparator": ","}, []) == []
    assert words(["null", "boolean"], {"prefix": "-p"}, False) == []
    assert words("boolean", {}, True) == []
    assert words("double", {}, 1.0) == ["1.0"]


def test_a_plus_in_a_path_is_a_plus(world):
    world.write("a+b.cwl", json.dumps({**TOOL, "inputs": {"x": "string"}}))
    world.inputs(x="y")
    (world.folder / "inputs.json").rename(world.folder / "in+puts.json")
    world.config["workflows"]["wf"]["config"] = {"file": "a+b.cwl", "settings": "in+puts.json"}
    assert Path(world.run().outputs["o"]["path"]).read_text() == "y\n"


def test_a_database_that_can_t_be_made_is_told_in_a_line(world):
    world.write("file", "")
    world.write("wf.cwl", json.dumps(TOOL))
    world.config["database"] = {"type": "default", "config": {"connection": str(world.folder / "file" / "sqlite.db")}}
    result = world.run()
    assert result.code == 1
    assert "StreamFlow's database can't be made" in result.err
    assert "Traceback" not in result.err
