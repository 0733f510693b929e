"""What a run will cost and take, by its plan and by what has happened so far.

The blocks of the plan that are not over, each when it is expected now (`retiming`): a node costs while it works, and in
between as long as it is worth keeping; going and coming again costs else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase
from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
from streamflow_fluxop.orchestration.decisions.planned_batches import NOT_LOOKED_AT, PlannedBatch


@dataclass(frozen=True)
class RunForecast:
    """What a run will come to: `cost` in the user's currency, `makespan` in seconds."""

    cost: float
    makespan: float


class Forecaster:
    """Tells what a plan's run will come to.

    Args:
        order: of the plan.
        planned_cost: of the plan.
        members: the MiniClusters, by name.
        began: when the plan began, on the fleet's clock.

    Attributes:
        work: how much a forecast has to look at: the nodes of the blocks that are not over.
    """

    def __init__(
        self, order: PartialOrder, planned_cost: float, members: dict[str, MiniClusterState], began: float
    ) -> None:
        self._order, self._members, self._began = order, members, began
        self._open = list(order.blocks)
        self.work = 0
        self._end = began
        self._at_first = self._cost_left(began)
        self._planned = planned_cost

    def forecast(self, spent: float, now: float) -> RunForecast:
        """What the run will come to.

        Args:
            spent: what it has cost until now.
            now: on the fleet's clock.
        """
        self._open = [b for b in self._open if b.left]
        left = self._cost_left(now)
        if self._at_first:  # what is left out here is as large a part of what is left as it was of all
            left *= self._planned / self._at_first
        if self._open:
            self._end = max(now, *(self._expected(b, now)[1] for b in self._open))
        return RunForecast(spent + left, self._end - self._began)

    def _expected(self, b: PlannedBatch, now: float) -> tuple[float, float]:
        if b.expected is NOT_LOOKED_AT:
            late = max(0.0, now - self._began - b.start)
            return self._began + b.start + late, self._began + b.end + late
        return b.expected

    def _cost_left(self, now: float) -> float:
        blocks: dict[str, list[PlannedBatch]] = {}
        for b in self._open:
            if b.minicluster is not None:
                blocks.setdefault(b.minicluster, []).append(b)
        self.work = 0
        return sum(self._of(m, blocks.get(name, []), now) for name, m in self._members.items()) / 3600

    def _of(self, member: MiniClusterState, blocks: list[PlannedBatch], now: float) -> float:
        """Price times seconds of one MiniCluster from now on."""
        price, tear_down = member.flavour.price, member.tear_down
        if member.phase is Phase.GOING:
            left = member.holds * max(0.0, member.leaves - now)
        elif not blocks:
            left = member.holds * tear_down
        else:
            times = sorted((*self._expected(b, now), b.ranks) for b in blocks)
            if member.fixed:
                nodes = max(member.holds, 1 + max(b.top for b in blocks))
                left = nodes * (_held(((s, e) for s, e, _ in times), member, now, here=member.holds > 0) + tear_down)
            else:
                of_rank: dict[int, list[tuple[float, float]]] = {rank: [] for rank in range(member.holds)}
                for start, end, ranks in times:
                    for rank in ranks:
                        of_rank.setdefault(rank, []).append((start, end))
                self.work += sum(map(len, of_rank.values()))
                left = sum(
                    _held(uses, member, now, here=rank < member.holds) + tear_down for rank, uses in of_rank.items()
                )
        return price * left


def _held(uses: Iterable[tuple[float, float]], member: MiniClusterState, now: float, *, here: bool) -> float:
    """Seconds that a node will be held, but for going.

    Args:
        uses: when it works, in order of time.
        member: whose it is.
        now: on the fleet's clock.
        here: whether it is held now.
    """
    bring_up = member.bring_up
    seconds, until = 0.0, now if here else -inf
    if member.phase is Phase.COMING and here:
        ready = max(now, member.joins.get(0, now))
        seconds, until = ready - now, ready
    for start, end in uses:
        seconds += bring_up if until == -inf else min(max(0.0, start - until), member.break_even)
        seconds += max(0.0, end - max(start, until, now))
        until = max(until, end)
    return seconds
