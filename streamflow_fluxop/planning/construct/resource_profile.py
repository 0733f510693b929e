"""What the limits leave free, as time goes on."""

from __future__ import annotations

from bisect import bisect_right

Weight = tuple[float, ...]


def times(n: int, weight: Weight) -> Weight:
    """`n` times a weight."""
    return weight if n == 1 else tuple(n * w for w in weight)


class ResourceProfile:
    """The sum of what is held against the limits, as a step function of time.

    Holding and freeing may be entered for the past as well as for the future: a MiniCluster that is needed at t was
    asked for at t minus its bring-up, and one that is idle since e has been gone since e plus its tear-down.

    Args:
        capacity: the limits; a weight has an entry for each.
    """

    def __init__(self, capacity: Weight) -> None:
        self._capacity = tuple(c + 1e-9 for c in capacity)
        self._last: Weight = (0.0,) * len(capacity)
        self._times: list[int] = []
        self._changes: list[Weight] = []

    def hold(self, at: int, weight: Weight) -> None:
        """Hold so much from `at` on."""
        if weight:
            place = bisect_right(self._times, at)
            self._times.insert(place, at)
            self._changes.insert(place, weight)
            self._last = tuple(a + b for a, b in zip(self._last, weight, strict=True))

    def free(self, at: int, weight: Weight) -> None:
        """Free so much from `at` on."""
        if weight:
            self.hold(at, tuple(-w for w in weight))

    def full(self, weight: Weight) -> bool:
        """Whether what is held now leaves no room for so much more, at any time."""
        return self._full(self._last, weight)

    def since(self, at: int, weight: Weight) -> int | None:
        """The first time from `at` on after which there is room for ever; None where what is held now leaves none."""
        if not weight:
            return at
        level = self._last
        if self._full(level, weight):
            return None
        when, changes = self._times, self._changes
        i = len(when) - 1
        while i >= 0 and when[i] > at:
            now = when[i]
            while i >= 0 and when[i] == now:
                level = tuple(a - b for a, b in zip(level, changes[i], strict=True))
                i -= 1
            if self._full(level, weight):
                return now
        return at

    def _full(self, level: Weight, weight: Weight) -> bool:
        for held, asked, most in zip(level, weight, self._capacity, strict=True):
            if asked and held + asked > most:
                return True
        return False
