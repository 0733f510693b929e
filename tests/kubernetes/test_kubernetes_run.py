"""`streamflow run` on MiniClusters in Kubernetes, as a user starts it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from namespaces import Namespace
from test_faults import SMALL, TEMPLATE

WORKFLOW = """cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs:
  numbers: {type: "int[]", default: [1, 2, 3, 4]}
outputs:
  sum: {type: File, outputSource: add/out}
steps:
  square:
    scatter: number
    in: {number: numbers}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo $(($0 * $0)); hostname >&2']
      inputs: {number: {type: int, inputBinding: {}}}
      outputs: {out: {type: stdout}}
  add:
    in: {files: square/out}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [awk, '{s += $1} END {print s}']
      inputs: {files: {type: "File[]", inputBinding: {}}}
      outputs: {out: {type: stdout}}
      stdout: sum.txt
"""


@dataclass
class Run:
    """What `streamflow run` did."""

    outputs: Path
    said: str
    events: list[dict[str, Any]]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]


def write_files(
    namespace: Namespace, volume: Path, folder: Path, *, target: dict[str, Any] | None = None, **fleet: Any
) -> None:
    """The workflow, and a StreamFlow file that runs it in pods which see `volume`."""
    (folder / "workflow.cwl").write_text(WORKFLOW)
    config = {
        "cluster": "kubernetes",
        "image": namespace.image,
        "flavours": {"small": SMALL},
        "limits": {"nodes": 2},
        "storage": {"controller": True},  # the nodes are this machine
        "kubernetes": {
            "flux": {"view_image": namespace.image, "disable": True},
            "volumes": {"work": {"claim": "shared", "path": str(volume), "shared": True}},
            "template": TEMPLATE,
        },
        **fleet,
    }
    workflow = {
        "type": "cwl",
        "config": {"file": "workflow.cwl"},
        "bindings": [{"step": "/", "target": {"deployment": "fleet", **(target or {})}}],
    }
    document = {
        "version": "v1.0",
        "workflows": {"main": workflow},
        "deployments": {"fleet": {"type": "minicluster", "config": config}},
    }
    (folder / "streamflow.yml").write_text(yaml.safe_dump(document))


async def start(namespace: Namespace, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("streamflow")), "run", "--outdir", "out", "streamflow.yml",
        cwd=folder,
        env={
            **os.environ,
            "HOME": str(folder),  # runs at the same time do not wait for each other's database
            "KUBECONFIG": str(namespace.kubeconfig),
            "FLUXOP_RUNS": str(folder / "runs"),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def run(namespace: Namespace, folder: Path) -> Run:
    process = await start(namespace, folder)
    said, _ = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0, said.decode()
    (log,) = (folder / "runs").glob("*.jsonl")
    return Run(folder / "out", said.decode(), [json.loads(line) for line in log.read_text().splitlines()])


async def test_a_workflow_runs_in_pods_and_leaves_nothing(
    namespace: Namespace, shared_volume: Path, tmp_path: Path
) -> None:
    write_files(namespace, shared_volume, tmp_path)
    done = await run(namespace, tmp_path)
    assert (done.outputs / "sum.txt").read_text() == "30\n"


async def test_with_lifetime_job_each_job_has_a_minicluster_of_its_own(
    namespace: Namespace, shared_volume: Path, tmp_path: Path
) -> None:
    groups = {"alone": {"flavour": "small", "size": 1, "lifetime": "job"}}
    write_files(namespace, shared_volume, tmp_path, target={"service": "alone"}, groups=groups)
    done = await run(namespace, tmp_path)
    assert (done.outputs / "sum.txt").read_text() == "30\n"
    objects = re.findall(r"MiniCluster alone-(\d) is (\S+) in namespace", done.said)
    assert len(set(objects)) == 5  # four squares, and their sum


async def test_ctrl_c_in_the_middle_leaves_nothing(namespace: Namespace, shared_volume: Path, tmp_path: Path) -> None:
    write_files(namespace, shared_volume, tmp_path)
    workflow = (tmp_path / "workflow.cwl").read_text().replace("echo $(($0 * $0));", "sleep 600;")
    (tmp_path / "workflow.cwl").write_text(workflow)
    process = await start(namespace, tmp_path)
    assert process.stdout is not None
    said = ""
    while "SUBMITTING job" not in said:
        line = (await asyncio.wait_for(process.stdout.readline(), 90)).decode()
        assert line, said
        said += line
    process.send_signal(signal.SIGINT)
    rest, _ = await asyncio.wait_for(process.communicate(), 60)
    said += rest.decode()
    assert process.returncode in (130, -signal.SIGINT), said
    assert "Traceback" not in said, said
