"""How long a search goes on: it counts its work, and a clock is for emergencies only."""

from __future__ import annotations

from math import log2
from time import monotonic

RATE = 110_000
"""Jobs that schedules are made for in one unit of effort: what the slowest machine that we know does in a second."""
SLOWNESS = 20.0
"""How many times slower than that a machine may be before the clock ends a search,"""
GRACE = 60.0
"""and seconds that it has on top."""


class Budget:
    """A number of schedules that follows from the effort and the size of a problem alone.

    So two runs do the same, whatever machine they are on and whatever it does beside. A clock ends what would take
    far longer than anybody expects, and `cut` says so.

    Attributes:
        each: what a schedule takes, in jobs.
        left: schedules.
        cap: seconds after which the clock ends everything.
        share: of the clock's time, after which it ends what is going on.
        cut: whether the clock has ended something.

    Args:
        effort: how much to search; a unit is about a second on a slow machine.
        jobs: size of the problem.
        share: of the effort, that schedules may take.
    """

    def __init__(self, effort: float, jobs: int, share: float = 1.0) -> None:
        self._start = monotonic()
        self.cap = GRACE + SLOWNESS * effort
        self.each = 25 + jobs * (1 + log2(jobs + 1) / 10)
        self.left = max(1, int(share * effort * RATE / self.each))
        self.share = share
        self.cut = False

    def spend(self, schedules: int = 1) -> None:
        """Schedules are made, or other work is done that takes as long."""
        self.left -= schedules

    def rest(self) -> float:
        """Seconds until the clock ends everything."""
        return max(0.0, self._start + self.cap - monotonic())

    def over(self) -> bool:
        """Whether to stop."""
        if self.left <= 0:
            return True
        late = monotonic() > self._start + self.share * self.cap
        self.cut = self.cut or late
        return late
