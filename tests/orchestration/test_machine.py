"""The fleet as a state machine that hypothesis drives, event by event, on a clock of its own.

Whatever comes next is hypothesis' choice: how long anything takes, what is lost, what fails, who loses patience.
"""

from collections import Counter

from fleet_worlds import STRATEGIES, assert_who_waits_has_a_reason, plan, workflows
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from streamflow_fluxop.grouping import planned_groups
from streamflow_fluxop.orchestration.decisions.machine import Fleet
from streamflow_fluxop.orchestration.decisions.messages import (
    BringUp,
    BroughtUp,
    ChangeSize,
    Closing,
    FailJob,
    JobFinished,
    JobRequested,
    Lost,
    Resized,
    ResultFound,
    StartJob,
    TearDown,
    Tick,
    TornDown,
    WakeAt,
)
from streamflow_fluxop.orchestration.decisions.minicluster_state import MOST_IDLE, Phase
from streamflow_fluxop.orchestration.decisions.node_resources import load_of
from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
from streamflow_fluxop.orchestration.decisions.quota import within
from streamflow_fluxop.orchestration.simulation.engine import SimulatedEngine
from streamflow_fluxop.orchestration.simulation.simulated import SimulatedLifetime, SimulatedMiniCluster

MANY = 10_000
"""Events after which a run that does not end never will."""


class Histories(RuleBasedStateMachine):
    """A run of a random workflow: `waiting`, `running` and `elsewhere` hold jobs by name, `clusters` what is there."""

    @initialize(
        drawn=workflows(5), strategy=st.sampled_from(STRATEGIES), resizes=st.booleans(), vague=st.integers(0, 8)
    )
    def begin(self, drawn, strategy, resizes, vague):
        steps, limits = drawn
        made = plan(steps, limits, strategy)
        self.flavours, self.limits, self.resizes = made.problem.flavours, limits, resizes
        self.steps = {s.name: s for s in steps}
        widths = {s.name: s.width for s in steps}
        last = steps[-1]
        open_ended = frozenset()
        if not last.controller and vague != last.width:  # one is wider or narrower than planned, or skipped
            widths[last.name] = vague
            open_ended = frozenset({last.name}) if vague == 0 else open_ended
        self.engine = SimulatedEngine(self.steps, widths)
        self.todo = {(n, i) for n, width in widths.items() for i in range(width)}
        order = PartialOrder(made, open_ended)
        self.longest_gap = max((gap for b in order.blocks for gap, _ in b.gaps.values()), default=0.0)
        groups = planned_groups(made, open_ended)
        self.fleet = Fleet(groups, self.flavours, limits, order, resizes=resizes)
        self.hint = {e.step: e.miniclusters[0] if e.miniclusters else "" for e in made.steps}
        self.now, self.wake = 0.0, None
        self.waiting, self.running, self.elsewhere, self.again = {}, {}, [], []
        self.clusters, self.changes = {}, []
        self.tries = Counter()
        self.idle_since = {}
        self.found = 0
        self.handle(Tick())
        self.ask(self.engine.first())

    # what hypothesis may let happen

    @rule(seconds=st.sampled_from([0.5, 10, 60, 200, 1000]))
    def time_passes(self, seconds):
        until = self.now + seconds
        while self.wake is not None and self.wake <= until:
            self.now, self.wake = max(self.now, self.wake), None
            self.handle(Tick())
        self.now = until
        assert_who_waits_has_a_reason(self.fleet, self.now)

    @precondition(lambda self: self.running or self.elsewhere)
    @rule(which=st.integers(0, 99), failed=st.sampled_from([False, False, False, True]))
    def a_job_ends(self, which, failed):
        if self.elsewhere and (which % 2 or not self.running):
            self.complete(self.elsewhere.pop(which % len(self.elsewhere)))
            return
        job = sorted(self.running)[which % len(self.running)]
        name, load, ranks, key = self.running.pop(job)
        self.clusters[name].nodes.give(load, ranks)
        self.handle(JobFinished(job, failed))
        if failed:
            self.ask([key])
        else:
            self.complete(key)

    @rule(jobs=st.sampled_from([1, 3]))
    def results_are_there_of_the_jobs_that_come_next(self, jobs):
        self.found += jobs

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 99))
    def a_job_is_given_up_and_asked_for_again_later(self, which):
        job = sorted(self.waiting)[which % len(self.waiting)]
        self.again.append(self.waiting.pop(job))
        self.handle(JobFinished(job, failed=True))

    @precondition(lambda self: self.again)
    @rule()
    def a_job_comes_again(self):
        self.ask([self.again.pop()])

    @precondition(lambda self: self.changes)
    @rule(which=st.integers(0, 99), works=st.sampled_from([True, True, True, False]))
    def a_minicluster_changes(self, which, works):
        name, what = self.changes[which % len(self.changes)]
        name, what = next((n, w) for n, w in self.changes if n == name)  # its changes come one after the other
        self.changes.remove((name, what))
        cluster = self.clusters[name]
        if what == "up" and works:
            cluster.life.up = self.now
            cluster.nodes.resize(cluster.first_size)
            self.handle(BroughtUp(name))
        elif what == "up":
            self.handle(Lost(name, "it did not come up"))
        elif what == "gone":
            del self.clusters[name]
            self.handle(TornDown(name))
        elif works or what < len(cluster.nodes.jobs):
            cluster.nodes.resize(what)
            cluster.hold(what, self.now)
            self.handle(Resized(name, what))
        else:
            size = len(cluster.nodes.jobs)
            self.changes = [(n, w) for n, w in self.changes if n != name]
            self.handle(Resized(name, size, "no node is left"))
            cluster.hold(size, self.now)

    @precondition(lambda self: any(c.life.up is not None and not c.going for c in self.clusters.values()))
    @rule(which=st.integers(0, 99), really=st.sampled_from([False, False, True]))
    def a_minicluster_is_lost(self, which, really):
        up = sorted(n for n, c in self.clusters.items() if c.life.up is not None and not c.going)
        if really:
            self.handle(Lost(up[which % len(up)], "its lead broker was lost"))

    # the end

    def teardown(self):
        """From here on all goes well, and so the run must come to its end."""
        if not hasattr(self, "fleet"):
            return
        for _ in range(MANY):
            if self.again:
                self.a_job_comes_again()
            elif self.changes:
                self.a_minicluster_changes(0, works=True)
            elif self.running or self.elsewhere:
                self.a_job_ends(0, failed=False)
            elif self.engine.done():
                break
            else:
                assert self.wake is not None, f"nothing can happen any more, but {sorted(self.waiting)} wait"
                self.time_passes(max(0.0, self.wake - self.now))
            self.time_passes(1.0)
        assert not self.todo, "jobs have not run"
        self.handle(Closing())
        while self.changes:
            self.a_minicluster_changes(0, works=True)
        assert not self.clusters
        assert not self.fleet.room.miniclusters

    # what the fleet is told, and what it tells

    def ask(self, jobs):
        for step, index in jobs:
            if self.steps[step].controller:
                self.elsewhere.append((step, index))
                continue
            if self.found and not self.tries[step, index]:
                self.found -= 1
                self.handle(ResultFound(step))
                self.complete((step, index))
                continue
            self.tries[step, index] += 1
            name = f"{step}/{index} try {self.tries[step, index]}"
            self.waiting[name] = (step, index)
            self.handle(JobRequested(name, self.hint[step], step, self.steps[step].needs, index))

    def complete(self, key):
        self.todo.remove(key)  # each runs to its end once
        self.ask(self.engine.complete(*key))

    def handle(self, event):
        for instruction in self.fleet.handle(event, self.now):
            self.carry_out(instruction)
        held = Counter()
        for cluster in self.clusters.values():
            held[self.fleet.group(cluster.life.name).flavour] += cluster.held
        assert within(self.limits, self.flavours, held, len(self.clusters)), f"the limits are passed: {held}"
        for name, member in self.fleet.members.items():
            if member.phase is Phase.UP and member.idle:
                since = self.idle_since.setdefault(name, self.now)
                assert self.now - since <= MOST_IDLE * max(member.break_even, self.longest_gap) + 1e-3, f"{name} idles"
            else:
                self.idle_since.pop(name, None)
        assert_who_waits_has_a_reason(self.fleet, self.now)

    def carry_out(self, instruction):
        match instruction:
            case BringUp(name, size):
                assert name not in self.clusters
                flavour = self.fleet.group(name).flavour
                life = SimulatedLifetime(name, flavour, self.now)
                self.clusters[name] = SimulatedMiniCluster(life, self.flavours[flavour], size, self.now)
                self.changes.append((name, "up"))
            case ChangeSize(name, size):
                assert self.resizes
                cluster = self.clusters[name]
                assert not any(cluster.nodes.jobs[size:]), "jobs run on nodes that leave"
                cluster.hold(max(size, cluster.held), self.now)
                self.changes.append((name, size))
            case TearDown(name):
                self.clusters[name].going = True
                assert all(where != name for where, *_ in self.running.values())
                self.changes = [c for c in self.changes if c[0] != name] + [(name, "gone")]
            case StartJob(job, name, ranks):
                cluster, key = self.clusters[name], self.waiting.pop(job)
                load = load_of(self.steps[key[0]].needs, cluster.flavour)
                assert cluster.life.up is not None
                assert not cluster.going
                for rank, part in zip(ranks, load.parts, strict=True):
                    assert cluster.nodes.has_room(rank, part, load.alone)
                cluster.nodes.take(load, ranks)
                self.running[job] = (name, load, ranks, key)
            case FailJob(job):
                if job in self.running:
                    name, load, ranks, key = self.running.pop(job)
                    self.clusters[name].nodes.give(load, ranks)
                else:
                    key = self.waiting.pop(job)
                self.again.append(key)
            case WakeAt(when):
                self.wake = when


Histories.TestCase.settings = settings(
    settings(),
    derandomize=settings().max_examples <= 100,
    suppress_health_check=list(HealthCheck),
    stateful_step_count=40,
)
TestHistories = Histories.TestCase
