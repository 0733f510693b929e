"""Which MiniClusters come, grow, shrink and go, so that the limits are never passed.

Where they leave no room, what is idle gives way to what the plan has earlier.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf

from streamflow_fluxop.orchestration.decisions.messages import BringUp, ChangeSize, Instruction, TearDown
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase
from streamflow_fluxop.orchestration.decisions.placement import Placer
from streamflow_fluxop.orchestration.decisions.planned_batches import TINY
from streamflow_fluxop.orchestration.decisions.quota import Quota
from streamflow_fluxop.orchestration.decisions.retiming import A_MOMENT
from streamflow_fluxop.orchestration.decisions.timers import Timers


class Autoscaler:
    """Decides on the lives of a fleet's MiniClusters.

    Args:
        members: the MiniClusters, by name; there may be more later.
        room: what is held.
        router: says how large a MiniCluster comes up.
        agenda: is told what to look at again.
        out: takes the instructions.
        keep_one: never let the last MiniCluster go for being idle.
        keep_all: never let any go for being idle.

    Attributes:
        due: names of those that should be up, or larger, and wait for room.
        freed: whether something has changed that may have made room for them.
        affords: whether so many nodes more of a MiniCluster can be paid.
    """

    def __init__(
        self,
        members: dict[str, MiniClusterState],
        room: Quota,
        router: Placer,
        agenda: Timers,
        out: list[Instruction],
        *,
        keep_one: bool,
        keep_all: bool,
    ) -> None:
        self._members = members
        self._room = room
        self._router = router
        self._agenda = agenda
        self._out = out
        self._keep_one = keep_one
        self._keep_all = keep_all
        self.due: set[str] = set()
        self.freed = False
        self.affords: Callable[[MiniClusterState, int, float], bool] = lambda member, nodes, now: True
        self._now = 0.0

    def examine(self, member: MiniClusterState, now: float) -> None:
        """Whether a MiniCluster should come, grow, shrink or go."""
        self._now = now
        if member.phase is Phase.GOING or (member.phase is Phase.DOWN and member.name in self.due):
            return
        if member.phase is Phase.DOWN:
            at = now if member.extra else member.called_for(now)
            if not member.given_up:
                at = min(at, member.wanted_at() - member.bring_up)
            if at <= now + TINY:
                self.due.add(member.name)
                self.freed = True
            else:
                self._agenda.alarm(member, at if member.by_timetable or at == inf else ceil(at / A_MOMENT) * A_MOMENT)
            return
        wanted, again = member.wanted(now)
        wanted = max(wanted, self._relieved(member))
        if member.fixed:  # it goes as a whole, and comes again with more
            wanted = min(wanted, member.target)
        self._agenda.alarm(member, again)
        if wanted > member.target and member.target >= member.size:
            self.due.add(member.name)
            self.freed = True
            return
        self.due.discard(member.name)
        if member.phase is not Phase.UP:
            return
        if wanted == 0 and member.idle and member.queue.hurry(member.usable):
            self._agenda.touch(member)
        elif wanted == 0 and member.idle and self._may_go(member):
            member.given_up = member.next_use() - now <= member.break_even
            self.tear_down(member, member.why_go(now), now)
        elif wanted < member.target <= member.size and not member.fixed and member.target > 1 and not self._keep_all:
            size = max(1, wanted)
            member.given_up |= any(member.was_kept_in_vain(rank, now) for rank in range(size, member.target))
            self._resize(member, size, member.why_go(now))

    def _relieved(self, member: MiniClusterState) -> int:
        """Nodes that it should have for jobs that wait elsewhere; 0: it need have none for them."""
        return min(member.most, member.target + member.extra) if member.extra else 0

    def _may_go(self, member: MiniClusterState) -> bool:
        """Whether the shared files are reached without it: one stays up for them, the cheapest."""
        if self._keep_all or not self._keep_one:
            return not self._keep_all
        others = (m for m in self._members.values() if m is not member and m.phase is Phase.UP)
        return any(not m.idle or m.flavour.price <= member.flavour.price for m in others)

    def make_room(self, now: float) -> None:
        """Bring up what is due, in the plan's order, as far as the limits allow; what is idle gives way to it."""
        if not self.due or not self.freed:
            self.freed = False
            return
        self._now, self.freed = now, False
        blocked: list[float] | None = None
        for key, name in sorted(self._members[name].key() for name in self.due):
            member = self._members[name]
            if member.phase is Phase.DOWN:
                size = max(self._router.size_of(member, self._now), self._relieved(member))
                if size == 0:
                    self.due.discard(name)
                    continue
                more = self._room.weigh(member.flavour_name, size, 1)
            else:
                size = max(member.wanted(self._now)[0], self._relieved(member))
                if size <= member.target:
                    self.due.discard(name)
                    continue
                more = self._room.weigh(member.flavour_name, size - member.target, 0)
            if not self.affords(member, size - member.target, now):
                continue
            if self._room.fits(more, blocked):
                self.due.discard(name)
                member.relieves |= member.extra > 0
                member.extra = 0
                if member.phase is Phase.DOWN:
                    self._bring_up(member, size)
                else:
                    self._resize(member, size, member.why_come(self._now))
                self._agenda.alarm(member, member.wanted(self._now)[1])
                continue
            if blocked is None:
                self._give_way(more, (key, name), member)
                blocked = more
            else:
                blocked = [a + b for a, b in zip(blocked, more, strict=True)]

    def _give_way(self, more: list[float], key: tuple[float, str], wanted: MiniClusterState) -> None:
        """Take down what is idle and has its next use after `key`, the longest idle first, if that makes room."""
        leaving = [0.0] * len(more)

        def goes(member: MiniClusterState, nodes: int, miniclusters: int) -> None:
            for i, w in enumerate(self._room.weigh(member.flavour_name, nodes, miniclusters)):
                leaving[i] += w

        idle: list[MiniClusterState] = []
        for m in self._members.values():
            if m.phase is Phase.GOING:
                goes(m, m.holds, 1)
            elif m.phase is Phase.UP and m.target < m.size:
                goes(m, m.size - m.target, 0)
            elif m is not wanted and m.idle and m.target == m.size and m.key() > key:
                idle.append(m)
        chosen: list[MiniClusterState] = []
        for m in sorted(idle, key=lambda m: max(m.idle_since)):
            if self._room.fits(more, leaving=leaving):
                break
            goes(m, m.holds, 1)
            chosen.append(m)
        if self._room.fits(more, leaving=leaving):
            for m in chosen:
                self.tear_down(m, f"it is idle, and {wanted.name} needs its room", self._now)

    def _bring_up(self, member: MiniClusterState, size: int) -> None:
        reason = member.why_come(self._now)
        member.phase = Phase.COMING
        member.size = member.target = size
        member.lives += 1
        member.asked_at = self._now
        ready = self._now + member.bring_up
        member.joins = dict.fromkeys(range(size), ready)
        self._room.take(member.flavour_name, size, 1)
        self._out.append(BringUp(member.name, size, reason))

    def _resize(self, member: MiniClusterState, size: int, reason: str) -> None:
        held = member.holds
        member.target = size
        if size > member.size:
            for rank in range(member.size, size):
                member.joins.setdefault(rank, self._now + member.bring_up)
        self._room.take(member.flavour_name, member.holds - held)
        self._out.append(ChangeSize(member.name, size, reason))

    def tear_down(self, member: MiniClusterState, reason: str, now: float) -> None:
        """Let a MiniCluster go."""
        member.released_at = now if member.phase is Phase.UP else None
        member.phase = Phase.GOING
        member.leaves = now + member.tear_down
        self.due.discard(member.name)
        self._out.append(TearDown(member.name, reason))
        self._agenda.touch(member)
