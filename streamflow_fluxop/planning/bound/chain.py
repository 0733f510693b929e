"""What a sharing class costs at least along a chain of jobs, and beside it.

Take a chain of jobs b_0 before b_1 before ... (of each step its first job). Jobs of the sharing class lie before or
after some of them, so each can run beside a few neighbouring ones only: those after the last that it follows and before
the first that follows it.

While a chain job of the sharing class runs, its nodes are up, and cost what they cost. Of that, its own work is a part,
and other work that runs on the same nodes may be a part; the rest is idle. So with w the least cost of a job's work,

    cost >= sum of w over all jobs + sum over the chain of (cost of its nodes - its w) - absorbed

where `absorbed` is the work of other jobs that runs on a chain job's nodes, at most the chain job's idle part. Between
two chain jobs of the sharing class either a node is up all the time, which costs its rent, less the work that it
absorbs; or at some moment none is, and there is one bring-up and tear-down more. The lesser of both, taken as a cost
and as room to absorb work, is no more than either.

So it is in any part of the time between two chain jobs. It may pay to look at a part only, because fewer jobs can run
in it: none of those before a chain job of another sharing class runs after its start, and none of those before the
later chain job runs once the last of them is over.

The most that can be absorbed is a maximum flow from jobs to the segments of the chain beside which they can run. The
segments of a job are consecutive, so filling them in their order, each from the jobs whose last segment comes
soonest, is a maximum flow (Glover 1967).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamflow_fluxop.planning.problem.instance import Instance

EPS = 1e-9
FEW = 3
"""Jobs of other sharing classes on a chain that a part of a gap may consist of."""
MANY = 5_000
"""Steps from which a chain is taken by itself, without what runs beside it."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What the jobs of one sharing class cost a tick at least, by kind (0 for other sharing classes' kinds).

    Attributes:
        work: a job's part of its nodes.
        nodes: the nodes that a job sits on.
        idle: a node.
        once: bring-up and tear-down of a node; not a rate.
        loads: for each limit what a job of each kind (of any sharing class) takes of it, as a share of the limit.
    """

    sharing: int
    work: Sequence[float]
    nodes: Sequence[float]
    idle: float
    once: float
    loads: Sequence[Sequence[float]]

    def gap(self, length: float) -> float:
        """What a time costs in which a node is either kept or goes and comes again."""
        return min(length * self.idle, self.once)


@dataclass(frozen=True, slots=True)
class Gap:
    """The time between two jobs of a sharing class on a chain, and what the class costs at least, by its length.

    Attributes:
        least: ticks that it lasts at least.
        longest: ticks from which on nothing costs more.
        inside: the steps all of whose jobs take place in it.
        base: what the sharing class costs beside what the chain's segments absorb.
        segments: of the chain; the gap is the one at `at`.
        volumes: the work that they can absorb.
    """

    least: float
    longest: float
    inside: list[int]
    base: float
    segments: list[_Segment]
    at: int
    volumes: dict[tuple[int, int], float]
    rates: Rates

    def cost(self, length: float) -> float:
        """What the sharing class costs at least if the gap lasts so long."""
        here = self.segments[self.at]
        absorbable = self.rates.gap(length)
        segments = [
            *self.segments[: self.at],
            _Segment(here.start, here.end, absorbable),
            *self.segments[self.at + 1 :],
        ]
        return self.base + absorbable - here.absorbable - _absorbed(self.volumes, segments)


def beside_chain(instance: Instance, rates: Rates) -> tuple[float, float, list[Gap]]:
    """What the sharing class costs at least by the best of a few chains.

    Returns:
        Without regard to what lies between the chain's jobs, and to bring-up and tear-down; with both; and the gaps
        in which other jobs take place.
    """
    if len(instance.steps) > MANY:
        _, alone = _best_chain(instance, rates, rates.nodes)
        return 0.0, alone * (1 - EPS) + rates.once, []
    solid = gapped = 0.0
    found: list[Gap] = []
    excess = [n - w for n, w in zip(rates.nodes, rates.work, strict=True)]
    total = sum(s.width * s.ticks * rates.work[s.kind] for s in instance.steps if s.kind >= 0)
    for steps in {_best_chain(instance, rates, worth)[0] for worth in (rates.nodes, excess)}:
        chain = Chain.of(instance, steps)
        own = [i for i, s in enumerate(chain.steps) if _of_class(instance, s, rates.sharing)]
        lengths, inside = _gaps(instance, rates, chain, own)
        beside = _beside(instance, rates, chain)
        jobs = _segments(instance, rates, chain, own)
        whole = [_Segment(i, j, rates.gap(length)) for (i, j), length in zip(pairwise(own), lengths, strict=True)]
        best = [
            max([gap, *_parts(instance, rates, chain, gap)], key=lambda part: _unused(part, beside)) for gap in whole
        ]
        for gaps in ([], whole, best):
            segments = _in_turn(jobs, gaps)
            cost = total + sum(p.absorbable for p in segments)
            volumes = _volumes(beside, segments)
            if not gaps:
                solid = max(solid, cost - _absorbed(volumes, segments))
                continue
            gapped = max(gapped, cost - _absorbed(volumes, segments) + rates.once)
            if gaps is not whole:
                continue
            at = {(segment.start, segment.end): i for i, segment in enumerate(segments)}
            for gap, length, members in zip(whole, lengths, inside, strict=True):
                if members and 0 < length * rates.idle < rates.once:
                    longest = rates.once / rates.idle
                    segment = at[gap.start, gap.end]
                    found.append(Gap(length, longest, members, cost + rates.once, segments, segment, volumes, rates))
        gapped = max(gapped, solid + rates.once)
    return solid, gapped, found


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of jobs, the first one of each of its steps, each of which comes after the one before.

    Attributes:
        steps: of the chain, in order.
        after: for each step the place in the chain of the last job that all of the step's jobs come after, or -1.
        before: for each step the place of the first one that all of its jobs come before, or the chain's length.
    """

    steps: tuple[int, ...]
    after: list[int]
    before: list[int]

    @classmethod
    def of(cls, instance: Instance, steps: tuple[int, ...]) -> Chain:
        """The chain, and how all other steps lie to it."""
        at = [-1] * len(instance.steps)
        for segment, s in enumerate(steps):
            at[s] = segment
        return cls(steps, _after(instance, at), _before(instance, at, len(steps)))


def _of_class(instance: Instance, step: int, sharing: int) -> bool:
    kind = instance.steps[step].kind
    return kind >= 0 and instance.kinds[kind].sharing == sharing


def _best_chain(instance: Instance, rates: Rates, worth: Sequence[float]) -> tuple[tuple[int, ...], float]:
    """A chain of steps whose jobs of the class, at their worth, and the gaps between them come to much; how much."""
    inside = [k.sharing == rates.sharing for k in instance.kinds] + [False]  # the last one is a controller step's, -1
    value = [-1.0] * len(instance.steps)
    gaps = [0] * len(instance.steps)
    so_far = [-1.0] * len(instance.steps)  # the value with the gap since the last job of the sharing class
    back = [-1] * len(instance.steps)
    top, end = -1.0, -1
    for s in instance.order:
        step = instance.steps[s]
        most, source = -1.0, -1
        for t, _ in step.before:
            if so_far[t] > most or (so_far[t] == most and gaps[t] > gaps[source]):
                most, source = so_far[t], t
        back[s] = source
        if inside[step.kind]:
            value[s] = so_far[s] = max(most, 0.0) + step.ticks * worth[step.kind]
            if value[s] > top:
                top, end = value[s], s
        elif source >= 0:
            value[s], gaps[s] = value[source], gaps[source] + step.ticks
            so_far[s] = value[s] + min(gaps[s] * rates.idle, rates.once)
    chain = []
    while end >= 0:
        chain.append(end)
        end = back[end]
    return tuple(chain[::-1]), max(top, 0.0)


def _after(instance: Instance, at: list[int]) -> list[int]:
    """For each step the place of the last job of the chain that all of its jobs come after; -1 for none."""
    first = [-1] * len(instance.steps)
    all_of = [-1] * len(instance.steps)
    for s in instance.order:
        one = every = -1
        for t, each in instance.steps[s].before:
            here = max(first[t], at[t])
            one = max(one, here)
            every = max(every, all_of[t] if each else here)
        first[s] = one
        all_of[s] = one if instance.steps[s].width == 1 else every
    return all_of


def _before(instance: Instance, at: list[int], length: int) -> list[int]:
    """For each step the place of the first job of the chain that all of its jobs come before; `length` for none."""
    first = [length] * len(instance.steps)
    all_of = [length] * len(instance.steps)
    for s in reversed(instance.order):
        one = every = length
        for t, each in instance.steps[s].after:
            here = min(first[t], at[t] if at[t] >= 0 else length)
            one = min(one, here)
            every = min(every, all_of[t] if each else here)
        first[s] = one
        all_of[s] = one if instance.steps[s].width == 1 else every
    return all_of


@dataclass(frozen=True, slots=True)
class _Segment:
    """A job of the chain (start = end), or the gap between two.

    A job that runs beside it comes after no job of the chain from `end` on, and before none up to `start`. `absorbable`
    is the cost of the work that it can absorb.
    """

    start: int
    end: int
    absorbable: float


def _segments(instance: Instance, rates: Rates, chain: Chain, own: list[int]) -> list[_Segment]:
    """The chain's jobs of the sharing class."""
    steps = [instance.steps[s] for s in chain.steps]
    return [_Segment(i, i, steps[i].ticks * (rates.nodes[steps[i].kind] - rates.work[steps[i].kind])) for i in own]


def _in_turn(jobs: list[_Segment], gaps: list[_Segment]) -> list[_Segment]:
    """The chain's jobs, and between each and the next one the gap, if it is one."""
    segments = jobs[:1]
    for n, job in enumerate(jobs[1:]):
        if gaps and gaps[n].absorbable:
            segments.append(gaps[n])
        segments.append(job)
    return segments


def _parts(instance: Instance, rates: Rates, chain: Chain, gap: _Segment) -> list[_Segment]:
    """Parts of the time between two of the chain's jobs beside which fewer jobs can run than in all of it.

    From the start of one job of the chain to the end of another; from the moment when all the sharing class's jobs
    before the gap's end are over until then; from the gap's beginning until the first of the sharing class's jobs after
    it starts.
    """
    i, j = gap.start, gap.end
    ticks = [instance.steps[s].ticks for s in chain.steps]
    inner = range(i + 1, j)
    parts = [_Segment(k, m, rates.gap(sum(ticks[k : m + 1]))) for k in inner for m in inner[k - i - 1 :][:FEW]]
    for at, forwards in ((j, False), (i, True)):
        away = _away(instance, chain.steps[at], forwards=forwards)
        nearest = min(
            (away[s] for s in range(len(away)) if away[s] >= 0 and _of_class(instance, s, rates.sharing)), default=0
        )
        parts.append(_Segment(at, at, rates.gap(min(nearest, sum(ticks[i + 1 : j])))))
    return parts


def _away(instance: Instance, step: int, *, forwards: bool) -> list[int]:
    """Ticks that lie at least between a step's first job and any job of each other step.

    -1 for steps not all of whose jobs come after it (before it).
    """
    first = [-1] * len(instance.steps)
    every = [-1] * len(instance.steps)
    for s in instance.order if forwards else reversed(instance.order):
        one = all_of = -1
        for t, each in instance.steps[s].before if forwards else instance.steps[s].after:
            here = 0 if t == step else first[t] + instance.steps[t].ticks if first[t] >= 0 else -1
            one = max(one, here)
            if each and instance.steps[s].width > 1:
                here = every[t] + instance.steps[t].ticks if t != step and every[t] >= 0 else -1
            all_of = max(all_of, here)
        first[s], every[s] = one, all_of
    return every


def _gaps(instance: Instance, rates: Rates, chain: Chain, own: list[int]) -> tuple[list[float], list[list[int]]]:
    """Least ticks between each job of the sharing class on the chain and the next, and the steps that take place there.

    The chain's other jobs take place there one after another. All jobs that come after the one of the chain at `low`
    and before the one at `high` do, too; within the limits, they take their area.
    """
    ticks = [instance.steps[s].ticks for s in chain.steps]
    gap_of = [-1] * len(ticks)
    for n, (i, j) in enumerate(pairwise(own)):
        gap_of[i:j] = [n] * (j - i)
    inner: list[list[int]] = [[] for _ in own[1:]]
    for s, step in enumerate(instance.steps):
        if step.kind >= 0 and chain.after[s] >= 0:
            n = gap_of[chain.after[s]]
            if n >= 0 and chain.before[s] <= own[n + 1]:
                inner[n].append(s)
    lengths = []
    for (i, j), members in zip(pairwise(own), inner, strict=True):
        passed: list[float] = [0, *accumulate(ticks[i + 1 : j])]
        length = float(passed[-1])
        for load in rates.loads if members else ():
            late, early = [0.0] * (j - i), [0.0] * (j - i)
            for s in members:
                step = instance.steps[s]
                area = step.width * step.ticks * load[step.kind]
                late[chain.after[s] - i] += area
                early[j - chain.before[s]] += area
            late = list(accumulate(reversed(late)))[::-1]
            early = list(accumulate(reversed(early)))[::-1]
            for k in range(j - i):
                length = max(length, late[k] + passed[k], early[k] + passed[-1] - passed[j - i - 1 - k])
        lengths.append(length * (1 - EPS))
    return lengths, inner


def _beside(instance: Instance, rates: Rates, chain: Chain) -> dict[tuple[int, int], float]:
    """The cost of the work of the jobs that are not on the chain, by the places that they come after and before."""
    on = set(chain.steps)
    work: dict[tuple[int, int], float] = {}
    for s, step in enumerate(instance.steps):
        if step.kind >= 0 and rates.work[step.kind]:
            key = chain.after[s], chain.before[s]
            work[key] = work.get(key, 0.0) + (step.width - (s in on)) * step.ticks * rates.work[step.kind]
    return work


def _unused(segment: _Segment, beside: dict[tuple[int, int], float]) -> float:
    """What is left of a segment if it absorbs all that can run beside it."""
    return segment.absorbable - sum(
        w for (after, before), w in beside.items() if after < segment.end and before > segment.start
    )


def _volumes(beside: dict[tuple[int, int], float], segments: list[_Segment]) -> dict[tuple[int, int], float]:
    """The cost of the work that can be absorbed from the first to the last of consecutive segments."""
    starts, ends = [p.start for p in segments], [p.end for p in segments]
    volumes: dict[tuple[int, int], float] = {}
    for (after, before), work in beside.items():
        first, last = bisect_right(ends, after), bisect_left(starts, before) - 1
        if first <= last:
            volumes[first, last] = volumes.get((first, last), 0.0) + work
    return volumes


def _absorbed(volumes: dict[tuple[int, int], float], segments: list[_Segment]) -> float:
    """The most that the segments absorb."""
    coming = sorted(volumes.items(), reverse=True)
    waiting: list[tuple[int, float]] = []
    absorbed = 0.0
    for here, segment in enumerate(segments):
        while coming and coming[-1][0][0] <= here:
            (_, last), volume = coming.pop()
            heappush(waiting, (last, volume))
        absorbable = segment.absorbable
        while waiting and absorbable > 0:
            last, volume = heappop(waiting)
            if last >= here:
                if volume > absorbable:
                    heappush(waiting, (last, volume - absorbable))
                absorbed += min(absorbable, volume)
                absorbable -= min(absorbable, volume)
    return absorbed
