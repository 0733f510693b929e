"""The examples, run with cwltool, the reference, or with streamflow; and what comes out of each."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "cwl-examples"
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


def environment(folder: Path) -> dict[str, str]:
    """A home and a place for temporary files of its own: parallel runs share no database and no work directory."""
    for name in ("home", "tmp", "bin"):
        (folder / name).mkdir()
    nvidia_smi = folder / "bin" / "nvidia-smi"
    nvidia_smi.write_text(NVIDIA_SMI)
    nvidia_smi.chmod(0o755)
    path = f"{BIN}:{os.environ['PATH']}"
    return os.environ | {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "PATH": path}


def cwltool(name: str, folder: Path, environment: dict[str, str], *options: str) -> Run:
    """Run the example `name` with cwltool; outputs go to `folder`/reference."""
    command = ["cwltool", "--no-container", "--outdir", str(folder / "reference"), *options]
    example, path = EXAMPLES / name, f"{folder / 'bin'}:{environment['PATH']}"
    return _run([*command, str(example / "workflow.cwl"), str(example / "inputs.yml")], environment | {"PATH": path})


def streamflow(file: Path, folder: Path, environment: dict[str, str]) -> Run:
    """Run a StreamFlow file; outputs go to `folder`/ours."""
    return _run(["streamflow", "run", "--outdir", str(folder / "ours"), str(file)], environment)


def _run(command: list[str], environment: dict[str, str]) -> Run:
    program = str(BIN / command[0])
    folder = Path(command[command.index("--outdir") + 1])
    done = subprocess.run(
        [program, *command[1:]], env=environment, cwd=folder.parent, capture_output=True, text=True, timeout=240
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


def is_what_cwltool_gives(name: str, ours: Run, reference: Run) -> None:
    """The same outputs, no file more or less, and what the example is about."""
    outputs = {key: contents(value) for key, value in ours.outputs.items()}
    assert outputs == {key: contents(value) for key, value in reference.outputs.items()}
    files = sorted(file.name for file in ours.folder.iterdir())
    assert files == sorted(file.name for file in reference.folder.iterdir())
    EXPECTED[name](ours)
