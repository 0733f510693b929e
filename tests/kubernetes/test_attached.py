"""MiniClusters that others made: attached to, shared, and left as they are."""

from __future__ import annotations

import asyncio

import pytest
from namespaces import Namespace

from streamflow_fluxop.agent.client.client import ConnectionLost, JobRequest
from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.miniclusters.base import MiniClusterError
from streamflow_fluxop.miniclusters.kubernetes.external_minicluster import AttachedKubernetesCluster
from streamflow_fluxop.model import Flavour

FLAVOUR = Flavour(cores=1, memory=128)


def attach(namespace: Namespace, to: str | dict[str, str]) -> AttachedKubernetesCluster:
    kubernetes = KubernetesConfig(kubeconfig=str(namespace.kubeconfig), attach=to)
    return AttachedKubernetesCluster(
        FleetConfig(cluster="kubernetes", flavours={"node": FLAVOUR}, kubernetes=kubernetes)
    )


async def test_runs_share_a_minicluster_and_leave_it(namespace: Namespace) -> None:
    await namespace.minicluster("theirs", size=1)
    clusters = [attach(namespace, "theirs") for _ in range(2)]
    first, second = (cluster.minicluster("mc", FLAVOUR, 3) for cluster in clusters)
    await asyncio.wait_for(asyncio.gather(first.up(), second.up()), 60)
    assert first.size == 1
    mine = asyncio.create_task(first.client.run_job(JobRequest(("sleep", "1000"))))
    assert (await second.client.run_job(JobRequest(("sh", "-c", "exit 4")))).exit_code == 4
    await first.down()
    with pytest.raises(ConnectionLost):
        await mine
    assert (await second.client.run_job(JobRequest(("echo", "still there")))).output == "still there\n"
    await second.down()
    for cluster in clusters:
        await cluster.close()
    assert [m["metadata"]["name"] for m in await namespace.miniclusters()] == ["theirs"]
    await namespace.wipe()


async def test_one_that_is_not_there_is_said(namespace: Namespace) -> None:
    for to in ("nobody", {"team": "none"}):
        cluster = attach(namespace, to)
        with pytest.raises(MiniClusterError, match=r"there is no MiniCluster .*no"):
            await cluster.minicluster("mc", FLAVOUR, 1).up()
        await cluster.close()
