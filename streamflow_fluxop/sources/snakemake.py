"""Snakemake: the jobs of a dry run, as Snakemake (9 or newer) tells them to its logger plugins.

Snakemake is run as a command, in whatever environment it is installed; the Snakefile is evaluated, no job is run. What
a job needs comes from `threads` and the standard resources `mem_mb`, `runtime` (minutes), `gpu`, `tasks` and `nodes`;
what it waits for, from the files that jobs write and read. Snakemake does not tell loggers the container of a rule: the
resources `fluxop_image` and `fluxop_flavour` say it to us.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Duration, Needs, Step, Workflow
from streamflow_fluxop.sources.merging import SingleJob, merge

ASSUMED_DURATION = 60.0
"""Seconds of a job whose rule says no `runtime`."""

_CORES = 1_000_000
"""Snakemake lowers the threads of a job to the cores that it is given."""


def is_snakefile(path: Path) -> bool:
    """Whether a file is a Snakefile, by its name."""
    return path.suffix == ".smk" or path.name == "Snakefile"


def check_agreed(path: Path, agree: Callable[[str], bool] | None) -> None:
    """Ask whether a Snakefile may be run.

    Args:
        path: of the Snakefile.
        agree: asks; None: agreed.

    Raises:
        UserError: not agreed.
    """
    if agree is not None and not agree(f"{path} is a program. To plan it, Snakemake runs it as you: not its jobs."):
        raise UserError(
            "is a program, which Snakemake runs as you to tell its jobs, and was not agreed to",
            where=str(path),
            fix="Read it, and say --yes.",
        )


def read_snakefile(path: Path) -> tuple[Workflow, list[str]]:
    """The workflow that Snakemake would run from scratch, and what had to be assumed.

    Args:
        path: of the Snakefile; a config file that it names is read, too.

    Raises:
        UserError: there is no such file, Snakemake is not installed, or it refuses the file: in its own words.
    """
    if not path.is_file():
        raise UserError("can't be read: No such file or directory", where=str(path))
    told = _dry_run(path)
    with_work = [j for j in told if j["output"] or j["input"]]
    writer = {output: j["id"] for j in with_work for output in j["output"]}
    jobs = [
        SingleJob(
            name=str(j["id"]),
            kind=j["rule"],
            step=_step(j),
            after=tuple(sorted({str(writer[f]) for f in j["input"] if f in writer})),
        )
        for j in with_work
        if j["output"]  # a rule that only gathers its inputs, such as `all`, runs nothing
    ]
    if not jobs:
        raise UserError("Snakemake would run no job", where=str(path), fix="Give a rule an output.")
    steps = merge(jobs)
    notes = []
    if any(s.duration.source == "assumed" for s in steps):
        notes.append(f"rules without `runtime` in their resources are assumed to take {ASSUMED_DURATION:g} s a job")
    if late := sorted({j["rule"] for j in told if j["checkpoint"]}):
        notes.append(f"what follows the checkpoints {', '.join(late)} is known at run time only, and not planned")
    return Workflow(name=path.resolve().parent.name, steps=steps), notes


def _dry_run(path: Path) -> list[dict[str, Any]]:
    program = _program()
    with TemporaryDirectory() as folder:
        told = Path(folder) / "jobs"
        plugin = str(files("streamflow_fluxop.sources").joinpath("snakemake_plugin"))
        search = os.pathsep.join(filter(None, [plugin, os.environ.get("PYTHONPATH")]))
        command = [program, "--snakefile", str(path.resolve()), "--dry-run", "--forceall", "--nolock"]
        done = subprocess.run(
            [*command, "--cores", str(_CORES), "--logger", "fluxop", "--quiet", "all"],
            cwd=path.resolve().parent,
            env={**os.environ, "PYTHONPATH": search, "FLUXOP_JOBS": str(told)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise UserError(f"Snakemake refuses it:\n{(done.stderr or done.stdout).strip()[-2000:]}", where=str(path))
        return [json.loads(line) for line in told.read_text("utf-8").splitlines()] if told.exists() else []


def _program() -> str:
    beside = Path(sys.executable).with_name("snakemake")
    program = str(beside) if beside.exists() else shutil.which("snakemake")
    if program is None:
        raise UserError(
            "reading a Snakefile needs the command snakemake, version 9 or newer",
            fix="pip install 'streamflow-fluxop[snakemake]' (Python 3.11 or newer), or have it on the PATH.",
        )
    return program


def _step(job: dict[str, Any]) -> Step:
    """What one job of a rule is, without name and dependencies."""
    resources = job["resources"]
    tasks = max(1, _whole(resources.get("tasks"), 1))
    threads = max(1, _whole(job["threads"], 1))
    minutes = resources.get("runtime")
    known = isinstance(minutes, int | float)
    flavour = resources.get("fluxop_flavour")
    return Step(
        name=job["rule"],
        needs=Needs(
            nodes=_whole(resources.get("nodes"), 0) or None,
            tasks=max(tasks, _whole(resources.get("nodes"), 1)),
            cores_per_task=max(1, _whole(resources.get("cpus_per_task"), threads)),
            gpus_per_task=ceil(_whole(resources.get("gpu"), 0) / tasks),
            memory=_whole(resources.get("mem_mib"), 0),
        ),
        duration=Duration(
            seconds=60.0 * float(minutes) if known else ASSUMED_DURATION, source="time limit" if known else "assumed"
        ),
        image=resources.get("fluxop_image"),
        flavours=[flavour] if flavour else [],
    )


def _whole(value: Any, otherwise: int) -> int:
    return ceil(value) if isinstance(value, int | float) else otherwise
