"""What a simulated run is made of: chance, MiniClusters and their lives, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, log, sqrt
from random import Random

from streamflow_fluxop.model import Flavour
from streamflow_fluxop.orchestration.decisions.node_resources import Load, NodeResources


@dataclass(frozen=True)
class Chance:
    """What may turn out otherwise than planned.

    Args:
        noise: of durations: their standard deviation as a share of the estimate. The factor is lognormal with mean 1.
        bring_up_noise: the same for bring-ups.
        failures: probability that a job fails at its end; it is tried again.
        losses: probability that a MiniCluster does not come up, and that it is lost, once, while it is up.
        seed: equal seeds, equal histories.
        stated: durations have the spread that their steps state; the others have `noise`.
    """

    noise: float = 0.0
    bring_up_noise: float = 0.0
    failures: float = 0.0
    losses: float = 0.0
    seed: int = 0
    stated: bool = False


@dataclass
class SimulatedLifetime:
    """One life of a MiniCluster. Times in seconds from the start; `sizes`: (when, nodes held) in order of time."""

    name: str
    flavour: str
    asked: float
    up: float | None = None
    released: float = 0.0
    gone: float = 0.0
    sizes: list[tuple[float, int]] = field(default_factory=list)
    node_seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)


@dataclass
class SimulatedOutcome:
    """What came of a simulated run. Times in seconds, costs in the user's currency."""

    makespan: float
    cost: float
    node_seconds: float
    lives: list[SimulatedLifetime]
    jobs: int
    starts: dict[tuple[str, int], tuple[float, float, str]]
    """For each job (step, index) when it started and ended at last, and where."""
    stopped: str | None = None
    """Why the run was stopped at its budget; None: it went to its end."""


def factor(rng: Random, noise: float) -> float:
    """A lognormal factor with mean 1 and standard deviation `noise`."""
    if not noise:
        return 1.0
    variance = log(1 + noise * noise)
    return exp(rng.gauss(-variance / 2, sqrt(variance)))


class SimulatedMiniCluster:
    """A MiniCluster and its jobs; `held`: nodes that cost."""

    def __init__(self, life: SimulatedLifetime, flavour: Flavour, size: int, now: float) -> None:
        self.life, self.flavour, self.first_size = life, flavour, size
        self.nodes = NodeResources(flavour)
        self.jobs: dict[str, tuple[Load, tuple[int, ...]]] = {}
        self.going = False
        self.nodes_until = 0.0
        self.held = 0
        self._since = now
        self.hold(size, now)

    def node_seconds(self, now: float) -> float:
        """That it has had until now."""
        return self.life.node_seconds + self.held * (now - self._since)

    def hold(self, nodes: int, now: float) -> None:
        """Have so many nodes from now on."""
        self.life.node_seconds += self.held * (now - self._since)
        self.held, self._since = nodes, now
        self.life.sizes.append((now, nodes))
