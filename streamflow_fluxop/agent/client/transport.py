"""What the client talks through: one duplex byte stream to a running Python."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

from streamflow_fluxop.agent.client.stderr_tail import LastWords

logger = logging.getLogger(__name__)

_READ = 1 << 18


class ByteStream(Protocol):
    """A duplex byte stream to an agent, however it is carried.

    A process's pipes here; a Kubernetes exec websocket or an SSH channel elsewhere.
    """

    async def read(self) -> bytes:
        """Wait for the next bytes; empty when the stream has ended."""

    def write(self, data: bytes) -> None:
        """Queue bytes; after the end of the stream they go nowhere."""

    async def drain(self) -> None:
        """Wait until not much is queued."""

    async def close(self) -> None:
        """End the stream and wait, a bounded time, until what is at its other end is gone. Never raises."""

    @property
    def last_words(self) -> str:
        """The last lines that came beside the stream (stderr), for error messages."""


class ProcessStream:
    """The stream to a process on this machine.

    It runs in a session of its own, so a terminal's Ctrl-C does not reach it; when this process dies, however, its
    standard input ends. It has sockets for pipes: `/proc/PID/fd` opens no socket, so whoever else runs there as the
    same user cannot write between its messages like that.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        name: str,
        talk: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        errors: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._process = process
        self._name = name
        self._last_words = LastWords(logger, name)
        self._stdout, self._stdin = talk
        self._stderr, self._stderr_writer = errors
        self._logging = asyncio.create_task(self._log_errors())
        self._being_read = False

    @classmethod
    async def start(
        cls, argv: Sequence[str], *, name: str, env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> ProcessStream:
        """Start a process.

        Args:
            argv: program and arguments.
            name: for the log.
            env: its whole environment; None: ours.
            cwd: its directory; None: ours.

        Raises:
            OSError: it cannot be started.
        """
        starting = asyncio.ensure_future(cls._start(argv, name, env, cwd))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])
            if starting.exception() is None:
                await starting.result().close(grace=1.0)
            raise

    @classmethod
    async def _start(
        cls, argv: Sequence[str], name: str, env: Mapping[str, str] | None, cwd: str | None
    ) -> ProcessStream:
        ours, theirs = zip(socket.socketpair(), socket.socketpair(), strict=True)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=theirs[0].fileno(),
                stdout=theirs[0].fileno(),
                stderr=theirs[1].fileno(),
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        except BaseException:
            for end in ours:
                end.close()
            raise
        finally:
            for end in theirs:
                end.close()
        talk, errors = [await asyncio.open_unix_connection(sock=end, limit=_READ) for end in ours]
        return cls(process, name, talk, errors)

    @property
    def pid(self) -> int:
        """The process's id, also that of its session."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """See `ByteStream.last_words`."""
        return str(self._last_words)

    async def read(self) -> bytes:
        """See `ByteStream.read`."""
        self._being_read = True
        try:
            try:
                data = await self._stdout.read(_READ)
            except ConnectionError as error:  # it ended with bytes of ours unread
                logger.debug("%s: %s", self._name, error)
                data = b""
            if not data:
                await asyncio.wait([self._logging], timeout=1)  # why it ended is said there
            return data
        finally:
            self._being_read = False

    def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        if not self._stdin.is_closing():
            self._stdin.write(data)

    async def drain(self) -> None:
        """See `ByteStream.drain`."""
        try:
            await self._stdin.drain()
        except ConnectionError as error:
            logger.debug("%s: %s", self._name, error)  # whoever reads sees the end of the stream

    async def close(self, *, grace: float = 10.0) -> None:
        """See `ByteStream.close`.

        Args:
            grace: seconds that the process gets to end by itself once its standard input has ended.
        """
        if self._stdin.can_write_eof() and not self._stdin.is_closing():
            self._stdin.write_eof()
        ended = asyncio.ensure_future(self._process.wait())
        reading = None if self._being_read else asyncio.ensure_future(self._read_out())
        try:
            for number, seconds in (
                (0, 0.0 if self._is_stopped() else grace),
                (signal.SIGTERM, 2.0),
                (signal.SIGKILL, 5.0),
            ):
                if number:
                    logger.warning("%s does not end; sending %s", self._name, signal.Signals(number).name)
                    self._signal(number)
                done, _ = await asyncio.wait([ended], timeout=seconds)
                if done:
                    break
        finally:
            if not ended.done():
                self._signal(signal.SIGKILL)
                ended.cancel()
            rest = [task for task in (self._logging, reading) if task is not None]
            for task in rest:
                task.cancel()
            await asyncio.wait(rest)
            self._stdin.transport.abort()  # its grandchildren may hold the other ends open
            self._stderr_writer.transport.abort()

    def _is_stopped(self) -> bool:
        """Whether somebody has sent it SIGSTOP: then it ends by SIGKILL only (proc(5))."""
        try:
            with open(f"/proc/{self._process.pid}/stat", "rb") as stat:
                return stat.read().rpartition(b")")[2].split()[0] == b"T"
        except OSError:
            return False

    async def _read_out(self) -> None:
        """Take what it still has to say, which must not keep it from ending."""
        try:
            while await self._stdout.read(_READ):
                continue
        except ConnectionError as error:
            logger.debug("%s: %s", self._name, error)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            logger.debug("%s: the process group is gone", self._name)

    async def _log_errors(self) -> None:
        try:
            while data := await self._stderr.read(_READ):
                self._last_words.feed(data)
        except ConnectionError as error:
            logger.debug("%s: %s", self._name, error)
        self._last_words.end()
