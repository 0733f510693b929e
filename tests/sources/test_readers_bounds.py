"""Documents that somebody wrote to make their reader hang, fill the memory or show a traceback."""

import json
import os
import resource
import time

import pytest

from streamflow_fluxop.bounded import YAML_MOST, load_json, load_yaml, read_bytes
from streamflow_fluxop.cwl import read_streamflow_file, read_workflow
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.events.reading import read_events
from streamflow_fluxop.sources import read
from streamflow_fluxop.sources.own_documents import read_flavours, read_plan
from streamflow_fluxop.sources.yaml_files import load

LEVELS = "bcdefghij"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{before}'] * 9)}]\n" for before, this in zip("a" + LEVELS, LEVELS, strict=False)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{this}: &{this} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, this in zip("a" + LEVELS, LEVELS, strict=False)
)
HOSTILE = {
    "an alias bomb": (BOMB, "aliases stand for more than 100000 values"),
    "a bomb of merges": (MERGES, "aliases stand for more than 100000 values"),
    "a part of itself": ("a: &a {b: [*a]}", "'a' is part of itself"),
    "deep lists": ("[" * 100_000, "more than 64 (mappings|objects) and lists in each other"),
    "deep mappings": ("{a: " * 20_000, "more than 64 mappings and lists in each other"),
    "deep entries": ("- " * 50_000 + "x", "more than 64 mappings and lists in each other"),
    "a number": ("n: " + "9" * 1000, "a number of more than 308 digits"),
    "a hexadecimal number": ("n: 0x" + "f" * 1000, "a number of more than 308 digits"),
    "UTF-16": ("a: 1".encode("utf-16"), "no text in UTF-8"),
    "Latin-1": (b"a: \xe9", "no text in UTF-8"),
    "a program": ("!!python/object/apply:os.system [id]", "."),
}
READERS = {
    "a StreamFlow file": read_streamflow_file,
    "a workflow": lambda path: read(workflow=path, flavours=path),
    "flavours": read_flavours,
    "CWL": lambda path: read_workflow(str(path)),
    "inputs": lambda path: read_workflow(str(path.with_name("tool.cwl")), str(path)),
    "an import": lambda path: read_workflow(str(path.with_name("importing.cwl"))),
}
TOOL = {"cwlVersion": "v1.2", "class": "CommandLineTool", "baseCommand": "true", "inputs": [], "outputs": []}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tool.cwl").write_text(json.dumps(TOOL))
    types = {"class": "SchemaDefRequirement", "types": [{"$import": "x.yml"}]}
    (tmp_path / "importing.cwl").write_text(json.dumps({**TOOL, "requirements": [types]}))
    return tmp_path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_would_be_endless_is_refused_in_words_within_a_second(folder, kind, reader):
    content, words = HOSTILE[kind]
    path = folder / "x.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    started, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if reader == "a StreamFlow file" and kind == "a program":
        pytest.skip("a list is no StreamFlow file, and says so later")
    with pytest.raises(UserError, match=words):
        READERS[reader](path)
    assert time.process_time() - started < 3  # a second on a machine that is not busy with other tests
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 * 1024


def test_a_double_may_have_as_many_digits_as_there_are(folder):
    """As in the CWL conformance tests: `1000000000000000000000000000000000000000000`."""
    inputs = {"big": {"type": "double", "default": 10**307}, "small": {"type": "double", "default": -(10**42)}}
    (folder / "x.yml").write_text(json.dumps({**TOOL, "inputs": inputs}))
    assert READERS["CWL"](folder / "x.yml").steps


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["a pipe", "a device", "a directory"])
def test_only_regular_files_are_read(folder, kind, reader):
    path = folder / "x.yml"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(UserError, match=f"it is {kind}, no regular file"):
        READERS[reader](path)


@pytest.mark.parametrize("read_it", [read_plan, load, lambda path: list(read_events(path))])
@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"a":' * 50_000, '{"a": ' + "9" * 5000 + "}", '{"a": NaN}', '{"a": "\\ud800"}', "", "7", "\0"],
)
def test_json_that_no_tool_writes_is_refused_in_words(tmp_path, content, read_it):
    path = tmp_path / "x.json"
    path.write_text(content)
    try:
        found = read_it(path)
    except UserError:
        return
    assert found == [] or found.data == {"a": "\ud800"}  # a line without an end has not been written yet


def test_the_size_of_a_file_is_bounded_before_it_is_read(tmp_path):
    path = tmp_path / "x.yml"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match=r"x\.yml: is larger than the 16 MiB"):
        read_bytes(path, YAML_MOST)


def test_a_document_that_imports_itself_is_refused(folder):
    (folder / "x.yml").write_text("$import: x.yml")
    with pytest.raises(UserError, match="imports itself"):
        read_workflow(str(folder / "importing.cwl"))


def test_aliases_and_numbers_of_honest_documents_are_read():
    text = "a: &a {k: 1}\nb: {<<: *a, l: [*a, *a]}\nc: 0.1000000000000000055511151231257827021181583404541015625\n"
    text += f"checksum: {'0123456789abcdef' * 4}\nlong: '{'9' * 100}'"
    loaded = load_yaml(text)
    assert loaded["b"] == {"k": 1, "l": [{"k": 1}, {"k": 1}]}
    assert loaded["c"] == 0.1
    assert loaded["checksum"].startswith("0123")
    assert load_json(f'{{"text": "{"9" * 100}", "n": 12}}') == {"text": "9" * 100, "n": 12}


@pytest.mark.parametrize("place", ["run", "include", "import", "inputs", "document"])
def test_the_web_is_read_only_when_asked_for(folder, place, unused_tcp_port):
    uri = f"http://127.0.0.1:{unused_tcp_port}/x"
    path, inputs = folder / "main.cwl", None
    if place == "run":
        step = {"run": uri, "in": [], "out": []}
        path.write_text(
            json.dumps({**TOOL, "class": "Workflow", "steps": {"a": step}}).replace(', "baseCommand": "true"', "")
        )
    elif place == "include":
        library = {"class": "InlineJavascriptRequirement", "expressionLib": [{"$include": uri}]}
        path.write_text(json.dumps({**TOOL, "requirements": [library]}))
    elif place == "import":
        types = {"class": "SchemaDefRequirement", "types": [{"$import": uri}]}
        path.write_text(json.dumps({**TOOL, "requirements": [types]}))
    else:
        path.write_text(json.dumps(TOOL))
        inputs = uri if place == "inputs" else None
    file = uri if place == "document" else str(path)
    with pytest.raises(UserError, match="is on the web, where nothing is read unasked"):
        read_workflow(file, inputs)
    with pytest.raises(UserError, match="can't be read: ConnectionError"):
        read_workflow(file, inputs, web=True)
