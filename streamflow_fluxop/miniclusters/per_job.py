"""`lifetime: job`: each job of a group gets a MiniCluster that no other job has had or will have."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from streamflow_fluxop.agent.client.client import (
    AgentClient,
    CommandResult,
    ConnectionLost,
    Hello,
    JobRequest,
    JobResult,
    Reader,
    Writer,
)
from streamflow_fluxop.agent.client.client import State as JobState
from streamflow_fluxop.miniclusters.base import Cluster, MiniCluster, MiniClusterError
from streamflow_fluxop.model import Flavour

logger = logging.getLogger(__name__)

_NAME_MAX = 40  # letters of a MiniCluster's name, see `config.Name`


class AloneCluster(Cluster):
    """A cluster in which some groups have a MiniCluster a job.

    Args:
        inner: makes the MiniClusters.
        groups: names of those groups, with the nodes that most of their jobs ask for.
        several: whether a group may have several at the same time; else one comes when the one before has gone.
    """

    def __init__(self, inner: Cluster, groups: Mapping[str, int], *, several: bool = True) -> None:
        self.resizes = inner.resizes
        self.counts_nodes = inner.counts_nodes
        self._inner = inner
        self._groups = groups
        self._several = several

    def minicluster(
        self, name: str, flavour: Flavour, size: int, *, image: str | None = None, max_size: int | None = None
    ) -> MiniCluster:
        """See `Cluster.minicluster`."""
        if name not in self._groups:
            return self._inner.minicluster(name, flavour, size, image=image, max_size=max_size)

        def make(number: int, nodes: int) -> MiniCluster:
            suffix = f"-{number}"
            return self._inner.minicluster(name[: _NAME_MAX - len(suffix)] + suffix, flavour, nodes, image=image)

        return AloneMiniCluster(
            make, name, flavour, size,
            image=image, max_size=max_size, usual=self._groups[name], several=self._several,
        )  # fmt: skip

    async def work_folder(self) -> str | None:
        """See `Cluster.work_folder`."""
        return await self._inner.work_folder()

    async def shell(self, script: str, timeout: float) -> tuple[int, str]:
        """See `Cluster.shell`."""
        return await self._inner.shell(script, timeout)

    async def close(self) -> None:
        """See `Cluster.close`."""
        await self._inner.close()


class _Life:
    """The MiniCluster of one job, or of small commands until a job takes it.

    Attributes:
        coming: its bring-up.
        taken: a job has it, or had it.
        users: jobs, commands and streams that keep it up.
        ended: waits for an end that nobody wanted, from when it is up.
        going: it is to go down, when nobody uses it any more, or `at_once`.
    """

    def __init__(self, minicluster: MiniCluster, *, taken: bool) -> None:
        self.minicluster = minicluster
        self.coming = asyncio.create_task(minicluster.up())
        self.taken = taken
        self.users = 0
        self.ended: asyncio.Task[None] | None = None
        self.going: asyncio.Task[None] | None = None
        self.at_once = False


class AloneMiniCluster(MiniCluster):
    """MiniClusters of one job each, which together never have more than `size` nodes.

    Small commands and byte streams go to one that is there, beside its job; where there is none, to a new one, which
    the next job that it suits then gets.

    Args:
        make: gives a MiniCluster of a number and so many nodes, not up yet.
        name: see `MiniCluster`.
        flavour: see `MiniCluster`.
        size: see `MiniCluster`.
        image: see `MiniCluster`.
        max_size: see `MiniCluster`.
        usual: nodes that most jobs ask for.
        several: whether there may be several at the same time.
    """

    def __init__(
        self,
        make: Callable[[int, int], MiniCluster],
        name: str,
        flavour: Flavour,
        size: int,
        *,
        image: str | None = None,
        max_size: int | None = None,
        usual: int = 1,
        several: bool = True,
    ) -> None:
        super().__init__(name, flavour, size, image=image, max_size=max_size)
        self._usual = usual
        self._several = several
        self._make = make
        self._numbers = itertools.count(1)
        self._lives: list[_Life] = []
        self._hello: Hello | None = None
        self._turn = asyncio.Lock()  # the job that came first gets the next MiniCluster
        self._changed = asyncio.Event()
        self._down = False
        self._there: Counter[int] = Counter()

    @property
    def client(self) -> AgentClient:
        """See `MiniCluster.client`: it runs each job in a MiniCluster of its own."""
        if self._hello is None:
            raise MiniClusterError(self.name, "is not up")
        return _Client(self, self._hello)

    async def up(self) -> None:
        """See `MiniCluster.up`: the MiniCluster of the first job comes up."""
        self._down = False
        try:
            async with self.using() as minicluster:
                self._hello = minicluster.client.hello
        except BaseException:
            await self.down()
            raise

    async def down(self) -> None:
        """See `MiniCluster.down`."""
        self._down = True
        self._hello = None
        self._tell()
        for life in self._lives:
            life.at_once = True
            self._retire(life)
        while self._lives:
            await self._change()

    async def resize(self, size: int) -> None:
        """See `MiniCluster.resize`: jobs may have so many nodes together."""
        if not 1 <= size <= self.max_size:
            raise MiniClusterError(self.name, f"can have 1 to {self.max_size} nodes, not {size}")
        self.size = size
        self._tell()
        while self._nodes > size and not self._down:
            self._retire_unused()
            await self._change()

    async def ended(self) -> str:
        """See `MiniCluster.ended`: the end of one of them is the end of its job only."""
        while not self._down:
            await self._change()
        return "it was taken down"

    async def run_job(self, request: JobRequest, on_state: Callable[[JobState], None] | None) -> JobResult:
        """Run a job in a MiniCluster of its own; see `AgentClient.run_job`."""
        life = await self._take(len(request.ranks) or request.nodes or self._usual)
        try:
            async with self._kept(life) as minicluster:
                logger.info("MiniCluster %s: %s is up for its one job", self.name, minicluster)
                return await minicluster.client.run_job(replace(request, ranks=()), on_state=on_state)
        finally:
            self._retire(life)

    @asynccontextmanager
    async def using(self) -> AsyncIterator[MiniCluster]:
        """Keep a MiniCluster that is there, or a new one, up meanwhile."""
        async with self._kept(await self._any()) as minicluster:
            yield minicluster

    @asynccontextmanager
    async def _kept(self, life: _Life) -> AsyncIterator[MiniCluster]:
        life.users += 1
        try:
            await asyncio.shield(life.coming)
            yield life.minicluster
        finally:
            life.users -= 1
            self._tell()

    # --------------------------------------------------------------------------------------------------------- coming

    @property
    def _nodes(self) -> int:
        """Of all that are not gone."""
        return sum(life.minicluster.size for life in self._lives)

    def _fits(self, nodes: int) -> bool:
        return self._nodes + nodes <= self.size and (self._several or not self._lives)

    async def _take(self, nodes: int) -> _Life:
        """A MiniCluster for a job, as soon as there may be one."""
        async with self._turn:
            while True:
                self._check()
                for life in self._lives:
                    if not life.taken and not life.going and life.minicluster.size == nodes:
                        life.taken = True
                        return life
                if self._fits(nodes):
                    return self._new(nodes, taken=True)
                self._retire_unused()
                await self._change()

    async def _any(self) -> _Life:
        """One that is there, or comes."""
        while True:
            self._check()
            there = [life for life in self._lives if not life.going]
            if there:
                return next((life for life in there if life.coming.done()), there[0])
            nodes = min(self._usual, self.size)  # it may have shrunk below what its jobs ask for
            if self._fits(nodes):
                return self._new(nodes, taken=False)
            await self._change()

    def _check(self) -> None:
        if self._down:
            raise ConnectionLost(self.name, "it was taken down")

    def _new(self, nodes: int, *, taken: bool) -> _Life:
        number = next(self._numbers)
        minicluster = self._make(number, nodes)

        def count(there: int) -> None:
            self._there[number] = there
            self.on_nodes(self._there.total())

        minicluster.on_nodes = count
        life = _Life(minicluster, taken=taken)
        self._lives.append(life)
        life.coming.add_done_callback(lambda coming: self._has_come(life))
        return life

    def _has_come(self, life: _Life) -> None:
        if life.coming.cancelled() or life.coming.exception():
            self._retire(life)
        else:
            life.ended = asyncio.create_task(self._watch(life))
        self._tell()

    async def _watch(self, life: _Life) -> None:
        reason = await life.minicluster.ended()  # its job, if it has one, has failed then
        logger.warning("MiniCluster %s: %s has ended: %s", self.name, life.minicluster, reason)
        self._retire(life)

    # ---------------------------------------------------------------------------------------------------------- going

    def _retire_unused(self) -> None:
        """Have those go that no job has and nobody uses: their nodes are wanted."""
        for life in self._lives:
            if not life.taken and not life.users:
                self._retire(life)

    def _retire(self, life: _Life) -> None:
        """Have one go when nobody uses it any more."""
        if life.going is None:
            life.going = asyncio.create_task(self._go(life))
        self._tell()

    async def _go(self, life: _Life) -> None:
        while life.users and not life.at_once:
            await self._change()
        if life.ended is not None:
            life.ended.cancel()
        await life.minicluster.down()
        await asyncio.wait([task for task in (life.coming, life.ended) if task is not None])
        self._lives.remove(life)
        self._tell()

    async def _change(self) -> None:
        """Wait until something has come, gone, or is used no more."""
        await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


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
