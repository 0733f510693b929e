"""StreamFlow's streams and shells over the agent's stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping, MutableSequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from streamflow.core.data import StreamWrapper
from streamflow.core.deployment import Connector, ExecutionLocation, Shell

if TYPE_CHECKING:
    from streamflow_fluxop.miniclusters.base import MiniCluster


class AgentStream(StreamWrapper):
    """A byte stream of the agent, as StreamFlow wants it; who opened it closes it."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)

    async def close(self) -> None:
        """Nothing: the context manager that opened the stream closes it."""

    async def read(self, size: int | None = None) -> bytes:
        """The next bytes, at most `size`; empty at the end."""
        data: bytes = await self.stream.read(-1 if size is None else size)
        return data

    async def write(self, data: bytes) -> None:
        """Send `data`; waits while the other side does not keep up."""
        await self.stream.write(data)


@asynccontextmanager
async def agent_reader(
    minicluster: AbstractAsyncContextManager[MiniCluster], command: str
) -> AsyncIterator[StreamWrapper]:
    """What `command` writes in a MiniCluster."""
    async with minicluster as m, m.client.open_reader(command) as stream:
        yield AgentStream(stream)


@asynccontextmanager
async def agent_writer(
    minicluster: AbstractAsyncContextManager[MiniCluster], command: str
) -> AsyncIterator[StreamWrapper]:
    """What `command` reads in a MiniCluster."""
    async with minicluster as m, m.client.open_writer(command) as stream:
        yield AgentStream(stream)


class AgentShell(Shell):
    """A shell without a process of its own: the agent runs each command, many at a time."""

    def __init__(
        self, connector: Connector, command: MutableSequence[str], location: ExecutionLocation, buffer_size: int
    ) -> None:
        super().__init__(command=command, buffer_size=buffer_size)
        self._connector = connector
        self._location = location

    async def close(self) -> None:
        """Nothing to close."""

    async def closed(self) -> bool:
        """Never: it lives as long as its connector."""
        return False

    async def execute(
        self,
        command: MutableSequence[str],
        environment: MutableMapping[str, str] | None = None,
        workdir: str | None = None,
        capture_output: bool = False,
        timeout: int | None = None,
    ) -> tuple[str, int] | None:
        """Run a command; see `MiniClusterConnector.run`."""
        result: tuple[str, int] | None = await self._connector.run(
            location=self._location,
            command=command,
            environment=environment,
            workdir=workdir,
            capture_output=capture_output,
            timeout=timeout,
        )
        return result
