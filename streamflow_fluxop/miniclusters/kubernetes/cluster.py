"""Where a fleet's MiniClusters run: a namespace of a Kubernetes cluster that has the Flux Operator."""

from __future__ import annotations

import asyncio
import getpass
import logging
import secrets
from collections import Counter
from hashlib import sha256

from streamflow_fluxop import events
from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.miniclusters.base import Cluster
from streamflow_fluxop.miniclusters.kubernetes import resource
from streamflow_fluxop.miniclusters.kubernetes.api import Api
from streamflow_fluxop.miniclusters.kubernetes.minicluster import KubernetesMiniCluster
from streamflow_fluxop.miniclusters.kubernetes.watch import NamespaceWatch
from streamflow_fluxop.model import Flavour

logger = logging.getLogger(__name__)


class KubernetesCluster(Cluster):
    """One namespace, and in it what one run of a fleet has made.

    Args:
        config: of the fleet.
        deployment: the fleet's name.
        workflow: name of what runs; empty: nobody knows.
        run: id of the run, which its objects' labels carry; None: a new one.
        record: is told how far bring-ups are.
    """

    resizes = True
    counts_nodes = True

    def __init__(
        self,
        config: FleetConfig,
        deployment: str,
        workflow: str = "",
        run: str | None = None,
        record: events.Recorder = events.discard,
    ) -> None:
        self.record = record
        self.config = config.kubernetes
        self.run = run or secrets.token_hex(3)
        self._flavours = config.flavours
        self._labels = {
            resource.RUN: self.run,
            resource.DEPLOYMENT: resource.object_name(deployment, 63),
            resource.OWNER: resource.object_name(self.config.owner or _user(), 63),
        }
        if workflow:
            self._labels[resource.WORKFLOW] = resource.object_name(workflow, 63)
        self.api = Api(self.config)
        self.watch = NamespaceWatch(self.api, self.run)
        self._lives: Counter[str] = Counter()
        self._lock = asyncio.Lock()
        self._open = False

    def minicluster(
        self, name: str, flavour: Flavour, size: int, *, image: str | None = None, max_size: int | None = None
    ) -> KubernetesMiniCluster:
        """See `Cluster.minicluster`."""
        self._lives[name] += 1
        kind = next((key for key, value in self._flavours.items() if value == flavour), "")
        body = resource.minicluster(
            resource.life_name(name, _short(self.run), self._lives[name]),
            flavour,
            size,
            max_size=max_size,
            image=image,
            config=self.config,
            labels={**self._labels, resource.GROUP: resource.object_name(name, 63)}
            | ({resource.FLAVOUR: resource.object_name(kind)} if kind else {}),
        )
        return KubernetesMiniCluster(self, body, name, flavour, size, image=image, max_size=max_size)

    async def open(self) -> None:
        """Connect, and watch the run's pods; nothing happens where that is done already.

        Raises:
            KubernetesError: Kubernetes cannot be reached, or not as we need it.
        """
        async with self._lock:
            if not self._open:
                await self.api.open()
                await self.api.ask()
                await self.watch.start()
                self._open = True

    async def close(self) -> None:
        """See `Cluster.close`."""
        await self.watch.stop()
        await self.api.close()


def _short(run: str) -> str:
    """A run's id in the names of objects, from which the pods' host names derive."""
    return run if len(run) <= 10 else sha256(run.encode()).hexdigest()[:6]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return "unknown"
