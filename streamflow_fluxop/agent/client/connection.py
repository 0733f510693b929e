"""The client's end of the stream: one conversation with an agent over one stream after the other."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from streamflow_fluxop.agent.client.bootstrap import program
from streamflow_fluxop.agent.client.errors import AgentError, AgentGone, ConnectionLost
from streamflow_fluxop.agent.client.transport import ByteStream
from streamflow_fluxop.agent.wire.backlog import Backlog
from streamflow_fluxop.agent.wire.protocol import ANSWER_MAX, SILENCE, VERSION, Decoder, ProtocolError, encode
from streamflow_fluxop.agent.wire.schema import FROM_AGENT, check

if TYPE_CHECKING:
    from streamflow_fluxop.agent.wire.protocol import Message

logger = logging.getLogger(__name__)

Connect: TypeAlias = Callable[[], Awaitable[ByteStream]]
"""Makes a stream to a new process that runs `bootstrap.BOOT`, where the agent is; raises `AgentGone` if never again."""

State = Literal["connected", "reconnecting", "lost"]

HELLO_TIMEOUT = 60.0
"""Seconds from the source's sending until the agent must have said hello: Python and Flux start in between."""

HELLO_PATIENCE = 20.0
"""The same, when it has been there before."""

CONNECT_TIMEOUT = 30.0
"""Seconds that one attempt to make a stream may take."""

FIRST_ATTEMPTS = 4
"""Streams that are tried until the first hello: an agent that cannot start at all is no matter of patience."""

FIRST_DELAY = 0.1
"""Seconds until the first new attempt; each further one takes twice as long."""

DELAY_MAX = 10.0

SHORT_LIFE = 10.0
"""Seconds that a connection must have lived to count as one that works."""

SHORT_LIVES = 8
"""Connections in a row that may break before that with nothing gained, or their agents die: then that is the end."""

MESSAGE_TIMEOUT = 60.0
"""Seconds that one message may take to come to its end, and as many more as its bytes do at `SLOWEST`."""

SLOWEST = 64 * 1024
"""Bytes a second."""

END_TIMEOUT = 15.0
"""Seconds that an agent has to end everything that it started, once it was told to."""

LEAVE_TIMEOUT = 5.0
"""Seconds that leaving waits for a connection over which it can tell the agent so."""


class Handler(Protocol):
    """Whoever uses a connection."""

    def received(self, message: Message, payload: bytes) -> None:
        """Take a message; each comes once, in order.

        Raises:
            ProtocolError: it cannot be, after what was sent.
        """

    def waiting_jobs(self) -> list[str]:
        """Name the jobs that a new agent should look for."""

    def new_agent(self, hello: Message, written: int) -> None:
        """Take note that the old agent, and what it knew, is gone; of the messages `written` may have reached it."""

    def lost(self, error: Callable[[], ConnectionLost]) -> None:
        """Take note that there will be no connection any more."""


class Connection:
    """Sends the agent to where streams lead, and keeps talking to it.

    Args:
        connect: makes a stream, again where the last one broke.
        handler: takes what comes.
        name: of the MiniCluster, for messages.
        start: fields of the ``start`` message.
        program_options: of the agent's `main`, without ``session``.
        resumable: whether `connect` may be called again.
        heartbeat: seconds between two signs of life; 0: none. Silence for `SILENCE` of them breaks the stream.
        reconnect_timeout: seconds without a connection after which it is lost.
        on_state: is called with each new state and the reason for it.
    """

    def __init__(
        self,
        connect: Connect,
        handler: Handler,
        *,
        name: str,
        start: Mapping[str, Any],
        program_options: Mapping[str, Any],
        resumable: bool,
        heartbeat: float,
        reconnect_timeout: float,
        on_state: Callable[[State, str], None] | None = None,
    ) -> None:
        self._connect = connect
        self._handler = handler
        self._name = name
        self._start = {"op": "start", "protocol": VERSION, "heartbeat": heartbeat, **start}
        session = {"session": secrets.token_hex(16)} if resumable else {}
        self._program = program(**program_options, **session)
        self._resumable = resumable
        self._heartbeat = heartbeat
        self._reconnect_timeout = reconnect_timeout
        self._on_state = on_state
        self._backlog = Backlog(keep=resumable)
        self._agent: str | None = None
        self._written = 0  # messages that have been given to some stream
        self._unsent: list[bytes] = []
        self._stream: ByteStream | None = None
        self.ready = False
        """Whether there is a connection now."""
        self._greeting: asyncio.Event = asyncio.Event()
        self._refusal: AgentError | None = None
        self._serving: asyncio.Task[None] | None = None
        self._closing_streams: set[asyncio.Task[None]] = set()
        self._closing = self._left = False
        self._why = ""
        self._last_words = ""
        self._heard = 0.0
        self._since = 0.0  # the last hello
        self._gained = False  # whether anything has come since, but signs of life
        self._short = False  # whether the last connection broke soon after its hello
        self._deaths = 0  # agents in a row that died then
        self.hello: Message | None = None
        """What the agent said last time; None before."""
        self.ended = asyncio.Event()
        """Set when the connection is lost for good."""

    # ----------------------------------------------------------------------------------------------------- its life

    async def start(self) -> None:
        """Connect.

        Raises:
            AgentError: the agent cannot serve, such as Flux not answering.
            ConnectionLost: it does not come up.
        """
        self._loop = asyncio.get_running_loop()
        self._serving = self._loop.create_task(self._serve(), name=f"agent of {self._name}")
        self._serving.add_done_callback(self._served)
        await self._greeting.wait()
        if self._refusal is not None:
            raise self._refusal
        if self.hello is None:
            raise self.lost_error()

    async def close(self) -> None:
        """End the agent, and so its jobs. Never raises."""
        if self._resumable and self._agent is not None and not self.ended.is_set():
            await self._leave()
        self._closing = True
        if self._serving is not None:
            if self._left:
                await asyncio.wait([self._serving], timeout=END_TIMEOUT)  # the stream ends with the agent
            self._serving.cancel()
            await asyncio.wait([self._serving])
        if self._closing_streams:
            await asyncio.wait(self._closing_streams)
        self._lose("it was closed")

    def give_up(self, why: str) -> None:
        """Lose the connection for good: its user has seen that the other side is gone."""
        self._lose(why)
        if self._serving is not None:
            self._serving.cancel()

    def lost_error(self) -> ConnectionLost:
        """One for each who waits: a shared exception would collect everybody's tracebacks."""
        return ConnectionLost(self._name, self._why, self._last_words)

    async def _leave(self) -> None:
        """Tell the agent that nobody will come again."""
        deadline = self._loop.time() + LEAVE_TIMEOUT
        while not self.ready and not self.ended.is_set() and self._loop.time() < deadline:
            self._greeting.clear()
            try:
                await asyncio.wait_for(self._greeting.wait(), deadline - self._loop.time())
            except asyncio.TimeoutError:
                logger.warning("MiniCluster %s: could not tell its agent to end; it waits for a while", self._name)
        if self.ready and self._stream is not None:
            self._flush()
            self._stream.write(encode({"op": "bye"}))
            self._left = True

    # -------------------------------------------------------------------------------------------------------- sending

    def send(self, message: Message, payload: bytes = b"") -> int:
        """Queue a message, until there is a connection again if need be.

        Those of one turn of the event loop leave in one write.

        Returns:
            Its number, see `Handler.new_agent`.
        """
        data = encode(message, payload)
        number = self._backlog.add(data)
        if self.ready:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(data)
        return number

    async def drain(self) -> None:
        """Wait until not much is queued."""
        if self._stream is not None and self.ready:
            await self._stream.drain()

    def _flush(self) -> None:
        if self._unsent and self._stream is not None:
            self._stream.write(b"".join(self._unsent))
            self._unsent.clear()
            self._written = self._backlog.sent

    # -------------------------------------------------------------------------------------------- one stream and more

    def _served(self, serving: asyncio.Task[None]) -> None:
        """Whatever ended it: nobody waits for ever."""
        if not serving.cancelled() and serving.exception() is not None:
            logger.error("MiniCluster %s: an error in the client", self._name, exc_info=serving.exception())
            self._lose(f"an error in the client: {serving.exception()!r}")

    async def _serve(self) -> None:
        attempts, short_lives, delay, deadline = 0, 0, FIRST_DELAY, 0.0
        while True:
            attempts += 1
            try:
                why = await self._talk()
            except AgentGone as error:
                self._lose(str(error))
                return
            now = self._loop.time()
            if self.ready:
                attempts, deadline = 0, now + self._reconnect_timeout
                self._short = now - self._since < SHORT_LIFE
                short_lives = short_lives + 1 if self._short and not self._gained else 0
                if not short_lives:
                    delay = FIRST_DELAY
                self.ready = False
                self._unsent.clear()
                if self._resumable and not self._closing:
                    self._say("reconnecting", why)
            if self._refusal is not None:
                why = str(self._refusal)
            if self._refusal is not None or self._closing or not self._resumable:
                self._lose(why)
                return
            if max(short_lives, self._deaths) >= SHORT_LIVES:
                self._lose(f"{why}; that was so {SHORT_LIVES} times in a row, each soon after its agent said hello")
                return
            if self._agent is None and attempts >= FIRST_ATTEMPTS:
                self._lose(why)
                return
            if self._agent is not None and now + delay > deadline:
                self._lose(f"{why}; there was no new connection within {self._reconnect_timeout:g} s")
                return
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, DELAY_MAX)

    async def _talk(self) -> str:
        """Make a stream and use it until it breaks.

        Returns:
            Why it broke.

        Raises:
            AgentGone: there will be none any more.
        """
        try:
            self._stream = stream = await asyncio.wait_for(self._connect(), CONNECT_TIMEOUT)
        except AgentGone:
            raise
        except asyncio.TimeoutError:
            return f"no stream within {CONNECT_TIMEOUT:g} s"
        except Exception as error:  # each kind of stream has its own
            return f"cannot connect: {str(error) or type(error).__name__}"
        stream.write(self._program)
        known = {} if self._agent is None else {"agent": self._agent, "jobs": self._handler.waiting_jobs()}
        stream.write(encode({**self._start, **known, "received": self._backlog.told()}))
        reading = asyncio.ensure_future(self._read(stream))
        watching = asyncio.ensure_future(self._watch(stream))
        try:
            done, _ = await asyncio.wait({reading, watching}, return_when=asyncio.FIRST_COMPLETED)
            return (watching if watching in done else reading).result()
        finally:
            self._last_words = stream.last_words
            self._stream = None
            for task in (reading, watching):
                task.cancel()
            closing = asyncio.ensure_future(_close(stream, {reading, watching}))
            self._closing_streams.add(closing)
            closing.add_done_callback(self._closing_streams.discard)

    async def _read(self, stream: ByteStream) -> str:
        decoder = Decoder(functools.partial(check, shapes=FROM_AGENT), ANSWER_MAX)
        greeted = False
        begun = self._loop.time()
        while True:
            try:
                data = await stream.read()
            except Exception as error:  # each kind of stream has its own
                return str(error) or type(error).__name__
            if not data:
                return "the stream ended" + (" within a message" if decoder.unfinished else "")
            self._heard = self._loop.time()
            try:
                for message, payload in decoder.feed(data):
                    begun = self._heard
                    if greeted:
                        self._arrived(stream, message, payload)
                    elif message["op"] in ("hello", "error"):
                        if message["op"] == "error":
                            self._refuse(message)
                            return "it refused to serve"
                        greeted = True
                        self._greeted(stream, message)
                    else:
                        raise ProtocolError(f"{message['op']!r} before 'hello'")
            except _Ended as end:
                return str(end)
            except ProtocolError as error:
                return f"the agent sent {error}"
            if not decoder.unfinished:
                begun = self._heard
            elif self._heard - begun > MESSAGE_TIMEOUT + decoder.unfinished / SLOWEST:
                return f"a message did not come to its end within {self._heard - begun:.0f} s"

    def _arrived(self, stream: ByteStream, message: Message, payload: bytes) -> None:
        if message["op"] == "seen":
            self._backlog.seen(message["count"])
            return
        if message["op"] == "error" and not ("id" in message or "job" in message):
            raise _Ended(f"the agent ended the stream: {message['text']}")
        self._gained = True
        if self._backlog.arrived(len(payload) + 64):
            self._say_seen(stream)
        try:
            self._handler.received(message, payload)
        except ProtocolError:
            raise
        except Exception:  # a mistake of ours in one message must not end everybody's jobs
            logger.exception("MiniCluster %s: cannot take the message %r", self._name, message)

    async def _watch(self, stream: ByteStream) -> str:
        """Give signs of life, and return when the other side has given none for too long."""
        self._heard = began = self._loop.time()
        patience = HELLO_TIMEOUT if self._agent is None else max(SILENCE * self._heartbeat, HELLO_PATIENCE)
        step = min(self._heartbeat or patience, patience)
        while True:
            before = self._loop.time()
            await asyncio.sleep(step)
            now = self._loop.time()
            if now - before > 2 * step:  # we were held up ourselves, and could not have heard anything
                self._heard = now
            if not self.ready:
                if now - began >= patience:
                    return f"no hello within {patience:g} s"
            elif self._heartbeat:
                if now - self._heard > SILENCE * self._heartbeat:
                    return f"no sign of life for {now - self._heard:.0f} s"
                self._say_seen(stream)

    def _greeted(self, stream: ByteStream, hello: Message) -> None:
        first, same = self._agent is None, self._agent == hello["agent"]
        missing = self._backlog.after(hello["received"]) if same else []
        self.hello, self._agent = hello, hello["agent"]
        self._since, self._gained = self._loop.time(), False
        if same:
            for data in missing:
                stream.write(data)
        else:
            self._backlog = Backlog(keep=self._resumable)
        written, self._written = self._written, self._backlog.sent
        self.ready = True
        self._deaths = self._deaths + 1 if self._short and not same else 0
        if not first:
            if not same:
                self._handler.new_agent(hello, written)
            self._say("connected", "it is the same agent" if same else "it is a new agent")
        self._greeting.set()

    def _refuse(self, message: Message) -> None:
        self._refusal = AgentError(f"MiniCluster {self._name}: {message['text']}")
        self._greeting.set()

    def _say_seen(self, stream: ByteStream) -> None:
        stream.write(encode({"op": "seen", "count": self._backlog.told()}))

    def _say(self, state: State, why: str) -> None:
        level = logging.INFO if state == "connected" else logging.WARNING
        logger.log(level, "MiniCluster %s: %s: %s", self._name, _WORDS[state], why)
        if self._on_state is not None:
            try:
                self._on_state(state, why)
            except Exception:
                logger.exception("on_state(%r) failed", state)

    def _lose(self, why: str) -> None:
        if self.ended.is_set():
            return
        self._why = "it was closed" if self._closing else why
        if self._stream is not None:
            self._last_words = self._stream.last_words
        if not self._closing:
            self._say("lost", why)
        self.ready = False
        self.ended.set()
        self._handler.lost(self.lost_error)
        self._greeting.set()


class _Ended(Exception):
    """The other side has ended the stream; the text says why."""


async def _close(stream: ByteStream, users: set[asyncio.Future[str]]) -> None:
    await asyncio.wait(users)
    await stream.close()


_WORDS: dict[State, str] = {
    "connected": "connected again",
    "reconnecting": "the connection broke, reconnecting",
    "lost": "lost the connection",
}
