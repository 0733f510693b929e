"""Byte streams out of and into commands, with credit: no side sends what the other has not granted room for."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.remote.commands import Shell
from streamflow_fluxop.agent.system.log import log
from streamflow_fluxop.agent.system.output import Tail
from streamflow_fluxop.agent.system.processes import Processes
from streamflow_fluxop.agent.wire.protocol import CHUNK, WINDOW, ProtocolError

if TYPE_CHECKING:
    from streamflow_fluxop.agent.remote.channel import Channel


class Streams:
    """The open byte streams.

    Args:
        processes: starts their commands.
        channel: carries them.
    """

    def __init__(self, processes: Processes, channel: Channel) -> None:
        self._processes = processes
        self._channel = channel
        self._open: dict[int, _Stream] = {}

    def open(self, identifier: int, command: str, mode: str) -> None:
        """Start a command to read from (`mode` "r") or to write to ("w")."""
        if identifier in self._open:
            raise ProtocolError(f"a second stream {identifier}")
        kind = {"r": _Reader, "w": _Writer}[mode]
        self._open[identifier] = kind(self, identifier, command)

    def data(self, identifier: int, data: bytes) -> None:
        """Give bytes to a command; what comes after its end is dropped."""
        stream = self._open.get(identifier)
        if isinstance(stream, _Writer):
            stream.data(data)

    def eof(self, identifier: int) -> None:
        """Close a command's standard input when all is written."""
        stream = self._open.get(identifier)
        if isinstance(stream, _Writer):
            stream.eof()

    def credit(self, identifier: int, count: int) -> None:
        """Let a command's output flow for `count` bytes more."""
        stream = self._open.get(identifier)
        if isinstance(stream, _Reader):
            stream.grant(count)

    def kill(self, identifier: int) -> None:
        """End a command; its `closed` still comes."""
        stream = self._open.get(identifier)
        if stream is not None:
            stream.kill()


class _Stream(ABC):
    def __init__(self, streams: Streams, identifier: int, command: str) -> None:
        self._streams = streams
        self._channel = streams._channel
        self._identifier = identifier
        self._errors = Tail()
        self._shell = Shell(
            streams._processes, command, self._got, self._errors, self._ended, feed=isinstance(self, _Writer)
        )

    @abstractmethod
    def _got(self, data: bytes) -> None: ...

    def _ended(self, exit_code: int) -> None:
        del self._streams._open[self._identifier]
        self._send("closed", self._errors.kept, exit_code=exit_code)

    def _send(self, op: str, payload: bytes = b"", **fields: Any) -> None:
        self._channel.send({"op": op, "id": self._identifier, **fields}, payload)

    def kill(self) -> None:
        self._shell.kill()


class _Reader(_Stream):
    def __init__(self, streams: Streams, identifier: int, command: str) -> None:
        self._credit = WINDOW
        self._paused = False
        self._draining: asyncio.Task[None] | None = None
        super().__init__(streams, identifier, command)

    def _got(self, data: bytes) -> None:
        self._send("data", data)
        self._credit -= len(data)
        if not self._paused and (self._credit <= 0 or self._channel.full):
            self._paused = True
            self._shell.pause()
            self._go_on()

    def grant(self, count: int) -> None:
        self._credit += count
        if self._credit > WINDOW:
            raise ProtocolError(f"credit for {self._credit} bytes of stream {self._identifier}")
        self._go_on()

    def _go_on(self) -> None:
        """Read on as soon as there is credit, and room."""
        if not self._paused or self._credit <= 0 or self._draining is not None:
            return
        if self._channel.full:
            self._draining = asyncio.ensure_future(self._drain())
        else:
            self._paused = False
            self._shell.resume()

    async def _drain(self) -> None:
        await self._channel.drained()
        self._draining = None
        self._go_on()


class _Writer(_Stream):
    def __init__(self, streams: Streams, identifier: int, command: str) -> None:
        self._unwritten = bytearray()
        self._taken = 0  # bytes written since the last credit
        self._credit = WINDOW  # bytes that may still come
        self._eof = False
        self._writing = False
        super().__init__(streams, identifier, command)
        self._loop = asyncio.get_running_loop()
        self._stdin = self._shell.stdin
        os.set_blocking(self._stdin, False)

    def _got(self, data: bytes) -> None:
        """Drop what a command that is written to has to say."""

    def data(self, data: bytes) -> None:
        self._credit -= len(data)
        if self._credit < 0 or self._eof:
            what = "after its end" if self._eof else "beyond its credit"
            raise ProtocolError(f"bytes of stream {self._identifier} {what}")
        self._unwritten += data
        if not self._writing:
            self._write()

    def eof(self) -> None:
        self._eof = True
        if not self._unwritten:
            self._close()

    def _write(self) -> None:
        if self._stdin < 0:
            self._unwritten.clear()
            return
        try:
            count = os.write(self._stdin, self._unwritten[: 2 * CHUNK])
        except BlockingIOError:
            count = 0
        except OSError as error:  # EPIPE: it reads no more; its exit code tells the rest
            log(f"byte stream {self._identifier}: {error}")
            self._close()
            return
        del self._unwritten[:count]
        self._taken += count
        if self._taken >= CHUNK or not self._unwritten:
            self._send("credit", count=self._taken)
            self._credit += self._taken
            self._taken = 0
        if self._unwritten and not self._writing:
            self._writing = True
            self._loop.add_writer(self._stdin, self._write)
        elif not self._unwritten and self._writing:
            self._writing = False
            self._loop.remove_writer(self._stdin)
        if self._eof and not self._unwritten:
            self._close()

    def _close(self) -> None:
        self._unwritten.clear()
        if self._stdin >= 0:
            if self._writing:
                self._writing = False
                self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    def _ended(self, exit_code: int) -> None:
        self._close()
        super()._ended(exit_code)
