"""The agent's end of the stream: two file descriptors, no thread."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.log import log
from streamflow_fluxop.agent.protocol import Decoder, ProtocolError, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow_fluxop.agent.protocol import Message

_HIGH_WATER = 1 << 20  # bytes waiting to be sent above which nothing more is taken on
_READ = 1 << 18


class Channel:
    """Reads messages, writes messages, and does not let either pile up.

    Messages of one turn of the event loop leave in one write. While more than a MiB waits to be sent, nothing is read:
    who does not take our answers gets no more of them to wait for.

    Args:
        source: file descriptor to read from.
        sink: file descriptor to write to.
        received: is called with each message and its payload.
        closed: is called once when the stream has ended, whoever ended it.
    """

    def __init__(
        self, source: int, sink: int, received: Callable[[Message, bytes], None], closed: Callable[[], None]
    ) -> None:
        self._source = source
        self._sink = sink
        self._received = received
        self._closed = closed
        self._decoder = Decoder()
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._flushing = False
        self._reading = False
        self._open = True
        self._drained = asyncio.Event()
        self._drained.set()

    def start(self) -> None:
        """Begin to read."""
        self._loop = asyncio.get_running_loop()
        os.set_blocking(self._sink, False)
        self._read_more()

    def send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        """Queue a message; it is dropped when the stream has ended."""
        if not self._open:
            return
        data = encode(message, payload)
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        if self._unsent_bytes > _HIGH_WATER:
            self._drained.clear()
            self._read_less()

    @property
    def full(self) -> bool:
        """Whether so much waits to be sent that byte streams should pause until `drained`."""
        return not self._drained.is_set()

    async def drained(self) -> None:
        """Wait until there is room for more."""
        await self._drained.wait()

    def close(self) -> None:
        """End the stream, as if the other side had."""
        if self._open:
            self._open = False
            self._read_less()
            self._loop.remove_writer(self._sink)
            self._unsent.clear()
            self._drained.set()
            self._closed()

    def _read_more(self) -> None:
        if not self._reading and self._open:
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
        try:
            for message, payload in self._decoder.feed(data):
                self._received(message, payload)
        except ProtocolError as error:
            log(f"the client sent {error}")
            self.close()

    def _flush(self) -> None:
        if not self._open:
            return
        data = b"".join(self._unsent)
        self._unsent.clear()
        try:
            sent = os.write(self._sink, data)
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
        if self._unsent_bytes <= _HIGH_WATER // 2 and not self._drained.is_set():
            self._drained.set()
            self._read_more()
