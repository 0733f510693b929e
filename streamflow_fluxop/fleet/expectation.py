"""What a plan will most likely cost and take, if its durations have a spread: many simulated runs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, quantiles

from streamflow_fluxop.fleet.simulated import Chance
from streamflow_fluxop.fleet.simulator import Simulation
from streamflow_fluxop.model import Plan

RUNS = 50
"""Runs of a plan, unless it is large."""

MOST_JOBS = 5_000
"""Jobs of all runs together, at about 0.6 ms each."""

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


def expect(plan: Plan, runs: int | None = None) -> Expectation | None:
    """Run a plan many times, each time with other durations; equal plans give equal answers.

    Args:
        plan: with its problem.
        runs: how many; None: as many as take no more than some seconds.

    Returns:
        None where no duration has a spread, or where the plan is too large for enough runs.
    """
    steps = plan.problem.workflow.steps
    if not any(s.duration.spread for s in steps):
        return None
    if runs is None:
        runs = min(RUNS, MOST_JOBS // max(1, sum(s.width for s in steps)))
    if runs < FEWEST:
        return None
    outcomes = [Simulation(plan, Chance(stated=True, seed=seed)).run() for seed in range(runs)]
    return Expectation(_range([o.cost for o in outcomes]), _range([o.makespan for o in outcomes]), runs)


def _range(values: Sequence[float]) -> Range:
    tenths = quantiles(values, n=10, method="inclusive")
    return Range(mean(values), tenths[0], tenths[-1])
