"""How fast MiniClusters in Kubernetes come, go, and run jobs, beside a local MiniCluster.

    eval "$(../shared/kube/kube env)"; python -m bench.kubernetes [--real] [--image IMAGE]

Bring-up is split by what is waited for; it is the median of the rounds. Jobs a second are those of a scatter through
`streamflow run`, from the moment the MiniCluster is up to the last job's end; both kinds take turns, so that what else
the machine does slows both. CPU time is the controller's own, without what runs the jobs. The nodes have to be this
machine: they and the controller see the same folder, and the files go by the agent all the same, unless
`--controller-sees-files`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from kubernetes_asyncio import client, config

from bench.jobs_per_second import NODE, streamflow
from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.miniclusters.kubernetes.cluster import KubernetesCluster
from streamflow_fluxop.miniclusters.kubernetes.external_minicluster import AttachedKubernetesCluster
from streamflow_fluxop.miniclusters.kubernetes.minicluster import KubernetesMiniCluster

STANDIN = Path(__file__).parents[1] / "tests" / "kubernetes" / "standin_operator.py"
PARTS = ("create", "schedule", "containers", "brokers", "agent")

CONTROLLER = """\
import atexit, os, resource
os.environ["FLUXOP_RUNS"] = "runs"
def tell():
    used = resource.getrusage(resource.RUSAGE_SELF)
    open("controller-cpu", "w").write(str(used.ru_utime + used.ru_stime))
atexit.register(tell)
from streamflow.main import run
run()
"""
"""StreamFlow, which writes its own CPU time, in seconds, to a file of the working directory when it ends."""


@contextlib.asynccontextmanager
async def new_namespace(prefix: str) -> AsyncIterator[str]:
    """A namespace of our own, which goes with everything in it."""
    await config.load_kube_config()
    async with client.ApiClient() as api:
        core, name = client.CoreV1Api(api), f"{prefix}{secrets.token_hex(2)}"
        await core.create_namespace({"metadata": {"name": name}})
        try:
            yield name
        finally:
            await core.delete_namespace(name)


@contextlib.contextmanager
def operator(prefix: str, *, real: bool) -> Iterator[None]:
    """The tests' stand-in for the Flux Operator, where the real one does not run."""
    if real:
        yield
        return
    process = subprocess.Popen([sys.executable, str(STANDIN), prefix], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.terminate()
        process.communicate()


def kubernetes(namespace: str, image: str, folder: Path) -> dict[str, Any]:
    """The configuration of a fleet of one flavour, whose pods see this folder."""
    return {
        "cluster": "kubernetes",
        "image": image,
        # many cores for Flux; of the machine as much as there is, as what a pod asks for is also its limit
        "flavours": {"node": {**NODE, "resources": {"cpu": "1900m", "memory": "1Gi"}}},
        "limits": {"nodes": 1},
        "kubernetes": {
            "namespace": namespace,
            "flux": {"view_image": image, "disable": True},
            "volumes": {"work": {"host_path": str(folder), "path": str(folder), "shared": True}},
        },
    }


async def life(cluster: KubernetesCluster, fleet: FleetConfig, number: int, size: int) -> dict[str, float]:
    """Seconds of each part of one bring-up, and of its tear-down."""
    minicluster = cluster.minicluster(f"mc-{number}", fleet.flavours["node"], size, image=fleet.image)
    begin = time.perf_counter()
    coming = asyncio.create_task(minicluster.up())
    marks: dict[str, float] = {}
    coming.add_done_callback(lambda _: marks.setdefault("up", time.perf_counter()))
    while not coming.done():
        pods = cluster.watch.pods(minicluster.object)
        states = [s for pod in pods for s in pod.get("status", {}).get("containerStatuses", [])]
        for part, reached in (
            ("create", len(pods)),
            ("schedule", sum(bool(pod["spec"].get("nodeName")) for pod in pods)),
            ("containers", sum("running" in state.get("state", {}) for state in states)),
        ):
            if reached == size:
                marks.setdefault(part, time.perf_counter())
        await cluster.watch.changed(0.1)
    await coming
    agent = await attach(fleet, minicluster)
    begin_down = time.perf_counter()
    await minicluster.down()
    down = time.perf_counter() - begin_down
    return {
        "create": marks["create"] - begin,
        "schedule": marks["schedule"] - marks["create"],
        "containers": marks["containers"] - marks["schedule"],
        "brokers": max(0.0, marks["up"] - marks["containers"] - agent),
        "agent": agent,
        "up": marks["up"] - begin,
        "down": down,
    }


async def attach(fleet: FleetConfig, minicluster: KubernetesMiniCluster) -> float:
    """Seconds until one more agent answers, its brokers being up."""
    reach = fleet.kubernetes.model_copy(update={"attach": minicluster.object})
    other = AttachedKubernetesCluster(fleet.model_copy(update={"kubernetes": reach}))
    again = other.minicluster("again", minicluster.flavour, minicluster.size)
    try:
        await other.find("again")
        begin = time.perf_counter()
        await again.up()
        return time.perf_counter() - begin
    finally:
        await again.down()
        await other.close()


async def lives(fleet: FleetConfig, rounds: int) -> None:
    """Print the medians of bring-ups and tear-downs."""
    columns = [*PARTS, "up", "down"]
    print(f"{'seconds':14}" + "".join(f"{c:>11}" for c in columns))
    cluster = KubernetesCluster(fleet, "bench")
    await cluster.open()
    try:
        for size in (1, 2):
            measured = [await life(cluster, fleet, 100 * size + n, size) for n in range(rounds)]
            medians = (statistics.median(m[c] for m in measured) for c in columns)
            print(f"{size} pods{'':8}" + "".join(f"{m:11.2f}" for m in medians), flush=True)
    finally:
        await cluster.close()


def scatter(deployment: dict[str, Any], jobs: int, folder: Path) -> tuple[float, float]:
    """Run so many jobs through `streamflow run`.

    Returns:
        Seconds from the MiniCluster being up to the last job's end, and CPU seconds of the controller in all.
    """
    run = streamflow(deployment, [sys.executable, "-c", CONTROLLER])
    with tempfile.TemporaryDirectory(dir=folder) as where:
        run(jobs, Path(where))
        cpu = float(Path(where, "controller-cpu").read_text())
        (log,) = Path(where, "runs").glob("*.jsonl")
        events = [json.loads(line) for line in log.read_text().splitlines()]
    begin = min(e["at"] for e in events if e["event"] == "minicluster-up")
    return max(e["at"] for e in events if e["event"] == "job-ended") - begin, cpu


def rates(kinds: dict[str, dict[str, Any]], jobs: int, rounds: int, folder: Path) -> None:
    """Print jobs a second of each kind, round by round, and the medians."""
    few = 10
    start = {kind: scatter(deployment, few, folder)[1] for kind, deployment in kinds.items()}
    speed: dict[str, list[float]] = {kind: [] for kind in kinds}
    cpu: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        turn = list(kinds.items())
        for kind, deployment in turn if number % 2 == 0 else reversed(turn):
            elapsed, used = scatter(deployment, jobs, folder)
            speed[kind].append(jobs / elapsed)
            cpu[kind].append(1000 * (used - start[kind]) / (jobs - few))
            print(
                f"round {number + 1}: {kind:12} {speed[kind][-1]:6.1f} jobs/s, {cpu[kind][-1]:5.1f} ms a job",
                flush=True,
            )
    for kind in kinds:
        print(
            f"{kind:12} median {statistics.median(speed[kind]):6.1f} jobs/s, "
            f"{statistics.median(cpu[kind]):5.1f} ms CPU time of the controller a job"
        )
    for what, measured in (("jobs/s", speed), ("CPU time", cpu)):
        local, there = measured.values()
        ratios = sorted(t / s for s, t in zip(local, there, strict=True))
        print(
            f"{what}, kubernetes / local: median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true", help="the Flux Operator runs there, and the image has Flux")
    parser.add_argument("--image", default="localhost/python:1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--only", choices=["lives", "rates"])
    parser.add_argument("--controller-sees-files", action="store_true")
    options = parser.parse_args()
    prefix = f"fluxop-{'real' if options.real else 'bench'}-{secrets.token_hex(2)}-"  # as the tests', for an operator

    async def everything(folder: Path) -> None:
        async with new_namespace(prefix) as namespace:
            fleet = kubernetes(namespace, options.image, folder)
            if options.only != "rates":
                await lives(FleetConfig.model_validate(fleet), options.rounds)
            if options.only != "lives":
                scheduler = "flux" if options.real else "embedded"
                local = {"cluster": "local", "scheduler": scheduler, "flavours": {"node": NODE}, "limits": {"nodes": 1}}
                storage = {"controller": options.controller_sees_files}
                kinds = {
                    name: {"type": "minicluster", "config": {**fleet, "storage": storage}}
                    for name, fleet in (("local", local), ("kubernetes", fleet))
                }
                await asyncio.to_thread(rates, kinds, options.jobs, options.rounds, folder)

    # what pods wrote belongs to root
    with (
        tempfile.TemporaryDirectory(prefix="fluxop-bench-", dir="/var/tmp") as folder,
        operator(prefix, real=options.real),
    ):
        asyncio.run(everything(Path(folder)))


if __name__ == "__main__":
    main()
