"""What happens to MiniClusters, and to us, when something breaks; afterwards nothing may be left (`namespace`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from namespaces import Namespace, eventually
from proxy import Proxy, proxy_to
from test_doctor import without

from streamflow_fluxop.agent.client.client import ConnectionLost, JobRequest
from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.miniclusters.base import MiniClusterError
from streamflow_fluxop.miniclusters.kubernetes.cluster import KubernetesCluster
from streamflow_fluxop.miniclusters.kubernetes.doctor import RIGHTS, Right
from streamflow_fluxop.model import Flavour

TEMPLATE: dict[str, Any] = json.loads(os.environ.get("FLUXOP_TEST_TEMPLATE", "{}"))
"""For the MiniClusters of all tests, such as a curve certificate where the operator was built without ZeroMQ."""

SMALL = {"cores": 2, "memory": 512, "resources": {"cpu": "400m"}}


class Fleet:
    """Makes MiniClusters of one run in the test's namespace, with the rights of a user."""

    def __init__(self, namespace: Namespace, kubeconfig: Path, flavour: dict[str, Any], **kubernetes: Any) -> None:
        config: dict[str, Any] = {
            "cluster": "kubernetes",
            "image": namespace.image,
            "flavours": {"small": flavour},
            "kubernetes": {
                "kubeconfig": str(kubeconfig),
                "flux": {"view_image": namespace.image, "disable": True},
                "template": TEMPLATE,
                **kubernetes,
            },
        }
        self.config = FleetConfig.model_validate(config)
        self.cluster = KubernetesCluster(self.config, "fleet")

    def minicluster(self, name: str = "one", size: int = 1, image: str | None = None, **more: Any) -> Any:
        flavour: Flavour = self.config.flavours["small"]
        return self.cluster.minicluster(name, flavour, size, image=image or self.config.image, **more)


@contextlib.asynccontextmanager
async def fleet(
    namespace: Namespace, kubeconfig: Path | None = None, flavour: dict[str, Any] = SMALL, **kubernetes: Any
) -> AsyncIterator[Fleet]:
    made = Fleet(namespace, kubeconfig or namespace.kubeconfig, flavour, **kubernetes)
    try:
        yield made
    finally:
        await made.cluster.close()


@contextlib.asynccontextmanager
async def one_up(namespace: Namespace, kubeconfig: Path | None = None, **more: Any) -> AsyncIterator[Any]:
    """A MiniCluster that is up."""
    async with fleet(namespace, kubeconfig) as made:
        minicluster = made.minicluster(**more)
        try:
            await asyncio.wait_for(minicluster.up(), 90)
            yield minicluster
        finally:
            await minicluster.down()


@contextlib.asynccontextmanager
async def proxied(namespace: Namespace) -> AsyncIterator[tuple[Proxy, Path]]:
    """A proxy to the API server, and the kubeconfig of our service account through it."""
    settings = namespace.api.configuration
    async with proxy_to(settings.host, settings.ssl_ca_cert) as proxy:
        yield proxy, namespace.through(proxy.url)


def job(command: str) -> JobRequest:
    return JobRequest(("/bin/sh", "-c", command))


async def test_a_minicluster_comes_up_runs_jobs_and_leaves_nothing(namespace: Namespace) -> None:
    async with one_up(namespace, size=2) as minicluster:
        results = await asyncio.gather(*(minicluster.client.run_job(job(f"echo {n}")) for n in range(20)))
        assert [r.output for r in results] == [f"{n}\n" for n in range(20)]


async def test_the_lead_pod_is_deleted_while_a_job_runs(namespace: Namespace) -> None:
    async with one_up(namespace) as minicluster:
        done = await minicluster.client.run_job(job("echo before"))
        running = asyncio.create_task(minicluster.client.run_job(job("sleep 100")))
        ended = asyncio.create_task(minicluster.ended())
        await asyncio.sleep(0.5)
        await namespace.kill_pod((await namespace.pod(minicluster.object, 0)).metadata.name)
        assert "the pod of its lead broker" in await asyncio.wait_for(ended, 30)
        with pytest.raises(ConnectionLost, match="lead broker"):
            await asyncio.wait_for(running, 30)
        assert done.output == "before\n"


async def test_a_worker_pod_is_deleted_and_what_runs_elsewhere_goes_on(namespace: Namespace) -> None:
    async with one_up(namespace, size=2) as minicluster:
        lead_only = replace(job("sleep 3; echo on"), ranks=(0,))
        running = asyncio.create_task(minicluster.client.run_job(lead_only))
        await asyncio.sleep(0.5)
        await namespace.kill_pod((await namespace.pod(minicluster.object, 1)).metadata.name)
        assert (await asyncio.wait_for(running, 30)).output == "on\n"


async def test_the_exec_stream_is_cut_in_the_middle_of_a_message(namespace: Namespace, tmp_path: Path) -> None:
    async with proxied(namespace) as (proxy, kubeconfig):
        proxy.next("GET .*/exec", cut_after=20_000)
        async with one_up(namespace, kubeconfig) as minicluster:
            once = "mkdir /tmp/once || exit 1; sleep 1; head -c 50000 /dev/zero | tr '\\0' x"
            result = await asyncio.wait_for(minicluster.client.run_job(job(once)), 60)
            assert (result.exit_code, len(result.output)) == (0, 50_000)
            assert sum("exec" in line for line in proxy.requests) == 2


@pytest.mark.parametrize("seconds", [20])
async def test_the_api_server_is_away_and_comes_back(namespace: Namespace, seconds: float) -> None:
    async with proxied(namespace) as (proxy, kubeconfig), one_up(namespace, kubeconfig) as minicluster:
        running = asyncio.create_task(minicluster.client.run_job(job("mkdir /tmp/once && sleep 5 && echo done")))
        await asyncio.sleep(0.5)
        proxy.away = True
        proxy.cut()
        await asyncio.sleep(seconds)
        proxy.away = False
        result = await asyncio.wait_for(running, 60)
        assert (result.exit_code, result.output) == (0, "done\n")
        assert (await minicluster.client.run_job(job("echo after"))).output == "after\n"


@pytest.mark.parametrize("status", [429, 500])
async def test_requests_that_fail_for_a_while_are_tried_again(namespace: Namespace, status: int) -> None:
    async with proxied(namespace) as (proxy, kubeconfig):
        faults = [
            proxy.next("POST .*miniclusters", status=status, times=2),
            proxy.next("GET .*/exec", status=status),
            proxy.next("DELETE .*miniclusters", status=status),
        ]
        async with one_up(namespace, kubeconfig):
            assert len(await namespace.miniclusters()) == 1
        assert [f.hits for f in faults] == [2, 1, 1]


async def test_an_answer_that_got_lost_makes_no_second_minicluster(namespace: Namespace) -> None:
    async with proxied(namespace) as (proxy, kubeconfig):
        proxy.next("POST .*miniclusters", cut_after=10)
        async with one_up(namespace, kubeconfig):
            assert len(await namespace.miniclusters()) == 1


async def test_a_watch_that_has_expired_is_begun_anew(namespace: Namespace) -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    async with proxied(namespace) as (proxy, kubeconfig):
        fault = proxy.next(r"GET .*/pods.*watch=True", event={"type": "ERROR", "object": gone}, times=2)
        async with one_up(namespace, kubeconfig) as minicluster:
            assert fault.hits == 2
            assert (await minicluster.client.run_job(job("echo x"))).output == "x\n"


async def refused(namespace: Namespace, **more: Any) -> str:
    """Why a MiniCluster does not come up."""
    flavour = more.pop("flavour", SMALL)
    kubeconfig = more.pop("kubeconfig", None)
    async with fleet(namespace, kubeconfig, flavour) as made:
        minicluster = made.minicluster(**more)
        try:
            with pytest.raises(MiniClusterError) as caught:
                await asyncio.wait_for(minicluster.up(), 60)
        finally:
            await minicluster.down()
    return str(caught.value)


async def test_a_quota_that_is_too_small_is_named(namespace: Namespace) -> None:
    async with namespace.quota(**{"limits.memory": "1Gi", "limits.cpu": "8"}):
        said = await refused(namespace, flavour={**SMALL, "memory": 4096})
        assert "quota" in said
        assert "small" in said
        assert "limits.memory" in said


async def test_an_image_that_is_not_there_is_named(namespace: Namespace) -> None:
    async with fleet(namespace, image_pull_policy="Never") as made:
        minicluster = made.minicluster(image="localhost/nowhere:1")
        with pytest.raises(MiniClusterError, match="localhost/nowhere:1"):
            await asyncio.wait_for(minicluster.up(), 60)
        await minicluster.down()


async def test_pods_that_no_node_fits_wait_with_the_schedulers_words(namespace: Namespace) -> None:
    async with fleet(namespace, flavour={**SMALL, "node_selector": {"no": "such-node"}}) as made:
        minicluster = made.minicluster()
        coming = asyncio.create_task(minicluster.up())

        async def said() -> None:
            assert "didn't match Pod's node affinity/selector" in minicluster.waiting_for

        await eventually(said)
        await minicluster.down()
        with pytest.raises(MiniClusterError, match="was taken down"):
            await coming


UP = {("create", "miniclusters"), ("list", "pods"), ("get", "pods/exec")}
NEEDED = [r for r in RIGHTS if (r.verb, r.resource) in UP]


@pytest.mark.parametrize("right", NEEDED, ids=str)
async def test_a_missing_right_is_named_when_it_is_needed(namespace: Namespace, right: Right) -> None:
    less = await namespace.account("less", without(right))
    async with fleet(namespace, less) as made:
        minicluster = made.minicluster()
        coming = asyncio.create_task(minicluster.up())

        async def said() -> None:
            error = str(coming.exception()) if coming.done() else minicluster.waiting_for
            assert right.verb in error, error
            assert right.resource.split("/")[-1] in error, error
            assert "no right" in error or "cannot" in error or "forbidden" in error, error

        try:
            await eventually(said, 20)
        finally:
            coming.cancel()
            await asyncio.wait([coming])
            await minicluster.down()
    await namespace.wipe()


ORPHAN = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_faults import Fleet, SMALL

class Place:
    image = sys.argv[3]

async def main():
    fleet = Fleet(Place, Path(sys.argv[2]), SMALL, orphan_timeout=float(sys.argv[4]))
    await fleet.minicluster().up()
    print(fleet.cluster.run, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def killed_controller(namespace: Namespace, orphan_timeout: float) -> AsyncIterator[str]:
    """A controller that was killed without mercy when its MiniCluster was up: the run's id."""
    arguments = [str(Path(__file__).parent), str(namespace.kubeconfig), namespace.image, str(orphan_timeout)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ORPHAN, *arguments, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    try:
        run = (await asyncio.wait_for(process.stdout.readline(), 90)).decode().strip()
    finally:
        process.kill()
        await process.wait()
    assert run
    yield run


async def test_a_killed_controllers_minicluster_ends_itself(namespace: Namespace) -> None:
    async with killed_controller(namespace, 3.0):
        assert len(await namespace.miniclusters()) == 1

        async def nothing_left() -> None:
            assert await namespace.what_is_left() == []

        await eventually(nothing_left, 60)


async def test_clean_finds_a_killed_controllers_minicluster_before(namespace: Namespace) -> None:
    from test_clean import fluxop

    async with killed_controller(namespace, 600.0) as run:
        code, printed = await fluxop("clean", "--run", run, "--yes", kubeconfig=namespace.kubeconfig)
        assert code == 0, printed
        assert "1 removed" in printed
