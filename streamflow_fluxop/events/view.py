"""The state of a run, folded from its events: what live view, status and report show.

Times are seconds since the run's start, as in the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from math import ceil
from typing import Any

from streamflow_fluxop.events import documents as d
from streamflow_fluxop.model import Flavour, Limits, Plan

NO_STEP = "(no step)"
"""Stands for the step of jobs that say none."""


class Stage(Enum):
    """The stages of a MiniCluster's life."""

    COMING = "coming up"
    UP = "up"
    GOING = "going down"
    GONE = "gone"


@dataclass(slots=True)
class Counts:
    """How many jobs are where. One that was tried twice counts twice."""

    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0

    @property
    def all(self) -> int:
        """Of all that were asked for."""
        return self.queued + self.running + self.done + self.failed


@dataclass(slots=True)
class MiniClusterLife:
    """A MiniCluster from asked for to gone; a name may have several such lives, one after the other.

    Attributes:
        sizes: from each time on so many nodes are held; the last entry counts until `gone`.
        message: the latest word on how far it is.
        released: when it was given up, or lost.
        lost: why it did not come up, or ended.
        reasons: why it came, changed and went, each with its time.
    """

    deployment: str
    name: str
    flavour: str
    image: str | None
    group: str | None
    asked: float
    size: int
    max_size: int
    sizes: list[tuple[float, int]]
    wanted: int
    ready: float | None = None
    released: float | None = None
    gone: float | None = None
    lost: str | None = None
    backend: str = ""
    message: str = ""
    reasons: list[tuple[float, str]] = field(default_factory=list)
    resizes: list[tuple[float, float, int]] = field(default_factory=list)
    jobs: Counts = field(default_factory=Counts)
    steps: dict[str, None] = field(default_factory=dict)
    cores_busy: int = 0

    @property
    def stage(self) -> Stage:
        """At which stage it is."""
        if self.gone is not None:
            return Stage.GONE
        if self.released is not None:
            return Stage.GOING
        return Stage.COMING if self.ready is None else Stage.UP

    def node_seconds(self, now: float) -> float:
        """Nodes times seconds that it has been held for."""
        end = now if self.gone is None else self.gone
        changes = [*self.sizes, (end, 0)]
        return sum(n * max(0.0, min(later, end) - t) for (t, n), (later, _) in pairwise(changes))

    def nodes_busy(self, flavour: Flavour) -> int:
        """Nodes that the cores of the running jobs fill, if its scheduler packs them tightly."""
        return min(self.size, ceil(self.cores_busy / flavour.cores))


@dataclass(slots=True)
class JobLife:
    """One try of a job.

    Attributes:
        minicluster: where it runs, or is to run; None: nobody knows yet.
    """

    name: str
    step: str
    nodes: int
    cores: int
    gpus: int
    asked: float
    minicluster: MiniClusterLife | None = None
    submitted: float | None = None
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    reason: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it is over, and not with exit code 0."""
        return self.ended is not None and (self.exit_code != 0 or self.reason is not None)


@dataclass(slots=True)
class StepLife:
    """All jobs of a step.

    Attributes:
        started: when its first job ran.
        ended: when its last job so far ended.
        seconds: that its successful jobs ran, together.
    """

    name: str
    jobs: Counts = field(default_factory=Counts)
    started: float | None = None
    ended: float | None = None
    seconds: float = 0.0
    miniclusters: dict[str, None] = field(default_factory=dict)

    @property
    def mean(self) -> float | None:
        """Seconds that a successful job ran in the mean."""
        return self.seconds / self.jobs.done if self.jobs.done else None


@dataclass
class FleetView:
    """One fleet of a run.

    Attributes:
        at: when it was ready; the plan's times count from here.
        lives: of its MiniClusters, in the order in which they were asked for.
        current: the latest life of each MiniCluster, by name.
        jobs: in the order in which they were asked for.
    """

    deployment: str
    at: float = 0.0
    cluster: str = ""
    flavours: dict[str, Flavour] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    plan: Plan | None = None
    lives: list[MiniClusterLife] = field(default_factory=list)
    current: dict[str, MiniClusterLife] = field(default_factory=dict)
    jobs: list[JobLife] = field(default_factory=list)
    steps: dict[str, StepLife] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    ended: d.FleetEnded | None = None
    _under_way: dict[str, JobLife] = field(default_factory=dict)
    _waiting: dict[str, list[JobLife]] = field(default_factory=dict)
    """Jobs whose MiniCluster is not asked for yet, by its name."""

    @property
    def held(self) -> list[MiniClusterLife]:
        """The MiniClusters that count against the limits now."""
        return [m for m in self.current.values() if m.gone is None]

    def use(self) -> dict[str, float]:
        """How much of each limit is held now, by the limit's name, for all names there are."""
        held = self.held
        nodes = Counter[str]()
        for life in held:
            nodes[life.flavour] += life.sizes[-1][1]

        def total(of: str) -> float:
            return float(sum(getattr(self.flavours[name], of) * n for name, n in nodes.items()))

        return {
            "nodes": nodes.total(),
            "cores": total("cores"),
            "gpus": total("gpus"),
            "memory": total("memory"),
            "cost_per_hour": total("price"),
            "miniclusters": len(held),
        }

    def node_seconds(self, now: float) -> float:
        """Nodes times seconds of all MiniClusters until now."""
        return sum(life.node_seconds(now) for life in self.lives)

    def cost(self, now: float) -> float:
        """What all MiniClusters have cost until now."""
        return sum(life.node_seconds(now) * self.flavours[life.flavour].price / 3600 for life in self.lives)


class RunView:
    """A run, as far as its events say.

    Attributes:
        started: None before the first event.
        ended: None before the last one.
        at: when the latest event happened.
        fleets: by deployment.
    """

    def __init__(self, events: Iterable[d.Event] = ()) -> None:
        self.started: d.RunStarted | None = None
        self.ended: d.RunEnded | None = None
        self.at = 0.0
        self.fleets: dict[str, FleetView] = {}
        self._fold: dict[type, Callable[[Any], None]] = {
            d.RunStarted: self._run_started,
            d.RunEnded: self._run_ended,
            d.FleetStarted: self._fleet_started,
            d.FleetEnded: self._fleet_ended,
            d.MiniClusterAsked: self._asked,
            d.MiniClusterProgress: self._progress,
            d.MiniClusterUp: self._up,
            d.MiniClusterResizing: self._resizing,
            d.MiniClusterResized: self._resized,
            d.MiniClusterTearingDown: self._tearing_down,
            d.MiniClusterLost: self._lost,
            d.MiniClusterGone: self._gone,
            d.JobAsked: self._job_asked,
            d.JobSubmitted: self._job_submitted,
            d.JobStarted: self._job_started,
            d.JobEnded: self._job_ended,
        }
        self.take(events)

    def take(self, events: Iterable[d.Event]) -> None:
        """Take note of events, in the order of the log; what does not follow from what is known is passed over."""
        fold = self._fold
        for event in events:
            fold[type(event)](event)
            self.at = event.at

    @property
    def lives(self) -> Iterator[MiniClusterLife]:
        """Of the MiniClusters of all fleets."""
        for fleet in self.fleets.values():
            yield from fleet.lives

    def cost(self, now: float) -> float:
        """What all fleets have cost until now."""
        return sum(f.cost(now) for f in self.fleets.values())

    # the run, the fleets

    def _run_started(self, event: d.RunStarted) -> None:
        self.started = event

    def _run_ended(self, event: d.RunEnded) -> None:
        self.ended = event

    def _fleet_started(self, event: d.FleetStarted) -> None:
        fleet = self._fleet(event)
        fleet.at, fleet.cluster = event.at, event.cluster
        fleet.plan, fleet.flavours, fleet.limits = event.plan, event.flavours, event.limits

    def _fleet_ended(self, event: d.FleetEnded) -> None:
        self._fleet(event).ended = event

    def _fleet(self, event: Any) -> FleetView:
        name = event.deployment
        fleet = self.fleets.get(name)
        if fleet is None:
            fleet = self.fleets[name] = FleetView(name)
        return fleet

    # MiniClusters

    def _asked(self, event: d.MiniClusterAsked) -> None:
        fleet = self._fleet(event)
        life = MiniClusterLife(
            deployment=event.deployment,
            name=event.minicluster,
            flavour=event.flavour,
            image=event.image,
            group=event.group,
            asked=event.at,
            size=event.size,
            wanted=event.size,
            max_size=event.max_size or event.size,
            sizes=[(event.at, event.size)],
        )
        if event.reason:
            life.reasons.append((event.at, event.reason))
        fleet.lives.append(life)
        fleet.current[event.minicluster] = life
        for job in fleet._waiting.pop(event.minicluster, []):
            if job.ended is None and job.minicluster is None:
                self._place(fleet, job, event.minicluster)

    def _life(self, event: Any) -> MiniClusterLife | None:
        life = self._fleet(event).current.get(event.minicluster)
        return None if life is None or life.gone is not None else life

    def _progress(self, event: d.MiniClusterProgress) -> None:
        if life := self._life(event):
            life.message = event.message

    def _up(self, event: d.MiniClusterUp) -> None:
        if life := self._life(event):
            life.ready, life.backend, life.message = event.at, event.backend, ""

    def _resizing(self, event: d.MiniClusterResizing) -> None:
        if life := self._life(event):
            life.wanted = event.size
            if event.size > life.sizes[-1][1]:
                life.sizes.append((event.at, event.size))
            life.resizes.append((event.at, event.at, event.size))
            if event.reason:
                life.reasons.append((event.at, event.reason))

    def _resized(self, event: d.MiniClusterResized) -> None:
        if life := self._life(event):
            life.size = life.wanted = event.size
            if event.size != life.sizes[-1][1]:
                life.sizes.append((event.at, event.size))
            asked = life.resizes.pop()[0] if life.resizes and life.resizes[-1][0] == life.resizes[-1][1] else event.at
            life.resizes.append((asked, event.at, event.size))
            if event.reason:
                life.reasons.append((event.at, event.reason))

    def _tearing_down(self, event: d.MiniClusterTearingDown) -> None:
        if life := self._life(event):
            life.message = ""
            if life.released is None:
                life.released = event.at
            if event.reason:
                life.reasons.append((event.at, event.reason))

    def _lost(self, event: d.MiniClusterLost) -> None:
        if life := self._life(event):
            life.lost, life.message = event.reason, ""
            if life.released is None:
                life.released = event.at
            life.reasons.append((event.at, event.reason))

    def _gone(self, event: d.MiniClusterGone) -> None:
        if life := self._life(event):
            life.gone = event.at

    # jobs

    def _job_asked(self, event: d.JobAsked) -> None:
        fleet = self._fleet(event)
        name = event.step or NO_STEP
        job = JobLife(event.job, name, event.nodes, event.cores, event.gpus, event.at)
        step = fleet.steps.get(name)
        if step is None:
            step = fleet.steps[name] = StepLife(name)
        step.jobs.queued += 1
        fleet.counts.queued += 1
        if event.minicluster is not None:
            self._place(fleet, job, event.minicluster)
            if job.minicluster is None:
                fleet._waiting.setdefault(event.minicluster, []).append(job)
        fleet.jobs.append(job)
        fleet._under_way[event.job] = job

    @staticmethod
    def _place(fleet: FleetView, job: JobLife, name: str) -> None:
        """Note in which MiniCluster a queued job is, unless that takes no job any more."""
        life = fleet.current.get(name)
        if life is job.minicluster or life is None or life.released is not None:
            return
        if job.minicluster is not None:
            job.minicluster.jobs.queued -= 1
        job.minicluster = life
        life.jobs.queued += 1

    def _job_submitted(self, event: d.JobSubmitted) -> None:
        fleet = self._fleet(event)
        job = fleet._under_way.get(event.job)
        if job is None or job.started is not None:
            return
        self._place(fleet, job, event.minicluster)
        job.submitted = event.at
        if job.minicluster is not None:
            job.minicluster.steps[job.step] = None
        fleet.steps[job.step].miniclusters[event.minicluster] = None

    def _job_started(self, event: d.JobStarted) -> None:
        fleet = self._fleet(event)
        job = fleet._under_way.get(event.job)
        if job is None or job.started is not None:
            return
        job.started = event.at
        step = fleet.steps[job.step]
        if step.started is None:
            step.started = event.at
        life = job.minicluster
        for counts in (fleet.counts, step.jobs) if life is None else (fleet.counts, step.jobs, life.jobs):
            counts.queued -= 1
            counts.running += 1
        if life is not None:
            life.cores_busy += job.cores

    def _job_ended(self, event: d.JobEnded) -> None:
        fleet = self._fleet(event)
        job = fleet._under_way.pop(event.job, None)
        if job is None:
            return
        job.ended, job.exit_code, job.reason = event.at, event.exit_code, event.reason
        step, life, failed = fleet.steps[job.step], job.minicluster, job.failed
        step.ended = event.at
        for counts in (fleet.counts, step.jobs) if life is None else (fleet.counts, step.jobs, life.jobs):
            if job.started is None:
                counts.queued -= 1
            else:
                counts.running -= 1
            if failed:
                counts.failed += 1
            else:
                counts.done += 1
        if job.started is not None:
            if not failed:
                step.seconds += event.at - job.started
            if life is not None:
                life.cores_busy -= job.cores
