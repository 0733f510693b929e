"""The fleet on simulated time and MiniClusters: the same decisions, a discrete-event shell around them.

It stands for the workflow engine, which asks for a job as soon as what the job waits for is over; for the MiniClusters,
which take their time to come, to change their size and to go; and for the jobs, which take as long as they take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import exp, log, sqrt
from random import Random

from streamflow_fluxop import events
from streamflow_fluxop.fleet.messages import (
    BringUp,
    BroughtUp,
    Closing,
    Event,
    FailJob,
    Gone,
    Instruction,
    JobAsked,
    JobEnded,
    Lost,
    Resize,
    Resized,
    StartJob,
    TearDown,
    Tick,
    WakeAt,
)
from streamflow_fluxop.fleet.nodes import Load, Nodes, load_of
from streamflow_fluxop.fleet.order import Order
from streamflow_fluxop.fleet.room import within
from streamflow_fluxop.fleet.state import Fleet
from streamflow_fluxop.grouping import planned_groups
from streamflow_fluxop.model import Flavour, Plan, Step

ENDS, CHANGES, TICKS = range(3)
"""At equal times jobs end first, then MiniClusters change, then the fleet looks round."""


class SimulationError(AssertionError):
    """The fleet did what it must never do."""


@dataclass(frozen=True)
class Chance:
    """What may turn out otherwise than planned.

    Args:
        noise: of durations: their standard deviation as a share of the estimate. The factor is lognormal with mean 1.
        bring_up_noise: the same for bring-ups.
        failures: probability that a job fails at its end; it is tried again.
        losses: probability that a MiniCluster does not come up, and that it is lost, once, while it is up.
        seed: equal seeds, equal histories.
        stated: durations have the spread that their steps state; the others have `noise`.
    """

    noise: float = 0.0
    bring_up_noise: float = 0.0
    failures: float = 0.0
    losses: float = 0.0
    seed: int = 0
    stated: bool = False


@dataclass
class Life:
    """One life of a MiniCluster. Times in seconds from the start; `sizes`: (when, nodes held) in order of time."""

    name: str
    flavour: str
    asked: float
    up: float | None = None
    released: float = 0.0
    gone: float = 0.0
    sizes: list[tuple[float, int]] = field(default_factory=list)
    node_seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """What came of a simulated run. Times in seconds, costs in the user's currency."""

    makespan: float
    cost: float
    node_seconds: float
    lives: list[Life]
    jobs: int
    starts: dict[tuple[str, int], tuple[float, float, str]]
    """For each job (step, index) when it started and ended at last, and where."""


def factor(rng: Random, noise: float) -> float:
    """A lognormal factor with mean 1 and standard deviation `noise`."""
    if not noise:
        return 1.0
    variance = log(1 + noise * noise)
    return exp(rng.gauss(-variance / 2, sqrt(variance)))


class Simulation:
    """One run of a plan.

    Args:
        plan: with its problem.
        chance: what deviates.
        seconds: durations of jobs by (step, index), instead of those that `chance` makes.
        widths: how many jobs steps really have, where that is not what the plan says; 0: it is skipped.
        open_ended: names of steps that the fleet is told may be skipped.
        resizes: whether MiniClusters can change their size.
        watch: called after each event with the time and the fleet.

    Attributes:
        now: seconds since the start.
        record: is told of everything that happens, as in a real run; to be set before `run`.
    """

    def __init__(
        self,
        plan: Plan,
        chance: Chance | None = None,
        *,
        seconds: Mapping[tuple[str, int], float] | None = None,
        widths: Mapping[str, int] | None = None,
        open_ended: frozenset[str] = frozenset(),
        resizes: bool = True,
        watch: Callable[[float, Fleet], None] | None = None,
    ) -> None:
        self.record: events.Recorder = events.discard
        self.plan, self.chance = plan, chance or Chance()
        problem = plan.problem
        self._flavours, self._limits = problem.flavours, problem.limits
        self._steps = {s.name: s for s in problem.workflow.steps}
        self.widths = {name: (widths or {}).get(name, s.width) for name, s in self._steps.items()}
        self.order = Order(plan, open_ended)
        groups = planned_groups(plan, open_ended)
        self._resizes = resizes
        self.fleet = Fleet(groups, problem.flavours, problem.limits, self.order, resizes=resizes)
        first = plan.miniclusters[0].name if plan.miniclusters else ""
        self._group_of = {e.step: e.miniclusters[0] if e.miniclusters else first for e in plan.steps}
        self._seconds = seconds
        self.watch = watch
        self._rng = Random(self.chance.seed)
        self._queue: list[tuple[float, int, int, Callable[[], None]]] = []
        self._tie = count()
        self.now = 0.0
        self._wake: float | None = None
        self._clusters: dict[str, _Cluster] = {}
        self._engine = _Engine(self._steps, self.widths)
        self._running: dict[str, tuple[str, int]] = {}
        self._tries: dict[str, int] = {}
        self._outcome = Outcome(0.0, 0.0, 0.0, [], 0, {})
        self.failed: list[str] = []

    def run(self) -> Outcome:
        """Run it to the end.

        Raises:
            SimulationError: the fleet passed a limit, put a job where there is no room, or let one wait for ever.
        """
        self.record(
            events.FleetStarted(cluster="simulated", flavours=self._flavours, limits=self._limits, plan=self.plan)
        )
        self._handle(Tick())
        for job in self._engine.first():
            self._ask(*job)
        while self._queue:
            self.now, _, _, action = heappop(self._queue)
            action()
        if not self._engine.done():
            raise SimulationError(f"at {self.now:g} s nothing can happen any more, but {self._engine.missing()} wait")
        if self.fleet.room.miniclusters:
            self._handle(Closing())
            while self._queue:
                self.now, _, _, action = heappop(self._queue)
                action()
        if self.fleet.room.miniclusters or +self.fleet.room.nodes:
            raise SimulationError("something is left behind")
        self._outcome.node_seconds = sum(life.node_seconds for life in self._outcome.lives)
        self._outcome.cost = sum(
            life.node_seconds * self._flavours[life.flavour].price / 3600 for life in self._outcome.lives
        )
        out = self._outcome
        self.record(events.FleetEnded(miniclusters=len(out.lives), node_seconds=out.node_seconds, cost=out.cost))
        return out

    def elsewhere(self, step: str) -> bool:
        """Whether a step runs beside the workflow engine."""
        return self._steps[step].controller

    def _later(self, seconds: float, rank: int, action: Callable[[], None]) -> None:
        heappush(self._queue, (self.now + seconds, rank, next(self._tie), action))

    def _handle(self, event: Event) -> None:
        for instruction in self.fleet.handle(event, self.now):
            self._carry_out(instruction)
        room = self.fleet.room
        if not within(self._limits, self._flavours, room.nodes, room.miniclusters):
            raise SimulationError(f"at {self.now:g} s the limits are passed: {dict(room.nodes)}")
        if self.watch:
            self.watch(self.now, self.fleet)

    # the engine

    def _ask(self, step: str, index: int) -> None:
        if self._steps[step].controller:
            self._later(self._duration(step, index), ENDS, lambda: self._complete(step, index))
            return
        n = self._tries[f"{step}/{index}"] = self._tries.get(f"{step}/{index}", 0) + 1
        name = f"{step}/{index}" if n == 1 else f"{step}/{index} try {n}"
        self._running[name] = (step, index)
        needs = self._steps[step].needs
        flavour = self._flavours[self.fleet.group(self._group_of[step]).flavour]
        self.record(events.JobAsked.of(name, needs, flavour, step))
        self._handle(JobAsked(name, self._group_of.get(step, ""), step, needs, index))

    def _complete(self, step: str, index: int) -> None:
        self._outcome.makespan = max(self._outcome.makespan, self.now)
        for job in self._engine.complete(step, index):
            self._ask(*job)

    def _duration(self, step: str, index: int) -> float:
        if self._seconds is not None and (step, index) in self._seconds:
            return self._seconds[step, index]
        expected, noise = self._steps[step].duration, self.chance.noise
        if self.chance.stated and expected.spread and expected.seconds:
            noise = expected.spread / expected.seconds
        return expected.seconds * factor(self._rng, noise)

    # what the fleet wants

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case BringUp(name, size, reason):
                self._bring_up(name, size, reason)
            case Resize(name, size, reason):
                self._resize(self._clusters[name], size, reason)
            case TearDown(name, reason):
                self._tear_down(self._clusters[name], reason)
            case StartJob(job, name, nodes):
                self._start(job, self._clusters[name], nodes)
            case FailJob(job, reason):
                self._fail(job, reason)
            case WakeAt(when):
                self._wake = when
                self._later(max(0.0, when - self.now), TICKS, lambda: self._tick(when))

    def _tick(self, when: float) -> None:
        if self._wake == when:
            self._wake = None
            self._handle(Tick())

    def _bring_up(self, name: str, size: int, reason: str) -> None:
        group = self.fleet.group(name)
        flavour = self._flavours[group.flavour]
        if name in self._clusters:
            raise SimulationError(f"{name} is there already")
        most = group.max_size if self._resizes else None
        self.record(
            events.MiniClusterAsked(
                minicluster=name, flavour=group.flavour, size=size, max_size=most, image=group.image, reason=reason
            )
        )
        life = Life(name, group.flavour, self.now, reasons=[reason])
        cluster = self._clusters[name] = _Cluster(life, flavour, size, self.now)
        seconds = flavour.bring_up * factor(self._rng, self.chance.bring_up_noise)
        cluster.nodes_until = self.now + seconds  # no node joins before
        if self._rng.random() < self.chance.losses:
            self._later(seconds, CHANGES, lambda: self._lose(cluster, f"MiniCluster {name} did not come up"))
        else:
            self._later(seconds, CHANGES, lambda: self._up(cluster))

    def _up(self, cluster: _Cluster) -> None:
        if self._clusters.get(cluster.life.name) is not cluster or cluster.going:
            return
        cluster.life.up = self.now
        cluster.nodes.resize(cluster.first_size)
        if self._rng.random() < self.chance.losses:
            seconds = self._rng.uniform(0, 2 * cluster.flavour.bring_up + 100)
            self._later(seconds, CHANGES, lambda: self._lose(cluster, "its lead broker was lost"))
        seconds = self.now - cluster.life.asked
        self.record(events.MiniClusterUp(minicluster=cluster.life.name, seconds=seconds, nodes=cluster.first_size))
        self._handle(BroughtUp(cluster.life.name))

    def _lose(self, cluster: _Cluster, reason: str) -> None:
        if self._clusters.get(cluster.life.name) is cluster and not cluster.going:
            self.record(events.MiniClusterLost(minicluster=cluster.life.name, reason=reason))
            self._handle(Lost(cluster.life.name, reason))

    def _resize(self, cluster: _Cluster, size: int, reason: str) -> None:
        grows = size > cluster.held
        self.record(events.MiniClusterResizing(minicluster=cluster.life.name, size=size, reason=reason))
        cluster.life.reasons.append(reason)
        if grows:
            cluster.hold(size, self.now)
        elif any(cluster.nodes.jobs[size:]):
            raise SimulationError(f"{cluster.life.name} shrinks to {size} nodes, but jobs run on the others")
        flavour = cluster.flavour
        seconds = flavour.bring_up * factor(self._rng, self.chance.bring_up_noise) if grows else flavour.tear_down
        cluster.nodes_until = max(cluster.nodes_until, self.now + seconds)
        self._later(cluster.nodes_until - self.now, CHANGES, lambda: self._resized(cluster, size, grows))

    def _resized(self, cluster: _Cluster, size: int, grows: bool) -> None:
        if self._clusters.get(cluster.life.name) is not cluster or (cluster.going and grows):
            return
        cluster.nodes.resize(size)
        if not grows:
            cluster.hold(size, self.now)
        self.record(events.MiniClusterResized(minicluster=cluster.life.name, size=size))
        self._handle(Resized(cluster.life.name, size))

    def _tear_down(self, cluster: _Cluster, reason: str) -> None:
        cluster.going = True
        cluster.life.reasons.append(reason)
        cluster.life.released = self.now
        self.record(events.MiniClusterTearingDown(minicluster=cluster.life.name, reason=reason))
        if cluster.jobs:
            raise SimulationError(f"{cluster.life.name} goes, but {sorted(cluster.jobs)} run there")
        self._later(cluster.flavour.tear_down, CHANGES, lambda: self._gone(cluster))

    def _gone(self, cluster: _Cluster) -> None:
        cluster.hold(0, self.now)
        cluster.life.gone = self.now
        self._outcome.lives.append(cluster.life)
        del self._clusters[cluster.life.name]
        self.record(events.MiniClusterGone(minicluster=cluster.life.name))
        self._handle(Gone(cluster.life.name))

    def _start(self, job: str, cluster: _Cluster, ranks: tuple[int, ...]) -> None:
        step, index = self._running[job]
        load = load_of(self._steps[step].needs, cluster.flavour)
        if load is None or len(ranks) != len(load.parts) or cluster.life.up is None or cluster.going:
            raise SimulationError(f"{job} can't run on nodes {ranks} of {cluster.life.name}")
        for rank, part in zip(ranks, load.parts, strict=True):
            if not cluster.nodes.has_room(rank, part, load.alone):
                raise SimulationError(f"there is no room for {job} on node {rank} of {cluster.life.name}")
        cluster.nodes.take(load, ranks)
        cluster.jobs[job] = (load, ranks)
        begin = self.now
        self._outcome.jobs += 1
        self.record(events.JobSubmitted(job=job, minicluster=cluster.life.name))
        self.record(events.JobStarted(job=job))

        def end() -> None:
            if job not in cluster.jobs:
                return  # it was lost with its MiniCluster
            cluster.nodes.give(load, ranks)
            del cluster.jobs[job]
            failed = self._rng.random() < self.chance.failures
            if not failed:
                self._outcome.starts[step, index] = (begin, self.now, cluster.life.name)
            self.record(events.JobEnded(job=job, exit_code=int(failed)))
            self._handle(JobEnded(job, failed))
            if failed:
                self._ask(step, index)
            else:
                self._complete(step, index)

        self._later(self._duration(step, index), ENDS, end)

    def _fail(self, job: str, reason: str) -> None:
        step, index = self._running.pop(job)
        for cluster in self._clusters.values():
            if job in cluster.jobs:
                cluster.nodes.give(*cluster.jobs.pop(job))
        self.failed.append(f"{job}: {reason}")
        self.record(events.JobEnded(job=job, reason=reason))
        self._later(1.0, ENDS, lambda: self._ask(step, index))


class _Cluster:
    """A simulated MiniCluster; `held`: nodes that cost."""

    def __init__(self, life: Life, flavour: Flavour, size: int, now: float) -> None:
        self.life, self.flavour, self.first_size = life, flavour, size
        self.nodes = Nodes(flavour)
        self.jobs: dict[str, tuple[Load, tuple[int, ...]]] = {}
        self.going = False
        self.nodes_until = 0.0
        self.held = 0
        self._since = now
        self.hold(size, now)

    def hold(self, nodes: int, now: float) -> None:
        self.life.node_seconds += self.held * (now - self._since)
        self.held, self._since = nodes, now
        self.life.sizes.append((now, nodes))


class _Engine:
    """Which jobs may be asked for: the workflow engine's part."""

    def __init__(self, steps: Mapping[str, Step], widths: Mapping[str, int]) -> None:
        self._steps, self._widths = steps, widths
        self._left = dict(widths)
        self._followers: dict[str, list[tuple[str, bool]]] = {name: [] for name in steps}
        self._waits: dict[str, int] = {}
        self._waits_each: dict[str, list[int]] = {}
        for name, s in steps.items():
            each = [d.step for d in s.after if d.each and widths[d.step] == widths[name]]
            self._waits[name] = len(s.after) - len(each)
            self._waits_each[name] = [len(each)] * widths[name]
            for d in s.after:
                self._followers[d.step].append((name, d.step in each))
        self._queue: list[tuple[str, int]] = []

    def first(self) -> list[tuple[str, int]]:
        self._queue = []
        for name in [n for n, waits in self._waits.items() if not waits]:
            self._open(name)
        return self._queue

    def _open(self, name: str) -> None:
        """All that the step's jobs wait for together is over."""
        if not self._widths[name]:
            self._over(name)
        self._queue += [(name, i) for i, waits in enumerate(self._waits_each[name]) if not waits]

    def _over(self, name: str) -> None:
        for follower, each in self._followers[name]:
            if not each:
                self._waits[follower] -= 1
                if not self._waits[follower]:
                    self._open(follower)

    def complete(self, step: str, index: int) -> list[tuple[str, int]]:
        """A job is over; the jobs that may be asked for now."""
        self._queue = []
        self._left[step] -= 1
        for follower, each in self._followers[step]:
            if each:
                self._waits_each[follower][index] -= 1
                if not self._waits_each[follower][index] and not self._waits[follower]:
                    self._queue.append((follower, index))
        if not self._left[step]:
            self._over(step)
        return self._queue

    def done(self) -> bool:
        return not any(self._left.values())

    def missing(self) -> list[str]:
        return [name for name, left in self._left.items() if left]
