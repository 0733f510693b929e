"""The client's side of byte streams: what commands write and read."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from streamflow_fluxop.agent.client.errors import AgentError
from streamflow_fluxop.agent.wire.protocol import CHUNK, PIPE_MAX, WINDOW, ProtocolError
from streamflow_fluxop.errors import FluxopError

if TYPE_CHECKING:
    from streamflow_fluxop.agent.wire.protocol import Message


class Sender(Protocol):
    """Where messages go."""

    def send(self, message: Message, payload: bytes = b"") -> int:
        """Queue a message."""

    async def drain(self) -> None:
        """Wait until not much is queued."""


class CommandStream:
    """What reader and writer share."""

    def __init__(self, sender: Sender, identifier: int) -> None:
        self.identifier = identifier
        self.exit_code: int | None = None
        """Of the command; None while it runs."""
        self.errors = b""
        """The last bytes of its standard error, when it has ended."""
        self._sender = sender
        self._changed = asyncio.Event()
        self._error: FluxopError | None = None

    def closed(self, exit_code: int, errors: bytes) -> None:
        """Note the command's end."""
        self.exit_code, self.errors = exit_code, errors
        self._changed.set()

    def lost(self, error: FluxopError) -> None:
        """Note that the connection is lost."""
        self._error = error
        self._changed.set()

    @property
    def failed(self) -> bool:
        """Whether nothing is to be heard of it any more."""
        return self._error is not None

    async def gone(self, timeout: float) -> None:
        """Wait for the command's end, at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.exit_code is None and self._error is None and time.monotonic() < deadline:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                return

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._changed.clear()
        await self._changed.wait()

    def _failed(self) -> AgentError:
        text = self.errors.decode("utf-8", "replace").strip()
        return AgentError(f"a command failed with exit code {self.exit_code}: {text}")


class Reader(CommandStream):
    """What a command writes to its standard output."""

    def __init__(self, sender: Sender, identifier: int) -> None:
        super().__init__(sender, identifier)
        self._pieces: deque[bytes] = deque()
        self._consumed = 0
        self._credit = WINDOW + CHUNK + PIPE_MAX  # bytes that may still come, its last words among them

    def arrived(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            ProtocolError: nothing had been granted for it.
        """
        self._credit -= len(data)
        if self._credit < 0 or self.exit_code is not None:
            what = "after its end" if self.exit_code is not None else "beyond its credit"
            raise ProtocolError(f"bytes of stream {self.identifier} {what}")
        self._pieces.append(data)
        self._changed.set()

    async def read(self, n: int = -1) -> bytes:
        """Wait for bytes.

        Args:
            n: give at most so many; negative: all until the end.

        Returns:
            At least one byte; none at the end.

        Raises:
            ConnectionLost: the stream broke.
            AgentError: the command failed; raised at the end of its output.
        """
        if n < 0:
            pieces = []
            while piece := await self.read(1 << 30):
                pieces.append(piece)
            return b"".join(pieces)
        if n == 0:
            return b""
        while not self._pieces:
            if self.exit_code is not None:
                if self.exit_code:
                    raise self._failed()
                return b""
            await self._wait()
        piece = self._pieces.popleft()
        if len(piece) > n:
            self._pieces.appendleft(piece[n:])
            piece = piece[:n]
        self._consumed += len(piece)
        if self._consumed >= WINDOW // 4:
            self._sender.send({"op": "credit", "id": self.identifier, "count": self._consumed})
            self._credit += self._consumed
            self._consumed = 0
        return piece


class Writer(CommandStream):
    """A command's standard input."""

    def __init__(self, sender: Sender, identifier: int) -> None:
        super().__init__(sender, identifier)
        self._credit = WINDOW

    def granted(self, count: int) -> None:
        """Note that the command has taken bytes.

        Raises:
            ProtocolError: more than it was given.
        """
        self._credit += count
        if self._credit > WINDOW:
            raise ProtocolError(f"credit for {self._credit} bytes of stream {self.identifier}")
        self._changed.set()

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the command does not take them.

        Raises:
            ConnectionLost: the stream broke.
            AgentError: the command has ended.
        """
        view = memoryview(data)
        while view:
            while self._credit <= 0 and self.exit_code is None:
                await self._wait()
            if self._error is not None:
                raise self._error
            if self.exit_code is not None:
                raise self._failed()
            piece = bytes(view[: min(CHUNK, self._credit)])
            view = view[len(piece) :]
            self._credit -= len(piece)
            self._sender.send({"op": "data", "id": self.identifier}, piece)
            await self._sender.drain()

    async def finish(self) -> None:
        """End the input and wait for the command's end.

        Raises:
            ConnectionLost: the stream broke.
            AgentError: the command failed.
        """
        self._sender.send({"op": "eof", "id": self.identifier})
        while self.exit_code is None:
            await self._wait()
        if self.exit_code:
            raise self._failed()
