"""One MiniCluster as the fleet sees it: the stage of its life, its nodes, and the jobs there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum
from math import ceil, inf
from typing import TYPE_CHECKING

from streamflow_fluxop.grouping import Group
from streamflow_fluxop.model import Flavour
from streamflow_fluxop.orchestration.decisions.fleet_job import FleetJob
from streamflow_fluxop.orchestration.decisions.job_queue import JobQueue
from streamflow_fluxop.orchestration.decisions.lead_times import LeadTimes
from streamflow_fluxop.orchestration.decisions.node_resources import NodeResources
from streamflow_fluxop.orchestration.decisions.planned_batches import NOT_LOOKED_AT, TINY, PlannedBatch

if TYPE_CHECKING:
    from streamflow_fluxop.orchestration.decisions.retiming import NextUse
    from streamflow_fluxop.orchestration.decisions.work_sharing import WorkSharing


MOST_IDLE = 2.0
"""How many times its break-even a node may be idle, whatever is foreseen."""


LIKELY = 0.5
"""How likely it is that what may come does: of a step that may be skipped or run again; without a plan, of anything."""


ENGINE = 2.5
"""Seconds that the workflow engine may take from the end of a job to asking for the next, with some to spare."""


class Phase(Enum):
    """The stages of a MiniCluster's life."""

    DOWN = "down"
    COMING = "coming up"
    UP = "up"
    GOING = "going down"


def is_next(block: PlannedBatch) -> bool:
    """Whether jobs of a block are still to begin."""
    return block.left > block.begun


class MiniClusterState:
    """A MiniCluster of the fleet, in whichever life.

    Args:
        group: what it is for.
        flavour: of its nodes.
        blocks: what the plan has for it, in order.
        lead_times: how long its coming and going takes; None: what is configured.

    Attributes:
        size: nodes that take jobs, or will when it is up.
        target: nodes that it was told to have; more than `size` while it grows, less while it shrinks.
        queue: the jobs that wait, beside small commands.
        running: the jobs that run, by name; `commands`: small commands that run or wait.
        joins: when nodes that are not there yet will be, by rank.
        idle_since: for each node that takes jobs.
        until: when the jobs that run on a node are expected to be over, by rank.
        pool: the MiniClusters that it shares jobs with.
        deviates: durations are not as planned, so jobs need not run on the nodes that the plan has for them.
        by_timetable: nothing has deviated from the plan.
        uses: the next use of each node, by rank, as last re-timed.
        possible: when jobs may come to a node, by rank, that the plan is not sure of.
        foreseen: there is a plan; else anything may come.
        given_up: it, or a node of it, was idle for too long, or did not come up: what was foreseen was wrong, and
            nothing is brought up for it before a job comes.
        extra: nodes that it should have beside those that are foreseen for it, for jobs that wait elsewhere.
        relieves: it came, or grew, for jobs that waited elsewhere: they may keep its nodes from leaving.
        fixed: it can't change its size.
        steady: nodes that come and go together, as the plan has it.
        value_of_a_second: node-seconds that it is worth to be over a second earlier.
        rests_since: when something last ran there, or it came up.
        began_last: when a job last started there.
        asked_at: when it was last asked for; `released_at`: when it was given up, where it was up and well.
        leaves: when it will be gone, if it goes down.
        passed: how many of its blocks, from the first on, are over.
        alarm: when it is to be looked at again at the latest.
    """

    def __init__(
        self, group: Group, flavour: Flavour, blocks: list[PlannedBatch], lead_times: LeadTimes | None = None
    ) -> None:
        self.group = group
        self.flavour = flavour
        self.blocks = blocks
        self._lead_times = lead_times or LeadTimes({group.flavour: flavour})
        self.phase = Phase.DOWN
        self.size = self.target = 0
        self.nodes = NodeResources(flavour)
        self.queue = JobQueue(group.name)
        self.running: dict[str, FleetJob] = {}
        self.commands: dict[str, FleetJob] = {}
        self.joins: dict[int, float] = {}
        self.idle_since: list[float] = []
        self.until: dict[int, float] = {}
        self.pool: WorkSharing | None = None
        self.deviates = False
        self.by_timetable = False
        self.uses: dict[int, NextUse] = {}
        self.possible: dict[int, float] = {}
        self.foreseen = True
        self.given_up = False
        self.extra = 0
        self.relieves = False
        self.fixed = group.max_size is None
        self.steady = 0
        self.value_of_a_second = inf
        self.passed = 0
        self.lives = 0
        self.asked_at = 0.0
        self.began_last = -inf
        self.released_at: float | None = None
        self.leaves = 0.0
        self.rests_since = 0.0
        self.alarm = inf

    @property
    def name(self) -> str:
        """Of its group."""
        return self.group.name

    @property
    def flavour_name(self) -> str:
        """Of its nodes' flavour."""
        return self.group.flavour

    @property
    def most(self) -> int:
        """Nodes that it can have at most."""
        return max(self.group.size, self.group.max_size or 0)

    @property
    def bring_up(self) -> float:
        """Seconds that it is expected to take to come up."""
        return self._lead_times.bring_up(self.group.flavour)

    @property
    def tear_down(self) -> float:
        """Seconds that it is expected to take to go."""
        return self._lead_times.tear_down(self.group.flavour)

    @property
    def break_even(self) -> float:
        """Seconds of idleness that cost as much as going down and coming up again."""
        return self._lead_times.break_even(self.group.flavour)

    @property
    def planned_break_even(self) -> float:
        """Seconds of idleness that would cost as much, if coming and going took what is configured."""
        return max(1.0, self.flavour.bring_up + self.flavour.tear_down)

    @property
    def holds(self) -> int:
        """Nodes that count against the limits."""
        return max(self.size, self.target) if self.phase is not Phase.DOWN else 0

    @property
    def usable(self) -> int:
        """Nodes that take jobs now, and will not leave."""
        return min(self.size, self.target) if self.phase is Phase.UP else 0

    @property
    def idle(self) -> bool:
        """Whether it is up and nothing runs there."""
        return self.phase is Phase.UP and not self.running and not self.commands

    def called_for(self, now: float) -> float:
        """When it has to be asked for, `now` at the earliest, for what waits for nothing else; `inf`: not at all."""
        return now if self.commands else max(now, self.queue.not_before() - self.bring_up)

    def needed(self, now: float) -> int:
        """Nodes that the jobs that are ready need at least."""
        return self.queue.nodes(now + self.bring_up + TINY)

    def ready_for(self, block: PlannedBatch, now: float) -> float:
        """When the nodes of a block take jobs at the earliest."""
        top = block.top
        if top in self.joins:
            return self.joins[top]
        if self.phase is Phase.COMING and top < self.size:
            return self.joins.get(0, now)
        if self.phase is Phase.UP and self.fixed:
            return now  # it will run on other nodes
        return now + self.bring_up

    def add(self, job: FleetJob) -> None:
        """A job waits here."""
        job.member = self
        job.waits = True
        if job.needs is None:
            self.commands[job.name] = job
        else:
            self.queue.add(job)

    def drop(self, job: FleetJob) -> None:
        """Forget a job that waits."""
        job.waits = False
        if job.needs is None:
            self.commands.pop(job.name, None)
        else:
            self.queue.drop(job)

    def queued(self) -> list[FleetJob]:
        """All jobs that wait, in order."""
        return [*(e for e in self.commands.values() if e.started == inf), *self.queue.in_order()]

    def joins_now(self, job: FleetJob, now: float) -> bool:
        """Whether a node that the plan has for a job joins at this very moment."""
        if not self.joins or job.block is None or job.block.minicluster != self.name:
            return False
        return any(abs(self.joins.get(rank, inf) - now) <= TINY for rank in job.block.nodes_of(job.index))

    def book(self, job: FleetJob, ranks: tuple[int, ...], now: float) -> None:
        """A job starts."""
        assert job.load is not None
        job.waits = False
        job.nodes, job.started = ranks, now
        self.nodes.take(job.load, ranks)
        self.running[job.name] = job
        self.began_last = now
        for rank in ranks:
            self.until[rank] = max(self.until.get(rank, 0.0), job.expected_end)

    def leave(self, job: FleetJob) -> None:
        """A job that ran is over."""
        assert job.load is not None
        del self.running[job.name]
        if job.nodes:  # else they went while it ran, as the run was over
            self.nodes.give(job.load, job.nodes)
        for rank in job.nodes:
            if self.until[rank] <= job.expected_end:
                ends = (other.expected_end for other in self.running.values() if rank in other.nodes)
                self.until[rank] = max(ends, default=0.0)

    def busy_until(self, now: float) -> list[float]:
        """For each node when it, and all that leave before it, are expected to have nothing to do."""
        ends, last = [now] * self.usable, now
        for rank in range(self.usable - 1, -1, -1):
            last = ends[rank] = max(last, self.until.get(rank, 0.0))
        return ends

    def pass_over(self) -> None:
        """Note which of its blocks are over."""
        while self.passed < len(self.blocks) and self.blocks[self.passed].over:
            self.passed += 1

    def all_over(self) -> bool:
        """Whether all that the plan has for it is over."""
        self.pass_over()
        return self.passed == len(self.blocks)

    # what comes next

    def use_of(self, rank: int) -> NextUse | None:
        """The next use of a node, as far as it is foreseen."""
        use = self.uses.get(rank)
        if use is None or is_next(use.block):
            return use
        del self.uses[rank]  # it has begun, or never will, since the last look
        for block in self.blocks[self.passed :]:
            if rank in block.nodes and is_next(block) and block.expected is not NOT_LOOKED_AT:
                at = block.expected[0]
                self.uses[rank] = replace(use, at=at, ready=at, planned=block.start + use.began, block=block)
                return self.uses[rank]
        return None

    def next_use(self) -> float:
        """When its next job is expected; `inf` where none is."""
        return min((u.at for rank in list(self.uses) if (u := self.use_of(rank))), default=inf)

    def wanted_at(self) -> float:
        """When it should be there; `inf` where nothing is foreseen for it."""
        return min((u.ready for rank in list(self.uses) if (u := self.use_of(rank))), default=inf)

    def key(self) -> tuple[float, str]:
        """Orders MiniClusters by what they are needed for next, as the plan has it."""
        key = self.queue.ready[0][0] if self.queue.ready else inf
        for rank in list(self.uses):
            if use := self.use_of(rank):
                key = min(key, use.planned)
        if any(e.started == inf for e in self.commands.values()):
            key = min(key, *(e.key for e in self.commands.values()))
        return key, self.name

    def wanted(self, now: float) -> tuple[int, float]:
        """How many nodes it should have, from the first one on, and when to ask again at the latest."""
        top, again = 0, inf
        if not self.fixed:
            top = self.needed(now)
            due: dict[int, PlannedBatch] = {}
            for rank in [r for r in self.uses if r >= self.target and not self.given_up]:
                if use := self.use_of(rank):
                    at = use.ready - self.bring_up
                    if at <= now + TINY:
                        top = max(top, rank + 1)
                        due[use.block.index] = use.block
                    else:
                        again = min(again, at)
            if due and self.deviates:
                more = min(top - self.target, self.short_of(due.values()))
                top = self.target + self.worth(more, now)
                top = max(self.needed(now), top if top > self.target else 0)  # else who is there stays as ever
        if self.commands:
            top = max(top, 1)
        too_small = self.fixed and self.needed(now) > self.size  # it could not grow: it has to come again
        for rank in range(min(self.size, self.target) - 1, top - 1, -1):
            if self.phase is Phase.COMING or self.nodes.jobs[rank]:
                top = rank + 1
            elif not too_small and (until := self.stays_until(rank, now)) > now:
                top = rank + 1
                again = min(again, until)
            else:
                continue
            break
        if 0 < top < self.steady:
            top = self.steady
        return min(top, self.most), again

    def short_of(self, blocks: Iterable[PlannedBatch]) -> int:
        """How many more nodes the jobs of blocks need that are still to begin, beside what is free in the pool."""
        free = sum(m.nodes.free_share(m.usable) for m in (self.pool.members if self.pool else [self]) if m.usable)
        return max(0, ceil(sum((b.left - b.begun) * b.share for b in blocks) - free - TINY))

    def worth(self, more: int, now: float) -> int:
        """How many of so many nodes more are worth it, where durations deviate."""
        return self.pool.worth(self, more, now) if self.pool else more

    def stays_until(self, rank: int, now: float) -> float:
        """How long an idle node is kept at the longest; `now` where it, and those above it, should go."""
        until = max(self.keep_until(rank, now), self._kept_for_what_may_come(rank, now))
        if until > now or self.by_timetable or self.pool is None:
            return until
        if not self.pool.needs(min(self.size, self.target) - rank, now + self.break_even):
            return now
        until = self.idle_since[rank] + MOST_IDLE * self.break_even  # whoever was to come has taken another node
        return until if until > now + TINY else now

    def _kept_for_what_may_come(self, rank: int, now: float) -> float:
        """How long an idle node is kept for jobs that only the run tells of; `now` where it should go."""
        bound = LIKELY * self.break_even
        if not self.foreseen:
            bound = min(bound, ENGINE)
        elif self.possible.get(rank, inf) - now > bound + TINY:
            return now
        until = max(self.idle_since[rank], self.rests_since if self.idle else -inf) + MOST_IDLE * bound
        return until if until > now + TINY else now

    def keep_until(self, rank: int, now: float) -> float:
        """How long an idle node is kept for its own next use; `now` where that is too far away."""
        use = self.use_of(rank)
        if use is None:
            return now
        gap, kept = use.block.gaps.get(rank, (0.0, True))
        if not kept and gap <= self.break_even + TINY:
            return now  # others need its room: the plan lets it go although it comes back soon
        bound = max(self.break_even, gap) if kept else self.break_even
        # gone, it would be asked for again to be there at `ready`, and idle from then on as well
        if min(use.at, use.ready) - now > bound + TINY:
            return now
        since = self.idle_since[rank]
        if self.idle:  # that others have joined meanwhile counts for nothing
            since = self.rests_since if self.steady else min(since, self.rests_since)
        until = since + MOST_IDLE * bound
        return until if until > now + TINY else now

    def was_kept_in_vain(self, rank: int, now: float) -> bool:
        """Whether a node that goes was kept for a use that is still near."""
        use = self.use_of(rank)
        return use is not None and use.block.gaps.get(rank, (0.0, True))[1] and use.at - now <= self.break_even

    def why_come(self, now: float) -> str:
        """Why it is brought up, or grows."""
        jobs = len(self.queue.ready) + len(self.commands)
        if jobs:
            return f"{jobs} job{'s' * (jobs != 1)} waiting"
        if self.extra:
            return "more jobs wait than there are nodes for"
        wait = self.next_use() - now
        return "jobs are about to need it" if wait < 1 else f"jobs will need it in {wait:.0f} s"

    def why_go(self, now: float) -> str:
        """Why it goes, or shrinks."""
        wait = self.next_use() - now
        if wait == inf and (self.possible or not self.foreseen):
            return f"nothing has come for {now - max(self.idle_since):.0f} s, and what may still come is not certain"
        if wait == inf:
            return "nothing will need it any more"
        if wait <= self.break_even:
            return f"it has been idle for {now - max(self.idle_since):.0f} s"
        return f"its next use is {wait:.0f} s away, and going down and coming up again costs only {self.break_even:g} s"
