"""Tools with all kinds of bindings, values for them, and the words that cwltool makes of them, and we."""

from __future__ import annotations

import base64
import copy
import itertools
import json
import re
import shlex
from pathlib import Path
from typing import Any

from cwl_utils.parser import load_document_by_uri
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.load_tool import load_tool
from cwltool.workflow import default_make_tool
from hypothesis import reject
from hypothesis import strategies as st
from ruamel.yaml.comments import CommentedMap
from schema_salad.avro.schema import SchemaParseException
from streamflow.core.workflow import Token
from streamflow.cwl import translator, utils
from streamflow.workflow.token import ListToken, ObjectToken

from streamflow_fluxop.streamflow_plugin.connector import arguments

AWKWARD = [
    "", " ", "x y", "a  b", "'", '"', "it's", "$HOME", "$(inputs.a)", "${return 1}", "`id`", "a;b", "a && b", "a|b",
    ">f", "*", "?", "[a-z]*", "~", "-n", "--", "\\", "\\n", "a\nb", "\n", "\t", "é", "漢字", "#x", "!", "%s", "{a,b}",
    "null", "1", "true", "=", "a=b", "(", "&", "\\$(x)",
]  # fmt: skip

texts = st.sampled_from(AWKWARD) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
prefixes = st.sampled_from(["-p", "--long=", "-x y", "$P", "'"])
separators = st.sampled_from([",", " ", ";", "' '", "\n"])
_names = itertools.count()


def bindings(shell: bool, expressions: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    """An inputBinding."""
    optional: dict[str, st.SearchStrategy[Any]] = {
        "position": st.integers(-3, 3) | st.just("$(1 + 1)"),
        "prefix": prefixes,
        "itemSeparator": separators,
    }
    if shell:
        optional["shellQuote"] = st.booleans()
    if expressions:
        optional["valueFrom"] = st.sampled_from(
            [
                "$(self)",
                "a b",
                "$('<' + typeof self + '>')",
                "${return ['a b', 1, 'c']}",
                "$(null)",
                "$(true)",
                "${return {a: 1}}",
                "é $(1)",
            ]
        )
    return st.fixed_dictionaries({}, optional=optional).flatmap(
        lambda b: st.booleans().map(lambda s: {**b, "separate": s} if "prefix" in b else b)
    )


def bound(shell: bool, type_: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A type, an input or a field, with or without a binding."""
    return st.just(type_) | bindings(shell).map(lambda b: {**type_, "inputBinding": b})


@st.composite
def typed_values(draw: st.DrawFn, shell: bool, depth: int = 2) -> tuple[Any, Any]:
    """A type, and a value of it."""
    kinds = ["string", "string", "int", "double", "boolean", "enum", "File", "Any"]
    if depth:
        kinds += ["array", "array", "array", "record", "union"]
    kind = draw(st.sampled_from(kinds))
    match kind:
        case "string":
            return kind, draw(texts)
        case "int":
            return kind, draw(st.integers(-(2**31), 2**31 - 1))
        case "double":
            return kind, draw(st.sampled_from([0.5, 1.0, -2.25, 100000.0, 3]))
        case "boolean":
            return kind, draw(st.booleans())
        case "enum":
            symbol = draw(st.sampled_from(["one", "two"]))
            return draw(bound(shell, {"type": "enum", "symbols": ["one", "two"]})), symbol
        case "File":
            return kind, {
                "class": "File",
                "basename": draw(st.sampled_from(["a b.txt", "it's", "x;y"])),
                "contents": "",
            }
        case "Any":
            return kind, draw(texts | st.integers(0, 9) | st.booleans() | st.lists(texts, max_size=2))
        case "union":
            type_, value = draw(typed_values(shell, depth - 1))
            others = draw(st.lists(st.sampled_from(["null", "int", "string", "File"]), max_size=2, unique=True))
            types = type_ if isinstance(type_, list) else [type_]
            types = [*types, *(o for o in others if o not in types)]
            return types, draw(st.none() | st.just(value)) if "null" in types else value
        case "array":
            type_, value = draw(typed_values(shell, depth - 1))
            values = [value]
            if type_ == "string":
                values = draw(st.lists(texts, max_size=4))
            elif draw(st.booleans()):
                values = [value] * draw(st.integers(0, 3))
            return draw(bound(shell, {"type": "array", "items": type_})), values
    fields = {}
    values = {}
    for name in draw(st.lists(st.sampled_from(["f", "g", "h"]), min_size=1, max_size=3, unique=True)):
        type_, values[name] = draw(typed_values(shell, depth - 1))
        fields[name] = draw(bound(shell, {"type": type_}))
    record = {"type": "record", "name": f"r{next(_names)}", "fields": [{"name": n, **f} for n, f in fields.items()]}
    return draw(bound(shell, record)), values


@st.composite
def tools(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A tool, and values of its inputs."""
    shell = draw(st.booleans())
    inputs, values = {}, {}
    for name in draw(st.lists(st.sampled_from(["a", "b", "c", "A1"]), min_size=1, max_size=3, unique=True)):
        type_, values[name] = draw(typed_values(shell))
        inputs[name] = draw(bound(shell, {"type": type_}))
    argument = st.sampled_from(["lit", "a b", "$(1)", "x$('y z')", "", "$(inputs.a)"][: 6 if "a" in inputs else 5])
    argument |= bindings(shell, False).flatmap(lambda b: texts_of_arguments.map(lambda v: {**b, "valueFrom": v}))
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "baseCommand": draw(st.sampled_from(["run", ["run", "x y"], []])),
        "arguments": draw(st.lists(argument, max_size=2)),
        "requirements": {"InlineJavascriptRequirement": {}, **({"ShellCommandRequirement": {}} if shell else {})},
        "inputs": inputs,
        "outputs": {},
    }
    return tool, values


texts_of_arguments = st.sampled_from(
    ["lit", "a b", "$(2)", "$('it is')", "${return ['p q', 'r']}", "$(null)", "$(true)"]
)


def reference_words(tool: dict[str, Any], values: dict[str, Any], folder: Path) -> list[str]:
    """What cwltool would execute, folders of Files left out."""
    loading = LoadingContext(
        {"construct_tool_object": default_make_tool, "do_validate": False, "relax_path_checks": True}
    )
    runtime = RuntimeContext({"basedir": str(folder), "use_container": False, "outdir": str(folder)})
    try:
        process = load_tool(_written(tool, folder).as_uri(), loading)
        job = next(process.job(CommentedMap(copy.deepcopy(values)), lambda *_: None, runtime))
    except SchemaParseException:  # cwltool takes an enum without a name in a union for one that is there twice
        reject()
    return [re.sub(re.escape(job.builder.stagedir) + "/[^/]*/", "/", word) for word in job.command_line]


def our_words(tool: dict[str, Any], values: dict[str, Any], folder: Path) -> list[str]:
    """What StreamFlow, mended, has us execute, folders of Files left out."""
    cwl = load_document_by_uri(_written(tool, folder).as_uri())
    kinds = {r.class_: r for r in cwl.requirements}
    command = translator._create_command(cwl, "/", {}, {"hints": {}, "requirements": kinds}, None)
    command.full_js, command.expression_lib = True, []
    tokens = {name: _token(values[name]) for name in tool["inputs"]}
    words = command._get_executable_command(utils.build_context(inputs=tokens), tokens)
    if command.is_shell_command:  # as `CWLCommand.execute` does
        script = base64.b64encode(" ".join(words).encode()).decode()
        words = ["/bin/sh", "-c", f'"$(echo {script} | base64 -d)"']
    return list(arguments(words))


def _written(tool: dict[str, Any], folder: Path) -> Path:
    path = folder / "tool.cwl"
    path.write_text(json.dumps(tool))
    return path


def _token(value: Any) -> Token:
    if isinstance(value, list):
        return ListToken([_token(v) for v in value])
    if isinstance(value, dict) and value.get("class") == "File":
        return Token({**value, "path": f"/{value['basename']}"})
    if isinstance(value, dict):
        return ObjectToken({k: _token(v) for k, v in value.items()})
    return Token(value)


__all__ = ["our_words", "reference_words", "shlex", "tools"]
