"""The fleet on simulated time and MiniClusters: the same decisions, a discrete-event shell around them.

It stands for the workflow engine, which asks for a job as soon as what the job waits for is over; for the MiniClusters,
which take their time to come, to change their size and to go; and for the jobs, which take as long as they take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Literal

from streamflow_fluxop import events
from streamflow_fluxop.grouping import Group, planned_groups
from streamflow_fluxop.model import Flavour, Plan
from streamflow_fluxop.orchestration.decisions.allowance import Allowance, forecast_words
from streamflow_fluxop.orchestration.decisions.machine import Fleet
from streamflow_fluxop.orchestration.decisions.messages import (
    BringUp,
    BroughtUp,
    ChangeSize,
    Closing,
    EndJob,
    Event,
    Expect,
    FailJob,
    ForecastExceeded,
    Instruction,
    JobFinished,
    JobRequested,
    Lost,
    Resized,
    StartJob,
    Stopping,
    TearDown,
    Tick,
    TornDown,
    WakeAt,
)
from streamflow_fluxop.orchestration.decisions.node_resources import load_of
from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
from streamflow_fluxop.orchestration.decisions.quota import within
from streamflow_fluxop.orchestration.simulation.engine import SimulatedEngine
from streamflow_fluxop.orchestration.simulation.simulated import (
    Chance,
    SimulatedLifetime,
    SimulatedMiniCluster,
    SimulatedOutcome,
    factor,
)

ENDS, CHANGES, TICKS = range(3)
"""At equal times jobs end first, then MiniClusters change, then the fleet looks round."""


class SimulationError(AssertionError):
    """The fleet did what it must never do."""


class Simulation:
    """One run of a plan.

    Args:
        plan: with its problem.
        chance: what deviates.
        seconds: durations of jobs by (step, index), instead of those that `chance` makes.
        widths: how many jobs steps really have, where that is not what the plan says; 0: it is skipped.
        flavours: whose bring-ups and tear-downs are what these really take, where that is not what the plan says.
        groups: there is no plan, as far as the fleet knows: MiniClusters of these groups come when jobs need them.
        open_ended: names of steps that the fleet is told may be skipped.
        resizes: whether MiniClusters can change their size.
        watch: called after each event with the time and the fleet.
        on_budget: whether the plan's budget and deadline are kept, as in a real run; None: they are not looked at.

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
        flavours: Mapping[str, Flavour] | None = None,
        groups: Sequence[Group] | None = None,
        open_ended: frozenset[str] = frozenset(),
        resizes: bool = True,
        watch: Callable[[float, Fleet], None] | None = None,
        on_budget: Literal["stop", "warn"] | None = None,
    ) -> None:
        self.record: events.Recorder = events.discard
        self.plan, self.chance = plan, chance or Chance()
        problem = plan.problem
        self._flavours, self._limits = problem.flavours, problem.limits
        self._true_flavours = flavours or problem.flavours
        self._steps = {s.name: s for s in problem.workflow.steps}
        self.widths = {name: (widths or {}).get(name, s.width) for name, s in self._steps.items()}
        self.order = PartialOrder(plan, open_ended) if groups is None else None
        self._resizes = resizes
        self._group_of = {e.step: e.miniclusters[0] for e in plan.steps if e.miniclusters}
        if groups is None:
            groups = planned_groups(plan, open_ended)
        else:
            self._group_of = {step: g.name for g in groups for step in g.steps}
        self._first_group = groups[0].name if groups else ""
        self._clusters: dict[str, SimulatedMiniCluster] = {}
        self._outcome = SimulatedOutcome(0.0, 0.0, 0.0, [], 0, {})
        wish = problem.objective
        self._budget, self._deadline = (wish.budget, wish.deadline) if on_budget else (None, None)
        allowance = Allowance(self._spent, self._budget, self._deadline, on_budget != "warn", plan.cost)
        self.fleet = Fleet(
            groups,
            problem.flavours,
            problem.limits,
            self.order,
            resizes=resizes,
            allowance=allowance if allowance.given else None,
        )
        self._seconds = seconds
        self.watch = watch
        self._rng = Random(self.chance.seed)
        self._queue: list[tuple[float, int, int, Callable[[], None]]] = []
        self._tie = count()
        self.now = 0.0
        self._wake: float | None = None
        self._engine = SimulatedEngine(self._steps, self.widths)
        self._running: dict[str, tuple[str, int]] = {}
        self._tries: dict[str, int] = {}
        self.failed: list[str] = []

    def run(self) -> SimulatedOutcome:
        """Run it to the end.

        Raises:
            SimulationError: the fleet passed a limit, put a job where there is no room, or let one wait for ever.
        """
        self.record(
            events.FleetStarted(
                cluster="simulated",
                flavours=self._flavours,
                limits=self._limits,
                plan=self.plan,
                budget=self._budget,
                deadline=self._deadline,
            )
        )
        self._handle(Tick())
        for job in self._engine.first():
            self._ask(*job)
        while self._queue:
            self.now, _, _, action = heappop(self._queue)
            action()
        if not self._engine.done() and self._outcome.stopped is None:
            raise SimulationError(f"at {self.now:g} s nothing can happen any more, but {self._engine.missing()} wait")
        if self.fleet.room.miniclusters:
            self._handle(Closing())
            while self._queue:
                self.now, _, _, action = heappop(self._queue)
                action()
        if self.fleet.room.miniclusters or +self.fleet.room.nodes:
            raise SimulationError("something is left behind")
        self._outcome.node_seconds = sum(life.node_seconds for life in self._outcome.lives)
        self._outcome.cost = self._spent(self.now)
        out = self._outcome
        self.record(events.FleetEnded(miniclusters=len(out.lives), node_seconds=out.node_seconds, cost=out.cost))
        return out

    def _spent(self, now: float) -> float:
        """What all MiniClusters have cost until now."""
        used = [(life.flavour, life.node_seconds) for life in self._outcome.lives]
        used += [(c.life.flavour, c.node_seconds(now)) for c in self._clusters.values()]
        return sum(node_seconds * self._flavours[flavour].price / 3600 for flavour, node_seconds in used)

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
        group = self._group_of.get(step, self._first_group)
        flavour = self._flavours[self.fleet.group(group).flavour]
        self.record(events.JobAsked.of(name, needs, flavour, step))
        self._handle(JobRequested(name, group, step, needs, index))

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
            case ChangeSize(name, size, reason):
                self._resize(self._clusters[name], size, reason)
            case TearDown(name, reason):
                self._tear_down(self._clusters[name], reason)
            case StartJob(job, name, nodes):
                self._start(job, self._clusters[name], nodes)
            case FailJob(job, reason):
                self._fail(job, reason)
            case EndJob(job, reason):
                self._end(job, reason)
            case Expect(cost, makespan):
                self.record(events.Forecast(cost=cost, makespan=makespan))
            case ForecastExceeded(what, forecast, allowed):
                self.record(
                    events.ForecastPassed(
                        what=what, forecast=forecast, allowed=allowed, message=forecast_words(instruction)
                    )
                )
            case Stopping(reason, spent, budget):
                self._outcome.stopped = reason
                self.record(events.BudgetReached(cost=spent, budget=budget, reason=reason))
            case WakeAt(when):
                self._wake = when
                self._later(max(0.0, when - self.now), TICKS, lambda: self._tick(when))

    def _tick(self, when: float) -> None:
        if self._wake == when:
            self._wake = None
            self._handle(Tick())

    def _bring_up(self, name: str, size: int, reason: str) -> None:
        group = self.fleet.group(name)
        flavour = self._true_flavours[group.flavour]
        if name in self._clusters:
            raise SimulationError(f"{name} is there already")
        most = group.max_size if self._resizes else None
        self.record(
            events.MiniClusterAsked(
                minicluster=name, flavour=group.flavour, size=size, max_size=most, image=group.image, reason=reason
            )
        )
        life = SimulatedLifetime(name, group.flavour, self.now, reasons=[reason])
        cluster = self._clusters[name] = SimulatedMiniCluster(life, flavour, size, self.now)
        seconds = flavour.bring_up * factor(self._rng, self.chance.bring_up_noise)
        cluster.nodes_until = self.now + seconds  # no node joins before
        if self._rng.random() < self.chance.losses:
            self._later(seconds, CHANGES, lambda: self._lose(cluster, f"MiniCluster {name} did not come up"))
        else:
            self._later(seconds, CHANGES, lambda: self._up(cluster))

    def _up(self, cluster: SimulatedMiniCluster) -> None:
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

    def _lose(self, cluster: SimulatedMiniCluster, reason: str) -> None:
        if self._clusters.get(cluster.life.name) is cluster and not cluster.going:
            self.record(events.MiniClusterLost(minicluster=cluster.life.name, reason=reason))
            self._handle(Lost(cluster.life.name, reason))

    def _resize(self, cluster: SimulatedMiniCluster, size: int, reason: str) -> None:
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

    def _resized(self, cluster: SimulatedMiniCluster, size: int, grows: bool) -> None:
        if self._clusters.get(cluster.life.name) is not cluster or (cluster.going and grows):
            return
        cluster.nodes.resize(size)
        if not grows:
            cluster.hold(size, self.now)
        self.record(events.MiniClusterResized(minicluster=cluster.life.name, size=size))
        self._handle(Resized(cluster.life.name, size))

    def _tear_down(self, cluster: SimulatedMiniCluster, reason: str) -> None:
        cluster.going = True
        cluster.life.reasons.append(reason)
        cluster.life.released = self.now
        self.record(events.MiniClusterTearingDown(minicluster=cluster.life.name, reason=reason))
        if cluster.jobs:
            raise SimulationError(f"{cluster.life.name} goes, but {sorted(cluster.jobs)} run there")
        self._later(cluster.flavour.tear_down, CHANGES, lambda: self._gone(cluster))

    def _gone(self, cluster: SimulatedMiniCluster) -> None:
        cluster.hold(0, self.now)
        cluster.life.gone = self.now
        self._outcome.lives.append(cluster.life)
        del self._clusters[cluster.life.name]
        self.record(events.MiniClusterGone(minicluster=cluster.life.name))
        self._handle(TornDown(cluster.life.name))

    def _start(self, job: str, cluster: SimulatedMiniCluster, ranks: tuple[int, ...]) -> None:
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
            self._handle(JobFinished(job, failed))
            if failed:
                self._ask(step, index)
            else:
                self._complete(step, index)

        self._later(self._duration(step, index), ENDS, end)

    def _end(self, job: str, reason: str) -> None:
        self._leave(job)
        self.record(events.JobEnded(job=job, reason=reason))
        self._later(0.0, ENDS, lambda: self._handle(JobFinished(job, failed=True)))

    def _leave(self, job: str) -> None:
        for cluster in self._clusters.values():
            if job in cluster.jobs:
                cluster.nodes.give(*cluster.jobs.pop(job))

    def _fail(self, job: str, reason: str) -> None:
        step, index = self._running.pop(job)
        self._leave(job)
        self.failed.append(f"{job}: {reason}")
        self.record(events.JobEnded(job=job, reason=reason))
        if self.fleet.stops_for is None:  # else it would never start
            self._later(1.0, ENDS, lambda: self._ask(step, index))
