"""What a run says that it held is what somebody else sees of its pods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_asyncio.watch import Watch
from namespaces import Namespace
from test_clean import fluxop
from test_faults import SMALL
from test_kubernetes_run import Run, run, write_files
from test_planned_sizes import AFTER_FIRST, WORKFLOW, step

from streamflow_fluxop.events.reading import read_events
from streamflow_fluxop.events.view import RunView


class Observer:
    """Watches the pods of a namespace, and nothing else.

    Attributes:
        lives: seconds of the loop's clock at which each pod was there first, and was there last, by name.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self.lives: dict[str, list[float]] = {}

    async def watch(self) -> None:
        """Until it is cancelled; the namespace is empty at first."""
        clock = asyncio.get_running_loop().time
        pods = self._namespace.core.list_namespaced_pod
        version = (await pods(self._namespace.name)).metadata.resource_version
        async with Watch(return_type="object") as watch:
            stream = watch.stream(pods, self._namespace.name, resource_version=version, timeout_seconds=600)
            async for event in stream:
                now = clock()
                self.lives.setdefault(event["raw_object"]["metadata"]["name"], [now, now])[1] = now

    @property
    def pod_seconds(self) -> float:
        """Of all pods that there were, together."""
        return sum(last - first for first, last in self.lives.values())


@asynccontextmanager
async def observed(namespace: Namespace) -> AsyncIterator[Observer]:
    observer = Observer(namespace)
    watching = asyncio.create_task(observer.watch())
    yield observer
    await asyncio.sleep(1)  # for the last deletion to come
    assert not watching.done(), watching
    watching.cancel()
    await asyncio.wait([watching])


async def agrees(observer: Observer, done: Run, folder: Path) -> None:
    """The event log, the fleet's own account and the report, with the observer."""
    (log,) = (folder / "runs").glob("*.jsonl")
    view = RunView(read_events(log))
    (fleet,) = view.fleets.values()
    assert fleet.ended is not None
    code, printed = await fluxop("report", str(log), "-o", str(folder / "report.json"), kubeconfig=folder)
    assert code == 0, printed
    (reported,) = json.loads((folder / "report.json").read_text())["fleets"]
    seen = pytest.approx(observer.pod_seconds, rel=0.01)
    said = fleet.node_seconds(view.at), fleet.ended.node_seconds, reported["actual"]["node_seconds"]
    assert said == (seen, seen, seen), done.said
    firsts, lasts = zip(*observer.lives.values(), strict=True)
    (life,) = fleet.lives
    assert life.there is not None
    there = [at for at, nodes in life.there[1:] if nodes]
    gone = life.there[-1]
    assert gone[1] == 0
    assert gone[0] - there[0] == pytest.approx(max(lasts) - min(firsts), rel=0.01)
    assert max(nodes for _, nodes in life.there) == len(observer.lives)


async def test_of_a_small_minicluster(namespace: Namespace, shared_volume: Path, tmp_path: Path) -> None:
    flavour = {**SMALL, "bring_up": 3, "tear_down": 1}
    write_files(namespace, shared_volume, tmp_path, flavours={"small": flavour}, limits={"nodes": 1})
    async with observed(namespace) as observer:
        done = await run(namespace, tmp_path)
    assert len(observer.lives) == 1
    await agrees(observer, done, tmp_path)


async def test_of_a_large_one(namespace: Namespace, shared_volume: Path, tmp_path: Path) -> None:
    flavour = {**SMALL, "resources": {"cpu": "250m", "memory": "256Mi"}, "bring_up": 5, "tear_down": 1}
    write_files(namespace, shared_volume, tmp_path, flavours={"small": flavour}, limits={"nodes": 6})
    wide: dict[str, Any] = step(3, {})
    wide["run"]["hints"]["fluxop:FluxRequirement"] |= {"nodes": 6}
    workflow = {**WORKFLOW, "outputs": {}, "steps": {"wide": wide}}
    (tmp_path / "workflow.cwl").write_text(yaml.safe_dump(workflow))
    async with observed(namespace) as observer:
        done = await run(namespace, tmp_path)
    assert len(observer.lives) == 6
    await agrees(observer, done, tmp_path)


async def test_of_one_that_comes_up_late_and_is_to_grow_before(
    namespace: Namespace, shared_volume: Path, tmp_path: Path
) -> None:
    """Its node has not the label that it wants, until long after the plan has it grow."""
    label = {f"fluxop.test/{namespace.name}": "yes"}
    flavour = {**SMALL, "price": 1.0, "bring_up": 2, "tear_down": 1, "node_selector": label}
    write_files(namespace, shared_volume, tmp_path, flavours={"small": flavour})
    workflow = {
        **WORKFLOW,
        "steps": {"first": step(4, {}), "short": step(5, AFTER_FIRST), "long": step(9, AFTER_FIRST)},
    }
    (tmp_path / "workflow.cwl").write_text(yaml.safe_dump(workflow))

    async def relabel(value: str | None) -> None:
        patch = {"metadata": {"labels": dict.fromkeys(label, value)}}
        await namespace.core.patch_node("node0", patch, _content_type="application/merge-patch+json")

    async def late() -> None:
        await asyncio.sleep(12)
        await relabel("yes")

    async with observed(namespace) as observer:
        labelling = asyncio.create_task(late())
        done = await run(namespace, tmp_path)
        await labelling
    await relabel(None)
    assert len(observer.lives) == 2
    await agrees(observer, done, tmp_path)
