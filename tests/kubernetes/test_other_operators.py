"""Clusters whose Flux Operator is absent, or of another version: a proxy answers as their API servers would."""

from __future__ import annotations

import asyncio

import pytest
from namespaces import Namespace
from test_faults import fleet, proxied

from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.miniclusters.base import MiniClusterError
from streamflow_fluxop.miniclusters.kubernetes.api import Api
from streamflow_fluxop.miniclusters.kubernetes.doctor import Finding, examine


async def found(namespace: Namespace, **answer: object) -> list[Finding]:
    """What the doctor finds where this answers the question for the resource definition."""
    async with proxied(namespace) as (proxy, kubeconfig):
        proxy.next("GET .*/customresourcedefinitions/", **answer)
        config = KubernetesConfig(kubeconfig=str(kubeconfig))
        api = Api(config)
        await api.open()
        try:
            return [f async for f in examine(api, config, {}, [])]
        finally:
            await api.close()


async def test_the_doctor_says_that_there_is_no_operator(namespace: Namespace) -> None:
    assert "the Flux Operator is not installed" in "".join(
        f.what for f in await found(namespace, status=404) if f.level == "fail"
    )


async def test_the_doctor_names_the_versions_that_are_there(namespace: Namespace) -> None:
    version = {"name": "v1alpha1", "served": True, "storage": True}
    names = {"kind": "MiniCluster", "plural": "miniclusters"}
    spec = {"group": "flux-framework.org", "scope": "Namespaced", "names": names, "versions": [version]}
    findings = await found(namespace, event={"metadata": {}, "spec": spec})
    assert [f.what for f in findings if f.level == "fail"] == [
        "the Flux Operator there serves v1alpha1 of MiniClusters, not v1alpha2"
    ]


async def test_a_bring_up_without_an_operator_fails_at_once(namespace: Namespace) -> None:
    async with proxied(namespace) as (proxy, kubeconfig), fleet(namespace, kubeconfig) as made:
        proxy.next("/miniclusters", status=404, message="the server could not find the requested resource", times=99)
        minicluster = made.minicluster()
        with pytest.raises(MiniClusterError, match="miniclusters"):
            await asyncio.wait_for(minicluster.up(), 30)
        await minicluster.down()
