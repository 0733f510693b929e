"""What each side remembers of a conversation, so that it goes on over another stream when one breaks.

The stream-management of XMPP (XEP-0198) on our messages: each side counts what it has received and says so now and then
(``seen``); the other keeps what it sent until then. Over a new stream both say how much they have, and the rest is sent
again: every message arrives once, in order, however often and wherever the streams are cut.
"""

from __future__ import annotations

from collections import deque

from streamflow_fluxop.agent.wire.protocol import ProtocolError

_MESSAGES = 128  # received until we say so
_BYTES = 1 << 18


class Backlog:
    """One side's counts and what it has to keep.

    Args:
        keep: False where no other stream can follow: then nothing is kept.
    """

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._kept: deque[bytes] = deque()
        self.sent = 0
        """Messages sent in all."""
        self.received = 0
        """Messages received in all."""
        self._messages = self._bytes = 0  # received since we last said how many

    def add(self, data: bytes) -> int:
        """Keep an encoded message that is being sent.

        Returns:
            Its number; the first one is 1.
        """
        self.sent += 1
        if self._keep:
            self._kept.append(data)
        return self.sent

    def check(self, count: int) -> None:
        """Look at how many messages the other side says that it has received.

        Raises:
            ProtocolError: more than were sent, or fewer than it has said before.
        """
        if count > self.sent:
            raise ProtocolError(f"word that it has received {count} messages of {self.sent}")
        if self._keep and count < self.sent - len(self._kept):
            raise ProtocolError(
                f"word that it has received {count} messages, after it had {self.sent - len(self._kept)}"
            )

    def seen(self, count: int) -> None:
        """Forget what the other side has: it has received `count` messages.

        Raises:
            ProtocolError: see `check`.
        """
        self.check(count)
        for _ in range(count - (self.sent - len(self._kept)) if self._keep else 0):
            self._kept.popleft()

    def after(self, count: int) -> list[bytes]:
        """What is to be sent to a side that has received `count` messages.

        Raises:
            ProtocolError: see `check`.
        """
        self.seen(count)
        return list(self._kept)

    def arrived(self, size: int) -> bool:
        """Count a message of `size` bytes.

        Returns:
            Whether it is time to say ``seen``.
        """
        self.received += 1
        self._messages += 1
        self._bytes += size
        return self._keep and (self._messages >= _MESSAGES or self._bytes >= _BYTES)

    def told(self) -> int:
        """Note that ``seen`` is being said; gives the count for it."""
        self._messages = self._bytes = 0
        return self.received
