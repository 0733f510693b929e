"""`streamflow run` on MiniClusters in Kubernetes, as a user starts it."""

from __future__ import annotations

import asyncio
import os
import sys
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


async def test_a_workflow_runs_in_pods_and_leaves_nothing(
    namespace: Namespace, shared_volume: Path, tmp_path: Path
) -> None:
    (tmp_path / "workflow.cwl").write_text(WORKFLOW)
    volumes = {"work": {"claim": "shared", "path": str(shared_volume), "shared": True}}
    kubernetes: dict[str, Any] = {"flux": {"view_image": namespace.image, "disable": True}, "volumes": volumes}
    fleet = {
        "cluster": "kubernetes",
        "image": namespace.image,
        "flavours": {"small": SMALL},
        "limits": {"nodes": 2},
        "storage": {"controller": True},  # the nodes are this machine
        "kubernetes": {**kubernetes, "template": TEMPLATE},
    }
    document = {
        "version": "v1.0",
        "workflows": {
            "main": {
                "type": "cwl",
                "config": {"file": "workflow.cwl"},
                "bindings": [{"step": "/", "target": {"deployment": "fleet"}}],
            }
        },
        "deployments": {"fleet": {"type": "minicluster", "config": fleet}},
    }
    (tmp_path / "streamflow.yml").write_text(yaml.safe_dump(document))
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("streamflow")), "run", "--outdir", "out", "streamflow.yml",
        cwd=tmp_path,
        env={**os.environ, "KUBECONFIG": str(namespace.kubeconfig)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 150)
    assert process.returncode == 0, said.decode()
    assert (tmp_path / "out" / "sum.txt").read_text() == "30\n"
