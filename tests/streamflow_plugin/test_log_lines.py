"""What the log of `streamflow run` says of jobs, and when."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime

import pytest

from streamflow_fluxop.model import Duration
from streamflow_fluxop.streamflow_plugin import overrun
from streamflow_fluxop.streamflow_plugin.overrun import Overrun

ONE_AFTER_THE_OTHER = """
    cwlVersion: v1.2
    class: Workflow
    requirements: {ScatterFeatureRequirement: {}}
    inputs: {names: "string[]"}
    outputs: {}
    steps:
      nap:
        in: {name: names}
        scatter: name
        out: []
        run:
          class: CommandLineTool
          baseCommand: [sleep, "1.5"]
          requirements: {ResourceRequirement: {coresMin: 4}}
          hints: {ToolTimeLimit: {timelimit: 60}}
          inputs: {name: string}
          outputs: []
"""


def times(result, pattern: str) -> list[datetime]:
    said = result.said(rf"(\d+-\d+-\d+ \d+:\d+:\d+[.,]\d+)[^\n]*{pattern}")
    return sorted(datetime.fromisoformat(time.replace(",", ".")) for time in said)


def test_a_job_is_said_to_execute_when_it_does(world):
    world.write("wf.cwl", ONE_AFTER_THE_OTHER)
    world.inputs(names=["a", "b"])
    world.fleet["limits"] = {"nodes": 1}
    world.fleet["flavours"] = {"cpu": {"cores": 4, "memory": 8192, "bring_up": 1, "tear_down": 1}}
    result = world.run()
    assert result.code == 0, result.err
    executing = times(result, "EXECUTING step /nap")
    assert len(executing) == 2, result.err
    assert (executing[1] - executing[0]).total_seconds() >= 1.4, "the second one waits for the first one's node"


def test_a_job_that_never_executes_is_not_said_to(world):
    world.write("wf.cwl", ONE_AFTER_THE_OTHER)
    world.inputs(names=["a"])
    world.fleet["bring_up_timeout"] = 0.001
    result = world.run()
    assert result.code != 0
    assert "could not be brought up" in result.err
    assert "EXECUTING step" not in result.err


async def test_a_job_that_runs_far_beyond_what_was_expected_is_said_to_ever_more_seldom(monkeypatch, caplog):
    monkeypatch.setattr(overrun, "far_beyond", lambda expected: 4 * expected.seconds)
    watch = Overrun("/s/0", Duration(seconds=0.02))
    watch.start()
    await asyncio.sleep(0.5)
    watch.stop()
    said = len(caplog.messages)
    assert 2 <= said <= 3, "after 0.08, 0.16 and 0.32 s"
    assert re.fullmatch(r"LONG job /s/0 has run for .*, and 0\.02 s were expected", caplog.messages[0])
    await asyncio.sleep(0.5)
    assert len(caplog.messages) == said


@pytest.mark.parametrize("seconds", [0.0, 20.0])
async def test_nothing_is_said_of_a_job_that_is_a_little_late(seconds, caplog):
    watch = Overrun("/s/0", Duration(seconds=seconds))
    watch.start()
    await asyncio.sleep(0.05)
    watch.stop()
    assert caplog.messages == []
