"""MiniClusters that others made: a run attaches to them, and leaves them as they are."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence

from streamflow_fluxop.agent.client.bootstrap import BOOT
from streamflow_fluxop.agent.client.client import AgentClient, AgentError, ConnectionLost
from streamflow_fluxop.agent.client.transport import ProcessStream
from streamflow_fluxop.miniclusters.base import Cluster, MiniCluster, MiniClusterError
from streamflow_fluxop.miniclusters.environment import job_environment
from streamflow_fluxop.miniclusters.scripts import here
from streamflow_fluxop.model import Flavour

logger = logging.getLogger(__name__)


class AttachedCluster(Cluster):
    """A Flux instance that this machine reaches; each MiniCluster is the whole of it, with an agent of its own.

    Args:
        flux_uri: of the instance.
        preserve: what jobs see of this process's environment, see `job_environment`.
    """

    def __init__(self, flux_uri: str, preserve: Sequence[str] = ()) -> None:
        self._flux_uri = flux_uri
        self._preserve = preserve

    def minicluster(
        self, name: str, flavour: Flavour, size: int, *, image: str | None = None, max_size: int | None = None
    ) -> AttachedMiniCluster:
        """See `Cluster.minicluster`."""
        return AttachedMiniCluster(
            self._flux_uri, name, flavour, size, image=image, max_size=max_size, preserve=self._preserve
        )

    async def shell(self, script: str, timeout: float) -> tuple[int, str]:
        """See `Cluster.shell`."""
        return await here(script, timeout)

    async def close(self) -> None:
        """See `Cluster.close`: nothing is shared."""


class AttachedMiniCluster(MiniCluster):
    """See `MiniCluster`; up is to start an agent beside it, down to end that agent and this run's jobs.

    Args:
        flux_uri: of the instance.
        name: see `MiniCluster`.
        flavour: see `MiniCluster`.
        size: nodes that are planned; once it is up, those that it has.
        image: is not used.
        max_size: is not used.
        preserve: see `job_environment`.
    """

    external = True

    def __init__(
        self,
        flux_uri: str,
        name: str,
        flavour: Flavour,
        size: int,
        *,
        image: str | None = None,
        max_size: int | None = None,
        preserve: Sequence[str] = (),
    ) -> None:
        super().__init__(name, flavour, size, image=image, max_size=max_size)
        self._flux_uri = flux_uri
        self._preserve = preserve

    async def up(self) -> None:
        """See `MiniCluster.up`."""
        if self._client is not None:
            return
        flux = shutil.which("flux")
        if flux is None:
            raise MiniClusterError(self.name, "there is no `flux` on the PATH", final=True)
        client = None
        try:
            stream = await ProcessStream.start(
                [flux, "python", "-u", "-c", BOOT],
                name=self.name,
                env={**job_environment(self._preserve), "FLUX_URI": self._flux_uri},
            )
            client = AgentClient(stream, name=self.name, backend="flux")
            await client.start()
            take_size(self, client)
        except BaseException as error:
            if client is not None:
                await client.close()
            if isinstance(error, (AgentError, ConnectionLost, OSError)):
                raise MiniClusterError(self.name, f"{self._flux_uri}: {error}") from error
            raise
        self._client = client

    async def down(self) -> None:
        """See `MiniCluster.down`."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def take_size(minicluster: MiniCluster, client: AgentClient) -> None:
    """Make the size what is really there: smaller than planned, jobs wait for each other; what can't be, Flux says."""
    hello, flavour = client.hello, minicluster.flavour
    wanted = (minicluster.size, minicluster.size * flavour.cores, minicluster.size * flavour.gpus)
    there = (hello.nodes, hello.cores, hello.gpus)
    if any(has < wants for has, wants in zip(there, wanted, strict=True)):
        logger.warning(
            "MiniCluster %s: the Flux instance has %d nodes, %d cores and %d GPUs; planned were %d, %d and %d",
            minicluster.name, *there, *wanted,
        )  # fmt: skip
    minicluster.size = hello.nodes
