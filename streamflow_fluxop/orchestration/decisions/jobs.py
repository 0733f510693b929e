"""The jobs of a fleet: to which MiniCluster each goes, when it starts there, and what its end means for the plan."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from streamflow_fluxop.orchestration.decisions.dispatch import Reservations, startable
from streamflow_fluxop.orchestration.decisions.fleet_job import LATE, FleetJob
from streamflow_fluxop.orchestration.decisions.messages import FailJob, Instruction, JobRequested, StartJob
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase
from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
from streamflow_fluxop.orchestration.decisions.placement import Placer
from streamflow_fluxop.orchestration.decisions.planned_batches import PlannedBatch
from streamflow_fluxop.orchestration.decisions.retiming import Retiming
from streamflow_fluxop.orchestration.decisions.step_progress import StepProgress
from streamflow_fluxop.orchestration.decisions.timers import Timers
from streamflow_fluxop.orchestration.decisions.work_sharing import WorkSharing


class FleetJobs:
    """Jobs that wait or run.

    Args:
        members: the MiniClusters, by name; there may be more later.
        order: of the plan; None: nothing is foreseen.
        router: chooses their MiniClusters.
        agenda: is told which MiniClusters to look at again.
        out: takes the instructions.

    Attributes:
        retiming: when what is expected; None where nothing is foreseen, or before the run begins.
        progress: which steps are over; likewise.
    """

    def __init__(
        self,
        members: dict[str, MiniClusterState],
        order: PartialOrder | None,
        router: Placer,
        agenda: Timers,
        out: list[Instruction],
    ) -> None:
        self._members = members
        self._order = order
        self._router = router
        self._agenda = agenda
        self._out = out
        self._jobs: dict[str, FleetJob] = {}
        self._pools: dict[tuple[str, str | None, str, str | None], WorkSharing] = {}
        self._now = 0.0
        self.retiming: Retiming | None = None
        self.progress: StepProgress | None = None

    def begin(self, order: PartialOrder, now: float) -> None:
        """The run of a plan begins."""
        self.retiming = Retiming(order, now)
        self.progress = StepProgress(order, now, {name: m.break_even for name, m in self._members.items()})

    # what comes, and what is over

    def asked(self, asked: JobRequested, now: float) -> None:
        """A job goes to a MiniCluster."""
        self._now = now
        job = FleetJob(asked.job, asked.step, asked.needs, asked.group, now, key=now)
        self._jobs[job.name] = job
        if self.progress and asked.step in self.progress.steps:
            self._clear(self.progress.asked(asked.step, now))
            state = self.progress.steps[asked.step]
            job.estimated, job.tail = state.seconds, state.tail
            job.deviation = self.retiming.deviation if self.retiming else None
        order, retiming, step = self._order, self.retiming, job.step
        known = order is not None and step in order.steps and job.needs is not None
        if known and order and retiming and step and (taken := order.take(step, asked.index)):
            job.block, job.index = taken
            job.key = retiming.began + job.block.start
            job.block.came = now
        member = self._router.choose(job, now)
        if member is None:
            del self._jobs[job.name]
            if job.block is not None and order:
                order.put_back(job.block, job.index)
            self._out.append(FailJob(asked.job, f"no MiniCluster can run {asked.job}"))
            return
        member.queue.clock = now
        member.add(job)
        if retiming and job.needs is not None:
            self.pool_of(member).add(job)
        member.given_up &= job.block is None
        self._agenda.touch(member)

    def ended(self, name: str, failed: bool, now: float) -> None:
        """A job is over, or no longer wanted."""
        self._now = now
        job = self._jobs.pop(name)
        member = job.member
        assert member is not None
        if job.needs is None:
            member.commands.pop(job.name, None)
            if not member.running:
                self._set_idle(member, 0)
        elif job.name in member.running:
            self._leave(job, member)
            self._over(job, put_back=failed)
        else:
            member.drop(job)
            self._over(job, put_back=True)
        self._agenda.touch(member)

    def reused(self, step: str, now: float) -> None:
        """A job that the plan has is over without having been asked for: its result is there already."""
        self._now = now
        if self.progress and step in self.progress.steps:
            self._clear(self.progress.asked(step, now))
        if self._order and step in self._order.steps and (taken := self._order.take(step)):
            block = taken[0]
            self._order.deviated = True
            self._clear(self._order.done(block))
            if block.minicluster is not None:
                self._agenda.touch(self._members[block.minicluster])
        if self.progress and step in self.progress.steps:
            self._clear(self.progress.ended(step, now))

    def fail(self, jobs: Iterable[FleetJob], member: MiniClusterState, reason: str, now: float) -> None:
        """Jobs end with their MiniCluster."""
        self._now = now
        for job in jobs:
            self._jobs.pop(job.name)
            if job.name in member.running:
                self._leave(job, member)
            else:
                member.drop(job)
            if job.needs is not None:
                self._over(job, put_back=True)
            self._out.append(FailJob(job.name, reason))

    def turn_away(self, member: MiniClusterState, reason: str) -> None:
        """None of the jobs that wait there will ever start."""
        for job in member.queued():
            del self._jobs[job.name]
            member.commands.pop(job.name, None)
            self._out.append(FailJob(job.name, reason))
        member.queue.clear()

    def _leave(self, job: FleetJob, member: MiniClusterState) -> None:
        member.leave(job)
        for rank in job.nodes:
            if not member.nodes.jobs[rank]:
                self._set_idle(member, rank)

    def _set_idle(self, member: MiniClusterState, rank: int) -> None:
        member.rests_since = self._now
        if rank < len(member.idle_since):
            member.idle_since[rank] = self._now

    def _over(self, job: FleetJob, *, put_back: bool) -> None:
        """Note that a planned job is over, or that it may come again."""
        if self._order and job.block is not None:
            if job.started < inf:
                job.block.begun -= 1
            if put_back:
                self._order.put_back(job.block, job.index)
            else:
                self._clear(self._order.done(job.block))
                if self.retiming and job.block.end > job.block.start and job.started < inf:
                    planned = job.block.end - job.block.start
                    self.retiming.deviation.learn(job.block.step, (self._now - job.started) / planned)
                if self.retiming and abs(self._now - self.retiming.began - job.block.end) > LATE:
                    self._order.deviated = True
        if self.progress and job.step in self.progress.steps:
            self._clear(self.progress.ended(job.step, self._now))

    def look(self, now: float) -> None:
        """Find the steps that are over because nothing has come of them for a while."""
        self._now = now
        if self.progress:
            self._clear(self.progress.look(now))

    def _clear(self, blocks: Iterable[PlannedBatch]) -> None:
        for block in blocks:
            if block.minicluster is not None:
                member = self._members[block.minicluster]
                member.queue.clock = self._now
                member.queue.release(block)
                self._agenda.touch(member)

    # what starts

    @property
    def large(self) -> bool:
        """Whether durations deviate so far that jobs had better not keep to the places that the plan has for them."""
        return self.retiming is not None and self.retiming.deviation.large

    def rules(self, now: float, *, room_is_wanted: bool) -> Reservations:
        """Which nodes are kept for whom; see `dispatch`."""
        timetable = self._order is not None and not self._order.deviated
        return Reservations(now, timetable, room_is_wanted, self.retiming.last if self.retiming else 0.0)

    def start(self, member: MiniClusterState, now: float, *, room_is_wanted: bool) -> None:
        """Start what can start at a MiniCluster, or at those that take its jobs.

        Args:
            member: the MiniCluster.
            now: on the fleet's clock.
            room_is_wanted: other MiniClusters wait for nodes to leave.
        """
        self._now = now
        member.pass_over()
        if member.phase is Phase.UP:
            for job in member.commands.values():
                if job.started == inf:
                    job.started = now
                    self._out.append(StartJob(job.name, member.name))
        rules, large = self.rules(now, room_is_wanted=room_is_wanted), self.large
        if not large and member.phase is Phase.UP:
            for job, nodes in startable(member, rules):
                self._start(job, member, nodes)
            self._agenda.alarm(member, member.queue.patience_ends(now, member.break_even))
        pool = self.pool_of(member)
        if large or (not rules.timetable and len(pool.members) > 1):
            for job, other, nodes in pool.startable(now, None if large else rules):
                self._start(job, other, nodes)
                self._agenda.touch(other)

    def _start(self, job: FleetJob, member: MiniClusterState, nodes: tuple[int, ...]) -> None:
        member.book(job, nodes, self._now)
        if job.block is not None:
            job.block.begun += 1
            job.block.since = self._now
            self.pool_of(member).begins(job)
        self._out.append(StartJob(job.name, member.name, nodes))

    @property
    def pools(self) -> Iterable[WorkSharing]:
        """All sets of MiniClusters that can take each other's jobs."""
        return self._pools.values()

    def pool_of(self, member: MiniClusterState) -> WorkSharing:
        """The MiniClusters that can take a MiniCluster's jobs, itself included."""
        if member.pool is None:
            group = member.group
            member.pool = self._pools.setdefault(
                (group.flavour, group.image, group.binding, group.named), WorkSharing()
            )
            member.pool.members.append(member)
        return member.pool
