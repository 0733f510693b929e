"""Each example gives with `streamflow run`, on local MiniClusters, what it gives with cwltool, the reference."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "cwl-examples"
NAMES = sorted(file.parent.name for file in EXAMPLES.glob("*/streamflow.yml"))
BIN = Path(sys.executable).parent

# cwltool runs no step with a CUDARequirement, hint or not, before nvidia-smi has shown a GPU
NVIDIA_SMI = """#!/bin/sh
echo '<log><cuda_version>12.4</cuda_version><attached_gpus>2</attached_gpus></log>'
"""


@dataclass
class Run:
    """What a run gave: its output object, its log, and the folder that it wrote to."""

    outputs: dict[str, Any]
    log: str
    folder: Path

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def value(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.text(name))
        return value


Runner = Callable[..., Run]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home and a place for temporary files of its own: parallel runs share no database and no work directory."""
    for name in ("home", "tmp", "bin"):
        (tmp_path / name).mkdir()
    nvidia_smi = tmp_path / "bin" / "nvidia-smi"
    nvidia_smi.write_text(NVIDIA_SMI)
    nvidia_smi.chmod(0o755)
    path = f"{BIN}:{os.environ['PATH']}"
    return os.environ | {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "PATH": path}


@pytest.fixture
def cwltool(tmp_path: Path, environment: dict[str, str]) -> Runner:
    def run(name: str, *options: str) -> Run:
        folder = EXAMPLES / name
        command = ["cwltool", "--no-container", "--outdir", str(tmp_path / "reference"), *options]
        path = f"{tmp_path / 'bin'}:{environment['PATH']}"
        return _run([*command, str(folder / "workflow.cwl"), str(folder / "inputs.yml")], environment | {"PATH": path})

    return run


@pytest.fixture
def streamflow(tmp_path: Path, environment: dict[str, str]) -> Runner:
    def run(name: str) -> Run:
        command = ["streamflow", "run", "--outdir", str(tmp_path / "ours")]
        return _run([*command, str(EXAMPLES / name / "streamflow.yml")], environment)

    return run


def _run(command: list[str], environment: dict[str, str]) -> Run:
    program = str(BIN / command[0])
    folder = Path(command[command.index("--outdir") + 1])
    done = subprocess.run(
        [program, *command[1:]], env=environment, cwd=folder.parent, capture_output=True, text=True, timeout=120
    )
    log = done.stderr + done.stdout
    assert done.returncode == 0, log[-5000:]
    # streamflow writes lines of its log before the output object
    return Run(json.loads(done.stdout[done.stdout.index("{\n") :]), log, folder)


def contents(value: Any) -> Any:
    """An output, with each file as its name and the checksum of what is really in it; of logs the name alone."""
    if isinstance(value, list):
        return [contents(v) for v in value]
    if not isinstance(value, dict):
        return value
    assert value["class"] == "File"
    name, data = value["basename"], Path(value["path"]).read_bytes()
    checksum = f"sha1${hashlib.sha1(data).hexdigest()}"
    assert (value["checksum"], value["size"]) == (checksum, len(data)), f"{name} is not what the output object says"
    return (name,) if name.endswith(".log") else (name, checksum)


def genome_size(run: Run, sample: str) -> int:
    size: int = run.value(f"{sample}.model.json")["genome_size"]
    return size


def two_samples_finds_both_genomes_and_the_mixture(run: Run) -> None:
    assert genome_size(run, "plasmid") == pytest.approx(2000, rel=0.02)
    assert genome_size(run, "mixture") == pytest.approx(1500, rel=0.02)
    assert not run.value("plasmid.model.json")["mixture"]
    assert run.value("mixture.model.json")["mixture"]
    each_analysis_had_one_gpu(run, "plasmid", "mixture")


def fan_out_tells_three_samples_apart(run: Run) -> None:
    for sample, size in (("gut", 1200), ("skin", 900), ("soil", 1000)):
        assert genome_size(run, sample) == pytest.approx(size, rel=0.02)
    each_analysis_had_one_gpu(run, "gut", "skin", "soil")


def fan_in_joins_the_lanes(run: Run) -> None:
    assert genome_size(run, "pooled") == pytest.approx(2400, rel=0.02)
    each_analysis_had_one_gpu(run, "pooled")


def each_analysis_had_one_gpu(run: Run, *samples: str) -> None:
    for sample in samples:
        assert re.fullmatch(rf"{sample}: CUDA_VISIBLE_DEVICES is [01]\n", run.text(f"{sample}.log"))


def mpi_pi_ran_four_processes(run: Run) -> None:
    assert run.value("pi.json")["pi"] == pytest.approx(3.14159265, abs=1e-8)
    by_flux = set(re.findall(r"process (\d) of 4", run.log))
    assert by_flux == {"0", "1", "2", "3"} or "processes by MPI" in run.log


def service_binding_used_what_the_file_names(run: Run) -> None:
    assert "longest           2000 bases, circular" in run.text("plasmid.txt").splitlines()
    jobs = dict(re.findall(r"SUBMITTING job (\S+)/0 to MiniCluster (\S+)", run.log))
    services = {"/preprocess": "cpu-1", "/postprocess": "cpu-1", "/assemble": "highmem-1", "/report": "reporting"}
    assert jobs == services


def scatter_finds_the_primes(run: Run) -> None:
    assert [int(line) - 10**15 for line in run.text("primes.txt").splitlines()] == [37, 91, 159, 187]
    assert len(set(re.findall(r"SUBMITTING job (/factor/0\.\d+) ", run.log))) == 200


EXPECTED: dict[str, Callable[[Run], None]] = {
    "fan-in": fan_in_joins_the_lanes,
    "fan-out": fan_out_tells_three_samples_apart,
    "mpi-pi": mpi_pi_ran_four_processes,
    "scatter": scatter_finds_the_primes,
    "service-binding": service_binding_used_what_the_file_names,
    "two-samples": two_samples_finds_both_genomes_and_the_mixture,
}


@pytest.mark.parametrize("name", NAMES)
def test_gives_what_cwltool_gives(name: str, cwltool: Runner, streamflow: Runner) -> None:
    reference, ours = cwltool(name), streamflow(name)
    outputs = {key: contents(value) for key, value in ours.outputs.items()}
    assert outputs == {key: contents(value) for key, value in reference.outputs.items()}
    files = sorted(file.name for file in ours.folder.iterdir())
    assert files == sorted(file.name for file in reference.folder.iterdir())
    EXPECTED[name](ours)


@pytest.mark.skipif(not (shutil.which("mpirun") and shutil.which("mpicc")), reason="there is no MPI here")
def test_mpi_pi_gives_the_same_with_mpirun(cwltool: Runner) -> None:
    run = cwltool("mpi-pi", "--enable-ext", "--overrides", str(EXAMPLES / "mpi-pi" / "with-mpirun.yml"))
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
