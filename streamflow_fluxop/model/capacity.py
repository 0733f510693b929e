"""What a fleet may hold: the limits, and what a node takes of each of them.

A new limit is a field of `Limits` and a line in `NODE_LIMITS`: planner, verifier, fleet, command line and chart take
both from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from streamflow_fluxop.model.base import Document
from streamflow_fluxop.model.flavour import Flavour


class Limits(Document):
    """What the fleet may hold at any moment, from asking for a MiniCluster until it is gone; absent: no limit."""

    nodes: PositiveInt | None = Field(None, description="Nodes of all MiniClusters together.")
    cores: PositiveInt | None = Field(None, description="Cores of all nodes together.")
    gpus: NonNegativeInt | None = Field(None, description="GPUs of all nodes together.")
    memory: PositiveInt | None = Field(None, description="Memory of all nodes together, in MiB.")
    cost_per_hour: NonNegativeFloat | None = Field(None, description="Price of all nodes together for an hour.")
    miniclusters: PositiveInt | None = Field(None, description="MiniClusters at once.")

    def nodes_of(self, flavour: Flavour) -> int | None:
        """How many nodes of `flavour` may be up at once if nothing else is; None where nothing limits them."""
        bounds: list[int] = [] if flavour.count is None else [flavour.count]
        for limit, most in within(self):
            if need := limit.amount(flavour):
                nodes = most // need if limit.whole else most / need + 1e-9
                bounds += [int(nodes)] if isfinite(nodes) else []
        return min(bounds, default=None)


@dataclass(frozen=True, slots=True)
class NodeLimit:
    """A limit of what all nodes take together.

    Attributes:
        name: its field in `Limits`.
        words: what it counts, in messages.
        amount: what a node of a flavour takes of it, in the unit of the field.
        whole: whether it counts whole things, without rounding.
    """

    name: str
    words: str
    amount: Callable[[Flavour], float]
    whole: bool = True

    def of(self, limits: Limits) -> Any:
        """How much there may be, a number; None where there is no such limit."""
        return getattr(limits, self.name)


NODE_LIMITS = (
    NodeLimit("nodes", "nodes", lambda _: 1),
    NodeLimit("cores", "cores", lambda f: f.cores),
    NodeLimit("gpus", "GPUs", lambda f: f.gpus),
    NodeLimit("memory", "memory", lambda f: f.memory),
    NodeLimit("cost_per_hour", "cost per hour", lambda f: f.price, whole=False),
)
"""The limits of nodes; beside them there are that of MiniClusters and each flavour's own count."""


def within(limits: Limits) -> list[tuple[NodeLimit, float]]:
    """The limits that there are, with how much there may be."""
    return [(limit, most) for limit in NODE_LIMITS if (most := limit.of(limits)) is not None]
