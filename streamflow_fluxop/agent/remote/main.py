"""The agent: takes messages from the client and does what they say."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.backends.backend import Backend, JobOutcome, Listener
from streamflow_fluxop.agent.backends.embedded import Embedded
from streamflow_fluxop.agent.backends.flux import FluxBackend, flux_is_here
from streamflow_fluxop.agent.remote import watchdog
from streamflow_fluxop.agent.remote.channel import Channel, Link
from streamflow_fluxop.agent.remote.commands import Commands
from streamflow_fluxop.agent.remote.rendezvous import Meeting, meet, public_name
from streamflow_fluxop.agent.remote.streams import Streams
from streamflow_fluxop.agent.system.log import log, log_exception
from streamflow_fluxop.agent.system.processes import Processes, kill_with_environment, shut
from streamflow_fluxop.agent.wire.protocol import REASON_MAX, VERSION, JobRequest, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamflow_fluxop.agent.wire.protocol import Message


class Agent(Listener):
    """One agent, from its first link until its client has left it.

    Args:
        name: of the client's session where others may read it; empty: no other link can come.
        meeting: where other links come.
        orphan_timeout: seconds after which a watchdog ends what the client left behind; 0: there is none.
    """

    def __init__(self, name: str = "", meeting: Meeting | None = None, orphan_timeout: float = 0.0) -> None:
        self._name = name
        self._meeting = meeting
        self._watched = orphan_timeout > 0
        self._hear_every = min(1.0, orphan_timeout / 10)
        self._processes = Processes()
        self._channel = Channel(
            self._received, self._greet, self._link_ended, self._hear, resumable=meeting is not None
        )
        self._commands = Commands(self._processes, self._channel)
        self._streams = Streams(self._processes, self._channel)
        self._backend: Backend | None = None
        self._jobs: dict[str, dict[str, Any]] = {}  # not acknowledged: the last event's fields
        self._outputs: dict[str, bytes] = {}  # and, of a finished one, its output
        self._linger: float | None = 0.0
        self._waiting: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._in_order = False  # the client wanted the end, or there is nothing left to keep
        self._starting: asyncio.Task[None] | None = None
        self._hello: dict[str, Any] | None = None
        self._refusal = ""
        self._heard = 0.0

    async def run(self, link: Link) -> None:
        """Serve until no link is left and none comes in time, then end everything that was started."""
        self._processes.start()
        self._channel.add(link)
        if self._meeting is not None:
            self._meeting.listen(self._channel.add)
        await self._ended.wait()
        self._channel.hold()
        if self._meeting is not None:
            self._meeting.leave(forget=self._in_order or not self._watched)
        self._commands.close()
        if self._backend is not None:
            await self._backend.close()
        await self._processes.end_all(grace=1.0)

    def recovered(self, job: str) -> None:
        """See `Listener.recovered`."""
        self._event(job, {"event": "submitted"})

    def started(self, job: str) -> None:
        """See `Listener.started`."""
        self._event(job, {"event": "started"})

    def finished(self, job: str, outcome: JobOutcome) -> None:
        """See `Listener.finished`."""
        fields: dict[str, Any] = {"event": "finished", "exit_code": outcome.exit_code}
        if outcome.reason is not None:
            fields["reason"] = outcome.reason[:REASON_MAX]
        if outcome.dropped:
            fields["dropped"] = outcome.dropped
        if outcome.memory is not None:
            fields.update(memory=outcome.memory, cpu=outcome.cpu)
        if outcome.output:
            self._outputs[job] = outcome.output
        self._event(job, fields)

    def broken(self, why: str) -> None:
        """See `Listener.broken`; the client sees the stream end, and this on stderr."""
        log(why)
        self._end()

    def _event(self, job: str, fields: dict[str, Any]) -> None:
        self._jobs[job] = fields
        self._channel.send({"op": "job", "job": job, **fields}, self._outputs.get(job, b""))

    def _link_ended(self) -> None:
        if self._linger == 0.0 or self._refusal:
            self._ended.set()
        elif self._linger is not None and self._waiting is None:  # a newcomer may leave before it is greeted
            self._waiting = asyncio.get_running_loop().call_later(self._linger, self._ended.set)

    def _end(self) -> None:
        self._in_order = True
        self._linger = 0.0
        self._channel.hold()
        self._channel.close()
        self._ended.set()

    def _received(self, message: Message, payload: bytes) -> None:
        try:
            getattr(self, "_on_" + message["op"])(message, payload)
        except ProtocolError:
            raise
        except Exception as error:
            # A mistake in one message, ours or the client's, must not end everybody's jobs.
            log_exception()
            fields = {name: message[name] for name in ("id", "job") if name in message}
            self._channel.send({"op": "error", "text": f"{type(error).__name__}: {error}"[:REASON_MAX], **fields})

    # ------------------------------------------------------------------------------------------------ the conversation

    def _greet(self, message: Message) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._linger = message.get("linger", 0.0)
        if message.get("protocol", VERSION) != VERSION:
            self._refusal = f"the client speaks version {message['protocol']} of the protocol, the agent {VERSION}"
        if self._starting is None and not self._refusal:
            self._starting = asyncio.ensure_future(self._start(message))
        elif self._refusal:
            self._channel.refuse(self._refusal)
        elif self._hello is not None:
            self._channel.greet(self._hello)

    async def _start(self, message: Message) -> None:
        try:
            wanted = message.get("backend", "auto")
            if wanted == "flux" or (wanted == "auto" and flux_is_here()):
                self._backend = FluxBackend(message.get("flux", {}), self._name, message.get("jobs", ()))
            else:
                self._backend = Embedded(self._processes, [tuple(node) for node in message.get("nodes", [])])
            fields = await self._backend.start(self)
        except Exception as error:
            log_exception()
            self._refusal = f"{type(error).__name__}: {error}"[:REASON_MAX]
            self._channel.refuse(self._refusal)
        else:
            about = {"protocol": VERSION, "hostname": socket.gethostname(), "pid": os.getpid()}
            self._hello = {"op": "hello", **about, **fields}
            self._channel.greet(self._hello)

    def _hear(self) -> None:
        now = time.monotonic()
        if self._meeting is not None and self._watched and now - self._heard >= self._hear_every:
            self._heard = now
            self._meeting.hear()

    def _on_bye(self, message: Message, payload: bytes) -> None:
        self._end()

    # ------------------------------------------------------------------------------------------------------- requests

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


def main(options: Mapping[str, Any]) -> None:
    """Serve the client on standard input and output.

    Args:
        options: ``session``, ``orphan_timeout`` (s) and ``on_orphan``; see `docs/agent-protocol.md`.
    """
    shut()
    session = options.get("session", "")
    name = public_name(session) if session else ""
    orphan_timeout = options.get("orphan_timeout", 0.0)
    meeting = None
    if session:
        guard = functools.partial(
            _prepare, name=name, orphan_timeout=orphan_timeout, on_orphan=options.get("on_orphan")
        )
        meeting, link = meet(session, guard)
        os.environb[watchdog.SESSION] = name.encode()
    else:
        link = Link(os.dup(0), os.dup(1))
    # Stray output (of a library, of a traceback) must not get between the messages.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    asyncio.run(_run(link, name, meeting, orphan_timeout))
    os._exit(0)  # threads that read a file system which hangs must not keep us


def _prepare(meeting: Meeting, *, name: str, orphan_timeout: float, on_orphan: list[str] | None) -> None:
    """Before a new agent of the session begins: if there has been another one, what it started has lost its reader."""
    kill_with_environment(watchdog.SESSION + b"=" + name.encode())
    if orphan_timeout > 0:
        watchdog.start(meeting, name, orphan_timeout, on_orphan)


async def _run(link: Link, name: str, meeting: Meeting | None, orphan_timeout: float) -> None:
    await Agent(name, meeting, orphan_timeout).run(link)
