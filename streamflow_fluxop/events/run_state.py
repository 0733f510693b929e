"""What is known of a fleet, its MiniClusters, steps and jobs at a moment of a run.

Times are seconds since the run's start, as in the log.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from math import ceil

from streamflow_fluxop.events.event_types import BudgetReached, FleetEnded, Forecast, ForecastPassed, JobsWait
from streamflow_fluxop.model import Flavour, Limits, Plan

NO_STEP = "(no step)"
"""Stands for the step of jobs that say none."""


class RecordedPhase(Enum):
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
    reused: int = 0

    @property
    def all(self) -> int:
        """Of all that were asked for."""
        return self.queued + self.running + self.done + self.failed + self.reused


@dataclass(slots=True)
class MiniClusterLife:
    """A MiniCluster from asked for to gone; a name may have several such lives, one after the other.

    Attributes:
        sizes: from each time on so many nodes are held; the last entry counts until `gone`.
        there: from each time on so many nodes are there, and cost; None: nobody counts them, and `sizes` do.
        message: the latest word on how far it is.
        released: when it was given up, or lost.
        lost: why it did not come up, or ended.
        reasons: why it came, changed and went, each with its time.
        wait: why jobs wait although nodes of it are idle; None: none do.
        cores_busy: of the jobs that run; so are `gpus_busy`, and `spans`: how many of them are on so many nodes.
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
    there: list[tuple[float, int]] | None = None
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
    wait: JobsWait | None = None
    cores_busy: int = 0
    gpus_busy: int = 0
    spans: Counter[int] = field(default_factory=Counter)

    @property
    def stage(self) -> RecordedPhase:
        """At which stage it is."""
        if self.gone is not None:
            return RecordedPhase.GONE
        if self.released is not None:
            return RecordedPhase.GOING
        return RecordedPhase.COMING if self.ready is None else RecordedPhase.UP

    def node_seconds(self, now: float) -> float:
        """Nodes times seconds, of those that were there."""
        end = now if self.gone is None else self.gone
        changes = [*(self.sizes if self.there is None else self.there), (end, 0)]
        return sum(n * max(0.0, min(later, end) - t) for (t, n), (later, _) in pairwise(changes))

    def nodes_busy(self, flavour: Flavour) -> int:
        """Nodes that the running jobs' cores and GPUs fill, if its scheduler packs them tightly; no job has fewer."""
        by_gpus = ceil(self.gpus_busy / flavour.gpus) if flavour.gpus else 0
        return min(self.size, max(ceil(self.cores_busy / flavour.cores), by_gpus, *self.spans, 0))

    def occupy(self, job: JobLife, times: int = 1) -> None:
        """Count what a job occupies; `times` is -1 when it is over."""
        self.cores_busy += times * job.cores
        self.gpus_busy += times * job.gpus
        self.spans[job.nodes] += times
        if not self.spans[job.nodes]:
            del self.spans[job.nodes]


@dataclass(slots=True)
class JobLife:
    """One try of a job.

    Attributes:
        minicluster: where it runs, or is to run; None: nobody knows yet.
        failed: whether it is over, and with no success.
        said: the end of what it wrote on standard error, if it failed.
        reused: the run whose result it has, so that it did not run.
        memory: MiB that it asked for.
        peak_memory: MiB that it used at most; None where nobody measured it, as `cpu_seconds`.
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
    failed: bool = False
    said: str | None = None
    reused: str | None = None
    memory: int | None = None
    peak_memory: int | None = None
    cpu_seconds: float | None = None


@dataclass(slots=True)
class StepLife:
    """All jobs of a step.

    Attributes:
        started: when its first job ran.
        ended: when its last job so far ended.
        seconds: that its successful jobs ran, together.
        saved: seconds that those ran, together, whose results were reused.
    """

    name: str
    jobs: Counts = field(default_factory=Counts)
    started: float | None = None
    ended: float | None = None
    seconds: float = 0.0
    saved: float = 0.0
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
        under_way: the jobs that are not over, by name.
        waiting: jobs whose MiniCluster is not asked for yet, by its name.
        forecast: the latest; None: none is made, as there is neither budget nor deadline.
        warnings: that budget or deadline will be passed, in order of time.
        stopping: it is stopped at its budget.
    """

    deployment: str
    at: float = 0.0
    cluster: str = ""
    external: bool = False
    flavours: dict[str, Flavour] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    plan: Plan | None = None
    lives: list[MiniClusterLife] = field(default_factory=list)
    current: dict[str, MiniClusterLife] = field(default_factory=dict)
    jobs: list[JobLife] = field(default_factory=list)
    steps: dict[str, StepLife] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    ended: FleetEnded | None = None
    under_way: dict[str, JobLife] = field(default_factory=dict)
    waiting: dict[str, list[JobLife]] = field(default_factory=dict)
    budget: float | None = None
    deadline: float | None = None
    forecast: Forecast | None = None
    warnings: list[ForecastPassed] = field(default_factory=list)
    stopping: BudgetReached | None = None

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
