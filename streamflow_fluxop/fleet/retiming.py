"""When each block is now expected to start, by what was planned and by what has happened so far.

One pass forward over the blocks that are not over, in the plan's order. What comes late moves what waits for it, less
the time that the plan lets pass in between; what comes early moves it forward, with that time kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt

from streamflow_fluxop.fleet.member import Member, Stage
from streamflow_fluxop.fleet.order import TINY, Block, Order, StepState

FAR = 2000
"""Blocks that a pass looks at. What comes later is not near enough to be decided about."""

OVERDUE = 0.85
"""How much longer a job is expected to take that should be over: deviations of a lognormal duration."""

ENOUGH = 5
"""Jobs after which their spread is believed; below `NO_SPREAD` there is none."""

NO_SPREAD = 0.01

RANKS = 8
"""As many nodes of a block cost a pass as much as the block itself."""

CREDIT = 20
"""Blocks that a pass may look at for each event since the last one: what re-timing costs a job is bounded by this."""

PAID_BY_A_TICK = 200
"""The same for a moment that was waited for."""


@dataclass(frozen=True, slots=True)
class Use:
    """The next use of a node: when it is expected, when it was planned, and by what; `began`: when the plan did."""

    at: float
    planned: float
    block: Block
    began: float


class Retiming:
    """Keeps the expectations of an order up to date.

    Args:
        order: of the plan.
        began: when the plan began, on the fleet's clock.
    """

    def __init__(self, order: Order, began: float) -> None:
        self._order = order
        self.began = began
        self._open = list(order.blocks)
        self._credit: float = len(self._open)
        self._price = 0.0
        self._looks = 0
        self.spread = 0.0
        self._jobs, self._mean, self._squares = 0, 0.0, 0.0

    def learn(self, ratio: float) -> None:
        """Note that a job took so many times as long as expected."""
        self._jobs += 1
        step = ratio - self._mean
        self._mean += step / self._jobs
        self._squares += step * (ratio - self._mean)
        if self._jobs >= ENOUGH and self._mean > 0:
            spread = sqrt(self._squares / self._jobs) / self._mean
            self.spread = spread if spread > NO_SPREAD else 0.0

    def due(self, credit: float = CREDIT) -> bool:
        """Note an event; whether a pass has been paid for."""
        self._credit += credit
        return self._credit >= self._price

    def look(self, now: float, members: Mapping[str, Member]) -> None:
        """Set the expectations of blocks, and the next uses of the members' nodes.

        Args:
            now: on the fleet's clock.
            members: the MiniClusters, by name.
        """
        self._credit = 0
        self._looks += 1
        this = self._looks
        up = {name: m.size if m.stage is Stage.UP else 0 for name, m in members.items()}
        for m in members.values():
            m.uses = {}
        began, steps, open_ended = self.began, self._order.steps, self._order.open_ended
        still_open: list[Block] = []
        drift = price = 0.0
        clock = self._clock_of_tear_downs(now, members)
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
            seconds = b.end - b.start
            member = members[b.minicluster] if b.minicluster is not None else None
            if b.begun:
                start = now
                done = now - b.since
                left = seconds - done if b.begun >= b.left else seconds
                end = now + (left if left > 0.0 else self.spread * OVERDUE * seconds)
                if b.left > b.begun and member is not None:  # some of its jobs are yet to come
                    use = Use(now, began + b.start, b, began)
                    for rank in b.ranks:
                        member.uses.setdefault(rank, use)
                reached = b.start + min(done, seconds)
                if reached < clock:
                    clock = reached
            elif state.elsewhere and all(s.over for s in state.before):
                start = state.quiet_since  # out of our sight, but that is when it must have begun
                end = max(now, start + seconds)
                clock = min(clock, b.start + min(now - start, seconds))
            else:
                waited = _waits_until(b, state, now, this)
                start = max(now, waited)
                if b.slack:
                    early = now + max(0.0, b.start - clock) if clock < inf else now
                    hold = min(began + b.start, waited + b.slack, early)
                    if b.hold > hold:
                        b.hold = hold
                    if hold > start:
                        start = hold
                if member is not None:
                    if b.taken or b.step not in open_ended:
                        uses = member.uses
                        use = None
                        for rank in b.ranks:
                            if rank not in uses:
                                uses[rank] = use = use or Use(start, began + b.start, b, began)
                    if b.top >= up[member.name]:
                        start = max(start, member.ready_for(b, now))
                end = start + seconds
                if waited <= now + TINY:  # it is the next thing to happen
                    clock = min(clock, b.start - (start - now))
            b.expected = (start, end)
            if state.look != this or end > state.expected_end:
                state.look, state.expected_end = this, end
            drift = start - began - b.start
        self._open, self._price = still_open, price

    def _clock_of_tear_downs(self, now: float, members: Mapping[str, Member]) -> float:
        """The plan's time of the tear-down that is furthest behind: others may wait for its room."""
        clock = inf
        for name, gone in self._order.gone.items():
            member = members[name]
            if member.stage is Stage.GOING:
                clock = min(clock, gone - max(0.0, member.leaves - now))
            elif member.idle and member.all_over():  # it is about to
                clock = min(clock, gone - member.flavour.tear_down)
        return clock

    def _guess_beyond(self, drift: float, members: Mapping[str, Member]) -> None:
        """For nodes whose next use is beyond what a pass looks at: the plan, and how late or early we are."""
        for name, blocks in self._order.of.items():
            member = members[name]
            if member.stage is Stage.DOWN and not member.uses:
                b = next((b for b in blocks[member.passed :] if not b.over), None)
                if b is not None:
                    planned = self.began + b.start
                    member.uses = {rank: Use(planned + drift, planned, b, self.began) for rank in b.ranks}


def _waits_until(b: Block, state: StepState, now: float, look: int) -> float:
    """When a block has its data, and those are over that have its nodes before."""
    waited = b.came
    if b.taken < b.count:
        waited = now
        for s in state.every:
            if s.look == look and s.expected_end > waited:
                waited = s.expected_end
        for e in b.each:
            if e.left and e.expected[1] > waited:
                waited = e.expected[1]
    for other in b.after:
        if other.left and other.expected[1] > waited:
            waited = other.expected[1]
    return waited
