"""Policies and quotas of a namespace: what `fluxop doctor` says of them, and pods that keep them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from namespaces import Namespace, eventually
from test_clean import fluxop
from test_doctor import streamflow_file
from test_faults import fleet, job

from streamflow_fluxop.events import Event, MiniClusterAsked
from streamflow_fluxop.grouping import Group
from streamflow_fluxop.model import Needs
from streamflow_fluxop.orchestration.runner import FleetRunner, MiniClusterFailed


async def enforce(namespace: Namespace, standard: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": standard}
    await namespace.core.patch_namespace(namespace.name, {"metadata": {"labels": labels}})


@contextlib.asynccontextmanager
async def up(namespace: Namespace, size: int = 1, **kubernetes: Any) -> AsyncIterator[Any]:
    """A MiniCluster that is up, with this configuration."""
    async with fleet(namespace, **kubernetes) as made:
        minicluster = made.minicluster(size=size)
        try:
            await asyncio.wait_for(minicluster.up(), 90)
            yield minicluster
        finally:
            await minicluster.down()


async def doctor(namespace: Namespace, folder: Path, **kubernetes: Any) -> tuple[int, str]:
    flux = {"view_image": namespace.image, "disable": True}
    file = streamflow_file(folder, namespace.image, flux=flux, **kubernetes)
    return await fluxop("doctor", str(file), kubeconfig=namespace.kubeconfig)


async def test_a_pod_that_pod_security_refuses_is_told_and_the_key_that_mends_it_does(
    namespace: Namespace, tmp_path: Path
) -> None:
    await enforce(namespace, "restricted")
    code, printed = await doctor(namespace, tmp_path)
    assert code == 1
    assert f"fail  a pod of small with {namespace.image}: Kubernetes refuses to create pods" in printed
    assert 'violates PodSecurity "restricted:latest"' in printed
    assert "no right" not in printed
    code, printed = await doctor(namespace, tmp_path, pod_security="restricted")
    assert code == 0, printed
    assert f"ok    a pod of small with {namespace.image}: policies and quotas" in printed


async def test_what_limit_ranges_and_quotas_say_to_a_pod_is_told(namespace: Namespace, tmp_path: Path) -> None:
    limit = {"limits": [{"type": "Container", "max": {"cpu": "500m"}}]}
    await namespace.core.create_namespaced_limit_range(namespace.name, {"metadata": {"name": "l"}, "spec": limit})

    async def told(what: str) -> None:  # admission reads limits from a cache
        code, printed = await doctor(namespace, tmp_path)
        assert code == 1, printed
        assert what in printed

    await eventually(lambda: told("maximum cpu usage per Container is 500m, but limit is 1"))
    await namespace.core.delete_namespaced_limit_range("l", namespace.name)
    quota = {"hard": {"requests.cpu": "500m"}}
    await namespace.core.create_namespaced_resource_quota(namespace.name, {"metadata": {"name": "q"}, "spec": quota})
    await eventually(
        lambda: told("asked for requests.cpu=1, but the quota q of the namespace is requests.cpu=500m in all")
    )


async def test_restricted_pods_come_up_where_nothing_else_may(namespace: Namespace) -> None:
    await enforce(namespace, "restricted")
    async with up(namespace, size=2, pod_security="restricted") as minicluster:
        result = await minicluster.client.run_job(job("id -u"))
        assert (result.exit_code, result.output) == (0, "1000\n")


async def test_a_value_of_a_secret_reaches_jobs_and_is_not_in_the_object(namespace: Namespace) -> None:
    secret = {"metadata": {"name": "store"}, "stringData": {"token": "a-token"}}
    await namespace.core.create_namespaced_secret(namespace.name, secret)
    async with up(namespace, secrets={"TOKEN": {"name": "store", "key": "token"}}) as minicluster:
        result = await minicluster.client.run_job(job("echo $TOKEN"))
        assert result.output == "a-token\n"
        assert "a-token" not in str(await namespace.miniclusters())


async def test_a_pod_with_the_lead_s_labels_is_not_the_lead(namespace: Namespace) -> None:
    async with fleet(namespace) as made:
        minicluster = made.minicluster()
        labels = {**made.cluster._labels, "streamflow-fluxop/minicluster": minicluster.object,
                  "batch.kubernetes.io/job-completion-index": "0"}  # fmt: skip
        container = {"name": minicluster.object, "image": namespace.image, "command": ["sleep", "1000"]}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
        pod = {"metadata": {"name": f"{minicluster.object}-0-false", "labels": labels}, "spec": spec}
        await namespace.core.create_namespaced_pod(namespace.name, pod)
        try:
            await asyncio.wait_for(minicluster.up(), 90)
            result = await minicluster.client.run_job(job("hostname"))
            assert result.output == f"{minicluster.object}-0\n", "the false one's name is longer"
        finally:
            await minicluster.down()
        assert [p.metadata.name for p in await namespace.pods()] == [f"{minicluster.object}-0-false"], "it is not ours"
        await namespace.kill_pod(f"{minicluster.object}-0-false")


async def test_a_quota_that_all_pods_together_exceed_is_told(namespace: Namespace, tmp_path: Path) -> None:
    spec = {"hard": {"limits.memory": "300Mi"}}
    await namespace.core.create_namespaced_resource_quota(namespace.name, {"metadata": {"name": "q"}, "spec": spec})
    file = streamflow_file(tmp_path, namespace.image, flux={"view_image": namespace.image})
    hint = 'hints: {"fluxop:FluxRequirement": {nodes: 2}}\n$namespaces: {fluxop: "urn:fluxop:"}\n'
    (tmp_path / "tool.cwl").write_text((tmp_path / "tool.cwl").read_text() + hint)

    async def told() -> None:
        code, printed = await fluxop("doctor", str(file), kubeconfig=namespace.kubeconfig)
        assert code == 1, printed
        assert "fail  2 pods of small: asked for limits.memory=512Mi, but the quota q" in printed, printed

    await eventually(told)


async def test_what_a_policy_refuses_is_not_asked_for_again_for_the_next_step(namespace: Namespace) -> None:
    await enforce(namespace, "restricted")
    async with fleet(namespace) as made:
        groups = [Group(name, "small", 1, namespace.image) for name in ("first", "second")]
        said: list[Event] = []
        runner = FleetRunner(groups, made.config, made.cluster, record=said.append)
        for group in groups:
            with pytest.raises(MiniClusterFailed, match="violates PodSecurity"):
                async with runner.job(f"job of {group.name}", group.name, None, Needs()):
                    pass
        await runner.close()
        asked = [e.minicluster for e in said if isinstance(e, MiniClusterAsked)]
        assert asked == ["first"]
        assert [life.node_seconds for life in runner.account.lives] == [0.0], "there never was a pod"
