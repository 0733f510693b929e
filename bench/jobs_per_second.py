"""Jobs a second through `streamflow run`, on every connector that can run here.

    python -m bench.jobs_per_second [--sizes 100 1000] [--only NAME ...]

A scatter of `echo` jobs, each with one output file. The rate is that of the larger scatter less the smaller one:
start-up (StreamFlow's own, and a MiniCluster's bring-up) is in both, and cancels out. The same goes for the CPU time a
job, of all processes together, which also tells something where other programs keep the machine busy.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
stdout: out-$(inputs.n).txt
inputs: {n: {type: int, inputBinding: {}}}
outputs: {out: {type: stdout}}
"""

WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {n: "int[]"}
outputs: {out: {type: "File[]", outputSource: echo/out}}
steps: {echo: {run: echo.cwl, scatter: n, in: {n: n}, out: [out]}}
"""

NODE = {"cores": 16, "memory": 65536}


def fleet(scheduler: str, *, files_behind_agent: bool = False) -> dict[str, object]:
    """A deployment of ours: one node of 16 cores."""
    config = {"cluster": "local", "scheduler": scheduler, "flavours": {"node": NODE}, "limits": {"nodes": 1}}
    return {"type": "minicluster", "config": {**config, "storage": {"controller": not files_behind_agent}}}


CONNECTORS: dict[str, dict[str, object]] = {
    "streamflow local": {"type": "local", "config": {}},
    "minicluster embedded": fleet("embedded"),
    "... files behind agent": fleet("embedded", files_behind_agent=True),
    "minicluster flux": fleet("flux"),
    "streamflow flux": {"type": "flux", "config": {"maxConcurrentJobs": 1000, "pollingInterval": 1}},
}


def streamflow(deployment: dict[str, object], program: Sequence[str] = ("streamflow",)) -> Callable[[int, Path], None]:
    """Run the scatter through `streamflow run`, bound to `deployment`.

    Args:
        deployment: type and config.
        program: what to start StreamFlow with.
    """

    def run(jobs: int, folder: Path) -> None:
        config = {
            "version": "v1.0",
            "workflows": {
                "echo": {
                    "type": "cwl",
                    "config": {"file": "wf.cwl", "settings": "inputs.json"},
                    "bindings": [{"step": "/echo", "target": {"deployment": "d"}}],
                }
            },
            "deployments": {"d": {**deployment, "workdir": str(folder / "work")}},
            "database": {"type": "default", "config": {"connection": str(folder / "db.sqlite")}},
        }
        (folder / "echo.cwl").write_text(TOOL)
        (folder / "wf.cwl").write_text(WORKFLOW)
        (folder / "inputs.json").write_text(json.dumps({"n": list(range(jobs))}))
        (folder / "streamflow.yml").write_text(json.dumps(config))
        command = [*program, "run", "--quiet", "--outdir", str(folder / "out"), str(folder / "streamflow.yml")]
        if deployment["type"] == "flux":  # it submits to the instance that it runs in
            command = ["flux", "start", *command]
        check(command, folder)
        found = sum(1 for _ in (folder / "out").rglob("out-*.txt"))
        assert found == jobs, f"{found} outputs of {jobs}"

    return run


def flux_alone(jobs: int, folder: Path) -> None:
    """The same jobs by Flux's own bulk submission, nothing else around."""
    script = f"flux submit --quiet --wait --cc=1-{jobs} --output={folder}/out-{{cc}}.txt echo '{{cc}}'"
    check(["flux", "start", "sh", "-c", script], folder)


def check(command: list[str], folder: Path) -> None:
    """Run a command; show its output where it fails."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout.decode()[-4000:]}")


def seconds(run: Callable[[int, Path], None], jobs: int) -> tuple[float, float]:
    """How long a scatter of `jobs` takes, and its CPU time."""
    with tempfile.TemporaryDirectory(prefix="jps") as folder:
        begin, cpu = time.perf_counter(), cpu_seconds()
        run(jobs, Path(folder))
        return time.perf_counter() - begin, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """CPU time of all processes that were started here, theirs too, and are over."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs=2, default=[100, 1000], metavar=("SMALL", "LARGE"))
    parser.add_argument("--only", nargs="*", help="names of the rows to measure")
    options = parser.parse_args()
    small, large = options.sizes
    rows = {name: streamflow(deployment) for name, deployment in CONNECTORS.items()}
    rows = {"flux alone": flux_alone, **rows}
    if shutil.which("flux") is None:
        print("no flux on the PATH: the rows that need it are left out")
        rows = {name: run for name, run in rows.items() if "flux" not in name}
    rates: dict[str, float] = {}
    print(f"{'':22}  jobs      time   jobs      time    jobs/s   / local   / flux alone   CPU ms/job")
    for name, run in rows.items():
        if options.only and name not in options.only:
            continue
        # StreamFlow's own flux connector does less than a job a second: a tenth of the jobs tells as much
        few_jobs, many_jobs = (small // 10, large // 10) if name == "streamflow flux" else (small, large)
        (few, few_cpu), (many, many_cpu) = seconds(run, few_jobs), seconds(run, many_jobs)
        rates[name] = (many_jobs - few_jobs) / (many - few)
        cpu = 1000 * (many_cpu - few_cpu) / (many_jobs - few_jobs)
        ratios = [
            f"{rates[name] / rates[r]:8.2f}" if r in rates else " " * 8 for r in ("streamflow local", "flux alone")
        ]
        jobs = f"{few_jobs:5} {few:7.1f} s {many_jobs:6} {many:7.1f} s"
        print(f"{name:22} {jobs} {rates[name]:9.1f}  {ratios[0]}      {ratios[1]}     {cpu:8.1f}", flush=True)


if __name__ == "__main__":
    main()
