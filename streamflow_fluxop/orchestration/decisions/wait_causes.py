"""Why jobs wait although nodes of their kind stand idle: the decisions of `dispatch` and `work_sharing`, as reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from math import inf

from streamflow_fluxop.events.event_types import WaitReason
from streamflow_fluxop.orchestration.decisions.dispatch import MISSES, Leaves, Reservations, has_room_for, impatient
from streamflow_fluxop.orchestration.decisions.fleet_job import FleetJob
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase
from streamflow_fluxop.orchestration.decisions.planned_batches import TINY, PlannedBatch
from streamflow_fluxop.orchestration.decisions.quota import Quota

LOOKED_AT = 20
"""Jobs at the head of a MiniCluster's queue that are looked at."""


@dataclass(frozen=True)
class Cause:
    """Why a job does not start on nodes that have room for it.

    Attributes:
        reason: in one word.
        kept_for: the step, or the job, that the nodes are kept for.
        expected: when that, or what the job waits for, is expected, on the fleet's clock; None: nobody knows.
        words: what becomes of the nodes, or what the job needs.
        block: what is kept for it, as the plan has it.
        keeper: the job that they are kept for.
    """

    reason: WaitReason
    words: str
    kept_for: str | None = None
    expected: float | None = None
    block: PlannedBatch | None = None
    keeper: FleetJob | None = None


@dataclass(frozen=True)
class Wait:
    """Jobs stand in a queue, and idle nodes beside them: a MiniCluster, its idle nodes, the first job, how many."""

    minicluster: str
    idle: int
    job: str
    jobs: int
    cause: Cause


class JobsWaiting:
    """Finds what waits beside what is idle.

    Args:
        members: the MiniClusters of a fleet, by name.
        room: what is held.
        rules: which nodes are kept for whom now.
        large: durations deviate so far that the plan's places no longer count.
        due: names of the MiniClusters that should be up, or larger, and wait for room.
        keep_one: a MiniCluster stays up as the shared files are reached through it.
    """

    def __init__(
        self,
        members: Mapping[str, MiniClusterState],
        room: Quota,
        rules: Reservations,
        *,
        large: bool,
        due: Iterable[str],
        keep_one: bool,
    ) -> None:
        self._members = members
        self._room = room
        self._rules = rules
        self._large = large
        self._due = set(due)
        self._keep_one = keep_one

    def beside_idle_nodes(self) -> Iterator[Wait]:
        """For each MiniCluster with idle nodes the first job that waits and could be thought to run there, and why."""
        waiting = [(m, jobs) for m in self._members.values() if (jobs := _first(m))]
        for member in self._members.values():
            idle = member.nodes.jobs.count(0) if member.phase is Phase.UP and not member.commands else 0
            if not idle or not waiting:
                continue
            beside = [(m, jobs) for m, jobs in waiting if m.flavour_name == member.flavour_name]
            of_pool = [job for m, jobs in beside if m.pool is member.pool for job in jobs]
            others = [job for m, jobs in beside if m.pool is not member.pool for job in jobs]
            for job in [*sorted(of_pool, key=_key), *sorted(others, key=_key)]:
                if cause := self.cause(job, member):
                    n = sum(len(m.queue.ready) + sum(map(len, m.queue.held.values())) for m, _ in beside)
                    yield Wait(member.name, idle, job.name, n, cause)
                    break

    def cause(self, job: FleetJob, member: MiniClusterState) -> Cause | None:
        """Why a job that waits does not start in a MiniCluster that is up; None: nothing speaks against it."""
        assert job.load is not None
        assert job.member is not None
        now, load = self._rules.now, job.load
        if job.member.pool is not member.pool:
            return self._of_another_kind(job, job.member, member)
        room = member.nodes.with_room(load.parts[-1], member.usable, load.alone)
        if len(room) < len(load.parts):
            if member.usable < member.size and member.nodes.with_room(load.parts[-1], member.size, load.alone):
                return Cause("leaving", "it is leaving")
            return Cause("size", f"the job needs {_count(len(load.parts))}")
        if self._large:
            return self._behind_in_pool(job, member) or self._kept_for_a_job(job, member, room)
        if self._rules.timetable:
            if job.key > now + TINY:
                return Cause("planned", f"planned on {job.member.name}", expected=job.key)
            if member is not job.member or job.not_before > now + TINY or job.member.joins_now(job, now):
                return Cause("planned", f"planned on {job.member.name}, and all goes by plan so far")
        if member is job.member:
            if first := self._goes_first(job, member):
                return first
            if impatient(member, job, now):
                return None
        keeper = self._rules.keeper(member, job)
        kept = [(rank, found) for rank in room if (found := keeper(rank)) is not None]
        if len(room) - len(kept) < len(load.parts):
            return self._reserved(member, *kept[0])
        if member is job.member:
            return None
        return self._behind_in_pool(job, member) or self._kept_for_a_job(job, member, room)

    def _behind_in_pool(self, job: FleetJob, member: MiniClusterState) -> Cause | None:
        """Others of its kind, which go first, are tried before it, but only some."""
        assert member.pool is not None
        assert job.load is not None
        first = member.pool.first_of(job.load)
        if first is None or first is job:
            return None
        if self._large or first.block is None:
            return Cause("queue", f"{shown(first.name)} goes first", kept_for=shown(first.name), keeper=first)
        if (ahead := member.pool.stands_before(job)) >= MISSES:
            return Cause("queue", f"{ahead} jobs go first", kept_for=shown(first.name), keeper=first)
        return None

    def _reserved(self, member: MiniClusterState, rank: int, kept_for: PlannedBatch | Leaves) -> Cause:
        if isinstance(kept_for, Leaves):
            why = "others need the room" if self._rules.room_is_wanted else "the job is not worth keeping it up"
            return Cause("leaving", f"about to leave, as {why}")
        use = member.use_of(rank)
        return Cause(
            "reserved",
            f"kept for {kept_for.step}",
            kept_for=kept_for.step,
            expected=use.at if use is not None else None,
            block=kept_for,
        )

    def _goes_first(self, job: FleetJob, member: MiniClusterState) -> Cause | None:
        """The job that stands before it in the queue, and that others don't overtake."""
        queue = member.queue
        before = sorted(e for e in queue.ready if e[-1] is not job and e[-1].key <= job.key)
        held = job.block is not None and job in queue.held.get(job.block.index, ())
        for entry in before if not held else sorted(queue.ready):
            other = entry[-1]
            assert other.load is not None
            waits = other.not_before > self._rules.now + TINY
            stops = other.block is None or (held and self._rules.timetable and not waits)
            if stops and not has_room_for(member, other):
                return self._first_come(other)
        ahead = sum(index < job.block.index for index in queue.held) if held and job.block else len(before)
        if ahead >= MISSES:
            other = before[0][-1] if before else next(iter(queue.held[min(queue.held)]))
            return Cause("queue", f"{ahead} jobs go first", kept_for=other.name, keeper=other)
        return None

    @staticmethod
    def _first_come(other: FleetJob) -> Cause:
        assert other.load is not None
        words = f"{shown(other.name)} came first, and needs {_count(len(other.load.parts))}"
        return Cause("queue", words, kept_for=shown(other.name), keeper=other)

    def _kept_for_a_job(self, job: FleetJob, member: MiniClusterState, room: list[int]) -> Cause | None:
        """A job with a longer chain behind it, which finds no room yet, has the nodes that are free first."""
        assert member.pool is not None
        kept = member.pool.kept_before(job, self._rules.now, unplanned=not self._large).get(member.name, {})
        end = self._rules.now + (job.seconds or 0.0)
        keepers = [kept[rank] for rank in room if rank in kept and end > kept[rank][0] + TINY]
        assert job.load is not None
        if len(room) - len(keepers) >= len(job.load.parts):
            return None
        until, other = keepers[0]
        words = f"kept for {shown(other.name)}"
        expected = until if until > self._rules.now + TINY else None
        return Cause("reserved", words, kept_for=shown(other.name), expected=expected, keeper=other)

    # nodes of another kind

    def _of_another_kind(self, job: FleetJob, own: MiniClusterState, member: MiniClusterState) -> Cause | None:
        a, b = own.group, member.group
        if a.image != b.image:
            reason: WaitReason = "image"
            words = f"the job needs image {a.image or '(default)'}, not {b.image or '(default)'}"
        else:
            reason, words = "binding", "the job has another binding or group"
        awaited, expected = self._awaited(job, own)
        if awaited is None:
            return None
        words += f"; {awaited}"
        if self._keeps_for_files(member):
            words += "; this one stays up for the shared files"
        return Cause(reason, words, expected=expected)

    def _awaited(self, job: FleetJob, own: MiniClusterState) -> tuple[str | None, float | None]:
        """What a job's own MiniCluster is about, and when it is expected to have nodes for it."""
        if own.phase is Phase.COMING:
            return f"{own.name} comes up", own.joins.get(0)
        if own.name in self._due:
            nodes = max(1, own.needed(self._rules.now) - own.target)
            more = self._room.weigh(own.flavour_name, nodes, int(own.phase is Phase.DOWN))
            limit = self._room.lacks(more)
            return f"{f'the limit of {limit}' if limit else 'the budget'} leaves no room for {own.name}", None
        if own.phase is Phase.GOING:
            return f"{own.name} goes, and comes again", None
        if own.phase is Phase.DOWN:
            at = own.called_for(self._rules.now)
            return f"{own.name} will be asked for", at + own.bring_up if at < inf else None
        if has_room_for(own, job):
            return None, None  # that is told of its own MiniCluster
        return f"the nodes of {own.name} are busy", min(own.busy_until(self._rules.now), default=None)

    def _keeps_for_files(self, member: MiniClusterState) -> bool:
        return self._keep_one and member.idle and member.next_use() == inf and not member.queued()


def shown(job: str) -> str:
    """A job's name, without the number of its try."""
    return job.rsplit(" ", 1)[0]


def _first(member: MiniClusterState) -> list[FleetJob]:
    held = (job for jobs in member.queue.held.values() for job in jobs)
    jobs = [*(e[-1] for e in member.queue.ready[:LOOKED_AT]), *islice(held, LOOKED_AT)]
    return [job for job in jobs if job.load is not None]


def _key(job: FleetJob) -> float:
    return job.key


def _count(nodes: int) -> str:
    return f"{nodes} node{'s' * (nodes != 1)}"
