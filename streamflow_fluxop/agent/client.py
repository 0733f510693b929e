"""The client of one agent: jobs, small commands and byte streams over one duplex stream."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from streamflow_fluxop.agent.boot import program
from streamflow_fluxop.agent.protocol import (
    CHUNK,
    VERSION,
    WINDOW,
    CommandResult,
    Decoder,
    JobRequest,
    JobResult,
    ProtocolError,
    encode,
)
from streamflow_fluxop.agent.stream import ByteStream
from streamflow_fluxop.errors import FluxopError

if TYPE_CHECKING:
    from streamflow_fluxop.agent.protocol import Message

logger = logging.getLogger(__name__)

__all__ = [
    "AgentClient",
    "AgentError",
    "CommandResult",
    "ConnectionLost",
    "Hello",
    "JobRequest",
    "JobResult",
    "Reader",
    "Writer",
]

HELLO_TIMEOUT = 60.0
"""Seconds from the source's sending until the agent must have said hello: Python and Flux start in between."""

CANCEL_TIMEOUT = 15.0
"""Seconds that a cancelled `run_job` or `run_command` waits until the agent says that the processes are gone."""

T = TypeVar("T")
State = Literal["submitted", "started"]


class ConnectionLost(FluxopError):
    """The stream to a MiniCluster's agent broke; what ran there may be gone, too.

    Args:
        name: of the MiniCluster.
        why: what was seen.
        last_words: the agent's last lines on stderr.
    """

    def __init__(self, name: str, why: str, last_words: str = "") -> None:
        said = f"; its last words were:\n{last_words}" if last_words else ""
        super().__init__(f"lost the connection to MiniCluster {name}: {why}{said}")
        self.name = name


class AgentError(FluxopError):
    """The agent could not do what it was asked to."""


@dataclass(frozen=True)
class Hello:
    """What the agent says of itself and its scheduler.

    Args:
        backend: who schedules.
        version: of Flux, or of the Python that the embedded scheduler runs on.
        nodes: how many.
        cores: of all nodes together.
        gpus: of all nodes together.
        hostname: where the agent runs.
        pid: of the agent.
    """

    backend: Literal["flux", "embedded"]
    version: str
    nodes: int
    cores: int
    gpus: int
    hostname: str
    pid: int


class AgentClient:
    """Sends the agent to where `stream` leads, and talks to it. Use it with ``async with``.

    Args:
        stream: to a Python that runs `boot.BOOT`.
        name: of the MiniCluster, for messages.
        backend: "auto" takes Flux where the agent finds it.
        nodes: cores and GPUs of each node of the embedded scheduler; none: one node, the agent's machine.
        linger: seconds that the agent keeps jobs running after the stream has ended.
        flux: options of the Flux backend, see `flux_backend`.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        name: str,
        backend: Literal["auto", "flux", "embedded"] = "auto",
        nodes: Sequence[tuple[int, int]] = (),
        linger: float = 0.0,
        flux: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._stream = stream
        self._options = {"backend": backend, "nodes": list(nodes), "linger": linger, "flux": flux or {}}
        self._numbers = itertools.count(1)
        self._prefix = uuid.uuid4().hex[:12]  # job ids are unique among all clients that an agent may see
        self._jobs: dict[str, _Job] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._streams: dict[int, Reader | Writer] = {}
        self._unsent: list[bytes] = []
        self._hello: Hello | None = None
        self._lost: ConnectionLost | None = None
        self._ended: asyncio.Event = asyncio.Event()
        self._receiving: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def hello(self) -> Hello:
        """What the agent said first.

        Raises:
            RuntimeError: the client has not been started.
        """
        if self._hello is None:
            raise RuntimeError("the client has not been started")
        return self._hello

    async def start(self) -> None:
        """Send the agent and wait for its hello.

        Raises:
            AgentError: it cannot serve, such as Flux not answering.
            ConnectionLost: it does not come up.
        """
        self._loop = asyncio.get_running_loop()
        greeting = self._answer(0)
        self._receiving = self._loop.create_task(self._receive(), name=f"agent of {self.name}")
        self._stream.write(program())
        self._send({"op": "start", "protocol": VERSION, **self._options})
        try:
            message = await asyncio.wait_for(greeting, HELLO_TIMEOUT)
        except asyncio.TimeoutError:
            self._lose(f"no hello within {HELLO_TIMEOUT:g} s")
            raise self._lost_error() from None
        self._hello = Hello(**{name: message[name] for name in Hello.__dataclass_fields__})

    async def close(self) -> None:
        """End the agent, and so its jobs; everything that still waits raises `ConnectionLost`. Never raises."""
        self._closing = True
        await self._stream.close()
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.wait([self._receiving])
        self._lose("it was closed")

    async def wait_closed(self) -> None:
        """Wait until the stream has ended, whoever ended it."""
        await self._ended.wait()

    async def __aenter__(self) -> AgentClient:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ------------------------------------------------------------------------------------------------------- requests

    async def run_job(self, request: JobRequest, *, on_state: Callable[[State], None] | None = None) -> JobResult:
        """Run a job to its end.

        Cancelling this ends the job, and waits until the agent says that it is gone or `CANCEL_TIMEOUT` is over.

        Args:
            request: the job.
            on_state: is called when the job is "submitted" and "started".

        Raises:
            ConnectionLost: nobody knows how the job ended.
            AgentError: the agent could not submit it.
        """
        self._check()
        name = f"{self._prefix}-{next(self._numbers)}"
        job = self._jobs[name] = _Job(self._loop.create_future(), on_state)
        self._send({"op": "submit", "job": name, **request.to_message()})
        return await self._until(job.result, {"op": "cancel", "job": name})

    async def run_command(self, command: str, *, timeout: float | None = None) -> CommandResult:
        """Run a small command line as ``/bin/sh -c`` would, beside the jobs.

        Cancelling this kills it.

        Args:
            command: the command line; it has nothing to read on stdin.
            timeout: seconds until it is killed.

        Raises:
            asyncio.TimeoutError: it took longer than `timeout`.
            ConnectionLost: nobody knows how it ended.
            AgentError: its output is more than `protocol.COMMAND_OUTPUT_MAX` bytes.
        """
        if "\0" in command:
            raise ValueError("a NUL byte cannot be in a command")
        self._check()
        identifier = next(self._numbers)
        answer = self._answer(identifier)
        self._send({"op": "run", "id": identifier, "command": command})
        waiting = self._until(answer, {"op": "kill", "id": identifier})
        result: CommandResult = await (waiting if timeout is None else asyncio.wait_for(waiting, timeout))
        return result

    @asynccontextmanager
    async def open_reader(self, command: str) -> AsyncIterator[Reader]:
        """Read what a command line writes.

        Leaving the block before the end kills the command.
        """
        async with self._opened(Reader(self, next(self._numbers)), command, "r") as reader:
            yield reader

    @asynccontextmanager
    async def open_writer(self, command: str) -> AsyncIterator[Writer]:
        """Write to a command line's standard input.

        Leaving the block ends the input and waits for the command.

        Raises:
            AgentError: when leaving: the command failed.
        """
        async with self._opened(Writer(self, next(self._numbers)), command, "w") as writer:
            yield writer
            await writer.finish()

    @asynccontextmanager
    async def _opened(self, stream: S, command: str, mode: str) -> AsyncIterator[S]:
        if "\0" in command:
            raise ValueError("a NUL byte cannot be in a command")
        self._check()
        self._streams[stream.identifier] = stream
        self._send({"op": "open", "id": stream.identifier, "mode": mode, "command": command})
        try:
            yield stream
        finally:
            if stream.exit_code is None and self._lost is None:
                self._send({"op": "kill", "id": stream.identifier})
                await stream.gone(CANCEL_TIMEOUT)
            self._streams.pop(stream.identifier, None)

    async def ping(self) -> float:
        """Ask the agent for a sign of life.

        Returns:
            Seconds until it came.

        Raises:
            ConnectionLost: there is none to come.
        """
        self._check()
        identifier = next(self._numbers)
        answer = self._answer(identifier)
        start = time.perf_counter()
        self._send({"op": "ping", "id": identifier})
        await answer
        return time.perf_counter() - start

    async def _until(self, answer: asyncio.Future[T], cancel: Message) -> T:
        """Wait for `answer`; when cancelled, send `cancel` and give it a while to arrive."""
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if not answer.done():
                self._send(cancel)
                await asyncio.wait([answer], timeout=CANCEL_TIMEOUT)
            if answer.done() and not answer.cancelled():
                answer.exception()  # has been seen
            raise

    # -------------------------------------------------------------------------------------------------------- sending

    def _send(self, message: Message, payload: bytes = b"") -> None:
        """Queue a message; those of one turn of the event loop leave in one write."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(encode(message, payload))

    def _flush(self) -> None:
        self._stream.write(b"".join(self._unsent))
        self._unsent.clear()

    def _answer(self, identifier: int) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        self._answers[identifier] = future
        future.add_done_callback(lambda _: self._answers.pop(identifier, None))
        return future

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost_error()
        if self._hello is None:
            raise RuntimeError("the client has not been started")

    # ------------------------------------------------------------------------------------------------------ receiving

    async def _receive(self) -> None:
        decoder = Decoder()
        why = "the stream ended"
        try:
            while data := await self._stream.read():
                for message, payload in decoder.feed(data):
                    self._received(message, payload)
        except ProtocolError as error:
            why = f"the agent sent {error}"
        except OSError as error:
            why = str(error)
        self._lose(why)

    def _received(self, message: Message, payload: bytes) -> None:
        handler = _HANDLERS.get(message["op"])
        if handler is None:
            logger.warning("agent of %s: unknown message %r", self.name, message["op"])
        else:
            handler(self, message, payload)

    def _on_job(self, message: Message, payload: bytes) -> None:
        job = self._jobs.get(message["job"])
        if job is None:
            return
        event = message["event"]
        if event == "finished":
            del self._jobs[message["job"]]
            self._send({"op": "ack", "job": message["job"]})
            output = payload.decode("utf-8", "replace")
            if message.get("dropped"):
                dropped = f"{message['dropped']} bytes" if message["dropped"] > 0 else "some bytes"
                output = f"[{dropped} of output before this were dropped]\n{output}"
            if not job.result.done():
                job.result.set_result(JobResult(message["exit_code"], output, message.get("reason")))
        elif event == "unknown":
            del self._jobs[message["job"]]
            if not job.result.done():
                job.result.set_exception(ConnectionLost(self.name, "the agent does not know the job any more"))
        elif job.on_state is not None:
            try:
                job.on_state(event)
            except Exception:
                logger.exception("on_state(%r) failed", event)

    def _on_result(self, message: Message, payload: bytes) -> None:
        answer = self._answers.get(message["id"])
        if answer is None or answer.done():
            return
        if "too_much" in message:
            answer.set_exception(AgentError(f"a command wrote more than {message['too_much']} bytes"))
            return
        cut = len(payload) - message.get("errors", 0)
        answer.set_result(CommandResult(payload[:cut], message["exit_code"], payload[cut:]))

    def _on_hello(self, message: Message, payload: bytes) -> None:
        self._resolve(0, message)

    def _on_pong(self, message: Message, payload: bytes) -> None:
        self._resolve(message["id"], None)

    def _resolve(self, identifier: int, value: Any) -> None:
        answer = self._answers.get(identifier)
        if answer is not None and not answer.done():
            answer.set_result(value)

    def _on_error(self, message: Message, payload: bytes) -> None:
        error = AgentError(f"MiniCluster {self.name}: {message['text']}")
        if "job" in message:
            job = self._jobs.pop(message["job"], None)
            answer: asyncio.Future[Any] | None = job.result if job is not None else None
        else:
            answer = self._answers.get(message.get("id", 0))
        if answer is not None and not answer.done():
            answer.set_exception(error)
        else:
            logger.error("%s", error)

    def _on_data(self, message: Message, payload: bytes) -> None:
        stream = self._streams.get(message["id"])
        if isinstance(stream, Reader):
            stream.arrived(payload)

    def _on_credit(self, message: Message, payload: bytes) -> None:
        stream = self._streams.get(message["id"])
        if isinstance(stream, Writer):
            stream.granted(message["count"])

    def _on_closed(self, message: Message, payload: bytes) -> None:
        stream = self._streams.get(message["id"])
        if stream is not None:
            stream.closed(message["exit_code"], payload)

    def _lose(self, why: str) -> None:
        if self._lost is None:
            if not self._closing:
                logger.warning("lost the connection to MiniCluster %s: %s", self.name, why)
            self._lost = ConnectionLost(self.name, why, self._stream.last_words)
            for answer in [*self._answers.values(), *(job.result for job in self._jobs.values())]:
                if not answer.done():
                    answer.set_exception(self._lost_error())
                    answer.exception()  # it may be that nobody waits any more
            self._jobs.clear()
            for stream in self._streams.values():
                stream.lost(self._lost_error())
            self._ended.set()

    def _lost_error(self) -> ConnectionLost:
        """One for each who waits: a shared exception would collect everybody's tracebacks."""
        lost = self._lost
        assert lost is not None
        error = ConnectionLost(lost.name, "")
        error.args = lost.args
        return error


_HANDLERS: dict[str, Callable[[AgentClient, Message, bytes], None]] = {
    name[len("_on_") :]: function for name, function in vars(AgentClient).items() if name.startswith("_on_")
}


@dataclass
class _Job:
    result: asyncio.Future[JobResult]
    on_state: Callable[[State], None] | None


class _CommandStream:
    """What reader and writer share."""

    def __init__(self, client: AgentClient, identifier: int) -> None:
        self.identifier = identifier
        self.exit_code: int | None = None
        """Of the command; None while it runs."""
        self.errors = b""
        """The last bytes of its standard error, when it has ended."""
        self._client = client
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


class Reader(_CommandStream):
    """What a command writes to its standard output."""

    def __init__(self, client: AgentClient, identifier: int) -> None:
        super().__init__(client, identifier)
        self._pieces: deque[bytes] = deque()
        self._consumed = 0

    def arrived(self, data: bytes) -> None:
        """Take the next piece."""
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
            self._client._send({"op": "credit", "id": self.identifier, "count": self._consumed})
            self._consumed = 0
        return piece


class Writer(_CommandStream):
    """A command's standard input."""

    def __init__(self, client: AgentClient, identifier: int) -> None:
        super().__init__(client, identifier)
        self._credit = WINDOW

    def granted(self, count: int) -> None:
        """Note that the command has taken bytes."""
        self._credit += count
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
            self._client._send({"op": "data", "id": self.identifier}, piece)
            await self._client._stream.drain()

    async def finish(self) -> None:
        """End the input and wait for the command's end.

        Raises:
            ConnectionLost: the stream broke.
            AgentError: the command failed.
        """
        self._client._send({"op": "eof", "id": self.identifier})
        while self.exit_code is None:
            await self._wait()
        if self.exit_code:
            raise self._failed()


S = TypeVar("S", Reader, Writer)
