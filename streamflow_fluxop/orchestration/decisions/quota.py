"""What the fleet holds, and what the limits leave: counted from asking for a MiniCluster until it is gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import inf

from streamflow_fluxop.model import NODE_LIMITS, Flavour, Limits

_SLACK = 1e-9


class Quota:
    """Nodes and MiniClusters that are held, against the limits.

    Args:
        limits: of the fleet.
        flavours: by name.
    """

    def __init__(self, limits: Limits, flavours: Mapping[str, Flavour]) -> None:
        self.nodes = Counter[str]()
        self.miniclusters = 0
        counted = [(name, f.count) for name, f in flavours.items() if f.count is not None]
        self._names = ["MiniClusters", *(limit.words for limit in NODE_LIMITS)]
        self._names += [f"nodes of flavour {name}" for name, _ in counted]
        self._caps: list[float] = [inf if limits.miniclusters is None else limits.miniclusters]
        for limit in NODE_LIMITS:
            cap = limit.of(limits)
            self._caps.append(inf if cap is None else cap if limit.whole else cap * (1 + _SLACK) + _SLACK)
        self._caps += [count for _, count in counted]
        self._weights = {
            name: (
                *(float(limit.amount(f)) for limit in NODE_LIMITS),
                *(float(name == n) for n, _ in counted),
            )
            for name, f in flavours.items()
        }
        self._used = [0.0] * len(self._caps)

    def weigh(self, flavour: str, nodes: int, miniclusters: int) -> list[float]:
        """What so much takes of each limit."""
        return [float(miniclusters), *(w * nodes for w in self._weights[flavour])]

    def take(self, flavour: str, nodes: int, miniclusters: int = 0) -> None:
        """Hold more, or with negative numbers less."""
        self.nodes[flavour] += nodes
        self.miniclusters += miniclusters
        for i, w in enumerate(self.weigh(flavour, nodes, miniclusters)):
            self._used[i] += w

    def fits(self, more: list[float], reserved: list[float] | None = None, leaving: list[float] | None = None) -> bool:
        """Whether more may be held.

        Args:
            more: as `weigh` gives it.
            reserved: what somebody else waits for: of that, nothing may be taken away.
            leaving: what is held, but will be gone.
        """
        for i, (cap, used, m) in enumerate(zip(self._caps, self._used, more, strict=True)):
            if not m:
                continue
            if leaving is not None:
                used -= leaving[i]
            if reserved is not None:
                used += reserved[i]
            if used + m > cap + _SLACK:
                return False
        return True

    def lacks(self, more: list[float]) -> str | None:
        """In words, the first limit within which more, as `weigh` gives it, can't be held; None: it can."""
        for name, cap, used, m in zip(self._names, self._caps, self._used, more, strict=True):
            if m and used + m > cap + _SLACK:
                return f"{cap:g} {name}"
        return None


def within(limits: Limits, flavours: Mapping[str, Flavour], nodes: Mapping[str, int], miniclusters: int) -> bool:
    """Whether so many nodes, by flavour, and so many MiniClusters may be held at once."""
    for limit in NODE_LIMITS:
        cap = limit.of(limits)
        held = sum(limit.amount(flavours[name]) * count for name, count in nodes.items())
        if cap is not None and held > (cap if limit.whole else cap * (1 + 1e-6) + 1e-6):
            return False
    return all(count <= (flavours[name].count or count) for name, count in nodes.items()) and (
        limits.miniclusters is None or miniclusters <= limits.miniclusters
    )
