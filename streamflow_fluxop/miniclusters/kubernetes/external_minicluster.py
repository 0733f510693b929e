"""MiniClusters in Kubernetes that others made: a run attaches to them, and leaves them as they are."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from streamflow_fluxop.agent.client.client import AgentClient, AgentGone
from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.errors import FluxopError
from streamflow_fluxop.miniclusters.base import Cluster, MiniCluster, MiniClusterError
from streamflow_fluxop.miniclusters.external import take_size
from streamflow_fluxop.miniclusters.kubernetes import readiness, resource
from streamflow_fluxop.miniclusters.kubernetes.api import MINICLUSTERS, Api
from streamflow_fluxop.miniclusters.kubernetes.exec import APART, ExecStream
from streamflow_fluxop.miniclusters.kubernetes.lead_exec import start_agent
from streamflow_fluxop.model import Flavour

logger = logging.getLogger(__name__)

_LOOK_AGAIN = 1.0


class AttachedKubernetesCluster(Cluster):
    """The MiniClusters of one name, or with some labels, in a namespace.

    A group gets the one that has its name; else they are dealt out in the order of their names.

    Args:
        config: of the fleet, with `kubernetes.attach`.
    """

    def __init__(self, config: FleetConfig) -> None:
        assert config.kubernetes.attach is not None
        self.config = config.kubernetes
        self._attach = config.kubernetes.attach
        self.api = Api(self.config)
        self._lock = asyncio.Lock()
        self._open = False
        self._dealt: dict[str, int] = {}

    def minicluster(
        self, name: str, flavour: Flavour, size: int, *, image: str | None = None, max_size: int | None = None
    ) -> AttachedKubernetesMiniCluster:
        """See `Cluster.minicluster`."""
        return AttachedKubernetesMiniCluster(self, name, flavour, size, image=image, max_size=max_size)

    async def close(self) -> None:
        """See `Cluster.close`."""
        await self.api.close()

    async def find(self, group: str) -> dict[str, Any]:
        """The object of a group's MiniCluster.

        Raises:
            KubernetesError: it cannot be told.
            MiniClusterError: there is none.
        """
        async with self._lock:
            if not self._open:
                await self.api.open()
                await self.api.ask()
                self._open = True
        if isinstance(self._attach, str):
            there = await self.api.get(self._attach)
            found = [] if there is None else [there]
        else:
            selector = ",".join(f"{key}={value}" for key, value in self._attach.items())
            listed: dict[str, Any] = await self.api.call(
                "list", MINICLUSTERS, self.api.custom.list_namespaced_custom_object,
                resource.API_GROUP, resource.VERSION, self.api.namespace, resource.PLURAL, label_selector=selector,
            )  # fmt: skip
            found = sorted(listed["items"], key=lambda item: str(item["metadata"]["name"]))
        if not found:
            what = self._attach if isinstance(self._attach, str) else f"with the labels {self._attach}"
            raise MiniClusterError(group, f"there is no MiniCluster {what} in namespace {self.api.namespace}")
        number = self._dealt.setdefault(group, len(self._dealt))
        same = [item for item in found if item["metadata"]["name"] == group]
        return (same or [found[number % len(found)]])[0]

    async def pods(self, name: str) -> list[dict[str, Any]]:
        """The pods that a MiniCluster's Job owns, as JSON objects."""
        listed = await self.api.call(
            "list", "pods", self.api.core.list_namespaced_pod, self.api.namespace, label_selector=f"job-name={name}"
        )
        return readiness.owned(name, [self.api.plain(pod) for pod in listed.items])


class AttachedKubernetesMiniCluster(MiniCluster):
    """See `MiniCluster`; up is to start an agent in its lead broker's pod, down to end that agent and our jobs.

    Args:
        cluster: where it is.
        name: see `MiniCluster`.
        flavour: see `MiniCluster`.
        size: nodes that are planned; once it is up, those that it has.
        image: is not used.
        max_size: is not used.
    """

    external = True

    def __init__(
        self,
        cluster: AttachedKubernetesCluster,
        name: str,
        flavour: Flavour,
        size: int,
        *,
        image: str | None = None,
        max_size: int | None = None,
    ) -> None:
        super().__init__(name, flavour, size, image=image, max_size=max_size)
        self._cluster = cluster
        self._waiting_for = ""

    @property
    def waiting_for(self) -> str:
        """See `MiniCluster.waiting_for`."""
        return self._waiting_for

    async def up(self) -> None:
        """See `MiniCluster.up`."""
        if self._client is not None:
            return
        client = None
        try:
            there = await self._cluster.find(self.name)
            target, size = there["metadata"]["name"], int(there["spec"].get("size", 1))
            client = await self._attach(target, size, there["spec"])
            take_size(self, client)
        except BaseException as error:
            if client is not None:
                await client.close()
            if isinstance(error, FluxopError) and not isinstance(error, MiniClusterError):
                raise MiniClusterError(self.name, getattr(error, "why", str(error))) from error
            raise
        self._client = client
        logger.info("MiniCluster %s is %s, which was there and stays", self.name, target)

    async def down(self) -> None:
        """See `MiniCluster.down`."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _attach(self, target: str, size: int, spec: dict[str, Any]) -> AgentClient:
        lead = await self._runs(target, size)

        async def connect() -> ExecStream:
            pods = {pod["metadata"]["name"]: pod for pod in await self._cluster.pods(target)}
            if (reason := readiness.end_of(target, pods.get(lead.pod))) is not None:
                raise AgentGone(reason)
            return await start_agent(self._cluster.api, lead, spec, name=self.name)

        client = AgentClient(
            connect,
            name=self.name,
            nodes=[(self.flavour.cores, self.flavour.gpus)] * size,
            linger=self._cluster.config.orphan_timeout or None,  # then our jobs end; the MiniCluster does not
            apart=APART,
        )
        try:
            await client.start()
        except BaseException:
            await client.close()
            raise
        return client

    async def _runs(self, target: str, size: int) -> readiness.Attachable:
        while True:
            verdict = readiness.judge(target, size, await self._cluster.pods(target), [])
            if isinstance(verdict, readiness.Attachable):
                return verdict
            if isinstance(verdict, readiness.Never):
                raise MiniClusterError(self.name, verdict.reason)
            self._waiting_for = verdict.reason
            await asyncio.sleep(_LOOK_AGAIN)
