"""What comes beside an agent's stream (its stderr): to the log, and its end into error messages.

Anybody there may write to it, jobs too: so nothing of it is kept but a few lines, cut where they are long, and a flood
of them is counted and not logged.
"""

from __future__ import annotations

import logging
import time
from collections import deque

_LINES_KEPT = 20
_LINE_MAX = 4096  # bytes
_BURST = 500  # lines that are logged at once
_A_SECOND = 20.0  # and so many a second in the long run


class LastWords:
    """Takes bytes as they come.

    Args:
        logger: takes the lines.
        name: of who says them.
    """

    def __init__(self, logger: logging.Logger, name: str) -> None:
        self._logger = logger
        self._name = name
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._partial = bytearray()  # the first bytes of the line that has begun
        self._cut = 0  # bytes of it that were dropped
        self._budget = float(_BURST)
        self._since = time.monotonic()
        self._dropped = 0
        self.level = logging.INFO
        """Of the lines in the log."""

    def __str__(self) -> str:
        """The last lines."""
        return "\n".join(self._lines)

    def feed(self, data: bytes) -> None:
        """Take the next bytes; the time that this takes does not depend on what came before."""
        *complete, rest = data.split(b"\n")
        for piece in complete:
            self._add(piece)
            self._end_line()
        self._add(rest)

    def end(self) -> None:
        """Take note that nothing follows."""
        if self._partial:
            self._end_line()
        if self._dropped:
            self._say_dropped()

    def add(self, line: str) -> None:
        """Take a line that the agent did not say itself."""
        self._lines.append(line)

    def _add(self, piece: bytes) -> None:
        room = _LINE_MAX - len(self._partial)
        self._partial += piece[:room]
        self._cut += max(0, len(piece) - room)

    def _end_line(self) -> None:
        text = printable(self._partial.decode("utf-8", "replace").rstrip("\r"))
        if self._cut:
            text += f" [{self._cut} bytes more]"
        self._partial.clear()
        self._cut = 0
        self._lines.append(text)
        now = time.monotonic()
        self._budget = min(_BURST, self._budget + _A_SECOND * (now - self._since))
        self._since = now
        if self._budget < 1:
            self._dropped += 1
            return
        self._budget -= 1
        if self._dropped:
            self._say_dropped()
        self._logger.log(self.level, "%s: %s", self._name, text)

    def _say_dropped(self) -> None:
        self._logger.log(self.level, "%s: %d lines more, too many to be logged", self._name, self._dropped)
        self._dropped = 0


def printable(text: str) -> str:
    """Text with what a terminal would take for a command, or not show, as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
