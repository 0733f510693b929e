"""Each example gives with `streamflow run`, on local MiniClusters, what it gives with cwltool, the reference."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import example_runs as examples
import pytest
import yaml
from example_runs import EXAMPLES, NAMES

from streamflow_fluxop.events.reading import read_events
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.model import Plan


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return examples.environment(tmp_path) | {"FLUXOP_RUNS": str(tmp_path / "runs")}


@pytest.mark.parametrize("name", NAMES)
def test_gives_what_cwltool_gives(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    reference = examples.cwltool(name, tmp_path, environment)
    ours = examples.streamflow(EXAMPLES / name / "streamflow.yml", tmp_path, environment)
    examples.is_what_cwltool_gives(name, ours, reference)
    if name == "two-samples":
        the_gpu_minicluster_goes_before_the_visualization_ends(tmp_path / "runs")


def the_gpu_minicluster_goes_before_the_visualization_ends(runs: Path) -> None:
    (log,) = runs.glob("*.jsonl")
    (fleet,) = RunView(read_events(log)).fleets.values()
    assert list(fleet.current) == ["cpu-1", "gpu-1", "cpu-2"]
    analysis, visualization = fleet.steps["/sample/analysis"], fleet.steps["/sample/visualization"]
    assert (list(analysis.miniclusters), list(visualization.miniclusters)) == (["gpu-1"], ["cpu-2"])
    gpu, over, end = fleet.current["gpu-1"], analysis.ended or 0.0, visualization.ended or 0.0
    last = max(job.asked for job in fleet.jobs)  # waits for the last analysis
    assert over <= (gpu.released or end) < last < end  # given up at once, however slow the machine is
    assert (gpu.gone or end) < end
    changes = [c for m in fleet.lives for c in ((m.asked, m.size), (m.gone or 0.0, -m.size))]
    assert max(accumulate(nodes for _, nodes in sorted(changes))) <= 4


@pytest.mark.skipif(not (shutil.which("mpirun") and shutil.which("mpicc")), reason="there is no MPI here")
def test_mpi_pi_gives_the_same_with_mpirun(tmp_path: Path, environment: dict[str, str]) -> None:
    run = examples.cwltool(
        "mpi-pi", tmp_path, environment, "--enable-ext", "--overrides", str(EXAMPLES / "mpi-pi" / "with-mpirun.yml")
    )
    assert "4 processes by MPI: 12566366612839 points" in run.log
    assert run.value("pi.json")["points"] == 50265482451357


@pytest.mark.parametrize("name", NAMES)
def test_says_in_five_lines_what_it_is(name: str) -> None:
    lines = (EXAMPLES / name / "README.md").read_text().splitlines()
    assert len(lines) == 5
    assert lines[0] == f"# {name}"
    assert f"Run it: `cwl-examples/run {name}`" in lines


def test_without_a_name_the_command_lists_all_examples() -> None:
    done = subprocess.run([EXAMPLES / "run"], capture_output=True, text=True, check=True)
    assert sorted(line.split()[0] for line in done.stdout.splitlines()[1:]) == NAMES


@pytest.mark.parametrize("code", [0, 3])
def test_the_command_works_anywhere_and_gives_streamflows_exit_code(tmp_path: Path, code: int) -> None:
    # a copy, as results go beside the examples
    examples = tmp_path / "cwl-examples"
    shutil.copytree(EXAMPLES / "scatter", examples / "scatter")
    shutil.copy(EXAMPLES / "run", examples)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in (("fluxop", 'echo "plan: $*"; exit 1'), ("streamflow", f'echo "run: $*"; exit {code}')):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        [examples / "run", "scatter"],
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    file, results = examples / "scatter" / "streamflow.yml", tmp_path / "results" / "scatter"
    assert done.returncode == code
    assert done.stdout.splitlines()[:2] == [f"plan: plan {file}", f"run: run --outdir {results} {file}"]


def test_an_example_that_is_not_there_is_named() -> None:
    done = subprocess.run([EXAMPLES / "run", "nope"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no example nope" in done.stderr


def test_each_example_has_a_file_for_kubernetes_that_differs_in_its_fleet_only() -> None:
    for name in NAMES:
        local, there = (yaml.safe_load((EXAMPLES / name / f).read_text()) for f in ("streamflow.yml", "kubernetes.yml"))
        assert there["workflows"] == local["workflows"], name
        for document, cluster in ((local, "local"), (there, "kubernetes")):
            assert document["deployments"]["fleet"]["config"]["cluster"] == cluster
        flavours = [d["deployments"]["fleet"]["config"]["flavours"].keys() for d in (local, there)]
        assert flavours[0] == flavours[1], name


@pytest.mark.parametrize("name", ["two-samples", "fan-out", "fan-in"])
def test_in_kubernetes_only_the_analysis_is_planned_on_gpu_nodes(name: str, tmp_path: Path) -> None:
    fluxop = Path(sys.executable).with_name("fluxop")
    command = [str(fluxop), "plan", str(EXAMPLES / name / "kubernetes.yml"), "--time-limit", "1"]
    subprocess.run([*command, "-o", str(tmp_path / "plan.json")], check=True, stdout=subprocess.DEVNULL)
    plan = Plan.model_validate_json((tmp_path / "plan.json").read_text())
    steps = {step.rsplit("/", 1)[-1]: m.flavour for m in plan.miniclusters for step in m.steps}
    assert steps == {"preprocess": "cpu", "postprocess": "cpu", "analysis": "gpu", "visualization": "cpu"}
