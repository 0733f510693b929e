"""Each example's kubernetes.yml gives in pods what the example gives with cwltool, the reference.

Two by default, all with FLUXOP_TEST_EXAMPLES=all; there are few nodes, and each run is half a minute.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import example_runs as examples
import pytest
import pytest_asyncio
import yaml
from example_runs import EXAMPLES, NAMES
from namespaces import Namespace
from test_faults import TEMPLATE

CHOSEN = NAMES if os.environ.get("FLUXOP_TEST_EXAMPLES") == "all" else ["mpi-pi", "two-samples"]
GPU = "fluxop.test/gpu"


@pytest_asyncio.fixture
async def gpus(namespace: Namespace) -> AsyncIterator[str]:
    """Each node says that it has GPUs, by a name of the test's own; it stays, for other tests at the same time."""
    patch = [{"op": "add", "path": f"/status/capacity/{GPU.replace('/', '~1')}", "value": "64"}]
    for node in (await namespace.core.list_node()).items:
        name = node.metadata.name
        await namespace.core.patch_node_status(name, patch, _content_type="application/json-patch+json")
    yield GPU


def as_it_is(name: str, namespace: Namespace) -> Path:
    """The example's kubernetes.yml, but for image, path and kubeconfig; small machines have to do for its nodes."""
    example = EXAMPLES / name
    document = yaml.safe_load((example / "kubernetes.yml").read_text())
    (workflow,) = document["workflows"].values()
    for key in ("file", "settings"):
        workflow["config"][key] = str(example / workflow["config"][key])
    config = document["deployments"]["fleet"]["config"]
    config["image"] = namespace.image
    for flavour in config["flavours"].values():
        flavour["resources"] = {"cpu": "200m", "memory": "256Mi"}
    config["kubernetes"]["volumes"]["work"]["path"] = "/data"  # images of tests may have something at /work
    config["kubernetes"] |= {
        "flux": {"view_image": namespace.image, "disable": True},
        "gpu_resource": GPU,
        "kubeconfig": str(namespace.kubeconfig),
        "template": TEMPLATE,
    }
    path = namespace.kubeconfig.parent / "kubernetes.yml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("name", CHOSEN)
async def test_an_example_gives_in_pods_what_cwltool_gives(name: str, namespace: Namespace, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fluxop-volume-", dir="/var/tmp") as volume:
        await namespace.volume("work", Path(volume))
        environment = {**examples.environment(tmp_path), "FLUXOP_RUNS": str(tmp_path / "runs")}
        reference = await asyncio.to_thread(examples.cwltool, name, tmp_path, environment)
        file = as_it_is(name, namespace)
        ours = await asyncio.to_thread(examples.streamflow, file, tmp_path, environment)
        examples.is_what_cwltool_gives(name, ours, reference)
    if name == "mpi-pi":
        (log,) = (tmp_path / "runs").glob("*.jsonl")
        events = [json.loads(line) for line in log.read_text().splitlines()]
        sizes = [e["size"] for e in events if e["event"] in ("minicluster-asked", "minicluster-resized")]
        assert sizes[:2] == [1, 2], "it is to grow for the job on two nodes, as planned"
