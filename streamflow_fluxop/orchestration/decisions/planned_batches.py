"""What a plan's order is made of: blocks of jobs, and how far the steps are."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from math import inf

from streamflow_fluxop.model import Step
from streamflow_fluxop.orchestration.decisions.node_resources import Load

TINY = 1e-6
"""Seconds: times that are nearer are equal."""

NOT_LOOKED_AT = (-inf, -inf)
"""What is expected of a block that no look has come to yet."""


@dataclass(slots=True, eq=False)
class PlannedBatch:
    """Jobs of a step that the plan starts together in one MiniCluster. Times are seconds from the plan's start.

    Attributes:
        index: its place in the order of starts.
        minicluster: None for what runs beside the workflow engine.
        nodes: ranks, `span` for each job.
        after: blocks whose end it waits for, as they have the nodes before it.
        before: blocks that wait for it.
        waits: how many of `after` are not over.
        taken: how many of its jobs have been asked for; `who`: which ones, a bit each.
        begun: how many of them were started; `left`: how many are not over, nor given up.
        since: when the last one was started, on the fleet's clock; `came`: when the last one was asked for.
        slack: seconds that the plan lets pass between what it waits for and its start.
        put_off: jobs of it could start before the plan has them start.
        ranks: its nodes, each once; `top`: the highest.
        hold: its jobs are not to start before, on the fleet's clock, although they could.
        each: the blocks with the jobs that its own wait for one by one.
        gaps: for each of its nodes the seconds that the plan leaves it idle before, and whether it is kept meanwhile.
        load: what one of its jobs takes of each of its nodes; None: it takes none, or no time.
        share: nodes that one of its jobs is worth, by what it takes most of.
        factor: by which its jobs are expected to take longer than planned.
        expected: when it is now expected to start and to end, on the fleet's clock; `uncertain`: variance of the end.
    """

    index: int
    step: str
    first: int
    count: int
    minicluster: str | None
    start: float
    end: float
    nodes: tuple[int, ...]
    span: int
    after: list[PlannedBatch] = field(default_factory=list)
    before: list[PlannedBatch] = field(default_factory=list)
    waits: int = 0
    taken: int = 0
    who: int = 0
    begun: int = 0
    left: int = 0
    since: float = 0.0
    came: float = -inf
    slack: float = 0.0
    put_off: bool = False
    hold: float = -inf
    ranks: tuple[int, ...] = ()
    top: int = 0
    each: list[PlannedBatch] = field(default_factory=list)
    gaps: dict[int, tuple[float, bool]] = field(default_factory=dict)
    load: Load | None = None
    share: float = 1.0
    factor: float = 1.0
    expected: tuple[float, float] = NOT_LOOKED_AT
    uncertain: float = 0.0
    _jobs_on: dict[int, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """What one of its jobs is expected to take."""
        return (self.end - self.start) * self.factor

    @property
    def over(self) -> bool:
        """Whether nobody has to wait for it any more."""
        return self.left == 0

    def take(self, job: int) -> bool:
        """Give its n-th job away; whether it was there."""
        if self.who >> job & 1 or self.taken == self.count or self.over:
            return False
        self.who |= 1 << job
        self.taken += 1
        return True

    def nodes_of(self, job: int) -> tuple[int, ...]:
        """The ranks of its n-th job."""
        return self.nodes[job * self.span : (job + 1) * self.span]

    def jobs_on(self, rank: int) -> int:
        """How many of its jobs the plan has on a node."""
        if not self._jobs_on:
            self._jobs_on = Counter(self.nodes)
        return self._jobs_on.get(rank, 0)


@dataclass(slots=True, eq=False)
class StepState:
    """How far a step is. Times are on the fleet's clock.

    Attributes:
        before: the steps that it waits for; `every`: those of them whose jobs it waits for all.
        next: index of the first block that has jobs to be asked for.
        open: how many of its jobs wait or run.
        quiet_since: when something last happened to it, or to a step before it.
        over_at: when it was over, as far as can be told.
        expected_end: of its last job, mean and variance, as of the pass of that number, `look`.
        elsewhere: it runs beside the workflow engine, out of the fleet's sight.
        tail: seconds from the start of one of its jobs to the end of the longest chain that begins with it.
    """

    step: Step
    blocks: list[PlannedBatch]
    followers: list[StepState] = field(default_factory=list)
    next: int = 0
    open: int = 0
    ended: int = 0
    over: bool = False
    over_at: float = -inf
    quiet_since: float = -inf
    before: list[StepState] = field(default_factory=list)
    every: list[StepState] = field(default_factory=list)
    elsewhere: bool = False
    expected_end: tuple[float, float] = (0.0, 0.0)
    look: int = 0
    tail: float = 0.0
    _by_index: list[PlannedBatch] = field(default_factory=list)

    def planned(self, index: int) -> tuple[PlannedBatch, int] | None:
        """The block of the job with an index, and its place there."""
        if not self._by_index:
            self._by_index = sorted(self.blocks, key=lambda b: b.first)
        at = bisect_right(self._by_index, index, key=lambda b: b.first) - 1
        if at < 0 or index >= self._by_index[at].first + self._by_index[at].count:
            return None
        return self._by_index[at], index - self._by_index[at].first

    @property
    def seconds(self) -> float:
        """What one of its jobs is expected to take."""
        return self.step.duration.seconds
