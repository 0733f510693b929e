"""Plans that keep a deadline, a budget, or both.

A search that aims at the very deadline would, being a heuristic, now and then find a dearer plan for a looser one. So
the search here does not know what the deadline is: it looks for the best plan without one, and then slides a target
from what that plan takes down to the lower bound, past every deadline that there could be (the epsilon-constraint
method: Haimes, Lasdon, Wismer 1971). The deadline only chooses among what was found on the way. So what is there for a
deadline is there for every looser one, too; the same with budgets.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil, exp, floor, log
from random import Random
from typing import TYPE_CHECKING, Literal

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planning.budget import Budget
from streamflow_fluxop.planning.improve.annealing import Annealing, State
from streamflow_fluxop.planning.improve.base import Task
from streamflow_fluxop.planning.improve.cpsat import CPSAT
from streamflow_fluxop.planning.improve.left_shift import left_shifted
from streamflow_fluxop.planning.improve.ruin_and_recreate import RuinAndRecreate
from streamflow_fluxop.planning.objective import Judge, Value
from streamflow_fluxop.planning.portfolio import Found, automatic
from streamflow_fluxop.planning.problem.instance import TICKS
from streamflow_fluxop.planning.tuning import TUNING

if TYPE_CHECKING:
    from streamflow_fluxop.planning.problem.instance import Instance
    from streamflow_fluxop.planning.result.schedule import Schedule

Axis = Literal["deadline", "budget"]

GOALS: dict[Axis, Literal["cost", "makespan"]] = {"deadline": "makespan", "budget": "cost"}
"""What is looked for where a target is as tight as can be."""
SWEEP = 0.7
"""Share of the effort that a sliding target takes, beside a search for each end."""
RATIO = 1.06
"""Between a target and the next one,"""
MOST_TARGETS = 24
"""of which there are so many at most,"""
FEWEST_SCHEDULES = 12
"""and for each of which there is time for so many schedules at least."""
CELL = 0.01
"""Of plans that differ by less than this share in what the target is about, the best is kept."""
WARM = 0.01
"""By how much worse a schedule may get at first, on the way to a target."""
PATIENCE = 5.0
"""How many times as long as for a proof without a target one with a target may take."""


@dataclass
class Front:
    """The best schedules by what the target is about: makespan (ticks) or cost."""

    axis: Axis
    judge: Judge
    cells: dict[int, tuple[Value, Schedule, State | None]] = field(default_factory=dict)

    def at(self, schedule: Schedule) -> float:
        """Where a schedule lies on the axis."""
        return float(schedule.makespan) if self.axis == "deadline" else schedule.cost

    def add(self, schedule: Schedule, state: State | None = None) -> None:
        """Keep a schedule if none in its cell is better."""
        cell = floor(log(max(self.at(schedule), 1e-9)) / CELL)
        value = self.judge.value(schedule.cost, schedule.makespan)
        known = self.cells.get(cell)
        if known is None or value < known[0]:
            self.cells[cell] = (value, schedule, state)

    def start(self, judge: Judge) -> State | None:
        """The state with the best schedule for a target; None where no schedule has one."""
        known = [(judge.value(s.cost, s.makespan), cell) for cell, (_, s, state) in self.cells.items() if state]
        return self.cells[min(known)[1]][2] if known else None

    def start_of_single_jobs(self, judge: Judge) -> Schedule:
        """The best schedule for a target."""
        return min((e[1] for e in self.cells.values()), key=lambda s: (*judge.value(s.cost, s.makespan), s.makespan))

    def schedules(self, instance: Instance) -> list[Schedule]:
        """All that are the best for some target, every job as early as can be."""
        return [left_shifted(instance, schedule) for _, (_, schedule, _) in sorted(self.cells.items())]


class _Sweep(Annealing):
    """A search that keeps what it finds on a front."""

    def __init__(self, instance: Instance, judge: Judge, budget: Budget, front: Front) -> None:
        super().__init__(instance, judge, budget)
        self.front = front

    def try_state(self, state: State) -> Value:
        value = super().try_state(state)
        if self.latest is not None:
            self.front.add(self.latest, state)
        return value


def within_targets(instance: Instance, judge: Judge, *, seed: int, seconds: float, proof: float) -> Found:
    """The best of everything that keeps the targets; where nothing is found that does, what comes nearest.

    Args:
        instance: the problem.
        judge: says what is better, the targets first.
        seed: of all that is random.
        seconds: how much to search, in seconds of a slow machine; targets take up to twice as
            much on top.
        proof: share of that which CP-SAT may take.

    Raises:
        UserError: no strategy found a plan.
    """
    wish = instance.objective
    free = replace(instance, objective=wish.model_copy(update={"deadline": None, "budget": None}))
    plain = Judge(free, judge.bounds)
    found = automatic(free, plain, seed=seed, seconds=seconds, proof=proof)
    if keeps(judge, found.best):
        return found
    candidates = [found.best, *found.others]
    cut = found.cut
    axes: list[Axis] = [axis for axis in ("deadline", "budget") if getattr(wish, axis) is not None]
    for axis in axes:
        goal = GOALS[axis]
        if goal != wish.goal:  # its end of the front, as whoever asks for that finds it
            end = replace(free, objective=free.objective.model_copy(update={"goal": goal}))
            there = automatic(end, Judge(end, judge.bounds), seed=seed, seconds=seconds, proof=proof)
            candidates.append(left_shifted(free, there.best))
            cut = cut or there.cut
        budget = Budget(SWEEP * seconds / len(axes), instance.jobs)
        candidates += _swept(free, plain, axis, candidates, budget, seed).schedules(instance)
        cut = cut or budget.cut
    best = min(candidates, key=lambda s: judge.value(s.cost, s.makespan))
    if not keeps(judge, best):
        aimed = automatic(instance, judge, seed=seed, seconds=seconds, proof=0.0)
        best = min((best, aimed.best), key=lambda s: judge.value(s.cost, s.makespan))
        cut = cut or aimed.cut
    result = Found(best, found.others, bound=found.bound, cut=cut, searched=True)
    effort = PATIENCE * max(proof, 0.4) * seconds
    prover = CPSAT(effort, TUNING.proof_jobs)
    if found.optimal and keeps(judge, best) and prover.applies(instance):  # then others will be proved as well
        task = Task(instance, judge, Budget(effort, instance.jobs), Random(seed), seed)
        answer = prover.improve(task, best)
        result.cut = result.cut or answer.cut
        if answer.optimal:  # what is only better might be better than what is found for a looser target
            result.optimal, result.bound = True, answer.bound
            if answer.schedule is not None:
                result.best = answer.schedule
                result.best.strategy = "cp-sat"
    return result


def keeps(judge: Judge, schedule: Schedule) -> bool:
    """Whether a schedule keeps deadline and budget."""
    return judge.value(schedule.cost, schedule.makespan)[0] == 0


def _swept(instance: Instance, plain: Judge, axis: Axis, known: list[Schedule], budget: Budget, seed: int) -> Front:
    """What is found while a target slides from what the first known schedule takes down to the bound."""
    front = Front(axis, plain)
    for schedule in known:
        front.add(schedule)
    run, rng = _Sweep(instance, plain, budget, front), Random(seed)
    for state in run.starts():
        if budget.over() or (instance.jobs > TUNING.many_jobs and front.start(plain) is not None):
            break
        try:
            run.try_state(state)
        except UserError:
            continue
    high = front.at(known[0])
    low = float(plain.bounds.makespan) if axis == "deadline" else plain.bounds.cost
    targets = _targets(low, high, budget.left // 2)
    targets += targets[-2::-1]  # what the tight ones found is a start for the loose ones
    for n, target in enumerate(targets):
        if budget.over() or not run.step_classes:
            break
        run.judge = judge = _aiming(instance, plain, axis, target)
        start = front.start(judge)
        if start is None:
            break
        each = budget.left // (len(targets) - n)
        ruin = RuinAndRecreate(int(TUNING.ruin_share * each), TUNING.ruin_hot, TUNING.ruin_hot / 20)
        last = ruin.schedules if ruin.applies(instance) else 0
        run.best, run.best_value = None, (float("inf"),) * 3  # of this target
        run.anneal(start, run.try_state(start), rng, each - last, hot=WARM, cold=WARM / 10)
        if last and not budget.over():
            task = Task(instance, judge, budget, rng, seed)
            moved = ruin.improve(task, front.start_of_single_jobs(judge)).schedule
            assert moved is not None
            front.add(moved)
    return front


def _targets(low: float, high: float, schedules: int) -> list[float]:
    """From high down to low, at equal ratios."""
    if low <= 0 or high <= low:
        return [low]
    number = min(MOST_TARGETS, max(1, schedules // FEWEST_SCHEDULES), ceil(log(high / low) / log(RATIO)))
    return [high * exp(log(low / high) * (n + 1) / number) for n in range(number)]


def _aiming(instance: Instance, plain: Judge, axis: Axis, target: float) -> Judge:
    """A judge who puts a target first."""
    at = target / TICKS if axis == "deadline" else target
    objective = instance.objective.model_copy(update={axis: at})
    return Judge(replace(instance, objective=objective), plain.bounds)
