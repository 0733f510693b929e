"""Small worlds: a folder with a StreamFlow file, a problem document, and `fluxop` to run in it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamflow_fluxop.cli import app

WORKFLOW = """\
    cwlVersion: v1.2
    class: Workflow
    inputs: {names: "string[]"}
    outputs: []
    requirements: {ScatterFeatureRequirement: {}}
    steps:
      fetch:
        run: fetch.cwl
        scatter: name
        in: {name: names}
        out: [file]
      train:
        run: train.cwl
        in: {files: fetch/file}
        out: []
    """
FETCH = """\
    cwlVersion: v1.2
    class: CommandLineTool
    $namespaces: {fluxop: "urn:fluxop:"}
    hints:
      fluxop:FluxRequirement: {duration: 100}
    requirements:
      ResourceRequirement:
        coresMin: 2
    baseCommand: "true"
    inputs: {name: string}
    outputs: {file: stdout}
    """
TRAIN = """\
    cwlVersion: v1.2
    class: CommandLineTool
    baseCommand: "true"
    inputs: {files: "File[]"}
    outputs: []
    """
STREAMFLOW = """\
    version: v1.0
    workflows:
      wf:
        type: cwl
        config: {file: wf.cwl, settings: inputs.yml}
        bindings:
          - step: /
            target: {deployment: fleet}
    deployments:
      fleet:
        type: minicluster
        config:
          cluster: local
          flavours:
            cpu: {cores: 4, memory: 8192, price: 36, bring_up: 20, tear_down: 10}
          limits: {nodes: 4}
    """

ARTICLE = {
    "workflow": {
        "name": "article",
        "steps": [
            {"name": "preprocess", "width": 2, "needs": {"cores_per_task": 4}, "duration": {"seconds": 600}},
            {
                "name": "analysis",
                "width": 2,
                "needs": {"gpus_per_task": 1},
                "duration": {"seconds": 1200},
                "after": [{"step": "preprocess", "each": True}],
            },
            {"name": "drawing", "duration": {"seconds": 300}, "after": [{"step": "analysis"}]},
        ],
    },
    "flavours": {
        "cpu": {"cores": 4, "memory": 16384, "price": 3600, "bring_up": 120, "tear_down": 60},
        "gpu": {"cores": 4, "memory": 16384, "gpus": 1, "price": 28800, "bring_up": 120, "tear_down": 60},
    },
    "limits": {"nodes": 4},
}


class World:
    """A folder that `fluxop` is run in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: str | dict) -> Path:
        path = self.folder / name
        path.write_text(json.dumps(content, indent=1) if isinstance(content, dict) else textwrap.dedent(content))
        return path

    def fluxop(self, *arguments: str) -> Result:
        done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        return Result(done.exit_code, done.stdout, done.stderr)

    def plan(self, *arguments: str) -> Result:
        """`fluxop plan` with as little search as it takes."""
        return self.fluxop("plan", "--no-history", "--time-limit", "0.2", *arguments)


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def headline(self) -> str:
        assert self.code == 0, self.err
        return self.out.splitlines()[0]

    def row(self, start: str) -> str:
        """The first line that begins with `start`, its spaces made single."""
        lines = [" ".join(line.split()) for line in self.out.splitlines()]
        found = [line for line in lines if line.startswith(start)]
        assert found, f"no line begins with {start!r}:\n{self.out}{self.err}"
        return found[0]


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COLUMNS", raising=False)
    world = World(tmp_path)
    world.write("wf.cwl", WORKFLOW)
    world.write("fetch.cwl", FETCH)
    world.write("train.cwl", TRAIN)
    world.write("inputs.yml", "names: [a, b, c, d]\n")
    world.write("streamflow.yml", STREAMFLOW)
    world.write("article.json", ARTICLE)
    return world
