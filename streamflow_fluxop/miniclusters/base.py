"""The small interface that the fleet has to a MiniCluster, wherever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from streamflow_fluxop.agent.client import AgentClient
from streamflow_fluxop.errors import FluxopError
from streamflow_fluxop.model import Flavour


class MiniClusterError(FluxopError):
    """A MiniCluster could not be brought up.

    Args:
        name: of the MiniCluster.
        why: in words that help.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"MiniCluster {name}: {why}")
        self.name = name


class MiniCluster(ABC):
    """`size` nodes of one flavour with one image, and the agent that runs jobs on them.

    Args:
        name: unique in the fleet; letters, digits and dashes.
        flavour: of its nodes.
        size: how many nodes.
        image: of its containers; None: the machine's own, or the deployment's default.
    """

    def __init__(self, name: str, flavour: Flavour, size: int, *, image: str | None = None) -> None:
        self.name = name
        self.flavour = flavour
        self.size = size
        self.image = image

    @property
    @abstractmethod
    def client(self) -> AgentClient:
        """Its agent.

        Raises:
            MiniClusterError: it is not up.
        """

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

    def __str__(self) -> str:
        return self.name
