"""The problem as a constraint programme for OR-Tools' CP-SAT: proves small plans optimal, improves others.

Time is counted in units of the greatest common divisor of all durations, bring-ups and tear-downs, so nothing is
rounded. Every job is one of its own. For each sharing class and flavour there are as many leases of nodes as a plan
that is no worse than the known one can pay for. Since MiniClusters grow and shrink node by node, leases are all that a
plan consists of.

Only where nodes are independent (`Instance.nodes_are_independent`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from math import floor, gcd
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.planning.bound.energetic import least_work
from streamflow_fluxop.planning.improve.base import Improvement
from streamflow_fluxop.planning.problem.instance import TICKS
from streamflow_fluxop.planning.result.schedule import NodeLease, Placement, Schedule, make_schedule

if TYPE_CHECKING:
    from streamflow_fluxop.planning.improve.base import Task
    from streamflow_fluxop.planning.objective import Judge
    from streamflow_fluxop.planning.problem.instance import Instance

PACE = 0.4
"""The solver's deterministic units in a unit of effort: what the slowest machine that we know does in a second."""

SCALE = 2_000_000
"""The bounds of cost and makespan in the integer objective."""


@dataclass(frozen=True, slots=True)
class CPSAT:
    """Looks for the best schedule, and for a proof that there is none better.

    Attributes:
        effort: how much to search, in seconds of a slow machine, counted in the solver's deterministic units, so that
            equal calls have equal answers.
        most_jobs: jobs up to which it applies.
    """

    effort: float
    most_jobs: int

    def applies(self, instance: Instance) -> bool:
        """Whether OR-Tools is there, the model says all there is to say about an instance, and is small enough."""
        small = 0 < instance.jobs <= self.most_jobs
        return small and instance.nodes_are_independent and find_spec("ortools") is not None

    def improve(self, task: Task, known: Schedule) -> Improvement:
        """Look for a better schedule than a known one."""
        model = _Model(task.instance, task.judge, known)
        return model.solve(seed=task.seed, units=PACE * self.effort, limit=task.budget.rest())


@dataclass(slots=True)
class _Job:
    step: int
    index: int
    start: Any
    end: Any
    on: dict[int, Any]


@dataclass(slots=True)
class _LeaseVar:
    sharing: int
    flavour: int
    used: Any
    first: Any
    last: Any
    jobs: list[tuple[_Job, Any]]


class _Model:
    def __init__(self, instance: Instance, judge: Judge, known: Schedule) -> None:
        from ortools.sat.python import cp_model

        self.cp = cp_model
        self.m = cp_model.CpModel()
        self.instance = instance
        self.judge = judge
        self.known = known
        self.unit = (
            gcd(*(s.ticks for s in instance.steps), *(t for f in instance.flavours for t in (f.up, f.down))) or 1
        )
        self.value = judge.value(known.cost, known.makespan)
        self.horizon = self._latest_end() // self.unit
        self.jobs: list[_Job] = []
        self.of_step: list[list[_Job]] = []
        self.leases: list[_LeaseVar] = []
        self.hints: list[tuple[Any, int]] = []
        self._add_jobs()
        self._add_leases()
        self._add_places()
        self._add_precedence()
        self._add_capacity()
        self._add_limits()
        self._break_symmetry()
        self._add_objective()
        self._hint()

    def _latest_end(self) -> int:
        """The makespan that a better plan can have at most, given that its cost is at least the bound."""
        objective, bounds = self.judge.objective, self.judge.bounds
        most = self.known.makespan
        if objective.goal == "balanced" and objective.weight < 1:
            share = (self.value[1] - objective.weight) / (1 - objective.weight)
            most = max(most, floor(share * bounds.makespan) + self.unit)
        elif objective.goal == "cost":
            most = 2 * sum(s.width * s.ticks for s in self.instance.steps) + 10 * most
        if objective.deadline is not None:
            most = max(self.known.makespan, min(most, int(objective.deadline * TICKS)))
        return most

    def _most_cost(self) -> float:
        """The cost that a better plan can have at most, given that its makespan is at least the bound."""
        objective, bounds = self.judge.objective, self.judge.bounds
        if objective.goal == "cost":
            return self.known.cost
        if objective.goal == "balanced" and objective.weight > 0 and bounds.cost:
            return max(
                self.known.cost, (self.value[1] - (1 - objective.weight)) / objective.weight * bounds.cost * (1 + 1e-9)
            )
        return float("inf")

    def _add_jobs(self) -> None:
        """Start and end of each job, end = start + duration."""
        for s, step in enumerate(self.instance.steps):
            own = []
            for i in range(step.width if step.kind >= 0 else 1):
                start = self.m.new_int_var(0, self.horizon, f"start_{s}_{i}")
                own.append(_Job(s, i, start, start + step.ticks // self.unit, {}))
            self.of_step.append(own)
            self.jobs += [j for j in own if step.kind >= 0]

    def _add_leases(self) -> None:
        """Leases: used or not, first <= last, first after bring-up.

        How many: what the cost leaves when all work is paid for as cheaply as can be, by the price of a bring-up
        and tear-down.
        """
        instance = self.instance
        spare = self._most_cost() - least_work(instance)
        for p in range(len(instance.sharing_classes)):
            for f, flavour in enumerate(instance.flavours):
                number = sum(
                    s.width
                    for s in instance.steps
                    if s.kind >= 0
                    and instance.kinds[s.kind].sharing == p
                    and f in instance.kinds[s.kind].feasible_flavours
                )
                once = (flavour.up + flavour.down) * flavour.price
                if once and spare < number * once:
                    number = max(0, floor(spare / once + 1e-9))
                number = max(number, sum(lease.sharing == p and lease.flavour == f for lease in self.known.leases))
                up = flavour.up // self.unit
                for i in range(number):
                    used = self.m.new_bool_var(f"used_{p}_{f}_{i}")
                    first = self.m.new_int_var(up, max(up, self.horizon), f"first_{p}_{f}_{i}")
                    last = self.m.new_int_var(up, max(up, self.horizon), f"last_{p}_{f}_{i}")
                    self.m.add(first <= last)
                    self.leases.append(_LeaseVar(p, f, used, first, last, []))

    def _add_places(self) -> None:
        """Each job is in exactly one lease.

        sum over l of x[j, l] = 1, and x[j, l] implies first[l] <= start[j] and end[j] <= last[l].
        """
        for job in self.jobs:
            kind = self.instance.kinds[self.instance.steps[job.step].kind]
            for n, lease in enumerate(self.leases):
                if lease.sharing == kind.sharing and lease.flavour in kind.feasible_flavours:
                    x = self.m.new_bool_var(f"x_{job.step}_{job.index}_{n}")
                    job.on[n] = x
                    lease.jobs.append((job, x))
                    self.m.add(lease.first <= job.start).only_enforce_if(x)
                    self.m.add(job.end <= lease.last).only_enforce_if(x)
                    self.m.add_implication(x, lease.used)
            self.m.add_exactly_one(job.on.values())

    def _add_precedence(self) -> None:
        """A job starts when what it waits for is over."""
        for s, step in enumerate(self.instance.steps):
            for t, each in step.before:
                for job in self.of_step[s]:
                    before = self.of_step[t]
                    if each and len(before) == len(self.of_step[s]):
                        before = [before[job.index]]
                    for other in before:
                        self.m.add(job.start >= other.end)

    def _add_capacity(self) -> None:
        """On a node, at every moment, sum of what its jobs take <= what it has; and in total, the energetic cut.

        The cut: sum of duration * demand * x <= capacity * (last - first).
        """
        for n, lease in enumerate(self.leases):
            flavour = self.instance.flavours[lease.flavour]
            intervals, fits, ticks = [], [], []
            for job, x in lease.jobs:
                step = self.instance.steps[job.step]
                size = step.ticks // self.unit
                intervals.append(
                    self.m.new_optional_interval_var(job.start, size, job.end, x, f"i_{job.step}_{job.index}_{n}")
                )
                fits.append(self.instance.kinds[step.kind].on(lease.flavour))
                ticks.append(size)
            for capacity, demands in (
                (flavour.cores, [f.cores for f in fits]),
                (flavour.gpus, [f.gpus for f in fits]),
                (flavour.memory, [f.memory for f in fits]),
            ):
                if any(demands) and sum(demands) > capacity:
                    self.m.add_cumulative(intervals, demands, capacity)
                if any(demands):
                    energy = [d * t * x for d, t, (_, x) in zip(demands, ticks, lease.jobs, strict=True) if d * t]
                    self.m.add(sum(energy) <= capacity * (lease.last - lease.first))

    def _add_limits(self) -> None:
        """From asked for until gone, at every moment, sum of what leases take <= limit."""
        if not self.instance.capacity:
            return
        intervals = []
        for n, lease in enumerate(self.leases):
            flavour = self.instance.flavours[lease.flavour]
            up, down = flavour.up // self.unit, flavour.down // self.unit
            size = self.m.new_int_var(up + down, self.horizon + up + down, f"size_{n}")
            intervals.append(
                self.m.new_optional_interval_var(lease.first - up, size, lease.last + down, lease.used, f"life_{n}")
            )
        for r, capacity in enumerate(self.instance.capacity):
            weights = [self.instance.flavours[lease.flavour].weight[r] for lease in self.leases]
            scale = 1 if all(w == int(w) for w in weights) else 10_000
            demands = [-int(-w * scale // 1) for w in weights]
            if sum(demands) > floor(capacity * scale + 1e-6):
                self.m.add_cumulative(intervals, demands, floor(capacity * scale + 1e-6))

    def _break_symmetry(self) -> None:
        """Leases of a sharing class and flavour are used in order and begin in order; so do the jobs of a step."""
        for a, b in zip(self.leases, self.leases[1:], strict=False):
            if (a.sharing, a.flavour) == (b.sharing, b.flavour):
                self.m.add_implication(b.used, a.used)
                self.m.add(a.first <= b.first).only_enforce_if(b.used)
        for s, step in enumerate(self.instance.steps):
            if not any(each for _, each in (*step.before, *step.after)):
                for one, other in zip(self.of_step[s], self.of_step[s][1:], strict=False):
                    self.m.add(one.start <= other.start)

    def _add_objective(self) -> None:
        """Minimise the goal, as whole numbers; and keep deadline and budget."""
        objective, bounds = self.judge.objective, self.judge.bounds
        self.makespan = self.m.new_int_var(0, self.horizon, "makespan")
        for own in self.of_step:
            for job in own:
                self.m.add(self.makespan >= job.end)
        least = -(-bounds.makespan // self.unit)
        self.m.add(self.makespan >= min(least, self.horizon))
        w = objective.cost_weight
        money = (w * SCALE / bounds.cost if bounds.cost else SCALE) * self.unit
        time = (1 - w) * SCALE / (bounds.makespan or 1) * self.unit
        costs: list[Any] = []
        for n, lease in enumerate(self.leases):
            flavour = self.instance.flavours[lease.flavour]
            break_even = (flavour.up + flavour.down) // self.unit
            span = self.m.new_int_var(0, self.horizon + break_even, f"span_{n}")
            self.m.add(span >= lease.last - lease.first + break_even).only_enforce_if(lease.used)
            self.m.add(span == 0).only_enforce_if(~lease.used)
            self.m.add(lease.last - lease.first == 0).only_enforce_if(~lease.used)
            self.m.add(span == lease.last - lease.first + break_even * lease.used)
            costs.append((flavour.price, span))
        factor = self._factor([t for t in (time, *(p * money for p, _ in costs)) if t])
        self.factor = factor
        whole = [round(p * money * factor) * span for p, span in costs] if w else []
        self.m.minimize(sum(whole) + round(time * factor) * self.makespan)
        if objective.deadline is not None:
            self.m.add(self.makespan <= max(self.known.makespan, int(objective.deadline * TICKS)) // self.unit)
        limit = objective.budget
        if limit is not None:
            top = max((p for p, _ in costs), default=0.0) or 1.0
            most = max(limit, self.known.cost) / self.unit / top * 1e6
            self.m.add(sum(-int(-p / top * 1e6 // 1) * span for p, span in costs) <= floor(most * (1 + 1e-9)))

    @staticmethod
    def _factor(coefficients: list[float]) -> float:
        """Makes the smallest coefficient ten thousand, so that rounding it loses next to nothing."""
        return 1e4 / min(coefficients) if coefficients else 1.0

    def _hint(self) -> None:
        """Begin from the known schedule."""
        places: dict[tuple[int, int], tuple[int, int]] = {}
        for placement in self.known.placements:
            step = self.instance.steps[placement.step]
            job = placement.first
            if step.kind < 0:
                self.m.add_hint(self.of_step[placement.step][0].start, placement.start // self.unit)
                continue
            for lease, n in placement.runs:
                for _ in range(n):
                    places[placement.step, job] = (placement.start, lease)
                    job += 1
        pools: dict[tuple[int, int], list[int]] = {}
        for n, var in enumerate(self.leases):
            pools.setdefault((var.sharing, var.flavour), []).append(n)
        slot: dict[int, int] = {}
        for i in sorted(range(len(self.known.leases)), key=lambda i: self.known.leases[i].first):
            had = self.known.leases[i]
            slot[i] = n = pools[had.sharing, had.flavour].pop(0)
            self.m.add_hint(self.leases[n].first, had.first // self.unit)
            self.m.add_hint(self.leases[n].last, had.last // self.unit)
        for n, var in enumerate(self.leases):
            self.m.add_hint(var.used, n in slot.values())
        for s, step in enumerate(self.instance.steps):
            if step.kind < 0:
                continue
            own = [places[s, i] for i in range(step.width)]
            if not any(each for _, each in (*step.before, *step.after)):
                own.sort()
            for var_job, (start, i) in zip(self.of_step[s], own, strict=True):
                self.m.add_hint(var_job.start, start // self.unit)
                for n, x in var_job.on.items():
                    self.m.add_hint(x, n == slot[i])

    def solve(self, *, seed: int, units: float, limit: float) -> Improvement:
        solver = self.cp.CpSolver()
        solver.parameters.catch_sigint_signal = False  # it would leave SIGINT without Python's handler
        solver.parameters.random_seed = seed
        solver.parameters.num_workers = 1
        solver.parameters.max_time_in_seconds = limit
        solver.parameters.max_deterministic_time = units
        solver.parameters.linearization_level = 2
        status = solver.solve(self.m)
        cut = status != self.cp.OPTIMAL and solver.wall_time >= 0.99 * limit
        if status not in (self.cp.OPTIMAL, self.cp.FEASIBLE):
            return Improvement(None, False, 0.0, cut)
        bound = solver.best_objective_bound / self.factor / SCALE
        schedule = self._schedule(solver)
        value = self.judge.value(schedule.cost, schedule.makespan)
        better = value < self.value
        return Improvement(schedule if better else None, status == self.cp.OPTIMAL, bound, cut)

    def _schedule(self, solver: Any) -> Schedule:
        number: dict[int, int] = {}
        leases: list[NodeLease] = []
        placements: list[Placement] = []
        for s, own in enumerate(self.of_step):
            ticks = self.instance.steps[s].ticks
            for job in own:
                start = solver.value(job.start) * self.unit
                if self.instance.steps[s].kind < 0:
                    placements.append(Placement(s, 0, self.instance.steps[s].width, start, []))
                    continue
                n = next(n for n, x in job.on.items() if solver.value(x))
                if n not in number:
                    number[n] = len(leases)
                    leases.append(NodeLease(self.leases[n].sharing, self.leases[n].flavour, start, start + ticks))
                lease = leases[number[n]]
                lease.first, lease.last = min(lease.first, start), max(lease.last, start + ticks)
                placements.append(Placement(s, job.index, 1, start, [(number[n], 1)]))
        placements.sort(key=lambda b: b.start)
        return make_schedule(self.instance, leases, placements, "optimal")
