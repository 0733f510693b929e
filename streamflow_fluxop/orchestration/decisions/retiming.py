"""When each block is now expected to start, by what was planned and by what has happened so far.

One pass forward over the blocks that are not over, in the plan's order. What comes late moves what waits for it, less
the time that the plan lets pass in between; what comes early moves it forward, with that time kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt

from streamflow_fluxop.normal_times import Moment, later
from streamflow_fluxop.orchestration.decisions.deviation import Deviation, left, length
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase
from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
from streamflow_fluxop.orchestration.decisions.planned_batches import TINY, PlannedBatch, StepState

FAR = 2000
"""Blocks that a pass looks at. What comes later is not near enough to be decided about."""

RANKS = 8
"""As many nodes of a block cost a pass as much as the block itself."""

CREDIT = 20
"""Blocks that a pass may look at for each event since the last one: what re-timing costs a job is bounded by this."""

PAID_BY_A_TICK = 200
"""The same for a moment that was waited for."""

A_MOMENT = 0.1
"""Seconds in which that is paid for once: what a running job is expected to take yet shrinks less than time goes by, so
moments to wait for come nearer to each other and nearer."""


@dataclass(frozen=True, slots=True)
class NextUse:
    """The next use of a node: when it is expected, when it was planned, and by what; `began`: when the plan did.

    `ready`: when the node should be there, as far as that can be told before.
    """

    at: float
    ready: float
    planned: float
    block: PlannedBatch
    began: float


class Retiming:
    """Keeps the expectations of an order up to date.

    Args:
        order: of the plan.
        began: when the plan began, on the fleet's clock.

    Attributes:
        last: when the jobs that run, and what has to follow them, are expected to be over, as of the last look.
    """

    def __init__(self, order: PartialOrder, began: float) -> None:
        self._order = order
        self.began = began
        self._open = list(order.blocks)
        self._credit: float = len(self._open)
        self._price = 0.0
        self._looks = 0
        self._looked = -inf
        self.deviation = Deviation(state.step for state in order.steps.values())
        self._by_timetable = True
        self.last = began
        for b in order.blocks:
            if b.put_off:
                b.hold = began + b.start

    def due(self, now: float, *, tick: bool) -> bool:
        """Note an event, or a moment that was waited for (`tick`); whether a pass has been paid for."""
        if not tick:
            self._credit += CREDIT
        elif now >= self._looked + A_MOMENT:
            self._credit += PAID_BY_A_TICK
        return self._credit >= self._price or self._by_timetable == self._order.deviated

    def look(self, now: float, members: Mapping[str, MiniClusterState]) -> None:
        """Set the expectations of blocks, and the next uses of the members' nodes.

        Args:
            now: on the fleet's clock.
            members: the MiniClusters, by name.
        """
        self._credit = 0
        self._looked = now
        self._looks += 1
        this = self._looks
        up = {name: m.size if m.phase is Phase.UP else 0 for name, m in members.items()}
        for m in members.values():
            m.uses, m.possible = {}, {}
            m.deviates = self.deviation.spread > 0
            m.by_timetable = not self._order.deviated
            if m.pool is not None:
                m.pool.forget()
        deviation = self.deviation
        began, steps, open_ended = self.began, self._order.steps, self._order.open_ended
        still_open: list[PlannedBatch] = []
        drift = price = 0.0
        last = now
        safety_margin = self._order.safety_margin
        clock = self._clock_of_tear_downs(now, members)
        if not self._order.deviated:
            clock = min(clock, now - began)
        elif self._by_timetable:
            self._by_timetable = False
            for b in self._open:
                if not b.slack:  # it was for those alone that come before the others of their block
                    b.hold = -inf
        for i, b in enumerate(self._open):
            if not b.left:
                continue
            if price >= FAR:
                still_open.extend(self._open[i:])
                self._guess_beyond(drift, members)
                break
            still_open.append(b)
            price += 1 + len(b.ranks) / RANKS
            state = steps[b.step]
            b.factor = deviation.factor(b.step)
            planned, seconds = b.end - b.start, b.seconds
            member = members[b.minicluster] if b.minicluster is not None else None
            if b.begun:
                start = now
                done = now - b.since
                more, var = left(seconds, deviation.of(state.step), done if b.begun >= b.left else 0.0, b.left)
                end = now + more
                last = max(last, end + (state.tail - state.seconds) * deviation.common)
                if b.left > b.begun and member is not None:  # some of its jobs are yet to come
                    use = NextUse(now, now, began + b.start, b, began)
                    for rank in b.ranks:
                        member.uses.setdefault(rank, use)
                reached = b.start + planned * (min(1.0, done / seconds) if seconds else 1.0)
                if reached < clock:
                    clock = reached
            elif state.elsewhere and all(s.over for s in state.before):
                start = state.quiet_since  # out of our sight, but that is when it must have begun
                end, var = max(now, start + seconds), 0.0
                clock = min(clock, b.start + min(now - start, seconds))
            else:
                waited, var = _waits_until(b, state, now, this)
                start = max(now, waited)
                if b.slack:
                    early = now + max(0.0, b.start - clock) if clock < inf else now
                    if member is not None and b.top >= up[member.name]:  # it is its nodes that it waits for
                        early = max(early, member.ready_for(b, now))
                    hold = min(began + b.start, waited + b.slack, early)
                    if b.hold > hold:
                        b.hold = hold
                    if hold > start:
                        start = hold
                if member is not None:
                    if not b.taken and b.step in open_ended:
                        for rank in b.ranks:
                            member.possible.setdefault(rank, start)
                    else:
                        uses = member.uses
                        use = None
                        for rank in b.ranks:
                            if rank not in uses:
                                ready = start
                                if var:  # nobody is there earlier than going and coming again costs
                                    ready += max(sqrt(var) * safety_margin[member.name], -member.break_even)
                                uses[rank] = use = use or NextUse(start, ready, began + b.start, b, began)
                    if b.top >= up[member.name]:
                        start = max(start, member.ready_for(b, now))
                more, wider = length(seconds, deviation.of(state.step), b.left)
                end, var = start + more, var + wider
                if waited <= now + TINY:  # it is the next thing to happen
                    clock = min(clock, b.start - (start - now))
            b.expected, b.uncertain = (start, end), var
            if state.look != this:
                state.look, state.expected_end = this, (end, var)
            else:
                state.expected_end = later(state.expected_end, (end, var))
            drift = start - began - b.start
        self._open, self._price, self.last = still_open, price, last
        self._may_run_again(now, members)

    def _may_run_again(self, now: float, members: Mapping[str, MiniClusterState]) -> None:
        """Of steps that may have more jobs than the plan has (a loop), the next one may come at any moment."""
        for name in self._order.open_ended:
            state = self._order.steps.get(name)
            if state is None or state.over or not state.blocks or not all(b.over for b in state.blocks):
                continue
            last = state.blocks[-1]
            if last.minicluster is not None:
                for rank in last.ranks:
                    members[last.minicluster].possible[rank] = now

    def _clock_of_tear_downs(self, now: float, members: Mapping[str, MiniClusterState]) -> float:
        """The plan's time of the tear-down that is furthest behind: others may wait for its room."""
        clock = inf
        for name, gone in self._order.gone.items():
            member = members[name]
            if member.phase is Phase.GOING:
                clock = min(clock, gone - max(0.0, member.leaves - now))
            elif member.idle and member.all_over():  # it is about to
                clock = min(clock, gone - member.tear_down)
        return clock

    def _guess_beyond(self, drift: float, members: Mapping[str, MiniClusterState]) -> None:
        """For nodes whose next use is beyond what a pass looks at: the plan, and how late or early we are."""
        for name, blocks in self._order.of.items():
            member = members[name]
            if member.phase is Phase.DOWN and not member.uses:
                b = next((b for b in blocks[member.passed :] if not b.over), None)
                if b is not None:
                    planned = self.began + b.start
                    at = planned + drift
                    member.uses = {rank: NextUse(at, at, planned, b, self.began) for rank in b.ranks}


def _waits_until(b: PlannedBatch, state: StepState, now: float, look: int) -> Moment:
    """When a block has its data, and those are over that have its nodes before."""
    waited = (b.came, 0.0)
    if b.taken < b.count:
        waited = (now, 0.0)
        for s in state.every:
            if s.look == look:
                waited = later(waited, s.expected_end)
        for e in b.each:
            if e.left:
                waited = later(waited, (e.expected[1], e.uncertain))
    for other in b.after:
        if other.left:
            waited = later(waited, (other.expected[1], other.uncertain))
    return waited
