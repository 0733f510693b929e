"""Which MiniCluster a job goes to, and with how many nodes a MiniCluster comes up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from math import ceil, inf

from streamflow_fluxop.grouping import Group
from streamflow_fluxop.model import Flavour, Limits, Needs, Step
from streamflow_fluxop.orchestration.decisions.fleet_job import FleetJob
from streamflow_fluxop.orchestration.decisions.lead_times import LeadTimes
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase
from streamflow_fluxop.orchestration.decisions.node_resources import Load, load_of
from streamflow_fluxop.orchestration.decisions.planned_batches import TINY
from streamflow_fluxop.orchestration.decisions.quota import Quota

SOME_TIME = 60.0
"""Seconds that a job is taken to run of which nothing is known."""


@dataclass(frozen=True)
class _Wish:
    """What a MiniCluster has to be for a job, beside being large enough."""

    image: str | None
    binding: str
    group: str | None
    flavours: tuple[str, ...] = ()

    def met_by(self, group: Group) -> bool:
        return (self.image, self.binding, self.group) == (group.image, group.binding, group.named) and (
            not self.flavours or group.flavour in self.flavours
        )


class Placer:
    """Chooses MiniClusters.

    Args:
        members: of the fleet; new ones are added to it.
        flavours: by name.
        limits: of the fleet.
        room: what is held.
        steps: of the plan, by name.
        lead_times: of MiniClusters; None: what is configured.
    """

    def __init__(
        self,
        members: dict[str, MiniClusterState],
        flavours: Mapping[str, Flavour],
        limits: Limits,
        room: Quota,
        steps: Mapping[str, Step],
        lead_times: LeadTimes | None = None,
    ) -> None:
        self._members = members
        self._flavours = flavours
        self._limits = limits
        self._room = room
        self._lead_times = lead_times or LeadTimes(flavours)
        self._wishes = {s.name: _Wish(s.image, s.binding, s.group, tuple(s.flavours)) for s in steps.values()}
        self._loads: dict[tuple[object, ...], Load | None] = {}
        self.all_at_once = False

    def load(self, needs: Needs, flavour: str) -> Load | None:
        """How a job sits on nodes of a flavour; None: it does not fit."""
        key = (
            flavour,
            needs.nodes,
            needs.tasks,
            needs.cores_per_task,
            needs.gpus_per_task,
            needs.memory,
            needs.exclusive,
        )
        if key not in self._loads:
            self._loads[key] = load_of(needs, self._flavours[flavour])
        return self._loads[key]

    def choose(self, job: FleetJob, now: float) -> MiniClusterState | None:
        """The MiniCluster for a job, whose load is set; a new one where no other will do. None: there can be none."""
        if job.needs is None:
            return self._for_command(job)
        if job.block is not None and job.block.minicluster is not None:
            planned = self._members[job.block.minicluster]
            if self._suits(job.needs, planned):
                job.load = self.load(job.needs, planned.flavour_name)
                return planned
        hinted = self._members.get(job.group)
        wish = self._wishes.get(job.step or "")
        if wish is None and hinted is not None:
            wish = _Wish(hinted.group.image, hinted.group.binding, hinted.group.named)
            if self._suits(job.needs, hinted):
                job.load = self.load(job.needs, hinted.flavour_name)
                return hinted
        if wish is None:
            return None
        found = [m for m in self._members.values() if wish.met_by(m.group) and self._suits(job.needs, m)]
        best = min(found, key=lambda m: self._cost_of_waiting(job, m, now), default=None)
        new = None if wish.group is not None and found else self._new(job.needs, wish)
        if new is not None and (best is None or self._is_worth_it(job, best, new, now)):
            self._members[new.name] = new
            best = new
        if best is not None:
            job.load = self.load(job.needs, best.flavour_name)
        return best

    def _for_command(self, job: FleetJob) -> MiniClusterState | None:
        hinted = self._members.get(job.group)
        for stage in (Phase.UP, Phase.COMING):
            there = [m for m in self._members.values() if m.phase is stage]
            if there:
                return hinted if hinted in there else min(there, key=lambda m: m.joins.get(0, 0.0))
        next_up = min(self._members.values(), key=MiniClusterState.wanted_at, default=None)
        if next_up is not None and next_up.wanted_at() < inf:
            return next_up  # it will be there anyway, and all see the same files
        return hinted or min(self._members.values(), key=lambda m: m.flavour.price, default=None)

    def _suits(self, needs: Needs, member: MiniClusterState) -> bool:
        load = self.load(needs, member.flavour_name)
        if load is None:
            return False
        up = member.phase in (Phase.COMING, Phase.UP)
        return len(load.parts) <= (member.size if up and member.fixed else member.most)

    def _cost_of_waiting(self, job: FleetJob, member: MiniClusterState, now: float) -> float:
        """When the job would start there, with what a bring-up costs on top."""
        assert job.needs is not None
        load = self.load(job.needs, member.flavour_name)
        assert load is not None
        seconds = job.seconds or SOME_TIME
        if member.phase is Phase.DOWN or member.phase is Phase.GOING:
            return now + member.bring_up + (0.0 if member.called_for(now) <= now else member.break_even)
        before = len(member.queue.ready) // self._slots(load, member) * seconds
        if member.phase is Phase.COMING:
            return max(now, member.joins.get(0, now)) + before
        if not member.queue.ready and member.nodes.find(load, (), member.usable) is not None:
            return now
        ends = min((r.started + (r.seconds or SOME_TIME) for r in member.running.values()), default=now)
        return max(now, ends) + before

    def _slots(self, load: Load, member: MiniClusterState) -> float:
        flavour = member.flavour
        cores, gpus, memory = load.parts[0]
        per_node = min(
            flavour.cores // max(1, cores),
            flavour.gpus // gpus if gpus else flavour.cores,
            flavour.memory // memory if memory else flavour.cores,
        )
        return max(1.0, member.size * max(1, per_node) / len(load.parts))

    def _is_worth_it(self, job: FleetJob, best: MiniClusterState, new: MiniClusterState, now: float) -> bool:
        wait = self._cost_of_waiting(job, best, now)
        return wait > now + new.bring_up + new.break_even and self._room.fits(
            self._room.weigh(new.flavour_name, new.group.size, 1)
        )

    def another_like(self, member: MiniClusterState) -> MiniClusterState:
        """A new MiniCluster of the same flavour, image and binding; it is none of the fleet's before it is added."""
        group = member.group
        name = self._free_name(group.flavour)
        most = self._limits.nodes_of(member.flavour) or 4 * member.most
        return self._made(replace(group, name=name, size=1, max_size=most, steps=()))

    def _free_name(self, flavour: str) -> str:
        return next(n for i in count(1) if (n := f"{flavour}-x{i}") not in self._members)

    def _made(self, group: Group) -> MiniClusterState:
        made = MiniClusterState(group, self._flavours[group.flavour], [], self._lead_times)
        made.fixed = made.fixed or self.all_at_once
        return made

    def _new(self, needs: Needs, wish: _Wish) -> MiniClusterState | None:
        """A MiniCluster that is not there yet, on the cheapest flavour."""
        best: tuple[float, str, int] | None = None
        for name in wish.flavours or self._flavours:
            load, most = self.load(needs, name), self._limits.nodes_of(self._flavours[name])
            if load is not None and (most is None or len(load.parts) <= most):
                cost = len(load.parts) * self._flavours[name].price
                if best is None or cost < best[0]:
                    best = (cost, name, len(load.parts))
        if best is None:
            return None
        _, flavour, size = best
        group = Group(
            self._free_name(flavour), flavour, size, wish.image,
            max_size=self._limits.nodes_of(self._flavours[flavour]) or 4 * size, binding=wish.binding, named=wish.group,
        )  # fmt: skip
        return self._made(group)

    def size_of(self, member: MiniClusterState, now: float) -> int:
        """With how many nodes a MiniCluster comes up; 0: nothing needs it now."""
        size = member.needed(now)
        horizon = inf if self.all_at_once else now + member.bring_up + TINY
        top = 0
        for rank in list(member.uses):
            use = member.use_of(rank)
            if use is not None and use.ready <= horizon:
                top = max(top, rank + 1)
        if member.deviates and not member.fixed:
            top = member.worth(top, now)
        size = max(size, top)
        if member.group.max_size is None and (size or member.called_for(now) <= now):
            return max(size, member.group.size)
        unplanned = [e[-1] for e in member.queue.ready[: member.most * 64] if e[-1].block is None and e[-1].load]
        if unplanned and unplanned[0].load:
            slots = self._slots(unplanned[0].load, member) / max(1, member.size)
            size = max(size, min(member.most, ceil(len(unplanned) / max(slots, 1e-9))))
        if member.commands:
            size = max(size, 1)
        if 0 < size < member.steady:
            size = member.steady
        return min(size, member.most)
