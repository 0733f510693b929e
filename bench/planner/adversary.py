"""Looks for workflows on which we lose: climbs from random small graphs towards the worst one (as PISA: Coleman,
Krishnamachari, "Comparing task graph scheduling algorithms: an adversarial approach", 2024).
"""

from __future__ import annotations

import random

from bench.planner.baselines import baselines
from bench.planner.instances import REGIMES, Shape, layered_shape, problem
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Problem
from streamflow_fluxop.planning import solve
from streamflow_fluxop.planning.bound.lower_bounds import lower_bounds
from streamflow_fluxop.planning.objective import Judge
from streamflow_fluxop.planning.problem.instance import compile_problem


def climb(seed: int, steps: int, seconds: float, tasks: int = 14) -> tuple[float, str, Problem]:
    """The workflow where ours does worst against the best of the others.

    Returns:
        our score / theirs (above 1: we lose), whose it is, the problem.
    """
    rng = random.Random(seed)
    regime, limits = rng.choice(list(REGIMES)), rng.choice(("loose", "tight"))
    shape = layered_shape(tasks, seed)
    worst = (*_lost(problem(shape, seed, regime, limits), seconds), problem(shape, seed, regime, limits))
    for _ in range(steps):
        changed = _changed(shape, rng)
        case = problem(changed, seed, regime, limits)
        ratio, who = _lost(case, seconds)
        if ratio >= worst[0]:
            shape, worst = changed, (ratio, who, case)
    return worst


def _lost(case: Problem, seconds: float) -> tuple[float, str]:
    ours = solve(case, time_limit=seconds).score
    instance = compile_problem(case)
    judge = Judge(instance, lower_bounds(instance))
    best, who = float("inf"), ""
    for name, schedule in baselines(case):
        try:
            made = schedule()
        except UserError:
            continue
        score = judge.score(made.cost, made.makespan)
        if score < best:
            best, who = score, name
    return ours / best, who


def _changed(shape: Shape, rng: random.Random) -> Shape:
    """One task longer, shorter, of another category, or with one dependency more or fewer."""
    tasks = [(name, category, seconds, list(after)) for name, category, seconds, after in shape.tasks]
    i = rng.randrange(len(tasks))
    name, category, seconds, after = tasks[i]
    match rng.randrange(3):
        case 0:
            seconds = min(7200.0, max(1.0, seconds * rng.choice((0.3, 0.7, 1.4, 3.0))))
        case 1:
            category = rng.choice(tasks)[1]
        case _ if after and rng.random() < 0.5:
            after.remove(rng.choice(after))
        case _ if i:
            after = sorted({*after, rng.choice(tasks[:i])[0]})
    tasks[i] = (name, category, seconds, after)
    return Shape(shape.name, tasks)
