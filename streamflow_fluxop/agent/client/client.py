"""The client of one agent: jobs, small commands and byte streams over one duplex stream."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from streamflow_fluxop.agent.client.byte_streams import Reader, Writer
from streamflow_fluxop.agent.client.connection import Connect, Connection
from streamflow_fluxop.agent.client.connection import State as ConnectionState
from streamflow_fluxop.agent.client.errors import AgentError, AgentGone, ConnectionLost
from streamflow_fluxop.agent.client.transport import ByteStream
from streamflow_fluxop.agent.wire.protocol import CommandResult, JobRequest, JobResult, ProtocolError

if TYPE_CHECKING:
    from streamflow_fluxop.agent.wire.protocol import Message

logger = logging.getLogger(__name__)

__all__ = [
    "AgentClient",
    "AgentError",
    "AgentGone",
    "CommandResult",
    "Connect",
    "ConnectionLost",
    "ConnectionState",
    "Hello",
    "JobRequest",
    "JobResult",
    "Reader",
    "Writer",
]

CANCEL_TIMEOUT = 15.0
"""Seconds that a cancelled `run_job` or `run_command` waits until the agent says that the processes are gone."""

HEARTBEAT = 5.0
"""Seconds between two signs of life; four missing mean that the stream is broken."""

T = TypeVar("T")
S = TypeVar("S", Reader, Writer)
State = Literal["submitted", "started"]


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
    """Sends the agent to where a stream leads, and talks to it. Use it with ``async with``.

    With a stream, its end is the end. With what makes streams, a new one is made when the old one breaks, while all
    calls wait on: the agent is found again, every message arrives once, and nothing has happened but time. Where the
    agent has died, another one takes its place: on Flux it finds the jobs; small commands and byte streams, and on the
    embedded scheduler jobs, raise `ConnectionLost`, as nobody knows how far they came.

    Args:
        stream: to a Python that runs `bootstrap.BOOT`, or what makes such streams (see `connection.Connect`).
        name: of the MiniCluster, for messages.
        backend: "auto" takes Flux where the agent finds it.
        nodes: cores and GPUs of each node of the embedded scheduler; none: one node, the agent's machine.
        linger: seconds that the agent keeps jobs running after the stream has ended; None: for ever, or until the
            watchdog acts.
        flux: options of the Flux backend, see `backends.flux`.
        reconnect_timeout: seconds without a connection after which it is lost.
        heartbeat: seconds between two signs of life; a stream without any for four of them counts as broken.
        orphan_timeout: seconds without a sign of life after which a watchdog beside the agent ends the Flux instance
            (or runs `on_orphan`); 0: never. Only with what makes streams.
        apart: seconds that the agent leaves between two writes, on streams where one costs more than its bytes.
        on_orphan: what the watchdog runs instead of ``flux shutdown``, after it killed the agent; empty: nothing.
        on_connection: is called with "reconnecting", "connected" (again) and "lost", and the reason.
    """

    def __init__(
        self,
        stream: ByteStream | Connect,
        *,
        name: str,
        backend: Literal["auto", "flux", "embedded"] = "auto",
        nodes: Sequence[tuple[int, int]] = (),
        linger: float | None = 0.0,
        flux: dict[str, Any] | None = None,
        reconnect_timeout: float = 300.0,
        heartbeat: float = HEARTBEAT,
        orphan_timeout: float = 0.0,
        on_orphan: Sequence[str] | None = None,
        apart: float = 0.0,
        on_connection: Callable[[ConnectionState, str], None] | None = None,
    ) -> None:
        self.name = name
        resumable = callable(stream)
        self._never_used = None if callable(stream) else stream
        self._connection = Connection(
            stream if callable(stream) else _once(stream),
            self,
            name=name,
            start={
                "backend": backend,
                "nodes": list(nodes),
                "linger": linger,
                "flux": flux or {},
                **({"apart": apart} if apart else {}),
            },
            program_options={"orphan_timeout": orphan_timeout, "on_orphan": on_orphan and list(on_orphan)},
            resumable=resumable,
            heartbeat=heartbeat,
            reconnect_timeout=reconnect_timeout,
            on_state=on_connection,
        )
        self._numbers = itertools.count(1)
        self._prefix = uuid.uuid4().hex[:12]  # job ids are unique among all clients that an agent may see
        self._jobs: dict[str, _Job] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._streams: dict[int, Reader | Writer] = {}

    @property
    def hello(self) -> Hello:
        """What the agent said first.

        Raises:
            RuntimeError: the client has not been started.
        """
        message = self._connection.hello
        if message is None:
            raise RuntimeError("the client has not been started")
        return Hello(**{name: message[name] for name in Hello.__dataclass_fields__})

    @property
    def connected(self) -> bool:
        """Whether the agent is within reach now; calls wait until it is, or never will be."""
        return self._connection.ready

    async def start(self) -> None:
        """Send the agent and wait for its hello.

        Raises:
            AgentError: it cannot serve, such as Flux not answering.
            ConnectionLost: it does not come up.
        """
        self._loop = asyncio.get_running_loop()
        self._never_used = None
        await self._connection.start()

    async def close(self) -> None:
        """End the agent, and so its jobs; everything that still waits raises `ConnectionLost`. Never raises."""
        await self._connection.close()
        if self._never_used is not None:
            await self._never_used.close()

    def give_up(self, why: str) -> None:
        """Stop reconnecting: who looks after the MiniCluster has seen that it is gone. What waits raises `why`."""
        self._connection.give_up(why)

    async def wait_closed(self) -> str:
        """Wait until the connection is lost for good, whoever ended it.

        Returns:
            Why.
        """
        await self._connection.ended.wait()
        return self._connection.lost_error().why

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
        job = self._jobs[name] = _Job(request, self._loop.create_future(), on_state)
        job.number = self._connection.send({"op": "submit", "job": name, **request.to_message()})

        def cancel() -> None:
            job.cancelled = True
            self._connection.send({"op": "cancel", "job": name})

        return await self._until(job.result, cancel)

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
        self._connection.send({"op": "run", "id": identifier, "command": command})
        waiting = self._until(answer, lambda: self._connection.send({"op": "kill", "id": identifier}))
        result: CommandResult = await (waiting if timeout is None else asyncio.wait_for(waiting, timeout))
        return result

    @asynccontextmanager
    async def open_reader(self, command: str) -> AsyncIterator[Reader]:
        """Read what a command line writes.

        Leaving the block before the end kills the command.
        """
        async with self._opened(Reader(self._connection, next(self._numbers)), command, "r") as reader:
            yield reader

    @asynccontextmanager
    async def open_writer(self, command: str) -> AsyncIterator[Writer]:
        """Write to a command line's standard input.

        Leaving the block ends the input and waits for the command.

        Raises:
            AgentError: when leaving: the command failed.
        """
        async with self._opened(Writer(self._connection, next(self._numbers)), command, "w") as writer:
            yield writer
            await writer.finish()

    @asynccontextmanager
    async def _opened(self, stream: S, command: str, mode: str) -> AsyncIterator[S]:
        if "\0" in command:
            raise ValueError("a NUL byte cannot be in a command")
        self._check()
        self._streams[stream.identifier] = stream
        self._connection.send({"op": "open", "id": stream.identifier, "mode": mode, "command": command})
        try:
            yield stream
        finally:
            if stream.exit_code is None and not stream.failed:
                self._connection.send({"op": "kill", "id": stream.identifier})
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
        self._connection.send({"op": "ping", "id": identifier})
        await answer
        return time.perf_counter() - start

    async def _until(self, answer: asyncio.Future[T], cancel: Callable[[], object]) -> T:
        """Wait for `answer`; when cancelled, `cancel` and give it a while to arrive."""
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if not answer.done():
                cancel()
                await asyncio.wait([answer], timeout=CANCEL_TIMEOUT)
            if answer.done() and not answer.cancelled():
                answer.exception()  # has been seen
            raise

    def _answer(self, identifier: int) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        self._answers[identifier] = future
        future.add_done_callback(lambda _: self._answers.pop(identifier, None))
        return future

    def _check(self) -> None:
        if self._connection.ended.is_set():
            raise self._connection.lost_error()
        if self._connection.hello is None:
            raise RuntimeError("the client has not been started")

    # ------------------------------------------------------------------------------------------------------ receiving

    def received(self, message: Message, payload: bytes) -> None:
        """See `connection.Handler`."""
        handler = _HANDLERS.get(message["op"])
        if handler is None:
            raise ProtocolError(f"{message['op']!r} a second time")
        handler(self, message, payload)

    def waiting_jobs(self) -> list[str]:
        """See `connection.Handler`."""
        return list(self._jobs)

    def new_agent(self, hello: Message, written: int) -> None:
        """See `connection.Handler`."""
        why = "its agent has died; another one took its place, and does not know how far this had come"
        self._fail(lambda: ConnectionLost(self.name, why), jobs=False)
        for name, job in list(self._jobs.items()):
            if job.number > written or (hello.get("recovers") and not job.known):
                job.number = self._connection.send({"op": "submit", "job": name, **job.request.to_message()})
            elif hello.get("recovers"):
                job.number = self._connection.send({"op": "attach", "jobs": [name]})
            else:
                del self._jobs[name]
                if not job.result.done():
                    job.result.set_exception(ConnectionLost(self.name, "its agent has died, and the job with it"))
                    job.result.exception()  # it may be that nobody waits any more
                continue
            if job.cancelled:
                self._connection.send({"op": "cancel", "job": name})

    def lost(self, error: Callable[[], ConnectionLost]) -> None:
        """See `connection.Handler`."""
        self._fail(error, jobs=True)

    def _fail(self, error: Callable[[], ConnectionLost], *, jobs: bool) -> None:
        answers = list(self._answers.values())
        if jobs:
            answers += [job.result for job in self._jobs.values()]
            self._jobs.clear()
        for answer in answers:
            if not answer.done():
                answer.set_exception(error())
                answer.exception()  # it may be that nobody waits any more
        for stream in self._streams.values():
            stream.lost(error())

    def _on_job(self, message: Message, payload: bytes) -> None:
        job, event = self._jobs.get(message["job"]), message["event"]
        if event == "finished":
            self._connection.send({"op": "ack", "job": message["job"]})
        if job is None:
            return
        job.known = True
        if event == "finished":
            del self._jobs[message["job"]]
            output = payload.decode("utf-8", "replace")
            if message.get("dropped"):
                dropped = f"{message['dropped']} bytes" if message["dropped"] > 0 else "some bytes"
                output = f"[{dropped} of output before this were dropped]\n{output}"
            if not job.result.done():
                used = (message.get("memory"), message.get("cpu"))
                job.result.set_result(JobResult(message["exit_code"], output, message.get("reason"), *used))
        elif event == "unknown":
            del self._jobs[message["job"]]
            if not job.result.done():
                job.result.set_exception(ConnectionLost(self.name, "the agent does not know the job any more"))
        elif job.on_state is not None and job.state != event:  # a new agent may say it again
            job.state = event
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
            answer = self._answers.get(message["id"])
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


_HANDLERS: dict[str, Callable[[AgentClient, Message, bytes], None]] = {
    name[len("_on_") :]: function for name, function in vars(AgentClient).items() if name.startswith("_on_")
}


@dataclass
class _Job:
    request: JobRequest
    result: asyncio.Future[JobResult]
    on_state: Callable[[State], None] | None
    number: int = 0  # of the last message that made an agent know it
    known: bool = False  # an agent has said so
    cancelled: bool = False
    state: str = ""


def _once(stream: ByteStream) -> Connect:
    async def connect() -> ByteStream:
        return stream

    return connect
