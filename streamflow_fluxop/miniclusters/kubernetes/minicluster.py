"""One MiniCluster in Kubernetes, from the object's creation until its pods are gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from streamflow_fluxop import events
from streamflow_fluxop.agent.client.client import AgentClient, AgentError, ConnectionLost
from streamflow_fluxop.agent.client.errors import AgentGone
from streamflow_fluxop.errors import FluxopError
from streamflow_fluxop.miniclusters.base import MiniCluster, MiniClusterError
from streamflow_fluxop.miniclusters.kubernetes import readiness
from streamflow_fluxop.miniclusters.kubernetes.api import SETTLES
from streamflow_fluxop.miniclusters.kubernetes.brokers import Brokers
from streamflow_fluxop.miniclusters.kubernetes.errors import KubernetesError, NameTaken
from streamflow_fluxop.miniclusters.kubernetes.exec import APART, ExecStream
from streamflow_fluxop.miniclusters.kubernetes.lead_exec import start_agent
from streamflow_fluxop.model import Flavour

if TYPE_CHECKING:
    from streamflow_fluxop.miniclusters.kubernetes.cluster import KubernetesCluster

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT = 15.0
"""Seconds that Flux gets to shut down before its MiniCluster is deleted anyway."""

GONE_TIMEOUT = 120.0
"""Seconds that a deleted MiniCluster's pods get to go: a grace period is 30 s, and nodes may be slow."""

_FINAL = (400, 403, 404, 422)
"""What Kubernetes answers to an object that it will not take tomorrow either."""

_LOOK_AGAIN = 10.0  # seconds after which we look even though nothing has changed
_ATTACH_AGAIN = 1.0
_GONE_AGAIN = 0.5


class KubernetesMiniCluster(MiniCluster):
    """See `MiniCluster`: an object of the Flux Operator, and the agent in its lead broker's pod.

    Args:
        cluster: where it runs.
        body: the object, see `resource.minicluster`.
        name: see `MiniCluster`.
        flavour: see `MiniCluster`.
        size: see `MiniCluster`.
        image: see `MiniCluster`.
        max_size: see `MiniCluster`.
    """

    def __init__(
        self,
        cluster: KubernetesCluster,
        body: dict[str, Any],
        name: str,
        flavour: Flavour,
        size: int,
        *,
        image: str | None = None,
        max_size: int | None = None,
    ) -> None:
        super().__init__(name, flavour, size, image=image, max_size=max_size)
        self._cluster = cluster
        self._body = body
        self.object: str = body["metadata"]["name"]
        self._asked_for = False
        self._there: dict[str, Any] = body
        self._job: str | None = None
        self._lead = ""
        self._waiting_for = ""
        self._refused = False
        self._nodes_there = 0
        self._stream: ExecStream | None = None
        self._lock = asyncio.Lock()

    @property
    def waiting_for(self) -> str:
        """See `MiniCluster.waiting_for`."""
        return self._waiting_for

    @property
    def refused(self) -> bool:
        """See `MiniCluster.refused`: no node suits a pod."""
        return self._refused

    async def up(self) -> None:
        """See `MiniCluster.up`."""
        async with self._lock:
            if self._client is not None:
                return
            try:
                await self._change(self._up())
            except BaseException:
                await self._clean()
                raise

    async def resize(self, size: int) -> None:
        """See `MiniCluster.resize`."""
        async with self._lock:
            if not 1 <= size <= self.max_size:
                raise MiniClusterError(self.name, f"can have 1 to {self.max_size} nodes, not {size}")
            if size != self.size:
                await self._change(self._grow(size) if size > self.size else self._shrink(size))

    async def down(self) -> None:
        """See `MiniCluster.down`."""
        self._interrupt()
        async with self._lock:
            await self._clean()

    async def ended(self) -> str:
        """See `MiniCluster.ended`."""
        client = self.client
        closed = asyncio.create_task(client.wait_closed())
        gone = asyncio.create_task(self._lead_gone())
        try:
            done, _ = await asyncio.wait([closed, gone], return_when=asyncio.FIRST_COMPLETED)
            if gone not in done:  # a moment for the watch to tell why
                await asyncio.wait([gone], timeout=2)
            if gone.done():
                client.give_up(gone.result())
                return gone.result()
            return closed.result()
        finally:
            for task in (closed, gone):
                task.cancel()
            await asyncio.wait([closed, gone])

    async def _change(self, work: Coroutine[None, None, None]) -> None:
        """Do it unless `down` ends it.

        Raises:
            MiniClusterError: it failed, or `down` has ended it.
        """
        try:
            await self._unless_interrupted(work)
        except FluxopError as error:
            if isinstance(error, MiniClusterError):
                raise
            final = isinstance(error, KubernetesError) and error.status in _FINAL
            raise MiniClusterError(self.name, str(error), final=final) from error

    # --------------------------------------------------------------------------------------------------------- coming

    async def _up(self) -> None:
        self._wait_for("an answer of the Kubernetes API")
        await self._cluster.open()
        self._cluster.watch.on_change[self.object] = self._count_nodes
        await self._create()
        while True:
            lead = await self._runs(self.size)
            try:
                await self._attach(lead)
            except (KubernetesError, ConnectionLost, AgentError, AgentGone) as error:
                await self._let_go()
                self._wait_for(f"its agent: {error}")
                await asyncio.sleep(_ATTACH_AGAIN)
            else:
                return

    async def _create(self) -> None:
        self._asked_for = True
        try:
            self._there = await self._cluster.api.create(self._body)
        except NameTaken:
            self._asked_for = False
            raise
        logger.info(
            "MiniCluster %s is %s in namespace %s, of run %s",
            self.name, self.object, self._cluster.api.namespace, self._cluster.run,
        )  # fmt: skip

    async def _runs(self, size: int) -> readiness.Attachable:
        """Wait until so many pods run."""
        while True:
            match self._judge(size):
                case readiness.Attachable() as lead:
                    if self._job is not None or (uid := await self._cluster.api.job_uid(self._there)) is None:
                        return lead
                    self._job = uid
                    continue
                case readiness.Never(reason, log, again):
                    if log is not None and (lines := (await self._cluster.api.log_of(*log)).strip()):
                        reason += f"; its last words were:\n{lines}"
                    raise MiniClusterError(self.name, reason, final=not again)
                case readiness.Waiting(reason, refused):
                    self._refused = refused
                    self._wait_for(reason)
            before = self._pods
            await self._cluster.watch.changed(_LOOK_AGAIN)
            if not before and await self._cluster.api.get(self.object) is None:
                raise MiniClusterError(self.name, f"somebody has deleted the object {self.object}")

    @property
    def _pods(self) -> list[dict[str, Any]]:
        """Those that its Job owns."""
        return readiness.owned(self.object, self._cluster.watch.pods(self.object), self._job)

    def _judge(self, size: int) -> readiness.Verdict:
        pods = self._pods
        names = [self.object, *(pod["metadata"]["name"] for pod in pods)]
        return readiness.judge(self.object, size, pods, self._cluster.watch.warnings(names))

    def _count_nodes(self) -> None:
        """Tell how many of its pods are there."""
        there = sum(readiness.rank_of(self.object, pod) is not None for pod in self._pods)
        if there != self._nodes_there:
            self._nodes_there = there
            self.on_nodes(there)

    def _wait_for(self, reason: str) -> None:
        if reason != self._waiting_for:
            self._waiting_for = reason
            logger.info("MiniCluster %s waits: %s", self.name, reason)
            self._cluster.record(events.MiniClusterProgress(minicluster=self.name, message=reason))

    async def _attach(self, lead: readiness.Attachable) -> None:
        self._wait_for("its brokers")

        async def connect() -> ExecStream:
            if (reason := self._lead_end()) is not None:
                raise AgentGone(reason)
            self._stream = await start_agent(self._cluster.api, lead, self._body["spec"], name=self.name)
            return self._stream

        self._lead = lead.pod
        self._client = AgentClient(
            connect,
            name=self.name,
            # the embedded scheduler cannot change its nodes; the fleet asks for no more than pods are there
            nodes=[(self.flavour.cores, self.flavour.gpus)] * self.max_size,
            # several pods may share a machine's cores, and their brokers do not know of each other
            flux={"shell": {"cpu-affinity": "off"}},
            linger=None,  # the watchdog, or the end of the pod, ends it
            orphan_timeout=self._cluster.config.orphan_timeout,
            apart=APART,
        )
        await self._client.start()
        await self._brokers.are_up(self.size, self._wait_for)

    @property
    def _brokers(self) -> Brokers:
        return Brokers(self.client, self.name)

    async def _lead_gone(self) -> str:
        """Wait until the lead broker's pod is no more.

        Returns:
            Why.
        """
        while (reason := self._lead_end()) is None:
            await self._cluster.watch.changed(_LOOK_AGAIN)
        return reason

    def _lead_end(self) -> str | None:
        pods = {p["metadata"]["name"]: p for p in self._pods}
        return readiness.end_of(self.object, pods.get(self._lead))

    # --------------------------------------------------------------------------------------------------------- sizes

    async def _grow(self, size: int) -> None:
        before = self.size
        await self._cluster.api.resize(self.object, size)
        try:
            await self._runs(size)
            await self._brokers.undrain(before, size)
            await self._brokers.are_up(size, self._wait_for)
        except BaseException:
            await asyncio.shield(self._cluster.api.resize(self.object, before))
            raise
        self.size = size

    async def _shrink(self, size: int) -> None:
        """No new job starts on the ranks that leave; when those there are over, their pods go."""
        before = self.size
        await self._brokers.drain(size, before)
        try:
            await self._cluster.api.resize(self.object, size)
        except BaseException:
            await asyncio.shield(self._brokers.undrain(size, before))
            raise
        self.size = size
        told = False
        while leaving := [pod for rank, pod in self._brokers_pods().items() if rank >= size]:
            if not told and all("deletionTimestamp" in pod["metadata"] for pod in leaving):
                told = True
                await self._brokers.end(size, before)
            await self._cluster.watch.changed(_LOOK_AGAIN)

    def _brokers_pods(self) -> dict[int, dict[str, Any]]:
        return readiness.brokers(self.object, self._pods)

    # ---------------------------------------------------------------------------------------------------------- going

    async def _clean(self) -> None:
        """Shut Flux down, so that pods end at once; delete the object; wait until the pods are gone. Never raises."""
        in_order = await self._shut_down()
        await self._let_go()
        if not self._asked_for:
            return
        try:
            await asyncio.wait_for(self._delete(at_once=not in_order), GONE_TIMEOUT)
        except asyncio.TimeoutError:
            left = ", ".join(p["metadata"]["name"] for p in self._pods)
            logger.error(
                "MiniCluster %s: deleted, but %g s later Kubernetes still has %s: look at it with kubectl",
                self.name, GONE_TIMEOUT, left or f"the object {self.object}",
            )  # fmt: skip
        except FluxopError as error:
            logger.error("MiniCluster %s: %s; `fluxop clean` removes what is left of it", self.name, error)
        else:
            self._asked_for = False
        self._cluster.watch.on_change.pop(self.object, None)

    async def _shut_down(self) -> bool:
        """Shut Flux down, if it is there; whether the pods can be left to end by themselves."""
        if self._client is None:
            return False
        try:
            if self._brokers.there:
                if path := self._body["spec"].get("archive", {}).get("path"):
                    await self._brokers.save(path)
                if self._stream is not None:
                    self._stream.quiet = True  # the agent's complaints that Flux is going
                # in the background, as it ends what runs it
                await self._client.run_command("flux shutdown --background", timeout=SHUTDOWN_TIMEOUT)
                await self._let_go()  # it is not to connect again
                await asyncio.wait_for(self._lead_gone(), SHUTDOWN_TIMEOUT)
                return True
        except (FluxopError, RuntimeError, asyncio.TimeoutError) as error:
            logger.debug("MiniCluster %s: Flux did not shut down: %r", self.name, error)
        return False

    async def _let_go(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _delete(self, *, at_once: bool) -> None:
        api, watch, clock = self._cluster.api, self._cluster.watch, asyncio.get_running_loop().time
        there = [pod["metadata"]["name"] for pod in self._pods]
        settled = clock() + (0 if there else SETTLES)
        await api.delete(self.object)
        if at_once:  # else their shell, which ignores SIGTERM, would wait for the end of the grace period, 30 s
            await asyncio.gather(*map(api.end_pod, there))
        while (pods := self._pods) or clock() < settled or not await api.is_gone(self.object):
            await watch.changed(_LOOK_AGAIN if pods else _GONE_AGAIN)
