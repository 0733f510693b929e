"""The best of all strategies."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from random import Random
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planning.budget import Budget
from streamflow_fluxop.planning.construct.baselines import by_level, per_step, per_task, single, single_clusters
from streamflow_fluxop.planning.improve import cpsat
from streamflow_fluxop.planning.improve.annealing import Annealing, State
from streamflow_fluxop.planning.improve.ruin_and_recreate import RuinAndRecreate, applies

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow_fluxop.planning.objective import Judge, Value
    from streamflow_fluxop.planning.problem.instance import Instance
    from streamflow_fluxop.planning.result.schedule import Schedule

SIMPLE: dict[str, Callable[[Instance], Schedule]] = {
    "per-task": per_task,
    "per-step": per_step,
    "single": single,
    "by-level": by_level,
}
"""The strategies that do not search."""

PROOF_JOBS = 60
"""Jobs up to which CP-SAT looks for a proof."""
SOME_JOBS = 3_000
"""Jobs from which simple strategies that are provably worse are not run."""
SOME_CLASSES = 8
"""Sharing classes up to which it is worked out whether one MiniCluster a sharing class can be any good."""
REPACKED = 0.4
"""Share of a search in which single jobs are moved;"""
FEW_SCHEDULES = 4
"""not where there is time for fewer schedules than these: the copy takes as long as one;"""
HOT, COLD = 3e-4, 1.5e-5
"""and how much worse that may make a schedule, in the beginning and in the end."""
MANY_JOBS = 20_000
"""Jobs from which a schedule takes so long that hardly any can be tried."""
CHAINS = 4
"""Starts that a search walks from,"""
FEW_CHAINS = 2
"""where it is short,"""
SHORT = 2_000
"""with no more schedules than these."""


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
    exact = cpsat.applies(instance, PROOF_JOBS) and find_spec("ortools") is not None and proof > 0
    part = 1 - proof if exact else 1.0
    budget = Budget(seconds, instance.jobs, part)
    run = Annealing(instance, judge, budget)
    tried, error = _first_schedules(run, few=instance.jobs > MANY_JOBS)
    others: list[Schedule] = []
    for name, strategy in SIMPLE.items():
        if run.best is not None and instance.jobs > SOME_JOBS and _hopeless(name, instance, judge, run.best, budget):
            continue
        try:
            others.append(strategy(instance))
        except UserError as e:
            error = error or e
        else:
            run.improve_on(others[-1])
    if run.best is None:
        raise error or UserError("no strategy found a plan")
    rng = Random(seed)
    small = exact and instance.jobs <= PROOF_JOBS // 2
    searched = instance.jobs <= MANY_JOBS or (bool(tried) and budget.left > 2)  # fewer schedules are no search
    if tried and budget.left > 2:
        steps = min(budget.left, 20 * instance.jobs) if small else budget.left
        last = int(REPACKED * steps) if applies(instance) else 0
        last = last if last >= FEW_SCHEDULES else 0
        budget.share = part * (1 - REPACKED) if last else part  # where the clock ends it, single jobs are moved, too
        _anneal(run, tried, rng, steps=steps - last)
        budget.share = part
        if last and not budget.over():
            _ruin_and_recreate(run, rng, last)
    found = Found(run.best, others, cut=budget.cut, searched=searched)
    if exact:
        answer = cpsat.improve(instance, judge, run.best, seed=seed, seconds=seconds * proof, budget=budget)
        budget.share = 1.0
        found.optimal, found.bound = answer.optimal, answer.bound
        found.cut = (budget.cut or answer.cut) and not answer.optimal  # with more time it would be the same plan
        if answer.schedule is not None:
            found.best = answer.schedule
            found.best.strategy = "cp-sat"
        elif not answer.optimal and small and tried:
            _anneal(run, tried, rng, steps=budget.left)
            found.best, found.cut = run.best, budget.cut or answer.cut
    return found


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
    hot = 0.02 if steps > SHORT else 0.005
    walks = _different(tried, CHAINS if steps > SHORT else FEW_CHAINS)
    left = steps
    for n in range((len(walks) - 1).bit_length(), 0, -1):
        each = left // ((n + 2) * len(walks))
        ends = [(*run.anneal(state, value, rng, each, hot=hot, cold=hot / 10), i) for value, state, i in walks]
        left -= each * len(walks)
        walks = sorted(ends, key=lambda w: (w[0], w[2]))[: (len(walks) + 1) // 2]
    value, state, _ = walks[0]
    run.anneal(state, value, rng, left, hot=hot / 3, cold=hot / 60)


def _ruin_and_recreate(run: Annealing, rng: Random, schedules: int) -> None:
    """Move single jobs of the best schedule, for as long as so many schedules take."""
    assert run.best is not None
    ruin = RuinAndRecreate(run.instance, run.judge, run.best)
    run.improve_on(ruin.run(rng, run.budget, schedules=schedules, hot=HOT, cold=COLD))


def _different(tried: list[tuple[Value, int, State]], most: int) -> list[tuple[Value, State, int]]:
    """The best starts, by turns of each choice of flavours: where one leads can't be told from where it begins."""
    by_flavours: dict[tuple[int, ...], list[tuple[Value, int, State]]] = {}
    for entry in tried:
        by_flavours.setdefault(entry[2].choices.flavours, []).append(entry)
    turns = sorted((place, *entry) for own in by_flavours.values() for place, entry in enumerate(own))
    return [(value, state, n) for _, value, n, state in turns[:most]]


def _hopeless(name: str, instance: Instance, judge: Judge, best: Schedule, budget: Budget) -> bool:
    """Whether a simple strategy can't be better than a schedule, as far as that can be said without running it.

    A MiniCluster a task, or a step, costs at least its own bring-up and tear-down for each step, beside the work,
    and each step of the longest chain waits for a bring-up.
    """
    if name == "by-level":
        return instance.jobs > MANY_JOBS and (budget.left < 2 or budget.over())  # it costs more than a list schedule
    if any(p.group is not None for p in instance.sharing_classes):
        return False
    to_beat = judge.value(best.cost, best.makespan)
    if name == "single":
        cost, makespan = _least_of_single(instance)
        return judge.value(cost, max(makespan, judge.bounds.makespan)) >= to_beat
    on = [(instance.flavours[f], k.on(f)) for k, f in zip(instance.kinds, instance.cheapest, strict=True)]
    cost = 0.0
    for step in instance.steps:
        if step.kind >= 0:
            flavour, fit = on[step.kind]
            break_even = flavour.up + flavour.down
            if name == "per-task":
                cost += step.width * fit.nodes * (step.ticks + break_even) * flavour.price
            else:
                work = max(fit.nodes * step.ticks, fit.share * step.ticks * step.width)
                cost += (work + fit.nodes * break_even) * flavour.price
    if judge.value(cost, judge.bounds.makespan) >= to_beat:
        return True
    ends = [0] * len(instance.steps)
    for s in instance.order:
        step = instance.steps[s]
        start = max((ends[t] for t, _ in step.before), default=0)
        ends[s] = start + step.ticks + (on[step.kind][0].up if step.kind >= 0 else 0)
    return judge.value(cost, max(ends)) >= to_beat


def _least_of_single(instance: Instance) -> tuple[float, float]:
    """Cost and makespan of one MiniCluster a sharing class, at least.

    Each is up for the longest chain between two of its jobs, and for as long as all of its nodes take for its work.
    """
    try:
        clusters = single_clusters(instance)
    except UserError:
        return float("inf"), float("inf")
    if len(clusters) > SOME_CLASSES:
        return 0.0, 0.0
    cost = makespan = 0.0
    for cluster in clusters:
        spans = [-1] * len(instance.steps)
        longest, work = 0, 0.0
        for s in instance.order:
            step = instance.steps[s]
            before = -1
            for t, _ in step.before:
                if spans[t] > before:
                    before = spans[t]
            if step.kind >= 0 and instance.kinds[step.kind].sharing == cluster.sharing:
                spans[s] = max(before, 0) + step.ticks
                longest = max(longest, spans[s])
                work += step.width * step.ticks * instance.kinds[step.kind].on(cluster.flavour).share
            elif before >= 0:
                spans[s] = before + step.ticks
        flavour = instance.flavours[cluster.flavour]
        span = max(longest, work / cluster.size * (1 - 1e-9))
        cost += cluster.size * (flavour.up + span + flavour.down) * flavour.price
        makespan = max(makespan, flavour.up + span)
    return cost, makespan
