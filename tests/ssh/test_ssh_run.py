"""`streamflow run` with a fleet behind SSH, and with one that was there before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ssh_worlds import Sshd, instance, needs_flux, needs_sshd, sshd  # noqa: F401 - fixtures

CWL = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {words: {type: "string[]", default: [a, b, c]}}
outputs: {files: {type: "File[]", outputSource: again/out}}
steps:
  first:
    run: &tool
      class: CommandLineTool
      baseCommand: [sh, -c, 'cat $1 2>/dev/null; hostname; echo $0']
      inputs:
        word: {type: string, inputBinding: {position: 1}}
        file: {type: "File?", inputBinding: {position: 2}}
      outputs: {out: {type: stdout}}
      stdout: out.txt
    scatter: word
    in: {word: words}
    out: [out]
  again:
    run: *tool
    scatter: [word, file]
    scatterMethod: dotproduct
    in: {word: words, file: first/out}
    out: [out]
"""

WHERE = """\
cwlVersion: v1.2
class: Workflow
inputs: {}
outputs: {where: {type: File, outputSource: look/out}}
steps:
  look:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'pwd; stat -c %a . ..']
      inputs: {}
      outputs: {out: {type: stdout}}
      stdout: where.txt
    in: {}
    out: [out]
"""


def run(folder: Path, deployment: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    (folder / "wf.cwl").write_text(CWL)
    config = {
        "version": "v1.0",
        "workflows": {
            "wf": {
                "type": "cwl",
                "config": {"file": "wf.cwl"},
                "bindings": [{"step": "/", "target": {"deployment": "fleet"}}],
            }
        },
        "deployments": {"fleet": {"type": "minicluster", "workdir": str(folder / "there"), **deployment}},
        "database": {"type": "default", "config": {"connection": ":memory:"}},
    }
    (folder / "streamflow.yml").write_text(json.dumps(config))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "streamflow"), "run", "--outdir", "out", "streamflow.yml"],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "FLUXOP_RUNS": str(folder / "runs")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    files = json.loads(done.stdout[done.stdout.index("{") :])["files"]
    texts = [Path(file["path"]).read_text() for file in files]
    assert [text.split()[-1] for text in texts] == ["a", "b", "c"]
    assert [len(text.split()) for text in texts] == [4, 4, 4], "a file of the first step did not arrive"
    return done


FLAVOURS = {"node": {"cores": 2, "memory": 1024}}


@needs_sshd
def test_a_workflow_runs_behind_ssh(sshd: Sshd, tmp_path: Path) -> None:  # noqa: F811
    config = {
        "cluster": "ssh",
        "ssh": sshd.config().model_dump(exclude_none=True),
        "flavours": FLAVOURS,
        "scheduler": "embedded",
    }
    run(tmp_path, {"config": config})
    deadline = time.monotonic() + 10
    while sshd.running() and time.monotonic() < deadline:
        time.sleep(0.05)  # no event tells the end of other people's processes
    assert not sshd.running()


@needs_sshd
def test_where_nobody_says_where_jobs_work_in_a_folder_of_the_user_s(sshd: Sshd, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "wf.cwl").write_text(WHERE)
    deployment = {
        "type": "minicluster",
        "config": {"cluster": "ssh", "ssh": sshd.config().model_dump(exclude_none=True), "flavours": FLAVOURS,
                   "scheduler": "embedded"},
    }  # fmt: skip
    config = {
        "version": "v1.0",
        "workflows": {
            "wf": {
                "type": "cwl",
                "config": {"file": "wf.cwl"},
                "bindings": [{"step": "/", "target": {"deployment": "fleet"}}],
            }
        },
        "deployments": {"fleet": deployment},
        "database": {"type": "default", "config": {"connection": ":memory:"}},
    }
    (tmp_path / "streamflow.yml").write_text(json.dumps(config))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "streamflow"), "run", "--outdir", "out", "streamflow.yml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "FLUXOP_RUNS": str(tmp_path / "runs")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    place, mode, around = (tmp_path / "out/where.txt").read_text().split()
    assert place.startswith(f"/tmp/streamflow-{os.getuid()}")
    assert (mode, around) == ("700", "700")


@needs_flux
def test_a_workflow_runs_in_an_instance_that_is_there(
    instance: tuple[str, subprocess.Popen[str]],  # noqa: F811
    tmp_path: Path,
) -> None:
    uri, process = instance
    config = {"cluster": "local", "flux_uri": uri, "flavours": {"node": {"cores": 1, "memory": 1024}}}
    done = run(tmp_path, {"external": True, "config": config})
    assert process.poll() is None
    assert "ATTACHING TO MiniCluster" in done.stderr
    assert "for a cost of 0" in done.stderr, "others pay for it"


@needs_flux
def test_two_runs_share_an_instance(
    instance: tuple[str, subprocess.Popen[str]],  # noqa: F811
    tmp_path: Path,
) -> None:
    uri, process = instance
    config = {"cluster": "local", "flux_uri": uri, "flavours": {"node": {"cores": 1, "memory": 1024, "price": 9}}}
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda folder: run(folder, {"external": True, "config": config}), folders))
    assert process.poll() is None
