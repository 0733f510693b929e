"""What the fleet decides: a state machine without I/O, as dask's `worker_state_machine` does it.

Events go in through `Fleet.handle`, instructions come out; a thin shell carries them out (`runner` on
asyncio). The rules:

* A MiniCluster is brought up when a job first needs it, in the order in which they are needed.
* Everything counts against the limits from the moment a MiniCluster is asked for until it is gone.
* Where the limits leave no room, an idle MiniCluster gives way, the one that has been idle for longest first.
  Whatever holds capacity is thus working, or coming to work, or going: nothing waits for ever.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from streamflow_fluxop.grouping import Group
from streamflow_fluxop.model import Flavour, Limits


@dataclass(frozen=True)
class JobAsked:
    """A job wants to run in a group's MiniCluster."""

    job: str
    group: str


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


Event = JobAsked | JobEnded | BroughtUp | Lost | Gone | Closing


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


Instruction = BringUp | TearDown | StartJob | FailJob


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

    @property
    def held(self) -> bool:
        return self.stage is not Stage.DOWN


class Fleet:
    """The MiniClusters of a deployment and the jobs that want them.

    Args:
        groups: each has at most one MiniCluster at a time, and fits into the limits when it is alone.
        flavours: by name.
        limits: never passed, from asking for a MiniCluster until it is gone.
    """

    def __init__(self, groups: Iterable[Group], flavours: Mapping[str, Flavour], limits: Limits) -> None:
        self._miniclusters = {g.name: _MiniCluster(g) for g in groups}
        self._flavours = flavours
        self._limits = limits
        self._jobs: dict[str, str] = {}
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
        match event:
            case JobAsked(job, group):
                return self._job_asked(job, self._miniclusters[group])
            case JobEnded(job):
                self._job_ended(job, now)
                return self._make_room()
            case BroughtUp(group):
                return self._brought_up(self._miniclusters[group], now)
            case Lost(group, reason):
                return self._lost(self._miniclusters[group], reason)
            case Gone(group):
                self._miniclusters[group].stage = Stage.DOWN
                return self._make_room()
            case Closing():
                return self._close()

    def _job_asked(self, job: str, minicluster: _MiniCluster) -> list[Instruction]:
        group = minicluster.group.name
        if self._closing:
            return [FailJob(job, "the run is over")]
        self._jobs[job] = group
        if minicluster.stage is Stage.UP and group not in self._needed:
            minicluster.running.add(job)
            return [StartJob(job, group)]
        minicluster.waiting[job] = None
        if minicluster.stage in (Stage.DOWN, Stage.GOING) and group not in self._needed:
            self._needed.append(group)
        return self._make_room()

    def _job_ended(self, job: str, now: float) -> None:
        minicluster = self._miniclusters[self._jobs.pop(job)]
        minicluster.waiting.pop(job, None)
        minicluster.running.discard(job)
        if not minicluster.waiting and minicluster.group.name in self._needed:
            self._needed.remove(minicluster.group.name)
        if not minicluster.running:
            minicluster.idle_since = now

    def _brought_up(self, minicluster: _MiniCluster, now: float) -> list[Instruction]:
        if minicluster.stage is not Stage.COMING:
            return []  # the run ended meanwhile
        minicluster.stage = Stage.UP
        minicluster.idle_since = now
        jobs, minicluster.waiting = list(minicluster.waiting), {}
        minicluster.running.update(jobs)
        return [*(StartJob(job, minicluster.group.name) for job in jobs), *self._make_room()]

    def _lost(self, minicluster: _MiniCluster, reason: str) -> list[Instruction]:
        if minicluster.stage is Stage.GOING:
            return []
        jobs = [*minicluster.running, *minicluster.waiting]
        minicluster.running.clear()
        minicluster.waiting.clear()
        for job in jobs:
            del self._jobs[job]
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
        idle = [m for m in self._miniclusters.values() if m.stage is Stage.UP and not m.running and not m.waiting]
        leaving = [m for m in self._miniclusters.values() if m.stage is Stage.GOING]
        chosen: list[_MiniCluster] = []
        for minicluster in sorted(idle, key=lambda m: m.idle_since):
            if self._fits(wanted, without=[*leaving, *chosen]):
                break
            chosen.append(minicluster)
        if not self._fits(wanted, without=[*leaving, *chosen]):
            return []  # a job must end first
        return [self._tear_down(m, f"it is idle, and {wanted.group.name} needs its room") for m in chosen]

    def _tear_down(self, minicluster: _MiniCluster, reason: str) -> TearDown:
        minicluster.stage = Stage.GOING
        return TearDown(minicluster.group.name, reason)

    def _fits(self, wanted: _MiniCluster, without: Iterable[_MiniCluster] = ()) -> bool:
        gone = {m.group.name for m in without} | {wanted.group.name}
        held = [m.group for m in self._miniclusters.values() if m.held and m.group.name not in gone]
        return within(self._limits, self._flavours, [*held, wanted.group])


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
