"""Small worlds: a folder with a CWL workflow and a StreamFlow file, run by the real `streamflow`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import pytest

FLAVOURS = {
    "cpu": {"cores": 4, "memory": 8192, "price": 1.0, "bring_up": 1, "tear_down": 1},
    "gpu": {"cores": 8, "memory": 32768, "gpus": 2, "price": 8.0, "bring_up": 1, "tear_down": 1},
}


class World:
    """A folder with a StreamFlow file, and the processes that run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = uuid.uuid4().hex
        self.config = {
            "version": "v1.0",
            "workflows": {
                "wf": {
                    "type": "cwl",
                    "config": {"file": "wf.cwl"},
                    "bindings": [{"step": "/", "target": {"deployment": "fleet"}}],
                }
            },
            "deployments": {
                "fleet": {
                    "type": "minicluster",
                    "config": {"cluster": "local", "flavours": FLAVOURS, "containers": "none"},
                    "workdir": str(folder / "work"),
                }
            },
            "database": {"type": "default", "config": {"connection": ":memory:"}},
        }
        self.fleet = self.config["deployments"]["fleet"]["config"]

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def inputs(self, **values) -> None:
        self.write("inputs.json", json.dumps(values))
        self.config["workflows"]["wf"]["config"]["settings"] = "inputs.json"

    def start(self, *options: str) -> subprocess.Popen:
        """`streamflow run`, with a mark in its environment that everything it starts inherits."""
        self.write("streamflow.yml", json.dumps(self.config, indent=2))
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "streamflow"), "run", *options, "--outdir", "out", "streamflow.yml"],
            cwd=self.folder,
            env={**os.environ, "FLUXOP_TEST_TOKEN": self.token},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *options: str, timeout: float = 60) -> Result:
        process = self.start(*options)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"streamflow still ran after {timeout} s:\n{err[-4000:]}")
        assert self.left_over() == [], "processes are left behind"
        return Result(process.returncode, out, err)

    def logs(self) -> list[Path]:
        """The event logs of its runs, the oldest first."""
        return sorted(Path(os.environ["FLUXOP_RUNS"]).glob("*.jsonl"))

    def left_over(self, patience: float = 5.0) -> list[str]:
        """The command lines of processes that this world started and that are still there after `patience` seconds."""
        end = time.monotonic() + patience
        while (found := self._marked()) and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def _marked(self) -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if self.token.encode() in (entry / "environ").read_bytes():
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if command:  # a zombie has none
                        found.append(command)
            except OSError:
                continue  # it has ended meanwhile
        return found


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def outputs(self):
        assert self.code == 0, self.err[-6000:]
        return json.loads(self.out[self.out.index("{") :])

    def said(self, pattern: str) -> list[str]:
        return re.findall(pattern, self.err)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    assert world.left_over() == []
