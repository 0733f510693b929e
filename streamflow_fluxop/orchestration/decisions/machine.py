"""What the fleet decides: a state machine without I/O, as dask's `worker_state_machine` does it.

Events go in through `Fleet.handle`, instructions come out; a thin shell carries them out (`runner` on asyncio,
`simulator` on simulated time). The rules:

* A job goes where the plan has its step's next job (`partial_order`), and starts as soon as a node is up and free and
  kept for nobody whom the plan has before it there (`dispatch`). What the plan does not know goes where it starts first
  (`placement`). Nothing waits for what does not come: steps are found to be over (`step_progress`), and nobody waits
  for longer than his patience. Nodes come for jobs that wait although the plan would have them run by now
  (`backlog_scaling`).
* A MiniCluster is asked for so long before its next use that it is ready for it; the same for each of its nodes.
* A node that turns idle is kept where its next use is nearer than what going down and coming up again costs, and not
  for longer than twice that; else it goes, and the MiniCluster with its last one.
* Everything counts against the limits from the moment it is asked for until it is gone. Where they leave no room, what
  is idle gives way to what the plan has earlier. Whatever holds capacity is thus working, or coming to work, or going.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf

from streamflow_fluxop.grouping import Group
from streamflow_fluxop.model import Flavour, Limits
from streamflow_fluxop.orchestration.decisions.allowance import Allowance, Watch
from streamflow_fluxop.orchestration.decisions.autoscaler import Autoscaler
from streamflow_fluxop.orchestration.decisions.backlog_scaling import relieve
from streamflow_fluxop.orchestration.decisions.fleet_job import LATE
from streamflow_fluxop.orchestration.decisions.forecast import Forecaster
from streamflow_fluxop.orchestration.decisions.jobs import FleetJobs
from streamflow_fluxop.orchestration.decisions.lead_times import LeadTimes
from streamflow_fluxop.orchestration.decisions.messages import (
    BroughtUp,
    Closing,
    Event,
    FailJob,
    Instruction,
    JobFinished,
    JobRequested,
    Lost,
    Resized,
    ResultFound,
    Stopped,
    Tick,
    TornDown,
)
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase
from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
from streamflow_fluxop.orchestration.decisions.placement import Placer
from streamflow_fluxop.orchestration.decisions.quota import Quota
from streamflow_fluxop.orchestration.decisions.retiming import Retiming
from streamflow_fluxop.orchestration.decisions.timers import Timers
from streamflow_fluxop.orchestration.decisions.wait_causes import JobsWaiting

OVER = "the run is over"


class Fleet:
    """The MiniClusters of a deployment and the jobs that want them.

    Args:
        groups: each has at most one MiniCluster at a time, and fits into the limits when it is alone.
        flavours: by name.
        limits: never passed, from asking for a MiniCluster until it is gone.
        order: of the plan; None: nothing is foreseen, jobs go to the group that they name.
        keep_one: never let the last MiniCluster go for being idle: the shared files are reached through it.
        keep_all: never let any go for being idle: they are others'.
        resizes: whether MiniClusters can change their size; else each comes with all nodes that are foreseen for it.
        allowance: what the run may cost and take; None: as much as it likes.
    """

    def __init__(
        self,
        groups: Iterable[Group],
        flavours: Mapping[str, Flavour],
        limits: Limits,
        order: PartialOrder | None = None,
        *,
        keep_one: bool = False,
        keep_all: bool = False,
        resizes: bool = True,
        allowance: Allowance | None = None,
    ) -> None:
        self._order = order
        self._keep_one = keep_one
        self._lead_times = LeadTimes(flavours)
        self._members = {
            g.name: MiniClusterState(
                g, flavours[g.flavour], order.of.get(g.name, []) if order else [], self._lead_times
            )
            for g in groups
        }
        self._room = Quota(limits, flavours)
        steps = {name: s.step for name, s in order.steps.items()} if order else {}
        self._router = Placer(self._members, flavours, limits, self._room, steps, self._lead_times)
        self._router.all_at_once = not resizes
        self._resizes = resizes
        self._out: list[Instruction] = []
        self._agenda = Timers()
        self._lives = Autoscaler(
            self._members, self._room, self._router, self._agenda, self._out, keep_one=keep_one, keep_all=keep_all
        )
        self._jobs = FleetJobs(self._members, order, self._router, self._agenda, self._out)
        self._allowance = allowance
        self._watch = Watch(allowance, self._members, steps, self._lives.tear_down) if allowance else None
        if self._watch:
            self._lives.affords = self._watch.affords
        for member in self._members.values():
            member.fixed = member.fixed or not resizes
            member.steady = order.steady.get(member.name, 0) if order else 0
            member.value_of_a_second = order.value_of_a_second.get(member.name, inf) if order else inf
            member.foreseen = order is not None
            self._jobs.pool_of(member)
        self._closing = False
        self._relief_due = False
        self._now = 0.0

    # what others may know

    def phase(self, group: str) -> Phase:
        """At which stage of its life a group's MiniCluster is."""
        return self._members[group].phase

    @property
    def members(self) -> Mapping[str, MiniClusterState]:
        """The MiniClusters by name, to look at."""
        return self._members

    @property
    def stops_for(self) -> str | None:
        """Why nothing starts any more, although the run is not over; None: things do."""
        return (self._watch.why or None) if self._watch else None

    @property
    def room(self) -> Quota:
        """What is held."""
        return self._room

    def group(self, name: str) -> Group:
        """A group; there may be more than there were in the beginning."""
        return self._members[name].group

    def waiting(self, now: float) -> JobsWaiting:
        """Says why jobs wait beside idle nodes, as of the last event."""
        return JobsWaiting(
            self._members,
            self._room,
            self._jobs.rules(now, room_is_wanted=bool(self._lives.due)),
            large=self._jobs.large,
            due=self._lives.due,
            keep_one=self._keep_one,
        )

    # events

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take note of what happened at `now` (seconds), and say what to do about it, in order."""
        self._now = now
        self._out.clear()
        if self._order and self._jobs.retiming is None:
            self._jobs.begin(self._order, now)
            if self._watch and self._allowance:
                self._watch.forecaster = Forecaster(self._order, self._allowance.planned_cost, self._members, now)
        self._react(event)
        if not self._closing:
            self._expire()
            self._retime(isinstance(event, Tick))
            if self._watch and self._watch.stops(now, self._out):
                self._wind_down(self._watch)
            else:
                self._settle()
        return list(self._out)

    def _react(self, event: Event) -> None:
        match event:
            case JobRequested() if self._closing:
                self._out.append(FailJob(event.job, OVER))
            case JobRequested() if self._watch and self._watch.stopped:
                self._out.append(FailJob(event.job, self._watch.why))
            case JobRequested():
                self._jobs.asked(event, self._now)
            case JobFinished(name, failed):
                self._jobs.ended(name, failed, self._now)
                self._lives.freed = True
            case ResultFound(step):
                self._jobs.reused(step, self._now)
            case Tick(reused):
                for step in reused:
                    self._jobs.reused(step, self._now)
            case BroughtUp(name):
                self._brought_up(self._members[name])
            case Resized(name, size, reason):
                self._resized(self._members[name], size, reason)
            case Lost(name, reason):
                self._lost(self._members[name], reason)
            case TornDown(name):
                self._gone(self._members[name])
            case Closing():
                self._close()

    def _brought_up(self, member: MiniClusterState) -> None:
        if member.phase is not Phase.COMING:
            return  # the run ended meanwhile
        self._learn(self._lead_times.brought_up, member, self._now - member.asked_at, member.bring_up)
        member.phase = Phase.UP
        member.nodes.resize(member.size)
        member.idle_since = [self._now] * member.size
        member.rests_since = self._now
        for rank in range(member.size):
            member.joins.pop(rank, None)
        self._agenda.touch(member)

    def _resized(self, member: MiniClusterState, size: int, reason: str | None) -> None:
        if member.phase is Phase.DOWN or (member.phase is Phase.GOING and not size < member.size):
            return
        held = member.holds
        if reason is not None:
            member.fixed = True
            member.target = member.size
            member.joins.clear()
        elif size > member.size:  # it may have grown again since
            if member.phase is Phase.UP:
                member.idle_since += [self._now] * (size - member.size)
                member.nodes.resize(size)
            member.size = size
            for rank in range(size):
                member.joins.pop(rank, None)
        else:
            member.size = size
            member.target = min(member.target, size)
            member.nodes.resize(size)
            del member.idle_since[size:]
        self._room.take(member.flavour_name, member.holds - held)
        self._lives.freed = True
        self._agenda.touch(member)

    def _lost(self, member: MiniClusterState, reason: str) -> None:
        if member.phase not in (Phase.COMING, Phase.UP):
            return
        failed = list(member.running.values()) + list(member.commands.values())
        if member.phase is Phase.COMING:  # whoever waits for it learns why
            failed += [job for job in member.queued() if job.needs is not None]
            member.given_up = True
        self._jobs.fail(failed, member, reason, self._now)
        self._lives.tear_down(member, "to clear away what is left of it", self._now)
        member.released_at = None  # that tells nothing of how long it takes one that is well

    def _learn(
        self, note: Callable[[str, float], None], member: MiniClusterState, seconds: float, expected: float
    ) -> None:
        """A MiniCluster came or went; whatever counts on how long that takes is looked at again where it deviates."""
        note(member.flavour_name, seconds)
        if abs(seconds - expected) <= LATE:
            return
        if self._order is not None:
            self._order.deviated = True
        for other in self._members.values():
            self._agenda.touch(other)

    def _gone(self, member: MiniClusterState) -> None:
        if member.released_at is not None:
            self._learn(self._lead_times.torn_down, member, self._now - member.released_at, member.tear_down)
        if self._watch:
            self._watch.gone(member, self._now)
        self._room.take(member.flavour_name, -member.holds, -1)
        member.phase = Phase.DOWN
        for job in member.running.values():
            job.nodes = ()
        member.size = member.target = 0
        member.nodes.resize(0)
        member.idle_since = []
        member.joins.clear()
        if member.relieves and member.pool is not None and member.began_last < member.asked_at:
            member.pool.relieved_in_vain += 1
        member.relieves = False
        member.fixed = member.group.max_size is None or not self._resizes
        self._lives.freed = True
        self._agenda.touch(member)

    def _close(self) -> None:
        self._closing = True
        for member in self._members.values():
            self._jobs.turn_away(member, OVER)
            if member.phase in (Phase.COMING, Phase.UP):
                self._lives.tear_down(member, OVER, self._now)

    # time

    def _expire(self) -> None:
        """What was to be looked at by now."""
        self._agenda.expire(self._members, self._now)
        self._jobs.look(self._now)

    def _retime(self, tick: bool) -> None:
        retiming = self._jobs.retiming
        if retiming and retiming.due(self._now, tick=tick):
            retiming.look(self._now, self._members)
            for member in self._members.values():
                if member.phase is not Phase.DOWN or member.uses:
                    self._agenda.touch(member)
            self._relief_due = self._order is not None and self._order.deviated

    def _relieve(self, retiming: Retiming) -> None:
        self._relief_due = False
        self._agenda.start(self._start)  # else jobs that can start now would count among those that wait
        deviation, last = retiming.deviation, retiming.last
        factor = deviation.common if deviation.jobs else None
        for member in relieve(self._jobs.pools, self._room, self._router, factor=factor, last=last, now=self._now):
            if member.name not in self._members:
                self._members[member.name] = member
                self._jobs.pool_of(member)
            self._agenda.touch(member)

    # decisions

    def _decide(self) -> None:
        """What starts, and what should come and go."""
        while names := self._agenda.take():
            for name in names:
                self._start(name)
            for name in names:
                self._lives.examine(self._members[name], self._now)

    def _settle(self) -> None:
        if self._relief_due and self._jobs.retiming:
            self._relieve(self._jobs.retiming)
        self._decide()
        room_was_wanted = bool(self._lives.due)
        self._lives.make_room(self._now)
        if room_was_wanted and not self._lives.due:  # nodes that were to leave for others may be kept
            for member in self._members.values():
                if member.phase is Phase.UP:
                    self._agenda.touch(member)
            self._decide()
            self._lives.make_room(self._now)
        progress = self._jobs.progress
        alarm = self._watch.alarm(self._now) if self._watch else inf
        self._out += self._agenda.wake(min(alarm, progress.next_look if progress else inf))

    def _start(self, name: str) -> None:
        self._jobs.start(self._members[name], self._now, room_is_wanted=bool(self._lives.due))

    def _wind_down(self, watch: Watch) -> None:
        """The run stops at its budget; when nothing is up any more, whoever waits learns it."""
        if watch.wind_down(self._now, self._out):
            for member in self._members.values():
                self._jobs.turn_away(member, watch.why)
            self._out.append(Stopped(watch.why))
        self._out += self._agenda.wake(watch.alarm(self._now))
