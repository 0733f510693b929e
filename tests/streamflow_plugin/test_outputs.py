"""What a job says of its outputs takes nothing out of its place, hangs nobody, and is refused in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamflow.core.exception import WorkflowExecutionException

from streamflow_fluxop.streamflow_plugin.internals.mends.outputs import MEND, SIZE_MAX, read_output_object
from streamflow_fluxop.streamflow_plugin.shared_files import leads_out, never_ends

FILE = {"class": "File", "path": "f"}
STREAMFLOW = str(Path(sys.executable).parent / "streamflow")


def run(folder: Path, script: str, out: dict[str, Any], *, here: bool = True) -> str:
    """Run one job, which must fail in words; gives them."""
    tool = {"class": "CommandLineTool", "baseCommand": ["sh", "-c", script], "inputs": {}, "outputs": {"o": out}}
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": {"InlineJavascriptRequirement": {}},
        "inputs": {},
        "outputs": {"o": {"type": out["type"], "outputSource": "s/o"}},
        "steps": {"s": {"run": tool, "in": {}, "out": ["o"]}},
    }
    (folder / "wf.cwl").write_text(json.dumps(workflow))
    fleet = {
        "cluster": "local",
        "scheduler": "embedded",
        "flavours": {"n": {"cores": 1, "memory": 1000}},
        "storage": {"controller": here},
    }
    binding = {"step": "/", "target": {"deployment": "f"}}
    file = {
        "version": "v1.0",
        "workflows": {"w": {"type": "cwl", "config": {"file": "wf.cwl"}, "bindings": [binding]}},
        "deployments": {"f": {"type": "minicluster", "workdir": str(folder / "work"), "config": fleet}},
        "database": {"type": "default", "config": {"connection": ":memory:"}},
    }
    (folder / "streamflow.yml").write_text(json.dumps(file))
    done = subprocess.run(
        [STREAMFLOW, "run", "--outdir", str(folder / "a/b/out"), "streamflow.yml"],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    assert "FAILED Workflow execution" in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("script", "out"),
    [
        (
            f"echo x >f; echo '{json.dumps({'o': {**FILE, 'basename': '../../evil'}})}' >cwl.output.json",
            {"type": "Any"},
        ),
        (
            "echo x >f",
            {
                "type": "File",
                "outputBinding": {"glob": "f", "outputEval": "${self[0].basename='../../evil'; return self[0]}"},
            },
        ),
    ],
    ids=["cwl.output.json", "an expression"],
)
def test_no_job_writes_beside_the_output_folder(tmp_path: Path, script: str, out: dict[str, Any]) -> None:
    assert "'../../evil' as `basename` of an output is no file's name" in run(tmp_path, script, out)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("here", [True, False], ids=["files here", "files behind the agent"])
def test_a_link_in_a_directory_that_leads_up_is_not_followed(tmp_path: Path, here: bool) -> None:
    out = {"type": "Directory", "outputBinding": {"glob": "d"}}
    assert "a link in it leads back to" in run(tmp_path, "mkdir d; ln -s ../../.. d/up", out, here=here)
    assert not list((tmp_path / "a").rglob("up"))


def test_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    assert "cwl.output.json: it is no regular file" in run(tmp_path, "mkfifo cwl.output.json", {"type": "Any"})


WRONG = {
    "deep": ('{"o":' + "[" * 100_000 + "]" * 100_000 + "}", "more than 64"),
    "deep enough for json": ('{"o":' + "[" * 300 + "]" * 300 + "}", "more than 64"),
    "a thousand digits": ('{"o":' + "9" * 1000 + "}", "1000 digits"),
    "no number": ('{"o":NaN}', "NaN is no number"),
    "an infinity": ('{"o":1e999}', "too large"),
    "no JSON": ('{"o":', "Expecting value"),
    "too much": ('{"o":"' + "x" * SIZE_MAX, "more than 16 MiB"),
    "the web": (json.dumps({"o": [{"class": "File", "location": "http://169.254.169.254/x"}]}), "no file of the job's"),
    "ftp": (json.dumps({"o": {"a": {"class": "Directory", "location": "ftp://x/y"}}}), "no file of the job's"),
    "a name above": (json.dumps({"o": {**FILE, "secondaryFiles": [{**FILE, "basename": ".."}]}}), "is no file's name"),
    "a path": (json.dumps({"o": {**FILE, "basename": "/etc/cron.d/x"}}), "is no file's name"),
    "no name": (json.dumps({"o": {**FILE, "basename": ["x"]}}), "is no file's name"),
    "in a listing": (
        json.dumps({"o": {"class": "Directory", "basename": "d", "listing": [{**FILE, "basename": "a/b"}]}}),
        "is no file's name",
    ),
    "no path": (json.dumps({"o": {"class": "File", "path": 7}}), "is no path"),
    "controls": ('{"\x1b[2J"', r"Invalid control character|Expecting"),
}


@pytest.mark.parametrize(("text", "why"), WRONG.values(), ids=WRONG)
def test_what_no_job_has_to_say_is_refused_in_words(text: str, why: str) -> None:
    with pytest.raises(WorkflowExecutionException, match=why) as error:
        read_output_object(text)
    assert len(str(error.value)) < 500
    assert str(error.value).isprintable()


def test_what_jobs_say_is_read_as_it_is() -> None:
    value = {"o": [{**FILE, "basename": "-rf $(id)\n"}, {"class": "File", "location": "file:///w/a"}, 1e30, 12, None]}
    assert read_output_object(json.dumps(value)) == value


@given(text=st.text(alphabet='{}[]":,0123456789.eE+-ntrufalsINy\\/ classFilepathbasename', max_size=80))
def test_any_text_is_an_object_or_refused_in_words(text: str) -> None:
    try:
        read_output_object(text)
    except WorkflowExecutionException as error:
        assert str(error).startswith("the job's cwl.output.json: ")  # noqa: PT017 - anything else that is raised fails


def test_the_mend_is_not_needed_twice() -> None:
    from streamflow_fluxop.streamflow_plugin.internals.mends import mend_streamflow

    mend_streamflow()
    assert not MEND.is_needed()


def test_links_of_jobs_lead_to_no_file_of_the_controller_s(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "job/d/e").mkdir(parents=True)
    (shared / "job/f").touch()
    (shared / "job/in").symlink_to("f")
    (shared / "job/d/also").symlink_to("../f")
    assert leads_out(f"{shared}/job/in", str(shared)) is None
    assert leads_out(f"{shared}/job/d", str(shared)) is None
    assert leads_out("/etc/passwd", str(shared)) == "/etc/passwd"
    (shared / "job/out").symlink_to("/etc/passwd")
    assert leads_out(f"{shared}/job/out", str(shared)) == "/etc/passwd"
    (shared / "job/d/e/up").symlink_to("../../../..")
    assert str(tmp_path) in (leads_out(f"{shared}/job/d", str(shared)) or "")


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/loop").symlink_to(".")
    (tmp_path / "a/self").symlink_to("self")
    started = time.monotonic()
    assert leads_out(f"{tmp_path}/a", str(tmp_path)) is None
    assert time.monotonic() - started < 5


def test_links_that_make_endless_copies_are_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop/again").symlink_to(".")
    assert "leads back" in (never_ends(f"{tmp_path}/loop") or "")
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").symlink_to(f"../{other}")
    assert "leads back" in (never_ends(f"{tmp_path}/a") or "")
    for number in range(40):  # two links each to the next: 2^40 files
        folder = tmp_path / "bomb" / f"{number}"
        folder.mkdir(parents=True)
        for link in ("l", "r"):
            (folder / link).symlink_to(f"../{number + 1}")
    started = time.monotonic()
    assert "more than 1000000 files" in (never_ends(f"{tmp_path}/bomb") or "")
    assert time.monotonic() - started < 5


def test_links_among_the_files_of_a_directory_are_fine(tmp_path: Path) -> None:
    (tmp_path / "env/lib/python3.11").mkdir(parents=True)
    (tmp_path / "env/lib64").symlink_to("lib")
    (tmp_path / "env/lib/python3").symlink_to("python3.11")
    (tmp_path / "env/lib/nothing").symlink_to("nowhere")
    (tmp_path / "env/lib/self").symlink_to("self")
    deep = tmp_path / "env"
    for _ in range(300):
        deep = deep / "d"
        deep.mkdir()
    assert never_ends(f"{tmp_path}/env") is None
