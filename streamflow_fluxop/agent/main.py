"""The agent: takes messages from the client and does what they say."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.backend import Backend, Listener, Outcome
from streamflow_fluxop.agent.channel import Channel
from streamflow_fluxop.agent.commands import Commands
from streamflow_fluxop.agent.embedded import Embedded
from streamflow_fluxop.agent.flux_backend import FluxBackend, flux_is_here
from streamflow_fluxop.agent.log import log, log_exception
from streamflow_fluxop.agent.processes import Processes
from streamflow_fluxop.agent.protocol import VERSION, JobRequest
from streamflow_fluxop.agent.streams import Streams

if TYPE_CHECKING:
    from streamflow_fluxop.agent.protocol import Message


class Agent(Listener):
    """One agent, from `start` to the end of the stream."""

    def __init__(self, source: int, sink: int) -> None:
        self._processes = Processes()
        self._channel = Channel(source, sink, self._received, self._stream_ended)
        self._commands = Commands(self._processes, self._channel)
        self._streams = Streams(self._processes, self._channel)
        self._backend: Backend | None = None
        self._jobs: dict[str, dict[str, Any]] = {}  # not acknowledged: the last event's fields
        self._outputs: dict[str, bytes] = {}  # and, of a finished one, its output
        self._linger = 0.0
        self._ended = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until the stream ends, then end everything that was started."""
        self._processes.start()
        self._channel.start()
        await self._ended.wait()
        if self._linger:
            await asyncio.sleep(self._linger)
        self._commands.close()
        if self._backend is not None:
            await self._backend.close()
        await self._processes.end_all(grace=1.0)

    def started(self, job: str) -> None:
        """See `Listener.started`."""
        self._event(job, {"event": "started"})

    def finished(self, job: str, outcome: Outcome) -> None:
        """See `Listener.finished`."""
        fields: dict[str, Any] = {"event": "finished", "exit_code": outcome.exit_code}
        if outcome.reason is not None:
            fields["reason"] = outcome.reason
        if outcome.dropped:
            fields["dropped"] = outcome.dropped
        if outcome.output:
            self._outputs[job] = outcome.output
        self._event(job, fields)

    def broken(self, why: str) -> None:
        """See `Listener.broken`; the client sees the stream end, and this on stderr."""
        log(why)
        self._linger = 0.0
        self._channel.close()

    def _event(self, job: str, fields: dict[str, Any]) -> None:
        self._jobs[job] = fields
        self._channel.send({"op": "job", "job": job, **fields}, self._outputs.get(job, b""))

    def _stream_ended(self) -> None:
        self._ended.set()

    def _received(self, message: Message, payload: bytes) -> None:
        try:
            handler = getattr(self, "_on_" + message["op"], None)
            if handler is None:
                raise ValueError(f"unknown message {message['op']!r}")
            handler(message, payload)
        except Exception as error:
            # A mistake in one message, ours or the client's, must not end everybody's jobs.
            log_exception()
            fields = {name: message[name] for name in ("id", "job") if name in message}
            self._channel.send({"op": "error", "text": f"{type(error).__name__}: {error}", **fields})

    def _on_start(self, message: Message, payload: bytes) -> None:
        self._linger = message.get("linger", 0.0)
        self._starting = asyncio.ensure_future(self._start(message))

    async def _start(self, message: Message) -> None:
        try:
            wanted = message.get("backend", "auto")
            if wanted == "flux" or (wanted == "auto" and flux_is_here()):
                self._backend = FluxBackend(message.get("flux", {}))
            else:
                self._backend = Embedded(self._processes, [tuple(node) for node in message.get("nodes", [])])
            fields = await self._backend.start(self)
        except Exception as error:
            log_exception()
            self._channel.send({"op": "error", "text": f"{type(error).__name__}: {error}"})
        else:
            about = {"protocol": VERSION, "hostname": socket.gethostname(), "pid": os.getpid()}
            self._channel.send({"op": "hello", **about, **fields})

    def _on_submit(self, message: Message, payload: bytes) -> None:
        job = message["job"]
        if job in self._jobs:  # the client was not sure that we had it
            self._event(job, self._jobs[job])
            return
        request = JobRequest.from_message(message)
        assert self._backend is not None
        self._event(job, {"event": "submitted"})
        self._backend.submit(job, request)

    def _on_cancel(self, message: Message, payload: bytes) -> None:
        assert self._backend is not None
        self._backend.cancel(message["job"])

    def _on_ack(self, message: Message, payload: bytes) -> None:
        self._jobs.pop(message["job"], None)
        self._outputs.pop(message["job"], None)

    def _on_attach(self, message: Message, payload: bytes) -> None:
        for job in message["jobs"]:
            if job in self._jobs:
                self._event(job, self._jobs[job])
            else:
                self._channel.send({"op": "job", "job": job, "event": "unknown"})

    def _on_run(self, message: Message, payload: bytes) -> None:
        self._commands.run(message["id"], message["command"])

    def _on_open(self, message: Message, payload: bytes) -> None:
        self._streams.open(message["id"], message["command"], message["mode"])

    def _on_data(self, message: Message, payload: bytes) -> None:
        self._streams.data(message["id"], payload)

    def _on_eof(self, message: Message, payload: bytes) -> None:
        self._streams.eof(message["id"])

    def _on_credit(self, message: Message, payload: bytes) -> None:
        self._streams.credit(message["id"], message["count"])

    def _on_kill(self, message: Message, payload: bytes) -> None:
        self._commands.kill(message["id"])
        self._streams.kill(message["id"])

    def _on_ping(self, message: Message, payload: bytes) -> None:
        self._channel.send({"op": "pong", "id": message["id"]})


def main() -> None:
    """Serve the client on standard input and output."""
    source, sink = os.dup(0), os.dup(1)
    # Stray output (of a library, of a traceback) must not get between the messages.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    asyncio.run(_run(source, sink))
    os._exit(0)  # threads that read a file system which hangs must not keep us


async def _run(source: int, sink: int) -> None:
    await Agent(source, sink).run()
