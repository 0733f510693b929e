"""What a plan will most likely cost and take, if its durations have a spread: many simulated runs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, quantiles

from streamflow_fluxop.model import Plan
from streamflow_fluxop.orchestration.simulation.simulated import Chance
from streamflow_fluxop.orchestration.simulation.simulator import Simulation
from streamflow_fluxop.planning.result.knowledge import GUESSES

RUNS = 50
"""Runs of a plan, unless it is large."""

MOST_JOBS = 5_000
"""Jobs of all runs together, at about 0.6 ms each."""

GUESSED = 1.0
"""Standard deviation of a guess, as a share of it: seven of ten are between half of it and twice as much."""

TINY = 0.01
"""A range that is narrower than this share of its mean is none."""

FEWEST = 5
"""With fewer runs there is nothing to say."""


@dataclass(frozen=True)
class Range:
    """Mean, and the values that one run in ten is below, or above."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Expectation:
    """Of a plan's runs: `cost` in the user's currency, `makespan` in seconds."""

    cost: Range
    makespan: Range
    runs: int
    guesses: bool = False
    """Whether some durations are guesses, which are far off as often as not."""

    @property
    def says_something(self) -> bool:
        """Whether the ranges are wider than a percent."""
        return any(r.high - r.low > TINY * r.mean for r in (self.cost, self.makespan))


def expect(plan: Plan, runs: int | None = None) -> Expectation | None:
    """Run a plan many times, each time with other durations; equal plans give equal answers.

    Args:
        plan: with its problem.
        runs: how many; None: as many as take no more than some seconds.

    Returns:
        None where a range says nothing: no duration has a spread or is a guess, or all are guesses, or what comes out
        is no range; or where the plan is too large for enough runs.
    """
    steps = [s for s in plan.problem.workflow.steps if not s.controller]
    guessed = [s.duration.source in GUESSES for s in steps]
    if all(guessed) or not (any(guessed) or any(s.duration.spread for s in steps)):
        return None
    if runs is None:
        runs = min(RUNS, MOST_JOBS // max(1, sum(s.width for s in steps)))
    if runs < FEWEST:
        return None
    if any(guessed):
        plan = _with_spreads(plan)
    outcomes = [Simulation(plan, Chance(stated=True, seed=seed)).run() for seed in range(runs)]
    costs, times = [o.cost for o in outcomes], [o.makespan for o in outcomes]
    found = Expectation(_range(costs), _range(times), runs, any(guessed))
    return found if found.says_something else None


def _with_spreads(plan: Plan) -> Plan:
    """The plan with a spread for what is guessed."""
    steps = []
    for step in plan.problem.workflow.steps:
        told = step.duration
        if told.source in GUESSES and not step.controller:
            wide = told.model_copy(update={"spread": max(told.spread, GUESSED * told.seconds)})
            step = step.model_copy(update={"duration": wide})
        steps.append(step)
    workflow = plan.problem.workflow.model_copy(update={"steps": steps})
    return plan.model_copy(update={"problem": plan.problem.model_copy(update={"workflow": workflow})})


def _range(values: Sequence[float]) -> Range:
    tenths = quantiles(values, n=10, method="inclusive")
    return Range(mean(values), tenths[0], tenths[-1])
