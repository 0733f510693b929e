"""What the fleet is to look at again, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from math import inf

from streamflow_fluxop.orchestration.decisions.messages import WakeAt
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState
from streamflow_fluxop.orchestration.decisions.planned_batches import TINY


class Timers:
    """MiniClusters to look at now, and those to look at later."""

    def __init__(self) -> None:
        self._dirty: dict[str, None] = {}
        self._timers: list[tuple[float, str]] = []
        self._wake = inf

    def touch(self, member: MiniClusterState) -> None:
        """Something has changed about a MiniCluster."""
        self._dirty[member.name] = None

    def take(self) -> list[str]:
        """The names of those to look at now; they are off the agenda."""
        names = list(self._dirty)
        self._dirty.clear()
        return names

    def start(self, start: Callable[[str], None]) -> None:
        """Call `start` with the names of those to look at; they stay noted."""
        for name in list(self._dirty):
            start(name)

    def alarm(self, member: MiniClusterState, when: float) -> None:
        """Look at a MiniCluster at that time at the latest."""
        if when < member.alarm and when < inf:
            member.alarm = when
            heappush(self._timers, (when, member.name))

    def expire(self, members: Mapping[str, MiniClusterState], now: float) -> None:
        """Touch those that were to be looked at by now."""
        while self._timers and self._timers[0][0] <= now + TINY:
            _, name = heappop(self._timers)
            if name in members:
                members[name].alarm = inf
                self.touch(members[name])
        if self._wake <= now + TINY:
            self._wake = inf

    def wake(self, other: float) -> list[WakeAt]:
        """What to send to be woken in time for the first alarm, or for `other`, unless that has been sent."""
        first = min(self._timers[0][0] if self._timers else inf, other)
        if first >= self._wake - TINY:
            return []
        self._wake = first
        return [WakeAt(first)]
