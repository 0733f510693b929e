"""How long a search goes on."""

from __future__ import annotations

from math import log2
from time import monotonic

RATE = 110_000
"""Jobs a second that schedules are made for, on the slowest machine that is expected to be in time."""


class Budget:
    """A number of schedules, and a clock for machines that are much slower than expected.

    The number follows from the time limit and the size of the problem alone, so that two runs do the same whatever the
    machine does beside; only where it takes longer than the time limit does the clock end a search.

    Attributes:
        each: what a schedule takes, in jobs.
        left: schedules.
        share: of the time limit, after which the clock ends what is going on.
        cut: whether the clock has ended something.

    Args:
        seconds: the time limit.
        jobs: size of the problem.
        share: of the time limit, that schedules may take.
    """

    def __init__(self, seconds: float, jobs: int, share: float = 1.0) -> None:
        self._start = monotonic()
        self._seconds = seconds
        self.each = 25 + jobs * (1 + log2(jobs + 1) / 10)
        self.left = max(1, int(share * seconds * RATE / self.each))
        self.share = share
        self.cut = False

    def spend(self, schedules: int = 1) -> None:
        """Schedules are made, or other work is done that takes as long."""
        self.left -= schedules

    def rest(self) -> float:
        """Seconds until the time limit."""
        return max(0.0, self._start + self._seconds - monotonic())

    def over(self) -> bool:
        """Whether to stop."""
        if self.left <= 0:
            return True
        late = monotonic() > self._start + self.share * self._seconds
        self.cut = self.cut or late
        return late
