"""`lifetime: job`: each job of a group gets a MiniCluster that no other job has had or will have."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from streamflow_fluxop.agent.client import (
    AgentClient,
    CommandResult,
    ConnectionLost,
    Hello,
    JobRequest,
    JobResult,
    Reader,
    Writer,
)
from streamflow_fluxop.agent.client import State as JobState
from streamflow_fluxop.miniclusters.base import Cluster, MiniCluster, MiniClusterError
from streamflow_fluxop.model import Flavour

logger = logging.getLogger(__name__)

_NAME_MAX = 40  # letters of a MiniCluster's name, see `config.Name`


class AloneCluster(Cluster):
    """A cluster in which some groups have a MiniCluster a job.

    Args:
        inner: makes the MiniClusters.
        groups: names of those groups.
    """

    def __init__(self, inner: Cluster, groups: Collection[str]) -> None:
        self._inner = inner
        self._groups = frozenset(groups)

    def minicluster(
        self, name: str, flavour: Flavour, size: int, *, image: str | None = None, max_size: int | None = None
    ) -> MiniCluster:
        """See `Cluster.minicluster`."""
        if name not in self._groups:
            return self._inner.minicluster(name, flavour, size, image=image, max_size=max_size)

        def make(number: int) -> MiniCluster:
            suffix = f"-{number}"
            return self._inner.minicluster(name[: _NAME_MAX - len(suffix)] + suffix, flavour, size, image=image)

        return AloneMiniCluster(make, name, flavour, size, image=image)

    async def close(self) -> None:
        """See `Cluster.close`."""
        await self._inner.close()


class AloneMiniCluster(MiniCluster):
    """One MiniCluster after the other, each for one job; never two at the same time, as the limits count one.

    Small commands and byte streams go to the one that is there: before its job, beside it, or after the last one's.

    Args:
        make: gives the MiniCluster of a number, not up yet.
        name: see `MiniCluster`.
        flavour: see `MiniCluster`.
        size: see `MiniCluster`.
        image: see `MiniCluster`.
    """

    def __init__(
        self, make: Callable[[int], MiniCluster], name: str, flavour: Flavour, size: int, *, image: str | None = None
    ) -> None:
        super().__init__(name, flavour, size, image=image)
        self._make = make
        self._numbers = itertools.count(1)
        self._inner: MiniCluster | None = None
        self._hello: Hello | None = None
        self._coming: asyncio.Lock = asyncio.Lock()  # held while one comes or goes
        self._turn = asyncio.Lock()  # held from a job's start until its MiniCluster is gone
        self._users = 0  # of the one that is there
        self._unused = asyncio.Event()
        self._unused.set()
        self._changed = asyncio.Event()
        self._going: set[asyncio.Task[None]] = set()
        self._down = False

    @property
    def client(self) -> AgentClient:
        """See `MiniCluster.client`: it runs each job in a MiniCluster of its own."""
        if self._hello is None:
            raise MiniClusterError(self.name, "is not up")
        return _Client(self, self._hello)

    async def up(self) -> None:
        """See `MiniCluster.up`: the first job's MiniCluster comes up."""
        self._down = False
        self._hello = (await self._one()).client.hello

    async def down(self) -> None:
        """See `MiniCluster.down`."""
        self._down = True
        self._hello = None
        if self._inner is not None:
            await self._inner.down()  # also if it is coming up; what it runs fails, and so gets out of the way
        while self._going:
            await asyncio.wait(set(self._going))
        self._inner = None
        self._changed.set()

    async def ended(self) -> str:
        """See `MiniCluster.ended`."""
        while True:
            self._changed.clear()
            if self._down:
                return "it was taken down"
            inner = self._inner
            if inner is None or self._coming.locked():
                await self._changed.wait()
                continue
            reason = await inner.ended()
            if inner is self._inner:
                return reason

    async def run_job(self, request: JobRequest, on_state: Callable[[JobState], None] | None) -> JobResult:
        """Run a job in a MiniCluster of its own; see `AgentClient.run_job`."""
        await self._turn.acquire()
        try:
            async with self.using() as inner:
                return await inner.client.run_job(request, on_state=on_state)
        finally:
            going = asyncio.create_task(self._retire())
            self._going.add(going)
            going.add_done_callback(self._going.discard)

    @asynccontextmanager
    async def using(self) -> AsyncIterator[MiniCluster]:
        """Keep the MiniCluster that is there, or a new one, up meanwhile."""
        inner = await self._one()
        self._users += 1
        self._unused.clear()
        try:
            yield inner
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def _one(self) -> MiniCluster:
        """The MiniCluster that is there; where there is none, the next one."""
        while True:
            if self._down:
                raise ConnectionLost(self.name, "it was taken down")
            if self._inner is not None and not self._coming.locked():
                return self._inner
            async with self._coming:
                if self._inner is None and not self._down:
                    self._inner = self._make(next(self._numbers))
                    try:
                        await self._inner.up()
                    except BaseException:
                        self._inner = None
                        raise
                    logger.info("MiniCluster %s: %s is up for its one job", self.name, self._inner)
            self._changed.set()

    async def _retire(self) -> None:
        """Take down the MiniCluster whose job is over, when nobody uses it any more; then the next job may have one."""
        try:
            while self._users:
                await self._unused.wait()
            async with self._coming:
                inner, self._inner = self._inner, None
                if inner is not None:
                    await inner.down()
        finally:
            self._turn.release()
            self._changed.set()


class _Client(AgentClient):
    """What the connector takes for the agent of the MiniCluster."""

    def __init__(self, alone: AloneMiniCluster, hello: Hello) -> None:
        self.name = alone.name
        self._alone = alone
        self._said = hello

    @property
    def hello(self) -> Hello:
        """Of the first MiniCluster; the others are like it."""
        return self._said

    async def run_job(self, request: JobRequest, *, on_state: Callable[[JobState], None] | None = None) -> JobResult:
        """See `AgentClient.run_job`."""
        return await self._alone.run_job(request, on_state)

    async def run_command(self, command: str, *, timeout: float | None = None) -> CommandResult:
        """See `AgentClient.run_command`."""
        async with self._alone.using() as inner:
            return await inner.client.run_command(command, timeout=timeout)

    @asynccontextmanager
    async def open_reader(self, command: str) -> AsyncIterator[Reader]:
        """See `AgentClient.open_reader`."""
        async with self._alone.using() as inner, inner.client.open_reader(command) as reader:
            yield reader

    @asynccontextmanager
    async def open_writer(self, command: str) -> AsyncIterator[Writer]:
        """See `AgentClient.open_writer`."""
        async with self._alone.using() as inner, inner.client.open_writer(command) as writer:
            yield writer
