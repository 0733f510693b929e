"""What is free on a node, as time goes on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

NEVER = 1 << 60
BITS = 40
"""Of each of cores, GPUs and memory in the number that says what is free."""
GUARDS = sum(1 << (BITS * n + BITS - 1) for n in range(3))


def packed(cores: int, gpus: int, memory: int) -> int:
    """Three amounts as one number, so that one subtraction compares all of them."""
    return cores | gpus << BITS | memory << 2 * BITS


class Timeline:
    """A node of a sharing class from its first job to its last one.

    From `times[i]` on, `free[i]` is free, a `packed` number. Before the first job and after the last one all is.

    Attributes:
        jobs: the numbers of those that are on it.
        price: of the node, a tick.
        even: ticks of idleness that cost as much as to go and to come again.
        paid: its cost when it was last added up.
    """

    __slots__ = ("break_even", "flavour", "free", "full", "jobs", "paid", "price", "sharing", "times")

    def __init__(self, sharing: int, flavour: int, full: int, price: float, break_even: int) -> None:
        self.sharing = sharing
        self.flavour = flavour
        self.full = full
        self.price = price
        self.break_even = break_even
        self.times = [-1, NEVER]
        self.free = [full, full]
        self.jobs: set[int] = set()
        self.paid = 0.0

    @property
    def first(self) -> int:
        """When its first job starts."""
        return self.times[1]

    @property
    def last(self) -> int:
        """When its last job ends."""
        return self.times[-2]

    @property
    def cost(self) -> float:
        """Of its lease, bring-up and tear-down included; nothing if it has no jobs."""
        return (self.times[-2] - self.times[1] + self.break_even) * self.price if self.jobs else 0.0

    def change(self, start: int, end: int, amount: int) -> None:
        """So much more is free from start to end."""
        times, free = self.times, self.free
        i = bisect_left(times, start)
        if times[i] != start:
            times.insert(i, start)
            free.insert(i, free[i - 1])
        k = bisect_left(times, end, i)
        if times[k] != end:
            times.insert(k, end)
            free.insert(k, free[k - 1])
        for n in range(i, k):
            free[n] += amount
        if free[k] == free[k - 1] and k < len(times) - 1:
            del times[k], free[k]
        if free[i] == free[i - 1]:
            del times[i], free[i]

    def earliest(self, need: int, ticks: int, low: int, high: int) -> int:
        """The first start from low to high at which so much is free for so long; -1 if there is none."""
        times, free = self.times, self.free
        i, at = bisect_right(times, low) - 1, low
        while True:
            if ((free[i] | GUARDS) - need) & GUARDS == GUARDS:
                if times[i + 1] >= at + ticks:
                    return at
            else:
                at = times[i + 1]
                if at > high:
                    return -1
            i += 1

    def latest(self, need: int, ticks: int, low: int, high: int) -> int:
        """The last start from low to high at which so much is free for so long; -1 if there is none."""
        times, free = self.times, self.free
        end = high + ticks
        i = bisect_left(times, end) - 1
        while True:
            if ((free[i] | GUARDS) - need) & GUARDS == GUARDS:
                if times[i] <= end - ticks:
                    return end - ticks
            else:
                end = times[i]
                if end - ticks < low:
                    return -1
            i -= 1

    def idle(self) -> tuple[int, int] | None:
        """A time in which it would better go and come again."""
        times, free, full = self.times, self.free, self.full
        if full not in free[1:-2]:
            return None
        for i in range(1, len(times) - 2):
            if free[i] == full and times[i + 1] - times[i] > self.break_even:
                return times[i], times[i + 1]
        return None
