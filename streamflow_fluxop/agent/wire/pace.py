"""When to write to a stream on which a write costs more than its bytes, such as a websocket with many hops."""

from __future__ import annotations

BURST = 20
"""Writes that may follow each other at once after a while of silence."""


class Pace:
    """Lets lone messages go at once and has those of a busy stream travel together.

    In the long run writes are at least `apart` apart (the generic cell rate algorithm, ITU-T I.371).

    Args:
        apart: seconds; 0: any number of writes may follow each other.
    """

    def __init__(self, apart: float = 0.0) -> None:
        self.apart = apart
        self._due = 0.0  # if all writes had been `apart`

    def wait(self, now: float) -> float:
        """Seconds until the next write may be."""
        return max(0.0, self._due - now - BURST * self.apart)

    def wrote(self, now: float) -> None:
        """Count a write."""
        self._due = max(self._due, now) + self.apart
