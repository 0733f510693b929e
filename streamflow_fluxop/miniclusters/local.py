"""MiniClusters on this machine: a real Flux instance where there is a `flux`, else the embedded scheduler."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Literal

from streamflow_fluxop.agent.boot import BOOT
from streamflow_fluxop.agent.client import AgentClient, AgentError, ConnectionLost
from streamflow_fluxop.agent.stream import ProcessStream
from streamflow_fluxop.miniclusters.base import MiniCluster, MiniClusterError
from streamflow_fluxop.model import Flavour

logger = logging.getLogger(__name__)


class LocalMiniCluster(MiniCluster):
    """See `MiniCluster`; its nodes are on this machine, whatever that has.

    Args:
        name: see `MiniCluster`.
        flavour: see `MiniCluster`.
        size: see `MiniCluster`.
        image: is not used: steps run with what this machine has.
        backend: "auto" takes Flux where `flux` is on the PATH.
    """

    def __init__(
        self,
        name: str,
        flavour: Flavour,
        size: int,
        *,
        image: str | None = None,
        backend: Literal["auto", "flux", "embedded"] = "auto",
    ) -> None:
        super().__init__(name, flavour, size, image=image)
        self._backend = backend
        self._client: AgentClient | None = None
        self._lock = asyncio.Lock()

    @property
    def client(self) -> AgentClient:
        """See `MiniCluster.client`."""
        if self._client is None:
            raise MiniClusterError(self.name, "is not up")
        return self._client

    async def up(self) -> None:
        """See `MiniCluster.up`."""
        async with self._lock:
            if self._client is None:
                self._client = await self._embedded()

    async def down(self) -> None:
        """See `MiniCluster.down`."""
        async with self._lock:
            client, self._client = self._client, None
            if client is not None:
                await client.close()

    async def _embedded(self) -> AgentClient:
        logger.info(
            "MiniCluster %s: no `flux` on the PATH, so the embedded scheduler takes its place. It keeps Flux's rules for"
            " %d node(s) of %d cores and %d GPUs, but runs every job as a process of this machine.",
            self.name, self.size, self.flavour.cores, self.flavour.gpus,
        )  # fmt: skip
        nodes = [(self.flavour.cores, self.flavour.gpus)] * self.size
        stream = await ProcessStream.start([sys.executable, "-u", "-c", BOOT], name=self.name)
        client = AgentClient(stream, name=self.name, backend="embedded", nodes=nodes)
        try:
            await client.start()
        except (AgentError, ConnectionLost) as error:
            await client.close()
            raise MiniClusterError(self.name, str(error)) from error
        except BaseException:
            await client.close()
            raise
        return client
