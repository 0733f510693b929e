"""The agent's end of the stream: the link that carries it now, and what outlives each link."""

from __future__ import annotations

import asyncio
import functools
import os
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.system.log import log
from streamflow_fluxop.agent.wire.backlog import Backlog
from streamflow_fluxop.agent.wire.pace import Pace
from streamflow_fluxop.agent.wire.protocol import SILENCE, Decoder, ProtocolError, encode
from streamflow_fluxop.agent.wire.schema import FROM_CLIENT, check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamflow_fluxop.agent.wire.protocol import Message

_HIGH_WATER = 1 << 20  # bytes waiting to be sent above which nothing more is taken on
_READ = 1 << 18


class Link:
    """One duplex stream of messages: two file descriptors, no thread.

    Messages of one turn of the event loop, or of a longer time (`pace`), leave in one write. While more than a MiB
    waits to be sent, nothing is read: who does not take our answers gets no more of them to wait for.

    Args:
        source: file descriptor to read from.
        sink: file descriptor to write to.
        errors: of the other side's log; -1: none of its own.
        leashes: descriptors that whoever brought the link waits on.
    """

    def __init__(self, source: int, sink: int, errors: int = -1, leashes: Sequence[int] = ()) -> None:
        self._source = source
        self._sink = sink
        self.errors = errors
        self._leashes = leashes
        self._decoder = Decoder(functools.partial(check, shapes=FROM_CLIENT))
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._flushing = False
        self._reading = False
        self._progress = time.monotonic()
        self.pace = Pace()
        self.open = True
        self.held = False
        """Whether the leashes stay until the process ends: it has still to clean up."""
        self.room = asyncio.Event()
        """Set while not much waits to be sent."""
        self.room.set()

    def start(self, received: Callable[[Link, Message, bytes], None], closed: Callable[[Link], None]) -> None:
        """Begin to read.

        Args:
            received: is called with each message and its payload.
            closed: is called once when the stream has ended, whoever ended it.
        """
        self._received = received
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        os.set_blocking(self._source, False)
        os.set_blocking(self._sink, False)
        self._read_more()

    @property
    def silence(self) -> float:
        """Seconds since anything moved."""
        return time.monotonic() - self._progress

    def write(self, data: bytes) -> None:
        """Queue an encoded message."""
        if not self.open:
            return
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if not self._flushing:
            self._flushing = True
            wait = self.pace.wait(time.monotonic())
            if wait:
                self._loop.call_later(wait, self._flush)
            else:
                self._loop.call_soon(self._flush)
        if self._unsent_bytes > _HIGH_WATER:
            self.room.clear()
            self._read_less()

    def fail(self, why: str) -> None:
        """End the stream, and say why, as far as the other side still takes words."""
        log(why)
        if self.open:
            self._unsent.append(encode({"op": "error", "text": why}))
            try:
                os.write(self._sink, b"".join(self._unsent))
            except OSError as error:
                log(f"cannot say why: {error}")
        self.close()

    def close(self) -> None:
        """End the stream, as if the other side had."""
        if not self.open:
            return
        self.open = False
        self._read_less()
        self._loop.remove_writer(self._sink)
        self._unsent.clear()
        self.room.set()
        for descriptor in (self._source, self._sink, self.errors, *(() if self.held else self._leashes)):
            if descriptor >= 0:
                os.close(descriptor)
        self._closed(self)

    def _read_more(self) -> None:
        if not self._reading and self.open:
            self._reading = True
            self._loop.add_reader(self._source, self._readable)

    def _read_less(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._source)

    def _readable(self) -> None:
        try:
            data = os.read(self._source, _READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            log(f"cannot read: {error}")
            data = b""
        if not data:
            self.close()
            return
        self._progress = time.monotonic()
        try:
            for message, payload in self._decoder.feed(data):
                self._received(self, message, payload)
                if not self.open:
                    return
        except ProtocolError as error:
            self.fail(f"the client sent {error}")

    def _flush(self) -> None:
        if not self.open:
            return
        data = b"".join(self._unsent)
        self._unsent.clear()
        try:
            sent = os.write(self._sink, data)
            self._progress = time.monotonic()
            self.pace.wrote(self._progress)
        except BlockingIOError:
            sent = 0
        except OSError as error:  # EPIPE: nobody listens any more
            log(f"cannot write: {error}")
            self.close()
            return
        self._unsent_bytes = len(data) - sent
        if self._unsent_bytes:
            self._unsent.append(data[sent:])
            self._loop.add_writer(self._sink, self._flush)  # it stays until all is sent
            self._flushing = True
        else:
            self._loop.remove_writer(self._sink)
            self._flushing = False
        if self._unsent_bytes <= _HIGH_WATER // 2 and not self.room.is_set():
            self.room.set()
            self._read_more()


class Channel:
    """The conversation with one client, over one link after the other.

    A link takes over when the client says ``start`` on it.

    Args:
        received: is called with each message and its payload.
        started: is called with each ``start``, and answers with `greet` or `refuse`.
        left: is called when a link that was in use has ended; not when another one took its place.
        heard: is called with every sign of life.
        resumable: whether another link can come.
    """

    def __init__(
        self,
        received: Callable[[Message, bytes], None],
        started: Callable[[Message], None],
        left: Callable[[], None],
        heard: Callable[[], None],
        *,
        resumable: bool,
    ) -> None:
        self.identity = uuid.uuid4().hex
        """Of this agent's memory: who finds another one at the next link has been forgotten."""
        self._received = received
        self._started = started
        self._left = left
        self._heard = heard
        self._resumable = resumable
        self._backlog = Backlog(keep=resumable)
        self._link: Link | None = None
        self._greeted = False
        self._client_has = 0
        self._heartbeat = 0.0
        self._tick: asyncio.TimerHandle | None = None
        self._connected = asyncio.Event()

    def add(self, link: Link) -> None:
        """Listen to a link that may take over."""
        if self._link is None:
            self._use(link)
        link.start(self._arrived, self._ended)

    def send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        """Queue a message; where no link is left and none can come it is dropped."""
        data = encode(message, payload)
        self._backlog.add(data)
        if self._greeted and self._link is not None:
            self._link.write(data)

    @property
    def full(self) -> bool:
        """Whether so much waits to be sent that byte streams should pause until `drained`."""
        if self._link is None or not self._greeted:
            return self._resumable  # else what is sent is dropped
        return not self._link.room.is_set()

    async def drained(self) -> None:
        """Wait until there is room for more."""
        while self.full:
            await self._connected.wait()
            if self._link is not None:
                await self._link.room.wait()

    def greet(self, hello: dict[str, Any]) -> None:
        """Answer a ``start``: the client gets what it has missed."""
        if self._link is not None and not self._greeted:
            self._greeted = True
            self._link.write(encode({**hello, "agent": self.identity, "received": self._backlog.received}))
            for data in self._backlog.after(self._client_has):
                self._link.write(data)
            self._connected.set()

    def refuse(self, text: str) -> None:
        """Answer a ``start``: it cannot be."""
        if self._link is not None:
            self._link.write(encode({"op": "error", "text": text}))

    def hold(self) -> None:
        """Keep whoever brought the link waiting until this process has ended."""
        if self._link is not None:
            self._link.held = True

    def close(self) -> None:
        """End the link."""
        if self._link is not None:
            self._link.close()

    def _use(self, link: Link) -> None:
        self._link = link
        self._greeted = False
        self._connected.clear()
        if link.errors >= 0:
            os.dup2(link.errors, 2)
            os.dup2(2, 1)

    def _arrived(self, link: Link, message: Message, payload: bytes) -> None:
        self._heard()
        if message["op"] == "start":
            self._adopt(link, message)
        elif link is not self._link:
            raise ProtocolError(f"{message['op']!r} before 'start'")
        elif message["op"] == "seen":
            self._backlog.seen(message["count"])
        else:
            if self._backlog.arrived(len(payload) + 64):
                self._say_seen(link)
            self._received(message, payload)

    def _adopt(self, link: Link, message: Message) -> None:
        agent, received = message.get("agent"), 0
        if agent == self.identity:
            received = message.get("received", 0)
        elif agent is not None:  # another one has had the conversation meanwhile: a new one begins
            self._backlog = Backlog(keep=self._resumable)
        self._backlog.check(received)
        old = self._link
        if link is not old:
            self._use(link)
            if old is not None:
                old.close()
        self._client_has = received
        self._heartbeat = message.get("heartbeat", 0.0)
        link.pace.apart = message.get("apart", 0.0)
        self._beat()
        self._started(message)

    def _beat(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        if not self._heartbeat:
            return
        if self._link is not None:
            # without another link to come, a controller that was stopped (Ctrl-Z) may go on some day
            if self._resumable and self._link.silence > SILENCE * self._heartbeat:
                log(f"no sign of life from the client for {self._link.silence:.0f} s")
                self._link.close()
            elif self._greeted:
                self._say_seen(self._link)
        self._tick = asyncio.get_running_loop().call_later(self._heartbeat, self._beat)

    def _say_seen(self, link: Link) -> None:
        link.write(encode({"op": "seen", "count": self._backlog.told()}))

    def _ended(self, link: Link) -> None:
        if link is self._link:
            self._link = None
            self._greeted = False
            self._connected.clear()
            nothing = os.open(os.devnull, os.O_WRONLY)
            if link.errors >= 0:  # else it is the only one, and may still be listened to
                os.dup2(nothing, 2)
                os.dup2(nothing, 1)
            os.close(nothing)
            self._left()
