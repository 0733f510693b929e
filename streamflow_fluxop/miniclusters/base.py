"""The small interface that the fleet has to a MiniCluster, wherever it is."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine

from streamflow_fluxop.agent.client.client import AgentClient
from streamflow_fluxop.errors import FluxopError
from streamflow_fluxop.model import Flavour


class MiniClusterError(FluxopError):
    """A MiniCluster could not be brought up.

    Args:
        name: of the MiniCluster.
        why: in words that help.
        final: another try would end the same unless somebody changes something.
    """

    def __init__(self, name: str, why: str, *, final: bool = False) -> None:
        super().__init__(f"MiniCluster {name}: {why}")
        self.name = name
        self.why = why
        self.final = final


class ClusterError(FluxopError):
    """Where MiniClusters were to run can't be reached, or offers no place for them."""


class MiniCluster(ABC):
    """`size` nodes of one flavour with one image, and the agent that runs jobs on them.

    Args:
        name: unique in the fleet; letters, digits and dashes.
        flavour: of its nodes.
        size: how many nodes; `resize` changes it.
        image: of its containers; None: the machine's own, or the deployment's default.
        max_size: nodes that it may grow to; None: it keeps its size.

    Attributes:
        external: others made it: it costs nothing to bring up, and `down` leaves it as it was, but for our jobs.
        on_nodes: is told how many of its nodes are there, whenever that changes, where its cluster `counts_nodes`.
    """

    external: bool = False
    on_nodes: Callable[[int], None] = staticmethod(lambda nodes: None)

    def __init__(
        self, name: str, flavour: Flavour, size: int, *, image: str | None = None, max_size: int | None = None
    ) -> None:
        self.name = name
        self.flavour = flavour
        self.size = size
        self.image = image
        self.max_size = max(size, max_size or size)
        self._client: AgentClient | None = None
        self._work: asyncio.Task[None] | None = None

    @property
    def client(self) -> AgentClient:
        """Its agent.

        Raises:
            MiniClusterError: it is not up.
        """
        if self._client is None:
            raise MiniClusterError(self.name, "is not up")
        return self._client

    @property
    def waiting_for(self) -> str:
        """What it waits for while it comes up, in words for the user; empty where nobody can tell."""
        return ""

    @property
    def refused(self) -> bool:
        """Whether it waits for what has been refused, such as nodes that nobody has."""
        return False

    @abstractmethod
    async def up(self) -> None:
        """Bring it up and wait until it takes jobs; nothing happens where it is up already.

        Cancelled or failed, it leaves nothing behind.

        Raises:
            MiniClusterError: it does not come up.
        """

    @abstractmethod
    async def down(self) -> None:
        """Take it down and wait until it is gone.

        Never raises, is bounded in time, and may be called at any time and more than once, also while `up` is under
        way, which then fails.
        """

    async def resize(self, size: int) -> None:
        """Grow, and wait until the new nodes take jobs; or shrink, which lets the jobs on the leaving nodes end first.

        Nodes join at the end and leave from the end. Afterwards `size` is what it really is.

        Args:
            size: between 1 and `max_size`.

        Raises:
            MiniClusterError: it keeps its size, and why.
        """
        raise MiniClusterError(self.name, "cannot change its size here")

    async def ended(self) -> str:
        """Wait until it has ended although nobody took it down, such as by the loss of its lead broker.

        Returns:
            Why, in words that help.
        """
        return f"the connection to its agent ended: {await self.client.wait_closed()}"

    async def _unless_interrupted(self, work: Coroutine[None, None, None]) -> None:
        """Do what takes its time as a task of its own, so that `_interrupt` can end it, as `down` has to.

        Raises:
            MiniClusterError: `_interrupt` has ended it.
        """
        self._work = asyncio.create_task(work)
        try:
            await asyncio.shield(self._work)
        except asyncio.CancelledError:
            if self._work.cancelled():
                raise MiniClusterError(self.name, "was taken down meanwhile") from None
            self._work.cancel()
            await asyncio.wait([self._work])
            raise
        finally:
            self._work = None

    def _interrupt(self) -> None:
        if self._work is not None:
            self._work.cancel()

    def __str__(self) -> str:
        return self.name


class Cluster(ABC):
    """Where the MiniClusters of one fleet run: this machine, a Kubernetes namespace, a host behind SSH.

    Attributes:
        resizes: whether its MiniClusters can change their size; else each comes with all nodes that it will need.
        counts_nodes: whether its MiniClusters tell how many of their nodes are there (`on_nodes`); else they have all
            from asking for them until they are gone.
    """

    resizes: bool = False
    counts_nodes: bool = False

    @abstractmethod
    def minicluster(
        self, name: str, flavour: Flavour, size: int, *, image: str | None = None, max_size: int | None = None
    ) -> MiniCluster:
        """A MiniCluster that is not up yet; see `MiniCluster` for the arguments. No I/O happens here."""

    async def work_folder(self) -> str | None:
        """Where jobs work if the user does not say where; None: where StreamFlow thinks.

        Raises:
            ClusterError: there is no such place, or nobody can be asked.
        """
        return None

    async def shell(self, script: str, timeout: float) -> tuple[int, str]:
        """Run a script for `/bin/sh` where jobs run, but in none of its MiniClusters.

        Args:
            script: what to run.
            timeout: seconds after which it is ended.

        Returns:
            Its exit code and output, standard error with it.

        Raises:
            ClusterError: there is no such place, it can't be reached, or the script takes too long.
        """
        raise ClusterError("nothing can be run there but jobs")

    @abstractmethod
    async def close(self) -> None:
        """Let go what its MiniClusters shared (clients, watches), when all of them are down. Never raises."""
