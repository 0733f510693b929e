"""What the agent said of directories when it made them.

Before each job StreamFlow makes three directories and then asks for their real paths, four times one after the other;
the next job of a step waits meanwhile (StreamFlow 0.2: `ScheduleStep._schedule`). So making and asking travel together,
and the questions that follow at once are answered from what is known.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

_MAKE = re.compile(r"mkdir -m [0-7]{3,4} -p (/[A-Za-z0-9@%+=:,./_-]+)")
_REAL_PATH = re.compile(r"test -e (/[A-Za-z0-9@%+=:,./_-]+) && readlink -f \1")
_ONLY_ASK = ("test ", "set -- ", "find ", "cat ", "head ", "mkdir ")
_PATH = re.compile(r"/[^\s'\"]*")

KEPT = 2.0
"""Seconds for which an answer counts: StreamFlow asks within milliseconds."""


class Made:
    """The real paths of directories that were made a moment ago, by place.

    Args:
        clock: tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, str]] = {}

    def real_path(self, place: str, line: str) -> str | None:
        """The answer to a command line, if it asks for the real path of such a directory; else None."""
        match = _REAL_PATH.fullmatch(line)
        told, path = self._known.get((place, match[1]), (0.0, "")) if match else (0.0, "")
        return path if path and self._clock() - told < KEPT else None

    def asking(self, place: str, line: str) -> tuple[str, str | None]:
        """The command line to run in place of one of StreamFlow's.

        Args:
            place: where it runs.
            line: StreamFlow's.

        Returns:
            `line`, and None; or, if it makes one directory, a line that says its real path, too, and the directory.
        """
        if match := _MAKE.fullmatch(line):
            return f"{line} && readlink -f {match[1]}", match[1]
        if not line.startswith(_ONLY_ASK):
            self._forget(place, _PATH.findall(line))
        return line, None

    def made(self, place: str, directory: str, real_path: str) -> None:
        """Take note of what such a line said."""
        now = self._clock()
        while self._known:
            oldest = next(iter(self._known))
            if now - self._known[oldest][0] < KEPT:
                break
            del self._known[oldest]
        self._known.pop((place, directory), None)  # the newest are at the end
        self._known[place, directory] = now, real_path

    def _forget(self, place: str, paths: list[str]) -> None:
        """What removes, moves or links a directory, or one above it, makes what we know of it old."""
        for where, known in list(self._known):
            if where == place and any(f"{known}/".startswith(f"{path.rstrip('/')}/") for path in paths):
                del self._known[where, known]
