"""Takes some jobs off their nodes and puts them back where they cost least: ruin and recreate.

A list schedule starts a job as soon as it finds a place, so no search over list schedules comes to a plan in which jobs
wait until they fill a node together, or leave one alone that can then go sooner. This search changes a schedule
itself: a few jobs that lie near each other are taken out, and put back one after the other between the jobs that they
wait for and those that wait for them (Schrimpf, Schneider, Stamm-Wilbrandt, Dueck 2000).

Only where nodes are independent (`Instance.nodes_are_independent`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf
from typing import TYPE_CHECKING

from streamflow_fluxop.planning.improve.base import Improvement
from streamflow_fluxop.planning.improve.timeline import Timeline, packed
from streamflow_fluxop.planning.result.schedule import NodeLease, Placement, Schedule, make_schedule

if TYPE_CHECKING:
    from random import Random

    from streamflow_fluxop.planning.budget import Budget
    from streamflow_fluxop.planning.improve.base import Task
    from streamflow_fluxop.planning.objective import Judge
    from streamflow_fluxop.planning.problem.instance import Instance

MOST = 10
"""Jobs that are taken out at once."""
MOST_PAIRS = 30
"""Pairs of a job and one that it waits for, for each job, up to which the search is any good."""
STEP = 8.0
"""What a step takes, in the budget's unit of work,"""
LOOK = 0.1
"""and a look at a node or job."""
FAR = 2.0
"""How many times the cost of a new node a place may cost to be looked at."""

Slot = tuple[int, Timeline, int]
"""A job, its node, its start."""


@dataclass(frozen=True, slots=True)
class RuinAndRecreate:
    """Moves single jobs of a schedule.

    Attributes:
        schedules: how many schedules' work to spend.
        hot: by how much worse a step may be, at first, as a share of the goal.
        cold: and in the end.
    """

    schedules: int
    hot: float
    cold: float

    def applies(self, instance: Instance) -> bool:
        """Whether nodes are independent, and dependencies between jobs not too many."""
        steps = instance.steps
        pairs = sum(s.width if each else s.width * steps[t].width for s in steps for t, each in s.before)
        return instance.jobs > 0 and instance.nodes_are_independent and pairs <= MOST_PAIRS * instance.jobs

    def improve(self, task: Task, known: Schedule) -> Improvement:
        """Walk from a schedule; what is found may be as good as it."""
        walk = JobWalk(task.instance, task.judge, known)
        return Improvement(
            walk.run(task.rng, task.budget, schedules=self.schedules, hot=self.hot, cold=self.cold), cut=task.budget.cut
        )


class JobWalk:
    """A schedule, job by job, that changes.

    Args:
        instance: one that `RuinAndRecreate` applies to.
        judge: says what is better.
        schedule: where to begin.
    """

    def __init__(self, instance: Instance, judge: Judge, schedule: Schedule) -> None:
        self.instance = instance
        self.judge = judge
        steps = instance.steps
        self.first: list[int] = []
        self.step: list[int] = []
        for s, step in enumerate(steps):
            self.first.append(len(self.step))
            self.step += [s] * step.width
        self.before: list[list[int]] = [[] for _ in self.step]
        self.after: list[list[int]] = [[] for _ in self.step]
        for job, s in enumerate(self.step):
            for t, each in steps[s].before:
                own = (
                    [self.first[t] + job - self.first[s]]
                    if each
                    else range(self.first[t], self.first[t] + steps[t].width)
                )
                self.before[job] += own
                for other in own:
                    self.after[other].append(job)
        self.ticks = [steps[s].ticks for s in self.step]
        self.kind = [steps[s].kind for s in self.step]
        self.tails = [instance.tails[s] for s in self.step]
        self.jobs = [job for job, kind in enumerate(self.kind) if kind >= 0]
        self.full = [packed(f.cores, f.gpus, f.memory) for f in instance.flavours]
        self.need = [[packed(x.cores, x.gpus, x.memory) if x else 0 for x in k.fits] for k in instance.kinds]
        self.start = [0] * len(self.step)
        self.on: list[Timeline | None] = [None] * len(self.step)
        self.nodes: list[list[Timeline]] = [[] for _ in instance.sharing_classes]
        self._load(schedule)
        self.cost = 0.0
        for nodes in self.nodes:
            for node in nodes:
                self._pay(node)
        self.makespan = self._end()
        self.looks = 0
        w = instance.objective.cost_weight
        self.tick = (1 - w) / w * judge.bounds.cost / (judge.bounds.makespan or 1) if w else 1e9

    def _load(self, schedule: Schedule) -> None:
        leases = [self._new(lease.sharing, lease.flavour) for lease in schedule.leases]
        for node in leases:
            self.nodes[node.sharing].append(node)
        for placement in schedule.placements:
            job = self.first[placement.step] + placement.first
            for n in range(job, job + placement.jobs):
                self.start[n] = placement.start
            for lease, count in placement.runs:
                for n in range(job, job + count):
                    self._put(n, leases[lease], placement.start)
                job += count

    def _new(self, sharing: int, flavour: int) -> Timeline:
        data = self.instance.flavours[flavour]
        return Timeline(sharing, flavour, self.full[flavour], data.price, data.up + data.down)

    def _end(self) -> int:
        return max([s + t for s, t in zip(self.start, self.ticks, strict=True)], default=0)

    def _put(self, job: int, node: Timeline, start: int) -> None:
        self.start[job] = start
        self.on[job] = node
        node.jobs.add(job)
        node.change(start, start + self.ticks[job], -self.need[self.kind[job]][node.flavour])

    def _take(self, job: int) -> Slot:
        node, start = self.on[job], self.start[job]
        assert node is not None
        node.jobs.remove(job)
        node.change(start, start + self.ticks[job], self.need[self.kind[job]][node.flavour])
        return job, node, start

    def run(self, rng: Random, budget: Budget, *, schedules: int, hot: float, cold: float) -> Schedule:
        """Walk, less and less willing to get worse; the best schedule on the way.

        Args:
            rng: decides.
            budget: what is worked on.
            schedules: how many schedules' work to spend.
            hot: by how much worse a step may be, at first.
            cold: and in the end.
        """
        work, steps = schedules * budget.each, 0
        now = best = self._value(self.cost, self.makespan)
        kept = (list(self.start), list(self.on))
        while (share := (STEP * steps + LOOK * self.looks) / work) < 1:
            if not steps % 64 and budget.over():
                break
            steps += 1
            old = [self._take(job) for job in self._some(rng)]
            placed = self._replaced(old, rng)
            if len(placed) == len(old):
                cost, makespan = self._judged(old)
                value = self._value(cost, makespan)
                if value <= now or rng.random() < exp((now - value) / (hot * (cold / hot) ** share)):
                    self.makespan = makespan
                    self._settle(old)
                    now = self._value(self.cost, makespan)
                    if now < best:
                        best = now
                        kept = (list(self.start), list(self.on))
                    continue
            for job in placed:
                self._take(job)
            for job, node, start in old:
                self._put(job, node, start)
            for own in self.nodes:
                while own and not own[-1].jobs:
                    own.pop()
        budget.spend(schedules)
        self.start, self.on = kept
        return self.schedule()

    def _value(self, cost: float, makespan: int) -> float:
        missed, goal, score = self.judge.value(cost, makespan)
        return 10 * missed + goal + 1e-3 * score

    def _some(self, rng: Random) -> list[int]:
        """Jobs that lie near each other: at an end of a node's lease, on a node at some time, or one after another."""
        start, ticks = self.start, self.ticks
        most, how, job = rng.randint(1, MOST), rng.random(), rng.choice(self.jobs)
        if how < 0.45:
            node = rng.choice(rng.choice([own for own in self.nodes if own]))
            self.looks += len(node.jobs)
            if rng.random() < 0.5:
                return sorted(node.jobs, key=lambda j: (-start[j] - ticks[j], j))[:most]
            return sorted(node.jobs, key=lambda j: (start[j], j))[:most]
        if how < 0.7:
            here = self.on[job]
            assert here is not None
            nodes = {id(n): n for n in (here, rng.choice(self.nodes[here.sharing]))}
            begin, end = start[job], start[job] + ticks[job]
            self.looks += sum(len(n.jobs) for n in nodes.values())
            near = sorted(j for n in nodes.values() for j in n.jobs if start[j] <= end and start[j] + ticks[j] >= begin)
            return rng.sample(near, min(most, len(near)))
        found = [job]
        for _ in range(most - 1):
            job = rng.choice(found)
            others = self.before[job] if rng.random() < 0.5 else self.after[job]
            other = rng.choice(others) if others else job
            if other not in found and self.kind[other] >= 0:
                found.append(other)
        return found

    def _replaced(self, old: list[Slot], rng: Random) -> list[int]:
        """Put jobs back; those that found a place, up to the first that finds none."""
        tails, start, ticks = self.tails, self.start, self.ticks
        # the latest starts, with the jobs after them in mind that are out, too
        end = self.makespan if rng.random() < 0.8 else round(self.makespan * (1 + 0.02 * rng.random()))
        latest: dict[int, int] = {}
        jobs = [job for job, _, _ in old]
        for job in sorted(jobs, key=lambda j: (tails[j], j)):
            high = end
            for other in self.after[job]:
                at = latest[other] if other in latest else start[other]
                if at < high:
                    high = at
            latest[job] = high - ticks[job]
        if rng.random() < 0.5:
            jobs.sort(key=lambda j: (-tails[j], j))
        else:
            jobs.sort(key=lambda j: (start[j], -tails[j], j))
        late = rng.random() < 0.3
        placed = []
        for job in jobs:
            low = 0
            for other in self.before[job]:
                done = start[other] + ticks[other]
                if done > low:
                    low = done
            if low > latest[job] or not self._insert(job, low, latest[job], rng, late=late):
                break
            placed.append(job)
        return placed

    def _insert(self, job: int, low: int, high: int, rng: Random, *, late: bool) -> bool:
        """Put a job where it costs least, to start between low and high; whether there is such a place."""
        kind, ticks, makespan = self.kind[job], self.ticks[job], self.makespan
        data, need = self.instance.kinds[kind], self.need[kind]
        own = self.nodes[data.sharing]
        offset = rng.randrange(len(own)) if own else 0
        options: list[tuple[float, int, int]] = []
        for f in data.feasible_flavours:
            flavour = self.instance.flavours[f]
            at = max(flavour.up, low)
            if at <= high:
                worse = max(0, at + ticks - makespan) * self.tick
                options.append(((flavour.up + flavour.down + ticks) * flavour.price + worse, len(own) + f, at))
        most = FAR * min(options)[0] if options else inf
        self.looks += len(own)
        for n in range(len(own)):
            place = n - offset
            node = own[place]
            needs = need[node.flavour]
            if not needs or not node.jobs:
                continue
            times, price = node.times, node.price
            first, last = times[1], times[-2]
            if (first - high) * price > most or (low + ticks - last) * price > most:
                continue
            a, b = max(first, low), high if high + ticks < last else last - ticks
            if a <= b:
                at = node.latest(needs, ticks, a, b) if late else node.earliest(needs, ticks, a, b)
                if at >= 0 and at + ticks <= makespan:
                    self._put(job, node, at)
                    self.looks += n - len(own)
                    return True
                if at >= 0:
                    options.append(((at + ticks - makespan) * self.tick, place, at))
                    continue
            if a <= last - ticks:
                a = last - ticks + 1 if last - ticks >= first else first
            if a <= high:
                at = node.earliest(needs, ticks, a, high)
                if at >= 0:
                    worse = (at + ticks - makespan) * self.tick if at + ticks > makespan else 0.0
                    options.append(((at + ticks - last) * price + worse, place, at))
            b = high if high < first else first - 1
            if low <= b:
                at = node.latest(needs, ticks, low, b)
                if at >= 0:
                    end = at + ticks
                    options.append(((first - at + (end - last if end > last else 0)) * price, place, at))
        options.sort()
        for _, place, at in options[:5]:
            if place >= len(own):
                node = self._new(data.sharing, place - len(own))
                if self._within_limits(node, at, at + ticks):
                    own.append(node)
                    self._put(job, node, at)
                    return True
                continue
            node = own[place]
            first, last = min(node.times[1], at), max(node.times[-2], at + ticks)
            if (first == node.times[1] and last == node.times[-2]) or self._within_limits(node, first, last):
                self._put(job, node, at)
                return True
        return False

    def _within_limits(self, node: Timeline, first: int, last: int) -> bool:
        """Whether a node may live from first to last, beside all others."""
        flavours = self.instance.flavours
        data = flavours[node.flavour]
        begin, end = first - data.up, last + data.down
        if begin < 0:
            return False
        for limit, capacity in enumerate(self.instance.capacity):
            if not data.weight[limit]:
                continue
            spare = capacity + 1e-9 - data.weight[limit]
            held: list[tuple[int, float]] = []
            total = 0.0
            for own in self.nodes:
                for other in own:
                    flavour = flavours[other.flavour]
                    weight = flavour.weight[limit]
                    if weight and other is not node and other.jobs:
                        a, b = other.times[1] - flavour.up, other.times[-2] + flavour.down
                        if a < end and b > begin:
                            held += ((a, weight), (b, -weight))
                            total += weight
            self.looks += len(held)
            if total <= spare:
                continue
            held.sort()
            level = 0.0
            for _, weight in held:
                level += weight
                if level > spare:
                    return False
        return True

    def _judged(self, old: list[Slot]) -> tuple[float, int]:
        """Cost and makespan, now that jobs are elsewhere."""
        touched = self._touched(old)
        end, start, ticks = self.makespan, self.start, self.ticks
        if any(s + ticks[job] == end for job, _, s in old) or any(start[job] + ticks[job] > end for job, _, _ in old):
            end = self._end()
        return self.cost + sum(node.cost - node.paid for node in touched), end

    def _touched(self, old: list[Slot]) -> list[Timeline]:
        touched: dict[int, Timeline] = {}
        for job, node, _ in old:
            touched[id(node)] = node
            now = self.on[job]
            assert now is not None
            touched[id(now)] = now
        return list(touched.values())

    def _settle(self, old: list[Slot]) -> None:
        """Add up; nodes that are idle for long go and come again, and those that come when another one goes stay."""
        for node in self._touched(old):
            own = self.nodes[node.sharing]
            while node.jobs and (idle := node.idle()) is not None:
                begin = self._new(node.sharing, node.flavour)
                own.append(begin)
                for job in [job for job in node.jobs if self.start[job] < idle[1]]:
                    self._take(job)
                    self._put(job, begin, self.start[job])
                self._pay(begin)
            for other in own if node.jobs else ():
                if other.flavour == node.flavour and other.jobs and 0 <= other.first - node.last < node.break_even:
                    for job in list(other.jobs):
                        self._take(job)
                        self._put(job, node, self.start[job])
                    self._pay(other)
            self._pay(node)
            self.nodes[node.sharing] = [other for other in own if other.jobs]

    def _pay(self, node: Timeline) -> None:
        cost = node.cost
        self.cost += cost - node.paid
        node.paid = cost

    def schedule(self) -> Schedule:
        """The schedule, a placement a job."""
        leases: list[NodeLease] = []
        number: dict[int, int] = {}
        placements: list[Placement] = []
        for job, s in enumerate(self.step):
            start, node = self.start[job], self.on[job]
            if node is None:
                placements.append(Placement(s, job - self.first[s], 1, start, []))
                continue
            end = start + self.ticks[job]
            lease = number.setdefault(id(node), len(leases))
            if lease == len(leases):
                leases.append(NodeLease(node.sharing, node.flavour, start, end))
            leases[lease].first, leases[lease].last = min(leases[lease].first, start), max(leases[lease].last, end)
            placements.append(Placement(s, job - self.first[s], 1, start, [(lease, 1)]))
        placements.sort(key=lambda b: b.start)
        return make_schedule(self.instance, leases, placements, "repacked")
