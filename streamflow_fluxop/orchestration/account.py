"""What the MiniClusters of a fleet came to: node-seconds and cost, life by life."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class BilledLifetime:
    """One life of a MiniCluster, for the comparison with the plan. Times are seconds since the run's begin.

    Attributes:
        price: of a node for an hour.
        nodes: that it holds now, since `changed`.
    """

    name: str
    price: float
    asked: float
    nodes: int
    changed: float
    gone: float = 0.0
    node_seconds: float = 0.0
    cost: float = 0.0


class Account:
    """The lives of a fleet's MiniClusters, in the order in which they were asked for.

    Attributes:
        lives: those that are over too.
        over: how many are.
        node_seconds: of all.
        cost: of all.
    """

    def __init__(self) -> None:
        self.lives: list[BilledLifetime] = []
        self.over = 0
        self.node_seconds = self.cost = 0.0
        self._current: dict[str, BilledLifetime] = {}

    def begin(self, name: str, price: float, nodes: int, now: float) -> None:
        """A MiniCluster is asked for, and holds so many nodes."""
        life = self._current[name] = BilledLifetime(name, price, now, nodes, now)
        self.lives.append(life)

    def asked(self, name: str) -> float:
        """When the life of a MiniCluster began that is not over."""
        return self._current[name].asked

    def has(self, name: str) -> bool:
        """Whether a MiniCluster is there, or comes, or goes."""
        return name in self._current

    def hold(self, name: str, nodes: int, now: float) -> None:
        """From now on a MiniCluster holds so many nodes."""
        life = self._current[name]
        used = life.nodes * (now - life.changed)
        life.nodes, life.changed, life.gone = nodes, now, now
        life.node_seconds += used
        life.cost += used * life.price / 3600
        self.node_seconds += used
        self.cost += used * life.price / 3600

    def spent(self, now: float) -> float:
        """What all have cost until now."""
        return self.cost + sum(m.nodes * (now - m.changed) * m.price for m in self._current.values()) / 3600

    def end(self, name: str, now: float) -> None:
        """A MiniCluster is gone."""
        self.hold(name, 0, now)
        del self._current[name]
        self.over += 1
