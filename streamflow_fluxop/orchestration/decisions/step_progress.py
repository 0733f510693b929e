"""Which steps are over: inferred, as StreamFlow does not tell.

A step is over when all its jobs have come and ended; or when a job has come that waits for all of them; or when the
steps before it are over, none of its jobs waits or runs, and nothing has come for a while (`when` skips, a scatter is
narrower than estimated, a job failed for good). A wrong guess costs a second bring-up, never a wrong result.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
from streamflow_fluxop.orchestration.decisions.planned_batches import PlannedBatch, StepState

A_MOMENT = 5.0
"""Seconds that the engine may take, at the least, from the end of a job to asking for the next."""


class StepProgress:
    """Follows the steps of an order.

    Args:
        order: of the plan.
        now: when it begins.
        patience: for each MiniCluster of the plan the seconds without news after which a step is held to be over.

    Attributes:
        steps: by name.
        next_look: when `look` has something to say at the earliest.
    """

    def __init__(self, order: PartialOrder, now: float, patience: Mapping[str, float]) -> None:
        self._order = order
        self._patience = {
            name: max([A_MOMENT, *(patience.get(b.minicluster or "", 0.0) for b in s.blocks[:1])])
            for name, s in order.steps.items()
        }
        self.steps = order.steps
        self.next_look = inf
        self._watched: dict[str, float] = {}
        self._free: list[PlannedBatch] = []
        for state in self.steps.values():
            if not state.before:
                self._may_end(state, now)

    def asked(self, step: str, now: float) -> list[PlannedBatch]:
        """Note that a job of a step has come; return the blocks that nothing keeps waiting any more."""
        state = self.steps[step]
        self._free = []
        state.open += 1
        state.quiet_since = now
        self._watched.pop(step, None)
        if state.over:  # the guess was wrong; what waited for it has been let go, and stays so
            return []
        for source in state.every:
            self._end(source, now)
        return self._free

    def ended(self, step: str, now: float) -> list[PlannedBatch]:
        """Note that a job of a step, or a try of it, is over; return as `asked` does."""
        state = self.steps[step]
        self._free = []
        state.open -= 1
        state.quiet_since = now
        if not state.open and not state.over:
            self._may_end(state, now)
        return self._free

    def look(self, now: float) -> list[PlannedBatch]:
        """Find the steps that have been quiet for long enough; return as `asked` does."""
        if now < self.next_look - 1e-6:
            return []
        self._free = []
        for name, when in sorted(self._watched.items(), key=lambda item: item[1]):
            if when <= now + 1e-6 and name in self._watched:
                self._end(self.steps[name], now)
        self.next_look = min(self._watched.values(), default=inf)
        return self._free

    def _may_end(self, state: StepState, now: float) -> None:
        """Watch a step that nothing runs of, if the steps before it are over."""
        if state.over or state.open:
            return
        if state.blocks and all(b.over for b in state.blocks) and state.step.name not in self._order.open_ended:
            self._end(state, now)
            return
        if not all(s.over for s in state.before):
            return
        state.quiet_since = max([state.quiet_since, *(s.over_at for s in state.before)] if state.before else [now])
        wait = state.seconds + A_MOMENT if state.elsewhere else self._patience[state.step.name]
        self._watched[state.step.name] = now + wait
        self.next_look = min(self.next_look, now + wait)

    def _end(self, state: StepState, now: float) -> None:
        stack = [state]
        while stack:
            state = stack.pop()
            if state.over or state.open:
                continue
            self._watched.pop(state.step.name, None)
            state.over_at = self._over_at(state, now)
            self._free += self._order.give_up(state.step.name)
            stack += state.every
            for follower in state.followers:
                self._may_end(follower, now)

    def _over_at(self, state: StepState, now: float) -> float:
        """What runs out of our sight was over when it should have been, not when we came to that conclusion."""
        if not state.elsewhere or state.quiet_since == -inf:
            return now
        return min(now, state.quiet_since + state.seconds)
