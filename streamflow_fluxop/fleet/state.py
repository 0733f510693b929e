"""What the fleet decides: a state machine without I/O, as dask's `worker_state_machine` does it.

Events go in through `Fleet.handle`, instructions come out; a thin shell carries them out (`runner` on
asyncio). The rules:

* A MiniCluster is brought up when a job first needs it, in the order in which they are needed.
* Everything counts against the limits from the moment a MiniCluster is asked for until it is gone.
* A MiniCluster that turns idle is kept where its next use is nearer than what going down and coming up again costs,
  and not for longer than that; else it goes. One that will be needed soon is brought up ahead, where there is room.
* Where the limits leave no room, an idle MiniCluster gives way, the one that has been idle for longest first.
  Whatever holds capacity is thus working, or coming to work, or going: nothing waits for ever.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import inf

from streamflow_fluxop.fleet.forecast import Forecast, break_even
from streamflow_fluxop.grouping import Group
from streamflow_fluxop.model import Flavour, Limits


@dataclass(frozen=True)
class JobAsked:
    """A job wants to run in a group's MiniCluster; without a step it is one that no forecast knows of."""

    job: str
    group: str
    step: str | None = None


@dataclass(frozen=True)
class JobEnded:
    """A job that was started, or that still waits, is over or has been given up."""

    job: str


@dataclass(frozen=True)
class BroughtUp:
    """A MiniCluster takes jobs."""

    group: str


@dataclass(frozen=True)
class Lost:
    """A MiniCluster could not be brought up, or has ended by itself, and its jobs with it: it must be cleared away."""

    group: str
    reason: str


@dataclass(frozen=True)
class Gone:
    """A MiniCluster that was to be torn down is gone."""

    group: str


@dataclass(frozen=True)
class Closing:
    """The run is over: whatever is up goes, whatever waits is given up."""


@dataclass(frozen=True)
class Tick:
    """The time that `WakeAt` asked for has come."""


Event = JobAsked | JobEnded | BroughtUp | Lost | Gone | Closing | Tick


@dataclass(frozen=True)
class BringUp:
    """Ask for a group's MiniCluster; answer with BroughtUp or Lost."""

    group: str
    reason: str


@dataclass(frozen=True)
class TearDown:
    """Take a group's MiniCluster down; answer with Gone."""

    group: str
    reason: str


@dataclass(frozen=True)
class StartJob:
    """The job's MiniCluster is up: submit it."""

    job: str
    group: str


@dataclass(frozen=True)
class FailJob:
    """The job cannot run."""

    job: str
    reason: str


@dataclass(frozen=True)
class WakeAt:
    """Send a Tick at this time, on the clock of `now`; an earlier WakeAt is void."""

    when: float


Instruction = BringUp | TearDown | StartJob | FailJob | WakeAt


class Stage(Enum):
    """The stages of a MiniCluster's life."""

    DOWN = "down"
    COMING = "coming up"
    UP = "up"
    GOING = "going down"


@dataclass
class _MiniCluster:
    group: Group
    stage: Stage = Stage.DOWN
    waiting: dict[str, None] = field(default_factory=dict)  # an ordered set
    running: set[str] = field(default_factory=set)
    idle_since: float = 0.0
    given_up: bool = False  # it was idle for too long: the forecast was wrong, wait for a job

    @property
    def held(self) -> bool:
        return self.stage is not Stage.DOWN

    @property
    def idle(self) -> bool:
        return self.stage is Stage.UP and not self.running and not self.waiting


class Fleet:
    """The MiniClusters of a deployment and the jobs that want them.

    Args:
        groups: each has at most one MiniCluster at a time, and fits into the limits when it is alone.
        flavours: by name.
        limits: never passed, from asking for a MiniCluster until it is gone.
        forecast: of what will be used when; None: MiniClusters stay until others need their room, or the run ends.
        keep_one: never let the last MiniCluster go for being idle: the shared files are reached through it.
    """

    def __init__(
        self,
        groups: Iterable[Group],
        flavours: Mapping[str, Flavour],
        limits: Limits,
        forecast: Forecast | None = None,
        *,
        keep_one: bool = False,
    ) -> None:
        self._keep_one = keep_one
        self._miniclusters = {g.name: _MiniCluster(g) for g in groups}
        self._flavours = flavours
        self._limits = limits
        self._forecast = forecast
        self._jobs: dict[str, JobAsked] = {}
        self._wake: float | None = None
        self._needed: deque[str] = deque()  # groups that wait for room, first come first served
        self._closing = False

    def stage(self, group: str) -> Stage:
        """At which stage of its life a group's MiniCluster is."""
        return self._miniclusters[group].stage

    def held(self) -> list[Group]:
        """The groups whose MiniClusters count against the limits now."""
        return [m.group for m in self._miniclusters.values() if m.held]

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take note of what happened at `now` (seconds), and say what to do about it, in order."""
        return [*self._react(event, now), *self._look_ahead(now)]

    def _react(self, event: Event, now: float) -> list[Instruction]:
        match event:
            case JobAsked():
                return self._job_asked(event, self._miniclusters[event.group], now)
            case JobEnded(job):
                self._job_ended(self._jobs.pop(job), now)
                return self._make_room()
            case BroughtUp(group):
                return self._brought_up(self._miniclusters[group], now)
            case Lost(group, reason):
                return self._lost(self._miniclusters[group], reason, now)
            case Gone(group):
                self._miniclusters[group].stage = Stage.DOWN
                return self._make_room()
            case Closing():
                return self._close()
            case Tick():
                self._wake = None
                return []

    def _job_asked(self, asked: JobAsked, minicluster: _MiniCluster, now: float) -> list[Instruction]:
        if self._closing:
            return [FailJob(asked.job, "the run is over")]
        self._jobs[asked.job] = asked
        minicluster.given_up = False
        if self._forecast:
            self._forecast.asked(asked.job, asked.step, now)
        if minicluster.stage is Stage.UP and asked.group not in self._needed:
            return [self._start(asked, minicluster, now)]
        minicluster.waiting[asked.job] = None
        if minicluster.stage in (Stage.DOWN, Stage.GOING) and asked.group not in self._needed:
            self._needed.append(asked.group)
        return self._make_room()

    def _job_ended(self, asked: JobAsked, now: float) -> None:
        if self._forecast:
            self._forecast.ended(asked.job, asked.step, now)
        self._forget(asked, now)

    def _forget(self, asked: JobAsked, now: float) -> None:
        minicluster = self._miniclusters[asked.group]
        minicluster.waiting.pop(asked.job, None)
        minicluster.running.discard(asked.job)
        if not minicluster.waiting and asked.group in self._needed:
            self._needed.remove(asked.group)
        if not minicluster.running:
            minicluster.idle_since = now

    def _brought_up(self, minicluster: _MiniCluster, now: float) -> list[Instruction]:
        if minicluster.stage is not Stage.COMING:
            return []  # the run ended meanwhile
        minicluster.stage = Stage.UP
        minicluster.idle_since = now
        jobs, minicluster.waiting = list(minicluster.waiting), {}
        return [*(self._start(self._jobs[job], minicluster, now) for job in jobs), *self._make_room()]

    def _start(self, asked: JobAsked, minicluster: _MiniCluster, now: float) -> StartJob:
        minicluster.running.add(asked.job)
        if self._forecast:
            self._forecast.started(asked.step, now)
        return StartJob(asked.job, asked.group)

    def _lost(self, minicluster: _MiniCluster, reason: str, now: float) -> list[Instruction]:
        if minicluster.stage is Stage.GOING:
            return []
        jobs = [*minicluster.running, *minicluster.waiting]
        for job in jobs:
            asked = self._jobs.pop(job)
            if self._forecast:
                self._forecast.lost(job, asked.step)
            self._forget(asked, now)
        return [
            *(FailJob(job, reason) for job in jobs),
            self._tear_down(minicluster, "to clear away what is left of it"),
        ]

    def _close(self) -> list[Instruction]:
        self._closing = True
        self._needed.clear()
        waiting = [job for m in self._miniclusters.values() for job in m.waiting]
        for minicluster in self._miniclusters.values():
            minicluster.waiting.clear()
        for job in waiting:
            del self._jobs[job]
        up = [m for m in self._miniclusters.values() if m.stage in (Stage.COMING, Stage.UP)]
        return [
            *(FailJob(job, "the run is over") for job in waiting),
            *(self._tear_down(m, "the run is over") for m in up),
        ]

    def _make_room(self) -> list[Instruction]:
        """Bring up what is needed, in order, as far as the limits allow; what is idle gives way to it."""
        instructions: list[Instruction] = []
        while self._needed:
            wanted = self._miniclusters[self._needed[0]]
            if wanted.held or not self._fits(wanted):  # it may still be going down itself
                instructions += self._give_way(wanted)
                break
            self._needed.popleft()
            wanted.stage = Stage.COMING
            jobs = f"{len(wanted.waiting)} job{'s' * (len(wanted.waiting) != 1)}"
            instructions.append(BringUp(wanted.group.name, f"{jobs} waiting"))
        return instructions

    def _give_way(self, wanted: _MiniCluster) -> list[Instruction]:
        idle = [m for m in self._miniclusters.values() if m.idle]
        leaving = [m for m in self._miniclusters.values() if m.stage is Stage.GOING]
        chosen: list[_MiniCluster] = []
        for minicluster in sorted(idle, key=lambda m: m.idle_since):
            if self._fits(wanted, without=[*leaving, *chosen]):
                break
            chosen.append(minicluster)
        if not self._fits(wanted, without=[*leaving, *chosen]):
            return []  # a job must end first
        return [self._tear_down(m, f"it is idle, and {wanted.group.name} needs its room") for m in chosen]

    def _look_ahead(self, now: float) -> list[Instruction]:
        """Let go what is not needed soon, bring up what is, and say when to look again."""
        if self._forecast is None or self._closing:
            return []
        instructions: list[Instruction] = []
        wake: list[float] = []
        for name, minicluster in self._miniclusters.items():
            flavour = self._flavours[minicluster.group.flavour]
            patience = break_even(flavour)
            if minicluster.idle and not (self._keep_one and len(self.held()) == 1):
                wait = self._forecast.next_use(name, now) - now
                if now >= minicluster.idle_since + patience:
                    minicluster.given_up = True
                    instructions.append(self._tear_down(minicluster, f"it has been idle for {patience:g} s"))
                elif wait > patience:
                    instructions.append(self._tear_down(minicluster, _why_now(wait, patience)))
                else:
                    wake.append(minicluster.idle_since + patience)
            elif minicluster.stage is Stage.DOWN and not minicluster.given_up and not self._needed:
                wait = self._forecast.next_use(name, now) - now
                if wait == inf or not self._forecast.foreseeable(name, now):
                    continue
                if wait > flavour.bring_up:
                    wake.append(now + wait - flavour.bring_up)
                elif self._fits(minicluster):
                    minicluster.stage = Stage.COMING
                    instructions.append(BringUp(name, f"it will be needed in {wait:.1f} s"))
        if wake and min(wake) != self._wake:
            self._wake = min(wake)
            instructions.append(WakeAt(self._wake))
        return instructions

    def _tear_down(self, minicluster: _MiniCluster, reason: str) -> TearDown:
        minicluster.stage = Stage.GOING
        return TearDown(minicluster.group.name, reason)

    def _fits(self, wanted: _MiniCluster, without: Iterable[_MiniCluster] = ()) -> bool:
        gone = {m.group.name for m in without} | {wanted.group.name}
        held = [m.group for m in self._miniclusters.values() if m.held and m.group.name not in gone]
        return within(self._limits, self._flavours, [*held, wanted.group])


def _why_now(wait: float, patience: float) -> str:
    if wait == inf:
        return "nothing will need it any more"
    return f"its next use is {wait:.0f} s away, and going down and coming up again costs only {patience:g} s"


def within(limits: Limits, flavours: Mapping[str, Flavour], groups: Sequence[Group]) -> bool:
    """Whether the MiniClusters of these groups may be up together."""
    nodes = Counter[str]()
    for group in groups:
        nodes[group.flavour] += group.size

    def total(of: str) -> float:
        return sum(float(getattr(flavours[name], of)) * count for name, count in nodes.items())

    return (
        all(count <= (flavours[name].count or count) for name, count in nodes.items())
        and (limits.nodes is None or nodes.total() <= limits.nodes)
        and (limits.cores is None or total("cores") <= limits.cores)
        and (limits.gpus is None or total("gpus") <= limits.gpus)
        and (limits.memory is None or total("memory") <= limits.memory)
        and (limits.cost_per_hour is None or total("price") <= limits.cost_per_hour + 1e-9)
        and (limits.miniclusters is None or len(groups) <= limits.miniclusters)
    )
