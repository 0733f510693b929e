"""The best of all strategies."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planning.budget import Budget
from streamflow_fluxop.planning.improve.annealing import Annealing, State
from streamflow_fluxop.planning.improve.base import Task
from streamflow_fluxop.planning.improve.cpsat import CPSAT
from streamflow_fluxop.planning.improve.ruin_and_recreate import RuinAndRecreate
from streamflow_fluxop.planning.strategies import simple
from streamflow_fluxop.planning.tuning import TUNING

if TYPE_CHECKING:
    from streamflow_fluxop.planning.objective import Judge, Value
    from streamflow_fluxop.planning.problem.instance import Instance
    from streamflow_fluxop.planning.result.schedule import Schedule
    from streamflow_fluxop.planning.strategies import Strategy


@dataclass(slots=True)
class Found:
    """What a strategy found.

    Attributes:
        best: the best schedule.
        others: what other strategies came to.
        optimal: whether `best` is proved to be the best there is.
        bound: of the goal; 0 where no better one is known than before.
        cut: whether the clock cut the search short.
        searched: whether other schedules were tried than those that are made forwards in time, at once.
    """

    best: Schedule
    others: list[Schedule]
    optimal: bool = False
    bound: float = 0.0
    cut: bool = False
    searched: bool = False


def automatic(instance: Instance, judge: Judge, *, seed: int, seconds: float, proof: float = 0.4) -> Found:
    """The best of everything: list schedules, the simple strategies, annealing, and CP-SAT where the problem is small.

    Args:
        instance: the problem.
        judge: says what is better.
        seed: of all that is random.
        seconds: how much to search, in seconds of a slow machine; see `Budget`.
        proof: share of that which CP-SAT may take.

    Raises:
        UserError: no strategy found a plan.
    """
    prover = CPSAT(seconds * proof, TUNING.proof_jobs)
    exact = proof > 0 and prover.applies(instance)
    part = 1 - proof if exact else 1.0
    budget = Budget(seconds, instance.jobs, part)
    run = Annealing(instance, judge, budget)
    tried, error = _first_schedules(run, few=instance.jobs > TUNING.many_jobs)
    others, refused = _simple_schedules(run)
    if run.best is None:
        raise error or refused or UserError("no strategy found a plan")
    task = Task(instance, judge, budget, Random(seed), seed)
    small = exact and instance.jobs <= TUNING.proof_jobs // 2
    searched = instance.jobs <= TUNING.many_jobs or (bool(tried) and budget.left > 2)  # fewer schedules are no search
    if tried and budget.left > 2:
        _search(run, tried, task, part, min(budget.left, 20 * instance.jobs) if small else budget.left)
    found = Found(run.best, others, cut=budget.cut, searched=searched)
    if exact:
        answer = prover.improve(task, run.best)
        budget.share = 1.0
        found.optimal, found.bound = answer.optimal, answer.bound
        found.cut = (budget.cut or answer.cut) and not answer.optimal  # with more time it would be the same plan
        if answer.schedule is not None:
            found.best = answer.schedule
            found.best.strategy = "cp-sat"
        elif not answer.optimal and small and tried:
            _anneal(run, tried, task.rng, steps=budget.left)
            found.best, found.cut = run.best, budget.cut or answer.cut
    return found


def _simple_schedules(run: Annealing) -> tuple[list[Schedule], UserError | None]:
    """The schedules of the simple strategies that may be any good, and why the first that has none has none."""
    schedules: list[Schedule] = []
    error: UserError | None = None
    for strategy in simple().values():
        if run.best is not None and _hopeless(strategy, run, run.best):
            continue
        try:
            schedules.append(strategy.schedule(run.instance))
        except UserError as e:
            error = error or e
        else:
            run.improve_on(schedules[-1])
    return schedules, error


def _search(run: Annealing, tried: list[tuple[Value, int, State]], task: Task, part: float, schedules: int) -> None:
    """Walk over list schedules, and then move single jobs of the best one.

    Args:
        run: what was found so far.
        tried: the starting states.
        task: what is improved.
        part: share of the clock's time that all of this may take.
        schedules: how much to search.
    """
    assert run.best is not None
    last = int(TUNING.ruin_share * schedules)
    ruin = RuinAndRecreate(last, TUNING.ruin_hot, TUNING.ruin_cold)
    if last < TUNING.ruin_schedules or not ruin.applies(run.instance):
        last = 0
    # where the clock ends the walk, single jobs are moved, too
    task.budget.share = part * (1 - TUNING.ruin_share) if last else part
    _anneal(run, tried, task.rng, steps=schedules - last)
    task.budget.share = part
    if last and not task.budget.over():
        moved = ruin.improve(task, run.best).schedule
        assert moved is not None
        run.improve_on(moved)


def _first_schedules(run: Annealing, *, few: bool) -> tuple[list[tuple[Value, int, State]], UserError | None]:
    tried: list[tuple[Value, int, State]] = []
    error: UserError | None = None
    for state in run.starts():
        if tried and (few or run.budget.over()):
            break
        try:
            tried.append((run.try_state(state), len(tried), state))
        except UserError as e:
            error = e
    return sorted(tried, key=lambda t: t[:2]), error


def _anneal(run: Annealing, tried: list[tuple[Value, int, State]], rng: Random, *, steps: int) -> None:
    """Walks from several starts; the better half goes on, until one is left (successive halving)."""
    if not run.step_classes or steps <= 0:
        return
    hot = 0.02 if steps > TUNING.short else 0.005
    walks = _different(tried, TUNING.chains if steps > TUNING.short else TUNING.short_chains)
    left = steps
    for n in range((len(walks) - 1).bit_length(), 0, -1):
        each = left // ((n + 2) * len(walks))
        ends = [(*run.anneal(state, value, rng, each, hot=hot, cold=hot / 10), i) for value, state, i in walks]
        left -= each * len(walks)
        walks = sorted(ends, key=lambda w: (w[0], w[2]))[: (len(walks) + 1) // 2]
    value, state, _ = walks[0]
    run.anneal(state, value, rng, left, hot=hot / 3, cold=hot / 60)


def _different(tried: list[tuple[Value, int, State]], most: int) -> list[tuple[Value, State, int]]:
    """The best starts, by turns of each choice of flavours: where one leads can't be told from where it begins."""
    by_flavours: dict[tuple[int, ...], list[tuple[Value, int, State]]] = {}
    for entry in tried:
        by_flavours.setdefault(entry[2].choices.flavours, []).append(entry)
    turns = sorted((place, *entry) for own in by_flavours.values() for place, entry in enumerate(own))
    return [(value, state, n) for _, value, n, state in turns[:most]]


def _hopeless(strategy: Strategy, run: Annealing, best: Schedule) -> bool:
    """Whether a simple strategy takes too long, or costs and takes too much at least to be better than a schedule."""
    instance, judge, budget = run.instance, run.judge, run.budget
    if not strategy.quick:
        return instance.jobs > TUNING.many_jobs and (budget.left < 2 or budget.over())
    floor = strategy.floor(instance) if instance.jobs > TUNING.comparison_jobs else None
    if floor is None:
        return False
    cost, makespan = floor
    return judge.value(cost, max(makespan, judge.bounds.makespan)) >= judge.value(best.cost, best.makespan)
