"""The Flux brokers of a MiniCluster: what they are told and asked, by Flux's own commands beside the lead broker."""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Callable

from streamflow_fluxop.agent.client.client import AgentClient, AgentError

logger = logging.getLogger(__name__)

_AGAIN = 0.5
_COMMAND_TIMEOUT = 30.0

SAVE = 'new=${1%.tgz}.$$.tgz; mkdir -p "${1%/*}" && flux dump -q "$new" && mv "$new" "$1"'
"""Saves Flux's state in the file $1, whole or not at all; its suffix says the format. The operator's start script has
the next lead broker restore it."""


class Brokers:
    """One broker a pod, by rank; where pods have no Flux there are none, and nothing has to be done.

    Args:
        client: the agent beside the lead broker.
        name: of the MiniCluster, for the log.
    """

    def __init__(self, client: AgentClient, name: str) -> None:
        self._client = client
        self._name = name

    @property
    def there(self) -> bool:
        """Whether there are brokers, not the embedded scheduler."""
        return self._client.hello.backend == "flux"

    async def are_up(self, count: int, waits_for: Callable[[str], None]) -> None:
        """Wait until Flux has so many up, and none of them drained.

        Args:
            count: brokers.
            waits_for: is told, in words, what is missing.

        Raises:
            AgentError: Flux does not say.
        """
        while self.there:
            told = (await self._flux("resource list -s up -no '{nnodes}'")).split()
            up = int(told[0]) if told else 0
            if up >= count:
                return
            drained = await self._flux("resource status -s drain -no '{ranks} {reason}'")
            why = [f"drained is rank {line}" for line in drained.splitlines() if line.strip()]
            waits_for("; ".join([f"{up} of {count} brokers are up", *why]))
            await asyncio.sleep(_AGAIN)

    async def drain(self, first: int, end: int) -> None:
        """Let no new job start on the ranks from `first` to the one before `end`, and wait for those that run there.

        Raises:
            AgentError: Flux refuses.
        """
        if not self.there:
            return
        ranks = _ranks(first, end)
        await self._flux(f"resource drain {ranks} 'the MiniCluster shrinks'")
        try:
            while await self._flux(f"resource status -s draining -i {ranks} -no '{{ranks}}'"):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(_AGAIN)
        except BaseException:
            await asyncio.shield(self.undrain(first, end))
            raise

    async def undrain(self, first: int, end: int) -> None:
        """Let jobs start again on ranks that were drained.

        Raises:
            AgentError: Flux refuses.
        """
        if self.there:
            drained = await self._flux(f"resource status -s drain -i {_ranks(first, end)} -no '{{ranks}}'")
            for ranks in drained.split():
                await self._flux(f"resource undrain {ranks}")

    async def end(self, first: int, end: int) -> None:
        """End brokers whose pods are being deleted: their shell ignores SIGTERM, so they would last 30 s more."""
        if self.there:
            try:
                await self._flux(f"exec -r {_ranks(first, end)} sh -c 'kill $PPID'")
            except AgentError as error:
                logger.debug("MiniCluster %s: %s", self._name, error)

    async def save(self, path: str) -> None:
        """Save Flux's state, before it is shut down.

        Args:
            path: of the file, as the lead broker's pod sees it.
        """
        try:
            await self._run(shlex.join(["sh", "-c", SAVE, "save", path]))
        except AgentError as error:
            logger.warning("MiniCluster %s: its archive %s is not saved: %s", self._name, path, error)

    async def _flux(self, command: str) -> str:
        return await self._run(f"flux {command}")

    async def _run(self, command: str) -> str:
        """What a command says.

        Raises:
            AgentError: it fails.
        """
        try:
            result = await self._client.run_command(command, timeout=_COMMAND_TIMEOUT)
        except asyncio.TimeoutError:
            raise AgentError(f"`{command}` takes longer than {_COMMAND_TIMEOUT:g} s") from None
        if result.exit_code:
            raise AgentError(f"`{command}` fails: {result.errors.decode(errors='replace').strip()}")
        return result.output.decode(errors="replace")


def _ranks(first: int, end: int) -> str:
    """The ranks from `first` to the one before `end`, as Flux writes them (RFC 22)."""
    return str(first) if end == first + 1 else f"{first}-{end - 1}"
