"""`fluxop run`, and what `fluxop status`, `runs` and `report` say of real runs."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from streamflow_fluxop.events.reading import newest_log, read_events

FLUXOP = str(Path(sys.executable).parent / "fluxop")

WORKFLOW = """\
    cwlVersion: v1.2
    class: Workflow
    inputs: []
    outputs: {{out: {{type: File, outputSource: second/out}}}}
    steps:
      first:
        run: &tool
          class: CommandLineTool
          baseCommand: [sh, -c, 'echo one']
          stdout: out.txt
          inputs: []
          outputs: {{out: {{type: stdout}}}}
        in: []
        out: [out]
      second:
        run:
          class: CommandLineTool
          baseCommand: [sh, -c, '{script}']
          stdout: out.txt
          inputs: {{file: File}}
          outputs: {{out: {{type: stdout}}}}
        in: {{file: first/out}}
        out: [out]
""".replace("&tool", "")


@pytest.fixture(autouse=True)
def _runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FLUXOP_RUNS", str(tmp_path / "runs"))


def start(world, script, **streams):
    world.write("wf.cwl", WORKFLOW.format(script=script))
    world.write("streamflow.yml", json.dumps(world.config))
    return subprocess.Popen(
        [FLUXOP, "run", "--outdir", "out", "streamflow.yml"],
        cwd=world.folder,
        env={**os.environ, "FLUXOP_TEST_TOKEN": world.token, "TERM": "xterm"},
        start_new_session=True,
        **streams,
    )


def in_terminal(world, script, on_text=None):
    """Exit code, and all that a terminal of 80 columns was sent; `on_text(text so far, process)` may act meanwhile."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    process = start(world, script, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    text, deadline = b"", time.monotonic() + 120
    while True:
        if not select.select([master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            process.kill()
            raise AssertionError(f"it hangs, after: {text.decode(errors='replace')}")
        try:
            text += os.read(master, 65536)
        except OSError:  # Linux says EIO when the last one has closed the other side
            break
        if on_text and on_text(text.decode(errors="replace"), process):
            on_text = None
    os.close(master)
    return process.wait(timeout=30), text.decode(errors="replace")


def fluxop(*arguments, code=0):
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    result = subprocess.run([FLUXOP, *map(str, arguments)], capture_output=True, text=True, timeout=60, env=environment)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_in_a_terminal_the_run_is_shown_below_its_log_lines(world):
    shown = world.folder / "shown"
    waits = f"n=0; while [ ! -e {shown} ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done; echo two"

    def look(text, process):
        if re.search(r"1 running .*1 done", text):
            shown.touch()
            return True
        return False

    code, text = in_terminal(world, waits, look)
    assert code == 0, text
    assert "BRINGING UP MiniCluster cpu" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert re.search(r"jobs  0 queued  1 running  1 done", plain), "while it runs"
    assert re.search(r"jobs  0 queued  0 running  2 done", plain), "at its end"
    assert "succeeded" in plain
    for code in re.findall(r"\x1b\[([0-9;]*)m", text):
        assert not {"38", "48"} & set(code.split(";")), "more than 16 colours"
    assert '"basename": "out.txt"' in plain
    assert newest_log().stem in plain


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "required: STREAMFLOW_FILE"),
        (["--nope", "streamflow.yml"], "unrecognized arguments: --nope"),
        (["--outdir", __file__, "streamflow.yml"], f"{__file__} is no directory"),
    ],
)
def test_a_wrong_command_line_is_told_before_anything_starts(arguments, told):
    printed = fluxop("run", *arguments, code=2)
    assert told in printed
    assert "Traceback" not in printed


def test_without_a_terminal_it_is_streamflow_run(world):
    process = start(world, "exit 3", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "FAILED" in err
    assert "\x1b" not in out + err
    assert "What went wrong" in (report := fluxop("report"))
    assert "step /second: exit code 3" in report
    assert "failed after" in report


def test_ctrl_c_takes_everything_down_and_the_log_says_so(world):
    def interrupt(text, process):
        if re.search(r"1 running .*1 done", text):
            process.send_signal(signal.SIGINT)
            return True
        return False

    code, text = in_terminal(world, "sleep 600", interrupt)
    assert code == -signal.SIGINT, text
    assert world.left_over() == []
    events = list(read_events(newest_log()))
    assert events[-1].exit_code == 130
    assert [e.event for e in events].count("minicluster-asked") == [e.event for e in events].count("minicluster-gone")
    assert "interrupted by Ctrl-C" in fluxop("report")


def test_another_terminal_sees_a_run_and_what_is_left_when_its_controller_is_killed(world):
    process = start(
        world, f"touch {world.folder}/started; sleep 600", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not (world.folder / "started").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    text = fluxop("status")
    assert "running" in text
    assert "1 running  1 done" in text
    process.kill()
    process.wait()
    text = fluxop("status", code=1)
    assert "died" in text
    assert "It left MiniClusters of fleet: cpu-1 (up)" in text
    assert "1 of 2 jobs were not over" in text
    assert re.search(r"\d{8}-\d{6}-[0-9a-f]{4} +\S+ \S+ +died", fluxop("runs"))


def test_a_real_run_is_reported(world):
    process = start(world, "echo two", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.wait(timeout=60) == 0
    paths = [world.folder / f"report{ending}" for ending in (".json", ".html", ".svg", ".png")]
    text = fluxop("report", *(part for path in paths for part in ("-o", path)))
    assert "succeeded after" in text
    report = json.loads(paths[0].read_text())
    (fleet,) = report["fleets"]
    assert report["outcome"] == "succeeded"
    assert {s["name"]: s["actual"]["done"] for s in fleet["steps"]} == {"/first": 1, "/second": 1}
    assert fleet["actual"]["cost"] > 0
    assert "/second" in paths[1].read_text()
    assert paths[2].read_text().startswith("<?xml")
    assert paths[3].read_bytes().startswith(b"\x89PNG")
