"""A job as the fleet sees it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from streamflow_fluxop.model import Needs
from streamflow_fluxop.orchestration.decisions.deviation import Deviation
from streamflow_fluxop.orchestration.decisions.node_resources import Load
from streamflow_fluxop.orchestration.decisions.planned_batches import PlannedBatch

if TYPE_CHECKING:
    from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState

LATE = 0.01
"""Seconds after which a job is late: what the plan has at the same moment comes one after the other in a run."""


@dataclass(slots=True, eq=False)
class FleetJob:
    """A job that waits or runs.

    Attributes:
        needs: None for a small command, which runs beside the jobs of any MiniCluster.
        group: where whoever asked for it thinks that it goes.
        key: what orders it among others: when the plan would have it start, on the fleet's clock, or when it came.
        block: its part of the plan, and `index` its place there; None where the plan knows nothing of it.
        estimated: seconds that the plan has it run; None: nothing is known. `deviation`: what has been learnt since.
        tail: seconds from its start to the end of the longest chain that begins with it, as planned.
        waits: it is in a queue.
    """

    name: str
    step: str | None
    needs: Needs | None
    group: str
    asked: float
    key: float = 0.0
    block: PlannedBatch | None = None
    index: int = 0
    member: MiniClusterState | None = None
    load: Load | None = None
    nodes: tuple[int, ...] = ()
    estimated: float | None = None
    deviation: Deviation | None = None
    tail: float = 0.0
    started: float = inf
    waits: bool = False

    @property
    def seconds(self) -> float | None:
        """What it is expected to take."""
        if self.estimated is None or self.deviation is None or self.step is None:
            return self.estimated
        return self.estimated * self.deviation.factor(self.step)

    @property
    def chain(self) -> float:
        """Seconds from its start to the end of the longest chain that begins with it, as far as is known now."""
        return self.tail * (self.deviation.common if self.deviation is not None else 1.0)

    @property
    def expected_end(self) -> float:
        """When it should be over, once it runs."""
        return self.started + (self.seconds or 0.0)

    @property
    def not_before(self) -> float:
        """It could start earlier, but the plan lets some time pass, and what follows counts on that."""
        return self.block.hold if self.block is not None else -inf


Entry = tuple[float, int, int, FleetJob]
"""Of a queue: what orders it, the index of the block, what decides between equals."""
