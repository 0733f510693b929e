"""What a user sees of a job that fails: how it ended, what it was, and where to look."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = """\
    cwlVersion: v1.2
    class: CommandLineTool
    baseCommand: [sh, -c]
    arguments: [{{valueFrom: '{command}', shellQuote: true}}]
    inputs: []
    outputs: {{}}
    {more}
"""


def report_of(result) -> str:
    (log,) = result.said(r"its events are in (\S+)")
    command = [str(Path(sys.executable).parent / "fluxop"), "report", log]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("command", "ended"),
    [
        ("exit 3", "exit code 3"),
        ("kill -9 $$", "exit code 137: killed by signal 9 (SIGKILL)"),
        ("kill -SEGV $$", "exit code 139: killed by signal 11 (SIGSEGV)"),
    ],
)
def test_a_job_that_fails_and_says_nothing_is_told_apart_from_others(world, command, ended):
    world.write("wf.cwl", TOOL.format(command=command, more=""))
    result = world.run()
    assert result.code == 1
    assert f"{ended}, in MiniCluster cpu-1" in result.err
    assert f"command: sh -c '{command}'" in result.err
    (directory,) = set(result.said(r"\tdirectory: (\S+)"))
    assert Path(directory).is_dir(), "that is where to look"
    assert f"{ended} (/0)" in report_of(result)


def test_the_report_has_the_last_line_that_a_failed_job_wrote(world):
    world.write("wf.cwl", TOOL.format(command='echo first >&2; printf "it is \\033[31mrotten" >&2; exit 4', more=""))
    result = world.run()
    assert "first\n" in result.err
    report = report_of(result)
    assert "exit code 4 (/0): it is [31mrotten" in report
    assert "\033" not in report


def test_a_job_that_fails_names_the_file_with_its_standard_error(world):
    world.write("wf.cwl", TOOL.format(command="echo rotten >&2; exit 4", more="stderr: errors.txt"))
    result = world.run()
    (file,) = set(result.said(r"\twhat it wrote: (\S+)"))
    assert Path(file).read_text() == "rotten\n"


def test_an_exit_code_that_a_tool_calls_success_is_no_failure(world):
    world.write("wf.cwl", TOOL.format(command="exit 3", more="successCodes: [3]"))
    result = world.run()
    assert result.code == 0, result.err
    assert "What went wrong" not in report_of(result)
    (log,) = result.said(r"its events are in (\S+)")
    (ended,) = (e for e in map(json.loads, Path(log).read_text().splitlines()) if e["event"] == "job-ended")
    assert (ended["exit_code"], ended["failed"]) == (3, False)
